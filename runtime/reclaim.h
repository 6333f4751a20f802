/* reclaim.h - memory that cores read without a lock and others replace: freed when no core can still be reading it. Internal.
 *
 * A core holds what it read for the length of a batch at most. It passes at the begin of each (stoa_reclaim_pass) and parks
 * before it sleeps. Who replaces a block unlinks it, then retires it: it gets the next epoch as its stamp, and is freed when
 * every core has passed with an epoch as high as the stamp, or is parked. (Quiescent-state-based reclamation: Hart, McKenney,
 * Brown, Walpole, Performance of memory reclamation for lockless synchronization, 2007.)
 *
 * Only cores read: ports, views and the journal's threads take the lock that writers take, or hold nothing.
 *
 * Bounded: while more than STOA_RETIRED_MAX bytes wait, stoa_reclaim_room says no to who wants to replace more (a core that
 * is stuck in a handler keeps them waiting); giving back never needs room.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef STOA_RUNTIME_RECLAIM_H
#define STOA_RUNTIME_RECLAIM_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "runtime/node.h"

enum { STOA_RETIRED_MAX = 64 << 20 };
#define STOA_RECLAIM_PARKED UINT64_MAX

/* First in every block. */
typedef struct stoa_retired {
    struct stoa_retired *next;
    uint64_t stamp;
    size_t size_bytes;
} stoa_retired;

typedef struct stoa_reclaim {
    _Atomic uint64_t epoch;
    struct {
        _Atomic uint64_t seen; /* the epoch a core passed with last, or PARKED */
        unsigned char apart_[56];
    } cores[STOA_CORES_MAX];
    /* under the lock of whom it serves: */
    stoa_retired *first, *last; /* in order of their stamps */
    size_t retired_bytes;
    size_t used_bytes; /* in use and retired */
} stoa_reclaim;

void stoa_reclaim_init(stoa_reclaim *reclaim);
/* Frees what is retired; no core runs. */
void stoa_reclaim_deinit(stoa_reclaim *reclaim);

/* A zeroed block, or NULL. Under the lock, as all below. */
void *stoa_reclaim_new(stoa_reclaim *reclaim, size_t size_bytes);
/* Free a block that no reader ever saw. NULL is allowed. */
void stoa_reclaim_free(stoa_reclaim *reclaim, void *block);
/* Free a block that nobody finds any more, when its last reader is gone. NULL is allowed. */
void stoa_reclaim_retire(stoa_reclaim *reclaim, void *block);
/* Free what can be; whether more may be retired by choice. */
bool stoa_reclaim_room(stoa_reclaim *reclaim);

/* Core: whatever I read before, I hold no more. */
static inline void stoa_reclaim_pass(stoa_reclaim *reclaim, uint32_t core)
{
    /* acquire: pairs with the epoch's increment; what was unlinked before it is not found after */
    uint64_t now = atomic_load_explicit(&reclaim->epoch, memory_order_acquire);
    uint64_t seen = atomic_load_explicit(&reclaim->cores[core].seen, memory_order_relaxed);
    if (seen == now) { return; }
    if (seen != STOA_RECLAIM_PARKED) {
        /* release: all reads of the batch before come first */
        atomic_store_explicit(&reclaim->cores[core].seen, now, memory_order_release);
        return;
    }
    /* seq_cst, all four: whoever still found us parked had moved the epoch on before we look at it again, and what it unlinked
     * is not found any more */
    atomic_store(&reclaim->cores[core].seen, now);
    (void)atomic_load(&reclaim->epoch);
}

/* Core: the same, and I read nothing until I pass. */
static inline void stoa_reclaim_park(stoa_reclaim *reclaim, uint32_t core)
{
    atomic_store_explicit(&reclaim->cores[core].seen, STOA_RECLAIM_PARKED, memory_order_release);
}

#endif
