/* server_test.c - goal: the library does right by its caller whatever the server says, or does not say. Method: a server in this
 * process that says what the test tells it to, over a real link.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include <poll.h>
#include <pthread.h>

#include "actors/client/client_msgs.h"
#include "base/clock.h"
#include "sdk/stoa_client.h"
#include "transport/keys.h"

enum { REQUESTS_MAX = 64 };

typedef struct heard {
    uint32_t op;
    uint64_t id, deadline_ms;
    client_subscribe subscribe; /* where it is one */
} heard;

typedef struct server {
    char folder[64];
    stoa_link *link;
    stoa_peer peer;
    heard requests[REQUESTS_MAX]; /* all that came, but for hello */
    uint32_t count, hellos, pings;
    uint32_t heartbeat_ms;
    bool mute;      /* answers no ping and no hello */
    bool forgetful; /* has lost the session: CLOSED to all but hello */
    stoa_frame_tokens tokens;
    stoa_client *client;
} server;

/* --- the server */

static void say(server *s, const stoa_writer *w)
{
    assert_false(w->cut);
    assert_int_equal(s->link->ops->send(s->link, s->peer, w->at, (uint32_t)w->used_bytes), STOA_OK);
}

static void answer(server *s, uint64_t id, const stoa_row *row, const void *payload)
{
    uint8_t bytes[4096];
    stoa_writer w = {.at = bytes, .cap_bytes = sizeof bytes};
    stoa_answer_frame_write(&w, id, (stoa_stamp){0}, &row->payload, payload);
    say(s, &w);
}

static void refuse(server *s, uint64_t id, stoa_err err)
{
    uint8_t bytes[512];
    stoa_writer w = {.at = bytes, .cap_bytes = sizeof bytes};
    stoa_refusal_frame_write(&w, id, (stoa_stamp){.error = err}, "as told");
    say(s, &w);
}

static void answer_hello(server *s, uint64_t id)
{
    client_welcome welcome = {.version = 1, .heartbeat_ms = s->heartbeat_ms, .requests_max = 16, .streams_max = 16};
    s->hellos++;
    s->forgetful = false;
    if (!s->mute) { answer(s, id, &client_rows[client_ROW_welcome], &welcome); }
}

static void on_frame(void *context, stoa_peer peer, const char *identity, const void *bytes, uint32_t size_bytes)
{
    server *s = context;
    stoa_request_frame frame;
    (void)identity;
    s->peer = peer;
    assert_int_equal(stoa_request_frame_read(bytes, size_bytes, &s->tokens, &frame), STOA_OK);
    if (frame.op == STOA_OP_HELLO) {
        answer_hello(s, frame.id);
    } else if (s->forgetful) {
        refuse(s, frame.id, STOA_E_CLOSED);
    } else if (frame.op == STOA_OP_PING) {
        s->pings++;
        if (!s->mute) { answer(s, frame.id, &client_rows[client_ROW_pong], &(client_pong){0}); }
    } else {
        assert_true(s->count < REQUESTS_MAX);
        heard *h = &s->requests[s->count++];
        *h = (heard){.op = (uint32_t)frame.op, .id = frame.id, .deadline_ms = frame.deadline_ms};
        const stoa_type *type = &client_rows[client_ROW_subscribe].payload;
        if (h->op == STOA_OP_SUBSCRIBE) {
            assert_int_equal(stoa_decode_tokens(type, frame.payload.tokens, frame.payload.count, &h->subscribe),
                             STOA_OK);
        }
    }
}

static void ignore(void *context, stoa_peer peer)
{
    (void)context, (void)peer;
}

/* Let both ends do what they have to do. */
static void turn(server *s)
{
    const stoa_link_events events = {.frame = on_frame, .up = ignore, .down = ignore, .context = s};
    while (s->link->ops->poll(s->link, &events, 64) > 0) {}
    (void)stoa_client_poll(s->client, STOA_MS(1));
}

static void turn_for(server *s, uint64_t ns)
{
    uint64_t until = stoa_clock_real.now_ns(&stoa_clock_real) + ns;
    while (stoa_clock_real.now_ns(&stoa_clock_real) < until) {
        turn(s);
    }
}

static const heard *await(server *s, uint32_t count)
{
    for (int i = 0; i < 10000 && s->count < count; i++) {
        turn(s);
    }
    assert_int_equal(s->count, count);
    return &s->requests[count - 1];
}

static server *start(uint32_t heartbeat_ms)
{
    server *s = calloc(1, sizeof *s);
    stoa_key_pair server_keys, client_keys;
    char path[128], pub[128], key[128];
    (void)snprintf(s->folder, sizeof s->folder, "/tmp/stoa-server-XXXXXX");
    assert_non_null(mkdtemp(s->folder));
    (void)snprintf(path, sizeof path, "%s/server", s->folder);
    (void)snprintf(pub, sizeof pub, "%s/server.pub", s->folder);
    (void)snprintf(key, sizeof key, "%s/client", s->folder);
    assert_int_equal(stoa_key_new(&server_keys), STOA_OK);
    assert_int_equal(stoa_key_new(&client_keys), STOA_OK);
    assert_int_equal(stoa_key_save(path, &server_keys), STOA_OK);
    assert_int_equal(stoa_key_save(key, &client_keys), STOA_OK);
    stoa_link_allowed allowed = {.name = "client"};
    memcpy(allowed.public_key, client_keys.public_key, sizeof allowed.public_key);
    stoa_link_options listen = {.listen = true,
                                .secret_key = server_keys.secret_key,
                                .allowed = &allowed,
                                .allowed_count = 1,
                                .frame_limit = STOA_PROTOCOL_FRAME_MAX,
                                .queue_frames = 256};
    (void)snprintf(path, sizeof path, "zmq+ipc://%s/gateway", s->folder);
    assert_int_equal(stoa_link_open(path, &listen, &s->link), STOA_OK);
    stoa_client_options options = {.endpoint = path, .server_key = pub, .key = key};
    assert_int_equal(stoa_client_open(&options, &s->client), STOA_OK);
    s->heartbeat_ms = heartbeat_ms;
    for (int i = 0; i < 10000 && s->hellos == 0; i++) {
        turn(s);
    }
    assert_int_equal(s->hellos, 1);
    return s;
}

static void stop(server *s)
{
    static const char *const names[] = {"server.key", "server.pub", "client.key", "client.pub", "gateway"};
    char path[128];
    stoa_client_close(s->client);
    s->link->ops->close(s->link, 0);
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        (void)snprintf(path, sizeof path, "%s/%s", s->folder, names[i]);
        (void)unlink(path);
    }
    (void)rmdir(s->folder);
    free(s);
}

/* --- the caller */

typedef struct outcome {
    unsigned answers, errors;
    stoa_err last;
    uint64_t at_ns;
} outcome;

static void on_answer(void *context, const stoa_client_answer *got)
{
    outcome *t = context;
    t->answers++;
    t->errors += got->error != STOA_OK;
    t->last = got->error;
    t->at_ns = stoa_clock_real.now_ns(&stoa_clock_real);
}

static void begin_call(server *s, uint64_t deadline_ns, outcome *t)
{
    trade_account_balances nothing = {{0}};
    assert_int_equal(
        stoa_client_start(s->client, STOA_CLIENT_ACCOUNT_BALANCES, "alice", &nothing, deadline_ns, on_answer, t),
        STOA_OK);
}

static void answer_balances(server *s, uint64_t id)
{
    answer(s, id, &trade_account_rows[trade_account_ROW_holdings], &(trade_account_holdings){0});
}

/* --- calls */

static void a_passing_refusal_is_tried_again_with_the_same_id(void **state)
{
    (void)state;
    static const stoa_err passing[] = {STOA_E_UNAVAILABLE, STOA_E_FAILED, STOA_E_TIMEOUT};
    server *s = start(1000);
    outcome t = {0};
    begin_call(s, STOA_S(10), &t);
    uint64_t id = await(s, 1)->id;
    for (uint32_t i = 0; i < 3; i++) {
        refuse(s, id, passing[i]);
        assert_int_equal(await(s, i + 2)->id, id);
    }
    assert_true(s->requests[3].deadline_ms < s->requests[0].deadline_ms);
    answer_balances(s, id);
    for (int i = 0; i < 1000 && t.answers == 0; i++) {
        turn(s);
    }
    assert_true(t.answers == 1 && t.errors == 0);
    answer_balances(s, id); /* nobody waits for it any more */
    turn_for(s, STOA_MS(20));
    assert_int_equal(t.answers, 1);
    stop(s);
}

static void a_lasting_refusal_is_the_answer(void **state)
{
    (void)state;
    server *s = start(1000);
    outcome t = {0};
    begin_call(s, STOA_S(10), &t);
    refuse(s, await(s, 1)->id, STOA_E_FULL);
    for (int i = 0; i < 1000 && t.answers == 0; i++) {
        turn(s);
    }
    assert_int_equal(t.last, STOA_E_FULL);
    assert_string_equal(stoa_client_error_text(s->client), "as told");
    stop(s);
}

static void a_server_that_lost_the_session_is_greeted_again(void **state)
{
    (void)state;
    server *s = start(1000);
    outcome t = {0};
    s->forgetful = true;
    begin_call(s, STOA_S(10), &t);
    uint64_t id = await(s, 1)->id; /* refused with CLOSED, greeted, sent again */
    assert_int_equal(s->hellos, 2);
    answer_balances(s, id);
    for (int i = 0; i < 1000 && t.answers == 0; i++) {
        turn(s);
    }
    assert_int_equal(t.last, STOA_OK);
    stop(s);
}

static void a_server_that_falls_silent_is_noticed(void **state)
{
    (void)state;
    server *s = start(50);
    turn_for(s, STOA_MS(300));
    assert_true(s->pings >= 2 && s->hellos == 1);
    s->mute = true;
    for (int i = 0; i < 2000 && s->hellos == 1; i++) {
        turn(s);
    }
    assert_true(s->hellos > 1);
    s->mute = false;
    for (int i = 0; i < 3000; i++) {
        stoa_client_view view;
        turn(s);
        stoa_client_look(s->client, &view);
        if (view.sessions > 1 && view.connected) { break; }
    }
    outcome t = {0};
    begin_call(s, STOA_S(10), &t);
    answer_balances(s, await(s, 1)->id);
    for (int i = 0; i < 1000 && t.answers == 0; i++) {
        turn(s);
    }
    assert_int_equal(t.last, STOA_OK);
    stop(s);
}

/* Nothing comes over the link meanwhile: the descriptor must ring for the deadline. */
static void the_descriptor_rings_for_deadlines(void **state)
{
    (void)state;
    server *s = start(60000);
    uint64_t late_ns = 0;
    unsigned rings = 0;
    for (int i = 0; i < 6; i++) {
        outcome t = {0};
        uint64_t began = stoa_clock_real.now_ns(&stoa_clock_real);
        begin_call(s, STOA_MS(60), &t);
        while (t.answers == 0) {
            struct pollfd readable = {.fd = stoa_client_fd(s->client), .events = POLLIN};
            (void)poll(&readable, 1, 3000);
            (void)stoa_client_poll(s->client, 0);
            rings++;
        }
        assert_int_equal(t.last, STOA_E_TIMEOUT);
        uint64_t took = t.at_ns - began;
        assert_true(took >= STOA_MS(60));
        if (took > STOA_MS(60) + late_ns) { late_ns = took - STOA_MS(60); }
    }
    assert_true(late_ns < STOA_MS(150));
    assert_true(rings < 60); /* and for nothing else */
    stop(s);
}

/* --- streams */

typedef struct seen {
    char text[256];
} seen;

static void on_item(void *context, const stoa_client_item *item)
{
    seen *s = context;
    size_t used = strlen(s->text);
    char *at = s->text + used;
    size_t left = sizeof s->text - used;
    if (item->cls == STOA_CLIENT_GAP) {
        (void)snprintf(at, left, "gap %llu-%llu ", (unsigned long long)item->from_seq,
                       (unsigned long long)item->to_seq);
    } else if (item->cls == STOA_CLIENT_END) {
        (void)snprintf(at, left, "end %s ", stoa_client_error_name(item->error));
    } else {
        (void)snprintf(at, left, "%llu ", (unsigned long long)item->seq);
    }
}

/* stoa_client_subscribe waits: meanwhile the server is another thread's. */
static void *consent(void *context)
{
    server *s = context;
    const stoa_link_events events = {.frame = on_frame, .up = ignore, .down = ignore, .context = s};
    uint32_t before = s->count;
    while (s->count == before) {
        if (s->link->ops->poll(s->link, &events, 64) == 0) { (void)poll(NULL, 0, 1); }
    }
    answer(s, s->requests[before].id, &client_rows[client_ROW_subscribed], &(client_subscribed){.newest = 10});
    while (s->link->ops->poll(s->link, &events, 64) > 0) {}
    return NULL;
}

/* The stream's id on the wire. */
static uint64_t subscribe(server *s, uint64_t after, seen *to, uint64_t *handle_out)
{
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, consent, s), 0);
    stoa_err err = stoa_client_subscribe(s->client, STOA_CLIENT_STREAM_TRADES, "BTCUSDT", after, on_item, to,
                                         STOA_S(10), handle_out);
    assert_int_equal(pthread_join(thread, NULL), 0);
    assert_int_equal(err, STOA_OK);
    return s->requests[s->count - 1].id;
}

static void trade(server *s, uint64_t stream, uint64_t id)
{
    uint8_t tail[256], bytes[512];
    stoa_writer t = {.at = tail, .cap_bytes = sizeof tail}, w = {.at = bytes, .cap_bytes = sizeof bytes};
    market_feed_trade payload = {.trade_id = id, .price = 1, .qty = 1};
    const stoa_protocol_item *item = stoa_protocol_item_find(STOA_ITEM_TRADE);
    stoa_item_tail_write(&t, item->no, id, (stoa_stamp){0}, &item->row->payload, &payload);
    stoa_item_frame_write(&w, stream, tail, t.used_bytes);
    say(s, &w);
}

static void say_gap(server *s, uint64_t stream, uint64_t from, uint64_t to)
{
    uint8_t bytes[64];
    stoa_writer w = {.at = bytes, .cap_bytes = sizeof bytes};
    stoa_gap_frame_write(&w, stream, from, to);
    say(s, &w);
}

static void nothing_is_told_twice_and_no_hole_goes_untold(void **state)
{
    (void)state;
    server *s = start(1000);
    seen told = {0};
    uint64_t handle, id = subscribe(s, STOA_CLIENT_NOW, &told, &handle);
    static const uint64_t said[] = {9, 10, 11, 11, 12, 10, 15, 14, 16};
    for (size_t i = 0; i < sizeof said / sizeof said[0]; i++) {
        trade(s, id, said[i]);
    }
    say_gap(s, id, 17, 19);
    trade(s, id, 20);
    trade(s, id + 1, 21); /* of no stream */
    turn_for(s, STOA_MS(50));
    assert_string_equal(told.text, "11 12 gap 13-14 15 16 gap 17-19 20 ");
    stop(s);
}

static void frames_of_a_newer_server_are_passed_over(void **state)
{
    (void)state;
    static const char *const strange[] = {"\xc1", "\x90", "\x95\x02\x65\x01\x02\x03", "\x95\x01\x6e\x01\x02\x03"};
    server *s = start(1000);
    seen told = {0};
    uint64_t handle, id = subscribe(s, STOA_CLIENT_NOW, &told, &handle);
    uint8_t bytes[256];
    for (size_t i = 0; i < sizeof strange / sizeof strange[0]; i++) {
        assert_int_equal(s->link->ops->send(s->link, s->peer, strange[i], (uint32_t)strlen(strange[i])), STOA_OK);
    }
    stoa_writer w = {.at = bytes, .cap_bytes = sizeof bytes};
    stoa_item_frame_write(&w, id, "\x63\x0b\x00\x00\x91\x01", 6); /* item 99 */
    say(s, &w);
    w.used_bytes = 0;
    stoa_item_frame_write(&w, id, "\x05\x0b\x00\x00\xa1x", 6); /* a trade that is a text */
    say(s, &w);
    trade(s, id, 11);
    turn_for(s, STOA_MS(50));
    assert_string_equal(told.text, "11 ");
    stop(s);
}

static void a_stream_is_resumed_behind_the_last_number_told(void **state)
{
    (void)state;
    server *s = start(1000);
    seen told = {0};
    uint64_t handle, id = subscribe(s, STOA_CLIENT_NOW, &told, &handle);
    trade(s, id, 11);
    trade(s, id, 12);
    turn_for(s, STOA_MS(20));
    refuse(s, 999999, STOA_E_CLOSED);
    const heard *resume = await(s, 2);
    uint64_t again = resume->id;
    assert_true(again != id && resume->subscribe.resume == 1 && resume->subscribe.after == 12);
    answer(s, again, &client_rows[client_ROW_subscribed], &(client_subscribed){.newest = 12});
    trade(s, id, 13); /* of the old session */
    trade(s, again, 13);
    turn_for(s, STOA_MS(50));
    assert_string_equal(told.text, "11 12 13 ");
    refuse(s, 999999, STOA_E_CLOSED);
    refuse(s, await(s, 3)->id, STOA_E_DENIED);
    turn_for(s, STOA_MS(50));
    assert_string_equal(told.text, "11 12 13 end DENIED ");
    assert_int_equal(stoa_client_unsubscribe(s->client, handle), STOA_E_NOT_FOUND);
    stop(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_passing_refusal_is_tried_again_with_the_same_id),
        cmocka_unit_test(a_lasting_refusal_is_the_answer),
        cmocka_unit_test(a_server_that_lost_the_session_is_greeted_again),
        cmocka_unit_test(a_server_that_falls_silent_is_noticed),
        cmocka_unit_test(the_descriptor_rings_for_deadlines),
        cmocka_unit_test(nothing_is_told_twice_and_no_hole_goes_untold),
        cmocka_unit_test(frames_of_a_newer_server_are_passed_over),
        cmocka_unit_test(a_stream_is_resumed_behind_the_last_number_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
