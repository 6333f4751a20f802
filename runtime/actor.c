/* actor.c - the life of actors on a core: slots, states, ends.
 *
 * Actors of kinds with the same size of state lie side by side in chunks of 4,096, each followed by its state, so that an idle
 * actor costs its two cache lines and its state. Chunks are mapped once; a slot is used again with the next generation, so a
 * reference to who was there before finds nobody; after the last one of 16.7 million it is never used again. A state above STOA_STATE_INLINE bytes has a mapping of its own.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include <string.h>
#include <sys/mman.h>

#include "runtime/internal.h"
#include "runtime/mailbox.h"
#include "runtime/move.h"
#include "runtime/sparse.h"

enum { STATE_OFFSET = sizeof(stoa_actor) };
_Static_assert(STATE_OFFSET % 16 == 0, "states are aligned like what malloc returns");

static bool state_is_inline(const stoa_kind *kind)
{
    return kind->state_bytes <= STOA_STATE_INLINE;
}

static uint32_t stride_of(const stoa_kind *kind)
{
    return state_is_inline(kind) ? (uint32_t)(kind->state_bytes + 15) / 16 : 0;
}

/* Who is found where no actor ever was. */
static stoa_actor nobody;

void stoa_actors_init(stoa_core *core)
{
    for (uint32_t i = 0; i < STOA_ACTOR_CHUNKS; i++) {
        core->chunks[i] = (stoa_actor_chunk){.base = (unsigned char *)&nobody};
    }
}

static void *map(size_t bytes)
{
    void *at = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    return at == MAP_FAILED ? NULL : at;
}

static stoa_actor_chunk *chunk_with_room(stoa_core *core, uint32_t stride)
{
    uint32_t number = core->strides[stride].chunk;
    if (number && core->chunks[number - 1].used < STOA_ACTOR_CHUNK) { return &core->chunks[number - 1]; }
    if (core->chunk_count == STOA_ACTOR_CHUNKS) { return NULL; }
    uint32_t bytes = STATE_OFFSET + stride * 16;
    void *base = map((size_t)bytes * STOA_ACTOR_CHUNK);
    if (!base) { return NULL; }
    stoa_actor_chunk *chunk = &core->chunks[core->chunk_count++];
    *chunk = (stoa_actor_chunk){.base = base, .stride = bytes};
    core->strides[stride].chunk = core->chunk_count;
    return chunk;
}

static stoa_actor *slot_take(stoa_core *core, uint32_t stride)
{
    uint32_t free = core->strides[stride].free;
    if (free) {
        stoa_actor *actor = stoa_actor_slot(core, free - 1);
        core->strides[stride].free = actor->stream;
        return actor;
    }
    stoa_actor_chunk *chunk = chunk_with_room(core, stride);
    if (!chunk) { return NULL; }
    stoa_actor *actor = (stoa_actor *)(void *)(chunk->base + (size_t)chunk->used * chunk->stride);
    uint32_t index = (uint32_t)(chunk - core->chunks) * STOA_ACTOR_CHUNK + chunk->used++;
    actor->self = stoa_ref_make(0, core->place.index, index);
    return actor;
}

static void slot_give_back(stoa_core *core, stoa_actor *actor, uint32_t stride)
{
    if (stoa_ref_generation(actor->self) == STOA_GENERATION_LAST) { return; } /* the next one would have the references of the first */
    actor->stream = core->strides[stride].free;
    core->strides[stride].free = stoa_actor_index(actor) + 1;
}

static void *state_new(stoa_actor *actor, const stoa_kind *kind)
{
    if (!state_is_inline(kind)) { return stoa_sparse_map(kind->state_bytes); }
    return memset((unsigned char *)actor + STATE_OFFSET, 0, kind->state_bytes);
}

static void state_free(const stoa_kind *kind, void *state)
{
    if (!state_is_inline(kind)) { stoa_sparse_unmap(state, kind->state_bytes); }
}

static stoa_err more_fill(stoa_core *core, stoa_actor *actor, const char *name, const void *args)
{
    stoa_actor_more *more = stoa_more(core, actor);
    if (!more) { return STOA_E_NOMEM; }
    if (name) {
        (void)strncpy(more->name, name, STOA_NAME_MAX);
        const char *slash = strchr(more->name, '/');
        more->key = slash ? slash + 1 : more->name;
    }
    if (args && actor->kind->args_bytes) {
        more->args = stoa_block_new(core, actor->kind->args_bytes);
        if (!more->args) { return STOA_E_NOMEM; }
        memcpy(more->args, args, actor->kind->args_bytes);
    }
    return STOA_OK;
}

uint64_t stoa_actor_bytes(const stoa_kind *kind)
{
    uint64_t inside = state_is_inline(kind) ? (kind->state_bytes + 15) / 16 * 16 : kind->state_bytes;
    return STATE_OFFSET + inside;
}

static void more_free(stoa_core *core, stoa_actor *actor)
{
    if (!actor->more) { return; }
    stoa_conflating_free(actor);
    stoa_block_free(core, actor->more->args);
    stoa_block_free(core, actor->more);
    actor->more = NULL;
}

/* flags: ALIVE, or AWAY: a mapped state comes with the actor, and there is always a rarely used part. */
static stoa_err make(stoa_core *core, const stoa_kind *kind, const char *name, const void *args, uint8_t flags,
                     stoa_actor **out)
{
    if (kind != core->checked) {
        stoa_err wrong = stoa_kind_check(kind);
        if (wrong) { return wrong; }
        core->checked = kind;
    }
    uint32_t stride = stride_of(kind);
    bool stateless = flags == STOA_ACTOR_AWAY && !state_is_inline(kind);
    stoa_actor *actor = slot_take(core, stride);
    void *state = actor && !stateless ? state_new(actor, kind) : NULL;
    if (!actor || (!state && !stateless)) {
        if (actor) { slot_give_back(core, actor, stride); }
        return STOA_FAIL(STOA_E_NOMEM, "actor %s of kind %s", name ? name : "", kind->name);
    }
    *actor = (stoa_actor){
        .self = stoa_ref_next(actor->self),
        .kind = kind,
        .state = state,
        .limit = kind->mailbox_limit ? kind->mailbox_limit : STOA_MAILBOX_DEFAULT,
        .parent = STOA_NO_FAMILY,
    };
    stoa_err err = name || args || flags == STOA_ACTOR_AWAY ? more_fill(core, actor, name, args) : STOA_OK;
    if (!err) { err = stoa_conflating_new(core, actor); }
    if (err) {
        more_free(core, actor);
        state_free(kind, state);
        slot_give_back(core, actor, stride);
        return STOA_FAIL(err, "actor %s of kind %s", name ? name : "", kind->name);
    }
    if (!kind->sourced) { core->plain_bytes += stoa_actor_bytes(kind); }
    stoa_core_will_time(core, kind);
    actor->flags = kind->conflate.key ? flags | STOA_ACTOR_CONFLATES : flags;
    *out = actor;
    return STOA_OK;
}

stoa_err stoa_actor_new(stoa_core *core, const stoa_kind *kind, const char *name, const void *args, stoa_actor **out)
{
    stoa_err err = make(core, kind, name, args, STOA_ACTOR_ALIVE, out);
    if (err) { return err; }
    core->actor_alive++;
    stoa_core_note(core, STOA_FLIGHT_SPAWN, *out, NULL, NULL, core->actor_alive, 0);
    return STOA_OK;
}

stoa_err stoa_actor_new_away(stoa_core *core, const stoa_kind *kind, const char *name, stoa_actor **out)
{
    return make(core, kind, name[0] ? name : NULL, NULL, STOA_ACTOR_AWAY, out);
}

void stoa_actor_free_away(stoa_core *core, stoa_actor *slot)
{
    stoa_mailbox_refuse(core, slot, STOA_E_CLOSED);
    slot->flags = 0;
    slot->state = NULL;
    core->plain_bytes -= stoa_actor_bytes(slot->kind); /* others do not move */
    more_free(core, slot);
    if (!slot->run.queued) { stoa_actor_recycle(core, slot); }
}

void stoa_actor_recycle(stoa_core *core, stoa_actor *actor)
{
    slot_give_back(core, actor, stride_of(actor->kind));
}

void stoa_actor_free(stoa_core *core, stoa_actor *actor)
{
    const stoa_kind *kind = actor->kind;
    bool started = actor->parent != STOA_NO_FAMILY && !(actor->flags & STOA_ACTOR_FRESH);
    stoa_core_note(core, STOA_FLIGHT_STOP, actor, NULL, NULL, core->actor_alive - 1, 0);
    stoa_tree_remove(core, actor);
    actor->flags = 0;
    stoa_mailbox_refuse(core, actor, STOA_E_CLOSED);
    if (kind->stop && started) { kind->stop(actor->state); }
    if (actor->more) {
        stoa_room_tell(core, actor, STOA_E_CLOSED);
        stoa_held_release(core, actor);
        stoa_away_release(core, actor);
        for (unsigned slot = 0; slot < STOA_TOPIC_SLOTS; slot++) { stoa_topics_unbind(core->place.node, actor->more->topics[slot]); }
        if (actor->more->name[0]) { stoa_names_remove(&core->place.node->names, actor->more->name); }
        more_free(core, actor);
    }
    state_free(kind, actor->state);
    actor->state = NULL;
    if (!kind->sourced) { core->plain_bytes -= stoa_actor_bytes(kind); }
    core->actor_alive--;
    if (!actor->run.queued) { stoa_actor_recycle(core, actor); } /* else when its turn in the run queue comes */
}

const char *stoa_actor_name(const stoa_actor *actor)
{
    return actor->more && actor->more->name[0] ? actor->more->name : actor->kind->name;
}

stoa_actor *stoa_actor_next(const stoa_core *core, uint32_t *at)
{
    while (*at < core->chunk_count * STOA_ACTOR_CHUNK) {
        if (*at % STOA_ACTOR_CHUNK >= core->chunks[*at / STOA_ACTOR_CHUNK].used) {
            *at += STOA_ACTOR_CHUNK - *at % STOA_ACTOR_CHUNK;
            continue;
        }
        stoa_actor *actor = stoa_actor_slot(core, (*at)++);
        if (actor->flags & STOA_ACTOR_ALIVE) { return actor; }
    }
    return NULL;
}

void stoa_core_end_actors(stoa_core *core)
{
    uint32_t at = 0;
    stoa_tree_kill_all(core); /* what is left are event-sourced ones */
    for (stoa_actor *actor; (actor = stoa_actor_next(core, &at));) { stoa_actor_free(core, actor); }
}

void stoa_actors_deinit(stoa_core *core)
{
    for (uint32_t i = 0; i < core->chunk_count; i++) {
        (void)munmap(core->chunks[i].base, (size_t)core->chunks[i].stride * STOA_ACTOR_CHUNK);
    }
}
