/* snapshot.c - journal.snapshot: how long turns take while snapshots are made, beside how long they take while none is.
 *
 * RATE requests a second go from a port to an actor with a state of 64 MiB, each changing another part of it, on durability
 * memory, at times that do not depend on the answers. A turn takes from when its message was sent until it has run; an answer
 * (journal.snapshot_answer) from when the request was due until it was heard, by a thread that shares its processor with what
 * makes the snapshots. In turns: STRETCH_MS without, STRETCH_MS while one snapshot after the other is made. The value is the
 * p99 of a stretch with, the goal of turns twice that of one without.
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

enum { TURN, ANSWER, MEASURES };

typedef struct stretch {
    uint64_t *took_ns[MEASURES]; /* of a turn, the time it was sent until it is known when it ran */
    uint64_t began_ns;
    uint32_t count, done;
} stretch;

/* In microseconds. */
typedef struct p99s {
    double of[MEASURES];
} p99s;

static int by_value(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return x < y ? -1 : x > y;
}

static void hear(void *context, const stoa_delivery *delivery)
{
    stretch *s = context;
    bench_must(delivery->error, "put");
    const keep_done *done = delivery->payload;
    s->took_ns[TURN][delivery->token] = done->ran_ns - s->took_ns[TURN][delivery->token];
    s->took_ns[ANSWER][delivery->token] = bench_now_ns() - (s->began_ns + delivery->token * EVERY_NS);
    s->done++;
}

static void send_what_is_due(stretch *s, stoa_port *port, stoa_ref to, uint32_t *sent)
{
    static uint64_t number;
    for (uint64_t now = bench_now_ns(); *sent < s->count && s->began_ns + *sent * EVERY_NS <= now; ++*sent) {
        keep_put put = keep_event_of(number++ * STEP);
        s->took_ns[TURN][*sent] = bench_now_ns();
        if (stoa_port_ask(port, to, &keep_rows[keep_ROW_put], &put, 0, STOA_S(ANSWER_S_MAX), *sent)) { break; }
        stoa_port_flush(port);
    }
}

static p99s p99_of(stoa_port *port, stoa_ref to, uint32_t ms)
{
    stretch s = {.count = RATE / 1000 * ms};
    p99s out;
    for (int i = 0; i < MEASURES; i++) {
        s.took_ns[i] = calloc(s.count, sizeof s.took_ns[i][0]);
        if (!s.took_ns[i]) { bench_fail("no memory"); }
    }
    s.began_ns = bench_now_ns();
    for (uint32_t sent = 0; s.done < s.count;) {
        send_what_is_due(&s, port, to, &sent);
        if (!stoa_port_poll(port, hear, &s, POLLED_MAX)) { (void)sched_yield(); }
    }
    for (int i = 0; i < MEASURES; i++) {
        qsort(s.took_ns[i], s.count, sizeof s.took_ns[i][0], by_value);
        out.of[i] = (double)s.took_ns[i][(size_t)s.count * 99 / 100] / 1e3;
        free(s.took_ns[i]);
    }
    return out;
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

static p99s p99_while_making(stoa_port *port, const bench_store *store, uint32_t ms, maker *m)
{
    m->shard = store->shard;
    atomic_store(&m->stop, false);
    if (pthread_create(&m->thread, NULL, make, m)) { bench_fail("no thread"); }
    p99s p99 = p99_of(port, store->keep, ms);
    atomic_store(&m->stop, true);
    (void)pthread_join(m->thread, NULL);
    return p99;
}

void bench_snapshot(const bench_journal_task *task)
{
    char path[BENCH_PATH_BYTES], more[128];
    bench_samples without[MEASURES] = {0}, with[MEASURES] = {0};
    maker m = {0};
    stoa_port *port;
    uint32_t ms = task->quick ? QUICK_MS : STRETCH_MS;
    bench_path(path, "snapshot");
    bench_store store = bench_store_open(path, stoa_durability_MEMORY);
    bench_store_fill(&store, 0, task->quick ? FILLED / 1000 : FILLED);
    bench_must(stoa_port_open(store.node, "bench", &port), "port");
    stoa_following_view first; /* it writes everything */
    bench_must(stoa_shard_snapshot(store.shard, STOA_S(ANSWER_S_MAX), &first), "snapshot");
    bench_beside_core(true);
    (void)p99_of(port, store.keep, ms);
    for (uint32_t i = 0; i < (task->quick ? 1 : RUNS); i++) {
        p99s alone = p99_of(port, store.keep, ms), made = p99_while_making(port, &store, ms, &m);
        for (int k = 0; k < MEASURES; k++) {
            bench_add(&without[k], alone.of[k]);
            bench_add(&with[k], made.of[k]);
        }
    }
    bench_beside_core(false);
    stoa_port_close(port);
    bench_store_close(&store);
    (void)snprintf(more, sizeof more, ",\"snapshots\":%llu,\"snapshot_bytes\":%llu", (unsigned long long)m.made,
                   (unsigned long long)(m.bytes / m.made));
    const char *peer = "without snapshots";
    bench_print(&(bench_figure){.name = "journal.snapshot", .unit = "us", .less = true, .goal = GOAL * bench_median(&without[TURN]),
                                .ours = with[TURN], .theirs = without[TURN], .peer = peer, .more = more});
    bench_print(&(bench_figure){.name = "journal.snapshot_answer", .unit = "us", .less = true, .ours = with[ANSWER],
                                .theirs = without[ANSWER], .peer = peer});
}
