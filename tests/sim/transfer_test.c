/* transfer_test.c - goal: money moves between accounts of different shards once, or comes back, and every shard sums to zero by
 * itself at any time. Method: a trading shard and two of wallets in the simulator transfer at random, to accounts that are not
 * there and of assets that do not fit too, under random faults and power cuts; every account asserts its columns in each apply.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "actors/risk/risk.h"
#include "actors/trade/account_msgs.h"
#include "actors/trade/trade.h"
#include "base/log.h"
#include "runtime/kit.h"
#include "storage/sim/journal.h"

STOA_PROXY(trade_account)

enum { SHARDS = 3, ACCOUNTS = 6, STEPS = 120 };
#define DEADLINE STOA_S(20)
static const char *const shard_names[SHARDS] = {"trade", "vault", "fund"};
static const char *const account_names[ACCOUNTS] = {"treasury", "alice", "safe", "chest", "pension", "charity"};

typedef struct world {
    stoa_sim *sim;
    stoa_node *node;
    stoa_shard *shards[SHARDS];
    stoa_ref accounts[ACCOUNTS];
    uint64_t seed, next_id;
} world;

static bool attach(world *w)
{
    stoa_ref risk;
    for (uint32_t i = 0; i < SHARDS; i++) {
        char path[32];
        (void)snprintf(path, sizeof path, "sim:%s", shard_names[i]);
        stoa_shard_options options = {.name = shard_names[i], .core = i % 2, .durability = stoa_durability_DISK,
                                      .journal = &stoa_journal_sim, .path = path};
        STOA_ASSERT(stoa_shard_open(w->node, &options, &w->shards[i]) == STOA_OK);
    }
    if (stoa_spawn(w->node, &risk_kind, "risk/main", &(stoa_spawn_options){.shard = w->shards[0]}, &risk)) { return false; }
    for (uint32_t i = 0; i < ACCOUNTS; i++) {
        char name[64];
        trade_account_done done;
        stoa_err err;
        (void)snprintf(name, sizeof name, "trade_account/%s", account_names[i]);
        trade_account_open open = {.issuer = i == 0, .wallet = i > 1};
        if (stoa_spawn(w->node, &trade_account_kind, name, &(stoa_spawn_options){.shard = w->shards[i / 2]}, &w->accounts[i])) {
            return false;
        }
        do {
            err = trade_account_call_open(w->node, w->accounts[i], open, DEADLINE, &done);
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
}

static stoa_err transfer(world *w, uint32_t from, const char *to, uint64_t id, stoa_decimal amount)
{
    trade_account_done done;
    trade_account_transfer t = {.transfer_id = id, .asset = stoa_text("USDT"), .amount = amount};
    STOA_ASSERT(STOA_TEXT_SETZ(&t.to, to) == STOA_OK);
    return trade_account_call_transfer(w->node, w->accounts[from], t, DEADLINE, &done);
}

static stoa_decimal total(world *w, uint32_t account)
{
    trade_account_holdings h;
    stoa_decimal sum = 0;
    STOA_ASSERT(trade_account_call_balances(w->node, w->accounts[account], (trade_account_balances){{0}}, DEADLINE, &h) == STOA_OK);
    for (uint32_t i = 0; i < h.balances.count; i++) {
        const trade_balance *b = &h.balances.at[i];
        STOA_ASSERT(b->free + b->reserved + b->transit == 0);
        sum += b->free + b->reserved;
    }
    return sum;
}

static void check(world *w)
{
    stoa_decimal money = 0;
    for (uint32_t i = 0; i < ACCOUNTS; i++) { money += total(w, i); }
    STOA_ASSERT(money == 0);
    for (uint32_t i = 0; i < SHARDS; i++) {
        stoa_shard_view live;
        uint64_t hash = 0, events = 0;
        STOA_ASSERT(stoa_shard_look(w->shards[i], &live) == STOA_OK);
        STOA_ASSERT(stoa_shard_replay(w->shards[i], live.applied, &hash, &events) == STOA_OK);
        STOA_ASSERT(events == live.applied && hash == live.hash);
        stoa_sim_fold(w->sim, live.hash);
    }
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

static world world_new(uint64_t seed, uint64_t snapshot_events)
{
    static const stoa_kind *const kinds[] = {&trade_account_kind, &risk_kind, NULL};
    world w = {.seed = seed};
    for (uint32_t i = 0; i < SHARDS; i++) {
        stoa_sim_disk *disk;
        STOA_ASSERT(stoa_sim_disk_get(shard_names[i], seed + i, &disk) == STOA_OK);
    }
    stoa_sim_options options = {.seed = seed, .cores = 2, .kinds = kinds, .memory_bytes = 32 << 20,
                                .snapshot_events = snapshot_events, .trace = stoa_seeds_trace()};
    STOA_ASSERT(stoa_sim_new(&options, &w.sim, &w.node) == STOA_OK);
    STOA_ASSERT(attach(&w));
    return w;
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

static void an_amount_arrives_in_another_shard_or_comes_back(void **context)
{
    (void)context;
    world w = world_new(1, 0);
    assert_int_equal(transfer(&w, 0, "alice", 1, 500), STOA_OK);
    assert_int_equal(transfer(&w, 1, "safe", 1, 200), STOA_OK);
    assert_int_equal(transfer(&w, 1, "safe", 1, 200), STOA_OK); /* again */
    assert_int_equal(transfer(&w, 1, "safe", 1, 100), STOA_E_DUPLICATE);
    assert_int_equal(transfer(&w, 1, "chest", 1, 200), STOA_E_DUPLICATE);
    assert_int_equal(transfer(&w, 1, "safe", 2, 301), STOA_E_RANGE);
    assert_int_equal(transfer(&w, 1, "nobody", 2, 1), STOA_E_NOT_FOUND);
    assert_int_equal(stoa_sim_settle(w.sim, 1000000), STOA_OK);
    assert_int_equal(total(&w, 1), 300);
    assert_int_equal(total(&w, 2), 200);
    /* an account that was spawned and never opened refuses it */
    stoa_ref closed;
    stoa_spawn_options options = {.shard = w.shards[2]};
    assert_int_equal(stoa_spawn(w.node, &trade_account_kind, "trade_account/closed", &options, &closed), STOA_OK);
    assert_int_equal(transfer(&w, 1, "closed", 3, 50), STOA_OK);
    assert_int_equal(stoa_sim_settle(w.sim, 1000000), STOA_OK);
    assert_int_equal(total(&w, 1), 300);
    assert_int_equal(transfer(&w, 1, "closed", 3, 50), STOA_E_CANCELLED); /* it came back */
    trade_account_place order = {.client_order_id = 1, .symbol = stoa_text("BTCUSDT")};
    trade_account_order out;
    assert_int_equal(trade_account_call_place(w.node, w.accounts[2], order, DEADLINE, &out), STOA_E_UNSUPPORTED); /* a wallet */
    trade_account_deposit forged = {.transfer_id = 9, .asset = stoa_text("USDT"), .amount = 1000};
    assert_int_equal(trade_account_post_deposit(w.node, w.accounts[1], forged), STOA_OK); /* nobody mailed it */
    assert_int_equal(stoa_sim_settle(w.sim, 1000000), STOA_OK);
    check(&w);
    stoa_sim_free(w.sim);
    stoa_sim_disks_free();
}

static void come_to_rest(world *w)
{
    stoa_sim_run(w->sim, STOA_S(20)); /* who fails often is away for a second */
    assert_int_equal(stoa_sim_settle(w->sim, 10000000), STOA_OK);
    assert_null(stoa_sim_dead(w->sim));
}

/* Each turn on the way, there and back, is lost once; a transfer that failed has not happened. */
static void whichever_turn_of_it_is_lost(void **context)
{
    (void)context;
    static const struct { uint32_t from; const char *to; stoa_decimal arrives; uint64_t turns; } ways[] = {
        {1, "safe", 1, 2}, {2, "alice", 1, 2}, {2, "chest", 1, 3}, {1, "closed", 0, 3}, {2, "pension", 1, 2}};
    stoa_ref closed;
    stoa_log_level_set(STOA_LOG_OFF); /* failures are meant */
    world w = world_new(3, 0);
    assert_int_equal(stoa_spawn(w.node, &trade_account_kind, "trade_account/closed", &(stoa_spawn_options){.shard = w.shards[2]}, &closed),
                     STOA_OK);
    assert_int_equal(transfer(&w, 0, "alice", 1, 10000), STOA_OK);
    assert_int_equal(transfer(&w, 0, "safe", 2, 10000), STOA_OK);
    come_to_rest(&w);
    for (size_t i = 0; i < sizeof ways / sizeof ways[0]; i++) {
        uint64_t struck = 1;
        for (uint64_t k = 0; struck; k++) {
            stoa_decimal before = total(&w, ways[i].from);
            uint64_t faults = stoa_sim_faulted(w.sim, STOA_SIM_TURN_LOST);
            assert_int_equal(stoa_sim_inject(w.sim, &(stoa_sim_injection){.fault = STOA_SIM_TURN_LOST, .skip = k}), STOA_OK);
            stoa_err err = transfer(&w, ways[i].from, ways[i].to, 100 * (i + 1) + k, 7);
            come_to_rest(&w);
            struck = stoa_sim_faulted(w.sim, STOA_SIM_TURN_LOST) - faults;
            if (!struck) { assert_true(k >= ways[i].turns && !err); }
            while (stoa_sim_faulted(w.sim, STOA_SIM_TURN_LOST) == faults) { (void)transfer(&w, 0, "nobody", 1, 1); }
            come_to_rest(&w);
            stoa_decimal gone = before - total(&w, ways[i].from);
            assert_true(gone == 0 || (gone == 7 && !err && ways[i].arrives));
            check(&w);
        }
    }
    stoa_sim_free(w.sim);
    stoa_sim_disks_free();
}

static void who_fails_often_hears_of_what_came_back_all_the_same(void **context)
{
    (void)context;
    stoa_ref closed;
    stoa_log_level_set(STOA_LOG_OFF);
    world w = world_new(4, 0);
    assert_int_equal(stoa_spawn(w.node, &trade_account_kind, "trade_account/closed", &(stoa_spawn_options){.shard = w.shards[2]}, &closed),
                     STOA_OK);
    assert_int_equal(transfer(&w, 0, "alice", 1, 500), STOA_OK);
    come_to_rest(&w);
    for (int i = 0; i < 20; i++) { /* all but the first turn, which sends it */
        stoa_sim_injection lost = {.fault = STOA_SIM_TURN_LOST, .at = "trade_account/alice", .skip = 1};
        assert_int_equal(stoa_sim_inject(w.sim, &lost), STOA_OK);
    }
    assert_int_equal(transfer(&w, 1, "closed", 1, 50), STOA_OK);
    come_to_rest(&w);
    assert_int_equal(stoa_sim_faulted(w.sim, STOA_SIM_TURN_LOST), 20);
    assert_int_equal(total(&w, 1), 500);
    check(&w);
    stoa_sim_free(w.sim);
    stoa_sim_disks_free();
}

int main(int argc, char **argv)
{
    int status;
    if (stoa_seeds_main(&seeds, argc, argv, &status)) { return status; }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_amount_arrives_in_another_shard_or_comes_back),
        cmocka_unit_test(whichever_turn_of_it_is_lost),
        cmocka_unit_test(who_fails_often_hears_of_what_came_back_all_the_same),
        cmocka_unit_test(money_is_conserved_in_every_shard_under_every_seed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
