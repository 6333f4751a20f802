/* stall.h - the stall detector: a thread that looks at what each core runs, and for how long. Internal to runtime/.
 *
 * A core does nothing for it: what it runs is read from what it writes anyway, the actor of its turning, the actor's
 * count of messages and the message under its hand. The watcher looks every options.watch_ns (10 ms); the same actor at
 * the same count is the same turn, and one that it has seen for options.stall_ns is a stall. So durations are those
 * that the watcher saw: too short by up to two intervals, and never longer than the watcher itself ran, so that a
 * process which was stopped and goes on is not taken for a stalled one.
 *
 * While all cores are idle it looks five times less often.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef STOA_RUNTIME_STALL_H
#define STOA_RUNTIME_STALL_H

#include <stdatomic.h>

#include "runtime/actor.h"

struct stoa_core;
struct stoa_actor;
typedef struct stoa_watch stoa_watch;

/* What a core runs, as another thread or a signal handler sees it. */
typedef struct stoa_running {
    const struct stoa_actor *actor;
    const stoa_kind *kind;
    const stoa_row *row; /* NULL: its first turn, or a message that its kind does not take */
    stoa_ref ref;
    uint64_t turn;
} stoa_running;

/* False: no turn runs, or another one began while we looked. Reads what the core may be changing; whoever needs more
 * certainty looks twice. Any thread, also in a signal handler. */
bool stoa_running_look(const struct stoa_core *core, stoa_running *out);

/* The name of a running actor, its kind's if it has none; name has room for STOA_NAME_MAX bytes and a NUL. Takes a
 * lock. */
void stoa_running_name(const struct stoa_core *core, const stoa_running *running, char *name);

/* Start watching the node's cores, which run. Errors: NOMEM, IO (thread). */
stoa_err stoa_watch_open(struct stoa_node *node, stoa_watch **out);
/* NULL is fine. Before the cores end. */
void stoa_watch_close(stoa_watch *watch);

#endif
