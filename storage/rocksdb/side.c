/* side.c - rocksdb/side.h: opening when needed, closing after an error, and reading and writing between.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "storage/rocksdb/side.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "base/random.h"
#include "base/signals.h"
#include "storage/rocksdb/engine.h"
#include "storage/rocksdb/folder.h"
#include "storage/rocksdb/manifest.h"
#include "storage/rocksdb/shim.h"
#include "storage/side.h"

enum {
    FAMILIES = STOA_SPACES + 1,
    SNAPSHOT_BUFFER_BYTES = 16 << 20,
    META_BUFFER_BYTES = 1 << 20,
    BLOB_FILE_BYTES = 64 << 20,
    WAL_SYNC_BYTES = 1 << 20 /* given to the disk while they are written, not all at the sync */
};
static const char *const family_names[FAMILIES] = {
    [STOA_SPACE_SNAPSHOT] = "snapshot", [STOA_SPACE_META] = "meta", [STOA_SPACES] = "default"};

/* What has no setter in the C API, or reads better so. */
static const char blob_options[] = "enable_blob_files=true;min_blob_size=4096;enable_blob_garbage_collection=true;"
                                   "blob_garbage_collection_age_cutoff=0.5;blob_garbage_collection_force_threshold=0.5";

void stoa_side_init(stoa_side *side)
{
    *side = (stoa_side){.mode = STOA_SIDE_CLOSED};
    STOA_ASSERT(pthread_rwlock_init(&side->lock, NULL) == 0);
}

/* Under the lock, for writing. */
static void shut(stoa_side *side)
{
    if (side->mode == STOA_SIDE_CLOSED) { return; }
    rocksdb_cancel_all_background_work(side->db, 1);
    for (unsigned i = 0; i < FAMILIES; i++) {
        rocksdb_column_family_handle_destroy(side->families[i]);
    }
    rocksdb_close(side->db);
    stoa_rocksdb_disk_free(side->disk);
    side->db = NULL;
    side->disk = NULL;
    side->mode = STOA_SIDE_CLOSED;
}

void stoa_side_deinit(stoa_side *side)
{
    if (side->mode == STOA_SIDE_WRITING) {
        stoa_err err = stoa_folder_sync_logs(side->path);
        if (err) { stoa_log_error("journal_side_close", err); }
    }
    shut(side);
    (void)pthread_rwlock_destroy(&side->lock);
}

static rocksdb_options_t *snapshot_options(const rocksdb_options_t *base)
{
    rocksdb_options_t *options = rocksdb_options_create();
    char *text = NULL;
    rocksdb_get_options_from_string(base, blob_options, options, &text);
    STOA_ASSERT(!text);
    rocksdb_options_set_blob_file_size(options, BLOB_FILE_BYTES);
    rocksdb_options_set_blob_compression_type(options, rocksdb_lz4_compression);
    rocksdb_options_set_write_buffer_size(options, SNAPSHOT_BUFFER_BYTES);
    return options;
}

/* Under the lock, for writing; mode READING or WRITING. */
static stoa_err try_open(stoa_side *side, stoa_side_mode mode)
{
    bool writes = mode == STOA_SIDE_WRITING;
    stoa_rocksdb_disk *disk = stoa_rocksdb_disk_new();
    rocksdb_options_t *base = stoa_engine_options((stoa_engine_mode){.create = writes, .read_only = !writes, .disk = disk});
    rocksdb_options_set_write_buffer_size(base, META_BUFFER_BYTES);
    rocksdb_options_set_wal_bytes_per_sync(base, WAL_SYNC_BYTES);
    rocksdb_options_set_bytes_per_sync(base, WAL_SYNC_BYTES);
    rocksdb_options_t *snapshot = snapshot_options(base);
    const rocksdb_options_t *options[FAMILIES] = {base, base, base};
    options[STOA_SPACE_SNAPSHOT] = snapshot;

    char *text = NULL;
    sigset_t before;
    stoa_signals_hold(&before); /* RocksDB starts its threads here */
    side->db = writes ? rocksdb_open_column_families(base, side->path, FAMILIES, family_names, options, side->families, &text)
                      : rocksdb_open_for_read_only_column_families(base, side->path, FAMILIES, family_names, options,
                                                                   side->families, 0, &text);
    stoa_signals_release(&before);
    rocksdb_options_destroy(snapshot);
    rocksdb_options_destroy(base);
    if (text) {
        stoa_rocksdb_disk_free(disk);
        return stoa_engine_error(text, side->path);
    }
    side->disk = disk;
    side->mode = mode;
    return STOA_OK;
}

/* What it holds can be had again; what cannot be opened would stay so. Who has used it already is told by an error. */
static stoa_err begin_anew(stoa_side *side)
{
    stoa_log(STOA_LOG_WARN, "journal_side_lost", STOA_KV("path", side->path), STOA_KV("reason", stoa_err_trail()));
    side->rotten = false;
    stoa_err err = stoa_folder_remove(side->path);
    if (!err) { err = try_open(side, STOA_SIDE_WRITING); }
    if (!err && side->used) { err = STOA_FAIL(STOA_E_CORRUPT, "%s was rotten and is empty now", side->path); }
    return err;
}

static stoa_err open_for_writing(stoa_side *side)
{
    if (side->looks) { return STOA_FAIL(STOA_E_DENIED, "%s is only looked at", side->path); }
    if (!stoa_folder_has_space(side->path)) { return STOA_FAIL(STOA_E_FULL, "no space for %s", side->path); }
    shut(side);
    stoa_err err = side->rotten ? STOA_FAIL(STOA_E_CORRUPT, "rot was found while writing") : try_open(side, STOA_SIDE_WRITING);
    if (err == STOA_E_CORRUPT && !side->rotten && stoa_manifest_mend(side->path)) { err = try_open(side, STOA_SIDE_WRITING); }
    if (err == STOA_E_CORRUPT || err == STOA_E_VERSION) { err = begin_anew(side); }
    side->used = true;
    return err;
}

static bool exists(const stoa_side *side)
{
    char current[PATH_MAX + 16];
    (void)snprintf(current, sizeof current, "%s/CURRENT", side->path);
    return access(current, F_OK) == 0;
}

/* What a look cannot open is what an open would begin anew. */
static stoa_err look(stoa_side *side)
{
    stoa_err err = try_open(side, STOA_SIDE_READING);
    side->rotten = err == STOA_E_CORRUPT || err == STOA_E_VERSION;
    return side->rotten ? STOA_OK : err;
}

/* One that is not there, or is only looked at and rotten, stays CLOSED, and reads as empty. */
static bool is_empty(const stoa_side *side)
{
    return !exists(side) || (side->looks && side->rotten);
}

static stoa_err open_for_reading(stoa_side *side)
{
    if (side->mode != STOA_SIDE_CLOSED || is_empty(side)) { return STOA_OK; }
    if (side->looks) { return look(side); }
    stoa_err err = open_for_writing(side);
    return err == STOA_E_FULL ? try_open(side, STOA_SIDE_READING) : err;
}

/* Hold the lock for reading, with the database open; on error it is not held. */
static stoa_err begin(stoa_side *side, stoa_side_mode mode)
{
    for (;;) {
        (void)pthread_rwlock_rdlock(&side->lock);
        if (side->mode >= mode || (mode == STOA_SIDE_READING && is_empty(side))) { return STOA_OK; }
        (void)pthread_rwlock_unlock(&side->lock);

        (void)pthread_rwlock_wrlock(&side->lock);
        stoa_err err = side->mode >= mode                ? STOA_OK
                       : mode == STOA_SIDE_WRITING ? open_for_writing(side)
                                                         : open_for_reading(side);
        (void)pthread_rwlock_unlock(&side->lock);
        if (err) { return err; }
    }
}

static void end(stoa_side *side)
{
    (void)pthread_rwlock_unlock(&side->lock);
}

/* RocksDB takes no write after a failed one. */
static stoa_err give_up(stoa_side *side, stoa_err err)
{
    (void)pthread_rwlock_wrlock(&side->lock);
    shut(side);
    side->rotten |= err == STOA_E_CORRUPT;
    (void)pthread_rwlock_unlock(&side->lock);
    return err;
}

static stoa_err unsynced(const stoa_side *side)
{
    return STOA_FAIL(STOA_E_IO, "a sync of a file in %s failed", side->path);
}

/* Of what was put before. */
static stoa_err sync_written(stoa_side *side)
{
    stoa_err err = stoa_folder_sync_logs(side->path);
    stoa_rocksdb_disk_settle(side->disk);
    return err || !stoa_rocksdb_disk_failed(side->disk) ? err : unsynced(side);
}

static stoa_err write_batch(stoa_side *side, rocksdb_writebatch_t *batch, bool sync, const char *what)
{
    rocksdb_writeoptions_t *options = rocksdb_writeoptions_create();
    rocksdb_writeoptions_set_sync(options, sync);
    char *text = NULL;
    rocksdb_write(side->db, options, batch, &text);
    rocksdb_writeoptions_destroy(options);
    stoa_err err = stoa_engine_error(text, what);
    return err || !stoa_rocksdb_disk_failed(side->disk) ? err : unsynced(side);
}

/* Add the entries to the batch, their values as they are stored, by way of bytes. */
static stoa_err fill_batch(stoa_side *side, stoa_space space, const stoa_side_entry *entries, uint32_t count, bool stored,
                           uint8_t *bytes, rocksdb_writebatch_t *batch)
{
    const stoa_keyring *keys = atomic_load_explicit(&side->keys, memory_order_acquire); /* acquire: its keys */
    for (uint32_t i = 0; i < count; i++) {
        const stoa_side_entry *entry = &entries[i];
        if (!entry->value) {
            rocksdb_writebatch_delete_cf(batch, side->families[space], entry->key, entry->key_bytes);
            continue;
        }
        if (stored) {
            rocksdb_writebatch_put_cf(batch, side->families[space], entry->key, entry->key_bytes, entry->value, entry->value_bytes);
            continue;
        }
        uint8_t nonce[STOA_NONCE_BYTES] = {0};
        if (keys) { stoa_random_system(nonce, sizeof nonce); }
        uint32_t value_bytes;
        stoa_err err = stoa_side_wrap(space, entry, keys, nonce, bytes, &value_bytes);
        if (err) { return err; }
        rocksdb_writebatch_put_cf(batch, side->families[space], entry->key, entry->key_bytes, (const char *)bytes,
                                  value_bytes);
    }
    return STOA_OK;
}

static uint32_t largest(const stoa_side_entry *entries, uint32_t count)
{
    uint32_t bytes = 0;
    for (uint32_t i = 0; i < count; i++) {
        if (entries[i].value_bytes > bytes) { bytes = entries[i].value_bytes; }
    }
    return bytes;
}

stoa_err stoa_side_put(stoa_side *side, stoa_space space, const stoa_side_entry *entries, uint32_t count, bool stored, bool sync)
{
    uint8_t *bytes = malloc(largest(entries, count) + STOA_SIDE_FORM_BYTES_MAX);
    if (!bytes) { return STOA_FAIL(STOA_E_NOMEM, "side store"); }
    stoa_err err = begin(side, STOA_SIDE_WRITING);
    if (err) {
        free(bytes);
        return err;
    }
    rocksdb_writebatch_t *batch = rocksdb_writebatch_create();
    err = fill_batch(side, space, entries, count, stored, bytes, batch);
    stoa_err failed = err;
    if (!err) { failed = count || !sync ? write_batch(side, batch, sync, "put") : sync_written(side); }
    rocksdb_writebatch_destroy(batch);
    free(bytes);
    end(side);
    return failed && !err ? give_up(side, failed) : failed;
}

stoa_err stoa_side_erase(stoa_side *side, stoa_space space, const void *from, uint32_t from_bytes, const void *to,
                         uint32_t to_bytes)
{
    char behind_all[STOA_SIDE_KEY_MAX + 1];
    memset(behind_all, 0xff, sizeof behind_all);
    if (to_bytes == 0) {
        to = behind_all;
        to_bytes = sizeof behind_all;
    }
    if (stoa_side_compare(from, from_bytes, to, to_bytes) >= 0) { return STOA_OK; }
    stoa_err err = begin(side, STOA_SIDE_WRITING);
    if (err) { return err; }
    rocksdb_writebatch_t *batch = rocksdb_writebatch_create();
    rocksdb_writebatch_delete_range_cf(batch, side->families[space], from, from_bytes, to, to_bytes);
    err = write_batch(side, batch, false, "erase");
    rocksdb_writebatch_destroy(batch);
    end(side);
    return err ? give_up(side, err) : STOA_OK;
}

static stoa_err visit_from(stoa_side *side, stoa_space space, rocksdb_iterator_t *it, const char *from, uint32_t from_bytes, bool stored,
                           stoa_err (*visit)(void *context, const stoa_side_entry *entry), void *context)
{
    const stoa_keyring *keys = atomic_load_explicit(&side->keys, memory_order_acquire); /* acquire: its keys */
    stoa_side_room room = {0};
    stoa_err err = STOA_OK;
    for (rocksdb_iter_seek(it, from, from_bytes); rocksdb_iter_valid(it) && !err; rocksdb_iter_next(it)) {
        size_t key_bytes, value_bytes;
        const char *key = rocksdb_iter_key(it, &key_bytes), *value = rocksdb_iter_value(it, &value_bytes);
        stoa_side_entry entry = {
            .key = key, .value = value, .key_bytes = (uint32_t)key_bytes, .value_bytes = (uint32_t)value_bytes};
        if (!stored) { err = stoa_side_unwrap(space, &entry, keys, &room); }
        if (!err) { err = visit(context, &entry); }
    }
    free(room.at);
    char *text = NULL;
    rocksdb_iter_get_error(it, &text);
    stoa_err broken = stoa_engine_error(text, "scan");
    return err ? err : broken;
}

stoa_err stoa_side_scan(stoa_side *side, stoa_space space, const void *from, uint32_t from_bytes, bool stored,
                        stoa_err (*visit)(void *context, const stoa_side_entry *entry), void *context)
{
    stoa_err err = begin(side, STOA_SIDE_READING);
    if (err) { return err; }
    if (side->mode != STOA_SIDE_CLOSED) {
        rocksdb_readoptions_t *options = rocksdb_readoptions_create();
        rocksdb_readoptions_set_fill_cache(options, 0);
        rocksdb_iterator_t *it = rocksdb_create_iterator_cf(side->db, options, side->families[space]);
        err = visit_from(side, space, it, from_bytes ? from : "", from_bytes, stored, visit, context);
        rocksdb_iter_destroy(it);
        rocksdb_readoptions_destroy(options);
    }
    end(side);
    return err;
}
