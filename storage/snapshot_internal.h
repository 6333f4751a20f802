/* snapshot_internal.h - what snapshot.c (reading) and snapshot_write.c share. Internal to storage/.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef STOA_STORAGE_SNAPSHOT_INTERNAL_H
#define STOA_STORAGE_SNAPSHOT_INTERNAL_H

#include "storage/snapshot.h"

enum { STOA_CHUNK_KEY_BYTES = 33, STOA_MANIFEST_KEY_BYTES = 13, STOA_MANIFEST_PART = 1 << 20 };

typedef struct stoa_chunk {
    uint64_t number; /* in its image */
    stoa_hash256 hash;
} stoa_chunk;

typedef struct stoa_image {
    uint64_t bytes, count, cap;
    stoa_chunk *chunks; /* ascending */
} stoa_image;

struct stoa_snapshot {
    stoa_journal *journal;
    stoa_snapshot_info info;
    stoa_image images[STOA_SNAPSHOT_IMAGES];
    uint8_t *chunk; /* STOA_SNAPSHOT_CHUNK bytes; NULL: nothing was read yet */
    const stoa_chunk *loaded; /* which one that is; NULL: none */
};

void stoa_chunk_key(uint8_t key[STOA_CHUNK_KEY_BYTES], const stoa_hash256 *hash);
void stoa_manifest_key(uint8_t key[STOA_MANIFEST_KEY_BYTES], uint64_t position, uint32_t part);
/* The chunk's bytes, proven, into snapshot->chunk. Errors: CORRUPT (missing, or other bytes), NOMEM, those of scan. */
stoa_err stoa_chunk_load(stoa_snapshot *snapshot, const stoa_image *image, const stoa_chunk *chunk);
/* How long the chunk of that number is. */
uint32_t stoa_chunk_bytes(const stoa_image *image, uint64_t number);
/* Visit all manifests that hold, oldest first; who visits owns the snapshot. broken(context, position): one that does not hold, 0: it is
 * not known where; NULL: they are logged. */
stoa_err stoa_manifests_visit(stoa_journal *journal, stoa_err (*visit)(void *context, stoa_snapshot *snapshot),
                              void (*broken)(void *context, uint64_t position), void *context);
/* As bytes: their number, and the bytes where out has room for them (NULL: only the number). Fills in info.hash. */
size_t stoa_manifest_encode(stoa_snapshot *snapshot, uint8_t *out);
/* Errors: CORRUPT, NOMEM. */
stoa_err stoa_manifest_decode(stoa_journal *journal, const uint8_t *bytes, size_t size_bytes, stoa_snapshot **out);

#endif
