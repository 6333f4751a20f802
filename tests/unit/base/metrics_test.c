/* metrics_test.c - goal: figures are right and Prometheus accepts them. Method: quantiles against a sorted
 * reference with values from a printed seed, the printed page through `promtool check metrics`, names and
 * labels that must be refused.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "base/metrics.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

#include "base/random.h"

enum { VALUES = 19997, THREADS = 4, ADDS = 50000 };

static stoa_metrics *metrics_new(void)
{
    stoa_metrics *metrics = NULL;
    assert_int_equal(stoa_metrics_new(&metrics), STOA_OK);
    return metrics;
}

static stoa_histogram *histogram_new(void)
{
    stoa_histogram *h = calloc(1, sizeof *h);
    assert_non_null(h);
    return h;
}

static int compare(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

/* The value of rank ceil(p * n / 10000), at least the first. */
static uint64_t reference_quantile(const uint64_t *sorted, uint32_t permyriad)
{
    uint64_t rank = ((uint64_t)permyriad * VALUES + 9999) / 10000;
    return sorted[rank ? rank - 1 : 0];
}

static void quantiles_are_at_most_a_sixteenth_too_high(void **state)
{
    (void)state;
    static const uint32_t permyriads[] = {0, 1, 100, 2500, 5000, 9000, 9900, 9990, 9999, 10000};
    stoa_random random;
    uint64_t seed = UINT64_C(20240808);
    print_message("seed %" PRIu64 "\n", seed);
    stoa_random_seed(&random, seed);
    uint64_t *values = calloc(VALUES, sizeof *values);
    assert_non_null(values);
    for (unsigned magnitude = 1; magnitude <= 63; magnitude += 2) {
        stoa_histogram *h = histogram_new();
        for (unsigned i = 0; i < VALUES; i++) {
            values[i] =
                stoa_random_next(&random) >> (64 - magnitude) >> stoa_random_below(&random, magnitude);
            stoa_histogram_add(h, values[i]);
        }
        qsort(values, VALUES, sizeof *values, compare);
        assert_int_equal(stoa_histogram_count(h), VALUES);
        for (unsigned i = 0; i < sizeof permyriads / sizeof permyriads[0]; i++) {
            uint64_t exact = reference_quantile(values, permyriads[i]);
            uint64_t got = stoa_histogram_quantile(h, permyriads[i]);
            assert_true(got >= exact);
            assert_true(got - exact <= exact / 16);
        }
        free(h);
    }
    free(values);
}

static void every_value_has_its_bucket(void **state)
{
    (void)state;
    for (unsigned log2 = 0; log2 < 64; log2++) {
        for (int delta = -1; delta <= 1; delta++) {
            uint64_t value = (UINT64_C(1) << log2) + (uint64_t)delta;
            stoa_histogram *h = histogram_new();
            stoa_histogram_add(h, value);
            uint64_t got = stoa_histogram_quantile(h, 5000);
            assert_true(got >= value && got - value <= value / 16);
            free(h);
        }
    }
    stoa_histogram *h = histogram_new();
    stoa_histogram_add(h, UINT64_MAX);
    assert_int_equal(stoa_histogram_quantile(h, 10000), UINT64_MAX);
    free(h);
}

static void an_empty_histogram_has_quantile_zero(void **state)
{
    (void)state;
    stoa_histogram *h = histogram_new();
    assert_int_equal(stoa_histogram_quantile(h, 9900), 0);
    assert_int_equal(stoa_histogram_count(h), 0);
    free(h);
}

static void the_same_name_and_labels_give_the_same_metric(void **state)
{
    (void)state;
    stoa_metrics *metrics = metrics_new();
    stoa_counter *a = NULL, *b = NULL, *c = NULL;
    assert_int_equal(stoa_metrics_counter(metrics, "stoa_turns_total", "core=\"0\"", "Turns.", &a), STOA_OK);
    assert_int_equal(stoa_metrics_counter(metrics, "stoa_turns_total", "core=\"0\"", "Turns.", &b), STOA_OK);
    assert_int_equal(stoa_metrics_counter(metrics, "stoa_turns_total", "core=\"1\"", "Turns.", &c), STOA_OK);
    assert_ptr_equal(a, b);
    assert_ptr_not_equal(a, c);
    assert_int_equal((uintptr_t)a % 64, 0);
    assert_int_equal((uintptr_t)c % 64, 0);
    stoa_metrics_free(metrics);
}

static void a_page_prints_each_family_once_with_exact_counts(void **state)
{
    (void)state;
    stoa_metrics *metrics = metrics_new();
    stoa_counter *first = NULL, *second = NULL, *gauge = NULL;
    stoa_histogram *h = NULL;
    assert_int_equal(stoa_metrics_counter(metrics, "stoa_a_total", "k=\"1\"", "A.", &first), STOA_OK);
    assert_int_equal(stoa_metrics_gauge(metrics, "stoa_depth", "", "Back\\slash and\nline.", &gauge),
                     STOA_OK);
    assert_int_equal(stoa_metrics_counter(metrics, "stoa_a_total", "k=\"2\"", "other", &second), STOA_OK);
    assert_int_equal(stoa_metrics_histogram(metrics, "stoa_ack_seconds", "p=\"x\"", "Ack.", &h), STOA_OK);
    stoa_counter_add(first, 3);
    stoa_counter_add(second, 4);
    stoa_gauge_set(gauge, 5);
    stoa_histogram_add(h, 1023);
    stoa_histogram_add(h, 1024);
    stoa_histogram_add(h, UINT64_C(20000000000));

    stoa_buf out = STOA_BUF_GROWING;
    stoa_metrics_print(metrics, &out);
    static const char families[] = "# HELP stoa_a_total A.\n# TYPE stoa_a_total counter\n"
                                   "stoa_a_total{k=\"1\"} 3\nstoa_a_total{k=\"2\"} 4\n"
                                   "# HELP stoa_depth Back\\\\slash and\\nline.\n# TYPE stoa_depth gauge\n"
                                   "stoa_depth 5\n"
                                   "# HELP stoa_ack_seconds Ack.\n# TYPE stoa_ack_seconds histogram\n"
                                   "stoa_ack_seconds_bucket{p=\"x\",le=\"0.000001024\"} 1\n"
                                   "stoa_ack_seconds_bucket{p=\"x\",le=\"0.000002048\"} 2\n";
    static const char end[] = "stoa_ack_seconds_bucket{p=\"x\",le=\"17.179869184\"} 2\n"
                              "stoa_ack_seconds_bucket{p=\"x\",le=\"+Inf\"} 3\n"
                              "stoa_ack_seconds_sum{p=\"x\"} 20.000002047\n"
                              "stoa_ack_seconds_count{p=\"x\"} 3\n";
    assert_memory_equal(out.at, families, sizeof families - 1);
    assert_string_equal(out.at + out.used_bytes - (sizeof end - 1), end);
    stoa_buf_deinit(&out);
    stoa_metrics_free(metrics);
}

/* Exit status of promtool fed with page; -1 when there is no promtool. */
static int promtool(const stoa_buf *page)
{
    FILE *pipe = popen("command -v promtool >/dev/null || exit 99; promtool check metrics", "w");
    assert_non_null(pipe);
    assert_int_equal(fwrite(page->at, 1, page->used_bytes, pipe), page->used_bytes);
    int status = pclose(pipe);
    assert_true(WIFEXITED(status));
    return WEXITSTATUS(status) == 99 ? -1 : WEXITSTATUS(status);
}

static void promtool_accepts_the_page(void **state)
{
    (void)state;
    stoa_metrics *metrics = metrics_new();
    stoa_counter *c = NULL;
    stoa_histogram *h = NULL;
    stoa_buf page = STOA_BUF_GROWING, labels = STOA_BUF_GROWING;
    stoa_metrics_label(&labels, "client", "a \"quoted\\\" name\nin two lines, \xe2\x82\xac}{");
    stoa_metrics_label(&labels, "shard", "trade");
    assert_int_equal(stoa_metrics_counter(metrics, "stoa_refused_total", labels.at, "Refused.", &c), STOA_OK);
    stoa_counter_add(c, UINT64_MAX);
    assert_int_equal(stoa_metrics_gauge(metrics, "stoa_mailbox_depth", "", "Queued \\ messages.\nNow.", &c),
                     STOA_OK);
    assert_int_equal(
        stoa_metrics_histogram(metrics, "stoa_order_ack_seconds", labels.at, "Order to ack.", &h), STOA_OK);
    for (uint64_t ns = 1; ns < UINT64_C(1) << 40; ns *= 3) {
        stoa_histogram_add(h, ns);
    }
    assert_int_equal(stoa_metrics_histogram(metrics, "stoa_sync_seconds", "", "Journal sync.", &h), STOA_OK);
    stoa_metrics_print(metrics, &page);

    int rc = promtool(&page);
    stoa_buf bad = STOA_BUF_GROWING;
    stoa_buf_puts(&bad, "stoa_x{ 1\n");
    int rc_bad = promtool(&bad);
    stoa_buf_deinit(&bad);
    stoa_buf_deinit(&page);
    stoa_buf_deinit(&labels);
    stoa_metrics_free(metrics);
    if (rc < 0) {
        print_message("promtool is not installed (Debian package prometheus): not checked\n");
        skip();
    }
    assert_int_equal(rc, 0);
    assert_int_not_equal(rc_bad, 0);
}

typedef stoa_err (*registrar)(stoa_metrics *, const char *, const char *, const char *, stoa_counter **);

static void malformed_names_labels_and_help_are_refused(void **state)
{
    (void)state;
    static const struct {
        registrar add;
        const char *name, *labels, *help;
    } bad[] = {
        {stoa_metrics_counter, "turns_total", "", "h"},
        {stoa_metrics_counter, "stoa_", "", "h"},
        {stoa_metrics_counter, "stoa_turns", "", "h"},
        {stoa_metrics_counter, "stoa_Turns_total", "", "h"},
        {stoa_metrics_counter, "stoa_a-b_total", "", "h"},
        {stoa_metrics_counter, "stoa_a_total\n", "", "h"},
        {stoa_metrics_gauge, "stoa_depth_total", "", "h"},
        {stoa_metrics_gauge, "stoa_depth_count", "", "h"},
        {stoa_metrics_gauge, "stoa_depth_sum", "", "h"},
        {stoa_metrics_gauge, "stoa_depth_bucket", "", "h"},
        {stoa_metrics_gauge, "stoa_depth", "", ""},
        {stoa_metrics_gauge, "stoa_depth", "", "\xff"},
        {stoa_metrics_gauge, "stoa_depth", "a", "h"},
        {stoa_metrics_gauge, "stoa_depth", "a=1", "h"},
        {stoa_metrics_gauge, "stoa_depth", "a=\"1", "h"},
        {stoa_metrics_gauge, "stoa_depth", "a=\"1\",", "h"},
        {stoa_metrics_gauge, "stoa_depth", "a=\"1\" b=\"2\"", "h"},
        {stoa_metrics_gauge, "stoa_depth", "a=\"1\",b=\"2\",a=\"3\"", "h"},
        {stoa_metrics_gauge, "stoa_depth", "1a=\"1\"", "h"},
        {stoa_metrics_gauge, "stoa_depth", "le=\"1\"", "h"},
        {stoa_metrics_gauge, "stoa_depth", "__a=\"1\"", "h"},
        {stoa_metrics_gauge, "stoa_depth", "a=\"\\x\"", "h"},
        {stoa_metrics_gauge, "stoa_depth", "a=\"x\ny\"", "h"},
        {stoa_metrics_gauge, "stoa_depth", "a=\"\xc0\x80\"", "h"},
    };
    stoa_metrics *metrics = metrics_new();
    stoa_counter *untouched = NULL;
    for (unsigned i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        stoa_err err = bad[i].add(metrics, bad[i].name, bad[i].labels, bad[i].help, &untouched);
        if (err != STOA_E_INVALID) {
            fail_msg("accepted: %s{%s} %s", bad[i].name, bad[i].labels, bad[i].help);
        }
        assert_null(untouched);
    }
    stoa_buf page = STOA_BUF_GROWING;
    stoa_metrics_print(metrics, &page);
    assert_int_equal(page.used_bytes, 0);
    stoa_metrics_free(metrics);
}

static void a_name_has_one_class_and_one_set_of_labels(void **state)
{
    (void)state;
    stoa_metrics *metrics = metrics_new();
    stoa_counter *c = NULL, *untouched = NULL;
    stoa_histogram *h = NULL;
    assert_int_equal(stoa_metrics_gauge(metrics, "stoa_lag_seconds", "a=\"1\",b=\"2\"", "Lag.", &c), STOA_OK);
    assert_int_equal(stoa_metrics_histogram(metrics, "stoa_lag_seconds", "a=\"1\",b=\"2\"", "Lag.", &h),
                     STOA_E_INVALID);
    assert_int_equal(stoa_metrics_gauge(metrics, "stoa_lag_seconds", "", "Lag.", &untouched), STOA_E_INVALID);
    assert_int_equal(stoa_metrics_gauge(metrics, "stoa_lag_seconds", "a=\"1\"", "Lag.", &untouched),
                     STOA_E_INVALID);
    assert_int_equal(stoa_metrics_gauge(metrics, "stoa_lag_seconds", "b=\"2\",a=\"1\"", "Lag.", &untouched),
                     STOA_E_INVALID);
    assert_null(untouched);
    assert_null(h);
    assert_int_equal(stoa_metrics_gauge(metrics, "stoa_lag_seconds", "a=\"1\",b=\"3\"", "Lag.", &untouched),
                     STOA_OK);
    stoa_metrics_free(metrics);
}

static void the_registry_is_bounded(void **state)
{
    (void)state;
    stoa_metrics *metrics = metrics_new();
    stoa_counter *c = NULL;
    char name[64];
    for (unsigned i = 0; i < STOA_METRICS_MAX; i++) {
        (void)snprintf(name, sizeof name, "stoa_depth%u", i / 256);
        char labels[32];
        (void)snprintf(labels, sizeof labels, "n=\"%u\"", i % 256);
        assert_int_equal(stoa_metrics_gauge(metrics, name, labels, "Depth.", &c), STOA_OK);
    }
    assert_int_equal(stoa_metrics_gauge(metrics, "stoa_one_more", "", "Depth.", &c), STOA_E_NOMEM);
    assert_int_equal(stoa_metrics_gauge(metrics, "stoa_depth0", "n=\"0\"", "Depth.", &c), STOA_OK);
    stoa_metrics_free(metrics);
}

typedef struct load {
    stoa_metrics *metrics;
    stoa_counter *shared;
} load;

static void *add_and_register(void *argument)
{
    load *l = argument;
    for (unsigned i = 0; i < ADDS; i++) {
        stoa_counter_add_shared(l->shared, 1);
    }
    for (unsigned i = 0; i < 64; i++) {
        char labels[32];
        stoa_counter *c = NULL;
        (void)snprintf(labels, sizeof labels, "n=\"%u\"", i);
        if (stoa_metrics_gauge(l->metrics, "stoa_each", labels, "Each.", &c)) { return l; }
        stoa_counter_add_shared(c, 1);
    }
    return NULL;
}

static void many_threads_lose_nothing_while_the_page_is_printed(void **state)
{
    (void)state;
    load l = {.metrics = metrics_new()};
    pthread_t threads[THREADS];
    assert_int_equal(stoa_metrics_counter(l.metrics, "stoa_shared_total", "", "Shared.", &l.shared), STOA_OK);
    for (unsigned i = 0; i < THREADS; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, add_and_register, &l), 0);
    }
    for (unsigned i = 0; i < 16; i++) {
        stoa_buf page = STOA_BUF_GROWING;
        stoa_metrics_print(l.metrics, &page);
        stoa_buf_deinit(&page);
    }
    for (unsigned i = 0; i < THREADS; i++) {
        void *failed = NULL;
        assert_int_equal(pthread_join(threads[i], &failed), 0);
        assert_null(failed);
    }
    assert_int_equal(stoa_counter_get(l.shared), (uint64_t)THREADS * ADDS);
    stoa_counter *each = NULL;
    assert_int_equal(stoa_metrics_gauge(l.metrics, "stoa_each", "n=\"63\"", "Each.", &each), STOA_OK);
    assert_int_equal(stoa_counter_get(each), THREADS);
    stoa_metrics_free(l.metrics);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(quantiles_are_at_most_a_sixteenth_too_high),
        cmocka_unit_test(every_value_has_its_bucket),
        cmocka_unit_test(an_empty_histogram_has_quantile_zero),
        cmocka_unit_test(the_same_name_and_labels_give_the_same_metric),
        cmocka_unit_test(a_page_prints_each_family_once_with_exact_counts),
        cmocka_unit_test(promtool_accepts_the_page),
        cmocka_unit_test(malformed_names_labels_and_help_are_refused),
        cmocka_unit_test(a_name_has_one_class_and_one_set_of_labels),
        cmocka_unit_test(the_registry_is_bounded),
        cmocka_unit_test(many_threads_lose_nothing_while_the_page_is_printed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
