/* view.c - looking into a node: actors, cores, topics, shards, dead letters. Each look runs on the core it looks at.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include <fnmatch.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/wire.h"
#include "runtime/internal.h"
#include "runtime/move.h"
#include "runtime/shard.h"

enum { LOOK_WAIT_MS = 2000 };

/* --- actors */

typedef struct actor_list {
    const char *pattern;
    stoa_actor_view *at;
    size_t count, cap;
    stoa_err err;
} actor_list;

static const char *status_of(const stoa_actor *actor)
{
    if (actor->flags & STOA_ACTOR_ENDING) { return "ends"; }
    if (actor->flags & STOA_ACTOR_DOWN) { return "down"; }
    return (actor->flags & STOA_ACTOR_FRESH) ? "starts" : "serves";
}

static void fill_place_in_tree(stoa_core *core, const stoa_actor *actor, stoa_actor_view *view)
{
    static const char *const restarts[] = {"temporary", "transient", "permanent"};
    static const char *const strategies[] = {"one_for_one", "one_for_all", "rest_for_one"};
    const stoa_actor *parent = stoa_tree_parent(core, actor);
    const stoa_actor_more *more = actor->more;
    view->parent = parent ? parent->self : STOA_REF_NONE;
    view->children = more ? more->family.count : 0;
    view->status = status_of(actor);
    view->restart = restarts[actor->shard ? STOA_PERMANENT : more ? more->restart : STOA_TEMPORARY];
    view->strategy = strategies[actor->kind->supervision.strategy];
    view->last_end = more ? more->fate.text : NULL;
    view->last_why = view->last_end ? stoa_end_texts[more->fate.why] : NULL;
}

static void fill_view(stoa_core *core, const stoa_actor *actor, stoa_actor_view *view)
{
    memset(view, 0, sizeof *view);
    (void)snprintf(view->name, sizeof view->name, "%s", stoa_actor_name(actor));
    view->kind = actor->kind->name;
    view->ref = actor->self;
    view->core = core->place.index;
    view->queued = actor->queued;
    view->messages = actor->messages;
    view->refused = actor->refused;
    view->restarts = actor->restarts;
    view->state_bytes = actor->kind->state_bytes;
    view->handler_ns = actor->handler_ns;
    view->last_refusal = (stoa_err)actor->last_refusal;
    view->shard = actor->shard ? actor->shard->name : NULL;
    fill_place_in_tree(core, actor, view);
    if (!actor->more) { return; }
    view->conflated = actor->more->conflated;
    for (unsigned i = 0; i < STOA_DROP_COUNT; i++) { view->dropped[i] = actor->more->dropped[i]; }
}

enum { LOOK_MANY = 4096, LIST_MANY = 256 }; /* actors that a core looks at in one go: others have theirs between */

/* Some more of a core's actors; at is where it stands. */
typedef struct listing {
    actor_list *list;
    uint32_t at;
    bool done;
} listing;

/* There is room for LIST_MANY. */
static void list_on_core(stoa_core *core, void *context)
{
    listing *l = context;
    actor_list *list = l->list;
    for (uint32_t looked = 0; looked < LIST_MANY; looked++) {
        const stoa_actor *actor = stoa_actor_next(core, &l->at);
        l->done = !actor;
        if (l->done) { return; }
        if (list->pattern && fnmatch(list->pattern, stoa_actor_name(actor), 0) != 0) { continue; }
        fill_view(core, actor, &list->at[list->count++]);
    }
}

static stoa_err make_room(actor_list *list)
{
    if (list->cap - list->count >= LIST_MANY) { return STOA_OK; }
    size_t cap = list->cap * 2 + LIST_MANY;
    stoa_actor_view *views = realloc(list->at, cap * sizeof *views);
    if (!views) { return STOA_E_NOMEM; }
    list->at = views;
    list->cap = cap;
    return STOA_OK;
}

static void list_core(stoa_core *core, actor_list *list)
{
    for (listing l = {.list = list}; !l.done && !list->err;) {
        list->err = make_room(list);
        if (!list->err) { stoa_core_do(core, list_on_core, &l); }
    }
}

static int by_name(const void *a, const void *b)
{
    return strcmp(((const stoa_actor_view *)a)->name, ((const stoa_actor_view *)b)->name);
}

stoa_err stoa_actors(stoa_node *node, const char *pattern, void (*visit)(void *context, const stoa_actor_view *view),
                     void *context)
{
    actor_list list = {.pattern = pattern};
    for (uint32_t i = 0; i < node->core_count; i++) { list_core(node->cores[i], &list); }
    if (list.count) { qsort(list.at, list.count, sizeof *list.at, by_name); }
    for (size_t i = 0; i < list.count && !list.err; i++) { visit(context, &list.at[i]); }
    free(list.at);
    return list.err;
}

typedef struct inspecting {
    stoa_ref ref;
    stoa_buf *out;
    stoa_err err;
    struct stoa_shard *shard; /* of an event-sourced one, and what is shown of it */
    uint64_t position;
    uint32_t drops;
} inspecting;

static void inspect_on_core(stoa_core *core, void *context)
{
    inspecting *look = context;
    const stoa_actor *actor = stoa_core_actor(core, look->ref);
    look->err = actor ? STOA_OK : stoa_away_follow(core, &look->ref) ? STOA_E_AGAIN : STOA_E_NOT_FOUND;
    if (!actor) { return; }
    const stoa_kind *kind = actor->kind;
    look->shard = actor->shard;
    if (look->shard) {
        look->position = look->shard->applied;
        look->drops = look->shard->drops;
    }
    if (look->shard && look->shard->down) {
        look->err = STOA_E_UNAVAILABLE;
    } else if (kind->inspect) {
        kind->inspect(actor->state, look->out);
    } else if (kind->state_type && kind->state_type->size_bytes == kind->state_bytes) {
        stoa_print_json(kind->state_type, actor->state, look->out);
    } else {
        look->err = STOA_E_UNSUPPORTED;
    }
}

/* OK: what was shown is committed; AGAIN: it is gone, the shard was dropped; TIMEOUT: neither, yet. */
static void wall_on_core(stoa_core *core, void *context)
{
    (void)core;
    inspecting *look = context;
    bool gone = look->shard->drops != look->drops;
    look->err = gone ? STOA_E_AGAIN : look->position <= look->shard->committed ? STOA_OK : STOA_E_TIMEOUT;
}

static void wait_at_wall(stoa_node *node, inspecting *look)
{
    for (int ms = 0; ms < LOOK_WAIT_MS; ms++) {
        stoa_core_do(look->shard->core, wall_on_core, look);
        if (look->err != STOA_E_TIMEOUT) { return; }
        if (node->options.sim) {
            if (!stoa_sim_step_for_call(node->options.sim)) { return; }
            continue;
        }
        struct timespec wait = {0, 1000000};
        (void)nanosleep(&wait, NULL);
    }
}

static void forget_behind(stoa_buf *out, const stoa_buf *before)
{
    out->used_bytes = before->used_bytes;
    out->cut = before->cut;
    if (out->at && out->used_bytes < out->cap_bytes) { out->at[out->used_bytes] = '\0'; }
}

stoa_err stoa_inspect(stoa_node *node, const char *name, stoa_buf *out)
{
    inspecting look = {.ref = stoa_find(node, name), .out = out, .err = STOA_E_AGAIN};
    uint32_t place = stoa_ref_place(look.ref);
    if (!look.ref.at || place >= node->core_count) { return STOA_FAIL(STOA_E_NOT_FOUND, "no actor '%s'", name); }
    const stoa_buf before = *out;
    for (uint32_t looks = 0; look.err == STOA_E_AGAIN && looks < STOA_MOVE_LOOKS; looks++) {
        stoa_core_do(node->cores[stoa_ref_place(look.ref)], inspect_on_core, &look);
        if (!look.err && look.shard) { wait_at_wall(node, &look); }
        if (look.err) { forget_behind(out, &before); }
    }
    if (look.err == STOA_E_TIMEOUT) {
        return STOA_FAIL(STOA_E_TIMEOUT, "what '%s' is at position %" PRIu64 " of shard %s does not get committed: ask for its past", name,
                         look.position, look.shard->name);
    }
    if (look.err == STOA_E_UNAVAILABLE) { return STOA_FAIL(look.err, "shard %s is down", look.shard->name); }
    return look.err;
}

/* --- cores */

typedef struct core_look {
    stoa_core_view view;
    uint32_t at, queued; /* actors counted so far, and what waits in their mailboxes */
    bool done;
} core_look;

static void count_on_core(stoa_core *core, void *context)
{
    core_look *look = context;
    for (uint32_t looked = 0; looked < LOOK_MANY; looked++) {
        const stoa_actor *actor = stoa_actor_next(core, &look->at);
        look->done = !actor;
        if (look->done) { return; }
        if (!actor->shard) { look->queued += actor->queued; }
    }
}

static void look_on_core(stoa_core *core, void *context)
{
    core_look *look = context;
    uint32_t queued = look->queued;
    for (uint32_t i = 0; i < core->shard_count; i++) { queued += core->shards[i]->inbox.count + core->shards[i]->control.count; }
    look->view = (stoa_core_view){.core = core->place.index,
                                  .actors = core->actor_alive,
                                  .queued = queued,
                                  .messages = core->messages,
                                  .cross = core->cross,
                                  .wakeups = core->wakeups,
                                  .timers = core->timers,
                                  .dead_letters = core->dead_count,
                                  .restarts = core->restarts,
                                  .fanned = core->fanned,
                                  .lent = core->lent,
                                  .memory_bytes = stoa_slab_mapped(&core->place.slab),
                                  .used_bytes = core->place.slab.used_bytes,
                                  .conflated = core->conflated,
                                  .busy_ns = core->busy_ns};
    memcpy(look->view.dropped, core->dropped, sizeof core->dropped);
}

stoa_err stoa_core_look(stoa_node *node, uint32_t core, stoa_core_view *out)
{
    if (core >= node->core_count) { return STOA_FAIL(STOA_E_NOT_FOUND, "no core %u", core); }
    core_look look = {0};
    while (!look.done) { stoa_core_do(node->cores[core], count_on_core, &look); }
    stoa_core_do(node->cores[core], look_on_core, &look);
    *out = look.view;
    return STOA_OK;
}

void stoa_ports_look(stoa_node *node, stoa_ports_view *out)
{
    for (unsigned i = 0; i < STOA_DROP_COUNT; i++) { out->dropped[i] = atomic_load(&node->port_lost[i]); }
}

typedef struct letters {
    stoa_dead_letter *at;
    uint32_t count;
} letters;

static void letters_on_core(stoa_core *core, void *context)
{
    letters *l = context;
    uint64_t first = core->dead_count > STOA_DEAD_LETTERS ? core->dead_count - STOA_DEAD_LETTERS : 0;
    for (uint64_t i = first; i < core->dead_count; i++) { l->at[l->count++] = core->dead[i % STOA_DEAD_LETTERS]; }
}

static int by_time(const void *a, const void *b)
{
    uint64_t x = ((const stoa_dead_letter *)a)->wall_ns, y = ((const stoa_dead_letter *)b)->wall_ns;
    return x < y ? -1 : x > y;
}

stoa_err stoa_dead_letters(stoa_node *node, void (*visit)(void *context, const stoa_dead_letter *letter), void *context)
{
    letters l = {.at = calloc(node->core_count, STOA_DEAD_LETTERS * sizeof *l.at)};
    if (!l.at) { return STOA_FAIL(STOA_E_NOMEM, "dead letters"); }
    for (uint32_t i = 0; i < node->core_count; i++) { stoa_core_do(node->cores[i], letters_on_core, &l); }
    if (l.count) { qsort(l.at, l.count, sizeof *l.at, by_time); }
    for (uint32_t i = 0; i < l.count; i++) { visit(context, &l.at[i]); }
    free(l.at);
    return STOA_OK;
}

/* --- topics */

typedef struct topic_looks {
    void (*visit)(void *context, const stoa_topic_view *view);
    void *context;
} topic_looks;

static void look_at_topic(topic_looks *looks, stoa_topic *topic)
{
    stoa_topic_view view = {.name = topic->name, .published = atomic_load(&topic->published)};
    stoa_audiences *list = atomic_load(&topic->audiences);
    for (uint32_t i = 0; list && i < atomic_load(&list->used); i++) {
        const stoa_audience *audience = atomic_load(&list->at[i]);
        if (audience) { view.subscribers += audience->count; }
    }
    looks->visit(looks->context, &view);
}

static stoa_err look_at_word(void *context, stoa_word *word)
{
    look_at_topic(context, word->topic);
    return STOA_OK;
}

stoa_err stoa_topics(stoa_node *node, const char *pattern, void (*visit)(void *context, const stoa_topic_view *view),
                     void *context)
{
    topic_looks looks = {.visit = visit, .context = context};
    stoa_err err = pattern ? stoa_topic_check(pattern, true) : STOA_OK;
    if (err) { return err; }
    (void)pthread_mutex_lock(&node->topics.lock);
    for (stoa_topic *topic = pattern ? NULL : node->topics.head; topic; topic = topic->next) { look_at_topic(&looks, topic); }
    if (pattern) { (void)stoa_words_topics(&node->topics.words, pattern, look_at_word, &looks); }
    (void)pthread_mutex_unlock(&node->topics.lock);
    return STOA_OK;
}

/* --- shards */

typedef struct shard_look {
    struct stoa_shard *shard;
    stoa_shard_view view;
} shard_look;

static void glance_on_core(stoa_core *core, void *context)
{
    shard_look *look = context;
    struct stoa_shard *shard = look->shard;
    (void)core;
    look->view = (stoa_shard_view){.name = shard->name,
                                   .durability = shard->durability,
                                   .applied = shard->applied,
                                   .committed = shard->committed,
                                   .epoch = shard->epoch,
                                   .recovered = shard->recovered,
                                   .unproven = shard->unproven,
                                   .recovery_ns = shard->recovery_ns,
                                   .snapshot = shard->snapshot,
                                   .actors = shard->actor_count,
                                   .blocks = shard->blocks_written,
                                   .waiting = shard->wall.count,
                                   .drops = shard->drops,
                                   .down = shard->down};
}

static void look_at_shard_on_core(stoa_core *core, void *context)
{
    shard_look *look = context;
    glance_on_core(core, context);
    look->view.hash = stoa_shard_hash(look->shard);
}

static stoa_err look_at_shard(stoa_shard *shard, void (*on_core)(stoa_core *core, void *context), stoa_shard_view *out)
{
    shard_look look = {.shard = shard};
    stoa_core_do(shard->core, on_core, &look);
    *out = look.view;
    return STOA_OK;
}

stoa_err stoa_shard_look(stoa_shard *shard, stoa_shard_view *out)
{
    return look_at_shard(shard, look_at_shard_on_core, out);
}

stoa_err stoa_shard_glance(stoa_shard *shard, stoa_shard_view *out)
{
    return look_at_shard(shard, glance_on_core, out);
}
