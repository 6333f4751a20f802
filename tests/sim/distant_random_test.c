/* distant_random_test.c - goal: what is mailed between shards of two nodes takes effect once or comes back once, in order,
 * whatever happens to the nodes and between them. Method: two simulated nodes of two shards each, whose purses pay each other.
 * Frames go between the two by a carrier that keeps their order, and nothing else: it is cut now and then, has little room, and
 * drops what does not fit. Nodes die alone, and their disks lose a random part of what was not synced. Now and then bytes that
 * nobody sent reach a node. Some seeds begin before the nodes have met; now and then a shard is one that the other node does not have, and an operator
 * has back what waits, where that is allowed him; what he says himself, that none was taken, is true. At the end of a seed all money is there, every channel runs with nothing waiting, and a replay of
 * each log gives the live state.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "runtime/distant_internal.h"
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
    bool cut, greets; /* greets: no mail comes through */
    bool absent[SIDES][SHARDS]; /* at a side: the other's shards */
    /* of a side's shard to one of the other's: the generation that mail went out in last, and came there, and 1 */
    uint32_t out[SIDES][SHARDS][SHARDS], in[SIDES][SHARDS][SHARDS];
} world;
static uint64_t had_back[2]; /* for who never answered; on a word */

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
    memset(w->absent[i], 0, sizeof w->absent[i]);
    for (uint32_t k = 0; k < SIDES; k++) {
        w->lines[k].count = 0;
        w->lines[k].dropped = true;
    }
}

/* --- between the nodes */

static uint32_t shard_of(uint32_t side, const stoa_text30 *name)
{
    return STOA_TEXT_EQZ(name, shard_names[side][0]) ? 0 : 1;
}

/* Whether that is mail. */
static bool note_mail(uint32_t generations[SIDES][SHARDS][SHARDS], uint32_t from, const frame *f)
{
    stoa_distant_head head;
    memcpy(&head, f->at, sizeof head);
    bool mail = head.cls == STOA_FRAME_MAIL;
    if (mail) { generations[from][shard_of(from, &head.from)][shard_of(1 - from, &head.to)] = head.generation + 1; }
    return mail;
}

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
    uint32_t from = (uint32_t)(out - t->world->lines);
    bool absent = to == t->world->distants[from][0] ? t->world->absent[from][0] : t->world->absent[from][1];
    bool mail = note_mail(t->world->out, from, &now);
    if (absent || t->world->cut || (mail && t->world->greets) || out->count == LINE || out->dropped) { /* behind a gap nothing goes on */
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
        (void)note_mail(w->in, from, first);
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

/* --- shards that are absent, and an operator */

/* The connection was another one before: nothing of that is on its way. */
static void turn_absent(world *w, uint32_t i, uint32_t k)
{
    char name[32];
    purse_far_shard(1 - i, k, name, sizeof name);
    w->absent[i][k] = !w->absent[i][k];
    for (uint32_t side = 0; side < SIDES; side++) {
        w->lines[side].count = 0;
        w->lines[side].dropped = true;
    }
    if (w->absent[i][k]) {
        stoa_distant_close(w->distants[i][k]);
    } else {
        STOA_ASSERT(stoa_distant_open(w->ports[i], name, &w->distants[i][k]) == STOA_OK);
    }
    (void)stoa_distants_complete(w->ports[i], node_names[1 - i], !w->cut);
    stoa_port_flush(w->ports[i]);
}

typedef struct views {
    stoa_channel_view at[SIDES * SHARDS];
    uint32_t count;
} views;

static void keep(void *context, const stoa_channel_view *view)
{
    views *v = context;
    if (strchr(view->to, '@')) { v->at[v->count++] = *view; }
}

/* He looks at the other node before he says what it has. */
static void have_back(world *w, uint32_t i, uint32_t from, const stoa_channel_view *view)
{
    stoa_channel_view was;
    stoa_text30 to = {0};
    STOA_ASSERT(STOA_TEXT_SET(&to, view->to, strcspn(view->to, "@")) == STOA_OK);
    uint32_t k = shard_of(1 - i, &to), generation = view->generation + 1;
    stoa_channel_anew how = {.none_taken = w->in[i][from][k] != generation};
    bool forked = strcmp(view->status, "forked") == 0, never = strcmp(view->met, "never") == 0;
    stoa_err err = stoa_channel_restart(w->sides[i].shards[from], view->to, &how, &was);
    STOA_ASSERT(!err || err == STOA_E_INVALID || err == STOA_E_UNAVAILABLE || err == STOA_E_AGAIN);
    if (err || forked) { return; }
    STOA_ASSERT(how.none_taken && was.taken == was.acknowledged);
    STOA_ASSERT(!never || (w->out[i][from][k] != generation && was.doubtful == 0));
    had_back[!never]++;
}

/* forked: of the channels that are, as not all that waited could be returned at once; else of all. */
static void operate(world *w, uint32_t i, uint32_t from, bool forked)
{
    views v = {.count = 0};
    if (stoa_sim_dead(w->sides[i].sim)) { return; }
    stoa_channels(w->sides[i].shards[from], keep, &v);
    for (uint32_t at = 0; at < v.count; at++) {
        if (!forked || strcmp(v.at[at].status, "forked") == 0) { have_back(w, i, from, &v.at[at]); }
    }
}

static void step(world *w)
{
    purse_side *s = &w->sides[dice(w) % SIDES];
    if (!stoa_sim_dead(s->sim)) { purse_act(w->sides, s); }
    if (dice(w) % 8 == 0) { w->cut = !w->cut; }
    if (dice(w) % 8 == 0) { w->greets = !w->greets; }
    if (dice(w) % 8 == 0) { turn_absent(w, (uint32_t)(dice(w) % SIDES), (uint32_t)(dice(w) % SHARDS)); }
    if (dice(w) % 8 == 0) { operate(w, (uint32_t)(dice(w) % SIDES), (uint32_t)(dice(w) % SHARDS), false); }
    if (dice(w) % 24 == 0) { crash(w, (uint32_t)(dice(w) % SIDES)); }
    if (dice(w) % 32 == 0 && !stoa_sim_dead(s->sim)) { (void)stoa_shard_drop(s->shards[dice(w) % SHARDS], 0); }
    for (uint32_t rounds = (uint32_t)(dice(w) % 8); rounds; rounds--) { run_both(w, dice(w) % STOA_MS(5)); }
}

static void come_to_rest(world *w)
{
    w->cut = w->greets = false;
    for (uint32_t i = 0; i < SIDES; i++) { stoa_sim_faults(w->sides[i].sim, NULL); }
    for (uint32_t i = 0; i < SIDES * SHARDS; i++) {
        if (w->absent[i / SHARDS][i % SHARDS]) { turn_absent(w, i / SHARDS, i % SHARDS); }
    }
    for (uint32_t rounds = 0; rounds == 0 || !purses_at_rest(w->sides); rounds++) {
        STOA_ASSERT(rounds < 4000);
        for (uint32_t i = 0; i < SIDES * SHARDS; i++) { operate(w, i / SHARDS, i % SHARDS, true); }
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
    w.cut = dice(&w) % 2;
    w.greets = dice(&w) % 2;
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

/* The seeds above run in processes of their own. */
static void in_some_of_them_an_operator_has_back_what_waits(void **context)
{
    (void)context;
    for (uint64_t seed = 1; seed <= 30; seed++) { (void)run(seed); }
    print_message("of 30 seeds: %llu channels had back that never were answered, %llu on a word\n", (unsigned long long)had_back[0],
                  (unsigned long long)had_back[1]);
    assert_true(had_back[0] > 0 && had_back[1] > 0);
}

int main(int argc, char **argv)
{
    int status;
    if (stoa_seeds_main(&seeds, argc, argv, &status)) { return status; }
    const struct CMUnitTest tests[] = {cmocka_unit_test(mail_between_nodes_takes_effect_once_or_comes_back_under_every_seed),
                                       cmocka_unit_test(in_some_of_them_an_operator_has_back_what_waits)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
