/* venue.c - the table of venue dialects, and news cut into rows.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "actors/market/venue.h"

#include <string.h>

#include "actors/market/binance.h"

const market_venue *const market_venues[] = {
    &market_venue_binance,
    &market_venue_binance_usdm,
    NULL,
};

const market_venue *market_venue_find(const char *name, size_t size_bytes)
{
    for (const market_venue *const *venue = market_venues; *venue; venue++) {
        if (strlen((*venue)->name) == size_bytes && memcmp((*venue)->name, name, size_bytes) == 0) {
            return *venue;
        }
    }
    return NULL;
}

/* The levels of one side that part number part holds. */
static void cut(const market_level *levels, uint32_t count, uint32_t part, market_levels *out)
{
    uint32_t from = part * MARKET_LEVELS_MAX;
    uint32_t left = from < count ? count - from : 0;
    out->count = left < MARKET_LEVELS_MAX ? left : MARKET_LEVELS_MAX;
    if (out->count) { memcpy(out->at, levels + from, out->count * sizeof *levels); }
}

static uint32_t part_count(const market_news *news)
{
    uint32_t longest = news->bid_count > news->ask_count ? news->bid_count : news->ask_count;
    return longest ? (longest + MARKET_LEVELS_MAX - 1) / MARKET_LEVELS_MAX : 1;
}

static stoa_err cut_diff(const market_news *news, market_take take, void *context)
{
    uint32_t parts = part_count(news);
    stoa_err err = STOA_OK;
    for (uint32_t part = 0; part < parts && !err; part++) {
        market_feed_diff row = {.symbol = news->symbol,
                                .first_id = news->first_id,
                                .last_id = news->last_id,
                                .venue_time_ms = news->venue_time_ms,
                                .more = part + 1 < parts};
        cut(news->bids, news->bid_count, part, &row.bids);
        cut(news->asks, news->ask_count, part, &row.asks);
        err = take(context, &market_feed_rows[market_feed_ROW_diff], &row);
    }
    return err;
}

static stoa_err cut_snapshot(const market_news *news, market_take take, void *context)
{
    uint32_t parts = part_count(news);
    stoa_err err = STOA_OK;
    for (uint32_t part = 0; part < parts && !err; part++) {
        market_feed_snapshot row = {
            .symbol = news->symbol, .last_id = news->last_id, .part = part, .more = part + 1 < parts};
        cut(news->bids, news->bid_count, part, &row.bids);
        cut(news->asks, news->ask_count, part, &row.asks);
        err = take(context, &market_feed_rows[market_feed_ROW_snapshot], &row);
    }
    return err;
}

static stoa_err cut_trade(const market_news *news, market_take take, void *context)
{
    return take(context, &market_feed_rows[market_feed_ROW_trade], &news->trade);
}

static stoa_err cut_top(const market_news *news, market_take take, void *context)
{
    return take(context, &market_feed_rows[market_feed_ROW_top], &news->top);
}

stoa_err market_news_rows(const market_news *news, market_take take, void *context)
{
    static stoa_err (*const cutters[market_feed_ROW_END_])(const market_news *, market_take, void *) = {
        [market_feed_ROW_diff] = cut_diff,
        [market_feed_ROW_snapshot] = cut_snapshot,
        [market_feed_ROW_trade] = cut_trade,
        [market_feed_ROW_top] = cut_top,
    };
    if (news->row >= market_feed_ROW_END_ || !cutters[news->row]) { return STOA_OK; }
    return cutters[news->row](news, take, context);
}
