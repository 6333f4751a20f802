/* gossip.h - for chaos programs: a thread that tells and asks an actor of the other node, which checks what it hears: in order, nothing
 * twice, nothing missing unless the sender was told of a loss, and no new life of the sender that was not reported as a reset before.
 *
 * An era is the time in which the sender knew of no loss: as long as the other one's actor stands here, and no ask failed.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef STOA_TESTS_CHAOS_GOSSIP_H
#define STOA_TESTS_CHAOS_GOSSIP_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "cluster/remote/remote.h"
#include "runtime/node.h"

enum { GOSSIP_BURST = 16 }; /* casts, then an ask */

#define gossip_tell_FIELDS(F, S)  F(S, uint64_t, life) F(S, uint64_t, era) F(S, uint64_t, number)
#define gossip_echo_FIELDS(F, S)  gossip_tell_FIELDS(F, S)
#define gossip_heard_FIELDS(F, S) F(S, uint64_t, number)
#define gossip_ROWS(ROW, K)                                                                                            \
    ROW(K, CAST, tell, _, "Something new.")                                                                            \
    ROW(K, COMMAND, echo, heard, "Something new, to be answered.")                                                     \
    ROW(K, REPLY, heard, _, "Its number.")
STOA_TABLE_HERE(gossip)

typedef struct gossip {
    uint64_t life, era, number; /* the last one heard */
} gossip;
#define gossip_HEARS STOA_HEARS_NOTHING
STOA_PLAIN_KIND(gossip, .mailbox_limit = 4096)

/* What this process has heard, and of other lives; what was reported to it. */
static _Atomic uint64_t gossip_count, gossip_lives, gossip_resets, gossip_losses;

static void gossip_wrong(const char *what, uint64_t had, uint64_t has)
{
    (void)fprintf(stderr, "wrong: %s: %llu, then %llu\n", what, (unsigned long long)had, (unsigned long long)has);
    exit(3);
}

static void gossip_hear(gossip *self, uint64_t life, uint64_t era, uint64_t number)
{
    if (life < self->life) { gossip_wrong("an earlier life speaks", self->life, life); }
    if (self->life && life > self->life && atomic_fetch_add(&gossip_lives, 1) >= atomic_load(&gossip_resets)) {
        gossip_wrong("a new life without a reset", self->life, life);
    }
    if (life == self->life && era < self->era) { gossip_wrong("an earlier era", self->era, era); }
    if (life == self->life && number <= self->number) { gossip_wrong("out of order, or twice", self->number, number); }
    if (life == self->life && era == self->era && number != self->number + 1) { gossip_wrong("lost", self->number, number); }
    *self = (gossip){life, era, number};
    atomic_fetch_add(&gossip_count, 1);
}

static stoa_err gossip_on_tell(stoa_turn *turn, gossip *self, const gossip_tell *in)
{
    (void)turn;
    gossip_hear(self, in->life, in->era, in->number);
    return STOA_OK;
}

static stoa_err gossip_on_echo(stoa_turn *turn, gossip *self, const gossip_echo *in, gossip_heard *out)
{
    (void)turn;
    gossip_hear(self, in->life, in->era, in->number);
    out->number = in->number;
    return STOA_OK;
}

/* As stoa_remote_events.peer. */
static void gossip_reported(void *context, const char *peer, stoa_remote_what what, stoa_err why)
{
    (void)context, (void)peer, (void)why;
    if (what == STOA_REMOTE_RESET) { atomic_fetch_add(&gossip_resets, 1); }
    if (what == STOA_REMOTE_LOST) { atomic_fetch_add(&gossip_losses, 1); }
}

/* --- the one who tells */

typedef struct gossiper {
    stoa_node *node;
    const char *to;
    uint64_t life, era, number, stands;
    stoa_ref ref;
    uint64_t timeout_ns;
} gossiper;

/* The other's actor. Another one stands for it only behind a loss that was reported. */
static bool gossip_find(gossiper *g)
{
    stoa_ref ref = stoa_find(g->node, g->to);
    if (!ref.at) { return false; }
    if (!stoa_ref_equal(ref, g->ref)) {
        if (g->stands++ > atomic_load(&gossip_losses)) { gossip_wrong("another stand without a loss", g->stands, atomic_load(&gossip_losses)); }
        g->ref = ref;
        g->era++;
    }
    return true;
}

static void gossip_some(gossiper *g)
{
    gossip_heard heard = {0};
    for (uint32_t i = 0; i < GOSSIP_BURST; i++) {
        if (!gossip_find(g)) { return; }
        if (gossip_post_tell(g->node, g->ref, (gossip_tell){g->life, g->era, g->number + 1}) == STOA_OK) { g->number++; }
    }
    g->number++;
    stoa_err err = gossip_call_echo(g->node, g->ref, (gossip_echo){g->life, g->era, g->number}, g->timeout_ns, &heard);
    if (err) {
        g->era++; /* whether it was heard is unknown */
    } else if (heard.number != g->number) {
        gossip_wrong("another answer", g->number, heard.number);
    }
}

static void *gossip_run(void *context)
{
    struct timespec wait = {0, 1000000};
    for (;;) {
        gossip_some(context);
        (void)nanosleep(&wait, NULL);
    }
    return NULL;
}

#endif
