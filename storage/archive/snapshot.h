/* snapshot.h - snapshots in an archive: what stands for a beginning that is gone.
 *
 * Where the first blocks of a log are neither in the journal nor in its archive, the rest says nothing without the states behind them. An
 * archive therefore takes snapshots from the journal's side store, byte for byte as they are stored there (storage/archive/kept.h),
 * lets go of its first segments only when one that was read back stands behind them, and gives one back to the log that is
 * imported from it. Chunks that several snapshots share are there once.
 *
 * A snapshot stands for a beginning when the block that ends at its position is the archive's. One that is taken before that block is
 * sealed does so once it is.
 *
 * Threads: taking, copying and forgetting are for the one who writes the archive; the rest may run on others meanwhile. All functions
 * block.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef STOA_STORAGE_ARCHIVE_SNAPSHOT_H
#define STOA_STORAGE_ARCHIVE_SNAPSHOT_H

#include "storage/archive/archive.h"

/* Which one is meant. */
typedef struct stoa_archive_window {
    uint64_t at_least, at_most; /* positions */
    bool newest;                /* of those between the newest; else the oldest */
} stoa_archive_window;

/* Whether the manifest names one at that position, and its list is there. By the one who writes. */
bool stoa_archive_has_snapshot(stoa_archive *archive, uint64_t position);

/* Take one from the journal's side store; the next one in the window where one does not hold. One that is there already is as well;
 * one whose list is gone is taken again, unless others lean on its entries.
 * *position_out: where it stands. Errors: NOT_FOUND (none is in the window), CORRUPT (none of them holds, or is of this log), SEALED
 * (its key is not at hand), IO, FULL, what progress returns. */
stoa_err stoa_archive_take_snapshot(stoa_archive *archive, stoa_journal *journal, const stoa_archive_window *window,
                                    const stoa_progress_to *progress, uint64_t *position_out);

/* The same from another archive of that shard. Errors: as take; GAP (a file is missing there). */
stoa_err stoa_archive_copy_snapshot(stoa_archive *archive, stoa_archive *from, const stoa_archive_window *window,
                                    const stoa_progress_to *progress, uint64_t *position_out);

/* Read one that the manifest names, with all its entries, and compare them with their hashes. Errors: GAP (a file is missing), CORRUPT,
 * IO, what progress returns; the trail names the file. */
stoa_err stoa_archive_prove_snapshot(stoa_archive *archive, const stoa_manifest_snapshot *snapshot, const stoa_progress_to *progress);

/* One in the window whose block is the archive's, and which is whole. Reads it. Errors: NOT_FOUND (there is none in the window),
 * FORKED (they are of another log), else as prove. */
stoa_err stoa_archive_stand_in(stoa_archive *archive, const stoa_archive_window *window, const stoa_progress_to *progress,
                               stoa_manifest_snapshot *out);

/* Put it into the side store of a journal whose log holds its block; proven there where the key is at hand. Durable on return. Errors: as
 * prove; those of put. */
stoa_err stoa_archive_give_snapshot(stoa_archive *archive, const stoa_manifest_snapshot *snapshot, stoa_journal *journal,
                                    const stoa_progress_to *progress);

/* Forget those below a position, and of the others all but the first and the newest keep (0: none). Errors: DENIED (a hold), IO, FULL. */
stoa_err stoa_archive_forget_snapshots(stoa_archive *archive, uint64_t below, uint32_t keep);

/* An archive that holds no segment begins where the journal's log does, behind what is not there any more. Errors: EXISTS (it holds
 * some), those of read_stored, IO, FULL. */
stoa_err stoa_archive_begin(stoa_archive *archive, stoa_journal *journal);

#endif
