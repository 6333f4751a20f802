/* schema.c - columns, migrations and ids of schema.h.
 *
 * A migration that was released never changes; the next change is a new one behind it, made so that the build before can live
 * with it (storage/postgres/migrate.h).
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "node/projection/schema.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/hash.h"

/* --- what rows hold */

#define COLUMNS(...) .columns = (const stoa_pg_column[]){__VA_ARGS__},                                                        \
                     .column_count = sizeof((const stoa_pg_column[]){__VA_ARGS__}) / sizeof(stoa_pg_column)

const stoa_pg_table stoa_projection_tables[STOA_MODEL_TABLES] = {
    [STOA_MODEL_EXCHANGES] = {.name = "exchanges", .key = "name",
        COLUMNS({"name", STOA_PG_TEXT}, {"kind", STOA_PG_TEXT}, {"active", STOA_PG_BOOL})},
    [STOA_MODEL_USERS] = {.name = "users", .key = "id", .guard = "seq",
        COLUMNS({"id", STOA_PG_UUID}, {"email", STOA_PG_TEXT}, {"password_hash", STOA_PG_TEXT}, {"role", STOA_PG_TEXT},
                {"created_at", STOA_PG_TIME}, {"updated_at", STOA_PG_TIME}, {"active", STOA_PG_BOOL}, {"name", STOA_PG_TEXT},
                {"shard", STOA_PG_TEXT}, {"stream", STOA_PG_INT}, {"seq", STOA_PG_INT})},
    [STOA_MODEL_SYMBOLS] = {.name = "symbols", .key = "symbol", .guard = "seq",
        COLUMNS({"symbol", STOA_PG_TEXT}, {"base_currency", STOA_PG_TEXT}, {"quote_currency", STOA_PG_TEXT},
                {"exchange", STOA_PG_TEXT}, {"min_quantity", STOA_PG_AMOUNT}, {"max_quantity", STOA_PG_AMOUNT},
                {"price_precision", STOA_PG_INT4}, {"active", STOA_PG_BOOL}, {"tick", STOA_PG_AMOUNT}, {"lot", STOA_PG_AMOUNT},
                {"margin_rate", STOA_PG_AMOUNT}, {"shard", STOA_PG_TEXT}, {"seq", STOA_PG_INT})},
    [STOA_MODEL_RISK_LIMITS] = {.name = "risk_limits", .key = "id", .guard = "seq",
        COLUMNS({"id", STOA_PG_UUID}, {"user_id", STOA_PG_UUID}, {"max_position_size", STOA_PG_AMOUNT},
                {"max_leverage", STOA_PG_AMOUNT}, {"max_daily_loss", STOA_PG_AMOUNT}, {"margin_requirement", STOA_PG_AMOUNT},
                {"seq", STOA_PG_INT})},
    [STOA_MODEL_API_KEYS] = {.name = "api_keys", .key = "id",
        COLUMNS({"id", STOA_PG_UUID}, {"user_id", STOA_PG_UUID}, {"name", STOA_PG_TEXT}, {"public_key", STOA_PG_TEXT},
                {"accounts", STOA_PG_TEXT}, {"active", STOA_PG_BOOL}, {"created_at", STOA_PG_TIME})},
    [STOA_MODEL_BALANCES] = {.name = "balances", .key = "id", .guard = "seq",
        COLUMNS({"id", STOA_PG_UUID}, {"user_id", STOA_PG_UUID}, {"currency", STOA_PG_TEXT}, {"available", STOA_PG_AMOUNT},
                {"locked", STOA_PG_AMOUNT}, {"total", STOA_PG_AMOUNT}, {"updated_at", STOA_PG_TIME}, {"seq", STOA_PG_INT})},
    [STOA_MODEL_POSITIONS] = {.name = "positions", .key = "id", .guard = "seq",
        COLUMNS({"id", STOA_PG_UUID}, {"user_id", STOA_PG_UUID}, {"symbol", STOA_PG_TEXT}, {"quantity", STOA_PG_AMOUNT},
                {"avg_price", STOA_PG_AMOUNT}, {"unrealized_pnl", STOA_PG_AMOUNT}, {"realized_pnl", STOA_PG_AMOUNT},
                {"updated_at", STOA_PG_TIME}, {"cost", STOA_PG_AMOUNT}, {"last_price", STOA_PG_AMOUNT}, {"seq", STOA_PG_INT})},
    [STOA_MODEL_ORDERS] = {.name = "orders", .key = "id, created_at", .guard = "seq",
        COLUMNS({"id", STOA_PG_UUID}, {"user_id", STOA_PG_UUID}, {"symbol", STOA_PG_TEXT}, {"type", STOA_PG_TEXT},
                {"side", STOA_PG_TEXT}, {"price", STOA_PG_AMOUNT}, {"quantity", STOA_PG_AMOUNT},
                {"filled_quantity", STOA_PG_AMOUNT}, {"status", STOA_PG_TEXT}, {"created_at", STOA_PG_TIME},
                {"updated_at", STOA_PG_TIME}, {"number", STOA_PG_INT}, {"client_order_id", STOA_PG_BIG},
                {"time_in_force", STOA_PG_TEXT}, {"reason", STOA_PG_TEXT}, {"filled_notional", STOA_PG_AMOUNT},
                {"seq", STOA_PG_INT})},
    [STOA_MODEL_TRADES] = {.name = "trades", .key = "id, executed_at", .guard = "seq",
        COLUMNS({"id", STOA_PG_UUID}, {"order_id", STOA_PG_UUID}, {"symbol", STOA_PG_TEXT}, {"price", STOA_PG_AMOUNT},
                {"quantity", STOA_PG_AMOUNT}, {"side", STOA_PG_TEXT}, {"fee", STOA_PG_AMOUNT}, {"executed_at", STOA_PG_TIME},
                {"number", STOA_PG_INT}, {"maker", STOA_PG_BOOL}, {"seq", STOA_PG_INT})},
    [STOA_MODEL_ORDER_HISTORY] = {.name = "order_history", .key = "id, changed_at", .guard = "seq",
        COLUMNS({"id", STOA_PG_UUID}, {"order_id", STOA_PG_UUID}, {"status", STOA_PG_TEXT}, {"reason", STOA_PG_TEXT},
                {"filled_quantity", STOA_PG_AMOUNT}, {"changed_at", STOA_PG_TIME}, {"seq", STOA_PG_INT})},
    [STOA_MODEL_MARKET_DATA] = {.name = "market_data", .key = "id, \"timestamp\"", .guard = "seq",
        COLUMNS({"id", STOA_PG_UUID}, {"symbol", STOA_PG_TEXT}, {"price", STOA_PG_AMOUNT}, {"volume", STOA_PG_AMOUNT},
                {"high", STOA_PG_AMOUNT}, {"low", STOA_PG_AMOUNT}, {"\"timestamp\"", STOA_PG_TIME}, {"seq", STOA_PG_INT})},
};

const stoa_projection_division stoa_projection_divisions[STOA_MODEL_TABLES] = {
    [STOA_MODEL_ORDERS] = {.column = "created_at", .alive = "status IN ('new', 'open')"},
    [STOA_MODEL_TRADES] = {.column = "executed_at"},
    [STOA_MODEL_ORDER_HISTORY] = {.column = "changed_at"},
    [STOA_MODEL_MARKET_DATA] = {.column = "\"timestamp\"", .market = true},
};

/* --- how a schema of them is made */

#define AMOUNT "numeric(38,8) NOT NULL"

static const char tables_up[] =
    "CREATE TABLE exchanges (name text PRIMARY KEY, kind text NOT NULL, active boolean NOT NULL);\n"
    "CREATE TABLE users (id uuid PRIMARY KEY, email text UNIQUE, password_hash text, role text NOT NULL,\n"
    "    created_at timestamptz NOT NULL, updated_at timestamptz NOT NULL, active boolean NOT NULL,\n"
    "    name text NOT NULL, shard text NOT NULL, stream bigint, seq bigint NOT NULL);\n"
    "CREATE TABLE symbols (symbol text PRIMARY KEY, base_currency text NOT NULL, quote_currency text NOT NULL,\n"
    "    exchange text NOT NULL REFERENCES exchanges (name) DEFERRABLE INITIALLY DEFERRED, min_quantity " AMOUNT ",\n"
    "    max_quantity " AMOUNT ", price_precision integer NOT NULL, active boolean NOT NULL, tick " AMOUNT ",\n"
    "    lot " AMOUNT ", margin_rate " AMOUNT ", shard text NOT NULL, seq bigint NOT NULL);\n"
    "CREATE TABLE risk_limits (id uuid PRIMARY KEY,\n"
    "    user_id uuid NOT NULL UNIQUE REFERENCES users (id) ON DELETE CASCADE DEFERRABLE INITIALLY DEFERRED,\n"
    "    max_position_size " AMOUNT ", max_leverage " AMOUNT ", max_daily_loss " AMOUNT ", margin_requirement numeric(38,8),\n"
    "    seq bigint NOT NULL);\n"
    "CREATE TABLE api_keys (id uuid PRIMARY KEY,\n"
    "    user_id uuid NOT NULL REFERENCES users (id) ON DELETE CASCADE DEFERRABLE INITIALLY DEFERRED,\n"
    "    name text NOT NULL, public_key text NOT NULL, accounts text NOT NULL, active boolean NOT NULL,\n"
    "    created_at timestamptz NOT NULL);\n"
    "CREATE TABLE balances (id uuid PRIMARY KEY,\n"
    "    user_id uuid NOT NULL REFERENCES users (id) DEFERRABLE INITIALLY DEFERRED, currency text NOT NULL,\n"
    "    available " AMOUNT ", locked " AMOUNT ", total " AMOUNT ", updated_at timestamptz NOT NULL,\n"
    "    seq bigint NOT NULL, UNIQUE (user_id, currency));\n"
    "CREATE TABLE positions (id uuid PRIMARY KEY,\n"
    "    user_id uuid NOT NULL REFERENCES users (id) DEFERRABLE INITIALLY DEFERRED, symbol text NOT NULL,\n"
    "    quantity " AMOUNT ", avg_price " AMOUNT ", unrealized_pnl " AMOUNT ", realized_pnl " AMOUNT ",\n"
    "    updated_at timestamptz NOT NULL, cost " AMOUNT ", last_price " AMOUNT ", seq bigint NOT NULL,\n"
    "    UNIQUE (user_id, symbol));\n"
    "CREATE TABLE orders (id uuid, user_id uuid NOT NULL, symbol text NOT NULL, type text NOT NULL, side text NOT NULL,\n"
    "    price " AMOUNT ", quantity " AMOUNT ", filled_quantity " AMOUNT ", status text NOT NULL, created_at timestamptz,\n"
    "    updated_at timestamptz NOT NULL, number bigint NOT NULL, client_order_id numeric(20,0) NOT NULL,\n"
    "    time_in_force text NOT NULL, reason text NOT NULL, filled_notional " AMOUNT ", seq bigint NOT NULL,\n"
    "    PRIMARY KEY (id, created_at)) PARTITION BY RANGE (created_at);\n"
    "CREATE TABLE trades (id uuid, order_id uuid NOT NULL, symbol text NOT NULL, price " AMOUNT ", quantity " AMOUNT ",\n"
    "    side text NOT NULL, fee " AMOUNT ", executed_at timestamptz, number bigint NOT NULL, maker boolean NOT NULL,\n"
    "    seq bigint NOT NULL, PRIMARY KEY (id, executed_at)) PARTITION BY RANGE (executed_at);\n"
    "CREATE TABLE order_history (id uuid, order_id uuid NOT NULL, status text NOT NULL, reason text NOT NULL,\n"
    "    filled_quantity " AMOUNT ", changed_at timestamptz, seq bigint NOT NULL,\n"
    "    PRIMARY KEY (id, changed_at)) PARTITION BY RANGE (changed_at);\n"
    "CREATE TABLE market_data (id uuid, symbol text NOT NULL, price " AMOUNT ", volume " AMOUNT ", high " AMOUNT ",\n"
    "    low " AMOUNT ", \"timestamp\" timestamptz, seq bigint NOT NULL,\n"
    "    PRIMARY KEY (id, \"timestamp\")) PARTITION BY RANGE (\"timestamp\");\n"
    "CREATE TABLE cursors (shard text PRIMARY KEY, position bigint NOT NULL, mark bigint NOT NULL,\n"
    "    event_at timestamptz NOT NULL);\n"
    "CREATE TABLE retention (name text PRIMARY KEY, kept_from bigint NOT NULL)";

static const char tables_down[] =
    "DROP TABLE retention, cursors, market_data, order_history, trades, orders, positions, balances, api_keys, risk_limits,\n"
    "    symbols, users, exchanges";

static const char indexes_up[] =
    "CREATE INDEX orders_user ON orders (user_id, created_at);\n"
    "CREATE INDEX orders_alive ON orders (user_id) WHERE status IN ('new', 'open');\n"
    "CREATE INDEX orders_symbol ON orders (symbol, status, created_at);\n"
    "CREATE INDEX trades_order ON trades (order_id, executed_at);\n"
    "CREATE INDEX trades_symbol ON trades (symbol, executed_at);\n"
    "CREATE INDEX order_history_order ON order_history (order_id, changed_at);\n"
    "CREATE INDEX market_data_symbol ON market_data (symbol, \"timestamp\");\n"
    "COMMENT ON COLUMN orders.user_id IS 'users.id';\n"
    "COMMENT ON COLUMN orders.symbol IS 'symbols.symbol';\n"
    "COMMENT ON COLUMN trades.order_id IS 'orders.id';\n"
    "COMMENT ON COLUMN order_history.order_id IS 'orders.id';\n"
    "COMMENT ON COLUMN market_data.symbol IS 'symbols.symbol';\n"
    "COMMENT ON COLUMN positions.symbol IS 'symbols.symbol';\n"
    "COMMENT ON COLUMN cursors.mark IS 'hash of the event at position: tells another log from this one';\n"
    "COMMENT ON COLUMN retention.kept_from IS 'days since 1970: rows of earlier days were dropped or moved'";

static const char indexes_down[] =
    "DROP INDEX orders_user, orders_alive, orders_symbol, trades_order, trades_symbol, order_history_order, market_data_symbol";

const stoa_pg_migration stoa_projection_migrations[] = {
    {1, "tables", tables_up, tables_down},
    {2, "indexes and comments", indexes_up, indexes_down},
};
const uint32_t stoa_projection_migration_count = sizeof stoa_projection_migrations / sizeof stoa_projection_migrations[0];

/* --- days and ids */

void stoa_projection_day_print(uint64_t day, char *text)
{
    time_t seconds = (time_t)(day * 86400);
    struct tm parts;
    (void)gmtime_r(&seconds, &parts);
    (void)strftime(text, STOA_DAY_TEXT_MAX, "%Y%m%d", &parts);
}

uint64_t stoa_projection_space(stoa_model_table table, const char *within)
{
    const char *name = stoa_projection_tables[table].name;
    return stoa_hash64(stoa_hash64(1, name, strlen(name)), within, strlen(within));
}

stoa_pg_uuid stoa_projection_id(uint64_t space, uint64_t number)
{
    const uint64_t version = UINT64_C(8) << 12, variant = UINT64_C(2) << 62;
    return (stoa_pg_uuid){.high = (space & ~UINT64_C(0xf000)) | version, .low = (number & UINT64_MAX >> 2) | variant};
}

uint64_t stoa_projection_number(const char *name, size_t size_bytes)
{
    return stoa_hash64(2, name, size_bytes);
}
