/* fabric/greet.c - how a connection begins, over its door:
 *
 *     dials                                              listens
 *     HELLO    magic, version, flags, carrier, [Noise 1]  -->
 *                          <--  WELCOME     version, flags, [Noise 2 with both again]    sealed from here on
 *     OFFER    token, ring, limits, carrier's address     -->
 *                                        <--  OFFER
 *     probe    a message over the carrier                <-->    up, on either side, when the other's has come
 *
 * With keys, who dials proves its own by being able to seal its OFFER, so a HELLO that was recorded and sent again
 * comes to nothing. All that is said in clear is part of what Noise agrees on: HELLO is its prologue, and what WELCOME says comes
 * again as the payload of the second message. Nobody can change it on the way.
 *
 * Batches are encrypted unless there are no keys, or both sides were told that the network between them is trusted.
 *
 * Both rings are as large as the smaller one that was offered, so no peer decides how much memory it costs.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "base/clock.h"
#include "transport/bytes.h"
#include "transport/fabric/inner.h"

enum {
    MAGIC = 0x62467453, /* "StFb" */
    VERSION = 2,
    FLAG_SECURED = 1,
    FLAG_TRUSTED = 2,
    NAME_BYTES = 8,
    HELLO_BYTES = 8 + 2 * NAME_BYTES,
    WELCOME_BYTES = 4,
    ANSWER_BYTES = STOA_SECURE_ANSWER_BYTES + WELCOME_BYTES,
    OFFER_BYTES = 24,
};

enum { STREAM_DOOR = 0, STREAM_BATCH = 1, STREAM_CREDIT = 2 };

static void phase_set(stoa_conn *conn, stoa_phase phase)
{
    conn->phase = phase;
    conn->deadline_ns = stoa_fabric_now_ns() + STOA_MS(STOA_FABRIC_STEP_MS);
}

static uint16_t own_flags(const stoa_fabric *link)
{
    return (uint16_t)((link->secured ? FLAG_SECURED : 0) | (link->trusted ? FLAG_TRUSTED : 0));
}

static void hello_write(const stoa_fabric *link, uint8_t out[HELLO_BYTES])
{
    memset(out, 0, HELLO_BYTES);
    stoa_put_u32(out, MAGIC);
    stoa_put_u16(out + 4, VERSION);
    stoa_put_u16(out + 6, own_flags(link));
    memcpy(out + 8, link->kind->name, strnlen(link->kind->name, NAME_BYTES));
    memcpy(out + 8 + NAME_BYTES, link->transport, strnlen(link->transport, NAME_BYTES));
}

/* The exchange is done: what follows is sealed. */
static stoa_err secure_from_here(stoa_conn *conn)
{
    uint8_t sending[STOA_SECURE_KEY_BYTES], receiving[STOA_SECURE_KEY_BYTES];
    stoa_secure_split(&conn->secure, sending, receiving);
    memcpy(conn->key, conn->secure.other_public, sizeof conn->key);
    stoa_secure_forget(&conn->secure);
    stoa_err err = stoa_secure_stream_open(&conn->door.out_stream, sending, STREAM_DOOR, true);
    if (!err) { err = stoa_secure_stream_open(&conn->door.in_stream, receiving, STREAM_DOOR, false); }
    if (!err) { err = stoa_secure_stream_open(&conn->batch_out, sending, STREAM_BATCH, true); }
    if (!err) { err = stoa_secure_stream_open(&conn->batch_in, receiving, STREAM_BATCH, false); }
    if (!err) { err = stoa_secure_stream_open(&conn->credit_out, sending, STREAM_CREDIT, true); }
    if (!err) { err = stoa_secure_stream_open(&conn->credit_in, receiving, STREAM_CREDIT, false); }
    explicit_bzero(sending, sizeof sending);
    explicit_bzero(receiving, sizeof receiving);
    conn->door.secured = true;
    return err;
}

void stoa_conn_greet(stoa_conn *conn)
{
    stoa_fabric *link = conn->link;
    uint8_t body[HELLO_BYTES + STOA_SECURE_HELLO_BYTES];
    uint32_t size_bytes = HELLO_BYTES;
    stoa_err err = STOA_OK;
    hello_write(link, body);
    if (link->secured) {
        err = stoa_secure_begin(&conn->secure, link->secret_key, link->server_key, body, HELLO_BYTES);
        if (!err) { err = stoa_secure_write(&conn->secure, NULL, 0, body + HELLO_BYTES); }
        size_bytes += STOA_SECURE_HELLO_BYTES;
    }
    phase_set(conn, STOA_PHASE_HELLO);
    if (!err) { err = stoa_door_send(&conn->door, STOA_DOOR_HELLO, body, size_bytes); }
    if (err) { stoa_conn_dismiss(conn, err); }
}

/* --- listens */

static stoa_err hello_check(const stoa_fabric *link, const uint8_t *body, uint32_t size_bytes)
{
    uint8_t own[HELLO_BYTES];
    if (size_bytes < HELLO_BYTES || stoa_get_u32(body) != MAGIC) { return STOA_E_MALFORMED; }
    if (stoa_get_u16(body + 4) != VERSION) { return STOA_E_VERSION; }
    hello_write(link, own);
    if (memcmp(own + 8, body + 8, 2 * (size_t)NAME_BYTES) != 0) { return STOA_E_MALFORMED; }
    bool secured = stoa_get_u16(body + 6) & FLAG_SECURED;
    if (secured != link->secured) { return STOA_E_DENIED; }
    return size_bytes == HELLO_BYTES + (secured ? STOA_SECURE_HELLO_BYTES : 0) ? STOA_OK : STOA_E_MALFORMED;
}

static stoa_err answer_keys(stoa_conn *conn, const uint8_t *hello,
                            uint8_t welcome[WELCOME_BYTES + ANSWER_BYTES])
{
    stoa_fabric *link = conn->link;
    stoa_err err = stoa_secure_begin(&conn->secure, link->secret_key, NULL, hello, HELLO_BYTES);
    if (!err) { err = stoa_secure_read(&conn->secure, hello + HELLO_BYTES, STOA_SECURE_HELLO_BYTES, NULL); }
    if (err) { return STOA_E_DENIED; }
    const char *name = stoa_allowed_name(&link->allowed, conn->secure.other_public);
    if (!name) { return STOA_E_DENIED; }
    memcpy(conn->identity, name, strnlen(name, sizeof conn->identity - 1) + 1);
    return stoa_secure_write(&conn->secure, welcome, WELCOME_BYTES, welcome + WELCOME_BYTES);
}

static stoa_err take_hello(stoa_conn *conn, const uint8_t *body, uint32_t size_bytes)
{
    stoa_fabric *link = conn->link;
    uint8_t welcome[WELCOME_BYTES + ANSWER_BYTES];
    stoa_err err = hello_check(link, body, size_bytes);
    if (err) { return err; }
    bool trusted = link->trusted && (stoa_get_u16(body + 6) & FLAG_TRUSTED);
    stoa_put_u16(welcome, VERSION);
    stoa_put_u16(welcome + 2, (uint16_t)((link->secured ? FLAG_SECURED : 0) | (trusted ? FLAG_TRUSTED : 0)));
    if (link->secured) { err = answer_keys(conn, body, welcome); }
    if (!err) {
        err = stoa_door_send(&conn->door, STOA_DOOR_WELCOME, welcome,
                             WELCOME_BYTES + (link->secured ? ANSWER_BYTES : 0));
    }
    if (!err && link->secured) { err = secure_from_here(conn); }
    conn->encrypted = link->secured && !trusted;
    phase_set(conn, STOA_PHASE_OFFER);
    return err;
}

/* --- both */

static stoa_err make_offer(stoa_conn *conn)
{
    stoa_fabric *link = conn->link;
    uint8_t body[STOA_DOOR_BODY_MAX];
    struct sockaddr_storage here;
    socklen_t here_bytes = sizeof here;
    bool known = getsockname(conn->door.fd, (struct sockaddr *)&here, &here_bytes) == 0;
    uint32_t address_bytes = link->kind->address(link->carrier, conn->end,
                                                 known ? (const struct sockaddr *)&here : NULL, body + OFFER_BYTES);
    stoa_err err = stoa_in_open(&conn->in, conn, conn->ring_bytes, link->body_limit);
    if (!err && conn->encrypted) { err = stoa_pen_open(&conn->pen, conn, link->body_limit); }
    if (err) { return err; }
    stoa_put_u64(body, conn->token);
    stoa_put_u64(body + 8, link->ring_bytes);
    stoa_put_u32(body + 16, link->frame_limit);
    stoa_put_u32(body + 20, link->body_limit);
    return stoa_door_send(&conn->door, STOA_DOOR_OFFER, body, OFFER_BYTES + address_bytes);
}

static stoa_err use_offer(stoa_conn *conn, const uint8_t *body, uint32_t size_bytes)
{
    stoa_fabric *link = conn->link;
    uint64_t ring_bytes = stoa_get_u64(body + 8);
    uint32_t body_limit = stoa_get_u32(body + 20);
    conn->other_token = stoa_get_u64(body);
    conn->frame_limit = stoa_get_u32(body + 16);
    conn->ring_bytes = ring_bytes < link->ring_bytes ? ring_bytes : link->ring_bytes;
    if (body_limit > link->body_limit) { body_limit = link->body_limit; } /* a longer one we never send */
    stoa_err err = stoa_out_open(&conn->out, conn, conn->ring_bytes, body_limit, link->queue_frames);
    if (!err && conn->in.memory) { stoa_in_shrink(&conn->in, conn->ring_bytes); }
    if (!err) {
        err = link->kind->connect(link->carrier, conn->end, body + OFFER_BYTES, size_bytes - OFFER_BYTES);
    }
    return err;
}

static stoa_err take_offer(stoa_conn *conn, const uint8_t *body, uint32_t size_bytes)
{
    stoa_fabric *link = conn->link;
    if (size_bytes < OFFER_BYTES) { return STOA_E_MALFORMED; }
    if (link->listens) {
        if (link->served >= link->peer_limit) { return STOA_E_FULL; }
        /* the key may have been removed since it was looked at */
        if (link->secured && !stoa_allowed_name(&link->allowed, conn->key)) { return STOA_E_DENIED; }
        link->served++;
        link->guests--;
        conn->served = true;
    }
    stoa_err err = link->listens ? link->kind->begin(link->carrier, conn, &conn->end) : STOA_OK;
    if (!err) { err = use_offer(conn, body, size_bytes); }
    if (!err && link->listens) { err = make_offer(conn); }
    if (err) { return err; }
    phase_set(conn, STOA_PHASE_PROBING);
    stoa_conn_acknowledge(conn);
    stoa_conn_rise(conn);
    return STOA_OK;
}

/* --- dials */

static stoa_err take_welcome(stoa_conn *conn, const uint8_t *body, uint32_t size_bytes)
{
    stoa_fabric *link = conn->link;
    if (size_bytes >= WELCOME_BYTES && stoa_get_u16(body) != VERSION) { return STOA_E_VERSION; }
    if (size_bytes != WELCOME_BYTES + (link->secured ? ANSWER_BYTES : 0)) { return STOA_E_MALFORMED; }
    uint16_t flags = stoa_get_u16(body + 2);
    if ((flags & FLAG_SECURED) != (link->secured ? FLAG_SECURED : 0)) { return STOA_E_DENIED; }
    if (link->secured) {
        uint8_t said[ANSWER_BYTES];
        stoa_err err = stoa_secure_read(&conn->secure, body + WELCOME_BYTES, ANSWER_BYTES, said);
        if (!err && memcmp(said, body, WELCOME_BYTES) != 0) { err = STOA_E_DENIED; } /* changed on the way */
        if (!err) { err = secure_from_here(conn); }
        if (err) { return err; }
    }
    conn->encrypted = link->secured && !(link->trusted && (flags & FLAG_TRUSTED));
    phase_set(conn, STOA_PHASE_OFFER);
    stoa_err err = link->kind->begin(link->carrier, conn, &conn->end);
    return err ? err : make_offer(conn);
}

stoa_err stoa_conn_greeted(stoa_conn *conn, uint8_t kind, const uint8_t *body, uint32_t size_bytes)
{
    static const struct {
        uint8_t kind;
        stoa_phase phase;
        bool listens, dials;
        stoa_err (*take)(stoa_conn *conn, const uint8_t *body, uint32_t size_bytes);
    } rows[] = {
        {STOA_DOOR_HELLO, STOA_PHASE_HELLO, true, false, take_hello},
        {STOA_DOOR_WELCOME, STOA_PHASE_HELLO, false, true, take_welcome},
        {STOA_DOOR_OFFER, STOA_PHASE_OFFER, true, true, take_offer},
    };
    for (unsigned i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        if (rows[i].kind == kind && rows[i].phase == conn->phase &&
            (conn->link->listens ? rows[i].listens : rows[i].dials)) {
            return rows[i].take(conn, body, size_bytes);
        }
    }
    return STOA_E_MALFORMED;
}

void stoa_conn_rise(stoa_conn *conn)
{
    stoa_fabric *link = conn->link;
    if (conn->phase != STOA_PHASE_PROBING || !conn->probed) { return; }
    conn->phase = STOA_PHASE_UP;
    conn->peer = ++link->peer_count << STOA_FABRIC_PEER_SLOT_BITS | conn->slot;
    conn->ping_ns = stoa_fabric_now_ns() + STOA_FABRIC_PING_MS * UINT64_C(1000000);
    conn->unanswered = 0;
    stoa_fabric_mark(link->ready, conn->slot);
}
