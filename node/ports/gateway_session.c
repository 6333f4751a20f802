/* gateway_session.c - connections, and the way of a request: its checks, the question to the actor, the
 * answer (node/ports/gateway.h).
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/hash.h"
#include "node/ports/gateway_inside.h"

enum { FRAMES_PER_ROUND = 64, REQUESTS_FIRST = 256, SESSION_BITS = 20 /* of a number: counted within an epoch */ };

/* --- sessions */

static session **bucket(stoa_gateway *g, stoa_peer peer)
{
    return &g->sessions[stoa_mix64(peer) % SESSION_BUCKETS];
}

session *session_find(stoa_gateway *g, stoa_peer peer)
{
    session *s = *bucket(g, peer);
    while (s && s->peer != peer) {
        s = s->next;
    }
    return s;
}

void session_open(stoa_gateway *g, stoa_peer peer)
{
    session *s = calloc(1, sizeof *s);
    if (!s) { return; } /* its frames go unanswered; the client's deadline tells it */
    session **at = bucket(g, peer);
    s->peer = peer;
    s->next = *at;
    s->link = at;
    if (s->next) { s->next->link = &s->next; }
    *at = s;
    stoa_counter_add(g->count.sessions, 1);
}

static void forget_requests(stoa_gateway *g, const session *s)
{
    for (uint32_t i = 0; i < g->request_cap; i++) {
        request *r = &g->requests[i];
        if (!r->used || r->owner != s) { continue; }
        if (r->counted) { s->client->requests--; }
        r->owner = NULL;
        r->stream = NULL;
    }
}

void session_reset(stoa_gateway *g, session *s)
{
    if (!s->client) { return; }
    forget_requests(g, s);
    while (s->subscriptions) {
        stream_free(g, s->subscriptions);
    }
    for (const held_frame *f = s->out.head; f; f = f->next) {
        s->client->requests -= f->answers;
    }
    frames_clear(&s->out);
    s->client = NULL;
    s->number = 0;
    s->remembers = false;
}

static void unready(stoa_gateway *g, session *s)
{
    session **at = &g->ready_head, *before = NULL;
    while (*at != s) {
        before = *at;
        at = &(*at)->next_ready;
    }
    *at = s->next_ready;
    if (g->ready_tail == s) { g->ready_tail = before; }
}

void session_close(stoa_gateway *g, session *s)
{
    session_reset(g, s);
    frames_clear(&s->out); /* refusals before hello */
    if (s->ready) { unready(g, s); }
    *s->link = s->next;
    if (s->next) { s->next->link = s->link; }
    stoa_gauge_set(g->count.sessions, stoa_counter_get(g->count.sessions) - 1);
    free(s);
}

void session_pump(stoa_gateway *g, session *s)
{
    uint32_t budget = FRAMES_PER_ROUND;
    bool room = gateway_send_frames(g, s, &s->out);
    while (room && budget > 0 && s->ready_head) {
        subscription *sub = s->ready_head;
        s->ready_head = sub->next_ready;
        if (!s->ready_head) { s->ready_tail = NULL; }
        sub->ready = false;
        room = stream_pump(g, sub, &budget);
    }
    if (!room || s->ready_head) { gateway_ready(g, s); }
}

/* --- answers */

static void count_refusal(stoa_gateway *g, stoa_err err)
{
    uint32_t code = (uint32_t)-err;
    if (code < STOA_COUNT_OF_(g->count.refused) && g->count.refused[code]) {
        stoa_counter_add(g->count.refused[code], 1);
    }
}

void session_refuse(stoa_gateway *g, session *s, uint64_t id, stoa_stamp stamp, const char *text, bool answers)
{
    stoa_writer w = gateway_writer(g);
    stoa_refusal_frame_write(&w, id, stamp, text ? text : stoa_err_text(stamp.error));
    count_refusal(g, stamp.error);
    gateway_send(g, s, w.at, w.used_bytes, answers);
}

static void answer(stoa_gateway *g, session *s, uint64_t id, stoa_stamp stamp, const stoa_row *row, const void *payload,
                   bool answers)
{
    stoa_writer w = gateway_writer(g);
    stoa_answer_frame_write(&w, id, stamp, &row->payload, payload);
    STOA_ASSERT(!w.cut); /* no row of the protocol is as large as a frame; the tables' test sees to it */
    gateway_send(g, s, w.at, w.used_bytes, answers);
}

void session_answer(stoa_gateway *g, session *s, uint64_t id, stoa_stamp stamp, const stoa_row *row,
                    const void *payload)
{
    answer(g, s, id, stamp, row, payload, true);
}

/* What the calling thread's trail says, without its places: "trade_side: not one of its values, in
 * trade_account.place.side". */
static const char *trail_text(char *text, size_t size_bytes)
{
    stoa_buf out = {.at = text, .cap_bytes = size_bytes};
    const char *line = stoa_err_trail();
    text[0] = '\0';
    while (*line) {
        size_t length = strcspn(line, "\n");
        const char *said = memmem(line, length, ": ", 2);
        if (said) {
            stoa_buf_puts(&out, out.used_bytes ? ", in " : "");
            stoa_buf_put(&out, said + 2, length - (size_t)(said + 2 - line));
        }
        line += length + (line[length] == '\n');
    }
    return text;
}

/* --- requests under way */

static bool grow_requests(stoa_gateway *g)
{
    uint32_t cap = g->request_cap ? g->request_cap * 2 : REQUESTS_FIRST;
    if (cap > REQUESTS_MAX) { return false; }
    request *requests = realloc(g->requests, cap * sizeof *requests);
    if (!requests) { return false; }
    memset(requests + g->request_cap, 0, (cap - g->request_cap) * sizeof *requests);
    for (uint32_t i = cap; i > g->request_cap; i--) {
        requests[i - 1].next_free = g->request_free;
        g->request_free = i; /* index + 1 */
    }
    g->requests = requests;
    g->request_cap = cap;
    return true;
}

request *request_new(stoa_gateway *g, session *s, uint64_t *token_out)
{
    if (g->request_free == 0 && !grow_requests(g)) { return NULL; }
    uint32_t index = g->request_free - 1;
    request *r = &g->requests[index];
    g->request_free = r->next_free;
    *r = (request){.owner = s, .began_ns = g->now_ns, .generation = r->generation + 1, .used = true};
    g->under_way++;
    *token_out = (uint64_t)r->generation << 32 | index;
    return r;
}

request *request_find(stoa_gateway *g, uint64_t token)
{
    uint32_t index = (uint32_t)token;
    if (index >= g->request_cap) { return NULL; }
    request *r = &g->requests[index];
    return r->used && r->generation == token >> 32 ? r : NULL;
}

void request_free(stoa_gateway *g, request *r)
{
    r->used = false;
    r->owner = NULL;
    r->stream = NULL;
    r->next_free = g->request_free;
    g->request_free = (uint32_t)(r - g->requests) + 1;
    g->under_way--;
}

/* CLOSED tells a client that its session is gone; an actor that is gone may be back in a moment. */
static stoa_err outward(stoa_err err)
{
    return err == STOA_E_CLOSED ? STOA_E_UNAVAILABLE : err;
}

void request_answered(stoa_gateway *g, request *r, const stoa_delivery *d)
{
    request was = *r;
    request_free(g, r);
    session *s = was.owner;
    if (!s) { return; }
    if (was.stream) {
        stream_answered(g, was.stream, was.id, d);
        return;
    }
    stoa_stamp stamp = {outward(d->error), d->durability, d->position};
    stoa_histogram_add(g->count.latency, stoa_clock_real.now_ns(&stoa_clock_real) - was.began_ns);
    if (d->error) {
        session_refuse(g, s, was.id, stamp, stoa_protocol_refusal(was.op, d->error), true);
        return;
    }
    answer(g, s, was.id, stamp, d->row, d->payload, true);
    if (was.op->no == STOA_OP_ROOM_LEAVE) { stream_revoke(g, s->client, &was.target); }
}

/* --- the session's own requests */

/* A frame on its way through the checks. */
typedef struct incoming {
    session *s;
    const char *identity;
    uint32_t size_bytes;
    stoa_request_frame frame;
    const stoa_protocol_op *op;
    stoa_text30 target;
    const char *text; /* why it is refused, NULL: as the error says */
    char said[STOA_PROTOCOL_TEXT_MAX + 1];
} incoming;

static client *find_identity(stoa_gateway *g, const char *identity)
{
    for (uint32_t i = 0; i < g->client_count; i++) {
        if (STOA_TEXT_EQZ(&g->clients[i]->is.name, identity)) { return g->clients[i]; }
    }
    return NULL;
}

/* A connection of the same client with the same number is what this one replaces. */
static void take_over(stoa_gateway *g, const client *c, uint64_t number)
{
    for (uint32_t b = 0; b < SESSION_BUCKETS && number != 0; b++) {
        for (session *s = g->sessions[b]; s; s = s->next) {
            if (s->client == c && s->number == number) { session_reset(g, s); }
        }
    }
}

/* The number of the session that hello goes on with, or of a new one; 0: its requests are not remembered. */
static uint64_t session_number(stoa_gateway *g, const client_hello *hello)
{
    uint64_t base = g->options.epoch << SESSION_BITS, newest = base + g->sessions_given;
    bool fits = g->options.epoch && g->options.epoch <= STOA_REQUEST_SESSION_MAX >> SESSION_BITS;
    bool can = fits && g->sessions_given < ((uint64_t)1 << SESSION_BITS) - 1;
    if (!hello->remember || !can) { return 0; }
    if (hello->session >> SESSION_BITS && hello->session <= newest) { return hello->session; }
    g->sessions_given++;
    return newest + 1;
}

static void on_hello(stoa_gateway *g, const incoming *in, const void *payload)
{
    const client_hello *hello = payload;
    session *s = in->s;
    uint64_t id = in->frame.id;
    client *c = find_identity(g, in->identity);
    if (!c) {
        session_refuse(g, s, id, (stoa_stamp){.error = STOA_E_DENIED}, "this key stands for no client", false);
        return;
    }
    if (hello->version_min > STOA_PROTOCOL_VERSION || hello->version_max < STOA_PROTOCOL_VERSION) {
        session_refuse(g, s, id, (stoa_stamp){.error = STOA_E_VERSION}, "this server speaks version 1", false);
        return;
    }
    session_reset(g, s);
    uint64_t remembered = session_number(g, hello);
    s->number = remembered ? remembered : hello->session;
    take_over(g, c, s->number);
    s->client = c;
    s->remembers = remembered != 0;
    client_welcome welcome = {.version = STOA_PROTOCOL_VERSION,
                              .heartbeat_ms = g->options.heartbeat_ms,
                              .frame_bytes_max = STOA_PROTOCOL_REQUEST_MAX,
                              .requests_max = g->options.requests_max,
                              .streams_max = g->options.streams_max,
                              .backlog_items = g->options.backlog_items,
                              .deadline_ms = g->options.deadline_ms,
                              .deadline_ms_max = g->options.deadline_ms_max,
                              .identity = c->is.name,
                              .session = remembered};
    (void)STOA_TEXT_SET(&welcome.server, g->server_name, strnlen(g->server_name, sizeof welcome.server.at));
    answer(g, s, id, (stoa_stamp){0}, &client_rows[client_ROW_welcome], &welcome, false);
}

static void on_ping(stoa_gateway *g, const incoming *in, const void *payload)
{
    const client_ping *ping = payload;
    client_pong pong = {.token = ping->token, .server_ns = stoa_clock_real.wall_ns(&stoa_clock_real)};
    answer(g, in->s, in->frame.id, (stoa_stamp){0}, &client_rows[client_ROW_pong], &pong, false);
}

static uint64_t deadline_ns(const stoa_gateway *g, uint64_t stated_ms)
{
    uint64_t ms = stated_ms ? stated_ms : g->options.deadline_ms;
    return STOA_MS(ms < g->options.deadline_ms_max ? ms : g->options.deadline_ms_max);
}

static void on_subscribe(stoa_gateway *g, const incoming *in, const void *payload)
{
    stream_subscribe(g, in->s, &in->frame, payload, deadline_ns(g, in->frame.deadline_ms));
}

static void on_unsubscribe(stoa_gateway *g, const incoming *in, const void *payload)
{
    stream_unsubscribe(g, in->s, in->frame.id, payload);
}

typedef void own_request(stoa_gateway *g, const incoming *in, const void *payload);

static own_request *const own_requests[] = {
    [STOA_OP_HELLO] = on_hello,
    [STOA_OP_PING] = on_ping,
    [STOA_OP_SUBSCRIBE] = on_subscribe,
    [STOA_OP_UNSUBSCRIBE] = on_unsubscribe,
};

static bool is_own(const stoa_protocol_op *op)
{
    return op->no < STOA_COUNT_OF_(own_requests);
}

/* --- the checks */

/* The same request of the same client and session has the same command id, so that a retry can be recognised.
 */
static uint64_t command_id(const session *s, uint64_t request_id)
{
    uint64_t who = stoa_hash64(s->number, s->client->is.name.at, s->client->is.name.len);
    uint64_t id = stoa_mix64(who ^ stoa_mix64(request_id + 1));
    return id ? id : 1;
}

/* Hand the request to the actor, under its name where it has one. */
static stoa_err ask_actor(stoa_gateway *g, const incoming *in, stoa_ref actor, uint64_t token)
{
    const session *s = in->s;
    uint64_t due_ns = deadline_ns(g, in->frame.deadline_ms);
    bool named = s->remembers && in->frame.id && in->frame.id <= STOA_REQUEST_NUMBER_MAX;
    if (!named) {
        return stoa_port_ask(g->port, actor, in->op->row, g->payload, command_id(s, in->frame.id), due_ns, token);
    }
    uint64_t who = stoa_hash64(0, s->client->is.name.at, s->client->is.name.len);
    stoa_request_name name = {who ? who : 1, s->number, in->frame.id};
    return stoa_port_ask_once(g->port, actor, in->op->row, g->payload, &name, due_ns, token);
}

typedef stoa_err check_function(stoa_gateway *g, incoming *in);

static stoa_err check_size(stoa_gateway *g, incoming *in)
{
    (void)g;
    return in->size_bytes > STOA_PROTOCOL_REQUEST_MAX ? STOA_E_TOO_LARGE : STOA_OK;
}

static stoa_err check_op(stoa_gateway *g, incoming *in)
{
    (void)g;
    in->op = stoa_protocol_op_find(in->frame.op);
    in->text = "no such operation";
    return in->op ? STOA_OK : STOA_E_NO_HANDLER;
}

static stoa_err check_session(stoa_gateway *g, incoming *in)
{
    (void)g;
    in->text = "no session on this connection: say hello first";
    return in->s->client || in->op->no == STOA_OP_HELLO ? STOA_OK : STOA_E_CLOSED;
}

/* A subscribe's target is what the stream is of; it is checked there. */
static stoa_err check_target(stoa_gateway *g, incoming *in)
{
    (void)g;
    if (in->op->no == STOA_OP_SUBSCRIBE) { return STOA_OK; }
    in->text = stoa_protocol_target_text(in->op->target);
    bool valid = stoa_protocol_target_valid(in->op->target, in->frame.target, in->frame.target_bytes);
    return valid ? STOA_TEXT_SET(&in->target, in->frame.target, in->frame.target_bytes) : STOA_E_INVALID;
}

static stoa_err check_right(stoa_gateway *g, incoming *in)
{
    (void)g;
    in->text = in->op->right == STOA_RIGHT_PLUGIN ? "the plug-in is not this client's" : "the account is not this client's";
    return !in->s->client || client_may(in->s->client, in->op->right, &in->target) ? STOA_OK : STOA_E_DENIED;
}

static stoa_err check_draining(stoa_gateway *g, incoming *in)
{
    in->text = NULL;
    if (!atomic_load_explicit(&g->draining, memory_order_acquire)) { return STOA_OK; }
    return in->op->no == STOA_OP_PING || in->op->no == STOA_OP_UNSUBSCRIBE ? STOA_OK : STOA_E_UNAVAILABLE;
}

static stoa_err check_room(stoa_gateway *g, incoming *in)
{
    in->text = "too many requests without an answer";
    bool asks = !is_own(in->op) || in->op->no == STOA_OP_SUBSCRIBE;
    return asks && in->s->client->requests >= g->options.requests_max ? STOA_E_FULL : STOA_OK;
}

/* The payload goes to g->payload. */
static stoa_err check_payload(stoa_gateway *g, incoming *in)
{
    const stoa_type *type = &in->op->row->payload;
    STOA_ASSERT(type->size_bytes <= sizeof g->payload);
    stoa_err err = stoa_decode_tokens(type, in->frame.payload.tokens, in->frame.payload.count, g->payload);
    if (!err) { err = stoa_protocol_check(in->op, g->payload); }
    in->text = err ? trail_text(in->said, sizeof in->said) : NULL;
    return err;
}

/* Everything that can be said of a request without asking an actor. */
static stoa_err check(stoa_gateway *g, incoming *in)
{
    static check_function *const checks[] = {check_size,  check_op,       check_session, check_target,
                                             check_right, check_draining, check_room,    check_payload};
    stoa_err err = STOA_OK;
    for (size_t i = 0; i < sizeof checks / sizeof checks[0] && !err; i++) {
        err = checks[i](g, in);
    }
    return err;
}

/* --- asking the actor */

static void ask(stoa_gateway *g, const incoming *in)
{
    session *s = in->s;
    const stoa_protocol_op *op = in->op;
    uint64_t token;
    if (op->author >= 0) { memcpy(g->payload + op->author, &s->client->is.name, sizeof s->client->is.name); }
    stoa_ref actor;
    char said[STOA_PROTOCOL_TEXT_MAX + 1] = "";
    stoa_err err = gateway_find(g, op->target, &in->target, &actor, said);
    request *r = err ? NULL : request_new(g, s, &token);
    if (!err && !r) { err = STOA_E_FULL; }
    if (!err) {
        err = ask_actor(g, in, actor, token);
        if (err) { request_free(g, r); }
    }
    if (err) {
        session_refuse(g, s, in->frame.id, (stoa_stamp){.error = outward(err)}, said[0] ? said : NULL, false);
        return;
    }
    r->op = op;
    r->id = in->frame.id;
    r->target = in->target;
    r->counted = true;
    s->client->requests++;
}

void session_frame(stoa_gateway *g, stoa_peer peer, const char *identity, const void *bytes, uint32_t size_bytes)
{
    session *s = session_find(g, peer);
    if (!s) { return; } /* there was no memory for it */
    incoming in = {.s = s, .identity = identity, .size_bytes = size_bytes};
    stoa_err err = stoa_request_frame_read(bytes, size_bytes, &g->tokens, &in.frame);
    if (err) {
        in.text = trail_text(in.said, sizeof in.said);
    } else {
        err = check(g, &in);
    }
    if (err) {
        session_refuse(g, s, in.frame.id, (stoa_stamp){.error = err}, in.text, false);
        return;
    }
    stoa_counter_add(g->count.requests[in.op - stoa_protocol_ops], 1);
    if (is_own(in.op)) {
        own_requests[in.op->no](g, &in, g->payload);
    } else {
        ask(g, &in);
    }
}
