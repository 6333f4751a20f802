/* isolate/pipe.c - see pipe.h. Both sides run this code; neither believes the other.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "runtime/isolate/pipe.h"

#include <unistd.h>

static const stoa_shm_face nobody; /* has read nothing yet */

stoa_err stoa_isolate_pipe_offer(stoa_isolate_pipe *pipe, int socket, stoa_shm_word word)
{
    int memory;
    uint64_t ring_bytes = stoa_shm_ring_bytes(STOA_ISOLATE_FRAME_MAX, STOA_ISOLATE_QUEUE);
    stoa_err err = stoa_shm_memory_new(&pipe->own, ring_bytes, &memory);
    if (err) { return err; }
    stoa_shm_note note = {
        .magic = STOA_SHM_MAGIC, .version = STOA_SHM_VERSION, .word = (uint16_t)word, .ring_bytes = ring_bytes};
    bool went = stoa_shm_socket_say(socket, &note, memory);
    (void)close(memory);
    if (!went) {
        stoa_shm_memory_free(&pipe->own);
        return STOA_FAIL(STOA_E_IO, "a greeting did not go out");
    }
    pipe->socket = socket;
    pipe->writer = stoa_shm_writer_of(pipe->own.ring, ring_bytes, &nobody, STOA_ISOLATE_QUEUE);
    return STOA_OK;
}

stoa_err stoa_isolate_pipe_meet(stoa_isolate_pipe *pipe, const stoa_shm_note *note, stoa_shm_word word, int memory)
{
    if (pipe->other.face || note->word != (uint16_t)word || memory < 0) {
        return STOA_FAIL(STOA_E_MALFORMED, "that was not to be said now");
    }
    if (note->version != STOA_SHM_VERSION) { return STOA_FAIL(STOA_E_VERSION, "another version of the rings"); }
    stoa_err err = stoa_shm_memory_map(&pipe->other, memory, note->ring_bytes);
    if (err) { return err; }
    pipe->writer.reader = pipe->other.face;
    pipe->reader = stoa_shm_reader_of(pipe->other.ring, pipe->other.ring_bytes, pipe->own.face, STOA_ISOLATE_FRAME_MAX);
    stoa_shm_reader_publish(&pipe->reader);
    return STOA_OK;
}

stoa_err stoa_isolate_pipe_read(stoa_isolate_pipe *pipe, uint8_t *to, uint32_t *size_bytes_out)
{
    *size_bytes_out = 0;
    if (!pipe->other.face) { return STOA_OK; }
    stoa_err err = stoa_shm_read(&pipe->reader, to, size_bytes_out);
    if (!err && !*size_bytes_out && !stoa_shm_reader_published(&pipe->reader)) { stoa_shm_reader_publish(&pipe->reader); }
    return err;
}

void stoa_isolate_pipe_wake(stoa_isolate_pipe *pipe)
{
    if (!pipe->other.face) { return; }
    atomic_thread_fence(memory_order_seq_cst); /* what we published is seen, or the sleep that came after it is */
    uint64_t asleep = atomic_load_explicit(&pipe->other.face->asleep, memory_order_acquire);
    uint64_t wishes = atomic_load_explicit(&pipe->other.face->wants_room, memory_order_relaxed);
    bool sleeps = asleep && asleep != pipe->rung &&
                  atomic_load_explicit(&pipe->other.face->read_bytes, memory_order_relaxed) != pipe->writer.at;
    if (!sleeps && wishes == pipe->rung_room) { return; }
    pipe->rung = asleep;
    pipe->rung_room = wishes;
    stoa_shm_socket_ring(pipe->socket);
}

bool stoa_isolate_pipe_sleep(stoa_isolate_pipe *pipe)
{
    if (!pipe->other.face) { return true; }
    stoa_shm_reader_publish(&pipe->reader);
    atomic_store_explicit(&pipe->own.face->asleep, ++pipe->sleeps, memory_order_relaxed);
    atomic_thread_fence(memory_order_seq_cst); /* the other side sees it, or we see what it wrote before it looked */
    if (!stoa_shm_reader_has(&pipe->reader)) { return true; }
    stoa_isolate_pipe_awake(pipe);
    return false;
}

void stoa_isolate_pipe_wish(stoa_isolate_pipe *pipe)
{
    atomic_store_explicit(&pipe->own.face->wants_room, ++pipe->wishes, memory_order_relaxed);
    atomic_thread_fence(memory_order_seq_cst);
}

void stoa_isolate_pipe_awake(stoa_isolate_pipe *pipe)
{
    if (pipe->own.face) { atomic_store_explicit(&pipe->own.face->asleep, 0, memory_order_relaxed); }
}

void stoa_isolate_pipe_close(stoa_isolate_pipe *pipe)
{
    if (pipe->socket >= 0) { (void)close(pipe->socket); }
    pipe->socket = -1;
    stoa_shm_memory_free(&pipe->own);
    stoa_shm_memory_free(&pipe->other);
}
