/* supervise.c - one_for_one: a failed actor is started anew, alone, under the same reference.
 *
 * The first restart is immediate; each further failure within 10 s doubles the delay from 1 ms to 1 s. Restarts of a core draw
 * on a token bucket (100, refilled by 10 a second); when it is empty the failure escalates to the node.
 *
 * A plain actor begins with a zeroed state and start(). The state of an event-sourced actor is the fold of its committed and
 * applied events, which the failed turn never touched: it stays, and resume() runs again.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "runtime/internal.h"
#include "runtime/shard.h"

enum { TOKENS_MAX = 100, TOKENS_PER_S = 10, BACKOFF_MAX_MS = 1000 };

static bool take_token(stoa_core *core)
{
    uint64_t refill = (core->now_ns - core->restart_refill_ns) / (STOA_S(1) / TOKENS_PER_S);
    if (refill) {
        uint64_t tokens = core->restart_tokens + refill;
        core->restart_tokens = (uint32_t)(tokens < TOKENS_MAX ? tokens : TOKENS_MAX);
        core->restart_refill_ns = core->now_ns;
    }
    if (!core->restart_tokens) { return false; }
    core->restart_tokens--;
    return true;
}

static void escalate(stoa_core *core, const char *reason)
{
    stoa_options *options = &core->place.node->options;
    if (options->escalate) {
        options->escalate(options->context, reason);
        return;
    }
    stoa_log(STOA_LOG_ERROR, "node_exit", STOA_KV("reason", reason));
    abort();
}

/* NULL: no memory for it, then each failure is as the first. */
static stoa_actor_more *more_of(stoa_actor *actor)
{
    if (!actor->more) { actor->more = calloc(1, sizeof *actor->more); }
    return actor->more;
}

static uint32_t next_delay_ms(const stoa_core *core, stoa_actor *actor)
{
    stoa_actor_more *more = more_of(actor);
    if (!more) { return 0; }
    if (core->now_ns - more->failed_ns > STOA_S(10)) { more->backoff_ms = 0; }
    more->failed_ns = core->now_ns;
    uint32_t delay_ms = more->backoff_ms;
    more->backoff_ms = delay_ms == 0 ? 1 : delay_ms * 2 < BACKOFF_MAX_MS ? delay_ms * 2 : BACKOFF_MAX_MS;
    return delay_ms;
}

void stoa_actor_fail(stoa_core *core, stoa_actor *actor, const char *reason)
{
    stoa_log(STOA_LOG_WARN, "actor_failed", STOA_KV("actor", stoa_actor_name(actor)), STOA_KV("reason", reason),
             STOA_KU("restarts", actor->restarts));
    struct stoa_sim *sim = core->place.node->options.sim;
    if (sim) { stoa_sim_failed(sim, core, actor, reason); }
    actor->flags |= STOA_ACTOR_DOWN;
    if (actor->shard) {
        stoa_shard_disown(actor->shard, actor);
    } else {
        stoa_mailbox_refuse(core, actor, STOA_E_FAILED);
    }
    if (!take_token(core)) {
        escalate(core, reason);
        return;
    }
    uint32_t delay_ms = next_delay_ms(core, actor);
    uint64_t timer;
    void *what = (void *)(uintptr_t)stoa_actor_ref(core, actor).at;
    if (delay_ms == 0 || stoa_wheel_new(&core->wheel, STOA_TIMER_RESTART, what, &timer)) {
        stoa_actor_restart(core, actor);
    } else {
        stoa_wheel_start(&core->wheel, timer, core->now_ns + STOA_MS(delay_ms));
    }
}

void stoa_actor_restart(stoa_core *core, stoa_actor *actor)
{
    core->restarts++;
    actor->restarts++;
    actor->flags &= (uint8_t)~STOA_ACTOR_DOWN;
    if (actor->more && actor->more->subscribed) {
        stoa_topics_unsubscribe(core->place.node, NULL, stoa_actor_ref(core, actor));
    }
    if (!actor->kind->sourced) {
        if (actor->kind->stop) { actor->kind->stop(actor->state); }
        memset(actor->state, 0, actor->kind->state_bytes);
    }
    stoa_err err = stoa_turn_first(core, actor);
    if (err) { stoa_actor_fail(core, actor, "start failed again"); }
    if (!err && actor->shard) { stoa_core_enqueue(core, &actor->shard->run); }
}
