/* account_ledger.h - an account's money: balances by asset, what it trades by symbol, and what risk must know of both.
 *
 * Every posting keeps free + reserved + transit = 0 for each asset. Columns are 128 bits wide, so no sequence of
 * postings can overflow; what leaves as a decimal is checked there (RANGE). Plain memory: zero is the empty ledger.
 * Indices begin with 1.
 *
 * Profit is realised against the average cost of the position that the account's own trades have built: selling what
 * was bought, or buying back what was sold short. Amounts that came by transfer have no cost and no position in this
 * sense.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef STOA_ACTORS_TRADE_ACCOUNT_LEDGER_H
#define STOA_ACTORS_TRADE_ACCOUNT_LEDGER_H

#include "actors/risk/risk_msgs.h"
#include "actors/trade/account_msgs.h"
#include "base/buf.h"

__extension__ typedef __int128 trade_amount; /* units of 10^-8, any size */

typedef struct trade_ledger_asset {
    trade_amount free, reserved, transit;
    stoa_text6 name;
    uint64_t pad_;
} trade_ledger_asset;

typedef struct trade_ledger_symbol {
    trade_amount open_buys, open_sells; /* base in open orders */
    trade_amount open_notional;         /* quote at their limits, both sides */
    trade_amount held, cost, day_pnl;   /* base held by trading, what it cost, profit realised on ledger.day */
    stoa_text14 name;
    stoa_decimal tick, lot;
    stoa_decimal last_price; /* of the account's last trade, 0: none */
    uint32_t base, quote;    /* assets */
} trade_ledger_symbol;

typedef struct trade_ledger {
    uint64_t day; /* UTC days since 1970 that day_pnl belongs to */
    uint32_t asset_count, symbol_count;
    trade_ledger_asset assets[TRADE_ASSETS_MAX + 1];
    trade_ledger_symbol symbols[TRADE_SYMBOLS_MAX + 1];
} trade_ledger;

/* 0: not there. */
uint32_t trade_ledger_asset_find(const trade_ledger *ledger, const stoa_text6 *name);
uint32_t trade_ledger_symbol_find(const trade_ledger *ledger, const stoa_text14 *name);
/* Whether a symbol with these assets, or one more asset of that name, fits. */
bool trade_ledger_symbol_room(const trade_ledger *ledger, const stoa_text6 *base, const stoa_text6 *quote);
bool trade_ledger_asset_room(const trade_ledger *ledger, const stoa_text6 *name);
void trade_ledger_symbol_add(trade_ledger *ledger, const trade_account_listed *symbol);

/* What the account has free of an asset. */
trade_amount trade_ledger_free(const trade_ledger *ledger, const stoa_text6 *asset);
/* Whether any asset's free column is below 0. */
bool trade_ledger_owes(const trade_ledger *ledger);
/* An amount comes from outside the account (amount > 0) or leaves it (< 0); the asset fits. */
void trade_ledger_move(trade_ledger *ledger, const stoa_text6 *asset, stoa_decimal amount);
/* An amount in as a decimal, where the result must fit one. Errors: RANGE. */
stoa_err trade_ledger_fits(const trade_ledger *ledger, const stoa_text6 *asset, stoa_decimal amount);

/* Reserve what an order costs at its limit, and free it again for the part that will not trade. */
void trade_ledger_reserve(trade_ledger *ledger, uint32_t symbol, trade_side side, stoa_decimal price, stoa_decimal qty);
void trade_ledger_release(trade_ledger *ledger, uint32_t symbol, trade_side side, stoa_decimal price, stoa_decimal qty);
/* Part of a reserved order with that limit traded at price: both legs, and the profit of the UTC day of at_ns. */
void trade_ledger_trade(trade_ledger *ledger, uint32_t symbol, trade_side side, stoa_decimal limit, stoa_decimal price,
                        stoa_decimal qty, uint64_t at_ns);

/* Fill in what risk must know to judge an order in base and quote (symbol 0: never traded). Errors: RANGE. */
stoa_err trade_ledger_measure(const trade_ledger *ledger, uint32_t symbol, const stoa_text6 *base,
                              const stoa_text6 *quote, uint64_t now_ns, risk_exposure *out);
/* All balances and the profit of the day of now_ns over all symbols. Errors: RANGE. */
stoa_err trade_ledger_holdings(const trade_ledger *ledger, uint64_t now_ns, trade_account_holdings *out);

/* The balances as elements of a JSON array. */
void trade_ledger_print(const trade_ledger *ledger, stoa_buf *out);

/* Assert that every asset's columns sum to 0, nothing negative is reserved, and only who may owe does. */
void trade_ledger_check(const trade_ledger *ledger, bool may_owe);

#endif
