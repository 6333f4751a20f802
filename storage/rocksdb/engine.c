/* engine.c - options, opening and errors of rocksdb/engine.h.
 *
 * Sizes: a block is some 25 KiB and is written once, in the order of its key, and read in that order. 32 MiB of them
 * gather in memory before they become a table file; what has been synced is in RocksDB's log meanwhile, for which it reserves
 * that much and a tenth: then a sync has fewer of the file system's own records to write. Table files of the log family do not
 * overlap, so compaction moves them down without reading them as long as all levels use one compression: LZ4.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "storage/rocksdb/engine.h"

#include <pthread.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/priority.h"
#include "base/signals.h"
#include "storage/rocksdb/journal.h"
#include "storage/rocksdb/key.h"
#include "storage/rocksdb/manifest.h"
#include "storage/rocksdb/shim.h"

static const char *const family_names[STOA_FAMILIES] = {"default", "log", "meta", "index"};
static const size_t write_buffer_bytes[STOA_FAMILIES] = {1 << 20, 32 << 20, 1 << 20, 16 << 20};

enum {
    BLOCK_CACHE_BYTES = 8 << 20,
    TABLE_BLOCK_BYTES = 32 << 10,
    OPEN_FILES_MAX = 256,
    FLUSHING_THREADS = 1,
    COMPACTING_THREADS = 1,
    MANIFEST_BYTES_MAX = 4 << 20,
    FOLD_FILES = 64, /* of the log family on level 1 ... */
    FOLD_FILE_BYTES = 1 << 20 /* ... when they are smaller than this on average */
};

/* RocksDB's recovery modes, by the numbers of its C API. */
enum { TOLERATE_CORRUPTED_TAIL = 0, ABSOLUTE_CONSISTENCY = 1, POINT_IN_TIME = 2 };

/* Rewrite the lowest level, too, where its files could stay as they are; by the number of the C API. */
enum { FORCE = 2 };

/* What has no setter in the C API. */
static const char more_options[] = "skip_stats_update_on_db_open=true;"
                                   "stats_dump_period_sec=0;"
                                   "stats_persist_period_sec=0";

static void log_line(const char *text)
{
    stoa_log(STOA_LOG_DEBUG, "rocksdb", STOA_KV("text", text));
}

/* The first row whose text occurs decides: what a failed sync leaves behind may or may not be on the disk, which FULL would deny. */
typedef struct row {
    const char *text;
    stoa_err err;
} row;
static const row rows[] = {
    {"While fdatasync: ", STOA_E_IO},
    {"While fsync: ", STOA_E_IO},
    {"No space left on device", STOA_E_FULL},
    {"Disk quota exceeded", STOA_E_FULL},
    {"lock hold by current process", STOA_E_DENIED},
    {"While lock file", STOA_E_DENIED},
    {"Column families not opened", STOA_E_VERSION},
    {"Column family not found", STOA_E_CORRUPT},
    {"Corruption", STOA_E_CORRUPT},
    {"No such file or directory", STOA_E_CORRUPT},
    {"does not exist (create_if_missing is false)", STOA_E_CORRUPT},
};

stoa_err stoa_engine_error(char *text, const char *what)
{
    if (!text) { return STOA_OK; }
    stoa_err err = STOA_E_IO;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        if (strstr(text, rows[i].text)) {
            err = rows[i].err;
            break;
        }
    }
    err = STOA_FAIL(err, "%s: %s", what, text);
    rocksdb_free(text);
    return err;
}

rocksdb_options_t *stoa_engine_options(stoa_engine_mode mode)
{
    rocksdb_options_t *empty = rocksdb_options_create(), *options = rocksdb_options_create();
    char *text = NULL;
    rocksdb_get_options_from_string(empty, more_options, options, &text);
    STOA_ASSERT(!text);
    rocksdb_options_destroy(empty);

    rocksdb_options_set_info_log(options, stoa_rocksdb_logger(log_line));
    stoa_rocksdb_end_with_sync(options);
    if (mode.disk) { stoa_rocksdb_disk_use(mode.disk, options); }
    rocksdb_options_set_create_if_missing(options, mode.create);
    rocksdb_options_set_create_missing_column_families(options, !mode.read_only);
    rocksdb_options_set_wal_recovery_mode(options, mode.to_rot  ? POINT_IN_TIME
                                                   : mode.whole ? ABSOLUTE_CONSISTENCY
                                                                : TOLERATE_CORRUPTED_TAIL);
    rocksdb_options_set_max_background_jobs(options, FLUSHING_THREADS + COMPACTING_THREADS);
    rocksdb_options_set_max_open_files(options, OPEN_FILES_MAX);
    rocksdb_options_set_max_manifest_file_size(options, MANIFEST_BYTES_MAX);
    rocksdb_options_set_compression(options, rocksdb_lz4_compression);
    return options;
}

/* Per family: its write buffer, and the block cache that all share. */
static void family_options(rocksdb_options_t *base, rocksdb_options_t *options[STOA_FAMILIES])
{
    rocksdb_cache_t *cache = rocksdb_cache_create_lru(BLOCK_CACHE_BYTES);
    for (unsigned i = 0; i < STOA_FAMILIES; i++) {
        rocksdb_block_based_table_options_t *table = rocksdb_block_based_options_create();
        rocksdb_block_based_options_set_block_cache(table, cache);
        rocksdb_block_based_options_set_block_size(table, TABLE_BLOCK_BYTES);
        options[i] = rocksdb_options_create_copy(base);
        rocksdb_options_set_block_based_table_factory(options[i], table);
        rocksdb_options_set_write_buffer_size(options[i], write_buffer_bytes[i]);
        rocksdb_block_based_options_destroy(table);
    }
    rocksdb_cache_destroy(cache);
}

/* --- what compaction drops: keys whose position is below the first that counts */

static unsigned char below_first(const void *state, const char *key, size_t key_bytes, size_t offset)
{
    const _Atomic uint64_t *first = state;
    if (key_bytes != offset + STOA_KEY_BYTES) { return 0; }
    return stoa_key_get(key + offset) < atomic_load_explicit(first, memory_order_acquire); /* it only grows */
}

static unsigned char drop_block(void *state, int level, const char *key, size_t key_bytes, const char *value,
                                size_t value_bytes, char **new_value, size_t *new_value_bytes, unsigned char *changed)
{
    (void)level, (void)value, (void)value_bytes, (void)new_value, (void)new_value_bytes, (void)changed;
    return below_first(state, key, key_bytes, 0);
}

static unsigned char drop_entry(void *state, int level, const char *key, size_t key_bytes, const char *value,
                                size_t value_bytes, char **new_value, size_t *new_value_bytes, unsigned char *changed)
{
    (void)level, (void)value, (void)value_bytes, (void)new_value, (void)new_value_bytes, (void)changed;
    return below_first(state, key, key_bytes, STOA_KEY_BYTES);
}

static const char *filter_name(void *state)
{
    (void)state;
    return "stoa.purge";
}

static void leave_state(void *state)
{
    (void)state;
}

static void set_filters(stoa_engine *engine, const _Atomic uint64_t *first, rocksdb_options_t *options[STOA_FAMILIES])
{
    union {
        const _Atomic uint64_t *first;
        void *state;
    } as = {.first = first}; /* the C API has no const; the filters only read */
    if (!first) { return; }
    engine->filters[STOA_FAMILY_LOG] = rocksdb_compactionfilter_create(as.state, leave_state, drop_block, filter_name);
    engine->filters[STOA_FAMILY_INDEX] = rocksdb_compactionfilter_create(as.state, leave_state, drop_entry, filter_name);
    rocksdb_options_set_compaction_filter(options[STOA_FAMILY_LOG], engine->filters[STOA_FAMILY_LOG]);
    rocksdb_options_set_compaction_filter(options[STOA_FAMILY_INDEX], engine->filters[STOA_FAMILY_INDEX]);
}

static void destroy_filters(stoa_engine *engine)
{
    for (unsigned i = 0; i < STOA_FAMILIES; i++) {
        if (engine->filters[i]) { rocksdb_compactionfilter_destroy(engine->filters[i]); }
        engine->filters[i] = NULL;
    }
}

/* RocksDB's threads have the priority of the thread that starts them. */
static void *start_threads(void *nothing)
{
    stoa_priority_background();
    rocksdb_env_t *env = rocksdb_create_default_env();
    rocksdb_env_set_background_threads(env, COMPACTING_THREADS);
    rocksdb_env_set_high_priority_background_threads(env, FLUSHING_THREADS);
    rocksdb_env_destroy(env);
    return nothing;
}

/* They work through megabytes, which nobody waits for: turns come first. Without memory for the thread they start without it. */
static void begin_threads(void)
{
    pthread_t thread;
    if (pthread_create(&thread, NULL, start_threads, NULL) == 0) { (void)pthread_join(thread, NULL); }
}

static stoa_err open_database(stoa_engine *engine, const char *path, stoa_engine_mode mode)
{
    rocksdb_options_t *base = stoa_engine_options(mode), *options[STOA_FAMILIES];
    rocksdb_options_set_atomic_flush(base, 1); /* log and index reach table files together */
    family_options(base, options);
    const rocksdb_options_t *views[STOA_FAMILIES];
    memcpy(views, options, sizeof views);

    stoa_engine opened = {0};
    set_filters(&opened, mode.first, options);
    char *text = NULL;
    sigset_t before;
    stoa_signals_hold(&before); /* RocksDB starts its threads here */
    begin_threads();
    if (mode.read_only) {
        opened.db = rocksdb_open_for_read_only_column_families(base, path, STOA_FAMILIES, family_names, views,
                                                               opened.families, 0, &text);
    } else {
        opened.db =
            rocksdb_open_column_families(base, path, STOA_FAMILIES, family_names, views, opened.families, &text);
    }
    stoa_signals_release(&before);
    for (unsigned i = 0; i < STOA_FAMILIES; i++) {
        rocksdb_options_destroy(options[i]);
    }
    rocksdb_options_destroy(base);
    if (text) {
        destroy_filters(&opened);
        return stoa_engine_error(text, path);
    }
    *engine = opened;
    return STOA_OK;
}

stoa_err stoa_engine_open(stoa_engine *engine, const char *path, stoa_engine_mode mode)
{
    stoa_err err = open_database(engine, path, mode);
    bool again = err == STOA_E_CORRUPT && !mode.read_only && stoa_manifest_mend(path);
    return again ? open_database(engine, path, mode) : err;
}

bool stoa_engine_unfinished(const char *path)
{
    rocksdb_options_t *options = stoa_engine_options((stoa_engine_mode){.read_only = true});
    size_t count = 0;
    char *text = NULL, **names = rocksdb_list_column_families(options, path, &count, &text);
    rocksdb_options_destroy(options);
    bool listed = stoa_engine_error(text, path) == STOA_OK;
    if (listed) { rocksdb_list_column_families_destroy(names, count); }
    return listed && count < STOA_FAMILIES;
}

void stoa_engine_close(stoa_engine *engine)
{
    if (!engine->db) { return; }
    rocksdb_cancel_all_background_work(engine->db, 1);
    for (unsigned i = 0; i < STOA_FAMILIES; i++) {
        rocksdb_column_family_handle_destroy(engine->families[i]);
    }
    rocksdb_close(engine->db);
    destroy_filters(engine);
    *engine = (stoa_engine){0};
}

void stoa_journal_rocksdb_end_threads(void)
{
    rocksdb_env_t *env = rocksdb_create_default_env();
    rocksdb_env_set_background_threads(env, 0);
    rocksdb_env_set_high_priority_background_threads(env, 0);
    rocksdb_env_destroy(env);
}

static uint64_t property(const stoa_engine *engine, const char *name)
{
    if (!engine->db) { return 0; }
    char *text = rocksdb_property_value_cf(engine->db, engine->families[STOA_FAMILY_LOG], name);
    uint64_t value = text ? strtoull(text, NULL, 10) : 0;
    rocksdb_free(text);
    return value;
}

uint64_t stoa_engine_blocks(const stoa_engine *engine)
{
    return property(engine, "rocksdb.estimate-num-keys");
}

/* Whole files are deleted unread; what shares a file with later blocks is rewritten without them. */
stoa_err stoa_engine_reclaim(stoa_engine *engine, uint64_t first, bool with_index)
{
    char begin[STOA_KEY_BYTES], end[STOA_KEY_BYTES], *text = NULL;
    stoa_key_put(begin, 0);
    stoa_key_put(end, first - 1);
    rocksdb_delete_file_in_range_cf(engine->db, engine->families[STOA_FAMILY_LOG], begin, sizeof begin, end, sizeof end,
                                    &text);
    stoa_err err = stoa_engine_error(text, "delete files of purged blocks");
    if (err && err != STOA_E_FULL) { return err; }
    if (err) { stoa_log_error("journal_reclaim", err); } /* compaction does it, then */

    rocksdb_compactoptions_t *options = rocksdb_compactoptions_create();
    rocksdb_compactoptions_set_exclusive_manual_compaction(options, 0);
    rocksdb_compact_range_cf_opt(engine->db, engine->families[STOA_FAMILY_LOG], options, begin, sizeof begin, end,
                                 sizeof end);
    if (with_index) {
        rocksdb_compactoptions_set_bottommost_level_compaction(options, FORCE);
        rocksdb_compact_range_cf_opt(engine->db, engine->families[STOA_FAMILY_INDEX], options, NULL, 0, NULL, 0);
    }
    rocksdb_compactoptions_destroy(options);
    return STOA_OK;
}

/* Each start turns the rest of RocksDB's log into a table file, however small, and moving files down merges none. */
void stoa_engine_fold(stoa_engine *engine)
{
    uint64_t files = property(engine, "rocksdb.num-files-at-level1");
    if (files < FOLD_FILES || property(engine, "rocksdb.total-sst-files-size") > files * FOLD_FILE_BYTES) { return; }

    rocksdb_compactoptions_t *options = rocksdb_compactoptions_create();
    rocksdb_compactoptions_set_bottommost_level_compaction(options, FORCE);
    rocksdb_compact_range_cf_opt(engine->db, engine->families[STOA_FAMILY_LOG], options, NULL, 0, NULL, 0);
    rocksdb_compact_range_cf_opt(engine->db, engine->families[STOA_FAMILY_INDEX], options, NULL, 0, NULL, 0);
    rocksdb_compactoptions_destroy(options);
    stoa_log(STOA_LOG_DEBUG, "journal_folded", STOA_KU("files", files));
}
