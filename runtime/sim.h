/* sim.h - the same kinds under a single-threaded scheduler with virtual time and a seed.
 *
 * A simulated node has cores, rings, mailboxes, timers, shards and walls like a real one; the simulator decides which core
 * runs next, when a ring is drained, how long a sync takes. Every decision comes from the seed and goes into a hash: the
 * same seed gives the same hash, in every build. stoa_call on a simulated node runs the simulation until the answer is there.
 *
 *     stoa_sim *sim;  stoa_node *node;
 *     stoa_sim_new(&(stoa_sim_options){.seed = 7, .cores = 2, .kinds = kinds}, &sim, &node);
 *     stoa_shard_open(node, &(stoa_shard_options){.name = "s", .durability = stoa_durability_DISK,
 *                     .journal = &stoa_journal_sim, .path = "sim:s"}, &shard);   (storage/sim/journal.h)
 *     ... stoa_spawn, K_call_x, stoa_sim_run(sim, STOA_S(5)) ...
 *     stoa_sim_crash(sim, &node)   the process dies: memory is gone, disks remain; open the shards again on the new node
 *     stoa_sim_free(sim)
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef STOA_RUNTIME_SIM_H
#define STOA_RUNTIME_SIM_H

#include "base/api.h"
#include "runtime/node.h"

STOA_API_BEGIN

typedef struct stoa_sim stoa_sim;

typedef struct stoa_sim_options {
    uint64_t seed;
    uint32_t cores; /* 0 means 1 */
    const stoa_kind *const *kinds;
    uint64_t sync_ns_min, sync_ns_max; /* how long a durable append takes; 0, 0 means 100 us .. 4 ms */
    uint64_t memory_bytes;
} stoa_sim_options;

stoa_err stoa_sim_new(const stoa_sim_options *options, stoa_sim **out, stoa_node **node_out);
void stoa_sim_free(stoa_sim *sim);

/* One decision. Returns false when nothing can happen without time going on. */
bool stoa_sim_step(stoa_sim *sim);
/* Run for so much virtual time; time jumps from event to event. */
void stoa_sim_run(stoa_sim *sim, uint64_t for_ns);
/* Run until nothing is left to do but waiting for timers further than 1 s away; at most limit steps. */
stoa_err stoa_sim_settle(stoa_sim *sim, uint64_t limit);

uint64_t stoa_sim_now(stoa_sim *sim);
uint64_t stoa_sim_random(stoa_sim *sim);
/* All decisions so far, folded. */
uint64_t stoa_sim_hash(stoa_sim *sim);

/* Kill the node without any goodbye and start a fresh, empty one on the same virtual time and random stream. */
stoa_err stoa_sim_crash(stoa_sim *sim, stoa_node **node_out);

STOA_API_END

#endif
