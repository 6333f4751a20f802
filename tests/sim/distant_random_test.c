/* distant_random_test.c - goal: what is mailed between shards of two nodes takes effect once or comes back once, in order,
 * whatever happens to the nodes and between them. Method: two simulated nodes of two shards each, whose purses pay each other.
 * Frames go between the two by a carrier that keeps their order, and nothing else: it is cut now and then, has little room, and
 * drops what does not fit. Nodes die alone, and their disks lose a random part of what was not synced. Now and then bytes that
 * nobody sent reach a node. At the end of a seed all money is there, every channel runs with nothing waiting, and a replay of
 * each log gives the live state.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "runtime/distant.h"
#include "tests/sim/purse_nodes.h"

enum { STEPS = 64, LINE = 24, POLL = 64 };

typedef struct frame {
    uint32_t bytes;
    uint8_t at[STOA_DISTANT_FRAME_MAX];
} frame;

/* What is on its way from one side to the other. */
typedef struct line {
    frame at[LINE];
    uint32_t first, count;
    bool dropped; /* something, since it was said */
} line;

typedef struct world {
    purse_side sides[SIDES];
    stoa_port *ports[SIDES];
    stoa_distant *distants[SIDES][SHARDS]; /* at a side: the other's shards */
    line lines[SIDES];                     /* from a side */
    bool cut;
} world;

static uint64_t dice(world *w)
{
    return purse_dice(w->sides);
}

/* --- a node's life */

static void meet(world *w, uint32_t i)
{
    STOA_ASSERT(stoa_port_open(w->sides[i].node, "nodes", &w->ports[i]) == STOA_OK);
    for (uint32_t k = 0; k < SHARDS; k++) {
        char name[32];
        purse_far_shard(1 - i, k, name, sizeof name);
        STOA_ASSERT(stoa_distant_open(w->ports[i], name, &w->distants[i][k]) == STOA_OK);
    }
}

static void say_again(world *w, uint32_t i)
{
    w->lines[i].dropped = false;
    for (uint32_t k = 0; k < SHARDS; k++) {
        if (stoa_distant_again(w->distants[i][k])) { w->lines[i].dropped = true; }
    }
    stoa_port_flush(w->ports[i]);
}

/* What was under way from it and to it is gone, and both sides know. */
static void crash(world *w, uint32_t i)
{
    purse_side_crash(&w->sides[i]);
    meet(w, i);
    for (uint32_t k = 0; k < SIDES; k++) {
        w->lines[k].count = 0;
        w->lines[k].dropped = true;
    }
}

/* --- between the nodes */

typedef struct taking {
    world *world;
    line *to;
} taking;

static void take_frame(void *context, const stoa_delivery *delivery)
{
    const taking *t = context;
    line *out = t->to;
    frame now;
    stoa_distant *to;
    if (!stoa_distant_frame(delivery, now.at, &to, &now.bytes)) { return; }
    STOA_ASSERT(now.bytes <= STOA_DISTANT_FRAME_MAX);
    if (t->world->cut || out->count == LINE || out->dropped) { /* behind a gap nothing goes on */
        out->dropped = true;
        return;
    }
    out->at[(out->first + out->count++) % LINE] = now;
}

static void carry(world *w, uint32_t from, uint32_t count)
{
    uint32_t to = 1 - from;
    line *l = &w->lines[from];
    for (; count && l->count; count--) {
        const frame *first = &l->at[l->first];
        stoa_err err = stoa_distant_take(w->ports[to], w->distants[to], SHARDS, first->at, first->bytes);
        l->first = (l->first + 1) % LINE;
        l->count--;
        STOA_ASSERT(err == STOA_OK || err == STOA_E_FULL);
        if (err) { l->dropped = true; }
    }
    stoa_port_flush(w->ports[to]);
}

static void refused_as(world *w, uint32_t at, uint32_t shards, const frame *f, stoa_err why)
{
    stoa_err err = stoa_distant_take(w->ports[at], w->distants[at], shards, f->at, f->bytes);
    STOA_ASSERT(err == why || err == STOA_E_FULL);
}

/* Nobody sent that: anything, and a frame from a shard that is none, of another version, cut short. */
static void forge(world *w, uint32_t from)
{
    uint32_t at = 1 - from;
    frame fake = {.bytes = 1 + (uint32_t)(dice(w) % 400)};
    for (uint32_t i = 0; i < fake.bytes; i++) { fake.at[i] = (uint8_t)dice(w); }
    if (fake.at[0] == 1) { fake.at[0] = 2; }
    stoa_err err = stoa_distant_take(w->ports[at], w->distants[at], SHARDS, fake.at, fake.bytes);
    STOA_ASSERT(err == STOA_E_MALFORMED || err == STOA_E_VERSION || err == STOA_E_FULL);
    if (!w->lines[from].count) { return; }
    fake = w->lines[from].at[w->lines[from].first];
    refused_as(w, at, 0, &fake, STOA_E_DENIED);
    fake.bytes--;
    refused_as(w, at, SHARDS, &fake, STOA_E_MALFORMED);
    fake.bytes++;
    fake.at[0]++;
    refused_as(w, at, SHARDS, &fake, STOA_E_VERSION);
}

static void run_both(world *w, uint64_t for_ns)
{
    for (uint32_t i = 0; i < SIDES; i++) {
        stoa_sim_run(w->sides[i].sim, for_ns);
        if (stoa_sim_dead(w->sides[i].sim)) { crash(w, i); }
        taking t = {w, &w->lines[i]};
        (void)stoa_port_poll(w->ports[i], take_frame, &t, POLL);
    }
    for (uint32_t i = 0; i < SIDES && !w->cut; i++) {
        if (dice(w) % 16 == 0) { forge(w, i); }
        carry(w, i, (uint32_t)(dice(w) % LINE));
        if (dice(w) % 64 == 0 && !stoa_sim_dead(w->sides[1 - i].sim)) { (void)stoa_shard_drop(w->sides[1 - i].shards[dice(w) % SHARDS], 0); }
        if (w->lines[i].dropped && w->lines[i].count == 0) { say_again(w, i); }
    }
}

static void step(world *w)
{
    purse_side *s = &w->sides[dice(w) % SIDES];
    if (!stoa_sim_dead(s->sim)) { purse_act(w->sides, s); }
    if (dice(w) % 8 == 0) { w->cut = !w->cut; }
    if (dice(w) % 24 == 0) { crash(w, (uint32_t)(dice(w) % SIDES)); }
    if (dice(w) % 32 == 0 && !stoa_sim_dead(s->sim)) { (void)stoa_shard_drop(s->shards[dice(w) % SHARDS], 0); }
    for (uint32_t rounds = (uint32_t)(dice(w) % 8); rounds; rounds--) { run_both(w, dice(w) % STOA_MS(5)); }
}

static void come_to_rest(world *w)
{
    w->cut = false;
    for (uint32_t i = 0; i < SIDES; i++) { stoa_sim_faults(w->sides[i].sim, NULL); }
    for (uint32_t rounds = 0; rounds == 0 || !purses_at_rest(w->sides); rounds++) {
        STOA_ASSERT(rounds < 4000);
        for (uint32_t i = 0; i < 8; i++) { run_both(w, STOA_MS(5)); }
    }
}

static uint64_t run(uint64_t seed)
{
    static world w;
    memset(&w, 0, sizeof w);
    for (uint32_t i = 0; i < SIDES; i++) {
        purse_side_open(&w.sides[i], seed, i);
        meet(&w, i);
    }
    for (uint32_t i = 0; i < SIDES; i++) { say_again(&w, i); }
    for (uint32_t steps = 8 + (uint32_t)(dice(&w) % STEPS); steps; steps--) { step(&w); }
    come_to_rest(&w);
    purses_check(w.sides);
    return purses_close(w.sides);
}

static const stoa_seeds seeds = {.count = 300, .deep = 10000, .run = run};

static void mail_between_nodes_takes_effect_once_or_comes_back_under_every_seed(void **context)
{
    (void)context;
    assert_int_equal(stoa_seeds_run(&seeds), STOA_OK);
}

int main(int argc, char **argv)
{
    int status;
    if (stoa_seeds_main(&seeds, argc, argv, &status)) { return status; }
    const struct CMUnitTest tests[] = {cmocka_unit_test(mail_between_nodes_takes_effect_once_or_comes_back_under_every_seed)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
