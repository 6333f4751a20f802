/* effect_node.c - a node whose actor has things done outside, for integration/outbox_test.py: each charge is an effect, and a
 * port has it done by a server on a socket.
 *
 *     effect_node FOLDER PORT     the journal's folder; where the server listens on this machine
 *
 * From each line on standard input, a number: charge it, and say "ok NUMBER" when that is on disk. "outbox" says how many effects are
 * pending and were done; "hash" the position and hash of the state, "hash POSITION" of what the log says it was there; "quit" closes
 * the node. To the server: "do NAME NUMBER", or "ask NAME" first for what comes again; it
 * answers "done", or "unknown".
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include <arpa/inet.h>
#include <inttypes.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "runtime/stoa.h"
#include "storage/rocksdb/journal.h"

enum { CHARGES_MAX = 1 << 16 };

#define till_pay_FIELDS(F, S) F(S, uint64_t, number)
#define till_ROWS(ROW, K)     ROW(K, CAST, pay, _, "Pay outside.")
STOA_TABLE_HERE(till)
STOA_PROXY(till)

#define biller_charge_FIELDS(F, S)  F(S, uint64_t, number)
#define biller_done_FIELDS(F, S)    F(S, uint64_t, number)
#define biller_charged_FIELDS(F, S) F(S, uint64_t, number)
#define biller_ROWS(ROW, K)                                                                                            \
    ROW(K, COMMAND, charge, done, "Charge, once.")                                                                     \
    ROW(K, REPLY, done, _, "Charged.")                                                                                 \
    ROW(K, EVENT, charged, _, "It was charged.")
STOA_TABLE_HERE(biller)
typedef struct biller {
    uint8_t charged[CHARGES_MAX];
} biller;
#define biller_HEARS STOA_HEARS_NOTHING
STOA_KIND(biller, .mailbox_limit = 256)

static stoa_err biller_on_charge(stoa_turn *turn, const biller *self, const biller_charge *in, biller_done *out)
{
    if (in->number >= CHARGES_MAX) { return STOA_E_RANGE; }
    out->number = in->number;
    if (self->charged[in->number]) { return STOA_OK; }
    stoa_err err = biller_emit_charged(turn, (biller_charged){in->number});
    return err ? err : till_effect_pay(turn, (till_pay){in->number});
}

static void biller_apply_charged(biller *self, const biller_charged *event)
{
    self->charged[event->number]++;
}

/* --- the outside */

static int outside = -1;
static FILE *from_outside;
static atomic_bool ending;

static bool dial(const char *port)
{
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(port)), .sin_addr = {htonl(INADDR_LOOPBACK)}};
    outside = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (outside < 0 || connect(outside, (const struct sockaddr *)(const void *)&to, sizeof to)) { return false; }
    from_outside = fdopen(outside, "r");
    return from_outside != NULL;
}

/* Say something, and whether the answer is "done". */
static bool outside_says_done(const char *what, const char *name, uint64_t number)
{
    char line[160];
    int size = snprintf(line, sizeof line, "%s %s %" PRIu64 "\n", what, name, number);
    if (write(outside, line, (size_t)size) != size || !fgets(line, sizeof line, from_outside)) { exit(3); }
    return strcmp(line, "done\n") == 0;
}

static void serve(void *context, const stoa_delivery *d)
{
    char name[STOA_EFFECT_TEXT];
    const till_pay *pays = d->payload;
    if (!d->effect) { return; }
    (void)stoa_effect_text(d->effect, name);
    bool done = d->effect->again && outside_says_done("ask", name, pays->number);
    if (!done) { done = outside_says_done("do", name, pays->number); }
    if (done && stoa_port_effected(context, d->effect, STOA_OK)) { exit(4); }
}

static void *serve_main(void *context)
{
    stoa_port *port = context;
    while (!atomic_load(&ending)) {
        struct pollfd bell = {.fd = stoa_port_fd(port), .events = POLLIN};
        (void)poll(&bell, 1, 10);
        (void)stoa_port_poll(port, serve, port, 16);
        stoa_port_flush(port);
    }
    return NULL;
}

/* --- */

static void say_outbox(stoa_shard *shard)
{
    stoa_outbox_view view;
    stoa_shard_outbox(shard, &view, NULL, NULL);
    (void)printf("outbox %u %" PRIu64 " %" PRIu64 "\n", view.pending, view.done, view.failed);
    (void)fflush(stdout);
}

/* Of the running state, or of a replay up to a position. */
static void say_hash(stoa_shard *shard, uint64_t position)
{
    stoa_shard_view live;
    uint64_t hash = 0, events = 0;
    stoa_err err = position ? stoa_shard_replay(shard, position, &hash, &events) : stoa_shard_look(shard, &live);
    if (err) { exit(6); }
    (void)printf("hash %" PRIu64 " %" PRIx64 "\n", position ? position : live.applied, position ? hash : live.hash);
    (void)fflush(stdout);
}

/* A full outbox is an answer: what is outside is slower than the disk. */
static void charge(stoa_node *node, stoa_ref to, uint64_t number)
{
    static const struct timespec wait = {0, 1000000};
    biller_done done;
    stoa_err err;
    while ((err = biller_call_charge(node, to, (biller_charge){number}, STOA_S(60), &done)) == STOA_E_FULL) {
        (void)nanosleep(&wait, NULL);
    }
    if (err) {
        (void)fprintf(stderr, "%s\n", stoa_err_trail());
        exit(5);
    }
    (void)printf("ok %" PRIu64 "\n", number);
    (void)fflush(stdout);
}

int main(int argc, char **argv)
{
    stoa_node *node;
    stoa_shard *shard;
    stoa_port *port;
    stoa_ref to;
    pthread_t thread;
    char line[64];
    if (argc != 3 || !dial(argv[2])) { return 2; }
    stoa_options options = {.cores = 1, .kinds = STOA_KINDS(&biller_kind), .snapshot_events = 50};
    stoa_err err = stoa_node_open(&options, &node);
    stoa_shard_options in = {.name = "bills", .durability = stoa_durability_DISK, .journal = &stoa_journal_rocksdb, .path = argv[1]};
    if (!err) { err = stoa_shard_open(node, &in, &shard); }
    if (!err) { err = stoa_spawn(node, &biller_kind, "biller/b", &(stoa_spawn_options){.shard = shard}, &to); }
    if (!err) { err = stoa_port_open(node, "till", &port); }
    if (!err) { err = stoa_port_serve(port, &till_table); }
    if (err || pthread_create(&thread, NULL, serve_main, port)) {
        (void)fprintf(stderr, "%s\n", stoa_err_trail());
        return 1;
    }
    (void)printf("ready\n");
    (void)fflush(stdout);
    while (fgets(line, sizeof line, stdin) && strcmp(line, "quit\n") != 0) {
        if (strcmp(line, "outbox\n") == 0) {
            say_outbox(shard);
        } else if (strncmp(line, "hash", 4) == 0) {
            say_hash(shard, strtoull(line + 4, NULL, 10));
        } else {
            charge(node, to, strtoull(line, NULL, 10));
        }
    }
    atomic_store(&ending, true);
    (void)pthread_join(thread, NULL);
    stoa_port_close(port);
    stoa_node_close(node, STOA_S(5));
    (void)fclose(from_outside);
    return 0;
}
