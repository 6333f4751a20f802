/* held.c - what an actor holds beside its state: its rarely used part, its arena, its timers and asks. All of it comes from the
 * core's slab and goes back as a whole when the actor ends or is restarted.
 *
 * Timers and asks hang in a list of their actor, so that giving them back costs what was held and no search. The lists go
 * through the timers' messages and the asks' entries: arming and cancelling touch one neighbour each.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "runtime/internal.h"

/* --- blocks */

void *stoa_block_new(stoa_core *core, size_t bytes)
{
    if (bytes > UINT32_MAX / 2) { return NULL; }
    stoa_msg *block = stoa_slab_new(&core->place.slab, (uint32_t)bytes, 0);
    return block ? memset(stoa_msg_body(block), 0, bytes) : NULL;
}

void stoa_block_free(stoa_core *core, void *at)
{
    if (at) { stoa_slab_free(&core->place.slab, (stoa_msg *)at - 1); }
}

stoa_actor_more *stoa_more(stoa_core *core, stoa_actor *actor)
{
    if (!actor->more) { actor->more = stoa_block_new(core, sizeof *actor->more); }
    return actor->more;
}

/* --- the arena */

struct stoa_held {
    struct stoa_held *next, *prev;
};

_Static_assert(STOA_ALLOC_MAX + sizeof(struct stoa_held) + sizeof(stoa_msg) <= STOA_BLOCK_MAX, "the largest piece has a block");

static uint64_t block_bytes(const struct stoa_held *held)
{
    const stoa_msg *msg = (const stoa_msg *)(const void *)held - 1;
    return (uint64_t)64 << msg->size_class;
}

static void *over_quota(stoa_turning *t)
{
    t->failed = "above its memory quota";
    t->why = stoa_end_NO_MEMORY;
    t->after |= STOA_AFTER_FAILED;
    return NULL;
}

void *stoa_turn_alloc(stoa_turn *turn, size_t bytes)
{
    stoa_turning *t = (stoa_turning *)turn;
    uint64_t quota = t->actor->kind->memory_quota_bytes;
    stoa_actor_more *more = t->actor->shard ? NULL : stoa_more(t->core, t->actor);
    if (!more) { return NULL; }
    if (quota && (more->arena_bytes > quota || bytes > quota - more->arena_bytes)) { return over_quota(t); }
    if (bytes > STOA_ALLOC_MAX) { return NULL; }
    if (!stoa_slab_ample_for(&t->core->place.slab, bytes)) { return NULL; } /* the rest is for messages */
    struct stoa_held *held = stoa_block_new(t->core, sizeof *held + bytes);
    if (!held) { return NULL; }
    more->arena_bytes += block_bytes(held);
    if (quota && more->arena_bytes > quota) { /* rounded up to a block */
        more->arena_bytes -= block_bytes(held);
        stoa_block_free(t->core, held);
        return over_quota(t);
    }
    held->next = more->arena;
    if (held->next) { held->next->prev = held; }
    more->arena = held;
    return held + 1;
}

void stoa_turn_free(stoa_turn *turn, void *at)
{
    stoa_turning *t = (stoa_turning *)turn;
    if (!at) { return; }
    struct stoa_held *held = (struct stoa_held *)at - 1;
    if (held->next) { held->next->prev = held->prev; }
    if (held->prev) {
        held->prev->next = held->next;
    } else {
        STOA_ASSERT(t->actor->more->arena == held); /* another actor's */
        t->actor->more->arena = held->next;
    }
    t->actor->more->arena_bytes -= block_bytes(held);
    stoa_block_free(t->core, held);
}

static void release_arena(stoa_core *core, stoa_actor_more *more)
{
    while (more->arena) {
        struct stoa_held *held = more->arena;
        more->arena = held->next;
        stoa_block_free(core, held);
    }
    more->arena_bytes = 0;
}

/* --- timers */

void stoa_timer_own(stoa_actor_more *more, stoa_msg *msg)
{
    stoa_context *context = stoa_msg_context(msg);
    context->newer = NULL;
    context->older = more->timers;
    if (context->older) { stoa_msg_context(context->older)->newer = msg; }
    more->timers = msg;
}

void stoa_timer_disown(stoa_actor_more *more, stoa_msg *msg)
{
    stoa_context *context = stoa_msg_context(msg);
    if (context->older) { stoa_msg_context(context->older)->newer = context->newer; }
    if (context->newer) {
        stoa_msg_context(context->newer)->older = context->older;
    } else {
        more->timers = context->older;
    }
    context->newer = context->older = NULL;
}

static void release_timers(stoa_core *core, stoa_actor_more *more)
{
    while (more->timers) {
        stoa_msg *msg = more->timers;
        more->timers = stoa_msg_context(msg)->older;
        (void)stoa_wheel_cancel(&core->wheel, stoa_msg_context(msg)->ask);
        stoa_place_free(&core->place, msg);
    }
}

/* --- asks */

void stoa_ask_own(stoa_core *core, stoa_actor_more *more, uint64_t id)
{
    stoa_ask *all = core->asks.at, *ask = &all[(uint32_t)id];
    ask->next = more->asks;
    ask->prev = 0;
    if (ask->next) { all[ask->next].prev = (uint32_t)id; }
    more->asks = (uint32_t)id;
}

void stoa_ask_end(stoa_core *core, stoa_actor *asker, stoa_ask *ask)
{
    stoa_ask *all = core->asks.at;
    if (ask->next) { all[ask->next].prev = ask->prev; }
    if (ask->prev) {
        all[ask->prev].next = ask->next;
    } else {
        asker->more->asks = ask->next;
    }
    (void)stoa_wheel_cancel(&core->wheel, ask->deadline_timer);
    stoa_asks_drop(&core->asks, ask);
}

static void release_asks(stoa_core *core, stoa_actor *actor)
{
    while (actor->more->asks) { stoa_ask_end(core, actor, &core->asks.at[actor->more->asks]); }
}

/* --- giving up */

typedef struct giving_up {
    stoa_act act;
    stoa_ref asker;
    uint64_t token;
} giving_up;

static void give_up(stoa_core *core, stoa_msg *msg)
{
    const giving_up *what = stoa_msg_body(msg);
    stoa_actor *actor = stoa_core_actor(core, what->asker);
    uint32_t at = actor && actor->more ? actor->more->asks : 0;
    while (at) {
        stoa_ask *ask = &core->asks.at[at];
        at = ask->next;
        if (ask->token == what->token) { stoa_ask_end(core, actor, ask); }
    }
    if (actor && actor->more) { stoa_gathers_cancel(core, actor, what->token); }
    stoa_place_free(&core->place, msg);
}

void stoa_turn_cancel_ask(stoa_turn *turn, uint64_t token)
{
    stoa_turning *t = (stoa_turning *)turn;
    stoa_msg *msg = stoa_act_new(t, sizeof(giving_up), give_up, NULL);
    if (!msg) { return; } /* no memory: the answers come after all, or their deadline does */
    giving_up *what = stoa_msg_body(msg);
    what->asker = turn->self;
    what->token = token;
    stoa_turning_stage(t, msg);
}

void stoa_held_release(stoa_core *core, stoa_actor *actor)
{
    stoa_actor_more *more = actor->more;
    if (!more) { return; }
    release_timers(core, more);
    release_asks(core, actor);
    stoa_gathers_release(core, actor);
    release_arena(core, more);
    stoa_watches_release(core, actor);
    if (more->subscribed) {
        stoa_topics_unsubscribe(core->place.node, NULL, actor->self);
        more->subscribed = false;
    }
}
