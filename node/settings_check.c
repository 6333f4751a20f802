/* settings_check.c - the rules of settings that their table cannot see. See settings_check.h.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "node/settings_check.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "actors/market/venue.h"
#include "node/funds.h"
#include "node/link_check.h"
#include "node/plugin/plan.h"
#include "storage/postgres/pg.h"
#include "transport/envelope.h"

enum { KEY_TEXT_MAX = 64, FAULT_TEXT_MAX = 512 };

static const stoa_settings_symbol *symbol_named(const stoa_settings *s, const char *name)
{
    for (uint32_t i = 0; i < s->symbol_count; i++) {
        if (strcmp(s->symbols[i].name, name) == 0) { return &s->symbols[i]; }
    }
    return NULL;
}

static const stoa_settings_account *account_named(const stoa_settings *s, const char *name)
{
    for (uint32_t i = 0; i < s->account_count; i++) {
        if (strcmp(s->accounts[i].name, name) == 0) { return &s->accounts[i]; }
    }
    return NULL;
}

/* Names become parts of topics, of actors' names and of files: letters (any that are not ASCII, too), digits, - and _. */
static void check_name(const char *list, uint32_t index, const char *name, const stoa_settings_faults *faults)
{
    for (const char *at = name; *at; at++) {
        unsigned char byte = (unsigned char)*at;
        if (isalnum(byte) || byte >= 0x80 || byte == '-' || byte == '_') { continue; }
        stoa_settings_fault_of(faults, list, index, "name", "'%s': a name is of letters, digits, - and _", name);
        return;
    }
}

/* Names of one list: good, and each there once. names: the first; step: bytes to the next. */
static void check_names(const char *list, const char *names, size_t step, uint32_t count, const stoa_settings_faults *faults)
{
    for (uint32_t i = 0; i < count; i++) {
        uint32_t first = 0;
        check_name(list, i, names + i * step, faults);
        while (strcmp(names + first * step, names + i * step) != 0) { first++; }
        if (first < i) { stoa_settings_fault_of(faults, list, i, "name", "%s is there twice", names + i * step); }
    }
}

static void check_all_names(const stoa_settings *s, const stoa_settings_faults *faults)
{
    check_names("symbols", s->symbols[0].name, sizeof s->symbols[0], s->symbol_count, faults);
    check_names("accounts", s->accounts[0].name, sizeof s->accounts[0], s->account_count, faults);
    check_names("clients", s->clients[0].name, sizeof s->clients[0], s->client_count, faults);
    check_names("rooms", s->rooms[0].name, sizeof s->rooms[0], s->room_count, faults);
    check_names("links", s->links[0].name, sizeof s->links[0], s->link_count, faults);
    check_names("quoters", s->quoters[0].name, sizeof s->quoters[0], s->quoter_count, faults);
    check_names("plugins", s->plugins[0].name, sizeof s->plugins[0], s->plugin_count, faults);
}

static void check_symbols(const stoa_settings *s, const stoa_settings_faults *faults)
{
    for (uint32_t i = 0; i < s->symbol_count; i++) {
        const stoa_settings_symbol *symbol = &s->symbols[i];
        int64_t unit;
        if (strcmp(symbol->base, symbol->quote) == 0) { stoa_settings_fault_of(faults, "symbols", i, "quote", "base and quote are the same"); }
        if (stoa_muldiv(symbol->tick, symbol->lot, STOA_DECIMAL_ONE, &unit) || unit == 0) {
            stoa_settings_fault_of(faults, "symbols", i, "lot", "tick x lot must be a whole number of 10^-8 %s", symbol->quote);
        }
        if (symbol->qty_min % symbol->lot) { stoa_settings_fault_of(faults, "symbols", i, "qty_min", "it must be whole lots"); }
        if (symbol->qty_max % symbol->lot) { stoa_settings_fault_of(faults, "symbols", i, "qty_max", "it must be whole lots"); }
        if (symbol->qty_min > symbol->qty_max) { stoa_settings_fault_of(faults, "symbols", i, "qty_max", "it is below qty_min"); }
    }
}

static bool is_vault(const stoa_settings *s, const char *shard)
{
    for (uint32_t i = 0; i < s->vault_count; i++) {
        if (strcmp(s->vaults[i], shard) == 0) { return true; }
    }
    return false;
}

/* Shards are folders of the data folder: their names are plain words, and none of those that have a meaning. */
static bool good_shard_name(const char *shard)
{
    static const char *const taken[] = {"room", "venue", "keys", "flight", "main", "archive", "cold", "shards"};
    for (size_t i = 0; i < sizeof taken / sizeof taken[0]; i++) {
        if (strcmp(shard, taken[i]) == 0) { return false; }
    }
    return strspn(shard, "abcdefghijklmnopqrstuvwxyz0123456789_") == strlen(shard);
}

/* Who lives elsewhere is found there by SHARD@NODE. */
enum { SHARD_BYTES = sizeof((stoa_text30 *)0)->at };
static void check_away(const stoa_settings *s, uint32_t index, const stoa_settings_faults *faults)
{
    const stoa_settings_account *account = &s->accounts[index];
    bool good_node = stoa_node_name_is_good(account->node, strlen(account->node));
    if (!good_node) { stoa_settings_fault_of(faults, "accounts", index, "node", "'%s' cannot be a node's name", account->node); }
    if (!s->link_count) { stoa_settings_fault_of(faults, "accounts", index, "node", "there are no links to %s", account->node); }
    if (strlen(account->shard) + 1 + strlen(account->node) > SHARD_BYTES) {
        stoa_settings_fault_of(faults, "accounts", index, "node", "%s@%s is longer than %d characters", account->shard, account->node, SHARD_BYTES);
    }
}

static void check_shard(stoa_settings *s, uint32_t index, const stoa_settings_faults *faults)
{
    const stoa_settings_account *account = &s->accounts[index];
    if (account->away) { check_away(s, index, faults); }
    if (strcmp(account->shard, "trade") == 0) { return; }
    if (!good_shard_name(account->shard)) {
        stoa_settings_fault_of(faults, "accounts", index, "shard", "'%s' cannot be a shard's name", account->shard);
    } else if (account->issuer || account->margin) {
        stoa_settings_fault_of(faults, "accounts", index, "shard", "issuer and margin live in the shard trade");
    } else if (account->away || is_vault(s, account->shard)) {
        return;
    } else if (s->vault_count == STOA_SETTINGS_VAULTS) {
        stoa_settings_fault_of(faults, "accounts", index, "shard", "more than %d shards beside trade", STOA_SETTINGS_VAULTS);
    } else {
        memcpy(s->vaults[s->vault_count++], account->shard, sizeof account->shard);
    }
}

static void check_issuers(const stoa_settings *s, const stoa_settings_faults *faults)
{
    const stoa_settings_account *issuer = NULL, *funded = NULL;
    for (const stoa_settings_account *account = s->accounts; account < s->accounts + s->account_count; account++) {
        if (account->funds[0] && !funded) { funded = account; }
        if (!account->issuer) { continue; }
        if (issuer) { stoa_settings_fault_of(faults, "accounts", (uint32_t)(account - s->accounts), "issuer", "there is one: %s", issuer->name); }
        issuer = issuer ? issuer : account;
    }
    if (funded && !issuer) { stoa_settings_fault_of(faults, "accounts", (uint32_t)(funded - s->accounts), "funds", "funds come from an issuer, and there is none"); }
}

static void check_accounts(stoa_settings *s, const stoa_settings_faults *faults)
{
    s->vault_count = 0;
    check_issuers(s, faults);
    for (uint32_t i = 0; i < s->account_count; i++) {
        stoa_settings_account *account = &s->accounts[i];
        stoa_fund funds[STOA_FUNDS_MAX];
        uint32_t count;
        account->away = account->node[0] && strcmp(account->node, s->node_name) != 0;
        check_shard(s, i, faults);
        if (stoa_funds_parse(account->funds, funds, &count)) {
            stoa_settings_fault_of(faults, "accounts", i, "funds", "'%s' is not like \"100 USDT, 2 BTC\"", account->funds);
        }
    }
}

static void check_clients(const stoa_settings *s, const stoa_settings_faults *faults)
{
    for (uint32_t i = 0; i < s->client_count; i++) {
        char names[sizeof s->clients[i].accounts], *rest = NULL;
        (void)snprintf(names, sizeof names, "%s", s->clients[i].accounts);
        if (strcmp(s->clients[i].name, "server") == 0) { stoa_settings_fault_of(faults, "clients", i, "name", "server is the node's own key's name"); }
        for (char *name = strtok_r(names, ", ", &rest); name; name = strtok_r(NULL, ", ", &rest)) {
            const stoa_settings_account *account = account_named(s, name);
            if (!account) { stoa_settings_fault_of(faults, "clients", i, "accounts", "there is no account '%s'", name); }
            if (account && account->away) {
                stoa_settings_fault_of(faults, "clients", i, "accounts", "account %s is used on its node, %s", name, account->node);
            }
        }
    }
}

static bool has_word(const char *list, const char *word)
{
    size_t bytes;
    for (; list += strspn(list, ", "), (bytes = strcspn(list, ", ")) > 0; list += bytes) {
        if (strlen(word) == bytes && memcmp(list, word, bytes) == 0) { return true; }
    }
    return false;
}

static void check_asked(const stoa_settings *s, const stoa_settings_faults *faults)
{
    bool elsewhere = s->link_count && has_word(s->shares, plugin_table.name);
    for (uint32_t i = 0; i < s->client_count; i++) {
        char names[sizeof s->clients[i].plugins], *rest = NULL;
        (void)snprintf(names, sizeof names, "%s", s->clients[i].plugins);
        for (char *name = strtok_r(names, ", ", &rest); name; name = strtok_r(NULL, ", ", &rest)) {
            uint32_t at = 0;
            while (at < s->plugin_count && strcmp(s->plugins[at].name, name) != 0) { at++; }
            if (at < s->plugin_count || elsewhere) { continue; }
            stoa_settings_fault_of(faults, "clients", i, "plugins", "there is no plug-in '%s' here; those of linked nodes need 'plugin' in node.shares", name);
        }
    }
}

static void check_quoters(const stoa_settings *s, const stoa_settings_faults *faults)
{
    for (uint32_t i = 0; i < s->quoter_count; i++) {
        const stoa_settings_quoter *q = &s->quoters[i];
        const stoa_settings_account *account = account_named(s, q->account);
        if (!account) { stoa_settings_fault_of(faults, "quoters", i, "account", "there is no account '%s'", q->account); }
        bool trades = account && !account->away && strcmp(account->shard, "trade") == 0;
        if (account && !trades) { stoa_settings_fault_of(faults, "quoters", i, "account", "%s cannot trade", q->account); }
        if (!symbol_named(s, q->symbol)) { stoa_settings_fault_of(faults, "quoters", i, "symbol", "there is no symbol '%s'", q->symbol); }
    }
}

static void check_cores(const stoa_settings *s, const stoa_settings_faults *faults)
{
    if (s->by_core_count > (uint64_t)s->cores) {
        stoa_settings_fault(faults, "cores", "%u are described, node.cores is %lld", s->by_core_count, (long long)s->cores);
    }
}

static void check_venue(const stoa_settings *s, const stoa_settings_faults *faults)
{
    char text[FAULT_TEXT_MAX];
    stoa_buf there = STOA_BUF_FIXED(text);
    if (market_venue_find(s->market_venue, strlen(s->market_venue))) { return; }
    for (const market_venue *const *venue = market_venues; *venue; venue++) { stoa_buf_printf(&there, " %s", (*venue)->name); }
    stoa_settings_fault_by(faults, "market.venue", "market.source", "there is no venue '%s'; there are:%s", s->market_venue, text);
}

static void check_projection(const stoa_settings *s, const stoa_settings_faults *faults)
{
    const char *name = s->projection_schema;
    if (name[strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789_")] || (name[0] >= '0' && name[0] <= '9') || strncmp(name, "pg_", 3) == 0) {
        stoa_settings_fault(faults, "projection.schema", "'%s' must be of a-z, 0-9 and _, and begin with none of 0-9 and pg_", name);
    }
    if (s->projection_postgres[0] && stoa_pg_check(s->projection_postgres)) {
        stoa_settings_fault(faults, "projection.postgres", "%s", stoa_err_trail());
    }
}

static void check_market(const stoa_settings *s, const stoa_settings_faults *faults)
{
    if (s->source == STOA_SOURCE_REPLAY || s->source == STOA_SOURCE_LIVE) { check_venue(s, faults); }
    if (s->source != STOA_SOURCE_REPLAY) { return; }
    if (!s->market_file[0]) {
        stoa_settings_fault_by(faults, "market.file", "market.source", "a replay needs one");
    } else if (access(s->market_file, R_OK)) {
        stoa_settings_fault(faults, "market.file", "%s: %s", s->market_file, strerror(errno));
    }
}

static void check_retention(const stoa_settings *s, const stoa_settings_faults *faults)
{
    static const char *const tiers[] = {"hot", "warm", "cold", "archive"};
    for (stoa_retention_class cls = 0; cls < STOA_RETENTION_COUNT; cls++) {
        const stoa_retention *r = &s->retention[cls];
        const uint64_t kept_ns[] = {r->hot_ns, r->warm_ns, r->cold_ns, r->archive_ns};
        for (unsigned i = 1; i < sizeof tiers / sizeof tiers[0]; i++) {
            char key[KEY_TEXT_MAX], above[KEY_TEXT_MAX];
            if (kept_ns[i - 1] <= kept_ns[i]) { continue; }
            (void)snprintf(key, sizeof key, "retention.%s.%s", stoa_retention_name(cls), tiers[i]);
            (void)snprintf(above, sizeof above, "retention.%s.%s", stoa_retention_name(cls), tiers[i - 1]);
            stoa_settings_fault_by(faults, key, above, "it is shorter than %s", above);
        }
    }
}

void stoa_settings_check(stoa_settings *s, const stoa_settings_faults *faults)
{
    check_cores(s, faults);
    check_all_names(s, faults);
    check_symbols(s, faults);
    check_accounts(s, faults);
    check_clients(s, faults);
    check_asked(s, faults);
    check_quoters(s, faults);
    stoa_plugins_check(s, faults);
    stoa_links_check(s, faults);
    check_market(s, faults);
    check_projection(s, faults);
    check_retention(s, faults);
}
