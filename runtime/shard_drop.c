/* shard_drop.c - a shard that cannot commit is dropped and rebuilt from its log.
 *
 * When the journal refuses a block (a deposed epoch: STALE; a log that is not where this shard left it: INVALID), or when an
 * operator says so, what the shard applied and could not commit never was. Nobody outside has seen it: it stood behind the wall. So
 *
 *     1. what the log has is made durable, and what waited for that leaves
 *     2. all else that waits - behind the wall, in the inbox, requests under way - is answered UNAVAILABLE: asked again, under the
 *        same name where it has one, it takes effect once
 *     3. the incarnations of all its actors end: timers, asks, subscriptions, links, children
 *     4. states and ledger become zero, and the log is folded into them; references and names stay
 *     5. actors whose spawning was lost are spawned again; all resume
 *
 * While that fails (the log is of a later epoch, or broken) the shard is down: it refuses everything with UNAVAILABLE, until a
 * later drop succeeds. An I/O error still ends the process.
 *
 * On a full disk nothing can be made durable: an operator is told FULL, and nothing has changed. A shard that its journal has
 * refused goes down before it is rebuilt, and tries again until there is space; what waits behind the wall meanwhile hears
 * after that how it ended, for a part of it is in the log.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "runtime/channel.h"
#include "runtime/effects.h"
#include "runtime/internal.h"
#include "runtime/mailbox.h"
#include "runtime/once.h"
#include "runtime/shard.h"
#include "runtime/sparse.h"

enum { EXIT_JOURNAL = 70, FULL_RETRY_MS = 100 };

/* --- what waits */

static void end_process(const struct stoa_shard *shard, stoa_err err)
{
    stoa_log_never_wait(false); /* its last words */
    stoa_log_error("journal_failed", err);
    stoa_node_note(shard->node, STOA_FLIGHT_EXIT, "the journal failed", 0, 0);
    _exit(EXIT_JOURNAL);
}

static stoa_err sync_log(struct stoa_shard *shard)
{
    struct stoa_sim *sim = shard->node->options.sim;
    if (shard->durability <= stoa_durability_MEMORY) { return STOA_OK; }
    stoa_err err = sim ? stoa_sim_sync(sim, shard) : STOA_OK;
    return err ? err : shard->journal->ops->sync(shard->journal);
}

/* Blocks that were appended before the refusal are in the log already. Errors: FULL (the disk is, and nothing has changed), IO (the
 * simulated process is dead). */
static stoa_err settle_log(struct stoa_shard *shard)
{
    stoa_journal_state state;
    stoa_err err = sync_log(shard);
    if (err == STOA_E_FULL) { return err; }
    if (err && shard->node->options.sim) {
        stoa_sim_journal_failed(shard->node->options.sim, shard);
        return STOA_E_IO;
    }
    if (err) { end_process(shard, err); }
    shard->journal->ops->state(shard->journal, &state);
    shard->acks.disk = state.last;
    shard->committed = stoa_acks_committed(&shard->acks, shard->durability);
    return STOA_OK;
}

/* Answers become refusals; of what else would have left, only what undoes is still carried out. */
static void take_back(struct stoa_shard *shard, stoa_msg *msg)
{
    stoa_context *context = stoa_msg_context(msg);
    bool asks = !(msg->flags & (STOA_MSG_ANSWER | STOA_MSG_TOPIC | STOA_MSG_ACT)) && context->reply_to.at;
    if (msg->flags & STOA_MSG_ANSWER) {
        msg->row = NULL;
        context->error = (int32_t)STOA_E_UNAVAILABLE;
        stoa_shard_release(shard, msg);
    } else if (asks && !stoa_ref_equal(context->reply_to, msg->from)) { /* forwarded: the duty to answer is here */
        stoa_core_refuse(shard->core, msg, STOA_E_UNAVAILABLE);
    } else if (stoa_shard_carries(msg)) {
        stoa_shard_release(shard, msg);
    } else {
        if (msg->flags & STOA_MSG_TOPIC) { stoa_topic_landed(context->topic); }
        stoa_place_free(&shard->core->place, msg);
    }
}

static void refuse_list(struct stoa_shard *shard, stoa_msg_list *list)
{
    for (stoa_msg *msg; (msg = stoa_msg_list_pop(list));) {
        stoa_actor *actor = stoa_core_actor(shard->core, msg->to);
        if (actor) {
            stoa_mailbox_unkeep(actor, msg->flags);
            stoa_conflating_forget(actor, msg);
        }
        stoa_core_refuse(shard->core, msg, STOA_E_UNAVAILABLE);
    }
}

static void answer_all(struct stoa_shard *shard)
{
    stoa_msg_list wall = shard->wall;
    shard->wall = (stoa_msg_list){0};
    for (stoa_msg *msg; (msg = stoa_msg_list_pop(&wall));) { take_back(shard, msg); }
    (void)stoa_shard_release_unstamped(shard);
    stoa_once_drop(shard, STOA_E_UNAVAILABLE);
    for (stoa_msg *msg; (msg = stoa_msg_list_pop(&shard->rest));) { stoa_core_refuse(shard->core, msg, STOA_E_UNAVAILABLE); }
    refuse_list(shard, &shard->control);
    refuse_list(shard, &shard->inbox);
}

/* --- as if the process had ended */

static void empty_blocks(struct stoa_shard *shard)
{
    uint64_t number = shard->block_open;
    (void)pthread_mutex_lock(&shard->lock);
    for (unsigned i = 0; i < STOA_BLOCKS; i++) {
        shard->blocks[i].used_bytes = shard->blocks[i].count = shard->blocks[i].index_count = 0;
    }
    shard->block_done = number;
    atomic_store(&shard->durable_block, number);
    shard->block_submitted = number; /* the journal's thread is parked, or there is none */
    shard->sim_due_ns = 0;
    shard->blocks[number % STOA_BLOCKS].first = shard->applied + 1;
    (void)pthread_mutex_unlock(&shard->lock);
}

static void forget(struct stoa_shard *shard)
{
    for (uint32_t stream = 1; stream <= shard->actor_count; stream++) {
        stoa_tree_renew(shard->core, shard->actors[stream], "its shard was dropped");
        stoa_room_tell(shard->core, shard->actors[stream], STOA_OK);
        stoa_sparse_clear(shard->actors[stream]->state, shard->actors[stream]->kind->state_bytes);
    }
    stoa_sparse_clear(shard->ledger, stoa_shard_log_kind.state_bytes);
    memset(shard->seqs, 0, (shard->actor_count + 1) * sizeof *shard->seqs);
    shard->applied = 0;
}

/* Actors that the log does not know: they were promised to who spawned them. */
static void spawn_lost(struct stoa_shard *shard)
{
    for (uint32_t stream = (uint32_t)shard->ledger->streams + 1; stream <= shard->actor_count; stream++) {
        stoa_shard_note_spawned(shard, stream);
    }
}

static void resume_all(struct stoa_shard *shard)
{
    for (uint32_t stream = 1; stream <= shard->actor_count; stream++) {
        if (stoa_turn_first(shard->core, shard->actors[stream])) {
            stoa_log_error("resume_failed", STOA_E_FAILED);
            stoa_actor_fail(shard->core, shard->actors[stream], "cannot resume");
        }
    }
}

/* The log is settled; the journal's thread is parked. */
static stoa_err rebuild_all(struct stoa_shard *shard)
{
    stoa_core_note(shard->core, STOA_FLIGHT_RESTART, NULL, NULL, shard->name, shard->applied, shard->committed);
    stoa_shard_release_committed(shard);
    uint64_t lost = shard->applied - shard->acks.disk;
    shard->drop_again_ns = 0;
    shard->down = true; /* nothing of what follows may come back to it */
    answer_all(shard);
    forget(shard);
    stoa_err err = stoa_shard_recover(shard);
    empty_blocks(shard);
    shard->drops++;
    if (err) { return err; }
    shard->down = false;
    shard->stalled = false;
    stoa_channels_dropped(shard);
    stoa_effects_dropped(shard);
    spawn_lost(shard);
    resume_all(shard);
    stoa_channels_connect(shard);
    stoa_log(STOA_LOG_WARN, "shard_rebuilt", STOA_KV("shard", shard->name), STOA_KU("position", shard->recovered),
             STOA_KU("lost", lost), STOA_KU("took_us", shard->recovery_ns / 1000));
    stoa_core_enqueue(shard->core, &shard->run);
    return STOA_OK;
}

/* --- by the journal */

/* The disk is full: the journal's thread stays parked, and the shard serves nobody. */
static void wait_for_space(struct stoa_shard *shard, stoa_err err)
{
    if (!shard->drop_again_ns) {
        stoa_log_error("shard_waits_for_space", err);
        shard->down = true;
        shard->sim_due_ns = 0;
        refuse_list(shard, &shard->control);
        refuse_list(shard, &shard->inbox);
    }
    shard->drop_again_ns = shard->core->now_ns + STOA_MS(FULL_RETRY_MS);
}

bool stoa_shard_drop_refused(struct stoa_shard *shard)
{
    stoa_err why = (stoa_err)atomic_load_explicit(&shard->refused, memory_order_acquire);
    if (!why || shard->core->now_ns < shard->drop_again_ns) { return false; }
    if (!stoa_shard_commit_park(shard)) { return false; } /* the node is ending */
    if (!shard->drop_again_ns) {
        stoa_log(STOA_LOG_ERROR, "shard_dropped", STOA_KV("shard", shard->name), STOA_KV("error", stoa_err_name(why)));
    }
    stoa_err err = settle_log(shard);
    if (err == STOA_E_FULL) {
        wait_for_space(shard, err);
        return true;
    }
    if (!err) { err = rebuild_all(shard); }
    if (err) { stoa_log_error("shard_down", err); }
    stoa_shard_commit_unpark(shard);
    return true;
}

/* --- by an operator */

typedef struct dropping {
    struct stoa_shard *shard;
    uint64_t epoch;
    stoa_err err;
    char trail[512];
} dropping;

/* The journal's thread is parked. Whether the journal had refused a block meanwhile, and still waits for its drop. */
static bool drop_parked(dropping *d)
{
    struct stoa_shard *shard = d->shard;
    d->err = settle_log(shard);
    if (d->err == STOA_E_FULL) { return atomic_load(&shard->refused) != 0; }
    if (d->err) { return false; }
    if (d->epoch) { shard->epoch = d->epoch; }
    shard->leased = shard->leased || d->epoch;
    d->err = rebuild_all(shard);
    return false;
}

static void drop_on_core(stoa_core *core, void *context)
{
    dropping *d = context;
    (void)core;
    if (!stoa_shard_commit_park(d->shard)) {
        d->err = STOA_FAIL(STOA_E_UNAVAILABLE, "the node is ending");
    } else if (!drop_parked(d)) {
        stoa_shard_commit_unpark(d->shard);
    }
    if (d->err) { (void)snprintf(d->trail, sizeof d->trail, "%s", stoa_err_trail()); }
}

stoa_err stoa_shard_drop(stoa_shard *shard, uint64_t epoch)
{
    if (!shard->journal) { return STOA_FAIL(STOA_E_UNSUPPORTED, "shard %s has no journal to come back from", shard->name); }
    dropping d = {.shard = shard, .epoch = epoch};
    stoa_core_do(shard->core, drop_on_core, &d);
    return d.err ? STOA_FAIL(d.err, "shard %s: %s", shard->name, d.trail) : STOA_OK;
}
