/* journal.c - rocksdb/journal.h: the operations of storage/journal.h on one RocksDB and its commit mark.
 *
 * Life of an append: the block is encoded behind the hash of the last one, goes with its index entries into one write
 * batch, RocksDB writes (and syncs) its log, the mark follows. A reader sees a block once the state says so.
 *
 * What may happen instead: RocksDB finds no space before anything is written -> FULL: the database is reopened for
 * reading, and for writing when a later call finds space. Anything else -> the journal is unusable (failed) until it
 * is opened anew.
 *
 * Locks: engine_lock is held for reading by everything that reads the database on behalf of a caller, for writing
 * while the database is swapped; the gate before it stops new readers while the writer waits, but not a read within a
 * visit, which must not wait for itself. state_lock guards what readers share with the writer. The writer's other
 * members have no lock, because there is one writer.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "storage/rocksdb/journal.h"

#include <inttypes.h>
#include <limits.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "storage/block.h"
#include "storage/rocksdb/engine.h"
#include "storage/rocksdb/folder.h"
#include "storage/rocksdb/key.h"
#include "storage/rocksdb/mark.h"
#include "storage/rocksdb/tail.h"

enum { SPACE_MIN_BYTES = 8 << 20 }; /* with less there is no point in opening a database for writing */
#define MARK_SYNC_NS STOA_MS(100)

static const char format_key[] = "format", format_value[] = "1";

typedef struct journal {
    stoa_journal base;
    pthread_mutex_t state_lock;
    stoa_journal_state state; /* written by the writer under state_lock */
    stoa_err failed;          /* likewise; what every call answers once it is set */

    pthread_mutex_t gate;
    pthread_rwlock_t engine_lock;
    stoa_engine engine;

    /* The writer's own. */
    bool full; /* the database is open for reading only */
    bool mark_stuck;
    stoa_mark mark;
    uint8_t *bytes;
    size_t bytes_cap;
    rocksdb_writebatch_t *batch;
    rocksdb_writeoptions_t *lazy, *synced;
    char path[PATH_MAX], db_path[PATH_MAX];
} journal;

/* --- state */

static stoa_err look(journal *j, stoa_journal_state *out)
{
    (void)pthread_mutex_lock(&j->state_lock);
    *out = j->state;
    stoa_err err = j->failed;
    (void)pthread_mutex_unlock(&j->state_lock);
    return err ? STOA_FAIL(err, "journal %s is unusable since an earlier error", j->path) : STOA_OK;
}

static void set_state(journal *j, const stoa_journal_state *state)
{
    (void)pthread_mutex_lock(&j->state_lock);
    j->state = *state;
    (void)pthread_mutex_unlock(&j->state_lock);
}

static stoa_err fail(journal *j, stoa_err err)
{
    (void)pthread_mutex_lock(&j->state_lock);
    j->failed = err;
    (void)pthread_mutex_unlock(&j->state_lock);
    return STOA_PASS(err, "journal %s is unusable from now on", j->path);
}

static _Thread_local unsigned reads_nested;

static void begin_read(journal *j)
{
    if (reads_nested++ == 0) {
        (void)pthread_mutex_lock(&j->gate);
        (void)pthread_mutex_unlock(&j->gate);
    }
    (void)pthread_rwlock_rdlock(&j->engine_lock);
}

static void end_read(journal *j)
{
    (void)pthread_rwlock_unlock(&j->engine_lock);
    reads_nested--;
}

static void begin_swap(journal *j)
{
    (void)pthread_mutex_lock(&j->gate);
    (void)pthread_rwlock_wrlock(&j->engine_lock);
}

static void end_swap(journal *j)
{
    (void)pthread_rwlock_unlock(&j->engine_lock);
    (void)pthread_mutex_unlock(&j->gate);
}

/* --- open */

/* What the database says of itself. found: false for one that was just made. Errors: VERSION, CORRUPT, IO. */
static stoa_err read_format(const stoa_engine *engine, bool *found)
{
    rocksdb_readoptions_t *options = rocksdb_readoptions_create();
    size_t bytes = 0;
    char *text = NULL, *value = rocksdb_get_cf(engine->db, options, engine->families[STOA_FAMILY_META], format_key,
                                               sizeof format_key - 1, &bytes, &text);
    rocksdb_readoptions_destroy(options);
    stoa_err err = stoa_engine_error(text, "read the format");
    *found = value;
    if (value && (bytes != sizeof format_value - 1 || memcmp(value, format_value, bytes) != 0)) {
        err = STOA_FAIL(STOA_E_VERSION, "format %.*s, this build has %s", (int)(bytes < 32 ? bytes : 32), value,
                        format_value);
    }
    rocksdb_free(value);
    return err;
}

static stoa_err write_format(journal *j)
{
    char *text = NULL;
    rocksdb_put_cf(j->engine.db, j->synced, j->engine.families[STOA_FAMILY_META], format_key, sizeof format_key - 1,
                   format_value, sizeof format_value - 1, &text);
    return stoa_engine_error(text, "write the format");
}

static void log_cut(const journal *j, const stoa_tail *tail, const char *reason)
{
    stoa_log(STOA_LOG_ERROR, "journal_tail_cut", STOA_KV("path", j->path), STOA_KU("kept", tail->at.last),
             STOA_KU("mark", j->mark.value.position), STOA_KU("appended", j->mark.value.appended),
             STOA_KV("reason", reason));
}

/* RocksDB's own log is rotten somewhere. Look, without writing, whether the rot is above the mark; then drop it. */
static stoa_err open_up_to_rot(journal *j)
{
    char reason[512];
    (void)snprintf(reason, sizeof reason, "%s", stoa_err_trail());

    stoa_engine peek;
    stoa_err err = stoa_engine_open(&peek, j->db_path, (stoa_engine_mode){.read_only = true, .to_rot = true});
    if (err) { return err; }
    stoa_tail tail;
    err = stoa_tail_follow(&peek, &j->mark.value, &tail);
    stoa_engine_close(&peek);
    if (err) { return STOA_PASS(err, "%s", reason); }

    log_cut(j, &tail, reason);
    return stoa_engine_open(&j->engine, j->db_path, (stoa_engine_mode){.to_rot = true});
}

static bool database_exists(const journal *j)
{
    char current[PATH_MAX + 16];
    (void)snprintf(current, sizeof current, "%s/CURRENT", j->db_path);
    return access(current, F_OK) == 0;
}

/* On a full disk a journal can still be read: append then opens it for writing when there is space. */
static stoa_err open_engine(journal *j)
{
    bool exists = database_exists(j);
    const stoa_mark_value *mark = &j->mark.value;
    if (!exists && mark->appended > 0) {
        return STOA_FAIL(STOA_E_CORRUPT, "position 1: the database is gone; the commit mark is at %" PRIu64,
                         mark->position);
    }
    stoa_err err = stoa_engine_open(&j->engine, j->db_path, (stoa_engine_mode){.create = !exists});
    if (err == STOA_E_CORRUPT && exists) { err = open_up_to_rot(j); }
    if (err == STOA_E_FULL && exists) {
        err = stoa_engine_open(&j->engine, j->db_path, (stoa_engine_mode){.read_only = true});
        j->full = !err;
    }
    return err;
}

/* How far the log once went is in the mark: say so once when it does not go there any more. */
static stoa_err report_lost(journal *j, uint64_t last)
{
    stoa_mark_value value = j->mark.value;
    if (value.appended <= last) { return STOA_OK; }
    stoa_log(STOA_LOG_WARN, "journal_tail_lost", STOA_KV("path", j->path), STOA_KU("kept", last),
             STOA_KU("mark", value.position), STOA_KU("appended", value.appended));
    value.appended = last;
    return stoa_mark_write(&j->mark, &value);
}

/* Write down what a new database is, and cut off what is broken above the mark. */
static stoa_err repair(journal *j, bool formatted, const stoa_tail *tail)
{
    if (formatted && !tail->broken) { return STOA_OK; }
    if (!formatted && (tail->at.last > 0 || tail->broken)) {
        return STOA_FAIL(STOA_E_CORRUPT, "position 1: the database has blocks but no format");
    }
    if (j->full) { return STOA_FAIL(STOA_E_FULL, "no space to repair the end of the log"); }
    if (!formatted) { return write_format(j); }
    log_cut(j, tail, stoa_err_trail());
    return stoa_tail_cut(&j->engine, tail->at.last);
}

/* Find the end of the log in the database that was just opened. */
static stoa_err recover(journal *j)
{
    bool formatted;
    stoa_err err = read_format(&j->engine, &formatted);
    stoa_tail tail;
    if (!err) { err = stoa_tail_follow(&j->engine, &j->mark.value, &tail); }
    if (!err) { err = repair(j, formatted, &tail); }
    if (!err) { err = report_lost(j, tail.at.last); }
    if (err) { return err; }

    tail.at.proven = j->mark.value.position;
    set_state(j, &tail.at);
    return STOA_OK;
}

/* The folder, and the mark, whose lock makes the rest ours. */
static stoa_err open_folder(journal *j, const char *path)
{
    char mark_path[PATH_MAX];
    int path_bytes = snprintf(j->path, sizeof j->path, "%s", path);
    int db_bytes = snprintf(j->db_path, sizeof j->db_path, "%s/db", path);
    int mark_bytes = snprintf(mark_path, sizeof mark_path, "%s/commit.mark", path);
    if (path_bytes <= 0 || db_bytes < 0 || mark_bytes < 0 || mark_bytes >= (int)sizeof mark_path) {
        return STOA_FAIL(STOA_E_INVALID, "path of %zu bytes", strlen(path));
    }
    stoa_err err = stoa_folder_make(path);
    return err ? err : stoa_mark_open(&j->mark, mark_path, !database_exists(j));
}

static void release(journal *j)
{
    stoa_engine_close(&j->engine);
    rocksdb_writebatch_destroy(j->batch);
    rocksdb_writeoptions_destroy(j->lazy);
    rocksdb_writeoptions_destroy(j->synced);
    (void)pthread_rwlock_destroy(&j->engine_lock);
    (void)pthread_mutex_destroy(&j->gate);
    (void)pthread_mutex_destroy(&j->state_lock);
    free(j->bytes);
    free(j);
}

static stoa_err rocks_open(const char *path, stoa_journal **out)
{
    journal *j = calloc(1, sizeof *j);
    if (!j) { return STOA_FAIL(STOA_E_NOMEM, "journal %s", path); }
    j->base.ops = &stoa_journal_rocksdb;
    j->mark.fd = -1;
    j->batch = rocksdb_writebatch_create();
    j->lazy = rocksdb_writeoptions_create();
    j->synced = rocksdb_writeoptions_create();
    rocksdb_writeoptions_set_sync(j->synced, 1);
    STOA_ASSERT(pthread_mutex_init(&j->state_lock, NULL) == 0 && pthread_mutex_init(&j->gate, NULL) == 0);
    STOA_ASSERT(pthread_rwlock_init(&j->engine_lock, NULL) == 0);

    stoa_err err = open_folder(j, path);
    if (!err) { err = open_engine(j); }
    if (!err) { err = recover(j); }
    if (err) {
        if (j->mark.fd >= 0) { stoa_mark_abandon(&j->mark); }
        release(j);
        return STOA_PASS(err, "journal %s", path);
    }
    if (!j->full) { stoa_engine_fold(&j->engine); }
    *out = &j->base;
    return STOA_OK;
}

/* --- a full disk */

static stoa_err reopen_for_reading(journal *j)
{
    stoa_engine_close(&j->engine);
    return stoa_engine_open(&j->engine, j->db_path, (stoa_engine_mode){.read_only = true});
}

static stoa_err enter_full(journal *j)
{
    char reason[512];
    (void)snprintf(reason, sizeof reason, "%s", stoa_err_trail());
    stoa_log(STOA_LOG_WARN, "journal_full", STOA_KV("path", j->path), STOA_KU("last", j->state.last),
             STOA_KV("reason", reason));
    j->full = true;
    begin_swap(j);
    stoa_err err = reopen_for_reading(j);
    if (err) { (void)fail(j, err); } /* before a reader can look at a closed database */
    end_swap(j);
    return err ? err : STOA_FAIL(STOA_E_FULL, "%s", reason);
}

/* Nothing but what the writer knows to be there may come back. The refused block can: its bytes may be on the disk. */
static stoa_err recover_same(journal *j)
{
    stoa_tail tail;
    stoa_err err = stoa_tail_follow(&j->engine, &j->mark.value, &tail);
    if (!err && tail.at.last > j->state.last) {
        err = stoa_tail_cut(&j->engine, j->state.last);
        if (!err) { err = stoa_tail_follow(&j->engine, &j->mark.value, &tail); }
    }
    if (err) { return err; }
    if (tail.broken || tail.at.last != j->state.last ||
        memcmp(&tail.at.hash, &j->state.hash, sizeof tail.at.hash) != 0) {
        return STOA_FAIL(STOA_E_CORRUPT, "position %" PRIu64 ": the log changed while the disk was full",
                         tail.at.last + 1);
    }
    return STOA_OK;
}

static stoa_err reopen_for_writing(journal *j)
{
    stoa_engine_close(&j->engine);
    stoa_err err = stoa_engine_open(&j->engine, j->db_path, (stoa_engine_mode){0});
    if (!err) { err = recover_same(j); }
    if (err != STOA_E_FULL) { return err; }
    stoa_err reading = reopen_for_reading(j);
    return reading ? reading : STOA_FAIL(STOA_E_FULL, "the disk of %s is still full", j->path);
}

static bool has_space(const journal *j)
{
    struct statvfs disk;
    return statvfs(j->path, &disk) != 0 || (uint64_t)disk.f_bavail * disk.f_frsize >= SPACE_MIN_BYTES;
}

static stoa_err leave_full(journal *j)
{
    if (!has_space(j)) { return STOA_FAIL(STOA_E_FULL, "the disk of %s is full", j->path); }
    begin_swap(j);
    stoa_err err = reopen_for_writing(j);
    if (err && err != STOA_E_FULL) { (void)fail(j, err); }
    end_swap(j);
    if (err) { return err; }
    j->full = false;
    stoa_log(STOA_LOG_INFO, "journal_writes_again", STOA_KV("path", j->path), STOA_KU("last", j->state.last));
    return STOA_OK;
}

/* What every call of the writer begins with. */
static stoa_err ready_to_write(journal *j)
{
    stoa_journal_state state;
    stoa_err err = look(j, &state);
    return err || !j->full ? err : leave_full(j);
}

/* --- append and sync */

/* The mark follows the log. A full disk does not stop it from serving: the mark lags until there is space. */
static stoa_err move_mark(journal *j, stoa_journal_state *state, bool synced, bool force)
{
    stoa_mark_value value = j->mark.value;
    value.appended = state->last;
    if (synced) {
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
    return err == STOA_E_FULL ? STOA_OK : err;
}

static stoa_err reserve(journal *j, size_t bytes)
{
    if (bytes <= j->bytes_cap) { return STOA_OK; }
    uint8_t *grown = realloc(j->bytes, bytes);
    if (!grown) { return STOA_FAIL(STOA_E_NOMEM, "block of %zu bytes", bytes); }
    j->bytes = grown;
    j->bytes_cap = bytes;
    return STOA_OK;
}

/* A stored block and its index entries, in one batch. */
static stoa_err write_bytes(journal *j, const void *bytes, size_t size_bytes, uint64_t last, bool sync)
{
    char key[STOA_INDEX_KEY_BYTES];
    stoa_key_put(key, last);
    rocksdb_writebatch_put_cf(j->batch, j->engine.families[STOA_FAMILY_LOG], key, STOA_KEY_BYTES, bytes, size_bytes);
    char *text = NULL;
    rocksdb_write(j->engine.db, sync ? j->synced : j->lazy, j->batch, &text);
    return stoa_engine_error(text, "append");
}

static void batch_entry(journal *j, stoa_index_entry entry)
{
    char key[STOA_INDEX_KEY_BYTES];
    stoa_key_put(key, entry.id);
    stoa_key_put(key + STOA_KEY_BYTES, entry.position);
    rocksdb_writebatch_put_cf(j->batch, j->engine.families[STOA_FAMILY_INDEX], key, sizeof key, "", 0);
}

/* *state moves behind the block. */
static stoa_err write_block(journal *j, const stoa_block *block, bool sync, stoa_journal_state *state)
{
    size_t bytes = stoa_block_bytes(block);
    stoa_err err = reserve(j, bytes);
    if (err) { return err; }
    stoa_hash256 hash;
    stoa_block_encode(block, &state->hash, j->bytes, &hash);

    rocksdb_writebatch_clear(j->batch);
    for (uint32_t i = 0; i < block->index_count; i++) { batch_entry(j, block->index[i]); }
    err = write_bytes(j, j->bytes, bytes, stoa_block_last(block), sync);
    if (!err) { stoa_chain_advance(state, block, &hash); }
    return err;
}

/* What follows a write: the mark, and then readers see the block. */
static stoa_err written(journal *j, stoa_err err, bool sync, stoa_journal_state *state)
{
    if (err) { return err == STOA_E_FULL ? enter_full(j) : fail(j, err); }
    err = move_mark(j, state, sync, false);
    if (err) { return fail(j, err); }
    set_state(j, state);
    return STOA_OK;
}

static stoa_err rocks_append(stoa_journal *base, const stoa_block *block, bool sync)
{
    journal *j = (journal *)base;
    stoa_err err = ready_to_write(j);
    if (!err) { err = stoa_chain_admit(&j->state, block); }
    if (err) { return err; }

    stoa_journal_state state = j->state;
    return written(j, write_block(j, block, sync, &state), sync, &state);
}

static stoa_err rocks_append_stored(stoa_journal *base, const void *bytes, size_t size_bytes, bool sync)
{
    journal *j = (journal *)base;
    stoa_block_view view;
    stoa_err err = ready_to_write(j);
    if (!err) { err = stoa_chain_admit_stored(&j->state, bytes, size_bytes, &view); }
    if (err) { return err; }

    stoa_journal_state state = j->state;
    rocksdb_writebatch_clear(j->batch);
    for (uint32_t i = 0; i < view.block.index_count; i++) { batch_entry(j, stoa_block_entry(&view, i)); }
    err = write_bytes(j, bytes, size_bytes, stoa_block_last(&view.block), sync);
    if (!err) { stoa_chain_advance(&state, &view.block, &view.hash); }
    return written(j, err, sync, &state);
}

static stoa_err rocks_sync(stoa_journal *base)
{
    journal *j = (journal *)base;
    stoa_err err = ready_to_write(j);
    if (err) { return err; }
    char *text = NULL;
    rocksdb_flush_wal(j->engine.db, 1, &text);
    err = stoa_engine_error(text, "sync");
    if (err == STOA_E_FULL) { return enter_full(j); }
    stoa_journal_state state = j->state;
    if (!err) { err = move_mark(j, &state, true, true); }
    if (err) { return fail(j, err); }
    set_state(j, &state);
    return STOA_OK;
}

/* --- read and lookup */

static stoa_err iterator_end(const rocksdb_iterator_t *it, uint64_t position)
{
    char *text = NULL;
    rocksdb_iter_get_error(it, &text);
    stoa_err err = stoa_engine_error(text, "read");
    return err ? STOA_PASS(err, "position %" PRIu64, position)
               : STOA_FAIL(STOA_E_CORRUPT, "position %" PRIu64 ": the block is gone", position);
}

/* Who visits: one of the two. */
typedef struct visitor {
    stoa_err (*block)(void *context, const stoa_block *block);
    stoa_err (*stored)(void *context, const void *bytes, size_t size_bytes);
    void *context;
} visitor;

/* Visit from the iterator's block to the one that ends at last. */
static stoa_err read_on(rocksdb_iterator_t *it, uint64_t last, stoa_block_walk *walk, const visitor *v)
{
    while (walk->at.last < last) {
        uint64_t next = walk->at.last + 1;
        if (!rocksdb_iter_valid(it)) { return iterator_end(it, next); }
        size_t bytes;
        const char *value = rocksdb_iter_value(it, &bytes);
        stoa_block block;
        stoa_err err = stoa_block_walk_next(walk, value, bytes, &block);
        if (err) { return err; }
        if (block.first > next || stoa_block_last(&block) < next) {
            return STOA_FAIL(STOA_E_CORRUPT, "position %" PRIu64 ": found the block at %" PRIu64, next, block.first);
        }
        err = v->block ? v->block(v->context, &block) : v->stored(v->context, value, bytes);
        if (err) { return err; }
        rocksdb_iter_next(it);
    }
    return STOA_OK;
}

static stoa_err read_from(const stoa_engine *engine, uint64_t from, const stoa_journal_state *state, const visitor *v)
{
    rocksdb_readoptions_t *options = rocksdb_readoptions_create();
    rocksdb_readoptions_set_fill_cache(options, 0);
    rocksdb_iterator_t *it = rocksdb_create_iterator_cf(engine->db, options, engine->families[STOA_FAMILY_LOG]);
    char key[STOA_KEY_BYTES];
    stoa_key_put(key, from);
    rocksdb_iter_seek(it, key, sizeof key);

    stoa_block_walk walk = {.at.last = from - 1, .linked = from == 1};
    stoa_err err = read_on(it, state->last, &walk, v);
    if (!err && (walk.at.last != state->last || memcmp(&walk.at.hash, &state->hash, sizeof state->hash) != 0)) {
        err = STOA_FAIL(STOA_E_CORRUPT, "position %" PRIu64 ": not the block that was written there", state->last);
    }
    stoa_block_walk_deinit(&walk);
    rocksdb_iter_destroy(it);
    rocksdb_readoptions_destroy(options);
    return err;
}

static stoa_err read_for(stoa_journal *base, uint64_t from, const visitor *v)
{
    journal *j = (journal *)base;
    begin_read(j);
    stoa_journal_state state;
    stoa_err err = look(j, &state);
    if (!err && (from == 0 || from > state.last)) {
        err = STOA_FAIL(STOA_E_NOT_FOUND, "position %" PRIu64 " of %" PRIu64, from, state.last);
    }
    if (!err) { err = read_from(&j->engine, from, &state, v); }
    end_read(j);
    return err;
}

static stoa_err rocks_read(stoa_journal *base, uint64_t from, stoa_err (*visit)(void *context, const stoa_block *block),
                           void *context)
{
    return read_for(base, from, &(const visitor){.block = visit, .context = context});
}

static stoa_err rocks_read_stored(stoa_journal *base, uint64_t from,
                                  stoa_err (*visit)(void *context, const void *bytes, size_t size_bytes), void *context)
{
    return read_for(base, from, &(const visitor){.stored = visit, .context = context});
}

static stoa_err lookup_in(const stoa_engine *engine, uint64_t id, uint64_t last,
                          stoa_err (*visit)(void *context, uint64_t position), void *context)
{
    rocksdb_readoptions_t *options = rocksdb_readoptions_create();
    rocksdb_iterator_t *it = rocksdb_create_iterator_cf(engine->db, options, engine->families[STOA_FAMILY_INDEX]);
    char prefix[STOA_KEY_BYTES];
    stoa_key_put(prefix, id);

    stoa_err err = STOA_OK;
    for (rocksdb_iter_seek(it, prefix, sizeof prefix); rocksdb_iter_valid(it) && !err; rocksdb_iter_next(it)) {
        size_t bytes;
        const char *key = rocksdb_iter_key(it, &bytes);
        if (bytes != STOA_INDEX_KEY_BYTES) {
            err = STOA_FAIL(STOA_E_CORRUPT, "index key of %zu bytes", bytes);
            break;
        }
        uint64_t position = stoa_key_get(key + STOA_KEY_BYTES);
        if (memcmp(key, prefix, sizeof prefix) != 0 || position > last) { break; }
        err = visit(context, position);
    }
    char *text = NULL;
    rocksdb_iter_get_error(it, &text);
    stoa_err broken = stoa_engine_error(text, "look up");
    rocksdb_iter_destroy(it);
    rocksdb_readoptions_destroy(options);
    return err ? err : broken;
}

static stoa_err rocks_lookup(stoa_journal *base, uint64_t id, stoa_err (*visit)(void *context, uint64_t position),
                             void *context)
{
    journal *j = (journal *)base;
    begin_read(j);
    stoa_journal_state state;
    stoa_err err = look(j, &state);
    if (!err) { err = lookup_in(&j->engine, id, state.last, visit, context); }
    end_read(j);
    return err;
}

/* --- state and close */

static void rocks_state(stoa_journal *base, stoa_journal_state *out)
{
    journal *j = (journal *)base;
    (void)pthread_mutex_lock(&j->state_lock);
    *out = j->state;
    (void)pthread_mutex_unlock(&j->state_lock);
}

static void rocks_close(stoa_journal *base)
{
    if (!base) { return; }
    journal *j = (journal *)base;
    if (!j->failed) {
        stoa_err err = rocks_sync(base);
        if (err) { stoa_log_error("journal_close", err); }
    }
    if (j->failed) {
        stoa_mark_abandon(&j->mark);
    } else {
        stoa_mark_close(&j->mark);
    }
    release(j);
}

const stoa_journal_ops stoa_journal_rocksdb = {.scheme = "rocksdb",
                                               .open = rocks_open,
                                               .append = rocks_append,
                                               .append_stored = rocks_append_stored,
                                               .sync = rocks_sync,
                                               .read = rocks_read,
                                               .read_stored = rocks_read_stored,
                                               .lookup = rocks_lookup,
                                               .state = rocks_state,
                                               .close = rocks_close};
