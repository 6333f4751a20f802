/* anchor_test.c - goal: a log that is begun behind an anchor is the rest of the log that the anchor is of: the same blocks, links and
 * hashes, with what is below gone by name; and it is begun once, whole or not at all. Method: one list of tests, run on each
 * journal, and on each behind an archive; logs of the kit cut at each of their blocks; crashes and kills between all steps.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "tests/contract/journals.h"

#include <signal.h>
#include <sys/wait.h>
#include <time.h>

#include "base/log.h"
#include "storage/archive/journal.h"

enum { BLOCKS = 8, COUNT = 5, PAYLOAD = 300, KILLS = 40 };

static stoa_journal_state state_of(stoa_journal *journal)
{
    stoa_journal_state state;
    journal->ops->state(journal, &state);
    return state;
}

/* Of each block's end, from position 0 on. */
static void grow_and_note(stoa_journal *journal, stoa_journal_state ends[BLOCKS + 1])
{
    ends[0] = state_of(journal);
    for (unsigned i = 1; i <= BLOCKS; i++) {
        kit_grow(journal, 1, COUNT, PAYLOAD);
        ends[i] = state_of(journal);
    }
}

static stoa_err copy_on(void *context, const void *bytes, size_t size_bytes)
{
    stoa_journal *to = context;
    return to->ops->append_stored(to, bytes, size_bytes, false);
}

static void check_end(stoa_journal *journal, const stoa_journal_state *end)
{
    stoa_journal_state state = state_of(journal);
    assert_int_equal(state.last, end->last);
    assert_memory_equal(&state.hash, &end->hash, sizeof state.hash);
}

static void check_gone(stoa_journal *journal, uint64_t first)
{
    kit_reader reader = {0};
    kit_err(journal->ops->read(journal, 1, kit_visit, &reader), STOA_E_GONE);
    kit_err(journal->ops->read(journal, first - 1, kit_visit, &reader), STOA_E_GONE);
    kit_err(journal->ops->read(journal, 0, kit_visit, &reader), STOA_E_NOT_FOUND);
    assert_int_equal(reader.blocks, 0);
}

static void a_begun_log_is_the_rest_of_the_other(void **state)
{
    (void)state;
    stoa_journal *whole = opened("whole");
    stoa_journal_state ends[BLOCKS + 1];
    grow_and_note(whole, ends);
    for (unsigned i = 1; i < BLOCKS; i++) {
        char name[16];
        (void)snprintf(name, sizeof name, "rest%u", i);
        stoa_journal *rest = opened(name);
        uint64_t first = ends[i].last + 1, last = ends[BLOCKS].last;
        kit_ok(ops->begin(rest, &ends[i]));
        stoa_journal_state begun = state_of(rest);
        assert_true(begun.first == first && begun.last == first - 1 && begun.proven == first - 1 && begun.begun == first - 1);
        assert_memory_equal(&begun.hash, &ends[i].hash, sizeof begun.hash);
        check_gone(rest, first);
        kit_check_index_from(rest, first, first - 1);
        ops->close(rest);
        rest = opened(name); /* and nothing has been appended yet */
        kit_ok(ops->read_stored(whole, first, copy_on, rest));
        kit_check_from(rest, first, last);
        kit_check_index_from(rest, first, last);
        check_end(rest, &ends[BLOCKS]);
        kit_ok(ops->sync(rest));
        ops->close(rest);
        rest = opened(name);
        check_gone(rest, first);
        kit_check_from(rest, first, last);
        kit_check_index_from(rest, first, last);
        kit_ok(kit_append(rest, last + 1, COUNT, PAYLOAD, true));
        kit_ok(ops->purge(rest, last + 1)); /* it is purged like any other, and was begun where it was */
        assert_true(state_of(rest).begun == first - 1 && state_of(rest).first > first);
        kit_check_from(rest, state_of(rest).first, last + COUNT);
        ops->close(rest);
        rest = opened(name);
        assert_int_equal(state_of(rest).begun, first - 1);
        ops->close(rest);
    }
    ops->close(whole);
}

static void a_log_is_begun_once_and_only_while_it_is_empty(void **state)
{
    (void)state;
    stoa_journal *used = opened("used"), *fresh = opened("fresh"), *purged = opened("purged");
    stoa_journal_state ends[BLOCKS + 1];
    grow_and_note(used, ends);
    kit_grow(purged, BLOCKS, COUNT, PAYLOAD);
    kit_ok(ops->sync(purged));
    kit_ok(ops->purge(purged, UINT64_MAX));
    stoa_journal_state before = state_of(purged);
    assert_int_equal(before.begun, 0);
    kit_err(ops->begin(used, &ends[3]), STOA_E_EXISTS);
    kit_err(ops->begin(purged, &ends[3]), STOA_E_EXISTS);
    kit_check_all(used, BLOCKS * COUNT);
    kit_check_from(purged, before.first, BLOCKS * COUNT);
    static const uint64_t nowhere[] = {0, UINT64_MAX, UINT64_MAX - 1};
    for (size_t i = 0; i < sizeof nowhere / sizeof nowhere[0]; i++) {
        kit_err(ops->begin(fresh, &(const stoa_journal_state){.last = nowhere[i]}), STOA_E_INVALID);
    }
    kit_check_all(fresh, 0);
    kit_ok(ops->begin(fresh, &ends[3]));
    kit_err(ops->begin(fresh, &ends[3]), STOA_E_EXISTS);
    kit_err(ops->begin(fresh, &ends[4]), STOA_E_EXISTS);
    assert_int_equal(state_of(fresh).first, ends[3].last + 1);
    ops->close(used);
    ops->close(fresh);
    ops->close(purged);
}

typedef struct kept {
    uint8_t bytes[4096];
    size_t size_bytes;
} kept;

static stoa_err keep(void *context, const void *bytes, size_t size_bytes)
{
    kept *k = context;
    assert_true(size_bytes <= sizeof k->bytes);
    memcpy(k->bytes, bytes, size_bytes);
    k->size_bytes = size_bytes;
    return STOA_E_CANCELLED;
}

static void only_what_continues_the_anchor_is_appended(void **state)
{
    (void)state;
    stoa_journal *whole = opened("whole"), *rest = opened("rest");
    stoa_journal_state ends[BLOCKS + 1], anchor;
    kept third, fourth, fifth;
    grow_and_note(whole, ends);
    kit_err(ops->read_stored(whole, ends[2].last + 1, keep, &third), STOA_E_CANCELLED);
    kit_err(ops->read_stored(whole, ends[3].last + 1, keep, &fourth), STOA_E_CANCELLED);
    kit_err(ops->read_stored(whole, ends[4].last + 1, keep, &fifth), STOA_E_CANCELLED);
    anchor = ends[3];
    anchor.hash.at[7] ^= 1; /* of another log */
    kit_ok(ops->begin(rest, &anchor));
    kit_err(ops->append_stored(rest, fourth.bytes, fourth.size_bytes, true), STOA_E_FORKED);
    kit_err(ops->append_stored(rest, third.bytes, third.size_bytes, true), STOA_E_INVALID);
    kit_err(ops->append_stored(rest, fifth.bytes, fifth.size_bytes, true), STOA_E_INVALID);
    kit_err(kit_append(rest, 1, 1, 10, true), STOA_E_INVALID);
    kit_err(kit_append(rest, anchor.last + 2, 1, 10, true), STOA_E_INVALID);
    ops->close(rest);

    rest = opened("later");
    anchor = ends[3];
    anchor.epoch = 5; /* written by a later writer than the block is */
    kit_ok(ops->begin(rest, &anchor));
    kit_err(ops->append_stored(rest, fourth.bytes, fourth.size_bytes, true), STOA_E_INVALID);
    kit_err(kit_append(rest, anchor.last + 1, 1, 10, true), STOA_E_INVALID);
    assert_int_equal(state_of(rest).last, anchor.last);
    uint64_t verified = 0;
    kit_ok(stoa_journal_verify(rest, &verified));
    assert_int_equal(verified, anchor.last);
    ops->close(rest);
    ops->close(whole);
}

/* Its archive has nothing to do with it but to hand it on. */
static void a_log_behind_an_archive_is_begun_as_well(void **state)
{
    (void)state;
    char archives[KIT_PATH_MAX];
    stoa_archive *archive;
    stoa_journal *whole = opened("whole"), *rest = opened("rest"), *both;
    stoa_journal_state ends[BLOCKS + 1];
    grow_and_note(whole, ends);
    kit_folder(archives);
    kit_ok(stoa_archive_open(&(const stoa_archive_options){.folder = archives, .shard = "rest"}, &archive));
    kit_ok(stoa_journal_archived(rest, archive, &both));
    kit_ok(both->ops->begin(both, &ends[2]));
    kit_err(both->ops->begin(both, &ends[2]), STOA_E_EXISTS);
    kit_ok(ops->read_stored(whole, ends[2].last + 1, copy_on, both));
    assert_int_equal(state_of(both).begun, ends[2].last);
    assert_int_equal(state_of(rest).first, ends[2].last + 1);
    check_end(both, &ends[BLOCKS]);
    both->ops->close(both);
    stoa_archive_close(archive);
    kit_remove(archives);
    ops->close(whole);
}

/* --- of the simulated disk */

/* Empty, or begun where it was to be, and then what was appended, or its beginning. */
static void check_what_a_crash_left(const stoa_journal_state *anchor, uint64_t least, uint64_t most)
{
    stoa_journal *journal = opened("j");
    stoa_journal_state left = state_of(journal);
    if (left.last == 0) {
        assert_true(least == 0 && left.begun == 0 && left.first == 1);
        kit_ok(ops->begin(journal, anchor));
        left = state_of(journal);
    }
    assert_true(left.begun == anchor->last && left.first == anchor->last + 1 && left.last >= least && left.last <= most);
    if (left.last > anchor->last) { kit_check_from(journal, anchor->last + 1, left.last); }
    kit_ok(kit_append(journal, left.last + 1, COUNT, PAYLOAD, true));
    ops->close(journal);
    journal = opened("j");
    kit_check_from(journal, anchor->last + 1, left.last + COUNT);
    ops->close(journal);
}

static void a_crash_leaves_it_empty_or_begun(void **state)
{
    (void)state;
    stoa_random random = kit_random(UINT64_C(61));
    for (unsigned round = 0; round < 300; round++) {
        stoa_sim_disk *disk;
        kit_ok(stoa_sim_disk_get("j", stoa_random_next(&random), &disk));
        stoa_journal_state anchor = {.last = 1 + stoa_random_below(&random, 1000), .epoch = 1, .hash.at = {(uint8_t)round, 1}};
        uint32_t failing = (uint32_t)stoa_random_below(&random, 3);
        unsigned blocks = (unsigned)stoa_random_below(&random, 4);
        stoa_journal *journal = opened("j");
        stoa_sim_disk_fail_sync(disk, failing);
        if (round % 7 == 0) {
            stoa_sim_disk_fill(disk, 1);
            kit_err(ops->begin(journal, &anchor), STOA_E_FULL);
            stoa_sim_disk_fill(disk, 0);
        }
        stoa_err err = ops->begin(journal, &anchor);
        assert_int_equal(err, failing == 1 ? STOA_E_IO : STOA_OK);
        for (unsigned i = 0; i < blocks && !err; i++) { err = kit_append(journal, kit_last(journal) + 1, COUNT, PAYLOAD, false); }
        stoa_sim_disk_crash(disk);
        ops->close(journal);
        stoa_sim_disk_fail_sync(disk, 0);
        check_what_a_crash_left(&anchor, failing == 1 ? 0 : anchor.last, anchor.last + (uint64_t)blocks * COUNT);
        stoa_sim_disks_free();
    }
}

/* --- of RocksDB */

/* A program of its own: RocksDB's threads do not survive a fork. It tells on stdout what it has done. */
static int begin_and_append(const char *path, const char *position, const char *round)
{
    stoa_journal *journal;
    stoa_journal_state anchor = {.last = strtoull(position, NULL, 10), .epoch = 1, .hash.at = {(uint8_t)atoi(round), 2}};
    bool well = stoa_journal_rocksdb.open(path, &journal) == STOA_OK && write(STDOUT_FILENO, "o", 1) == 1 &&
                journal->ops->begin(journal, &anchor) == STOA_OK && write(STDOUT_FILENO, "b", 1) == 1;
    while (well) {
        well = kit_append(journal, kit_last(journal) + 1, COUNT, PAYLOAD, true) == STOA_OK && write(STDOUT_FILENO, "a", 1) == 1;
    }
    return EXIT_FAILURE;
}

static pid_t start_child(const char *path, const stoa_journal_state *anchor, unsigned round, int *from_out)
{
    int ends[2];
    char position[24], number[12];
    (void)snprintf(position, sizeof position, "%" PRIu64, anchor->last);
    (void)snprintf(number, sizeof number, "%u", round & 0xff);
    assert_int_equal(pipe(ends), 0);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        (void)dup2(ends[1], STDOUT_FILENO);
        (void)close(ends[0]);
        (void)close(ends[1]);
        (void)execl("/proc/self/exe", "anchor_test", path, position, number, (char *)NULL);
        _exit(127);
    }
    (void)close(ends[1]);
    *from_out = ends[0];
    return child;
}

static void a_kill_leaves_it_empty_or_begun(void **state)
{
    (void)state;
    stoa_random random = kit_random(UINT64_C(62));
    unsigned kills = getenv("STOA_DEEP") ? KILLS * 10 : KILLS, empty = 0;
    for (unsigned round = 0; round < kills; round++) {
        stoa_journal_state anchor = {.last = 1 + stoa_random_below(&random, 1000), .epoch = 1, .hash.at = {(uint8_t)round, 2}};
        char path[KIT_PATH_MAX + 16], said;
        int from, status;
        uint64_t least = 0;
        path_of("j", path);
        kit_remove(path);
        pid_t child = start_child(path, &anchor, round, &from);
        assert_int_equal(read(from, &said, 1), 1);
        if (round % 2) { /* while it appends; else perhaps while it begins */
            assert_true(read(from, &said, 1) == 1 && said == 'b');
            least = anchor.last;
        }
        struct timespec wait = {.tv_nsec = (long)stoa_random_below(&random, 90000000)};
        (void)nanosleep(&wait, NULL);
        (void)kill(child, SIGKILL);
        while (read(from, &said, 1) == 1) { least = said == 'b' ? anchor.last : least + COUNT; }
        assert_int_equal(waitpid(child, &status, 0), child);
        assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
        (void)close(from);
        empty += least == 0;
        check_what_a_crash_left(&anchor, least, UINT64_MAX);
    }
    print_message("%u of %u were killed before it was begun\n", empty, kills);
}

static void a_begun_log_that_is_gone_is_missed(void **state)
{
    (void)state;
    char path[KIT_PATH_MAX + 32];
    stoa_journal *journal = opened("j");
    kit_ok(ops->begin(journal, &(const stoa_journal_state){.last = 70, .epoch = 2}));
    ops->close(journal);
    path_of("j", path);
    (void)snprintf(path + strlen(path), sizeof path - strlen(path), "/db");
    kit_remove(path);
    path_of("j", path);
    kit_err(ops->open(path, &journal), STOA_E_CORRUPT);
}

#define TESTS(setup, teardown)                                                                                         \
    TEST(a_begun_log_is_the_rest_of_the_other, setup, teardown),                                                       \
        TEST(a_log_is_begun_once_and_only_while_it_is_empty, setup, teardown),                                         \
        TEST(only_what_continues_the_anchor_is_appended, setup, teardown),                                             \
        TEST(a_log_behind_an_archive_is_begun_as_well, setup, teardown)

int main(int argc, char **argv)
{
    stoa_log_level_set(STOA_LOG_ERROR);
    if (argc == 4) { return begin_and_append(argv[1], argv[2], argv[3]); }
    if (access("/dev/shm", W_OK) == 0) { (void)setenv("TMPDIR", "/dev/shm", 0); } /* no power is cut here: syncs need no disk */
    const struct CMUnitTest sim[] = {TESTS(sim_setup, sim_teardown), TEST(a_crash_leaves_it_empty_or_begun, sim_setup, sim_teardown)};
    const struct CMUnitTest rocksdb[] = {TESTS(rocksdb_setup, rocksdb_teardown),
                                         TEST(a_kill_leaves_it_empty_or_begun, rocksdb_setup, rocksdb_teardown),
                                         TEST(a_begun_log_that_is_gone_is_missed, rocksdb_setup, rocksdb_teardown)};
    int failed = cmocka_run_group_tests_name("sim", sim, NULL, NULL);
    return failed + cmocka_run_group_tests_name("rocksdb", rocksdb, NULL, NULL);
}
