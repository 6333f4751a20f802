/* remote.c - bench_remote: messages and asks to an actor of another node over each link, beside the same within one node.
 *
 *     remote.WIRE.send      casts a second, with a grant for each 256 of them, 1,024 under way at most
 *     remote.WIRE.rtt_p50   there and back, one under way; rtt_p99 of the same asks
 *
 *     bench_remote [--quick] [--only WIRE]     quick: every row once, for a moment: for tests, no figure
 *
 * WIRE is shm, zmq (zmq+tcp, CURVE) or ucx (ucx+tcp, with keys, so encrypted). The other node is a process of its own, on loopback, with
 * one core; so has this one. "in the node" is the same kinds on the one core of this node. Nobody spins: a message to another node
 * passes four threads, an ask eight, and on two processors some of them take turns. What came is counted and summed on the other
 * side and compared with what was sent.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "bench/common/arguments.h"
#include "bench/common/figure.h"
#include "cluster/remote/remote.h"
#include "transport/keys.h"

enum { RUNS = 11, SENDS = 50000, SENDS_QUICK = 2000, ASKS = 2000, ASKS_QUICK = 100, GRANT = 256, WINDOW = 1024 };

/* --- who is sent to */
#define sink_note_FIELDS(F, S)    F(S, uint64_t, n)
#define sink_grant_FIELDS(F, S)   F(S, uint64_t, n)
#define sink_count_FIELDS         STOA_NO_FIELDS
#define sink_counted_FIELDS(F, S) F(S, uint64_t, notes) F(S, uint64_t, sum)
#define sink_ping_FIELDS(F, S)    F(S, uint64_t, n)
#define sink_pong_FIELDS(F, S)    F(S, uint64_t, n)
#define sink_ROWS(ROW, K)                                         \
    ROW(K, CAST, note, _, "A number.")                            \
    ROW(K, CAST, grant, _, "So many more may come.")              \
    ROW(K, COMMAND, count, counted, "What came since the last.")  \
    ROW(K, REPLY, counted, _, "How many, and their sum.")         \
    ROW(K, COMMAND, ping, pong, "Asked.")                         \
    ROW(K, REPLY, pong, _, "Answered, with the same number.")
STOA_TABLE_HERE(sink)
typedef struct sink {
    sink_counted counted;
    uint64_t granted;
} sink;
#define sink_HEARS STOA_HEARS_NOTHING
STOA_PLAIN_KIND(sink, .mailbox_limit = 2 * WINDOW)

static stoa_err sink_on_note(stoa_turn *turn, sink *self, const sink_note *in)
{
    self->counted.notes++;
    self->counted.sum += in->n;
    if (++self->granted < GRANT) { return STOA_OK; }
    self->granted = 0;
    return sink_send_grant(turn, turn->from, (sink_grant){GRANT});
}

static stoa_err sink_on_grant(stoa_turn *turn, sink *self, const sink_grant *in)
{
    (void)turn, (void)self, (void)in;
    return STOA_E_INVALID; /* it is the source's to hear */
}

static stoa_err sink_on_count(stoa_turn *turn, sink *self, const sink_count *in, sink_counted *out)
{
    (void)turn, (void)in;
    *out = self->counted;
    *self = (sink){0};
    return STOA_OK;
}

static stoa_err sink_on_ping(stoa_turn *turn, sink *self, const sink_ping *in, sink_pong *out)
{
    (void)turn, (void)self;
    out->n = in->n;
    return STOA_OK;
}

/* --- who sends */
#define source_send_FIELDS(F, S) F(S, uint64_t, ref) F(S, uint64_t, count)
#define source_ask_FIELDS(F, S)  source_send_FIELDS(F, S)
#define source_done_FIELDS(F, S) F(S, uint64_t, count)
#define source_ROWS(ROW, K)                                \
    ROW(K, COMMAND, send, done, "Send so many.")           \
    ROW(K, COMMAND, ask, done, "Ask so often, in turn.")   \
    ROW(K, REPLY, done, _, "All are sent and counted, or answered.")
STOA_TABLE_HERE(source)
typedef struct source {
    stoa_ref to;
    stoa_asker who;
    uint64_t left, allowed, count, asked_ns;
} source;
#define source_HEARS(HEAR, K) HEAR(K, sink, grant) HEAR(K, sink, counted) HEAR(K, sink, pong)
STOA_PLAIN_KIND(source, .mailbox_limit = 2 * WINDOW)

static uint64_t took_ns[ASKS]; /* of each ask of a run; the source's, then main's */

static stoa_err go_on(stoa_turn *turn, source *self)
{
    stoa_err err = STOA_OK;
    for (; self->left && self->allowed && !err; self->left--, self->allowed--) {
        err = sink_send_note(turn, self->to, (sink_note){self->left});
    }
    if (!err && !self->left) { err = sink_ask_count(turn, self->to, (sink_count){0}, STOA_S(60), 1); }
    bench_must(err, "a send");
    return err;
}

static stoa_err source_on_send(stoa_turn *turn, source *self, const source_send *in, source_done *out)
{
    (void)out;
    *self = (source){.to = {in->ref}, .left = in->count, .count = in->count, .allowed = WINDOW};
    stoa_turn_keep(turn, &self->who);
    return go_on(turn, self);
}

static stoa_err source_on_sink_grant(stoa_turn *turn, source *self, const sink_grant *in)
{
    bool over = !self->left;
    self->allowed += in->n;
    return over ? STOA_OK : go_on(turn, self);
}

static stoa_err source_on_sink_counted(stoa_turn *turn, source *self, const sink_counted *in)
{
    bench_must(turn->error, "a count");
    if (in->notes != self->count || in->sum != self->count * (self->count + 1) / 2) { bench_fail("what came is not what was sent"); }
    source_done done = {self->count};
    return stoa_turn_answer_kept(turn, &self->who, &source_rows[source_ROW_done], &done, STOA_OK);
}

static stoa_err ask_next(stoa_turn *turn, source *self)
{
    self->asked_ns = bench_now_ns();
    return sink_ask_ping(turn, self->to, (sink_ping){self->left}, STOA_S(60), 2);
}

static stoa_err source_on_ask(stoa_turn *turn, source *self, const source_ask *in, source_done *out)
{
    (void)out;
    *self = (source){.to = {in->ref}, .left = in->count, .count = in->count};
    stoa_turn_keep(turn, &self->who);
    return ask_next(turn, self);
}

static stoa_err source_on_sink_pong(stoa_turn *turn, source *self, const sink_pong *in)
{
    bench_must(turn->error, "an ask");
    if (in->n != self->left) { bench_fail("another one's answer"); }
    took_ns[--self->left] = bench_now_ns() - self->asked_ns;
    if (self->left) { return ask_next(turn, self); }
    source_done done = {self->count};
    return stoa_turn_answer_kept(turn, &self->who, &source_rows[source_ROW_done], &done, STOA_OK);
}

/* --- two nodes */

typedef struct wire {
    const char *name, *uri; /* "%d" in it becomes the process' number */
    bool keys;
} wire;
static const wire wires[] = {{"shm", "shm://bench-remote-%d", false}, {"zmq", "zmq+tcp://127.0.0.1:0", true}, {"ucx", "ucx+tcp://127.0.0.1:0", true}};

typedef struct side {
    stoa_node *node;
    stoa_remote *remote;
} side;

/* keys: the listener's, the dialler's. */
static void open_side(side *s, const char *uri, bool listens, const stoa_key_pair keys[2], bool keyed)
{
    static const stoa_kind *const kinds[] = {&sink_kind, &source_kind, NULL};
    stoa_link_allowed allowed = {.name = "near"};
    memcpy(allowed.public_key, keys[1].public_key, sizeof allowed.public_key);
    stoa_remote_link link = {.uri = uri, .peer = listens ? NULL : "far", .link.listen = listens};
    if (keyed) {
        link.link.secret_key = keys[!listens].secret_key;
        link.link.public_key = keys[!listens].public_key;
        link.link.server_key = listens ? NULL : keys[0].public_key;
        link.link.allowed = listens ? &allowed : NULL;
        link.link.allowed_count = listens;
    }
    bench_must(stoa_node_open(&(stoa_options){.cores = 1}, &s->node), "node");
    stoa_remote_options options = {.node = s->node,
                                   .name = listens ? "far" : "near",
                                   .incarnation = bench_now_ns(),
                                   .epoch = 1,
                                   .kinds = kinds,
                                   .links = &link,
                                   .link_count = 1};
    bench_must(stoa_remote_start(&options, &s->remote), uri);
}

static void close_side(side *s)
{
    stoa_remote_stop(s->remote, 100);
    stoa_node_close(s->node, STOA_S(1));
}

static void tell_address(void *context, const stoa_remote_link_view *view)
{
    const int *to = context;
    size_t bytes = strlen(view->address) + 1;
    if (write(*to, view->address, bytes) != (ssize_t)bytes) { bench_fail("an address"); }
}

/* The other process: serves until it is told nothing any more. */
_Noreturn static void serve(const char *uri, const stoa_key_pair keys[2], bool keyed, int from, int to)
{
    side far = {0};
    stoa_ref ref;
    char end;
    open_side(&far, uri, true, keys, keyed);
    bench_must(stoa_spawn(far.node, &sink_kind, "sink/far", NULL, &ref), "sink");
    stoa_remote_links(far.remote, tell_address, &to);
    while (read(from, &end, 1) > 0) {}
    close_side(&far);
    _exit(0);
}

static stoa_ref find_far(const side *near)
{
    for (uint64_t until = bench_now_ns() + STOA_S(60); bench_now_ns() < until; (void)poll(NULL, 0, 1)) {
        stoa_ref ref = stoa_find(near->node, "sink/far");
        if (ref.at) { return ref; }
    }
    bench_fail("the other node is not there");
    return STOA_REF_NONE;
}

/* --- rows */

static int by_size(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return x < y ? -1 : x > y;
}

static double sends(const side *near, stoa_ref from, stoa_ref to, uint64_t count)
{
    source_done done;
    uint64_t from_ns = bench_now_ns();
    bench_must(source_call_send(near->node, from, (source_send){to.at, count}, STOA_S(120), &done), "sends");
    return (double)count * 1e9 / (double)(bench_now_ns() - from_ns);
}

static void asks(const side *near, stoa_ref from, stoa_ref to, uint64_t count, bench_samples *p50, bench_samples *p99)
{
    source_done done;
    bench_must(source_call_ask(near->node, from, (source_ask){to.at, count}, STOA_S(120), &done), "asks");
    qsort(took_ns, count, sizeof took_ns[0], by_size);
    bench_add(p50, (double)took_ns[count / 2] / 1000.0);
    bench_add(p99, (double)took_ns[count * 99 / 100] / 1000.0);
}

static void check_peer(void *context, const stoa_remote_peer_view *view)
{
    uint64_t *bad = context;
    *bad += view->counts.malformed + view->counts.lost;
    for (int reason = 0; reason < STOA_DROP_COUNT; reason++) { *bad += view->counts.dropped[reason]; }
}

static void measure(const wire *w, const side *near, bool quick)
{
    char names[3][48];
    uint64_t bad = 0, send_count = quick ? SENDS_QUICK : SENDS, ask_count = quick ? ASKS_QUICK : ASKS;
    bench_figure send = {.name = names[0], .unit = "/s", .peer = "in the node"};
    bench_figure p50 = {.name = names[1], .unit = "us", .peer = "in the node", .less = true}, p99 = p50;
    p99.name = names[2];
    (void)snprintf(names[0], sizeof names[0], "remote.%s.send", w->name);
    (void)snprintf(names[1], sizeof names[1], "remote.%s.rtt_p50", w->name);
    (void)snprintf(names[2], sizeof names[2], "remote.%s.rtt_p99", w->name);
    stoa_ref from, here, far = find_far(near);
    bench_must(stoa_spawn(near->node, &source_kind, "source/near", NULL, &from), "source");
    bench_must(stoa_spawn(near->node, &sink_kind, "sink/near", NULL, &here), "sink");
    for (uint32_t i = 0; i < (quick ? 1 : RUNS); i++) {
        bench_add(&send.ours, sends(near, from, far, send_count));
        bench_add(&send.theirs, sends(near, from, here, send_count));
        asks(near, from, far, ask_count, &p50.ours, &p99.ours);
        asks(near, from, here, ask_count, &p50.theirs, &p99.theirs);
    }
    stoa_remote_peers(near->remote, check_peer, &bad);
    if (bad) { bench_fail("messages were dropped"); }
    bench_print(&send);
    bench_print(&p50);
    bench_print(&p99);
}

static void run(const wire *w, bool quick)
{
    stoa_key_pair keys[2] = {0};
    int down[2], up[2], status;
    char uri[64], address[256] = "";
    if (pipe(down) || pipe(up)) { bench_fail("pipe"); }
    for (int i = 0; i < 2; i++) { bench_must(stoa_key_new(&keys[i]), "key"); }
    (void)snprintf(uri, sizeof uri, "%s", w->uri);
    char *number = strstr(uri, "%d");
    if (number) { (void)snprintf(number, sizeof uri - (size_t)(number - uri), "%d", (int)getpid()); }
    pid_t child = fork();
    if (child < 0) { bench_fail("fork"); }
    if (child == 0) {
        (void)close(down[1]);
        (void)close(up[0]);
        serve(uri, keys, w->keys, down[0], up[1]);
    }
    (void)close(down[0]);
    (void)close(up[1]);
    if (read(up[0], address, sizeof address - 1) <= 0) { bench_fail("the other node does not come up"); }
    side near = {0};
    open_side(&near, address, false, keys, w->keys);
    measure(w, &near, quick);
    (void)close(down[1]);
    if (waitpid(child, &status, 0) != child || status) { bench_fail("how the other node ended"); }
    close_side(&near);
    (void)close(up[0]);
}

/* In a process of its own: the next one's is then a copy of one without threads. */
static void run_alone(const wire *w, bool quick)
{
    int status;
    pid_t child = fork();
    if (child < 0) { bench_fail("fork"); }
    if (child == 0) {
        run(w, quick);
        exit(0);
    }
    if (waitpid(child, &status, 0) != child || status) { exit(1); }
}

int main(int argc, char **argv)
{
    bench_arguments arguments = bench_arguments_of(argc, argv);
    stoa_log_level_set(STOA_LOG_ERROR);
    for (size_t i = 0; i < sizeof wires / sizeof wires[0]; i++) {
        if (strstr(wires[i].name, arguments.only)) { run_alone(&wires[i], arguments.quick); }
    }
    return 0;
}
