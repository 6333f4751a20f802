/* ladder_test.c - goal: the ladder is a sorted list of orders, only faster. Method: random adds and reductions
 * against an array that is searched from end to end; walks in both directions over the whole range of prices; the
 * seeds are printed.
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

#include "actors/trade/ladder.h"
#include "base/random.h"

enum { PLAIN_MAX = 400, STEPS = 4000, SEEDS = 12 };

/* The slow ladder: orders in order of arrival. */
typedef struct plain {
    trade_resting at[PLAIN_MAX];
    uint32_t count;
} plain;

static trade_ladder *ladder_new(void)
{
    trade_ladder *ladder = calloc(1, sizeof *ladder);
    assert_non_null(ladder);
    return ladder;
}

static bool better(trade_side side, uint32_t a, uint32_t b)
{
    return side == trade_side_BUY ? a > b : a < b;
}

/* The plain order that comes after `before` in price-time order, NULL: the first. */
static const trade_resting *plain_next(const plain *p, trade_side side, const trade_resting *before)
{
    const trade_resting *best = NULL;
    for (uint32_t i = 0; i < p->count; i++) {
        const trade_resting *o = &p->at[i];
        bool behind = !before || better(side, before->price_ticks, o->price_ticks) ||
                      (o->price_ticks == before->price_ticks && o > before);
        if (o->side == side && behind && (!best || better(side, o->price_ticks, best->price_ticks))) { best = o; }
    }
    return best;
}

static void compare_side(const trade_ladder *ladder, const plain *p, trade_side side)
{
    const trade_resting *expected = NULL;
    uint32_t price = 0, orders = 0;
    int64_t qty = 0;
    for (trade_cursor at = trade_cursor_begin(ladder, side); at.order; trade_cursor_next(&at)) {
        expected = plain_next(p, side, expected);
        assert_non_null(expected);
        assert_int_equal(at.order->order_id, expected->order_id);
        assert_int_equal(at.order->qty_lots, expected->qty_lots);
        if (at.level->price_ticks != price) {
            assert_int_equal(price ? trade_ladder_worse(ladder, side, price) : trade_ladder_best(ladder, side),
                             at.level->price_ticks);
            price = at.level->price_ticks;
            orders = 0;
            qty = 0;
        }
        orders++;
        qty += at.order->qty_lots;
        if (at.order->next == 0) {
            assert_int_equal(at.level->orders, orders);
            assert_int_equal(at.level->qty_lots, qty);
        }
    }
    assert_null(plain_next(p, side, expected));
}

static uint32_t random_price(stoa_random *random)
{
    static const uint32_t around[] = {1, 63, 64, 4095, 4096, 262143, 262144, 8000000, TRADE_LADDER_TICKS - 40};
    uint32_t base = around[stoa_random_below(random, sizeof around / sizeof around[0])];
    return base + (uint32_t)stoa_random_below(random, 40);
}

static void step(stoa_random *random, trade_ladder *ladder, plain *p, uint64_t *next_id)
{
    if (p->count < PLAIN_MAX && stoa_random_chance(random, 550)) {
        trade_resting order = {.order_id = ++*next_id,
                               .qty_lots = 1 + (int64_t)stoa_random_below(random, 9),
                               .price_ticks = random_price(random),
                               .account = 3,
                               .side = (trade_side)stoa_random_below(random, 2)};
        trade_ladder_add(ladder, &order);
        p->at[p->count++] = order;
    } else if (p->count) {
        uint32_t i = (uint32_t)stoa_random_below(random, p->count);
        trade_resting *o = &p->at[i];
        int64_t take = 1 + (int64_t)stoa_random_below(random, (uint64_t)o->qty_lots);
        trade_ladder_reduce(ladder, o->order_id, take);
        o->qty_lots -= take;
        if (o->qty_lots) { return; }
        assert_null(trade_ladder_find(ladder, o->order_id));
        memmove(o, o + 1, (--p->count - i) * sizeof *o);
    }
}

static void the_ladder_agrees_with_a_list(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        stoa_random random;
        stoa_random_seed(&random, seed);
        trade_ladder *ladder = ladder_new();
        plain p = {.count = 0};
        uint64_t next_id = 0;
        for (int i = 0; i < STEPS; i++) {
            step(&random, ladder, &p, &next_id);
            if (i % 97 == 0) {
                compare_side(ladder, &p, trade_side_BUY);
                compare_side(ladder, &p, trade_side_SELL);
            }
            assert_int_equal(ladder->orders.pool.used, p.count);
        }
        free(ladder);
    }
}

static void every_price_can_be_found_from_every_other(void **state)
{
    (void)state;
    static const uint32_t prices[] = {1, 2, 63, 64, 65, 4095, 4096, 262143, 262144, 300000, 16777214, 16777215};
    const uint32_t count = sizeof prices / sizeof prices[0];
    trade_ladder *ladder = ladder_new();
    for (uint32_t i = 0; i < count; i++) {
        for (uint64_t side = 0; side < trade_side_COUNT; side++) {
            trade_ladder_add(ladder, &(trade_resting){.order_id = 2 * i + side + 1,
                                                      .qty_lots = 1,
                                                      .price_ticks = prices[i],
                                                      .side = (trade_side)side});
        }
    }
    for (uint32_t i = 0; i < count; i++) {
        assert_int_equal(trade_ladder_worse(ladder, trade_side_SELL, prices[i]), i + 1 < count ? prices[i + 1] : 0);
        assert_int_equal(trade_ladder_worse(ladder, trade_side_BUY, prices[i]), i ? prices[i - 1] : 0);
    }
    assert_int_equal(trade_ladder_best(ladder, trade_side_BUY), prices[count - 1]);
    assert_int_equal(trade_ladder_best(ladder, trade_side_SELL), prices[0]);
    free(ladder);
}

static void add_buy(trade_ladder *ladder, uint64_t order_id, uint32_t price_ticks)
{
    trade_resting order = {.order_id = order_id, .qty_lots = 1, .price_ticks = price_ticks, .side = trade_side_BUY};
    trade_ladder_add(ladder, &order);
}

static void a_full_side_has_room_only_at_levels_it_has(void **state)
{
    (void)state;
    trade_ladder *ladder = ladder_new();
    for (uint32_t i = 1; i <= TRADE_LADDER_LEVELS; i++) {
        assert_true(trade_ladder_room(ladder, trade_side_BUY, i * 3, 0));
        add_buy(ladder, i, i * 3);
    }
    assert_false(trade_ladder_room(ladder, trade_side_BUY, 4, 0));
    assert_true(trade_ladder_room(ladder, trade_side_BUY, 6, 0));
    assert_true(trade_ladder_room(ladder, trade_side_SELL, 4, 0));
    for (uint32_t i = TRADE_LADDER_LEVELS + 1; i <= TRADE_LADDER_ORDERS; i++) {
        add_buy(ladder, i, 6);
    }
    assert_false(trade_ladder_room(ladder, trade_side_BUY, 6, 0));
    assert_true(trade_ladder_room(ladder, trade_side_BUY, 6, 1)); /* one of the others is about to go */
    for (uint32_t i = 1; i <= TRADE_LADDER_ORDERS; i++) {
        trade_ladder_reduce(ladder, i, 1);
    }
    assert_int_equal(trade_ladder_best(ladder, trade_side_BUY), 0);
    assert_int_equal(ladder->sides[trade_side_BUY].levels.pool.used, 0);
    free(ladder);
}

static void the_same_operations_give_the_same_bytes(void **state)
{
    (void)state;
    trade_ladder *twins[2] = {ladder_new(), ladder_new()};
    for (int t = 0; t < 2; t++) {
        stoa_random random;
        stoa_random_seed(&random, 77);
        plain p = {.count = 0};
        uint64_t next_id = 0;
        for (int i = 0; i < STEPS; i++) {
            step(&random, twins[t], &p, &next_id);
        }
    }
    assert_memory_equal(twins[0], twins[1], sizeof *twins[0]);
    free(twins[0]);
    free(twins[1]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_ladder_agrees_with_a_list),
        cmocka_unit_test(every_price_can_be_found_from_every_other),
        cmocka_unit_test(a_full_side_has_room_only_at_levels_it_has),
        cmocka_unit_test(the_same_operations_give_the_same_bytes),
    };
    printf("seeds 1 to %d\n", SEEDS);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
