/* index_test.c - goal: the index is derived: thrown away, damaged or half made, it comes out of the blocks as it was; and a log
 * is proven in pieces as it is in one. Method: one list of tests, run on each journal; on RocksDB entries are taken out, and
 * a reindex is broken off, behind the journal's back.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "tests/contract/journals.h"

#include <pthread.h>
#include <stdatomic.h>

#include "base/log.h"
#include "storage/rocksdb/engine.h"

static void an_index_made_anew_is_the_same(void **state)
{
    (void)state;
    stoa_journal *journal = opened("j");
    stoa_reindexed done;
    kit_ok(ops->reindex(journal, &done));
    assert_int_equal(done.entries, 0);
    kit_grow(journal, 40, 5, 100);
    kit_ok(ops->sync(journal));
    for (unsigned i = 0; i < 3; i++) {
        kit_ok(ops->reindex(journal, &done));
        assert_int_equal(done.entries, done.entries_before);
        assert_int_equal(done.hash, done.hash_before);
        kit_check_index_from(journal, i ? 51 : 1, 200);
        if (i == 0) { kit_ok(ops->purge(journal, 51)); }
    }
    kit_grow(journal, 1, 5, 100);
    kit_check_index_from(journal, 51, 205);
    ops->close(journal);
    journal = opened("j");
    kit_check_index_from(journal, 51, 205);
    ops->close(journal);
}

static bool count_down(void *context)
{
    return --*(unsigned *)context > 0;
}

static void a_log_is_proven_in_pieces(void **state)
{
    (void)state;
    stoa_journal *journal = opened("j");
    kit_grow(journal, 30, 4, 100);
    stoa_journal_check check;
    uint64_t from = 0, blocks = 0;
    for (unsigned piece = 0;; piece++) {
        unsigned left = 7;
        stoa_err err = stoa_journal_check_from(journal, from, count_down, &left, &check);
        blocks += check.blocks;
        if (!err) { break; }
        assert_int_equal(err, STOA_E_CANCELLED);
        assert_int_equal(check.blocks, 7);
        assert_int_equal(check.verified, 28 + piece * 24); /* the block that the next piece begins with is read twice */
        from = check.verified;
    }
    assert_int_equal(check.verified, 120);
    assert_int_equal(blocks, 34);
    assert_int_equal(check.key_count, 1);
    assert_int_equal(check.keys[0].id, 0);
    kit_ok(stoa_journal_check_from(journal, 0, NULL, NULL, &check));
    assert_int_equal(check.blocks, 30);
    assert_int_equal(check.events, 120);
    kit_err(stoa_journal_check_from(journal, 121, NULL, NULL, &check), STOA_E_NOT_FOUND);
    stoa_journal_figures figures;
    ops->measure(journal, &figures);
    assert_true(figures.log_bytes > 30 * 100);
    assert_int_equal(figures.blocks, 30);
    assert_true(ops->room(journal) > 0);
    ops->close(journal);
}

/* --- of RocksDB */

static void open_engine(stoa_engine *engine)
{
    char path[KIT_PATH_MAX + 32];
    (void)snprintf(path, sizeof path, "%s/j/db", folder);
    kit_ok(stoa_engine_open(engine, path, (stoa_engine_mode){0}));
}

static void take_entries(stoa_engine *engine, unsigned every)
{
    rocksdb_readoptions_t *reading = rocksdb_readoptions_create();
    rocksdb_writeoptions_t *writing = rocksdb_writeoptions_create();
    rocksdb_iterator_t *it = rocksdb_create_iterator_cf(engine->db, reading, engine->families[STOA_FAMILY_INDEX]);
    char *text = NULL;
    unsigned i = 0;
    for (rocksdb_iter_seek_to_first(it); rocksdb_iter_valid(it); rocksdb_iter_next(it)) {
        size_t bytes;
        const char *key = rocksdb_iter_key(it, &bytes);
        if (i++ % every == 0) {
            rocksdb_delete_cf(engine->db, writing, engine->families[STOA_FAMILY_INDEX], key, bytes, &text);
            assert_null(text);
        }
    }
    rocksdb_iter_destroy(it);
    rocksdb_readoptions_destroy(reading);
    rocksdb_writeoptions_destroy(writing);
}

static void entries_that_were_lost_come_back(void **state)
{
    (void)state;
    stoa_journal *journal = opened("j");
    kit_grow(journal, 40, 5, 100);
    stoa_reindexed whole, done;
    kit_ok(ops->reindex(journal, &whole));
    assert_int_equal(whole.entries, 200);
    ops->close(journal);

    stoa_engine engine;
    open_engine(&engine);
    take_entries(&engine, 3);
    stoa_engine_close(&engine);
    journal = opened("j");
    kit_ok(ops->reindex(journal, &done));
    assert_true(done.entries_before == 133 || done.entries_before == 200); /* 200: open has noticed by itself */
    assert_int_equal(done.entries, whole.entries);
    assert_int_equal(done.hash, whole.hash);
    kit_check_index(journal, 200);
    ops->close(journal);
}

/* As a crash leaves it: the note is there, the entries are not. */
static void a_reindex_that_was_broken_off_is_ended_by_open(void **state)
{
    (void)state;
    stoa_journal *journal = opened("j");
    kit_grow(journal, 40, 5, 100);
    ops->close(journal);
    stoa_engine engine;
    open_engine(&engine);
    take_entries(&engine, 1);
    rocksdb_writeoptions_t *writing = rocksdb_writeoptions_create();
    char *text = NULL;
    rocksdb_put_cf(engine.db, writing, engine.families[STOA_FAMILY_META], "index", 5, "broken", 6, &text);
    assert_null(text);
    rocksdb_writeoptions_destroy(writing);
    stoa_engine_close(&engine);
    for (unsigned i = 0; i < 2; i++) {
        journal = opened("j");
        kit_check_index(journal, 200);
        ops->close(journal);
    }
}

/* The newest list of files of the database is cut at each place near its end, as rot in a length can do. */
static void a_list_of_files_that_lost_its_end_loses_no_entry_in_silence(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 3; i++) { /* each open but the first writes what the one before had in memory */
        stoa_journal *journal = opened("j");
        kit_grow(journal, 10, 5, 100);
        kit_ok(ops->sync(journal));
        ops->close(journal);
    }
    char command[6 * KIT_PATH_MAX];
    (void)snprintf(command, sizeof command, "cp -r %s/j %s/aside", folder, folder);
    assert_int_equal(system(command), 0);
    unsigned refused = 0, right = 0;
    for (unsigned cut = 1; cut < 240; cut += 3) {
        (void)snprintf(command, sizeof command,
                       "rm -r %s/j && cp -r %s/aside %s/j && f=$(ls %s/j/db/MANIFEST-* | tail -1) && truncate -s -%u $f", folder,
                       folder, folder, folder, cut);
        assert_int_equal(system(command), 0);
        char path[KIT_PATH_MAX + 16];
        path_of("j", path);
        stoa_journal *journal = NULL;
        stoa_err err = ops->open(path, &journal);
        uint64_t verified;
        bool opened_well = !err;
        if (!err) { err = stoa_journal_verify(journal, &verified); } /* below the mark rot is found by reading */
        if (err) {
            assert_int_equal(err, STOA_E_CORRUPT);
            refused++;
        } else {
            kit_check_all(journal, 150);
            kit_check_index(journal, 150);
            right++;
        }
        if (opened_well) { ops->close(journal); }
    }
    print_message("%u times right, %u times refused\n", right, refused);
    assert_true(right > 0 && refused > 0);
}

typedef struct reindexer {
    stoa_journal *journal;
    atomic_bool stop;
    atomic_uint faults, times;
} reindexer;

static void *reindex_on(void *context)
{
    reindexer *r = context;
    while (!atomic_load(&r->stop)) {
        stoa_reindexed done;
        stoa_err err = ops->reindex(r->journal, &done);
        if (err || done.hash != done.hash_before) { atomic_fetch_add(&r->faults, 1); }
        atomic_fetch_add(&r->times, 1);
    }
    return NULL;
}

static void appends_beside_a_reindex_are_indexed(void **state)
{
    (void)state;
    stoa_journal *journal = opened("j");
    reindexer r = {.journal = journal};
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, reindex_on, &r), 0);
    unsigned blocks = 0;
    while (blocks < 300 || atomic_load(&r.times) < 20) {
        kit_ok(kit_append(journal, kit_last(journal) + 1, 3, 20, blocks % 32 == 0));
        blocks++;
    }
    atomic_store(&r.stop, true);
    assert_int_equal(pthread_join(thread, NULL), 0);
    assert_int_equal(atomic_load(&r.faults), 0);
    kit_check_index(journal, blocks * 3);
    kit_check_all(journal, blocks * 3);
    ops->close(journal);
}

#define TESTS(setup, teardown)                                                                                         \
    TEST(an_index_made_anew_is_the_same, setup, teardown), TEST(a_log_is_proven_in_pieces, setup, teardown)

int main(void)
{
    stoa_log_level_set(STOA_LOG_ERROR);
    const struct CMUnitTest sim[] = {TESTS(sim_setup, sim_teardown)};
    const struct CMUnitTest rocksdb[] = {
        TESTS(rocksdb_setup, rocksdb_teardown), TEST(entries_that_were_lost_come_back, rocksdb_setup, rocksdb_teardown),
        TEST(a_reindex_that_was_broken_off_is_ended_by_open, rocksdb_setup, rocksdb_teardown),
        TEST(a_list_of_files_that_lost_its_end_loses_no_entry_in_silence, rocksdb_setup, rocksdb_teardown),
        TEST(appends_beside_a_reindex_are_indexed, rocksdb_setup, rocksdb_teardown)};
    int failed = cmocka_run_group_tests_name("sim", sim, NULL, NULL);
    return failed + cmocka_run_group_tests_name("rocksdb", rocksdb, NULL, NULL);
}
