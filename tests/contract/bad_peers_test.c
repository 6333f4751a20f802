/* bad_peers_test.c - goal: a node that does not keep the rules of transport/session.h is refused by a name that is
 * counted, and nobody else notices: over every kind of link, over real sockets and memory. Method: node a listens;
 * node b talks with it properly, and before, between and after what the bad node c does messages pass between a and b
 * in order, on one connection. c is a link of its own that says anything, or a proper session whose pieces are
 * recorded, cut short and said again.
 *
 * Below sessions the same is asked of each link by tests/unit/transport/{strangers,fabric_strangers,shm}_test.c. What
 * is random comes from a printed seed; STOA_TEST_SEED repeats it.
 *
 * SPDX-License-Identifier: Apache-2.0 */
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
    {"zmq+tcp with CURVE", "zmq+tcp://127.0.0.1:0", true},
#if !defined(__SANITIZE_THREAD__) /* no thread of ours or the library's is in the others */
    {"shm", "shm://%s", false},
    {"ucx+tcp with keys", "ucx+tcp://127.0.0.1:0", true},
    {"ofi+tcp with keys", "ofi+tcp://127.0.0.1:0", true},
#endif
};
enum { VARIANT_COUNT = sizeof variants / sizeof variants[0], CASES = 6 };

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

static uint64_t now_ns(void)
{
    return stoa_clock_real.now_ns(&stoa_clock_real);
}

/* --- what c's session says is recorded on its way */

static stoa_err tap_send(stoa_link *link, stoa_peer peer, const void *bytes, uint32_t size_bytes)
{
    node *n = (node *)(void *)link;
    world *w = n->world;
    if (w->pieces < PIECES && size_bytes <= PIECE_BYTES) {
        memcpy(w->piece[w->pieces], bytes, size_bytes);
        w->piece_bytes[w->pieces++] = size_bytes;
    }
    return n->link->ops->send(n->link, peer, bytes, size_bytes);
}

static uint32_t tap_poll(stoa_link *link, const stoa_link_events *events, uint32_t max)
{
    const node *n = (const node *)(const void *)link;
    return n->link->ops->poll(n->link, events, max);
}

static const stoa_link_ops tap_ops = {.scheme = "tap", .send = tap_send, .poll = tap_poll};

/* --- what is told */

static bool is_c(const stoa_session *session)
{
    return strcmp(stoa_session_peer(session), "c") == 0;
}

static void on_message(void *context, stoa_session *session, const stoa_session_message *m)
{
    node *n = context;
    world *w = n->world;
    uint64_t *count = n != &w->a ? &n->came : is_c(session) ? &w->c_said : &w->b_said;
    assert_int_equal(m->seq, ++*count);
    assert_true(m->size_bytes == LARGE_BYTES && ((const uint8_t *)m->bytes)[LARGE_BYTES / 2] == (uint8_t)m->seq);
}
static void on_up(void *context, stoa_session *session, bool resumed)
{
    (void)session, (void)resumed;
    ((node *)context)->ups++;
}
static void on_down(void *context, stoa_session *session, stoa_err why)
{
    node *n = context;
    if (n == &n->world->a && is_c(session)) {
        n->world->c_downs++;
    } else {
        n->downs++;
    }
    n->why_down = why;
}
static void on_reset(void *context, stoa_session *session, const stoa_session_reset *reset)
{
    (void)context, (void)session, (void)reset;
    fail_msg("nobody has restarted");
}
static void on_refused(void *context, stoa_session *session, stoa_err why, bool here)
{
    node *n = context;
    (void)session, (void)here;
    n->refusals++;
    n->why_refused = why;
}
static void on_expired(void *context, stoa_session *session, stoa_lane lane, uint64_t seq, bool here)
{
    (void)context, (void)session, (void)lane, (void)seq, (void)here;
    fail_msg("no message has a deadline");
}
static void on_room(void *context, stoa_session *session, stoa_lane lane)
{
    (void)context, (void)session, (void)lane;
}

/* What a link tells of whom nobody is a session for. */
static void ignore_frame(void *context, stoa_peer peer, const char *identity, const void *bytes, uint32_t size_bytes)
{
    (void)context, (void)peer, (void)identity, (void)bytes, (void)size_bytes;
}
static void count_up(void *context, stoa_peer peer)
{
    (void)peer;
    ((node *)context)->ups++;
}
static void count_down(void *context, stoa_peer peer)
{
    (void)peer;
    ((node *)context)->downs++;
}
static void count_refused(void *context, stoa_err why)
{
    ((node *)context)->refusals++;
    ((node *)context)->why_refused = why;
}

/* --- nodes */

static void link_open(world *w, node *n, const stoa_key_pair *own)
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

static void node_begin(world *w, node *n, const char *name, const stoa_key_pair *own)
{
    *n = (node){.tap = {&tap_ops}, .world = w, .name = name};
    link_open(w, n, own);
}

/* Gives the node a session; options: what of it is not usual. */
static void session_begin(node *n, stoa_session_options options)
{
    bool listens = n == &n->world->a;
    n->events = (stoa_session_events){.message = on_message,
                                      .up = on_up,
                                      .down = on_down,
                                      .reset = on_reset,
                                      .refused = on_refused,
                                      .expired = on_expired,
                                      .room = on_room,
                                      .context = n};
    if (!options.name) { options.name = n->name; }
    options.incarnation = 1;
    options.heartbeat_ns = STOA_MS(HEARTBEAT_MS);
    options.silence_max_ns = STOA_S(SILENCE_MAX_S);
    options.events = &n->events;
    stoa_sessions_options all = {.link = n == &n->world->c ? &n->tap : n->link, .listens = listens, .session = options};
    assert_int_equal(stoa_sessions_new(&all, &n->sessions), STOA_OK);
}

static void node_end(node *n)
{
    stoa_sessions_free(n->sessions);
    if (n->link) { n->link->ops->close(n->link, 0); }
    n->sessions = NULL;
    n->link = NULL;
}

static void node_run(node *n)
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

static void run(world *w)
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

static stoa_err say(node *from, const char *to, uint64_t number)
{
    uint8_t bytes[LARGE_BYTES];
    uint64_t seq;
    memset(bytes, (uint8_t)number, sizeof bytes);
    return stoa_session_send(stoa_sessions_find(from->sessions, to), STOA_LANE_NORMAL, 1, 0, 0, 0, bytes, sizeof bytes,
                             now_ns(), &seq);
}

/* a and b are as they were: messages pass, in order, on the first connection. */
static void assert_served(world *w)
{
    for (unsigned i = 0; i < TALK; i++) {
        assert_int_equal(say(&w->a, "b", ++w->to_b), STOA_OK);
        assert_int_equal(say(&w->b, "a", ++w->from_b), STOA_OK);
    }
    UNTIL(w, w->b.came == w->to_b && w->b_said == w->from_b);
    assert_int_equal(w->b.ups, 1);
    assert_int_equal(w->a.downs + w->b.downs + w->b.refusals, 0);
}

static stoa_sessions_counts of_strangers(const world *w)
{
    stoa_sessions_counts counts;
    stoa_sessions_counted(w->a.sessions, &counts);
    return counts;
}

static stoa_session_counts of_c(const world *w)
{
    stoa_session_view view;
    stoa_session_look(stoa_sessions_find(w->a.sessions, "c"), &view);
    return view.counts;
}

/* c says this, without its session's knowledge. */
static void say_raw(world *w, const void *bytes, uint32_t size_bytes)
{
    stoa_err err = STOA_E_FULL;
    UNTIL(w, (err = w->c.link->ops->send(w->c.link, 0, bytes, size_bytes)) != STOA_E_FULL);
    assert_int_equal(err, STOA_OK);
}

static void c_says(world *w, uint64_t count)
{
    for (uint64_t i = 0; i < count; i++) {
        assert_int_equal(say(&w->c, "a", ++w->to_c), STOA_OK);
        UNTIL(w, w->c_said == w->to_c);
    }
}

/* --- the tests */

static void who_has_no_listed_key_or_anothers_name_is_denied(void **state)
{
    world *w = *state;
    if (!w->as->keys) { skip(); } /* anybody of this user may connect, and call itself as it likes */
    node_begin(w, &w->c, "c", &w->keys[3]);
    session_begin(&w->c, (stoa_session_options){0});
    UNTIL(w, of_strangers(w).link_refused > 0);
    assert_int_equal(of_strangers(w).link_why, STOA_E_DENIED);
    assert_int_equal(w->c.ups, 0);
    assert_served(w);
    node_end(&w->c);
    node_begin(w, &w->c, "b", &w->keys[2]); /* c's key */
    session_begin(&w->c, (stoa_session_options){0});
    UNTIL(w, w->c.refusals > 0);
    assert_int_equal(w->c.why_refused, STOA_E_DENIED);
    assert_int_equal(of_strangers(w).stranger_why, STOA_E_DENIED);
    assert_int_equal(w->c.ups, 0);
    assert_served(w);
}

static void who_speaks_another_version_is_told_so(void **state)
{
    world *w = *state;
    stoa_envelope e = {.flags = stoa_envelope_flags(STOA_ENVELOPE_HELLO, STOA_LANE_CONTROL)};
    node_begin(w, &w->c, "c", &w->keys[2]);
    session_begin(&w->c, (stoa_session_options){.version_min = 2, .version_max = 3});
    UNTIL(w, w->c.refusals > 0);
    assert_int_equal(w->c.why_refused, STOA_E_VERSION);
    assert_int_equal(of_strangers(w).stranger_why, STOA_E_VERSION);
    node_end(&w->c);
    node_begin(w, &w->c, "c", &w->keys[2]);
    UNTIL(w, w->c.ups > 0);
    uint64_t before = of_strangers(w).strangers_refused;
    stoa_envelope_seal(&e, sizeof e, 0);
    e.version = 9; /* another form of all that follows */
    say_raw(w, &e, sizeof e);
    UNTIL(w, of_strangers(w).strangers_refused > before);
    assert_int_equal(of_strangers(w).stranger_why, STOA_E_VERSION);
    assert_int_equal(stoa_sessions_count(w->a.sessions), 1);
    assert_served(w);
}

static void garbage_is_counted_and_nothing_else(void **state)
{
    world *w = *state;
    uint8_t bytes[2048];
    node_begin(w, &w->c, "c", &w->keys[2]);
    UNTIL(w, w->c.ups > 0);
    for (unsigned i = 0; i < GARBAGE; i++) {
        uint32_t size_bytes = 1 + (uint32_t)stoa_random_below(&chance, sizeof bytes);
        for (uint32_t at = 0; at < size_bytes; at++) {
            bytes[at] = (uint8_t)stoa_random_next(&chance);
        }
        if (size_bytes > 3 && i % 2) { memcpy(bytes, "St\1", 3); } /* as an envelope begins */
        say_raw(w, bytes, size_bytes);
    }
    UNTIL(w, of_strangers(w).strangers_refused == GARBAGE);
    assert_int_not_equal(of_strangers(w).stranger_why, STOA_OK);
    assert_int_equal(stoa_sessions_count(w->a.sessions), 1);
    assert_served(w);
}

static void c_begins(world *w)
{
    node_begin(w, &w->c, "c", &w->keys[2]);
    session_begin(&w->c, (stoa_session_options){0});
    UNTIL(w, w->c.ups == 1 && w->a.ups == 2);
    c_says(w, FEW);
}

/* The recorded batches that have messages; how many. */
static unsigned batches_of(const world *w, unsigned *out)
{
    unsigned count = 0;
    for (unsigned i = 0; i < w->pieces; i++) {
        stoa_envelope e;
        memcpy(&e, w->piece[i], sizeof e);
        if (stoa_envelope_is(&e) == STOA_ENVELOPE_DATA && e.count > 0) { out[count++] = i; }
    }
    return count;
}

static void truncated_batches_are_corrupt_or_malformed(void **state)
{
    world *w = *state;
    unsigned batches[PIECES];
    c_begins(w);
    assert_true(batches_of(w, batches) >= FEW);
    uint32_t size_bytes = w->piece_bytes[batches[0]], said = 0;
    for (uint32_t at = 1; at < size_bytes; at += 1 + (uint32_t)stoa_random_below(&chance, 40)) {
        say_raw(w, w->piece[batches[0]], at);
        said++;
    }
    UNTIL(w, of_c(w).corrupt + of_c(w).malformed == said);
    assert_true(of_c(w).corrupt > 0 && of_c(w).malformed > 0);
    c_says(w, FEW); /* and goes on, as if it had not */
    assert_int_equal(w->c.downs + w->c_downs, 0);
    assert_served(w);
}

static void what_is_said_again_is_not_heard_again(void **state)
{
    world *w = *state;
    unsigned batches[PIECES];
    c_begins(w);
    uint32_t count = batches_of(w, batches), pieces = w->pieces;
    uint64_t duplicates = of_c(w).duplicates, stale = of_c(w).stale;
    for (unsigned i = 0; i < count; i++) {
        say_raw(w, w->piece[batches[i]], w->piece_bytes[batches[i]]);
    }
    say_raw(w, w->piece[0], w->piece_bytes[0]); /* its first hello */
    UNTIL(w, of_c(w).duplicates >= duplicates + count && of_c(w).stale == stale + 1);
    c_says(w, FEW);
    assert_int_equal(w->c.downs + w->c_downs, 0);

    /* All of it, over a connection of its own */
    stoa_sessions *sessions = w->c.sessions;
    w->c.link->ops->close(w->c.link, 0);
    w->c.sessions = NULL;
    w->c.link = NULL;
    UNTIL(w, w->c_downs == 1);
    link_open(w, &w->c, &w->keys[2]);
    UNTIL(w, w->c.ups == 2);
    uint64_t before = of_strangers(w).strangers_refused;
    for (unsigned i = 0; i < pieces; i++) {
        say_raw(w, w->piece[i], w->piece_bytes[i]);
    }
    UNTIL(w, of_strangers(w).strangers_refused == before + pieces);
    assert_int_equal(of_strangers(w).stranger_why, STOA_E_STALE);
    w->c.link->ops->close(w->c.link, 0);
    link_open(w, &w->c, &w->keys[2]);
    w->c.sessions = sessions;
    stoa_sessions_relink(sessions, &w->c.tap, now_ns());
    c_says(w, FEW);
    assert_served(w);
}

static void who_never_reads_is_full_then_down_and_loses_nothing(void **state)
{
    world *w = *state;
    uint64_t number = 0;
    c_begins(w);
    w->c.looks_away = true;
    for (stoa_err err = STOA_OK; !err; number += !err) {
        err = say(&w->a, "c", number + 1);
    }
    assert_true(number > FEW);
    assert_served(w);
    UNTIL(w, w->c_downs == 1);
    assert_int_equal(w->a.why_down, STOA_E_TIMEOUT);
    assert_served(w);
    w->c.looks_away = false;
    UNTIL(w, w->c.came == number);
    assert_served(w);
}

/* --- worlds */

static int world_open(void **state)
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

static int world_close(void **state)
{
    world *w = *state;
    node_end(&w->c);
    node_end(&w->b);
    node_end(&w->a);
    free(w);
    return 0;
}

int main(int argc, char **argv)
{
    static const struct {
        const char *name;
        CMUnitTestFunction run;
    } tests[CASES] = {
#define TEST(name) {#name, name}
        TEST(who_has_no_listed_key_or_anothers_name_is_denied),
        TEST(who_speaks_another_version_is_told_so),
        TEST(garbage_is_counted_and_nothing_else),
        TEST(truncated_batches_are_corrupt_or_malformed),
        TEST(what_is_said_again_is_not_heard_again),
        TEST(who_never_reads_is_full_then_down_and_loses_nothing),
#undef TEST
    };
    static struct CMUnitTest cases[VARIANT_COUNT * CASES];
    static char titles[VARIANT_COUNT * CASES][128];
    const char *given = getenv("STOA_TEST_SEED");
    if (argc == 2) { cmocka_set_test_filter(argv[1]); }
    seed = given ? strtoull(given, NULL, 10) : (uint64_t)time(NULL);
    (void)printf("STOA_TEST_SEED=%llu\n", (unsigned long long)seed);
    for (unsigned i = 0; i < VARIANT_COUNT * CASES; i++) {
        const variant *as = &variants[i / CASES];
        (void)snprintf(titles[i], sizeof titles[i], "%s: %s", as->name, tests[i % CASES].name);
        cases[i] = (struct CMUnitTest){.name = titles[i],
                                       .test_func = tests[i % CASES].run,
                                       .setup_func = world_open,
                                       .teardown_func = world_close,
                                       .initial_state = (void *)(uintptr_t)as};
    }
    return cmocka_run_group_tests(cases, NULL, NULL);
}
