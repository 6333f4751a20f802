/* risk_msgs.h - what pre-trade risk (risk/main) takes and decides.
 *
 * Malformed requests are refused with an error and leave no trace: UNKNOWN_SYMBOL, INVALID (price or quantity not
 * positive), PRECISION (more decimals than tick or lot), RANGE (above TRADE_PRICE_TICKS_MAX, or a notional that does
 * not fit). Then six checks in this order, the first that fails is the reason of a rejected order:
 *
 *   invalid             qty_min <= qty <= qty_max, and the symbol has a book
 *   insufficient_funds  free quote covers a buy's notional, free base a sell's quantity; who may borrow needs
 *                       equity > 0
 *   position_limit      the position with all open orders of that side and this one filled is at most position_max, or
 *                       no larger than the present one
 *   leverage_limit      exposure, with this order if it may enlarge the position, is at most equity x leverage_max;
 *                       without a leverage_max that is 1 for who may borrow, and no limit for others
 *   daily_loss          the loss realised since 00:00 UTC is below daily_loss_max
 *   insufficient_margin for who may borrow, if the order may enlarge the position: equity covers exposure and this
 *                       order, times margin_rate
 *
 * Issuers pass funds, leverage and margin. Amounts are in units of 10^-8 of base or quote.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef STOA_ACTORS_RISK_RISK_MSGS_H
#define STOA_ACTORS_RISK_RISK_MSGS_H

#include "actors/trade/trade_msgs.h"
#include "base/table.h"

enum { RISK_SYMBOLS_MAX = 256, RISK_LIMITS_MAX = 65536 };

/* Limits of one account; 0 means none. position in base units per symbol, leverage as a factor, loss in quote units. */
#define risk_limits_FIELDS(F, S)                                                                                       \
    F(S, stoa_decimal, position_max) F(S, stoa_decimal, leverage_max) F(S, stoa_decimal, daily_loss_max)
STOA_RECORD(risk_limits)

#define risk_symbol_FIELDS(F, S) F(S, trade_symbol, symbol)
#define risk_done_FIELDS         STOA_NO_FIELDS
#define risk_limit_FIELDS(F, S)  F(S, stoa_text30, account) F(S, risk_limits, limits)
/* From an account that does not know the symbol yet; answered with trade_account.rules. */
#define risk_rules_FIELDS(F, S)  F(S, trade_request, order)
#define risk_checked_FIELDS(F, S)                                                                                      \
    F(S, stoa_id, order_id)                                                                                            \
    F(S, stoa_text14, symbol)                                                                                          \
    F(S, uint32_t, account)                                                                                            \
    F(S, trade_reason, reason)                                                                                         \
    F(S, trade_side, side)                                                                                             \
    F(S, uint16_t, reserved16)                                                                                         \
    F(S, stoa_decimal, price)                                                                                          \
    F(S, stoa_decimal, qty)
#define risk_symbol_set_FIELDS(F, S) F(S, trade_symbol, symbol) F(S, uint64_t, book)
#define risk_limit_set_FIELDS(F, S)  F(S, uint64_t, account) F(S, risk_limits, limits)
/* What only the account knows, in the symbol's base and quote. */
#define risk_exposure_FIELDS(F, S)                                                                                     \
    F(S, uint32_t, account) /* stream */                                                                               \
    F(S, uint16_t, margin)  /* 1: may borrow */                                                                        \
    F(S, uint16_t, issuer)                                                                                             \
    F(S, stoa_decimal, free_base)                                                                                      \
    F(S, stoa_decimal, free_quote)                                                                                     \
    F(S, stoa_decimal, position)  /* base held, signed: free and reserved */                                           \
    F(S, stoa_decimal, open_buys) /* base in open buy orders */                                                        \
    F(S, stoa_decimal, open_sells)                                                                                     \
    F(S, stoa_decimal, equity)   /* quote held, and bases held at the price the account last traded them at */         \
    F(S, stoa_decimal, exposure) /* bases held at that price, long or short, and open orders at their limits */        \
    F(S, stoa_decimal, day_pnl)  /* realised since 00:00 UTC */
STOA_RECORD(risk_exposure)
#define risk_ask_FIELDS(F, S) F(S, trade_request, order) F(S, risk_exposure, account)

#define risk_ROWS(ROW, K)                                                                                              \
    ROW(K, COMMAND, symbol, done, "Make a symbol tradable, or change its limits; tick and lot are fixed.")             \
    ROW(K, REPLY, done, _, "Done.")                                                                                    \
    ROW(K, COMMAND, limit, done, "Set the limits of an account.")                                                      \
    ROW(K, CAST, rules, _, "Tell an account the rules of a symbol it wants to trade.")                                 \
    ROW(K, CAST, ask, _, "Check an order; the verdict goes back to the account.")                                      \
    ROW(K, EVENT, checked, _, "An order was checked and has its id.")                                                  \
    ROW(K, EVENT, symbol_set, _, "A symbol is tradable under these rules.")                                            \
    ROW(K, EVENT, limit_set, _, "An account has these limits.")
STOA_TABLE(risk)

#endif
