/* archive_kit.h - what the tests of archives and their snapshots share: a folder each, simulated logs of the kit with snapshots, archives
 * of shard trade.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef STOA_TESTS_UNIT_STORAGE_ARCHIVE_KIT_H
#define STOA_TESTS_UNIT_STORAGE_ARCHIVE_KIT_H

#include "tests/unit/storage/snapshot_kit.h"

#include "storage/archive/archive.h"
#include "storage/archive/snapshot.h"
#include "storage/sim/journal.h"

enum { BLOCKS = 21, COUNT = 5, PAYLOAD = 900, SEGMENT = 2500 };

static char folder[KIT_PATH_MAX];

static inline int setup(void **state)
{
    (void)state;
    kit_folder(folder);
    return 0;
}

static inline int teardown(void **state)
{
    (void)state;
    kit_remove(folder);
    stoa_sim_disks_free();
    return 0;
}

static inline stoa_journal *sim(const char *name)
{
    stoa_journal *journal;
    char path[80];
    (void)snprintf(path, sizeof path, "sim:%s", name);
    kit_ok(stoa_journal_sim.open(path, &journal));
    return journal;
}

static inline stoa_err try_open(const char *name, stoa_archive **out)
{
    char path[KIT_PATH_MAX + 32];
    (void)snprintf(path, sizeof path, "%s/%s", folder, name);
    return stoa_archive_open(&(const stoa_archive_options){.folder = path, .shard = "trade", .segment_bytes = SEGMENT}, out);
}

static inline stoa_archive *opened(const char *name)
{
    stoa_archive *archive = NULL;
    kit_ok(try_open(name, &archive));
    return archive;
}

static const stoa_extent all_of_it = {.until = UINT64_MAX, .rest = true};
static const stoa_archive_window any_of_them = {.at_most = UINT64_MAX};

/* Blocks, and a snapshot behind every third. */
static inline void grow(stoa_journal *log, unsigned blocks)
{
    for (unsigned i = 1; i <= blocks; i++) {
        kit_grow(log, 1, COUNT, PAYLOAD);
        if (i % 3 == 0) { kit_ok(kit_try_snapshot(log, 100)); }
    }
    kit_ok(log->ops->sync(log));
}

static inline uint64_t take(stoa_archive *archive, stoa_journal *journal, uint64_t at_least, uint64_t at_most, bool newest)
{
    uint64_t position = 0;
    kit_ok(stoa_archive_take_snapshot(archive, journal, &(const stoa_archive_window){at_least, at_most, newest}, NULL, &position));
    return position;
}

static inline uint64_t sealed_end(stoa_archive *archive, uint32_t index)
{
    stoa_manifest m;
    kit_ok(stoa_archive_look(archive, &m));
    uint64_t last = m.entries[index].segment.last;
    stoa_manifest_deinit(&m);
    return last;
}

#endif
