/* rocksdb_rot_test.c - goal: rot is never silent. Method: every file of a journal rotted at seeded places, closed or left by a process
 * that died; logs cut short; a mark or a database that is gone. rocksdb_accept_test.c goes on behind marks that are.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/storage/rocksdb_copies.h"

/* --- rot */

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

/* No space to cut what is rotten is not rot: with space again the same log opens, or is refused, as ever. */
static void rot_on_a_full_disk_is_told_from_a_full_disk(void **state)
{
    (void)state;
    assert_true(WIFSIGNALED(child_end(child_start("leave_tail", NULL))));
    set_aside();
    static files copies;
    stoa_random random = kit_random(10);
    unsigned full = 0, refused = 0;
    for (unsigned i = 0; i < 40; i++) {
        copy_journal(&copies);
        (void)flip_bit(log_of(&copies), &random);
        disk_full("/", (long)(i % 20));
        stoa_journal *journal = NULL;
        stoa_err before = ops->open(path, &journal);
        if (journal) { ops->close(journal); }
        disk_good();
        stoa_err after = ops->open(path, &journal);
        if (!after) { ops->close(journal); }
        if (before != STOA_E_FULL && before != after) { fail_msg("%s, and with space again %s", stoa_err_name(before), stoa_err_name(after)); }
        full += before == STOA_E_FULL && after == STOA_OK;
        refused += after == STOA_E_CORRUPT;
    }
    print_message("FULL first %u, refused %u\n", full, refused);
    assert_true(full > 4);
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
        TEST(rot_on_a_full_disk_is_told_from_a_full_disk),
        TEST(a_log_cut_short_ends_at_a_whole_block_or_is_refused),
        TEST(rot_below_a_synced_note_is_never_cut),
        TEST(a_log_that_nobody_waits_for_is_proven_by_what_stands_on_it),
        TEST(a_reindex_that_finds_no_space_leaves_the_index),
        TEST(a_new_database_has_its_name_on_the_disk),
        TEST(a_journal_without_its_mark_or_database_is_corrupt),
    };
    return cmocka_run_group_tests_name("rocksdb_rot", tests, NULL, NULL);
}
