/* credit.c - who is refused can wait for room, and can be told of a refusal that came too late to be returned.
 *
 * Waiting is an act that travels to the mailbox's core and stays there, in a bounded list of the actor, until the mailbox is half
 * empty. Then each of those who wait is told its share of the room. The list of a mailbox that ends, is told so; waiting actors of
 * the same core that are gone are taken out when the list is full, and others when they are told.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "runtime/internal.h"
#include "runtime/mailbox.h"
#include "runtime/move.h"
#include "runtime/shard.h"

typedef struct awaiting {
    stoa_act act;
    uint64_t token;
    stoa_ref mailbox; /* as the one who waits knows it */
} awaiting;

static const awaiting *awaiting_of(stoa_msg *msg)
{
    return stoa_msg_body(msg);
}

/* A message that the runtime sends: with a context, since what tells of a shard waits behind its wall. */
static stoa_msg *system_new(stoa_core *core, stoa_ref to, stoa_ref about, unsigned row, const void *payload)
{
    uint32_t bytes = stoa_system_rows[row].payload.size_bytes;
    stoa_msg *msg = stoa_slab_new_surely(&core->place.slab, bytes, STOA_MSG_CONTEXT | STOA_MSG_SYSTEM);
    if (!msg) { return NULL; }
    msg->to = to;
    msg->from = about;
    msg->row = &stoa_system_rows[row];
    memcpy(stoa_msg_body(msg), payload, bytes);
    return msg;
}

stoa_msg *stoa_refusal_new(stoa_core *core, const stoa_msg *msg, stoa_err why)
{
    stoa_msg copy = *msg;
    const stoa_context *context = (const stoa_context *)(const void *)(msg + 1);
    stoa_system_refused says = {.ref = context->told_of.at, .token = context->ask, .error = why, .row = copy.row->id};
    return system_new(core, copy.from, context->told_of, stoa_system_ROW_refused, &says);
}

/* --- waiting for room */

static uint32_t waits_in(const stoa_actor *actor)
{
    return actor->queued - actor->urgent;
}

static bool half_empty(const stoa_actor *actor)
{
    return waits_in(actor) <= actor->limit / 2;
}

/* False: no memory even for this. The one who waits is gone then, or still there. */
static bool tell(stoa_core *core, stoa_msg *msg, stoa_err err, uint32_t room)
{
    stoa_ref about = awaiting_of(msg)->mailbox;
    stoa_system_room says = {.ref = about.at, .token = awaiting_of(msg)->token, .error = err, .room = room};
    stoa_msg *told = system_new(core, msg->from, about, stoa_system_ROW_room, &says);
    if (!told) { return false; }
    stoa_place_free(&core->place, msg);
    stoa_core_deliver(core, told);
    return true;
}

static uint32_t share_of(const stoa_actor *actor, uint32_t count)
{
    uint32_t room = waits_in(actor) < actor->limit ? actor->limit - waits_in(actor) : 0;
    return room / count ? room / count : 1;
}

void stoa_room_tell(stoa_core *core, stoa_actor *actor, stoa_err err)
{
    stoa_actor_more *more = actor->more;
    if (!more || !more->awaiting || (!err && !half_empty(actor))) { return; }
    uint32_t room = err ? 0 : share_of(actor, more->awaiting_count);
    while (more->awaiting) {
        stoa_msg *msg = more->awaiting, *next = msg->next;
        if (!tell(core, msg, err, room)) {
            if (!err) { return; } /* told when the actor has run again */
            stoa_core_dead_letter(core, msg, STOA_E_NOMEM);
            stoa_place_free(&core->place, msg);
        }
        more->awaiting = next;
        more->awaiting_count--;
    }
    actor->flags &= (uint8_t)~STOA_ACTOR_AWAITED;
}

/* Take out those of this core that are gone. */
static void forget_gone(stoa_core *core, stoa_actor_more *more)
{
    for (stoa_msg **at = &more->awaiting; *at;) {
        stoa_msg *msg = *at;
        if (stoa_ref_place(msg->from) != core->place.index || stoa_stands_for(core, msg->from)) {
            at = &msg->next;
            continue;
        }
        *at = msg->next;
        more->awaiting_count--;
        stoa_place_free(&core->place, msg);
    }
}

static bool waits_already(const stoa_actor_more *more, stoa_msg *msg)
{
    for (stoa_msg *at = more->awaiting; at; at = at->next) {
        if (stoa_ref_equal(at->from, msg->from) && awaiting_of(at)->token == awaiting_of(msg)->token) { return true; }
    }
    return false;
}

static void tell_now(stoa_core *core, stoa_msg *msg, stoa_err err, uint32_t room)
{
    if (tell(core, msg, err, room)) { return; }
    stoa_core_dead_letter(core, msg, STOA_E_NOMEM);
    stoa_place_free(&core->place, msg);
}

static void await(stoa_core *core, stoa_msg *msg)
{
    if (stoa_away_act(core, msg)) { return; }
    stoa_actor *actor = stoa_core_actor(core, msg->to);
    stoa_actor_more *more = actor ? stoa_more(core, actor) : NULL;
    if (!actor) {
        tell_now(core, msg, STOA_E_CLOSED, 0);
        return;
    }
    if (half_empty(actor)) {
        tell_now(core, msg, STOA_OK, share_of(actor, 1));
        return;
    }
    if (more && more->awaiting_count == STOA_AWAITING_MAX) { forget_gone(core, more); }
    if (!more || more->awaiting_count == STOA_AWAITING_MAX) {
        tell_now(core, msg, STOA_E_FULL, 0);
    } else if (waits_already(more, msg)) {
        stoa_place_free(&core->place, msg);
    } else {
        msg->next = more->awaiting;
        more->awaiting = msg;
        more->awaiting_count++;
        actor->flags |= STOA_ACTOR_AWAITED;
    }
}

stoa_err stoa_turn_when_room(stoa_turn *turn, stoa_ref to, uint64_t token)
{
    stoa_turning *t = (stoa_turning *)turn;
    uint32_t place = stoa_ref_place(to);
    if (!stoa_kind_hears(t->actor->kind, &stoa_system_rows[stoa_system_ROW_room])) { return STOA_E_NO_HANDLER; }
    if (!to.at || place >= t->core->place.node->core_count) { return STOA_E_INVALID; }
    const stoa_actor *here = place == t->core->place.index ? stoa_core_actor(t->core, to) : NULL;
    if (here && here->shard && here->shard == t->actor->shard) { return STOA_E_INVALID; }
    stoa_msg *msg = stoa_act_new(t, sizeof(awaiting), await, NULL);
    if (!msg) { return STOA_E_FULL; }
    msg->to = to;
    ((awaiting *)stoa_msg_body(msg))->token = token;
    ((awaiting *)stoa_msg_body(msg))->mailbox = to;
    stoa_turning_stage(t, msg);
    return STOA_OK;
}
