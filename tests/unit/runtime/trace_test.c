/* trace_test.c - goal: traces and times of cores that run are whole and can be looked at from any thread. Method: two real cores
 * with numbers going round between them while another thread waits for roots, samples and reads; meant for TSan.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "runtime/stoa.h"

#define runner_lap_FIELDS(F, S) F(S, uint64_t, left)
#define runner_ROWS(ROW, K)     ROW(K, CAST, lap, _, "On to the other one.")
STOA_TABLE_HERE(runner)
typedef struct runner {
    stoa_ref other;
    uint64_t laps;
} runner;
#define runner_HEARS STOA_HEARS_NOTHING
STOA_PLAIN_KIND(runner, .mailbox_limit = 64)

static stoa_err runner_on_lap(stoa_turn *turn, runner *self, const runner_lap *in)
{
    if (!self->other.at) {
        self->other = stoa_turn_find(turn, strcmp(stoa_turn_key(turn), "a") == 0 ? "runner/b" : "runner/a");
    }
    self->laps++;
    return in->left ? runner_send_lap(turn, self->other, (runner_lap){in->left - 1}) : STOA_OK;
}

typedef struct chain {
    uint64_t trace, last, count;
    uint32_t core;
} chain;

/* In the order of time each span is below the one before, on the other core. */
static void follow(void *context, const stoa_span *span)
{
    chain *c = context;
    assert_int_equal(span->trace, c->trace);
    assert_true(span->sent_ns <= span->began_ns && span->began_ns <= span->ended_ns);
    if (c->count) {
        assert_int_equal(span->parent, c->last);
        assert_int_equal(span->core, 1 - c->core);
    }
    c->last = span->span;
    c->core = span->core;
    c->count++;
}

static void count_spans(void *context, const stoa_span *span)
{
    *(uint64_t *)context += span->trace != 0;
}

static void count_samples(void *context, const stoa_times_view *view)
{
    *(uint64_t *)context += view->waits && view->turns;
}

static void run_laps(stoa_node *node, stoa_ref to, uint64_t laps)
{
    assert_int_equal(runner_post_lap(node, to, (runner_lap){laps}), STOA_OK);
}

static void traces_of_running_cores_are_whole(void **state)
{
    (void)state;
    enum { TRACES = 40, LAPS = 50 };
    stoa_node *node;
    stoa_metrics *metrics;
    stoa_ref a, b;
    uint64_t sampled = 0;
    assert_int_equal(stoa_metrics_new(&metrics), STOA_OK);
    assert_int_equal(stoa_node_open(&(stoa_options){.cores = 2, .metrics = metrics, .time_every = 8}, &node), STOA_OK);
    assert_int_equal(stoa_spawn(node, &runner_kind, "runner/a", &(stoa_spawn_options){.core = 0}, &a), STOA_OK);
    assert_int_equal(stoa_spawn(node, &runner_kind, "runner/b", &(stoa_spawn_options){.core = 1}, &b), STOA_OK);
    for (uint64_t i = 1; i <= TRACES; i++) {
        assert_int_equal(stoa_trace_next(node, "runner/a"), STOA_OK);
        run_laps(node, a, LAPS);
        while (!stoa_trace_awaited(node)) {}
        chain c = {.trace = stoa_trace_awaited(node)};
        assert_int_equal(c.trace, i);
        uint64_t seen = 0; /* cores are looked at one after the other: only what is over is without gaps */
        for (; seen < LAPS + 1; assert_int_equal(stoa_spans(node, i, count_spans, &seen), STOA_OK)) { seen = 0; }
        assert_int_equal(stoa_spans(node, i, follow, &c), STOA_OK);
        assert_int_equal(c.count, LAPS + 1);
    }
    stoa_trace_every(node, 16);
    while (stoa_trace_last(node) < TRACES + 10 || !sampled) {
        run_laps(node, a, LAPS);
        sampled = 0;
        assert_int_equal(stoa_kind_times(node, count_samples, &sampled), STOA_OK);
    }
    stoa_trace_every(node, 0);
    stoa_node_close(node, STOA_S(10));
    stoa_metrics_free(metrics);
}

static void add_turns(void *context, const stoa_times_view *view)
{
    *(uint64_t *)context += view->turns;
}

/* However many turns go by between two that are timed, and however that changes: what was timed stands for them all. */
static void turns_that_are_timed_stand_for_all(void **state)
{
    (void)state;
    enum { EVERY = 64, LAPS = 200000, BEHIND = 4 * 2 * EVERY }; /* the last that were timed were some turns ago */
    stoa_node *node;
    stoa_metrics *metrics;
    stoa_core_view core;
    stoa_ref a, b;
    assert_int_equal(stoa_metrics_new(&metrics), STOA_OK);
    assert_int_equal(stoa_node_open(&(stoa_options){.cores = 1, .metrics = metrics, .time_every = EVERY}, &node), STOA_OK);
    assert_int_equal(stoa_spawn(node, &runner_kind, "runner/a", NULL, &a), STOA_OK);
    assert_int_equal(stoa_spawn(node, &runner_kind, "runner/b", NULL, &b), STOA_OK);
    for (uint64_t laps = 1; laps <= LAPS; laps *= 20) {
        uint64_t turns = 0, before;
        assert_int_equal(stoa_core_look(node, 0, &core), STOA_OK);
        before = core.messages;
        run_laps(node, a, laps);
        do { assert_int_equal(stoa_core_look(node, 0, &core), STOA_OK); } while (core.messages < before + laps + 1);
        assert_int_equal(stoa_kind_times(node, add_turns, &turns), STOA_OK);
        assert_in_range(turns, core.messages < BEHIND ? 0 : core.messages - BEHIND, core.messages);
    }
    stoa_node_close(node, STOA_S(10));
    stoa_metrics_free(metrics);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(traces_of_running_cores_are_whole),
                                       cmocka_unit_test(turns_that_are_timed_stand_for_all)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
