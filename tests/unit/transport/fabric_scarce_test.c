/* fabric_scarce_test.c - goal: where descriptors or ports end, links over UCX are refused by name, and the process goes on. Method: one
 * side, in a process of its own, has r descriptors left for each r up to LEFT_MAX while connections are made, then all again; the other
 * side has no lack of them. What is refused in want is served afterwards. More dial than UCX_TCP_PORT_RANGE has ports for. Somebody
 * else takes the last ports of a range while UCX asks for one.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <arpa/inet.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "transport/fabric/inner.h"
#include "transport/link.h"

enum { LEFT_MAX = 16, FILES = 512, POLLS = 100, DEADLINE = 60000, PORTS = 8, DIALS = 8, PORT_FIRST = 20000, ADDRESS_BYTES = 128 };
enum { ROUNDS = 40, STEPS = 20, ALARM_S = 120 };

typedef struct side {
    stoa_link *link;
    uint32_t ups, refused, frames;
    stoa_err why;
} side;

/* Takes the place of assert in a process of ours: its number is the line. */
#define MUST(is)                                                                                                       \
    do {                                                                                                               \
        if (!(is)) {                                                                                                   \
            (void)fprintf(stderr, "%s:%d: %s: %s\n", __FILE__, __LINE__, #is, stoa_err_trail());                       \
            _exit(1);                                                                                                  \
        }                                                                                                              \
    } while (0)

static void on_up(void *context, stoa_peer peer)
{
    (void)peer;
    ((side *)context)->ups++;
}

static void on_down(void *context, stoa_peer peer)
{
    (void)context, (void)peer;
}

static void on_refused(void *context, stoa_err why)
{
    ((side *)context)->refused++;
    ((side *)context)->why = why;
}

static void on_frame(void *context, stoa_peer peer, const char *identity, const void *bytes, uint32_t size_bytes)
{
    (void)peer, (void)identity, (void)bytes, (void)size_bytes;
    ((side *)context)->frames++;
}

static void run(side *of)
{
    stoa_link_events events = {
        .frame = on_frame, .down = on_down, .up = on_up, .refused = on_refused, .context = of};
    (void)of->link->ops->poll(of->link, &events, 64);
    (void)poll(NULL, 0, 1);
}

static stoa_err side_open(side *out, bool listens, const char *address)
{
    stoa_link_options options = {.listen = listens, .frame_limit = 1024, .queue_frames = 16};
    *out = (side){0};
    return stoa_link_open(address, &options, &out->link);
}

/* --- descriptors */

static int taken[FILES], taken_count;

static void take_all_but(int left)
{
    while (taken_count < FILES && (taken[taken_count] = dup(STDIN_FILENO)) >= 0) {
        taken_count++;
    }
    while (left-- > 0) {
        (void)close(taken[--taken_count]);
    }
}

static void give_back(void)
{
    while (taken_count > 0) {
        (void)close(taken[--taken_count]);
    }
}

static void few(void)
{
    struct rlimit limit;
    MUST(getrlimit(RLIMIT_NOFILE, &limit) == 0);
    limit.rlim_cur = FILES;
    MUST(setrlimit(RLIMIT_NOFILE, &limit) == 0);
}

/* --- two processes */

static void tell_address(int to, const side *of)
{
    char address[ADDRESS_BYTES] = "";
    (void)snprintf(address, sizeof address, "%s", of->link->ops->address(of->link));
    MUST(write(to, address, sizeof address) == (ssize_t)sizeof address);
}

static void listens_in_want(int to, const char *address)
{
    side own;
    few();
    MUST(!side_open(&own, true, "ucx+tcp://127.0.0.1:0"));
    tell_address(to, &own);
    for (int left = 0; left <= LEFT_MAX; left++) {
        own.refused = 0;
        take_all_but(left);
        const stoa_fabric *link = (const stoa_fabric *)(const void *)own.link;
        for (int i = 0; i < DEADLINE && own.refused == 0 && !link->deaf; i++) {
            run(&own);
        }
        MUST(link->deaf || (own.refused > 0 && own.why == STOA_E_FULL));
        give_back();
        for (own.ups = 0; own.ups == 0;) {
            run(&own);
        }
    }
    (void)address;
    _exit(0);
}

static void dials_in_want(int to, const char *address)
{
    side own;
    (void)to;
    few();
    MUST(!side_open(&own, false, address)); /* the library is loaded */
    own.link->ops->close(own.link, 0);
    for (int left = 0; left <= LEFT_MAX; left++) {
        take_all_but(left);
        stoa_err err = side_open(&own, false, address);
        MUST(err == STOA_E_FULL || err == STOA_E_IO);
        give_back();
        MUST(!side_open(&own, false, address));
        take_all_but(left);
        for (int i = 0; i < POLLS; i++) {
            run(&own);
        }
        give_back();
        while (own.ups == 0) {
            run(&own);
        }
        own.link->ops->close(own.link, 0);
    }
    _exit(0);
}

static void listens(int to, const char *address)
{
    side own;
    (void)address;
    MUST(!side_open(&own, true, "ucx+tcp://127.0.0.1:0"));
    tell_address(to, &own);
    for (;;) {
        run(&own);
    }
}

static void dials_again_and_again(int to, const char *address)
{
    side own;
    (void)to;
    for (;;) {
        MUST(!side_open(&own, false, address));
        while (own.ups == 0) {
            run(&own);
        }
        own.link->ops->close(own.link, 0);
    }
}

static pid_t begin(void (*live)(int to, const char *address), int to, const char *address)
{
    pid_t child = fork();
    if (child == 0) { live(to, address); }
    assert_true(child > 0);
    return child;
}

/* The one that is in want ends by itself. */
static void both(void (*listener)(int to, const char *address), void (*dialler)(int to, const char *address),
                 bool listener_ends)
{
    char address[ADDRESS_BYTES];
    int ends[2], status = 0;
    assert_int_equal(pipe(ends), 0);
    pid_t one = begin(listener, ends[1], NULL);
    (void)close(ends[1]);
    assert_int_equal(read(ends[0], address, sizeof address), (ssize_t)sizeof address);
    (void)close(ends[0]);
    pid_t other = begin(dialler, -1, address);
    assert_int_equal(waitpid(listener_ends ? one : other, &status, 0), listener_ends ? one : other);
    (void)kill(listener_ends ? other : one, SIGKILL);
    (void)waitpid(listener_ends ? other : one, NULL, 0);
    assert_int_equal(status, 0);
}

static void a_listener_without_descriptors_refuses_and_goes_on(void **state)
{
    (void)state;
    both(listens_in_want, dials_again_and_again, true);
}

static void who_dials_without_descriptors_goes_on(void **state)
{
    (void)state;
    both(listens, dials_in_want, false);
}

/* --- ports */

static void dials_more_than_ports(void)
{
    char range[32];
    side listener, dials[DIALS];
    uint32_t ups = 0, refused = 0;
    int first = PORT_FIRST + getpid() % 1000 * PORTS;
    (void)snprintf(range, sizeof range, "%d-%d", first, first + PORTS - 1);
    MUST(setenv("UCX_TCP_PORT_RANGE", range, 1) == 0);
    MUST(!side_open(&listener, true, "ucx+tcp://127.0.0.1:0"));
    for (unsigned i = 0; i < DIALS; i++) {
        stoa_err err = side_open(&dials[i], false, listener.link->ops->address(listener.link));
        MUST(!err || err == STOA_E_FULL);
        refused += err == STOA_E_FULL;
        for (int k = 0; k < DEADLINE && !err && dials[i].ups == 0 && listener.refused + dials[i].refused == 0; k++) {
            run(&listener);
            run(&dials[i]);
        }
        ups += !err && dials[i].ups > 0;
        refused += !err && dials[i].refused > 0;
        MUST(err || dials[i].refused == 0 || dials[i].why == STOA_E_FULL);
    }
    MUST(ups > 0);
    MUST(refused + listener.refused > 0);
    MUST(ups <= PORTS / 2);
    for (unsigned i = 0; i < POLLS; i++) {
        run(&listener);
    }
    MUST(!dials[0].link->ops->send(dials[0].link, 0, "word", 5)); /* who is there is served */
    for (int k = 0; k < DEADLINE && listener.frames == 0; k++) {
        run(&listener);
        run(&dials[0]);
    }
    MUST(listener.frames == 1);
    _exit(0);
}

static void more_than_the_range_has_ports_are_refused(void **state)
{
    int status = 0;
    (void)state;
    pid_t child = fork();
    if (child == 0) { dials_more_than_ports(); }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
}

/* Somebody else, who takes both ports of the range at some moment of each round, and lets go of them when the round is over. */
typedef struct thief {
    int first;
    uint64_t whole_ns; /* what a round takes that nobody disturbs */
    atomic_int round;  /* 0: between two; -1: end */
    atomic_int begun, done; /* the last one that it has */
} thief;

static int take(int port)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    if (bind(fd, (const struct sockaddr *)&at, sizeof at) == 0) { return fd; }
    (void)close(fd);
    return -1;
}

static void *steal(void *context)
{
    thief *t = context;
    for (int round; (round = atomic_load(&t->round)) >= 0; (void)sched_yield()) {
        int fds[2] = {-1, -1};
        if (round == atomic_load(&t->done) || round == 0) { continue; }
        atomic_store(&t->begun, round);
        uint64_t at_ns = stoa_clock_real.now_ns(&stoa_clock_real) + t->whole_ns * (uint64_t)(round % STEPS) / STEPS;
        while (stoa_clock_real.now_ns(&stoa_clock_real) < at_ns) {}
        for (; atomic_load(&t->round) == round; (void)sched_yield()) {
            for (int i = 0; i < 2; i++) { fds[i] = fds[i] < 0 ? take(t->first + i) : fds[i]; }
        }
        for (int i = 0; i < 2; i++) {
            if (fds[i] >= 0) { (void)close(fds[i]); }
        }
        atomic_store(&t->done, round);
    }
    return NULL;
}

static void opens_while_ports_are_taken(void)
{
    char range[32];
    pthread_t thread;
    side own;
    thief t = {.first = PORT_FIRST + 8000 + getpid() % 1000 * 2};
    unsigned opened = 0, full = 0;
    (void)snprintf(range, sizeof range, "%d-%d", t.first, t.first + 1);
    MUST(setenv("UCX_TCP_PORT_RANGE", range, 1) == 0);
    for (int i = 0; i < 2; i++) { /* with the first the library is loaded */
        uint64_t began_ns = stoa_clock_real.now_ns(&stoa_clock_real);
        MUST(!side_open(&own, true, "ucx+tcp://127.0.0.1:0"));
        t.whole_ns = stoa_clock_real.now_ns(&stoa_clock_real) - began_ns;
        own.link->ops->close(own.link, 0);
    }
    MUST(pthread_create(&thread, NULL, steal, &t) == 0);
    for (int round = 1; round <= ROUNDS; round++) {
        atomic_store(&t.round, round);
        while (atomic_load(&t.begun) != round) { (void)sched_yield(); }
        stoa_err err = side_open(&own, true, "ucx+tcp://127.0.0.1:0");
        MUST(!err || err == STOA_E_FULL);
        if (!err) { own.link->ops->close(own.link, 0); }
        opened += !err;
        full += err && strstr(stoa_err_trail(), "others took the ports");
        atomic_store(&t.round, 0);
        while (atomic_load(&t.done) != round) { (void)poll(NULL, 0, 1); }
    }
    atomic_store(&t.round, -1);
    MUST(pthread_join(thread, NULL) == 0);
    (void)printf("%u opened, %u were full too late\n", opened, full);
    stoa_err err = STOA_E_FULL;
    for (int i = 0; i < DEADLINE && (err = side_open(&own, true, "ucx+tcp://127.0.0.1:0")); i++) { (void)poll(NULL, 0, 1); }
    MUST(!err);
    own.link->ops->close(own.link, 0);
    exit(0);
}

static void ports_that_are_taken_meanwhile_are_full(void **state)
{
    int status = 0;
    (void)state;
    pid_t child = fork();
    if (child == 0) {
        (void)alarm(ALARM_S);
        opens_while_ports_are_taken();
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
}

static void a_range_that_is_none_is_refused(void **state)
{
    static const char *const ranges[] = {"41105-41100", "70000-70002", "ports"};
    (void)state;
    for (unsigned i = 0; i < sizeof ranges / sizeof ranges[0]; i++) {
        int status = 0;
        pid_t child = fork();
        if (child == 0) {
            side own;
            (void)setenv("UCX_TCP_PORT_RANGE", ranges[i], 1);
            _exit(side_open(&own, true, "ucx+tcp://127.0.0.1:0") == STOA_E_INVALID ? 0 : 1);
        }
        assert_int_equal(waitpid(child, &status, 0), child);
        assert_int_equal(status, 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_listener_without_descriptors_refuses_and_goes_on),
        cmocka_unit_test(who_dials_without_descriptors_goes_on),
        cmocka_unit_test(more_than_the_range_has_ports_are_refused),
        cmocka_unit_test(ports_that_are_taken_meanwhile_are_full),
        cmocka_unit_test(a_range_that_is_none_is_refused),
    };
    return cmocka_run_group_tests_name("transport/fabric, in want", tests, NULL, NULL);
}
