/* ladder.c - see ladder.h.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "actors/market/ladder.h"

#include <string.h>

void market_ladder_clear(market_ladder *ladder, trade_side side)
{
    ladder->count = 0;
    ladder->descending = side == trade_side_SELL;
}

static bool better(const market_ladder *ladder, stoa_decimal price, stoa_decimal than)
{
    return ladder->descending ? price < than : price > than;
}

/* Index of the first level that is not worse than price. */
static uint32_t place_of(const market_ladder *ladder, stoa_decimal price)
{
    uint32_t from = 0, to = ladder->count;
    while (from < to) {
        uint32_t middle = from + (to - from) / 2;
        if (better(ladder, price, ladder->at[middle].price)) {
            from = middle + 1;
        } else {
            to = middle;
        }
    }
    return from;
}

static void take_out(market_ladder *ladder, uint32_t index)
{
    ladder->count--;
    memmove(&ladder->at[index], &ladder->at[index + 1], (ladder->count - index) * sizeof ladder->at[0]);
}

bool market_ladder_set(market_ladder *ladder, stoa_decimal price, stoa_decimal qty)
{
    uint32_t index = place_of(ladder, price);
    bool there = index < ladder->count && ladder->at[index].price == price;
    bool full = ladder->count == MARKET_LADDER_MAX;
    if (qty == 0) {
        if (there) { take_out(ladder, index); }
        return true;
    }
    if (there) {
        ladder->at[index].qty = qty;
        return true;
    }
    if (full) {
        if (index == 0) { return false; }
        take_out(ladder, 0);
        index--;
    }
    memmove(&ladder->at[index + 1], &ladder->at[index], (ladder->count - index) * sizeof ladder->at[0]);
    ladder->at[index] = (market_level){.price = price, .qty = qty};
    ladder->count++;
    return !full;
}

market_level market_ladder_best(const market_ladder *ladder)
{
    return ladder->count ? ladder->at[ladder->count - 1] : (market_level){0};
}

void market_ladder_top(const market_ladder *ladder, uint64_t limit, market_levels *out)
{
    uint64_t most = limit < MARKET_LEVELS_MAX ? limit : MARKET_LEVELS_MAX;
    uint32_t count = most < ladder->count ? (uint32_t)most : ladder->count;
    out->count = count;
    for (uint32_t i = 0; i < count; i++) {
        out->at[i] = ladder->at[ladder->count - 1 - i];
    }
}
