/* rocksdb_accept_test.c - goal: what a damaged or lost mark cannot vouch for is refused until somebody accepts the loss; then what the log has
 * is kept, and the mark says so. Method: copies of the journal of a process that died, with marks that are rotten or gone, and logs that are
 * whole, rotten or cut short; syncs that fail as the loss is accepted.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/storage/rocksdb_copies.h"

/* The journal of a dead process, but that the slot of its mark that was written last is rotten; *log_bytes_out: of RocksDB's log. */
static const char *rot_the_mark(files *copies, off_t *log_bytes_out)
{
    copy_journal(copies);
    name mark = name_in(path, "commit.mark");
    int fd = open(mark.at, O_RDONLY);
    uint64_t sequence[2] = {0, 0}; /* storage/rocksdb/mark.h has the layout */
    assert_true(fd >= 0 && pread(fd, &sequence[0], 8, 8) == 8 && pread(fd, &sequence[1], 8, 4096 + 8) == 8);
    assert_int_equal(close(fd), 0);
    flip_byte(mark.at, sequence[1] > sequence[0] ? 4096 + 40 : 40);
    struct stat status;
    const char *log = log_of(copies);
    assert_int_equal(stat(log, &status), 0);
    *log_bytes_out = status.st_size;
    return log;
}

static void refused_twice(void)
{
    stoa_journal *journal = NULL;
    for (unsigned i = 0; i < 2; i++) { /* nothing is written before it is refused */
        kit_err(ops->open(path, &journal), STOA_E_CORRUPT);
        assert_non_null(strstr(stoa_err_trail(), "accept-loss"));
    }
}

static void what_a_damaged_mark_cannot_vouch_for_is_refused_until_it_is_accepted(void **state)
{
    (void)state;
    enum { ALL = 120 };
    static files copies;
    off_t bytes;
    assert_true(WIFSIGNALED(child_end(child_start("leave_synced", NULL))));
    set_aside();
    for (off_t i = 0; i < 12; i++) {
        const char *log = rot_the_mark(&copies, &bytes);
        if (i % 2) {
            assert_int_equal(truncate(log, bytes - 60 * i), 0); /* within a record, which is longer */
        } else {
            flip_byte(log, bytes - 60 - i * bytes / 24);
        }
        refused_twice();
    }
    stoa_journal_loss loss;
    kit_ok(stoa_journal_rocksdb_accept(path, true, &loss));
    assert_true(loss.damaged && loss.mark < ALL && loss.kept >= loss.mark && loss.kept < ALL);
    refused_twice();
    kit_ok(stoa_journal_rocksdb_accept(path, false, &loss));
    stoa_journal *journal = opened();
    kit_check_all(journal, loss.kept);
    kit_grow(journal, 3, 2, 300);
    kit_err(stoa_journal_rocksdb_accept(path, false, &loss), STOA_E_DENIED);
    ops->close(journal);
    kit_ok(stoa_journal_rocksdb_accept(path, false, &loss));
    assert_false(loss.damaged);

    (void)rot_the_mark(&copies, &bytes); /* with a log that is whole nothing is lost, and the mark is mended */
    for (unsigned i = 0; i < 2; i++) {
        catch_log();
        journal = opened();
        assert_int_equal(caught_log("journal_mark_damaged"), i == 0);
        release_log();
        kit_check_all(journal, ALL);
        ops->close(journal);
    }
    (void)rot_the_mark(&copies, &bytes);
    kit_remove(name_in(path, "db").at);
    kit_err(ops->open(path, &journal), STOA_E_CORRUPT);
}

/* The journal of a dead process, without its mark or with none that is valid. */
static const char *lose_the_mark(files *copies, bool file, off_t *log_bytes_out)
{
    const char *log = rot_the_mark(copies, log_bytes_out);
    name mark = name_in(path, "commit.mark");
    if (file) {
        flip_byte(mark.at, 44); /* the other one is rotten at 40 */
        flip_byte(mark.at, 4096 + 44);
    } else {
        assert_int_equal(unlink(mark.at), 0);
    }
    return log;
}

static void what_a_lost_mark_cannot_vouch_for_is_refused_until_it_is_accepted(void **state)
{
    (void)state;
    enum { ALL = 120, PURGED = 30 };
    static files copies;
    stoa_random random = kit_random(11);
    stoa_journal *journal = NULL;
    off_t bytes;
    assert_true(WIFSIGNALED(child_end(child_start("leave_synced", NULL))));
    journal = opened();
    kit_ok(ops->purge(journal, PURGED));
    ops->close(journal);
    assert_true(WIFSIGNALED(child_end(child_start("leave_synced", NULL))));
    set_aside();
    for (unsigned i = 0; i < 8; i++) {
        bool file = i % 2, cut = i / 2 % 2, whole = i < 2;
        const char *log = lose_the_mark(&copies, file, &bytes);
        off_t at = (off_t)stoa_random_below(&random, (uint64_t)bytes);
        if (!whole && cut) { assert_int_equal(truncate(log, at), 0); }
        if (!whole && !cut) { flip_byte(log, at); }
        refused_twice();
        stoa_journal_loss plan, loss;
        kit_ok(stoa_journal_rocksdb_accept(path, true, &plan));
        assert_true(plan.lost && !plan.damaged && plan.mark == 0 && plan.first > 1 && plan.first <= PURGED);
        assert_true(whole ? plan.kept == 2 * ALL && !plan.broken : plan.kept >= ALL && plan.kept < 2 * ALL);
        assert_int_equal(access(name_in(path, "commit.mark").at, F_OK) == 0, file);
        refused_twice();
        unsigned synced = atomic_load(&tables_synced);
        kit_ok(stoa_journal_rocksdb_accept(path, false, &loss));
        assert_true(atomic_load(&tables_synced) > synced); /* what the mark vouches for is on the disk, whoever left it, and failed to sync it */
        assert_true(loss.kept == plan.kept && memcmp(&loss.hash, &plan.hash, sizeof loss.hash) == 0);
        kit_ok(stoa_journal_rocksdb_accept(path, true, &loss));
        assert_true(!loss.lost && !loss.damaged && loss.mark == plan.kept);
        journal = opened();
        stoa_journal_state now;
        kit_reader reader = {0};
        ops->state(journal, &now);
        assert_true(now.first == plan.first && now.last == plan.kept && now.proven == plan.kept);
        kit_ok(ops->read(journal, now.first, kit_visit, &reader));
        kit_err(stoa_journal_rocksdb_accept(path, true, &loss), STOA_E_DENIED);
        kit_grow(journal, 3, 2, 300);
        ops->close(journal);
        journal = opened();
        assert_int_equal(kit_last(journal), plan.kept + 6);
        ops->close(journal);
    }
    stoa_journal_loss loss;
    (void)lose_the_mark(&copies, false, &bytes);
    kit_remove(name_in(path, "db").at);
    assert_int_equal(mkdir(name_in(path, "db").at, 0700), 0);
    kit_err(stoa_journal_rocksdb_accept(path, false, &loss), STOA_E_CORRUPT);
    assert_int_not_equal(access(name_in(path, "commit.mark").at, F_OK), 0);
}

/* Its mark is taken away, or a copy takes its place: no loss is accepted, and what is appended then is not vouched for by a file that nobody
 * will find. */
static void a_journal_that_is_open_is_not_accepted(void **state)
{
    (void)state;
    stoa_journal_loss loss;
    name mark = name_in(path, "commit.mark"), away = name_in(path, "away");
    for (unsigned replaced = 0; replaced < 2; replaced++) {
        stoa_journal *journal = opened();
        kit_grow(journal, 10, 2, 300);
        uint64_t last = kit_last(journal);
        assert_int_equal(rename(mark.at, away.at), 0);
        if (replaced) { copy_file(away.at, mark.at); }
        for (unsigned plan = 0; plan < 2; plan++) { kit_err(stoa_journal_rocksdb_accept(path, plan, &loss), STOA_E_DENIED); }
        assert_int_equal(access(mark.at, F_OK) == 0, replaced);
        kit_ok(kit_append(journal, last + 1, 1, 300, false)); /* its lock is as it was */
        kit_err(stoa_journal_rocksdb_accept(path, false, &loss), STOA_E_DENIED);
        kit_err(ops->sync(journal), STOA_E_IO);
        kit_err(kit_append(journal, last + 2, 1, 300, true), STOA_E_IO);
        ops->close(journal);
        assert_int_equal(rename(away.at, mark.at), 0);
        journal = opened();
        kit_check_all(journal, last + 1);
        ops->close(journal);
        kit_remove(path);
    }
}

/* Whether the mark was damaged or lost. */
enum { SYNCS_MAX = 60 };

static void an_accepted_loss_is_on_the_disk_or_an_error(void **state)
{
    (void)state;
    static files copies;
    stoa_journal *journal = NULL;
    stoa_journal_loss loss;
    off_t bytes;
    assert_true(WIFSIGNALED(child_end(child_start("leave_synced", NULL))));
    set_aside();
    for (unsigned lost = 0; lost < 2; lost++) {
        const char *log = lost ? lose_the_mark(&copies, false, &bytes) : rot_the_mark(&copies, &bytes);
        assert_int_equal(truncate(log, bytes - 60), 0);
        long nth = 1;
        for (; nth < SYNCS_MAX; nth++) {
            disk_unsynced("/j", EIO, nth);
            stoa_err err = stoa_journal_rocksdb_accept(path, false, &loss);
            bool failed = atomic_load(&disk.syncs_left) <= 0;
            disk_good();
            if (!failed) { break; }
            kit_err(err, STOA_E_IO);
            log = lost ? lose_the_mark(&copies, false, &bytes) : rot_the_mark(&copies, &bytes);
            assert_int_equal(truncate(log, bytes - 60), 0);
        }
        assert_in_range(nth, 3, SYNCS_MAX - 1); /* RocksDB's, too, where the mark is lost */
        journal = opened();
        kit_check_all(journal, loss.kept);
        ops->close(journal);
    }
}

int main(int argc, char **argv)
{
    stoa_log_level_set(STOA_LOG_OFF);
    if (argc == 3) { return child_main(argv[1], argv[2]); }
    const struct CMUnitTest tests[] = {
        TEST(what_a_damaged_mark_cannot_vouch_for_is_refused_until_it_is_accepted),
        TEST(what_a_lost_mark_cannot_vouch_for_is_refused_until_it_is_accepted),
        TEST(a_journal_that_is_open_is_not_accepted),
        TEST(an_accepted_loss_is_on_the_disk_or_an_error),
    };
    return cmocka_run_group_tests_name("rocksdb_accept", tests, NULL, NULL);
}
