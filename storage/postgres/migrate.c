/* migrate.c - the steps of migrate.h.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "storage/postgres/migrate.h"

#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "storage/postgres/rows.h"

stoa_err stoa_pg_migrated(stoa_pg *pg, const char *schema, uint32_t *number_out)
{
    char sql[256];
    int64_t there = 0, number = 0;
    (void)snprintf(sql, sizeof sql, "SELECT count(*) FROM pg_tables WHERE schemaname = '%s' AND tablename = 'migrations'", schema);
    stoa_err err = stoa_pg_number(pg, sql, &there);
    (void)snprintf(sql, sizeof sql, "SELECT coalesce(max(number), 0)::bigint FROM %s.migrations", schema);
    if (!err && there) { err = stoa_pg_number(pg, sql, &number); }
    if (!err) { *number_out = (uint32_t)number; }
    return err;
}

static stoa_err make_schema(stoa_pg *pg, const char *schema)
{
    char sql[128];
    int64_t there = 0;
    (void)snprintf(sql, sizeof sql, "SELECT count(*) FROM pg_namespace WHERE nspname = '%s'", schema);
    stoa_err err = stoa_pg_number(pg, sql, &there);
    if (!err && !there) { err = stoa_pg_runf(pg, "CREATE SCHEMA IF NOT EXISTS %s", schema); }
    if (err) { return err; }
    return stoa_pg_runf(pg, "CREATE TABLE IF NOT EXISTS %s.migrations (number integer PRIMARY KEY, name text NOT NULL, "
                            "applied_at timestamptz NOT NULL DEFAULT now())", schema);
}

static stoa_err step(stoa_pg *pg, const char *schema, const stoa_pg_migration *m, bool up)
{
    stoa_err err = stoa_pg_run(pg, "BEGIN", NULL);
    if (!err) { err = stoa_pg_runf(pg, "LOCK TABLE %s.migrations IN EXCLUSIVE MODE", schema); }
    uint32_t at = 0;
    if (!err) { err = stoa_pg_migrated(pg, schema, &at); }
    bool due = up ? at + 1 == m->number : at == m->number;
    if (!err && due) { err = stoa_pg_run(pg, up ? m->up : m->down, NULL); }
    if (!err && due && up) {
        err = stoa_pg_runf(pg, "INSERT INTO %s.migrations (number, name) VALUES (%u, '%s')", schema, m->number, m->name);
    }
    if (!err && due && !up) { err = stoa_pg_runf(pg, "DELETE FROM %s.migrations WHERE number = %u", schema, m->number); }
    if (!err) { err = stoa_pg_run(pg, "COMMIT", NULL); }
    if (err) { return STOA_PASS(err, "migration %u (%s) of schema %s", m->number, m->name, schema); }
    if (due) {
        stoa_log(STOA_LOG_INFO, "postgres_migrated", STOA_KV("schema", schema), STOA_KV("direction", up ? "up" : "down"),
                 STOA_KU("number", m->number), STOA_KV("name", m->name));
    }
    return STOA_OK;
}

stoa_err stoa_pg_migrate(stoa_pg *pg, const char *schema, const stoa_pg_migration *list, uint32_t count, uint32_t target)
{
    uint32_t at = 0;
    STOA_ASSERT(target <= count);
    stoa_err err = stoa_pg_migrated(pg, schema, &at);
    if (!err && at > count + 1) {
        return STOA_FAIL(STOA_E_VERSION, "schema %s has migration %u, this build knows %u: it is two or more behind", schema, at,
                         count);
    }
    if (err || at == target || (at == count + 1 && target == count)) { return err; } /* one ahead is compatible */
    if (at == 0) { err = make_schema(pg, schema); }
    for (; at < target && !err; at++) { err = step(pg, schema, &list[at], true); }
    for (; at > target && !err; at--) { err = step(pg, schema, &list[at - 1], false); }
    return err;
}
