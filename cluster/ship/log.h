/* log.h - a journal that is copied to another node while it grows: one side ships it, the other keeps the copy. What a standby will
 * stand on.
 *
 * Blocks go as they are stored, sealed ones sealed, and are appended there byte for byte: each must continue the copy's chain by
 * position, epoch and hash, or nothing more is taken (FORKED). What a shipper may send is what its owner says is committed. A block is
 * released (transport/ship.h) when it is as durable there as a sync makes it, so the shipper's view of the copy is what an
 * acknowledgement of policy `replica` can rest on. The newest snapshot that stands on shipped blocks follows them, entry by
 * entry: where it broke off it goes on, also after a restart of the copy; it counts once all of its chunks were read back there and
 * compared with their hashes.
 *
 * Where the log's beginning was purged, a copy that is empty begins behind it; one that ends before what is left is not served
 * (GONE): an archive must bring it up to there. A copy whose last block is not in the log is not served either (FORKED): who has which
 * history is not for this file to decide.
 *
 * Neither waits for the other, knows a clock, nor makes a thread; both block on their journal's disk. The owner has a link, tells the
 * ship what the link tells (stoa_log_out_ship, stoa_log_in_ship), and calls step after each poll:
 *
 *     stoa_ship_up, _down, _take, _flushed on the ship; next_ns = stoa_log_out_step(out, committed, now_ns)
 *
 * One thread each; the copy's is the only one that appends to it.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef STOA_CLUSTER_SHIP_LOG_H
#define STOA_CLUSTER_SHIP_LOG_H

#include "storage/journal.h"
#include "transport/ship.h"

typedef struct stoa_log_options {
    stoa_journal *journal;
    uint64_t incarnation; /* as in transport/ship.h; so are the next three */
    uint32_t ring_bytes, frame_limit;
    uint64_t again_ns;
} stoa_log_options;

/* Where a copy is. */
typedef struct stoa_log_place {
    uint64_t last, epoch; /* of its last block that is durable */
    stoa_hash256 hash;
    uint64_t snapshot; /* position of its newest whole snapshot; 0: it has none */
    stoa_err refused;  /* it takes nothing more, because of this */
} stoa_log_place;

/* --- the log's side */

typedef struct stoa_log_out stoa_log_out;

/* Errors: INVALID, NOMEM. */
stoa_err stoa_log_out_new(const stoa_log_options *options, stoa_log_out **out);
/* NULL is allowed. The ship is down, and the link closed. */
void stoa_log_out_free(stoa_log_out *log);
stoa_ship *stoa_log_out_ship(stoa_log_out *log);

/* Ship what is committed, up to that position. Returns when to call again at the latest; and whenever more is committed. */
uint64_t stoa_log_out_step(stoa_log_out *log, uint64_t committed, uint64_t now_ns);

typedef struct stoa_log_out_view {
    stoa_log_place copy; /* as it said last */
    stoa_err err;        /* why it is not served: GONE, FORKED, what the journal's read returned; until it comes again */
    uint64_t shipped;    /* position of the last block in the ring */
    uint64_t blocks, entries, snapshots; /* shipped */
} stoa_log_out_view;
void stoa_log_out_look(const stoa_log_out *log, stoa_log_out_view *out);

/* --- the copy's side */

typedef struct stoa_log_in stoa_log_in;

/* Errors: INVALID, NOMEM, those of the journal. */
stoa_err stoa_log_in_new(const stoa_log_options *options, stoa_log_in **out);
void stoa_log_in_free(stoa_log_in *log);
stoa_ship *stoa_log_in_ship(stoa_log_in *log);

/* Make durable what was taken, release it, say where the copy is. */
uint64_t stoa_log_in_step(stoa_log_in *log, uint64_t now_ns);

typedef struct stoa_log_in_view {
    stoa_log_place at;
    uint64_t blocks, entries, snapshots, syncs;
} stoa_log_in_view;
void stoa_log_in_look(const stoa_log_in *log, stoa_log_in_view *out);

#endif
