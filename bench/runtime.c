/* runtime.c - bench_runtime: messages, asks, timers, births and deaths of actors, beside other actor runtimes.
 *
 *     bench_runtime            every row: this runtime, and what the machine allows (runtime.limit.*)
 *     bench_runtime --peers    every row beside Erlang/OTP and CAF: one line for each peer, our value repeated
 *     bench_runtime --quick    every row once, with a thousandth of the work: for tests, no figure
 *     bench_runtime --only TEXT   the rows whose name contains TEXT
 *
 * A row's value is the median of RUNS runs behind one that warms up, in the better of one core and two where the workload
 * allows both; `cores` says which it was and `by_cores` what either reached. A peer is treated the same, with its scheduler
 * threads. `ratio` says how many times better ours is. Peers get the same workload; ours takes more steps where its run would be
 * too short to be timed. Runs take some 5 to 50 ms, on all sides: many short ones suffer less than few long ones from whatever
 * else the machine does. All parameters are in the table below, what a workload does is said in bench/runtime/.
 *
 * A row whose goal is a multiple of another's runs in turns with that, and says what the other said (`beside`).
 *
 * What is read is added up and compared, on both sides; a wrong sum ends the program with 1.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "bench/common/arguments.h"
#include "bench/runtime/peer.h"
#include "bench/runtime/rig.h"

enum { RUNS = 21, TURNS = 7, ONE = 1, TWO = 2, EITHER = ONE | TWO, QUICK_PART = 1000, QUICK_STEPS_MIN = 4 };
#define BUSY_LOAD 0.5
typedef enum better { LESS, MORE } better;

typedef struct row {
    const char *name, *unit;
    better better;
    double goal;    /* 0: none */
    double goal_by; /* times what the last row before that has none of these says when the two run in turns */
    uint32_t cores; /* ONE, TWO or EITHER */
    uint64_t steps;
    uint32_t peer_threads; /* 0: no peer has it */
    uint64_t peer_steps;
    bench_measure measure;
} row;

// clang-format off
static const row rows[] = {
    /* name                        unit            better goal by  cores   steps      peers'  steps   measure */
    {"runtime.limit.clock",        "ns",            LESS,   0, 0,   ONE,      300000,      0,       0, bench_limit_clock},
    {"runtime.limit.atomic",       "ns",            LESS,   0, 0,   ONE,     2000000,      0,       0, bench_limit_atomic},
    {"runtime.limit.malloc",       "ns",            LESS,   0, 0,   ONE,     2000000,      0,       0, bench_limit_malloc},
    {"runtime.limit.call",         "ns/hop",        LESS,   0, 0,   ONE,     5000000,      0,       0, bench_limit_call},
    {"runtime.pingpong",           "ns/RTT",        LESS,  25, 0,   ONE,     2000000, EITHER,   20000, bench_pingpong},
    {"runtime.watched",            "ns/RTT",        LESS,   0, 1.02, ONE,    200000,      0,       0, bench_watched},
    {"runtime.seen",               "ns/RTT",        LESS,   0, 1.02, ONE,    200000,      0,       0, bench_seen},
    {"runtime.ring",               "ns/hop",        LESS,  12, 0,   ONE,      500000, EITHER,   50000, bench_ring},
    {"runtime.limit.cache_line",   "ns/RTT",        LESS,   0, 0,   TWO,      100000,      0,       0, bench_limit_cache_line},
    {"runtime.cross",              "ns/RTT",        LESS, 260, 0,   TWO,       50000,    TWO,    2000, bench_pingpong},
    {"runtime.limit.ring",         "M msg/s",       MORE,   0, 0,   TWO,     1000000,      0,       0, bench_limit_ring},
    {"runtime.limit.ring_batched", "M msg/s",       MORE,   0, 0,   TWO,     5000000,      0,       0, bench_limit_ring_batched},
    {"runtime.counting",           "M msg/s",       MORE,  65, 0, EITHER,     500000, EITHER,  200000, bench_counting},
    {"runtime.fanin",              "M msg/s",       MORE,  65, 0, EITHER,     500000, EITHER,  200000, bench_fanin},
    {"runtime.big",                "M msg/s",       MORE,  40, 0, EITHER,      10000, EITHER,   10000, bench_big},
    {"runtime.chameneos",          "M meetings/s",  MORE,  12, 0, EITHER,     100000, EITHER,   50000, bench_chameneos},
    {"runtime.fanout",             "M msg/s",       MORE,   0, 0, EITHER,       2000,      0,       0, bench_fan_out},
    {"runtime.choose",             "ns",            LESS,   0, 0,   ONE,     2000000,      0,       0, bench_choose},
    {"runtime.create",             "M actors/s",    MORE,   8, 0,   ONE,      100000, EITHER,   20000, bench_create},
    {"runtime.idle",               "bytes",         LESS, 192, 0,   ONE,     1000000,    ONE, 1000000, bench_idle},
    {"runtime.request",            "ns/call",       LESS,  80, 0,   ONE,       50000, EITHER,   20000, bench_request},
    {"runtime.restart_10k",        "M restarts/s",  MORE,   3, 0,   ONE,       10000, EITHER,   10000, bench_restart},
    {"runtime.restart",            "M restarts/s",  MORE,   3, 0,   ONE,     1000000, EITHER,   50000, bench_restart},
    {"runtime.timer",              "ns",            LESS,  30, 0,   ONE,         200, EITHER,     100, bench_timer_start},
    {"runtime.timer_cancel",       "ns",            LESS,  30, 0,   ONE,         200, EITHER,     100, bench_timer_cancel},
    {"runtime.limit.futex",        "us",            LESS,   0, 0,   TWO,         100,      0,       0, bench_limit_futex},
    {"runtime.wake",               "us",            LESS,   0, 1.3, TWO,         100,    TWO,     100, bench_wake},
};
// clang-format on
enum { ROWS = sizeof rows / sizeof rows[0] };

/* With one core or thread and with two; a count of 0 means not measured. */
typedef bench_samples both[BENCH_CORES_MAX];

static uint32_t best(const row *r, const bench_samples *by)
{
    if (!by[0].count || !by[1].count) { return by[0].count ? 0 : 1; }
    bool first_less = bench_median(&by[0]) <= bench_median(&by[1]);
    return first_less == (r->better == LESS) ? 0 : 1;
}

static void print_both(const char *name, const bench_samples *by)
{
    printf(",\"%s\":[", name);
    for (uint32_t i = 0; i < BENCH_CORES_MAX; i++) {
        if (i) { printf(","); }
        if (by[i].count) {
            printf("%.3f", bench_median(&by[i]));
        } else {
            printf("null");
        }
    }
    printf("]");
}

/* beside: what goal_by multiplies, measured in turns with ours; empty where the row has none. */
static void print_line(const row *r, const bench_samples *ours, const bench_samples *beside, const bench_peer *peer)
{
    uint32_t cores = best(r, ours);
    double value = bench_median(&ours[cores]), goal = r->goal_by > 0 ? r->goal_by * bench_median(beside) : r->goal;
    printf("{\"bench\":\"%s\",\"value\":%.3f,\"unit\":\"%s\",\"n\":%u,\"min\":%.3f,\"max\":%.3f", r->name, value, r->unit,
           ours[cores].count, bench_min(&ours[cores]), bench_max(&ours[cores]));
    if (goal > 0) {
        bool ok = r->better == LESS ? value <= goal : value >= goal;
        printf(",\"goal\":%.3f,\"ok\":%s", goal, ok ? "true" : "false");
    }
    if (beside->count) { printf(",\"beside\":%.3f", bench_median(beside)); }
    printf(",\"cores\":%u", cores + 1);
    if (r->cores == EITHER) { print_both("by_cores", ours); }
    if (peer) {
        uint32_t threads = best(r, peer->by_threads);
        double theirs = bench_median(&peer->by_threads[threads]);
        printf(",\"peer\":\"%s\",\"peer_value\":%.3f,\"ratio\":%.3f,\"peer_threads\":%u", peer->label, theirs,
               r->better == LESS ? theirs / value : value / theirs, threads + 1);
        if (r->peer_threads == EITHER) { print_both("peer_by_threads", peer->by_threads); }
    }
    printf("}\n");
    (void)fflush(stdout);
}

static uint64_t quick_steps(uint64_t steps)
{
    return steps / QUICK_PART < QUICK_STEPS_MIN ? QUICK_STEPS_MIN : steps / QUICK_PART;
}

static void measure(const row *r, const bench_arguments *set, uint32_t cores, uint32_t runs, bench_samples *out)
{
    uint64_t steps = set->quick ? quick_steps(r->steps) : r->steps;
    bench_task task = {.name = r->name, .steps = steps, .cores = cores, .runs = set->quick ? 1 : runs};
    r->measure(&task, out);
}

/* The machine is not the same from one second to the next: what is compared to within percents runs in turns. */
static void measure_beside(const row *r, const row *base, const bench_arguments *set, both ours, bench_samples *beside)
{
    for (uint32_t turn = 0; turn < (set->quick ? 1 : TURNS); turn++) {
        measure(base, set, r->cores, RUNS / TURNS, beside);
        measure(r, set, r->cores, RUNS / TURNS, &ours[r->cores - 1]);
    }
}

static void run(const row *r, const row *base, const bench_arguments *set)
{
    both ours = {0};
    bench_samples beside = {0};
    for (uint32_t cores = 1; cores <= BENCH_CORES_MAX && r->goal_by <= 0; cores++) {
        if (r->cores & cores) { measure(r, set, cores, RUNS, &ours[cores - 1]); }
    }
    if (r->goal_by > 0) { measure_beside(r, base, set, ours, &beside); }
    bench_peer peers[BENCH_PEERS_MAX];
    uint32_t count = 0;
    if (set->peers && r->peer_threads) {
        bench_task task = {.name = r->name, .steps = r->peer_steps, .runs = RUNS};
        count = bench_peers(set->folder, &task, r->peer_threads, peers);
    }
    for (uint32_t i = 0; i < count; i++) { print_line(r, ours, &beside, &peers[i]); }
    if (!count) { print_line(r, ours, &beside, NULL); }
}

/* Cores spin and take turns with whatever else runs; who reads the figures should know. */
static void tell_busy(void)
{
    double load;
    if (getloadavg(&load, 1) != 1 || load < BUSY_LOAD) { return; }
    (void)fprintf(stderr, "runtime: the machine is busy (load %.1f): its figures are not this program's\n", load);
}

int main(int argc, char **argv)
{
    bench_arguments set = bench_arguments_of(argc, argv);
    stoa_log_level_set(STOA_LOG_ERROR); /* a million failures are no news here */
    tell_busy();
    const row *base = rows;
    uint32_t ran = 0;
    for (const row *r = rows; r < rows + ROWS; r++) {
        if (r->goal_by <= 0) { base = r; }
        if (!strstr(r->name, set.only)) { continue; }
        (void)fprintf(stderr, "runtime: %s\n", r->name);
        run(r, base, &set);
        ran++;
    }
    if (!ran) { bench_fail("no row has such a name"); }
    return 0;
}
