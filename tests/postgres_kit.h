/* postgres_kit.h - a PostgreSQL of its own for a test in C: tests/postgres_server.py at the end of a pipe.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef STOA_TESTS_POSTGRES_KIT_H
#define STOA_TESTS_POSTGRES_KIT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/error.h"

typedef struct kit_server {
    pid_t pid;
    FILE *to, *from;
    char conninfo[256];
} kit_server;

/* Fails with the trail, which says more than the code. */
#define kit_ok(expression)                                                                                                     \
    do {                                                                                                                       \
        stoa_err kit_err = (expression);                                                                                       \
        if (kit_err) { fail_msg("%s: %s\n%s", #expression, stoa_err_name(kit_err), stoa_err_trail()); }                        \
    } while (0)

static void kit_line(kit_server *server, char *text, size_t cap)
{
    assert_non_null(fgets(text, (int)cap, server->from));
    text[strcspn(text, "\n")] = '\0';
}

/* Tell the server, or have it run SQL; the answer, up to the next call. */
static const char *kit_say(kit_server *server, const char *what)
{
    static char answer[1 << 16];
    assert_true(fprintf(server->to, "%s\n", what) > 0 && fflush(server->to) == 0);
    kit_line(server, answer, sizeof answer);
    if (strncmp(answer, "error ", 6) == 0) { fail_msg("%s: %s", what, answer); }
    return answer;
}

static void kit_server_start(kit_server *server)
{
    char script[512];
    int to[2], from[2];
    const char *source = getenv("STOA_SOURCE");
    (void)snprintf(script, sizeof script, "%s/tests/postgres_server.py", source ? source : ".");
    assert_int_equal(pipe(to), 0);
    assert_int_equal(pipe(from), 0);
    server->pid = fork();
    if (server->pid == 0) {
        (void)dup2(to[0], STDIN_FILENO);
        (void)dup2(from[1], STDOUT_FILENO);
        (void)close(to[1]);
        (void)close(from[0]);
        (void)execl("/usr/bin/python3", "python3", script, (char *)NULL);
        _exit(127);
    }
    (void)close(to[0]);
    (void)close(from[1]);
    server->to = fdopen(to[1], "w");
    server->from = fdopen(from[0], "r");
    assert_true(server->pid > 0 && server->to && server->from);
    kit_line(server, server->conninfo, sizeof server->conninfo);
}

static void kit_server_end(kit_server *server)
{
    (void)fclose(server->to);
    (void)fclose(server->from);
    (void)waitpid(server->pid, NULL, 0);
}

#endif
