/* isolate/proxy.h - the state of the actor that stands for a child. Internal to runtime/.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef STOA_RUNTIME_ISOLATE_PROXY_H
#define STOA_RUNTIME_ISOLATE_PROXY_H

#include "runtime/isolate/frame.h"
#include "runtime/isolate/warden.h"
#include "runtime/node.h"

/* Turns under way: what others sent; answers, and what the runtime tells because it was asked to, on top of that. */
enum { STOA_ISOLATE_SLOTS = STOA_ISOLATE_WINDOW + 2 * STOA_ISOLATE_ASKS };
/* Those whom the child may send to, and those whom it may have seen as such: it is up to all of its turns behind. */
enum { STOA_ISOLATE_KNOWN_HERE = STOA_ISOLATE_KNOWN + STOA_ISOLATE_SLOTS };

typedef struct stoa_isolated {
    stoa_isolate_pipe pipe;
    stoa_isolate options;
    stoa_ward *ward; /* NULL: none */
    bool looking, watching, exits, over;
    uint32_t end_looks;
    const char *exit_reason;
    const char *broken;  /* why it ends; NULL: it serves */
    uint64_t sent, done; /* turns that it was given; of those, over. The first one is its start */
    uint64_t seen_done;  /* at the last beat */
    uint64_t beat_ns;
    uint64_t dropped[STOA_DROP_COUNT]; /* of what it sent */
    uint32_t still;      /* beats without a turn that ended */
    uint32_t quiet;      /* looks that found nothing */
    uint32_t ops, asks;  /* of the child's turn; under way */
    stoa_timer tick;
    uint32_t peer_count, known_count;
    uint64_t peers[STOA_ISOLATE_PEERS]; /* as the child was told last */
    uint64_t names_seen; /* stoa_names_changes then; 0: look in any case */
    uint64_t known[STOA_ISOLATE_KNOWN_HERE]; /* the last ones who sent, the latest first */
    struct {
        uint64_t id, token; /* the runtime's, 0: free; the child's */
    } monitors[STOA_ISOLATE_MONITORS];
    struct {
        stoa_asker asker;
        const stoa_row *reply;
        uint64_t token; /* 0: none */
    } kept[STOA_ISOLATE_KEEPS]; /* by token */
    uint32_t hears_count, tells_count;
    char hears[STOA_ISOLATE_GRANTS][64], tells[STOA_ISOLATE_GRANTS][64];
    struct {
        stoa_asker asker;
        const stoa_row *row;
    } turns[STOA_ISOLATE_SLOTS];
} stoa_isolated;
_Static_assert(sizeof(stoa_isolated) <= STOA_ISOLATE_STATE_BYTES, "as the kinds have it");

/* Give the child a turn. Errors: FULL, TOO_LARGE, FAILED (it broke its ring; broken says so). */
stoa_err stoa_isolate_tell(stoa_isolated *self, stoa_isolate_head *head, const char *topic, const stoa_row *row, const void *payload);

/* Do what a frame of the child's says. Returns why the child is to end, or NULL. */
const char *stoa_isolate_obey(stoa_turn *turn, stoa_isolated *self, const uint8_t *bytes, uint32_t size_bytes);

#endif
