/* book.c - kind market_book: the mirror of an outside venue's book, exact or not live.
 *
 * A snapshot is the book at an update id; each diff continues the one before it. Every diff goes through the backlog:
 * it is applied when it fits behind last_id and waits otherwise. When something does not fit - ids left out, a diff
 * doubled or out of order - the mirror has lost its place: it stops being live, asks its feeder for a snapshot, and
 * is live again once nothing in the backlog is left over: because the missing diff turned up late, or because the
 * snapshot came. A snapshot clears first.
 *
 *      begin            snapshot + backlog fit
 *   ----------> WAITING ----------------------> LIVE <--------------------.
 *                                                |  does not fit, begin   | the late diff, or a snapshot
 *                                                '------> RESYNCING ------'
 *
 * Topics: "market.VENUE.SYMBOL.top" when the best bid or ask or its quantity changed (all 0 when the place is lost),
 * .diff for each diff applied (a jump in the ids means: resynced), .trade. The top is the newest known: a venue's own
 * top messages run ahead of its diffs and are used until a diff overtakes them.
 *
 * Limits: 8192 levels a side, 1024 waiting diffs. Invariant: when status is LIVE the ladders are the venue's book at
 * last_id, as far as the snapshot reached down.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "actors/market/book_msgs.h"

#include <string.h>

#include "actors/market/backlog.h"
#include "actors/market/ladder.h"
#include "actors/market/market.h"
#include "base/wire.h"

enum { SLOT_TOP, SLOT_DIFF, SLOT_TRADE };
enum { HEARD_EVERY = 32 };
#define NUDGE_NS STOA_S(10)

typedef struct market_book {
    market_book_state state; /* counters and place; levels are filled in where it is shown */
    stoa_ref feeder;
    market_feed_top top; /* last published */
    bool whole;          /* the ladders are the book at last_id */
    bool joining;        /* no diff applied since the snapshot: the first may begin before its end */
    bool asked;          /* for a snapshot */
    bool loading;
    uint64_t loading_id, loading_part, request;
    market_ladder bids, asks;
    market_backlog backlog;
} market_book;

#define market_book_HEARS(HEAR, K)                                                                                     \
    HEAR(K, market_feed, diff)                                                                                         \
    HEAR(K, market_feed, snapshot)                                                                                     \
    HEAR(K, market_feed, trade)                                                                                        \
    HEAR(K, market_feed, top)

STOA_PROXY(market_feed)

static stoa_err start(stoa_turn *turn, void *state, const void *args);
static void inspect(const void *state, stoa_buf *out);
STOA_PLAIN_KIND(market_book, .start = start, .inspect = inspect, .mailbox_limit = 8192)

/* --- who it is: "market_book/VENUE.SYMBOL" */

static stoa_err bind(stoa_turn *turn, unsigned slot, const char *suffix)
{
    char text[STOA_NAME_MAX + 1];
    stoa_buf topic = STOA_BUF_FIXED(text);
    stoa_buf_printf(&topic, "market.%s.%s", stoa_turn_key(turn), suffix);
    return topic.cut ? STOA_E_TOO_LARGE : stoa_turn_bind(turn, slot, text);
}

static stoa_err start(stoa_turn *turn, void *state, const void *args)
{
    market_book *self = state;
    const char *key = stoa_turn_key(turn), *dot = strchr(key, '.');
    (void)args;
    if (!dot) { return STOA_E_INVALID; }
    stoa_err err = STOA_TEXT_SET(&self->state.venue, key, (size_t)(dot - key));
    if (!err) { err = STOA_TEXT_SETZ(&self->state.symbol, dot + 1); }
    if (!err) { err = bind(turn, SLOT_TOP, "top"); }
    if (!err) { err = bind(turn, SLOT_DIFF, "diff"); }
    if (!err) { err = bind(turn, SLOT_TRADE, "trade"); }
    self->top.symbol = self->state.symbol;
    market_ladder_clear(&self->bids, trade_side_BUY);
    market_ladder_clear(&self->asks, trade_side_SELL);
    return err;
}

/* --- the feeder */

static void want(stoa_turn *turn, market_book *self)
{
    self->asked = true;
    self->request++;
    if (self->feeder.at) {
        market_book_send_wanted(turn, self->feeder, &(market_book_wanted){.symbol = self->state.symbol});
    }
    market_book_after_nudge(turn, NUDGE_NS, (market_book_nudge){.request = self->request}, &(stoa_timer){0});
}

/* Count a row in, and tell the feeder now and then. Errors: INVALID (not of this symbol). */
static stoa_err hear(stoa_turn *turn, market_book *self, const stoa_text14 *symbol)
{
    if (!STOA_TEXT_EQ(symbol, &self->state.symbol)) { return STOA_E_INVALID; }
    self->state.rows++;
    if (!self->feeder.at && turn->from.at) { /* this actor was restarted while its feeder went on */
        self->feeder = turn->from;
        want(turn, self);
    }
    if (self->state.rows % HEARD_EVERY == 0 && self->feeder.at) {
        market_book_send_heard(turn, self->feeder, &(market_book_heard){.rows = self->state.rows});
    }
    return STOA_OK;
}

/* --- what it publishes */

static bool same_top(const market_feed_top *a, const market_feed_top *b)
{
    return a->bid == b->bid && a->bid_qty == b->bid_qty && a->ask == b->ask && a->ask_qty == b->ask_qty;
}

/* Publish top unless something newer is out already or nothing but the id changed. */
static void offer_top(stoa_turn *turn, market_book *self, const market_feed_top *top)
{
    if (top->last_id < self->top.last_id) { return; }
    bool same = same_top(top, &self->top);
    self->top = *top;
    if (same) { return; }
    self->state.tops++;
    market_feed_publish_top(turn, SLOT_TOP, top);
}

static void offer_book_top(stoa_turn *turn, market_book *self)
{
    market_level bid = market_ladder_best(&self->bids), ask = market_ladder_best(&self->asks);
    offer_top(turn, self,
              &(market_feed_top){.symbol = self->state.symbol,
                                 .last_id = self->state.last_id,
                                 .bid = bid.price,
                                 .bid_qty = bid.qty,
                                 .ask = ask.price,
                                 .ask_qty = ask.qty,
                                 .venue_time_ms = self->state.venue_time_ms});
}

/* Nobody may act on the last top any more. */
static void withdraw_top(stoa_turn *turn, market_book *self)
{
    self->top.last_id = 0;
    offer_top(turn, self, &(market_feed_top){.symbol = self->state.symbol});
}

static void publish_diff(stoa_turn *turn, const market_book *self, const market_backlog_diff *diff)
{
    uint32_t index = 0;
    do {
        market_feed_diff part = {.symbol = self->state.symbol,
                                 .first_id = diff->first_id,
                                 .last_id = diff->last_id,
                                 .venue_time_ms = diff->venue_time_ms};
        for (; index < diff->levels; index++) {
            const market_backlog_level *level = market_backlog_at(&self->backlog, diff, index);
            market_levels *side = level->side == trade_side_BUY ? &part.bids : &part.asks;
            if (side->count == MARKET_LEVELS_MAX) { break; }
            side->at[side->count++] = (market_level){.price = level->price, .qty = level->qty};
        }
        part.more = index < diff->levels;
        market_feed_publish_diff(turn, SLOT_DIFF, &part);
    } while (index < diff->levels);
}

/* --- the place in the sequence */

static void put_levels(market_book *self, market_ladder *ladder, const market_levels *levels)
{
    for (uint32_t i = 0; i < levels->count; i++) {
        self->state.levels_dropped += !market_ladder_set(ladder, levels->at[i].price, levels->at[i].qty);
    }
}

static void apply(stoa_turn *turn, market_book *self, const market_backlog_diff *diff)
{
    for (uint32_t i = 0; i < diff->levels; i++) {
        const market_backlog_level *level = market_backlog_at(&self->backlog, diff, i);
        market_ladder *ladder = level->side == trade_side_BUY ? &self->bids : &self->asks;
        self->state.levels_dropped += !market_ladder_set(ladder, level->price, level->qty);
    }
    self->state.last_id = diff->last_id;
    self->state.venue_time_ms = diff->venue_time_ms;
    self->state.diffs_applied++;
    self->joining = false;
    publish_diff(turn, self, diff);
}

/* Apply what fits, drop what is too old, and see whether anything is left over. */
static void settle(stoa_turn *turn, market_book *self)
{
    uint32_t applied = 0;
    const market_backlog_diff *diff = NULL;
    while ((diff = market_backlog_find(&self->backlog, self->state.last_id + 1)) != NULL) {
        apply(turn, self, diff);
        applied++;
    }
    self->state.dropped += market_backlog_forget(&self->backlog, self->state.last_id) - applied;
    if (market_backlog_count(&self->backlog)) { return; }
    self->state.status = market_book_status_LIVE;
    self->asked = false;
    offer_book_top(turn, self);
}

static bool follows(const market_book *self, const market_backlog_diff *diff)
{
    uint64_t next = self->state.last_id + 1;
    return self->joining ? diff->first_id <= next : diff->first_id == next;
}

/* A live mirror got a diff that does not follow. */
static void lose_place(market_book *self, const market_backlog_diff *diff)
{
    if (diff->first_id > self->state.last_id + 1) {
        self->state.gaps++;
    } else {
        self->state.duplicates++;
    }
    self->state.resyncs++;
    self->state.status = market_book_status_RESYNCING;
}

static void take_diff(stoa_turn *turn, market_book *self, const market_backlog_diff *diff)
{
    bool live = self->state.status == market_book_status_LIVE;
    if (live && !follows(self, diff)) { lose_place(self, diff); }
    bool resyncing = self->state.status == market_book_status_RESYNCING;
    if (self->whole) { settle(turn, self); }
    if (self->state.status == market_book_status_LIVE) {
        self->state.healed += resyncing;
    } else if (!self->asked) {
        withdraw_top(turn, self);
        want(turn, self);
    }
}

/* --- handlers */

static stoa_err market_book_on_begin(stoa_turn *turn, market_book *self, const market_book_begin *in)
{
    (void)in;
    self->feeder = turn->from;
    if (self->state.snapshots) {
        self->state.resyncs++;
        self->state.status = market_book_status_RESYNCING;
    }
    self->whole = self->loading = false;
    market_ladder_clear(&self->bids, trade_side_BUY);
    market_ladder_clear(&self->asks, trade_side_SELL);
    market_backlog_clear(&self->backlog);
    withdraw_top(turn, self);
    want(turn, self);
    return STOA_OK;
}

static stoa_err market_book_on_nudge(stoa_turn *turn, market_book *self, const market_book_nudge *in)
{
    if (self->state.status != market_book_status_LIVE && in->request == self->request) { want(turn, self); }
    return STOA_OK;
}

static stoa_err market_book_on_market_feed_diff(stoa_turn *turn, market_book *self, const market_feed_diff *in)
{
    stoa_err err = hear(turn, self, &in->symbol);
    if (err) { return err; }
    uint64_t lost = self->backlog.lost;
    const market_backlog_diff *diff = market_backlog_add(&self->backlog, in);
    self->state.dropped += self->backlog.lost - lost;
    if (diff) { take_diff(turn, self, diff); }
    return STOA_OK;
}

/* The first part clears the book; true when in is the part that is expected. */
static bool load_part(market_book *self, const market_feed_snapshot *in)
{
    if (in->part == 0) {
        market_ladder_clear(&self->bids, trade_side_BUY);
        market_ladder_clear(&self->asks, trade_side_SELL);
        self->whole = false;
        self->loading_id = in->last_id;
    } else if (!self->loading || in->last_id != self->loading_id || in->part != self->loading_part + 1) {
        self->loading = false;
        return false;
    }
    self->loading = in->more != 0;
    self->loading_part = in->part;
    put_levels(self, &self->bids, &in->bids);
    put_levels(self, &self->asks, &in->asks);
    return true;
}

static stoa_err market_book_on_market_feed_snapshot(stoa_turn *turn, market_book *self,
                                                    const market_feed_snapshot *in)
{
    stoa_err err = hear(turn, self, &in->symbol);
    if (err) { return err; }
    bool needed = self->state.status != market_book_status_LIVE;
    if (!needed || !load_part(self, in) || in->more) { return STOA_OK; }
    self->whole = self->joining = true;
    self->state.snapshots++;
    self->state.last_id = in->last_id;
    settle(turn, self);
    if (self->state.status != market_book_status_LIVE) { want(turn, self); } /* it was older than the backlog */
    return STOA_OK;
}

static stoa_err market_book_on_market_feed_trade(stoa_turn *turn, market_book *self, const market_feed_trade *in)
{
    stoa_err err = hear(turn, self, &in->symbol);
    if (err) { return err; }
    self->state.trades++;
    market_feed_publish_trade(turn, SLOT_TRADE, in);
    return STOA_OK;
}

static stoa_err market_book_on_market_feed_top(stoa_turn *turn, market_book *self, const market_feed_top *in)
{
    stoa_err err = hear(turn, self, &in->symbol);
    if (err) { return err; }
    bool ahead = in->last_id > self->state.last_id;
    if (self->state.status == market_book_status_LIVE && ahead) { offer_top(turn, self, in); }
    return STOA_OK;
}

static void look(const market_book *self, uint64_t limit, market_book_state *out)
{
    *out = self->state;
    out->waiting = market_backlog_count(&self->backlog);
    out->bid_levels = self->bids.count;
    out->ask_levels = self->asks.count;
    market_ladder_top(&self->bids, limit, &out->bids);
    market_ladder_top(&self->asks, limit, &out->asks);
}

static stoa_err market_book_on_view(stoa_turn *turn, market_book *self, const market_book_view *in,
                                    market_book_state *out)
{
    (void)turn;
    look(self, in->limit, out);
    return STOA_OK;
}

static void inspect(const void *state, stoa_buf *out)
{
    market_book_state shown;
    look(state, 5, &shown);
    stoa_print_json(&market_book_rows[market_book_ROW_state].payload, &shown, out);
}
