/* flow.c - many messages one way: runtime.counting (from one actor) and runtime.fanin (from a hundred).
 *
 * Mailboxes are bounded, so the producers are paced by credit: a source may have WINDOW messages under way, and the sink
 * grants it GRANT more for each GRANT that it has read. The windows of a hundred sources fit into the sink's mailbox, hence no
 * message is ever refused. The sink adds up what it reads.
 *
 * On two cores the sink has the second one; of a hundred sources every other one shares it.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "bench/runtime/rig.h"

enum { SOURCES_MAX = 100, GRANTS_UNDER_WAY = 4 };

// clang-format off
#define sink_expect_FIELDS(F, S) F(S, uint64_t, items) F(S, uint64_t, grant)
#define sink_ready_FIELDS STOA_NO_FIELDS
#define sink_item_FIELDS(F, S) F(S, uint64_t, value) F(S, uint64_t, source)
#define sink_ROWS(ROW, K)                                                      \
    ROW(K, COMMAND, expect, ready, "Begin anew; the run ends with so many.")   \
    ROW(K, REPLY, ready, _, "May begin.")                                      \
    ROW(K, CAST, item, _, "One to add; each grant-th of a source is answered with credit.")

#define source_start_FIELDS(F, S) F(S, uint64_t, items) F(S, uint64_t, window)
#define source_credit_FIELDS(F, S) F(S, uint64_t, items)
#define source_ROWS(ROW, K)                              \
    ROW(K, CAST, start, _, "Send so many to the sink.")  \
    ROW(K, CAST, credit, _, "So many more may be under way.")
// clang-format on
STOA_TABLE(sink)
STOA_TABLE_DEFINE(sink)
STOA_TABLE(source)
STOA_TABLE_DEFINE(source)

typedef struct sink {
    uint64_t left, sum, grant;
    uint64_t got[SOURCES_MAX]; /* since the last grant */
} sink;

typedef struct source {
    stoa_ref sink;
    uint64_t index, left, room;
} source;

typedef struct source_args {
    stoa_ref sink;
    uint64_t index;
} source_args;

#define sink_HEARS STOA_HEARS_NOTHING
STOA_PLAIN_KIND(sink, .mailbox_limit = 16384)

static stoa_err source_begin(stoa_turn *turn, void *state, const void *args)
{
    source *self = state;
    const source_args *given = args;
    (void)turn;
    self->sink = given->sink;
    self->index = given->index;
    return STOA_OK;
}

#define source_HEARS STOA_HEARS_NOTHING
STOA_PLAIN_KIND(source, .start = source_begin, .args_bytes = sizeof(source_args))

static stoa_err sink_on_expect(stoa_turn *turn, sink *self, const sink_expect *in, sink_ready *out)
{
    (void)turn;
    (void)out;
    *self = (sink){.left = in->items, .grant = in->grant};
    return STOA_OK;
}

static stoa_err sink_on_item(stoa_turn *turn, sink *self, const sink_item *in)
{
    self->sum += in->value;
    if (--self->left == 0) { bench_ended(self->sum); }
    if (++self->got[in->source] < self->grant) { return STOA_OK; }
    self->got[in->source] = 0;
    return source_send_credit(turn, turn->from, (source_credit){self->grant});
}

static stoa_err flow_on(stoa_turn *turn, source *self)
{
    stoa_err err = STOA_OK;
    while (!err && self->left && self->room) {
        err = sink_send_item(turn, self->sink, (sink_item){self->left, self->index});
        self->left--;
        self->room--;
    }
    return err;
}

static stoa_err source_on_start(stoa_turn *turn, source *self, const source_start *in)
{
    self->left = in->items;
    self->room = in->window;
    return flow_on(turn, self);
}

static stoa_err source_on_credit(stoa_turn *turn, source *self, const source_credit *in)
{
    self->room += in->items;
    return flow_on(turn, self);
}

typedef struct stream {
    stoa_node *node;
    stoa_ref sink, sources[SOURCES_MAX];
    uint32_t count;
    uint64_t grant;
} stream;

static double once(const bench_task *task, void *context)
{
    const stream *s = context;
    sink_ready ready;
    uint64_t each = task->steps / s->count;
    sink_expect expect = {each * s->count, s->grant};
    bench_must(sink_call_expect(s->node, s->sink, expect, STOA_S(10), &ready), task->name);
    bench_begin();
    for (uint32_t i = 0; i < s->count; i++) {
        source_start start = {each, s->grant * GRANTS_UNDER_WAY};
        bench_must(source_post_start(s->node, s->sources[i], start), task->name);
    }
    return bench_mega(each * s->count, bench_wait(task, s->count * (each * (each + 1) / 2)));
}

static void flow(const bench_task *task, uint32_t sources, uint64_t grant, bench_samples *out)
{
    stream s = {.node = bench_open(task->cores, STOA_IDLE_LATENCY), .count = sources, .grant = grant};
    s.sink = bench_spawn(s.node, &sink_kind, task->cores - 1, NULL);
    for (uint32_t i = 0; i < sources; i++) {
        source_args args = {s.sink, i};
        s.sources[i] = bench_spawn(s.node, &source_kind, i, &args);
    }
    bench_repeat(task, once, &s, out);
    bench_close(s.node);
}

/* A step is a message. */
void bench_counting(const bench_task *task, bench_samples *out)
{
    flow(task, 1, 256, out);
}

/* A step is a message, whoever sent it. */
void bench_fanin(const bench_task *task, bench_samples *out)
{
    flow(task, SOURCES_MAX, 32, out);
}
