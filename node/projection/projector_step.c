/* projector_step.c - one batch: read what is committed, fold it, write it, move the cursor.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <string.h>

#include "base/hash.h"
#include "base/log.h"
#include "node/projection/projector_inside.h"

enum { BATCH_BYTES = 16 << 20, SHRINK = 16 };

void projector_note(stoa_projector *p, char *text)
{
    (void)pthread_mutex_lock(&p->lock);
    (void)snprintf(text, PROJECTOR_ERROR_MAX, "%s", stoa_err_trail());
    for (char *at = text; *at; at++) {
        if (*at == '\n') { *at = at[1] ? '|' : '\0'; }
    }
    (void)pthread_mutex_unlock(&p->lock);
}

void projector_way_begin(const stoa_projector *p, projector_way *way)
{
    way->step = p->options.batch;
    way->careful_until = 0;
    way->checked = false;
    way->stopped = false;
}

/* --- the log's register of readers */

void projector_read_no_more(projector_shard *shard, projector_way *way)
{
    if (way->reading) { stoa_readers_leave(stoa_shard_readers(shard->shard), way->slot); }
    way->reading = false;
}

void projector_read_from(projector_shard *shard, projector_way *way, const char *name, uint64_t position)
{
    stoa_readers *readers = stoa_shard_readers(shard->shard);
    uint64_t at;
    if (way->reading && stoa_readers_find(readers, name, &at) && position < at) { projector_read_no_more(shard, way); }
    if (way->reading) {
        stoa_readers_move(readers, way->slot, position);
        return;
    }
    stoa_err err = stoa_readers_add(readers, name, position, &way->slot);
    way->reading = !err;
    if (err) { stoa_log_error("projection_not_registered", err); }
}

/* --- is it our log? */

/* What tells an event from another one at the same position of another log. */
static uint64_t mark_of(const stoa_event_view *event)
{
    const uint64_t parts[] = {event->position, event->wall_ns, event->seq, event->stream, event->row->id};
    return stoa_hash64(1, parts, sizeof parts);
}

static stoa_err take_mark(void *context, const stoa_event_view *event)
{
    *(uint64_t *)context = mark_of(event);
    return STOA_E_CANCELLED;
}

/* The cursor may be of a log that lost its end, was restored to an earlier time, or is another one altogether. */
static stoa_err check_mark(projector_shard *shard, const stoa_target *target, uint32_t i, uint64_t durable)
{
    uint64_t position = stoa_target_position(target, i), mark = 0;
    if (position == 0) { return STOA_OK; }
    if (position > durable) {
        return STOA_FAIL(STOA_E_STALE, "table cursors: the rows are of position %llu, the log of shard %s ends at %llu: rebuild them",
                         (unsigned long long)position, shard->name, (unsigned long long)durable);
    }
    stoa_err err = stoa_log_read(shard->reader, position, position, take_mark, &mark, NULL);
    if (err == STOA_E_GONE) { return STOA_OK; } /* forgotten: what follows the cursor is still there */
    if (err || mark == stoa_target_mark(target, i)) { return err; }
    return STOA_FAIL(STOA_E_FORKED, "table cursors: the rows are of another log than shard %s at position %llu: rebuild them",
                     shard->name, (unsigned long long)position);
}

/* --- a batch */

typedef struct gather {
    stoa_model *model;
    uint64_t position, mark, event_ns;
    bool applying; /* the model was at fault, or its event */
} gather;

static stoa_err take_event(void *context, const stoa_event_view *event)
{
    gather *g = context;
    g->applying = true;
    stoa_err err = stoa_model_apply(g->model, event);
    if (err) { return STOA_PASS(err, "%s of %s", event->row->name, event->actor); }
    g->applying = false;
    g->position = event->position;
    g->event_ns = event->wall_ns;
    g->mark = mark_of(event);
    return stoa_model_bytes(g->model) < BATCH_BYTES ? STOA_OK : STOA_E_CANCELLED;
}

/* Whether an error of the log, or of the fold, lies in what was read. */
static bool guilty_read(stoa_err err)
{
    return err != STOA_E_IO && err != STOA_E_NOMEM && err != STOA_E_UNAVAILABLE;
}

/* What a server says that no other server would say tomorrow. */
static bool guilty_write(stoa_err err)
{
    static const stoa_err guilty[] = {STOA_E_INVALID, STOA_E_RANGE, STOA_E_EXISTS, STOA_E_TOO_LARGE, STOA_E_PRECISION,
                                      STOA_E_MALFORMED, STOA_E_UNSUPPORTED, STOA_E_STALE};
    for (size_t i = 0; i < sizeof guilty / sizeof guilty[0]; i++) {
        if (err == guilty[i]) { return true; }
    }
    return false;
}

/* Not with all of it: with a part, until the part is one event. */
static projector_outcome blame(projector_shard *shard, projector_way *way, stoa_err err, uint64_t from, uint64_t until)
{
    if (until > from) {
        uint64_t tried = until - from + 1;
        if (until > way->careful_until) { way->careful_until = until; }
        way->step = tried > SHRINK ? (uint32_t)(tried / SHRINK) : 1;
        return PROJECTOR_SMALLER;
    }
    (void)STOA_PASS(err, "%s: shard %s, position %llu", stoa_err_name(err), shard->name, (unsigned long long)from);
    return PROJECTOR_GUILTY;
}

static void note_step(stoa_projector *p, projector_shard *shard, bool live, const gather *g, uint64_t events,
                      const stoa_target_written *written, uint64_t began_ns)
{
    uint64_t now = projector_now(), took = now > began_ns ? now - began_ns : 1;
    atomic_store(live ? &shard->position : &shard->rebuilt, g->position);
    if (live) { atomic_store(&shard->event_ns, g->event_ns); }
    atomic_store(&shard->moved_ns, now);
    stoa_counter_add(p->events_total, events);
    stoa_counter_add(p->rows_total, written->rows);
    stoa_counter_add(written->piped ? p->piped_total : p->copied_total, 1);
    (void)pthread_mutex_lock(&p->lock);
    p->events += events;
    p->rows += written->rows;
    p->batches++;
    if (events >= p->options.batch / 2) { /* small ones say nothing about what is possible */
        p->rows_per_s = (uint64_t)((double)written->rows * 1e9 / (double)took);
        p->events_per_s = (uint64_t)((double)events * 1e9 / (double)took);
    }
    (void)pthread_mutex_unlock(&p->lock);
}

/* Read, fold, write. */
static stoa_err run_batch(projector_shard *shard, stoa_target *target, uint32_t i, uint64_t until, gather *g, bool *guilty_out,
                          stoa_target_written *written_out)
{
    uint64_t from = stoa_target_position(target, i) + 1;
    stoa_err err = stoa_log_read(shard->reader, from, until, take_event, g, NULL);
    *guilty_out = err && (g->applying || guilty_read(err));
    if (err == STOA_E_GONE) { err = STOA_PASS(err, PROJECTOR_GONE); }
    if (err || g->position < from) { return err; }
    err = stoa_target_write(target, i, g->position, g->mark, g->event_ns, written_out);
    *guilty_out = err && guilty_write(err);
    return err;
}

projector_outcome projector_step(stoa_projector *p, stoa_target *target, uint32_t i)
{
    projector_shard *shard = &p->shards[i];
    bool live = target == p->live, guilty = false;
    projector_way *way = live ? &shard->live : &shard->shadow;
    uint64_t durable = stoa_shard_durable(shard->shard), from = stoa_target_position(target, i) + 1;
    uint64_t began_ns = projector_now(), until = from - 1 + way->step;
    stoa_err err = way->checked ? STOA_OK : check_mark(shard, target, i, durable);
    if (err) { return err == STOA_E_IO || err == STOA_E_NOMEM ? PROJECTOR_AWAY : blame(shard, way, err, from - 1, from - 1); }
    way->checked = true;
    if (from > durable) {
        if (live) { atomic_store(&shard->level_ns, began_ns); }
        return PROJECTOR_NOTHING;
    }
    gather g = {.model = stoa_target_model(target, i)};
    stoa_target_written written;
    err = run_batch(shard, target, i, until < durable ? until : durable, &g, &guilty, &written);
    if (err && !guilty) { return PROJECTOR_AWAY; }
    if (err) { return blame(shard, way, err, from, until < durable ? until : durable); }
    if (g.position < from) { return PROJECTOR_NOTHING; }
    if (g.position >= way->careful_until) { way->step = p->options.batch; }
    projector_read_from(shard, way, live ? "projection" : "projection.rebuild", g.position);
    note_step(p, shard, live, &g, g.position - from + 1, &written, began_ns);
    if (live && g.position >= durable) { atomic_store(&shard->level_ns, projector_now()); }
    return PROJECTOR_MOVED;
}
