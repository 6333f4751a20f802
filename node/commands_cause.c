/* commands_cause.c - `explain event`, and the tree of causes for who else explains: what led to an event and what came of it, across
 * shards (runtime/cause.h), as a document of nested events.
 *
 * The root is the client's request, where there was one; a note stands where a trail ends, with what the archive has of it.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "node/commands_cause.h"

#include <inttypes.h>
#include <string.h>

#include "base/wire.h"
#include "node/archive/archives.h"
#include "storage/archive/journal.h"

#define ANSWER_NS STOA_MS(300) /* of a command's time, for writing its answer */

const char stoa_causes_view[] = "tree tree: event, shard, position/id, at_ns=time/time?, actor, what/wrap";

bool stoa_call_has_time(void *context)
{
    const stoa_door_call *call = context;
    return stoa_call_left_ns(call) > ANSWER_NS;
}

void stoa_causes_begin(stoa_causes *causes, stoa_platform *platform, stoa_door_call *call, stoa_doc *doc)
{
    *causes = (stoa_causes){.platform = platform, .call = call, .doc = doc, .events_left = STOA_CAUSE_EVENTS, .looked_left = STOA_CAUSE_LOOKED};
    while (causes->shard_count < STOA_CAUSES_SHARDS) {
        stoa_shard *shard = stoa_shard_at(platform, causes->shard_count);
        if (!shard) { return; }
        causes->shards[causes->shard_count++] = shard;
    }
}

static void put_root(void *context, const stoa_cause_root *root)
{
    stoa_causes *c = context;
    stoa_doc_open(c->doc, NULL, '{');
    stoa_doc_text(c->doc, "event", root->asked ? "request" : "beginning");
    stoa_doc_text(c->doc, "shard", root->shard);
    stoa_doc_uint(c->doc, "position", root->position);
    stoa_doc_uint(c->doc, "at_ns", root->wall_ns);
    if (root->asked) {
        stoa_doc_uint(c->doc, "client", root->client);
        stoa_doc_uint(c->doc, "session", root->session);
        stoa_doc_uint(c->doc, "request", root->number);
        stoa_doc_printf(c->doc, "what", "client %016" PRIx64 ", session %" PRIu64 ", request %" PRIu64 ": %s%s%s", root->client, root->session,
                        root->number, root->state, root->error ? ", " : "", root->error ? stoa_err_name(root->error) : "");
    } else {
        stoa_doc_text(c->doc, "what", c->noted ? "what is known of it begins here" : "no request with a name led to it: the node itself, a timer, or who does not name its requests");
    }
    stoa_doc_open(c->doc, "children", '[');
}

/* A payload for people: without what only fills up, records flat, bytes by their number. */
static void tell_fields(const stoa_type *type, const void *payload, stoa_buf *out)
{
    for (uint32_t i = 0; type->cls == STOA_CLASS_RECORD && i < type->field_count; i++) {
        const stoa_field *field = &type->fields[i];
        const char *at = (const char *)payload + field->offset;
        if (strncmp(field->name, "reserved", 8) == 0 || field->type->cls == STOA_CLASS_NONE) { continue; }
        if (field->type->cls == STOA_CLASS_RECORD) {
            tell_fields(field->type, at, out);
            continue;
        }
        stoa_buf value = STOA_BUF_GROWING;
        stoa_print_json(field->type, at, &value);
        bool quoted = value.used_bytes > 1 && value.at[0] == '"';
        stoa_buf_printf(out, "%s%s=", out->used_bytes ? " " : "", field->name);
        if (field->type->cls == STOA_CLASS_BYTES) {
            stoa_buf_printf(out, "(%zu bytes)", (value.used_bytes - 2) / 2);
        } else if (value.used_bytes) {
            stoa_buf_put(out, value.at + quoted, value.used_bytes - 2 * quoted);
        }
        stoa_buf_deinit(&value);
    }
}

static void put_event(void *context, const char *shard, const stoa_event_view *event)
{
    stoa_causes *c = context;
    stoa_buf payload = STOA_BUF_GROWING, what = STOA_BUF_GROWING;
    tell_fields(&event->row->payload, event->payload, &what);
    stoa_print_json(&event->row->payload, event->payload, &payload);
    stoa_doc_open(c->doc, NULL, '{');
    stoa_doc_printf(c->doc, "event", "%s.%s", event->row->kind, event->row->name);
    stoa_doc_text(c->doc, "shard", shard);
    stoa_doc_uint(c->doc, "position", event->position);
    stoa_doc_uint(c->doc, "at_ns", event->wall_ns);
    stoa_doc_text(c->doc, "actor", event->actor);
    stoa_doc_uint(c->doc, "cause", event->cause);
    stoa_doc_uint(c->doc, "command", event->command);
    stoa_doc_bytes(c->doc, "what", what.used_bytes ? what.at : "", what.used_bytes);
    if (!payload.cut) { stoa_doc_json(c->doc, "payload", payload.at, payload.used_bytes); }
    stoa_doc_open(c->doc, "children", '[');
    stoa_buf_deinit(&payload);
    stoa_buf_deinit(&what);
    if (c->on_event) { c->on_event(c->on_event_context, shard, event); }
}

static void put_end(void *context)
{
    stoa_causes *c = context;
    stoa_doc_close(c->doc, ']');
    stoa_doc_close(c->doc, '}');
}

static void put_note(void *context, const stoa_cause_note *note)
{
    stoa_causes *c = context;
    char where[STOA_CAUSE_TEXT];
    stoa_buf archive = STOA_BUF_FIXED(where);
    bool missing = note->position && (note->err == STOA_E_GONE || note->err == STOA_E_GAP || note->err == STOA_E_CORRUPT);
    if (missing) { stoa_archives_where(c->platform->archives, note->shard, note->position, &archive); }
    c->noted = true;
    stoa_doc_open(c->doc, NULL, '{');
    stoa_doc_text(c->doc, "event", "the trail ends");
    stoa_doc_text(c->doc, "shard", note->shard);
    if (note->position) { stoa_doc_uint(c->doc, "position", note->position); }
    stoa_doc_text(c->doc, "error", stoa_err_name(note->err));
    stoa_doc_printf(c->doc, "what", "%s%s%.*s", note->text, archive.used_bytes ? "; " : "", (int)archive.used_bytes, archive.at);
    stoa_doc_close(c->doc, '}');
}

static bool has_time(void *context)
{
    const stoa_causes *c = context;
    return stoa_call_has_time(c->call);
}

stoa_err stoa_causes_put(stoa_causes *c, stoa_shard *shard, uint64_t position)
{
    const stoa_cause_to to = {
        .context = c, .root = put_root, .event = put_event, .end = put_end, .note = put_note, .go_on = has_time};
    c->noted = false;
    stoa_err err = stoa_cause_tell(c->shards, c->shard_count, shard, position, &to, &c->events_left, &c->looked_left);
    if (!err) { put_end(c); } /* of the root */
    return err;
}

/* GONE says where it is. */
static stoa_err gone(stoa_platform *platform, const char *shard, stoa_shard *at, uint64_t position)
{
    char where[STOA_CAUSE_TEXT];
    stoa_buf archive = STOA_BUF_FIXED(where);
    stoa_journal_state log;
    stoa_journal_log_state(stoa_shard_journal(at), &log);
    stoa_archives_where(platform->archives, shard, position, &archive);
    return STOA_FAIL(STOA_E_GONE, "position %" PRIu64 " is below the first of shard %s, %" PRIu64 ": it was purged; %.*s", position, shard,
                     log.first, (int)archive.used_bytes, archive.at);
}

stoa_err stoa_command_explain_event(stoa_platform *platform, stoa_door_call *call)
{
    stoa_doc doc = stoa_doc_to(&call->document);
    const char *name = stoa_call_arg(call, 0);
    stoa_shard *shard = stoa_shard_named(platform, name);
    uint64_t position = stoa_call_number(call, 1, 0);
    stoa_causes causes;
    if (!shard) { return stoa_not_found(platform, "shard", "shards", name); }
    stoa_causes_begin(&causes, platform, call, &doc);
    stoa_doc_open(&doc, NULL, '{');
    stoa_doc_open(&doc, "tree", '[');
    stoa_err err = stoa_causes_put(&causes, shard, position);
    if (err) {
        stoa_buf_clear(&call->document);
        return err == STOA_E_GONE ? gone(platform, name, shard, position) : err;
    }
    stoa_doc_close(&doc, ']');
    stoa_doc_uint(&doc, "event_count", STOA_CAUSE_EVENTS - causes.events_left);
    stoa_doc_close(&doc, '}');
    stoa_buf_puts(&call->view, stoa_causes_view);
    return STOA_OK;
}
