/* session_test.c - goal: what transport/session.h promises holds over every link, with and without faults. Method: two nodes in
 * one thread, each asleep on its link's descriptor until its session's next step, send numbered messages on all lanes both
 * ways while the one that dials closes its link and opens it again; then one restarts, as another life or as the same one, which
 * has forgotten what it said. Choices come from a printed seed; set STOA_TEST_SEED to repeat.
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
#include "tests/session_events.h"
#include "transport/sessions.h"

enum { MESSAGES = 4000, MESSAGE_MAX = 900, CUTS = 5, POLL_MAX = 64, DEADLINE_S = 60, STEP_MAX_MS = 50, REFUSED_MS = 2000 };

typedef struct variant {
    const char *name, *address; /* %s: a fresh name; NULL faults: none */
    const char *faults;
} variant;

static const variant variants[] = {
    {"sim", "sim://%s", NULL},
    {"shm", "shm://%s", NULL},
    {"zmq+ipc", "zmq+ipc://@%s", NULL},
    {"zmq+tcp", "zmq+tcp://127.0.0.1:0", NULL},
    {"ucx+tcp", "ucx+tcp://127.0.0.1:0", NULL},
    {"ofi+tcp", "ofi+tcp://127.0.0.1:0", NULL},
    {"fault+sim", "sim://%s", "loss=20&dup=20&reorder=20&delay_us=300&jitter_us=200"},
    {"fault+shm", "shm://%s", "loss=20&dup=20&reorder=20&delay_us=300&jitter_us=200"},
    {"fault+zmq+tcp", "zmq+tcp://127.0.0.1:0", "loss=20&dup=20&reorder=20&delay_us=300&jitter_us=200"},
};
enum { VARIANT_COUNT = sizeof variants / sizeof variants[0] };

typedef struct node {
    struct world *world;
    stoa_link *link;
    stoa_sessions *sessions;
    uint64_t sent[STOA_LANE_COUNT], came[STOA_LANE_COUNT];
    uint32_t ups, resumes, resets;
    stoa_err refused; /* why it was, or has */
    uint64_t next_ns;
    stoa_session_reset reset;
    stoa_session_events events;
} node;

typedef struct world {
    const variant *as;
    char address[192];
    stoa_random random;
    node a, b; /* a listens */
    bool forked; /* b has forgotten */
} world;

static uint64_t seed;

static uint64_t now_ns(void)
{
    return stoa_clock_real.now_ns(&stoa_clock_real);
}

/* --- what a node does */

static void on_message(void *context, stoa_session *session, const stoa_session_message *m)
{
    node *n = context;
    uint64_t number;
    (void)session;
    assert_true(m->size_bytes >= sizeof number);
    memcpy(&number, m->bytes, sizeof number);
    assert_int_equal(m->seq, n->came[m->lane] + 1);
    assert_int_equal(number, m->seq * 3 + m->lane);
    for (uint32_t i = sizeof number; i < m->size_bytes; i++) {
        assert_int_equal(((const uint8_t *)m->bytes)[i], (uint8_t)(number + i));
    }
    n->came[m->lane] = m->seq;
}
static void on_up(void *context, stoa_session *session, bool resumed)
{
    node *n = context;
    (void)session;
    n->ups++;
    n->resumes += resumed;
}
static void on_down(void *context, stoa_session *session, stoa_err why)
{
    (void)context, (void)session, (void)why;
}
static void on_reset(void *context, stoa_session *session, const stoa_session_reset *reset)
{
    node *n = context;
    (void)session;
    n->resets++;
    n->reset = *reset;
    memset(n->came, 0, sizeof n->came);
    memset(n->sent, 0, sizeof n->sent);
}

/* Old hellos of who came again are STALE until its numbers have grown. */
static void on_refused(void *context, stoa_session *session, stoa_err why, bool here)
{
    node *n = context;
    (void)session, (void)here;
    assert_true(n->world->forked && (why == STOA_E_FORKED || why == STOA_E_STALE));
    if (n->refused != STOA_E_FORKED) { n->refused = why; }
}

static void link_open(node *n, bool listens)
{
    stoa_link_options options = {.listen = listens, .frame_limit = 64 * 1024, .queue_frames = 64};
    stoa_err err = stoa_link_open(n->world->address, &options, &n->link);
    if (err) { fail_msg("%s: %s", n->world->address, stoa_err_trail()); }
}

static void node_begin(world *w, node *n, uint64_t incarnation)
{
    bool listens = n == &w->a;
    memset(n, 0, sizeof *n);
    n->world = w;
    n->events = (stoa_session_events){.message = on_message,
                                      .up = on_up,
                                      .down = on_down,
                                      .reset = on_reset,
                                      .refused = on_refused,
                                      .expired = never_expired,
                                      .room = ignore_room,
                                      .context = n};
    link_open(n, listens);
    if (listens) { (void)snprintf(w->address, sizeof w->address, "%s", n->link->ops->address(n->link)); }
    stoa_sessions_options options = {.link = n->link, .listens = listens};
    options.session = (stoa_session_options){
        .name = listens ? "a" : "b", .incarnation = incarnation, .events = &n->events, .silence_max_ns = STOA_S(5)};
    assert_int_equal(stoa_sessions_new(&options, &n->sessions), STOA_OK);
}

static void node_end(node *n)
{
    stoa_sessions_free(n->sessions);
    n->link->ops->close(n->link, 0);
}

static void node_run(node *n)
{
    while (stoa_sessions_poll(n->sessions, now_ns(), POLL_MAX) == POLL_MAX) {}
    n->next_ns = stoa_sessions_step(n->sessions, now_ns());
}

/* Send some, up to MESSAGES on each lane. */
static void node_send(node *n, uint64_t most)
{
    uint8_t bytes[MESSAGE_MAX];
    stoa_session *session = stoa_sessions_at(n->sessions, 0);
    for (uint64_t i = stoa_random_below(&n->world->random, 100); session && i > 0; i--) {
        stoa_lane lane = (stoa_lane)stoa_random_below(&n->world->random, STOA_LANE_COUNT);
        uint64_t number = (n->sent[lane] + 1) * 3 + lane, seq;
        uint32_t size_bytes = 8 + (uint32_t)stoa_random_below(&n->world->random, MESSAGE_MAX - 8);
        if (n->sent[lane] >= most) { continue; }
        memcpy(bytes, &number, sizeof number);
        for (uint32_t at = sizeof number; at < size_bytes; at++) {
            bytes[at] = (uint8_t)(number + at);
        }
        if (stoa_session_send(session, lane, 1, 0, 0, 0, bytes, size_bytes, now_ns(), &seq) == STOA_OK) {
            n->sent[lane]++;
            assert_int_equal(seq, n->sent[lane]);
        }
    }
}

static void both_run(world *w)
{
    node_run(&w->a);
    node_run(&w->b);
    uint64_t next_ns = w->a.next_ns < w->b.next_ns ? w->a.next_ns : w->b.next_ns, is_ns = now_ns();
    uint64_t wait_ms = next_ns > is_ns ? (next_ns - is_ns) / 1000000 : 0;
    struct pollfd fds[] = {{.fd = w->a.link->ops->fd(w->a.link), .events = POLLIN},
                           {.fd = w->b.link->ops->fd(w->b.link), .events = POLLIN}};
    (void)poll(fds, 2, wait_ms < STEP_MAX_MS ? (int)wait_ms : STEP_MAX_MS);
}

static bool all_came(const node *from, const node *to, uint64_t count)
{
    bool all = true;
    for (unsigned i = 0; i < STOA_LANE_COUNT; i++) {
        all = all && from->sent[i] == count && to->came[i] == count;
    }
    return all;
}

/* Both send count more numbers on each lane than there were; until they are there. */
static void exchange(world *w, uint64_t count)
{
    for (uint64_t until_ns = now_ns() + STOA_S(DEADLINE_S); now_ns() < until_ns;) {
        node_send(&w->a, count);
        node_send(&w->b, count);
        both_run(w);
        if (all_came(&w->a, &w->b, count) && all_came(&w->b, &w->a, count)) { return; }
    }
    fail_msg("not all of %llu came", (unsigned long long)count);
}

/* --- the tests */

static void order_is_kept_over_any_number_of_connections(void **state)
{
    world *w = *state;
    for (uint64_t i = 1; i <= CUTS; i++) {
        exchange(w, i * MESSAGES / CUTS);
        node_send(&w->a, i * MESSAGES / CUTS + 50); /* some are under way */
        node_send(&w->b, i * MESSAGES / CUTS + 50);
        node_run(&w->a);
        node_run(&w->b);
        w->b.link->ops->close(w->b.link, 0);
        link_open(&w->b, false);
        stoa_sessions_relink(w->b.sessions, w->b.link, now_ns());
    }
    exchange(w, MESSAGES + 50);
    assert_true(w->a.resumes >= CUTS && w->b.resumes >= CUTS);
    assert_int_equal(w->a.resets + w->b.resets, 0);
}

static void a_restart_resets_the_other_side(void **state)
{
    world *w = *state;
    exchange(w, 500);
    node_end(&w->b);
    node_begin(w, &w->b, 2);
    for (uint64_t until_ns = now_ns() + STOA_S(DEADLINE_S); w->a.resets == 0 && now_ns() < until_ns;) {
        both_run(w);
    }
    assert_int_equal(w->a.resets, 1);
    for (unsigned i = 0; i < STOA_LANE_COUNT; i++) {
        assert_true(w->a.reset.lanes[i].acked <= 500 && w->a.reset.lanes[i].acked + w->a.reset.lanes[i].lost == 500);
        assert_int_equal(w->a.reset.lanes[i].received, 500);
    }
    exchange(w, 500);
}

/* Neither side is up with the other, and b is told why, until it is another life. */
static void who_has_forgotten_is_refused_and_never_up(void **state)
{
    world *w = *state;
    exchange(w, 200);
    node_end(&w->b);
    w->forked = true;
    node_begin(w, &w->b, 1);
    uint32_t a_ups = w->a.ups;
    uint64_t until_ns = now_ns() + STOA_S(DEADLINE_S), told_ns = until_ns;
    while (now_ns() < until_ns && now_ns() < told_ns + STOA_MS(REFUSED_MS)) {
        both_run(w);
        if (w->b.refused == STOA_E_FORKED && now_ns() < told_ns) { told_ns = now_ns(); }
        assert_int_equal(w->b.ups, 0);
        assert_int_equal(w->a.ups, a_ups);
    }
    assert_int_equal(w->b.refused, STOA_E_FORKED);
    node_end(&w->b);
    node_begin(w, &w->b, 2);
    for (until_ns = now_ns() + STOA_S(DEADLINE_S); w->a.resets == 0 && now_ns() < until_ns;) {
        both_run(w);
    }
    w->forked = false;
    exchange(w, 200);
}

/* --- worlds */

static int world_open(void **state)
{
    static unsigned count;
    world *w = calloc(1, sizeof *w);
    char name[64], bare[96];
    if (!w) { return -1; }
    w->as = *state;
    (void)snprintf(name, sizeof name, "stoa-session-%d-%u", (int)getpid(), count++);
    const char *mark = strstr(w->as->address, "%s");
    (void)snprintf(bare, sizeof bare, "%.*s%s", (int)strcspn(w->as->address, "%"), w->as->address, mark ? name : "");
    (void)snprintf(w->address, sizeof w->address, "%s%s%s%s", w->as->faults ? "fault+" : "", bare,
                   w->as->faults ? "?" : "", w->as->faults ? w->as->faults : "");
    stoa_random_seed(&w->random, seed);
    node_begin(w, &w->a, 1);
    node_begin(w, &w->b, 1);
    *state = w;
    return 0;
}

static int world_close(void **state)
{
    world *w = *state;
    node_end(&w->b);
    node_end(&w->a);
    free(w);
    return 0;
}

enum { TESTS = 3 };
static struct CMUnitTest cases[VARIANT_COUNT * TESTS];
static char titles[VARIANT_COUNT * TESTS][96];

static void case_add(uint32_t at, const char *name, CMUnitTestFunction run, const variant *as)
{
    (void)snprintf(titles[at], sizeof titles[at], "%s: %s", as->name, name);
    cases[at] = (struct CMUnitTest){.name = titles[at],
                                    .test_func = run,
                                    .setup_func = world_open,
                                    .teardown_func = world_close,
                                    .initial_state = (void *)(uintptr_t)as};
}

int main(int argc, char **argv)
{
    if (argc == 2) { cmocka_set_test_filter(argv[1]); }
    const char *given = getenv("STOA_TEST_SEED");
    seed = given ? strtoull(given, NULL, 10) : (uint64_t)time(NULL);
    (void)printf("STOA_TEST_SEED=%llu\n", (unsigned long long)seed);
    for (uint32_t i = 0; i < VARIANT_COUNT; i++) {
        case_add(TESTS * i, "order_is_kept_over_any_number_of_connections", order_is_kept_over_any_number_of_connections,
                 &variants[i]);
        case_add(TESTS * i + 1, "a_restart_resets_the_other_side", a_restart_resets_the_other_side, &variants[i]);
        case_add(TESTS * i + 2, "who_has_forgotten_is_refused_and_never_up", who_has_forgotten_is_refused_and_never_up,
                 &variants[i]);
    }
    return cmocka_run_group_tests(cases, NULL, NULL);
}
