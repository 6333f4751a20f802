/* fabric_strangers_test.c - goal: whoever comes to the door of a fabric link with something that is no greeting is
 * refused by name, and who is served notices nothing. Method: over each library a listener with keys and one good
 * peer; raw sockets that say garbage, an old version, half a greeting, a recorded greeting, or nothing, and random
 * bytes from a printed seed.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "base/random.h"
#include "transport/keys.h"
#include "transport/link.h"

enum { DEADLINE_MS = 30000, HELLO_AT_VERSION = 7, HELLO_AT_NAME = 11, RECORD_MAX = 512 };

typedef struct world {
    const char *scheme;
    stoa_link *server, *client;
    uint32_t ups, downs, frames, refusals, client_ups, client_downs;
    stoa_err why;
    uint16_t port;
    stoa_key_pair server_keys, client_keys;
} world;

static stoa_random chance;

static void on_up(void *context, stoa_peer peer)
{
    (void)peer;
    ((world *)context)->ups++;
}

static void on_down(void *context, stoa_peer peer)
{
    (void)peer;
    ((world *)context)->downs++;
}

static void on_frame(void *context, stoa_peer peer, const char *identity, const void *bytes, uint32_t size_bytes)
{
    (void)peer, (void)bytes, (void)size_bytes;
    assert_string_equal(identity, "client");
    ((world *)context)->frames++;
}

static void on_refused(void *context, stoa_err why)
{
    world *w = context;
    w->refusals++;
    w->why = why;
}

static void on_client_up(void *context, stoa_peer peer)
{
    (void)peer;
    ((world *)context)->client_ups++;
}

static void on_client_down(void *context, stoa_peer peer)
{
    (void)peer;
    ((world *)context)->client_downs++;
}

static void run(world *w)
{
    stoa_link_events server = {.frame = on_frame, .down = on_down, .up = on_up, .refused = on_refused, .context = w};
    stoa_link_events client = {.frame = on_frame, .down = on_client_down, .up = on_client_up, .context = w};
    (void)w->server->ops->poll(w->server, &server, 64);
    if (w->client) { (void)w->client->ops->poll(w->client, &client, 64); }
    (void)poll(NULL, 0, 1);
}

static void wait_for(world *w, const uint32_t *count, uint32_t least)
{
    for (int i = 0; *count < least && i < DEADLINE_MS; i++) {
        run(w);
    }
    assert_true(*count >= least);
}

static int world_open(void **state)
{
    world *w = calloc(1, sizeof *w);
    assert_non_null(w);
    w->scheme = *state;
    assert_int_equal(stoa_key_new(&w->server_keys) || stoa_key_new(&w->client_keys), 0);
    stoa_link_allowed allowed = {.name = "client"};
    memcpy(allowed.public_key, w->client_keys.public_key, sizeof allowed.public_key);
    stoa_link_options options = {.listen = true,
                                 .frame_limit = 65536,
                                 .queue_frames = 64,
                                 .allowed = &allowed,
                                 .allowed_count = 1,
                                 .secret_key = w->server_keys.secret_key};
    char any[64];
    (void)snprintf(any, sizeof any, "%s://127.0.0.1:0", w->scheme);
    assert_int_equal(stoa_link_open(any, &options, &w->server), STOA_OK);
    const char *address = w->server->ops->address(w->server);
    w->port = (uint16_t)atoi(strrchr(address, ':') + 1);
    options = (stoa_link_options){.frame_limit = 65536,
                                  .queue_frames = 64,
                                  .secret_key = w->client_keys.secret_key,
                                  .public_key = w->client_keys.public_key,
                                  .server_key = w->server_keys.public_key};
    assert_int_equal(stoa_link_open(address, &options, &w->client), STOA_OK);
    *state = w;
    wait_for(w, &w->ups, 1);
    wait_for(w, &w->client_ups, 1);
    return 0;
}

static int world_close(void **state)
{
    world *w = *state;
    w->client->ops->close(w->client, 0);
    w->server->ops->close(w->server, 0);
    free(w);
    return 0;
}

/* The good peer is served as before. */
static void assert_served(world *w)
{
    uint32_t before = w->frames;
    assert_int_equal(w->client->ops->send(w->client, 0, "still", 5), STOA_OK);
    wait_for(w, &w->frames, before + 1);
    assert_int_equal(w->ups, 1);
    assert_int_equal(w->downs + w->client_downs, 0);
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

static void refused_for(world *w, const void *bytes, size_t size_bytes, stoa_err why)
{
    uint32_t before = w->refusals;
    int fd = knock(w->port);
    assert_int_equal(send(fd, bytes, size_bytes, MSG_NOSIGNAL), (ssize_t)size_bytes);
    (void)shutdown(fd, SHUT_WR);
    wait_for(w, &w->refusals, before + 1);
    assert_int_equal(w->why, why);
    (void)close(fd);
    assert_served(w);
}

/* What a dialled link with these keys says first, as a listener of ours would read it. */
static size_t record_hello(world *w, uint8_t *out)
{
    int listener = socket(AF_INET, SOCK_STREAM, 0);
    struct sockaddr_in at = {.sin_family = AF_INET};
    socklen_t at_bytes = sizeof at;
    at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    assert_int_equal(bind(listener, (const struct sockaddr *)&at, sizeof at), 0);
    assert_int_equal(listen(listener, 1), 0);
    assert_int_equal(getsockname(listener, (struct sockaddr *)&at, &at_bytes), 0);
    char address[64];
    (void)snprintf(address, sizeof address, "%s://127.0.0.1:%u", w->scheme, ntohs(at.sin_port));
    stoa_link_options options = {.frame_limit = 65536,
                                 .queue_frames = 64,
                                 .secret_key = w->client_keys.secret_key,
                                 .public_key = w->client_keys.public_key,
                                 .server_key = w->server_keys.public_key};
    stoa_link *link = NULL;
    assert_int_equal(stoa_link_open(address, &options, &link), STOA_OK);
    int fd = accept(listener, NULL, NULL);
    stoa_link_events events = {.frame = on_frame, .down = on_client_down, .up = on_client_up, .context = w};
    ssize_t size_bytes = 0;
    while ((size_bytes = recv(fd, out, RECORD_MAX, MSG_DONTWAIT)) <= 0) {
        (void)link->ops->poll(link, &events, 1);
    }
    (void)close(fd);
    (void)close(listener);
    link->ops->close(link, 0);
    return (size_t)size_bytes;
}

static void what_is_no_greeting_is_named(void **state)
{
    world *w = *state;
    uint8_t hello[RECORD_MAX];
    size_t size_bytes = record_hello(w, hello);
    refused_for(w, "GET / HTTP/1.1\r\n\r\n", 18, STOA_E_MALFORMED);
    refused_for(w, "\x00\x00", 2, STOA_E_MALFORMED);
    refused_for(w, hello, size_bytes - 1, STOA_E_MALFORMED);
    refused_for(w, hello, 5, STOA_E_MALFORMED);
    hello[HELLO_AT_VERSION] = 99;
    refused_for(w, hello, size_bytes, STOA_E_VERSION);
    hello[HELLO_AT_VERSION] = 2;
    hello[size_bytes - 1] ^= 1;
    refused_for(w, hello, size_bytes, STOA_E_DENIED);
    hello[HELLO_AT_NAME] = 'x'; /* another library's greeting */
    refused_for(w, hello, size_bytes, STOA_E_MALFORMED);
}

/* A greeting that was recorded and sent again is answered, for it is genuine, and comes to nothing. */
static void a_recorded_greeting_comes_to_nothing(void **state)
{
    world *w = *state;
    uint8_t hello[RECORD_MAX], answer[RECORD_MAX];
    size_t size_bytes = record_hello(w, hello);
    int fd = knock(w->port);
    assert_int_equal(send(fd, hello, size_bytes, MSG_NOSIGNAL), (ssize_t)size_bytes);
    while (recv(fd, answer, sizeof answer, MSG_DONTWAIT) <= 0) {
        run(w);
    }
    uint32_t before = w->refusals;
    uint8_t offer[200] = {198, 0, 3}; /* sealed by somebody who has not the key */
    assert_int_equal(send(fd, offer, sizeof offer, MSG_NOSIGNAL), (ssize_t)sizeof offer);
    wait_for(w, &w->refusals, before + 1);
    assert_int_equal(w->why, STOA_E_MALFORMED);
    (void)close(fd);
    assert_served(w);
}

static void random_bytes_harm_nobody(void **state)
{
    enum { TIMES = 200 };
    world *w = *state;
    uint8_t hello[RECORD_MAX], bytes[RECORD_MAX];
    size_t size_bytes = record_hello(w, hello);
    for (unsigned i = 0; i < TIMES; i++) {
        size_t count = 1 + (size_t)stoa_random_below(&chance, size_bytes);
        memcpy(bytes, hello, size_bytes);
        for (uint64_t k = stoa_random_below(&chance, 8) + 1; k > 0; k--) {
            bytes[stoa_random_below(&chance, size_bytes)] = (uint8_t)stoa_random_next(&chance);
        }
        uint32_t before = w->refusals;
        int fd = knock(w->port);
        (void)send(fd, bytes, count, MSG_NOSIGNAL);
        (void)shutdown(fd, SHUT_WR);
        wait_for(w, &w->refusals, before + (memcmp(bytes, hello, size_bytes) != 0));
        (void)close(fd);
    }
    assert_served(w);
}

int main(void)
{
    const char *given = getenv("STOA_TEST_SEED");
    uint64_t seed = given ? strtoull(given, NULL, 10) : (uint64_t)time(NULL);
    (void)printf("STOA_TEST_SEED=%llu\n", (unsigned long long)seed);
    stoa_random_seed(&chance, seed);
    static char ucx[] = "ucx+tcp", ofi[] = "ofi+tcp";
#define TEST(name, scheme) cmocka_unit_test_prestate_setup_teardown(name, world_open, world_close, scheme)
    const struct CMUnitTest tests[] = {
        TEST(what_is_no_greeting_is_named, ucx),
        TEST(what_is_no_greeting_is_named, ofi),
        TEST(a_recorded_greeting_comes_to_nothing, ucx),
        TEST(a_recorded_greeting_comes_to_nothing, ofi),
        TEST(random_bytes_harm_nobody, ucx),
        TEST(random_bytes_harm_nobody, ofi),
    };
    return cmocka_run_group_tests_name("transport/fabric, strangers", tests, NULL, NULL);
}
