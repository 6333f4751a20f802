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
#include "runtime/shard.h"

static stoa_turning *turning_of(stoa_turn *turn)
{
    return (stoa_turning *)turn;
}

/* --- staging */

static void stage(stoa_turning *t, stoa_msg *msg)
{
    msg->next = NULL;
    if (t->staged) {
        t->staged_tail->next = msg;
    } else {
        t->staged = msg;
    }
    t->staged_tail = msg;
}

/* Whether a message to `to` can be taken now; errors as stoa_turn_send. */
static stoa_err room_for(stoa_turning *t, stoa_ref to)
{
    uint32_t place = stoa_ref_place(to);
    stoa_core *core = t->core;
    if (place != core->place.index) {
        if (!to.at || place >= stoa_node_places(core->place.node)) { return STOA_E_CLOSED; }
        return stoa_place_room(&core->place, place) ? STOA_OK : STOA_E_FULL;
    }
    stoa_actor *target = stoa_core_actor(core, to);
    if (!target) { return STOA_E_CLOSED; }
    if (target->shard && target->shard == t->actor->shard) { return STOA_OK; } /* within the cascade */
    if (target->flags & STOA_ACTOR_DOWN) { return STOA_E_FAILED; }
    if (target->queued >= target->limit && target->when_full == STOA_FULL_REFUSE) { return STOA_E_FULL; }
    return STOA_OK;
}

static stoa_err message_new(stoa_turning *t, stoa_ref to, const stoa_row *row, const void *payload, uint8_t flags,
                            stoa_msg **out)
{
    stoa_err err = room_for(t, to);
    if (err) { return err; }
    if (t->actor->shard || t->turn.command) { flags |= STOA_MSG_CONTEXT; }
    stoa_msg *msg = stoa_slab_new(&t->core->place.slab, row->payload.size_bytes, flags);
    if (!msg) { return STOA_E_FULL; }
    msg->to = to;
    msg->from = t->turn.self;
    msg->row = row;
    if (flags & STOA_MSG_CONTEXT) { stoa_msg_context(msg)->command = t->turn.command; }
    memcpy(stoa_msg_body(msg), payload, row->payload.size_bytes);
    *out = msg;
    return STOA_OK;
}

stoa_err stoa_turn_send(stoa_turn *turn, stoa_ref to, const stoa_row *row, const void *payload)
{
    stoa_msg *msg;
    stoa_err err = message_new(turning_of(turn), to, row, payload, 0, &msg);
    if (!err) { stage(turning_of(turn), msg); }
    return err;
}

stoa_err stoa_turn_ask(stoa_turn *turn, stoa_ref to, const stoa_row *row, const void *payload, uint64_t deadline_ns,
                       uint64_t token)
{
    stoa_turning *t = turning_of(turn);
    stoa_core *core = t->core;
    stoa_msg *msg;
    uint64_t id, timer;
    stoa_err err = message_new(t, to, row, payload, STOA_MSG_CONTEXT | STOA_MSG_ASKS, &msg);
    if (err) { return err; }
    stoa_ask ask = {.asker = turn->self, .token = token, .due_ns = turn->now_ns + deadline_ns, .reply = row->reply,
                    .incarnation = t->actor->restarts};
    err = stoa_asks_new(&core->asks, ask, &id);
    if (!err) {
        err = stoa_wheel_new(&core->wheel, STOA_TIMER_ASK, (void *)(uintptr_t)id, &timer);
        if (err) { stoa_asks_free(&core->asks, id); }
    }
    if (err) {
        stoa_place_free(&core->place, msg);
        return err;
    }
    stoa_asks_find(&core->asks, id)->deadline_timer = timer;
    stoa_msg_context(msg)->reply_to = turn->self;
    stoa_msg_context(msg)->ask = id;
    stage(t, msg);
    return STOA_OK;
}

stoa_err stoa_turn_forward(stoa_turn *turn, stoa_ref to, const stoa_row *row, const void *payload)
{
    stoa_turning *t = turning_of(turn);
    stoa_msg *msg;
    stoa_err err = message_new(t, to, row, payload, STOA_MSG_CONTEXT, &msg);
    if (err) { return err; }
    stoa_msg_context(msg)->reply_to = t->reply_to;
    stoa_msg_context(msg)->ask = t->ask;
    t->handed_over = true;
    stage(t, msg);
    return STOA_OK;
}

static stoa_err answer(stoa_turning *t, const stoa_row *row, const void *payload, stoa_err error)
{
    stoa_core *core = t->core;
    t->answered = true;
    if (!t->reply_to.at || (t->msg && (t->msg->flags & STOA_MSG_ANSWER))) { return STOA_OK; }
    stoa_msg *msg =
        stoa_slab_new(&core->place.slab, row ? row->payload.size_bytes : 0, STOA_MSG_CONTEXT | STOA_MSG_ANSWER);
    if (!msg) { return STOA_E_FULL; }
    msg->to = t->reply_to;
    msg->from = t->turn.self;
    msg->row = row;
    *stoa_msg_context(msg) =
        (stoa_context){.ask = t->ask, .command = t->turn.command, .error = (int32_t)error};
    if (row) { memcpy(stoa_msg_body(msg), payload, row->payload.size_bytes); }
    stage(t, msg);
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
    STOA_ASSERT(t->actor->shard && t->msg); /* only event-sourced kinds, and not in resume */
    return stoa_shard_stage(t->actor->shard, row, payload);
}

stoa_err stoa_turn_after(stoa_turn *turn, uint64_t delay_ns, const stoa_row *row, const void *payload,
                         stoa_timer *timer_out)
{
    stoa_turning *t = turning_of(turn);
    stoa_core *core = t->core;
    uint64_t id;
    stoa_msg *msg = stoa_slab_new(&core->place.slab, row->payload.size_bytes, STOA_MSG_CONTEXT | STOA_MSG_TIMER);
    if (!msg) { return STOA_E_FULL; }
    stoa_err err = stoa_wheel_new(&core->wheel, STOA_TIMER_MESSAGE, msg, &id);
    if (err) {
        stoa_place_free(&core->place, msg);
        return err;
    }
    msg->to = msg->from = turn->self;
    msg->row = row;
    memcpy(stoa_msg_body(msg), payload, row->payload.size_bytes);
    stoa_msg_context(msg)->position = turn->now_ns + delay_ns;
    stoa_msg_context(msg)->durability = t->actor->restarts;
    stoa_msg_context(msg)->ask = id;
    stage(t, msg);
    if (timer_out) { timer_out->at = id; }
    return STOA_OK;
}

void stoa_turn_cancel(stoa_turn *turn, stoa_timer timer)
{
    stoa_turning *t = turning_of(turn);
    if (!timer.at) { return; }
    stoa_msg *msg = stoa_slab_new(&t->core->place.slab, 0, STOA_MSG_CONTEXT | STOA_MSG_CANCEL);
    if (!msg) { return; } /* it then fires once too often, which handlers must bear anyway */
    msg->to = msg->from = turn->self;
    msg->row = NULL;
    stoa_msg_context(msg)->ask = timer.at;
    stage(t, msg);
}

/* --- topics and names */

stoa_err stoa_turn_publish(stoa_turn *turn, unsigned slot, const stoa_row *row, const void *payload)
{
    stoa_turning *t = turning_of(turn);
    stoa_topic *topic = slot < STOA_TOPIC_SLOTS && t->actor->more ? t->actor->more->topics[slot] : NULL;
    if (!topic) { return STOA_E_INVALID; }
    atomic_fetch_add_explicit(&topic->published, 1, memory_order_relaxed);
    if (!stoa_topic_places(topic)) { return STOA_OK; }
    stoa_msg *msg = stoa_slab_new(&t->core->place.slab, row->payload.size_bytes, STOA_MSG_CONTEXT | STOA_MSG_TOPIC);
    if (!msg) { return STOA_E_FULL; }
    msg->to = stoa_ref_make(0, t->core->place.index, 0);
    msg->from = turn->self;
    msg->row = row;
    stoa_msg_context(msg)->topic = topic;
    memcpy(stoa_msg_body(msg), payload, row->payload.size_bytes);
    stage(t, msg);
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
    return stoa_actor_ref(t->core, shard->actors[stream]);
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
    turning_of(turn)->failed = reason;
    return STOA_E_FAILED;
}

/* --- taking effect */

static void take_back(stoa_turning *t)
{
    stoa_core *core = t->core;
    if (t->changed) { stoa_topics_take_back(t); }
    while (t->staged) {
        stoa_msg *msg = t->staged;
        t->staged = msg->next;
        stoa_context *context = (msg->flags & STOA_MSG_CONTEXT) ? stoa_msg_context(msg) : NULL;
        if (msg->flags & STOA_MSG_TIMER) { (void)stoa_wheel_cancel(&core->wheel, context->ask); }
        if (msg->flags & STOA_MSG_ASKS) {
            stoa_ask *ask = stoa_asks_find(&core->asks, context->ask);
            if (ask) { (void)stoa_wheel_cancel(&core->wheel, ask->deadline_timer); }
            stoa_asks_free(&core->asks, context->ask);
        }
        stoa_place_free(&core->place, msg);
    }
    if (t->actor->shard) { stoa_shard_clear_staged(t->actor->shard); }
}

static void cancel_timer(stoa_core *core, stoa_msg *msg)
{
    stoa_msg *waiting = stoa_wheel_cancel(&core->wheel, stoa_msg_context(msg)->ask);
    if (waiting) { stoa_place_free(&core->place, waiting); }
    stoa_place_free(&core->place, msg);
}

static void let_go(stoa_turning *t)
{
    stoa_core *core = t->core;
    if (t->changed) { stoa_topics_let_go(t); } /* first: who left does not hear what this turn publishes */
    while (t->staged) {
        stoa_msg *msg = t->staged;
        t->staged = msg->next;
        if (msg->flags & STOA_MSG_TIMER) {
            stoa_wheel_start(&core->wheel, stoa_msg_context(msg)->ask, stoa_msg_context(msg)->position);
            continue;
        }
        if (msg->flags & STOA_MSG_CANCEL) {
            cancel_timer(core, msg);
            continue;
        }
        if (msg->flags & STOA_MSG_ASKS) {
            stoa_ask *ask = stoa_asks_find(&core->asks, stoa_msg_context(msg)->ask);
            stoa_wheel_start(&core->wheel, ask->deadline_timer, ask->due_ns);
            msg->flags &= (uint8_t)~STOA_MSG_ASKS;
        }
        if (t->actor->shard) {
            stoa_shard_wall(t->actor->shard, msg);
        } else {
            stoa_core_deliver(core, msg);
        }
    }
}

static stoa_handler handler_of(const stoa_kind *kind, const stoa_row *row)
{
    const stoa_table *table = kind->table;
    if (row->id <= table->row_count && &table->rows[row->id] == row && kind->handlers[row->id]) {
        return kind->handlers[row->id];
    }
    for (const stoa_hear *hear = kind->hears; hear->row; hear++) {
        if (hear->row == row) { return hear->handler; }
    }
    return NULL;
}

/* Field by field: zeroing the whole struct costs more than a short turn. */
static void begin(stoa_turning *t, stoa_core *core, stoa_actor *actor)
{
    t->turn.now_ns = core->now_ns;
    t->turn.wall_ns = core->wall_ns;
    t->turn.self = stoa_actor_ref(core, actor);
    t->turn.from = STOA_REF_NONE;
    t->turn.token = 0;
    t->turn.error = STOA_OK;
    t->turn.command = 0;
    t->core = core;
    t->actor = actor;
    t->msg = NULL;
    t->reply_to = STOA_REF_NONE;
    t->ask = 0;
    t->staged = NULL;
    t->failed = NULL;
    t->handed_over = false;
    t->answered = false;
    t->topic = "";
    t->changed = NULL;
}

static void begin_message(stoa_turning *t, stoa_core *core, stoa_actor *actor, stoa_msg *msg)
{
    begin(t, core, actor);
    t->msg = msg;
    t->turn.from = msg->from;
    if (msg->flags & STOA_MSG_LENT) {
        t->topic = stoa_msg_context(stoa_msg_lent(msg)->held)->topic->name;
    }
    if (!(msg->flags & STOA_MSG_CONTEXT)) { return; }
    const stoa_context *context = stoa_msg_context(msg);
    t->reply_to = context->reply_to;
    t->ask = context->ask;
    t->turn.command = context->command;
    if (msg->flags & STOA_MSG_ANSWER) {
        t->turn.token = context->ask;
        t->turn.error = (stoa_err)context->error;
    }
}

/* The error is the answer; where nobody asked it is a dead letter. */
static void refuse(stoa_turning *t, stoa_err why)
{
    t->actor->refused++;
    t->actor->last_refusal = why;
    if (t->reply_to.at) {
        (void)answer(t, NULL, NULL, why);
        let_go(t);
    } else {
        stoa_core_dead_letter(t->core, t->msg, why);
    }
}

/* sim: NULL in every build's fast path, which then has nothing of it. */
static inline __attribute__((always_inline)) void run(stoa_core *core, stoa_actor *actor, stoa_msg *msg, struct stoa_sim *sim)
{
    stoa_turning t;
    begin_message(&t, core, actor, msg);
    stoa_handler handler = handler_of(actor->kind, msg->row);
    const stoa_row *reply = msg->row->cls == STOA_ROW_COMMAND ? msg->row->reply : NULL;
    if (reply) { memset(core->reply, 0, reply->payload.size_bytes); }

    stoa_err err = STOA_E_NO_HANDLER;
    if (sim && stoa_sim_loses_turn(sim, &t)) {
        err = stoa_fail(&t.turn, "injected: turn-lost");
    } else if (handler) {
        err = handler(&t.turn, actor->state, stoa_msg_payload(msg), core->reply);
    }
    actor->messages++;
    if (!err && reply && !t.handed_over && !t.answered) { err = answer(&t, reply, core->reply, STOA_OK); }
    if (err) {
        take_back(&t);
        refuse(&t, t.failed ? STOA_E_FAILED : err);
    } else {
        if (actor->shard) { stoa_shard_apply_staged(actor->shard, &t); }
        let_go(&t);
    }
    if (sim) { stoa_sim_turned(sim, &t, msg->row, stoa_msg_payload(msg), msg->flags & STOA_MSG_ANSWER, err); }
    stoa_place_free(&core->place, msg);
    if (t.failed) { stoa_actor_fail(core, actor, t.failed); }
}

static void run_simulated(stoa_core *core, stoa_actor *actor, stoa_msg *msg)
{
    struct stoa_sim *sim = core->place.node->options.sim;
    uint32_t generation = actor->generation;
    core->time_left = 1;
    run(core, actor, msg, sim);
    bool lives = actor->generation == generation && (actor->flags & (STOA_ACTOR_ALIVE | STOA_ACTOR_DOWN)) == STOA_ACTOR_ALIVE;
    if (lives && stoa_sim_last_turn(sim, core, actor)) { stoa_actor_fail(core, actor, "injected: turn-last"); }
}

void stoa_turn_run(stoa_core *core, stoa_actor *actor, stoa_msg *msg)
{
    if (!core->time_every || --core->time_left) {
        run(core, actor, msg, NULL);
        return;
    }
    if (core->place.node->options.sim) {
        run_simulated(core, actor, msg);
        return;
    }
    stoa_clock *clock = core->place.node->clock;
    const stoa_kind *kind = actor->kind;
    uint32_t generation = actor->generation;
    /* a fixed stride would fall in step with the rhythm of the messages */
    core->time_left = 1 + (uint32_t)stoa_random_below(&core->random, 2 * (uint64_t)core->time_every - 1);
    uint64_t began_ns = clock->now_ns(clock);
    run(core, actor, msg, NULL);
    uint64_t took_ns = clock->now_ns(clock) - began_ns;
    if (actor->generation == generation) { actor->handler_ns = took_ns; }
    stoa_core_timed(core, kind, took_ns);
}

stoa_err stoa_turn_first(stoa_core *core, stoa_actor *actor)
{
    stoa_turning t;
    begin(&t, core, actor);
    const stoa_kind *kind = actor->kind;
    stoa_err err = STOA_OK;
    if (kind->sourced && kind->resume) { err = kind->resume(&t.turn, actor->state); }
    if (!kind->sourced && kind->start) {
        err = kind->start(&t.turn, actor->state, actor->more ? actor->more->args : NULL);
    }
    if (err) {
        take_back(&t);
        return STOA_FAIL(err, "%s: %s", stoa_actor_name(actor), t.failed ? t.failed : "refused to start");
    }
    let_go(&t);
    return STOA_OK;
}
