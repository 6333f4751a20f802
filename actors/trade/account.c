/* account.c - trade_account/NAME: an owner's balances and orders; the way of an order is in
 * actors/trade/account_msgs.h.
 *
 * What it remembers is split: account_ledger.c holds the money, account_orders.c the orders and transfers. A handler
 * looks at both, emits what happens and sends the next message of the cascade; the apply functions below change them,
 * and end with the ledger's invariant.
 *
 * A change of an order is published after its event. That message may be lost to a full memory budget without undoing
 * the change: the reader sees the gap in seq.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "actors/trade/account_msgs.h"

#include <inttypes.h>

#include "actors/risk/risk_msgs.h"
#include "actors/trade/account_ledger.h"
#include "actors/trade/account_orders.h"
#include "actors/trade/book_msgs.h"
#include "actors/trade/trade.h"

enum { SLOT_UPDATES = 0 };
#define WALLET UINT32_MAX /* in place of the stream of risk/main */

typedef struct trade_account {
    trade_ledger ledger;
    uint64_t seq;  /* of the last update */
    uint32_t risk; /* stream of risk/main; 0: the account is not open */
    uint16_t issuer, margin;
    trade_orders_known orders;
    trade_transfers transfers;
} trade_account;

static stoa_err resume(stoa_turn *turn, const void *state);
static void inspect(const void *state, stoa_buf *out);

STOA_PROXY(trade_book)
STOA_PROXY(risk)
#define trade_account_HEARS(HEAR, K) HEAR(K, stoa_system, undelivered)
STOA_KIND(trade_account, .resume = resume, .inspect = inspect)

static bool is_open(const trade_account *self)
{
    return self->risk != 0;
}

/* What is mailed is from nobody of this shard, and from outside nobody comes as one. */
static bool from_peer(const stoa_turn *turn, uint32_t stream)
{
    stoa_ref peer = stoa_turn_peer(turn, stream);
    return peer.at && stoa_ref_equal(turn->from, peer);
}

/* --- opening */
static stoa_err trade_account_on_open(stoa_turn *turn, const trade_account *self, const trade_account_open *in,
                                      trade_account_done *out)
{
    (void)out;
    if (in->issuer > 1 || in->margin > 1 || in->wallet > 1) { return STOA_E_INVALID; }
    bool alike = in->issuer == self->issuer && in->margin == self->margin && in->wallet == (self->risk == WALLET);
    if (is_open(self)) { return alike ? STOA_OK : STOA_E_EXISTS; }
    uint32_t risk = in->wallet ? 0 : stoa_turn_peer_find(turn, "risk/main");
    if (risk == 0 && !in->wallet) { return STOA_E_UNAVAILABLE; }
    return trade_account_emit_opened(
        turn, (trade_account_opened){.issuer = in->issuer, .margin = in->margin, .risk = risk, .wallet = in->wallet});
}

static void trade_account_apply_opened(trade_account *self, const trade_account_opened *event)
{
    self->issuer = (uint16_t)event->issuer;
    self->margin = (uint16_t)event->margin;
    self->risk = event->wallet ? WALLET : (uint32_t)event->risk;
}

static void check(const trade_account *self)
{
    trade_ledger_check(&self->ledger, self->issuer || self->margin);
}

/* --- transfers: the receiver is credited first, then the sender pays, both in one cascade. What the receiver refuses
 * has not happened, and what the sender had when it asked it still has when it pays. When it cannot pay, the cascade is
 * undone and with it the credit; so it is for fills, whose other side has them, and for what settles an order. */

/* Whether the account may part with the amount. Who owes an asset may not take out another, which is its collateral. */
static stoa_err may_send(const trade_account *self, const stoa_text6 *asset, stoa_decimal amount)
{
    if (self->issuer) { return trade_ledger_fits(&self->ledger, asset, -amount); }
    if (trade_ledger_free(&self->ledger, asset) < amount) { return STOA_E_RANGE; }
    return trade_ledger_owes(&self->ledger) ? STOA_E_DENIED : STOA_OK;
}

static stoa_err transfer_again(const trade_known_transfer *known, const trade_account_transfer *in, uint64_t to)
{
    bool alike = STOA_TEXT_EQ(&known->asset, &in->asset) && known->amount == in->amount;
    if (alike && known->to_stream == trade_transfer_far(&in->to, TRADE_TRANSFER_CAME_BACK)) { return STOA_E_CANCELLED; }
    return alike && known->to_stream == to ? STOA_OK : STOA_E_DUPLICATE;
}

/* To an account of another shard: the amount leaves now and is mailed. */
static stoa_err transfer_far(stoa_turn *turn, const trade_account_transfer *in, const char *name)
{
    trade_account_deposit deposit = {.transfer_id = in->transfer_id, .asset = in->asset, .amount = in->amount};
    stoa_err err = trade_account_mail_deposit(turn, name, deposit, in->transfer_id);
    if (err) { return err; }
    return trade_account_emit_mailed(turn, (trade_account_mailed){.transfer_id = in->transfer_id,
                                                                  .to = in->to,
                                                                  .asset = in->asset,
                                                                  .amount = in->amount});
}

static void trade_account_apply_mailed(trade_account *self, const trade_account_mailed *event)
{
    STOA_ASSERT(event->amount > 0);
    trade_ledger_move(&self->ledger, &event->asset, -event->amount);
    trade_transfers_add(&self->transfers,
                        &(trade_known_transfer){.transfer_id = event->transfer_id,
                                                .to_stream = trade_transfer_far(&event->to, TRADE_TRANSFER_FAR),
                                                .asset = event->asset,
                                                .amount = event->amount});
    check(self);
}

static stoa_err may_receive(const trade_account *self, const stoa_text6 *asset, stoa_decimal amount)
{
    if (!is_open(self)) { return STOA_E_NOT_FOUND; }
    return trade_ledger_asset_room(&self->ledger, asset) ? trade_ledger_fits(&self->ledger, asset, amount) : STOA_E_NOMEM;
}

static stoa_err trade_account_on_deposit(stoa_turn *turn, const trade_account *self, const trade_account_deposit *in)
{
    trade_account_deposited event = {.transfer_id = in->transfer_id, .asset = in->asset, .amount = in->amount};
    const char *from = stoa_turn_mailed_by(turn);
    if (!strstr(from, ":trade_account/") || in->amount <= 0) { return STOA_E_DENIED; }
    stoa_err err = may_receive(self, &in->asset, in->amount);
    if (!err) { err = STOA_TEXT_SETZ(&event.from, from); }
    return err ? err : trade_account_emit_deposited(turn, event);
}

static void trade_account_apply_deposited(trade_account *self, const trade_account_deposited *event)
{
    STOA_ASSERT(event->amount > 0);
    trade_ledger_move(&self->ledger, &event->asset, event->amount);
    check(self);
}

static stoa_err trade_account_on_stoa_system_undelivered(stoa_turn *turn, const trade_account *self,
                                                         const stoa_system_undelivered *in)
{
    (void)self;
    trade_account_deposit deposit;
    stoa_err err = trade_account_returned_deposit(turn, &deposit);
    if (err) { return err; }
    return trade_account_emit_returned(turn, (trade_account_returned){.transfer_id = deposit.transfer_id,
                                                                      .asset = deposit.asset,
                                                                      .amount = deposit.amount,
                                                                      .error = in->error});
}

static void trade_account_apply_returned(trade_account *self, const trade_account_returned *event)
{
    STOA_ASSERT(event->amount > 0);
    trade_ledger_move(&self->ledger, &event->asset, event->amount);
    trade_transfers_return(&self->transfers, event->transfer_id);
    check(self);
}

static stoa_err trade_account_on_transfer(stoa_turn *turn, const trade_account *self, const trade_account_transfer *in,
                                          trade_account_done *out)
{
    (void)out;
    if (!is_open(self)) { return STOA_E_NOT_FOUND; }
    if (in->transfer_id == 0 || in->amount <= 0 || in->asset.len == 0) { return STOA_E_INVALID; }
    char name[STOA_NAME_MAX + 1];
    stoa_buf text = STOA_BUF_FIXED(name);
    stoa_buf_printf(&text, "trade_account/%.*s", STOA_TEXT_ARGS(&in->to));
    if (text.cut) { return STOA_E_NOT_FOUND; }
    uint32_t near = stoa_turn_peer_find(turn, name);
    uint64_t to = near ? near : trade_transfer_far(&in->to, TRADE_TRANSFER_FAR);
    if (near == stoa_turn_stream(turn)) { return STOA_E_INVALID; }

    const trade_known_transfer *known = trade_transfers_find(&self->transfers, in->transfer_id);
    if (known) { return transfer_again(known, in, to); }
    if (in->transfer_id <= self->transfers.forgotten) { return STOA_E_STALE; }
    if (!trade_ledger_asset_room(&self->ledger, &in->asset)) { return STOA_E_NOMEM; }
    stoa_err err = may_send(self, &in->asset, in->amount);
    if (err) { return err; }
    if (!near) { return transfer_far(turn, in, name); }
    return trade_account_forward_credit(turn, stoa_turn_peer(turn, near),
                                        (trade_account_credit){.transfer_id = in->transfer_id,
                                                               .asset = in->asset,
                                                               .amount = in->amount,
                                                               .from_stream = stoa_turn_stream(turn)});
}

static stoa_err trade_account_on_credit(stoa_turn *turn, const trade_account *self, const trade_account_credit *in)
{
    if (!from_peer(turn, (uint32_t)in->from_stream)) { return STOA_E_DENIED; }
    stoa_err err = may_receive(self, &in->asset, in->amount);
    if (err) { return err; }
    err = trade_account_emit_credited(turn, (trade_account_credited){.transfer_id = in->transfer_id,
                                                                     .asset = in->asset,
                                                                     .amount = in->amount,
                                                                     .from_stream = in->from_stream});
    if (err) { return err; }
    return trade_account_forward_paid(turn, turn->from,
                                      (trade_account_paid){.transfer_id = in->transfer_id,
                                                           .asset = in->asset,
                                                           .amount = in->amount,
                                                           .to_stream = stoa_turn_stream(turn)});
}

static void trade_account_apply_credited(trade_account *self, const trade_account_credited *event)
{
    STOA_ASSERT(event->amount > 0);
    trade_ledger_move(&self->ledger, &event->asset, event->amount);
    check(self);
}

static stoa_err trade_account_on_paid(stoa_turn *turn, const trade_account *self, const trade_account_paid *in)
{
    (void)self;
    if (!from_peer(turn, (uint32_t)in->to_stream)) { return STOA_E_DENIED; }
    stoa_err err = trade_account_emit_sent(turn, (trade_account_sent){.transfer_id = in->transfer_id,
                                                                      .to_stream = in->to_stream,
                                                                      .asset = in->asset,
                                                                      .amount = in->amount});
    if (err) { return stoa_turn_undo(turn, err); }
    (void)trade_account_answer_done(turn, (trade_account_done){{0}}); /* the other side has the money */
    return STOA_OK;
}

static void trade_account_apply_sent(trade_account *self, const trade_account_sent *event)
{
    STOA_ASSERT(event->amount > 0);
    trade_ledger_move(&self->ledger, &event->asset, -event->amount);
    trade_transfers_add(&self->transfers, &(trade_known_transfer){.transfer_id = event->transfer_id,
                                                                  .to_stream = event->to_stream,
                                                                  .asset = event->asset,
                                                                  .amount = event->amount});
    check(self);
}

/* --- placing an order */
static void publish(stoa_turn *turn, const trade_account *self, const trade_order *view)
{
    (void)trade_account_publish_update(turn, SLOT_UPDATES,
                                       &(trade_account_update){.seq = self->seq + 1, .order = *view});
}

static trade_request request_of(const trade_account_place *in)
{
    trade_request request;
    _Static_assert(sizeof request == sizeof *in, "place is a request");
    memcpy(&request, in, sizeof request);
    return request;
}

static bool same_request(const trade_order *known, const trade_account_place *in)
{
    return STOA_TEXT_EQ(&known->symbol, &in->symbol) && known->side == in->side && known->tif == in->tif &&
           known->price == in->price && known->qty == in->qty;
}

/* Have risk judge the request against what the account is in these assets. */
static stoa_err ask_risk(stoa_turn *turn, const trade_account *self, const trade_request *request, uint32_t symbol,
                         const stoa_text6 *base, const stoa_text6 *quote)
{
    risk_exposure exposure = {.account = stoa_turn_stream(turn), .margin = self->margin, .issuer = self->issuer};
    stoa_err err = trade_ledger_measure(&self->ledger, symbol, base, quote, turn->wall_ns, &exposure);
    if (err) { return err; }
    return risk_forward_ask(turn, stoa_turn_peer(turn, self->risk), (risk_ask){.order = *request, .account = exposure});
}

static stoa_err trade_account_on_place(stoa_turn *turn, const trade_account *self, const trade_account_place *in,
                                       trade_account_order *out)
{
    if (!is_open(self)) { return STOA_E_NOT_FOUND; }
    if (self->risk == WALLET) { return STOA_E_UNSUPPORTED; }
    if (in->client_order_id == 0) { return STOA_E_INVALID; }
    const trade_known_order *known = trade_orders_find_client(&self->orders, in->client_order_id);
    if (known) {
        if (!same_request(&known->view, in)) { return STOA_E_DUPLICATE; }
        out->order = known->view;
        return STOA_OK;
    }
    if (in->client_order_id <= self->orders.forgotten) { return STOA_E_STALE; }

    trade_request request = request_of(in);
    uint32_t symbol = trade_ledger_symbol_find(&self->ledger, &in->symbol);
    if (symbol == 0) {
        return risk_forward_rules(turn, stoa_turn_peer(turn, self->risk), (risk_rules){.order = request});
    }
    const trade_ledger_symbol *s = &self->ledger.symbols[symbol];
    return ask_risk(turn, self, &request, symbol, &self->ledger.assets[s->base].name,
                    &self->ledger.assets[s->quote].name);
}

static stoa_err trade_account_on_rules(stoa_turn *turn, const trade_account *self, const trade_account_rules *in)
{
    if (!from_peer(turn, self->risk)) { return STOA_E_DENIED; }
    const trade_symbol *s = &in->symbol;
    uint32_t listed = trade_ledger_symbol_find(&self->ledger, &s->name); /* by another order of the same turn */
    if (listed) { return ask_risk(turn, self, &in->order, listed, &s->base, &s->quote); }
    if (!trade_ledger_symbol_room(&self->ledger, &s->base, &s->quote)) { return STOA_E_NOMEM; }
    stoa_err err = trade_account_emit_listed(
        turn,
        (trade_account_listed){.symbol = s->name, .base = s->base, .quote = s->quote, .tick = s->tick, .lot = s->lot});
    return err ? err : ask_risk(turn, self, &in->order, 0, &s->base, &s->quote);
}

static void trade_account_apply_listed(trade_account *self, const trade_account_listed *event)
{
    trade_ledger_symbol_add(&self->ledger, event);
}

static stoa_err reject(stoa_turn *turn, const trade_account *self, const trade_account_verdict *in, trade_reason reason)
{
    stoa_err err = trade_account_emit_rejected(
        turn, (trade_account_rejected){
                  .order_id = in->order_id, .order = in->order, .reason = reason, .placed_ns = turn->wall_ns});
    if (err) { return err; }
    trade_order view = trade_order_new(in->order_id, &in->order, trade_status_REJECTED, reason, turn->wall_ns);
    publish(turn, self, &view);
    return trade_account_answer_order(turn, (trade_account_order){.order = view});
}

static void trade_account_apply_rejected(trade_account *self, const trade_account_rejected *event)
{
    trade_order view = trade_order_new(event->order_id, &event->order, trade_status_REJECTED, event->reason, event->placed_ns);
    trade_orders_add(&self->orders, &view, trade_ledger_symbol_find(&self->ledger, &view.symbol), 0);
    self->seq++;
}

static stoa_err take_verdict(stoa_turn *turn, const trade_account *self, const trade_account_verdict *in)
{
    if (in->reason) { return reject(turn, self, in, in->reason); }
    if (self->orders.open >= TRADE_OPEN_ORDERS_MAX) { return reject(turn, self, in, trade_reason_TOO_MANY_ORDERS); }
    stoa_err err = trade_account_emit_ordered(
        turn, (trade_account_ordered){
                  .order_id = in->order_id, .order = in->order, .book = in->book, .placed_ns = turn->wall_ns});
    if (err) { return err; }
    trade_order view = trade_order_new(in->order_id, &in->order, trade_status_NEW, trade_reason_NONE, turn->wall_ns);
    publish(turn, self, &view);
    return trade_book_forward_place(turn, stoa_turn_peer(turn, in->book),
                                    (trade_book_place){.order_id = in->order_id,
                                                       .account = stoa_turn_stream(turn),
                                                       .side = in->order.side,
                                                       .tif = in->order.tif,
                                                       .price_ticks = in->price_ticks,
                                                       .qty_lots = in->qty_lots});
}

static stoa_err trade_account_on_verdict(stoa_turn *turn, const trade_account *self, const trade_account_verdict *in)
{
    if (!from_peer(turn, self->risk)) { return STOA_E_DENIED; }
    return stoa_turn_undo(turn, take_verdict(turn, self, in));
}

static void trade_account_apply_ordered(trade_account *self, const trade_account_ordered *event)
{
    trade_order view = trade_order_new(event->order_id, &event->order, trade_status_NEW, trade_reason_NONE, event->placed_ns);
    uint32_t symbol = trade_ledger_symbol_find(&self->ledger, &view.symbol);
    STOA_ASSERT(symbol && view.price > 0 && view.qty > 0 && self->orders.open < TRADE_OPEN_ORDERS_MAX);
    trade_ledger_reserve(&self->ledger, symbol, view.side, view.price, view.qty);
    trade_orders_add(&self->orders, &view, symbol, (uint32_t)event->book);
    self->seq++;
    check(self);
}

/* --- what the book tells of an order */
static stoa_err trade_account_on_fill(stoa_turn *turn, const trade_account *self, const trade_account_fill *in)
{
    const trade_known_order *order = trade_orders_find(&self->orders, in->order_id);
    if (!order) { return STOA_E_NOT_FOUND; }
    if (!from_peer(turn, order->book)) { return STOA_E_DENIED; }
    const trade_ledger_symbol *s = &self->ledger.symbols[order->symbol];
    trade_account_filled event = {.order_id = in->order_id,
                                  .trade_id = in->trade_id,
                                  .price = in->price_ticks * s->tick,
                                  .qty = in->qty_lots * s->lot,
                                  .maker = in->maker,
                                  .at_ns = turn->wall_ns};
    stoa_err err = trade_account_emit_filled(turn, event);
    if (err) { return stoa_turn_undo(turn, err); }
    trade_order view = order->view;
    trade_order_fill(&view, &event);
    publish(turn, self, &view);
    return STOA_OK;
}

static void trade_account_apply_filled(trade_account *self, const trade_account_filled *event)
{
    const trade_known_order *order = trade_orders_find(&self->orders, event->order_id);
    STOA_ASSERT(order && !trade_status_final(order->view.status) && event->price > 0);
    STOA_ASSERT(event->qty > 0 && event->qty <= order->view.qty - order->view.filled_qty);
    trade_order view = order->view;
    trade_ledger_trade(&self->ledger, order->symbol, view.side, view.price, event->price, event->qty, event->at_ns);
    trade_order_fill(&view, event);
    trade_orders_change(&self->orders, &view);
    self->seq++;
    check(self);
}

static void trade_account_apply_rested(trade_account *self, const trade_account_rested *event)
{
    const trade_known_order *order = trade_orders_find(&self->orders, event->order_id);
    STOA_ASSERT(order && !trade_status_final(order->view.status));
    trade_order view = order->view;
    trade_order_rest(&view, event->at_ns);
    trade_orders_change(&self->orders, &view);
    self->seq++;
}

static void trade_account_apply_closed(trade_account *self, const trade_account_closed *event)
{
    const trade_known_order *order = trade_orders_find(&self->orders, event->order_id);
    STOA_ASSERT(order && !trade_status_final(order->view.status) && trade_status_final(event->status));
    trade_order view = order->view;
    trade_ledger_release(&self->ledger, order->symbol, view.side, view.price, view.qty - view.filled_qty);
    trade_order_close(&view, event);
    trade_orders_change(&self->orders, &view);
    self->seq++;
    check(self);
}

/* Emit what settled means for the order, and change the view accordingly. */
static stoa_err emit_settled(stoa_turn *turn, const trade_account_settled *in, trade_order *view)
{
    if (in->status == trade_status_OPEN) {
        trade_order_rest(view, turn->wall_ns);
        return trade_account_emit_rested(turn,
                                         (trade_account_rested){.order_id = in->order_id, .at_ns = turn->wall_ns});
    }
    STOA_ASSERT(in->status == trade_status_CANCELLED); /* a filled one is final with its last fill */
    trade_account_closed event = {
        .order_id = in->order_id, .status = in->status, .reason = in->reason, .at_ns = turn->wall_ns};
    trade_order_close(view, &event);
    return trade_account_emit_closed(turn, event);
}

static stoa_err trade_account_on_settled(stoa_turn *turn, const trade_account *self, const trade_account_settled *in)
{
    const trade_known_order *order = trade_orders_find(&self->orders, in->order_id);
    if (!order) { return STOA_E_NOT_FOUND; }
    if (!from_peer(turn, order->book)) { return STOA_E_DENIED; }
    trade_order view = order->view;
    if (!trade_status_final(view.status)) {
        stoa_err err = emit_settled(turn, in, &view);
        if (err) { return stoa_turn_undo(turn, err); }
        publish(turn, self, &view);
    }
    (void)trade_account_answer_order(turn, (trade_account_order){.order = view}); /* it has happened all the same */
    return STOA_OK;
}

/* --- cancelling and looking */
static stoa_err trade_account_on_cancel(stoa_turn *turn, const trade_account *self, const trade_account_cancel *in,
                                        trade_account_order *out)
{
    const trade_known_order *order = trade_orders_find_either(&self->orders, in->order_id, in->client_order_id);
    if (!order) { return STOA_E_NOT_FOUND; }
    if (trade_status_final(order->view.status)) {
        out->order = order->view;
        return STOA_OK;
    }
    return trade_book_forward_cancel(
        turn, stoa_turn_peer(turn, order->book),
        (trade_book_cancel){.order_id = order->view.order_id, .account = stoa_turn_stream(turn)});
}

static stoa_err trade_account_on_query(stoa_turn *turn, const trade_account *self, const trade_account_query *in,
                                       trade_account_order *out)
{
    (void)turn;
    const trade_known_order *order = trade_orders_find_either(&self->orders, in->order_id, in->client_order_id);
    if (!order) { return STOA_E_NOT_FOUND; }
    out->order = order->view;
    return STOA_OK;
}

static stoa_err trade_account_on_orders(stoa_turn *turn, const trade_account *self, const trade_account_orders *in,
                                        trade_account_page *out)
{
    (void)turn;
    if (!is_open(self)) { return STOA_E_NOT_FOUND; }
    trade_orders_page(&self->orders, in->after_order_id, in->open_only != 0, out);
    out->seq = self->seq;
    return STOA_OK;
}

static stoa_err trade_account_on_balances(stoa_turn *turn, const trade_account *self, const trade_account_balances *in,
                                          trade_account_holdings *out)
{
    (void)in;
    if (!is_open(self)) { return STOA_E_NOT_FOUND; }
    out->open_orders = self->orders.open;
    return trade_ledger_holdings(&self->ledger, turn->wall_ns, out);
}

static stoa_err resume(stoa_turn *turn, const void *state)
{
    (void)state;
    char topic[STOA_NAME_MAX + 1];
    stoa_buf text = STOA_BUF_FIXED(topic);
    stoa_buf_printf(&text, "trade.orders.%s", stoa_turn_key(turn));
    return text.cut ? STOA_E_TOO_LARGE : stoa_turn_bind(turn, SLOT_UPDATES, topic);
}

static void inspect(const void *state, stoa_buf *out)
{
    const trade_account *self = state;
    stoa_buf_printf(out,
                    "{\"open\":%s,\"issuer\":%u,\"margin\":%u,\"seq\":%" PRIu64 ",\"open_orders\":%" PRIu32
                    ",\"known_orders\":%" PRIu32 ",\"balances\":[",
                    is_open(self) ? "true" : "false", self->issuer, self->margin, self->seq, self->orders.open,
                    self->orders.pool.pool.used);
    trade_ledger_print(&self->ledger, out);
    stoa_buf_puts(out, "]}");
}
