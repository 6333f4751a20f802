/* trace.c - marks, roots and spans. See trace.h.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "runtime/trace.h"

#include <fnmatch.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/internal.h"
#include "runtime/move.h"

stoa_err stoa_tracing_init(stoa_tracing *tracing)
{
    tracing->spans = calloc(STOA_SPANS, sizeof *tracing->spans);
    return tracing->spans ? STOA_OK : STOA_FAIL(STOA_E_NOMEM, "spans");
}

void stoa_tracing_deinit(stoa_tracing *tracing)
{
    free(tracing->spans);
}

static uint64_t read_now(const stoa_core *core)
{
    stoa_clock *clock = core->place.node->clock;
    return clock->now_ns(clock);
}

/* --- marks */

stoa_msg *stoa_slab_new_marked(stoa_slab *slab, uint32_t payload_bytes, uint32_t flags, stoa_mark mark)
{
    bool fits = payload_bytes <= STOA_PAYLOAD_MAX;
    stoa_msg *msg = fits ? stoa_slab_new(slab, payload_bytes + (uint32_t)sizeof mark, flags) : NULL;
    if (!msg && (flags & STOA_MSG_ANSWER)) { return stoa_slab_new_surely(slab, payload_bytes, flags); }
    if (!msg) { return stoa_slab_new(slab, payload_bytes, flags); }
    msg->size_bytes = payload_bytes;
    msg->flags |= STOA_MSG_MARKED;
    *stoa_msg_mark(msg) = mark;
    return msg;
}

stoa_msg *stoa_turning_new_marked(stoa_turning *t, uint32_t payload_bytes, uint32_t flags)
{
    stoa_mark mark = {.stands_for = t->core->tracing.not_marked,
                      .trace = t->span.trace,
                      .parent = t->span.span,
                      .sent_ns = read_now(t->core),
                      .timers = t->timers + ((flags & STOA_MSG_TIMER) != 0)};
    return stoa_slab_new_marked(&t->core->place.slab, payload_bytes, flags, mark);
}

/* --- roots */

static bool matches(const char *pattern, const stoa_actor *actor, const stoa_row *row)
{
    char message[160];
    (void)snprintf(message, sizeof message, "%s.%s", row ? row->kind : "", row ? row->name : "");
    return fnmatch(pattern, stoa_actor_name(actor), 0) == 0 || fnmatch(pattern, message, 0) == 0;
}

/* The first core that sees a match takes it; the others hear of that at their next look. */
static bool is_next_root(stoa_core *core, const stoa_actor *actor, const stoa_msg *msg)
{
    stoa_node *node = core->place.node;
    if (!core->tracing.armed) { return false; }
    bool mine = matches(core->tracing.pattern, actor, msg->row) && atomic_exchange(&node->tracing.armed, false);
    core->tracing.armed = !mine && atomic_load_explicit(&node->tracing.armed, memory_order_relaxed);
    return mine;
}

static bool is_one_in_many(stoa_tracing *tracing)
{
    if (!tracing->every) { return false; }
    bool is = tracing->left <= tracing->stride;
    tracing->left = is ? tracing->every : tracing->left - tracing->stride;
    return is;
}

bool stoa_trace_chooses(stoa_core *core, const stoa_actor *actor, stoa_msg *msg)
{
    stoa_tracing *tracing = &core->tracing;
    tracing->root = 0;
    stoa_node *node = core->place.node;
    const stoa_mark *mark = stoa_msg_marked(msg);
    bool next = is_next_root(core, actor, msg); /* also from within another trace: somebody waits for it */
    if (next || (is_one_in_many(tracing) && !(mark && mark->trace))) {
        tracing->root = atomic_fetch_add(&node->tracing.last, 1) + 1;
        if (next) { atomic_store(&node->tracing.awaited, tracing->root); }
        return true;
    }
    bool measures = node->options.metrics && !node->options.sim && !tracing->armed;
    return measures && ++tracing->timed % STOA_MARK_EVERY == 0;
}

uint32_t stoa_trace_stride(stoa_core *core, uint32_t usual)
{
    stoa_tracing *tracing = &core->tracing;
    tracing->stride = tracing->armed ? 1 : usual ? usual : tracing->every;
    return tracing->stride;
}

/* --- spans */

static stoa_span *span_new(stoa_core *core)
{
    return &core->tracing.spans[core->tracing.span_count++ % STOA_SPANS];
}

static uint64_t span_id(stoa_core *core)
{
    return (uint64_t)(core->place.index + 1) << 48 | ++core->tracing.ids;
}

void stoa_trace_begin(stoa_turning *t, stoa_msg *msg)
{
    const stoa_mark *mark = stoa_msg_marked(msg);
    bool root = msg->flags & STOA_MSG_ROOT;
    if (!mark && !root) { return; }
    uint64_t now = read_now(t->core);
    if (mark && !mark->trace && now >= mark->sent_ns) { stoa_core_waited(t->core, t->actor->kind, now - mark->sent_ns, mark->stands_for); }
    bool begins = root && t->core->tracing.root;
    bool follows = mark && mark->trace && !begins;
    if (!follows && !root) { return; }
    t->marks |= STOA_MARKS_TRACE;
    t->sent_max = 0;
    t->timers = follows ? mark->timers : 0;
    t->span = (stoa_span){.trace = follows ? mark->trace : t->core->tracing.root};
    if (!t->span.trace) { return; }
    t->span.span = span_id(t->core);
    t->span.parent = follows ? mark->parent : 0;
    t->span.sent_ns = mark ? mark->sent_ns : 0;
    t->span.began_ns = now;
    t->span.row = msg->row;
    t->after |= STOA_AFTER_SPAN;
}

void stoa_trace_end(stoa_turning *t)
{
    stoa_span *span = span_new(t->core);
    *span = t->span;
    span->ended_ns = read_now(t->core);
    span->actor = t->turn.self;
    span->from = t->turn.from;
    span->error = t->turn.error;
    span->core = t->core->place.index;
    (void)memccpy(span->name, stoa_actor_name(t->actor), 0, sizeof span->name - 1);
}

uint64_t stoa_trace_without_turn(stoa_core *core, stoa_msg *msg, stoa_ref to, stoa_err why)
{
    const stoa_mark *mark = stoa_msg_marked(msg);
    bool has_turn = (core->turning.after & STOA_AFTER_SPAN) && core->turning.msg == msg; /* which was refused */
    if (!mark || !mark->trace || has_turn) { return 0; }
    stoa_span *span = span_new(core);
    uint32_t place = stoa_ref_place(to);
    uint64_t now = read_now(core);
    *span = (stoa_span){.trace = mark->trace, .span = span_id(core), .parent = mark->parent, .sent_ns = mark->sent_ns,
                        .began_ns = now, .ended_ns = now, .actor = to, .from = msg->from, .row = msg->row, .outcome = why,
                        .core = core->place.index};
    if ((msg->flags & STOA_MSG_ANSWER) && (msg->flags & STOA_MSG_CONTEXT)) { span->error = (stoa_err)stoa_msg_context(msg)->error; }
    const stoa_actor *actor = place == core->place.index ? stoa_stands_for(core, to) : NULL;
    const char *name = actor ? stoa_actor_name(actor) : "";
    if (place >= core->place.node->core_count) { name = stoa_port_name(core->place.node, to); }
    (void)memccpy(span->name, name, 0, sizeof span->name - 1);
    return span->span;
}

/* --- the operator's */

static void disarm(stoa_core *core, void *context)
{
    (void)context;
    core->tracing.armed = false;
}

static void arm(stoa_core *core, void *context)
{
    (void)memccpy(core->tracing.pattern, context, 0, sizeof core->tracing.pattern);
    core->tracing.armed = true;
    core->tracing.stride = 1;
    stoa_core_time_in(core, 1);
}

static void on_all(stoa_node *node, void (*fn)(stoa_core *core, void *context), void *context)
{
    for (uint32_t i = 0; i < node->core_count; i++) { stoa_core_do(node->cores[i], fn, context); }
}

stoa_err stoa_trace_next(stoa_node *node, const char *pattern)
{
    char copy[STOA_TRACE_PATTERN_MAX + 1];
    int bytes = snprintf(copy, sizeof copy, "%s", pattern ? pattern : "*");
    if (bytes >= (int)sizeof copy) { return STOA_FAIL(STOA_E_INVALID, "a pattern has up to %d bytes", STOA_TRACE_PATTERN_MAX); }
    stoa_trace_cancel(node);
    atomic_store(&node->tracing.awaited, 0);
    atomic_store(&node->tracing.armed, true);
    on_all(node, arm, copy);
    return STOA_OK;
}

void stoa_trace_cancel(stoa_node *node)
{
    atomic_store(&node->tracing.armed, false);
    on_all(node, disarm, NULL);
}

static void set_every(stoa_core *core, void *context)
{
    const uint32_t *every = context;
    core->tracing.every = core->tracing.left = *every;
    if (core->time_every) { return; }
    core->tracing.stride = *every;
    stoa_core_time_in(core, *every);
}

void stoa_trace_every(stoa_node *node, uint32_t n)
{
    on_all(node, set_every, &n);
}

uint64_t stoa_trace_awaited(stoa_node *node)
{
    return atomic_load(&node->tracing.awaited);
}

uint64_t stoa_trace_last(stoa_node *node)
{
    return atomic_load(&node->tracing.last);
}

typedef struct span_list {
    stoa_span *at;
    size_t count;
    uint64_t trace;
} span_list;

static void spans_on_core(stoa_core *core, void *context)
{
    span_list *list = context;
    uint64_t count = core->tracing.span_count;
    for (uint64_t i = count > STOA_SPANS ? count - STOA_SPANS : 0; i < count; i++) {
        const stoa_span *span = &core->tracing.spans[i % STOA_SPANS];
        if (!list->trace || span->trace == list->trace) { list->at[list->count++] = *span; }
    }
}

static int by_beginning(const void *a, const void *b)
{
    const stoa_span *x = a, *y = b;
    if (x->began_ns != y->began_ns) { return x->began_ns < y->began_ns ? -1 : 1; }
    return x->span < y->span ? -1 : x->span > y->span;
}

stoa_err stoa_spans(stoa_node *node, uint64_t trace, void (*visit)(void *context, const stoa_span *span), void *context)
{
    span_list list = {.at = calloc(node->core_count, STOA_SPANS * sizeof *list.at), .trace = trace};
    if (!list.at) { return STOA_FAIL(STOA_E_NOMEM, "spans"); }
    on_all(node, spans_on_core, &list);
    if (list.count) { qsort(list.at, list.count, sizeof *list.at, by_beginning); }
    for (size_t i = 0; i < list.count; i++) { visit(context, &list.at[i]); }
    free(list.at);
    return STOA_OK;
}

/* --- times */

typedef struct times_copy {
    stoa_times at[STOA_TIMED_KINDS];
} times_copy;

static void times_on_core(stoa_core *core, void *context)
{
    times_copy *copy = context;
    memcpy(copy->at, core->times, sizeof copy->at);
}

static uint64_t quantile(const stoa_histogram *h, uint32_t permyriad)
{
    return h ? stoa_histogram_quantile(h, permyriad) : 0;
}

/* Histograms live as long as the metrics, and any thread may read them. */
stoa_err stoa_kind_times(stoa_node *node, void (*visit)(void *context, const stoa_times_view *view), void *context)
{
    for (uint32_t core = 0; core < node->core_count; core++) {
        times_copy copy;
        stoa_core_do(node->cores[core], times_on_core, &copy);
        for (const stoa_times *times = copy.at; times < copy.at + STOA_TIMED_KINDS && times->kind; times++) {
            stoa_times_view view = {.kind = times->kind->name,
                                    .core = core,
                                    .turns = times->turns ? stoa_histogram_count(times->turns) : 0,
                                    .turn_p50_ns = quantile(times->turns, 5000),
                                    .turn_p99_ns = quantile(times->turns, 9900),
                                    .waits = times->waits ? stoa_histogram_count(times->waits) : 0,
                                    .queue_p50_ns = quantile(times->waits, 5000),
                                    .queue_p99_ns = quantile(times->waits, 9900)};
            if (view.turns || view.waits) { visit(context, &view); }
        }
    }
    return STOA_OK;
}
