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
#include "runtime/kit.h"
#include "storage/sim/journal.h"
#include "tests/sim/purse.h"

enum { SIDES = 2, SHARDS = 2, PURSES = 2 * SHARDS, STEPS = 64, LINE = 24, POLL = 64 };
static const char *const shard_names[SIDES][SHARDS] = {{"north", "east"}, {"south", "west"}};

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

typedef struct side {
    struct world *world;
    uint32_t index;
    stoa_sim *sim;
    stoa_node *node;
    stoa_port *port;
    stoa_distant *distants[SHARDS]; /* the other side's */
    stoa_shard *shards[SHARDS];
    stoa_ref purses[PURSES];
    uint64_t acknowledged[PURSES];
    line out;
} side;

typedef struct world {
    side sides[SIDES];
    uint64_t seed, refused;
    bool cut;
} world;

static uint64_t dice(world *w)
{
    return stoa_sim_random(w->sides[0].sim);
}

static stoa_text62 text(const char *from)
{
    stoa_text62 out = {0};
    STOA_ASSERT(STOA_TEXT_SETZ(&out, from) == STOA_OK);
    return out;
}

static void purse_address(uint32_t of, uint32_t index, char *text_out, size_t size)
{
    const char *shard = shard_names[of][index / 2];
    (void)snprintf(text_out, size, "%s:purse/%s%u", shard, shard, index % 2);
}

static const purse *state(const side *s, uint32_t index)
{
    return stoa_sim_state(s->sim, s->purses[index], NULL);
}

/* --- a node's life */

static bool attach_purse(side *s, uint32_t i)
{
    char name[80], next[80];
    purse_linked linked;
    purse_address(s->index, i, name, sizeof name);
    purse_address(1 - s->index, (i + 1) % PURSES, next, sizeof next);
    stoa_err err = stoa_spawn(s->node, &purse_kind, strchr(name, ':') + 1, &(stoa_spawn_options){.shard = s->shards[i / 2]}, &s->purses[i]);
    purse_link link = {.index = s->index * PURSES + i, .sibling = (i ^ 1) % 2 + 1, .next = text(next)};
    while (!err && (err = purse_call_link(s->node, s->purses[i], link, STOA_S(30), &linked)) != STOA_OK && !stoa_sim_dead(s->sim)) {
        err = STOA_OK;
    }
    return !err;
}

/* A node that dies while it comes up is started again. */
static bool attach(side *s)
{
    for (uint32_t i = 0; i < SHARDS; i++) {
        char path[32];
        (void)snprintf(path, sizeof path, "sim:%s", shard_names[s->index][i]);
        stoa_shard_options options = {.name = shard_names[s->index][i], .core = i, .durability = stoa_durability_DISK,
                                      .journal = &stoa_journal_sim, .path = path};
        STOA_ASSERT(stoa_shard_open(s->node, &options, &s->shards[i]) == STOA_OK);
    }
    for (uint32_t i = 0; i < PURSES; i++) {
        if (!attach_purse(s, i)) { return false; }
    }
    STOA_ASSERT(stoa_port_open(s->node, "nodes", &s->port) == STOA_OK);
    for (uint32_t i = 0; i < SHARDS; i++) {
        STOA_ASSERT(stoa_distant_open(s->port, shard_names[1 - s->index][i], &s->distants[i]) == STOA_OK);
    }
    return true;
}

static void say_again(side *s)
{
    s->out.dropped = false;
    for (uint32_t i = 0; i < SHARDS; i++) {
        if (stoa_distant_again(s->distants[i])) { s->out.dropped = true; }
    }
    stoa_port_flush(s->port);
}

static void disks_crash(const side *s)
{
    for (uint32_t i = 0; i < SHARDS; i++) {
        stoa_sim_disk *disk;
        STOA_ASSERT(stoa_sim_disk_get(shard_names[s->index][i], s->world->seed + s->index * SHARDS + i, &disk) == STOA_OK);
        stoa_sim_disk_crash(disk);
    }
}

/* What was under way from it and to it is gone, and both sides know. */
static void crash(side *s)
{
    side *other = &s->world->sides[1 - s->index];
    do {
        disks_crash(s);
        STOA_ASSERT(stoa_sim_crash(s->sim, &s->node) == STOA_OK);
    } while (!attach(s));
    s->out.count = other->out.count = 0;
    s->out.dropped = other->out.dropped = true;
    for (uint32_t i = 0; i < PURSES; i++) { STOA_ASSERT(state(s, i)->number >= s->acknowledged[i]); }
}

/* --- between the nodes */

static void take_frame(void *context, const stoa_delivery *delivery)
{
    side *s = context;
    line *out = &s->out;
    frame now;
    stoa_distant *to;
    if (!stoa_distant_frame(delivery, now.at, &to, &now.bytes)) { return; }
    STOA_ASSERT(now.bytes <= STOA_DISTANT_FRAME_MAX);
    if (s->world->cut || out->count == LINE || out->dropped) { /* behind a gap nothing goes on */
        out->dropped = true;
        return;
    }
    out->at[(out->first + out->count++) % LINE] = now;
}

static void carry(side *s, uint32_t count)
{
    side *other = &s->world->sides[1 - s->index];
    for (; count && s->out.count; count--) {
        const frame *first = &s->out.at[s->out.first];
        stoa_err err = stoa_distant_take(other->port, other->distants, SHARDS, first->at, first->bytes);
        s->out.first = (s->out.first + 1) % LINE;
        s->out.count--;
        STOA_ASSERT(err == STOA_OK || err == STOA_E_FULL);
        if (err) { s->out.dropped = true; }
    }
    stoa_port_flush(other->port);
}

/* Nobody sent that: a frame with some bytes changed, from a shard that is none, or anything. */
static void forge(side *s)
{
    world *w = s->world;
    side *other = &w->sides[1 - s->index];
    frame fake = {.bytes = 1 + (uint32_t)(dice(w) % 400)};
    for (uint32_t i = 0; i < fake.bytes; i++) { fake.at[i] = (uint8_t)dice(w); }
    stoa_err err = stoa_distant_take(other->port, other->distants, SHARDS, fake.at, fake.bytes);
    STOA_ASSERT(err == STOA_E_MALFORMED || err == STOA_E_VERSION || err == STOA_E_FULL);
    if (!s->out.count) { return; }
    fake = s->out.at[s->out.first];
    err = stoa_distant_take(other->port, NULL, 0, fake.at, fake.bytes);
    STOA_ASSERT(err == STOA_E_DENIED || err == STOA_E_FULL);
    fake.at[0]++;
    err = stoa_distant_take(other->port, other->distants, SHARDS, fake.at, fake.bytes);
    STOA_ASSERT(err == STOA_E_VERSION || err == STOA_E_FULL);
    err = stoa_distant_take(other->port, other->distants, SHARDS, s->out.at[s->out.first].at, fake.bytes - 1);
    STOA_ASSERT(err == STOA_E_MALFORMED || err == STOA_E_FULL);
    w->refused++;
}

static void run_both(world *w, uint64_t for_ns)
{
    for (uint32_t i = 0; i < SIDES; i++) {
        side *s = &w->sides[i];
        stoa_sim_run(s->sim, for_ns);
        if (stoa_sim_dead(s->sim)) { crash(s); }
        (void)stoa_port_poll(s->port, take_frame, s, POLL);
    }
    for (uint32_t i = 0; i < SIDES && !w->cut; i++) {
        side *s = &w->sides[i];
        if (dice(w) % 16 == 0) { forge(s); }
        carry(s, (uint32_t)(dice(w) % LINE));
        if (s->out.dropped && s->out.count == 0) { say_again(s); }
    }
}

/* --- what they do */

static purse_pay random_pay(world *w, const side *s, uint32_t from)
{
    char address[96];
    bool far = dice(w) % 4 != 0;
    uint32_t to = (uint32_t)(dice(w) % PURSES);
    if (!far && to == from) { to = (to + 1) % PURSES; }
    purse_address(far ? 1 - s->index : s->index, to, address, sizeof address);
    if (dice(w) % 16 == 0) { (void)snprintf(address, sizeof address, "%s:purse/nobody", shard_names[1 - s->index][to % SHARDS]); }
    return (purse_pay){.amount = 1 + dice(w) % 100, .hops = dice(w) % 5, .to = text(address)};
}

static void act(side *s)
{
    world *w = s->world;
    uint32_t from = (uint32_t)(dice(w) % PURSES);
    for (uint32_t burst = 1 + (uint32_t)(dice(w) % 24); burst; burst--) {
        purse_pay pay = random_pay(w, s, from);
        (void)purse_post_push(s->node, s->purses[from], (purse_push){pay.amount, pay.hops, pay.to});
    }
    purse_paid paid;
    if (dice(w) % 3 == 0 && purse_call_pay(s->node, s->purses[from], random_pay(w, s, from), STOA_S(5), &paid) == STOA_OK) {
        STOA_ASSERT(paid.number > s->acknowledged[from]);
        s->acknowledged[from] = paid.number;
    }
}

static void step(world *w)
{
    side *s = &w->sides[dice(w) % SIDES];
    if (!stoa_sim_dead(s->sim)) { act(s); }
    if (dice(w) % 8 == 0) { w->cut = !w->cut; }
    if (dice(w) % 24 == 0) { crash(&w->sides[dice(w) % SIDES]); }
    if (dice(w) % 32 == 0 && !stoa_sim_dead(s->sim)) { (void)stoa_shard_drop(s->shards[dice(w) % SHARDS], 0); }
    for (uint32_t rounds = (uint32_t)(dice(w) % 8); rounds; rounds--) { run_both(w, dice(w) % STOA_MS(5)); }
}

/* --- and what must be so */

typedef struct waiting {
    uint64_t count;
    bool all_run;
} waiting;

static void on_channel(void *context, const stoa_channel_view *view)
{
    waiting *sum = context;
    sum->count += view->waiting;
    sum->all_run = sum->all_run && strcmp(view->status, "runs") == 0 && view->cursor == view->mailed;
}

static bool at_rest(const world *w)
{
    waiting sum = {.all_run = true};
    for (uint32_t i = 0; i < SIDES; i++) {
        for (uint32_t k = 0; k < SHARDS; k++) { stoa_channels(w->sides[i].shards[k], on_channel, &sum); }
    }
    return sum.count == 0 && sum.all_run;
}

static void come_to_rest(world *w)
{
    w->cut = false;
    uint32_t rounds = 0;
    for (bool rested = false; !rested; rounds++) {
        STOA_ASSERT(rounds < 4000);
        for (uint32_t i = 0; i < 8; i++) { run_both(w, STOA_MS(5)); }
        rested = at_rest(w);
    }
}

static void check_books(world *w)
{
    int64_t money = 0;
    uint64_t sent = 0, got = 0, back = 0;
    for (uint32_t i = 0; i < SIDES * PURSES; i++) {
        const side *s = &w->sides[i / PURSES];
        const purse *p = state(s, i % PURSES);
        money += p->free;
        sent += p->sent;
        got += p->got;
        back += p->back;
        STOA_ASSERT(p->number >= s->acknowledged[i % PURSES]);
    }
    STOA_ASSERT(sent == got + back);
    STOA_ASSERT(money == 0);
    stoa_sim_fold(w->sides[0].sim, sent);
    stoa_sim_fold(w->sides[0].sim, back);
}

static void check_replays(side *s)
{
    for (uint32_t i = 0; i < SHARDS; i++) {
        stoa_shard_view live;
        uint64_t hash = 0, events = 0;
        STOA_ASSERT(stoa_shard_look(s->shards[i], &live) == STOA_OK);
        STOA_ASSERT(stoa_shard_replay(s->shards[i], live.applied, &hash, &events) == STOA_OK);
        STOA_ASSERT(events == live.applied && hash == live.hash);
        stoa_sim_fold(s->sim, live.hash);
    }
}

static void begin(side *s)
{
    static const stoa_kind *const kinds[] = {&purse_kind, NULL};
    uint64_t seed = s->world->seed + s->index * UINT64_C(0x9e3779b97f4a7c15);
    for (uint32_t i = 0; i < SHARDS; i++) {
        stoa_sim_disk *disk;
        STOA_ASSERT(stoa_sim_disk_get(shard_names[s->index][i], s->world->seed + s->index * SHARDS + i, &disk) == STOA_OK);
    }
    stoa_sim_options options = {.seed = seed, .cores = SHARDS, .kinds = kinds, .memory_bytes = 32 << 20, .trace = stoa_seeds_trace()};
    STOA_ASSERT(stoa_sim_new(&options, &s->sim, &s->node) == STOA_OK);
    if (!attach(s)) { crash(s); }
    stoa_sim_plan plan = stoa_sim_rough;
    plan.per_million[STOA_SIM_KILLED] = 20;
    plan.per_million[STOA_SIM_DISK_BROKEN] = 500;
    plan.per_million[STOA_SIM_DISK_REFUSES] = 2000;
    if (seed % 4) { stoa_sim_faults(s->sim, &plan); }
}

static uint64_t run(uint64_t seed)
{
    static world w;
    memset(&w, 0, sizeof w);
    w.seed = seed;
    for (uint32_t i = 0; i < SIDES; i++) {
        w.sides[i].world = &w;
        w.sides[i].index = i;
        begin(&w.sides[i]);
    }
    for (uint32_t i = 0; i < SIDES; i++) { say_again(&w.sides[i]); }
    for (uint32_t steps = 8 + (uint32_t)(dice(&w) % STEPS); steps; steps--) { step(&w); }
    for (uint32_t i = 0; i < SIDES; i++) { stoa_sim_faults(w.sides[i].sim, NULL); }
    come_to_rest(&w);
    check_books(&w);
    uint64_t hash = 0;
    for (uint32_t i = 0; i < SIDES; i++) {
        check_replays(&w.sides[i]);
        hash = hash * 31 + stoa_sim_hash(w.sides[i].sim);
        stoa_sim_free(w.sides[i].sim);
    }
    stoa_sim_disks_free();
    return hash;
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
