/* commands_plugin.c - kinds from libraries: how they fare, what they may, and a message to one of them.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/wire.h"
#include "node/commands.h"
#include "node/plugin/keeper.h"
#include "node/plugin/plugins.h"
#include "node/plugin/read.h"

STOA_PROXY(plugin)

/* --- all */

typedef struct looker {
    stoa_actor_view view;
    bool found;
} looker;

static void take_view(void *context, const stoa_actor_view *view)
{
    looker *l = context;
    l->view = *view;
    l->found = true;
}

static void put_drops(stoa_doc *doc, const stoa_counter *drops)
{
    uint64_t all = 0;
    for (unsigned reason = 0; reason < STOA_DROP_COUNT; reason++) { all += stoa_counter_get(&drops[reason]); }
    stoa_doc_uint(doc, "dropped", all);
    stoa_doc_open(doc, "dropped_why", '{');
    for (unsigned reason = 0; reason < STOA_DROP_COUNT; reason++) {
        uint64_t count = stoa_counter_get(&drops[reason]);
        if (count) { stoa_doc_uint(doc, stoa_drop_name((stoa_drop)reason), count); }
    }
    stoa_doc_close(doc, '}');
}

/* What is not as it should be with an actor, and what helps; null: it is well. */
static void put_note(stoa_doc *doc, const stoa_settings_plugin *s, const char *status)
{
    if (strcmp(status, "gone") == 0) {
        stoa_doc_printf(doc, "note", "stays away: it ended for good, or more often than `plugin %s` allows; when it is mended: plugin start %s", s->name, s->name);
    } else if (strcmp(status, "down") == 0) {
        stoa_doc_text(doc, "note", "begins again by itself after a pause");
    } else {
        stoa_doc_null(doc, "note");
    }
}

static void put_child(stoa_platform *p, stoa_doc *doc, const stoa_plugin_unit *unit, const plugin_child *child, uint32_t at)
{
    char name[2 * STOA_NAME_MAX];
    looker look = {0};
    (void)snprintf(name, sizeof name, "%s/%.*s", unit->plan.settings.name, STOA_TEXT_ARGS(&child->key));
    (void)stoa_actors(p->node, name, take_view, &look);
    stoa_buf state = STOA_BUF_GROWING;
    bool shown = look.found && stoa_inspect(p->node, name, &state) == STOA_OK && !state.cut;
    const char *status = child->gone ? "gone" : look.found ? look.view.status : "down";
    stoa_doc_open(doc, NULL, '{');
    stoa_doc_text(doc, "actor", name);
    stoa_doc_text(doc, "status", status);
    stoa_doc_uint(doc, "core", look.found ? look.view.core : 0);
    stoa_doc_uint(doc, "ends", child->ends);
    if (child->ends) {
        stoa_doc_uint(doc, "ended_ns", child->ended_ns);
    } else {
        stoa_doc_null(doc, "ended_ns");
    }
    stoa_doc_bytes(doc, "last_why", child->why.at, child->why.len);
    put_drops(doc, unit->drops[at]);
    put_note(doc, &unit->plan.settings, status);
    stoa_doc_json(doc, "process", shown ? state.at : "null", shown ? state.used_bytes : 4);
    stoa_doc_close(doc, '}');
    stoa_buf_deinit(&state);
}

static void put_refused(stoa_doc *doc, const stoa_plugin_unit *unit)
{
    stoa_doc_open(doc, NULL, '{');
    stoa_doc_text(doc, "actor", unit->plan.settings.name);
    stoa_doc_text(doc, "status", "refused");
    stoa_doc_null(doc, "core");
    stoa_doc_uint(doc, "ends", 0);
    stoa_doc_null(doc, "ended_ns");
    stoa_doc_text(doc, "last_why", unit->why);
    put_drops(doc, unit->drops[0]);
    stoa_doc_text(doc, "note", "none of its actors is here: mend what it was refused for, and start the node anew");
    stoa_doc_null(doc, "process");
    stoa_doc_close(doc, '}');
}

static stoa_err put_unit(stoa_platform *p, stoa_door_call *call, stoa_doc *doc, const stoa_plugin_unit *unit)
{
    plugin_seen seen = {0};
    if (!unit->plugged) {
        put_refused(doc, unit);
        return STOA_OK;
    }
    stoa_err err = plugin_call_look(p->node, unit->keeper, (plugin_look){0}, stoa_call_left_ns(call), &seen);
    for (uint32_t i = 0; i < seen.children.count && !err; i++) { put_child(p, doc, unit, &seen.children.at[i], i); }
    return err;
}

stoa_err stoa_command_plugins(stoa_platform *p, stoa_door_call *call)
{
    stoa_doc doc = stoa_doc_to(&call->document);
    stoa_err err = STOA_OK;
    stoa_doc_open(&doc, NULL, '{');
    stoa_doc_open(&doc, "plugins", '[');
    for (uint32_t i = 0; p->plugins && i < p->plugins->count && !err; i++) { err = put_unit(p, call, &doc, &p->plugins->units[i]); }
    stoa_doc_close(&doc, ']');
    stoa_doc_close(&doc, '}');
    stoa_buf_puts(&call->view, "table plugins: actor, status, core/id?, ends/n, ended_ns=last end/time?, last_why=of what/wrap, dropped=sent to nobody/n, note/wrap");
    return err;
}

/* --- one */

static const stoa_sought a_plugin = {"plug-in", "plugins", {"plugin"}};

static stoa_err unit_named(stoa_platform *p, const char *name, stoa_plugin_unit **out)
{
    stoa_ref keeper;
    *out = stoa_plugin_named(p->plugins, name);
    stoa_err err = *out ? STOA_OK : stoa_find_sought(p, &a_plugin, name, &keeper, NULL);
    return *out || err ? err : STOA_FAIL(STOA_E_NOT_FOUND, "plug-in %s is another node's: that one shows it; `plugin ask` reaches it from here", name);
}

static void put_list(stoa_doc *doc, const char *key, const char *const *list)
{
    stoa_doc_open(doc, key, '[');
    for (; *list; list++) { stoa_doc_text(doc, NULL, *list); }
    stoa_doc_close(doc, ']');
}

static void put_fields(stoa_doc *doc, const stoa_type *type)
{
    stoa_buf fields = STOA_BUF_GROWING;
    for (uint32_t i = 0; i < type->field_count; i++) {
        const stoa_field *field = &type->fields[i];
        if (field->type->cls == STOA_CLASS_NONE) { continue; }
        stoa_buf_printf(&fields, "%s%s %s", fields.used_bytes ? ", " : "", field->name, field->type->name);
    }
    stoa_doc_bytes(doc, "fields", fields.used_bytes ? fields.at : "", fields.used_bytes);
    stoa_buf_deinit(&fields);
}

static void put_rows(stoa_doc *doc, const stoa_table *table)
{
    stoa_doc_open(doc, "messages", '[');
    for (uint32_t id = 1; table && id <= table->row_count; id++) {
        const stoa_row *row = &table->rows[id];
        stoa_doc_open(doc, NULL, '{');
        stoa_doc_text(doc, "name", row->name);
        stoa_doc_text(doc, "class", stoa_row_class_name(row->cls));
        stoa_doc_text(doc, "reply", row->reply ? row->reply->name : NULL);
        put_fields(doc, &row->payload);
        stoa_doc_text(doc, "doc", row->doc);
        stoa_doc_close(doc, '}');
    }
    stoa_doc_close(doc, ']');
}

stoa_err stoa_command_plugin(stoa_platform *p, stoa_door_call *call)
{
    stoa_doc doc = stoa_doc_to(&call->document);
    stoa_plugin_unit *unit;
    stoa_err err = unit_named(p, stoa_call_arg(call, 0), &unit);
    if (err) { return err; }
    const stoa_settings_plugin *s = &unit->plan.settings;
    stoa_doc_open(&doc, NULL, '{');
    stoa_doc_open(&doc, "plugin", '{');
    stoa_doc_text(&doc, "name", s->name);
    stoa_doc_text(&doc, "library", s->library);
    stoa_doc_text(&doc, "refused", unit->plugged ? NULL : unit->why);
    stoa_doc_uint(&doc, "memory_bytes", s->memory_bytes);
    stoa_doc_uint(&doc, "cpu_ns", s->cpu_ns);
    stoa_doc_uint(&doc, "turn_ns", s->turn_ns);
    stoa_doc_uint(&doc, "start_ns", s->start_ns);
    stoa_doc_int(&doc, "sends", s->sends);
    stoa_doc_int(&doc, "restarts", s->restarts);
    stoa_doc_uint(&doc, "per_ns", s->per_ns);
    put_list(&doc, "peers", unit->plan.peers);
    put_list(&doc, "hears", unit->plan.hears);
    put_list(&doc, "tells", unit->plan.tells);
    stoa_doc_close(&doc, '}');
    put_rows(&doc, unit->plugged ? stoa_plugged_kind(unit->plugged)->table : NULL);
    stoa_doc_close(&doc, '}');
    stoa_buf_puts(&call->view, "fields plugin: name, library, refused/wrap, memory_bytes=memory at most/bytes, cpu_ns=processor time at most/ns, turn_ns=turn at most/ns, "
                               "start_ns=start at most/ns, sends=sends a turn at most/n, restarts=restarts at most/n, per_ns=within/ns, "
                               "peers, hears, tells\ntable messages: name, class, reply?, fields, doc?");
    return STOA_OK;
}

stoa_err stoa_command_plugin_start(stoa_platform *p, stoa_door_call *call)
{
    stoa_doc doc = stoa_doc_to(&call->document);
    stoa_plugin_unit *unit;
    plugin_started started = {0};
    stoa_err err = unit_named(p, stoa_call_arg(call, 0), &unit);
    if (err) { return err; }
    if (!unit->plugged) { return STOA_FAIL(STOA_E_INVALID, "it was refused when the node came up: %s", unit->why); }
    err = plugin_call_start(p->node, unit->keeper, (plugin_start){0}, stoa_call_left_ns(call), &started);
    if (err) { return STOA_FAIL(err, "not all of them begin anew"); }
    stoa_doc_open(&doc, NULL, '{');
    stoa_doc_open(&doc, "plugin", '{');
    stoa_doc_text(&doc, "name", unit->plan.settings.name);
    stoa_doc_uint(&doc, "started", started.count);
    stoa_doc_close(&doc, '}');
    stoa_doc_close(&doc, '}');
    stoa_buf_puts(&call->view, "fields plugin: name, started/n");
    return STOA_OK;
}

/* --- a message: by way of the supervisor, here or on another node, as clients' */

static stoa_err check_payload(const stoa_row *row, const char *json)
{
    stoa_json_parser *parser;
    stoa_json value;
    if (!json) { return STOA_OK; }
    void *payload = calloc(1, row->payload.size_bytes + 1);
    stoa_err err = payload ? stoa_json_parser_new(64 << 10, &parser) : STOA_FAIL(STOA_E_NOMEM, "a message");
    if (!err) {
        err = stoa_json_parse(parser, json, strlen(json), &value);
        if (!err) { err = stoa_payload_from_json(&row->payload, value, payload); }
        stoa_json_parser_free(parser);
    }
    free(payload);
    return err;
}

/* What can be said of it before it is sent, where the plug-in is one of this node. */
static stoa_err check_message(stoa_platform *p, const stoa_door_call *call, const stoa_plugin_unit *unit)
{
    char name[2 * STOA_WORD_MAX];
    const char *message = stoa_call_arg(call, 2);
    stoa_ref instance;
    (void)snprintf(name, sizeof name, "%s/%s", unit->plan.settings.name, stoa_call_arg(call, 1));
    stoa_err err = stoa_find_sought(p, &stoa_sought_actor, name, &instance, NULL);
    if (err) { return err; }
    const stoa_row *row = stoa_message_named(stoa_plugged_kind(unit->plugged)->table, message, strlen(message));
    if (!row) { return STOA_FAIL(STOA_E_NOT_FOUND, "plug-in %s takes no message '%s'", unit->plan.settings.name, message); }
    return check_payload(row, stoa_call_arg(call, 3));
}

static stoa_err read_ask(const stoa_door_call *call, plugin_ask *out)
{
    const char *payload = stoa_call_arg(call, 3);
    if (STOA_TEXT_SETZ(&out->instance, stoa_call_arg(call, 1))) { return STOA_FAIL(STOA_E_TOO_LARGE, "an actor's key has at most %zu bytes", sizeof out->instance.at); }
    if (STOA_TEXT_SETZ(&out->message, stoa_call_arg(call, 2))) { return STOA_FAIL(STOA_E_TOO_LARGE, "a message's name has at most %zu bytes", sizeof out->message.at); }
    if (payload && STOA_TEXT_SETZ(&out->payload, payload)) { return STOA_FAIL(STOA_E_TOO_LARGE, "a payload has at most %zu bytes", sizeof out->payload.at); }
    return STOA_OK;
}

/* How its actor fares, as the supervisor says. */
static plugin_child child_of(stoa_platform *p, const stoa_door_call *call, stoa_ref keeper)
{
    plugin_seen seen = {0};
    stoa_err err = plugin_call_look(p->node, keeper, (plugin_look){0}, stoa_call_left_ns(call), &seen);
    for (uint32_t i = 0; i < seen.children.count && !err; i++) {
        if (STOA_TEXT_EQZ(&seen.children.at[i].key, stoa_call_arg(call, 1))) { return seen.children.at[i]; }
    }
    return (plugin_child){0};
}

/* Who hears of an end hears it when the supervisor has (isolate.c), so that one look has the reason. */
static stoa_err say_why(stoa_platform *p, const stoa_door_call *call, stoa_ref keeper, uint64_t ends_before, stoa_err err)
{
    const char *name = stoa_call_arg(call, 0);
    if (err == STOA_E_NOT_FOUND) { return STOA_FAIL(err, "plug-in %s has no actor '%s', or takes no message '%s'", name, stoa_call_arg(call, 1), stoa_call_arg(call, 2)); }
    if (err == STOA_E_UNAVAILABLE) { return STOA_FAIL(err, "%s/%s is on a node that cannot be reached now; links shows it", name, stoa_call_arg(call, 1)); }
    if (err != STOA_E_FAILED && err != STOA_E_CLOSED) { return STOA_FAIL(err, "it answers %s", stoa_err_name(err)); }
    plugin_child child = child_of(p, call, keeper);
    if (child.ends == ends_before && err == STOA_E_CLOSED) { return STOA_FAIL(err, "it answers CLOSED, as one does who sends to an actor that is away"); }
    if (!child.ends) { return STOA_FAIL(err, "it answers %s; `plugins` on its node shows how it fares", stoa_err_name(err)); }
    return STOA_FAIL(err, "%s: %.*s", child.ends > ends_before ? "it has ended" : "it is away, or failed; it ended before", STOA_TEXT_ARGS(&child.why));
}

static void put_answer(stoa_door_call *call, const stoa_text4094 *payload)
{
    stoa_doc doc = stoa_doc_to(&call->document);
    stoa_doc_open(&doc, NULL, '{');
    stoa_doc_json(&doc, "answer", payload->len ? payload->at : "null", payload->len ? payload->len : 4);
    stoa_doc_close(&doc, '}');
    stoa_buf_puts(&call->view, "value answer");
}

stoa_err stoa_command_plugin_ask(stoa_platform *p, stoa_door_call *call)
{
    const stoa_plugin_unit *unit = stoa_plugin_named(p->plugins, stoa_call_arg(call, 0));
    plugin_ask message = {0};
    plugin_answer answer = {0};
    stoa_ref keeper;
    stoa_err err = stoa_find_sought(p, &a_plugin, stoa_call_arg(call, 0), &keeper, NULL);
    if (err == STOA_E_NOT_FOUND && unit) { return STOA_FAIL(STOA_E_INVALID, "it was refused when the node came up: %s", unit->why); }
    if (!err && unit && unit->plugged) { err = check_message(p, call, unit); }
    if (!err) { err = read_ask(call, &message); }
    if (err) { return err; }
    uint64_t ends = child_of(p, call, keeper).ends;
    err = plugin_call_ask(p->node, keeper, message, stoa_call_left_ns(call), &answer);
    if (err) { return say_why(p, call, keeper, ends, err); }
    put_answer(call, &answer.payload);
    return STOA_OK;
}
