/* sim.c - the simulator: one thread takes all the turns, in an order that a seed decides. See sim.h.
 *
 * A step is one of: run a batch of one core that has work; finish the appends of one shard whose disk is due; when there is
 * neither, let time jump to the next timer or disk. Each decision is folded into the hash.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "runtime/sim.h"

#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "base/random.h"
#include "runtime/internal.h"
#include "runtime/shard.h"

struct stoa_sim {
    stoa_sim_options options;
    stoa_clock_virtual clock;
    stoa_random random;
    stoa_node *node;
    uint64_t hash;
};

static const uint64_t WALL_AT_ZERO = UINT64_C(1767225600) * UINT64_C(1000000000); /* 2026-01-01T00:00:00Z */
enum { TIME_START_S = 1000, SETTLE_HORIZON_S = 1 };

static void fold(stoa_sim *sim, uint64_t what)
{
    sim->hash = stoa_mix64(sim->hash ^ what) + sim->hash * 3;
}

static stoa_err node_new(stoa_sim *sim)
{
    stoa_options options = {.cores = sim->options.cores,
                            .kinds = sim->options.kinds,
                            .memory_bytes = sim->options.memory_bytes,
                            .seed = stoa_random_next(&sim->random) | 1,
                            .sim = sim};
    return stoa_node_open(&options, &sim->node);
}

stoa_err stoa_sim_new(const stoa_sim_options *options, stoa_sim **out, stoa_node **node_out)
{
    stoa_sim *sim = calloc(1, sizeof *sim);
    if (!sim) { return STOA_FAIL(STOA_E_NOMEM, "simulator"); }
    sim->options = *options;
    if (!sim->options.sync_ns_max) {
        sim->options.sync_ns_min = STOA_US(100);
        sim->options.sync_ns_max = STOA_MS(4);
    }
    stoa_clock_virtual_init(&sim->clock, WALL_AT_ZERO);
    sim->clock.now = STOA_S(TIME_START_S);
    stoa_random_seed(&sim->random, options->seed);
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
    stoa_node_close(sim->node, 0);
    free(sim);
}

stoa_clock *stoa_sim_clock(stoa_sim *sim)
{
    return &sim->clock.clock;
}

void stoa_sim_submitted(stoa_sim *sim, struct stoa_shard *shard)
{
    if (shard->sim_due_ns) { return; } /* the disk is busy: it takes these next */
    uint64_t range = sim->options.sync_ns_max - sim->options.sync_ns_min + 1;
    shard->sim_due_ns = sim->clock.now + sim->options.sync_ns_min + stoa_random_below(&sim->random, range);
}

static void finish_append(stoa_sim *sim, struct stoa_shard *shard)
{
    uint64_t from = atomic_load(&shard->durable_block), until = shard->block_submitted;
    shard->sim_due_ns = 0;
    stoa_err err = stoa_shard_append(shard, from, until);
    if (err) {
        /* as a process does that dies of its disk: nothing is acknowledged any more */
        shard->sim_due_ns = UINT64_MAX;
        fold(sim, (uint64_t)(int64_t)err);
        return;
    }
    atomic_store(&shard->durable_block, until);
    fold(sim, until);
}

/* Cores with work and shards with a disk that is due: who could go next. */
static uint32_t candidates(stoa_sim *sim, uint32_t *at)
{
    stoa_node *node = sim->node;
    uint32_t count = 0;
    for (uint32_t i = 0; i < node->core_count; i++) {
        if (stoa_core_has_work(node->cores[i]) || stoa_core_next_ns(node->cores[i]) <= sim->clock.now) { at[count++] = i; }
    }
    for (uint32_t i = 0; i < node->shard_count; i++) {
        uint64_t due = node->shards[i]->sim_due_ns;
        if (due && due <= sim->clock.now) { at[count++] = STOA_CORES_MAX + i; }
    }
    return count;
}

static bool step(stoa_sim *sim)
{
    uint32_t at[STOA_CORES_MAX + 64];
    uint32_t count = candidates(sim, at);
    if (count == 0) { return false; }
    uint32_t chosen = at[stoa_random_below(&sim->random, count)];
    sim->clock.now += 1 + stoa_random_below(&sim->random, 1000); /* work takes time */
    fold(sim, chosen);
    fold(sim, sim->clock.now);
    if (chosen >= STOA_CORES_MAX) {
        finish_append(sim, sim->node->shards[chosen - STOA_CORES_MAX]);
    } else {
        stoa_core *core = sim->node->cores[chosen];
        (void)stoa_core_batch(core);
        fold(sim, core->messages);
    }
    return true;
}

static uint64_t next_event_ns(stoa_sim *sim)
{
    stoa_node *node = sim->node;
    uint64_t next = UINT64_MAX;
    for (uint32_t i = 0; i < node->core_count; i++) {
        uint64_t due = stoa_core_next_ns(node->cores[i]);
        if (due < next) { next = due; }
    }
    for (uint32_t i = 0; i < node->shard_count; i++) {
        uint64_t due = node->shards[i]->sim_due_ns;
        if (due && due < next) { next = due; }
    }
    return next;
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
    if (next > sim->clock.now) { sim->clock.now = next; }
    return true;
}

void stoa_sim_run(stoa_sim *sim, uint64_t for_ns)
{
    uint64_t until = sim->clock.now + for_ns;
    while (sim->clock.now < until) {
        if (step(sim)) { continue; }
        uint64_t next = next_event_ns(sim);
        if (next > until) { break; }
        if (next > sim->clock.now) { sim->clock.now = next; }
    }
    if (sim->clock.now < until) { sim->clock.now = until; }
}

stoa_err stoa_sim_settle(stoa_sim *sim, uint64_t limit)
{
    uint64_t horizon = sim->clock.now + STOA_S(SETTLE_HORIZON_S);
    while (limit--) {
        if (step(sim)) { continue; }
        uint64_t next = next_event_ns(sim);
        if (next > horizon) { return STOA_OK; }
        if (next > sim->clock.now) { sim->clock.now = next; }
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

stoa_err stoa_sim_crash(stoa_sim *sim, stoa_node **node_out)
{
    fold(sim, UINT64_C(0xdead));
    stoa_node_close(sim->node, 0);
    sim->node = NULL;
    stoa_err err = node_new(sim);
    if (!err) { *node_out = sim->node; }
    return err;
}
