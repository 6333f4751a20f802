/* commands_cause.h - trees of causes in a command's document. Internal to node/.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef STOA_NODE_COMMANDS_CAUSE_H
#define STOA_NODE_COMMANDS_CAUSE_H

#include "node/commands.h"
#include "runtime/cause.h"

enum { STOA_CAUSES_SHARDS = STOA_SETTINGS_VAULTS + 3 };

typedef struct stoa_causes {
    stoa_platform *platform;
    stoa_door_call *call;
    stoa_doc *doc; /* an array of it is open */
    stoa_shard *shards[STOA_CAUSES_SHARDS];
    uint32_t shard_count;
    uint64_t events_left, looked_left; /* for all trees of the document */
    bool noted;                        /* of this tree: a trail has ended */
    void (*on_event)(void *context, const char *shard, const stoa_event_view *event); /* NULL: nobody else wants to know */
    void *on_event_context;
} stoa_causes;

/* Fill in all but on_event. */
void stoa_causes_begin(stoa_causes *causes, stoa_platform *platform, stoa_door_call *call, stoa_doc *doc);
/* One more element of the array: the tree that the event is of. Errors: stoa_cause_tell's. */
stoa_err stoa_causes_put(stoa_causes *causes, stoa_shard *shard, uint64_t position);
/* How a terminal shows the array "tree". */
extern const char stoa_causes_view[];

/* Whether the call has time for more than its answer. context: a stoa_door_call. */
bool stoa_call_has_time(void *context);

#endif
