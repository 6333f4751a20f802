/* kit.c - the test kit of kit.h: a simulated node, one shard on a simulated disk, and a port with an inbox.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "runtime/kit.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/array.h"
#include "base/log.h"
#include "base/wire.h"
#include "storage/sim/journal.h"

enum { MEMORY_BYTES = 16 << 20, PATTERNS_MAX = 16, SETTLE_STEPS = 10000000, SHOWN = 8, POLLED = 64, DEAD_SHOWN = 8 };
static const char disk_name[] = "stoa-kit";
static const char journal_path[] = "sim:stoa-kit";

/* A message or answer that came to the test. */
typedef struct delivery {
    struct delivery *next;
    const stoa_row *row;
    bool refused;
    stoa_err error;
    char topic[STOA_NAME_MAX + 1];
    uint64_t token; /* of an answer: which row was asked, below */
    unsigned char payload[];
} delivery;

typedef struct dead {
    const stoa_row *row;
    stoa_err why;
    char name[STOA_NAME_MAX + 1];
} dead;

struct stoa_kit {
    stoa_kit_options options;
    stoa_sim *sim;
    stoa_node *node;
    stoa_shard *shard;
    stoa_port *port;
    delivery *inbox, **tail;
    delivery *shown; /* given to the test, valid until the next call */
    char patterns[PATTERNS_MAX][STOA_NAME_MAX + 1];
    uint32_t pattern_count, next_core;
    dead *dead;
    uint64_t dead_count, dead_seen;
    uint32_t dead_cap;
};

static stoa_kit *present; /* a test that ended in its middle leaves it to the next */

/* --- saying what is wrong */

static void put_payload(stoa_buf *text, const stoa_row *row, const void *payload)
{
    stoa_buf_printf(text, "%s.%s ", row->kind, row->name);
    if (payload) { stoa_print_json(&row->payload, payload, text); }
}

static void put_delivery(stoa_buf *text, const delivery *d)
{
    stoa_buf_puts(text, "\n    ");
    if (d->refused) {
        stoa_buf_printf(text, "%s.%s refused: %s", d->row->kind, d->row->name, stoa_err_name(d->error));
    } else {
        put_payload(text, d->row, d->payload);
    }
    if (d->topic[0]) { stoa_buf_printf(text, " on %s", d->topic); }
}

static void put_inbox(stoa_buf *text, const stoa_kit *kit)
{
    unsigned shown = 0;
    stoa_buf_puts(text, kit->inbox ? "\n  what came instead:" : "\n  nothing else came");
    for (const delivery *d = kit->inbox; d && shown < SHOWN; d = d->next, shown++) { put_delivery(text, d); }
}

static void put_dead(stoa_buf *text, const stoa_kit *kit)
{
    uint64_t from = kit->dead_count > kit->dead_seen + DEAD_SHOWN ? kit->dead_count - DEAD_SHOWN : kit->dead_seen;
    if (from < kit->dead_count) { stoa_buf_puts(text, "\n  dead letters:"); }
    for (uint64_t i = from; i < kit->dead_count; i++) {
        const dead *d = &kit->dead[i];
        stoa_buf_printf(text, "\n    %s.%s to %s: %s", d->row ? d->row->kind : "", d->row ? d->row->name : "",
                        d->name[0] ? d->name : "-", stoa_err_name(d->why));
    }
}

/* End the test with what the report says so far, the seed and the command. */
static void fail(stoa_kit *kit, stoa_buf *text)
{
    const char *died = stoa_sim_dead(kit->sim);
    if (died) { stoa_buf_printf(text, "\n  the process died: %s", died); }
    stoa_buf_printf(text, "\n  at %.6f ms of virtual time, seed %" PRIu64 "; again:\n    %s\n",
                    (double)stoa_sim_now(kit->sim) / 1e6, kit->options.seed, stoa_seeds_command(kit->options.seed));
    if (kit->options.fail) {
        char copy[4096]; /* the hook may never return */
        (void)snprintf(copy, sizeof copy, "%s", text->at);
        stoa_buf_deinit(text);
        kit->options.fail(copy);
        return;
    }
    (void)fflush(stdout);
    (void)fputs(text->at, stderr);
    stoa_buf_deinit(text);
    abort();
}

static void fail_with(stoa_kit *kit, const char *where, const char *what)
{
    stoa_buf text = STOA_BUF_GROWING;
    stoa_buf_printf(&text, "%s: %s", where, what);
    fail(kit, &text);
}

/* What the kit itself needs and did not get. */
static void need(stoa_kit *kit, stoa_err err, const char *what)
{
    if (!err) { return; }
    stoa_buf text = STOA_BUF_GROWING;
    stoa_buf_printf(&text, "%s: %s: %s", what, stoa_err_name(err), stoa_err_trail());
    fail(kit, &text);
}

static void no_memory(void)
{
    (void)fputs("the test kit: no memory\n", stderr);
    abort();
}

void stoa_kit_failed(stoa_kit *kit, const char *condition, const char *where)
{
    stoa_buf text = STOA_BUF_GROWING;
    stoa_buf_printf(&text, "%s: not so: %s", where, condition);
    put_dead(&text, kit);
    fail(kit, &text);
}

/* --- life */

static void watch(void *context, const stoa_sim_event *event)
{
    stoa_kit *kit = context;
    if (event->what != STOA_SIM_DEAD_LETTER) { return; }
    kit->dead = stoa_array_room(kit->dead, kit->dead_count, &kit->dead_cap, sizeof *kit->dead);
    if (!kit->dead) { no_memory(); }
    dead *d = &kit->dead[kit->dead_count++];
    *d = (dead){.row = event->row, .why = event->err};
    (void)snprintf(d->name, sizeof d->name, "%s", event->name ? event->name : "");
}

/* Shard and port of a fresh process. */
static void attach(stoa_kit *kit)
{
    stoa_shard_options options = {
        .name = "kit", .durability = stoa_durability_DISK, .journal = &stoa_journal_sim, .path = journal_path};
    need(kit, stoa_shard_open(kit->node, &options, &kit->shard), "the kit's shard");
    need(kit, stoa_port_open(kit->node, "kit", &kit->port), "the kit's port");
    for (uint32_t i = 0; i < kit->pattern_count; i++) {
        need(kit, stoa_port_subscribe(kit->port, kit->patterns[i]), kit->patterns[i]);
    }
}

static void drop_inbox(stoa_kit *kit)
{
    while (kit->inbox) {
        delivery *d = kit->inbox;
        kit->inbox = d->next;
        free(d);
    }
    kit->tail = &kit->inbox;
    free(kit->shown);
    kit->shown = NULL;
}

static uint64_t seed_of(const stoa_kit_options *options)
{
    const char *given = getenv("STOA_TEST_SEED");
    return options->seed ? options->seed : given ? strtoull(given, NULL, 10) : 1;
}

stoa_kit *stoa_kit_open(const stoa_kit_options *options)
{
    stoa_kit *kit = calloc(1, sizeof *kit);
    stoa_sim_disk *disk;
    if (!kit) { no_memory(); }
    stoa_kit_close(present);
    present = kit;
    if (stoa_log_level_get() < STOA_LOG_ERROR) { stoa_log_level_set(STOA_LOG_ERROR); } /* failures are meant */
    kit->options = *options;
    kit->options.seed = seed_of(options);
    kit->tail = &kit->inbox;
    if (!kit->options.patience_ns) { kit->options.patience_ns = STOA_S(1); }
    stoa_sim_options sim = {.seed = kit->options.seed,
                            .cores = options->cores,
                            .kinds = options->kinds,
                            .memory_bytes = options->memory_bytes ? options->memory_bytes : MEMORY_BYTES,
                            .observe = watch,
                            .context = kit,
                            .trace = stoa_seeds_trace()};
    if (options->faults) { sim.faults = *options->faults; }
    if (stoa_sim_disk_get(disk_name, kit->options.seed, &disk) || stoa_sim_new(&sim, &kit->sim, &kit->node)) {
        (void)fprintf(stderr, "the test kit: %s\n", stoa_err_trail());
        abort();
    }
    attach(kit);
    return kit;
}

void stoa_kit_close(stoa_kit *kit)
{
    stoa_sim_disk *disk;
    if (!kit) { return; }
    present = NULL;
    stoa_port_close(kit->port);
    stoa_sim_free(kit->sim);
    if (!stoa_sim_disk_get(disk_name, 0, &disk)) { stoa_sim_disk_free(disk); }
    drop_inbox(kit);
    free(kit->dead);
    free(kit);
}

stoa_node *stoa_kit_node(stoa_kit *kit)
{
    return kit->node;
}

stoa_sim *stoa_kit_sim(stoa_kit *kit)
{
    return kit->sim;
}

stoa_ref stoa_kit_self(const stoa_kit *kit)
{
    return stoa_port_ref(kit->port);
}

uint64_t stoa_kit_patience(const stoa_kit *kit)
{
    return kit->options.patience_ns;
}

/* --- actors */

stoa_ref stoa_kit_spawn_on(stoa_kit *kit, uint32_t core, const stoa_kind *kind, const char *name, const void *args)
{
    stoa_ref ref = STOA_REF_NONE;
    stoa_spawn_options options = {.shard = kind->sourced ? kit->shard : NULL, .core = core, .args = args};
    need(kit, stoa_spawn(kit->node, kind, name, &options, &ref), "spawn");
    return ref;
}

stoa_ref stoa_kit_spawn(stoa_kit *kit, const stoa_kind *kind, const char *name, const void *args)
{
    uint32_t core = kind->sourced ? 0 : kit->next_core++ % stoa_core_count(kit->node);
    return stoa_kit_spawn_on(kit, core, kind, name, args);
}

stoa_ref stoa_kit_find(stoa_kit *kit, const char *name)
{
    stoa_ref ref = stoa_find(kit->node, name);
    if (!ref.at) { need(kit, STOA_FAIL(STOA_E_NOT_FOUND, "no actor %s", name), "find"); }
    return ref;
}

const void *stoa_kit_state_of(stoa_kit *kit, stoa_ref actor, const char *kind, const char *where)
{
    const stoa_kind *found = NULL;
    const void *state = stoa_sim_state(kit->sim, actor, &found);
    if (!state || strcmp(found->name, kind) != 0) {
        fail_with(kit, where, state ? "the actor is of another kind" : "there is no such actor (any more)");
    }
    return state;
}

/* --- messages */

static void take(void *context, const stoa_delivery *came)
{
    stoa_kit *kit = context;
    size_t bytes = came->row ? came->row->payload.size_bytes : 0;
    delivery *d = calloc(1, sizeof *d + bytes);
    if (!d) { no_memory(); }
    d->row = came->row;
    d->refused = came->answer && came->error;
    d->error = came->error;
    d->token = came->token;
    (void)snprintf(d->topic, sizeof d->topic, "%s", came->topic ? came->topic : "");
    if (came->payload) { memcpy(d->payload, came->payload, bytes); }
    *kit->tail = d;
    kit->tail = &d->next;
}

static void poll_port(stoa_kit *kit)
{
    stoa_seeds_at(stoa_sim_now(kit->sim));
    while (stoa_port_poll(kit->port, take, kit, POLLED)) {}
}

void stoa_kit_send_row(stoa_kit *kit, stoa_ref to, const stoa_row *row, const void *payload, const char *where)
{
    poll_port(kit);
    stoa_err err = row->reply ? stoa_port_ask(kit->port, to, row, payload, 0, kit->options.patience_ns, row->id)
                              : stoa_port_send(kit->port, to, row, payload, 0);
    stoa_port_flush(kit->port);
    if (!err) { return; }
    stoa_buf text = STOA_BUF_GROWING;
    stoa_buf_printf(&text, "%s: could not send %s.%s: %s", where, row->kind, row->name, stoa_err_name(err));
    fail(kit, &text);
}

/* Take the first delivery that fits out of the inbox; run until there is one. token: of the command answered, 0: any. */
static delivery *wait_for(stoa_kit *kit, const stoa_row *row, uint64_t token)
{
    uint64_t until = stoa_sim_now(kit->sim) + kit->options.patience_ns;
    free(kit->shown);
    kit->shown = NULL;
    for (;;) {
        poll_port(kit);
        for (delivery **at = &kit->inbox; *at; at = &(*at)->next) {
            delivery *d = *at;
            if (d->row != row || (token && d->token != token)) { continue; }
            *at = d->next;
            if (kit->tail == &d->next) { kit->tail = at; }
            return kit->shown = d;
        }
        if (stoa_sim_dead(kit->sim) || stoa_sim_now(kit->sim) >= until) { return NULL; }
        if (!stoa_sim_step(kit->sim)) { stoa_sim_run(kit->sim, STOA_US(100)); }
    }
}

const void *stoa_kit_next(stoa_kit *kit, const stoa_row *row, const char *condition, const char *where)
{
    delivery *d = wait_for(kit, row, 0);
    if (d && !d->refused) { return d->payload; }
    stoa_buf text = STOA_BUF_GROWING;
    stoa_buf_printf(&text, "%s: expected %s.%s with %s, ", where, row->kind, row->name, condition);
    if (d) {
        stoa_buf_printf(&text, "it was refused: %s", stoa_err_name(d->error));
    } else {
        stoa_buf_printf(&text, "none came within %.3f ms", (double)kit->options.patience_ns / 1e6);
    }
    put_inbox(&text, kit);
    put_dead(&text, kit);
    fail(kit, &text);
    return NULL;
}

void stoa_kit_differs(stoa_kit *kit, const char *condition, const char *where)
{
    stoa_buf text = STOA_BUF_GROWING;
    stoa_buf_printf(&text, "%s: expected %s, what came is:", where, condition);
    put_delivery(&text, kit->shown);
    put_inbox(&text, kit);
    fail(kit, &text);
}

void stoa_kit_refused(stoa_kit *kit, const stoa_row *row, stoa_err err, const char *where)
{
    delivery *d = wait_for(kit, row->reply, row->id);
    if (d && d->refused && d->error == err) { return; }
    stoa_buf text = STOA_BUF_GROWING;
    stoa_buf_printf(&text, "%s: expected %s.%s to be refused with %s, ", where, row->kind, row->name,
                    stoa_err_name(err));
    if (d) {
        stoa_buf_puts(&text, "what came is:");
        put_delivery(&text, d);
    } else {
        stoa_buf_puts(&text, "no answer came");
    }
    put_inbox(&text, kit);
    fail(kit, &text);
}

void stoa_kit_dead(stoa_kit *kit, const stoa_row *row, stoa_err err, const char *where)
{
    uint64_t until = stoa_sim_now(kit->sim) + kit->options.patience_ns;
    for (uint64_t i = kit->dead_seen;;) {
        for (; i < kit->dead_count; i++) {
            if (kit->dead[i].row == row && kit->dead[i].why == err) {
                kit->dead_seen = i + 1;
                return;
            }
        }
        if (stoa_sim_dead(kit->sim) || stoa_sim_now(kit->sim) >= until) { break; }
        if (!stoa_sim_step(kit->sim)) { stoa_sim_run(kit->sim, STOA_US(100)); }
    }
    stoa_buf text = STOA_BUF_GROWING;
    stoa_buf_printf(&text, "%s: expected %s.%s among the dead letters, for %s", where, row->kind, row->name,
                    stoa_err_name(err));
    put_dead(&text, kit);
    put_inbox(&text, kit);
    fail(kit, &text);
}

void stoa_kit_nothing(stoa_kit *kit, uint64_t for_ns, const char *where)
{
    poll_port(kit);
    if (!kit->inbox) {
        stoa_sim_run(kit->sim, for_ns);
        poll_port(kit);
    }
    if (!kit->inbox) { return; }
    stoa_buf text = STOA_BUF_GROWING;
    stoa_buf_printf(&text, "%s: expected nothing for %.3f ms", where, (double)for_ns / 1e6);
    put_inbox(&text, kit);
    fail(kit, &text);
}

void stoa_kit_subscribe(stoa_kit *kit, const char *pattern)
{
    if (kit->pattern_count == PATTERNS_MAX || strlen(pattern) > STOA_NAME_MAX) {
        need(kit, STOA_FAIL(STOA_E_FULL, "%s", pattern), "subscribe");
        return;
    }
    need(kit, stoa_port_subscribe(kit->port, pattern), pattern);
    (void)snprintf(kit->patterns[kit->pattern_count++], sizeof kit->patterns[0], "%s", pattern);
}

uint64_t stoa_kit_dead_letters(const stoa_kit *kit)
{
    return kit->dead_count;
}

/* --- time and faults */

void stoa_kit_advance(stoa_kit *kit, uint64_t for_ns)
{
    stoa_sim_run(kit->sim, for_ns);
    poll_port(kit);
}

void stoa_kit_settle(stoa_kit *kit)
{
    need(kit, stoa_sim_settle(kit->sim, SETTLE_STEPS), "settle");
    poll_port(kit);
}

void stoa_kit_fail(stoa_kit *kit, stoa_ref actor, const char *reason)
{
    need(kit, stoa_sim_fail(kit->sim, actor, reason), "fail");
}

void stoa_kit_fail_turn(stoa_kit *kit, const char *name)
{
    stoa_kit_inject(kit, (stoa_sim_injection){.fault = STOA_SIM_TURN_LOST, .at = name});
}

void stoa_kit_inject(stoa_kit *kit, stoa_sim_injection injection)
{
    need(kit, stoa_sim_inject(kit->sim, &injection), "inject");
}

void stoa_kit_crash(stoa_kit *kit)
{
    drop_inbox(kit);
    stoa_port_close(kit->port);
    kit->next_core = 0;
    need(kit, stoa_sim_crash(kit->sim, &kit->node), "crash");
    attach(kit);
}

void stoa_kit_power_cut(stoa_kit *kit)
{
    stoa_sim_disk *disk;
    need(kit, stoa_sim_disk_get(disk_name, 0, &disk), "power cut");
    stoa_sim_disk_crash(disk);
    stoa_kit_crash(kit);
}

void stoa_kit_replay(stoa_kit *kit, const char *where)
{
    stoa_shard_view live;
    uint64_t hash = 0, events = 0;
    stoa_kit_settle(kit);
    need(kit, stoa_shard_look(kit->shard, &live), "look");
    need(kit, stoa_shard_replay(kit->shard, live.applied, &hash, &events), "replay");
    bool same = hash == live.hash && events == live.applied;
    if (!same) { fail_with(kit, where, "the states are not what the journal says"); }
}

/* --- chance */

uint64_t stoa_kit_random(stoa_kit *kit, uint64_t below)
{
    return stoa_sim_random(kit->sim) % below;
}

uint64_t stoa_kit_hash(stoa_kit *kit)
{
    return stoa_sim_hash(kit->sim);
}
