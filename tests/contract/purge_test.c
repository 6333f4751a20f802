/* purge_test.c - goal: what is purged is gone by name, the rest is proven as before, and the space comes back. Method: one
 * list of tests, run on each journal; where a log must begin follows from the sizes of its blocks.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "tests/contract/journals.h"

#include <pthread.h>
#include <stdatomic.h>

#include "base/log.h"

static uint64_t first_of(stoa_journal *journal)
{
    stoa_journal_state state;
    ops->state(journal, &state);
    return state.first;
}

static void check_gone(stoa_journal *journal, uint64_t first)
{
    kit_reader reader = {0};
    for (uint64_t from = first > 3 ? first - 3 : 1; from < first; from++) {
        kit_err(ops->read(journal, from, kit_visit, &reader), STOA_E_GONE);
    }
    if (first > 1) { kit_err(ops->read(journal, 1, kit_visit, &reader), STOA_E_GONE); }
    kit_err(ops->read(journal, 0, kit_visit, &reader), STOA_E_NOT_FOUND);
    assert_int_equal(reader.blocks, 0);
}

static void what_was_purged_is_gone_and_the_rest_is_proven(void **state)
{
    (void)state;
    stoa_journal *journal = opened("j");
    kit_grow(journal, 20, 5, 100);
    kit_ok(ops->sync(journal));
    static const struct {
        uint64_t below, first;
    } rows[] = {{0, 1}, {1, 1}, {5, 1}, {6, 6}, {6, 6}, {3, 6}, {10, 6}, {11, 11}, {48, 46}};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        kit_ok(ops->purge(journal, rows[i].below));
        check_gone(journal, rows[i].first);
        kit_check_from(journal, rows[i].first, 100);
        kit_check_index_from(journal, rows[i].first, 100);
    }
    ops->close(journal);
}

static void the_block_under_the_mark_stays(void **state)
{
    (void)state;
    stoa_journal *journal = opened("j");
    kit_ok(ops->purge(journal, UINT64_MAX));
    assert_int_equal(first_of(journal), 1);
    kit_grow(journal, 3, 5, 100);
    kit_ok(ops->purge(journal, UINT64_MAX)); /* nothing is synced yet */
    assert_int_equal(first_of(journal), 1);
    kit_ok(ops->sync(journal));
    kit_grow(journal, 3, 5, 100);
    kit_ok(ops->purge(journal, UINT64_MAX));
    kit_check_from(journal, 11, 30);
    ops->close(journal);
    journal = opened("j");
    kit_ok(ops->purge(journal, UINT64_MAX));
    kit_check_from(journal, 26, 30);
    ops->close(journal);
}

/* The same log, once purged and once whole, at every step. */
static void a_purged_log_goes_on_as_if_it_were_whole(void **state)
{
    (void)state;
    stoa_random random = kit_random(UINT64_C(21));
    uint64_t last = 0, first = 1, begins[400] = {1};
    unsigned blocks = 0;
    for (unsigned round = 0; round < 12; round++) {
        stoa_journal *journal = opened("purged"), *whole = opened("whole");
        for (unsigned i = 0; i < 20; i++) {
            uint32_t count = 1 + (uint32_t)stoa_random_below(&random, 9);
            kit_ok(kit_append(journal, last + 1, count, 60, false));
            kit_ok(kit_append(whole, last + 1, count, 60, false));
            last += count;
            begins[++blocks] = last + 1;
        }
        kit_ok(ops->sync(journal));
        uint64_t below = first + stoa_random_below(&random, last + 2 - first);
        kit_ok(ops->purge(journal, below));
        for (unsigned i = 0; i < blocks; i++) { /* the last block stays */
            if (begins[i] <= below && begins[i] > first) { first = begins[i]; }
        }
        kit_check_from(journal, first, last);
        kit_check_index_from(journal, first, last);
        stoa_journal_state a, b;
        ops->state(journal, &a);
        ops->state(whole, &b);
        assert_memory_equal(a.hash.at, b.hash.at, sizeof a.hash.at);
        ops->close(journal);
        ops->close(whole);
    }
    stoa_journal *journal = opened("purged");
    check_gone(journal, first);
    kit_check_from(journal, first, last);
    kit_check_index_from(journal, first, last);
    ops->close(journal);
}


static void purging_does_not_disturb_what_lies_beside(void **state)
{
    (void)state;
    stoa_journal *journal = opened("j");
    kit_grow(journal, 20, 5, 100);
    const stoa_side_entry entry = {"a", "1", 1, 1};
    kit_ok(ops->put(journal, STOA_SPACE_META, &entry, 1, true));
    kit_ok(ops->sync(journal));
    kit_ok(ops->purge(journal, 51));
    uint8_t value[4];
    uint32_t bytes;
    kit_ok(stoa_side_get(journal, STOA_SPACE_META, "a", 1, value, sizeof value, &bytes));
    assert_int_equal(bytes, 1);
    kit_err(kit_append(journal, 50, 1, 8, true), STOA_E_INVALID);
    kit_ok(kit_append(journal, 101, 1, 8, true));
    kit_check_from(journal, 51, 101);
    ops->close(journal);
}

/* --- of the simulated disk */

static void a_crash_may_set_the_mark_back_behind_a_purge(void **state)
{
    (void)state;
    stoa_random random = kit_random(UINT64_C(22));
    stoa_sim_disk *disk;
    kit_ok(stoa_sim_disk_get("j", 22, &disk));
    uint64_t first = 1;
    for (unsigned round = 0; round < 100; round++) {
        stoa_journal *journal = opened("j");
        uint64_t last = kit_last(journal);
        assert_int_equal(first_of(journal), first);
        for (unsigned i = 0; i < 6; i++) {
            kit_ok(kit_append(journal, kit_last(journal) + 1, 2, 40, stoa_random_chance(&random, 700)));
        }
        kit_ok(ops->purge(journal, last + stoa_random_below(&random, 12)));
        first = first_of(journal);
        stoa_sim_disk_crash(disk);
        ops->close(journal);
        journal = opened("j");
        assert_true(kit_proven(journal) + 1 >= first);
        kit_check_from(journal, first, kit_last(journal));
        ops->close(journal);
    }
    assert_true(first > 100);
}

static void rot_in_the_first_block_left_is_found(void **state)
{
    (void)state;
    stoa_sim_disk *disk;
    kit_ok(stoa_sim_disk_get("j", 22, &disk));
    stoa_journal *journal = opened("j");
    kit_grow(journal, 10, 2, 40);
    kit_ok(ops->sync(journal));
    kit_ok(ops->purge(journal, 11));
    kit_ok(stoa_sim_disk_rot(disk, 11));
    uint64_t verified = 7;
    kit_err(stoa_journal_verify(journal, &verified), STOA_E_CORRUPT);
    assert_int_equal(verified, 0);
    ops->close(journal);
}

/* --- of RocksDB */

static uint64_t bytes_on_disk(const char *name)
{
    char command[KIT_PATH_MAX + 64];
    (void)snprintf(command, sizeof command, "du -sb %s/%s/db", folder, name);
    FILE *du = popen(command, "r");
    unsigned long long bytes = 0;
    assert_true(du && fscanf(du, "%llu", &bytes) == 1);
    assert_int_equal(pclose(du), 0);
    return bytes;
}

static void the_space_of_what_was_purged_comes_back(void **state)
{
    (void)state;
    enum { BLOCKS = 2000, PAYLOAD = 64 << 10, COUNT = 50 };
    stoa_journal *journal = opened("j");
    for (unsigned i = 0; i < BLOCKS; i++) {
        kit_ok(kit_append(journal, 1 + (uint64_t)i * COUNT, COUNT, PAYLOAD, i % 100 == 99));
    }
    uint64_t before = bytes_on_disk("j");
    assert_true(before > (uint64_t)BLOCKS * PAYLOAD);
    for (unsigned tenth = 1; tenth < 10; tenth++) {
        kit_ok(ops->purge(journal, 1 + (uint64_t)BLOCKS * COUNT * tenth / 10));
        uint64_t now = bytes_on_disk("j"), left = (uint64_t)BLOCKS * PAYLOAD * (10 - tenth) / 10;
        print_message("%u0 %% purged: %.1f of %.1f MB left, for %.1f MB of blocks\n", tenth, (double)now / 1e6,
                      (double)before / 1e6, (double)left / 1e6);
        assert_true(now < left + left / 5 + (4 << 20));
    }
    ops->close(journal);
    journal = opened("j");
    kit_check_from(journal, 1 + BLOCKS * COUNT / 10 * 9, BLOCKS * COUNT);
    kit_check_index_from(journal, 1 + BLOCKS * COUNT / 10 * 9, BLOCKS * COUNT);
    ops->close(journal);
}

typedef struct watcher {
    stoa_journal *journal;
    atomic_bool stop;
    atomic_uint faults, whole, gone;
} watcher;

static void *watch(void *context)
{
    watcher *w = context;
    while (!atomic_load(&w->stop)) {
        stoa_journal_state s;
        ops->state(w->journal, &s);
        kit_reader reader = {0};
        stoa_err err = ops->read(w->journal, s.first, kit_visit, &reader);
        if (err == STOA_E_GONE) {
            atomic_fetch_add(&w->gone, 1);
        } else if (err || reader.first != s.first || reader.last < s.last) {
            atomic_fetch_add(&w->faults, 1);
        } else {
            atomic_fetch_add(&w->whole, 1);
        }
    }
    return NULL;
}

static void readers_and_the_writer_go_on_meanwhile(void **state)
{
    (void)state;
    stoa_journal *journal = opened("j");
    kit_grow(journal, 10, 2, 2000);
    watcher w = {.journal = journal};
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, watch, &w), 0);
    for (unsigned i = 0; i < 40 || atomic_load(&w.whole) < 10; i++) {
        for (unsigned k = 0; k < 10; k++) {
            kit_ok(kit_append(journal, kit_last(journal) + 1, 2, 2000, k == 9));
        }
        kit_ok(ops->purge(journal, kit_last(journal) - 10));
    }
    atomic_store(&w.stop, true);
    assert_int_equal(pthread_join(thread, NULL), 0);
    assert_int_equal(atomic_load(&w.faults), 0);
    print_message("%u reads, %u of them came too late\n", atomic_load(&w.whole), atomic_load(&w.gone));
    ops->close(journal);
}

#define TESTS(setup, teardown)                                                                                         \
    TEST(what_was_purged_is_gone_and_the_rest_is_proven, setup, teardown),                                             \
        TEST(the_block_under_the_mark_stays, setup, teardown),                                                         \
        TEST(a_purged_log_goes_on_as_if_it_were_whole, setup, teardown),                                               \
        TEST(purging_does_not_disturb_what_lies_beside, setup, teardown)

int main(void)
{
    stoa_log_level_set(STOA_LOG_ERROR);
    const struct CMUnitTest sim[] = {TESTS(sim_setup, sim_teardown),
                                     TEST(a_crash_may_set_the_mark_back_behind_a_purge, sim_setup, sim_teardown),
                                     TEST(rot_in_the_first_block_left_is_found, sim_setup, sim_teardown)};
    const struct CMUnitTest rocksdb[] = {TESTS(rocksdb_setup, rocksdb_teardown),
                                         TEST(the_space_of_what_was_purged_comes_back, rocksdb_setup, rocksdb_teardown),
                                         TEST(readers_and_the_writer_go_on_meanwhile, rocksdb_setup, rocksdb_teardown)};
    int failed = cmocka_run_group_tests_name("sim", sim, NULL, NULL);
    return failed + cmocka_run_group_tests_name("rocksdb", rocksdb, NULL, NULL);
}
