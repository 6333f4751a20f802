/* fabric_ports_test.c - goal: what stands open to strangers on a fabric link's ports harms nobody, or is refused where strangers
 * could be. Method: raw sockets to both ports of a listener. At the door: OFFERs with wrong bytes from a printed seed, many who
 * say nothing, no descriptors left. At the library's own port, where nothing of ours is asked: that UCX writes where a stranger
 * says, and that libfabric does not survive a packet, is what the refusal of addresses that leave this machine stands on;
 * should a version of them no longer do so, the test says that the refusal can go.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/random.h"
#include "transport/bytes.h"
#include "transport/fabric/inner.h"
#include "transport/keys.h"
#include "transport/link.h"

enum { DEADLINE = 30000, FRAME_LIMIT = 1024, QUEUE = 16, DOOR_HEAD = 3, MESSAGE_MAX = 2048, OFFER_HEAD = 24 };
enum { PEERS = 4, STRANGERS = PEERS + STOA_FABRIC_GREETING_MAX + 20 };

typedef struct world {
    const char *scheme;
    stoa_link *server;
    uint32_t ups, refusals;
    stoa_err why;
    uint16_t port;
} world;

static stoa_random chance;

static void on_up(void *context, stoa_peer peer)
{
    (void)peer;
    ((world *)context)->ups++;
}

static void on_down(void *context, stoa_peer peer)
{
    (void)context, (void)peer;
}

static void on_frame(void *context, stoa_peer peer, const char *identity, const void *bytes, uint32_t size_bytes)
{
    (void)context, (void)peer, (void)identity, (void)bytes, (void)size_bytes;
}

static void on_refused(void *context, stoa_err why)
{
    world *w = context;
    w->refusals++;
    w->why = why;
}

static void run(world *w)
{
    stoa_link_events events = {.frame = on_frame, .down = on_down, .up = on_up, .refused = on_refused, .context = w};
    (void)w->server->ops->poll(w->server, &events, 64);
}

static stoa_link *dial(const char *address)
{
    stoa_link_options options = {.frame_limit = FRAME_LIMIT, .queue_frames = QUEUE};
    stoa_link *link = NULL;
    if (stoa_link_open(address, &options, &link)) { fail_msg("%s", stoa_err_trail()); }
    return link;
}

static void server_open(world *w, const char *scheme, const char *secret_key)
{
    char address[64];
    stoa_link_options options = {.listen = true,
                                 .frame_limit = FRAME_LIMIT,
                                 .queue_frames = QUEUE,
                                 .peer_limit = PEERS,
                                 .secret_key = secret_key};
    *w = (world){.scheme = scheme};
    (void)snprintf(address, sizeof address, "%s://127.0.0.1:0", scheme);
    if (stoa_link_open(address, &options, &w->server)) { fail_msg("%s", stoa_err_trail()); }
    w->port = (uint16_t)atoi(strrchr(w->server->ops->address(w->server), ':') + 1);
}

static void server_close(world *w)
{
    w->server->ops->close(w->server, 0);
}

static int knock(uint16_t port)
{
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(port)};
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    assert_true(fd >= 0);
    assert_int_equal(connect(fd, (const struct sockaddr *)&to, sizeof to), 0);
    return fd;
}

static void say(int fd, const void *bytes, size_t size_bytes)
{
    assert_int_equal(send(fd, bytes, size_bytes, MSG_NOSIGNAL), (ssize_t)size_bytes);
}

/* What comes next; 0: the other side has hung up. */
static size_t hear(world *w, int fd, uint8_t *out)
{
    for (int i = 0; i < DEADLINE; i++) {
        ssize_t came = recv(fd, out, MESSAGE_MAX, MSG_DONTWAIT);
        if (came >= 0 || errno != EAGAIN) { return came > 0 ? (size_t)came : 0; }
        run(w);
        (void)poll(NULL, 0, 1);
    }
    fail_msg("nothing came");
    return 0;
}

/* --- the door */

static size_t hello_write(const world *w, uint8_t out[64])
{
    memset(out, 0, 64);
    stoa_put_u16(out, 1 + 24);
    out[2] = STOA_DOOR_HELLO;
    stoa_put_u32(out + 3, 0x62467453);
    stoa_put_u16(out + 7, 2);
    memcpy(out + 11, w->scheme, 3);
    memcpy(out + 19, "tcp", 3);
    return DOOR_HEAD + 24;
}

/* A stranger who knows how to greet. */
static int greet(world *w, uint8_t *welcome)
{
    uint8_t hello[64];
    size_t size_bytes = hello_write(w, hello);
    int fd = knock(w->port);
    say(fd, hello, size_bytes);
    assert_true(hear(w, fd, welcome) > DOOR_HEAD);
    assert_int_equal(welcome[2], STOA_DOOR_WELCOME);
    return fd;
}

/* The OFFER of a link of ours, to whoever listens. */
static size_t record_offer(world *w, uint8_t *out)
{
    struct sockaddr_in at = {.sin_family = AF_INET};
    socklen_t at_bytes = sizeof at;
    int listener = socket(AF_INET, SOCK_STREAM, 0);
    char address[64];
    at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    assert_int_equal(bind(listener, (const struct sockaddr *)&at, at_bytes), 0);
    assert_int_equal(listen(listener, 1), 0);
    assert_int_equal(getsockname(listener, (struct sockaddr *)&at, &at_bytes), 0);
    (void)snprintf(address, sizeof address, "%s://127.0.0.1:%u", w->scheme, ntohs(at.sin_port));
    world client = {.server = dial(address)};
    int fd = accept(listener, NULL, NULL);
    uint8_t welcome[] = {5, 0, STOA_DOOR_WELCOME, 2, 0, 0, 0};
    assert_true(hear(&client, fd, out) > 0);
    say(fd, welcome, sizeof welcome);
    size_t size_bytes = hear(&client, fd, out);
    assert_int_equal(out[2], STOA_DOOR_OFFER);
    (void)close(fd);
    (void)close(listener);
    server_close(&client);
    return size_bytes;
}

/* One to three bytes of it changed; or cut; or the address all at random. */
static size_t spoil(uint8_t *offer, size_t size_bytes, unsigned how)
{
    enum { FIRST = DOOR_HEAD + OFFER_HEAD };
    if (how % 3 == 0) {
        for (uint64_t n = 1 + stoa_random_below(&chance, 3); n > 0; n--) {
            uint64_t at = FIRST + stoa_random_below(&chance, size_bytes - FIRST);
            offer[at] ^= (uint8_t)(1 + stoa_random_below(&chance, 255));
        }
    } else if (how % 3 == 1) {
        size_bytes = FIRST + (size_t)stoa_random_below(&chance, size_bytes - FIRST);
    } else {
        size_bytes = FIRST + (size_t)stoa_random_below(&chance, 300);
        for (size_t i = FIRST; i < size_bytes; i++) {
            offer[i] = (uint8_t)stoa_random_next(&chance);
        }
    }
    stoa_put_u16(offer, (uint16_t)(size_bytes - 2));
    return size_bytes;
}

/* A good peer comes up as if nothing had been. */
static void assert_serves(world *w)
{
    uint32_t before = w->ups;
    stoa_link *link = dial(w->server->ops->address(w->server));
    world client = {.server = link};
    for (int i = 0; i < DEADLINE && (w->ups == before || client.ups == 0); i++) {
        run(w);
        run(&client);
        (void)poll(NULL, 0, 1);
    }
    assert_true(w->ups > before && client.ups > 0);
    server_close(&client);
}

static void an_address_that_is_none_ends_nothing(void **state)
{
    enum { TIMES = 150, POLLS = 20 };
    world w;
    uint8_t good[MESSAGE_MAX], offer[MESSAGE_MAX], welcome[MESSAGE_MAX];
    server_open(&w, *state, NULL);
    size_t good_bytes = record_offer(&w, good);
    for (unsigned i = 0; i < TIMES; i++) {
        memcpy(offer, good, good_bytes);
        size_t size_bytes = spoil(offer, good_bytes, i);
        int fd = greet(&w, welcome);
        say(fd, offer, size_bytes);
        for (unsigned k = 0; k < POLLS; k++) {
            run(&w);
            (void)poll(NULL, 0, 1);
        }
        (void)close(fd);
    }
    assert_serves(&w);
    server_close(&w);
}

static void who_says_nothing_shuts_nobody_out(void **state)
{
    world w;
    uint8_t welcome[MESSAGE_MAX];
    int silent[STRANGERS];
    server_open(&w, *state, NULL);
    for (unsigned i = 0; i < STRANGERS; i++) {
        silent[i] = knock(w.port);
        if (i % 8 == 0) { run(&w); }
    }
    for (unsigned i = 0; i < 20; i++) {
        run(&w);
    }
    int fd = greet(&w, welcome); /* is heard at once, not when the others are given up */
    assert_true(((stoa_fabric *)(void *)w.server)->guests <= STOA_FABRIC_GREETING_MAX);
    (void)close(fd);
    for (unsigned i = 0; i < STRANGERS; i++) {
        (void)close(silent[i]);
    }
    assert_serves(&w);
    server_close(&w);
}

static void without_descriptors_a_listener_sleeps(void **state)
{
    enum { FILES = 512 };
    world w;
    uint8_t hello[64], welcome[MESSAGE_MAX];
    int taken[FILES], count = 0;
    struct rlimit limit, before;
    bool slept = false;
    server_open(&w, *state, NULL);
    run(&w);
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
    limit = before;
    limit.rlim_cur = FILES;
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
    while (count < FILES && (taken[count] = dup(fd)) >= 0) {
        count++;
    }
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(w.port)};
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    assert_int_equal(connect(fd, (const struct sockaddr *)&to, sizeof to), 0);
    for (int i = 0; i < DEADLINE && !slept; i++) {
        struct pollfd bell = {.fd = w.server->ops->fd(w.server), .events = POLLIN};
        run(&w);
        slept = ((stoa_fabric *)(void *)w.server)->deaf && poll(&bell, 1, 0) == 0;
    }
    while (count > 0) {
        (void)close(taken[--count]);
    }
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
    assert_true(slept);
    say(fd, hello, hello_write(&w, hello)); /* who waited is served */
    assert_true(hear(&w, fd, welcome) > DOOR_HEAD);
    (void)close(fd);
    assert_serves(&w);
    server_close(&w);
}

/* What who dials could not do there is told here by its name. */
static void whatever_the_other_side_refuses_for_is_told(void **state)
{
    world w;
    stoa_err err;
    server_open(&w, *state, NULL);
    for (unsigned i = 0; (err = stoa_err_at(i)) != STOA_OK; i++) {
        uint8_t bye[64] = {0}, rest[MESSAGE_MAX];
        const char *name = stoa_err_name(err);
        size_t bytes = strlen(name);
        stoa_put_u16(bye, (uint16_t)(1 + bytes));
        bye[2] = STOA_DOOR_BYE;
        memcpy(bye + DOOR_HEAD, name, bytes);
        uint32_t before = w.refusals;
        bool refuses = err != STOA_E_CLOSED && err != STOA_E_TOO_LARGE;
        int fd = knock(w.port);
        say(fd, bye, DOOR_HEAD + bytes);
        assert_int_equal(hear(&w, fd, rest), 0);
        run(&w);
        (void)close(fd);
        assert_int_equal(w.refusals, before + refuses);
        if (refuses) { assert_int_equal(w.why, err); }
    }
    server_close(&w);
}

/* --- the library's own port */

/* Where it is, as the other side of a connection would be told. UCX has a port for each, and none without. */
static uint16_t port_of_library(world *w)
{
    static stoa_conn nobody;
    uint8_t address[STOA_CARRIER_ADDRESS_BYTES];
    stoa_carrier_end *end = NULL;
    stoa_fabric *link = (stoa_fabric *)(void *)w->server;
    struct sockaddr_storage here;
    assert_true(stoa_fabric_local(link, &here));
    nobody.link = link;
    assert_int_equal(link->kind->begin(link->carrier, &nobody, &end), STOA_OK);
    (void)link->kind->address(link->carrier, end, (const struct sockaddr *)&here, address);
    uint16_t port; /* a port in network order at byte 2, in our form for UCX as in a sockaddr */
    memcpy(&port, address + 2, sizeof port);
    return ntohs(port);
}

/* A listener with keys and an allow-list with nobody on it, and a stranger at its library's port, in a process of their own;
 * returns its status. */
static int in_child(const char *scheme, void (*stranger)(world *w, void *memory), void *memory)
{
    stoa_key_pair keys;
    int status = 0;
    assert_int_equal(stoa_key_new(&keys), STOA_OK);
    pid_t child = fork();
    if (child == 0) {
        world w;
        (void)signal(SIGSEGV, SIG_DFL); /* cmocka has a handler of its own */
        if (!freopen("/dev/null", "w", stderr)) { _exit(0); }
        server_open(&w, scheme, keys.secret_key);
        stranger(&w, memory);
        _exit(0);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    return status;
}

static const char text[] = "a stranger wrote this";

static void put_raw(world *w, void *memory)
{
    /* magic; then "put" (33): u32 length of its header, u64 address, u64 size, u32 number, bytes */
    static const uint8_t magic[8] = {0x78, 0x56, 0x34, 0x12, 0xbe, 0xba, 0xfe, 0xca};
    uint8_t put[25] = {33};
    stoa_put_u32(put + 1, 20);
    stoa_put_u64(put + 5, (uint64_t)(uintptr_t)memory);
    stoa_put_u64(put + 13, sizeof text);
    int fd = knock(port_of_library(w));
    say(fd, magic, sizeof magic);
    say(fd, put, sizeof put);
    say(fd, text, sizeof text);
    for (int i = 0; i < DEADLINE && strcmp(memory, text) != 0; i++) {
        run(w);
        (void)poll(NULL, 0, 1);
    }
}

static void ucx_writes_where_a_stranger_says(void **state)
{
    (void)state;
    char *memory = mmap(NULL, sizeof text, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    assert_true(memory != MAP_FAILED);
    (void)in_child("ucx+tcp", put_raw, memory);
    assert_string_equal(memory, text);
    (void)munmap(memory, sizeof text);
}

/* An acknowledgement of nothing, from somebody who connected. */
static void acknowledge_nothing(world *w, void *memory)
{
    uint8_t hello[32 + 24] = {3}, ack[16] = {3, 0, 0, 0, 2, 0, 16}, answer[MESSAGE_MAX];
    (void)memory;
    hello[3] = 24;                               /* size of what follows the header */
    hello[24] = 1;                               /* tells the byte order */
    memcpy(hello + 32, (uint8_t[]){1, 2, 4, 3}, 4); /* versions, byte order */
    stoa_put_u16(hello + 36, 4711);
    stoa_put_u32(hello + 40, 16384); /* the longest message that is not fetched */
    ack[8] = 16;
    int fd = knock(port_of_library(w));
    say(fd, hello, 32 + 24);
    assert_true(hear(w, fd, answer) > 0);
    say(fd, ack, sizeof ack);
    for (int i = 0; i < 1000; i++) {
        run(w);
        (void)poll(NULL, 0, 1);
    }
}

static void libfabric_does_not_survive_a_stranger(void **state)
{
    (void)state;
    int status = in_child("ofi+tcp", acknowledge_nothing, NULL);
    assert_true(WIFSIGNALED(status) || WEXITSTATUS(status) != 0);
}

static void refused_unless(const char *address, bool listen, const char *word)
{
    stoa_key_pair keys[2];
    assert_int_equal(stoa_key_new(&keys[0]) || stoa_key_new(&keys[1]), 0);
    stoa_link_options options = {.listen = listen,
                                 .frame_limit = FRAME_LIMIT,
                                 .queue_frames = QUEUE,
                                 .secret_key = keys[0].secret_key,
                                 .public_key = listen ? NULL : keys[0].public_key,
                                 .server_key = listen ? NULL : keys[1].public_key};
    stoa_link *link = NULL;
    assert_int_equal(stoa_link_open(address, &options, &link), STOA_E_INVALID);
    assert_non_null(strstr(stoa_err_trail(), word));
    options.fenced = true;
    options.secret_key = options.public_key = options.server_key = NULL;
    assert_int_equal(stoa_link_open(address, &options, &link), STOA_E_INVALID);
    assert_non_null(strstr(stoa_err_trail(), "secret key"));
}

static void opens_when(bool fenced, const char *address)
{
    stoa_key_pair keys;
    assert_int_equal(stoa_key_new(&keys), STOA_OK);
    stoa_link_options options = {.listen = true, .frame_limit = FRAME_LIMIT, .queue_frames = QUEUE};
    if (fenced) { options.secret_key = keys.secret_key; }
    options.fenced = fenced;
    options.trusted = !fenced;
    stoa_link *link = NULL;
    if (stoa_link_open(address, &options, &link)) { fail_msg("%s", stoa_err_trail()); }
    link->ops->close(link, 0);
}

static void off_this_machine_the_network_must_be_vouched_for(void **state)
{
    (void)state;
    refused_unless("ucx+tcp://*:0", true, "fenced");
    refused_unless("ofi+tcp://*:0", true, "fenced");
    refused_unless("ucx+tcp://192.0.2.77:4711", false, "fenced");
    refused_unless("ofi+tcp://192.0.2.77:4711", false, "fenced");
    refused_unless("ucx+rdma://127.0.0.1:0", true, "fenced"); /* where an adapter's cable leads, nobody knows */
    refused_unless("ofi+verbs://127.0.0.1:0", true, "fenced");
    opens_when(true, "ucx+tcp://*:0");
    opens_when(false, "ucx+tcp://*:0");
    opens_when(true, "ofi+tcp://*:0");
    opens_when(false, "ofi+tcp://*:0");
}

#define OVER(test_, scheme_)                                                                                           \
    {                                                                                                                  \
        .name = scheme_ ": " #test_, .test_func = (test_), .initial_state = (void *)(uintptr_t)(scheme_)               \
    }
#define OVER_EACH(test_) OVER(test_, "ucx+tcp"), OVER(test_, "ofi+tcp")

int main(void)
{
    const char *given = getenv("STOA_TEST_SEED");
    uint64_t seed = given ? strtoull(given, NULL, 10) : (uint64_t)time(NULL);
    (void)printf("STOA_TEST_SEED=%llu\n", (unsigned long long)seed);
    stoa_random_seed(&chance, seed);
    const struct CMUnitTest tests[] = {
        OVER_EACH(an_address_that_is_none_ends_nothing),
        OVER_EACH(who_says_nothing_shuts_nobody_out),
        OVER_EACH(without_descriptors_a_listener_sleeps),
        OVER_EACH(whatever_the_other_side_refuses_for_is_told),
        cmocka_unit_test(ucx_writes_where_a_stranger_says),
        cmocka_unit_test(libfabric_does_not_survive_a_stranger),
        cmocka_unit_test(off_this_machine_the_network_must_be_vouched_for),
    };
    return cmocka_run_group_tests_name("transport/fabric, open ports", tests, NULL, NULL);
}
