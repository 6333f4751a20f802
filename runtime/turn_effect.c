/* turn_effect.c - what a turn asked for takes effect as a whole, or is taken back as a whole.
 *
 * Order: who left a topic does not hear what the same turn publishes; what was written ahead into a ring comes before what is
 * in the list for that place; the list goes in the order in which the handler asked.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "runtime/mailbox.h"
#include "runtime/shard.h"
#include "runtime/turning.h"

static void take_back_one(stoa_turning *t, stoa_msg *msg)
{
    stoa_core *core = t->core;
    if ((msg->flags & STOA_MSG_ACT) && stoa_msg_act(msg)->undo) {
        stoa_msg_act(msg)->undo(core, msg);
        return;
    }
    stoa_context *context = (msg->flags & STOA_MSG_CONTEXT) ? stoa_msg_context(msg) : NULL;
    if ((msg->flags & STOA_MSG_CANCEL) && (msg->flags & STOA_MSG_TIMER)) { /* it ran before this turn: it goes on */
        msg->flags &= (uint16_t)~STOA_MSG_CANCEL;
        stoa_wheel_start(&core->wheel, context->ask, context->position);
        return;
    }
    if (msg->flags & STOA_MSG_COUNTED) { stoa_mailbox_unkeep(stoa_msg_target(msg), msg->flags); }
    if (msg->flags & (STOA_MSG_TIMER | STOA_MSG_CANCEL)) { (void)stoa_wheel_cancel(&core->wheel, context->ask); }
    if (msg->flags & STOA_MSG_TOPIC) { stoa_topic_landed(context->topic); }
    if (msg->flags & STOA_MSG_ASKS) { stoa_ask_end(core, t->actor, stoa_asks_find(&core->asks, context->ask)); }
    stoa_place_free(&core->place, msg);
}

void stoa_turning_take_back(stoa_turning *t)
{
    if (t->changed) { stoa_topics_take_back(t); }
    while (t->sent) {
        stoa_actor *target = t->ahead[--t->sent].to;
        target->queued--;
        stoa_place_free(&t->core->place, stoa_mailbox_take_last(target, t->ahead[t->sent].behind));
    }
    for (; t->rings; t->rings &= t->rings - 1) {
        uint32_t place = (uint32_t)__builtin_ctzll(t->rings);
        stoa_ring *ring = atomic_load_explicit(&t->core->place.out[place], memory_order_relaxed);
        ring->ahead_count = ring->mark;
    }
    while (t->staged) {
        stoa_msg *msg = t->staged;
        t->staged = msg->next;
        take_back_one(t, msg);
    }
    if (t->born) { stoa_tree_unborn(t); }
    if (t->actor->shard) { stoa_shard_clear_staged(t->actor->shard); }
    stoa_turning_clean(t);
}

/* The place in the mailbox is kept; but the same turn may have ended the actor. */
static inline void put_counted(stoa_core *core, stoa_msg *msg)
{
    stoa_actor *target = stoa_msg_target(msg);
    msg->to = target->self;
    msg->flags &= (uint16_t)~STOA_MSG_COUNTED;
    if (__builtin_expect((target->flags & (STOA_ACTOR_ALIVE | STOA_ACTOR_DOWN)) == STOA_ACTOR_ALIVE, 1)) {
        stoa_conflating_note(target, msg);
        stoa_mailbox_put(core, target, msg);
        return;
    }
    stoa_mailbox_unkeep(target, msg->flags);
    stoa_core_refuse(core, msg, (target->flags & STOA_ACTOR_ALIVE) ? STOA_E_FAILED : STOA_E_CLOSED);
}

static void let_go_ask(stoa_core *core, stoa_msg *msg)
{
    stoa_ask *ask = stoa_asks_find(&core->asks, stoa_msg_context(msg)->ask);
    stoa_wheel_start(&core->wheel, ask->deadline_timer, ask->due_ns);
    msg->flags &= (uint16_t)~STOA_MSG_ASKS;
}

static void run_act(stoa_turning *t, stoa_msg *msg)
{
    if (!msg->to.at) {
        stoa_msg_act(msg)->run(t->core, msg);
    } else if (t->actor->shard) {
        stoa_shard_wall(t->actor->shard, msg);
    } else {
        stoa_core_deliver(t->core, msg);
    }
}

/* The list, one by one. */
static void let_go_listed(stoa_turning *t)
{
    stoa_core *core = t->core;
    while (t->staged) {
        stoa_msg *msg = t->staged;
        t->staged = msg->next;
        t->charge++;
        if (__builtin_expect(msg->flags & (STOA_MSG_TIMER | STOA_MSG_CANCEL | STOA_MSG_ASKS | STOA_MSG_ACT), 0)) {
            if (t->actor->shard) { stoa_shard_touch(t->actor); }
            if (msg->flags & STOA_MSG_CANCEL) {
                if (msg->flags & STOA_MSG_TIMER) { stoa_timer_disown(t->actor->more, msg); } /* it ran */
                (void)stoa_wheel_cancel(&core->wheel, stoa_msg_context(msg)->ask);
                stoa_place_free(&core->place, msg);
                continue;
            }
            if (msg->flags & STOA_MSG_TIMER) {
                stoa_wheel_start(&core->wheel, stoa_msg_context(msg)->ask, stoa_msg_context(msg)->position);
                stoa_timer_own(t->actor->more, msg);
                continue;
            }
            if (msg->flags & STOA_MSG_ACT) {
                run_act(t, msg);
                continue;
            }
            let_go_ask(core, msg);
        }
        if (msg->flags & STOA_MSG_COUNTED) {
            put_counted(core, msg);
        } else if (t->actor->shard) {
            stoa_shard_wall(t->actor->shard, msg);
        } else {
            stoa_core_deliver(core, msg);
        }
    }
}

static void let_go_ahead(stoa_turning *t)
{
    stoa_place *from = &t->core->place;
    from->dirty |= t->rings;
    for (; t->rings; t->rings &= t->rings - 1) {
        const stoa_ring *ring = atomic_load_explicit(&from->out[__builtin_ctzll(t->rings)], memory_order_relaxed);
        t->core->cross += ring->ahead_count - ring->mark;
    }
}

void stoa_turning_let_go_rest(stoa_turning *t)
{
    if ((t->born || t->changed) && t->actor->shard) { stoa_shard_touch(t->actor); }
    if (t->born) { stoa_tree_born(t); }
    if (t->changed) { stoa_topics_let_go(t); } /* first: who left does not hear what this turn publishes */
    if (t->rings) { let_go_ahead(t); }         /* they were written before what is listed for the same place */
    if (t->staged) { let_go_listed(t); }
    stoa_turning_clean(t);
}
