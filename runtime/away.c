/* away.c - slots that stand for an actor where it was: they pass on what comes, or keep it while the actor is about to come.
 * See move.h.
 *
 * A message that is passed on is no turn here and leaves no trace of its own. A block of a third core's memory is counted there
 * as held by this one, so it goes home and a copy in this core's memory goes on: each core's count of what others hold stays true.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "runtime/internal.h"
#include "runtime/mailbox.h"
#include "runtime/move.h"

stoa_actor *stoa_away(const stoa_core *core, stoa_ref ref)
{
    stoa_actor *slot = stoa_actor_slot(core, stoa_ref_index(ref));
    bool away = (slot->flags & (STOA_ACTOR_ALIVE | STOA_ACTOR_AWAY)) == STOA_ACTOR_AWAY;
    return away && stoa_ref_equal(slot->self, ref) ? slot : NULL;
}

stoa_actor *stoa_stands_for(const stoa_core *core, stoa_ref ref)
{
    stoa_actor *actor = stoa_core_actor(core, ref);
    return actor ? actor : stoa_away(core, ref);
}

stoa_err stoa_away_room(const stoa_core *core, stoa_ref ref, uint32_t flags, const stoa_row *row, const void *payload)
{
    stoa_actor *slot = stoa_away(core, ref), *kept;
    if (!slot) { return STOA_E_CLOSED; }
    if (!slot->more->away.at) { return stoa_mailbox_ask_room(slot, false, flags, row, payload, &kept); }
    return stoa_place_room(&core->place, stoa_ref_place(slot->more->away)) ? STOA_OK : STOA_E_FULL;
}

/* --- messages */

/* NULL: no memory. */
static stoa_msg *copy_of(stoa_core *core, stoa_msg *msg)
{
    stoa_slab *slab = &core->place.slab;
    uint32_t flags = msg->flags & ~(uint32_t)(STOA_MSG_ABROAD | STOA_MSG_MARKED);
    stoa_msg *copy = (msg->flags & STOA_MSG_MARKED)  ? stoa_slab_new_marked(slab, msg->size_bytes, flags, *stoa_msg_mark(msg))
                     : (msg->flags & STOA_MSG_FIRED) ? stoa_slab_new_surely(slab, msg->size_bytes, flags)
                                                     : stoa_slab_new(slab, msg->size_bytes, flags);
    if (!copy) { return NULL; }
    copy->from = msg->from;
    copy->row = msg->row;
    if (flags & STOA_MSG_CONTEXT) {
        *stoa_msg_context(copy) = *stoa_msg_context(msg);
        stoa_msg_context(copy)->named = 0; /* only shards look at the names of requests, and nobody of them moves */
    }
    memcpy(stoa_msg_body(copy), stoa_msg_body(msg), msg->size_bytes);
    return copy;
}

void stoa_away_pass(stoa_core *core, stoa_actor *slot, stoa_msg *msg)
{
    stoa_ref to = slot->more->away;
    uint32_t place = stoa_ref_place(to);
    bool asked_for = msg->flags & STOA_MSG_FIRED; /* bounded by who did, and never refused */
    STOA_ASSERT(!(msg->flags & STOA_MSG_LENT));   /* who subscribes does not move */
    if (!asked_for && !stoa_place_room(&core->place, place)) {
        stoa_core_refuse(core, msg, STOA_E_FULL);
        return;
    }
    if ((msg->flags & STOA_MSG_ABROAD) && msg->home != core->place.index && msg->home != place) {
        stoa_msg *copy = copy_of(core, msg);
        if (!copy) {
            stoa_core_refuse(core, msg, STOA_E_NOMEM);
            return;
        }
        stoa_place_free(&core->place, msg);
        msg = copy;
    }
    msg->to = to;
    stoa_core_deliver(core, msg);
}

bool stoa_away_follow(const stoa_core *core, stoa_ref *ref)
{
    const stoa_actor *slot = stoa_away(core, *ref);
    if (!slot) { return false; }
    if (slot->more->away.at) { *ref = slot->more->away; }
    return true;
}

/* --- acts: what is done with an actor, and what it holds is not to know of */

static void keep_act(stoa_actor_more *more, stoa_msg *msg)
{
    msg->next = NULL;
    if (more->acts) {
        more->acts_last->next = msg;
    } else {
        more->acts = msg;
    }
    more->acts_last = msg;
}

bool stoa_away_act(stoa_core *core, stoa_msg *msg)
{
    stoa_actor *slot = msg->to.at && stoa_ref_place(msg->to) == core->place.index ? stoa_away(core, msg->to) : NULL;
    if (!slot) { return false; }
    if (slot->more->away.at) {
        msg->to = slot->more->away;
        stoa_core_deliver(core, msg);
    } else {
        keep_act(slot->more, msg);
    }
    return true;
}

/* In their order: they find the actor, or nobody, or where it is. */
static void run_acts(stoa_core *core, stoa_msg *msg)
{
    while (msg) {
        stoa_msg *next = msg->next;
        stoa_msg_act(msg)->run(core, msg);
        msg = next;
    }
}

static stoa_msg *acts_of(stoa_actor *slot)
{
    stoa_msg *acts = slot->more->acts;
    slot->more->acts = NULL;
    return acts;
}

/* --- what becomes of a slot */

void stoa_away_let_go(stoa_core *core, stoa_actor *slot)
{
    stoa_msg *acts = acts_of(slot);
    stoa_actor_free_away(core, slot);
    run_acts(core, acts);
}

void stoa_away_pass_on_to(stoa_core *core, stoa_actor *slot, stoa_ref to)
{
    stoa_msg *acts = acts_of(slot);
    stoa_conflating_free(slot);
    slot->flags = STOA_ACTOR_AWAY;
    slot->more->away = to;
    while (stoa_mailbox_waits(slot)) { stoa_away_pass(core, slot, stoa_mailbox_get(slot)); }
    run_acts(core, acts);
}

void stoa_away_come(stoa_core *core, stoa_actor *actor)
{
    if (stoa_mailbox_waits(actor)) { stoa_core_enqueue(core, &actor->run); }
    run_acts(core, acts_of(actor));
}

/* --- the actor has ended */

static void over(stoa_core *core, stoa_msg *msg)
{
    stoa_actor *slot = stoa_away(core, msg->to);
    STOA_ASSERT(slot); /* one act, one slot */
    stoa_place_free(&core->place, msg);
    if (slot->more->away.at) {
        stoa_away_let_go(core, slot);
    } else {
        slot->more->over = true; /* a move that comes too late lets go of it */
    }
}

stoa_msg *stoa_away_over_new(stoa_core *core, stoa_ref slot)
{
    stoa_msg *msg = stoa_slab_new(&core->place.slab, sizeof(stoa_act), STOA_MSG_ACT);
    if (!msg) { return NULL; }
    *(stoa_act *)stoa_msg_body(msg) = (stoa_act){.run = over};
    msg->to = msg->from = slot;
    msg->row = NULL;
    return msg;
}

void stoa_away_release(stoa_core *core, stoa_actor *actor)
{
    while (actor->more->slots) {
        stoa_msg *msg = actor->more->slots;
        actor->more->slots = msg->next;
        stoa_core_deliver(core, msg);
    }
}
