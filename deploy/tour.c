/* tour.c - stoa-tour: a trader's first minutes, through the SDK, for deploy/quickstart.
 *
 * Watches the market, talks in a room, places orders for so many seconds without a pause, whatever happens to the node, and
 * at the end asks the node about every order that was acknowledged. Prints what it sees; the last line is JSON.
 *
 *     stoa-tour ENDPOINT SERVER.pub KEY ACCOUNT SYMBOL VENUE SECONDS
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "sdk/stoa_client.h"

enum { ORDERS_MAX = 4000, PAUSE_MS = 4, RETRY_S = 20 };

typedef struct seen {
    uint64_t client_order_id, order_id, ack_ns;
} seen;

typedef struct tour {
    stoa_client *client;
    const char *account, *symbol, *venue;
    uint64_t market_events, updates, gaps, messages, fills, rejected, errors, lost, base_id;
    stoa_decimal bid, ask;
    seen orders[ORDERS_MAX];
    uint32_t count;
} tour;

static uint64_t now_ns(void)
{
    struct timespec t;
    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * UINT64_C(1000000000) + (uint64_t)t.tv_nsec;
}

static void say(tour *t, const char *what, stoa_err err)
{
    t->errors++;
    printf("  ! %s: %s (%s)\n", what, stoa_client_error_name(err), stoa_client_error_text(t->client));
}

static void on_top(void *context, const stoa_client_item *item)
{
    tour *t = context;
    if (item->cls != STOA_CLIENT_ITEM_TOP) { return; }
    t->market_events++;
    t->bid = item->as.top->bid;
    t->ask = item->as.top->ask;
}

static void on_market(void *context, const stoa_client_item *item)
{
    tour *t = context;
    if (item->cls == STOA_CLIENT_ITEM_TRADE || item->cls == STOA_CLIENT_ITEM_DIFF) { t->market_events++; }
}

static void on_order(void *context, const stoa_client_item *item)
{
    tour *t = context;
    if (item->cls == STOA_CLIENT_ITEM_ORDER) { t->updates++; }
    if (item->cls == STOA_CLIENT_GAP) { t->gaps++; }
}

static void on_message(void *context, const stoa_client_item *item)
{
    tour *t = context;
    if (item->cls != STOA_CLIENT_ITEM_MESSAGE) { return; }
    const room_entry *entry = &item->as.message->entry;
    t->messages++;
    printf("  room    #lobby %" PRIu64 "  %.*s: %.*s\n", entry->seq, STOA_TEXT_ARGS(&entry->author), STOA_TEXT_ARGS(&entry->text));
}

static void subscribe(tour *t, stoa_client_stream stream, const char *target, stoa_client_on_item on_item)
{
    uint64_t id;
    stoa_err err = stoa_client_subscribe(t->client, stream, target, STOA_CLIENT_NOW, on_item, t, STOA_CLIENT_S(5), &id);
    if (err) { say(t, "subscribe", err); }
}

static void watch(tour *t)
{
    char market[64], bid[STOA_DECIMAL_TEXT_MAX], ask[STOA_DECIMAL_TEXT_MAX];
    (void)snprintf(market, sizeof market, "%s.%s", t->venue, t->symbol);
    subscribe(t, STOA_CLIENT_STREAM_MARKET_TOP, market, on_top);
    subscribe(t, STOA_CLIENT_STREAM_MARKET_TRADE, market, on_market);
    subscribe(t, STOA_CLIENT_STREAM_MARKET_DIFF, market, on_market);
    subscribe(t, STOA_CLIENT_STREAM_ORDERS, t->account, on_order);
    for (uint64_t until = now_ns() + STOA_CLIENT_S(5); !t->ask && now_ns() < until;) {
        (void)stoa_client_poll(t->client, STOA_CLIENT_MS(50));
    }
    printf("  market  %s %s  bid %s  ask %s  (source: %s)\n", t->venue, t->symbol, stoa_client_decimal_text(t->bid, bid),
           stoa_client_decimal_text(t->ask, ask), strcmp(t->venue, "sim") == 0 ? "simulated" : "recorded or live");
}

static void talk(tour *t)
{
    room_posted posted;
    stoa_client_stamp stamp;
    stoa_err err = stoa_client_join(t->client, "lobby", STOA_CLIENT_S(5), NULL);
    if (!err) { subscribe(t, STOA_CLIENT_STREAM_ROOM, "lobby", on_message); }
    if (!err) {
        err = stoa_client_post(t->client, "lobby", t->base_id, "Good morning. Anyone buying?", STOA_CLIENT_S(5), &posted, &stamp);
    }
    if (err) { say(t, "room", err); }
    for (uint64_t until = now_ns() + STOA_CLIENT_S(2); !err && !t->messages && now_ns() < until;) {
        (void)stoa_client_poll(t->client, STOA_CLIENT_MS(20));
    }
}

static void tell(const trade_order *o, const stoa_client_stamp *stamp, uint64_t ack_ns)
{
    char price[STOA_DECIMAL_TEXT_MAX], qty[STOA_DECIMAL_TEXT_MAX], filled[STOA_DECIMAL_TEXT_MAX];
    printf("  order   %" PRIu64 "  %s %s %.*s at %s: %s, filled %s  (%s, position %" PRIu64 ", %" PRIu64 " us)\n", o->order_id,
           trade_side_texts[o->side], stoa_client_decimal_text(o->qty, qty), STOA_TEXT_ARGS(&o->symbol),
           stoa_client_decimal_text(o->price, price), trade_status_texts[o->status],
           stoa_client_decimal_text(o->filled_qty, filled), stoa_client_durability_name(stamp->durability), stamp->position,
           ack_ns / 1000);
}

/* Two of three orders take from the quotes around the market, the third rests beside it and is cancelled by the next one. */
static void place(tour *t, uint32_t n)
{
    trade_account_place order = {.client_order_id = t->base_id + n + 1, .qty = STOA_DECIMAL_ONE / 1000};
    trade_order out;
    stoa_client_stamp stamp;
    bool buy = n % 2 == 0, takes = n % 3 != 2;
    stoa_decimal mid = (t->bid + t->ask) / 2, away = mid / 1000;
    stoa_decimal price = buy == takes ? mid + away : mid - away;
    order.price = price - price % (STOA_DECIMAL_ONE / 100);
    order.side = buy ? trade_side_BUY : trade_side_SELL;
    order.tif = takes ? trade_tif_IOC : trade_tif_GTC;
    (void)STOA_TEXT_SETZ(&order.symbol, t->symbol);

    uint64_t began = now_ns();
    stoa_err err = stoa_client_place(t->client, t->account, &order, STOA_CLIENT_S(RETRY_S), &out, &stamp);
    uint64_t ack_ns = now_ns() - began;
    if (err) {
        say(t, "place", err);
        return;
    }
    t->orders[t->count++] = (seen){order.client_order_id, out.order_id, ack_ns};
    t->fills += out.fills;
    t->rejected += out.status == trade_status_REJECTED;
    if (n < 3 || ack_ns > STOA_CLIENT_MS(300)) { tell(&out, &stamp, ack_ns); }
    if (ack_ns > STOA_CLIENT_MS(300)) { printf("          (this one waited for the node to come back)\n"); }
    if (out.status == trade_status_OPEN) {
        err = stoa_client_cancel(t->client, t->account, out.order_id, 0, STOA_CLIENT_S(RETRY_S), &out, NULL);
        if (err) { say(t, "cancel", err); }
    }
    (void)fflush(stdout);
}

static void verify(tour *t)
{
    for (uint32_t i = 0; i < t->count; i++) {
        trade_order out;
        stoa_err err = stoa_client_query(t->client, t->account, 0, t->orders[i].client_order_id, STOA_CLIENT_S(5), &out, NULL);
        if (err || out.order_id != t->orders[i].order_id) { t->lost++; }
    }
    printf("  after   %" PRIu32 " acknowledged orders asked for again: %" PRIu32 " there, %" PRIu64 " lost\n", t->count,
           (uint32_t)(t->count - t->lost), t->lost);
}

static int by_time(const void *a, const void *b)
{
    uint64_t x = ((const seen *)a)->ack_ns, y = ((const seen *)b)->ack_ns;
    return x < y ? -1 : x > y;
}

static uint64_t quantile_us(tour *t, uint32_t permille)
{
    return t->count ? t->orders[(uint64_t)(t->count - 1) * permille / 1000].ack_ns / 1000 : 0;
}

int main(int argc, char **argv)
{
    static tour t;
    if (argc != 8) {
        (void)fprintf(stderr, "usage: stoa-tour ENDPOINT SERVER.pub KEY ACCOUNT SYMBOL VENUE SECONDS\n");
        return 2;
    }
    t.account = argv[4];
    t.symbol = argv[5];
    t.venue = argv[6];
    struct timespec wall;
    (void)clock_gettime(CLOCK_REALTIME, &wall);
    t.base_id = (uint64_t)wall.tv_sec * 1000000; /* ids ascend over runs */
    stoa_client_options options = {.endpoint = argv[1], .server_key = argv[2], .key = argv[3], .name = "stoa-tour"};
    stoa_err err = stoa_client_open(&options, &t.client);
    if (!err) { err = stoa_client_wait(t.client, STOA_CLIENT_S(10)); }
    if (err) {
        (void)fprintf(stderr, "stoa-tour: %s: %s\n", stoa_client_error_name(err), stoa_client_error_meaning(err));
        return 1;
    }
    watch(&t);
    talk(&t);
    uint64_t until = now_ns() + (uint64_t)atoi(argv[7]) * UINT64_C(1000000000);
    for (uint32_t n = 0; n < ORDERS_MAX && now_ns() < until; n++) {
        place(&t, n);
        (void)stoa_client_poll(t.client, STOA_CLIENT_MS(PAUSE_MS));
    }
    verify(&t);
    uint64_t last = t.count ? t.orders[t.count - 1].order_id : 0, first = t.count ? t.orders[0].order_id : 0;
    qsort(t.orders, t.count, sizeof t.orders[0], by_time);
    printf("{\"market_events\":%" PRIu64 ",\"orders\":%" PRIu32 ",\"fills\":%" PRIu64 ",\"rejected\":%" PRIu64
           ",\"order_updates\":%" PRIu64 ",\"stream_gaps\":%" PRIu64 ",\"room_messages\":%" PRIu64
           ",\"ack_p50_us\":%" PRIu64 ",\"ack_p99_us\":%" PRIu64 ",\"lost\":%" PRIu64 ",\"errors\":%" PRIu64
           ",\"first_order\":%" PRIu64 ",\"last_order\":%" PRIu64 "}\n",
           t.market_events, t.count, t.fills, t.rejected, t.updates, t.gaps, t.messages, quantile_us(&t, 500),
           quantile_us(&t, 990), t.lost, t.errors, first, last);
    stoa_client_close(t.client);
    return t.lost || t.errors ? 1 : 0;
}
