/* session_out.c - a lane out: a ring of batches, each of which waits there until it is acknowledged.
 *
 *        head                                        tail
 *     ...|  sent  |  sent  | to be sent | to be sent ...|      bytes: ring[position % window], batch after batch
 *         oldest            next                      end      batches
 *
 * A message is written once, to where it is sent from. Before a batch is sent for the first time its messages whose time is
 * over are cut down to heads that say so (EXPIRED), because their numbers are given; from then on it does not change, but
 * for its envelope and for what its timed messages have left.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "transport/session_internal.h"

enum { BACKOFF_MAX = 6, FIRST_BEATS = 4 };

static stoa_batch *batch_at(const stoa_lane_out *out, uint64_t index)
{
    return &out->batches[index % STOA_SESSION_BATCHES];
}

static uint8_t *bytes_of(const stoa_lane_out *out, const stoa_batch *b)
{
    return out->ring + b->offset;
}

static uint32_t frames_bytes(const stoa_batch *b)
{
    return b->bytes - STOA_BATCH_HEAD_BYTES;
}

void stoa_lane_clear(stoa_session *s, stoa_lane lane)
{
    stoa_lane_out *out = &s->out[lane];
    stoa_lane_in *in = &s->in[lane];
    out->oldest = out->next = out->end = out->head = out->tail = 0;
    out->next_seq = 1;
    out->acked = out->sent_seq = out->sent_bytes = out->credit = 0;
    out->again = out->again_end = out->unclear = out->moved_ns = out->flow.held = out->flow.flight_bytes = 0;
    out->soonest_ns = UINT64_MAX;
    out->backoff = 0;
    out->open = out->wants_room = false;
    *in = (stoa_lane_in){.next = 1, .window_bytes = in->window_bytes, .early_bytes = in->early_bytes};
}

/* --- queueing */

/* A new batch, if there is room for it and a first frame of so many bytes. */
static bool batch_begin(stoa_session *s, stoa_lane_out *out, uint32_t frame_bytes, uint64_t now_ns)
{
    bool full = out->tail + STOA_BATCH_HEAD_BYTES + frame_bytes > out->head + out->window_bytes;
    if (full || out->end - out->oldest == STOA_SESSION_BATCHES) { return false; }
    *batch_at(out, out->end++) = (stoa_batch){.first = out->next_seq,
                                              .sent_ns = now_ns,
                                              .soonest_ns = UINT64_MAX,
                                              .offset = (uint32_t)(out->tail % out->window_bytes),
                                              .span_bytes = STOA_BATCH_HEAD_BYTES,
                                              .bytes = STOA_BATCH_HEAD_BYTES};
    out->tail += STOA_BATCH_HEAD_BYTES;
    out->takes_bytes = stoa_flow_batch_bytes(s, out);
    out->open = true;
    return true;
}

/* Whether the open batch takes so many bytes more, of one frame; if not it is closed and sent, for what follows begins another. */
static bool batch_takes(stoa_session *s, stoa_lane lane, uint32_t frame_bytes, uint64_t now_ns)
{
    stoa_lane_out *out = &s->out[lane];
    const stoa_batch *b = batch_at(out, out->end - 1);
    if (b->bytes + frame_bytes <= out->takes_bytes && b->count < STOA_BATCH_FRAMES_MAX) { return true; }
    out->open = false;
    stoa_lane_flush(s, lane, false, now_ns);
    return false;
}

bool stoa_lane_room(stoa_session *s, stoa_lane lane, stoa_frame *f, uint32_t size_bytes, uint64_t now_ns)
{
    stoa_lane_out *out = &s->out[lane];
    bool same = out->open && f->source == out->source && f->target == out->target;
    f->head.flags = same ? 0 : STOA_FRAME_ADDRESSED;
    f->head.size_bytes = stoa_frame_head_bytes(f->head.flags) + size_bytes;
    uint32_t frame_bytes = stoa_frame_room(f->head.size_bytes);
    bool takes = out->open && batch_takes(s, lane, frame_bytes, now_ns);
    if (!takes && same) {
        f->head.flags = STOA_FRAME_ADDRESSED;
        f->head.size_bytes += STOA_FRAME_ADDRESS_BYTES;
        frame_bytes += STOA_FRAME_ADDRESS_BYTES;
    }
    if (takes ? out->tail + frame_bytes > out->head + out->window_bytes : !batch_begin(s, out, frame_bytes, now_ns)) {
        out->wants_room = true;
        return false;
    }
    stoa_batch *b = batch_at(out, out->end - 1);
    f->at = bytes_of(out, b) + b->bytes;
    f->end = f->at + frame_bytes;
    memset(f->end - 8, 0, 8); /* what fills it up */
    if (!same || !takes) {
        stoa_put_u64(f->at + STOA_FRAME_HEAD_BYTES, out->source = f->source);
        stoa_put_u64(f->at + STOA_FRAME_HEAD_BYTES + 8, out->target = f->target);
    }
    b->bytes += frame_bytes;
    b->span_bytes += frame_bytes;
    b->count++;
    out->tail += frame_bytes;
    return true;
}

/* --- deadlines */

/* Where what is left of a message's time lies. */
static uint8_t *time_of(const stoa_frame *f)
{
    return f->at + stoa_frame_head_bytes(f->head.flags);
}

/* Tell of a message, and say in its place that it is over; returns what that takes. */
static uint32_t expire(stoa_session *s, stoa_lane lane, const stoa_frame *f, uint8_t *to)
{
    const uint8_t *body = time_of(f) + STOA_FRAME_TIME_BYTES;
    stoa_frame_head head = {.type = STOA_FRAME_EXPIRED, .flags = f->head.flags & STOA_FRAME_ADDRESSED};
    head.size_bytes = stoa_frame_head_bytes(head.flags);
    s->counts.expired_here++;
    stoa_session_tell_expired(s, lane, f, body, (uint32_t)(f->at + f->head.size_bytes - body), true);
    memmove(to, f->at, head.size_bytes); /* its addresses hold for what follows */
    memcpy(to, &head, sizeof head);
    return head.size_bytes;
}

/* Of a batch that was never sent, and takes no more: cut down the messages whose time is over. */
static void drop_expired(stoa_session *s, stoa_lane lane, stoa_batch *b, uint64_t now_ns)
{
    uint8_t *bytes = bytes_of(&s->out[lane], b), *to = bytes + STOA_BATCH_HEAD_BYTES;
    stoa_frame f = stoa_frame_before(to, b->first);
    b->soonest_ns = UINT64_MAX;
    s->busy = true;
    for (uint32_t i = 0; i < b->count; i++) {
        stoa_frame_next(&f);
        uint64_t deadline_ns = f.head.flags & STOA_FRAME_TIMED ? stoa_get_u64(time_of(&f)) : UINT64_MAX;
        if (deadline_ns <= now_ns) {
            to += expire(s, lane, &f, to);
        } else {
            memmove(to, f.at, (size_t)(f.end - f.at));
            to += f.end - f.at;
            b->soonest_ns = stoa_sooner(b->soonest_ns, deadline_ns);
        }
    }
    s->busy = false;
    b->bytes = (uint32_t)(to - bytes);
}

/* What is left of each timed message: of its deadline at first, then of what was left when it was sent last. */
static void tell_time_left(stoa_lane_out *out, stoa_batch *b, uint64_t now_ns)
{
    stoa_frame f = stoa_frame_before(bytes_of(out, b) + STOA_BATCH_HEAD_BYTES, b->first);
    uint64_t gone_ns = b->fixed ? now_ns - b->sent_ns : now_ns;
    if (b->soonest_ns == UINT64_MAX) { return; }
    for (uint32_t i = 0; i < b->count; i++) {
        stoa_frame_next(&f);
        if (!(f.head.flags & STOA_FRAME_TIMED)) { continue; }
        uint64_t time_ns = stoa_get_u64(time_of(&f));
        stoa_put_u64(time_of(&f), time_ns > gone_ns ? time_ns - gone_ns : 0);
    }
}

/* --- sending */

static bool batch_send(stoa_session *s, stoa_lane lane, stoa_batch *b, uint64_t now_ns)
{
    stoa_lane_out *out = &s->out[lane];
    uint8_t *bytes = bytes_of(out, b);
    stoa_lane_mark mark = stoa_lane_mark_of(s, lane);
    uint8_t flags = stoa_envelope_flags(STOA_ENVELOPE_DATA, lane);
    if (s->bare) { flags |= STOA_ENVELOPE_BARE; }
    if (stoa_flow_is_full(s, out, b->span_bytes)) { flags |= STOA_ENVELOPE_ASKS; }
    stoa_envelope e = {.flags = flags,
                       .count = (uint16_t)b->count,
                       .epoch = (uint32_t)s->options.epoch,
                       .acked = mark.acked,
                       .credit = mark.credit};
    tell_time_left(out, b, now_ns);
    b->sent_ns = now_ns;
    memcpy(bytes, &e, sizeof e);
    stoa_put_u64(bytes + sizeof e, b->first);
    stoa_envelope_seal((stoa_envelope *)(void *)bytes, b->bytes, s->id_out);
    if (!b->fixed) { /* whether the link takes it now or later */
        b->fixed = true;
        out->sent_bytes += frames_bytes(b);
        out->sent_seq = b->first + b->count - 1;
    }
    stoa_err err = s->link->ops->send(s->link, s->link_peer, bytes, b->bytes);
    s->blocked = s->blocked || err == STOA_E_FULL;
    if (err) { return false; }
    s->counts.resent += b->sends++ > 0;
    s->counts.batches_sent++;
    s->counts.bytes_sent += b->bytes;
    stoa_lane_marked(s, lane);
    return true;
}

/* What is missing on the other side. */
static void send_again(stoa_session *s, stoa_lane lane, uint64_t now_ns)
{
    stoa_lane_out *out = &s->out[lane];
    if (out->again < out->oldest) { out->again = out->oldest; }
    while (out->again < out->again_end && s->state == STOA_SESSION_UP && !s->blocked) {
        stoa_batch *b = batch_at(out, out->again);
        if (b->missing && !batch_send(s, lane, b, now_ns)) { return; }
        b->missing = false;
        out->again++;
    }
}

void stoa_lane_flush(stoa_session *s, stoa_lane lane, bool all, uint64_t now_ns)
{
    stoa_lane_out *out = &s->out[lane];
    if (s->busy) { return; }
    send_again(s, lane, now_ns);
    while (out->next < out->end && s->state == STOA_SESSION_UP && !s->blocked) {
        stoa_batch *b = batch_at(out, out->next);
        bool is_open = out->open && out->next == out->end - 1;
        if (out->next - out->oldest >= out->quota) { return; }
        if (is_open && !all && now_ns - b->sent_ns < s->options.batch_ns) { return; }
        if (!b->fixed && out->sent_bytes + frames_bytes(b) > out->credit) { return; }
        if (!stoa_flow_lets(out, b->span_bytes)) {
            out->flow.held = out->next;
            return;
        }
        if (is_open) { out->open = false; }
        if (!b->fixed && b->soonest_ns <= now_ns) { drop_expired(s, lane, b, now_ns); }
        if (!batch_send(s, lane, b, now_ns)) { return; }
        out->flow.flight_bytes += b->span_bytes;
        out->next++;
    }
}

/* --- what the other side says */

void stoa_lane_rewind(stoa_session *s, stoa_lane lane)
{
    stoa_lane_out *out = &s->out[lane];
    if (out->unclear < out->next) { out->unclear = out->next; }
    out->next = out->again = out->again_end = out->oldest;
    out->flow.flight_bytes = 0;
}

/* When the batch that begins with this number was sent; 0: it is not in flight. */
static uint64_t sent_ns_of(const stoa_lane_out *out, uint64_t first)
{
    uint64_t i = out->oldest;
    while (i < out->next && batch_at(out, i)->first != first) {
        i++;
    }
    return i < out->next ? batch_at(out, i)->sent_ns : 0;
}

static bool is_kept(const stoa_missing *what, uint32_t kept_count, uint64_t first)
{
    uint32_t i = 0;
    while (i < kept_count && what->kept[i] != first) {
        i++;
    }
    return i < kept_count;
}

void stoa_lane_missing(stoa_session *s, stoa_lane lane, uint64_t acked, const stoa_missing *what, uint32_t kept_count,
                       uint64_t now_ns)
{
    stoa_lane_out *out = &s->out[lane];
    uint64_t last = 0, late_ns = s->rtt_ns + s->rtt_spread_ns, came_ns = sent_ns_of(out, what->came), bytes = 0;
    if (acked != out->acked || out->oldest == out->next) { return; }
    for (uint32_t i = 0; i < kept_count; i++) {
        last = what->kept[i] > last ? what->kept[i] : last;
    }
    out->again = out->again_end = out->oldest;
    for (uint64_t i = out->oldest; i < out->next && (last == 0 || batch_at(out, i)->first < last); i++) {
        stoa_batch *b = batch_at(out, i);
        /* Lost is what something sent later has overtaken, or what had the time to arrive; else it is on its way. */
        b->missing = (b->sent_ns < came_ns || now_ns - b->sent_ns > late_ns) && !is_kept(what, kept_count, b->first);
        if (!b->missing) { continue; }
        bytes += b->span_bytes;
        if (bytes > out->flow.limit_bytes && out->again_end > out->oldest) { break; } /* the rest is asked for again */
        out->again_end = i + 1;
    }
    if (out->again_end == out->oldest) { return; }
    if (out->oldest >= out->unclear) { stoa_flow_lost(out); } /* once for all that was in flight together */
    out->unclear = out->next;
}

/* Up to where it has arrived: bytes that were in flight. */
static uint64_t forget_acked(stoa_session *s, stoa_lane_out *out, uint64_t now_ns)
{
    uint64_t bytes = 0, sent_ns = UINT64_MAX;
    while (out->oldest < out->end) {
        stoa_batch *b = batch_at(out, out->oldest);
        if (b->sends == 0 || b->first + b->count - 1 > out->acked) { break; }
        if (out->oldest < out->next) {
            bytes += b->span_bytes;
            if (b->sends == 1 && out->oldest >= out->unclear) {
                sent_ns = b->sent_ns;
            } /* Karn: else it may be the answer to any */
        }
        out->head += b->span_bytes;
        out->oldest++;
    }
    if (sent_ns != UINT64_MAX) {
        out->backoff = 0;
        s->carries_known = true;
        stoa_session_rtt(s, now_ns - sent_ns, now_ns);
    }
    if (bytes > 0) { out->moved_ns = now_ns; }
    return bytes;
}

stoa_err stoa_lane_mark_check(const stoa_session *s, stoa_lane lane, stoa_lane_mark mark)
{
    return mark.acked > s->out[lane].sent_seq ? STOA_E_FORKED : STOA_OK;
}

stoa_err stoa_lane_acked(stoa_session *s, stoa_lane lane, stoa_lane_mark mark, uint64_t now_ns)
{
    stoa_lane_out *out = &s->out[lane];
    stoa_err err = stoa_lane_mark_check(s, lane, mark);
    if (err) { return err; }
    if (mark.credit > out->credit) { out->credit = mark.credit; }
    if (mark.acked <= out->acked) { return STOA_OK; }
    out->acked = mark.acked;
    uint64_t bytes = forget_acked(s, out, now_ns);
    if (bytes > 0) { stoa_pulse_confirmed(s, now_ns); }
    out->flow.flight_bytes -= bytes;
    stoa_flow_acked(s, out, bytes);
    if (out->next < out->oldest) { out->next = out->oldest; }
    STOA_ASSERT(out->oldest < out->end || out->head == out->tail);
    if (out->wants_room) {
        out->wants_room = false;
        s->options.events->room(s->options.events->context, s, lane);
    }
    return STOA_OK;
}

/* --- time */

/* When the oldest batch on its way is taken for lost: not while others arrive one after the other (RFC 6298, 5.3). */
static uint64_t lost_ns(const stoa_session *s, const stoa_lane_out *out)
{
    if (out->oldest == out->next) { return UINT64_MAX; }
    uint64_t first_ns = s->carries_known ? 0 : FIRST_BEATS * s->options.heartbeat_ns, wait_ns = stoa_session_timeout_ns(s);
    wait_ns = (wait_ns > first_ns ? wait_ns : first_ns) << out->backoff;
    uint64_t from_ns = batch_at(out, out->oldest)->sent_ns;
    if (from_ns < out->moved_ns) { from_ns = out->moved_ns; }
    return from_ns + stoa_sooner(wait_ns, s->options.silence_max_ns);
}

/* Batches that wait are looked through when the first deadline of one is over; returns the next deadline. */
static uint64_t drop_waiting(stoa_session *s, stoa_lane lane, uint64_t now_ns)
{
    stoa_lane_out *out = &s->out[lane];
    uint64_t next_ns = UINT64_MAX;
    if (out->soonest_ns > now_ns) { return out->soonest_ns; }
    for (uint64_t i = out->next; i < out->end; i++) {
        stoa_batch *b = batch_at(out, i);
        if (b->fixed) { continue; }
        if (b->soonest_ns <= now_ns) {
            if (i == out->end - 1) { out->open = false; }
            drop_expired(s, lane, b, now_ns);
        }
        next_ns = stoa_sooner(next_ns, b->soonest_ns);
    }
    out->soonest_ns = next_ns;
    return next_ns;
}

uint64_t stoa_lane_step(stoa_session *s, stoa_lane lane, uint64_t now_ns)
{
    stoa_lane_out *out = &s->out[lane];
    if (out->oldest == out->end) { return UINT64_MAX; }
    if (s->state == STOA_SESSION_UP && now_ns >= lost_ns(s, out)) {
        stoa_flow_timeout(out);
        stoa_lane_rewind(s, lane);
        if (out->backoff < BACKOFF_MAX) { out->backoff++; }
    }
    stoa_lane_flush(s, lane, false, now_ns);
    uint64_t next_ns = drop_waiting(s, lane, now_ns);
    if (s->state != STOA_SESSION_UP) { return next_ns; }
    /* A batch that is ripe and still here waits for credit, not for time. */
    uint64_t ripe_ns = out->open ? batch_at(out, out->end - 1)->sent_ns + s->options.batch_ns : 0;
    if (ripe_ns > now_ns) { next_ns = stoa_sooner(next_ns, ripe_ns); }
    return stoa_sooner(next_ns, lost_ns(s, out));
}
