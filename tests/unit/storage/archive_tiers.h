/* archive_tiers.h - archives of any shard with a warm and a cold folder, for the tests of what they hold; what all of an archive's
 * imports must be; damage to a file.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef STOA_TESTS_UNIT_STORAGE_ARCHIVE_TIERS_H
#define STOA_TESTS_UNIT_STORAGE_ARCHIVE_TIERS_H

#include "tests/unit/storage/archive_kit.h"

#include <dirent.h>
#include <fcntl.h>

static inline stoa_err try_tiers(const char *shard, uint64_t segment_bytes, bool read_only, stoa_archive **out)
{
    char warm[KIT_PATH_MAX + 8], cold[KIT_PATH_MAX + 8];
    (void)snprintf(warm, sizeof warm, "%s/warm", folder);
    (void)snprintf(cold, sizeof cold, "%s/cold", folder);
    stoa_archive_options options = {.folder = warm, .cold_folder = cold, .shard = shard, .class_name = "orders",
                                    .segment_bytes = segment_bytes, .read_only = read_only};
    return stoa_archive_open(&options, out);
}

static inline stoa_archive *tiers(const char *shard, uint64_t segment_bytes)
{
    stoa_archive *archive = NULL;
    kit_ok(try_tiers(shard, segment_bytes, false, &archive));
    return archive;
}

static inline stoa_manifest looked(stoa_archive *archive)
{
    stoa_manifest m;
    kit_ok(stoa_archive_look(archive, &m));
    return m;
}

static inline void seal_all(stoa_archive *archive, stoa_journal *journal)
{
    kit_ok(stoa_archive_extend(archive, journal, &(const stoa_extent){.until = UINT64_MAX, .rest = true}, NULL));
}

static inline void path_of(const stoa_manifest_entry *entry, char path[KIT_PATH_MAX + 128])
{
    char name[STOA_SEGMENT_NAME_MAX];
    stoa_segment_name(&entry->segment, entry->open, name);
    (void)snprintf(path, KIT_PATH_MAX + 128, "%s/%s/%s/%s", folder, entry->tier == STOA_TIER_WARM ? "warm" : "cold",
                   entry->segment.shard, name);
}

static inline void same_state(stoa_journal *a, stoa_journal *b)
{
    stoa_journal_state x, y;
    a->ops->state(a, &x);
    b->ops->state(b, &y);
    assert_int_equal(x.last, y.last);
    assert_int_equal(x.epoch, y.epoch);
    assert_memory_equal(&x.hash, &y.hash, sizeof x.hash);
}

/* Import all and compare with the log. */
static inline void imports_equal(stoa_archive *archive, stoa_journal *log, const char *name)
{
    stoa_journal *copy = sim(name);
    kit_ok(stoa_archive_import(archive, copy, &(const stoa_import){0}, NULL, NULL));
    same_state(copy, log);
    kit_check_all(copy, kit_last(log));
    kit_check_index(copy, kit_last(log));
    copy->ops->close(copy);
}

static inline unsigned files_in(const char *sub)
{
    char path[KIT_PATH_MAX + 32];
    unsigned count = 0;
    (void)snprintf(path, sizeof path, "%s/%s", folder, sub);
    DIR *dir = opendir(path);
    assert_non_null(dir);
    for (const struct dirent *entry; (entry = readdir(dir)) != NULL;) { count += strstr(entry->d_name, ".seg") != NULL; }
    (void)closedir(dir);
    return count;
}

static inline void flip(const char *path, off_t at, uint8_t mask)
{
    uint8_t byte;
    int fd = open(path, O_RDWR);
    assert_true(fd >= 0);
    assert_int_equal(pread(fd, &byte, 1, at), 1);
    byte ^= mask;
    assert_int_equal(pwrite(fd, &byte, 1, at), 1);
    (void)close(fd);
}

#endif
