/* omap_check.h - whether an ordered map is as omap.h says: order, fill, levels, chains, counts, free nodes zero.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef TESTS_OMAP_CHECK_H
#define TESTS_OMAP_CHECK_H

#include <string.h>

#include "base/error.h"
#include "base/omap.h"

typedef struct omap_seen {
    uint32_t nodes, entries;
    uint32_t last_leaf;
    uint64_t last_key;
} omap_seen;

/* low: no key of the subtree is below; high, where bounded: all are below. */
static inline void omap_check_node(const stoa_omap *map, const stoa_omap_node *nodes, uint32_t at, uint64_t low, uint64_t high,
                                   bool bounded, omap_seen *seen)
{
    const stoa_omap_node *node = &nodes[at];
    bool is_last_leaf = !node->level && !node->next;
    STOA_ASSERT(at > 0 && at <= map->top && node->count <= STOA_OMAP_FANOUT);
    STOA_ASSERT(at == map->root || is_last_leaf || node->count >= STOA_OMAP_LEAST);
    STOA_ASSERT(node->count >= (node->level ? 2 : 1));
    seen->nodes++;
    for (uint32_t i = 0; i < STOA_OMAP_FANOUT; i++) {
        if (i >= node->count) {
            STOA_ASSERT(!node->keys[i] && !node->values[i]);
            continue;
        }
        uint64_t from = i || !node->level ? node->keys[i] : low;
        STOA_ASSERT(from >= low && !(bounded && from >= high) && node->values[i]);
        STOA_ASSERT(i == 0 || node->keys[i] > node->keys[i - 1]);
        if (node->level) {
            bool more = i + 1 < node->count;
            STOA_ASSERT(nodes[node->values[i]].level + 1 == node->level);
            omap_check_node(map, nodes, node->values[i], from, more ? node->keys[i + 1] : high, more || bounded, seen);
            continue;
        }
        STOA_ASSERT(seen->entries == 0 || node->keys[i] > seen->last_key);
        seen->last_key = node->keys[i];
        seen->entries++;
    }
    if (node->level) {
        STOA_ASSERT(!node->next && !node->prev);
        return;
    }
    STOA_ASSERT(node->prev == seen->last_leaf && (!node->prev || nodes[node->prev].next == at));
    seen->last_leaf = at;
}

static inline void omap_check(const stoa_omap *map, const stoa_omap_node *nodes, uint32_t node_count)
{
    omap_seen seen = {0};
    uint32_t unused = 0;
    STOA_ASSERT(map->top < node_count);
    if (map->root) { omap_check_node(map, nodes, map->root, 0, 0, false, &seen); }
    STOA_ASSERT(seen.entries == map->count && (!seen.last_leaf || !nodes[seen.last_leaf].next));
    for (uint32_t at = map->free; at; at = nodes[at].next, unused++) {
        stoa_omap_node free = {.next = nodes[at].next};
        STOA_ASSERT(memcmp(&free, &nodes[at], sizeof free) == 0);
    }
    STOA_ASSERT(seen.nodes + unused == map->top);
}

#endif
