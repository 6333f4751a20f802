/* projector_rebuild.c - a schema beside the live one, filled from position 1 and put in its place.
 *
 * Both are written by the same thread, so when both stand at the same position nothing can come between that and the swap.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "base/log.h"
#include "node/projection/projector_inside.h"

static void leave(stoa_projector *p)
{
    for (uint32_t i = 0; i < p->options.shard_count; i++) { projector_read_no_more(&p->shards[i], &p->shards[i].shadow); }
}

static void end(stoa_projector *p)
{
    stoa_target_close(p->shadow);
    p->shadow = NULL;
    leave(p);
    (void)pthread_mutex_lock(&p->lock);
    p->rebuild = false;
    (void)pthread_mutex_unlock(&p->lock);
}

/* What cannot be built is dropped; the live schema is as it was. */
static projector_outcome give_up(stoa_projector *p)
{
    projector_note(p, p->rebuild_error);
    stoa_log(STOA_LOG_ERROR, "projection_rebuild_failed", STOA_KV("schema", p->schema), STOA_KV("why", p->rebuild_error));
    end(p);
    stoa_err err = stoa_target_drop(p->live, p->shadow_name);
    return err && err != STOA_E_EXISTS ? PROJECTOR_AWAY : PROJECTOR_GUILTY;
}

/* What has such a name and is somebody else's is left alone, and in nobody's way until there is a rebuild. */
static stoa_err clear(stoa_projector *p, const char *schema)
{
    stoa_err err = stoa_target_drop(p->live, schema);
    return err == STOA_E_EXISTS ? STOA_OK : err;
}

stoa_err projector_clear_leftovers(stoa_projector *p)
{
    (void)pthread_mutex_lock(&p->lock);
    bool wanted = p->rebuild;
    (void)pthread_mutex_unlock(&p->lock);
    stoa_err err = clear(p, p->old_name);
    return err || wanted ? err : clear(p, p->shadow_name);
}

/* Open the shadow: fresh, or as it was when the server went away. */
static stoa_err begin(stoa_projector *p)
{
    bool fresh = true;
    for (uint32_t i = 0; i < p->options.shard_count; i++) { fresh = fresh && !p->shards[i].shadow.reading; }
    stoa_err err = fresh ? stoa_target_drop(p->live, p->shadow_name) : STOA_OK;
    if (!err) { err = stoa_target_drop(p->live, p->old_name); } /* the swap needs the name */
    if (!err) { err = stoa_target_open(&p->shadow_options, &p->shadow); }
    if (!err) { err = stoa_target_keep_as(p->shadow, p->live); }
    if (err) { return err; }
    for (uint32_t i = 0; i < p->options.shard_count; i++) {
        projector_way_begin(p, &p->shards[i].shadow);
        atomic_store(&p->shards[i].rebuilt, stoa_target_position(p->shadow, i));
        projector_read_from(&p->shards[i], &p->shards[i].shadow, "projection.rebuild", stoa_target_position(p->shadow, i));
    }
    if (fresh) { stoa_log(STOA_LOG_INFO, "projection_rebuild", STOA_KV("schema", p->schema), STOA_KV("into", p->shadow_name)); }
    return STOA_OK;
}

/* Whether the shadow has all that the live schema has; where that one stopped, all there is. */
static bool is_level(const stoa_projector *p)
{
    for (uint32_t i = 0; i < p->options.shard_count; i++) {
        uint64_t goal = p->shards[i].live.stopped ? stoa_shard_durable(p->shards[i].shard) : stoa_target_position(p->live, i);
        if (stoa_target_position(p->shadow, i) < goal) { return false; }
    }
    return true;
}

static projector_outcome swap(stoa_projector *p)
{
    stoa_err err = stoa_target_swap(p->live, p->shadow_name);
    if (err) { return PROJECTOR_AWAY; } /* it happened or it did not: the shadow's cursors are read again */
    stoa_log(STOA_LOG_INFO, "projection_rebuilt", STOA_KV("schema", p->schema));
    end(p);
    for (uint32_t i = 0; i < p->options.shard_count; i++) { projector_way_begin(p, &p->shards[i].live); }
    (void)pthread_mutex_lock(&p->lock);
    p->rebuilds++;
    p->rebuild_error[0] = '\0';
    for (uint32_t i = 0; i < p->options.shard_count; i++) { p->shards[i].error[0] = '\0'; }
    (void)pthread_mutex_unlock(&p->lock);
    return PROJECTOR_SMALLER; /* open what has the live name now; that drops the old one */
}

projector_outcome projector_rebuild_step(stoa_projector *p)
{
    stoa_err err = p->shadow ? STOA_OK : begin(p);
    if (err == STOA_E_EXISTS) { return give_up(p); }
    if (err) { return PROJECTOR_AWAY; }
    projector_outcome all = PROJECTOR_NOTHING;
    for (uint32_t i = 0; i < p->options.shard_count; i++) {
        projector_outcome one = projector_step(p, p->shadow, i);
        if (one == PROJECTOR_GUILTY) { return give_up(p); }
        if (one == PROJECTOR_SMALLER) { /* the shadow is loaded anew */
            uint32_t step = p->shards[i].shadow.step;
            uint64_t careful = p->shards[i].shadow.careful_until;
            stoa_target_close(p->shadow);
            p->shadow = NULL;
            if (begin(p)) { return PROJECTOR_AWAY; }
            p->shards[i].shadow.step = step;
            p->shards[i].shadow.careful_until = careful;
            return PROJECTOR_MOVED;
        }
        if (one != PROJECTOR_NOTHING) { all = one; }
        if (one == PROJECTOR_AWAY) { return one; }
    }
    return is_level(p) ? swap(p) : all;
}
