/* shm_test.c - goal: an shm endpoint among strangers, other users, and processes that are killed or stopped: each is
 * refused or noticed by name, a well-behaved peer beside it notices nothing, and nothing is left behind. Method: bare
 * sockets that say what they like; child processes that stream frames and are killed at random moments; descriptors,
 * mappings and files counted before and after. Random choices come from a printed seed (STOA_TEST_SEED).
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <dirent.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/random.h"
#include "transport/link.h"
#include "transport/shm/memory.h"
#include "transport/shm/socket.h"

enum { FRAME_LIMIT = 4096, QUEUE_FRAMES = 100, DEADLINE_MS = 30000, POLL_MAX = 64, NOBODY = 65534 };

typedef struct end {
    stoa_link *link;
    uint32_t ups, downs, frames, refusals, disorders;
    stoa_peer peer;
    stoa_err why;
    char identity[64];
} end;

typedef struct world {
    char name[64], address[80];
    end server, client;
} world;

static stoa_random chance;
static uint32_t worlds;

/* --- ends */

static void on_up(void *context, stoa_peer peer)
{
    end *e = context;
    e->ups++;
    e->peer = peer;
    e->frames = 0;
}

static void on_down(void *context, stoa_peer peer)
{
    (void)peer;
    ((end *)context)->downs++;
}

/* A stream's frames carry their number, and are as long as it says. */
static uint32_t size_of(uint32_t number)
{
    return 4 + number * 7 % 2000;
}

static void on_frame(void *context, stoa_peer peer, const char *identity, const void *bytes, uint32_t size_bytes)
{
    end *e = context;
    uint32_t number = 0;
    (void)peer;
    memcpy(&number, bytes, sizeof number);
    if (number != e->frames || size_bytes != size_of(number)) { e->disorders++; }
    e->frames++;
    (void)snprintf(e->identity, sizeof e->identity, "%s", identity);
}

static void on_refused(void *context, stoa_err why)
{
    end *e = context;
    e->refusals++;
    e->why = why;
}

static void settle(end *e)
{
    stoa_link_events events = {.frame = on_frame, .down = on_down, .up = on_up, .refused = on_refused, .context = e};
    while (e->link && e->link->ops->poll(e->link, &events, POLL_MAX) == POLL_MAX) {}
}

static uint64_t now_ms(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

/* Run both ends, asleep between, until the count is reached; true: it was. */
static bool comes(world *w, const uint32_t *count, uint32_t least, uint64_t time_ms)
{
    for (uint64_t until_ms = now_ms() + time_ms;;) {
        struct pollfd fds[2];
        nfds_t used = 0;
        end *ends[] = {&w->server, &w->client};
        for (int i = 0; i < 2; i++) {
            settle(ends[i]);
            if (ends[i]->link) {
                fds[used++] = (struct pollfd){.fd = ends[i]->link->ops->fd(ends[i]->link), .events = POLLIN};
            }
        }
        uint64_t now = now_ms();
        if (*count >= least) { return true; }
        if (now >= until_ms || poll(fds, used, (int)(until_ms - now)) <= 0) { return false; }
    }
}

static void wait_for(world *w, const uint32_t *count, uint32_t least)
{
    if (!comes(w, count, least, DEADLINE_MS)) { fail_msg("%u of %u came in time", *count, least); }
}

static stoa_link_options options_of(bool listen)
{
    return (stoa_link_options){.listen = listen, .frame_limit = FRAME_LIMIT, .queue_frames = QUEUE_FRAMES};
}

static void end_open(end *e, const char *address, const stoa_link_options *options)
{
    stoa_link *link = NULL;
    if (stoa_link_open(address, options, &link)) { fail_msg("%s: %s", address, stoa_err_trail()); }
    *e = (end){.link = link};
}

static void end_close(end *e)
{
    if (e->link) { e->link->ops->close(e->link, 0); }
    e->link = NULL;
}

static void send_number(end *e, stoa_peer peer, uint32_t number)
{
    uint8_t frame[FRAME_LIMIT] = {0};
    memcpy(frame, &number, sizeof number);
    assert_int_equal(e->link->ops->send(e->link, peer, frame, size_of(number)), STOA_OK);
}

/* The well-behaved peer is served as before. */
static void assert_undisturbed(world *w)
{
    uint32_t frames = w->client.frames, downs = w->client.downs;
    send_number(&w->server, w->client.link ? w->server.peer : 0, frames);
    wait_for(w, &w->client.frames, frames + 1);
    assert_int_equal(downs, w->client.downs);
    assert_int_equal(w->client.disorders, 0);
}

/* A listener, and a peer that is up. */
static void listen_and_dial(world *w, const stoa_link_options *listen)
{
    stoa_link_options dial = options_of(false);
    end_open(&w->server, w->address, listen);
    end_open(&w->client, w->address, &dial);
    wait_for(w, &w->client.ups, 1);
    wait_for(w, &w->server.ups, 1);
}

static int world_open(void **state)
{
    world *w = calloc(1, sizeof *w);
    if (!w) { return -1; }
    (void)snprintf(w->name, sizeof w->name, "test-%d-%u", (int)getpid(), ++worlds);
    (void)snprintf(w->address, sizeof w->address, "shm://%s", w->name);
    *state = w;
    return 0;
}

static int world_close(void **state)
{
    world *w = *state;
    end_close(&w->server);
    end_close(&w->client);
    free(w);
    return 0;
}

static bool is_readable(const end *e)
{
    return poll(&(struct pollfd){.fd = e->link->ops->fd(e->link), .events = POLLIN}, 1, 0) == 1;
}

/* --- strangers */

static const stoa_shm_note hello = {
    .magic = STOA_SHM_MAGIC, .version = STOA_SHM_VERSION, .word = STOA_SHM_HELLO, .ring_bytes = STOA_SHM_RING_MIN};

static int stranger(const world *w)
{
    int fd = -1;
    assert_int_equal(stoa_shm_socket_connect(w->name, &fd), STOA_OK);
    return fd;
}

/* What a stranger is told in the end. */
static stoa_err told(world *w, int fd)
{
    stoa_shm_note note;
    int memory = -1;
    for (uint64_t until_ms = now_ms() + DEADLINE_MS; now_ms() < until_ms;) {
        settle(&w->server);
        stoa_shm_heard heard = stoa_shm_socket_hear(fd, &note, &memory);
        if (heard == STOA_SHM_NOTE && note.word == STOA_SHM_REFUSED) { return (stoa_err)note.why; }
        if (heard == STOA_SHM_NOTE && memory >= 0) { (void)close(memory); }
        if (heard == STOA_SHM_GONE) { return STOA_OK; }
        (void)poll(&(struct pollfd){.fd = fd, .events = POLLIN}, 1, 10);
    }
    return STOA_E_TIMEOUT;
}

static void assert_refused(world *w, int fd, stoa_err why)
{
    uint32_t before = w->server.refusals;
    assert_int_equal(told(w, fd), why);
    wait_for(w, &w->server.refusals, before + 1);
    assert_int_equal(w->server.why, why);
    assert_int_equal(w->server.ups, 1);
    (void)close(fd);
}

static void strangers_are_refused_by_name(void **state)
{
    world *w = *state;
    stoa_link_options listen = options_of(true);
    listen_and_dial(w, &listen);
    stoa_peer client = w->server.peer;

    static const char *const noise[] = {"GET / HTTP/1.1\r\n\r\n", "xy", "                        "};
    for (unsigned i = 0; i < sizeof noise / sizeof noise[0]; i++) {
        int fd = stranger(w);
        assert_true(send(fd, noise[i], strlen(noise[i]), 0) > 0);
        assert_refused(w, fd, STOA_E_MALFORMED);
    }
    stoa_shm_note notes[] = {hello, hello, hello, hello};
    notes[1].word = STOA_SHM_WELCOME;
    notes[2].word = 77;
    notes[3].version = STOA_SHM_VERSION + 1;
    for (unsigned i = 0; i < sizeof notes / sizeof notes[0]; i++) { /* without memory */
        int fd = stranger(w);
        assert_true(stoa_shm_socket_say(fd, &notes[i], -1));
        assert_refused(w, fd, i == 3 ? STOA_E_VERSION : STOA_E_MALFORMED);
    }
    stoa_shm_memory memory = {0};
    int good = -1, null = open("/dev/null", O_RDWR | O_CLOEXEC);
    assert_int_equal(stoa_shm_memory_new(&memory, 2 * STOA_SHM_RING_MIN, &good), STOA_OK);
    int bad[] = {null, good}; /* no memory, and memory of another size than is said */
    for (unsigned i = 0; i < 2; i++) {
        int fd = stranger(w);
        assert_true(stoa_shm_socket_say(fd, &hello, bad[i]));
        assert_refused(w, fd, STOA_E_MALFORMED);
        (void)close(bad[i]);
    }
    stoa_shm_memory_free(&memory);

    uint32_t before = w->server.refusals;
    (void)close(stranger(w)); /* says nothing */
    wait_for(w, &w->server.refusals, before + 1);
    assert_int_equal(w->server.why, STOA_E_MALFORMED);
    w->server.peer = client;
    assert_undisturbed(w);
}

/* A stranger that is let in as any other, and whose memory is at hand. */
static int intruder(world *w, stoa_shm_memory *memory)
{
    int fd = stranger(w), handed = -1;
    uint32_t before = w->server.ups;
    assert_int_equal(stoa_shm_memory_new(memory, STOA_SHM_RING_MIN, &handed), STOA_OK);
    assert_true(stoa_shm_socket_say(fd, &hello, handed));
    (void)close(handed);
    wait_for(w, &w->server.ups, before + 1);
    return fd;
}

static void hostile_memory_is_a_named_refusal(void **state)
{
    world *w = *state;
    stoa_link_options listen = options_of(true);
    listen_and_dial(w, &listen);
    stoa_peer client = w->server.peer;
    for (uint32_t round = 0; round < 60; round++) {
        stoa_shm_memory memory = {0};
        uint32_t downs = w->server.downs, refusals = w->server.refusals;
        int fd = intruder(w, &memory);
        uint64_t word = stoa_random_next(&chance) | 1;
        if (round % 3 == 0) { /* a header */
            memcpy(memory.ring, &word, sizeof word);
        } else if (round % 3 == 1) { /* the right number, a mad length */
            word = UINT64_C(1) << 32 | (uint32_t)(word | 1U << 31);
            memcpy(memory.ring, &word, sizeof word);
        } else { /* a cursor, which is looked at when there is something to send */
            atomic_store(&memory.face->read_bytes, word);
            atomic_store(&memory.face->wants_room, word);
            uint8_t frame[FRAME_LIMIT] = {0};
            stoa_err err = STOA_OK;
            while (!err) {
                err = w->server.link->ops->send(w->server.link, w->server.peer, frame, sizeof frame);
            }
            assert_int_equal(err, STOA_E_CLOSED);
        }
        stoa_shm_socket_ring(fd);
        wait_for(w, &w->server.downs, downs + 1);
        wait_for(w, &w->server.refusals, refusals + 1);
        assert_int_equal(w->server.why, STOA_E_MALFORMED);
        assert_int_equal(told(w, fd), STOA_E_MALFORMED);
        (void)close(fd);
        stoa_shm_memory_free(&memory);
        w->server.peer = client;
        if (round % 10 == 0) { assert_undisturbed(w); }
    }
}

/* Rings without end, and wishes that are never met: others are served, and the owner is not kept busy for ever. */
static void a_flood_of_rings_holds_nobody_up(void **state)
{
    world *w = *state;
    stoa_link_options listen = options_of(true);
    listen_and_dial(w, &listen);
    stoa_peer client = w->server.peer;
    stoa_shm_memory memory = {0};
    int fd = intruder(w, &memory);
    w->server.peer = client;
    for (uint32_t i = 0; i < 50; i++) {
        for (uint32_t k = 0; k < 300; k++) {
            stoa_shm_socket_ring(fd);
            atomic_fetch_add(&memory.face->wants_room, 1);
            atomic_fetch_add(&memory.face->asleep, 1);
        }
        assert_undisturbed(w);
    }
    (void)close(fd);
    stoa_shm_memory_free(&memory);
}

/* Whoever rings as often as its socket takes is not heard to the end by one poll. */
static void a_poll_ends_whoever_rings(void **state)
{
    enum { LEAST = 200 };
    world *w = *state;
    stoa_link_options listen = options_of(true);
    listen_and_dial(w, &listen);
    stoa_shm_memory memory = {0};
    stoa_link_events events = {
        .frame = on_frame, .down = on_down, .up = on_up, .refused = on_refused, .context = &w->server};
    int fd = intruder(w, &memory);
    uint32_t first = 0, more = 0;
    while (send(fd, "x", 1, MSG_DONTWAIT | MSG_NOSIGNAL) == 1) {
        first++;
    }
    assert_true(first >= LEAST);
    (void)w->server.link->ops->poll(w->server.link, &events, POLL_MAX);
    assert_true(is_readable(&w->server)); /* there is more */
    while (send(fd, "x", 1, MSG_DONTWAIT | MSG_NOSIGNAL) == 1) {
        more++;
    }
    assert_true(more < first);
    (void)close(fd);
    stoa_shm_memory_free(&memory);
}

/* More than may be in their greeting, who say nothing: a newcomer is let in. */
static void who_says_nothing_shuts_nobody_out(void **state)
{
    enum { PEERS = 2, STRANGERS = PEERS + 64 + 40 };
    world *w = *state;
    int silent[STRANGERS];
    stoa_link_options listen = options_of(true), dial = options_of(false);
    listen.peer_limit = PEERS;
    end_open(&w->server, w->address, &listen);
    for (uint32_t i = 0; i < STRANGERS; i++) {
        silent[i] = stranger(w);
        settle(&w->server);
    }
    end_open(&w->client, w->address, &dial);
    wait_for(w, &w->client.ups, 1);
    assert_int_equal(w->client.refusals, 0);
    for (uint32_t i = 0; i < STRANGERS; i++) {
        (void)close(silent[i]);
    }
}

/* --- users */

static pid_t dial_as(const world *w, uid_t uid)
{
    pid_t child = fork();
    if (child) { return child; }
    stoa_link_options options = options_of(false);
    options.server_key = "uid:0";
    world other = *w;
    other.server = other.client = (end){0};
    if (setuid(uid)) { _exit(2); }
    end_open(&other.client, w->address, &options);
    bool up = comes(&other, &other.client.ups, 1, DEADLINE_MS / 10);
    if (up) { send_number(&other.client, 0, 0); }
    bool refused = comes(&other, &other.client.refusals, 1, DEADLINE_MS);
    _exit(refused && other.client.why == STOA_E_DENIED ? up : 3);
}

static void users_are_let_in_by_list(void **state)
{
    world *w = *state;
    if (geteuid() != 0) {
        print_message("not root: there is no other user to be\n");
        skip();
    }
    stoa_link_options listen = options_of(true);
    end_open(&w->server, w->address, &listen); /* our own user alone */
    int status = -1;
    pid_t child = dial_as(w, NOBODY);
    wait_for(w, &w->server.refusals, 1);
    assert_int_equal(w->server.why, STOA_E_DENIED);
    while (waitpid(child, &status, WNOHANG) == 0) {
        settle(&w->server);
        (void)poll(NULL, 0, 5);
    }
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);

    stoa_link_allowed list[2] = {{"root", "uid:0"}, {"nobody", "uid:65534"}};
    assert_int_equal(w->server.link->ops->allow(w->server.link, list, 2), STOA_OK);
    child = dial_as(w, NOBODY);
    wait_for(w, &w->server.frames, 1);
    assert_string_equal(w->server.identity, "nobody");
    assert_int_equal(w->server.link->ops->allow(w->server.link, list, 1), STOA_OK);
    wait_for(w, &w->server.downs, 1);
    while (waitpid(child, &status, WNOHANG) == 0) {
        settle(&w->server);
        (void)poll(NULL, 0, 5);
    }
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 1);
}

static void a_user_that_is_another_name_s_now_comes_again(void **state)
{
    world *w = *state;
    stoa_link_options listen = options_of(true);
    stoa_link_allowed row = {.name = "one"};
    (void)snprintf(row.public_key, sizeof row.public_key, "uid:%lu", (unsigned long)geteuid());
    listen.allowed = &row, listen.allowed_count = 1;
    listen_and_dial(w, &listen);
    send_number(&w->client, 0, 0);
    wait_for(w, &w->server.frames, 1);
    assert_string_equal(w->server.identity, "one");
    assert_int_equal(w->server.link->ops->allow(w->server.link, &row, 1), STOA_OK); /* nothing new */
    stoa_peer gone = w->server.peer;
    (void)snprintf(row.name, sizeof row.name, "other");
    send_number(&w->client, 0, 1);
    assert_int_equal(w->server.link->ops->allow(w->server.link, &row, 1), STOA_OK);
    assert_int_equal(w->server.link->ops->send(w->server.link, gone, "x", 1), STOA_E_CLOSED);
    wait_for(w, &w->server.downs, 1);
    assert_int_equal(w->server.frames, 1);
    wait_for(w, &w->server.ups, 2);
    wait_for(w, &w->client.ups, 2);
    assert_int_equal(w->server.refusals + w->client.refusals, 0);
    send_number(&w->client, 0, 0);
    wait_for(w, &w->server.frames, 1);
    assert_string_equal(w->server.identity, "other");
    assert_int_equal(w->server.disorders, 0);
}

static void bad_lists_are_refused_and_change_nothing(void **state)
{
    world *w = *state;
    stoa_link_options listen = options_of(true);
    listen_and_dial(w, &listen);
    stoa_link_allowed bad[][2] = {
        {{"a", "uid:1"}, {"b", "uid:1"}}, {{"a", "uid:1"}, {"", "uid:2"}},   {{"a", "uid:1"}, {"b", "uid:"}},
        {{"a", "uid:1"}, {"b", "uid:x"}}, {{"a", "uid:1"}, {"b", "uid:-1"}}, {{"a", "uid:1"}, {"b", "uid:4294967295"}},
        {{"a", "uid:1"}, {"b", "2"}},     {{"a", "uid:1"}, {"b", "uid:2 "}}, {{"a", "uid:1"}, {"b", "uid:+2"}},
    };
    for (unsigned i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        assert_int_equal(w->server.link->ops->allow(w->server.link, bad[i], 2), STOA_E_INVALID);
    }
    stoa_link *link = NULL;
    const char *names[] = {"shm://a/b", "shm://a b", "shm:///no/such/folder/x"};
    for (unsigned i = 0; i < sizeof names / sizeof names[0]; i++) {
        assert_true(stoa_link_open(names[i], &listen, &link) != STOA_OK);
        assert_null(link);
    }
    assert_undisturbed(w);
}

/* Somebody else has taken the name. */
static void a_listener_of_another_user_is_refused(void **state)
{
    world *w = *state;
    stoa_link_options listen = options_of(true), dial = options_of(false);
    end_open(&w->server, w->address, &listen);
    char key[32];
    (void)snprintf(key, sizeof key, "uid:%lu", (unsigned long)geteuid() + 1);
    dial.server_key = key;
    end_open(&w->client, w->address, &dial);
    wait_for(w, &w->client.refusals, 2);
    assert_int_equal(w->client.why, STOA_E_DENIED);
    assert_int_equal(w->client.ups + w->server.ups, 0);
}

/* --- processes that are killed and stopped */

/* Arguments: side, address. Streams numbered frames to whoever is up, as fast as they are taken. */
static int stream_main(char **arguments)
{
    world w = {0};
    stoa_link_options options = options_of(strcmp(arguments[0], "listen") == 0);
    end_open(&w.server, arguments[1], &options);
    uint8_t frame[FRAME_LIMIT] = {0};
    uint32_t number = 0;
    for (uint64_t until_ms = now_ms() + DEADLINE_MS; now_ms() < until_ms;) {
        uint32_t ups = w.server.ups;
        (void)comes(&w, &ups, UINT32_MAX, number ? 1 : 20);
        if (ups != w.server.ups) { number = 0; }
        stoa_err err = w.server.ups ? STOA_OK : STOA_E_CLOSED;
        while (!err) {
            memcpy(frame, &number, sizeof number);
            err = w.server.link->ops->send(w.server.link, w.server.peer, frame, size_of(number));
            number += !err;
        }
    }
    return 0;
}

static pid_t stream_spawn(const world *w, const char *side)
{
    char program[] = "/proc/self/exe", flag[] = "--stream", address[sizeof w->address], role[8];
    (void)snprintf(address, sizeof address, "%s", w->address);
    (void)snprintf(role, sizeof role, "%s", side);
    char *arguments[] = {program, flag, role, address, NULL};
    pid_t child = -1;
    assert_int_equal(posix_spawn(&child, program, NULL, NULL, arguments, environ), 0);
    return child;
}

static void kill_at_random(world *w, end *reader, const char *side, uint32_t rounds)
{
    for (uint32_t round = 0; round < rounds; round++) {
        uint32_t ups = reader->ups, downs = reader->downs;
        pid_t child = stream_spawn(w, side);
        wait_for(w, &reader->ups, ups + 1);
        wait_for(w, &reader->frames, 1);
        uint32_t later_ms = (uint32_t)stoa_random_below(&chance, 20);
        (void)comes(w, &reader->downs, downs + 1, later_ms);
        assert_int_equal(kill(child, SIGKILL), 0);
        wait_for(w, &reader->downs, downs + 1);
        assert_int_equal(waitpid(child, NULL, 0), child);
        assert_int_equal(reader->disorders, 0);
    }
}

static void a_writer_may_be_killed_at_any_moment(void **state)
{
    world *w = *state;
    stoa_link_options listen = options_of(true), dial = options_of(false);
    end_open(&w->server, w->address, &listen);
    kill_at_random(w, &w->server, "dial", 25);
    end_close(&w->server);
    end_open(&w->client, w->address, &dial);
    kill_at_random(w, &w->client, "listen", 25);
}

static void a_stopped_peer_is_down_and_comes_back(void **state)
{
    world *w = *state;
    stoa_link_options listen = options_of(true), dial = options_of(false);
    static const char *const sides[] = {"dial", "listen"};
    for (int i = 0; i < 2; i++) {
        end *reader = i == 0 ? &w->server : &w->client;
        end_open(reader, w->address, i == 0 ? &listen : &dial);
        pid_t child = stream_spawn(w, sides[i]);
        wait_for(w, &reader->frames, 1);
        assert_int_equal(kill(child, SIGSTOP), 0);
        wait_for(w, &reader->downs, 1);
        assert_int_equal(kill(child, SIGCONT), 0);
        wait_for(w, &reader->ups, 2);
        wait_for(w, &reader->frames, 1);
        assert_int_equal(kill(child, SIGKILL), 0);
        wait_for(w, &reader->downs, 2);
        assert_int_equal(waitpid(child, NULL, 0), child);
        assert_int_equal(reader->disorders, 0);
        end_close(reader);
    }
}

/* --- what is left behind */

typedef struct left {
    uint32_t descriptors, mappings, files;
} left;

static uint32_t entries(const char *folder, const char *containing)
{
    uint32_t count = 0;
    DIR *open = opendir(folder);
    for (const struct dirent *at; open && (at = readdir(open));) {
        count += strstr(at->d_name, containing) != NULL;
    }
    if (open) { closedir(open); }
    return count;
}

static left left_now(void)
{
    char line[512];
    left l = {.descriptors = entries("/proc/self/fd", ""), .files = entries("/dev/shm", "stoa")};
    FILE *maps = fopen("/proc/self/maps", "r");
    assert_non_null(maps);
    while (fgets(line, sizeof line, maps)) {
        l.mappings += strstr(line, "stoa-shm") != NULL;
    }
    (void)fclose(maps);
    return l;
}

static void a_thousand_connections_leave_nothing_behind(void **state)
{
    enum { CONNECTIONS = 1000 };
    world *w = *state;
    left before = left_now();
    stoa_link_options listen = options_of(true), dial = options_of(false);
    end_open(&w->server, w->address, &listen);
    left listening = left_now();
    for (uint32_t i = 0; i < CONNECTIONS; i++) {
        end_open(&w->client, w->address, &dial);
        wait_for(w, &w->client.ups, 1);
        wait_for(w, &w->server.ups, i + 1);
        send_number(&w->server, w->server.peer, 0);
        wait_for(w, &w->client.frames, 1);
        end_close(&w->client);
        wait_for(w, &w->server.downs, i + 1);
    }
    left after = left_now();
    assert_memory_equal(&listening, &after, sizeof after);
    end_close(&w->server);
    after = left_now();
    assert_memory_equal(&before, &after, sizeof after);
}

static void the_path_of_a_killed_listener_is_taken_over(void **state)
{
    world *w = *state;
    char folder[] = "/tmp/stoa-shm-XXXXXX";
    assert_non_null(mkdtemp(folder));
    (void)snprintf(w->name, sizeof w->name, "%s/link", folder);
    (void)snprintf(w->address, sizeof w->address, "shm://%s", w->name);
    stoa_link_options listen = options_of(true), dial = options_of(false);
    end_open(&w->client, w->address, &dial);
    pid_t child = stream_spawn(w, "listen");
    wait_for(w, &w->client.ups, 1);
    struct stat is;
    assert_int_equal(stat(w->name, &is), 0);
    assert_int_equal(is.st_mode & 0777, 0600);
    stoa_link *second = NULL;
    assert_int_equal(stoa_link_open(w->address, &listen, &second), STOA_E_EXISTS);
    assert_int_equal(kill(child, SIGKILL), 0);
    assert_int_equal(waitpid(child, NULL, 0), child);
    assert_int_equal(stat(w->name, &is), 0); /* left behind */
    end_open(&w->server, w->address, &listen);
    wait_for(w, &w->client.ups, 2);
    end_close(&w->client);
    end_close(&w->server);
    assert_int_equal(stat(w->name, &is), -1);
    FILE *precious = fopen(w->name, "w"); /* what is no socket of ours is not ours to remove */
    assert_non_null(precious);
    (void)fclose(precious);
    assert_int_equal(stoa_link_open(w->address, &listen, &second), STOA_E_EXISTS);
    assert_int_equal(unlink(w->name), 0);
    assert_int_equal(rmdir(folder), 0);
}

/* --- spinning */

static void who_spins_is_not_woken_and_who_stops_is(void **state)
{
    world *w = *state;
    stoa_link_options listen = options_of(true);
    listen_and_dial(w, &listen);
    stoa_link_spin(w->client.link, true);
    settle(&w->client);
    for (uint32_t i = 0; i < 10; i++) {
        send_number(&w->server, w->server.peer, i);
        settle(&w->server);
        for (uint64_t until_ms = now_ms() + DEADLINE_MS; w->client.frames <= i && now_ms() < until_ms;) {
            settle(&w->client);
        }
        assert_int_equal(w->client.frames, i + 1);
    }
    stoa_link_spin(w->client.link, false);
    settle(&w->client);
    for (uint32_t i = 10; i < 100; i++) {
        send_number(&w->server, w->server.peer, i);
        settle(&w->server);
        end server = w->server;
        w->server.link = NULL; /* only the client's own descriptor can wake it */
        wait_for(w, &w->client.frames, i + 1);
        w->server.link = server.link;
    }
    assert_int_equal(w->client.disorders, 0);
}

/* By the other side, at once: not by the next beat, which would do it too. */
static void who_sleeps_is_woken_by_a_frame_and_by_room(void **state)
{
    enum { ROUNDS = 100 };
    world *w = *state;
    stoa_link_options listen = options_of(true);
    listen_and_dial(w, &listen);
    for (uint32_t round = 0, number = 0; round < ROUNDS; round++) {
        settle(&w->client);
        send_number(&w->server, w->server.peer, number++);
        settle(&w->server);
        assert_true(is_readable(&w->client));
        settle(&w->client);
        assert_int_equal(w->client.frames, number);

        uint8_t frame[FRAME_LIMIT] = {0};
        stoa_err err = STOA_OK;
        while (!err) {
            memcpy(frame, &number, sizeof number);
            err = w->server.link->ops->send(w->server.link, w->server.peer, frame, size_of(number));
            number += !err;
        }
        assert_int_equal(err, STOA_E_FULL);
        settle(&w->server);
        settle(&w->client);
        assert_true(is_readable(&w->server));
        assert_int_equal(w->client.frames, number);
        settle(&w->server);
    }
    assert_int_equal(w->client.disorders, 0);
}

int main(int argc, char **argv)
{
    if (argc == 4 && strcmp(argv[1], "--stream") == 0) { return stream_main(argv + 2); }
    if (argc == 2) { cmocka_set_test_filter(argv[1]); }
    const char *given = getenv("STOA_TEST_SEED");
    uint64_t seed = given ? strtoull(given, NULL, 10) : (uint64_t)time(NULL);
    (void)printf("STOA_TEST_SEED=%llu\n", (unsigned long long)seed);
    stoa_random_seed(&chance, seed);
#define IN_WORLD(test) cmocka_unit_test_setup_teardown(test, world_open, world_close)
    const struct CMUnitTest tests[] = {
        IN_WORLD(strangers_are_refused_by_name),
        IN_WORLD(hostile_memory_is_a_named_refusal),
        IN_WORLD(a_flood_of_rings_holds_nobody_up),
        IN_WORLD(a_poll_ends_whoever_rings),
        IN_WORLD(who_says_nothing_shuts_nobody_out),
        IN_WORLD(users_are_let_in_by_list),
        IN_WORLD(a_user_that_is_another_name_s_now_comes_again),
        IN_WORLD(bad_lists_are_refused_and_change_nothing),
        IN_WORLD(a_listener_of_another_user_is_refused),
        IN_WORLD(a_writer_may_be_killed_at_any_moment),
        IN_WORLD(a_stopped_peer_is_down_and_comes_back),
        IN_WORLD(a_thousand_connections_leave_nothing_behind),
        IN_WORLD(the_path_of_a_killed_listener_is_taken_over),
        IN_WORLD(who_sleeps_is_woken_by_a_frame_and_by_room),
        IN_WORLD(who_spins_is_not_woken_and_who_stops_is),
    };
    return cmocka_run_group_tests_name("shm/link.h", tests, NULL, NULL);
}
