/* commands.h - what the commands of admin/commands.def do on a node. Internal to node/.
 *
 *     commands.c          the table; the node itself: settings, log, metrics, names
 *     commands_runtime.c  actors, cores, shards, topics, dead letters
 *     commands_group.c    groups
 *     commands_channel.c  channels between shards
 *     commands_shard.c    what shards want done outside; dropping one
 *     commands_top.c      top
 *     commands_trace.c    traces, times by kind
 *     commands_market.c   orders, books, rooms
 *     commands_explain.c  the story of an order
 *     commands_cause.c    what led to an event, and what came of it
 *     commands_archive.c  backups, restores, archives
 *     commands_journal.c  journals: figures, proof, index, keys
 *     commands_key.c      keys of clients and of the node
 *     commands_link.c     links to other nodes
 *     commands_progress.c what is under way and takes long
 *     commands_state.c    snapshots, states in the past
 *     commands_projection.c  rows in PostgreSQL
 *     commands_plugin.c   kinds from libraries
 *
 * A command writes its document and its view (admin/document.h) and returns an error with a sentence for the user in
 * the trail, or OK. It keeps to the call's deadline: every question to an actor is asked with what is left of it.
 * Runner threads of the door, never a core.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef STOA_NODE_COMMANDS_H
#define STOA_NODE_COMMANDS_H

#include "admin/document.h"
#include "node/door.h"
#include "node/platform.h"

/* Run one. context is the stoa_platform. */
stoa_err stoa_commands_run(void *context, stoa_door_call *call);

#define ARGUMENT(name, cls, low, high, complete, summary)
#define COMMAND(name, handler, args, right, since, summary)                                                            \
    stoa_err stoa_command_##handler(stoa_platform *platform, stoa_door_call *call);
#define LOCAL(name, handler, args, right, since, summary)
#include "admin/commands.def"
#undef ARGUMENT
#undef COMMAND
#undef LOCAL

/* The i-th argument, NULL when it was not given; and as a number. */
static inline const char *stoa_call_arg(const stoa_door_call *call, uint32_t i)
{
    return i < call->said.count ? call->said.args[i] : NULL;
}
uint64_t stoa_call_number(const stoa_door_call *call, uint32_t i, uint64_t fallback);

/* Nanoseconds left of the deadline, at least one. */
uint64_t stoa_call_left_ns(const stoa_door_call *call);

/* How long an actor's last timed turn took; null when none was timed. */
void stoa_put_turn(stoa_doc *doc, const stoa_actor_view *view);

/* Processor time that the process has used. */
uint64_t stoa_process_cpu_ns(void);

/* Visit all names of a class of `names`, in no order. */
typedef void (*stoa_name_visit)(void *context, const char *name);
stoa_err stoa_names_visit(stoa_platform *platform, const char *cls, stoa_name_visit visit, void *context);

/* NOT_FOUND for what ("room"), with the nearest name of the class in the sentence. */
stoa_err stoa_not_found(stoa_platform *platform, const char *what, const char *cls, const char *name);

/* An actor that a command names by its key, or in full. */
enum { STOA_SOUGHT_KINDS = 2 };
typedef struct stoa_sought {
    const char *what, *cls;               /* as for stoa_not_found */
    const char *kinds[STOA_SOUGHT_KINDS]; /* of which it may be, the first that is there; "": the name is in full. Others are NULL */
} stoa_sought;
extern const stoa_sought stoa_sought_actor; /* by its full name */

/* Find it, here or on another node, with one look at each name. kind_out: which of the kinds; may be NULL. Errors, with a sentence:
 * UNAVAILABLE (it is on a node that is lost), NOT_FOUND (as stoa_not_found). */
stoa_err stoa_find_sought(stoa_platform *platform, const stoa_sought *sought, const char *name, stoa_ref *out, uint32_t *kind_out);

/* stoa_not_found for a pattern that matched nothing, and the document is taken back; OK where there was no pattern. */
stoa_err stoa_nothing_found(stoa_platform *platform, stoa_door_call *call, const char *what, const char *cls,
                            const char *pattern);

/* The shard of that name; NULL when there is none. */
stoa_shard *stoa_shard_named(stoa_platform *platform, const char *name);
/* The i-th shard there is; NULL behind the last. */
stoa_shard *stoa_shard_at(stoa_platform *platform, uint32_t index);

#endif
