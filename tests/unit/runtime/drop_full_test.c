/* drop_full_test.c - goal: a shard whose disk is full can be told to drop and refuses that, and one that is dropped by its journal
 * meanwhile serves nobody until there is space; nothing that was answered is lost, and the node lives. Method: RocksDB's journal
 * behind functions that say FULL for as long as the test wants, at once or behind some more blocks, as RocksDB does from a refused
 * append on; one block is refused as that of a deposed writer is.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "runtime/shard.h"
#include "tests/unit/runtime/tally.h"

enum { NEVER = 1 << 30, EVENTS = 2000, ROUNDS = 40, EPOCH = 9 };

/* --- a disk that fills */

static atomic_int room;          /* blocks that are still taken */
static atomic_bool refuse_next;
static atomic_uint full_appends, full_syncs;

static bool is_full(void)
{
    return atomic_load(&room) <= 0;
}

static stoa_err append(stoa_journal *journal, const stoa_block *block, bool sync)
{
    if (atomic_exchange(&refuse_next, false)) { return STOA_FAIL(STOA_E_STALE, "a later epoch, says the test"); }
    if (atomic_fetch_sub(&room, 1) <= 0) {
        atomic_store(&room, 0);
        atomic_fetch_add(&full_appends, 1);
        return STOA_FAIL(STOA_E_FULL, "no space, says the test");
    }
    return real->append(journal, block, sync);
}

static stoa_err sync_log(stoa_journal *journal)
{
    if (!is_full()) { return real->sync(journal); }
    atomic_fetch_add(&full_syncs, 1);
    return STOA_FAIL(STOA_E_FULL, "no space, says the test");
}

static stoa_journal_ops filling = {.append = append, .sync = sync_log};

static void wait_for(atomic_uint *count, unsigned more)
{
    unsigned until = atomic_load(count) + more;
    while (atomic_load(count) < until) { pause_ms(1); }
}

/* --- who calls */

typedef struct caller {
    pthread_t thread;
    uint64_t times;
    stoa_err err;
    tally_sum sum;
} caller;

static void *call_many(void *argument)
{
    caller *c = argument;
    c->err = tally_call_many(node, counter, (tally_many){c->times}, STOA_S(60), &c->sum);
    return NULL;
}

static void start(caller *c, uint64_t times)
{
    *c = (caller){.times = times};
    assert_int_equal(pthread_create(&c->thread, NULL, call_many, c), 0);
}

static stoa_err outcome(caller *c)
{
    assert_int_equal(pthread_join(c->thread, NULL), 0);
    return c->err;
}

static stoa_err add_one(void)
{
    tally_sum sum;
    return tally_call_add(node, counter, (tally_add){1}, STOA_S(60), &sum);
}

static int begin(void **state)
{
    (void)state;
    make_folder();
    atomic_store(&room, NEVER);
    atomic_store(&refuse_next, false);
    open_node(&filling);
    assert_int_equal(add_one(), STOA_OK);
    return 0;
}

/* What the states say is what the log says, in the next life too. */
static int end(void **state)
{
    (void)state;
    stoa_shard_view view;
    uint64_t hash, events, before = total();
    assert_int_equal(stoa_shard_look(shard, &view), STOA_OK);
    assert_int_equal(stoa_shard_replay(shard, view.applied, &hash, &events), STOA_OK);
    assert_true(hash == view.hash);
    stoa_node_close(node, STOA_S(10));
    open_node(&filling);
    assert_true(total() == before);
    stoa_node_close(node, STOA_S(10));
    remove_folder();
    return 0;
}

/* --- by an operator */

static void a_drop_on_a_full_disk_is_refused_and_changes_nothing(void **unused)
{
    (void)unused;
    caller waits;
    uint64_t epoch = glance().epoch;
    atomic_store(&room, 0);
    start(&waits, 1);
    wait_for(&full_appends, 1);
    assert_int_equal(stoa_shard_drop(shard, 0), STOA_E_FULL);
    assert_int_equal(stoa_shard_drop(shard, EPOCH), STOA_E_FULL);
    assert_int_equal(glance().drops, 0);
    assert_false(glance().down);
    assert_true(glance().epoch == epoch);
    atomic_store(&room, NEVER);
    assert_int_equal(outcome(&waits), STOA_OK);
    assert_int_equal(stoa_shard_drop(shard, EPOCH), STOA_OK);
    assert_int_equal(glance().drops, 1);
    assert_true(glance().epoch == EPOCH);
    assert_true(total() == 2);
}

/* Several blocks go to the journal at once; those that it had taken before there was no space are not written again. */
static void what_was_half_written_is_written_to_its_end(void **unused)
{
    (void)unused;
    enum { CALLERS = 24 };
    caller callers[CALLERS];
    for (int round = 1; round < 3; round++) {
        uint64_t before = total();
        atomic_store(&room, 0);
        start(&callers[0], 1);
        wait_for(&full_appends, 1);
        for (int i = 1; i < CALLERS; i++) { start(&callers[i], EVENTS); }
        while (atomic_load(&shard->block_submitted) < atomic_load(&shard->durable_block) + 3) { pause_ms(1); }
        atomic_store(&room, round);
        wait_for(&full_appends, 1);
        assert_int_equal(stoa_shard_drop(shard, 0), STOA_E_FULL);
        atomic_store(&room, NEVER);
        for (int i = 0; i < CALLERS; i++) { assert_int_equal(outcome(&callers[i]), STOA_OK); }
        assert_true(total() == before + 1 + (CALLERS - 1) * EVENTS);
    }
    assert_int_equal(glance().drops, 0);
}

/* --- by the journal */

static void a_shard_that_is_dropped_on_a_full_disk_is_down_until_there_is_space(void **unused)
{
    (void)unused;
    caller waits;
    atomic_store(&room, 0);
    atomic_store(&refuse_next, true);
    start(&waits, 1);
    wait_for(&full_syncs, 3); /* it tries again and again */
    assert_true(glance().down);
    assert_int_equal(glance().drops, 0);
    assert_int_equal(add_one(), STOA_E_UNAVAILABLE);
    assert_int_equal(stoa_shard_drop(shard, EPOCH), STOA_E_FULL);
    assert_true(glance().epoch != EPOCH);
    wait_for(&full_syncs, 2);
    assert_true(glance().down);
    atomic_store(&room, NEVER);
    assert_int_equal(outcome(&waits), STOA_E_UNAVAILABLE);
    while (glance().down) { pause_ms(1); }
    assert_int_equal(glance().drops, 1);
    assert_true(total() == 1);
    assert_int_equal(add_one(), STOA_OK);
}

static void an_operator_may_drop_it_as_soon_as_there_is_space(void **unused)
{
    (void)unused;
    for (uint32_t round = 0; round < ROUNDS; round++) {
        caller waits;
        atomic_store(&room, 0);
        atomic_store(&refuse_next, true);
        start(&waits, 1);
        wait_for(&full_syncs, 1);
        atomic_store(&room, NEVER);
        assert_int_equal(stoa_shard_drop(shard, 0), STOA_OK);
        assert_false(glance().down);
        assert_int_equal(outcome(&waits), STOA_E_UNAVAILABLE);
        assert_int_equal(add_one(), STOA_OK);
        assert_in_range(glance().drops, round + 1, 2 * round + 2);
    }
    assert_true(total() == 1 + ROUNDS);
}

/* --- the end of the node */

static void a_node_ends_while_a_shard_waits_for_space(void **unused)
{
    (void)unused;
    tally_sum sum;
    unsigned before = atomic_load(&full_syncs);
    atomic_store(&room, 0);
    atomic_store(&refuse_next, true);
    assert_int_equal(tally_call_add(node, counter, (tally_add){1}, STOA_MS(50), &sum), STOA_E_TIMEOUT);
    while (atomic_load(&full_syncs) == before) { pause_ms(1); }
    stoa_node_close(node, STOA_MS(1));
    atomic_store(&room, NEVER);
    open_node(&filling);
    assert_true(total() == 1);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, end)

int main(void)
{
    stoa_log_level_set(STOA_LOG_OFF);
    const struct CMUnitTest tests[] = {
        TEST(a_drop_on_a_full_disk_is_refused_and_changes_nothing),
        TEST(what_was_half_written_is_written_to_its_end),
        TEST(a_shard_that_is_dropped_on_a_full_disk_is_down_until_there_is_space),
        TEST(an_operator_may_drop_it_as_soon_as_there_is_space),
        TEST(a_node_ends_while_a_shard_waits_for_space),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
