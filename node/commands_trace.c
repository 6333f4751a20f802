/* commands_trace.c - `trace`: what followed from one message, as a tree; `times`: how long turns take and messages wait.
 *
 * A tree is made of the spans that are left of a trace, and as they are now: the REPL asks again to follow it (admin/follow.c).
 * One whose parent is gone (its ring is bounded) or still runs stands at the top; what is deeper than LEVELS (as deep as a page
 * shows trees) stands beside its parent.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/array.h"
#include "base/clock.h"
#include "node/commands.h"

enum { LEVELS = 15, LOOK_MS = 10 };

typedef struct branch {
    stoa_span span;
    uint64_t below; /* the span it stands below in the tree, 0: at the top */
} branch;

typedef struct spans {
    branch *at; /* in the order of time */
    size_t count;
    uint32_t cap;
    bool cut;
} spans;

static void collect(void *context, const stoa_span *span)
{
    spans *list = context;
    branch *at = stoa_array_room(list->at, list->count, &list->cap, sizeof *at);
    if (!at) {
        list->cut = true;
        return;
    }
    list->at = at;
    list->at[list->count++] = (branch){.span = *span, .below = span->parent};
}

static stoa_err collect_trace(stoa_platform *platform, uint64_t trace, spans *out)
{
    *out = (spans){0};
    stoa_err err = stoa_spans(platform->node, trace, collect, out);
    if (!err && out->cut) { err = STOA_FAIL(STOA_E_NOMEM, "spans of trace %llu", (unsigned long long)trace); }
    if (err) { free(out->at); }
    return err;
}

/* --- the tree */

static uint64_t since(uint64_t from_ns, uint64_t to_ns)
{
    return to_ns > from_ns ? to_ns - from_ns : 0;
}

static uint64_t started_ns(const stoa_span *span)
{
    return span->sent_ns && span->sent_ns < span->began_ns ? span->sent_ns : span->began_ns;
}

static void put_message(stoa_doc *doc, const stoa_span *span)
{
    const char *kind = span->row ? span->row->kind : "a", *name = span->row ? span->row->name : "refusal";
    stoa_doc_printf(doc, "message", "%s%s%s%s%s%s", kind, span->row ? "." : " ", name, span->error ? " (" : "",
                    span->error ? stoa_err_name(span->error) : "", span->error ? ")" : "");
}

static void put_span(stoa_doc *doc, const stoa_span *span, uint64_t zero_ns)
{
    put_message(doc, span);
    if (span->name[0]) {
        stoa_doc_text(doc, "actor", span->name);
    } else {
        stoa_doc_printf(doc, "actor", "#%llx", (unsigned long long)span->actor.at);
    }
    stoa_doc_uint(doc, "core", span->core);
    stoa_doc_uint(doc, "at_ns", since(zero_ns, span->began_ns));
    if (span->sent_ns) {
        stoa_doc_uint(doc, "queue_ns", since(span->sent_ns, span->began_ns));
    } else {
        stoa_doc_null(doc, "queue_ns");
    }
    stoa_doc_uint(doc, "turn_ns", since(span->began_ns, span->ended_ns));
    stoa_doc_text(doc, "outcome", span->outcome ? stoa_err_name(span->outcome) : "ok");
    stoa_doc_uint(doc, "span", span->span);
    stoa_doc_uint(doc, "parent", span->parent);
}

static int by_parent(const void *a, const void *b)
{
    const branch *x = a, *y = b;
    if (x->below != y->below) { return x->below < y->below ? -1 : 1; }
    if (x->span.began_ns != y->span.began_ns) { return x->span.began_ns < y->span.began_ns ? -1 : 1; }
    return x->span.span < y->span.span ? -1 : x->span.span > y->span.span;
}

/* The first span of a list by parent whose parent is not below that one. */
static size_t first_of(const spans *list, uint64_t parent)
{
    size_t from = 0, to = list->count;
    while (from < to) {
        size_t middle = from + (to - from) / 2;
        if (list->at[middle].below < parent) {
            from = middle + 1;
        } else {
            to = middle;
        }
    }
    return from;
}

static void put_children(stoa_doc *doc, const spans *list, uint64_t parent, uint64_t zero_ns, unsigned level)
{
    for (size_t i = first_of(list, parent); i < list->count && list->at[i].below == parent; i++) {
        const stoa_span *span = &list->at[i].span;
        stoa_doc_open(doc, NULL, '{');
        put_span(doc, span, zero_ns);
        if (level < LEVELS) {
            stoa_doc_open(doc, "children", '[');
            put_children(doc, list, span->span, zero_ns, level + 1);
            stoa_doc_close(doc, ']');
        }
        stoa_doc_close(doc, '}');
        if (level >= LEVELS) { put_children(doc, list, span->span, zero_ns, level); }
    }
}

static int by_id(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return x < y ? -1 : x > y;
}

/* Spans whose parent is not among them stand at the top. */
static stoa_err adopt(spans *list)
{
    uint64_t *ids = malloc(list->count * sizeof *ids);
    if (!ids) { return STOA_FAIL(STOA_E_NOMEM, "trace"); }
    for (size_t i = 0; i < list->count; i++) { ids[i] = list->at[i].span.span; }
    qsort(ids, list->count, sizeof *ids, by_id);
    for (size_t i = 0; i < list->count; i++) {
        if (!bsearch(&list->at[i].below, ids, list->count, sizeof *ids, by_id)) { list->at[i].below = 0; }
    }
    free(ids);
    return STOA_OK;
}

static stoa_err put_trace(stoa_door_call *call, uint64_t trace, spans *list)
{
    stoa_doc doc = stoa_doc_to(&call->document);
    uint64_t zero_ns = UINT64_MAX, end_ns = 0;
    for (size_t i = 0; i < list->count; i++) {
        const stoa_span *span = &list->at[i].span;
        if (started_ns(span) < zero_ns) { zero_ns = started_ns(span); }
        if (span->ended_ns > end_ns) { end_ns = span->ended_ns; }
    }
    stoa_err err = adopt(list);
    if (err) { return err; }
    qsort(list->at, list->count, sizeof *list->at, by_parent);
    stoa_doc_open(&doc, NULL, '{');
    stoa_doc_open(&doc, "trace", '{');
    stoa_doc_uint(&doc, "id", trace);
    stoa_doc_uint(&doc, "turns", list->count);
    stoa_doc_uint(&doc, "took_ns", since(zero_ns, end_ns));
    stoa_doc_uint(&doc, "quiet_ns", since(end_ns, stoa_clock_real.now_ns(&stoa_clock_real)));
    stoa_doc_close(&doc, '}');
    stoa_doc_open(&doc, "spans", '[');
    put_children(&doc, list, 0, zero_ns, 0);
    stoa_doc_close(&doc, ']');
    stoa_doc_close(&doc, '}');
    stoa_buf_puts(&call->view, "fields trace: id/id, turns/n, took_ns=took/ns\n"
                               "tree spans: message, actor, core/id, at_ns=at/ns, queue_ns=waited/ns, turn_ns=turn/ns, outcome");
    return STOA_OK;
}

static stoa_err show(stoa_platform *platform, stoa_door_call *call, uint64_t trace)
{
    spans list;
    stoa_err err = collect_trace(platform, trace, &list);
    if (err) { return err; }
    err = list.count ? put_trace(call, trace, &list)
                     : STOA_FAIL(STOA_E_NOT_FOUND, "nothing is left of trace %llu", (unsigned long long)trace);
    free(list.at);
    return err;
}

stoa_err stoa_command_trace(stoa_platform *platform, stoa_door_call *call)
{
    uint64_t trace = stoa_call_number(call, 0, 0);
    if (trace > stoa_trace_last(platform->node)) {
        return STOA_FAIL(STOA_E_NOT_FOUND, "there was no trace %llu yet", (unsigned long long)trace);
    }
    return show(platform, call, trace);
}

stoa_err stoa_command_trace_last(stoa_platform *platform, stoa_door_call *call)
{
    uint64_t trace = stoa_trace_last(platform->node);
    return trace ? show(platform, call, trace) : STOA_FAIL(STOA_E_NOT_FOUND, "there was no trace yet; see trace next");
}

/* --- the next */

static void pause_ms(long ms)
{
    struct timespec wait = {.tv_nsec = ms * 1000000};
    (void)nanosleep(&wait, NULL);
}

/* The trace that was waited for; 0: it did not begin in time. */
static uint64_t wait_for_root(stoa_platform *platform, const stoa_door_call *call, uint64_t spare_ns)
{
    uint64_t trace;
    while (!(trace = stoa_trace_awaited(platform->node)) && stoa_call_left_ns(call) > spare_ns) { pause_ms(LOOK_MS); }
    return trace;
}

/* Until the root's turn has ended. */
static stoa_err wait_for_span(stoa_platform *platform, const stoa_door_call *call, uint64_t spare_ns, uint64_t trace)
{
    size_t count = 0;
    while (!count && stoa_call_left_ns(call) > spare_ns) {
        spans list;
        stoa_err err = collect_trace(platform, trace, &list);
        if (err) { return err; }
        count = list.count;
        free(list.at);
        if (!count) { pause_ms(LOOK_MS); }
    }
    return STOA_OK;
}

/* The trace's begin: who asks follows on with its number. Part of the call's time is spared for the answer's way back. */
stoa_err stoa_command_trace_next(stoa_platform *platform, stoa_door_call *call)
{
    const char *pattern = stoa_call_arg(call, 0);
    uint64_t left_ns = stoa_call_left_ns(call);
    stoa_err err = stoa_trace_next(platform->node, pattern);
    if (err) { return err; }
    uint64_t trace = wait_for_root(platform, call, left_ns / 4);
    if (!trace) {
        stoa_trace_cancel(platform->node);
        return STOA_FAIL(STOA_E_TIMEOUT, "no message for '%s' came; wait longer with --timeout", pattern ? pattern : "*");
    }
    err = wait_for_span(platform, call, left_ns / 8, trace);
    return err ? err : show(platform, call, trace);
}

stoa_err stoa_command_trace_every(stoa_platform *platform, stoa_door_call *call)
{
    uint64_t turns = stoa_call_number(call, 0, 0);
    stoa_doc doc = stoa_doc_to(&call->document);
    stoa_trace_every(platform->node, (uint32_t)turns);
    stoa_doc_open(&doc, NULL, '{');
    stoa_doc_open(&doc, "trace", '{');
    stoa_doc_uint(&doc, "every", turns);
    stoa_doc_close(&doc, '}');
    stoa_doc_close(&doc, '}');
    stoa_buf_puts(&call->view, "fields trace: every/n");
    return STOA_OK;
}

/* --- times */

static void put_quantile(stoa_doc *doc, const char *key, uint64_t count, uint64_t ns)
{
    if (count) {
        stoa_doc_uint(doc, key, ns);
    } else {
        stoa_doc_null(doc, key);
    }
}

static void put_times(void *context, const stoa_times_view *view)
{
    stoa_doc *doc = context;
    stoa_doc_open(doc, NULL, '{');
    stoa_doc_text(doc, "kind", view->kind);
    stoa_doc_uint(doc, "core", view->core);
    stoa_doc_uint(doc, "turns", view->turns);
    put_quantile(doc, "turn_p50_ns", view->turns, view->turn_p50_ns);
    put_quantile(doc, "turn_p99_ns", view->turns, view->turn_p99_ns);
    stoa_doc_uint(doc, "waits", view->waits);
    put_quantile(doc, "queue_p50_ns", view->waits, view->queue_p50_ns);
    put_quantile(doc, "queue_p99_ns", view->waits, view->queue_p99_ns);
    stoa_doc_close(doc, '}');
}

stoa_err stoa_command_times(stoa_platform *platform, stoa_door_call *call)
{
    stoa_doc doc = stoa_doc_to(&call->document);
    stoa_doc_open(&doc, NULL, '{');
    stoa_doc_open(&doc, "times", '[');
    stoa_err err = stoa_kind_times(platform->node, put_times, &doc);
    stoa_doc_close(&doc, ']');
    stoa_doc_close(&doc, '}');
    stoa_buf_puts(&call->view, "table times: kind, core/id, turns=turns timed/n, turn_p50_ns=turn p50/ns, turn_p99_ns=p99/ns, "
                               "waits=waits timed/n, queue_p50_ns=wait p50/ns, queue_p99_ns=p99/ns");
    return err;
}
