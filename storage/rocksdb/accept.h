/* accept.h - to go on without what a damaged or lost commit mark cannot vouch for (rocksdb/mark.h, open.c).
 *
 * A journal with a damaged mark whose log is broken behind the older value is refused, because what is broken may have been
 * acknowledged; one whose mark is lost is refused whatever its log is like, because the end of it may be gone without a trace. Where there
 * is no backup, or its loss is the smaller one, somebody can say so. Then the mark is the older value; or, where it is lost, it is written
 * anew where the log's chain ends, which is followed from its beginning, sealed or not. The next open cuts what is broken behind it, as it
 * would after a crash. What an archive has of it is the caller's to put back (storage/archive/seam.h).
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef STOA_STORAGE_ROCKSDB_ACCEPT_H
#define STOA_STORAGE_ROCKSDB_ACCEPT_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "base/hash.h"

typedef struct stoa_journal_loss {
    bool damaged, lost;  /* neither: the mark is sound, and there was nothing to accept */
    bool broken;         /* something is stored behind kept that does not continue it */
    uint64_t mark;       /* what the mark can vouch for; 0 where it is lost */
    uint64_t first, kept; /* the log is whole from here to here; kept is first - 1 where no block is */
    stoa_hash256 hash;   /* of the block that ends at kept */
} stoa_journal_loss;

/* Of the closed journal in folder path; with plan nothing is written or made. Durable on return. Blocks; where the mark is lost, all of the
 * log is read. Errors: CORRUPT (a file of the database is gone or cannot be read, or the log is broken at or below the mark: only a backup
 * helps), DENIED (the journal is open), IO, FULL. */
stoa_err stoa_journal_rocksdb_accept(const char *path, bool plan, stoa_journal_loss *out);

#endif
