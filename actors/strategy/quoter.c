/* quoter.c - kind strategy_quoter: quotes both sides of our own book around the top of an outside market, and trades.
 *
 * It hears the mirror's top, decides two prices (quote.c), and keeps one order a side at them through its account:
 * place, and to move it cancel, then place. What it decides is an event with everything that decided; what it hears
 * and does not act upon leaves no trace but a sign of life now and then. So replay decides nothing, and a run can be
 * read from the log.
 *
 * One side:
 *              place              open                cancel               final
 *      IDLE ----------> PLACING ----------> WORKING ----------> CANCELLING ----------> IDLE
 *        ^                 | final             | final
 *        '-----------------'-------------------'      (refused, dropped: held for retry_ns before the next order)
 *
 * The account is the truth. Its answers and its published updates say how much of an order traded; reports may come
 * twice or late and change nothing then. An order whose fate is not known (no answer, a restart) is asked about by
 * its client order id, which derives from the count of orders placed, so none is ever placed twice.
 *
 * Invariants: at most one order a side is out; -inventory_max <= inventory <= inventory_max as far as its own orders
 * go. Handlers work on a copy of the state: each event is emitted and applied to the copy, and what follows is
 * decided on that.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "actors/strategy/quoter_msgs.h"

#include <string.h>

#include "actors/market/feed_msgs.h"
#include "actors/strategy/quote.h"
#include "actors/strategy/strategy.h"
#include "actors/trade/account_msgs.h"
#include "base/wire.h"
#include "runtime/actor.h"

#define ASK_NS STOA_S(5)
enum { SEEN_PER_STALE = 4, CLIENT_BITS = 32 };

typedef struct strategy_quoter {
    strategy_quoter_state is;
} strategy_quoter;

#define strategy_quoter_HEARS(HEAR, K)                                                                                 \
    HEAR(K, market_feed, top)                                                                                          \
    HEAR(K, trade_account, order)                                                                                      \
    HEAR(K, trade_account, update)

static stoa_err wake(stoa_turn *turn, const void *state);
static void inspect(const void *state, stoa_buf *out);
STOA_PROXY(trade_account)
STOA_KIND(strategy_quoter, .resume = wake, .inspect = inspect, .mailbox_limit = 4096)

/* --- events change the state */

static strategy_quoter_leg *leg_of(strategy_quoter *self, uint64_t side)
{
    return side == trade_side_BUY ? &self->is.bid : &self->is.ask;
}

static void strategy_quoter_apply_configured(strategy_quoter *self, const strategy_quoter_configured *event)
{
    STOA_ASSERT(event->config.tick > 0 && event->config.qty > 0 && event->config.inventory_max > 0);
    self->is.config = event->config;
    self->is.account = (uint32_t)event->account;
    if (self->is.mode != strategy_quoter_mode_PAUSED) { self->is.mode = strategy_quoter_mode_STALE; }
}

static void strategy_quoter_apply_switched(strategy_quoter *self, const strategy_quoter_switched *event)
{
    self->is.mode = event->mode;
}

static void strategy_quoter_apply_seen(strategy_quoter *self, const strategy_quoter_seen *event)
{
    self->is.seen_ns = event->at_ns;
    self->is.top_id = event->top_id;
    self->is.top_bid = event->bid;
    self->is.top_ask = event->ask;
}

static void strategy_quoter_apply_requoted(strategy_quoter *self, const strategy_quoter_requoted *event)
{
    self->is.requotes++;
    self->is.top_id = event->top_id;
    self->is.top_bid = event->top_bid;
    self->is.top_ask = event->top_ask;
    self->is.bid.want_price = event->want_bid;
    self->is.ask.want_price = event->want_ask;
}

static void strategy_quoter_apply_placed(strategy_quoter *self, const strategy_quoter_placed *event)
{
    strategy_quoter_leg *leg = leg_of(self, event->side);
    self->is.orders++;
    leg->order_id = 0;
    leg->client_order_id = event->client_order_id;
    leg->phase = strategy_quoter_phase_PLACING;
    leg->price = event->price;
    leg->qty = event->qty;
    leg->filled_qty = leg->filled_notional = 0;
    leg->asked_ns = event->at_ns;
}

static void strategy_quoter_apply_cancelled(strategy_quoter *self, const strategy_quoter_cancelled *event)
{
    strategy_quoter_leg *leg = leg_of(self, event->side);
    leg->phase = strategy_quoter_phase_CANCELLING;
    leg->asked_ns = event->at_ns;
}

static void strategy_quoter_apply_reported(strategy_quoter *self, const strategy_quoter_reported *event)
{
    strategy_quoter_leg *leg = leg_of(self, event->side);
    STOA_ASSERT(event->filled_qty >= leg->filled_qty && event->filled_notional >= leg->filled_notional); /* which began with 0 */
    stoa_decimal qty = event->filled_qty - leg->filled_qty, notional = event->filled_notional - leg->filled_notional;
    bool bought = event->side == trade_side_BUY;
    bool fits = !__builtin_add_overflow(self->is.inventory, bought ? qty : -qty, &self->is.inventory) &&
                !__builtin_add_overflow(self->is.cash, bought ? -notional : notional, &self->is.cash);
    STOA_ASSERT(fits);
    self->is.fills += qty != 0;
    self->is.refused += event->held;
    if (event->held) { leg->held_ns = event->at_ns; }
    leg->order_id = event->order_id;
    leg->filled_qty = event->filled_qty;
    leg->filled_notional = event->filled_notional;
    leg->phase = event->phase;
    if (event->phase == strategy_quoter_phase_IDLE) { leg->client_order_id = 0; }
}

/* --- a turn's plan: the state as it will be after the events emitted so far */

typedef struct plan {
    stoa_turn *turn;
    strategy_quoter next;
} plan;

#define NOTE(name)                                                                                                     \
    static stoa_err note_##name(plan *p, strategy_quoter_##name event)                                                 \
    {                                                                                                                  \
        stoa_err err = strategy_quoter_emit_##name(p->turn, event);                                                    \
        if (!err) { strategy_quoter_apply_##name(&p->next, &event); }                                                  \
        return err;                                                                                                    \
    }
NOTE(configured)
NOTE(switched)
NOTE(seen)
NOTE(requoted)
NOTE(placed)
NOTE(cancelled)
NOTE(reported)

static stoa_err switch_to(plan *p, strategy_quoter_mode mode)
{
    if (p->next.is.mode == mode) { return STOA_OK; }
    return note_switched(p, (strategy_quoter_switched){.mode = mode});
}

/* --- questions to the account; the token says which question an answer belongs to */

typedef enum question { Q_PLACE, Q_CANCEL, Q_QUERY, Q_COUNT } question;

static uint64_t token_of(uint64_t client_order_id, question asked)
{
    return client_order_id * Q_COUNT + asked;
}

/* A question that does not get through is as good as one without an answer: check asks about the order later. */
static void ask_place(plan *p, trade_side side)
{
    const strategy_quoter_leg *leg = leg_of(&p->next, side);
    trade_account_place order = {.client_order_id = leg->client_order_id,
                                 .symbol = p->next.is.config.symbol,
                                 .side = side,
                                 .tif = trade_tif_POST_ONLY,
                                 .price = leg->price,
                                 .qty = leg->qty};
    (void)trade_account_ask_place(p->turn, stoa_turn_peer(p->turn, p->next.is.account), order, ASK_NS,
                                  token_of(leg->client_order_id, Q_PLACE));
}

static void ask_cancel(plan *p, const strategy_quoter_leg *leg)
{
    (void)trade_account_ask_cancel(p->turn, stoa_turn_peer(p->turn, p->next.is.account),
                                   (trade_account_cancel){.client_order_id = leg->client_order_id}, ASK_NS,
                                   token_of(leg->client_order_id, Q_CANCEL));
}

static void ask_query(stoa_turn *turn, const strategy_quoter *self, const strategy_quoter_leg *leg)
{
    (void)trade_account_ask_query(turn, stoa_turn_peer(turn, self->is.account),
                                  (trade_account_query){.client_order_id = leg->client_order_id}, ASK_NS,
                                  token_of(leg->client_order_id, Q_QUERY));
}

/* --- deciding */

/* Bring one side's order to the wanted price, one step at a time. */
static stoa_err act(plan *p, trade_side side)
{
    const strategy_quoter_config *config = &p->next.is.config;
    strategy_quoter_leg *leg = leg_of(&p->next, side);
    uint64_t now = p->turn->wall_ns;
    if (leg->phase == strategy_quoter_phase_WORKING && leg->want_price != leg->price) {
        stoa_err err = note_cancelled(
            p, (strategy_quoter_cancelled){.client_order_id = leg->client_order_id, .side = side, .at_ns = now});
        if (!err) { ask_cancel(p, leg); }
        return err;
    }
    bool held = leg->held_ns && now < leg->held_ns + config->retry_ns;
    if (leg->phase != strategy_quoter_phase_IDLE || leg->want_price == 0 || held) { return STOA_OK; }
    uint64_t client_order_id = ((uint64_t)stoa_turn_stream(p->turn) << CLIENT_BITS) + p->next.is.orders + 1;
    stoa_err err = note_placed(p, (strategy_quoter_placed){.client_order_id = client_order_id,
                                                           .price = leg->want_price,
                                                           .qty = config->qty,
                                                           .side = side,
                                                           .at_ns = now});
    if (!err) { ask_place(p, side); }
    return err;
}

static stoa_err want(plan *p, uint64_t top_id, stoa_decimal bid, stoa_decimal ask, quote wanted)
{
    const strategy_quoter_state *is = &p->next.is;
    quote wants = {is->bid.want_price, is->ask.want_price};
    stoa_err err = STOA_OK;
    if (quote_moves(&is->config, wants, wanted)) {
        err = note_requoted(p, (strategy_quoter_requoted){.top_id = top_id,
                                                          .top_bid = bid,
                                                          .top_ask = ask,
                                                          .inventory = is->inventory,
                                                          .want_bid = wanted.bid,
                                                          .want_ask = wanted.ask,
                                                          .at_ns = p->turn->wall_ns});
    }
    if (!err) { err = act(p, trade_side_BUY); }
    return err ? err : act(p, trade_side_SELL);
}

/* Quote around a top. */
static stoa_err decide(plan *p, uint64_t top_id, stoa_decimal bid, stoa_decimal ask)
{
    quote wanted = {0, 0};
    if (p->next.is.mode == strategy_quoter_mode_QUOTING) {
        wanted = quote_around(&p->next.is.config, bid, ask, p->next.is.inventory);
    }
    return want(p, top_id, bid, ask, wanted);
}

/* Something else changed: quote again around the top that decided last. */
static stoa_err decide_again(plan *p)
{
    return decide(p, p->next.is.top_id, p->next.is.top_bid, p->next.is.top_ask);
}

/* --- the market speaks */

static bool followed(const strategy_quoter *self, stoa_turn *turn, const market_feed_top *in)
{
    const strategy_quoter_config *config = &self->is.config;
    char text[STOA_NAME_MAX + 1];
    stoa_buf topic = STOA_BUF_FIXED(text);
    if (self->is.mode == strategy_quoter_mode_UNCONFIGURED || !STOA_TEXT_EQ(&in->symbol, &config->symbol)) {
        return false;
    }
    stoa_buf_printf(&topic, "market.%.*s.%.*s.top", STOA_TEXT_ARGS(&config->venue), STOA_TEXT_ARGS(&config->symbol));
    return strcmp(text, stoa_turn_topic(turn)) == 0;
}

static stoa_err strategy_quoter_on_market_feed_top(stoa_turn *turn, const strategy_quoter *self,
                                                   const market_feed_top *in)
{
    if (!followed(self, turn, in)) { return STOA_OK; } /* of an earlier configuration */
    plan p = {.turn = turn, .next = *self};
    strategy_quoter_mode before = self->is.mode;
    bool two_sided = in->bid > 0 && in->ask > 0 && in->bid < in->ask;
    bool switches = before != strategy_quoter_mode_PAUSED &&
                    before != (two_sided ? strategy_quoter_mode_QUOTING : strategy_quoter_mode_ONE_SIDED);
    stoa_err err = STOA_OK;
    if (switches || turn->wall_ns - self->is.seen_ns >= self->is.config.stale_ns / SEEN_PER_STALE) {
        err = note_seen(&p, (strategy_quoter_seen){
                                .top_id = in->last_id, .bid = in->bid, .ask = in->ask, .at_ns = turn->wall_ns});
    }
    if (!err && switches) {
        err = switch_to(&p, two_sided ? strategy_quoter_mode_QUOTING : strategy_quoter_mode_ONE_SIDED);
    }
    return err ? err : decide(&p, in->last_id, in->bid, in->ask);
}

/* --- the account speaks */

static bool final(trade_status status)
{
    return status == trade_status_FILLED || status == trade_status_CANCELLED || status == trade_status_REJECTED ||
           status == trade_status_NONE;
}

/* The side whose order this is; NULL: none that is out. */
static const strategy_quoter_leg *leg_with(const strategy_quoter *self, uint64_t client_order_id, trade_side *side_out)
{
    bool bid = client_order_id && self->is.bid.client_order_id == client_order_id;
    bool ask = client_order_id && self->is.ask.client_order_id == client_order_id;
    *side_out = bid ? trade_side_BUY : trade_side_SELL;
    return bid ? &self->is.bid : ask ? &self->is.ask : NULL;
}

/* Where a side's order is, now that the account says this about it. asked: what it was asked, Q_COUNT for an
 * update. */
static strategy_quoter_phase phase_after(const strategy_quoter_leg *leg, trade_status status, question asked)
{
    if (final(status)) { return strategy_quoter_phase_IDLE; }
    bool cancel_lost = leg->phase == strategy_quoter_phase_CANCELLING && asked == Q_QUERY;
    if (leg->phase == strategy_quoter_phase_PLACING || cancel_lost) { return strategy_quoter_phase_WORKING; }
    return leg->phase;
}

static stoa_err take_report(stoa_turn *turn, const strategy_quoter *self, const trade_order *order, question asked)
{
    trade_side side;
    const strategy_quoter_leg *leg = leg_with(self, order->client_order_id, &side);
    if (!leg) { return STOA_OK; }
    strategy_quoter_phase phase = phase_after(leg, order->status, asked);
    bool traded = order->filled_qty > leg->filled_qty;
    if (!traded && phase == leg->phase) { return STOA_OK; }
    bool own_cancel = leg->phase == strategy_quoter_phase_CANCELLING;
    bool dropped = phase == strategy_quoter_phase_IDLE && order->status != trade_status_FILLED && !own_cancel;
    plan p = {.turn = turn, .next = *self};
    stoa_err err = note_reported(
        &p, (strategy_quoter_reported){.order_id = order->order_id,
                                       .client_order_id = order->client_order_id,
                                       .filled_qty = traded ? order->filled_qty : leg->filled_qty,
                                       .filled_notional = traded ? order->filled_notional : leg->filled_notional,
                                       .side = side,
                                       .status = order->status,
                                       .reason = order->reason,
                                       .phase = phase,
                                       .held = dropped,
                                       .at_ns = turn->wall_ns});
    return err ? err : decide_again(&p);
}

/* Errors behind which the order may or may not exist. */
static bool unknown(stoa_err err)
{
    return err == STOA_E_TIMEOUT || err == STOA_E_FAILED || err == STOA_E_UNAVAILABLE;
}

static stoa_err strategy_quoter_on_trade_account_order(stoa_turn *turn, const strategy_quoter *self,
                                                       const trade_account_order *in)
{
    question asked = (question)(turn->token % Q_COUNT);
    uint64_t client_order_id = turn->token / Q_COUNT;
    trade_side side;
    if (!turn->error) { return take_report(turn, self, &in->order, asked); }
    const strategy_quoter_leg *leg = leg_with(self, client_order_id, &side);
    if (!leg || unknown(turn->error)) { return STOA_OK; } /* check asks about it */
    if (asked == Q_CANCEL) {
        ask_query(turn, self, leg);
        return STOA_OK;
    }
    bool gone = asked == Q_PLACE || turn->error == STOA_E_NOT_FOUND;
    if (!gone) { return STOA_OK; }
    trade_order none = {.client_order_id = client_order_id, .side = side, .status = trade_status_NONE};
    return take_report(turn, self, &none, asked);
}

static stoa_err strategy_quoter_on_trade_account_update(stoa_turn *turn, const strategy_quoter *self,
                                                        const trade_account_update *in)
{
    return take_report(turn, self, &in->order, Q_COUNT);
}

/* --- time */

static uint64_t check_every(const strategy_quoter_config *config)
{
    uint64_t stale = config->stale_ns / SEEN_PER_STALE;
    return stale < config->retry_ns ? stale : config->retry_ns;
}

static stoa_err arm_check(stoa_turn *turn, const strategy_quoter_config *config)
{
    return strategy_quoter_after_check(turn, check_every(config), (strategy_quoter_check){0}, &(stoa_timer){0});
}

static void query_overdue(stoa_turn *turn, const strategy_quoter *self, const strategy_quoter_leg *leg)
{
    bool asking =
        leg->phase == strategy_quoter_phase_PLACING || leg->phase == strategy_quoter_phase_CANCELLING;
    if (asking && turn->wall_ns >= leg->asked_ns + self->is.config.retry_ns) { ask_query(turn, self, leg); }
}

static stoa_err strategy_quoter_on_check(stoa_turn *turn, const strategy_quoter *self,
                                         const strategy_quoter_check *in)
{
    (void)in;
    plan p = {.turn = turn, .next = *self};
    const strategy_quoter_config *config = &self->is.config;
    stoa_err err = arm_check(turn, config);
    bool heard = turn->wall_ns < self->is.seen_ns + config->stale_ns;
    bool quoting = self->is.mode == strategy_quoter_mode_QUOTING;
    if (!err && quoting && !heard) { err = switch_to(&p, strategy_quoter_mode_STALE); }
    query_overdue(turn, self, &self->is.bid);
    query_overdue(turn, self, &self->is.ask);
    return err ? err : decide_again(&p);
}

/* --- told what to do */

static stoa_err listen(stoa_turn *turn, const strategy_quoter_config *config)
{
    char text[STOA_NAME_MAX + 1];
    stoa_buf topic = STOA_BUF_FIXED(text);
    stoa_buf_printf(&topic, "market.%.*s.%.*s.top", STOA_TEXT_ARGS(&config->venue), STOA_TEXT_ARGS(&config->symbol));
    stoa_err err = topic.cut ? STOA_E_TOO_LARGE : stoa_turn_subscribe(turn, text);
    stoa_buf_clear(&topic);
    stoa_buf_printf(&topic, "trade.orders.%.*s", STOA_TEXT_ARGS(&config->account));
    return err ? err : stoa_turn_subscribe(turn, text);
}

static stoa_err check_config(const strategy_quoter_config *config)
{
    const stoa_decimal positive[] = {config->tick, config->qty, config->inventory_max};
    const stoa_decimal not_negative[] = {config->half_spread, config->requote, config->skew};
    for (size_t i = 0; i < sizeof positive / sizeof *positive; i++) {
        if (positive[i] <= 0 || not_negative[i] < 0) { return STOA_E_INVALID; }
    }
    if (config->venue.len == 0 || config->symbol.len == 0 || config->account.len == 0) { return STOA_E_INVALID; }
    if (config->qty > config->inventory_max) { return STOA_E_RANGE; }
    bool timely = config->stale_ns >= STOA_MS(100) && config->retry_ns >= STOA_MS(10) &&
                  config->stale_ns <= STOA_S(86400) && config->retry_ns <= STOA_S(86400);
    return timely ? STOA_OK : STOA_E_RANGE;
}

static bool same_market(const strategy_quoter_config *a, const strategy_quoter_config *b)
{
    return STOA_TEXT_EQ(&a->venue, &b->venue) && STOA_TEXT_EQ(&a->symbol, &b->symbol) &&
           STOA_TEXT_EQ(&a->account, &b->account);
}

static stoa_err strategy_quoter_on_configure(stoa_turn *turn, const strategy_quoter *self,
                                             const strategy_quoter_configure *in, strategy_quoter_done *out)
{
    (void)out;
    plan p = {.turn = turn, .next = *self};
    char text[STOA_NAME_MAX + 1];
    stoa_buf name = STOA_BUF_FIXED(text);
    bool first = self->is.mode == strategy_quoter_mode_UNCONFIGURED;
    bool idle = self->is.bid.phase == strategy_quoter_phase_IDLE && self->is.ask.phase == strategy_quoter_phase_IDLE;
    bool same = same_market(&self->is.config, &in->config);
    stoa_err err = check_config(&in->config);
    if (err) { return err; }
    if (!same && !idle) { return STOA_E_INVALID; }
    stoa_buf_printf(&name, "trade_account/%.*s", STOA_TEXT_ARGS(&in->config.account));
    uint32_t account = stoa_turn_peer_find(turn, text);
    if (!account) { return STOA_E_NOT_FOUND; }
    err = note_configured(&p, (strategy_quoter_configured){.config = in->config, .account = account});
    if (!err && !same) { err = listen(turn, &in->config); }
    if (!err && first) { err = arm_check(turn, &in->config); }
    return err ? err : decide_again(&p);
}

static stoa_err strategy_quoter_on_pause(stoa_turn *turn, const strategy_quoter *self, const strategy_quoter_pause *in,
                                         strategy_quoter_done *out)
{
    (void)in, (void)out;
    if (self->is.mode == strategy_quoter_mode_UNCONFIGURED) { return STOA_E_NOT_FOUND; }
    plan p = {.turn = turn, .next = *self};
    stoa_err err = switch_to(&p, strategy_quoter_mode_PAUSED);
    return err ? err : decide_again(&p);
}

static stoa_err strategy_quoter_on_resume(stoa_turn *turn, const strategy_quoter *self,
                                          const strategy_quoter_resume *in, strategy_quoter_done *out)
{
    (void)in, (void)out;
    if (self->is.mode == strategy_quoter_mode_UNCONFIGURED) { return STOA_E_NOT_FOUND; }
    if (self->is.mode != strategy_quoter_mode_PAUSED) { return STOA_OK; }
    plan p = {.turn = turn, .next = *self};
    return switch_to(&p, strategy_quoter_mode_STALE);
}

static stoa_err strategy_quoter_on_status(stoa_turn *turn, const strategy_quoter *self,
                                          const strategy_quoter_status *in, strategy_quoter_state *out)
{
    (void)turn, (void)in;
    *out = self->is;
    return STOA_OK;
}

/* After a start: listen again, ask what became of the orders that were out, and adopt those that rest. */
static stoa_err wake(stoa_turn *turn, const void *state)
{
    const strategy_quoter *self = state;
    if (self->is.mode == strategy_quoter_mode_UNCONFIGURED) { return STOA_OK; }
    stoa_err err = listen(turn, &self->is.config);
    if (!err) { err = arm_check(turn, &self->is.config); }
    if (self->is.bid.phase != strategy_quoter_phase_IDLE) { ask_query(turn, self, &self->is.bid); }
    if (self->is.ask.phase != strategy_quoter_phase_IDLE) { ask_query(turn, self, &self->is.ask); }
    return err;
}

static void inspect(const void *state, stoa_buf *out)
{
    const strategy_quoter *self = state;
    stoa_print_json(&strategy_quoter_rows[strategy_quoter_ROW_state].payload, &self->is, out);
}
