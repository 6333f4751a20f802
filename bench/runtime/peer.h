/* peer.h - what other runtimes reach at a row, measured now. Internal to bench/.
 *
 * A peer is a program of the build's folder peers/, called as   PROGRAM NAME THREADS RUNS STEPS   with the row's name. It does
 * the workload twice to warm up and RUNS times more, and prints a line `peer LABEL` and then a line `sample VALUE` for each run,
 * in the row's unit; for a second way of doing the same, another `peer` line. It prints nothing for a row that it has no
 * counterpart to, and exits with another status than 0 when it could not or when a sum is wrong.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef STOA_BENCH_RUNTIME_PEER_H
#define STOA_BENCH_RUNTIME_PEER_H

#include "bench/runtime/rig.h"

enum { BENCH_PEERS_MAX = 8, BENCH_LABEL_MAX = 63 };

typedef struct bench_peer {
    char label[BENCH_LABEL_MAX + 1];
    bench_samples by_threads[BENCH_CORES_MAX]; /* with one thread, with two */
} bench_peer;

/* Run all peers, with one thread and with two as the bits of threads say. Returns how many labels there were. */
uint32_t bench_peers(const char *folder, const bench_task *task, uint32_t threads, bench_peer *out);

#endif
