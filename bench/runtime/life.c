/* life.c - births and deaths: runtime.create, runtime.idle, runtime.restart and runtime.restart_10k.
 *
 * create: an actor bears CHUNK children, sends each a number, and bears the next when each has answered with the number plus one
 * and ended. The sum is of all answers.
 *
 * idle: the same, but the children stay. What the process has in memory then, less what it had before, over their number: the
 * actor, its state, its parent's knowledge of it, all in. A node of its own for each run.
 *
 * restart: a permanent child that fails at each message. Its supervisor restarts it, the child's start says so, the next message
 * goes out. The short run and the long one tell whether a restart costs more when there were many.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include <malloc.h>

#include "base/log.h"
#include "bench/runtime/rig.h"

enum { CHUNK = 256 };

// clang-format off
#define child_live_FIELDS(F, S) F(S, uint64_t, n)
#define child_stay_FIELDS(F, S) F(S, uint64_t, n)
#define child_ROWS(ROW, K)                                            \
    ROW(K, CAST, live, _, "Answer the parent with n + 1, and end.")   \
    ROW(K, CAST, stay, _, "Answer the parent with n + 1, and stay.")

#define parent_bear_FIELDS(F, S) F(S, uint64_t, children) F(S, uint64_t, stay)
#define parent_grown_FIELDS(F, S) F(S, uint64_t, n)
#define parent_ROWS(ROW, K)                           \
    ROW(K, CAST, bear, _, "Bear so many, in chunks.") \
    ROW(K, CAST, grown, _, "A child's answer.")

#define victim_strike_FIELDS STOA_NO_FIELDS
#define victim_ROWS(ROW, K) ROW(K, CAST, strike, _, "Fail.")

#define watch_start_FIELDS(F, S) F(S, uint64_t, restarts)
#define watch_born_FIELDS STOA_NO_FIELDS
#define watch_ROWS(ROW, K)                                      \
    ROW(K, CAST, start, _, "Have the child fail so often.")     \
    ROW(K, CAST, born, _, "The child has begun, or begun anew.")
// clang-format on
STOA_TABLE(child)
STOA_TABLE_DEFINE(child)
STOA_TABLE(parent)
STOA_TABLE_DEFINE(parent)
STOA_TABLE(victim)
STOA_TABLE_DEFINE(victim)
STOA_TABLE(watch)
STOA_TABLE_DEFINE(watch)

typedef struct child {
    uint64_t sum;
} child;

typedef struct parent {
    uint64_t left, stay, waiting, sum;
} parent;

typedef struct victim {
    uint64_t struck;
} victim;

typedef struct victim_args {
    stoa_ref parent;
} victim_args;

typedef struct watch {
    stoa_ref child;
    uint64_t left, restarts;
} watch;

static stoa_err victim_begin(stoa_turn *turn, void *state, const void *args);
static stoa_err watch_begin(stoa_turn *turn, void *state, const void *args);

#define child_HEARS  STOA_HEARS_NOTHING
#define parent_HEARS STOA_HEARS_NOTHING
#define victim_HEARS STOA_HEARS_NOTHING
#define watch_HEARS  STOA_HEARS_NOTHING
STOA_PLAIN_KIND(child, .mailbox_limit = 16)
STOA_PLAIN_KIND(parent, .mailbox_limit = 2 * CHUNK)
STOA_PLAIN_KIND(victim, .start = victim_begin, .args_bytes = sizeof(victim_args), .mailbox_limit = 16)
STOA_PLAIN_KIND(watch, .start = watch_begin, .supervision = {.restarts = UINT32_MAX, .per_ms = 1})

/* --- create and idle */

static stoa_err child_on_live(stoa_turn *turn, child *self, const child_live *in)
{
    self->sum += in->n + 1;
    stoa_err err = parent_send_grown(turn, turn->from, (parent_grown){self->sum});
    return err ? err : stoa_turn_exit(turn, NULL);
}

static stoa_err child_on_stay(stoa_turn *turn, child *self, const child_stay *in)
{
    self->sum += in->n + 1;
    return parent_send_grown(turn, turn->from, (parent_grown){self->sum});
}

static stoa_err bear(stoa_turn *turn, parent *self)
{
    stoa_err err = STOA_OK;
    self->waiting = self->left < CHUNK ? self->left : CHUNK;
    for (uint64_t i = 0; i < self->waiting && !err; i++) {
        stoa_ref born;
        err = stoa_turn_spawn(turn, &child_kind, NULL, &born);
        if (err) { return err; }
        err = self->stay ? child_send_stay(turn, born, (child_stay){self->left - i})
                         : child_send_live(turn, born, (child_live){self->left - i});
    }
    self->left -= self->waiting;
    return err;
}

static stoa_err parent_on_bear(stoa_turn *turn, parent *self, const parent_bear *in)
{
    *self = (parent){.left = in->children, .stay = in->stay};
    return bear(turn, self);
}

static stoa_err parent_on_grown(stoa_turn *turn, parent *self, const parent_grown *in)
{
    self->sum += in->n;
    if (--self->waiting) { return STOA_OK; }
    if (self->left) { return bear(turn, self); }
    bench_ended(self->sum);
    return STOA_OK;
}

typedef struct place {
    stoa_node *node;
    stoa_ref actor;
} place;

static uint64_t bear_many(const bench_task *task, const place *p, uint64_t children, bool stay)
{
    bench_begin();
    bench_must(parent_post_bear(p->node, p->actor, (parent_bear){children, stay}), task->name);
    return bench_wait(task, children * (children + 1) / 2 + children);
}

static double create_once(const bench_task *task, void *context)
{
    return bench_mega(task->steps, bear_many(task, context, task->steps, false));
}

/* A step is an actor's life. */
void bench_create(const bench_task *task, bench_samples *out)
{
    place p = {.node = bench_open(task->cores, STOA_IDLE_LATENCY)};
    p.actor = bench_spawn(p.node, &parent_kind, 0, NULL);
    bench_repeat(task, create_once, &p, out);
    bench_close(p.node);
}

static double idle_once(const bench_task *task, void *context)
{
    (void)context;
    place p = {.node = bench_open(task->cores, STOA_IDLE_ECO)};
    p.actor = bench_spawn(p.node, &parent_kind, 0, NULL);
    (void)bear_many(task, &p, CHUNK, true); /* what is mapped once is mapped */
    (void)malloc_trim(0);
    uint64_t before = bench_resident();
    (void)bear_many(task, &p, task->steps, true);
    uint64_t after = bench_resident();
    bench_close(p.node);
    return (double)(after - before) / (double)task->steps;
}

/* A step is an actor. */
void bench_idle(const bench_task *task, bench_samples *out)
{
    bench_repeat(task, idle_once, NULL, out);
}

/* --- restart */

/* Also after each restart. */
static stoa_err victim_begin(stoa_turn *turn, void *state, const void *args)
{
    (void)state;
    return watch_send_born(turn, ((const victim_args *)args)->parent, (watch_born){0});
}

static stoa_err victim_on_strike(stoa_turn *turn, victim *self, const victim_strike *in)
{
    (void)in;
    self->struck++;
    return stoa_fail(turn, "struck");
}

static stoa_err watch_begin(stoa_turn *turn, void *state, const void *args)
{
    (void)args;
    stoa_child permanent = {.args = &(victim_args){turn->self}, .restart = STOA_PERMANENT};
    return stoa_turn_spawn(turn, &victim_kind, &permanent, &((watch *)state)->child);
}

static stoa_err watch_on_start(stoa_turn *turn, watch *self, const watch_start *in)
{
    self->left = in->restarts;
    self->restarts = 0;
    return victim_send_strike(turn, self->child, (victim_strike){0});
}

static stoa_err watch_on_born(stoa_turn *turn, watch *self, const watch_born *in)
{
    (void)in;
    if (!self->left) { return STOA_OK; } /* the first birth */
    self->restarts++;
    if (--self->left) { return victim_send_strike(turn, self->child, (victim_strike){0}); }
    bench_ended(self->restarts);
    return STOA_OK;
}

static double restart_once(const bench_task *task, void *context)
{
    const place *p = context;
    bench_begin();
    bench_must(watch_post_start(p->node, p->actor, (watch_start){task->steps}), task->name);
    return bench_mega(task->steps, bench_wait(task, task->steps));
}

/* A step is a restart. */
void bench_restart(const bench_task *task, bench_samples *out)
{
    place p = {.node = bench_open(task->cores, STOA_IDLE_LATENCY)};
    p.actor = bench_spawn(p.node, &watch_kind, 0, NULL);
    bench_repeat(task, restart_once, &p, out);
    bench_close(p.node);
}
