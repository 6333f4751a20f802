/* metrics.h - counters, gauges and histograms, in one registry, printed as Prometheus text (version 0.0.4).
 *
 * A metric is registered once at start (its label set is fixed then) and updated by one thread with a relaxed
 * store, or by many with stoa_counter_add_shared. Reading never disturbs the writers: every cell is read by
 * itself, so a printed page may be a few updates apart within itself, but no cell ever runs backwards.
 *
 * Limits: STOA_METRICS_MAX metrics. The registry refuses what Prometheus' own linter would complain about.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef STOA_BASE_METRICS_H
#define STOA_BASE_METRICS_H

#include <stdatomic.h>
#include <stdint.h>

#include "base/api.h"
#include "base/buf.h"
#include "base/error.h"

STOA_API_BEGIN

enum { STOA_METRICS_MAX = 16384 };

typedef struct stoa_metrics stoa_metrics;
typedef struct stoa_counter {
    _Atomic uint64_t value;
} stoa_counter; /* also a gauge */

/* Latencies in ns: one bucket for each value below 16, then 16 linear steps per power of two, so a quantile
 * is too high by at most 6.25 %. All of uint64 has its bucket. One writer. */
enum { STOA_HISTOGRAM_BUCKETS = 61 * 16 };
typedef struct stoa_histogram {
    _Atomic uint64_t sum; /* of all values, modulo 2^64 */
    _Atomic uint64_t buckets[STOA_HISTOGRAM_BUCKETS];
} stoa_histogram;

/* One writer: no locked instruction. Relaxed, here and below: a metric orders nothing but itself. */
static inline void stoa_counter_add(stoa_counter *c, uint64_t n)
{
    atomic_store_explicit(&c->value, atomic_load_explicit(&c->value, memory_order_relaxed) + n,
                          memory_order_relaxed);
}
/* Many writers. */
static inline void stoa_counter_add_shared(stoa_counter *c, uint64_t n)
{
    atomic_fetch_add_explicit(&c->value, n, memory_order_relaxed);
}
static inline void stoa_gauge_set(stoa_counter *c, uint64_t n)
{
    atomic_store_explicit(&c->value, n, memory_order_relaxed);
}
static inline uint64_t stoa_counter_get(const stoa_counter *c)
{
    return atomic_load_explicit(&c->value, memory_order_relaxed);
}

/* Count value. Core: the histogram's one writer; a few ns, no locked instruction. */
void stoa_histogram_add(stoa_histogram *h, uint64_t value);
/* Count value times times: a sample that stands for so many. */
void stoa_histogram_add_many(stoa_histogram *h, uint64_t value, uint64_t times);
/* How many values were added. Any thread. */
uint64_t stoa_histogram_count(const stoa_histogram *h);
/* The highest value of the first bucket such that at least permyriad/10000 of all values lie in it or below;
 * 0 when empty. permyriad above 10000 counts as 10000. Any thread. */
uint64_t stoa_histogram_quantile(const stoa_histogram *h, uint32_t permyriad);

/* An empty registry. Allocates. Errors: NOMEM. */
stoa_err stoa_metrics_new(stoa_metrics **out);
/* Frees every metric with it; NULL is fine. */
void stoa_metrics_free(stoa_metrics *metrics);

/* name: stoa_[a-z0-9_]+ (counters end in _total, nothing else does); labels: "shard=\"trade\",core=\"0\"" or
 * "", the same label names in the same order for every metric of a name. The same name and labels give the
 * same metric again; the first help of a name stays. The metric lives until stoa_metrics_free, on cache lines
 * of its own. Takes a lock: cold. Errors: INVALID (name, labels, an empty help, or the name is of another
 * class), NOMEM. */
stoa_err stoa_metrics_counter(stoa_metrics *metrics, const char *name, const char *labels, const char *help,
                              stoa_counter **out);
stoa_err stoa_metrics_gauge(stoa_metrics *metrics, const char *name, const char *labels, const char *help,
                            stoa_counter **out);
/* Values in nanoseconds; printed in seconds as a Prometheus histogram with bounds at powers of two, 1.024 us
 * to 17.18 s (a value of n ns stands for [n, n+1), so the counts are exact); name ends in _seconds. */
stoa_err stoa_metrics_histogram(stoa_metrics *metrics, const char *name, const char *labels, const char *help,
                                stoa_histogram **out);

/* Append key="value" to labels, with a comma when something stands there already; value is escaped, so it may
 * be anything (bytes that are not UTF-8 come out as they are and are then refused by the registry). */
void stoa_metrics_label(stoa_buf *labels, const char *key, const char *value);

/* Append all metrics as Prometheus text. Takes the registry's lock, not the writers'. Any thread. */
void stoa_metrics_print(stoa_metrics *metrics, stoa_buf *out);

STOA_API_END

#endif
