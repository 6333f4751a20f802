/* channel_random_test.c - goal: what is mailed between shards takes effect once or comes back once, in order, whatever happens to
 * disks, cores and actors, and however often the power goes. Method: four shards on three cores mail money around in a ring and
 * across, under random faults; now and then the node dies and every disk loses a random part of what was not synced, each by
 * itself. Each purse asserts in its apply functions that payments come in order and once and that it sums to zero. At the end of
 * a seed all that was acknowledged is in the logs, everything that was sent has arrived or come back, all money is there, and a
 * replay of each log gives the live state.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "runtime/kit.h"
#include "storage/sim/journal.h"
#include "tests/sim/purse.h"

enum { SHARDS = 4, CORES = 3, PURSES = 2 * SHARDS, STEPS = 32, LIVES = 3 };
static const char *const shard_names[SHARDS] = {"north", "east", "south", "west"};

typedef struct world {
    stoa_sim *sim;
    stoa_node *node;
    stoa_shard *shards[SHARDS];
    stoa_ref purses[PURSES];
    uint64_t seed, acknowledged[PURSES];
} world;

static void purse_name(uint32_t index, char *name, size_t size)
{
    (void)snprintf(name, size, "purse/%s%u", shard_names[index / 2], index % 2);
}

static stoa_text62 text(const char *from)
{
    stoa_text62 out = {0};
    STOA_ASSERT(STOA_TEXT_SETZ(&out, from) == STOA_OK);
    return out;
}

static const purse *state(const world *w, uint32_t index)
{
    return stoa_sim_state(w->sim, w->purses[index], NULL);
}

/* A node that dies while it comes up is started again. */
static bool attach(world *w)
{
    for (uint32_t i = 0; i < SHARDS; i++) {
        char path[32];
        (void)snprintf(path, sizeof path, "sim:%s", shard_names[i]);
        stoa_shard_options options = {.name = shard_names[i], .core = i % CORES, .durability = stoa_durability_DISK,
                                      .journal = &stoa_journal_sim, .path = path};
        STOA_ASSERT(stoa_shard_open(w->node, &options, &w->shards[i]) == STOA_OK);
    }
    for (uint32_t i = 0; i < PURSES; i++) {
        char name[64], next[64];
        purse_linked linked;
        purse_name(i, name, sizeof name);
        purse_name((i + 2) % PURSES, next, sizeof next);
        stoa_err err = stoa_spawn(w->node, &purse_kind, name, &(stoa_spawn_options){.shard = w->shards[i / 2]}, &w->purses[i]);
        if (err) { return false; }
        purse_link link = {.index = i, .sibling = (i ^ 1) % 2 + 1, .next = text(next)};
        do {
            err = purse_call_link(w->node, w->purses[i], link, STOA_S(30), &linked);
        } while (err && !stoa_sim_dead(w->sim));
        if (err) { return false; }
    }
    return true;
}

static void crash(world *w)
{
    do {
        for (uint32_t i = 0; i < SHARDS; i++) {
            stoa_sim_disk *disk;
            STOA_ASSERT(stoa_sim_disk_get(shard_names[i], w->seed + i, &disk) == STOA_OK);
            stoa_sim_disk_crash(disk);
        }
        STOA_ASSERT(stoa_sim_crash(w->sim, &w->node) == STOA_OK);
    } while (!attach(w));
    for (uint32_t i = 0; i < PURSES; i++) { STOA_ASSERT(state(w, i)->number >= w->acknowledged[i]); }
}

static purse_pay random_pay(world *w, uint32_t from)
{
    static const char *const nobody[] = {"west:purse/nobody", "east:nothing/at_all"};
    char name[64], full[96];
    uint32_t to = (from + 2 + (uint32_t)stoa_sim_random(w->sim) % (PURSES - 2)) % PURSES; /* itself and siblings too, now and then */
    purse_name(to, name, sizeof name);
    (void)snprintf(full, sizeof full, "%s:%s", shard_names[to / 2], name);
    uint64_t dice = stoa_sim_random(w->sim) % 16;
    return (purse_pay){.amount = 1 + stoa_sim_random(w->sim) % 100,
                       .hops = stoa_sim_random(w->sim) % 5,
                       .to = text(dice < 2 ? nobody[dice] : dice < 8 ? name : full)};
}

static void act(world *w)
{
    uint32_t from = (uint32_t)stoa_sim_random(w->sim) % PURSES;
    uint32_t burst = 1 + (uint32_t)stoa_sim_random(w->sim) % 24;
    for (uint32_t i = 0; i < burst; i++) {
        purse_pay pay = random_pay(w, from);
        if (stoa_sim_random(w->sim) % 2) {
            (void)purse_post_push(w->node, w->purses[from], (purse_push){pay.amount, pay.hops, pay.to});
        } else {
            (void)purse_post_nudge(w->node, w->purses[from], (purse_nudge){pay.amount, pay.hops, pay.to});
        }
    }
    if (stoa_sim_random(w->sim) % 3 == 0) {
        purse_paid paid;
        if (purse_call_pay(w->node, w->purses[from], random_pay(w, from), STOA_S(5), &paid) == STOA_OK) {
            STOA_ASSERT(paid.number > w->acknowledged[from]);
            w->acknowledged[from] = paid.number;
        }
    }
    if (stoa_sim_random(w->sim) % 32 == 0 && !stoa_sim_dead(w->sim)) { /* one of them is rebuilt from its log */
        stoa_err err = stoa_shard_drop(w->shards[stoa_sim_random(w->sim) % SHARDS], 0);
        STOA_ASSERT(!err || err == STOA_E_FULL);
    }
    stoa_sim_run(w->sim, stoa_sim_random(w->sim) % STOA_MS(20));
}

static void check_replays(world *w)
{
    for (uint32_t i = 0; i < SHARDS; i++) {
        stoa_shard_view live;
        uint64_t hash = 0, events = 0;
        STOA_ASSERT(stoa_shard_look(w->shards[i], &live) == STOA_OK);
        STOA_ASSERT(stoa_shard_replay(w->shards[i], live.applied, &hash, &events) == STOA_OK);
        STOA_ASSERT(events == live.applied && hash == live.hash);
        stoa_sim_fold(w->sim, live.hash);
    }
}

static void on_channel(void *context, const stoa_channel_view *view)
{
    (void)context;
    STOA_ASSERT(strcmp(view->status, "runs") == 0);
    STOA_ASSERT(view->waiting == 0 && view->cursor == view->mailed);
}

/* All is quiet: nothing is on its way. */
static void check_books(world *w)
{
    int64_t money = 0;
    uint64_t sent = 0, got = 0, back = 0;
    for (uint32_t i = 0; i < PURSES; i++) {
        const purse *p = state(w, i);
        money += p->free;
        sent += p->sent;
        got += p->got;
        back += p->back;
        STOA_ASSERT(p->number >= w->acknowledged[i]);
    }
    for (uint32_t i = 0; i < SHARDS; i++) { stoa_channels(w->shards[i], on_channel, NULL); }
    STOA_ASSERT(sent == got + back);
    STOA_ASSERT(money == 0);
}

static uint64_t run(uint64_t seed)
{
    static const stoa_kind *const kinds[] = {&purse_kind, NULL};
    world w = {.seed = seed};
    for (uint32_t i = 0; i < SHARDS; i++) {
        stoa_sim_disk *disk;
        STOA_ASSERT(stoa_sim_disk_get(shard_names[i], seed + i, &disk) == STOA_OK);
    }
    stoa_sim_options options = {.seed = seed, .cores = CORES, .kinds = kinds, .memory_bytes = 32 << 20, .trace = stoa_seeds_trace()};
    STOA_ASSERT(stoa_sim_new(&options, &w.sim, &w.node) == STOA_OK);
    if (!attach(&w)) { crash(&w); }
    stoa_sim_plan plan = stoa_sim_rough;
    plan.per_million[STOA_SIM_KILLED] = 20;
    plan.per_million[STOA_SIM_DISK_BROKEN] = 500;
    plan.per_million[STOA_SIM_DISK_REFUSES] = 2000;
    if (seed % 4) { stoa_sim_faults(w.sim, &plan); }
    for (uint32_t life = 0; life < LIVES; life++) {
        uint32_t steps = (uint32_t)stoa_sim_random(w.sim) % STEPS;
        for (uint32_t i = 0; i < steps && !stoa_sim_dead(w.sim); i++) { act(&w); }
        crash(&w);
    }
    stoa_sim_faults(w.sim, NULL);
    STOA_ASSERT(stoa_sim_settle(w.sim, 10000000) == STOA_OK);
    if (stoa_sim_dead(w.sim)) {
        crash(&w);
        STOA_ASSERT(stoa_sim_settle(w.sim, 10000000) == STOA_OK);
    }
    check_books(&w);
    check_replays(&w);
    uint64_t hash = stoa_sim_hash(w.sim);
    stoa_sim_free(w.sim);
    stoa_sim_disks_free();
    return hash;
}

static const stoa_seeds seeds = {.count = 300, .deep = 10000, .run = run};

static void mail_takes_effect_once_or_comes_back_under_every_seed(void **context)
{
    (void)context;
    assert_int_equal(stoa_seeds_run(&seeds), STOA_OK);
}

int main(int argc, char **argv)
{
    int status;
    if (stoa_seeds_main(&seeds, argc, argv, &status)) { return status; }
    const struct CMUnitTest tests[] = {cmocka_unit_test(mail_takes_effect_once_or_comes_back_under_every_seed)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
