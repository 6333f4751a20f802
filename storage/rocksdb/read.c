/* read.c - reading blocks in order, with their hashes and links, and looking up positions by id.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include <inttypes.h>
#include <string.h>

#include "storage/block.h"
#include "storage/rocksdb/internal.h"
#include "storage/rocksdb/key.h"

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

static stoa_err read_from(stoa_rocks *j, uint64_t from, const stoa_journal_state *anchor, const stoa_journal_state *state,
                          const visitor *v)
{
    const stoa_engine *engine = &j->engine;
    rocksdb_readoptions_t *options = rocksdb_readoptions_create();
    rocksdb_readoptions_set_fill_cache(options, 0);
    rocksdb_iterator_t *it = rocksdb_create_iterator_cf(engine->db, options, engine->families[STOA_FAMILY_LOG]);
    char key[STOA_KEY_BYTES];
    stoa_key_put(key, from);
    rocksdb_iter_seek(it, key, sizeof key);

    stoa_block_walk walk = {.at.last = from - 1};
    if (from == anchor->last + 1) { walk = (stoa_block_walk){.at = *anchor, .linked = true}; }
    walk.as_stored = v->stored != NULL;
    walk.keys = atomic_load_explicit(&j->keys, memory_order_acquire); /* acquire: its keys */
    stoa_err err = read_on(it, state->last, &walk, v);
    if (!err && (walk.at.last != state->last || memcmp(&walk.at.hash, &state->hash, sizeof state->hash) != 0)) {
        err = STOA_FAIL(STOA_E_CORRUPT, "position %" PRIu64 ": not the block that was written there", state->last);
    }
    stoa_block_walk_deinit(&walk);
    rocksdb_iter_destroy(it);
    rocksdb_readoptions_destroy(options);
    return err;
}

static stoa_err gone(uint64_t from, const stoa_journal_state *anchor)
{
    return STOA_FAIL(STOA_E_GONE, "position %" PRIu64 ": purged up to %" PRIu64, from, anchor->last);
}

static stoa_err read_for(stoa_journal *base, uint64_t from, const visitor *v)
{
    stoa_rocks *j = (stoa_rocks *)base;
    stoa_rocks_begin_read(j);
    stoa_journal_state state, anchor;
    stoa_err err = stoa_rocks_look(j, &state);
    if (!err && (from == 0 || from > state.last)) {
        err = STOA_FAIL(STOA_E_NOT_FOUND, "position %" PRIu64 " of %" PRIu64, from, state.last);
    }
    stoa_rocks_anchor(j, &anchor);
    if (!err && from <= anchor.last) { err = gone(from, &anchor); }
    if (!err) { err = read_from(j, from, &anchor, &state, v); }
    if (err == STOA_E_CORRUPT) { /* unless it was purged before the read had begun */
        stoa_rocks_anchor(j, &anchor);
        if (from <= anchor.last) { err = gone(from, &anchor); }
    }
    stoa_rocks_end_read(j);
    return err;
}

stoa_err stoa_rocks_read(stoa_journal *base, uint64_t from, stoa_err (*visit)(void *context, const stoa_block *block),
                         void *context)
{
    return read_for(base, from, &(const visitor){.block = visit, .context = context});
}

stoa_err stoa_rocks_read_stored(stoa_journal *base, uint64_t from,
                                stoa_err (*visit)(void *context, const void *bytes, size_t size_bytes), void *context)
{
    return read_for(base, from, &(const visitor){.stored = visit, .context = context});
}

stoa_err stoa_rocks_show(stoa_journal *base, const void *bytes, size_t size_bytes,
                         stoa_err (*visit)(void *context, const stoa_block *block), void *context)
{
    stoa_rocks *j = (stoa_rocks *)base;
    const stoa_keyring *keys = atomic_load_explicit(&j->keys, memory_order_acquire); /* acquire: its keys */
    return stoa_block_show(keys, bytes, size_bytes, visit, context);
}

static stoa_err lookup_in(const stoa_engine *engine, uint64_t id, uint64_t first, uint64_t last,
                          stoa_err (*visit)(void *context, uint64_t position), void *context)
{
    rocksdb_readoptions_t *options = rocksdb_readoptions_create();
    rocksdb_iterator_t *it = rocksdb_create_iterator_cf(engine->db, options, engine->families[STOA_FAMILY_INDEX]);
    char from[STOA_INDEX_KEY_BYTES];
    stoa_key_put(from, id);
    stoa_key_put(from + STOA_KEY_BYTES, first);

    stoa_err err = STOA_OK;
    for (rocksdb_iter_seek(it, from, sizeof from); rocksdb_iter_valid(it) && !err; rocksdb_iter_next(it)) {
        size_t bytes;
        const char *key = rocksdb_iter_key(it, &bytes);
        if (bytes != STOA_INDEX_KEY_BYTES) {
            err = STOA_FAIL(STOA_E_CORRUPT, "index key of %zu bytes", bytes);
            break;
        }
        uint64_t position = stoa_key_get(key + STOA_KEY_BYTES);
        if (memcmp(key, from, STOA_KEY_BYTES) != 0 || position > last) { break; }
        err = visit(context, position);
    }
    char *text = NULL;
    rocksdb_iter_get_error(it, &text);
    stoa_err broken = stoa_engine_error(text, "look up");
    rocksdb_iter_destroy(it);
    rocksdb_readoptions_destroy(options);
    return err ? err : broken;
}

/* --- what a look has in place of an index that is broken: the blocks, which have all of its entries */

typedef struct finding {
    uint64_t id;
    stoa_err (*visit)(void *context, uint64_t position);
    void *context;
} finding;

/* Entries are in no order, and may be there twice. */
static uint64_t next_of(const stoa_block_view *view, uint64_t id, uint64_t behind)
{
    uint64_t next = 0;
    for (uint32_t i = 0; i < view->block.index_count; i++) {
        stoa_index_entry entry = stoa_block_entry(view, i);
        if (entry.id == id && entry.position > behind && (next == 0 || entry.position < next)) { next = entry.position; }
    }
    return next;
}

static stoa_err find_in_block(void *context, const void *bytes, size_t size_bytes)
{
    const finding *f = context;
    (void)size_bytes;
    stoa_block_view view;
    stoa_block_peek(bytes, &view);
    stoa_err err = STOA_OK;
    for (uint64_t at = next_of(&view, f->id, 0); at && !err; at = next_of(&view, f->id, at)) { err = f->visit(f->context, at); }
    return err;
}

stoa_err stoa_rocks_lookup(stoa_journal *base, uint64_t id, stoa_err (*visit)(void *context, uint64_t position),
                             void *context)
{
    stoa_rocks *j = (stoa_rocks *)base;
    stoa_rocks_begin_read(j);
    stoa_journal_state state;
    stoa_err err = stoa_rocks_look(j, &state);
    bool broken = atomic_load(&j->index_broken);
    if (!err && broken && !j->looks) { err = STOA_FAIL(STOA_E_UNAVAILABLE, "the index is being made anew"); }
    if (!err && state.last >= state.first) {
        finding f = {id, visit, context};
        err = broken ? stoa_rocks_read_stored(base, state.first, find_in_block, &f)
                     : lookup_in(&j->engine, id, state.first, state.last, visit, context);
    }
    stoa_rocks_end_read(j);
    return err;
}
