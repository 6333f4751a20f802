/* engine.h - one RocksDB database, sized for a journal, and its errors in our vocabulary.
 *
 * RocksDB is used through its C API, whose errors are text: engine.c has the table that turns them into stoa_err.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef STOA_STORAGE_ROCKSDB_ENGINE_H
#define STOA_STORAGE_ROCKSDB_ENGINE_H

#include <rocksdb/c.h>

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"

/* Column families, in the order of their handles. */
enum stoa_family { STOA_FAMILY_DEFAULT, STOA_FAMILY_LOG, STOA_FAMILY_META, STOA_FAMILY_INDEX, STOA_FAMILIES };

typedef struct stoa_engine {
    rocksdb_t *db; /* NULL: closed */
    rocksdb_column_family_handle_t *families[STOA_FAMILIES];
    rocksdb_compactionfilter_t *filters[STOA_FAMILIES];
} stoa_engine;

typedef struct stoa_engine_mode {
    bool create;    /* make the database when there is none */
    bool read_only; /* write nothing, take no lock; RocksDB's log is replayed into memory */
    bool to_rot;    /* replay RocksDB's log up to the first rotten record, and drop the rest; else that is CORRUPT. A
                       record cut short at the log's very end is dropped either way. */
    bool whole;     /* a record cut short at the log's very end is CORRUPT, too */
    struct stoa_rocksdb_disk *disk; /* notes which syncs fail (rocksdb/shim.h); the caller's, freed behind the close; NULL: nobody does */
    const _Atomic uint64_t *first; /* compaction drops blocks and index entries below this position; NULL: none */
} stoa_engine_mode;

/* Open the database in folder path. Blocks. Errors: CORRUPT, DENIED, FULL, VERSION, IO. */
stoa_err stoa_engine_open(stoa_engine *engine, const char *path, stoa_engine_mode mode);

/* Whether the database lacks families: its making was broken off, and nothing was written to it. Blocks. */
bool stoa_engine_unfinished(const char *path);

/* The options that all our databases share; the caller's to destroy. */
rocksdb_options_t *stoa_engine_options(stoa_engine_mode mode);

/* Close it; nothing is flushed or synced. A closed engine is allowed. */
void stoa_engine_close(stoa_engine *engine);

/* The stoa_err of a RocksDB error text, which is freed; OK for NULL. what: what was being done. */
stoa_err stoa_engine_error(char *text, const char *what);

/* About how many blocks there are. */
uint64_t stoa_engine_blocks(const stoa_engine *engine);

/* Give back the space of blocks below position first, which the mode's first has reached already; with_index: and that of
 * index entries, for which the whole index is rewritten. Blocks. Errors: FULL (compaction gives back what was left), IO, CORRUPT:
 * nothing was given back. What fails in compaction shows at a later write. */
stoa_err stoa_engine_reclaim(stoa_engine *engine, uint64_t first, bool with_index);

/* Where restarts have left many small table files, make them one. */
void stoa_engine_fold(stoa_engine *engine);

#endif
