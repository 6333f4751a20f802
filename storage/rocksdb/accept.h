/* accept.h - to go on without what a damaged commit mark cannot vouch for (rocksdb/mark.h, open.c).
 *
 * A journal with a damaged mark whose log is broken behind the older value is refused, because what is broken may have been
 * acknowledged. Where there is no backup, or its loss is the smaller one, somebody can say so: then the older value is the mark,
 * and the next open cuts what is broken behind it, as it would after a crash. What an archive has of it is the caller's to put back
 * (storage/archive/seam.h).
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef STOA_STORAGE_ROCKSDB_ACCEPT_H
#define STOA_STORAGE_ROCKSDB_ACCEPT_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "base/hash.h"

typedef struct stoa_journal_loss {
    bool damaged;        /* false: the mark is sound, and there was nothing to accept */
    uint64_t mark, kept; /* positions: what the mark can vouch for; up to where the log is whole behind it */
    stoa_hash256 hash;   /* of the block that ends at kept */
} stoa_journal_loss;

/* Of the closed journal in folder path; with plan nothing is written. Blocks. Errors: CORRUPT (no slot is valid, or the log is
 * broken at or below the mark: only a backup helps), DENIED (the journal is open), IO, FULL. */
stoa_err stoa_journal_rocksdb_accept(const char *path, bool plan, stoa_journal_loss *out);

#endif
