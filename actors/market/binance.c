/* binance.c - the dialect of Binance: spot, and its USD-margined futures.
 *
 * Formats and rules: developers.binance.com, "Web Socket Streams for Binance" and "How to manage a local order book
 * correctly". A frame is an event by itself or wrapped as {"stream": NAME, "data": EVENT}:
 *
 *     {"e":"depthUpdate","E":ms,"s":SYMBOL,"U":first,"u":last,"b":[["price","qty"],...],"a":[...]}    futures add "pu"
 *     {"e":"trade","E":ms,"s":SYMBOL,"t":id,"p":"price","q":"qty","T":ms,"m":true|false,...}  m: the buyer was the maker
 *     {"u":id,"s":SYMBOL,"b":"price","B":"qty","a":"price","A":"qty"}           best bid and ask; futures add "e", "E"
 *     {"lastUpdateId":id,"bids":[["price","qty"],...],"asks":[...]}                   a snapshot: the answer of REST
 *
 * Sequence, spot: the first diff behind a snapshot has U <= lastUpdateId + 1 <= u, each further one U = previous u + 1.
 * Futures: pu = previous u, and U may leave ids out; so there first_id is pu + 1.
 *
 * Which decoder takes an event is a row of the table below: by the event's name, or where it has none by a member
 * that only it has. Symbols are upper case in messages and lower case in stream names.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "actors/market/binance.h"

#include <string.h>

/* The value is not of the shape that the venue documents. What a number refuses (PRECISION, RANGE) keeps its name. */
static stoa_err shape(stoa_err err)
{
    return err == STOA_E_NOT_FOUND || err == STOA_E_INVALID ? STOA_E_MALFORMED : err;
}

static stoa_err get_uint(stoa_json event, const char *key, uint64_t *out)
{
    stoa_json value;
    stoa_err err = stoa_json_get(event, key, &value);
    return shape(err ? err : stoa_json_uint(value, out));
}

/* An update id; ids stay below 2^63 so that id + 1 is always one. */
static stoa_err get_id(stoa_json event, const char *key, uint64_t *out)
{
    uint64_t id = 0;
    stoa_err err = get_uint(event, key, &id);
    if (err) { return err; }
    if (id > INT64_MAX) { return STOA_E_RANGE; }
    *out = id;
    return STOA_OK;
}

static stoa_err get_symbol(stoa_json event, const char *key, stoa_text14 *out)
{
    stoa_json value;
    const char *text = NULL;
    size_t size = 0;
    stoa_err err = stoa_json_get(event, key, &value);
    if (!err) { err = stoa_json_text(value, &text, &size); }
    if (err) { return shape(err); }
    return size && !STOA_TEXT_SET(out, text, size) ? STOA_OK : STOA_E_MALFORMED;
}

/* A price or a quantity: never negative. */
static stoa_err amount(stoa_json value, stoa_decimal *out)
{
    stoa_decimal number = 0;
    stoa_err err = stoa_json_decimal(value, &number);
    if (err) { return shape(err); }
    if (number < 0) { return STOA_E_RANGE; }
    *out = number;
    return STOA_OK;
}

static stoa_err get_amount(stoa_json event, const char *key, stoa_decimal *out)
{
    stoa_json value;
    stoa_err err = stoa_json_get(event, key, &value);
    return err ? shape(err) : amount(value, out);
}

/* ["price", "qty"]; what stands behind them is not looked at. */
static stoa_err level(stoa_json pair, market_level *out)
{
    stoa_json_iter it;
    stoa_err err = stoa_json_first(pair, &it);
    if (err || !it.more) { return STOA_E_MALFORMED; }
    err = amount(it.value, &out->price);
    if (err) { return err; }
    if (out->price == 0) { return STOA_E_RANGE; }
    stoa_json_next(&it);
    return it.more ? amount(it.value, &out->qty) : STOA_E_MALFORMED;
}

static stoa_err get_levels(stoa_json event, const char *key, market_level *levels, uint32_t *count_out)
{
    stoa_json array;
    stoa_json_iter it = {.more = false};
    uint32_t count = 0;
    stoa_err err = stoa_json_get(event, key, &array);
    if (!err) { err = stoa_json_first(array, &it); }
    for (; !err && it.more; stoa_json_next(&it)) {
        if (count == MARKET_NEWS_LEVELS_MAX) { return STOA_E_TOO_LARGE; }
        err = level(it.value, &levels[count++]);
    }
    if (!err) { *count_out = count; }
    return shape(err);
}

static stoa_err decode_diff(stoa_json event, const market_frame *frame, market_news *news)
{
    uint64_t previous = 0;
    (void)frame;
    stoa_err err = get_symbol(event, "s", &news->symbol);
    if (!err) { err = get_id(event, "U", &news->first_id); }
    if (!err) { err = get_id(event, "u", &news->last_id); }
    if (!err) { err = get_uint(event, "E", &news->venue_time_ms); }
    if (!err) { err = get_levels(event, "b", news->bids, &news->bid_count); }
    if (!err) { err = get_levels(event, "a", news->asks, &news->ask_count); }
    if (err) { return err; }
    if (get_id(event, "pu", &previous) == STOA_OK) { news->first_id = previous + 1; }
    return news->first_id <= news->last_id ? STOA_OK : STOA_E_MALFORMED;
}

static stoa_err decode_snapshot(stoa_json event, const market_frame *frame, market_news *news)
{
    if (!frame->symbol || frame->symbol->len == 0) { return STOA_E_INVALID; }
    news->symbol = *frame->symbol;
    stoa_err err = get_id(event, "lastUpdateId", &news->last_id);
    if (!err) { err = get_levels(event, "bids", news->bids, &news->bid_count); }
    if (!err) { err = get_levels(event, "asks", news->asks, &news->ask_count); }
    return err;
}

static stoa_err decode_trade(stoa_json event, const market_frame *frame, market_news *news)
{
    market_feed_trade *trade = &news->trade;
    stoa_json maker;
    bool buyer_made = false;
    (void)frame;
    stoa_err err = get_symbol(event, "s", &trade->symbol);
    if (!err) { err = get_uint(event, "t", &trade->trade_id); }
    if (!err) { err = get_uint(event, "T", &trade->venue_time_ms); }
    if (!err) { err = get_amount(event, "p", &trade->price); }
    if (!err) { err = get_amount(event, "q", &trade->qty); }
    if (!err) { err = shape(stoa_json_get(event, "m", &maker)); }
    if (!err) { err = shape(stoa_json_bool(maker, &buyer_made)); }
    trade->taker_side = buyer_made ? trade_side_SELL : trade_side_BUY;
    news->symbol = trade->symbol;
    return err;
}

static stoa_err decode_top(stoa_json event, const market_frame *frame, market_news *news)
{
    market_feed_top *top = &news->top;
    (void)frame;
    stoa_err err = get_symbol(event, "s", &top->symbol);
    if (!err) { err = get_id(event, "u", &top->last_id); }
    if (!err) { err = get_amount(event, "b", &top->bid); }
    if (!err) { err = get_amount(event, "B", &top->bid_qty); }
    if (!err) { err = get_amount(event, "a", &top->ask); }
    if (!err) { err = get_amount(event, "A", &top->ask_qty); }
    if (err) { return err; }
    if (get_uint(event, "E", &top->venue_time_ms)) { top->venue_time_ms = 0; } /* spot does not say */
    news->symbol = top->symbol;
    return STOA_OK;
}

static stoa_err decode_nothing(stoa_json event, const market_frame *frame, market_news *news)
{
    (void)event, (void)frame, (void)news;
    return STOA_OK;
}

typedef struct event_row {
    const char *event;  /* the text of "e"; NULL: events without one */
    const char *member; /* that tells an event without a name */
    uint32_t row;       /* of market_feed */
    stoa_err (*decode)(stoa_json event, const market_frame *frame, market_news *news);
} event_row;

static const event_row event_rows[] = {
    {"depthUpdate", NULL, market_feed_ROW_diff, decode_diff},
    {"trade", NULL, market_feed_ROW_trade, decode_trade},
    {"bookTicker", NULL, market_feed_ROW_top, decode_top},
    {"serverShutdown", NULL, market_feed_ROW_NONE_, decode_nothing},
    {NULL, "lastUpdateId", market_feed_ROW_snapshot, decode_snapshot},
    {NULL, "B", market_feed_ROW_top, decode_top},
    {NULL, "result", market_feed_ROW_NONE_, decode_nothing}, /* the answer to a subscription */
};

static bool row_takes(const event_row *row, stoa_json event, const char *name, size_t size)
{
    stoa_json ignored;
    if (!row->event && !name) { return stoa_json_get(event, row->member, &ignored) == STOA_OK; }
    if (!row->event || !name) { return false; }
    return strlen(row->event) == size && memcmp(row->event, name, size) == 0;
}

static stoa_err decode(stoa_json_parser *parser, const market_frame *frame, market_news *news)
{
    stoa_json event, data, value;
    const char *name = NULL;
    size_t size = 0;
    stoa_err err = stoa_json_parse(parser, frame->bytes, frame->size_bytes, &event);
    if (err) { return err; }
    if (!stoa_json_is_object(event)) { return STOA_E_MALFORMED; }
    if (stoa_json_get(event, "stream", &value) == STOA_OK && stoa_json_get(event, "data", &data) == STOA_OK) {
        event = data;
    }
    if (!stoa_json_is_object(event)) { return STOA_E_MALFORMED; }
    if (stoa_json_get(event, "e", &value) == STOA_OK && stoa_json_text(value, &name, &size)) {
        return STOA_E_MALFORMED;
    }
    news->row = market_feed_ROW_NONE_;
    news->bid_count = news->ask_count = 0;
    news->first_id = news->last_id = news->venue_time_ms = 0;
    for (size_t i = 0; i < sizeof event_rows / sizeof *event_rows; i++) {
        if (!row_takes(&event_rows[i], event, name, size)) { continue; }
        err = event_rows[i].decode(event, frame, news);
        if (!err) { news->row = event_rows[i].row; }
        return err;
    }
    return STOA_E_NO_HANDLER;
}

static void put_lower(const stoa_text14 *symbol, stoa_buf *out)
{
    for (uint16_t i = 0; i < symbol->len; i++) {
        char c = symbol->at[i];
        if (c >= 'A' && c <= 'Z') { c = (char)(c - 'A' + 'a'); }
        stoa_buf_put(out, &c, 1);
    }
}

static void stream_path(const stoa_text14 *symbols, uint32_t count, stoa_buf *out)
{
    static const char *const streams[] = {"@depth@100ms", "@trade", "@bookTicker"};
    const char *separator = "/stream?streams=";
    for (uint32_t i = 0; i < count; i++) {
        for (size_t s = 0; s < sizeof streams / sizeof *streams; s++) {
            stoa_buf_puts(out, separator);
            put_lower(&symbols[i], out);
            stoa_buf_puts(out, streams[s]);
            separator = "/";
        }
    }
}

static void snapshot_path_spot(const stoa_text14 *symbol, stoa_buf *out)
{
    stoa_buf_printf(out, "/api/v3/depth?symbol=%.*s&limit=5000", STOA_TEXT_ARGS(symbol));
}

static void snapshot_path_usdm(const stoa_text14 *symbol, stoa_buf *out)
{
    stoa_buf_printf(out, "/fapi/v1/depth?symbol=%.*s&limit=1000", STOA_TEXT_ARGS(symbol));
}

const market_venue market_venue_binance = {
    .name = "binance",
    .stream_host = "stream.binance.com",
    .stream_port = 9443,
    .snapshot_host = "api.binance.com",
    .snapshot_port = 443,
    .stream_path = stream_path,
    .snapshot_path = snapshot_path_spot,
    .decode = decode,
};

const market_venue market_venue_binance_usdm = {
    .name = "binance_usdm",
    .stream_host = "fstream.binance.com",
    .stream_port = 443,
    .snapshot_host = "fapi.binance.com",
    .snapshot_port = 443,
    .stream_path = stream_path,
    .snapshot_path = snapshot_path_usdm,
    .decode = decode,
};
