/* journal.h - the journal on RocksDB: one database per journal, and beside it the commit mark.
 *
 * Path is a folder; its parent must exist. In it:
 *     commit.mark   up to where the log was synced (rocksdb/mark.h); its lock is the journal's lock
 *     db/           the database. Column families: log (big-endian position of a block's last event -> block, so that
 *                   the block that holds a position is one seek away), index (big-endian id, big-endian position ->
 *                   nothing; written in the block's write batch, so never ahead of it), meta ("format" -> version)
 *     side/         the side store, another database (rocksdb/side.h); may be deleted while the journal is closed
 *
 * Open: RocksDB replays its own log, then the block under the mark must be there, with the hash the mark names, and
 * the chain is followed from it to the end. Below the mark nothing is read: rot there is found by read and
 * stoa_journal_verify. A write cut short at the end of RocksDB's log is accepted in silence by RocksDB; how far the
 * log once went is in the mark too, so journal_tail_lost in our log says what is missing. Rot inside RocksDB's log
 * ends the log there, if that is above the mark (journal_tail_cut), and is CORRUPT otherwise; before this is known
 * nothing is written. Where the mark itself has rot (journal_mark_damaged) whatever is broken behind it is CORRUPT, and so is an
 * end cut short; without a valid mark all is (rocksdb/accept.h has the ways out). Table files that cannot be read are CORRUPT wherever they are.
 *
 * A full disk (FULL): the database is closed and opened for reading, because RocksDB takes no write after a failed
 * one. Each later append or sync tries to open it for writing again. Readers wait for these moments. A sync that finds no space is not that,
 * but IO, the end, as any sync that fails: of the log, the mark, a table, a MANIFEST or the folder, on any thread (rocksdb/shim.h).
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef STOA_STORAGE_ROCKSDB_JOURNAL_H
#define STOA_STORAGE_ROCKSDB_JOURNAL_H

#include "base/api.h"
#include "storage/journal.h"

STOA_API_BEGIN

extern const stoa_journal_ops stoa_journal_rocksdb;

/* RocksDB's two background threads belong to the process and stay when the last journal is closed, because the program may
 * use RocksDB itself. One that does not can end them then; opening a journal starts them again. With a journal or another
 * database of RocksDB's open: that one writes no more. Returns before they are gone. */
void stoa_journal_rocksdb_end_threads(void);

STOA_API_END

#endif
