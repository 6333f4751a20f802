/* tail.h - the end of a log: following the chain from the commit mark, and cutting off what does not hold.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef STOA_STORAGE_ROCKSDB_TAIL_H
#define STOA_STORAGE_ROCKSDB_TAIL_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "storage/journal.h"
#include "storage/rocksdb/engine.h"
#include "storage/rocksdb/mark.h"

typedef struct stoa_tail {
    stoa_journal_state at; /* where the sound part ends; proven is not set */
    bool broken;           /* something is stored behind it: the trail says what is wrong with it */
} stoa_tail;

/* Find the block under the mark and follow the chain from there to its end; from the anchor, the end of what was purged, where
 * the mark is not above it. Errors: CORRUPT (the block is gone, broken
 * or another one; a table file cannot be read), NOMEM, IO. */
stoa_err stoa_tail_follow(const stoa_engine *engine, const stoa_journal_state *anchor, const stoa_mark_value *mark,
                          stoa_tail *out);

/* Delete all blocks behind position last, and what the index says of them; durable on return.
 * Errors: CORRUPT, FULL, IO. */
stoa_err stoa_tail_cut(stoa_engine *engine, uint64_t last);

#endif
