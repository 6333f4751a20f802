/* report.c - node/archive/report.h.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "node/archive/report.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"

const char stoa_report_steps_view[] = "table shards: shard, first=from/n, snapshot=behind snapshot/n, held=had/n, sealed/n, last=to/n, segments/n, "
                                      "raw_bytes=events/bytes, file_bytes=files/bytes\n"
                                      "table left_out: shard, why/wrap";
const char stoa_report_restored_view[] = "fields restore: cut_ns=cut at/time, then/wrap\n"
                                         "table shards: shard, first=from/n, snapshot=behind snapshot/n, held=in the backup/n, last=restored/n, last_ns=committed/time, hash, "
                                         "compared=as live at/n, note/wrap?\n"
                                         "table left_out: shard, why/wrap";

void stoa_report_steps(stoa_doc *doc, const stoa_backup_step *steps, uint32_t count)
{
    stoa_doc_open(doc, "shards", '[');
    for (uint32_t i = 0; i < count; i++) {
        stoa_doc_open(doc, NULL, '{');
        stoa_doc_text(doc, "shard", steps[i].shard);
        stoa_doc_uint(doc, "first", steps[i].first);
        stoa_doc_uint(doc, "snapshot", steps[i].snapshot);
        stoa_doc_uint(doc, "snapshots", steps[i].snapshots);
        stoa_doc_uint(doc, "held", steps[i].held);
        stoa_doc_uint(doc, "sealed", steps[i].sealed);
        stoa_doc_uint(doc, "last", steps[i].last);
        stoa_doc_uint(doc, "segments", steps[i].segments);
        stoa_doc_uint(doc, "raw_bytes", steps[i].raw_bytes);
        stoa_doc_uint(doc, "file_bytes", steps[i].file_bytes);
        stoa_doc_close(doc, '}');
    }
    stoa_doc_close(doc, ']');
}

static const char *note_of(const stoa_restored *restored, const stoa_restored_shard *shard)
{
    if (shard->sealed) { return "sealed: states not compared without the key"; }
    if (shard->compared == 0 && restored->other_kind) { return "states not compared: kinds have another shape in this build"; }
    return "";
}

/* 0 is: not known. */
static void put_known(stoa_doc *doc, const char *key, uint64_t value)
{
    if (value) {
        stoa_doc_uint(doc, key, value);
    } else {
        stoa_doc_null(doc, key);
    }
}

static const char left_out[] = "not in this backup: its folder is there, and backup.json does not name it";

void stoa_report_left_out(stoa_doc *doc, const stoa_catalog *catalog)
{
    if (catalog->left_out_count == 0) { return; }
    stoa_doc_open(doc, "left_out", '[');
    for (uint32_t i = 0; i < catalog->left_out_count; i++) {
        stoa_doc_open(doc, NULL, '{');
        stoa_doc_text(doc, "shard", catalog->left_out[i]);
        stoa_doc_text(doc, "why", left_out);
        stoa_doc_close(doc, '}');
    }
    stoa_doc_close(doc, ']');
}

void stoa_report_restored(stoa_doc *doc, const stoa_restored *restored)
{
    stoa_doc_uint(doc, "cut_ns", restored->cut_ns);
    stoa_doc_text(doc, "other_kind", restored->other_kind);
    stoa_doc_open(doc, "shards", '[');
    for (uint32_t i = 0; i < restored->shard_count; i++) {
        const stoa_restored_shard *shard = &restored->shards[i];
        stoa_doc_open(doc, NULL, '{');
        stoa_doc_text(doc, "shard", shard->name);
        stoa_doc_uint(doc, "first", shard->first);
        stoa_doc_uint(doc, "snapshot", shard->snapshot);
        stoa_doc_uint(doc, "held", shard->held);
        stoa_doc_uint(doc, "last", shard->last);
        put_known(doc, "last_ns", shard->last_ns);
        if (shard->hash) {
            stoa_doc_printf(doc, "hash", "%016" PRIx64, shard->hash);
        } else {
            stoa_doc_null(doc, "hash");
        }
        put_known(doc, "compared", shard->compared);
        stoa_doc_text(doc, "note", note_of(restored, shard));
        stoa_doc_close(doc, '}');
    }
    stoa_doc_close(doc, ']');
    stoa_report_left_out(doc, &restored->catalog);
}

static void put_beginning(uint64_t first, uint64_t snapshot, stoa_buf *out)
{
    if (first > 1) { stoa_buf_printf(out, ", from %" PRIu64 ", behind a snapshot at %" PRIu64, first, snapshot); }
}

void stoa_print_steps(const stoa_backup_step *steps, uint32_t count, stoa_buf *out)
{
    for (uint32_t i = 0; i < count; i++) {
        stoa_buf_printf(out, "%s: held %" PRIu64 ", to %" PRIu64 ", %" PRIu32 " segments, %" PRIu64 " bytes of events in %" PRIu64
                        " bytes of files", steps[i].shard, steps[i].held, steps[i].last, steps[i].segments, steps[i].raw_bytes,
                        steps[i].file_bytes);
        put_beginning(steps[i].first, steps[i].snapshot, out);
        stoa_buf_puts(out, "\n");
    }
}

void stoa_print_left_out(const stoa_catalog *catalog, stoa_buf *out)
{
    for (uint32_t i = 0; i < catalog->left_out_count; i++) { stoa_buf_printf(out, "%s: %s\n", catalog->left_out[i], left_out); }
}

void stoa_print_restored(const stoa_restored *restored, bool plan, stoa_buf *out)
{
    char time[STOA_TIME_TEXT_MAX];
    stoa_time_print(restored->cut_ns, time);
    stoa_buf_printf(out, "cut at %s\n", time);
    for (uint32_t i = 0; i < restored->shard_count; i++) {
        const stoa_restored_shard *shard = &restored->shards[i];
        stoa_buf_printf(out, "%s: %s %" PRIu64 " of %" PRIu64, shard->name, plan ? "would restore up to" : "restored", shard->last, shard->held);
        if (!plan && shard->hash) { stoa_buf_printf(out, ", state hash %016" PRIx64, shard->hash); }
        if (shard->compared) { stoa_buf_printf(out, ", as live at %" PRIu64, shard->compared); }
        put_beginning(shard->first, shard->snapshot, out);
        const char *note = note_of(restored, shard);
        stoa_buf_printf(out, "%s%s\n", *note && !plan ? ", " : "", plan ? "" : note);
    }
    stoa_print_left_out(&restored->catalog, out);
    if (restored->replaces && plan) { stoa_buf_puts(out, "would remove what a restore that was stopped left beside it\n"); }
}

/* --- progress */

stoa_err stoa_progress_print_tell(void *context, const stoa_progress *progress)
{
    stoa_progress_print *print = context;
    uint64_t now = stoa_clock_real.now_ns(&stoa_clock_real);
    if (strcmp(print->step, progress->step) != 0 || strcmp(print->shard, progress->shard) != 0) {
        (void)snprintf(print->step, sizeof print->step, "%s", progress->step);
        (void)snprintf(print->shard, sizeof print->shard, "%s", progress->shard);
        print->began_ns = print->said_ns = now;
    }
    if (now - print->said_ns < STOA_S(1)) { return STOA_OK; }
    print->said_ns = now;
    uint64_t ms = (now - print->began_ns) / 1000000 + 1;
    uint64_t left = progress->last > progress->position ? progress->last - progress->position : 0;
    uint64_t rate = progress->position * 1000 / ms;
    bool entries = strcmp(progress->step, "snapshot") == 0 || strcmp(progress->step, "prove") == 0;
    (void)fprintf(stderr, "%s %s: %" PRIu64 " of %" PRIu64 " %s, %" PRIu64 " MiB, %" PRIu64 " MiB/s, %" PRIu64 " s left\n",
                  progress->step, progress->shard, progress->position, progress->last, entries ? "chunks" : "events", progress->raw_bytes >> 20,
                  (progress->raw_bytes >> 10) * 1000 / ms >> 10, rate ? left / rate : 0);
    return STOA_OK;
}
