/* commands_progress.c - `progress`: what takes long and is under way, for people who wait for it: the REPL draws it while a command runs.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <string.h>

#include "node/archive/archives.h"
#include "node/commands.h"
#include "node/projection/projection.h"

static uint64_t rate_of(const stoa_work_view *view)
{
    if (view->rate || !view->took_ns || view->position <= view->from) { return view->rate; }
    return (uint64_t)((double)(view->position - view->from) * 1e9 / (double)view->took_ns);
}

static void put_work(void *context, const stoa_work_view *view)
{
    stoa_doc *doc = context;
    uint64_t rate = rate_of(view), done = view->position > view->from ? view->position - view->from : 0;
    uint64_t all = view->last > view->from ? view->last - view->from : 0;
    stoa_doc_open(doc, NULL, '{');
    stoa_doc_text(doc, "command", view->command);
    stoa_doc_text(doc, "shard", view->shard);
    stoa_doc_text(doc, "step", view->step);
    stoa_doc_text(doc, "unit", view->unit);
    stoa_doc_uint(doc, "position", view->position);
    stoa_doc_uint(doc, "last", view->last);
    if (all) {
        stoa_doc_uint(doc, "permille", done >= all ? 1000 : (uint64_t)((double)done * 1000 / (double)all));
    } else {
        stoa_doc_null(doc, "permille");
    }
    stoa_doc_uint(doc, "rate", rate);
    if (all && rate) {
        stoa_doc_uint(doc, "left_ns", done >= all ? 0 : (uint64_t)((double)(all - done) * 1e9 / (double)rate));
    } else {
        stoa_doc_null(doc, "left_ns");
    }
    stoa_doc_uint(doc, "took_ns", view->took_ns);
    stoa_doc_close(doc, '}');
}

static void put_job(stoa_platform *platform, stoa_doc *doc)
{
    stoa_job_view job;
    stoa_job_look(platform->job, &job);
    if (!job.what || !job.running) { return; }
    stoa_work_view view = {.command = strcmp(job.what, "verification") == 0 ? "backup verify" : job.what,
                           .step = job.step,
                           .unit = "events",
                           .position = job.position,
                           .last = job.last,
                           .took_ns = job.step_ns};
    (void)snprintf(view.shard, sizeof view.shard, "%s", job.shard);
    put_work(doc, &view);
}

static void put_rebuild(stoa_platform *platform, stoa_doc *doc)
{
    static const char command[] = "projection rebuild";
    stoa_projector *projector = platform->projection ? stoa_projection_projector(platform->projection) : NULL;
    stoa_projection_view seen;
    if (!projector) { return; }
    stoa_projector_look(projector, &seen);
    if (!seen.rebuilding) { return; }
    stoa_work_view view = {.command = command, .step = "fill", .unit = "events", .rate = seen.events_per_s};
    for (uint32_t i = 0; i < seen.shard_count; i++) {
        view.position += seen.shards[i].rebuilt;
        view.last += seen.shards[i].durable;
    }
    put_work(doc, &view);
}

stoa_err stoa_command_progress(stoa_platform *platform, stoa_door_call *call)
{
    stoa_doc doc = stoa_doc_to(&call->document);
    stoa_doc_open(&doc, NULL, '{');
    stoa_doc_open(&doc, "work", '[');
    stoa_works_visit(&platform->works, put_work, &doc);
    put_job(platform, &doc);
    put_rebuild(platform, &doc);
    stoa_doc_close(&doc, ']');
    stoa_doc_close(&doc, '}');
    stoa_buf_puts(&call->view, "table work: command, shard, step, position/n, last=of/n, unit, permille=done/permille, rate/rate, left_ns=left/ns, took_ns=took/ns");
    return STOA_OK;
}
