/* move.h - actors that move to another core, and the slots that stand for them where they were. Internal to runtime/.
 *
 * An actor has at most one slot on each core. One is the actor; the others are AWAY and pass on what comes, each to where the
 * actor went when it left that core. These ways lead from an earlier leaving to a later one, so they have no circle and at
 * most one step per core; what moves back finds its old slot again. Slots are let go when the actor ends, by acts that were
 * allocated when it left (away.c).
 *
 * Order: what was sent to one reference takes one way, at any time, and all of its steps keep order. Where the actor comes
 * back to a slot that passed on, that way becomes shorter: so what is still on it must have arrived first. And what the actor
 * itself sent must have been taken from the rings of its core before it sends by those of another (fence.c).
 *
 *     target core     slots (new ones, or those of before) keep what comes
 *     on the way      the fences, for each slot of before and for the rings of the source core
 *     source core     still idle? the states go over, names resolve to the new slots, the old ones pass on
 *     target core     the actors are there, with what was kept
 *
 * Whatever fails before the third step is undone: what was kept goes on to where it would have gone. An actor moves with all
 * that is below it (move.c), in one piece: trees stay within one core, and so does what supervises.
 *
 * A slot that keeps what comes has the rules of the kind's mailbox: its limit, its lanes, what becomes of what finds it full,
 * its index where it conflates. One that passes on has none of it.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef STOA_RUNTIME_MOVE_H
#define STOA_RUNTIME_MOVE_H

#include "runtime/core.h"

enum {
    STOA_MOVE_LOOKS = 1000, /* so often is looked whether the way is clear, or the actor has come */
    STOA_MOVE_MAX = 256,    /* actors that move in one piece */
};

/* The slot of that reference that is AWAY, NULL: there is none. */
stoa_actor *stoa_away(const stoa_core *core, stoa_ref ref);
/* The actor, or the slot that stands for it here; NULL: neither. */
stoa_actor *stoa_stands_for(const stoa_core *core, stoa_ref ref);
/* Whether the actor that ref stands for may be sent a message. Errors: as stoa_turn_send's. */
stoa_err stoa_away_room(const stoa_core *core, stoa_ref ref, uint32_t flags, const stoa_row *row, const void *payload);
/* Pass msg on, which came to a slot that does. Ownership goes. */
void stoa_away_pass(stoa_core *core, stoa_actor *slot, stoa_msg *msg);
/* The same for an act, which is kept where the actor is about to come. false: msg->to is not away, nothing was done. */
bool stoa_away_act(stoa_core *core, stoa_msg *msg);
/* false: not away. Else *ref is one step nearer to the actor, or the same where it is about to come. */
bool stoa_away_follow(const stoa_core *core, stoa_ref *ref);
/* An actor is gone for good: its slots on other cores go. */
void stoa_away_release(stoa_core *core, stoa_actor *actor);

/* --- for move.c: slots (away.c) */
/* What lets go of a slot when its actor has ended; NULL: no memory. */
stoa_msg *stoa_away_over_new(stoa_core *core, stoa_ref slot);
/* The slot is nobody's any more: what it kept is refused. */
void stoa_away_let_go(stoa_core *core, stoa_actor *slot);
/* It passes on to `to`: first what it kept. */
void stoa_away_pass_on_to(stoa_core *core, stoa_actor *slot, stoa_ref to);
/* What acts were kept for an actor that has come find it. */
void stoa_away_come(stoa_core *core, stoa_actor *actor);

/* --- and the fences (fence.c), from outside of the cores */
/* What slot passed on to next, and so on, has arrived at actor. Errors: CLOSED (there is no way), AGAIN (it takes longer). */
stoa_err stoa_way_await(stoa_node *node, stoa_ref slot, stoa_ref next, stoa_ref actor);
/* What a core has sent: how far each of its rings must be read. */
typedef struct stoa_sent {
    uint64_t until[STOA_PLACES_MAX];
    bool published; /* all of it is in the rings */
} stoa_sent;
/* On the core. */
void stoa_sent_note(stoa_core *core, stoa_sent *sent);
/* Any thread. */
bool stoa_sent_is_taken(const stoa_core *core, const stoa_sent *sent);
/* Let the cores go on for a moment; false: nothing moves any more (the simulator). */
bool stoa_move_go_on(stoa_node *node);
/* What real cores do between two steps of a move anyway: the simulator's take some turns. */
void stoa_move_meanwhile(stoa_node *node);

#endif
