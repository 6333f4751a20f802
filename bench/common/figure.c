/* figure.c - samples, errors and lines of bench/common/figure.h.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "bench/common/figure.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"

/* --- samples */

void bench_add(bench_samples *samples, double value)
{
    if (samples->count == BENCH_RUNS_MAX) { bench_fail("more samples than there is room for"); }
    samples->at[samples->count++] = value;
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

static double at_rank(const bench_samples *samples, uint32_t rank)
{
    bench_samples sorted = *samples;
    if (!sorted.count) { return 0; }
    qsort(sorted.at, sorted.count, sizeof sorted.at[0], by_value);
    return sorted.at[rank];
}

double bench_median(const bench_samples *samples)
{
    return at_rank(samples, samples->count / 2);
}

double bench_min(const bench_samples *samples)
{
    return at_rank(samples, 0);
}

double bench_max(const bench_samples *samples)
{
    return at_rank(samples, samples->count - 1);
}

/* --- errors */

uint64_t bench_now_ns(void)
{
    return stoa_clock_real.now_ns(&stoa_clock_real);
}

void bench_fail(const char *what)
{
    (void)fprintf(stderr, "%s: %s\n", program_invocation_short_name, what);
    exit(1);
}

void bench_must(stoa_err err, const char *what)
{
    if (!err) { return; }
    (void)fprintf(stderr, "%s: %s: %s\n%s\n", program_invocation_short_name, what, stoa_err_name(err), stoa_err_trail());
    exit(1);
}

/* --- lines */

void bench_print(const bench_figure *figure)
{
    double value = bench_median(&figure->ours);
    printf("{\"bench\":\"%s\",\"value\":%.3f,\"unit\":\"%s\",\"n\":%u,\"min\":%.3f,\"max\":%.3f", figure->name, value,
           figure->unit, figure->ours.count, bench_min(&figure->ours), bench_max(&figure->ours));
    if (figure->goal > 0) {
        bool ok = figure->less ? value <= figure->goal : value >= figure->goal;
        printf(",\"goal\":%.3f,\"ok\":%s", figure->goal, ok ? "true" : "false");
    }
    if (figure->peer) {
        double theirs = bench_median(&figure->theirs);
        printf(",\"peer\":\"%s\",\"peer_value\":%.3f,\"ratio\":%.3f", figure->peer, theirs,
               figure->less ? theirs / value : value / theirs);
    }
    printf("%s}\n", figure->more ? figure->more : "");
    (void)fflush(stdout);
}
