/* commands_shard.c - what shards want done outside, what cannot be done and is settled by hand, and dropping a shard.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <string.h>

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
    stoa_doc_text(doc, "error", view->unreadable ? stoa_err_name(view->unreadable) : NULL);
    stoa_doc_close(doc, '}');
}

static void put_unreadable(void *context, const stoa_pending_view *view)
{
    if (view->unreadable) { put_pending(context, view); }
}

static void put_counts(stoa_doc *doc, const char *shard, const stoa_outbox_view *view)
{
    stoa_doc_open(doc, NULL, '{');
    stoa_doc_text(doc, "shard", shard);
    stoa_doc_uint(doc, "pending", view->pending);
    stoa_doc_uint(doc, "handed", view->handed);
    stoa_doc_uint(doc, "unreadable", view->unreadable);
    stoa_doc_uint(doc, "done", view->done);
    stoa_doc_uint(doc, "failed", view->failed);
    stoa_doc_close(doc, '}');
}

typedef void (*pending_visit)(void *context, const stoa_pending_view *view);

/* visit NULL: the counts. */
static void put_each(stoa_platform *platform, const stoa_shard *only, stoa_doc *doc, pending_visit visit)
{
    stoa_shard *shard;
    for (uint32_t i = 0; (shard = stoa_shard_at(platform, i)) != NULL; i++) {
        stoa_shard_view is;
        stoa_outbox_view view;
        if ((only && only != shard) || stoa_shard_glance(shard, &is)) { continue; }
        stoa_shard_outbox(shard, &view, visit, doc);
        if (!visit) { put_counts(doc, is.name, &view); }
    }
}

#define PENDING_COLUMNS "name, actor, table, row/n, bytes/bytes, status, again?, error?"

static stoa_err put_outboxes(stoa_platform *platform, stoa_door_call *call, pending_visit visit)
{
    stoa_doc doc = stoa_doc_to(&call->document);
    const char *name = stoa_call_arg(call, 0);
    const stoa_shard *only = name ? stoa_shard_named(platform, name) : NULL;
    if (name && !only) { return stoa_not_found(platform, "shard", "shards", name); }
    stoa_doc_open(&doc, NULL, '{');
    if (visit == put_pending) {
        stoa_doc_open(&doc, "outboxes", '[');
        put_each(platform, only, &doc, NULL);
        stoa_doc_close(&doc, ']');
        stoa_buf_puts(&call->view, "table outboxes: shard, pending/n, handed/n, unreadable/n, done/n, failed/n\n");
    }
    stoa_doc_open(&doc, "pending", '[');
    put_each(platform, only, &doc, visit);
    stoa_doc_close(&doc, ']');
    stoa_doc_close(&doc, '}');
    stoa_buf_puts(&call->view, "table pending: " PENDING_COLUMNS);
    return STOA_OK;
}

stoa_err stoa_command_outbox(stoa_platform *platform, stoa_door_call *call)
{
    return put_outboxes(platform, call, put_pending);
}

stoa_err stoa_command_outbox_unreadable(stoa_platform *platform, stoa_door_call *call)
{
    return put_outboxes(platform, call, put_unreadable);
}

stoa_err stoa_command_outbox_settle(stoa_platform *platform, stoa_door_call *call)
{
    bool plan = stoa_invocation_option(&call->said, "plan");
    stoa_shard *shard = stoa_shard_named(platform, stoa_call_arg(call, 0));
    stoa_pending_view view;
    if (!shard) { return stoa_not_found(platform, "shard", "shards", stoa_call_arg(call, 0)); }
    const char *outcome = stoa_call_arg(call, 2);
    stoa_err err = stoa_shard_settle(shard, stoa_call_arg(call, 1), strcmp(outcome, "done") == 0, plan, &view);
    if (err) { return err; }
    stoa_doc doc = stoa_doc_to(&call->document);
    char table[sizeof view.table.at + 1];
    (void)snprintf(table, sizeof table, "%.*s", STOA_TEXT_ARGS(&view.table));
    stoa_doc_open(&doc, NULL, '{');
    stoa_doc_open(&doc, "settle", '{');
    stoa_doc_text(&doc, "name", view.name);
    stoa_doc_text(&doc, "actor", view.actor);
    stoa_doc_text(&doc, "table", table);
    stoa_doc_uint(&doc, "row", view.row);
    stoa_doc_text(&doc, "status", view.status);
    stoa_doc_printf(&doc, "outcome", "%s: it is pending no more, counts as %s, and no port is ever given it", plan ? "would be" : "done",
                    outcome);
    stoa_doc_close(&doc, '}');
    stoa_doc_close(&doc, '}');
    stoa_buf_puts(&call->view, "fields settle: name, actor, table, row/n, status, outcome/wrap");
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
