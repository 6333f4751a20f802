/* snapshot.c - journal.snapshot: how long requests take while snapshots are made, beside how long they take while none is.
 *
 * RATE requests a second go from a port to an actor with a state of 64 MiB, each changing another part of it, on durability
 * memory; a latency counts from when the request was due (an open loop). In turns: STRETCH_MS without, STRETCH_MS while one
 * snapshot after the other is made. The value is the p99 of all such stretches with, its goal twice the p99 of those without.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

#include "bench/journal/rig.h"

enum { RATE = 20000, STRETCH_MS = 1500, QUICK_MS = 50, RUNS = 7, ANSWER_S_MAX = 60, POLLED_MAX = 256, STEP = 4099, FILLED = 4000000 };
#define GOAL 2.0 /* times without */
static const uint64_t EVERY_NS = 1000000000 / RATE;

typedef struct stretch {
    uint64_t *took_ns;
    uint64_t began_ns;
    uint32_t count, done;
} stretch;

static int by_value(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return x < y ? -1 : x > y;
}

static void hear(void *context, const stoa_delivery *delivery)
{
    stretch *s = context;
    bench_must(delivery->error, "put");
    s->took_ns[delivery->token] = bench_now_ns() - (s->began_ns + delivery->token * EVERY_NS);
    s->done++;
}

/* In microseconds. */
static double p99_of(stoa_port *port, stoa_ref to, uint32_t ms)
{
    static uint64_t number;
    stretch s = {.count = RATE / 1000 * ms};
    s.took_ns = calloc(s.count, sizeof s.took_ns[0]);
    if (!s.took_ns) { bench_fail("no memory"); }
    s.began_ns = bench_now_ns();
    for (uint32_t sent = 0; s.done < s.count;) {
        for (uint64_t now = bench_now_ns(); sent < s.count && s.began_ns + sent * EVERY_NS <= now; sent++) {
            keep_put put = keep_event_of(number++ * STEP);
            if (stoa_port_ask(port, to, &keep_rows[keep_ROW_put], &put, 0, STOA_S(ANSWER_S_MAX), sent)) { break; }
        }
        stoa_port_flush(port);
        if (!stoa_port_poll(port, hear, &s, POLLED_MAX)) { (void)sched_yield(); }
    }
    qsort(s.took_ns, s.count, sizeof s.took_ns[0], by_value);
    double p99 = (double)s.took_ns[(size_t)s.count * 99 / 100] / 1e3;
    free(s.took_ns);
    return p99;
}

typedef struct maker {
    stoa_shard *shard;
    pthread_t thread;
    _Atomic bool stop;
    _Atomic uint64_t made, bytes;
} maker;

static void *make(void *argument)
{
    maker *m = argument;
    while (!atomic_load(&m->stop)) {
        stoa_following_view view;
        bench_must(stoa_shard_snapshot(m->shard, STOA_S(ANSWER_S_MAX), &view), "snapshot");
        atomic_fetch_add(&m->made, 1);
        atomic_fetch_add(&m->bytes, view.put_bytes);
    }
    return NULL;
}

static double p99_while_making(stoa_port *port, const bench_store *store, uint32_t ms, maker *m)
{
    m->shard = store->shard;
    atomic_store(&m->stop, false);
    if (pthread_create(&m->thread, NULL, make, m)) { bench_fail("no thread"); }
    double p99 = p99_of(port, store->keep, ms);
    atomic_store(&m->stop, true);
    (void)pthread_join(m->thread, NULL);
    return p99;
}

void bench_snapshot(const bench_journal_task *task)
{
    char path[BENCH_PATH_BYTES], more[128];
    bench_samples without = {0}, with = {0};
    maker m = {0};
    stoa_port *port;
    uint32_t ms = task->quick ? QUICK_MS : STRETCH_MS;
    bench_path(path, "snapshot");
    bench_store store = bench_store_open(path, stoa_durability_MEMORY);
    bench_store_fill(&store, 0, task->quick ? FILLED / 1000 : FILLED);
    bench_must(stoa_port_open(store.node, "bench", &port), "port");
    stoa_following_view first; /* it writes everything */
    bench_must(stoa_shard_snapshot(store.shard, STOA_S(ANSWER_S_MAX), &first), "snapshot");
    (void)p99_of(port, store.keep, ms);
    for (uint32_t i = 0; i < (task->quick ? 1 : RUNS); i++) {
        bench_add(&without, p99_of(port, store.keep, ms));
        bench_add(&with, p99_while_making(port, &store, ms, &m));
    }
    stoa_port_close(port);
    bench_store_close(&store);
    (void)snprintf(more, sizeof more, ",\"snapshots\":%llu,\"snapshot_bytes\":%llu", (unsigned long long)m.made,
                   (unsigned long long)(m.bytes / m.made));
    bench_print(&(bench_figure){.name = "journal.snapshot", .unit = "us", .less = true, .goal = GOAL * bench_median(&without), .ours = with,
                                .theirs = without, .peer = "without snapshots", .more = more});
}
