/* sim.h - the same kinds under a single-threaded scheduler with virtual time and a seed.
 *
 * A simulated node has cores, rings, mailboxes, timers, shards and walls like a real one; the simulator decides which
 * core runs next, when a ring is drained, how long a sync takes, and what goes wrong. Every decision comes from the seed
 * and goes into a hash: the same seed gives the same hash, in every build. stoa_call on a simulated node runs the
 * simulation until the answer is there.
 *
 *     stoa_sim *sim;  stoa_node *node;
 *     stoa_sim_new(&(stoa_sim_options){.seed = 7, .cores = 2, .kinds = kinds, .faults = stoa_sim_rough}, &sim, &node);
 *     stoa_shard_open(node, &(stoa_shard_options){.name = "s", .durability = stoa_durability_DISK,
 *                     .journal = &stoa_journal_sim, .path = "sim:s"}, &shard);   (storage/sim/journal.h)
 *     ... stoa_spawn, K_call_x, stoa_sim_run(sim, STOA_S(5)) ...
 *     if (stoa_sim_dead(sim)) ...    an injected fault ended the process: nothing moves any more
 *     stoa_sim_crash(sim, &node)     the process dies: memory is gone, disks remain; open the shards on the new node
 *     stoa_sim_free(sim)
 *
 * Faults come by chance (stoa_sim_plan), so many of a million occasions, or by order (stoa_sim_inject): at the nth
 * occasion, at a named actor or shard, at a time. Both are seeded and folded into the hash. Authors of actors use
 * runtime/kit.h, which stands on this.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef STOA_RUNTIME_SIM_H
#define STOA_RUNTIME_SIM_H

#include <stdio.h>

#include "base/api.h"
#include "runtime/node.h"

STOA_API_BEGIN

typedef struct stoa_sim stoa_sim;

/* What can be made to go wrong: FAULT(constant, name, occasion, how long at most by default, what happens). A fault
 * that lasts does so for a random time up to the plan's longest_ns. */
#define STOA_SIM_FAULTS(FAULT)                                                                                         \
    FAULT(TURN_LOST, "turn-lost", TURN, 0, "the actor fails in place of a turn: its message is refused with FAILED")   \
    FAULT(TURN_LAST, "turn-last", TURN, 0, "the actor fails behind a turn that took effect")                           \
    FAULT(DISK_SLOW, "disk-slow", APPEND, STOA_MS(300), "an append takes longer")                                      \
    FAULT(DISK_FULL, "disk-full", APPEND, STOA_MS(800), "appends answer FULL for a while, a part was written; so do syncs") \
    FAULT(DISK_BROKEN, "disk-broken", APPEND, 0, "an append fails with IO, part of it was written: the process dies")  \
    FAULT(DISK_REFUSES, "disk-refuses", APPEND, 0,                                                                     \
          "the log does not take an append, part of it was written: the shard is dropped and rebuilt")                 \
    FAULT(TIMERS_LATE, "timers-late", STEP, STOA_MS(50), "the timers of one core do not fire for a while, then late")  \
    FAULT(RING_HELD, "ring-held", STEP, STOA_MS(20), "what one core sent another is not taken for a while")            \
    FAULT(CORE_STALLED, "core-stalled", STEP, STOA_MS(20), "one core does nothing for a while, then gets all at once") \
    FAULT(MEMORY_OUT, "memory-out", STEP, STOA_MS(10), "one core's quota of memory is used up for a while")            \
    FAULT(KILLED, "killed", STEP, 0, "the process dies")

#define STOA_SIM_FAULT_NAME_(constant, name, occasion, longest, doc) STOA_SIM_##constant,
typedef enum stoa_sim_fault { STOA_SIM_FAULTS(STOA_SIM_FAULT_NAME_) STOA_SIM_FAULT_COUNT } stoa_sim_fault;
/* "turn-lost" and what it means; static strings. */
const char *stoa_sim_fault_name(stoa_sim_fault fault);
const char *stoa_sim_fault_doc(stoa_sim_fault fault);

/* How often each fault happens by chance. All zero: never. */
typedef struct stoa_sim_plan {
    uint32_t per_million[STOA_SIM_FAULT_COUNT]; /* of its occasions: turns, appends or steps */
    uint64_t longest_ns[STOA_SIM_FAULT_COUNT];  /* 0: as in the table */
} stoa_sim_plan;
/* Everything goes wrong now and then, but nothing ends the process. */
extern const stoa_sim_plan stoa_sim_rough;

/* One fault by order. */
typedef struct stoa_sim_injection {
    stoa_sim_fault fault;
    const char *at;    /* turns: the actor's name, appends: the shard's, as a glob pattern; NULL: any */
    uint32_t core;     /* steps: the core, for a held ring the one that does not get; else unused */
    uint64_t skip;     /* so many matching occasions pass unharmed first */
    uint64_t after_ns; /* and so much time from now on */
    uint64_t for_ns;   /* how long it lasts; 0: the table's time */
} stoa_sim_injection;

/* What happened, for who watches: the trace, the test kit, tests that keep books. Valid during the call. */
typedef enum stoa_sim_what {
    STOA_SIM_BATCH,       /* a core ran: count messages so far */
    STOA_SIM_TURN,        /* a turn ended: name, row, payload, to, from, err; of an answer: answer, token, answer_err */
    STOA_SIM_FAILED,      /* an actor failed: name, text the reason */
    STOA_SIM_DEAD_LETTER, /* row, payload, to, from, err why; name where known */
    STOA_SIM_APPENDED,    /* the disk of shard name took its blocks: count so far, err */
    STOA_SIM_FOLLOWED,    /* the follower of shard name took a step: text its phase, count the position it has */
    STOA_SIM_FAULTED,     /* fault at name or core, for_ns */
    STOA_SIM_DIED,        /* the process ended: text why */
    STOA_SIM_BEGAN,       /* a fresh process */
} stoa_sim_what;
typedef struct stoa_sim_event {
    stoa_sim_what what;
    uint64_t now_ns;
    uint32_t core;
    const char *name, *text;
    stoa_ref to, from;
    const stoa_row *row; /* may be NULL */
    const void *payload; /* may be NULL */
    stoa_err err, answer_err;
    bool answer;
    uint64_t token;
    stoa_sim_fault fault;
    uint64_t count, for_ns;
} stoa_sim_event;
typedef void (*stoa_sim_observer)(void *context, const stoa_sim_event *event);
/* One readable line. */
void stoa_sim_print(FILE *out, const stoa_sim_event *event);

typedef struct stoa_sim_options {
    uint64_t seed;
    uint32_t cores; /* 0 means 1; at most STOA_CORES_MAX */
    const stoa_kind *const *kinds;
    uint64_t sync_ns_min, sync_ns_max; /* how long a durable append takes; 0, 0 means 100 us .. 4 ms */
    uint64_t memory_bytes;             /* per core; 0 means 256 MiB */
    uint64_t snapshot_events, snapshot_ns; /* as stoa_options'; 0, 0: no follower */
    uint32_t snapshot_keep;
    stoa_sim_plan faults;
    stoa_sim_observer observe; /* or NULL; must not touch the simulation */
    void *context;
    FILE *trace; /* or NULL: where to print every decision */
} stoa_sim_options;

/* Errors: INVALID, NOMEM. */
stoa_err stoa_sim_new(const stoa_sim_options *options, stoa_sim **out, stoa_node **node_out);
void stoa_sim_free(stoa_sim *sim);

/* One decision. Returns false when nothing can happen without time going on, or when the process is dead. */
bool stoa_sim_step(stoa_sim *sim);
/* Run for so much virtual time; time jumps from event to event. */
void stoa_sim_run(stoa_sim *sim, uint64_t for_ns);
/* Run until nothing is left to do but waiting for timers further than 1 s away; at most limit steps. A dead process is
 * at rest. Errors: TIMEOUT. */
stoa_err stoa_sim_settle(stoa_sim *sim, uint64_t limit);

uint64_t stoa_sim_now(stoa_sim *sim);
/* A number of the simulation's own stream, for a test's choices. */
uint64_t stoa_sim_random(stoa_sim *sim);
/* All decisions so far, folded. */
uint64_t stoa_sim_hash(stoa_sim *sim);
/* Fold in something of the test's own. */
void stoa_sim_fold(stoa_sim *sim, uint64_t what);

/* From now on faults come by this plan; NULL: no more by chance, and those under way end. */
void stoa_sim_faults(stoa_sim *sim, const stoa_sim_plan *plan);
/* Order one fault. Errors: FULL (64 are waiting), INVALID. */
stoa_err stoa_sim_inject(stoa_sim *sim, const stoa_sim_injection *injection);
/* Faults so far, of a class. */
uint64_t stoa_sim_faulted(stoa_sim *sim, stoa_sim_fault fault);
/* The actor fails now, between two turns. reason: a static string. Errors: CLOSED. */
stoa_err stoa_sim_fail(stoa_sim *sim, stoa_ref actor, const char *reason);
/* The state of an actor, NULL when there is none; valid until the simulation goes on. */
const void *stoa_sim_state(stoa_sim *sim, stoa_ref actor, const stoa_kind **kind_out);

/* Why the process is dead (a broken disk, an escalated failure, killed); NULL: it lives. */
const char *stoa_sim_dead(stoa_sim *sim);
/* Kill the node without any goodbye and start a fresh, empty one on the same virtual time and random stream. */
stoa_err stoa_sim_crash(stoa_sim *sim, stoa_node **node_out);

STOA_API_END

#endif
