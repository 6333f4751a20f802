/* market_venue.h - a made-up venue (a plain model of a book) that writes Binance frames, and a world in which the real connector and
 * mirror hear them: whenever the mirror says that it is live, its levels must be the model's at that update id.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef STOA_TESTS_SIM_MARKET_VENUE_H
#define STOA_TESTS_SIM_MARKET_VENUE_H

#include "tests/sim/market_listener.h"

#include <string.h>

#include "actors/market/exchange_msgs.h"
#include "base/random.h"

STOA_PROXY(market_connector)

/* --- the world */

typedef struct world {
    stoa_sim *sim;
    stoa_node *node;
    stoa_ref connector, book;
    uint64_t frame;
} world;

static inline void world_new(world *w, uint64_t seed)
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

static inline void settle(world *w)
{
    assert_int_equal(stoa_sim_settle(w->sim, 10000000), STOA_OK);
}

static inline void world_free(world *w)
{
    stoa_sim_free(w->sim);
}

static inline market_connector_counts counts_of(world *w)
{
    market_connector_counts counts;
    market_connector_status in = {0};
    assert_int_equal(market_connector_call_status(w->node, w->connector, in, STOA_S(1), &counts), STOA_OK);
    return counts;
}

/* Frame messages go round: what was taken comes back when the connector is asked something. */
static inline void make_room(world *w)
{
    settle(w);
    (void)counts_of(w);
}

static inline void post_frame(world *w, const char *bytes, size_t size)
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

static inline void open_stream(world *w)
{
    assert_int_equal(market_connector_post_opened(w->node, w->connector, (market_connector_opened){0}), STOA_OK);
}

static inline market_book_state look(world *w)
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

static inline void venue_new(venue *v, uint64_t seed, uint64_t id)
{
    memset(v, 0, sizeof *v);
    stoa_random_seed(&v->random, seed);
    v->last_id = id;
    for (int i = 0; i < PRICES; i++) { v->qty[i] = i == MIDDLE ? 0 : (int64_t)stoa_random_below(&v->random, 4); }
}

static inline void venue_free(venue *v)
{
    for (uint32_t i = 0; i < v->count; i++) { free(v->diffs[i].frame); }
}

static inline int print_side(char *out, size_t room, const int64_t *qty, const bool *shown, bool bids)
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
static inline char *print_frame(const char *head, const char *bid_name, const char *ask_name, const int64_t *qty,
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
static inline void venue_diff(venue *v, uint32_t changes)
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

static inline void send_diff(world *w, const venue *v, uint32_t index)
{
    post_frame(w, v->diffs[index].frame, strlen(v->diffs[index].frame));
}

/* The book as it was after diff index (PRICES levels fit any snapshot). */
static inline void send_snapshot(world *w, const venue *v, uint32_t index)
{
    char head[64];
    bool shown[PRICES];
    for (int i = 0; i < PRICES; i++) { shown[i] = v->diffs[index].qty[i] != 0; }
    (void)snprintf(head, sizeof head, "{\"lastUpdateId\":%" PRIu64 ",", v->diffs[index].last_id);
    char *frame = print_frame(head, "bids", "asks", v->diffs[index].qty, shown);
    post_frame(w, frame, strlen(frame));
    free(frame);
}

static inline void check_side(const market_levels *levels, uint64_t count, const int64_t *qty, bool bids)
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
static inline void check_exact(const market_book_state *state, const venue *v)
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

static inline void check_live(world *w, const venue *v)
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
static inline void begin(world *w)
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

static inline void more_diffs(uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) { venue_diff(&made_up, 20); }
}

static inline void end(world *w)
{
    world_free(w);
    venue_free(&made_up);
}

#endif
