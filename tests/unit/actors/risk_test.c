/* risk_test.c - goal: each of the six checks passes at its limit and fails one step behind it, and the first that fails
 * is the reason. Method: one order that passes all, changed in one place per case.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "actors/risk/checks.h"

#define D(whole) ((whole)*STOA_DECIMAL_ONE)

static const trade_symbol symbol = {.name = stoa_text("BTCUSDT"),
                                    .base = stoa_text("BTC"),
                                    .quote = stoa_text("USDT"),
                                    .tick = 1000000,
                                    .lot = 1000,
                                    .qty_min = D(1),
                                    .qty_max = D(10),
                                    .margin_rate = STOA_DECIMAL_ONE / 10};

/* A buy of 2 at 100 by an account with 1000 quote and 3 base, all free. */
static risk_exposure cash(void)
{
    return (risk_exposure){
        .free_base = D(3), .free_quote = D(1000), .position = D(3), .equity = D(1300), .exposure = D(300)};
}

static risk_exposure borrower(void)
{
    return (risk_exposure){.margin = 1, .free_quote = D(1000), .equity = D(1000)};
}

static risk_case order(trade_side side, stoa_decimal qty, const risk_exposure *account)
{
    return (risk_case){
        .symbol = &symbol, .has_book = true, .side = side, .qty = qty, .notional = qty * 100, .account = account};
}

static void check(risk_case c, trade_reason reason)
{
    assert_string_equal(trade_reason_texts[risk_judge(&c)], trade_reason_texts[reason]);
}

static void an_order_is_valid_within_the_symbols_quantities(void **state)
{
    (void)state;
    risk_exposure a = cash();
    check(order(trade_side_BUY, D(1), &a), trade_reason_NONE);
    check(order(trade_side_BUY, D(1) - 1, &a), trade_reason_INVALID);
    check(order(trade_side_BUY, D(10), &a), trade_reason_NONE);
    check(order(trade_side_BUY, D(10) + 1000, &a), trade_reason_INVALID);

    trade_symbol open_ended = symbol;
    open_ended.qty_max = 0;
    a.free_quote = D(100000);
    risk_case c = order(trade_side_BUY, D(11), &a);
    c.symbol = &open_ended;
    check(c, trade_reason_NONE);
    c.has_book = false;
    check(c, trade_reason_INVALID);
}

static void free_funds_must_cover_the_order(void **state)
{
    (void)state;
    risk_exposure a = cash();
    a.free_quote = D(200);
    check(order(trade_side_BUY, D(2), &a), trade_reason_NONE);
    a.free_quote--;
    check(order(trade_side_BUY, D(2), &a), trade_reason_BALANCE);
    check(order(trade_side_SELL, D(3), &a), trade_reason_NONE);
    check(order(trade_side_SELL, D(3) + 1, &a), trade_reason_BALANCE);
    a.issuer = 1;
    check(order(trade_side_SELL, D(9), &a), trade_reason_NONE);

    risk_exposure b = borrower();
    b.free_quote = 0;
    check(order(trade_side_BUY, D(2), &b), trade_reason_NONE);
    b.equity = 0;
    check(order(trade_side_BUY, D(2), &b), trade_reason_BALANCE);
}

static void the_position_counts_all_open_orders_of_the_side(void **state)
{
    (void)state;
    risk_exposure a = cash();
    a.open_buys = D(2);
    risk_case buy = order(trade_side_BUY, D(2), &a);
    buy.limits.position_max = D(7);
    check(buy, trade_reason_NONE);
    buy.limits.position_max--;
    check(buy, trade_reason_POSITION);

    risk_exposure b = borrower();
    b.open_sells = D(1);
    risk_case sell = order(trade_side_SELL, D(2), &b);
    sell.limits.position_max = D(3);
    check(sell, trade_reason_NONE);
    sell.limits.position_max--;
    check(sell, trade_reason_POSITION);

    a.open_sells = 0; /* already above the limit: the way back stays open, the way through it does not */
    risk_case down = order(trade_side_SELL, D(1), &a);
    down.limits.position_max = D(1);
    check(down, trade_reason_NONE);
    b.position = D(2);
    risk_case around = order(trade_side_SELL, D(4), &b);
    around.limits.position_max = D(1);
    check(around, trade_reason_POSITION);
}

static void exposure_stays_within_the_leverage(void **state)
{
    (void)state;
    risk_exposure b = borrower();
    b.exposure = D(800);
    check(order(trade_side_BUY, D(2), &b), trade_reason_NONE); /* without a limit of its own: 1 */
    b.exposure++;
    check(order(trade_side_BUY, D(2), &b), trade_reason_LEVERAGE);
    risk_case c = order(trade_side_BUY, D(2), &b);
    c.limits.leverage_max = D(3);
    b.exposure = D(2800);
    check(c, trade_reason_NONE);
    b.exposure++;
    check(c, trade_reason_LEVERAGE);
    b.issuer = 1;
    check(c, trade_reason_NONE);

    risk_exposure a = cash();
    a.exposure = D(100000);
    check(order(trade_side_BUY, D(2), &a), trade_reason_NONE); /* who pays in full has none unless it is set */
    risk_case limited = order(trade_side_BUY, D(2), &a);
    limited.limits.leverage_max = D(1);
    check(limited, trade_reason_LEVERAGE);
}

static void an_order_that_only_reduces_needs_no_further_leverage_or_margin(void **state)
{
    (void)state;
    risk_exposure b = borrower();
    b.position = D(10);
    b.exposure = D(1000);
    check(order(trade_side_SELL, D(10), &b), trade_reason_NONE);
    check(order(trade_side_BUY, D(1), &b), trade_reason_LEVERAGE);
}

static void a_days_loss_stays_below_its_limit(void **state)
{
    (void)state;
    risk_exposure a = cash();
    a.day_pnl = -D(50) + 1;
    risk_case c = order(trade_side_BUY, D(2), &a);
    c.limits.daily_loss_max = D(50);
    check(c, trade_reason_NONE);
    a.day_pnl = -D(50);
    check(c, trade_reason_DAILY_LOSS);
    a.day_pnl = INT64_MIN;
    check(c, trade_reason_DAILY_LOSS);
    c.limits.daily_loss_max = 0;
    check(c, trade_reason_NONE);
}

static void equity_covers_the_margin_of_exposure_and_order(void **state)
{
    (void)state;
    risk_exposure b = borrower();
    b.exposure = D(9800);
    risk_case c = order(trade_side_BUY, D(2), &b);
    c.limits.leverage_max = D(100);
    check(c, trade_reason_NONE); /* (9800 + 200) x 0.1 = 1000 */
    b.exposure++;
    check(c, trade_reason_MARGIN);
    b.issuer = 1;
    check(c, trade_reason_NONE);

    risk_exposure a = cash();
    a.equity = 0; /* who pays in full has no margin to keep */
    check(order(trade_side_BUY, D(2), &a), trade_reason_NONE);
}

static void the_first_check_that_fails_is_the_reason(void **state)
{
    (void)state;
    risk_exposure b = {.margin = 1, .exposure = D(1000), .day_pnl = -D(10)};
    risk_case c = order(trade_side_BUY, D(11), &b);
    c.limits = (risk_limits){.position_max = D(1), .leverage_max = D(1), .daily_loss_max = D(1)};
    check(c, trade_reason_INVALID);
    c.qty = D(2);
    check(c, trade_reason_BALANCE);
    b.equity = D(1);
    check(c, trade_reason_POSITION);
    c.limits.position_max = 0;
    check(c, trade_reason_LEVERAGE);
    c.limits.leverage_max = D(100000);
    check(c, trade_reason_DAILY_LOSS);
    c.limits.daily_loss_max = 0;
    check(c, trade_reason_MARGIN);
    b.exposure = 0;
    c.notional = D(10);
    check(c, trade_reason_NONE);
}

static void the_largest_numbers_do_not_overflow(void **state)
{
    (void)state;
    risk_exposure b = {.margin = 1,
                       .position = INT64_MAX,
                       .open_buys = INT64_MAX,
                       .equity = INT64_MAX,
                       .exposure = INT64_MAX,
                       .day_pnl = INT64_MIN};
    risk_case c = order(trade_side_BUY, D(2), &b);
    c.notional = INT64_MAX;
    c.limits.leverage_max = INT64_MAX;
    check(c, trade_reason_NONE); /* 2 x max x 0.1 is less than max */
    c.limits.position_max = INT64_MAX;
    check(c, trade_reason_POSITION);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_order_is_valid_within_the_symbols_quantities),
        cmocka_unit_test(free_funds_must_cover_the_order),
        cmocka_unit_test(the_position_counts_all_open_orders_of_the_side),
        cmocka_unit_test(exposure_stays_within_the_leverage),
        cmocka_unit_test(an_order_that_only_reduces_needs_no_further_leverage_or_margin),
        cmocka_unit_test(a_days_loss_stays_below_its_limit),
        cmocka_unit_test(equity_covers_the_margin_of_exposure_and_order),
        cmocka_unit_test(the_first_check_that_fails_is_the_reason),
        cmocka_unit_test(the_largest_numbers_do_not_overflow),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
