/* journal.h - a log with its archive in front of it: what was purged from the journal is read from the segments.
 *
 * A journal like any other (storage/journal.h). Everything goes to the log's own journal, but for reads that begin below its
 * first position: those begin in the archive and go on in the log, and where the two meet the hashes must. So a rebuild from
 * the beginning, or a look at the past, need not know what was purged.
 *
 * Limits: lookup knows what the log still has. Where the archive's beginning expired, or it ends below the log's first
 * position, first is what the two have together.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef STOA_STORAGE_ARCHIVE_JOURNAL_H
#define STOA_STORAGE_ARCHIVE_JOURNAL_H

#include "storage/archive/archive.h"

/* Owns log from then on and closes it when it is closed; the archive is the caller's and must outlive it. Errors: NOMEM, and those of
 * stoa_seam_check (storage/archive/seam.h): FORKED (the archive is not this log's), GAP (the log was purged further than it goes). */
stoa_err stoa_journal_archived(stoa_journal *log, stoa_archive *archive, stoa_journal **out);

/* The log's own state, without the archive; of any journal. */
void stoa_journal_log_state(stoa_journal *journal, stoa_journal_state *out);

#endif
