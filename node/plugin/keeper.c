/* keeper.c - see keeper.h.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "node/plugin/keeper.h"

#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "base/wire.h"

STOA_RECORD_DEFINE(plugin_child)
STOA_LIST_DEFINE(plugin_children, plugin_child, STOA_PLUGIN_ACTORS)
STOA_TABLE_DEFINE(plugin)

typedef struct plugin {
    const stoa_plugin_unit *unit;
    plugin_children children;
    struct {
        stoa_ref ref;
        uint64_t since_ns; /* restarts are counted from there */
        int64_t restarts;
    } at[STOA_PLUGIN_ACTORS];
} plugin;
static stoa_err plugin_begin(stoa_turn *turn, void *state, const void *args);
static void plugin_inspect(const void *state, stoa_buf *out);
#define plugin_HEARS(HEAR, K) HEAR(K, stoa_system, down)
STOA_PLAIN_KIND(plugin, .start = plugin_begin, .args_bytes = sizeof(plugin_args), .inspect = plugin_inspect, .mailbox_limit = 256)

static void note(plugin_child *child, const char *why)
{
    char text[sizeof child->why.at + 1];
    (void)snprintf(text, sizeof text, "%s", why);
    (void)STOA_TEXT_SETZ(&child->why, text);
}

static stoa_err spawn(stoa_turn *turn, plugin *self, uint32_t i)
{
    char name[2 * STOA_NAME_MAX];
    const stoa_plugin_plan *plan = &self->unit->plan;
    plugin_child *child = &self->children.at[i];
    (void)snprintf(name, sizeof name, "%s/%s", plan->settings.name, plan->actors[i]);
    stoa_child how = {.name = name, .args = &plan->isolate, .restart = (stoa_restart)plan->settings.restart};
    stoa_err err = stoa_turn_spawn(turn, stoa_plugged_kind(self->unit->plugged), &how, &self->at[i].ref);
    if (!err && !stoa_turn_monitor(turn, self->at[i].ref)) { err = STOA_E_FULL; }
    child->gone = err != STOA_OK;
    if (err) { note(child, stoa_err_name(err)); }
    self->at[i].restarts = 0;
    self->at[i].since_ns = turn->now_ns;
    return err;
}

static stoa_err plugin_begin(stoa_turn *turn, void *state, const void *args)
{
    plugin *self = state;
    self->unit = ((const plugin_args *)args)->unit;
    const char *const *keys = self->unit->plan.actors;
    for (uint32_t i = 0; keys[i]; i++) {
        self->children.count = i + 1;
        (void)STOA_TEXT_SETZ(&self->children.at[i].key, keys[i]);
        (void)spawn(turn, self, i);
    }
    return STOA_OK;
}

/* Whether one more restart is more than the settings allow. */
static bool too_many(const stoa_turn *turn, plugin *self, uint32_t i)
{
    const stoa_settings_plugin *settings = &self->unit->plan.settings;
    if (turn->now_ns - self->at[i].since_ns > settings->per_ns) {
        self->at[i].since_ns = turn->now_ns;
        self->at[i].restarts = 0;
    }
    return ++self->at[i].restarts > settings->restarts;
}

static void give_up(stoa_turn *turn, plugin *self, uint32_t i)
{
    plugin_child *child = &self->children.at[i];
    child->gone = 1;
    (void)stoa_turn_stop(turn, self->at[i].ref, "its plug-in failed too often");
    stoa_log(STOA_LOG_ERROR, "plugin_given_up", STOA_KV("plugin", self->unit->plan.settings.name),
             STOA_KV("actor", self->unit->plan.actors[i]), STOA_KU("ends", child->ends));
}

static stoa_err plugin_on_stoa_system_down(stoa_turn *turn, plugin *self, const stoa_system_down *in)
{
    for (uint32_t i = 0; i < self->children.count; i++) {
        plugin_child *child = &self->children.at[i];
        if (self->at[i].ref.at != in->ref || child->gone) { continue; }
        child->ends++;
        child->ended_ns = turn->wall_ns;
        child->why = in->text;
        child->gone = !in->returns;
        if (in->returns && too_many(turn, self, i)) {
            give_up(turn, self, i);
        } else if (in->returns) {
            (void)stoa_turn_monitor(turn, self->at[i].ref);
        }
    }
    return STOA_OK;
}

static stoa_err plugin_on_look(stoa_turn *turn, plugin *self, const plugin_look *in, plugin_seen *out)
{
    (void)turn, (void)in;
    out->children = self->children;
    return STOA_OK;
}

static stoa_err plugin_on_start(stoa_turn *turn, plugin *self, const plugin_start *in, plugin_started *out)
{
    stoa_err err = STOA_OK;
    (void)in;
    for (uint32_t i = 0; i < self->children.count && !err; i++) {
        if (!self->children.at[i].gone) { continue; }
        err = spawn(turn, self, i);
        out->count += !err;
    }
    return err;
}

static void plugin_inspect(const void *state, stoa_buf *out)
{
    const plugin *self = state;
    plugin_seen seen = {self->children};
    stoa_print_json(&plugin_rows[plugin_ROW_seen].payload, &seen, out);
}
