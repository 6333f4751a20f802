/* rig.c - what the workloads of bench_runtime share. See rig.h.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "bench/runtime/rig.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

enum { RUN_S_MAX = 60, RUN_MS_ENOUGH = 1000, GROWTH = 4, FIRST_PART = 64, FIRST_STEPS = 256 };

/* --- the node */

static uint32_t spawned;

stoa_node *bench_open(uint32_t cores, stoa_idle idle)
{
    return bench_open_with(&(stoa_options){0}, cores, idle);
}

stoa_node *bench_open_with(const stoa_options *more, uint32_t cores, stoa_idle idle)
{
    stoa_node *node;
    bool room = sysconf(_SC_NPROCESSORS_ONLN) >= (long)cores;
    stoa_options options = *more;
    options.cores = cores;
    options.pin = room;
    options.idle = idle;
    options.memory_bytes = UINT64_C(1) << 30;
    options.seed = 1;
    bench_must(stoa_node_open(&options, &node), "node");
    return node;
}

void bench_close(stoa_node *node)
{
    stoa_node_close(node, 0);
}

stoa_ref bench_spawn(stoa_node *node, const stoa_kind *kind, uint32_t core, const void *args)
{
    char name[STOA_NAME_MAX + 1];
    stoa_ref ref;
    (void)snprintf(name, sizeof name, "%s/%u", kind->name, ++spawned);
    stoa_spawn_options options = {.core = core % stoa_core_count(node), .args = args};
    bench_must(stoa_spawn(node, kind, name, &options, &ref), name);
    return ref;
}

/* --- the run: written by this thread, then by the core of the last message, then read here; the semaphore is between */

static struct {
    uint64_t began_ns, ended_ns, sum;
    sem_t ended;
} now_running;

__attribute__((constructor)) static void prepare(void)
{
    (void)sem_init(&now_running.ended, 0, 0);
}

void bench_begin(void)
{
    now_running.began_ns = bench_now_ns();
}

void bench_ended(uint64_t sum)
{
    now_running.sum = sum;
    (void)sem_post(&now_running.ended);
}

uint64_t bench_wait(const bench_task *task, uint64_t sum)
{
    struct timespec until;
    int failed;
    (void)clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += RUN_S_MAX;
    do { failed = sem_timedwait(&now_running.ended, &until); } while (failed && errno == EINTR);
    now_running.ended_ns = bench_now_ns(); /* once this thread is awake, as with the peers */
    if (failed || now_running.sum != sum) {
        (void)fprintf(stderr, "bench_runtime: %s on %u cores %s\n", task->name, task->cores,
                      failed ? "never ended" : "read another sum than was sent");
        exit(1);
    }
    return now_running.ended_ns - now_running.began_ns;
}

void bench_repeat(const bench_task *task, double (*once)(const bench_task *task, void *context), void *context,
                  bench_samples *out)
{
    bench_task part = *task;
    uint64_t took_ns;
    part.steps = task->steps / FIRST_PART > FIRST_STEPS ? task->steps / FIRST_PART : FIRST_STEPS;
    for (;; part.steps *= GROWTH) {
        if (part.steps > task->steps) { part.steps = task->steps; }
        uint64_t began = bench_now_ns();
        (void)once(&part, context);
        took_ns = bench_now_ns() - began;
        if (part.steps == task->steps || took_ns > STOA_MS(RUN_MS_ENOUGH)) { break; }
    }
    for (uint32_t i = 0; i < task->runs; i++) { bench_add(out, once(&part, context)); }
}

/* --- the machine */

bool bench_pin(uint32_t index)
{
    cpu_set_t may, one;
    if (sched_getaffinity(0, sizeof may, &may)) { return false; }
    for (size_t cpu = 0; cpu < CPU_SETSIZE; cpu++) {
        if (!CPU_ISSET(cpu, &may) || index--) { continue; }
        CPU_ZERO(&one);
        CPU_SET(cpu, &one);
        return !sched_setaffinity(0, sizeof one, &one);
    }
    return false;
}

typedef struct half {
    void (*run)(void *context);
    void *context;
    uint32_t cpu;
} half;

static void *run_half(void *argument)
{
    half *h = argument;
    (void)bench_pin(h->cpu);
    h->run(h->context);
    return NULL;
}

void bench_pair(void (*first)(void *context), void (*second)(void *context), void *context)
{
    half halves[2] = {{first, context, 0}, {second, context, 1}};
    pthread_t threads[2];
    for (int i = 0; i < 2; i++) {
        if (pthread_create(&threads[i], NULL, run_half, &halves[i])) { bench_fail("no thread"); }
    }
    for (int i = 0; i < 2; i++) { (void)pthread_join(threads[i], NULL); }
}

uint64_t bench_resident(void)
{
    unsigned long all, resident = 0;
    FILE *file = fopen("/proc/self/statm", "r");
    if (!file || fscanf(file, "%lu %lu", &all, &resident) != 2) { bench_fail("/proc/self/statm cannot be read"); }
    (void)fclose(file);
    return (uint64_t)resident * (uint64_t)sysconf(_SC_PAGESIZE);
}
