/* turn.c - one handler run: stage, then take effect as a whole or not at all; the loop over who has messages.
 *
 * While the handler runs, everything it asks for is put aside: messages in a list (turn_send.c), events in the shard's arena.
 * When it returns OK, events are applied first (they give the position that outward messages are stamped with), then messages
 * go. When it returns an error, all of it is taken back (turn_effect.c) and the error is the answer.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "runtime/mailbox.h"
#include "runtime/shard.h"
#include "runtime/turning.h"

static stoa_handler hearer_of(const stoa_kind *kind, const stoa_row *row)
{
    for (const stoa_hear *hear = kind->hears; hear->row; hear++) {
        if (hear->row == row) { return hear->handler; }
    }
    return kind->any;
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
    stoa_turning_clean(t);
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
    stoa_turning_take_back(t);
    t->span.outcome = why;
    t->actor->refused++;
    t->actor->last_refusal = (int16_t)why;
    stoa_msg *told = (t->msg->flags & STOA_MSG_TOLD) ? stoa_refusal_new(t->core, t->msg, why) : NULL;
    if (told) {
        stoa_turning_stage(t, told);
        stoa_turning_let_go(t);
    } else if (t->reply_to.at) {
        (void)stoa_turning_answer(t, NULL, NULL, why);
        stoa_turning_let_go(t);
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
    if (__builtin_expect(t->after & STOA_AFTER_FAILED, 0)) {
        err = STOA_E_FAILED;
        if (actor->shard) { stoa_shard_tear(actor->shard, err); }
    }
    if (!err && reply && !t->handed_over && !t->answered) { err = stoa_turning_answer(t, reply, core->reply, STOA_OK); }
    if (__builtin_expect(err, 0)) {
        t->after &= (uint8_t)~STOA_AFTER_EXIT;
        refuse(t, err);
    } else {
        if (actor->shard) { stoa_shard_apply_staged(actor->shard, t); }
        stoa_turning_let_go(t);
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

enum { LOOK_NS = 16384 }; /* of work between two turns that are timed, which costs 100 ns each */

/* Turns to the next one that is timed: long turns are timed more often, and of short ones one in time_every. At uneven distances,
 * since a fixed stride would fall in step with the rhythm of messages. */
static uint32_t next_timed(stoa_core *core)
{
    uint64_t every = core->message_ns ? LOOK_NS / core->message_ns : 1;
    if (every > core->time_every) { every = core->time_every; }
    return every > 1 ? 1 + (uint32_t)stoa_random_below(&core->random, 2 * every - 1) : core->time_every > 0;
}

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
    core->not_timed += core->tracing.stride;
    core->tracing.not_marked += core->tracing.stride;
    stoa_core_time_in(core, stoa_trace_stride(core, next_timed(core)));
    if (chosen) {
        msg->flags |= STOA_MSG_ROOT;
        handle(core, t, actor, msg, NULL);
        if (!core->tracing.root) { core->tracing.not_marked = 0; }
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
    stoa_core_timed(core, kind, took_ns, core->not_timed);
    core->not_timed = 0;
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
        stoa_turning_take_back(&t);
        return STOA_FAIL(err, "%s: %s", stoa_actor_name(actor), t.failed ? t.failed : "refused to start");
    }
    stoa_turning_let_go(&t);
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
        stoa_turning_take_back(&t);
        return STOA_OK; /* it ends all the same */
    }
    stoa_turning_let_go(&t);
    return (t.after & STOA_AFTER_EXIT) ? STOA_OK : err;
}
