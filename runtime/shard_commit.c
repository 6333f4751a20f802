/* shard_commit.c - the journal's thread: takes all sealed blocks there are, appends them, syncs once.
 *
 * While a sync is under way the core fills the next block, so the size of a group follows the speed of the disk by itself.
 * While the disk has less room than the reserve, cascades are refused with FULL before their first event; what has begun, what was
 * accepted before and what comes back from other shards is still written, and reads are answered. A disk that is full nevertheless
 * is waited out: the shard's blocks run out, its inbox fills and refuses, and when there is room again the same append is
 * repeated. A journal that refuses the block (stoa_journal_refuses) has the shard dropped and rebuilt (shard_drop.c). Any other
 * error ends the process: an I/O error on sync cannot be retried.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include <string.h>
#include <time.h>
#include <unistd.h>
#include <stdlib.h>

#include "base/log.h"
#include "base/priority.h"
#include "base/signals.h"
#include "runtime/channel.h"
#include "runtime/effects.h"
#include "runtime/internal.h"
#include "runtime/once.h"
#include "runtime/shard.h"
#include "runtime/sparse.h"

enum { FULL_RETRY_MS = 100, EXIT_JOURNAL = 70, ROOM_EVERY_S = 1 };

/* Commit times of a node never fall and are never equal, over all its shards and its restarts, whatever becomes of the clock:
 * what a block led to elsewhere on the node has a later one. So all shards cut at one time are a state that the node as a
 * whole could have stopped in. */
static uint64_t commit_time(stoa_node *node)
{
    uint64_t now = node->clock->wall_ns(node->clock), before = atomic_load(&node->committed_ns), next;
    do { next = now > before ? now : before + 1; } while (!atomic_compare_exchange_weak(&node->committed_ns, &before, next));
    return next;
}

void stoa_shard_commit_behind(stoa_shard *shard, uint64_t commit_ns)
{
    uint64_t before = atomic_load(&shard->node->committed_ns);
    while (commit_ns > before && !atomic_compare_exchange_weak(&shard->node->committed_ns, &before, commit_ns)) {}
}

static stoa_err commit_behind(void *context, const stoa_block *block)
{
    stoa_shard_commit_behind(context, block->commit_ns);
    return STOA_OK;
}

stoa_err stoa_shard_commit_after(struct stoa_shard *shard)
{
    stoa_journal_state state;
    shard->journal->ops->state(shard->journal, &state);
    bool empty = state.last < state.first; /* also of one that was restored up to just where its beginning is gone */
    return empty ? STOA_OK : shard->journal->ops->read(shard->journal, state.last, commit_behind, shard);
}

static stoa_err append_one(struct stoa_shard *shard, uint64_t number, bool sync)
{
    const stoa_block_slot *slot = &shard->blocks[number % STOA_BLOCKS];
    stoa_block block = {.first = slot->first,
                        .epoch = shard->epoch,
                        .count = slot->count,
                        .payload_bytes = slot->used_bytes,
                        .index_count = slot->index_count,
                        .payload = slot->bytes,
                        .index = slot->index};
    (void)pthread_mutex_lock(&shard->append_lock);
    block.commit_ns = commit_time(shard->node);
    stoa_err err = shard->journal->ops->append(shard->journal, &block, sync);
    (void)pthread_mutex_unlock(&shard->append_lock);
    return err;
}

uint64_t stoa_shard_covered_ns(stoa_shard *shard)
{
    (void)pthread_mutex_lock(&shard->append_lock);
    uint64_t covered = atomic_load(&shard->node->committed_ns);
    (void)pthread_mutex_unlock(&shard->append_lock);
    return covered;
}

stoa_journal *stoa_shard_journal(stoa_shard *shard)
{
    return shard->journal;
}

static uint64_t last_of(const struct stoa_shard *shard, uint64_t number)
{
    const stoa_block_slot *slot = &shard->blocks[number % STOA_BLOCKS];
    return slot->first + slot->count - 1;
}

uint64_t stoa_shard_first_missing(const struct stoa_shard *shard)
{
    stoa_journal_state state;
    uint64_t number = atomic_load(&shard->durable_block);
    shard->journal->ops->state(shard->journal, &state);
    while (number < shard->block_submitted && last_of(shard, number) <= state.last) { number++; }
    return number;
}

stoa_err stoa_shard_append(struct stoa_shard *shard, uint64_t from, uint64_t to, bool sync)
{
    for (uint64_t number = from; number < to; number++) {
        stoa_err err = append_one(shard, number, sync && number + 1 == to);
        if (err) { return err; }
    }
    return STOA_OK;
}

stoa_readers *stoa_shard_readers(stoa_shard *shard)
{
    return &shard->readers;
}

static void pause_ms(uint32_t ms)
{
    struct timespec wait = {0, (long)ms * 1000000};
    (void)nanosleep(&wait, NULL);
}

bool stoa_journal_refuses(stoa_err err)
{
    return err == STOA_E_STALE || err == STOA_E_DENIED || err == STOA_E_INVALID || err == STOA_E_TOO_LARGE;
}

static bool quitting(struct stoa_shard *shard)
{
    (void)pthread_mutex_lock(&shard->lock);
    bool quit = shard->quit;
    (void)pthread_mutex_unlock(&shard->lock);
    return quit;
}

static bool stopping(struct stoa_shard *shard)
{
    (void)pthread_mutex_lock(&shard->lock);
    bool stops = shard->quit || shard->park;
    (void)pthread_mutex_unlock(&shard->lock);
    return stops;
}

/* The disk is full: try again until there is room. False: the node ends or the shard is dropped first, and what was not
 * acknowledged is not written. */
static bool wait_for_room(struct stoa_shard *shard, uint64_t number, bool sync, stoa_err *err_out)
{
    stoa_log(STOA_LOG_ERROR, "journal_full", STOA_KV("shard", shard->name), STOA_KU("retry_ms", FULL_RETRY_MS));
    do {
        if (stopping(shard)) { return false; }
        pause_ms(FULL_RETRY_MS);
        *err_out = append_one(shard, number, sync);
    } while (*err_out == STOA_E_FULL);
    stoa_log(STOA_LOG_INFO, "journal_has_room", STOA_KV("shard", shard->name));
    return true;
}

/* The core drops the shard; nothing is written until it has. */
static void refuse(struct stoa_shard *shard, stoa_err err)
{
    stoa_log_error("journal_refused", err);
    (void)pthread_mutex_lock(&shard->lock);
    shard->park = true;
    (void)pthread_mutex_unlock(&shard->lock);
    atomic_store_explicit(&shard->refused, (int32_t)err, memory_order_release); /* what was appended before is the core's to see */
    stoa_place_ring_bell(&shard->core->place);
}

/* Append one block after the other, so that a full disk in the middle repeats only what is missing. False: not all were; what is
 * missing is to be tried again only where the shard is not rebuilt. */
static bool append_all(struct stoa_shard *shard, uint64_t to)
{
    bool disk = shard->durability != stoa_durability_MEMORY;
    for (uint64_t number = stoa_shard_first_missing(shard); number < to; number++) {
        bool sync = disk && number + 1 == to;
        stoa_err err = append_one(shard, number, sync);
        if (err == STOA_E_FULL && !wait_for_room(shard, number, sync, &err)) { return false; }
        if (stoa_journal_refuses(err)) {
            refuse(shard, err);
            return false;
        }
        if (err) {
            stoa_log_error("journal_failed", err);
            stoa_node_note(shard->node, STOA_FLIGHT_EXIT, "the journal failed", 0, 0);
            _exit(EXIT_JOURNAL);
        }
    }
    return true;
}

void stoa_shard_grown(struct stoa_shard *shard, uint64_t until)
{
    uint64_t position = last_of(shard, until - 1); /* before the core may use the block again */
    (void)pthread_mutex_lock(&shard->lock);
    atomic_store_explicit(&shard->durable, position, memory_order_release); /* what was appended is there to be read */
    (void)pthread_cond_broadcast(&shard->grown);
    (void)pthread_mutex_unlock(&shard->lock);
    /* release: the core may use the blocks again */
    atomic_store_explicit(&shard->durable_block, until, memory_order_release);
}

/* Other programs fill a disk, too: this is looked at also while the shard does nothing. */
static void look_for_room(struct stoa_shard *shard)
{
    if (shard->reserve_bytes == 0) { return; }
    uint64_t room = shard->journal->ops->room(shard->journal);
    bool none = room < shard->reserve_bytes, before = atomic_load_explicit(&shard->no_room, memory_order_relaxed);
    if (none == before) { return; }
    atomic_store_explicit(&shard->no_room, none, memory_order_relaxed); /* relaxed: a turn earlier or later is the same */
    stoa_log(none ? STOA_LOG_ERROR : STOA_LOG_INFO, none ? "journal_low" : "journal_has_room", STOA_KV("shard", shard->name),
             STOA_KU("room_bytes", room), STOA_KU("reserve_bytes", shard->reserve_bytes));
}

void stoa_shard_watch_room(struct stoa_shard *shard)
{
    if (shard->reserve_bytes == 0) { return; }
    look_for_room(shard);
    (void)pthread_mutex_lock(&shard->lock);
    shard->watches_room = true;
    (void)pthread_cond_signal(&shard->wake);
    (void)pthread_mutex_unlock(&shard->lock);
}

/* Wait for blocks to write, or until the room is to be looked at. Under the lock. */
static void wait_for_blocks(struct stoa_shard *shard)
{
    if (!shard->watches_room) {
        (void)pthread_cond_wait(&shard->wake, &shard->lock);
        return;
    }
    struct timespec until;
    (void)clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += ROOM_EVERY_S;
    if (pthread_cond_timedwait(&shard->wake, &shard->lock, &until) == 0) { return; }
    (void)pthread_mutex_unlock(&shard->lock);
    look_for_room(shard);
    (void)pthread_mutex_lock(&shard->lock);
}

/* Wait for blocks behind `done`; false: the node is ending and there are none. Blocks that were there when the shard was dropped
 * are gone: *done_io says from where on they count now. */
static bool next_blocks(struct stoa_shard *shard, uint64_t *done_io, uint64_t *until_out)
{
    (void)pthread_mutex_lock(&shard->lock);
    while (!shard->quit && (shard->park || shard->block_submitted == *done_io)) {
        if (shard->park) {
            shard->parked = true;
            (void)pthread_cond_signal(&shard->settled);
            (void)pthread_cond_wait(&shard->wake, &shard->lock);
        } else {
            wait_for_blocks(shard);
        }
        if (shard->parked && !shard->park) { *done_io = atomic_load(&shard->durable_block); }
        shard->parked = shard->parked && shard->park;
    }
    *until_out = shard->park ? *done_io : shard->block_submitted;
    (void)pthread_mutex_unlock(&shard->lock);
    return *until_out != *done_io;
}

static void *commit_main(void *argument)
{
    struct stoa_shard *shard = argument;
    uint64_t done = atomic_load(&shard->durable_block), until;
    stoa_priority_brief();
    for (;;) {
        if (!next_blocks(shard, &done, &until)) { return NULL; }
        if (!append_all(shard, until)) {
            if (quitting(shard)) { return NULL; }
            continue; /* it is being dropped */
        }
        done = until;
        stoa_shard_grown(shard, done);
        stoa_place_ring_bell(&shard->core->place);
        look_for_room(shard);
    }
}

bool stoa_shard_commit_park(struct stoa_shard *shard)
{
    if (!shard->threaded) { return true; }
    (void)pthread_mutex_lock(&shard->lock);
    shard->park = true;
    (void)pthread_cond_signal(&shard->wake);
    while (!shard->parked && !shard->quit) { (void)pthread_cond_wait(&shard->settled, &shard->lock); }
    bool parked = shard->parked;
    (void)pthread_mutex_unlock(&shard->lock);
    return parked;
}

void stoa_shard_commit_unpark(struct stoa_shard *shard)
{
    atomic_store(&shard->refused, 0);
    (void)pthread_mutex_lock(&shard->lock);
    shard->park = false;
    (void)pthread_cond_signal(&shard->wake);
    (void)pthread_mutex_unlock(&shard->lock);
}

void stoa_shard_submit(struct stoa_shard *shard)
{
    if (shard->node->options.sim) {
        shard->block_submitted = shard->block_open;
        stoa_sim_submitted(shard->node->options.sim, shard);
        return;
    }
    (void)pthread_mutex_lock(&shard->lock);
    shard->block_submitted = shard->block_open;
    (void)pthread_cond_signal(&shard->wake);
    (void)pthread_mutex_unlock(&shard->lock);
}

stoa_err stoa_shard_commit_start(struct stoa_shard *shard)
{
    shard->arena = stoa_sparse_map(STOA_ARENA_BYTES);
    shard->actors = stoa_sparse_map(STOA_SHARD_ACTORS_MAX * sizeof(stoa_actor *));
    shard->seqs = stoa_sparse_map(STOA_SHARD_ACTORS_MAX * sizeof(uint64_t));
    shard->cascade_left = STOA_CASCADE_MAX;
    shard->ledger = stoa_sparse_map(stoa_shard_log_kind.state_bytes);
    shard->mailing = stoa_sparse_map(sizeof *shard->mailing);
    bool complete = stoa_once_init(shard) == STOA_OK && stoa_effects_init(shard) == STOA_OK && shard->arena && shard->actors && shard->seqs && shard->ledger &&
                    shard->mailing &&
                    stoa_streams_init(&shard->streams, shard->name) == STOA_OK;
    for (unsigned i = 0; i < STOA_BLOCKS; i++) {
        shard->blocks[i].bytes = stoa_sparse_map(STOA_SHARD_BLOCK_BYTES);
        shard->blocks[i].index = stoa_sparse_map(STOA_SHARD_INDEX_MAX * sizeof(stoa_index_entry));
        complete = complete && shard->blocks[i].bytes && shard->blocks[i].index;
    }
    (void)pthread_mutex_init(&shard->lock, NULL);
    pthread_condattr_t monotonic;
    (void)pthread_condattr_init(&monotonic);
    (void)pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    (void)pthread_cond_init(&shard->wake, &monotonic);
    (void)pthread_condattr_destroy(&monotonic);
    (void)pthread_cond_init(&shard->grown, NULL);
    (void)pthread_cond_init(&shard->settled, NULL);
    if (!complete) { return STOA_FAIL(STOA_E_NOMEM, "shard %s", shard->name); }
    if (shard->durability == stoa_durability_NONE || shard->node->options.sim) { return STOA_OK; }
    sigset_t before;
    stoa_signals_hold(&before);
    int failed = pthread_create(&shard->thread, NULL, commit_main, shard);
    stoa_signals_release(&before);
    if (failed) { return STOA_FAIL(STOA_E_IO, "journal thread: %s", strerror(failed)); }
    (void)pthread_setname_np(shard->thread, "stoa-journal");
    shard->threaded = true;
    return STOA_OK;
}

void stoa_shard_commit_stop(struct stoa_shard *shard)
{
    if (shard->threaded) {
        (void)pthread_mutex_lock(&shard->lock);
        shard->quit = true;
        (void)pthread_cond_signal(&shard->wake);
        (void)pthread_mutex_unlock(&shard->lock);
        (void)pthread_join(shard->thread, NULL);
    }
    if (shard->journal) { shard->journal->ops->close(shard->journal); }
    for (unsigned i = 0; i < STOA_BLOCKS; i++) {
        stoa_sparse_unmap(shard->blocks[i].bytes, STOA_SHARD_BLOCK_BYTES);
        stoa_sparse_unmap(shard->blocks[i].index, STOA_SHARD_INDEX_MAX * sizeof(stoa_index_entry));
    }
    stoa_sparse_unmap(shard->arena, STOA_ARENA_BYTES);
    stoa_sparse_unmap(shard->actors, STOA_SHARD_ACTORS_MAX * sizeof(stoa_actor *));
    stoa_sparse_unmap(shard->seqs, STOA_SHARD_ACTORS_MAX * sizeof(uint64_t));
    stoa_sparse_unmap(shard->ledger, stoa_shard_log_kind.state_bytes);
    stoa_once_deinit(shard);
    stoa_effects_deinit(shard);
    stoa_sparse_unmap(shard->mailing, sizeof *shard->mailing);
    stoa_streams_deinit(&shard->streams);
    (void)pthread_mutex_destroy(&shard->lock);
    (void)pthread_cond_destroy(&shard->wake);
    stoa_readers_deinit(&shard->readers);
    (void)pthread_mutex_destroy(&shard->append_lock);
    (void)pthread_cond_destroy(&shard->grown);
    (void)pthread_cond_destroy(&shard->settled);
}
