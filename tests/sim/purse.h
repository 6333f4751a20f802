/* purse.h - for tests of channels: purses that send money to each other across shards.
 *
 * A purse holds `free`; what came in or went out stands against `transit`, so every purse, and with them every shard, sums to zero
 * by itself. What is mailed and not yet known to have arrived is counted in `out_there`. A purse asserts in its apply functions,
 * live and in replay, that what it is paid comes in order and once: numbers per payer only grow.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef STOA_TESTS_SIM_PURSE_H
#define STOA_TESTS_SIM_PURSE_H

#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "runtime/node.h"

enum { PURSES_MAX = 32, PURSE_REFUSES = 7 /* amounts that it divides */ };

/* hops: how often the amount is handed on to the next one's `next` */
#define purse_pay_FIELDS(F, S)      F(S, uint64_t, amount) F(S, uint64_t, hops) F(S, stoa_text62, to)
#define purse_paid_FIELDS(F, S)     F(S, uint64_t, number)
#define purse_push_FIELDS(F, S)     purse_pay_FIELDS(F, S)
#define purse_nudge_FIELDS(F, S)    purse_pay_FIELDS(F, S)
#define purse_link_FIELDS(F, S)     F(S, uint64_t, index) F(S, uint64_t, sibling) F(S, stoa_text62, next)
#define purse_linked_FIELDS         STOA_NO_FIELDS
#define purse_look_FIELDS           STOA_NO_FIELDS
#define purse_books_FIELDS(F, S)                                                                                       \
    F(S, int64_t, free) F(S, int64_t, transit) F(S, uint64_t, number) F(S, uint64_t, sent) F(S, uint64_t, got) F(S, uint64_t, back)
#define purse_take_FIELDS(F, S)     F(S, uint64_t, amount) F(S, uint64_t, hops) F(S, uint64_t, payer) F(S, uint64_t, number)
#define purse_set_FIELDS(F, S)      purse_link_FIELDS(F, S)
#define purse_sent_FIELDS(F, S)     F(S, uint64_t, amount) F(S, uint64_t, number)
#define purse_got_FIELDS(F, S)      F(S, uint64_t, amount) F(S, uint64_t, payer) F(S, uint64_t, number)
#define purse_back_FIELDS(F, S)     F(S, uint64_t, amount) F(S, uint64_t, number) F(S, int64_t, error)
#define purse_ROWS(ROW, K)                                                                                             \
    ROW(K, COMMAND, pay, paid, "Mail an amount to a purse.")                                                           \
    ROW(K, REPLY, paid, _, "It is on its way.")                                                                        \
    ROW(K, CAST, push, _, "The same without an answer.")                                                               \
    ROW(K, CAST, nudge, _, "Have the sibling mail it, a turn later.")                                                  \
    ROW(K, COMMAND, link, linked, "Who this purse is, its sibling, whom it hands on to.")                              \
    ROW(K, REPLY, linked, _, "Done.")                                                                                  \
    ROW(K, COMMAND, look, books, "What it holds, and how many came and went.")                                         \
    ROW(K, REPLY, books, _, "That.")                                                                                   \
    ROW(K, CAST, take, _, "An amount from another purse.")                                                             \
    ROW(K, EVENT, set, _, "The purse knows who it is.")                                                                \
    ROW(K, EVENT, sent, _, "An amount was mailed.")                                                                    \
    ROW(K, EVENT, got, _, "An amount came.")                                                                           \
    ROW(K, EVENT, back, _, "A mailed amount came back.")
STOA_TABLE_HERE(purse)

typedef struct purse {
    int64_t free, transit;
    uint64_t index, sibling, number; /* of the last one mailed */
    uint64_t sent, got, back;        /* how many */
    uint64_t last[PURSES_MAX];       /* number of the last one from each payer */
    stoa_text62 next;
} purse;

#define purse_HEARS(HEAR, K) HEAR(K, stoa_system, undelivered)
STOA_KIND(purse, .mailbox_limit = 512)

static stoa_err purse_mail(stoa_turn *turn, const purse *self, const stoa_text62 *to, uint64_t amount, uint64_t hops)
{
    char name[sizeof *to + 1];
    (void)snprintf(name, sizeof name, "%.*s", STOA_TEXT_ARGS(to));
    uint64_t number = self->number + 1;
    stoa_err err = purse_emit_sent(turn, (purse_sent){amount, number});
    purse_take take = {.amount = amount, .hops = hops, .payer = self->index, .number = number};
    return err ? err : purse_mail_take(turn, name, take, amount);
}

static stoa_err purse_on_pay(stoa_turn *turn, const purse *self, const purse_pay *in, purse_paid *out)
{
    out->number = self->number + 1;
    return purse_mail(turn, self, &in->to, in->amount, in->hops);
}

static stoa_err purse_on_push(stoa_turn *turn, const purse *self, const purse_push *in)
{
    return purse_mail(turn, self, &in->to, in->amount, in->hops);
}

static stoa_err purse_on_nudge(stoa_turn *turn, const purse *self, const purse_nudge *in)
{
    purse_push push = {.amount = in->amount, .hops = in->hops, .to = in->to};
    return purse_send_push(turn, stoa_turn_peer(turn, (uint32_t)self->sibling), push);
}

static stoa_err purse_on_link(stoa_turn *turn, const purse *self, const purse_link *in, purse_linked *out)
{
    (void)out;
    if (self->sibling) { return STOA_OK; }
    return purse_emit_set(turn, (purse_set){.index = in->index, .sibling = in->sibling, .next = in->next});
}

static stoa_err purse_on_look(stoa_turn *turn, const purse *self, const purse_look *in, purse_books *out)
{
    (void)turn, (void)in;
    *out = (purse_books){self->free, self->transit, self->number, self->sent, self->got, self->back};
    return STOA_OK;
}

static stoa_err purse_on_take(stoa_turn *turn, const purse *self, const purse_take *in)
{
    STOA_ASSERT(stoa_turn_mailed_by(turn)[0]);
    if (in->amount % PURSE_REFUSES == 0) { return STOA_E_RANGE; }
    stoa_err err = purse_emit_got(turn, (purse_got){in->amount, in->payer, in->number});
    if (err || !in->hops) { return err; }
    return purse_mail(turn, self, &self->next, in->amount, in->hops - 1);
}

static stoa_err purse_on_stoa_system_undelivered(stoa_turn *turn, const purse *self, const stoa_system_undelivered *in)
{
    purse_take take;
    (void)self;
    stoa_err err = purse_returned_take(turn, &take);
    STOA_ASSERT(!err && take.amount == in->token);
    return purse_emit_back(turn, (purse_back){.amount = take.amount, .number = take.number, .error = in->error});
}

static void purse_move(purse *self, int64_t amount)
{
    self->free += amount;
    self->transit -= amount;
    STOA_ASSERT(self->free + self->transit == 0);
}

static void purse_apply_set(purse *self, const purse_set *event)
{
    self->index = event->index;
    self->sibling = event->sibling;
    self->next = event->next;
}

static void purse_apply_sent(purse *self, const purse_sent *event)
{
    self->number = event->number;
    self->sent++;
    purse_move(self, -(int64_t)event->amount);
}

static void purse_apply_got(purse *self, const purse_got *event)
{
    STOA_ASSERT(event->number > self->last[event->payer]); /* in order, and once */
    self->last[event->payer] = event->number;
    self->got++;
    purse_move(self, (int64_t)event->amount);
}

static void purse_apply_back(purse *self, const purse_back *event)
{
    self->back++;
    purse_move(self, (int64_t)event->amount);
}

#endif
