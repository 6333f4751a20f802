/* ship_test.c - goal: what transport/ship.h promises holds over every link, with and without one-sided writes, with and without
 * faults. Method: two ends in one thread, each asleep on its link's descriptor until its ship's next step; the sender ships numbered
 * records of random sizes, the receiver holds them for a while before it releases them and says in its note which number it wants
 * next; whoever dials closes its link and opens it again, then one side restarts, then the other. Choices come from a printed seed; set
 * STOA_TEST_SEED to repeat.
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

#include "base/clock.h"
#include "base/random.h"
#include "transport/ship.h"

enum {
    RING_BYTES = 64 * 1024, RECORDS = 2000, RECORDS_DEEP = 40000, CUTS = 5, HELD_MAX = 64, POLL_MAX = 32, FRAME_LIMIT = 8192,
    DEADLINE_S = 90, STEP_MAX_MS = 50, AGAIN_MS = 20
};

#define FAULTS "?loss=20&dup=20&reorder=20&delay_us=300&jitter_us=200&seed=%llu"

typedef struct variant {
    const char *name, *scheme, *place; /* place: NULL for a fresh name */
    bool faults, one_sided, writes; /* writes: the provider does, which has to be asked for */
} variant;

static const variant variants[] = {
    {"sim", "sim", NULL, false, false, false},
    {"shm", "shm", NULL, false, false, false},
    {"zmq+ipc", "zmq+ipc", "@", false, false, false},
    {"zmq+tcp", "zmq+tcp", "127.0.0.1:0", false, false, false},
    {"ucx+tcp", "ucx+tcp", "127.0.0.1:0", false, true, false},
    {"ucx+tcp that writes", "ucx+tcp", "127.0.0.1:0", false, true, true},
    {"ofi+tcp", "ofi+tcp", "127.0.0.1:0", false, true, false},
    {"fault+sim", "sim", NULL, true, false, false},
    {"fault+shm", "shm", NULL, true, false, false},
    {"fault+zmq+tcp", "zmq+tcp", "127.0.0.1:0", true, false, false},
    {"fault+ucx+tcp", "ucx+tcp", "127.0.0.1:0", true, true, false},
    {"fault+ucx+tcp that writes", "ucx+tcp", "127.0.0.1:0", true, true, true},
    {"fault+ofi+tcp", "ofi+tcp", "127.0.0.1:0", true, true, false},
};
enum { VARIANT_COUNT = sizeof variants / sizeof variants[0] };

typedef struct side {
    struct world *world;
    stoa_link *link;
    stoa_ship *ship;
    stoa_peer peer;
    bool sends, listens;
    uint64_t next_ns, next; /* next: number of the next record */
    uint32_t begins, resumes;
    uint64_t lost;
    uint64_t held[HELD_MAX]; /* ends */
    uint32_t held_count;
} side;

typedef struct world {
    const variant *as;
    char address[256];
    stoa_random random;
    side out, in;
    uint8_t *bytes;
} world;

static uint64_t seed;

static uint64_t now_ns(void)
{
    return stoa_clock_real.now_ns(&stoa_clock_real);
}

/* --- records: size and bytes follow from the number */

static uint32_t size_of(uint64_t number)
{
    uint32_t dice = (uint32_t)(number * 2654435761u) >> 8;
    return dice % 50 == 0 ? RING_BYTES / 4 - dice % 100 : 8 + dice % 700;
}

static void fill(uint8_t *bytes, uint64_t number)
{
    uint32_t size_bytes = size_of(number);
    for (uint32_t i = 0; i < size_bytes; i++) {
        bytes[i] = (uint8_t)(number * 7 + i * 3 + (i >> 8));
    }
    memcpy(bytes, &number, sizeof number);
}

static bool on_record(void *context, stoa_ship *ship, const void *bytes, uint32_t size_bytes, uint64_t end)
{
    side *s = context;
    if (stoa_random_chance(&s->world->random, 5)) { return false; } /* it comes again */
    fill(s->world->bytes, s->next);
    assert_int_equal(size_bytes, size_of(s->next));
    assert_memory_equal(bytes, s->world->bytes, size_bytes);
    s->next++;
    assert_true(s->held_count < HELD_MAX);
    s->held[s->held_count++] = end;
    if (s->held_count < HELD_MAX && !stoa_random_chance(&s->world->random, 300)) { return true; }
    stoa_ship_release(ship, end);
    assert_int_equal(stoa_ship_note(ship, &s->next, sizeof s->next), STOA_OK);
    s->held_count = 0;
    return true;
}

static void on_begun(void *context, stoa_ship *ship, bool resumed, uint64_t lost)
{
    side *s = context;
    s->resumes += resumed;
    s->begins += !resumed;
    s->lost += lost;
    s->held_count = resumed ? s->held_count : 0;
    if (!s->sends || resumed) { return; }
    uint32_t size_bytes;
    const void *note = stoa_ship_noted(ship, &size_bytes);
    assert_int_equal(size_bytes, sizeof s->next);
    memcpy(&s->next, note, sizeof s->next);
}

/* --- sides */

static void on_frame(void *context, stoa_peer peer, const char *identity, const void *bytes, uint32_t size_bytes)
{
    side *s = context;
    (void)identity;
    if (peer == s->peer) { (void)stoa_ship_take(s->ship, bytes, size_bytes, now_ns()); }
}

static void on_up(void *context, stoa_peer peer)
{
    side *s = context;
    s->peer = peer;
    stoa_ship_up(s->ship, s->link, peer, now_ns());
}

static void on_down(void *context, stoa_peer peer)
{
    side *s = context;
    if (peer == s->peer) { stoa_ship_down(s->ship); }
}

static void on_flushed(void *context, stoa_peer peer, uint64_t token)
{
    side *s = context;
    if (peer == s->peer) { stoa_ship_flushed(s->ship, token, now_ns()); }
}

static void side_open(side *s)
{
    stoa_link_options options = {.listen = s->listens, .frame_limit = FRAME_LIMIT, .queue_frames = 64};
    stoa_err err = stoa_link_open(s->world->address, &options, &s->link);
    if (err) { fail_msg("%s: %s", s->world->address, stoa_err_trail()); }
}

static void side_begin(side *s, uint64_t incarnation)
{
    stoa_ship_options options = {.sends = s->sends,
                                 .incarnation = incarnation,
                                 .ring_bytes = RING_BYTES,
                                 .frame_limit = FRAME_LIMIT,
                                 .again_ns = STOA_MS(AGAIN_MS),
                                 .events = {.record = on_record, .begun = on_begun, .context = s}};
    s->held_count = 0;
    assert_int_equal(stoa_ship_new(&options, &s->ship), STOA_OK);
    if (!s->sends) { assert_int_equal(stoa_ship_note(s->ship, &s->next, sizeof s->next), STOA_OK); }
    side_open(s);
    if (!s->listens) { return; }
    (void)snprintf(s->world->address, sizeof s->world->address, "%s", s->link->ops->address(s->link));
}

static void side_close(side *s)
{
    stoa_ship_down(s->ship);
    s->link->ops->close(s->link, 0);
    s->peer = 0;
}

static void side_end(side *s)
{
    side_close(s);
    stoa_ship_free(s->ship);
}

static void side_run(side *s)
{
    stoa_link_events events = {
        .frame = on_frame, .down = on_down, .up = on_up, .flushed = on_flushed, .context = s};
    while (s->link->ops->poll(s->link, &events, POLL_MAX) == POLL_MAX) {}
    s->next_ns = stoa_ship_step(s->ship, now_ns());
}

static void ship_some(side *out, uint64_t most)
{
    for (uint64_t i = stoa_random_below(&out->world->random, 100); i > 0 && out->next < most; i--) {
        fill(out->world->bytes, out->next);
        stoa_err err = stoa_ship_send(out->ship, out->world->bytes, size_of(out->next));
        if (err) {
            assert_true(err == STOA_E_FULL || err == STOA_E_UNAVAILABLE);
            return;
        }
        out->next++;
    }
}

static void both_run(world *w)
{
    side_run(&w->in);
    side_run(&w->out);
    uint64_t next_ns = w->in.next_ns < w->out.next_ns ? w->in.next_ns : w->out.next_ns, is_ns = now_ns();
    uint64_t wait_ms = next_ns > is_ns ? (next_ns - is_ns) / 1000000 : 0;
    struct pollfd fds[] = {{.fd = w->in.link->ops->fd(w->in.link), .events = POLLIN},
                           {.fd = w->out.link->ops->fd(w->out.link), .events = POLLIN}};
    (void)poll(fds, 2, wait_ms < STEP_MAX_MS ? (int)wait_ms : STEP_MAX_MS);
}

/* Until the receiver has count records. */
static void exchange(world *w, uint64_t count)
{
    for (uint64_t until_ns = now_ns() + STOA_S(DEADLINE_S); now_ns() < until_ns;) {
        ship_some(&w->out, count);
        both_run(w);
        if (w->in.next >= count) { return; }
        if (w->in.held_count > 0 && w->out.next == count) { /* the last ones, which the chance has not released */
            stoa_ship_release(w->in.ship, w->in.held[w->in.held_count - 1]);
            w->in.held_count = 0;
        }
    }
    fail_msg("%llu of %llu came", (unsigned long long)w->in.next, (unsigned long long)count);
}

/* --- the tests */

static uint64_t records(void)
{
    return getenv("STOA_DEEP") ? RECORDS_DEEP : RECORDS;
}

static void records_come_once_over_any_number_of_connections(void **state)
{
    world *w = *state;
    side *dials = w->in.listens ? &w->out : &w->in;
    for (uint64_t i = 1; i <= CUTS; i++) {
        exchange(w, i * records() / CUTS);
        ship_some(&w->out, i * records() / CUTS + 50); /* some are under way */
        side_run(&w->out);
        side_run(&w->in);
        side_close(dials);
        side_open(dials);
    }
    exchange(w, records() + 50);
    for (uint64_t until_ns = now_ns() + STOA_S(DEADLINE_S); w->out.resumes < CUTS || w->in.resumes < CUTS;) {
        assert_true(now_ns() < until_ns);
        both_run(w);
    }
    assert_int_equal(w->in.begins, 1);
    assert_int_equal(w->out.begins, 1);
    assert_int_equal(w->out.lost, 0);
    stoa_ship_view view;
    stoa_ship_look(w->out.ship, &view);
    assert_int_equal(view.one_sided, w->as->one_sided);
    assert_int_equal(view.counts.puts > 0, w->as->one_sided);
    if (!w->as->faults) { assert_int_equal(view.counts.broken, 0); }
    print_message("%llu records, gone back %llu times, %llu not whole\n", (unsigned long long)view.counts.records,
                  (unsigned long long)view.counts.again, (unsigned long long)view.counts.broken);
}

/* What it had not released is told as lost, and its note says where to go on. */
static void a_receiver_that_restarts_is_served_from_its_note(void **state)
{
    world *w = *state;
    exchange(w, 300);
    ship_some(&w->out, 400);
    for (int i = 0; i < 3; i++) {
        side_run(&w->out);
        side_run(&w->in);
    }
    uint64_t next = w->in.next - 7; /* it had not kept all that it was told */
    stoa_ship_view view;
    stoa_ship_look(w->out.ship, &view);
    uint64_t unreleased = view.head - view.released;
    side_end(&w->in);
    w->in.next = next;
    side_begin(&w->in, 2);
    exchange(w, 600);
    assert_int_equal(w->out.begins, 2);
    assert_true(w->out.lost <= unreleased + RING_BYTES);
    assert_true(w->out.lost > 0 || unreleased == 0);
    assert_int_equal(w->out.resumes, 0);
}

static void a_sender_that_restarts_goes_on_from_the_note(void **state)
{
    world *w = *state;
    exchange(w, 300);
    side_end(&w->out);
    w->out.next = 0; /* knows nothing */
    uint64_t next = w->in.next;
    assert_int_equal(stoa_ship_note(w->in.ship, &next, sizeof next), STOA_OK);
    side_begin(&w->out, 2);
    exchange(w, 600);
    assert_int_equal(w->in.begins, 2);
    assert_int_equal(w->in.resumes, 0);
}

static void a_full_ring_says_so_and_room_is_told(void **state)
{
    world *w = *state;
    exchange(w, 10);
    uint64_t sent = 0;
    uint8_t big[RING_BYTES / 4] = {0};
    assert_int_equal(stoa_ship_send(w->out.ship, big, 0), STOA_E_INVALID);
    assert_int_equal(stoa_ship_send(w->out.ship, w->bytes, RING_BYTES / 4 + 1), STOA_E_TOO_LARGE);
    assert_int_equal(stoa_ship_send(w->in.ship, big, 1), STOA_E_UNAVAILABLE);
    while (stoa_ship_send(w->out.ship, big, 1000) == STOA_OK) {
        sent++;
    }
    assert_true(sent > 0); /* what the receiver holds takes room, too */
    assert_int_equal(stoa_ship_send(w->out.ship, big, 1000), STOA_E_FULL);
}

/* --- worlds */

static int world_open(void **state)
{
    static unsigned count;
    world *w = calloc(1, sizeof *w);
    if (!w || !(w->bytes = malloc(RING_BYTES))) { return -1; }
    w->as = *state;
    stoa_random_seed(&w->random, seed);
    (void)(w->as->writes ? setenv("STOA_UCX_WRITES", "1", 1) : unsetenv("STOA_UCX_WRITES"));
    char place[96], faults[128] = "";
    (void)snprintf(place, sizeof place, "%sstoa-ship-%d-%u", w->as->place ? w->as->place : "", (int)getpid(), count++);
    bool at_port = w->as->place && strchr(w->as->place, ':');
    if (w->as->faults) { (void)snprintf(faults, sizeof faults, FAULTS, (unsigned long long)seed); }
    (void)snprintf(w->address, sizeof w->address, "%s%s://%s%s", w->as->faults ? "fault+" : "", w->as->scheme,
                   at_port ? w->as->place : place, faults);
    w->out.world = w->in.world = w;
    w->out.sends = true;
    w->out.listens = stoa_random_chance(&w->random, 500);
    w->in.listens = !w->out.listens;
    side_begin(w->out.listens ? &w->out : &w->in, 1);
    side_begin(w->out.listens ? &w->in : &w->out, 1);
    *state = w;
    return 0;
}

static int world_close(void **state)
{
    world *w = *state;
    side_end(w->out.listens ? &w->in : &w->out);
    side_end(w->out.listens ? &w->out : &w->in);
    free(w->bytes);
    free(w);
    return 0;
}

static const struct {
    const char *name;
    CMUnitTestFunction run;
} tests[] = {
    {"records_come_once_over_any_number_of_connections", records_come_once_over_any_number_of_connections},
    {"a_receiver_that_restarts_is_served_from_its_note", a_receiver_that_restarts_is_served_from_its_note},
    {"a_sender_that_restarts_goes_on_from_the_note", a_sender_that_restarts_goes_on_from_the_note},
    {"a_full_ring_says_so_and_room_is_told", a_full_ring_says_so_and_room_is_told},
};
enum { TEST_COUNT = sizeof tests / sizeof tests[0], CASE_COUNT = TEST_COUNT * VARIANT_COUNT };

int main(int argc, char **argv)
{
    static struct CMUnitTest cases[CASE_COUNT];
    static char titles[CASE_COUNT][96];
    if (argc == 2) { cmocka_set_test_filter(argv[1]); }
    const char *given = getenv("STOA_TEST_SEED");
    seed = given ? strtoull(given, NULL, 10) : (uint64_t)time(NULL);
    (void)printf("STOA_TEST_SEED=%llu\n", (unsigned long long)seed);
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
