/* snapshot_random_test.c - goal: whenever the process dies and whatever the side store has lost by then, the states that come
 * back are those that the whole log gives; and snapshots are used where they can be. Method: many seeds of a simulated shard
 * whose actors have small and large states and are spawned as time goes on, with snapshots every few events; each life ends
 * at a random step, by the death of the process or of the machine; between lives snapshots rot, are lost, or their writing
 * fails; the live hash is compared with a replay from the first event, and so are the states with what was acknowledged.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/log.h"
#include "base/random.h"
#include "runtime/kit.h"
#include "runtime/sim.h"
#include "runtime/stoa.h"
#include "storage/sim/journal.h"

/* --- a small state and a large, sparse one */

#define leaf_add_FIELDS(F, S)   F(S, uint64_t, amount)
#define leaf_sum_FIELDS(F, S)   F(S, uint64_t, total)
#define leaf_added_FIELDS(F, S) F(S, uint64_t, amount)
#define leaf_ROWS(ROW, K)                                                                                              \
    ROW(K, COMMAND, add, sum, "Add an amount.")                                                                        \
    ROW(K, REPLY, sum, _, "What was added.")                                                                           \
    ROW(K, EVENT, added, _, "An amount was added.")
STOA_TABLE_HERE(leaf)
typedef struct leaf {
    uint64_t total, count, last;
} leaf;
#define leaf_HEARS STOA_HEARS_NOTHING
STOA_KIND(leaf, .mailbox_limit = 64)

static stoa_err leaf_on_add(stoa_turn *turn, const leaf *self, const leaf_add *in, leaf_sum *out)
{
    out->total = self->total + in->amount;
    return leaf_emit_added(turn, (leaf_added){in->amount});
}

static void leaf_apply_added(leaf *self, const leaf_added *event)
{
    self->total += event->amount;
    self->count++;
    self->last = event->amount;
}

enum { PAGES = 40, PAGE = 8192 };
#define trunk_mark_FIELDS(F, S)   F(S, uint64_t, at)
#define trunk_held_FIELDS(F, S)   F(S, uint64_t, marks)
#define trunk_marked_FIELDS(F, S) F(S, uint64_t, at) F(S, uint64_t, times)
#define trunk_ROWS(ROW, K)                                                                                             \
    ROW(K, COMMAND, mark, held, "Mark a place, several times.")                                                        \
    ROW(K, REPLY, held, _, "How many marks there are.")                                                                \
    ROW(K, EVENT, marked, _, "A place was marked.")
STOA_TABLE_HERE(trunk)
typedef struct trunk {
    uint64_t marks;
    uint8_t places[PAGES * PAGE]; /* 320 KiB: five chunks, of which most are never touched */
} trunk;
#define trunk_HEARS STOA_HEARS_NOTHING
STOA_KIND(trunk, .mailbox_limit = 64)

static stoa_err trunk_on_mark(stoa_turn *turn, const trunk *self, const trunk_mark *in, trunk_held *out)
{
    uint64_t times = 1 + in->at % 3;
    stoa_err err = STOA_OK;
    for (uint64_t i = 0; i < times && !err; i++) { err = trunk_emit_marked(turn, (trunk_marked){in->at, i}); }
    out->marks = self->marks + times;
    return err;
}

static void trunk_apply_marked(trunk *self, const trunk_marked *event)
{
    self->marks++;
    self->places[event->at % sizeof self->places]++;
}

static const stoa_kind *const kinds[] = {&leaf_kind, &trunk_kind, NULL};

/* --- the books: what was acknowledged */

enum { LEAVES_MAX = 40, LIVES = 6, STEPS_MAX = 3000 };

typedef struct world {
    stoa_sim *sim;
    stoa_node *node;
    stoa_shard *shard;
    stoa_sim_disk *disk;
    stoa_random chance;
    stoa_ref trunk, leaves[LEAVES_MAX];
    uint32_t leaf_count;
    uint64_t acked[LEAVES_MAX]; /* what each leaf has at least */
} world;

static struct {
    uint64_t restored, from_log, made, equal; /* over all seeds: lives that began with a snapshot, or without; made; compared */
} sums;

static void open_shard(world *w)
{
    stoa_shard_options shard = {
        .name = "s", .durability = stoa_durability_DISK, .journal = &stoa_journal_sim, .path = "sim:snapshots"};
    assert_int_equal(stoa_shard_open(w->node, &shard, &w->shard), STOA_OK);
}

static stoa_err add_leaf(world *w)
{
    char name[32];
    (void)snprintf(name, sizeof name, "leaf/%u", w->leaf_count);
    stoa_err err = stoa_spawn(w->node, &leaf_kind, name, &(stoa_spawn_options){.shard = w->shard}, &w->leaves[w->leaf_count]);
    w->leaf_count += !err;
    return err;
}

static void find_all(world *w)
{
    stoa_spawn_options spawn = {.shard = w->shard};
    assert_int_equal(stoa_spawn(w->node, &trunk_kind, "trunk/one", &spawn, &w->trunk), STOA_OK);
    uint32_t count = w->leaf_count; /* those that were not durable are spawned anew, and had nothing acknowledged */
    for (w->leaf_count = 0; w->leaf_count < count;) { assert_int_equal(add_leaf(w), STOA_OK); }
}

static uint64_t total_of(world *w, uint32_t i)
{
    const leaf *state = stoa_sim_state(w->sim, w->leaves[i], NULL);
    assert_non_null(state);
    return state->total;
}

static void check(world *w)
{
    stoa_shard_view live;
    stoa_following_view following;
    uint64_t hash = 0, events = 0;
    for (uint32_t i = 0; i < w->leaf_count; i++) { assert_true(total_of(w, i) >= w->acked[i]); }
    assert_int_equal(stoa_shard_look(w->shard, &live), STOA_OK);
    assert_int_equal(stoa_shard_replay(w->shard, live.applied, &hash, &events), STOA_OK);
    assert_int_equal(events, live.applied);
    assert_true(hash == live.hash);
    assert_int_equal(stoa_shard_following(w->shard, &following), STOA_OK);
    assert_int_equal(following.differences, 0);
    assert_string_not_equal(following.phase, "failed");
}

/* One thing from outside; an error is a dead process or a full disk's. */
static void do_one(world *w)
{
    uint64_t what = stoa_random_below(&w->chance, 100), number = stoa_random_below(&w->chance, 1000);
    if (what < 5 && w->leaf_count < LEAVES_MAX) {
        (void)add_leaf(w);
    } else if (what < 30 || !w->leaf_count) {
        trunk_held held;
        (void)trunk_call_mark(w->node, w->trunk, (trunk_mark){number * number}, STOA_S(2), &held);
    } else {
        uint32_t i = (uint32_t)stoa_random_below(&w->chance, w->leaf_count);
        leaf_sum sum;
        if (leaf_call_add(w->node, w->leaves[i], (leaf_add){number}, STOA_S(2), &sum) == STOA_OK) { w->acked[i] = sum.total; }
    }
}

static void live(world *w)
{
    uint64_t things = stoa_random_below(&w->chance, 60), steps = stoa_random_below(&w->chance, STEPS_MAX);
    if (stoa_random_below(&w->chance, 4) == 0) {
        stoa_sim_disk_fail_put(w->disk, 1 + (uint32_t)stoa_random_below(&w->chance, 12));
    }
    for (uint64_t i = 0; i < things && !stoa_sim_dead(w->sim); i++) {
        do_one(w);
        if (stoa_random_below(&w->chance, 20) == 0) { stoa_sim_run(w->sim, STOA_MS(stoa_random_below(&w->chance, 50))); }
    }
    if (stoa_random_below(&w->chance, 3) == 0 && !stoa_sim_dead(w->sim)) {
        stoa_following_view view;
        (void)stoa_shard_snapshot(w->shard, STOA_S(1), &view); /* by order; where the store fails it does too */
    }
    stoa_following_view view;
    assert_int_equal(stoa_shard_following(w->shard, &view), STOA_OK);
    sums.made += view.made;
    sums.equal += view.compared;
    while (steps-- && stoa_sim_step(w->sim)) {} /* and then it dies, wherever it is */
}

/* What may become of the side store between two lives. */
static void harm(world *w)
{
    stoa_sim_disk_fail_put(w->disk, 0);
    switch (stoa_random_below(&w->chance, 8)) {
    case 0: (void)stoa_sim_disk_rot_side(w->disk, STOA_SPACE_SNAPSHOT); break;
    case 1: stoa_sim_disk_lose_side(w->disk); break;
    default: break;
    }
}

static void die(world *w)
{
    if (stoa_random_below(&w->chance, 2)) { stoa_sim_disk_crash(w->disk); }
    assert_int_equal(stoa_sim_crash(w->sim, &w->node), STOA_OK);
    harm(w);
    open_shard(w);
    stoa_shard_view view;
    assert_int_equal(stoa_shard_glance(w->shard, &view), STOA_OK);
    *(view.snapshot ? &sums.restored : &sums.from_log) += 1;
    assert_true(view.snapshot <= view.recovered);
    find_all(w);
    check(w);
}

/* Without any snapshot the same comes back, byte for byte. */
static void the_log_alone_gives_the_same(world *w)
{
    stoa_shard_view before, after;
    stoa_sim_run(w->sim, STOA_S(2));
    assert_int_equal(stoa_shard_look(w->shard, &before), STOA_OK);
    assert_int_equal(stoa_sim_crash(w->sim, &w->node), STOA_OK);
    stoa_sim_disk_lose_side(w->disk);
    open_shard(w);
    assert_int_equal(stoa_shard_look(w->shard, &after), STOA_OK);
    assert_int_equal(after.applied, before.applied);
    assert_int_equal(after.snapshot, 0);
    assert_true(after.hash == before.hash);
}

static uint64_t run(uint64_t seed)
{
    world w = {0};
    stoa_log_level_set(STOA_LOG_OFF); /* failures are meant */
    stoa_random_seed(&w.chance, seed);
    stoa_sim_disks_free();
    assert_int_equal(stoa_sim_disk_get("snapshots", seed, &w.disk), STOA_OK);
    stoa_sim_options options = {.seed = seed,
                                .cores = 1 + (uint32_t)stoa_random_below(&w.chance, 2),
                                .kinds = kinds,
                                .snapshot_events = 8 + stoa_random_below(&w.chance, 60),
                                .snapshot_ns = STOA_MS(stoa_random_below(&w.chance, 200)),
                                .snapshot_keep = 1 + (uint32_t)stoa_random_below(&w.chance, 3),
                                .trace = stoa_seeds_trace()};
    if (stoa_random_below(&w.chance, 2)) { options.faults = stoa_sim_rough; }
    assert_int_equal(stoa_sim_new(&options, &w.sim, &w.node), STOA_OK);
    open_shard(&w);
    find_all(&w);
    for (int i = 0; i < LIVES; i++) {
        live(&w);
        die(&w);
    }
    stoa_sim_faults(w.sim, NULL);
    the_log_alone_gives_the_same(&w);
    uint64_t hash = stoa_sim_hash(w.sim);
    stoa_sim_free(w.sim);
    stoa_sim_disks_free();
    return hash;
}

static const stoa_seeds seeds = {.count = 300, .deep = 10000, .run = run};

static void what_comes_back_is_what_the_log_gives(void **state)
{
    (void)state;
    assert_int_equal(stoa_seeds_run(&seeds), STOA_OK);
}

/* A test of what never happens would show nothing. */
static void snapshots_were_made_and_used(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 12; seed++) { (void)run(seed); }
    print_message("restored %llu, from the log %llu, made %llu, states found equal %llu\n", (unsigned long long)sums.restored,
                  (unsigned long long)sums.from_log, (unsigned long long)sums.made, (unsigned long long)sums.equal);
    assert_true(sums.restored > sums.from_log);
    assert_true(sums.from_log > 0);
    assert_true(sums.made > 50);
    assert_true(sums.equal > sums.made);
}

/* --- a state that its events did not make */

/* In a process of its own: write to the running trunk at an offset (none: SIZE_MAX) behind the runtime's back, then have a snapshot made. */
static int end_of_a_process_that_writes_at(size_t offset)
{
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        static world w;
        trunk_held held;
        stoa_following_view view;
        (void)freopen("/dev/null", "w", stderr);
        stoa_sim_disks_free();
        stoa_sim_options options = {.seed = 1, .kinds = kinds, .snapshot_events = 1000};
        STOA_ASSERT(stoa_sim_new(&options, &w.sim, &w.node) == STOA_OK);
        open_shard(&w);
        find_all(&w);
        STOA_ASSERT(trunk_call_mark(w.node, w.trunk, (trunk_mark){PAGES / 2 * PAGE}, STOA_S(2), &held) == STOA_OK);
        uint8_t *state = (uint8_t *)(uintptr_t)stoa_sim_state(w.sim, w.trunk, NULL);
        if (offset != SIZE_MAX) { state[offset] ^= 1; }
        _exit(stoa_shard_snapshot(w.shard, STOA_S(5), &view) == STOA_OK && view.differences == 0 ? 0 : 1);
    }
    int status = 0;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return WIFSIGNALED(status) ? WTERMSIG(status) : -WEXITSTATUS(status);
}

static void a_byte_that_no_event_wrote_is_found_wherever_it_is(void **state)
{
    (void)state;
    assert_int_equal(end_of_a_process_that_writes_at(SIZE_MAX), 0);
    static const size_t offsets[] = {0, 70000, PAGES / 2 * PAGE + 100, 200000, sizeof(trunk) - 1}; /* in each slice: touched by events or not */
    for (size_t i = 0; i < sizeof offsets / sizeof offsets[0]; i++) {
        assert_int_equal(end_of_a_process_that_writes_at(offsets[i]), SIGABRT);
    }
}

int main(int argc, char **argv)
{
    int status;
    if (stoa_seeds_main(&seeds, argc, argv, &status)) { return status; }
    const struct CMUnitTest tests[] = {cmocka_unit_test(snapshots_were_made_and_used),
                                       cmocka_unit_test(a_byte_that_no_event_wrote_is_found_wherever_it_is),
                                       cmocka_unit_test(what_comes_back_is_what_the_log_gives)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
