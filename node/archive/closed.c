/* closed.c - node/archive/closed.h.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "node/archive/closed.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "node/roll.h"
#include "storage/archive/file.h"
#include "storage/archive/journal.h"
#include "storage/rocksdb/journal.h"
#include "storage/rocksdb/look.h"

enum { SHARDS = STOA_CATALOG_SHARDS };
static const char mark[] = "commit.mark"; /* storage/rocksdb/mark.h */

/* --- which there are */

static bool has_mark(const char *journal)
{
    char path[PATH_MAX + 16];
    (void)snprintf(path, sizeof path, "%s/%s", journal, mark);
    return access(path, F_OK) == 0;
}

/* There, or what is left of it; else one that was never begun, as by a start that was killed. */
static bool has_journal(const stoa_closed *all, const char *shard)
{
    char path[PATH_MAX];
    return stoa_file_path(all->settings->data, shard, path) == STOA_OK && stoa_journal_rocksdb_begun(path);
}

static bool is_named(const stoa_closed *all, const char *name)
{
    for (uint32_t i = 0; i < all->source_count; i++) {
        if (strcmp(all->sources[i].name, name) == 0) { return true; }
    }
    for (uint32_t i = 0; i < all->named; i++) {
        if (strcmp(all->names[i], name) == 0) { return true; }
    }
    return false;
}

static stoa_err take_name(stoa_closed *all, const char *name)
{
    if (is_named(all, name)) { return STOA_OK; }
    if (all->source_count + all->named == SHARDS || strlen(name) > STOA_CATALOG_NAME) { return STOA_FAIL(STOA_E_TOO_LARGE, "shard %s", name); }
    memcpy(all->names[all->named++], name, strlen(name) + 1);
    return STOA_OK;
}

static stoa_err take_of_roll(void *context, const char *name)
{
    stoa_closed *all = context;
    const char *data = all->settings->data;
    if (is_named(all, name) || has_journal(all, name)) { return take_name(all, name); }
    return STOA_FAIL(STOA_E_NOT_FOUND, "the journal in %s/%s is gone, and shard %s has been there: no backup is made without it. Bring it back; or, where it is given up, take "
                     "its line out of %s/shards and make a new backup into another folder", data, name, name, data);
}

static stoa_err take_folder(void *context, const char *name)
{
    stoa_closed *all = context;
    return has_journal(all, name) ? take_name(all, name) : STOA_OK;
}

static int by_name(const void *a, const void *b)
{
    /* trading first: a position without a shard is its */
    bool first_a = strcmp(a, "trade") == 0, first_b = strcmp(b, "trade") == 0;
    return first_a != first_b ? (first_a ? -1 : 1) : strcmp(a, b);
}

static stoa_err find_names(stoa_closed *all)
{
    stoa_err err = stoa_roll_visit(all->settings->data, take_of_roll, all);
    if (!err) { err = stoa_folder_visit(all->settings->data, "", take_folder, all); }
    qsort(all->names, all->named, sizeof all->names[0], by_name);
    return err;
}

/* --- one journal */

static const char *beside(const stoa_settings *s, const char *given, const char *name, char path[STOA_PATH_MAX + 16])
{
    (void)snprintf(path, STOA_PATH_MAX + 16, "%s%s", given[0] ? given : s->data, given[0] ? "" : name);
    return path;
}

/* What was purged from the journal is read from the archive. */
static stoa_err put_archive_in_front(stoa_closed *all, uint32_t i)
{
    const stoa_settings *s = all->settings;
    char warm[STOA_PATH_MAX + 16], cold[STOA_PATH_MAX + 16];
    stoa_archive_options options = {.folder = beside(s, s->archive_path, "/archive", warm),
                                    .cold_folder = beside(s, s->archive_cold_path, "/cold", cold),
                                    .shard = all->names[i],
                                    .read_only = true};
    stoa_journal_state log;
    all->journals[i]->ops->state(all->journals[i], &log);
    if (log.first == 1) { return STOA_OK; }
    stoa_err err = stoa_archive_open(&options, &all->archives[i]);
    if (err == STOA_E_NOT_FOUND) { return STOA_OK; } /* the backup begins where the log does, behind a snapshot */
    return err ? err : stoa_journal_archived(all->journals[i], all->archives[i], &all->journals[i]);
}

static stoa_err open_one(stoa_closed *all, uint32_t i, bool look)
{
    char path[PATH_MAX];
    const char *name = all->names[i];
    (void)snprintf(path, sizeof path, "%s/%s", all->settings->data, name);
    if (!has_mark(path)) {
        return STOA_FAIL(STOA_E_CORRUPT, "shard %s: %s has no %s: bring it back, go on with what the log has (stoad --accept-loss %s), or restore a backup; "
                         "none is made without it", name, path, mark, name);
    }
    stoa_err err = look ? stoa_journal_rocksdb_look(path, &all->journals[i]) : stoa_journal_rocksdb.open(path, &all->journals[i]);
    if (err) { return STOA_PASS(err, "the journal of shard %s, which does not run", name); }
    all->count = i + 1;
    all->journals[i]->ops->seal(all->journals[i], all->keys);
    return put_archive_in_front(all, i);
}

stoa_err stoa_closed_open(stoa_closed *all, const stoa_settings *settings, const stoa_keyring *keys, bool look,
                          stoa_backup_source sources[STOA_CATALOG_SHARDS], uint32_t *count)
{
    all->settings = settings;
    all->keys = keys;
    all->sources = sources;
    all->source_count = *count;
    stoa_err err = find_names(all);
    for (uint32_t i = 0; i < all->named && !err; i++) {
        err = open_one(all, i, look);
        if (!err) { sources[(*count)++] = (stoa_backup_source){.name = all->names[i], .journal = all->journals[i], .archive = all->archives[i]}; }
    }
    return err;
}

void stoa_closed_close(stoa_closed *all)
{
    for (uint32_t i = 0; i < all->count; i++) {
        all->journals[i]->ops->close(all->journals[i]);
        stoa_archive_close(all->archives[i]);
    }
    all->count = 0;
}
