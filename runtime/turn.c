/* turn.c - one handler run: stage, then take effect as a whole or not at all.
 *
 * While the handler runs, everything it asks for is put aside: messages in a list, events in the shard's arena. When it
 * returns OK, events are applied first (they give the position that outward messages are stamped with), then messages go.
 * When it returns an error, all of it is taken back and the error is the answer.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "base/log.h"
#include "runtime/internal.h"
#include "runtime/mailbox.h"
#include "runtime/move.h"
#include "runtime/shard.h"

static stoa_turning *turning_of(stoa_turn *turn)
{
    return (stoa_turning *)turn;
}

/* --- staging */

void stoa_turning_stage(stoa_turning *t, stoa_msg *msg)
{
    msg->next = NULL;
    *t->staged_end = msg;
    t->staged_end = &msg->next;
    t->sent_max = 0;
    t->after |= STOA_AFTER_REST;
    if (msg->flags & STOA_MSG_ACT) { t->listed = UINT64_MAX; } /* a monitor, a link, a stop: nothing sent later may overtake it */
}

/* Whether an actor of this core takes one more message. *kept_out: it is a plain one, and the place in its mailbox is kept.
 * Errors as stoa_turn_send. */
static inline stoa_err room_here(stoa_turning *t, stoa_ref to, uint32_t flags, const stoa_row *row, const void *payload,
                                 stoa_actor **kept_out)
{
    stoa_actor *target = stoa_core_actor(t->core, to);
    if (__builtin_expect(!target, 0)) { return stoa_away_room(t->core, to, flags, row, payload); }
    if (__builtin_expect(stoa_mailbox_room(target) && !t->actor->shard && !(flags & STOA_MSG_URGENT), 1)) {
        target->queued++;
        *kept_out = target;
        return STOA_OK;
    }
    if (target->shard && target->shard == t->actor->shard) { /* within the cascade; resumes, before any, are as many as actors */
        return t->msg ? stoa_shard_cascade_room(target->shard) : STOA_OK;
    }
    return stoa_mailbox_ask_room(target, !t->actor->shard, flags, row, payload, kept_out);
}

/* A block for what this turn sends. */
static inline stoa_msg *block_new(stoa_turning *t, uint32_t payload_bytes, uint32_t flags)
{
    if (__builtin_expect(t->marks & STOA_MARKS_TRACE, 0)) { return stoa_turning_new_marked(t, payload_bytes, flags); }
    return stoa_slab_new(&t->core->place.slab, payload_bytes, flags);
}

static stoa_err room_there(const stoa_core *core, stoa_ref to, uint32_t place)
{
    if (!to.at || place >= stoa_node_places(core->place.node)) { return STOA_E_CLOSED; }
    return stoa_place_room(&core->place, place) ? STOA_OK : STOA_E_FULL;
}

static __attribute__((always_inline)) inline stoa_err message_new(stoa_turning *t, stoa_ref to, const stoa_row *row,
                                                                   const void *payload, uint32_t flags, stoa_msg **out)
{
    stoa_core *core = t->core;
    stoa_actor *kept = NULL;
    uint32_t place = stoa_ref_place(to);
    bool here = place == core->place.index;
    flags |= stoa_row_flags(row);
    stoa_err err = here ? room_here(t, to, flags, row, payload, &kept) : room_there(core, to, place);
    if (__builtin_expect(err, 0)) { return err; }
    if (t->marks & STOA_MARKS_CONTEXT) { flags |= STOA_MSG_CONTEXT; }
    stoa_msg *msg = block_new(t, row->payload.size_bytes, flags);
    if (__builtin_expect(!msg, 0)) {
        if (kept) { stoa_mailbox_unkeep(kept, flags); }
        return stoa_slab_why_not(row->payload.size_bytes);
    }
    if (!here) { t->listed |= UINT64_C(1) << place; }
    msg->to = to;
    if (kept) { stoa_msg_count(msg, kept); }
    msg->from = t->turn.self;
    msg->row = row;
    if (flags & STOA_MSG_CONTEXT) { stoa_msg_context(msg)->command = t->turn.command; }
    stoa_copy_payload(stoa_msg_body(msg), payload, row->payload.size_bytes);
    *out = msg;
    return STOA_OK;
}

/* A small message to another place goes straight to what gathers for it: let_go makes it count, take_back lets the ring
 * forget it. Not behind a message of this turn that waits in the list: order is kept. */
static bool write_ahead(stoa_turning *t, uint32_t place, stoa_ref to, const stoa_row *row, const void *payload)
{
    stoa_place *from = &t->core->place;
    uint32_t bytes = row->payload.size_bytes;
    if (place >= STOA_PLACES_MAX || bytes > STOA_INLINE_BYTES || t->marks || stoa_row_flags(row)) { return false; }
    uint64_t bit = UINT64_C(1) << place;
    if ((t->listed | from->gone) & bit) { return false; }
    stoa_ring *ring = atomic_load_explicit(&from->out[place], memory_order_relaxed);
    if (!ring || from->spill[place].head) { return false; }
    if (!(t->rings & bit)) {
        t->rings |= bit;
        t->after |= STOA_AFTER_REST;
        ring->mark = ring->ahead_count;
    }
    stoa_slot *slot = stoa_ring_ahead(ring, ring->mark);
    if (!slot) { return false; }
    slot->to = to;
    slot->from = t->turn.self;
    slot->row = row;
    slot->size_bytes = (uint16_t)bytes;
    slot->cls = STOA_SLOT_INLINE;
    stoa_copy_payload(slot->as.bytes, payload, bytes);
    ring->ahead_count++;
    return true;
}

/* Into the mailbox of an actor of this core, which nobody looks at before the turn has ended; take_back takes it out again. */
static inline void put_ahead(stoa_turning *t, stoa_actor *target, stoa_msg *msg, stoa_ref to, const stoa_row *row)
{
    msg->to = to;
    msg->from = t->turn.self;
    msg->row = row;
    target->queued++;
    t->ahead[t->sent].to = target;
    t->ahead[t->sent++].behind = target->head ? target->tail : NULL;
    stoa_mailbox_put_last(t->core, target, msg);
}

/* Whether a message goes straight to target: its place has room, and nothing of this turn waits in the list (order is kept). */
static inline bool may_put_ahead(const stoa_turning *t, const stoa_actor *target, stoa_ref to, const stoa_row *row)
{
    return stoa_ref_equal(target->self, to) && stoa_mailbox_room(target) && t->sent < t->sent_max && row->cls != STOA_ROW_CONTROL;
}

static __attribute__((noinline)) stoa_err send_otherwise(stoa_turning *t, stoa_ref to, const stoa_row *row,
                                                         const void *payload)
{
    uint32_t place = stoa_ref_place(to);
    stoa_actor *target = stoa_actor_slot(t->core, stoa_ref_index(to));
    stoa_msg *msg;
    if (may_put_ahead(t, target, to, row)) {
        msg = stoa_slab_new(&t->core->place.slab, row->payload.size_bytes, 0);
        if (!msg) { return stoa_slab_why_not(row->payload.size_bytes); }
        stoa_copy_payload(stoa_msg_body(msg), payload, row->payload.size_bytes);
        put_ahead(t, target, msg, to, row);
        return STOA_OK;
    }
    if (place != t->core->place.index && write_ahead(t, place, to, row, payload)) { return STOA_OK; }
    stoa_err err = message_new(t, to, row, payload, 0, &msg);
    if (err) {
        t->charge++; /* trying costs as much */
        return err;
    }
    stoa_turning_stage(t, msg);
    return STOA_OK;
}

/* Of one, two or three words. */
static inline bool is_plain_size(uint32_t bytes)
{
    return bytes <= STOA_PLAIN_BYTES && bytes % 8 == 0;
}

static inline void copy_words(uint64_t *to, const void *from, uint32_t bytes)
{
    memcpy(to, from, 8);
    if (bytes > 8) { memcpy(to + 1, (const char *)from + 8, 8); }
    if (bytes > 16) { memcpy(to + 2, (const char *)from + 16, 8); }
}

/* The way of most messages, small and plain, to an actor of this core with room. */
stoa_err stoa_turn_send(stoa_turn *turn, stoa_ref to, const stoa_row *row, const void *payload)
{
    stoa_turning *t = turning_of(turn);
    stoa_core *core = t->core;
    stoa_actor *target = stoa_actor_slot(core, stoa_ref_index(to));
    stoa_msg *msg = core->place.slab.free[0];
    uint32_t bytes = row->payload.size_bytes;
    if (!may_put_ahead(t, target, to, row) || !msg || !is_plain_size(bytes)) { return send_otherwise(t, to, row, payload); }
    stoa_slab_take_plain(&core->place.slab, msg, bytes);
    copy_words((uint64_t *)(void *)(msg + 1), payload, bytes);
    put_ahead(t, target, msg, to, row);
    return STOA_OK;
}

stoa_err stoa_turn_send_within(stoa_turn *turn, stoa_ref to, const stoa_row *row, const void *payload, uint64_t within_ns)
{
    stoa_turning *t = turning_of(turn);
    stoa_msg *msg;
    stoa_err err = message_new(t, to, row, payload, STOA_MSG_CONTEXT | STOA_MSG_DUE, &msg);
    if (err) { return err; }
    stoa_msg_context(msg)->due_ns = stoa_time_after(turn->now_ns, within_ns);
    stoa_turning_stage(t, msg);
    return STOA_OK;
}

stoa_err stoa_turn_send_told(stoa_turn *turn, stoa_ref to, const stoa_row *row, const void *payload, uint64_t token)
{
    stoa_turning *t = turning_of(turn);
    stoa_msg *msg;
    if (!stoa_kind_hears(t->actor->kind, &stoa_system_rows[stoa_system_ROW_refused])) { return STOA_E_NO_HANDLER; }
    stoa_err err = message_new(t, to, row, payload, STOA_MSG_CONTEXT | STOA_MSG_TOLD, &msg);
    if (err) { return err; }
    stoa_msg_context(msg)->ask = token;
    stoa_msg_context(msg)->told_of = to;
    stoa_turning_stage(t, msg);
    return STOA_OK;
}

stoa_err stoa_turn_ask(stoa_turn *turn, stoa_ref to, const stoa_row *row, const void *payload, uint64_t deadline_ns,
                       uint64_t token)
{
    stoa_turning *t = turning_of(turn);
    stoa_core *core = t->core;
    stoa_msg *msg;
    uint64_t id, timer;
    if (__builtin_expect(!row->reply, 0)) { return STOA_E_INVALID; }
    stoa_actor_more *more = stoa_more(core, t->actor);
    stoa_err err = more ? message_new(t, to, row, payload, STOA_MSG_CONTEXT | STOA_MSG_ASKS | STOA_MSG_DUE, &msg)
                        : STOA_E_FULL;
    if (err) { return err; }
    uint64_t due_ns = stoa_time_after(turn->now_ns, deadline_ns);
    stoa_ask *ask = stoa_asks_new(&core->asks, turn->self, token, due_ns, row->reply, &id);
    err = ask ? stoa_wheel_new(&core->wheel, STOA_TIMER_ASK, (void *)(uintptr_t)id, &timer) : STOA_E_FULL;
    if (err) {
        if (ask) { stoa_asks_drop(&core->asks, ask); }
        if (msg->flags & STOA_MSG_COUNTED) { stoa_mailbox_unkeep(stoa_msg_target(msg), msg->flags); }
        stoa_place_free(&core->place, msg);
        return err;
    }
    ask->deadline_timer = timer;
    stoa_ask_own(core, more, id);
    stoa_msg_context(msg)->reply_to = turn->self;
    stoa_msg_context(msg)->ask = id;
    stoa_msg_context(msg)->due_ns = due_ns;
    stoa_turning_stage(t, msg);
    return STOA_OK;
}

stoa_err stoa_turn_forward(stoa_turn *turn, stoa_ref to, const stoa_row *row, const void *payload)
{
    stoa_turning *t = turning_of(turn);
    stoa_msg *msg;
    uint32_t due = t->msg ? t->msg->flags & STOA_MSG_DUE : 0;
    stoa_err err = message_new(t, to, row, payload, STOA_MSG_CONTEXT | due, &msg);
    if (err) { return err; }
    if (due) { stoa_msg_context(msg)->due_ns = stoa_msg_context(t->msg)->due_ns; }
    stoa_msg_context(msg)->reply_to = t->reply_to;
    stoa_msg_context(msg)->ask = t->ask;
    t->handed_over = true;
    stoa_turning_stage(t, msg);
    return STOA_OK;
}

static stoa_err answer(stoa_turning *t, const stoa_row *row, const void *payload, stoa_err error)
{
    t->answered = true;
    if (!t->reply_to.at || (t->msg && (t->msg->flags & STOA_MSG_ANSWER))) { return STOA_OK; }
    uint32_t bytes = row ? row->payload.size_bytes : 0;
    bool marks = t->marks & STOA_MARKS_TRACE;
    uint32_t flags = STOA_MSG_CONTEXT | STOA_MSG_ANSWER;
    stoa_msg *msg = __builtin_expect(marks, 0) ? stoa_turning_new_marked(t, bytes, flags)
                                               : stoa_slab_new_surely(&t->core->place.slab, bytes, flags);
    if (!msg) { return stoa_slab_why_not(bytes); }
    msg->to = t->reply_to;
    msg->from = t->turn.self;
    msg->row = row;
    stoa_context *context = stoa_msg_context(msg);
    context->ask = t->ask;
    context->command = t->turn.command;
    context->error = (int32_t)error;
    if (row) { stoa_copy_payload(stoa_msg_body(msg), payload, bytes); }
    stoa_turning_stage(t, msg);
    return STOA_OK;
}

stoa_err stoa_turn_answer(stoa_turn *turn, const stoa_row *row, const void *payload)
{
    return answer(turning_of(turn), row, payload, STOA_OK);
}

stoa_err stoa_turn_refuse(stoa_turn *turn, stoa_err why)
{
    return answer(turning_of(turn), NULL, NULL, why);
}

void stoa_turn_no_answer(stoa_turn *turn)
{
    turning_of(turn)->handed_over = true;
}

stoa_err stoa_turn_emit(stoa_turn *turn, const stoa_row *row, const void *payload)
{
    stoa_turning *t = turning_of(turn);
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
    stoa_turning *t = turning_of(turn);
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
    stoa_wheel *wheel = &turning_of(turn)->core->wheel;
    stoa_msg *msg = stoa_wheel_what(wheel, timer.at, STOA_TIMER_MESSAGE);
    if (!msg || !stoa_ref_equal(msg->to, turn->self) || (msg->flags & STOA_MSG_CANCEL)) { return; }
    bool ran;
    (void)stoa_wheel_stop(wheel, timer.at, &ran);
    msg->flags |= STOA_MSG_CANCEL;
    if (ran) {
        stoa_turning_stage(turning_of(turn), msg);
    } else {
        msg->flags &= (uint16_t)~STOA_MSG_TIMER;
    }
}

/* --- topics and names */

stoa_err stoa_turn_publish(stoa_turn *turn, unsigned slot, const stoa_row *row, const void *payload)
{
    stoa_turning *t = turning_of(turn);
    stoa_topic *topic = slot < STOA_TOPIC_SLOTS && t->actor->more ? t->actor->more->topics[slot] : NULL;
    if (!topic) { return STOA_E_INVALID; }
    atomic_fetch_add_explicit(&topic->published, 1, memory_order_relaxed);
    uint64_t places = stoa_topic_places(topic);
    if (!places) { return STOA_OK; }
    stoa_msg *msg = block_new(t, row->payload.size_bytes, STOA_MSG_CONTEXT | STOA_MSG_TOPIC);
    if (!msg) { return stoa_slab_why_not(row->payload.size_bytes); }
    msg->to = stoa_ref_make(0, t->core->place.index, 0);
    msg->from = turn->self;
    msg->row = row;
    stoa_msg_context(msg)->topic = topic;
    stoa_topic_takes_off(topic);
    memcpy(stoa_msg_body(msg), payload, row->payload.size_bytes);
    t->listed |= places; /* what this turn sends there comes behind it */
    stoa_turning_stage(t, msg);
    return STOA_OK;
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
    return stoa_names_find(&turning_of(turn)->core->place.node->names, name);
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
    stoa_turning *t = turning_of(turn);
    stoa_ref ref = stoa_turn_find(turn, name);
    if (!ref.at || stoa_ref_place(ref) != t->core->place.index) { return 0; }
    stoa_actor *actor = stoa_core_actor(t->core, ref);
    return actor && actor->shard == t->actor->shard ? actor->stream : 0;
}

uint64_t stoa_turn_random(stoa_turn *turn)
{
    return stoa_random_next(&turning_of(turn)->core->random);
}

stoa_err stoa_fail(stoa_turn *turn, const char *reason)
{
    stoa_turning *t = turning_of(turn);
    t->failed = reason;
    t->why = stoa_end_FAILED;
    t->after |= STOA_AFTER_FAILED;
    return STOA_E_FAILED;
}

/* --- taking effect */

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

/* Nothing is staged any more. */
static inline void clean(stoa_turning *t)
{
    t->staged_end = &t->staged;
    t->listed = 0;
    t->bound = 0;
    t->sent_max = t->marks ? 0 : STOA_SENT_MAX;
    t->after &= (uint8_t)~STOA_AFTER_REST;
}

static void take_back(stoa_turning *t)
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
    clean(t);
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

static void let_go_rest(stoa_turning *t)
{
    if (t->born) { stoa_tree_born(t); }
    if (t->changed) { stoa_topics_let_go(t); } /* first: who left does not hear what this turn publishes */
    if (t->rings) { let_go_ahead(t); }         /* they were written before what is listed for the same place */
    if (t->staged) { let_go_listed(t); }
    clean(t);
}

static inline void let_go(stoa_turning *t)
{
    t->charge += t->sent;
    t->sent = 0;
    if (__builtin_expect(t->after & STOA_AFTER_REST, 0)) { let_go_rest(t); }
}

static stoa_handler hearer_of(const stoa_kind *kind, const stoa_row *row)
{
    for (const stoa_hear *hear = kind->hears; hear->row; hear++) {
        if (hear->row == row) { return hear->handler; }
    }
    return NULL;
}

/* The handler of a row of the kind's own table; NULL: it is of another, or has none. */
static inline stoa_handler own_handler(const stoa_kind *kind, const stoa_row *row)
{
    size_t at = (size_t)((uintptr_t)row - (uintptr_t)kind->rows);
    return at < kind->rows_bytes ? kind->handlers[row->id] : NULL;
}

static inline stoa_handler handler_of(const stoa_kind *kind, const stoa_row *row)
{
    stoa_handler handler = own_handler(kind, row);
    return __builtin_expect(handler != NULL, 1) ? handler : hearer_of(kind, row);
}

static inline void mark(stoa_turning *t, bool context)
{
    t->marks = context ? STOA_MARKS_CONTEXT : 0;
    t->sent_max = context ? 0 : STOA_SENT_MAX;
}

static inline void clear_context(stoa_turning *t)
{
    t->turn.token = 0;
    t->turn.error = STOA_OK;
    t->turn.command = 0;
    t->reply_to = STOA_REF_NONE;
    t->ask = 0;
    t->topic = "";
    t->plain = true;
    mark(t, t->actor->shard != NULL);
}

/* Everything of a turn that is no message's. */
static void begin(stoa_turning *t, stoa_core *core, stoa_actor *actor)
{
    t->turn.now_ns = core->now_ns;
    t->turn.wall_ns = core->wall_ns;
    t->turn.self = actor->self;
    t->turn.from = STOA_REF_NONE;
    t->core = core;
    t->actor = actor;
    t->msg = NULL;
    t->staged = NULL;
    t->staged_end = &t->staged;
    t->rings = t->listed = 0;
    t->sent = 0;
    t->charge = 0;
    t->changed = NULL;
    t->failed = NULL;
    t->born = 0;
    t->after = 0;
    t->handed_over = t->answered = false;
    clear_context(t);
    clean(t);
}

/* The core's own turning is left clean by each turn: only whose it is changes. */
static inline stoa_turning *turning_for(stoa_core *core, stoa_actor *actor)
{
    stoa_turning *t = &core->turning;
    t->turn.self = actor->self;
    t->actor = actor;
    return t;
}

void stoa_turning_init(stoa_core *core)
{
    core->turning = (stoa_turning){.core = core, .topic = "", .plain = true, .staged_end = &core->turning.staged};
}

static void read_context(stoa_turning *t, stoa_msg *msg)
{
    const stoa_context *context = stoa_msg_context(msg);
    t->reply_to = context->reply_to;
    t->ask = context->ask;
    t->turn.command = context->command;
    if (context->command) { mark(t, true); }
    if (msg->flags & STOA_MSG_ANSWER) {
        t->turn.token = context->ask;
        t->turn.error = (stoa_err)context->error;
        t->gather = context->gather;
        if (t->gather) { t->after = STOA_AFTER_GATHER; }
    }
}

/* More than a payload comes with the message. */
enum { WITH_CONTEXT = STOA_MSG_CONTEXT | STOA_MSG_LENT | STOA_MSG_MARKED | STOA_MSG_ROOT };

static void take_context(stoa_turning *t, stoa_msg *msg)
{
    clear_context(t);
    t->plain = false;
    if (msg->flags & STOA_MSG_LENT) { t->topic = stoa_msg_context(stoa_msg_lent(msg)->held)->topic->name; }
    if (msg->flags & STOA_MSG_CONTEXT) { read_context(t, msg); }
    if (msg->flags & (STOA_MSG_LENT | STOA_MSG_MARKED | STOA_MSG_ROOT)) { stoa_trace_begin(t, msg); }
}

/* The error is the answer; where nobody asked it is a dead letter. */
static void refuse(stoa_turning *t, stoa_err why)
{
    take_back(t);
    t->span.outcome = why;
    t->actor->refused++;
    t->actor->last_refusal = (int16_t)why;
    stoa_msg *told = (t->msg->flags & STOA_MSG_TOLD) ? stoa_refusal_new(t->core, t->msg, why) : NULL;
    if (told) {
        stoa_turning_stage(t, told);
        let_go(t);
    } else if (t->reply_to.at) {
        (void)answer(t, NULL, NULL, why);
        let_go(t);
    } else {
        stoa_core_dead_letter(t->core, t->msg, why);
    }
}

/* The turn was this incarnation's last one. */
static void end(stoa_turning *t, uint8_t after)
{
    bool failed = after & STOA_AFTER_FAILED;
    stoa_fate fate = {.text = failed ? t->failed : t->exits ? t->exits : "normal",
                      .why = failed ? t->why : t->exits ? stoa_end_FAILED : stoa_end_NORMAL};
    stoa_tree_over(t->core, t->actor, fate);
}

static __attribute__((noinline)) void finish(stoa_turning *t)
{
    uint8_t after = t->after;
    t->after = 0;
    if (after & STOA_AFTER_SPAN) { stoa_trace_end(t); }
    if (after & STOA_AFTER_GATHER) { stoa_gather_count(t->core, t->gather, t->turn.error); }
    if (after & (STOA_AFTER_FAILED | STOA_AFTER_EXIT)) { end(t, after); }
    t->failed = NULL;
}

/* What waited past its deadline is not handled. Who asked knows by now. */
static inline bool is_stale(const stoa_core *core, stoa_msg *msg)
{
    return (msg->flags & STOA_MSG_DUE) && core->now_ns > stoa_msg_context(msg)->due_ns;
}

static __attribute__((noinline)) void let_lie(stoa_core *core, stoa_msg *msg)
{
    stoa_core_drop(core, msg, stoa_msg_context(msg)->reply_to.at ? STOA_E_TIMEOUT : STOA_E_STALE, STOA_DROP_STALE);
}

/* The handler has returned: what it asked for takes effect or not, and the message is done with. */
static inline void settle(stoa_core *core, stoa_turning *t, stoa_actor *actor, stoa_msg *msg, struct stoa_sim *sim, stoa_err err)
{
    const stoa_row *row = msg->row, *reply = row->reply;
    actor->messages++;
    if (__builtin_expect(t->after & STOA_AFTER_FAILED, 0)) { err = STOA_E_FAILED; }
    if (!err && reply && !t->handed_over && !t->answered) { err = answer(t, reply, core->reply, STOA_OK); }
    if (__builtin_expect(err, 0)) {
        t->after &= (uint8_t)~STOA_AFTER_EXIT;
        refuse(t, err);
    } else {
        if (actor->shard) { stoa_shard_apply_staged(actor->shard, t); }
        let_go(t);
    }
    if (sim) { stoa_sim_turned(sim, t, row, stoa_msg_payload(msg), msg->flags & STOA_MSG_ANSWER, err); }
    stoa_place_free(&core->place, msg);
    if (__builtin_expect(t->after != 0, 0)) { finish(t); }
}

/* sim: NULL in every build's fast path, which then has nothing of it. */
static __attribute__((always_inline)) inline void handle(stoa_core *core, stoa_turning *t, stoa_actor *actor, stoa_msg *msg,
                                                          struct stoa_sim *sim)
{
    const stoa_row *row = msg->row;
    t->msg = msg;
    t->turn.from = msg->from;
    if (__builtin_expect(msg->flags & WITH_CONTEXT, 0)) {
        if (is_stale(core, msg)) {
            let_lie(core, msg);
            return;
        }
        take_context(t, msg);
    } else if (!t->plain) {
        clear_context(t);
    }
    const stoa_row *reply = row->reply;
    stoa_handler handler = handler_of(actor->kind, row);
    if (reply && handler) { /* then the kind was looked at, and its replies have room */
        t->handed_over = t->answered = false;
        stoa_clear_payload(core->reply, reply->payload.size_bytes);
    }
    stoa_err err = STOA_E_NO_HANDLER;
    if (sim && stoa_sim_loses_turn(sim, t)) {
        err = stoa_fail(&t->turn, "injected: turn-lost");
    } else if (handler) {
        err = handler(&t->turn, actor->state, stoa_msg_payload(msg), core->reply);
    }
    settle(core, t, actor, msg, sim, err);
}

static __attribute__((noinline)) void handle_any(stoa_core *core, stoa_turning *t, stoa_actor *actor, stoa_msg *msg)
{
    handle(core, t, actor, msg, NULL);
}

static __attribute__((noinline)) void settle_any(stoa_core *core, stoa_turning *t, stoa_actor *actor, stoa_msg *msg, stoa_err err)
{
    settle(core, t, actor, msg, NULL, err);
}

/* The same for most messages: small, of this core, a cast of the kind's own. False: the actor may have ended. */
static inline bool handle_plain(stoa_core *core, stoa_turning *t, stoa_actor *actor, stoa_msg *msg)
{
    const stoa_row *row = msg->row;
    stoa_handler handler = own_handler(actor->kind, row);
    if (__builtin_expect(msg->what != core->place.slab.plain || row->reply || !handler || !t->plain, 0)) {
        handle_any(core, t, actor, msg);
        return false;
    }
    t->msg = msg;
    t->turn.from = msg->from;
    stoa_err err = handler(&t->turn, actor->state, msg + 1, core->reply);
    if (__builtin_expect((unsigned)err | t->after, 0)) {
        settle_any(core, t, actor, msg, err);
        return false;
    }
    actor->messages++;
    t->charge += t->sent;
    t->sent = 0;
    stoa_slab_free_plain(&core->place.slab, msg);
    return true;
}

static __attribute__((noinline)) void handle_simulated(stoa_core *core, stoa_turning *t, stoa_actor *actor, stoa_msg *msg)
{
    struct stoa_sim *sim = core->place.node->options.sim;
    stoa_ref self = actor->self;
    core->time_left = 1;
    core->tracing.stride = 1;
    if (stoa_trace_chooses(core, actor, msg)) { msg->flags |= STOA_MSG_ROOT; }
    handle(core, t, actor, msg, sim);
    bool lives = stoa_ref_equal(actor->self, self) && (actor->flags & (STOA_ACTOR_ALIVE | STOA_ACTOR_DOWN)) == STOA_ACTOR_ALIVE;
    if (lives && stoa_sim_last_turn(sim, core, actor)) { stoa_actor_fail(core, actor, "injected: turn-last"); }
}

enum { TURN_EVERY_NS = 1000000000 / 64 }; /* between two that the flight recorder gets */

/* One turn in so many is timed; at uneven distances, since a fixed stride would fall in step with the rhythm of messages. */
static __attribute__((noinline)) void handle_timed(stoa_core *core, stoa_turning *t, stoa_actor *actor, stoa_msg *msg)
{
    if (core->place.node->options.sim) {
        handle_simulated(core, t, actor, msg);
        return;
    }
    stoa_clock *clock = core->place.node->clock;
    const stoa_kind *kind = actor->kind;
    const stoa_row *row = msg->row;
    stoa_ref self = actor->self;
    bool chosen = stoa_trace_chooses(core, actor, msg);
    uint64_t every = core->time_every;
    stoa_core_time_in(core, stoa_trace_stride(core, every ? 1 + (uint32_t)stoa_random_below(&core->random, 2 * every - 1) : 0));
    if (chosen) {
        msg->flags |= STOA_MSG_ROOT;
        handle(core, t, actor, msg, NULL);
        return;
    }
    uint64_t began_ns = clock->now_ns(clock);
    handle(core, t, actor, msg, NULL);
    uint64_t took_ns = clock->now_ns(clock) - began_ns;
    if (stoa_core_actor(core, self)) {
        actor->handler_ns = took_ns < UINT32_MAX ? (uint32_t)took_ns : UINT32_MAX;
        if (core->now_ns >= core->turn_due_ns) {
            core->turn_due_ns = core->now_ns + TURN_EVERY_NS;
            stoa_core_note(core, STOA_FLIGHT_TURN, actor, row, NULL, took_ns, actor->queued);
        }
    }
    stoa_core_timed(core, kind, took_ns);
}

void stoa_turn_run(stoa_core *core, stoa_actor *actor, stoa_msg *msg)
{
    stoa_turning *t = turning_for(core, actor);
    mark(t, actor->shard != NULL);
    core->messages++;
    if (__builtin_expect(--core->time_left == 0, 0)) {
        handle_timed(core, t, actor, msg);
    } else {
        handle(core, t, actor, msg, NULL);
    }
    mark(t, false);
}

/* Who waits for its mailbox to get emptier. */
static __attribute__((noinline)) void look_after(stoa_core *core, stoa_actor *actor)
{
    if (actor->flags & STOA_ACTOR_AWAITED) { stoa_room_tell(core, actor, STOA_OK); }
    if ((actor->flags & STOA_ACTOR_CLOSING) && !stoa_mailbox_waits(actor)) { stoa_tree_drained(core, actor); }
}

/* Handle what waits in a plain actor's mailbox, up to a count, fewer where its turns send many: who floods others waits for its
 * next go. What is left is enqueued. The actor may be gone afterwards. */
static __attribute__((always_inline)) inline void run_turns(stoa_core *core, stoa_actor *actor, bool conflates)
{
    /* the snapshot rule: never what this run enqueues; deep mailboxes drain faster */
    uint32_t n = actor->queued < STOA_BUDGET ? actor->queued : STOA_BUDGET + (actor->queued >> 3);
    uint32_t count = stoa_core_quantum(core, n), done = 0;
    stoa_ref self = actor->self;
    stoa_turning *t = turning_for(core, actor);
    t->charge = 0;
    while (done + t->charge / STOA_SENDS_A_TURN < count && stoa_mailbox_waits(actor)) {
        done++;
        stoa_msg *msg = stoa_mailbox_get(actor);
        if (conflates) { stoa_conflating_out(actor, msg); }
        if (__builtin_expect(--core->time_left == 0, 0)) {
            handle_timed(core, t, actor, msg);
        } else if (handle_plain(core, t, actor, msg)) {
            continue;
        }
        if (!stoa_ref_equal(actor->self, self) || !(actor->flags & STOA_ACTOR_ALIVE)) { break; }
    }
    core->messages += done;
    if (stoa_mailbox_waits(actor) && !actor->run.queued && (actor->flags & (STOA_ACTOR_ALIVE | STOA_ACTOR_DOWN)) == STOA_ACTOR_ALIVE) {
        stoa_core_enqueue(core, &actor->run);
    }
    if (__builtin_expect(actor->flags & (STOA_ACTOR_AWAITED | STOA_ACTOR_CLOSING), 0)) { look_after(core, actor); }
}

/* One that was freed while it waited here, has yet to start, or conflates. */
static __attribute__((noinline)) void run_unusual(stoa_core *core, stoa_actor *actor)
{
    if (!(actor->flags & STOA_ACTOR_ALIVE)) {
        if (!actor->flags) { stoa_actor_recycle(core, actor); } /* else it is AWAY: what waits in it waits for its return */
        return;
    }
    stoa_ref self = actor->self;
    bool fresh = (actor->flags & (STOA_ACTOR_FRESH | STOA_ACTOR_DOWN)) == STOA_ACTOR_FRESH;
    if (fresh) { stoa_tree_start(core, actor); }
    if (!stoa_core_actor(core, self)) { return; }
    run_turns(core, actor, actor->flags & STOA_ACTOR_CONFLATES);
}

static inline void run_actor(stoa_core *core, stoa_actor *actor)
{
    uint32_t unusual = STOA_ACTOR_FRESH | STOA_ACTOR_CONFLATES;
    if (__builtin_expect((actor->flags & (STOA_ACTOR_ALIVE | unusual)) == STOA_ACTOR_ALIVE, 1)) {
        run_turns(core, actor, false);
    } else {
        run_unusual(core, actor);
    }
}

/* Ends early where what it was to end with is gone. */
uint32_t stoa_core_run(stoa_core *core)
{
    stoa_runnable *last = core->run_tail;
    uint64_t enough = core->messages + stoa_core_quantum(core, STOA_BATCH_MESSAGES);
    uint32_t ran = 0;
    while (core->run_head && core->messages < enough) {
        stoa_runnable *runnable = core->run_head;
        core->run_head = runnable->next;
        runnable->queued = false;
        ran++;
        if (runnable->is_shard) {
            if (stoa_shard_run((struct stoa_shard *)runnable)) { stoa_core_enqueue(core, runnable); }
        } else {
            run_actor(core, (stoa_actor *)runnable);
        }
        if (runnable == last) { break; }
    }
    return ran;
}

/* Who looks from elsewhere sees actor run, without a message. Returns whom they saw before. */
static stoa_actor *show(stoa_core *core, stoa_actor *actor)
{
    stoa_actor *before = core->turning.actor;
    core->turning.actor = actor;
    core->turning.msg = NULL;
    return before;
}

stoa_err stoa_turn_first(stoa_core *core, stoa_actor *actor)
{
    stoa_turning t;
    stoa_actor *before = show(core, actor);
    begin(&t, core, actor);
    const stoa_kind *kind = actor->kind;
    stoa_err err = STOA_OK;
    if (kind->sourced && kind->resume) { err = kind->resume(&t.turn, actor->state); }
    if (!kind->sourced && kind->start) {
        err = kind->start(&t.turn, actor->state, actor->more ? actor->more->args : NULL);
    }
    (void)show(core, before);
    if (t.after & STOA_AFTER_FAILED) { err = STOA_E_FAILED; }
    if (err) {
        take_back(&t);
        return STOA_FAIL(err, "%s: %s", stoa_actor_name(actor), t.failed ? t.failed : "refused to start");
    }
    let_go(&t);
    if (t.after) { finish(&t); }
    return STOA_OK;
}

stoa_err stoa_turn_last(stoa_core *core, stoa_actor *actor)
{
    stoa_turning t;
    stoa_actor *before = show(core, actor);
    begin(&t, core, actor);
    stoa_err err = actor->kind->stopping(&t.turn, actor->state);
    (void)show(core, before);
    if ((t.after & STOA_AFTER_FAILED) || (err && err != STOA_E_AGAIN)) {
        take_back(&t);
        return STOA_OK; /* it ends all the same */
    }
    let_go(&t);
    return (t.after & STOA_AFTER_EXIT) ? STOA_OK : err;
}
