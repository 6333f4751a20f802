/* ladder.c - the price ladder of actors/trade/ladder.h.
 *
 * The bitmap has four layers in one array: a bit of layer 0 is a price, a bit of layer n + 1 says that a word of
 * layer n is not zero. A search climbs until a word has a bit on the wanted side, then descends along the nearest
 * bits.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "actors/trade/ladder.h"

/* --- the bitmap */
enum { LAYERS = 4, WORD_BITS = 64, WORD_SHIFT = 6 };
static const uint32_t layer_at[LAYERS] = {0, 1 << 18, (1 << 18) + (1 << 12), (1 << 18) + (1 << 12) + (1 << 6)};

static uint32_t lowest_bit(uint64_t word)
{
    return (uint32_t)__builtin_ctzll(word);
}

static uint32_t highest_bit(uint64_t word)
{
    return WORD_BITS - 1 - (uint32_t)__builtin_clzll(word);
}

static void bitmap_set(uint64_t *bitmap, uint32_t at)
{
    for (unsigned layer = 0; layer < LAYERS; layer++, at >>= WORD_SHIFT) {
        uint64_t *word = &bitmap[layer_at[layer] + (at >> WORD_SHIFT)], before = *word;
        *word |= UINT64_C(1) << (at % WORD_BITS);
        if (before) { return; }
    }
}

static void bitmap_clear(uint64_t *bitmap, uint32_t at)
{
    for (unsigned layer = 0; layer < LAYERS; layer++, at >>= WORD_SHIFT) {
        uint64_t *word = &bitmap[layer_at[layer] + (at >> WORD_SHIFT)];
        *word &= ~(UINT64_C(1) << (at % WORD_BITS));
        if (*word) { return; }
    }
}

/* From a bit of a layer down to the lowest or highest price under it. */
static uint32_t bitmap_descend(const uint64_t *bitmap, unsigned layer, uint32_t at, uint32_t (*pick)(uint64_t word))
{
    while (layer-- > 0) {
        at = at << WORD_SHIFT | pick(bitmap[layer_at[layer] + at]);
    }
    return at;
}

/* The nearest price above, or below, at; 0: none (price 0 is never used). */
static uint32_t bitmap_above(const uint64_t *bitmap, uint32_t at)
{
    for (unsigned layer = 0; layer < LAYERS; layer++, at >>= WORD_SHIFT) {
        uint64_t word = bitmap[layer_at[layer] + (at >> WORD_SHIFT)] & ~UINT64_C(1) << (at % WORD_BITS);
        if (word) { return bitmap_descend(bitmap, layer, (at & ~(WORD_BITS - 1u)) | lowest_bit(word), lowest_bit); }
    }
    return 0;
}

static uint32_t bitmap_below(const uint64_t *bitmap, uint32_t at)
{
    for (unsigned layer = 0; layer < LAYERS; layer++, at >>= WORD_SHIFT) {
        uint64_t below = (UINT64_C(1) << (at % WORD_BITS)) - 1;
        uint64_t word = bitmap[layer_at[layer] + (at >> WORD_SHIFT)] & below;
        if (word) { return bitmap_descend(bitmap, layer, (at & ~(WORD_BITS - 1u)) | highest_bit(word), highest_bit); }
    }
    return 0;
}

/* --- looking */
uint32_t trade_ladder_best(const trade_ladder *ladder, trade_side side)
{
    const uint64_t *bitmap = ladder->sides[side].bitmap;
    uint64_t top = bitmap[layer_at[LAYERS - 1]];
    if (top == 0) { return 0; }
    uint32_t (*pick)(uint64_t) = side == trade_side_BUY ? highest_bit : lowest_bit;
    return bitmap_descend(bitmap, LAYERS - 1, pick(top), pick);
}

uint32_t trade_ladder_worse(const trade_ladder *ladder, trade_side side, uint32_t price_ticks)
{
    const uint64_t *bitmap = ladder->sides[side].bitmap;
    return side == trade_side_BUY ? bitmap_below(bitmap, price_ticks) : bitmap_above(bitmap, price_ticks);
}

const trade_level *trade_ladder_level(const trade_ladder *ladder, trade_side side, uint32_t price_ticks)
{
    const trade_ladder_side *half = &ladder->sides[side];
    uint32_t index = STOA_MAP64_GET(&half->by_price, price_ticks);
    return index ? &half->levels.at[index] : NULL;
}

const trade_resting *trade_ladder_find(const trade_ladder *ladder, uint64_t order_id)
{
    uint32_t index = STOA_MAP64_GET(&ladder->by_id, order_id);
    return index ? &ladder->orders.at[index] : NULL;
}

bool trade_ladder_room(const trade_ladder *ladder, trade_side side, uint32_t price_ticks, uint32_t freed)
{
    if (ladder->orders.pool.used - freed >= TRADE_LADDER_ORDERS) { return false; }
    return ladder->sides[side].levels.pool.used < TRADE_LADDER_LEVELS ||
           trade_ladder_level(ladder, side, price_ticks) != NULL;
}

static void cursor_enter(trade_cursor *cursor, uint32_t price_ticks)
{
    cursor->level = price_ticks ? trade_ladder_level(cursor->ladder, cursor->side, price_ticks) : NULL;
    cursor->order = cursor->level ? &cursor->ladder->orders.at[cursor->level->head] : NULL;
}

trade_cursor trade_cursor_begin(const trade_ladder *ladder, trade_side side)
{
    trade_cursor cursor = {.ladder = ladder, .side = side};
    cursor_enter(&cursor, trade_ladder_best(ladder, side));
    return cursor;
}

void trade_cursor_next(trade_cursor *cursor)
{
    if (cursor->order->next) {
        cursor->order = &cursor->ladder->orders.at[cursor->order->next];
    } else {
        cursor_enter(cursor, trade_ladder_worse(cursor->ladder, cursor->side, cursor->level->price_ticks));
    }
}

/* --- changing */
static trade_level *level_get_or_new(trade_ladder_side *half, uint32_t price_ticks)
{
    uint32_t index = STOA_MAP64_GET(&half->by_price, price_ticks);
    if (index == 0) {
        index = STOA_POOL_TAKE(&half->levels);
        half->levels.at[index].price_ticks = price_ticks;
        STOA_MAP64_PUT(&half->by_price, price_ticks, index);
        bitmap_set(half->bitmap, price_ticks);
    }
    return &half->levels.at[index];
}

static void level_drop(trade_ladder_side *half, uint32_t price_ticks)
{
    uint32_t index = STOA_MAP64_GET(&half->by_price, price_ticks);
    bitmap_clear(half->bitmap, price_ticks);
    STOA_MAP64_REMOVE(&half->by_price, price_ticks);
    STOA_POOL_GIVE(&half->levels, index);
}

void trade_ladder_add(trade_ladder *ladder, const trade_resting *order)
{
    STOA_ASSERT(order->price_ticks > 0 && order->price_ticks < TRADE_LADDER_TICKS && order->qty_lots > 0);
    STOA_ASSERT(trade_ladder_find(ladder, order->order_id) == NULL);
    trade_level *level = level_get_or_new(&ladder->sides[order->side], order->price_ticks);
    STOA_ASSERT(order->qty_lots <= INT64_MAX - level->qty_lots);

    uint32_t index = STOA_POOL_TAKE(&ladder->orders);
    STOA_MAP64_PUT(&ladder->by_id, order->order_id, index);
    trade_resting *mine = &ladder->orders.at[index];
    *mine = *order;
    mine->next = 0;
    mine->prev = level->tail;
    if (level->tail) {
        ladder->orders.at[level->tail].next = index;
    } else {
        level->head = index;
    }
    level->tail = index;
    level->orders++;
    level->qty_lots += order->qty_lots;
}

static void order_drop(trade_ladder *ladder, trade_level *level, uint32_t index)
{
    trade_resting order = ladder->orders.at[index];
    if (order.prev) {
        ladder->orders.at[order.prev].next = order.next;
    } else {
        level->head = order.next;
    }
    if (order.next) {
        ladder->orders.at[order.next].prev = order.prev;
    } else {
        level->tail = order.prev;
    }
    if (--level->orders == 0) { level_drop(&ladder->sides[order.side], order.price_ticks); }
    STOA_MAP64_REMOVE(&ladder->by_id, order.order_id);
    STOA_POOL_GIVE(&ladder->orders, index);
}

void trade_ladder_reduce(trade_ladder *ladder, uint64_t order_id, int64_t qty_lots)
{
    uint32_t index = STOA_MAP64_GET(&ladder->by_id, order_id);
    STOA_ASSERT(index != 0);
    trade_resting *order = &ladder->orders.at[index];
    STOA_ASSERT(qty_lots > 0 && qty_lots <= order->qty_lots);
    trade_level *level = level_get_or_new(&ladder->sides[order->side], order->price_ticks);
    level->qty_lots -= qty_lots;
    order->qty_lots -= qty_lots;
    if (order->qty_lots == 0) { order_drop(ladder, level, index); }
}
