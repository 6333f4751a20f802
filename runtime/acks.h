/* acks.h - how far a shard is committed: who has acknowledged what, and what its durability asks of them. Internal to runtime/.
 *
 * Each source acknowledges a position, and with it all before: this process's memory, this machine's disk, copies on other
 * machines. A shard is committed up to where enough of them are; nothing else decides that. There are no copies yet: shards
 * that promise `replica` or `quorum` cannot be opened (stoa_shard_open: UNSUPPORTED).
 *
 *     none, memory   applied here
 *     disk           synced here
 *     replica        synced here, and by one copy
 *     quorum         synced by more than half of this machine and all copies
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef STOA_RUNTIME_ACKS_H
#define STOA_RUNTIME_ACKS_H

#include <stdint.h>

#include "base/durability.h"

enum { STOA_COPIES_MAX = 8 };

typedef struct stoa_acks {
    uint64_t memory, disk;
    uint64_t copies[STOA_COPIES_MAX]; /* synced by each */
    uint32_t copy_count;
} stoa_acks;

/* The highest position that at least `wanted` of this disk and the copies have; 0: they are too few. */
static inline uint64_t stoa_acks_of(const stoa_acks *acks, uint32_t wanted)
{
    uint64_t best = 0;
    for (uint32_t i = 0; i <= acks->copy_count; i++) {
        uint64_t position = i ? acks->copies[i - 1] : acks->disk;
        uint32_t have = acks->disk >= position;
        for (uint32_t k = 0; k < acks->copy_count; k++) { have += acks->copies[k] >= position; }
        if (have >= wanted && position > best) { best = position; }
    }
    return best;
}

static inline uint64_t stoa_acks_committed(const stoa_acks *acks, stoa_durability promised)
{
    if (promised <= stoa_durability_MEMORY) { return acks->memory; }
    if (promised == stoa_durability_DISK) { return acks->disk; }
    if (promised == stoa_durability_QUORUM) { return stoa_acks_of(acks, (acks->copy_count + 1) / 2 + 1); }
    uint64_t copy = 0;
    for (uint32_t i = 0; i < acks->copy_count; i++) { copy = acks->copies[i] > copy ? acks->copies[i] : copy; }
    return copy < acks->disk ? copy : acks->disk;
}

#endif
