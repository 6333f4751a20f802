/* target_facts.c - what the settings know and no log does: venues, clients and their keys. They are written anew whenever the
 * target is opened, so that they are what the settings are.
 *
 * A client is a user without orders; its key is a public one. No secret is ever written.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "node/projection/target_inside.h"
#include "storage/postgres/write.h"

enum { ROWS_BYTES = 1 << 20, ROWS_AT_ONCE = 64 };

static void put_exchange(stoa_pg_rows *rows, const char *name, const char *kind)
{
    stoa_pg_row_begin(rows);
    stoa_pg_put_textz(rows, name);
    stoa_pg_put_textz(rows, kind);
    stoa_pg_put_bool(rows, true);
    stoa_pg_row_end(rows);
}

static stoa_pg_uuid client_uuid(const stoa_projection_client *c)
{
    return stoa_projection_id(stoa_projection_space(STOA_MODEL_USERS, "clients"), stoa_projection_number(c->name, strlen(c->name)));
}

static void put_user(stoa_pg_rows *rows, const stoa_projection_client *c)
{
    stoa_pg_row_begin(rows);
    stoa_pg_put_uuid(rows, client_uuid(c));
    stoa_pg_put_null(rows);
    stoa_pg_put_null(rows);
    stoa_pg_put_textz(rows, "client");
    stoa_pg_put_time(rows, c->created_ns);
    stoa_pg_put_time(rows, c->created_ns);
    stoa_pg_put_bool(rows, true);
    stoa_pg_put_textz(rows, c->name);
    stoa_pg_put_textz(rows, ""); /* of no shard */
    stoa_pg_put_null(rows);
    stoa_pg_put_int(rows, 0);
    stoa_pg_row_end(rows);
}

/* A client trades for accounts, whose limits count: its own are none. */
static void put_limits(stoa_pg_rows *rows, const stoa_projection_client *c)
{
    stoa_pg_uuid user = client_uuid(c);
    stoa_pg_row_begin(rows);
    stoa_pg_put_uuid(rows, stoa_projection_id(stoa_projection_space(STOA_MODEL_RISK_LIMITS, "clients"), user.low));
    stoa_pg_put_uuid(rows, user);
    for (int i = 0; i < 3; i++) { stoa_pg_put_amount(rows, 0); }
    stoa_pg_put_null(rows);
    stoa_pg_put_int(rows, 0);
    stoa_pg_row_end(rows);
}

static void put_key(stoa_pg_rows *rows, const stoa_projection_client *c)
{
    stoa_pg_uuid user = client_uuid(c);
    stoa_pg_row_begin(rows);
    stoa_pg_put_uuid(rows, stoa_projection_id(stoa_projection_space(STOA_MODEL_API_KEYS, c->name),
                                              stoa_projection_number(c->public_key, strlen(c->public_key))));
    stoa_pg_put_uuid(rows, user);
    stoa_pg_put_textz(rows, c->name);
    stoa_pg_put_textz(rows, c->public_key);
    stoa_pg_put_textz(rows, c->accounts);
    stoa_pg_put_bool(rows, true);
    stoa_pg_put_time(rows, c->created_ns);
    stoa_pg_row_end(rows);
}

static stoa_err write_clients(stoa_target *target, stoa_pg_rows *rows, uint32_t from, uint32_t to)
{
    static const stoa_model_table tables[] = {STOA_MODEL_USERS, STOA_MODEL_RISK_LIMITS, STOA_MODEL_API_KEYS};
    static void (*const puts[])(stoa_pg_rows *rows, const stoa_projection_client *c) = {put_user, put_limits, put_key};
    const stoa_pg_rows *all[3];
    for (uint32_t t = 0; t < 3; t++) {
        rows[t].table = &stoa_projection_tables[tables[t]];
        stoa_pg_rows_clear(&rows[t]);
        for (uint32_t i = from; i < to; i++) { puts[t](&rows[t], &target->options->clients[i]); }
        if (rows[t].cut) { return STOA_FAIL(STOA_E_NOMEM, "rows of clients"); }
        all[t] = &rows[t];
    }
    return stoa_pg_pipe(target->pg, all, 3);
}

static stoa_err write_exchanges(stoa_target *target, stoa_pg_rows *rows)
{
    const stoa_pg_rows *all[] = {rows};
    put_exchange(rows, "stoa", "own");
    for (uint32_t i = 0; i < target->options->exchange_count; i++) {
        put_exchange(rows, target->options->exchanges[i].name, target->options->exchanges[i].kind);
    }
    return rows->cut ? STOA_FAIL(STOA_E_NOMEM, "rows of exchanges") : stoa_pg_pipe(target->pg, all, 1);
}

stoa_err target_facts_write(stoa_target *target)
{
    stoa_pg_rows rows[3];
    uint32_t count = target->options->client_count;
    for (uint32_t t = 0; t < 3; t++) { stoa_pg_rows_init(&rows[t], &stoa_projection_tables[STOA_MODEL_EXCHANGES], ROWS_BYTES); }
    stoa_err err = stoa_pg_run(target->pg, "BEGIN; DELETE FROM api_keys; DELETE FROM users WHERE shard = ''; "
                                           "DELETE FROM exchanges e WHERE NOT EXISTS (SELECT FROM symbols s WHERE s.exchange = e.name)",
                               NULL);
    if (!err) { err = write_exchanges(target, &rows[0]); }
    for (uint32_t i = 0; i < count && !err; i += ROWS_AT_ONCE) {
        err = write_clients(target, rows, i, count - i < ROWS_AT_ONCE ? count : i + ROWS_AT_ONCE);
    }
    if (!err) { err = stoa_pg_run(target->pg, "COMMIT", NULL); }
    for (uint32_t t = 0; t < 3; t++) { stoa_pg_rows_deinit(&rows[t]); }
    return err;
}
