/* limit.c - what this machine allows at best, without a runtime: runtime.limit.*.
 *
 *     call          take the next of a queue, call it, and have it put the other one back: a message with nothing around it
 *     atomic        one read-modify-write that no other core wants
 *     malloc        malloc and free of 64 bytes
 *     clock         one reading of the clock
 *     cache_line    a word there and back between two CPUs
 *     ring          64-byte slots through a single-producer single-consumer ring, each published when it is written
 *     ring_batched  the same, published every 64th
 *     futex         from just before FUTEX_WAKE to the return of the thread that slept on another CPU; the median
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include <linux/futex.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "bench/runtime/rig.h"

static double per_step(const bench_task *task, uint64_t began_ns)
{
    return (double)(bench_now_ns() - began_ns) / (double)task->steps;
}

/* --- call */

typedef struct cell cell;
typedef struct queue {
    cell *head, *tail;
} queue;
struct cell {
    cell *next, *other;
    void (*run)(queue *ready, cell *self);
    uint64_t n;
};

static void put(queue *ready, cell *at)
{
    at->next = NULL;
    if (ready->head) {
        ready->tail->next = at;
    } else {
        ready->head = at;
    }
    ready->tail = at;
}

static void run_cell(queue *ready, cell *self)
{
    self->n++;
    put(ready, self->other);
}

static double call_once(const bench_task *task, void *context)
{
    cell cells[2] = {{.other = &cells[1], .run = run_cell}, {.other = &cells[0], .run = run_cell}};
    queue ready = {0};
    (void)context;
    __asm__ volatile("" : : "r"(cells) : "memory"); /* the compiler no longer knows what run is */
    put(&ready, &cells[0]);
    uint64_t began = bench_now_ns();
    for (uint64_t i = 0; i < task->steps; i++) {
        cell *at = ready.head;
        ready.head = at->next;
        at->run(&ready, at);
    }
    double ns = per_step(task, began);
    if (cells[0].n + cells[1].n != task->steps) { bench_fail("a call was lost"); }
    return ns;
}

void bench_limit_call(const bench_task *task, bench_samples *out)
{
    bench_repeat(task, call_once, NULL, out);
}

/* --- atomic, malloc, clock */

static double atomic_once(const bench_task *task, void *context)
{
    _Atomic uint64_t at = 0;
    (void)context;
    uint64_t began = bench_now_ns();
    for (uint64_t i = 0; i < task->steps; i++) { (void)atomic_fetch_add(&at, i); }
    return per_step(task, began);
}

void bench_limit_atomic(const bench_task *task, bench_samples *out)
{
    bench_repeat(task, atomic_once, NULL, out);
}

static double malloc_once(const bench_task *task, void *context)
{
    (void)context;
    uint64_t began = bench_now_ns();
    for (uint64_t i = 0; i < task->steps; i++) {
        void *at = malloc(64);
        __asm__ volatile("" : : "r"(at) : "memory"); /* or there would be neither */
        free(at);
    }
    return per_step(task, began);
}

void bench_limit_malloc(const bench_task *task, bench_samples *out)
{
    bench_repeat(task, malloc_once, NULL, out);
}

static double clock_once(const bench_task *task, void *context)
{
    (void)context;
    uint64_t began = bench_now_ns();
    for (uint64_t i = 1; i < task->steps; i++) { (void)bench_now_ns(); }
    return per_step(task, began);
}

void bench_limit_clock(const bench_task *task, bench_samples *out)
{
    bench_repeat(task, clock_once, NULL, out);
}

/* --- cache line */

typedef struct volley {
    _Alignas(128) _Atomic uint64_t there;
    _Alignas(128) _Atomic uint64_t back;
    uint64_t steps, began_ns, ended_ns;
} volley;

static void serve(void *context)
{
    volley *v = context;
    v->began_ns = bench_now_ns();
    for (uint64_t i = 1; i <= v->steps; i++) {
        atomic_store_explicit(&v->there, i, memory_order_release);
        while (atomic_load_explicit(&v->back, memory_order_acquire) != i) {}
    }
    v->ended_ns = bench_now_ns();
}

static void give_back(void *context)
{
    volley *v = context;
    for (uint64_t i = 1; i <= v->steps; i++) {
        while (atomic_load_explicit(&v->there, memory_order_acquire) != i) {}
        atomic_store_explicit(&v->back, i, memory_order_release);
    }
}

static double cache_line_once(const bench_task *task, void *context)
{
    volley v = {.steps = task->steps};
    (void)context;
    bench_pair(serve, give_back, &v);
    return (double)(v.ended_ns - v.began_ns) / (double)task->steps;
}

void bench_limit_cache_line(const bench_task *task, bench_samples *out)
{
    bench_repeat(task, cache_line_once, NULL, out);
}

/* --- ring */

enum { SLOTS = 4096, WORDS = 8, BATCH = 64 };

typedef struct ring {
    _Alignas(128) _Atomic uint64_t head; /* the producer's */
    _Alignas(128) _Atomic uint64_t tail; /* the consumer's */
    _Alignas(128) uint64_t slots[SLOTS][WORDS];
    uint64_t steps, batch, began_ns, ended_ns, sum;
} ring;

static void produce(void *context)
{
    ring *r = context;
    uint64_t tail = 0;
    r->began_ns = bench_now_ns();
    for (uint64_t at = 0; at < r->steps; at++) {
        while (at - tail == SLOTS) { tail = atomic_load_explicit(&r->tail, memory_order_acquire); }
        uint64_t *slot = r->slots[at % SLOTS];
        for (uint32_t i = 0; i < WORDS; i++) { slot[i] = at; }
        if ((at + 1) % r->batch == 0) { atomic_store_explicit(&r->head, at + 1, memory_order_release); }
    }
    atomic_store_explicit(&r->head, r->steps, memory_order_release);
}

static void consume(void *context)
{
    ring *r = context;
    uint64_t at = 0, head = 0, sums[WORDS] = {0};
    while (at < r->steps) {
        while (head == at) { head = atomic_load_explicit(&r->head, memory_order_acquire); }
        for (; at < head; at++) {
            const uint64_t *slot = r->slots[at % SLOTS];
            for (uint32_t i = 0; i < WORDS; i++) { sums[i] += slot[i]; }
            if ((at + 1) % r->batch == 0) { atomic_store_explicit(&r->tail, at + 1, memory_order_release); }
        }
    }
    r->ended_ns = bench_now_ns();
    for (uint32_t i = 0; i < WORDS; i++) { r->sum += sums[i]; }
}

static double ring_once(const bench_task *task, void *context)
{
    static ring r;
    memset(&r, 0, sizeof r);
    r.steps = task->steps;
    r.batch = *(const uint64_t *)context;
    bench_pair(produce, consume, &r);
    if (r.sum != WORDS * (r.steps * (r.steps - 1) / 2)) { bench_fail("the ring lost a slot"); }
    return bench_mega(r.steps, r.ended_ns - r.began_ns);
}

void bench_limit_ring(const bench_task *task, bench_samples *out)
{
    uint64_t batch = 1;
    bench_repeat(task, ring_once, &batch, out);
}

void bench_limit_ring_batched(const bench_task *task, bench_samples *out)
{
    uint64_t batch = BATCH;
    bench_repeat(task, ring_once, &batch, out);
}

/* --- futex */

enum { WAKES_MAX = 1024, PAUSE_NS = 2000000 };

typedef struct bed {
    _Atomic uint32_t rung;
    uint64_t steps, sent_ns, took_ns[WAKES_MAX];
} bed;

static void wake(void *context)
{
    bed *b = context;
    struct timespec pause = {0, PAUSE_NS};
    for (uint64_t i = 0; i < b->steps; i++) {
        (void)nanosleep(&pause, NULL);
        b->sent_ns = bench_now_ns();
        atomic_fetch_add_explicit(&b->rung, 1, memory_order_release);
        (void)syscall(SYS_futex, &b->rung, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
    }
}

static void sleep_and_look(void *context)
{
    bed *b = context;
    for (uint32_t i = 0; i < b->steps; i++) {
        while (atomic_load_explicit(&b->rung, memory_order_acquire) == i) {
            (void)syscall(SYS_futex, &b->rung, FUTEX_WAIT_PRIVATE, i, NULL, NULL, 0);
        }
        b->took_ns[i] = bench_now_ns() - b->sent_ns;
    }
}

static int by_value(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return x < y ? -1 : x > y;
}

static double futex_once(const bench_task *task, void *context)
{
    static bed b;
    (void)context;
    memset(&b, 0, sizeof b);
    b.steps = task->steps < WAKES_MAX ? task->steps : WAKES_MAX;
    bench_pair(wake, sleep_and_look, &b);
    qsort(b.took_ns, b.steps, sizeof b.took_ns[0], by_value);
    return (double)b.took_ns[b.steps / 2] / 1e3;
}

void bench_limit_futex(const bench_task *task, bench_samples *out)
{
    bench_repeat(task, futex_once, NULL, out);
}
