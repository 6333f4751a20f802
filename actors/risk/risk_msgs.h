/* risk_msgs.h - what pre-trade risk (risk/main) takes and decides.
 *
 * Six checks in this order, the first that fails is the reason: valid, balance, position, leverage, daily loss, margin
 * (seed "Risk Management Flow"). Malformed requests (unknown symbol, more decimals than tick or lot) are refused with an
 * error and leave no trace; a failed check is journaled as a rejected order.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef STOA_ACTORS_RISK_RISK_MSGS_H
#define STOA_ACTORS_RISK_RISK_MSGS_H

#include "actors/trade/trade_msgs.h"
#include "base/table.h"

/* Limits of one account; 0 means none. position in base units per symbol, leverage as a factor, loss in quote units. */
#define risk_limits_FIELDS(F, S)                                                                                       \
    F(S, stoa_decimal, position_max) F(S, stoa_decimal, leverage_max) F(S, stoa_decimal, daily_loss_max)
STOA_RECORD(risk_limits)

#define risk_symbol_FIELDS(F, S) F(S, trade_symbol, symbol)
#define risk_done_FIELDS         STOA_NO_FIELDS
#define risk_limit_FIELDS(F, S)  F(S, stoa_text30, account) F(S, risk_limits, limits)
/* From an account, with what only it knows; amounts of the symbol's assets in units of 10^-8. */
#define risk_check_FIELDS(F, S)                                                                                        \
    F(S, uint64_t, client_order_id)                                                                                    \
    F(S, stoa_text14, symbol)                                                                                          \
    F(S, trade_side, side)                                                                                             \
    F(S, trade_tif, tif)                                                                                               \
    F(S, uint16_t, reserved16)                                                                                         \
    F(S, uint32_t, account)      /* stream */                                                                          \
    F(S, uint32_t, margin)       /* 1: may borrow */                                                                   \
    F(S, uint32_t, issuer)                                                                                             \
    F(S, stoa_decimal, price)                                                                                          \
    F(S, stoa_decimal, qty)
#define risk_checked_FIELDS(F, S)                                                                                      \
    F(S, stoa_id, order_id)                                                                                            \
    F(S, stoa_text14, symbol)                                                                                          \
    F(S, uint32_t, account)                                                                                            \
    F(S, trade_reason, reason)                                                                                         \
    F(S, trade_side, side)                                                                                             \
    F(S, uint16_t, reserved16)                                                                                         \
    F(S, int64_t, price_ticks)                                                                                         \
    F(S, int64_t, qty_lots)
#define risk_symbol_set_FIELDS(F, S) F(S, trade_symbol, symbol) F(S, uint64_t, book)
#define risk_limit_set_FIELDS(F, S)  F(S, uint64_t, account) F(S, risk_limits, limits)
/* From an account after each change of what risk must know about it. */
#define risk_exposure_FIELDS(F, S)                                                                                     \
    F(S, stoa_text14, symbol)                                                                                          \
    F(S, stoa_decimal, free_base)                                                                                      \
    F(S, stoa_decimal, free_quote)                                                                                     \
    F(S, stoa_decimal, position)    /* base held, signed */                                                            \
    F(S, stoa_decimal, open_buys)   /* base in open buy orders */                                                      \
    F(S, stoa_decimal, open_sells)                                                                                     \
    F(S, stoa_decimal, equity)      /* quote: all the account has, positions at their last price */                    \
    F(S, stoa_decimal, exposure)    /* quote: positions and open orders, gross */                                      \
    F(S, stoa_decimal, day_pnl)     /* quote: realised since 00:00 UTC */
STOA_RECORD(risk_exposure)
#define risk_ask_FIELDS(F, S) F(S, risk_check, order) F(S, risk_exposure, account)

#define risk_ROWS(ROW, K)                                                                                              \
    ROW(K, COMMAND, symbol, done, "Make a symbol tradable, or change its limits; tick and lot are fixed.")             \
    ROW(K, REPLY, done, _, "Done.")                                                                                    \
    ROW(K, COMMAND, limit, done, "Set the limits of an account.")                                                      \
    ROW(K, CAST, ask, _, "Check an order; the verdict goes back to the account.")                                      \
    ROW(K, EVENT, checked, _, "An order was checked and has its id.")                                                  \
    ROW(K, EVENT, symbol_set, _, "A symbol is tradable under these rules.")                                            \
    ROW(K, EVENT, limit_set, _, "An account has these limits.")
STOA_RECORD(risk_check)
STOA_TABLE(risk)

#endif
