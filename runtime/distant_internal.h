/* distant_internal.h - distant shards, as channels use them. Internal to runtime/.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef STOA_RUNTIME_DISTANT_INTERNAL_H
#define STOA_RUNTIME_DISTANT_INTERNAL_H

#include "runtime/channel.h"
#include "runtime/distant.h"

/* What a frame is on its way between nodes, before its body. */
typedef struct stoa_distant_head {
    uint8_t version, cls, reserved[2];
    uint32_t session, channel, there, generation;
    int32_t error;
    uint64_t epoch, cursor_seq, cursor_chain, base, acked, upto;
    stoa_text30 from, to;
} stoa_distant_head;
_Static_assert(sizeof(stoa_distant_head) == 72 + 2 * sizeof(stoa_text30) && sizeof(stoa_text30) == 32, "no byte of it is padding");

enum { STOA_DISTANT_BODY_BYTES = STOA_DISTANT_FRAME_MAX - sizeof(stoa_distant_head) };
_Static_assert((uint32_t)STOA_DISTANT_BODY_BYTES >= (uint32_t)STOA_MAIL_MAX, "the largest message fits");

/* What frames to distant shards are to the port that carries them. */
extern const stoa_row stoa_distant_row;

/* The shard of that name that is open here; NULL: none. Under node->lock. */
struct stoa_shard *stoa_node_shard_open(stoa_node *node, const char *name, size_t size);
/* The distant shard of that name; NULL: none. Under node->lock. */
const stoa_channel_peer *stoa_distant_named(const stoa_node *node, const char *name, size_t size);
/* The distant shard that an actor of that name is expected in; NULL: none. Under node->lock. */
const stoa_channel_peer *stoa_distant_home(const stoa_node *node, const char *actor);
/* The port that carries to it; NONE: nobody for now. Any thread. */
stoa_ref stoa_distant_way(const stoa_channel_peer *peer);
/* Whether that is SHARD@NODE, where the node is here and serves no such shard. Any thread. */
bool stoa_distant_absent(stoa_node *node, const stoa_text30 *shard);
/* Changes with what it says. */
uint32_t stoa_distant_news(const stoa_node *node);
void stoa_distants_free(stoa_node *node);

#endif
