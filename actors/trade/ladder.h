/* ladder.h - the resting orders of one symbol in price-time order: a price ladder that is plain memory.
 *
 * Per side a bitmap of 64 x 64 x 64 x 64 ticks says which prices have orders (best and next in at most seven steps),
 * a map leads from a price to its level, a level is a first-in-first-out list of orders. A map leads from an order's
 * id to it.
 *
 * No pointers; zeroed memory is the empty ladder; the same operations give the same bytes. Looking never changes
 * anything. Limits: prices 1 .. 2^24 - 1 ticks, 131,072 orders, 65,536 levels a side, quantities of a level up to
 * 2^63 - 1 lots.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef STOA_ACTORS_TRADE_LADDER_H
#define STOA_ACTORS_TRADE_LADDER_H

#include <stdbool.h>
#include <stdint.h>

#include "actors/trade/trade_msgs.h"
#include "base/map64.h"
#include "base/pool.h"

enum {
    TRADE_LADDER_TICKS = TRADE_PRICE_TICKS_MAX + 1,
    TRADE_LADDER_ORDERS = 131072,
    TRADE_LADDER_LEVELS = 65536,
    TRADE_LADDER_BITMAP_WORDS = (1 << 18) + (1 << 12) + (1 << 6) + 1,
};

typedef struct trade_resting {
    uint64_t order_id;
    int64_t qty_lots;
    uint32_t price_ticks, account;
    uint32_t next, prev; /* in the level; behind and before it, 0: none */
    trade_side side;
    uint8_t pad_[7];
} trade_resting;

typedef struct trade_level {
    int64_t qty_lots;
    uint32_t price_ticks, orders;
    uint32_t head, tail;
} trade_level;

typedef struct trade_ladder_side {
    uint64_t bitmap[TRADE_LADDER_BITMAP_WORDS];
    STOA_MAP64(2 * TRADE_LADDER_LEVELS) by_price;
    STOA_POOL(trade_level, TRADE_LADDER_LEVELS) levels;
} trade_ladder_side;

typedef struct trade_ladder {
    STOA_MAP64(2 * TRADE_LADDER_ORDERS) by_id;
    STOA_POOL(trade_resting, TRADE_LADDER_ORDERS) orders;
    trade_ladder_side sides[trade_side_COUNT];
} trade_ladder;

/* The best price of a side, and the next worse one that has orders; 0 when there is none. */
uint32_t trade_ladder_best(const trade_ladder *ladder, trade_side side);
uint32_t trade_ladder_worse(const trade_ladder *ladder, trade_side side, uint32_t price_ticks);

/* The level at a price, the order with an id; NULL when there is none. Valid until the ladder changes. */
const trade_level *trade_ladder_level(const trade_ladder *ladder, trade_side side, uint32_t price_ticks);
const trade_resting *trade_ladder_find(const trade_ladder *ladder, uint64_t order_id);

/* Whether one more order may rest there, if freed of the present ones were gone. */
bool trade_ladder_room(const trade_ladder *ladder, trade_side side, uint32_t price_ticks, uint32_t freed);

/* Rest an order at the end of its level. There is room, its id is not 0 and not known, qty_lots > 0, price and
 * quantity are within the limits; next and prev are not looked at. */
void trade_ladder_add(trade_ladder *ladder, const trade_resting *order);

/* Take qty_lots (1 .. what is left) from the order with that id, which exists; an order without a rest is gone. */
void trade_ladder_reduce(trade_ladder *ladder, uint64_t order_id, int64_t qty_lots);

/* A walk over a side in price-time order:
 *     for (trade_cursor at = trade_cursor_begin(ladder, side); at.order; trade_cursor_next(&at)) ... */
typedef struct trade_cursor {
    const trade_ladder *ladder;
    const trade_level *level;
    const trade_resting *order; /* NULL: behind the last */
    trade_side side;
} trade_cursor;
trade_cursor trade_cursor_begin(const trade_ladder *ladder, trade_side side);
void trade_cursor_next(trade_cursor *cursor);

#endif
