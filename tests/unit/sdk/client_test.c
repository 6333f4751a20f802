/* client_test.c - goal: a program that uses the library sees each call answered once, each stream without an untold hole, and a
 * name for everything that goes wrong, whatever happens to the gateway meanwhile. Method: a node in this process whose gateway is
 * closed and opened again under the client.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/node/gateway_kit.h"

#include <sys/stat.h>

#include "sdk/stoa_client.h"

enum { SEEN_MAX = 20000 };

/* What a stream has told. */
typedef struct seen {
    uint64_t expected; /* next sequence number, 0: any */
    uint64_t items, gaps, missed, snapshots, ends;
    uint64_t last;
    stoa_err error;
    stoa_client *client;
} seen;

static void on_item(void *context, const stoa_client_item *item)
{
    seen *s = context;
    if (item->cls == STOA_CLIENT_GAP) {
        s->gaps++;
        s->missed += item->to_seq - item->from_seq + 1;
        s->expected = item->to_seq + 1;
        s->last = item->to_seq;
        return;
    }
    if (item->cls == STOA_CLIENT_END) {
        s->ends++;
        s->error = item->error;
        return;
    }
    bool snapshot = item->cls == STOA_CLIENT_ITEM_ORDERS || item->cls == STOA_CLIENT_ITEM_BOOK;
    s->snapshots += snapshot;
    s->items += !snapshot;
    if (item->cls == STOA_CLIENT_ITEM_DIFF) {
        if (s->expected) { assert_int_equal(item->as.diff->first_id, s->expected); }
        s->expected = item->as.diff->more ? s->expected : item->as.diff->last_id + 1;
    } else {
        if (s->expected && !snapshot) { assert_int_equal(item->seq, s->expected); }
        s->expected = item->seq + 1;
    }
    s->last = item->seq;
}

static void write_keys(world *w)
{
    char path[128];
    (void)snprintf(path, sizeof path, "%s/server", w->folder);
    assert_int_equal(stoa_key_save(path, &w->server), STOA_OK);
    for (int i = 0; i <= CLIENTS; i++) {
        (void)snprintf(path, sizeof path, "%s/%s", w->folder, i < CLIENTS ? client_names[i] : "stranger");
        assert_int_equal(stoa_key_save(path, &w->keys[i]), STOA_OK);
    }
}

static stoa_client *open_as(world *w, const char *who, const char *server)
{
    char key[128], pub[128], endpoint[128];
    stoa_client *client = NULL;
    (void)snprintf(key, sizeof key, "%s/%s", w->folder, who);
    (void)snprintf(pub, sizeof pub, "%s/%s.pub", w->folder, server);
    (void)snprintf(endpoint, sizeof endpoint, "zmq+ipc://%s/gateway", w->folder);
    stoa_client_options options = {.endpoint = endpoint, .server_key = pub, .key = key, .name = "client_test"};
    assert_int_equal(stoa_client_open(&options, &client), STOA_OK);
    return client;
}

static world *start(stoa_gateway_options options)
{
    world *w = world_new(options);
    write_keys(w);
    return w;
}

static void close_gateway(world *w)
{
    stoa_gateway_close(w->gateway, STOA_S(1));
    w->gateway = NULL;
}

static void drain_events(stoa_client *client, uint64_t for_ns)
{
    uint64_t until = stoa_clock_real.now_ns(&stoa_clock_real) + for_ns;
    while (stoa_clock_real.now_ns(&stoa_clock_real) < until) {
        (void)stoa_client_poll(client, STOA_MS(5));
    }
}

static void wait_last(stoa_client *client, const seen *s, uint64_t last)
{
    for (int i = 0; i < 5000 && s->last < last; i++) {
        (void)stoa_client_poll(client, STOA_MS(2));
    }
    assert_int_equal(s->last, last);
}

/* --- calls */

static void every_call_has_its_answer(void **state)
{
    (void)state;
    world *w = start((stoa_gateway_options){0});
    stoa_client *c = open_as(w, "alice", "server");
    trade_account_place in = order_of(1, trade_side_BUY, "100", "0.5");
    trade_order order, again;
    stoa_client_stamp stamp;
    trade_account_page page;
    trade_account_holdings holdings;
    trade_book_view view;
    room_posted posted;
    room_page posts;
    room_roster roster;
    assert_int_equal(stoa_client_place(c, "alice", &in, DEADLINE, &order, &stamp), STOA_OK);
    assert_int_equal(stamp.durability, stoa_durability_DISK);
    assert_true(stamp.position > 0);
    assert_int_equal(order.status, trade_status_OPEN);
    assert_int_equal(stoa_client_place(c, "alice", &in, DEADLINE, &again, NULL), STOA_OK);
    assert_memory_equal(&order, &again, sizeof order);
    assert_int_equal(stoa_client_query(c, "alice", 0, 1, DEADLINE, &again, NULL), STOA_OK);
    assert_int_equal(again.order_id, order.order_id);
    assert_int_equal(stoa_client_orders(c, "alice", 0, true, DEADLINE, &page, NULL), STOA_OK);
    assert_int_equal(page.orders.count, 1);
    assert_int_equal(stoa_client_depth(c, "BTCUSDT", 0, DEADLINE, &view, NULL), STOA_OK);
    assert_int_equal(view.bids.at[0].qty, dec("0.5"));
    assert_int_equal(stoa_client_cancel(c, "alice", order.order_id, 0, DEADLINE, &again, NULL), STOA_OK);
    assert_int_equal(again.status, trade_status_CANCELLED);
    assert_int_equal(stoa_client_balances(c, "alice", DEADLINE, &holdings, NULL), STOA_OK);
    assert_int_equal(holdings.balances.count, 2);
    assert_int_equal(stoa_client_join(c, "lobby", DEADLINE, NULL), STOA_OK);
    assert_int_equal(stoa_client_post(c, "lobby", 9, "hello", DEADLINE, &posted, &stamp), STOA_OK);
    assert_int_equal(posted.seq, 1);
    assert_int_equal(stoa_client_history(c, "lobby", 0, 0, DEADLINE, &posts, NULL), STOA_OK);
    assert_true(STOA_TEXT_EQZ(&posts.entries.at[0].text, "hello"));
    assert_int_equal(stoa_client_members(c, "lobby", DEADLINE, &roster, NULL), STOA_OK);
    assert_int_equal(roster.members.count, 1);
    assert_int_equal(stoa_client_leave(c, "lobby", DEADLINE, NULL), STOA_OK);
    stoa_client_view look;
    stoa_client_look(c, &look);
    assert_true(look.connected);
    assert_string_equal(look.identity, "alice");
    assert_int_equal(look.sessions, 1);
    assert_int_equal(look.calls, 0);
    stoa_client_close(c);
    world_free(w);
}

static void errors_have_names_and_leave_the_output_alone(void **state)
{
    (void)state;
    world *w = start((stoa_gateway_options){0});
    stoa_client *c = open_as(w, "alice", "server");
    trade_account_place in = order_of(1, trade_side_BUY, "100", "0.5");
    trade_order order = {.client_order_id = 77};
    room_posted posted;
    trade_book_view view;
    market_book_state market;
    char text[1024];
    assert_int_equal(stoa_client_place(c, "bob", &in, DEADLINE, &order, NULL), STOA_E_DENIED);
    assert_non_null(strstr(stoa_client_error_text(c), "account"));
    assert_int_equal(stoa_client_place(c, "not a name", &in, DEADLINE, &order, NULL), STOA_E_INVALID);
    assert_int_equal(stoa_client_query(c, "alice", 12345, 0, DEADLINE, &order, NULL), STOA_E_NOT_FOUND);
    in.price = 1;
    assert_int_equal(stoa_client_place(c, "alice", &in, DEADLINE, &order, NULL), STOA_E_PRECISION);
    assert_int_equal(order.client_order_id, 77);
    assert_int_equal(stoa_client_depth(c, "XYZ", 0, DEADLINE, &view, NULL), STOA_E_UNKNOWN_SYMBOL);
    assert_int_equal(stoa_client_market(c, "binance.BTCUSDT", 0, DEADLINE, &market, NULL), STOA_E_UNKNOWN_SYMBOL);
    assert_int_equal(stoa_client_post(c, "lobby", 1, "hello", DEADLINE, &posted, NULL), STOA_E_DENIED);
    assert_int_equal(stoa_client_join(c, "nowhere", DEADLINE, NULL), STOA_E_NOT_FOUND);
    memset(text, 'x', sizeof text - 1);
    text[sizeof text - 1] = '\0';
    assert_int_equal(stoa_client_post(c, "lobby", 1, text, DEADLINE, &posted, NULL), STOA_E_TOO_LARGE);
    assert_int_equal(stoa_client_start(c, STOA_CLIENT_HELLO, "", &in, DEADLINE, NULL, NULL), STOA_E_INVALID);
    stoa_client_close(c);
    world_free(w);
}

static void a_wrong_key_is_denied(void **state)
{
    (void)state;
    world *w = start((stoa_gateway_options){0});
    trade_account_holdings holdings;
    stoa_client *c = open_as(w, "stranger", "server");
    uint64_t began = stoa_clock_real.now_ns(&stoa_clock_real);
    assert_int_equal(stoa_client_balances(c, "alice", DEADLINE, &holdings, NULL), STOA_E_DENIED);
    assert_true(stoa_clock_real.now_ns(&stoa_clock_real) - began < DEADLINE / 2);
    assert_int_equal(stoa_client_wait(c, DEADLINE), STOA_E_DENIED);
    stoa_client_close(c);
    c = open_as(w, "alice", "bob"); /* a server key that is not the server's */
    assert_int_equal(stoa_client_wait(c, STOA_S(5)), STOA_E_DENIED);
    stoa_client_close(c);

    char path[128];
    (void)snprintf(path, sizeof path, "%s/alice.key", w->folder);
    assert_int_equal(chmod(path, 0644), 0);
    (void)snprintf(path, sizeof path, "%s/alice", w->folder);
    stoa_client_options options = {.endpoint = "zmq+tcp://127.0.0.1:1", .server_key = path, .key = path};
    assert_int_equal(stoa_client_open(&options, &c), STOA_E_DENIED);
    options.key = "/nowhere/at/all";
    assert_int_equal(stoa_client_open(&options, &c), STOA_E_NOT_FOUND);
    world_free(w);
}

static void replace_pair(const world *w, const char *name, const stoa_key_pair *pair)
{
    char path[128], file[160];
    static const char *const endings[] = {".key", ".pub"};
    (void)snprintf(path, sizeof path, "%s/%s", w->folder, name);
    for (unsigned i = 0; i < 2; i++) {
        (void)snprintf(file, sizeof file, "%s%s", path, endings[i]);
        (void)unlink(file);
    }
    assert_int_equal(stoa_key_save(path, pair), STOA_OK);
}

/* Either side's key is replaced under a client that runs: it reads the files again, and only what no file has is denied. */
static void keys_are_rotated_while_a_client_runs(void **state)
{
    (void)state;
    world *w = start((stoa_gateway_options){0});
    trade_account_holdings holdings;
    stoa_key_pair next;
    stoa_client *c = open_as(w, "alice", "server");
    assert_int_equal(stoa_client_balances(c, "alice", DEADLINE, &holdings, NULL), STOA_OK);
    assert_int_equal(stoa_key_new(&next), STOA_OK);
    replace_pair(w, "server.next", &next); /* announced: beside the old one */
    stoa_gateway_rekey(w->gateway, next.secret_key);
    assert_int_equal(stoa_client_balances(c, "alice", DEADLINE, &holdings, NULL), STOA_OK);
    assert_int_equal(stoa_key_new(&next), STOA_OK);
    replace_pair(w, "server", &next); /* and another one, in its place */
    stoa_gateway_rekey(w->gateway, next.secret_key);
    assert_int_equal(stoa_client_balances(c, "alice", DEADLINE, &holdings, NULL), STOA_OK);
    assert_int_equal(stoa_key_new(&next), STOA_OK);
    replace_pair(w, "alice", &next);
    stoa_gateway_client changed[CLIENTS];
    memcpy(changed, w->clients, sizeof changed);
    memcpy(changed[ALICE].keys[0], next.public_key, sizeof changed[ALICE].keys[0]);
    assert_int_equal(stoa_gateway_allow(w->gateway, changed, CLIENTS), STOA_OK);
    assert_int_equal(stoa_client_balances(c, "alice", DEADLINE, &holdings, NULL), STOA_OK);
    assert_int_equal(stoa_key_new(&next), STOA_OK);
    stoa_gateway_rekey(w->gateway, next.secret_key); /* nobody was told */
    assert_int_equal(stoa_client_balances(c, "alice", DEADLINE, &holdings, NULL), STOA_E_DENIED);
    stoa_client_close(c);
    world_free(w);
}

static void without_a_node_calls_end_at_their_deadline(void **state)
{
    (void)state;
    world *w = start((stoa_gateway_options){0});
    close_gateway(w);
    stoa_client *c = open_as(w, "alice", "server");
    trade_account_holdings holdings;
    uint64_t began = stoa_clock_real.now_ns(&stoa_clock_real);
    assert_int_equal(stoa_client_balances(c, "alice", STOA_MS(200), &holdings, NULL), STOA_E_TIMEOUT);
    uint64_t took = stoa_clock_real.now_ns(&stoa_clock_real) - began;
    assert_true(took >= STOA_MS(200) && took < STOA_S(2));
    assert_int_equal(stoa_client_wait(c, STOA_MS(50)), STOA_E_TIMEOUT);
    stoa_client_close(c);
    world_free(w);
}

typedef struct tally {
    stoa_client *client;
    unsigned answered, ok, timeouts;
    uint64_t next; /* client_order_id to go on with from the callback, 0: none */
} tally;

static void on_placed(void *context, const stoa_client_answer *answer)
{
    tally *t = context;
    t->answered++;
    t->ok += answer->error == STOA_OK;
    t->timeouts += answer->error == STOA_E_TIMEOUT;
    if (!t->next) { return; }
    trade_account_place in = order_of(t->next++, trade_side_BUY, "100", "0.01");
    trade_order order;
    assert_int_equal(stoa_client_place(t->client, "alice", &in, DEADLINE, &order, NULL), STOA_E_INVALID);
    assert_int_equal(stoa_client_poll(t->client, 0), STOA_E_INVALID);
    if (t->next < 20) {
        assert_int_equal(stoa_client_start(t->client, STOA_CLIENT_ORDER_PLACE, "alice", &in, DEADLINE, on_placed, t),
                         STOA_OK);
    }
}

static void calls_may_be_started_from_callbacks_and_are_bounded(void **state)
{
    (void)state;
    world *w = start((stoa_gateway_options){.requests_max = 10});
    stoa_client *c = open_as(w, "alice", "server");
    trade_account_place in = order_of(1, trade_side_BUY, "100", "0.01");
    tally chain = {.client = c, .next = 2}, many = {.client = c};
    assert_int_equal(stoa_client_start(c, STOA_CLIENT_ORDER_PLACE, "alice", &in, DEADLINE, on_placed, &chain), STOA_OK);
    while (chain.next < 20) {
        (void)stoa_client_poll(c, STOA_MS(100));
    }
    stoa_err err = STOA_OK;
    unsigned started = 0;
    while (!err && started < 300) { /* more than the node takes at once: the library holds them back */
        in.client_order_id = 1000 + started;
        err = stoa_client_start(c, STOA_CLIENT_ORDER_PLACE, "alice", &in, DEADLINE, on_placed, &many);
        started += !err;
    }
    assert_int_equal(err, STOA_E_FULL);
    for (int i = 0; i < 10000 && many.answered < started; i++) {
        (void)stoa_client_poll(c, STOA_MS(10));
    }
    assert_int_equal(many.ok, started);
    stoa_client_close(c);
    world_free(w);
}

/* Orders are under way while the gateway dies and comes back; each is answered OK, and there is one of each. */
static void calls_survive_a_gateway_that_comes_back(void **state)
{
    (void)state;
    enum { ORDERS = 240, BATCH = 30 }; /* an account has at most 256 open */
    world *w = start((stoa_gateway_options){0});
    stoa_client *c = open_as(w, "alice", "server");
    tally t = {.client = c};
    unsigned started = 0;
    assert_int_equal(stoa_client_wait(c, DEADLINE), STOA_OK);
    while (started < ORDERS) {
        for (unsigned i = 0; i < BATCH; i++) {
            trade_account_place in = order_of(++started, trade_side_BUY, "100", "0.01");
            assert_int_equal(stoa_client_start(c, STOA_CLIENT_ORDER_PLACE, "alice", &in, STOA_S(30), on_placed, &t),
                             STOA_OK);
        }
        (void)stoa_client_poll(c, STOA_MS(1));
        stoa_gateway_close(w->gateway, 0); /* what is under way is never answered */
        open_gateway(w, (stoa_gateway_options){0});
        for (int i = 0; i < 10000 && t.answered < started; i++) {
            (void)stoa_client_poll(c, STOA_MS(10));
        }
        assert_int_equal(t.ok, started);
    }
    trade_account_holdings holdings;
    assert_int_equal(stoa_client_balances(c, "alice", DEADLINE, &holdings, NULL), STOA_OK);
    assert_int_equal(holdings.open_orders, ORDERS);
    stoa_client_view look;
    stoa_client_look(c, &look);
    assert_true(look.sessions > 1);
    stoa_client_close(c);
    world_free(w);
}

/* --- streams */

static void streams_go_on_where_they_were(void **state)
{
    (void)state;
    world *w = start((stoa_gateway_options){.backlog_items = 16});
    stoa_client *alice = open_as(w, "alice", "server"), *bob = open_as(w, "bob", "server");
    seen room = {0}, orders = {0}, book = {0}, trades = {0};
    uint64_t id;
    room_posted posted;
    uint64_t posts = 0, placed = 0;
    assert_int_equal(stoa_client_join(alice, "lobby", DEADLINE, NULL), STOA_OK);
    assert_int_equal(stoa_client_join(bob, "lobby", DEADLINE, NULL), STOA_OK);
#define SUBSCRIBE(stream, target, to)                                                                                  \
    assert_int_equal(stoa_client_subscribe(alice, STOA_CLIENT_STREAM_##stream, target, STOA_CLIENT_NOW, on_item,       \
                                           &(to), DEADLINE, &id),                                                      \
                     STOA_OK)
    SUBSCRIBE(ROOM, "lobby", room);
    SUBSCRIBE(ORDERS, "alice", orders);
    SUBSCRIBE(BOOK, "BTCUSDT", book);
    SUBSCRIBE(TRADES, "BTCUSDT", trades);
#undef SUBSCRIBE
    for (unsigned round = 0; round < 6; round++) {
        for (unsigned i = 0; i < 25; i++) {
            trade_order order;
            trade_account_place sell = order_of(++placed, trade_side_SELL, "100", "0.01");
            trade_account_place buy = order_of(placed, trade_side_BUY, "100", "0.01");
            assert_int_equal(stoa_client_post(bob, "lobby", ++posts, "x", DEADLINE, &posted, NULL), STOA_OK);
            assert_int_equal(stoa_client_place(alice, "alice", &sell, DEADLINE, &order, NULL), STOA_OK);
            assert_int_equal(stoa_client_place(bob, "bob", &buy, DEADLINE, &order, NULL), STOA_OK);
        }
        if (round % 2) {
            close_gateway(w);
            open_gateway(w, (stoa_gateway_options){.backlog_items = 16});
        }
        (void)stoa_client_poll(alice, 0);
    }
    trade_book_view view;
    trade_account_page page;
    assert_int_equal(stoa_client_depth(bob, "BTCUSDT", 1, DEADLINE, &view, NULL), STOA_OK);
    assert_int_equal(stoa_client_orders(alice, "alice", 0, true, DEADLINE, &page, NULL), STOA_OK);
    wait_last(alice, &room, posts);
    wait_last(alice, &orders, page.seq);
    wait_last(alice, &book, view.last_id);
    wait_last(alice, &trades, view.trades);
    assert_int_equal(room.gaps, 0); /* the room has what the backlog lost */
    assert_int_equal(room.items, posts);
    assert_int_equal(trades.items + trades.missed, view.trades);
    assert_int_equal(orders.snapshots, orders.gaps + 1);
    assert_int_equal(book.snapshots, book.gaps + 1);
    stoa_client_close(alice);
    stoa_client_close(bob);
    world_free(w);
}

static void a_program_can_go_on_where_an_earlier_one_stopped(void **state)
{
    (void)state;
    world *w = start((stoa_gateway_options){0});
    stoa_client *c = open_as(w, "alice", "server");
    room_posted posted;
    uint64_t id;
    assert_int_equal(stoa_client_join(c, "lobby", DEADLINE, NULL), STOA_OK);
    for (uint64_t i = 1; i <= 40; i++) {
        assert_int_equal(stoa_client_post(c, "lobby", i, "x", DEADLINE, &posted, NULL), STOA_OK);
    }
    seen room = {.expected = 11};
    assert_int_equal(stoa_client_subscribe(c, STOA_CLIENT_STREAM_ROOM, "lobby", 10, on_item, &room, DEADLINE, &id),
                     STOA_OK);
    wait_last(c, &room, 40);
    assert_int_equal(room.items, 30);
    assert_int_equal(stoa_client_unsubscribe(c, id), STOA_OK);
    assert_int_equal(stoa_client_unsubscribe(c, id), STOA_E_NOT_FOUND);
    assert_int_equal(stoa_client_post(c, "lobby", 41, "x", DEADLINE, &posted, NULL), STOA_OK);
    drain_events(c, STOA_MS(50));
    assert_int_equal(room.items, 30);
    stoa_client_close(c);
    world_free(w);
}

static void a_stream_ends_with_the_right_to_it(void **state)
{
    (void)state;
    world *w = start((stoa_gateway_options){0});
    stoa_client *c = open_as(w, "alice", "server");
    seen room = {0};
    uint64_t id;
    assert_int_equal(
        stoa_client_subscribe(c, STOA_CLIENT_STREAM_ROOM, "lobby", STOA_CLIENT_NOW, on_item, &room, DEADLINE, &id),
        STOA_E_DENIED);
    assert_int_equal(
        stoa_client_subscribe(c, STOA_CLIENT_STREAM_ORDERS, "bob", STOA_CLIENT_NOW, on_item, &room, DEADLINE, &id),
        STOA_E_DENIED);
    assert_int_equal(stoa_client_join(c, "lobby", DEADLINE, NULL), STOA_OK);
    assert_int_equal(
        stoa_client_subscribe(c, STOA_CLIENT_STREAM_ROOM, "lobby", STOA_CLIENT_NOW, on_item, &room, DEADLINE, &id),
        STOA_OK);
    assert_int_equal(stoa_client_leave(c, "lobby", DEADLINE, NULL), STOA_OK);
    for (int i = 0; i < 1000 && !room.ends; i++) {
        (void)stoa_client_poll(c, STOA_MS(2));
    }
    assert_int_equal(room.ends, 1);
    assert_int_equal(room.error, STOA_E_DENIED);
    stoa_client_view look;
    stoa_client_look(c, &look);
    assert_int_equal(look.streams, 0);
    stoa_client_close(c);
    world_free(w);
}

/* The descriptor alone tells when there is something to do. */
static void the_descriptor_serves_an_event_loop(void **state)
{
    (void)state;
    world *w = start((stoa_gateway_options){0});
    stoa_client *c = open_as(w, "alice", "server");
    tally t = {.client = c};
    trade_account_place in = order_of(1, trade_side_BUY, "100", "0.01");
    assert_int_equal(stoa_client_start(c, STOA_CLIENT_ORDER_PLACE, "alice", &in, DEADLINE, on_placed, &t), STOA_OK);
    for (unsigned turn = 0; turn < 50 && t.answered < 20; turn++) {
        struct pollfd readable = {.fd = stoa_client_fd(c), .events = POLLIN};
        if (poll(&readable, 1, 2000) == 0) { break; }
        unsigned before = t.answered;
        (void)stoa_client_poll(c, 0);
        if (t.answered > before && t.answered < 20) {
            in.client_order_id++;
            assert_int_equal(stoa_client_start(c, STOA_CLIENT_ORDER_PLACE, "alice", &in, DEADLINE, on_placed, &t),
                             STOA_OK);
        }
    }
    assert_int_equal(t.ok, 20);
    /* with nobody there, it also tells of deadlines */
    close_gateway(w);
    in.client_order_id = 999;
    assert_int_equal(stoa_client_start(c, STOA_CLIENT_ORDER_PLACE, "alice", &in, STOA_MS(100), on_placed, &t), STOA_OK);
    for (unsigned turn = 0; turn < 1000 && t.answered < 21; turn++) {
        struct pollfd readable = {.fd = stoa_client_fd(c), .events = POLLIN};
        if (poll(&readable, 1, 2000) == 0) { break; }
        (void)stoa_client_poll(c, 0);
    }
    assert_int_equal(t.timeouts, 1);
    stoa_client_close(c);
    world_free(w);
}

static void decimals_are_exact_text(void **state)
{
    (void)state;
    stoa_decimal value = 0;
    char text[STOA_DECIMAL_TEXT_MAX];
    assert_int_equal(stoa_client_decimal("60000.5", &value), STOA_OK);
    assert_int_equal(value, INT64_C(6000050000000));
    assert_string_equal(stoa_client_decimal_text(value, text), "60000.5");
    assert_int_equal(stoa_client_decimal("0.123456789", &value), STOA_E_PRECISION);
    assert_int_equal(stoa_client_decimal("1e5", &value), STOA_E_MALFORMED);
    assert_string_equal(stoa_client_error_name(STOA_E_TIMEOUT), "TIMEOUT");
    assert_string_equal(stoa_client_durability_name(stoa_durability_DISK), "disk");
    assert_string_equal(stoa_client_status_name(trade_status_CANCELLED), "cancelled");
    assert_string_equal(stoa_client_status_name(trade_status_COUNT), "unknown");
    assert_string_equal(stoa_client_reason_name(trade_reason_BALANCE), "insufficient_funds");
    assert_string_equal(stoa_client_reason_name(trade_reason_COUNT), "unknown");
}

static void a_failed_open_names_the_file(void **state)
{
    (void)state;
    stoa_client *c = NULL;
    stoa_client_options options = {
        .endpoint = "zmq+tcp://127.0.0.1:1", .server_key = "no/server.pub", .key = "no/alice"};
    assert_int_equal(stoa_client_open(&options, &c), STOA_E_NOT_FOUND);
    assert_string_equal(stoa_client_error_text(NULL), "no/alice.key: No such file or directory");
    options.key = NULL;
    assert_int_equal(stoa_client_open(&options, &c), STOA_E_INVALID);
    assert_string_equal(stoa_client_error_text(NULL), "client: endpoint, server_key and key are needed");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_call_has_its_answer),
        cmocka_unit_test(errors_have_names_and_leave_the_output_alone),
        cmocka_unit_test(a_wrong_key_is_denied),
        cmocka_unit_test(keys_are_rotated_while_a_client_runs),
        cmocka_unit_test(without_a_node_calls_end_at_their_deadline),
        cmocka_unit_test(calls_may_be_started_from_callbacks_and_are_bounded),
        cmocka_unit_test(calls_survive_a_gateway_that_comes_back),
        cmocka_unit_test(streams_go_on_where_they_were),
        cmocka_unit_test(a_program_can_go_on_where_an_earlier_one_stopped),
        cmocka_unit_test(a_stream_ends_with_the_right_to_it),
        cmocka_unit_test(the_descriptor_serves_an_event_loop),
        cmocka_unit_test(decimals_are_exact_text),
        cmocka_unit_test(a_failed_open_names_the_file),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
