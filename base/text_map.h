/* text_map.h - a map from short texts to 32-bit values that is plain memory: no pointers, fixed capacity, for states.
 *
 *     STOA_TEXT_MAP(stoa_text30, 8192) by_name;              in a struct; zeroed memory is the empty map
 *     STOA_TEXT_MAP_PUT(&by_name, &in->name, index);
 *     uint32_t index = STOA_TEXT_MAP_GET(&by_name, &in->name);   0: not there
 *     STOA_TEXT_MAP_REMOVE(&by_name, &in->name);
 *
 * Keys are of any one stoa_textN, and not empty; values are not 0. The same operations in the same order give the same bytes.
 * At most three quarters of the slots may be used (STOA_TEXT_MAP_MAX); the user sees to it, because what changes a state cannot
 * fail.
 *
 * As map64.h it is, with the texts in the slots: open addressing, and removal without tombstones.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef STOA_BASE_TEXT_MAP_H
#define STOA_BASE_TEXT_MAP_H

#include "base/api.h"
#include "base/text.h"

STOA_API_BEGIN

/* slots: a power of two. */
#define STOA_TEXT_MAP(text, slots)                                                                                     \
    struct {                                                                                                           \
        uint32_t count, pad_;                                                                                          \
        uint32_t values[slots];                                                                                        \
        text keys[slots];                                                                                              \
    }
#define STOA_TEXT_MAP_MAX(slots) ((slots) / 4 * 3)
#define STOA_TEXT_MAP_ALL_(map)                                                                                        \
    (map)->values, (map)->keys, (uint32_t)sizeof((map)->keys[0]), (uint32_t)(sizeof((map)->values) / sizeof((map)->values[0]))
/* key, which must be of the map's type. */
#define STOA_TEXT_MAP_KEY_(map, key) (1 ? (key) : &(map)->keys[0])

/* The value of key, 0 when it is not there. */
#define STOA_TEXT_MAP_GET(map, key) stoa_text_map_get(STOA_TEXT_MAP_ALL_(map), STOA_TEXT_MAP_KEY_(map, key))
/* Set the value of key, whether it is there or not. */
#define STOA_TEXT_MAP_PUT(map, key, value)                                                                             \
    stoa_text_map_put(&(map)->count, STOA_TEXT_MAP_ALL_(map), STOA_TEXT_MAP_KEY_(map, key), (value))
/* Take key out; false when it is not there. */
#define STOA_TEXT_MAP_REMOVE(map, key)                                                                                 \
    stoa_text_map_remove(&(map)->count, STOA_TEXT_MAP_ALL_(map), STOA_TEXT_MAP_KEY_(map, key))

uint32_t stoa_text_map_get(const uint32_t *values, const void *keys, uint32_t slot_bytes, uint32_t slots, const void *key);
void stoa_text_map_put(uint32_t *count, uint32_t *values, void *keys, uint32_t slot_bytes, uint32_t slots, const void *key,
                       uint32_t value);
bool stoa_text_map_remove(uint32_t *count, uint32_t *values, void *keys, uint32_t slot_bytes, uint32_t slots, const void *key);

STOA_API_END

#endif
