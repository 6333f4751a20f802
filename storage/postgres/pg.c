/* pg.c - connecting, waiting, statements and selects of pg.h.
 *
 * The socket is non-blocking throughout: whoever waits, waits in await(), which knows the time and the stop descriptor.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "storage/postgres/inside.h"
#include "storage/postgres/rows.h"

#define TIMEOUT_NS (UINT64_C(30) * 1000000000)
enum { NS_PER_MS = 1000000, SERVER_VERSION_MIN = 120000 };

/* --- conninfo */

static const char *option_in(const PQconninfoOption *options, const char *keyword)
{
    for (; options->keyword; options++) {
        if (strcmp(options->keyword, keyword) == 0) { return options->val; }
    }
    return NULL;
}

stoa_err stoa_pg_check(const char *conninfo)
{
    char *words = NULL;
    PQconninfoOption *options = PQconninfoParse(conninfo, &words);
    if (!options) { /* its words repeat what was given, a password included */
        PQfreemem(words);
        return STOA_FAIL(STOA_E_INVALID, "not like \"host=... dbname=...\" nor \"postgresql://...\"");
    }
    bool secret = option_in(options, "password") || option_in(options, "sslpassword");
    PQconninfoFree(options);
    if (!secret) { return STOA_OK; }
    return STOA_FAIL(STOA_E_DENIED, "a password does not belong here: PGPASSWORD, PGPASSFILE and ~/.pgpass are read");
}

/* What a server warns of would be printed between the lines of our log. */
static void ignore_notice(void *context, const char *message)
{
    (void)context;
    (void)message;
}

static PGconn *connect_to(const stoa_pg_options *options)
{
    static const struct {
        const char *keyword, *value;
    } unless_given[] = {{"connect_timeout", "3"}, {"options", "-c client_min_messages=error"}};
    const char *keywords[8] = {"dbname", "fallback_application_name", "client_encoding"};
    const char *values[8] = {options->conninfo, options->application, "UTF8"};
    PQconninfoOption *given = PQconninfoParse(options->conninfo, NULL);
    for (size_t i = 0, n = 3; given && i < sizeof unless_given / sizeof unless_given[0]; i++) {
        if (option_in(given, unless_given[i].keyword)) { continue; }
        keywords[n] = unless_given[i].keyword;
        values[n++] = unless_given[i].value;
    }
    if (given) { PQconninfoFree(given); }
    PGconn *conn = PQconnectdbParams(keywords, values, 1);
    if (conn) { (void)PQsetNoticeProcessor(conn, ignore_notice, NULL); }
    return conn;
}

static void say_where(stoa_pg *pg)
{
    const char *host = PQhost(pg->conn), *port = PQport(pg->conn);
    (void)snprintf(pg->where, sizeof pg->where, "%s@%s:%s/%s", PQuser(pg->conn), host ? host : "", port ? port : "",
                   PQdb(pg->conn));
}

static stoa_err begin_session(stoa_pg *pg, const stoa_pg_options *options)
{
    if (PQstatus(pg->conn) != CONNECTION_OK) { return stoa_pg_fail(pg, NULL, "connect"); }
    if (PQserverVersion(pg->conn) < SERVER_VERSION_MIN) {
        return STOA_FAIL(STOA_E_VERSION, "postgres: server version %d, at least %d is needed", PQserverVersion(pg->conn),
                         SERVER_VERSION_MIN);
    }
    if (PQsetnonblocking(pg->conn, 1)) { return stoa_pg_fail(pg, NULL, "connect"); }
    say_where(pg);
    stoa_err err = stoa_pg_run(pg, "SET client_min_messages = error; SET idle_in_transaction_session_timeout = 0", NULL);
    if (err || !options->schema) { return err; }
    return stoa_pg_runf(pg, "SET search_path = %s", options->schema);
}

stoa_err stoa_pg_open(const stoa_pg_options *options, stoa_pg **out)
{
    stoa_err err = stoa_pg_check(options->conninfo);
    if (err) { return err; }
    stoa_pg *pg = calloc(1, sizeof *pg);
    if (!pg) { return STOA_FAIL(STOA_E_NOMEM, "postgres connection"); }
    pg->timeout_ns = options->timeout_ns ? options->timeout_ns : TIMEOUT_NS;
    pg->stop_fd = options->stop_fd;
    pg->conn = connect_to(options);
    err = pg->conn ? begin_session(pg, options) : STOA_FAIL(STOA_E_NOMEM, "postgres connection");
    if (err) {
        stoa_pg_close(pg);
        return err;
    }
    *out = pg;
    return STOA_OK;
}

void stoa_pg_close(stoa_pg *pg)
{
    if (!pg) { return; }
    PQfinish(pg->conn);
    free(pg);
}

const char *stoa_pg_where(const stoa_pg *pg)
{
    return pg->where;
}

const char *stoa_pg_state(const stoa_pg *pg)
{
    return pg->state;
}

/* --- waiting */

/* Until the socket is ready for one of the events. */
static stoa_err await(stoa_pg *pg, short events, short *ready_out)
{
    struct pollfd fds[2] = {{.fd = PQsocket(pg->conn), .events = events}, {.fd = pg->stop_fd, .events = POLLIN}};
    if (fds[0].fd < 0) { return stoa_pg_fail(pg, NULL, "connection"); }
    int got = poll(fds, 2, (int)(pg->timeout_ns / NS_PER_MS));
    if (got == 0) {
        pg->state[0] = '\0';
        return STOA_FAIL(STOA_E_TIMEOUT, "postgres %s: no answer within %llu ms", pg->where,
                         (unsigned long long)(pg->timeout_ns / NS_PER_MS));
    }
    if (got > 0 && fds[1].revents) { return STOA_FAIL(STOA_E_CANCELLED, "postgres %s: told to stop", pg->where); }
    *ready_out = got > 0 ? fds[0].revents : 0; /* EINTR: look again */
    return STOA_OK;
}

stoa_err stoa_pg_flush(stoa_pg *pg)
{
    for (;;) {
        int left = PQflush(pg->conn);
        if (left == 0) { return STOA_OK; }
        if (left < 0) { return stoa_pg_fail(pg, NULL, "send"); }
        short ready;
        stoa_err err = await(pg, POLLIN | POLLOUT, &ready);
        if (err) { return err; }
        if ((ready & (POLLIN | POLLHUP | POLLERR)) && !PQconsumeInput(pg->conn)) { return stoa_pg_fail(pg, NULL, "receive"); }
    }
}

stoa_err stoa_pg_next(stoa_pg *pg, PGresult **out)
{
    stoa_err err = stoa_pg_flush(pg);
    while (!err && PQisBusy(pg->conn)) {
        short ready;
        err = await(pg, POLLIN, &ready);
        if (!err && ready && !PQconsumeInput(pg->conn)) { err = stoa_pg_fail(pg, NULL, "receive"); }
    }
    if (!err) { *out = PQgetResult(pg->conn); }
    return err;
}

static bool failed(const PGresult *result)
{
    ExecStatusType status = PQresultStatus(result);
    return status == PGRES_FATAL_ERROR || status == PGRES_BAD_RESPONSE || status == PGRES_PIPELINE_ABORTED;
}

static uint64_t rows_changed(PGresult *result)
{
    const char *text = PQcmdTuples(result);
    return text[0] ? strtoull(text, NULL, 10) : 0;
}

stoa_err stoa_pg_drain(stoa_pg *pg, const char *doing, uint64_t *rows_out)
{
    stoa_err first = STOA_OK;
    for (;;) {
        PGresult *result = NULL;
        stoa_err err = stoa_pg_next(pg, &result);
        if (err) { return first ? first : err; }
        if (!result) { return first; }
        if (failed(result) && !first) { first = stoa_pg_fail(pg, result, doing); }
        if (rows_out) { *rows_out = rows_changed(result); }
        PQclear(result);
        if (PQstatus(pg->conn) == CONNECTION_BAD) { return first ? first : stoa_pg_fail(pg, NULL, doing); }
    }
}

/* --- statements */

stoa_err stoa_pg_run(stoa_pg *pg, const char *sql, uint64_t *rows_out)
{
    char doing[64];
    (void)snprintf(doing, sizeof doing, "'%.48s'", sql);
    if (!PQsendQuery(pg->conn, sql)) { return stoa_pg_fail(pg, NULL, doing); }
    return stoa_pg_drain(pg, doing, rows_out);
}

stoa_err stoa_pg_runf(stoa_pg *pg, const char *format, ...)
{
    stoa_buf sql = STOA_BUF_GROWING;
    va_list args;
    va_start(args, format);
    stoa_buf_vprintf(&sql, format, args);
    va_end(args);
    stoa_err err = sql.cut ? STOA_FAIL(STOA_E_NOMEM, "statement") : stoa_pg_run(pg, sql.at, NULL);
    stoa_buf_deinit(&sql);
    return err;
}

/* --- selects */

enum { SELECT_COLUMNS_MAX = 48 };

static stoa_err show_rows(PGresult *result, stoa_pg_visit visit, void *context)
{
    stoa_pg_value values[SELECT_COLUMNS_MAX];
    int columns = PQnfields(result);
    STOA_ASSERT(columns <= SELECT_COLUMNS_MAX);
    for (int row = 0; row < PQntuples(result); row++) {
        for (int i = 0; i < columns; i++) {
            bool null = PQgetisnull(result, row, i);
            values[i].bytes = null ? NULL : (const uint8_t *)PQgetvalue(result, row, i);
            values[i].size_bytes = (uint32_t)PQgetlength(result, row, i);
        }
        stoa_err err = visit(context, values, (uint32_t)columns);
        if (err) { return err; }
    }
    return STOA_OK;
}

stoa_err stoa_pg_select(stoa_pg *pg, const char *sql, const char *const *params, uint32_t param_count, stoa_pg_visit visit,
                        void *context)
{
    char doing[64];
    (void)snprintf(doing, sizeof doing, "'%.48s'", sql);
    if (!PQsendQueryParams(pg->conn, sql, (int)param_count, NULL, params, NULL, NULL, 1)) {
        return stoa_pg_fail(pg, NULL, doing);
    }
    (void)PQsetSingleRowMode(pg->conn);
    stoa_err first = STOA_OK;
    for (;;) {
        PGresult *result = NULL;
        stoa_err err = stoa_pg_next(pg, &result);
        if (err) { return first ? first : err; }
        if (!result) { return first; }
        if (failed(result) && !first) { first = stoa_pg_fail(pg, result, doing); }
        if (!first) { first = show_rows(result, visit, context); }
        PQclear(result);
        if (PQstatus(pg->conn) == CONNECTION_BAD) { return first ? first : stoa_pg_fail(pg, NULL, doing); }
    }
}

typedef struct one_number {
    int64_t value;
    bool found;
} one_number;

static stoa_err take_number(void *context, const stoa_pg_value *values, uint32_t count)
{
    one_number *n = context;
    STOA_ASSERT(count == 1);
    n->found = values[0].bytes != NULL;
    return n->found ? stoa_pg_read_int(&values[0], &n->value) : STOA_OK;
}

stoa_err stoa_pg_number(stoa_pg *pg, const char *sql, int64_t *out)
{
    one_number n = {0};
    stoa_err err = stoa_pg_select(pg, sql, NULL, 0, take_number, &n);
    if (err) { return err; }
    if (!n.found) { return STOA_FAIL(STOA_E_NOT_FOUND, "no row: %.64s", sql); }
    *out = n.value;
    return STOA_OK;
}
