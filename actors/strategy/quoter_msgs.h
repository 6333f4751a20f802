/* quoter_msgs.h - a strategy that quotes both sides around an outside market's top (strategy_quoter/NAME).
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef STOA_ACTORS_STRATEGY_QUOTER_MSGS_H
#define STOA_ACTORS_STRATEGY_QUOTER_MSGS_H

#include "actors/trade/trade_msgs.h"
#include "base/decimal.h"
#include "base/table.h"

/* QUOTING: orders are out, or wanted. PAUSED: by command. STALE: waits for the market to be heard (again). ONE_SIDED:
 * the market has no bid, no ask, or they cross. In all but QUOTING nothing is wanted, and what is out is
 * cancelled. */
#define strategy_quoter_mode_VALUES(V, E)                                                                              \
    V(E, UNCONFIGURED, "unconfigured") V(E, QUOTING, "quoting") V(E, PAUSED, "paused") V(E, STALE, "stale")            \
    V(E, ONE_SIDED, "one_sided")
STOA_ENUM(strategy_quoter_mode)

/* Where one side's order is: there is none; place was asked; it rests; cancel was asked. */
#define strategy_quoter_phase_VALUES(V, E)                                                                             \
    V(E, IDLE, "idle") V(E, PLACING, "placing") V(E, WORKING, "working") V(E, CANCELLING, "cancelling")
STOA_ENUM(strategy_quoter_phase)

/* One side: the order that is out, and the price that is wanted (0: none). */
#define strategy_quoter_leg_FIELDS(F, S)                                                                               \
    F(S, stoa_id, order_id)                                                                                            \
    F(S, uint64_t, client_order_id)                                                                                    \
    F(S, strategy_quoter_phase, phase)                                                                                 \
    F(S, uint8_t, reserved8)                                                                                           \
    F(S, uint16_t, reserved16)                                                                                         \
    F(S, uint32_t, reserved32)                                                                                         \
    F(S, stoa_decimal, price)                                                                                          \
    F(S, stoa_decimal, qty)                                                                                            \
    F(S, stoa_decimal, filled_qty)                                                                                     \
    F(S, stoa_decimal, filled_notional)                                                                                \
    F(S, stoa_decimal, want_price)                                                                                     \
    F(S, uint64_t, asked_ns) /* UTC, of the last place or cancel */                                                    \
    F(S, uint64_t, held_ns)  /* UTC: an order was refused or dropped; no other before retry_ns have passed */
STOA_RECORD(strategy_quoter_leg)

/* Prices: mid -+ half_spread, shifted against the inventory by skew x inventory / inventory_max, to whole ticks away
 * from the mid. */
#define strategy_quoter_config_FIELDS(F, S)                                                                            \
    F(S, stoa_text14, venue)          /* of the market that is followed: "binance", "sim" */                           \
    F(S, stoa_text14, symbol)         /* there and in our own book */                                                  \
    F(S, stoa_text30, account)        /* whose orders these are; of the same shard */                                  \
    F(S, stoa_decimal, tick)                                                                                           \
    F(S, stoa_decimal, qty)           /* of each order */                                                              \
    F(S, stoa_decimal, half_spread)                                                                                    \
    F(S, stoa_decimal, requote)       /* a wanted price that moves by less leaves the order where it is */             \
    F(S, stoa_decimal, inventory_max) /* bought less sold stays within -inventory_max .. inventory_max */              \
    F(S, stoa_decimal, skew)                                                                                           \
    F(S, uint64_t, stale_ns)          /* nothing heard for so long: stop quoting */                                    \
    F(S, uint64_t, retry_ns)          /* pause behind a refused order, and before an unanswered one is asked about */
STOA_RECORD(strategy_quoter_config)

#define strategy_quoter_configure_FIELDS(F, S) F(S, strategy_quoter_config, config)
#define strategy_quoter_done_FIELDS            STOA_NO_FIELDS
#define strategy_quoter_pause_FIELDS           STOA_NO_FIELDS
#define strategy_quoter_resume_FIELDS          STOA_NO_FIELDS
#define strategy_quoter_status_FIELDS          STOA_NO_FIELDS
#define strategy_quoter_state_FIELDS(F, S)                                                                             \
    F(S, strategy_quoter_config, config)                                                                               \
    F(S, strategy_quoter_mode, mode)                                                                                   \
    F(S, uint8_t, reserved8)                                                                                           \
    F(S, uint16_t, reserved16)                                                                                         \
    F(S, uint32_t, account)      /* stream of the account */                                                           \
    F(S, uint64_t, orders)       /* placed ever; the client order ids derive from it */                                \
    F(S, uint64_t, requotes)                                                                                           \
    F(S, uint64_t, fills)                                                                                              \
    F(S, uint64_t, refused)                                                                                            \
    F(S, uint64_t, seen_ns)      /* UTC: the market was last known to be alive */                                      \
    F(S, uint64_t, top_id)       /* the top that decided last */                                                       \
    F(S, stoa_decimal, top_bid)                                                                                        \
    F(S, stoa_decimal, top_ask)                                                                                        \
    F(S, stoa_decimal, inventory) /* bought less sold */                                                               \
    F(S, stoa_decimal, cash)      /* received less paid */                                                             \
    F(S, strategy_quoter_leg, bid)                                                                                     \
    F(S, strategy_quoter_leg, ask)
#define strategy_quoter_check_FIELDS            STOA_NO_FIELDS
#define strategy_quoter_configured_FIELDS(F, S) F(S, strategy_quoter_config, config) F(S, uint64_t, account)
#define strategy_quoter_switched_FIELDS(F, S)                                                                          \
    F(S, strategy_quoter_mode, mode) F(S, uint8_t, reserved8) F(S, uint16_t, reserved16) F(S, uint32_t, reserved32)
#define strategy_quoter_seen_FIELDS(F, S)                                                                              \
    F(S, uint64_t, top_id) F(S, stoa_decimal, bid) F(S, stoa_decimal, ask) F(S, uint64_t, at_ns)
#define strategy_quoter_requoted_FIELDS(F, S)                                                                          \
    F(S, uint64_t, top_id)                                                                                             \
    F(S, stoa_decimal, top_bid)                                                                                        \
    F(S, stoa_decimal, top_ask)                                                                                        \
    F(S, stoa_decimal, inventory)                                                                                      \
    F(S, stoa_decimal, want_bid)                                                                                       \
    F(S, stoa_decimal, want_ask)                                                                                       \
    F(S, uint64_t, at_ns)
#define strategy_quoter_placed_FIELDS(F, S)                                                                            \
    F(S, uint64_t, client_order_id)                                                                                    \
    F(S, stoa_decimal, price)                                                                                          \
    F(S, stoa_decimal, qty)                                                                                            \
    F(S, uint64_t, side) /* trade_side */                                                                              \
    F(S, uint64_t, at_ns)
#define strategy_quoter_cancelled_FIELDS(F, S) F(S, uint64_t, client_order_id) F(S, uint64_t, side) F(S, uint64_t, at_ns)
#define strategy_quoter_reported_FIELDS(F, S)                                                                          \
    F(S, stoa_id, order_id)                                                                                            \
    F(S, uint64_t, client_order_id)                                                                                    \
    F(S, stoa_decimal, filled_qty)                                                                                     \
    F(S, stoa_decimal, filled_notional)                                                                                \
    F(S, trade_side, side)                                                                                             \
    F(S, trade_status, status)                                                                                         \
    F(S, trade_reason, reason)                                                                                         \
    F(S, strategy_quoter_phase, phase) /* that the side is in from here on */                                          \
    F(S, uint32_t, held)               /* 1: wait before the next order */                                             \
    F(S, uint64_t, at_ns)

#define strategy_quoter_ROWS(ROW, K)                                                                                   \
    ROW(K, COMMAND, configure, done, "What to quote and how; venue, symbol and account only while no order is out.")   \
    ROW(K, REPLY, done, _, "Done.")                                                                                    \
    ROW(K, COMMAND, pause, done, "Cancel what is out and quote no more.")                                              \
    ROW(K, COMMAND, resume, done, "Quote again, from the next top on.")                                                \
    ROW(K, COMMAND, status, state, "What it does, what it wants, what it holds.")                                      \
    ROW(K, REPLY, state, _, "Everything it remembers.")                                                                \
    ROW(K, CAST, check, _, "To itself: is the market alive, is every question answered.")                              \
    ROW(K, EVENT, configured, _, "It was told what to quote.")                                                         \
    ROW(K, EVENT, switched, _, "It quotes, or does not and why.")                                                      \
    ROW(K, EVENT, seen, _, "The market is alive; written at most four times per stale_ns.")                            \
    ROW(K, EVENT, requoted, _, "It wants other prices; with everything that decided.")                                 \
    ROW(K, EVENT, placed, _, "An order was sent to the account.")                                                      \
    ROW(K, EVENT, cancelled, _, "The cancel of an order was sent to the account.")                                     \
    ROW(K, EVENT, reported, _, "What became of an order.")
STOA_TABLE(strategy_quoter)

#endif
