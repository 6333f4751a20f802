/* rocksdb_rot_test.c - goal: rot is never silent. Method: every file of a journal rotted at seeded places, closed or left by a process
 * that died; logs cut short; marks that are damaged or gone.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/storage/rocksdb_kit.h"

/* --- rot */

static void copy_file(const char *from, const char *to)
{
    int in = open(from, O_RDONLY), out = open(to, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    assert_true(in >= 0 && out >= 0);
    char bytes[65536];
    for (ssize_t got = read(in, bytes, sizeof bytes); got > 0; got = read(in, bytes, sizeof bytes)) {
        assert_int_equal(syscall(SYS_write, out, bytes, got), got);
    }
    assert_int_equal(close(in) | close(out), 0);
}

/* What a copy of a journal consists of. */
typedef struct files {
    name names[64];
    unsigned count;
} files;

static void copy_files(const char *from, const char *to, files *copies)
{
    assert_int_equal(mkdir(to, 0700), 0);
    DIR *dir = opendir(from);
    assert_non_null(dir);
    for (struct dirent *entry = readdir(dir); entry; entry = readdir(dir)) {
        if (entry->d_type != DT_REG) { continue; }
        assert_true(copies->count < sizeof copies->names / sizeof copies->names[0]);
        name *copy = &copies->names[copies->count++];
        *copy = name_in(to, entry->d_name);
        copy_file(name_in(from, entry->d_name).at, copy->at);
    }
    assert_int_equal(closedir(dir), 0);
}

/* The journal under test is set aside; copies of it take its place. */
static void set_aside(void)
{
    assert_int_equal(rename(path, name_in(folder, "original").at), 0);
}

static void copy_journal(files *copies)
{
    name original = name_in(folder, "original");
    kit_remove(path);
    copies->count = 0;
    copy_files(original.at, path, copies);
    copy_files(name_in(original.at, "db").at, name_in(path, "db").at, copies);
}

static bool flip_bit(const char *file, stoa_random *random)
{
    int fd = open(file, O_RDWR);
    struct stat status;
    assert_true(fd >= 0 && fstat(fd, &status) == 0);
    if (status.st_size > 0) {
        uint64_t bit = stoa_random_below(random, (uint64_t)status.st_size * 8);
        uint8_t byte = 0;
        assert_int_equal(pread(fd, &byte, 1, (off_t)(bit / 8)), 1);
        byte ^= (uint8_t)(1u << (bit % 8));
        assert_int_equal(pwrite(fd, &byte, 1, (off_t)(bit / 8)), 1);
    }
    assert_int_equal(close(fd), 0);
    return status.st_size > 0;
}

typedef struct outcome {
    unsigned unharmed, refused, cut, found_by_reading;
} outcome;

/* Open the copy. It must be refused, or hold at least all up to mark; less than appended only with a word in the log;
 * and no byte that is read may be wrong. */
static void check_honest(const char *file, uint64_t mark, uint64_t appended, outcome *out)
{
    stoa_journal *journal = NULL;
    catch_log();
    stoa_err err = ops->open(path, &journal);
    bool said = caught_log("journal_tail_cut") || caught_log("journal_tail_lost");
    release_log();
    if (err) {
        if (err != STOA_E_CORRUPT) { fail_msg("%s: %s\n%s", file, stoa_err_name(err), stoa_err_trail()); }
        out->refused++;
        return;
    }
    uint64_t last = kit_last(journal);
    if (last < mark || last > appended || (last < appended && !said)) {
        fail_msg("%s: ends at %" PRIu64 ", mark %" PRIu64 ", appended %" PRIu64, file, last, mark, appended);
    }
    kit_reader reader = {0};
    err = ops->read(journal, 1, kit_visit, &reader);
    assert_true(err == STOA_OK || err == STOA_E_CORRUPT);
    assert_true(err || reader.last == last);
    out->found_by_reading += err != STOA_OK;
    out->cut += !err && last < appended;
    out->unharmed += !err && last == appended;
    ops->close(journal);
}

static outcome rot_everywhere(uint64_t mark, uint64_t appended, unsigned flips, uint64_t seed)
{
    static files copies;
    stoa_random random = kit_random(seed);
    outcome out = {0};
    copy_journal(&copies);
    for (unsigned i = 0; i < copies.count; i++) {
        for (unsigned k = 0; k < flips; k++) {
            copy_journal(&copies);
            if (flip_bit(copies.names[i].at, &random)) { check_honest(copies.names[i].at, mark, appended, &out); }
        }
    }
    print_message("unharmed %u, refused %u, cut above the mark %u, found by reading %u\n", out.unharmed, out.refused,
                  out.cut, out.found_by_reading);
    return out;
}

static void rot_in_a_closed_journal_is_never_silent(void **state)
{
    (void)state;
    stoa_journal *journal = opened();
    kit_grow(journal, 40, 3, 700);
    ops->close(journal);
    journal = opened(); /* the first part is in table files now */
    kit_grow(journal, 40, 3, 700);
    ops->close(journal);
    set_aside();
    outcome out = rot_everywhere(240, 240, 8, 5);
    assert_int_equal(out.cut, 0); /* all of it is below the mark */
    assert_true(out.refused > 8 && out.found_by_reading > 4);
}

static void rot_in_the_tail_of_a_dead_process_is_never_silent(void **state)
{
    (void)state;
    assert_true(WIFSIGNALED(child_end(child_start("leave_tail", NULL))));
    set_aside();
    outcome out = rot_everywhere(30, 120, 16, 6);
    assert_true(out.refused > 1 && out.cut > 4);
}

static const char *log_of(const files *copies)
{
    const char *found = NULL;
    for (unsigned i = 0; i < copies->count; i++) {
        if (strstr(copies->names[i].at, ".log")) { found = copies->names[i].at; }
    }
    assert_non_null(found);
    return found;
}

/* A power cut takes the end of RocksDB's log with it, anywhere. */
static void a_log_cut_short_ends_at_a_whole_block_or_is_refused(void **state)
{
    (void)state;
    assert_true(WIFSIGNALED(child_end(child_start("leave_tail", NULL))));
    set_aside();
    static files copies;
    stoa_random random = kit_random(7);
    outcome out = {0};
    for (unsigned i = 0; i < 40; i++) {
        copy_journal(&copies);
        const char *log = log_of(&copies);
        struct stat status;
        assert_int_equal(stat(log, &status), 0);
        assert_int_equal(truncate(log, (off_t)stoa_random_below(&random, (uint64_t)status.st_size)), 0);
        check_honest(log, 30, 120, &out);
    }
    print_message("refused %u, cut above the mark %u\n", out.refused, out.cut);
    assert_true(out.refused > 2 && out.cut > 10 && out.unharmed == 0);
}

/* What a snapshot stands on is as good as acknowledged. */
static void rot_below_a_synced_note_is_never_cut(void **state)
{
    (void)state;
    assert_true(WIFSIGNALED(child_end(child_start("leave_noted", NULL))));
    set_aside();
    outcome out = rot_everywhere(NOTED, NOTED_OF, 6, 8);
    assert_true(out.refused > 1 && out.cut > 0);
    static files copies;
    stoa_random random = kit_random(9);
    for (unsigned i = 0; i < 8; i++) {
        copy_journal(&copies);
        const char *log = log_of(&copies);
        struct stat status;
        assert_int_equal(stat(log, &status), 0);
        assert_int_equal(truncate(log, (off_t)stoa_random_below(&random, (uint64_t)status.st_size)), 0);
        check_honest(log, NOTED, NOTED_OF, &out);
    }
}

typedef struct noter {
    stoa_journal *journal;
    atomic_bool stop;
    atomic_uint faults;
} noter;

static void *note(void *context)
{
    noter *n = context;
    stoa_random random = kit_random(10);
    uint64_t proven = 0;
    while (!atomic_load(&n->stop)) {
        stoa_journal_state before, after;
        ops->state(n->journal, &before);
        stoa_err err = put_note(n->journal, true);
        ops->state(n->journal, &after);
        bool good = (err == STOA_E_FULL || (!err && after.proven >= before.last)) && after.proven >= proven && after.proven <= after.last;
        if (!good) { atomic_fetch_add(&n->faults, 1); }
        proven = after.proven;
        if (stoa_random_chance(&random, 100)) { (void)usleep(200); }
    }
    return NULL;
}

/* The follower's snapshots move the mark beside a writer that never does, on a disk that is full now and then. */
static void a_log_that_nobody_waits_for_is_proven_by_what_stands_on_it(void **state)
{
    (void)state;
    stoa_journal *journal = opened();
    noter n = {.journal = journal};
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, note, &n), 0);
    for (unsigned i = 0; i < 400; i++) {
        if (i % 40 == 20) { disk_full("/", 0); }
        if (i % 40 == 24) { disk_good(); }
        stoa_err err = kit_append(journal, kit_last(journal) + 1, 2, 500, i % 50 == 7);
        if (err && err != STOA_E_FULL) { atomic_fetch_add(&n.faults, 1); }
    }
    disk_good();
    atomic_store(&n.stop, true);
    assert_int_equal(pthread_join(thread, NULL), 0);
    assert_int_equal(atomic_load(&n.faults), 0);
    kit_ok(kit_append(journal, kit_last(journal) + 1, 1, 10, false));
    kit_ok(ops->put(journal, STOA_SPACE_META, NULL, 0, true)); /* no entry: only the log */
    assert_int_equal(kit_proven(journal), kit_last(journal));
    kit_check_all(journal, kit_last(journal));
    atomic_store(&disk.broken, ".log");
    kit_ok(kit_append(journal, kit_last(journal) + 1, 1, 10, false));
    kit_err(put_note(journal, true), STOA_E_IO);
    disk_good();
    kit_err(kit_append(journal, kit_last(journal) + 1, 1, 10, false), STOA_E_IO);
    ops->close(journal);
}

static void a_reindex_that_finds_no_space_leaves_the_index(void **state)
{
    (void)state;
    for (long writes = 0; writes < 4; writes++) {
        stoa_journal *journal = opened();
        stoa_reindexed result;
        kit_grow(journal, 20, 3, 300);
        disk_full(".log", writes);
        stoa_err err = ops->reindex(journal, &result);
        assert_true(err == STOA_OK || err == STOA_E_FULL);
        disk_good();
        for (unsigned i = 0; i < 3 && kit_append(journal, kit_last(journal) + 1, 3, 300, true) == STOA_E_FULL; i++) {}
        if (writes == 0) { kit_check_index(journal, kit_last(journal)); } /* not begun: as it was */
        kit_ok(ops->reindex(journal, &result));
        kit_check_index(journal, kit_last(journal));
        kit_check_all(journal, kit_last(journal));
        ops->close(journal);
    }
}

static void flip_byte(const char *file, off_t at)
{
    int fd = open(file, O_RDWR);
    uint8_t byte = 0;
    assert_true(fd >= 0);
    assert_int_equal(pread(fd, &byte, 1, at), 1);
    byte ^= 0x40;
    assert_int_equal(pwrite(fd, &byte, 1, at), 1);
    assert_int_equal(close(fd), 0);
}

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
        kit_ok(stoa_journal_rocksdb_accept(path, false, &loss));
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

/* Whether the mark was damaged or lost. */
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
        for (; nth < 10; nth++) {
            disk_unsynced("/j", EIO, nth);
            stoa_err err = stoa_journal_rocksdb_accept(path, false, &loss);
            bool failed = atomic_load(&disk.syncs_left) <= 0;
            disk_good();
            if (!failed) { break; }
            kit_err(err, STOA_E_IO);
            log = lost ? lose_the_mark(&copies, false, &bytes) : rot_the_mark(&copies, &bytes);
            assert_int_equal(truncate(log, bytes - 60), 0);
        }
        assert_in_range(nth, 3, 6);
        journal = opened();
        kit_check_all(journal, loss.kept);
        ops->close(journal);
    }
}

static void a_journal_without_its_mark_or_database_is_corrupt(void **state)
{
    (void)state;
    stoa_journal *journal = opened();
    kit_grow(journal, 5, 1, 10);
    ops->close(journal);
    static const char *const parts[] = {"commit.mark", "db", "db/CURRENT"};
    for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++) {
        name part = name_in(path, parts[i]), away = name_in(path, "away");
        assert_int_equal(rename(part.at, away.at), 0);
        kit_err(ops->open(path, &journal), STOA_E_CORRUPT);
        kit_err(ops->open(path, &journal), STOA_E_CORRUPT);
        assert_int_equal(rename(away.at, part.at), 0);
    }

    journal = opened();
    kit_check_all(journal, 5);
    ops->close(journal);
}

/* RocksDB syncs what is in its folder, not the name of the folder itself. */
static void a_new_database_has_its_name_on_the_disk(void **state)
{
    (void)state;
    atomic_store(&looking, path);
    stoa_journal *journal = opened();
    atomic_store(&looking, NULL);
    assert_true(atomic_load(&named));
    ops->close(journal);
}

int main(int argc, char **argv)
{
    stoa_log_level_set(STOA_LOG_OFF);
    if (argc == 3) { return child_main(argv[1], argv[2]); }
    const struct CMUnitTest tests[] = {
        TEST(rot_in_a_closed_journal_is_never_silent),
        TEST(rot_in_the_tail_of_a_dead_process_is_never_silent),
        TEST(a_log_cut_short_ends_at_a_whole_block_or_is_refused),
        TEST(rot_below_a_synced_note_is_never_cut),
        TEST(a_log_that_nobody_waits_for_is_proven_by_what_stands_on_it),
        TEST(a_reindex_that_finds_no_space_leaves_the_index),
        TEST(what_a_damaged_mark_cannot_vouch_for_is_refused_until_it_is_accepted),
        TEST(what_a_lost_mark_cannot_vouch_for_is_refused_until_it_is_accepted),
        TEST(an_accepted_loss_is_on_the_disk_or_an_error),
        TEST(a_new_database_has_its_name_on_the_disk),
        TEST(a_journal_without_its_mark_or_database_is_corrupt),
    };
    return cmocka_run_group_tests_name("rocksdb_rot", tests, NULL, NULL);
}
