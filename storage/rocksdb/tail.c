/* tail.c - rocksdb/tail.h.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "storage/rocksdb/tail.h"

#include <inttypes.h>
#include <string.h>

#include "storage/block.h"
#include "storage/rocksdb/key.h"

/* The iterator's error, if it ended because of one. */
static stoa_err iterator_error(const rocksdb_iterator_t *it, const char *what)
{
    char *text = NULL;
    rocksdb_iter_get_error(it, &text);
    return stoa_engine_error(text, what);
}

/* The block the iterator stands on; it must be the next of the walk and stored under its own last position. */
static stoa_err take(const rocksdb_iterator_t *it, stoa_block_walk *walk)
{
    size_t key_bytes, value_bytes;
    const char *key = rocksdb_iter_key(it, &key_bytes), *value = rocksdb_iter_value(it, &value_bytes);
    stoa_journal_state before = walk->at;
    stoa_block block;
    stoa_err err = stoa_block_walk_next(walk, value, value_bytes, &block);
    if (!err && (key_bytes != STOA_KEY_BYTES || stoa_key_get(key) != walk->at.last)) {
        walk->at = before;
        err = STOA_FAIL(STOA_E_CORRUPT, "position %" PRIu64 ": the block is stored under another one", block.first);
    }
    return err;
}

/* Put the iterator behind the block under the mark, and the walk at its end. */
static stoa_err begin(rocksdb_iterator_t *it, const stoa_journal_state *anchor, const stoa_mark_value *mark,
                      stoa_block_walk *walk)
{
    char key[STOA_KEY_BYTES];
    walk->linked = mark->position <= anchor->last;
    if (walk->linked) {
        walk->at = *anchor;
        stoa_key_put(key, anchor->last + 1);
        rocksdb_iter_seek(it, key, sizeof key);
        return STOA_OK;
    }

    stoa_key_put(key, mark->position);
    rocksdb_iter_seek(it, key, sizeof key);
    if (!rocksdb_iter_valid(it)) {
        stoa_err err = iterator_error(it, "read the block under the commit mark");
        if (err) { return err; }
        return STOA_FAIL(STOA_E_CORRUPT, "position %" PRIu64 ": the log ends below the commit mark", mark->position);
    }
    walk->at.last = mark->position - 1; /* for the trail */
    stoa_err err = take(it, walk);
    if (err) { return STOA_PASS(err, "position %" PRIu64 ": the block under the commit mark", mark->position); }
    if (walk->at.last != mark->position || memcmp(&walk->at.hash, &mark->hash, sizeof mark->hash) != 0) {
        return STOA_FAIL(STOA_E_CORRUPT, "position %" PRIu64 ": not the block that the commit mark names",
                         mark->position);
    }
    rocksdb_iter_next(it);
    return STOA_OK;
}

stoa_err stoa_tail_follow(const stoa_engine *engine, const stoa_journal_state *anchor, const stoa_mark_value *mark,
                          stoa_tail *out)
{
    rocksdb_readoptions_t *options = rocksdb_readoptions_create();
    rocksdb_readoptions_set_fill_cache(options, 0);
    rocksdb_iterator_t *it = rocksdb_create_iterator_cf(engine->db, options, engine->families[STOA_FAMILY_LOG]);
    stoa_block_walk walk = {.as_stored = true};

    stoa_err err = begin(it, anchor, mark, &walk), broken = STOA_OK;
    while (!err && !broken && rocksdb_iter_valid(it)) {
        broken = take(it, &walk);
        if (!broken) { rocksdb_iter_next(it); }
        if (broken == STOA_E_NOMEM) { err = broken; }
    }
    if (!err && !broken) { err = iterator_error(it, "read the log behind the commit mark"); }
    if (!err) { *out = (stoa_tail){.at = walk.at, .broken = broken}; }

    stoa_block_walk_deinit(&walk);
    rocksdb_iter_destroy(it);
    rocksdb_readoptions_destroy(options);
    return err;
}

/* Add to batch the deletion of each key of the family from first on whose position, at offset, is behind last. */
static stoa_err delete_behind(stoa_engine *engine, enum stoa_family family, size_t offset, uint64_t last,
                              uint64_t first, rocksdb_writebatch_t *batch)
{
    rocksdb_readoptions_t *options = rocksdb_readoptions_create();
    rocksdb_readoptions_set_fill_cache(options, 0);
    rocksdb_iterator_t *it = rocksdb_create_iterator_cf(engine->db, options, engine->families[family]);
    char from[STOA_KEY_BYTES];
    stoa_key_put(from, first);
    for (rocksdb_iter_seek(it, from, sizeof from); rocksdb_iter_valid(it); rocksdb_iter_next(it)) {
        size_t key_bytes;
        const char *key = rocksdb_iter_key(it, &key_bytes);
        if (key_bytes != offset + STOA_KEY_BYTES || stoa_key_get(key + offset) > last) {
            rocksdb_writebatch_delete_cf(batch, engine->families[family], key, key_bytes);
        }
    }
    stoa_err err = iterator_error(it, "find what to cut");
    rocksdb_iter_destroy(it);
    rocksdb_readoptions_destroy(options);
    return err;
}

stoa_err stoa_tail_cut(stoa_engine *engine, uint64_t last)
{
    rocksdb_writebatch_t *batch = rocksdb_writebatch_create();
    stoa_err err = delete_behind(engine, STOA_FAMILY_LOG, 0, last, last + 1, batch);
    if (!err) { err = delete_behind(engine, STOA_FAMILY_INDEX, STOA_KEY_BYTES, last, 0, batch); }
    if (!err) {
        rocksdb_writeoptions_t *options = rocksdb_writeoptions_create();
        rocksdb_writeoptions_set_sync(options, 1);
        char *text = NULL;
        rocksdb_write(engine->db, options, batch, &text);
        err = stoa_engine_error(text, "cut the log");
        rocksdb_writeoptions_destroy(options);
    }
    rocksdb_writebatch_destroy(batch);
    return err;
}
