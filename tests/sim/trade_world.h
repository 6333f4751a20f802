/* trade_world.h - a simulated market for tests: one shard with risk, two books, a bank that issues, and some accounts.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef STOA_TESTS_SIM_TRADE_WORLD_H
#define STOA_TESTS_SIM_TRADE_WORLD_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "actors/risk/risk.h"
#include "actors/risk/risk_msgs.h"
#include "actors/strategy/strategy.h"
#include "actors/trade/account_msgs.h"
#include "actors/trade/book_msgs.h"
#include "actors/trade/trade.h"
#include "runtime/kit.h"
#include "storage/sim/journal.h"

#define WORLD_UNUSED __attribute__((unused))

STOA_PROXY(risk)
STOA_PROXY(trade_account)
STOA_PROXY(trade_book)

enum { WORLD_ACCOUNTS_MAX = 20, WORLD_BOOKS = 2 };
#define WORLD_DEADLINE STOA_S(30)

/* How the worlds of a test are made. */
WORLD_UNUSED static stoa_durability world_durability = stoa_durability_DISK;
WORLD_UNUSED static stoa_sim_observer world_observer;
WORLD_UNUSED static void *world_context;

static const char *const world_assets[] = {"USDT", "BTC", "ETH"};
static const trade_symbol world_symbols[WORLD_BOOKS] = {
    {.name = stoa_text("BTCUSDT"),
     .base = stoa_text("BTC"),
     .quote = stoa_text("USDT"),
     .tick = 1000000,
     .lot = 100000,
     .qty_min = 200000,
     .qty_max = INT64_C(100000) * STOA_DECIMAL_ONE,
     .margin_rate = 10000000},
    {.name = stoa_text("ETHUSDT"),
     .base = stoa_text("ETH"),
     .quote = stoa_text("USDT"),
     .tick = 5000000,
     .lot = 1000000,
     .margin_rate = STOA_DECIMAL_ONE},
};

typedef struct world {
    stoa_sim *sim;
    stoa_node *node;
    stoa_shard *shard;
    stoa_ref risk, bank, books[WORLD_BOOKS], accounts[WORLD_ACCOUNTS_MAX];
    uint32_t account_count;
    uint64_t seed, transfers, clients;
} world;

static stoa_decimal dec(const char *text)
{
    stoa_decimal out = 0;
    assert_int_equal(stoa_decimal_parse(text, strlen(text), &out), STOA_OK);
    return out;
}

WORLD_UNUSED static stoa_text14 symbol_name(const char *name)
{
    stoa_text14 text = {0};
    assert_int_equal(STOA_TEXT_SETZ(&text, name), STOA_OK);
    return text;
}

static stoa_ref world_spawn(world *w, const stoa_kind *kind, const char *name)
{
    stoa_ref ref = STOA_REF_NONE;
    assert_int_equal(stoa_spawn(w->node, kind, name, &(stoa_spawn_options){.shard = w->shard}, &ref), STOA_OK);
    return ref;
}

static void account_name(unsigned account, char *out, size_t out_bytes)
{
    (void)snprintf(out, out_bytes, "a%u", account);
}

/* Open the shard on the present node; what is in its journal is there again. */
static void world_attach(world *w)
{
    stoa_shard_options options = {
        .name = "trade", .durability = world_durability, .journal = &stoa_journal_sim, .path = "sim:trade"};
    assert_int_equal(stoa_shard_open(w->node, &options, &w->shard), STOA_OK);
    w->risk = world_spawn(w, &risk_kind, "risk/main");
    w->books[0] = world_spawn(w, &trade_book_kind, "trade_book/BTCUSDT");
    w->books[1] = world_spawn(w, &trade_book_kind, "trade_book/ETHUSDT");
    w->bank = world_spawn(w, &trade_account_kind, "trade_account/bank");
    for (unsigned i = 0; i < w->account_count; i++) {
        char key[16], name[32];
        account_name(i, key, sizeof key);
        (void)snprintf(name, sizeof name, "trade_account/%s", key);
        w->accounts[i] = world_spawn(w, &trade_account_kind, name);
    }
}

static stoa_err transfer(world *w, stoa_ref from, uint64_t id, const char *to, const char *asset, stoa_decimal amount)
{
    trade_account_done done;
    trade_account_transfer in = {.transfer_id = id, .amount = amount};
    assert_int_equal(STOA_TEXT_SETZ(&in.to, to), STOA_OK);
    assert_int_equal(STOA_TEXT_SETZ(&in.asset, asset), STOA_OK);
    return trade_account_call_transfer(w->node, from, in, WORLD_DEADLINE, &done);
}

/* The bank gives an account an amount. */
WORLD_UNUSED static void deposit(world *w, unsigned account, const char *asset, const char *amount)
{
    char key[16];
    account_name(account, key, sizeof key);
    assert_int_equal(transfer(w, w->bank, ++w->transfers, key, asset, dec(amount)), STOA_OK);
}

static stoa_err open_account(world *w, stoa_ref account, uint64_t issuer, uint64_t margin)
{
    trade_account_done done;
    trade_account_open in = {.issuer = issuer, .margin = margin};
    return trade_account_call_open(w->node, account, in, WORLD_DEADLINE, &done);
}

/* Tell books and risk the symbols; open the bank. */
static void world_open_books(world *w)
{
    for (int i = 0; i < WORLD_BOOKS; i++) {
        trade_book_done opened;
        risk_done listed;
        trade_book_open open = {world_symbols[i]};
        risk_symbol list = {world_symbols[i]};
        assert_int_equal(trade_book_call_open(w->node, w->books[i], open, WORLD_DEADLINE, &opened), STOA_OK);
        assert_int_equal(risk_call_symbol(w->node, w->risk, list, WORLD_DEADLINE, &listed), STOA_OK);
    }
    assert_int_equal(open_account(w, w->bank, 1, 0), STOA_OK);
}

/* A market with so many open accounts without money. */
static world world_new(uint64_t seed, unsigned accounts)
{
    static const stoa_kind *const kinds[] = {&risk_kind, &trade_book_kind, &trade_account_kind, &strategy_quoter_kind,
                                            NULL};
    world w = {.seed = seed, .account_count = accounts};
    stoa_sim_disk *disk;
    stoa_sim_disks_free(); /* of a test that failed */
    assert_int_equal(stoa_sim_disk_get("trade", seed, &disk), STOA_OK);
    stoa_sim_options options = {.seed = seed, .kinds = kinds, .observe = world_observer, .context = world_context, .trace = stoa_seeds_trace()};
    assert_int_equal(stoa_sim_new(&options, &w.sim, &w.node), STOA_OK);
    world_attach(&w);
    world_open_books(&w);
    for (unsigned i = 0; i < accounts; i++) {
        assert_int_equal(open_account(&w, w.accounts[i], 0, 0), STOA_OK);
    }
    return w;
}

WORLD_UNUSED static void world_free(world *w)
{
    stoa_sim_free(w->sim);
    stoa_sim_disks_free();
}

/* Power fails; what was acknowledged comes back. */
WORLD_UNUSED static void world_crash(world *w)
{
    stoa_sim_disk *disk;
    assert_int_equal(stoa_sim_disk_get("trade", w->seed, &disk), STOA_OK);
    stoa_sim_disk_crash(disk);
    assert_int_equal(stoa_sim_crash(w->sim, &w->node), STOA_OK);
    world_attach(w);
}

/* The states are what the journal says they are. */
WORLD_UNUSED static void check_replay(world *w)
{
    stoa_shard_view live;
    uint64_t hash = 0, events = 0;
    assert_int_equal(stoa_sim_settle(w->sim, 1000000), STOA_OK);
    assert_int_equal(stoa_shard_look(w->shard, &live), STOA_OK);
    assert_int_equal(stoa_shard_replay(w->shard, live.applied, &hash, &events), STOA_OK);
    assert_int_equal(events, live.applied);
    assert_true(hash == live.hash);
}

WORLD_UNUSED static trade_account_holdings holdings(world *w, stoa_ref account)
{
    trade_account_holdings out = {0};
    trade_account_balances in = {{0}};
    assert_int_equal(trade_account_call_balances(w->node, account, in, WORLD_DEADLINE, &out), STOA_OK);
    return out;
}

WORLD_UNUSED static trade_balance balance_in(const trade_account_holdings *h, const char *asset)
{
    for (uint32_t i = 0; i < h->balances.count; i++) {
        if (STOA_TEXT_EQZ(&h->balances.at[i].asset, asset)) { return h->balances.at[i]; }
    }
    return (trade_balance){0};
}

WORLD_UNUSED static trade_balance balance(world *w, unsigned account, const char *asset)
{
    trade_account_holdings h = holdings(w, w->accounts[account]);
    return balance_in(&h, asset);
}

/* Every asset's transits sum to zero over all accounts, and each account's columns do. */
WORLD_UNUSED static void check_money(world *w)
{
    stoa_decimal sums[sizeof world_assets / sizeof world_assets[0]] = {0};
    for (unsigned i = 0; i <= w->account_count; i++) {
        trade_account_holdings h = holdings(w, i < w->account_count ? w->accounts[i] : w->bank);
        for (unsigned a = 0; a < sizeof sums / sizeof sums[0]; a++) {
            trade_balance b = balance_in(&h, world_assets[a]);
            assert_int_equal(b.free + b.reserved + b.transit, 0);
            sums[a] += b.transit;
        }
    }
    for (unsigned a = 0; a < sizeof sums / sizeof sums[0]; a++) {
        assert_int_equal(sums[a], 0);
    }
}

WORLD_UNUSED static trade_book_view depth(world *w, unsigned book)
{
    trade_book_view out = {0};
    trade_book_depth in = {0};
    assert_int_equal(trade_book_call_depth(w->node, w->books[book], in, WORLD_DEADLINE, &out), STOA_OK);
    return out;
}

/* Everything one can look at, in one number: equal before and after what must change nothing. */
WORLD_UNUSED static uint64_t fingerprint(world *w)
{
    stoa_shard_view view;
    assert_int_equal(stoa_shard_look(w->shard, &view), STOA_OK);
    return view.hash ^ view.applied;
}

#endif
