/* session.c - a session's life: new, connected, stepped, seen. See session.h.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "transport/session.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "transport/session_internal.h"

static const uint32_t windows[STOA_LANE_COUNT] = {256 << 10, 1 << 20, 1 << 20};
enum { BATCH_BYTES = 16 << 10, LINK_FRAMES = 64, HEARTBEAT_MS = 100, SILENCE_MAX_MS = 2000, ACK_MS = 1 };

static void options_fill(stoa_session_options *o)
{
    if (o->version_max == 0) { o->version_min = o->version_max = STOA_SESSION_VERSION; }
    if (o->batch_bytes == 0) { o->batch_bytes = BATCH_BYTES; }
    if (o->link_frames == 0) { o->link_frames = LINK_FRAMES; }
    if (o->ack_ns == 0) { o->ack_ns = STOA_MS(ACK_MS); }
    if (o->heartbeat_ns == 0) { o->heartbeat_ns = STOA_MS(HEARTBEAT_MS); }
    if (o->silence_max_ns == 0) { o->silence_max_ns = STOA_MS(SILENCE_MAX_MS); }
    for (unsigned i = 0; i < STOA_LANE_COUNT; i++) {
        if (o->window_bytes[i] == 0) { o->window_bytes[i] = windows[i]; }
    }
}

static stoa_err options_check(const stoa_session_options *o)
{
    bool named = o->name && stoa_node_name_is_good(o->name, strlen(o->name)) &&
                 (!o->peer || stoa_node_name_is_good(o->peer, strlen(o->peer)));
    if (!named) { return STOA_FAIL(STOA_E_INVALID, "a node's name is 1 to 63 of a-z 0-9 _ . -"); }
    bool sized = o->batch_bytes >= STOA_SESSION_BATCH_MIN && o->version_min > 0 && o->version_min <= o->version_max &&
                 o->incarnation > 0 && o->silence_max_ns > o->heartbeat_ns && o->events;
    for (unsigned i = 0; i < STOA_LANE_COUNT; i++) {
        sized = sized && o->window_bytes[i] / 2 >= o->batch_bytes && o->window_bytes[i] <= (UINT32_C(1) << 30);
    }
    return sized ? STOA_OK : STOA_FAIL(STOA_E_INVALID, "a session's incarnation, versions, times or sizes");
}

static void quotas_set(stoa_session *s)
{
    uint32_t frames = s->options.link_frames;
    s->out[STOA_LANE_CONTROL].quota = STOA_SESSION_BATCHES;
    s->out[STOA_LANE_NORMAL].quota = frames / 2 > 0 ? frames / 2 : 1;
    s->out[STOA_LANE_BULK].quota = frames / 4 > 0 ? frames / 4 : 1;
}

static stoa_err lanes_new(stoa_session *s)
{
    for (unsigned i = 0; i < STOA_LANE_COUNT; i++) {
        uint32_t window_bytes = s->options.window_bytes[i];
        s->out[i].ring = aligned_alloc(64, ((size_t)window_bytes + s->options.batch_bytes + 63) / 64 * 64);
        s->out[i].batches = calloc(STOA_SESSION_BATCHES, sizeof *s->out[i].batches);
        s->out[i].window_bytes = s->in[i].window_bytes = window_bytes;
        s->in[i].early_bytes = malloc((size_t)STOA_EARLY_BATCHES * s->options.batch_bytes);
        bool all = s->out[i].ring && s->out[i].batches && s->in[i].early_bytes;
        if (!all) { return STOA_FAIL(STOA_E_NOMEM, "the rings of a session"); }
        stoa_lane_clear(s, (stoa_lane)i);
    }
    stoa_flow_begin(s);
    quotas_set(s);
    return STOA_OK;
}

stoa_err stoa_session_new(const stoa_session_options *options, stoa_session **out)
{
    stoa_session_options filled = *options;
    options_fill(&filled);
    stoa_err err = options_check(&filled);
    if (err) { return err; }
    stoa_session *s = calloc(1, sizeof *s);
    if (!s) { return STOA_FAIL(STOA_E_NOMEM, "a session"); }
    s->options = filled;
    (void)snprintf(s->name, sizeof s->name, "%s", filled.name);
    if (filled.peer) { (void)snprintf(s->peer, sizeof s->peer, "%s", filled.peer); }
    err = lanes_new(s);
    if (err) {
        stoa_session_free(s);
        return err;
    }
    *out = s;
    return STOA_OK;
}

void stoa_session_free(stoa_session *session)
{
    if (!session) { return; }
    for (unsigned i = 0; i < STOA_LANE_COUNT; i++) {
        free(session->out[i].ring);
        free(session->out[i].batches);
        free(session->in[i].early_bytes);
    }
    free(session);
}

/* --- connections */

bool stoa_session_fits(const stoa_session *s, const stoa_session_options *options)
{
    stoa_session_options o = *options;
    options_fill(&o);
    return o.batch_bytes == s->options.batch_bytes && memcmp(o.window_bytes, s->options.window_bytes, sizeof o.window_bytes) == 0;
}

void stoa_session_over(stoa_session *s, const stoa_session_options *options)
{
    stoa_session_options o = *options;
    options_fill(&o);
    s->options.link_frames = o.link_frames;
    s->options.trusts_link = o.trusts_link;
    s->options.heartbeat_ns = o.heartbeat_ns;
    s->options.silence_max_ns = o.silence_max_ns;
    quotas_set(s);
}

void stoa_session_lost(stoa_session *s, stoa_err why, uint64_t again_ns)
{
    bool was_up = s->state == STOA_SESSION_UP;
    s->state = s->link ? STOA_SESSION_GREETING : STOA_SESSION_AWAY;
    s->hello_due_ns = again_ns;
    s->accepted = 0;
    if (!was_up) { return; }
    for (unsigned i = 0; why == STOA_E_TIMEOUT && i < STOA_LANE_COUNT; i++) {
        stoa_flow_timeout(&s->out[i]);
    }
    s->greeting_from = s->hello_number + 1;
    s->counts.downs++;
    s->options.events->down(s->options.events->context, s, why);
}

void stoa_session_up(stoa_session *session, stoa_link *link, stoa_peer peer, uint64_t now_ns)
{
    session->link = link;
    session->link_peer = peer;
    session->linked_ns = now_ns;
    session->blocked = false;
    session->stepped_ns = now_ns;
    session->refusals = 0;
    stoa_flow_begin(session);
    stoa_pulse_forget(session);
    session->greeting_from = session->hello_number + 1;
    stoa_session_lost(session, STOA_E_CLOSED, now_ns); /* where the old connection was not known to be gone */
}

void stoa_session_down(stoa_session *session, uint64_t now_ns)
{
    session->link = NULL;
    stoa_session_lost(session, STOA_E_CLOSED, now_ns);
}

void stoa_session_leave(stoa_session *session, uint64_t now_ns)
{
    stoa_refusal bye = {.why = STOA_E_CLOSED};
    for (unsigned i = 0; session->state == STOA_SESSION_UP && i < STOA_LANE_COUNT; i++) {
        stoa_lane_flush(session, (stoa_lane)i, true, now_ns);
    }
    if (session->link && session->peer_incarnation) {
        (void)stoa_session_say(session, STOA_ENVELOPE_REFUSE, &bye, sizeof bye, session->id_out);
    }
    session->link = NULL;
    session->state = STOA_SESSION_AWAY;
}

/* --- what comes, by its envelope */

static stoa_err counted(stoa_session *s, stoa_err err)
{
    stoa_session_counts *c = &s->counts;
    switch ((int)err) {
    case STOA_OK: break;
    case STOA_E_MALFORMED: c->malformed++; break;
    case STOA_E_VERSION: c->version++; break;
    case STOA_E_CORRUPT: c->corrupt++; break;
    case STOA_E_STALE: c->stale++; break;
    case STOA_E_FULL: c->over_credit++; break;
    case STOA_E_FORKED: c->forked++; break;
    default: c->denied++; break;
    }
    return err;
}

static stoa_err take(stoa_session *s, const char *identity, const void *bytes, uint32_t size_bytes, uint64_t now_ns)
{
    stoa_envelope e;
    stoa_err err = stoa_envelope_read(bytes, size_bytes, &e);
    if (err == STOA_E_VERSION && s->state == STOA_SESSION_GREETING) { stoa_session_refused(s, err, true, now_ns); }
    if (err) { return err; }
    stoa_envelope_what what = stoa_envelope_is(&e);
    if (what == STOA_ENVELOPE_HELLO) { return stoa_session_take_hello(s, identity, bytes, size_bytes, now_ns); }
    if (what == STOA_ENVELOPE_REFUSE) { return stoa_session_take_refusal(s, bytes, size_bytes, now_ns); }
    if (s->peer_incarnation == 0) { return STOA_E_STALE; } /* we have no session yet */
    if (e.flags & STOA_ENVELOPE_BARE && !s->options.trusts_link) { return STOA_E_CORRUPT; }
    err = stoa_envelope_check(bytes, size_bytes, s->id_in);
    if (err) { return err; }
    if (e.epoch != (uint32_t)s->peer_epoch) { return STOA_E_STALE; }
    if (s->state != STOA_SESSION_UP) { /* the hello that would make it so is on its way, or lost; this comes again */
        s->counts.early++;
        return STOA_OK;
    }
    return what == STOA_ENVELOPE_PULSE ? stoa_session_take_pulse(s, bytes, size_bytes, now_ns)
                                       : stoa_session_take_data(s, &e, bytes, size_bytes, now_ns);
}

stoa_err stoa_session_take(stoa_session *session, const char *identity, const void *bytes, uint32_t size_bytes,
                           uint64_t now_ns)
{
    session->counts.bytes_received += size_bytes;
    return counted(session, take(session, identity, bytes, size_bytes, now_ns));
}

/* --- time */

uint64_t stoa_session_step(stoa_session *session, uint64_t now_ns)
{
    uint64_t next_ns = UINT64_MAX;
    session->blocked = false;
    if (session->state == STOA_SESSION_UP) { next_ns = stoa_pulse_step(session, now_ns); } /* before what it would wait behind */
    if (session->state == STOA_SESSION_UP) { next_ns = stoa_sooner(next_ns, stoa_transfers_step(session, now_ns)); }
    for (unsigned i = 0; i < STOA_LANE_COUNT; i++) {
        next_ns = stoa_sooner(next_ns, stoa_lane_step(session, (stoa_lane)i, now_ns));
    }
    if (session->state == STOA_SESSION_UP) {
        for (unsigned i = 0; i < STOA_LANE_COUNT; i++) {
            next_ns = stoa_sooner(next_ns, stoa_lane_acknowledge(session, (stoa_lane)i, now_ns));
        }
    }
    if (session->state == STOA_SESSION_GREETING) {
        if (now_ns >= session->hello_due_ns) {
            session->hello_due_ns = now_ns + session->options.heartbeat_ns;
            stoa_session_greet(session, true, now_ns);
        }
        next_ns = stoa_sooner(next_ns, session->hello_due_ns);
    }
    session->stepped_ns = now_ns;
    return next_ns;
}

/* --- the user's side */

uint32_t stoa_session_message_max(const stoa_session *session)
{
    uint32_t frame_bytes = STOA_FRAME_HEAD_BYTES + STOA_FRAME_ADDRESS_BYTES + STOA_FRAME_TIME_BYTES;
    return (session->options.batch_bytes - STOA_BATCH_HEAD_BYTES - frame_bytes) & ~7U;
}

stoa_err stoa_session_put(stoa_session *s, stoa_lane lane, const stoa_frame *what, uint64_t deadline_ns, const stoa_session_part parts[2],
                          uint64_t now_ns)
{
    stoa_lane_out *out = &s->out[lane];
    stoa_frame f = *what;
    uint32_t time_bytes = deadline_ns ? STOA_FRAME_TIME_BYTES : 0;
    if (!stoa_lane_room(s, lane, &f, time_bytes + parts[0].size_bytes + parts[1].size_bytes, now_ns)) { return STOA_E_FULL; }
    out->next_seq++;
    uint8_t *at = f.at + stoa_frame_head_bytes(f.head.flags);
    if (deadline_ns) {
        stoa_batch *b = &out->batches[(out->end - 1) % STOA_SESSION_BATCHES];
        f.head.flags |= STOA_FRAME_TIMED;
        memcpy(at, &deadline_ns, sizeof deadline_ns);
        at += sizeof deadline_ns;
        b->soonest_ns = stoa_sooner(b->soonest_ns, deadline_ns);
        out->soonest_ns = stoa_sooner(out->soonest_ns, deadline_ns);
    }
    memcpy(f.at, &f.head, sizeof f.head);
    for (unsigned i = 0; i < 2; i++) {
        if (parts[i].size_bytes > 0) { memcpy(at, parts[i].bytes, parts[i].size_bytes); }
        at += parts[i].size_bytes;
    }
    return STOA_OK;
}

stoa_err stoa_session_send(stoa_session *session, stoa_lane lane, uint8_t type, uint64_t source, uint64_t target,
                           uint64_t deadline_ns, const void *bytes, uint32_t size_bytes, uint64_t now_ns,
                           uint64_t *seq_out)
{
    if (lane >= STOA_LANE_COUNT) { return STOA_E_INVALID; }
    if (size_bytes > stoa_session_message_max(session)) { return STOA_E_TOO_LARGE; }
    const stoa_frame f = {.head = {.type = STOA_FRAME_MESSAGE, .user = type}, .source = source, .target = target};
    const stoa_session_part parts[2] = {{bytes, size_bytes}};
    stoa_err err = stoa_session_put(session, lane, &f, deadline_ns, parts, now_ns);
    if (err) {
        session->counts.full++;
        return err;
    }
    session->counts.sent++;
    *seq_out = session->out[lane].next_seq - 1;
    return STOA_OK;
}

void stoa_session_consumed(stoa_session *session, stoa_lane lane, uint64_t credit_bytes)
{
    stoa_lane_in *in = &session->in[lane];
    if (!session->options.consumes) { return; }
    in->consumed += credit_bytes;
    if (in->consumed > in->bytes) { in->consumed = in->bytes; } /* of a session that has been reset since */
}

stoa_err stoa_session_epoch(stoa_session *session, uint64_t epoch, uint64_t now_ns)
{
    if (epoch < session->options.epoch) { return STOA_E_STALE; }
    session->options.epoch = epoch;
    session->refusals = 0;
    if (session->state == STOA_SESSION_UP) { stoa_session_greet(session, false, now_ns); }
    if (session->state == STOA_SESSION_GREETING) { session->hello_due_ns = now_ns; }
    return STOA_OK;
}

const char *stoa_session_peer(const stoa_session *session)
{
    return session->peer;
}

void stoa_session_look(const stoa_session *session, stoa_session_view *out)
{
    *out = (stoa_session_view){
        .state = session->state,
        .peer = session->peer,
        .incarnation = session->options.incarnation,
        .peer_incarnation = session->peer_incarnation,
        .peer_epoch = session->peer_epoch,
        .rtt_ns = session->rtt_ns,
        .rtt_spread_ns = session->rtt_spread_ns,
        .silence_ns = stoa_session_silence_ns(session),
        .counts = session->counts,
        .rtt = &session->rtt,
    };
    for (unsigned i = 0; i < STOA_LANE_COUNT; i++) {
        const stoa_lane_out *lane = &session->out[i];
        stoa_session_lane *is = &out->lanes[i];
        is->queued = lane->next_seq - 1 - lane->acked;
        for (uint64_t b = lane->oldest; b < lane->next; b++) {
            is->in_flight += lane->batches[b % STOA_SESSION_BATCHES].bytes;
        }
        is->limit = lane->flow.limit_bytes;
        is->credit = lane->credit > lane->sent_bytes ? lane->credit - lane->sent_bytes : 0;
        is->acked = lane->acked;
        is->received = session->in[i].next - 1;
        is->next = lane->next_seq;
    }
}
