/* trade_msgs.h - words that all of trading shares: sides, times in force, states of an order, refusal reasons.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef STOA_ACTORS_TRADE_TRADE_MSGS_H
#define STOA_ACTORS_TRADE_TRADE_MSGS_H

#include "base/table.h"

#define trade_side_VALUES(V, E) V(E, BUY, "buy") V(E, SELL, "sell")
STOA_ENUM(trade_side)

/* Time in force: rest until cancelled; match at once and drop the rest; all at once or nothing; rest only, never
 * take. */
#define trade_tif_VALUES(V, E) V(E, GTC, "gtc") V(E, IOC, "ioc") V(E, FOK, "fok") V(E, POST_ONLY, "post_only")
STOA_ENUM(trade_tif)

/* NEW: accepted, at the book; OPEN: resting; the rest are final. A cancelled order may be partly filled. */
#define trade_status_VALUES(V, E)                                                                                      \
    V(E, NONE, "none")                                                                                                 \
    V(E, NEW, "new") V(E, OPEN, "open") V(E, FILLED, "filled") V(E, CANCELLED, "cancelled") V(E, REJECTED, "rejected")
STOA_ENUM(trade_status)

/* Why an order was rejected or cancelled. The six risk checks come first, in their order. */
#define trade_reason_VALUES(V, E)                                                                                      \
    V(E, NONE, "none")                                                                                                 \
    V(E, INVALID, "invalid") V(E, BALANCE, "insufficient_funds") V(E, POSITION, "position_limit")                      \
        V(E, LEVERAGE, "leverage_limit") V(E, DAILY_LOSS, "daily_loss") V(E, MARGIN, "insufficient_margin")            \
            V(E, BOOK_FULL, "book_full") V(E, WOULD_TAKE, "would_take") V(E, NOT_FILLABLE, "not_fillable")             \
                V(E, CLIENT, "client") V(E, IOC_REST, "ioc_rest") V(E, SELF_TRADE, "self_trade")                       \
                    V(E, TOO_MANY_ORDERS, "too_many_orders") V(E, SWEEP_LIMIT, "sweep_limit")
STOA_ENUM(trade_reason)

/* What an account asks for. */
#define trade_request_FIELDS(F, S)                                                                                     \
    F(S, uint64_t, client_order_id)                                                                                    \
    F(S, stoa_text14, symbol)                                                                                          \
    F(S, trade_side, side)                                                                                             \
    F(S, trade_tif, tif)                                                                                               \
    F(S, uint16_t, reserved16)                                                                                         \
    F(S, uint32_t, reserved32)                                                                                         \
    F(S, stoa_decimal, price)                                                                                          \
    F(S, stoa_decimal, qty)
STOA_RECORD(trade_request)

enum { TRADE_PRICE_TICKS_MAX = (1 << 24) - 1 };

/* A market: prices are whole ticks, 1 .. TRADE_PRICE_TICKS_MAX, quantities whole lots. tick and lot in units of 10^-8
 * of quote and base; tick x lot must be a whole number of 10^-8 quote units, so that every notional is exact. */
#define trade_symbol_FIELDS(F, S)                                                                                      \
    F(S, stoa_text14, name)                                                                                            \
    F(S, stoa_text6, base)                                                                                             \
    F(S, stoa_text6, quote)                                                                                            \
    F(S, stoa_decimal, tick)                                                                                           \
    F(S, stoa_decimal, lot)                                                                                            \
    F(S, stoa_decimal, qty_min)                                                                                        \
    F(S, stoa_decimal, qty_max)     /* 0: none */                                                                      \
    F(S, stoa_decimal, margin_rate) /* initial margin as a fraction of notional, 1 = fully paid */
STOA_RECORD(trade_symbol)

/* Whether a symbol's names, tick and lot make a market. INVALID otherwise. */
stoa_err trade_symbol_check(const trade_symbol *symbol);
/* Whether two symbols are one market: the same names, tick and lot; quantities and margin may differ. */
bool trade_symbol_alike(const trade_symbol *a, const trade_symbol *b);

/* price x qty, exact for whole ticks and lots of one symbol. Errors: RANGE; PRECISION for others. */
stoa_err trade_notional(stoa_decimal price, stoa_decimal qty, stoa_decimal *out);

#endif
