/* model_memory.c - the model's memory: accounts, symbols, orders, lists.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "node/projection/model_inside.h"
#include "base/array.h"

enum { FIRST_LIST = 64, FIRST_ORDERS = 1024 };

stoa_err model_list_add(model_list *list, uint64_t value)
{
    uint64_t *at = stoa_array_room(list->at, list->count, &list->cap, sizeof *at);
    if (!at) { return STOA_FAIL(STOA_E_NOMEM, "read model"); }
    list->at = at;
    list->at[list->count++] = value;
    return STOA_OK;
}

/* --- accounts */

static stoa_err grow_streams(stoa_model *model, uint64_t stream)
{
    uint32_t cap = model->stream_cap ? model->stream_cap : FIRST_LIST;
    while (cap <= stream) { cap *= 2; }
    model_account **accounts = realloc(model->accounts, cap * sizeof(model_account *));
    if (!accounts) { return STOA_FAIL(STOA_E_NOMEM, "read model"); }
    memset(accounts + model->stream_cap, 0, (cap - model->stream_cap) * sizeof(model_account *));
    model->accounts = accounts;
    model->stream_cap = cap;
    return STOA_OK;
}

stoa_err model_account_at(stoa_model *model, uint64_t stream, model_account **out)
{
    if (stream == 0 || stream >= MODEL_STREAMS_MAX) { return STOA_FAIL(STOA_E_CORRUPT, "table users: stream %llu", (unsigned long long)stream); }
    stoa_err err = stream < model->stream_cap ? STOA_OK : grow_streams(model, stream);
    if (err) { return err; }
    if (!model->accounts[stream]) {
        model_account *account = calloc(1, sizeof *account);
        if (!account) { return STOA_FAIL(STOA_E_NOMEM, "read model"); }
        account->stream = (uint32_t)stream;
        model->accounts[stream] = account;
    }
    *out = model->accounts[stream];
    return STOA_OK;
}

model_balance *model_balance_of(model_account *account, const stoa_text6 *asset)
{
    for (uint32_t i = 0; i < account->balance_count; i++) {
        if (STOA_TEXT_EQ(&account->balances[i].asset, asset)) { return &account->balances[i]; }
    }
    if (account->balance_count == TRADE_ASSETS_MAX) { return NULL; }
    model_balance *balance = &account->balances[account->balance_count++];
    balance->asset = *asset;
    return balance;
}

model_position *model_position_of(model_account *account, uint32_t symbol)
{
    for (uint32_t i = 0; i < account->position_count; i++) {
        if (account->positions[i].symbol == symbol) { return &account->positions[i]; }
    }
    if (account->position_count == TRADE_SYMBOLS_MAX) { return NULL; }
    model_position *position = &account->positions[account->position_count++];
    position->symbol = symbol;
    return position;
}

/* --- symbols */

uint32_t model_symbol_find(const stoa_model *model, const stoa_text14 *name)
{
    for (uint32_t i = 1; i <= model->symbol_count; i++) {
        if (STOA_TEXT_EQ(&model->symbols[i].rules.name, name)) { return i; }
    }
    return 0;
}

stoa_err model_symbol_at(stoa_model *model, const stoa_text14 *name, uint32_t *out)
{
    uint32_t place = model_symbol_find(model, name);
    if (!place) {
        if (model->symbol_count == RISK_SYMBOLS_MAX) { return STOA_FAIL(STOA_E_CORRUPT, "table symbols: more than there can be"); }
        place = ++model->symbol_count;
        model_symbol *symbol = &model->symbols[place];
        *symbol = (model_symbol){.rules.name = *name};
        (void)snprintf(symbol->name, sizeof symbol->name, "%.*s", STOA_TEXT_ARGS(name));
        char within[64];
        (void)snprintf(within, sizeof within, "%s/%s", model->shard, symbol->name);
        symbol->bars_space = stoa_projection_space(STOA_MODEL_MARKET_DATA, within);
    }
    *out = place;
    return STOA_OK;
}

/* --- orders */

static stoa_err grow_orders(stoa_model *model)
{
    uint32_t cap = model->order_cap ? model->order_cap * 2 : FIRST_ORDERS;
    model_order *orders = realloc(model->orders, cap * sizeof *orders);
    if (!orders) { return STOA_FAIL(STOA_E_NOMEM, "read model of %u orders", cap); }
    for (uint32_t i = cap - 1; i >= (model->order_cap ? model->order_cap : 1); i--) {
        orders[i].next_free = model->order_free;
        model->order_free = i;
    }
    model->orders = orders;
    model->order_cap = cap;
    return STOA_OK;
}

stoa_err model_order_add(stoa_model *model, uint64_t number, uint32_t *out)
{
    if (number == 0 || stoa_index_get(&model->by_number, number)) {
        return STOA_FAIL(STOA_E_CORRUPT, "table orders: order %llu comes a second time", (unsigned long long)number);
    }
    stoa_err err = model->order_free ? STOA_OK : grow_orders(model);
    uint32_t place = model->order_free;
    if (!err) { err = stoa_index_put(&model->by_number, number, place); }
    if (err) { return err; }
    model->order_free = model->orders[place].next_free;
    *out = place;
    return STOA_OK;
}

void model_order_drop(stoa_model *model, uint32_t place)
{
    stoa_index_remove(&model->by_number, model->orders[place].number);
    model->orders[place] = (model_order){.next_free = model->order_free};
    model->order_free = place;
}

/* --- the whole */

stoa_err stoa_model_new(const char *shard, stoa_model **out)
{
    stoa_model *model = calloc(1, sizeof *model);
    if (!model) { return STOA_FAIL(STOA_E_NOMEM, "read model"); }
    (void)snprintf(model->shard, sizeof model->shard, "%s", shard);
    model->symbols = calloc(RISK_SYMBOLS_MAX + 1, sizeof *model->symbols);
    for (stoa_model_table t = 0; t < STOA_MODEL_TABLES; t++) {
        model->spaces[t] = stoa_projection_space(t, shard);
        stoa_pg_rows_init(&model->fresh[t], &stoa_projection_tables[t], STOA_MODEL_ROWS_BYTES);
        stoa_pg_rows_init(&model->changed[t], &stoa_projection_tables[t], STOA_MODEL_ROWS_BYTES);
    }
    if (!model->symbols) {
        stoa_model_free(model);
        return STOA_FAIL(STOA_E_NOMEM, "read model");
    }
    *out = model;
    return STOA_OK;
}

void stoa_model_free(stoa_model *model)
{
    if (!model) { return; }
    for (uint32_t i = 0; i < model->stream_cap; i++) { free(model->accounts[i]); }
    for (stoa_model_table t = 0; t < STOA_MODEL_TABLES; t++) {
        stoa_pg_rows_deinit(&model->fresh[t]);
        stoa_pg_rows_deinit(&model->changed[t]);
        free(model->days[t].at);
    }
    stoa_index_deinit(&model->by_number);
    free(model->accounts);
    free(model->symbols);
    free(model->orders);
    free(model->dirty_accounts.at);
    free(model->dirty_orders.at);
    free(model);
}
