/* side.h - the side store of a simulated disk: what is synced, and behind it what a crash may take. Internal to storage/.
 *
 * Puts and erasures since the last sync wait in a list; what a reader sees is the synced entries with the list applied. A
 * crash keeps a prefix of the list, of a length that the caller draws.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef STOA_STORAGE_SIM_SIDE_H
#define STOA_STORAGE_SIM_SIDE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "storage/journal.h"

/* Bytes that several lists share. */
typedef struct stoa_sim_bytes stoa_sim_bytes;

typedef struct stoa_sim_entry {
    stoa_sim_bytes *key, *value;
} stoa_sim_entry;

/* Entries of one space, in the order of their keys. */
typedef struct stoa_sim_entries {
    stoa_sim_entry *at;
    size_t count, cap;
} stoa_sim_entries;

/* A put, the erasure of a key (value NULL), or of all keys from key up to to (empty to: to the end). */
typedef struct stoa_sim_change {
    stoa_space space;
    bool last; /* of its batch */
    stoa_sim_bytes *key, *value, *to;
} stoa_sim_change;

typedef struct stoa_sim_side {
    stoa_sim_entries now[STOA_SPACES], synced[STOA_SPACES];
    stoa_sim_change *changes; /* since the last sync */
    size_t change_count, change_cap, batches;
} stoa_sim_side;

void stoa_sim_side_free(stoa_sim_side *side);
/* Errors: NOMEM. */
stoa_err stoa_sim_side_put(stoa_sim_side *side, stoa_space space, const stoa_side_entry *entries, uint32_t count);
stoa_err stoa_sim_side_erase(stoa_sim_side *side, stoa_space space, const void *from, uint32_t from_bytes, const void *to,
                             uint32_t to_bytes);
/* All that was put and erased is safe. */
void stoa_sim_side_sync(stoa_sim_side *side);
/* Of side->batches unsynced ones the first so many stay, and are synced. */
void stoa_sim_side_crash(stoa_sim_side *side, size_t kept);
stoa_err stoa_sim_side_scan(const stoa_sim_side *side, stoa_space space, const void *from, uint32_t from_bytes,
                            stoa_err (*visit)(void *context, const stoa_side_entry *entry), void *context);
/* The n-th value of the space, of those there are, is rotten: silently, with the bit-th bit flipped, or found out by
 * whoever scans it. */
void stoa_sim_side_rot(stoa_sim_side *side, stoa_space space, size_t n, uint64_t bit, bool silent);

#endif
