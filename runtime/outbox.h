/* outbox.h - outside effects that are not done yet: what a shard must still have done outside. Internal to runtime/.
 *
 * An effect is an event of the shard's own, in the block of the cascade that wants it (ledger.h); so is that it is done, or has
 * failed. What is in between is pending: a fold of the log, like all the ledger. Its name is (shard, epoch, position, n): the
 * writer's epoch and the first position of the cascade that wanted it, and the how manieth effect of that cascade it is. It never
 * changes, whoever has it done after whatever crash. effects.h is the running shard's side.
 *
 * Bounds: 1,024 effects and 1 MB of payloads (in pieces of 60 bytes) are pending at most, a payload takes 4 KB as msgpack.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef STOA_RUNTIME_OUTBOX_H
#define STOA_RUNTIME_OUTBOX_H

#include "base/pool.h"
#include "base/table.h"

enum {
    STOA_OUTBOX_MAX = 1024,
    STOA_OUTBOX_PIECES = 17476, /* 1 MB */
    STOA_OUTBOX_PIECE_BYTES = 60,
    STOA_EFFECT_BYTES = 4096,
};

STOA_BYTES(stoa_effect_payload, STOA_EFFECT_BYTES)

/* table and row: of what is to be done. stream: of the actor that wants it. */
#define stoa_shard_log_effect_FIELDS(F, S)                                                                             \
    F(S, uint64_t, epoch) F(S, uint64_t, position) F(S, uint32_t, n) F(S, uint32_t, stream) F(S, uint64_t, row)        \
    F(S, stoa_text30, table) F(S, stoa_effect_payload, payload)
/* error: 0, or why it will never be done. */
#define stoa_shard_log_effected_FIELDS(F, S)                                                                           \
    F(S, uint64_t, epoch) F(S, uint64_t, position) F(S, uint32_t, n) F(S, int32_t, error)
#define STOA_OUTBOX_ROWS(ROW, K)                                                                                       \
    ROW(K, EVENT, effect, _, "Something is to be done outside.")                                                       \
    ROW(K, EVENT, effected, _, "It was done, or failed for good.")

typedef struct stoa_pending {
    uint64_t epoch, position;
    uint32_t n, stream;
    uint32_t row, bytes;
    uint32_t piece, pad_;
    uint32_t older, newer; /* in the order in which they were wanted */
    stoa_text30 table;
} stoa_pending;
_Static_assert(sizeof(stoa_pending) == 80, "no padding");

typedef struct stoa_effect_piece {
    uint32_t next;
    uint8_t at[STOA_OUTBOX_PIECE_BYTES];
} stoa_effect_piece;

typedef struct stoa_outbox {
    uint64_t done, failed; /* ever */
    uint32_t oldest, newest;
    STOA_POOL(stoa_pending, STOA_OUTBOX_MAX) pending;
    STOA_POOL(stoa_effect_piece, STOA_OUTBOX_PIECES) pieces;
} stoa_outbox;

/* How many pieces a payload takes. */
static inline uint32_t stoa_outbox_pieces(uint32_t bytes)
{
    return (bytes + STOA_OUTBOX_PIECE_BYTES - 1) / STOA_OUTBOX_PIECE_BYTES;
}

struct stoa_shard_log_effect;
struct stoa_shard_log_effected;
void stoa_outbox_effect(stoa_outbox *outbox, const struct stoa_shard_log_effect *event);
/* One that is not pending: nothing happens. */
void stoa_outbox_effected(stoa_outbox *outbox, const struct stoa_shard_log_effected *event);

/* The pending one of that name, 0: there is none. */
uint32_t stoa_outbox_find(const stoa_outbox *outbox, uint64_t epoch, uint64_t position, uint32_t n);
/* Copy its payload, pending->bytes long, into at. */
void stoa_outbox_payload(const stoa_outbox *outbox, const stoa_pending *pending, uint8_t *at);

#endif
