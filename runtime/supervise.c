/* supervise.c - what becomes of an actor that fails, exits or is told to end. See tree.h for the states.
 *
 * A supervisor is any actor with children; its kind says how it treats them (stoa_supervision). Restarts draw on its bucket; an
 * empty one makes the supervisor itself fail ("escalated"), and so upwards. Below the root of each core hang the actors that
 * were spawned from outside, and the event-sourced ones: one_for_one, 100 restarts within 10 s, the first at once, then
 * after 1 ms to 1 s. When the root's bucket is empty the node ends with the reason (options.escalate).
 *
 * A plain actor begins with a zeroed state and its start(). An event-sourced actor comes back from its log
 * (stoa_shard_rebuild) and its resume(). Both keep their reference, name and place among their siblings. What was waiting in
 * a mailbox is refused with FAILED: an asker is told, and nothing of it was acknowledged.
 *
 * Nothing here allocates or searches: a restart costs the same whether it is the first or the millionth.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "runtime/internal.h"
#include "runtime/mailbox.h"
#include "runtime/shard.h"
#include "runtime/sparse.h"

enum { RESTARTS_DEFAULT = 100, PER_MS_DEFAULT = 10000, FAILURES_LOGGED_PER_S = 10, EXIT_ESCALATED = 71 };

static const stoa_supervision ROOT = {.restarts = 100, .per_ms = 10000, .backoff_min_ms = 1, .backoff_max_ms = 1000};

static const stoa_supervision *policy_of(const stoa_actor *supervisor)
{
    return supervisor ? &supervisor->kind->supervision : &ROOT;
}

static bool abnormal(stoa_end why)
{
    return why != stoa_end_NORMAL && why != stoa_end_SHUTDOWN;
}

/* --- the log: so many lines a second, then a count */

static bool may_log(stoa_core *core, uint32_t *left_out)
{
    if (core->now_ns - core->failure_log.window_ns >= STOA_S(1)) {
        core->failure_log.window_ns = core->now_ns;
        core->failure_log.written = 0;
    }
    if (core->failure_log.written >= FAILURES_LOGGED_PER_S) {
        core->failure_log.left_out++;
        return false;
    }
    core->failure_log.written++;
    *left_out = core->failure_log.left_out;
    core->failure_log.left_out = 0;
    return true;
}

static void log_end(stoa_core *core, const stoa_actor *actor, const char *event, const stoa_fate *fate)
{
    uint32_t left_out;
    if (!may_log(core, &left_out)) { return; }
    stoa_log(STOA_LOG_WARN, event, STOA_KV("actor", stoa_actor_name(actor)), STOA_KV("reason", fate->text),
             STOA_KV("why", stoa_end_texts[fate->why]), STOA_KU("restarts", actor->restarts),
             STOA_KU("left_out", left_out));
}

/* --- intensity and delay */

/* The bucket as the time at which it will be full: a restart moves it on by what one restart takes to come back. */
static bool take_token(stoa_core *core, stoa_family *family, const stoa_supervision *policy)
{
    uint64_t per_ns = STOA_MS((uint64_t)(policy->per_ms ? policy->per_ms : PER_MS_DEFAULT));
    uint64_t one_ns = per_ns / (policy->restarts ? policy->restarts : RESTARTS_DEFAULT);
    uint64_t full_ns = family->bucket_ns > core->now_ns ? family->bucket_ns : core->now_ns;
    if (full_ns + one_ns > core->now_ns + per_ns) { return false; }
    family->bucket_ns = full_ns + one_ns;
    return true;
}

static uint64_t delay_ns(stoa_core *core, stoa_actor_more *more, const stoa_supervision *policy)
{
    uint64_t per_ms = policy->per_ms ? policy->per_ms : PER_MS_DEFAULT;
    if (!policy->backoff_min_ms) { return 0; }
    if (core->now_ns - more->failed_ns > STOA_MS(per_ms + more->backoff_ms)) { more->backoff_ms = 0; }
    more->failed_ns = core->now_ns;
    uint64_t ms = more->backoff_ms, next = ms ? ms * 2 : policy->backoff_min_ms;
    uint64_t most = policy->backoff_max_ms > policy->backoff_min_ms ? policy->backoff_max_ms : policy->backoff_min_ms;
    more->backoff_ms = (uint32_t)(next < most ? next : most);
    uint64_t ns = STOA_MS(ms);
    return policy->jitter && ns ? ns - stoa_random_below(&core->random, ns / 2 + 1) : ns;
}

static void escalate_to_node(stoa_core *core, const char *reason)
{
    stoa_options *options = &core->place.node->options;
    stoa_core_note(core, STOA_FLIGHT_ESCALATION, NULL, NULL, reason, 0, 0);
    if (options->escalate) {
        options->escalate(options->context, reason);
        return;
    }
    stoa_log_never_wait(false); /* its last words */
    stoa_log(STOA_LOG_ERROR, "node_exit", STOA_KV("reason", reason), STOA_KU("core", core->place.index));
    _exit(EXIT_ESCALATED);
}

/* --- timers of an end or a restart: one at a time */

static void timer_clear(stoa_core *core, stoa_actor *actor)
{
    if (!actor->more || !actor->more->ending) { return; }
    (void)stoa_wheel_cancel(&core->wheel, actor->more->ending);
    actor->more->ending = 0;
}

static bool timer_set(stoa_core *core, stoa_actor *actor, uint16_t cls, uint64_t after_ns)
{
    timer_clear(core, actor);
    void *what = (void *)(uintptr_t)actor->self.at;
    if (stoa_wheel_new(&core->wheel, cls, what, &actor->more->ending)) {
        actor->more->ending = 0;
        return false;
    }
    stoa_wheel_start(&core->wheel, actor->more->ending, core->now_ns + after_ns);
    return true;
}

/* --- one incarnation ends */

static void refuse_waiting(stoa_core *core, stoa_actor *actor, stoa_err why)
{
    if (actor->shard) {
        stoa_shard_disown(actor->shard, actor);
    } else {
        stoa_mailbox_refuse(core, actor, why);
    }
}

void stoa_tree_late(stoa_core *core, stoa_actor *actor, stoa_msg *msg)
{
    bool closing = !(actor->flags & STOA_ACTOR_DOWN);
    if (closing && (msg->flags & (STOA_MSG_ANSWER | STOA_MSG_FIRED))) {
        stoa_core_push(core, actor, msg);
    } else {
        stoa_core_refuse(core, msg, (actor->flags & STOA_ACTOR_ENDING) ? STOA_E_CLOSED : STOA_E_FAILED);
    }
}

static bool comes_back(stoa_core *core, const stoa_actor *actor, const stoa_actor *parent, const stoa_fate *fate)
{
    if (actor->shard) { return true; }
    if (fate->stays_away || core->shutting_down || (parent && (parent->flags & STOA_ACTOR_ENDING))) { return false; }
    stoa_restart type = actor->more ? actor->more->restart : STOA_TEMPORARY;
    return type == STOA_PERMANENT || (type == STOA_TRANSIENT && (fate->group || abnormal(fate->why)));
}

static void clear_state(stoa_actor *actor)
{
    if (actor->kind->sourced) { return; }
    if (actor->kind->stop && !(actor->flags & STOA_ACTOR_FRESH)) { actor->kind->stop(actor->state); }
    stoa_sparse_clear(actor->state, actor->kind->state_bytes);
}

static void restart(stoa_core *core, stoa_actor *actor)
{
    timer_clear(core, actor);
    if (actor->shard && actor->shard->down) { return; } /* all of its actors begin anew when it comes back */
    core->restarts++;
    actor->restarts++;
    stoa_core_note(core, STOA_FLIGHT_RESTART, actor, NULL, NULL, actor->restarts, 0);
    if (actor->shard) { stoa_shard_touch(actor); }
    actor->flags &= (uint8_t)~(STOA_ACTOR_DOWN | STOA_ACTOR_ENDING | STOA_ACTOR_CLOSING);
    if (actor->shard) {
        stoa_shard_rebuild(actor->shard, actor);
        if (stoa_turn_first(core, actor)) {
            stoa_actor_fail(core, actor, "resume failed again");
        } else {
            stoa_core_enqueue(core, &actor->shard->run);
        }
    } else if (actor->kind->start) {
        actor->flags |= STOA_ACTOR_FRESH;
        stoa_core_enqueue(core, &actor->run);
    }
}

/* --- what a supervisor does: each returns the actor to go on with, NULL for nobody */

static stoa_actor *give_up(stoa_core *core, stoa_actor *supervisor, const char *reason)
{
    if (!supervisor) {
        escalate_to_node(core, reason);
        return NULL;
    }
    stoa_fate fate = {.text = reason, .why = stoa_end_ESCALATED};
    log_end(core, supervisor, "supervisor_gave_up", &fate);
    supervisor->flags |= STOA_ACTOR_DOWN;
    refuse_waiting(core, supervisor, STOA_E_FAILED);
    if (!(supervisor->flags & STOA_ACTOR_ENDING)) { supervisor->more->fate = fate; }
    supervisor->flags |= STOA_ACTOR_ENDING;
    return supervisor;
}

static bool older_than(stoa_core *core, const stoa_actor *actor, uint32_t other)
{
    uint32_t at = actor->younger;
    while (at && at != other) { at = stoa_tree_at(core, at)->younger; }
    return at != 0;
}

/* The group from `oldest` to the youngest is ended, the youngest first, and then started again. */
static void regroup(stoa_core *core, stoa_family *family, const stoa_actor *oldest, uint64_t after_ns)
{
    if (!family->rebuild) {
        family->rebuild = stoa_actor_index(oldest) + 1;
        family->cursor = family->youngest;
    } else if (older_than(core, oldest, family->rebuild)) {
        if (!family->cursor) { family->cursor = stoa_tree_at(core, family->rebuild)->elder; }
        family->rebuild = stoa_actor_index(oldest) + 1;
    }
    uint64_t not_before = core->now_ns + after_ns;
    if (not_before > family->rebuild_ns) { family->rebuild_ns = not_before; }
}

static stoa_actor *after_failure(stoa_core *core, stoa_actor *supervisor, stoa_actor *actor, const stoa_fate *fate)
{
    stoa_family *family = stoa_tree_family(core, supervisor);
    const stoa_supervision *policy = policy_of(supervisor);
    if (fate->group) { return supervisor; }
    if (!take_token(core, family, policy)) { return give_up(core, supervisor, fate->text); }
    uint64_t after_ns = delay_ns(core, actor->more, policy);
    if (policy->strategy != STOA_ONE_FOR_ONE) {
        bool all = policy->strategy == STOA_ONE_FOR_ALL;
        regroup(core, family, all ? stoa_tree_at(core, family->oldest) : actor, after_ns);
        return supervisor;
    }
    if (after_ns && timer_set(core, actor, STOA_TIMER_RESTART, after_ns)) { return NULL; }
    if (actor->shard && actor->shard->torn) {
        stoa_shard_touch(actor); /* it comes back when the cascade is undone */
    } else {
        restart(core, actor);
    }
    return NULL;
}

/* All of the group are down. */
static void start_group(stoa_core *core, stoa_actor *supervisor)
{
    stoa_family *family = &supervisor->more->family;
    stoa_actor *first = stoa_tree_at(core, family->rebuild);
    bool waits = family->rebuild_ns > core->now_ns && (first->flags & STOA_ACTOR_DOWN);
    if (waits && timer_set(core, first, STOA_TIMER_RESTART, family->rebuild_ns - core->now_ns)) { return; }
    family->rebuild = family->cursor = 0;
    family->rebuild_ns = 0;
    for (uint32_t at = stoa_actor_index(first) + 1; at;) {
        stoa_actor *actor = stoa_tree_at(core, at);
        at = actor->younger;
        if ((actor->flags & (STOA_ACTOR_DOWN | STOA_ACTOR_ENDING)) == STOA_ACTOR_DOWN) { restart(core, actor); }
    }
}

/* --- ending subtrees, step by step */

static bool busy(stoa_core *core, stoa_actor *supervisor)
{
    if (!supervisor) { return false; }
    return (supervisor->flags & STOA_ACTOR_ENDING) || stoa_tree_family(core, supervisor)->rebuild;
}

/* Nothing is left below it: it goes, or is down until its restart. */
static stoa_actor *finish(stoa_core *core, stoa_actor *actor)
{
    stoa_actor *parent = stoa_tree_parent(core, actor);
    stoa_fate fate = actor->more ? actor->more->fate : (stoa_fate){.stays_away = true};
    bool returns = comes_back(core, actor, parent, &fate);
    if (actor->more) {
        timer_clear(core, actor);
        stoa_links_release(core, actor, &fate, returns);
        stoa_held_release(core, actor);
    }
    if (!returns) {
        stoa_actor_free(core, actor);
        return busy(core, parent) ? parent : NULL;
    }
    actor->flags |= STOA_ACTOR_DOWN;
    refuse_waiting(core, actor, STOA_E_FAILED);
    clear_state(actor);
    actor->flags &= (uint8_t)~(STOA_ACTOR_ENDING | STOA_ACTOR_CLOSING | STOA_ACTOR_FRESH);
    return after_failure(core, parent, actor, &fate);
}

/* It has no children any more. */
static stoa_actor *end_self(stoa_core *core, stoa_actor *actor)
{
    bool orderly = !(actor->flags & STOA_ACTOR_DOWN) && !(actor->more && actor->more->fate.kill);
    if (!orderly) { return finish(core, actor); }
    bool may_wait = actor->more && actor->more->ending;
    actor->flags |= STOA_ACTOR_CLOSING;
    if (stoa_mailbox_waits(actor) && may_wait) { return NULL; } /* stoa_tree_drained */
    if (actor->kind->stopping && !(actor->flags & STOA_ACTOR_FRESH)) {
        if (stoa_turn_last(core, actor) == STOA_E_AGAIN && may_wait) { return NULL; }
        actor->flags |= STOA_ACTOR_DOWN;
        if (actor->more && actor->more->family.count) { return actor; } /* it spawned in its last turn */
    }
    return finish(core, actor);
}

/* Mark it as ending. */
static void begin_end(stoa_core *core, stoa_actor *actor, stoa_fate fate)
{
    stoa_actor_more *more = actor->more;
    bool already = actor->flags & STOA_ACTOR_ENDING;
    actor->flags |= STOA_ACTOR_ENDING;
    if (!more) { return; } /* temporary, without children, heard by nobody: why does not matter */
    if (already) {
        more->fate.stays_away = more->fate.stays_away || fate.stays_away;
        more->fate.group = more->fate.group && !more->fate.stays_away;
    } else {
        more->fate = fate;
        timer_clear(core, actor);
        bool waits = more->shutdown_ms && !fate.kill && !(actor->flags & STOA_ACTOR_DOWN);
        if (waits) { (void)timer_set(core, actor, STOA_TIMER_KILL, STOA_MS((uint64_t)more->shutdown_ms)); }
    }
    if (fate.kill) {
        more->fate.kill = true;
        more->fate.why = fate.why;
        more->fate.text = fate.text;
    }
}

static stoa_actor *end_child(stoa_core *core, const stoa_actor *supervisor, stoa_actor *child)
{
    bool ending = supervisor->flags & STOA_ACTOR_ENDING;
    const stoa_fate *above = &supervisor->more->fate;
    bool kill = ending && above->kill;
    bool known = child->flags & STOA_ACTOR_ENDING;
    if (known && !(kill && child->more && !child->more->fate.kill)) { return NULL; } /* it is waited for */
    stoa_fate fate = {.text = kill ? above->text : "shutdown",
                      .why = kill ? stoa_end_KILLED : stoa_end_SHUTDOWN,
                      .stays_away = ending,
                      .group = !ending,
                      .kill = kill};
    if (known) { log_end(core, child, "actor_killed", &fate); } /* it was asked, and did not end */
    begin_end(core, child, fate);
    return child;
}

/* The next one to end below a supervisor: its youngest child, or the next of the group. */
static stoa_actor *next_child(stoa_core *core, stoa_actor *supervisor)
{
    stoa_family *family = stoa_tree_family(core, supervisor);
    if (!family || !family->count) { return NULL; }
    if (supervisor->flags & STOA_ACTOR_ENDING) { return stoa_tree_at(core, family->youngest); }
    while (family->rebuild && family->cursor) {
        stoa_actor *child = stoa_tree_at(core, family->cursor);
        bool down = (child->flags & (STOA_ACTOR_DOWN | STOA_ACTOR_ENDING)) == STOA_ACTOR_DOWN;
        if (!down) { return child; }
        family->cursor = family->cursor == family->rebuild ? 0 : child->elder;
    }
    return NULL;
}

static stoa_actor *step(stoa_core *core, stoa_actor *actor)
{
    stoa_actor *child = next_child(core, actor);
    if (child) { return end_child(core, actor, child); }
    if (actor->flags & STOA_ACTOR_ENDING) { return end_self(core, actor); }
    if (actor->more && actor->more->family.rebuild) { start_group(core, actor); }
    return NULL;
}

/* While the node ends: the next child of the root, when the one before it is gone. */
static stoa_actor *next_of_root(stoa_core *core)
{
    while (core->shutting_down && core->root.cursor) {
        stoa_actor *actor = stoa_tree_at(core, core->root.cursor);
        if (actor->flags & STOA_ACTOR_ENDING) { return NULL; }
        if (!actor->shard) {
            begin_end(core, actor, (stoa_fate){.text = "shutdown", .why = stoa_end_SHUTDOWN, .stays_away = true});
            return actor;
        }
        core->root.cursor = actor->elder; /* event-sourced ones stay until the node is gone */
    }
    return NULL;
}

static void work(stoa_core *core, stoa_actor *actor)
{
    for (uint32_t steps = 0; actor; actor = actor ? actor : next_of_root(core)) {
        if (++steps > STOA_TREE_STEPS && !core->unfinished.at) {
            core->unfinished = actor->self;
            return;
        }
        actor = step(core, actor);
    }
}

void stoa_tree_continue(stoa_core *core)
{
    stoa_actor *actor = stoa_core_actor(core, core->unfinished);
    core->unfinished = STOA_REF_NONE;
    work(core, actor ? actor : next_of_root(core));
}

/* --- from outside */

void stoa_tree_over(stoa_core *core, stoa_actor *actor, stoa_fate fate)
{
    bool known = actor->flags & STOA_ACTOR_ENDING;
    if (abnormal(fate.why)) { log_end(core, actor, "actor_failed", &fate); }
    struct stoa_sim *sim = core->place.node->options.sim;
    if (sim && abnormal(fate.why)) { stoa_sim_failed(sim, core, actor, fate.text); }
    if (abnormal(fate.why)) { stoa_core_note(core, STOA_FLIGHT_FAILED, actor, NULL, fate.text, actor->restarts, 0); }
    actor->flags |= STOA_ACTOR_DOWN | STOA_ACTOR_ENDING;
    if (actor->more && known) {
        actor->more->fate.why = fate.why;
        actor->more->fate.text = fate.text;
    } else if (actor->more) {
        actor->more->fate = fate;
    }
    refuse_waiting(core, actor, abnormal(fate.why) ? STOA_E_FAILED : STOA_E_CLOSED);
    work(core, actor);
}

void stoa_actor_fail(stoa_core *core, stoa_actor *actor, const char *reason)
{
    stoa_tree_over(core, actor, (stoa_fate){.text = reason, .why = stoa_end_FAILED});
}

void stoa_tree_stop(stoa_core *core, stoa_actor *actor, stoa_fate fate)
{
    bool waiting = actor->flags & STOA_ACTOR_ENDING;
    begin_end(core, actor, fate);
    if (!waiting || fate.kill) { work(core, actor); }
}

void stoa_tree_drained(stoa_core *core, stoa_actor *actor)
{
    if (actor->flags & STOA_ACTOR_CLOSING) { work(core, actor); }
}

void stoa_tree_start(stoa_core *core, stoa_actor *actor)
{
    actor->flags &= (uint8_t)~STOA_ACTOR_FRESH;
    if (!actor->kind->start || !stoa_turn_first(core, actor)) { return; }
    stoa_actor_fail(core, actor, "did not start");
}

void stoa_tree_restart_due(stoa_core *core, stoa_ref ref)
{
    stoa_actor *actor = stoa_core_actor(core, ref);
    if (!actor) { return; }
    actor->more->ending = 0;
    stoa_actor *supervisor = stoa_tree_parent(core, actor);
    if (supervisor && supervisor->more->family.rebuild) {
        work(core, supervisor);
    } else {
        restart(core, actor);
    }
}

void stoa_tree_kill_due(stoa_core *core, stoa_ref ref)
{
    stoa_actor *actor = stoa_core_actor(core, ref);
    if (!actor) { return; }
    actor->more->ending = 0;
    stoa_fate fate = {.text = "did not end in time", .why = stoa_end_KILLED, .kill = true};
    log_end(core, actor, "actor_killed", &fate);
    stoa_tree_stop(core, actor, fate);
}

/* --- a dropped shard, an undone cascade */

/* Of an event-sourced actor, which itself stays. */
static void kill_children(stoa_core *core, stoa_actor *actor, const char *why)
{
    stoa_fate fate = {.text = why, .why = stoa_end_KILLED, .stays_away = true, .kill = true};
    while (actor->more && actor->more->family.count) {
        stoa_tree_stop(core, stoa_tree_at(core, actor->more->family.youngest), fate);
        while (core->unfinished.at) { stoa_tree_continue(core); }
    }
}

void stoa_tree_renew(stoa_core *core, stoa_actor *actor, const char *why)
{
    stoa_fate fate = {.text = why, .why = stoa_end_FAILED};
    kill_children(core, actor, fate.text);
    if (actor->more) {
        timer_clear(core, actor);
        stoa_links_release(core, actor, &fate, true);
        stoa_held_release(core, actor);
    }
    core->restarts++;
    actor->restarts++;
    actor->flags &= (uint8_t)~(STOA_ACTOR_DOWN | STOA_ACTOR_ENDING | STOA_ACTOR_CLOSING);
}

/* An undo is nobody's failure and takes no token. */
bool stoa_tree_undone(stoa_core *core, stoa_actor *actor, bool late, const char *why)
{
    bool failed = actor->flags & STOA_ACTOR_DOWN; /* in that cascade, or before */
    if (failed && ((actor->flags & STOA_ACTOR_ENDING) || actor->more->ending)) { return false; }
    stoa_tree_renew(core, actor, why);
    uint64_t after_ns = late && !failed ? delay_ns(core, actor->more, &ROOT) : 0;
    if (!after_ns || !timer_set(core, actor, STOA_TIMER_RESTART, after_ns)) { return true; }
    actor->flags |= STOA_ACTOR_DOWN;
    return false;
}

/* --- the end of the node */

void stoa_tree_shutdown(stoa_core *core)
{
    if (core->shutting_down) { return; }
    core->shutting_down = true;
    core->root.cursor = core->root.youngest;
    work(core, next_of_root(core));
}

bool stoa_tree_ended(stoa_core *core)
{
    return core->shutting_down && !core->root.cursor && !core->unfinished.at;
}

void stoa_tree_kill_all(stoa_core *core)
{
    stoa_fate fate = {.text = "the node ended first", .why = stoa_end_KILLED, .stays_away = true, .kill = true};
    bool was_told = core->shutting_down; /* otherwise nobody expected anything else */
    core->shutting_down = true;
    core->root.cursor = 0;
    for (uint32_t at = core->root.youngest; at;) {
        stoa_actor *actor = stoa_tree_at(core, at);
        uint32_t older = actor->elder;
        if (!actor->shard) {
            if (was_told) { log_end(core, actor, "actor_killed", &fate); }
            stoa_tree_stop(core, actor, fate);
            while (core->unfinished.at) { stoa_tree_continue(core); }
        } else {
            kill_children(core, actor, fate.text);
        }
        at = older;
    }
}
