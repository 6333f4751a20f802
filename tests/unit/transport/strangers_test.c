/* strangers_test.c - a ZeroMQ listener among peers that are not ours: other clients, port scans, malice.
 *
 * Goal: whoever breaks the rules of transport/zmq/link.c is refused by name and counted, and a well-behaved peer beside
 * it notices nothing. Method: bare libzmq sockets and bare TCP against a real listener.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <zmq.h>

#include "transport/link.h"
#include "transport/zmq/zap.h"

enum { FRAME_LIMIT = 4096, QUEUE_FRAMES = 100, DEADLINE_MS = 20000 };

typedef struct told {
    uint32_t ups, downs, frames, refusals;
    stoa_peer from;
    stoa_err why;
} told;

typedef struct world {
    stoa_link *server, *client;
    told of_server, of_client;
    void *context, *stranger;
    char endpoint[128];
} world;

static void on_up(void *context, stoa_peer peer)
{
    (void)peer;
    ((told *)context)->ups++;
}

static void on_down(void *context, stoa_peer peer)
{
    (void)peer;
    ((told *)context)->downs++;
}

static void on_frame(void *context, stoa_peer peer, const char *identity, const void *bytes, uint32_t size_bytes)
{
    told *t = context;
    assert_true(bytes && size_bytes > 0);
    assert_string_equal(identity, "");
    t->frames++;
    t->from = peer;
}

static void on_refused(void *context, stoa_err why)
{
    told *t = context;
    t->refusals++;
    t->why = why;
}

static uint32_t poll_link(stoa_link *link, told *to)
{
    stoa_link_events events = {.frame = on_frame, .down = on_down, .up = on_up, .refused = on_refused, .context = to};
    return link->ops->poll(link, &events, 64);
}

static uint64_t now_ms(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

static void wait_for(world *w, const uint32_t *count, uint32_t least)
{
    uint64_t until_ms = now_ms() + DEADLINE_MS;
    for (;;) {
        while (poll_link(w->server, &w->of_server) + poll_link(w->client, &w->of_client) > 0) {}
        if (*count >= least) { return; }
        struct pollfd fds[2] = {{.fd = w->server->ops->fd(w->server), .events = POLLIN},
                                {.fd = w->client->ops->fd(w->client), .events = POLLIN}};
        uint64_t now = now_ms();
        if (now >= until_ms || poll(fds, 2, (int)(until_ms - now)) <= 0) {
            fail_msg("%u of %u came in time", *count, least);
        }
    }
}

static void *stranger_new(const world *w)
{
    void *stranger = zmq_socket(w->context, ZMQ_DEALER);
    int linger_ms = 0, timeout_ms = DEADLINE_MS;
    (void)zmq_setsockopt(stranger, ZMQ_LINGER, &linger_ms, sizeof linger_ms);
    (void)zmq_setsockopt(stranger, ZMQ_RCVTIMEO, &timeout_ms, sizeof timeout_ms);
    return stranger;
}

static int world_open(void **state)
{
    static world w;
    w = (world){0};
    stoa_link_options options = {.listen = true, .frame_limit = FRAME_LIMIT, .queue_frames = QUEUE_FRAMES};
    if (stoa_link_open("zmq+tcp://127.0.0.1:0", &options, &w.server)) { return -1; }
    const char *address = w.server->ops->address(w.server);
    (void)snprintf(w.endpoint, sizeof w.endpoint, "%s", address + strlen("zmq+"));
    options.listen = false;
    if (stoa_link_open(address, &options, &w.client)) { return -1; }
    w.context = zmq_ctx_new();
    w.stranger = stranger_new(&w);
    wait_for(&w, &w.of_server.ups, 1);
    *state = &w;
    return 0;
}

static int world_close(void **state)
{
    world *w = *state;
    zmq_close(w->stranger);
    zmq_ctx_term(w->context);
    if (w->client) { w->client->ops->close(w->client, 0); }
    if (w->server) { w->server->ops->close(w->server, 0); }
    return 0;
}

static stoa_link_counts counts_of(stoa_link *link)
{
    stoa_link_counts counts;
    link->ops->counts(link, &counts);
    return counts;
}

/* The well-behaved client is still served. */
static void assert_served(world *w)
{
    uint32_t frames = w->of_server.frames;
    assert_int_equal(w->client->ops->send(w->client, 0, "still here", 10), STOA_OK);
    wait_for(w, &w->of_server.frames, frames + 1);
    assert_int_equal(w->of_client.downs, 0);
}

static void assert_good_bye(world *w, const char *why)
{
    char bytes[16];
    assert_int_equal(zmq_recv(w->stranger, bytes, sizeof bytes, 0), 0);
    int size_bytes = zmq_recv(w->stranger, bytes, sizeof bytes, ZMQ_DONTWAIT);
    assert_int_equal(size_bytes, (int)strlen(why));
    assert_memory_equal(bytes, why, (size_t)size_bytes);
}

static void a_stranger_that_keeps_the_rules_is_a_peer(void **state)
{
    world *w = *state;
    char bytes[16];
    assert_int_equal(zmq_connect(w->stranger, w->endpoint), 0);
    assert_int_equal(zmq_send(w->stranger, "hello", 5, 0), 5);
    wait_for(w, &w->of_server.frames, 1);
    assert_int_equal(w->of_server.ups, 2);
    assert_int_equal(w->server->ops->send(w->server, w->of_server.from, "welcome", 7), STOA_OK);
    assert_int_equal(zmq_recv(w->stranger, bytes, sizeof bytes, 0), 7);
    assert_int_equal(zmq_send(w->stranger, "", 0, 0), 0); /* are you there? */
    assert_int_equal(zmq_send(w->stranger, "more", 4, 0), 4);
    wait_for(w, &w->of_server.frames, 2);
    assert_int_equal(zmq_recv(w->stranger, bytes, sizeof bytes, 0), 0); /* yes */
}

/* A listener that is not ours: what it says that no listener of ours would say ends the connection. */
static void a_listener_that_breaks_the_rules_is_left(void **state)
{
    world *w = *state;
    const struct {
        const char *parts[3];
        unsigned count;
        stoa_err why;
    } rows[] = {
        {{"", "DENIED"}, 2, STOA_E_DENIED},   {{"", "FULL"}, 2, STOA_E_FULL},
        {{"a", "b"}, 2, STOA_E_MALFORMED},    {{"", "FULL", ""}, 3, STOA_E_MALFORMED},
        {{"", "NO_SUCH_REASON"}, 2, STOA_OK}, {{"", ""}, 2, STOA_OK},
        {{"", "CLOSED"}, 2, STOA_OK},
    };
    void *router = zmq_socket(w->context, ZMQ_ROUTER);
    char endpoint[128], id[8];
    size_t endpoint_bytes = sizeof endpoint;
    int linger_ms = 0;
    (void)zmq_setsockopt(router, ZMQ_LINGER, &linger_ms, sizeof linger_ms);
    assert_int_equal(zmq_bind(router, "tcp://127.0.0.1:*"), 0);
    assert_int_equal(zmq_getsockopt(router, ZMQ_LAST_ENDPOINT, endpoint, &endpoint_bytes), 0);
    w->client->ops->close(w->client, 0);
    stoa_link_options options = {.frame_limit = FRAME_LIMIT, .queue_frames = QUEUE_FRAMES};
    char address[160];
    (void)snprintf(address, sizeof address, "zmq+%s", endpoint);
    assert_int_equal(stoa_link_open(address, &options, &w->client), STOA_OK);
    w->of_client = (told){0};
    uint32_t refusals = 0;
    for (uint32_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        wait_for(w, &w->of_client.ups, i + 1);
        assert_int_equal(zmq_recv(router, id, sizeof id, 0), 5);
        assert_int_equal(zmq_recv(router, id + 5, 1, 0), 0); /* here I am */
        assert_int_equal(zmq_send(router, id, 5, ZMQ_SNDMORE), 5);
        for (unsigned part = 0; part < rows[i].count; part++) {
            size_t size_bytes = strlen(rows[i].parts[part]);
            int flags = part + 1 < rows[i].count ? ZMQ_SNDMORE : 0;
            assert_int_equal(zmq_send(router, rows[i].parts[part], size_bytes, flags), (int)size_bytes);
        }
        wait_for(w, &w->of_client.downs, i + 1);
        refusals += rows[i].why != STOA_OK;
        assert_int_equal(w->of_client.refusals, refusals);
        if (rows[i].why) { assert_int_equal(w->of_client.why, rows[i].why); }
    }
    assert_int_equal(w->of_client.frames, 0);
    zmq_close(router);
}

static void *close_patiently(void *argument)
{
    stoa_link *link = argument;
    link->ops->close(link, DEADLINE_MS);
    return NULL;
}

/* It waits for those it has let in to hang up, and for no others. */
static void a_listener_that_closes_says_so_and_lets_nobody_in(void **state)
{
    world *w = *state;
    char bytes[16];
    assert_int_equal(zmq_connect(w->stranger, w->endpoint), 0);
    assert_int_equal(zmq_send(w->stranger, "hello", 5, 0), 5);
    wait_for(w, &w->of_server.frames, 1);
    assert_int_equal(w->server->ops->send(w->server, w->of_server.from, "last", 4), STOA_OK);
    uint64_t began_ms = now_ms();
    pthread_t closing;
    assert_int_equal(pthread_create(&closing, NULL, close_patiently, w->server), 0);
    w->server = NULL;
    assert_int_equal(zmq_recv(w->stranger, bytes, sizeof bytes, 0), 4);
    assert_good_bye(w, "CLOSED");
    void *first = w->stranger;
    w->stranger = stranger_new(w);
    assert_int_equal(zmq_connect(w->stranger, w->endpoint), 0);
    assert_int_equal(zmq_send(w->stranger, "hello", 5, 0), 5);
    assert_good_bye(w, "CLOSED");
    zmq_close(first);
    w->client->ops->close(w->client, 0);
    w->client = NULL;
    assert_int_equal(pthread_join(closing, NULL), 0);
    assert_true(now_ms() - began_ms < DEADLINE_MS);
}

static void a_routing_id_of_its_own_is_refused(void **state)
{
    world *w = *state;
    assert_int_equal(zmq_setsockopt(w->stranger, ZMQ_ROUTING_ID, "me", 2), 0);
    assert_int_equal(zmq_connect(w->stranger, w->endpoint), 0);
    assert_int_equal(zmq_send(w->stranger, "hello", 5, 0), 5);
    wait_for(w, &w->of_server.refusals, 1);
    assert_int_equal(w->of_server.why, STOA_E_MALFORMED);
    assert_good_bye(w, "MALFORMED");
    assert_int_equal(zmq_send(w->stranger, "again", 5, 0), 5);
    assert_served(w);
    assert_int_equal(w->of_server.ups, 1);
    assert_int_equal(w->of_server.frames, 1);
    assert_int_equal(counts_of(w->server).refused, 1);
}

static void a_message_of_several_parts_ends_the_peer(void **state)
{
    world *w = *state;
    assert_int_equal(zmq_connect(w->stranger, w->endpoint), 0);
    assert_int_equal(zmq_send(w->stranger, "hello", 5, 0), 5);
    wait_for(w, &w->of_server.frames, 1);
    stoa_peer stranger = w->of_server.from;
    assert_int_equal(zmq_send(w->stranger, "one", 3, ZMQ_SNDMORE), 3);
    assert_int_equal(zmq_send(w->stranger, "two", 3, ZMQ_SNDMORE), 3);
    assert_int_equal(zmq_send(w->stranger, "three", 5, 0), 5);
    assert_int_equal(zmq_send(w->stranger, "four", 4, 0), 4);
    wait_for(w, &w->of_server.downs, 1);
    wait_for(w, &w->of_server.refusals, 1);
    assert_int_equal(w->of_server.why, STOA_E_MALFORMED);
    assert_int_equal(w->of_server.frames, 1);
    assert_int_equal(w->server->ops->send(w->server, stranger, "x", 1), STOA_E_CLOSED);
    assert_good_bye(w, "MALFORMED");
    assert_served(w);
}

static void a_first_message_of_several_parts_is_refused(void **state)
{
    world *w = *state;
    assert_int_equal(zmq_connect(w->stranger, w->endpoint), 0);
    assert_int_equal(zmq_send(w->stranger, "", 0, ZMQ_SNDMORE), 0); /* as a REQ socket would */
    assert_int_equal(zmq_send(w->stranger, "hello", 5, 0), 5);
    wait_for(w, &w->of_server.refusals, 1);
    assert_int_equal(w->of_server.why, STOA_E_MALFORMED);
    assert_good_bye(w, "MALFORMED");
    assert_served(w);
    assert_int_equal(w->of_server.ups, 1);
}

/* One poll takes a bounded number of messages of a peer that is not served, however many it sends. */
static void a_flood_that_is_not_served_does_not_hold_a_poll(void **state)
{
    enum { FLOOD = 3000 };
    world *w = *state;
    int unlimited = 0;
    (void)zmq_setsockopt(w->stranger, ZMQ_SNDHWM, &unlimited, sizeof unlimited);
    (void)zmq_setsockopt(w->stranger, ZMQ_ROUTING_ID, "me", 2);
    assert_int_equal(zmq_connect(w->stranger, w->endpoint), 0);
    for (uint32_t i = 0; i < FLOOD; i++) {
        assert_int_equal(zmq_send(w->stranger, "flood", 5, 0), 5);
    }
    uint64_t until_ms = now_ms() + DEADLINE_MS, dropped = 0;
    while (dropped < FLOOD && now_ms() < until_ms) {
        (void)poll_link(w->server, &w->of_server);
        uint64_t now_dropped = counts_of(w->server).frames_dropped;
        assert_in_range(now_dropped - dropped, 0, 2 * 257);
        dropped = now_dropped;
    }
    assert_int_equal(dropped, FLOOD);
    assert_int_equal(counts_of(w->server).refused, 1);
    assert_served(w);
}

static int connect_tcp(const world *w)
{
    const char *port = strrchr(w->endpoint, ':') + 1;
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_port = htons((uint16_t)strtoul(port, NULL, 10)),
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(fd >= 0);
    assert_int_equal(connect(fd, (const struct sockaddr *)&address, sizeof address), 0);
    return fd;
}

static void bytes_that_are_no_greeting_are_refused(void **state)
{
    world *w = *state;
    const struct {
        const char *bytes;
        size_t size_bytes;
    } rows[] = {
        {"GET / HTTP/1.1\r\nHost: x\r\n\r\n", 28},
        {"\xff\0\0\0\0\0\0\0\x01\x7f\x03\0JUNK\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0", 33},
        {"\xff\0\0\0\0\0\0\0\x01\x7f\x09\x09", 12},
        {"\x01\x02\x03\x04", 4},
        {"", 0},
    };
    for (unsigned i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        int fd = connect_tcp(w);
        assert_int_equal(send(fd, rows[i].bytes, rows[i].size_bytes, MSG_NOSIGNAL), (ssize_t)rows[i].size_bytes);
        close(fd);
        wait_for(w, &w->of_server.refusals, i + 1);
        assert_int_equal(w->of_server.why, STOA_E_MALFORMED);
    }
    assert_served(w);
    assert_int_equal(w->of_server.ups, 1);
}

static void who_says_nothing_is_cut_off(void **state)
{
    world *w = *state;
    int fd = connect_tcp(w);
    wait_for(w, &w->of_server.refusals, 1);
    char bytes[256];
    ssize_t got = 0;
    do {
        got = recv(fd, bytes, sizeof bytes, 0); /* the listener's greeting, then the end */
    } while (got > 0);
    close(fd);
    assert_served(w);
}

/* --- the ZAP handler, asked directly */

static void ask(void *requester, const char *const *frames, const size_t *sizes, unsigned count, const char *status)
{
    for (unsigned i = 0; i < count; i++) {
        assert_int_equal(zmq_send(requester, frames[i], sizes[i], i + 1 < count ? ZMQ_SNDMORE : 0), (int)sizes[i]);
    }
    char answer[6][300];
    int size_bytes[6], more = 1;
    unsigned parts = 0;
    for (; more && parts < 6; parts++) {
        size_t option_bytes = sizeof more;
        size_bytes[parts] = zmq_recv(requester, answer[parts], sizeof answer[parts], 0);
        assert_true(size_bytes[parts] >= 0);
        (void)zmq_getsockopt(requester, ZMQ_RCVMORE, &more, &option_bytes);
    }
    assert_int_equal(parts, 6);
    assert_int_equal(more, 0);
    assert_memory_equal(answer[0], "1.0", 3);
    assert_int_equal(size_bytes[2], 3);
    assert_memory_equal(answer[2], status, 3);
    assert_int_equal(size_bytes[4], status[0] == '2' ? STOA_KEY_TEXT_BYTES - 1 : 0);
}

static void a_zap_request_that_is_not_ours_is_answered_400(void **state)
{
    (void)state;
    char long_[400], listed[32], unlisted[32];
    memset(long_, '1', sizeof long_);
    memset(listed, 1, sizeof listed);
    memset(unlisted, 2, sizeof unlisted);
    stoa_link_allowed allowed = {.name = "listed"};
    assert_non_null(zmq_z85_encode(allowed.public_key, (const uint8_t *)listed, sizeof listed));
    void *context = zmq_ctx_new();
    stoa_zap *zap = NULL;
    assert_int_equal(stoa_zap_start(context, "stoa", &allowed, 1, &zap), STOA_OK);
    stoa_zap *second = NULL;
    assert_int_equal(stoa_zap_start(context, "stoa", &allowed, 1, &second), STOA_E_EXISTS);
    void *requester = zmq_socket(context, ZMQ_REQ);
    assert_int_equal(zmq_connect(requester, "inproc://zeromq.zap.01"), 0);

    const char *good[12] = {"1.0", "7", "stoa", "127.0.0.1", "", "CURVE", listed, "", "", "", "", ""};
    const size_t sizes[12] = {3, 1, 4, 9, 0, 5, 32, 0, 0, 0, 0, 0};
    ask(requester, good, sizes, 7, "200");
    struct {
        unsigned frame;
        const char *bytes;
        size_t size_bytes;
    } rows[] = {{0, "1.1", 3},     {0, "", 0},      {2, "other", 5}, {2, long_, 400}, {5, "PLAIN", 5},
                {6, unlisted, 32}, {6, listed, 31}, {6, "", 0},      {6, long_, 400}, {1, long_, 400}};
    for (unsigned i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        const char *frames[7];
        size_t bad_sizes[7];
        memcpy(frames, good, sizeof frames);
        memcpy(bad_sizes, sizes, sizeof bad_sizes);
        frames[rows[i].frame] = rows[i].bytes;
        bad_sizes[rows[i].frame] = rows[i].size_bytes;
        ask(requester, frames, bad_sizes, 7, rows[i].frame == 1 ? "200" : "400"); /* a long id is only cut */
    }
    ask(requester, good, sizes, 6, "400");
    ask(requester, good, sizes, 1, "400");
    ask(requester, good, sizes, 12, "200");
    assert_int_equal(stoa_zap_refused(zap), sizeof rows / sizeof rows[0] - 1 + 2);

    char name[64];
    assert_true(stoa_zap_name(zap, allowed.public_key, name));
    assert_string_equal(name, "listed");
    assert_int_equal(stoa_zap_allow(zap, NULL, 0), STOA_OK);
    assert_false(stoa_zap_name(zap, allowed.public_key, name));
    ask(requester, good, sizes, 7, "400");
    zmq_close(requester);
    zmq_ctx_shutdown(context);
    stoa_zap_free(zap);
    zmq_ctx_term(context);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, world_open, world_close)
int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_stranger_that_keeps_the_rules_is_a_peer),
        TEST(a_listener_that_breaks_the_rules_is_left),
        TEST(a_listener_that_closes_says_so_and_lets_nobody_in),
        TEST(a_routing_id_of_its_own_is_refused),
        TEST(a_message_of_several_parts_ends_the_peer),
        TEST(a_first_message_of_several_parts_is_refused),
        TEST(a_flood_that_is_not_served_does_not_hold_a_poll),
        TEST(bytes_that_are_no_greeting_are_refused),
        TEST(who_says_nothing_is_cut_off),
        cmocka_unit_test(a_zap_request_that_is_not_ours_is_answered_400),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
