/* cut.h - where a log is cut, and what of its last block counts.
 *
 * A block holds whole cascades, and a cascade stands or falls as a whole: it is one order with all that it led to. So a cut at a
 * position inside a cascade ends before it. What is left is appended as a block of its own, with the old block's epoch and
 * commit time; from there on the restored log is another one than the log it came from, and its hash says so.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef STOA_NODE_ARCHIVE_CUT_H
#define STOA_NODE_ARCHIVE_CUT_H

#include "node/archive/catalog.h"
#include "storage/archive/archive.h"

/* The last block of a shard's archive, as the catalogue has it, that is before or at the commit time; zeros where the log began later.
 * What went before the backup was taken is before the time up to which the backup is complete: where nothing else is, out->last is where
 * that ended. Errors: RANGE (the time is before what the archive begins with), those of stoa_archive_block_by. */
stoa_err stoa_backup_cut(const stoa_catalog *catalog, uint32_t shard, stoa_archive *archive, uint64_t cut_ns, stoa_archive_block *out);

/* Append what of the stored block counts up to position until to the journal, perhaps nothing. For stoa_import; context is not
 * used. Errors: CORRUPT, VERSION (an event of a later version), NOMEM, what append returns. */
stoa_err stoa_block_cut(void *context, stoa_journal *journal, const void *bytes, size_t size_bytes, uint64_t until);

#endif
