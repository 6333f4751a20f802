/* backlog.h - diffs of a mirrored book that wait for their turn: for the snapshot, or for the one before them.
 *
 * A diff comes in parts (market_feed.diff, all but the last with more = 1); it counts once it is whole. Bounded in
 * diffs and in levels: when full, the oldest make room, because a snapshot that is still to come replaces the old
 * ones first. No pointers, no allocation; about 1.6 MB.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef STOA_ACTORS_MARKET_BACKLOG_H
#define STOA_ACTORS_MARKET_BACKLOG_H

#include <stdbool.h>
#include <stdint.h>

#include "actors/market/feed_msgs.h"

enum { MARKET_BACKLOG_DIFFS = 1024, MARKET_BACKLOG_LEVELS = 65536 };

typedef struct market_backlog_level {
    stoa_decimal price, qty;
    uint64_t side; /* trade_side: BUY is a bid */
} market_backlog_level;

typedef struct market_backlog_diff {
    uint64_t first_id, last_id, venue_time_ms;
    uint64_t from; /* number of its first level since clear */
    uint32_t levels;
    bool whole, done;
} market_backlog_diff;

typedef struct market_backlog {
    uint64_t oldest, newest;             /* diffs [oldest, newest) are held, at their number modulo the capacity */
    uint64_t level_oldest, level_newest; /* the same for levels */
    uint64_t lost;                       /* diffs that made room or never became whole, ever */
    market_backlog_diff diffs[MARKET_BACKLOG_DIFFS];
    market_backlog_level levels[MARKET_BACKLOG_LEVELS];
} market_backlog;

/* Empty it; lost goes on counting. */
void market_backlog_clear(market_backlog *backlog);

/* Take one part in. Returns the diff when this part made it whole, else NULL. Valid until the next call. */
const market_backlog_diff *market_backlog_add(market_backlog *backlog, const market_feed_diff *part);

/* The oldest whole diff that covers id, or NULL. */
const market_backlog_diff *market_backlog_find(const market_backlog *backlog, uint64_t id);

/* Level number index of a diff that is held. */
const market_backlog_level *market_backlog_at(const market_backlog *backlog, const market_backlog_diff *diff,
                                              uint32_t index);

/* Drop whole diffs that end at last_id or before it; returns how many. */
uint32_t market_backlog_forget(market_backlog *backlog, uint64_t last_id);

/* Whole diffs that are held. */
uint32_t market_backlog_count(const market_backlog *backlog);

#endif
