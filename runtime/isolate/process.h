/* isolate/process.h - the child as a process: started, ended, and what it died of. Internal to runtime/.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef STOA_RUNTIME_ISOLATE_PROCESS_H
#define STOA_RUNTIME_ISOLATE_PROCESS_H

#include <sys/types.h>

#include "base/error.h"
#include "runtime/isolate/isolate.h"

/* How the child itself ends where something is wrong; others are signals. */
enum {
    STOA_ISOLATE_NOT_LOADED = 64,
    STOA_ISOLATE_NO_MEMORY,
    STOA_ISOLATE_NOT_HEARD,
    STOA_ISOLATE_SOURCED,
    STOA_ISOLATE_NOT_CONFINED
};
/* The descriptor that the child finds its socket at; no other is open. */
enum { STOA_ISOLATE_FD = 3 };

/* A child. By its pidfd it is asked after and killed, so nobody else is, where somebody else waits for our children, or SIGCHLD is ignored and the kernel
 * does: then its number may be another's, and why it ended is lost. */
typedef struct stoa_isolate_process {
    pid_t pid;
    int fd; /* -1: it was taken back */
} stoa_isolate_process;

/* What a start takes, apart from who ordered it. */
typedef struct stoa_isolate_order {
    char path[4096], library[4096], memory[24], cpu[24], parent[24];
    int socket; /* the child's end; -1: none */
} stoa_isolate_order;

/* Find the host and make a socket; *socket_out is the node's end. Some us. Errors: UNSUPPORTED (the
 * kernel has no Landlock, by which the child shuts itself in), IO (no such program, no descriptors), INVALID,
 * TOO_LARGE (a path). */
stoa_err stoa_isolate_process_order(const stoa_isolate *isolate, stoa_isolate_order *out, int *socket_out);
/* Start it, and close the child's end here: posix_spawn, so the caller waits until the child has become the host, about 1 ms. The
 * child dies with the thread that calls. One descriptor, until it was taken back. Returns an errno, or 0. */
int stoa_isolate_process_spawn(stoa_isolate_order *order, stoa_isolate_process *out);
/* Whether it has ended: then it is taken back, and *why_out says why, a static text. Never waits. */
bool stoa_isolate_process_ended(stoa_isolate_process *process, const char **why_out);
/* It ends soon, if it has not ended. */
void stoa_isolate_process_kill(const stoa_isolate_process *process);
/* Kill it if it lives, and take it back; waits for its end, five seconds at most. Returns why it ended, a static text. */
const char *stoa_isolate_process_end(stoa_isolate_process *process);

#endif
