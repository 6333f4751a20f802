/* tree.h - who is whose child, and how subtrees end and come back. Internal to runtime/.
 *
 * Every actor of a core hangs below another one of that core or below the core's root. Siblings are a list from the oldest to
 * the youngest. An actor that fails, exits or is told to end goes through these states (supervise.c decides what follows):
 *
 *     serving --told to end--> ENDING (its children end, youngest first; it serves on)
 *             --> CLOSING (no children left: it handles what it was sent before, then `stopping`)
 *     serving, ENDING, CLOSING --fails or exits--> DOWN | ENDING (refuses everything while its children end)
 *     DOWN | ENDING --no children left--> gone, or DOWN (waits for its restart: a delay, or its siblings' end) --> serving
 *
 * What ends a subtree is one loop without recursion, at most STOA_TREE_STEPS steps at a go; the rest waits for the next batch.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef STOA_RUNTIME_TREE_H
#define STOA_RUNTIME_TREE_H

#include "runtime/actor.h"

struct stoa_core;
struct stoa_actor;
struct stoa_turning;
struct stoa_msg;

enum { STOA_TREE_STEPS = 1024 };
#define STOA_NO_FAMILY UINT32_MAX /* parent of an actor that is nobody's child yet */

/* The children of an actor or of a core's root, and what their restarts may draw on. */
typedef struct stoa_family {
    uint32_t oldest, youngest, count; /* index + 1 */
    uint32_t rebuild; /* index + 1 of the oldest child of a group that is ended to be restarted; 0: none */
    uint32_t cursor;  /* the next one of the group to be ended, from the youngest on; of the root: when the node ends */
    uint64_t rebuild_ns; /* the group starts again not before */
    uint64_t bucket_ns;  /* when the bucket of restarts will be full again */
} stoa_family;

/* Why an actor ends, and whether it may come back. */
typedef struct stoa_fate {
    const char *text; /* static */
    stoa_end why;
    bool stays_away; /* it was told to end: nobody restarts it */
    bool group;      /* it is restarted with its siblings, unless it is temporary */
    bool kill;       /* nothing of it or below it is waited for */
} stoa_fate;

/* --- structure (tree.c). parent NULL: the root. */
void stoa_tree_add(struct stoa_core *core, struct stoa_actor *parent, struct stoa_actor *child);
void stoa_tree_remove(struct stoa_core *core, struct stoa_actor *child);
struct stoa_actor *stoa_tree_parent(struct stoa_core *core, const struct stoa_actor *actor);
/* The family below actor (NULL: the root's), or NULL when it never had a child. */
stoa_family *stoa_tree_family(struct stoa_core *core, struct stoa_actor *actor);
struct stoa_actor *stoa_tree_at(struct stoa_core *core, uint32_t index_plus_1);
/* Walk all lists of the core; what is wrong as a static text, or NULL. For tests. */
const char *stoa_tree_check(struct stoa_core *core);

/* --- children that a turn spawned (tree.c): they take effect with it, or never were. */
void stoa_tree_born(struct stoa_turning *t);
void stoa_tree_unborn(struct stoa_turning *t);

/* --- ends (supervise.c). None of these runs inside a turn; the actor may be freed by them. */
/* This incarnation is over: it failed or exited. */
void stoa_tree_over(struct stoa_core *core, struct stoa_actor *actor, stoa_fate fate);
/* Tell it to end in order, within its shutdown_ms (fate.kill: now). */
void stoa_tree_stop(struct stoa_core *core, struct stoa_actor *actor, stoa_fate fate);
/* Its mailbox ran empty while it is ENDING. */
void stoa_tree_drained(struct stoa_core *core, struct stoa_actor *actor);
/* Its first turn, for one that was spawned or restarted. */
void stoa_tree_start(struct stoa_core *core, struct stoa_actor *actor);
/* Restart timers and deadlines. */
void stoa_tree_restart_due(struct stoa_core *core, stoa_ref ref);
void stoa_tree_kill_due(struct stoa_core *core, stoa_ref ref);
/* Go on with what exceeded STOA_TREE_STEPS. */
void stoa_tree_continue(struct stoa_core *core);
/* A message for an actor that is DOWN or CLOSING: refused, or taken after all. Ownership goes. */
void stoa_tree_late(struct stoa_core *core, struct stoa_actor *actor, struct stoa_msg *msg);

/* An event-sourced actor whose shard is dropped begins anew: what it holds goes back, who watches it hears why (static), its children
 * are killed. Its state, what waits for it, and its resume are the shard's to see to. */
void stoa_tree_renew(struct stoa_core *core, struct stoa_actor *actor, const char *why);
/* The same for one that holds something of a cascade that is undone. late: it comes back with the delay of one that fails again and
 * again. Whether it is to resume now: otherwise a timer sees to that, or, since it had failed, its supervisor. */
bool stoa_tree_undone(struct stoa_core *core, struct stoa_actor *actor, bool late, const char *why);

/* --- the end of the node (supervise.c), on the core: tell all children of the root to end, youngest first. */
void stoa_tree_shutdown(struct stoa_core *core);
/* Kill what is left below the root, naming it in the log. */
void stoa_tree_kill_all(struct stoa_core *core);
/* Whether nothing but event-sourced actors is left. */
bool stoa_tree_ended(struct stoa_core *core);

#endif
