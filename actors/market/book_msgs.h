/* book_msgs.h - what the mirror of an outside venue's book (market_book/VENUE.SYMBOL) takes, answers and asks of its
 * feeder.
 *
 * A feeder (market_connector, market_exchange) sends it begin, then rows of market_feed.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef STOA_ACTORS_MARKET_BOOK_MSGS_H
#define STOA_ACTORS_MARKET_BOOK_MSGS_H

#include "actors/market/feed_msgs.h"
#include "base/table.h"

/* WAITING: no snapshot yet. LIVE: exact as of last_id. RESYNCING: an update is missing, the book is not to be
 * used. */
#define market_book_status_VALUES(V, E) V(E, WAITING, "waiting") V(E, LIVE, "live") V(E, RESYNCING, "resyncing")
STOA_ENUM(market_book_status)

#define market_book_view_FIELDS(F, S) F(S, uint64_t, limit)
#define market_book_state_FIELDS(F, S)                                                                                 \
    F(S, stoa_text14, venue)                                                                                           \
    F(S, stoa_text14, symbol)                                                                                          \
    F(S, market_book_status, status)                                                                                   \
    F(S, uint8_t, reserved8)                                                                                           \
    F(S, uint16_t, reserved16)                                                                                         \
    F(S, uint32_t, waiting)        /* diffs in the backlog */                                                          \
    F(S, uint64_t, last_id)                                                                                            \
    F(S, uint64_t, venue_time_ms)  /* of the last diff applied */                                                      \
    F(S, uint64_t, rows)           /* everything heard from the feeder */                                              \
    F(S, uint64_t, snapshots)      /* loaded */                                                                        \
    F(S, uint64_t, diffs_applied)                                                                                      \
    F(S, uint64_t, gaps)           /* a diff left ids out */                                                           \
    F(S, uint64_t, duplicates)     /* a diff came again, or too late */                                                \
    F(S, uint64_t, resyncs)        /* the place in the sequence was lost and had to be found again */                  \
    F(S, uint64_t, healed)         /* resyncs that what was buffered ended, without a snapshot */                      \
    F(S, uint64_t, dropped)        /* diffs not applied: older than the snapshot, doubled, or no room to wait */       \
    F(S, uint64_t, levels_dropped) /* the worst level of a full side */                                                \
    F(S, uint64_t, trades)                                                                                             \
    F(S, uint64_t, tops)           /* published */                                                                     \
    F(S, uint64_t, bid_levels)                                                                                         \
    F(S, uint64_t, ask_levels)                                                                                         \
    F(S, market_levels, bids)                                                                                          \
    F(S, market_levels, asks)
#define market_book_begin_FIELDS        STOA_NO_FIELDS
#define market_book_nudge_FIELDS(F, S)  F(S, uint64_t, request)
#define market_book_wanted_FIELDS(F, S) F(S, stoa_text14, symbol)
#define market_book_heard_FIELDS(F, S)  F(S, uint64_t, rows)

#define market_book_ROWS(ROW, K)                                                                                       \
    ROW(K, COMMAND, view, state, "The mirror: its best levels (up to limit, at most 64), where it stands, counters.")  \
    ROW(K, REPLY, state, _, "Levels best first; counters since the actor started.")                                    \
    ROW(K, CAST, begin, _, "From the feeder: a new stream of updates begins; what was known is void.")                 \
    ROW(K, CAST, nudge, _, "To itself: the snapshot asked for has not come in time.")                                  \
    ROW(K, TOPIC, wanted, _, "To the feeder: send a snapshot.")                                                        \
    ROW(K, TOPIC, heard, _, "To the feeder, every few rows: how many were heard so far.")
STOA_TABLE(market_book)

#endif
