/* journal.c - storage/sim/journal.h: blocks as byte strings in an array.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "storage/sim/journal.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/array.h"
#include "base/log.h"
#include "storage/block.h"
#include "storage/side.h"
#include "storage/sim/disk.h"

static const char scheme_prefix[] = "sim:";

stoa_err stoa_sim_disk_failed(const stoa_sim_handle *h)
{
    return STOA_FAIL(h->failed, "the simulated journal is unusable since an earlier failure");
}

/* Walk from the first block as far as the chain holds. Errors: CORRUPT (the mark names another block). */
static stoa_err follow(const stoa_sim_disk *disk, stoa_block_walk *walk, size_t *good_out)
{
    const stoa_sim_mark *m = &disk->mark;
    bool found = m->position <= disk->anchor.last; /* a crash may set the mark back behind a purge */
    stoa_block block;
    size_t i = 0;
    while (i < disk->count && !stoa_block_walk_next(walk, disk->blocks[i].bytes, disk->blocks[i].size_bytes, &block)) {
        i++;
        found |= walk->at.last == m->position && memcmp(&walk->at.hash, &m->hash, sizeof m->hash) == 0;
    }
    *good_out = i;
    if (walk->at.last < m->position) {
        return STOA_FAIL(STOA_E_CORRUPT, "position %" PRIu64 ": the log breaks below the commit mark at %" PRIu64,
                         walk->at.last + 1, m->position);
    }
    return found ? STOA_OK
                 : STOA_FAIL(STOA_E_CORRUPT, "position %" PRIu64 ": not the block of the commit mark", m->position);
}

/* The mark must find its block; what breaks above it is cut. Leaves the end of the chain in walk->at. */
static stoa_err check(stoa_sim_disk *disk, stoa_block_walk *walk)
{
    size_t good;
    stoa_err err = follow(disk, walk, &good);
    if (err || good == disk->count) { return err; }

    stoa_log(STOA_LOG_ERROR, "journal_tail_cut", STOA_KV("disk", disk->name), STOA_KU("kept", walk->at.last),
             STOA_KU("mark", disk->mark.position), STOA_KU("blocks", disk->count - good));
    disk->cut_blocks += disk->count - good;
    stoa_sim_disk_cut(disk, good);
    return STOA_OK;
}

static stoa_err sim_open(const char *path, stoa_journal **out)
{
    size_t prefix_bytes = sizeof scheme_prefix - 1;
    if (strncmp(path, scheme_prefix, prefix_bytes) != 0) {
        return STOA_FAIL(STOA_E_INVALID, "%s: expected sim:<name>", path);
    }
    stoa_sim_disk *disk;
    stoa_err err = stoa_sim_disk_get(path + prefix_bytes, 0, &disk);
    if (err) { return err; }
    if (disk->open) { return STOA_FAIL(STOA_E_DENIED, "%s is open already", path); }

    stoa_block_walk walk = {.linked = true, .as_stored = true, .at = disk->anchor};
    err = check(disk, &walk);
    stoa_journal_state at = walk.at;
    stoa_block_walk_deinit(&walk);
    if (err) { return err; }

    stoa_sim_handle *h = calloc(1, sizeof *h);
    if (!h) { return STOA_FAIL(STOA_E_NOMEM, "journal %s", path); }
    h->journal.ops = &stoa_journal_sim;
    h->disk = disk;
    h->state = at;
    h->state.first = disk->anchor.last + 1;
    h->state.begun = disk->anchor.begun;
    h->state.proven = disk->mark.position > disk->anchor.last ? disk->mark.position : disk->anchor.last;
    disk->synced = disk->count; /* as RocksDB does: what its recovery found it writes into table files, and syncs those */
    disk->open = h;
    *out = &h->journal;
    return STOA_OK;
}

stoa_err stoa_sim_disk_sync(stoa_sim_handle *h)
{
    stoa_sim_disk *disk = h->disk;
    disk->syncs++;
    if (disk->syncs_to_failure > 0 && --disk->syncs_to_failure == 0) {
        h->failed = STOA_E_IO;
        return STOA_FAIL(STOA_E_IO, "disk %s: injected failure of sync %" PRIu64, disk->name, disk->syncs);
    }
    disk->synced = disk->count;
    disk->mark = (stoa_sim_mark){.position = h->state.last, .hash = h->state.hash};
    h->state.proven = h->state.last;
    return STOA_OK;
}

static stoa_err reserve(stoa_sim_disk *disk)
{
    stoa_sim_stored *blocks = stoa_array_room(disk->blocks, disk->count, &disk->cap, sizeof *blocks);
    if (!blocks) { return STOA_FAIL(STOA_E_NOMEM, "%zu blocks", disk->count + 1); }
    disk->blocks = blocks;
    return STOA_OK;
}

/* A nonce that repeats with the seed: nothing here is secret. */
static void draw_nonce(stoa_sim_disk *disk, uint8_t nonce[STOA_NONCE_BYTES])
{
    uint64_t words[2] = {stoa_random_next(&disk->side_random), stoa_random_next(&disk->side_random)};
    memcpy(nonce, words, STOA_NONCE_BYTES);
}

static stoa_err store(stoa_sim_handle *h, const stoa_block *block, stoa_hash256 *hash_out)
{
    stoa_sim_disk *disk = h->disk;
    stoa_err err = reserve(disk);
    if (err) { return err; }
    stoa_block plain = *block;
    plain.key = 0;
    size_t size_bytes = stoa_block_bytes(&plain) + (h->keys ? STOA_SEAL_BYTES : 0);
    uint8_t *bytes = malloc(size_bytes), nonce[STOA_NONCE_BYTES];
    if (!bytes) { return STOA_FAIL(STOA_E_NOMEM, "block of %zu bytes", size_bytes); }
    if (h->keys) {
        draw_nonce(disk, nonce);
        err = stoa_block_seal(&plain, &h->state.hash, h->keys, nonce, bytes, hash_out);
    } else {
        stoa_block_encode(&plain, &h->state.hash, bytes, hash_out);
    }
    disk->blocks[disk->count] = (stoa_sim_stored){.bytes = bytes, .size_bytes = size_bytes, .last = stoa_block_last(block)};
    if (err) {
        free(bytes);
    } else {
        disk->count++;
    }
    return err;
}

static stoa_err refuse_when_full(stoa_sim_handle *h)
{
    h->full = h->disk->appends_refused > 0;
    if (!h->full) { return STOA_OK; }
    h->disk->appends_refused--;
    return STOA_FAIL(STOA_E_FULL, "disk %s is full", h->disk->name);
}

static stoa_err sim_append(stoa_journal *journal, const stoa_block *block, bool sync)
{
    stoa_sim_handle *h = (stoa_sim_handle *)journal;
    if (h->failed) { return stoa_sim_disk_failed(h); }
    stoa_err err = stoa_chain_admit(&h->state, block);
    if (!err) { err = refuse_when_full(h); }
    if (err) { return err; }

    stoa_hash256 hash;
    err = store(h, block, &hash);
    if (err) { return h->failed = err; }
    stoa_chain_advance(&h->state, block, &hash);
    return sync ? stoa_sim_disk_sync(h) : STOA_OK;
}

static stoa_err sim_append_stored(stoa_journal *journal, const void *bytes, size_t size_bytes, bool sync)
{
    stoa_sim_handle *h = (stoa_sim_handle *)journal;
    if (h->failed) { return stoa_sim_disk_failed(h); }
    stoa_block_view view;
    stoa_err err = stoa_chain_admit_stored(&h->state, bytes, size_bytes, &view);
    if (!err) { err = refuse_when_full(h); }
    if (err) { return err; }

    err = reserve(h->disk);
    uint8_t *copy = err ? NULL : malloc(size_bytes);
    if (!err && !copy) { err = STOA_FAIL(STOA_E_NOMEM, "block of %zu bytes", size_bytes); }
    if (err) { return h->failed = err; }
    memcpy(copy, bytes, size_bytes);
    h->disk->blocks[h->disk->count++] =
        (stoa_sim_stored){.bytes = copy, .size_bytes = size_bytes, .last = stoa_block_last(&view.block)};
    stoa_chain_advance(&h->state, &view.block, &view.hash);
    return sync ? stoa_sim_disk_sync(h) : STOA_OK;
}

static stoa_err sim_sync(stoa_journal *journal)
{
    stoa_sim_handle *h = (stoa_sim_handle *)journal;
    if (h->failed) { return stoa_sim_disk_failed(h); }
    stoa_err err = h->full ? refuse_when_full(h) : STOA_OK; /* as the real one: an append has found no space */
    if (!err) { err = stoa_sim_disk_sync(h); }
    if (!err) { h->disk->mark_on_platter = h->disk->mark; }
    return err;
}

/* Who visits: one of the two. */
typedef struct visitor {
    stoa_err (*block)(void *context, const stoa_block *block);
    stoa_err (*stored)(void *context, const void *bytes, size_t size_bytes);
    void *context;
    bool shut; /* block: payloads need not be opened */
} visitor;

static stoa_err walk_from(const stoa_sim_disk *disk, uint64_t from, uint64_t last, stoa_block_walk *walk, const visitor *v)
{
    stoa_err err = STOA_OK;
    stoa_block block;
    for (size_t i = stoa_sim_disk_block(disk, from); !err && walk->at.last < last; i++) {
        if (i == disk->count) { return STOA_FAIL(STOA_E_CORRUPT, "position %" PRIu64 " is gone", walk->at.last + 1); }
        const stoa_sim_stored *at = &disk->blocks[i];
        err = stoa_block_walk_next(walk, at->bytes, at->size_bytes, &block);
        if (err) { return err; }
        err = v->block ? v->block(v->context, &block) : v->stored(v->context, at->bytes, at->size_bytes);
    }
    return err;
}

static stoa_err read_for(stoa_journal *journal, uint64_t from, const visitor *v)
{
    stoa_sim_handle *h = (stoa_sim_handle *)journal;
    if (h->failed) { return stoa_sim_disk_failed(h); }
    if (from == 0 || from > h->state.last) {
        return STOA_FAIL(STOA_E_NOT_FOUND, "position %" PRIu64 " of %" PRIu64, from, h->state.last);
    }
    if (from < h->state.first) { return STOA_FAIL(STOA_E_GONE, "position %" PRIu64 ": purged up to %" PRIu64, from, h->state.first - 1); }
    stoa_block_walk walk = {.at.last = from - 1};
    if (from == h->state.first) { walk = (stoa_block_walk){.at = h->disk->anchor, .linked = true}; }
    walk.as_stored = v->stored || v->shut;
    walk.keys = h->keys;
    stoa_err err = walk_from(h->disk, from, h->state.last, &walk, v);
    stoa_block_walk_deinit(&walk);
    return err;
}

static stoa_err sim_read(stoa_journal *journal, uint64_t from,
                         stoa_err (*visit)(void *context, const stoa_block *block), void *context)
{
    return read_for(journal, from, &(const visitor){.block = visit, .context = context});
}

static stoa_err sim_read_stored(stoa_journal *journal, uint64_t from,
                                stoa_err (*visit)(void *context, const void *bytes, size_t size_bytes), void *context)
{
    return read_for(journal, from, &(const visitor){.stored = visit, .context = context});
}

static stoa_err sim_show(stoa_journal *journal, const void *bytes, size_t size_bytes,
                         stoa_err (*visit)(void *context, const stoa_block *block), void *context)
{
    return stoa_block_show(((const stoa_sim_handle *)journal)->keys, bytes, size_bytes, visit, context);
}

/* The smallest position above after that the block indexes under id; 0 when there is none. */
static uint64_t next_match(const stoa_block *block, uint64_t id, uint64_t after)
{
    uint64_t best = 0;
    for (uint32_t i = 0; i < block->index_count; i++) {
        const stoa_index_entry *entry = &block->index[i];
        if (entry->id == id && entry->position > after && (best == 0 || entry->position < best)) {
            best = entry->position;
        }
    }
    return best;
}

typedef struct search {
    uint64_t id;
    stoa_err (*visit)(void *context, uint64_t position);
    void *context;
} search;

static stoa_err visit_matches(void *context, const stoa_block *block)
{
    const search *s = context;
    stoa_err err = STOA_OK;
    for (uint64_t at = next_match(block, s->id, 0); at && !err; at = next_match(block, s->id, at)) {
        err = s->visit(s->context, at);
    }
    return err;
}

static stoa_err sim_lookup(stoa_journal *journal, uint64_t id, stoa_err (*visit)(void *context, uint64_t position),
                           void *context)
{
    stoa_sim_handle *h = (stoa_sim_handle *)journal;
    if (h->failed) { return stoa_sim_disk_failed(h); }
    if (h->state.last < h->state.first) { return STOA_OK; }
    search s = {.id = id, .visit = visit, .context = context};
    return read_for(journal, h->state.first, &(const visitor){.block = visit_matches, .context = &s, .shut = true});
}

static void sim_state(stoa_journal *journal, stoa_journal_state *out)
{
    *out = ((const stoa_sim_handle *)journal)->state;
}

static void sim_measure(stoa_journal *journal, stoa_journal_figures *out)
{
    const stoa_sim_disk *disk = ((const stoa_sim_handle *)journal)->disk;
    *out = (stoa_journal_figures){0};
    for (size_t i = 0; disk && i < disk->count; i++) {
        out->blocks++;
        out->log_bytes += disk->blocks[i].size_bytes;
    }
}

/* Lookups walk the blocks: there is no index. */
static stoa_err sim_reindex(stoa_journal *journal, stoa_reindexed *out)
{
    const stoa_sim_handle *h = (const stoa_sim_handle *)journal;
    if (h->failed) { return stoa_sim_disk_failed(h); }
    *out = (stoa_reindexed){0};
    return STOA_OK;
}

/* A simulated disk is full without a warning. */
static uint64_t sim_room(stoa_journal *journal)
{
    (void)journal;
    return UINT64_MAX;
}

/* --- the side store */

/* Whether the disk takes a put now. */
static stoa_err may_put(stoa_sim_handle *h)
{
    stoa_sim_disk *disk = h->disk;
    if (disk->appends_refused > 0) { return STOA_FAIL(STOA_E_FULL, "disk %s is full", disk->name); }
    if (disk->puts_to_failure > 0 && --disk->puts_to_failure == 0) {
        return STOA_FAIL(STOA_E_IO, "disk %s: injected failure of a put", disk->name);
    }
    return STOA_OK;
}

/* Entries with their values as they are stored, one after the other. */
static stoa_err wrap_and_put(stoa_sim_handle *h, stoa_space space, const stoa_side_entry *entries, uint32_t count)
{
    size_t room = 1, used = 0;
    for (uint32_t i = 0; i < count; i++) { room += entries[i].value_bytes + STOA_SIDE_FORM_BYTES_MAX; }
    stoa_side_entry *wrapped = calloc(count + 1, sizeof *wrapped);
    uint8_t *bytes = malloc(room);
    stoa_err err = wrapped && bytes ? STOA_OK : STOA_FAIL(STOA_E_NOMEM, "simulated side store");
    for (uint32_t i = 0; i < count && !err; i++) {
        wrapped[i] = entries[i];
        if (!entries[i].value) { continue; }
        uint8_t nonce[STOA_NONCE_BYTES] = {0};
        if (h->keys) { draw_nonce(h->disk, nonce); }
        err = stoa_side_wrap(space, &entries[i], h->keys, nonce, bytes + used, &wrapped[i].value_bytes);
        wrapped[i].value = bytes + used;
        used += wrapped[i].value_bytes;
    }
    if (!err) { err = stoa_sim_side_put(&h->disk->side, space, wrapped, count); }
    free(wrapped);
    free(bytes);
    return err;
}

static void sync_side(stoa_sim_handle *h)
{
    h->disk->synced = h->disk->count; /* a side store is not ahead of its log */
    h->disk->mark = h->disk->mark_on_platter = (stoa_sim_mark){.position = h->state.last, .hash = h->state.hash};
    h->state.proven = h->state.last;
    stoa_sim_side_sync(&h->disk->side);
}

static stoa_err sim_put(stoa_journal *journal, stoa_space space, const stoa_side_entry *entries, uint32_t count,
                        bool sync)
{
    stoa_sim_handle *h = (stoa_sim_handle *)journal;
    if (h->failed) { return stoa_sim_disk_failed(h); }
    stoa_err err = stoa_side_check(space, entries, count);
    if (!err) { err = may_put(h); }
    if (!err) { err = wrap_and_put(h, space, entries, count); }
    if (!err && sync) { sync_side(h); }
    return err;
}

static stoa_err sim_put_stored(stoa_journal *journal, stoa_space space, const stoa_side_entry *entries, uint32_t count, bool sync)
{
    stoa_sim_handle *h = (stoa_sim_handle *)journal;
    if (h->failed) { return stoa_sim_disk_failed(h); }
    stoa_err err = stoa_side_check_stored(space, entries, count);
    if (!err) { err = may_put(h); }
    if (!err) { err = stoa_sim_side_put(&h->disk->side, space, entries, count); }
    if (!err && sync) { sync_side(h); }
    return err;
}

static stoa_err sim_erase(stoa_journal *journal, stoa_space space, const void *from, uint32_t from_bytes, const void *to,
                          uint32_t to_bytes)
{
    stoa_sim_handle *h = (stoa_sim_handle *)journal;
    if (h->failed) { return stoa_sim_disk_failed(h); }
    stoa_err err = stoa_side_check_range(space, from_bytes, to_bytes);
    if (!err) { err = may_put(h); }
    return err ? err : stoa_sim_side_erase(&h->disk->side, space, from, from_bytes, to, to_bytes);
}

typedef struct scan {
    const stoa_sim_handle *journal;
    stoa_space space;
    stoa_side_room room;
    stoa_err (*visit)(void *context, const stoa_side_entry *entry);
    void *context;
} scan;

static stoa_err unwrap_and_visit(void *context, const stoa_side_entry *kept)
{
    scan *s = context;
    stoa_side_entry entry = *kept;
    stoa_err err = stoa_side_unwrap(s->space, &entry, s->journal->keys, &s->room);
    return err ? err : s->visit(s->context, &entry);
}

static stoa_err sim_scan(stoa_journal *journal, stoa_space space, const void *from, uint32_t from_bytes,
                         stoa_err (*visit)(void *context, const stoa_side_entry *entry), void *context)
{
    stoa_sim_handle *h = (stoa_sim_handle *)journal;
    if (h->failed) { return stoa_sim_disk_failed(h); }
    stoa_err err = stoa_side_check_range(space, from_bytes, 0);
    scan s = {.journal = h, .space = space, .visit = visit, .context = context};
    if (!err) { err = stoa_sim_side_scan(&h->disk->side, space, from, from_bytes, unwrap_and_visit, &s); }
    free(s.room.at);
    return err;
}

static stoa_err sim_scan_stored(stoa_journal *journal, stoa_space space, const void *from, uint32_t from_bytes,
                                stoa_err (*visit)(void *context, const stoa_side_entry *entry), void *context)
{
    const stoa_sim_handle *h = (const stoa_sim_handle *)journal;
    if (h->failed) { return stoa_sim_disk_failed(h); }
    stoa_err err = stoa_side_check_range(space, from_bytes, 0);
    return err ? err : stoa_sim_side_scan(&h->disk->side, space, from, from_bytes, visit, context);
}

static void sim_seal(stoa_journal *journal, const struct stoa_keyring *keys)
{
    ((stoa_sim_handle *)journal)->keys = keys;
}

static void sim_close(stoa_journal *journal)
{
    if (!journal) { return; }
    stoa_sim_handle *h = (stoa_sim_handle *)journal;
    if (!h->failed && !sim_sync(journal)) { stoa_sim_side_sync(&h->disk->side); }
    stoa_sim_disk_part(h);
    free(h);
}

const stoa_journal_ops stoa_journal_sim = {.scheme = "sim",
                                           .open = sim_open,
                                           .seal = sim_seal,
                                           .append = sim_append,
                                           .begin = stoa_sim_begin,
                                           .append_stored = sim_append_stored,
                                           .sync = sim_sync,
                                           .read = sim_read,
                                           .read_stored = sim_read_stored,
                                           .show = sim_show,
                                           .lookup = sim_lookup,
                                           .state = sim_state,
                                           .measure = sim_measure,
                                           .reindex = sim_reindex,
                                           .room = sim_room,
                                           .purge = stoa_sim_purge,
                                           .put = sim_put,
                                           .erase = sim_erase,
                                           .scan = sim_scan,
                                           .scan_stored = sim_scan_stored,
                                           .put_stored = sim_put_stored,
                                           .close = sim_close};
