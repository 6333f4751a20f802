/* shm/ring.h - frames through memory that one process writes and another reads.
 *
 * Each side of a connection owns one piece of memory and writes it alone; the other has it mapped read-only (memory.h
 * sees to that in the kernel). So nobody can spoil what somebody else relies on, and all that is read here is what a
 * stranger may have written: it is copied once, then checked, then used.
 *
 *     face   1 page: how far its owner has read the other side's ring, whether it sleeps, a heartbeat
 *     ring   a power of two of bytes, mapped twice in a row, so that nothing ever wraps
 *
 * A frame is a header word and the bytes, at multiples of STOA_SHM_ALIGN; a big one's bytes begin on a cache line:
 *
 *     bits 0..31   length in bytes, 1 or more     } written last, with release: who sees it, sees the frame
 *     bits 32..63  number of the frame, from 1    }
 *
 * The word behind the last frame is zero: the writer clears it before it publishes the frame before. So there is no
 * cursor of the writer's to share: a reader that waits looks at the very line that its frame will be in. The reader's
 * cursor is published once for many frames. Both sides keep their cursors in memory of their own.
 *
 * No function here blocks, allocates or calls the system. One thread owns a writer, one a reader.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef STOA_TRANSPORT_SHM_RING_H
#define STOA_TRANSPORT_SHM_RING_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "base/error.h"

enum {
    STOA_SHM_ALIGN = 8,
    STOA_SHM_HEADER = 8,
    STOA_SHM_BIG = 256, /* bytes of a frame that is worth a cache line of its own */
    STOA_SHM_LINE = 128,
    STOA_SHM_FACE_BYTES = 4096,
    STOA_SHM_PUBLISH_FRAMES = 64,
};

typedef struct stoa_shm_face {
    _Alignas(STOA_SHM_LINE) _Atomic uint64_t read_bytes; /* of the other side's ring, for its writer */
    _Atomic uint64_t read_frames;                        /* stored before read_bytes */
    _Alignas(STOA_SHM_LINE) _Atomic uint64_t asleep;     /* 0: awake; else a number per sleep: ring once for each */
    _Atomic uint64_t wants_room;                         /* a number per wish: ring once for each, when there is some */
    _Alignas(STOA_SHM_LINE) _Atomic uint64_t beat;       /* grows while the owner is alive and looks after the link */
} stoa_shm_face;

typedef struct stoa_shm_writer {
    uint8_t *ring;
    uint64_t mask;                    /* of offsets in the ring */
    const stoa_shm_face *reader;      /* the other side's */
    uint64_t at, frames;              /* where the next frame begins; how many there were */
    uint64_t bytes_end, frames_end;   /* as far as the reader was seen to allow */
    uint64_t read_bytes, read_frames; /* as the reader was seen */
    uint32_t queue_frames;
} stoa_shm_writer;

typedef struct stoa_shm_reader {
    const uint8_t *ring;
    uint64_t mask;
    stoa_shm_face *face;                 /* our own, for the writer */
    uint64_t at, frames;                 /* what was read */
    uint64_t publish_at, publish_frames; /* when either is passed, the writer is told */
    uint32_t frame_limit;                /* bytes; no more than half a ring */
} stoa_shm_reader;

/* A writer to ring, and a reader of ring, of ring_bytes; the face is the reader's, the other side's or our own. */
static inline stoa_shm_writer stoa_shm_writer_of(uint8_t *ring, uint64_t ring_bytes, const stoa_shm_face *face,
                                                 uint32_t queue_frames)
{
    return (stoa_shm_writer){.ring = ring, .mask = ring_bytes - 1, .reader = face, .queue_frames = queue_frames};
}

static inline stoa_shm_reader stoa_shm_reader_of(const uint8_t *ring, uint64_t ring_bytes, stoa_shm_face *face,
                                                 uint32_t frame_limit)
{
    uint32_t most = frame_limit <= ring_bytes / 2 ? frame_limit : (uint32_t)(ring_bytes / 2);
    return (stoa_shm_reader){.ring = ring, .mask = ring_bytes - 1, .face = face, .frame_limit = most};
}

/* Where the bytes of a frame begin whose header is at `at`: right behind, or, where they are many, on a cache line. */
static inline uint64_t stoa_shm_payload_at(uint64_t at, uint32_t size_bytes)
{
    return size_bytes < STOA_SHM_BIG ? at + STOA_SHM_HEADER : (at + STOA_SHM_HEADER + 63) & ~(uint64_t)63;
}

/* Where the header behind it is. */
static inline uint64_t stoa_shm_frame_end(uint64_t at, uint32_t size_bytes)
{
    uint64_t end = stoa_shm_payload_at(at, size_bytes) + size_bytes;
    return (end + STOA_SHM_ALIGN - 1) & ~(uint64_t)(STOA_SHM_ALIGN - 1);
}

/* The most that a frame of this size takes, wherever it begins. */
static inline uint64_t stoa_shm_frame_bytes(uint32_t size_bytes)
{
    return stoa_shm_frame_end(STOA_SHM_HEADER, size_bytes); /* which is as far from a cache line as can be */
}

static inline _Atomic uint64_t *stoa_shm_header(const uint8_t *ring, uint64_t mask, uint64_t at)
{
    return (_Atomic uint64_t *)(uintptr_t)(ring + (at & mask));
}

/* Look how far the reader is. MALFORMED: where no reader can be. */
static inline stoa_err stoa_shm_writer_look(stoa_shm_writer *w)
{
    uint64_t bytes = atomic_load_explicit(&w->reader->read_bytes, memory_order_acquire);
    uint64_t frames = atomic_load_explicit(&w->reader->read_frames, memory_order_relaxed);
    bool sane = bytes - w->read_bytes <= w->at - w->read_bytes &&
                frames - w->read_frames <= w->frames - w->read_frames && bytes % STOA_SHM_ALIGN == 0;
    if (!sane) { return STOA_E_MALFORMED; }
    w->read_bytes = bytes;
    w->read_frames = frames;
    w->bytes_end = bytes + w->mask + 1 - STOA_SHM_HEADER; /* the next header must have a place */
    w->frames_end = frames + w->queue_frames;
    return STOA_OK;
}

static inline bool stoa_shm_writer_fits(const stoa_shm_writer *w, uint64_t end)
{
    return end <= w->bytes_end && w->frames < w->frames_end;
}

/* Write a frame of 1 byte to half a ring. Errors: FULL; MALFORMED: what the reader published cannot be. */
static inline stoa_err stoa_shm_write(stoa_shm_writer *w, const void *bytes, uint32_t size_bytes)
{
    uint64_t at = w->at, end = stoa_shm_frame_end(at, size_bytes);
    if (__builtin_expect(!stoa_shm_writer_fits(w, end), 0)) {
        stoa_err err = stoa_shm_writer_look(w);
        if (err) { return err; }
        if (!stoa_shm_writer_fits(w, end)) { return STOA_E_FULL; }
    }
    _Atomic uint64_t *header = stoa_shm_header(w->ring, w->mask, at);
    w->at = end;
    atomic_store_explicit(stoa_shm_header(w->ring, w->mask, end), 0, memory_order_relaxed);
    memcpy((uint8_t *)(uintptr_t)header + (stoa_shm_payload_at(at, size_bytes) - at), bytes, size_bytes);
    w->frames++;
    atomic_store_explicit(header, w->frames << 32 | size_bytes, memory_order_release);
    return STOA_OK;
}

/* Tell the writer how far we are. To be called when there is nothing more to read, too: it may wait for less room than
 * that of the frames that are told at once. */
static inline void stoa_shm_reader_publish(stoa_shm_reader *r)
{
    r->publish_at = r->at + r->mask / 8;
    r->publish_frames = r->frames + STOA_SHM_PUBLISH_FRAMES;
    atomic_store_explicit(&r->face->read_frames, r->frames, memory_order_relaxed);
    atomic_store_explicit(&r->face->read_bytes, r->at, memory_order_release);
}

static inline bool stoa_shm_reader_published(const stoa_shm_reader *r)
{
    return r->publish_frames == r->frames + STOA_SHM_PUBLISH_FRAMES;
}

static inline bool stoa_shm_reader_has(const stoa_shm_reader *r)
{
    return atomic_load_explicit(stoa_shm_header(r->ring, r->mask, r->at), memory_order_acquire) != 0;
}

/* Copy the next frame to `to`, which has room for frame_limit bytes; 0 bytes: there is none. Errors: TOO_LARGE, over the
 * frame_limit; MALFORMED: nothing that a writer can have meant. */
static inline stoa_err stoa_shm_read(stoa_shm_reader *r, uint8_t *to, uint32_t *size_bytes_out)
{
    const uint8_t *from = r->ring + (r->at & r->mask);
    uint64_t word = atomic_load_explicit(stoa_shm_header(r->ring, r->mask, r->at), memory_order_acquire);
    uint32_t size_bytes = (uint32_t)word;
    *size_bytes_out = 0;
    if (word == 0) { return STOA_OK; }
    if (__builtin_expect(word >> 32 != (uint32_t)(r->frames + 1) || size_bytes - 1 >= r->frame_limit, 0)) {
        bool was_meant =
            word >> 32 == (uint32_t)(r->frames + 1) && size_bytes > r->frame_limit && size_bytes <= r->mask / 2;
        return was_meant ? STOA_E_TOO_LARGE : STOA_E_MALFORMED;
    }
    memcpy(to, from + (stoa_shm_payload_at(r->at, size_bytes) - r->at), size_bytes);
    r->at = stoa_shm_frame_end(r->at, size_bytes);
    r->frames++;
    *size_bytes_out = size_bytes;
    if (__builtin_expect(r->at > r->publish_at || r->frames > r->publish_frames, 0)) { stoa_shm_reader_publish(r); }
    return STOA_OK;
}

#endif
