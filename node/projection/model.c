/* model.c - what each event changes. The table at the end says which function takes which event.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "node/projection/model.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "actors/trade/book_msgs.h"
#include "node/projection/model_inside.h"

typedef stoa_err (*applier)(stoa_model *model, const stoa_event_view *event);

/* --- small things */

static stoa_err unknown(const char *table, const char *what, uint64_t id)
{
    return STOA_FAIL(STOA_E_CORRUPT, "table %s: the event speaks of %s %llu, which the model does not know", table, what,
                     (unsigned long long)id);
}

static stoa_err too_many(const char *table)
{
    return STOA_FAIL(STOA_E_CORRUPT, "table %s: more rows for one account than there can be", table);
}

/* What an order of that size is worth; exact for whole ticks and lots. */
static model_amount notional(stoa_decimal price, stoa_decimal qty)
{
    return (model_amount)price * qty / STOA_DECIMAL_ONE;
}

static void touch(model_row *row, const stoa_event_view *event)
{
    row->changed_ns = event->wall_ns;
    row->seq = event->position;
    row->dirty = true;
}

static stoa_err touch_account(stoa_model *model, model_account *account)
{
    if (account->listed) { return STOA_OK; }
    stoa_err err = model_list_add(&model->dirty_accounts, account->stream);
    if (!err) { account->listed = true; }
    return err;
}

/* The account that emitted the event; it was opened. */
static stoa_err emitter(stoa_model *model, const stoa_event_view *event, model_account **out)
{
    stoa_err err = model_account_at(model, event->stream, out);
    if (!err && !(*out)->opened) { err = unknown("users", "account", event->stream); }
    return err ? err : touch_account(model, *out);
}

static const char *key_of(const stoa_event_view *event)
{
    const char *slash = strchr(event->actor, '/');
    return slash ? slash + 1 : event->actor;
}

/* --- users, limits */

static stoa_err on_opened(stoa_model *model, const stoa_event_view *event)
{
    const trade_account_opened *in = event->payload;
    model_account *account;
    stoa_err err = model_account_at(model, event->stream, &account);
    if (!err) { err = touch_account(model, account); }
    if (err) { return err; }
    const char *name = key_of(event);
    (void)snprintf(account->name, sizeof account->name, "%s", name);
    account->id = stoa_projection_id(model->spaces[STOA_MODEL_USERS], stoa_projection_number(name, strlen(name)));
    account->opened = true;
    account->issuer = in->issuer != 0;
    account->margin = in->margin != 0;
    account->opened_ns = event->wall_ns;
    touch(&account->user, event);
    touch(&account->limits_row, event);
    return STOA_OK;
}

/* The account's own `opened` comes first: the node opens accounts before it tells risk of them. */
static stoa_err on_limit_set(stoa_model *model, const stoa_event_view *event)
{
    const risk_limit_set *in = event->payload;
    model_account *account;
    stoa_err err = model_account_at(model, in->account, &account);
    if (!err && !account->opened) { err = unknown("risk_limits", "account", in->account); }
    if (!err) { err = touch_account(model, account); }
    if (err) { return err; }
    account->limits = in->limits;
    touch(&account->limits_row, event);
    return STOA_OK;
}

/* --- symbols, market data */

static stoa_err on_symbol_set(stoa_model *model, const stoa_event_view *event)
{
    const risk_symbol_set *in = event->payload;
    uint32_t place;
    stoa_err err = model_symbol_at(model, &in->symbol.name, &place);
    if (err) { return err; }
    model_symbol *symbol = &model->symbols[place];
    symbol->rules = in->symbol;
    symbol->active = in->book != 0;
    touch(&symbol->row, event);
    return STOA_OK;
}

/* A trade counts into its minute, or into the one under way where the clock went back: a minute that is over stays as it is. */
static void count_into_bar(stoa_model *model, model_symbol *symbol, const stoa_event_view *event, stoa_decimal price,
                           model_amount qty)
{
    model_bar *bar = &symbol->bar;
    uint64_t minute = event->wall_ns / (MODEL_MINUTE_S * UINT64_C(1000000000));
    if (bar->minute < minute) {
        model_put_bar(model, symbol);
        *bar = (model_bar){.minute = minute, .high = price, .low = price};
    }
    bar->price = price;
    bar->volume += qty;
    if (price > bar->high) { bar->high = price; }
    if (price < bar->low) { bar->low = price; }
    touch(&bar->row, event);
}

static stoa_err on_traded(stoa_model *model, const stoa_event_view *event)
{
    const trade_book_traded *in = event->payload;
    const char *name = key_of(event);
    stoa_text14 symbol;
    stoa_err err = STOA_TEXT_SETZ(&symbol, name);
    uint32_t place = err ? 0 : model_symbol_find(model, &symbol);
    if (!place) { return STOA_FAIL(STOA_E_CORRUPT, "table market_data: the event speaks of a market %s, which the model does not know", name); }
    model_symbol *s = &model->symbols[place];
    stoa_decimal price;
    if (__builtin_mul_overflow(in->price_ticks, s->rules.tick, &price)) { return STOA_FAIL(STOA_E_RANGE, "table market_data: price"); }
    count_into_bar(model, s, event, price, (model_amount)in->qty_lots * s->rules.lot);
    return STOA_OK;
}

/* --- balances */

static stoa_err move(model_account *account, const stoa_event_view *event, const stoa_text6 *asset, model_amount free,
                     model_amount reserved)
{
    model_balance *balance = model_balance_of(account, asset);
    if (!balance) { return too_many("balances"); }
    balance->free += free;
    balance->reserved += reserved;
    touch(&balance->row, event);
    return STOA_OK;
}

static stoa_err on_sent(stoa_model *model, const stoa_event_view *event)
{
    const trade_account_sent *in = event->payload;
    model_account *account;
    stoa_err err = emitter(model, event, &account);
    return err ? err : move(account, event, &in->asset, -(model_amount)in->amount, 0);
}

static stoa_err on_credited(stoa_model *model, const stoa_event_view *event)
{
    const trade_account_credited *in = event->payload;
    model_account *account;
    stoa_err err = emitter(model, event, &account);
    return err ? err : move(account, event, &in->asset, in->amount, 0);
}

/* To and from accounts of other shards: what is under way stands in no row. */
static stoa_err on_mailed(stoa_model *model, const stoa_event_view *event)
{
    const trade_account_mailed *in = event->payload;
    model_account *account;
    stoa_err err = emitter(model, event, &account);
    return err ? err : move(account, event, &in->asset, -(model_amount)in->amount, 0);
}

static stoa_err on_deposited(stoa_model *model, const stoa_event_view *event)
{
    const trade_account_deposited *in = event->payload;
    model_account *account;
    stoa_err err = emitter(model, event, &account);
    return err ? err : move(account, event, &in->asset, in->amount, 0);
}

static stoa_err on_returned(stoa_model *model, const stoa_event_view *event)
{
    const trade_account_returned *in = event->payload;
    model_account *account;
    stoa_err err = emitter(model, event, &account);
    return err ? err : move(account, event, &in->asset, in->amount, 0);
}

static stoa_err on_listed(stoa_model *model, const stoa_event_view *event)
{
    const trade_account_listed *in = event->payload;
    model_account *account;
    stoa_err err = emitter(model, event, &account);
    if (!err) { err = move(account, event, &in->base, 0, 0); }
    return err ? err : move(account, event, &in->quote, 0, 0);
}

/* An order, or a part of it, becomes open (sign 1) or is so no longer (sign -1): a buy reserves quote at its limit. */
static stoa_err reserve(stoa_model *model, model_order *order, const stoa_event_view *event, stoa_decimal qty, int sign)
{
    const trade_symbol *rules = &model->symbols[order->symbol].rules;
    bool buys = order->side == trade_side_BUY;
    model_amount amount = sign * (buys ? notional(order->price, qty) : (model_amount)qty);
    return move(order->account, event, buys ? &rules->quote : &rules->base, -amount, amount);
}

/* --- orders */

static stoa_err touch_order(stoa_model *model, uint32_t place, const stoa_event_view *event)
{
    model_order *order = &model->orders[place];
    stoa_err err = order->row.dirty ? STOA_OK : model_list_add(&model->dirty_orders, place);
    if (err) { return err; }
    touch(&order->row, event);
    model_put_history(model, order, event->position);
    return STOA_OK;
}

static stoa_err new_order(stoa_model *model, const stoa_event_view *event, uint64_t number, const trade_request *request,
                          uint64_t placed_ns, uint32_t *place_out)
{
    model_account *account;
    uint32_t symbol = model_symbol_find(model, &request->symbol), place;
    stoa_err err = emitter(model, event, &account);
    if (!err && !symbol) { err = unknown("orders", "the symbol of order", number); }
    if (!err) { err = model_order_add(model, number, &place); }
    if (err) { return err; }
    model_order *order = &model->orders[place];
    *order = (model_order){.number = number, .client_order_id = request->client_order_id, .placed_ns = placed_ns,
                           .price = request->price, .qty = request->qty, .account = account, .symbol = symbol,
                           .side = request->side, .tif = request->tif, .status = trade_status_NEW};
    *place_out = place;
    return STOA_OK;
}

static stoa_err on_ordered(stoa_model *model, const stoa_event_view *event)
{
    const trade_account_ordered *in = event->payload;
    uint32_t place;
    stoa_err err = new_order(model, event, in->order_id, &in->order, in->placed_ns, &place);
    if (!err) { err = reserve(model, &model->orders[place], event, in->order.qty, 1); }
    return err ? err : touch_order(model, place, event);
}

static stoa_err on_rejected(stoa_model *model, const stoa_event_view *event)
{
    const trade_account_rejected *in = event->payload;
    uint32_t place;
    stoa_err err = new_order(model, event, in->order_id, &in->order, in->placed_ns, &place);
    if (err) { return err; }
    model->orders[place].status = trade_status_REJECTED;
    model->orders[place].reason = in->reason;
    return touch_order(model, place, event);
}

/* The order an event is about; its account is marked. */
static stoa_err order_of(stoa_model *model, const stoa_event_view *event, uint64_t number, uint32_t *place_out)
{
    model_account *account;
    stoa_err err = emitter(model, event, &account);
    uint32_t place = stoa_index_get(&model->by_number, number);
    if (!err && (!place || model->orders[place].account != account)) { err = unknown("orders", "order", number); }
    if (!err) { *place_out = place; }
    return err;
}

static stoa_err on_rested(stoa_model *model, const stoa_event_view *event)
{
    const trade_account_rested *in = event->payload;
    uint32_t place;
    stoa_err err = order_of(model, event, in->order_id, &place);
    if (err) { return err; }
    model->orders[place].status = trade_status_OPEN;
    return touch_order(model, place, event);
}

static stoa_err on_closed(stoa_model *model, const stoa_event_view *event)
{
    const trade_account_closed *in = event->payload;
    uint32_t place;
    stoa_err err = order_of(model, event, in->order_id, &place);
    if (err) { return err; }
    model_order *order = &model->orders[place];
    err = reserve(model, order, event, order->qty - order->filled_qty, -1);
    order->status = in->status;
    order->reason = in->reason;
    return err ? err : touch_order(model, place, event);
}

/* --- fills, positions */

static model_amount absolute(model_amount a)
{
    return a < 0 ? -a : a;
}

/* a x part / whole; where the product is too large, rounded before instead of after. */
static model_amount share(model_amount a, model_amount part, model_amount whole)
{
    model_amount product;
    if (__builtin_mul_overflow(a, part, &product)) { return a / whole * part; }
    return product / whole;
}

/* Base changed by sign x qty against value of quote. What it closes is realised against the average cost. */
static void trade_position(model_position *p, int sign, model_amount qty, model_amount value)
{
    if ((p->held < 0) == (sign > 0) && p->held != 0) {
        model_amount held = absolute(p->held), closed = qty < held ? qty : held;
        model_amount closed_cost = share(p->cost, closed, held), closed_value = share(value, closed, qty);
        p->realized -= sign * closed_value + closed_cost;
        p->held += sign * closed;
        p->cost -= closed_cost;
        qty -= closed;
        value -= closed_value;
    }
    p->held += sign * qty;
    p->cost += sign * value;
}

static stoa_err fill_balances(stoa_model *model, model_order *order, const stoa_event_view *event, const trade_account_filled *in)
{
    const trade_symbol *rules = &model->symbols[order->symbol].rules;
    model_amount value = notional(in->price, in->qty);
    int sign = order->side == trade_side_BUY ? 1 : -1;
    stoa_err err = reserve(model, order, event, in->qty, -1);
    if (!err) { err = move(order->account, event, &rules->base, sign * (model_amount)in->qty, 0); }
    return err ? err : move(order->account, event, &rules->quote, -sign * value, 0);
}

static stoa_err on_filled(stoa_model *model, const stoa_event_view *event)
{
    const trade_account_filled *in = event->payload;
    uint32_t place;
    stoa_err err = order_of(model, event, in->order_id, &place);
    if (err) { return err; }
    model_order *order = &model->orders[place];
    if (in->qty <= 0 || in->qty > order->qty - order->filled_qty) { return unknown("trades", "more than was left of order", in->order_id); }
    err = fill_balances(model, order, event, in);
    model_position *position = model_position_of(order->account, order->symbol);
    if (!err && !position) { err = too_many("positions"); }
    if (err) { return err; }
    trade_position(position, order->side == trade_side_BUY ? 1 : -1, in->qty, notional(in->price, in->qty));
    position->last_price = in->price;
    touch(&position->row, event);
    order->filled_qty += in->qty;
    order->filled_notional += notional(in->price, in->qty);
    if (order->filled_qty == order->qty) { order->status = trade_status_FILLED; }
    model_put_trade(model, order, in, event->position);
    return touch_order(model, place, event);
}

/* --- which event is whose */

static const applier account_appliers[trade_account_ROW_END_] = {
    [trade_account_ROW_opened] = on_opened,     [trade_account_ROW_sent] = on_sent,
    [trade_account_ROW_credited] = on_credited, [trade_account_ROW_listed] = on_listed,
    [trade_account_ROW_ordered] = on_ordered,   [trade_account_ROW_rejected] = on_rejected,
    [trade_account_ROW_rested] = on_rested,     [trade_account_ROW_filled] = on_filled,
    [trade_account_ROW_closed] = on_closed,     [trade_account_ROW_mailed] = on_mailed,
    [trade_account_ROW_deposited] = on_deposited, [trade_account_ROW_returned] = on_returned,
};
static const applier risk_appliers[risk_ROW_END_] = {
    [risk_ROW_symbol_set] = on_symbol_set,
    [risk_ROW_limit_set] = on_limit_set,
};
static const applier book_appliers[trade_book_ROW_END_] = {
    [trade_book_ROW_traded] = on_traded,
};
static const struct {
    const stoa_table *table;
    const applier *appliers;
} kinds[] = {
    {&trade_account_table, account_appliers},
    {&risk_table, risk_appliers},
    {&trade_book_table, book_appliers},
};

stoa_err stoa_model_apply(stoa_model *model, const stoa_event_view *event)
{
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
        const stoa_table *table = kinds[i].table;
        if (event->row != &table->rows[event->row->id <= table->row_count ? event->row->id : 0]) { continue; }
        applier apply = kinds[i].appliers[event->row->id];
        stoa_err err = apply ? apply(model, event) : STOA_OK;
        if (!err && model->cut) { err = STOA_FAIL(STOA_E_NOMEM, "rows of one batch"); }
        return err;
    }
    return STOA_OK;
}
