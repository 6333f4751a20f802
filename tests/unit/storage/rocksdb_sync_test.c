/* rocksdb_sync_test.c - goal: a sync that fails ends the journal whatever the file and whatever the error, for what was written may be gone;
 * that there is no space is no excuse. Method: one sync fails, with ENOSPC or EDQUOT: of each kind of file as the log grows into table files
 * and is purged, each one there is as a log is opened, and as it writes again behind a full disk. RocksDB would go on behind most of them.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/storage/rocksdb_kit.h"

enum { LARGE = 2 << 20, LARGE_BLOCKS = 20, STEPS = 60, LARGE_STEPS = 2000, PURGED = 10, LEFT_SYNCED = 30, SYNCS_MAX = 100 };

/* A sync in the background fails, and RocksDB may go on by itself, which must not be all that there is to see. */
static void wait_for_threads(void)
{
    for (unsigned i = 0; i < 10000 && atomic_load(&disk.syncs_left) > 0; i++) { (void)usleep(1000); }
    (void)usleep(2000000);
}

/* Until a sync has failed, and what it breaks shows. *synced_out: what was acknowledged. */
static stoa_err grow(stoa_journal *journal, bool large, uint64_t *synced_out)
{
    stoa_err err = STOA_OK;
    for (unsigned i = 0; i < (large ? LARGE_STEPS : STEPS) && !err; i++) {
        uint64_t last = kit_last(journal);
        bool sync = i % 8 == 0;
        err = kit_append(journal, last + 1, 2, large && i < LARGE_BLOCKS ? LARGE : 100, sync);
        if (!err && sync) { *synced_out = last + 2; }
        if (!large && i == STEPS / 2) { err = ops->purge(journal, PURGED); }
        if (!err && i == STEPS - 10) { err = ops->sync(journal); }
        if (large && i == LARGE_BLOCKS) { wait_for_threads(); }
        if (i > STEPS) { (void)usleep(10000); } /* they may be at it still */
    }
    return err;
}

static void check_kept(uint64_t synced)
{
    stoa_journal *journal = opened();
    stoa_journal_state state;
    uint64_t proven;
    ops->state(journal, &state);
    assert_true(state.last >= synced && state.first <= synced + 1);
    kit_ok(stoa_journal_verify(journal, &proven));
    kit_ok(kit_append(journal, state.last + 1, 1, 10, true));
    ops->close(journal);
}

static void ends_by(const char *file, int error, bool large)
{
    stoa_journal *journal = opened();
    uint64_t synced = 0;
    kit_grow(journal, 20, 2, 300);
    disk_unsynced(file, error, 1);
    stoa_err err = grow(journal, large, &synced);
    bool failed = atomic_load(&disk.syncs_left) <= 0;
    disk_good();
    if (err != STOA_E_IO || !failed) {
        fail_msg("%s, %s: %s, failed: %d\n%s", file, strerror(error), stoa_err_name(err), failed, err ? stoa_err_trail() : "");
    }
    kit_err(kit_append(journal, kit_last(journal) + 1, 2, 300, true), STOA_E_IO);
    kit_err(ops->sync(journal), STOA_E_IO);
    ops->close(journal);
    check_kept(synced);
    kit_remove(path);
}

/* The log and the mark are synced by who appends; tables, their list and the folder by who purges. */
static void a_sync_that_is_waited_for_ends_the_journal(void **state)
{
    (void)state;
    static const char *const files[] = {"*/db/MANIFEST-*", "*/db/*.sst", "*/db/*.log", "*/commit.mark", "*/j/db"};
    static const int errors[] = {ENOSPC, EDQUOT};
    for (size_t i = 0; i < sizeof files / sizeof files[0] * 2; i++) { ends_by(files[i / 2], errors[i % 2], false); }
}

/* Tables that grow are made in the background, and RocksDB mends what fails for want of space by itself. */
static void a_sync_in_the_background_ends_the_journal(void **state)
{
    (void)state;
    static const char *const files[] = {"*/db/MANIFEST-*", "*/db/*.sst", "*/j/db"};
    for (size_t i = 0; i < sizeof files / sizeof files[0]; i++) { ends_by(files[i], ENOSPC, true); }
}

static stoa_err sync_log(stoa_journal *journal)
{
    return ops->sync(journal);
}

static stoa_err put_nothing(stoa_journal *journal)
{
    return ops->put(journal, STOA_SPACE_META, NULL, 0, true);
}

static stoa_err append_synced(stoa_journal *journal)
{
    return kit_append(journal, kit_last(journal) + 1, 1, 10, true);
}

static void append_until_unsynced(stoa_journal *journal)
{
    stoa_err err = STOA_OK;
    for (unsigned i = 0; i < LARGE_BLOCKS && !err && atomic_load(&disk.syncs_left) > 0; i++) {
        err = kit_append(journal, kit_last(journal) + 1, 1, LARGE, false);
    }
    assert_true(!err || err == STOA_E_IO);
    wait_for_threads();
    assert_true(atomic_load(&disk.syncs_left) <= 0);
}

/* RocksDB syncs a log that it closes, and is told the error; nobody else is. The next sync finds nothing wrong, and must not vouch for it. */
static void a_log_synced_in_the_background_ends_the_journal(void **state)
{
    (void)state;
    static const char *const files[] = {"*/db/*.log", "*/j/db"};
    static stoa_err (*const next[])(stoa_journal *journal) = {sync_log, put_nothing, append_synced};
    for (size_t i = 0; i < 6; i++) {
        stoa_journal *journal = opened();
        kit_ok(kit_append(journal, 1, 1, 100, true));
        disk_unsynced(files[i % 2], EIO, 1);
        append_until_unsynced(journal);
        disk_good();
        kit_err(next[i / 2](journal), STOA_E_IO);
        assert_int_equal(kit_proven(journal), 1);
        kit_err(append_synced(journal), STOA_E_IO);
        ops->close(journal);
        check_kept(1);
        kit_remove(path);
    }
}

static stoa_err open_and_append(stoa_journal **out)
{
    stoa_err err = *out ? STOA_OK : ops->open(path, out);
    for (unsigned i = 0; i < 3 && !err; i++) { err = kit_append(*out, kit_last(*out) + 1, 2, 300, true); }
    return err;
}

/* Any one of them, of whatever a dead process left that is to be made into tables; full: behind a disk that was full. */
static bool fails_as_it_opens(long nth, bool full)
{
    stoa_journal *journal = NULL;
    assert_true(WIFSIGNALED(child_end(child_start("leave_tail", NULL))));
    if (full) {
        disk_full("/", 0);
        journal = opened();
        kit_err(kit_append(journal, kit_last(journal) + 1, 2, 300, true), STOA_E_FULL);
        disk_good();
    }
    disk_unsynced("*/j*", ENOSPC, nth);
    stoa_err err = open_and_append(&journal);
    bool failed = atomic_load(&disk.syncs_left) <= 0;
    disk_good();
    if (failed && err != STOA_E_IO) {
        fail_msg("sync %ld, of %s behind %s: %s\n%s", nth, disk.unsynced[0], disk.unsynced[1], stoa_err_name(err), err ? stoa_err_trail() : "");
    }
    if (journal) { ops->close(journal); }
    check_kept(LEFT_SYNCED);
    kit_remove(path);
    return failed;
}

static void a_sync_of_an_open_refuses_it(void **state)
{
    (void)state;
    for (unsigned full = 0; full < 2; full++) {
        long nth = 1;
        while (nth < SYNCS_MAX && fails_as_it_opens(nth, full)) { nth++; }
        assert_in_range(nth, 8, SYNCS_MAX - 1);
    }
}

int main(int argc, char **argv)
{
    stoa_log_level_set(STOA_LOG_OFF);
    if (argc == 3) { return child_main(argv[1], argv[2]); }
    const struct CMUnitTest tests[] = {
        TEST(a_sync_that_is_waited_for_ends_the_journal),
        TEST(a_sync_in_the_background_ends_the_journal),
        TEST(a_log_synced_in_the_background_ends_the_journal),
        TEST(a_sync_of_an_open_refuses_it),
    };
    return cmocka_run_group_tests_name("rocksdb_sync", tests, NULL, NULL);
}
