/* rows.h - rows in PostgreSQL's binary form: encoded once, the same bytes for COPY and for a statement's parameters.
 *
 * A tuple is i16 number of fields, then per field i32 length (-1: null) and the type's bytes, all big-endian
 * (https://www.postgresql.org/docs/15/sql-copy.html, "Binary Format"). The types' own forms are those of the server's *_send
 * and *_recv functions; tests/unit/storage/postgres_test.c holds them against a real server.
 *
 * Amounts are exact: `numeric` with eight decimals, from 128-bit integers in units of 10^-8. Times are microseconds
 * (timestamptz), from nanoseconds, rounded down.
 *
 * Pure functions over the caller's memory; no server, no clock.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef STOA_STORAGE_POSTGRES_ROWS_H
#define STOA_STORAGE_POSTGRES_ROWS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "storage/postgres/pg.h"

__extension__ typedef __int128 stoa_pg_amount; /* units of 10^-8 */

typedef struct stoa_pg_uuid {
    uint64_t high, low;
} stoa_pg_uuid;

/* What a column holds; its SQL type is the migration's business. */
typedef enum stoa_pg_class {
    STOA_PG_UUID,
    STOA_PG_TEXT,
    STOA_PG_AMOUNT, /* numeric, eight decimals */
    STOA_PG_BIG,    /* numeric, whole: an unsigned 64-bit number */
    STOA_PG_INT,    /* bigint */
    STOA_PG_INT4,   /* integer */
    STOA_PG_BOOL,
    STOA_PG_TIME, /* timestamptz */
} stoa_pg_class;

typedef struct stoa_pg_column {
    const char *name; /* as SQL writes it: quoted where it must be */
    stoa_pg_class cls;
} stoa_pg_column;

enum { STOA_PG_COLUMNS_MAX = 32 };

/* A table that rows are written to. */
typedef struct stoa_pg_table {
    const char *name;
    const char *key;     /* columns of its primary key: "id, created_at" */
    const char *guard;   /* an existing row is replaced by one whose guard column is higher: "seq"; NULL: always */
    const stoa_pg_column *columns;
    uint32_t column_count;
} stoa_pg_table;

/* Encoded rows of one table, in memory of their own that only grows up to cap_bytes. */
typedef struct stoa_pg_rows {
    const stoa_pg_table *table;
    uint8_t *at;
    size_t used_bytes, have_bytes, cap_bytes;
    uint32_t count;
    uint32_t field; /* of the row being written */
    bool cut;       /* a row did not fit, or memory ran out: rows are incomplete */
} stoa_pg_rows;

void stoa_pg_rows_init(stoa_pg_rows *rows, const stoa_pg_table *table, size_t cap_bytes);
void stoa_pg_rows_deinit(stoa_pg_rows *rows);
/* Empty it; its memory stays. */
void stoa_pg_rows_clear(stoa_pg_rows *rows);

/* One row: begin, then each column's value in the table's order (another class than the column's is an assertion), end. */
void stoa_pg_row_begin(stoa_pg_rows *rows);
void stoa_pg_put_null(stoa_pg_rows *rows);
void stoa_pg_put_uuid(stoa_pg_rows *rows, stoa_pg_uuid value);
void stoa_pg_put_text(stoa_pg_rows *rows, const char *bytes, size_t size_bytes);
void stoa_pg_put_textz(stoa_pg_rows *rows, const char *text);
void stoa_pg_put_amount(stoa_pg_rows *rows, stoa_pg_amount value);
void stoa_pg_put_big(stoa_pg_rows *rows, uint64_t value);
void stoa_pg_put_int(stoa_pg_rows *rows, int64_t value); /* INT and INT4 */
void stoa_pg_put_bool(stoa_pg_rows *rows, bool value);
void stoa_pg_put_time(stoa_pg_rows *rows, uint64_t wall_ns); /* UTC */
void stoa_pg_row_end(stoa_pg_rows *rows);

/* The fields of the tuple at *at, which moves behind it; values holds STOA_PG_COLUMNS_MAX. For tuples encoded above. */
uint32_t stoa_pg_tuple(const uint8_t **at, stoa_pg_value *values);

/* --- values that a select gave. Errors: CORRUPT (null, or not of that type), RANGE. */
stoa_err stoa_pg_read_uuid(const stoa_pg_value *value, stoa_pg_uuid *out);
stoa_err stoa_pg_read_text(const stoa_pg_value *value, char *text, size_t cap); /* NUL-terminated */
stoa_err stoa_pg_read_amount(const stoa_pg_value *value, stoa_pg_amount *out);
stoa_err stoa_pg_read_big(const stoa_pg_value *value, uint64_t *out);
stoa_err stoa_pg_read_int(const stoa_pg_value *value, int64_t *out); /* smallint, integer, bigint */
stoa_err stoa_pg_read_bool(const stoa_pg_value *value, bool *out);
stoa_err stoa_pg_read_time(const stoa_pg_value *value, uint64_t *wall_ns_out);

#endif
