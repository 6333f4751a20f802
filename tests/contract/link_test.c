/* link_test.c - the contract of transport/link.h, over every scheme, with and without encryption.
 *
 * Goal: whatever transport/link.h promises holds for each transport. Method: one thread owns all endpoints of a test
 * and sleeps in poll(2) on their descriptors, with no other timer than the test's deadline: a wake-up that a
 * transport forgets is a test that runs out of time. Sizes and orders come from a printed seed; set STOA_TEST_SEED to
 * repeat.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/random.h"
#include "transport/keys.h"
#include "transport/link.h"

enum { FRAME_LIMIT = 64 * 1024, QUEUE_FRAMES = 64, ENDS_MAX = 80, DEADLINE_MS = 30000, POLL_MAX = 16 };

typedef enum place { IN_FOLDER, AT_PORT, BY_NAME } place; /* where an address leads */

/* A transport as it is tested: what it can, and what it need not. */
typedef struct variant {
    const char *scheme, *name;
    place place;
    bool curve;     /* with keys; the tests of keys run */
    bool users;     /* proves users: identity is never "" */
    bool by_itself; /* answers who dials while the listener's owner looks away */
    bool inside;    /* both ends in one process */
    bool waits;     /* what was sent stays where it is while the sender's owner looks away */
} variant;

// clang-format off
static const variant variants[] = {
    /* scheme          name                        place      curve  users  by_itself inside waits */
    {"shm",           "shm",                       BY_NAME,   false, true,  false,    false, false},
    {"shm",           "shm at a path",             IN_FOLDER, false, true,  false,    false, false},
    {"zmq+ipc",       "zmq+ipc",                   IN_FOLDER, false, false, true,     false, false},
    {"zmq+ipc",       "zmq+ipc with CURVE",        IN_FOLDER, true,  false, true,     false, false},
    {"zmq+tcp",       "zmq+tcp",                   AT_PORT,   false, false, true,     false, false},
    {"zmq+tcp",       "zmq+tcp with CURVE",        AT_PORT,   true,  false, true,     false, false},
    {"ucx+tcp",       "ucx+tcp",                   AT_PORT,   false, false, false,    false, true},
    {"ucx+tcp",       "ucx+tcp with keys",         AT_PORT,   true,  false, false,    false, true},
    {"ofi+tcp",       "ofi+tcp",                   AT_PORT,   false, false, false,    false, true},
    {"ofi+tcp",       "ofi+tcp with keys",         AT_PORT,   true,  false, false,    false, true},
    {"sim",           "sim",                       BY_NAME,   false, false, true,     true, false},
    {"fault+sim",     "fault+sim",                 BY_NAME,   false, false, true,     true, false},
    {"fault+shm",     "fault+shm",                 BY_NAME,   false, true,  false,    false, false},
    {"fault+zmq+ipc", "fault+zmq+ipc",             IN_FOLDER, false, false, true,     false, false},
    {"fault+zmq+tcp", "fault+zmq+tcp with CURVE",  AT_PORT,   true,  false, true,     false, false},
};
// clang-format on

enum { VARIANT_COUNT = sizeof variants / sizeof variants[0] };

static const char *const names[] = {"/link", "/other"}; /* of addresses in a world's folder */

static uint64_t seed;

/* --- ends: an endpoint and what it told */

typedef struct end {
    stoa_link *link;
    uint32_t ups, downs, frames, refusals;
    uint64_t bytes;
    uint32_t late;        /* frames of a peer that was not up */
    uint32_t disorders;   /* frames that came out of order, or with other bytes than were sent */
    stoa_peer peer, lost; /* last up, last down */
    stoa_peer from;       /* of the last frame */
    stoa_err why;         /* of the last refusal */
    uint32_t size_bytes;  /* of the last frame */
    char identity[64];
    struct {
        stoa_peer peer;
        bool up;
        uint32_t next; /* number of the next frame */
    } peers[ENDS_MAX * 4];
    uint32_t peer_count;
    bool echo;       /* send every frame back */
    bool greets;     /* send a frame on up */
    uint32_t unsent; /* of these, how many were not taken */
} end;

typedef struct world {
    const variant *as;
    char folder[64], address[128];
    stoa_key_pair server, client, other;
    stoa_link_allowed allowed[2];
    end *ends[ENDS_MAX];
    uint32_t end_count;
    stoa_random random;
    uint8_t *frame; /* 4 * FRAME_LIMIT */
} world;

/* A frame's bytes follow from its number and size, so whoever gets it can tell whether it is whole. */
static uint8_t pattern(uint32_t number, uint32_t at)
{
    return (uint8_t)(number * 31 + at * 7 + (at >> 8));
}

static void frame_fill(uint8_t *bytes, uint32_t number, uint32_t size_bytes)
{
    for (uint32_t i = 0; i < size_bytes; i++) {
        bytes[i] = pattern(number, i);
    }
    if (size_bytes >= sizeof number) { memcpy(bytes, &number, sizeof number); }
}

static bool frame_is(const uint8_t *bytes, uint32_t number, uint32_t size_bytes)
{
    uint32_t got = number;
    if (size_bytes >= sizeof got) { memcpy(&got, bytes, sizeof got); }
    for (uint32_t i = sizeof got; i < size_bytes; i++) {
        if (bytes[i] != pattern(number, i)) { return false; }
    }
    return got == number;
}

static uint32_t peer_at(end *e, stoa_peer peer)
{
    uint32_t i = 0;
    while (i < e->peer_count && e->peers[i].peer != peer) {
        i++;
    }
    return i;
}

static void on_up(void *context, stoa_peer peer)
{
    end *e = context;
    assert_true(peer != 0);
    assert_int_equal(peer_at(e, peer), e->peer_count); /* numbers never come again */
    assert_true(e->peer_count < sizeof e->peers / sizeof e->peers[0]);
    e->peers[e->peer_count].peer = peer;
    e->peers[e->peer_count].up = true;
    e->peers[e->peer_count++].next = 0;
    e->ups++;
    e->peer = peer;
    uint8_t greeting[16];
    frame_fill(greeting, 0, sizeof greeting);
    if (e->greets && e->link->ops->send(e->link, peer, greeting, sizeof greeting)) { e->unsent++; }
}

static void on_down(void *context, stoa_peer peer)
{
    end *e = context;
    uint32_t at = peer_at(e, peer);
    assert_true(at < e->peer_count && e->peers[at].up);
    e->peers[at].up = false;
    e->downs++;
    e->lost = peer;
}

static void on_frame(void *context, stoa_peer peer, const char *identity, const void *bytes, uint32_t size_bytes)
{
    end *e = context;
    uint32_t at = peer_at(e, peer);
    e->frames++;
    e->bytes += size_bytes;
    e->from = peer;
    e->size_bytes = size_bytes;
    (void)snprintf(e->identity, sizeof e->identity, "%s", identity);
    if (at == e->peer_count || !e->peers[at].up) {
        e->late++;
    } else if (!frame_is(bytes, e->peers[at].next++, size_bytes)) {
        e->disorders++;
    }
    if (e->echo && e->link->ops->send(e->link, peer, bytes, size_bytes)) { e->unsent++; }
}

static void on_refused(void *context, stoa_err why)
{
    end *e = context;
    e->refusals++;
    e->why = why;
}

static uint32_t poll_some(end *e, uint32_t max)
{
    stoa_link_events events = {.frame = on_frame, .down = on_down, .up = on_up, .refused = on_refused, .context = e};
    return e->link->ops->poll(e->link, &events, max);
}

static stoa_link_options options_of(const world *w, bool listen)
{
    stoa_link_options options = {.listen = listen, .frame_limit = FRAME_LIMIT, .queue_frames = QUEUE_FRAMES};
    if (w->as->curve) {
        options.secret_key = listen ? w->server.secret_key : w->client.secret_key;
        options.public_key = listen ? NULL : w->client.public_key;
        options.server_key = listen ? NULL : w->server.public_key;
        options.allowed = listen ? w->allowed : NULL;
        options.allowed_count = listen ? 2 : 0;
    }
    return options;
}

static void end_start(end *e, const char *address, const stoa_link_options *options)
{
    stoa_link *link = NULL;
    stoa_err err = stoa_link_open(address, options, &link);
    if (err) { fail_msg("%s: %s", address, stoa_err_trail()); }
    e->link = link;
}

static end *end_open(world *w, const char *address, const stoa_link_options *options)
{
    end *e = calloc(1, sizeof *e);
    assert_non_null(e);
    assert_true(w->end_count < ENDS_MAX);
    w->ends[w->end_count++] = e;
    end_start(e, address, options);
    return e;
}

static void end_stop(end *e, uint32_t linger_ms)
{
    if (e->link) { e->link->ops->close(e->link, linger_ms); }
    e->link = NULL;
}

static end *listen_at(world *w)
{
    stoa_link_options options = options_of(w, true);
    end *e = end_open(w, w->address, &options);
    (void)snprintf(w->address, sizeof w->address, "%s", e->link->ops->address(e->link));
    return e;
}

static end *dial(world *w)
{
    stoa_link_options options = options_of(w, false);
    return end_open(w, w->address, &options);
}

/* --- waiting */

static uint64_t now_ms(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

/* Poll all ends until each told less than was asked for. */
static void settle(world *w, const end *but)
{
    for (uint32_t i = 0; i < w->end_count; i++) {
        if (!w->ends[i]->link || w->ends[i] == but) { continue; }
        uint32_t max = 1 + (uint32_t)stoa_random_below(&w->random, POLL_MAX);
        uint32_t told = 0;
        do {
            told = poll_some(w->ends[i], max);
            assert_true(told <= max);
        } while (told == max);
    }
}

/* Sleep on the descriptors until one is readable; false when the time is over. */
static bool sleep_on(world *w, const end *but, uint64_t until_ms)
{
    struct pollfd fds[ENDS_MAX];
    nfds_t count = 0;
    for (uint32_t i = 0; i < w->end_count; i++) {
        if (!w->ends[i]->link || w->ends[i] == but) { continue; }
        fds[count++] = (struct pollfd){.fd = w->ends[i]->link->ops->fd(w->ends[i]->link), .events = POLLIN};
    }
    uint64_t now = now_ms();
    return now < until_ms && poll(fds, count, (int)(until_ms - now)) > 0;
}

typedef bool condition(const void *of);

/* Run all ends but one until the condition holds. */
static bool runs_until(world *w, const end *but, condition *holds, const void *of, uint64_t time_ms)
{
    uint64_t until_ms = now_ms() + time_ms;
    do {
        settle(w, but);
        if (holds(of)) { return true; }
    } while (sleep_on(w, but, until_ms));
    return false;
}

typedef struct expectation {
    const uint32_t *count;
    uint32_t least;
} expectation;

static bool has_come(const void *of)
{
    const expectation *e = of;
    return *e->count >= e->least;
}

static void wait_for(world *w, const uint32_t *count, uint32_t least)
{
    expectation e = {count, least};
    if (!runs_until(w, NULL, has_come, &e, DEADLINE_MS)) { fail_msg("%u of %u came in time", *count, least); }
}

static bool never(const void *of)
{
    (void)of;
    return false;
}

static void run_for(world *w, uint64_t time_ms)
{
    (void)runs_until(w, NULL, never, NULL, time_ms);
}

/* Send frame number to peer, running everybody while the queue is full. */
static void send_patiently(world *w, end *e, stoa_peer peer, uint32_t number, uint32_t size_bytes)
{
    frame_fill(w->frame, number, size_bytes);
    uint64_t until_ms = now_ms() + DEADLINE_MS;
    stoa_err err = STOA_E_FULL;
    while ((err = e->link->ops->send(e->link, peer, w->frame, size_bytes)) == STOA_E_FULL) {
        settle(w, NULL);
        assert_true(sleep_on(w, NULL, until_ms));
    }
    assert_int_equal(err, STOA_OK);
}

static void assert_in_order(const end *e)
{
    assert_int_equal(e->late, 0);
    assert_int_equal(e->disorders, 0);
    assert_int_equal(e->unsent, 0);
}

static stoa_link_counts counts_of(const end *e)
{
    stoa_link_counts counts;
    e->link->ops->counts(e->link, &counts);
    return counts;
}

/* --- the tests */

static void frames_arrive_whole_and_in_order_both_ways(void **state)
{
    enum { FRAMES = 600 };
    world *w = *state;
    end *server = listen_at(w), *client = dial(w);
    wait_for(w, &client->ups, 1);
    wait_for(w, &server->ups, 1);
    uint64_t bytes = 0;
    for (uint32_t i = 0; i < FRAMES; i++) {
        uint32_t most = stoa_random_chance(&w->random, 100) ? FRAME_LIMIT : 300;
        uint32_t to_bytes = 4 + (uint32_t)stoa_random_below(&w->random, most - 3);
        uint32_t from_bytes = 4 + (uint32_t)stoa_random_below(&w->random, most - 3);
        send_patiently(w, client, client->peer, i, to_bytes);
        send_patiently(w, server, server->peer, i, from_bytes);
        bytes += to_bytes;
        if (stoa_random_chance(&w->random, 200)) { settle(w, NULL); }
    }
    wait_for(w, &server->frames, FRAMES);
    wait_for(w, &client->frames, FRAMES);
    assert_in_order(server);
    assert_in_order(client);
    assert_true(server->bytes == bytes);
    char user[64];
    (void)snprintf(user, sizeof user, "uid:%lu", (unsigned long)geteuid());
    assert_string_equal(server->identity, w->as->curve ? "client" : w->as->users ? user : "");
}

static void sizes_up_to_the_limit_pass_and_others_are_named(void **state)
{
    world *w = *state;
    end *server = listen_at(w), *client = dial(w);
    wait_for(w, &client->ups, 1);
    uint32_t sizes[] = {1, 255, 256, 8192, FRAME_LIMIT - 1, FRAME_LIMIT};
    for (uint32_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        send_patiently(w, client, client->peer, i, sizes[i]);
        wait_for(w, &server->frames, i + 1);
        assert_int_equal(server->size_bytes, sizes[i]);
    }
    send_patiently(w, server, server->peer, 0, FRAME_LIMIT);
    wait_for(w, &client->frames, 1);
    assert_int_equal(client->link->ops->send(client->link, 0, w->frame, FRAME_LIMIT + 1), STOA_E_TOO_LARGE);
    assert_int_equal(client->link->ops->send(client->link, 0, w->frame, 0), STOA_E_INVALID);
    assert_int_equal(server->link->ops->send(server->link, server->peer, w->frame, FRAME_LIMIT + 1), STOA_E_TOO_LARGE);
    assert_int_equal(server->link->ops->send(server->link, server->peer, w->frame, 0), STOA_E_INVALID);
    run_for(w, 50);
    assert_in_order(server);
    assert_int_equal(server->frames, sizeof sizes / sizeof sizes[0]);
    assert_int_equal(server->downs + client->downs, 0);
}

static void a_frame_over_the_limit_closes_only_its_connection(void **state)
{
    world *w = *state;
    end *server = listen_at(w), *good = dial(w);
    stoa_link_options options = options_of(w, false);
    options.frame_limit = 4 * FRAME_LIMIT;
    wait_for(w, &server->ups, 1);
    end *bad = end_open(w, w->address, &options);
    wait_for(w, &bad->ups, 1);
    wait_for(w, &server->ups, 2);
    stoa_peer bad_peer = server->peer;

    send_patiently(w, bad, 0, 0, FRAME_LIMIT + 1);
    wait_for(w, &bad->downs, 1);
    wait_for(w, &server->downs, 1);
    assert_true(server->lost == bad_peer);
    assert_int_equal(server->link->ops->send(server->link, bad_peer, w->frame, 10), STOA_E_CLOSED);
    wait_for(w, &bad->ups, 2);
    send_patiently(w, bad, 0, 0, FRAME_LIMIT);
    send_patiently(w, good, 0, 0, 100);
    wait_for(w, &server->frames, 2);
    assert_in_order(server);
    assert_int_equal(good->downs, 0);
}

static void a_listener_that_sends_too_much_loses_only_that_peer(void **state)
{
    world *w = *state;
    stoa_link_options options = options_of(w, true);
    options.frame_limit = 4 * FRAME_LIMIT;
    end *server = end_open(w, w->address, &options);
    (void)snprintf(w->address, sizeof w->address, "%s", server->link->ops->address(server->link));
    end *client = dial(w);
    wait_for(w, &client->ups, 1);
    wait_for(w, &server->ups, 1);
    send_patiently(w, server, server->peer, 0, FRAME_LIMIT + 1);
    wait_for(w, &client->downs, 1);
    wait_for(w, &server->downs, 1);
    wait_for(w, &client->ups, 2);
    wait_for(w, &server->ups, 2);
    send_patiently(w, server, server->peer, 0, FRAME_LIMIT);
    wait_for(w, &client->frames, 1);
    assert_in_order(client);
}

static void many_peers_are_kept_apart(void **state)
{
    enum { PEERS = 48, AT_ONCE = 8, ROUNDS = 12 }; /* more at once may take longer than a handshake may */
    world *w = *state;
    end *server = listen_at(w);
    end *clients[PEERS];
    server->echo = true;
    for (uint32_t i = 0, up = 0; i < PEERS; i++) {
        clients[i] = dial(w);
        for (; i % AT_ONCE == AT_ONCE - 1 && up <= i; up++) {
            wait_for(w, &clients[up]->ups, 1);
        }
    }
    for (uint32_t round = 0; round < ROUNDS; round++) {
        for (uint32_t i = 0; i < PEERS; i++) {
            send_patiently(w, clients[i], 0, round, 8 + i);
        }
    }
    for (uint32_t i = 0; i < PEERS; i++) {
        wait_for(w, &clients[i]->frames, ROUNDS);
        assert_in_order(clients[i]);
        assert_int_equal(clients[i]->size_bytes, 8 + i);
        end_stop(clients[i], 0);
    }
    wait_for(w, &server->downs, PEERS);
    assert_in_order(server);
    assert_int_equal(server->ups, PEERS);
    assert_int_equal(counts_of(server).downs, PEERS);
}

/* Send frames, the first with this number, until send says FULL; returns the number of the one that was not taken. */
static uint32_t send_until_full(world *w, end *from, uint32_t number, uint32_t size_bytes)
{
    enum { MOST = 20000 };
    for (;; number++) {
        frame_fill(w->frame, number, size_bytes);
        stoa_err err = from->link->ops->send(from->link, from->peer, w->frame, size_bytes);
        if (err == STOA_E_FULL) { return number; }
        assert_int_equal(err, STOA_OK);
        assert_true(number < MOST);
    }
}

/* Fill all that is between two ends while the other does not read; returns how many frames it took. Not for as long as
 * it takes to be held for dead. */
static uint32_t fill(world *w, end *from, const end *stalled, uint32_t size_bytes)
{
    enum { QUIET_MS = 100, FILL_MS = 1000 };
    uint32_t sent = send_until_full(w, from, 0, size_bytes);
    uint64_t end_ms = now_ms() + FILL_MS;
    for (uint64_t quiet_at_ms = now_ms() + QUIET_MS; now_ms() < quiet_at_ms && now_ms() < end_ms;) {
        settle(w, stalled);
        (void)sleep_on(w, stalled, quiet_at_ms);
        uint32_t before = sent;
        sent = send_until_full(w, from, sent, size_bytes);
        if (sent > before) { quiet_at_ms = now_ms() + QUIET_MS; }
    }
    return sent;
}

static void *close_lingering(void *argument)
{
    end_stop(argument, DEADLINE_MS);
    return NULL;
}

/* Read a frame at a time, and answer each: a transport must not take what comes in for a reason to drop what goes out. */
static void hear_out(end *to, bool talks)
{
    uint8_t answer = 0;
    for (uint64_t until_ms = now_ms() + DEADLINE_MS; talks && to->downs == 0 && now_ms() < until_ms;) {
        (void)poll_some(to, 1);
        (void)to->link->ops->send(to->link, to->peer, &answer, 1); /* CLOSED in the end, or FULL */
        (void)poll(NULL, 0, 1);
    }
}

/* Everything between the ends is full when one closes, and it all arrives, then down. */
static void closes_with_a_full_queue(world *w, end *from, end *to, bool talks)
{
    uint32_t sent = fill(w, from, to, 16 * 1024);
    end closing = {.link = from->link};
    from->link = NULL;
    uint64_t began_ms = now_ms();
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, close_lingering, &closing), 0);
    hear_out(to, talks);
    wait_for(w, &to->downs, 1);
    assert_int_equal(pthread_join(thread, NULL), 0);
    assert_true(now_ms() - began_ms < DEADLINE_MS); /* no longer than it was needed */
    assert_int_equal(to->frames, sent);
    assert_in_order(to);
    assert_true(to->lost == to->from);
    assert_int_equal(to->link->ops->send(to->link, to->lost, w->frame, 10), STOA_E_CLOSED);
}

static void peer_closes(world *w, bool talks)
{
    end *server = listen_at(w), *client = dial(w);
    wait_for(w, &server->ups, 1);
    wait_for(w, &client->ups, 1);
    closes_with_a_full_queue(w, client, server, talks);
}

static void listener_closes(world *w, bool talks)
{
    end *server = listen_at(w), *client = dial(w);
    wait_for(w, &client->ups, 1);
    wait_for(w, &server->ups, 1);
    closes_with_a_full_queue(w, server, client, talks);
}

static void a_peer_that_closes_is_down_after_its_last_frame(void **state)
{
    peer_closes(*state, false);
}

static void a_peer_that_closes_is_heard_out_by_a_listener_that_talks(void **state)
{
    peer_closes(*state, true);
}

static void a_listener_that_closes_is_down_after_its_last_frame(void **state)
{
    listener_closes(*state, false);
}

static void a_listener_that_closes_is_heard_out_by_a_peer_that_talks(void **state)
{
    listener_closes(*state, true);
}

static void a_lost_connection_is_dialled_again(void **state)
{
    enum { TIMES = 4 };
    world *w = *state;
    end *server = listen_at(w), *client = dial(w);
    for (uint32_t i = 0; i < TIMES; i++) {
        wait_for(w, &client->ups, i + 1);
        wait_for(w, &server->ups, i + 1);
        send_patiently(w, client, 0, 0, 64);
        send_patiently(w, server, server->peer, 0, 64);
        wait_for(w, &server->frames, i + 1);
        wait_for(w, &client->frames, i + 1);
        end_stop(server, 0);
        wait_for(w, &client->downs, i + 1);
        assert_int_equal(client->link->ops->send(client->link, 0, w->frame, 10), STOA_E_CLOSED);
        server->peer_count = 0;
        stoa_link_options options = options_of(w, true);
        end_start(server, w->address, &options);
    }
    assert_in_order(server);
    assert_in_order(client);
    wait_for(w, &client->ups, TIMES + 1);
}

/* What came over the old connection is told before its down, what comes over a new one after its up. The listener does
 * not wait longer than it was told, so not all of the old need have come. */
static void connections_are_not_mixed_by_who_looks_away(void **state)
{
    enum { FRAMES = 5, LINGER_MS = 200 };
    world *w = *state;
    end *server = listen_at(w), *client = dial(w);
    wait_for(w, &server->ups, 1);
    wait_for(w, &client->ups, 1);
    for (int twice = 0; twice < 2; twice++) {
        for (uint32_t i = 0; i < FRAMES; i++) {
            frame_fill(w->frame, i, 100);
            assert_int_equal(server->link->ops->send(server->link, server->peer, w->frame, 100), STOA_OK);
        }
        if (twice) { break; }
        end_stop(server, LINGER_MS);
        server->peer_count = 0;
        stoa_link_options options = options_of(w, true);
        end_start(server, w->address, &options);
        expectation again = {&server->ups, 2};
        if (!runs_until(w, client, has_come, &again, LINGER_MS)) { wait_for(w, &server->ups, 2); }
    }
    wait_for(w, &client->ups, 2);
    wait_for(w, &client->peers[1].next, FRAMES);
    assert_true(client->peers[0].next <= FRAMES && client->peers[1].next == FRAMES);
    assert_in_order(client);
    assert_int_equal(client->downs, 1);
}

static void up_can_be_answered_at_once(void **state)
{
    world *w = *state;
    end *server = listen_at(w), *client = dial(w);
    server->greets = client->greets = true;
    wait_for(w, &server->frames, 1);
    wait_for(w, &client->frames, 1);
    assert_in_order(server);
    assert_in_order(client);
}

static void a_listener_may_come_after_who_dials(void **state)
{
    world *w = *state;
    end *server = listen_at(w); /* for an address that is free */
    end_stop(server, 0);
    end *client = dial(w);
    run_for(w, 300);
    assert_int_equal(client->ups, 0);
    assert_int_equal(client->link->ops->send(client->link, 0, w->frame, 10), STOA_E_CLOSED);
    end *late = listen_at(w);
    wait_for(w, &client->ups, 1);
    wait_for(w, &late->ups, 1);
    send_patiently(w, client, 0, 0, 10);
    wait_for(w, &late->frames, 1);
    assert_int_equal(client->downs, 0);
}

static bool can_send(const void *of)
{
    const end *e = *(const end *const *)of;
    uint8_t one = 0;
    return e->link->ops->send(e->link, e->peer, &one, 1) == STOA_OK;
}

static void full_then_all_arrive(world *w, end *from, end *to)
{
    enum { SIZE_BYTES = 32 * 1024 };
    uint32_t sent = fill(w, from, to, SIZE_BYTES);
    assert_true(sent > QUEUE_FRAMES / 4); /* a transport may count messages of its own, or bytes */
    wait_for(w, &to->frames, sent);
    assert_int_equal(to->frames, sent);
    assert_in_order(to);
    const end *sender = from;
    assert_true(runs_until(w, NULL, can_send, &sender, DEADLINE_MS)); /* woken by the descriptor */
    wait_for(w, &to->frames, sent + 1);
}

static void a_listener_that_does_not_read_makes_send_full(void **state)
{
    world *w = *state;
    end *server = listen_at(w), *client = dial(w);
    wait_for(w, &client->ups, 1);
    full_then_all_arrive(w, client, server);
}

static void a_peer_that_does_not_read_makes_send_full_for_it_alone(void **state)
{
    world *w = *state;
    end *server = listen_at(w), *idle = dial(w);
    wait_for(w, &server->ups, 1);
    stoa_peer idle_peer = server->peer;
    end *busy = dial(w);
    wait_for(w, &server->ups, 2);
    stoa_peer busy_peer = server->peer;
    server->peer = idle_peer;
    uint32_t sent = fill(w, server, idle, 32 * 1024);
    frame_fill(w->frame, 0, 100);
    assert_int_equal(server->link->ops->send(server->link, busy_peer, w->frame, 100), STOA_OK);
    expectation come = {&busy->frames, 1};
    assert_true(runs_until(w, idle, has_come, &come, DEADLINE_MS));
    assert_int_equal(idle->frames, 0);
    wait_for(w, &idle->frames, sent);
    assert_in_order(idle);
    const end *sender = server;
    assert_true(runs_until(w, NULL, can_send, &sender, DEADLINE_MS));
}

/* Room that comes between the full send and the poll before the sleep is not slept through. */
static void wakes_although_polled(world *w, end *from, end *to)
{
    bool polled = w->as->waits;
    uint32_t sent = fill(w, from, to, 32 * 1024);
    expectation come = {&to->frames, polled ? 0 : sent};
    assert_true(runs_until(w, from, has_come, &come, DEADLINE_MS));
    (void)poll(NULL, 0, 50); /* the news is at the sender by now, so the poll can swallow it */
    stoa_err err = STOA_E_FULL;
    for (uint64_t until_ms = now_ms() + DEADLINE_MS; err == STOA_E_FULL;) {
        while (poll_some(from, POLL_MAX) == POLL_MAX) {}
        if (polled) { settle(w, from); }
        assert_true(sleep_on(w, polled ? NULL : to, until_ms));
        err = from->link->ops->send(from->link, from->peer, w->frame, 32 * 1024);
    }
    assert_int_equal(err, STOA_OK);
}

static void room_is_not_slept_through(void **state)
{
    world *w = *state;
    end *server = listen_at(w), *client = dial(w);
    wait_for(w, &client->ups, 1);
    wait_for(w, &server->ups, 1);
    wakes_although_polled(w, client, server);
    wakes_although_polled(w, server, client);
}

static void dies_with_a_full_queue(world *w, end *from, end *to)
{
    uint32_t sent = fill(w, from, to, 1024);
    end_stop(from, 0);
    (void)poll(NULL, 0, 700); /* long enough for whatever a transport does by the clock twice a second */
    wait_for(w, &to->downs, 1);
    assert_in_order(to);
    assert_true(to->frames <= sent);
}

static void a_peer_may_die_while_its_queue_is_full(void **state)
{
    world *w = *state;
    end *server = listen_at(w), *client = dial(w);
    wait_for(w, &client->ups, 1);
    wait_for(w, &server->ups, 1);
    dies_with_a_full_queue(w, client, server);
    end *next = dial(w);
    wait_for(w, &next->ups, 1);
    wait_for(w, &server->ups, 2);
    dies_with_a_full_queue(w, server, next);
}

/* The listener never finds its queue empty, and still tells who has left. */
static void a_stream_does_not_hold_back_a_down(void **state)
{
    enum { SIZE_BYTES = 4096 };
    world *w = *state;
    end *server = listen_at(w), *stream = dial(w), *leaver = dial(w);
    wait_for(w, &server->ups, 2);
    wait_for(w, &stream->ups, 1);
    wait_for(w, &leaver->ups, 1);
    uint32_t sent = fill(w, stream, server, SIZE_BYTES);
    end_stop(leaver, 0);
    (void)poll(NULL, 0, 100);
    for (uint64_t until_ms = now_ms() + DEADLINE_MS; server->downs == 0;) {
        assert_true(now_ms() < until_ms && server->frames < sent);
        (void)poll_some(server, 1);
        (void)poll(NULL, 0, 1); /* time for the queue to be filled again */
        sent = send_until_full(w, stream, sent, SIZE_BYTES);
    }
    assert_in_order(server);
}

/* Connections that come while the listener polls all the time are not taken for old ones. */
static void a_listener_that_never_sleeps_keeps_all_peers(void **state)
{
    enum { ROUNDS = 20, PEERS = 8, SELDOM = 4096, ROUNDS_WHO_WAITS = 5, SELDOM_WHO_WAITS = 64 };
    world *w = *state;
    uint32_t seldom = w->as->waits ? SELDOM_WHO_WAITS : SELDOM; /* who dials has steps of his own to take */
    uint32_t rounds = w->as->waits ? ROUNDS_WHO_WAITS : ROUNDS; /* and such links are slow to open */
    end *server = listen_at(w);
    end *clients[PEERS] = {NULL};
    stoa_link_options options = options_of(w, false);
    for (uint32_t round = 0; round < rounds; round++) {
        for (uint32_t i = 0; i < PEERS; i++) {
            if (!clients[i]) { clients[i] = calloc(1, sizeof *clients[i]); }
            assert_non_null(clients[i]);
            memset(clients[i], 0, sizeof *clients[i]);
            end_start(clients[i], w->address, &options);
        }
        server->peer_count = 0;
        uint64_t until_ms = now_ms() + DEADLINE_MS;
        for (uint32_t i = 1; server->ups < PEERS && now_ms() < until_ms; i++) {
            (void)poll_some(server, POLL_MAX);
            if (i % seldom) { continue; }
            (void)poll_some(clients[i / seldom % PEERS], POLL_MAX); /* it may have to dial again */
        }
        assert_int_equal(server->ups, PEERS);
        assert_int_equal(server->downs, 0);
        for (uint32_t i = 0; i < PEERS; i++) {
            end_stop(clients[i], 0);
        }
        wait_for(w, &server->downs, PEERS);
        server->ups = server->downs = 0;
    }
    for (uint32_t i = 0; i < PEERS; i++) {
        free(clients[i]);
    }
}

enum { SHORT_FRAMES = 3 };

/* Whether one peer is left, with one frame more than the short ones have. */
static bool all_but_the_last_are_gone(const void *of)
{
    const end *server = of;
    uint32_t i = 0;
    while (i < server->peer_count && !server->peers[i].up) {
        i++;
    }
    return server->ups == server->downs + 1 && server->peers[i].next == SHORT_FRAMES + 1;
}

/* Many short connections, whose descriptors are used again at once, while the listener seldom looks. They close without
 * waiting for it, so what they sent last may not come; what comes is told. */
static void short_connections_are_told_whole(void **state)
{
    enum { LIVES = 60, LINGER_MS = 1 };
    world *w = *state;
    end *server = listen_at(w), *client = dial(w);
    for (uint32_t life = 0; life <= LIVES; life++) {
        if (life > 0) {
            stoa_link_options options = options_of(w, false);
            memset(client, 0, sizeof *client);
            end_start(client, w->address, &options);
        }
        expectation up = {&client->ups, 1};
        assert_true(runs_until(w, w->as->by_itself ? server : NULL, has_come, &up, DEADLINE_MS));
        for (uint32_t i = 0; i < SHORT_FRAMES + (life == LIVES); i++) {
            frame_fill(w->frame, i, 40);
            assert_int_equal(client->link->ops->send(client->link, 0, w->frame, 40), STOA_OK);
        }
        if (life < LIVES) { end_stop(client, LINGER_MS); }
        if (stoa_random_chance(&w->random, 200)) { (void)poll_some(server, 1 + life % 7); }
    }
    assert_true(runs_until(w, NULL, all_but_the_last_are_gone, server, DEADLINE_MS));
    assert_in_order(server);
    assert_int_equal(counts_of(server).frames_dropped, 0);
    print_message("%u of %u frames came\n", server->frames, LIVES * SHORT_FRAMES + SHORT_FRAMES + 1);
}

static void a_burst_never_sleeps_through_a_frame(void **state)
{
    enum { ROUNDS = 300, BURST_MAX = 24 };
    world *w = *state;
    end *server = listen_at(w), *client = dial(w);
    server->echo = true;
    wait_for(w, &client->ups, 1);
    uint32_t sent = 0;
    for (uint32_t round = 0; round < ROUNDS; round++) {
        uint32_t burst = 1 + (uint32_t)stoa_random_below(&w->random, BURST_MAX);
        for (uint32_t i = 0; i < burst; i++) {
            send_patiently(w, client, 0, sent++, 16);
        }
        wait_for(w, &client->frames, sent); /* sleeps only on descriptors */
    }
    assert_in_order(server);
    assert_in_order(client);
}

static void poll_tells_no_more_than_it_is_asked_for(void **state)
{
    enum { FRAMES = 20 };
    world *w = *state;
    end *server = listen_at(w), *client = dial(w);
    wait_for(w, &client->ups, 1);
    assert_int_equal(poll_some(server, 0), 0);
    for (uint32_t i = 0; i < FRAMES; i++) {
        send_patiently(w, client, 0, i, 16);
    }
    wait_for(w, &server->ups, 1);
    uint64_t until_ms = now_ms() + DEADLINE_MS;
    while (server->frames < FRAMES && now_ms() < until_ms) {
        uint32_t before = server->frames;
        assert_true(poll_some(server, 1) <= 1);
        assert_true(server->frames <= before + 1);
    }
    assert_int_equal(server->frames, FRAMES);
}

static void one_peer_more_than_the_limit_is_refused_until_one_leaves(void **state)
{
    world *w = *state;
    stoa_link_options options = options_of(w, true);
    options.peer_limit = 2;
    end *server = end_open(w, w->address, &options);
    (void)snprintf(w->address, sizeof w->address, "%s", server->link->ops->address(server->link));
    end *first = dial(w), *second = dial(w);
    wait_for(w, &server->ups, 2);
    end *third = dial(w);
    wait_for(w, &third->refusals, 2);
    wait_for(w, &server->refusals, 2);
    assert_int_equal(server->why, STOA_E_FULL);
    assert_int_equal(third->why, STOA_E_FULL);
    assert_int_equal(server->ups, 2);
    assert_true(counts_of(server).refused >= 2);
    end_stop(first, 0);
    wait_for(w, &server->ups, 3);
    uint32_t ups = third->ups;
    send_patiently(w, second, 0, 0, 10);
    wait_for(w, &server->frames, 1);
    uint32_t downs = third->downs;
    assert_int_equal(ups, downs + 1);
    assert_int_equal(second->downs, 0);
}

static void an_address_is_listened_at_once(void **state)
{
    world *w = *state;
    stoa_link_options options = options_of(w, true);
    end *server = listen_at(w), *client = dial(w);
    stoa_link *second = NULL;
    assert_int_equal(stoa_link_open(w->address, &options, &second), STOA_E_EXISTS);
    assert_null(second);
    wait_for(w, &server->ups, 1);
    send_patiently(w, client, 0, 0, 10);
    wait_for(w, &server->frames, 1);
}

static void bad_options_are_named(void **state)
{
    world *w = *state;
    stoa_link *link = NULL;
    for (int listen = 0; listen < 2; listen++) {
        stoa_link_options good = options_of(w, listen);
        stoa_link_options bad[] = {good, good, good, good, good};
        bad[0].frame_limit = STOA_LINK_FRAME_LIMIT_MIN - 1;
        bad[1].queue_frames = 0;
        bad[2].peer_limit = STOA_LINK_PEERS_MAX + 1;
        bad[3].secret_key = "too short";
        bad[4].secret_key = "not Z85, but forty characters long: ~~~~";
        for (unsigned i = 0; i < sizeof bad / sizeof bad[0]; i++) {
            assert_int_equal(stoa_link_open(w->address, &bad[i], &link), STOA_E_INVALID);
        }
        assert_int_equal(stoa_link_open("zmq+sctp://127.0.0.1:1", &good, &link), STOA_E_UNSUPPORTED);
        assert_int_equal(stoa_link_open("zmq+tcp:/127.0.0.1:1", &good, &link), STOA_E_UNSUPPORTED);
        char nowhere[32];
        (void)snprintf(nowhere, sizeof nowhere, "%s://", w->as->scheme);
        assert_int_equal(stoa_link_open(nowhere, &good, &link), STOA_E_INVALID);
        if (w->as->place != AT_PORT) { continue; }
        (void)snprintf(nowhere, sizeof nowhere, "%s://127.0.0.1:port", w->as->scheme);
        assert_int_equal(stoa_link_open(nowhere, &good, &link), STOA_E_INVALID);
    }
    assert_null(link);
}

/* --- keys; these run where there is encryption */

static void frames_carry_the_name_of_the_key(void **state)
{
    world *w = *state;
    end *server = listen_at(w), *client = dial(w);
    stoa_link_options options = options_of(w, false);
    options.secret_key = w->other.secret_key;
    options.public_key = w->other.public_key;
    end *other = end_open(w, w->address, &options);
    wait_for(w, &client->ups, 1);
    wait_for(w, &other->ups, 1);
    send_patiently(w, client, 0, 0, 10);
    wait_for(w, &server->frames, 1);
    assert_string_equal(server->identity, "client");
    send_patiently(w, other, 0, 0, 10);
    wait_for(w, &server->frames, 2);
    assert_string_equal(server->identity, "other");
    wait_for(w, &server->ups, 2);

    stoa_link_allowed renamed = w->allowed[1];
    (void)snprintf(renamed.name, sizeof renamed.name, "another");
    assert_int_equal(server->link->ops->allow(server->link, (stoa_link_allowed[]){w->allowed[0], renamed}, 2), STOA_OK);
    send_patiently(w, other, 0, 1, 10);
    wait_for(w, &server->frames, 3);
    assert_string_equal(server->identity, "another");
    assert_int_equal(server->downs, 0);
}

static void a_key_that_is_not_listed_is_refused_until_it_is(void **state)
{
    world *w = *state;
    stoa_link_options options = options_of(w, true);
    options.allowed_count = 1;
    end *server = end_open(w, w->address, &options);
    (void)snprintf(w->address, sizeof w->address, "%s", server->link->ops->address(server->link));
    end *client = dial(w);
    options = options_of(w, false);
    options.secret_key = w->other.secret_key;
    options.public_key = w->other.public_key;
    end *other = end_open(w, w->address, &options);

    wait_for(w, &other->refusals, 3);
    wait_for(w, &server->refusals, 1);
    wait_for(w, &client->ups, 1);
    assert_int_equal(other->why, STOA_E_DENIED);
    assert_int_equal(server->why, STOA_E_DENIED);
    assert_int_equal(other->ups, 0);
    assert_true(counts_of(server).refused >= 2);
    assert_int_equal(other->link->ops->send(other->link, 0, w->frame, 10), STOA_E_CLOSED);

    assert_int_equal(server->link->ops->allow(server->link, w->allowed, 2), STOA_OK);
    wait_for(w, &other->ups, 1);
    send_patiently(w, other, 0, 0, 10);
    wait_for(w, &server->frames, 1);
    assert_string_equal(server->identity, "other");
    assert_int_equal(client->downs, 0);
}

static void a_removed_key_is_refused_where_it_is_connected(void **state)
{
    world *w = *state;
    end *server = listen_at(w), *client = dial(w);
    stoa_link_options options = options_of(w, false);
    options.secret_key = w->other.secret_key;
    options.public_key = w->other.public_key;
    wait_for(w, &server->ups, 1);
    end *other = end_open(w, w->address, &options);
    wait_for(w, &server->ups, 2);
    wait_for(w, &other->ups, 1);
    stoa_peer gone = server->peer;
    send_patiently(w, other, 0, 0, 10);
    wait_for(w, &server->frames, 1);

    frame_fill(w->frame, 1, 10);
    assert_int_equal(other->link->ops->send(other->link, 0, w->frame, 10), STOA_OK);
    assert_int_equal(server->link->ops->allow(server->link, w->allowed, 1), STOA_OK);
    assert_int_equal(server->link->ops->send(server->link, gone, w->frame, 10), STOA_E_CLOSED);
    wait_for(w, &server->downs, 1);
    assert_true(server->lost == gone);
    wait_for(w, &other->downs, 1);
    wait_for(w, &other->refusals, 2);
    assert_int_equal(other->why, STOA_E_DENIED);
    assert_int_equal(server->frames, 1);
    assert_in_order(server);
    assert_int_equal(other->ups, 1);
    send_patiently(w, client, 0, 0, 10);
    wait_for(w, &server->frames, 2);
    assert_int_equal(client->downs, 0);
}

static void a_bad_allow_list_leaves_the_old_one(void **state)
{
    world *w = *state;
    end *server = listen_at(w), *client = dial(w);
    wait_for(w, &server->ups, 1);
    stoa_link_allowed bad[3][2] = {{w->allowed[0], w->allowed[0]}, {w->allowed[0], {.name = "x"}}, {w->allowed[0]}};
    memcpy(bad[2][1].public_key, w->other.public_key, STOA_KEY_TEXT_BYTES); /* and no name */
    for (unsigned i = 0; i < 3; i++) {
        assert_int_equal(server->link->ops->allow(server->link, bad[i], 2), STOA_E_INVALID);
    }
    assert_int_equal(client->link->ops->allow(client->link, w->allowed, 2), STOA_E_INVALID);
    send_patiently(w, client, 0, 0, 10);
    wait_for(w, &server->frames, 1);
    assert_string_equal(server->identity, "client");
}

static void a_wrong_server_key_is_refused(void **state)
{
    world *w = *state;
    end *server = listen_at(w);
    stoa_link_options options = options_of(w, false);
    options.server_key = w->other.public_key;
    end *client = end_open(w, w->address, &options);
    wait_for(w, &client->refusals, 2);
    wait_for(w, &server->refusals, 1);
    assert_int_equal(client->why, STOA_E_DENIED);
    assert_int_equal(server->why, STOA_E_DENIED);
    assert_int_equal(client->ups + server->ups, 0);
}

static void who_does_not_encrypt_is_refused_by_who_does(void **state)
{
    world *w = *state;
    end *server = listen_at(w);
    stoa_link_options plain = {.frame_limit = FRAME_LIMIT, .queue_frames = QUEUE_FRAMES};
    end *client = end_open(w, w->address, &plain);
    wait_for(w, &client->refusals, 2);
    wait_for(w, &server->refusals, 1);
    assert_int_equal(client->why, STOA_E_DENIED);
    assert_true(server->why == STOA_E_DENIED || server->why == STOA_E_MALFORMED); /* the client may notice first */
    end_stop(server, 0);
    end_stop(client, 0);

    plain.listen = true;
    end *open_server = end_open(w, w->address, &plain);
    end *wary = dial(w);
    wait_for(w, &wary->refusals, 2);
    assert_int_equal(wary->why, STOA_E_DENIED);
    assert_int_equal(client->ups + server->ups + open_server->ups + wary->ups, 0);
}

static void without_keys_nothing_leaves_the_machine(void **state)
{
    world *w = *state;
    stoa_link *link = NULL;
    stoa_link_options plain = {.frame_limit = FRAME_LIMIT, .queue_frames = QUEUE_FRAMES};
    const char *addresses[] = {"zmq+tcp://192.0.2.1:7000", "zmq+tcp://0.0.0.0:7000", "zmq+tcp://*:7000",
                               "zmq+tcp://127.example.org:7000", "zmq+tcp://[2001:db8::1]:7000"};
    for (int listen = 0; listen < 2; listen++) {
        plain.listen = listen;
        for (unsigned i = 0; i < sizeof addresses / sizeof addresses[0]; i++) {
            assert_int_equal(stoa_link_open(addresses[i], &plain, &link), STOA_E_INVALID);
        }
    }
    plain.listen = true;
    plain.allowed = w->allowed; /* names without encryption prove nothing */
    plain.allowed_count = 1;
    assert_int_equal(stoa_link_open(w->address, &plain, &link), STOA_E_INVALID);
    assert_null(link);
}

/* --- an end in another process, which can be stopped and killed */

/* Arguments: "listen" or "dial", address, then keys: server's public and secret, client's public and secret. */
static int end_main(char **arguments)
{
    static world w;
    static const variant plain = {.curve = false}, curve = {.curve = true};
    w.as = arguments[2][0] ? &curve : &plain;
    char *keys[] = {w.server.public_key, w.server.secret_key, w.client.public_key, w.client.secret_key};
    for (unsigned i = 0; i < 4; i++) {
        (void)snprintf(keys[i], STOA_KEY_TEXT_BYTES, "%s", arguments[2 + i]);
    }
    (void)snprintf(w.address, sizeof w.address, "%s", arguments[1]);
    (void)snprintf(w.allowed[0].name, sizeof w.allowed[0].name, "client");
    (void)snprintf(w.allowed[1].name, sizeof w.allowed[1].name, "server");
    memcpy(w.allowed[0].public_key, w.client.public_key, STOA_KEY_TEXT_BYTES);
    memcpy(w.allowed[1].public_key, w.server.public_key, STOA_KEY_TEXT_BYTES);
    (void)(strcmp(arguments[0], "listen") == 0 ? listen_at(&w) : dial(&w));
    run_for(&w, DEADLINE_MS);
    return 0;
}

static pid_t end_spawn(world *w, const char *side)
{
    char flag[] = "--end", none[] = "", program[] = "/proc/self/exe", role[8];
    (void)snprintf(role, sizeof role, "%s", side);
    char *server_public = w->as->curve ? w->server.public_key : none;
    char *arguments[] = {program,
                         flag,
                         role,
                         w->address,
                         server_public,
                         w->server.secret_key,
                         w->client.public_key,
                         w->client.secret_key,
                         NULL};
    pid_t child = -1;
    assert_int_equal(posix_spawn(&child, program, NULL, NULL, arguments, environ), 0);
    return child;
}

static void a_killed_peer_is_down(void **state)
{
    world *w = *state;
    end *server = listen_at(w);
    pid_t child = end_spawn(w, "dial");
    wait_for(w, &server->ups, 1);
    kill(child, SIGKILL);
    wait_for(w, &server->downs, 1);
    assert_int_equal(waitpid(child, NULL, 0), child);
}

/* --- worlds */

/* An address that nobody listens at; a port is chosen when somebody does. */
static void address_new(world *w, const char *name)
{
    const char *folder = w->as->place == BY_NAME ? strrchr(w->folder, '/') + 1 : w->folder;
    if (w->as->place == AT_PORT) {
        (void)snprintf(w->address, sizeof w->address, "%s://127.0.0.1:0", w->as->scheme);
    } else {
        (void)snprintf(w->address, sizeof w->address, "%s://%s%s", w->as->scheme, folder,
                       w->as->place == BY_NAME ? name + 1 : name);
    }
}

static int world_open(void **state)
{
    world *w = calloc(1, sizeof *w);
    if (!w) { return -1; }
    w->as = *state;
    (void)snprintf(w->folder, sizeof w->folder, "/tmp/stoa-link-XXXXXX");
    if (!mkdtemp(w->folder)) { return -1; }
    address_new(w, names[0]);
    if (stoa_key_new(&w->server) || stoa_key_new(&w->client) || stoa_key_new(&w->other)) { return -1; }
    (void)snprintf(w->allowed[0].name, sizeof w->allowed[0].name, "client");
    (void)snprintf(w->allowed[1].name, sizeof w->allowed[1].name, "other");
    memcpy(w->allowed[0].public_key, w->client.public_key, STOA_KEY_TEXT_BYTES);
    memcpy(w->allowed[1].public_key, w->other.public_key, STOA_KEY_TEXT_BYTES);
    w->frame = malloc(4 * FRAME_LIMIT);
    stoa_random_seed(&w->random, seed);
    *state = w;
    return w->frame ? 0 : -1;
}

static int world_close(void **state)
{
    world *w = *state;
    for (uint32_t i = 0; i < w->end_count; i++) {
        end_stop(w->ends[i], 0);
        free(w->ends[i]);
    }
    for (unsigned i = 0; i < sizeof names / sizeof names[0]; i++) {
        char path[128];
        (void)snprintf(path, sizeof path, "%s%s", w->folder, names[i]);
        (void)unlink(path);
    }
    int rc = rmdir(w->folder);
    free(w->frame);
    free(w);
    return rc;
}

/* --- silence, for all variants at once because it takes its time */

typedef struct vigil {
    world *world;
    end *server, *quiet; /* have nothing to say to each other */
    end *client;         /* of the child */
    pid_t child;
} vigil;

static void vigil_begin(vigil *v)
{
    v->server = listen_at(v->world);
    v->quiet = dial(v->world);
    wait_for(v->world, &v->quiet->ups, 1);
    address_new(v->world, names[1]);
    end_stop(listen_at(v->world), 0); /* for an address that is free */
    v->client = dial(v->world);
    v->child = end_spawn(v->world, "listen");
    wait_for(v->world, &v->client->ups, 1);
}

static void assert_quiet(const vigil *v)
{
    assert_int_equal(v->quiet->downs + v->server->downs, 0);
    assert_int_equal(v->quiet->frames + v->server->frames, 0);
}

static void vigils_signal(world *w, vigil *vigils, int number, bool up, uint32_t least)
{
    for (uint32_t i = 0; i < VARIANT_COUNT; i++) {
        if (variants[i].inside) { continue; }
        assert_int_equal(kill(vigils[i].child, number), 0);
    }
    for (uint32_t i = 0; i < VARIANT_COUNT; i++) {
        if (variants[i].inside) { continue; }
        wait_for(w, up ? &vigils[i].client->ups : &vigils[i].client->downs, least);
        assert_quiet(&vigils[i]);
    }
}

/* Who dials asks, and a listener that has nothing to say answers: so a connection lives on in a silence that is long
 * enough to hold another listener for dead. */
static void a_quiet_connection_stays_and_a_stopped_listener_is_down(void **state)
{
    world *all = *state;
    vigil vigils[VARIANT_COUNT];
    for (uint32_t i = 0; i < VARIANT_COUNT; i++) {
        if (variants[i].inside) { continue; }
        void *opened = (void *)(uintptr_t)&variants[i];
        assert_int_equal(world_open(&opened), 0);
        vigils[i].world = opened;
        vigil_begin(&vigils[i]);
        for (uint32_t *count = &vigils[i].world->end_count; *count > 0;) {
            all->ends[all->end_count++] = vigils[i].world->ends[--*count];
        }
    }
    vigils_signal(all, vigils, SIGSTOP, false, 1);
    vigils_signal(all, vigils, SIGCONT, true, 2);
    vigils_signal(all, vigils, SIGKILL, false, 2);
    for (uint32_t i = 0; i < VARIANT_COUNT; i++) {
        if (variants[i].inside) { continue; }
        assert_int_equal(waitpid(vigils[i].child, NULL, 0), vigils[i].child);
        assert_int_equal(vigils[i].client->refusals, 0);
        void *opened = vigils[i].world;
        assert_int_equal(world_close(&opened), 0);
    }
}

/* --- running */

typedef struct test {
    const char *name;
    CMUnitTestFunction run;
    bool needs_curve, needs_process;
} test;

#define TEST(name)                                                                                                     \
    {                                                                                                                  \
#name, name, false, false                                                                                      \
    }
#define KEY_TEST(name)                                                                                                 \
    {                                                                                                                  \
#name, name, true, false                                                                                       \
    }
#define PROCESS_TEST(name)                                                                                             \
    {                                                                                                                  \
#name, name, false, true                                                                                       \
    }
static const test tests[] = {
    TEST(frames_arrive_whole_and_in_order_both_ways),
    TEST(sizes_up_to_the_limit_pass_and_others_are_named),
    TEST(a_frame_over_the_limit_closes_only_its_connection),
    TEST(a_listener_that_sends_too_much_loses_only_that_peer),
    TEST(many_peers_are_kept_apart),
    TEST(a_peer_that_closes_is_down_after_its_last_frame),
    TEST(a_peer_that_closes_is_heard_out_by_a_listener_that_talks),
    TEST(a_listener_that_closes_is_down_after_its_last_frame),
    TEST(a_listener_that_closes_is_heard_out_by_a_peer_that_talks),
    TEST(a_lost_connection_is_dialled_again),
    TEST(connections_are_not_mixed_by_who_looks_away),
    TEST(up_can_be_answered_at_once),
    TEST(a_listener_may_come_after_who_dials),
    TEST(a_listener_that_does_not_read_makes_send_full),
    TEST(a_peer_that_does_not_read_makes_send_full_for_it_alone),
    TEST(room_is_not_slept_through),
    TEST(a_peer_may_die_while_its_queue_is_full),
    TEST(a_stream_does_not_hold_back_a_down),
    TEST(a_listener_that_never_sleeps_keeps_all_peers),
    TEST(short_connections_are_told_whole),
    TEST(a_burst_never_sleeps_through_a_frame),
    TEST(poll_tells_no_more_than_it_is_asked_for),
    TEST(one_peer_more_than_the_limit_is_refused_until_one_leaves),
    TEST(an_address_is_listened_at_once),
    TEST(bad_options_are_named),
    TEST(without_keys_nothing_leaves_the_machine),
    PROCESS_TEST(a_killed_peer_is_down),
    KEY_TEST(frames_carry_the_name_of_the_key),
    KEY_TEST(a_key_that_is_not_listed_is_refused_until_it_is),
    KEY_TEST(a_removed_key_is_refused_where_it_is_connected),
    KEY_TEST(a_bad_allow_list_leaves_the_old_one),
    KEY_TEST(a_wrong_server_key_is_refused),
    KEY_TEST(who_does_not_encrypt_is_refused_by_who_does),
};
static const test of_all = TEST(a_quiet_connection_stays_and_a_stopped_listener_is_down);
enum { TEST_COUNT = sizeof tests / sizeof tests[0], CASES_MAX = TEST_COUNT * VARIANT_COUNT + 1 };

static struct CMUnitTest cases[CASES_MAX];
static uint32_t case_count;

static void case_add(const test *of, const variant *as, const char *title)
{
    static char titles[CASES_MAX][160];
    (void)snprintf(titles[case_count], sizeof titles[case_count], "%s: %s", title, of->name);
    cases[case_count] = (struct CMUnitTest){.name = titles[case_count],
                                            .test_func = of->run,
                                            .setup_func = world_open,
                                            .teardown_func = world_close,
                                            .initial_state = (void *)(uintptr_t)as};
    case_count++;
}

/* A link without a thread works on its owner's: there are no races to see, and the sanitizer makes its library take minutes. */
#if defined(__SANITIZE_THREAD__)
enum { SEES_THREADS = true };
#else
enum { SEES_THREADS = false };
#endif

static void cases_make(void)
{
    for (uint32_t v = 0; v < VARIANT_COUNT; v++) {
        if (SEES_THREADS && variants[v].waits) { continue; }
        for (uint32_t t = 0; t < TEST_COUNT; t++) {
            bool runs = (variants[v].curve || !tests[t].needs_curve) && !(variants[v].inside && tests[t].needs_process);
            if (runs) { case_add(&tests[t], &variants[v], variants[v].name); }
        }
    }
    case_add(&of_all, &variants[0], "all");
}

int main(int argc, char **argv)
{
    if (argc == 8 && strcmp(argv[1], "--end") == 0) { return end_main(argv + 2); }
    if (argc == 2) { cmocka_set_test_filter(argv[1]); } /* "*CURVE: a_killed*" */
    const char *given = getenv("STOA_TEST_SEED");
    seed = given ? strtoull(given, NULL, 10) : (uint64_t)time(NULL);
    (void)printf("STOA_TEST_SEED=%llu\n", (unsigned long long)seed);
    cases_make();
    return _cmocka_run_group_tests("transport/link.h", cases, case_count, NULL, NULL);
}
