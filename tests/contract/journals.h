/* journals.h - the journals that the contract's tests run on: which one, where its files lie, how a test begins and ends.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef STOA_TESTS_CONTRACT_JOURNALS_H
#define STOA_TESTS_CONTRACT_JOURNALS_H

#include "tests/unit/storage/kit.h"

#include "storage/rocksdb/journal.h"
#include "storage/sim/journal.h"

/* The implementation under test and a place for its journals. */
static const stoa_journal_ops *ops;
static char folder[KIT_PATH_MAX];

static inline void path_of(const char *name, char path[KIT_PATH_MAX + 16])
{
    (void)snprintf(path, KIT_PATH_MAX + 16, "%s%s%s", folder, ops == &stoa_journal_sim ? "" : "/", name);
}

static inline stoa_journal *opened(const char *name)
{
    char path[KIT_PATH_MAX + 16];
    path_of(name, path);
    stoa_journal *journal = NULL;
    kit_ok(ops->open(path, &journal));
    assert_non_null(journal);
    assert_ptr_equal(journal->ops, ops);
    return journal;
}

static inline int sim_setup(void **state)
{
    (void)state;
    ops = &stoa_journal_sim;
    (void)snprintf(folder, sizeof folder, "sim:");
    return 0;
}

static inline int sim_teardown(void **state)
{
    (void)state;
    stoa_sim_disks_free();
    return 0;
}

static inline int rocksdb_setup(void **state)
{
    (void)state;
    ops = &stoa_journal_rocksdb;
    kit_folder(folder);
    return 0;
}

static inline int rocksdb_teardown(void **state)
{
    (void)state;
    kit_remove(folder);
    return 0;
}

#define TEST(name, setup, teardown) cmocka_unit_test_setup_teardown(name, setup, teardown)

#endif
