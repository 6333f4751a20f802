/* map64.h - a map from 64-bit keys to 32-bit values that is plain memory: no pointers, fixed capacity, for states.
 *
 *     STOA_MAP64(8192) by_id;                        in a struct; zeroed memory is the empty map
 *     STOA_MAP64_PUT(&by_id, id, index);
 *     uint32_t index = STOA_MAP64_GET(&by_id, id);   0: not there
 *     STOA_MAP64_REMOVE(&by_id, id);
 *
 * Keys and values are not 0. The same operations in the same order give the same bytes. At most three quarters of the
 * slots may be used (STOA_MAP64_MAX); the user sees to it, because what changes a state cannot fail.
 *
 * Open addressing with linear probing; removal shifts what follows back instead of leaving tombstones, so that a map
 * that lives for years is as short as a fresh one (Knuth, The Art of Computer Programming 3, algorithm 6.4R).
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef STOA_BASE_MAP64_H
#define STOA_BASE_MAP64_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "base/hash.h"

/* slots: a power of two. */
#define STOA_MAP64(slots)                                                                                              \
    struct {                                                                                                           \
        uint32_t count, pad_;                                                                                          \
        uint64_t keys[slots];                                                                                          \
        uint32_t values[slots];                                                                                        \
    }
#define STOA_MAP64_MAX(slots)    ((slots) / 4 * 3)
#define STOA_MAP64_SLOTS_(map)   ((uint32_t)(sizeof((map)->values) / sizeof((map)->values[0])))

/* The value of key, 0 when it is not there. */
#define STOA_MAP64_GET(map, key) stoa_map64_get_((map)->keys, (map)->values, STOA_MAP64_SLOTS_(map), (key))
/* Set the value of key, whether it is there or not. */
#define STOA_MAP64_PUT(map, key, value)                                                                                \
    stoa_map64_put_(&(map)->count, (map)->keys, (map)->values, STOA_MAP64_SLOTS_(map), (key), (value))
/* Take key out; false when it is not there. */
#define STOA_MAP64_REMOVE(map, key)                                                                                    \
    stoa_map64_remove_(&(map)->count, (map)->keys, (map)->values, STOA_MAP64_SLOTS_(map), (key))

static inline uint32_t stoa_map64_home_(uint64_t key, uint32_t slots)
{
    return (uint32_t)stoa_mix64(key) & (slots - 1);
}

/* Where key is, or the empty slot that ends the search for it. */
static inline uint32_t stoa_map64_slot_(const uint64_t *keys, uint32_t slots, uint64_t key)
{
    uint32_t i = stoa_map64_home_(key, slots);
    while (keys[i] != 0 && keys[i] != key) {
        i = (i + 1) & (slots - 1);
    }
    return i;
}

static inline uint32_t stoa_map64_get_(const uint64_t *keys, const uint32_t *values, uint32_t slots, uint64_t key)
{
    return key ? values[stoa_map64_slot_(keys, slots, key)] : 0; /* an empty slot's value is 0 */
}

static inline void stoa_map64_put_(uint32_t *count, uint64_t *keys, uint32_t *values, uint32_t slots, uint64_t key,
                                   uint32_t value)
{
    STOA_ASSERT(key != 0 && value != 0);
    uint32_t i = stoa_map64_slot_(keys, slots, key);
    if (keys[i] == 0) {
        STOA_ASSERT(*count < STOA_MAP64_MAX(slots));
        ++*count;
        keys[i] = key;
    }
    values[i] = value;
}

static inline bool stoa_map64_remove_(uint32_t *count, uint64_t *keys, uint32_t *values, uint32_t slots, uint64_t key)
{
    uint32_t mask = slots - 1, hole = stoa_map64_slot_(keys, slots, key);
    if (key == 0 || keys[hole] == 0) { return false; }
    for (uint32_t i = (hole + 1) & mask; keys[i] != 0; i = (i + 1) & mask) {
        uint32_t home = stoa_map64_home_(keys[i], slots);
        if (((i - home) & mask) < ((i - hole) & mask)) { continue; } /* its search does not pass the hole */
        keys[hole] = keys[i];
        values[hole] = values[i];
        hole = i;
    }
    keys[hole] = 0;
    values[hole] = 0;
    --*count;
    return true;
}

#endif
