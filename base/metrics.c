/* metrics.c - the registry, the histogram's arithmetic and the Prometheus text of base/metrics.h.
 *
 * A family is a name with its help and class; its metrics differ in their labels. Both are kept in the order
 * of their registration, and so are printed. The mutex guards the lists; the cells are read without it.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "base/metrics.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/utf8.h"

enum {
    LINE_BYTES = 64,     /* of the cache: two writers never share one */
    STEPS = 16,          /* linear buckets per power of two, and single-valued buckets at the bottom */
    STEPS_LOG2 = 4,      /* 16 is 2^4 */
    BOUND_LOG2_MIN = 10, /* printed bounds: 2^10 ns ... */
    BOUND_LOG2_MAX = 34, /* ... to 2^34 ns */
    PERMYRIAD_ALL = 10000,
};
#define NS_PER_S UINT64_C(1000000000)

typedef enum metric_class { COUNTER, GAUGE, HISTOGRAM } metric_class;

typedef struct metric {
    struct metric *next;
    void *cells; /* stoa_counter or stoa_histogram, on its own cache lines */
    char *labels;
} metric;

typedef struct family {
    struct family *next;
    metric *first, **last;
    metric_class cls;
    char *name, *help;
} family;

struct stoa_metrics {
    pthread_mutex_t lock; /* guards everything below, but not the cells */
    family *first, **last;
    unsigned count;
};

static void print_value(const family *f, const metric *m, stoa_buf *out);
static void print_histogram(const family *f, const metric *m, stoa_buf *out);

static const struct class_row {
    const char *type, *suffix; /* suffix: what a name must end in, and no name of another class may */
    size_t cells_bytes;
    void (*print)(const family *f, const metric *m, stoa_buf *out);
} classes[] = {
    [COUNTER] = {"counter", "_total", sizeof(stoa_counter), print_value},
    [GAUGE] = {"gauge", "", sizeof(stoa_counter), print_value},
    [HISTOGRAM] = {"histogram", "_seconds", sizeof(stoa_histogram), print_histogram},
};

/* --- histogram */

static unsigned bucket_of(uint64_t value)
{
    if (value < STEPS) { return (unsigned)value; }
    unsigned log2 = 63U - (unsigned)__builtin_clzll(value);
    return (log2 - STEPS_LOG2 + 1) * STEPS + (unsigned)((value >> (log2 - STEPS_LOG2)) % STEPS);
}

/* The highest value that bucket_of puts into bucket. */
static uint64_t bucket_high(unsigned bucket)
{
    if (bucket < STEPS) { return bucket; }
    unsigned shift = bucket / STEPS - 1;
    uint64_t low = (uint64_t)(STEPS + bucket % STEPS) << shift;
    return low + ((UINT64_C(1) << shift) - 1);
}

static uint64_t bucket_get(const stoa_histogram *h, unsigned bucket)
{
    return atomic_load_explicit(&h->buckets[bucket], memory_order_relaxed);
}

static void add(_Atomic uint64_t *cell, uint64_t n)
{
    atomic_store_explicit(cell, atomic_load_explicit(cell, memory_order_relaxed) + n, memory_order_relaxed);
}

void stoa_histogram_add_many(stoa_histogram *h, uint64_t value, uint64_t times)
{
    add(&h->buckets[bucket_of(value)], times);
    add(&h->sum, value * times);
}

void stoa_histogram_add(stoa_histogram *h, uint64_t value)
{
    stoa_histogram_add_many(h, value, 1);
}

uint64_t stoa_histogram_count(const stoa_histogram *h)
{
    uint64_t count = 0;
    for (unsigned i = 0; i < STOA_HISTOGRAM_BUCKETS; i++) {
        count += bucket_get(h, i);
    }
    return count;
}

uint64_t stoa_histogram_quantile(const stoa_histogram *h, uint32_t permyriad)
{
    uint64_t count = stoa_histogram_count(h);
    uint64_t p = permyriad < PERMYRIAD_ALL ? permyriad : PERMYRIAD_ALL;
    if (!count) { return 0; }

    /* count * p / 10000, rounded up, in parts that cannot overflow */
    uint64_t rank =
        count / PERMYRIAD_ALL * p + (count % PERMYRIAD_ALL * p + PERMYRIAD_ALL - 1) / PERMYRIAD_ALL;
    if (!rank) { rank = 1; }
    uint64_t seen = bucket_get(h, 0);
    unsigned bucket = 0;
    /* Cells may have grown since the count but never shrink, so the rank is reached. */
    while (seen < rank && bucket + 1 < STOA_HISTOGRAM_BUCKETS) {
        seen += bucket_get(h, ++bucket);
    }
    return bucket_high(bucket);
}

/* --- names and labels */

static bool ends_in(const char *name, const char *suffix)
{
    size_t name_bytes = strlen(name), suffix_bytes = strlen(suffix);
    return name_bytes >= suffix_bytes && strcmp(name + name_bytes - suffix_bytes, suffix) == 0;
}

static bool name_is_valid(metric_class cls, const char *name)
{
    static const char prefix[] = "stoa_";
    static const char *const reserved[] = {"_total", "_bucket", "_count", "_sum"};
    size_t name_bytes = strlen(name);
    if (strncmp(name, prefix, sizeof prefix - 1) != 0 || name_bytes == sizeof prefix - 1) { return false; }
    if (strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789_") != name_bytes) { return false; }
    if (!ends_in(name, classes[cls].suffix)) { return false; }
    for (size_t i = 0; i < sizeof reserved / sizeof reserved[0]; i++) {
        if (ends_in(name, reserved[i]) && strcmp(reserved[i], classes[cls].suffix) != 0) { return false; }
    }
    return true;
}

/* The byte behind the pair key="value" at at, NULL when it is malformed; *key_bytes_out: length of the key.
 */
static const char *pair_end(const char *at, size_t *key_bytes_out)
{
    size_t key_bytes = strspn(at, "abcdefghijklmnopqrstuvwxyz0123456789_");
    bool reserved =
        strncmp(at, "__", 2) == 0 || strncmp(at, "le=", 3) == 0 || strncmp(at, "quantile=", 9) == 0;
    if (!key_bytes || reserved || (*at >= '0' && *at <= '9') || strncmp(at + key_bytes, "=\"", 2) != 0) {
        return NULL;
    }
    *key_bytes_out = key_bytes;
    for (at += key_bytes + 2; *at != '"'; at++) {
        if (*at == '\\' && (at[1] == '\\' || at[1] == '"' || at[1] == 'n')) {
            at++;
        } else if (*at == '\0' || *at == '\n' || *at == '\\') {
            return NULL;
        }
    }
    return at + 1;
}

/* Whether a key stands twice in labels, which are well-formed up to end. */
static bool key_repeats(const char *labels, const char *key, size_t key_bytes)
{
    size_t earlier_bytes = 0;
    for (const char *at = labels; at < key; at = pair_end(at, &earlier_bytes) + 1) {
        if (strncmp(at, key, key_bytes + 1) == 0) { return true; }
    }
    return false;
}

static bool labels_are_valid(const char *labels)
{
    size_t size_bytes = strlen(labels), key_bytes = 0;
    if (!size_bytes) { return true; }
    if (stoa_utf8_prefix(labels, size_bytes) != size_bytes) { return false; }
    for (const char *at = labels;;) {
        const char *end = pair_end(at, &key_bytes);
        if (!end || key_repeats(labels, at, key_bytes)) { return false; }
        if (*end == '\0') { return true; }
        if (*end != ',') { return false; }
        at = end + 1;
    }
}

/* Same label names in the same order; both are valid. So no two metrics of a family can mean the same series.
 */
static bool keys_agree(const char *a, const char *b)
{
    size_t a_bytes = 0, b_bytes = 0;
    while (*a && *b) {
        const char *a_end = pair_end(a, &a_bytes), *b_end = pair_end(b, &b_bytes);
        if (a_bytes != b_bytes || strncmp(a, b, a_bytes) != 0) { return false; }
        a = *a_end ? a_end + 1 : a_end;
        b = *b_end ? b_end + 1 : b_end;
    }
    return !*a && !*b;
}

void stoa_metrics_label(stoa_buf *labels, const char *key, const char *value)
{
    stoa_buf_printf(labels, "%s%s=\"", labels->used_bytes ? "," : "", key);
    for (; *value; value++) {
        if (*value == '\n') {
            stoa_buf_puts(labels, "\\n");
        } else {
            if (*value == '"' || *value == '\\') { stoa_buf_puts(labels, "\\"); }
            stoa_buf_put(labels, value, 1);
        }
    }
    stoa_buf_puts(labels, "\"");
}

/* --- registry */

stoa_err stoa_metrics_new(stoa_metrics **out)
{
    stoa_metrics *metrics = calloc(1, sizeof *metrics);
    if (!metrics) { return STOA_FAIL(STOA_E_NOMEM, "metrics registry"); }
    if (pthread_mutex_init(&metrics->lock, NULL) != 0) {
        free(metrics);
        return STOA_FAIL(STOA_E_NOMEM, "mutex of the metrics registry");
    }
    metrics->last = &metrics->first;
    *out = metrics;
    return STOA_OK;
}

static void metric_free(metric *m)
{
    if (!m) { return; }
    free(m->cells);
    free(m->labels);
    free(m);
}

static void family_free(family *f)
{
    if (!f) { return; }
    for (metric *m = f->first, *next; m; m = next) {
        next = m->next;
        metric_free(m);
    }
    free(f->name);
    free(f->help);
    free(f);
}

void stoa_metrics_free(stoa_metrics *metrics)
{
    if (!metrics) { return; }
    for (family *f = metrics->first, *next; f; f = next) {
        next = f->next;
        family_free(f);
    }
    (void)pthread_mutex_destroy(&metrics->lock);
    free(metrics);
}

static metric *metric_new(metric_class cls, const char *labels)
{
    size_t cells_bytes = (classes[cls].cells_bytes + LINE_BYTES - 1) / LINE_BYTES * LINE_BYTES;
    metric *m = calloc(1, sizeof *m);
    if (!m) { return NULL; }
    m->labels = strdup(labels);
    m->cells = aligned_alloc(LINE_BYTES, cells_bytes);
    if (!m->labels || !m->cells) {
        metric_free(m);
        return NULL;
    }
    memset(m->cells, 0, cells_bytes);
    return m;
}

static family *family_new(metric_class cls, const char *name, const char *help)
{
    family *f = calloc(1, sizeof *f);
    if (!f) { return NULL; }
    *f = (family){.last = &f->first, .cls = cls, .name = strdup(name), .help = strdup(help)};
    if (!f->name || !f->help) {
        family_free(f);
        return NULL;
    }
    return f;
}

static family *family_find(const stoa_metrics *metrics, const char *name)
{
    family *f = metrics->first;
    while (f && strcmp(f->name, name) != 0) {
        f = f->next;
    }
    return f;
}

static metric *metric_find(const family *f, const char *labels)
{
    metric *m = f->first;
    while (m && strcmp(m->labels, labels) != 0) {
        m = m->next;
    }
    return m;
}

/* Add a metric that is not there yet; f is NULL when its family is not there either. The lock is held. */
static stoa_err metric_add(stoa_metrics *metrics, family *f, metric_class cls, const char *name,
                           const char *labels, const char *help, void **cells_out)
{
    if (f && !keys_agree(f->first->labels, labels)) {
        return STOA_FAIL(STOA_E_INVALID, "%s{%s}: label names differ from {%s}", name, labels,
                         f->first->labels);
    }
    if (metrics->count == STOA_METRICS_MAX) {
        return STOA_FAIL(STOA_E_NOMEM, "more than %u metrics", metrics->count);
    }

    family *fresh = f ? NULL : family_new(cls, name, help);
    metric *m = metric_new(cls, labels);
    if (!m || (!f && !fresh)) {
        metric_free(m);
        family_free(fresh);
        return STOA_FAIL(STOA_E_NOMEM, "metric %s", name);
    }
    if (fresh) {
        *metrics->last = fresh;
        metrics->last = &fresh->next;
        f = fresh;
    }
    *f->last = m;
    f->last = &m->next;
    metrics->count++;
    *cells_out = m->cells;
    return STOA_OK;
}

static stoa_err register_metric(stoa_metrics *metrics, metric_class cls, const char *name, const char *labels,
                                const char *help, void **cells_out)
{
    if (!name_is_valid(cls, name)) {
        return STOA_FAIL(STOA_E_INVALID, "\"%s\" is no name for a %s", name, classes[cls].type);
    }
    if (!labels_are_valid(labels)) {
        return STOA_FAIL(STOA_E_INVALID, "%s: malformed labels {%s}", name, labels);
    }
    size_t help_bytes = strlen(help);
    if (!help_bytes || stoa_utf8_prefix(help, help_bytes) != help_bytes) {
        return STOA_FAIL(STOA_E_INVALID, "%s: help is empty or not UTF-8", name);
    }

    stoa_err err = STOA_OK;
    (void)pthread_mutex_lock(&metrics->lock);
    family *f = family_find(metrics, name);
    metric *m = f ? metric_find(f, labels) : NULL;
    if (f && f->cls != cls) {
        err = STOA_FAIL(STOA_E_INVALID, "%s is a %s already", name, classes[f->cls].type);
    } else if (m) {
        *cells_out = m->cells;
    } else {
        err = metric_add(metrics, f, cls, name, labels, help, cells_out);
    }
    (void)pthread_mutex_unlock(&metrics->lock);
    return err;
}

stoa_err stoa_metrics_counter(stoa_metrics *metrics, const char *name, const char *labels, const char *help,
                              stoa_counter **out)
{
    void *cells = NULL;
    stoa_err err = register_metric(metrics, COUNTER, name, labels, help, &cells);
    if (!err) { *out = cells; }
    return err;
}

stoa_err stoa_metrics_gauge(stoa_metrics *metrics, const char *name, const char *labels, const char *help,
                            stoa_counter **out)
{
    void *cells = NULL;
    stoa_err err = register_metric(metrics, GAUGE, name, labels, help, &cells);
    if (!err) { *out = cells; }
    return err;
}

stoa_err stoa_metrics_histogram(stoa_metrics *metrics, const char *name, const char *labels, const char *help,
                                stoa_histogram **out)
{
    void *cells = NULL;
    stoa_err err = register_metric(metrics, HISTOGRAM, name, labels, help, &cells);
    if (!err) { *out = cells; }
    return err;
}

/* --- text */

static void print_value(const family *f, const metric *m, stoa_buf *out)
{
    const stoa_counter *c = m->cells;
    bool labelled = m->labels[0] != '\0';
    stoa_buf_printf(out, "%s%s%s%s %" PRIu64 "\n", f->name, labelled ? "{" : "", m->labels,
                    labelled ? "}" : "", stoa_counter_get(c));
}

static void print_histogram(const family *f, const metric *m, stoa_buf *out)
{
    const stoa_histogram *h = m->cells;
    const char *comma = m->labels[0] ? "," : "", *open = m->labels[0] ? "{" : "",
               *close = m->labels[0] ? "}" : "";
    uint64_t below = 0;
    unsigned bucket = 0;
    for (unsigned log2 = BOUND_LOG2_MIN; log2 <= BOUND_LOG2_MAX; log2++) {
        uint64_t bound = UINT64_C(1) << log2;
        for (; bucket < bucket_of(bound); bucket++) {
            below += bucket_get(h, bucket);
        }
        stoa_buf_printf(out, "%s_bucket{%s%sle=\"%" PRIu64 ".%09" PRIu64 "\"} %" PRIu64 "\n", f->name,
                        m->labels, comma, bound / NS_PER_S, bound % NS_PER_S, below);
    }
    for (; bucket < STOA_HISTOGRAM_BUCKETS; bucket++) {
        below += bucket_get(h, bucket);
    }
    uint64_t sum = atomic_load_explicit(&h->sum, memory_order_relaxed);
    stoa_buf_printf(out, "%s_bucket{%s%sle=\"+Inf\"} %" PRIu64 "\n", f->name, m->labels, comma, below);
    stoa_buf_printf(out, "%s_sum%s%s%s %" PRIu64 ".%09" PRIu64 "\n", f->name, open, m->labels, close,
                    sum / NS_PER_S, sum % NS_PER_S);
    stoa_buf_printf(out, "%s_count%s%s%s %" PRIu64 "\n", f->name, open, m->labels, close, below);
}

static void print_help(const family *f, stoa_buf *out)
{
    stoa_buf_printf(out, "# HELP %s ", f->name);
    for (const char *at = f->help; *at; at++) {
        const char *escaped = *at == '\n' ? "\\n" : *at == '\\' ? "\\\\" : NULL;
        stoa_buf_put(out, escaped ? escaped : at, escaped ? 2 : 1);
    }
    stoa_buf_printf(out, "\n# TYPE %s %s\n", f->name, classes[f->cls].type);
}

void stoa_metrics_print(stoa_metrics *metrics, stoa_buf *out)
{
    (void)pthread_mutex_lock(&metrics->lock);
    for (const family *f = metrics->first; f; f = f->next) {
        print_help(f, out);
        for (const metric *m = f->first; m; m = m->next) {
            classes[f->cls].print(f, m, out);
        }
    }
    (void)pthread_mutex_unlock(&metrics->lock);
}
