/* account_msgs.h - what an account (trade_account/NAME) takes, decides and publishes.
 *
 * An order's way: place -> risk.ask -> verdict -> trade_book.place -> fill (to maker and taker) -> settled -> answer.
 * The first order in a symbol asks risk for its rules before. All of it is one cascade of one shard and commits as a
 * whole; place and cancel are answered once, when the book is done.
 *
 * client_order_id makes a retry safe: a known one with the same fields answers the order as it stands, with other
 * fields it is DUPLICATE. Known are the open orders and the last TRADE_KNOWN_ORDERS final ones; an unknown id that is
 * not above all that were forgotten is STALE, so a client counts its ids upwards. The same holds for transfer_id and
 * the last TRADE_KNOWN_TRANSFERS transfers.
 *
 * Each asset of an account has three columns, free + reserved + transit = 0 at all times per event: what leaves an
 * account or enters it does so against transit, and all accounts' transits of an asset sum to zero whenever no
 * message is under way. A buy reserves its notional at its limit, a sell its quantity. Only an issuer, or who may
 * borrow, can have free below 0.
 *
 * A transfer to an account of another shard leaves at once, is mailed there as deposit and takes effect there once; what is
 * refused there comes back. In between the amount stands against transit on the sender's side, afterwards on both: so every shard
 * sums to zero by itself. An account in a shard without risk/main is a wallet: it holds and transfers, and cannot trade.
 *
 * An account must be opened before anything else (NOT_FOUND), and risk/main must exist then, but for a wallet (UNAVAILABLE).
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef STOA_ACTORS_TRADE_ACCOUNT_MSGS_H
#define STOA_ACTORS_TRADE_ACCOUNT_MSGS_H

#include "actors/trade/trade_msgs.h"
#include "base/table.h"

enum {
    TRADE_OPEN_ORDERS_MAX = 256, /* one more is rejected: TOO_MANY_ORDERS */
    TRADE_KNOWN_ORDERS = 4096,
    TRADE_KNOWN_TRANSFERS = 4096,
    TRADE_ASSETS_MAX = 16, /* one more is NOMEM */
    TRADE_SYMBOLS_MAX = 32,
};

/* An order as its owner sees it. */
#define trade_order_FIELDS(F, S)                                                                                       \
    F(S, stoa_id, order_id)                                                                                            \
    F(S, uint64_t, client_order_id)                                                                                    \
    F(S, stoa_text14, symbol)                                                                                          \
    F(S, trade_side, side)                                                                                             \
    F(S, trade_tif, tif)                                                                                               \
    F(S, trade_status, status)                                                                                         \
    F(S, trade_reason, reason)                                                                                         \
    F(S, uint32_t, fills)                                                                                              \
    F(S, stoa_decimal, price)                                                                                          \
    F(S, stoa_decimal, qty)                                                                                            \
    F(S, stoa_decimal, filled_qty)                                                                                     \
    F(S, stoa_decimal, filled_notional)                                                                                \
    F(S, uint64_t, placed_ns)  /* UTC */                                                                               \
    F(S, uint64_t, changed_ns) /* UTC */
STOA_RECORD(trade_order)
STOA_LIST(trade_orders, trade_order, 64)

#define trade_balance_FIELDS(F, S)                                                                                     \
    F(S, stoa_text6, asset) F(S, stoa_decimal, free) F(S, stoa_decimal, reserved) F(S, stoa_decimal, transit)
STOA_RECORD(trade_balance)
STOA_LIST(trade_balances, trade_balance, TRADE_ASSETS_MAX)

/* issuer 1: the treasury, whose balances may be negative. margin 1: may borrow within its risk limits. wallet 1: cannot trade. */
#define trade_account_open_FIELDS(F, S) F(S, uint64_t, issuer) F(S, uint64_t, margin) F(S, uint64_t, wallet)
#define trade_account_done_FIELDS       STOA_NO_FIELDS
#define trade_account_transfer_FIELDS(F, S)                                                                            \
    F(S, uint64_t, transfer_id) F(S, stoa_text30, to) F(S, stoa_text6, asset) F(S, stoa_decimal, amount)
#define trade_account_credit_FIELDS(F, S)                                                                              \
    F(S, uint64_t, transfer_id) F(S, stoa_text6, asset) F(S, stoa_decimal, amount) F(S, uint64_t, from_stream)
/* To the account that sent the credit: it has arrived. */
#define trade_account_paid_FIELDS(F, S)                                                                                \
    F(S, uint64_t, transfer_id) F(S, stoa_text6, asset) F(S, stoa_decimal, amount) F(S, uint64_t, to_stream)
/* Mailed. */
#define trade_account_deposit_FIELDS(F, S)                                                                             \
    F(S, uint64_t, transfer_id) F(S, stoa_text6, asset) F(S, stoa_decimal, amount)
#define trade_account_place_FIELDS(F, S)  trade_request_FIELDS(F, S)
#define trade_account_order_FIELDS(F, S)  F(S, trade_order, order)
#define trade_account_cancel_FIELDS(F, S) F(S, stoa_id, order_id) F(S, uint64_t, client_order_id)
#define trade_account_query_FIELDS(F, S)  F(S, stoa_id, order_id) F(S, uint64_t, client_order_id)
#define trade_account_orders_FIELDS(F, S) F(S, uint64_t, after_order_id) F(S, uint64_t, open_only)
/* seq: of the account's last update, so that a reader can go on from it with trade.orders.<account>. */
#define trade_account_page_FIELDS(F, S)   F(S, uint64_t, more) F(S, trade_orders, orders) F(S, uint64_t, seq)
#define trade_account_balances_FIELDS     STOA_NO_FIELDS
#define trade_account_holdings_FIELDS(F, S)                                                                            \
    F(S, trade_balances, balances) F(S, uint64_t, open_orders) F(S, stoa_decimal, day_pnl)
/* From risk, to an account that did not know the symbol. */
#define trade_account_rules_FIELDS(F, S) F(S, trade_request, order) F(S, trade_symbol, symbol)
/* From risk: order_id is assigned there; ticks and lots are exact. */
#define trade_account_verdict_FIELDS(F, S)                                                                             \
    F(S, stoa_id, order_id)                                                                                            \
    F(S, trade_request, order)                                                                                         \
    F(S, uint32_t, book)       /* stream of the symbol's book */                                                       \
    F(S, trade_reason, reason) /* NONE: approved */                                                                    \
    F(S, uint8_t, reserved8)                                                                                           \
    F(S, uint16_t, reserved16)                                                                                         \
    F(S, int64_t, price_ticks)                                                                                         \
    F(S, int64_t, qty_lots)
/* From the book. */
#define trade_account_fill_FIELDS(F, S)                                                                                \
    F(S, stoa_id, order_id)                                                                                            \
    F(S, uint64_t, trade_id)                                                                                           \
    F(S, int64_t, price_ticks)                                                                                         \
    F(S, int64_t, qty_lots)                                                                                            \
    F(S, uint64_t, maker)
#define trade_account_settled_FIELDS(F, S)                                                                             \
    F(S, stoa_id, order_id)                                                                                            \
    F(S, trade_status, status) /* OPEN: rests; FILLED; CANCELLED: what was left is dropped */                          \
    F(S, trade_reason, reason)                                                                                         \
    F(S, uint16_t, reserved16)                                                                                         \
    F(S, uint32_t, reserved32)

/* risk: stream of risk/main */
#define trade_account_opened_FIELDS(F, S)                                                                              \
    F(S, uint64_t, issuer) F(S, uint64_t, margin) F(S, uint64_t, risk) F(S, uint64_t, wallet)
#define trade_account_sent_FIELDS(F, S)                                                                                \
    F(S, uint64_t, transfer_id) F(S, uint64_t, to_stream) F(S, stoa_text6, asset) F(S, stoa_decimal, amount)
#define trade_account_credited_FIELDS(F, S)                                                                            \
    F(S, uint64_t, transfer_id) F(S, stoa_text6, asset) F(S, stoa_decimal, amount) F(S, uint64_t, from_stream)
#define trade_account_mailed_FIELDS(F, S)                                                                              \
    F(S, uint64_t, transfer_id) F(S, stoa_text30, to) F(S, stoa_text6, asset) F(S, stoa_decimal, amount)
/* from: "shard:trade_account/NAME" */
#define trade_account_deposited_FIELDS(F, S)                                                                           \
    F(S, uint64_t, transfer_id) F(S, stoa_text6, asset) F(S, stoa_decimal, amount) F(S, stoa_text254, from)
#define trade_account_returned_FIELDS(F, S)                                                                            \
    F(S, uint64_t, transfer_id) F(S, stoa_text6, asset) F(S, stoa_decimal, amount) F(S, int64_t, error)
#define trade_account_listed_FIELDS(F, S)                                                                              \
    F(S, stoa_text14, symbol)                                                                                          \
    F(S, stoa_text6, base)                                                                                             \
    F(S, stoa_text6, quote)                                                                                            \
    F(S, stoa_decimal, tick)                                                                                           \
    F(S, stoa_decimal, lot)
#define trade_account_ordered_FIELDS(F, S)                                                                             \
    F(S, stoa_id, order_id) F(S, trade_request, order) F(S, uint64_t, book) F(S, uint64_t, placed_ns)
#define trade_account_rejected_FIELDS(F, S)                                                                            \
    F(S, stoa_id, order_id)                                                                                            \
    F(S, trade_request, order)                                                                                         \
    F(S, trade_reason, reason)                                                                                         \
    F(S, uint8_t, reserved8)                                                                                           \
    F(S, uint16_t, reserved16)                                                                                         \
    F(S, uint32_t, reserved32)                                                                                         \
    F(S, uint64_t, placed_ns)
#define trade_account_rested_FIELDS(F, S) F(S, stoa_id, order_id) F(S, uint64_t, at_ns)
#define trade_account_filled_FIELDS(F, S)                                                                              \
    F(S, stoa_id, order_id)                                                                                            \
    F(S, uint64_t, trade_id)                                                                                           \
    F(S, stoa_decimal, price)                                                                                          \
    F(S, stoa_decimal, qty)                                                                                            \
    F(S, uint64_t, maker)                                                                                              \
    F(S, uint64_t, at_ns)
#define trade_account_closed_FIELDS(F, S)                                                                              \
    F(S, stoa_id, order_id)                                                                                            \
    F(S, trade_status, status)                                                                                         \
    F(S, trade_reason, reason)                                                                                         \
    F(S, uint16_t, reserved16)                                                                                         \
    F(S, uint32_t, reserved32)                                                                                         \
    F(S, uint64_t, at_ns)

/* Published on "trade.orders.<account>" after each change of an order; seq counts the account's changes from 1,
 * gapless. */
#define trade_account_update_FIELDS(F, S) F(S, uint64_t, seq) F(S, trade_order, order)

#define trade_account_ROWS(ROW, K)                                                                                     \
    ROW(K, COMMAND, open, done, "Open the account; opening it again alike is no change.")                              \
    ROW(K, REPLY, done, _, "Done.")                                                                                    \
    ROW(K, COMMAND, transfer, done, "Move an amount to another account; a known transfer_id is no change.")    \
    ROW(K, CAST, credit, _, "Receive an amount that another account sent.")                                            \
    ROW(K, COMMAND, place, order, "Place an order; the same client_order_id and fields answer the same order.")        \
    ROW(K, REPLY, order, _, "The order as it stands.")                                                                 \
    ROW(K, COMMAND, cancel, order, "Cancel an open order, named by order_id, or by client_order_id when that is 0.")   \
    ROW(K, COMMAND, query, order, "One order, named as in cancel.")                                                    \
    ROW(K, COMMAND, orders, page, "Orders by ascending id, up to 64 behind after_order_id.")                           \
    ROW(K, REPLY, page, _, "A page of orders; more = 1 when there are others behind it.")                              \
    ROW(K, COMMAND, balances, holdings, "Balances of all assets.")                                                     \
    ROW(K, REPLY, holdings, _, "Balances, number of open orders, realised profit of the UTC day in quote units.")      \
    ROW(K, CAST, paid, _, "An amount has arrived at the account it was sent to.")                                      \
    ROW(K, CAST, rules, _, "Risk tells the rules of a symbol; go on with the order.")                                  \
    ROW(K, CAST, verdict, _, "Risk has checked an order.")                                                             \
    ROW(K, CAST, fill, _, "An order traded.")                                                                          \
    ROW(K, CAST, settled, _, "The book is done with what was asked of it.")                                            \
    ROW(K, EVENT, opened, _, "The account was opened.")                                                                \
    ROW(K, EVENT, sent, _, "An amount left for another account.")                                                      \
    ROW(K, EVENT, credited, _, "An amount came from another account.")                                                 \
    ROW(K, EVENT, listed, _, "The account trades a symbol for the first time.")                                        \
    ROW(K, EVENT, ordered, _, "An order was accepted and its cost reserved.")                                          \
    ROW(K, EVENT, rejected, _, "Risk refused an order.")                                                               \
    ROW(K, EVENT, rested, _, "An order rests in its book.")                                                            \
    ROW(K, EVENT, filled, _, "An order traded; both legs are posted.")                                                 \
    ROW(K, EVENT, closed, _, "An order is final; what was reserved for its rest is free again.")                       \
    ROW(K, TOPIC, update, _, "An order changed.")                                                                      \
    ROW(K, CAST, deposit, _, "Receive an amount that an account of another shard mailed.")                             \
    ROW(K, EVENT, mailed, _, "An amount left for an account of another shard.")                                        \
    ROW(K, EVENT, deposited, _, "An amount came from an account of another shard.")                                    \
    ROW(K, EVENT, returned, _, "An amount that was mailed was refused, and is here again.")
STOA_TABLE(trade_account)

#endif
