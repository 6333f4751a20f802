/* fold.c - see fold.h.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "runtime/fold.h"

#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "runtime/image.h"
#include "runtime/ledger.h"
#include "runtime/shard.h"
#include "runtime/sparse.h"

void *stoa_state_new(const stoa_kind *kind)
{
    return kind->state_bytes < STOA_SPARSE_BYTES ? calloc(1, kind->state_bytes) : stoa_sparse_map(kind->state_bytes);
}

void stoa_state_free(const stoa_kind *kind, void *state)
{
    if (!state) { return; }
    if (kind->state_bytes < STOA_SPARSE_BYTES) {
        free(state);
    } else {
        stoa_sparse_unmap(state, kind->state_bytes);
    }
}

/* --- life */

static stoa_err reserve(stoa_fold *fold, uint32_t stream)
{
    if (stream < fold->cap) { return STOA_OK; }
    uint32_t cap = stream * 2 + 64;
    void **states = realloc(fold->states, cap * sizeof *states);
    if (states) { fold->states = states; }
    uint64_t *seqs = realloc(fold->seqs, cap * sizeof *seqs);
    if (seqs) { fold->seqs = seqs; }
    if (!states || !seqs) { return STOA_FAIL(STOA_E_NOMEM, "states of %u actors", stream); }
    memset(states + fold->cap, 0, (cap - fold->cap) * sizeof *states);
    memset(seqs + fold->cap, 0, (cap - fold->cap) * sizeof *seqs);
    fold->cap = cap;
    return STOA_OK;
}

static stoa_err add_state(stoa_fold *fold, uint32_t stream)
{
    const stoa_kind *kind = stoa_log_streams(fold->reader)->at[stream].kind;
    stoa_err err = reserve(fold, stream);
    if (err) { return err; }
    fold->states[stream] = stoa_state_new(kind);
    if (!fold->states[stream]) { return STOA_FAIL(STOA_E_NOMEM, "state of %zu bytes", kind->state_bytes); }
    fold->count = stream;
    return STOA_OK;
}

stoa_err stoa_fold_init(stoa_fold *fold, stoa_log_reader *reader)
{
    *fold = (stoa_fold){.reader = reader};
    stoa_err err = add_state(fold, 0);
    if (err) { stoa_fold_deinit(fold); }
    return err;
}

static void free_states(stoa_fold *fold, uint32_t from)
{
    const stoa_streams *streams = stoa_log_streams(fold->reader);
    for (uint32_t i = from; i < fold->cap; i++) {
        stoa_state_free(streams->at[i].kind, fold->states[i]);
        fold->states[i] = NULL;
    }
}

void stoa_fold_deinit(stoa_fold *fold)
{
    if (fold->reader) { free_states(fold, 0); }
    free(fold->states);
    free(fold->seqs);
    *fold = (stoa_fold){0};
}

void stoa_fold_clear(stoa_fold *fold)
{
    free_states(fold, 1);
    stoa_sparse_clear(fold->states[0], stoa_shard_log_kind.state_bytes);
    memset(fold->seqs, 0, fold->cap * sizeof *fold->seqs);
    fold->count = 0;
    fold->applied = 0;
}

stoa_err stoa_fold_stream(stoa_fold *fold, uint32_t stream, const stoa_kind *kind, const char *name, uint64_t seq)
{
    stoa_err err = stoa_log_learn(fold->reader, stream, kind, name);
    if (!err && stream) { err = add_state(fold, stream); }
    if (!err) { fold->seqs[stream] = seq; }
    return err;
}

/* --- events */

static stoa_err corrupt(const stoa_fold *fold, const stoa_event_view *event, const char *what)
{
    return STOA_FAIL(STOA_E_CORRUPT, "shard %s, position %llu: %s", stoa_log_streams(fold->reader)->at[0].name,
                     (unsigned long long)event->position, what);
}

/* The directory has named the actor already: its state begins. */
static stoa_err spawn(stoa_fold *fold, const stoa_event_view *event)
{
    const stoa_shard_log_spawned *spawned = event->payload;
    if (spawned->stream != fold->count + 1) { return corrupt(fold, event, "streams out of order"); }
    if (!stoa_streams_find(stoa_log_streams(fold->reader), spawned->stream)) { return corrupt(fold, event, "unknown stream"); }
    return add_state(fold, (uint32_t)spawned->stream);
}

static stoa_err apply(void *context, const stoa_event_view *event)
{
    stoa_fold *fold = context;
    if (event->stream > fold->count) { return corrupt(fold, event, "event before its actor"); }
    if (event->stream == 0 && event->row->id == stoa_shard_log_ROW_spawned) {
        stoa_err err = spawn(fold, event);
        if (err) { return err; }
    }
    stoa_err err = stoa_event_apply(stoa_log_streams(fold->reader)->at[0].name, fold->states[event->stream], event);
    if (err) { return err; }
    fold->seqs[event->stream] = event->seq;
    fold->applied = event->position;
    return STOA_OK;
}

stoa_err stoa_fold_until(stoa_fold *fold, uint64_t until)
{
    return stoa_log_read(fold->reader, fold->applied + 1, until, apply, fold, NULL);
}

uint64_t stoa_fold_hash(const stoa_fold *fold)
{
    const stoa_streams *streams = stoa_log_streams(fold->reader);
    uint64_t hash = 0;
    for (uint32_t stream = 0; stream <= fold->count; stream++) {
        hash = stoa_state_hash(stoa_mix64(hash + stream), fold->states[stream], streams->at[stream].kind->state_bytes);
    }
    return hash;
}

stoa_err stoa_log_hash(stoa_log_reader *reader, uint64_t until, uint64_t *hash_out, uint64_t *position_out)
{
    stoa_fold fold;
    stoa_err err = stoa_fold_init(&fold, reader);
    if (err) { return err; }
    err = stoa_image_begin(reader, until, &fold);
    if (!err) { err = stoa_fold_until(&fold, until); }
    if (!err) {
        *hash_out = stoa_fold_hash(&fold);
        if (position_out) { *position_out = fold.applied; }
    }
    stoa_fold_deinit(&fold);
    return err;
}
