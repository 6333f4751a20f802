/* sim_test.c - goal: the simulated disk loses what a real one may lose, never more, and the same with the same seed.
 * Method: many seeds, a model of what was synced, each fault once by hand.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/storage/kit.h"

#include "base/log.h"
#include "storage/sim/journal.h"

static const stoa_journal_ops *const ops = &stoa_journal_sim;

static stoa_sim_disk *disk_of(uint64_t seed)
{
    stoa_sim_disk *disk = NULL;
    kit_ok(stoa_sim_disk_get("d", seed, &disk));
    return disk;
}

static stoa_journal *opened(void)
{
    stoa_journal *journal = NULL;
    kit_ok(ops->open("sim:d", &journal));
    return journal;
}

static int teardown(void **state)
{
    (void)state;
    stoa_sim_disks_free();
    return 0;
}

/* A life of appends, syncs and crashes; returns a fold of everything that could be seen. */
static uint64_t life(uint64_t seed)
{
    stoa_random random;
    stoa_random_seed(&random, seed);
    stoa_sim_disk *disk = disk_of(seed);
    uint64_t fold = 0, synced = 0;
    for (unsigned round = 0; round < 8; round++) {
        stoa_journal *journal = opened();
        stoa_journal_state s;
        ops->state(journal, &s);
        assert_true(s.last >= synced); /* what was synced is there */
        assert_true(s.proven <= s.last);
        kit_check_all(journal, s.last);
        kit_check_index(journal, s.last);
        fold = stoa_hash64(fold, &s, sizeof s);

        unsigned appends = (unsigned)stoa_random_below(&random, 12);
        for (unsigned i = 0; i < appends; i++) {
            bool sync = stoa_random_chance(&random, 300) != 0;
            kit_ok(kit_append(journal, kit_last(journal) + 1, 1 + (uint32_t)stoa_random_below(&random, 4), 24, sync));
            if (sync) { synced = kit_last(journal); }
        }
        if (stoa_random_chance(&random, 800)) {
            stoa_sim_disk_crash(disk);
            kit_err(kit_append(journal, 1, 1, 1, true), STOA_E_CLOSED);
        } else {
            synced = kit_last(journal);
        }
        ops->close(journal);
    }
    stoa_sim_disk_view view;
    stoa_sim_disk_look(disk, &view);
    fold = stoa_hash64(fold, &view, sizeof view);
    stoa_sim_disk_free(disk);
    return fold;
}

static void synced_blocks_survive_every_crash_and_each_seed_is_one_life(void **state)
{
    (void)state;
    stoa_random random = kit_random(3);
    uint64_t different = 0;
    for (unsigned i = 0; i < 400; i++) {
        uint64_t seed = stoa_random_next(&random), fold = life(seed);
        assert_int_equal(fold, life(seed));
        different += fold != life(seed + 1);
    }
    assert_true(different > 390);
}

static void a_crash_may_lose_all_some_or_none_of_the_rest(void **state)
{
    (void)state;
    unsigned seen[5] = {0}, torn = 0;
    for (uint64_t seed = 1; seed <= 200; seed++) {
        stoa_sim_disk *disk = disk_of(seed);
        stoa_journal *journal = opened();
        kit_ok(kit_append(journal, 1, 1, 10, true));
        kit_grow(journal, 4, 1, 10);
        stoa_sim_disk_crash(disk);
        ops->close(journal);
        journal = opened();
        stoa_sim_disk_view view;
        stoa_sim_disk_look(disk, &view);
        assert_in_range(kit_last(journal), 1, 5);
        assert_int_equal(view.blocks, kit_last(journal));
        assert_int_equal(view.lost_blocks, 5 - view.blocks);
        seen[kit_last(journal) - 1]++;
        torn += (unsigned)view.cut_blocks;
        ops->close(journal);
        stoa_sim_disk_free(disk);
    }
    for (unsigned i = 0; i < 5; i++) {
        assert_true(seen[i] > 10);
    }
    assert_true(torn > 30 && torn < 170);
}

static void a_process_that_dies_alone_loses_nothing(void **state)
{
    (void)state;
    stoa_journal *journal = opened();
    kit_grow(journal, 7, 2, 10);
    ops->close(journal);
    journal = opened();
    kit_check_all(journal, 14);
    ops->close(journal);
}

static void a_failed_sync_ends_the_journal(void **state)
{
    (void)state;
    stoa_sim_disk *disk = disk_of(1);
    stoa_journal *journal = opened();
    stoa_sim_disk_fail_sync(disk, 3);
    kit_ok(kit_append(journal, 1, 1, 10, true));
    kit_ok(ops->sync(journal));
    kit_ok(kit_append(journal, 2, 1, 10, false));
    kit_err(kit_append(journal, 3, 1, 10, true), STOA_E_IO);
    kit_reader reader = {0};
    kit_err(kit_append(journal, 3, 1, 10, false), STOA_E_IO);
    kit_err(ops->sync(journal), STOA_E_IO);
    kit_err(ops->read(journal, 1, kit_visit, &reader), STOA_E_IO);
    kit_err(ops->lookup(journal, 1, kit_visit_position, &reader), STOA_E_IO);
    stoa_sim_disk_crash(disk);
    ops->close(journal);

    journal = opened();
    assert_in_range(kit_last(journal), 1, 3);
    kit_check_all(journal, kit_last(journal));
    kit_grow(journal, 2, 1, 10);
    kit_ok(ops->sync(journal));
    ops->close(journal);
}

/* Who opened it builds on it: nobody may lose it any more. */
static void what_open_has_found_is_durable_though_its_sync_had_failed(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 20; seed++) {
        stoa_sim_disk *disk = disk_of(seed);
        stoa_journal *journal = opened();
        kit_ok(kit_append(journal, 1, 3, 10, true));
        stoa_sim_disk_fail_sync(disk, 1);
        kit_err(kit_append(journal, 4, 3, 10, true), STOA_E_IO);
        ops->close(journal); /* the process dies, the power stays */
        journal = opened();
        assert_int_equal(kit_last(journal), 6);
        stoa_sim_disk_crash(disk);
        ops->close(journal);
        journal = opened();
        kit_check_all(journal, 6);
        ops->close(journal);
        stoa_sim_disk_free(disk);
    }
}

static void a_full_disk_refuses_and_recovers(void **state)
{
    (void)state;
    stoa_sim_disk *disk = disk_of(1);
    stoa_journal *journal = opened();
    kit_grow(journal, 2, 1, 10);
    stoa_sim_disk_fill(disk, 3);
    for (unsigned i = 0; i < 3; i++) {
        kit_err(kit_append(journal, 3, 1, 10, true), STOA_E_FULL);
        kit_check_all(journal, 2);
    }
    kit_ok(kit_append(journal, 3, 2, 10, true));
    kit_check_all(journal, 4);
    ops->close(journal);
}

static void rot_below_the_mark_is_corrupt(void **state)
{
    (void)state;
    for (uint64_t position = 1; position <= 10; position++) {
        stoa_sim_disk *disk = disk_of(position);
        stoa_journal *journal = opened();
        kit_grow(journal, 5, 2, 10);
        ops->close(journal);
        kit_ok(stoa_sim_disk_rot(disk, position));
        kit_err(ops->open("sim:d", &journal), STOA_E_CORRUPT);
        assert_non_null(strstr(stoa_err_trail(), "position "));
        kit_ok(stoa_sim_disk_mend(disk));
        kit_err(stoa_sim_disk_mend(disk), STOA_E_NOT_FOUND);
        journal = opened();
        kit_check_all(journal, 10);
        ops->close(journal);
        stoa_sim_disk_free(disk);
    }
}

static void rot_above_the_mark_is_cut(void **state)
{
    (void)state;
    unsigned cut = 0;
    for (uint64_t seed = 1; seed <= 40; seed++) {
        stoa_sim_disk *disk = disk_of(seed);
        stoa_journal *journal = opened();
        kit_grow(journal, 2, 2, 10);
        kit_ok(ops->sync(journal));
        kit_grow(journal, 6, 2, 10);
        kit_ok(stoa_sim_disk_rot(disk, 9));
        kit_reader reader = {0};
        kit_err(ops->read(journal, 1, kit_visit, &reader), STOA_E_CORRUPT);
        assert_int_equal(reader.last, 8);
        uint64_t verified = 0;
        kit_err(stoa_journal_verify(journal, &verified), STOA_E_CORRUPT);
        assert_int_equal(verified, 8);

        stoa_sim_disk_crash(disk);
        ops->close(journal);
        stoa_sim_disk_view view;
        stoa_sim_disk_look(disk, &view);
        journal = opened();
        kit_check_all(journal, view.lost_blocks >= 4 ? (8 - view.lost_blocks) * 2 : 8);
        kit_grow(journal, 1, 2, 10);
        ops->close(journal);
        cut += view.lost_blocks < 4;
        stoa_sim_disk_free(disk);
    }
    assert_true(cut > 5);
}

static void only_what_is_there_can_rot(void **state)
{
    (void)state;
    stoa_sim_disk *disk = disk_of(1);
    kit_err(stoa_sim_disk_rot(disk, 1), STOA_E_NOT_FOUND);
}

static void the_mark_may_fall_back_to_the_last_sync(void **state)
{
    (void)state;
    unsigned fell = 0, stayed = 0;
    for (uint64_t seed = 1; seed <= 50; seed++) {
        stoa_sim_disk *disk = disk_of(seed);
        stoa_journal *journal = opened();
        kit_grow(journal, 2, 1, 10);
        kit_ok(ops->sync(journal));
        kit_ok(kit_append(journal, 3, 1, 10, true));
        stoa_sim_disk_crash(disk);
        ops->close(journal);
        journal = opened();
        assert_int_equal(kit_last(journal), 3);
        fell += kit_proven(journal) == 2;
        stayed += kit_proven(journal) == 3;
        ops->close(journal);
        stoa_sim_disk_free(disk);
    }
    assert_int_equal(fell + stayed, 50);
    assert_true(fell > 5 && stayed > 5);
}

static void a_disk_that_is_gone_leaves_a_dead_journal(void **state)
{
    (void)state;
    stoa_sim_disk *disk = disk_of(1);
    stoa_journal *journal = opened(), *none = NULL;
    kit_grow(journal, 2, 1, 10);
    stoa_sim_disk_free(disk);
    kit_err(ops->sync(journal), STOA_E_CLOSED);
    assert_int_equal(kit_last(journal), 2);
    ops->close(journal);
    stoa_sim_disk_free(NULL);

    kit_err(ops->open("sim:", &none), STOA_E_INVALID);
    kit_err(ops->open("/tmp/x", &none), STOA_E_INVALID);
    journal = opened();
    kit_check_all(journal, 0);
    ops->close(journal);
}

int main(void)
{
    stoa_log_level_set(STOA_LOG_OFF);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(synced_blocks_survive_every_crash_and_each_seed_is_one_life, teardown),
        cmocka_unit_test_teardown(a_crash_may_lose_all_some_or_none_of_the_rest, teardown),
        cmocka_unit_test_teardown(a_process_that_dies_alone_loses_nothing, teardown),
        cmocka_unit_test_teardown(a_failed_sync_ends_the_journal, teardown),
        cmocka_unit_test_teardown(what_open_has_found_is_durable_though_its_sync_had_failed, teardown),
        cmocka_unit_test_teardown(a_full_disk_refuses_and_recovers, teardown),
        cmocka_unit_test_teardown(rot_below_the_mark_is_corrupt, teardown),
        cmocka_unit_test_teardown(rot_above_the_mark_is_cut, teardown),
        cmocka_unit_test_teardown(only_what_is_there_can_rot, teardown),
        cmocka_unit_test_teardown(the_mark_may_fall_back_to_the_last_sync, teardown),
        cmocka_unit_test_teardown(a_disk_that_is_gone_leaves_a_dead_journal, teardown),
    };
    return cmocka_run_group_tests_name("sim", tests, NULL, NULL);
}
