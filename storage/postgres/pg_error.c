/* pg_error.c - SQLSTATE to Stoa's errors. The longest row that the state begins with counts.
 *
 * States: https://www.postgresql.org/docs/15/errcodes-appendix.html
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <string.h>

#include "storage/postgres/inside.h"

static const struct {
    const char *prefix;
    stoa_err err;
} states[] = {
    {"03", STOA_E_UNAVAILABLE},    /* not yet complete */
    {"08", STOA_E_UNAVAILABLE},    /* connection */
    {"0A", STOA_E_UNSUPPORTED},    /* feature */
    {"22", STOA_E_INVALID},        /* a value */
    {"22003", STOA_E_RANGE},       /* numeric out of range */
    {"22001", STOA_E_TOO_LARGE},   /* text too long */
    {"22008", STOA_E_RANGE},       /* time out of range */
    {"23", STOA_E_INVALID},        /* a constraint */
    {"23505", STOA_E_EXISTS},      /* unique */
    {"25006", STOA_E_UNAVAILABLE}, /* read only: a standby, or a primary that was demoted */
    {"28", STOA_E_DENIED},         /* who you are */
    {"3D", STOA_E_NOT_FOUND},      /* database */
    {"3F", STOA_E_NOT_FOUND},      /* schema */
    {"40", STOA_E_AGAIN},          /* deadlock, serialisation */
    {"42", STOA_E_INVALID},        /* a statement of ours */
    {"42501", STOA_E_DENIED},
    {"42P01", STOA_E_NOT_FOUND},   /* table */
    {"42703", STOA_E_NOT_FOUND},   /* column */
    {"42P07", STOA_E_EXISTS},
    {"42P06", STOA_E_EXISTS},
    {"53100", STOA_E_FULL},        /* disk */
    {"53", STOA_E_UNAVAILABLE},    /* connections, memory */
    {"55", STOA_E_AGAIN},          /* in use, locked */
    {"57", STOA_E_UNAVAILABLE},    /* shut down, starting up */
    {"57014", STOA_E_TIMEOUT},     /* cancelled, statement_timeout */
    {"58", STOA_E_IO},
    {"XX001", STOA_E_CORRUPT},
    {"XX002", STOA_E_CORRUPT},
};

static stoa_err of_state(const char *state)
{
    stoa_err found = STOA_E_IO;
    size_t longest = 0;
    for (size_t i = 0; i < sizeof states / sizeof states[0]; i++) {
        size_t size = strlen(states[i].prefix);
        if (size <= longest || strncmp(state, states[i].prefix, size) != 0) { continue; }
        longest = size;
        found = states[i].err;
    }
    return found;
}

/* A connection that failed has no SQLSTATE, only words. A wrong password is nothing that time heals. */
static stoa_err of_words(const char *words)
{
    bool denied = strstr(words, "authentication failed") || strstr(words, "no password supplied") ||
                  strstr(words, "no pg_hba.conf entry") || strstr(words, "does not exist");
    return denied ? STOA_E_DENIED : STOA_E_UNAVAILABLE;
}

/* Lines of one message become one line. */
static void flatten(const char *from, char *text, size_t cap)
{
    size_t used = 0;
    for (; *from && used + 1 < cap; from++) {
        if (*from == '\n' && (used == 0 || !from[1])) { continue; }
        text[used++] = *from == '\n' || *from == '\t' ? ' ' : *from;
    }
    text[used] = '\0';
}

stoa_err stoa_pg_fail(stoa_pg *pg, const PGresult *result, const char *doing)
{
    char text[512];
    const char *state = result ? PQresultErrorField(result, PG_DIAG_SQLSTATE) : NULL;
    const char *words = result ? PQresultErrorMessage(result) : PQerrorMessage(pg->conn);
    if (!words[0]) { words = PQerrorMessage(pg->conn); }
    (void)snprintf(pg->state, sizeof pg->state, "%s", state ? state : "");
    flatten(words[0] ? words : "no message", text, sizeof text);
    stoa_err err = state ? of_state(state) : of_words(words);
    /* a server that ends says so, or the socket just closes: the same to us */
    if (PQstatus(pg->conn) == CONNECTION_BAD && err == STOA_E_IO) { err = STOA_E_UNAVAILABLE; }
    return STOA_FAIL(err, "postgres %s: %s%s%s%s", doing, text, state ? " (" : "", state ? state : "", state ? ")" : "");
}
