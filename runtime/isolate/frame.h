/* isolate/frame.h - what a node and a child say to each other: a head, a text and a payload, encoded as its row's type. Internal to
 * runtime/.
 *
 *     node:   START, then MESSAGE, TICK and PEER, each a turn with a number of its own, counted from 0
 *     child:  for each of them, in order: SEND and what else the turn asked for, then DONE or KEPT or FAILED or EXIT with its number
 *     node:   DESCRIBE in place of START; child: DESCRIPTION, as many as it takes, then DONE. No turn follows (describe.h)
 *
 * Nothing else may be said, so a child acts only when it is its turn, and what it may do in one is bounded.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef STOA_RUNTIME_ISOLATE_FRAME_H
#define STOA_RUNTIME_ISOLATE_FRAME_H

#include <stdint.h>
#include <string.h>

#include "base/error.h"
#include "base/table.h"
#include "runtime/isolate/isolate.h"
#include "runtime/isolate/pipe.h"

typedef enum stoa_isolate_word {
    STOA_ISOLATE_START = 1, /* payload: stoa_isolate_given, then the args of the kind */
    STOA_ISOLATE_MESSAGE,
    STOA_ISOLATE_TICK,
    STOA_ISOLATE_DESCRIBE,
    STOA_ISOLATE_PEER,      /* row: which one; ref: who has its name from now on, 0: nobody. No handler runs */
    STOA_ISOLATE_SEND = 16, /* ref, table, row, payload; ns: within so long, or 0 */
    STOA_ISOLATE_ASK,       /* the same, ns: deadline; token */
    STOA_ISOLATE_WAKE,      /* ns: have a TICK after so long */
    STOA_ISOLATE_DONE,      /* error; a command's reply as payload where it is OK */
    STOA_ISOLATE_FAILED,    /* payload: text */
    STOA_ISOLATE_EXIT,      /* the actor ends; error: 0, or it failed */
    STOA_ISOLATE_TOLD,      /* as SEND; token: of the stoa_system.refused */
    STOA_ISOLATE_WHEN_ROOM, /* ref, token */
    STOA_ISOLATE_MONITOR,   /* ref; token: the child's own, not 0, growing */
    STOA_ISOLATE_DEMONITOR, /* token */
    STOA_ISOLATE_LINK,      /* ref */
    STOA_ISOLATE_UNLINK,    /* ref */
    STOA_ISOLATE_TOPIC,     /* text; token: a stoa_isolate_topic; row: the slot that it is bound to */
    STOA_ISOLATE_PUBLISH,   /* token: the slot; table, row, payload */
    STOA_ISOLATE_DESCRIPTION, /* payload: the next bytes of it */
    STOA_ISOLATE_KEPT,        /* as DONE, but who asked is answered later; token: the child's own, not 0 */
    STOA_ISOLATE_ANSWER,      /* token, of such a one; error, or the reply as payload */
} stoa_isolate_word;

typedef enum stoa_isolate_topic {
    STOA_ISOLATE_SUBSCRIBE,
    STOA_ISOLATE_UNSUBSCRIBE,
    STOA_ISOLATE_JOIN,
    STOA_ISOLATE_LEAVE,
    STOA_ISOLATE_BIND,
    STOA_ISOLATE_TOPIC_COUNT,
} stoa_isolate_topic;

typedef struct stoa_isolate_head {
    uint32_t word, row; /* number in its table */
    uint64_t turn, ref, token, ns, wall_ns, command;
    int32_t error;
    uint32_t text_bytes; /* that stand before the payload: of a MESSAGE the topic it was published on, of a TOPIC its name */
    char table[32]; /* text; zero behind it */
} stoa_isolate_head;
_Static_assert(sizeof(stoa_isolate_head) == 96, "no padding");

typedef struct stoa_isolate_given {
    char key[64];
    uint32_t sends, peer_count, hears_count, tells_count;
    char hears[STOA_ISOLATE_GRANTS][64], tells[STOA_ISOLATE_GRANTS][64];
    struct {
        char name[64];
        uint64_t ref;
    } peers[STOA_ISOLATE_PEERS];
} stoa_isolate_given;

/* Take a frame of a stranger's apart; payload points into bytes, and the text lies before it. Errors: MALFORMED. */
static inline stoa_err stoa_isolate_frame_read(const uint8_t *bytes, uint32_t size_bytes, stoa_isolate_head *head_out,
                                               const uint8_t **payload_out, uint32_t *payload_bytes_out)
{
    if (size_bytes < sizeof *head_out) { return STOA_E_MALFORMED; }
    stoa_isolate_head head;
    memcpy(&head, bytes, sizeof head);
    uint32_t rest_bytes = size_bytes - (uint32_t)sizeof head;
    if (head.text_bytes > STOA_NAME_MAX || head.text_bytes > rest_bytes || head.table[sizeof head.table - 1]) { return STOA_E_MALFORMED; }
    *head_out = head;
    *payload_out = bytes + sizeof head + head.text_bytes;
    *payload_bytes_out = rest_bytes - head.text_bytes;
    return STOA_OK;
}
/* The text of such a frame, as a string. */
static inline void stoa_isolate_frame_text(const stoa_isolate_head *head, const uint8_t *payload, char text[STOA_NAME_MAX + 1])
{
    memset(text, 0, STOA_NAME_MAX + 1);
    if (head->text_bytes) { memcpy(text, payload - head->text_bytes, head->text_bytes); }
}

/* Decode a payload that fills its bytes exactly; of a zero size, one that was never written. Errors: what decoding says, MALFORMED. */
stoa_err stoa_isolate_payload_read(const stoa_type *type, const uint8_t *bytes, uint32_t size_bytes, void *out);
/* A frame whole in `to`, which has STOA_ISOLATE_FRAME_MAX bytes; text NULL: none; row NULL: without a payload. Returns its size; 0: too
 * large. */
uint32_t stoa_isolate_frame_write(uint8_t *to, stoa_isolate_head *head, const char *text, const stoa_row *row, const void *payload);

/* Put ref first among the last `max` that were named; returns their count. Both sides count alike. */
uint32_t stoa_isolate_know(uint64_t *known, uint32_t count, uint32_t max, uint64_t ref);
/* Whether one of the patterns says all that pattern does ("a.>" says "a.*", which says "a.b"). */
bool stoa_isolate_grants(char (*grants)[64], uint32_t count, const char *pattern);

#endif
