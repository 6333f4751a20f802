/* commands_plugin.c - kinds from libraries: how they fare, what they may, and a message to one of them.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/wire.h"
#include "node/commands.h"
#include "node/plugin/keeper.h"
#include "node/plugin/plugins.h"
#include "node/plugin/read.h"

STOA_PROXY(plugin)

enum { LOOKS = 50, LOOK_MS = 4 };

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

static void put_child(stoa_platform *p, stoa_doc *doc, const stoa_plugin_unit *unit, const plugin_child *child)
{
    char name[2 * STOA_NAME_MAX];
    looker look = {0};
    (void)snprintf(name, sizeof name, "%s/%.*s", unit->plan.settings.name, STOA_TEXT_ARGS(&child->key));
    (void)stoa_actors(p->node, name, take_view, &look);
    stoa_buf state = STOA_BUF_GROWING;
    bool shown = look.found && stoa_inspect(p->node, name, &state) == STOA_OK && !state.cut;
    stoa_doc_open(doc, NULL, '{');
    stoa_doc_text(doc, "actor", name);
    stoa_doc_text(doc, "status", child->gone ? "gone" : look.found ? look.view.status : "down");
    stoa_doc_uint(doc, "core", look.found ? look.view.core : 0);
    stoa_doc_uint(doc, "ends", child->ends);
    stoa_doc_bytes(doc, "last_why", child->why.at, child->why.len);
    stoa_doc_json(doc, "process", shown ? state.at : "null", shown ? state.used_bytes : 4);
    stoa_doc_close(doc, '}');
    stoa_buf_deinit(&state);
}

static stoa_err put_unit(stoa_platform *p, stoa_door_call *call, stoa_doc *doc, const stoa_plugin_unit *unit)
{
    plugin_seen seen = {0};
    if (!unit->plugged) {
        stoa_doc_open(doc, NULL, '{');
        stoa_doc_printf(doc, "actor", "%s", unit->plan.settings.name);
        stoa_doc_text(doc, "status", "refused");
        stoa_doc_null(doc, "core");
        stoa_doc_uint(doc, "ends", 0);
        stoa_doc_text(doc, "last_why", unit->why);
        stoa_doc_null(doc, "process");
        stoa_doc_close(doc, '}');
        return STOA_OK;
    }
    stoa_err err = plugin_call_look(p->node, unit->keeper, (plugin_look){0}, stoa_call_left_ns(call), &seen);
    for (uint32_t i = 0; i < seen.children.count && !err; i++) { put_child(p, doc, unit, &seen.children.at[i]); }
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
    stoa_buf_puts(&call->view, "table plugins: actor, status, core/id?, ends/n, last_why/wrap?");
    return err;
}

/* --- one */

static stoa_err unit_named(stoa_platform *p, const char *name, stoa_plugin_unit **out)
{
    *out = stoa_plugin_named(p->plugins, name);
    return *out ? STOA_OK : stoa_not_found(p, "plug-in", "plugins", name);
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
    stoa_doc_close(&doc, '}');
    put_list(&doc, "peers", unit->plan.peers);
    put_list(&doc, "hears", unit->plan.hears);
    put_list(&doc, "tells", unit->plan.tells);
    put_rows(&doc, unit->plugged ? stoa_plugged_kind(unit->plugged)->table : NULL);
    stoa_doc_close(&doc, '}');
    stoa_buf_puts(&call->view, "fields plugin: name, library, refused/wrap, memory_bytes=memory/bytes, cpu_ns=cpu/ns, turn_ns=turn/ns, "
                               "start_ns=start/ns, sends/n, restarts/n, per_ns=per/ns\ntable messages: name, class, reply?, fields, doc?");
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

/* --- a message */

static const stoa_row *message_named(const stoa_table *table, const char *name)
{
    for (uint32_t id = 1; id <= table->row_count; id++) {
        const stoa_row *row = &table->rows[id];
        bool taken = row->cls == STOA_ROW_COMMAND || row->cls == STOA_ROW_CAST || row->cls == STOA_ROW_CONTROL;
        if (taken && strcmp(row->name, name) == 0) { return row; }
    }
    return NULL;
}

static stoa_err read_payload(const stoa_row *row, const char *json, void *payload)
{
    stoa_json_parser *parser;
    stoa_json value;
    if (!json) { return STOA_OK; }
    stoa_err err = stoa_json_parser_new(64 << 10, &parser);
    if (err) { return err; }
    err = stoa_json_parse(parser, json, strlen(json), &value);
    if (!err) { err = stoa_payload_from_json(&row->payload, value, payload); }
    stoa_json_parser_free(parser);
    return err;
}

/* How often its actor has ended, and of what last; 0: never, or its supervisor does not say. */
static int64_t ends_of(stoa_platform *p, stoa_door_call *call, const stoa_plugin_unit *unit, stoa_text62 *why)
{
    plugin_seen seen = {0};
    if (plugin_call_look(p->node, unit->keeper, (plugin_look){0}, stoa_call_left_ns(call), &seen)) { return 0; }
    for (uint32_t i = 0; i < seen.children.count; i++) {
        if (!STOA_TEXT_EQZ(&seen.children.at[i].key, stoa_call_arg(call, 1))) { continue; }
        *why = seen.children.at[i].why;
        return (int64_t)seen.children.at[i].ends;
    }
    return 0;
}

static stoa_err ask(stoa_platform *p, stoa_door_call *call, const stoa_plugin_unit *unit, stoa_ref to, const stoa_row *row, const void *in, void *reply)
{
    stoa_text62 why = {0};
    int64_t before = ends_of(p, call, unit, &why);
    stoa_err err = stoa_call(p->node, to, row, in, stoa_call_left_ns(call), reply, row->reply->payload.size_bytes);
    bool ended = err == STOA_E_FAILED || err == STOA_E_CLOSED;
    if (!err || !ended) { return err ? STOA_FAIL(err, "it answers %s", stoa_err_name(err)) : STOA_OK; }
    int64_t ends = ends_of(p, call, unit, &why); /* its supervisor hears of an end a little later than who asked */
    for (int i = 0; i < LOOKS && ends == before; i++, (void)poll(NULL, 0, LOOK_MS)) { ends = ends_of(p, call, unit, &why); }
    if (!ends) { return STOA_FAIL(err, "it answers %s; `plugins` shows how it fares", stoa_err_name(err)); }
    return STOA_FAIL(err, "%s: %.*s", ends > before ? "it has ended" : "it is away, or failed; it ended before", STOA_TEXT_ARGS(&why));
}

static stoa_err send(stoa_platform *p, stoa_door_call *call, const stoa_plugin_unit *unit, stoa_ref to, const stoa_row *row)
{
    uint32_t reply_bytes = row->reply ? row->reply->payload.size_bytes : 0;
    uint8_t *room = calloc(1, row->payload.size_bytes + reply_bytes);
    stoa_doc doc = stoa_doc_to(&call->document);
    stoa_buf text = STOA_BUF_GROWING;
    if (!room) { return STOA_FAIL(STOA_E_NOMEM, "a message"); }
    uint8_t *reply = room + row->payload.size_bytes;
    stoa_err err = read_payload(row, stoa_call_arg(call, 3), room);
    if (!err && !row->reply) { err = stoa_post(p->node, to, row, room); }
    if (!err && row->reply) { err = ask(p, call, unit, to, row, room, reply); }
    if (!err && row->reply) { stoa_print_json(&row->reply->payload, reply, &text); }
    if (!err) {
        stoa_doc_open(&doc, NULL, '{');
        stoa_doc_json(&doc, "answer", row->reply ? text.at : "null", row->reply ? text.used_bytes : 4);
        stoa_doc_close(&doc, '}');
        stoa_buf_puts(&call->view, "value answer");
    }
    stoa_buf_deinit(&text);
    free(room);
    return err;
}

stoa_err stoa_command_plugin_ask(stoa_platform *p, stoa_door_call *call)
{
    char name[2 * STOA_WORD_MAX];
    stoa_plugin_unit *unit;
    stoa_err err = unit_named(p, stoa_call_arg(call, 0), &unit);
    if (err) { return err; }
    if (!unit->plugged) { return STOA_FAIL(STOA_E_INVALID, "it was refused when the node came up: %s", unit->why); }
    const stoa_row *row = message_named(stoa_plugged_kind(unit->plugged)->table, stoa_call_arg(call, 2));
    if (!row) { return STOA_FAIL(STOA_E_NOT_FOUND, "plug-in %s takes no message '%s'", unit->plan.settings.name, stoa_call_arg(call, 2)); }
    (void)snprintf(name, sizeof name, "%s/%s", unit->plan.settings.name, stoa_call_arg(call, 1));
    stoa_ref to = stoa_find(p->node, name);
    return to.at ? send(p, call, unit, to, row) : stoa_not_found(p, "actor", "actors", name);
}
