/* turn_calls.c - what a handler may call besides sending: events, timers, names, its own reference and key.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "runtime/mailbox.h"
#include "runtime/shard.h"
#include "runtime/turning.h"

stoa_err stoa_turn_emit(stoa_turn *turn, const stoa_row *row, const void *payload)
{
    stoa_turning *t = stoa_turning_of(turn);
    const stoa_kind *kind = t->actor->kind;
    bool own = (uintptr_t)row - (uintptr_t)kind->rows < kind->rows_bytes;
    if (!t->actor->shard || !t->msg) { return STOA_E_UNSUPPORTED; }
    if (!own || row->cls != STOA_ROW_EVENT) { return STOA_E_INVALID; }
    return stoa_shard_stage(t->actor->shard, row, payload);
}

/* Timers keep their memory for long: an actor that has one arms more only while half of the core's memory is free. */
static bool may_arm(stoa_turning *t)
{
    const stoa_actor_more *more = stoa_more(t->core, t->actor);
    const stoa_slab *slab = &t->core->place.slab;
    return more && (!more->timers || slab->used_bytes < slab->limit_bytes / 2);
}

static stoa_err timer_new(stoa_turn *turn, uint64_t delay_ns, uint64_t period_ns, const stoa_row *row, const void *payload,
                          stoa_timer *timer_out)
{
    stoa_turning *t = stoa_turning_of(turn);
    stoa_core *core = t->core;
    uint64_t id;
    if (!may_arm(t)) { return STOA_E_FULL; }
    bool traced = (t->marks & STOA_MARKS_TRACE) && t->span.trace && !period_ns && t->timers < STOA_TRACE_TIMERS;
    uint32_t bytes = row->payload.size_bytes, flags = STOA_MSG_CONTEXT | STOA_MSG_TIMER | stoa_row_flags(row);
    stoa_msg *msg = traced ? stoa_turning_new_marked(t, bytes, flags) : stoa_slab_new(&core->place.slab, bytes, flags);
    if (!msg) { return stoa_slab_why_not(bytes); }
    stoa_err err = stoa_wheel_new(&core->wheel, STOA_TIMER_MESSAGE, msg, &id);
    if (err) {
        stoa_place_free(&core->place, msg);
        return err;
    }
    msg->to = msg->from = turn->self;
    msg->row = row;
    stoa_copy_payload(stoa_msg_body(msg), payload, row->payload.size_bytes);
    stoa_context *context = stoa_msg_context(msg);
    context->period_ns = period_ns;
    context->position = stoa_time_after(turn->now_ns, delay_ns);
    context->durability = t->actor->restarts;
    context->ask = id;
    stoa_turning_stage(t, msg);
    if (timer_out) { timer_out->at = id; }
    return STOA_OK;
}

stoa_err stoa_turn_after(stoa_turn *turn, uint64_t delay_ns, const stoa_row *row, const void *payload,
                         stoa_timer *timer_out)
{
    return timer_new(turn, delay_ns, 0, row, payload, timer_out);
}

stoa_err stoa_turn_every(stoa_turn *turn, uint64_t period_ns, const stoa_row *row, const void *payload,
                         stoa_timer *timer_out)
{
    return period_ns ? timer_new(turn, period_ns, period_ns, row, payload, timer_out) : STOA_E_INVALID;
}

/* A running timer's message comes out of the wheel and into the list, so that a refused turn can start it again; that of a
 * timer of this very turn is in the list already. */
void stoa_turn_cancel(stoa_turn *turn, stoa_timer timer)
{
    stoa_wheel *wheel = &stoa_turning_of(turn)->core->wheel;
    stoa_msg *msg = stoa_wheel_what(wheel, timer.at, STOA_TIMER_MESSAGE);
    if (!msg || !stoa_ref_equal(msg->to, turn->self) || (msg->flags & STOA_MSG_CANCEL)) { return; }
    bool ran;
    (void)stoa_wheel_stop(wheel, timer.at, &ran);
    msg->flags |= STOA_MSG_CANCEL;
    if (ran) {
        stoa_turning_stage(stoa_turning_of(turn), msg);
    } else {
        msg->flags &= (uint16_t)~STOA_MSG_TIMER;
    }
}

const char *stoa_turn_topic(const stoa_turn *turn)
{
    const stoa_turning *t = (const stoa_turning *)turn;
    return t->topic;
}

const char *stoa_turn_key(const stoa_turn *turn)
{
    const stoa_turning *t = (const stoa_turning *)turn;
    return t->actor->more && t->actor->more->key ? t->actor->more->key : "";
}

stoa_ref stoa_turn_find(stoa_turn *turn, const char *name)
{
    return stoa_names_find(&stoa_turning_of(turn)->core->place.node->names, name);
}

uint32_t stoa_turn_stream(const stoa_turn *turn)
{
    return ((const stoa_turning *)turn)->actor->stream;
}

stoa_ref stoa_turn_peer(const stoa_turn *turn, uint32_t stream)
{
    const stoa_turning *t = (const stoa_turning *)turn;
    const struct stoa_shard *shard = t->actor->shard;
    if (!shard || stream == 0 || stream > shard->actor_count) { return STOA_REF_NONE; }
    return shard->actors[stream]->self;
}

uint32_t stoa_turn_peer_find(stoa_turn *turn, const char *name)
{
    stoa_turning *t = stoa_turning_of(turn);
    stoa_ref ref = stoa_turn_find(turn, name);
    if (!ref.at || stoa_ref_place(ref) != t->core->place.index) { return 0; }
    stoa_actor *actor = stoa_core_actor(t->core, ref);
    return actor && actor->shard == t->actor->shard ? actor->stream : 0;
}

uint64_t stoa_turn_random(stoa_turn *turn)
{
    return stoa_random_next(&stoa_turning_of(turn)->core->random);
}

stoa_err stoa_turn_undo(stoa_turn *turn, stoa_err why)
{
    struct stoa_shard *shard = stoa_turning_of(turn)->actor->shard;
    if (why && shard) { stoa_shard_tear(shard, why); }
    return why;
}

stoa_err stoa_fail(stoa_turn *turn, const char *reason)
{
    stoa_turning *t = stoa_turning_of(turn);
    t->failed = reason;
    t->why = stoa_end_FAILED;
    t->after |= STOA_AFTER_FAILED;
    return STOA_E_FAILED;
}
