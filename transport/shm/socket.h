/* shm/socket.h - the UNIX sockets by which two processes find each other, prove who they are, hand over memory and ring.
 *
 * A name is `NAME` (letters, digits, '.', '_', '-'), an abstract socket of the network namespace, or `/PATH`, a socket of
 * mode 0600 in a folder. Neither outlives who listens: what a killed process leaves of the second kind is cleared by the
 * next listener. Whoever finds a name is checked by what the kernel says of the other process, on both sides.
 *
 * All descriptors are closed on exec and never block.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef STOA_TRANSPORT_SHM_SOCKET_H
#define STOA_TRANSPORT_SHM_SOCKET_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/error.h"

enum { STOA_SHM_NAME_BYTES = 104, STOA_SHM_VERSION = 1 };
#define STOA_SHM_MAGIC UINT32_C(0x53484d31)

/* What one side says to the other, beside single bytes, which are rings. Little-endian, as the machine is. */
typedef enum stoa_shm_word { STOA_SHM_HELLO = 1, STOA_SHM_WELCOME, STOA_SHM_REFUSED } stoa_shm_word;
typedef struct stoa_shm_note {
    uint32_t magic;
    uint16_t version, word;
    uint64_t ring_bytes; /* HELLO, WELCOME: of the memory whose descriptor comes along */
    int32_t why;         /* REFUSED: a stoa_err */
    uint32_t zero;
} stoa_shm_note;

typedef enum stoa_shm_heard {
    STOA_SHM_NOTHING,
    STOA_SHM_RING,
    STOA_SHM_NOTE,
    STOA_SHM_GONE,
    STOA_SHM_NOISE
} stoa_shm_heard;

/* Whether name can be one. Errors: INVALID, and the trail says why. */
stoa_err stoa_shm_name_check(const char *name);

/* The process at the other end. */
typedef struct stoa_shm_process {
    pid_t pid; /* 0: not one that we can see */
    uid_t uid;
} stoa_shm_process;

/* Errors: INVALID (name), EXISTS, DENIED, IO. */
stoa_err stoa_shm_socket_listen(const char *name, int *fd_out);
/* Close a listener, with what it has in a folder. -1 is allowed. */
void stoa_shm_socket_unlisten(const char *name, int fd);
/* Errors: INVALID (name), AGAIN (nobody is there, or it has no time), IO. */
stoa_err stoa_shm_socket_connect(const char *name, int *fd_out);
/* The next who has connected. Errors: AGAIN (nobody), IO. */
stoa_err stoa_shm_socket_accept(int listener, int *fd_out);
stoa_err stoa_shm_socket_process(int fd, stoa_shm_process *out);

/* Send a note, with a descriptor or -1; false: it did not go out. */
bool stoa_shm_socket_say(int fd, const stoa_shm_note *note, int memory);
/* Wake the other side. When that does not go out, others before it lie there unread. */
void stoa_shm_socket_ring(int fd);
/* Take what came next. Of a note all but its meaning is checked; *memory_out is the caller's then, or -1. */
stoa_shm_heard stoa_shm_socket_hear(int fd, stoa_shm_note *note_out, int *memory_out);

/* Whether it is stopped (SIGSTOP, a debugger); false also where that cannot be seen. */
bool stoa_shm_process_is_stopped(pid_t pid);

#endif
