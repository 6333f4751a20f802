/* fabric_spoilt_test.c - goal: where a genuine batch is spoilt on the way its connection ends, named CORRUPT, and another one begins;
 * what a stranger makes up ends nothing. Method: two ends with keys in this process, over each library; send, sendmsg and writev are
 * ours, and change one bit of the next batch's tag, or credit's, when it goes by.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <dlfcn.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include "tests/contract/link_end.h"
#include "transport/bytes.h"
#include "transport/fabric/inner.h"
#include "transport/keys.h"

enum { DEADLINE = 30000, FRAME_LIMIT = 1024, QUEUE = 16, TAG = 48, AT_KIND = 4, BATCH = 1, CREDIT = 2, TICKS = 6 };
enum { BATCH_BYTES = 1024 };
static const char magic[] = "StFB";
#define SEEN __attribute__((visibility("default"))) /* by the libraries */

/* --- on the way */

static int spoils; /* the kind of message; 0: none */
static unsigned spoilt;

/* The byte of a message's tag that is to be changed, NULL: there is none in these bytes. */
static uint8_t *victim(const void *bytes, size_t size_bytes)
{
    const uint8_t *at = spoils ? bytes : NULL, *behind = at + size_bytes;
    while (at && (at = memmem(at, (size_t)(behind - at), magic, sizeof magic - 1)) != NULL) {
        if (behind - at > TAG && at[AT_KIND] == spoils) {
            uint8_t *tag = NULL;
            at += TAG;
            memcpy(&tag, &at, sizeof tag);
            return tag;
        }
        at++;
    }
    return NULL;
}

static void flip(uint8_t *at)
{
    if (at) { *at ^= 1; }
}

/* Sent with the change, it is undone here: what comes is spoilt, what was sent is not. */
static ssize_t sent(uint8_t *at, ssize_t rc)
{
    flip(at);
    if (at && rc > 0) {
        spoils = 0;
        spoilt++;
    }
    return rc;
}

static uint8_t *victim_of(const struct iovec *parts, size_t count)
{
    uint8_t *at = NULL;
    for (size_t i = 0; i < count && !at; i++) {
        at = victim(parts[i].iov_base, parts[i].iov_len);
    }
    return at;
}

static void *next_of(const char *name)
{
    void *is = dlsym(RTLD_NEXT, name);
    assert_non_null(is);
    return is;
}

SEEN ssize_t send(int fd, const void *bytes, size_t size_bytes, int flags)
{
    static ssize_t (*real)(int, const void *, size_t, int);
    if (!real) { *(void **)&real = next_of("send"); }
    uint8_t *at = victim(bytes, size_bytes);
    flip(at);
    return sent(at, real(fd, bytes, size_bytes, flags));
}

SEEN ssize_t sendmsg(int fd, const struct msghdr *message, int flags)
{
    static ssize_t (*real)(int, const struct msghdr *, int);
    if (!real) { *(void **)&real = next_of("sendmsg"); }
    uint8_t *at = victim_of(message->msg_iov, message->msg_iovlen);
    flip(at);
    return sent(at, real(fd, message, flags));
}

SEEN ssize_t writev(int fd, const struct iovec *parts, int count)
{
    static ssize_t (*real)(int, const struct iovec *, int);
    if (!real) { *(void **)&real = next_of("writev"); }
    uint8_t *at = victim_of(parts, (size_t)count);
    flip(at);
    return sent(at, real(fd, parts, count));
}

/* --- worlds */

typedef struct world {
    const char *scheme;
    end server, client;
    stoa_key_pair keys[2];
    stoa_link_allowed allowed;
} world;

static void run(world *w)
{
    end *ends[] = {&w->server, &w->client};
    for (unsigned i = 0; i < 2; i++) {
        stoa_link_events events = {
            .frame = on_frame, .down = on_down, .up = on_up, .refused = on_refused, .context = ends[i]};
        (void)ends[i]->link->ops->poll(ends[i]->link, &events, 64);
    }
}

static void wait_for(world *w, const uint32_t *count, uint32_t least)
{
    for (int i = 0; *count < least && i < DEADLINE; i++) {
        run(w);
        if (*count < least) { (void)poll(NULL, 0, 1); }
    }
    assert_true(*count >= least);
}

static stoa_fabric *fabric(const end *e)
{
    return (stoa_fabric *)(void *)e->link;
}

static void end_open(world *w, end *e, const char *address)
{
    stoa_link_options options = {.listen = e == &w->server, .frame_limit = FRAME_LIMIT, .queue_frames = QUEUE};
    options.secret_key = w->keys[!options.listen].secret_key;
    options.public_key = options.listen ? NULL : w->keys[1].public_key;
    options.server_key = options.listen ? NULL : w->keys[0].public_key;
    options.allowed = options.listen ? &w->allowed : NULL;
    options.allowed_count = options.listen;
    stoa_err err = stoa_link_open(address, &options, &e->link);
    if (err) { fail_msg("%s", stoa_err_trail()); }
}

static int world_new(void **state)
{
    world *w = calloc(1, sizeof *w);
    char address[64];
    assert_non_null(w);
    w->scheme = *state;
    assert_int_equal(stoa_key_new(&w->keys[0]) || stoa_key_new(&w->keys[1]), 0);
    (void)snprintf(w->allowed.name, sizeof w->allowed.name, "client");
    memcpy(w->allowed.public_key, w->keys[1].public_key, sizeof w->allowed.public_key);
    (void)snprintf(address, sizeof address, "%s://127.0.0.1:0", w->scheme);
    end_open(w, &w->server, address);
    end_open(w, &w->client, w->server.link->ops->address(w->server.link));
    wait_for(w, &w->server.ups, 1);
    wait_for(w, &w->client.ups, 1);
    spoilt = 0;
    *state = w;
    return 0;
}

static int world_free(void **state)
{
    world *w = *state;
    spoils = 0;
    w->client.link->ops->close(w->client.link, 0);
    w->server.link->ops->close(w->server.link, 0);
    free(w);
    return 0;
}

static void send_word(world *w)
{
    assert_int_equal(w->client.link->ops->send(w->client.link, 0, "word", 5), STOA_OK);
}

static void word_comes(world *w)
{
    uint32_t before = w->server.frames;
    send_word(w);
    wait_for(w, &w->server.frames, before + 1);
}

/* Pings, after each of which a connection is looked at. */
static void pass_ticks(world *w, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        for (uint64_t before = fabric(&w->server)->conns[0]->ping_ns; fabric(&w->server)->conns[0]->ping_ns == before;) {
            run(w);
            (void)poll(NULL, 0, 1);
        }
    }
}

/* --- the tests */

static void a_spoilt_batch_ends_its_connection_by_name(void **state)
{
    world *w = *state;
    word_comes(w);
    spoils = BATCH;
    send_word(w);
    wait_for(w, &w->server.downs, 1);
    wait_for(w, &w->client.downs, 1);
    assert_int_equal(spoilt, 1);
    assert_int_equal(w->server.frames, 1); /* nothing behind it was told */
    assert_int_equal(w->server.why, STOA_E_CORRUPT);
    wait_for(w, &w->client.refusals, 1);
    assert_int_equal(w->client.why, STOA_E_CORRUPT);
    wait_for(w, &w->client.ups, 2);
    wait_for(w, &w->server.ups, 2);
    word_comes(w);
}

static void a_spoilt_credit_is_made_good(void **state)
{
    enum { WORDS = 200 };
    world *w = *state;
    spoils = CREDIT;
    for (unsigned sent_words = 0; sent_words < WORDS;) { /* until the ring would stand still */
        sent_words += w->client.link->ops->send(w->client.link, 0, "word", 5) == STOA_OK;
        run(w);
    }
    wait_for(w, &w->server.frames, WORDS);
    while (!stoa_out_is_read(&fabric(&w->client)->conns[0]->out)) {
        run(w);
        (void)poll(NULL, 0, 1);
    }
    assert_int_equal(spoilt, 1);
    assert_int_equal(w->server.downs + w->client.downs, 0);
}

static void who_only_makes_up_batches_ends_nothing(void **state)
{
    world *w = *state;
    stoa_fabric *link = fabric(&w->server);
    word_comes(w);
    for (uint64_t ahead = 0; ahead < 3; ahead++) {
        uint8_t header[STOA_CARRIER_HEADER_BYTES] = {0};
        void *token = NULL;
        memcpy(header, magic, sizeof magic - 1);
        header[AT_KIND] = BATCH;
        stoa_put_u64(header + 8, link->conns[0]->token);
        stoa_put_u64(header + 16, link->conns[0]->in.next + ahead);
        stoa_put_u64(header + 24, link->conns[0]->in.read);
        stoa_put_u32(header + 40, BATCH_BYTES);
        void *to = stoa_carrier_place(link, header, BATCH_BYTES, &token);
        assert_non_null(to);
        memset(to, 0xee, BATCH_BYTES);
        stoa_carrier_landed(token, true);
        header[AT_KIND] = CREDIT; /* "so many have come" */
        stoa_put_u64(header + 16, 1000);
        stoa_put_u64(header + 24, 1000);
        assert_null(stoa_carrier_place(link, header, 0, &token));
    }
    pass_ticks(w, TICKS);
    word_comes(w);
    assert_int_equal(w->server.downs + w->client.downs, 0);
    assert_int_equal(w->server.why, STOA_E_MALFORMED);
}

#define OVER(test_, scheme_)                                                                                           \
    {                                                                                                                  \
        .name = scheme_ ": " #test_, .test_func = (test_), .setup_func = world_new, .teardown_func = world_free,       \
        .initial_state = (void *)(uintptr_t)(scheme_)                                                                  \
    }
#define OVER_EACH(test_) OVER(test_, "ucx+tcp"), OVER(test_, "ofi+tcp")

int main(void)
{
    const struct CMUnitTest tests[] = {
        OVER_EACH(a_spoilt_batch_ends_its_connection_by_name),
        OVER_EACH(a_spoilt_credit_is_made_good),
        OVER_EACH(who_only_makes_up_batches_ends_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
