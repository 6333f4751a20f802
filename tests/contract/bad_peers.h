/* bad_peers.h - three nodes for bad_peers_test.c: a listens, b talks with it properly, c is a link of its own that says anything, or a
 * proper session whose pieces are recorded on their way; over every kind of link.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef STOA_TESTS_CONTRACT_BAD_PEERS_H
#define STOA_TESTS_CONTRACT_BAD_PEERS_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/random.h"
#include "tests/session_events.h"
#include "transport/keys.h"
#include "transport/sessions.h"

enum {
    FRAME_LIMIT = 64 << 10,
    QUEUE_FRAMES = 64,
    POLL_MAX = 64,
    DEADLINE_S = 60,
    TALK = 20,
    FEW = 5,
    GARBAGE = 200,
    LARGE_BYTES = 1000,
    PIECES = 64,
    PIECE_BYTES = 4096,
    HEARTBEAT_MS = 250,
    SILENCE_MAX_S = 10
};

typedef struct variant {
    const char *name, *address; /* %s: a fresh name */
    bool keys;
} variant;

static const variant variants[] = {
    {"zmq+ipc", "zmq+ipc://@%s", false},
    {"zmq+ipc with CURVE", "zmq+ipc://@%s", true},
    {"zmq+tcp with CURVE", "zmq+tcp://127.0.0.1:0", true},
    {"shm", "shm://%s", false},
    {"ucx+tcp with keys", "ucx+tcp://127.0.0.1:0", true},
    {"ofi+tcp with keys", "ofi+tcp://127.0.0.1:0", true},
};
enum { VARIANT_COUNT = sizeof variants / sizeof variants[0] };

/* What a node's session has sent, and what is told of others. */
typedef struct node {
    stoa_link tap; /* first: what a session of c takes for the link */
    struct world *world;
    const char *name;
    stoa_link *link;
    stoa_sessions *sessions; /* NULL: says what it likes */
    uint32_t ups, downs, refusals;
    stoa_err why_down, why_refused;
    uint64_t came; /* messages, in order */
    bool looks_away;
    stoa_session_events events;
} node;

typedef struct world {
    const variant *as;
    char address[192];
    stoa_key_pair keys[4]; /* of a, b, c, and one that nobody knows */
    stoa_link_allowed allowed[2];
    node a, b, c;
    uint64_t b_said, c_said;     /* that a has heard */
    uint32_t c_downs;            /* that a was told */
    uint64_t to_b, from_b, to_c; /* sent */
    uint32_t pieces;             /* of c's session, recorded */
    uint32_t piece_bytes[PIECES];
    uint8_t piece[PIECES][PIECE_BYTES] __attribute__((aligned(8)));
} world;

static uint64_t seed;
static stoa_random chance;

static inline uint64_t now_ns(void)
{
    return stoa_clock_real.now_ns(&stoa_clock_real);
}

/* --- what c's session says is recorded on its way */

static inline stoa_err tap_send(stoa_link *link, stoa_peer peer, const void *bytes, uint32_t size_bytes)
{
    node *n = (node *)(void *)link;
    world *w = n->world;
    if (w->pieces < PIECES && size_bytes <= PIECE_BYTES) {
        memcpy(w->piece[w->pieces], bytes, size_bytes);
        w->piece_bytes[w->pieces++] = size_bytes;
    }
    return n->link->ops->send(n->link, peer, bytes, size_bytes);
}

static inline uint32_t tap_poll(stoa_link *link, const stoa_link_events *events, uint32_t max)
{
    const node *n = (const node *)(const void *)link;
    return n->link->ops->poll(n->link, events, max);
}

static const stoa_link_ops tap_ops = {.scheme = "tap", .send = tap_send, .poll = tap_poll};

/* --- what is told */

static inline bool is_c(const stoa_session *session)
{
    return strcmp(stoa_session_peer(session), "c") == 0;
}

static inline void on_message(void *context, stoa_session *session, const stoa_session_message *m)
{
    node *n = context;
    world *w = n->world;
    uint64_t *count = n != &w->a ? &n->came : is_c(session) ? &w->c_said : &w->b_said;
    assert_int_equal(m->seq, ++*count);
    assert_true(m->size_bytes == LARGE_BYTES && ((const uint8_t *)m->bytes)[LARGE_BYTES / 2] == (uint8_t)m->seq);
}
static inline void on_up(void *context, stoa_session *session, bool resumed)
{
    (void)session, (void)resumed;
    ((node *)context)->ups++;
}
static inline void on_down(void *context, stoa_session *session, stoa_err why)
{
    node *n = context;
    if (n == &n->world->a && is_c(session)) {
        n->world->c_downs++;
    } else {
        n->downs++;
    }
    n->why_down = why;
}
static inline void on_refused(void *context, stoa_session *session, stoa_err why, bool here)
{
    node *n = context;
    (void)session, (void)here;
    n->refusals++;
    n->why_refused = why;
}

/* What a link tells of whom nobody is a session for. */
static inline void ignore_frame(void *context, stoa_peer peer, const char *identity, const void *bytes, uint32_t size_bytes)
{
    (void)context, (void)peer, (void)identity, (void)bytes, (void)size_bytes;
}
static inline void count_up(void *context, stoa_peer peer)
{
    (void)peer;
    ((node *)context)->ups++;
}
static inline void count_down(void *context, stoa_peer peer)
{
    (void)peer;
    ((node *)context)->downs++;
}
static inline void count_refused(void *context, stoa_err why)
{
    ((node *)context)->refusals++;
    ((node *)context)->why_refused = why;
}

/* --- nodes */

static inline void link_open(world *w, node *n, const stoa_key_pair *own)
{
    bool listens = n == &w->a;
    stoa_link_options options = {.listen = listens, .frame_limit = FRAME_LIMIT, .queue_frames = QUEUE_FRAMES};
    if (w->as->keys) {
        options.secret_key = own->secret_key;
        options.public_key = listens ? NULL : own->public_key;
        options.server_key = listens ? NULL : w->keys[0].public_key;
        options.allowed = listens ? w->allowed : NULL;
        options.allowed_count = listens ? 2 : 0;
    }
    if (stoa_link_open(w->address, &options, &n->link)) { fail_msg("%s: %s", w->address, stoa_err_trail()); }
    if (listens) { (void)snprintf(w->address, sizeof w->address, "%s", n->link->ops->address(n->link)); }
}

static inline void node_begin(world *w, node *n, const char *name, const stoa_key_pair *own)
{
    *n = (node){.tap = {&tap_ops}, .world = w, .name = name};
    link_open(w, n, own);
}

/* Gives the node a session; options: what of it is not usual. */
static inline void session_begin(node *n, stoa_session_options options)
{
    bool listens = n == &n->world->a;
    n->events = (stoa_session_events){.message = on_message,
                                      .up = on_up,
                                      .down = on_down,
                                      .reset = never_reset,
                                      .refused = on_refused,
                                      .expired = never_expired,
                                      .room = ignore_room,
                                      .context = n};
    if (!options.name) { options.name = n->name; }
    options.incarnation = 1;
    options.heartbeat_ns = STOA_MS(HEARTBEAT_MS);
    options.silence_max_ns = STOA_S(SILENCE_MAX_S);
    options.events = &n->events;
    stoa_sessions_options all = {.link = n == &n->world->c ? &n->tap : n->link, .listens = listens, .session = options};
    assert_int_equal(stoa_sessions_new(&all, &n->sessions), STOA_OK);
}

static inline void node_end(node *n)
{
    stoa_sessions_free(n->sessions);
    if (n->link) { n->link->ops->close(n->link, 0); }
    n->sessions = NULL;
    n->link = NULL;
}

static inline void node_run(node *n)
{
    const stoa_link_events bare = {
        .frame = ignore_frame, .up = count_up, .down = count_down, .refused = count_refused, .context = n};
    if (!n->link || n->looks_away) { return; }
    if (!n->sessions) {
        while (n->link->ops->poll(n->link, &bare, POLL_MAX) == POLL_MAX) {}
        return;
    }
    while (stoa_sessions_poll(n->sessions, now_ns(), POLL_MAX) == POLL_MAX) {}
    (void)stoa_sessions_step(n->sessions, now_ns());
}

static inline void run(world *w)
{
    node_run(&w->a);
    node_run(&w->b);
    node_run(&w->c);
    (void)poll(NULL, 0, 1);
}

#define UNTIL(w, holds)                                                                                                \
    for (uint64_t until_ns_ = now_ns() + STOA_S(DEADLINE_S); !(holds); run(w)) {                                       \
        if (now_ns() > until_ns_) { fail_msg("waited in vain for %s", #holds); }                                       \
    }

static inline stoa_err say(node *from, const char *to, uint64_t number)
{
    uint8_t bytes[LARGE_BYTES];
    uint64_t seq;
    memset(bytes, (uint8_t)number, sizeof bytes);
    return stoa_session_send(stoa_sessions_find(from->sessions, to), STOA_LANE_NORMAL, 1, 0, 0, 0, bytes, sizeof bytes,
                             now_ns(), &seq);
}

/* a and b are as they were: messages pass, in order, on the first connection. */
static inline void assert_served(world *w)
{
    for (unsigned i = 0; i < TALK; i++) {
        assert_int_equal(say(&w->a, "b", ++w->to_b), STOA_OK);
        assert_int_equal(say(&w->b, "a", ++w->from_b), STOA_OK);
    }
    UNTIL(w, w->b.came == w->to_b && w->b_said == w->from_b);
    assert_int_equal(w->b.ups, 1);
    assert_int_equal(w->a.downs + w->b.downs + w->b.refusals, 0);
}

static inline stoa_sessions_counts of_strangers(const world *w)
{
    stoa_sessions_counts counts;
    stoa_sessions_counted(w->a.sessions, &counts);
    return counts;
}

static inline stoa_session_counts of_c(const world *w)
{
    stoa_session_view view;
    stoa_session_look(stoa_sessions_find(w->a.sessions, "c"), &view);
    return view.counts;
}

/* c says this, without its session's knowledge. */
static inline void say_raw(world *w, const void *bytes, uint32_t size_bytes)
{
    stoa_err err = STOA_E_FULL;
    UNTIL(w, (err = w->c.link->ops->send(w->c.link, 0, bytes, size_bytes)) != STOA_E_FULL);
    assert_int_equal(err, STOA_OK);
}

static inline void c_says(world *w, uint64_t count)
{
    for (uint64_t i = 0; i < count; i++) {
        assert_int_equal(say(&w->c, "a", ++w->to_c), STOA_OK);
        UNTIL(w, w->c_said == w->to_c);
    }
}

/* --- worlds */

static inline int world_open(void **state)
{
    static unsigned count;
    world *w = calloc(1, sizeof *w);
    char name[64];
    if (!w) { return -1; }
    w->as = *state;
    *state = w;
    (void)snprintf(name, sizeof name, "stoa-bad-%d-%u", (int)getpid(), count++);
    (void)snprintf(w->address, sizeof w->address, "%.*s%s", (int)strcspn(w->as->address, "%"), w->as->address,
                   strchr(w->as->address, '%') ? name : "");
    for (unsigned i = 0; i < 4; i++) {
        assert_int_equal(stoa_key_new(&w->keys[i]), STOA_OK);
    }
    for (unsigned i = 0; i < 2; i++) {
        (void)snprintf(w->allowed[i].name, sizeof w->allowed[i].name, "%c", "bc"[i]);
        memcpy(w->allowed[i].public_key, w->keys[i + 1].public_key, STOA_KEY_TEXT_BYTES);
    }
    stoa_random_seed(&chance, seed);
    node_begin(w, &w->a, "a", &w->keys[0]);
    session_begin(&w->a, (stoa_session_options){0});
    node_begin(w, &w->b, "b", &w->keys[1]);
    session_begin(&w->b, (stoa_session_options){0});
    UNTIL(w, w->a.ups == 1 && w->b.ups == 1);
    assert_served(w);
    return 0;
}

static inline int world_close(void **state)
{
    world *w = *state;
    node_end(&w->c);
    node_end(&w->b);
    node_end(&w->a);
    free(w);
    return 0;
}

#endif
