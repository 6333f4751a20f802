/* snapshot_take.c - an archive takes a snapshot, from a journal's side store or from another archive: storage/archive/snapshot.h.
 *
 * New entries go into a file of their own, which is synced and named; then the list; then all of it is read back; then the manifest
 * names it. Until then it is not there. What an entry that is shared really holds is seen in that reading, too: where it is not what it
 * was, the snapshot is written again whole. Once the manifest was tried nothing is removed, whatever became of that: the one on the
 * disk may name it. The next one to open the archive settles what is left (tidy_snapshots.c).
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "storage/archive/file.h"
#include "storage/archive/internal.h"
#include "storage/archive/kept.h"
#include "storage/archive/snapshot.h"

/* Where it comes from: one of the two. */
typedef struct source {
    stoa_journal *journal;
    stoa_archive *archive;
} source;

typedef struct taking {
    stoa_archive *archive;
    const stoa_progress_to *progress;
    stoa_progress told;
    stoa_kept_list before; /* what the newest one has; empty: nothing is shared */
    stoa_kept_list list;   /* under way */
    stoa_kept_writer *writer;
    uint64_t files[STOA_SNAPSHOT_PACKS];
    uint32_t file_count;
    stoa_err failed;
    bool tried; /* the manifest may name it */
} taking;

/* Whether the list may lean on that file; one place is for its own. */
static bool may_lean(taking *t, uint64_t file)
{
    for (uint32_t i = 0; i < t->file_count; i++) {
        if (t->files[i] == file) { return true; }
    }
    if (t->file_count + 1 >= STOA_SNAPSHOT_PACKS) { return false; }
    t->files[t->file_count++] = file;
    return true;
}

static stoa_err note(taking *t, const stoa_kept_entry *entry)
{
    t->told.position++;
    t->told.raw_bytes += entry->stored_bytes;
    stoa_err err = stoa_kept_list_add(&t->list, entry);
    return err ? err : stoa_progress_tell(t->progress, &t->told);
}

static bool has(void *context, const void *key, uint32_t key_bytes)
{
    taking *t = context;
    const stoa_kept_entry *there = stoa_kept_list_find(&t->before, key, key_bytes);
    if (!there || !may_lean(t, there->file)) { return false; }
    if (!t->failed) { t->failed = note(t, there); }
    return true;
}

static stoa_err take(void *context, const stoa_side_entry *stored)
{
    taking *t = context;
    stoa_kept_entry entry;
    stoa_err err = t->failed ? t->failed : stoa_kept_put(t->writer, stored, &entry);
    return err ? err : note(t, &entry);
}

static stoa_err fill_from_journal(taking *t, stoa_journal *journal)
{
    stoa_snapshot *snapshot;
    stoa_err err = stoa_snapshot_open(journal, t->list.info.position, &snapshot);
    if (err) { return err; }
    if (memcmp(&stoa_snapshot_look(snapshot)->hash, &t->list.info.hash, sizeof(stoa_hash256)) == 0) {
        err = stoa_snapshot_export(snapshot, &(const stoa_snapshot_copy){has, take, t});
    } else {
        err = STOA_FAIL(STOA_E_NOT_FOUND, "the snapshot at %" PRIu64 " is gone", t->list.info.position);
    }
    stoa_snapshot_close(snapshot);
    return err ? err : t->failed;
}

static stoa_err fill_from_archive(taking *t, stoa_archive *from)
{
    stoa_kept_list list;
    stoa_kept_reader reader;
    stoa_hash256 hash;
    stoa_err err = stoa_kept_list_load(from->folder, t->list.info.position, &list, &hash);
    if (err) { return err; }
    if (memcmp(&list.info.hash, &t->list.info.hash, sizeof list.info.hash) != 0) {
        stoa_kept_list_deinit(&list);
        return STOA_FAIL(STOA_E_CORRUPT, "%s: the list of the snapshot at %" PRIu64 " is of another one", from->folder, t->list.info.position);
    }
    stoa_kept_reader_init(&reader, from->folder);
    for (uint64_t i = 0; i < list.count && !err; i++) {
        stoa_side_entry entry;
        if (has(t, list.entries[i].key, list.entries[i].key_bytes)) { continue; }
        err = stoa_kept_get(&reader, &list.entries[i], &entry);
        if (!err) { err = take(t, &entry); }
    }
    stoa_kept_reader_deinit(&reader);
    stoa_kept_list_deinit(&list);
    return err ? err : t->failed;
}

/* Where the list of the one at that position is no list any more, it is named anew. */
static stoa_err name_it(stoa_manifest *next, const stoa_manifest_snapshot *named)
{
    uint32_t i = stoa_manifest_snapshot_from(next, named->info.position);
    bool again = i < next->snapshot_count && next->snapshots[i].info.position == named->info.position;
    if (again) { stoa_manifest_unname(next, i); }
    return stoa_manifest_name(next, named);
}

/* It is on the disk: read it back, and let the manifest name it. */
static stoa_err adopt(taking *t)
{
    stoa_archive *archive = t->archive;
    stoa_manifest_snapshot named = {.info = t->list.info};
    stoa_manifest next;
    stoa_err err = stoa_kept_list_save(archive->folder, &t->list, &named.list_hash);
    if (!err) { err = stoa_archive_prove_list(archive, &t->list, t->progress); }
    if (err) { return err; }
    STOA_ASSERT(stoa_kept_list_files(&t->list, named.files, &named.file_count));
    for (uint64_t i = 0; i < t->list.count; i++) { named.packed_bytes += t->list.entries[i].packed_bytes; }
    err = stoa_manifest_copy(&archive->manifest, &next);
    if (err) { return err; }
    err = name_it(&next, &named);
    t->tried = !err;
    if (!err) { err = stoa_archive_replace(archive, &next); }
    if (err) { stoa_manifest_deinit(&next); }
    return err;
}

/* What nobody names is removed now, or by the next one to open the archive. */
static void remove_files(const taking *t)
{
    char name[STOA_KEPT_NAME_MAX];
    stoa_kept_name(t->list.info.position, stoa_kept_list_ending, name);
    (void)stoa_file_remove(t->archive->folder, name);
    stoa_kept_name(t->list.info.position, stoa_kept_chunks_ending, name);
    (void)stoa_file_remove(t->archive->folder, name);
}

static stoa_err write_all(taking *t, const source *from)
{
    stoa_err err = stoa_kept_begin(t->archive->folder, t->list.info.position, t->archive->level, &t->writer);
    if (err) { return err; }
    err = from->journal ? fill_from_journal(t, from->journal) : fill_from_archive(t, from->archive);
    if (err) {
        stoa_kept_abandon(t->writer);
        return err;
    }
    err = stoa_kept_settle(t->writer);
    if (!err) { err = adopt(t); }
    if (err && !t->tried) { remove_files(t); }
    return err;
}

static stoa_err take_one(stoa_archive *archive, const source *from, const stoa_snapshot_info *info, bool share, const stoa_progress_to *progress)
{
    const stoa_manifest *m = &archive->manifest;
    stoa_hash256 hash;
    taking t = {.archive = archive,
                .progress = progress,
                .told = {.step = "snapshot", .shard = m->shard, .last = info->chunks + 1},
                .list.info = *info};
    memcpy(t.list.shard, m->shard, sizeof t.list.shard);
    uint32_t lower = stoa_manifest_snapshot_from(m, info->position); /* an entry lies in a file of its own past */
    if (share && lower > 0) {
        (void)stoa_kept_list_load(archive->folder, m->snapshots[lower - 1].info.position, &t.before, &hash); /* else nothing is shared */
    }
    stoa_err err = write_all(&t, from);
    bool shared = t.before.count > 0;
    stoa_kept_list_deinit(&t.before);
    stoa_kept_list_deinit(&t.list);
    bool again = shared && (err == STOA_E_CORRUPT || err == STOA_E_GAP);
    if (!again) { return err; }
    stoa_log_error("archive_snapshot_written_whole", err);
    return take_one(archive, from, info, false, progress);
}

/* --- which one */

typedef struct candidates {
    const stoa_archive_window *window;
    stoa_snapshot_info *at;
    uint32_t count, cap;
    bool no_memory;
} candidates;

static void add_candidate(void *context, const stoa_snapshot_info *info)
{
    candidates *c = context;
    if (info->position < c->window->at_least || info->position > c->window->at_most) { return; }
    if (c->count == c->cap) {
        stoa_snapshot_info *grown = realloc(c->at, (c->cap + 8) * sizeof *grown);
        c->no_memory |= !grown;
        if (!grown) { return; }
        c->at = grown;
        c->cap += 8;
    }
    c->at[c->count++] = *info;
}

/* Errors: NOT_FOUND (it is not named), GAP and CORRUPT (its list is gone, or another one), IO, NOMEM. */
static stoa_err find(const stoa_archive *archive, uint64_t position)
{
    const stoa_manifest *m = &archive->manifest;
    uint32_t i = stoa_manifest_snapshot_from(m, position);
    stoa_kept_list list;
    stoa_hash256 hash;
    if (i == m->snapshot_count || m->snapshots[i].info.position != position) { return STOA_E_NOT_FOUND; }
    stoa_err err = stoa_kept_list_load(archive->folder, position, &list, &hash);
    if (err) { return err; }
    stoa_kept_list_deinit(&list);
    bool same = memcmp(&hash, &m->snapshots[i].list_hash, sizeof hash) == 0;
    return same ? STOA_OK : STOA_FAIL(STOA_E_CORRUPT, "%s: the list of the snapshot at %" PRIu64 " is another one", archive->folder, position);
}

bool stoa_archive_has_snapshot(stoa_archive *archive, uint64_t position)
{
    stoa_err err = find(archive, position);
    return err != STOA_E_NOT_FOUND && err != STOA_E_GAP && err != STOA_E_CORRUPT;
}

/* Whether another one has entries in its file, which must stay as it is. */
static bool is_leaned_on(const stoa_manifest *m, uint64_t position)
{
    for (uint32_t i = 0; i < m->snapshot_count; i++) {
        for (uint32_t k = 0; k < m->snapshots[i].file_count; k++) {
            if (m->snapshots[i].info.position != position && m->snapshots[i].files[k] == position) { return true; }
        }
    }
    return false;
}

static stoa_err try_one(stoa_archive *archive, const source *from, const stoa_snapshot_info *info, const stoa_progress_to *progress)
{
    stoa_err err = find(archive, info->position);
    bool broken = err == STOA_E_GAP || err == STOA_E_CORRUPT;
    if (err != STOA_E_NOT_FOUND && (!broken || is_leaned_on(&archive->manifest, info->position))) { return err; }
    err = from->journal ? stoa_snapshot_stands(from->journal, info) : STOA_OK;
    return err ? err : take_one(archive, from, info, true, progress);
}

/* Whether it is of no use to try the next one. */
static bool ends_it(stoa_err err)
{
    return err != STOA_E_CORRUPT && err != STOA_E_GAP && err != STOA_E_NOT_FOUND && err != STOA_E_GONE;
}

static stoa_err take_best(stoa_archive *archive, const source *from, candidates *c, const stoa_progress_to *progress, uint64_t *position_out)
{
    stoa_err err = c->no_memory ? STOA_FAIL(STOA_E_NOMEM, "snapshots")
                                : STOA_FAIL(STOA_E_NOT_FOUND, "there is no snapshot of %s from %" PRIu64 " to %" PRIu64,
                                            archive->manifest.shard, c->window->at_least, c->window->at_most);
    for (uint32_t n = 0; n < c->count && err && err != STOA_E_NOMEM; n++) {
        const stoa_snapshot_info *info = &c->at[c->window->newest ? c->count - 1 - n : n];
        err = try_one(archive, from, info, progress);
        if (!err) { *position_out = info->position; }
        if (err && ends_it(err)) { break; }
        if (err) { stoa_log_error("archive_snapshot_passed_over", err); }
    }
    free(c->at);
    return err;
}

stoa_err stoa_archive_take_snapshot(stoa_archive *archive, stoa_journal *journal, const stoa_archive_window *window,
                                    const stoa_progress_to *progress, uint64_t *position_out)
{
    candidates c = {.window = window};
    STOA_ASSERT(archive->lock_fd >= 0);
    stoa_err err = stoa_snapshots_visit(journal, add_candidate, &c);
    if (err) {
        free(c.at);
        return err;
    }
    return take_best(archive, &(const source){.journal = journal}, &c, progress, position_out);
}

stoa_err stoa_archive_copy_snapshot(stoa_archive *archive, stoa_archive *from, const stoa_archive_window *window,
                                    const stoa_progress_to *progress, uint64_t *position_out)
{
    candidates c = {.window = window};
    stoa_manifest m;
    STOA_ASSERT(archive->lock_fd >= 0);
    stoa_err err = stoa_archive_look(from, &m);
    if (err) { return err; }
    for (uint32_t i = 0; i < m.snapshot_count; i++) { add_candidate(&c, &m.snapshots[i].info); }
    stoa_manifest_deinit(&m);
    return take_best(archive, &(const source){.archive = from}, &c, progress, position_out);
}
