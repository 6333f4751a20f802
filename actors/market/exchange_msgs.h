/* exchange_msgs.h - the simulated exchange (market_exchange/SYMBOL), the embedded market.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef STOA_ACTORS_MARKET_EXCHANGE_MSGS_H
#define STOA_ACTORS_MARKET_EXCHANGE_MSGS_H

#include "base/decimal.h"
#include "base/table.h"

#define market_exchange_tick_FIELDS   STOA_NO_FIELDS
#define market_exchange_status_FIELDS STOA_NO_FIELDS
#define market_exchange_counts_FIELDS(F, S)                                                                            \
    F(S, stoa_text14, symbol)                                                                                          \
    F(S, uint64_t, seed)                                                                                               \
    F(S, stoa_decimal, fair)     /* where the random walk stands */                                                    \
    F(S, uint64_t, steps)                                                                                              \
    F(S, uint64_t, rested)       /* orders sent to rest */                                                             \
    F(S, uint64_t, taken)        /* orders sent to take */                                                             \
    F(S, uint64_t, cancelled)                                                                                          \
    F(S, uint64_t, held_up)      /* steps tried again because the book had no room */                                  \
    F(S, uint64_t, diffs)        /* relayed to the mirror */                                                           \
    F(S, uint64_t, trades)                                                                                             \
    F(S, uint64_t, snapshots)
#define market_exchange_run_FIELDS(F, S) F(S, uint64_t, on)

#define market_exchange_ROWS(ROW, K)                                                                                   \
    ROW(K, CAST, tick, _, "To itself: the next steps of the market are due.")                                          \
    ROW(K, COMMAND, run, counts, "Let the market go on (1) or stand still (0).")                                       \
    ROW(K, COMMAND, status, counts, "Where the market stands.")                                                        \
    ROW(K, REPLY, counts, _, "Counters since the actor started.")
STOA_TABLE(market_exchange)

#endif
