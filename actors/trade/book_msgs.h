/* book_msgs.h - what a matching book (trade_book/SYMBOL) takes, decides and publishes.
 *
 * Inside the shard everything is in ticks and lots. Accounts are named by their stream number; account 0 is nobody
 * (the simulated exchange trades without accounts): no fills and no settled are sent then, and a place that cannot be
 * accepted (quantity or price out of range, a known id) is INVALID. An account's place always ends in exactly one
 * settled.
 *
 * One order trades with at most TRADE_SWEEP_MAX resting ones, because what follows from one command commits as one
 * block; what is left then is dropped (SWEEP_LIMIT), an FOK that would need more is not fillable. An order that would
 * meet an order of its own account is cut there (SELF_TRADE).
 *
 * Every rested, traded and removed is one update of the book; a diff covers the updates of one turn, first_id ..
 * last_id.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef STOA_ACTORS_TRADE_BOOK_MSGS_H
#define STOA_ACTORS_TRADE_BOOK_MSGS_H

#include "actors/market/feed_msgs.h"
#include "actors/trade/trade_msgs.h"
#include "base/table.h"

enum { TRADE_SWEEP_MAX = 4096 };

#define trade_book_open_FIELDS(F, S) F(S, trade_symbol, symbol)
#define trade_book_done_FIELDS       STOA_NO_FIELDS
#define trade_book_place_FIELDS(F, S)                                                                                  \
    F(S, stoa_id, order_id)                                                                                            \
    F(S, uint32_t, account)                                                                                            \
    F(S, trade_side, side)                                                                                             \
    F(S, trade_tif, tif)                                                                                               \
    F(S, uint16_t, swept) /* 0; in what the book sends itself: how many it traded with so far */                       \
    F(S, int64_t, price_ticks)                                                                                         \
    F(S, int64_t, qty_lots)
#define trade_book_cancel_FIELDS(F, S) F(S, stoa_id, order_id) F(S, uint32_t, account) F(S, uint32_t, reserved)
#define trade_book_depth_FIELDS(F, S)  F(S, uint64_t, limit)
#define trade_book_view_FIELDS(F, S)                                                                                   \
    F(S, stoa_text14, symbol)                                                                                          \
    F(S, uint64_t, last_id)                                                                                            \
    F(S, uint64_t, orders)                                                                                             \
    F(S, uint64_t, trades)                                                                                             \
    F(S, stoa_decimal, volume)                                                                                         \
    F(S, market_levels, bids)                                                                                          \
    F(S, market_levels, asks)
#define trade_book_opened_FIELDS(F, S) F(S, trade_symbol, symbol)
#define trade_book_rested_FIELDS(F, S)                                                                                 \
    F(S, stoa_id, order_id)                                                                                            \
    F(S, uint32_t, account)                                                                                            \
    F(S, trade_side, side)                                                                                             \
    F(S, uint8_t, reserved8)                                                                                           \
    F(S, uint16_t, reserved16)                                                                                         \
    F(S, int64_t, price_ticks)                                                                                         \
    F(S, int64_t, qty_lots)
#define trade_book_traded_FIELDS(F, S)                                                                                 \
    F(S, stoa_id, order_id) /* the taker's */                                                                          \
    F(S, stoa_id, maker_order_id)                                                                                      \
    F(S, uint64_t, trade_id)                                                                                           \
    F(S, uint32_t, account)                                                                                            \
    F(S, uint32_t, maker_account)                                                                                      \
    F(S, int64_t, price_ticks) /* the maker's */                                                                       \
    F(S, int64_t, qty_lots)                                                                                            \
    F(S, uint64_t, taker_side)
#define trade_book_removed_FIELDS(F, S) F(S, stoa_id, order_id) F(S, int64_t, qty_lots) F(S, uint64_t, reason)

#define trade_book_ROWS(ROW, K)                                                                                        \
    ROW(K, COMMAND, open, done, "Open the book with its symbol's rules; the same rules again are no change.")          \
    ROW(K, REPLY, done, _, "Done.")                                                                                    \
    ROW(K, CAST, place, _, "Match an order that its account has reserved for; the rest rests or is dropped.")          \
    ROW(K, CAST, cancel, _, "Take a resting order out.")                                                               \
    ROW(K, COMMAND, depth, view, "The best levels of both sides.")                                                     \
    ROW(K, REPLY, view, _, "Levels, best first, with the id of the last diff they contain.")                           \
    ROW(K, EVENT, opened, _, "The book was opened.")                                                                   \
    ROW(K, EVENT, rested, _, "An order, or what was left of it, rests.")                                               \
    ROW(K, EVENT, traded, _, "A resting order and an incoming one traded at the resting order's price.")               \
    ROW(K, EVENT, removed, _, "A resting order was taken out.")
STOA_TABLE(trade_book)

#endif
