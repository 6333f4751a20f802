/* commands_top.c - `top`: rates since the same connection asked last, or over a quarter of a second the first time.
 *
 * Counters are read now and compared with those kept in the connection's memory. Nothing is averaged or guessed.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "node/commands.h"

enum { FIRST_MS = 250, ACTORS_SHOWN = 20, ACTORS_KEPT = 16384, SHARDS_MAX = 8 };

typedef struct actor_count {
    uint64_t ref, messages;
} actor_count;

/* What is kept of a sample. */
typedef struct kept {
    uint64_t at_ns, cpu_ns;
    stoa_core_view cores[STOA_CORES_MAX];
    stoa_shard_view shards[SHARDS_MAX];
    uint32_t core_count, shard_count, actor_count;
    actor_count actors[]; /* ordered by ref */
} kept;

typedef struct busy {
    stoa_actor_view view;
    uint64_t rate;
} busy;

typedef struct sample {
    kept *kept;
    busy *actors; /* as many as kept->actors, ordered by name */
    uint32_t cap;
    bool cut;     /* there are more actors */
} sample;

/* --- sampling */

static bool grow(sample *s)
{
    uint32_t cap = s->cap ? s->cap * 2 : 256;
    if (cap > ACTORS_KEPT) { return false; }
    busy *actors = realloc(s->actors, cap * sizeof *actors);
    if (actors) { s->actors = actors; }
    kept *k = realloc(s->kept, sizeof *k + cap * sizeof k->actors[0]);
    if (k) { s->kept = k; }
    if (!actors || !k) { return false; }
    s->cap = cap;
    return true;
}

static void take_actor(void *context, const stoa_actor_view *view)
{
    sample *s = context;
    if (s->kept->actor_count == s->cap && !grow(s)) {
        s->cut = true;
        return;
    }
    s->actors[s->kept->actor_count] = (busy){.view = *view};
    s->kept->actors[s->kept->actor_count++] = (actor_count){.ref = view->ref.at, .messages = view->messages};
}

static int by_ref(const void *a, const void *b)
{
    uint64_t x = ((const actor_count *)a)->ref, y = ((const actor_count *)b)->ref;
    return x < y ? -1 : x > y;
}

static stoa_err take_sample(stoa_platform *platform, sample *out)
{
    sample s = {.kept = calloc(1, sizeof *s.kept)};
    if (!s.kept) { return STOA_FAIL(STOA_E_NOMEM, "top"); }
    stoa_err err = STOA_OK;
    stoa_shard *shard;
    for (uint32_t i = 0; i < stoa_core_count(platform->node) && !err; i++) {
        err = stoa_core_look(platform->node, i, &s.kept->cores[s.kept->core_count++]);
    }
    for (uint32_t i = 0; i < SHARDS_MAX && (shard = stoa_shard_at(platform, i)) != NULL && !err; i++) {
        err = stoa_shard_glance(shard, &s.kept->shards[s.kept->shard_count++]);
    }
    if (!err) { err = stoa_actors(platform->node, NULL, take_actor, &s); }
    s.kept->at_ns = stoa_clock_real.now_ns(&stoa_clock_real);
    s.kept->cpu_ns = stoa_process_cpu_ns();
    if (err) {
        free(s.kept);
        free(s.actors);
        return err;
    }
    *out = s;
    return STOA_OK;
}

/* --- rates */

/* How many a second; a counter that went back (its actor began anew) counts from 0. */
static uint64_t rate(uint64_t before, uint64_t now, uint64_t interval_ns)
{
    uint64_t count = now >= before ? now - before : now;
    return (uint64_t)((double)count * 1e9 / (double)interval_ns + 0.5);
}

static uint64_t permille(uint64_t before, uint64_t now, uint64_t interval_ns)
{
    return now > before ? (now - before) * 1000 / interval_ns : 0;
}

static int busiest_first(const void *a, const void *b)
{
    const busy *x = a, *y = b;
    if (x->rate != y->rate) { return x->rate > y->rate ? -1 : 1; }
    return strcmp(x->view.name, y->view.name);
}

static void rate_actors(sample *now, const kept *before, uint64_t interval_ns)
{
    for (uint32_t i = 0; i < now->kept->actor_count; i++) {
        busy *actor = &now->actors[i];
        actor_count wanted = {.ref = actor->view.ref.at};
        const actor_count *was = NULL;
        if (before->actor_count) { was = bsearch(&wanted, before->actors, before->actor_count, sizeof wanted, by_ref); }
        actor->rate = rate(was ? was->messages : 0, actor->view.messages, interval_ns);
    }
    if (now->kept->actor_count) {
        qsort(now->actors, now->kept->actor_count, sizeof *now->actors, busiest_first);
        qsort(now->kept->actors, now->kept->actor_count, sizeof now->kept->actors[0], by_ref);
    }
}

/* --- the document */

static void put_node(stoa_doc *doc, const stoa_platform *platform, const kept *now, const kept *before,
                     uint64_t interval_ns)
{
    uint64_t messages = 0, events = 0;
    for (uint32_t i = 0; i < now->core_count; i++) { messages += now->cores[i].messages - before->cores[i].messages; }
    for (uint32_t i = 0; i < now->shard_count; i++) { events += now->shards[i].applied - before->shards[i].applied; }
    stoa_doc_open(doc, "node", '{');
    stoa_doc_text(doc, "name", platform->settings.node_name);
    stoa_doc_text(doc, "phase", stoa_phase_name(atomic_load(&platform->phase)));
    stoa_doc_uint(doc, "uptime_ns", stoa_clock_real.wall_ns(&stoa_clock_real) - platform->started_ns);
    stoa_doc_uint(doc, "interval_ns", interval_ns);
    stoa_doc_uint(doc, "processor_permille", permille(before->cpu_ns, now->cpu_ns, interval_ns));
    stoa_doc_uint(doc, "message_rate", rate(0, messages, interval_ns));
    stoa_doc_uint(doc, "event_rate", rate(0, events, interval_ns));
    stoa_doc_uint(doc, "actors", now->actor_count);
    stoa_doc_close(doc, '}');
}

static void put_cores(stoa_doc *doc, const kept *now, const kept *before, uint64_t interval_ns)
{
    stoa_doc_open(doc, "cores", '[');
    for (uint32_t i = 0; i < now->core_count; i++) {
        const stoa_core_view *core = &now->cores[i], *was = &before->cores[i];
        stoa_doc_open(doc, NULL, '{');
        stoa_doc_uint(doc, "core", core->core);
        stoa_doc_uint(doc, "busy_permille", permille(was->busy_ns, core->busy_ns, interval_ns));
        stoa_doc_uint(doc, "message_rate", rate(was->messages, core->messages, interval_ns));
        stoa_doc_uint(doc, "cross_rate", rate(was->cross, core->cross, interval_ns));
        stoa_doc_uint(doc, "sleep_rate", rate(was->wakeups, core->wakeups, interval_ns));
        stoa_doc_uint(doc, "timer_rate", rate(was->timers, core->timers, interval_ns));
        stoa_doc_uint(doc, "queued", core->queued);
        stoa_doc_uint(doc, "actors", core->actors);
        stoa_doc_uint(doc, "dead_letters", core->dead_letters);
        stoa_doc_uint(doc, "used_bytes", core->used_bytes);
        stoa_doc_close(doc, '}');
    }
    stoa_doc_close(doc, ']');
}

static void put_shards(stoa_doc *doc, const kept *now, const kept *before, uint64_t interval_ns)
{
    stoa_doc_open(doc, "shards", '[');
    for (uint32_t i = 0; i < now->shard_count; i++) {
        const stoa_shard_view *shard = &now->shards[i], *was = &before->shards[i];
        stoa_doc_open(doc, NULL, '{');
        stoa_doc_text(doc, "shard", shard->name);
        stoa_doc_text(doc, "durability", stoa_durability_texts[shard->durability]);
        stoa_doc_uint(doc, "event_rate", rate(was->applied, shard->applied, interval_ns));
        stoa_doc_uint(doc, "block_rate", rate(was->blocks, shard->blocks, interval_ns));
        stoa_doc_uint(doc, "applied", shard->applied);
        stoa_doc_uint(doc, "uncommitted", shard->applied - shard->committed);
        stoa_doc_uint(doc, "waiting", shard->waiting);
        stoa_doc_close(doc, '}');
    }
    stoa_doc_close(doc, ']');
}

static void put_actors(stoa_doc *doc, const sample *now)
{
    stoa_doc_open(doc, "actors", '[');
    for (uint32_t i = 0; i < now->kept->actor_count && i < ACTORS_SHOWN; i++) {
        const busy *actor = &now->actors[i];
        stoa_doc_open(doc, NULL, '{');
        stoa_doc_text(doc, "actor", actor->view.name);
        stoa_doc_uint(doc, "message_rate", actor->rate);
        stoa_doc_uint(doc, "messages", actor->view.messages);
        stoa_doc_uint(doc, "queued", actor->view.queued);
        stoa_doc_uint(doc, "refused", actor->view.refused);
        stoa_put_turn(doc, &actor->view);
        stoa_doc_uint(doc, "core", actor->view.core);
        stoa_doc_close(doc, '}');
    }
    stoa_doc_close(doc, ']');
}

static void put_all(stoa_door_call *call, const stoa_platform *platform, sample *now, const kept *before)
{
    stoa_doc doc = stoa_doc_to(&call->document);
    uint64_t interval_ns = now->kept->at_ns > before->at_ns ? now->kept->at_ns - before->at_ns : 1;
    rate_actors(now, before, interval_ns);
    stoa_doc_open(&doc, NULL, '{');
    put_node(&doc, platform, now->kept, before, interval_ns);
    put_cores(&doc, now->kept, before, interval_ns);
    put_shards(&doc, now->kept, before, interval_ns);
    put_actors(&doc, now);
    if (now->cut) { stoa_doc_printf(&doc, "note", "only the first %d actors were looked at", ACTORS_KEPT); }
    stoa_doc_close(&doc, '}');
    stoa_buf_puts(&call->view,
                  "fields node: name, phase, uptime_ns=uptime/ns, processor_permille=processor/permille, "
                  "message_rate=messages/rate, "
                  "event_rate=events/rate, interval_ns=measured over/ns\n"
                  "table cores: core/id, busy_permille=busy/permille, message_rate=messages/rate, cross_rate=to "
                  "others/rate?, "
                  "timer_rate=timers/rate?, sleep_rate=sleeps/rate?, queued/n, actors/n, dead_letters/n?, "
                  "used_bytes=memory/bytes?\n"
                  "table shards: shard, durability, event_rate=events/rate, block_rate=blocks/rate, applied/id, "
                  "uncommitted/n, "
                  "waiting/n\n"
                  "table actors: actor, message_rate=messages/rate, messages=in all/n, queued/n, refused/n, "
                  "turn_ns=turn/ns, core/id\n"
                  "text note");
}

static void pause_ms(const stoa_door_call *call)
{
    uint64_t half_ns = stoa_call_left_ns(call) / 2;
    uint64_t ns = half_ns < STOA_MS(FIRST_MS) ? half_ns : STOA_MS(FIRST_MS);
    struct timespec wait = {.tv_nsec = (long)ns};
    (void)nanosleep(&wait, NULL);
}

stoa_err stoa_command_top(stoa_platform *platform, stoa_door_call *call)
{
    sample now;
    kept *before = *call->memory;
    stoa_err err = STOA_OK;
    *call->memory = NULL;
    if (!before) {
        err = take_sample(platform, &now);
        if (err) { return err; }
        before = now.kept;
        if (before->actor_count) { qsort(before->actors, before->actor_count, sizeof before->actors[0], by_ref); }
        free(now.actors);
        pause_ms(call);
    }
    err = take_sample(platform, &now);
    if (!err) {
        put_all(call, platform, &now, before);
        *call->memory = now.kept;
        free(now.actors);
    }
    free(before);
    return err;
}
