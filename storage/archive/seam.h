/* seam.h - whether an archive is a log's own: where both have a block, it is the same one.
 *
 * Histories part by their hashes, not by their positions: a log that was restored, or begun anew, beside the archive of an earlier history
 * has blocks at the same positions, and may be shorter or longer. Such an archive says nothing of that log: nothing is read from it,
 * nothing extended, and what it holds is no reason to purge (node/archive/keeper.c).
 *
 * All functions block; threads as of the archive's readers.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef STOA_STORAGE_ARCHIVE_SEAM_H
#define STOA_STORAGE_ARCHIVE_SEAM_H

#include "storage/archive/archive.h"

/* The log goes through the archive's sealed end, and where it begins behind a purge the archive has the block before. Errors: FORKED
 * (it does not; also an archive that goes on behind the log's end, of whatever history: the trail says which, and the way out), GAP
 * (the log was purged further than the archive goes), NOMEM, those of reading. */
stoa_err stoa_seam_check(stoa_archive *archive, stoa_journal *log);

/* The log's chain goes through a block that ends at position, which is not below its first one by more than one, and has that hash.
 * Errors: FORKED, those of read_stored. */
stoa_err stoa_seam_passes(stoa_journal *log, uint64_t position, const stoa_hash256 *hash);

/* What the archive has sealed behind a log's end (last and hash are looked at), where that is a block of its own: *last_out, the last
 * position; where there is nothing, the log's. Errors: FORKED (the log's end is another block), GAP, NOMEM, those of reading. */
stoa_err stoa_seam_behind(stoa_archive *archive, const stoa_journal_state *end, uint64_t *last_out);

/* Append that to the log; durable on return. Errors: those of behind, append_stored and sync. What was appended before an error stays. */
stoa_err stoa_seam_give_back(stoa_archive *archive, stoa_journal *log, const stoa_progress_to *progress);

#endif
