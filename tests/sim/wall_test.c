/* wall_test.c - goal: nothing that leaves a shard depends on an event that is lost, whichever way it leaves; and a shard that cannot
 * commit is dropped and comes back as its log has it. Method: a keeper takes note of something, and in the same turn or in a later
 * one, while its block is still on its way to a slow disk, something leaves: an answer, a read, a refusal, a message here and
 * to another core, a question, a topic, a child, an end that others hear of. Nobody outside may have heard anything before the block
 * is there, nor ever when the power goes, or the shard is dropped, before that.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/log.h"
#include "runtime/acks.h"
#include "runtime/internal.h"
#include "runtime/shard.h"
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

static void take(void *context, const stoa_delivery *d)
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

static void open_process(void)
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

static void go(uint64_t ns)
{
    stoa_sim_run(s.sim, ns);
    while (stoa_port_poll(s.port, take, NULL, 64)) {}
}

static void begin(unsigned target)
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

static void end(void)
{
    stoa_sim_free(s.sim);
    stoa_sim_disks_free();
}

static void crash(void)
{
    stoa_sim_disk *disk;
    assert_int_equal(stoa_sim_disk_get("wall", 0, &disk), STOA_OK);
    stoa_sim_disk_crash(disk);
    uint32_t heard = s.heard;
    assert_int_equal(stoa_sim_crash(s.sim, &s.node), STOA_OK);
    s.heard = heard; /* watchers are stopped with the process */
    open_process();
}

static void ask(const stoa_row *row, const void *payload)
{
    assert_int_equal(stoa_port_ask(s.port, s.keeper, row, payload, 0, STOA_S(3600), 1), STOA_OK);
    stoa_port_flush(s.port);
}

static void post_fail(void)
{
    assert_int_equal(stoa_port_send(s.port, s.keeper, &keeper_rows[keeper_ROW_fail], &(keeper_fail){0}, 0), STOA_OK);
    stoa_port_flush(s.port);
}

static const keeper *state(void)
{
    return stoa_sim_state(s.sim, s.keeper, NULL);
}

/* Note is taken, something is about to leave, and the disk is busy. */
static void set_out(uint64_t way)
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

/* The first request is answered, or is forwarded to who does not answer; what else there is to hear. */
static uint32_t answers_of(uint64_t way)
{
    if (way == WAY_FORWARD) { return 0; }
    return way < WAY_LATER || way == WAY_FAIL ? 1 : 2;
}

static bool is_heard(uint64_t way)
{
    return way != WAY_ANSWER && way != WAY_READ && way != WAY_REFUSE;
}

static void everything_waits_for_the_disk_and_then_leaves(void **unused)
{
    (void)unused;
    for (unsigned target = 0; target < OUTSIDE; target++) {
        for (uint64_t way = 0; way < WAY_COUNT; way++) {
            begin(target);
            set_out(way);
            go(STOA_MS(200));
            if (s.answers != answers_of(way)) { fail_msg("way %u: %u answers", (unsigned)way, s.answers); }
            if (!s.heard != !is_heard(way)) { fail_msg("way %u: %u heard", (unsigned)way, s.heard); }
            if (way == WAY_REFUSE) { assert_int_equal(s.error, STOA_E_RANGE); }
            if (way == WAY_READ) { assert_int_equal(s.count, 1); }
            end();
        }
    }
}

static void nobody_hears_of_what_a_crash_took(void **unused)
{
    (void)unused;
    for (unsigned target = 0; target < OUTSIDE; target++) {
        for (uint64_t way = 0; way < WAY_COUNT; way++) {
            begin(target);
            set_out(way);
            crash();
            go(STOA_S(1));
            assert_int_equal(state()->count, 0);
            assert_int_equal(s.heard + s.answers, 0);
            end();
        }
    }
}

/* --- who looks in from outside reads, too */

static void strike(stoa_sim_fault fault, uint64_t for_ns)
{
    assert_int_equal(stoa_sim_inject(s.sim, &(stoa_sim_injection){.fault = fault, .at = "wall", .for_ns = for_ns}), STOA_OK);
}

static uint64_t committed(void)
{
    stoa_shard_view view;
    assert_int_equal(stoa_shard_glance(s.shard, &view), STOA_OK);
    return view.committed;
}

static void a_look_waits_for_the_disk(void **unused)
{
    (void)unused;
    static const struct {
        stoa_sim_fault fault; /* STOA_SIM_FAULT_COUNT: none */
        stoa_err err;
        const char *shows;
    } cases[] = {
        {STOA_SIM_FAULT_COUNT, STOA_OK, "before 1 notes"},
        {STOA_SIM_DISK_FULL, STOA_E_TIMEOUT, "before "},
        {STOA_SIM_DISK_REFUSES, STOA_OK, "before 0 notes"}, /* what was there first never was */
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char storage[64];
        stoa_buf out = STOA_BUF_FIXED(storage);
        stoa_buf_puts(&out, "before ");
        begin(0);
        uint64_t before = committed();
        if (cases[i].fault != STOA_SIM_FAULT_COUNT) { strike(cases[i].fault, STOA_S(36000)); }
        set_out(WAY_ANSWER);
        assert_true(committed() == before);
        assert_int_equal(stoa_inspect(s.node, "keeper/k", &out), cases[i].err);
        assert_string_equal(out.at, cases[i].shows);
        if (cases[i].err == STOA_OK && state()->count == 1) { assert_true(committed() > before); }
        end();
    }
}

/* --- a core without memory */

static stoa_msg *hogged;

static void use_up_memory(void)
{
    stoa_slab *slab = &s.node->cores[0]->place.slab;
    for (uint32_t size_class = STOA_SLAB_CLASSES; size_class--;) {
        uint32_t bytes = size_class ? (UINT32_C(64) << size_class) - 64 : 0;
        for (stoa_msg *block; (block = stoa_slab_new_surely(slab, bytes, 0)) != NULL;) {
            block->next = hogged;
            hogged = block;
        }
    }
}

static void give_memory_back(void)
{
    while (hogged) {
        stoa_msg *block = hogged;
        hogged = block->next;
        stoa_slab_free(&s.node->cores[0]->place.slab, block);
    }
}

static void hear(stoa_core *core, stoa_msg *msg)
{
    s.heard++;
    stoa_place_free(&core->place, msg);
}

/* A signal of links, which has a block of its own and no room for a stamp. */
static stoa_msg *signal_of_an_end(void)
{
    stoa_msg *msg = stoa_slab_new(&s.node->cores[0]->place.slab, sizeof(stoa_act), STOA_MSG_ACT);
    if (!msg) { abort(); }
    *(stoa_act *)stoa_msg_body(msg) = (stoa_act){.run = hear};
    msg->to = stoa_ref_make(0, 0, 0);
    msg->from = STOA_REF_NONE;
    msg->row = NULL;
    return msg;
}

static void an_end_waits_for_the_disk_without_memory_too(void **unused)
{
    (void)unused;
    for (int drops = 0; drops < 2; drops++) {
        begin(0);
        stoa_msg *signals[] = {signal_of_an_end(), signal_of_an_end()};
        set_out(WAY_ANSWER);
        use_up_memory();
        stoa_shard_carry(s.shard, signals[0]);
        give_memory_back();
        stoa_shard_carry(s.shard, signals[1]); /* in order, though there is memory for this one */
        go(STOA_MS(1));
        assert_int_equal(state()->count, 1);
        assert_int_equal(s.heard, 0);
        if (drops) { assert_int_equal(stoa_shard_drop(s.shard, 0), STOA_OK); }
        go(STOA_MS(500));
        assert_true(s.heard >= 2);
        end();
    }
}

/* --- a shard is dropped */

static void nobody_hears_of_what_a_drop_took(void **unused)
{
    (void)unused;
    for (unsigned target = 0; target < OUTSIDE; target++) {
        for (uint64_t way = 0; way < WAY_COUNT; way++) {
            begin(target);
            set_out(way);
            assert_int_equal(stoa_shard_drop(s.shard, 0), STOA_OK);
            uint32_t downs = OUTSIDE; /* their monitors hear that the keeper began anew, and that alone */
            go(STOA_MS(500));
            assert_int_equal(state()->count, 0);
            bool gone = s.answers != (way >= WAY_LATER && way != WAY_FAIL ? 2 : 1) || s.heard > downs || s.error != STOA_E_UNAVAILABLE;
            if (gone) { fail_msg("way %u: %u heard, %u answers, %s", (unsigned)way, s.heard, s.answers, stoa_err_name(s.error)); }
            ask(&keeper_rows[keeper_ROW_again], &(keeper_again){WAY_READ});
            go(STOA_S(1));
            assert_int_equal(s.error, STOA_OK);
            assert_int_equal(s.count, 0);
            end();
        }
    }
}

static void check_log(void)
{
    stoa_shard_view live;
    uint64_t hash = 0, events = 0;
    assert_int_equal(stoa_shard_look(s.shard, &live), STOA_OK);
    assert_int_equal(stoa_shard_replay(s.shard, live.applied, &hash, &events), STOA_OK);
    assert_true(hash == live.hash && events == live.applied);
}

static void a_refused_block_drops_the_shard_and_a_retry_has_one_effect(void **unused)
{
    (void)unused;
    begin(0);
    stoa_request_name name = {1, 1, 1};
    stoa_sim_injection refuses = {.fault = STOA_SIM_DISK_REFUSES, .at = "wall"};
    assert_int_equal(stoa_sim_inject(s.sim, &refuses), STOA_OK);
    for (int i = 0; i < 3; i++) {
        const stoa_row *row = &keeper_rows[keeper_ROW_keep];
        assert_int_equal(stoa_port_ask_once(s.port, s.keeper, row, &(keeper_keep){WAY_ANSWER}, &name, STOA_S(60), 1), STOA_OK);
        stoa_port_flush(s.port);
        go(STOA_S(1));
        assert_int_equal(s.answers, i + 1);
        assert_int_equal(s.error, i ? STOA_OK : STOA_E_UNAVAILABLE);
    }
    stoa_shard_view view;
    assert_int_equal(stoa_shard_look(s.shard, &view), STOA_OK);
    assert_int_equal(view.drops, 1);
    assert_false(view.down);
    assert_int_equal(state()->count, 1);
    check_log();
    end();
}

static stoa_shard_view look(void)
{
    stoa_shard_view view;
    assert_int_equal(stoa_shard_look(s.shard, &view), STOA_OK);
    return view;
}

static void a_drop_on_a_full_disk_is_refused_and_changes_nothing(void **unused)
{
    (void)unused;
    for (uint64_t way = 0; way < WAY_COUNT; way++) {
        begin(0);
        stoa_sim_injection full = {.fault = STOA_SIM_DISK_FULL, .at = "wall", .for_ns = STOA_MS(200)};
        set_out(way);
        uint32_t heard = s.heard;
        assert_int_equal(stoa_sim_inject(s.sim, &full), STOA_OK);
        assert_int_equal(stoa_shard_drop(s.shard, EPOCH + 1), STOA_E_FULL);
        assert_int_equal(look().drops, 0);
        assert_true(look().epoch == EPOCH);
        go(STOA_MS(100));
        assert_int_equal(s.heard, heard);
        go(STOA_S(2));
        assert_int_equal(state()->count, 1);
        check_log();
        end();
    }
}

/* The disk fills behind the block that the journal refuses, before the log is synced. */
static void a_shard_that_its_journal_drops_on_a_full_disk_is_down_until_there_is_space(void **unused)
{
    (void)unused;
    begin(0);
    stoa_sim_injection refuses = {.fault = STOA_SIM_DISK_REFUSES, .at = "wall"};
    stoa_sim_injection full = {.fault = STOA_SIM_DISK_FULL, .at = "wall", .for_ns = STOA_MS(450), .skip = 1};
    assert_int_equal(stoa_sim_inject(s.sim, &refuses), STOA_OK);
    assert_int_equal(stoa_sim_inject(s.sim, &full), STOA_OK);
    ask(&keeper_rows[keeper_ROW_keep], &(keeper_keep){WAY_ANSWER});
    go(STOA_MS(150));
    assert_int_equal(s.answers, 0); /* the block may be in the log */
    assert_true(look().down);
    ask(&keeper_rows[keeper_ROW_again], &(keeper_again){WAY_READ});
    go(STOA_MS(1));
    assert_int_equal(s.answers, 1);
    assert_int_equal(s.error, STOA_E_UNAVAILABLE);
    assert_int_equal(stoa_shard_drop(s.shard, EPOCH + 1), STOA_E_FULL);
    assert_true(look().down && look().epoch == EPOCH && look().drops == 0);
    go(STOA_MS(600));
    assert_int_equal(s.answers, 2);
    assert_int_equal(s.error, STOA_E_UNAVAILABLE);
    assert_true(!look().down && look().drops == 1);
    ask(&keeper_rows[keeper_ROW_keep], &(keeper_keep){WAY_ANSWER});
    go(STOA_S(1));
    assert_int_equal(s.error, STOA_OK);
    assert_int_equal(state()->count, s.count);
    check_log();
    end();
}

static void what_was_committed_survives_a_drop_and_timers_run_again(void **unused)
{
    (void)unused;
    begin(0);
    ask(&keeper_rows[keeper_ROW_keep], &(keeper_keep){WAY_ANSWER});
    go(STOA_S(1));
    assert_int_equal(s.error, STOA_OK);
    stoa_ref before = s.keeper;
    assert_int_equal(stoa_shard_drop(s.shard, 0), STOA_OK);
    assert_int_equal(s.resumed, 1);
    assert_int_equal(state()->count, 1);
    assert_true(stoa_ref_equal(stoa_find(s.node, "keeper/k"), before));
    go(STOA_S(35));
    assert_int_equal(state()->ticks, 3);
    check_log();
    crash();
    go(STOA_S(1));
    assert_int_equal(state()->count, 1);
    assert_int_equal(state()->ticks, 3);
    end();
}

/* The port does not answer: the deadline of the question that resume asked anew ends it. */
static void resume_arms_timers_and_asks_and_replay_runs_no_handler(void **unused)
{
    (void)unused;
    begin(0);
    for (int i = 0; i < 5; i++) { ask(&keeper_rows[keeper_ROW_keep], &(keeper_keep){WAY_ANSWER}); }
    go(STOA_S(1));
    assert_int_equal(state()->count, 5);
    uint32_t handled = s.handled;
    crash();
    assert_int_equal(state()->count, 5);
    assert_int_equal(s.handled, handled);
    assert_int_equal(s.resumed, 1);
    assert_int_equal(stoa_shard_drop(s.shard, 0), STOA_OK); /* the port is there now */
    assert_int_equal(s.handled, handled);
    assert_int_equal(s.resumed, 2);
    assert_int_equal(s.asked, STOA_E_AGAIN);
    go(STOA_S(12));
    assert_int_equal(s.asked, STOA_E_TIMEOUT);
    assert_int_equal(state()->ticks, 1);
    end();
}

static void an_actor_whose_spawning_was_lost_is_spawned_again(void **unused)
{
    (void)unused;
    begin(0);
    stoa_ref late;
    assert_int_equal(stoa_spawn(s.node, &keeper_kind, "keeper/late", &(stoa_spawn_options){.shard = s.shard}, &late), STOA_OK);
    assert_int_equal(stoa_shard_drop(s.shard, 0), STOA_OK);
    s.keeper = late;
    ask(&keeper_rows[keeper_ROW_keep], &(keeper_keep){WAY_ANSWER});
    go(STOA_S(1));
    assert_int_equal(s.error, STOA_OK);
    check_log();
    crash();
    assert_int_equal(((const keeper *)stoa_sim_state(s.sim, stoa_find(s.node, "keeper/late"), NULL))->count, 1);
    end();
}

static void a_deposed_shard_is_down_until_it_gets_a_later_epoch(void **unused)
{
    (void)unused;
    begin(0);
    ask(&keeper_rows[keeper_ROW_keep], &(keeper_keep){WAY_ANSWER});
    go(STOA_S(1));
    assert_int_equal(stoa_shard_drop(s.shard, EPOCH - 1), STOA_E_STALE);
    ask(&keeper_rows[keeper_ROW_again], &(keeper_again){WAY_READ});
    go(STOA_S(20));
    assert_int_equal(s.error, STOA_E_UNAVAILABLE);
    stoa_shard_view view;
    assert_int_equal(stoa_shard_look(s.shard, &view), STOA_OK);
    assert_true(view.down);
    stoa_ref other;
    assert_int_equal(stoa_spawn(s.node, &keeper_kind, "keeper/other", &(stoa_spawn_options){.shard = s.shard}, &other),
                     STOA_E_UNAVAILABLE);
    assert_int_equal(stoa_shard_drop(s.shard, EPOCH + 1), STOA_OK);
    ask(&keeper_rows[keeper_ROW_again], &(keeper_again){WAY_READ});
    go(STOA_S(1));
    assert_int_equal(s.error, STOA_OK);
    assert_int_equal(s.count, 1);
    check_log();
    end();
}

/* --- who has acknowledged what */

static void a_shard_that_needs_copies_cannot_be_opened(void **unused)
{
    (void)unused;
    static const stoa_durability needs[] = {stoa_durability_REPLICA, stoa_durability_QUORUM};
    begin(0);
    for (size_t i = 0; i < 2; i++) {
        stoa_shard *shard;
        stoa_shard_options options = {.name = "far", .durability = needs[i], .journal = &stoa_journal_sim, .path = "sim:far"};
        assert_int_equal(stoa_shard_open(s.node, &options, &shard), STOA_E_UNSUPPORTED);
    }
    end();
}

static void committed_is_what_enough_have_acknowledged(void **unused)
{
    (void)unused;
    stoa_acks acks = {.memory = 100, .disk = 50};
    assert_int_equal(stoa_acks_committed(&acks, stoa_durability_MEMORY), 100);
    assert_int_equal(stoa_acks_committed(&acks, stoa_durability_DISK), 50);
    assert_int_equal(stoa_acks_committed(&acks, stoa_durability_REPLICA), 0);
    acks = (stoa_acks){.memory = 100, .disk = 50, .copies = {70, 20}, .copy_count = 2};
    assert_int_equal(stoa_acks_committed(&acks, stoa_durability_REPLICA), 50);
    assert_int_equal(stoa_acks_committed(&acks, stoa_durability_QUORUM), 50); /* 70 50 20: two of three */
    acks.copies[0] = 30;
    assert_int_equal(stoa_acks_committed(&acks, stoa_durability_REPLICA), 30);
    assert_int_equal(stoa_acks_committed(&acks, stoa_durability_QUORUM), 30);
    acks = (stoa_acks){.disk = 10, .copies = {40, 30, 20, 0}, .copy_count = 4};
    assert_int_equal(stoa_acks_committed(&acks, stoa_durability_QUORUM), 20); /* 40 30 20 10 0: three of five */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_look_waits_for_the_disk),
        cmocka_unit_test(an_end_waits_for_the_disk_without_memory_too),
        cmocka_unit_test(everything_waits_for_the_disk_and_then_leaves),
        cmocka_unit_test(nobody_hears_of_what_a_crash_took),
        cmocka_unit_test(nobody_hears_of_what_a_drop_took),
        cmocka_unit_test(a_refused_block_drops_the_shard_and_a_retry_has_one_effect),
        cmocka_unit_test(a_drop_on_a_full_disk_is_refused_and_changes_nothing),
        cmocka_unit_test(a_shard_that_its_journal_drops_on_a_full_disk_is_down_until_there_is_space),
        cmocka_unit_test(what_was_committed_survives_a_drop_and_timers_run_again),
        cmocka_unit_test(resume_arms_timers_and_asks_and_replay_runs_no_handler),
        cmocka_unit_test(an_actor_whose_spawning_was_lost_is_spawned_again),
        cmocka_unit_test(a_deposed_shard_is_down_until_it_gets_a_later_epoch),
        cmocka_unit_test(a_shard_that_needs_copies_cannot_be_opened),
        cmocka_unit_test(committed_is_what_enough_have_acknowledged),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
