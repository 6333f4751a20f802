/* follow.h - the follower: folds the committed log beside the running shards, and makes snapshots of what it has. Internal to
 * runtime/.
 *
 * One thread a node (in the simulator: steps that it chooses) goes round the shards with a journal. For each it keeps a fold
 * (fold.h) of what is durable; so no turn ever waits for a snapshot, and nothing uncommitted is in one. A snapshot is due behind
 * so many events, or so long a time with any; it goes through these phases, each in small steps, while its fold stands still:
 *
 *     START    the store is opened; what is not of this log is erased; the newest snapshot that can be used is the fold's beginning
 *     FOLLOW   read what is durable, apply it
 *     COMPARE  each state that was touched since the last snapshot with the running one, in slices of 64 KiB on its core: where both
 *              have the same number of events they must have the same bytes. Where the running one is ahead by now, nothing can
 *              be said, and the next snapshot tries again. So a shard is compared as fast as it is quiet, at 6 us a slice
 *     IMAGE    chunks go into the store, 1 MiB a step; what did not change is not even looked at
 *     VERIFY   what was written is read back, and its hashes compared
 *     PRUNE    older ones go
 *
 * A state that differs is logged (state_differs_from_log) and no snapshot is made of it; the fold begins anew from the log.
 * An error of the store (a full disk) gives the snapshot up; it is tried again after some seconds. An error of the log ends
 * the following of that shard, and is logged; the shard itself learns of its broken log from its own reads and writes.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef STOA_RUNTIME_FOLLOW_H
#define STOA_RUNTIME_FOLLOW_H

#include "runtime/image.h"

typedef enum stoa_follow_phase {
    STOA_FOLLOW_START,
    STOA_FOLLOW_FOLLOW,
    STOA_FOLLOW_COMPARE,
    STOA_FOLLOW_IMAGE,
    STOA_FOLLOW_VERIFY,
    STOA_FOLLOW_PRUNE,
    STOA_FOLLOW_FAILED,
    STOA_FOLLOW_PHASES
} stoa_follow_phase;
typedef struct stoa_follow stoa_follow;

/* For one shard with a journal, which was recovered. Errors: NOMEM. */
stoa_err stoa_follow_new(struct stoa_shard *shard, stoa_follow **out);
void stoa_follow_free(stoa_follow *follow);
/* Whether a step would do something now. */
bool stoa_follow_due(stoa_follow *follow, uint64_t now_ns);
/* When it will be due though nothing comes; UINT64_MAX: never. */
uint64_t stoa_follow_due_ns(const stoa_follow *follow);
void stoa_follow_step(stoa_follow *follow, uint64_t now_ns);
/* Any thread: what it has come to; ask for a snapshot of what is committed now; whether all asks were answered, or never will be. */
void stoa_follow_look(stoa_follow *follow, stoa_following_view *out);
void stoa_follow_ask(stoa_follow *follow);
bool stoa_follow_answered(stoa_follow *follow);

/* The node's thread; both do nothing where options ask for no snapshots. */
stoa_err stoa_follower_add(stoa_node *node, struct stoa_shard *shard);
void stoa_follower_stop(stoa_node *node);
void stoa_follower_wake(stoa_node *node);

/* --- what recovery and the past need of snapshots (shard_restore.c) */

/* The newest snapshot at or below at_most that this build can use on this log, and who is in it. Those that it cannot use are passed
 * over, and logged (snapshot_refused, with why) where log is true. Errors: NOT_FOUND, NOMEM. */
stoa_err stoa_shard_snapshot_find(struct stoa_shard *shard, uint64_t at_most, bool log, stoa_snapshot **out,
                                  stoa_image_directory *directory_out);
/* At open, on the core: the shard's actors as the newest snapshot has them; *position_out: 0 where none could be used. Errors: NOMEM,
 * those of spawning. */
stoa_err stoa_shard_restore(struct stoa_shard *shard, uint64_t at_most, uint64_t *position_out);
/* As it was before that, or before the log was replayed: actors beyond there are unknown to everybody, and states are zero. */
void stoa_shard_unrestore(struct stoa_shard *shard, uint32_t there);

#endif
