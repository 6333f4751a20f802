/* turn_send.c - the messages of a turn: sends, asks, answers, what is published.
 *
 * They are put aside until the handler has returned. The way of most is short: a small message to an actor of this core goes
 * into its mailbox at once, one to another place into what gathers for its ring; a turn that is refused takes them out again
 * (turn_effect.c). All others wait in a list. Order is kept: nothing goes ahead of what the turn has in the list for the same
 * place. stoa_turn_send has its parts in this file so that they become one function.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "runtime/mailbox.h"
#include "runtime/move.h"
#include "runtime/shard.h"
#include "runtime/turning.h"

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
    stoa_turning *t = stoa_turning_of(turn);
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
    stoa_turning *t = stoa_turning_of(turn);
    stoa_msg *msg;
    stoa_err err = message_new(t, to, row, payload, STOA_MSG_CONTEXT | STOA_MSG_DUE, &msg);
    if (err) { return err; }
    stoa_msg_context(msg)->due_ns = stoa_time_after(turn->now_ns, within_ns);
    stoa_turning_stage(t, msg);
    return STOA_OK;
}

stoa_err stoa_turn_send_told(stoa_turn *turn, stoa_ref to, const stoa_row *row, const void *payload, uint64_t token)
{
    stoa_turning *t = stoa_turning_of(turn);
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
    stoa_turning *t = stoa_turning_of(turn);
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
    stoa_turning *t = stoa_turning_of(turn);
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

static stoa_err answer(stoa_turning *t, const stoa_asker *asker, const stoa_row *row, const void *payload, stoa_err error)
{
    uint32_t bytes = row ? row->payload.size_bytes : 0;
    bool marks = t->marks & STOA_MARKS_TRACE;
    uint32_t flags = STOA_MSG_CONTEXT | STOA_MSG_ANSWER;
    stoa_msg *msg = __builtin_expect(marks, 0) ? stoa_turning_new_marked(t, bytes, flags)
                                               : stoa_slab_new_surely(&t->core->place.slab, bytes, flags);
    if (!msg) { return stoa_slab_why_not(bytes); }
    msg->to = asker->who;
    msg->from = t->turn.self;
    msg->row = row;
    stoa_context *context = stoa_msg_context(msg);
    context->ask = asker->ask;
    context->command = asker->command;
    context->error = (int32_t)error;
    if (row) { stoa_copy_payload(stoa_msg_body(msg), payload, bytes); }
    stoa_turning_stage(t, msg);
    return STOA_OK;
}

static inline stoa_asker asker_of(const stoa_turning *t)
{
    bool asked = !t->msg || !(t->msg->flags & STOA_MSG_ANSWER);
    return (stoa_asker){.who = asked ? t->reply_to : STOA_REF_NONE, .ask = t->ask, .command = t->turn.command};
}

stoa_err stoa_turning_answer(stoa_turning *t, const stoa_row *row, const void *payload, stoa_err error)
{
    stoa_asker asker = asker_of(t);
    t->answered = true;
    return asker.who.at ? answer(t, &asker, row, payload, error) : STOA_OK;
}

void stoa_turn_keep(stoa_turn *turn, stoa_asker *out)
{
    stoa_turning *t = stoa_turning_of(turn);
    t->handed_over = true;
    *out = asker_of(t);
}

stoa_err stoa_turn_answer_kept(stoa_turn *turn, const stoa_asker *asker, const stoa_row *row, const void *payload, stoa_err error)
{
    return asker->who.at ? answer(stoa_turning_of(turn), asker, error ? NULL : row, payload, error) : STOA_OK;
}

stoa_err stoa_turn_answer(stoa_turn *turn, const stoa_row *row, const void *payload)
{
    return stoa_turning_answer(stoa_turning_of(turn), row, payload, STOA_OK);
}

stoa_err stoa_turn_refuse(stoa_turn *turn, stoa_err why)
{
    return stoa_turning_answer(stoa_turning_of(turn), NULL, NULL, why);
}

void stoa_turn_no_answer(stoa_turn *turn)
{
    stoa_turning_of(turn)->handed_over = true;
}

stoa_err stoa_turn_publish(stoa_turn *turn, unsigned slot, const stoa_row *row, const void *payload)
{
    stoa_turning *t = stoa_turning_of(turn);
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
