/* session.c - the connection to the node: hello, heartbeat, and the frames that come in (sdk/inside.h).
 *
 *     DOWN --(up)--> GREETING --(welcome)--> READY
 *      ^                ^  |                   |
 *      +----(down)------+--+-------------------+      GREETING again: the server said CLOSED, or answered no
 * ping
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "base/random.h"
#include "sdk/inside.h"

enum {
    EVENTS_PER_POLL = 64,
    ROUNDS = 4,
    GREET_AGAIN_MS = 1000,
    BEATS_MISSED = 3,
    REFUSALS_MEANT = 2, /* one can be a listener that died within the handshake */
};

/* --- out */

bool session_send(stoa_client *c, uint32_t op, uint64_t id, const char *target, uint64_t deadline_ms,
                  const void *payload, size_t size_bytes)
{
    stoa_writer w = {.at = c->frame, .cap_bytes = sizeof c->frame};
    uint32_t ms = deadline_ms < UINT32_MAX ? (uint32_t)deadline_ms : UINT32_MAX;
    stoa_request_frame_write(&w, op, id, target, ms, payload, size_bytes);
    STOA_ASSERT(!w.cut); /* call_new has seen that it fits */
    if (c->link->ops->send(c->link, 0, w.at, (uint32_t)w.used_bytes) != STOA_OK) { return false; }
    c->sent = true;
    return true;
}

void session_say(stoa_client *c, const stoa_protocol_op *op, uint64_t id, const void *payload)
{
    uint8_t bytes[256];
    stoa_writer w = {.at = bytes, .cap_bytes = sizeof bytes};
    stoa_err err = stoa_encode(&op->row->payload, payload, &w);
    STOA_ASSERT(!err);
    (void)session_send(c, op->no, id, "", 0, bytes, w.used_bytes); /* no room: said again later, or of no consequence */
}

static void greet(stoa_client *c)
{
    client_hello hello = {
        .version_min = STOA_PROTOCOL_VERSION, .version_max = STOA_PROTOCOL_VERSION, .session = c->session, .remember = 1};
    (void)STOA_TEXT_SET(&hello.client, c->name, strnlen(c->name, sizeof hello.client.at));
    session_say(c, stoa_protocol_op_find(STOA_OP_HELLO), ID_HELLO, &hello);
    c->greet_ns = c->now_ns + STOA_MS(GREET_AGAIN_MS);
}

void session_lost(stoa_client *c)
{
    if (c->phase != PHASE_READY) { return; }
    c->phase = PHASE_GREETING;
    calls_unsent(c);
    greet(c);
}

void session_number_own(stoa_client *c)
{
    c->session = 0;
    while (c->session == 0) { /* until the node gives it a number; larger than any of those */
        stoa_random_system(&c->session, sizeof c->session);
        c->session |= UINT64_C(1) << 63;
    }
}

void session_renew(stoa_client *c)
{
    c->renew = false;
    session_number_own(c);
    session_lost(c);
}

/* --- in */

static void refuse(stoa_client *c, stoa_err why)
{
    c->refused = why;
    calls_refused(c, why);
}

static void on_up(void *context, stoa_peer peer)
{
    stoa_client *c = context;
    (void)peer;
    c->handled++;
    c->phase = PHASE_GREETING;
    c->heard_ns = c->now_ns;
    greet(c);
}

static void on_down(void *context, stoa_peer peer)
{
    stoa_client *c = context;
    (void)peer;
    c->handled++;
    c->phase = PHASE_DOWN;
    calls_unsent(c);
}

static void on_refused(void *context, stoa_err why)
{
    stoa_client *c = context;
    bool lasting = why == STOA_E_DENIED || why == STOA_E_VERSION || why == STOA_E_MALFORMED;
    if (lasting && client_refused(c) && ++c->refusals >= REFUSALS_MEANT) { refuse(c, why); }
}

static void welcomed(stoa_client *c, const stoa_server_frame *frame)
{
    client_welcome welcome;
    const stoa_type *type = &client_rows[client_ROW_welcome].payload;
    if (stoa_decode_tokens(type, frame->payload.tokens, frame->payload.count, &welcome) != STOA_OK) {
        refuse(c, STOA_E_VERSION);
        return;
    }
    c->welcome = welcome;
    if (welcome.session) { c->session = welcome.session; }
    c->phase = PHASE_READY;
    c->pinged_ns = 0;
    c->sessions++;
    c->refusals = 0;
    memset(c->refused_keys, 0, sizeof c->refused_keys);
    c->refused = STOA_OK;
    streams_again(c);
}

/* A hello that is refused for a passing reason is said again when greet_ns comes. */
static void hello_answered(stoa_client *c, const stoa_server_frame *frame)
{
    if (c->phase != PHASE_GREETING) { return; }
    if (!frame->error) {
        welcomed(c, frame);
    } else if (frame->error == STOA_E_DENIED || frame->error == STOA_E_VERSION) {
        note_text(c, frame->text, frame->text_bytes);
        refuse(c, frame->error);
    }
}

static void answered(stoa_client *c, const stoa_server_frame *frame)
{
    if (frame->id == ID_HELLO) {
        hello_answered(c, frame);
        return;
    }
    if (frame->error == STOA_E_CLOSED) { session_lost(c); }
    if (frame->id == ID_PING) { c->pinged_ns = 0; }
    call *at = call_find(c, frame->id);
    if (at && at->sent) { call_answered(c, at, frame); }
}

static void on_frame(void *context, stoa_peer peer, const char *identity, const void *bytes, uint32_t size_bytes)
{
    stoa_client *c = context;
    stoa_server_frame frame;
    (void)peer, (void)identity;
    c->handled++;
    c->heard_ns = c->now_ns;
    if (stoa_server_frame_read(bytes, size_bytes, &c->tokens, &frame) != STOA_OK) { return; } /* of a newer server */
    if (frame.cls == STOA_FRAME_ANSWER) {
        answered(c, &frame);
    } else {
        streams_frame(c, &frame);
    }
}

/* --- time */

static uint64_t beat_ns(const stoa_client *c)
{
    return STOA_MS(c->welcome.heartbeat_ms ? c->welcome.heartbeat_ms : GREET_AGAIN_MS);
}

static void ping(stoa_client *c)
{
    c->pinged_ns = c->now_ns;
    session_say(c, stoa_protocol_op_find(STOA_OP_PING), ID_PING, &(client_ping){.token = c->now_ns});
}

/* All that the link had is read by now, so silence is the server's. */
static void keep_alive(stoa_client *c)
{
    if (c->phase == PHASE_GREETING && c->now_ns >= c->greet_ns) { greet(c); }
    if (c->phase != PHASE_READY) { return; }
    if (c->pinged_ns && c->now_ns >= c->pinged_ns + BEATS_MISSED * beat_ns(c)) {
        session_lost(c);
    } else if (!c->pinged_ns && c->now_ns >= c->heard_ns + beat_ns(c)) {
        ping(c);
    }
}

uint64_t session_next_ns(const stoa_client *c)
{
    if (c->phase == PHASE_DOWN) { return UINT64_MAX; }
    if (c->phase == PHASE_GREETING) { return c->greet_ns; }
    return c->pinged_ns ? c->pinged_ns + BEATS_MISSED * beat_ns(c) : c->heard_ns + beat_ns(c);
}

bool session_step(stoa_client *c)
{
    const stoa_link_events events = {
        .frame = on_frame, .up = on_up, .down = on_down, .refused = on_refused, .context = c};
    for (unsigned round = 0; round < ROUNDS; round++) {
        c->now_ns = stoa_clock_real.now_ns(&stoa_clock_real);
        c->sent = false;
        uint32_t told = c->link->ops->poll(c->link, &events, EVENTS_PER_POLL);
        if (c->redial) { client_redial(c); }
        if (told == 0) { keep_alive(c); }
        streams_step(c);
        calls_step(c);
        if (told == 0 && !c->sent) { return true; }
    }
    return false;
}
