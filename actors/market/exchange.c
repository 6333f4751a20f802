/* exchange.c - kind market_exchange: the embedded market, a seeded flow of orders over a real matching book.
 *
 * A fair price walks at random, tick by tick. Around it orders rest on both sides; some are cancelled, some orders
 * take. They go to trade_book/SIM.SYMBOL as orders of account 0 (nobody), and what that book publishes is relayed to
 * the mirror market_book/sim.SYMBOL as the venue "sim": diffs, trades, and a snapshot whenever the mirror wants one.
 *
 * The flow depends on the seed alone, never on what came back or when: the same seed is the same market. At most
 * ORDERS_SIDE_MAX orders of a side rest (the oldest is cancelled before another comes), so that the book's depth
 * command, which shows 64 levels, always shows all of it and the snapshot is whole.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "actors/market/exchange_msgs.h"

#include "actors/market/book_msgs.h"
#include "actors/market/market.h"
#include "actors/trade/book_msgs.h"
#include "base/random.h"
#include "base/wire.h"

enum { ORDERS_SIDE_MAX = 60, STEPS_MAX = 64, PRIME_STEPS = 120 };
_Static_assert(ORDERS_SIDE_MAX <= (int)MARKET_LEVELS_MAX, "a snapshot must show every level");
#define ASK_NS STOA_S(5)

/* Orders of one side that may rest, oldest first from head. */
typedef struct resting {
    uint32_t head, count;
    uint64_t order_id[ORDERS_SIDE_MAX];
} resting;

/* Everything the next order depends on. */
typedef struct flow {
    stoa_random random;
    int64_t fair_ticks;
    uint64_t next_order_id, steps, rested, taken, cancelled;
    resting sides[trade_side_COUNT];
} flow;

typedef struct market_exchange {
    market_exchange_options options;
    trade_symbol symbol; /* as the simulated venue's book has it: "SIM.BTCUSDT" */
    flow flow;
    uint64_t held_up, diffs, trades, snapshots;
    stoa_ref book, mirror;
    bool open, standing;
} market_exchange;

#define market_exchange_HEARS(HEAR, K)                                                                                 \
    HEAR(K, market_feed, diff)                                                                                         \
    HEAR(K, market_feed, trade)                                                                                        \
    HEAR(K, market_book, wanted)                                                                                       \
    HEAR(K, market_book, heard)                                                                                        \
    HEAR(K, trade_book, done)                                                                                          \
    HEAR(K, trade_book, view)

STOA_PROXY(market_feed)
STOA_PROXY(market_book)
STOA_PROXY(trade_book)

static stoa_err start(stoa_turn *turn, void *state, const void *args);
static void inspect(const void *state, stoa_buf *out);
STOA_PLAIN_KIND(market_exchange, .start = start, .inspect = inspect, .args_bytes = sizeof(market_exchange_options),
                .mailbox_limit = 4096)

/* --- the flow */

static void set_default(uint32_t *value, uint32_t fallback)
{
    if (*value == 0) { *value = fallback; }
}

static stoa_err begin_flow(market_exchange *self, const market_exchange_options *options, uint64_t first_id)
{
    market_exchange_options *o = &self->options;
    *o = *options;
    if (o->interval_ns == 0) { o->interval_ns = STOA_MS(10); }
    set_default(&o->steps, 1);
    set_default(&o->walk_permille, 200);
    set_default(&o->take_permille, 100);
    set_default(&o->cancel_permille, 300);
    set_default(&o->spread_ticks, 40);
    set_default(&o->qty_lots_max, 1000);
    stoa_random_seed(&self->flow.random, o->seed);
    self->flow.next_order_id = first_id;
    if (o->symbol.tick <= 0 || o->symbol.lot <= 0 || o->steps > STEPS_MAX) { return STOA_E_INVALID; }
    stoa_err err = stoa_steps(o->price, o->symbol.tick, &self->flow.fair_ticks);
    if (!err && self->flow.fair_ticks <= o->spread_ticks) { err = STOA_E_RANGE; }
    return err;
}

static stoa_err cancel(stoa_turn *turn, market_exchange *self, uint64_t order_id)
{
    self->flow.cancelled++;
    return trade_book_send_cancel(turn, self->book, (trade_book_cancel){.order_id = order_id});
}

static stoa_err place(stoa_turn *turn, market_exchange *self, trade_side side, trade_tif tif, int64_t price_ticks)
{
    const trade_symbol *symbol = &self->symbol;
    int64_t most = symbol->qty_max > 0 ? symbol->qty_max / symbol->lot : INT64_MAX;
    int64_t least = symbol->qty_min > 0 ? (symbol->qty_min - 1) / symbol->lot : 0;
    int64_t lots = least + 1 + (int64_t)stoa_random_below(&self->flow.random, self->options.qty_lots_max);
    return trade_book_send_place(turn, self->book,
                                 (trade_book_place){.order_id = self->flow.next_order_id++,
                                                    .side = side,
                                                    .tif = tif,
                                                    .price_ticks = price_ticks,
                                                    .qty_lots = lots < most ? lots : most});
}

/* An order that reaches over the fair price and does not rest. */
static stoa_err take(stoa_turn *turn, market_exchange *self, trade_side side)
{
    int64_t reach = self->options.spread_ticks;
    self->flow.taken++;
    return place(turn, self, side, trade_tif_IOC, self->flow.fair_ticks + (side == trade_side_BUY ? reach : -reach));
}

static stoa_err rest(stoa_turn *turn, market_exchange *self, trade_side side)
{
    resting *of = &self->flow.sides[side];
    int64_t away = 1 + (int64_t)stoa_random_below(&self->flow.random, self->options.spread_ticks);
    stoa_err err = STOA_OK;
    if (of->count == ORDERS_SIDE_MAX) {
        err = cancel(turn, self, of->order_id[of->head]); /* filled long ago, maybe: then nothing happens */
        of->head = (of->head + 1) % ORDERS_SIDE_MAX;
        of->count--;
    }
    of->order_id[(of->head + of->count++) % ORDERS_SIDE_MAX] = self->flow.next_order_id;
    self->flow.rested++;
    return err ? err
               : place(turn, self, side, trade_tif_GTC,
                       self->flow.fair_ticks + (side == trade_side_BUY ? -away : away));
}

/* Any of the orders of a side; its place goes to the oldest. */
static stoa_err cancel_any(stoa_turn *turn, market_exchange *self, trade_side side)
{
    resting *of = &self->flow.sides[side];
    if (of->count == 0) { return STOA_OK; }
    uint32_t index = (of->head + (uint32_t)stoa_random_below(&self->flow.random, of->count)) % ORDERS_SIDE_MAX;
    uint64_t order_id = of->order_id[index];
    of->order_id[index] = of->order_id[of->head];
    of->head = (of->head + 1) % ORDERS_SIDE_MAX;
    of->count--;
    return cancel(turn, self, order_id);
}

/* Now and then the fair price moves; it stays where orders can rest below it. */
static void walk(market_exchange *self)
{
    flow *f = &self->flow;
    if (!stoa_random_chance(&f->random, self->options.walk_permille)) { return; }
    f->fair_ticks += stoa_random_below(&f->random, 2) ? 1 : -1;
    if (f->fair_ticks <= self->options.spread_ticks) { f->fair_ticks++; }
}

/* One step; FULL leaves the flow as it was, to be tried again. */
static stoa_err step(stoa_turn *turn, market_exchange *self)
{
    const market_exchange_options *o = &self->options;
    flow before = self->flow;
    walk(self);
    trade_side side = (trade_side)stoa_random_below(&self->flow.random, trade_side_COUNT);
    uint32_t chance = (uint32_t)stoa_random_below(&self->flow.random, 1000);
    stoa_err err;
    if (chance < o->take_permille) {
        err = take(turn, self, side);
    } else if (chance < o->take_permille + o->cancel_permille) {
        err = cancel_any(turn, self, side);
    } else {
        err = rest(turn, self, side);
    }
    self->flow.steps++;
    if (err) { self->flow = before; }
    return err;
}

/* --- handlers */

static stoa_err subscribe(stoa_turn *turn, const market_exchange *self, const char *what)
{
    char text[STOA_NAME_MAX + 1];
    stoa_buf topic = STOA_BUF_FIXED(text);
    stoa_buf_printf(&topic, "trade.%.*s.%s", STOA_TEXT_ARGS(&self->symbol.name), what);
    return stoa_turn_subscribe(turn, text);
}

static stoa_ref find(stoa_turn *turn, const char *kind, const stoa_text14 *symbol)
{
    char text[STOA_NAME_MAX + 1];
    stoa_buf name = STOA_BUF_FIXED(text);
    stoa_buf_printf(&name, "%s%.*s", kind, STOA_TEXT_ARGS(symbol));
    return stoa_turn_find(turn, text);
}

static stoa_err start(stoa_turn *turn, void *state, const void *args)
{
    market_exchange *self = state;
    char text[sizeof self->symbol.name.at + 8];
    stoa_buf name = STOA_BUF_FIXED(text);
    /* order ids of an earlier life may still rest in the book: begin above them */
    stoa_err err = begin_flow(self, args, turn->wall_ns);
    if (err) { return err; }
    self->symbol = self->options.symbol;
    stoa_buf_printf(&name, "SIM.%.*s", STOA_TEXT_ARGS(&self->options.symbol.name));
    err = STOA_TEXT_SET(&self->symbol.name, text, name.used_bytes);
    if (err) { return err; }
    self->book = find(turn, "trade_book/", &self->symbol.name);
    self->mirror = find(turn, "market_book/sim.", &self->options.symbol.name);
    if (!self->book.at || !self->mirror.at) { return STOA_E_NOT_FOUND; }
    err = subscribe(turn, self, "diff");
    if (!err) { err = subscribe(turn, self, "trade"); }
    return err ? err : trade_book_ask_open(turn, self->book, (trade_book_open){.symbol = self->symbol}, ASK_NS, 0);
}

static stoa_err market_exchange_on_trade_book_done(stoa_turn *turn, market_exchange *self, const trade_book_done *in)
{
    (void)in;
    if (turn->error) { return stoa_fail(turn, "the simulated book does not open"); }
    self->open = true;
    market_book_send_begin(turn, self->mirror, (market_book_begin){0});
    return market_exchange_after_tick(turn, 0, (market_exchange_tick){0}, &(stoa_timer){0});
}

static stoa_err market_exchange_on_tick(stoa_turn *turn, market_exchange *self, const market_exchange_tick *in)
{
    (void)in;
    uint32_t steps = self->flow.steps < PRIME_STEPS ? STEPS_MAX : self->options.steps;
    if (self->standing) { steps = 0; }
    for (uint32_t i = 0; i < steps; i++) {
        if (step(turn, self)) {
            self->held_up++;
            break;
        }
    }
    return market_exchange_after_tick(turn, self->options.interval_ns, (market_exchange_tick){0}, &(stoa_timer){0});
}

static stoa_err market_exchange_on_market_feed_diff(stoa_turn *turn, market_exchange *self,
                                                    const market_feed_diff *in)
{
    market_feed_diff row = *in;
    row.symbol = self->options.symbol.name;
    if (row.venue_time_ms == 0) { row.venue_time_ms = turn->wall_ns / STOA_MS(1); }
    self->diffs++;
    return market_feed_send_diff(turn, self->mirror, &row);
}

static stoa_err market_exchange_on_market_feed_trade(stoa_turn *turn, market_exchange *self,
                                                     const market_feed_trade *in)
{
    market_feed_trade row = *in;
    row.symbol = self->options.symbol.name;
    self->trades++;
    return market_feed_send_trade(turn, self->mirror, &row);
}

static stoa_err market_exchange_on_market_book_wanted(stoa_turn *turn, market_exchange *self,
                                                      const market_book_wanted *in)
{
    (void)in;
    if (!self->open) { return STOA_OK; } /* it wants again before long */
    return trade_book_ask_depth(turn, self->book, (trade_book_depth){.limit = MARKET_LEVELS_MAX}, ASK_NS, 0);
}

static stoa_err market_exchange_on_market_book_heard(stoa_turn *turn, market_exchange *self,
                                                     const market_book_heard *in)
{
    (void)turn, (void)self, (void)in; /* the flow is slower than any mirror */
    return STOA_OK;
}

static stoa_err market_exchange_on_trade_book_view(stoa_turn *turn, market_exchange *self, const trade_book_view *in)
{
    if (turn->error) { return STOA_OK; } /* the mirror wants again before long */
    self->snapshots++;
    return market_feed_send_snapshot(turn, self->mirror,
                                     &(market_feed_snapshot){.symbol = self->options.symbol.name,
                                                             .last_id = in->last_id,
                                                             .bids = in->bids,
                                                             .asks = in->asks});
}

static void look(const market_exchange *self, market_exchange_counts *out)
{
    *out = (market_exchange_counts){.symbol = self->options.symbol.name,
                                    .seed = self->options.seed,
                                    .fair = self->flow.fair_ticks * self->symbol.tick,
                                    .steps = self->flow.steps,
                                    .rested = self->flow.rested,
                                    .taken = self->flow.taken,
                                    .cancelled = self->flow.cancelled,
                                    .held_up = self->held_up,
                                    .diffs = self->diffs,
                                    .trades = self->trades,
                                    .snapshots = self->snapshots};
}

static stoa_err market_exchange_on_run(stoa_turn *turn, market_exchange *self, const market_exchange_run *in,
                                       market_exchange_counts *out)
{
    (void)turn;
    self->standing = !in->on;
    look(self, out);
    return STOA_OK;
}

static stoa_err market_exchange_on_status(stoa_turn *turn, market_exchange *self, const market_exchange_status *in,
                                          market_exchange_counts *out)
{
    (void)turn, (void)in;
    look(self, out);
    return STOA_OK;
}

static void inspect(const void *state, stoa_buf *out)
{
    market_exchange_counts shown;
    look(state, &shown);
    stoa_print_json(&market_exchange_rows[market_exchange_ROW_counts].payload, &shown, out);
}
