/* shard_recover.c - from the log back to states: recovery at open, and replays beside the running shard (single states of the
 * running one: shard_undo.c).
 *
 * A replay never runs a handler: it reads events in order (log_reader.h) and applies them. Recovery applies to the shard's
 * actors themselves; a replay beside applies to a fold of its own (fold.h).
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/array.h"
#include "base/hash.h"
#include "base/log.h"
#include "runtime/follow.h"
#include "runtime/internal.h"
#include "runtime/shard.h"
#include "runtime/sparse.h"

enum { PAGE_BYTES = 4096, CATCH_UP_MS = 5000 };

/* --- hashes */

/* Pages that are zero do not count, so that those that were never touched need no look. */
uint64_t stoa_state_hash(uint64_t seed, const void *state, size_t bytes)
{
    stoa_sparse_walk walk = {.at = state, .bytes = bytes};
    while (stoa_sparse_next(&walk)) {
        for (size_t offset = walk.from; offset < walk.to; offset += PAGE_BYTES) {
            const unsigned char *at = (const unsigned char *)state + offset;
            size_t n = walk.to - offset < PAGE_BYTES ? walk.to - offset : PAGE_BYTES;
            if (!stoa_all_zero(at, n)) { seed = stoa_hash64(seed ^ stoa_mix64(offset + 1), at, n); }
        }
    }
    return seed;
}

uint64_t stoa_shard_hash(const struct stoa_shard *shard)
{
    uint64_t hash = 0;
    for (uint32_t stream = 0; stream <= shard->actor_count; stream++) {
        const stoa_kind *kind = shard->streams.at[stream].kind;
        hash = stoa_state_hash(stoa_mix64(hash + stream), stoa_shard_state(shard, stream), kind->state_bytes);
    }
    return hash;
}

/* --- recovery */

static stoa_err corrupt(const struct stoa_shard *shard, uint64_t position, const char *what)
{
    return STOA_FAIL(STOA_E_CORRUPT, "shard %s, position %llu: %s", shard->name, (unsigned long long)position, what);
}

static stoa_err spawn_again(struct stoa_shard *shard, const stoa_event_view *event)
{
    const stoa_shard_log_spawned *spawned = event->payload;
    char kind_name[sizeof spawned->kind.at + 1], name[sizeof spawned->name.at + 1];
    (void)snprintf(kind_name, sizeof kind_name, "%.*s", STOA_TEXT_ARGS(&spawned->kind));
    (void)snprintf(name, sizeof name, "%.*s", STOA_TEXT_ARGS(&spawned->name));
    const stoa_kind *kind = stoa_node_kind(shard->node, kind_name);
    if (!kind) { return stoa_log_no_kind(shard->name, event->position, kind_name); }
    if (spawned->stream && spawned->stream <= shard->actor_count) { /* the shard was dropped: its actors are there */
        const stoa_actor *there = shard->actors[spawned->stream];
        bool same = there->kind == kind && strcmp(stoa_actor_name(there), name) == 0;
        return same ? STOA_OK : corrupt(shard, event->position, "another actor than before");
    }
    stoa_actor *actor;
    stoa_err err = stoa_shard_spawn(shard, kind, name, &actor);
    if (err) { return STOA_PASS(err, "spawning %s again", name); }
    return actor->stream == spawned->stream ? STOA_OK : corrupt(shard, event->position, "streams out of order");
}

typedef struct replaying {
    struct stoa_shard *shard;
    bool refused; /* an event could not follow the state */
} replaying;

static stoa_err apply(void *context, const stoa_event_view *event)
{
    replaying *r = context;
    struct stoa_shard *shard = r->shard;
    stoa_err err = STOA_OK;
    if (event->stream == 0 && event->row->id == stoa_shard_log_ROW_spawned) { err = spawn_again(shard, event); }
    if (!err) { err = stoa_event_apply(shard->name, stoa_shard_state(shard, event->stream), event); }
    r->refused = err == STOA_E_CORRUPT;
    if (err) { return err; }
    shard->seqs[event->stream] = event->seq;
    shard->applied = event->position;
    return STOA_OK;
}

/* The newest snapshot at or below at_most that can be used, and the log behind it. */
static stoa_err replay_from(replaying *r, const stoa_journal_state *state, uint64_t at_most)
{
    struct stoa_shard *shard = r->shard;
    stoa_log_reader *reader;
    r->refused = false;
    stoa_err err = stoa_shard_restore(shard, at_most, &shard->snapshot);
    if (!err && shard->snapshot + 1 < state->first) {
        err = STOA_FAIL(STOA_E_GONE, "shard %s: the log begins at %llu, and no snapshot goes so far", shard->name,
                        (unsigned long long)state->first);
    }
    if (!err) { err = stoa_log_open(shard, &reader); }
    if (err) { return err; }
    err = stoa_log_read(reader, shard->snapshot + 1, UINT64_MAX, apply, r, NULL);
    stoa_log_close(reader);
    return err;
}

/* An event that cannot follow a snapshot may follow what the log itself makes of the events before: then the snapshot was wrong. */
static stoa_err replay(struct stoa_shard *shard, const stoa_journal_state *state)
{
    replaying r = {.shard = shard};
    uint32_t there = shard->actor_count;
    stoa_err err = replay_from(&r, state, state->last);
    while (err && r.refused && shard->snapshot) {
        stoa_log(STOA_LOG_WARN, "snapshot_refused", STOA_KV("shard", shard->name), STOA_KU("position", shard->snapshot),
                 STOA_KV("error", stoa_err_name(err)), STOA_KV("why", stoa_err_trail()));
        stoa_shard_unrestore(shard, there);
        err = replay_from(&r, state, shard->snapshot - 1);
    }
    return err;
}

stoa_err stoa_shard_recover(struct stoa_shard *shard)
{
    stoa_journal_state state;
    uint64_t began_ns = stoa_clock_real.now_ns(&stoa_clock_real); /* how long it took, for the operator; decides nothing */
    shard->journal->ops->state(shard->journal, &state);
    atomic_store(&shard->durable, state.last);
    stoa_err err = replay(shard, &state);
    if (err) { return err; }
    if (shard->epoch && shard->epoch < state.epoch) {
        return STOA_FAIL(STOA_E_STALE, "shard %s: the log is of epoch %llu, we have %llu", shard->name,
                         (unsigned long long)state.epoch, (unsigned long long)shard->epoch);
    }
    if (!shard->epoch) { shard->epoch = state.epoch ? state.epoch : 1; }
    shard->recovered = shard->applied = shard->committed = state.last;
    shard->acks = (stoa_acks){.memory = state.last, .disk = state.last};
    shard->unproven = state.last > state.proven ? state.last - state.proven : 0;
    shard->blocks[0].first = state.last + 1;
    shard->recovery_ns = stoa_clock_real.now_ns(&stoa_clock_real) - began_ns;
    return STOA_OK;
}

/* --- beside the running shard */

/* Acknowledged may be ahead of committed where durability is MEMORY: wait for it. */
static stoa_err wait_for_log(struct stoa_shard *shard, uint64_t position)
{
    for (int ms = 0; ms < CATCH_UP_MS && stoa_shard_durable(shard) < position; ms++) {
        if (shard->node->options.sim) {
            if (!stoa_sim_step_for_call(shard->node->options.sim)) { break; }
            continue;
        }
        struct timespec wait = {0, 1000000};
        (void)nanosleep(&wait, NULL);
    }
    return stoa_shard_durable(shard) >= position
               ? STOA_OK
               : STOA_FAIL(STOA_E_TIMEOUT, "the log ends before position %llu", (unsigned long long)position);
}

/* Where the log's beginning was purged, a snapshot stands for it. */
static stoa_err begin_behind_purge(struct stoa_shard *shard, stoa_fold *fold, uint64_t position)
{
    stoa_snapshot *snapshot;
    stoa_image_directory directory;
    if (stoa_journal_first(shard->journal) == 1) { return STOA_OK; }
    stoa_err err = stoa_shard_snapshot_find(shard, position ? position : UINT64_MAX, false, &snapshot, &directory);
    if (err) { return STOA_FAIL(STOA_E_GONE, "shard %s: no snapshot at or below %llu", shard->name, (unsigned long long)position); }
    stoa_image_close(&directory);
    err = stoa_image_fold(snapshot, shard->node->options.kinds, fold);
    stoa_snapshot_close(snapshot);
    return err;
}

stoa_err stoa_shard_replay(stoa_shard *shard, uint64_t position, uint64_t *hash_out, uint64_t *events_out)
{
    stoa_log_reader *reader = NULL;
    stoa_fold fold = {0};
    stoa_err err = stoa_log_open(shard, &reader);
    if (!err && position) { err = wait_for_log(shard, position); }
    if (!err) { err = stoa_fold_init(&fold, reader); }
    if (!err) { err = begin_behind_purge(shard, &fold, position); }
    if (!err) { err = stoa_fold_until(&fold, position ? position : UINT64_MAX); }
    if (!err) {
        *hash_out = stoa_fold_hash(&fold);
        *events_out = fold.applied;
    }
    stoa_fold_deinit(&fold);
    stoa_log_close(reader);
    return err;
}

/* --- looking up */

typedef struct positions {
    uint64_t *at;
    uint32_t count, cap;
} positions;

static stoa_err collect(void *context, uint64_t position)
{
    positions *p = context;
    uint64_t *at = stoa_array_room(p->at, p->count, &p->cap, sizeof *at);
    if (!at) { return STOA_FAIL(STOA_E_NOMEM, "lookup"); }
    p->at = at;
    p->at[p->count++] = position;
    return STOA_OK;
}

typedef struct lookup {
    stoa_log_reader *reader;
    uint64_t id, seen; /* last position of the blocks looked at */
    bool holds;        /* the event under the eye has the id */
    void (*visit)(void *context, const stoa_event_view *view);
    void *context;
} lookup;

static void compare_id(void *context, uint64_t id)
{
    lookup *l = context;
    l->holds = l->holds || id == l->id;
}

static stoa_err look_at_event(void *context, const stoa_event_view *view)
{
    lookup *l = context;
    l->holds = false;
    stoa_each_index(&view->row->payload, view->payload, compare_id, l);
    if (l->holds) { l->visit(l->context, view); }
    return STOA_OK;
}

static stoa_err look_at_block(void *context, const stoa_block *block)
{
    lookup *l = context;
    l->seen = block->first + block->count - 1;
    stoa_err err = stoa_log_read_block(l->reader, block, 0, UINT64_MAX, look_at_event, l);
    return err ? err : STOA_E_CANCELLED; /* one block is all */
}

stoa_err stoa_shard_lookup(stoa_shard *shard, uint64_t id, void (*visit)(void *context, const stoa_event_view *event),
                           void *context)
{
    positions found = {0};
    lookup l = {.id = id, .visit = visit, .context = context};
    stoa_err err = stoa_log_open(shard, &l.reader);
    if (err) { return err; }
    const stoa_journal_ops *ops = shard->journal->ops;
    err = ops->lookup(shard->journal, id, collect, &found);
    for (uint32_t i = 0; i < found.count && !err; i++) {
        if (found.at[i] <= l.seen || found.at[i] > stoa_shard_durable(shard)) { continue; }
        err = ops->read(shard->journal, found.at[i], look_at_block, &l);
        if (err == STOA_E_CANCELLED) { err = STOA_OK; }
    }
    free(found.at);
    stoa_log_close(l.reader);
    return err;
}

typedef struct scan {
    lookup l;
    uint64_t until;
    bool (*go_on)(void *context);
    void *go_context;
    bool over; /* all was looked at, or go_on said no */
} scan;

static stoa_err scan_block(void *context, const stoa_block *block)
{
    scan *s = context;
    bool there = false;
    s->over = block->first > s->until || (s->go_on && !s->go_on(s->go_context));
    if (s->over) { return STOA_E_CANCELLED; }
    for (uint32_t i = 0; i < block->index_count && !there; i++) { there = block->index[i].id == s->l.id; }
    stoa_err err = there ? stoa_log_read_block(s->l.reader, block, 0, s->until, look_at_event, &s->l) : STOA_OK;
    if (!err) { s->l.seen = block->first + block->count - 1; }
    return err;
}

stoa_err stoa_shard_lookup_scan(stoa_shard *shard, uint64_t id, uint64_t from, uint64_t until, bool (*go_on)(void *context),
                                void *go_context, void (*visit)(void *context, const stoa_event_view *event), void *context,
                                uint64_t *looked_out)
{
    scan s = {.l = {.id = id, .seen = from - 1, .visit = visit, .context = context}, .until = until, .go_on = go_on, .go_context = go_context};
    *looked_out = from - 1;
    if (from == 0 || from > until) { return STOA_OK; }
    stoa_err err = stoa_log_open(shard, &s.l.reader);
    if (err) { return err; }
    err = shard->journal->ops->read(shard->journal, from, scan_block, &s);
    *looked_out = s.l.seen < until ? s.l.seen : until;
    stoa_log_close(s.l.reader);
    return s.over ? STOA_OK : err;
}
