/* omap.h - an ordered map from 64-bit keys to 32-bit values that is plain memory: no pointers, fixed capacity, for states.
 *
 *     STOA_OMAP(100000) by_time;                              in a struct; zeroed memory is the empty map
 *     STOA_OMAP_PUT(&by_time, due_ns, index);
 *     uint32_t index = STOA_OMAP_GET(&by_time, due_ns);       0: not there
 *     STOA_OMAP_REMOVE(&by_time, due_ns);
 *     for (stoa_omap_at it = STOA_OMAP_FROM(&by_time, now_ns); it.value; STOA_OMAP_NEXT(&by_time, &it)) { ... it.key ... }
 *
 * Any key, values are not 0. The same operations in the same order give the same bytes. The user looks at STOA_OMAP_COUNT before
 * another entry than the capacity has room for, because what changes a state cannot fail.
 *
 * A B+ tree (Bayer and McCreight, "Organization and maintenance of large ordered indices", 1972; Comer, "The ubiquitous B-tree",
 * 1979): nodes of 256 bytes in one array, named by their index; entries in the leaves, which are chained both ways. Every node
 * but the root is at least half full, the last leaf excepted, so that the number of nodes follows from the capacity: 28 bytes
 * an entry in the worst case. Keys that come in ascending order fill leaves to the brim: 14 bytes.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef STOA_BASE_OMAP_H
#define STOA_BASE_OMAP_H

#include <stdbool.h>
#include <stdint.h>

#include "base/api.h"

STOA_API_BEGIN

enum { STOA_OMAP_FANOUT = 20, STOA_OMAP_LEAST = STOA_OMAP_FANOUT / 2 };

/* In a leaf keys are entries. Otherwise values are nodes, and each key bounds its node's from below; the first is not looked at. */
typedef struct stoa_omap_node {
    uint16_t count, level; /* level 0: a leaf */
    uint32_t next, prev;   /* leaves: 0 at the ends; next also of the free nodes */
    uint32_t pad_;
    uint64_t keys[STOA_OMAP_FANOUT];
    uint32_t values[STOA_OMAP_FANOUT];
} stoa_omap_node;

/* Node 0 is nobody. */
typedef struct stoa_omap {
    uint32_t count; /* entries */
    uint32_t root, top, free; /* nodes: top the highest ever used, free the first to be used again */
} stoa_omap;

/* Nodes that so many entries may take: leaves and a ninth of them above, one more a level. */
#define STOA_OMAP_NODES(cap) ((cap) / STOA_OMAP_LEAST + (cap) / (STOA_OMAP_LEAST * 9) + 12)
#define STOA_OMAP(cap)                                                                                                 \
    struct {                                                                                                           \
        stoa_omap map;                                                                                                 \
        stoa_omap_node nodes[STOA_OMAP_NODES(cap)];                                                                    \
    }
#define STOA_OMAP_ALL_(map_)   (map_)->nodes, (uint32_t)(sizeof((map_)->nodes) / sizeof((map_)->nodes[0]))
#define STOA_OMAP_COUNT(map_)  ((map_)->map.count)

/* An entry. value 0: there is none, behind the last or before the first. Valid until the map changes. */
typedef struct stoa_omap_at {
    uint64_t key;
    uint32_t value;
    uint32_t node, slot;
} stoa_omap_at;

/* The value of key, 0 when it is not there. */
#define STOA_OMAP_GET(map_, key)        stoa_omap_get(&(map_)->map, (map_)->nodes, (key))
/* Set the value of key, whether it is there or not. There are fewer entries than the capacity, or it is. */
#define STOA_OMAP_PUT(map_, key, value) stoa_omap_put(&(map_)->map, STOA_OMAP_ALL_(map_), (key), (value))
/* Take key out; false when it is not there. */
#define STOA_OMAP_REMOVE(map_, key)     stoa_omap_remove(&(map_)->map, (map_)->nodes, (key))
/* The first entry and the last; the first whose key is not below key; the last whose key is not above it. */
#define STOA_OMAP_FIRST(map_)           stoa_omap_from(&(map_)->map, (map_)->nodes, 0)
#define STOA_OMAP_LAST(map_)            stoa_omap_to(&(map_)->map, (map_)->nodes, UINT64_MAX)
#define STOA_OMAP_FROM(map_, key)       stoa_omap_from(&(map_)->map, (map_)->nodes, (key))
#define STOA_OMAP_TO(map_, key)         stoa_omap_to(&(map_)->map, (map_)->nodes, (key))
/* The one behind it, before it; there is one at it. */
#define STOA_OMAP_NEXT(map_, it)        stoa_omap_next((map_)->nodes, (it))
#define STOA_OMAP_PREV(map_, it)        stoa_omap_prev((map_)->nodes, (it))

uint32_t stoa_omap_get(const stoa_omap *map, const stoa_omap_node *nodes, uint64_t key);
void stoa_omap_put(stoa_omap *map, stoa_omap_node *nodes, uint32_t node_count, uint64_t key, uint32_t value);
bool stoa_omap_remove(stoa_omap *map, stoa_omap_node *nodes, uint64_t key);
stoa_omap_at stoa_omap_from(const stoa_omap *map, const stoa_omap_node *nodes, uint64_t key);
stoa_omap_at stoa_omap_to(const stoa_omap *map, const stoa_omap_node *nodes, uint64_t key);
void stoa_omap_next(const stoa_omap_node *nodes, stoa_omap_at *it);
void stoa_omap_prev(const stoa_omap_node *nodes, stoa_omap_at *it);

STOA_API_END

#endif
