/* fabric/ring.h - both ends of one direction of a connection: frames are gathered to batches in a ring, and a batch comes to lie
 * at the same place of the other side's ring.
 *
 * A position counts bytes since the connection began and never comes again; its place is position % ring_bytes. A batch is in
 * one piece: one that would reach over the ring's end begins at its start. Who sends knows how far the other side has
 * read (acked), and never writes over what is not read: that is the flow control, and it is what makes one-sided writes
 * into the other's memory possible. At most STOA_RING_BATCHES are under way.
 *
 *     batch    frames, each at a multiple of 8: u32 size, u32 kind, bytes
 *
 * out: the ring of who sends.
 *
 *     open --(full, or sent now)--> sealed --> on the wire --> done --(acked)--> free
 *
 * in: the ring of who receives. Batches may come a little out of order; frames are read in order. What a peer says of
 * position, size and number is checked here, and frames are checked as they are read.
 *
 * pen: where sealed batches land first. Who only claims to be the other side gets no place in the ring and no number: a batch
 * goes there when it is proven. As many fit as an honest sender has on the wire.
 *
 * Memory is mapped when opened and touched as it is used. One thread. No I/O.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef STOA_TRANSPORT_FABRIC_RING_H
#define STOA_TRANSPORT_FABRIC_RING_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "transport/fabric/carrier.h"

enum {
    STOA_RING_BATCHES = 64,
    STOA_RING_BATCH_BYTES = 64 * 1024, /* a batch takes no frame more when it is that long */
    STOA_RING_ALIGN = 64,              /* of a batch */
    STOA_RING_FLIGHT = 16,             /* batches on the wire, of a connection */
    STOA_RING_FRAME_HEAD = 8,
    STOA_RING_BYTES_MAX = 1 << 30,
};

/* What a ring for frames of up to frame_limit needs: the longest batch, and the ring, which holds queue_frames of the longest
 * frames where that is not above 4 MiB, and four batches in any case. */
uint32_t stoa_ring_body_limit(uint32_t frame_limit);
uint64_t stoa_ring_bytes(uint32_t frame_limit, uint32_t queue_frames);

/* --- out */

/* Something given to the wire: first member of what sent() is called with. */
typedef struct stoa_parcel {
    void *owner;
    bool on_wire, is_batch, is_put; /* is_put: of fabric/put.c */
    uint8_t header[STOA_CARRIER_HEADER_BYTES];
} stoa_parcel;

typedef struct stoa_batch {
    stoa_parcel parcel;
    uint64_t number, position;
    uint32_t bytes, frames;
    bool sealed; /* its header is written, its bytes are encrypted */
    bool done;   /* not needed by the wire any more */
} stoa_batch;

typedef struct stoa_out {
    uint8_t *memory;
    uint64_t ring_bytes, position, acked; /* position: where the next batch may begin */
    uint64_t first, next, end; /* numbers of the oldest that is kept, the next for the wire, behind the last */
    uint32_t body_limit, queue_frames, queued; /* frames that are not on the wire yet */
    bool open;                                 /* the last one takes more frames */
    stoa_batch batches[STOA_RING_BATCHES];
} stoa_out;

/* A ring like the other side's. Errors: NOMEM, MALFORMED (there is no such ring). */
stoa_err stoa_out_open(stoa_out *out, void *owner, uint64_t ring_bytes, uint32_t body_limit, uint32_t queue_frames);
void stoa_out_close(stoa_out *out);

/* Add a frame, of two parts where head is given. Errors: FULL, TOO_LARGE (no batch can hold it). */
stoa_err stoa_out_add(stoa_out *out, uint32_t kind, const void *head, uint32_t head_bytes, const void *bytes,
                      uint32_t size_bytes);

/* The next batch for the wire, NULL when there is none; the open one only if now. It stays the next one until taken. */
stoa_batch *stoa_out_next(stoa_out *out, bool now);
void stoa_out_take(stoa_out *out);
/* The wire had no room: the batch taken last is the next one again. */
void stoa_out_untake(stoa_out *out);
void *stoa_out_bytes(const stoa_out *out, const stoa_batch *batch);

/* The wire has done with a batch; the other side has read all below position. Errors: MALFORMED (it was not sent). */
void stoa_out_done(stoa_out *out, stoa_batch *batch);
stoa_err stoa_out_acked(stoa_out *out, uint64_t position);

/* The wire has done with all batches below this number: as far as it knows they are there. */
uint64_t stoa_out_done_below(const stoa_out *out);

/* The other side has read all that was added. */
bool stoa_out_is_read(const stoa_out *out);

/* --- in */

typedef struct stoa_arrival {
    void *owner;
    bool taken, ready; /* its place is given away; its bytes are there */
    uint64_t number, position;
    uint32_t bytes;
    uint8_t header[STOA_CARRIER_HEADER_BYTES];
} stoa_arrival;

typedef struct stoa_in {
    uint8_t *memory;
    uint64_t ring_bytes, mapped_bytes;
    uint64_t read;             /* all below was read */
    uint64_t next;             /* the batch that is read */
    uint32_t body_limit, at;   /* at: of the next frame in its batch */
    uint32_t landing;          /* places given away whose bytes are not there */
    stoa_arrival arrivals[STOA_RING_BATCHES];
} stoa_in;

typedef struct stoa_in_frame {
    uint32_t kind, size_bytes;
    const uint8_t *bytes;
} stoa_in_frame;

stoa_err stoa_in_open(stoa_in *in, void *owner, uint64_t ring_bytes, uint32_t body_limit);
/* Use only so much of it; nothing has come yet. */
void stoa_in_shrink(stoa_in *in, uint64_t ring_bytes);
void stoa_in_close(stoa_in *in);

/* Give a place to a batch. Errors: STALE (it came before), MALFORMED (it cannot lie there). */
stoa_err stoa_in_place(stoa_in *in, uint64_t number, uint64_t position, uint32_t bytes, stoa_arrival **out);
void *stoa_in_bytes(const stoa_in *in, const stoa_arrival *arrival);
/* Its bytes are there and good; or it is as if it had never come. */
void stoa_in_landed(stoa_in *in, stoa_arrival *arrival, bool good);

/* The batch that is due is not there, though all below this number came. */
bool stoa_in_misses(const stoa_in *in, uint64_t below);

/* The next frame, which stays it until stoa_in_drop; its bytes live until then. Errors: AGAIN (none), MALFORMED. */
stoa_err stoa_in_frame_next(stoa_in *in, stoa_in_frame *out);
void stoa_in_drop(stoa_in *in, const stoa_in_frame *frame);

/* --- pen */

typedef struct stoa_pen {
    uint8_t *memory;
    uint32_t body_limit, landing; /* landing: taken */
    stoa_arrival arrivals[STOA_RING_FLIGHT];
} stoa_pen;

/* Errors: NOMEM. */
stoa_err stoa_pen_open(stoa_pen *pen, void *owner, uint32_t body_limit);
void stoa_pen_close(stoa_pen *pen);

/* Room for so many bytes. Errors: FULL, MALFORMED (no batch is that long). */
stoa_err stoa_pen_take(stoa_pen *pen, uint32_t bytes, stoa_arrival **out);
void *stoa_pen_bytes(const stoa_pen *pen, const stoa_arrival *arrival);
void stoa_pen_free(stoa_pen *pen, stoa_arrival *arrival);

#endif
