/* links.h - the contract of transport/link.h, tested over every scheme, with and without encryption: what the tests of all groups,
 * link_*_test.c, are made of. links_world.h has how they begin, end and are run.
 *
 * Goal: whatever transport/link.h promises holds for each transport. Method: one thread owns all endpoints of a test
 * and sleeps in poll(2) on their descriptors, with no other timer than the test's deadline: a wake-up that a
 * transport forgets is a test that runs out of time. Sizes and orders come from a printed seed; set STOA_TEST_SEED to
 * repeat.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef STOA_TESTS_CONTRACT_LINKS_H
#define STOA_TESTS_CONTRACT_LINKS_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
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
    bool again;     /* little but code of other rows: most groups take it with STOA_DEEP only */
} variant;

// clang-format off
static const variant variants[] = {
    /* scheme          name                        place      curve  users  by_itself inside waits  again */
    {"shm",           "shm",                       BY_NAME,   false, true,  false,    false, false, false},
    {"shm",           "shm at a path",             IN_FOLDER, false, true,  false,    false, false, true},
    {"zmq+ipc",       "zmq+ipc",                   IN_FOLDER, false, false, true,     false, false, false},
    {"zmq+ipc",       "zmq+ipc with CURVE",        IN_FOLDER, true,  false, true,     false, false, true},
    {"zmq+tcp",       "zmq+tcp",                   AT_PORT,   false, false, true,     false, false, false},
    {"zmq+tcp",       "zmq+tcp with CURVE",        AT_PORT,   true,  false, true,     false, false, false},
    {"ucx+tcp",       "ucx+tcp",                   AT_PORT,   false, false, false,    false, true,  false},
    {"ucx+tcp",       "ucx+tcp with keys",         AT_PORT,   true,  false, false,    false, true,  false},
    {"ofi+tcp",       "ofi+tcp",                   AT_PORT,   false, false, false,    false, true,  false},
    {"ofi+tcp",       "ofi+tcp with keys",         AT_PORT,   true,  false, false,    false, true,  false},
    {"sim",           "sim",                       BY_NAME,   false, false, true,     true,  false, false},
    {"fault+sim",     "fault+sim",                 BY_NAME,   false, false, true,     true,  false, false},
    {"fault+shm",     "fault+shm",                 BY_NAME,   false, true,  false,    false, false, true},
    {"fault+zmq+ipc", "fault+zmq+ipc",             IN_FOLDER, false, false, true,     false, false, true},
    {"fault+zmq+tcp", "fault+zmq+tcp with CURVE",  AT_PORT,   true,  false, true,     false, false, false},
    {"fault+ucx+tcp", "fault+ucx+tcp",             AT_PORT,   false, false, false,    false, true,  true},
};
// clang-format on

enum { VARIANT_COUNT = sizeof variants / sizeof variants[0] };

static const char *const names[] = {"/link", "/other"}; /* of addresses in a world's folder */

static uint64_t seed;

/* The long form. */
static inline bool is_deep(void)
{
    return getenv("STOA_DEEP") != NULL;
}

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
    bool looks_away; /* is not polled */
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
static inline uint8_t pattern(uint32_t number, uint32_t at)
{
    return (uint8_t)(number * 31 + at * 7 + (at >> 8));
}

static inline void frame_fill(uint8_t *bytes, uint32_t number, uint32_t size_bytes)
{
    for (uint32_t i = 0; i < size_bytes; i++) {
        bytes[i] = pattern(number, i);
    }
    if (size_bytes >= sizeof number) { memcpy(bytes, &number, sizeof number); }
}

static inline bool frame_is(const uint8_t *bytes, uint32_t number, uint32_t size_bytes)
{
    uint32_t got = number;
    if (size_bytes >= sizeof got) { memcpy(&got, bytes, sizeof got); }
    for (uint32_t i = sizeof got; i < size_bytes; i++) {
        if (bytes[i] != pattern(number, i)) { return false; }
    }
    return got == number;
}

static inline uint32_t peer_at(end *e, stoa_peer peer)
{
    uint32_t i = 0;
    while (i < e->peer_count && e->peers[i].peer != peer) {
        i++;
    }
    return i;
}

static inline void on_up(void *context, stoa_peer peer)
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

static inline void on_down(void *context, stoa_peer peer)
{
    end *e = context;
    uint32_t at = peer_at(e, peer);
    assert_true(at < e->peer_count && e->peers[at].up);
    e->peers[at].up = false;
    e->downs++;
    e->lost = peer;
}

static inline void on_frame(void *context, stoa_peer peer, const char *identity, const void *bytes, uint32_t size_bytes)
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

static inline void on_refused(void *context, stoa_err why)
{
    end *e = context;
    e->refusals++;
    e->why = why;
}

static inline uint32_t poll_some(end *e, uint32_t max)
{
    stoa_link_events events = {.frame = on_frame, .down = on_down, .up = on_up, .refused = on_refused, .context = e};
    return e->link->ops->poll(e->link, &events, max);
}

static inline stoa_link_options options_of(const world *w, bool listen)
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

static inline void end_start(end *e, const char *address, const stoa_link_options *options)
{
    stoa_link *link = NULL;
    stoa_err err = stoa_link_open(address, options, &link);
    if (err) { fail_msg("%s: %s", address, stoa_err_trail()); }
    e->link = link;
}

static inline end *end_open(world *w, const char *address, const stoa_link_options *options)
{
    end *e = calloc(1, sizeof *e);
    assert_non_null(e);
    assert_true(w->end_count < ENDS_MAX);
    w->ends[w->end_count++] = e;
    end_start(e, address, options);
    return e;
}

static inline void end_stop(end *e, uint32_t linger_ms)
{
    if (e->link) { e->link->ops->close(e->link, linger_ms); }
    e->link = NULL;
}

static inline end *listen_at(world *w)
{
    stoa_link_options options = options_of(w, true);
    end *e = end_open(w, w->address, &options);
    (void)snprintf(w->address, sizeof w->address, "%s", e->link->ops->address(e->link));
    return e;
}

static inline end *dial(world *w)
{
    stoa_link_options options = options_of(w, false);
    return end_open(w, w->address, &options);
}

/* --- waiting */

static inline uint64_t now_ms(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

/* Poll all ends until each told less than was asked for. */
static inline void settle(world *w, const end *but)
{
    for (uint32_t i = 0; i < w->end_count; i++) {
        if (!w->ends[i]->link || w->ends[i] == but || w->ends[i]->looks_away) { continue; }
        uint32_t max = 1 + (uint32_t)stoa_random_below(&w->random, POLL_MAX);
        uint32_t told = 0;
        do {
            told = poll_some(w->ends[i], max);
            assert_true(told <= max);
        } while (told == max);
    }
}

/* Sleep on the descriptors until one is readable; false when the time is over. */
static inline bool sleep_on(world *w, const end *but, uint64_t until_ms)
{
    struct pollfd fds[ENDS_MAX];
    nfds_t count = 0;
    for (uint32_t i = 0; i < w->end_count; i++) {
        if (!w->ends[i]->link || w->ends[i] == but || w->ends[i]->looks_away) { continue; }
        fds[count++] = (struct pollfd){.fd = w->ends[i]->link->ops->fd(w->ends[i]->link), .events = POLLIN};
    }
    uint64_t now = now_ms();
    return now < until_ms && poll(fds, count, (int)(until_ms - now)) > 0;
}

typedef bool condition(const void *of);

/* Run all ends but one until the condition holds. */
static inline bool runs_until(world *w, const end *but, condition *holds, const void *of, uint64_t time_ms)
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

static inline bool has_come(const void *of)
{
    const expectation *e = of;
    return *e->count >= e->least;
}

static inline void wait_for(world *w, const uint32_t *count, uint32_t least)
{
    expectation e = {count, least};
    if (!runs_until(w, NULL, has_come, &e, DEADLINE_MS)) { fail_msg("%u of %u came in time", *count, least); }
}

static inline bool never(const void *of)
{
    (void)of;
    return false;
}

static inline void run_for(world *w, uint64_t time_ms)
{
    (void)runs_until(w, NULL, never, NULL, time_ms);
}

/* Send frame number to peer, running everybody while the queue is full. */
static inline void send_patiently(world *w, end *e, stoa_peer peer, uint32_t number, uint32_t size_bytes)
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

static inline void assert_in_order(const end *e)
{
    assert_int_equal(e->late, 0);
    assert_int_equal(e->disorders, 0);
    assert_int_equal(e->unsent, 0);
}

static inline stoa_link_counts counts_of(const end *e)
{
    stoa_link_counts counts;
    e->link->ops->counts(e->link, &counts);
    return counts;
}

/* Send frames, the first with this number, until send says FULL; returns the number of the one that was not taken. */
static inline uint32_t send_until_full(world *w, end *from, uint32_t number, uint32_t size_bytes)
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
static inline uint32_t fill(world *w, end *from, const end *stalled, uint32_t size_bytes)
{
    enum { QUIET_MS = 25, FILL_MS = 1000 };
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

#endif
