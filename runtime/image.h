/* image.h - a shard's states as the images of a snapshot (storage/snapshot.h), and back. Internal to runtime/.
 *
 *     image 0, who: 128 bytes a stream: kind, name, size of the state, fingerprint of its layout
 *     image 1, seqs: 8 bytes a stream, the number of its last event
 *     image 2, states: one behind the other in the order of the streams, each at a multiple of 16
 *
 * Streams are only ever added, and a state never changes its size, so every byte keeps its place from one snapshot to the
 * next, and what did not change is not put again. Stream 0 is the shard's ledger.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef STOA_RUNTIME_IMAGE_H
#define STOA_RUNTIME_IMAGE_H

#include "runtime/fold.h"
#include "runtime/sparse.h"
#include "storage/snapshot.h"

enum { STOA_IMAGE_WHO, STOA_IMAGE_SEQS, STOA_IMAGE_STATES };

/* Of the layout of a kind's state: its name, size, state_version, and its fields where it tells them. */
uint64_t stoa_kind_fingerprint(const stoa_kind *kind);

/* --- writing: chunk by chunk, from a fold that stands still meanwhile */

typedef struct stoa_imaging {
    stoa_snapshot_store *store;
    const stoa_fold *fold;
    const uint64_t *before; /* seqs when the store's last snapshot was made, of so many streams */
    uint32_t before_count;  /* 0: everything may have changed */
    uint32_t image;         /* under way */
    uint64_t chunk, at;     /* next chunk of it; STATES: where the stream below begins */
    uint32_t stream;        /* STATES: the first one that the chunk touches */
    uint64_t bytes[STOA_SNAPSHOT_IMAGES]; /* of the images */
    stoa_sparse_walk walk;  /* through the state of that stream, where it is large */
    uint8_t *buffer;        /* a chunk */
    uint64_t done, total;   /* chunks, for progress */
} stoa_imaging;

/* Begin a snapshot of the fold. Errors: NOMEM, EXISTS. */
stoa_err stoa_imaging_begin(stoa_imaging *imaging, stoa_snapshot_store *store, const stoa_fold *fold,
                            const stoa_snapshot_info *info, const uint64_t *before, uint32_t before_count);
/* Write count chunks more; *more_out: whether there are any left. Errors: stoa_snapshot_put's, and the snapshot is given up. */
stoa_err stoa_imaging_go(stoa_imaging *imaging, uint32_t count, bool *more_out);
void stoa_imaging_end(stoa_imaging *imaging);

/* --- reading */

typedef struct stoa_image_stream {
    const stoa_kind *kind;
    char name[STOA_NAME_MAX + 1];
    uint64_t seq;
    uint64_t at; /* of its state in the image */
} stoa_image_stream;

typedef struct stoa_image_directory {
    stoa_image_stream *streams;
    uint32_t count; /* highest stream */
} stoa_image_directory;

/* Read who is in the snapshot, and whether this build can use their states. Errors: VERSION (a kind that is not there, or whose
 * state has another layout), CORRUPT, NOMEM, those of stoa_snapshot_read. */
stoa_err stoa_image_open(stoa_snapshot *snapshot, const stoa_kind *const *kinds, stoa_image_directory *out);
void stoa_image_close(stoa_image_directory *directory);
/* The state of a stream, into zeroed memory. Errors: those of stoa_snapshot_read, CORRUPT (a ledger that no events have made). */
stoa_err stoa_image_state(stoa_snapshot *snapshot, const stoa_image_directory *directory, uint32_t stream, void *out);
/* A fold at position 0 becomes the snapshot. On error it is cleared. */
stoa_err stoa_image_fold(stoa_snapshot *snapshot, const stoa_kind *const *kinds, stoa_fold *fold);
/* A fold at position 0 of a log whose beginning is gone becomes the oldest snapshot, at or below until, that can be used; of any other log
 * it stays. Errors: GONE (there is none), VERSION (those that there are have other layouts), SEALED, NOMEM, those of scan. */
stoa_err stoa_image_begin(stoa_log_reader *reader, uint64_t until, stoa_fold *fold);

#endif
