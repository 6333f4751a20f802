/* once.h - exactly once in effect: how a running shard deals with requests that have a name (requests.h). Internal to runtime/.
 *
 * A request's name travels behind its payload (stoa_request_key). When its turn comes the shard looks it up:
 *
 *     not known                      it is handled; when its cascade had an effect, the answer is noted in the same block
 *     answered                       the same answer again, and nothing runs. While the first one waits behind the wall the second
 *                                    one waits with it, for the same position
 *     begun, and still under way     it waits for the answer with who asked first (at most STOA_JOINED_MAX; the one who waits
 *                                    longest is told UNAVAILABLE then, and may ask again)
 *     begun, and its answer is lost  STALE: it had an effect, and nobody knows the answer
 *     below a floor                  STALE
 *     the name of another request    DUPLICATE
 *
 * Most requests are answered in the cascade that they begin. One that is forwarded out of the shard is under way until its
 * answer comes back: on leaving, the duty to answer becomes the shard's own (reply_to names the shard), so that the answer passes
 * here and is noted. What had no effect is not noted; asked again it is handled again.
 *
 * Core: the shard's. Nothing here allocates.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef STOA_RUNTIME_ONCE_H
#define STOA_RUNTIME_ONCE_H

#include "runtime/core.h"

struct stoa_shard;

enum { STOA_UNDER_WAY_MAX = 1024, STOA_JOINED_MAX = 4 };

/* What stands behind the payload of a request with a name. */
typedef struct stoa_request_key {
    uint64_t client, session, number;
    uint64_t fingerprint; /* of row and payload */
} stoa_request_key;

static inline uint32_t stoa_request_key_at(uint32_t payload_bytes)
{
    return (payload_bytes + 7u) & ~7u;
}
static inline stoa_request_key *stoa_msg_key(stoa_msg *msg)
{
    return (stoa_request_key *)(void *)((unsigned char *)stoa_msg_body(msg) + stoa_request_key_at(msg->size_bytes));
}
/* What is zero at the end does not count, so that a payload that got fields is the same as before. */
uint64_t stoa_request_fingerprint(const stoa_row *row, const void *payload);

/* Errors: NOMEM. */
stoa_err stoa_once_init(struct stoa_shard *shard);
void stoa_once_deinit(struct stoa_shard *shard);

/* The cascade of msg, for actor, is about to begin. True: it is not to be run; the message is used up. */
bool stoa_once_begin(struct stoa_shard *shard, stoa_actor *actor, stoa_msg *msg);
/* A message of the cascade is about to leave the shard. */
void stoa_once_leaving(struct stoa_shard *shard, stoa_msg *msg);
/* The cascade is over. */
void stoa_once_end(struct stoa_shard *shard);

/* Whether an answer is for the shard itself. */
static inline bool stoa_once_is_ours(const stoa_msg *msg)
{
    return msg->to.at >> 40 == 0 && (msg->flags & (STOA_MSG_ANSWER | STOA_MSG_TOPIC)) == STOA_MSG_ANSWER;
}
/* An answer from outside for a shard of this core: it waits in its inbox. Owns msg. */
void stoa_once_take(stoa_core *core, stoa_msg *msg);
/* Its time has come: a cascade of its own. Owns msg. */
void stoa_once_returned(struct stoa_shard *shard, stoa_msg *msg);

/* Answers for who came later are committed, up to shard->committed. */
void stoa_once_release(struct stoa_shard *shard);
/* All that is under way, and all that waits, is answered with err: nothing of it is known any more. */
void stoa_once_drop(struct stoa_shard *shard, stoa_err err);

#endif
