/* connector_msgs.h - what a connector (market_connector/VENUE) takes from its source port and asks of it.
 *
 * A source port sends opened, then frames as the venue sent them, in parts of at most 4,094 bytes; it sends no more
 * frames than it has credit for: frame messages sent <= granted.frames + MARKET_CONNECTOR_WINDOW.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef STOA_ACTORS_MARKET_CONNECTOR_MSGS_H
#define STOA_ACTORS_MARKET_CONNECTOR_MSGS_H

#include "base/table.h"

enum { MARKET_CONNECTOR_WINDOW = 256, MARKET_CONNECTOR_SYMBOLS_MAX = 16 };

/* number counts frames; a frame's parts carry the same one. symbol: of a snapshot that was asked for, else empty. */
#define market_connector_frame_FIELDS(F, S)                                                                            \
    F(S, uint64_t, number) F(S, uint64_t, more) F(S, stoa_text14, symbol) F(S, stoa_text4094, bytes)
#define market_connector_opened_FIELDS         STOA_NO_FIELDS
#define market_connector_missing_FIELDS(F, S)  F(S, stoa_text14, symbol)
#define market_connector_ended_FIELDS          STOA_NO_FIELDS
#define market_connector_status_FIELDS         STOA_NO_FIELDS
#define market_connector_counts_FIELDS(F, S)                                                                           \
    F(S, stoa_text14, venue)                                                                                           \
    F(S, uint64_t, frames)      /* whole ones */                                                                       \
    F(S, uint64_t, rows)        /* sent to mirrors */                                                                  \
    F(S, uint64_t, heard)       /* by mirrors, rounded down */                                                         \
    F(S, uint64_t, idle)        /* frames that tell nothing about a book */                                            \
    F(S, uint64_t, malformed)   /* frames refused: not the venue's messages */                                         \
    F(S, uint64_t, unknown)     /* frames refused: an event that the dialect does not know */                          \
    F(S, uint64_t, too_large)   /* frames refused: larger than the buffer, or more levels than fit */                  \
    F(S, uint64_t, numbers)     /* frames refused: a number with too many places or out of range */                    \
    F(S, uint64_t, torn)        /* frames whose parts did not all come */                                              \
    F(S, uint64_t, unrouted)    /* news of a symbol that has no mirror here, or of none */                             \
    F(S, uint64_t, overruns)    /* rows that a mirror had no room for */                                               \
    F(S, uint64_t, connections)                                                                                        \
    F(S, uint64_t, wanted)      /* snapshots asked for */                                                              \
    F(S, uint64_t, missing)     /* snapshots that the source does not have */                                          \
    F(S, uint64_t, ended)       /* 1: the source has come to its end */
#define market_connector_want_FIELDS(F, S)     F(S, stoa_text14, symbol)
#define market_connector_granted_FIELDS(F, S)  F(S, uint64_t, frames)

#define market_connector_ROWS(ROW, K)                                                                                  \
    ROW(K, CAST, frame, _, "From the source: bytes that the venue sent, or a part of them.")                           \
    ROW(K, CAST, opened, _, "From the source: a connection was made; its frames follow.")                              \
    ROW(K, CAST, missing, _, "From the source: there is no snapshot to be had.")                                       \
    ROW(K, CAST, ended, _, "From the source: there will be no more frames.")                                           \
    ROW(K, COMMAND, status, counts, "What came, what was made of it, what was refused.")                               \
    ROW(K, REPLY, counts, _, "Counters since the actor started.")                                                      \
    ROW(K, TOPIC, want, _, "To the source: send a snapshot of this symbol.")                                           \
    ROW(K, TOPIC, granted, _, "To the source: frame messages taken so far; the credit counts from here.")
STOA_TABLE(market_connector)

#endif
