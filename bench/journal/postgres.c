/* postgres.c - the pipe of postgres.h.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "bench/journal/postgres.h"

#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bench/common/figure.h"

static void become_script(const int to[2], const int from[2])
{
    char script[512];
    const char *source = getenv("STOA_SOURCE");
    (void)snprintf(script, sizeof script, "%s/tests/postgres_server.py", source ? source : ".");
    (void)dup2(to[0], STDIN_FILENO);
    (void)dup2(from[1], STDOUT_FILENO);
    (void)close(to[1]);
    (void)close(from[0]);
    (void)execl("/usr/bin/python3", "python3", script, (char *)NULL);
    _exit(127);
}

void bench_server_start(bench_server *server)
{
    int to[2], from[2];
    if (pipe(to) || pipe(from)) { bench_fail("pipe"); }
    server->pid = fork();
    if (server->pid < 0) { bench_fail("fork"); }
    if (server->pid == 0) { become_script(to, from); }
    (void)close(to[0]);
    (void)close(from[1]);
    server->to = fdopen(to[1], "w");
    server->from = fdopen(from[0], "r");
    bool up = server->to && server->from && fgets(server->conninfo, sizeof server->conninfo, server->from);
    if (!up) { bench_fail("no PostgreSQL; deploy/setup installs it"); }
    server->conninfo[strcspn(server->conninfo, "\n")] = '\0';
}

void bench_server_stop(bench_server *server)
{
    (void)fclose(server->to);
    (void)fclose(server->from);
    (void)waitpid(server->pid, NULL, 0);
}
