/* link_put_death_test.c - goal: a process that ends amid one-sided writes is a down to the other side, whoever of the two wrote, and nothing
 * else. Method: a child process puts, or is put to, and is killed at a moment that chance chooses, many times over. Choices come
 * from a printed seed; set STOA_TEST_SEED to repeat.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/random.h"
#include "tests/contract/link_end.h"

enum { PIECE_MAX = 65536, FRAME_LIMIT = 65536, DEATHS = 15, DEATHS_DEEP = 200, MEMORY_BYTES = 1 << 20 };

static const char ucx[] = "ucx+tcp://127.0.0.1:0", ofi[] = "ofi+tcp://127.0.0.1:0";

static stoa_random chance;

static stoa_link_window got;

static void on_window(void *context, stoa_peer peer, const char *identity, const void *bytes, uint32_t size_bytes)
{
    (void)peer, (void)identity;
    assert_int_equal(size_bytes, sizeof got);
    memcpy(&got, bytes, sizeof got);
    ((end *)context)->frames++;
}

/* Put pieces of all sizes to the window that comes in a frame, as long as the link takes them. */
static void put_many(end *e, const uint8_t *bytes, uint64_t *asked)
{
    bool moved = false;
    while (e->frames > 0) {
        uint32_t size_bytes = 1 + (uint32_t)stoa_random_below(&chance, stoa_random_chance(&chance, 500) ? PIECE_MAX : 100);
        uint64_t offset = stoa_random_below(&chance, MEMORY_BYTES - size_bytes);
        if (e->link->ops->put(e->link, e->peer, &got, offset, bytes + offset, size_bytes)) { break; }
        moved = true;
    }
    if (moved && e->link->ops->flush(e->link, e->peer, *asked + 1) == STOA_OK) { ++*asked; }
}

static void poll_and_sleep(end *e, int sleep_ms)
{
    stoa_link_events events = {on_window, on_down, on_up, on_refused, on_flushed, e};
    while (e->link->ops->poll(e->link, &events, 16) == 16) {}
    struct pollfd fd = {.fd = e->link->ops->fd(e->link), .events = POLLIN};
    (void)poll(&fd, 1, sleep_ms);
}

/* Expose memory to whoever comes, and give the window to each. */
static void window_offer(end *e, const stoa_link_window *window, uint32_t *offered)
{
    if (*offered < e->ups) { *offered += e->link->ops->send(e->link, e->peer, window, sizeof *window) == STOA_OK; }
}

/* The one that dies: dials and puts, or listens and is put to. Prints where it listens. */
static int victim_main(const char *how, const char *address)
{
    static end e = {.may_lose = true};
    bool puts = strcmp(how, "--puts") == 0;
    stoa_link_window window = {0};
    stoa_link_options options = {.listen = !puts, .frame_limit = FRAME_LIMIT, .queue_frames = 64};
    uint8_t *memory = calloc(1, MEMORY_BYTES);
    uint64_t asked = 0;
    uint32_t offered = 0;
    if (!memory || stoa_link_open(address, &options, &e.link)) { return 1; }
    if (!puts && e.link->ops->expose(e.link, memory, MEMORY_BYTES, &window)) { return 1; }
    if (!puts) { (void)printf("%s\n", e.link->ops->address(e.link)), (void)fflush(stdout); }
    for (;;) {
        poll_and_sleep(&e, e.frames > 0 ? 0 : 10);
        put_many(&e, memory, &asked);
        if (!puts) { window_offer(&e, &window, &offered); }
    }
}

static pid_t victim_spawn(const char *how, const char *address, char *line, int line_bytes)
{
    int ends[2];
    char flag[16], program[] = "/proc/self/exe", at[128];
    (void)snprintf(flag, sizeof flag, "%s", how);
    (void)snprintf(at, sizeof at, "%s", address);
    char *arguments[] = {program, flag, at, NULL};
    posix_spawn_file_actions_t actions;
    pid_t child = -1;
    assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
    assert_int_equal(posix_spawn_file_actions_init(&actions), 0);
    assert_int_equal(posix_spawn_file_actions_adddup2(&actions, ends[1], STDOUT_FILENO), 0);
    assert_int_equal(posix_spawn(&child, program, &actions, NULL, arguments, environ), 0);
    (void)posix_spawn_file_actions_destroy(&actions);
    (void)close(ends[1]);
    if (!line) { /* it has nothing to say */
        (void)close(ends[0]);
        return child;
    }
    FILE *from = fdopen(ends[0], "r");
    assert_non_null(from);
    assert_non_null(fgets(line, line_bytes, from));
    line[strcspn(line, "\n")] = '\0';
    (void)fclose(from);
    return child;
}

static uint32_t deaths(void)
{
    return getenv("STOA_DEEP") ? DEATHS_DEEP : DEATHS;
}

static void killed_after(pid_t child, uint32_t rounds, uint32_t dies_at)
{
    if (rounds == dies_at) { (void)kill(child, SIGKILL); }
}

/* The other side's process ends amid what is put to it: that is a down, like any other, whatever the provider was doing. */
static void who_dies_while_it_is_put_to_is_down(void **state)
{
    const char *address = *state;
    uint8_t *bytes = calloc(1, MEMORY_BYTES);
    assert_non_null(bytes);
    for (uint32_t i = 0; i < deaths(); i++) {
        char at[128];
        end e = {.may_lose = true};
        pid_t child = victim_spawn("--window", address, at, sizeof at);
        stoa_link_options options = {.frame_limit = FRAME_LIMIT, .queue_frames = 64};
        assert_int_equal(stoa_link_open(at, &options, &e.link), STOA_OK);
        uint64_t asked = 0;
        uint32_t rounds = 0, dies_at = 1 + (uint32_t)stoa_random_below(&chance, 200);
        for (; e.downs == 0; rounds += e.frames > 0) {
            poll_and_sleep(&e, e.frames > 0 ? 0 : 10);
            put_many(&e, bytes, &asked);
            killed_after(child, rounds, dies_at);
        }
        e.link->ops->close(e.link, 0);
        assert_int_equal(waitpid(child, NULL, 0), child);
    }
    free(bytes);
}

/* And so it is with one that ends while it puts: what it put may need answers. */
static void who_dies_while_it_puts_is_down(void **state)
{
    const char *address = *state;
    uint8_t *memory = calloc(1, MEMORY_BYTES);
    end e = {.may_lose = true};
    stoa_link_window window;
    stoa_link_options options = {.listen = true, .frame_limit = FRAME_LIMIT, .queue_frames = 64};
    assert_non_null(memory);
    assert_int_equal(stoa_link_open(address, &options, &e.link), STOA_OK);
    assert_int_equal(e.link->ops->expose(e.link, memory, MEMORY_BYTES, &window), STOA_OK);
    uint32_t offered = 0;
    for (uint32_t i = 0; i < deaths(); i++) {
        pid_t child = victim_spawn("--puts", e.link->ops->address(e.link), NULL, 0);
        uint32_t rounds = 0, dies_at = 1 + (uint32_t)stoa_random_below(&chance, 200);
        for (; e.downs <= i; rounds += offered > i) {
            poll_and_sleep(&e, offered > i ? 1 : 10);
            window_offer(&e, &window, &offered);
            killed_after(child, rounds, dies_at);
        }
        assert_int_equal(waitpid(child, NULL, 0), child);
    }
    e.link->ops->close(e.link, 0);
    free(memory);
}

#define TEST(name, over)                                                                                               \
    {                                                                                                                  \
#over ": " #name, name, NULL, NULL, (void *)(uintptr_t)(over)                                                  \
    }

int main(int argc, char **argv)
{
    const char *given = getenv("STOA_TEST_SEED");
    uint64_t seed = given ? strtoull(given, NULL, 10) : (uint64_t)time(NULL);
    stoa_random_seed(&chance, seed + (uint64_t)getpid());
    if (argc == 3) { return victim_main(argv[1], argv[2]); }
    stoa_random_seed(&chance, seed);
    (void)printf("STOA_TEST_SEED=%llu\n", (unsigned long long)seed);
    const struct CMUnitTest tests[] = {
        TEST(who_dies_while_it_is_put_to_is_down, ucx),
        TEST(who_dies_while_it_puts_is_down, ucx),
        TEST(who_dies_while_it_is_put_to_is_down, ofi),
        TEST(who_dies_while_it_puts_is_down, ofi),
    };
    return cmocka_run_group_tests_name("transport/link.h, one-sided, deaths", tests, NULL, NULL);
}
