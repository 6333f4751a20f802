/* backlog.c - see backlog.h. Two rings: diffs, and the levels that they own in the same order.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "actors/market/backlog.h"

#include <stddef.h>

static market_backlog_diff *slot(market_backlog *backlog, uint64_t number)
{
    return &backlog->diffs[number % MARKET_BACKLOG_DIFFS];
}

void market_backlog_clear(market_backlog *backlog)
{
    backlog->oldest = backlog->newest = 0;
    backlog->level_oldest = backlog->level_newest = 0;
}

/* The oldest goes, with its levels. */
static void drop_oldest(market_backlog *backlog)
{
    const market_backlog_diff *diff = slot(backlog, backlog->oldest);
    if (!diff->done) { backlog->lost++; }
    backlog->level_oldest = diff->from + diff->levels;
    backlog->oldest++;
}

/* The newest never became whole: what came behind it is of another diff. */
static void drop_newest(market_backlog *backlog)
{
    backlog->newest--;
    backlog->level_newest = slot(backlog, backlog->newest)->from;
    backlog->lost++;
}

/* The diff that part belongs to: the newest, when it still waits for parts of these ids, or a new one. */
static market_backlog_diff *diff_of(market_backlog *backlog, const market_feed_diff *part)
{
    if (backlog->newest > backlog->oldest) {
        market_backlog_diff *newest = slot(backlog, backlog->newest - 1);
        bool same = newest->first_id == part->first_id && newest->last_id == part->last_id;
        if (!newest->whole && same) { return newest; }
        if (!newest->whole) { drop_newest(backlog); }
    }
    if (backlog->newest - backlog->oldest == MARKET_BACKLOG_DIFFS) { drop_oldest(backlog); }
    market_backlog_diff *diff = slot(backlog, backlog->newest++);
    *diff = (market_backlog_diff){.first_id = part->first_id,
                                  .last_id = part->last_id,
                                  .venue_time_ms = part->venue_time_ms,
                                  .from = backlog->level_newest};
    return diff;
}

static void put_levels(market_backlog *backlog, market_backlog_diff *diff, const market_levels *levels,
                       trade_side side)
{
    for (uint32_t i = 0; i < levels->count; i++) {
        backlog->levels[backlog->level_newest++ % MARKET_BACKLOG_LEVELS] = (market_backlog_level){
            .price = levels->at[i].price, .qty = levels->at[i].qty, .side = side};
    }
    diff->levels += levels->count;
}

/* Give up a diff that alone has more levels than there is room for. */
static void spoil(market_backlog *backlog, market_backlog_diff *diff)
{
    backlog->lost += !diff->done;
    diff->done = true;
}

const market_backlog_diff *market_backlog_add(market_backlog *backlog, const market_feed_diff *part)
{
    market_backlog_diff *diff = diff_of(backlog, part);
    uint32_t needed = part->bids.count + part->asks.count;
    diff->whole = part->more == 0;
    if (diff->done || diff->levels + needed > MARKET_BACKLOG_LEVELS) {
        spoil(backlog, diff);
        return NULL;
    }
    while (backlog->level_newest + needed - backlog->level_oldest > MARKET_BACKLOG_LEVELS) {
        drop_oldest(backlog); /* never diff itself: it fits alone */
    }
    put_levels(backlog, diff, &part->bids, trade_side_BUY);
    put_levels(backlog, diff, &part->asks, trade_side_SELL);
    return diff->whole ? diff : NULL;
}

const market_backlog_diff *market_backlog_find(const market_backlog *backlog, uint64_t id)
{
    for (uint64_t number = backlog->oldest; number < backlog->newest; number++) {
        const market_backlog_diff *diff = &backlog->diffs[number % MARKET_BACKLOG_DIFFS];
        if (diff->whole && !diff->done && diff->first_id <= id && id <= diff->last_id) { return diff; }
    }
    return NULL;
}

const market_backlog_level *market_backlog_at(const market_backlog *backlog, const market_backlog_diff *diff,
                                              uint32_t index)
{
    return &backlog->levels[(diff->from + index) % MARKET_BACKLOG_LEVELS];
}

uint32_t market_backlog_forget(market_backlog *backlog, uint64_t last_id)
{
    uint32_t forgotten = 0;
    for (uint64_t number = backlog->oldest; number < backlog->newest; number++) {
        market_backlog_diff *diff = slot(backlog, number);
        if (!diff->whole || diff->done || diff->last_id > last_id) { continue; }
        diff->done = true;
        forgotten++;
    }
    while (backlog->oldest < backlog->newest && slot(backlog, backlog->oldest)->done) {
        drop_oldest(backlog);
    }
    return forgotten;
}

uint32_t market_backlog_count(const market_backlog *backlog)
{
    uint32_t count = 0;
    for (uint64_t number = backlog->oldest; number < backlog->newest; number++) {
        const market_backlog_diff *diff = &backlog->diffs[number % MARKET_BACKLOG_DIFFS];
        count += diff->whole && !diff->done;
    }
    return count;
}
