/* commands_archive.c - backups, restores and the archives: what there is, what is due, what holds it.
 *
 * Backup and restore run as a job of the node (node/archive/job.h): the command waits for it as long as its asker does, and is
 * TIMEOUT with how far it is when that is too short; asked again without a folder it shows the last one.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "node/archive/archives.h"
#include "node/archive/closed.h"
#include "node/archive/report.h"
#include "node/commands.h"
#include "node/said.h"
#include "node/world.h"
#include "storage/archive/journal.h"
#include "storage/rocksdb/journal.h"

#define ANSWER_NS STOA_MS(200) /* of a command's time, for writing its answer */

static uint64_t patience_ns(const stoa_door_call *call)
{
    uint64_t left = stoa_call_left_ns(call);
    return left > ANSWER_NS ? left - ANSWER_NS : 1;
}

static stoa_err check_path(const char *path)
{
    return path && path[0] == '/' ? STOA_OK : STOA_FAIL(STOA_E_INVALID, "'%s' does not begin with /: where the node runs is not where you are",
                                                       path ? path : "");
}

/* --- the job as a document */

static void put_job(stoa_doc *doc, const stoa_job_view *view)
{
    char said[STOA_SAID_MAX];
    uint64_t ms = view->step_ns / 1000000 + 1, rate = view->position * 1000 / ms;
    stoa_doc_open(doc, "job", '{');
    stoa_doc_text(doc, "what", view->what);
    stoa_doc_text(doc, "state", view->running ? "under way" : view->err ? "failed" : "done");
    stoa_doc_uint(doc, "took_ns", view->total_ns);
    stoa_doc_text(doc, "step", *view->step ? view->step : NULL);
    stoa_doc_text(doc, "shard", *view->shard ? view->shard : NULL);
    stoa_doc_uint(doc, "position", view->position);
    stoa_doc_uint(doc, "last", view->last);
    stoa_doc_uint(doc, "raw_bytes", view->raw_bytes);
    stoa_doc_uint(doc, "bytes_per_s", view->raw_bytes / ms * 1000);
    stoa_doc_uint(doc, "left_ns", rate && view->running && view->last > view->position ? (view->last - view->position) / rate * 1000000000 : 0);
    stoa_doc_text(doc, "error", view->running || !view->err ? NULL : stoa_err_name(view->err));
    stoa_doc_text(doc, "why", view->running || !view->err ? NULL : stoa_said_of(view->trail, said));
    stoa_doc_close(doc, '}');
}

static const char job_view[] = "fields job: what, state, took_ns=took/ns, step, shard, position/n, last/n, raw_bytes=events/bytes, "
                               "bytes_per_s=a second/bytes, left_ns=left/ns, error, why/wrap\n";

/* --- backup */

typedef struct backup_job {
    char folder[PATH_MAX];
    bool only_verify;
    stoa_platform *platform;
    stoa_closed closed;
    stoa_backup backup;
    stoa_backup_source sources[STOA_CATALOG_SHARDS];
    stoa_backup_step steps[STOA_CATALOG_SHARDS];
    uint32_t step_count;
    stoa_catalog catalog;
} backup_job;

/* All shards that have a journal; what the settings name no longer is only looked at. To be closed, whatever comes of it. */
static stoa_err list_sources(backup_job *job)
{
    stoa_platform *p = job->platform;
    uint32_t *count = &job->backup.source_count;
    stoa_shard *shard;
    for (uint32_t i = 0; (shard = stoa_shard_at(p, i)) != NULL; i++) {
        stoa_shard_view view;
        if (!stoa_shard_journal(shard) || stoa_shard_glance(shard, &view)) { continue; }
        if (*count == STOA_CATALOG_SHARDS) { return STOA_FAIL(STOA_E_TOO_LARGE, "more than %d shards", STOA_CATALOG_SHARDS); }
        job->sources[*count] = (stoa_backup_source){.name = view.name, .journal = stoa_shard_journal(shard), .shard = shard};
        stoa_archives_source(p->archives, &job->sources[(*count)++]);
    }
    return stoa_closed_open(&job->closed, &p->settings, p->keys, true, job->sources, count);
}

/* What was written is read back before it is called a backup. */
static stoa_err run_backup(void *argument, const stoa_progress_to *progress)
{
    backup_job *job = argument;
    uint64_t held[STOA_CATALOG_SHARDS] = {0};
    stoa_err err = STOA_OK;
    if (!job->only_verify) {
        err = list_sources(job);
        if (!err) { err = stoa_backup_run(&job->backup, progress, job->steps); }
        stoa_closed_close(&job->closed);
    }
    uint32_t count = job->only_verify ? 0 : job->backup.source_count;
    for (uint32_t i = 0; i < count; i++) { held[i] = job->steps[i].held; }
    if (!err) { err = stoa_backup_verify(job->folder, progress, &job->catalog, job->steps); }
    for (uint32_t i = 0; i < count; i++) { job->steps[i].held = held[i]; }
    if (!err) { job->step_count = job->catalog.shard_count; }
    return err;
}

static backup_job *backup_of(stoa_platform *p, const char *folder)
{
    backup_job *job = calloc(1, sizeof *job);
    if (!job) { return NULL; }
    (void)snprintf(job->folder, sizeof job->folder, "%s", folder);
    job->platform = p;
    job->backup = (stoa_backup){.folder = job->folder,
                                .node_name = p->settings.node_name,
                                .sources = job->sources,
                                .kinds = stoa_world_kinds,
                                .keys = p->keys,
                                .settings = stoa_settings_fingerprint(&p->settings),
                                .segment_bytes = p->settings.archive_segment_bytes};
    return job;
}

static void put_backup(void *context, const void *argument)
{
    const backup_job *job = argument;
    stoa_report_steps(context, job->steps, job->step_count);
    stoa_report_left_out(context, &job->catalog);
}

static void put_restored(void *context, const void *argument);

static stoa_err show_job(stoa_platform *p, stoa_door_call *call)
{
    stoa_job_view view;
    char said[STOA_SAID_MAX];
    stoa_job_look(p->job, &view);
    if (!view.what) { return STOA_FAIL(STOA_E_NOT_FOUND, "no backup or restore has run since the node started"); }
    stoa_doc doc = stoa_doc_to(&call->document);
    stoa_doc_open(&doc, NULL, '{');
    put_job(&doc, &view);
    bool restored = !view.err && stoa_job_results(p->job, "restore", put_restored, &doc);
    if (!restored) { (void)(stoa_job_results(p->job, "backup", put_backup, &doc) || stoa_job_results(p->job, "verification", put_backup, &doc)); }
    stoa_doc_close(&doc, '}');
    stoa_buf_printf(&call->view, "%s%s", job_view, restored ? stoa_report_restored_view : stoa_report_steps_view);
    return view.running || !view.err ? STOA_OK : STOA_FAIL(view.err, "%s", stoa_said_of(view.trail, said));
}

static stoa_err start_and_show(stoa_platform *p, stoa_door_call *call, const char *what, stoa_job_run run, void *argument)
{
    stoa_err err = stoa_job_start(p->job, what, run, argument);
    if (err) {
        free(argument);
        return err;
    }
    bool done = stoa_job_wait(p->job, patience_ns(call));
    err = show_job(p, call);
    return err || done ? err : STOA_FAIL(STOA_E_TIMEOUT, "the %s is under way", what);
}

static stoa_err plan_backup(stoa_door_call *call, backup_job *job)
{
    char said[STOA_SAID_MAX];
    stoa_err err = list_sources(job);
    if (!err) { err = stoa_backup_plan(&job->backup, job->steps); }
    stoa_closed_close(&job->closed);
    if (err) { return STOA_FAIL(err, "%s", stoa_said(said)); }
    stoa_doc doc = stoa_doc_to(&call->document);
    stoa_doc_open(&doc, NULL, '{');
    stoa_doc_open(&doc, "plan", '{');
    stoa_doc_printf(&doc, "writes", "what is new behind each shard's sealed end, into %s, and a snapshot where a log's beginning is gone; then reads all of it back",
                    job->folder);
    stoa_doc_text(&doc, "removes", "open segments that the new ones replace; snapshots between the first and the two newest");
    stoa_doc_close(&doc, '}');
    stoa_report_steps(&doc, job->steps, job->backup.source_count);
    stoa_doc_close(&doc, '}');
    stoa_buf_printf(&call->view, "fields plan: writes/wrap, removes/wrap\n%s", stoa_report_steps_view);
    return STOA_OK;
}

stoa_err stoa_command_backup(stoa_platform *platform, stoa_door_call *call)
{
    const char *folder = stoa_call_arg(call, 0);
    stoa_err err = check_path(folder);
    if (err) { return err; }
    backup_job *job = backup_of(platform, folder);
    if (!job) { return STOA_FAIL(STOA_E_NOMEM, "backup"); }
    if (stoa_invocation_option(&call->said, "plan")) {
        err = plan_backup(call, job);
        free(job);
        return err;
    }
    return start_and_show(platform, call, "backup", run_backup, job);
}

stoa_err stoa_command_backup_status(stoa_platform *platform, stoa_door_call *call)
{
    return show_job(platform, call);
}

stoa_err stoa_command_backup_verify(stoa_platform *platform, stoa_door_call *call)
{
    const char *folder = stoa_call_arg(call, 0);
    stoa_err err = check_path(folder);
    if (err) { return err; }
    backup_job *job = backup_of(platform, folder);
    if (!job) { return STOA_FAIL(STOA_E_NOMEM, "verification"); }
    job->only_verify = true;
    return start_and_show(platform, call, "verification", run_backup, job);
}

/* --- restore */

typedef struct restore_job {
    char from[PATH_MAX], into[PATH_MAX], until[64];
    stoa_restore restore;
    bool plan;
    stoa_restored restored;
} restore_job;

static stoa_err run_restore(void *argument, const stoa_progress_to *progress)
{
    restore_job *job = argument;
    return stoa_restore_run(&job->restore, job->plan, progress, &job->restored);
}

static void put_restored(void *context, const void *argument)
{
    const restore_job *job = argument;
    stoa_doc_open(context, "restore", '{');
    stoa_doc_uint(context, "cut_ns", job->restored.cut_ns);
    if (job->plan) {
        stoa_doc_text(context, "then", "nothing was written");
    } else {
        stoa_doc_printf(context, "then", "start a node on it: stoad --data %s", job->into);
    }
    stoa_doc_close(context, '}');
    stoa_report_restored(context, &job->restored);
}

stoa_err stoa_command_restore(stoa_platform *platform, stoa_door_call *call)
{
    const char *from = stoa_call_arg(call, 0), *into = stoa_call_arg(call, 1);
    const char *until = stoa_invocation_option(&call->said, "until");
    stoa_err err = check_path(from);
    if (!err) { err = check_path(into); }
    if (err) { return err; }
    restore_job *job = calloc(1, sizeof *job);
    if (!job) { return STOA_FAIL(STOA_E_NOMEM, "restore"); }
    (void)snprintf(job->from, sizeof job->from, "%s", from);
    (void)snprintf(job->into, sizeof job->into, "%s", into);
    (void)snprintf(job->until, sizeof job->until, "%s", until ? until : "");
    job->plan = stoa_invocation_option(&call->said, "plan") != NULL;
    job->restore = (stoa_restore){.from = job->from,
                                  .into = job->into,
                                  .until = until ? job->until : NULL,
                                  .kinds = stoa_world_kinds,
                                  .journal = &stoa_journal_rocksdb,
                                  .keys = platform->keys};
    return start_and_show(platform, call, "restore", run_restore, job);
}

/* --- archives */

static stoa_err no_archives(void)
{
    return STOA_FAIL(STOA_E_NOT_FOUND, "no archives are kept: the setting archive.interval is 0");
}

typedef struct sums {
    uint64_t segments[STOA_TIERS], file_bytes[STOA_TIERS], raw_bytes;
} sums;

static sums sum_up(const stoa_manifest *m)
{
    sums s = {0};
    for (uint32_t i = 0; i < m->count; i++) {
        s.segments[m->entries[i].tier]++;
        s.file_bytes[m->entries[i].tier] += m->entries[i].segment.file_bytes;
        s.raw_bytes += m->entries[i].segment.raw_bytes;
    }
    return s;
}

static void put_due(stoa_doc *doc, const stoa_manifest *m, const stoa_due *due)
{
    stoa_doc_uint(doc, "purge_below", due->purge_below);
    stoa_doc_uint(doc, "move_first", due->move < m->count ? m->entries[due->move].segment.first : 0);
    stoa_doc_uint(doc, "move_last", due->move < m->count ? m->entries[due->move].segment.last : 0);
    stoa_doc_text(doc, "move_to", due->move < m->count ? stoa_tier_name(due->tier) : "");
    stoa_doc_uint(doc, "forget_up_to", due->expire ? m->entries[due->expire - 1].segment.last : 0);
    stoa_doc_text(doc, "take_snapshot", due->snapshot ? "a newer one, if the journal has it" : "");
    stoa_doc_text(doc, "append", due->noop ? "a no-op, so that the log's end is behind what is over" : "");
}

static void put_archive(stoa_doc *doc, stoa_archives_shard *s, const stoa_manifest *m, uint64_t now_ns)
{
    stoa_retained retained;
    stoa_due due;
    stoa_journal_state log;
    sums sum = sum_up(m);
    stoa_keeper_plan(&s->keeper, now_ns, m, &retained, &due);
    stoa_journal_log_state(s->keeper.journal, &log);
    stoa_doc_text(doc, "class", m->class_name);
    stoa_doc_text(doc, "hold", m->hold);
    stoa_doc_uint(doc, "log_first", log.first);
    stoa_doc_uint(doc, "log_last", log.last);
    stoa_doc_uint(doc, "first", m->expired + 1);
    stoa_doc_uint(doc, "sealed", stoa_archive_last(s->archive, true));
    if (m->count) {
        stoa_doc_uint(doc, "oldest_ns", m->entries[0].segment.first_ns);
    } else {
        stoa_doc_null(doc, "oldest_ns");
    }
    for (stoa_tier tier = STOA_TIER_WARM; tier < STOA_TIERS; tier++) {
        char key[32];
        (void)snprintf(key, sizeof key, "%s_segments", stoa_tier_name(tier));
        stoa_doc_uint(doc, key, sum.segments[tier]);
        (void)snprintf(key, sizeof key, "%s_bytes", stoa_tier_name(tier));
        stoa_doc_uint(doc, key, sum.file_bytes[tier]);
    }
    stoa_doc_uint(doc, "raw_bytes", sum.raw_bytes);
    stoa_doc_text(doc, "purge_waits_for", stoa_retention_why_not(&s->keeper.retention, &retained));
    stoa_doc_text(doc, "forget_waits_for", stoa_retention_why_kept(&s->keeper.retention, &retained));
    stoa_doc_uint(doc, "snapshots", m->snapshot_count);
    stoa_doc_uint(doc, "snapshot_first", m->snapshot_count ? m->snapshots[0].info.position : 0);
    stoa_doc_uint(doc, "snapshot_last", m->snapshot_count ? m->snapshots[m->snapshot_count - 1].info.position : 0);
    put_due(doc, m, &due);
}

static stoa_err put_shard(stoa_doc *doc, stoa_archives_shard *s, uint64_t now_ns)
{
    stoa_manifest m;
    stoa_err err = STOA_OK;
    stoa_doc_open(doc, NULL, '{');
    stoa_doc_text(doc, "shard", s->name);
    if (s->archive) { err = stoa_archive_look(s->archive, &m); }
    if (!err && s->archive) {
        put_archive(doc, s, &m, now_ns);
        stoa_manifest_deinit(&m);
    }
    stoa_doc_text(doc, "fault", s->fault);
    stoa_doc_close(doc, '}');
    return err;
}

typedef struct reader_list {
    stoa_doc *doc;
    const char *shard;
} reader_list;

static void put_reader(void *context, const char *name, uint64_t position)
{
    const reader_list *list = context;
    stoa_doc_open(list->doc, NULL, '{');
    stoa_doc_text(list->doc, "shard", list->shard);
    stoa_doc_text(list->doc, "reader", name);
    stoa_doc_uint(list->doc, "position", position);
    stoa_doc_close(list->doc, '}');
}

/* One array of something of each shard that is meant. */
static stoa_err each(stoa_platform *p, stoa_door_call *call, const char *only, stoa_doc *doc,
                     stoa_err (*put)(stoa_doc *doc, stoa_archives_shard *s, uint64_t now_ns))
{
    stoa_archives_shard *s;
    uint64_t now_ns = stoa_clock_real.wall_ns(&stoa_clock_real);
    stoa_err err = STOA_OK;
    for (uint32_t i = 0; !err; i++) {
        err = stoa_archives_take(p->archives, i, patience_ns(call), &s);
        if (err == STOA_E_NOT_FOUND) { return STOA_OK; }
        if (err) { return err; }
        if (!only || strcmp(only, s->name) == 0) { err = put(doc, s, now_ns); }
        stoa_archives_give(s);
    }
    return err;
}

static stoa_err put_readers(stoa_doc *doc, stoa_archives_shard *s, uint64_t now_ns)
{
    reader_list list = {.doc = doc, .shard = s->name};
    (void)now_ns;
    stoa_readers_visit(stoa_shard_readers(s->shard), put_reader, &list);
    return STOA_OK;
}

static const char archive_view[] =
    "table archives: shard, class, log_first=log from/n, log_last=to/n, first=archive from/n, sealed=to/n, oldest_ns=oldest/time, "
    "hold/wrap?, purge_waits_for=purge waits for/wrap, fault/wrap\n"
    "table archives: shard, warm_segments=warm/n, warm_bytes=bytes/bytes, cold_segments=cold/n, cold_bytes=bytes/bytes, "
    "archive_segments=archive/n, archive_bytes=bytes/bytes, raw_bytes=unpacked/bytes\n"
    "table archives: shard, snapshots/n, snapshot_first=from/n, snapshot_last=to/n, forget_waits_for=forgetting waits for/wrap\n"
    "table readers: shard, reader, position/n";
static const char due_view[] = "table archives: shard, purge_below=purge the log below/n, move_first=move from/n, move_last=to/n, "
                               "move_to=into, take_snapshot=snapshot/wrap?, append=append/wrap?, forget_up_to=forget up to/n, purge_waits_for=purge waits for/wrap, "
                               "forget_waits_for=forgetting waits for/wrap";

static stoa_err show_archives(stoa_platform *p, stoa_door_call *call, const char *only, const char *view)
{
    stoa_doc doc = stoa_doc_to(&call->document);
    stoa_doc_open(&doc, NULL, '{');
    stoa_doc_open(&doc, "archives", '[');
    stoa_err err = each(p, call, only, &doc, put_shard);
    stoa_doc_close(&doc, ']');
    stoa_doc_open(&doc, "readers", '[');
    if (!err) { err = each(p, call, only, &doc, put_readers); }
    stoa_doc_close(&doc, ']');
    stoa_doc_close(&doc, '}');
    stoa_buf_puts(&call->view, view);
    return err;
}

stoa_err stoa_command_archive(stoa_platform *platform, stoa_door_call *call)
{
    const char *only = stoa_call_arg(call, 0);
    if (!platform->archives) { return no_archives(); }
    if (only && !stoa_shard_named(platform, only)) { return stoa_not_found(platform, "shard", "shards", only); }
    return show_archives(platform, call, only, archive_view);
}

static void look_at_archives(void *context, stoa_work_view *view)
{
    stoa_progress progress;
    stoa_archives_progress(context, &progress);
    if (!progress.last) { return; }
    view->step = progress.step;
    (void)snprintf(view->shard, sizeof view->shard, "%s", progress.shard);
    view->position = progress.position;
    view->last = progress.last;
}

stoa_err stoa_command_archive_run(stoa_platform *platform, stoa_door_call *call)
{
    if (!platform->archives) { return no_archives(); }
    if (stoa_invocation_option(&call->said, "plan")) { return show_archives(platform, call, NULL, due_view); }
    stoa_work work = {.command = "archive run", .look = look_at_archives, .context = platform->archives};
    stoa_work_begin(&platform->works, &work);
    bool done = stoa_archives_run(platform->archives, patience_ns(call));
    stoa_work_end(&platform->works, &work);
    if (!done) {
        return STOA_FAIL(STOA_E_TIMEOUT, "it is under way; archive shows what it has done");
    }
    return show_archives(platform, call, NULL, archive_view);
}

/* --- holds */

static stoa_err take_named(stoa_platform *p, stoa_door_call *call, const char *name, stoa_archives_shard **out)
{
    for (uint32_t i = 0;; i++) {
        stoa_archives_shard *s;
        stoa_err err = stoa_archives_take(p->archives, i, patience_ns(call), &s);
        if (err == STOA_E_NOT_FOUND) { return stoa_not_found(p, "archive", "shards", name); }
        if (err) { return err; }
        if (strcmp(s->name, name) == 0) {
            *out = s;
            return STOA_OK;
        }
        stoa_archives_give(s);
    }
}

static void put_hold(stoa_door_call *call, const char *shard, const char *before, const char *reason, bool plan)
{
    stoa_doc doc = stoa_doc_to(&call->document);
    stoa_doc_open(&doc, NULL, '{');
    stoa_doc_open(&doc, "hold", '{');
    stoa_doc_text(&doc, "shard", shard);
    stoa_doc_text(&doc, "before", before);
    stoa_doc_text(&doc, plan ? "would be" : "now", reason);
    stoa_doc_text(&doc, "meaning", reason[0] ? "nothing is purged, moved or forgotten" : "what is due is purged, moved and forgotten again");
    stoa_doc_close(&doc, '}');
    stoa_doc_close(&doc, '}');
    stoa_buf_puts(&call->view, plan ? "fields hold: shard, before, would be, meaning/wrap" : "fields hold: shard, before, now, meaning/wrap");
}

static stoa_err hold(stoa_platform *p, stoa_door_call *call, const char *reason)
{
    stoa_archives_shard *s = NULL;
    stoa_manifest m;
    if (!p->archives) { return no_archives(); }
    stoa_err err = take_named(p, call, stoa_call_arg(call, 0), &s);
    if (err || !s) { return err; }
    err = s->archive ? stoa_archive_look(s->archive, &m) : STOA_FAIL(STOA_E_UNAVAILABLE, "the archive of %s: %s", s->name, s->fault);
    bool plan = stoa_invocation_option(&call->said, "plan") != NULL;
    if (!err) {
        if (!plan) { err = stoa_archive_hold(s->archive, reason); }
        if (!err) { put_hold(call, s->name, m.hold, reason, plan); }
        stoa_manifest_deinit(&m);
    }
    stoa_archives_give(s);
    return err;
}

stoa_err stoa_command_archive_hold(stoa_platform *platform, stoa_door_call *call)
{
    return hold(platform, call, stoa_call_arg(call, 1));
}

stoa_err stoa_command_archive_release(stoa_platform *platform, stoa_door_call *call)
{
    return hold(platform, call, "");
}
