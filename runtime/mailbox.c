/* mailbox.c - the rules of a mailbox: bounds of the two lanes, and what its kind does with what finds it full. See mailbox.h.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "runtime/mailbox.h"

#include "runtime/internal.h"
#include "runtime/shard.h"

static bool lane_has_room(const stoa_actor *actor, uint32_t flags)
{
    if (stoa_msg_is_control(flags)) { return actor->urgent < STOA_CONTROL_MAX; }
    return actor->queued - actor->urgent < actor->limit;
}

/* What is asked, answered, was due or controls is never dropped. */
static bool row_may_be_dropped(const stoa_row *row)
{
    return row->cls == STOA_ROW_CAST || row->cls == STOA_ROW_TOPIC;
}

bool stoa_msg_may_be_dropped(stoa_msg *msg)
{
    if (msg->flags & (STOA_MSG_ANSWER | STOA_MSG_FIRED | STOA_MSG_URGENT) || !row_may_be_dropped(msg->row)) { return false; }
    return !(msg->flags & STOA_MSG_CONTEXT) || !stoa_msg_context(msg)->reply_to.at;
}

static stoa_err refused(stoa_actor *actor)
{
    actor->refused++;
    actor->last_refusal = STOA_E_FULL;
    return STOA_E_FULL;
}

stoa_err stoa_mailbox_ask_room(stoa_actor *target, bool keep, uint32_t flags, const stoa_row *row, const void *payload,
                               stoa_actor **kept_out)
{
    if (target->flags & STOA_ACTOR_DOWN) { return (target->flags & STOA_ACTOR_ENDING) ? STOA_E_CLOSED : STOA_E_FAILED; }
    if (target->flags & STOA_ACTOR_CLOSING) { return STOA_E_CLOSED; }
    bool may = !(flags & STOA_MSG_ASKS) && row_may_be_dropped(row);
    if (may && stoa_conflating_key(target, row, payload)) { return STOA_OK; } /* whether there is room shows when it comes */
    if (lane_has_room(target, flags)) {
        if (keep && !(target->flags & STOA_ACTOR_IN_SHARD)) {
            stoa_mailbox_keep(target, flags);
            *kept_out = target;
        }
        return STOA_OK;
    }
    return may && target->kind->when_full != STOA_FULL_REFUSE ? STOA_OK : refused(target);
}

/* --- the oldest that may be dropped, out of its list; NULL: none among the first */

static stoa_msg *oldest_of_mailbox(stoa_actor *actor)
{
    stoa_msg *before = NULL, *at = actor->head;
    for (uint32_t i = 0; at && i < STOA_OLDEST_LOOK && !stoa_msg_may_be_dropped(at); i++) {
        before = at;
        at = at->next;
    }
    if (!at || !stoa_msg_may_be_dropped(at)) { return NULL; }
    if (before) {
        before->next = at->next;
    } else {
        actor->head = at->next;
    }
    if (actor->tail == at) { actor->tail = before; }
    return at;
}

static stoa_msg *oldest_of_inbox(stoa_msg_list *inbox, stoa_ref to)
{
    stoa_msg *before = NULL, *at = inbox->head;
    for (uint32_t i = 0; at && i < STOA_OLDEST_LOOK; i++) {
        if (stoa_ref_equal(at->to, to) && stoa_msg_may_be_dropped(at)) {
            stoa_msg_list_take(inbox, before, at);
            return at;
        }
        before = at;
        at = at->next;
    }
    return NULL;
}

static bool drop_oldest(stoa_core *core, stoa_actor *actor)
{
    stoa_msg *oldest = actor->shard ? oldest_of_inbox(&actor->shard->inbox, actor->self) : oldest_of_mailbox(actor);
    if (!oldest) { return false; }
    actor->queued--;
    stoa_conflating_forget(actor, oldest);
    stoa_core_drop(core, oldest, STOA_E_FULL, STOA_DROP_OLDEST);
    return true;
}

bool stoa_mailbox_admits(stoa_core *core, stoa_actor *actor, stoa_msg *msg)
{
    if ((actor->flags & STOA_ACTOR_CONFLATES) && stoa_conflating_merge(core, actor, msg)) { return false; }
    if ((msg->flags & (STOA_MSG_ANSWER | STOA_MSG_FIRED)) || lane_has_room(actor, msg->flags)) { return true; }
    (void)refused(actor);
    bool may = stoa_msg_may_be_dropped(msg);
    if (may && actor->kind->when_full == STOA_FULL_DROP_OLDEST && drop_oldest(core, actor)) { return true; }
    if (may && actor->kind->when_full == STOA_FULL_DROP_NEWEST) {
        stoa_core_drop(core, msg, STOA_E_FULL, STOA_DROP_NEWEST);
    } else {
        stoa_core_refuse(core, msg, STOA_E_FULL);
    }
    return false;
}

void stoa_core_push(stoa_core *core, stoa_actor *actor, stoa_msg *msg)
{
    stoa_mailbox_keep(actor, msg->flags);
    stoa_conflating_note(actor, msg);
    stoa_mailbox_put(core, actor, msg);
}

void stoa_mailbox_refuse(stoa_core *core, stoa_actor *actor, stoa_err why)
{
    while (stoa_mailbox_waits(actor)) {
        stoa_msg *msg = stoa_mailbox_get(actor);
        stoa_conflating_forget(actor, msg);
        stoa_core_refuse(core, msg, why);
    }
    if (actor->flags & STOA_ACTOR_AWAITED) { stoa_room_tell(core, actor, STOA_OK); }
}
