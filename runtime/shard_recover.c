/* shard_recover.c - from the log back to states: recovery at open, and replays beside the running shard.
 *
 * A replay reads blocks in order, decodes each event against the table of its actor's kind and applies it. It never runs a
 * handler. Recovery applies to the shard's actors themselves; a replay beside applies to scratch states and hashes them.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

#include "base/hash.h"
#include "base/log.h"
#include "runtime/internal.h"
#include "runtime/shard.h"

/* an event is at most STOA_ARENA_BYTES in memory, and a token takes at least a byte of it */
enum { TOKENS_MAX = STOA_ARENA_BYTES + 16, PAGE_BYTES = 4096, CATCH_UP_MS = 5000 };

/* --- hashes */

static bool all_zero(const unsigned char *bytes, size_t n)
{
    return n == 0 || (bytes[0] == 0 && memcmp(bytes, bytes + 1, n - 1) == 0);
}

uint64_t stoa_state_hash(uint64_t seed, const void *state, size_t bytes)
{
    const unsigned char *at = state;
    for (size_t offset = 0; offset < bytes; offset += PAGE_BYTES) {
        size_t n = bytes - offset < PAGE_BYTES ? bytes - offset : PAGE_BYTES;
        if (all_zero(at + offset, n)) { continue; } /* large states are mostly untouched pages */
        seed = stoa_hash64(seed ^ stoa_mix64(offset + 1), at + offset, n);
    }
    return seed;
}

uint64_t stoa_shard_hash(const struct stoa_shard *shard)
{
    uint64_t hash = 0;
    for (uint32_t stream = 1; stream <= shard->actor_count; stream++) {
        const stoa_actor *actor = shard->actors[stream];
        hash = stoa_state_hash(stoa_mix64(hash + stream), actor->state, actor->kind->state_bytes);
    }
    return hash;
}

/* --- events */

typedef struct event {
    const stoa_row *row;
    uint64_t seq, wall_ns, command;
    uint32_t stream;
    uint32_t payload_token;
} event;

typedef struct replay {
    stoa_node *node;
    const char *shard_name;
    /* The actor of a stream; NULL when there is none. */
    const stoa_kind *(*kind_of)(struct replay *replay, uint32_t stream);
    stoa_err (*spawned)(struct replay *replay, uint32_t stream, const stoa_kind *kind, const char *name);
    void *(*state_of)(struct replay *replay, uint32_t stream);
    struct stoa_shard *shard;         /* recovery, and one actor of it */
    uint32_t only;                    /* apply the events of this stream alone, to scratch */
    void *scratch;
    const stoa_kind **kinds;          /* beside: by stream */
    void **states;
    uint32_t count, cap;
    uint64_t from, until, applied;    /* positions */
    void *payload;                    /* STOA_REPLY_MAX bytes */
    stoa_token *tokens;
    void (*visit)(void *context, const stoa_event_view *view);
    void *context;
} replay;

static stoa_err corrupt(const replay *r, uint64_t position, const char *what)
{
    return STOA_FAIL(STOA_E_CORRUPT, "shard %s, position %llu: %s", r->shard_name, (unsigned long long)position, what);
}

/* Written by a newer build: nothing is wrong with the log, but this build cannot say what it means. */
static stoa_err too_new(const replay *r, uint64_t position, const char *what)
{
    return STOA_FAIL(STOA_E_VERSION, "shard %s, position %llu: %s", r->shard_name, (unsigned long long)position, what);
}

static bool read_uint(const stoa_token *token, uint64_t *out)
{
    if (token->cls != STOA_TOKEN_UINT) { return false; }
    *out = token->as.u;
    return true;
}

/* The envelope at *at, which moves behind the event. */
static stoa_err read_event(replay *r, uint64_t position, const uint8_t **at, const uint8_t *end, event *out)
{
    uint32_t count;
    size_t used;
    uint64_t field[9];
    if (stoa_tokenize(*at, (size_t)(end - *at), r->tokens, TOKENS_MAX, &count, &used)) {
        return corrupt(r, position, "not msgpack");
    }
    *at += used;
    if (r->tokens[0].cls != STOA_TOKEN_ARRAY || r->tokens[0].size < 10) { return corrupt(r, position, "not an event"); }
    for (uint32_t i = 0; i < 9; i++) {
        if (!read_uint(&r->tokens[1 + i], &field[i])) { return corrupt(r, position, "envelope"); }
    }
    if (field[0] != 1) { return too_new(r, position, "event of a later version"); }
    *out = (event){.stream = (uint32_t)field[3], .seq = field[4], .wall_ns = field[5], .command = field[7],
                   .payload_token = 10};
    const stoa_kind *kind = out->stream ? r->kind_of(r, out->stream) : NULL;
    const stoa_table *table = out->stream == 0 ? &stoa_shard_log_table : kind ? kind->table : NULL;
    if (!table || field[1] == 0) { return corrupt(r, position, "event of no kind"); }
    if (field[1] > table->row_count) {
        char what[96];
        (void)snprintf(what, sizeof what, "row %llu of %s, which has %u here", (unsigned long long)field[1], table->name,
                       table->row_count);
        return too_new(r, position, what);
    }
    out->row = &table->rows[field[1]];
    if (out->row->payload.size_bytes > STOA_REPLY_MAX) { return corrupt(r, position, "payload size"); }
    stoa_err err = stoa_decode_tokens(&out->row->payload, r->tokens + 10, count - 10, r->payload);
    return err ? STOA_PASS(STOA_E_CORRUPT, "shard %s, position %llu", r->shard_name, (unsigned long long)position) : STOA_OK;
}

static stoa_err apply_shard_event(replay *r, uint64_t position, const event *e)
{
    if (e->row->id != stoa_shard_log_ROW_spawned) { return STOA_OK; }
    const stoa_shard_log_spawned *spawned = r->payload;
    char kind_name[sizeof spawned->kind.at + 1], name[sizeof spawned->name.at + 1];
    (void)snprintf(kind_name, sizeof kind_name, "%.*s", STOA_TEXT_ARGS(&spawned->kind));
    (void)snprintf(name, sizeof name, "%.*s", STOA_TEXT_ARGS(&spawned->name));
    const stoa_kind *kind = stoa_node_kind(r->node, kind_name);
    if (!kind) { /* the journal is of a build with other kinds */
        return STOA_FAIL(STOA_E_VERSION, "shard %s, position %llu: no kind '%s' is registered", r->shard_name,
                         (unsigned long long)position, kind_name);
    }
    return r->spawned(r, (uint32_t)spawned->stream, kind, name);
}

static stoa_err apply_event(replay *r, uint64_t position, const event *e)
{
    r->applied = position;
    if (r->only && e->stream != r->only) { return STOA_OK; }
    if (e->stream == 0) { return apply_shard_event(r, position, e); }
    stoa_applier applier = r->kind_of(r, e->stream)->appliers[e->row->id];
    if (!applier) { return corrupt(r, position, "not an event row"); }
    applier(r->state_of(r, e->stream), r->payload);
    if (r->shard && !r->only) { r->shard->seqs[e->stream] = e->seq; }
    return STOA_OK;
}

static stoa_err replay_block(void *context, const stoa_block *block)
{
    replay *r = context;
    const uint8_t *at = block->payload, *end = at + block->payload_bytes;
    for (uint32_t i = 0; i < block->count; i++) {
        uint64_t position = block->first + i;
        event e = {0};
        if (position > r->until) { return STOA_E_CANCELLED; } /* far enough */
        stoa_err err = read_event(r, position, &at, end, &e);
        if (!err) { err = apply_event(r, position, &e); }
        if (err) { return err; }
    }
    return STOA_OK;
}

static stoa_err replay_init(replay *r, stoa_node *node, const char *shard_name)
{
    r->node = node;
    r->shard_name = shard_name;
    r->payload = malloc(STOA_REPLY_MAX);
    r->tokens = malloc(TOKENS_MAX * sizeof *r->tokens);
    return r->payload && r->tokens ? STOA_OK : STOA_FAIL(STOA_E_NOMEM, "replay");
}

static void replay_deinit(replay *r)
{
    free(r->payload);
    free(r->tokens);
}

static stoa_err replay_log(replay *r, stoa_journal *journal)
{
    stoa_journal_state state;
    journal->ops->state(journal, &state);
    if (state.last == 0) { return STOA_OK; }
    if (r->until > state.last) { r->until = state.last; }
    stoa_err err = journal->ops->read(journal, 1, replay_block, r);
    return err == STOA_E_CANCELLED ? STOA_OK : err;
}

/* --- recovery */

static const stoa_kind *live_kind(replay *r, uint32_t stream)
{
    return stream <= r->shard->actor_count ? r->shard->actors[stream]->kind : NULL;
}

static void *live_state(replay *r, uint32_t stream)
{
    return r->shard->actors[stream]->state;
}

static stoa_err live_spawned(replay *r, uint32_t stream, const stoa_kind *kind, const char *name)
{
    stoa_actor *actor;
    stoa_err err = stoa_shard_spawn(r->shard, kind, name, &actor);
    if (err) { return STOA_PASS(err, "spawning %s again", name); }
    return actor->stream == stream ? STOA_OK : corrupt(r, r->applied, "streams out of order");
}

stoa_err stoa_shard_recover(struct stoa_shard *shard)
{
    stoa_journal_state state;
    uint64_t began_ns = stoa_clock_real.now_ns(&stoa_clock_real); /* how long it took, for the operator; decides nothing */
    replay r = {.shard = shard, .kind_of = live_kind, .spawned = live_spawned, .state_of = live_state, .until = UINT64_MAX};
    stoa_err err = replay_init(&r, shard->node, shard->name);
    if (!err) { err = replay_log(&r, shard->journal); }
    replay_deinit(&r);
    if (err) { return err; }
    shard->journal->ops->state(shard->journal, &state);
    if (shard->epoch && shard->epoch < state.epoch) {
        return STOA_FAIL(STOA_E_STALE, "shard %s: the log is of epoch %llu, we have %llu", shard->name,
                         (unsigned long long)state.epoch, (unsigned long long)shard->epoch);
    }
    if (!shard->epoch) { shard->epoch = state.epoch ? state.epoch : 1; }
    shard->recovered = shard->applied = shard->committed = state.last;
    shard->unproven = state.last > state.proven ? state.last - state.proven : 0;
    shard->blocks[0].first = state.last + 1;
    shard->recovery_ns = stoa_clock_real.now_ns(&stoa_clock_real) - began_ns;
    return STOA_OK;
}

/* --- one actor of the running shard */

enum { REBUILD_EVENTS_MAX = 1 << 16 };

static void *scratch_state(replay *r, uint32_t stream)
{
    (void)stream;
    return r->scratch;
}

/* The log, then what is not yet in it: blocks with the journal's thread, and the open one. */
static stoa_err replay_all(replay *r, struct stoa_shard *shard)
{
    stoa_err err = replay_log(r, shard->journal);
    r->until = shard->applied; /* the log ended earlier */
    for (uint64_t number = shard->block_done; number <= shard->block_open && !err; number++) {
        const stoa_block_slot *slot = &shard->blocks[number % STOA_BLOCKS];
        if (!slot->count || slot->first + slot->count - 1 <= r->applied) { continue; }
        stoa_block block = {.first = slot->first, .count = slot->count, .payload = slot->bytes,
                            .payload_bytes = slot->used_bytes};
        err = replay_block(r, &block);
    }
    return err;
}

/* What the log says is what counts: a state that differs was not made by its events. */
static void compare(const struct stoa_shard *shard, stoa_actor *actor, const replay *r)
{
    if (r->applied == shard->applied && memcmp(r->scratch, actor->state, actor->kind->state_bytes) == 0) { return; }
    stoa_log(STOA_LOG_ERROR, "state_differs_from_log", STOA_KV("actor", stoa_actor_name(actor)),
             STOA_KU("position", shard->applied), STOA_KU("replayed", r->applied));
    STOA_ASSERT(!shard->node->options.sim); /* a broken kind, or a broken replay: tests do not go on with it */
    if (r->applied == shard->applied) { memcpy(actor->state, r->scratch, actor->kind->state_bytes); }
}

/* Between cascades nothing of the shard is half done, and handlers cannot write to the state: it is the fold of the applied
 * events already, and replaying them gives the same bytes. That is done all the same, and shown, where the log is short enough
 * for a core to read: it keeps one failure of memory or of a broken kind from living on. */
void stoa_shard_rebuild(struct stoa_shard *shard, stoa_actor *actor)
{
    if (!shard->journal || shard->applied > REBUILD_EVENTS_MAX) { return; }
    size_t bytes = actor->kind->state_bytes;
    replay r = {.shard = shard, .kind_of = live_kind, .state_of = scratch_state, .until = shard->applied,
                .only = actor->stream};
    r.scratch = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (r.scratch == MAP_FAILED) { return; }
    stoa_err err = replay_init(&r, shard->node, shard->name);
    if (!err) { err = replay_all(&r, shard); }
    if (err) {
        stoa_log_error("rebuild_failed", err);
        STOA_ASSERT(!shard->node->options.sim || err == STOA_E_NOMEM || err == STOA_E_IO);
    } else {
        compare(shard, actor, &r);
    }
    replay_deinit(&r);
    (void)munmap(r.scratch, bytes);
}

/* --- beside the running shard */

static const stoa_kind *beside_kind(replay *r, uint32_t stream)
{
    return stream < r->cap ? r->kinds[stream] : NULL;
}

static void *beside_state(replay *r, uint32_t stream)
{
    return r->states[stream];
}

static stoa_err beside_spawned(replay *r, uint32_t stream, const stoa_kind *kind, const char *name)
{
    (void)name;
    if (stream >= r->cap) {
        uint32_t cap = stream * 2 + 64;
        const stoa_kind **kinds = realloc(r->kinds, cap * sizeof *kinds);
        if (kinds) { r->kinds = kinds; }
        void **states = realloc(r->states, cap * sizeof *states);
        if (states) { r->states = states; }
        if (!kinds || !states) { return STOA_FAIL(STOA_E_NOMEM, "replay of %u actors", stream); }
        memset(r->kinds + r->cap, 0, (cap - r->cap) * sizeof *kinds);
        memset(r->states + r->cap, 0, (cap - r->cap) * sizeof *states);
        r->cap = cap;
    }
    void *state = mmap(NULL, kind->state_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (state == MAP_FAILED) { return STOA_FAIL(STOA_E_NOMEM, "state of %zu bytes", kind->state_bytes); }
    r->kinds[stream] = kind;
    r->states[stream] = state;
    if (stream > r->count) { r->count = stream; }
    return STOA_OK;
}

static void free_states(replay *r)
{
    for (uint32_t i = 0; i < r->cap; i++) {
        if (r->states[i]) { (void)munmap(r->states[i], r->kinds[i]->state_bytes); }
    }
    free(r->kinds);
    free(r->states);
}

/* With durability MEMORY the log may trail what was acknowledged: wait for it. */
static stoa_err wait_for_log(struct stoa_shard *shard, uint64_t position)
{
    stoa_journal_state state;
    for (int ms = 0; ms < CATCH_UP_MS; ms++) {
        shard->journal->ops->state(shard->journal, &state);
        if (state.last >= position) { return STOA_OK; }
        if (shard->node->options.sim) {
            if (!stoa_sim_step_for_call(shard->node->options.sim)) { break; }
            continue;
        }
        struct timespec wait = {0, 1000000};
        (void)nanosleep(&wait, NULL);
    }
    return STOA_FAIL(STOA_E_TIMEOUT, "the log ends before position %llu", (unsigned long long)position);
}

stoa_err stoa_shard_replay(stoa_shard *shard, uint64_t position, uint64_t *hash_out, uint64_t *events_out)
{
    if (!shard->journal) { return STOA_FAIL(STOA_E_UNSUPPORTED, "shard %s has no journal", shard->name); }
    stoa_err err = position ? wait_for_log(shard, position) : STOA_OK;
    if (err) { return err; }
    replay r = {.kind_of = beside_kind, .spawned = beside_spawned, .state_of = beside_state,
                .until = position ? position : UINT64_MAX};
    err = replay_init(&r, shard->node, shard->name);
    if (!err) { err = replay_log(&r, shard->journal); }
    if (!err) {
        uint64_t hash = 0;
        for (uint32_t stream = 1; stream <= r.count; stream++) {
            hash = stoa_state_hash(stoa_mix64(hash + stream), r.states[stream], r.kinds[stream]->state_bytes);
        }
        *hash_out = hash;
        *events_out = r.applied;
    }
    free_states(&r);
    replay_deinit(&r);
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
    if (p->count == p->cap) {
        uint32_t cap = p->cap ? p->cap * 2 : 64;
        uint64_t *at = realloc(p->at, cap * sizeof *at);
        if (!at) { return STOA_FAIL(STOA_E_NOMEM, "lookup"); }
        p->at = at;
        p->cap = cap;
    }
    p->at[p->count++] = position;
    return STOA_OK;
}

typedef struct lookup {
    replay replay;
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

static void show(lookup *l, uint64_t position, const event *e, uint64_t commit_ns)
{
    const struct stoa_shard *shard = l->replay.shard;
    stoa_event_view view = {.position = position,
                            .wall_ns = e->wall_ns,
                            .commit_ns = commit_ns,
                            .command = e->command,
                            .seq = e->seq,
                            .stream = e->stream,
                            .row = e->row,
                            .payload = l->replay.payload,
                            .actor = e->stream ? stoa_actor_name(shard->actors[e->stream]) : shard->name};
    l->visit(l->context, &view);
}

static stoa_err look_at_block(void *context, const stoa_block *block)
{
    lookup *l = context;
    const uint8_t *at = block->payload, *end = at + block->payload_bytes;
    for (uint32_t i = 0; i < block->count; i++) {
        event e = {0};
        stoa_err err = read_event(&l->replay, block->first + i, &at, end, &e);
        if (err) { return err; }
        l->holds = false;
        stoa_each_index(&e.row->payload, l->replay.payload, compare_id, l);
        if (l->holds) { show(l, block->first + i, &e, block->commit_ns); }
    }
    l->seen = block->first + block->count - 1;
    return STOA_E_CANCELLED; /* one block is all */
}

stoa_err stoa_shard_lookup(stoa_shard *shard, uint64_t id, void (*visit)(void *context, const stoa_event_view *event),
                           void *context)
{
    if (!shard->journal) { return STOA_FAIL(STOA_E_UNSUPPORTED, "shard %s has no journal", shard->name); }
    const stoa_journal_ops *ops = shard->journal->ops;
    positions found = {0};
    lookup l = {.id = id, .visit = visit, .context = context};
    l.replay.shard = shard;
    l.replay.kind_of = live_kind;
    stoa_err err = replay_init(&l.replay, shard->node, shard->name);
    if (!err) { err = ops->lookup(shard->journal, id, collect, &found); }
    for (uint32_t i = 0; i < found.count && !err; i++) {
        if (found.at[i] <= l.seen) { continue; }
        err = ops->read(shard->journal, found.at[i], look_at_block, &l);
        if (err == STOA_E_CANCELLED) { err = STOA_OK; }
    }
    free(found.at);
    replay_deinit(&l.replay);
    return err;
}
