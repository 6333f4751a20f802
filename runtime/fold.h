/* fold.h - states beside the running shard: the fold of its log up to a position. Internal to runtime/.
 *
 * A fold has its own copy of every actor's state and of the shard's ledger, and applies events to them as they are read. It
 * is what a replay hashes, what the follower keeps, what snapshots are made of and what the past is looked at in.
 *
 * One thread at a time.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef STOA_RUNTIME_FOLD_H
#define STOA_RUNTIME_FOLD_H

#include "runtime/log_reader.h"
#include "runtime/streams.h"

typedef struct stoa_fold {
    stoa_log_reader *reader; /* whose streams these are */
    void **states;           /* by stream; NULL: not spawned yet */
    uint64_t *seqs;          /* last event of each stream */
    uint32_t count, cap;     /* highest stream; room */
    uint64_t applied;        /* position */
} stoa_fold;

/* Empty, at position 0; the reader must outlive it. */
stoa_err stoa_fold_init(stoa_fold *fold, stoa_log_reader *reader);
void stoa_fold_deinit(stoa_fold *fold);
/* Forget all: position 0 again. */
void stoa_fold_clear(stoa_fold *fold);
/* The next stream, with a zeroed state: the directory learns of it, or knows the same. Stream 0 is there from the beginning.
 * Errors: CORRUPT (the directory says otherwise), NOMEM. */
stoa_err stoa_fold_stream(stoa_fold *fold, uint32_t stream, const stoa_kind *kind, const char *name, uint64_t seq);
/* Read on and apply up to position until, of what is committed. Errors: stoa_log_read's, NOMEM. */
stoa_err stoa_fold_until(stoa_fold *fold, uint64_t until);
/* Of all states, as stoa_shard_hash: equal positions, equal hashes. */
uint64_t stoa_fold_hash(const stoa_fold *fold);

/* A zeroed state of its own for each stream: small ones from the heap, large ones mapped, touched as they are used. */
void *stoa_state_new(const stoa_kind *kind);
void stoa_state_free(const stoa_kind *kind, void *state);

/* Apply an event that was read back from a log of that shard to the state of its stream. Errors: CORRUPT, and the state is worth
 * nothing any more (apply.c). */
stoa_err stoa_event_apply(const char *shard, void *state, const stoa_event_view *event);

/* --- internals of log_reader.c */

stoa_journal *stoa_log_journal(const stoa_log_reader *reader);
/* Those that its shard's node has, or that it was opened with. */
const stoa_kind *const *stoa_log_kinds(const stoa_log_reader *reader);

/* The end of the last block that was read to its end. */
typedef struct stoa_log_end {
    uint64_t position, epoch;
    stoa_hash256 hash;
} stoa_log_end;
stoa_log_end stoa_log_ended(const stoa_log_reader *reader);
const stoa_streams *stoa_log_streams(const stoa_log_reader *reader);
/* Its reads go on to the end of the block that they would end in. */
void stoa_log_whole(stoa_log_reader *reader);
/* That stream is so, as a snapshot says, which knows all that were spawned up to a position. Errors: CORRUPT, FULL. */
stoa_err stoa_log_learn(stoa_log_reader *reader, uint32_t stream, const stoa_kind *kind, const char *name);
void stoa_log_learned(stoa_log_reader *reader, uint64_t position);
/* The schema that events of a row are written under: one more than it has upcasts. */
static inline uint32_t stoa_kind_schema(const stoa_kind *kind, uint32_t row)
{
    uint32_t schema = 1;
    for (const stoa_upcast *at = kind->upcasts; at && at->type; at++) { schema += at->row == row; }
    return schema;
}
/* The first position that is still there. */
uint64_t stoa_journal_first(stoa_journal *journal);
/* As stoa_log_read, of one block, which may not be in the log yet. */
stoa_err stoa_log_read_block(stoa_log_reader *reader, const stoa_block *block, uint64_t from, uint64_t until,
                             stoa_log_visit visit, void *context);
/* VERSION: the journal is of a build with other kinds. */
stoa_err stoa_log_no_kind(const char *shard, uint64_t position, const char *kind);

#endif
