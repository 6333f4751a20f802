/* keeper.c - see keeper.h.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "node/plugin/keeper.h"

#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "base/wire.h"
#include "node/plugin/read.h"

enum { ASKS = 64, ROOM_BYTES = 64 << 10 };
#define ASK_NS STOA_S(60) /* who asks has a deadline of his own */

typedef struct plugin {
    stoa_plugin_unit *unit;
    stoa_node *node;
    plugin_children children;
    struct {
        stoa_ref ref;
        uint64_t since_ns; /* restarts are counted from there */
        int64_t restarts;
    } at[PLUGIN_ACTORS_MAX];
    stoa_json_parser *parser;
    struct {
        stoa_asker who;
        const stoa_row *reply; /* NULL: free */
        stoa_ref child;
    } asks[ASKS];
} plugin;
static stoa_err plugin_begin(stoa_turn *turn, void *state, const void *args);
static void plugin_end(void *state);
static void plugin_inspect(const void *state, stoa_buf *out);
#define plugin_HEARS(HEAR, K) HEAR(K, stoa_system, down)
STOA_PLAIN_KIND(plugin, .start = plugin_begin, .args_bytes = sizeof(plugin_args), .stop = plugin_end, .inspect = plugin_inspect, .mailbox_limit = 256)

static void plugin_end(void *state)
{
    stoa_json_parser_free(((plugin *)state)->parser);
}

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
    stoa_isolate isolate = plan->isolate;
    isolate.drops = self->unit->drops[i];
    stoa_child how = {.name = name, .args = &isolate, .restart = (stoa_restart)plan->settings.restart};
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
    self->node = ((const plugin_args *)args)->node;
    const char *const *keys = self->unit->plan.actors;
    stoa_err err = stoa_json_parser_new(sizeof(stoa_text1022), &self->parser);
    if (err) { return err; }
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

/* --- what clients and operators ask */

static stoa_err read_json(plugin *self, const stoa_row *row, const stoa_text1022 *text, void *payload)
{
    stoa_json value;
    memset(payload, 0, row->payload.size_bytes);
    if (!text->len) { return STOA_OK; }
    stoa_err err = stoa_json_parse(self->parser, text->at, text->len, &value);
    return err ? err : stoa_payload_from_json(&row->payload, value, payload);
}

/* One of its own that does not stay away, or an actor elsewhere. Errors: NOT_FOUND, UNAVAILABLE (it is on a node that is lost, or may be on one that was not met yet). */
static stoa_err find_instance(const plugin *self, const stoa_text30 *key, stoa_ref *out)
{
    char name[2 * STOA_NAME_MAX];
    stoa_absence absent;
    for (uint32_t i = 0; i < self->children.count; i++) {
        if (self->children.at[i].gone || !STOA_TEXT_EQ(&self->children.at[i].key, key)) { continue; }
        *out = self->at[i].ref;
        return STOA_OK;
    }
    int length = snprintf(name, sizeof name, "%s/%.*s", self->unit->plan.settings.name, STOA_TEXT_ARGS(key));
    if (length > STOA_NAME_MAX) { return STOA_E_NOT_FOUND; }
    *out = stoa_find_or_absent(self->node, name, &absent);
    return out->at ? STOA_OK : absent.of[0] ? STOA_E_UNAVAILABLE : STOA_E_NOT_FOUND;
}

static stoa_err plugin_on_ask(stoa_turn *turn, plugin *self, const plugin_ask *in, plugin_answer *out)
{
    static _Thread_local _Alignas(16) uint8_t payload[ROOM_BYTES];
    stoa_ref child = STOA_REF_NONE;
    uint32_t at = 0;
    (void)out;
    stoa_err err = find_instance(self, &in->instance, &child);
    const stoa_row *row = err ? NULL : stoa_message_named(stoa_plugged_kind(self->unit->plugged)->table, in->message.at, in->message.len);
    if (!err && !row) { err = STOA_E_NOT_FOUND; }
    if (!err) { err = read_json(self, row, &in->payload, payload); }
    if (err || !row->reply) { return err ? err : stoa_turn_send(turn, child, row, payload); }
    while (at < ASKS && self->asks[at].reply) { at++; }
    if (at == ASKS) { return STOA_E_FULL; }
    err = stoa_turn_ask(turn, child, row, payload, ASK_NS, at);
    if (err) { return err; }
    self->asks[at].reply = row->reply;
    self->asks[at].child = child;
    stoa_turn_keep(turn, &self->asks[at].who);
    return STOA_OK;
}

/* CLOSED of one that is here is its handler's word, such as of a peer that is away; else it ended amid the turn, and was given up. */
static stoa_err answered(const plugin *self, stoa_ref child, stoa_err error)
{
    bool here = false;
    for (uint32_t i = 0; i < self->children.count && !here; i++) { here = !self->children.at[i].gone && stoa_ref_equal(self->at[i].ref, child); }
    return error == STOA_E_CLOSED && !here ? STOA_E_FAILED : error;
}

/* An answer of the plug-in's table, whatever it is. */
static stoa_err hear_answer(stoa_turn *turn, void *state, const void *in, void *out)
{
    plugin *self = state;
    plugin_answer answer = {0};
    (void)out;
    const stoa_row *reply = turn->token < ASKS ? self->asks[turn->token].reply : NULL;
    if (!reply) { return STOA_OK; }
    stoa_buf text = {.at = answer.payload.at, .cap_bytes = sizeof answer.payload.at};
    if (!turn->error) { stoa_print_json(&reply->payload, in, &text); }
    answer.payload.len = (uint16_t)text.used_bytes;
    stoa_err error = text.cut ? STOA_E_TOO_LARGE : answered(self, self->asks[turn->token].child, turn->error);
    self->asks[turn->token].reply = NULL;
    return stoa_turn_answer_kept(turn, &self->asks[turn->token].who, &plugin_rows[plugin_ROW_answer], &answer, error);
}

void stoa_plugin_hear_answers(stoa_plugin_unit *unit)
{
    const stoa_table *table = stoa_plugged_kind(unit->plugged)->table;
    uint32_t count = 0;
    for (const stoa_hear *hear = plugin_kind.hears; hear->row; hear++) { unit->hears[count++] = *hear; }
    for (uint32_t id = 1; id <= table->row_count && count < STOA_PLUGIN_HEARS - 1; id++) {
        if (table->rows[id].cls == STOA_ROW_REPLY) { unit->hears[count++] = (stoa_hear){&table->rows[id], hear_answer}; }
    }
    unit->supervisor.hears = unit->hears;
}

static void plugin_inspect(const void *state, stoa_buf *out)
{
    const plugin *self = state;
    plugin_seen seen = {self->children};
    stoa_print_json(&plugin_rows[plugin_ROW_seen].payload, &seen, out);
}
