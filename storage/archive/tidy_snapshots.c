/* tidy_snapshots.c - snapshots of an archive that its manifest does not name.
 *
 * A crash leaves such: one that was written and not yet named, one that was forgotten and not yet removed; so does a manifest that is an
 * older copy, or that was made anew, and then they may be all that stands for a beginning that is gone. One that is whole is named, then;
 * it costs room until it is forgotten again. One that stands before what the archive has is of no use, and goes. One that is not whole
 * is set aside as FILE.rotten: its files are nobody's.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "base/os.h"
#include "storage/archive/file.h"
#include "storage/archive/internal.h"
#include "storage/rocksdb/folder.h"

typedef struct finding {
    stoa_archive *archive;
    stoa_manifest *next;
    uint32_t named;
} finding;

static bool is_named(const stoa_manifest *m, uint64_t position)
{
    uint32_t i = stoa_manifest_snapshot_from(m, position);
    return i < m->snapshot_count && m->snapshots[i].info.position == position;
}

/* What the manifest would say of it; CORRUPT and GAP: it is not whole. */
static stoa_err look_into(stoa_archive *archive, uint64_t position, stoa_manifest_snapshot *out)
{
    stoa_kept_list list;
    stoa_manifest_snapshot s = {.file_count = 0};
    stoa_err err = stoa_kept_list_load(archive->folder, position, &list, &s.list_hash);
    if (err) { return err; }
    if (strcmp(list.shard, archive->manifest.shard) != 0) { err = STOA_FAIL(STOA_E_CORRUPT, "%s: a snapshot of shard %s", archive->folder, list.shard); }
    if (!err) { err = stoa_archive_prove_list(archive, &list, NULL); }
    s.info = list.info;
    STOA_ASSERT(stoa_kept_list_files(&list, s.files, &s.file_count)); /* as it was loaded */
    for (uint64_t i = 0; i < list.count; i++) { s.packed_bytes += list.entries[i].packed_bytes; }
    stoa_kept_list_deinit(&list);
    if (!err) { *out = s; }
    return err;
}

static stoa_err find_one(void *context, const char *name)
{
    finding *f = context;
    uint64_t position;
    stoa_manifest_snapshot found;
    bool ours = stoa_kept_parse(name, stoa_kept_list_ending, &position);
    if (!ours || is_named(f->next, position) || position < f->next->expired) { return STOA_OK; }
    stoa_err err = look_into(f->archive, position, &found);
    if (err == STOA_E_CORRUPT || err == STOA_E_GAP) { return STOA_OK; }
    if (!err) { err = stoa_manifest_name(f->next, &found); }
    f->named += !err;
    return err;
}

stoa_err stoa_archive_find_snapshots(stoa_archive *archive, stoa_manifest *next, uint32_t *named_out)
{
    finding f = {.archive = archive, .next = next};
    stoa_err err = stoa_folder_visit(archive->folder, stoa_kept_list_ending, find_one, &f);
    *named_out = f.named;
    return err;
}

static stoa_err set_aside(const stoa_archive *archive, const char *name)
{
    char path[PATH_MAX], aside[PATH_MAX + 8];
    stoa_err err = stoa_file_path(archive->folder, name, path);
    if (err) { return err; }
    (void)snprintf(aside, sizeof aside, "%s.rotten", path);
    stoa_log(STOA_LOG_WARN, "archive_set_aside", STOA_KV("shard", archive->manifest.shard), STOA_KV("file", name));
    if (rename(path, aside) != 0) { return stoa_os_error("rename", path); }
    return stoa_folder_sync_parent(path);
}

static stoa_err settle_one(void *context, const char *name)
{
    const stoa_archive *archive = context;
    uint64_t position;
    bool ours = stoa_kept_parse(name, stoa_kept_list_ending, &position);
    if (!ours || is_named(&archive->manifest, position)) { return STOA_OK; }
    return position < archive->manifest.expired ? stoa_file_remove(archive->folder, name) : set_aside(archive, name);
}

stoa_err stoa_archive_settle_snapshots(stoa_archive *archive)
{
    stoa_err err = stoa_folder_visit(archive->folder, stoa_kept_list_ending, settle_one, archive);
    return err ? err : stoa_archive_sweep_chunks(archive);
}
