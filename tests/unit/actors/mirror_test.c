/* mirror_test.c - goal: the parts of a mirrored book are right: the ladder keeps a sorted side, the backlog gives
 * waiting diffs back whole and in order. Method: random changes against a plain model, with a printed seed; limits by
 * hand.
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

#include "actors/market/backlog.h"
#include "actors/market/ladder.h"
#include "base/random.h"

static stoa_random chance;
static market_ladder ladder;
static market_backlog backlog;

/* --- ladder */

enum { PRICES = 300 };

static void check_against(const stoa_decimal *model, trade_side side)
{
    market_levels shown;
    uint32_t index = 0;
    market_ladder_top(&ladder, MARKET_LEVELS_MAX, &shown);
    for (int i = 0; i < PRICES; i++) {
        int price = side == trade_side_BUY ? PRICES - 1 - i : i;
        if (model[price] == 0) { continue; }
        if (index < shown.count) {
            assert_int_equal(shown.at[index].price, price + 1);
            assert_int_equal(shown.at[index].qty, model[price]);
        }
        index++;
    }
    assert_int_equal(ladder.count, index);
    market_level best = market_ladder_best(&ladder);
    assert_int_equal(best.price, shown.count ? shown.at[0].price : 0);
}

static void a_ladder_is_a_sorted_side(void **state)
{
    (void)state;
    for (trade_side side = 0; side < trade_side_COUNT; side++) {
        stoa_decimal model[PRICES] = {0};
        market_ladder_clear(&ladder, side);
        for (int i = 0; i < 20000; i++) {
            uint64_t price = stoa_random_below(&chance, PRICES);
            stoa_decimal qty = (stoa_decimal)stoa_random_below(&chance, 3);
            assert_true(market_ladder_set(&ladder, (stoa_decimal)price + 1, qty));
            model[price] = qty;
            if (i % 100 == 0) { check_against(model, side); }
        }
        check_against(model, side);
    }
}

static void a_full_ladder_loses_its_worst_level(void **state)
{
    (void)state;
    market_ladder_clear(&ladder, trade_side_SELL);
    for (int i = 0; i < MARKET_LADDER_MAX; i++) { assert_true(market_ladder_set(&ladder, 1000 + i, 1)); }
    assert_false(market_ladder_set(&ladder, 999999, 1)); /* worse than the worst: it is the one */
    assert_int_equal(ladder.at[0].price, 1000 + MARKET_LADDER_MAX - 1);
    assert_false(market_ladder_set(&ladder, 500, 7));
    assert_int_equal(ladder.count, MARKET_LADDER_MAX);
    assert_int_equal(market_ladder_best(&ladder).price, 500);
    assert_int_equal(ladder.at[0].price, 1000 + MARKET_LADDER_MAX - 2);
    assert_true(market_ladder_set(&ladder, 1000, 9)); /* a change needs no room */
    assert_true(market_ladder_set(&ladder, 1, 0));    /* nor does removing what is not there */
    assert_int_equal(ladder.count, MARKET_LADDER_MAX);
}

/* --- backlog */

static const market_backlog_diff *add(uint64_t first, uint64_t last, uint64_t more, uint32_t bids, uint32_t asks)
{
    market_feed_diff part = {.first_id = first, .last_id = last, .more = more, .bids.count = bids, .asks.count = asks};
    for (uint32_t i = 0; i < bids; i++) { part.bids.at[i] = (market_level){(int64_t)(first * 1000 + i), 1}; }
    for (uint32_t i = 0; i < asks; i++) { part.asks.at[i] = (market_level){(int64_t)(first * 1000 + i), 2}; }
    return market_backlog_add(&backlog, &part);
}

static void begin(void)
{
    market_backlog_clear(&backlog);
    backlog.lost = 0;
}

static void a_diff_counts_once_it_is_whole(void **state)
{
    (void)state;
    begin();
    assert_null(add(5, 9, 1, 2, 1));
    assert_null(market_backlog_find(&backlog, 5));
    assert_int_equal(market_backlog_count(&backlog), 0);
    const market_backlog_diff *diff = add(5, 9, 0, 1, 0);
    assert_non_null(diff);
    assert_int_equal(diff->levels, 4);
    assert_int_equal(market_backlog_at(&backlog, diff, 1)->price, 5001);
    assert_int_equal(market_backlog_at(&backlog, diff, 2)->side, trade_side_SELL);
    assert_int_equal(market_backlog_at(&backlog, diff, 3)->side, trade_side_BUY);
    assert_ptr_equal(market_backlog_find(&backlog, 9), diff);
    assert_null(market_backlog_find(&backlog, 10));
    assert_null(market_backlog_find(&backlog, 4));
}

static void a_diff_that_never_becomes_whole_is_lost(void **state)
{
    (void)state;
    begin();
    assert_null(add(5, 9, 1, 3, 3));
    const market_backlog_diff *diff = add(10, 12, 0, 1, 1);
    assert_non_null(diff);
    assert_int_equal(backlog.lost, 1);
    assert_int_equal(market_backlog_count(&backlog), 1);
    assert_int_equal(market_backlog_at(&backlog, diff, 0)->price, 10000);
}

static void what_is_old_is_forgotten(void **state)
{
    (void)state;
    begin();
    for (uint64_t id = 10; id < 20; id++) { assert_non_null(add(id, id, 0, 1, 0)); }
    assert_int_equal(market_backlog_forget(&backlog, 14), 5);
    assert_int_equal(market_backlog_forget(&backlog, 14), 0);
    assert_null(market_backlog_find(&backlog, 14));
    assert_non_null(market_backlog_find(&backlog, 15));
    assert_int_equal(market_backlog_count(&backlog), 5);
    assert_int_equal(backlog.lost, 0);
}

static void the_oldest_make_room(void **state)
{
    (void)state;
    begin();
    for (uint64_t id = 1; id <= MARKET_BACKLOG_DIFFS + 10; id++) { assert_non_null(add(id, id, 0, 1, 1)); }
    assert_int_equal(backlog.lost, 10);
    assert_null(market_backlog_find(&backlog, 10));
    assert_non_null(market_backlog_find(&backlog, 11));
    begin();
    for (uint64_t id = 1; id <= 600; id++) { assert_non_null(add(id, id, 0, 64, 64)); } /* 76,800 levels */
    assert_int_equal(backlog.lost, 600 - MARKET_BACKLOG_LEVELS / 128);
    assert_null(market_backlog_find(&backlog, backlog.lost));
    const market_backlog_diff *oldest = market_backlog_find(&backlog, backlog.lost + 1);
    assert_non_null(oldest);
    assert_int_equal(market_backlog_at(&backlog, oldest, 127)->price, (int64_t)oldest->first_id * 1000 + 63);
}

static void a_diff_larger_than_the_room_is_lost_alone(void **state)
{
    (void)state;
    begin();
    assert_non_null(add(1, 1, 0, 1, 0));
    for (int part = 0; part < 600; part++) { assert_null(add(2, 3, 1, 64, 64)); }
    assert_null(add(2, 3, 0, 1, 1));
    assert_int_equal(backlog.lost, 2); /* it, and the one that made room in vain */
    assert_non_null(add(4, 4, 0, 1, 0));
    assert_int_equal(market_backlog_count(&backlog), 1);
}

/* Random parts, gaps and forgetting; whatever is found must have the levels that went in. */
static void found_diffs_have_their_levels(void **state)
{
    (void)state;
    begin();
    uint64_t id = 1;
    for (int i = 0; i < 20000; i++) {
        uint64_t last = id + stoa_random_below(&chance, 5);
        uint32_t bids = (uint32_t)stoa_random_below(&chance, 65), asks = (uint32_t)stoa_random_below(&chance, 65);
        const market_backlog_diff *diff = add(id, last, 0, bids, asks);
        assert_non_null(diff);
        assert_int_equal(diff->levels, bids + asks);
        if (stoa_random_chance(&chance, 100)) {
            (void)market_backlog_forget(&backlog, id - stoa_random_below(&chance, id < 50 ? id : 50));
        }
        uint64_t back = stoa_random_below(&chance, id < 900 ? id : 900);
        const market_backlog_diff *some = market_backlog_find(&backlog, id - back);
        for (uint32_t k = 0; some && k < some->levels; k++) {
            uint64_t number = (uint64_t)market_backlog_at(&backlog, some, k)->price;
            assert_int_equal(number / 1000, some->first_id);
        }
        id = last + 1;
    }
}

int main(void)
{
    const char *given = getenv("STOA_SEED");
    uint64_t seed = given ? strtoull(given, NULL, 0) : (uint64_t)time(NULL);
    printf("STOA_SEED=%" PRIu64 "\n", seed);
    stoa_random_seed(&chance, seed);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_ladder_is_a_sorted_side),
        cmocka_unit_test(a_full_ladder_loses_its_worst_level),
        cmocka_unit_test(a_diff_counts_once_it_is_whole),
        cmocka_unit_test(a_diff_that_never_becomes_whole_is_lost),
        cmocka_unit_test(what_is_old_is_forgotten),
        cmocka_unit_test(the_oldest_make_room),
        cmocka_unit_test(a_diff_larger_than_the_room_is_lost_alone),
        cmocka_unit_test(found_diffs_have_their_levels),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
