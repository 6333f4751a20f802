/* trade_test.c - goal: what an account may ask for happens as its table says, each refusal changes nothing, and
 * exactly one answer comes back. Method: small scenes on a simulated market with real journal, wall and replay.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "tests/sim/trade_world.h"

#include "actors/trade/ladder.h"
#include "base/log.h"

static trade_account_place request(uint64_t client, const char *symbol, trade_side side, trade_tif tif,
                                   const char *price, const char *qty)
{
    return (trade_account_place){.client_order_id = client,
                                 .symbol = symbol_name(symbol),
                                 .side = side,
                                 .tif = tif,
                                 .price = dec(price),
                                 .qty = dec(qty)};
}

static stoa_err send(world *w, unsigned account, trade_account_place in, trade_order *out)
{
    trade_account_order answer = {0};
    stoa_err err = trade_account_call_place(w->node, w->accounts[account], in, WORLD_DEADLINE, &answer);
    if (!err) { *out = answer.order; }
    return err;
}

/* Place an order in BTCUSDT with a fresh client id. */
static trade_order place(world *w, unsigned account, trade_side side, trade_tif tif, const char *price, const char *qty)
{
    trade_order out = {0};
    stoa_err err = send(w, account, request(++w->clients, "BTCUSDT", side, tif, price, qty), &out);
    if (err) { fail_msg("%s", stoa_err_name(err)); }
    return out;
}

#define BUY(w, account, tif, price, qty)  place((w), (account), trade_side_BUY, trade_tif_##tif, (price), (qty))
#define SELL(w, account, tif, price, qty) place((w), (account), trade_side_SELL, trade_tif_##tif, (price), (qty))

static stoa_err cancel(world *w, unsigned account, uint64_t order_id, uint64_t client, trade_order *out)
{
    trade_account_order answer = {0};
    trade_account_cancel in = {.order_id = order_id, .client_order_id = client};
    stoa_err err = trade_account_call_cancel(w->node, w->accounts[account], in, WORLD_DEADLINE, &answer);
    if (!err) { *out = answer.order; }
    return err;
}

static trade_order query(world *w, unsigned account, uint64_t order_id)
{
    trade_account_order answer = {0};
    trade_account_query in = {.order_id = order_id};
    assert_int_equal(trade_account_call_query(w->node, w->accounts[account], in, WORLD_DEADLINE, &answer), STOA_OK);
    return answer.order;
}

static void check_order(trade_order o, trade_status status, trade_reason reason, const char *filled,
                        const char *notional)
{
    assert_string_equal(trade_status_texts[o.status], trade_status_texts[status]);
    assert_string_equal(trade_reason_texts[o.reason], trade_reason_texts[reason]);
    assert_int_equal(o.filled_qty, dec(filled));
    assert_int_equal(o.filled_notional, dec(notional));
}

static void check_balance(world *w, unsigned account, const char *asset, const char *free, const char *reserved)
{
    trade_balance b = balance(w, account, asset);
    assert_int_equal(b.free, dec(free));
    assert_int_equal(b.reserved, dec(reserved));
}

static void finish(world *w)
{
    check_money(w);
    check_replay(w);
    world_free(w);
}

/* Two accounts with money and one without. */
static world market(uint64_t seed)
{
    world w = world_new(seed, 3);
    for (unsigned i = 0; i < 2; i++) {
        deposit(&w, i, "USDT", "10000");
        deposit(&w, i, "BTC", "10");
    }
    return w;
}

/* --- life of an order */

static void an_order_rests_trades_in_parts_and_is_filled(void **state)
{
    (void)state;
    world w = market(1);
    trade_order sell = SELL(&w, 0, GTC, "100.00", "3");
    check_order(sell, trade_status_OPEN, trade_reason_NONE, "0", "0");
    check_balance(&w, 0, "BTC", "7", "3");

    trade_order buy = BUY(&w, 1, GTC, "101.00", "1"); /* trades at the maker's price; what it saved is free */
    check_order(buy, trade_status_FILLED, trade_reason_NONE, "1", "100");
    check_balance(&w, 1, "USDT", "9900", "0");
    check_balance(&w, 1, "BTC", "11", "0");
    check_order(query(&w, 0, sell.order_id), trade_status_OPEN, trade_reason_NONE, "1", "100");
    check_balance(&w, 0, "BTC", "7", "2");
    check_balance(&w, 0, "USDT", "10100", "0");

    buy = BUY(&w, 1, GTC, "100.00", "5"); /* takes the rest and rests itself */
    check_order(buy, trade_status_OPEN, trade_reason_NONE, "2", "200");
    check_order(query(&w, 0, sell.order_id), trade_status_FILLED, trade_reason_NONE, "3", "300");
    check_balance(&w, 1, "USDT", "9400", "300");
    trade_book_view view = depth(&w, 0);
    assert_int_equal(view.bids.count, 1);
    assert_int_equal(view.bids.at[0].qty, dec("3"));
    assert_int_equal(view.asks.count, 0);
    assert_int_equal(view.trades, 2);
    assert_int_equal(view.volume, dec("3"));
    finish(&w);
}

static void orders_trade_by_price_then_time(void **state)
{
    (void)state;
    world w = market(2);
    trade_order second = SELL(&w, 0, GTC, "100.01", "1"), first = SELL(&w, 0, GTC, "100.00", "1");
    trade_order third = SELL(&w, 0, GTC, "100.01", "1");
    BUY(&w, 1, IOC, "100.05", "1");
    assert_int_equal(query(&w, 0, first.order_id).status, trade_status_FILLED);
    BUY(&w, 1, IOC, "100.05", "1");
    assert_int_equal(query(&w, 0, second.order_id).status, trade_status_FILLED);
    assert_int_equal(query(&w, 0, third.order_id).status, trade_status_OPEN);
    finish(&w);
}

static void each_time_in_force_keeps_its_word(void **state)
{
    (void)state;
    world w = market(3);
    check_order(BUY(&w, 1, IOC, "100", "1"), trade_status_CANCELLED, trade_reason_IOC_REST, "0", "0");
    SELL(&w, 0, GTC, "100", "1");
    SELL(&w, 0, GTC, "101", "1");
    check_order(BUY(&w, 1, IOC, "100", "2"), trade_status_CANCELLED, trade_reason_IOC_REST, "1", "100");
    check_order(BUY(&w, 1, IOC, "101", "0.5"), trade_status_FILLED, trade_reason_NONE, "0.5", "50.5");

    SELL(&w, 0, GTC, "102", "1");
    uint64_t updates = depth(&w, 0).last_id;
    check_order(BUY(&w, 1, FOK, "102", "1.501"), trade_status_CANCELLED, trade_reason_NOT_FILLABLE, "0", "0");
    check_order(BUY(&w, 1, FOK, "101", "1"), trade_status_CANCELLED, trade_reason_NOT_FILLABLE, "0", "0");
    assert_int_equal(depth(&w, 0).last_id, updates);
    check_order(BUY(&w, 1, FOK, "102", "1.5"), trade_status_FILLED, trade_reason_NONE, "1.5", "152.5");

    SELL(&w, 0, GTC, "103", "1");
    check_order(BUY(&w, 1, POST_ONLY, "103", "1"), trade_status_CANCELLED, trade_reason_WOULD_TAKE, "0", "0");
    check_order(BUY(&w, 1, POST_ONLY, "102.99", "1"), trade_status_OPEN, trade_reason_NONE, "0", "0");
    check_order(SELL(&w, 0, POST_ONLY, "102.99", "1"), trade_status_CANCELLED, trade_reason_WOULD_TAKE, "0", "0");
    check_balance(&w, 1, "USDT", "9594.01", "102.99"); /* nothing stays reserved for what was cancelled */
    finish(&w);
}

static void nobody_trades_with_himself(void **state)
{
    (void)state;
    world w = market(4);
    SELL(&w, 1, GTC, "100", "1");
    SELL(&w, 0, GTC, "101", "1");
    check_order(BUY(&w, 0, GTC, "102", "3"), trade_status_CANCELLED, trade_reason_SELF_TRADE, "1", "100");
    check_order(BUY(&w, 0, IOC, "102", "1"), trade_status_CANCELLED, trade_reason_SELF_TRADE, "0", "0");
    check_order(BUY(&w, 0, FOK, "102", "1"), trade_status_CANCELLED, trade_reason_SELF_TRADE, "0", "0");
    check_order(BUY(&w, 0, GTC, "100.99", "1"), trade_status_OPEN, trade_reason_NONE, "0", "0");
    assert_int_equal(depth(&w, 0).asks.at[0].qty, dec("1"));
    finish(&w);
}

static void a_cancel_frees_what_is_left(void **state)
{
    (void)state;
    world w = market(5);
    trade_order out = {0}, buy = BUY(&w, 0, GTC, "100", "4");
    SELL(&w, 1, IOC, "100", "1");
    assert_int_equal(cancel(&w, 0, buy.order_id, 0, &out), STOA_OK);
    check_order(out, trade_status_CANCELLED, trade_reason_CLIENT, "1", "100");
    check_balance(&w, 0, "USDT", "9900", "0");
    assert_int_equal(depth(&w, 0).bids.count, 0);

    uint64_t before = fingerprint(&w);
    assert_int_equal(cancel(&w, 0, buy.order_id, 0, &out), STOA_OK); /* again: it stays what it is */
    check_order(out, trade_status_CANCELLED, trade_reason_CLIENT, "1", "100");
    assert_int_equal(cancel(&w, 0, 4711, 0, &out), STOA_E_NOT_FOUND);
    assert_int_equal(cancel(&w, 0, 0, 4711, &out), STOA_E_NOT_FOUND);
    assert_int_equal(cancel(&w, 0, 0, 0, &out), STOA_E_NOT_FOUND);
    assert_int_equal(cancel(&w, 1, buy.order_id, 0, &out), STOA_E_NOT_FOUND); /* somebody else's */
    assert_true(before == fingerprint(&w));

    buy = BUY(&w, 0, GTC, "100", "1");
    assert_int_equal(cancel(&w, 0, 0, buy.client_order_id, &out), STOA_OK);
    assert_int_equal(out.order_id, buy.order_id);
    assert_int_equal(out.status, trade_status_CANCELLED);
    finish(&w);
}

/* --- what is refused */

static void a_malformed_order_is_an_error_and_leaves_no_trace(void **state)
{
    (void)state;
    world w = market(6);
    static const struct {
        const char *symbol, *price, *qty;
        stoa_err err;
    } cases[] = {
        {"DOGEUSDT", "1", "1", STOA_E_UNKNOWN_SYMBOL},   {"", "1", "1", STOA_E_UNKNOWN_SYMBOL},
        {"BTCUSDT", "100.005", "1", STOA_E_PRECISION},   {"BTCUSDT", "100", "0.0001", STOA_E_PRECISION},
        {"BTCUSDT", "0", "1", STOA_E_INVALID},           {"BTCUSDT", "-100", "1", STOA_E_INVALID},
        {"BTCUSDT", "100", "0", STOA_E_INVALID},         {"BTCUSDT", "100", "-1", STOA_E_INVALID},
        {"BTCUSDT", "167772.16", "1", STOA_E_RANGE},     /* 2^24 ticks */
        {"BTCUSDT", "100", "92233720368", STOA_E_RANGE}, /* notional */
    };
    for (int traded = 0; traded < 2; traded++) {
        uint64_t before = fingerprint(&w);
        trade_order out;
        for (unsigned i = 0; i < sizeof cases / sizeof cases[0]; i++) {
            trade_account_place in =
                request(900 + i, cases[i].symbol, trade_side_BUY, trade_tif_GTC, cases[i].price, cases[i].qty);
            assert_string_equal(stoa_err_name(send(&w, 0, in, &out)), stoa_err_name(cases[i].err));
        }
        trade_account_place nameless = request(0, "BTCUSDT", trade_side_BUY, trade_tif_GTC, "100", "1");
        assert_int_equal(send(&w, 0, nameless, &out), STOA_E_INVALID);
        assert_true(before == fingerprint(&w));
        BUY(&w, 0, GTC, "100", "1"); /* once more when the account knows the symbol */
    }
    check_order(BUY(&w, 0, GTC, "0.01", "1"), trade_status_OPEN, trade_reason_NONE, "0", "0");
    deposit(&w, 2, "BTC", "1");
    check_order(SELL(&w, 2, GTC, "167772.15", "1"), trade_status_OPEN, trade_reason_NONE, "0", "0");
    finish(&w);
}

static void set_limits(world *w, const char *account, const char *position, const char *leverage, const char *loss)
{
    risk_limit in = {.limits = {dec(position), dec(leverage), dec(loss)}};
    risk_done done;
    assert_int_equal(STOA_TEXT_SETZ(&in.account, account), STOA_OK);
    assert_int_equal(risk_call_limit(w->node, w->risk, in, WORLD_DEADLINE, &done), STOA_OK);
}

static void a_failed_check_is_a_rejected_order_with_its_reason(void **state)
{
    (void)state;
    world w = market(7);
    check_order(BUY(&w, 0, GTC, "100", "0.001"), trade_status_REJECTED, trade_reason_INVALID, "0", "0");
    check_order(BUY(&w, 0, GTC, "100", "100.001"), trade_status_REJECTED, trade_reason_BALANCE, "0", "0");
    check_order(SELL(&w, 0, GTC, "100", "10.001"), trade_status_REJECTED, trade_reason_BALANCE, "0", "0");
    check_order(BUY(&w, 2, GTC, "100", "1"), trade_status_REJECTED, trade_reason_BALANCE, "0", "0");

    set_limits(&w, "a0", "12", "0", "0");
    check_order(BUY(&w, 0, GTC, "100", "2.001"), trade_status_REJECTED, trade_reason_POSITION, "0", "0");
    check_order(BUY(&w, 0, GTC, "100", "2"), trade_status_OPEN, trade_reason_NONE, "0", "0");
    check_order(BUY(&w, 0, GTC, "99", "0.002"), trade_status_REJECTED, trade_reason_POSITION, "0", "0");

    SELL(&w, 1, IOC, "100", "2"); /* a0 bought at 100 and sells at 90 */
    BUY(&w, 1, GTC, "90", "1");
    check_order(SELL(&w, 0, GTC, "90", "1"), trade_status_FILLED, trade_reason_NONE, "1", "90");
    assert_int_equal(holdings(&w, w.accounts[0]).day_pnl, dec("-10"));
    set_limits(&w, "a0", "0", "0", "10");
    check_order(SELL(&w, 0, GTC, "120", "1"), trade_status_REJECTED, trade_reason_DAILY_LOSS, "0", "0");
    set_limits(&w, "a0", "0", "0", "10.00000001");
    check_order(SELL(&w, 0, GTC, "120", "1"), trade_status_OPEN, trade_reason_NONE, "0", "0");
    finish(&w);
}

static void who_may_borrow_is_held_by_leverage_and_margin(void **state)
{
    (void)state;
    world w = market(8);
    stoa_ref lender = world_spawn(&w, &trade_account_kind, "trade_account/a3");
    w.accounts[w.account_count++] = lender;
    assert_int_equal(open_account(&w, lender, 0, 1), STOA_OK);
    check_order(SELL(&w, 3, GTC, "100", "1"), trade_status_REJECTED, trade_reason_BALANCE, "0", "0");
    deposit(&w, 3, "USDT", "100");
    check_order(SELL(&w, 3, GTC, "100", "1.001"), trade_status_REJECTED, trade_reason_LEVERAGE, "0", "0");
    set_limits(&w, "a3", "0", "5", "0");
    check_order(SELL(&w, 3, GTC, "100", "5.001"), trade_status_REJECTED, trade_reason_LEVERAGE, "0", "0");
    set_limits(&w, "a3", "0", "100", "0");
    check_order(SELL(&w, 3, GTC, "100", "10.001"), trade_status_REJECTED, trade_reason_MARGIN, "0", "0");
    check_order(SELL(&w, 3, GTC, "100", "10"), trade_status_OPEN, trade_reason_NONE, "0", "0");
    check_balance(&w, 3, "BTC", "-10", "10");
    BUY(&w, 0, GTC, "100", "4");
    check_balance(&w, 3, "USDT", "500", "0");
    /* it owes bitcoin: what it got for them is not its to take away */
    assert_int_equal(transfer(&w, lender, 1, "a0", "USDT", dec("100")), STOA_E_DENIED);
    SELL(&w, 0, GTC, "100", "4");
    trade_order out = {0};
    assert_int_equal(cancel(&w, 3, 0, w.clients - 2, &out), STOA_OK);
    check_order(BUY(&w, 3, GTC, "100", "4"), trade_status_FILLED, trade_reason_NONE, "4", "400"); /* back to flat */
    check_balance(&w, 3, "BTC", "0", "0");
    assert_int_equal(transfer(&w, lender, 2, "a0", "USDT", dec("100")), STOA_OK);
    finish(&w);
}

static void a_symbol_without_a_book_is_not_traded(void **state)
{
    (void)state;
    world w = market(9);
    trade_symbol late = world_symbols[1];
    late.name = symbol_name("ETHLATE");
    risk_done done;
    trade_book_done opened;
    assert_int_equal(risk_call_symbol(w.node, w.risk, (risk_symbol){late}, WORLD_DEADLINE, &done), STOA_OK);
    trade_order out = {0};
    assert_int_equal(send(&w, 0, request(77, "ETHLATE", trade_side_BUY, trade_tif_GTC, "100", "1"), &out), STOA_OK);
    check_order(out, trade_status_REJECTED, trade_reason_INVALID, "0", "0");

    stoa_ref book = world_spawn(&w, &trade_book_kind, "trade_book/ETHLATE");
    assert_int_equal(risk_call_symbol(w.node, w.risk, (risk_symbol){late}, WORLD_DEADLINE, &done), STOA_OK);
    assert_int_equal(send(&w, 0, request(78, "ETHLATE", trade_side_BUY, trade_tif_GTC, "100", "1"), &out), STOA_OK);
    check_order(out, trade_status_CANCELLED, trade_reason_INVALID, "0", "0"); /* it is there, but not open */
    assert_int_equal(trade_book_call_open(w.node, book, (trade_book_open){late}, WORLD_DEADLINE, &opened), STOA_OK);
    assert_int_equal(send(&w, 0, request(79, "ETHLATE", trade_side_BUY, trade_tif_GTC, "100", "1"), &out), STOA_OK);
    check_order(out, trade_status_OPEN, trade_reason_NONE, "0", "0");
    finish(&w);
}

static void rules_of_a_symbol_are_checked_and_fixed(void **state)
{
    (void)state;
    world w = market(10);
    risk_done done;
    trade_symbol s = world_symbols[0];
    s.qty_max = dec("5");
    assert_int_equal(risk_call_symbol(w.node, w.risk, (risk_symbol){s}, WORLD_DEADLINE, &done), STOA_OK);
    check_order(BUY(&w, 0, GTC, "100", "5.001"), trade_status_REJECTED, trade_reason_INVALID, "0", "0");
    s.tick *= 10;
    assert_int_equal(risk_call_symbol(w.node, w.risk, (risk_symbol){s}, WORLD_DEADLINE, &done), STOA_E_EXISTS);
    trade_book_done opened;
    assert_int_equal(trade_book_call_open(w.node, w.books[0], (trade_book_open){s}, WORLD_DEADLINE, &opened),
                     STOA_E_EXISTS);

    uint64_t before = fingerprint(&w);
    trade_symbol wrong[8];
    for (unsigned i = 0; i < 8; i++) {
        wrong[i] = world_symbols[1];
        wrong[i].name = symbol_name("NEW");
    }
    wrong[0].name = symbol_name("");
    wrong[1].base = wrong[1].quote;
    wrong[2].tick = 0;
    wrong[3].tick = 3; /* tick x lot is no whole number of 10^-8 */
    wrong[3].lot = 7;
    wrong[4].margin_rate = 0;
    wrong[5].margin_rate = STOA_DECIMAL_ONE + 1;
    wrong[6].qty_min = 2;
    wrong[6].qty_max = 1;
    wrong[7].tick = INT64_MAX / TRADE_PRICE_TICKS_MAX + 1;
    for (unsigned i = 0; i < 8; i++) {
        risk_symbol in = {wrong[i]};
        assert_int_equal(risk_call_symbol(w.node, w.risk, in, WORLD_DEADLINE, &done), STOA_E_INVALID);
    }
    risk_limit nobody = {.account = stoa_text("nobody")}, negative = {.account = stoa_text("a0"), .limits = {-1, 0, 0}};
    assert_int_equal(risk_call_limit(w.node, w.risk, nobody, WORLD_DEADLINE, &done), STOA_E_NOT_FOUND);
    assert_int_equal(risk_call_limit(w.node, w.risk, negative, WORLD_DEADLINE, &done), STOA_E_INVALID);
    assert_true(before == fingerprint(&w));
    finish(&w);
}

static void only_so_many_orders_are_open_at_once(void **state)
{
    (void)state;
    world w = market(11);
    for (int i = 0; i < TRADE_OPEN_ORDERS_MAX; i++) {
        assert_int_equal(BUY(&w, 0, GTC, "1", "0.002").status, trade_status_OPEN);
    }
    check_order(BUY(&w, 0, GTC, "1", "0.002"), trade_status_REJECTED, trade_reason_TOO_MANY_ORDERS, "0", "0");
    trade_order out;
    assert_int_equal(cancel(&w, 0, 0, 7, &out), STOA_OK);
    assert_int_equal(BUY(&w, 0, GTC, "1", "0.002").status, trade_status_OPEN);
    assert_int_equal(holdings(&w, w.accounts[0]).open_orders, TRADE_OPEN_ORDERS_MAX);
    finish(&w);
}

static void a_level_that_cannot_hold_more_is_full(void **state)
{
    (void)state;
    world w = market(12);
    trade_account_order out = {0};
    trade_symbol s = world_symbols[0];
    risk_done done;
    s.qty_max = 0;
    assert_int_equal(risk_call_symbol(w.node, w.risk, (risk_symbol){s}, WORLD_DEADLINE, &done), STOA_OK);
    trade_account_place in = request(1, "BTCUSDT", trade_side_BUY, trade_tif_GTC, "0.01", "90000000000");
    assert_int_equal(trade_account_call_place(w.node, w.bank, in, WORLD_DEADLINE, &out), STOA_OK);
    check_order(out.order, trade_status_OPEN, trade_reason_NONE, "0", "0");
    in.client_order_id = 2;
    assert_int_equal(trade_account_call_place(w.node, w.bank, in, WORLD_DEADLINE, &out), STOA_OK);
    check_order(out.order, trade_status_CANCELLED, trade_reason_BOOK_FULL, "0", "0");
    in.client_order_id = 3;
    in.price += s.tick; /* the next level holds as much again, but one decimal does not hold both */
    assert_int_equal(trade_account_call_place(w.node, w.bank, in, WORLD_DEADLINE, &out), STOA_OK);
    check_order(out.order, trade_status_OPEN, trade_reason_NONE, "0", "0");
    finish(&w);
}

/* --- retries */

static void a_known_client_id_never_trades_twice(void **state)
{
    (void)state;
    world w = market(13);
    trade_account_place in = request(50, "BTCUSDT", trade_side_SELL, trade_tif_GTC, "100", "2"), other;
    trade_order first = {0}, again = {0};
    assert_int_equal(send(&w, 0, in, &first), STOA_OK);
    uint64_t before = fingerprint(&w);
    assert_int_equal(send(&w, 0, in, &again), STOA_OK);
    assert_memory_equal(&first, &again, sizeof first);
    other = in;
    other.qty += 100000;
    assert_int_equal(send(&w, 0, other, &again), STOA_E_DUPLICATE);
    other = in;
    other.price += 1000000;
    assert_int_equal(send(&w, 0, other, &again), STOA_E_DUPLICATE);
    other = in;
    other.side = trade_side_BUY;
    assert_int_equal(send(&w, 0, other, &again), STOA_E_DUPLICATE);
    other = in;
    other.tif = trade_tif_IOC;
    assert_int_equal(send(&w, 0, other, &again), STOA_E_DUPLICATE);
    other = in;
    other.symbol = symbol_name("ETHUSDT");
    assert_int_equal(send(&w, 0, other, &again), STOA_E_DUPLICATE);
    assert_true(before == fingerprint(&w));

    BUY(&w, 1, GTC, "100", "2");
    assert_int_equal(send(&w, 0, in, &again), STOA_OK); /* as it stands now */
    assert_int_equal(again.order_id, first.order_id);
    check_order(again, trade_status_FILLED, trade_reason_NONE, "2", "200");

    in = request(51, "BTCUSDT", trade_side_SELL, trade_tif_GTC, "100", "2000");
    assert_int_equal(send(&w, 0, in, &first), STOA_OK);
    deposit(&w, 0, "BTC", "2000"); /* enough now, but it was rejected and stays so */
    assert_int_equal(send(&w, 0, in, &again), STOA_OK);
    check_order(again, trade_status_REJECTED, trade_reason_BALANCE, "0", "0");
    assert_int_equal(again.order_id, first.order_id);
    finish(&w);
}

typedef struct answers {
    uint32_t count;
    trade_order at[8];
    stoa_err errors[8];
} answers;

static void take_answer(void *context, const stoa_delivery *delivery)
{
    answers *got = context;
    assert_true(delivery->answer && got->count < 8);
    got->errors[got->count] = delivery->error;
    if (!delivery->error) { got->at[got->count] = ((const trade_account_order *)delivery->payload)->order; }
    got->count++;
}

static void retries_in_flight_join_one_order(void **state)
{
    (void)state;
    world w = market(14);
    stoa_port *port;
    answers got = {0};
    assert_int_equal(stoa_port_open(w.node, "client", &port), STOA_OK);
    trade_account_place in = request(9, "BTCUSDT", trade_side_SELL, trade_tif_GTC, "100", "2"), other = in;
    other.qty = dec("3");
    const stoa_row *row = &trade_account_rows[trade_account_ROW_place];
    for (uint64_t i = 0; i < 4; i++) {
        const trade_account_place *payload = i == 2 ? &other : &in;
        uint64_t due = stoa_sim_now(w.sim) + WORLD_DEADLINE;
        assert_int_equal(stoa_port_ask(port, w.accounts[0], row, payload, 100 + i, due, i), STOA_OK);
    }
    stoa_port_flush(port);
    assert_int_equal(stoa_sim_settle(w.sim, 1000000), STOA_OK);
    while (stoa_port_poll(port, take_answer, &got, 8)) {}
    assert_int_equal(got.count, 4);
    uint32_t alike = 0, refused = 0;
    for (uint32_t i = 0; i < 4; i++) {
        refused += got.errors[i] == STOA_E_DUPLICATE;
        alike += !got.errors[i] && got.at[i].client_order_id == 9 && got.at[i].qty == dec("2");
    }
    assert_int_equal(alike, 3);
    assert_int_equal(refused, 1);
    assert_int_equal(depth(&w, 0).asks.at[0].qty, dec("2"));
    stoa_port_close(port);
    finish(&w);
}

static void an_id_below_what_is_forgotten_is_stale(void **state)
{
    (void)state;
    world w = market(15);
    trade_order out = {0}, open = BUY(&w, 0, GTC, "1", "1"); /* client id 1, stays open */
    for (int i = 0; i <= TRADE_KNOWN_ORDERS; i++) {
        BUY(&w, 0, IOC, "1", "0.002");
    }
    trade_account_place in = request(2, "BTCUSDT", trade_side_BUY, trade_tif_IOC, "1", "0.002");
    assert_int_equal(send(&w, 0, in, &out), STOA_E_STALE);
    in.client_order_id = 3;
    assert_int_equal(send(&w, 0, in, &out), STOA_OK);
    in = request(1, "BTCUSDT", trade_side_BUY, trade_tif_GTC, "1", "1");
    assert_int_equal(send(&w, 0, in, &out), STOA_OK);
    assert_int_equal(out.order_id, open.order_id);
    assert_int_equal(out.status, trade_status_OPEN);
    finish(&w);
}

static void orders_come_in_pages(void **state)
{
    (void)state;
    world w = market(16);
    for (int i = 0; i < 70; i++) {
        BUY(&w, 0, GTC, "1", "0.002");
        BUY(&w, 0, IOC, "1", "0.002");
    }
    trade_account_page page = {0};
    trade_account_orders in = {.open_only = 1};
    assert_int_equal(trade_account_call_orders(w.node, w.accounts[0], in, WORLD_DEADLINE, &page), STOA_OK);
    assert_int_equal(page.orders.count, 64);
    assert_int_equal(page.more, 1);
    assert_int_equal(page.seq, 70 * 2 + 70 * 2);
    in.after_order_id = page.orders.at[63].order_id;
    page = (trade_account_page){0};
    assert_int_equal(trade_account_call_orders(w.node, w.accounts[0], in, WORLD_DEADLINE, &page), STOA_OK);
    assert_int_equal(page.orders.count, 6);
    assert_int_equal(page.more, 0);
    in = (trade_account_orders){.after_order_id = 138};
    page = (trade_account_page){0};
    assert_int_equal(trade_account_call_orders(w.node, w.accounts[0], in, WORLD_DEADLINE, &page), STOA_OK);
    assert_int_equal(page.orders.count, 2);
    assert_int_equal(page.orders.at[0].order_id, 139);
    assert_int_equal(page.orders.at[1].status, trade_status_CANCELLED);
    finish(&w);
}

/* --- money */

static void an_amount_moves_once_per_transfer_id(void **state)
{
    (void)state;
    world w = market(17);
    assert_int_equal(transfer(&w, w.accounts[0], 5, "a1", "USDT", dec("10")), STOA_OK);
    check_balance(&w, 0, "USDT", "9990", "0");
    check_balance(&w, 1, "USDT", "10010", "0");
    uint64_t before = fingerprint(&w);
    assert_int_equal(transfer(&w, w.accounts[0], 5, "a1", "USDT", dec("10")), STOA_OK);
    assert_int_equal(transfer(&w, w.accounts[0], 5, "a1", "USDT", dec("11")), STOA_E_DUPLICATE);
    assert_int_equal(transfer(&w, w.accounts[0], 5, "a2", "USDT", dec("10")), STOA_E_DUPLICATE);
    assert_int_equal(transfer(&w, w.accounts[0], 5, "a1", "BTC", dec("10")), STOA_E_DUPLICATE);
    assert_int_equal(transfer(&w, w.accounts[0], 6, "a1", "USDT", dec("9990.00000001")), STOA_E_RANGE);
    assert_int_equal(transfer(&w, w.accounts[0], 6, "a1", "DOGE", dec("1")), STOA_E_RANGE);
    assert_int_equal(transfer(&w, w.accounts[0], 6, "nobody", "USDT", dec("1")), STOA_E_NOT_FOUND);
    assert_int_equal(transfer(&w, w.accounts[0], 6, "a0", "USDT", dec("1")), STOA_E_INVALID);
    assert_int_equal(transfer(&w, w.accounts[0], 6, "a1", "USDT", 0), STOA_E_INVALID);
    assert_int_equal(transfer(&w, w.accounts[0], 6, "a1", "USDT", dec("-1")), STOA_E_INVALID);
    assert_int_equal(transfer(&w, w.accounts[0], 6, "a1", "", dec("1")), STOA_E_INVALID);
    assert_int_equal(transfer(&w, w.accounts[0], 0, "a1", "USDT", dec("1")), STOA_E_INVALID);
    assert_true(before == fingerprint(&w));
    BUY(&w, 0, GTC, "100", "99"); /* what is reserved cannot be sent */
    assert_int_equal(transfer(&w, w.accounts[0], 6, "a1", "USDT", dec("90.00000001")), STOA_E_RANGE);
    assert_int_equal(transfer(&w, w.accounts[0], 6, "a1", "USDT", dec("90")), STOA_OK);
    finish(&w);
}

static void what_the_receiver_refuses_has_not_happened(void **state)
{
    (void)state;
    world w = market(18);
    (void)world_spawn(&w, &trade_account_kind, "trade_account/unopened");
    uint64_t before = fingerprint(&w);
    assert_int_equal(transfer(&w, w.bank, 1000, "unopened", "USDT", dec("1")), STOA_E_NOT_FOUND);
    assert_int_equal(transfer(&w, w.bank, 1000, "a0", "USDT", INT64_MAX), STOA_E_RANGE);
    assert_true(before == fingerprint(&w));
    for (char asset[] = "A"; asset[0] < 'A' + TRADE_ASSETS_MAX - 2; asset[0]++) {
        deposit(&w, 0, asset, "1");
        check_balance(&w, 0, asset, "1", "0");
    }
    before = fingerprint(&w);
    assert_int_equal(transfer(&w, w.bank, 2000, "a0", "MORE", dec("1")), STOA_E_NOMEM);
    trade_order out;
    trade_account_place in = request(1, "ETHUSDT", trade_side_BUY, trade_tif_GTC, "100", "1");
    assert_int_equal(send(&w, 0, in, &out), STOA_E_NOMEM); /* no room for another asset */
    assert_true(before == fingerprint(&w));
    finish(&w);
}

static void an_account_must_be_opened_once(void **state)
{
    (void)state;
    world w = market(19);
    assert_int_equal(open_account(&w, w.accounts[0], 0, 0), STOA_OK);
    assert_int_equal(open_account(&w, w.accounts[0], 0, 1), STOA_E_EXISTS);
    assert_int_equal(open_account(&w, w.accounts[0], 2, 0), STOA_E_INVALID);
    w.accounts[w.account_count] = world_spawn(&w, &trade_account_kind, "trade_account/late");
    trade_order out;
    trade_account_page page;
    trade_account_holdings balances;
    stoa_ref late = w.accounts[w.account_count];
    trade_account_place in = request(1, "BTCUSDT", trade_side_BUY, trade_tif_GTC, "1", "1");
    assert_int_equal(send(&w, 3, in, &out), STOA_E_NOT_FOUND);
    assert_int_equal(cancel(&w, 3, 1, 0, &out), STOA_E_NOT_FOUND);
    assert_int_equal(transfer(&w, late, 1, "a0", "USDT", dec("1")), STOA_E_NOT_FOUND);
    assert_int_equal(trade_account_call_orders(w.node, late, (trade_account_orders){0}, WORLD_DEADLINE, &page),
                     STOA_E_NOT_FOUND);
    assert_int_equal(
        trade_account_call_balances(w.node, late, (trade_account_balances){{0}}, WORLD_DEADLINE, &balances),
        STOA_E_NOT_FOUND);
    finish(&w);
}

/* --- one order through many, many orders in one book */

static void post_makers(world *w, uint32_t count, int64_t price_ticks)
{
    static uint64_t id = UINT64_C(1) << 40; /* far above risk's */
    for (uint32_t i = 0; i < count; i++) {
        trade_book_place in = {
            .order_id = ++id, .side = trade_side_SELL, .price_ticks = price_ticks + i % 700, .qty_lots = 2};
        assert_int_equal(trade_book_post_place(w->node, w->books[0], in), STOA_OK);
        if (i % 500 == 499) { assert_int_equal(stoa_sim_settle(w->sim, 1000000), STOA_OK); }
    }
    assert_int_equal(stoa_sim_settle(w->sim, 1000000), STOA_OK);
}

static void an_order_sweeps_up_to_the_limit_in_one_commit(void **state)
{
    (void)state;
    world w = market(20);
    deposit(&w, 0, "USDT", "100000");
    post_makers(&w, TRADE_SWEEP_MAX + 1, 10000);
    check_order(BUY(&w, 0, FOK, "120", "8.194"), trade_status_CANCELLED, trade_reason_NOT_FILLABLE, "0", "0");
    trade_order swept = BUY(&w, 0, GTC, "120", "9");
    assert_int_equal(swept.status, trade_status_CANCELLED);
    assert_int_equal(swept.reason, trade_reason_SWEEP_LIMIT);
    assert_int_equal(swept.fills, TRADE_SWEEP_MAX);
    assert_int_equal(swept.filled_qty, dec("8.192"));
    assert_int_equal(depth(&w, 0).orders, 1);
    post_makers(&w, TRADE_SWEEP_MAX - 1, 10000);
    assert_int_equal(BUY(&w, 0, FOK, "120", "8.192").status, trade_status_FILLED);
    assert_int_equal(depth(&w, 0).orders, 0);
    check_replay(&w); /* money came from nobody here: account 0 keeps no books */
    world_free(&w);
}

static void a_full_book_takes_no_more_but_trades(void **state)
{
    (void)state;
    world w = market(26);
    post_makers(&w, TRADE_LADDER_ORDERS, 10000);
    assert_int_equal(depth(&w, 0).orders, TRADE_LADDER_ORDERS);
    check_order(BUY(&w, 0, GTC, "99", "1"), trade_status_CANCELLED, trade_reason_BOOK_FULL, "0", "0");
    check_order(BUY(&w, 0, IOC, "100", "0.003"), trade_status_FILLED, trade_reason_NONE, "0.003", "0.3");
    check_order(BUY(&w, 0, GTC, "99", "1"), trade_status_OPEN, trade_reason_NONE, "0", "0");
    check_order(BUY(&w, 0, GTC, "98", "1"), trade_status_CANCELLED, trade_reason_BOOK_FULL, "0", "0");
    /* one that clears the level of 187 makers, one of them half gone, leaves room for its own rest */
    check_order(BUY(&w, 0, GTC, "100", "0.375"), trade_status_OPEN, trade_reason_NONE, "0.373", "37.3");
    check_replay(&w);
    world_free(&w);
}

static void the_largest_cascade_fits_a_block(void **state)
{
    (void)state;
    world w = world_new(21, 17);
    deposit(&w, 16, "USDT", "10000000");
    for (unsigned a = 0; a < 16; a++) {
        deposit(&w, a, "BTC", "1000");
        for (int i = 0; i < TRADE_OPEN_ORDERS_MAX; i++) {
            char price[16];
            (void)snprintf(price, sizeof price, "100.%02u", (a * 7 + (unsigned)i) % 100);
            assert_int_equal(SELL(&w, a, GTC, price, "1").status, trade_status_OPEN);
        }
    }
    trade_order swept = BUY(&w, 16, FOK, "101", "4096");
    assert_int_equal(swept.status, trade_status_FILLED);
    assert_int_equal(swept.fills, 4096);
    check_money(&w);
    world_crash(&w);
    assert_int_equal(query(&w, 16, swept.order_id).status, trade_status_FILLED);
    finish(&w);
}

/* --- who may say what */

static void nobody_outside_speaks_for_risk_book_or_account(void **state)
{
    (void)state;
    world w = market(22);
    trade_order sell = SELL(&w, 0, GTC, "100", "1");
    uint64_t before = fingerprint(&w), id = sell.order_id;
    trade_request order = {.client_order_id = 99, .symbol = symbol_name("BTCUSDT"), .price = dec("1"), .qty = dec("1")};
    stoa_ref a = w.accounts[0], book = w.books[0];
    trade_account_post_fill(w.node, a, (trade_account_fill){.order_id = id, .price_ticks = 10000, .qty_lots = 1});
    trade_account_post_settled(w.node, a, (trade_account_settled){.order_id = id, .status = trade_status_CANCELLED});
    trade_account_post_verdict(w.node, a, (trade_account_verdict){.order_id = 777, .order = order, .book = 2});
    trade_account_post_rules(w.node, a, (trade_account_rules){.order = order, .symbol = world_symbols[1]});
    trade_account_post_credit(
        w.node, a, (trade_account_credit){.transfer_id = 1, .asset = stoa_text("USDT"), .amount = 1, .from_stream = 5});
    trade_account_post_paid(
        w.node, a, (trade_account_paid){.transfer_id = 1, .asset = stoa_text("USDT"), .amount = 1, .to_stream = 5});
    trade_book_post_cancel(w.node, book, (trade_book_cancel){.order_id = id, .account = 5});
    trade_book_post_cancel(w.node, book, (trade_book_cancel){.order_id = id});
    trade_book_post_place(w.node, book,
                          (trade_book_place){.order_id = 778, .account = 5, .price_ticks = 1, .qty_lots = 1});
    trade_book_post_place(w.node, book, (trade_book_place){.order_id = id, .price_ticks = 1, .qty_lots = 1});
    trade_book_post_place(w.node, book, (trade_book_place){.order_id = 779, .price_ticks = 0, .qty_lots = 1});
    trade_book_post_place(w.node, book, (trade_book_place){.order_id = 779, .price_ticks = 1, .qty_lots = 0});
    trade_book_post_place(w.node, book,
                          (trade_book_place){.order_id = 779, .swept = 1, .price_ticks = 1, .qty_lots = 1});
    risk_post_ask(w.node, w.risk, (risk_ask){.order = order, .account = {.account = 5, .issuer = 1}});
    assert_int_equal(stoa_sim_settle(w.sim, 1000000), STOA_OK);
    assert_true(before == fingerprint(&w));
    finish(&w);
}

/* A stand-in for an account, to see what a book says to one. */
#define probe_cancel_FIELDS(F, S) F(S, uint64_t, order_id)
#define probe_heard_FIELDS(F, S)  F(S, uint64_t, order_id) F(S, uint64_t, status) F(S, uint64_t, reason)
#define probe_ROWS(ROW, K)                                                                                             \
    ROW(K, COMMAND, cancel, heard, "Cancel an order at the book.")                                                     \
    ROW(K, REPLY, heard, _, "What it settled.")
STOA_TABLE(probe)
STOA_TABLE_DEFINE(probe)
typedef struct probe {
    uint64_t nothing;
} probe;
#define probe_HEARS(HEAR, K) HEAR(K, trade_account, settled)
STOA_KIND(probe, .mailbox_limit = 8)

static stoa_err probe_on_cancel(stoa_turn *turn, const probe *self, const probe_cancel *in, probe_heard *out)
{
    (void)self;
    (void)out;
    trade_book_cancel cancelled = {.order_id = in->order_id, .account = stoa_turn_stream(turn)};
    return trade_book_forward_cancel(turn, stoa_turn_find(turn, "trade_book/BTCUSDT"), cancelled);
}

static stoa_err probe_on_trade_account_settled(stoa_turn *turn, const probe *self, const trade_account_settled *in)
{
    (void)self;
    return probe_answer_heard(turn, (probe_heard){in->order_id, in->status, in->reason});
}

static void the_book_answers_for_orders_it_does_not_know(void **state)
{
    (void)state;
    world w = market(23);
    trade_order sell = SELL(&w, 0, GTC, "100", "1");
    stoa_ref stranger = world_spawn(&w, &probe_kind, "probe/p");
    uint64_t ids[] = {4711, sell.order_id}, before = fingerprint(&w);
    for (unsigned i = 0; i < 2; i++) {
        probe_heard out = {0};
        assert_int_equal(probe_call_cancel(w.node, stranger, (probe_cancel){ids[i]}, WORLD_DEADLINE, &out), STOA_OK);
        assert_int_equal(out.order_id, ids[i]);
        assert_int_equal(out.status, trade_status_CANCELLED);
        assert_int_equal(out.reason, trade_reason_CLIENT);
    }
    assert_true(before == fingerprint(&w));
    assert_int_equal(depth(&w, 0).asks.count, 1); /* it was somebody else's */
    world_free(&w);
}

/* --- after a crash */

static void what_was_acknowledged_survives_a_power_cut(void **state)
{
    (void)state;
    world w = market(24);
    trade_order sell = SELL(&w, 0, GTC, "100", "3"), buy = BUY(&w, 1, GTC, "100", "1");
    trade_order gone = BUY(&w, 1, GTC, "90", "1"), out = {0};
    assert_int_equal(cancel(&w, 1, gone.order_id, 0, &out), STOA_OK);
    sell = query(&w, 0, sell.order_id);
    uint64_t before = fingerprint(&w);
    world_crash(&w);
    assert_true(before == fingerprint(&w));
    trade_order again = query(&w, 0, sell.order_id);
    assert_memory_equal(&again, &sell, sizeof sell);
    trade_account_place retry = request(buy.client_order_id, "BTCUSDT", buy.side, buy.tif, "100", "1");
    assert_int_equal(send(&w, 1, retry, &out), STOA_OK);
    assert_memory_equal(&out, &buy, sizeof buy);
    assert_int_equal(BUY(&w, 1, GTC, "100", "2").status, trade_status_FILLED); /* the book matches on */
    assert_int_equal(query(&w, 0, sell.order_id).status, trade_status_FILLED);
    finish(&w);
}

static void a_state_prints_itself_as_json(void **state)
{
    (void)state;
    world w = market(25);
    SELL(&w, 0, GTC, "100.5", "3");
    stoa_buf out = STOA_BUF_GROWING;
    assert_int_equal(stoa_inspect(w.node, "trade_book/BTCUSDT", &out), STOA_OK);
    assert_string_equal(out.at, "{\"symbol\":\"BTCUSDT\",\"bid\":\"0\",\"bid_qty\":\"0\",\"bid_levels\":0,"
                                "\"ask\":\"100.5\",\"ask_qty\":\"3\",\"ask_levels\":1,\"orders\":1,\"trades\":0,"
                                "\"last_id\":1}");
    stoa_buf_clear(&out);
    assert_int_equal(stoa_inspect(w.node, "trade_account/a0", &out), STOA_OK);
    assert_non_null(strstr(out.at, "{\"asset\":\"BTC\",\"free\":\"7\",\"reserved\":\"3\",\"transit\":\"-10\"}"));
    stoa_buf_clear(&out);
    assert_int_equal(stoa_inspect(w.node, "risk/main", &out), STOA_OK);
    assert_non_null(strstr(out.at, "{\"symbol\":\"BTCUSDT\",\"tick\":\"0.01\",\"lot\":\"0.001\",\"book\":2}"));
    stoa_buf_deinit(&out);
    finish(&w);
}

int main(void)
{
    stoa_log_level_set(STOA_LOG_ERROR);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_order_rests_trades_in_parts_and_is_filled),
        cmocka_unit_test(orders_trade_by_price_then_time),
        cmocka_unit_test(each_time_in_force_keeps_its_word),
        cmocka_unit_test(nobody_trades_with_himself),
        cmocka_unit_test(a_cancel_frees_what_is_left),
        cmocka_unit_test(a_malformed_order_is_an_error_and_leaves_no_trace),
        cmocka_unit_test(a_failed_check_is_a_rejected_order_with_its_reason),
        cmocka_unit_test(who_may_borrow_is_held_by_leverage_and_margin),
        cmocka_unit_test(a_symbol_without_a_book_is_not_traded),
        cmocka_unit_test(rules_of_a_symbol_are_checked_and_fixed),
        cmocka_unit_test(only_so_many_orders_are_open_at_once),
        cmocka_unit_test(a_level_that_cannot_hold_more_is_full),
        cmocka_unit_test(a_known_client_id_never_trades_twice),
        cmocka_unit_test(retries_in_flight_join_one_order),
        cmocka_unit_test(an_id_below_what_is_forgotten_is_stale),
        cmocka_unit_test(orders_come_in_pages),
        cmocka_unit_test(an_amount_moves_once_per_transfer_id),
        cmocka_unit_test(what_the_receiver_refuses_has_not_happened),
        cmocka_unit_test(an_account_must_be_opened_once),
        cmocka_unit_test(an_order_sweeps_up_to_the_limit_in_one_commit),
        cmocka_unit_test(a_full_book_takes_no_more_but_trades),
        cmocka_unit_test(the_largest_cascade_fits_a_block),
        cmocka_unit_test(nobody_outside_speaks_for_risk_book_or_account),
        cmocka_unit_test(the_book_answers_for_orders_it_does_not_know),
        cmocka_unit_test(what_was_acknowledged_survives_a_power_cut),
        cmocka_unit_test(a_state_prints_itself_as_json),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
