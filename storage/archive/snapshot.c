/* snapshot.c - reading, giving back and forgetting snapshots of an archive, and where an archive begins: storage/archive/snapshot.h.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "storage/archive/snapshot.h"

#include <inttypes.h>
#include <string.h>

#include "base/log.h"
#include "storage/archive/file.h"
#include "storage/archive/internal.h"
#include "storage/archive/kept.h"
#include "storage/block.h"

enum { GIVEN_AT_ONCE = 8 };

/* --- reading all of one */

typedef struct walking {
    const stoa_progress_to *progress;
    stoa_progress told;
    stoa_err (*visit)(void *context, const stoa_side_entry *entry, bool last);
    void *context;
} walking;

static stoa_err walk_entries(stoa_archive *archive, const stoa_kept_list *list, walking *w)
{
    stoa_kept_reader reader;
    stoa_err err = STOA_OK;
    stoa_kept_reader_init(&reader, archive->folder);
    w->told.last = list->count;
    for (uint64_t i = 0; i < list->count && !err; i++) {
        stoa_side_entry entry;
        err = stoa_kept_get(&reader, &list->entries[i], &entry);
        if (!err && w->visit) { err = w->visit(w->context, &entry, i + 1 == list->count); }
        if (err) { break; }
        w->told.position = i + 1;
        w->told.raw_bytes += entry.value_bytes;
        err = stoa_progress_tell(w->progress, &w->told);
    }
    stoa_kept_reader_deinit(&reader);
    return err;
}

static bool same_info(const stoa_snapshot_info *a, const stoa_snapshot_info *b)
{
    return a->position == b->position && a->epoch == b->epoch && memcmp(&a->block, &b->block, sizeof a->block) == 0 &&
           memcmp(&a->hash, &b->hash, sizeof a->hash) == 0;
}

/* Its list, which is the one that the manifest means. */
static stoa_err load_list(const stoa_archive *archive, const stoa_manifest_snapshot *snapshot, stoa_kept_list *out)
{
    stoa_hash256 hash;
    stoa_err err = stoa_kept_list_load(archive->folder, snapshot->info.position, out, &hash);
    if (err) { return err; }
    bool same = memcmp(&hash, &snapshot->list_hash, sizeof hash) == 0 && same_info(&out->info, &snapshot->info) &&
                strcmp(out->shard, archive->manifest.shard) == 0;
    if (same) { return STOA_OK; }
    stoa_kept_list_deinit(out);
    return STOA_FAIL(STOA_E_CORRUPT, "%s: the list of the snapshot at %" PRIu64 " is not the one that the manifest names", archive->folder,
                     snapshot->info.position);
}

static stoa_err walk(stoa_archive *archive, const stoa_manifest_snapshot *snapshot, walking *w)
{
    stoa_kept_list list;
    stoa_err err = load_list(archive, snapshot, &list);
    if (err) { return err; }
    err = walk_entries(archive, &list, w);
    stoa_kept_list_deinit(&list);
    return err;
}

stoa_err stoa_archive_prove_snapshot(stoa_archive *archive, const stoa_manifest_snapshot *snapshot, const stoa_progress_to *progress)
{
    walking w = {.progress = progress, .told = {.step = "prove", .shard = archive->manifest.shard}};
    return walk(archive, snapshot, &w);
}

stoa_err stoa_archive_prove_list(stoa_archive *archive, const stoa_kept_list *list, const stoa_progress_to *progress)
{
    walking w = {.progress = progress, .told = {.step = "prove", .shard = archive->manifest.shard}};
    return walk_entries(archive, list, &w);
}

/* --- which one stands for a beginning */

/* The block that ends at its position is the archive's, or the last one that is not there any more. */
static stoa_err is_of_this_log(stoa_archive *archive, const stoa_manifest *m, const stoa_snapshot_info *info)
{
    stoa_archive_block block = {.last = m->expired, .hash = m->expired_hash};
    stoa_err err = info->position == m->expired ? STOA_OK : stoa_archive_block_at(archive, info->position, &block);
    if (err) { return err; }
    bool same = block.last == info->position && memcmp(&block.hash, &info->block, sizeof block.hash) == 0;
    return same ? STOA_OK : STOA_FAIL(STOA_E_FORKED, "the snapshot at %" PRIu64 " is not of the log that is in %s", info->position, archive->folder);
}

stoa_err stoa_archive_stand_in(stoa_archive *archive, const stoa_archive_window *window, const stoa_progress_to *progress,
                               stoa_manifest_snapshot *out)
{
    stoa_manifest m;
    stoa_err err = stoa_archive_look(archive, &m);
    if (err) { return err; }
    uint64_t last, epoch, at_least = window->at_least > m.expired ? window->at_least : m.expired;
    stoa_hash256 hash;
    stoa_manifest_end(&m, false, &last, &epoch, &hash);
    if (window->at_most < last) { last = window->at_most; }
    err = STOA_FAIL(STOA_E_NOT_FOUND, "the archive of %s has no snapshot from %" PRIu64 " to %" PRIu64, m.shard, at_least, last);
    for (uint32_t n = 0; n < m.snapshot_count && err; n++) {
        const stoa_manifest_snapshot *s = &m.snapshots[window->newest ? m.snapshot_count - 1 - n : n];
        if (s->info.position < at_least || s->info.position > last) { continue; }
        err = is_of_this_log(archive, &m, &s->info);
        if (!err) { err = stoa_archive_prove_snapshot(archive, s, progress); }
        if (!err) { *out = *s; }
        if (err == STOA_E_CANCELLED) { break; }
        if (err) { stoa_log_error("archive_snapshot_broken", err); }
    }
    stoa_manifest_deinit(&m);
    return err;
}

/* --- giving back */

typedef struct giving {
    stoa_journal *journal;
    stoa_side_entry batch[GIVEN_AT_ONCE];
    uint8_t keys[GIVEN_AT_ONCE][STOA_KEPT_KEY_MAX];
    stoa_buf values[GIVEN_AT_ONCE];
    uint32_t count;
} giving;

static stoa_err give_entry(void *context, const stoa_side_entry *entry, bool last)
{
    giving *g = context;
    uint32_t i = g->count++;
    stoa_buf_clear(&g->values[i]);
    stoa_buf_put(&g->values[i], entry->value, entry->value_bytes);
    if (g->values[i].cut) { return STOA_FAIL(STOA_E_NOMEM, "an entry of %" PRIu32 " bytes", entry->value_bytes); }
    memcpy(g->keys[i], entry->key, entry->key_bytes);
    g->batch[i] = (stoa_side_entry){.key = g->keys[i], .key_bytes = entry->key_bytes, .value = g->values[i].at, .value_bytes = entry->value_bytes};
    if (!last && g->count < GIVEN_AT_ONCE) { return STOA_OK; }
    uint32_t count = g->count;
    g->count = 0;
    return g->journal->ops->put_stored(g->journal, STOA_SPACE_SNAPSHOT, g->batch, count, last);
}

static stoa_err give(stoa_archive *archive, const stoa_manifest_snapshot *snapshot, stoa_journal *journal, const stoa_progress_to *progress)
{
    giving g = {.journal = journal};
    walking w = {.progress = progress, .told = {.step = "snapshot", .shard = archive->manifest.shard}, .visit = give_entry, .context = &g};
    for (uint32_t i = 0; i < GIVEN_AT_ONCE; i++) { g.values[i] = STOA_BUF_GROWING; }
    stoa_err err = walk(archive, snapshot, &w);
    for (uint32_t i = 0; i < GIVEN_AT_ONCE; i++) { stoa_buf_deinit(&g.values[i]); }
    if (err) { return err; }
    err = stoa_snapshot_prove(journal, &snapshot->info);
    return err == STOA_E_SEALED ? STOA_OK : err;
}

stoa_err stoa_archive_give_snapshot(stoa_archive *archive, const stoa_manifest_snapshot *snapshot, stoa_journal *journal,
                                    const stoa_progress_to *progress)
{
    stoa_err err = stoa_snapshot_stands(journal, &snapshot->info);
    if (err == STOA_E_SEALED) { err = STOA_OK; } /* without the key the chain alone says so */
    if (!err) { err = give(archive, snapshot, journal, progress); }
    if (err == STOA_E_CORRUPT) { err = give(archive, snapshot, journal, progress); } /* the store was rotten, and is empty now */
    return err ? STOA_PASS(err, "snapshot at %" PRIu64 " from the archive of %s", snapshot->info.position, archive->manifest.shard) : STOA_OK;
}

/* --- forgetting */

static bool is_used(const stoa_manifest *m, uint64_t file)
{
    for (uint32_t i = 0; i < m->snapshot_count; i++) {
        for (uint32_t k = 0; k < m->snapshots[i].file_count; k++) {
            if (m->snapshots[i].files[k] == file) { return true; }
        }
    }
    return false;
}

static stoa_err remove_unused(void *context, const char *name)
{
    const stoa_archive *archive = context;
    uint64_t position;
    bool ours = stoa_kept_parse(name, stoa_kept_chunks_ending, &position);
    return ours && !is_used(&archive->manifest, position) ? stoa_file_remove(archive->folder, name) : STOA_OK;
}

stoa_err stoa_archive_sweep_chunks(stoa_archive *archive)
{
    return stoa_folder_visit(archive->folder, stoa_kept_chunks_ending, remove_unused, archive);
}

static bool stays(const stoa_manifest *m, uint32_t index, uint64_t below, uint32_t keep)
{
    if (m->snapshots[index].info.position < below) { return false; }
    return keep == 0 || index + keep >= m->snapshot_count || index == stoa_manifest_snapshot_from(m, below);
}

stoa_err stoa_archive_forget_snapshots(stoa_archive *archive, uint64_t below, uint32_t keep)
{
    const stoa_manifest *m = &archive->manifest;
    stoa_manifest next;
    uint64_t gone[64];
    uint32_t count = 0;
    if (m->hold[0]) { return STOA_FAIL(STOA_E_DENIED, "%s is held: %s", m->shard, m->hold); }
    stoa_err err = stoa_manifest_copy(m, &next);
    if (err) { return err; }
    for (uint32_t i = m->snapshot_count; i-- > 0 && count < sizeof gone / sizeof gone[0];) {
        if (stays(m, i, below, keep)) { continue; }
        gone[count++] = m->snapshots[i].info.position;
        stoa_manifest_unname(&next, i);
    }
    if (count > 0) { err = stoa_archive_replace(archive, &next); }
    if (err || count == 0) {
        stoa_manifest_deinit(&next);
        return err;
    }
    for (uint32_t i = 0; i < count && !err; i++) {
        char name[STOA_KEPT_NAME_MAX];
        stoa_kept_name(gone[i], stoa_kept_list_ending, name);
        err = stoa_file_remove(archive->folder, name);
    }
    return err ? err : stoa_archive_sweep_chunks(archive);
}

/* --- where an archive begins */

static stoa_err note_beginning(void *context, const void *bytes, size_t size_bytes)
{
    stoa_manifest *next = context;
    stoa_block_view view;
    stoa_err err = stoa_block_decode(bytes, size_bytes, &view);
    if (err) { return err; }
    next->expired = view.block.first - 1;
    next->expired_hash = view.previous;
    next->expired_epoch = next->expired ? view.block.epoch : 0; /* that of the block before is not known: it is no higher */
    return STOA_E_CANCELLED;
}

stoa_err stoa_archive_begin(stoa_archive *archive, stoa_journal *journal)
{
    const stoa_manifest *m = &archive->manifest;
    stoa_journal_state log;
    stoa_manifest next;
    if (m->count > 0) { return STOA_FAIL(STOA_E_EXISTS, "the archive of %s holds segments", m->shard); }
    stoa_err err = stoa_manifest_copy(m, &next);
    if (err) { return err; }
    journal->ops->state(journal, &log);
    next.expired = log.first - 1;
    next.expired_hash = log.hash;
    next.expired_epoch = log.epoch;
    if (log.last >= log.first) { err = journal->ops->read_stored(journal, log.first, note_beginning, &next); }
    if (err == STOA_E_CANCELLED) { err = STOA_OK; }
    if (!err) { err = stoa_archive_replace(archive, &next); }
    if (err) { stoa_manifest_deinit(&next); }
    return err;
}
