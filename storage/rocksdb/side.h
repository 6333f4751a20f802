/* side.h - the side store of storage/journal.h: a RocksDB of its own beside the log's.
 *
 * Its own, because a rotten or missing file of it must not keep the log from opening, a failed write must not stop the
 * log's writes, and large values must not stand between a block and its sync. The folder is made by the first put; one
 * that cannot be read is thrown away and begun anew (journal_side_lost in our log): nothing is in it that the log does
 * not give again.
 *
 * Values of 4 KiB and more lie in blob files, so that compaction moves keys and not snapshots.
 *
 * After a failed write the database is closed; the next put opens it for writing again, where there is space, and a scan
 * before that opens it for reading.
 *
 * Threads: all functions but init and deinit on any. A visit function may scan, and nothing else.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef STOA_STORAGE_ROCKSDB_SIDE_H
#define STOA_STORAGE_ROCKSDB_SIDE_H

#include <limits.h>
#include <pthread.h>
#include <rocksdb/c.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "storage/journal.h"
#include "storage/seal.h"

typedef enum stoa_side_mode { STOA_SIDE_CLOSED, STOA_SIDE_READING, STOA_SIDE_WRITING } stoa_side_mode;

typedef struct stoa_side {
    pthread_rwlock_t lock; /* held for writing while the database is opened or closed */
    stoa_side_mode mode;
    bool used;   /* it was open before */
    bool looks;  /* it is never written, mended or begun anew: rocksdb/look.h */
    bool rotten; /* RocksDB found rot where it wrote: to be begun anew */
    rocksdb_t *db;
    struct stoa_rocksdb_disk *disk; /* the open database's */
    rocksdb_column_family_handle_t *families[STOA_SPACES + 1]; /* a space's is its number's; the last is "default" */
    _Atomic(const stoa_keyring *) keys;
    char path[PATH_MAX];
} stoa_side;

/* Nothing is opened or made before it is needed. path is set before that: its folder, whose parent is there. */
void stoa_side_init(stoa_side *side);
void stoa_side_deinit(stoa_side *side);

/* As in storage/journal.h; stored: values are given, or shown, as they are stored. */
stoa_err stoa_side_put(stoa_side *side, stoa_space space, const stoa_side_entry *entries, uint32_t count, bool stored, bool sync);
stoa_err stoa_side_erase(stoa_side *side, stoa_space space, const void *from, uint32_t from_bytes, const void *to,
                         uint32_t to_bytes);
stoa_err stoa_side_scan(stoa_side *side, stoa_space space, const void *from, uint32_t from_bytes, bool stored,
                        stoa_err (*visit)(void *context, const stoa_side_entry *entry), void *context);

#endif
