/* gateway_test.c - goal: what comes in from outside is checked, answered with a name, and reaches no actor
 * unless it may; streams have no hole that is not told, and a slow client holds up nobody. Method: a node in
 * this process with real journals, and clients that send frames over real sockets, good ones and bad ones.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/node/gateway_kit.h"

/* --- requests */

static void answers_name_their_durability_and_position(void **state)
{
    (void)state;
    world *w = world_new((stoa_gateway_options){0});
    peer *p = dial(w, ALICE);
    client_welcome welcome = hello_as(p, 7);
    assert_int_equal(welcome.version, 1);
    assert_true(STOA_TEXT_EQZ(&welcome.identity, "alice"));
    assert_true(STOA_TEXT_EQZ(&welcome.server, "kit"));
    assert_int_equal(welcome.requests_max, 256);

    trade_account_place in = order_of(1, trade_side_BUY, "60000.5", "0.01");
    trade_account_order placed, again;
    reply first = call(p, STOA_OP_ORDER_PLACE, "alice", &in, &placed);
    assert_int_equal(first.error, STOA_OK);
    assert_int_equal(first.durability, stoa_durability_DISK);
    assert_true(first.position > 0);
    assert_int_equal(placed.order.status, trade_status_OPEN);
    assert_int_equal(call(p, STOA_OP_ORDER_PLACE, "alice", &in, &again).error, STOA_OK);
    assert_int_equal(placed.order.order_id, again.order.order_id);
    in.qty *= 2;
    reply other = call(p, STOA_OP_ORDER_PLACE, "alice", &in, &again);
    assert_int_equal(other.error, STOA_E_DUPLICATE);
    assert_int_equal(other.durability, stoa_durability_DISK);

    client_pong pong;
    assert_int_equal(call(p, STOA_OP_PING, "", &(client_ping){.token = 99}, &pong).error, STOA_OK);
    assert_int_equal(pong.token, 99);
    assert_int_equal(metric(w, "stoa_gateway_requests_total{op=\"order.place\"}"), 3);
    assert_int_equal(metric(w, "stoa_gateway_refused_total{error=\"DUPLICATE\"}"), 1);
    hang_up(p);
    world_free(w);
}

/* Bytes as they stand, and what must come back for them. All are sent by a client with a session. */
static const struct {
    const char *what;
    const char *bytes;
    size_t size_bytes;
    uint64_t id;
    stoa_err err;
} bad_frames[] = {
#define BYTES(text) text, sizeof(text) - 1
    {"no msgpack", BYTES("\xc1"), 0, STOA_E_MALFORMED},
    {"a text", BYTES("\xa5hello"), 0, STOA_E_MALFORMED},
    {"an empty array", BYTES("\x90"), 0, STOA_E_MALFORMED},
    {"cut short", BYTES("\x95\x01\x02"), 0, STOA_E_MALFORMED},
    {"bytes behind the frame", BYTES("\x95\x01\x02\x05\xa0\x91\x01\x00"), 0, STOA_E_MALFORMED},
    {"a map", BYTES("\x81\x01\x02"), 0, STOA_E_MALFORMED},
    {"a float as op", BYTES("\x95\x01\xcb\x40\x00\x00\x00\x00\x00\x00\x00\x05\xa0\x91\x01"), 0, STOA_E_MALFORMED},
    {"a negative op", BYTES("\x95\x01\xff\x05\xa0\x91\x01"), 5, STOA_E_MALFORMED},
    {"a text as id", BYTES("\x95\x01\x02\xa1x\xa0\x91\x01"), 0, STOA_E_MALFORMED},
    {"no payload", BYTES("\x94\x01\x02\x05\xa0"), 5, STOA_E_MALFORMED},
    {"a number as target", BYTES("\x95\x01\x02\x05\x07\x91\x01"), 5, STOA_E_MALFORMED},
    {"a text as deadline", BYTES("\x96\x01\x02\x05\xa0\x91\x01\xa1x"), 5, STOA_E_MALFORMED},
    {"version 2", BYTES("\x95\x02\x02\x05\xa0\x91\x01"), 5, STOA_E_VERSION},
    {"version 0", BYTES("\x95\x00\x02\x05\xa0\x91\x01"), 5, STOA_E_VERSION},
    {"no such op", BYTES("\x95\x01\x63\x05\xa0\x91\x01"), 5, STOA_E_NO_HANDLER},
    {"an enormous op", BYTES("\x95\x01\xcf\xff\xff\xff\xff\xff\xff\xff\xff\x05\xa0\x91\x01"), 5, STOA_E_NO_HANDLER},
    {"a target for ping", BYTES("\x95\x01\x02\x05\xa1x\x91\x01"), 5, STOA_E_INVALID},
    {"no target for place", BYTES("\x95\x01\x0a\x05\xa0\x91\x01"), 5, STOA_E_INVALID},
    {"a slash in the target",
     BYTES("\x95\x01\x0a\x05\xa3"
           "a/b\x91\x01"),
     5, STOA_E_INVALID},
    {"a dot in a symbol",
     BYTES("\x95\x01\x1e\x05\xab"
           "SIM.BTCUSDT\x91\x01"),
     5, STOA_E_INVALID},
    {"a NUL in the target",
     BYTES("\x95\x01\x0a\x05\xa2"
           "a\0\x91\x01"),
     5, STOA_E_INVALID},
    {"somebody else's account",
     BYTES("\x95\x01\x0a\x05\xa3"
           "bob\x91\x01"),
     5, STOA_E_DENIED},
    {"an account that is not there",
     BYTES("\x95\x01\x0a\x05\xa6"
           "nobody\x91\x01"),
     5, STOA_E_DENIED},
    {"a room that is not there",
     BYTES("\x95\x01\x16\x05\xa4"
           "none\x91\xa0"),
     5, STOA_E_NOT_FOUND},
    {"a symbol that is not there",
     BYTES("\x95\x01\x1e\x05\xa3"
           "XYZ\x91\x01"),
     5, STOA_E_UNKNOWN_SYMBOL},
    {"a venue that is not there",
     BYTES("\x95\x01\x1f\x05\xa5"
           "x.XYZ\x91\x01"),
     5, STOA_E_UNKNOWN_SYMBOL},
    {"no array as payload", BYTES("\x95\x01\x02\x05\xa0\x01"), 5, STOA_E_INVALID},
    {"a text as token", BYTES("\x95\x01\x02\x05\xa0\x91\xa1x"), 5, STOA_E_INVALID},
    {"a negative token", BYTES("\x95\x01\x02\x05\xa0\x91\xff"), 5, STOA_E_RANGE},
    {"an unknown side",
     BYTES("\x95\x01\x0a\x05\xa5"
           "alice\x98\x01\xa7"
           "BTCUSDT\x02\x00\x00\x00\xa1"
           "1\xa1"
           "1"),
     5, STOA_E_INVALID},
    {"a price as number",
     BYTES("\x95\x01\x0a\x05\xa5"
           "alice\x98\x01\xa7"
           "BTCUSDT\x00\x00\x00\x00\x01\xa1"
           "1"),
     5, STOA_E_INVALID},
    {"a price with 9 decimals",
     BYTES("\x95\x01\x0a\x05\xa5"
           "alice\x98\x01\xa7"
           "BTCUSDT\x00\x00\x00\x00\xab"
           "0.123456789\xa1"
           "1"),
     5, STOA_E_PRECISION},
    {"a price beyond int64",
     BYTES("\x95\x01\x0a\x05\xa5"
           "alice\x98\x01\xa7"
           "BTCUSDT\x00\x00\x00\x00\xac"
           "999999999999\xa1"
           "1"),
     5, STOA_E_RANGE},
    {"more decimals than the tick",
     BYTES("\x95\x01\x0a\x05\xa5"
           "alice\x98\x01\xa7"
           "BTCUSDT\x00\x00\x00\x00\xa5"
           "1.001\xa1"
           "1"),
     5, STOA_E_PRECISION},
    {"a negative quantity",
     BYTES("\x95\x01\x0a\x05\xa5"
           "alice\x98\x01\xa7"
           "BTCUSDT\x00\x00\x00\x00\xa1"
           "1\xa2"
           "-1"),
     5, STOA_E_INVALID},
    {"no client_order_id",
     BYTES("\x95\x01\x0a\x05\xa5"
           "alice\x98\x00\xa7"
           "BTCUSDT\x00\x00\x00\x00\xa1"
           "1\xa1"
           "1"),
     5, STOA_E_INVALID},
    {"an unknown symbol in an order",
     BYTES("\x95\x01\x0a\x05\xa5"
           "alice\x98\x01\xa3"
           "XYZ\x00\x00\x00\x00\xa1"
           "1\xa1"
           "1"),
     5, STOA_E_UNKNOWN_SYMBOL},
    {"no such stream", BYTES("\x95\x01\x03\x05\xa0\x93\x63\x00\x00"), 5, STOA_E_INVALID},
    {"a stream without target", BYTES("\x95\x01\x03\x05\xa0\x93\x01\x00\x00"), 5, STOA_E_INVALID},
    {"somebody else's orders",
     BYTES("\x95\x01\x03\x05\xa3"
           "bob\x93\x01\x00\x00"),
     5, STOA_E_DENIED},
    {"a stream of no such symbol",
     BYTES("\x95\x01\x03\x05\xa3"
           "XYZ\x93\x02\x00\x00"),
     5, STOA_E_UNKNOWN_SYMBOL},
    {"a room not joined",
     BYTES("\x95\x01\x03\x05\xa5"
           "lobby\x93\x04\x00\x00"),
     5, STOA_E_DENIED},
    {"a stream to end that is none", BYTES("\x95\x01\x04\x05\xa0\x91\x07"), 5, STOA_E_NOT_FOUND},
#undef BYTES
};

static void bad_frames_are_refused_by_name_and_change_nothing(void **state)
{
    (void)state;
    world *w = world_new((stoa_gateway_options){0});
    peer *p = connect_as(w, ALICE);
    stoa_shard_view before, after;
    assert_int_equal(stoa_shard_look(w->trade, &before), STOA_OK);
    for (size_t i = 0; i < sizeof bad_frames / sizeof bad_frames[0]; i++) {
        send_bytes(p, bad_frames[i].bytes, bad_frames[i].size_bytes);
        reply r = await(p, bad_frames[i].id, NULL, NULL);
        if (r.error != bad_frames[i].err || !r.text[0]) {
            fail_msg("%s: %s \"%s\"", bad_frames[i].what, stoa_err_name(r.error), r.text);
        }
    }
    assert_int_equal(stoa_shard_look(w->trade, &after), STOA_OK);
    assert_true(before.hash == after.hash && before.applied == after.applied);
    assert_int_equal(p->count, 0);
    assert_int_equal(metric(w, "stoa_gateway_refused_total{error=\"VERSION\"}"), 2);
    hang_up(p);
    world_free(w);
}

static void the_text_of_a_refusal_names_the_field(void **state)
{
    (void)state;
    world *w = world_new((stoa_gateway_options){0});
    peer *p = connect_as(w, ALICE);
    static const char frame[] = "\x95\x01\x0a\x05\xa5"
                                "alice\x98\x01\xa7"
                                "BTCUSDT\x02\x00\x00\x00\xa1"
                                "1\xa1"
                                "1";
    send_bytes(p, frame, sizeof frame - 1);
    reply r = await(p, 5, NULL, NULL);
    assert_non_null(strstr(r.text, "trade_account.place.side"));
    assert_null(strstr(r.text, ".c:"));
    hang_up(p);
    world_free(w);
}

static void a_frame_that_is_too_large_is_refused(void **state)
{
    (void)state;
    world *w = world_new((stoa_gateway_options){0});
    peer *p = connect_as(w, ALICE);
    static uint8_t bytes[STOA_PROTOCOL_REQUEST_MAX + 64];
    static char text[STOA_PROTOCOL_REQUEST_MAX];
    stoa_writer out = {.at = bytes, .cap_bytes = sizeof bytes};
    memset(text, 'x', sizeof text);
    stoa_write_array(&out, 5);
    stoa_write_uint(&out, 1);
    stoa_write_uint(&out, STOA_OP_PING);
    stoa_write_uint(&out, 77);
    stoa_write_text(&out, "", 0);
    stoa_write_text(&out, text, sizeof text);
    assert_false(out.cut);
    send_bytes(p, bytes, out.used_bytes);
    assert_int_equal(await(p, 77, NULL, NULL).error, STOA_E_TOO_LARGE);
    client_pong pong;
    assert_int_equal(call(p, STOA_OP_PING, "", &(client_ping){1}, &pong).error, STOA_OK);
    hang_up(p);
    world_free(w);
}

static void nothing_is_done_before_hello(void **state)
{
    (void)state;
    world *w = world_new((stoa_gateway_options){0});
    peer *p = dial(w, ALICE);
    trade_account_place in = order_of(1, trade_side_BUY, "1", "1");
    assert_int_equal(call(p, STOA_OP_ORDER_PLACE, "alice", &in, NULL).error, STOA_E_CLOSED);
    assert_int_equal(call(p, STOA_OP_PING, "", &(client_ping){1}, NULL).error, STOA_E_CLOSED);
    client_hello future = {.version_min = 2, .version_max = 9};
    assert_int_equal(call(p, STOA_OP_HELLO, "", &future, NULL).error, STOA_E_VERSION);
    assert_int_equal(call(p, STOA_OP_PING, "", &(client_ping){1}, NULL).error, STOA_E_CLOSED);
    future.version_min = 1;
    assert_int_equal(call(p, STOA_OP_HELLO, "", &future, NULL).error, STOA_OK);
    assert_int_equal(call(p, STOA_OP_ORDER_PLACE, "alice", &in, NULL).error, STOA_OK);
    hang_up(p);
    world_free(w);
}

static void a_key_that_is_not_listed_gets_nowhere(void **state)
{
    (void)state;
    world *w = world_new((stoa_gateway_options){0});
    peer p = {0};
    stoa_link_options options = {.secret_key = w->keys[CLIENTS].secret_key,
                                 .public_key = w->keys[CLIENTS].public_key,
                                 .server_key = w->server.public_key,
                                 .frame_limit = STOA_PROTOCOL_FRAME_MAX,
                                 .queue_frames = 16};
    assert_int_equal(stoa_link_open(stoa_gateway_address(w->gateway), &options, &p.link), STOA_OK);
    for (int i = 0; i < 300; i++) {
        poll_peer(&p, 1);
    }
    assert_false(p.up);
    assert_true(metric(w, "stoa_gateway_links_refused_total") > 0);
    assert_int_equal(metric(w, "stoa_gateway_sessions"), 0);
    p.link->ops->close(p.link, 0);
    world_free(w);
}

static void the_author_is_who_the_key_says(void **state)
{
    (void)state;
    world *w = world_new((stoa_gateway_options){0});
    peer *p = connect_as(w, ALICE);
    room_join as_bob = {.author = stoa_text("bob")};
    assert_int_equal(call(p, STOA_OP_ROOM_JOIN, "lobby", &as_bob, NULL).error, STOA_OK);
    room_post forged = post_of(1, "I am bob");
    forged.author = (stoa_text30)stoa_text("bob");
    assert_int_equal(call(p, STOA_OP_ROOM_POST, "lobby", &forged, NULL).error, STOA_OK);
    room_page page;
    assert_int_equal(call(p, STOA_OP_ROOM_HISTORY, "lobby", &(room_history){0}, &page).error, STOA_OK);
    assert_int_equal(page.entries.count, 1);
    assert_true(STOA_TEXT_EQZ(&page.entries.at[0].author, "alice"));
    room_roster roster;
    assert_int_equal(call(p, STOA_OP_ROOM_MEMBERS, "lobby", &(room_members){0}, &roster).error, STOA_OK);
    assert_int_equal(roster.members.count, 1);
    peer *bob = connect_as(w, BOB);
    assert_int_equal(call(bob, STOA_OP_ROOM_HISTORY, "lobby", &(room_history){0}, &page).error, STOA_E_DENIED);
    hang_up(bob);
    hang_up(p);
    world_free(w);
}

static void a_client_has_so_many_requests_under_way_and_no_more(void **state)
{
    (void)state;
    enum { SENT = 200, MAX = 8 };
    world *w = world_new((stoa_gateway_options){.requests_max = MAX});
    peer *one = connect_as(w, ALICE), *two = connect_as(w, ALICE), *other = connect_as(w, BOB);
    unsigned full = 0, ok = 0;
    for (unsigned i = 0; i < SENT; i++) {
        (void)request(i % 2 ? one : two, STOA_OP_ACCOUNT_BALANCES, "alice", &(trade_account_balances){{0}}, 0);
    }
    assert_int_equal(call(other, STOA_OP_ACCOUNT_BALANCES, "bob", &(trade_account_balances){{0}}, NULL).error, STOA_OK);
    for (unsigned i = 0; i < SENT; i++) {
        peer *p = i % 2 ? one : two;
        reply r = await(p, i / 2 + 2, NULL, NULL); /* the first id was hello's */
        full += r.error == STOA_E_FULL;
        ok += r.error == STOA_OK;
    }
    assert_int_equal(full + ok, SENT);
    assert_true(full > 0 && ok >= MAX);
    assert_int_equal(call(one, STOA_OP_ACCOUNT_BALANCES, "alice", &(trade_account_balances){{0}}, NULL).error, STOA_OK);
    hang_up(one);
    hang_up(two);
    hang_up(other);
    world_free(w);
}

/* --- sessions */

static void a_second_hello_with_the_same_number_takes_over(void **state)
{
    (void)state;
    world *w = world_new((stoa_gateway_options){0});
    peer *old = dial(w, ALICE), *fresh = dial(w, ALICE), *bob = dial(w, BOB);
    (void)hello_as(old, 42);
    (void)hello_as(bob, 42);
    uint64_t stream = subscribe(old, STOA_STREAM_TRADES, "BTCUSDT", 0, 0, NULL);
    assert_int_equal(metric(w, "stoa_gateway_streams"), 1);
    (void)hello_as(fresh, 42);
    assert_int_equal(metric(w, "stoa_gateway_streams"), 0);
    assert_int_equal(call(old, STOA_OP_PING, "", &(client_ping){1}, NULL).error, STOA_E_CLOSED);
    assert_int_equal(call(bob, STOA_OP_PING, "", &(client_ping){1}, NULL).error, STOA_OK);
    assert_true(stream != 0);
    hang_up(old);
    hang_up(fresh);
    hang_up(bob);
    world_free(w);
}

static void a_draining_gateway_takes_no_new_work(void **state)
{
    (void)state;
    world *w = world_new((stoa_gateway_options){0});
    peer *p = connect_as(w, ALICE);
    trade_account_place in = order_of(1, trade_side_BUY, "1", "1");
    stoa_gateway_drain(w->gateway);
    assert_int_equal(call(p, STOA_OP_ORDER_PLACE, "alice", &in, NULL).error, STOA_E_UNAVAILABLE);
    assert_int_equal(call(p, STOA_OP_PING, "", &(client_ping){1}, NULL).error, STOA_OK);
    peer *late = dial(w, BOB);
    client_hello hello = {.version_min = 1, .version_max = 1};
    assert_int_equal(call(late, STOA_OP_HELLO, "", &hello, NULL).error, STOA_E_UNAVAILABLE);
    hang_up(p);
    hang_up(late);
    world_free(w);
}

static void rights_can_change_while_it_runs(void **state)
{
    (void)state;
    world *w = world_new((stoa_gateway_options){0});
    peer *alice = connect_as(w, ALICE), *bob = connect_as(w, BOB);
    uint64_t orders = subscribe(alice, STOA_STREAM_ORDERS, "alice", 0, 0, NULL);
    (void)must_get(alice, orders, STOA_FRAME_ITEM);
    stoa_gateway_client changed[2] = {w->clients[ALICE], w->clients[CAROL]};
    changed[0].accounts[0] = (stoa_text30)stoa_text("carol");
    assert_int_equal(stoa_gateway_allow(w->gateway, changed, 2), STOA_OK);
    event end = must_get(alice, orders, STOA_FRAME_END);
    assert_int_equal(end.error, STOA_E_DENIED);
    trade_account_balances which = {{0}};
    assert_int_equal(call(alice, STOA_OP_ACCOUNT_BALANCES, "alice", &which, NULL).error, STOA_E_DENIED);
    assert_int_equal(call(alice, STOA_OP_ACCOUNT_BALANCES, "carol", &which, NULL).error, STOA_OK);
    for (int i = 0; i < 5000 && !bob->down; i++) {
        poll_peer(bob, 1);
    }
    assert_true(bob->down);
    changed[1] = changed[0];
    assert_int_equal(stoa_gateway_allow(w->gateway, changed, 2), STOA_E_INVALID); /* named twice */
    assert_int_equal(call(alice, STOA_OP_PING, "", &(client_ping){1}, NULL).error, STOA_OK);
    hang_up(alice);
    hang_up(bob);
    world_free(w);
}

/* --- streams */

static void post_many(peer *p, const char *room, uint64_t from, uint64_t count, const char *text)
{
    for (uint64_t i = 0; i < count; i++) {
        assert_int_equal(post(p, room, from + i, text), from + i);
    }
}

static void expect_messages(peer *p, uint64_t stream, uint64_t from, uint64_t to)
{
    for (uint64_t seq = from; seq <= to; seq++) {
        event e = must_get(p, stream, STOA_FRAME_ITEM);
        assert_int_equal(e.item, STOA_ITEM_MESSAGE);
        assert_int_equal(e.seq, seq);
        assert_int_equal(((const room_message *)(const void *)e.payload)->entry.client_post_id, seq);
    }
}

static void a_room_is_heard_from_now_on_and_again_where_one_left_it(void **state)
{
    (void)state;
    world *w = world_new((stoa_gateway_options){0});
    peer *alice = connect_as(w, ALICE), *bob = connect_as(w, BOB);
    uint64_t newest;
    join(alice, "lobby");
    join(bob, "lobby");
    post_many(bob, "lobby", 1, 3, "before");
    uint64_t stream = subscribe(alice, STOA_STREAM_ROOM, "lobby", 0, 0, &newest);
    assert_int_equal(newest, 3);
    post_many(bob, "lobby", 4, 20, "while");
    expect_messages(alice, stream, 4, 23);
    hang_up(alice);
    post_many(bob, "lobby", 24, 20, "away");
    alice = connect_as(w, ALICE);
    stream = subscribe(alice, STOA_STREAM_ROOM, "lobby", 1, 23, &newest);
    assert_int_equal(newest, 43);
    expect_messages(alice, stream, 24, 43);
    post_many(bob, "lobby", 44, 5, "again");
    expect_messages(alice, stream, 44, 48);
    client_done done;
    assert_int_equal(call(alice, STOA_OP_UNSUBSCRIBE, "", &(client_unsubscribe){stream}, &done).error, STOA_OK);
    post_many(bob, "lobby", 49, 1, "unheard");
    event e;
    assert_false(next_event(alice, stream, 100, &e));
    hang_up(alice);
    hang_up(bob);
    world_free(w);
}

/* The room keeps 1024 posts, the backlog 8: what is in neither is told as a gap. */
static void a_room_fills_what_the_backlog_has_lost_and_tells_the_rest(void **state)
{
    (void)state;
    world *w = world_new((stoa_gateway_options){.backlog_items = 8});
    peer *alice = connect_as(w, ALICE), *bob = connect_as(w, BOB);
    uint64_t newest;
    join(alice, "lobby");
    join(bob, "lobby");
    uint64_t first = subscribe(bob, STOA_STREAM_ROOM, "lobby", 0, 0, NULL); /* so that there is a backlog */
    post_many(bob, "lobby", 1, 1100, "x");
    uint64_t stream = subscribe(alice, STOA_STREAM_ROOM, "lobby", 1, 10, &newest);
    assert_int_equal(newest, 1100);
    event gap = must_get(alice, stream, STOA_FRAME_GAP);
    assert_int_equal(gap.from, 11);
    assert_int_equal(gap.to, 1100 - 1024);
    expect_messages(alice, stream, 1100 - 1024 + 1, 1100);
    post_many(bob, "lobby", 1101, 1, "x");
    expect_messages(alice, stream, 1101, 1101);
    expect_messages(bob, first, 1, 1101);
    hang_up(alice);
    hang_up(bob);
    world_free(w);
}

static void who_has_seen_more_than_there_is_is_told(void **state)
{
    (void)state;
    world *w = world_new((stoa_gateway_options){0});
    peer *p = connect_as(w, ALICE);
    join(p, "lobby");
    post_many(p, "lobby", 1, 2, "x");
    uint64_t stream = subscribe(p, STOA_STREAM_ROOM, "lobby", 1, 50, NULL);
    event gap = must_get(p, stream, STOA_FRAME_GAP);
    assert_int_equal(gap.from, 51);
    assert_int_equal(gap.to, 2);
    post_many(p, "lobby", 3, 1, "x");
    expect_messages(p, stream, 3, 3);
    hang_up(p);
    world_free(w);
}

static void leaving_a_room_ends_its_streams(void **state)
{
    (void)state;
    world *w = world_new((stoa_gateway_options){0});
    peer *one = connect_as(w, ALICE), *two = connect_as(w, ALICE);
    join(one, "lobby");
    join(one, "quiet");
    uint64_t lobby = subscribe(two, STOA_STREAM_ROOM, "lobby", 0, 0, NULL);
    uint64_t quiet = subscribe(two, STOA_STREAM_ROOM, "quiet", 0, 0, NULL);
    assert_int_equal(call(one, STOA_OP_ROOM_LEAVE, "lobby", &(room_leave){0}, NULL).error, STOA_OK);
    assert_int_equal(must_get(two, lobby, STOA_FRAME_END).error, STOA_E_DENIED);
    post_many(one, "quiet", 1, 1, "still here");
    expect_messages(two, quiet, 1, 1);
    hang_up(one);
    hang_up(two);
    world_free(w);
}

/* Alice stops reading while Bob posts more than her queues hold; Bob is served all the time, and she misses
 * nothing in the end because the room has it, but for what it has forgotten too. */
static void a_slow_client_holds_up_nobody(void **state)
{
    (void)state;
    enum { POSTS = 3000 };
    world *w = world_new((stoa_gateway_options){.backlog_items = 64, .queue_frames = 16});
    peer *alice = connect_as(w, ALICE), *bob = connect_as(w, BOB);
    char text[1001];
    memset(text, 'y', sizeof text - 1);
    text[sizeof text - 1] = '\0';
    join(alice, "lobby");
    join(bob, "lobby");
    uint64_t slow = subscribe(alice, STOA_STREAM_ROOM, "lobby", 0, 0, NULL);
    uint64_t quick = subscribe(bob, STOA_STREAM_ROOM, "lobby", 0, 0, NULL), seen = 0;
    for (uint64_t sent = 0; sent < POSTS;) {
        for (unsigned i = 0; i < 40; i++, sent++) {
            room_post in = post_of(sent + 1, text);
            (void)request(bob, STOA_OP_ROOM_POST, "lobby", &in, 0);
        }
        for (uint64_t id = bob->ids - 39; id <= bob->ids; id++) {
            assert_int_equal(await(bob, id, NULL, NULL).error, STOA_OK);
        }
        for (; seen < sent; seen++) {
            assert_int_equal(must_get(bob, quick, STOA_FRAME_ITEM).seq, seen + 1);
        }
    }
    uint64_t expected = 1, missed = 0;
    while (expected <= POSTS) {
        static event e;
        assert_true(next_event(alice, slow, 10000, &e));
        if (e.cls == STOA_FRAME_GAP) {
            assert_int_equal(e.from, expected);
            missed += e.to - e.from + 1;
            expected = e.to + 1;
        } else {
            assert_int_equal(e.seq, expected);
            expected++;
        }
    }
    assert_true(missed > 0 && missed < POSTS - 1024);
    assert_true(metric(w, "stoa_gateway_gaps_total") > 0);
    hang_up(alice);
    hang_up(bob);
    world_free(w);
}

/* --- orders and books */

static void orders_begin_with_the_open_ones_and_go_on_with_each_change(void **state)
{
    (void)state;
    enum { OPEN = 100 };
    world *w = world_new((stoa_gateway_options){0});
    peer *p = connect_as(w, ALICE);
    uint64_t newest, listed = 0;
    for (uint64_t i = 1; i <= OPEN; i++) {
        (void)place(p, "alice", i, trade_side_BUY, "100", "0.01");
    }
    (void)place(p, "alice", OPEN + 1, trade_side_SELL, "100",
                "0.01"); /* trades with the first: self trade, or filled */
    uint64_t stream = subscribe(p, STOA_STREAM_ORDERS, "alice", 0, 0, &newest);
    assert_true(newest >= OPEN);
    trade_account_page page;
    do {
        event e = must_get(p, stream, STOA_FRAME_ITEM);
        assert_int_equal(e.item, STOA_ITEM_ORDERS);
        assert_int_equal(e.seq, newest);
        memcpy(&page, e.payload, sizeof page);
        listed += page.orders.count;
        for (uint32_t i = 0; i < page.orders.count; i++) {
            assert_int_equal(page.orders.at[i].status, trade_status_OPEN);
        }
    } while (page.more);
    assert_true(listed >= OPEN - 1);
    trade_order placed = place(p, "alice", 500, trade_side_BUY, "50", "0.01");
    uint64_t seq = newest;
    trade_status status = trade_status_NONE;
    while (status != trade_status_OPEN) {
        event e = must_get(p, stream, STOA_FRAME_ITEM);
        const trade_account_update *update = (const void *)e.payload;
        assert_int_equal(e.item, STOA_ITEM_ORDER);
        assert_int_equal(e.seq, ++seq);
        assert_int_equal(update->seq, seq);
        assert_int_equal(update->order.order_id, placed.order_id);
        status = update->order.status;
    }
    hang_up(p);
    world_free(w);
}

static void orders_missed_are_a_gap_and_a_snapshot(void **state)
{
    (void)state;
    world *w = world_new((stoa_gateway_options){.backlog_items = 4});
    peer *p = connect_as(w, ALICE);
    uint64_t newest, later;
    uint64_t stream = subscribe(p, STOA_STREAM_ORDERS, "alice", 0, 0, &newest);
    (void)must_get(p, stream, STOA_FRAME_ITEM);
    hang_up(p);
    p = connect_as(w, ALICE);
    for (uint64_t i = 1; i <= 10; i++) {
        (void)place(p, "alice", i, trade_side_BUY, "100", "0.01");
    }
    stream = subscribe(p, STOA_STREAM_ORDERS, "alice", 1, newest, &later);
    assert_true(later >= newest + 10);
    event gap = must_get(p, stream, STOA_FRAME_GAP);
    assert_int_equal(gap.from, newest + 1);
    assert_int_equal(gap.to, later);
    event snapshot = must_get(p, stream, STOA_FRAME_ITEM);
    assert_int_equal(snapshot.item, STOA_ITEM_ORDERS);
    assert_int_equal(snapshot.seq, later);
    assert_int_equal(((const trade_account_page *)(const void *)snapshot.payload)->orders.count, 10);
    stream = subscribe(p, STOA_STREAM_ORDERS, "alice", 1, later - 2, NULL); /* in the backlog */
    assert_int_equal(must_get(p, stream, STOA_FRAME_ITEM).seq, later - 1);
    assert_int_equal(must_get(p, stream, STOA_FRAME_ITEM).seq, later);
    hang_up(p);
    world_free(w);
}

/* A book kept from the stream is the book that depth shows. */
typedef struct book {
    market_level bids[64], asks[64];
    uint32_t bid_count, ask_count;
    uint64_t last;
} book;

static void set_level(market_level *side, uint32_t *count, market_level level)
{
    uint32_t at = 0;
    while (at < *count && side[at].price != level.price) {
        at++;
    }
    if (level.qty == 0) {
        if (at < *count) { side[at] = side[--*count]; }
        return;
    }
    if (at == *count) { ++*count; }
    assert_true(*count <= 64);
    side[at] = level;
}

static void load(book *b, const trade_book_view *view)
{
    b->bid_count = b->ask_count = 0;
    for (uint32_t i = 0; i < view->bids.count; i++) {
        set_level(b->bids, &b->bid_count, view->bids.at[i]);
    }
    for (uint32_t i = 0; i < view->asks.count; i++) {
        set_level(b->asks, &b->ask_count, view->asks.at[i]);
    }
    b->last = view->last_id;
}

static void apply(book *b, const market_feed_diff *diff)
{
    assert_true(diff->first_id <= b->last + 1 && diff->last_id > b->last);
    for (uint32_t i = 0; i < diff->bids.count; i++) {
        set_level(b->bids, &b->bid_count, diff->bids.at[i]);
    }
    for (uint32_t i = 0; i < diff->asks.count; i++) {
        set_level(b->asks, &b->ask_count, diff->asks.at[i]);
    }
    if (!diff->more) { b->last = diff->last_id; }
}

static bool has_level(const market_level *side, uint32_t count, market_level level)
{
    for (uint32_t i = 0; i < count; i++) {
        if (side[i].price == level.price && side[i].qty == level.qty) { return true; }
    }
    return false;
}

static void same_book(const book *b, const trade_book_view *view)
{
    assert_int_equal(b->last, view->last_id);
    assert_int_equal(b->bid_count, view->bids.count);
    assert_int_equal(b->ask_count, view->asks.count);
    for (uint32_t i = 0; i < b->bid_count; i++) {
        assert_true(has_level(b->bids, b->bid_count, view->bids.at[i]));
    }
    for (uint32_t i = 0; i < b->ask_count; i++) {
        assert_true(has_level(b->asks, b->ask_count, view->asks.at[i]));
    }
}

static void follow(peer *p, uint64_t stream, book *b, uint64_t until)
{
    while (b->last < until) {
        static event e;
        assert_true(next_event(p, stream, 10000, &e));
        if (e.cls == STOA_FRAME_GAP) { continue; }
        assert_int_equal(e.cls, STOA_FRAME_ITEM);
        if (e.item == STOA_ITEM_BOOK) {
            load(b, (const void *)e.payload);
        } else {
            apply(b, (const void *)e.payload);
        }
    }
}

static void trade_a_little(peer *maker, peer *taker, uint64_t ids)
{
    char price[16];
    for (uint64_t i = 0; i < 20; i++) {
        (void)snprintf(price, sizeof price, "%d", 100 + (int)(i % 7));
        (void)place(maker, "alice", ids + i, trade_side_SELL, price, "0.02");
        (void)place(taker, "bob", ids + i, trade_side_BUY, price, "0.01");
    }
}

static void a_book_can_be_followed_over_lost_connections(void **state)
{
    (void)state;
    world *w = world_new((stoa_gateway_options){.backlog_items = 30});
    peer *alice = connect_as(w, ALICE), *bob = connect_as(w, BOB), *carol = connect_as(w, CAROL);
    static book b;
    trade_book_view view;
    trade_book_depth which = {0};
    trade_a_little(alice, bob, 1);
    uint64_t stream = subscribe(carol, STOA_STREAM_BOOK, "BTCUSDT", 0, 0, NULL);
    load(&b, (const void *)must_get(carol, stream, STOA_FRAME_ITEM).payload);
    for (uint64_t round = 1; round <= 4; round++) {
        trade_a_little(alice, bob, round * 1000);
        if (round % 2 == 0) { /* away for so long that the backlog has lost it, and for a moment */
            hang_up(carol);
            trade_a_little(alice, bob, round * 1000 + 100);
            carol = connect_as(w, CAROL);
            stream = subscribe(carol, STOA_STREAM_BOOK, "BTCUSDT", 1, b.last, NULL);
        }
        assert_int_equal(call(alice, STOA_OP_BOOK_DEPTH, "BTCUSDT", &which, &view).error, STOA_OK);
        follow(carol, stream, &b, view.last_id);
        same_book(&b, &view);
    }
    assert_true(metric(w, "stoa_gateway_gaps_total") > 0);
    hang_up(alice);
    hang_up(bob);
    hang_up(carol);
    world_free(w);
}

static void trades_are_numbered_and_their_gaps_told(void **state)
{
    (void)state;
    world *w = world_new((stoa_gateway_options){.backlog_items = 8});
    peer *alice = connect_as(w, ALICE), *bob = connect_as(w, BOB);
    uint64_t newest;
    uint64_t stream = subscribe(bob, STOA_STREAM_TRADES, "BTCUSDT", 0, 0, &newest);
    assert_int_equal(newest, 0);
    trade_a_little(alice, bob, 1);
    for (uint64_t seq = 1; seq <= 20; seq++) {
        event e = must_get(bob, stream, STOA_FRAME_ITEM);
        const market_feed_trade *trade = (const void *)e.payload;
        assert_int_equal(e.seq, seq);
        assert_int_equal(trade->trade_id, seq);
        assert_int_equal(trade->qty, dec("0.01"));
    }
    stream = subscribe(bob, STOA_STREAM_TRADES, "BTCUSDT", 1, 5, &newest);
    assert_int_equal(newest, 20);
    event gap = must_get(bob, stream, STOA_FRAME_GAP);
    assert_int_equal(gap.from, 6);
    assert_int_equal(gap.to, 12);
    for (uint64_t seq = 13; seq <= 20; seq++) {
        assert_int_equal(must_get(bob, stream, STOA_FRAME_ITEM).seq, seq);
    }
    hang_up(alice);
    hang_up(bob);
    world_free(w);
}

static void streams_are_bounded(void **state)
{
    (void)state;
    world *w = world_new((stoa_gateway_options){.streams_max = 3, .topics_max = 2});
    peer *p = connect_as(w, ALICE), *bob = connect_as(w, BOB);
    client_subscribe in = {.stream = STOA_STREAM_TRADES};
    join(bob, "lobby");
    for (int i = 0; i < 3; i++) {
        (void)subscribe(p, STOA_STREAM_TRADES, "BTCUSDT", 0, 0, NULL);
    }
    assert_int_equal(call(p, STOA_OP_SUBSCRIBE, "BTCUSDT", &in, NULL).error, STOA_E_FULL);
    (void)subscribe(bob, STOA_STREAM_BOOK, "BTCUSDT", 0, 0, NULL);
    in.stream = STOA_STREAM_ROOM;
    assert_int_equal(call(bob, STOA_OP_SUBSCRIBE, "lobby", &in, NULL).error, STOA_E_FULL); /* a third topic */
    hang_up(p); /* its topic has nobody left and makes room */
    for (int i = 0; i < 1000 && metric(w, "stoa_gateway_streams") > 1; i++) {
        poll_peer(bob, 1);
    }
    (void)subscribe(bob, STOA_STREAM_ROOM, "lobby", 0, 0, NULL);
    hang_up(bob);
    world_free(w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(answers_name_their_durability_and_position),
        cmocka_unit_test(bad_frames_are_refused_by_name_and_change_nothing),
        cmocka_unit_test(the_text_of_a_refusal_names_the_field),
        cmocka_unit_test(a_frame_that_is_too_large_is_refused),
        cmocka_unit_test(nothing_is_done_before_hello),
        cmocka_unit_test(a_key_that_is_not_listed_gets_nowhere),
        cmocka_unit_test(the_author_is_who_the_key_says),
        cmocka_unit_test(a_client_has_so_many_requests_under_way_and_no_more),
        cmocka_unit_test(a_second_hello_with_the_same_number_takes_over),
        cmocka_unit_test(a_draining_gateway_takes_no_new_work),
        cmocka_unit_test(rights_can_change_while_it_runs),
        cmocka_unit_test(a_room_is_heard_from_now_on_and_again_where_one_left_it),
        cmocka_unit_test(a_room_fills_what_the_backlog_has_lost_and_tells_the_rest),
        cmocka_unit_test(who_has_seen_more_than_there_is_is_told),
        cmocka_unit_test(leaving_a_room_ends_its_streams),
        cmocka_unit_test(a_slow_client_holds_up_nobody),
        cmocka_unit_test(orders_begin_with_the_open_ones_and_go_on_with_each_change),
        cmocka_unit_test(orders_missed_are_a_gap_and_a_snapshot),
        cmocka_unit_test(a_book_can_be_followed_over_lost_connections),
        cmocka_unit_test(trades_are_numbered_and_their_gaps_told),
        cmocka_unit_test(streams_are_bounded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
