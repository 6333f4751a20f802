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
#include "bench/common/arguments.h"
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
    bench_arguments given = bench_arguments_of(argc, argv);
    bench_journal_task task = {.quick = given.quick};
    stoa_log_level_set(STOA_LOG_ERROR);
    bool ran = false;
    for (size_t i = 0; i < sizeof workloads / sizeof workloads[0]; i++) {
        if (!strstr(workloads[i].name, given.only)) { continue; }
        (void)fprintf(stderr, "journal: %s\n", workloads[i].name);
        workloads[i].measure(&task);
        ran = true;
    }
    if (!ran) { bench_fail("no workload has such a name"); }
    return 0;
}
