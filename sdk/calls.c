/* calls.c - requests under way: their retries and deadlines, and the calls that wait (sdk/inside.h).
 *
 * A call that was sent and whose connection is gone is sent again on the next one, under the same id. The node remembers the
 * requests of a session that had an effect (hello's `remember`), so it is done once and answered with the first answer. Where
 * that memory is gone, orders and posts are still safe, as they carry the caller's id; the rest changes nothing or says the same
 * again. A call that the node refuses as STALE was forgotten, and may have been done before: it ends with that and is never sent
 * again. The session is left then, as all of its requests may be forgotten: those that have been sent are still asked for in it
 * until they end, those that have not wait, and go out in the next one.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include <stdlib.h>
#include <string.h>

#include "sdk/inside.h"

enum { PAUSE_FIRST_MS = 20, PAUSE_MAX_MS = 500, HEAD_BYTES_MAX = 64 };

/* --- places */

static call *free_place(stoa_client *c)
{
    for (uint32_t i = 0; i < c->calls_max; i++) {
        uint32_t place = (c->hint + i) % c->calls_max;
        if (c->calls[place].used) { continue; }
        c->hint = place + 1;
        call *at = &c->calls[place];
        *at = (call){.id = ++c->generation * CALLS_MAX + place};
        return at;
    }
    return NULL;
}

call *call_find(stoa_client *c, uint64_t id)
{
    uint64_t place = id % CALLS_MAX;
    if (place >= c->calls_max) { return NULL; }
    call *at = &c->calls[place];
    return at->used && at->id == id ? at : NULL;
}

void call_drop(stoa_client *c, call *at)
{
    free(at->payload);
    at->payload = NULL;
    at->used = false;
    c->call_count--;
    c->unsent -= !at->sent;
    c->waiting -= at->sent;
}

static stoa_err encode(stoa_client *c, const stoa_protocol_op *op, const void *payload, call *at)
{
    stoa_writer w = {.at = c->frame, .cap_bytes = sizeof c->frame - HEAD_BYTES_MAX};
    stoa_err err = stoa_encode(&op->row->payload, payload, &w);
    if (err) { return STOA_FAIL(err, "%s", op->name); }
    at->payload = malloc(w.used_bytes);
    if (!at->payload) { return STOA_FAIL(STOA_E_NOMEM, "%s", op->name); }
    memcpy(at->payload, w.at, w.used_bytes);
    at->size_bytes = (uint32_t)w.used_bytes;
    return STOA_OK;
}

static void due(stoa_client *c, uint64_t at_ns)
{
    if (at_ns < c->due_ns) { c->due_ns = at_ns; }
}

stoa_err call_new(stoa_client *c, const stoa_protocol_op *op, const char *target, const void *payload,
                  uint64_t deadline_ns, call **out)
{
    size_t target_bytes = strlen(target);
    if (target_bytes >= TARGET_BYTES) { return STOA_FAIL(STOA_E_INVALID, "%s: target is too long", op->name); }
    call *at = free_place(c);
    if (!at) { return STOA_FAIL(STOA_E_FULL, "%u calls under way", c->call_count); }
    stoa_err err = encode(c, op, payload, at);
    if (err) { return err; }
    memcpy(at->target, target, target_bytes + 1);
    c->now_ns = stoa_clock_real.now_ns(&stoa_clock_real);
    at->due_ns = deadline_ns < UINT64_MAX - c->now_ns ? c->now_ns + deadline_ns : UINT64_MAX;
    at->op = op->no;
    at->pause_ms = PAUSE_FIRST_MS;
    at->used = true;
    c->call_count++;
    c->unsent++;
    due(c, at->due_ns);
    *out = at;
    return STOA_OK;
}

/* --- ends */

void note_text(stoa_client *c, const char *text, size_t size_bytes)
{
    size_t kept = size_bytes < sizeof c->error_text - 1 ? size_bytes : sizeof c->error_text - 1;
    memcpy(c->error_text, text, kept);
    c->error_text[kept] = '\0';
}

/* The callback may start a call in this very place: everything is taken from it before. */
static void end(stoa_client *c, call *at, const stoa_client_answer *answer)
{
    stoa_client_done done = at->done;
    void *context = at->context;
    stream *s = at->stream;
    call_drop(c, at);
    c->handled++;
    if (s && answer->error && !done) { stream_refused(c, s, answer->error); }
    if (!done) { return; }
    bool was_inside = c->inside;
    c->inside = true;
    done(context, answer);
    c->inside = was_inside;
}

static void end_with(stoa_client *c, call *at, stoa_err err, const char *text)
{
    end(c, at, &(stoa_client_answer){.error = err, .text = text});
}

void calls_refused(stoa_client *c, stoa_err err)
{
    for (uint32_t i = 0; i < c->calls_max; i++) {
        call *at = &c->calls[i];
        if (at->used && at->done) { end_with(c, at, err, c->error_text); }
    }
}

void calls_unsent(stoa_client *c)
{
    for (uint32_t i = 0; i < c->calls_max; i++) {
        call *at = &c->calls[i];
        if (!at->used) { continue; }
        if (at->stream && !at->done) {
            call_drop(c, at); /* the next session subscribes anew */
        } else if (at->sent) {
            at->sent = false;
            at->again_ns = 0;
            c->unsent++;
            c->waiting--;
        }
    }
}

/* --- answers */

/* "Retry with the same id" is what these say; the outcome of the first attempt does not matter then. To a plug-in it does: it may have failed
 * of the request itself, or done it before its node was lost. */
static bool is_passing(uint32_t op, stoa_err err)
{
    if (op == STOA_OP_PLUGIN_ASK) { return err == STOA_E_UNAVAILABLE || err == STOA_E_CLOSED; }
    return err == STOA_E_TIMEOUT || err == STOA_E_UNAVAILABLE || err == STOA_E_FAILED || err == STOA_E_CLOSED;
}

static bool try_again(stoa_client *c, call *at)
{
    uint64_t again_ns = c->now_ns + STOA_MS(at->pause_ms);
    if (again_ns >= at->due_ns) { return false; }
    at->sent = false;
    at->again_ns = again_ns;
    at->pause_ms = at->pause_ms * 2 < PAUSE_MAX_MS ? at->pause_ms * 2 : PAUSE_MAX_MS;
    c->unsent++;
    c->waiting--;
    due(c, again_ns);
    return true;
}

void call_answered(stoa_client *c, call *at, const stoa_server_frame *frame)
{
    const stoa_row *reply = stoa_protocol_op_find(at->op)->row->reply;
    stoa_client_answer answer = {
        .error = frame->error,
        .text = "",
        .stamp = {.position = frame->position, .durability = (stoa_durability)frame->durability}};
    if (is_passing(at->op, frame->error) && try_again(c, at)) { return; }
    if (frame->error == STOA_E_STALE && c->welcome.session) { c->renew = true; } /* the caller hears of it; what comes is named anew */
    if (frame->error) {
        note_text(c, frame->text, frame->text_bytes);
        answer.text = c->error_text;
    } else {
        STOA_ASSERT(reply->payload.size_bytes <= sizeof c->payload);
        answer.error = stoa_decode_tokens(&reply->payload, frame->payload.tokens, frame->payload.count, c->payload);
        answer.payload = answer.error ? NULL : c->payload;
    }
    if (at->stream && !answer.error) {
        stream_subscribed(at->stream, ((const client_subscribed *)answer.payload)->newest);
    }
    end(c, at, &answer);
}

/* --- time */

static void send_call(stoa_client *c, call *at)
{
    if (c->waiting >= c->welcome.requests_max) { return; }
    if (c->renew && at->named != c->session) { return; } /* it belongs to the next session */
    uint64_t left_ms = (at->due_ns - c->now_ns) / STOA_MS(1);
    if (!session_send(c, at->op, at->id, at->target, left_ms ? left_ms : 1, at->payload, at->size_bytes)) { return; }
    at->sent = true;
    if (!at->named) { at->named = c->session; }
    c->unsent--;
    c->waiting++;
}

/* What was sent in the present session, and has no answer, is asked under its name only: a new one could not tell that it was done. */
static bool names_under_way(const stoa_client *c)
{
    for (uint32_t i = 0; i < c->calls_max; i++) {
        if (c->calls[i].used && c->calls[i].named == c->session) { return true; }
    }
    return false;
}

static void step_call(stoa_client *c, call *at)
{
    if (c->now_ns >= at->due_ns) {
        if (at->op == STOA_OP_SUBSCRIBE && at->sent) {
            session_say(c, stoa_protocol_op_find(STOA_OP_UNSUBSCRIBE), ID_UNSUBSCRIBE,
                        &(client_unsubscribe){.stream = at->id});
        }
        c->error_text[0] = '\0';
        end_with(c, at, STOA_E_TIMEOUT, "");
        return;
    }
    if (!at->sent && c->phase == PHASE_READY && c->now_ns >= at->again_ns) { send_call(c, at); }
    due(c, at->due_ns);
    if (!at->sent && at->again_ns > c->now_ns) { due(c, at->again_ns); }
}

void calls_step(stoa_client *c)
{
    if (c->renew && c->phase == PHASE_READY && !names_under_way(c)) { session_renew(c); }
    bool can_send = c->unsent > 0 && c->phase == PHASE_READY;
    if (!can_send && c->now_ns < c->due_ns) { return; }
    c->due_ns = UINT64_MAX;
    for (uint32_t i = 0; i < c->calls_max; i++) {
        if (c->calls[i].used) { step_call(c, &c->calls[i]); }
    }
}

uint64_t calls_next_ns(const stoa_client *c)
{
    return c->due_ns;
}

/* --- calls that do not wait */

stoa_err stoa_client_start(stoa_client *client, stoa_client_op op, const char *target, const void *payload,
                           uint64_t deadline_ns, stoa_client_done done, void *context)
{
    const stoa_protocol_op *is = stoa_protocol_op_find(op);
    if (!is || !done || is->row->kind == client_rows[client_ROW_hello].kind) {
        return STOA_FAIL(STOA_E_INVALID, "no such operation for callers");
    }
    if (!stoa_protocol_target_valid(is->target, target, strlen(target))) {
        return STOA_FAIL(STOA_E_INVALID, "%s: target", is->name);
    }
    call *at;
    stoa_err err = call_new(client, is, target, payload, deadline_ns, &at);
    if (err) { return err; }
    at->done = done;
    at->context = context;
    if (client->phase == PHASE_READY) { send_call(client, at); } /* else with the next poll */
    client_stir(client);
    return STOA_OK;
}

/* --- calls that wait */

typedef struct waiter {
    bool done;
    stoa_err error;
    stoa_client_stamp stamp;
    void *out; /* NULL: the answer carries nothing */
    size_t out_bytes;
} waiter;

static void on_answer(void *context, const stoa_client_answer *answer)
{
    waiter *w = context;
    w->done = true;
    w->error = answer->error;
    w->stamp = answer->stamp;
    if (!answer->error && w->out) { memcpy(w->out, answer->payload, w->out_bytes); }
}

static stoa_err wait_for(stoa_client *c, stoa_client_op op, const char *target, const void *payload,
                         uint64_t deadline_ns, void *out, size_t out_bytes, stoa_client_stamp *stamp_out)
{
    waiter w = {.out = out, .out_bytes = out_bytes};
    c->error_text[0] = '\0';
    if (c->inside) { return STOA_FAIL(STOA_E_INVALID, "a call that waits, from a callback"); }
    stoa_err err = stoa_client_start(c, op, target, payload, deadline_ns, on_answer, &w);
    if (err) { return err; }
    client_run(c, &w.done);
    if (stamp_out) { *stamp_out = w.stamp; }
    if (!w.error) { return STOA_OK; }
    return STOA_FAIL(w.error, "%s: %s", stoa_protocol_op_find(op)->name,
                     c->error_text[0] ? c->error_text : stoa_err_text(w.error));
}

stoa_err stoa_client_place(stoa_client *client, const char *account, const trade_account_place *order,
                           uint64_t deadline_ns, trade_order *out, stoa_client_stamp *stamp_out)
{
    return wait_for(client, STOA_CLIENT_ORDER_PLACE, account, order, deadline_ns, out, sizeof *out, stamp_out);
}

stoa_err stoa_client_cancel(stoa_client *client, const char *account, uint64_t order_id, uint64_t client_order_id,
                            uint64_t deadline_ns, trade_order *out, stoa_client_stamp *stamp_out)
{
    trade_account_cancel which = {.order_id = order_id, .client_order_id = client_order_id};
    return wait_for(client, STOA_CLIENT_ORDER_CANCEL, account, &which, deadline_ns, out, sizeof *out, stamp_out);
}

stoa_err stoa_client_query(stoa_client *client, const char *account, uint64_t order_id, uint64_t client_order_id,
                           uint64_t deadline_ns, trade_order *out, stoa_client_stamp *stamp_out)
{
    trade_account_query which = {.order_id = order_id, .client_order_id = client_order_id};
    return wait_for(client, STOA_CLIENT_ORDER_QUERY, account, &which, deadline_ns, out, sizeof *out, stamp_out);
}

stoa_err stoa_client_orders(stoa_client *client, const char *account, uint64_t after_order_id, bool open_only,
                            uint64_t deadline_ns, trade_account_page *out, stoa_client_stamp *stamp_out)
{
    trade_account_orders which = {.after_order_id = after_order_id, .open_only = open_only};
    return wait_for(client, STOA_CLIENT_ORDER_LIST, account, &which, deadline_ns, out, sizeof *out, stamp_out);
}

stoa_err stoa_client_balances(stoa_client *client, const char *account, uint64_t deadline_ns,
                              trade_account_holdings *out, stoa_client_stamp *stamp_out)
{
    return wait_for(client, STOA_CLIENT_ACCOUNT_BALANCES, account, &(trade_account_balances){0}, deadline_ns, out,
                    sizeof *out, stamp_out);
}

stoa_err stoa_client_join(stoa_client *client, const char *room, uint64_t deadline_ns, stoa_client_stamp *stamp_out)
{
    return wait_for(client, STOA_CLIENT_ROOM_JOIN, room, &(room_join){0}, deadline_ns, NULL, 0, stamp_out);
}

stoa_err stoa_client_leave(stoa_client *client, const char *room, uint64_t deadline_ns, stoa_client_stamp *stamp_out)
{
    return wait_for(client, STOA_CLIENT_ROOM_LEAVE, room, &(room_leave){0}, deadline_ns, NULL, 0, stamp_out);
}

stoa_err stoa_client_post(stoa_client *client, const char *room, uint64_t client_post_id, const char *text,
                          uint64_t deadline_ns, room_posted *out, stoa_client_stamp *stamp_out)
{
    room_post post = {.client_post_id = client_post_id};
    if (STOA_TEXT_SETZ(&post.text, text) != STOA_OK) { return STOA_FAIL(STOA_E_TOO_LARGE, "room.post: text"); }
    return wait_for(client, STOA_CLIENT_ROOM_POST, room, &post, deadline_ns, out, sizeof *out, stamp_out);
}

stoa_err stoa_client_history(stoa_client *client, const char *room, uint64_t from_seq, uint64_t limit,
                             uint64_t deadline_ns, room_page *out, stoa_client_stamp *stamp_out)
{
    room_history which = {.from_seq = from_seq, .limit = limit};
    return wait_for(client, STOA_CLIENT_ROOM_HISTORY, room, &which, deadline_ns, out, sizeof *out, stamp_out);
}

stoa_err stoa_client_members(stoa_client *client, const char *room, uint64_t deadline_ns, room_roster *out,
                             stoa_client_stamp *stamp_out)
{
    return wait_for(client, STOA_CLIENT_ROOM_MEMBERS, room, &(room_members){0}, deadline_ns, out, sizeof *out,
                    stamp_out);
}

stoa_err stoa_client_plugin_ask(stoa_client *client, const char *plugin, const char *instance, const char *message, const char *payload,
                                uint64_t deadline_ns, plugin_answer *out, stoa_client_stamp *stamp_out)
{
    plugin_ask ask = {0};
    bool fits = !STOA_TEXT_SETZ(&ask.instance, instance) && !STOA_TEXT_SETZ(&ask.message, message) && !STOA_TEXT_SETZ(&ask.payload, payload);
    if (!fits) { return STOA_FAIL(STOA_E_TOO_LARGE, "plugin.ask: instance, message or payload"); }
    return wait_for(client, STOA_CLIENT_PLUGIN_ASK, plugin, &ask, deadline_ns, out, sizeof *out, stamp_out);
}

stoa_err stoa_client_depth(stoa_client *client, const char *symbol, uint64_t limit, uint64_t deadline_ns,
                           trade_book_view *out, stoa_client_stamp *stamp_out)
{
    return wait_for(client, STOA_CLIENT_BOOK_DEPTH, symbol, &(trade_book_depth){.limit = limit}, deadline_ns, out,
                    sizeof *out, stamp_out);
}

stoa_err stoa_client_market(stoa_client *client, const char *venue_symbol, uint64_t limit, uint64_t deadline_ns,
                            market_book_state *out, stoa_client_stamp *stamp_out)
{
    return wait_for(client, STOA_CLIENT_MARKET_VIEW, venue_symbol, &(market_book_view){.limit = limit}, deadline_ns,
                    out, sizeof *out, stamp_out);
}
