/* rbtree.c - the tree of rbtree.h. side 0 is left, 1 is right.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "bench/containers/rbtree.h"

static uint32_t find(const rb_tree *tree, uint64_t key)
{
    uint32_t at = tree->root;
    while (at && tree->nodes[at].key != key) { at = tree->nodes[at].child[tree->nodes[at].key < key]; }
    return at;
}

uint32_t rb_get(const rb_tree *tree, uint64_t key)
{
    return tree->nodes[find(tree, key)].value;
}

static int side_of(const rb_tree *tree, uint32_t at)
{
    return tree->nodes[tree->nodes[at].parent].child[1] == at;
}

/* Put `with` where `at` hangs. */
static void transplant(rb_tree *tree, uint32_t at, uint32_t with)
{
    uint32_t parent = tree->nodes[at].parent;
    if (parent) {
        tree->nodes[parent].child[side_of(tree, at)] = with;
    } else {
        tree->root = with;
    }
    tree->nodes[with].parent = parent;
}

/* at goes down to that side, its child of the other side takes its place. */
static void rotate(rb_tree *tree, uint32_t at, int side)
{
    rb_node *nodes = tree->nodes;
    uint32_t up = nodes[at].child[!side], inner = nodes[up].child[side];
    nodes[at].child[!side] = inner;
    if (inner) { nodes[inner].parent = at; }
    transplant(tree, at, up);
    nodes[up].child[side] = at;
    nodes[at].parent = up;
}

static void mend_put(rb_tree *tree, uint32_t at)
{
    rb_node *nodes = tree->nodes;
    while (nodes[nodes[at].parent].red) {
        uint32_t parent = nodes[at].parent, grand = nodes[parent].parent;
        int side = side_of(tree, parent);
        uint32_t uncle = nodes[grand].child[!side];
        if (nodes[uncle].red) {
            nodes[parent].red = nodes[uncle].red = false;
            nodes[grand].red = true;
            at = grand;
            continue;
        }
        if (side_of(tree, at) != side) {
            at = parent;
            rotate(tree, at, side);
            parent = nodes[at].parent;
        }
        nodes[parent].red = false;
        nodes[grand].red = true;
        rotate(tree, grand, !side);
    }
    nodes[tree->root].red = false;
}

void rb_put(rb_tree *tree, uint64_t key, uint32_t value)
{
    rb_node *nodes = tree->nodes;
    uint32_t parent = 0, at = tree->root;
    while (at && nodes[at].key != key) {
        parent = at;
        at = nodes[at].child[nodes[at].key < key];
    }
    if (at) {
        nodes[at].value = value;
        return;
    }
    at = tree->free;
    if (at) {
        tree->free = nodes[at].parent;
    } else {
        at = ++tree->top;
    }
    nodes[at] = (rb_node){.key = key, .value = value, .parent = parent, .red = true};
    if (parent) {
        nodes[parent].child[nodes[parent].key < key] = at;
    } else {
        tree->root = at;
    }
    mend_put(tree, at);
}

static uint32_t lowest(const rb_tree *tree, uint32_t at)
{
    while (tree->nodes[at].child[0]) { at = tree->nodes[at].child[0]; }
    return at;
}

static void mend_remove(rb_tree *tree, uint32_t at)
{
    rb_node *nodes = tree->nodes;
    while (at != tree->root && !nodes[at].red) {
        uint32_t parent = nodes[at].parent;
        int side = nodes[parent].child[1] == at;
        uint32_t sibling = nodes[parent].child[!side];
        if (nodes[sibling].red) {
            nodes[sibling].red = false;
            nodes[parent].red = true;
            rotate(tree, parent, side);
            sibling = nodes[parent].child[!side];
        }
        uint32_t *children = nodes[sibling].child;
        if (!nodes[children[0]].red && !nodes[children[1]].red) {
            nodes[sibling].red = true;
            at = parent;
            continue;
        }
        if (!nodes[children[!side]].red) {
            nodes[children[side]].red = false;
            nodes[sibling].red = true;
            rotate(tree, sibling, !side);
            sibling = nodes[parent].child[!side];
        }
        nodes[sibling].red = nodes[parent].red;
        nodes[parent].red = nodes[nodes[sibling].child[!side]].red = false;
        rotate(tree, parent, side);
        at = tree->root;
    }
    nodes[at].red = false;
}

bool rb_remove(rb_tree *tree, uint64_t key)
{
    rb_node *nodes = tree->nodes;
    uint32_t at = find(tree, key), moved;
    if (!at) { return false; }
    bool red = nodes[at].red;
    if (!nodes[at].child[0] || !nodes[at].child[1]) {
        moved = nodes[at].child[nodes[at].child[0] == 0];
        transplant(tree, at, moved);
    } else {
        uint32_t next = lowest(tree, nodes[at].child[1]);
        red = nodes[next].red;
        moved = nodes[next].child[1];
        if (nodes[next].parent == at) {
            nodes[moved].parent = next;
        } else {
            transplant(tree, next, moved);
            nodes[next].child[1] = nodes[at].child[1];
            nodes[nodes[next].child[1]].parent = next;
        }
        transplant(tree, at, next);
        nodes[next].child[0] = nodes[at].child[0];
        nodes[nodes[next].child[0]].parent = next;
        nodes[next].red = nodes[at].red;
    }
    if (!red) { mend_remove(tree, moved); }
    nodes[0] = (rb_node){0};
    nodes[at] = (rb_node){.parent = tree->free};
    tree->free = at;
    return true;
}

uint32_t rb_first(const rb_tree *tree)
{
    return tree->root ? lowest(tree, tree->root) : 0;
}

uint32_t rb_next(const rb_tree *tree, uint32_t at)
{
    if (tree->nodes[at].child[1]) { return lowest(tree, tree->nodes[at].child[1]); }
    while (tree->nodes[at].parent && side_of(tree, at)) { at = tree->nodes[at].parent; }
    return tree->nodes[at].parent;
}
