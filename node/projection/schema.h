/* schema.h - the tables of the read model: what rows hold, where they are partitioned, how a schema of them is made.
 *
 *     exchanges   a venue                               users         an account, or a client with its key
 *     symbols     a market                              risk_limits   one row for each user
 *     api_keys    a client's public key                 balances      an account's holding of a currency
 *     orders      one row per order, as it stands       positions     what an account's trades built in a symbol
 *     order_history   each change of an order           trades        each fill of an order
 *     market_data a minute of a symbol's trades         cursors       how far each shard is in here
 *     retention   from which day on a table has rows    migrations    which changes of this schema were made
 *
 * The first columns of a table are those of the platform's data model, in its order; behind them stands what the projection
 * itself needs to go on (seq: the position of the event that last changed the row) or what the log knows besides.
 *
 * Ids are functions of the log (stoa_projection_id): a rebuild gives the same. Amounts are numeric(38,8): what base/decimal.h
 * holds, exact and readable by any client. Tables that grow (orders, order_history, trades,
 * market_data) have one partition a UTC day; a primary key has the partition's column in it, because PostgreSQL asks for that.
 * They carry no foreign keys: two of them made a COPY of orders take 3.5 times as long; what they would promise follows from
 * the log, and tests/integration/projection_test.py looks for orphans.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef STOA_NODE_PROJECTION_SCHEMA_H
#define STOA_NODE_PROJECTION_SCHEMA_H

#include "storage/postgres/migrate.h"
#include "storage/postgres/rows.h"

typedef enum stoa_model_table {
    STOA_MODEL_EXCHANGES,
    STOA_MODEL_USERS,
    STOA_MODEL_SYMBOLS,
    STOA_MODEL_RISK_LIMITS,
    STOA_MODEL_API_KEYS,
    STOA_MODEL_BALANCES,
    STOA_MODEL_POSITIONS,
    STOA_MODEL_ORDERS,
    STOA_MODEL_TRADES,
    STOA_MODEL_ORDER_HISTORY,
    STOA_MODEL_MARKET_DATA,
    STOA_MODEL_TABLES,
} stoa_model_table;

extern const stoa_pg_table stoa_projection_tables[STOA_MODEL_TABLES];

/* How a table is divided; column NULL: not at all. */
typedef struct stoa_projection_division {
    const char *column; /* the time that decides the day */
    const char *alive;  /* rows that keep their day from being dropped, as a condition; NULL: none do */
    bool market;        /* kept as market data is, not as orders are */
} stoa_projection_division;
extern const stoa_projection_division stoa_projection_divisions[STOA_MODEL_TABLES];

extern const stoa_pg_migration stoa_projection_migrations[];
extern const uint32_t stoa_projection_migration_count;

/* Days since 1970 (UTC) of a time, and "20260131" of a day. */
#define STOA_DAY_NS (UINT64_C(86400) * 1000000000)
enum { STOA_DAY_TEXT_MAX = 16 };
void stoa_projection_day_print(uint64_t day, char *text);

/* The prefix of ids: a function of what they are ids of. */
uint64_t stoa_projection_space(stoa_model_table table, const char *within);
/* A version 8 UUID (RFC 9562): 60 bits of the space, then the number, of which 62 bits count. */
stoa_pg_uuid stoa_projection_id(uint64_t space, uint64_t number);
/* A number for what has a name: two in one space are alike once in 2^62. */
uint64_t stoa_projection_number(const char *name, size_t size_bytes);

#endif
