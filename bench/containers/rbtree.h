/* rbtree.h - a red-black tree as textbooks have it, for comparison: one entry a node, nodes by 32-bit index.
 *
 * Cormen, Leiserson, Rivest, Stein, "Introduction to Algorithms", chapter 13. Node 0 is the sentinel.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef STOA_BENCH_CONTAINERS_RBTREE_H
#define STOA_BENCH_CONTAINERS_RBTREE_H

#include <stdbool.h>
#include <stdint.h>

typedef struct rb_node {
    uint64_t key;
    uint32_t child[2], parent;
    uint32_t value;
    bool red;
} rb_node;

typedef struct rb_tree {
    rb_node *nodes; /* the caller's: capacity + 1, zeroed */
    uint32_t root, top, free;
} rb_tree;

uint32_t rb_get(const rb_tree *tree, uint64_t key);
void rb_put(rb_tree *tree, uint64_t key, uint32_t value);
bool rb_remove(rb_tree *tree, uint64_t key);
/* The first node, the one behind it; 0: none. */
uint32_t rb_first(const rb_tree *tree);
uint32_t rb_next(const rb_tree *tree, uint32_t at);

#endif
