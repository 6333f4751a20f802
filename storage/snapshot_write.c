/* snapshot_write.c - writing snapshots, and erasing what is not needed any more. See snapshot.h.
 *
 * The store remembers the manifests that are there and how many of their entries name each chunk. A snapshot under way is a
 * manifest that grows; what it puts is not counted before it has ended. Chunks of one that never ended are swept: once
 * behind open, and behind a snapshot that was given up.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "storage/snapshot.h"

#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "storage/snapshot_internal.h"

enum { BATCH_CHUNKS = 8, ERASED_AT_ONCE = 1024 };

/* How often chunks are named: open addressing, no removal but by a new count of all. */
typedef struct named {
    struct {
        stoa_hash256 hash;
        uint32_t count; /* 0: free */
    } *at;
    uint64_t used, slots; /* slots: a power of two, or 0 */
} named;

struct stoa_snapshot_store {
    stoa_journal *journal;
    stoa_snapshot **kept; /* manifests that are there, oldest first */
    uint32_t kept_count, kept_cap;
    uint64_t *broken; /* positions of manifests that do not hold */
    uint32_t broken_count;
    bool incomplete; /* what is there could not all be remembered: NOMEM */
    named named;
    bool sweep;              /* there may be chunks that nobody names */
    bool distrust;           /* what is stored may be rotten: the next snapshot puts everything anew */
    stoa_snapshot *building; /* NULL: none is under way */
    uint32_t last_image;
    stoa_side_entry batch[BATCH_CHUNKS];
    uint8_t (*keys)[STOA_CHUNK_KEY_BYTES];
    uint8_t *bytes; /* of the batch */
    uint32_t batch_count;
    uint64_t put_bytes;
};

/* --- the chunks that are named */

static uint64_t slot_of(const named *set, const stoa_hash256 *hash)
{
    uint64_t at;
    memcpy(&at, hash->at, sizeof at); /* a hash is random already */
    for (at &= set->slots - 1; set->at[at].count; at = (at + 1) & (set->slots - 1)) {
        if (memcmp(&set->at[at].hash, hash, sizeof *hash) == 0) { break; }
    }
    return at;
}

static bool is_named(const named *set, const stoa_hash256 *hash)
{
    return set->slots && set->at[slot_of(set, hash)].count;
}

static stoa_err grow(named *set, uint64_t more)
{
    uint64_t slots = set->slots ? set->slots : 64;
    while ((set->used + more) * 4 > slots * 3) { slots *= 2; }
    if (slots == set->slots) { return STOA_OK; }
    named next = {.slots = slots, .used = set->used};
    next.at = calloc(slots, sizeof *next.at);
    if (!next.at) { return STOA_FAIL(STOA_E_NOMEM, "%llu chunks", (unsigned long long)slots); }
    for (uint64_t i = 0; i < set->slots; i++) {
        if (set->at[i].count) { next.at[slot_of(&next, &set->at[i].hash)] = set->at[i]; }
    }
    free(set->at);
    *set = next;
    return STOA_OK;
}

/* Room was made before. */
static void name(named *set, const stoa_hash256 *hash)
{
    uint64_t at = slot_of(set, hash);
    set->used += set->at[at].count == 0;
    set->at[at].hash = *hash;
    set->at[at].count++;
}

static stoa_err name_all(named *set, const stoa_snapshot *snapshot)
{
    stoa_err err = grow(set, snapshot->info.chunks);
    for (uint32_t i = 0; i < STOA_SNAPSHOT_IMAGES && !err; i++) {
        for (uint64_t c = 0; c < snapshot->images[i].count; c++) { name(set, &snapshot->images[i].chunks[c].hash); }
    }
    return err;
}

static stoa_err count_anew(stoa_snapshot_store *store)
{
    named set = {0};
    stoa_err err = grow(&set, 1);
    for (uint32_t i = 0; i < store->kept_count && !err; i++) { err = name_all(&set, store->kept[i]); }
    if (err) {
        free(set.at);
        return err;
    }
    free(store->named.at);
    store->named = set;
    return STOA_OK;
}

/* --- life */

static stoa_err remember(void *context, stoa_snapshot *snapshot)
{
    stoa_snapshot_store *store = context;
    if (store->kept_count == store->kept_cap) {
        uint32_t cap = store->kept_cap * 2 + 8;
        stoa_snapshot **kept = realloc(store->kept, cap * sizeof *kept);
        if (!kept) {
            stoa_snapshot_close(snapshot);
            return STOA_FAIL(STOA_E_NOMEM, "%u snapshots", cap);
        }
        store->kept = kept;
        store->kept_cap = cap;
    }
    store->kept[store->kept_count++] = snapshot;
    return STOA_OK;
}

static void remember_broken(void *context, uint64_t position)
{
    stoa_snapshot_store *store = context;
    stoa_log_error("snapshot_broken", STOA_E_CORRUPT);
    uint64_t *broken = realloc(store->broken, (store->broken_count + 1) * sizeof *broken);
    store->incomplete |= !broken;
    if (!broken) { return; }
    broken[store->broken_count] = position;
    store->broken = broken;
    store->broken_count++;
}

static void forget(stoa_snapshot_store *store)
{
    for (uint32_t i = 0; i < store->kept_count; i++) { stoa_snapshot_close(store->kept[i]); }
    store->kept_count = store->broken_count = 0;
}

static stoa_err look(stoa_snapshot_store *store)
{
    forget(store);
    stoa_err err = stoa_manifests_visit(store->journal, remember, remember_broken, store);
    if (!err && store->incomplete) { err = STOA_FAIL(STOA_E_NOMEM, "snapshots"); }
    store->sweep = true;
    return err ? err : count_anew(store);
}

stoa_err stoa_snapshot_store_open(stoa_journal *journal, stoa_snapshot_store **out)
{
    stoa_snapshot_store *store = calloc(1, sizeof *store);
    if (!store) { return STOA_FAIL(STOA_E_NOMEM, "snapshot store"); }
    store->journal = journal;
    store->keys = malloc(BATCH_CHUNKS * sizeof *store->keys);
    store->bytes = malloc((size_t)BATCH_CHUNKS * STOA_SNAPSHOT_CHUNK);
    stoa_err err = store->keys && store->bytes ? look(store) : STOA_FAIL(STOA_E_NOMEM, "snapshot store");
    if (err) {
        stoa_snapshot_store_close(store);
        return err;
    }
    *out = store;
    return STOA_OK;
}

void stoa_snapshot_store_close(stoa_snapshot_store *store)
{
    if (!store) { return; }
    stoa_snapshot_abandon(store);
    forget(store);
    free(store->kept);
    free(store->broken);
    free(store->named.at);
    free(store->keys);
    free(store->bytes);
    free(store);
}

/* --- one snapshot */

void stoa_snapshot_abandon(stoa_snapshot_store *store)
{
    if (!store->building) { return; }
    stoa_snapshot_close(store->building);
    store->building = NULL;
    store->batch_count = 0;
    store->sweep = true;
}

/* A store that was rotten is empty now: nothing that is remembered of it holds. */
static stoa_err gave_up(stoa_snapshot_store *store, stoa_err err)
{
    stoa_snapshot_abandon(store);
    if (err == STOA_E_CORRUPT) {
        forget(store);
        (void)count_anew(store);
    }
    return err;
}

stoa_err stoa_snapshot_begin(stoa_snapshot_store *store, const stoa_snapshot_info *info)
{
    stoa_snapshot_abandon(store);
    const stoa_snapshot_info *last = stoa_snapshot_last(store);
    if (last && last->position >= info->position) {
        return STOA_FAIL(STOA_E_EXISTS, "there is a snapshot at %llu", (unsigned long long)last->position);
    }
    store->building = calloc(1, sizeof *store->building);
    if (!store->building) { return STOA_FAIL(STOA_E_NOMEM, "snapshot"); }
    store->building->journal = store->journal;
    store->building->info = *info;
    store->put_bytes = 0;
    store->last_image = 0;
    return STOA_OK;
}

static stoa_err add_entry(stoa_image *image, uint64_t number, const stoa_hash256 *hash)
{
    STOA_ASSERT(!image->count || image->chunks[image->count - 1].number < number);
    if (image->count == image->cap) {
        uint64_t cap = image->cap * 2 + 64;
        stoa_chunk *chunks = realloc(image->chunks, cap * sizeof *chunks);
        if (!chunks) { return STOA_FAIL(STOA_E_NOMEM, "%llu chunks", (unsigned long long)cap); }
        image->chunks = chunks;
        image->cap = cap;
    }
    image->chunks[image->count++] = (stoa_chunk){.number = number, .hash = *hash};
    return STOA_OK;
}

static stoa_err flush(stoa_snapshot_store *store)
{
    if (!store->batch_count) { return STOA_OK; }
    stoa_err err = store->journal->ops->put(store->journal, STOA_SPACE_SNAPSHOT, store->batch, store->batch_count, false);
    store->batch_count = 0;
    return err;
}

/* Into the batch, and that into the store when it is full. */
static stoa_err store_chunk(stoa_snapshot_store *store, const stoa_hash256 *hash, const void *bytes, uint32_t size_bytes)
{
    uint32_t i = store->batch_count++;
    uint8_t *copy = store->bytes + (size_t)i * STOA_SNAPSHOT_CHUNK;
    memcpy(copy, bytes, size_bytes);
    stoa_chunk_key(store->keys[i], hash);
    store->batch[i] = (stoa_side_entry){.key = store->keys[i], .key_bytes = STOA_CHUNK_KEY_BYTES, .value = copy,
                                        .value_bytes = size_bytes};
    store->put_bytes += size_bytes;
    return store->batch_count == BATCH_CHUNKS ? flush(store) : STOA_OK;
}

static bool all_zero(const uint8_t *bytes, uint32_t n)
{
    return n == 0 || (bytes[0] == 0 && memcmp(bytes, bytes + 1, n - 1) == 0);
}

stoa_err stoa_snapshot_put(stoa_snapshot_store *store, uint32_t image, uint64_t chunk, const void *bytes, uint32_t size_bytes)
{
    stoa_hash256 hash;
    STOA_ASSERT(store->building && image >= store->last_image && image < STOA_SNAPSHOT_IMAGES && size_bytes <= STOA_SNAPSHOT_CHUNK);
    store->last_image = image;
    if (all_zero(bytes, size_bytes)) { return STOA_OK; }
    stoa_hash256_parts(&hash, bytes, size_bytes, NULL, 0);
    stoa_err err = add_entry(&store->building->images[image], chunk, &hash);
    if (!err && (store->distrust || !is_named(&store->named, &hash))) { err = store_chunk(store, &hash, bytes, size_bytes); }
    return err ? gave_up(store, err) : STOA_OK;
}

/* The entry of that number in a list; NULL: that chunk is zero there. */
static const stoa_chunk *entry_of(const stoa_image *image, uint64_t number)
{
    uint64_t low = 0, high = image->count;
    while (low < high) {
        uint64_t middle = low + (high - low) / 2;
        if (image->chunks[middle].number < number) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low < image->count && image->chunks[low].number == number ? &image->chunks[low] : NULL;
}

bool stoa_snapshot_same(stoa_snapshot_store *store, uint32_t image, uint64_t chunk, uint32_t size_bytes)
{
    if (!store->kept_count || store->distrust) { return false; }
    const stoa_image *before = &store->kept[store->kept_count - 1]->images[image];
    if (chunk * STOA_SNAPSHOT_CHUNK + size_bytes > before->bytes || stoa_chunk_bytes(before, chunk) != size_bytes) { return false; }
    const stoa_chunk *entry = entry_of(before, chunk);
    store->last_image = image;
    return !entry || add_entry(&store->building->images[image], chunk, &entry->hash) == STOA_OK;
}

static stoa_err put_manifest(stoa_snapshot_store *store, uint8_t *bytes, size_t size_bytes)
{
    uint32_t parts = (uint32_t)((size_bytes + STOA_MANIFEST_PART - 1) / STOA_MANIFEST_PART);
    for (uint32_t part = 0; part < parts; part++) {
        uint8_t key[STOA_MANIFEST_KEY_BYTES];
        size_t at = (size_t)part * STOA_MANIFEST_PART, left = size_bytes - at;
        stoa_manifest_key(key, store->building->info.position, part);
        stoa_side_entry entry = {.key = key, .key_bytes = sizeof key, .value = bytes + at,
                                 .value_bytes = (uint32_t)(left < STOA_MANIFEST_PART ? left : STOA_MANIFEST_PART)};
        stoa_err err = store->journal->ops->put(store->journal, STOA_SPACE_SNAPSHOT, &entry, 1, part + 1 == parts);
        if (err) { return err; }
    }
    return STOA_OK;
}

static stoa_err keep(stoa_snapshot_store *store)
{
    stoa_snapshot *snapshot = store->building;
    store->building = NULL;
    store->distrust = false;
    stoa_err err = remember(store, snapshot);
    return err ? err : name_all(&store->named, snapshot);
}

stoa_err stoa_snapshot_end(stoa_snapshot_store *store, const uint64_t image_bytes[STOA_SNAPSHOT_IMAGES],
                           stoa_snapshot_info *info_out, uint64_t *put_bytes_out)
{
    stoa_snapshot *snapshot = store->building;
    for (uint32_t i = 0; i < STOA_SNAPSHOT_IMAGES; i++) { snapshot->images[i].bytes = image_bytes[i]; }
    size_t size_bytes = stoa_manifest_encode(snapshot, NULL);
    uint8_t *bytes = malloc(size_bytes);
    stoa_err err = bytes ? flush(store) : STOA_FAIL(STOA_E_NOMEM, "manifest of %zu bytes", size_bytes);
    if (!err) { (void)stoa_manifest_encode(snapshot, bytes); }
    if (!err) { err = put_manifest(store, bytes, size_bytes); }
    free(bytes);
    if (err) { return gave_up(store, err); }
    *info_out = snapshot->info;
    *put_bytes_out = store->put_bytes;
    return keep(store);
}

/* --- erasing */

/* Of the position; 0: all before the oldest that is kept. */
static stoa_err erase_manifest(stoa_snapshot_store *store, uint64_t position)
{
    uint8_t from[STOA_MANIFEST_KEY_BYTES], to[STOA_MANIFEST_KEY_BYTES];
    uint64_t end = position ? position + 1 : store->kept_count ? store->kept[0]->info.position : 0;
    stoa_manifest_key(from, position, 0);
    stoa_manifest_key(to, end, 0);
    if (end == 0) { to[0] = 'n'; } /* behind all of them */
    return store->journal->ops->erase(store->journal, STOA_SPACE_SNAPSHOT, from, sizeof from, to, sizeof to);
}

static stoa_err erase_chunks(stoa_snapshot_store *store, const stoa_hash256 *hashes, uint64_t count)
{
    static _Thread_local uint8_t keys[ERASED_AT_ONCE][STOA_CHUNK_KEY_BYTES];
    static _Thread_local stoa_side_entry entries[ERASED_AT_ONCE];
    stoa_err err = STOA_OK;
    while (count && !err) {
        uint32_t n = count < ERASED_AT_ONCE ? (uint32_t)count : ERASED_AT_ONCE;
        for (uint32_t i = 0; i < n; i++) {
            stoa_chunk_key(keys[i], &hashes[i]);
            entries[i] = (stoa_side_entry){.key = keys[i], .key_bytes = STOA_CHUNK_KEY_BYTES};
        }
        err = store->journal->ops->put(store->journal, STOA_SPACE_SNAPSHOT, entries, n, false);
        hashes += n;
        count -= n;
    }
    return err;
}

/* Erase what is named by this one and by none of those that are kept. */
static stoa_err erase_left(stoa_snapshot_store *store, const stoa_snapshot *gone)
{
    stoa_hash256 *hashes = malloc((gone->info.chunks + 1) * sizeof *hashes);
    uint64_t count = 0;
    if (!hashes) { return STOA_FAIL(STOA_E_NOMEM, "%llu chunks", (unsigned long long)gone->info.chunks); }
    for (uint32_t i = 0; i < STOA_SNAPSHOT_IMAGES; i++) {
        for (uint64_t c = 0; c < gone->images[i].count; c++) {
            const stoa_hash256 *hash = &gone->images[i].chunks[c].hash;
            if (!is_named(&store->named, hash)) { hashes[count++] = *hash; }
        }
    }
    stoa_err err = erase_chunks(store, hashes, count);
    free(hashes);
    return err;
}

/* The manifest first: a crash between leaves chunks that nobody names, which the next open sweeps. */
static stoa_err let_go(stoa_snapshot_store *store, uint32_t index)
{
    stoa_snapshot *gone = store->kept[index];
    stoa_err err = erase_manifest(store, gone->info.position);
    if (err) { return err; }
    memmove(store->kept + index, store->kept + index + 1, (--store->kept_count - index) * sizeof *store->kept);
    err = count_anew(store);
    if (!err) { err = erase_left(store, gone); }
    if (err) { store->sweep = true; }
    stoa_snapshot_close(gone);
    return err;
}

typedef struct sweeping {
    const stoa_snapshot_store *store;
    stoa_hash256 *hashes;
    uint64_t count, cap;
} sweeping;

static stoa_err sweep_one(void *context, const stoa_side_entry *entry)
{
    sweeping *s = context;
    stoa_hash256 hash;
    const uint8_t *key = entry->key;
    if (entry->key_bytes != STOA_CHUNK_KEY_BYTES || key[0] != 'c') { return STOA_E_CANCELLED; }
    memcpy(hash.at, key + 1, sizeof hash.at);
    if (is_named(&s->store->named, &hash)) { return STOA_OK; }
    if (s->count == s->cap) {
        uint64_t cap = s->cap * 2 + 64;
        stoa_hash256 *hashes = realloc(s->hashes, cap * sizeof *hashes);
        if (!hashes) { return STOA_FAIL(STOA_E_NOMEM, "%llu chunks", (unsigned long long)cap); }
        s->hashes = hashes;
        s->cap = cap;
    }
    s->hashes[s->count++] = hash;
    return STOA_OK;
}

/* What cannot be looked through stays: it costs room, and those that are named are in it. */
static stoa_err sweep(stoa_snapshot_store *store)
{
    sweeping s = {.store = store};
    stoa_err err = store->journal->ops->scan(store->journal, STOA_SPACE_SNAPSHOT, "c", 1, sweep_one, &s);
    if (err == STOA_E_CORRUPT) {
        stoa_log_error("snapshot_chunk_rotten", err);
        store->distrust = true;
    }
    if (err == STOA_E_CANCELLED || err == STOA_E_CORRUPT) { err = STOA_OK; }
    if (!err) { err = erase_chunks(store, s.hashes, s.count); }
    free(s.hashes);
    store->sweep = err != STOA_OK;
    return err;
}

stoa_err stoa_snapshot_prune(stoa_snapshot_store *store, uint32_t keep_count, uint64_t at_most)
{
    stoa_err err = STOA_OK;
    STOA_ASSERT(!store->building); /* its chunks are not counted yet */
    while (store->broken_count && !err) {
        err = erase_manifest(store, store->broken[store->broken_count - 1]);
        store->broken_count -= !err;
    }
    while (store->kept_count && store->kept[store->kept_count - 1]->info.position > at_most && !err) {
        err = let_go(store, store->kept_count - 1);
    }
    while (store->kept_count > keep_count && !err) { err = let_go(store, 0); }
    if (!err && store->sweep) { err = sweep(store); }
    return err ? gave_up(store, err) : STOA_OK;
}

const stoa_snapshot_info *stoa_snapshot_last(const stoa_snapshot_store *store)
{
    return store->kept_count ? &store->kept[store->kept_count - 1]->info : NULL;
}

const stoa_snapshot_info *stoa_snapshot_first(const stoa_snapshot_store *store)
{
    return store->kept_count ? &store->kept[0]->info : NULL;
}

/* Which of its chunks is rotten is not known, and the others may share it: all are put anew. */
stoa_err stoa_snapshot_drop(stoa_snapshot_store *store, uint64_t position)
{
    stoa_err err = STOA_OK;
    store->distrust = true;
    for (uint32_t i = store->kept_count; i-- > 0 && !err;) {
        if (store->kept[i]->info.position == position) { err = let_go(store, i); }
    }
    return err ? gave_up(store, err) : STOA_OK;
}
