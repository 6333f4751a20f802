/* deliver.c - where messages go: to an actor of this core, to another place, back to who asked, or to the dead letters.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "runtime/internal.h"
#include "runtime/mailbox.h"
#include "runtime/move.h"
#include "runtime/once.h"
#include "runtime/shard.h"

const char *stoa_drop_name(stoa_drop reason)
{
#define STOA_DROP_TEXT_(NAME, text, doc) text,
    static const char *const names[] = {STOA_DROPS(STOA_DROP_TEXT_)};
    return (size_t)reason < STOA_DROP_COUNT ? names[reason] : "?";
}

const char *stoa_drop_text(stoa_drop reason)
{
#define STOA_DROP_DOC_(NAME, text, doc) doc,
    static const char *const texts[] = {STOA_DROPS(STOA_DROP_DOC_)};
    return (size_t)reason < STOA_DROP_COUNT ? texts[reason] : "?";
}

stoa_drop stoa_drop_of(stoa_err why)
{
    static const struct {
        stoa_err why;
        stoa_drop reason;
    } reasons[] = {{STOA_E_FULL, STOA_DROP_FULL},     {STOA_E_CLOSED, STOA_DROP_CLOSED}, {STOA_E_FAILED, STOA_DROP_FAILED},
                   {STOA_E_TIMEOUT, STOA_DROP_LATE},  {STOA_E_NOMEM, STOA_DROP_MEMORY},  {STOA_E_STALE, STOA_DROP_STALE},
                   {STOA_E_NO_HANDLER, STOA_DROP_NO_HANDLER}};
    for (size_t i = 0; i < sizeof reasons / sizeof reasons[0]; i++) {
        if (reasons[i].why == why) { return reasons[i].reason; }
    }
    return STOA_DROP_REFUSED;
}

/* payload: for the simulator, NULL: it is not known. */
static void note_letter(stoa_core *core, const stoa_dead_letter *of, const void *payload)
{
    stoa_dead_letter *letter = &core->dead[core->dead_count++ % STOA_DEAD_LETTERS];
    *letter = *of;
    letter->wall_ns = core->wall_ns;
    core->dropped[letter->reason]++;
    bool here = stoa_ref_place(letter->to) == core->place.index;
    stoa_actor *actor = here ? stoa_stands_for(core, letter->to) : NULL;
    if (actor) { (void)memccpy(letter->name, stoa_actor_name(actor), 0, sizeof letter->name - 1); }
    stoa_core_note(core, STOA_FLIGHT_DEAD_LETTER, actor, letter->row, stoa_err_name(letter->why), letter->from.at, 0);
    if (actor && actor->more) { actor->more->dropped[letter->reason]++; }
    struct stoa_sim *sim = core->place.node->options.sim;
    if (sim) { stoa_sim_dead_letter(sim, core, letter, payload); }
}

static void letter_for(stoa_core *core, stoa_msg *msg, stoa_err why, stoa_drop reason)
{
    stoa_dead_letter letter = {.row = msg->row, .to = msg->to, .from = msg->from, .why = why, .reason = reason};
    if (msg->flags & (STOA_MSG_MARKED | STOA_MSG_LENT)) { (void)stoa_trace_without_turn(core, msg, msg->to, why); }
    note_letter(core, &letter, msg->row ? stoa_msg_payload(msg) : NULL);
}

void stoa_core_letter(stoa_core *core, stoa_ref to, stoa_ref from, const stoa_row *row, stoa_err why)
{
    note_letter(core, &(stoa_dead_letter){.row = row, .to = to, .from = from, .why = why, .reason = stoa_drop_of(why)}, NULL);
}

void stoa_core_dead_letter(stoa_core *core, stoa_msg *msg, stoa_err why)
{
    letter_for(core, msg, why, stoa_drop_of(why));
}

/* Nobody asked: who wanted to be told is. */
static stoa_msg *telling(stoa_core *core, stoa_msg *msg, stoa_err why, stoa_drop reason)
{
    stoa_msg *refusal = (msg->flags & STOA_MSG_TOLD) ? stoa_refusal_new(core, msg, why) : NULL;
    if (!refusal) { letter_for(core, msg, why, reason); }
    stoa_place_free(&core->place, msg);
    return refusal;
}

void stoa_core_drop(stoa_core *core, stoa_msg *msg, stoa_err why, stoa_drop reason)
{
    stoa_msg *refusal = telling(core, msg, why, reason);
    if (refusal) { stoa_core_deliver(core, refusal); }
}

stoa_msg *stoa_core_refusal(stoa_core *core, stoa_msg *msg, stoa_err why)
{
    stoa_context *context = (msg->flags & STOA_MSG_CONTEXT) ? stoa_msg_context(msg) : NULL;
    bool asked = context && !(msg->flags & (STOA_MSG_ANSWER | STOA_MSG_TOPIC | STOA_MSG_FIRED)) && context->reply_to.at;
    if (!asked) { return telling(core, msg, why, stoa_drop_of(why)); }
    uint64_t span = (msg->flags & STOA_MSG_MARKED) ? stoa_trace_without_turn(core, msg, msg->to, why) : 0;
    stoa_mark mark = span ? *stoa_msg_mark(msg) : (stoa_mark){0};
    mark.parent = span;
    mark.sent_ns = core->now_ns;
    stoa_msg *answer = span ? stoa_slab_new_marked(&core->place.slab, 0, STOA_MSG_CONTEXT | STOA_MSG_ANSWER, mark)
                            : stoa_slab_new_surely(&core->place.slab, 0, STOA_MSG_CONTEXT | STOA_MSG_ANSWER);
    if (!answer) { stoa_core_dead_letter(core, msg, why); }
    if (answer) {
        answer->to = context->reply_to;
        answer->from = msg->to;
        answer->row = NULL;
        *stoa_msg_context(answer) =
            (stoa_context){.ask = context->ask, .command = context->command, .error = (int32_t)why};
    }
    stoa_place_free(&core->place, msg);
    return answer;
}

void stoa_core_refuse(stoa_core *core, stoa_msg *msg, stoa_err why)
{
    stoa_msg *refusal = stoa_core_refusal(core, msg, why);
    if (refusal) { stoa_core_deliver(core, refusal); }
}

stoa_msg *stoa_core_resolve(stoa_core *core, stoa_msg *msg)
{
    stoa_ask *ask = stoa_asks_find(&core->asks, stoa_msg_context(msg)->ask);
    stoa_actor *asker = ask ? stoa_core_actor(core, msg->to) : NULL;
    if (!asker || !stoa_ref_equal(ask->asker, msg->to)) { /* too late, or the asker is about to go with all its asks */
        stoa_core_dead_letter(core, msg, STOA_E_TIMEOUT);
        stoa_place_free(&core->place, msg);
        return NULL;
    }
    if (msg->row && msg->row != ask->reply) {
        stoa_core_dead_letter(core, msg, STOA_E_MALFORMED);
        stoa_msg_refuse(msg, STOA_E_MALFORMED);
    }
    if (!msg->row) { /* an error comes without a payload: the handler sees zeros */
        const stoa_row *reply = ask->reply;
        uint32_t bytes = reply->payload.size_bytes, flags = STOA_MSG_CONTEXT | STOA_MSG_ANSWER;
        stoa_msg *full = (msg->flags & STOA_MSG_MARKED)
                             ? stoa_slab_new_marked(&core->place.slab, bytes, flags, *stoa_msg_mark(msg))
                             : stoa_slab_new_surely(&core->place.slab, bytes, flags);
        if (!full) { /* the ask lives on: its deadline tells the asker */
            stoa_core_dead_letter(core, msg, STOA_E_NOMEM);
            stoa_place_free(&core->place, msg);
            return NULL;
        }
        memset(stoa_msg_body(full), 0, reply->payload.size_bytes);
        full->to = msg->to;
        full->from = msg->from;
        full->row = reply;
        *stoa_msg_context(full) = *stoa_msg_context(msg);
        stoa_place_free(&core->place, msg);
        msg = full;
    }
    stoa_context *context = stoa_msg_context(msg);
    context->gather = ask->gather;
    context->ask = ask->token;
    stoa_ask_end(core, asker, ask);
    return msg;
}

/* Nobody is here: passed on to where the actor moved, kept until it has come, or refused. */
static void take_absent(stoa_core *core, stoa_msg *msg)
{
    stoa_actor *slot = stoa_away(core, msg->to);
    if (!slot) {
        stoa_core_refuse(core, msg, STOA_E_CLOSED);
    } else if (slot->more->away.at) {
        stoa_away_pass(core, slot, msg);
    } else if (stoa_mailbox_admits(core, slot, msg)) {
        stoa_core_push(core, slot, msg);
    }
}

static void take_special(stoa_core *core, stoa_msg *msg)
{
    if (msg->flags & STOA_MSG_ACT) {
        stoa_msg_act(msg)->run(core, msg);
        return;
    }
    if (msg->flags & STOA_MSG_TOPIC) {
        stoa_core_fan_out(core, msg);
        return;
    }
    if (stoa_once_is_ours(msg)) {
        stoa_once_take(core, msg);
        return;
    }
    if (msg->flags & STOA_MSG_ANSWER) {
        msg = stoa_core_resolve(core, msg);
        if (!msg) { return; }
    }
    stoa_actor *actor = stoa_core_actor(core, msg->to);
    if (!actor) {
        take_absent(core, msg);
    } else if (actor->shard) {
        stoa_shard_take(actor->shard, actor, msg);
    } else if (actor->flags & (STOA_ACTOR_DOWN | STOA_ACTOR_CLOSING)) {
        stoa_tree_late(core, actor, msg);
    } else if ((msg->flags & (STOA_MSG_ANSWER | STOA_MSG_FIRED)) || stoa_mailbox_admits(core, actor, msg)) {
        stoa_core_push(core, actor, msg);
    }
}

void stoa_core_take(stoa_core *core, stoa_msg *msg)
{
    uint32_t special = STOA_MSG_TOPIC | STOA_MSG_ANSWER | STOA_MSG_ACT | STOA_MSG_URGENT;
    stoa_actor *actor = (msg->flags & special) ? NULL : stoa_core_actor(core, msg->to);
    if (__builtin_expect(actor && stoa_mailbox_room(actor), 1)) {
        actor->queued++;
        stoa_mailbox_put_last(core, actor, msg);
        return;
    }
    take_special(core, msg);
}

void stoa_core_deliver(stoa_core *core, stoa_msg *msg)
{
    uint32_t place = stoa_ref_place(msg->to);
    if (place == core->place.index) {
        stoa_core_take(core, msg);
    } else if (place < stoa_node_places(core->place.node) && !stoa_place_left(core->place.node, msg->to)) {
        core->cross++;
        if ((msg->flags & STOA_MSG_MARKED) && place >= core->place.node->core_count) {
            (void)stoa_trace_without_turn(core, msg, msg->to, STOA_OK);
        }
        stoa_place_push(&core->place, place, msg);
    } else {
        stoa_core_dead_letter(core, msg, STOA_E_CLOSED);
        stoa_place_free(&core->place, msg);
    }
}
