/* snapshot.h - images of state at a position of the log, in the journal's side store.
 *
 * A snapshot is a few images: long runs of bytes, mostly zero, whose meaning is the writer's (runtime/image.h). Each is cut into
 * chunks of 64 KiB; zero chunks are left out. A chunk is stored under the hash of its bytes, once, however many snapshots
 * have it; a manifest says which chunks a snapshot is made of and where in the log it stands. So a snapshot costs what has
 * changed since the one before.
 *
 * A manifest is put behind its chunks and synced, so one that is there has them all, and the log up to its position is as
 * durable. Bytes read back are hostile until their hash was compared: the manifest's own, then each chunk's as it is read.
 *
 * Keys of the space SNAPSHOT: 'c' and the chunk's hash; 'm', big-endian position, big-endian number of the part. A manifest,
 * little endian, cut into parts of 1 MiB:
 *     "STS1" | u32 images | u64 position | u64 epoch | u64 wall_ns | 32 B hash of the block that ends at position |
 *     per image: u64 bytes | u64 chunks | chunks x (u64 number in the image, ascending | 32 B hash) |
 *     32 B BLAKE2b-256 of all that stands before
 *
 * Threads: one store writes at a time; snapshots are read on any thread meanwhile, each by one. What the store erases under
 * a reader is NOT_FOUND there. Storage of chunks and manifests only: no clock, no thread of its own.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef STOA_STORAGE_SNAPSHOT_H
#define STOA_STORAGE_SNAPSHOT_H

#include "storage/journal.h"

enum { STOA_SNAPSHOT_CHUNK = 64 << 10, STOA_SNAPSHOT_IMAGES = 4 };

typedef struct stoa_snapshot_info {
    uint64_t position, epoch;
    stoa_hash256 block; /* of the block that ends at position */
    uint64_t wall_ns;   /* when it was begun */
    uint64_t chunks, bytes; /* that are not zero */
    stoa_hash256 hash;      /* of the manifest, and so of everything */
} stoa_snapshot_info;

/* --- reading */

typedef struct stoa_snapshot stoa_snapshot;

/* The newest one at or below position whose manifest holds; broken ones are logged (snapshot_broken) and passed over. Errors:
 * NOT_FOUND (none), NOMEM, those of scan. */
stoa_err stoa_snapshot_open(stoa_journal *journal, uint64_t at_most, stoa_snapshot **out);
void stoa_snapshot_close(stoa_snapshot *snapshot);
const stoa_snapshot_info *stoa_snapshot_look(const stoa_snapshot *snapshot);
uint64_t stoa_snapshot_bytes(const stoa_snapshot *snapshot, uint32_t image);

/* Copy bytes [at, at + size_bytes) of an image to out, which is zero where zeroed is true (so zero chunks cost nothing). The bytes
 * must lie within the image: INVALID. Errors: CORRUPT (a chunk is missing or has other bytes), those of scan, NOMEM. */
stoa_err stoa_snapshot_read(stoa_snapshot *snapshot, uint32_t image, uint64_t at, void *out, uint64_t size_bytes, bool zeroed);

/* Read count chunks from the from-th on, of all images, and compare their hashes. Returns OK behind the last. *next_out: where to
 * go on; 0: that was all. Errors: as read. */
stoa_err stoa_snapshot_verify(stoa_snapshot *snapshot, uint64_t from, uint64_t count, uint64_t *next_out);

/* Visit all whose manifest holds, oldest first. */
stoa_err stoa_snapshots_visit(stoa_journal *journal, void (*visit)(void *context, const stoa_snapshot_info *info),
                              void *context);

/* --- one as a copy elsewhere (storage/archive/snapshot.h) */

/* Who takes it: whether the copy has the entry of that key already; the entry as it is stored, sealed if it is sealed there. */
typedef struct stoa_snapshot_copy {
    bool (*has)(void *context, const void *key, uint32_t key_bytes);
    stoa_err (*take)(void *context, const stoa_side_entry *entry);
    void *context;
} stoa_snapshot_copy;

/* Hand over all entries that the snapshot is stored as, each key once and in order: chunks, whose bytes are proven before, then its
 * manifest. Put back with put_stored, the last of them with sync, they are the snapshot. Errors: CORRUPT (a chunk is missing, or has
 * other bytes), NOMEM, those of scan, what take returns. */
stoa_err stoa_snapshot_export(stoa_snapshot *snapshot, const stoa_snapshot_copy *copy);

/* Whether that snapshot is in the journal, with all its chunks. Reads it whole. Errors: NOT_FOUND, CORRUPT, SEALED, those of scan. */
stoa_err stoa_snapshot_prove(stoa_journal *journal, const stoa_snapshot_info *info);

/* Whether the block that ends at the snapshot's position is the log's. Errors: CORRUPT (it is of another log, or of an end that
 * this one has lost), those of read. */
stoa_err stoa_snapshot_stands(stoa_journal *journal, const stoa_snapshot_info *info);

/* --- writing */

typedef struct stoa_snapshot_store stoa_snapshot_store;

/* What is there is looked through. Errors: NOMEM, those of scan. */
stoa_err stoa_snapshot_store_open(stoa_journal *journal, stoa_snapshot_store **out);
void stoa_snapshot_store_close(stoa_snapshot_store *store);

/* The newest and the oldest that the store knows; NULL: it has none. */
const stoa_snapshot_info *stoa_snapshot_last(const stoa_snapshot_store *store);
const stoa_snapshot_info *stoa_snapshot_first(const stoa_snapshot_store *store);

/* Begin one: info's position, epoch, block and wall_ns count. One at a time; one that was begun before is given up. Errors:
 * EXISTS (there is one there or above), NOMEM. */
stoa_err stoa_snapshot_begin(stoa_snapshot_store *store, const stoa_snapshot_info *info);
/* The next chunk of an image: images and chunks in ascending order. Only the last chunk of an image may be shorter. Zero ones and
 * those that are stored already are not put. Errors: those of put; the snapshot is given up then. */
stoa_err stoa_snapshot_put(stoa_snapshot_store *store, uint32_t image, uint64_t chunk, const void *bytes, uint32_t size_bytes);
/* The next chunk is as it was in the snapshot that was ended last: no bytes are looked at. False: there it is shorter, or none. */
bool stoa_snapshot_same(stoa_snapshot_store *store, uint32_t image, uint64_t chunk, uint32_t size_bytes);
/* All chunks were given: write the manifest. image_bytes: of each image. *put_bytes_out: what was new. Errors: those of put. */
stoa_err stoa_snapshot_end(stoa_snapshot_store *store, const uint64_t image_bytes[STOA_SNAPSHOT_IMAGES],
                           stoa_snapshot_info *info_out, uint64_t *put_bytes_out);
void stoa_snapshot_abandon(stoa_snapshot_store *store);

/* Erase all but the newest keep, and those above position at_most (a log that lost its end goes another way there); then the
 * chunks that no manifest names any more. Errors: those of put. */
stoa_err stoa_snapshot_prune(stoa_snapshot_store *store, uint32_t keep, uint64_t at_most);
/* Erase one that does not hold what it says. The next one is put whole, which mends what the others share with it. */
stoa_err stoa_snapshot_drop(stoa_snapshot_store *store, uint64_t position);

#endif
