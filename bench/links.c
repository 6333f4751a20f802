/* links.c - bench_links: frames between two processes over each link, beside bare rings, UCX, libfabric, libzmq and TCP.
 *
 *     bench_links              every row, and what the machine allows (links.limit.*)
 *     bench_links --peers      every row beside each of its peers: one line for each, our value repeated
 *     bench_links --quick      every row once, for a moment: for tests, no figure
 *     bench_links --only TEXT  the rows whose name contains TEXT
 *
 * links.LINK.SIZE is million frames a second one way (gbytes_s says how many bytes that is), links.LINK.rtt_SIZE and
 * .rtt_SIZE_p99 are microseconds there and back. Two processes, each with a CPU of its own, both spin; a value is the
 * median of RUNS runs behind others that warm up. A peer is measured right behind, by the same code (links/duel.c), and a
 * goal is so many times what that peer reached just now: machines vary by more than links do. Of Aeron, which Debian lacks,
 * we know that it passed 1.1 of a bare ring's frames of 64 B, 0.24 of those of 1 KiB, in 0.61 of its round trip; half of the first is
 * less than 1 / 1.6, twice the second 0.47, and twice the third 1 / 0.82. zmq.ipc, zmq.tcp and zmq.curve are sessions over the link,
 * as two nodes speak: libzmq moves a frame a message, so batches are the session's; zmq.X_frame is the link alone, as clients speak.
 * Where two processors' caches exchange no more than 20 GB/s, as limit.ring.1k says in the same run, shm.1k cannot be twice UCX or six
 * times libfabric: the ring alone is not, of whatever size, with whatever stores and prefetches. The goals stay, and are missed there.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "bench/common/arguments.h"
#include "bench/common/figure.h"
#include "bench/links/wires.h"

enum { RUNS = 11, RUNS_QUICK = 1, PEERS_MAX = 5, COMMAND_MAX = 1024, RUN_S_MAX = 150, SIZES = 6 };
#define RUN_MS       20.0
#define RUN_MS_QUICK 0.05

/* Somebody else's way: a program of the build's folder peers/ and what it is asked for; or, without one, the bare ring. */
typedef struct peer {
    const char *label, *program, *how;
} peer;
static const peer bare_ring = {"bare ring", NULL, ""};
static const peer ucx_posix = {"ucx posix", "peer_ucx", "posix"};
static const peer ofi_shm = {"libfabric shm", "peer_ofi", "shm"};
static const peer ucx_tcp = {"ucx tcp", "peer_ucx", "tcp"}, ofi_tcp = {"libfabric tcp;ofi_rxm", "peer_ofi", "tcp;ofi_rxm"};
static const peer zmq_ipc = {"libzmq ipc", "peer_zmq", "ipc"}, zmq_tcp = {"libzmq tcp", "peer_zmq", "tcp"};
static const peer zmq_curve = {"libzmq tcp + CURVE", "peer_zmq", "tcp+curve"};
static const peer raw_tcp = {"raw tcp", "peer_tcp", "tcp"},
                  raw_tcp_batched = {"raw tcp, 64 KiB batches", "peer_tcp", "batched"};

/* What is measured of every link. */
static const struct shape {
    const char *name;
    duel_kind kind;
    uint32_t size_bytes;
} shapes[SIZES] = {
    {"64", DUEL_FLOW, 64},     {"1k", DUEL_FLOW, 1024},     {"64k", DUEL_FLOW, 64 * 1024},
    {"rtt_64", DUEL_ECHO, 64}, {"rtt_1k", DUEL_ECHO, 1024}, {"rtt_64k", DUEL_ECHO, 64 * 1024}};

/* How many times better than this peer we want to be, by shape; 0: no goal. */
typedef struct bound {
    const peer *peer;
    double goals[SIZES];
} bound;

typedef struct link_row {
    const char *name, *how; /* how: links/wires.h */
    const duel_wire *wire;
    bound bounds[PEERS_MAX];
} link_row;

// clang-format off
static const link_row rows[] = {
    /* name         how                       wire                peers: goals for 64, 1k, 64k, rtt_64; longer round trips have none */
    {"limit.ring",  "",                       &bench_wire_ring, {{NULL, {0}}}},
    {"shm",         "shm://stoa-bench-%d",    &bench_wire_link, {{&bare_ring,       {1 / 1.6, 0.47, 0, 0.82}},
                                                                 {&ucx_posix,       {2, 2, 0, 0}},
                                                                 {&ofi_shm,         {6, 6, 0, 0}}}},
    {"zmq.ipc",     "zmq+ipc://@stoa-bench-%d",    &bench_wire_session, {{&zmq_ipc,         {0, 0, 0, 0}}}},
    {"zmq.ipc_frame", "zmq+ipc://@stoa-bench-%d",  &bench_wire_link,    {{&zmq_ipc,         {0, 0, 0, 0}}}},
    {"zmq.tcp",     "zmq+tcp://127.0.0.1:0",       &bench_wire_session, {{&zmq_tcp,         {0, 0, 0, 0}},
                                                                         {&raw_tcp,         {0, 0, 0, 0}},
                                                                         {&raw_tcp_batched, {0, 0, 0, 0}}}},
    {"zmq.tcp_frame", "zmq+tcp://127.0.0.1:0",     &bench_wire_link,    {{&zmq_tcp,         {0, 0, 0, 0}}}},
    {"zmq.curve_frame", "zmq+tcp://127.0.0.1:0+curve", &bench_wire_link, {{&zmq_curve,  {0, 0, 0, 0}}}},
    {"zmq.curve",   "zmq+tcp://127.0.0.1:0+curve", &bench_wire_session, {{&zmq_curve,  {5, 0, 0, 0}}}},
    {"ucx.tcp",     "ucx+tcp://127.0.0.1:0",       &bench_wire_link, {{&ucx_tcp,  {20, 0, 0, 0.8}}}},
    {"ucx.keys",    "ucx+tcp://127.0.0.1:0+curve", &bench_wire_link, {{&ucx_tcp,  {0, 0, 0, 0}}}},
    {"ofi.tcp",     "ofi+tcp://127.0.0.1:0",       &bench_wire_link, {{&ofi_tcp,  {20, 0, 0, 0}}}},
    {"ofi.keys",    "ofi+tcp://127.0.0.1:0+curve", &bench_wire_link, {{&ofi_tcp,  {0, 0, 0, 0}}}},
};
// clang-format on
enum { ROWS = sizeof rows / sizeof rows[0] };

/* --- measuring */

static void peer_read(FILE *from, duel_result *out)
{
    char line[256], *end;
    out->runs = 0;
    while (fgets(line, sizeof line, from)) {
        if (strncmp(line, "sample ", 7) || out->runs == DUEL_RUNS_MAX) { continue; }
        out->value[out->runs] = strtod(line + 7, &end);
        out->tail[out->runs++] = strtod(end, NULL);
    }
}

/* The peer at this shape, measured now; no runs: its program could not do it, which is told. */
static void peer_run(const peer *of, const struct shape *shape, const bench_arguments *set, duel_result *out)
{
    uint32_t runs = set->quick ? RUNS_QUICK : RUNS;
    double run_ms = set->quick ? RUN_MS_QUICK : RUN_MS;
    if (!of->program) {
        duel_run(&bench_wire_ring, of->how, shape->kind, shape->size_bytes, runs, run_ms, out);
        return;
    }
    char command[COMMAND_MAX];
    int length =
        snprintf(command, sizeof command, "timeout %d '%s/%s' '%s' %s %u %u %.3f </dev/null", RUN_S_MAX, set->folder,
                 of->program, of->how, shape->kind == DUEL_FLOW ? "flow" : "echo", shape->size_bytes, runs, run_ms);
    if (length >= (int)sizeof command) { bench_fail("the peers' folder has too long a name"); }
    FILE *from = popen(command, "r");
    if (!from) { bench_fail("no process for a peer"); }
    peer_read(from, out);
    if (pclose(from)) {
        (void)fprintf(stderr, "links: %s failed\n", command);
        out->runs = 0;
    }
}

static bench_samples samples_of(const double *values, uint32_t count)
{
    bench_samples samples = {0};
    for (uint32_t i = 0; i < count; i++) {
        bench_add(&samples, values[i]);
    }
    return samples;
}

/* --- lines */

static void print_line(const char *name, const struct shape *shape, const bound *beside, double goal, bool is_tail,
                       const duel_result *ours, const duel_result *theirs)
{
    char more[64] = "";
    bool less = shape->kind == DUEL_ECHO;
    bench_figure figure = {.name = name, .unit = less ? "us" : "M msg/s", .less = less, .more = more};
    figure.ours = samples_of(is_tail ? ours->tail : ours->value, ours->runs);
    if (!less) {
        (void)snprintf(more, sizeof more, ",\"gbytes_s\":%.3f", bench_median(&figure.ours) * shape->size_bytes / 1e3);
    }
    if (beside && theirs->runs) {
        figure.peer = beside->peer->label;
        figure.theirs = samples_of(is_tail ? theirs->tail : theirs->value, theirs->runs);
        double times = bench_median(&figure.theirs);
        figure.goal = goal <= 0 ? 0 : less ? times / goal : times * goal;
    }
    bench_print(&figure);
}

static void print_both(const link_row *row, uint32_t at, const bound *beside, const duel_result *ours,
                       const duel_result *theirs)
{
    char name[64];
    double goal = beside ? beside->goals[at] : 0;
    (void)snprintf(name, sizeof name, "links.%s.%s", row->name, shapes[at].name);
    print_line(name, &shapes[at], beside, goal, false, ours, theirs);
    if (shapes[at].kind == DUEL_FLOW) { return; }
    (void)snprintf(name, sizeof name, "links.%s.%s_p99", row->name, shapes[at].name);
    print_line(name, &shapes[at], beside, 0, true, ours, theirs);
}

static void run(const link_row *row, uint32_t at, const bench_arguments *set)
{
    duel_result ours, theirs = {0};
    uint32_t beside = 0;
    (void)fprintf(stderr, "links: %s.%s\n", row->name, shapes[at].name);
    duel_run(row->wire, row->how, shapes[at].kind, shapes[at].size_bytes, set->quick ? RUNS_QUICK : RUNS,
             set->quick ? RUN_MS_QUICK : RUN_MS, &ours);
    for (uint32_t i = 0; set->peers && i < PEERS_MAX && row->bounds[i].peer; i++) {
        peer_run(row->bounds[i].peer, &shapes[at], set, &theirs);
        if (!theirs.runs) { continue; }
        print_both(row, at, &row->bounds[i], &ours, &theirs);
        beside++;
    }
    if (!beside) { print_both(row, at, NULL, &ours, &theirs); }
}

int main(int argc, char **argv)
{
    bench_arguments set = bench_arguments_of(argc, argv);
    uint32_t ran = 0;
    stoa_log_level_set(STOA_LOG_ERROR);
    for (uint32_t i = 0; i < ROWS; i++) {
        for (uint32_t at = 0; at < SIZES; at++) {
            char name[64];
            (void)snprintf(name, sizeof name, "links.%s.%s", rows[i].name, shapes[at].name);
            if (!strstr(name, set.only)) { continue; }
            run(&rows[i], at, &set);
            ran++;
        }
    }
    if (!ran) { bench_fail("no row has such a name"); }
    return 0;
}
