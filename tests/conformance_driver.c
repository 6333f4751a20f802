/* conformance_driver.c - the C client at the end of a pipe, for tests/integration/conformance_test.py: one JSON object a line in,
 * one a line out. tests/conformance_driver.py is the same for the Python client.
 *
 *     {"do":"open","endpoint":...,"server":FILE,"key":PATH}            {"ok":true}
 *     {"do":"wait","deadline_ms":N}                                   {"ok":true,"identity":...,"sessions":N}
 *     {"do":"call","op":"order.place","target":...,"fields":{...},"deadline_ms":N}
 *                                                                     {"ok":true,"answer":{...},"durability":...,"position":N}
 *     {"do":"subscribe","stream":"room","target":...,"after":N,"deadline_ms":N}   {"ok":true,"stream":N}; without after: from now
 *     {"do":"unsubscribe","stream":N}                                 {"ok":true}
 *     {"do":"events","wait_ms":N,"count":N}                           {"ok":true,"events":[...]}: what has come, at least count
 *     {"do":"close"}                                                  {"ok":true}
 * An error: {"error":"DENIED","text":...}.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "actors/client/client_msgs.h"
#include "base/clock.h"
#include "base/json.h"
#include "sdk/stoa_client.h"

enum { LINE_MAX_BYTES = 65536 };

static stoa_client *client;
static stoa_buf events = {.grows = true};
static uint64_t event_count;

/* --- JSON in */

static const char *text_of(stoa_json object, const char *key, char *out, size_t out_bytes)
{
    stoa_json value;
    const char *text = "";
    size_t size = 0;
    if (stoa_json_get(object, key, &value) != STOA_OK || stoa_json_text(value, &text, &size) != STOA_OK) { size = 0; }
    (void)snprintf(out, out_bytes, "%.*s", (int)size, text);
    return out;
}

static uint64_t uint_of(stoa_json object, const char *key, uint64_t otherwise)
{
    stoa_json value;
    uint64_t number = otherwise;
    if (stoa_json_get(object, key, &value) == STOA_OK && stoa_json_uint(value, &number) != STOA_OK) {
        return otherwise;
    }
    return number;
}

static stoa_err fill_enum(const stoa_type *type, stoa_json value, uint8_t *at)
{
    const char *text;
    size_t size;
    stoa_err err = stoa_json_text(value, &text, &size);
    if (err) { return err; }
    for (uint32_t i = 0; i < type->limit; i++) {
        if (strlen(type->values[i]) == size && memcmp(type->values[i], text, size) == 0) {
            *at = (uint8_t)i;
            return STOA_OK;
        }
    }
    return STOA_E_INVALID;
}

static stoa_err fill_text(const stoa_type *type, stoa_json value, uint8_t *at)
{
    const char *text;
    size_t size;
    uint16_t length;
    stoa_err err = stoa_json_text(value, &text, &size);
    if (!err) { err = stoa_text_copy(&length, (char *)at + sizeof length, type->limit, text, size); }
    if (!err) { memcpy(at, &length, sizeof length); }
    return err;
}

static stoa_err fill_uint(const stoa_type *type, stoa_json value, uint8_t *at)
{
    uint64_t number;
    stoa_err err = stoa_json_uint(value, &number);
    if (!err) { memcpy(at, &number, type->size_bytes); } /* little endian */
    return err;
}

static stoa_err fill_decimal(stoa_json value, uint8_t *at)
{
    stoa_decimal number;
    stoa_err err = stoa_json_decimal(value, &number);
    if (!err) { memcpy(at, &number, sizeof number); }
    return err;
}

static stoa_err fill(const stoa_type *record, stoa_json object, uint8_t *payload)
{
    stoa_err err = STOA_OK;
    for (uint32_t i = 0; i < record->field_count && !err; i++) {
        const stoa_field *field = &record->fields[i];
        stoa_json value;
        if (stoa_json_get(object, field->name, &value) != STOA_OK) { continue; }
        uint8_t *at = payload + field->offset;
        switch (field->type->cls) {
        case STOA_CLASS_UINT: err = fill_uint(field->type, value, at); break;
        case STOA_CLASS_ENUM: err = fill_enum(field->type, value, at); break;
        case STOA_CLASS_TEXT: err = fill_text(field->type, value, at); break;
        case STOA_CLASS_DECIMAL: err = fill_decimal(value, at); break;
        case STOA_CLASS_NONE:
        case STOA_CLASS_INT:
        case STOA_CLASS_LIST:
        case STOA_CLASS_BYTES:
        case STOA_CLASS_RECORD: err = STOA_E_UNSUPPORTED;
        }
    }
    return err;
}

/* --- JSON out */

static void say_ok(void)
{
    puts("{\"ok\":true}");
}

static void say_error(stoa_err err, const char *text)
{
    stoa_buf out = STOA_BUF_GROWING;
    stoa_buf_printf(&out, "{\"error\":\"%s\",\"text\":", stoa_client_error_name(err));
    stoa_buf_json_string(&out, text, strlen(text));
    stoa_buf_puts(&out, "}");
    puts(out.at);
    stoa_buf_deinit(&out);
}

/* --- the calls that wait, by operation */

#define CALL(name)                                                                                                     \
    static stoa_err call_##name(const char *target, const void *in, uint64_t deadline_ns, void *out,                   \
                                stoa_client_stamp *s)
CALL(place)
{
    return stoa_client_place(client, target, in, deadline_ns, out, s);
}
CALL(cancel)
{
    const trade_account_cancel *which = in;
    return stoa_client_cancel(client, target, which->order_id, which->client_order_id, deadline_ns, out, s);
}
CALL(query)
{
    const trade_account_query *which = in;
    return stoa_client_query(client, target, which->order_id, which->client_order_id, deadline_ns, out, s);
}
CALL(orders)
{
    const trade_account_orders *which = in;
    return stoa_client_orders(client, target, which->after_order_id, which->open_only, deadline_ns, out, s);
}
CALL(balances)
{
    (void)in;
    return stoa_client_balances(client, target, deadline_ns, out, s);
}
CALL(post)
{
    const room_post *post = in;
    char text[sizeof post->text.at + 1] = "";
    memcpy(text, post->text.at, post->text.len);
    return stoa_client_post(client, target, post->client_post_id, text, deadline_ns, out, s);
}
CALL(history)
{
    const room_history *which = in;
    return stoa_client_history(client, target, which->from_seq, which->limit, deadline_ns, out, s);
}
CALL(join)
{
    (void)in, (void)out;
    return stoa_client_join(client, target, deadline_ns, s);
}
CALL(leave)
{
    (void)in, (void)out;
    return stoa_client_leave(client, target, deadline_ns, s);
}
CALL(members)
{
    (void)in;
    return stoa_client_members(client, target, deadline_ns, out, s);
}
CALL(depth)
{
    return stoa_client_depth(client, target, ((const trade_book_depth *)in)->limit, deadline_ns, out, s);
}
CALL(plugin_ask)
{
    const plugin_ask *ask = in;
    char instance[sizeof ask->instance.at + 1], message[sizeof ask->message.at + 1], payload[sizeof ask->payload.at + 1];
    (void)snprintf(instance, sizeof instance, "%.*s", STOA_TEXT_ARGS(&ask->instance));
    (void)snprintf(message, sizeof message, "%.*s", STOA_TEXT_ARGS(&ask->message));
    (void)snprintf(payload, sizeof payload, "%.*s", STOA_TEXT_ARGS(&ask->payload));
    return stoa_client_plugin_ask(client, target, instance, message, payload, deadline_ns, out, s);
}
CALL(market)
{
    return stoa_client_market(client, target, ((const market_book_view *)in)->limit, deadline_ns, out, s);
}

static const struct {
    uint32_t op;
    stoa_err (*call)(const char *target, const void *in, uint64_t deadline_ns, void *out, stoa_client_stamp *s);
} calls[] = {
    {STOA_OP_ORDER_PLACE, call_place},         {STOA_OP_ORDER_CANCEL, call_cancel},
    {STOA_OP_ORDER_QUERY, call_query},         {STOA_OP_ORDER_LIST, call_orders},
    {STOA_OP_ACCOUNT_BALANCES, call_balances}, {STOA_OP_ROOM_POST, call_post},
    {STOA_OP_ROOM_HISTORY, call_history},      {STOA_OP_ROOM_JOIN, call_join},
    {STOA_OP_ROOM_LEAVE, call_leave},          {STOA_OP_ROOM_MEMBERS, call_members},
    {STOA_OP_BOOK_DEPTH, call_depth},          {STOA_OP_MARKET_VIEW, call_market},
    {STOA_OP_PLUGIN_ASK, call_plugin_ask},
};

static const stoa_protocol_op *op_named(const char *name, size_t *call_out)
{
    for (size_t i = 0; i < sizeof calls / sizeof calls[0]; i++) {
        const stoa_protocol_op *op = stoa_protocol_op_find(calls[i].op);
        if (strcmp(op->name, name) != 0) { continue; }
        *call_out = i;
        return op;
    }
    return NULL;
}

static void do_call(stoa_json line)
{
    static _Alignas(8) uint8_t in[32768], answer[32768];
    char name[64], target[256];
    stoa_json fields;
    stoa_client_stamp stamp = {0};
    size_t index = 0;
    const stoa_protocol_op *op = op_named(text_of(line, "op", name, sizeof name), &index);
    if (!op) {
        say_error(STOA_E_NO_HANDLER, "the driver has no such operation");
        return;
    }
    memset(in, 0, sizeof in);
    memset(answer, 0, sizeof answer);
    stoa_err err = stoa_json_get(line, "fields", &fields);
    if (!err) { err = fill(&op->row->payload, fields, in); }
    if (err) {
        say_error(err, "refused before it was sent");
        return;
    }
    err = calls[index].call(text_of(line, "target", target, sizeof target), in,
                            STOA_MS(uint_of(line, "deadline_ms", 5000)), answer, &stamp);
    if (err) {
        say_error(err, stoa_client_error_text(client));
        return;
    }
    stoa_buf out = STOA_BUF_GROWING;
    stoa_buf_puts(&out, "{\"ok\":true,\"answer\":");
    stoa_print_json(&op->row->reply->payload, answer, &out);
    stoa_buf_printf(&out, ",\"durability\":\"%s\",\"position\":%" PRIu64 "}",
                    stoa_client_durability_name(stamp.durability), stamp.position);
    puts(out.at);
    stoa_buf_deinit(&out);
}

/* --- streams */

static void on_item(void *context, const stoa_client_item *item)
{
    (void)context;
    stoa_buf_printf(&events, "%s{\"stream\":%" PRIu64, event_count++ ? "," : "", item->stream);
    if (item->cls == STOA_CLIENT_GAP) {
        stoa_buf_printf(&events, ",\"kind\":\"gap\",\"from_seq\":%" PRIu64 ",\"to_seq\":%" PRIu64 "}", item->from_seq,
                        item->to_seq);
    } else if (item->cls == STOA_CLIENT_END) {
        stoa_buf_printf(&events, ",\"kind\":\"end\",\"error\":\"%s\"}", stoa_client_error_name(item->error));
    } else {
        const stoa_protocol_item *is = stoa_protocol_item_find((uint64_t)item->cls);
        stoa_buf_printf(&events, ",\"kind\":\"%s\",\"seq\":%" PRIu64 ",\"durability\":\"%s\",\"payload\":", is->name,
                        item->seq, stoa_client_durability_name(item->stamp.durability));
        stoa_print_json(&is->row->payload, item->as.any, &events);
        stoa_buf_puts(&events, "}");
    }
}

static void do_subscribe(stoa_json line)
{
    char name[64], target[256];
    uint64_t handle = 0;
    (void)text_of(line, "stream", name, sizeof name);
    (void)text_of(line, "target", target, sizeof target);
    for (uint32_t i = 0; i < stoa_protocol_stream_count; i++) {
        const stoa_protocol_stream *is = &stoa_protocol_streams[i];
        if (strcmp(is->name, name) != 0) { continue; }
        stoa_err err =
            stoa_client_subscribe(client, (stoa_client_stream)is->no, target, uint_of(line, "after", STOA_CLIENT_NOW),
                                  on_item, NULL, STOA_MS(uint_of(line, "deadline_ms", 5000)), &handle);
        if (err) {
            say_error(err, stoa_client_error_text(client));
        } else {
            printf("{\"ok\":true,\"stream\":%" PRIu64 "}\n", handle);
        }
        return;
    }
    say_error(STOA_E_INVALID, "no such stream");
}

static void do_unsubscribe(stoa_json line)
{
    stoa_err err = stoa_client_unsubscribe(client, uint_of(line, "stream", 0));
    if (err) {
        say_error(err, "");
    } else {
        say_ok();
    }
}

static void do_events(stoa_json line)
{
    uint64_t until = stoa_clock_real.now_ns(&stoa_clock_real) + STOA_MS(uint_of(line, "wait_ms", 0));
    uint64_t wanted = uint_of(line, "count", UINT64_MAX);
    uint64_t now;
    while ((void)stoa_client_poll(client, 0),
           event_count < wanted && (now = stoa_clock_real.now_ns(&stoa_clock_real)) < until) {
        (void)stoa_client_poll(client, until - now);
    }
    printf("{\"ok\":true,\"events\":[%s]}\n", event_count ? events.at : "");
    stoa_buf_clear(&events);
    event_count = 0;
}

/* --- the session */

static void do_open(stoa_json line)
{
    char endpoint[512], server[512], key[512];
    stoa_client_options options = {.endpoint = text_of(line, "endpoint", endpoint, sizeof endpoint),
                                   .server_key = text_of(line, "server", server, sizeof server),
                                   .key = text_of(line, "key", key, sizeof key),
                                   .name = "conformance"};
    stoa_client_close(client);
    client = NULL;
    stoa_err err = stoa_client_open(&options, &client);
    if (err) {
        say_error(err, stoa_client_error_meaning(err));
    } else {
        say_ok();
    }
}

static void do_wait(stoa_json line)
{
    stoa_client_view view;
    stoa_err err = stoa_client_wait(client, STOA_MS(uint_of(line, "deadline_ms", 5000)));
    if (err) {
        say_error(err, stoa_client_error_text(client));
        return;
    }
    stoa_client_look(client, &view);
    printf("{\"ok\":true,\"identity\":\"%s\",\"sessions\":%" PRIu64 "}\n", view.identity, view.sessions);
}

static void do_close(stoa_json line)
{
    (void)line;
    stoa_client_close(client);
    client = NULL;
    say_ok();
}

static const struct {
    const char *name;
    void (*run)(stoa_json line);
    bool needs_client;
} verbs[] = {
    {"open", do_open, false},
    {"wait", do_wait, true},
    {"call", do_call, true},
    {"subscribe", do_subscribe, true},
    {"unsubscribe", do_unsubscribe, true},
    {"events", do_events, true},
    {"close", do_close, false},
};

static void run_line(stoa_json_parser *parser, const char *bytes, size_t size_bytes)
{
    stoa_json line;
    char name[32];
    stoa_err err = stoa_json_parse(parser, bytes, size_bytes, &line);
    if (err) {
        say_error(err, "the line is no JSON");
        return;
    }
    (void)text_of(line, "do", name, sizeof name);
    for (size_t i = 0; i < sizeof verbs / sizeof verbs[0]; i++) {
        if (strcmp(verbs[i].name, name) != 0) { continue; }
        if (verbs[i].needs_client && !client) {
            say_error(STOA_E_CLOSED, "no client is open");
        } else {
            verbs[i].run(line);
        }
        return;
    }
    say_error(STOA_E_NO_HANDLER, name);
}

int main(void)
{
    static char bytes[LINE_MAX_BYTES];
    stoa_json_parser *parser;
    if (stoa_json_parser_new(sizeof bytes, &parser) != STOA_OK) { return 1; }
    while (fgets(bytes, sizeof bytes, stdin)) {
        run_line(parser, bytes, strlen(bytes));
        (void)fflush(stdout);
    }
    stoa_client_close(client);
    stoa_buf_deinit(&events);
    stoa_json_parser_free(parser);
    return 0;
}
