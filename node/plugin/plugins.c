/* plugins.c - see plugins.h.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "node/plugin/plugins.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "actors/market/book_msgs.h"
#include "actors/market/connector_msgs.h"
#include "actors/market/exchange_msgs.h"
#include "actors/market/feed_msgs.h"
#include "actors/risk/risk_msgs.h"
#include "actors/room/room_msgs.h"
#include "actors/strategy/quoter_msgs.h"
#include "actors/trade/account_msgs.h"
#include "actors/trade/book_msgs.h"
#include "base/log.h"
#include "node/figures.h"
#include "node/plugin/keeper.h"
#include "node/plugin/read.h"
#include "node/said.h"

/* What a plug-in may hear of, and send to its peers. */
static const stoa_table *const known[] = {&trade_account_table, &trade_book_table,   &risk_table,            &room_table,         &strategy_quoter_table,
                                          &market_feed_table,   &market_book_table, &market_connector_table, &market_exchange_table};
enum { KNOWN = sizeof known / sizeof known[0], RESTARTS_NEVER_TOO_MANY = 1000000 };

/* The tables there are, those of the plug-ins before this one with them, the keepers' own, and an end. */
static void tables_before(const stoa_plugins *plugins, uint32_t at, const stoa_table *tables[KNOWN + STOA_SETTINGS_PLUGINS + 2])
{
    uint32_t count = 0;
    for (; count < KNOWN; count++) { tables[count] = known[count]; }
    tables[count++] = &plugin_table;
    for (uint32_t i = 0; i < at; i++) {
        if (plugins->units[i].plugged) { tables[count++] = stoa_plugged_kind(plugins->units[i].plugged)->table; }
    }
    tables[count] = NULL;
}

static stoa_err add_table(stoa_plugin_unit *unit, const stoa_table *table)
{
    uint32_t at = 0;
    while (unit->tables[at] && unit->tables[at] != table) { at++; }
    if (at == STOA_PLUGIN_TABLES - 1) { return STOA_FAIL(STOA_E_TOO_LARGE, "peers of more than %d kinds", STOA_PLUGIN_TABLES - 1); }
    unit->tables[at] = table;
    return STOA_OK;
}

/* What it may send: rows of the kinds of its peers. */
static stoa_err give_tables(stoa_plugin_unit *unit, const stoa_table *const *tables)
{
    stoa_err err = STOA_OK;
    for (uint32_t i = 0; unit->plan.peers[i] && !err; i++) {
        const char *peer = unit->plan.peers[i];
        size_t bytes = strcspn(peer, "/");
        const stoa_table *const *table = tables;
        while (*table && (strlen((*table)->name) != bytes || memcmp((*table)->name, peer, bytes) != 0)) { table++; }
        bool own = strlen(unit->plan.settings.name) == bytes && memcmp(unit->plan.settings.name, peer, bytes) == 0;
        if (!*table && !own) { return STOA_FAIL(STOA_E_NOT_FOUND, "peers: %s: there is no such kind here", peer); }
        if (*table) { err = add_table(unit, *table); }
    }
    return err;
}

/* What its actors start with: as the child has described it. */
static stoa_err give_args(stoa_plugin_unit *unit)
{
    const char *json = unit->plan.settings.args;
    if (!json[0]) { return STOA_OK; }
    unit->plan.isolate.args = unit->args;
    unit->plan.isolate.args_bytes = stoa_plugged_args_bytes(unit->plugged);
    return stoa_args_from_json(stoa_plugged_kind(unit->plugged)->table, json, unit->plan.isolate.args_bytes, unit->args);
}

static stoa_err open_unit(stoa_plugins *plugins, uint32_t at)
{
    const stoa_table *tables[KNOWN + STOA_SETTINGS_PLUGINS + 2];
    stoa_plugin_unit *unit = &plugins->units[at];
    const char *library = unit->plan.settings.library;
    if (access(library, R_OK)) { return STOA_FAIL(STOA_E_NOT_FOUND, "%s: %s", library, strerror(errno)); }
    tables_before(plugins, at, tables);
    unit->plan.isolate.tables = unit->tables;
    stoa_err err = give_tables(unit, tables);
    if (!err) { err = stoa_plugged_open(&unit->plan.isolate, tables, &unit->plugged); }
    if (err) { return err; }
    const char *name = stoa_plugged_kind(unit->plugged)->name;
    if (strcmp(name, unit->plan.settings.name) != 0) { err = STOA_FAIL(STOA_E_INVALID, "the kind of its library is %s", name); }
    if (!err) { err = give_args(unit); }
    if (!err) { return STOA_OK; }
    stoa_plugged_close(unit->plugged);
    unit->plugged = NULL;
    return err;
}

static void refuse(stoa_plugin_unit *unit, stoa_err err)
{
    char said[STOA_SAID_MAX];
    (void)snprintf(unit->why, sizeof unit->why, "%s: %s", stoa_err_name(err), stoa_said(said));
    stoa_log(STOA_LOG_WARN, "plugin_refused", STOA_KV("plugin", unit->plan.settings.name), STOA_KV("why", unit->why));
}

static stoa_err spawn_keeper(stoa_platform *p, stoa_plugin_unit *unit)
{
    const stoa_settings_plugin *s = &unit->plan.settings;
    char name[2 * STOA_NAME_MAX];
    plugin_args args = {unit, p->node};
    unit->supervisor = plugin_kind;
    stoa_plugin_hear_answers(unit);
    unit->supervisor.supervision = (stoa_supervision){.restarts = RESTARTS_NEVER_TOO_MANY,
                                                      .per_ms = (uint32_t)(s->per_ns / 1000000),
                                                      .backoff_min_ms = (uint32_t)(s->backoff_ns / 1000000),
                                                      .backoff_max_ms = (uint32_t)(s->backoff_max_ns / 1000000),
                                                      .jitter = true};
    (void)snprintf(name, sizeof name, "plugin/%s", s->name);
    uint32_t core = s->core < 0 ? (uint32_t)p->settings.cores - 1 : (uint32_t)s->core;
    return stoa_spawn(p->node, &unit->supervisor, name, &(stoa_spawn_options){.core = core, .args = &args}, &unit->keeper);
}

stoa_err stoa_plugins_open(stoa_platform *p, stoa_plugins **out)
{
    uint32_t count = p->settings.plugin_count;
    stoa_err err = STOA_OK;
    if (!count) { return STOA_OK; }
    stoa_plugins *plugins = calloc(1, sizeof *plugins + count * sizeof plugins->units[0]);
    if (!plugins) { return STOA_FAIL(STOA_E_NOMEM, "plug-ins"); }
    *out = plugins; /* what fails from here on goes with the platform */
    plugins->count = count;
    for (uint32_t i = 0; i < count && !err; i++) {
        stoa_plugin_unit *unit = &plugins->units[i];
        stoa_plugin_plan_make(&p->settings, i, &unit->plan, NULL); /* its faults were told when the settings were read */
        stoa_err refused = open_unit(plugins, i);
        if (refused) {
            refuse(unit, refused);
        } else {
            err = spawn_keeper(p, unit);
        }
    }
    return err;
}

void stoa_plugins_free(stoa_plugins *plugins)
{
    for (uint32_t i = 0; plugins && i < plugins->count; i++) { stoa_plugged_close(plugins->units[i].plugged); }
    free(plugins);
}

static void measure_actor(stoa_platform *p, const stoa_plugin_unit *unit, uint32_t at)
{
    char labels[160];
    uint64_t dropped[STOA_DROP_COUNT];
    for (unsigned reason = 0; reason < STOA_DROP_COUNT; reason++) { dropped[reason] = stoa_counter_get(&unit->drops[at][reason]); }
    (void)snprintf(labels, sizeof labels, "plugin=\"%s\",actor=\"%s\"", unit->plan.settings.name, unit->plan.actors[at]);
    stoa_figures_set_drops(p->metrics, "stoa_plugin_dropped_total", labels, "What a plug-in's actor sent and nobody got, by reason.", dropped);
}

void stoa_plugins_measure(stoa_platform *p, const stoa_plugins *plugins)
{
    for (uint32_t i = 0; plugins && i < plugins->count; i++) {
        const stoa_plugin_unit *unit = &plugins->units[i];
        for (uint32_t at = 0; unit->plugged && unit->plan.actors[at]; at++) { measure_actor(p, unit, at); }
    }
}

stoa_plugin_unit *stoa_plugin_named(stoa_plugins *plugins, const char *name)
{
    for (uint32_t i = 0; plugins && i < plugins->count; i++) {
        if (strcmp(plugins->units[i].plan.settings.name, name) == 0) { return &plugins->units[i]; }
    }
    return NULL;
}
