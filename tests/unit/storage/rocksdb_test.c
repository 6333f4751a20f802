/* rocksdb_test.c - goal: nothing acknowledged is lost, and nothing is lost in silence, whatever happens to the process; what was put into
 * the database behind the journal's back is found. Method: children that are killed while they append; readers on other threads;
 * blocks that do not link. rocksdb_rot_test.c and rocksdb_full_test.c have the disk's part.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/storage/rocksdb_kit.h"

/* --- life and death */

static void what_was_acknowledged_survives_sigkill(void **state)
{
    (void)state;
    stoa_random random = kit_random(UINT64_C(20240808));
    unsigned rounds = getenv("STOA_DEEP") ? 100 : 12;
    uint64_t acknowledged = 0;
    for (unsigned round = 0; round < rounds; round++) {
        int out_fd;
        pid_t pid = child_start("append", &out_fd);
        uint64_t wanted = 1 + stoa_random_below(&random, 60), position;
        for (uint64_t i = 0; i < wanted; i++) {
            assert_int_equal(read(out_fd, &position, sizeof position), sizeof position);
            acknowledged = position;
        }
        if (stoa_random_chance(&random, 500)) { (void)usleep((useconds_t)stoa_random_below(&random, 3000)); }
        assert_int_equal(kill(pid, SIGKILL), 0);
        assert_true(WIFSIGNALED(child_end(pid)));
        while (read(out_fd, &position, sizeof position) == (ssize_t)sizeof position) {
            acknowledged = position;
        }
        assert_int_equal(close(out_fd), 0);

        stoa_journal *journal = opened();
        assert_true(kit_last(journal) >= acknowledged);
        assert_true(kit_proven(journal) >= acknowledged); /* the mark follows each synced append */
        acknowledged = kit_last(journal);
        kit_check_all(journal, acknowledged);
        kit_check_index(journal, acknowledged);
        ops->close(journal);
    }
    print_message("%u rounds, %" PRIu64 " events\n", rounds, acknowledged);
}

static void unsynced_blocks_survive_the_process_and_are_unproven(void **state)
{
    (void)state;
    assert_true(WIFSIGNALED(child_end(child_start("leave_tail", NULL))));
    stoa_journal *journal = opened();
    assert_int_equal(kit_proven(journal), 30);
    kit_check_all(journal, 120);
    assert_int_equal(kit_proven(journal), 30);
    ops->close(journal);
    journal = opened();
    assert_int_equal(kit_proven(journal), 120);
    ops->close(journal);
}

static void another_process_is_denied(void **state)
{
    (void)state;
    stoa_journal *journal = opened();
    int status = child_end(child_start("open", NULL));
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), -STOA_E_DENIED);
    ops->close(journal);
}

static unsigned count_files(const char *in, const char *ending)
{
    DIR *dir = opendir(name_in(path, in).at);
    assert_non_null(dir);
    unsigned count = 0;
    for (struct dirent *entry = readdir(dir); entry; entry = readdir(dir)) {
        size_t length = strlen(entry->d_name), tail = strlen(ending);
        count += length >= tail && strcmp(entry->d_name + length - tail, ending) == 0;
    }
    assert_int_equal(closedir(dir), 0);
    return count;
}

static void many_restarts_leave_few_files_and_open_fast(void **state)
{
    (void)state;
    enum { RESTARTS = 150 };
    uint64_t worst_ns = 0, sum_ns = 0;
    for (unsigned i = 0; i < RESTARTS; i++) {
        uint64_t begin = stoa_clock_real.now_ns(&stoa_clock_real);
        stoa_journal *journal = opened();
        uint64_t took = stoa_clock_real.now_ns(&stoa_clock_real) - begin;
        sum_ns += took;
        if (took > worst_ns) { worst_ns = took; }
        assert_int_equal(kit_last(journal), i * 3);
        kit_grow(journal, 1, 3, 100);
        ops->close(journal);
    }
    print_message("open: mean %.1f ms, worst %.1f ms\n", (double)sum_ns / RESTARTS / 1e6, (double)worst_ns / 1e6);
    unsigned files = count_files("db", ".sst");
    print_message("%u table files after %u restarts\n", files, RESTARTS);
    assert_in_range(files, 1, 100);
    assert_int_equal(count_files("db", "LOG"), 0); /* see storage/rocksdb/shim.h */
    stoa_journal *journal = opened();
    kit_check_all(journal, RESTARTS * 3);
    kit_check_index(journal, RESTARTS * 3);
    ops->close(journal);
}

/* More than one write buffer, so that table files are written and the log is switched meanwhile. */
static void a_log_larger_than_memory_is_kept(void **state)
{
    (void)state;
    stoa_journal *journal = opened();
    kit_grow(journal, 40, 4, 2 << 20);
    kit_ok(kit_append(journal, 161, 4, 100, true));
    assert_int_equal(kit_proven(journal), 164);
    kit_check_all(journal, 164);
    ops->close(journal);
    journal = opened();
    kit_check_all(journal, 164);
    ops->close(journal);
}

/* --- readers beside the writer */

typedef struct watcher {
    stoa_journal *journal;
    atomic_bool stop;
    atomic_uint faults, reads;
    uint64_t next;
} watcher;

static stoa_err watch_block(void *context, const stoa_block *block)
{
    watcher *w = context;
    if (block->first != w->next) { atomic_fetch_add(&w->faults, 1); }
    w->next = block->first + block->count;
    return STOA_OK;
}

static void *watch(void *context)
{
    watcher *w = context;
    while (!atomic_load(&w->stop)) {
        stoa_journal_state s;
        ops->state(w->journal, &s);
        w->next = 1;
        stoa_err err = s.last ? ops->read(w->journal, 1, watch_block, w) : STOA_OK;
        if (err || w->next <= s.last || s.proven > s.last) { atomic_fetch_add(&w->faults, 1); }
        atomic_fetch_add(&w->reads, 1);
    }
    return NULL;
}

static void readers_on_other_threads_see_whole_logs(void **state)
{
    (void)state;
    stoa_journal *journal = opened();
    watcher watchers[2] = {{.journal = journal}, {.journal = journal}};
    pthread_t threads[2];
    for (unsigned i = 0; i < 2; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, watch, &watchers[i]), 0);
    }
    for (unsigned i = 0; i < 150 || atomic_load(&watchers[0].reads) < 5 || atomic_load(&watchers[1].reads) < 5; i++) {
        if (i % 50 == 20) { disk_full(".log", 0); } /* the database is swapped under the readers */
        stoa_err err = kit_append(journal, kit_last(journal) + 1, 2, 200, i % 4 == 0);
        assert_true(err == STOA_OK || err == STOA_E_FULL);
        if (i % 50 == 25) { disk_good(); }
    }
    for (unsigned i = 0; i < 2; i++) {
        atomic_store(&watchers[i].stop, true);
        assert_int_equal(pthread_join(threads[i], NULL), 0);
        assert_int_equal(atomic_load(&watchers[i].faults), 0);
    }
    disk_good();
    kit_ok(ops->sync(journal));
    ops->close(journal);
}

static void a_tail_that_does_not_link_is_cut_and_reported(void **state)
{
    (void)state;
    static const struct {
        uint64_t key, first;
        bool linked;
    } rows[] = {{22, 21, false}, {24, 23, true}, {23, 21, true}};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        kit_remove(path);
        stoa_journal *journal = opened();
        kit_grow(journal, 10, 2, 30);
        stoa_journal_state s;
        ops->state(journal, &s);
        ops->close(journal);

        stoa_engine engine = tamper();
        put_block(&engine, rows[i].key, rows[i].first, rows[i].linked ? &s.hash : &(stoa_hash256){{0}});
        put_block(&engine, rows[i].key + 2, rows[i].first + 2, &s.hash);
        stoa_engine_close(&engine);

        catch_log();
        journal = opened();
        assert_true(caught_log("journal_tail_cut"));
        release_log();
        kit_check_all(journal, 20);
        kit_check_index(journal, 20);
        kit_grow(journal, 3, 2, 30);
        ops->close(journal);
        catch_log();
        journal = opened();
        assert_false(caught_log("journal_tail_cut"));
        release_log();
        kit_check_all(journal, 26);
        kit_check_index(journal, 26);
        kit_ok(ops->lookup(journal, STRANGE_ID, never, NULL));
        ops->close(journal);
    }
}

static void a_block_that_links_above_the_mark_is_kept_and_unproven(void **state)
{
    (void)state;
    stoa_journal *journal = opened();
    kit_grow(journal, 10, 2, 30);
    stoa_journal_state s;
    ops->state(journal, &s);
    ops->close(journal);
    stoa_engine engine = tamper();
    put_block(&engine, 22, 21, &s.hash);
    stoa_engine_close(&engine);
    journal = opened();
    assert_int_equal(kit_proven(journal), 20);
    kit_check_all(journal, 22);
    ops->close(journal);
}

static void other_blocks_at_or_below_the_mark_are_corrupt(void **state)
{
    (void)state;
    stoa_journal *journal = opened();
    kit_grow(journal, 10, 2, 30);
    ops->close(journal);
    stoa_engine engine = tamper();
    put_block(&engine, 12, 11, &(stoa_hash256){{0}});
    stoa_engine_close(&engine);
    journal = opened(); /* only the block under the mark is looked at */
    uint64_t verified = 0;
    kit_err(stoa_journal_verify(journal, &verified), STOA_E_CORRUPT);
    assert_int_equal(verified, 10);
    assert_non_null(strstr(stoa_err_trail(), "position 11"));
    kit_reader reader = {0};
    kit_ok(ops->read(journal, 15, kit_visit, &reader));
    ops->close(journal);

    engine = tamper();
    put_block(&engine, 20, 19, &(stoa_hash256){{0}});
    stoa_engine_close(&engine);
    kit_err(ops->open(path, &journal), STOA_E_CORRUPT);
    assert_non_null(strstr(stoa_err_trail(), "position 20"));
}

static void a_database_of_another_format_is_left_alone(void **state)
{
    (void)state;
    stoa_journal *journal = opened();
    kit_grow(journal, 10, 2, 30);
    ops->close(journal);
    stoa_engine engine = tamper();
    put(&engine, STOA_FAMILY_META, "format", 6, "2", 1);
    stoa_engine_close(&engine);
    kit_err(ops->open(path, &journal), STOA_E_VERSION);
    engine = tamper();
    put(&engine, STOA_FAMILY_META, "format", 6, "1", 1);
    stoa_engine_close(&engine);
    journal = opened();
    kit_check_all(journal, 20);
    ops->close(journal);
}

int main(int argc, char **argv)
{
    stoa_log_level_set(STOA_LOG_OFF);
    if (argc == 3) { return child_main(argv[1], argv[2]); }
    const struct CMUnitTest tests[] = {
        TEST(what_was_acknowledged_survives_sigkill),
        TEST(unsynced_blocks_survive_the_process_and_are_unproven),
        TEST(another_process_is_denied),
        TEST(many_restarts_leave_few_files_and_open_fast),
        TEST(a_log_larger_than_memory_is_kept),
        TEST(readers_on_other_threads_see_whole_logs),
        TEST(a_tail_that_does_not_link_is_cut_and_reported),
        TEST(a_block_that_links_above_the_mark_is_kept_and_unproven),
        TEST(other_blocks_at_or_below_the_mark_are_corrupt),
        TEST(a_database_of_another_format_is_left_alone),
    };
    return cmocka_run_group_tests_name("rocksdb", tests, NULL, NULL);
}
