/* mailbox.h - the mailbox of a plain actor: two lanes, the control lane first. Internal to runtime/.
 *
 * actor->queued counts what waits in both lanes and what the running turn has staged for the actor, so that what a turn was
 * told has room keeps it.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef STOA_RUNTIME_MAILBOX_H
#define STOA_RUNTIME_MAILBOX_H

#include "runtime/core.h"

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

/* Put msg, which is counted in actor->queued, at the end of its lane. */
static inline void stoa_mailbox_put(stoa_core *core, stoa_actor *actor, stoa_msg *msg)
{
    if (__builtin_expect(msg->flags & STOA_MSG_URGENT, 0)) {
        stoa_msg *last = actor->control;
        msg->next = last ? last->next : msg;
        if (last) { last->next = msg; }
        actor->control = msg;
    } else {
        msg->next = NULL;
        if (actor->head) {
            actor->tail->next = msg;
        } else {
            actor->head = msg;
        }
        actor->tail = msg;
    }
    stoa_core_enqueue(core, &actor->run);
}

static inline bool stoa_mailbox_waits(const stoa_actor *actor)
{
    return actor->head || actor->control;
}

/* The next message; there is one. */
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
        return msg;
    }
    msg = actor->head;
    actor->head = msg->next;
    return msg;
}

/* Take the last message of the normal lane out again; there is one. */
static inline stoa_msg *stoa_mailbox_take_last(stoa_actor *actor)
{
    stoa_msg *last = actor->tail, *before = NULL;
    for (stoa_msg *at = actor->head; at != last; at = at->next) { before = at; }
    if (before) {
        before->next = NULL;
        actor->tail = before;
    } else {
        actor->head = NULL;
    }
    return last;
}

/* Whether an actor has a mailbox and room in it. */
static inline bool stoa_mailbox_room(const stoa_actor *actor)
{
    return actor->flags == STOA_ACTOR_ALIVE && actor->queued < actor->limit;
}

#endif
