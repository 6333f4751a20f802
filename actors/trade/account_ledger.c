/* account_ledger.c - postings and profit of actors/trade/account_ledger.h.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "actors/trade/account_ledger.h"

typedef trade_amount amount;
typedef trade_ledger_asset asset;
typedef trade_ledger_symbol symbol;

#define NS_PER_DAY (UINT64_C(86400) * 1000000000)

static amount absolute(amount a)
{
    return a < 0 ? -a : a;
}

static stoa_err narrow(amount a, stoa_decimal *out)
{
    if (a != (stoa_decimal)a) { return STOA_E_RANGE; }
    *out = (stoa_decimal)a;
    return STOA_OK;
}

/* What an order of that size is worth. Exact: price and quantity are whole ticks and lots of one symbol. */
static amount notional(stoa_decimal price, stoa_decimal qty)
{
    return (amount)price * qty / STOA_DECIMAL_ONE;
}

/* --- names */
uint32_t trade_ledger_asset_find(const trade_ledger *ledger, const stoa_text6 *name)
{
    for (uint32_t i = 1; i <= ledger->asset_count; i++) {
        if (STOA_TEXT_EQ(&ledger->assets[i].name, name)) { return i; }
    }
    return 0;
}

uint32_t trade_ledger_symbol_find(const trade_ledger *ledger, const stoa_text14 *name)
{
    for (uint32_t i = 1; i <= ledger->symbol_count; i++) {
        if (STOA_TEXT_EQ(&ledger->symbols[i].name, name)) { return i; }
    }
    return 0;
}

bool trade_ledger_asset_room(const trade_ledger *ledger, const stoa_text6 *name)
{
    return ledger->asset_count < TRADE_ASSETS_MAX || trade_ledger_asset_find(ledger, name);
}

bool trade_ledger_symbol_room(const trade_ledger *ledger, const stoa_text6 *base, const stoa_text6 *quote)
{
    uint32_t assets = ledger->asset_count;
    assets += trade_ledger_asset_find(ledger, base) ? 0 : 1;
    assets += trade_ledger_asset_find(ledger, quote) ? 0 : 1;
    return ledger->symbol_count < TRADE_SYMBOLS_MAX && assets <= TRADE_ASSETS_MAX;
}

static uint32_t asset_find_or_add(trade_ledger *ledger, const stoa_text6 *name)
{
    uint32_t index = trade_ledger_asset_find(ledger, name);
    if (index == 0) {
        STOA_ASSERT(ledger->asset_count < TRADE_ASSETS_MAX);
        index = ++ledger->asset_count;
        ledger->assets[index].name = *name;
    }
    return index;
}

void trade_ledger_symbol_add(trade_ledger *ledger, const trade_account_listed *listed)
{
    STOA_ASSERT(ledger->symbol_count < TRADE_SYMBOLS_MAX);
    STOA_ASSERT(listed->tick > 0 && listed->tick <= INT64_MAX / TRADE_PRICE_TICKS_MAX && listed->lot > 0);
    symbol *mine = &ledger->symbols[++ledger->symbol_count];
    mine->name = listed->symbol;
    mine->tick = listed->tick;
    mine->lot = listed->lot;
    mine->base = asset_find_or_add(ledger, &listed->base);
    mine->quote = asset_find_or_add(ledger, &listed->quote);
}

/* --- postings */
static amount total(const asset *a)
{
    return a->free + a->reserved;
}

amount trade_ledger_free(const trade_ledger *ledger, const stoa_text6 *name)
{
    return ledger->assets[trade_ledger_asset_find(ledger, name)].free; /* asset 0 is empty */
}

bool trade_ledger_owes(const trade_ledger *ledger)
{
    for (uint32_t i = 1; i <= ledger->asset_count; i++) {
        if (ledger->assets[i].free < 0) { return true; }
    }
    return false;
}

static void move(asset *a, amount incoming)
{
    a->free += incoming;
    a->transit -= incoming;
}

void trade_ledger_move(trade_ledger *ledger, const stoa_text6 *name, stoa_decimal incoming)
{
    move(&ledger->assets[asset_find_or_add(ledger, name)], incoming);
}

stoa_err trade_ledger_fits(const trade_ledger *ledger, const stoa_text6 *name, stoa_decimal incoming)
{
    stoa_decimal after;
    return narrow(total(&ledger->assets[trade_ledger_asset_find(ledger, name)]) + incoming, &after);
}

/* An order, or a part of one, becomes open (sign 1) or is so no longer (sign -1). */
static void set_open(trade_ledger *ledger, symbol *s, trade_side side, stoa_decimal price, stoa_decimal qty, int sign)
{
    amount cost = notional(price, qty), reserve = side == trade_side_BUY ? cost : qty;
    asset *paid = &ledger->assets[side == trade_side_BUY ? s->quote : s->base];
    paid->free -= sign * reserve;
    paid->reserved += sign * reserve;
    *(side == trade_side_BUY ? &s->open_buys : &s->open_sells) += sign * qty;
    s->open_notional += sign * cost;
}

void trade_ledger_reserve(trade_ledger *ledger, uint32_t at, trade_side side, stoa_decimal price, stoa_decimal qty)
{
    set_open(ledger, &ledger->symbols[at], side, price, qty, 1);
}

void trade_ledger_release(trade_ledger *ledger, uint32_t at, trade_side side, stoa_decimal price, stoa_decimal qty)
{
    set_open(ledger, &ledger->symbols[at], side, price, qty, -1);
}

/* a x part / whole; where the product is too large, rounded before instead of after. */
static amount share(amount a, amount part, amount whole)
{
    amount product;
    if (__builtin_mul_overflow(a, part, &product)) { return a / whole * part; }
    return product / whole;
}

/* Position and profit after base changed by +-qty against value of quote. */
static void book_profit(symbol *s, trade_side side, amount qty, amount value)
{
    amount sign = side == trade_side_BUY ? 1 : -1;
    if ((s->held < 0) == (sign > 0) && s->held != 0) { /* it closes the position, or part of it, or turns it around */
        amount held = absolute(s->held), closed = qty < held ? qty : held;
        amount closed_cost = share(s->cost, closed, held), closed_value = share(value, closed, qty);
        s->day_pnl -= sign * closed_value + closed_cost;
        s->held += sign * closed;
        s->cost -= closed_cost;
        qty -= closed;
        value -= closed_value;
    }
    s->held += sign * qty;
    s->cost += sign * value;
}

static void begin_day(trade_ledger *ledger, uint64_t day)
{
    if (day <= ledger->day) { return; }
    ledger->day = day;
    for (uint32_t i = 1; i <= ledger->symbol_count; i++) {
        ledger->symbols[i].day_pnl = 0;
    }
}

void trade_ledger_trade(trade_ledger *ledger, uint32_t at, trade_side side, stoa_decimal limit, stoa_decimal price,
                        stoa_decimal qty, uint64_t at_ns)
{
    symbol *s = &ledger->symbols[at];
    amount value = notional(price, qty), sign = side == trade_side_BUY ? 1 : -1;
    begin_day(ledger, at_ns / NS_PER_DAY);
    set_open(ledger, s, side, limit, qty, -1);
    move(&ledger->assets[s->base], sign * qty);
    move(&ledger->assets[s->quote], -sign * value);
    book_profit(s, side, qty, value);
    s->last_price = price;
}

/* --- looking */

/* Each base asset that is held against quote, once, at the price of the first symbol that pairs them and has traded. */
static amount value_of(const trade_ledger *ledger, uint32_t quote, bool gross)
{
    amount sum = 0;
    uint32_t seen = 0; /* a bit per asset */
    for (uint32_t i = 1; i <= ledger->symbol_count; i++) {
        const symbol *s = &ledger->symbols[i];
        if (s->quote != quote || s->last_price == 0 || (seen >> s->base & 1)) { continue; }
        seen |= UINT32_C(1) << s->base;
        amount value = share(total(&ledger->assets[s->base]), s->last_price, STOA_DECIMAL_ONE);
        sum += gross ? absolute(value) : value;
    }
    return sum;
}

static amount day_pnl(const trade_ledger *ledger, uint32_t quote, uint64_t now_ns)
{
    amount sum = 0;
    for (uint32_t i = 1; i <= ledger->symbol_count; i++) {
        if (quote == 0 || ledger->symbols[i].quote == quote) { sum += ledger->symbols[i].day_pnl; }
    }
    return now_ns / NS_PER_DAY > ledger->day ? 0 : sum;
}

static amount open_notional(const trade_ledger *ledger, uint32_t quote)
{
    amount sum = 0;
    for (uint32_t i = 1; i <= ledger->symbol_count; i++) {
        if (ledger->symbols[i].quote == quote) { sum += ledger->symbols[i].open_notional; }
    }
    return sum;
}

stoa_err trade_ledger_measure(const trade_ledger *ledger, uint32_t at, const stoa_text6 *base_name,
                              const stoa_text6 *quote_name, uint64_t now_ns, risk_exposure *out)
{
    uint32_t quote_at = trade_ledger_asset_find(ledger, quote_name);
    const asset *base = &ledger->assets[trade_ledger_asset_find(ledger, base_name)], *quote = &ledger->assets[quote_at];
    const symbol *s = &ledger->symbols[at]; /* asset 0 and symbol 0 are empty */
    risk_exposure e = *out;
    stoa_err err = narrow(base->free, &e.free_base);
    if (!err) { err = narrow(quote->free, &e.free_quote); }
    if (!err) { err = narrow(total(base), &e.position); }
    if (!err) { err = narrow(s->open_buys, &e.open_buys); }
    if (!err) { err = narrow(s->open_sells, &e.open_sells); }
    if (!err && quote_at) {
        err = narrow(total(quote) + value_of(ledger, quote_at, false), &e.equity);
        if (!err) { err = narrow(value_of(ledger, quote_at, true) + open_notional(ledger, quote_at), &e.exposure); }
        if (!err) { err = narrow(day_pnl(ledger, quote_at, now_ns), &e.day_pnl); }
    }
    if (!err) { *out = e; }
    return err;
}

stoa_err trade_ledger_holdings(const trade_ledger *ledger, uint64_t now_ns, trade_account_holdings *out)
{
    stoa_err err = narrow(day_pnl(ledger, 0, now_ns), &out->day_pnl);
    out->balances.count = ledger->asset_count;
    for (uint32_t i = 0; i < ledger->asset_count && !err; i++) {
        const asset *a = &ledger->assets[i + 1];
        trade_balance *b = &out->balances.at[i];
        b->asset = a->name;
        err = narrow(a->free, &b->free);
        if (!err) { err = narrow(a->reserved, &b->reserved); }
        if (!err) { err = narrow(a->transit, &b->transit); }
    }
    return err;
}

void trade_ledger_check(const trade_ledger *ledger, bool may_owe)
{
    for (uint32_t i = 1; i <= ledger->asset_count; i++) {
        const asset *a = &ledger->assets[i];
        STOA_ASSERT(a->free + a->reserved + a->transit == 0);
        STOA_ASSERT(a->reserved >= 0 && (may_owe || a->free >= 0));
    }
}

static void print_amount(amount sum, const char *name, stoa_buf *out)
{
    char text[STOA_DECIMAL_TEXT_MAX];
    bool fits = sum == (stoa_decimal)sum;
    stoa_decimal_print(fits ? (stoa_decimal)sum : sum < 0 ? INT64_MIN : INT64_MAX, 0, text);
    stoa_buf_printf(out, ",\"%s\":\"%s\"", name, text);
}

void trade_ledger_print(const trade_ledger *ledger, stoa_buf *out)
{
    for (uint32_t i = 1; i <= ledger->asset_count; i++) {
        const asset *a = &ledger->assets[i];
        stoa_buf_printf(out, "%s{\"asset\":", i > 1 ? "," : "");
        stoa_buf_json_string(out, a->name.at, a->name.len);
        print_amount(a->free, "free", out);
        print_amount(a->reserved, "reserved", out);
        print_amount(a->transit, "transit", out);
        stoa_buf_puts(out, "}");
    }
}
