/* shard_open.c - a shard opens whole or not at all.
 *
 * Recovered first: its actors are there, under their names, but the shard is down, and who sends to them meanwhile is answered
 * UNAVAILABLE. When nothing can fail any more it serves: actors resume, other shards may greet it. What fails before leaves no
 * name, no actor, no thread, no open journal: the same can be tried again. A core holds a place for a shard that opens, since
 * the place of one that serves is part of references (once.c) and never changes.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "runtime/channel.h"
#include "runtime/distant_internal.h"
#include "runtime/follow.h"
#include "runtime/internal.h"
#include "runtime/links.h"
#include "runtime/shard.h"

typedef struct opening {
    struct stoa_shard *shard;
    stoa_err err;
    char trail[512];
} opening;

static void keep_trail(opening *o)
{
    if (o->err) { (void)snprintf(o->trail, sizeof o->trail, "%s", stoa_err_trail()); }
}

/* --- on its core */

static stoa_err recover(stoa_core *core, struct stoa_shard *shard)
{
    if (core->shard_count + core->shards_opening > STOA_COUNT_OF_(core->shards)) {
        return STOA_FAIL(STOA_E_FULL, "core %u has %u shards", core->place.index, core->shard_count);
    }
    stoa_err err = shard->journal ? stoa_shard_recover(shard) : STOA_OK;
    if (err) { return err; }
    stoa_channels_recovered(shard);
    stoa_effects_recovered(shard);
    return STOA_OK;
}

static void recover_on_core(stoa_core *core, void *context)
{
    opening *o = context;
    struct stoa_shard *shard = o->shard;
    shard->blocks[0].first = 1;
    shard->down = true;
    core->shards_opening++;
    o->err = recover(core, shard);
    keep_trail(o);
}

static void serve_on_core(stoa_core *core, void *context)
{
    struct stoa_shard *shard = ((const opening *)context)->shard;
    core->shards_opening--;
    core->shards[core->shard_count++] = shard;
    shard->down = false;
    for (uint32_t stream = 1; stream <= shard->actor_count; stream++) {
        /* one actor that cannot resume must not keep the others from serving: it is tried again */
        if (stoa_turn_first(core, shard->actors[stream])) {
            stoa_log_error("resume_failed", STOA_E_FAILED);
            stoa_actor_fail(core, shard->actors[stream], "cannot resume");
        }
    }
    stoa_core_enqueue(core, &shard->run);
    atomic_store_explicit(&shard->open, true, memory_order_release);
    atomic_fetch_add_explicit(&shard->node->shards_open, 1, memory_order_release);
}

/* Who found one of its actors meanwhile and watches it is told. */
static void leave_core(stoa_core *core, void *context)
{
    struct stoa_shard *shard = ((const opening *)context)->shard;
    stoa_fate fate = {.text = "its shard could not be opened", .why = stoa_end_FAILED, .stays_away = true};
    core->shards_opening--;
    STOA_ASSERT(!shard->run.queued); /* it was down all the time */
    for (; shard->actor_count; shard->actor_count--) {
        stoa_actor *actor = shard->actors[shard->actor_count];
        stoa_links_release(core, actor, &fate, false);
        stoa_actor_free(core, actor);
    }
}

static void connect_on_core(stoa_core *core, void *context)
{
    (void)context;
    for (uint32_t i = 0; i < core->shard_count; i++) { stoa_channels_connect(core->shards[i]); }
}

/* --- on the thread that opens it */

/* Others name it in 30 bytes, and mail to "shard:kind/key"; one of another node is "shard@node". */
static stoa_err check_name(const stoa_node *node, const char *name)
{
    bool good = name && name[0] && strlen(name) < STOA_SHARD_NAME_MAX && !strpbrk(name, ":/@");
    if (!good) { return STOA_FAIL(STOA_E_INVALID, "'%s' is no name of a shard", name ? name : ""); }
    for (uint32_t i = 0; i < node->shard_count; i++) {
        if (strcmp(node->shards[i]->name, name) == 0) { return STOA_FAIL(STOA_E_EXISTS, "shard %s", name); }
    }
    const stoa_channel_peer *distant = stoa_distant_named(node, name, strlen(name));
    if (distant && stoa_distant_way(distant).at) { return STOA_FAIL(STOA_E_EXISTS, "another node serves a shard %s", name); }
    return STOA_OK;
}

/* From here on its name is taken. Under node->lock. */
static stoa_err shard_new(stoa_node *node, const stoa_shard_options *options, struct stoa_shard **out)
{
    stoa_err err = check_name(node, options->name);
    if (err) { return err; }
    if (options->core >= node->core_count) { return STOA_FAIL(STOA_E_INVALID, "no core %u", options->core); }
    if (node->shard_count == STOA_COUNT_OF_(node->shards)) { return STOA_FAIL(STOA_E_FULL, "shards"); }
    struct stoa_shard *shard = calloc(1, sizeof *shard);
    if (!shard) { return STOA_FAIL(STOA_E_NOMEM, "shard"); }
    shard->run.is_shard = true;
    shard->core = node->cores[options->core];
    shard->node = node;
    shard->durability = options->durability;
    shard->epoch = options->epoch;
    shard->leased = options->epoch != 0;
    shard->reserve_bytes = options->reserve_bytes;
    stoa_readers_init(&shard->readers);
    (void)pthread_mutex_init(&shard->append_lock, NULL);
    (void)snprintf(shard->name, sizeof shard->name, "%s", options->name);
    shard->peer = (stoa_channel_peer){.name = shard->name, .here = shard};
    node->shards[node->shard_count++] = shard;
    *out = shard;
    return STOA_OK;
}

static void shard_free(stoa_node *node, struct stoa_shard *shard)
{
    stoa_shard_commit_stop(shard);
    (void)pthread_mutex_lock(&node->lock);
    uint32_t at = 0;
    while (node->shards[at] != shard) { at++; }
    node->shard_count--;
    for (; at < node->shard_count; at++) { node->shards[at] = node->shards[at + 1]; }
    (void)pthread_mutex_unlock(&node->lock);
    free(shard);
}

static stoa_err open_journal(struct stoa_shard *shard, const stoa_shard_options *options)
{
    stoa_err err = stoa_shard_commit_start(shard);
    if (err || options->durability == stoa_durability_NONE) { return err; }
    if (!options->journal || !options->path) { return STOA_FAIL(STOA_E_INVALID, "a durability without a journal, or its path"); }
    err = options->journal->open(options->path, &shard->journal);
    if (err) { return err; }
    shard->journal->ops->seal(shard->journal, options->keys);
    if (options->front) { err = options->front(options->front_context, &shard->journal); }
    if (!err) { err = stoa_shard_commit_after(shard); }
    stoa_shard_watch_room(shard);
    return err;
}

/* Until nothing can fail any more; or it is as if it had not been. */
static stoa_err open_or_undo(stoa_node *node, struct stoa_shard *shard, const stoa_shard_options *options)
{
    opening o = {.shard = shard, .err = open_journal(shard, options)};
    keep_trail(&o);
    bool on_core = !o.err;
    if (on_core) { stoa_core_do(shard->core, recover_on_core, &o); }
    if (!o.err) {
        o.err = stoa_follower_add(node, shard);
        keep_trail(&o);
    }
    if (!o.err) {
        stoa_core_do(shard->core, serve_on_core, &o);
        return STOA_OK;
    }
    if (on_core) { stoa_core_do(shard->core, leave_core, &o); }
    shard_free(node, shard);
    return STOA_FAIL(o.err, "shard %s at %s: %s", options->name, options->path ? options->path : "-", o.trail);
}

stoa_err stoa_shard_open(stoa_node *node, const stoa_shard_options *options, stoa_shard **out)
{
    struct stoa_shard *shard = NULL;
    if (options->durability > stoa_durability_DISK) {
        return STOA_FAIL(STOA_E_UNSUPPORTED, "shard %s: %s needs copies on other machines", options->name,
                         options->durability < stoa_durability_COUNT ? stoa_durability_texts[options->durability] : "this");
    }
    stoa_node_outside(node, "stoa_shard_open within a turn");
    (void)pthread_mutex_lock(&node->lock);
    stoa_err err = shard_new(node, options, &shard);
    (void)pthread_mutex_unlock(&node->lock);
    if (err) { return err; }
    cpu_set_t before;
    stoa_cpus_leave(&node->cpus, &before); /* its threads start here, its journal's and the follower's too */
    err = open_or_undo(node, shard, options);
    stoa_cpus_restore(&before);
    if (err) { return err; }
    for (uint32_t i = 0; i < node->core_count; i++) { stoa_core_do(node->cores[i], connect_on_core, NULL); }
    *out = shard;
    return STOA_OK;
}
