/* noop_test.c - goal: a no-op is an event of the log like any other, and nothing but the log knows of it. Method: a counter in a shard on
 * a real journal; threads add to it and append no-ops; states, log and replay are compared, in this life and the next. Then a shard that
 * has no journal, one whose disk is down to its reserve, and one whose journal refuses it.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "runtime/log_reader.h"
#include "runtime/shard.h"
#include "storage/journal.h"
#include "tests/unit/runtime/tally.h"

enum { THREADS = 3, TIMES = 200 };

static atomic_bool stale;

static stoa_err append(stoa_journal *journal, const stoa_block *block, bool sync)
{
    return atomic_exchange(&stale, false) ? STOA_FAIL(STOA_E_STALE, "a later epoch, says the test") : real->append(journal, block, sync);
}

static stoa_journal_ops ops = {.append = append};

static void in_the_log(uint64_t position)
{
    while (stoa_shard_durable(shard) < position) { pause_ms(1); }
}

static void replay_is_the_same(void)
{
    stoa_shard_view view;
    uint64_t hash, events;
    assert_int_equal(stoa_shard_look(shard, &view), STOA_OK);
    in_the_log(view.applied);
    assert_int_equal(stoa_shard_replay(shard, view.applied, &hash, &events), STOA_OK);
    assert_true(hash == view.hash);
    assert_true(events == view.applied);
}

static void *add_and_append(void *unused)
{
    (void)unused;
    for (int i = 0; i < TIMES; i++) {
        tally_sum sum;
        if (tally_call_add(node, counter, (tally_add){1}, STOA_S(60), &sum)) { abort(); }
        stoa_err err = STOA_E_AGAIN;
        while (err == STOA_E_AGAIN) { err = stoa_shard_noop(shard); }
        if (err) { abort(); }
    }
    return NULL;
}

static void the_log_goes_on_and_nothing_else_changes(void **unused)
{
    (void)unused;
    pthread_t threads[THREADS];
    make_folder();
    open_node(&ops);
    uint64_t before = glance().applied;
    assert_int_equal(stoa_shard_noop(shard), STOA_OK);
    in_the_log(before + 1); /* though nothing else comes */
    assert_true(glance().applied == before + 1);
    assert_true(total() == 0);
    for (int i = 0; i < THREADS; i++) { assert_int_equal(pthread_create(&threads[i], NULL, add_and_append, NULL), 0); }
    for (int i = 0; i < THREADS; i++) { assert_int_equal(pthread_join(threads[i], NULL), 0); }
    assert_true(glance().applied == before + 1 + 2ull * THREADS * TIMES);
    assert_true(total() == THREADS * TIMES);
    replay_is_the_same();
    stoa_node_close(node, STOA_S(10));
    open_node(&ops);
    assert_true(total() == THREADS * TIMES);
    replay_is_the_same();
    stoa_node_close(node, STOA_S(10));
    remove_folder();
}

static void who_cannot_append_one_says_why(void **unused)
{
    (void)unused;
    stoa_shard *plain;
    make_folder();
    open_node(&ops);
    assert_int_equal(stoa_shard_open(node, &(stoa_shard_options){.name = "plain", .durability = stoa_durability_NONE}, &plain), STOA_OK);
    assert_int_equal(stoa_shard_noop(plain), STOA_E_UNSUPPORTED);
    atomic_store(&shard->no_room, true);
    assert_int_equal(stoa_shard_noop(shard), STOA_E_FULL);
    atomic_store(&shard->no_room, false);
    assert_int_equal(stoa_shard_noop(shard), STOA_OK);
    uint64_t there = glance().applied;
    in_the_log(there);
    atomic_store(&stale, true); /* one that the journal refuses was never there */
    assert_int_equal(stoa_shard_noop(shard), STOA_OK);
    while (glance().drops == 0) { pause_ms(1); }
    assert_true(glance().applied == there);
    replay_is_the_same();
    stoa_node_close(node, STOA_S(10));
    remove_folder();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_log_goes_on_and_nothing_else_changes),
        cmocka_unit_test(who_cannot_append_one_says_why),
    };
    stoa_log_level_set(STOA_LOG_ERROR);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
