/* target.c - opening, batches and the swap of target.h.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "node/projection/target.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/array.h"
#include "node/projection/target_inside.h"
#include "storage/postgres/write.h"

/* --- opening */

/* Held as long as the session lives. A server notices a moment late that a client is gone: wait for it. */
static stoa_err lock_schema(stoa_target *target)
{
    const char *schema = target->options->schema;
    stoa_err err = stoa_pg_runf(target->pg, "SET lock_timeout = '1s'; SELECT pg_advisory_lock(hashtext('stoa.projection'), hashtext('%s')); "
                                            "SET lock_timeout = 0", schema);
    return err == STOA_E_AGAIN ? STOA_FAIL(STOA_E_DENIED, "another projector writes schema %s", schema) : err;
}

typedef struct cursor_taker {
    target_shard *shard;
} cursor_taker;

static stoa_err take_cursor(void *context, const stoa_pg_value *values, uint32_t count)
{
    const cursor_taker *taker = context;
    int64_t position, mark;
    STOA_ASSERT(count == 3);
    stoa_err err = stoa_pg_read_int(&values[0], &position);
    if (!err) { err = stoa_pg_read_int(&values[1], &mark); }
    if (!err) { err = stoa_pg_read_time(&values[2], &taker->shard->event_ns); }
    if (!err && position < 0) { err = STOA_FAIL(STOA_E_CORRUPT, "a cursor below 0"); }
    if (err) { return err; }
    taker->shard->position = (uint64_t)position;
    taker->shard->mark = (uint64_t)mark;
    return STOA_OK;
}

static stoa_err load_shard(stoa_target *target, uint32_t i)
{
    const char *name = target->options->shards[i];
    target_shard *shard = &target->shards[i];
    cursor_taker taker = {shard};
    stoa_err err = stoa_model_new(name, &shard->model);
    if (!err) {
        err = stoa_pg_runf(target->pg, "INSERT INTO cursors (shard, position, mark, event_at) "
                                       "VALUES ('%s', 0, 0, 'epoch') ON CONFLICT DO NOTHING", name);
    }
    if (!err) {
        err = stoa_pg_select(target->pg, "SELECT position, mark, event_at FROM cursors WHERE shard = $1", &name, 1, take_cursor,
                             &taker);
    }
    return err ? err : stoa_model_load(shard->model, target->pg);
}

static stoa_err open_session(stoa_target *target)
{
    const stoa_target_options *o = target->options;
    stoa_pg_options options = {.conninfo = o->conninfo, .application = "stoa projection", .schema = o->schema,
                               .timeout_ns = o->timeout_ns, .stop_fd = o->stop_fd};
    stoa_err err = stoa_pg_open(&options, &target->pg);
    if (!err && !o->shadow) { err = lock_schema(target); }
    if (err) { return err; }
    return stoa_pg_migrate(target->pg, o->schema, stoa_projection_migrations, stoa_projection_migration_count,
                           stoa_projection_migration_count);
}

stoa_err stoa_target_open(const stoa_target_options *options, stoa_target **out)
{
    STOA_ASSERT(options->shard_count <= STOA_TARGET_SHARDS_MAX);
    stoa_target *target = calloc(1, sizeof *target);
    if (!target) { return STOA_FAIL(STOA_E_NOMEM, "projection"); }
    target->options = options;
    stoa_err err = open_session(target);
    if (!err) { err = target_days_load(target); }
    for (uint32_t i = 0; i < options->shard_count && !err; i++) { err = load_shard(target, i); }
    if (!err) { err = target_facts_write(target); }
    if (err) {
        stoa_target_close(target);
        return err;
    }
    target_keep(target);
    *out = target;
    return STOA_OK;
}

void stoa_target_close(stoa_target *target)
{
    if (!target) { return; }
    for (uint32_t i = 0; i < STOA_TARGET_SHARDS_MAX; i++) { stoa_model_free(target->shards[i].model); }
    target_days_deinit(target);
    stoa_pg_close(target->pg);
    free(target);
}

const char *stoa_target_where(const stoa_target *target)
{
    return stoa_pg_where(target->pg);
}

stoa_model *stoa_target_model(stoa_target *target, uint32_t shard)
{
    return target->shards[shard].model;
}

uint64_t stoa_target_position(const stoa_target *target, uint32_t shard)
{
    return target->shards[shard].position;
}

uint64_t stoa_target_mark(const stoa_target *target, uint32_t shard)
{
    return target->shards[shard].mark;
}

uint64_t stoa_target_event_ns(const stoa_target *target, uint32_t shard)
{
    return target->shards[shard].event_ns;
}

/* --- a batch */

static uint64_t count_rows(const stoa_model *model)
{
    uint64_t count = 0;
    for (stoa_model_table t = 0; t < STOA_MODEL_TABLES; t++) {
        count += stoa_model_fresh(model, t)->count + stoa_model_changed(model, t)->count;
    }
    return count;
}

/* Few rows: one round trip for all of them, whatever their tables. */
static stoa_err write_piped(stoa_target *target, const stoa_model *model)
{
    const stoa_pg_rows *all[2 * STOA_MODEL_TABLES];
    for (stoa_model_table t = 0; t < STOA_MODEL_TABLES; t++) {
        all[2 * t] = stoa_model_fresh(model, t);
        all[2 * t + 1] = stoa_model_changed(model, t);
    }
    return stoa_pg_pipe(target->pg, all, 2 * STOA_MODEL_TABLES);
}

static stoa_err write_copied(stoa_target *target, const stoa_model *model)
{
    stoa_err err = STOA_OK;
    for (stoa_model_table t = 0; t < STOA_MODEL_TABLES && !err; t++) {
        err = stoa_pg_copy(target->pg, stoa_model_fresh(model, t));
        if (!err) { err = stoa_pg_stage(target->pg, stoa_model_changed(model, t)); }
    }
    return err;
}

static stoa_err move_cursor(stoa_target *target, uint32_t i, uint64_t position, uint64_t mark, uint64_t event_ns)
{
    char sql[320];
    uint64_t moved = 0;
    (void)snprintf(sql, sizeof sql,
                   "UPDATE cursors SET position = %llu, mark = %lld, event_at = to_timestamp(%llu::numeric / 1000000) "
                   "WHERE shard = '%s' AND position = %llu",
                   (unsigned long long)position, (long long)mark, (unsigned long long)(event_ns / 1000), target->options->shards[i],
                   (unsigned long long)target->shards[i].position);
    stoa_err err = stoa_pg_run(target->pg, sql, &moved);
    if (err || moved == 1) { return err; }
    return STOA_FAIL(STOA_E_STALE, "table cursors: shard %s is not at %llu any more", target->options->shards[i],
                     (unsigned long long)target->shards[i].position);
}

stoa_err stoa_target_write(stoa_target *target, uint32_t i, uint64_t position, uint64_t mark, uint64_t event_ns,
                           stoa_target_written *out)
{
    target_shard *shard = &target->shards[i];
    stoa_projection_way way = target->options->way;
    stoa_err err = stoa_model_collect(shard->model);
    if (!err) { err = target_days_ensure(target, shard->model); }
    if (err) { return err; }
    uint64_t rows = count_rows(shard->model);
    bool pipe = rows <= STOA_PG_PIPE_MAX && (way == STOA_WAY_PIPE || (way == STOA_WAY_BY_SIZE && rows <= STOA_PG_PIPE_MAX / 2));
    err = stoa_pg_run(target->pg, "BEGIN", NULL);
    if (!err) { err = pipe ? write_piped(target, shard->model) : write_copied(target, shard->model); }
    if (!err) { err = move_cursor(target, i, position, mark, event_ns); }
    if (!err) { err = stoa_pg_run(target->pg, "COMMIT", NULL); }
    if (err) { return err; }
    stoa_model_clear(shard->model);
    shard->position = position;
    shard->mark = mark;
    shard->event_ns = event_ns;
    *out = (stoa_target_written){rows, pipe};
    return STOA_OK;
}

/* --- schemas */

stoa_err stoa_target_swap(stoa_target *target, const char *shadow)
{
    const char *schema = target->options->schema;
    return stoa_pg_runf(target->pg, "BEGIN; ALTER SCHEMA %s RENAME TO %s_old; ALTER SCHEMA %s RENAME TO %s; COMMIT", schema, schema,
                        shadow, schema);
}

typedef struct names {
    char (*at)[STOA_NAME_MAX + 1];
    uint32_t count, cap;
} names;

static stoa_err take_name(void *context, const stoa_pg_value *values, uint32_t count)
{
    names *n = context;
    STOA_ASSERT(count == 1);
    void *at = stoa_array_room(n->at, n->count, &n->cap, sizeof *n->at);
    if (!at) { return STOA_FAIL(STOA_E_NOMEM, "names of tables"); }
    n->at = at;
    return stoa_pg_read_text(&values[0], n->at[n->count++], sizeof *n->at);
}

static bool is_ours(const char *table)
{
    static const char *const others[] = {"migrations", "cursors", "retention"};
    bool ours = false;
    for (stoa_model_table t = 0; t < STOA_MODEL_TABLES; t++) { ours = ours || strcmp(table, stoa_projection_tables[t].name) == 0; }
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++) { ours = ours || strcmp(table, others[i]) == 0; }
    return ours;
}

/* The first thing is the migrations: a schema with tables and without that one is nobody's that we know. */
static stoa_err check_ours(stoa_target *target, const char *schema)
{
    names all = {0};
    const char *foreign = NULL;
    bool begun = false;
    stoa_err err = stoa_pg_select(target->pg, "SELECT c.relname::text FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace "
                                              "WHERE n.nspname = $1 AND NOT c.relispartition AND c.relkind IN ('r', 'p', 'v', 'm', 'f') "
                                              "ORDER BY c.relname",
                                  &schema, 1, take_name, &all);
    for (uint32_t i = 0; i < all.count && !err; i++) {
        begun = begun || strcmp(all.at[i], "migrations") == 0;
        if (!foreign && !is_ours(all.at[i])) { foreign = all.at[i]; }
    }
    if (!foreign && all.count && !begun) { foreign = all.at[0]; }
    if (!err && foreign) {
        err = STOA_FAIL(STOA_E_EXISTS, "schema %s has '%s' in it, which is not the projection's: it stays as it is, and no rebuild can use "
                        "its name", schema, foreign);
    }
    free(all.at);
    return err;
}

stoa_err stoa_target_drop(stoa_target *target, const char *schema)
{
    names partitions = {0};
    stoa_err err = check_ours(target, schema);
    if (err) { return err; }
    err = stoa_pg_select(target->pg, "SELECT c.relname::text FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace "
                                              "WHERE n.nspname = $1 AND c.relispartition AND c.relkind = 'r'",
                                  &schema, 1, take_name, &partitions);
    /* one by one: a transaction that drops them all would need more locks than a server has by default */
    for (uint32_t i = 0; i < partitions.count && !err; i++) {
        err = stoa_pg_runf(target->pg, "DROP TABLE IF EXISTS %s.%s", schema, partitions.at[i]);
    }
    free(partitions.at);
    return err ? err : stoa_pg_runf(target->pg, "DROP SCHEMA IF EXISTS %s CASCADE", schema);
}

stoa_err stoa_target_rows(stoa_target *target, stoa_model_table table, uint64_t *out)
{
    char sql[256];
    int64_t count = 0;
    (void)snprintf(sql, sizeof sql, "SELECT count(*) FROM %s", stoa_projection_tables[table].name);
    stoa_err err = stoa_pg_number(target->pg, sql, &count);
    if (!err) { *out = (uint64_t)count; }
    return err;
}
