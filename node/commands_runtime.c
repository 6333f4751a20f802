/* commands_runtime.c - what the runtime tells of itself: actors, cores, shards, topics, dead letters, state hashes.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "node/commands.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/array.h"
#include "base/clock.h"

/* --- shards by name */

stoa_shard *stoa_shard_at(stoa_platform *platform, uint32_t index)
{
    stoa_shard *const all[] = {platform->trade, platform->room, platform->venue};
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) {
        if (all[i] && index-- == 0) { return all[i]; }
    }
    return index < platform->settings.vault_count ? platform->vaults[index] : NULL;
}

stoa_shard *stoa_shard_named(stoa_platform *platform, const char *name)
{
    stoa_shard *shard;
    for (uint32_t i = 0; (shard = stoa_shard_at(platform, i)) != NULL; i++) {
        stoa_shard_view view;
        if (stoa_shard_glance(shard, &view) == STOA_OK && strcmp(view.name, name) == 0) { return shard; }
    }
    return NULL;
}

/* --- actors, collected */

typedef struct actors {
    stoa_actor_view *at;
    size_t count;
    uint32_t cap;
    const char *only; /* this name, or NULL for all */
    bool cut;
} actors;

static void collect(void *context, const stoa_actor_view *view)
{
    actors *list = context;
    if (list->only && strcmp(list->only, view->name) != 0) { return; }
    stoa_actor_view *at = stoa_array_room(list->at, list->count, &list->cap, sizeof *at);
    if (!at) {
        list->cut = true;
        return;
    }
    list->at = at;
    list->at[list->count++] = *view;
}

static stoa_err collect_actors(stoa_platform *platform, const char *pattern, const char *only, actors *out)
{
    *out = (actors){.only = only};
    stoa_err err = stoa_actors(platform->node, pattern, collect, out);
    if (!err && out->cut) { err = STOA_FAIL(STOA_E_NOMEM, "too many actors to list; give a pattern"); }
    if (err) { free(out->at); }
    return err;
}

void stoa_put_turn(stoa_doc *doc, const stoa_actor_view *view)
{
    if (view->handler_ns) {
        stoa_doc_uint(doc, "turn_ns", view->handler_ns);
    } else {
        stoa_doc_null(doc, "turn_ns");
    }
}

static uint64_t dropped(const stoa_actor_view *view)
{
    uint64_t all = 0;
    for (int reason = 0; reason < STOA_DROP_COUNT; reason++) { all += view->dropped[reason]; }
    return all;
}

static void put_actor(stoa_doc *doc, const stoa_actor_view *view)
{
    stoa_doc_text(doc, "name", view->name);
    stoa_doc_text(doc, "kind", view->kind);
    stoa_doc_uint(doc, "core", view->core);
    stoa_doc_text(doc, "shard", view->shard);
    stoa_doc_uint(doc, "queued", view->queued);
    stoa_doc_uint(doc, "messages", view->messages);
    stoa_doc_uint(doc, "refused", view->refused);
    stoa_doc_text(doc, "last_refusal", view->last_refusal ? stoa_err_name(view->last_refusal) : NULL);
    stoa_doc_uint(doc, "dropped", dropped(view));
    stoa_doc_uint(doc, "conflated", view->conflated);
    stoa_doc_uint(doc, "restarts", view->restarts);
    stoa_doc_uint(doc, "state_bytes", view->state_bytes);
    stoa_put_turn(doc, view);
    stoa_doc_text(doc, "status", view->status);
    stoa_doc_text(doc, "restart", view->restart);
    stoa_doc_uint(doc, "children", view->children);
    stoa_doc_text(doc, "last_end", view->last_end);
    stoa_doc_text(doc, "last_why", view->last_why);
}

/* Why there was nothing to see of an actor, or of a pattern. */
static stoa_err why_unseen(stoa_platform *platform, const char *name)
{
    stoa_ref ref;
    stoa_err err = stoa_find_sought(platform, &stoa_sought_actor, name, &ref, NULL);
    return err ? err : STOA_FAIL(STOA_E_AGAIN, "%s begins just now: ask again", name);
}

stoa_err stoa_command_actors(stoa_platform *platform, stoa_door_call *call)
{
    stoa_doc doc = stoa_doc_to(&call->document);
    const char *pattern = stoa_call_arg(call, 0);
    actors list;
    stoa_err err = collect_actors(platform, pattern, NULL, &list);
    if (err) { return err; }
    stoa_doc_open(&doc, NULL, '{');
    stoa_doc_open(&doc, "actors", '[');
    for (size_t i = 0; i < list.count; i++) {
        stoa_doc_open(&doc, NULL, '{');
        put_actor(&doc, &list.at[i]);
        stoa_doc_close(&doc, '}');
    }
    stoa_doc_close(&doc, ']');
    stoa_doc_close(&doc, '}');
    stoa_buf_puts(&call->view, "table actors: name, core/id?, shard?, queued/n, messages/n, refused/n, last_refusal?, "
                               "restarts/n?, state_bytes=state/bytes?, turn_ns=turn/ns?");
    free(list.at);
    if (list.count || !pattern) { return STOA_OK; }
    stoa_buf_clear(&call->document);
    stoa_buf_clear(&call->view);
    return why_unseen(platform, pattern);
}

static void put_state(stoa_doc *doc, const stoa_buf *state)
{
    if (state->used_bytes && !state->cut) {
        stoa_doc_json(doc, "state", state->at, state->used_bytes);
    } else {
        stoa_doc_null(doc, "state");
    }
}

/* `actor X inspect`: a kind that shows nothing is an error here. */
static stoa_err inspect_only(stoa_platform *platform, stoa_door_call *call, const char *name)
{
    stoa_buf state = STOA_BUF_GROWING;
    stoa_err err = stoa_inspect(platform->node, name, &state);
    if (err == STOA_E_UNSUPPORTED) { err = STOA_FAIL(err, "the kind of '%s' does not show its state", name); }
    if (err == STOA_E_NOT_FOUND) { err = why_unseen(platform, name); }
    if (!err) {
        stoa_doc doc = stoa_doc_to(&call->document);
        stoa_doc_open(&doc, NULL, '{');
        put_state(&doc, &state);
        stoa_doc_close(&doc, '}');
        stoa_buf_puts(&call->view, "value state");
    }
    stoa_buf_deinit(&state);
    return err;
}

stoa_err stoa_command_actor(stoa_platform *platform, stoa_door_call *call)
{
    stoa_doc doc = stoa_doc_to(&call->document);
    stoa_buf state = STOA_BUF_GROWING;
    const char *name = stoa_call_arg(call, 0);
    actors list;
    if (stoa_call_arg(call, 1)) { return inspect_only(platform, call, name); }
    stoa_err err = collect_actors(platform, NULL, name, &list);
    if (err) { return err; }
    if (!list.count) { return why_unseen(platform, name); }
    stoa_doc_open(&doc, NULL, '{');
    stoa_doc_open(&doc, "actor", '{');
    put_actor(&doc, &list.at[0]);
    stoa_doc_close(&doc, '}');
    err = stoa_inspect(platform->node, name, &state);
    put_state(&doc, &state);
    stoa_doc_close(&doc, '}');
    stoa_buf_puts(&call->view, "fields actor: name, kind, core/id, shard, queued/n, messages/n, refused/n, "
                               "last_refusal, dropped/n, conflated/n, restarts/n, state_bytes=state/bytes, turn_ns=turn/ns, status, restart, "
                               "children/n, last_end, last_why\nvalue state");
    stoa_buf_deinit(&state);
    free(list.at);
    return err == STOA_E_UNSUPPORTED ? STOA_OK : err;
}

/* --- move */

stoa_err stoa_command_move(stoa_platform *platform, stoa_door_call *call)
{
    const char *name = stoa_call_arg(call, 0);
    uint32_t core = (uint32_t)stoa_call_number(call, 1, 0);
    stoa_ref ref, moved;
    stoa_err err = stoa_find_sought(platform, &stoa_sought_actor, name, &ref, NULL);
    if (!err) { err = stoa_move(platform->node, ref, core, &moved); }
    if (err) { return err; }
    stoa_doc doc = stoa_doc_to(&call->document);
    stoa_doc_open(&doc, NULL, '{');
    stoa_doc_open(&doc, "move", '{');
    stoa_doc_text(&doc, "name", name);
    stoa_doc_uint(&doc, "core", core);
    stoa_doc_close(&doc, '}');
    stoa_doc_close(&doc, '}');
    stoa_buf_puts(&call->view, "fields move: name, core/id");
    return STOA_OK;
}

/* --- tree: cores, their shards, who lives in them, and whose child everybody is */

enum { TREE_LEVELS = 16 }; /* what is below is counted, not shown */

static int by_parent(const void *a, const void *b)
{
    const stoa_actor_view *x = a, *y = b;
    if (x->parent.at != y->parent.at) { return x->parent.at < y->parent.at ? -1 : 1; }
    return strcmp(x->name, y->name);
}

/* The first actor of a list by parent whose parent is not below that one. */
static size_t first_child(const actors *list, stoa_ref parent)
{
    size_t from = 0, to = list->count;
    while (from < to) {
        size_t middle = from + (to - from) / 2;
        if (list->at[middle].parent.at < parent.at) {
            from = middle + 1;
        } else {
            to = middle;
        }
    }
    return from;
}

static void put_children(stoa_doc *doc, const actors *list, stoa_ref parent, unsigned level);

static void put_leaf(stoa_doc *doc, const actors *list, const stoa_actor_view *view, unsigned level)
{
    bool serves = strcmp(view->status, "serves") == 0;
    stoa_doc_open(doc, NULL, '{');
    stoa_doc_text(doc, "name", view->name);
    stoa_doc_printf(doc, "is", "%s%s%s%s%s", view->shard ? "event-sourced" : view->restart, serves ? "" : ", ",
                    serves ? "" : view->status, view->children ? ", " : "", view->children ? view->strategy : "");
    stoa_doc_uint(doc, "queued", view->queued);
    stoa_doc_uint(doc, "messages", view->messages);
    stoa_doc_uint(doc, "restarts", view->restarts);
    stoa_doc_uint(doc, "children_count", view->children);
    stoa_doc_text(doc, "last_end", view->last_end);
    if (view->children && level < TREE_LEVELS) {
        stoa_doc_open(doc, "children", '[');
        put_children(doc, list, view->ref, level + 1);
        stoa_doc_close(doc, ']');
    }
    stoa_doc_close(doc, '}');
}

static void put_children(stoa_doc *doc, const actors *list, stoa_ref parent, unsigned level)
{
    for (size_t i = first_child(list, parent); i < list->count && list->at[i].parent.at == parent.at; i++) {
        put_leaf(doc, list, &list->at[i], level);
    }
}

static bool lives(const stoa_actor_view *view, uint32_t core, const char *shard)
{
    if (view->parent.at || view->core != core || !view->shard != !shard) { return false; }
    return !shard || strcmp(view->shard, shard) == 0;
}

static void put_leaves(stoa_doc *doc, const actors *list, uint32_t core, const char *shard)
{
    for (size_t i = 0; i < list->count; i++) {
        if (lives(&list->at[i], core, shard)) { put_leaf(doc, list, &list->at[i], 0); }
    }
}

/* Every shard that has an actor on the core. */
static void put_shards(stoa_doc *doc, stoa_platform *platform, const actors *list, uint32_t core)
{
    stoa_shard *shard;
    for (uint32_t i = 0; (shard = stoa_shard_at(platform, i)) != NULL; i++) {
        stoa_shard_view view;
        bool here = false;
        if (stoa_shard_glance(shard, &view)) { continue; }
        for (size_t k = 0; k < list->count && !here; k++) { here = lives(&list->at[k], core, view.name); }
        if (!here) { continue; }
        stoa_doc_open(doc, NULL, '{');
        stoa_doc_text(doc, "name", view.name);
        stoa_doc_printf(doc, "is", "shard, %s", stoa_durability_texts[view.durability]);
        stoa_doc_uint(doc, "queued", view.waiting);
        stoa_doc_null(doc, "messages");
        stoa_doc_null(doc, "restarts");
        stoa_doc_uint(doc, "children_count", view.actors);
        stoa_doc_null(doc, "last_end");
        stoa_doc_open(doc, "children", '[');
        put_leaves(doc, list, core, view.name);
        stoa_doc_close(doc, ']');
        stoa_doc_close(doc, '}');
    }
}

stoa_err stoa_command_tree(stoa_platform *platform, stoa_door_call *call)
{
    stoa_doc doc = stoa_doc_to(&call->document);
    actors list;
    stoa_err err = collect_actors(platform, NULL, NULL, &list);
    if (err) { return err; }
    if (list.count) { qsort(list.at, list.count, sizeof *list.at, by_parent); }
    stoa_doc_open(&doc, NULL, '{');
    stoa_doc_open(&doc, "cores", '[');
    for (uint32_t core = 0; core < stoa_core_count(platform->node); core++) {
        stoa_core_view view;
        if (stoa_core_look(platform->node, core, &view)) { continue; }
        stoa_doc_open(&doc, NULL, '{');
        stoa_doc_printf(&doc, "name", "core %u", core);
        stoa_doc_text(&doc, "is", "core");
        stoa_doc_uint(&doc, "queued", view.queued);
        stoa_doc_uint(&doc, "messages", view.messages);
        stoa_doc_uint(&doc, "restarts", view.restarts);
        stoa_doc_uint(&doc, "children_count", view.actors);
        stoa_doc_null(&doc, "last_end");
        stoa_doc_open(&doc, "children", '[');
        put_shards(&doc, platform, &list, core);
        put_leaves(&doc, &list, core, NULL);
        stoa_doc_close(&doc, ']');
        stoa_doc_close(&doc, '}');
    }
    stoa_doc_close(&doc, ']');
    stoa_doc_close(&doc, '}');
    stoa_buf_puts(&call->view, "tree cores: name, is, queued/n, messages/n, restarts/n, last_end?");
    free(list.at);
    return STOA_OK;
}

/* --- shards */

static void put_shard(stoa_doc *doc, const stoa_shard_view *view)
{
    stoa_doc_text(doc, "name", view->name);
    stoa_doc_text(doc, "durability", stoa_durability_texts[view->durability]);
    stoa_doc_uint(doc, "applied", view->applied);
    stoa_doc_uint(doc, "committed", view->committed);
    stoa_doc_uint(doc, "waiting", view->waiting);
    stoa_doc_uint(doc, "actors", view->actors);
    stoa_doc_uint(doc, "blocks", view->blocks);
    stoa_doc_uint(doc, "epoch", view->epoch);
    stoa_doc_uint(doc, "snapshot", view->snapshot);
    stoa_doc_uint(doc, "recovered", view->recovered);
    stoa_doc_uint(doc, "unproven", view->unproven);
    stoa_doc_uint(doc, "recovery_ns", view->recovery_ns);
}

stoa_err stoa_command_shards(stoa_platform *platform, stoa_door_call *call)
{
    stoa_doc doc = stoa_doc_to(&call->document);
    stoa_shard *shard;
    stoa_doc_open(&doc, NULL, '{');
    stoa_doc_open(&doc, "shards", '[');
    for (uint32_t i = 0; (shard = stoa_shard_at(platform, i)) != NULL; i++) {
        stoa_shard_view view;
        if (stoa_shard_glance(shard, &view)) { continue; }
        stoa_doc_open(&doc, NULL, '{');
        put_shard(&doc, &view);
        stoa_doc_close(&doc, '}');
    }
    stoa_doc_close(&doc, ']');
    stoa_doc_close(&doc, '}');
    stoa_buf_puts(&call->view, "table shards: name, durability, applied/id, committed/id, waiting/n, actors/n, "
                               "blocks=new blocks/n?, epoch/id?, recovered/n?, unproven/n?, recovery_ns=recovery/ns?");
    return STOA_OK;
}

/* --- hash */

static stoa_err replay(stoa_shard *shard, uint64_t position, const stoa_shard_view *live, stoa_doc *doc)
{
    uint64_t hash, events, began_ns = stoa_clock_real.now_ns(&stoa_clock_real);
    stoa_err err = stoa_shard_replay(shard, position, &hash, &events);
    if (err) { return err; }
    bool comparable = position == live->applied;
    stoa_doc_open(doc, NULL, '{');
    stoa_doc_open(doc, "hash", '{');
    stoa_doc_text(doc, "shard", live->name);
    stoa_doc_uint(doc, "position", position);
    stoa_doc_printf(doc, "replay", "%016" PRIx64, hash);
    stoa_doc_uint(doc, "live_position", live->applied);
    stoa_doc_printf(doc, "live", "%016" PRIx64, live->hash);
    if (comparable) {
        stoa_doc_bool(doc, "equal", hash == live->hash);
    } else {
        stoa_doc_null(doc, "equal"); /* the live state is of another position */
    }
    stoa_doc_uint(doc, "events", events);
    stoa_doc_uint(doc, "took_ns", stoa_clock_real.now_ns(&stoa_clock_real) - began_ns);
    stoa_doc_close(doc, '}');
    stoa_doc_close(doc, '}');
    if (!comparable || hash == live->hash) { return STOA_OK; }
    return STOA_FAIL(STOA_E_CORRUPT, "the replayed state of shard %s at position %" PRIu64 " is not the live one",
                     live->name, position);
}

stoa_err stoa_command_hash(stoa_platform *platform, stoa_door_call *call)
{
    const char *name = stoa_call_arg(call, 0);
    stoa_shard *shard = stoa_shard_named(platform, name);
    stoa_doc doc = stoa_doc_to(&call->document);
    stoa_shard_view live;
    if (!shard) { return stoa_not_found(platform, "shard", "shards", name); }
    stoa_err err = stoa_shard_look(shard, &live);
    if (err) { return err; }
    if (live.durability == stoa_durability_NONE) {
        return STOA_FAIL(STOA_E_UNSUPPORTED, "shard %s keeps no journal", live.name);
    }
    uint64_t position = stoa_call_number(call, 1, live.applied);
    if (position > live.applied) {
        return STOA_FAIL(STOA_E_NOT_FOUND, "shard %s has come to position %" PRIu64 " only", live.name, live.applied);
    }
    stoa_buf_puts(&call->view, "fields hash: shard, position/id, replay=replayed, live_position=live at/id, live, "
                               "equal, events/n, took_ns=took/ns");
    return replay(shard, position, &live, &doc);
}

/* --- topics */

/* Topics live as long as the node, and so do their names. */
typedef struct topics {
    stoa_topic_view *at;
    size_t count;
    uint32_t cap;
    bool cut;
} topics;

static void collect_topic(void *context, const stoa_topic_view *view)
{
    topics *list = context;
    stoa_topic_view *at = stoa_array_room(list->at, list->count, &list->cap, sizeof *at);
    if (!at) {
        list->cut = true;
        return;
    }
    list->at = at;
    list->at[list->count++] = *view;
}

static int by_topic(const void *a, const void *b)
{
    return strcmp(((const stoa_topic_view *)a)->name, ((const stoa_topic_view *)b)->name);
}

static void put_topic(stoa_doc *doc, const stoa_topic_view *view)
{
    stoa_doc_open(doc, NULL, '{');
    stoa_doc_text(doc, "name", view->name);
    stoa_doc_uint(doc, "published", view->published);
    stoa_doc_uint(doc, "subscribers", view->subscribers);
    stoa_doc_close(doc, '}');
}

stoa_err stoa_command_topics(stoa_platform *platform, stoa_door_call *call)
{
    stoa_doc doc = stoa_doc_to(&call->document);
    const char *pattern = stoa_call_arg(call, 0);
    topics list = {0};
    stoa_err err = stoa_topics(platform->node, pattern, collect_topic, &list);
    if (!err && list.cut) { err = STOA_FAIL(STOA_E_NOMEM, "too many topics to list; give a pattern"); }
    if (!err && list.count) { qsort(list.at, list.count, sizeof *list.at, by_topic); }
    stoa_doc_open(&doc, NULL, '{');
    stoa_doc_open(&doc, "topics", '[');
    for (size_t i = 0; i < list.count && !err; i++) { put_topic(&doc, &list.at[i]); }
    stoa_doc_close(&doc, ']');
    stoa_doc_close(&doc, '}');
    stoa_buf_puts(&call->view, "table topics: name, published/n, subscribers/n");
    free(list.at);
    return err || list.count ? err : stoa_nothing_found(platform, call, "topic", "topics", pattern);
}

/* --- dead letters */

typedef struct letter_writer {
    stoa_doc *doc;
    const actors *list; /* ordered by ref */
} letter_writer;

static int by_ref(const void *a, const void *b)
{
    uint64_t x = ((const stoa_actor_view *)a)->ref.at, y = ((const stoa_actor_view *)b)->ref.at;
    return x < y ? -1 : x > y;
}

/* The name behind a reference; ports and actors that are gone have none. */
static void put_ref(const letter_writer *w, const char *key, stoa_ref ref, const char *known)
{
    stoa_actor_view wanted = {.ref = ref};
    const stoa_actor_view *found = NULL;
    if (w->list->count) { found = bsearch(&wanted, w->list->at, w->list->count, sizeof wanted, by_ref); }
    if (known && *known) {
        stoa_doc_text(w->doc, key, known);
    } else if (found) {
        stoa_doc_text(w->doc, key, found->name);
    } else if (ref.at) {
        stoa_doc_printf(w->doc, key, "#%" PRIx64, ref.at);
    } else {
        stoa_doc_null(w->doc, key);
    }
}

static void put_letter(void *context, const stoa_dead_letter *letter)
{
    const letter_writer *w = context;
    stoa_doc_open(w->doc, NULL, '{');
    stoa_doc_uint(w->doc, "at_ns", letter->wall_ns);
    if (letter->row) {
        stoa_doc_printf(w->doc, "message", "%s.%s", letter->row->kind, letter->row->name);
    } else {
        stoa_doc_text(w->doc, "message", "a refusal");
    }
    put_ref(w, "to", letter->to, letter->name);
    put_ref(w, "from", letter->from, NULL);
    stoa_doc_text(w->doc, "reason", stoa_drop_name(letter->reason));
    stoa_doc_text(w->doc, "why", stoa_err_name(letter->why));
    stoa_doc_text(w->doc, "text", stoa_err_text(letter->why));
    stoa_doc_close(w->doc, '}');
}

stoa_err stoa_command_dead_letters(stoa_platform *platform, stoa_door_call *call)
{
    stoa_doc doc = stoa_doc_to(&call->document);
    actors list;
    stoa_err err = collect_actors(platform, NULL, NULL, &list);
    if (err) { return err; }
    if (list.count) { qsort(list.at, list.count, sizeof *list.at, by_ref); }
    letter_writer w = {.doc = &doc, .list = &list};
    stoa_doc_open(&doc, NULL, '{');
    stoa_doc_open(&doc, "dead_letters", '[');
    err = stoa_dead_letters(platform->node, put_letter, &w);
    stoa_doc_close(&doc, ']');
    stoa_doc_close(&doc, '}');
    stoa_buf_puts(&call->view, "table dead_letters: at_ns=time/time, message, to, from, reason, why, text/wrap");
    free(list.at);
    return err;
}
