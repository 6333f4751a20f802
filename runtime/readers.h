/* readers.h - who reads a shard's committed log, and how far each has come: nothing is forgotten before all have passed.
 *
 * A reader is whatever would miss a block that goes: snapshots kept, projections, channels, standbys. It adds itself before
 * it reads, with the last position that it does not need any more, moves when that position is safe (written down, not only
 * read), and leaves when it needs the log no more. Who forgets blocks - purge of the journal, expiry of the archive - asks
 * for the floor first. A configured reader adds itself before the node is ready, also when it cannot read yet (with the
 * position it remembers, or 0), so that its absence never lets go of what it needs.
 *
 *     uint32_t slot;
 *     stoa_err err = stoa_readers_add(stoa_shard_readers(shard), "projection", cursor, &slot);
 *     stoa_readers_move(readers, slot, cursor);
 *
 * Threads: any; add, leave, visit and find take a lock, move and floor do not. A slot belongs to the thread that moves it.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef STOA_RUNTIME_READERS_H
#define STOA_RUNTIME_READERS_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/api.h"
#include "base/error.h"

STOA_API_BEGIN

enum { STOA_READERS_MAX = 64, STOA_READER_NAME_MAX = 62 };

/* The reader that stands for the snapshots kept: its position is that of the oldest one that verifies. Where it is not there,
 * or at 0, recovery needs the log from its beginning, and the journal is not purged. */
#define STOA_READER_SNAPSHOT "snapshot"

typedef struct stoa_readers stoa_readers;
struct stoa_readers {
    pthread_mutex_t lock;
    struct {
        char name[STOA_READER_NAME_MAX + 1];
        _Atomic uint64_t position;
        _Atomic bool taken;
    } at[STOA_READERS_MAX];
};

void stoa_readers_init(stoa_readers *readers);
void stoa_readers_deinit(stoa_readers *readers);

/* Errors: EXISTS (that name is there), NOMEM (all slots are taken), INVALID (name). */
stoa_err stoa_readers_add(stoa_readers *readers, const char *name, uint64_t position, uint32_t *slot_out);

/* The reader needs nothing up to position any more. It never goes back: lower positions change nothing. Never blocks. */
void stoa_readers_move(stoa_readers *readers, uint32_t slot, uint64_t position);

void stoa_readers_leave(stoa_readers *readers, uint32_t slot);

/* The lowest position of all; UINT64_MAX when there is no reader. */
uint64_t stoa_readers_floor(const stoa_readers *readers);

/* Where the reader of that name is; false when there is none. */
bool stoa_readers_find(stoa_readers *readers, const char *name, uint64_t *position_out);

/* Visit all of them, under the lock. */
void stoa_readers_visit(stoa_readers *readers, void (*visit)(void *context, const char *name, uint64_t position), void *context);

STOA_API_END

#endif
