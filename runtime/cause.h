/* cause.h - what led to an event, and what came of it, across shards: one tree of cascades, told from the logs.
 *
 * A cascade that a channel brought begins with the event that says so (channel_book.h): `delivered` and `refused` name the sender's
 * shard and the position of its `mailed`, `returned` names the channel's message. Along these one climbs to the cascade that began
 * it all, and from there goes down again: each `mailed` to what its receiver did with it, and to the return of what was refused.
 *
 * Logs have no index of that, so what came of a message is looked for behind its time, and bounded: STOA_CAUSE_DEPTH cascades up and
 * down, events_max events told, looked_max positions read, and for as long as go_on says so. Where a trail ends before its end, a
 * note says why: the log was purged there, the message is still under way, the shard is not here, the bound.
 *
 * Any thread but a core. Reads committed events only; disturbs nobody.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef STOA_RUNTIME_CAUSE_H
#define STOA_RUNTIME_CAUSE_H

#include "runtime/node.h"

STOA_API_BEGIN

enum { STOA_CAUSE_DEPTH = 12, STOA_CAUSE_EVENTS = 2000, STOA_CAUSE_LOOKED = 2000000, STOA_CAUSE_TEXT = 320 };

/* The cascade that began it, as far as it can be told. */
typedef struct stoa_cause_root {
    const char *shard;
    uint64_t position, wall_ns;        /* of its first event */
    bool asked;                        /* a request with a name: these three, and how it was answered */
    uint64_t client, session, number;
    const char *state;
    stoa_err error;
} stoa_cause_root;

/* Why the trail ends here: GONE (purged), AGAIN (still under way), NOT_FOUND (no such shard here), FORKED (the other log is another
 * one), TIMEOUT (a bound), CANCELLED (go_on), what reading returned. position: in that shard, of what is missing; 0: not known. */
typedef struct stoa_cause_note {
    const char *shard, *text;
    uint64_t position;
    stoa_err err;
} stoa_cause_note;

/* Who is told: root once; a note before it where nothing is known of what was before; then each event, with the events
 * that came of it between event and end. Texts are valid until the call returns. */
typedef struct stoa_cause_to {
    void *context;
    void (*root)(void *context, const stoa_cause_root *root);
    void (*event)(void *context, const char *shard, const stoa_event_view *event);
    void (*end)(void *context);
    void (*note)(void *context, const stoa_cause_note *note);
    bool (*go_on)(void *context); /* NULL: always */
} stoa_cause_to;

/* Tell the tree that the event at position is of. shards: all that are looked into. events_left, looked_left: bounds, used up by the
 * call; both may be NULL. Errors: NOT_FOUND (not committed yet), GONE (purged), what reading that one event returns. */
stoa_err stoa_cause_tell(stoa_shard *const *shards, uint32_t count, stoa_shard *shard, uint64_t position, const stoa_cause_to *to,
                         uint64_t *events_left, uint64_t *looked_left);

STOA_API_END

#endif
