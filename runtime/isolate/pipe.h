/* isolate/pipe.h - the two rings between a node and a child, with a socket to wake each other. Internal to runtime/.
 *
 * Each side owns one sealed memory that the other can only read (transport/shm/memory.h). The node offers its own with
 * HELLO, the child its own with WELCOME; from then on the socket carries single bytes, one for each sleep that there is something
 * to wake from. A side that is awake costs the other no system call.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef STOA_RUNTIME_ISOLATE_PIPE_H
#define STOA_RUNTIME_ISOLATE_PIPE_H

#include "transport/shm/memory.h"
#include "transport/shm/socket.h"

enum { STOA_ISOLATE_FRAME_MAX = (16 << 10) + 256, STOA_ISOLATE_QUEUE = 1024 };
/* What the socket says is heard so often at a time: what is left is there to be heard next time, so a child that never stops keeps nobody. */
enum { STOA_ISOLATE_SAID_MAX = 16 };

typedef struct stoa_isolate_pipe {
    stoa_shm_writer writer;
    stoa_shm_reader reader;
    stoa_shm_memory own, other;
    int socket;                      /* -1: none; the pipe's */
    uint64_t rung, rung_room, sleeps, wishes;
} stoa_isolate_pipe;

/* Make our memory and say so. What is written before the other side has said what it has waits for it. Errors: NOMEM, IO. */
stoa_err stoa_isolate_pipe_offer(stoa_isolate_pipe *pipe, int socket, stoa_shm_word word);
/* Take what the other side said. memory stays the caller's. Errors: MALFORMED (also: said before), VERSION, NOMEM. */
stoa_err stoa_isolate_pipe_meet(stoa_isolate_pipe *pipe, const stoa_shm_note *note, stoa_shm_word word, int memory);
static inline bool stoa_isolate_pipe_met(const stoa_isolate_pipe *pipe)
{
    return pipe->other.face != NULL;
}

/* As stoa_shm_write and stoa_shm_read. What was written is told by wake. */
static inline stoa_err stoa_isolate_pipe_write(stoa_isolate_pipe *pipe, const void *bytes, uint32_t size_bytes)
{
    return stoa_shm_write(&pipe->writer, bytes, size_bytes);
}
stoa_err stoa_isolate_pipe_read(stoa_isolate_pipe *pipe, uint8_t *to, uint32_t *size_bytes_out);
/* Ring where the other side sleeps, or waits for room. */
void stoa_isolate_pipe_wake(stoa_isolate_pipe *pipe);
/* We are about to sleep on the socket; false: not now, something is there. */
bool stoa_isolate_pipe_sleep(stoa_isolate_pipe *pipe);
/* Have the other side ring when it has read. */
void stoa_isolate_pipe_wish(stoa_isolate_pipe *pipe);
/* We look by ourselves again. */
void stoa_isolate_pipe_awake(stoa_isolate_pipe *pipe);
void stoa_isolate_pipe_close(stoa_isolate_pipe *pipe);

#endif
