/* mailbox.h - the mailbox of an actor: two lanes, the control lane first; what becomes of what finds it full. Internal to runtime/.
 *
 * actor->queued counts what waits in both lanes and what the running turn has staged for the actor, so that what a turn was
 * told has room keeps it; actor->urgent counts control rows among those. What was armed by the actor itself (answers, timers,
 * system messages) is always taken and counts too.
 *
 * Plain actors have a list for each lane. Event-sourced ones share those of their shard (shard.c), under the same rules. Messages
 * of an actor that is ALIVE and nothing else, to whom nobody waits and whose kind does not conflate, go straight in
 * (stoa_mailbox_room); everything else comes by stoa_mailbox_admits.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef STOA_RUNTIME_MAILBOX_H
#define STOA_RUNTIME_MAILBOX_H

#include "runtime/core.h"

enum {
    STOA_CONTROL_MAX = 64,   /* control rows that wait */
    STOA_OLDEST_LOOK = 64,   /* messages looked through for one that may be dropped */
    STOA_AWAITING_MAX = 256, /* actors that wait for room in one mailbox */
};

/* While a counted message is staged, `to` holds the actor itself: it is looked up once. */
static inline void stoa_msg_count(stoa_msg *msg, stoa_actor *target)
{
    msg->to.at = (uint64_t)(uintptr_t)target;
    msg->flags |= STOA_MSG_COUNTED;
}
static inline stoa_actor *stoa_msg_target(const stoa_msg *msg)
{
    return (stoa_actor *)(uintptr_t)msg->to.at;
}

/* What a message of row is sent with. */
static inline uint32_t stoa_row_flags(const stoa_row *row)
{
    return __builtin_expect(row->cls == STOA_ROW_CONTROL, 0) ? STOA_MSG_URGENT : 0;
}

/* A control row, which has a bound of its own. */
static inline bool stoa_msg_is_control(uint32_t flags)
{
    return (flags & (STOA_MSG_URGENT | STOA_MSG_FIRED)) == STOA_MSG_URGENT;
}

/* Put msg, which is counted in actor->queued, at the end of the normal lane. */
static inline void stoa_mailbox_put_last(stoa_core *core, stoa_actor *actor, stoa_msg *msg)
{
    msg->next = NULL;
    if (actor->head) {
        actor->tail->next = msg;
    } else {
        actor->head = msg;
    }
    actor->tail = msg;
    stoa_core_enqueue(core, &actor->run);
}

/* The same at the end of its lane. */
static inline void stoa_mailbox_put(stoa_core *core, stoa_actor *actor, stoa_msg *msg)
{
    if (__builtin_expect(!(msg->flags & STOA_MSG_URGENT), 1)) {
        stoa_mailbox_put_last(core, actor, msg);
        return;
    }
    stoa_msg *last = actor->control;
    msg->next = last ? last->next : msg;
    if (last) { last->next = msg; }
    actor->control = msg;
    stoa_core_enqueue(core, &actor->run);
}

static inline bool stoa_mailbox_waits(const stoa_actor *actor)
{
    return actor->head || actor->control;
}

/* The next message; there is one. Of a conflating kind's actor it is then to be forgotten. */
static inline stoa_msg *stoa_mailbox_get(stoa_actor *actor)
{
    stoa_msg *msg;
    actor->queued--;
    if (__builtin_expect(actor->control != NULL, 0)) {
        msg = actor->control->next;
        if (msg == actor->control) {
            actor->control = NULL;
        } else {
            actor->control->next = msg->next;
        }
        if (stoa_msg_is_control(msg->flags)) { actor->urgent--; }
        return msg;
    }
    msg = actor->head;
    actor->head = msg->next;
    return msg;
}

/* Take the last message of the normal lane out again; before: the one it was put behind, NULL: it is alone. */
static inline stoa_msg *stoa_mailbox_take_last(stoa_actor *actor, stoa_msg *before)
{
    stoa_msg *last = actor->tail;
    if (before) {
        before->next = NULL;
        actor->tail = before;
    } else {
        actor->head = NULL;
    }
    return last;
}

/* Whether an actor has a mailbox and room in it, and nothing else is to be thought of. */
static inline bool stoa_mailbox_room(const stoa_actor *actor)
{
    return actor->flags == STOA_ACTOR_ALIVE && actor->queued < actor->limit;
}

/* Keep and give back a place for a message with these flags. */
static inline void stoa_mailbox_keep(stoa_actor *actor, uint32_t flags)
{
    actor->queued++;
    actor->urgent = (uint8_t)(actor->urgent + stoa_msg_is_control(flags));
}
static inline void stoa_mailbox_unkeep(stoa_actor *actor, uint32_t flags)
{
    actor->queued--;
    actor->urgent = (uint8_t)(actor->urgent - stoa_msg_is_control(flags));
}

/* Whether an actor of this core takes one more message of row, staged with these flags; where keep allows, its place is kept then
 * and *kept_out is the actor. Otherwise *kept_out stays, and what comes is decided when it comes. Errors: FULL, FAILED, CLOSED. */
stoa_err stoa_mailbox_ask_room(stoa_actor *target, bool keep, uint32_t flags, const stoa_row *row, const void *payload,
                               stoa_actor **kept_out);
/* A message that arrived for an actor, plain or of a shard, that takes messages: false when it is gone, merged with one that waits,
 * dropped or refused; true when it is to be put at the end of its lane. */
bool stoa_mailbox_admits(stoa_core *core, stoa_actor *actor, stoa_msg *msg);

/* --- conflation (conflate.c): which message of each key waits */
stoa_err stoa_conflating_new(stoa_core *core, stoa_actor *actor);
void stoa_conflating_free(stoa_actor *actor);
/* msg is put at the end of its lane; msg has left it. Nothing for other kinds. */
void stoa_conflating_in(stoa_actor *actor, stoa_msg *msg);
void stoa_conflating_out(stoa_actor *actor, stoa_msg *msg);
static inline void stoa_conflating_note(stoa_actor *actor, stoa_msg *msg)
{
    if (__builtin_expect(actor->flags & STOA_ACTOR_CONFLATES, 0)) { stoa_conflating_in(actor, msg); }
}
static inline void stoa_conflating_forget(stoa_actor *actor, stoa_msg *msg)
{
    if (__builtin_expect(actor->flags & STOA_ACTOR_CONFLATES, 0)) { stoa_conflating_out(actor, msg); }
}
/* Merge msg with one that waits: true, and msg is gone. */
bool stoa_conflating_merge(stoa_core *core, stoa_actor *actor, stoa_msg *msg);
/* What the kind says such a message is about; 0: nothing, or the kind does not conflate. */
uint64_t stoa_conflating_key(const stoa_actor *actor, const stoa_row *row, const void *payload);

/* --- credit (credit.c) */
/* The mailbox got emptier, or the actor is gone (err): tell who waits, if it is time. */
void stoa_room_tell(stoa_core *core, stoa_actor *actor, stoa_err err);
/* What the sender of a TOLD message hears of its refusal, not yet delivered; NULL: no memory. */
stoa_msg *stoa_refusal_new(stoa_core *core, const stoa_msg *msg, stoa_err why);

#endif
