/* shm_fuzz.c - goal: no peer that writes what it likes into its half of a connection makes the other side read outside the
 * ring, take a frame over its limit, go back, or lose count of its own room. Method: the input is a run of orders, some of
 * a hostile process (a word anywhere in its ring, near where the reader is, or for its cursors), some of an honest one
 * (read, write); both sides are mapped as two processes would have them, and every answer must be one that ring.h names.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include <stdlib.h>
#include <unistd.h>

#include "transport/shm/memory.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { RING_BYTES = 64 * 1024, FRAME_LIMIT = 9000, QUEUE_FRAMES = 40, ORDER_BYTES = 11, ORDERS_MAX = 512 };
typedef enum order { WORD_ANYWHERE, WORD_NEXT, FRAME_NEXT, READ_BYTES, READ_FRAMES, READ, WRITE, ORDERS } order;

/* Ours, and the hostile side's, each as the other one sees it. */
static stoa_shm_memory ours, theirs, ours_seen, theirs_seen;
static uint8_t *got;

static void maps_make(void)
{
    int ours_fd, theirs_fd;
    if (ours.face) { return; }
    STOA_ASSERT(!stoa_shm_memory_new(&ours, RING_BYTES, &ours_fd) &&
                !stoa_shm_memory_new(&theirs, RING_BYTES, &theirs_fd));
    STOA_ASSERT(!stoa_shm_memory_map(&ours_seen, ours_fd, RING_BYTES));
    STOA_ASSERT(!stoa_shm_memory_map(&theirs_seen, theirs_fd, RING_BYTES));
    (void)close(ours_fd);
    (void)close(theirs_fd);
    got = malloc(RING_BYTES / 2); /* whose end the sanitizer guards */
    STOA_ASSERT(got);
}

/* False: the connection is over, as it would be. */
static bool read_one(stoa_shm_reader *r)
{
    uint64_t before = r->at, frames = r->frames;
    uint32_t size_bytes = 0;
    stoa_err err = stoa_shm_read(r, got, &size_bytes);
    STOA_ASSERT(err == STOA_OK || err == STOA_E_MALFORMED || err == STOA_E_TOO_LARGE);
    STOA_ASSERT(size_bytes <= r->frame_limit && (!err || !size_bytes));
    STOA_ASSERT(r->at == (size_bytes ? stoa_shm_frame_end(before, size_bytes) : before));
    STOA_ASSERT(r->frames == frames + (size_bytes > 0));
    return !err;
}

static bool write_one(stoa_shm_writer *w, uint32_t size_bytes)
{
    static const uint8_t bytes[FRAME_LIMIT];
    uint64_t before = w->at;
    stoa_err err = stoa_shm_write(w, bytes, 1 + size_bytes % FRAME_LIMIT);
    STOA_ASSERT(err == STOA_OK || err == STOA_E_FULL || err == STOA_E_MALFORMED);
    STOA_ASSERT(!err || w->at == before);
    STOA_ASSERT(w->at - w->read_bytes < RING_BYTES && w->frames - w->read_frames <= QUEUE_FRAMES);
    return err != STOA_E_MALFORMED;
}

static bool obey(const uint8_t *bytes, stoa_shm_writer *w, stoa_shm_reader *r)
{
    uint16_t where;
    uint64_t word;
    memcpy(&where, bytes + 1, sizeof where);
    memcpy(&word, bytes + 3, sizeof word);
    uint64_t next = r->at & (RING_BYTES - 1);
    switch ((order)(bytes[0] % ORDERS)) {
    case WORD_ANYWHERE: memcpy(theirs.ring + where, &word, sizeof word); return true;
    case WORD_NEXT: memcpy(theirs.ring + next, &word, sizeof word); return true;
    case FRAME_NEXT: /* the right number, any length */
        word = (uint64_t)(uint32_t)(r->frames + 1) << 32 | (uint32_t)(bytes[3] & 1 ? where : (uint32_t)word);
        memcpy(theirs.ring + next, &word, sizeof word);
        return true;
    case READ_BYTES:
        atomic_store(&theirs.face->read_bytes, bytes[1] & 1 ? word : w->read_bytes + where * 8U);
        return true;
    case READ_FRAMES:
        atomic_store(&theirs.face->read_frames, bytes[1] & 1 ? word : w->read_frames + where % 64);
        return true;
    case READ: return read_one(r);
    case WRITE: return write_one(w, where);
    case ORDERS: break;
    }
    return false;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    maps_make();
    memset(ours.face, 0, sizeof *ours.face);
    memset(theirs.face, 0, sizeof *theirs.face);
    memset(theirs.ring, 0, RING_BYTES);
    memset(ours.ring, 0, sizeof(uint64_t));
    stoa_shm_writer w = stoa_shm_writer_of(ours.ring, RING_BYTES, theirs_seen.face, QUEUE_FRAMES);
    stoa_shm_reader r =
        stoa_shm_reader_of(theirs_seen.ring, RING_BYTES, ours.face, size % 2 ? FRAME_LIMIT : UINT32_MAX);
    for (size_t at = 0; at + ORDER_BYTES <= size && at < (size_t)ORDERS_MAX * ORDER_BYTES; at += ORDER_BYTES) {
        if (!obey(data + at, &w, &r)) { break; }
    }
    return 0;
}
