/* channels.c - chaos_channels: four shards on two cores, each with a RocksDB of its own, whose purses mail money to each other
 * until the process is killed. Driven by channels_test.py.
 *
 *     chaos_channels FOLDER SEED NUMBER...     NUMBER: of each purse's last payment that was acknowledged before
 *
 * It opens what is in FOLDER, waits until all that is under way has arrived or come back, and checks: nothing acknowledged is
 * gone, as many payments arrived or came back as were sent (the purses themselves assert that each came once and in order), all
 * money is there, each shard sums to zero, and a replay of each log gives the live state. Then it prints "good SENT" and begins to
 * pay; "PURSE NUMBER" is a payment that was acknowledged. It ends when its input does.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include <inttypes.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/random.h"
#include "storage/rocksdb/journal.h"
#include "tests/sim/purse.h"

enum { SHARDS = 4, PURSES = 2 * SHARDS, CORES = 2, PAYERS = 4, QUIET_MS = 60000 };
static const char *const shard_names[SHARDS] = {"north", "east", "south", "west"};
#define DEADLINE STOA_S(60)

static stoa_node *node;
static stoa_shard *shards[SHARDS];
static stoa_ref purses[PURSES];
static uint64_t seed;

static void die(const char *what)
{
    (void)fprintf(stderr, "%s: %s\n", what, stoa_err_trail());
    exit(1);
}

static void check(bool good, const char *what)
{
    if (good) { return; }
    (void)fprintf(stderr, "wrong: %s\n", what);
    exit(3);
}

static void pause_ms(long ms)
{
    struct timespec wait = {ms / 1000, ms % 1000 * 1000000};
    (void)nanosleep(&wait, NULL);
}

static void purse_name(uint32_t index, char *name, size_t size)
{
    (void)snprintf(name, size, "purse/%s%u", shard_names[index / 2], index % 2);
}

static stoa_text62 text(const char *from)
{
    stoa_text62 out = {0};
    if (STOA_TEXT_SETZ(&out, from)) { die(from); }
    return out;
}

static void open_all(const char *folder)
{
    static const stoa_kind *const kinds[] = {&purse_kind, NULL};
    if (stoa_node_open(&(stoa_options){.cores = CORES, .kinds = kinds, .seed = seed}, &node)) { die("node"); }
    for (uint32_t i = 0; i < SHARDS; i++) {
        char path[512];
        (void)snprintf(path, sizeof path, "%s/%s", folder, shard_names[i]);
        stoa_shard_options options = {.name = shard_names[i], .core = i % CORES, .durability = stoa_durability_DISK,
                                      .journal = &stoa_journal_rocksdb, .path = path};
        if (stoa_shard_open(node, &options, &shards[i])) { die("shard"); }
    }
    for (uint32_t i = 0; i < PURSES; i++) {
        char name[64], next[64];
        purse_linked linked;
        purse_name(i, name, sizeof name);
        purse_name((i + 2) % PURSES, next, sizeof next);
        if (stoa_spawn(node, &purse_kind, name, &(stoa_spawn_options){.shard = shards[i / 2]}, &purses[i])) { die(name); }
        purse_link link = {.index = i, .sibling = (i ^ 1) % 2 + 1, .next = text(next)};
        if (purse_call_link(node, purses[i], link, DEADLINE, &linked)) { die(name); }
    }
}

/* --- checking */

static void count_waiting(void *context, const stoa_channel_view *view)
{
    check(strcmp(view->status, "forked") != 0, view->forked);
    *(uint64_t *)context += view->waiting + (strcmp(view->status, "runs") != 0);
}

static uint64_t count_sent(purse_books books[PURSES])
{
    uint64_t sent = 0;
    for (uint32_t i = 0; i < PURSES; i++) {
        if (purse_call_look(node, purses[i], (purse_look){{0}}, DEADLINE, &books[i])) { die("look"); }
        sent += books[i].sent;
    }
    return sent;
}

/* Until nothing waits, and nothing was handed on meanwhile. */
static void wait_for_quiet(purse_books books[PURSES])
{
    for (int ms = 0; ms < QUIET_MS; ms++) {
        uint64_t before = count_sent(books), waiting = 0;
        for (uint32_t i = 0; i < SHARDS; i++) { stoa_channels(shards[i], count_waiting, &waiting); }
        if (!waiting && count_sent(books) == before) { return; }
        pause_ms(1);
    }
    check(false, "the channels do not come to rest");
}

static void check_books(const purse_books books[PURSES], char **acknowledged)
{
    int64_t money = 0;
    uint64_t sent = 0, got = 0, back = 0;
    for (uint32_t i = 0; i < PURSES; i++) {
        const purse_books *b = &books[i];
        money += b->free;
        sent += b->sent;
        got += b->got;
        back += b->back;
        check(b->free + b->transit == 0, "a shard does not sum to zero");
        check(b->number >= strtoull(acknowledged[i], NULL, 10), "an acknowledged payment is gone");
    }
    check(money == 0, "money was lost or made");
    check(sent == got + back, "not everything that was sent has arrived or come back");
    for (uint32_t i = 0; i < SHARDS; i++) {
        stoa_shard_view live;
        uint64_t hash = 0, events = 0;
        if (stoa_shard_look(shards[i], &live) || stoa_shard_replay(shards[i], live.applied, &hash, &events)) { die("replay"); }
        check(events == live.applied && hash == live.hash, "the replay differs from the live state");
    }
    printf("good %" PRIu64 "\n", sent);
    (void)fflush(stdout);
}

/* --- paying */

static purse_pay random_pay(stoa_random *random)
{
    char name[64], full[96];
    uint32_t to = (uint32_t)stoa_random_below(random, PURSES);
    purse_name(to, name, sizeof name);
    (void)snprintf(full, sizeof full, "%s:%s", shard_names[to / 2], stoa_random_below(random, 16) ? name : "purse/nobody");
    return (purse_pay){.amount = 1 + stoa_random_below(random, 100), .hops = stoa_random_below(random, 4), .to = text(full)};
}

static void *pay(void *context)
{
    uint32_t from = (uint32_t)(uintptr_t)context;
    stoa_random random;
    stoa_random_seed(&random, seed * PURSES + from);
    for (;;) {
        purse_paid paid;
        char line[64];
        uint32_t burst = (uint32_t)stoa_random_below(&random, 8);
        for (uint32_t i = 0; i < burst; i++) { /* as they come: nobody waits for these */
            purse_pay p = random_pay(&random);
            (void)(i % 2 ? purse_post_push(node, purses[from], (purse_push){p.amount, p.hops, p.to})
                         : purse_post_nudge(node, purses[from], (purse_nudge){p.amount, p.hops, p.to}));
        }
        if (purse_call_pay(node, purses[from], random_pay(&random), DEADLINE, &paid)) { continue; }
        int size = snprintf(line, sizeof line, "%u %" PRIu64 "\n", from, paid.number);
        if (write(STDOUT_FILENO, line, (size_t)size) != size) { return NULL; }
    }
}

int main(int argc, char **argv)
{
    static purse_books books[PURSES];
    if (argc != 3 + PURSES) { return 2; }
    seed = strtoull(argv[2], NULL, 10);
    open_all(argv[1]);
    wait_for_quiet(books);
    check_books(books, argv + 3);
    for (uint32_t i = 0; i < PAYERS; i++) {
        pthread_t thread;
        if (pthread_create(&thread, NULL, pay, (void *)(uintptr_t)(2 * i + seed % 2))) { return 1; }
    }
    struct pollfd in = {.fd = STDIN_FILENO, .events = POLLIN};
    (void)poll(&in, 1, -1);
    _exit(0);
}
