/* projector.c - the thread: connect, serve shard after shard, wait; and what others ask of it.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "node/projection/projector.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/signals.h"
#include "node/projection/projector_inside.h"

#define BACKOFF_FIRST_NS STOA_MS(100)
#define BACKOFF_MAX_NS   STOA_S(5)
#define TIDY_EVERY_NS    STOA_S(60)
#define NS_PER_S         UINT64_C(1000000000)

uint64_t projector_now(void)
{
    return stoa_clock_real.now_ns(&stoa_clock_real);
}

const char *stoa_projection_state_name(stoa_projection_state state)
{
    static const char *const names[] = {"live", "catching_up", "waiting", "paused", "stopped"};
    return names[state];
}

/* --- connecting */

static void disconnect(stoa_projector *p)
{
    stoa_target_close(p->shadow);
    stoa_target_close(p->live);
    p->shadow = p->live = NULL;
    (void)pthread_mutex_lock(&p->lock);
    p->connected = false;
    (void)pthread_mutex_unlock(&p->lock);
}

/* PostgreSQL is away, or refuses. */
static void wait_for_it(stoa_projector *p)
{
    bool first = p->backoff_ns == 0;
    projector_note(p, p->error);
    if (first) { stoa_log(STOA_LOG_WARN, "projection_waits", STOA_KV("schema", p->schema), STOA_KV("why", p->error)); }
    disconnect(p);
    p->backoff_ns = first ? BACKOFF_FIRST_NS : p->backoff_ns * 2;
    if (p->backoff_ns > BACKOFF_MAX_NS) { p->backoff_ns = BACKOFF_MAX_NS; }
    p->retry_ns = projector_now() + p->backoff_ns;
}

static void now_connected(stoa_projector *p)
{
    for (uint32_t i = 0; i < p->options.shard_count; i++) {
        projector_shard *shard = &p->shards[i];
        uint64_t position = stoa_target_position(p->live, i);
        shard->live.checked = false;
        shard->next_ns = 0;
        atomic_store(&shard->position, position);
        atomic_store(&shard->event_ns, stoa_target_event_ns(p->live, i));
        projector_read_from(shard, &shard->live, "projection", position);
    }
    (void)pthread_mutex_lock(&p->lock);
    p->connected = true;
    (void)snprintf(p->where, sizeof p->where, "%s", stoa_target_where(p->live));
    (void)pthread_mutex_unlock(&p->lock);
}

/* A session is worth something when rows went through it: a server that is full lets everybody in. */
static void goes_well(stoa_projector *p)
{
    bool back = p->met && p->backoff_ns;
    if (p->met && !back) { return; }
    stoa_log(STOA_LOG_INFO, "projection_connected", STOA_KV("where", p->where), STOA_KV("schema", p->schema));
    if (back) { stoa_counter_add(p->reconnects_total, 1); }
    (void)pthread_mutex_lock(&p->lock);
    p->reconnects += back;
    p->error[0] = '\0';
    (void)pthread_mutex_unlock(&p->lock);
    p->met = true;
    p->backoff_ns = 0;
}

static bool connect_now(stoa_projector *p)
{
    if (projector_now() < p->retry_ns) { return false; }
    stoa_err err = stoa_target_open(&p->live_options, &p->live);
    if (!err) { err = projector_clear_leftovers(p); }
    if (err) {
        wait_for_it(p);
        return false;
    }
    now_connected(p);
    return true;
}

/* --- serving */

static void stop_shard(stoa_projector *p, projector_shard *shard)
{
    shard->live.stopped = true;
    projector_note(p, shard->error);
    stoa_log(STOA_LOG_ERROR, "projection_stopped", STOA_KV("shard", shard->name), STOA_KV("why", shard->error));
    disconnect(p); /* the model is half changed: load it anew for the others */
}

/* True: go on with the next shard. */
static bool take_outcome(stoa_projector *p, projector_shard *shard, projector_outcome outcome, bool *moved_out)
{
    *moved_out = *moved_out || outcome != PROJECTOR_NOTHING;
    if (outcome == PROJECTOR_AWAY) { wait_for_it(p); }
    if (outcome == PROJECTOR_SMALLER) { disconnect(p); }
    if (outcome == PROJECTOR_GUILTY) { stop_shard(p, shard); }
    return outcome == PROJECTOR_NOTHING || outcome == PROJECTOR_MOVED;
}

static bool serve_shards(stoa_projector *p, bool *moved_out)
{
    for (uint32_t i = 0; i < p->options.shard_count; i++) {
        projector_shard *shard = &p->shards[i];
        if (shard->live.stopped || projector_now() < shard->next_ns) { continue; }
        projector_outcome outcome = projector_step(p, p->live, i);
        if (!take_outcome(p, shard, outcome, moved_out)) { return false; }
        bool level = stoa_target_position(p->live, i) >= stoa_shard_durable(shard->shard);
        shard->next_ns = level ? projector_now() + p->options.interval_ns : 0;
    }
    return true;
}

static bool tidy(stoa_projector *p)
{
    uint64_t now = projector_now();
    if (now < p->tidy_ns) { return true; }
    p->tidy_ns = now + TIDY_EVERY_NS;
    stoa_err err = stoa_target_tidy(p->live, stoa_clock_real.wall_ns(&stoa_clock_real));
    if (!err) { return true; }
    stoa_log_error("projection_tidy_failed", err);
    wait_for_it(p);
    p->tidy_ns = now + TIDY_EVERY_NS; /* who reads a table for long is not to hold up its rows */
    return false;
}

static void serve(stoa_projector *p, bool rebuild, bool *moved_out)
{
    if (!p->live && !connect_now(p)) { return; }
    if (!tidy(p) || !serve_shards(p, moved_out)) { return; }
    goes_well(p);
    if (!rebuild) { return; }
    projector_outcome outcome = projector_rebuild_step(p);
    *moved_out = *moved_out || outcome != PROJECTOR_NOTHING;
    if (outcome == PROJECTOR_AWAY) { wait_for_it(p); }
    if (outcome == PROJECTOR_SMALLER) { disconnect(p); }
}

/* resume: whatever stopped or waits is tried at once. */
static void retry_all(stoa_projector *p)
{
    p->retry_ns = 0;
    for (uint32_t i = 0; i < p->options.shard_count; i++) {
        projector_shard *shard = &p->shards[i];
        if (shard->live.stopped) { projector_way_begin(p, &shard->live); }
        (void)pthread_mutex_lock(&p->lock);
        shard->error[0] = '\0';
        (void)pthread_mutex_unlock(&p->lock);
    }
}

/* Wait for a command, or for the interval to pass. */
static void rest(stoa_projector *p)
{
    struct timespec until;
    (void)clock_gettime(CLOCK_MONOTONIC, &until);
    uint64_t ns = (uint64_t)until.tv_nsec + p->options.interval_ns;
    until.tv_sec += (time_t)(ns / NS_PER_S);
    until.tv_nsec = (long)(ns % NS_PER_S);
    (void)pthread_mutex_lock(&p->lock);
    if (!p->quit && !p->retry) { (void)pthread_cond_timedwait(&p->wake, &p->lock, &until); }
    (void)pthread_mutex_unlock(&p->lock);
}

static void *projector_main(void *argument)
{
    stoa_projector *p = argument;
    for (;;) {
        (void)pthread_mutex_lock(&p->lock);
        bool quit = p->quit, paused = p->paused, retry = p->retry, rebuild = p->rebuild, moved = false;
        p->retry = false;
        (void)pthread_mutex_unlock(&p->lock);
        if (quit) { break; }
        if (retry) { retry_all(p); }
        if (!paused) { serve(p, rebuild, &moved); }
        if (!moved) { rest(p); }
    }
    disconnect(p);
    return NULL;
}

/* --- life */

typedef struct figure {
    const char *name, *help;
} figure;
static const figure figures[] = {
    {"stoa_projection_state", "0 live, 1 catching up, 2 waiting, 3 paused, 4 stopped."},
    {"stoa_projection_position", "The last event that is in the rows."},
    {"stoa_projection_behind_positions", "Committed events that are not in the rows."},
    {"stoa_projection_behind_seconds", "How long the oldest of them has waited."},
    {"stoa_projection_quiet_seconds", "Time without a step while behind: slow is 0, stuck grows."},
    {"stoa_projection_rebuilt_position", "The last event that a rebuild under way has come to."},
};

static stoa_err make_metrics(stoa_projector *p)
{
    static const char batches[] = "Transactions: copy of many rows (catch-up), pipeline of few (the live tail).";
    stoa_metrics *m = p->options.metrics;
    stoa_err err = stoa_metrics_counter(m, "stoa_projection_events_total", "", "Events projected.", &p->events_total);
    if (!err) { err = stoa_metrics_counter(m, "stoa_projection_rows_total", "", "Rows written.", &p->rows_total); }
    if (!err) { err = stoa_metrics_counter(m, "stoa_projection_batches_total", "way=\"copy\"", batches, &p->copied_total); }
    if (!err) { err = stoa_metrics_counter(m, "stoa_projection_batches_total", "way=\"pipeline\"", batches, &p->piped_total); }
    if (!err) { err = stoa_metrics_counter(m, "stoa_projection_reconnects_total", "", "Times PostgreSQL came back.", &p->reconnects_total); }
    for (uint32_t i = 0; i < p->options.shard_count && !err; i++) {
        char labels[64];
        (void)snprintf(labels, sizeof labels, "shard=\"%s\"", p->names[i]);
        for (size_t f = 0; f < sizeof figures / sizeof figures[0] && !err; f++) {
            err = stoa_metrics_gauge(m, figures[f].name, labels, figures[f].help, &p->shards[i].metrics[f]);
        }
    }
    return err;
}

static stoa_err open_shards(stoa_projector *p)
{
    stoa_err err = STOA_OK;
    for (uint32_t i = 0; i < p->options.shard_count && !err; i++) {
        projector_shard *shard = &p->shards[i];
        stoa_shard_view view;
        shard->shard = p->options.shards[i];
        err = stoa_shard_glance(shard->shard, &view);
        if (err) { break; }
        p->names[i] = shard->name = view.name;
        projector_way_begin(p, &shard->live);
        projector_way_begin(p, &shard->shadow);
        atomic_store(&shard->level_ns, projector_now());
        atomic_store(&shard->moved_ns, projector_now());
        err = stoa_log_open(shard->shard, &shard->reader);
        if (!err) { projector_read_from(shard, &shard->live, "projection", 0); }
    }
    return err;
}

static void set_options(stoa_projector *p)
{
    (void)snprintf(p->schema, sizeof p->schema, "%s", p->options.schema);
    (void)snprintf(p->shadow_name, sizeof p->shadow_name, "%s_shadow", p->schema);
    (void)snprintf(p->old_name, sizeof p->old_name, "%s_old", p->schema);
    p->live_options = p->options.target;
    p->live_options.schema = p->schema;
    p->live_options.stop_fd = p->stop_fd;
    p->live_options.shards = p->names;
    p->live_options.shard_count = p->options.shard_count;
    p->shadow_options = p->live_options;
    p->shadow_options.schema = p->shadow_name;
    p->shadow_options.shadow = true;
}

static stoa_err start_thread(stoa_projector *p)
{
    sigset_t before;
    stoa_signals_hold(&before);
    int failed = pthread_create(&p->thread, NULL, projector_main, p);
    stoa_signals_release(&before);
    if (failed) { return STOA_FAIL(STOA_E_IO, "projection thread: %s", strerror(failed)); }
    (void)pthread_setname_np(p->thread, "stoa-projection");
    p->threaded = true;
    return STOA_OK;
}

static void init_waiting(stoa_projector *p)
{
    pthread_condattr_t monotonic;
    (void)pthread_mutex_init(&p->lock, NULL);
    (void)pthread_condattr_init(&monotonic);
    (void)pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    (void)pthread_cond_init(&p->wake, &monotonic);
    (void)pthread_condattr_destroy(&monotonic);
}

stoa_err stoa_projector_open(const stoa_projector_options *options, stoa_projector **out)
{
    bool named = strlen(options->schema) <= STOA_SCHEMA_NAME_MAX && options->schema[0];
    if (!named || options->shard_count > STOA_TARGET_SHARDS_MAX || options->batch == 0) {
        return STOA_FAIL(STOA_E_INVALID, "projection: schema, shards or batch");
    }
    stoa_projector *p = calloc(1, sizeof *p);
    if (!p) { return STOA_FAIL(STOA_E_NOMEM, "projection"); }
    p->options = *options;
    init_waiting(p);
    p->stop_fd = eventfd(0, EFD_CLOEXEC);
    stoa_err err = p->stop_fd < 0 ? STOA_FAIL(STOA_E_IO, "eventfd: %s", strerror(errno)) : STOA_OK;
    if (!err) { err = open_shards(p); }
    if (!err) { err = make_metrics(p); }
    set_options(p);
    if (!err) { err = start_thread(p); }
    if (err) {
        stoa_projector_close(p);
        return err;
    }
    *out = p;
    return STOA_OK;
}

void stoa_projector_close(stoa_projector *p)
{
    if (!p) { return; }
    (void)pthread_mutex_lock(&p->lock);
    p->quit = true;
    (void)pthread_cond_signal(&p->wake);
    (void)pthread_mutex_unlock(&p->lock);
    if (p->stop_fd >= 0) { (void)eventfd_write(p->stop_fd, 1); }
    if (p->threaded) { (void)pthread_join(p->thread, NULL); }
    for (uint32_t i = 0; i < p->options.shard_count; i++) {
        projector_read_no_more(&p->shards[i], &p->shards[i].live);
        projector_read_no_more(&p->shards[i], &p->shards[i].shadow);
        stoa_log_close(p->shards[i].reader);
    }
    if (p->stop_fd >= 0) { (void)close(p->stop_fd); }
    (void)pthread_mutex_destroy(&p->lock);
    (void)pthread_cond_destroy(&p->wake);
    free(p);
}

/* --- asked from outside */

static void look_at_shard(const stoa_projector *p, const projector_shard *shard, stoa_projection_shard_view *out)
{
    uint64_t now = projector_now(), wall = stoa_clock_real.wall_ns(&stoa_clock_real);
    uint64_t level_ns = atomic_load(&shard->level_ns), event_ns = atomic_load(&shard->event_ns), moved_ns = atomic_load(&shard->moved_ns);
    *out = (stoa_projection_shard_view){.name = shard->name, .position = atomic_load(&shard->position),
                                        .durable = stoa_shard_durable(shard->shard), .rebuilt = atomic_load(&shard->rebuilt)};
    (void)snprintf(out->error, sizeof out->error, "%s", shard->error);
    out->behind = out->durable > out->position ? out->durable - out->position : 0;
    if (out->behind) { /* the oldest that waits came behind the last that does not, and behind the last time nothing waited */
        uint64_t since_level = now > level_ns ? now - level_ns : 0, since_event = wall > event_ns ? wall - event_ns : 0;
        out->behind_ns = event_ns && since_event < since_level ? since_event : since_level;
        out->quiet_ns = now > moved_ns ? now - moved_ns : 0;
        if (out->quiet_ns > out->behind_ns) { out->quiet_ns = out->behind_ns; }
    }
    bool behind = out->behind >= p->options.batch || out->behind_ns > NS_PER_S + p->options.interval_ns;
    out->state = shard->error[0] ? STOA_PROJECTION_STOPPED
                 : p->paused     ? STOA_PROJECTION_PAUSED
                 : p->error[0]   ? STOA_PROJECTION_WAITING
                 : behind        ? STOA_PROJECTION_CATCHING_UP
                                 : STOA_PROJECTION_LIVE;
}

void stoa_projector_look(stoa_projector *p, stoa_projection_view *out)
{
    (void)pthread_mutex_lock(&p->lock);
    *out = (stoa_projection_view){.schema = p->schema, .paused = p->paused, .connected = p->connected, .rebuilding = p->rebuild,
                                  .events = p->events, .rows = p->rows, .batches = p->batches, .reconnects = p->reconnects,
                                  .rebuilds = p->rebuilds, .rows_per_s = p->rows_per_s, .events_per_s = p->events_per_s,
                                  .shard_count = p->options.shard_count};
    (void)snprintf(out->where, sizeof out->where, "%s", p->connected ? p->where : "");
    (void)snprintf(out->error, sizeof out->error, "%s", p->error);
    (void)snprintf(out->rebuild_error, sizeof out->rebuild_error, "%s", p->rebuild_error);
    for (uint32_t i = 0; i < p->options.shard_count; i++) { look_at_shard(p, &p->shards[i], &out->shards[i]); }
    (void)pthread_mutex_unlock(&p->lock);
}

void stoa_projector_measure(stoa_projector *p)
{
    stoa_projection_view view;
    stoa_projector_look(p, &view);
    for (uint32_t i = 0; i < view.shard_count; i++) {
        const stoa_projection_shard_view *s = &view.shards[i];
        const uint64_t values[] = {(uint64_t)s->state, s->position, s->behind, s->behind_ns / NS_PER_S, s->quiet_ns / NS_PER_S, s->rebuilt};
        for (size_t f = 0; f < sizeof values / sizeof values[0]; f++) { stoa_gauge_set(p->shards[i].metrics[f], values[f]); }
    }
}

void stoa_projector_pause(stoa_projector *p, bool pause)
{
    (void)pthread_mutex_lock(&p->lock);
    p->paused = pause;
    (void)pthread_cond_signal(&p->wake);
    (void)pthread_mutex_unlock(&p->lock);
}

void stoa_projector_retry(stoa_projector *p)
{
    (void)pthread_mutex_lock(&p->lock);
    p->retry = true;
    (void)pthread_cond_signal(&p->wake);
    (void)pthread_mutex_unlock(&p->lock);
}

static stoa_err take_first(void *context, const stoa_event_view *event)
{
    (void)context;
    (void)event;
    return STOA_E_CANCELLED;
}

stoa_err stoa_projector_can_rebuild(stoa_projector *p)
{
    stoa_err err = STOA_OK;
    for (uint32_t i = 0; i < p->options.shard_count && !err; i++) {
        stoa_log_reader *reader; /* the thread has its own */
        if (stoa_shard_durable(p->shards[i].shard) == 0) { continue; }
        err = stoa_log_open(p->shards[i].shard, &reader);
        if (err) { break; }
        err = stoa_log_read(reader, 1, 1, take_first, NULL, NULL);
        stoa_log_close(reader);
        if (err == STOA_E_GONE) { err = STOA_FAIL(err, "shard %s: " PROJECTOR_GONE, p->names[i]); }
        if (err) { err = STOA_PASS(err, "shard %s cannot be read from its beginning", p->names[i]); }
    }
    return err;
}

stoa_err stoa_projector_rebuild(stoa_projector *p)
{
    stoa_err err = stoa_projector_can_rebuild(p);
    if (err) { return err; }
    (void)pthread_mutex_lock(&p->lock);
    bool under_way = p->rebuild;
    p->rebuild = true;
    p->rebuild_error[0] = '\0';
    (void)pthread_cond_signal(&p->wake);
    (void)pthread_mutex_unlock(&p->lock);
    return under_way ? STOA_FAIL(STOA_E_EXISTS, "a rebuild is under way") : STOA_OK;
}
