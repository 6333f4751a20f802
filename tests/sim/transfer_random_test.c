/* transfer_random_test.c - goal: money moves between accounts of different shards once, or comes back, and every shard sums to zero by
 * itself at any time. Method: many seeds; the shards of transfer_world.h transfer at random, to accounts that are not there and of
 * assets that do not fit too, under random faults and power cuts.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "tests/sim/transfer_world.h"

enum { STEPS = 120 };

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
}

static void act(world *w)
{
    uint32_t from = (uint32_t)stoa_sim_random(w->sim) % ACCOUNTS, to = (uint32_t)stoa_sim_random(w->sim) % ACCOUNTS;
    stoa_decimal amount = 1 + (stoa_decimal)(stoa_sim_random(w->sim) % 1000);
    uint64_t id = ++w->next_id;
    stoa_err err = transfer(w, from, account_names[to], id, amount);
    if (err == STOA_E_TIMEOUT || err == STOA_E_FAILED) { err = transfer(w, from, account_names[to], id, amount); }
    if (!err && stoa_sim_random(w->sim) % 4 == 0) { /* a retry has no effect */
        err = transfer(w, from, account_names[to], id, amount);
        STOA_ASSERT(!err || err == STOA_E_TIMEOUT || err == STOA_E_FAILED || err == STOA_E_CANCELLED || stoa_sim_dead(w->sim));
    }
    if (stoa_sim_random(w->sim) % 8 == 0) { stoa_sim_run(w->sim, stoa_sim_random(w->sim) % STOA_MS(20)); }
}

static uint64_t run(uint64_t seed)
{
    stoa_log_level_set(STOA_LOG_WARN);
    world w = world_new(seed, seed % 3 ? 0 : 20);
    stoa_sim_plan plan = stoa_sim_rough;
    plan.per_million[STOA_SIM_KILLED] = 50;
    if (seed % 5 == 0) { plan.per_million[STOA_SIM_TURN_LOST] = 20000; }
    if (seed % 4) { stoa_sim_faults(w.sim, &plan); }
    for (uint32_t i = 0; i < STEPS; i++) {
        if (stoa_sim_dead(w.sim) || stoa_sim_random(w.sim) % 40 == 0) { crash(&w); }
        act(&w);
    }
    stoa_sim_faults(w.sim, NULL);
    if (stoa_sim_dead(w.sim)) { crash(&w); }
    STOA_ASSERT(stoa_sim_settle(w.sim, 10000000) == STOA_OK);
    check(&w);
    uint64_t hash = stoa_sim_hash(w.sim);
    stoa_sim_free(w.sim);
    stoa_sim_disks_free();
    return hash;
}

static const stoa_seeds seeds = {.count = 300, .deep = 10000, .run = run};

static void money_is_conserved_in_every_shard_under_every_seed(void **context)
{
    (void)context;
    assert_int_equal(stoa_seeds_run(&seeds), STOA_OK);
}

int main(int argc, char **argv)
{
    int status;
    if (stoa_seeds_main(&seeds, argc, argv, &status)) { return status; }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(money_is_conserved_in_every_shard_under_every_seed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
