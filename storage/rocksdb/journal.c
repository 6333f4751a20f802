/* journal.c - rocksdb/journal.h: the operations of storage/journal.h on one RocksDB and its commit mark.
 *
 * Life of an append: the block is encoded behind the hash of the last one, goes with its index entries into one write
 * batch, RocksDB writes (and syncs) its log, the mark follows. A reader sees a block once the state says so.
 *
 * What may happen instead: RocksDB finds no space before anything is written -> FULL (full.c). Anything else -> the
 * journal is unusable (failed) until it is opened anew.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "storage/rocksdb/journal.h"

#include <stdlib.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/random.h"
#include "storage/block.h"
#include "storage/rocksdb/folder.h"
#include "storage/rocksdb/internal.h"
#include "storage/rocksdb/key.h"
#include "storage/rocksdb/look.h"
#include "storage/rocksdb/shim.h"
#include "storage/side.h"

#define MARK_SYNC_NS STOA_MS(100)

/* --- state */

stoa_err stoa_rocks_look(stoa_rocks *j, stoa_journal_state *out)
{
    bool unsynced = stoa_rocksdb_disk_failed(j->disk);
    (void)pthread_mutex_lock(&j->state_lock);
    *out = j->state;
    out->first = j->anchor.last + 1;
    out->begun = j->begun;
    out->proven = j->proven;
    if (unsynced && !j->failed) { j->failed = STOA_E_IO; }
    stoa_err err = j->failed;
    (void)pthread_mutex_unlock(&j->state_lock);
    const char *what = unsynced ? "a sync of a file of its failed" : "an earlier error";
    return err ? STOA_FAIL(err, "journal %s is unusable since %s", j->path, what) : STOA_OK;
}

void stoa_rocks_set_state(stoa_rocks *j, const stoa_journal_state *state)
{
    (void)pthread_mutex_lock(&j->state_lock);
    j->state = *state;
    if (state->proven > j->proven) { j->proven = state->proven; }
    (void)pthread_mutex_unlock(&j->state_lock);
}

stoa_err stoa_rocks_fail(stoa_rocks *j, stoa_err err)
{
    (void)pthread_mutex_lock(&j->state_lock);
    j->failed = err;
    (void)pthread_mutex_unlock(&j->state_lock);
    return STOA_PASS(err, "journal %s is unusable from now on", j->path);
}

static _Thread_local unsigned reads_nested;

void stoa_rocks_begin_read(stoa_rocks *j)
{
    if (reads_nested++ == 0) {
        (void)pthread_mutex_lock(&j->gate);
        (void)pthread_mutex_unlock(&j->gate);
    }
    (void)pthread_rwlock_rdlock(&j->engine_lock);
}

void stoa_rocks_end_read(stoa_rocks *j)
{
    (void)pthread_rwlock_unlock(&j->engine_lock);
    reads_nested--;
}

void stoa_rocks_begin_swap(stoa_rocks *j)
{
    (void)pthread_mutex_lock(&j->gate);
    (void)pthread_rwlock_wrlock(&j->engine_lock);
}

void stoa_rocks_end_swap(stoa_rocks *j)
{
    (void)pthread_rwlock_unlock(&j->engine_lock);
    (void)pthread_mutex_unlock(&j->gate);
}

/* --- append and sync */

stoa_err stoa_rocks_move_mark(stoa_rocks *j, stoa_journal_state *state, bool synced, bool force)
{
    (void)pthread_mutex_lock(&j->marking);
    stoa_mark_value value = j->mark.value;
    if (state->last > value.appended) { value.appended = state->last; }
    if (synced && state->last > value.position) {
        value.position = state->last;
        value.hash = state->hash;
    }
    stoa_err err = stoa_mark_write(&j->mark, &value);
    if (!err && synced) {
        bool due = stoa_clock_real.now_ns(&stoa_clock_real) - j->mark.synced_at_ns >= MARK_SYNC_NS;
        if (force || due) { err = stoa_mark_sync(&j->mark); }
    }
    if (err == STOA_E_FULL && !j->mark_stuck) { stoa_log_error("journal_mark_stuck", err); }
    j->mark_stuck = err == STOA_E_FULL;
    state->proven = j->mark.value.position;
    (void)pthread_mutex_unlock(&j->marking);
    return err == STOA_E_FULL ? STOA_OK : err;
}

static stoa_err reserve(stoa_rocks *j, size_t bytes)
{
    if (bytes <= j->bytes_cap) { return STOA_OK; }
    uint8_t *grown = realloc(j->bytes, bytes);
    if (!grown) { return STOA_FAIL(STOA_E_NOMEM, "block of %zu bytes", bytes); }
    j->bytes = grown;
    j->bytes_cap = bytes;
    return STOA_OK;
}

/* A stored block and its index entries, in one batch. */
static stoa_err write_bytes(stoa_rocks *j, const void *bytes, size_t size_bytes, uint64_t last, bool sync)
{
    char key[STOA_INDEX_KEY_BYTES];
    stoa_key_put(key, last);
    rocksdb_writebatch_put_cf(j->batch, j->engine.families[STOA_FAMILY_LOG], key, STOA_KEY_BYTES, bytes, size_bytes);
    char *text = NULL;
    rocksdb_write(j->engine.db, sync ? j->synced : j->lazy, j->batch, &text);
    return stoa_engine_error(text, "append");
}

static void batch_entry(stoa_rocks *j, stoa_index_entry entry)
{
    char key[STOA_INDEX_KEY_BYTES];
    stoa_key_put(key, entry.id);
    stoa_key_put(key + STOA_KEY_BYTES, entry.position);
    rocksdb_writebatch_put_cf(j->batch, j->engine.families[STOA_FAMILY_INDEX], key, sizeof key, "", 0);
}

static stoa_err encode(const stoa_block *block, const stoa_hash256 *previous, const stoa_keyring *keys, uint8_t *bytes,
                       stoa_hash256 *hash_out)
{
    stoa_block plain = *block;
    plain.key = 0;
    if (!keys) {
        stoa_block_encode(&plain, previous, bytes, hash_out);
        return STOA_OK;
    }
    uint8_t nonce[STOA_NONCE_BYTES];
    stoa_random_system(nonce, sizeof nonce);
    return stoa_block_seal(&plain, previous, keys, nonce, bytes, hash_out);
}

/* *state moves behind the block. */
static stoa_err write_block(stoa_rocks *j, const stoa_block *block, bool sync, stoa_journal_state *state)
{
    const stoa_keyring *keys = atomic_load_explicit(&j->keys, memory_order_acquire); /* acquire: its keys */
    size_t bytes = stoa_block_bytes(block) + (keys ? STOA_SEAL_BYTES : 0);
    stoa_err err = reserve(j, bytes);
    if (err) { return err; }
    stoa_hash256 hash;
    err = encode(block, &state->hash, keys, j->bytes, &hash);
    if (err) { return err; }

    rocksdb_writebatch_clear(j->batch);
    for (uint32_t i = 0; i < block->index_count; i++) { batch_entry(j, block->index[i]); }
    err = write_bytes(j, j->bytes, bytes, stoa_block_last(block), sync);
    if (!err) { stoa_chain_advance(state, block, &hash); }
    return err;
}

/* What follows a write: the mark, and then readers see the block. Gives the lock back. */
static stoa_err written(stoa_rocks *j, stoa_err err, bool sync, stoa_journal_state *state)
{
    stoa_err mark = err ? STOA_OK : stoa_rocks_move_mark(j, state, sync, false);
    if (!err && !mark) { stoa_rocks_set_state(j, state); }
    (void)pthread_mutex_unlock(&j->writing);
    if (err == STOA_E_FULL) { return stoa_rocks_enter_full(j); }
    if (err) { return stoa_rocks_fail(j, err); }
    return mark ? stoa_rocks_fail(j, mark) : STOA_OK;
}

static stoa_err rocks_append(stoa_journal *base, const stoa_block *block, bool sync)
{
    stoa_rocks *j = (stoa_rocks *)base;
    stoa_err err = stoa_rocks_ready_to_write(j);
    if (!err) { err = stoa_chain_admit(&j->state, block); }
    if (err) { return err; }

    stoa_journal_state state = j->state;
    (void)pthread_mutex_lock(&j->writing);
    return written(j, write_block(j, block, sync, &state), sync, &state);
}

static stoa_err rocks_append_stored(stoa_journal *base, const void *bytes, size_t size_bytes, bool sync)
{
    stoa_rocks *j = (stoa_rocks *)base;
    stoa_block_view view;
    stoa_err err = stoa_rocks_ready_to_write(j);
    if (!err) { err = stoa_chain_admit_stored(&j->state, bytes, size_bytes, &view); }
    if (err) { return err; }

    stoa_journal_state state = j->state;
    rocksdb_writebatch_clear(j->batch);
    for (uint32_t i = 0; i < view.block.index_count; i++) { batch_entry(j, stoa_block_entry(&view, i)); }
    (void)pthread_mutex_lock(&j->writing);
    err = write_bytes(j, bytes, size_bytes, stoa_block_last(&view.block), sync);
    if (!err) { stoa_chain_advance(&state, &view.block, &view.hash); }
    return written(j, err, sync, &state);
}

/* What was written of the log; or the journal is unusable. Who is told of an error is told once, RocksDB or one of us. */
static stoa_err sync_written(stoa_rocks *j)
{
    (void)pthread_mutex_lock(&j->syncing);
    stoa_err err = stoa_folder_sync_logs(j->db_path);
    if (err) { (void)stoa_rocks_fail(j, err); }
    stoa_rocksdb_disk_settle(j->disk);
    stoa_journal_state ignored;
    if (!err) { err = stoa_rocks_look(j, &ignored); }
    (void)pthread_mutex_unlock(&j->syncing);
    return err;
}

static stoa_err rocks_sync(stoa_journal *base)
{
    stoa_rocks *j = (stoa_rocks *)base;
    stoa_err err = stoa_rocks_ready_to_write(j);
    if (err) { return err; }
    err = sync_written(j);
    if (err) { return err; }
    stoa_journal_state state = j->state;
    err = stoa_rocks_move_mark(j, &state, true, true);
    if (err) { return stoa_rocks_fail(j, err); }
    stoa_rocks_set_state(j, &state);
    return STOA_OK;
}

/* --- the side store */

/* What is put was made from the log as it is now: the log must not be the one that a power cut leaves behind, and rot in it must
 * not be taken for the end that one leaves. */
static stoa_err sync_log(stoa_rocks *j)
{
    stoa_journal_state state;
    stoa_err err = stoa_rocks_look(j, &state);
    if (err || state.proven == state.last) { return err; }
    err = sync_written(j);
    if (err) { return err; }
    err = stoa_rocks_move_mark(j, &state, true, true);
    if (err) { return stoa_rocks_fail(j, err); }
    (void)pthread_mutex_lock(&j->state_lock);
    if (state.proven > j->proven) { j->proven = state.proven; }
    (void)pthread_mutex_unlock(&j->state_lock);
    return STOA_OK;
}

static stoa_err may_put(stoa_rocks *j, bool sync)
{
    stoa_rocks_begin_read(j);
    stoa_journal_state state;
    stoa_err err = stoa_rocks_look(j, &state);
    if (!err && j->full) { err = STOA_FAIL(STOA_E_FULL, "the disk of %s is full", j->path); }
    if (!err && sync) { err = sync_log(j); }
    stoa_rocks_end_read(j);
    return err;
}

static stoa_err rocks_put(stoa_journal *base, stoa_space space, const stoa_side_entry *entries, uint32_t count,
                          bool sync)
{
    stoa_rocks *j = (stoa_rocks *)base;
    stoa_err err = stoa_side_check(space, entries, count);
    if (!err) { err = may_put(j, sync); }
    return err || count == 0 ? err : stoa_side_put(&j->side, space, entries, count, false, sync);
}

static stoa_err rocks_put_stored(stoa_journal *base, stoa_space space, const stoa_side_entry *entries, uint32_t count, bool sync)
{
    stoa_rocks *j = (stoa_rocks *)base;
    stoa_err err = stoa_side_check_stored(space, entries, count);
    if (!err) { err = may_put(j, sync); }
    return err || count == 0 ? err : stoa_side_put(&j->side, space, entries, count, true, sync);
}

static stoa_err rocks_erase(stoa_journal *base, stoa_space space, const void *from, uint32_t from_bytes, const void *to,
                            uint32_t to_bytes)
{
    stoa_rocks *j = (stoa_rocks *)base;
    stoa_err err = stoa_side_check_range(space, from_bytes, to_bytes);
    if (!err) { err = may_put(j, false); }
    return err ? err : stoa_side_erase(&j->side, space, from, from_bytes, to, to_bytes);
}

static stoa_err scan(stoa_journal *base, stoa_space space, const void *from, uint32_t from_bytes, bool stored,
                     stoa_err (*visit)(void *context, const stoa_side_entry *entry), void *context)
{
    stoa_rocks *j = (stoa_rocks *)base;
    stoa_err err = stoa_side_check_range(space, from_bytes, 0);
    stoa_journal_state state;
    if (!err) { err = stoa_rocks_look(j, &state); }
    return err ? err : stoa_side_scan(&j->side, space, from, from_bytes, stored, visit, context);
}

static stoa_err rocks_scan(stoa_journal *base, stoa_space space, const void *from, uint32_t from_bytes,
                           stoa_err (*visit)(void *context, const stoa_side_entry *entry), void *context)
{
    return scan(base, space, from, from_bytes, false, visit, context);
}

static stoa_err rocks_scan_stored(stoa_journal *base, stoa_space space, const void *from, uint32_t from_bytes,
                                  stoa_err (*visit)(void *context, const stoa_side_entry *entry), void *context)
{
    return scan(base, space, from, from_bytes, true, visit, context);
}

/* --- open, state, close */

static void release(stoa_rocks *j)
{
    stoa_side_deinit(&j->side);
    stoa_engine_close(&j->engine);
    stoa_rocksdb_disk_free(j->disk);
    rocksdb_writebatch_destroy(j->batch);
    rocksdb_writeoptions_destroy(j->lazy);
    rocksdb_writeoptions_destroy(j->synced);
    (void)pthread_rwlock_destroy(&j->engine_lock);
    (void)pthread_mutex_destroy(&j->gate);
    (void)pthread_mutex_destroy(&j->state_lock);
    (void)pthread_mutex_destroy(&j->purging);
    (void)pthread_mutex_destroy(&j->writing);
    (void)pthread_mutex_destroy(&j->marking);
    (void)pthread_mutex_destroy(&j->syncing);
    free(j->bytes);
    free(j);
}

static stoa_err open_by(stoa_err (*open)(stoa_rocks *j, const char *path), const char *path, stoa_journal **out)
{
    stoa_rocks *j = calloc(1, sizeof *j);
    if (!j) { return STOA_FAIL(STOA_E_NOMEM, "journal %s", path); }
    j->base.ops = &stoa_journal_rocksdb;
    j->mark.fd = -1;
    stoa_side_init(&j->side);
    j->disk = stoa_rocksdb_disk_new();
    j->batch = rocksdb_writebatch_create();
    j->lazy = rocksdb_writeoptions_create();
    j->synced = rocksdb_writeoptions_create();
    rocksdb_writeoptions_set_sync(j->synced, 1);
    STOA_ASSERT(pthread_mutex_init(&j->state_lock, NULL) == 0 && pthread_mutex_init(&j->gate, NULL) == 0);
    STOA_ASSERT(pthread_rwlock_init(&j->engine_lock, NULL) == 0);
    STOA_ASSERT(pthread_mutex_init(&j->purging, NULL) == 0 && pthread_mutex_init(&j->writing, NULL) == 0);
    STOA_ASSERT(pthread_mutex_init(&j->marking, NULL) == 0 && pthread_mutex_init(&j->syncing, NULL) == 0);
    atomic_store_explicit(&j->first, 1, memory_order_release); /* pairs with the filters of compaction */

    stoa_err err = open(j, path);
    if (err) {
        if (j->mark.fd >= 0) { stoa_mark_abandon(&j->mark); }
        release(j);
        return STOA_PASS(err, "journal %s", path);
    }
    *out = &j->base;
    return STOA_OK;
}

static stoa_err rocks_open(const char *path, stoa_journal **out)
{
    return open_by(stoa_rocks_open, path, out);
}

stoa_err stoa_journal_rocksdb_look(const char *path, stoa_journal **out)
{
    return open_by(stoa_rocks_open_to_look, path, out);
}

static void rocks_seal(stoa_journal *base, const struct stoa_keyring *keys)
{
    stoa_rocks *j = (stoa_rocks *)base;
    atomic_store_explicit(&j->keys, keys, memory_order_release); /* release: its keys */
    atomic_store_explicit(&j->side.keys, keys, memory_order_release);
}

static void rocks_measure(stoa_journal *base, stoa_journal_figures *out)
{
    stoa_rocks *j = (stoa_rocks *)base;
    stoa_rocks_begin_read(j);
    stoa_journal_state state;
    bool there = stoa_rocks_look(j, &state) == STOA_OK;
    *out = (stoa_journal_figures){.blocks = there ? stoa_engine_blocks(&j->engine) : 0,
                                  .log_bytes = stoa_folder_bytes(j->db_path),
                                  .side_bytes = stoa_folder_bytes(j->side.path),
                                  .reindexed = atomic_load_explicit(&j->reindexed, memory_order_relaxed)}; /* a figure to be shown */
    stoa_rocks_end_read(j);
}

static uint64_t rocks_room(stoa_journal *base)
{
    return stoa_folder_room(((const stoa_rocks *)base)->path);
}

static void rocks_state(stoa_journal *base, stoa_journal_state *out)
{
    stoa_rocks *j = (stoa_rocks *)base;
    (void)pthread_mutex_lock(&j->state_lock);
    *out = j->state;
    out->first = j->anchor.last + 1;
    out->begun = j->begun;
    out->proven = j->proven;
    (void)pthread_mutex_unlock(&j->state_lock);
}

static void rocks_close(stoa_journal *base)
{
    if (!base) { return; }
    stoa_rocks *j = (stoa_rocks *)base;
    if (!j->failed && !j->looks) {
        stoa_err err = rocks_sync(base);
        if (err) { stoa_log_error("journal_close", err); }
    }
    if (j->failed || j->looks) {
        stoa_mark_abandon(&j->mark);
    } else {
        stoa_mark_close(&j->mark);
    }
    release(j);
}

const stoa_journal_ops stoa_journal_rocksdb = {.scheme = "rocksdb",
                                               .open = rocks_open,
                                               .seal = rocks_seal,
                                               .append = rocks_append,
                                               .begin = stoa_rocks_begin,
                                               .append_stored = rocks_append_stored,
                                               .sync = rocks_sync,
                                               .read = stoa_rocks_read,
                                               .read_stored = stoa_rocks_read_stored,
                                               .show = stoa_rocks_show,
                                               .lookup = stoa_rocks_lookup,
                                               .state = rocks_state,
                                               .measure = rocks_measure,
                                               .reindex = stoa_rocks_reindex,
                                               .room = rocks_room,
                                               .purge = stoa_rocks_purge,
                                               .put = rocks_put,
                                               .erase = rocks_erase,
                                               .scan = rocks_scan,
                                               .scan_stored = rocks_scan_stored,
                                               .put_stored = rocks_put_stored,
                                               .close = rocks_close};
