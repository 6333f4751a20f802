/* model.h - which events become which rows: the fold of one shard's log into the rows of schema.h.
 *
 * The model holds what the next event may change: accounts with their balances and positions, symbols with the minute under
 * way, orders that are not final. It is loaded from the rows themselves, at the cursor that was committed with them, so a
 * projector goes on where the database stands without reading the log again. Events change the model; a row is written when a
 * batch ends, once, as the row's entity then stands, whatever the batch's size: so the rows after position P are the same
 * whichever batches led there. Rows that never change again (order_history, trades) are encoded at once.
 *
 *     load, then again and again: apply events, collect, write the rows, clear        an error anywhere: load again
 *
 * Fresh rows are known not to be in the table yet; changed ones replace what is there. Rows of a day below the table's
 * kept_from are left out: it was dropped, and a rebuild must not bring it back.
 *
 *     trade_account  opened: users, risk_limits      sent, credited, mailed, deposited, returned, listed: balances
 *                    ordered, rejected, rested, filled, closed: orders, order_history, balances; filled: positions, trades
 *     risk           symbol_set: symbols             limit_set: risk_limits
 *     trade_book     traded: market_data
 * Other events change no row. unrealized_pnl is at the account's own last price; a position's cost is what the account paid
 * for it, and profit is realised against the average (actors/trade/account_ledger.h says the same of the account itself).
 *
 * One thread. Memory: an account's room plus 200 bytes for each open order; up to STOA_MODEL_ROWS_BYTES for rows a table.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef STOA_NODE_PROJECTION_MODEL_H
#define STOA_NODE_PROJECTION_MODEL_H

#include "node/projection/schema.h"
#include "runtime/node.h"
#include "storage/postgres/pg.h"

enum { STOA_MODEL_ROWS_BYTES = 256 << 20 };

typedef struct stoa_model stoa_model;

stoa_err stoa_model_new(const char *shard, stoa_model **out);
void stoa_model_free(stoa_model *model); /* NULL is allowed */

/* What the rows of this shard say. The session's search_path is the schema. Errors: CORRUPT (rows that we did not write), what
 * selects return. */
stoa_err stoa_model_load(stoa_model *model, stoa_pg *pg);

/* Rows of days before this one are left out of the table. */
void stoa_model_keep_from(stoa_model *model, stoa_model_table table, uint64_t day);

/* Errors: CORRUPT (the event speaks of what the model does not know; the trail names the table), NOMEM, RANGE. */
stoa_err stoa_model_apply(stoa_model *model, const stoa_event_view *event);
/* Bytes of rows encoded so far, roughly with what collect will add. */
size_t stoa_model_bytes(const stoa_model *model);
/* Encode the rows of all that changed. Errors: NOMEM. */
stoa_err stoa_model_collect(stoa_model *model);

const stoa_pg_rows *stoa_model_fresh(const stoa_model *model, stoa_model_table table);
const stoa_pg_rows *stoa_model_changed(const stoa_model *model, stoa_model_table table);
/* The days that the rows of a divided table are of, each once. */
const uint64_t *stoa_model_days(const stoa_model *model, stoa_model_table table, uint32_t *count_out);
/* The rows were written: forget them. */
void stoa_model_clear(stoa_model *model);

#endif
