/* streams.c - subscriptions: kept over sessions, with their place in the sequence (sdk/inside.h).
 *
 * The node promises the order and tells what is missing; the library checks it again, so that a caller never
 * sees a number twice, nor a hole that was not told.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include <stdlib.h>
#include <string.h>

#include "sdk/inside.h"

enum { AGAIN_DEADLINE_S = 10, AGAIN_PAUSE_MS = 500 };

static stream *by_handle(stoa_client *c, uint64_t handle)
{
    stream *s = c->streams;
    while (s && (s->ended || s->handle != handle)) {
        s = s->next;
    }
    return s;
}

static stream *by_id(stoa_client *c, uint64_t id)
{
    stream *s = c->streams;
    while (s && (s->ended || s->id != id)) {
        s = s->next;
    }
    return id ? s : NULL;
}

static void end(stoa_client *c, stream *s)
{
    if (s->ended) { return; }
    s->ended = true;
    c->stream_count--;
}

void streams_sweep(stoa_client *c)
{
    for (stream **at = &c->streams; *at && !c->inside;) {
        stream *s = *at;
        if (s->ended) {
            *at = s->next;
            free(s);
        } else {
            at = &s->next;
        }
    }
}

/* --- subscribing */

/* The call that has the node begin the stream, or go on with it. */
static stoa_err ask(stoa_client *c, stream *s, uint64_t deadline_ns, call **out)
{
    client_subscribe in = {.stream = s->is->no, .resume = s->placed, .after = s->placed ? s->last : 0};
    stoa_err err = call_new(c, stoa_protocol_op_find(STOA_OP_SUBSCRIBE), s->target, &in, deadline_ns, out);
    if (err) { return err; }
    (*out)->stream = s;
    s->id = (*out)->id;
    return STOA_OK;
}

static void ask_again(stoa_client *c, stream *s, uint64_t pause_ms)
{
    call *at;
    s->id = 0;
    if (ask(c, s, STOA_S(AGAIN_DEADLINE_S), &at) != STOA_OK) {
        c->unasked = true; /* no place for the call now */
        return;
    }
    at->again_ns = pause_ms ? c->now_ns + STOA_MS(pause_ms) : 0;
}

void streams_again(stoa_client *c)
{
    c->unasked = false;
    for (stream *s = c->streams; s; s = s->next) {
        if (s->begun && !s->ended) { ask_again(c, s, 0); }
    }
}

void streams_step(stoa_client *c)
{
    if (!c->unasked || c->phase != PHASE_READY || c->call_count == c->calls_max) { return; }
    c->unasked = false;
    for (stream *s = c->streams; s; s = s->next) {
        if (s->begun && !s->ended && s->id == 0) { ask_again(c, s, 0); }
    }
}

/* A stream without snapshots has its place from the answer on, one with from its snapshot on. */
void stream_subscribed(stream *s, uint64_t newest)
{
    s->begun = true;
    if (!s->placed && s->is->snapshot == STOA_ITEM_NONE) {
        s->placed = true;
        s->last = newest;
    }
}

typedef struct consent {
    bool done;
    stoa_err error;
} consent;

static void on_consent(void *context, const stoa_client_answer *answer)
{
    consent *got = context;
    got->done = true;
    got->error = answer->error;
}

static stream *stream_new(stoa_client *c, const stoa_protocol_stream *is, const char *target, uint64_t after)
{
    stream *s = calloc(1, sizeof *s);
    if (!s) { return NULL; }
    *s = (stream){.next = c->streams, .is = is, .handle = ++c->handles};
    memcpy(s->target, target, strlen(target) + 1);
    s->placed = after != STOA_CLIENT_NOW;
    s->last = s->placed ? after : 0;
    c->streams = s;
    c->stream_count++;
    return s;
}

stoa_err stoa_client_subscribe(stoa_client *client, stoa_client_stream stream_no, const char *target, uint64_t after,
                               stoa_client_on_item on_item, void *context, uint64_t deadline_ns, uint64_t *stream_out)
{
    const stoa_protocol_stream *is = stoa_protocol_stream_find((uint64_t)stream_no);
    consent got = {0};
    call *at;
    client->error_text[0] = '\0';
    if (client->inside) { return STOA_FAIL(STOA_E_INVALID, "a call that waits, from a callback"); }
    if (!is || !on_item) { return STOA_FAIL(STOA_E_INVALID, "subscribe: no such stream, or no callback"); }
    if (!stoa_protocol_target_valid(is->target, target, strlen(target))) {
        return STOA_FAIL(STOA_E_INVALID, "subscribe: target");
    }
    stream *s = stream_new(client, is, target, after);
    if (!s) { return STOA_FAIL(STOA_E_NOMEM, "subscribe"); }
    s->on_item = on_item;
    s->context = context;
    *stream_out = s->handle; /* items may come before this returns */
    stoa_err err = ask(client, s, deadline_ns, &at);
    if (!err) {
        at->done = on_consent;
        at->context = &got;
        client_run(client, &got.done);
        err = got.error ? STOA_FAIL(got.error, "subscribe %s %s: %s", is->name, target, client->error_text) : STOA_OK;
    }
    if (err) { end(client, s); }
    streams_sweep(client);
    return err;
}

stoa_err stoa_client_unsubscribe(stoa_client *client, uint64_t handle)
{
    stream *s = by_handle(client, handle);
    if (!s) { return STOA_FAIL(STOA_E_NOT_FOUND, "no such stream"); }
    call *at = call_find(client, s->id);
    if (at) { call_drop(client, at); }
    if (client->phase == PHASE_READY && s->id) {
        session_say(client, stoa_protocol_op_find(STOA_OP_UNSUBSCRIBE), ID_UNSUBSCRIBE,
                    &(client_unsubscribe){.stream = s->id});
    }
    end(client, s);
    streams_sweep(client);
    client_stir(client);
    return STOA_OK;
}

/* --- items */

static void tell(stoa_client *c, stream *s, stoa_client_item item)
{
    bool was_inside = c->inside;
    if (s->ended) { return; }
    item.stream = s->handle;
    c->inside = true;
    s->on_item(s->context, &item);
    c->inside = was_inside;
}

static void tell_gap(stoa_client *c, stream *s, uint64_t from, uint64_t to)
{
    s->last = to;
    s->placed = s->is->snapshot == STOA_ITEM_NONE; /* otherwise a snapshot follows, and the place with it */
    tell(c, s, (stoa_client_item){.cls = STOA_CLIENT_GAP, .from_seq = from, .to_seq = to, .text = ""});
}

static void tell_end(stoa_client *c, stream *s, stoa_err err, const char *text)
{
    tell(c, s, (stoa_client_item){.cls = STOA_CLIENT_END, .error = err, .text = text});
    end(c, s);
}

static bool may_pass(stoa_err err)
{
    return err == STOA_E_TIMEOUT || err == STOA_E_UNAVAILABLE || err == STOA_E_FULL || err == STOA_E_FAILED;
}

void stream_refused(stoa_client *c, stream *s, stoa_err err)
{
    if (may_pass(err)) {
        ask_again(c, s, AGAIN_PAUSE_MS);
    } else {
        tell_end(c, s, err, c->error_text);
    }
}

/* Whether a change is to be told; a hole before it is told first. */
static bool follows(stoa_client *c, stream *s, uint64_t first, uint64_t last, bool whole)
{
    if (s->is->order == STOA_STREAM_DENSE && s->placed) {
        if (last <= s->last) { return false; }
        if (first > s->last + 1) { tell_gap(c, s, s->last + 1, first - 1); }
    }
    if (whole && (s->placed || s->is->snapshot == STOA_ITEM_NONE)) {
        s->last = last;
        s->placed = true;
    }
    return true;
}

static void item(stoa_client *c, stream *s, const stoa_server_frame *frame)
{
    const stoa_protocol_item *is = stoa_protocol_item_find(frame->item);
    uint64_t first, last;
    bool whole;
    if (!is) { return; } /* of a newer server */
    STOA_ASSERT(is->row->payload.size_bytes <= sizeof c->payload);
    if (stoa_decode_tokens(&is->row->payload, frame->payload.tokens, frame->payload.count, c->payload) != STOA_OK) {
        return;
    }
    stoa_protocol_item_seq(is->no, c->payload, &first, &last, &whole);
    if (is->cls == STOA_ITEM_SNAPSHOT) {
        s->last = frame->seq;
        s->placed = whole;
    } else if (!follows(c, s, first, last, whole)) {
        return;
    }
    tell(c, s,
         (stoa_client_item){.cls = (stoa_client_item_class)is->no,
                            .text = "",
                            .seq = frame->seq,
                            .stamp = {frame->position, (stoa_durability)frame->durability},
                            .as.any = c->payload});
}

void streams_frame(stoa_client *c, const stoa_server_frame *frame)
{
    stream *s = by_id(c, frame->id);
    if (!s) { return; }
    if (frame->cls == STOA_FRAME_ITEM) {
        item(c, s, frame);
    } else if (frame->cls == STOA_FRAME_GAP) {
        tell_gap(c, s, frame->from_seq, frame->to_seq);
    } else {
        note_text(c, frame->text, frame->text_bytes);
        tell_end(c, s, frame->error, c->error_text);
    }
}
