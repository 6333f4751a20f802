/* binance_fuzz.c - goal: no bytes make the Binance dialect read outside them, and what it lets through is sound.
 * Method: the input as a frame, with and without a known symbol, and as the data of a combined stream; whatever is
 * accepted is checked against the promises of actors/market/venue.h and cut into rows.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include <stdlib.h>
#include <string.h>

#include "actors/market/binance.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

typedef struct told {
    uint32_t rows, bids, asks;
    uint64_t more;
} told;

static void check_levels(const market_levels *levels, const market_level *expected)
{
    STOA_ASSERT(levels->count <= MARKET_LEVELS_MAX);
    for (uint32_t i = 0; i < levels->count; i++) {
        STOA_ASSERT(levels->at[i].price > 0 && levels->at[i].qty >= 0);
        STOA_ASSERT(memcmp(&levels->at[i], &expected[i], sizeof *expected) == 0);
    }
}

static const market_news *decoded;

static stoa_err take(void *context, const stoa_row *row, const void *payload)
{
    told *t = context;
    t->rows++;
    if (row->id == market_feed_ROW_diff) {
        const market_feed_diff *part = payload;
        STOA_ASSERT(part->first_id <= part->last_id && part->last_id <= INT64_MAX);
        check_levels(&part->bids, decoded->bids + t->bids);
        check_levels(&part->asks, decoded->asks + t->asks);
        t->bids += part->bids.count;
        t->asks += part->asks.count;
        t->more = part->more;
    } else if (row->id == market_feed_ROW_snapshot) {
        const market_feed_snapshot *part = payload;
        STOA_ASSERT(part->part + 1 == t->rows);
        check_levels(&part->bids, decoded->bids + t->bids);
        check_levels(&part->asks, decoded->asks + t->asks);
        t->bids += part->bids.count;
        t->asks += part->asks.count;
        t->more = part->more;
    } else if (row->id == market_feed_ROW_trade) {
        const market_feed_trade *trade = payload;
        STOA_ASSERT(trade->price >= 0 && trade->qty >= 0 && trade->taker_side < trade_side_COUNT);
    }
    return STOA_OK;
}

static void try_frame(stoa_json_parser *parser, market_news *news, const char *bytes, size_t size,
                      const stoa_text14 *symbol)
{
    market_frame frame = {.bytes = bytes, .size_bytes = size, .symbol = symbol};
    told t = {0};
    stoa_err err = market_venue_binance.decode(parser, &frame, news);
    bool named = err == STOA_OK || err == STOA_E_MALFORMED || err == STOA_E_NO_HANDLER || err == STOA_E_TOO_LARGE ||
                 err == STOA_E_PRECISION || err == STOA_E_RANGE || err == STOA_E_INVALID;
    STOA_ASSERT(named);
    if (err) { return; }
    STOA_ASSERT(news->row < market_feed_ROW_END_);
    STOA_ASSERT(news->row == 0 || (news->symbol.len > 0 && news->symbol.len <= sizeof news->symbol.at));
    decoded = news;
    STOA_ASSERT(market_news_rows(news, take, &t) == STOA_OK);
    bool levels = news->row == market_feed_ROW_diff || news->row == market_feed_ROW_snapshot;
    STOA_ASSERT(!levels || (t.bids == news->bid_count && t.asks == news->ask_count && !t.more));
    STOA_ASSERT(news->row == 0 ? t.rows == 0 : t.rows > 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char before[] = "{\"stream\":\"s\",\"data\":";
    static const stoa_text14 symbol = stoa_text("BTCUSDT");
    static stoa_json_parser *parser;
    static market_news *news;
    if (!parser && stoa_json_parser_new(MARKET_FRAME_BYTES_MAX, &parser)) { abort(); }
    if (!news) { news = calloc(1, sizeof *news); }
    char *exact = malloc(size + 1), *wrapped = malloc(sizeof before + size + 1);
    if (!news || !exact || !wrapped) { abort(); }
    if (size) { memcpy(exact, data, size); }
    try_frame(parser, news, exact, size, NULL);
    try_frame(parser, news, exact, size, &symbol);
    memcpy(wrapped, before, sizeof before - 1);
    memcpy(wrapped + sizeof before - 1, exact, size);
    wrapped[sizeof before - 1 + size] = '}';
    try_frame(parser, news, wrapped, sizeof before + size, &symbol);
    free(exact);
    free(wrapped);
    return 0;
}
