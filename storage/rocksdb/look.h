/* look.h - a journal on RocksDB that is only looked at: for plans, which must not change what they are about.
 *
 * Nothing on the disk changes, and nothing is made: what an open would mend - the end of a log that a crash left, an index, a side store
 * that is rotten - stays as it is, and the journal reads as it would behind that; one that was never written is empty. An index that is
 * broken is not made anew: each lookup reads the log. Whatever writes is refused (DENIED, or FULL, as on a full disk). The journal is
 * locked meanwhile, as by an open, where it has a mark.
 *
 * But for the end of a MANIFEST (rocksdb/manifest.h): only an open can cut that off, and until then the journal is CORRUPT, and such a side
 * store empty.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef STOA_STORAGE_ROCKSDB_LOOK_H
#define STOA_STORAGE_ROCKSDB_LOOK_H

#include <stdbool.h>

#include "base/error.h"
#include "storage/journal.h"

/* Whether the journal in folder path was begun: what it was is there, or a part of that. Where not, there may be folders and files without a
 * word in them, and an open begins one. Open or closed; blocks. */
bool stoa_journal_rocksdb_begun(const char *path);

/* Of the closed journal in folder path, which is there; to be closed as any other. Blocks. Errors: as of open, but for FULL. */
stoa_err stoa_journal_rocksdb_look(const char *path, stoa_journal **out);

#endif
