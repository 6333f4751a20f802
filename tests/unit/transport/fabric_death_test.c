/* fabric_death_test.c - goal: whoever dies while a connection is being made, or has just been, ends nobody else's process. Method: a
 * survivor in this process; on the other side one life after the other, in processes of their own, each of which kills itself with
 * SIGKILL when its connection has come to a phase, and some polls later, by a printed seed. The lives are forked by a nursery that
 * has never loaded the libraries. In the end the survivor serves as ever.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/random.h"
#include "transport/fabric/inner.h"
#include "transport/link.h"

enum { LIVES = 15, LIVES_DEEP = 2000, DEADLINE = 60000, FRAME_LIMIT = 1024, QUEUE = 16, POLLS_MAX = 12, ADDRESS_BYTES = 128 };

typedef struct life {
    bool listens;
    stoa_phase phase; /* after which it dies, so many polls later */
    uint32_t polls;
    char address[ADDRESS_BYTES];
} life;

typedef struct side {
    stoa_link *link;
    uint32_t ups, frames;
} side;

static stoa_random chance;
static int nursery;

static void on_up(void *context, stoa_peer peer)
{
    (void)peer;
    ((side *)context)->ups++;
}

static void on_down(void *context, stoa_peer peer)
{
    (void)context, (void)peer;
}

static void on_frame(void *context, stoa_peer peer, const char *identity, const void *bytes, uint32_t size_bytes)
{
    (void)peer, (void)identity, (void)bytes, (void)size_bytes;
    ((side *)context)->frames++;
}

static void run(side *of)
{
    stoa_link_events events = {.frame = on_frame, .down = on_down, .up = on_up, .context = of};
    (void)of->link->ops->poll(of->link, &events, 64);
}

static stoa_err side_open(side *out, bool listens, const char *address)
{
    stoa_link_options options = {.listen = listens, .frame_limit = FRAME_LIMIT, .queue_frames = QUEUE};
    *out = (side){0};
    return stoa_link_open(address, &options, &out->link);
}

static void side_close(side *of)
{
    of->link->ops->close(of->link, 0);
}

/* --- who dies */

static void tell(int to, const void *bytes, size_t size_bytes)
{
    if (send(to, bytes, size_bytes, MSG_NOSIGNAL) != (ssize_t)size_bytes) { _exit(1); }
}

/* Tells 'b' when it has begun. */
static void live(int to, const life *is)
{
    side own;
    if (side_open(&own, is->listens, is->address)) { _exit(1); }
    const stoa_fabric *link = (const stoa_fabric *)(const void *)own.link;
    tell(to, "b", 1);
    for (int i = 0; i < DEADLINE; i++) {
        struct pollfd bell = {.fd = own.link->ops->fd(own.link), .events = POLLIN};
        (void)poll(&bell, 1, 1);
        run(&own);
        if (!link->conns[0] || link->conns[0]->phase < is->phase) { continue; }
        for (uint32_t more = 0; more < is->polls; more++) {
            run(&own);
        }
        (void)raise(SIGKILL);
    }
    _exit(1);
}

/* For each life that is asked for: 'b', then 'k' when it was killed, 'f' when it ended otherwise. */
static void nurse(int asked)
{
    life is;
    while (recv(asked, &is, sizeof is, 0) == (ssize_t)sizeof is) {
        int status = 0;
        pid_t child = fork();
        if (child == 0) { live(asked, &is); }
        if (child < 0 || waitpid(child, &status, 0) != child) { _exit(1); }
        tell(asked, WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL ? "k" : "f", 1);
    }
    _exit(0);
}

/* --- who survives */

static char hears(side *survivor)
{
    char word = 0;
    for (int i = 0; i < DEADLINE && recv(nursery, &word, 1, MSG_DONTWAIT) != 1; i++) {
        struct pollfd bells[] = {{.fd = nursery, .events = POLLIN}, {.fd = -1, .events = POLLIN}};
        if (survivor) {
            bells[1].fd = survivor->link->ops->fd(survivor->link);
            run(survivor);
        }
        (void)poll(bells, 2, 1);
    }
    return word;
}

static life any_life(bool listens, const char *address)
{
    static const stoa_phase phases[] = {STOA_PHASE_OFFER, STOA_PHASE_PROBING, STOA_PHASE_PROBING, STOA_PHASE_UP};
    life is = {.listens = listens, .phase = phases[stoa_random_below(&chance, sizeof phases / sizeof phases[0])]};
    is.polls = (uint32_t)stoa_random_below(&chance, POLLS_MAX);
    (void)snprintf(is.address, sizeof is.address, "%s", address);
    return is;
}

static void both_serve(side *one, side *other)
{
    side *dials = ((stoa_fabric *)(void *)one->link)->listens ? other : one, *listens = dials == one ? other : one;
    uint32_t frames = listens->frames;
    for (int i = 0; i < DEADLINE && dials->ups == 0; i++) {
        run(one);
        run(other);
        (void)poll(NULL, 0, 1);
    }
    assert_int_equal(dials->link->ops->send(dials->link, 0, "word", 5), STOA_OK);
    for (int i = 0; i < DEADLINE && listens->frames == frames; i++) {
        run(one);
        run(other);
        (void)poll(NULL, 0, 1);
    }
    assert_int_equal(listens->frames, frames + 1);
}

static uint32_t lives(void)
{
    return getenv("STOA_DEEP") ? LIVES_DEEP : LIVES;
}

static void who_dials_dies(void **state)
{
    char address[ADDRESS_BYTES];
    side survivor, last;
    (void)snprintf(address, sizeof address, "%s://127.0.0.1:0", (const char *)*state);
    assert_int_equal(side_open(&survivor, true, address), STOA_OK);
    (void)snprintf(address, sizeof address, "%s", survivor.link->ops->address(survivor.link));
    for (uint32_t i = 0; i < lives(); i++) {
        life is = any_life(false, address);
        tell(nursery, &is, sizeof is);
        assert_int_equal(hears(&survivor), 'b');
        assert_int_equal(hears(&survivor), 'k');
    }
    assert_int_equal(side_open(&last, false, address), STOA_OK);
    both_serve(&survivor, &last);
    side_close(&last);
    side_close(&survivor);
}

static void who_listens_dies(void **state)
{
    char address[ADDRESS_BYTES];
    side survivor, last;
    (void)snprintf(address, sizeof address, "%s://127.0.0.1:0", (const char *)*state);
    assert_int_equal(side_open(&last, true, address), STOA_OK); /* for a port */
    (void)snprintf(address, sizeof address, "%s", last.link->ops->address(last.link));
    side_close(&last);
    for (uint32_t i = 0; i < lives(); i++) {
        life is = any_life(true, address);
        tell(nursery, &is, sizeof is);
        assert_int_equal(hears(NULL), 'b');
        assert_int_equal(side_open(&survivor, false, address), STOA_OK);
        assert_int_equal(hears(&survivor), 'k');
        for (uint32_t more = 0; more < POLLS_MAX; more++) {
            run(&survivor);
        }
        side_close(&survivor);
    }
    assert_int_equal(side_open(&last, true, address), STOA_OK);
    assert_int_equal(side_open(&survivor, false, address), STOA_OK);
    both_serve(&last, &survivor);
    side_close(&survivor);
    side_close(&last);
}

int main(void)
{
    static char ucx[] = "ucx+tcp", ofi[] = "ofi+tcp";
    uint64_t seed = 0;
    int ends[2];
    const char *given = getenv("STOA_SEED");
    stoa_random_system(&seed, sizeof seed);
    if (given) { seed = strtoull(given, NULL, 10); }
    (void)printf("STOA_SEED=%llu\n", (unsigned long long)seed);
    (void)fflush(stdout);
    stoa_random_seed(&chance, seed);
    if (socketpair(AF_UNIX, SOCK_SEQPACKET, 0, ends) != 0) { return 1; }
    if (fork() == 0) {
        (void)close(ends[0]);
        nurse(ends[1]);
    }
    (void)close(ends[1]);
    nursery = ends[0];
    const struct CMUnitTest tests[] = {
        {"ucx+tcp: who_dials_dies", who_dials_dies, NULL, NULL, ucx},
        {"ucx+tcp: who_listens_dies", who_listens_dies, NULL, NULL, ucx},
        {"ofi+tcp: who_dials_dies", who_dials_dies, NULL, NULL, ofi},
        {"ofi+tcp: who_listens_dies", who_listens_dies, NULL, NULL, ofi},
    };
    return cmocka_run_group_tests_name("transport/fabric, deaths", tests, NULL, NULL);
}
