/* snapshot.c - journal.snapshot: how long turns take while snapshots are made, beside how long they take while none is.
 *
 * RATE requests a second change an actor with a state of 64 MiB, each another part of it, on durability memory, at times that do
 * not depend on the answers. journal.snapshot: they come from an actor of the same core, whose turns look whether the next is due;
 * a turn takes from then until it has run, so that whatever holds up the core is in it. journal.snapshot_answer: they come from
 * a port, and take until the answer is heard; its thread shares a processor with what makes the snapshots. In turns: STRETCH_MS
 * without, STRETCH_MS while one snapshot after the other is made. The value is the p99 of a stretch with, the goal of turns twice
 * that of one without.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

#include "bench/journal/rig.h"

enum { RATE = 20000, STRETCH_MS = 1500, QUICK_MS = 50, RUNS = 7, ANSWER_S_MAX = 60, POLLED_MAX = 256, STEP = 4099 };
#define GOAL 2.0 /* times without */
static const uint64_t EVERY_NS = 1000000000 / RATE;

/* --- the requests of a stretch */

typedef struct stretch {
    uint64_t *took_ns;
    uint64_t began_ns;
    uint32_t count, sent, done;
    sem_t ended;
} stretch;

static stretch now_running; /* of the thread that asks, then of who waits for it; the semaphore is between */
static uint64_t number;

static uint64_t due_ns(uint32_t index)
{
    return now_running.began_ns + index * EVERY_NS;
}

static keep_put next_put(void)
{
    return keep_event_of(number++ * STEP);
}

static int by_value(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return x < y ? -1 : x > y;
}

static void begin(uint32_t ms)
{
    now_running = (stretch){.count = RATE / 1000 * ms};
    now_running.took_ns = calloc(now_running.count, sizeof now_running.took_ns[0]);
    if (!now_running.took_ns || sem_init(&now_running.ended, 0, 0)) { bench_fail("no memory"); }
    now_running.began_ns = bench_now_ns();
}

/* In microseconds. */
static double end_with_p99(void)
{
    stretch *s = &now_running;
    qsort(s->took_ns, s->count, sizeof s->took_ns[0], by_value);
    double p99 = (double)s->took_ns[(size_t)s->count * 99 / 100] / 1e3;
    free(s->took_ns);
    return p99;
}

/* --- an actor of the same core asks */

// clang-format off
#define source_run_FIELDS STOA_NO_FIELDS
#define source_look_FIELDS STOA_NO_FIELDS
#define source_ROWS(ROW, K)                             \
    ROW(K, CAST, run, _, "Ask for a stretch.")          \
    ROW(K, CAST, look, _, "Look whether a request is due.")
#define source_HEARS(HEAR, K) HEAR(K, keep, done)
// clang-format on
STOA_TABLE(source)
STOA_TABLE_DEFINE(source)

typedef struct source {
    stoa_ref keep;
} source;

static stoa_err source_begin(stoa_turn *turn, void *state, const void *args)
{
    (void)turn;
    ((source *)state)->keep = *(const stoa_ref *)args;
    return STOA_OK;
}

STOA_PLAIN_KIND(source, .start = source_begin, .args_bytes = sizeof(stoa_ref), .mailbox_limit = 1 << 20)

static stoa_err source_on_look(stoa_turn *turn, source *self, const source_look *in)
{
    stretch *s = &now_running;
    for (uint64_t now = bench_now_ns(); s->sent < s->count && due_ns(s->sent) <= now; s->sent++) {
        keep_put put = next_put();
        stoa_err err = stoa_turn_ask(turn, self->keep, &keep_rows[keep_ROW_put], &put, STOA_S(ANSWER_S_MAX), s->sent);
        if (err) { return err; }
    }
    return s->done < s->count ? source_send_look(turn, turn->self, *in) : STOA_OK;
}

static stoa_err source_on_run(stoa_turn *turn, source *self, const source_run *in)
{
    (void)in;
    return source_on_look(turn, self, &(source_look){0});
}

static stoa_err source_on_keep_done(stoa_turn *turn, source *self, const keep_done *in)
{
    stretch *s = &now_running;
    (void)self;
    bench_must(turn->error, "put");
    s->took_ns[turn->token] = in->ran_ns - due_ns((uint32_t)turn->token);
    if (++s->done == s->count) { (void)sem_post(&s->ended); }
    return STOA_OK;
}

static double turns_of(const bench_store *store, stoa_port *port, uint32_t ms)
{
    static stoa_ref asks;
    (void)port;
    if (!asks.at) { bench_must(stoa_spawn(store->node, &source_kind, "source/it", &(stoa_spawn_options){.args = &store->keep}, &asks), "source"); }
    begin(ms);
    bench_must(source_post_run(store->node, asks, (source_run){0}), "source");
    while (sem_wait(&now_running.ended)) {}
    return end_with_p99();
}

/* --- a port asks */

static void hear(void *context, const stoa_delivery *delivery)
{
    (void)context;
    bench_must(delivery->error, "put");
    now_running.took_ns[delivery->token] = bench_now_ns() - due_ns((uint32_t)delivery->token);
    now_running.done++;
}

static void send_what_is_due(stretch *s, stoa_port *port, stoa_ref to)
{
    for (uint64_t now = bench_now_ns(); s->sent < s->count && due_ns(s->sent) <= now; s->sent++) {
        keep_put put = next_put();
        if (stoa_port_ask(port, to, &keep_rows[keep_ROW_put], &put, 0, STOA_S(ANSWER_S_MAX), s->sent)) { break; }
        stoa_port_flush(port);
    }
}

static double answers_of(const bench_store *store, stoa_port *port, uint32_t ms)
{
    begin(ms);
    while (now_running.done < now_running.count) {
        send_what_is_due(&now_running, port, store->keep);
        if (!stoa_port_poll(port, hear, NULL, POLLED_MAX)) { (void)sched_yield(); }
    }
    return end_with_p99();
}

/* --- snapshots beside them */

static const struct {
    const char *name;
    double (*p99)(const bench_store *store, stoa_port *port, uint32_t ms);
    double goal; /* times without; 0: none */
} measures[] = {{"journal.snapshot", turns_of, GOAL}, {"journal.snapshot_answer", answers_of, 0}};
enum { MEASURES = sizeof measures / sizeof measures[0] };

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

static double while_making(uint32_t measure, stoa_port *port, const bench_store *store, uint32_t ms, maker *m)
{
    m->shard = store->shard;
    atomic_store(&m->stop, false);
    if (pthread_create(&m->thread, NULL, make, m)) { bench_fail("no thread"); }
    double p99 = measures[measure].p99(store, port, ms);
    atomic_store(&m->stop, true);
    (void)pthread_join(m->thread, NULL);
    return p99;
}

void bench_snapshot(const bench_journal_task *task)
{
    char path[BENCH_PATH_BYTES];
    bench_samples without[MEASURES] = {0}, with[MEASURES] = {0};
    maker m = {0};
    stoa_port *port;
    uint32_t ms = task->quick ? QUICK_MS : STRETCH_MS;
    bench_path(path, "snapshot");
    bench_store store = bench_store_open(path, stoa_durability_MEMORY);
    bench_store_fill(&store, 0, task->quick ? KEEP_KEYS / 1000 : KEEP_KEYS); /* all of it: a first write costs a page fault */
    bench_must(stoa_port_open(store.node, "bench", &port), "port");
    stoa_following_view first; /* it writes everything */
    bench_must(stoa_shard_snapshot(store.shard, STOA_S(ANSWER_S_MAX), &first), "snapshot");
    bench_beside_core(true);
    for (uint32_t i = 0; i < (task->quick ? 1 : RUNS); i++) {
        for (uint32_t k = 0; k < MEASURES; k++) {
            if (i == 0) { (void)measures[k].p99(&store, port, ms); }
            bench_add(&without[k], measures[k].p99(&store, port, ms));
            bench_add(&with[k], while_making(k, port, &store, ms, &m));
        }
    }
    bench_beside_core(false);
    stoa_port_close(port);
    bench_store_close(&store);
    for (uint32_t k = 0; k < MEASURES; k++) {
        char more[128] = "";
        if (k == 0) {
            (void)snprintf(more, sizeof more, ",\"snapshots\":%llu,\"snapshot_bytes\":%llu", (unsigned long long)m.made,
                           (unsigned long long)(m.bytes / m.made));
        }
        bench_print(&(bench_figure){.name = measures[k].name, .unit = "us", .less = true, .goal = measures[k].goal * bench_median(&without[k]),
                                    .ours = with[k], .theirs = without[k], .peer = "without snapshots", .more = more});
    }
}
