/* links.h - links and monitors, within a core and across cores. Internal to runtime/.
 *
 * A tie is made by one actor (the maker) to another (the target). It is an entry in the table of the maker's core and one block
 * of that core's slab, which travels to the target's core and stays in the target's list until the target ends or the maker
 * takes it back. So the block that tells of an end exists from the beginning: telling cannot fail.
 *
 *   target ends    the block goes home with the reason; the maker hears down, hears exit or fails.
 *   maker ends, or demonitors or unlinks
 *                  a second block asks for the first; for a link the target then fails or hears exit. What crosses on the way
 *                  is sorted out at home: the entry lives until the request comes back, and only then both blocks are free.
 *
 * Whoever holds the block may write to it; nobody else looks at it. Rings keep order, which the protocol rests on.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef STOA_RUNTIME_LINKS_H
#define STOA_RUNTIME_LINKS_H

#include "runtime/message.h"
#include "runtime/tree.h"

struct stoa_core;
struct stoa_actor;

enum { STOA_TIES_MAX = 1 << 22 };

typedef struct stoa_tie {
    stoa_msg *block;
    stoa_ref maker, target;
    uint32_t next, prev; /* of the maker's list; next also of the free list */
    uint32_t generation;
    uint8_t state; /* of links.c */
    bool link;
} stoa_tie;

typedef struct stoa_ties {
    stoa_tie *at; /* STOA_TIES_MAX, reserved and touched as they are used; entry 0 unused */
    uint32_t used, free, count;
} stoa_ties;

stoa_err stoa_ties_init(stoa_ties *ties);
void stoa_ties_deinit(stoa_ties *ties);

/* An incarnation ended: tell who watches it, and let go of what it made. returns: it will be restarted. */
void stoa_links_release(struct stoa_core *core, struct stoa_actor *actor, const stoa_fate *fate, bool returns);
/* --- stands (stand.c): their port is told by a row of stoa_stand of what becomes of who's link to it. True where the actor is none;
 * false: no memory. fate: why who ended, NULL. */
bool stoa_stand_told(struct stoa_core *core, const struct stoa_actor *actor, stoa_ref who, unsigned row, const stoa_fate *fate);
bool stoa_is_stand(const struct stoa_actor *actor);

/* Carry out what waits in core->signals: stops, and failures passed on by links. */
void stoa_signals_run(struct stoa_core *core);

#endif
