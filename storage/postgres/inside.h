/* inside.h - what the files of storage/postgres share. Internal to it.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef STOA_STORAGE_POSTGRES_INSIDE_H
#define STOA_STORAGE_POSTGRES_INSIDE_H

#include <libpq-fe.h>

#include "storage/postgres/pg.h"

enum { STOA_PG_PREPARED_MAX = 32 };

struct stoa_pg {
    PGconn *conn;
    uint64_t timeout_ns;
    int stop_fd;
    char where[192], state[6];
    const void *prepared[STOA_PG_PREPARED_MAX]; /* tables whose statements and staging tables this session has */
    const void *staged[STOA_PG_PREPARED_MAX];
};

/* An error as the server or the library gave it; starts the trail. result may be NULL: the connection's own. */
stoa_err stoa_pg_fail(stoa_pg *pg, const PGresult *result, const char *doing);

/* Send what is buffered, reading meanwhile what comes. */
stoa_err stoa_pg_flush(stoa_pg *pg);
/* The next result, NULL when the statement has no more. */
stoa_err stoa_pg_next(stoa_pg *pg, PGresult **out);
/* Read and drop results until there are no more; the first error among them. */
stoa_err stoa_pg_drain(stoa_pg *pg, const char *doing, uint64_t *rows_out);

#endif
