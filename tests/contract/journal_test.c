/* journal_test.c - goal: every journal keeps the contract of storage/journal.h. Method: one list of tests, run on each
 * implementation; blocks whose content follows from their position, so that every byte that is read back is checked.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "tests/contract/journals.h"
#include "tests/unit/storage/faulty_disk.h"

static void an_empty_journal_has_nothing_in_it(void **state)
{
    (void)state;
    stoa_journal *journal = opened("j");
    stoa_journal_state s, empty = {.first = 1};
    ops->state(journal, &s);
    assert_memory_equal(&s, &empty, sizeof s);

    kit_reader reader = {0};
    kit_err(ops->read(journal, 1, kit_visit, &reader), STOA_E_NOT_FOUND);
    kit_err(ops->read(journal, 0, kit_visit, &reader), STOA_E_NOT_FOUND);
    assert_int_equal(reader.blocks, 0);
    kit_check_all(journal, 0);
    kit_check_index(journal, 0);
    kit_ok(ops->sync(journal));
    ops->close(journal);
    ops->close(NULL);
}

static void what_is_appended_is_read_back(void **state)
{
    (void)state;
    stoa_journal *journal = opened("j");
    uint64_t next = 1;
    for (uint32_t i = 0; i < 60; i++) {
        kit_ok(kit_append(journal, next, 1 + i % 9, i * 37, i % 3 == 0));
        next += 1 + i % 9;
        assert_int_equal(kit_last(journal), next - 1);
    }
    kit_check_all(journal, next - 1);
    kit_check_index(journal, next - 1);
    ops->close(journal);
}

static void blocks_are_dense(void **state)
{
    (void)state;
    stoa_journal *journal = opened("j");
    kit_err(kit_append(journal, 2, 1, 8, true), STOA_E_INVALID);
    kit_ok(kit_append(journal, 1, 5, 8, true));
    kit_err(kit_append(journal, 1, 5, 8, true), STOA_E_INVALID);
    kit_err(kit_append(journal, 5, 1, 8, true), STOA_E_INVALID);
    kit_err(kit_append(journal, 7, 1, 8, true), STOA_E_INVALID);
    kit_ok(kit_append(journal, 6, 1, 8, true));
    kit_check_all(journal, 6);
    ops->close(journal);
}

static stoa_err append_in_epoch(stoa_journal *journal, uint64_t first, uint64_t epoch)
{
    kit_block made = kit_make(first, 1, 16, epoch);
    stoa_err err = ops->append(journal, &made.block, false);
    kit_drop(&made);
    return err;
}

static void epochs_never_fall(void **state)
{
    (void)state;
    stoa_journal *journal = opened("j");
    kit_ok(append_in_epoch(journal, 1, 3));
    kit_err(append_in_epoch(journal, 2, 2), STOA_E_INVALID);
    kit_ok(append_in_epoch(journal, 2, 3));
    kit_ok(append_in_epoch(journal, 3, 9));
    kit_err(append_in_epoch(journal, 4, 3), STOA_E_INVALID);
    ops->close(journal);

    journal = opened("j");
    stoa_journal_state s;
    ops->state(journal, &s);
    assert_int_equal(s.epoch, 9);
    kit_err(append_in_epoch(journal, 4, 8), STOA_E_INVALID);
    kit_check_all(journal, 3);
    ops->close(journal);
}

static void blocks_that_make_no_sense_are_refused_and_change_nothing(void **state)
{
    (void)state;
    stoa_journal *journal = opened("j");
    kit_ok(kit_append(journal, 1, 4, 100, true));
    kit_block good = kit_make(5, 4, 100, 1);
    static const struct {
        uint64_t first;
        uint32_t count, payload_bytes, index_count;
        uint64_t position; /* of the first index entry */
        stoa_err err;
    } rows[] = {
        {5, 0, 100, 0, 5, STOA_E_INVALID},
        {0, 4, 100, 0, 5, STOA_E_INVALID},
        {UINT64_MAX, 4, 100, 0, 5, STOA_E_INVALID},
        {5, 4, 100, 4, 4, STOA_E_INVALID},
        {5, 4, 100, 4, 9, STOA_E_INVALID},
        {5, STOA_BLOCK_EVENTS_MAX + 1, 100, 0, 5, STOA_E_TOO_LARGE},
        {5, 4, STOA_BLOCK_PAYLOAD_MAX + 1, 0, 5, STOA_E_TOO_LARGE},
        {5, 4, 100, STOA_BLOCK_INDEX_MAX + 1, 5, STOA_E_TOO_LARGE},
    };
    stoa_journal_state before, after;
    ops->state(journal, &before);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        stoa_block block = good.block;
        block.first = rows[i].first;
        block.count = rows[i].count;
        block.payload_bytes = rows[i].payload_bytes;
        block.index_count = rows[i].index_count;
        good.index[0].position = rows[i].position;
        kit_err(ops->append(journal, &block, true), rows[i].err);
        ops->state(journal, &after);
        assert_memory_equal(&before, &after, sizeof after);
    }
    good.index[0].position = 5;
    kit_ok(ops->append(journal, &good.block, true));
    kit_drop(&good);
    kit_check_all(journal, 8);
    kit_check_index(journal, 8);
    ops->close(journal);
}

static void a_read_starts_with_the_block_that_holds_the_position(void **state)
{
    (void)state;
    stoa_journal *journal = opened("j");
    enum { BLOCKS = 20 };
    uint64_t next = 1;
    for (uint32_t i = 0; i < BLOCKS; i++) {
        kit_ok(kit_append(journal, next, 1 + i, 10, false));
        next += 1 + i;
    }
    uint64_t first = 1;
    for (uint32_t i = 0; i < BLOCKS; first += 1 + i, i++) {
        for (uint64_t from = first; from < first + 1 + i; from++) {
            kit_reader reader = {0};
            kit_ok(ops->read(journal, from, kit_visit, &reader));
            assert_int_equal(reader.first, first);
            assert_int_equal(reader.last, next - 1);
            assert_int_equal(reader.blocks, BLOCKS - i);
        }
    }
    kit_reader reader = {0};
    kit_err(ops->read(journal, next, kit_visit, &reader), STOA_E_NOT_FOUND);
    kit_err(ops->read(journal, UINT64_MAX, kit_visit, &reader), STOA_E_NOT_FOUND);
    ops->close(journal);
}

static void a_visit_that_fails_ends_the_read_with_its_error(void **state)
{
    (void)state;
    stoa_journal *journal = opened("j");
    kit_grow(journal, 10, 3, 50);
    kit_reader reader = {.stop = STOA_E_CANCELLED, .stop_after = 4};
    kit_err(ops->read(journal, 1, kit_visit, &reader), STOA_E_CANCELLED);
    assert_int_equal(reader.blocks, 4);
    kit_check_all(journal, 30);
    ops->close(journal);
}

typedef struct found {
    uint64_t at[16];
    unsigned count;
    stoa_err stop;
} found;

static stoa_err collect(void *context, uint64_t position)
{
    found *f = context;
    assert_true(f->count < 16);
    f->at[f->count++] = position;
    return f->stop;
}

static void lookup_gives_each_position_once_and_in_order(void **state)
{
    (void)state;
    stoa_journal *journal = opened("j");
    /* Unsorted, doubled, and with the smallest and largest ids. */
    stoa_index_entry one[] = {{5, 3}, {5, 1}, {0, 2}, {5, 3}, {UINT64_MAX, 2}, {4, 1}};
    stoa_index_entry two[] = {{5, 4}, {6, 5}, {UINT64_MAX, 5}, {5, 5}};
    kit_ok(ops->append(journal, &(stoa_block){.first = 1, .count = 3, .index = one, .index_count = 6}, true));
    kit_ok(ops->append(journal, &(stoa_block){.first = 4, .count = 2, .index = two, .index_count = 4}, false));
    static const struct {
        uint64_t id, at[4];
        unsigned count;
    } rows[] = {{5, {1, 3, 4, 5}, 4}, {0, {2}, 1}, {UINT64_MAX, {2, 5}, 2}, {4, {1}, 1}, {6, {5}, 1}, {7, {0}, 0}};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        found f = {0};
        kit_ok(ops->lookup(journal, rows[i].id, collect, &f));
        assert_int_equal(f.count, rows[i].count);
        assert_memory_equal(f.at, rows[i].at, rows[i].count * sizeof f.at[0]);
    }
    found f = {.stop = STOA_E_CANCELLED};
    kit_err(ops->lookup(journal, 5, collect, &f), STOA_E_CANCELLED);
    assert_int_equal(f.count, 1);
    ops->close(journal);
}

static void the_mark_trails_the_log_and_sync_brings_it_up(void **state)
{
    (void)state;
    stoa_journal *journal = opened("j");
    kit_grow(journal, 5, 2, 10);
    assert_int_equal(kit_proven(journal), 0);
    kit_ok(kit_append(journal, 11, 1, 10, true));
    assert_true(kit_proven(journal) <= 11);
    kit_grow(journal, 5, 2, 10);
    assert_true(kit_proven(journal) <= 11);
    kit_ok(ops->sync(journal));
    assert_int_equal(kit_proven(journal), 21);
    kit_ok(ops->sync(journal));
    assert_int_equal(kit_proven(journal), 21);
    ops->close(journal);
}

static void a_journal_opened_again_is_the_same(void **state)
{
    (void)state;
    stoa_journal_state before, after;
    for (unsigned round = 0; round < 6; round++) {
        stoa_journal *journal = opened("j");
        ops->state(journal, &after);
        if (round > 0) { assert_memory_equal(after.hash.at, before.hash.at, sizeof after.hash.at); }
        assert_int_equal(after.last, round * 12);
        assert_int_equal(after.proven, round * 12); /* close syncs */
        kit_grow(journal, 4, 3, 70);
        kit_check_all(journal, (round + 1) * 12);
        ops->state(journal, &before);
        ops->close(journal);
    }
    stoa_journal *journal = opened("j");
    kit_check_index(journal, 72);
    ops->close(journal);
}

static void what_was_appended_after_a_reopen_links_to_what_was_there(void **state)
{
    (void)state;
    stoa_journal_state whole, parts;
    stoa_journal *journal = opened("whole");
    kit_grow(journal, 8, 3, 70);
    ops->state(journal, &whole);
    ops->close(journal);

    for (unsigned i = 0; i < 8; i++) {
        journal = opened("parts");
        kit_grow(journal, 1, 3, 70);
        ops->state(journal, &parts);
        ops->close(journal);
    }
    assert_memory_equal(whole.hash.at, parts.hash.at, sizeof whole.hash.at);
}

/* The bytes of a block are the contract's, so the hash of a given log is the same everywhere and for ever. This one was
 * computed from journal.h with Python's hashlib.blake2b(digest_size=32). */
static void the_hash_of_a_log_does_not_depend_on_the_journal(void **state)
{
    (void)state;
    static const uint8_t wanted[4] = {0x5f, 0x0a, 0xb3, 0x16};
    stoa_journal *journal = opened("j");
    kit_grow(journal, 3, 5, 33);
    stoa_journal_state s;
    ops->state(journal, &s);
    assert_memory_equal(s.hash.at, wanted, sizeof wanted);
    ops->close(journal);
}

static void large_and_empty_payloads_are_kept(void **state)
{
    (void)state;
    stoa_journal *journal = opened("j");
    kit_ok(kit_append(journal, 1, 100000, 8 << 20, true));
    kit_ok(kit_append(journal, 100001, 1, 0, true));
    kit_ok(kit_append(journal, 100002, 1, 1, false));
    kit_ok(kit_append(journal, 100003, 3, 4 << 20, false));
    kit_check_all(journal, 100005);
    ops->close(journal);
    journal = opened("j");
    kit_check_all(journal, 100005);
    ops->close(journal);
}

static void ten_thousand_blocks_are_kept(void **state)
{
    (void)state;
    enum { BLOCKS = 10000, COUNT = 4 };
    stoa_journal *journal = opened("j");
    for (unsigned i = 0; i < BLOCKS; i++) {
        kit_ok(kit_append(journal, 1 + (uint64_t)i * COUNT, COUNT, 60 + i % 40, i % 1000 == 999));
    }
    kit_check_all(journal, BLOCKS * COUNT);
    ops->close(journal);

    journal = opened("j");
    kit_check_all(journal, BLOCKS * COUNT);
    kit_check_index(journal, BLOCKS * COUNT);
    kit_reader reader = {0};
    kit_ok(ops->read(journal, BLOCKS * COUNT - 10, kit_visit, &reader));
    assert_int_equal(reader.blocks, 3);
    ops->close(journal);
}

static void a_journal_is_open_once(void **state)
{
    (void)state;
    stoa_journal *journal = opened("j"), *second = NULL;
    kit_grow(journal, 1, 1, 1);
    char path[KIT_PATH_MAX + 16];
    path_of("j", path);
    kit_err(ops->open(path, &second), STOA_E_DENIED);
    assert_null(second);
    kit_grow(journal, 1, 1, 1);
    ops->close(journal);
    journal = opened("j");
    kit_check_all(journal, 2);
    ops->close(journal);
}

static void two_journals_do_not_mix(void **state)
{
    (void)state;
    stoa_journal *one = opened("one"), *two = opened("two");
    kit_grow(one, 3, 2, 10);
    kit_grow(two, 5, 1, 20);
    kit_check_all(one, 6);
    kit_check_all(two, 5);
    kit_check_index(one, 6);
    kit_check_index(two, 5);
    ops->close(one);
    ops->close(two);
}

static void fill(bool full)
{
    stoa_sim_disk *simulated;
    if (ops == &stoa_journal_sim) {
        kit_ok(stoa_sim_disk_get("j", 0, &simulated));
        stoa_sim_disk_fill(simulated, full ? UINT32_MAX : 0);
    } else if (full) {
        disk_full("/", 0);
    } else {
        disk_good();
    }
}

/* As it was before, to be read as before, and neither grows nor is proven further. */
static void check_full(stoa_journal *journal, const stoa_journal_state *before)
{
    stoa_journal_state s;
    kit_err(kit_append(journal, before->last + 1, 2, 300, true), STOA_E_FULL);
    kit_err(ops->sync(journal), STOA_E_FULL);
    ops->state(journal, &s);
    assert_memory_equal(&s, before, sizeof s);
    kit_check_all(journal, before->last);
    kit_check_index(journal, before->last);
}

static void a_full_disk_refuses_appends_and_syncs_until_there_is_space(void **state)
{
    (void)state;
    stoa_journal *journal = opened("j");
    for (unsigned round = 0; round < 4; round++) {
        stoa_journal_state before;
        kit_ok(ops->sync(journal));
        kit_grow(journal, 3, 2, 300);
        ops->state(journal, &before);
        assert_true(before.proven < before.last);
        fill(true);
        for (unsigned i = 0; i < 3; i++) { check_full(journal, &before); }
        fill(false);
        if (round % 2) { kit_ok(kit_append(journal, before.last + 1, 1, 10, false)); }
        kit_ok(ops->sync(journal));
        assert_int_equal(kit_proven(journal), before.last + round % 2);
    }
    fill(true);
    kit_err(kit_append(journal, kit_last(journal) + 1, 2, 300, true), STOA_E_FULL);
    ops->close(journal);
    fill(false);
    journal = opened("j");
    kit_check_all(journal, 26);
    ops->close(journal);
}

typedef struct nested {
    stoa_journal *journal;
    kit_reader outer;
} nested;

static stoa_err read_again(void *context, const stoa_block *block)
{
    nested *n = context;
    kit_reader inner = {0};
    kit_ok(ops->read(n->journal, block->first, kit_visit, &inner));
    assert_int_equal(inner.first, block->first);
    kit_check_index(n->journal, 12);
    return kit_visit(&n->outer, block); /* the inner read must not have touched the block */
}

static void a_visit_may_read_and_look_up(void **state)
{
    (void)state;
    stoa_journal *journal = opened("j");
    kit_grow(journal, 4, 3, 40);
    nested n = {.journal = journal};
    kit_ok(ops->read(journal, 1, read_again, &n));
    assert_int_equal(n.outer.last, 12);
    ops->close(journal);
}

/* --- blocks as they are stored */

enum { COPY_EVENTS = 2 + 3 + 4 + 5 };

static stoa_err append_stored(void *context, const void *bytes, size_t size_bytes)
{
    stoa_journal *to = context;
    return to->ops->append_stored(to, bytes, size_bytes, true);
}

static void blocks_copied_as_they_are_stored_make_the_same_log(void **state)
{
    (void)state;
    stoa_journal *from = opened("from"), *to = opened("to");
    for (uint32_t i = 0; i < 4; i++) { kit_ok(kit_append(from, kit_last(from) + 1, 2 + i, i * 100, true)); }
    kit_ok(from->ops->read_stored(from, 1, append_stored, to));
    stoa_journal_state a, b;
    ops->state(from, &a);
    ops->state(to, &b);
    assert_memory_equal(&a, &b, sizeof a);
    kit_check_all(to, COPY_EVENTS);
    kit_check_index(to, COPY_EVENTS);
    kit_ok(kit_append(to, COPY_EVENTS + 1, 1, 10, true));
    kit_err(from->ops->read_stored(from, COPY_EVENTS + 1, append_stored, to), STOA_E_NOT_FOUND);
    ops->close(from);
    ops->close(to);
}

typedef struct stored_block {
    uint8_t bytes[4096];
    size_t size_bytes;
} stored_block;

static stoa_err keep_stored(void *context, const void *bytes, size_t size_bytes)
{
    stored_block *kept = context;
    assert_true(size_bytes <= sizeof kept->bytes);
    memcpy(kept->bytes, bytes, size_bytes);
    kept->size_bytes = size_bytes;
    return STOA_OK;
}

static stoa_err show_stored(void *context, const void *bytes, size_t size_bytes)
{
    kit_reader *reader = context;
    stoa_journal *empty = opened("empty");
    stoa_err err = empty->ops->show(empty, bytes, size_bytes, kit_visit, reader);
    ops->close(empty);
    return err;
}

static void a_stored_block_is_shown_as_it_is_read(void **state)
{
    (void)state;
    stoa_journal *journal = opened("from");
    kit_reader reader = {0};
    kit_grow(journal, 3, 4, 90);
    kit_ok(journal->ops->read_stored(journal, 1, show_stored, &reader));
    assert_int_equal(reader.last, 12);
    kit_err(journal->ops->show(journal, "nothing", 7, kit_visit, &reader), STOA_E_CORRUPT);
    ops->close(journal);
}

static void stored_blocks_that_do_not_continue_the_log_are_refused(void **state)
{
    (void)state;
    stoa_journal *from = opened("from"), *to = opened("to"), *other = opened("other");
    stored_block second;
    kit_grow(from, 2, 3, 50);
    kit_ok(from->ops->read_stored(from, 4, keep_stored, &second));

    kit_err(to->ops->append_stored(to, second.bytes, second.size_bytes, true), STOA_E_INVALID); /* the first is missing */
    kit_ok(kit_append(other, 1, 3, 60, true));
    kit_err(other->ops->append_stored(other, second.bytes, second.size_bytes, true), STOA_E_FORKED);
    kit_grow(to, 1, 3, 50);
    second.bytes[second.size_bytes - 1] ^= 1;
    kit_err(to->ops->append_stored(to, second.bytes, second.size_bytes, true), STOA_E_CORRUPT);
    second.bytes[second.size_bytes - 1] ^= 1;
    kit_ok(to->ops->append_stored(to, second.bytes, second.size_bytes, true));
    kit_err(to->ops->append_stored(to, second.bytes, second.size_bytes, true), STOA_E_INVALID);
    kit_check_all(to, 6);
    kit_check_all(other, 3);
    ops->close(from);
    ops->close(to);
    ops->close(other);
}

#define TESTS(setup, teardown)                                                                               \
    {                                                                                                        \
        TEST(an_empty_journal_has_nothing_in_it, setup, teardown),                                           \
            TEST(what_is_appended_is_read_back, setup, teardown), TEST(blocks_are_dense, setup, teardown),   \
            TEST(epochs_never_fall, setup, teardown),                                                        \
            TEST(blocks_that_make_no_sense_are_refused_and_change_nothing, setup, teardown),                 \
            TEST(a_read_starts_with_the_block_that_holds_the_position, setup, teardown),                     \
            TEST(a_visit_that_fails_ends_the_read_with_its_error, setup, teardown),                          \
            TEST(lookup_gives_each_position_once_and_in_order, setup, teardown),                             \
            TEST(the_mark_trails_the_log_and_sync_brings_it_up, setup, teardown),                            \
            TEST(a_journal_opened_again_is_the_same, setup, teardown),                                       \
            TEST(what_was_appended_after_a_reopen_links_to_what_was_there, setup, teardown),                 \
            TEST(the_hash_of_a_log_does_not_depend_on_the_journal, setup, teardown),                         \
            TEST(large_and_empty_payloads_are_kept, setup, teardown),                                        \
            TEST(ten_thousand_blocks_are_kept, setup, teardown),                                             \
            TEST(a_full_disk_refuses_appends_and_syncs_until_there_is_space, setup, teardown),               \
            TEST(a_journal_is_open_once, setup, teardown), TEST(two_journals_do_not_mix, setup, teardown),   \
            TEST(a_visit_may_read_and_look_up, setup, teardown),                                             \
            TEST(blocks_copied_as_they_are_stored_make_the_same_log, setup, teardown),                       \
            TEST(a_stored_block_is_shown_as_it_is_read, setup, teardown),                                    \
            TEST(stored_blocks_that_do_not_continue_the_log_are_refused, setup, teardown),                   \
    }

int main(void)
{
    const struct CMUnitTest sim[] = TESTS(sim_setup, sim_teardown);
    const struct CMUnitTest rocksdb[] = TESTS(rocksdb_setup, rocksdb_teardown);
    int failed = cmocka_run_group_tests_name("sim", sim, NULL, NULL);
    return failed + cmocka_run_group_tests_name("rocksdb", rocksdb, NULL, NULL);
}
