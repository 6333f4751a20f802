/* postgres.h - a PostgreSQL of its own for a benchmark: tests/postgres_server.py at the end of a pipe. Internal to bench/.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef STOA_BENCH_JOURNAL_POSTGRES_H
#define STOA_BENCH_JOURNAL_POSTGRES_H

#include <stdio.h>
#include <sys/types.h>

typedef struct bench_server {
    pid_t pid;
    FILE *to, *from;
    char conninfo[256];
} bench_server;

void bench_server_start(bench_server *server);
void bench_server_stop(bench_server *server);

#endif
