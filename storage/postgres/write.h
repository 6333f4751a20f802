/* write.h - three ways for encoded rows into a table, with one result.
 *
 *     stoa_pg_copy      COPY straight into the table: for rows that are known not to be there yet. The fastest.
 *     stoa_pg_stage     COPY into a staging table of the session, then one INSERT ... ON CONFLICT: many rows that may be there
 *     stoa_pg_pipe      one INSERT ... ON CONFLICT per row, sent without waiting for answers: few rows
 *
 * A row that is there already is replaced where its guard column is lower, and left alone otherwise. All of it belongs to the
 * transaction that the caller has begun, and a table is staged once in it. After an error close the connection. Names are
 * unqualified: the session's search_path says which schema.
 *
 * The trail of an error names the table; within a pipe, the row as well.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef STOA_STORAGE_POSTGRES_WRITE_H
#define STOA_STORAGE_POSTGRES_WRITE_H

#include "storage/postgres/pg.h"
#include "storage/postgres/rows.h"

stoa_err stoa_pg_copy(stoa_pg *pg, const stoa_pg_rows *rows);
stoa_err stoa_pg_stage(stoa_pg *pg, const stoa_pg_rows *rows);

/* Rows of several tables in one round trip. Up to STOA_PG_PIPE_MAX rows in all, so that answers never fill both sockets. */
enum { STOA_PG_PIPE_MAX = 1024 };
stoa_err stoa_pg_pipe(stoa_pg *pg, const stoa_pg_rows *const *rows, uint32_t count);

#endif
