/* fabric_hostile_test.c - goal: who stands between the two ends of a fabric link, or writes into a connection's carrier, or is a
 * peer that wants much, changes nothing about what a connection is: it stays encrypted, delivers everything or ends, and costs
 * what its owner said. Method: two ends with keys in this process, over each library; a proxy between their doors that changes
 * one bit; messages given to the carrier's callback in a connection's name; a carrier that has no room; a peer whose frames
 * are large.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/contract/link_end.h"
#include "transport/bytes.h"
#include "transport/fabric/inner.h"
#include "transport/keys.h"

enum { DEADLINE = 30000, FRAME_LIMIT = 1024, QUEUE = 16, CHUNK = 4096, AT_KIND = 2, AT_VERSION = 3, AT_FLAGS = 5 };
enum { BATCH_MAGIC = 0x42467453, BATCH_BYTES = 1024, FLAG_TRUSTED = 2 };

/* Passes on what the two doors say, and changes the WELCOME. */
typedef struct proxy {
    int listener, dials, listens;
    uint16_t port;
    unsigned at;
    uint8_t with;
} proxy;

typedef struct world {
    const char *scheme;
    end server, client;
    stoa_key_pair keys[2];
    stoa_link_allowed allowed;
    proxy between;
} world;

static void move(int from, int to, proxy *changes)
{
    uint8_t bytes[CHUNK];
    ssize_t came = recv(from, bytes, sizeof bytes, MSG_DONTWAIT);
    if (came <= 0) { return; }
    if (changes && came > AT_FLAGS && bytes[AT_KIND] == STOA_DOOR_WELCOME) { bytes[changes->at] ^= changes->with; }
    assert_int_equal(send(to, bytes, (size_t)came, MSG_NOSIGNAL), came);
}

static void pass_on(world *w)
{
    proxy *p = &w->between;
    if (p->listener < 0) { return; }
    int fresh = accept4(p->listener, NULL, NULL, SOCK_NONBLOCK);
    if (fresh >= 0) {
        struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(p->port)};
        to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        if (p->dials >= 0) { (void)close(p->dials), (void)close(p->listens); }
        p->dials = fresh;
        p->listens = socket(AF_INET, SOCK_STREAM, 0);
        assert_int_equal(connect(p->listens, (const struct sockaddr *)&to, sizeof to), 0);
    }
    if (p->dials < 0) { return; }
    move(p->dials, p->listens, NULL);
    move(p->listens, p->dials, p);
}

static void run(world *w)
{
    end *ends[] = {&w->server, &w->client};
    for (unsigned i = 0; i < 2; i++) {
        stoa_link_events events = {
            .frame = on_frame, .down = on_down, .up = on_up, .refused = on_refused, .context = ends[i]};
        if (ends[i]->link) { (void)ends[i]->link->ops->poll(ends[i]->link, &events, 64); }
    }
    pass_on(w);
}

static void wait_for(world *w, const uint32_t *count, uint32_t least)
{
    for (int i = 0; *count < least && i < DEADLINE; i++) {
        run(w);
        if (*count < least) { (void)poll(NULL, 0, 1); }
    }
    assert_true(*count >= least);
}

static stoa_fabric *fabric(const end *e)
{
    return (stoa_fabric *)(void *)e->link;
}

/* --- worlds */

static int world_new(void **state)
{
    world *w = calloc(1, sizeof *w);
    assert_non_null(w);
    w->scheme = *state;
    w->between = (proxy){.listener = -1, .dials = -1, .listens = -1};
    assert_int_equal(stoa_key_new(&w->keys[0]) || stoa_key_new(&w->keys[1]), 0);
    (void)snprintf(w->allowed.name, sizeof w->allowed.name, "client");
    memcpy(w->allowed.public_key, w->keys[1].public_key, sizeof w->allowed.public_key);
    *state = w;
    return 0;
}

static void end_open(world *w, end *e, const char *address, stoa_link_options options)
{
    options.frame_limit = options.frame_limit ? options.frame_limit : FRAME_LIMIT;
    options.queue_frames = QUEUE;
    options.listen = e == &w->server;
    options.secret_key = w->keys[!options.listen].secret_key;
    options.public_key = options.listen ? NULL : w->keys[1].public_key;
    options.server_key = options.listen ? NULL : w->keys[0].public_key;
    options.allowed = options.listen ? &w->allowed : NULL;
    options.allowed_count = options.listen;
    stoa_err err = stoa_link_open(address, &options, &e->link);
    if (err) { fail_msg("%s", stoa_err_trail()); }
}

static void server_open(world *w, stoa_link_options options)
{
    char address[64];
    (void)snprintf(address, sizeof address, "%s://127.0.0.1:0", w->scheme);
    end_open(w, &w->server, address, options);
}

static void both_up(world *w, stoa_link_options client)
{
    server_open(w, (stoa_link_options){0});
    end_open(w, &w->client, w->server.link->ops->address(w->server.link), client);
    wait_for(w, &w->server.ups, 1);
    wait_for(w, &w->client.ups, 1);
}

static int world_free(void **state)
{
    world *w = *state;
    if (w->client.link) { w->client.link->ops->close(w->client.link, 0); }
    if (w->server.link) { w->server.link->ops->close(w->server.link, 0); }
    int fds[] = {w->between.listener, w->between.dials, w->between.listens};
    for (unsigned i = 0; i < sizeof fds / sizeof fds[0]; i++) {
        if (fds[i] >= 0) { (void)close(fds[i]); }
    }
    free(w);
    return 0;
}

static void send_and_get(world *w, uint32_t count)
{
    uint32_t before = w->server.frames;
    for (uint32_t sent = 0; sent < count;) {
        stoa_err err = w->client.link->ops->send(w->client.link, 0, "word", 5);
        assert_true(err == STOA_OK || err == STOA_E_FULL);
        sent += err == STOA_OK;
        run(w);
    }
    wait_for(w, &w->server.frames, before + count);
}

/* --- on the way */

static void dial_through_proxy(world *w)
{
    struct sockaddr_in at = {.sin_family = AF_INET};
    socklen_t at_bytes = sizeof at;
    char address[64];
    at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    server_open(w, (stoa_link_options){0});
    w->between.port = (uint16_t)atoi(strrchr(w->server.link->ops->address(w->server.link), ':') + 1);
    w->between.listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    assert_int_equal(bind(w->between.listener, (const struct sockaddr *)&at, at_bytes), 0);
    assert_int_equal(listen(w->between.listener, 8), 0);
    assert_int_equal(getsockname(w->between.listener, (struct sockaddr *)&at, &at_bytes), 0);
    (void)snprintf(address, sizeof address, "%s://127.0.0.1:%u", w->scheme, ntohs(at.sin_port));
    end_open(w, &w->client, address, (stoa_link_options){.trusted = true});
}

static void what_is_agreed_on_cannot_be_changed_on_the_way(void **state)
{
    world *w = *state;
    w->between.at = AT_FLAGS;
    w->between.with = FLAG_TRUSTED; /* "I trust the network, too" */
    dial_through_proxy(w);
    wait_for(w, &w->client.refusals, 1);
    assert_int_equal(w->client.why, STOA_E_DENIED);
    assert_int_equal(w->client.ups + w->server.ups, 0);
    w->between.with = 0;
    wait_for(w, &w->client.ups, 1);
    assert_true(fabric(&w->client)->conns[0]->encrypted);
    send_and_get(w, 1);
}

/* --- into the carrier */

/* The beginning of a batch that no peer has sent. */
static void *forge(const end *to_whom, uint64_t ahead)
{
    stoa_fabric *link = fabric(to_whom);
    const stoa_conn *conn = link->conns[0];
    uint8_t header[STOA_CARRIER_HEADER_BYTES] = {0};
    void *token = NULL;
    stoa_put_u32(header, BATCH_MAGIC);
    header[4] = 1;
    stoa_put_u64(header + 8, conn->token);
    stoa_put_u64(header + 16, conn->in.next + ahead);
    stoa_put_u64(header + 24, conn->in.read);
    stoa_put_u32(header + 40, BATCH_BYTES);
    void *to = stoa_carrier_place(link, header, BATCH_BYTES, &token);
    if (to) { memset(to, 0xee, BATCH_BYTES); }
    return to ? token : NULL;
}

static void a_batch_that_nobody_sent_stands_in_nobodys_way(void **state)
{
    enum { WORDS = 200 };
    world *w = *state;
    both_up(w, (stoa_link_options){0});
    send_and_get(w, 1);
    void *first = forge(&w->server, 0), *later = forge(&w->server, 20);
    assert_non_null(first);
    assert_non_null(later);
    send_and_get(w, WORDS);
    uint32_t before = w->server.refusals;
    stoa_carrier_landed(first, true); /* not genuine: it is dropped and told */
    wait_for(w, &w->server.refusals, before + 1);
    send_and_get(w, WORDS);
    assert_int_equal(w->server.downs + w->client.downs, 0);
    stoa_carrier_landed(later, false); /* what stays away may have been genuine: it ends */
    wait_for(w, &w->server.downs, 1);
    wait_for(w, &w->client.downs, 1);
    wait_for(w, &w->client.ups, 2);
    wait_for(w, &w->server.ups, 2);
    send_and_get(w, WORDS);
}

static void where_nothing_can_land_the_connection_ends(void **state)
{
    world *w = *state;
    void *tokens[STOA_RING_FLIGHT];
    both_up(w, (stoa_link_options){0});
    send_and_get(w, 1);
    for (unsigned i = 0; i < STOA_RING_FLIGHT; i++) {
        tokens[i] = forge(&w->server, 0);
        assert_non_null(tokens[i]);
    }
    assert_int_equal(w->client.link->ops->send(w->client.link, 0, "word", 5), STOA_OK);
    wait_for(w, &w->server.downs, 1);
    wait_for(w, &w->client.downs, 1);
    for (unsigned i = 0; i < STOA_RING_FLIGHT; i++) {
        stoa_carrier_landed(tokens[i], true);
    }
    wait_for(w, &w->client.ups, 2);
    wait_for(w, &w->server.ups, 2);
    send_and_get(w, 10);
}

/* A batch that begins to come to who has dialled, before the other side's OFFER has said how large its ring is. */
static void a_batch_before_the_offer_gets_no_place(world *w, bool trusted)
{
    server_open(w, (stoa_link_options){.trusted = trusted});
    end_open(w, &w->client, w->server.link->ops->address(w->server.link), (stoa_link_options){.trusted = trusted});
    stoa_fabric *link = fabric(&w->client);
    while (!link->conns[0] || link->conns[0]->phase < STOA_PHASE_OFFER) {
        run(w);
    }
    assert_int_equal(link->conns[0]->phase, STOA_PHASE_OFFER);
    assert_int_equal(link->conns[0]->encrypted, !trusted);
    assert_null(forge(&w->client, 0));
    wait_for(w, &w->client.refusals, 1);
    assert_int_equal(w->client.why, STOA_E_MALFORMED);
    wait_for(w, &w->client.ups, 1);
    wait_for(w, &w->server.ups, 1);
    send_and_get(w, 10);
}

static void before_its_offer_a_listener_has_no_batches(void **state)
{
    a_batch_before_the_offer_gets_no_place(*state, true); /* it ends, and is dialled again */
}

static void before_the_offer_no_stranger_has_batches(void **state)
{
    a_batch_before_the_offer_gets_no_place(*state, false); /* it is dropped; the connection is as it was */
}

/* --- out of the carrier */

static stoa_err says_again(stoa_carrier *carrier, stoa_carrier_end *to, const void *header, const void *body,
                           uint32_t body_bytes, void *token)
{
    (void)carrier, (void)to, (void)header, (void)body, (void)body_bytes, (void)token;
    return STOA_E_AGAIN;
}

static void a_carrier_without_room_uses_up_no_numbers(void **state)
{
    enum { POLLS = 5000 };
    world *w = *state;
    server_open(w, (stoa_link_options){0});
    end_open(w, &w->client, w->server.link->ops->address(w->server.link), (stoa_link_options){0});
    stoa_fabric *link = fabric(&w->client);
    const stoa_carrier_ops *kind = link->kind;
    stoa_carrier_ops full = *kind;
    full.send = says_again;
    link->kind = &full;
    while (!link->conns[0] || link->conns[0]->phase < STOA_PHASE_PROBING) {
        run(w);
    }
    for (unsigned i = 0; i < POLLS; i++) {
        stoa_fabric_mark(link->dirty, 0);
        run(w);
    }
    assert_int_equal(link->conns[0]->credits_sent, 1);
    link->kind = kind;
    wait_for(w, &w->client.ups, 1);
    wait_for(w, &w->server.ups, 1);
    send_and_get(w, 100);
    assert_int_equal(w->server.refusals + w->client.refusals, 0);
    assert_int_equal(w->server.ups, 1);
}

/* --- memory */

static void a_peer_does_not_choose_how_much_memory_it_costs(void **state)
{
    enum { LARGE = 16 << 20, WORDS = 3000 };
    world *w = *state;
    uint8_t word[FRAME_LIMIT] = {1};
    both_up(w, (stoa_link_options){.frame_limit = LARGE});
    const stoa_fabric *server = fabric(&w->server), *client = fabric(&w->client);
    assert_true(client->ring_bytes > server->ring_bytes);
    assert_int_equal(server->conns[0]->out.ring_bytes, server->ring_bytes);
    assert_int_equal(client->conns[0]->out.ring_bytes, server->ring_bytes);
    assert_int_equal(client->conns[0]->in.ring_bytes, server->ring_bytes);
    send_and_get(w, WORDS);
    for (uint32_t sent = 0; sent < WORDS;) { /* around the ring, many times */
        stoa_err err = w->server.link->ops->send(w->server.link, w->server.peer, word, sizeof word);
        assert_true(err == STOA_OK || err == STOA_E_FULL);
        sent += err == STOA_OK;
        run(w);
    }
    wait_for(w, &w->client.frames, WORDS);
}

#define OVER(test_, scheme_)                                                                                           \
    {                                                                                                                  \
        .name = scheme_ ": " #test_, .test_func = (test_), .setup_func = world_new, .teardown_func = world_free,       \
        .initial_state = (void *)(uintptr_t)(scheme_)                                                                  \
    }
#define OVER_EACH(test_) OVER(test_, "ucx+tcp"), OVER(test_, "ofi+tcp")

int main(void)
{
    const struct CMUnitTest tests[] = {
        OVER_EACH(what_is_agreed_on_cannot_be_changed_on_the_way),
        OVER_EACH(a_batch_that_nobody_sent_stands_in_nobodys_way),
        OVER_EACH(where_nothing_can_land_the_connection_ends),
        OVER_EACH(before_its_offer_a_listener_has_no_batches),
        OVER_EACH(before_the_offer_no_stranger_has_batches),
        OVER_EACH(a_carrier_without_room_uses_up_no_numbers),
        OVER_EACH(a_peer_does_not_choose_how_much_memory_it_costs),
    };
    return cmocka_run_group_tests_name("transport/fabric, a hostile world", tests, NULL, NULL);
}
