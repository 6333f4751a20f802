/* figure.h - what all benchmarks share: samples and their median, one line a figure, errors that end the program. Internal to
 * bench/.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef STOA_BENCH_COMMON_FIGURE_H
#define STOA_BENCH_COMMON_FIGURE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"

enum { BENCH_RUNS_MAX = 32 };

typedef struct bench_samples {
    double at[BENCH_RUNS_MAX];
    uint32_t count;
} bench_samples;

void bench_add(bench_samples *samples, double value);
/* 0 where there is none. */
double bench_median(const bench_samples *samples);
double bench_min(const bench_samples *samples);
double bench_max(const bench_samples *samples);

/* The machine's clock is a benchmark's right alone. */
uint64_t bench_now_ns(void);
/* Any error is told, with what was being done, and ends the program with 1. */
void bench_must(stoa_err err, const char *what);
void bench_fail(const char *what);

/* A line: our median, beside a goal (0: none) and somebody else's (NULL: nobody). more: further members, ",..." */
typedef struct bench_figure {
    const char *name, *unit, *peer, *more;
    bool less; /* is better */
    double goal;
    bench_samples ours, theirs;
} bench_figure;
void bench_print(const bench_figure *figure);

#endif
