/* archive.h - the archive of one shard: segments in a folder, the older ones in another, and the manifest that binds them.
 *
 *     FOLDER/SHARD/manifest.json     what there is (storage/archive/manifest.h)
 *     FOLDER/SHARD/....seg           segments (storage/archive/segment.h)
 *     COLD/SHARD/....seg             those that were packed again at a higher level
 *     FOLDER/SHARD/snapshot-...      what stands for a beginning that is gone (storage/archive/snapshot.h)
 *     FOLDER/SHARD/lock              held by who writes
 *
 * The same files make a backup. The archive follows the log: what it seals continues the chain of what it has, or it says
 * FORKED and changes nothing (seam.h asks before that). A file is named in the manifest only when it was read back; a file goes only when the manifest
 * no longer names it. So a crash at any moment leaves an archive that holds what it held before, and perhaps a file that
 * nobody names. The next one to write here names it, if it continues the chain, or removes it, if what it holds is held by
 * others that are whole; a file that is neither is CORRUPT and stays (tidy.c). There is a manifest from the first open on: one
 * that is gone is CORRUPT where there are segments, and can be made anew from them.
 *
 * Threads: one at a time extends, moves, expires, holds and closes; reading and looking may run on others meanwhile. A visit
 * must not write here. All functions block.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef STOA_STORAGE_ARCHIVE_ARCHIVE_H
#define STOA_STORAGE_ARCHIVE_ARCHIVE_H

#include "base/clock.h"
#include "storage/archive/manifest.h"
#include "storage/archive/segment.h"
#include "storage/journal.h"

typedef struct stoa_archive stoa_archive;

typedef struct stoa_archive_options {
    const char *folder;      /* of the archives of all shards; made when it is not there */
    const char *cold_folder; /* NULL: the same */
    const char *shard;
    const char *class_name;  /* what policy it falls under; "" where there is none; the manifest keeps it */
    uint64_t segment_bytes;  /* of blocks: a segment that holds so many is full; 0: 32 MiB */
    int32_t level, cold_level; /* of zstd; 0: 3 and 12 */
    bool read_only;          /* no lock, nothing is made or removed; NOT_FOUND when there is no archive */
    stoa_clock *clock;       /* for the manifest's time of writing; NULL: the machine's */
} stoa_archive_options;

/* Errors: DENIED (another one writes here), NOT_FOUND, those of stoa_manifest_load, CORRUPT (segments that the manifest does
 * not know and that do not fit behind it: it may be an old copy, or gone), INVALID, IO, FULL. */
stoa_err stoa_archive_open(const stoa_archive_options *options, stoa_archive **out);
/* NULL is allowed. */
void stoa_archive_close(stoa_archive *archive);

/* What a manifest that was made anew names. */
typedef struct stoa_archive_rebuilt {
    uint64_t first, last; /* positions */
    uint32_t segments, rotten; /* named; not whole, and set aside as FILE.rotten */
    bool held;            /* a hold stands: the one that was readable, or one that says that none was */
} stoa_archive_rebuilt;

/* Make the manifest of a closed archive anew from the segments that are whole. plan: say what would be, and write nothing.
 * Errors: GAP (they are not one chain: the trail says which does not fit), NOT_FOUND (there are none), DENIED, IO, FULL. */
stoa_err stoa_archive_rebuild(const stoa_archive_options *options, bool plan, stoa_archive_rebuilt *out);

/* A copy of what there is, for the caller to deinit. Errors: NOMEM. */
stoa_err stoa_archive_look(stoa_archive *archive, stoa_manifest *out);

/* The last position it holds; sealed: for good. */
uint64_t stoa_archive_last(stoa_archive *archive, bool sealed);
/* The first position it holds: 1, unless some expired or it was begun behind an anchor; last + 1 when it is empty. */
uint64_t stoa_archive_first(stoa_archive *archive);

/* --- progress of what takes long */

typedef struct stoa_progress {
    const char *step, *shard;      /* "seal", "verify", "import", "pack"; of snapshots "snapshot" and "prove" */
    uint64_t position, last;       /* where it is; where it will end; of a snapshot its entries: how many, of how many */
    uint64_t raw_bytes;            /* of blocks, so far */
} stoa_progress;
/* NULL at nobody's. Returning an error ends the work with it; what was finished stays. */
typedef struct stoa_progress_to {
    stoa_err (*tell)(void *context, const stoa_progress *progress);
    void *context;
} stoa_progress_to;

/* --- writing */

typedef struct stoa_extent {
    uint64_t until; /* seal for good what ends up to here: what a crash of the journal's machine cannot take back */
    bool rest;      /* also what does not fill a segment */
    bool open;      /* put what remains of the log into an open segment, which the next extend replaces */
} stoa_extent;

/* Seal what the journal has behind the archive's end. Errors: FORKED (the journal's log is another one, or lost its end),
 * what read_stored returns (a purged beginning), CORRUPT, IO, FULL. What was sealed before an error stays. */
stoa_err stoa_archive_extend(stoa_archive *archive, stoa_journal *journal, const stoa_extent *extent,
                             const stoa_progress_to *progress);

/* Move segment index into the tier, which is not below its own: into the cold folder, packed at the cold level, read back
 * with the same chain, before the old file goes; or, where nothing would change, in name only. Errors: INVALID, DENIED (a
 * hold), CORRUPT, GAP, IO, FULL. */
stoa_err stoa_archive_move(stoa_archive *archive, uint32_t index, stoa_tier tier, const stoa_progress_to *progress);

/* Forget the first segments, count of them, whose blocks are then gone for ever; and snapshots that stand before what is left. Errors:
 * DENIED (a hold), INVALID (so many are not there, or the last one is among them), GAP (no snapshot in the archive stands for them),
 * else as stoa_archive_stand_in (storage/archive/snapshot.h), IO, FULL. */
stoa_err stoa_archive_expire(stoa_archive *archive, uint32_t count, const stoa_progress_to *progress);

/* Nothing is moved or expires while there is a reason; "" ends it. Errors: INVALID (too long, no UTF-8, control
 * characters), IO, FULL. */
stoa_err stoa_archive_hold(stoa_archive *archive, const char *reason);

/* --- reading */

/* Visit stored blocks from the one that holds from to the one that holds until, as far as the archive goes. Errors: NOT_FOUND
 * (from is not in it), GAP (a file is missing), CORRUPT, IO, what visit returns. */
stoa_err stoa_archive_read(stoa_archive *archive, uint64_t from, uint64_t until, stoa_stored_visit visit, void *context);

/* Read the file of segment index and compare it with the manifest. Errors: INVALID, GAP, CORRUPT, IO. */
stoa_err stoa_archive_prove(stoa_archive *archive, uint32_t index, const stoa_progress_to *progress);

/* Read all files, or those that hold positions up to until, snapshots too, and compare them with the manifest. *verified_out: the last
 * position that is sound, on error too. Errors: GAP, CORRUPT, IO. */
stoa_err stoa_archive_verify(stoa_archive *archive, uint64_t until, const stoa_progress_to *progress, uint64_t *verified_out);

/* A block by what its header says. */
typedef struct stoa_archive_block {
    uint64_t first, last, commit_ns, epoch;
    stoa_hash256 hash;
} stoa_archive_block;

/* The block that holds position. Errors: NOT_FOUND, those of read. */
stoa_err stoa_archive_block_at(stoa_archive *archive, uint64_t position, stoa_archive_block *out);

/* The last block that was committed at wall_ns or before; zeros where all were later. Reads one segment. Errors: those of read. */
stoa_err stoa_archive_block_by(stoa_archive *archive, uint64_t wall_ns, stoa_archive_block *out);

/* --- import: the archive's log into a new journal */

typedef struct stoa_import {
    uint64_t until;    /* position; 0: all. Where the beginning is gone: the one that has to be reached, whatever until_ns leaves out */
    uint64_t until_ns; /* commit time; 0: all */
    /* The block that holds until but does not end there: append of it what counts, if anything, to journal. NULL: the import
     * ends before it. */
    stoa_err (*cut)(void *context, stoa_journal *journal, const void *bytes, size_t size_bytes, uint64_t until);
    void *context;
} stoa_import;

/* Append the archive's blocks to the empty journal through its chain check; durable on return. Where the archive's beginning is gone the
 * journal is begun where the archive begins, and gets the first snapshot that stands for it; *snapshot_out (NULL is allowed): where that
 * stands, 0: none is needed. Errors: EXISTS (it is not empty), RANGE (until or until_ns is before the first snapshot: the trail says
 * where that is), GAP (the beginning is gone and nothing stands for it), UNSUPPORTED (until_ns, and commit times fall: the log was not
 * written by one node), what append_stored, put_stored and reading return. */
stoa_err stoa_archive_import(stoa_archive *archive, stoa_journal *journal, const stoa_import *import,
                             const stoa_progress_to *progress, uint64_t *snapshot_out);

/* Whether the archive's log can be had up to position until: OK, and *snapshot_out as above. Reads a snapshot. Errors: RANGE, GAP, those of
 * stoa_archive_stand_in. */
stoa_err stoa_archive_reaches(stoa_archive *archive, uint64_t until, const stoa_progress_to *progress, uint64_t *snapshot_out);

#endif
