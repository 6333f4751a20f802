/* omap.c - the B+ tree of omap.h.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "base/omap.h"

#include <string.h>

#include "base/error.h"

enum { LEVELS_MAX = 12 };

typedef struct step {
    uint32_t node, slot;
} step;

/* --- in a node */

/* How many of the ascending keys are below key. */
static inline uint32_t below(const uint64_t *keys, uint32_t count, uint64_t key)
{
    uint32_t at = 0;
    while (count > 1) {
        uint32_t half = count / 2;
        at = keys[at + half - 1] < key ? at + half : at;
        count -= half;
    }
    return at + (count && keys[at] < key);
}

/* All lines of a node at once: the search in it would fetch them one after the other. */
static inline void fetch(const stoa_omap_node *node)
{
    const char *line = (const char *)node;
    for (size_t at = 0; at < sizeof *node; at += 64) { __builtin_prefetch(line + at); }
    __builtin_prefetch(line + sizeof *node - 1);
}

/* The slot of the child that key belongs to. */
static inline uint32_t child_slot(const stoa_omap_node *node, uint64_t key)
{
    const uint64_t *keys = node->keys + 1;
    uint32_t count = node->count - 1u, at = below(keys, count, key);
    return at + (at < count && keys[at] == key);
}

/* Make room for count entries at slot; or take them out, and leave zeros behind the last. */
static void shift_up(stoa_omap_node *node, uint32_t slot, uint32_t count)
{
    uint32_t behind = node->count - slot;
    memmove(node->keys + slot + count, node->keys + slot, behind * sizeof node->keys[0]);
    memmove(node->values + slot + count, node->values + slot, behind * sizeof node->values[0]);
    node->count = (uint16_t)(node->count + count);
}

static void shift_down(stoa_omap_node *node, uint32_t slot, uint32_t count)
{
    uint32_t behind = node->count - slot - count;
    memmove(node->keys + slot, node->keys + slot + count, behind * sizeof node->keys[0]);
    memmove(node->values + slot, node->values + slot + count, behind * sizeof node->values[0]);
    node->count = (uint16_t)(node->count - count);
    memset(node->keys + node->count, 0, count * sizeof node->keys[0]);
    memset(node->values + node->count, 0, count * sizeof node->values[0]);
}

static void copy(stoa_omap_node *to, uint32_t at, const stoa_omap_node *from, uint32_t slot, uint32_t count)
{
    memcpy(to->keys + at, from->keys + slot, count * sizeof to->keys[0]);
    memcpy(to->values + at, from->values + slot, count * sizeof to->values[0]);
}

static void insert(stoa_omap_node *node, uint32_t slot, uint64_t key, uint32_t value)
{
    shift_up(node, slot, 1);
    node->keys[slot] = key;
    node->values[slot] = value;
}

/* --- nodes */

static uint32_t node_new(stoa_omap *map, stoa_omap_node *nodes, uint32_t node_count, uint32_t level)
{
    uint32_t at = map->free;
    if (at) {
        map->free = nodes[at].next;
        nodes[at].next = 0;
    } else {
        STOA_ASSERT(map->top + 1 < node_count);
        at = ++map->top;
    }
    nodes[at].level = (uint16_t)level;
    return at;
}

static void node_free(stoa_omap *map, stoa_omap_node *nodes, uint32_t at)
{
    memset(&nodes[at], 0, sizeof nodes[at]);
    nodes[at].next = map->free;
    map->free = at;
}

/* --- looking */

/* The leaf that key belongs to, 0: the map is empty. */
static uint32_t leaf_of(const stoa_omap *map, const stoa_omap_node *nodes, uint64_t key)
{
    uint32_t at = map->root;
    while (nodes[at].level) {
        at = nodes[at].values[child_slot(&nodes[at], key)];
        fetch(&nodes[at]);
    }
    return at;
}

uint32_t stoa_omap_get(const stoa_omap *map, const stoa_omap_node *nodes, uint64_t key)
{
    const stoa_omap_node *leaf = &nodes[leaf_of(map, nodes, key)]; /* node 0 is empty */
    uint32_t slot = below(leaf->keys, leaf->count, key);
    return slot < leaf->count && leaf->keys[slot] == key ? leaf->values[slot] : 0;
}

static void take_entry(const stoa_omap_node *nodes, stoa_omap_at *it)
{
    it->key = it->node ? nodes[it->node].keys[it->slot] : 0;
    it->value = it->node ? nodes[it->node].values[it->slot] : 0;
}

stoa_omap_at stoa_omap_from(const stoa_omap *map, const stoa_omap_node *nodes, uint64_t key)
{
    stoa_omap_at it = {.node = leaf_of(map, nodes, key)};
    it.slot = below(nodes[it.node].keys, nodes[it.node].count, key);
    if (it.node && it.slot == nodes[it.node].count) {
        it.node = nodes[it.node].next;
        it.slot = 0;
    }
    take_entry(nodes, &it);
    return it;
}

stoa_omap_at stoa_omap_to(const stoa_omap *map, const stoa_omap_node *nodes, uint64_t key)
{
    stoa_omap_at it = {.node = leaf_of(map, nodes, key)};
    const stoa_omap_node *leaf = &nodes[it.node];
    it.slot = below(leaf->keys, leaf->count, key);
    bool exact = it.slot < leaf->count && leaf->keys[it.slot] == key;
    if (it.node && !exact) {
        stoa_omap_prev(nodes, &it);
    } else {
        take_entry(nodes, &it);
    }
    return it;
}

void stoa_omap_next(const stoa_omap_node *nodes, stoa_omap_at *it)
{
    if (++it->slot >= nodes[it->node].count) {
        it->node = nodes[it->node].next;
        it->slot = 0;
    }
    take_entry(nodes, it);
}

void stoa_omap_prev(const stoa_omap_node *nodes, stoa_omap_at *it)
{
    if (it->slot == 0) {
        it->node = nodes[it->node].prev;
        it->slot = nodes[it->node].count;
    }
    if (it->node) { it->slot--; }
    take_entry(nodes, it);
}

/* --- changing */

/* As leaf_of, with the way: steps[level] is the node there and the slot taken in it. */
static void descend(const stoa_omap *map, const stoa_omap_node *nodes, uint64_t key, step steps[LEVELS_MAX])
{
    uint32_t at = map->root;
    for (uint32_t level = nodes[at].level; level; level--) {
        steps[level] = (step){at, child_slot(&nodes[at], key)};
        at = nodes[at].values[steps[level].slot];
        fetch(&nodes[at]);
    }
    steps[0] = (step){at, below(nodes[at].keys, nodes[at].count, key)};
}

/* Put an entry into a full node, which becomes two; returns the second. */
static uint32_t split(stoa_omap *map, stoa_omap_node *nodes, uint32_t node_count, step at, uint64_t key, uint32_t value)
{
    stoa_omap_node *left = &nodes[at.node];
    uint32_t second = node_new(map, nodes, node_count, left->level);
    stoa_omap_node *right = &nodes[second];
    bool appends = left->level == 0 && left->next == 0 && at.slot == STOA_OMAP_FANOUT; /* ascending keys fill their leaves */
    uint32_t keep = appends ? STOA_OMAP_FANOUT : STOA_OMAP_LEAST;
    copy(right, 0, left, keep, STOA_OMAP_FANOUT - keep);
    right->count = (uint16_t)(STOA_OMAP_FANOUT - keep);
    shift_down(left, keep, STOA_OMAP_FANOUT - keep);
    if (at.slot < keep) {
        insert(left, at.slot, key, value);
    } else {
        insert(right, at.slot - keep, key, value);
    }
    if (left->level == 0) {
        right->next = left->next;
        right->prev = at.node;
        left->next = second;
        if (right->next) { nodes[right->next].prev = second; }
    }
    return second;
}

static void grow(stoa_omap *map, stoa_omap_node *nodes, uint32_t node_count, uint32_t second)
{
    uint32_t first = map->root, level = nodes[first].level + 1u;
    STOA_ASSERT(level < LEVELS_MAX);
    map->root = node_new(map, nodes, node_count, level);
    insert(&nodes[map->root], 0, 0, first);
    insert(&nodes[map->root], 1, nodes[second].keys[0], second);
}

void stoa_omap_put(stoa_omap *map, stoa_omap_node *nodes, uint32_t node_count, uint64_t key, uint32_t value)
{
    step steps[LEVELS_MAX];
    STOA_ASSERT(value != 0);
    if (!map->root) { map->root = node_new(map, nodes, node_count, 0); }
    descend(map, nodes, key, steps);
    stoa_omap_node *leaf = &nodes[steps[0].node];
    if (steps[0].slot < leaf->count && leaf->keys[steps[0].slot] == key) {
        leaf->values[steps[0].slot] = value;
        return;
    }
    map->count++;
    uint32_t top = nodes[map->root].level;
    for (uint32_t level = 0; level <= top; level++) {
        step at = steps[level];
        if (nodes[at.node].count < STOA_OMAP_FANOUT) {
            insert(&nodes[at.node], at.slot, key, value);
            return;
        }
        value = split(map, nodes, node_count, at, key, value);
        key = nodes[value].keys[0];
        if (level < top) { steps[level + 1].slot++; } /* behind the one that was split */
    }
    grow(map, nodes, node_count, value);
}

/* One of two neighbours has too few entries: they become one, or share theirs. True: the second one is gone. */
static bool balance(stoa_omap *map, stoa_omap_node *nodes, uint32_t first, uint32_t second)
{
    stoa_omap_node *left = &nodes[first], *right = &nodes[second];
    uint32_t sum = left->count + right->count;
    if (sum <= STOA_OMAP_FANOUT) {
        copy(left, left->count, right, 0, right->count);
        left->count = (uint16_t)sum;
        if (left->level == 0) {
            left->next = right->next;
            if (left->next) { nodes[left->next].prev = first; }
        }
        node_free(map, nodes, second);
        return true;
    }
    uint32_t keep = sum / 2;
    if (left->count > keep) {
        uint32_t moved = left->count - keep;
        shift_up(right, 0, moved);
        copy(right, 0, left, keep, moved);
        shift_down(left, keep, moved);
    } else {
        uint32_t moved = keep - left->count;
        copy(left, left->count, right, 0, moved);
        left->count = (uint16_t)keep;
        shift_down(right, 0, moved);
    }
    return false;
}

static void shrink(stoa_omap *map, stoa_omap_node *nodes)
{
    uint32_t root = map->root;
    if (nodes[root].level && nodes[root].count == 1) {
        map->root = nodes[root].values[0];
        node_free(map, nodes, root);
    } else if (nodes[root].count == 0) {
        map->root = 0;
        node_free(map, nodes, root);
    }
}

bool stoa_omap_remove(stoa_omap *map, stoa_omap_node *nodes, uint64_t key)
{
    step steps[LEVELS_MAX];
    descend(map, nodes, key, steps);
    stoa_omap_node *leaf = &nodes[steps[0].node];
    if (steps[0].slot >= leaf->count || leaf->keys[steps[0].slot] != key) { return false; }
    map->count--;
    shift_down(leaf, steps[0].slot, 1);
    uint32_t top = nodes[map->root].level;
    for (uint32_t level = 0; level < top && nodes[steps[level].node].count < STOA_OMAP_LEAST; level++) {
        stoa_omap_node *parent = &nodes[steps[level + 1].node];
        uint32_t right = steps[level + 1].slot ? steps[level + 1].slot : 1; /* of the two, the one with a key that bounds it */
        uint32_t second = parent->values[right];
        if (balance(map, nodes, parent->values[right - 1], second)) {
            shift_down(parent, right, 1);
        } else {
            parent->keys[right] = nodes[second].keys[0];
            break;
        }
    }
    shrink(map, nodes);
    return true;
}
