/* model_rows.c - what the model holds, as rows.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "node/projection/model_inside.h"

enum { ORDER_ROW_BYTES = 256, PRICE_PLACES = STOA_DECIMAL_PLACES };
static const char own_exchange[] = "stoa";

/* --- which rows, of which days */

/* Whether rows of that time are kept; their day is remembered. */
static bool take_day(stoa_model *model, stoa_model_table table, uint64_t at_ns)
{
    uint64_t day = at_ns / STOA_DAY_NS;
    model_list *days = &model->days[table];
    if (day < model->kept_from[table]) { return false; }
    for (uint32_t i = days->count; i-- > 0;) {
        if (days->at[i] == day) { return true; }
    }
    if (model_list_add(days, day)) { model->cut = true; }
    return true;
}

/* Where the row goes; it is stored from then on. */
static stoa_pg_rows *begin(stoa_model *model, stoa_model_table table, model_row *row)
{
    stoa_pg_rows *rows = row->stored ? &model->changed[table] : &model->fresh[table];
    row->stored = true;
    row->dirty = false;
    stoa_pg_row_begin(rows);
    return rows;
}

static void end(stoa_model *model, stoa_pg_rows *rows)
{
    stoa_pg_row_end(rows);
    model->cut = model->cut || rows->cut;
}

static stoa_pg_uuid order_uuid(const stoa_model *model, uint64_t number)
{
    return stoa_projection_id(model->spaces[STOA_MODEL_ORDERS], number);
}

static void put_text14(stoa_pg_rows *rows, const stoa_text14 *text)
{
    stoa_pg_put_text(rows, text->at, text->len);
}

/* --- rows that never change */

void model_put_history(stoa_model *model, const model_order *order, uint64_t position)
{
    if (!take_day(model, STOA_MODEL_ORDER_HISTORY, order->row.changed_ns)) { return; }
    stoa_pg_rows *rows = &model->fresh[STOA_MODEL_ORDER_HISTORY];
    stoa_pg_row_begin(rows);
    stoa_pg_put_uuid(rows, stoa_projection_id(model->spaces[STOA_MODEL_ORDER_HISTORY], position));
    stoa_pg_put_uuid(rows, order_uuid(model, order->number));
    stoa_pg_put_textz(rows, trade_status_texts[order->status]);
    stoa_pg_put_textz(rows, trade_reason_texts[order->reason]);
    stoa_pg_put_amount(rows, order->filled_qty);
    stoa_pg_put_time(rows, order->row.changed_ns);
    stoa_pg_put_int(rows, (int64_t)position);
    end(model, rows);
}

void model_put_trade(stoa_model *model, const model_order *order, const trade_account_filled *fill, uint64_t position)
{
    if (!take_day(model, STOA_MODEL_TRADES, fill->at_ns)) { return; }
    stoa_pg_rows *rows = &model->fresh[STOA_MODEL_TRADES];
    stoa_pg_row_begin(rows);
    stoa_pg_put_uuid(rows, stoa_projection_id(model->spaces[STOA_MODEL_TRADES], position));
    stoa_pg_put_uuid(rows, order_uuid(model, order->number));
    put_text14(rows, &model->symbols[order->symbol].rules.name);
    stoa_pg_put_amount(rows, fill->price);
    stoa_pg_put_amount(rows, fill->qty);
    stoa_pg_put_textz(rows, trade_side_texts[order->side]);
    stoa_pg_put_amount(rows, 0); /* nobody is charged one yet */
    stoa_pg_put_time(rows, fill->at_ns);
    stoa_pg_put_int(rows, (int64_t)fill->trade_id);
    stoa_pg_put_bool(rows, fill->maker != 0);
    stoa_pg_put_int(rows, (int64_t)position);
    end(model, rows);
}

void model_put_bar(stoa_model *model, model_symbol *symbol)
{
    model_bar *bar = &symbol->bar;
    uint64_t at_ns = bar->minute * MODEL_MINUTE_S * UINT64_C(1000000000);
    if (!bar->row.dirty || !take_day(model, STOA_MODEL_MARKET_DATA, at_ns)) { return; }
    stoa_pg_rows *rows = begin(model, STOA_MODEL_MARKET_DATA, &bar->row);
    stoa_pg_put_uuid(rows, stoa_projection_id(symbol->bars_space, bar->minute));
    put_text14(rows, &symbol->rules.name);
    stoa_pg_put_amount(rows, bar->price);
    stoa_pg_put_amount(rows, bar->volume);
    stoa_pg_put_amount(rows, bar->high);
    stoa_pg_put_amount(rows, bar->low);
    stoa_pg_put_time(rows, at_ns);
    stoa_pg_put_int(rows, (int64_t)bar->row.seq);
    end(model, rows);
}

/* --- rows that stand for what is */

static void put_user(stoa_model *model, model_account *a)
{
    stoa_pg_rows *rows = begin(model, STOA_MODEL_USERS, &a->user);
    stoa_pg_put_uuid(rows, a->id);
    stoa_pg_put_null(rows); /* an account has no address and no password: keys open the door */
    stoa_pg_put_null(rows);
    stoa_pg_put_textz(rows, a->issuer ? "issuer" : a->margin ? "margin" : "trader");
    stoa_pg_put_time(rows, a->opened_ns);
    stoa_pg_put_time(rows, a->user.changed_ns);
    stoa_pg_put_bool(rows, true);
    stoa_pg_put_textz(rows, a->name);
    stoa_pg_put_textz(rows, model->shard);
    stoa_pg_put_int(rows, a->stream);
    stoa_pg_put_int(rows, (int64_t)a->user.seq);
    end(model, rows);
}

static void put_limits(stoa_model *model, model_account *a)
{
    stoa_pg_rows *rows = begin(model, STOA_MODEL_RISK_LIMITS, &a->limits_row);
    stoa_pg_put_uuid(rows, stoa_projection_id(model->spaces[STOA_MODEL_RISK_LIMITS], a->stream));
    stoa_pg_put_uuid(rows, a->id);
    stoa_pg_put_amount(rows, a->limits.position_max);
    stoa_pg_put_amount(rows, a->limits.leverage_max);
    stoa_pg_put_amount(rows, a->limits.daily_loss_max);
    if (a->margin && !a->issuer) {
        stoa_pg_put_null(rows); /* the symbol's: symbols.margin_rate */
    } else {
        stoa_pg_put_amount(rows, a->issuer ? 0 : STOA_DECIMAL_ONE); /* fully paid */
    }
    stoa_pg_put_int(rows, (int64_t)a->limits_row.seq);
    end(model, rows);
}

static void put_balance(stoa_model *model, const model_account *a, model_balance *b)
{
    stoa_pg_rows *rows = begin(model, STOA_MODEL_BALANCES, &b->row);
    uint64_t number = stoa_projection_number(b->asset.at, b->asset.len) ^ stoa_mix64(a->stream);
    stoa_pg_put_uuid(rows, stoa_projection_id(model->spaces[STOA_MODEL_BALANCES], number));
    stoa_pg_put_uuid(rows, a->id);
    stoa_pg_put_text(rows, b->asset.at, b->asset.len);
    stoa_pg_put_amount(rows, b->free);
    stoa_pg_put_amount(rows, b->reserved);
    stoa_pg_put_amount(rows, b->free + b->reserved);
    stoa_pg_put_time(rows, b->row.changed_ns);
    stoa_pg_put_int(rows, (int64_t)b->row.seq);
    end(model, rows);
}

/* a x b / c, to the nearest. */
static model_amount ratio(model_amount a, model_amount b, model_amount c)
{
    model_amount product;
    bool negative = (a < 0) != (c < 0);
    a = a < 0 ? -a : a;
    c = c < 0 ? -c : c;
    if (c == 0) { return 0; }
    model_amount value = __builtin_mul_overflow(a, b, &product) ? a / c * b : (product + c / 2) / c;
    return negative ? -value : value;
}

static void put_position(stoa_model *model, const model_account *a, model_position *p)
{
    stoa_pg_rows *rows = begin(model, STOA_MODEL_POSITIONS, &p->row);
    const stoa_text14 *symbol = &model->symbols[p->symbol].rules.name;
    uint64_t number = stoa_projection_number(symbol->at, symbol->len) ^ stoa_mix64(a->stream);
    stoa_pg_put_uuid(rows, stoa_projection_id(model->spaces[STOA_MODEL_POSITIONS], number));
    stoa_pg_put_uuid(rows, a->id);
    put_text14(rows, symbol);
    stoa_pg_put_amount(rows, p->held);
    stoa_pg_put_amount(rows, ratio(p->cost, STOA_DECIMAL_ONE, p->held));
    stoa_pg_put_amount(rows, ratio(p->held, p->last_price, STOA_DECIMAL_ONE) - p->cost);
    stoa_pg_put_amount(rows, p->realized);
    stoa_pg_put_time(rows, p->row.changed_ns);
    stoa_pg_put_amount(rows, p->cost);
    stoa_pg_put_amount(rows, p->last_price);
    stoa_pg_put_int(rows, (int64_t)p->row.seq);
    end(model, rows);
}

static int places_of(stoa_decimal tick)
{
    int places = PRICE_PLACES;
    for (; places > 0 && tick % 10 == 0; tick /= 10) { places--; }
    return places;
}

static void put_symbol(stoa_model *model, model_symbol *s)
{
    const trade_symbol *rules = &s->rules;
    stoa_pg_rows *rows = begin(model, STOA_MODEL_SYMBOLS, &s->row);
    put_text14(rows, &rules->name);
    stoa_pg_put_text(rows, rules->base.at, rules->base.len);
    stoa_pg_put_text(rows, rules->quote.at, rules->quote.len);
    stoa_pg_put_textz(rows, own_exchange);
    stoa_pg_put_amount(rows, rules->qty_min);
    stoa_pg_put_amount(rows, rules->qty_max);
    stoa_pg_put_int(rows, places_of(rules->tick));
    stoa_pg_put_bool(rows, s->active);
    stoa_pg_put_amount(rows, rules->tick);
    stoa_pg_put_amount(rows, rules->lot);
    stoa_pg_put_amount(rows, rules->margin_rate);
    stoa_pg_put_textz(rows, model->shard);
    stoa_pg_put_int(rows, (int64_t)s->row.seq);
    end(model, rows);
}

static void put_order(stoa_model *model, model_order *o)
{
    if (!take_day(model, STOA_MODEL_ORDERS, o->placed_ns)) {
        o->row.dirty = false;
        return;
    }
    stoa_pg_rows *rows = begin(model, STOA_MODEL_ORDERS, &o->row);
    stoa_pg_put_uuid(rows, order_uuid(model, o->number));
    stoa_pg_put_uuid(rows, o->account->id);
    put_text14(rows, &model->symbols[o->symbol].rules.name);
    stoa_pg_put_textz(rows, "limit");
    stoa_pg_put_textz(rows, trade_side_texts[o->side]);
    stoa_pg_put_amount(rows, o->price);
    stoa_pg_put_amount(rows, o->qty);
    stoa_pg_put_amount(rows, o->filled_qty);
    stoa_pg_put_textz(rows, trade_status_texts[o->status]);
    stoa_pg_put_time(rows, o->placed_ns);
    stoa_pg_put_time(rows, o->row.changed_ns);
    stoa_pg_put_int(rows, (int64_t)o->number);
    stoa_pg_put_big(rows, o->client_order_id);
    stoa_pg_put_textz(rows, trade_tif_texts[o->tif]);
    stoa_pg_put_textz(rows, trade_reason_texts[o->reason]);
    stoa_pg_put_amount(rows, o->filled_notional);
    stoa_pg_put_int(rows, (int64_t)o->row.seq);
    end(model, rows);
}

/* --- a batch */

static void collect_account(stoa_model *model, model_account *a)
{
    if (a->user.dirty) { put_user(model, a); }
    if (a->limits_row.dirty) { put_limits(model, a); }
    for (uint32_t i = 0; i < a->balance_count; i++) {
        if (a->balances[i].row.dirty) { put_balance(model, a, &a->balances[i]); }
    }
    for (uint32_t i = 0; i < a->position_count; i++) {
        if (a->positions[i].row.dirty) { put_position(model, a, &a->positions[i]); }
    }
    a->listed = false;
}

static bool final(trade_status status)
{
    return status != trade_status_NEW && status != trade_status_OPEN;
}

stoa_err stoa_model_collect(stoa_model *model)
{
    for (uint32_t i = 0; i < model->dirty_accounts.count; i++) { collect_account(model, model->accounts[model->dirty_accounts.at[i]]); }
    for (uint32_t i = 1; i <= model->symbol_count; i++) {
        if (model->symbols[i].row.dirty) { put_symbol(model, &model->symbols[i]); }
        model_put_bar(model, &model->symbols[i]);
    }
    for (uint32_t i = 0; i < model->dirty_orders.count; i++) {
        uint32_t place = (uint32_t)model->dirty_orders.at[i];
        put_order(model, &model->orders[place]);
        if (final(model->orders[place].status)) { model_order_drop(model, place); }
    }
    model->dirty_accounts.count = 0;
    model->dirty_orders.count = 0;
    return model->cut ? STOA_FAIL(STOA_E_NOMEM, "rows of one batch") : STOA_OK;
}

size_t stoa_model_bytes(const stoa_model *model)
{
    size_t bytes = (size_t)model->dirty_orders.count * ORDER_ROW_BYTES;
    for (stoa_model_table t = 0; t < STOA_MODEL_TABLES; t++) { bytes += model->fresh[t].used_bytes + model->changed[t].used_bytes; }
    return bytes;
}

const stoa_pg_rows *stoa_model_fresh(const stoa_model *model, stoa_model_table table)
{
    return &model->fresh[table];
}

const stoa_pg_rows *stoa_model_changed(const stoa_model *model, stoa_model_table table)
{
    return &model->changed[table];
}

const uint64_t *stoa_model_days(const stoa_model *model, stoa_model_table table, uint32_t *count_out)
{
    *count_out = model->days[table].count;
    return model->days[table].at;
}

void stoa_model_keep_from(stoa_model *model, stoa_model_table table, uint64_t day)
{
    model->kept_from[table] = day;
}

void stoa_model_clear(stoa_model *model)
{
    for (stoa_model_table t = 0; t < STOA_MODEL_TABLES; t++) {
        stoa_pg_rows_clear(&model->fresh[t]);
        stoa_pg_rows_clear(&model->changed[t]);
        model->days[t].count = 0;
    }
}
