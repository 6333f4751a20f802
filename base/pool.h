/* pool.h - items by index from a fixed array: no pointers, for states.
 *
 *     STOA_POOL(order, 1000) orders;                in a struct; zeroed memory is the empty pool
 *     uint32_t index = STOA_POOL_TAKE(&orders);     1 .. 1000; orders.at[index] is zero
 *     STOA_POOL_GIVE(&orders, index);
 *
 * Index 0 is nobody. Given items are zeroed and taken again last in, first out; the same operations in the same order
 * give the same bytes. The user checks orders.pool.used against the capacity first, because what changes a state
 * cannot fail.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef STOA_BASE_POOL_H
#define STOA_BASE_POOL_H

#include <stdint.h>
#include <string.h>

#include "base/error.h"

typedef struct stoa_pool {
    uint32_t used; /* items that are taken */
    uint32_t top;  /* highest index ever taken */
    uint32_t free; /* first of the free list, 0: empty */
    uint32_t pad_;
} stoa_pool;

#define STOA_POOL(item, cap)                                                                                           \
    struct {                                                                                                           \
        stoa_pool pool;                                                                                                \
        uint32_t links[(cap) + 1];                                                                                     \
        item at[(cap) + 1];                                                                                            \
    }
#define STOA_POOL_CAP_(pool_) ((uint32_t)(sizeof((pool_)->links) / sizeof((pool_)->links[0])) - 1)

#define STOA_POOL_TAKE(pool_) stoa_pool_take_(&(pool_)->pool, (pool_)->links, STOA_POOL_CAP_(pool_))
#define STOA_POOL_GIVE(pool_, index)                                                                                   \
    stoa_pool_give_(&(pool_)->pool, (pool_)->links, (pool_)->at, sizeof((pool_)->at[0]), (index))

static inline uint32_t stoa_pool_take_(stoa_pool *pool, const uint32_t *links, uint32_t cap)
{
    STOA_ASSERT(pool->used < cap);
    pool->used++;
    if (pool->free == 0) { return ++pool->top; }
    uint32_t index = pool->free;
    pool->free = links[index];
    return index;
}

static inline void stoa_pool_give_(stoa_pool *pool, uint32_t *links, void *items, size_t item_bytes, uint32_t index)
{
    STOA_ASSERT(index > 0 && index <= pool->top && pool->used > 0);
    memset((unsigned char *)items + index * item_bytes, 0, item_bytes);
    links[index] = pool->free;
    pool->free = index;
    pool->used--;
}

#endif
