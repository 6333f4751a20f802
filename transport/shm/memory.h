/* shm/memory.h - one side's memory of a connection: a face and a ring (ring.h), in a memfd that only its owner can write.
 *
 * Nothing has a name in a file system: when the last process that maps it is gone, so is the memory. It is sealed: it
 * cannot shrink, so a reader is never hit by a SIGBUS, and once its owner has mapped it nobody else can map it for
 * writing (F_SEAL_FUTURE_WRITE). Pages come into being when they are written, on the account of who writes.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef STOA_TRANSPORT_SHM_MEMORY_H
#define STOA_TRANSPORT_SHM_MEMORY_H

#include "transport/shm/ring.h"

enum {
    STOA_SHM_RING_MIN = 64 * 1024,
    STOA_SHM_RING_USUAL = 1024 * 1024,
    STOA_SHM_RING_MAX = 1 << 30,
    STOA_SHM_FRAME_LIMIT_MAX = 64 * 1024 * 1024
};

typedef struct stoa_shm_memory {
    stoa_shm_face *face; /* the beginning of the mapping; NULL: none */
    uint8_t *ring;       /* twice ring_bytes */
    uint64_t ring_bytes;
} stoa_shm_memory;

/* Bytes of a ring for so many frames of this size, as far as is usual; at least for four. */
uint64_t stoa_shm_ring_bytes(uint32_t frame_limit, uint32_t queue_frames);

/* New memory, all zero; *fd_out is for the other side and the caller's to close. Errors: NOMEM, IO. */
stoa_err stoa_shm_memory_new(stoa_shm_memory *memory, uint64_t ring_bytes, int *fd_out);

/* The other side's, read-only. fd and ring_bytes are what a stranger sent; fd stays the caller's. Errors: MALFORMED (not
 * such memory, not sealed, not of this size), NOMEM. */
stoa_err stoa_shm_memory_map(stoa_shm_memory *memory, int fd, uint64_t ring_bytes);

/* NULL members are allowed. */
void stoa_shm_memory_free(stoa_shm_memory *memory);

#endif
