/* world.c - from settings to actors. See world.h.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "node/world.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

#include "actors/market/market.h"
#include "actors/risk/risk.h"
#include "actors/risk/risk_msgs.h"
#include "actors/room/room.h"
#include "actors/strategy/quoter_msgs.h"
#include "actors/strategy/strategy.h"
#include "actors/trade/account_msgs.h"
#include "actors/trade/book_msgs.h"
#include "actors/trade/trade.h"
#include "base/hash.h"
#include "base/log.h"
#include "node/funds.h"
#include "runtime/distant.h"

STOA_PROXY(trade_account)
STOA_PROXY(trade_book)
STOA_PROXY(risk)
STOA_PROXY(strategy_quoter)

#define DEADLINE STOA_S(10)
enum { CLEAR_TRIES = 500, CLEAR_WAIT_NS = 10000000 };

const stoa_kind *const stoa_world_kinds[] = {
    &trade_account_kind, &trade_book_kind, &risk_kind, &room_kind, &strategy_quoter_kind, NULL,
};

const stoa_kind *stoa_world_kind(const char *name)
{
    static const stoa_kind *const plain[] = {&market_book_kind, NULL};
    const stoa_kind *const *lists[] = {stoa_world_kinds, plain};
    for (size_t i = 0; i < sizeof lists / sizeof lists[0]; i++) {
        for (const stoa_kind *const *kind = lists[i]; *kind; kind++) {
            if (strcmp((*kind)->name, name) == 0) { return *kind; }
        }
    }
    return NULL;
}

static stoa_err spawn(stoa_platform *p, stoa_shard *shard, const stoa_kind *kind, const char *key, stoa_ref *out)
{
    char name[2 * STOA_NAME_MAX];
    (void)snprintf(name, sizeof name, "%s/%s", kind->name, key);
    return stoa_spawn(p->node, kind, name, &(stoa_spawn_options){.shard = shard}, out);
}

/* --- trading */

static stoa_err symbol_of(const stoa_settings_symbol *from, trade_symbol *out)
{
    *out = (trade_symbol){.tick = from->tick,
                          .lot = from->lot,
                          .qty_min = from->qty_min,
                          .qty_max = from->qty_max,
                          .margin_rate = from->margin_rate};
    stoa_err err = STOA_TEXT_SETZ(&out->name, from->name);
    if (!err) { err = STOA_TEXT_SETZ(&out->base, from->base); }
    return err ? err : STOA_TEXT_SETZ(&out->quote, from->quote);
}

static stoa_err add_symbol(stoa_platform *p, stoa_ref risk, const stoa_settings_symbol *from)
{
    trade_symbol symbol;
    stoa_ref book;
    trade_book_done opened;
    risk_done known;
    stoa_err err = symbol_of(from, &symbol);
    if (!err) { err = spawn(p, p->trade, &trade_book_kind, from->name, &book); }
    if (!err) { err = trade_book_call_open(p->node, book, (trade_book_open){symbol}, DEADLINE, &opened); }
    if (!err) { err = risk_call_symbol(p->node, risk, (risk_symbol){symbol}, DEADLINE, &known); }
    if (err == STOA_E_EXISTS) {
        return STOA_FAIL(err, "symbol %s is in the journal with another tick, lot, base or quote, which never change: give it another name", from->name);
    }
    return err ? STOA_PASS(err, "symbol %s", from->name) : STOA_OK;
}

/* Where an account lives, by its settings. */
static stoa_shard *shard_of(const stoa_platform *p, const stoa_settings_account *account)
{
    for (uint32_t i = 0; i < p->settings.vault_count; i++) {
        if (strcmp(p->settings.vaults[i], account->shard) == 0) { return p->vaults[i]; }
    }
    return p->trade;
}

/* Of another node: mail finds it, and waits for that node where it has to. */
static stoa_err expect_account(stoa_platform *p, const stoa_settings_account *from)
{
    char shard[sizeof from->shard + sizeof from->node], actor[2 * STOA_NAME_MAX];
    (void)snprintf(shard, sizeof shard, "%s@%s", from->shard, from->node);
    (void)snprintf(actor, sizeof actor, "%s/%s", trade_account_kind.name, from->name);
    if (stoa_find(p->node, actor).at) {
        return STOA_FAIL(STOA_E_EXISTS, "account %s is in this node's journal; node never changes: give it another name", from->name);
    }
    stoa_err err = stoa_distant_expect(p->node, shard, actor);
    return err ? STOA_PASS(err, "account %s", from->name) : STOA_OK;
}

static stoa_err add_account(stoa_platform *p, stoa_ref risk, const stoa_settings_account *from)
{
    if (from->away) { return expect_account(p, from); }
    stoa_ref account;
    trade_account_done done;
    risk_done known;
    risk_limit limit = {.limits = {from->position_max, from->leverage_max, from->daily_loss_max}};
    stoa_shard *shard = shard_of(p, from);
    trade_account_open open = {.issuer = from->issuer, .margin = from->margin, .wallet = shard != p->trade};
    stoa_err err = spawn(p, shard, &trade_account_kind, from->name, &account);
    if (!err) { err = trade_account_call_open(p->node, account, open, DEADLINE, &done); }
    if (err == STOA_E_EXISTS) {
        return STOA_FAIL(err, "account %s is in the journal as another one; issuer, margin and shard never change: give it another name", from->name);
    }
    if (!err && open.wallet) { return STOA_OK; }
    if (!err) { err = STOA_TEXT_SETZ(&limit.account, from->name); }
    if (!err) { err = risk_call_limit(p->node, risk, limit, DEADLINE, &known); }
    return err ? STOA_PASS(err, "account %s", from->name) : STOA_OK;
}

/* Transfer ids are a function of account and asset, so that funds given before are not given again, wherever the account now
 * stands in the settings. */
static uint64_t fund_id(const char *account, const stoa_text6 *asset)
{
    return stoa_hash64(stoa_hash64(1, account, strlen(account)), asset->at, asset->len) | 1;
}

/* Another amount than was given then is told, and changes nothing; so are funds that came back from a shard that refused them, and
 * those that wait for the next start because too many wait for their node. */
static stoa_err told(const stoa_settings_account *to, stoa_err err)
{
    bool before = err == STOA_E_DUPLICATE || err == STOA_E_STALE, waits = err == STOA_E_FULL && to->away;
    const char *event = before ? "funds_given_before" : waits ? "funds_wait" : err == STOA_E_CANCELLED ? "funds_came_back" : NULL;
    if (!event) { return err; }
    stoa_log(STOA_LOG_WARN, event, STOA_KV("account", to->name));
    return STOA_OK;
}

static stoa_err give_funds(stoa_platform *p, stoa_ref issuer, uint32_t index)
{
    const stoa_settings_account *to = &p->settings.accounts[index];
    stoa_fund funds[STOA_FUNDS_MAX];
    uint32_t count = 0;
    stoa_err err = stoa_funds_parse(to->funds, funds, &count);
    for (uint32_t i = 0; i < count && !err; i++) {
        trade_account_transfer transfer = {.transfer_id = fund_id(to->name, &funds[i].asset),
                                           .asset = funds[i].asset,
                                           .amount = funds[i].amount};
        trade_account_done done;
        err = STOA_TEXT_SETZ(&transfer.to, to->name);
        if (!err) { err = told(to, trade_account_call_transfer(p->node, issuer, transfer, DEADLINE, &done)); }
    }
    return err ? STOA_PASS(err, "funds of %s", to->name) : STOA_OK;
}

static stoa_ref issuer_of(stoa_platform *p)
{
    char name[STOA_NAME_MAX + 1];
    for (uint32_t i = 0; i < p->settings.account_count; i++) {
        if (!p->settings.accounts[i].issuer || p->settings.accounts[i].away) { continue; }
        (void)snprintf(name, sizeof name, "trade_account/%s", p->settings.accounts[i].name);
        return stoa_find(p->node, name);
    }
    return STOA_REF_NONE;
}

stoa_err stoa_world_trade(stoa_platform *p)
{
    stoa_ref risk;
    stoa_err err = spawn(p, p->trade, &risk_kind, "main", &risk);
    for (uint32_t i = 0; i < p->settings.symbol_count && !err; i++) { err = add_symbol(p, risk, &p->settings.symbols[i]); }
    for (uint32_t i = 0; i < p->settings.account_count && !err; i++) { err = add_account(p, risk, &p->settings.accounts[i]); }
    stoa_ref issuer = issuer_of(p);
    for (uint32_t i = 0; i < p->settings.account_count && !err && issuer.at; i++) { err = give_funds(p, issuer, i); }
    return err;
}

stoa_err stoa_world_rooms(stoa_platform *p)
{
    stoa_err err = STOA_OK;
    for (uint32_t i = 0; i < p->settings.room_count && !err; i++) {
        stoa_ref room;
        err = spawn(p, p->room, &room_kind, p->settings.rooms[i].name, &room);
    }
    return err;
}

/* --- the outside market */

static stoa_err simulate(stoa_platform *p, uint32_t core, uint32_t index)
{
    const stoa_settings *s = &p->settings;
    market_exchange_options options = {
        .seed = (uint64_t)s->market_seed + index, .price = s->market_price, .interval_ns = s->market_interval_ns};
    char key[STOA_NAME_MAX + 1];
    stoa_ref book, exchange;
    (void)snprintf(key, sizeof key, "SIM.%s", s->symbols[index].name);
    stoa_err err = symbol_of(&s->symbols[index], &options.symbol);
    if (!err) { err = spawn(p, p->venue, &trade_book_kind, key, &book); }
    if (!err) { err = market_spawn_exchange(p->node, &options, core, &exchange); }
    return err ? STOA_PASS(err, "simulated market of %s", s->symbols[index].name) : STOA_OK;
}

stoa_err stoa_world_market(stoa_platform *p, uint32_t core)
{
    if (p->settings.source != STOA_SOURCE_SIM) { return STOA_OK; }
    stoa_shard_options options = {.name = "venue", .core = core, .durability = stoa_durability_NONE};
    stoa_err err = stoa_shard_open(p->node, &options, &p->venue);
    for (uint32_t i = 0; i < p->settings.symbol_count && !err; i++) { err = simulate(p, core, i); }
    return err;
}

/* --- strategies */

static const stoa_settings_symbol *symbol_named(const stoa_settings *s, const char *name)
{
    for (uint32_t i = 0; i < s->symbol_count; i++) {
        if (strcmp(s->symbols[i].name, name) == 0) { return &s->symbols[i]; }
    }
    return NULL;
}

static stoa_err quoter_config(const stoa_settings *s, const stoa_settings_quoter *from, strategy_quoter_config *out)
{
    const stoa_settings_symbol *symbol = symbol_named(s, from->symbol);
    STOA_ASSERT(symbol); /* stoa_settings_load has checked it */
    *out = (strategy_quoter_config){.tick = symbol->tick,
                                    .qty = from->qty,
                                    .half_spread = from->half_spread,
                                    .requote = from->requote,
                                    .inventory_max = from->inventory_max,
                                    .skew = from->skew,
                                    .stale_ns = from->stale_ns,
                                    .retry_ns = from->retry_ns};
    stoa_err err = STOA_TEXT_SETZ(&out->venue, s->source == STOA_SOURCE_SIM ? "sim" : s->market_venue);
    if (!err) { err = STOA_TEXT_SETZ(&out->symbol, from->symbol); }
    return err ? err : STOA_TEXT_SETZ(&out->account, from->account);
}

static bool at_rest(stoa_platform *p, stoa_ref quoter)
{
    strategy_quoter_state state;
    if (strategy_quoter_call_status(p->node, quoter, (strategy_quoter_status){0}, DEADLINE, &state)) { return false; }
    return state.bid.phase == strategy_quoter_phase_IDLE && state.ask.phase == strategy_quoter_phase_IDLE;
}

/* With orders out from before a restart it follows no other market: have them cancelled first. */
static stoa_err clear_and_configure(stoa_platform *p, stoa_ref quoter, const strategy_quoter_config *config)
{
    strategy_quoter_done done;
    stoa_err err = strategy_quoter_call_pause(p->node, quoter, (strategy_quoter_pause){0}, DEADLINE, &done);
    for (int i = 0; i < CLEAR_TRIES && !err && !at_rest(p, quoter); i++) {
        struct timespec wait = {0, CLEAR_WAIT_NS};
        (void)nanosleep(&wait, NULL);
    }
    if (!err) { err = strategy_quoter_call_configure(p->node, quoter, (strategy_quoter_configure){*config}, DEADLINE, &done); }
    return err ? err : strategy_quoter_call_resume(p->node, quoter, (strategy_quoter_resume){0}, DEADLINE, &done);
}

static stoa_err configure(stoa_platform *p, stoa_ref quoter, const strategy_quoter_config *config)
{
    strategy_quoter_done done;
    stoa_err err = strategy_quoter_call_configure(p->node, quoter, (strategy_quoter_configure){*config}, DEADLINE, &done);
    return err == STOA_E_INVALID ? clear_and_configure(p, quoter, config) : err;
}

stoa_err stoa_world_quoters(stoa_platform *p)
{
    stoa_err err = STOA_OK;
    for (uint32_t i = 0; i < p->settings.quoter_count && !err && p->settings.source != STOA_SOURCE_NONE; i++) {
        const stoa_settings_quoter *from = &p->settings.quoters[i];
        strategy_quoter_config config;
        stoa_ref quoter;
        err = quoter_config(&p->settings, from, &config);
        if (!err) { err = spawn(p, p->trade, &strategy_quoter_kind, from->name, &quoter); }
        if (!err) { err = configure(p, quoter, &config); }
        if (err) { err = STOA_PASS(err, "quoter %s", from->name); }
    }
    return err;
}
