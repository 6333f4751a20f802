/* market_exchange_test.c - goal: the simulated exchange is the same market for the same seed, and its mirror is exact. Method: three
 * markets of two seeds under two schedules; the mirror's book beside the exchange's, the trades by their hash.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "tests/sim/market_listener.h"

#include "actors/market/exchange_msgs.h"
#include "actors/trade/book_msgs.h"
#include "actors/trade/trade.h"

STOA_PROXY(market_exchange)
STOA_PROXY(trade_book)

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

int main(void)
{
    choose_seed();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_same_seed_is_the_same_market),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
