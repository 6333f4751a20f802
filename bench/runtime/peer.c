/* peer.c - starts the peers' programs and reads their samples. See peer.h.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "bench/runtime/peer.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *const programs[] = {"peer_erlang", "peer_caf"};
enum { PROGRAMS = sizeof programs / sizeof programs[0], COMMAND_MAX = 1024, RUN_S_MAX = 120 };

static bench_peer *find(bench_peer *peers, uint32_t *count, const char *label)
{
    for (uint32_t i = 0; i < *count; i++) {
        if (strcmp(peers[i].label, label) == 0) { return &peers[i]; }
    }
    if (*count == BENCH_PEERS_MAX) { bench_fail("too many peers"); }
    bench_peer *peer = &peers[(*count)++];
    *peer = (bench_peer){0};
    (void)snprintf(peer->label, sizeof peer->label, "%.*s", BENCH_LABEL_MAX, label);
    return peer;
}

static void read_samples(FILE *from, uint32_t threads, bench_peer *peers, uint32_t *count)
{
    char line[128];
    bench_peer *peer = NULL;
    while (fgets(line, sizeof line, from)) {
        line[strcspn(line, "\n")] = 0;
        if (strncmp(line, "peer ", 5) == 0) {
            peer = find(peers, count, line + 5);
        } else if (strncmp(line, "sample ", 7) == 0 && peer) {
            bench_add(&peer->by_threads[threads - 1], strtod(line + 7, NULL));
        } else {
            bench_fail(line);
        }
    }
}

static void run(const char *folder, const char *program, const bench_task *task, bench_peer *peers, uint32_t *count)
{
    char command[COMMAND_MAX];
    int length = snprintf(command, sizeof command, "timeout %d '%s/%s' %s %u %u %" PRIu64 " </dev/null", RUN_S_MAX, folder,
                          program, task->name, task->cores, task->runs, task->steps);
    if (length >= (int)sizeof command) { bench_fail("the peers' folder has too long a name"); }
    FILE *from = popen(command, "r");
    if (!from) { bench_fail("no process for a peer"); }
    read_samples(from, task->cores, peers, count);
    if (pclose(from)) { bench_fail(command); }
}

uint32_t bench_peers(const char *folder, const bench_task *task, uint32_t threads, bench_peer *out)
{
    uint32_t count = 0;
    for (uint32_t p = 0; p < PROGRAMS; p++) {
        for (uint32_t t = 1; t <= BENCH_CORES_MAX; t++) {
            bench_task part = *task;
            part.cores = t;
            if (threads & t) { run(folder, programs[p], &part, out, &count); }
        }
    }
    return count;
}
