/* internal.h - the journal on RocksDB as its own files see it. Internal to storage/.
 *
 *     journal.c   append, sync, the side store, close; the table of operations
 *     open.c      opening: the folder, the mark, the database, the end of the log
 *     full.c      a full disk: reading only, and writing again
 *     read.c      reading and looking up
 *     purge.c     forgetting old blocks; beginning behind blocks that are elsewhere
 *     accept.c    going on with a mark that is damaged or lost
 *     look.h      a journal that is only looked at: open.c, journal.c
 *     reindex.c   the index made anew
 *     manifest.c  the end of RocksDB's MANIFEST behind a power cut
 *
 * Locks: engine_lock is held for reading by everything that uses the database on behalf of a caller other than the
 * writer, for writing while the database is swapped; the gate before it stops new readers while the writer waits, but
 * not a read within a visit, which must not wait for itself. state_lock guards what readers share with the writer. The
 * writer's other members have no lock, because there is one writer.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef STOA_STORAGE_ROCKSDB_INTERNAL_H
#define STOA_STORAGE_ROCKSDB_INTERNAL_H

#include <limits.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "storage/journal.h"
#include "storage/rocksdb/engine.h"
#include "storage/rocksdb/mark.h"
#include "storage/rocksdb/side.h"

typedef struct stoa_rocks {
    stoa_journal base;
    pthread_mutex_t state_lock;
    stoa_journal_state state; /* written by the writer under state_lock */
    uint64_t proven;          /* under state_lock: what state's says, or more since somebody else synced the log */
    stoa_err failed;          /* as state; what every call answers once it is set */
    stoa_journal_state anchor; /* last, hash and epoch: the end of what was purged; under state_lock, written by purge */
    struct stoa_rocksdb_disk *disk; /* every database's of the journal's log */
    pthread_mutex_t syncing;   /* one sync of the log at a time; outside state_lock */
    _Atomic uint64_t first;    /* anchor.last + 1, for the compaction filters */
    uint64_t begun;            /* as state's; under state_lock */
    pthread_mutex_t writing;   /* from a block's write to the state that shows it; inside engine_lock */
    pthread_mutex_t purging;   /* one purge or reindex at a time */
    _Atomic bool index_broken; /* lookups wait for a reindex */
    _Atomic uint64_t reindexed; /* the position that one under way has come to; 0: none is */
    uint64_t index_first; /* under purging: the index was last cleared of what is below */

    pthread_mutex_t gate;
    pthread_rwlock_t engine_lock;
    stoa_engine engine;
    bool full;  /* the database is open for reading only */
    bool looks; /* and stays so: rocksdb/look.h */

    stoa_side side;
    _Atomic(const stoa_keyring *) keys;

    pthread_mutex_t marking; /* the mark: the writer moves it, and who syncs the log for the side store; innermost but state_lock */
    bool mark_stuck;
    stoa_mark mark;

    /* The writer's own. */
    uint8_t *bytes;
    size_t bytes_cap;
    rocksdb_writebatch_t *batch;
    rocksdb_writeoptions_t *lazy, *synced;
    char path[PATH_MAX], db_path[PATH_MAX];
} stoa_rocks;

/* The mark follows the log, which was synced up to the state's end or only written; *state gets what is proven then. force: sync the
 * mark, too. A full disk does not stop it from serving: the mark lags until there is space. */
stoa_err stoa_rocks_move_mark(stoa_rocks *j, stoa_journal_state *state, bool synced, bool force);

/* The state; or the error that ended the journal. */
stoa_err stoa_rocks_look(stoa_rocks *j, stoa_journal_state *out);
void stoa_rocks_set_state(stoa_rocks *j, const stoa_journal_state *state);
/* Every later call returns err, as this one does. */
stoa_err stoa_rocks_fail(stoa_rocks *j, stoa_err err);

/* Around everything that uses the database. */
void stoa_rocks_begin_read(stoa_rocks *j);
void stoa_rocks_end_read(stoa_rocks *j);
/* Around closing and opening it. */
void stoa_rocks_begin_swap(stoa_rocks *j);
void stoa_rocks_end_swap(stoa_rocks *j);

/* purge.c: the anchor that the database has, and where it was begun; all zero where nothing was purged. Errors: CORRUPT, IO. */
stoa_err stoa_rocks_read_anchor(const stoa_engine *engine, stoa_journal_state *out);
void stoa_rocks_set_anchor(stoa_rocks *j, const stoa_journal_state *anchor);
void stoa_rocks_anchor(stoa_rocks *j, stoa_journal_state *out);
stoa_err stoa_rocks_purge(stoa_journal *base, uint64_t below);
stoa_err stoa_rocks_begin(stoa_journal *base, const stoa_journal_state *anchor);

/* reindex.c. */
stoa_err stoa_rocks_reindex(stoa_journal *base, stoa_reindexed *out);
/* Whether the last reindex was not ended, or RocksDB has lost entries: then index_broken. Errors: IO, CORRUPT. */
stoa_err stoa_rocks_look_at_index(stoa_rocks *j);
/* The database was opened for writing, with the log as the state says. Errors: FULL, IO. */
stoa_err stoa_rocks_note_open(stoa_rocks *j);

/* open.c. On error the caller takes down what is there. look: nothing is written. */
stoa_err stoa_rocks_open(stoa_rocks *j, const char *path);
stoa_err stoa_rocks_open_to_look(stoa_rocks *j, const char *path);

/* full.c: a write found no space: read only from now on. Returns FULL, or what made the journal unusable. */
stoa_err stoa_rocks_enter_full(stoa_rocks *j);
/* What every call of the writer begins with: FULL while there is no space, and writing again once there is. */
stoa_err stoa_rocks_ready_to_write(stoa_rocks *j);

/* read.c; as in storage/journal.h. */
stoa_err stoa_rocks_read(stoa_journal *base, uint64_t from, stoa_err (*visit)(void *context, const stoa_block *block),
                         void *context);
stoa_err stoa_rocks_show(stoa_journal *base, const void *bytes, size_t size_bytes,
                         stoa_err (*visit)(void *context, const stoa_block *block), void *context);
stoa_err stoa_rocks_read_stored(stoa_journal *base, uint64_t from,
                                stoa_err (*visit)(void *context, const void *bytes, size_t size_bytes), void *context);
stoa_err stoa_rocks_lookup(stoa_journal *base, uint64_t id, stoa_err (*visit)(void *context, uint64_t position),
                           void *context);

#endif
