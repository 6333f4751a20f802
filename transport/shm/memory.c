/* shm/memory.c - memfds made, sealed, checked and mapped for shm/memory.h.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "transport/shm/memory.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

enum { SEALS = F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_FUTURE_WRITE };

uint64_t stoa_shm_ring_bytes(uint32_t frame_limit, uint32_t queue_frames)
{
    uint64_t one = stoa_shm_frame_bytes(frame_limit), wanted = one * queue_frames, bytes = STOA_SHM_RING_MIN;
    if (wanted > STOA_SHM_RING_USUAL) { wanted = STOA_SHM_RING_USUAL; }
    if (wanted < 4 * one) { wanted = 4 * one; }
    while (bytes < wanted + STOA_SHM_HEADER) {
        bytes *= 2;
    }
    return bytes;
}

/* The ring behind itself; what is mapped is NULL or whole. */
static stoa_err map(stoa_shm_memory *memory, int fd, uint64_t ring_bytes, int protection)
{
    size_t all_bytes = STOA_SHM_FACE_BYTES + 2 * ring_bytes;
    uint8_t *at = mmap(NULL, all_bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (at == MAP_FAILED) { return STOA_FAIL(STOA_E_NOMEM, "no address space for %zu bytes", all_bytes); }
    uint8_t *ring = at + STOA_SHM_FACE_BYTES, *again = ring + ring_bytes;
    if (mmap(at, STOA_SHM_FACE_BYTES + ring_bytes, protection, MAP_SHARED | MAP_FIXED, fd, 0) == MAP_FAILED ||
        mmap(again, ring_bytes, protection, MAP_SHARED | MAP_FIXED, fd, STOA_SHM_FACE_BYTES) == MAP_FAILED) {
        char text[128];
        stoa_err err =
            STOA_FAIL(STOA_E_NOMEM, "shared memory cannot be mapped: %s", strerror_r(errno, text, sizeof text));
        (void)munmap(at, all_bytes);
        return err;
    }
    *memory = (stoa_shm_memory){.face = (stoa_shm_face *)(void *)at, .ring = ring, .ring_bytes = ring_bytes};
    return STOA_OK;
}

stoa_err stoa_shm_memory_new(stoa_shm_memory *memory, uint64_t ring_bytes, int *fd_out)
{
    char text[128];
    int fd = memfd_create("stoa-shm", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (fd < 0) { return STOA_FAIL(STOA_E_IO, "no memfd: %s", strerror_r(errno, text, sizeof text)); }
    stoa_err err = STOA_OK;
    stoa_shm_memory made = {0};
    if (fchmod(fd, S_IRUSR | S_IWUSR) || ftruncate(fd, (off_t)(STOA_SHM_FACE_BYTES + ring_bytes))) {
        err = STOA_FAIL(STOA_E_IO, "a memfd cannot be sized: %s", strerror_r(errno, text, sizeof text));
    }
    if (!err) { err = map(&made, fd, ring_bytes, PROT_READ | PROT_WRITE); }
    if (!err && fcntl(fd, F_ADD_SEALS, SEALS)) {
        err = STOA_FAIL(STOA_E_IO, "a memfd cannot be sealed: %s", strerror_r(errno, text, sizeof text));
    }
    if (err) {
        stoa_shm_memory_free(&made);
        (void)close(fd);
        return err;
    }
    *memory = made;
    *fd_out = fd;
    return STOA_OK;
}

stoa_err stoa_shm_memory_map(stoa_shm_memory *memory, int fd, uint64_t ring_bytes)
{
    struct stat is;
    bool is_size =
        ring_bytes >= STOA_SHM_RING_MIN && ring_bytes <= STOA_SHM_RING_MAX && !(ring_bytes & (ring_bytes - 1));
    if (!is_size) { return STOA_FAIL(STOA_E_MALFORMED, "no ring has %llu bytes", (unsigned long long)ring_bytes); }
    int seals = fcntl(fd, F_GET_SEALS);
    if (seals < 0 || !(seals & F_SEAL_SHRINK)) { return STOA_FAIL(STOA_E_MALFORMED, "memory that is not sealed"); }
    if (fstat(fd, &is) || is.st_size != (off_t)(STOA_SHM_FACE_BYTES + ring_bytes)) {
        return STOA_FAIL(STOA_E_MALFORMED, "memory of another size than was said");
    }
    return map(memory, fd, ring_bytes, PROT_READ);
}

void stoa_shm_memory_free(stoa_shm_memory *memory)
{
    if (memory->face) { (void)munmap(memory->face, STOA_SHM_FACE_BYTES + 2 * memory->ring_bytes); }
    *memory = (stoa_shm_memory){0};
}
