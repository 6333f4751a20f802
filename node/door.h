/* door.h - the admin door: a UNIX socket through which the REPL looks into and steers the node. Protocol:
 * admin/frame.h.
 *
 * Who may come in: the node's own user and root, as the kernel names them (SO_PEERCRED); the socket's mode is 0600
 * besides. Others are DENIED and counted.
 *
 * One thread reads and writes for all connections and never waits for a command: those run on a few runner threads, one
 * at a time per connection, so a slow one holds up nobody but its asker. At a command's deadline its asker is told
 * TIMEOUT; what the runner still does is thrown away. When all runners are stuck, the next commands wait for their
 * deadlines in turn.
 *
 * Bounded: connections (the next one is told FULL), requests of 8 KiB, answers of 16 MiB, commands under way, the time
 * a peer may take for half a frame or to take its answer.
 *
 * Metrics: stoa_door_connections_total, stoa_door_commands_total, stoa_door_refused_total{why}.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef STOA_NODE_DOOR_H
#define STOA_NODE_DOOR_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "admin/frame.h"
#include "base/metrics.h"

struct stoa_platform;
typedef struct stoa_door stoa_door;

enum { STOA_DOOR_CONNECTIONS = 16, STOA_DOOR_RUNNERS = 4 };

/* A command under way: what was asked, and where the answer goes. The runner's while it runs. */
typedef struct stoa_door_call {
    stoa_invocation said; /* command and arguments */
    uint64_t deadline_ns; /* monotonic: nobody waits for longer */
    stoa_buf document;    /* one JSON document, or nothing */
    stoa_buf view;        /* how to show it: admin/document.h */
    void **memory;        /* of this connection: NULL at first, malloc'ed by a command, freed with the connection */
    _Atomic bool left;    /* who asked has gone: nobody waits for the answer */
} stoa_door_call;

/* Run a command. Blocks up to its deadline or not much longer. An error's sentence for the user is taken from the
 * trail; what is in document is sent all the same. */
typedef stoa_err (*stoa_door_run)(void *context, stoa_door_call *call);

typedef struct stoa_door_options {
    const char *path;      /* at most 107 bytes */
    const char *node_name; /* what the greeting says */
    stoa_door_run run;
    void *context;
    stoa_metrics *metrics; /* NULL: none kept */
} stoa_door_options;

/* Listen and serve. A socket that nobody listens at any more is replaced. Errors: EXISTS (a node listens there, or
 * something that is no socket is in the way), INVALID (the path is too long), DENIED, IO, NOMEM. */
stoa_err stoa_door_listen(const stoa_door_options *options, stoa_door **out);

/* The door of a platform, with all commands (node/commands.h). Errors as above. */
stoa_err stoa_door_open(struct stoa_platform *platform, const char *path, stoa_door **out);

/* Hang up, wait for commands that run, remove the socket. NULL is allowed. */
void stoa_door_close(stoa_door *door);

#endif
