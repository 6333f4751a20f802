/* rig.h - what the workloads of bench_runtime share: a task of the table, its runs, a node to run them on.
 * Internal to bench/.
 *
 * A run: the program posts the first message (bench_begin just before it), actors do the work, and the handler that sees the
 * last message calls bench_ended with the sum of all that was read. bench_wait blocks until then, compares the sum, and gives
 * the nanoseconds. Workloads warm up and are then run `runs` times, on one node, by the same actors where they live on.
 *
 * The machine's clock is read here and in a few handlers; that is a benchmark's right alone.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef STOA_BENCH_RUNTIME_RIG_H
#define STOA_BENCH_RUNTIME_RIG_H

#include <stdbool.h>
#include <stdint.h>

#include "bench/common/figure.h"
#include "runtime/stoa.h"

enum { BENCH_CORES_MAX = 2 };

/* What a workload is asked for: steps of one run (what a step is, the row's unit says), on so many cores. */
typedef struct bench_task {
    const char *name;
    uint64_t steps;
    uint32_t cores, runs;
} bench_task;
typedef void (*bench_measure)(const bench_task *task, bench_samples *out);

/* A node whose cores are pinned where there is a CPU for each of them. */
stoa_node *bench_open(uint32_t cores, stoa_idle idle);
/* The same with more options. */
stoa_node *bench_open_with(const stoa_options *more, uint32_t cores, stoa_idle idle);
void bench_close(stoa_node *node);
/* A plain actor under a name that is used once. args: kind->args_bytes. */
stoa_ref bench_spawn(stoa_node *node, const stoa_kind *kind, uint32_t core, const void *args);

/* The run under way; one at a time. */
void bench_begin(void);
void bench_ended(uint64_t sum);
uint64_t bench_wait(const bench_task *task, uint64_t sum);

/* The samples of a task: what once() returns for all its steps, behind runs of growing length that warm up. Where already one of
 * these takes a second (a machine that is busy), the runs stay as short as that one. */
void bench_repeat(const bench_task *task, double (*once)(const bench_task *task, void *context), void *context,
                  bench_samples *out);
/* From nanoseconds for `count` to millions a second. */
static inline double bench_mega(uint64_t count, uint64_t ns)
{
    return (double)count * 1e3 / (double)ns;
}

/* Run this thread on the index-th CPU the process may use; false: there is none. */
bool bench_pin(uint32_t index);
/* Run both at once, each pinned to a CPU of its own, until both have returned. */
void bench_pair(void (*first)(void *context), void (*second)(void *context), void *context);
/* Bytes of this process in memory. */
uint64_t bench_resident(void);

/* --- the workloads; what each of them does is said where it is */
/* pass.c */
void bench_pingpong(const bench_task *task, bench_samples *out);
void bench_watched(const bench_task *task, bench_samples *out);
void bench_seen(const bench_task *task, bench_samples *out);
void bench_ring(const bench_task *task, bench_samples *out);
/* flow.c */
void bench_counting(const bench_task *task, bench_samples *out);
void bench_fanin(const bench_task *task, bench_samples *out);
/* crowd.c */
void bench_big(const bench_task *task, bench_samples *out);
void bench_chameneos(const bench_task *task, bench_samples *out);
/* fan.c */
void bench_fan_out(const bench_task *task, bench_samples *out);
void bench_choose(const bench_task *task, bench_samples *out);
/* life.c */
void bench_create(const bench_task *task, bench_samples *out);
void bench_idle(const bench_task *task, bench_samples *out);
void bench_restart(const bench_task *task, bench_samples *out);
/* time.c */
void bench_request(const bench_task *task, bench_samples *out);
void bench_timer_start(const bench_task *task, bench_samples *out);
void bench_timer_cancel(const bench_task *task, bench_samples *out);
void bench_wake(const bench_task *task, bench_samples *out);
/* limit.c */
void bench_limit_call(const bench_task *task, bench_samples *out);
void bench_limit_atomic(const bench_task *task, bench_samples *out);
void bench_limit_malloc(const bench_task *task, bench_samples *out);
void bench_limit_clock(const bench_task *task, bench_samples *out);
void bench_limit_cache_line(const bench_task *task, bench_samples *out);
void bench_limit_ring(const bench_task *task, bench_samples *out);
void bench_limit_ring_batched(const bench_task *task, bench_samples *out);
void bench_limit_futex(const bench_task *task, bench_samples *out);

#endif
