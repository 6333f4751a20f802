/* feed_msgs.h - market data as every source speaks it: the venue adapters, the simulated exchange and our own books.
 *
 * Ids are the venue's update ids: a diff covers first_id .. last_id and follows the one whose last_id is first_id - 1; a
 * snapshot is the state at last_id. A quantity of 0 removes its level. A diff or snapshot with more levels than one message
 * holds is sent as several parts with the same ids, all but the last with more = 1.
 *
 * Topics: "market.<venue>.<symbol>.diff|trade|top" from mirrors of outside venues, "trade.<symbol>.diff|trade" from our
 * own books.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef STOA_ACTORS_MARKET_FEED_MSGS_H
#define STOA_ACTORS_MARKET_FEED_MSGS_H

#include "actors/trade/trade_msgs.h"
#include "base/table.h"

enum { MARKET_LEVELS_MAX = 64 };

#define market_level_FIELDS(F, S) F(S, stoa_decimal, price) F(S, stoa_decimal, qty)
STOA_RECORD(market_level)
STOA_LIST(market_levels, market_level, MARKET_LEVELS_MAX)

#define market_feed_diff_FIELDS(F, S)                                                                                  \
    F(S, stoa_text14, symbol)                                                                                          \
    F(S, uint64_t, first_id)                                                                                           \
    F(S, uint64_t, last_id)                                                                                            \
    F(S, uint64_t, venue_time_ms)                                                                                      \
    F(S, uint64_t, more)                                                                                               \
    F(S, market_levels, bids)                                                                                          \
    F(S, market_levels, asks)
#define market_feed_snapshot_FIELDS(F, S)                                                                              \
    F(S, stoa_text14, symbol)                                                                                          \
    F(S, uint64_t, last_id)                                                                                            \
    F(S, uint64_t, part) /* 0 for the first: the mirror clears its book there */                                       \
    F(S, uint64_t, more)                                                                                               \
    F(S, market_levels, bids)                                                                                          \
    F(S, market_levels, asks)
#define market_feed_trade_FIELDS(F, S)                                                                                 \
    F(S, stoa_text14, symbol)                                                                                          \
    F(S, uint64_t, trade_id)                                                                                           \
    F(S, uint64_t, venue_time_ms)                                                                                      \
    F(S, stoa_decimal, price)                                                                                          \
    F(S, stoa_decimal, qty)                                                                                            \
    F(S, uint64_t, taker_side) /* trade_side */
#define market_feed_top_FIELDS(F, S)                                                                                   \
    F(S, stoa_text14, symbol)                                                                                          \
    F(S, uint64_t, last_id)                                                                                            \
    F(S, stoa_decimal, bid)                                                                                            \
    F(S, stoa_decimal, bid_qty)                                                                                        \
    F(S, stoa_decimal, ask)                                                                                            \
    F(S, stoa_decimal, ask_qty)                                                                                        \
    F(S, uint64_t, venue_time_ms)

#define market_feed_ROWS(ROW, K)                                                                                       \
    ROW(K, TOPIC, diff, _, "Levels that changed between two update ids.")                                              \
    ROW(K, TOPIC, snapshot, _, "The book at an update id.")                                                            \
    ROW(K, TOPIC, trade, _, "A trade that happened at the venue.")                                                     \
    ROW(K, TOPIC, top, _, "Best bid and ask; 0 where a side is empty.")
STOA_TABLE(market_feed)

#endif
