/* purge.c - forgetting old blocks, and beginning a log behind blocks that it never had.
 *
 * The anchor says where the log begins: position, hash and epoch of the last block forgotten. It is written first, synced,
 * and brought into a table file, so that rot in RocksDB's log cannot set it back behind blocks that are gone. From then on
 * the blocks below are not there for any reader, and compaction drops them where it meets them. Files that hold nothing
 * else are deleted at once; the rest of the purged range is compacted. The index, which is ordered by id, would have to be
 * rewritten as a whole; that is done whenever half of what it was left with has been purged, so that each entry is rewritten
 * about twice. Until then its entries below the anchor are there and are passed over.
 *
 * A log that is begun gets its anchor the same way, and beside it, in one batch, where it was begun: so it is known for good that
 * nothing below was ever here. The mark follows.
 *
 * Anchor, in family meta: u64 position | u64 epoch | 32 B hash. "begun": u64 position.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include <inttypes.h>
#include <string.h>

#include "base/log.h"
#include "storage/block.h"
#include "storage/rocksdb/internal.h"
#include "storage/rocksdb/key.h"

static const char anchor_key[] = "anchor", begun_key[] = "begun";
enum { AT_POSITION = 0, AT_EPOCH = 8, AT_HASH = 16, ANCHOR_BYTES = AT_HASH + sizeof(stoa_hash256) };

static stoa_err read_begun(const stoa_engine *engine, uint64_t *out)
{
    rocksdb_readoptions_t *options = rocksdb_readoptions_create();
    size_t bytes = 0;
    char *text = NULL, *value = rocksdb_get_cf(engine->db, options, engine->families[STOA_FAMILY_META], begun_key,
                                               sizeof begun_key - 1, &bytes, &text);
    rocksdb_readoptions_destroy(options);
    stoa_err err = stoa_engine_error(text, "read where the log was begun");
    if (!err && value && bytes != STOA_KEY_BYTES) { err = STOA_FAIL(STOA_E_CORRUPT, "a beginning of %zu bytes", bytes); }
    if (!err) { *out = value ? stoa_key_get(value) : 0; }
    rocksdb_free(value);
    return err;
}

stoa_err stoa_rocks_read_anchor(const stoa_engine *engine, stoa_journal_state *out)
{
    rocksdb_readoptions_t *options = rocksdb_readoptions_create();
    size_t bytes = 0;
    char *text = NULL, *value = rocksdb_get_cf(engine->db, options, engine->families[STOA_FAMILY_META], anchor_key,
                                               sizeof anchor_key - 1, &bytes, &text);
    rocksdb_readoptions_destroy(options);
    stoa_err err = stoa_engine_error(text, "read the anchor");
    stoa_journal_state anchor = {0};
    if (!err && value && bytes != ANCHOR_BYTES) { err = STOA_FAIL(STOA_E_CORRUPT, "an anchor of %zu bytes", bytes); }
    if (!err && value) {
        anchor.last = stoa_key_get(value + AT_POSITION);
        anchor.epoch = stoa_key_get(value + AT_EPOCH);
        memcpy(anchor.hash.at, value + AT_HASH, sizeof anchor.hash.at);
    }
    rocksdb_free(value);
    if (!err) { err = read_begun(engine, &anchor.begun); }
    if (!err) { *out = anchor; }
    return err;
}

/* begun: the log begins there, and was empty. */
static stoa_err write_anchor(stoa_rocks *j, const stoa_journal_state *anchor, bool begun)
{
    char value[ANCHOR_BYTES], position[STOA_KEY_BYTES], *text = NULL;
    rocksdb_column_family_handle_t *meta = j->engine.families[STOA_FAMILY_META];
    stoa_key_put(value + AT_POSITION, anchor->last);
    stoa_key_put(value + AT_EPOCH, anchor->epoch);
    memcpy(value + AT_HASH, anchor->hash.at, sizeof anchor->hash.at);
    stoa_key_put(position, anchor->last);
    rocksdb_writebatch_t *batch = rocksdb_writebatch_create();
    rocksdb_writebatch_put_cf(batch, meta, anchor_key, sizeof anchor_key - 1, value, sizeof value);
    if (begun) { rocksdb_writebatch_put_cf(batch, meta, begun_key, sizeof begun_key - 1, position, sizeof position); }
    rocksdb_write(j->engine.db, j->synced, batch, &text);
    rocksdb_writebatch_destroy(batch);
    stoa_err err = stoa_engine_error(text, "write the anchor");
    if (err) { return err; }

    rocksdb_flushoptions_t *options = rocksdb_flushoptions_create();
    rocksdb_flushoptions_set_wait(options, 1);
    rocksdb_flush_cf(j->engine.db, options, meta, &text);
    rocksdb_flushoptions_destroy(options);
    return stoa_engine_error(text, "flush the anchor");
}

void stoa_rocks_set_anchor(stoa_rocks *j, const stoa_journal_state *anchor)
{
    (void)pthread_mutex_lock(&j->state_lock);
    j->anchor = *anchor;
    j->begun = anchor->begun;
    (void)pthread_mutex_unlock(&j->state_lock);
    atomic_store_explicit(&j->first, anchor->last + 1, memory_order_relaxed); /* relaxed: nothing else is published by it */
}

void stoa_rocks_anchor(stoa_rocks *j, stoa_journal_state *out)
{
    (void)pthread_mutex_lock(&j->state_lock);
    *out = j->anchor;
    (void)pthread_mutex_unlock(&j->state_lock);
}

/* The last block that ends below the position becomes *anchor; where there is none *anchor stays. */
static stoa_err find_anchor(const stoa_engine *engine, uint64_t below, stoa_journal_state *anchor)
{
    rocksdb_readoptions_t *options = rocksdb_readoptions_create();
    rocksdb_readoptions_set_fill_cache(options, 0);
    rocksdb_iterator_t *it = rocksdb_create_iterator_cf(engine->db, options, engine->families[STOA_FAMILY_LOG]);
    char key[STOA_KEY_BYTES], *text = NULL;
    stoa_key_put(key, below - 1);
    rocksdb_iter_seek_for_prev(it, key, sizeof key);
    stoa_err err = STOA_OK;
    if (rocksdb_iter_valid(it)) {
        size_t bytes;
        const char *value = rocksdb_iter_value(it, &bytes);
        stoa_block_view view;
        err = stoa_block_decode(value, bytes, &view);
        if (!err && stoa_block_last(&view.block) > anchor->last) { stoa_chain_advance(anchor, &view.block, &view.hash); }
    }
    rocksdb_iter_get_error(it, &text);
    rocksdb_iter_destroy(it);
    rocksdb_readoptions_destroy(options);
    stoa_err broken = stoa_engine_error(text, "find where to purge to");
    return err ? err : broken;
}

/* Whether so much of the index is of purged blocks that it is worth rewriting. */
static bool index_is_due(stoa_rocks *j, uint64_t first, uint64_t last)
{
    if (first - j->index_first < (last + 1 - j->index_first) / 2) { return false; }
    j->index_first = first;
    return true;
}

static stoa_err purge(stoa_rocks *j, uint64_t below)
{
    stoa_journal_state state, anchor;
    stoa_err err = stoa_rocks_look(j, &state);
    if (!err && j->looks) { err = STOA_FAIL(STOA_E_DENIED, "%s is only looked at", j->path); }
    if (!err && j->full) { err = STOA_FAIL(STOA_E_FULL, "the disk of %s is full", j->path); }
    if (err) { return err; }
    if (below > state.proven) { below = state.proven; }
    if (below <= state.first) { return STOA_OK; }

    stoa_rocks_anchor(j, &anchor);
    err = find_anchor(&j->engine, below, &anchor);
    if (err || anchor.last < state.first) { return err; }
    err = write_anchor(j, &anchor, false);
    if (err) { return err == STOA_E_FULL ? err : stoa_rocks_fail(j, err); } /* on FULL the next append sees to it */
    stoa_rocks_set_anchor(j, &anchor);
    stoa_log(STOA_LOG_INFO, "journal_purged", STOA_KV("path", j->path), STOA_KU("first", anchor.last + 1),
             STOA_KU("last", state.last));
    err = stoa_engine_reclaim(&j->engine, anchor.last + 1, index_is_due(j, anchor.last + 1, state.last));
    return err ? stoa_rocks_fail(j, err) : STOA_OK; /* RocksDB itself would go on after a manifest that was not synced */
}

stoa_err stoa_rocks_purge(stoa_journal *base, uint64_t below)
{
    stoa_rocks *j = (stoa_rocks *)base;
    (void)pthread_mutex_lock(&j->purging);
    stoa_rocks_begin_read(j);
    stoa_err err = purge(j, below);
    stoa_rocks_end_read(j);
    (void)pthread_mutex_unlock(&j->purging);
    return err;
}

/* --- beginning */

static stoa_err begin(stoa_rocks *j, const stoa_journal_state *anchor)
{
    stoa_err err = stoa_rocks_ready_to_write(j);
    if (!err && j->state.last > 0) { err = STOA_FAIL(STOA_E_EXISTS, "the log has come to %" PRIu64 " already", j->state.last); }
    if (err) { return err; }
    err = write_anchor(j, anchor, true);
    if (err == STOA_E_FULL) { return stoa_rocks_enter_full(j); }
    stoa_journal_state state = {.last = anchor->last, .epoch = anchor->epoch, .hash = anchor->hash};
    if (!err) { err = stoa_rocks_move_mark(j, &state, true, true); }
    if (err) { return stoa_rocks_fail(j, err); }
    state.proven = anchor->last; /* whatever the mark could say */
    stoa_rocks_set_anchor(j, &(stoa_journal_state){.last = anchor->last, .epoch = anchor->epoch, .hash = anchor->hash, .begun = anchor->last});
    stoa_rocks_set_state(j, &state);
    j->index_first = anchor->last + 1;
    return STOA_OK;
}

stoa_err stoa_rocks_begin(stoa_journal *base, const stoa_journal_state *anchor)
{
    stoa_rocks *j = (stoa_rocks *)base;
    if (!stoa_chain_begins(anchor)) { return STOA_FAIL(STOA_E_INVALID, "a log that begins behind position %" PRIu64, anchor->last); }
    (void)pthread_mutex_lock(&j->purging);
    stoa_err err = begin(j, anchor);
    (void)pthread_mutex_unlock(&j->purging);
    if (!err) { stoa_log(STOA_LOG_INFO, "journal_begun", STOA_KV("path", j->path), STOA_KU("first", anchor->last + 1)); }
    return err;
}
