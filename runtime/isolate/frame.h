/* isolate/frame.h - what a node and a child say to each other: a head and a payload, encoded as its row's type. Internal to runtime/.
 *
 *     node:   START, then MESSAGE and TICK, each a turn with a number of its own, counted from 0
 *     child:  for each of them, in order: SEND, ASK, WAKE as the turn asked for, then DONE or FAILED or EXIT with its number
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
    STOA_ISOLATE_SEND = 16, /* ref, table, row, payload */
    STOA_ISOLATE_ASK,       /* the same, ns: deadline; token */
    STOA_ISOLATE_WAKE,      /* ns: have a TICK after so long */
    STOA_ISOLATE_DONE,      /* error; a command's reply as payload where it is OK */
    STOA_ISOLATE_FAILED,    /* payload: text */
    STOA_ISOLATE_EXIT,      /* the actor ends; error: 0, or it failed */
} stoa_isolate_word;

typedef struct stoa_isolate_head {
    uint32_t word, row; /* number in its table */
    uint64_t turn, ref, token, ns, wall_ns, command;
    int32_t error;
    uint32_t zero;
    char table[32]; /* text; zero behind it */
} stoa_isolate_head;
_Static_assert(sizeof(stoa_isolate_head) == 96, "no padding");

typedef struct stoa_isolate_given {
    char key[64];
    uint32_t sends, peer_count;
    struct {
        char name[64];
        uint64_t ref;
    } peers[STOA_ISOLATE_PEERS];
} stoa_isolate_given;

/* Take a frame of a stranger's apart; payload points into bytes. Errors: MALFORMED. */
static inline stoa_err stoa_isolate_frame_read(const uint8_t *bytes, uint32_t size_bytes, stoa_isolate_head *head_out,
                                               const uint8_t **payload_out, uint32_t *payload_bytes_out)
{
    if (size_bytes < sizeof *head_out) { return STOA_E_MALFORMED; }
    stoa_isolate_head head;
    memcpy(&head, bytes, sizeof head);
    if (head.zero || head.table[sizeof head.table - 1]) { return STOA_E_MALFORMED; }
    *head_out = head;
    *payload_out = bytes + sizeof head;
    *payload_bytes_out = size_bytes - (uint32_t)sizeof head;
    return STOA_OK;
}

/* Decode a payload that fills its bytes exactly; of a zero size, one that was never written. Errors: what decoding says, MALFORMED. */
stoa_err stoa_isolate_payload_read(const stoa_type *type, const uint8_t *bytes, uint32_t size_bytes, void *out);
/* A frame whole in `to`, which has STOA_ISOLATE_FRAME_MAX bytes; row NULL: without a payload. Returns its size; 0: too large. */
uint32_t stoa_isolate_frame_write(uint8_t *to, stoa_isolate_head *head, const stoa_row *row, const void *payload);

/* Put ref first among the last `max` that were named; returns their count. Both sides count alike. */
uint32_t stoa_isolate_know(uint64_t *known, uint32_t count, uint32_t max, uint64_t ref);

#endif
