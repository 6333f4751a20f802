/* import.c - an archive's log into a new journal: storage/archive/archive.h.
 *
 * Every block goes through the journal's own chain check, from the first one on: what comes out has the hashes that the live
 * log had, or the import ends with the block that does not fit.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include <inttypes.h>

#include "storage/archive/internal.h"
#include "storage/block.h"

enum { SYNC_BYTES = 32 << 20 };

typedef struct importing {
    stoa_journal *journal;
    const stoa_import *import;
    const stoa_progress_to *progress;
    stoa_progress told;
    uint64_t synced_bytes;
    bool over; /* what follows is not wanted */
} importing;

static stoa_err take(void *context, const void *bytes, size_t size_bytes)
{
    importing *i = context;
    stoa_block_view view;
    stoa_err err = stoa_block_decode(bytes, size_bytes, &view);
    if (err) { return err; }
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

stoa_err stoa_archive_import(stoa_archive *archive, stoa_journal *journal, const stoa_import *import,
                             const stoa_progress_to *progress)
{
    stoa_journal_state state;
    uint64_t last = stoa_archive_last(archive, false), first = stoa_archive_first(archive);
    journal->ops->state(journal, &state);
    if (state.last > 0) { return STOA_FAIL(STOA_E_EXISTS, "the journal has %" PRIu64 " events already", state.last); }
    if (first > 1) {
        return STOA_FAIL(STOA_E_GAP, "the archive of %s begins at %" PRIu64 ": what was before it has expired",
                         archive->manifest.shard, first);
    }
    if (last == 0) { return STOA_OK; }
    importing i = {.journal = journal,
                   .import = import,
                   .progress = progress,
                   .told = {.step = "import", .shard = archive->manifest.shard, .last = import->until ? import->until : last}};
    stoa_err err = stoa_archive_read(archive, 1, last, take, &i);
    if (err && !i.over) { return STOA_PASS(err, "import of %s", archive->manifest.shard); }
    return journal->ops->sync(journal);
}
