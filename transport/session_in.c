/* session_in.c - a lane in: batches that come in order are told, all others are not, and the sender hears which it was.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include <stddef.h>
#include <string.h>

#include "transport/session_internal.h"

stoa_lane_mark stoa_lane_mark_of(const stoa_session *s, stoa_lane lane)
{
    const stoa_lane_in *in = &s->in[lane];
    uint64_t consumed = s->options.consumes ? in->consumed : in->bytes;
    return (stoa_lane_mark){.acked = in->next - 1, .credit = consumed + in->window_bytes};
}

void stoa_lane_marked(stoa_session *s, stoa_lane lane)
{
    stoa_lane_in *in = &s->in[lane];
    in->ack_due = in->resend_due = false;
    in->unacked = 0;
    in->told_credit = stoa_lane_mark_of(s, lane).credit;
}

static void ack_soon(stoa_lane_in *in, uint64_t now_ns)
{
    if (!in->ack_due) { in->ack_since_ns = now_ns; }
    in->ack_due = true;
}

/* --- telling */

void stoa_session_tell_expired(stoa_session *s, stoa_lane lane, const stoa_frame *f, const uint8_t *body, uint32_t size_bytes, bool here)
{
    const stoa_session_events *events = s->options.events;
    stoa_session_message message = {.lane = lane, .seq = f->seq};
    if (f->head.type == STOA_FRAME_MESSAGE) {
        message.type = f->head.user;
        message.source = f->source;
        message.target = f->target;
        message.bytes = body;
        message.size_bytes = size_bytes;
    }
    events->expired(events->context, s, &message, here);
}

/* came_ns: when it did. */
static void tell(stoa_session *s, stoa_lane lane, const stoa_frame *f, uint64_t came_ns, uint64_t now_ns)
{
    const stoa_session_events *events = s->options.events;
    const uint8_t *body = f->at + stoa_frame_head_bytes(f->head.flags);
    uint64_t deadline_ns = 0;
    bool expired = f->head.type == STOA_FRAME_EXPIRED;
    if (f->head.flags & STOA_FRAME_TIMED) {
        uint64_t left_ns = stoa_get_u64(body), way_ns = s->rtt_ns / 2;
        body += STOA_FRAME_TIME_BYTES;
        expired = expired || left_ns <= way_ns;
        if (!expired && __builtin_add_overflow(came_ns, left_ns - way_ns, &deadline_ns)) { deadline_ns = UINT64_MAX; }
        expired = expired || deadline_ns <= now_ns;
    }
    uint32_t size_bytes = (uint32_t)(f->at + f->head.size_bytes - body), credit_bytes = (uint32_t)(f->end - f->at);
    if (expired) {
        s->counts.expired_there++;
        stoa_session_consumed(s, lane, credit_bytes);
        stoa_session_tell_expired(s, lane, f, body, size_bytes, false);
        return;
    }
    if (f->head.type != STOA_FRAME_MESSAGE) {
        s->counts.malformed += stoa_transfers_take(s, f, body, size_bytes) != STOA_OK;
        stoa_session_consumed(s, lane, credit_bytes);
        return;
    }
    s->counts.received++;
    const stoa_session_message message = {.lane = lane,
                                          .type = f->head.user,
                                          .seq = f->seq,
                                          .source = f->source,
                                          .target = f->target,
                                          .deadline_ns = deadline_ns,
                                          .bytes = body,
                                          .size_bytes = size_bytes,
                                          .credit_bytes = credit_bytes};
    events->message(events->context, s, &message);
}

/* A batch where it lies: count frames, the first of this number. */
typedef struct batch {
    const uint8_t *frames;
    uint32_t size_bytes, count;
    uint64_t first;
} batch;

/* Count the bytes of frames with numbers from `from` on. */
static uint64_t bytes_from(const batch *b, uint64_t from)
{
    uint64_t bytes = 0;
    stoa_frame f = stoa_frame_before(b->frames, b->first);
    if (b->first >= from) { return b->size_bytes; }
    for (uint32_t i = 0; i < b->count; i++) {
        stoa_frame_next(&f);
        if (f.seq >= from) { bytes += (uint64_t)(f.end - f.at); }
    }
    return bytes;
}

static void frames_take(stoa_session *s, stoa_lane lane, const batch *b, uint64_t came_ns, uint64_t now_ns)
{
    stoa_lane_in *in = &s->in[lane];
    stoa_frame f = stoa_frame_before(b->frames, b->first);
    for (uint32_t i = 0; i < b->count; i++) {
        stoa_frame_next(&f);
        if (f.seq == in->next) {
            in->next++;
            in->bytes += (uint64_t)(f.end - f.at);
            tell(s, lane, &f, came_ns, now_ns);
        } else {
            s->counts.duplicates++;
        }
    }
}

/* --- what came too early */

/* Keep a batch that came before another one, if there is room: what has none is sent again. */
static void keep(stoa_session *s, stoa_lane lane, const batch *b, uint64_t now_ns)
{
    stoa_lane_in *in = &s->in[lane];
    unsigned free = STOA_EARLY_BATCHES;
    in->came = b->first;
    for (unsigned i = 0; i < STOA_EARLY_BATCHES; i++) {
        if (in->early[i].first == b->first) { return; }
        if (in->early[i].first == 0) { free = i; }
    }
    if (free == STOA_EARLY_BATCHES || b->size_bytes > s->options.batch_bytes) { return; }
    in->early[free] = (stoa_early){.first = b->first, .came_ns = now_ns, .count = b->count, .size_bytes = b->size_bytes};
    in->early_count++;
    memcpy(in->early_bytes + (size_t)free * s->options.batch_bytes, b->frames, b->size_bytes);
}

/* What is missing, as it is told; returns its size. */
static uint32_t missing_of(const stoa_lane_in *in, stoa_missing *out)
{
    uint32_t count = 0;
    if (in->early_count == 0) { return 0; }
    out->came = in->came;
    for (unsigned i = 0; i < STOA_EARLY_BATCHES; i++) {
        if (in->early[i].first > 0) { out->kept[count++] = in->early[i].first; }
    }
    return (uint32_t)(offsetof(stoa_missing, kept) + count * sizeof out->kept[0]);
}

static bool is_above_credit(const stoa_session *s, stoa_lane lane, uint64_t new_bytes)
{
    return s->in[lane].bytes + new_bytes > stoa_lane_mark_of(s, lane).credit;
}

/* What was kept and is next now, if anything. */
static bool kept_take(stoa_session *s, stoa_lane lane, uint64_t now_ns)
{
    stoa_lane_in *in = &s->in[lane];
    unsigned i = 0;
    while (i < STOA_EARLY_BATCHES && (in->early[i].first == 0 || in->early[i].first > in->next)) {
        i++;
    }
    if (i == STOA_EARLY_BATCHES) { return false; }
    const stoa_early early = in->early[i];
    const batch b = {in->early_bytes + (size_t)i * s->options.batch_bytes, early.size_bytes, early.count, early.first};
    in->early[i].first = 0;
    in->early_count--;
    if (is_above_credit(s, lane, bytes_from(&b, in->next))) {
        return true;
    } /* sent again, and named then */
    in->unacked++;
    s->counts.batches_received++;
    frames_take(s, lane, &b, early.came_ns, now_ns);
    return true;
}

/* Errors: FULL (above the credit). */
static stoa_err batch_take(stoa_session *s, stoa_lane lane, const batch *b, bool asks, uint64_t now_ns)
{
    stoa_lane_in *in = &s->in[lane];
    ack_soon(in, now_ns);
    if (b->first > in->next) {
        s->counts.gaps++;
        in->resend_due = true;
        keep(s, lane, b, now_ns);
        return STOA_OK;
    }
    if (is_above_credit(s, lane, bytes_from(b, in->next))) { return STOA_E_FULL; }
    in->unacked++;
    s->counts.batches_received++;
    frames_take(s, lane, b, now_ns, now_ns);
    while (in->early_count > 0 && kept_take(s, lane, now_ns)) {}
    if (asks) { in->unacked = STOA_ACK_BATCHES; }
    in->resend_due = in->early_count > 0; /* something else is missing, too */
    return STOA_OK;
}

/* Errors: MALFORMED. */
static stoa_err missing_take(stoa_session *s, const stoa_envelope *e, const uint8_t *body, uint32_t size_bytes,
                             uint64_t now_ns)
{
    stoa_missing missing = {0};
    uint32_t head_bytes = offsetof(stoa_missing, kept),
             count = size_bytes > head_bytes ? (size_bytes - head_bytes) / 8 : 0;
    bool good = size_bytes == 0 || (count > 0 && size_bytes == head_bytes + count * 8 && size_bytes <= sizeof missing);
    if (!good) { return STOA_E_MALFORMED; }
    memcpy(&missing, body, size_bytes);
    stoa_lane_missing(s, stoa_envelope_lane(e), e->acked, &missing, count, now_ns);
    return STOA_OK;
}

/* Errors: MALFORMED. */
static stoa_err batch_read(batch *b, const uint8_t *body, uint32_t size_bytes)
{
    uint32_t first_bytes = STOA_BATCH_HEAD_BYTES - STOA_ENVELOPE_BYTES;
    if (size_bytes < first_bytes) { return STOA_E_MALFORMED; }
    b->first = stoa_get_u64(body);
    b->frames = body + first_bytes;
    b->size_bytes = size_bytes - first_bytes;
    return stoa_frames_check(b->frames, b->size_bytes, b->count, b->first);
}

stoa_err stoa_session_take_data(stoa_session *s, const stoa_envelope *e, const void *bytes, uint32_t size_bytes,
                                uint64_t now_ns)
{
    stoa_lane lane = stoa_envelope_lane(e);
    const uint8_t *body = (const uint8_t *)bytes + STOA_ENVELOPE_BYTES;
    batch b = {.count = e->count};
    bool misses = e->count == 0 && e->flags & STOA_ENVELOPE_RESEND;
    size_bytes -= STOA_ENVELOPE_BYTES;
    stoa_err err = misses || e->count > 0 || size_bytes == 0 ? STOA_OK : STOA_E_MALFORMED;
    if (!err && e->count > 0) { err = batch_read(&b, body, size_bytes); }
    if (err) { return err; }
    err = stoa_lane_acked(s, lane, (stoa_lane_mark){.acked = e->acked, .credit = e->credit}, now_ns);
    if (err) { return err; }
    if (misses) { return missing_take(s, e, body, size_bytes, now_ns); }
    return e->count > 0 ? batch_take(s, lane, &b, e->flags & STOA_ENVELOPE_ASKS, now_ns) : STOA_OK;
}

/* --- answering */

static bool is_due(const stoa_session *s, stoa_lane lane, uint64_t now_ns)
{
    const stoa_lane_in *in = &s->in[lane];
    if (in->resend_due && now_ns - in->asked_ns > s->rtt_ns / 2) { return true; }
    uint64_t credit = stoa_lane_mark_of(s, lane).credit;
    if (credit - in->told_credit >= in->window_bytes / 4) { return true; }
    return in->ack_due && (in->unacked >= STOA_ACK_BATCHES || now_ns - in->ack_since_ns >= s->options.ack_ns);
}

uint64_t stoa_lane_acknowledge(stoa_session *s, stoa_lane lane, uint64_t now_ns)
{
    stoa_lane_in *in = &s->in[lane];
    if (is_due(s, lane, now_ns) && !s->blocked) {
        stoa_lane_mark mark = stoa_lane_mark_of(s, lane);
        uint8_t flags = stoa_envelope_flags(STOA_ENVELOPE_DATA, lane);
        struct {
            stoa_envelope e;
            stoa_missing body;
        } piece = {
            .e = {.flags = in->resend_due ? (uint8_t)(flags | STOA_ENVELOPE_RESEND) : flags,
                  .epoch = (uint32_t)s->options.epoch,
                  .acked = mark.acked,
                  .credit = mark.credit},
        };
        uint32_t size_bytes = STOA_ENVELOPE_BYTES + (in->resend_due ? missing_of(in, &piece.body) : 0);
        stoa_envelope_seal(&piece.e, size_bytes, s->id_out);
        stoa_err err = s->link->ops->send(s->link, s->link_peer, &piece, size_bytes);
        s->blocked = s->blocked || err == STOA_E_FULL;
        if (!err) {
            if (in->resend_due) { in->asked_ns = now_ns; }
            s->counts.bytes_sent += size_bytes;
            stoa_lane_marked(s, lane);
        }
    }
    return in->ack_due && !s->blocked ? in->ack_since_ns + s->options.ack_ns : UINT64_MAX; /* blocked: the link tells of room */
}
