/* internal.h - the node: its places, names and topics. Internal to runtime/.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef STOA_RUNTIME_INTERNAL_H
#define STOA_RUNTIME_INTERNAL_H

#include <pthread.h>
#include <stdatomic.h>

#include "base/clock.h"
#include "runtime/core.h"
#include "runtime/cpus.h"
#include "runtime/distant.h"
#include "runtime/effects.h"
#include "runtime/node.h"
#include "runtime/place.h"
#include "runtime/topic.h"

/* Names "kind/key" of this node. */
typedef struct stoa_names {
    pthread_mutex_t lock;
    stoa_chains chains;
    _Atomic uint64_t changes;
    stoa_place *watcher; /* under the lock: rung at each change; NULL: nobody */
    uint32_t kept;       /* under the lock: names of absent actors, and of those that will be */
    char awaited[STOA_ABSENT_NODES_BYTES];   /* under the lock, as the next */
    const stoa_kind *const *awaited_kinds;
} stoa_names;
stoa_err stoa_names_init(stoa_names *names);
void stoa_names_deinit(stoa_names *names);
/* Errors: EXISTS, NOMEM. */
stoa_err stoa_names_add(stoa_names *names, const char *text, stoa_ref ref);
void stoa_names_remove(stoa_names *names, const char *text);
/* From now on a name that is there is ref's. */
void stoa_names_move(stoa_names *names, const char *text, stoa_ref ref);
stoa_ref stoa_names_find(stoa_names *names, const char *text);
/* Whether name is "<kind's name>/<key>" and not too long: INVALID. */
stoa_err stoa_name_check(const stoa_kind *kind, const char *name);
/* Whether ref has a name; text has room for STOA_NAME_MAX bytes and a NUL. Looks through all of them. */
bool stoa_names_of(stoa_names *names, stoa_ref ref, char *text);

struct stoa_port {
    stoa_place place; /* first */
    stoa_asks asks;
    uint32_t generation; /* of its references; counts the ports that were in this place */
    bool parted;         /* under node->lock: closed, and all cores know */
    char name[STOA_NAME_MAX + 1];
    uint64_t command_base;
    stoa_port_handler handler; /* of the poll under way */
    void *context;
    uint32_t polled;
    uint64_t due_ns; /* no ask is due before */
    uint32_t mark_left; /* messages until one is marked */
};

struct stoa_node {
    stoa_options options;
    stoa_clock *clock;
    stoa_cpus cpus;
    stoa_core *cores[STOA_CORES_MAX];
    stoa_port *ports[STOA_PORTS_MAX]; /* closed ones stay, for the next: blocks may be on their way home */
    uint32_t core_count;
    _Atomic uint32_t port_count;
    stoa_names names;
    stoa_topics_table topics;
    struct stoa_shard *shards[64];
    uint32_t shard_count;
    _Atomic uint32_t shards_open; /* ever */
    stoa_distant *distants; /* of other nodes (distant.c) */
    struct stoa_distant_actor *distant_actors;
    struct stoa_distant_node *distant_nodes;
    _Atomic uint32_t distant_news; /* changes of what is known of them */
    struct stoa_shard *own; /* options.journal's; NULL: none */
    pthread_mutex_t lock; /* opening of ports and shards, errands */
    pthread_mutex_t move_lock; /* one move at a time */
    pthread_cond_t errand_done;
    pthread_mutex_t errand_lock;
    stoa_server servers[STOA_SERVERS_MAX]; /* of outside effects */
    stoa_port *front; /* for stoa_call and stoa_post */
    pthread_mutex_t front_lock;
    struct stoa_call_wait *waiting; /* under front_lock */
    _Atomic uint64_t port_lost[STOA_DROP_COUNT]; /* what reached a port, and nobody there */
    _Atomic bool draining;
    struct {
        _Atomic bool armed;    /* a root is waited for */
        _Atomic uint64_t last;    /* trace */
        _Atomic uint64_t awaited; /* that of the root that was waited for; 0: not yet */
    } tracing;
    _Atomic uint64_t committed_ns; /* commit time of the latest block of any shard */
    stoa_flight *flight; /* NULL: none */
    stoa_watch *watch;   /* NULL: none */
    struct stoa_follower *follower; /* NULL: none */
    struct stoa_warden *warden; /* of isolates' processes; NULL: there was none (isolate/warden.h) */
};

/* Count what was lost at a port. Any thread. */
static inline void stoa_port_lost(stoa_node *node, stoa_drop reason)
{
    atomic_fetch_add_explicit(&node->port_lost[reason], 1, memory_order_relaxed);
}

static inline stoa_place *stoa_node_place(stoa_node *node, uint32_t index)
{
    if (index < node->core_count) { return &node->cores[index]->place; }
    return &node->ports[index - node->core_count]->place;
}
/* Whether nobody would read what is sent there. */
static inline bool stoa_place_closed(stoa_node *node, uint32_t index)
{
    return !atomic_load_explicit(&stoa_node_place(node, index)->serves, memory_order_relaxed);
}
/* The same of who was there when the reference was made; one of generation 0 means the place itself. */
static inline bool stoa_place_left(stoa_node *node, stoa_ref to)
{
    uint32_t index = stoa_ref_place(to), generation = stoa_ref_generation(to);
    if (index < node->core_count) { return false; }
    /* acquire: what the port is was written before */
    uint32_t serves = atomic_load_explicit(&stoa_node_place(node, index)->serves, memory_order_acquire);
    return !serves || (generation && generation != serves);
}
static inline uint32_t stoa_node_places(stoa_node *node)
{
    return node->core_count + atomic_load_explicit(&node->port_count, memory_order_acquire);
}

/* The name of the port that is meant, "" where it has closed. On a core: it keeps its name until the core has parted from it. */
const char *stoa_port_name(stoa_node *node, stoa_ref ref);

/* A record of the node itself into the flight recorder. Any thread but a core's. */
void stoa_node_note(stoa_node *node, stoa_flight_code code, const char *name, uint64_t a, uint64_t b);

/* Who calls what is for threads outside from within a turn is told what to use instead, and the process ends: a core that
 * waits for a core may wait for ever. */
void stoa_node_outside(const stoa_node *node, const char *instead);

/* now and by, or never where that is beyond the end of the clock. */
static inline uint64_t stoa_time_after(uint64_t now_ns, uint64_t by_ns)
{
    return by_ns < UINT64_MAX - now_ns ? now_ns + by_ns : UINT64_MAX;
}

const stoa_kind *stoa_node_kind(const stoa_node *node, const char *name);

/* The simulator (sim.c) stands in for threads: cores do not start, journals finish when it says so. */
void stoa_sim_submitted(struct stoa_sim *sim, struct stoa_shard *shard);
/* What the disk says to a sync of the shard's log, in its place. Errors: FULL. */
stoa_err stoa_sim_sync(struct stoa_sim *sim, struct stoa_shard *shard);
/* The disk can write no more: nothing is acknowledged, the process ends. */
void stoa_sim_journal_failed(struct stoa_sim *sim, struct stoa_shard *shard);
bool stoa_sim_step_for_call(struct stoa_sim *sim);
stoa_clock *stoa_sim_clock(struct stoa_sim *sim);
/* It watches turns, failures and dead letters, and may lose a turn or make it the actor's last. */
bool stoa_sim_loses_turn(struct stoa_sim *sim, const stoa_turning *turning);
void stoa_sim_turned(struct stoa_sim *sim, const stoa_turning *turning, const stoa_row *row, const void *payload,
                     bool is_answer, stoa_err err);
bool stoa_sim_last_turn(struct stoa_sim *sim, const stoa_core *core, const stoa_actor *actor);
void stoa_sim_failed(struct stoa_sim *sim, const stoa_core *core, const stoa_actor *actor, const char *reason);
void stoa_sim_dead_letter(struct stoa_sim *sim, const stoa_core *core, const stoa_dead_letter *letter, const void *payload);

#endif
