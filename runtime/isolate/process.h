/* isolate/process.h - the child as a process: started, ended, and what it died of. Internal to runtime/.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef STOA_RUNTIME_ISOLATE_PROCESS_H
#define STOA_RUNTIME_ISOLATE_PROCESS_H

#include <sys/types.h>

#include "base/error.h"
#include "runtime/isolate/isolate.h"

/* How the child itself ends where something is wrong; others are signals. */
enum { STOA_ISOLATE_NOT_LOADED = 64, STOA_ISOLATE_NO_MEMORY = 65, STOA_ISOLATE_NOT_HEARD = 66 };
/* The descriptor that the child finds its socket at; no other is open. */
enum { STOA_ISOLATE_FD = 3 };

/* Start the host with one end of a new socket; *socket_out is the other one. posix_spawn: the caller waits until the
 * child has become the host, about 1 ms. Errors: IO (no such program, no more processes), TOO_LARGE (a path). */
stoa_err stoa_isolate_process_start(const stoa_isolate *isolate, pid_t *pid_out, int *socket_out);
/* Kill it if it lives, and take it back; waits for its end. Returns why it ended, a static text. */
const char *stoa_isolate_process_end(pid_t pid);

#endif
