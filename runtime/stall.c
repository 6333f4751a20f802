/* stall.c - the watcher's thread and the list of stalls. See stall.h.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "runtime/stall.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/log.h"
#include "runtime/internal.h"

enum {
    IDLE_FACTOR = 5, /* all cores idle: look so many times less often */
    STEP_MAX = 4,    /* intervals that a look may count for, however long it came after the last one */
    LINES_MAX = 10,  /* of log in LINES_S seconds */
    LINES_S = 60,
    LINE_FRAMES = 8,
    QUESTIONS_MAX = 20, /* to a thread that does not answer: it may wait for a processor */
};

/* A core, as the watcher saw it last. */
typedef struct watched {
    stoa_running running;   /* actor NULL: none */
    uint64_t ns, cpu_at_ns; /* seen for; its thread's processor time when it was seen first */
    stoa_stall_view *stall; /* NULL: not long enough */
    uint32_t questions;     /* where it is, for this stall */
    stoa_counter *counter;
} watched;

struct stoa_watch {
    stoa_node *node;
    pthread_t thread;
    bool started;
    pthread_mutex_t lock; /* of all below */
    pthread_cond_t wake;
    bool stop;
    uint64_t interval_ns, last_ns;
    watched cores[STOA_CORES_MAX];
    stoa_stall_view stalls[STOA_STALLS];
    uint64_t stall_count;
    uint64_t lines_from_ns; /* begin of the period that lines are counted in */
    uint32_t lines, unwritten;
};

/* --- who it is */

/* Whether the kind takes the message; what is no row of its is not looked into. */
static bool takes(const stoa_kind *kind, const stoa_row *row)
{
    if ((uintptr_t)row - (uintptr_t)kind->rows < kind->rows_bytes) { return true; }
    const stoa_hear *hear = kind->hears;
    while (hear->row && hear->row != row) {
        hear++;
    }
    return hear->row != NULL;
}

/* Plain loads of what another thread writes: relaxed, each a word, and none of them is followed before it was checked.
 * Actors and messages stay mapped as long as the core lives. */
__attribute__((no_sanitize("thread", "address"))) bool stoa_running_look(const stoa_core *core, stoa_running *out)
{
    const stoa_actor *actor = __atomic_load_n(&core->turning.actor, __ATOMIC_RELAXED);
    if (!actor) { return false; }
    out->actor = actor;
    out->kind = __atomic_load_n(&actor->kind, __ATOMIC_RELAXED);
    out->turn = __atomic_load_n(&actor->messages, __ATOMIC_RELAXED);
    out->ref.at = __atomic_load_n(&actor->self.at, __ATOMIC_RELAXED);
    const stoa_msg *msg = __atomic_load_n(&core->turning.msg, __ATOMIC_RELAXED);
    out->row = msg ? __atomic_load_n(&msg->row, __ATOMIC_RELAXED) : NULL;
    if (!out->kind) { return false; }
    if (out->row && !takes(out->kind, out->row)) { out->row = NULL; }
    return actor == __atomic_load_n(&core->turning.actor, __ATOMIC_RELAXED) &&
           out->turn == __atomic_load_n(&actor->messages, __ATOMIC_RELAXED);
}

void stoa_running_name(const stoa_core *core, const stoa_running *running, char *name)
{
    if (stoa_names_of(&core->place.node->names, running->ref, name)) { return; }
    (void)snprintf(name, STOA_NAME_MAX + 1, "%s", running->kind->name);
}

static uint64_t cpu_ns(const stoa_core *core)
{
    clockid_t clock;
    struct timespec used;
    if (pthread_getcpuclockid(core->thread, &clock) || clock_gettime(clock, &used)) { return 0; }
    return STOA_S(used.tv_sec) + (uint64_t)used.tv_nsec;
}

/* --- telling */

static void row_text(const stoa_row *row, char *text, size_t bytes)
{
    (void)snprintf(text, bytes, "%s%s%s", row ? row->kind : "", row ? "." : "", row ? row->name : "start");
}

/* A stall has a line, until there are too many; the next one says how many were left out. */
static void log_line(stoa_watch *w, const char *event, const stoa_stall_view *stall, const char *backtrace)
{
    char message[STOA_FLIGHT_TEXT];
    if (w->last_ns - w->lines_from_ns >= STOA_S(LINES_S)) {
        w->lines_from_ns = w->last_ns;
        w->lines = 0;
    }
    if (w->lines++ >= LINES_MAX) {
        w->unwritten++;
        return;
    }
    row_text(stall->row, message, sizeof message);
    stoa_log(STOA_LOG_WARN, event, STOA_KU("core", stall->core), STOA_KV("actor", stall->actor),
             STOA_KV("message", message), STOA_KU("ms", stall->ns / STOA_MS(1)),
             STOA_KU("cpu_ms", stall->cpu_ns / STOA_MS(1)), STOA_KV("backtrace", backtrace),
             STOA_KU("not_logged", w->unwritten));
    w->unwritten = 0;
}

static void keep_frames(stoa_stall_view *stall, const stoa_flight_frames *frames)
{
    stall->frame_count = frames->count < STOA_STALL_FRAMES ? frames->count : STOA_STALL_FRAMES;
    for (uint32_t i = 0; i < stall->frame_count; i++) {
        stoa_stall_frame *frame = &stall->frames[i];
        frame->address = frames->address[i];
        frame->offset = frames->offset[i];
        (void)snprintf(frame->in, sizeof frame->in, "%s", frames->in[i]);
    }
}

/* Who it is and where it is: from its own thread where signals are ours, else only who. */
static void identify(stoa_core *core, const stoa_running *running, stoa_stall_view *stall, stoa_flight_frames *frames)
{
    stoa_caught caught;
    frames->count = 0;
    stall->without = "";
    if (stoa_fatal_ask(core, &caught)) {
        if (caught.running.turn == running->turn && caught.running.actor == running->actor) {
            memcpy(stall->actor, caught.name, sizeof stall->actor);
            stoa_backtrace_name(&caught.trace, true, frames);
            keep_frames(stall, frames);
        } else {
            stall->without = "it ended before it was asked";
        }
    } else {
        stall->without =
            core->place.node->options.catch_signals ? "its thread did not answer" : "signals are not caught";
    }
    if (!stall->actor[0]) { stoa_running_name(core, running, stall->actor); }
}

static stoa_flight_note note_of(const stoa_stall_view *stall, stoa_flight_code code)
{
    return (stoa_flight_note){.code = code,
                              .core = stall->core,
                              .actor = stall->ref.at,
                              .actor_name = stall->actor,
                              .row = stall->row,
                              .a = stall->ns,
                              .b = stall->cpu_ns};
}

static void tell(stoa_watch *w, stoa_core *core, watched *seen)
{
    char text[STOA_LOG_LINE_MAX / 2] = "";
    stoa_buf backtrace = STOA_BUF_FIXED(text);
    stoa_flight_frames frames;
    stoa_stall_view *stall = seen->stall;
    bool again = seen->questions++ > 0;
    identify(core, &seen->running, stall, &frames);
    if (again && !frames.count) { return; } /* nothing new */
    stoa_flight_note note = note_of(stall, STOA_FLIGHT_STALL);
    stoa_flight_put_shared(w->node->flight, stall->wall_ns + stall->ns, &note, &frames);
    stoa_frames_print(&frames, LINE_FRAMES, &backtrace);
    log_line(w, "stall", stall, text[0] ? text : stall->without);
}

static void begin(stoa_watch *w, stoa_core *core, watched *seen)
{
    stoa_stall_view *stall = &w->stalls[w->stall_count % STOA_STALLS];
    for (uint32_t i = 0; i < w->node->core_count; i++) {
        if (w->cores[i].stall == stall) { w->cores[i].stall = NULL; } /* older than all that are kept */
    }
    memset(stall, 0, sizeof *stall);
    stall->number = ++w->stall_count;
    stall->wall_ns = stoa_clock_real.wall_ns(&stoa_clock_real) - seen->ns;
    stall->core = core->place.index;
    stall->ns = seen->ns;
    stall->cpu_ns = cpu_ns(core) - seen->cpu_at_ns;
    stall->row = seen->running.row;
    stall->ref = seen->running.ref;
    seen->stall = stall;
    seen->questions = 0;
    if (seen->counter) { stoa_counter_add(seen->counter, 1); }
    tell(w, core, seen);
}

static void finish(stoa_watch *w, watched *seen)
{
    stoa_stall_view *stall = seen->stall;
    seen->stall = NULL;
    stall->over = true;
    stoa_flight_note note = note_of(stall, STOA_FLIGHT_STALLED);
    stoa_flight_put_shared(w->node->flight, stall->wall_ns + stall->ns, &note, NULL);
    log_line(w, "stall_over", stall, NULL);
}

/* --- looking */

/* Whether the core runs anything. */
static bool look(stoa_watch *w, stoa_core *core, uint64_t step_ns)
{
    const stoa_options *options = &w->node->options;
    watched *seen = &w->cores[core->place.index];
    stoa_running running = {0};
    bool runs = stoa_running_look(core, &running);
    if (!runs || running.actor != seen->running.actor || running.turn != seen->running.turn) {
        bool ran = runs || running.actor || seen->running.actor;
        if (seen->stall) { finish(w, seen); }
        seen->running = runs ? running : (stoa_running){0};
        seen->ns = 0;
        return ran;
    }
    if (!seen->ns) { seen->cpu_at_ns = cpu_ns(core); }
    seen->ns += step_ns;
    if (seen->stall) {
        seen->stall->ns = seen->ns;
        seen->stall->cpu_ns = cpu_ns(core) - seen->cpu_at_ns;
        if (options->catch_signals && !seen->stall->frame_count && seen->questions < QUESTIONS_MAX) {
            tell(w, core, seen);
        }
    } else if (options->stall_ns && seen->ns >= options->stall_ns) {
        begin(w, core, seen);
    }
    if (options->hard_ns && seen->ns >= options->hard_ns) {
        stoa_fatal_overrun(core, &seen->running, seen->ns, cpu_ns(core) - seen->cpu_at_ns);
    }
    return true;
}

static uint64_t now_ns(void)
{
    return stoa_clock_real.now_ns(&stoa_clock_real);
}

static void wait_ns(stoa_watch *w, uint64_t ns)
{
    uint64_t until = now_ns() + ns;
    struct timespec at = {(time_t)(until / STOA_S(1)), (long)(until % STOA_S(1))};
    if (!w->stop) { (void)pthread_cond_timedwait(&w->wake, &w->lock, &at); }
}

static void *watch_main(void *argument)
{
    stoa_watch *w = argument;
    bool busy = true;
    (void)pthread_mutex_lock(&w->lock);
    w->last_ns = w->lines_from_ns = now_ns();
    while (!w->stop) {
        wait_ns(w, busy ? w->interval_ns : w->interval_ns * IDLE_FACTOR);
        uint64_t now = now_ns(), step_ns = now - w->last_ns;
        w->last_ns = now;
        if (step_ns > w->interval_ns * STEP_MAX) { step_ns = w->interval_ns * STEP_MAX; }
        busy = false;
        for (uint32_t i = 0; i < w->node->core_count && !w->stop; i++) {
            busy |= look(w, w->node->cores[i], step_ns);
        }
    }
    (void)pthread_mutex_unlock(&w->lock);
    return NULL;
}

/* --- life */

static stoa_err count_stalls(stoa_watch *w)
{
    stoa_metrics *metrics = w->node->options.metrics;
    stoa_err err = STOA_OK;
    for (uint32_t i = 0; metrics && i < w->node->core_count && !err; i++) {
        char labels[32];
        (void)snprintf(labels, sizeof labels, "core=\"%u\"", i);
        err = stoa_metrics_counter(metrics, "stoa_stalls_total", labels, "Turns that took longer than the threshold.",
                                   &w->cores[i].counter);
    }
    return err;
}

stoa_err stoa_watch_open(stoa_node *node, stoa_watch **out)
{
    enum { INTERVAL_MS = 10 };
    stoa_watch *w = calloc(1, sizeof *w);
    pthread_condattr_t attributes;
    if (!w) { return STOA_FAIL(STOA_E_NOMEM, "stall detector"); }
    w->node = node;
    w->interval_ns = node->options.watch_ns ? node->options.watch_ns : STOA_MS(INTERVAL_MS);
    (void)pthread_condattr_init(&attributes);
    (void)pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    (void)pthread_mutex_init(&w->lock, NULL);
    (void)pthread_cond_init(&w->wake, &attributes);
    (void)pthread_condattr_destroy(&attributes);
    stoa_err err = count_stalls(w);
    int failed = err ? 0 : pthread_create(&w->thread, NULL, watch_main, w);
    if (failed) { err = STOA_FAIL(STOA_E_IO, "thread of the stall detector: %s", strerror(failed)); }
    w->started = !err;
    if (err) {
        stoa_watch_close(w);
        return err;
    }
    (void)pthread_setname_np(w->thread, "stoa-watch");
    *out = w;
    return STOA_OK;
}

void stoa_watch_close(stoa_watch *w)
{
    if (!w) { return; }
    if (w->started) {
        (void)pthread_mutex_lock(&w->lock);
        w->stop = true;
        (void)pthread_cond_signal(&w->wake);
        (void)pthread_mutex_unlock(&w->lock);
        (void)pthread_join(w->thread, NULL);
    }
    (void)pthread_mutex_destroy(&w->lock);
    (void)pthread_cond_destroy(&w->wake);
    free(w);
}

/* --- reading the list */

stoa_err stoa_stalls(stoa_node *node, void (*visit)(void *context, const stoa_stall_view *stall), void *context)
{
    stoa_watch *w = node->watch;
    if (!w) { return STOA_OK; }
    stoa_stall_view *copy = malloc(STOA_STALLS * sizeof *copy);
    if (!copy) { return STOA_FAIL(STOA_E_NOMEM, "stalls"); }
    (void)pthread_mutex_lock(&w->lock);
    uint64_t count = w->stall_count, first = count > STOA_STALLS ? count - STOA_STALLS : 0;
    for (uint64_t i = first; i < count; i++) {
        copy[i - first] = w->stalls[i % STOA_STALLS];
    }
    (void)pthread_mutex_unlock(&w->lock);
    for (uint64_t i = first; i < count; i++) {
        visit(context, &copy[i - first]);
    }
    free(copy);
    return STOA_OK;
}
