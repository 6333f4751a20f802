/* session_transfer.c - what is too large for a message: offered with its hash, sent in chunks, checked as a whole.
 *
 *     sender                           receiver
 *     hash all, in slices
 *     OFFER {size, hash}  ----bulk--->  the user says where to, and how much of it is there from before
 *                                       hash that much, in slices
 *                         <-control---  ACCEPT {from, or why not}
 *     CHUNK {hash; bytes} ----bulk--->  in order, each checked, hashed on
 *                         <-control---  DONE {OK, or CORRUPT}
 *
 * The frames' source is the transfer's number; a chunk's target is where it belongs. Lanes lose nothing, so after a
 * reconnect it goes on by itself; after a reset both users are told, and an offer of the same hash finds what was kept (keep.h).
 * An answer that finds the control lane full is given in a later step; there are as many slots as transfers may be under way.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "transport/session_internal.h"

enum { SLICE_BYTES = 256 << 10, CHUNKS_A_STEP = 64, CHUNK_HEAD_BYTES = 8 };

typedef struct offer_body {
    uint64_t size_bytes;
    stoa_hash256 hash;
} offer_body;

typedef struct answer_body { /* of ACCEPT and DONE */
    uint64_t from;
    int64_t err;
} answer_body;

static stoa_err put(stoa_session *s, stoa_lane lane, stoa_frame_type type, uint64_t id, uint64_t target,
                    const void *body, uint32_t body_bytes, const void *more, uint32_t more_bytes, uint64_t now_ns)
{
    const stoa_frame f = {.head = {.type = (uint8_t)type}, .source = id, .target = target};
    const stoa_session_part parts[2] = {{body, body_bytes}, {more, more_bytes}};
    bool wanted = s->out[lane].wants_room;
    stoa_err err = stoa_session_put(s, lane, &f, 0, parts, now_ns);
    s->out[lane].wants_room = wanted; /* that is the user's */
    return err;
}

/* --- out */

stoa_err stoa_session_transfer(stoa_session *session, uint64_t target, const void *bytes, uint64_t size_bytes,
                               uint64_t *id_out)
{
    if (!session->options.transfers || !bytes || size_bytes == 0) { return STOA_E_INVALID; }
    stoa_transfer_out *out = session->transfers_out;
    while (out < session->transfers_out + STOA_TRANSFERS && out->state != STOA_OUT_FREE) {
        out++;
    }
    if (out == session->transfers_out + STOA_TRANSFERS) { return STOA_E_FULL; }
    *out = (stoa_transfer_out){.state = STOA_OUT_HASHING,
                               .id = ++session->last_transfer,
                               .target = target,
                               .size_bytes = size_bytes,
                               .bytes = bytes};
    stoa_hash256_begin(&out->run);
    *id_out = out->id;
    return STOA_OK;
}

static void gone(stoa_session *s, stoa_transfer_out *out, stoa_err why)
{
    out->state = STOA_OUT_FREE;
    s->options.transfers->gone(s->options.transfers->context, s, out->id, why);
}

/* Hash a slice of bytes from *at on; true when that was the last of them. */
static bool hash_slice(stoa_hash256_run *run, const uint8_t *bytes, uint64_t size_bytes, uint64_t *at)
{
    uint64_t left_bytes = size_bytes - *at, slice_bytes = left_bytes < SLICE_BYTES ? left_bytes : SLICE_BYTES;
    stoa_hash256_add(run, bytes + *at, slice_bytes);
    *at += slice_bytes;
    return *at == size_bytes;
}

static void chunks_send(stoa_session *s, stoa_transfer_out *out, uint64_t now_ns)
{
    const stoa_lane_out *lane = &s->out[STOA_LANE_BULK];
    uint32_t most_bytes = stoa_session_message_max(s) - CHUNK_HEAD_BYTES;
    for (uint32_t i = 0; i < CHUNKS_A_STEP && out->at < out->size_bytes; i++) {
        if (lane->tail - lane->head > lane->window_bytes / 2) { return; } /* the rest is for messages */
        uint64_t left_bytes = out->size_bytes - out->at;
        uint32_t size_bytes = left_bytes < most_bytes ? (uint32_t)left_bytes : most_bytes;
        uint64_t hash = stoa_hash64(out->at, out->bytes + out->at, size_bytes);
        stoa_err err = put(s, STOA_LANE_BULK, STOA_FRAME_CHUNK, out->id, out->at, &hash, sizeof hash,
                           out->bytes + out->at, size_bytes, now_ns);
        if (err) { return; }
        out->at += size_bytes;
    }
    if (out->at == out->size_bytes) { out->state = STOA_OUT_SENT; }
}

/* Returns whether it can go on by itself. */
static bool out_step(stoa_session *s, stoa_transfer_out *out, uint64_t now_ns)
{
    if (out->state == STOA_OUT_HASHING) {
        if (!hash_slice(&out->run, out->bytes, out->size_bytes, &out->at)) { return true; }
        stoa_hash256_end(&out->run, &out->hash);
        out->state = STOA_OUT_OFFERING;
    }
    if (out->state == STOA_OUT_OFFERING) {
        offer_body body = {.size_bytes = out->size_bytes, .hash = out->hash};
        stoa_err err =
            put(s, STOA_LANE_BULK, STOA_FRAME_OFFER, out->id, out->target, &body, sizeof body, NULL, 0, now_ns);
        if (!err) { out->state = STOA_OUT_OFFERED; }
    }
    if (out->state == STOA_OUT_SENDING) { chunks_send(s, out, now_ns); }
    return false; /* what is left waits for room or for an answer */
}

static stoa_err take_answer(stoa_session *s, const stoa_frame *f, const uint8_t *body, uint32_t size_bytes)
{
    answer_body answer;
    stoa_transfer_out *out = s->transfers_out;
    if (size_bytes != sizeof answer) { return STOA_E_MALFORMED; }
    memcpy(&answer, body, sizeof answer);
    while (out < s->transfers_out + STOA_TRANSFERS && (out->state == STOA_OUT_FREE || out->id != f->source)) {
        out++;
    }
    bool known = out < s->transfers_out + STOA_TRANSFERS && answer.err <= 0 && answer.err > -1000;
    if (known && answer.err && out->state >= STOA_OUT_OFFERED) {
        gone(s, out, (stoa_err)answer.err);
        return STOA_OK;
    }
    if (known && f->head.type == STOA_FRAME_ACCEPT && out->state == STOA_OUT_OFFERED && answer.from <= out->size_bytes) {
        out->at = answer.from;
        out->state = out->at == out->size_bytes ? STOA_OUT_SENT : STOA_OUT_SENDING;
        return STOA_OK;
    }
    if (known && f->head.type == STOA_FRAME_DONE && out->state == STOA_OUT_SENT) {
        gone(s, out, STOA_OK);
        return STOA_OK;
    }
    return STOA_E_MALFORMED;
}

/* --- in */

static void came(stoa_session *s, stoa_transfer_in *in, stoa_err why)
{
    in->state = STOA_IN_DONE; /* it is to be answered */
    in->err = why;
    s->options.transfers->came(s->options.transfers->context, s, &in->offer, in->have, why);
}

static stoa_transfer_in *in_find(stoa_session *s, uint64_t id)
{
    for (unsigned i = 0; i < STOA_TRANSFERS; i++) {
        stoa_transfer_in *in = &s->transfers_in[i];
        if (in->state != STOA_IN_FREE && in->offer.id == id) { return in; }
    }
    return NULL;
}

/* A proper sender has no more than STOA_TRANSFERS under way, of different numbers. */
static stoa_err take_offer(stoa_session *s, const stoa_frame *f, const uint8_t *body, uint32_t size_bytes)
{
    offer_body offer;
    stoa_transfer_in *in = s->transfers_in;
    while (in < s->transfers_in + STOA_TRANSFERS && in->state != STOA_IN_FREE) {
        in++;
    }
    if (size_bytes != sizeof offer || in == s->transfers_in + STOA_TRANSFERS || in_find(s, f->source)) {
        return STOA_E_MALFORMED;
    }
    memcpy(&offer, body, sizeof offer);
    if (offer.size_bytes == 0) { return STOA_E_MALFORMED; }
    *in = (stoa_transfer_in){.state = STOA_IN_HASHING};
    in->offer =
        (stoa_transfer){.id = f->source, .target = f->target, .size_bytes = offer.size_bytes, .hash = offer.hash};
    stoa_hash256_begin(&in->run);
    void *into = NULL;
    const stoa_transfer_events *user = s->options.transfers;
    in->err = user ? user->offered(user->context, s, &in->offer, &into, &in->have) : STOA_E_UNSUPPORTED;
    STOA_ASSERT(in->err || (into && in->have <= offer.size_bytes));
    in->bytes = into;
    if (in->err) { in->state = STOA_IN_DONE; }
    return STOA_OK;
}

static void finish(stoa_session *s, stoa_transfer_in *in)
{
    stoa_hash256 is;
    stoa_hash256_end(&in->run, &is);
    bool same = memcmp(&is, &in->offer.hash, sizeof is) == 0;
    if (!same) { in->have = 0; } /* nobody knows which part is wrong */
    came(s, in, same ? STOA_OK : STOA_E_CORRUPT);
}

static stoa_err take_chunk(stoa_session *s, const stoa_frame *f, const uint8_t *body, uint32_t size_bytes)
{
    uint64_t hash;
    stoa_transfer_in *in = in_find(s, f->source);
    if (size_bytes <= sizeof hash) { return STOA_E_MALFORMED; }
    if (!in || in->state != STOA_IN_COMING) { return STOA_OK; } /* it has ended here, and the sender will hear */
    memcpy(&hash, body, sizeof hash);
    body += sizeof hash;
    size_bytes -= (uint32_t)sizeof hash;
    bool fits = f->target == in->have && size_bytes <= in->offer.size_bytes - in->have;
    if (!fits || hash != stoa_hash64(f->target, body, size_bytes)) {
        came(s, in, STOA_E_CORRUPT);
        return STOA_E_MALFORMED;
    }
    memcpy(in->bytes + in->have, body, size_bytes);
    stoa_hash256_add(&in->run, body, size_bytes);
    in->have += size_bytes;
    in->hashed = in->have;
    const stoa_transfer_events *user = s->options.transfers;
    if (user->grew) { user->grew(user->context, s, &in->offer, in->have); }
    if (in->have == in->offer.size_bytes) { finish(s, in); }
    return STOA_OK;
}

/* Returns whether it can go on by itself. */
static bool in_step(stoa_session *s, stoa_transfer_in *in, uint64_t now_ns)
{
    if (in->state == STOA_IN_HASHING) {
        if (in->have > 0 && !hash_slice(&in->run, in->bytes, in->have, &in->hashed)) { return true; }
        in->state = STOA_IN_ACCEPTING;
    }
    if (in->state == STOA_IN_ACCEPTING) {
        answer_body body = {.from = in->have};
        stoa_err err =
            put(s, STOA_LANE_CONTROL, STOA_FRAME_ACCEPT, in->offer.id, 0, &body, sizeof body, NULL, 0, now_ns);
        if (err) { return false; }
        in->state = STOA_IN_COMING;
        if (in->have == in->offer.size_bytes) { finish(s, in); }
    }
    if (in->state == STOA_IN_DONE) {
        answer_body body = {.from = in->have, .err = in->err};
        stoa_err err = put(s, STOA_LANE_CONTROL, STOA_FRAME_DONE, in->offer.id, 0, &body, sizeof body, NULL, 0, now_ns);
        if (!err) { in->state = STOA_IN_FREE; }
    }
    return false;
}

/* --- both */

stoa_err stoa_transfers_take(stoa_session *s, const stoa_frame *f, const uint8_t *body, uint32_t size_bytes)
{
    switch (f->head.type) {
    case STOA_FRAME_OFFER: return take_offer(s, f, body, size_bytes);
    case STOA_FRAME_CHUNK: return take_chunk(s, f, body, size_bytes);
    default: return take_answer(s, f, body, size_bytes);
    }
}

uint64_t stoa_transfers_step(stoa_session *s, uint64_t now_ns)
{
    bool more = false;
    for (unsigned i = 0; i < STOA_TRANSFERS; i++) {
        if (s->transfers_in[i].state != STOA_IN_FREE) { more = in_step(s, &s->transfers_in[i], now_ns) || more; }
        if (s->transfers_out[i].state != STOA_OUT_FREE) { more = out_step(s, &s->transfers_out[i], now_ns) || more; }
    }
    return more ? now_ns : UINT64_MAX;
}

void stoa_transfers_reset(stoa_session *s)
{
    for (unsigned i = 0; i < STOA_TRANSFERS; i++) {
        stoa_transfer_in *in = &s->transfers_in[i];
        if (in->state != STOA_IN_FREE && in->state != STOA_IN_DONE) { came(s, in, STOA_E_CLOSED); }
        in->state = STOA_IN_FREE;
        if (s->transfers_out[i].state != STOA_OUT_FREE) { gone(s, &s->transfers_out[i], STOA_E_CLOSED); }
    }
}
