/* binance_test.c - goal: the Binance dialect reads what Binance documents, exactly, and refuses everything else by
 * name. Method: documented messages and what they must become; each field of each message broken in turn; news cut
 * into rows and put together again.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "actors/market/binance.h"

static market_news news;
static stoa_json_parser *parser;

static stoa_err decode_for(const char *text, const stoa_text14 *symbol)
{
    market_frame frame = {.bytes = text, .size_bytes = strlen(text), .symbol = symbol};
    return market_venue_binance.decode(parser, &frame, &news);
}

static stoa_err decode(const char *text)
{
    return decode_for(text, NULL);
}

#define DIFF                                                                                                           \
    "{\"e\":\"depthUpdate\",\"E\":1723161255408,\"s\":\"BTCUSDT\",\"U\":50093239208,\"u\":50093239224,"               \
    "\"b\":[[\"61837.63000000\",\"3.78826000\"],[\"61820.99\",\"0\"]],\"a\":[[\"61837.64000000\",\"1.60520000\"]]}"
#define TRADE                                                                                                          \
    "{\"e\":\"trade\",\"E\":1723161255343,\"s\":\"BTCUSDT\",\"t\":3735683259,\"p\":\"61837.63000000\","                \
    "\"q\":\"0.02000000\",\"T\":1723161255342,\"m\":true,\"M\":true}"
#define TICKER                                                                                                         \
    "{\"u\":50093239212,\"s\":\"BTCUSDT\",\"b\":\"61837.63000000\",\"B\":\"3.78826000\",\"a\":\"61837.64000000\","     \
    "\"A\":\"1.54698000\"}"
#define SNAPSHOT                                                                                                       \
    "{\"lastUpdateId\":50093239218,\"bids\":[[\"61837.63000000\",\"3.78826000\"]],"                                    \
    "\"asks\":[[\"61837.64000000\",\"1.54698000\"],[\"61838.04\",\"0.00000001\"]]}"

static void a_diff_becomes_its_levels(void **state)
{
    (void)state;
    assert_int_equal(decode(DIFF), STOA_OK);
    assert_int_equal(news.row, market_feed_ROW_diff);
    assert_true(STOA_TEXT_EQZ(&news.symbol, "BTCUSDT"));
    assert_int_equal(news.first_id, 50093239208);
    assert_int_equal(news.last_id, 50093239224);
    assert_int_equal(news.venue_time_ms, 1723161255408);
    assert_int_equal(news.bid_count, 2);
    assert_int_equal(news.ask_count, 1);
    assert_int_equal(news.bids[0].price, 6183763000000);
    assert_int_equal(news.bids[0].qty, 378826000);
    assert_int_equal(news.bids[1].price, 6182099000000);
    assert_int_equal(news.bids[1].qty, 0);
    assert_int_equal(news.asks[0].price, 6183764000000);
    assert_int_equal(news.asks[0].qty, 160520000);
}

static void a_combined_stream_is_unwrapped(void **state)
{
    (void)state;
    assert_int_equal(decode("{\"stream\":\"btcusdt@depth@100ms\",\"data\":" DIFF "}"), STOA_OK);
    assert_int_equal(news.row, market_feed_ROW_diff);
    assert_int_equal(news.last_id, 50093239224);
}

static void a_futures_diff_continues_the_previous_id(void **state)
{
    (void)state;
    const char *text = "{\"e\":\"depthUpdate\",\"E\":1,\"T\":1,\"s\":\"BTCUSDT\",\"U\":157,\"u\":160,\"pu\":149,"
                       "\"b\":[],\"a\":[]}";
    assert_int_equal(decode(text), STOA_OK);
    assert_int_equal(news.first_id, 150);
    assert_int_equal(news.last_id, 160);
    assert_int_equal(news.bid_count + news.ask_count, 0);
}

static void a_trade_names_the_side_that_took(void **state)
{
    (void)state;
    assert_int_equal(decode(TRADE), STOA_OK);
    assert_int_equal(news.row, market_feed_ROW_trade);
    assert_int_equal(news.trade.trade_id, 3735683259);
    assert_int_equal(news.trade.price, 6183763000000);
    assert_int_equal(news.trade.qty, 2000000);
    assert_int_equal(news.trade.venue_time_ms, 1723161255342);
    assert_int_equal(news.trade.taker_side, trade_side_SELL); /* the buyer was the maker */
    const char *bought = "{\"e\":\"trade\",\"s\":\"X\",\"t\":1,\"p\":\"1\",\"q\":\"1\",\"T\":1,\"m\":false}";
    assert_int_equal(decode(bought), STOA_OK);
    assert_int_equal(news.trade.taker_side, trade_side_BUY);
}

static void a_book_ticker_is_known_by_its_members(void **state)
{
    (void)state;
    assert_int_equal(decode(TICKER), STOA_OK);
    assert_int_equal(news.row, market_feed_ROW_top);
    assert_int_equal(news.top.last_id, 50093239212);
    assert_int_equal(news.top.bid, 6183763000000);
    assert_int_equal(news.top.bid_qty, 378826000);
    assert_int_equal(news.top.ask, 6183764000000);
    assert_int_equal(news.top.ask_qty, 154698000);
}

static void a_snapshot_needs_to_know_its_symbol(void **state)
{
    (void)state;
    const stoa_text14 symbol = stoa_text("BTCUSDT");
    assert_int_equal(decode(SNAPSHOT), STOA_E_INVALID);
    assert_int_equal(decode_for(SNAPSHOT, &symbol), STOA_OK);
    assert_int_equal(news.row, market_feed_ROW_snapshot);
    assert_int_equal(news.last_id, 50093239218);
    assert_int_equal(news.bid_count, 1);
    assert_int_equal(news.ask_count, 2);
    assert_int_equal(news.asks[1].qty, 1);
    assert_true(STOA_TEXT_EQZ(&news.symbol, "BTCUSDT"));
}

static void control_messages_tell_nothing(void **state)
{
    (void)state;
    assert_int_equal(decode("{\"result\":null,\"id\":1}"), STOA_OK);
    assert_int_equal(news.row, 0);
    assert_int_equal(decode("{\"e\":\"serverShutdown\",\"E\":1}"), STOA_OK);
    assert_int_equal(news.row, 0);
}

typedef struct refusal {
    const char *text;
    stoa_err err;
} refusal;

static void what_is_not_binances_is_refused_by_name(void **state)
{
    (void)state;
    static const refusal refusals[] = {
        {"", STOA_E_MALFORMED},
        {"{", STOA_E_MALFORMED},
        {"[]", STOA_E_MALFORMED},
        {"null", STOA_E_MALFORMED},
        {DIFF "x", STOA_E_MALFORMED},
        {"{}", STOA_E_NO_HANDLER},
        {"{\"e\":\"kline\",\"s\":\"BTCUSDT\"}", STOA_E_NO_HANDLER},
        {"{\"e\":\"depthUpdat\"}", STOA_E_NO_HANDLER},
        {"{\"e\":7}", STOA_E_MALFORMED},
        {"{\"stream\":\"x\",\"data\":[]}", STOA_E_MALFORMED},
        {"{\"e\":\"trade\"}", STOA_E_MALFORMED},
    };
    for (size_t i = 0; i < sizeof refusals / sizeof *refusals; i++) {
        stoa_err err = decode(refusals[i].text);
        if (err != refusals[i].err) { fail_msg("%s: %s", refusals[i].text, stoa_err_name(err)); }
    }
}

/* text with the first occurrence of from replaced by to; static. */
static const char *changed(const char *text, const char *from, const char *to)
{
    static char out[1024];
    const char *at = strstr(text, from);
    assert_non_null(at);
    (void)snprintf(out, sizeof out, "%.*s%s%s", (int)(at - text), text, to, at + strlen(from));
    return out;
}

typedef struct broken {
    const char *text, *from, *to;
    stoa_err err;
} broken;

static void every_field_is_checked(void **state)
{
    (void)state;
    static const broken cases[] = {
        {DIFF, "\"s\":\"BTCUSDT\"", "\"s\":\"\"", STOA_E_MALFORMED},
        {DIFF, "\"s\":\"BTCUSDT\"", "\"s\":\"ABCDEFGHIJKLMNO\"", STOA_E_MALFORMED},
        {DIFF, "\"s\":\"BTCUSDT\"", "\"s\":5", STOA_E_MALFORMED},
        {DIFF, "\"U\":50093239208", "\"U\":50093239225", STOA_E_MALFORMED}, /* behind u */
        {DIFF, "\"U\":50093239208", "\"U\":-1", STOA_E_RANGE},
        {DIFF, "\"U\":50093239208", "\"U\":1.5", STOA_E_MALFORMED},
        {DIFF, "\"U\":50093239208,", "", STOA_E_MALFORMED},
        {DIFF, "\"u\":50093239224", "\"u\":9223372036854775808", STOA_E_RANGE},
        {DIFF, "\"61837.63000000\"", "61837.63", STOA_E_MALFORMED}, /* a number that is no text would be a double */
        {DIFF, "61837.63000000", "61837.630000001", STOA_E_PRECISION},
        {DIFF, "61837.63000000", "99999999999999", STOA_E_RANGE},
        {DIFF, "61837.63000000", "-1", STOA_E_RANGE},
        {DIFF, "61837.63000000", "0.00", STOA_E_RANGE},
        {DIFF, "61837.63000000", "6e4", STOA_E_MALFORMED},
        {DIFF, "3.78826000", "", STOA_E_MALFORMED},
        {DIFF, "[\"61820.99\",\"0\"]", "[\"61820.99\"]", STOA_E_MALFORMED},
        {DIFF, "[\"61820.99\",\"0\"]", "[]", STOA_E_MALFORMED},
        {DIFF, "[\"61820.99\",\"0\"]", "{}", STOA_E_MALFORMED},
        {DIFF, "\"a\":[[", "\"x\":[[", STOA_E_MALFORMED},
        {DIFF, "\"E\":1723161255408", "\"E\":\"now\"", STOA_E_MALFORMED},
        {TRADE, "\"m\":true", "\"m\":1", STOA_E_MALFORMED},
        {TRADE, "\"t\":3735683259", "\"t\":null", STOA_E_MALFORMED},
        {TRADE, "0.02000000", "-0.02", STOA_E_RANGE},
        {TICKER, "\"A\":\"1.54698000\"", "\"Z\":\"1\"", STOA_E_MALFORMED},
        {TICKER, "\"u\":50093239212", "\"u\":\"50093239212\"", STOA_E_MALFORMED},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const char *text = changed(cases[i].text, cases[i].from, cases[i].to);
        stoa_err err = decode(text);
        if (err != cases[i].err) { fail_msg("%s: %s", text, stoa_err_name(err)); }
        assert_int_equal(news.row, 0);
    }
}

/* --- a frame of any size */

static char *big_snapshot(uint32_t bids, uint32_t asks)
{
    size_t room = 64 + 32 * ((size_t)bids + asks), used;
    char *text = malloc(room);
    assert_non_null(text);
    used = (size_t)snprintf(text, room, "{\"lastUpdateId\":7,\"bids\":[");
    for (uint32_t i = 0; i < bids; i++) {
        used += (size_t)snprintf(text + used, room - used, "%s[\"%u\",\"1\"]", i ? "," : "", bids - i);
    }
    used += (size_t)snprintf(text + used, room - used, "],\"asks\":[");
    for (uint32_t i = 0; i < asks; i++) {
        used += (size_t)snprintf(text + used, room - used, "%s[\"%u\",\"2\"]", i ? "," : "", bids + 1 + i);
    }
    (void)snprintf(text + used, room - used, "]}");
    return text;
}

typedef struct joined {
    uint32_t parts, bids, asks;
    bool ended;
} joined;

static stoa_err join(void *context, const stoa_row *row, const void *payload)
{
    joined *j = context;
    const market_feed_snapshot *part = payload;
    assert_ptr_equal(row, &market_feed_rows[market_feed_ROW_snapshot]);
    assert_false(j->ended);
    assert_int_equal(part->part, j->parts++);
    assert_int_equal(part->last_id, 7);
    for (uint32_t i = 0; i < part->bids.count; i++) {
        assert_memory_equal(&part->bids.at[i], &news.bids[j->bids++], sizeof(market_level));
    }
    for (uint32_t i = 0; i < part->asks.count; i++) {
        assert_memory_equal(&part->asks.at[i], &news.asks[j->asks++], sizeof(market_level));
    }
    j->ended = !part->more;
    return STOA_OK;
}

static void news_are_cut_into_rows_without_loss(void **state)
{
    (void)state;
    static const struct {
        uint32_t bids, asks, parts;
    } sizes[] = {{0, 0, 1}, {1, 0, 1}, {64, 64, 1}, {65, 64, 2}, {0, 129, 3}, {5000, 4000, 79}, {8192, 8192, 128}};
    const stoa_text14 symbol = stoa_text("BTCUSDT");
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        joined j = {0};
        char *text = big_snapshot(sizes[i].bids, sizes[i].asks);
        assert_int_equal(decode_for(text, &symbol), STOA_OK);
        assert_int_equal(market_news_rows(&news, join, &j), STOA_OK);
        assert_int_equal(j.parts, sizes[i].parts);
        assert_int_equal(j.bids, sizes[i].bids);
        assert_int_equal(j.asks, sizes[i].asks);
        assert_true(j.ended);
        free(text);
    }
}

static void more_levels_than_fit_are_refused(void **state)
{
    (void)state;
    const stoa_text14 symbol = stoa_text("BTCUSDT");
    char *text = big_snapshot(8193, 1);
    assert_int_equal(decode_for(text, &symbol), STOA_E_TOO_LARGE);
    free(text);
}

static stoa_err refuse(void *context, const stoa_row *row, const void *payload)
{
    (void)row, (void)payload;
    ++*(int *)context;
    return STOA_E_FULL;
}

static void a_refused_row_ends_the_cutting(void **state)
{
    (void)state;
    const stoa_text14 symbol = stoa_text("BTCUSDT");
    int calls = 0;
    char *text = big_snapshot(200, 200);
    assert_int_equal(decode_for(text, &symbol), STOA_OK);
    assert_int_equal(market_news_rows(&news, refuse, &calls), STOA_E_FULL);
    assert_int_equal(calls, 1);
    free(text);
}

/* --- addresses */

static void paths_name_every_symbol(void **state)
{
    (void)state;
    const stoa_text14 symbols[] = {stoa_text("BTCUSDT"), stoa_text("ETHUSDT")};
    char text[512];
    stoa_buf path = STOA_BUF_FIXED(text);
    market_venue_binance.stream_path(symbols, 2, &path);
    assert_string_equal(text, "/stream?streams=btcusdt@depth@100ms/btcusdt@trade/btcusdt@bookTicker/"
                              "ethusdt@depth@100ms/ethusdt@trade/ethusdt@bookTicker");
    stoa_buf_clear(&path);
    market_venue_binance.snapshot_path(&symbols[1], &path);
    assert_string_equal(text, "/api/v3/depth?symbol=ETHUSDT&limit=5000");
}

static void venues_are_found_by_name(void **state)
{
    (void)state;
    for (const market_venue *const *venue = market_venues; *venue; venue++) {
        assert_ptr_equal(market_venue_find((*venue)->name, strlen((*venue)->name)), *venue);
    }
    assert_ptr_equal(market_venue_find("binance", 7), &market_venue_binance);
    assert_null(market_venue_find("binanc", 6));
    assert_null(market_venue_find("", 0));
}

static int set_up(void **state)
{
    (void)state;
    return stoa_json_parser_new(MARKET_FRAME_BYTES_MAX, &parser);
}

static int tear_down(void **state)
{
    (void)state;
    stoa_json_parser_free(parser);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_diff_becomes_its_levels),
        cmocka_unit_test(a_combined_stream_is_unwrapped),
        cmocka_unit_test(a_futures_diff_continues_the_previous_id),
        cmocka_unit_test(a_trade_names_the_side_that_took),
        cmocka_unit_test(a_book_ticker_is_known_by_its_members),
        cmocka_unit_test(a_snapshot_needs_to_know_its_symbol),
        cmocka_unit_test(control_messages_tell_nothing),
        cmocka_unit_test(what_is_not_binances_is_refused_by_name),
        cmocka_unit_test(every_field_is_checked),
        cmocka_unit_test(news_are_cut_into_rows_without_loss),
        cmocka_unit_test(more_levels_than_fit_are_refused),
        cmocka_unit_test(a_refused_row_ends_the_cutting),
        cmocka_unit_test(paths_name_every_symbol),
        cmocka_unit_test(venues_are_found_by_name),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
