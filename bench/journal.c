/* journal.c - bench_journal: what it costs not to forget, beside RocksDB and PostgreSQL as they come.
 *
 *     bench_journal              every workload; peers run in the same process, in turns with ours
 *     bench_journal --peers      the same
 *     bench_journal --quick      a small part of the work, once: for tests, no figure
 *     bench_journal --only TEXT  the workloads whose name contains TEXT
 *
 * What is measured is said in bench/journal/. Files lie in a folder of $TMPDIR that is removed at the end; 10 GB should be free.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "bench/journal/rig.h"

typedef struct workload {
    const char *name;
    void (*measure)(const bench_journal_task *task);
} workload;
static const workload workloads[] = {
    {"append", bench_append},
    {"hash", bench_hash},
    {"group_commit", bench_group_commit},
    {"replay, recovery", bench_replay},
    {"snapshot", bench_snapshot},
    {"projection", bench_projection},
};

int main(int argc, char **argv)
{
    bench_journal_task task = {0};
    const char *only = "";
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--quick") == 0) {
            task.quick = true;
        } else if (strcmp(argv[i], "--only") == 0 && i + 1 < argc) {
            only = argv[++i];
        } else if (strcmp(argv[i], "--peers") != 0) {
            (void)fprintf(stderr, "usage: bench_journal [--peers | --quick] [--only TEXT]\n");
            return 2;
        }
    }
    stoa_log_level_set(STOA_LOG_ERROR);
    for (size_t i = 0; i < sizeof workloads / sizeof workloads[0]; i++) {
        if (!strstr(workloads[i].name, only)) { continue; }
        (void)fprintf(stderr, "journal: %s\n", workloads[i].name);
        workloads[i].measure(&task);
    }
    return 0;
}
