/* ofi_test.c - goal: a peer that dies while large messages are fetched, from it or by it, costs its connection and nothing else:
 * what others send afterwards arrives as it was sent, the memory is given back, and the library never runs out of what it loses.
 * Method: processes that send large frames, or are sent some, stop looking after them and are killed; then, or all the while, a
 * good peer.
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
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "transport/link.h"

enum {
    FRAME_BYTES = 60000,
    FRAME_LIMIT = 64 << 10,
    LARGE = 8,
    GOOD = 300,
    LOOKS = 50,
    DEADLINE_S = 60,
    DEATHS = 3,
    DEAF = 6,
    ROUNDS = 17,
    STAY_ROUNDS = 10,
    CHILDREN = 8,
    FLIGHT = 16
};

typedef struct told {
    uint32_t ups, downs, frames, refusals;
    stoa_peer peer, from; /* the last that came, that a good frame came from */
    stoa_peer child;      /* that said it is there */
    uint32_t children;
    uint64_t next;  /* number of the frame that is expected, from the good peer */
} told;

static uint8_t bytes[FRAME_BYTES];

static uint64_t now_ns(void)
{
    return stoa_clock_real.now_ns(&stoa_clock_real);
}

static void on_up(void *context, stoa_peer peer)
{
    ((told *)context)->ups++;
    ((told *)context)->peer = peer;
}

static void on_down(void *context, stoa_peer peer)
{
    (void)peer;
    ((told *)context)->downs++;
}

static void on_frame(void *context, stoa_peer peer, const char *identity, const void *frame, uint32_t size_bytes)
{
    told *t = context;
    const uint8_t *is = frame;
    (void)identity;
    t->children += is[0] == 'c';
    if (is[0] == 'c') {
        t->child = peer;
        return;
    }
    t->from = peer;
    t->frames++;
    if (is[0] == 'd') { return; } /* of one that dies */
    for (uint32_t i = 1; i < size_bytes; i++) {
        if (is[i] != (uint8_t)t->next) { fail_msg("byte %u of frame %u", i, (unsigned)t->next); }
    }
    t->next++;
}

static void on_refused(void *context, stoa_err why)
{
    (void)why;
    ((told *)context)->refusals++;
}

/* One that stays while others die: it is looked after with the server. */
static stoa_link *stays;
static told *of_stays;

static void look(stoa_link *link, told *t)
{
    if (stays && link != stays) { look(stays, of_stays); }
    const stoa_link_events events = {
        .frame = on_frame, .down = on_down, .up = on_up, .refused = on_refused, .context = t};
    (void)link->ops->poll(link, &events, 64);
}

static stoa_link *link_open(const char *address, bool listens)
{
    stoa_link *link = NULL;
    stoa_link_options options = {.listen = listens, .frame_limit = FRAME_LIMIT, .queue_frames = 64};
    stoa_err err = stoa_link_open(address, &options, &link);
    if (err) { fail_msg("%s: %s", address, stoa_err_trail()); }
    return link;
}

/* Look until *count is as many. */
static void wait_for(stoa_link *link, told *t, const uint32_t *count, uint32_t least)
{
    for (uint64_t until_ns = now_ns() + STOA_S(DEADLINE_S); *count < least;) {
        look(link, t);
        struct pollfd fd = {.fd = link->ops->fd(link), .events = POLLIN};
        if (now_ns() > until_ns) { fail_msg("%u of %u came in time", *count, least); }
        (void)poll(&fd, 1, 1);
    }
}

/* The process that dies: sends frames that the other side has to fetch, or none, and does not look again. */
static int die(const char *address, bool sends)
{
    told t = {0};
    stoa_link *link = link_open(address, false);
    wait_for(link, &t, &t.ups, 1);
    if (!sends) { (void)link->ops->send(link, 0, "c", 1); }
    memset(bytes, 'd', sizeof bytes);
    for (unsigned i = 0; i < LARGE && sends; i++) {
        (void)link->ops->send(link, 0, bytes, sizeof bytes);
    }
    look(link, &t);
    if (write(STDOUT_FILENO, ".", 1) != 1) { return 1; }
    (void)pause();
    return 0;
}

static pid_t child_new(stoa_link *server, bool sends, int output)
{
    pid_t child = fork();
    if (child == 0) {
        (void)dup2(output, STDOUT_FILENO);
        (void)execl("/proc/self/exe", "ofi_test", sends ? "--die" : "--deaf", server->ops->address(server),
                    (char *)NULL);
        _exit(1);
    }
    return child;
}

static void child_dies(stoa_link *server, told *t, bool sends)
{
    int pipes[2];
    char done = 0;
    uint32_t downs = t->downs;
    assert_int_equal(pipe(pipes), 0);
    pid_t child = child_new(server, sends, pipes[1]);
    wait_for(server, t, &t->ups, downs + 1);
    assert_int_equal(read(pipes[0], &done, 1), 1);
    for (unsigned i = 0; i < LARGE && !sends; i++) {
        assert_int_equal(server->ops->send(server, t->peer, bytes, sizeof bytes), STOA_OK);
    }
    for (unsigned i = 0; i < LOOKS; i++) { /* and so it begins to fetch what nobody gives it */
        look(server, t);
        (void)poll(NULL, 0, 1);
    }
    assert_int_equal(kill(child, SIGKILL), 0);
    assert_int_equal(waitpid(child, NULL, 0), child);
    wait_for(server, t, &t->downs, downs + 1);
    (void)close(pipes[0]);
    (void)close(pipes[1]);
}

static void a_peer_that_dies_while_it_is_fetched_from_spoils_no_other(void **state)
{
    told of_server = {0}, of_client = {0};
    stoa_link *server = link_open("ofi+tcp://127.0.0.1:0", true);
    (void)state;
    for (unsigned i = 0; i < DEATHS; i++) {
        child_dies(server, &of_server, true);
    }
    stoa_link *client = link_open(server->ops->address(server), false);
    wait_for(server, &of_server, &of_server.frames, of_server.frames);
    uint64_t sent = 0;
    for (uint64_t until_ns = now_ns() + STOA_S(DEADLINE_S); of_server.next < GOOD;) {
        look(client, &of_client);
        for (bool room = of_client.ups > 0; room && sent < GOOD;) {
            memset(bytes, (uint8_t)sent, sizeof bytes);
            bytes[0] = 'g';
            room = client->ops->send(client, 0, bytes, sizeof bytes) == STOA_OK;
            sent += room;
        }
        look(client, &of_client);
        look(server, &of_server);
        if (now_ns() > until_ns) { fail_msg("%u of %u came", (unsigned)of_server.next, GOOD); }
    }
    assert_int_equal(of_server.refusals + of_client.refusals, 0);
    assert_int_equal(of_client.downs, 0);
    client->ops->close(client, 0);
    server->ops->close(server, 0);
}

static uint64_t mapped_kib(void)
{
    char line[256];
    uint64_t kib = 0;
    FILE *status = fopen("/proc/self/status", "r");
    assert_non_null(status);
    while (fgets(line, sizeof line, status)) {
        if (strncmp(line, "VmSize:", 7) == 0) { kib = strtoull(line + 7, NULL, 10); }
    }
    (void)fclose(status);
    return kib;
}

/* A connection has two rings of 4 MiB. */
static void what_was_sent_to_peers_that_died_is_given_back(void **state)
{
    told of_server = {0};
    stoa_link *server = link_open("ofi+tcp://127.0.0.1:0", true);
    (void)state;
    child_dies(server, &of_server, false);
    uint64_t before_kib = mapped_kib(), most_kib = before_kib + DEAF * (4 << 10);
    for (unsigned i = 0; i < DEAF; i++) {
        child_dies(server, &of_server, false);
    }
    for (uint64_t until_ns = now_ns() + STOA_S(DEADLINE_S); mapped_kib() > most_kib && now_ns() < until_ns;) {
        look(server, &of_server);
        (void)poll(NULL, 0, 10);
    }
    assert_true(mapped_kib() <= most_kib);
    server->ops->close(server, 0);
}

/* Several that are sent as much as can be under way, and fetch nothing of it. */
static void children_die(stoa_link *server, told *t)
{
    pid_t children[CHILDREN];
    uint32_t downs = t->downs;
    int pipes[2];
    char done = 0;
    assert_int_equal(pipe(pipes), 0);
    for (unsigned i = 0; i < CHILDREN; i++) {
        uint32_t before = t->children;
        children[i] = child_new(server, false, pipes[1]);
        wait_for(server, t, &t->children, before + 1);
        assert_int_equal(read(pipes[0], &done, 1), 1);
        for (unsigned sent = 0; sent < FLIGHT; sent++) {
            assert_int_equal(server->ops->send(server, t->child, bytes, sizeof bytes), STOA_OK);
        }
        look(server, t);
    }
    for (unsigned i = 0; i < LOOKS; i++) {
        look(server, t);
        (void)poll(NULL, 0, 1);
    }
    for (unsigned i = 0; i < CHILDREN; i++) {
        assert_int_equal(kill(children[i], SIGKILL), 0);
        assert_int_equal(waitpid(children[i], NULL, 0), children[i]);
    }
    wait_for(server, t, &t->downs, downs + CHILDREN);
    (void)close(pipes[0]);
    (void)close(pipes[1]);
}

/* Frames go both ways between the two, as soon as they have each other. */
static void talk(stoa_link *server, told *of_server, stoa_link *client, told *of_client)
{
    uint32_t at_server = of_server->frames, at_client = of_client->frames;
    memset(bytes, 'd', sizeof bytes);
    for (uint64_t until_ns = now_ns() + STOA_S(DEADLINE_S);
         of_server->frames == at_server || of_client->frames == at_client;) {
        if (now_ns() > until_ns) { fail_msg("no frame came after %u deaths", of_server->downs); }
        (void)client->ops->send(client, 0, bytes, sizeof bytes);
        (void)server->ops->send(server, of_server->from, bytes, sizeof bytes);
        look(client, of_client);
        look(server, of_server);
        (void)poll(NULL, 0, 1);
    }
}

/* An endpoint of libfabric's can lose 2048 messages, and then sends no more. */
static void who_comes_is_served_however_many_have_died(void **state)
{
    told of_server = {0};
    stoa_link *server = link_open("ofi+tcp://127.0.0.1:0", true);
    (void)state;
    for (unsigned i = 0; i < ROUNDS; i++) {
        told of_client = {0};
        children_die(server, &of_server);
        stoa_link *client = link_open(server->ops->address(server), false);
        talk(server, &of_server, client, &of_client);
        client->ops->close(client, 0);
        wait_for(server, &of_server, &of_server.downs, of_server.ups);
    }
    server->ops->close(server, 0);
}

/* Its endpoint wears out under it: it may have to come again, but everybody's deaths do not end it each time. */
static void who_stays_is_served_however_many_die(void **state)
{
    told of_server = {0}, of_client = {0};
    stoa_link *server = link_open("ofi+tcp://127.0.0.1:0", true);
    stoa_link *client = link_open(server->ops->address(server), false);
    (void)state;
    stays = client;
    of_stays = &of_client;
    for (unsigned i = 0; i < STAY_ROUNDS; i++) {
        children_die(server, &of_server);
        talk(server, &of_server, client, &of_client);
    }
    stays = NULL;
    assert_true(of_client.ups >= 1 && of_client.ups <= 1 + STAY_ROUNDS / 4);
    client->ops->close(client, 0);
    server->ops->close(server, 0);
}

int main(int argc, char **argv)
{
    if (argc == 3) { return die(argv[2], strcmp(argv[1], "--die") == 0); }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_peer_that_dies_while_it_is_fetched_from_spoils_no_other),
        cmocka_unit_test(what_was_sent_to_peers_that_died_is_given_back),
        cmocka_unit_test(who_comes_is_served_however_many_have_died),
        cmocka_unit_test(who_stays_is_served_however_many_die),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
