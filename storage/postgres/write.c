/* write.c - COPY, staging and pipeline of write.h.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "storage/postgres/write.h"

#include <stdio.h>
#include <string.h>

#include "base/buf.h"
#include "storage/postgres/inside.h"

enum { COPY_CHUNK_BYTES = 256 << 10 };

/* signature, flags, length of the header's extension */
static const char copy_header[19] = "PGCOPY\n\377\r\n\0\0\0\0\0\0\0\0\0";
static const char copy_trailer[2] = {'\377', '\377'};

/* --- statements of a table */

static void put_columns(const stoa_pg_table *table, stoa_buf *out)
{
    for (uint32_t i = 0; i < table->column_count; i++) {
        stoa_buf_printf(out, "%s%s", i ? ", " : "", table->columns[i].name);
    }
}

/* INSERT INTO orders (...) <values> ON CONFLICT (...) DO UPDATE SET ... WHERE orders.seq < EXCLUDED.seq */
static void put_upsert_head(const stoa_pg_table *table, stoa_buf *out)
{
    stoa_buf_printf(out, "INSERT INTO %s (", table->name);
    put_columns(table, out);
    stoa_buf_puts(out, ") ");
}

/* Whether a column is part of "id, created_at". */
static bool in_key(const char *key, const char *name)
{
    size_t size = strlen(name);
    for (const char *at = key; (at = strstr(at, name)) != NULL; at += size) {
        bool begins = at == key || at[-1] == ' ', ends = at[size] == '\0' || at[size] == ',';
        if (begins && ends) { return true; }
    }
    return false;
}

static void put_upsert_tail(const stoa_pg_table *table, stoa_buf *out)
{
    const char *between = "";
    stoa_buf_printf(out, " ON CONFLICT (%s) DO UPDATE SET ", table->key);
    for (uint32_t i = 0; i < table->column_count; i++) {
        const char *name = table->columns[i].name;
        if (in_key(table->key, name)) { continue; }
        stoa_buf_printf(out, "%s%s = EXCLUDED.%s", between, name, name);
        between = ", ";
    }
    if (table->guard) { stoa_buf_printf(out, " WHERE %s.%s < EXCLUDED.%s", table->name, table->guard, table->guard); }
}

/* Whether the table is in the list; it is from now on. */
static bool met(const void **list, const stoa_pg_table *table)
{
    for (uint32_t i = 0; i < STOA_PG_PREPARED_MAX; i++) {
        if (list[i] == table) { return true; }
        if (!list[i]) {
            list[i] = table;
            return false;
        }
    }
    STOA_ASSERT(false && "more tables than a session remembers");
    return false;
}

/* --- COPY */

static stoa_err put_copy(stoa_pg *pg, const void *bytes, size_t size_bytes)
{
    const char *at = bytes;
    while (size_bytes) {
        size_t chunk = size_bytes < COPY_CHUNK_BYTES ? size_bytes : COPY_CHUNK_BYTES;
        int put = PQputCopyData(pg->conn, at, (int)chunk);
        if (put < 0) { return stoa_pg_fail(pg, NULL, "copy"); }
        stoa_err err = stoa_pg_flush(pg); /* what libpq holds stays a chunk */
        if (err) { return err; }
        if (put == 0) { continue; }
        at += chunk;
        size_bytes -= chunk;
    }
    return STOA_OK;
}

static stoa_err begin_copy(stoa_pg *pg, const char *into, const stoa_pg_table *table)
{
    char text[1536], doing[96];
    stoa_buf sql = STOA_BUF_FIXED(text);
    stoa_buf_printf(&sql, "COPY %s (", into);
    put_columns(table, &sql);
    stoa_buf_puts(&sql, ") FROM STDIN (FORMAT binary)");
    STOA_ASSERT(!sql.cut);
    (void)snprintf(doing, sizeof doing, "copy into %s", into);
    if (!PQsendQuery(pg->conn, text)) { return stoa_pg_fail(pg, NULL, doing); }
    PGresult *result = NULL;
    stoa_err err = stoa_pg_next(pg, &result);
    if (err) { return err; }
    bool open = PQresultStatus(result) == PGRES_COPY_IN;
    if (!open) { err = stoa_pg_fail(pg, result, doing); }
    PQclear(result);
    if (!open) { (void)stoa_pg_drain(pg, doing, NULL); }
    return err;
}

static stoa_err copy_into(stoa_pg *pg, const char *into, const stoa_pg_rows *rows)
{
    char doing[96];
    (void)snprintf(doing, sizeof doing, "copy into %s", into);
    stoa_err err = begin_copy(pg, into, rows->table);
    if (err) { return err; }
    err = put_copy(pg, copy_header, sizeof copy_header);
    if (!err) { err = put_copy(pg, rows->at, rows->used_bytes); }
    if (!err) { err = put_copy(pg, copy_trailer, sizeof copy_trailer); }
    if (err) { return err; }
    if (PQputCopyEnd(pg->conn, NULL) < 0) { return stoa_pg_fail(pg, NULL, doing); }
    return stoa_pg_drain(pg, doing, NULL);
}

stoa_err stoa_pg_copy(stoa_pg *pg, const stoa_pg_rows *rows)
{
    STOA_ASSERT(!rows->cut);
    return rows->count ? copy_into(pg, rows->table->name, rows) : STOA_OK;
}

/* Of our columns only, and without what the table demands of its others: an INSERT that names ours fills those. */
static stoa_err make_stage(stoa_pg *pg, const char *name, const stoa_pg_table *table)
{
    char text[1536];
    stoa_buf sql = STOA_BUF_FIXED(text);
    stoa_buf_printf(&sql, "CREATE TEMP TABLE IF NOT EXISTS %s ON COMMIT DELETE ROWS AS SELECT ", name);
    put_columns(table, &sql);
    stoa_buf_printf(&sql, " FROM %s WITH NO DATA", table->name);
    STOA_ASSERT(!sql.cut);
    return stoa_pg_run(pg, text, NULL);
}

stoa_err stoa_pg_stage(stoa_pg *pg, const stoa_pg_rows *rows)
{
    STOA_ASSERT(!rows->cut);
    if (!rows->count) { return STOA_OK; }
    const stoa_pg_table *table = rows->table;
    char into[64], text[4096];
    (void)snprintf(into, sizeof into, "stage_%s", table->name);
    stoa_err err = STOA_OK;
    if (!met(pg->staged, table)) { err = make_stage(pg, into, table); }
    if (!err) { err = copy_into(pg, into, rows); }
    stoa_buf sql = STOA_BUF_FIXED(text);
    put_upsert_head(table, &sql);
    stoa_buf_puts(&sql, "SELECT ");
    put_columns(table, &sql);
    stoa_buf_printf(&sql, " FROM pg_temp.%s", into);
    put_upsert_tail(table, &sql);
    STOA_ASSERT(!sql.cut);
    return err ? err : stoa_pg_run(pg, text, NULL);
}

/* --- pipeline */

static stoa_err prepare(stoa_pg *pg, const stoa_pg_table *table)
{
    if (met(pg->prepared, table)) { return STOA_OK; }
    char text[4096];
    stoa_buf sql = STOA_BUF_FIXED(text);
    put_upsert_head(table, &sql);
    stoa_buf_puts(&sql, "VALUES (");
    for (uint32_t i = 1; i <= table->column_count; i++) { stoa_buf_printf(&sql, "%s$%u", i > 1 ? ", " : "", i); }
    stoa_buf_puts(&sql, ")");
    put_upsert_tail(table, &sql);
    STOA_ASSERT(!sql.cut);
    return PQsendPrepare(pg->conn, table->name, text, 0, NULL) ? STOA_OK : stoa_pg_fail(pg, NULL, "prepare");
}

static stoa_err send_row(stoa_pg *pg, const stoa_pg_table *table, const stoa_pg_value *fields, uint32_t count)
{
    const char *values[STOA_PG_COLUMNS_MAX];
    int sizes[STOA_PG_COLUMNS_MAX], binary[STOA_PG_COLUMNS_MAX];
    for (uint32_t i = 0; i < count; i++) {
        values[i] = (const char *)fields[i].bytes;
        sizes[i] = (int)fields[i].size_bytes;
        binary[i] = 1;
    }
    if (PQsendQueryPrepared(pg->conn, table->name, (int)count, values, sizes, binary, 1)) { return STOA_OK; }
    return stoa_pg_fail(pg, NULL, "send");
}

static stoa_err send_rows(stoa_pg *pg, const stoa_pg_rows *rows)
{
    stoa_pg_value fields[STOA_PG_COLUMNS_MAX];
    const uint8_t *at = rows->at;
    stoa_err err = STOA_OK;
    for (uint32_t i = 0; i < rows->count && !err; i++) {
        uint32_t count = stoa_pg_tuple(&at, fields);
        err = send_row(pg, rows->table, fields, count);
    }
    return err;
}

/* Results until the sync's; the first error counts, what the server skipped behind it does not. */
static stoa_err take_results(stoa_pg *pg, const char *doing)
{
    stoa_err first = STOA_OK;
    for (bool synced = false; !synced;) {
        PGresult *result = NULL;
        stoa_err err = stoa_pg_next(pg, &result);
        if (err) { return first ? first : err; }
        if (!result) { /* the end of one statement's results, or of a connection */
            if (PQstatus(pg->conn) == CONNECTION_BAD) { return first ? first : stoa_pg_fail(pg, NULL, doing); }
            continue;
        }
        ExecStatusType status = PQresultStatus(result);
        if (status == PGRES_FATAL_ERROR && !first) { first = stoa_pg_fail(pg, result, doing); }
        synced = status == PGRES_PIPELINE_SYNC;
        PQclear(result);
    }
    return first;
}

/* The statements that are new to the session, each with its answer: one that fails must not be remembered as prepared. */
static stoa_err prepare_all(stoa_pg *pg, const stoa_pg_rows *const *rows, uint32_t count)
{
    stoa_err err = STOA_OK;
    for (uint32_t i = 0; i < count && !err; i++) {
        if (rows[i]->count) { err = prepare(pg, rows[i]->table); }
    }
    return err;
}

stoa_err stoa_pg_pipe(stoa_pg *pg, const stoa_pg_rows *const *rows, uint32_t count)
{
    uint32_t total = 0;
    for (uint32_t i = 0; i < count; i++) {
        STOA_ASSERT(!rows[i]->cut);
        total += rows[i]->count;
    }
    STOA_ASSERT(total <= STOA_PG_PIPE_MAX);
    if (!total) { return STOA_OK; }
    if (!PQenterPipelineMode(pg->conn)) { return stoa_pg_fail(pg, NULL, "pipeline"); }
    stoa_err err = prepare_all(pg, rows, count);
    for (uint32_t i = 0; i < count && !err; i++) { err = send_rows(pg, rows[i]); }
    if (err) { return err; }
    if (!PQpipelineSync(pg->conn)) { return stoa_pg_fail(pg, NULL, "pipeline"); }
    err = take_results(pg, "pipeline");
    if (err) { return err; }
    return PQexitPipelineMode(pg->conn) ? STOA_OK : stoa_pg_fail(pg, NULL, "pipeline");
}
