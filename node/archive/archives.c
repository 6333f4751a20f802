/* archives.c - node/archive/archives.h.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "node/archive/archives.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/log.h"
#include "base/signals.h"
#include "storage/archive/journal.h"
#include "storage/archive/snapshot.h"

struct stoa_archives {
    const stoa_settings *settings;
    stoa_archives_shard shards[STOA_ARCHIVES_MAX];
    uint32_t count;
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t wake, done;
    bool started;
    _Atomic bool quit;
    uint64_t asked, looked; /* under lock: rounds that were asked for, and finished with all that was due */
    stoa_progress progress; /* of the keeper; under lock; its texts are static or of shards */
    stoa_metrics *metrics;
};

static const char *folder_of(const stoa_settings *s, const char *given, const char *name, char path[STOA_PATH_MAX + 16])
{
    (void)snprintf(path, STOA_PATH_MAX + 16, "%s%s", given[0] ? given : s->data, given[0] ? "" : name);
    return path;
}

stoa_err stoa_archives_new(const stoa_settings *settings, stoa_metrics *metrics, stoa_archives **out)
{
    pthread_condattr_t attributes;
    *out = NULL;
    if (settings->archive_interval_ns == 0) { return STOA_OK; }
    stoa_archives *a = calloc(1, sizeof *a);
    if (!a) { return STOA_FAIL(STOA_E_NOMEM, "archives"); }
    a->metrics = metrics;
    a->settings = settings;
    (void)pthread_mutex_init(&a->lock, NULL);
    (void)pthread_condattr_init(&attributes);
    (void)pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    (void)pthread_cond_init(&a->wake, &attributes);
    (void)pthread_cond_init(&a->done, &attributes);
    (void)pthread_condattr_destroy(&attributes);
    *out = a;
    return STOA_OK;
}

stoa_archives_shard *stoa_archives_of(stoa_archives *a, const char *shard)
{
    for (uint32_t i = 0; i < a->count; i++) {
        if (strcmp(a->shards[i].name, shard) == 0) { return &a->shards[i]; }
    }
    STOA_ASSERT(a->count < STOA_ARCHIVES_MAX);
    stoa_archives_shard *s = &a->shards[a->count++];
    (void)snprintf(s->name, sizeof s->name, "%s", shard);
    stoa_handover_init(&s->work);
    s->archives = a;
    return s;
}

static void unavailable(stoa_archives_shard *s, stoa_err err)
{
    (void)snprintf(s->fault, sizeof s->fault, "%s", stoa_err_trail());
    stoa_log(STOA_LOG_ERROR, "archive_unavailable", STOA_KV("shard", s->name), STOA_KV("error", stoa_err_name(err)),
             STOA_KV("trail", s->fault));
    stoa_archive_close(s->archive);
    s->archive = NULL;
}

/* A log that was begun behind an anchor never had what is below: its archive, when it is new, begins there, too. */
static stoa_err begin_with_log(stoa_archive *archive, stoa_journal *log)
{
    stoa_journal_state state;
    log->ops->state(log, &state);
    bool fresh = stoa_archive_first(archive) == 1 && stoa_archive_last(archive, false) == 0;
    return fresh && state.begun > 0 && state.first == state.begun + 1 ? stoa_archive_begin(archive, log) : STOA_OK;
}

static void keep_newest(void *context, const stoa_snapshot_info *info)
{
    *(stoa_snapshot_info *)context = *info;
}

/* Where the beginning is gone the log is nothing without a snapshot: where its own are lost or broken the archive's is put in their
 * place. What cannot be done here is not missed before recovery looks for it. */
static void see_to_snapshot(stoa_archive *archive, stoa_journal *journal)
{
    stoa_journal_state state;
    stoa_snapshot_info newest = {.position = 0};
    stoa_manifest_snapshot found;
    journal->ops->state(journal, &state);
    if (state.first == 1) { return; }
    stoa_err err = stoa_snapshots_visit(journal, keep_newest, &newest);
    bool there = !err && newest.position + 1 >= state.first && stoa_snapshot_stands(journal, &newest) == STOA_OK &&
                 stoa_snapshot_prove(journal, &newest) == STOA_OK;
    if (there || err == STOA_E_SEALED) { return; }
    stoa_archive_window window = {.at_least = state.first - 1, .at_most = state.last, .newest = true};
    err = stoa_archive_stand_in(archive, &window, NULL, &found);
    if (!err) { err = stoa_archive_give_snapshot(archive, &found, journal, NULL); }
    if (err) {
        stoa_log_error("archive_snapshot_unavailable", err);
    } else {
        stoa_log(STOA_LOG_WARN, "archive_snapshot_given", STOA_KU("position", found.info.position));
    }
}

stoa_err stoa_archives_front(void *context, stoa_journal **journal)
{
    stoa_archives_shard *s = context;
    const stoa_settings *set = s->archives->settings;
    char warm[STOA_PATH_MAX + 16], cold[STOA_PATH_MAX + 16];
    stoa_archive_options options = {.folder = folder_of(set, set->archive_path, "/archive", warm),
                                    .cold_folder = folder_of(set, set->archive_cold_path, "/cold", cold),
                                    .shard = s->name,
                                    .class_name = stoa_retention_name(stoa_retention_class_of(s->name)),
                                    .segment_bytes = set->archive_segment_bytes,
                                    .level = (int32_t)set->archive_level,
                                    .cold_level = (int32_t)set->archive_cold_level};
    stoa_journal *both;
    stoa_err err = stoa_archive_open(&options, &s->archive);
    if (!err) { err = begin_with_log(s->archive, *journal); }
    if (!err) { err = stoa_journal_archived(*journal, s->archive, &both); }
    if (err) {
        unavailable(s, err);
        return STOA_OK; /* the log alone */
    }
    *journal = both;
    see_to_snapshot(s->archive, both);
    s->keeper.retention = stoa_retention_of(s->name, set->retention);
    s->keeper.retention.expire = set->archive_expire;
    s->keeper.segment_bytes = set->archive_segment_bytes;
    return STOA_OK;
}

static stoa_err measure(stoa_archives *a, stoa_archives_shard *s)
{
    char labels[64];
    (void)snprintf(labels, sizeof labels, "shard=\"%s\"", s->name);
    stoa_err err = stoa_metrics_gauge(a->metrics, "stoa_archive_position", labels, "Last position sealed in the archive.", &s->sealed);
    if (!err) { err = stoa_metrics_gauge(a->metrics, "stoa_journal_first_position", labels, "First position that the journal still has.", &s->first); }
    if (!err) { err = stoa_metrics_counter(a->metrics, "stoa_archive_errors_total", labels, "Steps of the keeper that failed.", &s->errors); }
    if (!err) {
        err = stoa_metrics_gauge(a->metrics, "stoa_archive_unavailable", labels, "1: the archive cannot be used, and nothing is archived or purged; 0: it is.",
                                 &s->unavailable);
    }
    if (!err) { stoa_gauge_set(s->unavailable, s->archive == NULL); }
    return err;
}

stoa_err stoa_archives_attach_log(stoa_archives *a, const char *name, stoa_journal *journal, stoa_readers *readers)
{
    stoa_archives_shard *s = stoa_archives_of(a, name);
    s->keeper.shard = s->name;
    s->keeper.archive = s->archive;
    s->keeper.journal = journal;
    s->keeper.readers = readers;
    return measure(a, s);
}

static stoa_err append_noop(void *context)
{
    return stoa_shard_noop(context);
}

stoa_err stoa_archives_attach(stoa_archives *a, const char *name, stoa_shard *shard)
{
    stoa_archives_shard *s = stoa_archives_of(a, name);
    s->shard = shard;
    s->keeper.noop = append_noop;
    s->keeper.noop_context = shard;
    return stoa_archives_attach_log(a, name, stoa_shard_journal(shard), stoa_shard_readers(shard));
}

/* --- the keeper's thread */

static stoa_err go_on(void *context, const stoa_progress *progress)
{
    stoa_archives *a = context;
    const char *name = "";
    for (uint32_t i = 0; i < a->count; i++) {
        if (strcmp(a->shards[i].name, progress->shard) == 0) { name = a->shards[i].name; }
    }
    (void)pthread_mutex_lock(&a->lock);
    a->progress = *progress;
    a->progress.shard = name;
    (void)pthread_mutex_unlock(&a->lock);
    return atomic_load(&a->quit) ? STOA_FAIL(STOA_E_CANCELLED, "the node is ending") : STOA_OK;
}

static void keep(stoa_archives *a, stoa_archives_shard *s, bool again)
{
    char before[sizeof s->fault];
    if (!s->archive || !s->keeper.journal) { return; }
    stoa_handover_take_after(&s->work);
    memcpy(before, s->fault, sizeof before);
    s->keeper.more &= again;
    stoa_err err = stoa_keeper_step(&s->keeper, stoa_clock_real.wall_ns(&stoa_clock_real),
                                    &(const stoa_progress_to){.tell = go_on, .context = a});
    s->again = !err && s->keeper.more;
    s->fault[0] = '\0';
    if (err && err != STOA_E_CANCELLED) {
        stoa_counter_add(s->errors, 1);
        (void)snprintf(s->fault, sizeof s->fault, "%s", stoa_err_trail());
        if (strcmp(before, s->fault) != 0) { stoa_log_error("archive_failed", err); } /* said once */
    }
    stoa_journal_state log;
    stoa_journal_log_state(s->keeper.journal, &log);
    stoa_gauge_set(s->sealed, stoa_archive_last(s->archive, true));
    stoa_gauge_set(s->first, log.first);
    stoa_handover_give(&s->work);
}

/* Until it is time for the next round, or somebody asks. */
static void rest(stoa_archives *a, uint64_t until)
{
    struct timespec time = {.tv_sec = (time_t)(until / 1000000000), .tv_nsec = (long)(until % 1000000000)};
    int waited = 0;
    while (waited == 0 && !atomic_load(&a->quit) && a->asked <= a->looked) {
        waited = pthread_cond_timedwait(&a->wake, &a->lock, &time);
    }
}

/* A step of each, or of those only that have more to move; whether one of them has still more. */
static bool keep_all(stoa_archives *a, bool only_again)
{
    bool more = false;
    for (uint32_t i = 0; i < a->count && !atomic_load(&a->quit); i++) {
        if (!only_again || a->shards[i].again) { keep(a, &a->shards[i], only_again); }
        more |= a->shards[i].again;
    }
    return more;
}

/* However much there is to move, it is not one thing an interval; and however long that takes, all the others have their turn. */
static void *archives_main(void *argument)
{
    stoa_archives *a = argument;
    uint64_t seen = 0, next_ns = 0;
    (void)pthread_mutex_lock(&a->lock);
    while (!atomic_load(&a->quit)) {
        bool round = stoa_clock_real.now_ns(&stoa_clock_real) >= next_ns || a->asked > seen;
        if (round) { seen = a->asked; }
        (void)pthread_mutex_unlock(&a->lock);
        bool more = keep_all(a, !round);
        if (round) { next_ns = stoa_clock_real.now_ns(&stoa_clock_real) + a->settings->archive_interval_ns; }
        (void)pthread_mutex_lock(&a->lock);
        a->progress = (stoa_progress){0};
        if (more) { continue; }
        a->looked = seen;
        (void)pthread_cond_broadcast(&a->done);
        rest(a, next_ns);
    }
    (void)pthread_mutex_unlock(&a->lock);
    return NULL;
}

stoa_err stoa_archives_start(stoa_archives *a)
{
    sigset_t before;
    stoa_signals_hold(&before);
    int failed = pthread_create(&a->thread, NULL, archives_main, a);
    stoa_signals_release(&before);
    if (failed) { return STOA_FAIL(STOA_E_IO, "archive thread: %s", strerror(failed)); }
    (void)pthread_setname_np(a->thread, "stoa-archive");
    a->started = true;
    return STOA_OK;
}

void stoa_archives_stop(stoa_archives *a)
{
    if (!a) { return; }
    (void)pthread_mutex_lock(&a->lock);
    atomic_store(&a->quit, true);
    (void)pthread_cond_broadcast(&a->wake);
    (void)pthread_mutex_unlock(&a->lock);
    if (a->started) { (void)pthread_join(a->thread, NULL); }
    a->started = false;
}

void stoa_archives_free(stoa_archives *a)
{
    if (!a) { return; }
    stoa_archives_stop(a);
    for (uint32_t i = 0; i < a->count; i++) {
        stoa_archive_close(a->shards[i].archive);
        stoa_handover_deinit(&a->shards[i].work);
    }
    (void)pthread_cond_destroy(&a->done);
    (void)pthread_cond_destroy(&a->wake);
    (void)pthread_mutex_destroy(&a->lock);
    free(a);
}

/* --- who asks */

void stoa_archives_progress(stoa_archives *a, stoa_progress *out)
{
    (void)pthread_mutex_lock(&a->lock);
    *out = a->progress;
    (void)pthread_mutex_unlock(&a->lock);
}

static struct timespec monotonic(uint64_t in_ns)
{
    uint64_t until = stoa_clock_real.now_ns(&stoa_clock_real) + in_ns;
    return (struct timespec){.tv_sec = (time_t)(until / 1000000000), .tv_nsec = (long)(until % 1000000000)};
}

bool stoa_archives_run(stoa_archives *a, uint64_t timeout_ns)
{
    struct timespec time = monotonic(timeout_ns);
    int waited = 0;
    (void)pthread_mutex_lock(&a->lock);
    uint64_t wanted = ++a->asked;
    (void)pthread_cond_broadcast(&a->wake);
    while (a->looked < wanted && waited == 0) { waited = pthread_cond_timedwait(&a->done, &a->lock, &time); }
    bool done = a->looked >= wanted;
    (void)pthread_mutex_unlock(&a->lock);
    return done;
}

stoa_err stoa_archives_take(stoa_archives *a, uint32_t index, uint64_t timeout_ns, stoa_archives_shard **out)
{
    if (index >= a->count) { return STOA_FAIL(STOA_E_NOT_FOUND, "no archive %" PRIu32, index); }
    stoa_archives_shard *s = &a->shards[index];
    if (!stoa_handover_take(&s->work, timeout_ns)) {
        return STOA_FAIL(STOA_E_TIMEOUT, "the archive of %s is being written", s->name);
    }
    *out = s;
    return STOA_OK;
}

void stoa_archives_give(stoa_archives_shard *s)
{
    stoa_handover_give(&s->work);
}

void stoa_archives_source(stoa_archives *a, stoa_backup_source *source)
{
    for (uint32_t i = 0; a && i < a->count; i++) {
        if (strcmp(a->shards[i].name, source->name) != 0 || !a->shards[i].archive) { continue; }
        source->archive = a->shards[i].archive;
        source->work = &a->shards[i].work;
    }
}

/* begun: what ends there was never in this log, nor in an archive of it. */
static void say_where(const stoa_manifest *m, uint64_t begun, uint64_t position, stoa_buf *out)
{
    char name[STOA_SEGMENT_NAME_MAX];
    uint32_t index = stoa_manifest_find(m, position);
    if (index < m->count) {
        stoa_segment_name(&m->entries[index].segment, m->entries[index].open, name);
        stoa_buf_printf(out, "segment %s of its archive (%s) has it", name, stoa_tier_name(m->entries[index].tier));
    } else if (position <= begun) {
        stoa_buf_printf(out, "this log was begun at %" PRIu64 " from a backup that has nothing before it", begun + 1);
    } else if (position <= m->expired) {
        stoa_buf_printf(out, "its archive has forgotten all up to %" PRIu64 ", as the policy says", m->expired);
    } else {
        stoa_buf_puts(out, "its archive has not come so far");
    }
}

void stoa_archives_where(stoa_archives *a, const char *shard, uint64_t position, stoa_buf *out)
{
    stoa_manifest m;
    uint32_t i = 0;
    while (a && i < a->count && strcmp(a->shards[i].name, shard) != 0) { i++; }
    if (!a) {
        stoa_buf_puts(out, "no archive is kept: the setting archive.interval is 0");
    } else if (i == a->count || !a->shards[i].archive) {
        stoa_buf_puts(out, "its archive cannot be opened: see archive");
    } else if (stoa_archive_look(a->shards[i].archive, &m)) {
        stoa_buf_puts(out, "its archive cannot be looked into now");
    } else {
        stoa_journal_state log;
        stoa_journal_log_state(stoa_shard_journal(a->shards[i].shard), &log);
        say_where(&m, log.begun, position, out);
        stoa_manifest_deinit(&m);
    }
}
