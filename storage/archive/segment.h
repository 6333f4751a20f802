/* segment.h - a sealed range of whole blocks of one shard's log, byte for byte as the journal stored them, in one file.
 *
 * A segment proves itself: its blocks carry their own hashes and links, its header says where the chain enters and leaves,
 * and the manifest that names it (storage/archive/manifest.h) has the hash of the whole file. What was sealed in the journal
 * stays sealed here, and the chain is checked without a key.
 *
 * File, little endian:
 *     "STS1" | u32 version 1 | u64 first | u64 last | u64 blocks | u64 raw_bytes | u64 packed_bytes | u64 first_ns |
 *     u64 last_ns | u64 first_epoch | u64 last_epoch | i32 level | u32 0 | 32 B shard's name, padded with NULs |
 *     32 B hash of the block before the first one (zeros: there is none) | 32 B hash of the last block |
 *     32 B BLAKE2b-256 of all before it | packed
 * packed: one zstd frame with checksum over blocks x (u32 bytes | block). first_ns, last_ns: commit times.
 *
 * A segment is written under a name that ends in .tmp, synced, read back in full, and only then gets its name: whoever finds
 * it by name may depend on it. Limits: blocks as storage/block.h. A writer takes about 1 MiB and the largest block; levels
 * above 9 take up to 100 MiB.
 *
 * Threads: a writer or a scan belongs to one thread at a time. All functions block.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef STOA_STORAGE_ARCHIVE_SEGMENT_H
#define STOA_STORAGE_ARCHIVE_SEGMENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "base/hash.h"

enum {
    STOA_SEGMENT_HEADER_BYTES = 216,
    STOA_SEGMENT_SHARD_MAX = 31,
    STOA_SEGMENT_NAME_MAX = 64,
    STOA_SEGMENT_LEVEL_MIN = 1,
    STOA_SEGMENT_LEVEL_MAX = 19,
};

/* What header and manifest say of a segment. */
typedef struct stoa_segment {
    uint64_t first, last, blocks;     /* positions; their number */
    uint64_t raw_bytes, file_bytes;   /* of the blocks; of the file */
    uint64_t first_ns, last_ns;       /* commit times of the first and the last block */
    uint64_t first_epoch, last_epoch; /* of the first and the last block */
    stoa_hash256 previous, hash;      /* of the block before; of the last block */
    stoa_hash256 file_hash;           /* BLAKE2b-256 of the file */
    int32_t level;                    /* of zstd */
    char shard[STOA_SEGMENT_SHARD_MAX + 1];
} stoa_segment;

/* Its file's name: FIRST-LAST.LEVEL.seg, or .open.seg for one that only ends where the log ended. */
void stoa_segment_name(const stoa_segment *segment, bool open, char name[STOA_SEGMENT_NAME_MAX]);

/* Bytes of a stored block; valid until the visit returns. Returning an error ends the scan with it. */
typedef stoa_err (*stoa_stored_visit)(void *context, const void *bytes, size_t size_bytes);

/* --- writing */

typedef struct stoa_segment_writer stoa_segment_writer;

/* Begin a segment in the folder, which is there. like: one with the same blocks, so that compression takes no more memory than
 * they need; NULL: it is not known what will come. Errors: INVALID, NOMEM, IO, FULL. */
stoa_err stoa_segment_begin(const char *folder, const char *shard, int32_t level, const stoa_segment *like,
                            stoa_segment_writer **out);

/* Add the next block; the first one may be any. Errors: CORRUPT (no block, or not the next one), IO, FULL: abandon it. */
stoa_err stoa_segment_add(stoa_segment_writer *writer, const void *bytes, size_t size_bytes);

/* What has been added so far; file_bytes and file_hash are not known yet. blocks is 0 at first. */
const stoa_segment *stoa_segment_so_far(const stoa_segment_writer *writer);

/* Finish the file, read it back, give it its name. The writer is gone on return, and so is the file on error.
 * Errors: INVALID (nothing was added), CORRUPT (what was read back is not what was written), IO, FULL. */
stoa_err stoa_segment_seal(stoa_segment_writer *writer, bool open, stoa_segment *out);

/* Give up: nothing stays. NULL is allowed. */
void stoa_segment_abandon(stoa_segment_writer *writer);

/* --- reading */

/* Read all of the file at path: header, frame, each block's hash and link, the file's hash. With expected (what a manifest
 * says) everything must be equal to it. Errors: CORRUPT, with what is wrong in the trail; GAP (the file is not there);
 * VERSION; IO. */
stoa_err stoa_segment_check(const char *path, const stoa_segment *expected, stoa_segment *out);

/* Visit its blocks from the one that holds position from on. Blocks and links are checked, and that they are those that
 * expected names; the file's hash is not. path is for the trail; fd is the open file and stays open. Errors: as check,
 * NOT_FOUND (from is not in it), what visit returns. */
stoa_err stoa_segment_read(int fd, const char *path, const stoa_segment *expected, uint64_t from, stoa_stored_visit visit,
                           void *context);

#endif
