/* snapshot.c - manifests, and reading what they name. See snapshot.h.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "storage/snapshot.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "storage/snapshot_internal.h"

enum { HEADER_BYTES = 64, IMAGE_BYTES = 16, ENTRY_BYTES = 40, HASH_BYTES = 32, MANIFEST_MAX = 1 << 30 };
static const uint8_t magic[4] = {'S', 'T', 'S', '1'};

static void put_le(uint8_t *at, uint64_t value, unsigned bytes)
{
    for (unsigned i = 0; i < bytes; i++) { at[i] = (uint8_t)(value >> (8 * i)); }
}

static uint64_t get_le(const uint8_t *at, unsigned bytes)
{
    uint64_t value = 0;
    for (unsigned i = 0; i < bytes; i++) { value |= (uint64_t)at[i] << (8 * i); }
    return value;
}

static void put_be(uint8_t *at, uint64_t value, unsigned bytes)
{
    for (unsigned i = 0; i < bytes; i++) { at[bytes - 1 - i] = (uint8_t)(value >> (8 * i)); }
}

void stoa_chunk_key(uint8_t key[STOA_CHUNK_KEY_BYTES], const stoa_hash256 *hash)
{
    key[0] = 'c';
    memcpy(key + 1, hash->at, sizeof hash->at);
}

void stoa_manifest_key(uint8_t key[STOA_MANIFEST_KEY_BYTES], uint64_t position, uint32_t part)
{
    key[0] = 'm';
    put_be(key + 1, position, 8);
    put_be(key + 9, part, 4);
}

uint32_t stoa_chunk_bytes(const stoa_image *image, uint64_t number)
{
    uint64_t at = number * STOA_SNAPSHOT_CHUNK;
    return image->bytes - at < STOA_SNAPSHOT_CHUNK ? (uint32_t)(image->bytes - at) : STOA_SNAPSHOT_CHUNK;
}

/* --- manifests as bytes */

static void count(stoa_snapshot *snapshot)
{
    snapshot->info.chunks = snapshot->info.bytes = 0;
    for (uint32_t i = 0; i < STOA_SNAPSHOT_IMAGES; i++) {
        const stoa_image *image = &snapshot->images[i];
        snapshot->info.chunks += image->count;
        for (uint64_t c = 0; c < image->count; c++) { snapshot->info.bytes += stoa_chunk_bytes(image, image->chunks[c].number); }
    }
}

size_t stoa_manifest_encode(stoa_snapshot *snapshot, uint8_t *out)
{
    size_t bytes = HEADER_BYTES + HASH_BYTES;
    for (uint32_t i = 0; i < STOA_SNAPSHOT_IMAGES; i++) { bytes += IMAGE_BYTES + snapshot->images[i].count * ENTRY_BYTES; }
    if (!out) { return bytes; }
    count(snapshot);
    uint8_t *at = out;
    memcpy(at, magic, sizeof magic);
    put_le(at + 4, STOA_SNAPSHOT_IMAGES, 4);
    put_le(at + 8, snapshot->info.position, 8);
    put_le(at + 16, snapshot->info.epoch, 8);
    put_le(at + 24, snapshot->info.wall_ns, 8);
    memcpy(at + 32, snapshot->info.block.at, HASH_BYTES);
    at += HEADER_BYTES;
    for (uint32_t i = 0; i < STOA_SNAPSHOT_IMAGES; i++) {
        const stoa_image *image = &snapshot->images[i];
        put_le(at, image->bytes, 8);
        put_le(at + 8, image->count, 8);
        at += IMAGE_BYTES;
        for (uint64_t c = 0; c < image->count; c++, at += ENTRY_BYTES) {
            put_le(at, image->chunks[c].number, 8);
            memcpy(at + 8, image->chunks[c].hash.at, HASH_BYTES);
        }
    }
    stoa_hash256_parts(&snapshot->info.hash, out, (size_t)(at - out), NULL, 0);
    memcpy(at, snapshot->info.hash.at, HASH_BYTES);
    return bytes;
}

/* One image's list, and the bytes behind it; NULL: it is not what it says. */
static const uint8_t *decode_image(stoa_image *image, const uint8_t *at, const uint8_t *end)
{
    if (end - at < IMAGE_BYTES) { return NULL; }
    image->bytes = get_le(at, 8);
    image->count = get_le(at + 8, 8);
    at += IMAGE_BYTES;
    if (image->count > (uint64_t)(end - at) / ENTRY_BYTES) { return NULL; }
    image->chunks = calloc(image->count + 1, sizeof *image->chunks);
    if (!image->chunks) { return NULL; }
    uint64_t chunks = image->bytes / STOA_SNAPSHOT_CHUNK + (image->bytes % STOA_SNAPSHOT_CHUNK != 0), least = 0;
    for (uint64_t c = 0; c < image->count; c++, at += ENTRY_BYTES) {
        image->chunks[c].number = get_le(at, 8);
        memcpy(image->chunks[c].hash.at, at + 8, HASH_BYTES);
        if (image->chunks[c].number < least || image->chunks[c].number >= chunks) { return NULL; }
        least = image->chunks[c].number + 1;
    }
    return at;
}

static stoa_err corrupt(const char *what)
{
    return STOA_FAIL(STOA_E_CORRUPT, "snapshot: %s", what);
}

stoa_err stoa_manifest_decode(stoa_journal *journal, const uint8_t *bytes, size_t size_bytes, stoa_snapshot **out)
{
    stoa_hash256 hash;
    if (size_bytes < HEADER_BYTES + HASH_BYTES || memcmp(bytes, magic, sizeof magic) != 0) { return corrupt("no manifest"); }
    const uint8_t *end = bytes + size_bytes - HASH_BYTES, *at = bytes + HEADER_BYTES;
    stoa_hash256_parts(&hash, bytes, (size_t)(end - bytes), NULL, 0);
    if (memcmp(hash.at, end, HASH_BYTES) != 0) { return corrupt("the manifest's hash does not match its bytes"); }
    if (get_le(bytes + 4, 4) != STOA_SNAPSHOT_IMAGES) { return corrupt("of another version"); }
    stoa_snapshot *snapshot = calloc(1, sizeof *snapshot);
    if (!snapshot) { return STOA_FAIL(STOA_E_NOMEM, "manifest"); }
    snapshot->journal = journal;
    snapshot->info = (stoa_snapshot_info){.position = get_le(bytes + 8, 8),
                                          .epoch = get_le(bytes + 16, 8),
                                          .wall_ns = get_le(bytes + 24, 8),
                                          .hash = hash};
    memcpy(snapshot->info.block.at, bytes + 32, HASH_BYTES);
    for (uint32_t i = 0; i < STOA_SNAPSHOT_IMAGES && at; i++) { at = decode_image(&snapshot->images[i], at, end); }
    if (at != end) {
        stoa_snapshot_close(snapshot);
        return corrupt("the manifest's lists");
    }
    count(snapshot);
    *out = snapshot;
    return STOA_OK;
}

/* --- finding them */

typedef struct finding {
    stoa_journal *journal;
    stoa_err (*visit)(void *context, stoa_snapshot *snapshot);
    void (*broken)(void *context, uint64_t position);
    void *context;
    uint8_t *bytes; /* of the manifest whose parts are coming */
    size_t used, cap;
    uint64_t position;
    uint32_t parts;
    bool torn; /* a part is missing */
} finding;

/* All parts came: what do they say? */
static stoa_err found(finding *f)
{
    stoa_snapshot *snapshot;
    if (f->parts == 0) { return STOA_OK; }
    stoa_err err = f->torn ? corrupt("a part of the manifest is missing")
                           : stoa_manifest_decode(f->journal, f->bytes, f->used, &snapshot);
    if (!err && snapshot->info.position != f->position) {
        stoa_snapshot_close(snapshot);
        err = corrupt("the manifest is of another position");
    }
    f->parts = 0;
    f->used = 0;
    f->torn = false;
    if (!err) { return f->visit(f->context, snapshot); }
    if (err == STOA_E_NOMEM) { return err; }
    if (f->broken) {
        f->broken(f->context, f->position);
    } else {
        stoa_log_error("snapshot_broken", err);
    }
    return STOA_OK;
}

static stoa_err take_part(finding *f, const stoa_side_entry *entry)
{
    if (f->used + entry->value_bytes > f->cap) {
        size_t cap = (f->used + entry->value_bytes) * 2;
        uint8_t *bytes = cap > MANIFEST_MAX ? NULL : realloc(f->bytes, cap);
        if (!bytes) { return STOA_FAIL(STOA_E_NOMEM, "manifest of %zu bytes", f->used + entry->value_bytes); }
        f->bytes = bytes;
        f->cap = cap;
    }
    if (entry->value_bytes) { memcpy(f->bytes + f->used, entry->value, entry->value_bytes); }
    f->used += entry->value_bytes;
    f->parts++;
    return STOA_OK;
}

static stoa_err look_at_part(void *context, const stoa_side_entry *entry)
{
    finding *f = context;
    uint8_t expected[STOA_MANIFEST_KEY_BYTES];
    const uint8_t *key = entry->key;
    if (entry->key_bytes != STOA_MANIFEST_KEY_BYTES || key[0] != 'm') { return STOA_E_CANCELLED; } /* behind the last */
    uint64_t position = 0;
    for (unsigned i = 1; i <= 8; i++) { position = position << 8 | key[i]; }
    if (f->parts && position != f->position) {
        stoa_err err = found(f);
        if (err) { return err; }
    }
    f->position = position;
    stoa_manifest_key(expected, position, f->parts);
    f->torn |= memcmp(expected, key, sizeof expected) != 0;
    return take_part(f, entry);
}

static stoa_err find_from(finding *f, uint64_t position)
{
    uint8_t from[STOA_MANIFEST_KEY_BYTES];
    stoa_manifest_key(from, position, 0);
    stoa_err err = f->journal->ops->scan(f->journal, STOA_SPACE_SNAPSHOT, from, sizeof from, look_at_part, f);
    return err == STOA_E_CANCELLED ? STOA_OK : err;
}

/* A scan ends at what the disk cannot give back. Snapshots lie far apart: go on behind it, with longer and longer steps. */
static stoa_err find_behind(finding *f)
{
    uint64_t at = f->position, step = 1;
    for (stoa_err err = STOA_E_CORRUPT; err == STOA_E_CORRUPT; step *= 2) {
        uint64_t seen = f->position;
        err = found(f); /* what came before it */
        if (err) { return err; }
        if (at > UINT64_MAX - step || step > UINT64_MAX / 2) { return STOA_OK; }
        at += step;
        err = find_from(f, at);
        if (err && err != STOA_E_CORRUPT) { return err; }
        if (f->position > seen && f->position > at) { /* one was found: the next rot lies behind it */
            at = f->position;
            step = 1;
        }
    }
    return STOA_OK;
}

stoa_err stoa_manifests_visit(stoa_journal *journal, stoa_err (*visit)(void *context, stoa_snapshot *snapshot),
                              void (*broken)(void *context, uint64_t position), void *context)
{
    finding f = {.journal = journal, .visit = visit, .broken = broken, .context = context};
    stoa_err err = find_from(&f, 0);
    if (err == STOA_E_CORRUPT) {
        stoa_log_error("snapshot_rotten", err);
        err = find_behind(&f);
        if (broken) { broken(context, 0); }
    }
    if (!err) { err = found(&f); }
    free(f.bytes);
    return err;
}

typedef struct newest {
    uint64_t at_most;
    stoa_snapshot *found;
} newest;

static stoa_err keep_newest(void *context, stoa_snapshot *snapshot)
{
    newest *n = context;
    bool better = snapshot->info.position <= n->at_most; /* they come in order */
    stoa_snapshot_close(better ? n->found : snapshot);
    if (better) { n->found = snapshot; }
    return STOA_OK;
}

stoa_err stoa_snapshot_open(stoa_journal *journal, uint64_t at_most, stoa_snapshot **out)
{
    newest n = {.at_most = at_most};
    stoa_err err = stoa_manifests_visit(journal, keep_newest, NULL, &n);
    if (err) {
        stoa_snapshot_close(n.found);
        return err;
    }
    if (!n.found) { return STOA_FAIL(STOA_E_NOT_FOUND, "no snapshot at or below %" PRIu64, at_most); }
    *out = n.found;
    return STOA_OK;
}

void stoa_snapshot_close(stoa_snapshot *snapshot)
{
    if (!snapshot) { return; }
    for (uint32_t i = 0; i < STOA_SNAPSHOT_IMAGES; i++) { free(snapshot->images[i].chunks); }
    free(snapshot->chunk);
    free(snapshot);
}

const stoa_snapshot_info *stoa_snapshot_look(const stoa_snapshot *snapshot)
{
    return &snapshot->info;
}

uint64_t stoa_snapshot_bytes(const stoa_snapshot *snapshot, uint32_t image)
{
    return snapshot->images[image].bytes;
}

typedef struct showing {
    void (*visit)(void *context, const stoa_snapshot_info *info);
    void *context;
} showing;

static stoa_err show(void *context, stoa_snapshot *snapshot)
{
    const showing *s = context;
    s->visit(s->context, &snapshot->info);
    stoa_snapshot_close(snapshot);
    return STOA_OK;
}

stoa_err stoa_snapshots_visit(stoa_journal *journal, void (*visit)(void *context, const stoa_snapshot_info *info),
                              void *context)
{
    return stoa_manifests_visit(journal, show, NULL, &(showing){visit, context});
}

/* --- chunks */

stoa_err stoa_chunk_load(stoa_snapshot *snapshot, const stoa_image *image, const stoa_chunk *chunk)
{
    uint8_t key[STOA_CHUNK_KEY_BYTES];
    uint32_t bytes = 0;
    stoa_hash256 hash;
    if (snapshot->loaded == chunk) { return STOA_OK; }
    snapshot->loaded = NULL;
    if (!snapshot->chunk) { snapshot->chunk = malloc(STOA_SNAPSHOT_CHUNK); }
    if (!snapshot->chunk) { return STOA_FAIL(STOA_E_NOMEM, "chunk"); }
    stoa_chunk_key(key, &chunk->hash);
    stoa_err err = stoa_side_get(snapshot->journal, STOA_SPACE_SNAPSHOT, key, sizeof key, snapshot->chunk,
                                 STOA_SNAPSHOT_CHUNK, &bytes);
    const char *what = "a chunk is missing";
    if (!err) {
        stoa_hash256_parts(&hash, snapshot->chunk, bytes, NULL, 0);
        if (bytes == stoa_chunk_bytes(image, chunk->number) && memcmp(&hash, &chunk->hash, sizeof hash) == 0) {
            snapshot->loaded = chunk;
            return STOA_OK;
        }
        what = "a chunk's bytes are not those that were written";
    } else if (err != STOA_E_NOT_FOUND && err != STOA_E_TOO_LARGE) {
        return STOA_PASS(err, "snapshot at %" PRIu64, snapshot->info.position);
    }
    return STOA_FAIL(STOA_E_CORRUPT, "snapshot at %" PRIu64 ": %s", snapshot->info.position, what);
}

/* The first chunk numbered number or above. */
static uint64_t chunk_from(const stoa_image *image, uint64_t number)
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
    return low;
}

stoa_err stoa_snapshot_read(stoa_snapshot *snapshot, uint32_t image, uint64_t at, void *out, uint64_t size_bytes, bool zeroed)
{
    const stoa_image *from = &snapshot->images[image];
    uint64_t end = at + size_bytes;
    if (end < at || end > from->bytes) { return STOA_FAIL(STOA_E_INVALID, "bytes %" PRIu64 " to %" PRIu64 " of an image of %" PRIu64, at, end, from->bytes); }
    if (!zeroed) { memset(out, 0, size_bytes); }
    for (uint64_t c = chunk_from(from, at / STOA_SNAPSHOT_CHUNK); c < from->count; c++) {
        uint64_t begins = from->chunks[c].number * STOA_SNAPSHOT_CHUNK;
        if (begins >= end) { break; }
        stoa_err err = stoa_chunk_load(snapshot, from, &from->chunks[c]);
        if (err) { return err; }
        uint64_t ends = begins + stoa_chunk_bytes(from, from->chunks[c].number);
        uint64_t low = begins > at ? begins : at, high = ends < end ? ends : end;
        memcpy((uint8_t *)out + (low - at), snapshot->chunk + (low - begins), high - low);
    }
    return STOA_OK;
}

stoa_err stoa_snapshot_verify(stoa_snapshot *snapshot, uint64_t from, uint64_t count_max, uint64_t *next_out)
{
    uint64_t before = 0; /* chunks of the images before */
    for (uint32_t i = 0; i < STOA_SNAPSHOT_IMAGES; before += snapshot->images[i++].count) {
        const stoa_image *image = &snapshot->images[i];
        while (from < before + image->count) {
            if (count_max-- == 0) {
                *next_out = from;
                return STOA_OK;
            }
            stoa_err err = stoa_chunk_load(snapshot, image, &image->chunks[from - before]);
            if (err) { return err; }
            from++;
        }
    }
    *next_out = 0;
    return STOA_OK;
}

/* --- of which log it is */

typedef struct looking {
    const stoa_snapshot_info *info;
    bool same;
} looking;

static stoa_err look_at_block(void *context, const stoa_block *block)
{
    looking *l = context;
    l->same = block->first + block->count - 1 == l->info->position && block->epoch == l->info->epoch &&
              memcmp(block->hash, &l->info->block, sizeof *block->hash) == 0;
    return STOA_E_CANCELLED;
}

stoa_err stoa_snapshot_stands(stoa_journal *journal, const stoa_snapshot_info *info)
{
    stoa_journal_state state;
    looking l = {.info = info};
    journal->ops->state(journal, &state);
    if (info->position > state.last) {
        return STOA_FAIL(STOA_E_CORRUPT, "snapshot at %" PRIu64 ": the log ends at %" PRIu64, info->position, state.last);
    }
    if (info->position + 1 == state.first) { return STOA_OK; } /* purged up to there: what is durable does not change its past */
    stoa_err err = journal->ops->read(journal, info->position, look_at_block, &l);
    if (err && err != STOA_E_CANCELLED) { return err; }
    return l.same ? STOA_OK : STOA_FAIL(STOA_E_CORRUPT, "snapshot at %" PRIu64 ": it is of another log", info->position);
}
