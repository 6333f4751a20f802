/* sim.c - the simulator: one thread takes all the turns, in an order that a seed decides. See sim.h.
 *
 * A step is one of: run a batch of one core that has work; finish the appends of one shard whose disk is due; a step of the
 * follower of one shard; when there is none, let time jump to the next timer, disk or end of a fault. Each decision is folded into the hash. Faults are
 * sim_fault.c's.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "runtime/sim.h"

#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "runtime/follow.h"
#include "runtime/shard.h"
#include "runtime/sim_internal.h"

static const uint64_t WALL_AT_ZERO = UINT64_C(1767225600) * UINT64_C(1000000000); /* 2026-01-01T00:00:00Z */
static const uint64_t CHANCE_SEED = UINT64_C(0x5bd1e995a17f3c21);
enum { TIME_START_S = 1000, SETTLE_HORIZON_S = 1, FULL_RETRY_MS = 100, BLOCKED_US = 20 };

/* --- watching */

void stoa_sim_fold(stoa_sim *sim, uint64_t what)
{
    sim->hash = stoa_mix64(sim->hash ^ what) + sim->hash * 3;
}

void stoa_sim_emit(stoa_sim *sim, stoa_sim_event event)
{
    event.now_ns = sim->clock.now;
    if (sim->options.trace) { stoa_sim_print(sim->options.trace, &event); }
    if (sim->options.observe) { sim->options.observe(sim->options.context, &event); }
}

static void emit_batch(stoa_sim *sim, const stoa_core *core)
{
    stoa_sim_fold(sim, core->messages);
    stoa_sim_emit(sim, (stoa_sim_event){.what = STOA_SIM_BATCH, .core = core->place.index, .count = core->messages});
}

void stoa_sim_die(stoa_sim *sim, const char *why, const char *name)
{
    if (sim->dead[0]) { return; }
    (void)snprintf(sim->dead, sizeof sim->dead, "%s%s%s", name ? name : "", name ? ": " : "", why);
    stoa_sim_fold(sim, stoa_hash64(0, sim->dead, strlen(sim->dead)));
    stoa_sim_emit(sim, (stoa_sim_event){.what = STOA_SIM_DIED, .text = sim->dead});
}

const char *stoa_sim_dead(stoa_sim *sim)
{
    return sim->dead[0] ? sim->dead : NULL;
}

/* --- what the runtime tells: only while a node is there, not while it is taken apart */

bool stoa_sim_loses_turn(stoa_sim *sim, const stoa_turning *turning)
{
    uint64_t for_ns;
    uint32_t core = turning->core->place.index;
    return sim->node && stoa_sim_strikes(sim, STOA_SIM_TURN_LOST, core, stoa_actor_name(turning->actor), &for_ns);
}

void stoa_sim_turned(stoa_sim *sim, const stoa_turning *turning, const stoa_row *row, const void *payload,
                     bool is_answer, stoa_err err)
{
    if (!sim->node) { return; }
    stoa_sim_fold(sim, (uint64_t)turning->core->place.index << 32 | stoa_actor_index(turning->actor));
    stoa_sim_fold(sim, (uint64_t)row->id << 32 | (uint32_t)err);
    stoa_sim_emit(sim, (stoa_sim_event){.what = STOA_SIM_TURN,
                                        .core = turning->core->place.index,
                                        .name = stoa_actor_name(turning->actor),
                                        .to = turning->turn.self,
                                        .from = turning->turn.from,
                                        .row = row,
                                        .payload = payload,
                                        .err = err,
                                        .answer = is_answer,
                                        .token = turning->turn.token,
                                        .answer_err = turning->turn.error});
}

bool stoa_sim_last_turn(stoa_sim *sim, const stoa_core *core, const stoa_actor *actor)
{
    uint64_t for_ns;
    return sim->node && stoa_sim_strikes(sim, STOA_SIM_TURN_LAST, core->place.index, stoa_actor_name(actor), &for_ns);
}

void stoa_sim_failed(stoa_sim *sim, const stoa_core *core, const stoa_actor *actor, const char *reason)
{
    if (!sim->node) { return; }
    stoa_sim_fold(sim, UINT64_C(0xfe) << 56 | (uint64_t)core->place.index << 32 | stoa_actor_index(actor));
    stoa_sim_emit(sim, (stoa_sim_event){.what = STOA_SIM_FAILED,
                                        .core = core->place.index,
                                        .name = stoa_actor_name(actor),
                                        .to = actor->self,
                                        .text = reason});
}

void stoa_sim_dead_letter(stoa_sim *sim, const stoa_core *core, const stoa_dead_letter *letter, const void *payload)
{
    if (!sim->node) { return; }
    stoa_sim_fold(sim, UINT64_C(0xde) << 56 | letter->to.at);
    stoa_sim_emit(sim, (stoa_sim_event){.what = STOA_SIM_DEAD_LETTER,
                                        .core = core->place.index,
                                        .name = letter->name,
                                        .to = letter->to,
                                        .from = letter->from,
                                        .row = letter->row,
                                        .payload = payload,
                                        .err = letter->why});
}

static void escalated(void *context, const char *reason)
{
    stoa_sim_die(context, reason, "escalated");
}

/* --- life */

static stoa_err node_new(stoa_sim *sim)
{
    stoa_options options = {.cores = sim->options.cores,
                            .kinds = sim->options.kinds,
                            .memory_bytes = sim->options.memory_bytes,
                            .snapshot_events = sim->options.snapshot_events,
                            .snapshot_ns = sim->options.snapshot_ns,
                            .snapshot_keep = sim->options.snapshot_keep,
                            .seed = stoa_random_next(&sim->random) | 1,
                            .escalate = escalated,
                            .context = sim,
                            .sim = sim};
    stoa_node *node = NULL;
    stoa_err err = stoa_node_open(&options, &node);
    if (err) { return err; }
    sim->node = node;
    sim->dead[0] = '\0';
    stoa_sim_fault_begin(sim);
    stoa_sim_emit(sim, (stoa_sim_event){.what = STOA_SIM_BEGAN, .count = sim->options.seed});
    return STOA_OK;
}

/* Watch nothing of what closing does: it is no part of the simulated time. */
static void node_end(stoa_sim *sim)
{
    stoa_node *node = sim->node;
    if (node) { stoa_sim_lift(sim, true); }
    sim->node = NULL;
    stoa_node_close(node, 0);
}

stoa_err stoa_sim_new(const stoa_sim_options *options, stoa_sim **out, stoa_node **node_out)
{
    stoa_sim *sim = calloc(1, sizeof *sim);
    if (!sim) { return STOA_FAIL(STOA_E_NOMEM, "simulator"); }
    sim->options = *options;
    sim->plan = options->faults;
    if (!sim->options.sync_ns_max) {
        sim->options.sync_ns_min = STOA_US(100);
        sim->options.sync_ns_max = STOA_MS(4);
    }
    stoa_clock_virtual_init(&sim->clock, WALL_AT_ZERO);
    sim->clock.now = STOA_S(TIME_START_S);
    stoa_random_seed(&sim->random, options->seed);
    stoa_random_seed(&sim->chance, options->seed ^ CHANCE_SEED);
    stoa_err err = node_new(sim);
    if (err) {
        free(sim);
        return err;
    }
    *out = sim;
    *node_out = sim->node;
    return STOA_OK;
}

void stoa_sim_free(stoa_sim *sim)
{
    if (!sim) { return; }
    node_end(sim);
    free(sim);
}

stoa_err stoa_sim_crash(stoa_sim *sim, stoa_node **node_out)
{
    stoa_sim_fold(sim, UINT64_C(0xdead));
    node_end(sim);
    stoa_err err = node_new(sim);
    if (!err) { *node_out = sim->node; }
    return err;
}

stoa_clock *stoa_sim_clock(stoa_sim *sim)
{
    return &sim->clock.clock;
}

/* --- disks */

static uint32_t index_of(const stoa_sim *sim, const struct stoa_shard *shard)
{
    uint32_t index = 0;
    while (sim->node->shards[index] != shard) { index++; }
    return index;
}

void stoa_sim_submitted(stoa_sim *sim, struct stoa_shard *shard)
{
    uint64_t longer = 0;
    if (shard->sim_due_ns || !sim->node) { return; } /* the disk is busy: it takes these next */
    uint64_t range = sim->options.sync_ns_max - sim->options.sync_ns_min + 1;
    uint64_t takes = sim->options.sync_ns_min + stoa_random_below(&sim->random, range);
    (void)stoa_sim_strikes(sim, STOA_SIM_DISK_SLOW, shard->core->place.index, shard->name, &longer);
    shard->sim_due_ns = sim->clock.now + takes + longer;
}

void stoa_sim_journal_failed(stoa_sim *sim, struct stoa_shard *shard)
{
    shard->sim_due_ns = UINT64_MAX;
    stoa_sim_die(sim, "the journal failed", shard->name);
}

static void told(stoa_sim *sim, const struct stoa_shard *shard, stoa_err err)
{
    uint64_t count = atomic_load(&shard->durable_block);
    stoa_sim_fold(sim, count);
    stoa_sim_fold(sim, (uint64_t)(int64_t)err);
    stoa_sim_emit(sim, (stoa_sim_event){.what = STOA_SIM_APPENDED,
                                        .core = shard->core->place.index,
                                        .name = shard->name,
                                        .count = count,
                                        .err = err});
}

static bool is_full(const stoa_sim *sim, const struct stoa_shard *shard)
{
    return sim->clock.now < sim->full_until[index_of(sim, shard)];
}

static bool fills(stoa_sim *sim, struct stoa_shard *shard)
{
    uint64_t for_ns;
    if (!stoa_sim_strikes(sim, STOA_SIM_DISK_FULL, shard->core->place.index, shard->name, &for_ns)) { return false; }
    sim->full_until[index_of(sim, shard)] = sim->clock.now + for_ns;
    return true;
}

stoa_err stoa_sim_sync(stoa_sim *sim, struct stoa_shard *shard)
{
    bool full = is_full(sim, shard) || fills(sim, shard);
    return full ? STOA_FAIL(STOA_E_FULL, "the disk of %s is full", shard->name) : STOA_OK;
}

/* A fault in the disk's place: it takes some of the blocks, without a sync, and then says err. */
static stoa_err disk_fault(stoa_sim *sim, struct stoa_shard *shard, uint64_t from)
{
    uint32_t core = shard->core->place.index;
    uint64_t for_ns;
    stoa_err err = STOA_OK;
    if (fills(sim, shard)) {
        err = STOA_E_FULL;
    } else if (stoa_sim_strikes(sim, STOA_SIM_DISK_BROKEN, core, shard->name, &for_ns)) {
        err = STOA_E_IO;
    } else if (stoa_sim_strikes(sim, STOA_SIM_DISK_REFUSES, core, shard->name, &for_ns)) {
        err = STOA_E_STALE;
    }
    uint64_t missing = shard->block_submitted - from + (err == STOA_E_IO); /* a full disk never takes them all */
    uint64_t some = err && missing ? from + stoa_random_below(&sim->chance, missing) : from;
    return some > from && stoa_shard_append(shard, from, some, false) ? STOA_E_IO : err;
}

static void finish_append(stoa_sim *sim, struct stoa_shard *shard)
{
    uint64_t until = shard->block_submitted, from = stoa_shard_first_missing(shard);
    stoa_err err = is_full(sim, shard) ? STOA_E_FULL : disk_fault(sim, shard, from);
    if (!err) { err = stoa_shard_append(shard, from, until, shard->durability > stoa_durability_MEMORY); }
    if (err == STOA_E_FULL) {
        shard->sim_due_ns = sim->clock.now + STOA_MS(FULL_RETRY_MS);
    } else if (stoa_journal_refuses(err)) {
        shard->sim_due_ns = 0;
        atomic_store(&shard->refused, (int32_t)err);
    } else if (err) { /* nothing is acknowledged any more: the process ends, as shard_commit.c does it */
        stoa_sim_journal_failed(sim, shard);
    } else {
        shard->sim_due_ns = 0;
        stoa_shard_grown(shard, until);
    }
    told(sim, shard, err);
}

/* --- the schedule */

/* When a core can do something: 0 now, UINT64_MAX never by itself. */
static uint64_t ready_ns(const stoa_sim *sim, uint32_t index)
{
    stoa_core *core = sim->node->cores[index];
    const stoa_sim_core *at = &sim->cores[index];
    uint64_t due = 0;
    if (!at->called && !stoa_core_has_work(core)) {
        due = stoa_core_next_ns(core);
        if (due < at->timers_from) { due = at->timers_from; }
    }
    if (due < at->stalled_until) { due = at->stalled_until; }
    return due < at->not_before ? at->not_before : due;
}

/* Cores with work, shards with a disk that is due, and followers that are: who could go next. Shards are numbered behind the
 * cores, followers behind them. */
static uint32_t candidates(const stoa_sim *sim, uint32_t *at)
{
    const stoa_node *node = sim->node;
    uint32_t count = 0;
    for (uint32_t i = 0; i < node->core_count; i++) {
        if (ready_ns(sim, i) <= sim->clock.now) { at[count++] = i; }
    }
    for (uint32_t i = 0; i < node->shard_count; i++) {
        uint64_t due = node->shards[i]->sim_due_ns;
        if (due && due <= sim->clock.now) { at[count++] = STOA_CORES_MAX + i; }
        stoa_follow *follow = node->shards[i]->follow;
        if (follow && stoa_follow_due(follow, sim->clock.now)) { at[count++] = STOA_CORES_MAX + STOA_SIM_SHARDS_MAX + i; }
    }
    return count;
}

static void run_follow(stoa_sim *sim, const struct stoa_shard *shard)
{
    stoa_following_view view;
    stoa_follow_step(shard->follow, sim->clock.now);
    stoa_follow_look(shard->follow, &view);
    stoa_sim_fold(sim, view.followed);
    stoa_sim_fold(sim, view.snapshot + view.done);
    stoa_sim_emit(sim, (stoa_sim_event){.what = STOA_SIM_FOLLOWED,
                                        .core = shard->core->place.index,
                                        .name = shard->name,
                                        .text = view.phase,
                                        .count = view.followed});
}

static void run_core(stoa_sim *sim, uint32_t index)
{
    stoa_core *core = sim->node->cores[index];
    for (uint32_t i = 0; i < sim->node->core_count; i++) { sim->cores[i].not_before = 0; }
    sim->cores[index].called = false;
    if (!stoa_core_batch(core)) { sim->cores[index].not_before = sim->clock.now + STOA_US(BLOCKED_US); }
    stoa_reclaim_park(&sim->node->topics.reclaim, index);
    emit_batch(sim, core);
}

static bool step(stoa_sim *sim)
{
    uint32_t at[STOA_CORES_MAX + 2 * STOA_SIM_SHARDS_MAX];
    if (sim->dead[0]) { return false; }
    uint32_t count = candidates(sim, at);
    stoa_sim_fault_step(sim, count > 0);
    count = candidates(sim, at);
    if (count == 0 || sim->dead[0]) { return false; }
    uint32_t chosen = at[stoa_random_below(&sim->random, count)];
    sim->clock.now += 1 + stoa_random_below(&sim->random, 1000); /* work takes time */
    stoa_sim_fold(sim, chosen);
    stoa_sim_fold(sim, sim->clock.now);
    if (chosen >= STOA_CORES_MAX + STOA_SIM_SHARDS_MAX) {
        run_follow(sim, sim->node->shards[chosen - STOA_CORES_MAX - STOA_SIM_SHARDS_MAX]);
    } else if (chosen >= STOA_CORES_MAX) {
        finish_append(sim, sim->node->shards[chosen - STOA_CORES_MAX]);
    } else {
        run_core(sim, chosen);
    }
    return true;
}

static uint64_t earlier(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

static uint64_t next_event_ns(const stoa_sim *sim)
{
    const stoa_node *node = sim->node;
    if (sim->dead[0]) { return UINT64_MAX; }
    uint64_t next = earlier(sim->lift_ns, stoa_sim_orders_ns(sim));
    for (uint32_t i = 0; i < node->core_count; i++) { next = earlier(next, ready_ns(sim, i)); }
    for (uint32_t i = 0; i < node->shard_count; i++) {
        uint64_t due = node->shards[i]->sim_due_ns;
        if (due) { next = earlier(next, due); }
        if (node->shards[i]->follow) { next = earlier(next, stoa_follow_due_ns(node->shards[i]->follow)); }
    }
    return next;
}

/* Let time go on to the next event. */
static void jump(stoa_sim *sim, uint64_t next)
{
    if (next > sim->clock.now) { sim->clock.now = next; }
}

bool stoa_sim_step(stoa_sim *sim)
{
    return step(sim);
}

bool stoa_sim_step_for_call(stoa_sim *sim)
{
    if (step(sim)) { return true; }
    uint64_t next = next_event_ns(sim);
    if (next == UINT64_MAX) { return false; }
    jump(sim, next);
    return true;
}

void stoa_sim_run(stoa_sim *sim, uint64_t for_ns)
{
    uint64_t until = sim->clock.now + for_ns;
    while (sim->clock.now < until) {
        if (step(sim)) { continue; }
        uint64_t next = next_event_ns(sim);
        if (next > until) { break; }
        jump(sim, next);
    }
    jump(sim, until);
}

stoa_err stoa_sim_settle(stoa_sim *sim, uint64_t limit)
{
    uint64_t horizon = sim->clock.now + STOA_S(SETTLE_HORIZON_S);
    while (limit--) {
        if (step(sim)) { continue; }
        uint64_t next = next_event_ns(sim);
        if (next > horizon) { return STOA_OK; }
        jump(sim, next);
    }
    return STOA_FAIL(STOA_E_TIMEOUT, "the simulation does not come to rest");
}

uint64_t stoa_sim_now(stoa_sim *sim)
{
    return sim->clock.now;
}

uint64_t stoa_sim_random(stoa_sim *sim)
{
    return stoa_random_next(&sim->random);
}

uint64_t stoa_sim_hash(stoa_sim *sim)
{
    return sim->hash;
}
