/* crowd.c - many who talk to many: runtime.big and runtime.chameneos.
 *
 * big: 64 actors; each sends so many pings to actors it draws, one after the other, and goes on when the pong is there. The
 * pong is the ping plus one; the sum is of all pongs.
 *
 * chameneos: 100 creatures ask one mall for somebody to meet; the mall pairs them as they come and tells each the other's
 * colour, whereupon both change theirs. When there were enough meetings, the mall keeps who comes, until all have come, and
 * adds up how often each of them met somebody.
 *
 * Nobody has more than one message under way, so mailboxes of a thousand are never full. Actors alternate between the cores.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "bench/runtime/rig.h"

enum { CROWD = 64, CREATURES = 100, COLOURS = 3 };

// clang-format off
#define tally_done_FIELDS(F, S) F(S, uint64_t, sum)
#define tally_ROWS(ROW, K) ROW(K, CAST, done, _, "One of the crowd has had all its pongs.")

#define member_start_FIELDS(F, S) F(S, uint64_t, pings)
#define member_ping_FIELDS(F, S) F(S, uint64_t, n)
#define member_pong_FIELDS(F, S) F(S, uint64_t, n)
#define member_ROWS(ROW, K)                                            \
    ROW(K, CAST, start, _, "Send so many pings, one after the other.") \
    ROW(K, CAST, ping, _, "Answered with a pong.")                     \
    ROW(K, CAST, pong, _, "The next ping may go.")

#define mall_open_FIELDS(F, S) F(S, uint64_t, meetings)
#define mall_opened_FIELDS STOA_NO_FIELDS
#define mall_meet_FIELDS(F, S) F(S, uint64_t, colour) F(S, uint64_t, met)
#define mall_ROWS(ROW, K)                                                   \
    ROW(K, COMMAND, open, opened, "Begin anew, for so many meetings.")      \
    ROW(K, REPLY, opened, _, "May begin.")                                  \
    ROW(K, CAST, meet, _, "Who wants to meet, and how often it has so far.")

#define creature_start_FIELDS(F, S) F(S, uint64_t, colour)
#define creature_other_FIELDS(F, S) F(S, uint64_t, colour)
#define creature_ROWS(ROW, K)                             \
    ROW(K, CAST, start, _, "Go to the mall.")             \
    ROW(K, CAST, other, _, "Whom it met there; go again.")
// clang-format on
STOA_TABLE(tally)
STOA_TABLE_DEFINE(tally)
STOA_TABLE(member)
STOA_TABLE_DEFINE(member)
STOA_TABLE(mall)
STOA_TABLE_DEFINE(mall)
STOA_TABLE(creature)
STOA_TABLE_DEFINE(creature)

typedef struct tally {
    uint64_t done, sum;
} tally;

typedef struct member {
    uint64_t left, sum, random;
} member;

typedef struct member_args {
    uint64_t seed;
} member_args;

typedef struct mall {
    stoa_ref waits; /* NONE: nobody */
    uint64_t colour, left, gone, met;
} mall;

typedef struct creature {
    stoa_ref mall;
    uint64_t colour, met;
} creature;

typedef struct creature_args {
    stoa_ref mall;
} creature_args;

static stoa_err member_begin(stoa_turn *turn, void *state, const void *args)
{
    (void)turn;
    ((member *)state)->random = ((const member_args *)args)->seed;
    return STOA_OK;
}

static stoa_err creature_begin(stoa_turn *turn, void *state, const void *args)
{
    (void)turn;
    ((creature *)state)->mall = ((const creature_args *)args)->mall;
    return STOA_OK;
}

#define tally_HEARS    STOA_HEARS_NOTHING
#define member_HEARS   STOA_HEARS_NOTHING
#define mall_HEARS     STOA_HEARS_NOTHING
#define creature_HEARS STOA_HEARS_NOTHING
STOA_PLAIN_KIND(tally, .mailbox_limit = CROWD)
STOA_PLAIN_KIND(member, .start = member_begin, .args_bytes = sizeof(member_args))
STOA_PLAIN_KIND(mall, .mailbox_limit = 2 * CREATURES)
STOA_PLAIN_KIND(creature, .start = creature_begin, .args_bytes = sizeof(creature_args))

/* --- big. Written before the first message, read only from then on. */

static stoa_ref crowd[CROWD], crowd_tally;

static stoa_err tally_on_done(stoa_turn *turn, tally *self, const tally_done *in)
{
    (void)turn;
    self->sum += in->sum;
    if (++self->done < CROWD) { return STOA_OK; }
    bench_ended(self->sum);
    *self = (tally){0};
    return STOA_OK;
}

/* Marsaglia, "Xorshift RNGs", 2003. */
static stoa_ref draw(member *self)
{
    self->random ^= self->random << 13;
    self->random ^= self->random >> 7;
    self->random ^= self->random << 17;
    return crowd[self->random % CROWD];
}

static stoa_err member_on_start(stoa_turn *turn, member *self, const member_start *in)
{
    self->left = in->pings;
    self->sum = 0;
    return member_send_ping(turn, draw(self), (member_ping){self->left});
}

static stoa_err member_on_ping(stoa_turn *turn, member *self, const member_ping *in)
{
    (void)self;
    return member_send_pong(turn, turn->from, (member_pong){in->n + 1});
}

static stoa_err member_on_pong(stoa_turn *turn, member *self, const member_pong *in)
{
    self->sum += in->n;
    if (--self->left == 0) { return tally_send_done(turn, crowd_tally, (tally_done){self->sum}); }
    return member_send_ping(turn, draw(self), (member_ping){self->left});
}

static double big_once(const bench_task *task, void *context)
{
    stoa_node *node = context;
    uint64_t pings = task->steps;
    bench_begin();
    for (uint32_t i = 0; i < CROWD; i++) {
        bench_must(member_post_start(node, crowd[i], (member_start){pings}), task->name);
    }
    return bench_mega(2 * CROWD * pings, bench_wait(task, CROWD * (pings * (pings + 1) / 2 + pings)));
}

/* A step is a ping of each actor; what is counted are pings and pongs. */
void bench_big(const bench_task *task, bench_samples *out)
{
    stoa_node *node = bench_open(task->cores, STOA_IDLE_LATENCY);
    crowd_tally = bench_spawn(node, &tally_kind, 0, NULL);
    for (uint32_t i = 0; i < CROWD; i++) {
        member_args args = {UINT64_C(0x9e3779b97f4a7c15) * (i + 1)};
        crowd[i] = bench_spawn(node, &member_kind, i, &args);
    }
    bench_repeat(task, big_once, node, out);
    bench_close(node);
}

/* --- chameneos */

static stoa_err mall_on_open(stoa_turn *turn, mall *self, const mall_open *in, mall_opened *out)
{
    (void)turn;
    (void)out;
    *self = (mall){.left = in->meetings};
    return STOA_OK;
}

static stoa_err mall_on_meet(stoa_turn *turn, mall *self, const mall_meet *in)
{
    if (!self->left) {
        self->met += in->met;
        if (++self->gone == CREATURES) { bench_ended(self->met); }
        return STOA_OK;
    }
    if (!self->waits.at) {
        self->waits = turn->from;
        self->colour = in->colour;
        return STOA_OK;
    }
    stoa_ref first = self->waits;
    self->waits = STOA_REF_NONE;
    self->left--;
    stoa_err err = creature_send_other(turn, first, (creature_other){in->colour});
    return err ? err : creature_send_other(turn, turn->from, (creature_other){self->colour});
}

static stoa_err creature_on_start(stoa_turn *turn, creature *self, const creature_start *in)
{
    self->colour = in->colour;
    self->met = 0;
    return mall_send_meet(turn, self->mall, (mall_meet){self->colour, self->met});
}

/* Equal colours stay, unequal ones become the third. */
static stoa_err creature_on_other(stoa_turn *turn, creature *self, const creature_other *in)
{
    if (in->colour != self->colour) { self->colour = COLOURS - in->colour - self->colour; }
    self->met++;
    return mall_send_meet(turn, self->mall, (mall_meet){self->colour, self->met});
}

typedef struct forest {
    stoa_node *node;
    stoa_ref mall, creatures[CREATURES];
} forest;

static double meet_once(const bench_task *task, void *context)
{
    const forest *f = context;
    mall_opened opened;
    bench_must(mall_call_open(f->node, f->mall, (mall_open){task->steps}, STOA_S(10), &opened), task->name);
    bench_begin();
    for (uint32_t i = 0; i < CREATURES; i++) {
        bench_must(creature_post_start(f->node, f->creatures[i], (creature_start){i % COLOURS}), task->name);
    }
    return bench_mega(task->steps, bench_wait(task, 2 * task->steps));
}

/* A step is a meeting. */
void bench_chameneos(const bench_task *task, bench_samples *out)
{
    forest f = {.node = bench_open(task->cores, STOA_IDLE_LATENCY)};
    f.mall = bench_spawn(f.node, &mall_kind, 0, NULL);
    for (uint32_t i = 0; i < CREATURES; i++) {
        f.creatures[i] = bench_spawn(f.node, &creature_kind, i, &(creature_args){f.mall});
    }
    bench_repeat(task, meet_once, &f, out);
    bench_close(f.node);
}
