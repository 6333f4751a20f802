/* commands_shard.c - what shards want done outside, and dropping one.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>

#include "node/commands.h"

static void put_pending(void *context, const stoa_pending_view *view)
{
    stoa_doc *doc = context;
    char table[sizeof view->table.at + 1];
    (void)snprintf(table, sizeof table, "%.*s", STOA_TEXT_ARGS(&view->table));
    stoa_doc_open(doc, NULL, '{');
    stoa_doc_text(doc, "name", view->name);
    stoa_doc_text(doc, "actor", view->actor);
    stoa_doc_text(doc, "table", table);
    stoa_doc_uint(doc, "row", view->row);
    stoa_doc_uint(doc, "bytes", view->bytes);
    stoa_doc_text(doc, "status", view->status);
    stoa_doc_text(doc, "again", view->again ? "yes" : NULL);
    stoa_doc_close(doc, '}');
}

static void put_counts(stoa_doc *doc, const char *shard, const stoa_outbox_view *view)
{
    stoa_doc_open(doc, NULL, '{');
    stoa_doc_text(doc, "shard", shard);
    stoa_doc_uint(doc, "pending", view->pending);
    stoa_doc_uint(doc, "handed", view->handed);
    stoa_doc_uint(doc, "done", view->done);
    stoa_doc_uint(doc, "failed", view->failed);
    stoa_doc_close(doc, '}');
}

static void put_each(stoa_platform *platform, const stoa_shard *only, stoa_doc *doc, bool counts)
{
    stoa_shard *shard;
    for (uint32_t i = 0; (shard = stoa_shard_at(platform, i)) != NULL; i++) {
        stoa_shard_view is;
        stoa_outbox_view view;
        if ((only && only != shard) || stoa_shard_glance(shard, &is)) { continue; }
        stoa_shard_outbox(shard, &view, counts ? NULL : put_pending, doc);
        if (counts) { put_counts(doc, is.name, &view); }
    }
}

stoa_err stoa_command_outbox(stoa_platform *platform, stoa_door_call *call)
{
    stoa_doc doc = stoa_doc_to(&call->document);
    const char *name = stoa_call_arg(call, 0);
    const stoa_shard *only = name ? stoa_shard_named(platform, name) : NULL;
    if (name && !only) { return stoa_not_found(platform, "shard", "shards", name); }
    stoa_doc_open(&doc, NULL, '{');
    stoa_doc_open(&doc, "outboxes", '[');
    put_each(platform, only, &doc, true);
    stoa_doc_close(&doc, ']');
    stoa_doc_open(&doc, "pending", '[');
    put_each(platform, only, &doc, false);
    stoa_doc_close(&doc, ']');
    stoa_doc_close(&doc, '}');
    stoa_buf_puts(&call->view, "table outboxes: shard, pending/n, handed/n, done/n, failed/n\n"
                               "table pending: name, actor, table, row/n, bytes/bytes, status, again?");
    return STOA_OK;
}

stoa_err stoa_command_drop(stoa_platform *platform, stoa_door_call *call)
{
    bool plan = stoa_invocation_option(&call->said, "plan");
    const char *name = stoa_call_arg(call, 0);
    stoa_shard *shard = stoa_shard_named(platform, name);
    stoa_shard_view before, after;
    if (!shard) { return stoa_not_found(platform, "shard", "shards", name); }
    stoa_err err = stoa_shard_glance(shard, &before);
    if (!err && !plan) { err = stoa_shard_drop(shard, 0); }
    if (!err) { err = stoa_shard_glance(shard, &after); }
    if (err) { return err; }
    stoa_doc doc = stoa_doc_to(&call->document);
    stoa_doc_open(&doc, NULL, '{');
    stoa_doc_open(&doc, "drop", '{');
    stoa_doc_text(&doc, "shard", name);
    stoa_doc_uint(&doc, "applied", before.applied);
    stoa_doc_uint(&doc, "committed", before.committed);
    stoa_doc_uint(&doc, "waiting", before.waiting);
    stoa_doc_uint(&doc, "position", after.applied);
    stoa_doc_printf(&doc, "outcome", "%s: %u actors begin anew from the log; what is not committed never was, and who waits for it "
                    "is told UNAVAILABLE", plan ? "would be" : "done", before.actors);
    stoa_doc_close(&doc, '}');
    stoa_doc_close(&doc, '}');
    stoa_buf_puts(&call->view, "fields drop: shard, applied/id, committed/id, waiting/n, position/id, outcome/wrap");
    return STOA_OK;
}
