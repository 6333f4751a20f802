/* model_inside.h - what the model holds. Internal to node/projection/model*.c.
 *
 * stored: the row is in the table (as of the batch being gathered); dirty: it is to be written when the batch ends.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef STOA_NODE_PROJECTION_MODEL_INSIDE_H
#define STOA_NODE_PROJECTION_MODEL_INSIDE_H

#include "actors/risk/risk_msgs.h"
#include "actors/trade/account_msgs.h"
#include "actors/trade/trade_msgs.h"
#include "node/projection/index.h"
#include "node/projection/model.h"

typedef stoa_pg_amount model_amount;

enum { MODEL_STREAMS_MAX = 1 << 20, MODEL_MINUTE_S = 60 };

typedef struct model_row {
    uint64_t changed_ns, seq;
    bool stored, dirty;
} model_row;

typedef struct model_balance {
    model_amount free, reserved;
    stoa_text6 asset;
    model_row row;
} model_balance;

typedef struct model_position {
    model_amount held, cost, realized;
    stoa_decimal last_price;
    uint32_t symbol; /* place in symbols */
    model_row row;
} model_position;

typedef struct model_account {
    stoa_pg_uuid id;
    char name[STOA_NAME_MAX + 1]; /* without the kind */
    uint32_t stream;
    bool opened, issuer, margin;
    bool listed; /* on the list of those with something dirty */
    uint64_t opened_ns;
    model_row user, limits_row;
    risk_limits limits;
    uint32_t balance_count, position_count;
    model_balance balances[TRADE_ASSETS_MAX];
    model_position positions[TRADE_SYMBOLS_MAX];
} model_account;

/* A minute of trades. */
typedef struct model_bar {
    uint64_t minute; /* since 1970; 0: none yet */
    model_amount volume;
    stoa_decimal price, high, low;
    model_row row;
} model_bar;

typedef struct model_symbol {
    trade_symbol rules;
    char name[16];
    bool active;
    uint64_t bars_space;
    model_row row;
    model_bar bar;
} model_symbol;

typedef struct model_order {
    uint64_t number, client_order_id, placed_ns;
    stoa_decimal price, qty, filled_qty;
    model_amount filled_notional;
    model_account *account;
    uint32_t symbol;
    uint32_t next_free;
    trade_side side;
    trade_tif tif;
    trade_status status;
    trade_reason reason;
    model_row row;
} model_order;

/* Numbers that grow in number. */
typedef struct model_list {
    uint64_t *at;
    uint32_t count, cap;
} model_list;

struct stoa_model {
    char shard[32];
    model_account **accounts; /* by stream */
    uint32_t stream_cap;
    model_symbol *symbols; /* [0] is empty */
    uint32_t symbol_count;
    model_order *orders; /* [0] is empty */
    uint32_t order_cap, order_free;
    stoa_index by_number;
    model_list dirty_accounts, dirty_orders; /* streams; places */
    uint64_t spaces[STOA_MODEL_TABLES];
    stoa_pg_rows fresh[STOA_MODEL_TABLES], changed[STOA_MODEL_TABLES];
    model_list days[STOA_MODEL_TABLES];
    uint64_t kept_from[STOA_MODEL_TABLES];
    bool cut; /* a row did not fit */
};

stoa_err model_list_add(model_list *list, uint64_t value);

/* The account of a stream, made when it is not there. Errors: NOMEM, CORRUPT (no such stream). */
stoa_err model_account_at(stoa_model *model, uint64_t stream, model_account **out);
/* NULL: there is no more room for one. */
model_balance *model_balance_of(model_account *account, const stoa_text6 *asset);
model_position *model_position_of(model_account *account, uint32_t symbol);
/* 0: not there. */
uint32_t model_symbol_find(const stoa_model *model, const stoa_text14 *name);
stoa_err model_symbol_at(stoa_model *model, const stoa_text14 *name, uint32_t *out);
/* A place for an order of that number. Errors: NOMEM, CORRUPT (it is there). */
stoa_err model_order_add(stoa_model *model, uint64_t number, uint32_t *out);
void model_order_drop(stoa_model *model, uint32_t place);

/* Rows that are written when the event comes. */
void model_put_history(stoa_model *model, const model_order *order, uint64_t position);
void model_put_trade(stoa_model *model, const model_order *order, const trade_account_filled *fill, uint64_t position);
void model_put_bar(stoa_model *model, model_symbol *symbol);

#endif
