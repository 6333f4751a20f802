/* ship.h - a stream of records from one node into a ring in another one's memory: for what is long and must arrive, such as the
 * blocks of a journal.
 *
 * The receiver has a ring, and exposes it where the link can put (link.h, one-sided); the sender has its image. A record is written
 * into the image, put from there to where it belongs, flushed, and then announced in a frame: so the receiver is woken, and looks
 * at nothing that is not there yet. Where the link cannot put, the bytes go in frames. What the receiver's user is done with is released;
 * positions count bytes from the beginning of the stream and only grow, and whatever one side tells the other is such a position, so
 * losing, doubling or reordering it harms nothing.
 *
 *     released <= taken <= head <= released + ring        sender: what is below released can be written over
 *
 * What it promises, also where the link loses, doubles, delays or reorders frames, puts and flushes:
 *
 *     order    records are told in the order they were sent, each once
 *     whole    each has a checksum over the stream's name, its position and its bytes: what was lost on the way is put again
 *     resume   a connection may come and go: while both ends live the stream goes on from what the receiver has taken
 *     reset    when one of them has restarted, the stream begins anew and says so: what was not released is lost here, and the
 *              users find out by the receiver's note from where to go on
 *     bounds   the ring is all that is under way, and FULL is an answer
 *
 * A checksum finds accidents. A peer that is hostile can write to a ring that it was given at any time, also while a record is
 * looked at: who must be sure copies a record first and proves the copy (a block's hash, a chunk's name).
 *
 *     record  u32 bytes (UINT32_MAX: nothing up to the ring's end) | u32 CRC-32C | u64 position | bytes, filled up to 16
 *
 * Use, on either side: what the link's poll tells of this peer, then once per turn of the owner's loop
 *
 *     stoa_ship_up, _down, _take, _flushed; stoa_ship_send or _release; next_ns = stoa_ship_step(ship, now_ns)
 *
 * One thread per ship. Memory is taken by new only. A ship is told down before its link is closed, and freed after.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef STOA_TRANSPORT_SHIP_H
#define STOA_TRANSPORT_SHIP_H

#include "transport/link.h"

enum {
    STOA_SHIP_RING_MIN = 4096,    /* bytes; a power of two */
    STOA_SHIP_RING_MAX = 1 << 30,
    STOA_SHIP_NOTE_MAX = 512 /* bytes */
};

typedef struct stoa_ship stoa_ship;

/* What a ship tells. A callback may send, release and note; it may not step, take or free. */
typedef struct stoa_ship_events {
    /* Receiver. bytes stay until everything up to end is released. False: not now; it is told again with a later step. */
    bool (*record)(void *context, stoa_ship *ship, const void *bytes, uint32_t size_bytes, uint64_t end);
    /* The stream goes on over a new connection, or begins: then so many bytes were sent and not released, and some of them may
     * have arrived (lost; receiver: 0). A sender knows the receiver's note by then. */
    void (*begun)(void *context, stoa_ship *ship, bool resumed, uint64_t lost);
    /* Optional. Sender: more is released, or the note is another one. */
    void (*moved)(void *context, stoa_ship *ship);
    void *context;
} stoa_ship_events;

/* Zero stands for the default where one is named. */
typedef struct stoa_ship_options {
    bool sends;           /* else it receives */
    uint64_t incarnation; /* of this end: not 0, and more than at its last start */
    uint32_t ring_bytes;  /* the same on both sides; 1 MiB */
    uint32_t frame_limit; /* the link's */
    uint64_t again_ns;    /* what is not heard of for so long is said again; 200 ms, and longer each time */
    stoa_ship_events events;
} stoa_ship_options;

/* Errors: INVALID, NOMEM. */
stoa_err stoa_ship_new(const stoa_ship_options *options, stoa_ship **out);
/* NULL is allowed. */
void stoa_ship_free(stoa_ship *ship);

/* There is a connection; and it is gone, or will be. */
void stoa_ship_up(stoa_ship *ship, stoa_link *link, stoa_peer peer, uint64_t now_ns);
void stoa_ship_down(stoa_ship *ship);
/* A frame came. Errors, each counted, none of which changes what the ship does: MALFORMED, CORRUPT (checksum), VERSION, STALE (of
 * another connection or an older end), FORKED (says what cannot be), INVALID (a ring of another size). */
stoa_err stoa_ship_take(stoa_ship *ship, const void *bytes, uint32_t size_bytes, uint64_t now_ns);
/* The link's flushed. */
void stoa_ship_flushed(stoa_ship *ship, uint64_t token, uint64_t now_ns);
/* Put, announce, answer, say again. Returns when to call again at the latest. */
uint64_t stoa_ship_step(stoa_ship *ship, uint64_t now_ns);

/* Sender. Queue a record; bytes are copied. Goes with the next step. Errors: FULL (moved tells of room), TOO_LARGE
 * (stoa_ship_record_max), INVALID (no bytes), UNAVAILABLE (the stream has not begun). */
stoa_err stoa_ship_send(stoa_ship *ship, const void *bytes, uint32_t size_bytes);
uint32_t stoa_ship_record_max(const stoa_ship *ship);
/* The receiver's; "" before the first. */
const void *stoa_ship_noted(const stoa_ship *ship, uint32_t *size_out);

/* Receiver. The user is done with all up to end (of stoa_ship_events.record). */
void stoa_ship_release(stoa_ship *ship, uint64_t end);
/* What the sender shall know of this side: where it stands. Told with the next step, and again until it was heard; only the last
 * one counts. Errors: TOO_LARGE. */
stoa_err stoa_ship_note(stoa_ship *ship, const void *bytes, uint32_t size_bytes);

typedef struct stoa_ship_counts {
    uint64_t records, bytes;        /* sent; or told: each once */
    uint64_t puts, frames, flushes; /* pieces that were put; that went in frames */
    uint64_t again;                 /* went back to what was taken */
    uint64_t broken;                /* records that were not whole where they should have been */
    uint64_t begins, resumes, refused;
} stoa_ship_counts;

typedef struct stoa_ship_view {
    bool begun;     /* over this connection */
    bool one_sided; /* by puts; whether the provider does them: stoa_link_traits.writes_memory */
    uint64_t incarnation, peer_incarnation;
    uint64_t head, taken, released;
    stoa_ship_counts counts;
} stoa_ship_view;

void stoa_ship_look(const stoa_ship *ship, stoa_ship_view *out);

#endif
