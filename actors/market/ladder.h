/* ladder.h - one side of a mirrored book: a sorted array of price levels, the best at the end.
 *
 * Most changes happen near the best price, so an insertion moves few levels. The capacity is fixed: in a full ladder
 * the worst level makes room for a better one. No pointers, no allocation.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef STOA_ACTORS_MARKET_LADDER_H
#define STOA_ACTORS_MARKET_LADDER_H

#include <stdbool.h>
#include <stdint.h>

#include "actors/market/feed_msgs.h"

enum { MARKET_LADDER_MAX = 8192 };

typedef struct market_ladder {
    uint32_t count;
    uint32_t descending; /* 0: bids, the highest price is the best; 1: asks */
    market_level at[MARKET_LADDER_MAX];
} market_ladder;

/* Forget all levels. side: trade_side_BUY for bids. */
void market_ladder_clear(market_ladder *ladder, trade_side side);

/* The level at price has now this quantity; 0 removes it, and removing what is not there is no change. Returns false
 * when a level (the worst, maybe this one) was lost because the ladder is full. Core: owner. */
bool market_ladder_set(market_ladder *ladder, stoa_decimal price, stoa_decimal qty);

/* The best level; price and quantity 0 when there is none. */
market_level market_ladder_best(const market_ladder *ladder);

/* Up to limit levels, best first. */
void market_ladder_top(const market_ladder *ladder, uint64_t limit, market_levels *out);

#endif
