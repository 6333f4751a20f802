/* reindex.c - the index made anew from the blocks, whose bytes have all of its entries.
 *
 * In one batch all entries go and a note comes into family meta ("index" -> "broken"): from then on, also over a crash,
 * lookups are refused. What is appended later brings its own entries. Those of the blocks before are put again, batch by
 * batch; then the note goes. Entries that are there already are put again as they are.
 *
 * RocksDB can lose what the index had of the last start, and say nothing: at a start it writes a file for each family, and a
 * list of files that rotted at its end, where the index's file stands last, is taken for one that was cut short. Where the
 * log's file is lost, too, the chain notices. So each open notes where the log ended ("opened" -> position); the next one looks
 * whether the index has what the blocks before that say.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "base/hash.h"
#include "base/log.h"
#include "storage/block.h"
#include "storage/rocksdb/internal.h"
#include "storage/rocksdb/key.h"

static const char note_key[] = "index", note_value[] = "broken";
static const char opened_key[] = "opened";
enum { LOOK_BACK = 64 }; /* blocks */
enum { NOTE_KEY_BYTES = sizeof note_key - 1, NOTE_VALUE_BYTES = sizeof note_value - 1, BATCH_BYTES = 1 << 20 };

/* *number_out: the value's, where it has eight bytes; else 0. */
static stoa_err get(const stoa_engine *engine, enum stoa_family family, const char *key, size_t key_bytes, bool *there_out,
                    uint64_t *number_out)
{
    rocksdb_readoptions_t *options = rocksdb_readoptions_create();
    size_t bytes = 0;
    char *text = NULL,
         *value = rocksdb_get_cf(engine->db, options, engine->families[family], key, key_bytes, &bytes, &text);
    rocksdb_readoptions_destroy(options);
    *there_out = value != NULL;
    *number_out = value && bytes == STOA_KEY_BYTES ? stoa_key_get(value) : 0;
    rocksdb_free(value);
    return stoa_engine_error(text, "read what the index is like");
}

static stoa_err has_entry(const stoa_engine *engine, stoa_index_entry entry, bool *there_out)
{
    char key[STOA_INDEX_KEY_BYTES];
    uint64_t ignored;
    stoa_key_put(key, entry.id);
    stoa_key_put(key + STOA_KEY_BYTES, entry.position);
    return get(engine, STOA_FAMILY_INDEX, key, sizeof key, there_out, &ignored);
}

/* Whether the index has the first and the last entry of the newest block with entries among those up to position. */
static stoa_err is_indexed(const stoa_engine *engine, uint64_t first, uint64_t position, bool *indexed_out)
{
    rocksdb_readoptions_t *options = rocksdb_readoptions_create();
    rocksdb_iterator_t *it = rocksdb_create_iterator_cf(engine->db, options, engine->families[STOA_FAMILY_LOG]);
    char key[STOA_KEY_BYTES];
    stoa_key_put(key, position);
    stoa_err err = STOA_OK;
    bool done = false, begin = true, end = true;
    unsigned looked = 0;
    for (rocksdb_iter_seek_for_prev(it, key, sizeof key); !err && !done && looked < LOOK_BACK && rocksdb_iter_valid(it);
         rocksdb_iter_prev(it), looked++) {
        size_t bytes;
        const char *value = rocksdb_iter_value(it, &bytes);
        stoa_block_view view;
        if (stoa_block_decode(value, bytes, &view)) { break; } /* for who reads it to say */
        done = view.block.first < first || view.block.index_count > 0;
        if (view.block.first < first || view.block.index_count == 0) { continue; }
        err = has_entry(engine, stoa_block_entry(&view, 0), &begin);
        if (!err) { err = has_entry(engine, stoa_block_entry(&view, view.block.index_count - 1), &end); }
    }
    rocksdb_iter_destroy(it);
    rocksdb_readoptions_destroy(options);
    *indexed_out = begin && end;
    return err;
}

stoa_err stoa_rocks_note_open(stoa_rocks *j)
{
    char value[STOA_KEY_BYTES], *text = NULL;
    stoa_key_put(value, j->state.last);
    rocksdb_put_cf(j->engine.db, j->lazy, j->engine.families[STOA_FAMILY_META], opened_key, sizeof opened_key - 1, value,
                   sizeof value, &text);
    return stoa_engine_error(text, "note the open");
}

stoa_err stoa_rocks_look_at_index(stoa_rocks *j)
{
    bool broken, there, indexed = true;
    uint64_t opened = 0, ignored;
    stoa_err err = get(&j->engine, STOA_FAMILY_META, note_key, NOTE_KEY_BYTES, &broken, &ignored);
    if (!err) { err = get(&j->engine, STOA_FAMILY_META, opened_key, sizeof opened_key - 1, &there, &opened); }
    if (!err && opened > j->anchor.last) { err = is_indexed(&j->engine, j->anchor.last + 1, opened, &indexed); }
    if (err) { return err; }
    if (!indexed) { stoa_log(STOA_LOG_WARN, "journal_index_lost", STOA_KV("path", j->path), STOA_KU("below", opened + 1)); }
    atomic_store(&j->index_broken, broken || !indexed);
    return STOA_OK;
}

/* Entries of positions from first to last, and a hash over them. */
static stoa_err count(const stoa_engine *engine, uint64_t first, uint64_t last, uint64_t *entries_out, uint64_t *hash_out)
{
    rocksdb_readoptions_t *options = rocksdb_readoptions_create();
    rocksdb_readoptions_set_fill_cache(options, 0);
    rocksdb_iterator_t *it = rocksdb_create_iterator_cf(engine->db, options, engine->families[STOA_FAMILY_INDEX]);
    uint64_t entries = 0, hash = 0;
    for (rocksdb_iter_seek_to_first(it); rocksdb_iter_valid(it); rocksdb_iter_next(it)) {
        size_t bytes;
        const char *key = rocksdb_iter_key(it, &bytes);
        uint64_t position = bytes == STOA_INDEX_KEY_BYTES ? stoa_key_get(key + STOA_KEY_BYTES) : first;
        if (position < first || position > last) { continue; }
        entries++;
        hash = stoa_hash64(hash, key, bytes);
    }
    char *text = NULL;
    rocksdb_iter_get_error(it, &text);
    rocksdb_iter_destroy(it);
    rocksdb_readoptions_destroy(options);
    *entries_out = entries;
    *hash_out = hash;
    return stoa_engine_error(text, "read the index");
}

static stoa_err write(stoa_rocks *j, rocksdb_writebatch_t *batch, bool sync)
{
    char *text = NULL;
    rocksdb_write(j->engine.db, sync ? j->synced : j->lazy, batch, &text);
    rocksdb_writebatch_clear(batch);
    stoa_err err = stoa_engine_error(text, "make the index anew");
    return err && err != STOA_E_FULL ? stoa_rocks_fail(j, err) : err;
}

static stoa_err throw_away(stoa_rocks *j, rocksdb_writebatch_t *batch)
{
    char from[STOA_INDEX_KEY_BYTES] = {0}, to[STOA_INDEX_KEY_BYTES + 1];
    memset(to, 0xff, sizeof to);
    rocksdb_writebatch_put_cf(batch, j->engine.families[STOA_FAMILY_META], note_key, NOTE_KEY_BYTES, note_value,
                              NOTE_VALUE_BYTES);
    rocksdb_writebatch_delete_range_cf(batch, j->engine.families[STOA_FAMILY_INDEX], from, sizeof from, to, sizeof to);
    bool before = atomic_exchange(&j->index_broken, true);
    stoa_err err = write(j, batch, true);
    if (err == STOA_E_FULL) { atomic_store(&j->index_broken, before); } /* nothing was written; full.c looks again */
    return err;
}

typedef struct putting {
    stoa_rocks *journal;
    rocksdb_writebatch_t *batch;
    uint64_t last;
    size_t bytes;
} putting;

static stoa_err put_entries(void *context, const void *bytes, size_t size_bytes)
{
    putting *p = context;
    (void)size_bytes;
    stoa_block_view view;
    stoa_block_peek(bytes, &view);
    if (view.block.first > p->last) { return STOA_E_CANCELLED; }
    atomic_store_explicit(&p->journal->reindexed, view.block.first, memory_order_relaxed);
    for (uint32_t i = 0; i < view.block.index_count; i++) {
        stoa_index_entry entry = stoa_block_entry(&view, i);
        char key[STOA_INDEX_KEY_BYTES];
        stoa_key_put(key, entry.id);
        stoa_key_put(key + STOA_KEY_BYTES, entry.position);
        rocksdb_writebatch_put_cf(p->batch, p->journal->engine.families[STOA_FAMILY_INDEX], key, sizeof key, "", 0);
        p->bytes += sizeof key;
    }
    if (p->bytes < BATCH_BYTES) { return STOA_OK; }
    p->bytes = 0;
    return write(p->journal, p->batch, false);
}

static stoa_err make(stoa_rocks *j, uint64_t first, uint64_t last, rocksdb_writebatch_t *batch)
{
    putting p = {.journal = j, .batch = batch, .last = last};
    stoa_err err = last ? stoa_rocks_read_stored(&j->base, first, put_entries, &p) : STOA_OK;
    if (err && err != STOA_E_CANCELLED) { return err; }
    rocksdb_writebatch_delete_cf(batch, j->engine.families[STOA_FAMILY_META], note_key, NOTE_KEY_BYTES);
    err = write(j, batch, true);
    if (!err) { atomic_store(&j->index_broken, false); }
    return err;
}

static stoa_err reindex(stoa_rocks *j, stoa_reindexed *out)
{
    stoa_journal_state state;
    stoa_err err = stoa_rocks_look(j, &state);
    if (!err && j->full) { err = STOA_FAIL(STOA_E_FULL, "the disk of %s is full", j->path); }
    if (!err) { err = count(&j->engine, state.first, state.last, &out->entries_before, &out->hash_before); }
    if (err) { return err; }

    rocksdb_writebatch_t *batch = rocksdb_writebatch_create();
    stoa_journal_state now = state;
    (void)pthread_mutex_lock(&j->writing); /* a block is behind this, or in the state that is looked at */
    err = throw_away(j, batch);
    if (!err) { err = stoa_rocks_look(j, &now); }
    (void)pthread_mutex_unlock(&j->writing);
    if (!err) { err = make(j, now.first, now.last, batch); }
    rocksdb_writebatch_destroy(batch);
    if (!err) { err = count(&j->engine, state.first, state.last, &out->entries, &out->hash); }
    if (!err) {
        stoa_log(STOA_LOG_INFO, "journal_reindexed", STOA_KV("path", j->path), STOA_KU("entries", out->entries),
                 STOA_KU("before", out->entries_before));
    }
    return err;
}

stoa_err stoa_rocks_reindex(stoa_journal *base, stoa_reindexed *out)
{
    stoa_rocks *j = (stoa_rocks *)base;
    stoa_reindexed result = {0};
    (void)pthread_mutex_lock(&j->purging);
    stoa_rocks_begin_read(j);
    stoa_err err = reindex(j, &result);
    atomic_store_explicit(&j->reindexed, 0, memory_order_relaxed);
    stoa_rocks_end_read(j);
    (void)pthread_mutex_unlock(&j->purging);
    if (!err) { *out = result; }
    return err;
}
