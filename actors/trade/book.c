/* book.c - trade_book/SYMBOL: price-time matching as a pure function over const state.
 *
 * place looks at the resting orders in price-time order and emits one traded per meeting, then rested for what may
 * rest. apply, live and in replay, changes the ladder. Nothing is decided in apply, nothing is changed in a handler.
 *
 * A turn makes at most TURN_TRADES trades; an order that goes on sends itself what is left, as the next message of
 * the same cascade, so that its account still gets one settled and nobody's order comes between. A new time in force
 * is a row of tif_rules: what must hold before it may trade, and what becomes of its rest.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "actors/trade/book_msgs.h"

#include <inttypes.h>

#include "actors/trade/account_msgs.h"
#include "actors/trade/ladder.h"
#include "actors/trade/trade.h"

enum {
    TURN_TRADES = 512, /* what one turn may stage, in the runtime's arena, is bounded */
    SLOT_DIFF = 0,
    SLOT_TRADE = 1,
};

typedef struct trade_book {
    trade_symbol symbol; /* tick 0: not open */
    uint64_t updates;    /* last id of a diff */
    uint64_t trades;     /* last id of a trade */
    uint64_t volume_lots;
    trade_ladder ladder;
} trade_book;

static stoa_err resume(stoa_turn *turn, const void *state);
static void inspect(const void *state, stoa_buf *out);

STOA_PROXY(trade_account)
STOA_PROXY(market_feed)
#define trade_book_HEARS STOA_HEARS_NOTHING
STOA_KIND(trade_book, .resume = resume, .inspect = inspect)

/* --- levels that a turn changes, for its diff */
typedef struct change {
    uint32_t price_ticks;
    trade_side side;
    int64_t qty_lots; /* after the turn */
} change;

typedef struct changes {
    uint32_t count;
    change at[TURN_TRADES + 1]; /* a level per trade, and the one where the rest rests */
} changes;

static void note(changes *noted, trade_side side, uint32_t price_ticks, int64_t qty_lots)
{
    STOA_ASSERT(noted->count < sizeof noted->at / sizeof noted->at[0]);
    noted->at[noted->count++] = (change){.side = side, .price_ticks = price_ticks, .qty_lots = qty_lots};
}

static market_level level_of(const trade_book *self, uint32_t price_ticks, int64_t qty_lots)
{
    return (market_level){.price = price_ticks * self->symbol.tick, .qty = qty_lots * self->symbol.lot};
}

/* Publish what changed as the updates that this turn's events make. A subscriber that misses a part sees it by the
 * ids, so a diff that cannot leave does not hold the order up. */
static void publish_changes(stoa_turn *turn, const trade_book *self, const changes *noted, uint64_t events)
{
    market_feed_diff diff = {.symbol = self->symbol.name,
                             .first_id = self->updates + 1,
                             .last_id = self->updates + events,
                             .venue_time_ms = turn->wall_ns / STOA_MS(1)};
    for (uint32_t i = 0; i < noted->count; i++) {
        const change *c = &noted->at[i];
        market_levels *levels = c->side == trade_side_BUY ? &diff.bids : &diff.asks;
        if (levels->count == MARKET_LEVELS_MAX) {
            diff.more = 1;
            (void)market_feed_publish_diff(turn, SLOT_DIFF, &diff);
            diff.more = diff.bids.count = diff.asks.count = 0;
        }
        levels->at[levels->count++] = level_of(self, c->price_ticks, c->qty_lots);
    }
    if (noted->count) { (void)market_feed_publish_diff(turn, SLOT_DIFF, &diff); }
}

/* --- whether an order may trade */
static bool crosses(const trade_book_place *in, uint32_t price_ticks)
{
    return in->side == trade_side_BUY ? price_ticks <= in->price_ticks : price_ticks >= in->price_ticks;
}

static bool own(const trade_book_place *in, const trade_resting *maker)
{
    return in->account != 0 && maker->account == in->account;
}

static trade_reason admit_any(const trade_book *self, const trade_book_place *in)
{
    (void)self;
    (void)in;
    return trade_reason_NONE;
}

static trade_reason admit_passive(const trade_book *self, const trade_book_place *in)
{
    uint32_t best = trade_ladder_best(&self->ladder, !in->side);
    return best && crosses(in, best) ? trade_reason_WOULD_TAKE : trade_reason_NONE;
}

static trade_reason admit_fillable(const trade_book *self, const trade_book_place *in)
{
    if (in->swept) { return trade_reason_NONE; } /* asked before the first trade */
    int64_t left = in->qty_lots;
    uint32_t makers = 0;
    trade_cursor at = trade_cursor_begin(&self->ladder, !in->side);
    for (; at.order && crosses(in, at.level->price_ticks) && makers < TRADE_SWEEP_MAX; trade_cursor_next(&at)) {
        makers++;
        if (own(in, at.order)) { return trade_reason_SELF_TRADE; }
        if (left <= at.order->qty_lots) { return trade_reason_NONE; }
        left -= at.order->qty_lots;
    }
    return trade_reason_NOT_FILLABLE;
}

typedef struct tif_rule {
    trade_reason (*admit)(const trade_book *self, const trade_book_place *in); /* NONE: go on */
    trade_reason rest; /* NONE: what is left rests; otherwise why it is dropped */
} tif_rule;

static const tif_rule tif_rules[trade_tif_COUNT] = {
    [trade_tif_GTC] = {admit_any, trade_reason_NONE},
    [trade_tif_IOC] = {admit_any, trade_reason_IOC_REST},
    [trade_tif_FOK] = {admit_fillable, trade_reason_NOT_FILLABLE},
    [trade_tif_POST_ONLY] = {admit_passive, trade_reason_NONE},
};

/* --- matching */
typedef struct matching {
    int64_t left;
    uint32_t trades;
    uint32_t makers_gone;
    trade_reason stopped; /* SELF_TRADE, or NONE */
    bool crossing;        /* there is more to take */
    changes noted;
} matching;

/* One trade with the order at the cursor: event, both fills, the public trade. */
static stoa_err trade(stoa_turn *turn, const trade_book *self, const trade_book_place *in, const trade_resting *maker,
                      int64_t qty_lots, uint64_t trade_id)
{
    trade_account_fill fill = {.order_id = maker->order_id,
                               .trade_id = trade_id,
                               .price_ticks = maker->price_ticks,
                               .qty_lots = qty_lots,
                               .maker = 1};
    stoa_err err = trade_book_emit_traded(turn, (trade_book_traded){.order_id = in->order_id,
                                                                    .maker_order_id = maker->order_id,
                                                                    .trade_id = trade_id,
                                                                    .account = in->account,
                                                                    .maker_account = maker->account,
                                                                    .price_ticks = maker->price_ticks,
                                                                    .qty_lots = qty_lots,
                                                                    .taker_side = in->side});
    if (!err && maker->account) { err = trade_account_send_fill(turn, stoa_turn_peer(turn, maker->account), fill); }
    fill.order_id = in->order_id;
    fill.maker = 0;
    if (!err && in->account) { err = trade_account_send_fill(turn, stoa_turn_peer(turn, in->account), fill); }
    if (err) { return err; }

    market_level level = level_of(self, maker->price_ticks, qty_lots);
    market_feed_trade seen = {.symbol = self->symbol.name,
                              .trade_id = trade_id,
                              .venue_time_ms = turn->wall_ns / STOA_MS(1),
                              .price = level.price,
                              .qty = level.qty,
                              .taker_side = in->side};
    (void)market_feed_publish_trade(turn, SLOT_TRADE, &seen);
    return STOA_OK;
}

static stoa_err match(stoa_turn *turn, const trade_book *self, const trade_book_place *in, matching *m)
{
    uint32_t trades_max = TRADE_SWEEP_MAX - in->swept;
    if (trades_max > TURN_TRADES) { trades_max = TURN_TRADES; }
    trade_cursor at = trade_cursor_begin(&self->ladder, !in->side);
    const trade_level *level = NULL;
    for (; m->left && at.order && crosses(in, at.level->price_ticks); trade_cursor_next(&at)) {
        if (own(in, at.order)) {
            m->stopped = trade_reason_SELF_TRADE;
            break;
        }
        if (m->trades == trades_max) {
            m->crossing = true;
            break;
        }
        int64_t qty_lots = m->left < at.order->qty_lots ? m->left : at.order->qty_lots;
        stoa_err err = trade(turn, self, in, at.order, qty_lots, self->trades + ++m->trades);
        if (err) { return err; }
        if (at.level != level) { note(&m->noted, at.side, at.level->price_ticks, at.level->qty_lots); }
        level = at.level;
        m->noted.at[m->noted.count - 1].qty_lots -= qty_lots;
        m->makers_gone += qty_lots == at.order->qty_lots;
        m->left -= qty_lots;
    }
    return STOA_OK;
}

/* Tell the order's account how it ended here. */
static stoa_err settle(stoa_turn *turn, uint32_t account, uint64_t order_id, trade_status status, trade_reason reason)
{
    if (account == 0) { return STOA_OK; }
    return trade_account_forward_settled(
        turn, stoa_turn_peer(turn, account),
        (trade_account_settled){.order_id = order_id, .status = status, .reason = reason});
}

/* Whether the rest fits: the ladder's limits, and the level's sum as a decimal. */
static bool may_rest(const trade_book *self, const trade_book_place *in, const matching *m)
{
    const trade_level *level = trade_ladder_level(&self->ladder, in->side, (uint32_t)in->price_ticks);
    int64_t there = level ? level->qty_lots : 0;
    return m->left <= INT64_MAX / self->symbol.lot - there &&
           trade_ladder_room(&self->ladder, in->side, (uint32_t)in->price_ticks, m->makers_gone);
}

static stoa_err rest(stoa_turn *turn, const trade_book *self, const trade_book_place *in, matching *m)
{
    const trade_level *level = trade_ladder_level(&self->ladder, in->side, (uint32_t)in->price_ticks);
    note(&m->noted, in->side, (uint32_t)in->price_ticks, (level ? level->qty_lots : 0) + m->left);
    return trade_book_emit_rested(turn, (trade_book_rested){.order_id = in->order_id,
                                                            .account = in->account,
                                                            .side = in->side,
                                                            .price_ticks = in->price_ticks,
                                                            .qty_lots = m->left});
}

/* What becomes of the order after this turn's trades. */
static stoa_err finish(stoa_turn *turn, const trade_book *self, const trade_book_place *in, matching *m)
{
    trade_reason dropped = tif_rules[in->tif].rest;
    if (m->left == 0) { return settle(turn, in->account, in->order_id, trade_status_FILLED, trade_reason_NONE); }
    if (m->crossing && in->swept + m->trades < TRADE_SWEEP_MAX) {
        trade_book_place more = *in;
        more.qty_lots = m->left;
        more.swept = (uint16_t)(in->swept + m->trades);
        return trade_book_forward_place(turn, turn->self, more);
    }
    if (m->crossing) { dropped = trade_reason_SWEEP_LIMIT; }
    if (m->stopped) { dropped = m->stopped; }
    if (!dropped && !may_rest(self, in, m)) { dropped = trade_reason_BOOK_FULL; }
    if (dropped) { return settle(turn, in->account, in->order_id, trade_status_CANCELLED, dropped); }
    stoa_err err = rest(turn, self, in, m);
    return err ? err : settle(turn, in->account, in->order_id, trade_status_OPEN, trade_reason_NONE);
}

/* Only an account places in its own name, and only the book itself says that an order has swept. */
static bool sender_known(const stoa_turn *turn, uint32_t account, uint16_t swept)
{
    if (stoa_ref_equal(turn->from, turn->self)) { return true; }
    return swept == 0 && (account == 0 || stoa_ref_equal(turn->from, stoa_turn_peer(turn, account)));
}

static bool acceptable(const trade_book *self, const trade_book_place *in)
{
    return self->symbol.tick && in->order_id && in->side < trade_side_COUNT && in->tif < trade_tif_COUNT &&
           in->price_ticks > 0 && in->price_ticks <= TRADE_PRICE_TICKS_MAX && in->qty_lots > 0 &&
           in->qty_lots <= INT64_MAX / self->symbol.lot && !trade_ladder_find(&self->ladder, in->order_id);
}

static stoa_err place(stoa_turn *turn, const trade_book *self, const trade_book_place *in)
{
    trade_reason refused = tif_rules[in->tif].admit(self, in);
    if (refused) { return settle(turn, in->account, in->order_id, trade_status_CANCELLED, refused); }

    matching m;
    m.left = in->qty_lots;
    m.trades = m.makers_gone = m.noted.count = 0;
    m.stopped = trade_reason_NONE;
    m.crossing = false;
    stoa_err err = match(turn, self, in, &m);
    uint32_t taken = m.noted.count;
    if (!err) { err = finish(turn, self, in, &m); }
    if (err) { return err; }
    publish_changes(turn, self, &m.noted, m.trades + (m.noted.count - taken));
    return STOA_OK;
}

/* Its account has reserved for it, and may have traded already: what cannot be done here undoes that. */
static stoa_err trade_book_on_place(stoa_turn *turn, const trade_book *self, const trade_book_place *in)
{
    if (!sender_known(turn, in->account, in->swept)) { return STOA_E_DENIED; }
    if (acceptable(self, in)) { return stoa_turn_undo(turn, place(turn, self, in)); }
    if (in->account == 0) { return STOA_E_INVALID; }
    return stoa_turn_undo(turn, settle(turn, in->account, in->order_id, trade_status_CANCELLED, trade_reason_INVALID));
}

static stoa_err trade_book_on_cancel(stoa_turn *turn, const trade_book *self, const trade_book_cancel *in)
{
    if (!sender_known(turn, in->account, 0)) { return STOA_E_DENIED; }
    const trade_resting *order = trade_ladder_find(&self->ladder, in->order_id);
    if (order && order->account == in->account) {
        stoa_err err = trade_book_emit_removed(
            turn,
            (trade_book_removed){.order_id = in->order_id, .qty_lots = order->qty_lots, .reason = trade_reason_CLIENT});
        if (err) { return err; }
        const trade_level *level = trade_ladder_level(&self->ladder, order->side, order->price_ticks);
        changes noted;
        noted.count = 0;
        note(&noted, order->side, order->price_ticks, level->qty_lots - order->qty_lots);
        publish_changes(turn, self, &noted, 1);
    }
    /* An order that does not rest here has nothing left to cancel: its account may free what it still holds for it. */
    return settle(turn, in->account, in->order_id, trade_status_CANCELLED, trade_reason_CLIENT);
}

/* --- opening and looking */
static stoa_err trade_book_on_open(stoa_turn *turn, const trade_book *self, const trade_book_open *in,
                                   trade_book_done *out)
{
    (void)out;
    stoa_err err = trade_symbol_check(&in->symbol);
    if (err) { return err; }
    if (self->symbol.tick) { return trade_symbol_alike(&self->symbol, &in->symbol) ? STOA_OK : STOA_E_EXISTS; }
    return trade_book_emit_opened(turn, (trade_book_opened){.symbol = in->symbol});
}

static void depth_of(const trade_book *self, trade_side side, uint64_t limit, market_levels *out)
{
    uint32_t price = trade_ladder_best(&self->ladder, side);
    for (; price && out->count < limit; price = trade_ladder_worse(&self->ladder, side, price)) {
        out->at[out->count++] = level_of(self, price, trade_ladder_level(&self->ladder, side, price)->qty_lots);
    }
}

static stoa_decimal volume_of(const trade_book *self)
{
    uint64_t lots_max = (uint64_t)(INT64_MAX / self->symbol.lot);
    return (int64_t)(self->volume_lots < lots_max ? self->volume_lots : lots_max) * self->symbol.lot;
}

static stoa_err trade_book_on_depth(stoa_turn *turn, const trade_book *self, const trade_book_depth *in,
                                    trade_book_view *out)
{
    (void)turn;
    if (self->symbol.tick == 0) { return STOA_E_NOT_FOUND; }
    uint64_t limit = in->limit && in->limit < MARKET_LEVELS_MAX ? in->limit : MARKET_LEVELS_MAX;
    out->symbol = self->symbol.name;
    out->last_id = self->updates;
    out->orders = self->ladder.orders.pool.used;
    out->trades = self->trades;
    out->volume = volume_of(self);
    depth_of(self, trade_side_BUY, limit, &out->bids);
    depth_of(self, trade_side_SELL, limit, &out->asks);
    return STOA_OK;
}

/* --- what happened */
static void trade_book_apply_opened(trade_book *self, const trade_book_opened *event)
{
    STOA_ASSERT(event->symbol.tick > 0 && event->symbol.tick <= INT64_MAX / TRADE_PRICE_TICKS_MAX && event->symbol.lot > 0);
    self->symbol = event->symbol;
}

static void trade_book_apply_rested(trade_book *self, const trade_book_rested *event)
{
    STOA_ASSERT(self->symbol.tick && event->price_ticks > 0 && event->price_ticks <= TRADE_PRICE_TICKS_MAX);
    const trade_level *level = trade_ladder_level(&self->ladder, event->side, (uint32_t)event->price_ticks);
    STOA_ASSERT(event->qty_lots > 0 && event->qty_lots <= INT64_MAX / self->symbol.lot - (level ? level->qty_lots : 0));
    trade_ladder_add(&self->ladder, &(trade_resting){.order_id = event->order_id,
                                                     .qty_lots = event->qty_lots,
                                                     .price_ticks = (uint32_t)event->price_ticks,
                                                     .account = event->account,
                                                     .side = event->side});
    self->updates++;
}

static void trade_book_apply_traded(trade_book *self, const trade_book_traded *event)
{
    trade_ladder_reduce(&self->ladder, event->maker_order_id, event->qty_lots);
    self->trades++;
    self->volume_lots += (uint64_t)event->qty_lots;
    self->updates++;
}

static void trade_book_apply_removed(trade_book *self, const trade_book_removed *event)
{
    trade_ladder_reduce(&self->ladder, event->order_id, event->qty_lots);
    self->updates++;
}

static stoa_err resume(stoa_turn *turn, const void *state)
{
    (void)state;
    char topic[STOA_NAME_MAX + 1];
    stoa_buf text = STOA_BUF_FIXED(topic);
    stoa_buf_printf(&text, "trade.%s.diff", stoa_turn_key(turn));
    stoa_err err = text.cut ? STOA_E_TOO_LARGE : stoa_turn_bind(turn, SLOT_DIFF, topic);
    if (err) { return err; }
    stoa_buf_clear(&text);
    stoa_buf_printf(&text, "trade.%s.trade", stoa_turn_key(turn));
    return text.cut ? STOA_E_TOO_LARGE : stoa_turn_bind(turn, SLOT_TRADE, topic);
}

static void print_best(const trade_book *self, trade_side side, const char *name, stoa_buf *out)
{
    char price[STOA_DECIMAL_TEXT_MAX], qty[STOA_DECIMAL_TEXT_MAX];
    uint32_t best = trade_ladder_best(&self->ladder, side);
    market_level level = {0};
    if (best) { level = level_of(self, best, trade_ladder_level(&self->ladder, side, best)->qty_lots); }
    stoa_decimal_print(level.price, 0, price);
    stoa_decimal_print(level.qty, 0, qty);
    stoa_buf_printf(out, ",\"%s\":\"%s\",\"%s_qty\":\"%s\",\"%s_levels\":%" PRIu32, name, price, name, qty, name,
                    self->ladder.sides[side].levels.pool.used);
}

static void inspect(const void *state, stoa_buf *out)
{
    const trade_book *self = state;
    stoa_buf_puts(out, "{\"symbol\":");
    stoa_buf_json_string(out, self->symbol.name.at, self->symbol.name.len);
    print_best(self, trade_side_BUY, "bid", out);
    print_best(self, trade_side_SELL, "ask", out);
    stoa_buf_printf(out, ",\"orders\":%" PRIu32 ",\"trades\":%" PRIu64 ",\"last_id\":%" PRIu64 "}",
                    self->ladder.orders.pool.used, self->trades, self->updates);
}
