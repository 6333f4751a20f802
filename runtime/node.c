/* node.c - opening and closing of nodes, spawning. See node.h; shard_open.c opens shards.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "runtime/node.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/log.h"
#include "base/random.h"
#include "runtime/distant_internal.h"
#include "runtime/follow.h"
#include "runtime/internal.h"
#include "runtime/isolate/warden.h"
#include "runtime/move.h"
#include "runtime/shard.h"

/* --- life */

static void node_free(stoa_node *node)
{
    for (uint32_t i = 0; i < node->shard_count; i++) { stoa_shard_commit_stop(node->shards[i]); }
    for (uint32_t i = 0; i < node->core_count; i++) {
        if (node->cores[i]) { stoa_core_end_actors(node->cores[i]); }
    }
    stoa_warden_close(node->warden); /* whose children they have released */
    for (uint32_t i = 0; i < node->core_count; i++) {
        if (!node->cores[i]) { continue; }
        stoa_core_deinit(node->cores[i]);
        free(node->cores[i]);
    }
    for (uint32_t i = 0; i < atomic_load(&node->port_count); i++) {
        stoa_asks_deinit(&node->ports[i]->asks);
        stoa_place_deinit(&node->ports[i]->place);
        free(node->ports[i]);
    }
    for (uint32_t i = 0; i < node->shard_count; i++) { free(node->shards[i]); }
    stoa_distants_free(node);
    stoa_topics_deinit(&node->topics);
    stoa_names_deinit(&node->names);
    (void)pthread_mutex_destroy(&node->lock);
    (void)pthread_mutex_destroy(&node->move_lock);
    (void)pthread_mutex_destroy(&node->errand_lock);
    (void)pthread_mutex_destroy(&node->front_lock);
    (void)pthread_cond_destroy(&node->errand_done);
    stoa_fatal_close(node);
    stoa_flight_close(node->flight);
    free((void *)(uintptr_t)node->options.kinds); /* our copy */
    free(node);
}

void stoa_node_note(stoa_node *node, stoa_flight_code code, const char *name, uint64_t a, uint64_t b)
{
    stoa_flight_note note = {.code = code, .core = STOA_FLIGHT_NO_CORE, .name = name, .a = a, .b = b};
    stoa_flight_put_shared(node->flight, node->clock->wall_ns(node->clock), &note, NULL);
}

static stoa_err record_flight(stoa_node *node)
{
    enum { BYTES = 1 << 20 };
    const stoa_options *o = &node->options;
    stoa_flight_options options = {.path = o->flight_path,
                                   .node = o->name,
                                   .build = STOA_VERSION,
                                   .cores = node->core_count,
                                   .core_bytes = o->flight_bytes ? o->flight_bytes : BYTES,
                                   .wall_ns = node->clock->wall_ns(node->clock)};
    if (!o->flight_path) { return STOA_OK; }
    stoa_err err = stoa_flight_open(&options, &node->flight);
    if (!err) { stoa_node_note(node, STOA_FLIGHT_BOOT, STOA_VERSION, node->core_count, o->memory_bytes * node->core_count); }
    if (!err || err == STOA_E_RANGE) { return err; }
    stoa_log_error("no_flight_recorder", err); /* a full disk keeps no node from serving */
    return STOA_OK;
}

/* Where stalls are watched; the cores run. */
static stoa_err watch(stoa_node *node)
{
    bool wanted = (node->options.stall_ns || node->options.hard_ns) && !node->options.sim;
    return wanted ? stoa_watch_open(node, &node->watch) : STOA_OK;
}

static stoa_err cores_init(stoa_node *node)
{
    for (uint32_t i = 0; i < node->core_count; i++) {
        node->cores[i] = aligned_alloc(128, (sizeof(stoa_core) + 127) / 128 * 128);
        if (!node->cores[i]) { return STOA_FAIL(STOA_E_NOMEM, "core %u", i); }
        memset(node->cores[i], 0, sizeof(stoa_core));
        stoa_err err = stoa_core_init(node->cores[i], node, i);
        if (err) { return err; }
    }
    stoa_place *before[STOA_CORES_MAX];
    stoa_err err = STOA_OK;
    for (uint32_t i = 0; i < node->core_count && !err; i++) {
        before[i] = &node->cores[i]->place;
        err = stoa_place_connect(before[i], before, i);
    }
    return err;
}

static stoa_err cores_start(stoa_node *node)
{
    stoa_err err = STOA_OK;
    for (uint32_t i = 0; i < node->core_count && !err; i++) { err = stoa_core_start(node->cores[i]); }
    return err;
}

static stoa_err open_own(stoa_node *node)
{
    stoa_shard_options own = {.name = "main",
                              .durability = stoa_durability_DISK,
                              .journal = node->options.journal,
                              .path = node->options.path,
                              .keys = node->options.keys};
    return own.path ? stoa_shard_open(node, &own, &node->own) : STOA_FAIL(STOA_E_INVALID, "a journal without a path");
}

/* The caller's list may end with the block that it is written in. */
static stoa_err kinds_copy(stoa_node *node)
{
    const stoa_kind *const *kinds = node->options.kinds;
    size_t count = 0;
    while (kinds && kinds[count]) { count++; }
    const stoa_kind **copy = calloc(count + 1, sizeof *copy);
    node->options.kinds = copy;
    if (!copy) { return STOA_FAIL(STOA_E_NOMEM, "kinds"); }
    stoa_err err = STOA_OK;
    for (size_t i = 0; i < count && !err; i++) {
        copy[i] = kinds[i];
        err = stoa_kind_check(kinds[i]);
    }
    return err;
}

stoa_err stoa_node_open(const stoa_options *options, stoa_node **out)
{
    if (options->cores > STOA_CORES_MAX) { return STOA_FAIL(STOA_E_INVALID, "at most %d cores", STOA_CORES_MAX); }
    if (options->memory_bytes > STOA_MEMORY_MAX) {
        return STOA_FAIL(STOA_E_INVALID, "memory_bytes of %llu", (unsigned long long)options->memory_bytes);
    }
    stoa_node *node = calloc(1, sizeof *node);
    if (!node) { return STOA_FAIL(STOA_E_NOMEM, "node"); }
    node->options = *options;
    node->core_count = options->cores ? options->cores : 1;
    node->clock = options->sim ? stoa_sim_clock(options->sim) : &stoa_clock_real;
    stoa_cpus_init(&node->cpus, options->pin, node->core_count);
    if (!options->seed) { stoa_random_system(&node->options.seed, sizeof node->options.seed); }
    (void)pthread_mutex_init(&node->lock, NULL);
    (void)pthread_mutex_init(&node->move_lock, NULL);
    (void)pthread_mutex_init(&node->errand_lock, NULL);
    (void)pthread_mutex_init(&node->front_lock, NULL);
    (void)pthread_cond_init(&node->errand_done, NULL);
    stoa_err err = kinds_copy(node);
    if (!err) { err = stoa_names_init(&node->names); }
    if (!err) { err = stoa_topics_init(&node->topics); }
    if (!err) { err = record_flight(node); }
    if (!err) { err = stoa_fatal_open(node); }
    if (!err) { err = cores_init(node); }
    if (!err) { err = stoa_port_open(node, "front", &node->front); }
    if (!err && !options->sim) { err = cores_start(node); }
    if (!err) { err = watch(node); }
    if (!err && options->journal) { err = open_own(node); }
    if (err) {
        stoa_node_close(node, 0);
        return err;
    }
    *out = node;
    return STOA_OK;
}

static void look_idle(stoa_core *core, void *context)
{
    bool *idle = context;
    for (uint32_t i = 0; i < core->shard_count; i++) { *idle = *idle && stoa_shard_idle(core->shards[i]); }
    *idle = *idle && !core->run_head && !stoa_place_pending(&core->place);
}

static void look_ended(stoa_core *core, void *context)
{
    bool *ended = context;
    *ended = *ended && stoa_tree_ended(core);
}

/* Until look, run on every core, leaves its flag true, or it is `until`. */
static void wait_for(stoa_node *node, void (*look)(stoa_core *core, void *context), uint64_t until)
{
    bool done = false;
    while (!done && node->clock->now_ns(node->clock) < until) {
        done = true;
        for (uint32_t i = 0; i < node->core_count; i++) { stoa_core_do(node->cores[i], look, &done); }
        struct timespec wait = {0, 1000000};
        if (!done) { (void)nanosleep(&wait, NULL); }
    }
}

static void begin_shutdown(stoa_core *core, void *context)
{
    (void)context;
    stoa_tree_shutdown(core);
}

/* What is under way runs out (for half of the time, should it never do), trees end from their leaves, what that set going
 * runs out. */
static void end_in_order(stoa_node *node, uint64_t grace_ns)
{
    uint64_t now = node->clock->now_ns(node->clock);
    wait_for(node, look_idle, now + grace_ns / 2);
    (void)pthread_mutex_lock(&node->move_lock); /* who moves now has come before its core is told to end */
    for (uint32_t i = 0; i < node->core_count; i++) { stoa_core_do(node->cores[i], begin_shutdown, NULL); }
    (void)pthread_mutex_unlock(&node->move_lock);
    wait_for(node, look_ended, now + grace_ns);
    wait_for(node, look_idle, now + grace_ns);
}

void stoa_node_close(stoa_node *node, uint64_t grace_ns)
{
    if (!node) { return; }
    stoa_node_outside(node, "stoa_node_close within a turn");
    if (grace_ns && !node->options.sim) { end_in_order(node, grace_ns); }
    stoa_follower_stop(node); /* it asks the cores */
    stoa_watch_close(node->watch);
    node->watch = NULL;
    for (uint32_t i = 0; i < node->core_count; i++) {
        if (node->cores[i]) { stoa_core_join(node->cores[i]); }
    }
    stoa_node_note(node, STOA_FLIGHT_EXIT, "closed", 0, 0);
    node_free(node);
}

const stoa_kind *stoa_node_kind(const stoa_node *node, const char *name)
{
    for (const stoa_kind *const *at = node->options.kinds; at && *at; at++) {
        if (strcmp((*at)->name, name) == 0) { return *at; }
    }
    return NULL;
}

uint32_t stoa_core_count(stoa_node *node)
{
    return node->core_count;
}

/* --- actors */

typedef struct spawning {
    const stoa_kind *kind;
    const char *name;
    const stoa_spawn_options *options;
    struct stoa_shard *shard; /* event-sourced kinds */
    stoa_ref ref;
    stoa_err err;
    char trail[512];
} spawning;

static void spawn_plain(stoa_core *core, spawning *s)
{
    stoa_actor *actor;
    if (core->shutting_down) {
        s->err = STOA_FAIL(STOA_E_UNAVAILABLE, "the node is ending");
        return;
    }
    s->err = stoa_actor_new(core, s->kind, s->name, s->options ? s->options->args : NULL, &actor);
    if (s->err) { return; }
    stoa_ref ref = actor->self;
    stoa_tree_add(core, NULL, actor);
    actor->more->restart = STOA_TRANSIENT;
    actor->more->shutdown_ms = s->options ? s->options->shutdown_ms : 0;
    s->err = stoa_names_add(&core->place.node->names, s->name, ref);
    if (s->err) {
        actor->more->name[0] = '\0';
    } else {
        s->err = stoa_turn_first(core, actor);
    }
    if (s->err) {
        stoa_actor_free(core, actor);
    } else {
        s->ref = ref;
    }
}

/* Where an actor of an event-sourced kind is to live. */
static stoa_err shard_for(stoa_node *node, const char *name, const stoa_spawn_options *options, struct stoa_shard **out)
{
    struct stoa_shard *shard = options && options->shard ? options->shard : node->own;
    if (!shard) { return STOA_FAIL(STOA_E_INVALID, "%s needs a shard", name); }
    if (options && shard->durability < options->durability) {
        return STOA_FAIL(STOA_E_INVALID, "%s: shard %s promises %s", name, shard->name,
                         stoa_durability_texts[shard->durability]);
    }
    *out = shard;
    return STOA_OK;
}

/* Perhaps it came back from the journal. */
static void spawn_sourced(stoa_core *core, spawning *s)
{
    stoa_ref there = stoa_names_find(&core->place.node->names, s->name);
    bool here = there.at && stoa_ref_place(there) == core->place.index;
    stoa_actor *actor = here ? stoa_core_actor(core, there) : NULL;
    if (!there.at) {
        s->err = stoa_shard_create(s->shard, s->kind, s->name, &actor);
    } else if (!actor || actor->shard != s->shard || actor->kind != s->kind) {
        s->err = STOA_FAIL(STOA_E_EXISTS, "elsewhere than in shard %s", s->shard->name);
    }
    if (!s->err) { s->ref = actor->self; }
}

static void spawn_on_core(stoa_core *core, void *context)
{
    spawning *s = context;
    if (s->kind->sourced) {
        spawn_sourced(core, s);
    } else {
        spawn_plain(core, s);
    }
    if (s->err) { (void)snprintf(s->trail, sizeof s->trail, "%s", stoa_err_trail()); }
}

stoa_err stoa_name_check(const stoa_kind *kind, const char *name)
{
    size_t prefix = strlen(kind->name);
    bool good = strlen(name) <= STOA_NAME_MAX - 2 && strncmp(name, kind->name, prefix) == 0 && name[prefix] == '/' &&
                name[prefix + 1] != '\0';
    return good ? STOA_OK : STOA_FAIL(STOA_E_INVALID, "'%s' is not %s/<key> of at most 61 bytes", name, kind->name);
}

stoa_err stoa_spawn(stoa_node *node, const stoa_kind *kind, const char *name, const stoa_spawn_options *options,
                    stoa_ref *out)
{
    stoa_node_outside(node, "stoa_spawn within a turn: there use stoa_turn_spawn");
    stoa_err err = stoa_name_check(kind, name);
    if (err) { return err; }
    spawning s = {.kind = kind, .name = name, .options = options};
    if (kind->sourced) {
        err = shard_for(node, name, options, &s.shard);
        if (err) { return err; }
    }
    uint32_t index = s.shard ? s.shard->core->place.index : options ? options->core : 0;
    if (index >= node->core_count) { return STOA_FAIL(STOA_E_INVALID, "no core %u", index); }
    stoa_core_do(node->cores[index], spawn_on_core, &s);
    if (s.err) { return STOA_FAIL(s.err, "%s: %s", name, s.trail); }
    *out = s.ref;
    return STOA_OK;
}

typedef struct stopping {
    stoa_ref ref;
    stoa_err err;
} stopping;

static void stop_on_core(stoa_core *core, void *context)
{
    stopping *s = context;
    stoa_actor *actor = stoa_core_actor(core, s->ref);
    if (!actor && stoa_away_follow(core, &s->ref)) {
        s->err = STOA_E_AGAIN;
        return;
    }
    s->err = !actor ? STOA_E_CLOSED : actor->shard ? STOA_E_UNSUPPORTED : STOA_OK;
    stoa_fate fate = {.text = "stopped", .why = stoa_end_SHUTDOWN, .stays_away = true};
    if (!s->err) { stoa_tree_stop(core, actor, fate); }
}

stoa_err stoa_stop(stoa_node *node, stoa_ref ref)
{
    stopping s = {.ref = ref, .err = STOA_E_AGAIN};
    stoa_node_outside(node, "stoa_stop within a turn: there use stoa_turn_stop");
    if (stoa_ref_place(ref) >= node->core_count) { return STOA_FAIL(STOA_E_CLOSED, "no such actor"); }
    for (uint32_t looks = 0; s.err == STOA_E_AGAIN && looks < STOA_MOVE_LOOKS; looks++) {
        stoa_core_do(node->cores[stoa_ref_place(s.ref)], stop_on_core, &s);
    }
    return s.err;
}

stoa_ref stoa_find(stoa_node *node, const char *name)
{
    return stoa_names_find(&node->names, name);
}
