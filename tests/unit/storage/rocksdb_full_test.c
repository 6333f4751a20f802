/* rocksdb_full_test.c - goal: a full disk is an answer and the log goes on when there is space; a broken one ends it, and what was synced is
 * there. Method: space runs out at every single write, syncs fail.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/storage/rocksdb_kit.h"

/* --- a full disk, a broken disk */

/* Append until the disk takes no more, look that reads work, make space, go on. */
static void fill_and_recover(const char *which, long writes_left, bool sync)
{
    stoa_journal *journal = opened();
    uint64_t before = kit_last(journal);
    kit_grow(journal, 3, 2, 300);
    disk_full(which, writes_left);
    stoa_err err = STOA_OK;
    for (unsigned i = 0; i < 100 && !err; i++) {
        err = kit_append(journal, kit_last(journal) + 1, 2, 3000, sync);
    }
    if (err != STOA_E_FULL) { fail_msg("%s, %ld: %s\n%s", which, writes_left, stoa_err_name(err), stoa_err_trail()); }
    uint64_t last = kit_last(journal);
    assert_true(last >= before + 6);
    for (unsigned i = 0; i < 2; i++) {
        kit_check_all(journal, last);
        kit_check_index(journal, last);
        kit_err(kit_append(journal, last + 1, 2, 3000, sync), STOA_E_FULL);
    }
    disk_good();
    kit_ok(kit_append(journal, last + 1, 3, 500, true)); /* not the block that was refused */
    assert_int_equal(kit_proven(journal), last + 3);
    kit_check_all(journal, last + 3);
    kit_check_index(journal, last + 3);
    ops->close(journal);
    journal = opened();
    kit_check_all(journal, last + 3);
    ops->close(journal);
}

static void a_full_disk_refuses_keeps_reading_and_goes_on(void **state)
{
    (void)state;
    for (long writes = 0; writes < 6; writes++) {
        fill_and_recover(".log", writes, writes % 2);
        fill_and_recover("/", writes, writes % 2);
    }
    uint64_t last;
    stoa_journal *journal = opened();
    last = kit_last(journal);
    kit_check_all(journal, last);
    kit_check_index(journal, last);
    ops->close(journal);
}

/* FULL means that the block is not there, even if its bytes made it to the disk and come back with the database. */
static void a_refused_block_that_comes_back_is_not_in_the_log(void **state)
{
    (void)state;
    stoa_journal *journal = opened();
    kit_grow(journal, 10, 2, 30);
    stoa_journal_state s;
    ops->state(journal, &s);
    disk_full(".log", 0);
    kit_err(kit_append(journal, 21, 2, 30, true), STOA_E_FULL);
    disk_good();
    stoa_engine engine = tamper();
    put_block(&engine, 22, 21, &s.hash);
    stoa_engine_close(&engine);

    kit_ok(kit_append(journal, 21, 5, 100, true));
    kit_check_all(journal, 25);
    kit_check_index(journal, 25);
    kit_ok(ops->lookup(journal, STRANGE_ID, never, NULL));
    ops->close(journal);
    journal = opened();
    kit_check_all(journal, 25);
    ops->close(journal);
}

/* Space runs out at every single write that reopening needs. */
static void space_may_run_out_again_at_any_write(void **state)
{
    (void)state;
    stoa_journal *journal = opened();
    kit_grow(journal, 5, 2, 300);
    uint64_t last = kit_last(journal);
    disk_full("/", 0);
    kit_err(kit_append(journal, last + 1, 2, 300, true), STOA_E_FULL);
    unsigned refused = 0;
    for (long writes = 0; writes < 60; writes++) {
        disk_full("/", writes);
        stoa_err err = kit_append(journal, last + 1, 2, 300, true);
        assert_true(err == STOA_OK || err == STOA_E_FULL);
        refused += err != STOA_OK;
        if (!err) { last += 2; }
        kit_check_all(journal, last);
    }
    disk_good();
    assert_true(refused > 3 && refused < 60);
    kit_ok(ops->sync(journal));
    ops->close(journal);
    journal = opened();
    kit_check_all(journal, last);
    ops->close(journal);
}

static void table_files_that_do_not_fit_refuse_the_next_block(void **state)
{
    (void)state;
    stoa_journal *journal = opened();
    disk_full(".sst", 0);
    stoa_err err = STOA_OK;
    for (unsigned i = 0; i < 90 && !err; i++) {
        err = kit_append(journal, kit_last(journal) + 1, 1, 2 << 20, false);
    }
    kit_err(err, STOA_E_FULL);
    uint64_t last = kit_last(journal);
    assert_true(last > 14); /* a write buffer of 32 MiB */
    kit_err(kit_append(journal, last + 1, 1, 10, true), STOA_E_FULL);
    kit_check_all(journal, last);
    disk_good();
    kit_ok(kit_append(journal, last + 1, 1, 10, true));
    ops->close(journal);
    journal = opened();
    kit_check_all(journal, last + 1);
    ops->close(journal);
}

static void a_journal_on_a_full_disk_can_be_opened_and_read(void **state)
{
    (void)state;
    stoa_journal *journal = opened();
    kit_grow(journal, 5, 2, 300);
    ops->close(journal);
    disk_full("/", 0);
    journal = opened();
    kit_check_all(journal, 10);
    kit_err(kit_append(journal, 11, 2, 300, true), STOA_E_FULL);
    kit_err(ops->sync(journal), STOA_E_FULL);
    ops->close(journal);
    journal = opened();
    disk_good();
    kit_ok(kit_append(journal, 11, 2, 300, true));
    kit_check_all(journal, 12);
    ops->close(journal);

    kit_remove(path);
    disk_full("/", 0);
    kit_err(ops->open(path, &journal), STOA_E_FULL);
    disk_good();
    journal = opened();
    kit_check_all(journal, 0);
    ops->close(journal);
}

/* However far an open comes before it finds that there is none. */
static void space_may_run_out_at_any_write_of_an_open(void **state)
{
    (void)state;
    assert_true(WIFSIGNALED(child_end(child_start("leave_tail", NULL))));
    uint64_t last = 120;
    unsigned full = 0;
    for (long writes = 0; writes < 60; writes++) {
        disk_full("/", writes);
        stoa_journal *journal = opened();
        kit_check_all(journal, last);
        stoa_err err = kit_append(journal, last + 1, 2, 300, true);
        assert_true(err == STOA_OK || err == STOA_E_FULL);
        full += err == STOA_E_FULL;
        if (!err) { last += 2; }
        disk_good();
        ops->close(journal);
    }
    assert_in_range(full, 4, 56);
    stoa_journal *journal = opened();
    kit_check_all(journal, last);
    kit_check_index(journal, last);
    ops->close(journal);
}

/* A process died with blocks that it had not synced, and the disk has no space for a table file of them. Whoever reads them may build on
 * them: rows, backups, answers. */
static void what_is_read_on_a_full_disk_was_synced(void **state)
{
    (void)state;
    assert_true(WIFSIGNALED(child_end(child_start("leave_tail", NULL))));
    disk_full("/", 0);
    atomic_store(&disk.broken, ".log");
    stoa_journal *journal;
    kit_err(ops->open(path, &journal), STOA_E_IO);
    atomic_store(&disk.broken, NULL);
    unsigned before = atomic_load(&logs_synced);
    journal = opened();
    assert_true(atomic_load(&logs_synced) > before);
    kit_check_all(journal, kit_last(journal));
    assert_int_equal(kit_last(journal), 120); /* 30 of them synced */
    disk_good();
    ops->close(journal);
}

static void a_failed_sync_ends_the_journal_and_keeps_what_was_synced(void **state)
{
    (void)state;
    for (unsigned round = 0; round < 3; round++) {
        stoa_journal *journal = opened();
        uint64_t last = kit_last(journal);
        kit_ok(kit_append(journal, last + 1, 2, 300, true));
        atomic_store(&disk.broken, ".log");
        kit_err(round == 1 ? ops->sync(journal) : kit_append(journal, last + 3, 2, 300, true), STOA_E_IO);
        disk_good();
        kit_reader reader = {0};
        kit_err(kit_append(journal, last + 3, 2, 300, true), STOA_E_IO);
        kit_err(ops->sync(journal), STOA_E_IO);
        kit_err(ops->read(journal, 1, kit_visit, &reader), STOA_E_IO);
        kit_err(ops->lookup(journal, 1, kit_visit_position, &reader), STOA_E_IO);
        ops->close(journal);

        journal = opened();
        assert_in_range(kit_last(journal), last + 2, last + 4);
        kit_check_all(journal, kit_last(journal));
        ops->close(journal);
    }
}

static void a_mark_that_cannot_be_synced_ends_the_journal(void **state)
{
    (void)state;
    stoa_journal *journal = opened();
    kit_ok(kit_append(journal, 1, 2, 300, true));
    atomic_store(&disk.broken, "commit.mark");
    kit_err(ops->sync(journal), STOA_E_IO);
    disk_good();
    kit_err(kit_append(journal, 3, 2, 300, false), STOA_E_IO);
    ops->close(journal);
    journal = opened();
    kit_check_all(journal, 2);
    ops->close(journal);
}

static void paths_that_cannot_be_are_named_errors(void **state)
{
    (void)state;
    stoa_journal *journal = NULL;
    kit_err(ops->open(name_in(folder, "no/such").at, &journal), STOA_E_IO);
    name file = name_in(folder, "file");
    int fd = open(file.at, O_CREAT | O_RDWR, 0600);
    assert_int_equal(close(fd), 0);
    kit_err(ops->open(file.at, &journal), STOA_E_IO);
    static char longer[5000];
    memset(longer, 'x', sizeof longer - 1);
    kit_err(ops->open(longer, &journal), STOA_E_INVALID);
    kit_err(ops->open("", &journal), STOA_E_INVALID);
    assert_null(journal);
}

int main(int argc, char **argv)
{
    stoa_log_level_set(STOA_LOG_OFF);
    if (argc == 3) { return child_main(argv[1], argv[2]); }
    const struct CMUnitTest tests[] = {
        TEST(a_full_disk_refuses_keeps_reading_and_goes_on),
        TEST(a_refused_block_that_comes_back_is_not_in_the_log),
        TEST(space_may_run_out_again_at_any_write),
        TEST(table_files_that_do_not_fit_refuse_the_next_block),
        TEST(a_journal_on_a_full_disk_can_be_opened_and_read),
        TEST(space_may_run_out_at_any_write_of_an_open),
        TEST(what_is_read_on_a_full_disk_was_synced),
        TEST(a_failed_sync_ends_the_journal_and_keeps_what_was_synced),
        TEST(a_mark_that_cannot_be_synced_ends_the_journal),
        TEST(paths_that_cannot_be_are_named_errors),
    };
    return cmocka_run_group_tests_name("rocksdb_full", tests, NULL, NULL);
}
