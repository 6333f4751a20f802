/* core.c - the loop of a core: drain, fire, run, release, publish, sleep. See core.h.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "runtime/core.h"

#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "base/log.h"
#include "base/signals.h"
#include "runtime/internal.h"
#include "runtime/shard.h"

enum { SPIN_BALANCED_NS = 50000, STOA_BATCH_MESSAGES = 256 };

/* --- life */

stoa_err stoa_core_init(stoa_core *core, stoa_node *node, uint32_t index)
{
    uint64_t memory = node->options.memory_bytes ? node->options.memory_bytes : UINT64_C(256) << 20;
    uint64_t now = node->clock->now_ns(node->clock);
    stoa_err err = stoa_place_init(&core->place, node, index, memory);
    if (err) { return err; }
    err = stoa_wheel_init(&core->wheel, now, STOA_TIMERS_MAX);
    if (!err) { err = stoa_asks_init(&core->asks); }
    core->reply = aligned_alloc(64, STOA_REPLY_MAX);
    core->dead = calloc(STOA_DEAD_LETTERS, sizeof *core->dead);
    if (!err && (!core->reply || !core->dead)) { err = STOA_FAIL(STOA_E_NOMEM, "core %u", index); }
    stoa_random_seed(&core->random, node->options.seed + index);
    core->now_ns = now;
    core->wall_ns = node->clock->wall_ns(node->clock);
    core->restart_tokens = 100;
    core->time_every = node->options.sim ? 1 : node->options.metrics ? node->options.time_every : 0;
    core->time_left = core->time_every;
    core->restart_refill_ns = now;
    return err;
}

void stoa_core_end_actors(stoa_core *core)
{
    for (uint32_t i = 0; i < core->actor_count; i++) {
        stoa_actor *actor = &core->chunks[i / STOA_ACTOR_CHUNK][i % STOA_ACTOR_CHUNK];
        if (actor->flags & STOA_ACTOR_ALIVE) { stoa_actor_free(core, actor); }
    }
}

void stoa_core_deinit(stoa_core *core)
{
    for (uint32_t i = 0; i < STOA_ACTOR_CHUNKS && core->chunks[i]; i++) {
        (void)munmap(core->chunks[i], sizeof(stoa_actor) * STOA_ACTOR_CHUNK);
    }
    free(core->reply);
    free(core->dead);
    stoa_asks_deinit(&core->asks);
    stoa_wheel_deinit(&core->wheel);
    stoa_place_deinit(&core->place);
}

/* --- actors */

stoa_actor *stoa_core_actor(stoa_core *core, stoa_ref ref)
{
    uint32_t index = stoa_ref_index(ref);
    if (index >= core->actor_count) { return NULL; }
    stoa_actor *actor = &core->chunks[index / STOA_ACTOR_CHUNK][index % STOA_ACTOR_CHUNK];
    bool same = actor->generation == (uint32_t)(ref.at >> 40) && (actor->flags & STOA_ACTOR_ALIVE);
    return same ? actor : NULL;
}

static stoa_actor *slot_for_actor(stoa_core *core)
{
    if (core->actor_free) {
        uint32_t index = core->actor_free - 1;
        stoa_actor *actor = &core->chunks[index / STOA_ACTOR_CHUNK][index % STOA_ACTOR_CHUNK];
        core->actor_free = actor->stream;
        return actor;
    }
    uint32_t index = core->actor_count;
    uint32_t chunk = index / STOA_ACTOR_CHUNK;
    if (chunk == STOA_ACTOR_CHUNKS) { return NULL; }
    if (!core->chunks[chunk]) {
        void *at = mmap(NULL, sizeof(stoa_actor) * STOA_ACTOR_CHUNK, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
                        -1, 0);
        if (at == MAP_FAILED) { return NULL; }
        core->chunks[chunk] = at;
    }
    core->actor_count++;
    stoa_actor *actor = &core->chunks[chunk][index % STOA_ACTOR_CHUNK];
    actor->index = index;
    return actor;
}

enum { STATE_SLAB_MAX = 128 * 1024 };

static void *state_new(stoa_core *core, size_t bytes)
{
    if (bytes > STATE_SLAB_MAX) {
        void *at = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        return at == MAP_FAILED ? NULL : at;
    }
    stoa_msg *block = stoa_slab_new(&core->place.slab, (uint32_t)bytes + 8, 0);
    if (!block) { return NULL; }
    return memset(stoa_msg_body(block), 0, bytes + 8);
}

static void state_free(stoa_core *core, void *state, size_t bytes)
{
    if (!state) { return; }
    if (bytes > STATE_SLAB_MAX) {
        (void)munmap(state, bytes);
    } else {
        stoa_slab_free(&core->place.slab, (stoa_msg *)state - 1);
    }
}

static stoa_err more_new(const stoa_kind *kind, const char *name, const void *args, stoa_actor_more **out)
{
    stoa_actor_more *more = calloc(1, sizeof *more);
    if (!more) { return STOA_E_NOMEM; }
    if (name) {
        (void)strncpy(more->name, name, STOA_NAME_MAX);
        const char *slash = strchr(more->name, '/');
        more->key = slash ? slash + 1 : more->name;
    }
    if (args && kind->args_bytes) {
        more->args = malloc(kind->args_bytes);
        if (!more->args) {
            free(more);
            return STOA_E_NOMEM;
        }
        memcpy(more->args, args, kind->args_bytes);
    }
    *out = more;
    return STOA_OK;
}

stoa_err stoa_actor_new(stoa_core *core, const stoa_kind *kind, const char *name, const void *args, stoa_actor **out)
{
    stoa_actor *actor = slot_for_actor(core);
    void *state = state_new(core, kind->state_bytes);
    stoa_actor_more *more = NULL;
    stoa_err err = actor && state ? STOA_OK : STOA_E_NOMEM;
    if (!err && (name || args)) { err = more_new(kind, name, args, &more); }
    if (err) {
        state_free(core, state, kind->state_bytes);
        if (actor) {
            actor->stream = core->actor_free;
            core->actor_free = actor->index + 1;
        }
        return STOA_FAIL(err, "actor %s of kind %s", name ? name : "", kind->name);
    }
    uint32_t index = actor->index, generation = (actor->generation + 1) & 0xffffff;
    memset(actor, 0, sizeof *actor);
    actor->index = index;
    actor->generation = generation ? generation : 1;
    actor->kind = kind;
    actor->state = state;
    actor->more = more;
    actor->limit = kind->mailbox_limit ? kind->mailbox_limit : STOA_MAILBOX_DEFAULT;
    actor->when_full = (uint8_t)kind->when_full;
    actor->flags = STOA_ACTOR_ALIVE;
    core->actor_alive++;
    *out = actor;
    return STOA_OK;
}

static void unqueue(stoa_core *core, stoa_runnable *runnable)
{
    if (!runnable->queued) { return; }
    stoa_runnable *before = NULL;
    for (stoa_runnable *at = core->run_head; at; before = at, at = at->next) {
        if (at != runnable) { continue; }
        if (before) {
            before->next = at->next;
        } else {
            core->run_head = at->next;
        }
        if (core->run_tail == at) { core->run_tail = before; }
        break;
    }
    runnable->queued = false;
}

void stoa_actor_free(stoa_core *core, stoa_actor *actor)
{
    unqueue(core, &actor->run);
    actor->flags = 0;
    while (actor->head) {
        stoa_msg *msg = actor->head;
        actor->head = msg->next;
        stoa_core_refuse(core, msg, STOA_E_CLOSED);
    }
    if (actor->kind->stop) { actor->kind->stop(actor->state); }
    if (actor->more) {
        if (actor->more->subscribed) {
            stoa_topics_unsubscribe(core->place.node, NULL, stoa_actor_ref(core, actor));
        }
        if (actor->more->name[0]) { stoa_names_remove(&core->place.node->names, actor->more->name); }
        free(actor->more->args);
        free(actor->more);
    }
    state_free(core, actor->state, actor->kind->state_bytes);
    actor->more = NULL;
    actor->state = NULL;
    actor->stream = core->actor_free;
    core->actor_free = actor->index + 1;
    core->actor_alive--;
}

const char *stoa_actor_name(const stoa_actor *actor)
{
    return actor->more && actor->more->name[0] ? actor->more->name : actor->kind->name;
}

/* --- delivery */

void stoa_core_enqueue(stoa_core *core, stoa_runnable *runnable)
{
    if (runnable->queued) { return; }
    runnable->queued = true;
    runnable->next = NULL;
    if (core->run_head) {
        core->run_tail->next = runnable;
    } else {
        core->run_head = runnable;
    }
    core->run_tail = runnable;
}

void stoa_core_dead_letter(stoa_core *core, stoa_msg *msg, stoa_err why)
{
    stoa_dead_letter *letter = &core->dead[core->dead_count++ % STOA_DEAD_LETTERS];
    *letter = (stoa_dead_letter){.wall_ns = core->wall_ns, .row = msg->row, .to = msg->to, .from = msg->from, .why = why};
    bool here = stoa_ref_place(msg->to) == core->place.index;
    const stoa_actor *actor = here ? stoa_core_actor(core, msg->to) : NULL;
    if (actor) { (void)snprintf(letter->name, sizeof letter->name, "%s", stoa_actor_name(actor)); }
    struct stoa_sim *sim = core->place.node->options.sim;
    if (sim) { stoa_sim_dead_letter(sim, core, letter, msg->row ? stoa_msg_payload(msg) : NULL); }
}

void stoa_core_refuse(stoa_core *core, stoa_msg *msg, stoa_err why)
{
    stoa_context *context = (msg->flags & STOA_MSG_CONTEXT) ? stoa_msg_context(msg) : NULL;
    if (!context || !context->reply_to.at || (msg->flags & STOA_MSG_ANSWER)) {
        stoa_core_dead_letter(core, msg, why);
        stoa_place_free(&core->place, msg);
        return;
    }
    stoa_msg *answer = stoa_slab_new(&core->place.slab, 0, STOA_MSG_CONTEXT | STOA_MSG_ANSWER);
    if (!answer) { stoa_core_dead_letter(core, msg, why); }
    if (answer) {
        answer->to = context->reply_to;
        answer->from = msg->to;
        answer->row = NULL;
        *stoa_msg_context(answer) =
            (stoa_context){.ask = context->ask, .command = context->command, .error = (int32_t)why};
    }
    stoa_place_free(&core->place, msg);
    if (answer) { stoa_core_deliver(core, answer); }
}

static void mailbox_push(stoa_core *core, stoa_actor *actor, stoa_msg *msg)
{
    msg->next = NULL;
    if (actor->head) {
        actor->tail->next = msg;
    } else {
        actor->head = msg;
    }
    actor->tail = msg;
    actor->queued++;
    stoa_core_enqueue(core, &actor->run);
}

/* What is asked, answered or was due is never dropped. */
static bool droppable(const stoa_msg *msg)
{
    return !(msg->flags & (STOA_MSG_CONTEXT | STOA_MSG_ANSWER | STOA_MSG_FIRED)) || (msg->flags & STOA_MSG_LENT);
}

/* A full mailbox: the oldest goes where the kind says so and it may, otherwise the new one is refused. */
static void mailbox_full(stoa_core *core, stoa_actor *actor, stoa_msg *msg)
{
    actor->refused++;
    actor->last_refusal = STOA_E_FULL;
    if (actor->when_full == STOA_FULL_DROP_OLDEST && droppable(msg) && actor->head && droppable(actor->head)) {
        stoa_msg *oldest = actor->head;
        actor->head = oldest->next;
        actor->queued--;
        stoa_core_refuse(core, oldest, STOA_E_FULL);
        mailbox_push(core, actor, msg);
        return;
    }
    stoa_core_refuse(core, msg, STOA_E_FULL);
}

stoa_msg *stoa_core_resolve(stoa_core *core, stoa_msg *msg)
{
    stoa_context context = *stoa_msg_context(msg);
    stoa_ask *ask = stoa_asks_find(&core->asks, context.ask);
    if (!ask || !stoa_ref_equal(ask->asker, msg->to)) {
        stoa_core_dead_letter(core, msg, STOA_E_TIMEOUT);
        stoa_place_free(&core->place, msg);
        return NULL;
    }
    uint64_t token = ask->token;
    const stoa_row *reply = ask->reply;
    const stoa_actor *asker = stoa_core_actor(core, msg->to);
    bool earlier = !asker || asker->restarts != ask->incarnation;
    if (!msg->row && !earlier) { /* an error comes without a payload: the handler sees zeros */
        stoa_msg *full = stoa_slab_new(&core->place.slab, reply->payload.size_bytes, STOA_MSG_CONTEXT | STOA_MSG_ANSWER);
        if (!full) { /* the ask lives on: its deadline tells the asker */
            stoa_core_dead_letter(core, msg, STOA_E_NOMEM);
            stoa_place_free(&core->place, msg);
            return NULL;
        }
        memset(stoa_msg_body(full), 0, reply->payload.size_bytes);
        full->to = msg->to;
        full->from = msg->from;
        full->row = reply;
        stoa_place_free(&core->place, msg);
        msg = full;
    }
    (void)stoa_wheel_cancel(&core->wheel, ask->deadline_timer);
    stoa_asks_free(&core->asks, context.ask);
    if (earlier) {
        stoa_core_dead_letter(core, msg, STOA_E_FAILED);
        stoa_place_free(&core->place, msg);
        return NULL;
    }
    context.ask = token;
    *stoa_msg_context(msg) = context;
    return msg;
}

void stoa_core_take(stoa_core *core, stoa_msg *msg)
{
    if (msg->flags & STOA_MSG_TOPIC) {
        stoa_core_fan_out(core, msg);
        return;
    }
    if (msg->flags & STOA_MSG_ANSWER) {
        msg = stoa_core_resolve(core, msg);
        if (!msg) { return; }
    }
    stoa_actor *actor = stoa_core_actor(core, msg->to);
    if (!actor) {
        stoa_core_refuse(core, msg, STOA_E_CLOSED);
    } else if (actor->shard) {
        stoa_shard_take(actor->shard, actor, msg);
    } else if (actor->flags & STOA_ACTOR_DOWN) {
        stoa_core_refuse(core, msg, STOA_E_FAILED);
    } else if (actor->queued >= actor->limit && !(msg->flags & (STOA_MSG_ANSWER | STOA_MSG_FIRED))) {
        mailbox_full(core, actor, msg);
    } else {
        mailbox_push(core, actor, msg);
    }
}

void stoa_core_deliver(stoa_core *core, stoa_msg *msg)
{
    uint32_t place = stoa_ref_place(msg->to);
    if (place == core->place.index) {
        stoa_core_take(core, msg);
    } else if (place < stoa_node_places(core->place.node) && !stoa_place_closed(core->place.node, place)) {
        core->cross++;
        stoa_place_push(&core->place, place, msg);
    } else {
        stoa_core_dead_letter(core, msg, STOA_E_CLOSED);
        stoa_place_free(&core->place, msg);
    }
}

static void take_from_ring(stoa_place *place, stoa_msg *msg)
{
    stoa_core_take((stoa_core *)place, msg);
}

void stoa_core_timed(stoa_core *core, const stoa_kind *kind, uint64_t ns)
{
    for (uint32_t i = 0; i < STOA_TIMED_KINDS; i++) {
        if (!core->times[i].kind) {
            char labels[96];
            (void)snprintf(labels, sizeof labels, "kind=\"%s\",core=\"%u\"", kind->name, core->place.index);
            core->times[i].kind = kind;
            if (stoa_metrics_histogram(core->place.node->options.metrics, "stoa_turn_seconds", labels,
                                       "Time of a turn, sampled.", &core->times[i].turns)) {
                core->times[i].turns = NULL;
            }
        }
        if (core->times[i].kind != kind) { continue; }
        if (core->times[i].turns) { stoa_histogram_add(core->times[i].turns, ns); }
        return;
    }
}

/* --- running */

static void run_actor(stoa_core *core, stoa_actor *actor)
{
    /* the snapshot rule: never what this run enqueues; deep mailboxes drain faster */
    uint32_t n = actor->queued < STOA_BUDGET ? actor->queued : STOA_BUDGET + (actor->queued >> 3);
    uint32_t generation = actor->generation;
    while (n-- && actor->head) {
        stoa_msg *msg = actor->head;
        actor->head = msg->next;
        actor->queued--;
        core->messages++;
        stoa_turn_run(core, actor, msg);
        if (actor->generation != generation || !(actor->flags & STOA_ACTOR_ALIVE)) { return; }
    }
    if (actor->head && !(actor->flags & STOA_ACTOR_DOWN)) { stoa_core_enqueue(core, &actor->run); }
}

static uint32_t run_queue(stoa_core *core)
{
    stoa_runnable *last = core->run_tail;
    uint32_t ran = 0;
    while (core->run_head) {
        stoa_runnable *runnable = core->run_head;
        core->run_head = runnable->next;
        if (!core->run_head) { core->run_tail = NULL; }
        runnable->queued = false;
        ran++;
        if (runnable->is_shard) {
            if (stoa_shard_run((struct stoa_shard *)runnable)) { stoa_core_enqueue(core, runnable); }
        } else {
            run_actor(core, (stoa_actor *)runnable);
        }
        if (runnable == last) { break; }
    }
    return ran;
}

/* A timer belongs to the incarnation that armed it: a restarted actor arms its own. */
static void fire_message(stoa_core *core, stoa_msg *msg)
{
    const stoa_actor *actor = stoa_core_actor(core, msg->to);
    if (!actor || actor->restarts != stoa_msg_context(msg)->durability) {
        stoa_place_free(&core->place, msg);
        return;
    }
    msg->flags = (uint8_t)((msg->flags & ~STOA_MSG_TIMER) | STOA_MSG_FIRED);
    stoa_core_take(core, msg);
}

static void fire(void *context, uint16_t cls, void *what)
{
    stoa_core *core = context;
    core->timers++;
    if (cls == STOA_TIMER_MESSAGE) {
        fire_message(core, what);
    } else if (cls == STOA_TIMER_RESTART) {
        stoa_actor *actor = stoa_core_actor(core, (stoa_ref){(uint64_t)(uintptr_t)what});
        if (actor) { stoa_actor_restart(core, actor); }
    } else {
        uint64_t id = (uint64_t)(uintptr_t)what;
        stoa_ask *ask = stoa_asks_find(&core->asks, id);
        if (!ask) { return; }
        stoa_msg *late = stoa_slab_new(&core->place.slab, 0, STOA_MSG_CONTEXT | STOA_MSG_ANSWER);
        if (!late) { /* no memory: it is late once more, but never forgotten */
            if (!stoa_wheel_new(&core->wheel, STOA_TIMER_ASK, what, &ask->deadline_timer)) {
                stoa_wheel_start(&core->wheel, ask->deadline_timer, core->now_ns + STOA_MS(10));
            }
            return;
        }
        late->to = ask->asker;
        late->from = STOA_REF_NONE;
        late->row = NULL;
        *stoa_msg_context(late) = (stoa_context){.ask = id, .error = STOA_E_TIMEOUT};
        stoa_core_take(core, late);
    }
}

static bool run_errands(stoa_core *core)
{
    stoa_errand *errand = atomic_exchange(&core->errands, NULL);
    if (!errand) { return false; }
    stoa_node *node = core->place.node;
    while (errand) {
        stoa_errand *next = errand->next;
        errand->run(core, errand->context);
        (void)pthread_mutex_lock(&node->errand_lock);
        errand->done = true;
        (void)pthread_cond_broadcast(&node->errand_done);
        (void)pthread_mutex_unlock(&node->errand_lock);
        errand = next;
    }
    return true;
}

bool stoa_core_batch(stoa_core *core)
{
    stoa_clock *clock = core->place.node->clock;
    stoa_reclaim_pass(&core->place.node->topics.reclaim, core->place.index);
    uint64_t last_ns = core->now_ns;
    core->now_ns = clock->now_ns(clock);
    if (core->was_busy) { core->busy_ns += core->now_ns - last_ns; }
    core->wall_ns = clock->wall_ns(clock);
    uint32_t done = stoa_place_drain(&core->place, take_from_ring);
    if (atomic_load_explicit(&core->errands, memory_order_acquire)) { done += run_errands(core); }
    if (stoa_wheel_next_ns(&core->wheel) <= core->now_ns && core->now_ns >= core->timers_from_ns) {
        done += stoa_wheel_advance(&core->wheel, core->now_ns, fire, core);
    }
    uint64_t enough = core->messages + STOA_BATCH_MESSAGES;
    do { done += run_queue(core); } while (core->run_head && core->messages < enough);
    for (uint32_t i = 0; i < core->shard_count; i++) { done += stoa_shard_poll(core->shards[i]); }
    stoa_place_flush(&core->place);
    core->was_busy = done > 0;
    return core->was_busy;
}

bool stoa_core_has_work(stoa_core *core)
{
    if (core->run_head || stoa_place_pending(&core->place) || core->place.dirty) { return true; }
    if (atomic_load_explicit(&core->errands, memory_order_acquire)) { return true; }
    for (uint32_t i = 0; i < core->shard_count; i++) {
        struct stoa_shard *shard = core->shards[i];
        if (atomic_load_explicit(&shard->durable_block, memory_order_acquire) > shard->block_done) { return true; }
    }
    return false;
}

uint64_t stoa_core_next_ns(stoa_core *core)
{
    uint64_t next = stoa_wheel_next_ns(&core->wheel);
    for (uint32_t i = 0; i < core->shard_count; i++) {
        uint64_t due = stoa_shard_due_ns(core->shards[i]);
        if (due < next) { next = due; }
    }
    return next;
}

static void sleep_until_called(stoa_core *core)
{
    stoa_reclaim_park(&core->place.node->topics.reclaim, core->place.index);
    atomic_store(&core->place.sleeping, 1);
    /* seq_cst store above: whoever published before it is seen here, whoever publishes after it sees the flag */
    if (!stoa_core_has_work(core) && !atomic_load(&core->stop)) {
        uint64_t next = stoa_core_next_ns(core);
        uint64_t now = core->place.node->clock->now_ns(core->place.node->clock);
        uint64_t wait = next > now ? next - now : 0;
        core->wakeups++;
        if (wait) { stoa_place_sleep(&core->place, wait < STOA_S(10) ? wait : STOA_S(10)); }
    }
    atomic_store(&core->place.sleeping, 0);
}

static void *core_main(void *argument)
{
    stoa_core *core = argument;
    stoa_idle idle = core->place.node->options.idle;
    uint64_t spin_ns = idle == STOA_IDLE_BALANCED ? SPIN_BALANCED_NS : 0;
    uint64_t idle_since = 0;
    while (!atomic_load_explicit(&core->stop, memory_order_relaxed)) {
        if (stoa_core_batch(core)) {
            idle_since = 0;
            continue;
        }
        if (!idle_since) { idle_since = core->now_ns; }
        if (idle == STOA_IDLE_LATENCY || core->now_ns - idle_since < spin_ns) {
            __builtin_ia32_pause();
            continue;
        }
        sleep_until_called(core);
        idle_since = 0;
    }
    return NULL;
}

static void pin(stoa_core *core)
{
    cpu_set_t may, one;
    uint32_t seen = 0;
    if (sched_getaffinity(0, sizeof may, &may)) { return; }
    uint32_t count = (uint32_t)CPU_COUNT(&may);
    for (int cpu = 0; cpu < CPU_SETSIZE; cpu++) {
        if (!CPU_ISSET((size_t)cpu, &may) || seen++ != core->place.index % count) { continue; }
        CPU_ZERO(&one);
        CPU_SET((size_t)cpu, &one);
        (void)pthread_setaffinity_np(core->thread, sizeof one, &one);
        return;
    }
}

stoa_err stoa_core_start(stoa_core *core)
{
    sigset_t before;
    stoa_signals_hold(&before);
    int failed = pthread_create(&core->thread, NULL, core_main, core);
    stoa_signals_release(&before);
    if (failed) { return STOA_FAIL(STOA_E_IO, "thread of core %u: %s", core->place.index, strerror(failed)); }
    core->started = true;
    if (core->place.node->options.pin) { pin(core); }
    char name[16];
    (void)snprintf(name, sizeof name, "stoa-core-%u", core->place.index % 100);
    (void)pthread_setname_np(core->thread, name);
    return STOA_OK;
}

void stoa_core_join(stoa_core *core)
{
    if (!core->started) { return; }
    atomic_store(&core->stop, true);
    stoa_place_ring_bell(&core->place);
    (void)pthread_join(core->thread, NULL);
    core->started = false;
}

void stoa_core_do(stoa_core *core, void (*fn)(stoa_core *core, void *context), void *context)
{
    stoa_node *node = core->place.node;
    if (!core->started || pthread_equal(pthread_self(), core->thread)) {
        fn(core, context);
        return;
    }
    stoa_errand errand = {.run = fn, .context = context};
    errand.next = atomic_load(&core->errands);
    while (!atomic_compare_exchange_weak(&core->errands, &errand.next, &errand)) {}
    stoa_place_ring_bell(&core->place);
    (void)pthread_mutex_lock(&node->errand_lock);
    while (!errand.done) { (void)pthread_cond_wait(&node->errand_done, &node->errand_lock); }
    (void)pthread_mutex_unlock(&node->errand_lock);
}
