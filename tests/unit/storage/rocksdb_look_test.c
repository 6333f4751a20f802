/* rocksdb_look_test.c - goal: a journal that is only looked at reads as it would if it were opened, and takes nothing. Method: blocks and
 * values are left by an open journal; whatever writes is called on one that looks, and what an open finds later is compared.
 * integration/plans_offline_test.py compares the files.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "storage/rocksdb/look.h"
#include "tests/unit/storage/rocksdb_kit.h"

enum { BLOCKS = 20, EVENTS = 3, PURGED = 10 };

static const stoa_side_entry entry = {.key = "k", .key_bytes = 1, .value = "value", .value_bytes = 5};

static stoa_err count_block(void *context, const stoa_block *block)
{
    *(uint64_t *)context += block->count;
    return STOA_OK;
}

static stoa_err count_entry(void *context, const stoa_side_entry *found)
{
    assert_memory_equal(found->value, entry.value, entry.value_bytes);
    ++*(uint64_t *)context;
    return STOA_OK;
}

static stoa_journal_state state_of(stoa_journal *journal)
{
    stoa_journal_state state;
    ops->state(journal, &state);
    return state;
}

static void leave_journal(void)
{
    stoa_journal *journal = opened();
    for (uint64_t i = 0; i < BLOCKS; i++) { kit_ok(kit_append(journal, 1 + i * EVENTS, EVENTS, 100, i % 3 == 0)); }
    kit_ok(ops->put(journal, STOA_SPACE_META, &entry, 1, true));
    kit_ok(ops->sync(journal));
    kit_ok(ops->purge(journal, PURGED));
    ops->close(journal);
}

static void reads_as_if_it_were_opened_and_takes_nothing(void **unused)
{
    (void)unused;
    stoa_journal *looked, *other;
    uint64_t events = 0, values = 0;
    leave_journal();
    kit_ok(stoa_journal_rocksdb_look(path, &looked));
    stoa_journal_state before = state_of(looked);
    assert_int_equal(before.last, BLOCKS * EVENTS);
    assert_int_equal(before.proven, BLOCKS * EVENTS);
    assert_in_range(before.first, 2, PURGED);
    kit_ok(ops->read(looked, before.first, count_block, &events));
    assert_int_equal(events, before.last + 1 - before.first);
    kit_ok(ops->scan(looked, STOA_SPACE_META, NULL, 0, count_entry, &values));
    assert_int_equal(values, 1);

    assert_int_equal(kit_append(looked, before.last + 1, 1, 100, true), STOA_E_DENIED);
    assert_int_equal(ops->purge(looked, before.last), STOA_E_DENIED);
    assert_int_equal(ops->put(looked, STOA_SPACE_META, &entry, 1, true), STOA_E_FULL);
    assert_int_equal(ops->erase(looked, STOA_SPACE_META, "a", 1, "z", 1), STOA_E_FULL);
    stoa_reindexed made;
    assert_int_equal(ops->reindex(looked, &made), STOA_E_FULL);
    assert_int_equal(ops->open(path, &other), STOA_E_DENIED); /* it is locked meanwhile */
    ops->close(looked);

    other = opened();
    stoa_journal_state after = state_of(other);
    assert_memory_equal(&after.hash, &before.hash, sizeof after.hash);
    assert_true(after.last == before.last && after.first == before.first && after.epoch == before.epoch);
    values = 0;
    kit_ok(ops->scan(other, STOA_SPACE_META, NULL, 0, count_entry, &values));
    assert_int_equal(values, 1);
    ops->close(other);
}

static void one_that_is_not_there_is_not_made(void **unused)
{
    (void)unused;
    stoa_journal *looked;
    assert_int_not_equal(stoa_journal_rocksdb_look(path, &looked), STOA_OK);
    assert_int_not_equal(access(path, F_OK), 0);
}

int main(void)
{
    stoa_log_level_set(STOA_LOG_OFF);
    const struct CMUnitTest tests[] = {cmocka_unit_test_setup_teardown(reads_as_if_it_were_opened_and_takes_nothing, setup, teardown),
                                       cmocka_unit_test_setup_teardown(one_that_is_not_there_is_not_made, setup, teardown)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
