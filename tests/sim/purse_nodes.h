/* purse_nodes.h - for tests of channels between nodes: two simulated nodes of two shards each, whose purses pay each other, and what
 * must be so when they have come to rest. How the nodes talk is the test's.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef STOA_TESTS_SIM_PURSE_NODES_H
#define STOA_TESTS_SIM_PURSE_NODES_H

#include "runtime/kit.h"
#include "storage/sim/journal.h"
#include "tests/sim/purse_names.h"

typedef struct purse_side {
    uint64_t seed;
    uint32_t index;
    stoa_sim *sim;
    stoa_node *node;
    stoa_shard *shards[SHARDS];
    stoa_ref purses[PURSES];
    uint64_t acknowledged[PURSES];
} purse_side;

static const purse *purse_state(const purse_side *s, uint32_t index)
{
    return stoa_sim_state(s->sim, s->purses[index], NULL);
}

/* --- a node's life */

static bool purse_side_attach_one(purse_side *s, uint32_t i)
{
    char name[80];
    purse_linked linked;
    purse_address(s->index, i, false, name, sizeof name);
    stoa_err err = stoa_spawn(s->node, &purse_kind, strchr(name, ':') + 1, &(stoa_spawn_options){.shard = s->shards[i / 2]}, &s->purses[i]);
    purse_link link = purse_link_of(s->index, i);
    while (!err && (err = purse_call_link(s->node, s->purses[i], link, STOA_S(30), &linked)) != STOA_OK && !stoa_sim_dead(s->sim)) {
        err = STOA_OK;
    }
    return !err;
}

/* False: it has died while it came up. */
static bool purse_side_attach(purse_side *s)
{
    for (uint32_t i = 0; i < SHARDS; i++) {
        char path[32];
        (void)snprintf(path, sizeof path, "sim:%s@%s", shard_names[s->index][i], node_names[s->index]);
        stoa_shard_options options = {.name = shard_names[s->index][i], .core = i, .durability = stoa_durability_DISK,
                                      .journal = &stoa_journal_sim, .path = path};
        STOA_ASSERT(stoa_shard_open(s->node, &options, &s->shards[i]) == STOA_OK);
    }
    for (uint32_t i = 0; i < PURSES; i++) {
        if (!purse_side_attach_one(s, i)) { return false; }
    }
    return true;
}

static stoa_sim_disk *purse_disk(const purse_side *s, uint32_t i)
{
    stoa_sim_disk *disk;
    char name[32];
    purse_far_shard(s->index, i, name, sizeof name);
    STOA_ASSERT(stoa_sim_disk_get(name, s->seed + s->index * SHARDS + i, &disk) == STOA_OK);
    return disk;
}

/* Its process ends, each disk loses a random part of what was not synced, and it comes up again. */
static void purse_side_crash(purse_side *s)
{
    do {
        for (uint32_t i = 0; i < SHARDS; i++) { stoa_sim_disk_crash(purse_disk(s, i)); }
        STOA_ASSERT(stoa_sim_crash(s->sim, &s->node) == STOA_OK);
    } while (!purse_side_attach(s));
    for (uint32_t i = 0; i < PURSES; i++) { STOA_ASSERT(purse_state(s, i)->number >= s->acknowledged[i]); }
}

static void purse_side_open(purse_side *s, uint64_t seed, uint32_t index)
{
    static const stoa_kind *const kinds[] = {&purse_kind, NULL};
    s->seed = seed;
    s->index = index;
    for (uint32_t i = 0; i < SHARDS; i++) { (void)purse_disk(s, i); }
    stoa_sim_options options = {.seed = seed + index * UINT64_C(0x9e3779b97f4a7c15), .cores = SHARDS, .kinds = kinds,
                                .memory_bytes = 32 << 20, .trace = stoa_seeds_trace()};
    STOA_ASSERT(stoa_sim_new(&options, &s->sim, &s->node) == STOA_OK);
    if (!purse_side_attach(s)) { purse_side_crash(s); }
    stoa_sim_plan plan = stoa_sim_rough;
    plan.per_million[STOA_SIM_KILLED] = 20;
    plan.per_million[STOA_SIM_DISK_BROKEN] = 500;
    plan.per_million[STOA_SIM_DISK_REFUSES] = 2000;
    if (options.seed % 4) { stoa_sim_faults(s->sim, &plan); }
}

/* --- what they do; the first side's stream decides */

static uint64_t purse_dice(purse_side *sides)
{
    return stoa_sim_random(sides[0].sim);
}

static purse_pay purse_random_pay(purse_side *sides, const purse_side *s, uint32_t from)
{
    char address[96];
    bool far = purse_dice(sides) % 4 != 0;
    uint32_t to = (uint32_t)(purse_dice(sides) % PURSES);
    if (!far && to == from) { to = (to + 1) % PURSES; }
    purse_address(far ? 1 - s->index : s->index, to, far, address, sizeof address);
    if (purse_dice(sides) % 16 == 0) { purse_nobody(1 - s->index, to, true, address, sizeof address); }
    return (purse_pay){.amount = 1 + purse_dice(sides) % 100, .hops = purse_dice(sides) % 5, .to = purse_text(address)};
}

static void purse_act(purse_side *sides, purse_side *s)
{
    uint32_t from = (uint32_t)(purse_dice(sides) % PURSES);
    for (uint32_t burst = 1 + (uint32_t)(purse_dice(sides) % 24); burst; burst--) {
        purse_pay pay = purse_random_pay(sides, s, from);
        (void)purse_post_push(s->node, s->purses[from], (purse_push){pay.amount, pay.hops, pay.to});
    }
    purse_paid paid;
    if (purse_dice(sides) % 3 == 0 && purse_call_pay(s->node, s->purses[from], purse_random_pay(sides, s, from), STOA_S(5), &paid) == STOA_OK) {
        STOA_ASSERT(paid.number > s->acknowledged[from]);
        s->acknowledged[from] = paid.number;
    }
}

/* --- and what must be so */

typedef struct purse_waiting {
    uint64_t count;
    bool all_run;
} purse_waiting;

static void purse_on_channel(void *context, const stoa_channel_view *view)
{
    purse_waiting *sum = context;
    sum->count += view->waiting;
    sum->all_run = sum->all_run && strcmp(view->status, "runs") == 0 && view->cursor == view->mailed;
}

static bool purses_at_rest(const purse_side *sides)
{
    purse_waiting sum = {.all_run = true};
    for (uint32_t i = 0; i < SIDES; i++) {
        for (uint32_t k = 0; k < SHARDS; k++) { stoa_channels(sides[i].shards[k], purse_on_channel, &sum); }
    }
    return sum.count == 0 && sum.all_run;
}

static void purses_check_replays(purse_side *s)
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

/* All is quiet: nothing is on its way. */
static void purses_check(purse_side *sides)
{
    int64_t money = 0;
    uint64_t sent = 0, got = 0, back = 0;
    for (uint32_t i = 0; i < SIDES * PURSES; i++) {
        const purse_side *s = &sides[i / PURSES];
        const purse *p = purse_state(s, i % PURSES);
        money += p->free;
        sent += p->sent;
        got += p->got;
        back += p->back;
        STOA_ASSERT(p->number >= s->acknowledged[i % PURSES]);
    }
    STOA_ASSERT(sent == got + back);
    STOA_ASSERT(money == 0);
    for (uint32_t i = 0; i < SIDES; i++) { purses_check_replays(&sides[i]); }
    stoa_sim_fold(sides[0].sim, sent);
    stoa_sim_fold(sides[0].sim, back);
}

static uint64_t purses_close(purse_side *sides)
{
    uint64_t hash = 0;
    for (uint32_t i = 0; i < SIDES; i++) {
        hash = hash * 31 + stoa_sim_hash(sides[i].sim);
        stoa_sim_free(sides[i].sim);
    }
    stoa_sim_disks_free();
    return hash;
}

#endif
