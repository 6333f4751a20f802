/* market_test.c - goal: the mirror of an outside book is exact or not live, whatever the feed does, and the simulated
 * exchange is the same market for the same seed.
 *
 * Method: a made-up venue (a plain model of a book) writes Binance frames; the real connector and mirror hear them
 * under the simulator, with frames dropped, doubled, reordered, cut and broken, by hand and at random from a printed
 * seed. Whenever the mirror says it is live, its levels must be the model's at that update id. Where the recorded day
 * is at hand (STOA_DATA, or ../shared/data beside the repository), it must come out to the last digit.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "actors/market/book_msgs.h"
#include "actors/market/exchange_msgs.h"
#include "actors/market/market.h"
#include "actors/trade/book_msgs.h"
#include "actors/trade/trade.h"
#include "base/hash.h"
#include "base/random.h"
#include "node/ports/capture.h"
#include "runtime/kit.h"

STOA_PROXY(market_book)
STOA_PROXY(market_connector)
STOA_PROXY(market_exchange)
STOA_PROXY(trade_book)

static uint64_t first_seed;

/* --- who listens to what the mirror publishes */

enum { TRADES_KEPT = 4096 };
typedef struct heard {
    uint64_t diffs, jumps, trades, tops, last_id, hash;
    uint64_t hash_after[TRADES_KEPT]; /* of all trades up to this one */
    market_feed_top top;
} heard;
static heard heard_now;

#define listener_check_FIELDS    STOA_NO_FIELDS
#define listener_ROWS(ROW, K)    ROW(K, CAST, check, _, "Nothing.")
STOA_TABLE(listener)
STOA_TABLE_DEFINE(listener)
typedef struct listener {
    uint64_t nothing;
} listener;
#define listener_HEARS(HEAR, K) HEAR(K, market_feed, diff) HEAR(K, market_feed, trade) HEAR(K, market_feed, top)
static stoa_err listen(stoa_turn *turn, void *state, const void *args)
{
    (void)state, (void)args;
    return stoa_turn_subscribe(turn, "market.>");
}
STOA_PLAIN_KIND(listener, .start = listen, .mailbox_limit = 65536)

static stoa_err listener_on_check(stoa_turn *turn, listener *self, const listener_check *in)
{
    (void)turn, (void)self, (void)in;
    return STOA_OK;
}
static stoa_err listener_on_market_feed_diff(stoa_turn *turn, listener *self, const market_feed_diff *in)
{
    (void)turn, (void)self;
    bool continues = in->first_id == heard_now.last_id + 1;
    heard_now.jumps += !continues;
    if (in->more) { return STOA_OK; }
    heard_now.last_id = in->last_id;
    heard_now.diffs++;
    return STOA_OK;
}
static stoa_err listener_on_market_feed_trade(stoa_turn *turn, listener *self, const market_feed_trade *in)
{
    (void)turn, (void)self;
    heard_now.trades++;
    heard_now.hash = stoa_mix64(heard_now.hash ^ in->trade_id) + (uint64_t)in->price * 3 + (uint64_t)in->qty * 7 +
                     in->taker_side;
    if (heard_now.trades < TRADES_KEPT) { heard_now.hash_after[heard_now.trades] = heard_now.hash; }
    return STOA_OK;
}
static stoa_err listener_on_market_feed_top(stoa_turn *turn, listener *self, const market_feed_top *in)
{
    (void)turn, (void)self;
    heard_now.tops++;
    heard_now.top = *in;
    return STOA_OK;
}

/* --- the world */

typedef struct world {
    stoa_sim *sim;
    stoa_node *node;
    stoa_ref connector, book;
    uint64_t frame;
} world;

static void world_new(world *w, uint64_t seed)
{
    static const market_connector_options options = {
        .venue = stoa_text("binance"), .symbol_count = 1, .symbols = {stoa_text("BTCUSDT")}};
    stoa_ref ignored;
    *w = (world){0};
    heard_now = (heard){0};
    stoa_sim_options simulated = {.seed = seed, .cores = 2, .trace = stoa_seeds_trace()};
    assert_int_equal(stoa_sim_new(&simulated, &w->sim, &w->node), STOA_OK);
    assert_int_equal(stoa_spawn(w->node, &listener_kind, "listener/all", &(stoa_spawn_options){.core = 1}, &ignored),
                     STOA_OK);
    assert_int_equal(market_spawn_venue(w->node, &options, 0, &w->connector), STOA_OK);
    w->book = stoa_find(w->node, "market_book/binance.BTCUSDT");
    assert_true(w->book.at != 0);
}

static void settle(world *w)
{
    assert_int_equal(stoa_sim_settle(w->sim, 10000000), STOA_OK);
}

static void world_free(world *w)
{
    stoa_sim_free(w->sim);
}

static market_connector_counts counts_of(world *w)
{
    market_connector_counts counts;
    market_connector_status in = {0};
    assert_int_equal(market_connector_call_status(w->node, w->connector, in, STOA_S(1), &counts), STOA_OK);
    return counts;
}

/* Frame messages go round: what was taken comes back when the connector is asked something. */
static void make_room(world *w)
{
    settle(w);
    (void)counts_of(w);
}

static void post_frame(world *w, const char *bytes, size_t size)
{
    size_t from = 0;
    w->frame++;
    while (from < size) {
        market_connector_frame part = {.number = w->frame};
        size_t left = size - from, take = left < sizeof part.bytes.at ? left : sizeof part.bytes.at;
        part.more = take < left;
        assert_int_equal(STOA_TEXT_SET(&part.bytes, bytes + from, take), STOA_OK);
        while (market_connector_post_frame(w->node, w->connector, part) == STOA_E_FULL) { make_room(w); }
        from += take;
    }
}

static void open_stream(world *w)
{
    assert_int_equal(market_connector_post_opened(w->node, w->connector, (market_connector_opened){0}), STOA_OK);
}

static market_book_state look(world *w)
{
    market_book_state state;
    market_book_view in = {.limit = 64};
    assert_int_equal(market_book_call_view(w->node, w->book, in, STOA_S(1), &state), STOA_OK);
    return state;
}

/* --- the made-up venue: prices are whole numbers, bids below MIDDLE, asks above */

enum { PRICES = 200, MIDDLE = PRICES / 2, DIFFS_MAX = 2600, FRAME_MAX = 1 << 16 };

typedef struct venue {
    stoa_random random;
    uint64_t first_id, last_id; /* of the diffs so far */
    uint32_t count;
    int64_t qty[PRICES];
    struct {
        uint64_t first_id, last_id;
        int64_t qty[PRICES]; /* the book after it */
        char *frame;
    } diffs[DIFFS_MAX];
} venue;

static void venue_new(venue *v, uint64_t seed, uint64_t id)
{
    memset(v, 0, sizeof *v);
    stoa_random_seed(&v->random, seed);
    v->last_id = id;
    for (int i = 0; i < PRICES; i++) { v->qty[i] = i == MIDDLE ? 0 : (int64_t)stoa_random_below(&v->random, 4); }
}

static void venue_free(venue *v)
{
    for (uint32_t i = 0; i < v->count; i++) { free(v->diffs[i].frame); }
}

static int print_side(char *out, size_t room, const int64_t *qty, const bool *shown, bool bids)
{
    int used = 0;
    for (int i = 0; i < PRICES; i++) {
        if (!shown[i] || (i < MIDDLE) != bids) { continue; }
        used += snprintf(out + used, room - (size_t)used, "%s[\"%d.00\",\"%" PRId64 ".5\"]", used ? "," : "", i + 1,
                         qty[i]);
    }
    return used;
}

/* Levels of quantity 0 print as "0.5" would: the half is only added to what is there. */
static char *print_frame(const char *head, const char *bid_name, const char *ask_name, const int64_t *qty,
                         const bool *shown)
{
    char *text = malloc(FRAME_MAX), *at = text;
    assert_non_null(text);
    at += sprintf(at, "%s\"%s\":[", head, bid_name);
    at += print_side(at, FRAME_MAX / 3, qty, shown, true);
    at += sprintf(at, "],\"%s\":[", ask_name);
    at += print_side(at, FRAME_MAX / 3, qty, shown, false);
    (void)sprintf(at, "]}");
    for (char *zero = text; (zero = strstr(zero, "\"0.5\"")) != NULL;) { memcpy(zero, "\"0.0\"", 5); }
    return text;
}

/* The next diff: up to changes levels, one to three ids. */
static void venue_diff(venue *v, uint32_t changes)
{
    char head[160];
    bool shown[PRICES] = {false};
    STOA_ASSERT(v->count < DIFFS_MAX);
    uint64_t first = v->last_id + 1;
    v->last_id += 1 + stoa_random_below(&v->random, 3);
    for (uint32_t i = 0; i < changes; i++) {
        uint64_t price = stoa_random_below(&v->random, PRICES);
        if (price == MIDDLE) { continue; }
        shown[price] = true;
        v->qty[price] = (int64_t)stoa_random_below(&v->random, 4);
    }
    (void)snprintf(head, sizeof head,
                   "{\"e\":\"depthUpdate\",\"E\":1,\"s\":\"BTCUSDT\",\"U\":%" PRIu64 ",\"u\":%" PRIu64 ",", first,
                   v->last_id);
    v->diffs[v->count].first_id = first;
    v->diffs[v->count].last_id = v->last_id;
    memcpy(v->diffs[v->count].qty, v->qty, sizeof v->qty);
    v->diffs[v->count++].frame = print_frame(head, "b", "a", v->qty, shown);
}

static void send_diff(world *w, const venue *v, uint32_t index)
{
    post_frame(w, v->diffs[index].frame, strlen(v->diffs[index].frame));
}

/* The book as it was after diff index (PRICES levels fit any snapshot). */
static void send_snapshot(world *w, const venue *v, uint32_t index)
{
    char head[64];
    bool shown[PRICES];
    for (int i = 0; i < PRICES; i++) { shown[i] = v->diffs[index].qty[i] != 0; }
    (void)snprintf(head, sizeof head, "{\"lastUpdateId\":%" PRIu64 ",", v->diffs[index].last_id);
    char *frame = print_frame(head, "bids", "asks", v->diffs[index].qty, shown);
    post_frame(w, frame, strlen(frame));
    free(frame);
}

static void check_side(const market_levels *levels, uint64_t count, const int64_t *qty, bool bids)
{
    uint32_t index = 0;
    for (int i = 0; i < PRICES; i++) {
        int price = bids ? PRICES - 1 - i : i;
        if (qty[price] == 0 || (price < MIDDLE) != bids) { continue; }
        if (index < levels->count) {
            assert_int_equal(levels->at[index].price, (price + 1) * STOA_DECIMAL_ONE);
            assert_int_equal(levels->at[index].qty, qty[price] * STOA_DECIMAL_ONE + STOA_DECIMAL_ONE / 2);
        }
        index++;
    }
    assert_int_equal(count, index);
}

/* A live mirror is the venue's book at its last id. */
static void check_exact(const market_book_state *state, const venue *v)
{
    assert_int_equal(state->status, market_book_status_LIVE);
    for (uint32_t i = 0; i < v->count; i++) {
        if (v->diffs[i].last_id != state->last_id) { continue; }
        check_side(&state->bids, state->bid_levels, v->diffs[i].qty, true);
        check_side(&state->asks, state->ask_levels, v->diffs[i].qty, false);
        return;
    }
    fail_msg("no diff ends at %" PRIu64, state->last_id);
}

static void check_live(world *w, const venue *v)
{
    settle(w);
    market_book_state state = look(w);
    check_exact(&state, v);
    assert_int_equal(state.last_id, v->last_id);
    assert_int_equal(heard_now.top.bid, state.bids.count ? state.bids.at[0].price : 0);
    assert_int_equal(heard_now.top.ask, state.asks.count ? state.asks.at[0].price : 0);
}

static venue made_up;

/* A world that is live after ten diffs, the snapshot taken at the fifth. */
static void begin(world *w)
{
    world_new(w, first_seed);
    venue_new(&made_up, first_seed, 1000);
    open_stream(w);
    settle(w);
    for (uint32_t i = 0; i < 10; i++) {
        venue_diff(&made_up, 20);
        send_diff(w, &made_up, i);
        if (i == 7) { send_snapshot(w, &made_up, 4); }
    }
    check_live(w, &made_up);
}

static void more_diffs(uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) { venue_diff(&made_up, 20); }
}

static void end(world *w)
{
    world_free(w);
    venue_free(&made_up);
}

/* --- by hand */

static void diffs_wait_for_the_snapshot(void **state)
{
    (void)state;
    world w;
    begin(&w);
    market_book_state s = look(&w);
    assert_int_equal(s.diffs_applied, 5);
    assert_int_equal(s.dropped, 5);
    assert_int_equal(s.gaps, 0);
    assert_int_equal(s.duplicates, 0);
    assert_int_equal(s.resyncs, 0);
    assert_int_equal(s.snapshots, 1);
    assert_int_equal(heard_now.diffs, 5);
    assert_int_equal(heard_now.jumps, 1); /* the first */
    assert_int_equal(counts_of(&w).wanted, 1);
    end(&w);
}

static void a_dropped_diff_is_noticed_and_resynced(void **state)
{
    (void)state;
    world w;
    begin(&w);
    more_diffs(5);
    for (uint32_t i = 11; i < 14; i++) { send_diff(&w, &made_up, i); } /* 10 is lost */
    settle(&w);
    market_book_state s = look(&w);
    assert_int_equal(s.status, market_book_status_RESYNCING);
    assert_int_equal(s.gaps, 1);
    assert_int_equal(s.resyncs, 1);
    assert_int_equal(s.waiting, 3);
    assert_int_equal(s.last_id, made_up.diffs[9].last_id);
    assert_int_equal(heard_now.top.bid, 0); /* nobody may act on what it was */
    assert_int_equal(heard_now.top.ask, 0);
    assert_int_equal(counts_of(&w).wanted, 2);
    send_snapshot(&w, &made_up, 12);
    send_diff(&w, &made_up, 14);
    check_live(&w, &made_up);
    s = look(&w);
    assert_int_equal(s.gaps, 1);
    assert_int_equal(s.resyncs, 1);
    assert_int_equal(s.healed, 0);
    assert_int_equal(s.snapshots, 2);
    assert_int_equal(s.diffs_applied, 5 + 2);
    end(&w);
}

static void a_doubled_diff_is_noticed_and_not_applied_twice(void **state)
{
    (void)state;
    world w;
    begin(&w);
    more_diffs(3);
    send_diff(&w, &made_up, 10);
    send_diff(&w, &made_up, 11);
    send_diff(&w, &made_up, 11);
    send_diff(&w, &made_up, 12);
    check_live(&w, &made_up);
    market_book_state s = look(&w);
    assert_int_equal(s.duplicates, 1);
    assert_int_equal(s.resyncs, 1);
    assert_int_equal(s.gaps, 0);
    assert_int_equal(s.diffs_applied, 5 + 3);
    assert_int_equal(s.snapshots, 1);
    assert_int_equal(heard_now.jumps, 1);
    end(&w);
}

static void reordered_diffs_are_noticed_and_put_right(void **state)
{
    (void)state;
    world w;
    begin(&w);
    more_diffs(4);
    send_diff(&w, &made_up, 12);
    send_diff(&w, &made_up, 11);
    send_diff(&w, &made_up, 10);
    send_diff(&w, &made_up, 13);
    check_live(&w, &made_up);
    market_book_state s = look(&w);
    assert_int_equal(s.gaps, 1);
    assert_int_equal(s.resyncs, 1);
    assert_int_equal(s.healed, 1);
    assert_int_equal(s.diffs_applied, 5 + 4);
    assert_int_equal(heard_now.jumps, 1); /* what was published is in order */
    end(&w);
}

static void a_snapshot_older_than_the_backlog_is_not_enough(void **state)
{
    (void)state;
    world w;
    begin(&w);
    more_diffs(6);
    for (uint32_t i = 12; i < 15; i++) { send_diff(&w, &made_up, i); }
    send_snapshot(&w, &made_up, 10); /* 11 is missing between it and the backlog */
    settle(&w);
    assert_int_equal(look(&w).status, market_book_status_RESYNCING);
    assert_int_equal(counts_of(&w).wanted, 3);
    send_snapshot(&w, &made_up, 11);
    send_diff(&w, &made_up, 15);
    check_live(&w, &made_up);
    end(&w);
}

static void a_snapshot_that_nobody_needs_changes_nothing(void **state)
{
    (void)state;
    world w;
    begin(&w);
    more_diffs(2);
    send_snapshot(&w, &made_up, 3);
    send_diff(&w, &made_up, 10);
    send_snapshot(&w, &made_up, 11);
    send_diff(&w, &made_up, 11);
    check_live(&w, &made_up);
    market_book_state s = look(&w);
    assert_int_equal(s.snapshots, 1);
    assert_int_equal(s.resyncs + s.gaps + s.duplicates, 0);
    end(&w);
}

static void a_new_stream_begins_with_an_empty_book(void **state)
{
    (void)state;
    world w;
    begin(&w);
    venue_free(&made_up);
    venue_new(&made_up, first_seed + 1, 5); /* another venue, with lower ids */
    open_stream(&w);
    settle(&w);
    market_book_state s = look(&w);
    assert_int_equal(s.status, market_book_status_RESYNCING);
    assert_int_equal(s.bid_levels + s.ask_levels, 0);
    assert_int_equal(heard_now.top.bid, 0);
    more_diffs(3);
    send_diff(&w, &made_up, 0);
    send_snapshot(&w, &made_up, 0);
    send_diff(&w, &made_up, 1);
    send_diff(&w, &made_up, 2);
    check_live(&w, &made_up);
    assert_int_equal(look(&w).resyncs, 1);
    end(&w);
}

static void the_backlog_is_bounded(void **state)
{
    (void)state;
    world w;
    begin(&w);
    for (uint32_t i = 10; i < 1500; i++) {
        venue_diff(&made_up, 3);
        if (i != 10) { send_diff(&w, &made_up, i); }
        if (i % 100 == 0) { settle(&w); }
    }
    settle(&w);
    market_book_state s = look(&w);
    assert_int_equal(s.waiting, 1024);
    assert_int_equal(s.dropped, 5 + 1489 - 1024);
    send_snapshot(&w, &made_up, 1200);
    check_live(&w, &made_up);
    end(&w);
}

static void a_snapshot_that_never_comes_is_wanted_again(void **state)
{
    (void)state;
    world w;
    begin(&w);
    more_diffs(2);
    send_diff(&w, &made_up, 11);
    settle(&w);
    assert_int_equal(counts_of(&w).wanted, 2);
    stoa_sim_run(w.sim, STOA_S(25));
    assert_int_equal(counts_of(&w).wanted, 4);
    send_snapshot(&w, &made_up, 11);
    check_live(&w, &made_up);
    stoa_sim_run(w.sim, STOA_S(25));
    assert_int_equal(counts_of(&w).wanted, 4);
    end(&w);
}

/* --- frames */

static void bad_frames_are_counted_and_change_nothing(void **state)
{
    (void)state;
    static const char *const frames[] = {
        "not json",
        "{\"e\":\"depthUpdate\",\"s\":\"BTCUSDT\"}",
        "{\"e\":\"kline\"}",
        "{\"e\":\"trade\",\"s\":\"BTCUSDT\",\"t\":1,\"p\":\"0.000000001\",\"q\":\"1\",\"T\":1,\"m\":true}",
        "{\"e\":\"trade\",\"s\":\"ETHUSDT\",\"t\":1,\"p\":\"1\",\"q\":\"1\",\"T\":1,\"m\":true}",
        "{\"result\":null,\"id\":1}",
    };
    world w;
    begin(&w);
    market_book_state before = look(&w);
    for (size_t i = 0; i < sizeof frames / sizeof *frames; i++) { post_frame(&w, frames[i], strlen(frames[i])); }
    settle(&w);
    market_book_state after = look(&w);
    assert_memory_equal(&before, &after, sizeof before);
    market_connector_counts counts = counts_of(&w);
    assert_int_equal(counts.malformed, 2);
    assert_int_equal(counts.unknown, 1);
    assert_int_equal(counts.numbers, 1);
    assert_int_equal(counts.unrouted, 1);
    assert_int_equal(counts.idle, 1);
    more_diffs(1);
    send_diff(&w, &made_up, 10);
    check_live(&w, &made_up);
    end(&w);
}

static void a_torn_frame_is_counted_and_the_next_one_is_whole(void **state)
{
    (void)state;
    world w;
    begin(&w);
    market_connector_frame part = {.number = 777777, .more = 1};
    assert_int_equal(STOA_TEXT_SETZ(&part.bytes, "{\"e\":\"depth"), STOA_OK);
    assert_int_equal(market_connector_post_frame(w.node, w.connector, part), STOA_OK);
    for (uint32_t i = 10; i < 12; i++) {
        venue_diff(&made_up, 190); /* several parts */
        send_diff(&w, &made_up, i);
    }
    check_live(&w, &made_up);
    assert_int_equal(counts_of(&w).torn, 1);
    part.bytes.len = 0;
    for (int i = 0; i < 300; i++) { /* more than a frame may have */
        memset(part.bytes.at, 'x', sizeof part.bytes.at);
        part.bytes.len = sizeof part.bytes.at;
        part.number = 888888;
        part.more = i < 299;
        assert_int_equal(market_connector_post_frame(w.node, w.connector, part), STOA_OK);
        if (i % 50 == 0) { settle(&w); }
    }
    settle(&w);
    assert_int_equal(counts_of(&w).too_large, 1);
    more_diffs(1);
    send_diff(&w, &made_up, 12);
    check_live(&w, &made_up);
    end(&w);
}

static void tops_of_the_venue_run_ahead_of_its_diffs(void **state)
{
    (void)state;
    char text[256];
    world w;
    begin(&w);
    uint64_t tops = heard_now.tops;
    (void)snprintf(text, sizeof text,
                   "{\"u\":%" PRIu64 ",\"s\":\"BTCUSDT\",\"b\":\"98.5\",\"B\":\"3\",\"a\":\"98.75\",\"A\":\"1\"}",
                   made_up.last_id + 1);
    post_frame(&w, text, strlen(text));
    post_frame(&w, text, strlen(text)); /* nothing new: not published again */
    settle(&w);
    assert_int_equal(heard_now.tops, tops + 1);
    assert_int_equal(heard_now.top.bid, 9850000000);
    (void)snprintf(text, sizeof text,
                   "{\"u\":%" PRIu64 ",\"s\":\"BTCUSDT\",\"b\":\"1\",\"B\":\"3\",\"a\":\"2\",\"A\":\"1\"}",
                   made_up.last_id);
    post_frame(&w, text, strlen(text)); /* older than the book */
    settle(&w);
    assert_int_equal(heard_now.top.bid, 9850000000);
    more_diffs(2);
    send_diff(&w, &made_up, 10);
    send_diff(&w, &made_up, 11);
    check_live(&w, &made_up); /* overtaken by the book */
    (void)snprintf(text, sizeof text,
                   "{\"u\":%" PRIu64 ",\"s\":\"BTCUSDT\",\"b\":\"97.5\",\"B\":\"3\",\"a\":\"97.75\",\"A\":\"1\"}",
                   made_up.last_id + 1000);
    post_frame(&w, text, strlen(text));
    more_diffs(2);
    send_diff(&w, &made_up, 12);
    send_diff(&w, &made_up, 13);
    settle(&w);
    assert_int_equal(look(&w).last_id, made_up.last_id);
    assert_int_equal(heard_now.top.bid, 9750000000); /* the book has not got there yet */
    end(&w);
}

/* --- credit */

static uint64_t granted_to_port;

static void hear_granted(void *context, const stoa_delivery *delivery)
{
    (void)context;
    if (delivery->row != &market_connector_rows[market_connector_ROW_granted]) { return; }
    granted_to_port = ((const market_connector_granted *)delivery->payload)->frames;
}

/* Send count trades through a port to a connector of this mirror's kind; how many the connector grants again. */
static uint64_t granted_of(const stoa_kind *mirror, uint32_t count)
{
    static const char trade[] =
        "{\"e\":\"trade\",\"s\":\"BTCUSDT\",\"t\":1,\"p\":\"1\",\"q\":\"1\",\"T\":1,\"m\":true}";
    static const market_connector_options options = {
        .venue = stoa_text("binance"), .symbol_count = 1, .symbols = {stoa_text("BTCUSDT")}};
    market_connector_frame frame = {.number = 0};
    stoa_spawn_options here = {.core = 0, .args = &options};
    stoa_sim *sim;
    stoa_node *node;
    stoa_port *port;
    stoa_ref ignored, connector;
    granted_to_port = 0;
    assert_int_equal(STOA_TEXT_SETZ(&frame.bytes, trade), STOA_OK);
    assert_int_equal(stoa_sim_new(&(stoa_sim_options){.seed = first_seed}, &sim, &node), STOA_OK);
    assert_int_equal(stoa_spawn(node, mirror, "market_book/binance.BTCUSDT", &here, &ignored), STOA_OK);
    assert_int_equal(stoa_spawn(node, &market_connector_kind, "market_connector/binance", &here, &connector), STOA_OK);
    assert_int_equal(stoa_port_open(node, "test", &port), STOA_OK);
    for (uint32_t i = 0; i < count; i++) {
        frame.number++;
        assert_int_equal(
            stoa_port_send(port, connector, &market_connector_rows[market_connector_ROW_frame], &frame, 0), STOA_OK);
        stoa_port_flush(port);
        assert_int_equal(stoa_sim_settle(sim, 1000000), STOA_OK);
        while (stoa_port_poll(port, hear_granted, NULL, 64)) {}
    }
    stoa_port_close(port);
    stoa_sim_free(sim);
    return granted_to_port;
}

static void credit_stops_when_the_mirror_does_not_keep_up(void **state)
{
    (void)state;
    stoa_kind deaf = listener_kind; /* hears, and does not say so */
    deaf.name = "market_book";
    deaf.start = NULL;
    assert_int_equal(granted_of(&market_book_kind, 3200), 3200);
    assert_int_equal(granted_of(&deaf, 3200), 512);
}

/* --- at random */

/* Snapshots that were wanted come a few diffs later, sometimes older than the newest diff, sometimes not at all. */
static void answer_wants(world *w, venue *v, uint64_t *answered, uint32_t sent)
{
    uint64_t wanted = counts_of(w).wanted;
    if (wanted == *answered || !stoa_random_chance(&v->random, 300)) { return; }
    *answered = wanted;
    uint32_t back = (uint32_t)stoa_random_below(&v->random, 4);
    if (stoa_random_chance(&v->random, 900)) { send_snapshot(w, v, sent > back ? sent - back : sent); }
}

static uint64_t one_faulty_run(uint64_t seed)
{
    world w;
    venue *v = &made_up;
    uint64_t answered = 0;
    world_new(&w, seed);
    venue_new(v, seed, stoa_mix64(seed) % 100000);
    open_stream(&w);
    venue_diff(v, 5);
    send_diff(&w, v, 0);
    for (uint32_t i = 1; i < 400; i++) {
        venue_diff(v, 1 + (uint32_t)stoa_random_below(&v->random, 40));
        uint64_t fault = stoa_random_below(&v->random, 100);
        if (fault == 0) { continue; }                                                       /* dropped */
        if (fault == 1) { send_diff(&w, v, i); }                                             /* doubled */
        if (fault == 2) { send_diff(&w, v, i - (uint32_t)stoa_random_below(&v->random, i)); } /* an old one again */
        if (fault == 3) {                                                                    /* reordered */
            venue_diff(v, 7);
            send_diff(&w, v, i + 1);
            send_diff(&w, v, i++);
            continue;
        }
        send_diff(&w, v, i);
        if (fault == 4) { open_stream(&w); }
        if (fault > 70) { settle(&w); }
        answer_wants(&w, v, &answered, i);
        market_book_state s = look(&w);
        if (s.status == market_book_status_LIVE) { check_exact(&s, v); }
    }
    settle(&w);
    if (look(&w).status != market_book_status_LIVE || look(&w).last_id != v->last_id) {
        venue_diff(v, 5);
        venue_diff(v, 5);
        send_diff(&w, v, v->count - 1); /* whatever it lacked, now it knows */
        settle(&w);
        send_snapshot(&w, v, v->count - 1);
    }
    check_live(&w, v);
    uint64_t hash = stoa_sim_hash(w.sim);
    world_free(&w);
    venue_free(v);
    return hash;
}

static const stoa_seeds seeds = {.count = 25, .deep = 1000, .run = one_faulty_run};

static void a_live_mirror_is_exact_under_faults(void **state)
{
    (void)state;
    for (uint64_t seed = first_seed; seed < first_seed + 5; seed++) { (void)one_faulty_run(seed); }
    assert_int_equal(stoa_seeds_run(&seeds), STOA_OK);
}

/* --- the recorded day */

static const char *recorded(char *path, size_t room)
{
    const char *folder = getenv("STOA_DATA");
    const char *source = getenv("STOA_SOURCE");
    const char *name = "binance_spot_btcusdt_20240808.gz";
    if (folder) {
        (void)snprintf(path, room, "%s/%s", folder, name);
    } else {
        (void)snprintf(path, room, "%s/../shared/data/%s", source ? source : ".", name);
    }
    FILE *file = fopen(path, "rb");
    if (!file) { return NULL; }
    (void)fclose(file);
    return path;
}

static void the_recorded_day_comes_out_exactly(void **state)
{
    (void)state;
    char path[1024];
    world w;
    stoa_capture *capture = NULL;
    const char *frame;
    uint64_t local_ns;
    size_t size;
    stoa_err err;
    if (!recorded(path, sizeof path)) {
        print_message("skipped: no recorded day at %s\n", path);
        skip();
    }
    world_new(&w, first_seed);
    open_stream(&w);
    assert_int_equal(stoa_capture_open(path, &capture), STOA_OK);
    for (int i = 0; (err = stoa_capture_next(capture, &local_ns, &frame, &size)) == STOA_OK; i++) {
        post_frame(&w, frame, size);
        if (i % 100 == 0) { make_room(&w); }
    }
    assert_int_equal(err, STOA_E_AGAIN);
    assert_int_equal(stoa_capture_skipped(capture), 0);
    stoa_capture_close(capture);
    settle(&w);
    market_book_state s = look(&w);
    assert_int_equal(s.status, market_book_status_LIVE);
    assert_int_equal(s.diffs_applied, 3449);
    assert_int_equal(s.gaps, 0);
    assert_int_equal(s.resyncs, 0);
    assert_int_equal(s.duplicates, 0);
    assert_int_equal(s.dropped, 2);
    assert_int_equal(s.last_id, 50093421584);
    assert_int_equal(s.bids.at[0].price, 6168599000000);
    assert_int_equal(s.asks.at[0].price, 6168600000000);
    assert_int_equal(s.trades, 9757);
    assert_int_equal(heard_now.trades, 9757);
    assert_int_equal(heard_now.diffs, 3449);
    assert_int_equal(heard_now.jumps, 1);
    market_connector_counts counts = counts_of(&w);
    assert_int_equal(counts.frames, 41249);
    assert_int_equal(counts.malformed + counts.unknown + counts.numbers + counts.too_large + counts.torn, 0);
    assert_int_equal(counts.unrouted + counts.overruns + counts.idle, 0);
    world_free(&w);
}

/* --- the simulated exchange */

typedef struct market_run {
    heard heard;
    market_exchange_counts counts;
    market_book_state mirror;
    trade_book_view book;
} market_run;

static void run_exchange(uint64_t sim_seed, uint64_t market_seed, market_run *out)
{
    static const stoa_kind *const kinds[] = {&trade_book_kind, NULL};
    market_exchange_options options = {.symbol = {.name = stoa_text("BTCUSDT"),
                                                  .base = stoa_text("BTC"),
                                                  .quote = stoa_text("USDT"),
                                                  .tick = STOA_DECIMAL_ONE / 100,
                                                  .lot = STOA_DECIMAL_ONE / 10000,
                                                  .qty_min = STOA_DECIMAL_ONE / 10000,
                                                  .qty_max = 100 * STOA_DECIMAL_ONE,
                                                  .margin_rate = STOA_DECIMAL_ONE},
                                       .seed = market_seed,
                                       .price = 60000 * STOA_DECIMAL_ONE,
                                       .interval_ns = STOA_MS(1),
                                       .steps = 3};
    stoa_sim *sim;
    stoa_node *node;
    stoa_shard *shard;
    stoa_ref ignored, book, exchange;
    heard_now = (heard){0};
    stoa_sim_options sim_options = {.seed = sim_seed, .cores = 2, .kinds = kinds};
    stoa_shard_options shard_options = {.name = "sim", .core = 1, .durability = stoa_durability_NONE};
    assert_int_equal(stoa_sim_new(&sim_options, &sim, &node), STOA_OK);
    assert_int_equal(stoa_shard_open(node, &shard_options, &shard), STOA_OK);
    stoa_spawn_options there = {.shard = shard}, here = {.core = 0};
    assert_int_equal(stoa_spawn(node, &trade_book_kind, "trade_book/SIM.BTCUSDT", &there, &book), STOA_OK);
    assert_int_equal(stoa_spawn(node, &listener_kind, "listener/all", &here, &ignored), STOA_OK);
    assert_int_equal(market_spawn_exchange(node, &options, 0, &exchange), STOA_OK);
    stoa_sim_run(sim, STOA_S(2));
    market_exchange_run stand_still = {.on = 0};
    market_exchange_status ask = {0};
    market_book_view view = {.limit = 64};
    trade_book_depth depth = {.limit = 64};
    stoa_ref mirror = stoa_find(node, "market_book/sim.BTCUSDT");
    assert_int_equal(market_exchange_call_run(node, exchange, stand_still, STOA_S(1), &out->counts), STOA_OK);
    stoa_sim_run(sim, STOA_MS(100));
    assert_int_equal(market_exchange_call_status(node, exchange, ask, STOA_S(1), &out->counts), STOA_OK);
    assert_int_equal(market_book_call_view(node, mirror, view, STOA_S(1), &out->mirror), STOA_OK);
    assert_int_equal(trade_book_call_depth(node, book, depth, STOA_S(1), &out->book), STOA_OK);
    out->heard = heard_now;
    stoa_sim_free(sim);
}

static void check_mirrors_the_exchange(const market_run *run)
{
    assert_int_equal(run->mirror.status, market_book_status_LIVE);
    assert_int_equal(run->mirror.gaps + run->mirror.resyncs + run->mirror.duplicates, 0);
    assert_int_equal(run->mirror.last_id, run->book.last_id);
    assert_memory_equal(&run->mirror.bids, &run->book.bids, sizeof run->book.bids);
    assert_memory_equal(&run->mirror.asks, &run->book.asks, sizeof run->book.asks);
    assert_int_equal(run->mirror.trades, run->book.trades);
    assert_true(run->mirror.bid_levels > 5 && run->mirror.bid_levels <= 60);
    assert_true(run->mirror.ask_levels > 5 && run->mirror.ask_levels <= 60);
    assert_true(run->mirror.bids.at[0].price < run->mirror.asks.at[0].price);
    assert_true(run->book.trades > 100);
    assert_int_equal(run->counts.held_up, 0);
}

/* The trades of the shorter run are how the longer one began. */
static bool same_trades(const market_run *a, const market_run *b)
{
    uint64_t count = a->heard.trades < b->heard.trades ? a->heard.trades : b->heard.trades;
    assert_in_range(count, 100, TRADES_KEPT - 1);
    return a->heard.hash_after[count] == b->heard.hash_after[count];
}

static void the_same_seed_is_the_same_market(void **state)
{
    (void)state;
    static market_run one, two, other;
    run_exchange(first_seed, 42, &one);
    check_mirrors_the_exchange(&one);
    run_exchange(first_seed + 1, 42, &two); /* another schedule */
    check_mirrors_the_exchange(&two);
    run_exchange(first_seed, 43, &other);
    check_mirrors_the_exchange(&other);
    assert_true(one.counts.steps > 3000);
    assert_true(same_trades(&one, &two));
    assert_false(same_trades(&one, &other));
}

int main(int argc, char **argv)
{
    int status;
    if (stoa_seeds_main(&seeds, argc, argv, &status)) { return status; }
    const char *given = getenv("STOA_SEED");
    first_seed = given ? strtoull(given, NULL, 0) : (uint64_t)time(NULL);
    printf("STOA_SEED=%" PRIu64 "\n", first_seed);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(diffs_wait_for_the_snapshot),
        cmocka_unit_test(a_dropped_diff_is_noticed_and_resynced),
        cmocka_unit_test(a_doubled_diff_is_noticed_and_not_applied_twice),
        cmocka_unit_test(reordered_diffs_are_noticed_and_put_right),
        cmocka_unit_test(a_snapshot_older_than_the_backlog_is_not_enough),
        cmocka_unit_test(a_snapshot_that_nobody_needs_changes_nothing),
        cmocka_unit_test(a_new_stream_begins_with_an_empty_book),
        cmocka_unit_test(the_backlog_is_bounded),
        cmocka_unit_test(a_snapshot_that_never_comes_is_wanted_again),
        cmocka_unit_test(bad_frames_are_counted_and_change_nothing),
        cmocka_unit_test(a_torn_frame_is_counted_and_the_next_one_is_whole),
        cmocka_unit_test(tops_of_the_venue_run_ahead_of_its_diffs),
        cmocka_unit_test(credit_stops_when_the_mirror_does_not_keep_up),
        cmocka_unit_test(a_live_mirror_is_exact_under_faults),
        cmocka_unit_test(the_recorded_day_comes_out_exactly),
        cmocka_unit_test(the_same_seed_is_the_same_market),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
