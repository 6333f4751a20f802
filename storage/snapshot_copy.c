/* snapshot_copy.c - one snapshot as its entries, for a copy elsewhere. See snapshot.h.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "storage/side.h"
#include "storage/snapshot_internal.h"

/* A chunk, and whose it is. */
typedef struct named_chunk {
    const stoa_chunk *chunk;
    const stoa_image *image;
} named_chunk;

static int by_hash(const void *a, const void *b)
{
    const named_chunk *x = a, *y = b;
    return memcmp(&x->chunk->hash, &y->chunk->hash, sizeof x->chunk->hash);
}

/* All chunks in the order of their keys; those that are named several times side by side. */
static stoa_err list_chunks(const stoa_snapshot *snapshot, named_chunk **out)
{
    named_chunk *list = malloc((snapshot->info.chunks + 1) * sizeof *list);
    uint64_t count = 0;
    if (!list) { return STOA_FAIL(STOA_E_NOMEM, "%" PRIu64 " chunks", snapshot->info.chunks); }
    for (uint32_t i = 0; i < STOA_SNAPSHOT_IMAGES; i++) {
        const stoa_image *image = &snapshot->images[i];
        for (uint64_t c = 0; c < image->count; c++) { list[count++] = (named_chunk){&image->chunks[c], image}; }
    }
    STOA_ASSERT(count == snapshot->info.chunks);
    if (count > 1) { qsort(list, count, sizeof *list, by_hash); }
    *out = list;
    return STOA_OK;
}

typedef struct fetching {
    const stoa_snapshot_copy *copy;
    const uint8_t *key;
    uint32_t key_bytes;        /* of the key that is wanted, or that those that are wanted begin with */
    const stoa_hash256 *plain; /* of a value that is not sealed; NULL: not known */
    bool found;
    stoa_err failed; /* what take returned */
} fetching;

static stoa_err corrupt(const stoa_snapshot *snapshot, const char *what)
{
    return STOA_FAIL(STOA_E_CORRUPT, "snapshot at %" PRIu64 ": %s", snapshot->info.position, what);
}

static stoa_err fetch_one(void *context, const stoa_side_entry *entry)
{
    fetching *f = context;
    stoa_side_entry value;
    stoa_hash256 hash;
    bool wanted = entry->key_bytes >= f->key_bytes && memcmp(entry->key, f->key, f->key_bytes) == 0;
    if (!wanted) { return STOA_E_CANCELLED; } /* behind it */
    if (f->plain && stoa_side_plain(entry, &value)) {
        stoa_hash256_parts(&hash, value.value, value.value_bytes, NULL, 0);
        if (memcmp(&hash, f->plain, sizeof hash) != 0) { return STOA_FAIL(STOA_E_CORRUPT, "a chunk's bytes are not those that were written"); }
    }
    f->failed = f->copy->take(f->copy->context, entry);
    f->found = true;
    return f->failed || f->plain ? STOA_E_CANCELLED : STOA_OK;
}

static stoa_err fetch(stoa_snapshot *snapshot, fetching *f)
{
    const stoa_journal_ops *ops = snapshot->journal->ops;
    stoa_err err = ops->scan_stored(snapshot->journal, STOA_SPACE_SNAPSHOT, f->key, f->key_bytes, fetch_one, f);
    if (err == STOA_E_CANCELLED) { err = STOA_OK; } /* seen enough */
    if (err || f->failed) { return f->failed ? f->failed : err; }
    return f->found ? STOA_OK : corrupt(snapshot, f->plain ? "a chunk is missing" : "its manifest is missing");
}

static stoa_err export_chunk(stoa_snapshot *snapshot, const named_chunk *at, const stoa_snapshot_copy *copy)
{
    uint8_t key[STOA_CHUNK_KEY_BYTES];
    stoa_chunk_key(key, &at->chunk->hash);
    if (copy->has(copy->context, key, sizeof key)) { return STOA_OK; }
    stoa_err err = stoa_chunk_load(snapshot, at->image, at->chunk); /* proves it, whether it is sealed or not */
    if (err) { return err; }
    return fetch(snapshot, &(fetching){.copy = copy, .key = key, .key_bytes = sizeof key, .plain = &at->chunk->hash});
}

stoa_err stoa_snapshot_export(stoa_snapshot *snapshot, const stoa_snapshot_copy *copy)
{
    named_chunk *list = NULL;
    stoa_err err = list_chunks(snapshot, &list);
    if (err) { return err; }
    for (uint64_t i = 0; i < snapshot->info.chunks && !err; i++) {
        bool again = i > 0 && by_hash(&list[i], &list[i - 1]) == 0;
        if (!again) { err = export_chunk(snapshot, &list[i], copy); }
    }
    free(list);
    if (err) { return err; }
    uint8_t key[STOA_MANIFEST_KEY_BYTES];
    stoa_manifest_key(key, snapshot->info.position, 0);
    return fetch(snapshot, &(fetching){.copy = copy, .key = key, .key_bytes = sizeof key - 4}); /* of all parts */
}

stoa_err stoa_snapshot_prove(stoa_journal *journal, const stoa_snapshot_info *info)
{
    stoa_snapshot *snapshot;
    uint64_t next;
    stoa_err err = stoa_snapshot_open(journal, info->position, &snapshot);
    if (err) { return err; }
    const stoa_snapshot_info *found = stoa_snapshot_look(snapshot);
    bool same = found->position == info->position && memcmp(&found->hash, &info->hash, sizeof found->hash) == 0;
    err = same ? stoa_snapshot_verify(snapshot, 0, UINT64_MAX, &next) : corrupt(snapshot, "another one lies there");
    stoa_snapshot_close(snapshot);
    return err;
}
