/* fabric/batch.c - what goes over the carrier: batches of frames, and messages that only tell how far one has read.
 *
 *     header   u32 magic, u8 kind, 3 zero bytes, u64 token, u64 number, u64 position, u64 acked, u32 size, u32 zero, tag
 *     body     a batch (fabric/ring.h), size bytes; of a credit nothing
 *
 * The token is the receiver's, from its OFFER; it names the connection. acked is the position below which the sender of
 * the message has read all. With encryption the tag covers the header but itself, and the body is sealed: batches and
 * credits are numbered apart, each number comes once.
 *
 * What is not genuine - an unknown token, a number that came before, a tag that is wrong - is dropped, counted and told as a
 * refusal, and no connection suffers: whoever reaches the carrier's port can send such a thing in any connection's name. So a
 * sealed batch lands in the connection's pen, and gets its place and number when its tag is right. Nothing that is genuine is
 * ever dropped alone, for it would not come again: where the pen is full of what never lands, where a body stays away, or
 * a proven batch makes no sense, the connection ends. A down is better than a wait for ever.
 *
 * Who has not said OFFER has no batches: only a credit may overtake it.
 *
 * What is dropped may have been genuine and spoilt on the way. So who has sent batches that nobody has acknowledged asks with
 * a credit each half second: its position, else 0, is how many batches its carrier has done with. They came before the
 * credit did, and where the one that is due is not there two ticks later the connection ends as CORRUPT. The answer is a
 * credit, which makes good one that was spoilt. All that is said is sealed, so no stranger can end a connection so.
 *
 * Without encryption the carrier is trusted, and a message that makes no sense ends its connection.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "transport/bytes.h"
#include "transport/fabric/inner.h"

enum {
    MAGIC = 0x42467453, /* "StFB" */
    KIND_BATCH = 1,
    KIND_CREDIT = 2,
    AT_KIND = 4,
    AT_TOKEN = 8,
    AT_NUMBER = 16,
    AT_POSITION = 24,
    AT_ACKED = 32,
    AT_SIZE = 40,
    AT_TAG = 48,
    HEAD_BYTES = AT_TAG, /* that the tag covers */
};

enum {
    FLIGHT_OPEN_MAX = 2, /* with more, the last batch waits for more frames */
    ACK_SHARE = 4,       /* of the ring; that much may be read and not told */
    MISSED_MAX = 2,      /* ticks that a batch may be late by */
};

/* --- out */

/* position: of the batch, or what a credit says. */
static void header_write(stoa_conn *conn, uint8_t *header, uint64_t number, uint64_t position, const stoa_batch *batch)
{
    memset(header, 0, STOA_CARRIER_HEADER_BYTES);
    stoa_put_u32(header, MAGIC);
    header[AT_KIND] = batch ? KIND_BATCH : KIND_CREDIT;
    stoa_put_u64(header + AT_TOKEN, conn->other_token);
    stoa_put_u64(header + AT_NUMBER, number);
    stoa_put_u64(header + AT_POSITION, position);
    stoa_put_u64(header + AT_ACKED, conn->in.read);
    stoa_put_u32(header + AT_SIZE, batch ? batch->bytes : 0);
    conn->acked = conn->in.read;
    if (!conn->encrypted) { return; }
    stoa_secure_seal(batch ? &conn->batch_out : &conn->credit_out, number, header, HEAD_BYTES,
                     batch ? stoa_out_bytes(&conn->out, batch) : NULL, batch ? batch->bytes : 0, header + AT_TAG);
}

static bool is_whole(const stoa_conn *conn)
{
    return !conn->lost && !conn->broken;
}

/* Errors: AGAIN; CLOSED, and the connection is broken. */
static stoa_err post(stoa_conn *conn, stoa_parcel *parcel, const void *body, uint32_t body_bytes)
{
    stoa_fabric *link = conn->link;
    parcel->on_wire = true;
    conn->on_wire++;
    stoa_err err = link->kind->send(link->carrier, conn->end, parcel->header, body, body_bytes, parcel);
    if (!err) { return STOA_OK; }
    parcel->on_wire = false;
    conn->on_wire--;
    if (err == STOA_E_AGAIN) {
        stoa_fabric_mark(link->dirty, conn->slot);
        stoa_link_timer_set(&link->timer, 1);
    } else {
        stoa_conn_break(conn);
    }
    return err;
}

/* Send a credit that is written: the same bytes until the wire takes them. */
static void post_credit(stoa_conn *conn, stoa_parcel *parcel)
{
    conn->credit = NULL;
    if (post(conn, parcel, NULL, 0) == STOA_E_AGAIN) { conn->credit = parcel; }
}

static void send_credit(stoa_conn *conn, uint64_t done)
{
    if (conn->credit) { return; } /* what it does not say yet is due again when it is gone */
    for (unsigned i = 0; i < STOA_FABRIC_CREDITS; i++) {
        stoa_parcel *parcel = &conn->credits[i];
        if (parcel->on_wire) { continue; }
        header_write(conn, parcel->header, conn->credits_sent++, done, NULL);
        post_credit(conn, parcel);
        return;
    }
    stoa_fabric_mark(conn->link->dirty, conn->slot); /* when a parcel comes back */
}

void stoa_conn_acknowledge(stoa_conn *conn)
{
    send_credit(conn, 0);
}

stoa_err stoa_conn_audit(stoa_conn *conn)
{
    if (!conn->encrypted) { return STOA_OK; } /* the carrier is trusted */
    conn->missed = stoa_in_misses(&conn->in, conn->in_done) ? conn->missed + 1 : 0;
    if (conn->missed > MISSED_MAX) { return STOA_E_CORRUPT; }
    uint64_t done = stoa_out_done_below(&conn->out);
    if (done > conn->out.first) { send_credit(conn, done); }
    return STOA_OK;
}

static void flush_batches(stoa_conn *conn)
{
    while (conn->on_wire < STOA_RING_FLIGHT) {
        stoa_batch *batch = stoa_out_next(&conn->out, conn->on_wire < FLIGHT_OPEN_MAX);
        if (!batch) { return; }
        if (!batch->sealed) { header_write(conn, batch->parcel.header, batch->number, batch->position, batch); }
        batch->sealed = true;
        stoa_out_take(&conn->out);
        stoa_err err = post(conn, &batch->parcel, stoa_out_bytes(&conn->out, batch), batch->bytes);
        if (err == STOA_E_AGAIN) { stoa_out_untake(&conn->out); }
        if (err) { return; }
    }
}

/* Whether the other side may be waiting to hear how far we have read. */
static bool ack_is_due(const stoa_conn *conn)
{
    if (conn->acked == conn->in.read) { return false; }
    return conn->hurried || conn->in.next - conn->in_told >= STOA_RING_BATCHES / ACK_SHARE ||
           conn->in.read - conn->acked >= conn->in.ring_bytes / ACK_SHARE;
}

void stoa_conn_flush(stoa_conn *conn)
{
    stoa_fabric *link = conn->link;
    stoa_fabric_unmark(link->dirty, conn->slot);
    if (!conn->end || !is_whole(conn) || conn->phase < STOA_PHASE_PROBING || conn->phase > STOA_PHASE_UP) { return; }
    uint64_t acked = conn->acked;
    if (conn->credit) { post_credit(conn, conn->credit); }
    if (conn->puts) { stoa_conn_put_flush(conn); }
    if (is_whole(conn)) { flush_batches(conn); }
    if (is_whole(conn) && (conn->owes || ack_is_due(conn))) { stoa_conn_acknowledge(conn); }
    conn->owes = false;
    if (acked != conn->acked) { conn->in_told = conn->in.next; }
    if (conn->full && (conn->full_acked != conn->out.acked || conn->full_next != conn->out.next)) {
        conn->full = false;
        stoa_fabric_kick(link);
    }
}

/* --- in */

static stoa_conn *conn_of(stoa_fabric *link, uint64_t token)
{
    uint64_t slot = token & ((UINT64_C(1) << STOA_FABRIC_PEER_SLOT_BITS) - 1);
    stoa_conn *conn = slot < link->conn_top ? link->conns[slot] : NULL;
    bool takes = conn && conn->token == token && conn->in.memory && !conn->lost && conn->phase >= STOA_PHASE_OFFER &&
                 conn->phase <= STOA_PHASE_UP;
    return takes ? conn : NULL;
}

static void drop_stray(stoa_fabric *link)
{
    link->counts.frames_dropped++;
    stoa_fabric_refused(link, STOA_E_MALFORMED);
}

/* A message that cannot be; whose fault it is is known only without encryption, or when it was opened. */
static void blame(stoa_conn *conn, bool proven)
{
    drop_stray(conn->link);
    if (proven) { stoa_conn_dismiss(conn, STOA_E_MALFORMED); }
}

/* A genuine message has come. */
static void hear(stoa_conn *conn, const uint8_t *header)
{
    conn->unanswered = 0;
    conn->probed = true;
    stoa_fabric_mark(conn->link->dirty, conn->slot);
    if (conn->out.memory && stoa_out_acked(&conn->out, stoa_get_u64(header + AT_ACKED)) != STOA_OK) {
        blame(conn, true);
        return;
    }
    stoa_conn_rise(conn);
}

static void take_credit(stoa_conn *conn, const uint8_t *header)
{
    uint64_t number = stoa_get_u64(header + AT_NUMBER), done = stoa_get_u64(header + AT_POSITION);
    if (number < conn->credits_got ||
        (conn->encrypted &&
         stoa_secure_unseal(&conn->credit_in, number, header, HEAD_BYTES, NULL, 0, header + AT_TAG) != STOA_OK)) {
        blame(conn, false);
        return;
    }
    conn->credits_got = number + 1;
    if (done > conn->in_done) { conn->in_done = done; }
    conn->owes = conn->owes || done > 0;
    hear(conn, header);
}

/* Room where the body of a batch lands; NULL: there is none, and that is dealt with. */
static stoa_arrival *receive(stoa_conn *conn, const uint8_t *header, uint32_t body_bytes)
{
    stoa_arrival *arrival = NULL;
    stoa_err err = STOA_OK;
    bool due = conn->phase >= STOA_PHASE_PROBING; /* before the other side's OFFER the ring has no size yet */
    if (!due || header[AT_KIND] != KIND_BATCH || stoa_get_u32(header + AT_SIZE) != body_bytes) {
        err = STOA_E_MALFORMED;
    } else if (conn->encrypted) {
        err = stoa_pen_take(&conn->pen, body_bytes, &arrival);
    } else {
        err = stoa_in_place(&conn->in, stoa_get_u64(header + AT_NUMBER), stoa_get_u64(header + AT_POSITION), body_bytes,
                            &arrival);
    }
    if (!err) { return arrival; }
    blame(conn, !conn->encrypted || err == STOA_E_FULL);
    return NULL;
}

void *stoa_carrier_place(void *context, const void *bytes, uint32_t body_bytes, void **token_out)
{
    stoa_fabric *link = context;
    const uint8_t *header = bytes;
    stoa_conn *conn = stoa_get_u32(header) == MAGIC ? conn_of(link, stoa_get_u64(header + AT_TOKEN)) : NULL;
    if (!conn) {
        link->counts.frames_dropped++; /* of a connection that has just ended, most likely */
        return NULL;
    }
    if (header[AT_KIND] == KIND_CREDIT && body_bytes == 0) {
        take_credit(conn, header);
        return NULL;
    }
    stoa_arrival *arrival = receive(conn, header, body_bytes);
    if (!arrival) { return NULL; }
    memcpy(arrival->header, header, sizeof arrival->header);
    *token_out = arrival;
    return conn->encrypted ? stoa_pen_bytes(&conn->pen, arrival) : stoa_in_bytes(&conn->in, arrival);
}

static bool is_gone(const stoa_conn *conn)
{
    return conn->link->conns[conn->slot] != conn;
}

/* A body that has landed in the pen: into the ring, if it is genuine. */
static void take_sealed(stoa_conn *conn, stoa_arrival *from)
{
    const uint8_t *header = from->header;
    uint64_t number = stoa_get_u64(header + AT_NUMBER);
    uint8_t *bytes = stoa_pen_bytes(&conn->pen, from);
    stoa_arrival *to = NULL;
    bool again = number < conn->in.next; /* it came before, or it is not genuine either */
    if (again || stoa_secure_unseal(&conn->batch_in, number, header, HEAD_BYTES, bytes, from->bytes, header + AT_TAG)) {
        blame(conn, false);
        return;
    }
    stoa_err err = stoa_in_place(&conn->in, number, stoa_get_u64(header + AT_POSITION), from->bytes, &to);
    if (err) {
        blame(conn, err != STOA_E_STALE); /* STALE: it came before, and somebody sent it again */
        return;
    }
    memcpy(stoa_in_bytes(&conn->in, to), bytes, from->bytes);
    stoa_in_landed(&conn->in, to, true);
    stoa_fabric_mark(conn->link->ready, conn->slot);
    hear(conn, header);
}

void stoa_carrier_landed(void *token, bool whole)
{
    stoa_arrival *arrival = token;
    stoa_conn *conn = arrival->owner;
    bool gone = is_gone(conn);
    if (!whole && !gone) { stoa_conn_break(conn); }
    if (conn->encrypted) {
        if (whole && !gone) { take_sealed(conn, arrival); }
        stoa_pen_free(&conn->pen, arrival);
        return;
    }
    stoa_in_landed(&conn->in, arrival, whole);
    if (!whole || gone) { return; }
    stoa_fabric_mark(conn->link->ready, conn->slot);
    hear(conn, arrival->header);
}

void stoa_carrier_sent(void *token, bool done)
{
    stoa_parcel *parcel = token;
    stoa_conn *conn = parcel->owner;
    STOA_ASSERT(parcel->on_wire && conn->on_wire > 0);
    parcel->on_wire = false;
    conn->on_wire--;
    if (parcel->is_batch) { stoa_out_done(&conn->out, (stoa_batch *)(void *)parcel); }
    if (is_gone(conn)) { return; }
    stoa_fabric_mark(conn->link->dirty, conn->slot);
    if (parcel->is_put) {
        stoa_conn_put_sent(conn, parcel, done);
        return;
    }
    if (!done) { stoa_conn_break(conn); }
}

void stoa_carrier_broken(void *owner)
{
    stoa_conn *conn = owner;
    if (!is_gone(conn)) { stoa_conn_break(conn); }
}
