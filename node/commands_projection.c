/* commands_projection.c - rows in PostgreSQL: how far they are, writing them anew, pausing.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "node/commands.h"
#include "node/projection/projection.h"

static stoa_projector *projector_of(stoa_platform *platform)
{
    return platform->projection ? stoa_projection_projector(platform->projection) : NULL;
}

static stoa_err none(void)
{
    return STOA_FAIL(STOA_E_NOT_FOUND, "there is no projection: the setting projection.postgres names a database");
}

static void put_text(stoa_doc *doc, const char *key, const char *text)
{
    if (text[0]) {
        stoa_doc_text(doc, key, text);
    } else {
        stoa_doc_null(doc, key);
    }
}

static void put_shard(stoa_doc *doc, const stoa_projection_view *view, const stoa_projection_shard_view *s)
{
    stoa_doc_open(doc, NULL, '{');
    stoa_doc_text(doc, "shard", s->name);
    stoa_doc_text(doc, "state", stoa_projection_state_name(s->state));
    stoa_doc_uint(doc, "position", s->position);
    stoa_doc_uint(doc, "committed", s->durable);
    stoa_doc_uint(doc, "behind", s->behind);
    stoa_doc_uint(doc, "behind_ns", s->behind_ns);
    stoa_doc_uint(doc, "quiet_ns", s->quiet_ns);
    if (view->rebuilding) {
        stoa_doc_uint(doc, "rebuilt", s->rebuilt);
    } else {
        stoa_doc_null(doc, "rebuilt");
    }
    put_text(doc, "error", s->error);
    stoa_doc_close(doc, '}');
}

stoa_err stoa_command_projection_status(stoa_platform *platform, stoa_door_call *call)
{
    stoa_projector *projector = projector_of(platform);
    stoa_projection_view view;
    if (!projector) { return none(); }
    stoa_projector_look(projector, &view);
    stoa_doc doc = stoa_doc_to(&call->document);
    stoa_doc_open(&doc, NULL, '{');
    stoa_doc_open(&doc, "projection", '{');
    put_text(&doc, "database", view.where);
    stoa_doc_text(&doc, "schema", view.schema);
    stoa_doc_bool(&doc, "connected", view.connected);
    stoa_doc_bool(&doc, "paused", view.paused);
    stoa_doc_text(&doc, "rebuild", view.rebuilding ? "under way" : "none");
    stoa_doc_uint(&doc, "events", view.events);
    stoa_doc_uint(&doc, "rows", view.rows);
    stoa_doc_uint(&doc, "batches", view.batches);
    stoa_doc_uint(&doc, "reconnects", view.reconnects);
    stoa_doc_uint(&doc, "rebuilds", view.rebuilds);
    stoa_doc_uint(&doc, "events_per_s", view.events_per_s);
    stoa_doc_uint(&doc, "rows_per_s", view.rows_per_s);
    put_text(&doc, "error", view.error);
    put_text(&doc, "rebuild_error", view.rebuild_error);
    stoa_doc_close(&doc, '}');
    stoa_doc_open(&doc, "shards", '[');
    for (uint32_t i = 0; i < view.shard_count; i++) { put_shard(&doc, &view, &view.shards[i]); }
    stoa_doc_close(&doc, ']');
    stoa_doc_close(&doc, '}');
    stoa_buf_puts(&call->view, "fields projection: database, schema, paused, rebuild, events/n, rows/n, batches/n, reconnects/n, "
                               "rebuilds/n, events_per_s/rate, rows_per_s/rate, error/wrap, rebuild_error/wrap\n"
                               "table shards: shard, state, position/id, committed/id, behind/n, behind_ns=waits/ns, "
                               "quiet_ns=quiet/ns?, rebuilt/id?, error/wrap");
    return STOA_OK;
}

/* --- rebuild */

static uint64_t events_to_read(const stoa_projection_view *view)
{
    uint64_t events = 0;
    for (uint32_t i = 0; i < view->shard_count; i++) { events += view->shards[i].durable; }
    return events;
}

static void put_plan(stoa_door_call *call, const stoa_projection_view *view)
{
    stoa_doc doc = stoa_doc_to(&call->document);
    uint64_t events = events_to_read(view);
    stoa_doc_open(&doc, NULL, '{');
    stoa_doc_open(&doc, "plan", '{');
    stoa_doc_printf(&doc, "reads", "all events of %u shards, from position 1", view->shard_count);
    stoa_doc_uint(&doc, "events", events);
    stoa_doc_printf(&doc, "writes", "schema %s_shadow; what a rebuild left there is dropped first, what others made is not: it refuses then", view->schema);
    stoa_doc_printf(&doc, "then", "%s_shadow becomes %s in one step, and what was %s is dropped", view->schema, view->schema, view->schema);
    stoa_doc_text(&doc, "meanwhile", "the present rows stay, and are kept up to date");
    if (view->events_per_s) {
        stoa_doc_uint(&doc, "takes_ns", (uint64_t)((double)events * 1e9 / (double)view->events_per_s));
    } else {
        stoa_doc_null(&doc, "takes_ns");
    }
    stoa_doc_close(&doc, '}');
    stoa_doc_close(&doc, '}');
    stoa_buf_puts(&call->view, "fields plan: reads/wrap, events/n, writes/wrap, then/wrap, meanwhile/wrap, takes_ns=takes/ns");
}

static void put_done(stoa_door_call *call, const char *what)
{
    stoa_doc doc = stoa_doc_to(&call->document);
    stoa_doc_open(&doc, NULL, '{');
    stoa_doc_text(&doc, "done", what);
    stoa_doc_close(&doc, '}');
    stoa_buf_puts(&call->view, "value done");
}

stoa_err stoa_command_projection_rebuild(stoa_platform *platform, stoa_door_call *call)
{
    stoa_projector *projector = projector_of(platform);
    stoa_projection_view view;
    if (!projector) { return none(); }
    if (stoa_invocation_option(&call->said, "plan")) {
        stoa_projector_look(projector, &view);
        stoa_err possible = stoa_projector_can_rebuild(projector);
        if (!possible) { put_plan(call, &view); }
        return possible;
    }
    stoa_err err = stoa_projector_rebuild(projector);
    if (!err) { put_done(call, "the rebuild has begun; projection status shows how far it is"); }
    return err;
}

stoa_err stoa_command_projection_pause(stoa_platform *platform, stoa_door_call *call)
{
    stoa_projector *projector = projector_of(platform);
    if (!projector) { return none(); }
    stoa_projector_pause(projector, true);
    put_done(call, "paused; the log keeps what is missing");
    return STOA_OK;
}

stoa_err stoa_command_projection_resume(stoa_platform *platform, stoa_door_call *call)
{
    stoa_projector *projector = projector_of(platform);
    if (!projector) { return none(); }
    stoa_projector_pause(projector, false);
    stoa_projector_retry(projector);
    put_done(call, "resumed");
    return STOA_OK;
}
