/* wall_stage.h - a keeper that takes note of something and lets something leave, in each way there is, and those outside who hear of
 * it; a slow disk, crashes. For the tests of what leaves a shard when.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef STOA_TESTS_SIM_WALL_STAGE_H
#define STOA_TESTS_SIM_WALL_STAGE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/log.h"
#include "runtime/sim.h"
#include "runtime/stoa.h"
#include "storage/sim/journal.h"

/* How something leaves. Those from LATER on leave in a second turn, which takes no note of its own. */
enum {
    WAY_ANSWER, WAY_CAST, WAY_ASK, WAY_FORWARD, WAY_TOPIC, WAY_SPAWN, WAY_STOP, WAY_LINK,
    WAY_LATER,
    WAY_READ = WAY_LATER, WAY_REFUSE, WAY_LATER_CAST, WAY_LATER_TOPIC, WAY_FAIL, WAY_FAILED_REFUSES,
    WAY_COUNT
};

#define keeper_keep_FIELDS(F, S)  F(S, uint64_t, way)
#define keeper_again_FIELDS(F, S) F(S, uint64_t, way)
#define keeper_fail_FIELDS        STOA_NO_FIELDS
#define keeper_tick_FIELDS        STOA_NO_FIELDS
#define keeper_kept_FIELDS(F, S)  F(S, uint64_t, count)
#define keeper_added_FIELDS       STOA_NO_FIELDS
#define keeper_ticked_FIELDS      STOA_NO_FIELDS
#define keeper_grown_FIELDS(F, S) F(S, uint64_t, count)
#define keeper_ROWS(ROW, K)                                                                                            \
    ROW(K, COMMAND, keep, kept, "Take note, and let something leave.")                                                 \
    ROW(K, COMMAND, again, kept, "Let something leave that tells of it.")                                              \
    ROW(K, CAST, fail, _, "Fail, where note was taken.")                                                               \
    ROW(K, CAST, tick, _, "A timer, armed by resume.")                                                                 \
    ROW(K, REPLY, kept, _, "How many notes there are.")                                                                \
    ROW(K, EVENT, added, _, "Note was taken.")                                                                         \
    ROW(K, EVENT, ticked, _, "The timer fired.")                                                                       \
    ROW(K, TOPIC, grown, _, "Note was taken.")
STOA_TABLE_HERE(keeper)

#define watcher_tell_FIELDS(F, S)  F(S, uint64_t, count)
#define watcher_query_FIELDS(F, S) F(S, uint64_t, count)
#define watcher_told_FIELDS        STOA_NO_FIELDS
#define watcher_ROWS(ROW, K)                                                                                           \
    ROW(K, CAST, tell, _, "From a keeper.")                                                                            \
    ROW(K, COMMAND, query, told, "From a keeper.")                                                                     \
    ROW(K, REPLY, told, _, "Heard.")
STOA_TABLE_HERE(watcher)

enum { OUTSIDE = 2 }; /* watchers: on the keeper's core, and on another one */
static struct stage {
    stoa_sim *sim;
    stoa_node *node;
    stoa_shard *shard;
    stoa_port *port;
    stoa_ref keeper, watchers[OUTSIDE];
    uint32_t heard, answers; /* outside, and by the port */
    uint32_t resumed, handled; /* by the keeper */
    stoa_err asked;            /* of the question that resume asks */
    stoa_err error;
    uint64_t count;
    unsigned target; /* the watcher that the keeper deals with */
} s;

typedef struct watcher {
    uint64_t nothing;
} watcher;
#define watcher_HEARS(HEAR, K) HEAR(K, keeper, grown) HEAR(K, stoa_system, down)
static stoa_err watcher_start(stoa_turn *turn, void *state, const void *args);
static void watcher_stop(void *state)
{
    (void)state;
    s.heard++;
}
STOA_PLAIN_KIND(watcher, .start = watcher_start, .stop = watcher_stop)

typedef struct keeper {
    uint64_t count, ticks;
} keeper;
#define keeper_HEARS(HEAR, K) HEAR(K, watcher, told)
static stoa_err keeper_resume(stoa_turn *turn, const void *state);
static void keeper_inspect(const void *state, stoa_buf *out);
STOA_KIND(keeper, .resume = keeper_resume, .inspect = keeper_inspect)

typedef struct child {
    uint64_t nothing;
} child;
#define child_poke_FIELDS   STOA_NO_FIELDS
#define child_ROWS(ROW, K)  ROW(K, CAST, poke, _, "Nothing.")
STOA_TABLE_HERE(child)
#define child_HEARS STOA_HEARS_NOTHING
static stoa_err child_start(stoa_turn *turn, void *state, const void *args)
{
    (void)turn, (void)state, (void)args;
    s.heard++;
    return STOA_OK;
}
STOA_PLAIN_KIND(child, .start = child_start)
static stoa_err child_on_poke(stoa_turn *turn, child *self, const child_poke *in)
{
    (void)turn, (void)self, (void)in;
    return STOA_OK;
}

static void keeper_inspect(const void *state, stoa_buf *out)
{
    stoa_buf_printf(out, "%u notes", (unsigned)((const keeper *)state)->count);
}

static stoa_err keeper_resume(stoa_turn *turn, const void *state)
{
    (void)state;
    s.resumed++;
    stoa_err err = stoa_turn_bind(turn, 0, "keeper.grown");
    s.asked = STOA_E_AGAIN;
    if (!err) { err = stoa_turn_ask(turn, stoa_turn_find(turn, "port/client"), &watcher_rows[watcher_ROW_query],
                                    &(watcher_query){0}, STOA_S(2), 7); }
    if (err == STOA_E_CLOSED) { err = STOA_OK; } /* there is nobody yet */
    return err ? err : keeper_every_tick(turn, STOA_S(10), (keeper_tick){0}, NULL);
}

/* What leaves, the same in both turns. */
static stoa_err leave(stoa_turn *turn, uint64_t way, uint64_t count, keeper_kept *out)
{
    stoa_ref outside = s.watchers[s.target], born;
    out->count = count;
    switch (way) {
    case WAY_CAST:
    case WAY_LATER_CAST: return watcher_send_tell(turn, outside, (watcher_tell){count});
    case WAY_ASK: return watcher_ask_query(turn, outside, (watcher_query){count}, STOA_S(9), 1);
    case WAY_FORWARD: return watcher_forward_tell(turn, outside, (watcher_tell){count});
    case WAY_TOPIC:
    case WAY_LATER_TOPIC: return keeper_publish_grown(turn, 0, &(keeper_grown){count});
    case WAY_SPAWN: return stoa_turn_spawn(turn, &child_kind, NULL, &born);
    case WAY_STOP: return stoa_turn_stop(turn, outside, NULL);
    case WAY_LINK: return stoa_turn_link(turn, (stoa_ref){outside.at ^ UINT64_C(1) << 45}); /* nobody: it fails for that */
    case WAY_REFUSE: return count ? STOA_E_RANGE : STOA_OK;
    default: return STOA_OK;
    }
}

static stoa_err keeper_on_keep(stoa_turn *turn, const keeper *self, const keeper_keep *in, keeper_kept *out)
{
    stoa_err err = keeper_emit_added(turn, (keeper_added){0});
    s.handled++;
    return err || in->way >= WAY_LATER ? err : leave(turn, in->way, self->count + 1, out);
}

static stoa_err keeper_on_again(stoa_turn *turn, const keeper *self, const keeper_again *in, keeper_kept *out)
{
    return leave(turn, in->way, self->count, out);
}

static stoa_err keeper_on_fail(stoa_turn *turn, const keeper *self, const keeper_fail *in)
{
    (void)in;
    return self->count ? stoa_fail(turn, "it took note") : STOA_OK;
}

static stoa_err keeper_on_tick(stoa_turn *turn, const keeper *self, const keeper_tick *in)
{
    (void)self, (void)in;
    return keeper_emit_ticked(turn, (keeper_ticked){0});
}

static stoa_err keeper_on_watcher_told(stoa_turn *turn, const keeper *self, const watcher_told *in)
{
    (void)self, (void)in;
    if (turn->token == 7) { s.asked = turn->error; }
    return STOA_OK;
}

static void keeper_apply_added(keeper *self, const keeper_added *event)
{
    (void)event;
    self->count++;
}

static void keeper_apply_ticked(keeper *self, const keeper_ticked *event)
{
    (void)event;
    self->ticks++;
}

static stoa_err watcher_start(stoa_turn *turn, void *state, const void *args)
{
    (void)state, (void)args;
    stoa_err err = stoa_turn_subscribe(turn, "keeper.*");
    return err || !stoa_turn_monitor(turn, s.keeper) ? STOA_E_FULL : STOA_OK;
}

static stoa_err watcher_on_tell(stoa_turn *turn, watcher *self, const watcher_tell *in)
{
    (void)turn, (void)self, (void)in;
    s.heard++;
    return STOA_OK;
}

static stoa_err watcher_on_query(stoa_turn *turn, watcher *self, const watcher_query *in, watcher_told *out)
{
    (void)turn, (void)self, (void)in, (void)out;
    s.heard++;
    return STOA_OK;
}

static stoa_err watcher_on_keeper_grown(stoa_turn *turn, watcher *self, const keeper_grown *in)
{
    (void)turn, (void)self, (void)in;
    s.heard++;
    return STOA_OK;
}

static stoa_err watcher_on_stoa_system_down(stoa_turn *turn, watcher *self, const stoa_system_down *in)
{
    (void)turn, (void)self, (void)in;
    s.heard++;
    return STOA_OK;
}

/* --- the stage */

static const stoa_kind *const kinds[] = {&keeper_kind, NULL};
static const uint64_t EPOCH = 5;

static inline void take(void *context, const stoa_delivery *d)
{
    (void)context;
    if (!d->answer) {
        s.heard += d->row != &watcher_rows[watcher_ROW_query]; /* that is what resume asks */
        return;
    }
    s.answers++;
    s.error = d->error;
    s.count = d->payload ? ((const keeper_kept *)d->payload)->count : 0;
    if (!d->error) { assert_int_equal(d->durability, stoa_durability_DISK); }
}

static inline void open_process(void)
{
    static const char *const names[OUTSIDE] = {"watcher/here", "watcher/there"};
    stoa_shard_options options = {.name = "wall", .durability = stoa_durability_DISK, .journal = &stoa_journal_sim,
                                  .path = "sim:wall", .epoch = EPOCH};
    assert_int_equal(stoa_shard_open(s.node, &options, &s.shard), STOA_OK);
    assert_int_equal(stoa_spawn(s.node, &keeper_kind, "keeper/k", &(stoa_spawn_options){.shard = s.shard}, &s.keeper), STOA_OK);
    for (uint32_t i = 0; i < OUTSIDE; i++) {
        assert_int_equal(stoa_spawn(s.node, &watcher_kind, names[i], &(stoa_spawn_options){.core = i}, &s.watchers[i]), STOA_OK);
    }
    assert_int_equal(stoa_port_open(s.node, "client", &s.port), STOA_OK);
    assert_int_equal(stoa_port_subscribe(s.port, "keeper.>"), STOA_OK);
}

static inline void go(uint64_t ns)
{
    stoa_sim_run(s.sim, ns);
    while (stoa_port_poll(s.port, take, NULL, 64)) {}
}

static inline void begin(unsigned target)
{
    stoa_sim_disks_free();
    stoa_log_level_set(STOA_LOG_OFF);
    s = (struct stage){.target = target};
    stoa_sim_options options = {.seed = 3, .cores = 2, .kinds = kinds, .sync_ns_min = STOA_MS(100), .sync_ns_max = STOA_MS(100)};
    assert_int_equal(stoa_sim_new(&options, &s.sim, &s.node), STOA_OK);
    open_process();
    go(STOA_S(1));
    s.heard = s.answers = s.resumed = 0;
}

static inline void end(void)
{
    stoa_sim_free(s.sim);
    stoa_sim_disks_free();
}

static inline void crash(void)
{
    stoa_sim_disk *disk;
    assert_int_equal(stoa_sim_disk_get("wall", 0, &disk), STOA_OK);
    stoa_sim_disk_crash(disk);
    uint32_t heard = s.heard;
    assert_int_equal(stoa_sim_crash(s.sim, &s.node), STOA_OK);
    s.heard = heard; /* watchers are stopped with the process */
    open_process();
}

static inline void ask(const stoa_row *row, const void *payload)
{
    assert_int_equal(stoa_port_ask(s.port, s.keeper, row, payload, 0, STOA_S(3600), 1), STOA_OK);
    stoa_port_flush(s.port);
}

static inline void post_fail(void)
{
    assert_int_equal(stoa_port_send(s.port, s.keeper, &keeper_rows[keeper_ROW_fail], &(keeper_fail){0}, 0), STOA_OK);
    stoa_port_flush(s.port);
}

static inline const keeper *state(void)
{
    return stoa_sim_state(s.sim, s.keeper, NULL);
}

/* Note is taken, something is about to leave, and the disk is busy. */
static inline void set_out(uint64_t way)
{
    ask(&keeper_rows[keeper_ROW_keep], &(keeper_keep){way});
    go(STOA_MS(20));
    if (way == WAY_FAIL || way == WAY_FAILED_REFUSES) {
        post_fail();
        post_fail();
        go(STOA_US(500)); /* the second failure is restarted after a delay */
    }
    if (way >= WAY_LATER && way != WAY_FAIL) { ask(&keeper_rows[keeper_ROW_again], &(keeper_again){way}); }
    go(STOA_MS(20));
    assert_int_equal(state()->count, 1);
    if (s.heard || s.answers) { fail_msg("way %u: %u heard, %u answers", (unsigned)way, s.heard, s.answers); }
}

static inline void check_log(void)
{
    stoa_shard_view live;
    uint64_t hash = 0, events = 0;
    assert_int_equal(stoa_shard_look(s.shard, &live), STOA_OK);
    assert_int_equal(stoa_shard_replay(s.shard, live.applied, &hash, &events), STOA_OK);
    assert_true(hash == live.hash && events == live.applied);
}

#endif
