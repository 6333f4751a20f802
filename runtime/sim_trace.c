/* sim_trace.c - what the simulator decided, one readable line each. See sim.h.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include <inttypes.h>

#include "base/wire.h"
#include "runtime/sim_internal.h"

enum { PAYLOAD_SHOWN = 96 };

static const char *name_of(const stoa_sim_event *event)
{
    return event->name && event->name[0] ? event->name : "-";
}

static void print_row(FILE *out, const stoa_sim_event *event)
{
    if (!event->row) {
        (void)fprintf(out, " (no payload)");
        return;
    }
    stoa_buf json = STOA_BUF_GROWING;
    if (event->payload) { stoa_print_json(&event->row->payload, event->payload, &json); }
    (void)fprintf(out, " %s.%s %.*s%s", event->row->kind, event->row->name, PAYLOAD_SHOWN, json.at ? json.at : "",
                  json.used_bytes > PAYLOAD_SHOWN ? "..." : "");
    stoa_buf_deinit(&json);
}

static void print_batch(FILE *out, const stoa_sim_event *event)
{
    (void)fprintf(out, "core %u ran, %" PRIu64 " messages so far", event->core, event->count);
}

static void print_turn(FILE *out, const stoa_sim_event *event)
{
    (void)fprintf(out, "core %u   turn of %s:", event->core, name_of(event));
    print_row(out, event);
    if (event->answer) { (void)fprintf(out, " (answer %" PRIu64 "%s%s)", event->token, event->answer_err ? ": " : "",
                                       event->answer_err ? stoa_err_name(event->answer_err) : ""); }
    (void)fprintf(out, " -> %s", event->err ? stoa_err_name(event->err) : "OK");
}

static void print_failed(FILE *out, const stoa_sim_event *event)
{
    (void)fprintf(out, "core %u   %s failed: %s", event->core, name_of(event), event->text);
}

static void print_dead_letter(FILE *out, const stoa_sim_event *event)
{
    (void)fprintf(out, "core %u   dead letter to %s:", event->core, name_of(event));
    print_row(out, event);
    (void)fprintf(out, ": %s", stoa_err_name(event->err));
}

static void print_appended(FILE *out, const stoa_sim_event *event)
{
    (void)fprintf(out, "shard %s  %" PRIu64 " blocks on disk%s%s", name_of(event), event->count, event->err ? ": " : "",
                  event->err ? stoa_err_name(event->err) : "");
}

static void print_followed(FILE *out, const stoa_sim_event *event)
{
    (void)fprintf(out, "shard %s  followed to %" PRIu64 ", %s", name_of(event), event->count, event->text);
}

static void print_fault(FILE *out, const stoa_sim_event *event)
{
    (void)fprintf(out, "FAULT %s at core %u %s", stoa_sim_fault_name(event->fault), event->core, name_of(event));
    if (event->for_ns) { (void)fprintf(out, " for %.3f ms", (double)event->for_ns / 1e6); }
}

static void print_died(FILE *out, const stoa_sim_event *event)
{
    (void)fprintf(out, "THE PROCESS DIED: %s", event->text);
}

static void print_began(FILE *out, const stoa_sim_event *event)
{
    (void)fprintf(out, "a process begins, seed %" PRIu64, event->count);
}

static void (*const printers[])(FILE *out, const stoa_sim_event *event) = {
    [STOA_SIM_BATCH] = print_batch,       [STOA_SIM_TURN] = print_turn,    [STOA_SIM_FAILED] = print_failed,
    [STOA_SIM_DEAD_LETTER] = print_dead_letter, [STOA_SIM_APPENDED] = print_appended,
    [STOA_SIM_FOLLOWED] = print_followed, [STOA_SIM_FAULTED] = print_fault,
    [STOA_SIM_DIED] = print_died,         [STOA_SIM_BEGAN] = print_began,
};

void stoa_sim_print(FILE *out, const stoa_sim_event *event)
{
    (void)fprintf(out, "[%14.6f ms] ", (double)event->now_ns / 1e6);
    printers[event->what](out, event);
    (void)fputc('\n', out);
}
