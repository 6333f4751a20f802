/* runtime_test.c - goal: the runtime's promises hold under every schedule. Method: small kinds under the simulator, from
 * printed seeds.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/log.h"
#include "runtime/kit.h"
#include "runtime/stoa.h"
#include "storage/sim/journal.h"

/* --- counter: event-sourced; passes amounts on to a partner in the same shard */

#define counter_add_FIELDS(F, S)    F(S, uint64_t, amount) F(S, uint64_t, pass) F(S, stoa_id, tag)
#define counter_total_FIELDS(F, S)  F(S, uint64_t, total)
#define counter_read_FIELDS         STOA_NO_FIELDS
#define counter_share_FIELDS(F, S)  F(S, uint64_t, amount) F(S, stoa_id, tag)
#define counter_crash_FIELDS        STOA_NO_FIELDS
#define counter_added_FIELDS(F, S)  F(S, uint64_t, amount) F(S, stoa_id, tag)
#define counter_grown_FIELDS(F, S)  F(S, uint64_t, total)
#define counter_ROWS(ROW, K)                                                                                           \
    ROW(K, COMMAND, add, total, "Add; pass so much of it on to the next actor of the shard.")                          \
    ROW(K, COMMAND, read, total, "The total.")                                                                         \
    ROW(K, CAST, share, _, "A part passed on; the last one answers.")                                                  \
    ROW(K, COMMAND, crash, total, "Fail.")                                                                             \
    ROW(K, REPLY, total, _, "The total.")                                                                              \
    ROW(K, EVENT, added, _, "Added.")                                                                                  \
    ROW(K, TOPIC, grown, _, "The total grew.")
STOA_TABLE(counter)
STOA_TABLE_DEFINE(counter)
typedef struct counter {
    uint64_t total, times;
} counter;
#define counter_HEARS STOA_HEARS_NOTHING
static stoa_err counter_resume(stoa_turn *turn, const void *state)
{
    char topic[64];
    (void)state;
    (void)snprintf(topic, sizeof topic, "count.%s", stoa_turn_key(turn));
    return stoa_turn_bind(turn, 0, topic);
}
STOA_KIND(counter, .mailbox_limit = 64, .resume = counter_resume)

static stoa_err counter_on_add(stoa_turn *turn, const counter *self, const counter_add *in, counter_total *out)
{
    if (in->amount == 0) { return STOA_E_INVALID; }
    uint64_t mine = in->amount - in->pass;
    counter_grown grown = {self->total + mine};
    stoa_err err = counter_emit_added(turn, (counter_added){mine, in->tag});
    if (!err) { err = counter_publish_grown(turn, 0, &grown); }
    if (err || !in->pass) {
        out->total = self->total + mine;
        return err;
    }
    stoa_ref next = stoa_turn_peer(turn, stoa_turn_stream(turn) % 2 + 1);
    return counter_forward_share(turn, next, (counter_share){in->pass, in->tag});
}
static stoa_err counter_on_share(stoa_turn *turn, const counter *self, const counter_share *in)
{
    stoa_err err = counter_emit_added(turn, (counter_added){in->amount, in->tag});
    return err ? err : counter_answer_total(turn, (counter_total){self->total + in->amount});
}
static stoa_err counter_on_read(stoa_turn *turn, const counter *self, const counter_read *in, counter_total *out)
{
    (void)turn;
    (void)in;
    out->total = self->total;
    return STOA_OK;
}
static stoa_err counter_on_crash(stoa_turn *turn, const counter *self, const counter_crash *in, counter_total *out)
{
    (void)self;
    (void)in;
    (void)out;
    stoa_err err = counter_emit_added(turn, (counter_added){1000000, 0});
    return err ? err : stoa_fail(turn, "asked to");
}
static void counter_apply_added(counter *self, const counter_added *event)
{
    self->total += event->amount;
    self->times++;
}

/* --- worker: plain; asks a counter again and again, hears its topic, has timers, can fail */

#define worker_work_FIELDS(F, S)   F(S, uint64_t, times) F(S, uint64_t, amount)
#define worker_done_FIELDS(F, S)   F(S, uint64_t, answers) F(S, uint64_t, errors) F(S, uint64_t, heard) F(S, uint64_t, ticks)
#define worker_status_FIELDS       STOA_NO_FIELDS
#define worker_tick_FIELDS         STOA_NO_FIELDS
#define worker_fail_FIELDS         STOA_NO_FIELDS
#define worker_sleep_FIELDS        STOA_NO_FIELDS
#define worker_ROWS(ROW, K)                                                                                            \
    ROW(K, CAST, work, _, "Ask the counter so many times.")                                                            \
    ROW(K, COMMAND, status, done, "What came back.")                                                                   \
    ROW(K, COMMAND, sleep, done, "Never answer.")                                                                      \
    ROW(K, REPLY, done, _, "Counts.")                                                                                  \
    ROW(K, CAST, tick, _, "Timer.")                                                                                    \
    ROW(K, COMMAND, fail, done, "Fail.")
STOA_TABLE(worker)
STOA_TABLE_DEFINE(worker)
typedef struct worker {
    worker_done seen;
    stoa_ref counter;
    stoa_timer timer;
} worker;
typedef struct worker_args {
    const char *counter;
} worker_args;
#define worker_HEARS(HEAR, K) HEAR(K, counter, total) HEAR(K, counter, grown)
static stoa_err worker_start(stoa_turn *turn, void *state, const void *args);
STOA_PLAIN_KIND(worker, .mailbox_limit = 64, .start = worker_start, .args_bytes = sizeof(worker_args))

static stoa_err worker_start(stoa_turn *turn, void *state, const void *args)
{
    worker *self = state;
    const worker_args *with = args;
    self->counter = stoa_turn_find(turn, with->counter);
    stoa_err err = stoa_turn_subscribe(turn, "count.*");
    return err ? err : worker_after_tick(turn, STOA_MS(10), (worker_tick){0}, &self->timer);
}
static stoa_err worker_on_work(stoa_turn *turn, worker *self, const worker_work *in)
{
    stoa_err err = STOA_OK;
    for (uint64_t i = 0; i < in->times && !err; i++) {
        counter_add add = {in->amount, in->amount / 2, 0};
        err = counter_ask_add(turn, self->counter, add, STOA_S(1), i);
    }
    return err;
}
static stoa_err worker_on_counter_total(stoa_turn *turn, worker *self, const counter_total *in)
{
    (void)in;
    if (turn->error) {
        self->seen.errors++;
    } else {
        self->seen.answers++;
    }
    return STOA_OK;
}
static stoa_err worker_on_counter_grown(stoa_turn *turn, worker *self, const counter_grown *in)
{
    assert_true(strncmp(stoa_turn_topic(turn), "count.", 6) == 0);
    assert_true(in->total > 0);
    self->seen.heard++;
    return STOA_OK;
}
static stoa_err worker_on_tick(stoa_turn *turn, worker *self, const worker_tick *in)
{
    self->seen.ticks++;
    return worker_after_tick(turn, STOA_MS(10), *in, &self->timer);
}
static stoa_err worker_on_status(stoa_turn *turn, worker *self, const worker_status *in, worker_done *out)
{
    (void)turn;
    (void)in;
    *out = self->seen;
    return STOA_OK;
}
static stoa_err worker_on_sleep(stoa_turn *turn, worker *self, const worker_sleep *in, worker_done *out)
{
    (void)self;
    (void)in;
    (void)out;
    stoa_turn_no_answer(turn);
    return STOA_OK;
}
static stoa_err worker_on_fail(stoa_turn *turn, worker *self, const worker_fail *in, worker_done *out)
{
    (void)in;
    (void)out;
    self->seen.answers = 777;
    return stoa_fail(turn, "asked to");
}

/* --- the stage */

static const stoa_kind *const kinds[] = {&counter_kind, NULL};

typedef struct stage {
    stoa_sim *sim;
    stoa_node *node;
    stoa_shard *shard;
    stoa_ref a, b;
} stage;

static void open_shard(stage *s)
{
    stoa_shard_options options = {
        .name = "s", .durability = stoa_durability_DISK, .journal = &stoa_journal_sim, .path = "sim:s"};
    assert_int_equal(stoa_shard_open(s->node, &options, &s->shard), STOA_OK);
    stoa_spawn_options in = {.shard = s->shard};
    assert_int_equal(stoa_spawn(s->node, &counter_kind, "counter/a", &in, &s->a), STOA_OK);
    assert_int_equal(stoa_spawn(s->node, &counter_kind, "counter/b", &in, &s->b), STOA_OK);
}

static stage stage_open(uint64_t seed, uint32_t cores)
{
    stage s = {0};
    stoa_sim_disk *disk;
    assert_int_equal(stoa_sim_disk_get("s", seed, &disk), STOA_OK);
    stoa_sim_options options = {.seed = seed, .cores = cores, .kinds = kinds, .trace = stoa_seeds_trace()};
    stoa_log_level_set(STOA_LOG_ERROR);
    assert_int_equal(stoa_sim_new(&options, &s.sim, &s.node), STOA_OK);
    open_shard(&s);
    return s;
}

static void stage_close(stage *s)
{
    stoa_sim_free(s->sim);
    stoa_sim_disks_free();
}

static uint64_t total_of(stage *s, stoa_ref of)
{
    counter_total out;
    assert_int_equal(counter_call_read(s->node, of, (counter_read){0}, STOA_S(5), &out), STOA_OK);
    return out.total;
}

/* --- tests */

static void a_call_is_answered_and_a_refusal_changes_nothing(void **state)
{
    (void)state;
    stage s = stage_open(1, 1);
    counter_total out = {0};
    assert_int_equal(counter_call_add(s.node, s.a, (counter_add){5, 0, 0}, STOA_S(1), &out), STOA_OK);
    assert_int_equal(out.total, 5);
    assert_int_equal(counter_call_add(s.node, s.a, (counter_add){0, 0, 0}, STOA_S(1), &out), STOA_E_INVALID);
    assert_int_equal(total_of(&s, s.a), 5);
    stage_close(&s);
}

static void a_forwarded_command_is_answered_by_the_last_of_the_chain(void **state)
{
    (void)state;
    stage s = stage_open(2, 1);
    counter_total out = {0};
    assert_int_equal(counter_call_add(s.node, s.a, (counter_add){10, 4, 0}, STOA_S(1), &out), STOA_OK);
    assert_int_equal(out.total, 4); /* b's */
    assert_int_equal(total_of(&s, s.a), 6);
    stage_close(&s);
}

static void nothing_leaves_a_shard_before_its_events_are_durable(void **state)
{
    (void)state;
    stage s = stage_open(3, 1);
    assert_int_equal(stoa_sim_settle(s.sim, 100000), STOA_OK);
    stoa_sim_disk *disk;
    assert_int_equal(stoa_sim_disk_get("s", 0, &disk), STOA_OK);
    counter_total out = {0};
    for (uint64_t i = 1; i <= 50; i++) {
        assert_int_equal(counter_call_add(s.node, s.a, (counter_add){1, 0, 0}, STOA_S(1), &out), STOA_OK);
        stoa_shard_view view;
        assert_int_equal(stoa_shard_look(s.shard, &view), STOA_OK);
        assert_true(view.committed >= 2 + i); /* two spawns, then one event a call */
    }
    stoa_sim_disk_crash(disk); /* all of it was acknowledged, so all of it must be there */
    assert_int_equal(stoa_sim_crash(s.sim, &s.node), STOA_OK);
    open_shard(&s);
    assert_int_equal(total_of(&s, s.a), 50);
    stage_close(&s);
}

static void a_failed_turn_leaves_no_trace_and_the_actor_goes_on(void **state)
{
    (void)state;
    stage s = stage_open(4, 1);
    counter_total out = {0};
    assert_int_equal(counter_call_add(s.node, s.a, (counter_add){3, 0, 0}, STOA_S(1), &out), STOA_OK);
    assert_int_equal(counter_call_crash(s.node, s.a, (counter_crash){0}, STOA_S(1), &out), STOA_E_FAILED);
    assert_int_equal(total_of(&s, s.a), 3);
    stage_close(&s);
}

static void a_failing_plain_actor_is_restarted_alone_and_fresh(void **state)
{
    (void)state;
    stage s = stage_open(5, 2);
    stoa_ref w, v;
    worker_args args = {"counter/a"};
    assert_int_equal(stoa_spawn(s.node, &worker_kind, "worker/w", &(stoa_spawn_options){.core = 1, .args = &args}, &w), STOA_OK);
    assert_int_equal(stoa_spawn(s.node, &worker_kind, "worker/v", &(stoa_spawn_options){.core = 1, .args = &args}, &v), STOA_OK);
    assert_int_equal(stoa_spawn(s.node, &worker_kind, "worker/v", &(stoa_spawn_options){.core = 1, .args = &args}, &v), STOA_E_EXISTS);
    stoa_sim_run(s.sim, STOA_MS(100));
    worker_done out;
    assert_int_equal(worker_call_fail(s.node, w, (worker_fail){0}, STOA_S(1), &out), STOA_E_FAILED);
    assert_int_equal(worker_call_status(s.node, w, (worker_status){0}, STOA_S(1), &out), STOA_OK);
    assert_true(out.answers == 0 && out.ticks <= 1);
    assert_int_equal(worker_call_status(s.node, v, (worker_status){0}, STOA_S(1), &out), STOA_OK);
    assert_true(out.ticks >= 5);
    stage_close(&s);
}

static void asks_are_answered_once_or_time_out(void **state)
{
    (void)state;
    stage s = stage_open(6, 2);
    stoa_ref w;
    worker_args args = {"counter/a"};
    assert_int_equal(stoa_spawn(s.node, &worker_kind, "worker/w", &(stoa_spawn_options){.core = 1, .args = &args}, &w), STOA_OK);
    assert_int_equal(worker_post_work(s.node, w, (worker_work){20, 2}), STOA_OK);
    assert_int_equal(stoa_sim_settle(s.sim, 1000000), STOA_OK);
    worker_done out;
    assert_int_equal(worker_call_status(s.node, w, (worker_status){0}, STOA_S(1), &out), STOA_OK);
    assert_int_equal(out.answers, 20);
    assert_int_equal(out.errors, 0);
    assert_int_equal(out.heard, 20);
    assert_int_equal(total_of(&s, s.a) + total_of(&s, s.b), 40);
    assert_int_equal(worker_call_sleep(s.node, w, (worker_sleep){0}, STOA_MS(50), &out), STOA_E_TIMEOUT);
    stage_close(&s);
}

static void a_full_mailbox_refuses(void **state)
{
    (void)state;
    stage s = stage_open(7, 2);
    stoa_ref w;
    worker_args args = {"counter/a"};
    assert_int_equal(stoa_spawn(s.node, &worker_kind, "worker/w", &(stoa_spawn_options){.core = 1, .args = &args}, &w), STOA_OK);
    for (int i = 0; i < 10; i++) { assert_int_equal(worker_post_work(s.node, w, (worker_work){20, 2}), STOA_OK); }
    stoa_sim_run(s.sim, STOA_S(3));
    worker_done out;
    assert_int_equal(worker_call_status(s.node, w, (worker_status){0}, STOA_S(1), &out), STOA_OK);
    assert_int_equal(out.answers + out.errors, 200); /* the counter takes 64 at a time; the rest was told so */
    assert_true(out.errors > 0);
    assert_int_equal(total_of(&s, s.a) + total_of(&s, s.b), out.answers * 2);
    stage_close(&s);
}

static void a_message_to_nobody_is_a_dead_letter(void **state)
{
    (void)state;
    stage s = stage_open(8, 1);
    counter_total out;
    stoa_ref nobody = {.at = UINT64_C(9) << 40 | 12345};
    assert_int_equal(counter_call_read(s.node, nobody, (counter_read){0}, STOA_S(1), &out), STOA_E_CLOSED);
    assert_int_equal(worker_post_tick(s.node, s.a, (worker_tick){0}), STOA_OK); /* counters take no ticks */
    stoa_sim_run(s.sim, STOA_MS(10));
    stoa_core_view view;
    assert_int_equal(stoa_core_look(s.node, 0, &view), STOA_OK);
    assert_int_equal(view.dead_letters, 1);
    stage_close(&s);
}

static uint64_t ticks_in(stage *s, stoa_ref w, uint64_t ns)
{
    worker_done before, after;
    assert_int_equal(worker_call_status(s->node, w, (worker_status){0}, STOA_S(1), &before), STOA_OK);
    stoa_sim_run(s->sim, ns);
    assert_int_equal(worker_call_status(s->node, w, (worker_status){0}, STOA_S(1), &after), STOA_OK);
    return after.ticks - before.ticks;
}

static void a_timer_fires_also_into_a_full_mailbox(void **state)
{
    (void)state;
    stage s = stage_open(10, 1);
    stoa_ref w;
    worker_args args = {"counter/a"};
    assert_int_equal(stoa_spawn(s.node, &worker_kind, "worker/w", &(stoa_spawn_options){.args = &args}, &w), STOA_OK);
    for (int round = 0; round < 20; round++) { /* far more than fits, whenever the timer is due */
        for (int i = 0; i < 200; i++) { assert_int_equal(worker_post_work(s.node, w, (worker_work){0, 2}), STOA_OK); }
        stoa_sim_run(s.sim, STOA_MS(10));
    }
    assert_true(ticks_in(&s, w, STOA_MS(500)) >= 40);
    stage_close(&s);
}

static void a_restarted_actor_has_one_chain_of_timers(void **state)
{
    (void)state;
    stage s = stage_open(11, 1);
    stoa_ref w;
    worker_done ignored;
    worker_args args = {"counter/a"};
    assert_int_equal(stoa_spawn(s.node, &worker_kind, "worker/w", &(stoa_spawn_options){.args = &args}, &w), STOA_OK);
    uint64_t once = ticks_in(&s, w, STOA_MS(500));
    for (int i = 0; i < 3; i++) {
        assert_int_equal(worker_call_fail(s.node, w, (worker_fail){0}, STOA_S(1), &ignored), STOA_E_FAILED);
        stoa_sim_run(s.sim, STOA_MS(50));
    }
    uint64_t still = ticks_in(&s, w, STOA_MS(500));
    assert_true(once >= 45 && still >= once - 2 && still <= once + 2);
    stage_close(&s);
}

typedef struct found {
    uint64_t count, sum, last;
    bool whole;
} found;

static void on_event(void *context, const stoa_event_view *view)
{
    found *f = context;
    const counter_added *added = view->payload;
    f->whole = view->position > f->last && view->commit_ns >= view->wall_ns && strncmp(view->actor, "counter/", 8) == 0;
    f->last = view->position;
    f->count++;
    f->sum += added->amount;
}

static void the_events_of_an_id_are_found_also_after_a_restart(void **state)
{
    (void)state;
    stage s = stage_open(9, 1);
    counter_total out;
    for (uint64_t i = 0; i < 60; i++) { /* tag 7 in every third call, in two events of one cascade */
        counter_add add = {10 + i, 4, i % 3 ? 100 + i : 7};
        assert_int_equal(counter_call_add(s.node, s.a, add, STOA_S(1), &out), STOA_OK);
    }
    for (int life = 0; life < 2; life++) {
        found seven = {.whole = true}, none = {0};
        assert_int_equal(stoa_shard_lookup(s.shard, 7, on_event, &seven), STOA_OK);
        assert_int_equal(seven.count, 40);
        assert_int_equal(seven.sum, 20 * 10 + 3 * 190);
        assert_true(seven.whole);
        assert_int_equal(stoa_shard_lookup(s.shard, 999, on_event, &none), STOA_OK);
        assert_int_equal(none.count, 0);
        assert_int_equal(stoa_sim_crash(s.sim, &s.node), STOA_OK);
        open_shard(&s);
    }
    stage_close(&s);
}

/* A run of random calls with crashes; returns the simulation's hash. */
static uint64_t random_run(uint64_t seed)
{
    stage s = stage_open(seed, 1 + (uint32_t)(seed % 3));
    stoa_ref w[3];
    for (int round = 0; round < 3; round++) {
        worker_args args = {round % 2 ? "counter/a" : "counter/b"};
        uint32_t core = stoa_core_count(s.node) - 1;
        for (int i = 0; i < 3; i++) {
            char name[32];
            (void)snprintf(name, sizeof name, "worker/%d", i);
            assert_int_equal(stoa_spawn(s.node, &worker_kind, name, &(stoa_spawn_options){.core = core, .args = &args}, &w[i]), STOA_OK);
        }
        for (int step = 0; step < 20; step++) {
            uint64_t times = 1 + stoa_sim_random(s.sim) % 20;
            worker_done ignored;
            if (stoa_sim_random(s.sim) % 8 == 0) {
                (void)worker_call_fail(s.node, w[step % 3], (worker_fail){0}, STOA_MS(1), &ignored);
            }
            (void)worker_post_work(s.node, w[step % 3], (worker_work){times, 2});
            stoa_sim_run(s.sim, stoa_sim_random(s.sim) % STOA_MS(2));
        }
        bool clean = stoa_sim_random(s.sim) % 2 == 0;
        if (clean) { stoa_sim_run(s.sim, STOA_S(3)); }
        uint64_t before = clean ? total_of(&s, s.a) + total_of(&s, s.b) : 0;
        stoa_shard_view live;
        assert_int_equal(stoa_shard_look(s.shard, &live), STOA_OK);
        uint64_t hash, events;
        if (clean) {
            assert_int_equal(stoa_shard_replay(s.shard, live.applied, &hash, &events), STOA_OK);
            assert_int_equal(events, live.applied);
            assert_true(hash == live.hash);
        }
        stoa_sim_disk *disk;
        assert_int_equal(stoa_sim_disk_get("s", seed, &disk), STOA_OK);
        stoa_sim_disk_crash(disk);
        assert_int_equal(stoa_sim_crash(s.sim, &s.node), STOA_OK);
        open_shard(&s);
        uint64_t after = total_of(&s, s.a) + total_of(&s, s.b);
        if (clean) { assert_int_equal(after, before); }
        assert_int_equal(after % 2, 0); /* both halves of each cascade, or neither */
    }
    uint64_t hash = stoa_sim_hash(s.sim);
    stage_close(&s);
    return hash;
}

static const stoa_seeds seeds = {.count = 300, .deep = 10000, .run = random_run};

static void every_seed_keeps_cascades_whole(void **state)
{
    (void)state;
    assert_int_equal(stoa_seeds_run(&seeds), STOA_OK);
}

int main(int argc, char **argv)
{
    int status;
    if (stoa_seeds_main(&seeds, argc, argv, &status)) { return status; }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_call_is_answered_and_a_refusal_changes_nothing),
        cmocka_unit_test(a_forwarded_command_is_answered_by_the_last_of_the_chain),
        cmocka_unit_test(nothing_leaves_a_shard_before_its_events_are_durable),
        cmocka_unit_test(a_failed_turn_leaves_no_trace_and_the_actor_goes_on),
        cmocka_unit_test(a_failing_plain_actor_is_restarted_alone_and_fresh),
        cmocka_unit_test(asks_are_answered_once_or_time_out),
        cmocka_unit_test(a_full_mailbox_refuses),
        cmocka_unit_test(a_message_to_nobody_is_a_dead_letter),
        cmocka_unit_test(a_timer_fires_also_into_a_full_mailbox),
        cmocka_unit_test(a_restarted_actor_has_one_chain_of_timers),
        cmocka_unit_test(the_events_of_an_id_are_found_also_after_a_restart),
        cmocka_unit_test(every_seed_keeps_cascades_whole),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
