/* reclaim.c - see reclaim.h.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "runtime/reclaim.h"

#include <stdlib.h>

void stoa_reclaim_init(stoa_reclaim *reclaim)
{
    atomic_store(&reclaim->epoch, 1);
    for (uint32_t i = 0; i < STOA_CORES_MAX; i++) { stoa_reclaim_park(reclaim, i); }
}

static void free_first(stoa_reclaim *reclaim)
{
    stoa_retired *block = reclaim->first;
    reclaim->first = block->next;
    reclaim->retired_bytes -= block->size_bytes;
    stoa_reclaim_free(reclaim, block);
}

void stoa_reclaim_deinit(stoa_reclaim *reclaim)
{
    while (reclaim->first) { free_first(reclaim); }
}

void *stoa_reclaim_new(stoa_reclaim *reclaim, size_t size_bytes)
{
    stoa_retired *block = calloc(1, size_bytes);
    if (!block) { return NULL; }
    block->size_bytes = size_bytes;
    reclaim->used_bytes += size_bytes;
    return block;
}

void stoa_reclaim_free(stoa_reclaim *reclaim, void *block)
{
    if (!block) { return; }
    reclaim->used_bytes -= ((stoa_retired *)block)->size_bytes;
    free(block);
}

/* The lowest epoch that a core may have read in; PARKED when all are parked. */
static uint64_t oldest_reader(stoa_reclaim *reclaim)
{
    uint64_t oldest = STOA_RECLAIM_PARKED;
    for (uint32_t i = 0; i < STOA_CORES_MAX; i++) {
        /* acquire: that core's reads came before; seq_cst: see stoa_reclaim_pass */
        uint64_t seen = atomic_load(&reclaim->cores[i].seen);
        if (seen < oldest) { oldest = seen; }
    }
    return oldest;
}

bool stoa_reclaim_room(stoa_reclaim *reclaim)
{
    if (!reclaim->first) { return true; }
    uint64_t oldest = oldest_reader(reclaim);
    while (reclaim->first && reclaim->first->stamp <= oldest) { free_first(reclaim); }
    return reclaim->retired_bytes <= STOA_RETIRED_MAX;
}

void stoa_reclaim_retire(stoa_reclaim *reclaim, void *unlinked)
{
    stoa_retired *block = unlinked;
    if (!block) { return; }
    block->next = NULL;
    /* after the unlinking, which a core that passes with this epoch sees */
    block->stamp = atomic_fetch_add(&reclaim->epoch, 1) + 1;
    if (reclaim->first) {
        reclaim->last->next = block;
    } else {
        reclaim->first = block;
    }
    reclaim->last = block;
    reclaim->retired_bytes += block->size_bytes;
    (void)stoa_reclaim_room(reclaim);
}
