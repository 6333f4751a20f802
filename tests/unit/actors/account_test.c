/* account_test.c - goal: an account's money and memory, looked at by themselves: profit by hand-made figures, the
 * window of known orders at its edges.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>

#include "actors/trade/account_ledger.h"
#include "actors/trade/account_orders.h"

#define D(whole) ((whole)*STOA_DECIMAL_ONE)
#define DAY      (UINT64_C(86400) * 1000000000)

static const stoa_text6 BTC = stoa_text("BTC"), USDT = stoa_text("USDT");
static const trade_account_listed BTCUSDT = {
    .symbol = stoa_text("BTCUSDT"), .base = stoa_text("BTC"), .quote = stoa_text("USDT"), .tick = 1000000, .lot = 1000};

static trade_ledger ledger_with(stoa_decimal usdt, stoa_decimal btc)
{
    trade_ledger ledger = {0};
    trade_ledger_symbol_add(&ledger, &BTCUSDT);
    trade_ledger_move(&ledger, &USDT, usdt);
    trade_ledger_move(&ledger, &BTC, btc);
    return ledger;
}

/* Order and fill in one. */
static void deal(trade_ledger *ledger, trade_side side, stoa_decimal limit, stoa_decimal price, stoa_decimal qty,
                 uint64_t at_ns)
{
    trade_ledger_reserve(ledger, 1, side, limit, qty);
    trade_ledger_trade(ledger, 1, side, limit, price, qty, at_ns);
    trade_ledger_check(ledger, true);
}

static void a_better_price_frees_what_was_reserved_too_much(void **state)
{
    (void)state;
    trade_ledger ledger = ledger_with(D(1000), 0);
    trade_ledger_reserve(&ledger, 1, trade_side_BUY, D(100), D(5));
    assert_true(trade_ledger_free(&ledger, &USDT) == D(500));
    trade_ledger_trade(&ledger, 1, trade_side_BUY, D(100), D(90), D(2), DAY);
    assert_true(trade_ledger_free(&ledger, &USDT) == D(520)); /* 2 x 10 better */
    assert_true(trade_ledger_free(&ledger, &BTC) == D(2));
    trade_ledger_release(&ledger, 1, trade_side_BUY, D(100), D(3));
    assert_true(trade_ledger_free(&ledger, &USDT) == D(820));
    trade_ledger_check(&ledger, false);
}

static void profit_is_realised_against_the_average_cost(void **state)
{
    (void)state;
    trade_ledger ledger = ledger_with(D(10000), 0);
    trade_account_holdings out = {0};
    deal(&ledger, trade_side_BUY, D(100), D(100), D(1), DAY);
    deal(&ledger, trade_side_BUY, D(120), D(120), D(1), DAY); /* holds 2 for 220 */
    deal(&ledger, trade_side_SELL, D(130), D(130), D(1), DAY);
    assert_int_equal(trade_ledger_holdings(&ledger, DAY, &out), STOA_OK);
    assert_int_equal(out.day_pnl, D(20));
    deal(&ledger, trade_side_SELL, D(100), D(100), D(3), DAY); /* closes 1 for -10, turns around: short 2 at 100 */
    assert_int_equal(trade_ledger_holdings(&ledger, DAY, &out), STOA_OK);
    assert_int_equal(out.day_pnl, D(10));
    deal(&ledger, trade_side_BUY, D(90), D(90), D(2), DAY);
    assert_int_equal(trade_ledger_holdings(&ledger, DAY, &out), STOA_OK);
    assert_int_equal(out.day_pnl, D(30));
}

static void a_new_utc_day_begins_without_profit(void **state)
{
    (void)state;
    trade_ledger ledger = ledger_with(D(1000), 0);
    trade_account_holdings out = {0};
    deal(&ledger, trade_side_BUY, D(100), D(100), D(2), 7 * DAY);
    deal(&ledger, trade_side_SELL, D(90), D(90), D(1), 8 * DAY - 1);
    assert_int_equal(trade_ledger_holdings(&ledger, 8 * DAY - 1, &out), STOA_OK);
    assert_int_equal(out.day_pnl, -D(10));
    assert_int_equal(trade_ledger_holdings(&ledger, 8 * DAY, &out), STOA_OK);
    assert_int_equal(out.day_pnl, 0); /* seen from the next day */
    deal(&ledger, trade_side_SELL, D(95), D(95), D(1), 8 * DAY);
    assert_int_equal(trade_ledger_holdings(&ledger, 8 * DAY, &out), STOA_OK);
    assert_int_equal(out.day_pnl, -D(5)); /* traded on the next day */
}

static void risk_sees_what_is_held_open_and_worth(void **state)
{
    (void)state;
    trade_ledger ledger = ledger_with(D(1000), D(3));
    risk_exposure e = {.account = 9};
    deal(&ledger, trade_side_BUY, D(110), D(100), D(1), DAY);
    trade_ledger_reserve(&ledger, 1, trade_side_SELL, D(200), D(2));
    trade_ledger_reserve(&ledger, 1, trade_side_BUY, D(50), D(1));
    assert_int_equal(trade_ledger_measure(&ledger, 1, &BTC, &USDT, DAY, &e), STOA_OK);
    assert_int_equal(e.account, 9);
    assert_int_equal(e.free_base, D(2));
    assert_int_equal(e.free_quote, D(850));
    assert_int_equal(e.position, D(4));
    assert_int_equal(e.open_buys, D(1));
    assert_int_equal(e.open_sells, D(2));
    assert_int_equal(e.equity, D(900 + 400));
    assert_int_equal(e.exposure, D(400 + 400 + 50));

    risk_exposure other = {0}; /* a pair it never traded, with an asset it does not know */
    assert_int_equal(trade_ledger_measure(&ledger, 0, &BTC, &(stoa_text6)stoa_text("EUR"), DAY, &other), STOA_OK);
    assert_int_equal(other.free_base, D(2));
    assert_int_equal(other.free_quote, 0);
    assert_int_equal(other.equity, 0);
}

static void amounts_that_fit_no_decimal_are_out_of_range(void **state)
{
    (void)state;
    trade_ledger ledger = ledger_with(INT64_MAX, 0);
    assert_int_equal(trade_ledger_fits(&ledger, &USDT, 1), STOA_E_RANGE);
    assert_int_equal(trade_ledger_fits(&ledger, &USDT, -1), STOA_OK);
    trade_ledger_move(&ledger, &USDT, INT64_MAX);
    trade_ledger_check(&ledger, false);
    risk_exposure e = {0};
    trade_account_holdings out = {0};
    assert_int_equal(trade_ledger_measure(&ledger, 1, &BTC, &USDT, DAY, &e), STOA_E_RANGE);
    assert_int_equal(trade_ledger_holdings(&ledger, DAY, &out), STOA_E_RANGE);
}

/* --- memory */
static trade_order view(uint64_t order_id, uint64_t client, trade_status status)
{
    return (trade_order){.order_id = order_id, .client_order_id = client, .status = status, .qty = 1, .price = 1};
}

static trade_orders_known *orders_new(void)
{
    trade_orders_known *orders = calloc(1, sizeof *orders);
    assert_non_null(orders);
    return orders;
}

static void the_last_final_orders_and_all_open_ones_are_known(void **state)
{
    (void)state;
    trade_orders_known *orders = orders_new();
    trade_order open = view(1, 1000000, trade_status_OPEN);
    trade_orders_add(orders, &open, 1, 1);
    for (uint64_t i = 2; i <= TRADE_KNOWN_ORDERS + 1; i++) {
        trade_order v = view(i, i, trade_status_FILLED);
        trade_orders_add(orders, &v, 1, 1);
    }
    assert_non_null(trade_orders_find_client(orders, 2));
    assert_int_equal(orders->forgotten, 0);

    trade_order one_more = view(900000, 900000, trade_status_REJECTED);
    trade_orders_add(orders, &one_more, 1, 1);
    assert_null(trade_orders_find_client(orders, 2));
    assert_null(trade_orders_find(orders, 2));
    assert_non_null(trade_orders_find_client(orders, 3));
    assert_int_equal(orders->forgotten, 2);
    assert_non_null(trade_orders_find(orders, 1)); /* open, though the oldest */

    open.status = trade_status_CANCELLED;
    trade_orders_change(orders, &open);
    assert_int_equal(orders->open, 0);
    assert_int_equal(orders->final, TRADE_KNOWN_ORDERS);
    assert_int_equal(orders->forgotten, 3);
    free(orders);
}

static void what_is_forgotten_is_the_highest_id(void **state)
{
    (void)state;
    trade_orders_known *orders = orders_new();
    for (uint64_t i = 1; i <= TRADE_KNOWN_ORDERS + 3; i++) {
        trade_order v = view(i, i == 2 ? 5000000 : i, trade_status_FILLED);
        trade_orders_add(orders, &v, 1, 1);
    }
    assert_int_equal(orders->forgotten, 5000000);
    free(orders);
}

static void pages_run_by_ascending_id(void **state)
{
    (void)state;
    trade_orders_known *orders = orders_new();
    for (uint64_t i = 1; i <= 200; i++) {
        trade_order v = view(i * 10, i, i % 3 ? trade_status_FILLED : trade_status_OPEN);
        trade_orders_add(orders, &v, 1, 1);
    }
    uint64_t after = 0, seen = 0, pages = 0;
    trade_account_page *page = calloc(1, sizeof *page);
    assert_non_null(page);
    do {
        *page = (trade_account_page){0};
        trade_orders_page(orders, after, false, page);
        for (uint32_t i = 0; i < page->orders.count; i++) {
            assert_int_equal(page->orders.at[i].order_id, ++seen * 10);
        }
        after = page->orders.at[page->orders.count - 1].order_id;
        pages++;
    } while (page->more);
    assert_int_equal(seen, 200);
    assert_int_equal(pages, 4);

    *page = (trade_account_page){0};
    trade_orders_page(orders, 35, true, page); /* between two ids */
    assert_int_equal(page->orders.at[0].order_id, 60);
    assert_int_equal(page->orders.count, 64);
    assert_int_equal(page->more, 1);
    trade_orders_page(orders, 2000, false, (*page = (trade_account_page){0}, page));
    assert_int_equal(page->orders.count, 0);
    assert_int_equal(page->more, 0);
    free(page);
    free(orders);
}

static void the_last_transfers_are_known(void **state)
{
    (void)state;
    trade_transfers *transfers = calloc(1, sizeof *transfers);
    assert_non_null(transfers);
    for (uint64_t i = 1; i <= TRADE_KNOWN_TRANSFERS + 2; i++) {
        trade_transfers_add(transfers, &(trade_known_transfer){.transfer_id = i, .amount = (stoa_decimal)i});
    }
    assert_null(trade_transfers_find(transfers, 2));
    assert_int_equal(trade_transfers_find(transfers, 3)->amount, 3);
    assert_int_equal(trade_transfers_find(transfers, TRADE_KNOWN_TRANSFERS + 2)->amount, TRADE_KNOWN_TRANSFERS + 2);
    assert_int_equal(transfers->forgotten, 2);
    free(transfers);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_better_price_frees_what_was_reserved_too_much),
        cmocka_unit_test(profit_is_realised_against_the_average_cost),
        cmocka_unit_test(a_new_utc_day_begins_without_profit),
        cmocka_unit_test(risk_sees_what_is_held_open_and_worth),
        cmocka_unit_test(amounts_that_fit_no_decimal_are_out_of_range),
        cmocka_unit_test(the_last_final_orders_and_all_open_ones_are_known),
        cmocka_unit_test(what_is_forgotten_is_the_highest_id),
        cmocka_unit_test(pages_run_by_ascending_id),
        cmocka_unit_test(the_last_transfers_are_known),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
