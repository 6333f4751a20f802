/* pg.h - one connection to PostgreSQL, in Stoa's vocabulary. libpq is spoken to in storage/postgres and nowhere else.
 *
 * A connection belongs to one thread, which it blocks while it waits for the server: never a core. Every wait ends: with the
 * answer, with TIMEOUT when nothing moved for options.timeout_ns, or with CANCELLED when options.stop_fd becomes readable.
 * Connecting alone is not cancelled; it ends with connect_timeout (3 s for each host unless conninfo says otherwise).
 *
 * conninfo is libpq's (https://www.postgresql.org/docs/15/libpq-connect.html): several hosts and target_session_attrs work.
 * A password does not belong in it: PGPASSWORD, PGPASSFILE and ~/.pgpass are read as usual.
 *
 * Errors, from SQLSTATE (the table is in pg_error.c): UNAVAILABLE (no server, it goes down, it is a standby), FULL (its disk),
 * DENIED (password, rights), NOT_FOUND (no such table or schema), EXISTS (a key is there already), RANGE and INVALID (a value
 * that the column does not take), AGAIN (deadlock), TIMEOUT, CANCELLED, CORRUPT, VERSION (too old a server), IO (the rest). The
 * trail has the server's message and SQLSTATE. After UNAVAILABLE, TIMEOUT and CANCELLED close the connection.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef STOA_STORAGE_POSTGRES_PG_H
#define STOA_STORAGE_POSTGRES_PG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

typedef struct stoa_pg stoa_pg;

typedef struct stoa_pg_options {
    const char *conninfo;
    const char *application; /* what pg_stat_activity shows */
    const char *schema;      /* search_path; NULL: the server's default. Need not exist yet. [a-z_][a-z0-9_]* */
    uint64_t timeout_ns;     /* 0: 30 s */
    int stop_fd;             /* -1: none */
} stoa_pg_options;

/* Whether libpq can read it, and no password is in it. Errors: INVALID, DENIED (a password; never repeated in the trail). */
stoa_err stoa_pg_check(const char *conninfo);

stoa_err stoa_pg_open(const stoa_pg_options *options, stoa_pg **out);
/* NULL is allowed. What was not committed did not happen. */
void stoa_pg_close(stoa_pg *pg);

/* "user@host:port/database" of the server reached; valid until close. */
const char *stoa_pg_where(const stoa_pg *pg);
/* SQLSTATE of the last error of this connection, "" when it did not come from the server. */
const char *stoa_pg_state(const stoa_pg *pg);

/* Run statements; what they select is dropped. *rows_out (may be NULL): rows that the last one changed. */
stoa_err stoa_pg_run(stoa_pg *pg, const char *sql, uint64_t *rows_out);
stoa_err stoa_pg_runf(stoa_pg *pg, const char *format, ...) STOA_PRINTF(2, 3);

/* A selected row: its values in the server's binary form, for the readers in rows.h. */
typedef struct stoa_pg_value {
    const uint8_t *bytes; /* NULL: SQL's null */
    uint32_t size_bytes;
} stoa_pg_value;
typedef stoa_err (*stoa_pg_visit)(void *context, const stoa_pg_value *values, uint32_t count);
/* Visit the rows of one select as they come, with no more than one in memory; params are texts. visit returning an error ends it
 * with that error, and the rest is read and dropped. */
stoa_err stoa_pg_select(stoa_pg *pg, const char *sql, const char *const *params, uint32_t param_count, stoa_pg_visit visit,
                        void *context);
/* The one number (bigint) that a select gives; NOT_FOUND when there is no row. */
stoa_err stoa_pg_number(stoa_pg *pg, const char *sql, int64_t *out);

#endif
