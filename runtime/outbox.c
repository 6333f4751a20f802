/* outbox.c - what is pending: a list of slots, payloads in pieces. See outbox.h.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "runtime/outbox.h"

#include <string.h>

#include "runtime/ledger.h"

STOA_BYTES_DEFINE(stoa_effect_payload, STOA_EFFECT_BYTES)

static uint32_t keep(stoa_outbox *o, const stoa_effect_payload *payload)
{
    uint32_t first = 0;
    for (uint32_t i = stoa_outbox_pieces(payload->count); i > 0; i--) { /* from the end, so that each knows the next */
        uint32_t from = (i - 1) * STOA_OUTBOX_PIECE_BYTES, left = payload->count - from;
        uint32_t index = STOA_POOL_TAKE(&o->pieces);
        o->pieces.at[index].next = first;
        memcpy(o->pieces.at[index].at, payload->at + from, left < STOA_OUTBOX_PIECE_BYTES ? left : STOA_OUTBOX_PIECE_BYTES);
        first = index;
    }
    return first;
}

void stoa_outbox_effect(stoa_outbox *o, const struct stoa_shard_log_effect *event)
{
    uint32_t index = STOA_POOL_TAKE(&o->pending); /* who staged it has seen to the room */
    o->pending.at[index] = (stoa_pending){.epoch = event->epoch,
                                          .position = event->position,
                                          .n = event->n,
                                          .stream = event->stream,
                                          .row = (uint32_t)event->row,
                                          .bytes = event->payload.count,
                                          .piece = keep(o, &event->payload),
                                          .older = o->newest,
                                          .table = event->table};
    if (o->newest) {
        o->pending.at[o->newest].newer = index;
    } else {
        o->oldest = index;
    }
    o->newest = index;
}

uint32_t stoa_outbox_find(const stoa_outbox *o, uint64_t epoch, uint64_t position, uint32_t n)
{
    uint32_t index = o->oldest; /* what is done is mostly the oldest, or close to it */
    while (index) {
        const stoa_pending *at = &o->pending.at[index];
        if (at->position == position && at->epoch == epoch && at->n == n) { return index; }
        index = at->newer;
    }
    return 0;
}

void stoa_outbox_effected(stoa_outbox *o, const struct stoa_shard_log_effected *event)
{
    uint32_t index = stoa_outbox_find(o, event->epoch, event->position, event->n);
    if (!index) { return; }
    const stoa_pending was = o->pending.at[index];
    for (uint32_t at = was.piece; at;) {
        uint32_t next = o->pieces.at[at].next;
        STOA_POOL_GIVE(&o->pieces, at);
        at = next;
    }
    if (was.older) {
        o->pending.at[was.older].newer = was.newer;
    } else {
        o->oldest = was.newer;
    }
    if (was.newer) {
        o->pending.at[was.newer].older = was.older;
    } else {
        o->newest = was.older;
    }
    STOA_POOL_GIVE(&o->pending, index);
    o->done += event->error == 0;
    o->failed += event->error != 0;
}

void stoa_outbox_payload(const stoa_outbox *o, const stoa_pending *pending, uint8_t *at)
{
    uint32_t left = pending->bytes;
    for (uint32_t piece = pending->piece; piece; piece = o->pieces.at[piece].next) {
        uint32_t bytes = left < STOA_OUTBOX_PIECE_BYTES ? left : STOA_OUTBOX_PIECE_BYTES;
        memcpy(at, o->pieces.at[piece].at, bytes);
        at += bytes;
        left -= bytes;
    }
}
