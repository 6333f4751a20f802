/* tree.c - the lists of parents and children, and spawning within a turn. See tree.h.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "runtime/tree.h"

#include <string.h>

#include "runtime/internal.h"

/* --- structure */

stoa_actor *stoa_tree_at(stoa_core *core, uint32_t index_plus_1)
{
    return index_plus_1 ? stoa_actor_slot(core, index_plus_1 - 1) : NULL;
}

stoa_actor *stoa_tree_parent(stoa_core *core, const stoa_actor *actor)
{
    return actor->parent == STOA_NO_FAMILY ? NULL : stoa_tree_at(core, actor->parent);
}

stoa_family *stoa_tree_family(stoa_core *core, stoa_actor *actor)
{
    if (!actor) { return &core->root; }
    return actor->more ? &actor->more->family : NULL;
}

void stoa_tree_add(stoa_core *core, stoa_actor *parent, stoa_actor *child)
{
    stoa_family *family = stoa_tree_family(core, parent);
    child->parent = parent ? stoa_actor_index(parent) + 1 : 0;
    child->elder = family->youngest;
    child->younger = 0;
    if (child->elder) {
        stoa_tree_at(core, child->elder)->younger = stoa_actor_index(child) + 1;
    } else {
        family->oldest = stoa_actor_index(child) + 1;
    }
    family->youngest = stoa_actor_index(child) + 1;
    family->count++;
}

void stoa_tree_remove(stoa_core *core, stoa_actor *child)
{
    if (child->parent == STOA_NO_FAMILY) { return; }
    stoa_family *family = stoa_tree_family(core, stoa_tree_parent(core, child));
    STOA_ASSERT(family); /* who has children has one */
    if (family->cursor == stoa_actor_index(child) + 1) { family->cursor = family->rebuild == family->cursor ? 0 : child->elder; }
    if (family->rebuild == stoa_actor_index(child) + 1) { family->rebuild = child->younger; }
    if (child->younger) {
        stoa_tree_at(core, child->younger)->elder = child->elder;
    } else {
        family->youngest = child->elder;
    }
    if (child->elder) {
        stoa_tree_at(core, child->elder)->younger = child->younger;
    } else {
        family->oldest = child->younger;
    }
    family->count--;
    child->parent = STOA_NO_FAMILY;
    child->elder = child->younger = 0;
}

static const char *check_family(stoa_core *core, stoa_actor *parent, uint32_t *seen)
{
    stoa_family *family = stoa_tree_family(core, parent);
    uint32_t before = 0, count = 0;
    if (!family) { return NULL; }
    for (uint32_t at = family->oldest; at; at = stoa_tree_at(core, at)->younger) {
        const stoa_actor *child = stoa_tree_at(core, at);
        if (!(child->flags & STOA_ACTOR_ALIVE)) { return "a child that is gone"; }
        if (child->parent != (parent ? stoa_actor_index(parent) + 1 : 0)) { return "a child of another parent"; }
        if (child->elder != before) { return "siblings out of order"; }
        if (++count > family->count) { break; }
        before = at;
    }
    *seen += count;
    return count != family->count || family->youngest != before ? "a family miscounted" : NULL;
}

const char *stoa_tree_check(stoa_core *core)
{
    uint32_t seen = 0, alive = 0, at = 0;
    const char *wrong = check_family(core, NULL, &seen);
    for (stoa_actor *actor; !wrong && (actor = stoa_actor_next(core, &at));) {
        alive++;
        wrong = check_family(core, actor, &seen);
    }
    if (!wrong && alive != core->actor_alive) { wrong = "actors miscounted"; }
    return !wrong && seen != alive ? "an actor without a parent" : wrong;
}

/* --- spawning */

/* A child of an event-sourced actor starts when what its parent knew then is committed: behind the wall. */
static void begin_behind_wall(stoa_core *core, stoa_msg *msg)
{
    stoa_actor *child = stoa_core_actor(core, msg->to);
    if (child) { stoa_core_enqueue(core, &child->run); }
    stoa_place_free(&core->place, msg);
}

static stoa_err stage_beginning(stoa_turning *t, stoa_ref child)
{
    if (!t->actor->shard) { return STOA_OK; }
    stoa_msg *msg = stoa_act_new(t, sizeof(stoa_act), begin_behind_wall, NULL);
    if (!msg) { return STOA_E_NOMEM; }
    msg->to = child;
    stoa_turning_stage(t, msg);
    return STOA_OK;
}

static stoa_err prepare(stoa_core *core, stoa_actor *actor, const stoa_child *child)
{
    if (child->restart != STOA_TEMPORARY || child->shutdown_ms) {
        if (!stoa_more(core, actor)) { return STOA_E_NOMEM; }
        actor->more->shutdown_ms = child->shutdown_ms;
        actor->more->restart = child->restart;
    }
    if (!child->name) { return STOA_OK; }
    stoa_err err = stoa_names_add(&core->place.node->names, child->name, actor->self);
    if (err) { actor->more->name[0] = '\0'; /* the name is somebody else's */ }
    return err;
}

static void born(stoa_turning *t, stoa_actor *actor)
{
    uint32_t index = stoa_actor_index(actor) + 1;
    actor->younger = 0;
    if (t->born) {
        stoa_actor *last = stoa_tree_at(t->core, t->born_last);
        STOA_ASSERT(last);
        last->younger = index;
    } else {
        t->born = index;
    }
    t->born_last = index;
    t->after |= STOA_AFTER_REST;
}

stoa_err stoa_turn_spawn(stoa_turn *turn, const stoa_kind *kind, const stoa_child *child, stoa_ref *out)
{
    static const stoa_child nobody = {0};
    stoa_turning *t = (stoa_turning *)turn;
    stoa_core *core = t->core;
    stoa_actor *actor;
    if (kind->sourced) { return STOA_E_UNSUPPORTED; }
    if (core->plain_bytes + stoa_actor_bytes(kind) > core->place.slab.limit_bytes) { return STOA_E_FULL; }
    if (!child) { child = &nobody; }
    stoa_err err = child->name ? stoa_name_check(kind, child->name) : STOA_OK;
    if (!err && !stoa_more(core, t->actor)) { err = STOA_E_NOMEM; }
    if (!err) { err = stoa_actor_new(core, kind, child->name, child->args, &actor); }
    if (err) { return err; }
    err = prepare(core, actor, child);
    if (!err) { err = stage_beginning(t, actor->self); }
    if (err) {
        stoa_actor_free(core, actor);
        return err;
    }
    if (kind->start || t->actor->shard) { actor->flags |= STOA_ACTOR_FRESH; }
    born(t, actor);
    *out = actor->self;
    return STOA_OK;
}

void stoa_tree_born(stoa_turning *t)
{
    for (uint32_t at = t->born; at;) {
        stoa_actor *actor = stoa_tree_at(t->core, at);
        at = actor->younger;
        stoa_tree_add(t->core, t->actor, actor);
        if ((actor->flags & STOA_ACTOR_FRESH) && !t->actor->shard) { stoa_core_enqueue(t->core, &actor->run); }
    }
    t->born = 0;
}

void stoa_tree_unborn(stoa_turning *t)
{
    for (uint32_t at = t->born; at;) {
        stoa_actor *actor = stoa_tree_at(t->core, at);
        at = actor->younger;
        actor->younger = 0;
        stoa_actor_free(t->core, actor);
    }
    t->born = 0;
}
