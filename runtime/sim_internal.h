/* sim_internal.h - what the simulator's files share: sim.c has the schedule, sim_fault.c the faults, sim_trace.c the
 * lines. Internal to runtime/.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef STOA_RUNTIME_SIM_INTERNAL_H
#define STOA_RUNTIME_SIM_INTERNAL_H

#include "base/random.h"
#include "runtime/internal.h"
#include "runtime/sim.h"

enum {
    STOA_SIM_ORDERS_MAX = 64,
    STOA_SIM_NAME_MAX = 128,
    STOA_SIM_SHARDS_MAX = STOA_COUNT_OF_(((stoa_node *)0)->shards),
};

/* A core as the faults left it. Times are virtual; 0: not so. */
typedef struct stoa_sim_core {
    uint64_t stalled_until, timers_from, memory_until;
    uint64_t not_before; /* its last batch found nothing that could be done: it waits for others */
    stoa_msg *hogged;    /* the free blocks, while its memory is out */
    bool called;         /* its memory came back, as blocks come home in a ring: it looks again */
    uint64_t held; /* bit per place whose ring is hidden */
    uint64_t held_until[STOA_PLACES_MAX];
} stoa_sim_core;

typedef struct stoa_sim_order {
    stoa_sim_injection what; /* at points to name, or is NULL */
    char name[STOA_NAME_MAX + 1];
    uint64_t from_ns;
} stoa_sim_order;

struct stoa_sim {
    stoa_sim_options options;
    stoa_clock_virtual clock;
    stoa_random random; /* the schedule's, and the test's */
    stoa_node *node;    /* NULL: none at the moment; nothing is watched then */
    uint64_t hash;
    char dead[STOA_SIM_NAME_MAX]; /* why; empty: it lives */

    /* sim_fault.c */
    stoa_random chance; /* of its own, so that a plan does not change the schedule's numbers */
    stoa_sim_plan plan;
    stoa_sim_order orders[STOA_SIM_ORDERS_MAX];
    uint32_t order_count;
    uint32_t armed; /* bit per fault that a plan or an order may bring */
    uint64_t faulted[STOA_SIM_FAULT_COUNT];
    uint64_t lift_ns; /* when the next of the faults under way ends; UINT64_MAX: none is */
    stoa_sim_core cores[STOA_CORES_MAX];
    uint64_t full_until[STOA_SIM_SHARDS_MAX];
};

/* sim.c */
void stoa_sim_emit(stoa_sim *sim, stoa_sim_event event);
void stoa_sim_die(stoa_sim *sim, const char *why, const char *name);

/* sim_fault.c: whether the fault strikes at this occasion, and for how long. name: of the actor or shard. */
bool stoa_sim_strikes(stoa_sim *sim, stoa_sim_fault fault, uint32_t core, const char *name, uint64_t *for_ns_out);
/* Once a step: begin faults of cores; end those whose time is over. alive: somebody has something to do. */
void stoa_sim_fault_step(stoa_sim *sim, bool alive);
void stoa_sim_lift(stoa_sim *sim, bool all);
/* When an order must be looked at though nothing happens; UINT64_MAX: never. */
uint64_t stoa_sim_orders_ns(const stoa_sim *sim);
void stoa_sim_fault_begin(stoa_sim *sim);

#endif
