/* metrics.h - counters, gauges and histograms, in one registry, printed as Prometheus text (version 0.0.4).
 *
 * A metric is registered once at start (its label set is fixed then) and updated by one thread with a relaxed store, or by
 * many with stoa_counter_add_shared. Reading never disturbs the writers.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef STOA_BASE_METRICS_H
#define STOA_BASE_METRICS_H

#include <stdatomic.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/error.h"

typedef struct stoa_metrics stoa_metrics;
typedef struct stoa_counter {
    _Atomic uint64_t value;
} stoa_counter; /* also a gauge */

/* Latencies in ns: 16 linear steps per power of two, so a quantile is off by at most 6.25 %. One writer. */
enum { STOA_HISTOGRAM_BUCKETS = 64 * 16 };
typedef struct stoa_histogram {
    _Atomic uint64_t count, sum;
    _Atomic uint64_t buckets[STOA_HISTOGRAM_BUCKETS];
} stoa_histogram;

/* One writer: no locked instruction. */
static inline void stoa_counter_add(stoa_counter *c, uint64_t n)
{
    atomic_store_explicit(&c->value, atomic_load_explicit(&c->value, memory_order_relaxed) + n, memory_order_relaxed);
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
void stoa_histogram_add(stoa_histogram *h, uint64_t value);
/* Smallest bucket bound at or above which permyriad/10000 of the values lie; 0 when empty. */
uint64_t stoa_histogram_quantile(const stoa_histogram *h, uint32_t permyriad);

stoa_err stoa_metrics_new(stoa_metrics **out);
void stoa_metrics_free(stoa_metrics *metrics);

/* name: stoa_[a-z0-9_]+ (counters end in _total); labels: "shard=\"trade\",core=\"0\"" or "". The same name and labels give
 * the same metric again. The metric lives until stoa_metrics_free. Takes a lock: cold. Errors: INVALID, NOMEM. */
stoa_err stoa_metrics_counter(stoa_metrics *metrics, const char *name, const char *labels, const char *help,
                              stoa_counter **out);
stoa_err stoa_metrics_gauge(stoa_metrics *metrics, const char *name, const char *labels, const char *help,
                            stoa_counter **out);
/* Values in nanoseconds; printed in seconds as a Prometheus histogram with fixed bounds; name ends in _seconds. */
stoa_err stoa_metrics_histogram(stoa_metrics *metrics, const char *name, const char *labels, const char *help,
                                stoa_histogram **out);

/* All metrics as Prometheus text. Any thread. */
void stoa_metrics_print(stoa_metrics *metrics, stoa_buf *out);

#endif
