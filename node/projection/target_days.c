/* target_days.c - partitions: one a UTC day of each table that grows. Made before rows need them, dropped or moved when they
 * are older than what is kept.
 *
 * A partition is called TABLE_YYYYMMDD. kept_from of a table is the first day that may have rows: it rises in the transaction
 * that takes the day before it away, and what belongs to earlier days is not written again.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/array.h"
#include "base/log.h"
#include "node/projection/target_inside.h"

enum { DAYS_AHEAD = 2 };

/* --- lists of days */

static uint32_t place_of(const target_days *days, uint64_t day)
{
    uint32_t i = days->count;
    while (i > 0 && days->at[i - 1] >= day) { i--; } /* new ones come at the end */
    return i;
}

static stoa_err add_day(target_days *days, uint64_t day)
{
    uint32_t place = place_of(days, day);
    if (place < days->count && days->at[place] == day) { return STOA_OK; }
    uint64_t *at = stoa_array_room(days->at, days->count, &days->cap, sizeof *at);
    if (!at) { return STOA_FAIL(STOA_E_NOMEM, "partitions"); }
    days->at = at;
    memmove(days->at + place + 1, days->at + place, (days->count - place) * sizeof *days->at);
    days->at[place] = day;
    days->count++;
    return STOA_OK;
}

static bool has_day(const target_days *days, uint64_t day)
{
    uint32_t place = place_of(days, day);
    return place < days->count && days->at[place] == day;
}

void target_days_deinit(stoa_target *target)
{
    for (stoa_model_table t = 0; t < STOA_MODEL_TABLES; t++) { free(target->days[t].at); }
}

/* --- what there is */

typedef struct day_taker {
    target_days *days;
    size_t skip; /* of a partition's name */
} day_taker;

static stoa_err take_day(void *context, const stoa_pg_value *values, uint32_t count)
{
    const day_taker *taker = context;
    char name[80];
    struct tm parts = {0};
    STOA_ASSERT(count == 1);
    stoa_err err = stoa_pg_read_text(&values[0], name, sizeof name);
    if (err) { return err; }
    const char *end = strlen(name) > taker->skip ? strptime(name + taker->skip, "%Y%m%d", &parts) : NULL;
    if (!end || *end) { return STOA_OK; } /* somebody else's */
    return add_day(taker->days, (uint64_t)(timegm(&parts) / 86400));
}

static stoa_err take_kept(void *context, const stoa_pg_value *values, uint32_t count)
{
    stoa_target *target = context;
    char name[64];
    int64_t day;
    STOA_ASSERT(count == 2);
    stoa_err err = stoa_pg_read_text(&values[0], name, sizeof name);
    if (!err) { err = stoa_pg_read_int(&values[1], &day); }
    for (stoa_model_table t = 0; t < STOA_MODEL_TABLES && !err; t++) {
        if (strcmp(stoa_projection_tables[t].name, name) == 0) { target->kept_from[t] = day > 0 ? (uint64_t)day : 0; }
    }
    return err;
}

stoa_err target_days_load(stoa_target *target)
{
    stoa_err err = stoa_pg_select(target->pg, "SELECT name, kept_from FROM retention", NULL, 0, take_kept, target);
    for (stoa_model_table t = 0; t < STOA_MODEL_TABLES && !err; t++) {
        if (!stoa_projection_divisions[t].column) { continue; }
        const char *name = stoa_projection_tables[t].name;
        day_taker taker = {.days = &target->days[t], .skip = strlen(name) + 1};
        err = stoa_pg_select(target->pg, "SELECT c.relname::text FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid "
                                         "WHERE i.inhparent = $1::regclass ORDER BY 1",
                             &name, 1, take_day, &taker);
    }
    return err;
}

void target_keep(stoa_target *target)
{
    for (uint32_t i = 0; i < target->options->shard_count; i++) {
        for (stoa_model_table t = 0; t < STOA_MODEL_TABLES; t++) {
            stoa_model_keep_from(target->shards[i].model, t, target->kept_from[t]);
        }
    }
}

stoa_err stoa_target_keep_as(stoa_target *target, const stoa_target *from)
{
    stoa_err err = STOA_OK;
    for (stoa_model_table t = 0; t < STOA_MODEL_TABLES && !err; t++) {
        if (!from->kept_from[t]) { continue; }
        target->kept_from[t] = from->kept_from[t];
        err = stoa_pg_runf(target->pg, "INSERT INTO retention (name, kept_from) VALUES ('%s', %llu) ON CONFLICT (name) DO UPDATE "
                                       "SET kept_from = EXCLUDED.kept_from",
                           stoa_projection_tables[t].name, (unsigned long long)from->kept_from[t]);
    }
    target_keep(target);
    return err;
}

/* --- making */

static stoa_err make_day(stoa_target *target, stoa_model_table table, uint64_t day)
{
    char from[STOA_DAY_TEXT_MAX], to[STOA_DAY_TEXT_MAX];
    const char *name = stoa_projection_tables[table].name;
    stoa_projection_day_print(day, from);
    stoa_projection_day_print(day + 1, to);
    stoa_err err = stoa_pg_runf(target->pg, "CREATE TABLE IF NOT EXISTS %s_%s PARTITION OF %s FOR VALUES FROM ('%s 00:00:00+00') "
                                            "TO ('%s 00:00:00+00')", name, from, name, from, to);
    return err ? err : add_day(&target->days[table], day);
}

stoa_err target_days_ensure(stoa_target *target, const stoa_model *model)
{
    stoa_err err = STOA_OK;
    for (stoa_model_table t = 0; t < STOA_MODEL_TABLES && !err; t++) {
        uint32_t count;
        const uint64_t *days = stoa_model_days(model, t, &count);
        for (uint32_t i = 0; i < count && !err; i++) {
            if (!has_day(&target->days[t], days[i])) { err = make_day(target, t, days[i]); }
        }
    }
    return err;
}

/* --- taking away */

static stoa_err is_needed(stoa_target *target, stoa_model_table table, const char *partition, bool *out)
{
    char sql[256];
    int64_t rows = 0;
    const char *alive = stoa_projection_divisions[table].alive;
    *out = false;
    if (!alive) { return STOA_OK; }
    (void)snprintf(sql, sizeof sql, "SELECT count(*) FROM (SELECT FROM %s WHERE %s LIMIT 1) one", partition, alive);
    stoa_err err = stoa_pg_number(target->pg, sql, &rows);
    *out = rows > 0;
    return err;
}

/* The statements that take the partition away and say so. */
static stoa_err take_away(stoa_target *target, stoa_model_table table, const char *partition, uint64_t day)
{
    const char *name = stoa_projection_tables[table].name, *schema = target->options->schema;
    stoa_err err = stoa_pg_run(target->pg, "BEGIN; SET LOCAL lock_timeout = '2s'", NULL);
    if (!err && target->options->move_expired) {
        err = stoa_pg_runf(target->pg, "CREATE SCHEMA IF NOT EXISTS %s_expired; ALTER TABLE %s DETACH PARTITION %s; "
                                       "ALTER TABLE %s SET SCHEMA %s_expired", schema, name, partition, partition, schema);
    } else if (!err) {
        err = stoa_pg_runf(target->pg, "DROP TABLE %s", partition);
    }
    if (!err) {
        err = stoa_pg_runf(target->pg, "INSERT INTO retention (name, kept_from) VALUES ('%s', %llu) ON CONFLICT (name) DO UPDATE "
                                       "SET kept_from = EXCLUDED.kept_from; COMMIT", name, (unsigned long long)day + 1);
    }
    if (err) { return err; }
    target->kept_from[table] = day + 1;
    stoa_log(STOA_LOG_INFO, "projection_expired", STOA_KV("schema", schema), STOA_KV("partition", partition),
             STOA_KV("what", target->options->move_expired ? "moved" : "dropped"));
    return STOA_OK;
}

/* The oldest days, as long as they are too old and nobody needs them. */
static stoa_err expire(stoa_target *target, stoa_model_table table, uint64_t now_ns)
{
    const stoa_projection_division *division = &stoa_projection_divisions[table];
    uint64_t keep_ns = division->market ? target->options->keep_market_ns : target->options->keep_orders_ns;
    target_days *days = &target->days[table];
    while (days->count && keep_ns && (days->at[0] + 1) * STOA_DAY_NS + keep_ns <= now_ns) {
        char partition[80], text[STOA_DAY_TEXT_MAX];
        bool needed;
        stoa_projection_day_print(days->at[0], text);
        (void)snprintf(partition, sizeof partition, "%s_%s", stoa_projection_tables[table].name, text);
        stoa_err err = is_needed(target, table, partition, &needed);
        if (!err && !needed) { err = take_away(target, table, partition, days->at[0]); }
        if (err || needed) { return err; }
        memmove(days->at, days->at + 1, --days->count * sizeof *days->at);
    }
    return STOA_OK;
}

stoa_err stoa_target_tidy(stoa_target *target, uint64_t now_ns)
{
    stoa_err err = STOA_OK;
    uint64_t today = now_ns / STOA_DAY_NS;
    for (stoa_model_table t = 0; t < STOA_MODEL_TABLES && !err; t++) {
        if (!stoa_projection_divisions[t].column) { continue; }
        for (uint64_t day = today; day <= today + DAYS_AHEAD && !err; day++) {
            if (!has_day(&target->days[t], day)) { err = make_day(target, t, day); }
        }
        if (!err) { err = expire(target, t, now_ns); }
    }
    target_keep(target);
    return err;
}
