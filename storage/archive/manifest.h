/* manifest.h - what an archive of one shard holds: its segments in order, where each is, and the chain from one to the next.
 *
 * A JSON file that people can read, manifest.json beside the segments, replaced as a whole. Its last member, "check", is the
 * BLAKE2b-256 of all text before it, so that rot in the manifest is found like rot in a segment. Segments are dense: each
 * begins behind the one before it and continues its hash; only the last one may be open, which is then replaced when the log
 * went on. What expired is remembered by where it ended and with which hash, and so is what was never here, of an archive that
 * begins behind an anchor. Snapshots (storage/archive/kept.h) stand for a beginning that is gone: from where one stands the rest can be
 * replayed. A manifest without any is of format 1, which older builds read.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef STOA_STORAGE_ARCHIVE_MANIFEST_H
#define STOA_STORAGE_ARCHIVE_MANIFEST_H

#include "storage/archive/segment.h"
#include "storage/snapshot.h"

/* Where a segment is: beside the manifest; packed again in the cold folder; there, and of the age that is only kept. */
typedef enum stoa_tier { STOA_TIER_WARM, STOA_TIER_COLD, STOA_TIER_ARCHIVE, STOA_TIERS } stoa_tier;
const char *stoa_tier_name(stoa_tier tier);

enum { STOA_SNAPSHOT_PACKS = 16 };

enum { STOA_CLASS_NAME_MAX = 15, STOA_HOLD_MAX = 127, STOA_MANIFEST_BYTES_MAX = 256 << 20 };

typedef struct stoa_manifest_entry {
    stoa_segment segment;
    stoa_tier tier;
    bool open; /* ends where the log ended when it was made: the next one may replace it */
} stoa_manifest_entry;

typedef struct stoa_manifest_snapshot {
    stoa_snapshot_info info;
    stoa_hash256 list_hash;              /* BLAKE2b-256 of its list's file */
    uint64_t packed_bytes;               /* of its entries, wherever they lie */
    uint64_t files[STOA_SNAPSHOT_PACKS]; /* whose .chunks its entries lie in */
    uint32_t file_count;
} stoa_manifest_snapshot;

typedef struct stoa_manifest {
    char shard[STOA_SEGMENT_SHARD_MAX + 1], class_name[STOA_CLASS_NAME_MAX + 1];
    char hold[STOA_HOLD_MAX + 1]; /* why nothing may be deleted; "": it may */
    uint64_t written_ns;          /* wall time */
    uint64_t expired;             /* last position that is not here any more, because its time was over; 0: none */
    uint64_t expired_epoch;
    stoa_hash256 expired_hash;    /* of the block that ended there */
    stoa_manifest_entry *entries;
    uint32_t count, cap;
    stoa_manifest_snapshot *snapshots; /* positions rising */
    uint32_t snapshot_count;
} stoa_manifest;

void stoa_manifest_deinit(stoa_manifest *manifest);
stoa_err stoa_manifest_copy(const stoa_manifest *from, stoa_manifest *out);

/* The folder's manifest. Errors: NOT_FOUND (there is none), CORRUPT (its bytes), GAP (positions are missing between two
 * segments), FORKED (a segment does not continue the one before it), VERSION, IO, NOMEM. */
stoa_err stoa_manifest_load(const char *folder, stoa_manifest *out);

/* Replace it. Errors: IO, FULL, NOMEM. */
stoa_err stoa_manifest_save(const char *folder, const stoa_manifest *manifest);

/* Add a segment behind the last one; an open last one must have been dropped before. Errors: GAP, FORKED, NOMEM. */
stoa_err stoa_manifest_add(stoa_manifest *manifest, const stoa_segment *segment, bool open);

/* Name one more snapshot, in its place. Errors: EXISTS (there is one at its position), NOMEM. */
stoa_err stoa_manifest_name(stoa_manifest *manifest, const stoa_manifest_snapshot *snapshot);
/* Name it no more; index is one that is there. */
void stoa_manifest_unname(stoa_manifest *manifest, uint32_t index);
/* The lowest one at or above position; snapshot_count: none. */
uint32_t stoa_manifest_snapshot_from(const stoa_manifest *manifest, uint64_t position);

/* Where its log ends: last position, epoch and hash of the last segment, or of what expired; zeros when it is empty.
 * sealed: of the last segment that is not open. */
void stoa_manifest_end(const stoa_manifest *manifest, bool sealed, uint64_t *last_out, uint64_t *epoch_out,
                       stoa_hash256 *hash_out);

/* Index of the segment that holds position; count when there is none. */
uint32_t stoa_manifest_find(const stoa_manifest *manifest, uint64_t position);

#endif
