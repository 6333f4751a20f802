/* apart.c - chaos_apart: one of two nodes whose shards mail money to each other over a link, beside casts and asks from node to node,
 * until it is killed. Driven by apart_test.py.
 *
 *     chaos_apart SIDE FOLDER ADDRESS KEY=VALUE...     SIDE: 0 listens, 1 dials
 *     incarnation, seed                  numbers
 *     net                                path of a network namespace to live in
 *     secret, public, theirs             keys, as chaos_talker's
 *
 * It opens what is in FOLDER, meets the other node, says "up", and then does what it is told, a line each:
 *
 *     pay            begin to pay; "paid PURSE NUMBER" is a payment that was acknowledged
 *     rest           no more payments; "resting" once those under way have ended
 *     look           "look WAITING BOOKS": messages that wait, and channels that do not run; money, sent, got, back of all purses
 *     heard          "heard COUNT LIVES RESETS": of the other's gossip (gossip.h), which never rests
 *     audit N...     N: of each purse's last payment that was acknowledged. Nothing acknowledged is gone, each shard sums to zero, a
 *                    replay of each log gives the live state: "good"
 *
 * It dies with its input.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/random.h"
#include "cluster/remote/remote.h"
#include "storage/rocksdb/journal.h"
#include "tests/chaos/driven.h"
#include "tests/chaos/gossip.h"
#include "tests/chaos/net.h"
#include "tests/sim/purse_names.h"

enum { PAYERS = 2 };
static const char *const gossip_names[SIDES] = {"gossip/a", "gossip/b"};
#define DEADLINE STOA_S(60)

static stoa_node *node;
static stoa_shard *shards[SHARDS];
static stoa_ref purses[PURSES];
static stoa_remote *remote;
static uint32_t side;
static uint64_t seed;
static _Atomic bool paying;
static _Atomic uint32_t busy;

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

static void say(const char *line)
{
    size_t size = strlen(line);
    if (write(STDOUT_FILENO, line, size) != (ssize_t)size) { exit(0); }
}

static void pause_ms(long ms)
{
    struct timespec wait = {ms / 1000, ms % 1000 * 1000000};
    (void)nanosleep(&wait, NULL);
}

/* --- who is who */

static void open_shard(const char *folder, uint32_t i)
{
    char path[512];
    (void)snprintf(path, sizeof path, "%s/%s", folder, shard_names[side][i]);
    stoa_shard_options options = {.name = shard_names[side][i], .core = i, .durability = stoa_durability_DISK,
                                  .journal = &stoa_journal_rocksdb, .path = path};
    if (stoa_shard_open(node, &options, &shards[i])) { die("shard"); }
}

static void open_purse(uint32_t i)
{
    char name[80];
    purse_linked linked;
    purse_address(side, i, false, name, sizeof name);
    if (stoa_spawn(node, &purse_kind, strchr(name, ':') + 1, &(stoa_spawn_options){.shard = shards[i / 2]}, &purses[i])) { die(name); }
    if (purse_call_link(node, purses[i], purse_link_of(side, i), DEADLINE, &linked)) { die(name); }
}

static void open_node(const char *folder)
{
    static const stoa_kind *const kinds[] = {&purse_kind, NULL};
    if (stoa_node_open(&(stoa_options){.cores = SHARDS, .kinds = kinds, .seed = seed}, &node)) { die("node"); }
    for (uint32_t i = 0; i < SHARDS; i++) { open_shard(folder, i); }
    for (uint32_t i = 0; i < PURSES; i++) { open_purse(i); }
    stoa_ref ref;
    if (stoa_spawn(node, &gossip_kind, gossip_names[side], &(stoa_spawn_options){.core = SHARDS - 1}, &ref)) { die("gossip"); }
}

static void meet(const char *address, char **argv)
{
    static const stoa_kind *const kinds[] = {&purse_kind, &gossip_kind, NULL};
    static const stoa_remote_events events = {.peer = gossip_reported};
    const char *theirs = value_of(argv, "theirs");
    stoa_link_allowed allowed = {0};
    stoa_remote_link link = {.uri = address, .peer = side ? node_names[0] : NULL};
    link.link.listen = side == 0;
    link.link.fenced = true; /* two namespaces, and nobody else in them */
    link.link.secret_key = value_of(argv, "secret");
    link.link.public_key = value_of(argv, "public");
    if (theirs && side == 0) {
        (void)snprintf(allowed.name, sizeof allowed.name, "%s", node_names[1]);
        (void)snprintf(allowed.public_key, sizeof allowed.public_key, "%s", theirs);
        link.link.allowed = &allowed;
        link.link.allowed_count = 1;
    } else {
        link.link.server_key = theirs;
    }
    stoa_remote_options options = {.node = node,
                                   .name = node_names[side],
                                   .incarnation = number_of(argv, "incarnation"),
                                   .epoch = 1,
                                   .kinds = kinds,
                                   .links = &link,
                                   .link_count = 1,
                                   .events = &events};
    if (stoa_remote_start(&options, &remote)) { die("remote"); }
}

static void gossip_begin(uint64_t life)
{
    static gossiper talks;
    pthread_t thread;
    talks = (gossiper){.node = node, .to = gossip_names[1 - side], .life = life, .timeout_ns = DEADLINE};
    if (pthread_create(&thread, NULL, gossip_run, &talks)) { die("gossip"); }
}

/* --- paying */

static purse_pay random_pay(stoa_random *random)
{
    char address[96];
    uint32_t to = (uint32_t)stoa_random_below(random, PURSES), of = stoa_random_below(random, 4) ? 1 - side : side;
    purse_address(of, to, of != side, address, sizeof address);
    if (!stoa_random_below(random, 16)) { purse_nobody(of, to, of != side, address, sizeof address); }
    return (purse_pay){.amount = 1 + stoa_random_below(random, 100), .hops = stoa_random_below(random, 4), .to = purse_text(address)};
}

static void pay_some(stoa_random *random, uint32_t from)
{
    purse_paid paid;
    char line[64];
    uint32_t burst = (uint32_t)stoa_random_below(random, 64);
    for (uint32_t i = 0; i < burst; i++) { /* nobody waits for these */
        purse_pay p = random_pay(random);
        (void)purse_post_push(node, purses[from], (purse_push){p.amount, p.hops, p.to});
    }
    if (purse_call_pay(node, purses[from], random_pay(random), DEADLINE, &paid)) {
        pause_ms(1); /* no room, or a shard that nobody has heard of yet */
        return;
    }
    (void)snprintf(line, sizeof line, "paid %u %" PRIu64 "\n", from, paid.number);
    say(line);
}

static void *pay(void *context)
{
    uint32_t at = (uint32_t)(uintptr_t)context;
    stoa_random random;
    stoa_random_seed(&random, seed * PAYERS + at);
    for (;;) {
        atomic_fetch_add(&busy, 1);
        bool now = atomic_load(&paying);
        if (now) { pay_some(&random, 2 * at + (uint32_t)stoa_random_below(&random, 2)); }
        atomic_fetch_sub(&busy, 1);
        if (!now) { pause_ms(2); }
    }
    return NULL;
}

/* --- what it is told */

static void on_pay(char *rest)
{
    (void)rest;
    atomic_store(&paying, true);
}

static void on_rest(char *rest)
{
    (void)rest;
    atomic_store(&paying, false);
    while (atomic_load(&busy)) { pause_ms(1); } /* a look between two turns finds one at rest */
    say("resting\n");
}

static void count_waiting(void *context, const stoa_channel_view *view)
{
    check(strcmp(view->status, "forked") != 0, view->forked);
    *(uint64_t *)context += view->waiting + (strcmp(view->status, "runs") != 0);
}

static void look(purse_books all[PURSES])
{
    for (uint32_t i = 0; i < PURSES; i++) {
        if (purse_call_look(node, purses[i], (purse_look){{0}}, DEADLINE, &all[i])) { die("look"); }
    }
}

static void on_look(char *rest)
{
    purse_books all[PURSES], sum = {0};
    uint64_t waiting = 0;
    char line[160];
    (void)rest;
    for (uint32_t i = 0; i < SHARDS; i++) { stoa_channels(shards[i], count_waiting, &waiting); }
    look(all);
    for (uint32_t i = 0; i < PURSES; i++) {
        sum.free += all[i].free;
        sum.sent += all[i].sent;
        sum.got += all[i].got;
        sum.back += all[i].back;
    }
    (void)snprintf(line, sizeof line, "look %" PRIu64 " %" PRId64 " %" PRIu64 " %" PRIu64 " %" PRIu64 "\n", waiting, sum.free, sum.sent,
                   sum.got, sum.back);
    say(line);
}

static void on_heard(char *rest)
{
    char line[160];
    (void)rest;
    (void)snprintf(line, sizeof line, "heard %" PRIu64 " %" PRIu64 " %" PRIu64 "\n", atomic_load(&gossip_count), atomic_load(&gossip_lives),
                   atomic_load(&gossip_resets));
    say(line);
}

static void on_audit(char *rest)
{
    purse_books all[PURSES];
    look(all);
    for (uint32_t i = 0; i < PURSES; i++) {
        check(all[i].free + all[i].transit == 0, "a purse does not sum to zero");
        check(all[i].number >= strtoull(rest, &rest, 10), "an acknowledged payment is gone");
    }
    for (uint32_t i = 0; i < SHARDS; i++) {
        stoa_shard_view live;
        uint64_t hash = 0, events = 0;
        if (stoa_shard_look(shards[i], &live) || stoa_shard_replay(shards[i], live.applied, &hash, &events)) { die("replay"); }
        check(events == live.applied && hash == live.hash, "the replay differs from the live state");
    }
    say("good\n");
}

static void obey(char *line)
{
    static const struct {
        const char *word;
        void (*obey)(char *rest);
    } words[] = {{"pay", on_pay}, {"rest", on_rest}, {"look", on_look}, {"heard", on_heard}, {"audit", on_audit}};
    char *rest = line + strcspn(line, " \n");
    if (*rest) { *rest++ = '\0'; }
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++) {
        if (strcmp(line, words[i].word) == 0) {
            words[i].obey(rest);
            return;
        }
    }
    check(false, line);
}

int main(int argc, char **argv)
{
    char line[512];
    if (argc < 4) { return 2; }
    side = (uint32_t)strtoul(argv[1], NULL, 10);
    seed = number_of(argv, "seed");
    const char *net = value_of(argv, "net");
    if (net) { net_enter(net); }
    open_node(argv[2]);
    meet(argv[3], argv);
    for (uint32_t i = 0; i < PAYERS; i++) {
        pthread_t thread;
        if (pthread_create(&thread, NULL, pay, (void *)(uintptr_t)i)) { return 1; }
    }
    gossip_begin(number_of(argv, "incarnation"));
    say("up\n");
    while (fgets(line, sizeof line, stdin)) { obey(line); }
    _exit(0);
}
