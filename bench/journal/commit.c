/* commit.c - journal.group_commit: how long an event takes to be acknowledged and on disk, at a steady rate, whatever comes back.
 *
 * Open loop: RATE requests a second are sent when their time has come, and a latency counts from that time until who asked has
 * heard. Ours: a port asks an actor, whose event is committed by its shard, and hears the answer. The peer: RocksDB as it comes,
 * with the obvious group commit: one thread takes whatever waits and writes it in one synced batch, a key an event, and tells the
 * one that asks. In turns.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench/journal/rig.h"

enum { RATE = 100000, RUN_MS = 2000, QUICK_MS = 20, WARM_UP_MS = 500, RUNS = 9, GROUP_MAX = 4096, ANSWER_S_MAX = 60 };
#define GOAL 1.3 /* times the peer */
static const uint64_t EVERY_NS = 1000000000 / RATE;

/* Of one run: when each request was due, and how long it took. */
typedef struct run {
    uint64_t *took_ns;
    uint64_t began_ns;
    uint32_t count;
    uint32_t done;
} run;

static int by_value(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return x < y ? -1 : x > y;
}

/* In microseconds; sorts. */
static double quantile(run *r, double q)
{
    qsort(r->took_ns, r->count, sizeof r->took_ns[0], by_value);
    return (double)r->took_ns[(size_t)(q * (r->count - 1))] / 1e3;
}

static uint64_t due_ns(const run *r, uint32_t i)
{
    return r->began_ns + i * EVERY_NS;
}

static void completed(run *r, uint32_t i, uint64_t now_ns)
{
    r->took_ns[i] = now_ns - due_ns(r, i);
    r->done++;
}

/* --- ours */

static void hear(void *context, const stoa_delivery *delivery)
{
    bench_must(delivery->error, "put");
    if (delivery->durability != stoa_durability_DISK) { bench_fail("an answer that is not durable"); }
    completed(context, (uint32_t)delivery->token, bench_now_ns());
}

static void run_ours(stoa_port *port, stoa_ref to, run *r)
{
    r->began_ns = bench_now_ns();
    for (uint32_t sent = 0; r->done < r->count;) {
        uint64_t now = bench_now_ns();
        while (sent < r->count && due_ns(r, sent) <= now) {
            keep_put put = keep_event_of(sent);
            stoa_err err = stoa_port_ask(port, to, &keep_rows[keep_ROW_put], &put, 0, STOA_S(ANSWER_S_MAX), sent);
            if (err == STOA_E_FULL) { break; }
            bench_must(err, "ask");
            sent++;
        }
        stoa_port_flush(port);
        if (!stoa_port_poll(port, hear, r, GROUP_MAX)) { (void)sched_yield(); }
    }
}

/* --- the peer */

typedef struct writer {
    bench_raw *raw;
    run *run;
    _Atomic uint32_t due;     /* requests whose time has come */
    _Atomic uint32_t written; /* of these */
    unsigned char values[GROUP_MAX * BENCH_EVENT_BYTES];
} writer;

static void *write_groups(void *argument)
{
    writer *w = argument;
    for (uint32_t written = 0; written < w->run->count;) {
        uint32_t waits = atomic_load(&w->due) - written;
        if (!waits) {
            (void)sched_yield();
            continue;
        }
        if (waits > GROUP_MAX) { waits = GROUP_MAX; }
        for (uint32_t i = 0; i < waits; i++) {
            keep_put put = keep_event_of(written + i);
            memcpy(w->values + i * sizeof put, &put, sizeof put);
        }
        bench_raw_write(w->raw, w->values, BENCH_EVENT_BYTES, waits);
        written += waits;
        atomic_store(&w->written, written);
    }
    return NULL;
}

static void run_raw(writer *w, run *r)
{
    pthread_t thread;
    w->run = r;
    atomic_store(&w->due, 0);
    atomic_store(&w->written, 0);
    r->began_ns = bench_now_ns();
    if (pthread_create(&thread, NULL, write_groups, w)) { bench_fail("no thread"); }
    for (uint32_t due = 0; r->done < r->count;) {
        uint64_t now = bench_now_ns();
        while (due < r->count && due_ns(r, due) <= now) { due++; }
        atomic_store(&w->due, due);
        uint32_t written = atomic_load(&w->written);
        if (written == r->done) { (void)sched_yield(); }
        for (now = bench_now_ns(); r->done < written;) { completed(r, r->done, now); }
    }
    (void)pthread_join(thread, NULL);
}

/* --- both */

typedef struct pair {
    bench_samples p50[2], p99[2];
} pair;

static void measure(bench_store *store, stoa_port *port, writer *w, uint32_t ms, pair *out)
{
    run r = {.count = (uint32_t)((uint64_t)RATE * ms / 1000)};
    r.took_ns = calloc(r.count, sizeof r.took_ns[0]);
    if (!r.took_ns) { bench_fail("no memory"); }
    for (int raw = 0; raw < 2; raw++) {
        r.done = 0;
        if (raw) {
            run_raw(w, &r);
        } else {
            bench_beside_core(true);
            run_ours(port, store->keep, &r);
            bench_beside_core(false);
        }
        if (!out) { continue; }
        bench_add(&out->p50[raw], quantile(&r, 0.5));
        bench_add(&out->p99[raw], quantile(&r, 0.99));
    }
    free(r.took_ns);
}

void bench_group_commit(const bench_journal_task *task)
{
    char path[BENCH_PATH_BYTES];
    pair all = {0};
    stoa_port *port;
    writer *w = calloc(1, sizeof *w);
    if (!w) { bench_fail("no memory"); }
    bench_path(path, "commit");
    bench_store store = bench_store_open(path, stoa_durability_DISK);
    bench_must(stoa_port_open(store.node, "bench", &port), "port");
    bench_path(path, "raw");
    w->raw = bench_raw_open(path);
    measure(&store, port, w, task->quick ? QUICK_MS : WARM_UP_MS, NULL);
    for (uint32_t i = 0; i < (task->quick ? 1 : RUNS); i++) { measure(&store, port, w, task->quick ? QUICK_MS : RUN_MS, &all); }
    stoa_port_close(port);
    bench_store_close(&store);
    bench_raw_close(w->raw);
    free(w);
    const char *peer = "rocksdb: a batch of what waits";
    bench_print(&(bench_figure){.name = "journal.group_commit", .unit = "us", .less = true, .goal = GOAL * bench_median(&all.p50[1]),
                                .ours = all.p50[0], .theirs = all.p50[1], .peer = peer});
    bench_print(&(bench_figure){.name = "journal.group_commit_p99", .unit = "us", .less = true, .ours = all.p99[0],
                                .theirs = all.p99[1], .peer = peer});
}
