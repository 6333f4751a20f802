/* pass.c - one message that is passed on: runtime.pingpong, runtime.watched, runtime.seen, runtime.ring, runtime.cross.
 *
 * A ball goes from actor to actor until it has been passed so many times; each adds what it reads to the sum that the ball
 * carries. Two actors on a core, a hundred on a core, two on two cores.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "bench/runtime/rig.h"

enum { RING = 100 };

// clang-format off
#define passer_link_FIELDS(F, S) F(S, uint64_t, next)
#define passer_ball_FIELDS(F, S) F(S, uint64_t, left) F(S, uint64_t, sum)
#define passer_linked_FIELDS STOA_NO_FIELDS
#define passer_ROWS(ROW, K)                                      \
    ROW(K, COMMAND, link, linked, "Whom to pass to from now on.") \
    ROW(K, REPLY, linked, _, "A ball may come.")                 \
    ROW(K, CAST, ball, _, "Add, and pass on while any is left.")
// clang-format on
STOA_TABLE(passer)
STOA_TABLE_DEFINE(passer)

typedef struct passer {
    stoa_ref next;
} passer;

#define passer_HEARS STOA_HEARS_NOTHING
STOA_PLAIN_KIND(passer, .mailbox_limit = 16)

static stoa_err passer_on_link(stoa_turn *turn, passer *self, const passer_link *in, passer_linked *out)
{
    (void)turn;
    (void)out;
    self->next = (stoa_ref){in->next};
    return STOA_OK;
}

static stoa_err passer_on_ball(stoa_turn *turn, passer *self, const passer_ball *in)
{
    if (!in->left) {
        bench_ended(in->sum);
        return STOA_OK;
    }
    return passer_send_ball(turn, self->next, (passer_ball){in->left - 1, in->sum + in->left});
}

typedef struct round {
    stoa_node *node;
    stoa_ref first;
    uint64_t passes; /* that make a step */
} round;

static double once(const bench_task *task, void *context)
{
    const round *r = context;
    uint64_t left = task->steps * r->passes;
    bench_begin();
    bench_must(passer_post_ball(r->node, r->first, (passer_ball){left, 0}), task->name);
    return (double)bench_wait(task, left * (left + 1) / 2) / (double)task->steps;
}

static void pass_on(stoa_node *node, const bench_task *task, uint32_t actors, uint64_t passes, bench_samples *out)
{
    round r = {.node = node, .passes = passes};
    stoa_ref at[RING];
    for (uint32_t i = 0; i < actors; i++) {
        at[i] = bench_spawn(r.node, &passer_kind, i, NULL);
    }
    for (uint32_t i = 0; i < actors; i++) {
        passer_linked linked; /* a ball from another core could overtake what is only posted */
        passer_link link = {at[(i + 1) % actors].at};
        bench_must(passer_call_link(r.node, at[i], link, STOA_S(10), &linked), task->name);
    }
    r.first = at[0];
    bench_repeat(task, once, &r, out);
    bench_close(r.node);
}

static void pass(const bench_task *task, uint32_t actors, uint64_t passes, bench_samples *out)
{
    pass_on(bench_open(task->cores, STOA_IDLE_LATENCY), task, actors, passes, out);
}

/* The same with a flight recorder, a stall detector, and signals caught. */
void bench_watched(const bench_task *task, bench_samples *out)
{
    enum { TIME_EVERY = 1024 }; /* turns that are timed cost by themselves: few, so that there are some to record */
    char folder[] = "/tmp/stoa-bench-XXXXXX", path[64];
    if (!mkdtemp(folder)) { bench_fail("no folder for the flight recorder"); }
    (void)snprintf(path, sizeof path, "%s/flight", folder);
    stoa_options watched = {.flight_path = path,
                            .stall_ns = STOA_MS(50),
                            .hard_ns = STOA_S(60),
                            .catch_signals = true,
                            .time_every = TIME_EVERY};
    pass_on(bench_open_with(&watched, task->cores, STOA_IDLE_LATENCY), task, 2, 2, out);
    (void)unlink(path);
    (void)rmdir(folder);
}

/* The same with histograms of turns and of messages on their way, sampled as stoad does. */
void bench_seen(const bench_task *task, bench_samples *out)
{
    enum { TIME_EVERY = 1024 };
    stoa_metrics *metrics;
    bench_must(stoa_metrics_new(&metrics), task->name);
    pass_on(bench_open_with(&(stoa_options){.metrics = metrics, .time_every = TIME_EVERY}, task->cores, STOA_IDLE_LATENCY), task, 2, 2,
            out);
    stoa_metrics_free(metrics);
}

/* A step is a round trip; across two cores it is the same, as actors alternate between them. */
void bench_pingpong(const bench_task *task, bench_samples *out)
{
    pass(task, 2, 2, out);
}

/* A step is a hop. */
void bench_ring(const bench_task *task, bench_samples *out)
{
    pass(task, RING, 1, out);
}
