/* session.h - what a user's line does: finds the command, asks the node, shows the answer, keeps the exit code.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef STOA_ADMIN_SESSION_H
#define STOA_ADMIN_SESSION_H

#include <stdio.h>

#include "admin/grid.h"
#include "admin/remote.h"
#include "base/json.h"

typedef struct stoa_session {
    stoa_remote *remote;
    stoa_json_parser *parser;
    FILE *out, *err;
    bool write, json;    /* --write, -o json */
    bool interactive;    /* somebody types */
    bool live;           /* the screen is a terminal that can be drawn on */
    bool quit;           /* said quit */
    uint64_t timeout_ms;
    bool timed;          /* the user said how long: --timeout */
    char data[512];      /* the node's data folder; "": not known, only its socket */
    int interrupt_fd;    /* brings the numbers of signals that came, a byte each; -1: none */
    stoa_exit exit;      /* of the last command */
} stoa_session;

/* Run one line. Its exit class is session->exit too; a blank line or a comment changes nothing. */
stoa_exit stoa_session_run(stoa_session *session, const char *line, size_t size_bytes);

/* How the answer to the line may look on the terminal as it is now. */
stoa_style stoa_session_style(const stoa_session *session);

/* Ask the node; shows what went wrong and sets session->exit then. *out as of stoa_remote_ask. */
stoa_exit stoa_session_ask(stoa_session *session, const char *const *words, uint32_t count, bool write,
                           stoa_answer *out);

/* Show an answer, be it an error; session->exit is its class then. */
stoa_exit stoa_session_answered(stoa_session *session, const stoa_answer *answer);
/* Print an answer's document as the session shows it. Returns the exit class, which it does not keep. */
stoa_exit stoa_session_show(stoa_session *session, const stoa_answer *answer);
/* Say the innermost line of the error trail, as the session says what went wrong; session->exit is cls then. */
stoa_exit stoa_session_complain(stoa_session *session, stoa_err err, stoa_exit cls);

/* Take what signals left; whether there was any. Another one than Ctrl-C's sets session->quit. */
bool stoa_session_interrupted(stoa_session *session);

#endif
