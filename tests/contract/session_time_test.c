/* session_time_test.c - goal: what transport/session.h promises of time and of batches holds over every link: a message that outlives
 * its deadline is dropped where that is found, counted and told there, and takes nothing else with it; a batch leaves when it is full or
 * when its time is over, whichever comes first. Method: two nodes in one thread; one is not looked after while time passes. Nothing is
 * expected to happen by a certain time: a test that was too slow for a deadline of its own begins again with a longer one.
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
#include <unistd.h>

#include "tests/session_events.h"
#include "transport/sessions.h"

enum { MANY = 2000, SIZE_BYTES = 24, BATCH_BYTES = 16 * 1024, POLL_MAX = 64, GIVE_UP_S = 120, STEP_MAX_MS = 20, HEARD_MAX = 4,
       FEW = 32 }; /* messages in a batch, at least, where there are that many */
enum { ROOM_BYTES = STOA_FRAME_HEAD_BYTES + SIZE_BYTES, PER_BATCH = (BATCH_BYTES - STOA_BATCH_HEAD_BYTES) / ROOM_BYTES };
_Static_assert(SIZE_BYTES % 8 == 0, "ROOM_BYTES is what a message from and to the same as before takes of a batch");

typedef struct variant {
    const char *name, *address, *faults; /* address: with a %s for a fresh name; faults: NULL for none */
} variant;

#define FAULTS "?loss=20&dup=20&reorder=20&delay_us=300&jitter_us=200"
static const variant variants[] = {
    {"sim", "sim://%s", ""},
    {"shm", "shm://%s", ""},
    {"zmq+ipc", "zmq+ipc://@%s", ""},
    {"zmq+tcp", "zmq+tcp://127.0.0.1:0", ""},
    {"ucx+tcp", "ucx+tcp://127.0.0.1:0", ""},
    {"ofi+tcp", "ofi+tcp://127.0.0.1:0", ""},
    {"fault+sim", "fault+sim://%s", FAULTS},
    {"fault+shm", "fault+shm://%s", FAULTS},
    {"fault+zmq+tcp", "fault+zmq+tcp://127.0.0.1:0", FAULTS},
};

typedef struct node {
    stoa_link *link;
    stoa_sessions *sessions;
    stoa_session_events events;
    bool up;
    uint64_t came, last, expired_here, expired_there, expired_seq, next_ns;
    uint64_t heard[HEARD_MAX], deadlines_ns[HEARD_MAX]; /* the first ones: their numbers; what is left was left then */
} node;

typedef struct world {
    const variant *as;
    char address[192];
    node a, b; /* a listens */
} world;

static uint64_t now_ns(void)
{
    return stoa_clock_real.now_ns(&stoa_clock_real);
}

/* --- what a node does */

static void on_message(void *context, stoa_session *session, const stoa_session_message *m)
{
    node *n = context;
    (void)session;
    assert_true(m->seq > n->last);
    n->last = m->seq;
    if (n->came < HEARD_MAX) {
        n->heard[n->came] = m->seq;
        n->deadlines_ns[n->came] = m->deadline_ns;
    }
    n->came++;
}
static void on_up(void *context, stoa_session *session, bool resumed)
{
    node *n = context;
    (void)session, (void)resumed;
    n->up = true;
}
static void on_down(void *context, stoa_session *session, stoa_err why)
{
    node *n = context;
    (void)session, (void)why;
    n->up = false;
}
static void on_expired(void *context, stoa_session *session, const stoa_session_message *message, bool here)
{
    node *n = context;
    (void)session;
    assert_int_equal(message->lane, STOA_LANE_NORMAL);
    if (here) { assert_int_equal(message->size_bytes, SIZE_BYTES); }
    n->expired_seq = message->seq;
    n->expired_here += here;
    n->expired_there += !here;
}

static void link_open(world *w, node *n)
{
    stoa_link_options options = {.listen = n == &w->a, .frame_limit = 64 * 1024, .queue_frames = 64};
    stoa_err err = stoa_link_open(w->address, &options, &n->link);
    if (err) { fail_msg("%s: %s", w->address, stoa_err_trail()); }
    if (n == &w->a) { (void)snprintf(w->address, sizeof w->address, "%s", n->link->ops->address(n->link)); }
}

static void node_begin(world *w, node *n, uint64_t batch_ns)
{
    bool listens = n == &w->a;
    n->events = (stoa_session_events){.message = on_message,
                                      .up = on_up,
                                      .down = on_down,
                                      .reset = never_reset,
                                      .refused = never_refused,
                                      .expired = on_expired,
                                      .room = ignore_room,
                                      .context = n};
    link_open(w, n);
    stoa_sessions_options options = {.link = n->link, .listens = listens};
    options.session = (stoa_session_options){.name = listens ? "a" : "b",
                                             .incarnation = 1,
                                             .batch_bytes = BATCH_BYTES,
                                             .batch_ns = batch_ns,
                                             .silence_max_ns = STOA_S(5),
                                             .events = &n->events};
    assert_int_equal(stoa_sessions_new(&options, &n->sessions), STOA_OK);
}

static void node_run(node *n)
{
    while (stoa_sessions_poll(n->sessions, now_ns(), POLL_MAX) == POLL_MAX) {}
    n->next_ns = stoa_sessions_step(n->sessions, now_ns());
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

static stoa_session_counts counts_of(const node *n)
{
    stoa_session_view view;
    stoa_session_look(stoa_sessions_at(n->sessions, 0), &view);
    return view.counts;
}

/* Batches that went for the first time. */
static uint64_t batches(const node *n)
{
    stoa_session_counts counts = counts_of(n);
    return counts.batches_sent - counts.resent;
}

static void send_one(node *n, uint64_t deadline_ns)
{
    uint64_t seq;
    uint8_t bytes[SIZE_BYTES] = {0};
    assert_int_equal(stoa_session_send(stoa_sessions_at(n->sessions, 0), STOA_LANE_NORMAL, 1, 0, 0, deadline_ns, bytes,
                                       sizeof bytes, now_ns(), &seq),
                     STOA_OK);
}

static void until_over(uint64_t deadline_ns)
{
    while (now_ns() <= deadline_ns) { (void)poll(NULL, 0, 1); }
}

static void both_up(world *w, uint64_t batch_ns)
{
    node_begin(w, &w->a, batch_ns);
    node_begin(w, &w->b, batch_ns);
    for (uint64_t until_ns = now_ns() + STOA_S(GIVE_UP_S); !w->a.up || !w->b.up;) {
        assert_true(now_ns() < until_ns);
        both_run(w);
    }
}

/* --- deadlines */

/* Nobody looks after the sender until the time of one message is over. */
static void what_is_late_before_it_is_sent_is_dropped_by_the_sender(void **state)
{
    world *w = *state;
    both_up(w, 0);
    uint64_t over_ns = now_ns() + STOA_MS(1), far_ns = now_ns() + STOA_S(3600);
    send_one(&w->a, 0);
    send_one(&w->a, over_ns);
    send_one(&w->a, far_ns);
    until_over(over_ns);
    for (uint64_t until_ns = now_ns() + STOA_S(GIVE_UP_S); w->b.came < 2 || w->b.expired_there < 1;) {
        assert_true(now_ns() < until_ns);
        both_run(w);
    }
    assert_int_equal(w->a.expired_here, 1);
    assert_int_equal(w->a.expired_seq, 2);
    assert_int_equal(w->b.expired_seq, 2);
    assert_int_equal(counts_of(&w->a).expired_here, 1);
    assert_int_equal(counts_of(&w->b).expired_there, 1); /* it was told that this number does not come */
    assert_int_equal(w->b.expired_here + w->a.expired_there, 0);
    assert_int_equal(w->b.came, 2);
    assert_int_equal(w->b.heard[0], 1);
    assert_int_equal(w->b.heard[1], 3);
    assert_int_equal(w->b.deadlines_ns[0], 0);
    assert_true(w->b.deadlines_ns[1] > far_ns - STOA_S(GIVE_UP_S) && w->b.deadlines_ns[1] <= now_ns() + STOA_S(3600));
}

/* It is sent in time, its connection ends before the other side has looked, and its time is over when there is another one. */
static void what_is_late_when_it_arrives_is_dropped_by_the_receiver(void **state)
{
    world *w = *state;
    both_up(w, 0);
    uint64_t over_ns, wait_ns = STOA_MS(50), tries = 0;
    do {
        assert_true(wait_ns < STOA_S(GIVE_UP_S));
        uint64_t sent = batches(&w->a);
        over_ns = now_ns() + wait_ns;
        send_one(&w->a, over_ns);
        node_run(&w->a);
        tries++;
        wait_ns *= 2;
        if (w->a.expired_here == tries || batches(&w->a) == sent) { /* this test was too slow for it, or is held up */
            until_over(over_ns);
            continue;
        }
        break;
    } while (true);
    uint64_t before = w->a.expired_here, came = w->b.came;
    w->b.link->ops->close(w->b.link, 0);
    until_over(over_ns);
    link_open(w, &w->b);
    stoa_sessions_relink(w->b.sessions, w->b.link, now_ns());
    send_one(&w->a, 0);
    for (uint64_t until_ns = now_ns() + STOA_S(GIVE_UP_S); w->b.came == came;) {
        assert_true(now_ns() < until_ns);
        both_run(w);
    }
    assert_int_equal(w->b.came, came + 1);
    assert_int_equal(w->b.last, tries + 1); /* the one behind it */
    assert_int_equal(w->b.expired_seq, tries);
    assert_int_equal(w->a.expired_here, before);
    assert_int_equal(w->b.expired_there, tries);
    assert_int_equal(counts_of(&w->b).expired_there, tries);
}

/* --- batches */

static void many_small_messages_go_in_few_batches(void **state)
{
    world *w = *state;
    both_up(w, 0);
    uint64_t before = batches(&w->a);
    for (int i = 0; i < MANY; i++) { send_one(&w->a, 0); }
    for (uint64_t until_ns = now_ns() + STOA_S(GIVE_UP_S); w->b.came < MANY;) {
        assert_true(now_ns() < until_ns);
        both_run(w);
    }
    uint64_t sent = batches(&w->a) - before;
    assert_in_range(sent, (MANY + PER_BATCH - 1) / PER_BATCH, MANY / FEW);
}

/* Its time would be over in an hour. How much it takes is the session's to say, up to batch_bytes. */
static void a_batch_leaves_when_it_is_full(void **state)
{
    world *w = *state;
    both_up(w, STOA_S(3600));
    uint64_t before = batches(&w->a), queued = 0;
    while (batches(&w->a) == before && queued <= PER_BATCH) {
        send_one(&w->a, 0);
        if (queued++ % 50 == 0 && batches(&w->a) == before) { node_run(&w->a); }
    }
    assert_int_equal(batches(&w->a), before + 1);
    assert_in_range(queued, FEW, PER_BATCH + 1);
    for (uint64_t until_ns = now_ns() + STOA_S(GIVE_UP_S); w->b.came < queued - 1;) {
        assert_true(now_ns() < until_ns);
        both_run(w);
    }
    assert_int_equal(batches(&w->a), before + 1);
    assert_int_equal(w->b.came, queued - 1); /* the last one did not fit, and waits for more */
}

/* Nobody flushes: it waits until then, and leaves with the step that its session asked for. */
static void one_message_alone_leaves_when_its_time_is_over(void **state)
{
    enum { WAIT_MS = 100 };
    world *w = *state;
    both_up(w, STOA_MS(WAIT_MS));
    stoa_session *session = stoa_sessions_at(w->a.sessions, 0);
    uint64_t before = batches(&w->a), earliest_ns = now_ns() + STOA_MS(WAIT_MS), stepped_ns;
    send_one(&w->a, 0);
    uint64_t latest_ns = now_ns() + STOA_MS(WAIT_MS);
    do {
        (void)stoa_sessions_poll(w->a.sessions, now_ns(), POLL_MAX);
        stepped_ns = now_ns();
        uint64_t next_ns = stoa_session_step(session, stepped_ns);
        if (stepped_ns < earliest_ns) { assert_int_equal(batches(&w->a), before); }
        if (batches(&w->a) == before) { assert_true(next_ns <= latest_ns || !w->a.up); }
        node_run(&w->b);
        (void)poll(NULL, 0, 1);
    } while (stepped_ns < latest_ns);
    if (w->a.up) { assert_int_equal(batches(&w->a), before + 1); }
    for (uint64_t until_ns = now_ns() + STOA_S(GIVE_UP_S); w->b.came < 1;) {
        assert_true(now_ns() < until_ns);
        both_run(w);
    }
}

/* --- worlds */

static int world_open(void **state)
{
    static unsigned count;
    world *w = calloc(1, sizeof *w);
    char name[64];
    if (!w) { return -1; }
    w->as = *state;
    (void)snprintf(name, sizeof name, "stoa-time-%d-%u", (int)getpid(), count++);
    size_t head = strcspn(w->as->address, "%");
    (void)snprintf(w->address, sizeof w->address, "%.*s%s%s", (int)head, w->as->address, w->as->address[head] ? name : "", w->as->faults);
    *state = w;
    return 0;
}

static int world_close(void **state)
{
    world *w = *state;
    node *nodes[] = {&w->b, &w->a};
    for (int i = 0; i < 2; i++) {
        stoa_sessions_free(nodes[i]->sessions);
        if (nodes[i]->link) { nodes[i]->link->ops->close(nodes[i]->link, 0); }
    }
    free(w);
    return 0;
}

static const struct {
    const char *name;
    CMUnitTestFunction run;
} tests[] = {
    {"what_is_late_before_it_is_sent_is_dropped_by_the_sender", what_is_late_before_it_is_sent_is_dropped_by_the_sender},
    {"what_is_late_when_it_arrives_is_dropped_by_the_receiver", what_is_late_when_it_arrives_is_dropped_by_the_receiver},
    {"many_small_messages_go_in_few_batches", many_small_messages_go_in_few_batches},
    {"a_batch_leaves_when_it_is_full", a_batch_leaves_when_it_is_full},
    {"one_message_alone_leaves_when_its_time_is_over", one_message_alone_leaves_when_its_time_is_over},
};
enum { TEST_COUNT = sizeof tests / sizeof tests[0], CASE_COUNT = TEST_COUNT * (sizeof variants / sizeof variants[0]) };

int main(int argc, char **argv)
{
    static struct CMUnitTest cases[CASE_COUNT];
    static char titles[CASE_COUNT][128];
    if (argc == 2) { cmocka_set_test_filter(argv[1]); }
    for (uint32_t i = 0; i < CASE_COUNT; i++) {
        const variant *as = &variants[i / TEST_COUNT];
        (void)snprintf(titles[i], sizeof titles[i], "%s: %s", as->name, tests[i % TEST_COUNT].name);
        cases[i] = (struct CMUnitTest){.name = titles[i],
                                       .test_func = tests[i % TEST_COUNT].run,
                                       .setup_func = world_open,
                                       .teardown_func = world_close,
                                       .initial_state = (void *)(uintptr_t)as};
    }
    return cmocka_run_group_tests(cases, NULL, NULL);
}
