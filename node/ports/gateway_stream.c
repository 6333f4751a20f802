/* gateway_stream.c - subscriptions: where each stands in its topic's backlog, what it is missing and where
 * that comes from (node/ports/gateway.h).
 *
 * A subscription knows the last sequence number its client has, and its place in the backlog. What the
 * backlog has next either follows, and is sent, or something is missing: the numbers between are not in the
 * backlog (any more), because the client was away or slow, because the gateway had not subscribed yet, or
 * because the port dropped them. Then, by stream:
 *
 *     room             the room is asked for the posts; what it does not keep any more is told as a gap
 *     orders, books    the actor is asked for a snapshot; the gap up to it is told, then the snapshot is sent
 *     trades           the gap is told
 *
 * A subscribe asks the actor first, which is also the check that the client may listen (rooms) and how far
 * the stream is. Answers and published items of one actor come in its order, so a snapshot holds all items
 * that came before it.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "node/ports/gateway_inside.h"

enum { ASK_DEADLINE_S = 5, RETRY_MS = 200, ROOM_PAGE = 16 };

/* --- what to ask the actor, and what its answer says */

typedef struct way {
    const stoa_row *ask; /* NULL: there is nothing to ask */
    void (*fill)(const subscription *sub, void *payload_out);
    uint64_t (*newest)(const void *answer);
    /* What is missing is in the answer; NULL: it cannot be had. */
    void (*missing)(stoa_gateway *g, subscription *sub, const stoa_delivery *d);
} way;

static const way *way_of(const subscription *sub);

/* --- lists */

void stream_ready(stoa_gateway *g, subscription *sub)
{
    session *s = sub->owner;
    if (!sub->ready) {
        sub->ready = true;
        sub->next_ready = NULL;
        if (s->ready_head) {
            s->ready_tail->next_ready = sub;
        } else {
            s->ready_head = sub;
        }
        s->ready_tail = sub;
    }
    gateway_ready(g, s);
}

static void unready(subscription *sub)
{
    session *s = sub->owner;
    subscription **at = &s->ready_head, *before = NULL;
    while (*at != sub) {
        before = *at;
        at = &(*at)->next_ready;
    }
    *at = sub->next_ready;
    if (s->ready_tail == sub) { s->ready_tail = before; }
    sub->ready = false;
}

static void stop_waiting(subscription *sub)
{
    if (!sub->link_waiting) { return; }
    *sub->link_waiting = sub->next_waiting;
    if (sub->next_waiting) { sub->next_waiting->link_waiting = sub->link_waiting; }
    sub->link_waiting = NULL;
}

static void wait_and_retry(stoa_gateway *g, subscription *sub)
{
    sub->state = STREAM_WAITING;
    sub->retry_ns = g->now_ns + STOA_MS(RETRY_MS);
    sub->next_waiting = g->waiting;
    sub->link_waiting = &g->waiting;
    if (g->waiting) { g->waiting->link_waiting = &sub->next_waiting; }
    g->waiting = sub;
}

static subscription *stream_new(stoa_gateway *g, session *s, topic *t)
{
    subscription *sub = calloc(1, sizeof *sub);
    if (!sub) { return NULL; }
    *sub = (subscription){.owner = s,
                          .topic = t,
                          .stream = t->stream,
                          .next = s->subscriptions,
                          .link = &s->subscriptions,
                          .next_of_topic = t->subscribers,
                          .link_of_topic = &t->subscribers};
    if (sub->next) { sub->next->link = &sub->next; }
    s->subscriptions = sub;
    if (sub->next_of_topic) { sub->next_of_topic->link_of_topic = &sub->next_of_topic; }
    t->subscribers = sub;
    s->client->streams++;
    stoa_counter_add(g->count.streams, 1);
    return sub;
}

void stream_free(stoa_gateway *g, subscription *sub)
{
    request *r = request_find(g, sub->token);
    if (r && r->stream == sub) {
        r->stream = NULL;
        r->owner = NULL;
    }
    if (sub->ready) { unready(sub); }
    stop_waiting(sub);
    *sub->link = sub->next;
    if (sub->next) { sub->next->link = sub->link; }
    *sub->link_of_topic = sub->next_of_topic;
    if (sub->next_of_topic) { sub->next_of_topic->link_of_topic = sub->link_of_topic; }
    sub->topic->used_ns = g->now_ns;
    sub->owner->client->streams--;
    stoa_gauge_set(g->count.streams, stoa_counter_get(g->count.streams) - 1);
    frames_clear(&sub->out);
    free(sub);
}

void stream_end(stoa_gateway *g, subscription *sub, stoa_err why, const char *text)
{
    session *s = sub->owner;
    stoa_writer w = gateway_writer(g);
    text = text ? text : stoa_err_text(why);
    if (sub->state == STREAM_STARTING) {
        session_refuse(g, s, sub->id, (stoa_stamp){.error = why}, text, true);
    } else {
        stoa_end_frame_write(&w, sub->id, why, text);
        gateway_send(g, s, w.at, w.used_bytes, false);
    }
    stream_free(g, sub);
}

/* --- frames ahead of the backlog */

static void put(subscription *sub, const stoa_writer *w)
{
    STOA_ASSERT(!w->cut);
    if (!frames_put(&sub->out, w->at, w->used_bytes, false)) { sub->broken = true; }
}

/* The client is told that from .. to are not coming; to below from: what it has behind to is void. */
static void put_gap(stoa_gateway *g, subscription *sub, uint64_t from, uint64_t to)
{
    stoa_writer w = gateway_writer(g);
    stoa_gap_frame_write(&w, sub->id, from, to);
    put(sub, &w);
    stoa_counter_add(g->count.gaps, 1);
}

static void put_item(stoa_gateway *g, subscription *sub, uint32_t item, uint64_t seq, const stoa_delivery *d,
                     const stoa_type *type, const void *payload)
{
    uint8_t tail[STOA_PROTOCOL_FRAME_MAX / 2];
    stoa_writer t = {.at = tail, .cap_bytes = sizeof tail}, w = gateway_writer(g);
    stoa_item_tail_write(&t, item, seq, (stoa_stamp){STOA_OK, d->durability, d->position}, type, payload);
    STOA_ASSERT(!t.cut);
    stoa_item_frame_write(&w, sub->id, tail, t.used_bytes);
    put(sub, &w);
    stoa_counter_add(g->count.items, 1);
}

/* --- asking */

/* Whether it makes sense to ask again. */
static bool is_passing(stoa_err err)
{
    static const stoa_err passing[] = {STOA_E_FULL,        STOA_E_TIMEOUT, STOA_E_CLOSED,
                                       STOA_E_UNAVAILABLE, STOA_E_FAILED,  STOA_E_NOMEM};
    for (size_t i = 0; i < sizeof passing / sizeof passing[0]; i++) {
        if (err == passing[i]) { return true; }
    }
    return false;
}

/* Ask the actor, in the client's name. */
static stoa_err ask(stoa_gateway *g, subscription *sub, uint64_t deadline_ns)
{
    const way *w = way_of(sub);
    _Alignas(8) uint8_t payload[256] = {0};
    stoa_ref actor;
    char said[STOA_PROTOCOL_TEXT_MAX + 1];
    stoa_err err = gateway_find(g, sub->stream->target, &sub->target, &actor, said);
    if (err) { return err; }
    STOA_ASSERT(w->ask->payload.size_bytes <= sizeof payload);
    w->fill(sub, payload);
    request *r = request_new(g, sub->owner, &sub->token);
    if (!r) { return STOA_E_FULL; }
    r->stream = sub;
    r->id = sub->id;
    err = stoa_port_ask(g->port, actor, w->ask, payload, 0, deadline_ns, sub->token);
    if (err) { request_free(g, r); }
    return err;
}

static void ask_for_missing(stoa_gateway *g, subscription *sub)
{
    stoa_err err = ask(g, sub, STOA_S(ASK_DEADLINE_S));
    if (!err) {
        sub->state = STREAM_ASKING;
    } else if (is_passing(err)) {
        wait_and_retry(g, sub);
    } else {
        stream_end(g, sub, err, NULL);
    }
}

uint64_t stream_retry(stoa_gateway *g)
{
    uint64_t next_ns = UINT64_MAX;
    for (subscription *sub = g->waiting, *next; sub; sub = next) {
        next = sub->next_waiting;
        if (sub->retry_ns > g->now_ns) {
            next_ns = sub->retry_ns < next_ns ? sub->retry_ns : next_ns;
            continue;
        }
        stop_waiting(sub);
        ask_for_missing(g, sub); /* puts it at the head of the list again, or ends it */
    }
    return next_ns;
}

/* --- going on from an answer */

static void go_live(stoa_gateway *g, subscription *sub)
{
    sub->state = STREAM_LIVE;
    sub->mid = false;
    sub->place = topic_seek(g, sub->topic, sub->last);
    stream_ready(g, sub);
}

/* Orders: further pages leave the place in the sequence where the first one set it. */
static void note_page(subscription *sub, const stoa_delivery *d)
{
    if (sub->stream->snapshot != STOA_ITEM_ORDERS) { return; }
    const trade_account_page *page = d->payload;
    sub->paging = page->more != 0 && page->orders.count > 0;
    sub->page_after = sub->paging ? page->orders.at[page->orders.count - 1].order_id : 0;
}

/* The client's view begins, or begins again, with the state in the answer, or with what comes behind its
 * number. */
static void begin_at(stoa_gateway *g, subscription *sub, uint64_t newest, const stoa_delivery *d)
{
    sub->last = sub->known = newest;
    if (sub->stream->snapshot != STOA_ITEM_NONE) {
        note_page(sub, d);
        put_item(g, sub, sub->stream->snapshot, newest, d, &d->row->payload, d->payload);
    }
    go_live(g, sub);
}

static void start(stoa_gateway *g, subscription *sub, uint64_t newest, const stoa_delivery *d)
{
    if (!sub->resume) {
        begin_at(g, sub, newest, d);
    } else if (sub->last > newest) { /* this server's history is shorter than what the client saw */
        put_gap(g, sub, sub->last + 1, newest);
        begin_at(g, sub, newest, d);
    } else {
        sub->known = newest;
        go_live(g, sub);
    }
}

static void missing_snapshot(stoa_gateway *g, subscription *sub, const stoa_delivery *d)
{
    if (sub->paging) {
        note_page(sub, d);
        put_item(g, sub, sub->stream->snapshot, sub->last, d, &d->row->payload, d->payload);
        go_live(g, sub);
        return;
    }
    uint64_t newest = way_of(sub)->newest(d->payload);
    if (newest < sub->known) { newest = sub->known; } /* never ask for the same twice */
    if (newest != sub->last) { put_gap(g, sub, sub->last + 1, newest); }
    begin_at(g, sub, newest, d);
}

static void missing_posts(stoa_gateway *g, subscription *sub, const stoa_delivery *d)
{
    const room_page *page = d->payload;
    const stoa_protocol_item *item = stoa_protocol_item_find(sub->stream->change);
    for (uint32_t i = 0; i < page->entries.count; i++) {
        room_message message = {.entry = page->entries.at[i]};
        uint64_t seq = message.entry.seq;
        if (seq <= sub->last) { continue; }
        if (seq > sub->last + 1) { put_gap(g, sub, sub->last + 1, seq - 1); }
        put_item(g, sub, item->no, seq, d, &item->row->payload, &message);
        sub->last = seq;
    }
    if (page->entries.count == 0 && sub->known > sub->last) { /* the room has forgotten what the backlog promised */
        put_gap(g, sub, sub->last + 1, sub->known);
        sub->last = sub->known;
    }
    if (page->last > sub->known) { sub->known = page->last; }
    go_live(g, sub);
}

void stream_answered(stoa_gateway *g, subscription *sub, uint64_t request_id, const stoa_delivery *d)
{
    stoa_stamp stamp = {d->error, d->durability, d->position};
    sub->token = 0;
    if (sub->state == STREAM_STARTING && d->error) {
        session_refuse(g, sub->owner, request_id, stamp, NULL, true);
        stream_free(g, sub);
    } else if (sub->state == STREAM_STARTING) {
        client_subscribed out = {.newest = way_of(sub)->newest(d->payload)};
        session_answer(g, sub->owner, request_id, stamp, &client_rows[client_ROW_subscribed], &out);
        start(g, sub, out.newest, d);
    } else if (!d->error) {
        way_of(sub)->missing(g, sub, d);
    } else if (is_passing(d->error)) {
        wait_and_retry(g, sub);
    } else {
        stream_end(g, sub, d->error, NULL);
    }
}

/* --- the ways of the streams */

static void fill_orders(const subscription *sub, void *payload_out)
{
    memcpy(payload_out, &(trade_account_orders){.after_order_id = sub->page_after, .open_only = 1},
           sizeof(trade_account_orders));
}

static uint64_t newest_order(const void *answer)
{
    return ((const trade_account_page *)answer)->seq;
}

static void fill_depth(const subscription *sub, void *payload_out)
{
    uint64_t limit = sub->stream->snapshot == STOA_ITEM_NONE ? 1 : MARKET_LEVELS_MAX;
    memcpy(payload_out, &(trade_book_depth){.limit = limit}, sizeof(trade_book_depth));
}

static uint64_t newest_diff(const void *answer)
{
    return ((const trade_book_view *)answer)->last_id;
}

static uint64_t newest_trade(const void *answer)
{
    return ((const trade_book_view *)answer)->trades;
}

/* To begin with, one post is enough to know the number; later, what comes behind the last one sent. */
static void fill_history(const subscription *sub, void *payload_out)
{
    bool starting = sub->state == STREAM_STARTING;
    room_history history = {.author = sub->owner->client->is.name,
                            .from_seq = starting ? 0 : sub->last + 1,
                            .limit = starting ? 1 : ROOM_PAGE};
    memcpy(payload_out, &history, sizeof history);
}

static uint64_t newest_post(const void *answer)
{
    return ((const room_page *)answer)->last;
}

static void fill_view(const subscription *sub, void *payload_out)
{
    (void)sub;
    memcpy(payload_out, &(market_book_view){.limit = MARKET_LEVELS_MAX}, sizeof(market_book_view));
}

static uint64_t newest_mirrored(const void *answer)
{
    return ((const market_book_state *)answer)->last_id;
}

#define ASK(table, name) &table##_rows[table##_ROW_##name]
static const way ways[] = {
    [STOA_STREAM_ORDERS] = {ASK(trade_account, orders), fill_orders, newest_order, missing_snapshot},
    [STOA_STREAM_BOOK] = {ASK(trade_book, depth), fill_depth, newest_diff, missing_snapshot},
    [STOA_STREAM_TRADES] = {ASK(trade_book, depth), fill_depth, newest_trade, NULL},
    [STOA_STREAM_ROOM] = {ASK(room, history), fill_history, newest_post, missing_posts},
    [STOA_STREAM_MARKET_TOP] = {NULL, NULL, NULL, NULL},
    [STOA_STREAM_MARKET_TRADE] = {NULL, NULL, NULL, NULL},
    [STOA_STREAM_MARKET_DIFF] = {ASK(market_book, view), fill_view, newest_mirrored, missing_snapshot},
};

static const way *way_of(const subscription *sub)
{
    STOA_ASSERT(sub->stream->no < STOA_COUNT_OF_(ways));
    return &ways[sub->stream->no];
}

/* --- sending */

/* Numbers up to known are missing. false: wait for the actor. */
static bool handle_missing(stoa_gateway *g, subscription *sub, uint64_t until)
{
    if (until > sub->known) { sub->known = until; }
    if (!way_of(sub)->missing) {
        put_gap(g, sub, sub->last + 1, until);
        sub->last = until;
        return true;
    }
    sub->page_after = 0;
    ask_for_missing(g, sub);
    return false;
}

typedef enum step {
    STEP_SENT,    /* or skipped: look at the next */
    STEP_IDLE,    /* nothing there */
    STEP_WAIT,    /* for the actor; or the stream has ended: sub is gone */
    STEP_BLOCKED, /* the link is full */
} step;

static step send_item(stoa_gateway *g, subscription *sub, const backlog_item *item)
{
    stoa_writer w = gateway_writer(g);
    stoa_item_frame_write(&w, sub->id, item->tail, item->size_bytes);
    if (!gateway_push(g, sub->owner, w.at, w.used_bytes)) { return STEP_BLOCKED; }
    stoa_counter_add(g->count.items, 1);
    sub->mid = !item->whole;
    if (item->whole) { sub->last = item->last; }
    sub->place++;
    return STEP_SENT;
}

/* The next item in a DENSE stream follows, is known already, or shows that something is missing. */
static step step_dense(stoa_gateway *g, subscription *sub, const backlog_item *item)
{
    if (item->last <= sub->last) {
        sub->place++;
        return STEP_SENT;
    }
    bool first_part_lost = !item->begins && !sub->mid;
    uint64_t until = first_part_lost ? item->last : item->first - 1;
    if (first_part_lost || item->first > sub->last + 1) {
        return handle_missing(g, sub, until) ? STEP_SENT : STEP_WAIT;
    }
    return send_item(g, sub, item);
}

/* LOOSE: only what fell out of the backlog, or was published while the client was away, is known to be
 * missing. */
static step step_loose(stoa_gateway *g, subscription *sub, const backlog_item *item)
{
    if (item->last <= sub->last) {
        sub->place++;
        return STEP_SENT;
    }
    bool unsure = sub->unsure;
    sub->unsure = false;
    if (unsure && item->first > sub->last + 1) {
        put_gap(g, sub, sub->last + 1, item->first - 1);
        sub->last = item->first - 1;
        return STEP_SENT;
    }
    return send_item(g, sub, item);
}

static step step_on(stoa_gateway *g, subscription *sub)
{
    const topic *t = sub->topic;
    if (sub->place < t->begin) {
        sub->place = t->begin;
        sub->unsure = true;
    }
    if (sub->place == t->end) {
        if (sub->stream->order != STOA_STREAM_DENSE || sub->last >= sub->known) { return STEP_IDLE; }
        return handle_missing(g, sub, sub->known) ? STEP_SENT : STEP_WAIT;
    }
    if (sub->stream->order == STOA_STREAM_LATEST) { sub->place = t->end - 1; }
    const backlog_item *item = topic_item(g, t, sub->place);
    if (sub->stream->order == STOA_STREAM_DENSE) { return step_dense(g, sub, item); }
    if (sub->stream->order == STOA_STREAM_LOOSE) { return step_loose(g, sub, item); }
    return send_item(g, sub, item);
}

bool stream_pump(stoa_gateway *g, subscription *sub, uint32_t *budget_io)
{
    session *s = sub->owner;
    while (*budget_io > 0) {
        if (sub->broken) {
            stream_end(g, sub, STOA_E_NOMEM, NULL);
            return true;
        }
        uint32_t waiting = sub->out.count;
        bool room = gateway_send_frames(g, s, &sub->out);
        *budget_io -= waiting - sub->out.count < *budget_io ? waiting - sub->out.count : *budget_io;
        if (!room) { break; }
        if (sub->state != STREAM_LIVE) { return true; }
        if (sub->paging) {
            ask_for_missing(g, sub);
            return true;
        }
        step did = step_on(g, sub);
        if (did == STEP_IDLE || did == STEP_WAIT) { return true; }
        if (did == STEP_BLOCKED) { break; }
        if (*budget_io > 0) { --*budget_io; }
    }
    stream_ready(g, sub); /* more to do, now or when the link has room */
    return *budget_io == 0;
}

void stream_began_anew(stoa_gateway *g, topic *t, uint64_t first)
{
    for (subscription *sub = t->subscribers, *next; sub; sub = next) {
        next = sub->next_of_topic;
        if (sub->state == STREAM_STARTING) { continue; }
        sub->known = first - 1;
        sub->mid = false;
        sub->place = t->end;
        if (way_of(sub)->missing) {
            if (sub->state == STREAM_LIVE) { (void)handle_missing(g, sub, first - 1); }
        } else {
            put_gap(g, sub, sub->last + 1, first - 1);
            sub->last = first - 1;
        }
    }
}

/* --- beginning and ending */

static subscription *find_stream(const session *s, uint64_t id)
{
    subscription *sub = s->subscriptions;
    while (sub && sub->id != id) {
        sub = sub->next;
    }
    return sub;
}

static stoa_err check_subscribe(const stoa_gateway *g, const session *s, const stoa_request_frame *frame,
                                const stoa_protocol_stream *stream, stoa_text30 *target_out, const char **text_out)
{
    if (!stream) {
        *text_out = "client.subscribe.stream: none of the streams' numbers";
        return STOA_E_INVALID;
    }
    if (!stoa_protocol_target_valid(stream->target, frame->target, frame->target_bytes)) {
        *text_out = stoa_protocol_target_text(stream->target);
        return STOA_E_INVALID;
    }
    (void)STOA_TEXT_SET(target_out, frame->target, frame->target_bytes);
    if (!client_may(s->client, stoa_protocol_targets[stream->target].listen, target_out)) {
        *text_out = "the account is not this client's";
        return STOA_E_DENIED;
    }
    if (find_stream(s, frame->id)) {
        *text_out = "this id is a stream's already";
        return STOA_E_EXISTS;
    }
    if (s->client->streams >= g->options.streams_max) {
        *text_out = "too many streams";
        return STOA_E_FULL;
    }
    return STOA_OK;
}

/* Streams that nobody can be asked about begin with what the backlog has. */
static void begin_unasked(stoa_gateway *g, subscription *sub)
{
    const topic *t = sub->topic;
    uint64_t newest = t->begin < t->end ? topic_item(g, t, t->end - 1)->last : 0;
    client_subscribed out = {.newest = newest};
    session_answer(g, sub->owner, sub->id, (stoa_stamp){0}, &client_rows[client_ROW_subscribed], &out);
    bool latest = sub->stream->order == STOA_STREAM_LATEST;
    if (sub->resume && sub->last > newest && newest != 0 && !latest) {
        put_gap(g, sub, sub->last + 1, newest);
        sub->last = newest;
    }
    if (!sub->resume) { sub->last = newest; }
    sub->unsure = sub->resume && (newest == 0 || topic_item(g, t, t->begin)->first > sub->last);
    go_live(g, sub);
    if (latest) { sub->place = t->begin < t->end ? t->end - 1 : t->end; }
}

void stream_subscribe(stoa_gateway *g, session *s, const stoa_request_frame *frame, const client_subscribe *in,
                      uint64_t deadline_ns)
{
    const stoa_protocol_stream *stream = stoa_protocol_stream_find(in->stream);
    const char *text = NULL;
    char said[STOA_PROTOCOL_TEXT_MAX + 1];
    stoa_text30 target = {0};
    topic *t = NULL;
    subscription *sub = NULL;
    stoa_err err = check_subscribe(g, s, frame, stream, &target, &text);
    if (!err) {
        stoa_ref actor;
        err = gateway_find(g, stream->target, &target, &actor, said);
        text = err ? said : NULL;
    }
    if (!err) { err = topic_open(g, stream, &target, &t); }
    if (!err) {
        sub = stream_new(g, s, t);
        err = sub ? STOA_OK : STOA_E_NOMEM;
    }
    if (err) {
        session_refuse(g, s, frame->id, (stoa_stamp){.error = err}, text, false);
        return;
    }
    sub->id = frame->id;
    sub->target = target;
    sub->resume = in->resume != 0;
    sub->last = in->resume ? in->after : 0;
    s->client->requests++; /* until the subscribe is answered */
    if (!way_of(sub)->ask) {
        begin_unasked(g, sub);
        return;
    }
    err = ask(g, sub, deadline_ns);
    if (err) {
        stream_end(g, sub, err, NULL);
        return;
    }
    request_find(g, sub->token)->counted = true;
}

void stream_unsubscribe(stoa_gateway *g, session *s, uint64_t request_id, const client_unsubscribe *in)
{
    subscription *sub = find_stream(s, in->stream);
    if (!sub) {
        session_refuse(g, s, request_id, (stoa_stamp){.error = STOA_E_NOT_FOUND}, "no such stream", false);
        return;
    }
    if (sub->state == STREAM_STARTING) {
        stream_end(g, sub, STOA_E_CANCELLED, NULL); /* as the answer to its subscribe */
    } else {
        stream_free(g, sub);
    }
    client_done done = {0};
    stoa_writer w = gateway_writer(g);
    stoa_answer_frame_write(&w, request_id, (stoa_stamp){0}, &client_rows[client_ROW_done].payload, &done);
    gateway_send(g, s, w.at, w.used_bytes, false);
}

static void revoke_of_session(stoa_gateway *g, session *s, const stoa_text30 *target)
{
    for (subscription *sub = s->subscriptions, *next; sub; sub = next) {
        next = sub->next;
        stoa_right right = stoa_protocol_targets[sub->stream->target].listen;
        bool left = target && right == STOA_RIGHT_MEMBER && STOA_TEXT_EQ(&sub->target, target);
        if (left || !client_may(s->client, right, &sub->target)) {
            stream_end(g, sub, STOA_E_DENIED, left ? "the client left the room" : "the account is not this client's");
        }
    }
}

void stream_revoke(stoa_gateway *g, client *c, const stoa_text30 *target)
{
    for (uint32_t b = 0; b < SESSION_BUCKETS; b++) {
        for (session *s = g->sessions[b]; s; s = s->next) {
            if (s->client == c) { revoke_of_session(g, s, target); }
        }
    }
}
