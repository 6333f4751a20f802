/* transfer_world.h - a trading shard and two of wallets in the simulator, whose accounts transfer money to each other: for the tests of
 * transfers. Every account asserts its columns in each apply.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef STOA_TESTS_SIM_TRANSFER_WORLD_H
#define STOA_TESTS_SIM_TRANSFER_WORLD_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "actors/risk/risk.h"
#include "actors/trade/account_msgs.h"
#include "actors/trade/trade.h"
#include "base/log.h"
#include "runtime/kit.h"
#include "storage/sim/journal.h"

STOA_PROXY(trade_account)

enum { SHARDS = 3, ACCOUNTS = 6 };
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

static inline bool attach(world *w)
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

static inline stoa_err transfer(world *w, uint32_t from, const char *to, uint64_t id, stoa_decimal amount)
{
    trade_account_done done;
    trade_account_transfer t = {.transfer_id = id, .asset = stoa_text("USDT"), .amount = amount};
    STOA_ASSERT(STOA_TEXT_SETZ(&t.to, to) == STOA_OK);
    return trade_account_call_transfer(w->node, w->accounts[from], t, DEADLINE, &done);
}

static inline stoa_decimal total(world *w, uint32_t account)
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

static inline void check(world *w)
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

static inline world world_new(uint64_t seed, uint64_t snapshot_events)
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

#endif
