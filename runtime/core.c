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

enum { SPIN_BALANCED_NS = 50000 };

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
    if (!err) { err = stoa_ties_init(&core->ties); }
    if (!err) { err = stoa_gathers_init(&core->gathers); }
    if (!err) { err = stoa_tracing_init(&core->tracing); }
    core->slice = UINT32_MAX;
    stoa_turning_init(core);
    stoa_actors_init(core);
    core->flight = stoa_flight_lane_of(node->flight, index);
    core->time_every = node->options.sim ? 1 : node->options.metrics || core->flight ? node->options.time_every : 0;
    core->tracing.stride = core->time_every > 0; /* the first turn tells how long turns are */
    stoa_core_time_in(core, core->tracing.stride);
    core->idle = node->options.idle_by_core ? node->options.idle_by_core[index] : node->options.idle;
    core->place.never_sleeps = core->idle == STOA_IDLE_LATENCY && !node->options.sim;
    return err;
}

void stoa_core_deinit(stoa_core *core)
{
    stoa_actors_deinit(core);
    free(core->reply);
    free(core->dead);
    stoa_asks_deinit(&core->asks);
    stoa_watches_deinit(&core->watches);
    stoa_ties_deinit(&core->ties);
    stoa_gathers_deinit(&core->gathers);
    stoa_tracing_deinit(&core->tracing);
    stoa_wheel_deinit(&core->wheel);
    stoa_place_deinit(&core->place);
}

static void take_from_ring(stoa_place *place, stoa_msg *msg)
{
    stoa_core_take((stoa_core *)place, msg);
}

void stoa_core_record(stoa_core *core, stoa_flight_code code, const stoa_actor *actor, const stoa_row *row, const char *name,
                      uint64_t a, uint64_t b)
{
    stoa_flight_note note = {.code = code, .core = core->place.index, .row = row, .name = name, .a = a, .b = b};
    if (actor) {
        note.actor = actor->self.at;
        note.actor_name = stoa_actor_name(actor);
    }
    stoa_flight_put(core->flight, core->wall_ns, &note);
}

static void times_fill(stoa_core *core, stoa_times *times, const char *name)
{
    stoa_metrics *metrics = core->place.node->options.metrics;
    char labels[96];
    (void)snprintf(labels, sizeof labels, "kind=\"%s\",core=\"%u\"", name, core->place.index);
    if (stoa_metrics_histogram(metrics, "stoa_turn_seconds", labels, "Time of a turn, from samples that stand for all.", &times->turns)) {
        times->turns = NULL;
    }
    if (stoa_metrics_histogram(metrics, "stoa_queue_seconds", labels, "Time from a message's sending to its turn, from samples that stand for all.",
                               &times->waits)) {
        times->waits = NULL;
    }
}

/* The entry of kind, or where one would be made: the last one, of all kinds that found none, is never anybody's own. */
static uint32_t times_at(const stoa_core *core, const stoa_kind *kind)
{
    uint32_t i = 0;
    while (i + 1 < STOA_TIMED_KINDS && core->times[i].kind && core->times[i].kind != kind) { i++; }
    return i;
}

void stoa_core_will_time(stoa_core *core, const stoa_kind *kind)
{
    static const stoa_kind others = {.name = "(others)"};
    if (!core->place.node->options.metrics) { return; }
    uint32_t at = times_at(core, kind);
    stoa_times *times = &core->times[at];
    if (times->kind) { return; }
    times->kind = at + 1 < STOA_TIMED_KINDS ? kind : &others;
    times_fill(core, times, times->kind->name);
}

void stoa_core_timed(stoa_core *core, const stoa_kind *kind, uint64_t ns, uint64_t stands_for)
{
    const stoa_times *times = &core->times[times_at(core, kind)];
    if (times->turns) { stoa_histogram_add_many(times->turns, ns, stands_for); }
}

void stoa_core_waited(stoa_core *core, const stoa_kind *kind, uint64_t ns, uint64_t stands_for)
{
    const stoa_times *times = &core->times[times_at(core, kind)];
    if (times->waits) { stoa_histogram_add_many(times->waits, ns, stands_for); }
}

/* --- running */

/* A periodic timer keeps its message and sends a copy, which is refused as any message is where there is no room. Ticks that
 * were missed are left out; the others stay on their beat. */
static uint64_t tick(stoa_core *core, stoa_msg *msg)
{
    stoa_context *context = stoa_msg_context(msg);
    stoa_msg *copy = stoa_slab_new(&core->place.slab, msg->size_bytes, msg->flags & STOA_MSG_URGENT);
    if (!copy) { stoa_core_dead_letter(core, msg, STOA_E_NOMEM); }
    if (copy) {
        copy->to = copy->from = msg->to;
        copy->row = msg->row;
        stoa_copy_payload(stoa_msg_body(copy), context + 1, msg->size_bytes);
        stoa_core_take(core, copy);
    }
    uint64_t late_ns = core->now_ns - context->position;
    context->position += (late_ns / context->period_ns + 1) * context->period_ns;
    return context->position;
}

/* A timer belongs to the incarnation that armed it: a restarted actor arms its own. */
static uint64_t fire_message(stoa_core *core, stoa_msg *msg)
{
    stoa_actor *actor = stoa_core_actor(core, msg->to);
    stoa_context *context = stoa_msg_context(msg);
    if (!actor || actor->restarts != context->durability) {
        stoa_place_free(&core->place, msg);
        return 0;
    }
    if (context->period_ns) { return tick(core, msg); }
    stoa_timer_disown(actor->more, msg);
    if (msg->flags & STOA_MSG_MARKED) { stoa_msg_mark(msg)->sent_ns = context->position; }
    msg->flags = (uint16_t)((msg->flags & ~STOA_MSG_TIMER) | STOA_MSG_FIRED);
    stoa_core_take(core, msg);
    return 0;
}

/* An ask's deadline: its asker gets an answer that says so. Without memory for it, it is late once more, but never forgotten. */
static uint64_t fire_ask(stoa_core *core, uint64_t id)
{
    const stoa_ask *ask = stoa_asks_find(&core->asks, id);
    if (!ask) { return 0; }
    uint32_t bytes = ask->reply->payload.size_bytes; /* whole, so that nothing is left to be had on its way */
    stoa_msg *late = stoa_slab_new_surely(&core->place.slab, bytes, STOA_MSG_CONTEXT | STOA_MSG_ANSWER);
    if (!late) { return core->now_ns + STOA_MS(10); }
    late->to = ask->asker;
    late->from = STOA_REF_NONE;
    late->row = ask->reply;
    memset(stoa_msg_body(late), 0, bytes);
    *stoa_msg_context(late) = (stoa_context){.ask = id, .error = STOA_E_TIMEOUT};
    stoa_core_take(core, late);
    return 0;
}

static uint64_t fire(void *context, uint16_t cls, void *what)
{
    stoa_core *core = context;
    stoa_ref ref = {(uint64_t)(uintptr_t)what};
    core->timers++;
    if (cls == STOA_TIMER_MESSAGE) { return fire_message(core, what); }
    if (cls == STOA_TIMER_ASK) { return fire_ask(core, ref.at); }
    if (cls == STOA_TIMER_RESTART) {
        stoa_tree_restart_due(core, ref);
    } else {
        stoa_tree_kill_due(core, ref);
    }
    return 0;
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

enum { WALL_EVERY_NS = 1000000, WATCH_EVERY_NS = 20000 };

/* How many messages are worth a slice. No clock is read for it but the batch's own, and none in the simulator, whose time does
 * not pass within a batch: there only messages count. */
static void measure_messages(stoa_core *core, uint64_t took_ns)
{
    uint64_t count = core->messages - core->timed_count;
    core->timed_count = core->messages;
    if (!count || core->place.node->options.sim) { return; }
    core->message_ns = (3 * core->message_ns + took_ns / count) / 4;
    uint64_t slice = STOA_SLICE_NS / (core->message_ns + 1);
    core->slice = slice < 1 ? 1 : slice < UINT32_MAX ? (uint32_t)slice : UINT32_MAX;
}

static void read_clock(stoa_core *core)
{
    stoa_clock *clock = core->place.node->clock;
    uint64_t now = clock->now_ns(clock);
    if (core->was_busy) {
        core->busy_ns += now - core->now_ns;
        measure_messages(core, now - core->now_ns);
    }
    core->wall_ns += now - core->now_ns;
    core->now_ns = now;
    if (now - core->wall_read_ns >= WALL_EVERY_NS || !core->wall_read_ns) {
        core->wall_ns = clock->wall_ns(clock);
        core->wall_read_ns = now;
    }
    core->turning.turn.now_ns = core->now_ns;
    core->turning.turn.wall_ns = core->wall_ns;
}

/* The clock is read before a batch that follows a busy one and after an idle one, so that what arrives at an idle core does
 * not wait for it, and no batch starts with a time from before the last. */
bool stoa_core_batch(stoa_core *core)
{
    stoa_reclaim_pass(&core->place.node->topics.reclaim, core->place.index);
    if (core->was_busy || core->place.node->options.sim) { read_clock(core); }
    uint32_t done = stoa_place_drain(&core->place, take_from_ring);
    if (atomic_load_explicit(&core->errands, memory_order_acquire)) { done += run_errands(core); }
    if (core->wheel.next_ns <= core->now_ns && core->now_ns >= core->timers_from_ns) {
        done += stoa_wheel_advance(&core->wheel, core->now_ns, stoa_core_quantum(core, STOA_BATCH_MESSAGES), fire, core);
    }
    uint64_t enough = core->messages + stoa_core_quantum(core, STOA_BATCH_MESSAGES);
    do {
        done += stoa_core_run(core);
        if (core->signals || core->unfinished.at) {
            stoa_signals_run(core);
            done++;
        }
    } while (core->run_head && core->messages < enough);
    core->turning.actor = NULL; /* who looks from elsewhere sees that no turn runs */
    for (uint32_t i = 0; i < core->shard_count; i++) { done += stoa_shard_poll(core->shards[i]); }
    if (core->watches.count && (!done || core->now_ns - core->watches.looked_ns >= WATCH_EVERY_NS)) {
        done += stoa_watches_look(core);
    }
    stoa_place_flush(&core->place);
    core->was_busy = done > 0;
    if (!done) { read_clock(core); }
    return core->was_busy;
}

bool stoa_core_has_work(stoa_core *core)
{
    if (core->run_head || core->signals || core->unfinished.at) { return true; }
    if (stoa_place_pending(&core->place) || core->place.dirty) { return true; }
    if (atomic_load_explicit(&core->errands, memory_order_acquire)) { return true; }
    for (uint32_t i = 0; i < core->shard_count; i++) {
        struct stoa_shard *shard = core->shards[i];
        if (shard->drop_again_ns) { continue; } /* its disk is full: until then nothing */
        if (atomic_load_explicit(&shard->durable_block, memory_order_acquire) > shard->block_done) { return true; }
        if (atomic_load_explicit(&shard->refused, memory_order_relaxed)) { return true; }
        if (stoa_shard_may_go_on(shard)) { return true; }
    }
    return false;
}

uint64_t stoa_core_next_ns(stoa_core *core)
{
    uint64_t next = core->wheel.next_ns;
    for (uint32_t i = 0; i < core->shard_count; i++) {
        const struct stoa_shard *shard = core->shards[i];
        uint64_t due = shard->drop_again_ns ? shard->drop_again_ns : stoa_shard_due_ns(shard);
        if (due < next) { next = due; }
    }
    return next;
}

/* Whether it slept. */
static bool sleep_until_called(stoa_core *core)
{
    bool slept = false;
    stoa_reclaim_park(&core->place.node->topics.reclaim, core->place.index);
    atomic_store(&core->place.sleeping, 1);
    /* seq_cst store above: whoever published before it is seen here, whoever publishes after it sees the flag */
    if (!stoa_core_has_work(core) && !atomic_load(&core->stop)) {
        uint64_t next = stoa_core_next_ns(core);
        uint64_t now = core->place.node->clock->now_ns(core->place.node->clock);
        uint64_t wait = next > now ? next - now : 0;
        core->wakeups++;
        slept = wait > 0;
        if (wait > STOA_S(10)) { wait = STOA_S(10); }
        if (slept) {
            stoa_core_note(core, STOA_FLIGHT_SLEEP, NULL, NULL, NULL, wait, core->messages);
            stoa_place_sleep(&core->place, core->watches.count ? core->watches.epoll : -1, wait);
        }
    }
    atomic_store(&core->place.sleeping, 0);
    return slept;
}

enum { LOOKS = 16 };

/* Spin without the clock for about half a microsecond, or until something comes. */
static void look_out(stoa_core *core)
{
    for (int i = 0; i < LOOKS; i++) {
        if (stoa_place_pending(&core->place) || atomic_load_explicit(&core->errands, memory_order_relaxed)) { return; }
        __builtin_ia32_pause();
    }
}

static void *core_main(void *argument)
{
    stoa_core *core = argument;
    stoa_idle idle = core->idle;
    uint64_t spin_ns = idle == STOA_IDLE_BALANCED ? SPIN_BALANCED_NS : 0;
    uint64_t idle_since = 0;
    stoa_fatal_enter(core);
    stoa_log_never_wait(true);
    while (!atomic_load_explicit(&core->stop, memory_order_relaxed)) {
        if (stoa_core_batch(core)) {
            idle_since = 0;
            continue;
        }
        if (!idle_since) { idle_since = core->now_ns; }
        if (idle == STOA_IDLE_LATENCY || core->now_ns - idle_since < spin_ns) {
            look_out(core);
            continue;
        }
        uint64_t since_ns = core->now_ns;
        bool slept = sleep_until_called(core);
        read_clock(core);
        if (slept) { stoa_core_note(core, STOA_FLIGHT_WAKE, NULL, NULL, NULL, core->now_ns - since_ns, 0); }
        idle_since = 0;
    }
    stoa_fatal_leave(core);
    return NULL;
}

stoa_err stoa_core_start(stoa_core *core)
{
    sigset_t before;
    stoa_signals_hold(&before);
    int failed = pthread_create(&core->thread, NULL, core_main, core);
    stoa_signals_release(&before);
    if (failed) { return STOA_FAIL(STOA_E_IO, "thread of core %u: %s", core->place.index, strerror(failed)); }
    core->started = true;
    stoa_cpus_pin(&core->place.node->cpus, core->thread, core->place.index);
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

static bool is_here(const stoa_core *core)
{
    return !core->started || pthread_equal(pthread_self(), core->thread);
}

void stoa_node_outside(const stoa_node *node, const char *instead)
{
    for (uint32_t i = 0; i < node->core_count; i++) {
        const stoa_core *core = node->cores[i];
        if (core && is_here(core) && core->turning.actor) { stoa_panic(STOA_HERE, instead); }
    }
}

void stoa_core_do(stoa_core *core, void (*fn)(stoa_core *core, void *context), void *context)
{
    stoa_node *node = core->place.node;
    if (is_here(core)) {
        stoa_actor *turning = core->turning.actor; /* nobody, between two batches: so it is after the turns of fn */
        fn(core, context);
        core->turning.actor = turning;
        return;
    }
    stoa_node_outside(node, "a turn waits for another core: what node.h declares is for threads outside");
    stoa_errand errand = {.run = fn, .context = context};
    errand.next = atomic_load(&core->errands);
    while (!atomic_compare_exchange_weak(&core->errands, &errand.next, &errand)) {}
    stoa_place_ring_bell(&core->place);
    (void)pthread_mutex_lock(&node->errand_lock);
    while (!errand.done) { (void)pthread_cond_wait(&node->errand_done, &node->errand_lock); }
    (void)pthread_mutex_unlock(&node->errand_lock);
}
