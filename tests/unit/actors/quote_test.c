/* quote_test.c - goal: quotes are exact, on ticks, away from the mid, within the inventory limit. Method: worked
 * examples, then random markets with a printed seed against the properties themselves.
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
#include <time.h>

#include "actors/strategy/quote.h"
#include "base/random.h"

static stoa_random chance;

/* Prices in units of a hundredth. */
#define CENT INT64_C(1000000)

static const strategy_quoter_config config = {.tick = CENT,
                                              .qty = 10,
                                              .half_spread = 50 * CENT,
                                              .requote = 5 * CENT,
                                              .inventory_max = 100,
                                              .skew = 20 * CENT};

static void check(stoa_decimal bid, stoa_decimal ask, stoa_decimal inventory, stoa_decimal want_bid,
                  stoa_decimal want_ask)
{
    quote q = quote_around(&config, bid, ask, inventory);
    assert_int_equal(q.bid, want_bid);
    assert_int_equal(q.ask, want_ask);
}

static void quotes_stand_around_the_mid(void **state)
{
    (void)state;
    check(1000 * CENT, 1002 * CENT, 0, 951 * CENT, 1051 * CENT);
    check(1000 * CENT, 1003 * CENT, 0, 951 * CENT, 1052 * CENT); /* mid 1001.5: down and up */
}

static void inventory_shifts_them_against_itself(void **state)
{
    (void)state;
    check(1000 * CENT, 1002 * CENT, 50, 941 * CENT, 1041 * CENT);  /* half the limit long: 10 down */
    check(1000 * CENT, 1002 * CENT, -50, 961 * CENT, 1061 * CENT); /* half the limit short: 10 up */
}

static void the_inventory_limit_takes_a_side_away(void **state)
{
    (void)state;
    check(1000 * CENT, 1002 * CENT, 90, 933 * CENT, 1033 * CENT);
    check(1000 * CENT, 1002 * CENT, 91, 0, 1033 * CENT);
    check(1000 * CENT, 1002 * CENT, -91, 969 * CENT, 0);
}

static void a_top_that_is_none_gives_no_quote(void **state)
{
    (void)state;
    check(0, 1002 * CENT, 0, 0, 0);
    check(1000 * CENT, 0, 0, 0, 0);
    check(1002 * CENT, 1002 * CENT, 0, 0, 0);
    check(1003 * CENT, 1002 * CENT, 0, 0, 0);
    check(30 * CENT, 31 * CENT, 0, 0, 81 * CENT); /* a bid below zero is none */
}

static void a_shift_below_zero_sells_nothing(void **state)
{
    (void)state;
    strategy_quoter_config c = config;
    c.skew = 3000 * CENT;
    quote q = quote_around(&c, 1000 * CENT, 1002 * CENT, 80);
    assert_int_equal(q.bid, 0);
    assert_int_equal(q.ask, 0); /* not for a tick */
}

static void small_moves_leave_orders_where_they_are(void **state)
{
    (void)state;
    quote q = {900 * CENT, 1000 * CENT};
    assert_false(quote_moves(&config, q, q));
    assert_false(quote_moves(&config, q, (quote){904 * CENT, 996 * CENT}));
    assert_true(quote_moves(&config, q, (quote){905 * CENT, 1000 * CENT}));
    assert_true(quote_moves(&config, q, (quote){900 * CENT, 995 * CENT}));
    assert_true(quote_moves(&config, q, (quote){0, 1000 * CENT}));
    assert_true(quote_moves(&config, (quote){0, 0}, (quote){0, 1000 * CENT}));
    assert_false(quote_moves(&config, (quote){0, 0}, (quote){0, 0}));
    strategy_quoter_config any = config;
    any.requote = 0;
    assert_false(quote_moves(&any, q, q));
    assert_true(quote_moves(&any, q, (quote){900 * CENT + 1, 1000 * CENT}));
}

static stoa_decimal up_to(uint64_t most)
{
    return (stoa_decimal)stoa_random_below(&chance, most) + 1;
}

static void any_quote_keeps_its_promises(void **state)
{
    (void)state;
    for (int i = 0; i < 200000; i++) {
        uint64_t scale = UINT64_C(1) << stoa_random_below(&chance, 61);
        strategy_quoter_config c = {.tick = up_to(1000000),
                                    .half_spread = up_to(scale) - 1,
                                    .requote = up_to(100),
                                    .inventory_max = up_to(scale),
                                    .skew = up_to(scale) - 1};
        c.qty = up_to((uint64_t)c.inventory_max);
        stoa_decimal bid = up_to(scale), ask = bid + up_to(1000);
        stoa_decimal inventory = up_to(2 * (uint64_t)c.inventory_max) - c.inventory_max;
        quote q = quote_around(&c, bid, ask, inventory);
        assert_true(q.bid >= 0 && q.bid % c.tick == 0);
        assert_true(q.ask >= 0 && q.ask % c.tick == 0);
        if (q.bid && q.ask) { assert_true(q.bid < q.ask); }
        if (q.bid) { assert_true(inventory + c.qty <= c.inventory_max); }
        if (q.ask) { assert_true(inventory - c.qty >= -c.inventory_max); }
        if (q.bid && inventory >= 0) { assert_true(q.bid <= bid + (ask - bid) / 2 - c.half_spread); }
        if (q.ask && inventory <= 0) { assert_true(q.ask >= bid + (ask - bid) / 2 + c.half_spread); }
    }
}

int main(void)
{
    const char *given = getenv("STOA_SEED");
    uint64_t seed = given ? strtoull(given, NULL, 0) : (uint64_t)time(NULL);
    printf("STOA_SEED=%" PRIu64 "\n", seed);
    stoa_random_seed(&chance, seed);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(quotes_stand_around_the_mid),
        cmocka_unit_test(inventory_shifts_them_against_itself),
        cmocka_unit_test(the_inventory_limit_takes_a_side_away),
        cmocka_unit_test(a_top_that_is_none_gives_no_quote),
        cmocka_unit_test(a_shift_below_zero_sells_nothing),
        cmocka_unit_test(small_moves_leave_orders_where_they_are),
        cmocka_unit_test(any_quote_keeps_its_promises),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
