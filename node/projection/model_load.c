/* model_load.c - the model from its rows: what stoa_model_collect wrote, read back.
 *
 * Times come back in whole microseconds, which is what rows hold, so a row written again is the same row.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "node/projection/model_inside.h"

/* Reads the values of a row one after the other; the first that does not fit is err. */
typedef struct reader {
    const stoa_pg_value *at;
    stoa_err err;
} reader;

static uint64_t take_uint(reader *r)
{
    int64_t value = 0;
    if (!r->err) { r->err = stoa_pg_read_int(r->at++, &value); }
    if (!r->err && value < 0) { r->err = STOA_FAIL(STOA_E_CORRUPT, "a number below 0"); }
    return r->err ? 0 : (uint64_t)value;
}

static uint64_t take_big(reader *r)
{
    uint64_t value = 0;
    if (!r->err) { r->err = stoa_pg_read_big(r->at++, &value); }
    return value;
}

static model_amount take_amount(reader *r)
{
    model_amount value = 0;
    if (!r->err) { r->err = stoa_pg_read_amount(r->at++, &value); }
    return value;
}

static stoa_decimal take_decimal(reader *r)
{
    model_amount value = take_amount(r);
    if (!r->err && value != (stoa_decimal)value) { r->err = STOA_FAIL(STOA_E_RANGE, "an amount beyond 64 bits"); }
    return (stoa_decimal)value;
}

static uint64_t take_time(reader *r)
{
    uint64_t value = 0;
    if (!r->err) { r->err = stoa_pg_read_time(r->at++, &value); }
    return value;
}

static bool take_bool(reader *r)
{
    bool value = false;
    if (!r->err) { r->err = stoa_pg_read_bool(r->at++, &value); }
    return value;
}

static void take_text(reader *r, char *text, size_t cap)
{
    text[0] = '\0';
    if (!r->err) { r->err = stoa_pg_read_text(r->at++, text, cap); }
}

/* The place of a text among an enumeration's. */
static uint8_t take_word(reader *r, const char *const *words, uint32_t count)
{
    char text[32];
    take_text(r, text, sizeof text);
    for (uint32_t i = 0; i < count && !r->err; i++) {
        if (strcmp(words[i], text) == 0) { return (uint8_t)i; }
    }
    if (!r->err) { r->err = STOA_FAIL(STOA_E_CORRUPT, "the word '%s'", text); }
    return 0;
}

static stoa_text14 take_symbol_name(reader *r)
{
    char text[16];
    stoa_text14 name = {0};
    take_text(r, text, sizeof text);
    if (!r->err) { r->err = STOA_TEXT_SETZ(&name, text); }
    return name;
}

static stoa_text6 take_asset(reader *r)
{
    char text[8];
    stoa_text6 name = {0};
    take_text(r, text, sizeof text);
    if (!r->err) { r->err = STOA_TEXT_SETZ(&name, text); }
    return name;
}

static model_row take_row(reader *r, uint64_t changed_ns)
{
    return (model_row){.changed_ns = changed_ns, .seq = take_uint(r), .stored = true};
}

static model_account *take_account(reader *r, stoa_model *model)
{
    model_account *account = NULL;
    uint64_t stream = take_uint(r);
    if (!r->err) { r->err = model_account_at(model, stream, &account); }
    return account;
}

static uint32_t take_symbol(reader *r, const stoa_model *model)
{
    stoa_text14 name = take_symbol_name(r);
    uint32_t place = r->err ? 0 : model_symbol_find(model, &name);
    if (!r->err && !place) { r->err = STOA_FAIL(STOA_E_CORRUPT, "the symbol '%.*s'", STOA_TEXT_ARGS(&name)); }
    return place;
}

/* --- one function for each select */

static stoa_err load_symbol(void *context, const stoa_pg_value *values, uint32_t count)
{
    (void)count;
    stoa_model *model = context;
    reader r = {.at = values};
    trade_symbol rules = {.name = take_symbol_name(&r)};
    uint32_t place = 0;
    if (!r.err) { r.err = model_symbol_at(model, &rules.name, &place); }
    rules.base = take_asset(&r);
    rules.quote = take_asset(&r);
    rules.tick = take_decimal(&r);
    rules.lot = take_decimal(&r);
    rules.qty_min = take_decimal(&r);
    rules.qty_max = take_decimal(&r);
    rules.margin_rate = take_decimal(&r);
    bool active = take_bool(&r);
    model_row row = take_row(&r, 0);
    if (r.err) { return r.err; }
    model->symbols[place].rules = rules;
    model->symbols[place].active = active;
    model->symbols[place].row = row;
    return STOA_OK;
}

static stoa_err load_user(void *context, const stoa_pg_value *values, uint32_t count)
{
    (void)count;
    static const char *const roles[] = {"trader", "margin", "issuer"};
    reader r = {.at = values};
    model_account *a = take_account(&r, context);
    if (r.err) { return r.err; }
    r.err = stoa_pg_read_uuid(r.at++, &a->id);
    take_text(&r, a->name, sizeof a->name);
    uint8_t role = take_word(&r, roles, 3);
    a->opened = true;
    a->margin = role == 1;
    a->issuer = role == 2;
    a->opened_ns = take_time(&r);
    a->user = take_row(&r, take_time(&r));
    a->limits.position_max = take_decimal(&r);
    a->limits.leverage_max = take_decimal(&r);
    a->limits.daily_loss_max = take_decimal(&r);
    a->limits_row = take_row(&r, 0);
    return r.err;
}

static stoa_err load_balance(void *context, const stoa_pg_value *values, uint32_t count)
{
    (void)count;
    reader r = {.at = values};
    model_account *a = take_account(&r, context);
    stoa_text6 asset = take_asset(&r);
    if (r.err) { return r.err; }
    model_balance *b = model_balance_of(a, &asset);
    if (!b) { return STOA_FAIL(STOA_E_CORRUPT, "more balances of one account than there can be"); }
    b->free = take_amount(&r);
    b->reserved = take_amount(&r);
    uint64_t changed_ns = take_time(&r);
    b->row = take_row(&r, changed_ns);
    return r.err;
}

static stoa_err load_position(void *context, const stoa_pg_value *values, uint32_t count)
{
    (void)count;
    reader r = {.at = values};
    model_account *a = take_account(&r, context);
    uint32_t symbol = take_symbol(&r, context);
    if (r.err) { return r.err; }
    model_position *p = model_position_of(a, symbol);
    if (!p) { return STOA_FAIL(STOA_E_CORRUPT, "more positions of one account than there can be"); }
    p->held = take_amount(&r);
    p->cost = take_amount(&r);
    p->realized = take_amount(&r);
    p->last_price = take_decimal(&r);
    uint64_t changed_ns = take_time(&r);
    p->row = take_row(&r, changed_ns);
    return r.err;
}

static stoa_err load_order(void *context, const stoa_pg_value *values, uint32_t count)
{
    (void)count;
    stoa_model *model = context;
    reader r = {.at = values};
    model_order o = {.account = take_account(&r, model)};
    o.symbol = take_symbol(&r, model);
    o.number = take_uint(&r);
    o.client_order_id = take_big(&r);
    o.side = take_word(&r, trade_side_texts, trade_side_COUNT);
    o.tif = take_word(&r, trade_tif_texts, trade_tif_COUNT);
    o.status = take_word(&r, trade_status_texts, trade_status_COUNT);
    o.reason = take_word(&r, trade_reason_texts, trade_reason_COUNT);
    o.price = take_decimal(&r);
    o.qty = take_decimal(&r);
    o.filled_qty = take_decimal(&r);
    o.filled_notional = take_amount(&r);
    o.placed_ns = take_time(&r);
    uint64_t changed_ns = take_time(&r);
    o.row = take_row(&r, changed_ns);
    uint32_t place;
    if (!r.err) { r.err = model_order_add(model, o.number, &place); }
    if (!r.err) { model->orders[place] = o; }
    return r.err;
}

static stoa_err load_bar(void *context, const stoa_pg_value *values, uint32_t count)
{
    (void)count;
    stoa_model *model = context;
    reader r = {.at = values};
    uint32_t symbol = take_symbol(&r, model);
    model_bar bar = {.price = take_decimal(&r)};
    bar.volume = take_amount(&r);
    bar.high = take_decimal(&r);
    bar.low = take_decimal(&r);
    uint64_t at_ns = take_time(&r);
    bar.minute = at_ns / (MODEL_MINUTE_S * UINT64_C(1000000000));
    bar.row = take_row(&r, at_ns);
    if (!r.err) { model->symbols[symbol].bar = bar; }
    return r.err;
}

/* In this order: what comes later speaks of what came before. */
static const struct {
    const char *table, *sql;
    stoa_pg_visit visit;
} selects[] = {
    {"symbols", "SELECT symbol, base_currency, quote_currency, tick, lot, min_quantity, max_quantity, margin_rate, active, seq "
                "FROM symbols WHERE shard = $1 ORDER BY symbol", load_symbol},
    {"users", "SELECT u.stream, u.id, u.name, u.role, u.created_at, u.updated_at, u.seq, r.max_position_size, r.max_leverage, "
              "r.max_daily_loss, r.seq FROM users u JOIN risk_limits r ON r.user_id = u.id WHERE u.shard = $1 ORDER BY u.stream",
     load_user},
    {"balances", "SELECT u.stream, b.currency, b.available, b.locked, b.updated_at, b.seq FROM balances b "
                 "JOIN users u ON u.id = b.user_id WHERE u.shard = $1 ORDER BY u.stream, b.currency", load_balance},
    {"positions", "SELECT u.stream, p.symbol, p.quantity, p.cost, p.realized_pnl, p.last_price, p.updated_at, p.seq "
                  "FROM positions p JOIN users u ON u.id = p.user_id WHERE u.shard = $1 ORDER BY u.stream, p.symbol",
     load_position},
    {"orders", "SELECT u.stream, o.symbol, o.number, o.client_order_id, o.side, o.time_in_force, o.status, o.reason, o.price, "
               "o.quantity, o.filled_quantity, o.filled_notional, o.created_at, o.updated_at, o.seq FROM orders o "
               "JOIN users u ON u.id = o.user_id WHERE u.shard = $1 AND o.status IN ('new', 'open')", load_order},
    {"market_data", "SELECT s.symbol, m.price, m.volume, m.high, m.low, m.\"timestamp\", m.seq FROM symbols s, LATERAL "
                    "(SELECT * FROM market_data d WHERE d.symbol = s.symbol ORDER BY d.\"timestamp\" DESC LIMIT 1) m "
                    "WHERE s.shard = $1", load_bar},
};

stoa_err stoa_model_load(stoa_model *model, stoa_pg *pg)
{
    const char *params[] = {model->shard};
    for (size_t i = 0; i < sizeof selects / sizeof selects[0]; i++) {
        stoa_err err = stoa_pg_select(pg, selects[i].sql, params, 1, selects[i].visit, model);
        if (err) { return STOA_PASS(err, "loading %s of shard %s", selects[i].table, model->shard); }
    }
    return STOA_OK;
}
