/* remote/frames.h - what two remotes say to each other, as messages of their session. Internal to cluster/remote/.
 *
 * A session's message has a type, a source, a target and bytes. Numbers name actors: those of the node that has them, given out by
 * its remote. The low 24 bits are a place, which one actor at a time has; what is above only grows, so a number is never used again
 * in an incarnation.
 *
 *     NAME      source: my actor; bytes: its name, "kind/key". It can be found from now on
 *     NAMED     I have told all names that there are by now
 *     GONE      source: my actor; {why, returns}, text: it has ended
 *     CAST      source: who sends, 0: nobody who could be answered; target: your actor; head, payload
 *     ASK       the same, head.id: to be answered with
 *     ANSWER    target: the id; source: who answers, 0; head.error, or head.row and payload
 *     REFUSED   source: my actor; target: yours, which sent; head: id (its token), error, row
 *     LINK      source: my actor, which has linked itself to the target, yours. UNLINK: they are linked no more, whoever made it
 *     EXIT      source: my actor, which was linked and has ended, or lost sight of the target, yours; {why, 0}, text
 *     FULL      source: my actor, whose mailbox is full: hold what is for it. ROOM: no more; source 0: nobody's is
 *     WANT      bytes: a pattern of topics that somebody here subscribes to. UNWANT: nobody any more; no bytes: to none
 *     PUBLISH   head, bytes in the topic's name, name, payload
 *     SHARD     bytes: the name of a shard that my node serves
 *     ALL       my node serves the shards that I have told, and no others
 *     MAIL      bytes: what a channel of its says to one of a shard of yours
 *     AGAIN     I took you for lost, and you may not have noticed: tell me names and patterns once more; links made from here are over
 *
 * NAME, NAMED, GONE and all of an actor's go on the normal lane, but for rows of class CONTROL; SHARD, ALL and MAIL on the bulk lane. What is larger than a message of the session
 * comes in pieces, one behind the other on its lane; all but the last have MORE in their type.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef STOA_CLUSTER_REMOTE_FRAMES_H
#define STOA_CLUSTER_REMOTE_FRAMES_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "base/table.h"
#include "runtime/actor.h"

typedef enum stoa_remote_frame {
    STOA_REMOTE_FRAME_NONE,
    STOA_REMOTE_NAME,
    STOA_REMOTE_GONE,
    STOA_REMOTE_CAST,
    STOA_REMOTE_ASK,
    STOA_REMOTE_ANSWER,
    STOA_REMOTE_REFUSAL,
    STOA_REMOTE_EXIT,
    STOA_REMOTE_FULL,
    STOA_REMOTE_ROOM,
    STOA_REMOTE_WANT,
    STOA_REMOTE_UNWANT,
    STOA_REMOTE_PUBLISH,
    STOA_REMOTE_SHARD,
    STOA_REMOTE_MAIL,
    STOA_REMOTE_AGAIN,
    STOA_REMOTE_LINK,
    STOA_REMOTE_UNLINK,
    STOA_REMOTE_ALL,
    STOA_REMOTE_NAMED,
    STOA_REMOTE_FRAMES
} stoa_remote_frame;
enum { STOA_REMOTE_MORE = 0x80, STOA_REMOTE_TELLS = 1 /* head.flags: who sent wants to be told of a refusal */ };

typedef struct stoa_remote_head {
    uint64_t row;     /* stoa_remote_row_word; 0: none */
    uint64_t id;
    uint64_t left_ns; /* of what came in pieces: until its deadline when it was sent; 0: none, or the session says it */
    int32_t error;
    uint32_t flags;
} stoa_remote_head;
_Static_assert(sizeof(stoa_remote_head) == 32, "wire format");

/* Which row of which table. */
uint64_t stoa_remote_row_word(const stoa_row *row);

/* A frame taken apart; what points, points into its bytes. */
typedef struct stoa_remote_body {
    stoa_remote_head head;
    char text[STOA_NAME_MAX + 1];  /* name, reason, pattern, topic, shard */
    stoa_end why;
    bool returns;
    const uint8_t *payload;
    uint32_t payload_bytes;
} stoa_remote_body;

/* Whether bytes are the body of such a frame; nothing is believed of them but their form. Errors: MALFORMED. */
stoa_err stoa_remote_frame_read(uint8_t type, const void *bytes, uint32_t size_bytes, stoa_remote_body *out);

#endif
