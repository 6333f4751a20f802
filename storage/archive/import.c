/* import.c - an archive's log into a new journal: storage/archive/archive.h.
 *
 * Every block goes through the journal's own chain check, from the first one on: what comes out has the hashes that the live
 * log had, or the import ends with the block that does not fit.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include <inttypes.h>

#include "storage/archive/internal.h"
#include "storage/archive/snapshot.h"
#include "storage/block.h"

enum { SYNC_BYTES = 32 << 20 };

typedef struct importing {
    stoa_journal *journal;
    const stoa_import *import;
    const stoa_progress_to *progress;
    stoa_progress told;
    uint64_t synced_bytes, commit_ns;
    bool over; /* what follows is not wanted */
} importing;

static stoa_err take(void *context, const void *bytes, size_t size_bytes)
{
    importing *i = context;
    stoa_block_view view;
    stoa_err err = stoa_block_decode(bytes, size_bytes, &view);
    if (err) { return err; }
    if (i->import->until_ns && view.block.commit_ns <= i->commit_ns) {
        return STOA_FAIL(STOA_E_UNSUPPORTED, "commit times fall at position %" PRIu64 ": no cut by time", view.block.first);
    }
    i->commit_ns = view.block.commit_ns;
    uint64_t until = i->import->until;
    bool over = (i->import->until_ns && view.block.commit_ns > i->import->until_ns) || (until && view.block.first > until);
    if (over) {
        i->over = true;
        return STOA_E_CANCELLED;
    }
    if (until && stoa_block_last(&view.block) > until) {
        err = i->import->cut ? i->import->cut(i->import->context, i->journal, bytes, size_bytes, until) : STOA_OK;
        i->over = !err;
        return err ? err : STOA_E_CANCELLED;
    }
    i->told.raw_bytes += size_bytes;
    bool sync = i->told.raw_bytes - i->synced_bytes >= SYNC_BYTES;
    err = i->journal->ops->append_stored(i->journal, bytes, size_bytes, sync);
    if (err) { return err; }
    if (sync) { i->synced_bytes = i->told.raw_bytes; }
    i->told.position = stoa_block_last(&view.block);
    return stoa_progress_tell(i->progress, &i->told);
}

/* --- blocks by position and time */

typedef struct finding {
    uint64_t wall_ns;
    stoa_archive_block found;
} finding;

static stoa_archive_block summary(const stoa_block_view *view)
{
    const stoa_block *block = &view->block;
    return (stoa_archive_block){block->first, stoa_block_last(block), block->commit_ns, block->epoch, view->hash};
}

static stoa_err find_by(void *context, const void *bytes, size_t size_bytes)
{
    finding *f = context;
    stoa_block_view view;
    stoa_err err = stoa_block_decode(bytes, size_bytes, &view);
    if (!err && view.block.commit_ns > f->wall_ns) { return STOA_E_CANCELLED; }
    if (!err) { f->found = summary(&view); }
    return err;
}

static stoa_err find_first(void *context, const void *bytes, size_t size_bytes)
{
    stoa_block_view view;
    stoa_err err = stoa_block_decode(bytes, size_bytes, &view);
    if (err) { return err; }
    *(stoa_archive_block *)context = summary(&view);
    return STOA_E_CANCELLED;
}

stoa_err stoa_archive_block_at(stoa_archive *archive, uint64_t position, stoa_archive_block *out)
{
    stoa_archive_block found = {0};
    stoa_err err = stoa_archive_read(archive, position, position, find_first, &found);
    if (err && err != STOA_E_CANCELLED) { return err; }
    *out = found;
    return STOA_OK;
}

stoa_err stoa_archive_block_by(stoa_archive *archive, uint64_t wall_ns, stoa_archive_block *out)
{
    stoa_manifest m;
    finding f = {.wall_ns = wall_ns};
    stoa_err err = stoa_archive_look(archive, &m);
    if (err) { return err; }
    uint32_t behind = 0;
    while (behind < m.count && m.entries[behind].segment.first_ns <= wall_ns) { behind++; }
    if (behind > 0) {
        const stoa_segment *segment = &m.entries[behind - 1].segment;
        err = stoa_archive_read(archive, segment->first, segment->last, find_by, &f);
    }
    stoa_manifest_deinit(&m);
    if (err && err != STOA_E_CANCELLED) { return err; }
    *out = f.found;
    return STOA_OK;
}

/* --- import */

/* What stands for the beginning where the log is wanted up to until; its position is 0 where nothing needs to. */
static stoa_err find_beginning(stoa_archive *archive, uint64_t until, const stoa_progress_to *progress, stoa_manifest_snapshot *out)
{
    stoa_manifest m;
    stoa_archive_window window = {.at_most = until};
    stoa_err err = stoa_archive_look(archive, &m);
    *out = (stoa_manifest_snapshot){.file_count = 0};
    if (err) { return err; }
    uint32_t first = stoa_manifest_snapshot_from(&m, m.expired);
    uint64_t stands = first < m.snapshot_count ? m.snapshots[first].info.position : 0, expired = m.expired;
    stoa_manifest_deinit(&m);
    if (expired == 0) { return STOA_OK; }
    if (stands == 0) {
        return STOA_FAIL(STOA_E_GAP, "the archive of %s begins at %" PRIu64 ", and no snapshot stands for what was before", archive->manifest.shard,
                         expired + 1);
    }
    if (until < stands) {
        return STOA_FAIL(STOA_E_RANGE, "the archive of %s begins at %" PRIu64 " with a snapshot at %" PRIu64 ": how it was at %" PRIu64 " is not known any more",
                         archive->manifest.shard, expired + 1, stands, until);
    }
    return stoa_archive_stand_in(archive, &window, progress, out);
}

stoa_err stoa_archive_reaches(stoa_archive *archive, uint64_t until, const stoa_progress_to *progress, uint64_t *snapshot_out)
{
    stoa_manifest_snapshot snapshot;
    stoa_err err = find_beginning(archive, until, progress, &snapshot);
    if (!err) { *snapshot_out = snapshot.info.position; }
    return err;
}

/* The last position that is wanted, by blocks. */
static stoa_err wanted(stoa_archive *archive, const stoa_import *import, uint64_t *until_out)
{
    stoa_archive_block block = {.last = stoa_archive_last(archive, false)};
    bool by_time = import->until_ns && !import->until;
    if (import->until && import->until < block.last) { block.last = import->until; }
    stoa_err err = by_time ? stoa_archive_block_by(archive, import->until_ns, &block) : STOA_OK;
    if (!err) { *until_out = block.last; }
    return err;
}

/* The empty journal begins where the archive does. */
static stoa_err begin(stoa_archive *archive, stoa_journal *journal, const stoa_import *import, const stoa_progress_to *progress,
                      stoa_manifest_snapshot *out)
{
    uint64_t until = 0;
    stoa_err err = wanted(archive, import, &until);
    if (!err) { err = find_beginning(archive, until, progress, out); }
    if (err || out->info.position == 0) { return err; }
    stoa_manifest m;
    err = stoa_archive_look(archive, &m);
    if (err) { return err; }
    stoa_journal_state anchor = {.last = m.expired, .epoch = m.expired_epoch, .hash = m.expired_hash};
    stoa_manifest_deinit(&m);
    return journal->ops->begin(journal, &anchor);
}

stoa_err stoa_archive_import(stoa_archive *archive, stoa_journal *journal, const stoa_import *import,
                             const stoa_progress_to *progress, uint64_t *snapshot_out)
{
    stoa_journal_state state;
    stoa_manifest_snapshot snapshot = {.file_count = 0};
    uint64_t last = stoa_archive_last(archive, false), first = stoa_archive_first(archive);
    journal->ops->state(journal, &state);
    if (state.last > 0) { return STOA_FAIL(STOA_E_EXISTS, "the journal has %" PRIu64 " events already", state.last); }
    stoa_err err = first > 1 ? begin(archive, journal, import, progress, &snapshot) : STOA_OK;
    if (err) { return STOA_PASS(err, "import of %s", archive->manifest.shard); }
    if (snapshot_out) { *snapshot_out = snapshot.info.position; }
    if (last == 0) { return STOA_OK; }
    importing i = {.journal = journal,
                   .import = import,
                   .progress = progress,
                   .told = {.step = "import", .shard = archive->manifest.shard, .last = import->until ? import->until : last}};
    err = first <= last ? stoa_archive_read(archive, first, last, take, &i) : STOA_OK;
    if (err && !i.over) { return STOA_PASS(err, "import of %s", archive->manifest.shard); }
    err = journal->ops->sync(journal);
    return err || snapshot.info.position == 0 ? err : stoa_archive_give_snapshot(archive, &snapshot, journal, progress);
}
