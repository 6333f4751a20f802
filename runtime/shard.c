/* shard.c - cascades, events and the wall. See shard.h.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "runtime/shard.h"

#include <string.h>

#include "base/hash.h"
#include "base/log.h"
#include "runtime/channel.h"
#include "runtime/effects.h"
#include "runtime/fold.h"
#include "runtime/internal.h"
#include "runtime/mailbox.h"
#include "runtime/once.h"

enum { CASCADES_PER_RUN = 64, TURNS_PER_RUN = 1024, ENVELOPE_BYTES = 96, INDEX_LOOK_BACK = 8 };

void stoa_msg_list_push(stoa_msg_list *list, stoa_msg *msg)
{
    msg->next = NULL;
    if (list->head) {
        list->tail->next = msg;
    } else {
        list->head = msg;
    }
    list->tail = msg;
    list->count++;
}

stoa_msg *stoa_msg_list_pop(stoa_msg_list *list)
{
    stoa_msg *msg = list->head;
    if (!msg) { return NULL; }
    list->head = msg->next;
    list->count--;
    return msg;
}

void stoa_msg_list_take(stoa_msg_list *list, stoa_msg *before, stoa_msg *msg)
{
    if (before) {
        before->next = msg->next;
    } else {
        list->head = msg->next;
    }
    if (list->tail == msg) { list->tail = before; }
    list->count--;
}

/* --- blocks */

static stoa_block_slot *open_block(struct stoa_shard *shard)
{
    return &shard->blocks[shard->block_open % STOA_BLOCKS];
}

static bool journaled(const struct stoa_shard *shard)
{
    return shard->durability != stoa_durability_NONE;
}

/* Whether the open block may be closed: there is a free slot for the next one. */
static bool slot_free(const struct stoa_shard *shard)
{
    return shard->block_open + 1 - shard->block_done < STOA_BLOCKS;
}

/* While a sync is under way the block goes on filling: what is sealed early is not on disk earlier, but what comes behind it then
 * waits for one sync more. */
static bool journal_busy(const struct stoa_shard *shard, const stoa_block_slot *block)
{
    return shard->block_open != shard->block_done && block->used_bytes < STOA_SHARD_SEAL_BYTES;
}

/* With durability MEMORY nobody waits for the block: it gathers for a while, which spares the journal's thread. */
static bool worth_sealing(const struct stoa_shard *shard, const stoa_block_slot *block)
{
    if (block->count == 0) { return false; }
    return shard->durability != stoa_durability_MEMORY || block->used_bytes >= STOA_SHARD_LAZY_BYTES ||
           shard->core->now_ns >= block->opened_ns + STOA_SHARD_LAZY_NS;
}

uint64_t stoa_shard_due_ns(const struct stoa_shard *shard)
{
    const stoa_block_slot *block = &shard->blocks[shard->block_open % STOA_BLOCKS];
    bool waits = shard->durability == stoa_durability_MEMORY && block->count && slot_free(shard);
    uint64_t due = waits ? block->opened_ns + STOA_SHARD_LAZY_NS : UINT64_MAX;
    uint64_t again = shard->mailing->again_ns;
    return again && again < due ? again : due;
}

static void seal(struct stoa_shard *shard)
{
    stoa_block_slot *block = open_block(shard);
    if (shard->down) { return; }
    if (!worth_sealing(shard, block) || !slot_free(shard) || journal_busy(shard, block)) { return; }
    stoa_channels_sealing(shard, shard->block_open % STOA_BLOCKS);
    stoa_core_note(shard->core, STOA_FLIGHT_SEALED, NULL, NULL, shard->name, block->first + block->count - 1, block->count);
    shard->block_open++;
    stoa_block_slot *next = open_block(shard);
    next->used_bytes = next->count = next->index_count = 0;
    next->first = shard->applied + 1;
    stoa_shard_submit(shard);
}

static bool room_in_block(const struct stoa_shard *shard)
{
    const stoa_block_slot *block = &shard->blocks[shard->block_open % STOA_BLOCKS];
    return stoa_slab_ample(&shard->core->place.slab) && shard->wall.count < STOA_WALL_MAX && block->used_bytes < STOA_SHARD_SEAL_BYTES &&
           block->index_count < STOA_SHARD_INDEX_MAX / 2;
}

static bool room_for_cascade(const struct stoa_shard *shard)
{
    return room_in_block(shard) && stoa_channels_room(shard);
}

/* --- events */

static void count_id(void *context, uint64_t id)
{
    (void)id;
    ++*(uint32_t *)context;
}

void stoa_shard_clear_staged(struct stoa_shard *shard)
{
    shard->arena_used = shard->arena_ids = 0;
    shard->arena_worst = 0;
    shard->mailing->staged = shard->mailing->staged_bytes = 0;
    stoa_effects_clear_staged(shard);
}

stoa_err stoa_shard_stage(struct stoa_shard *shard, const stoa_row *row, const void *payload)
{
    return stoa_shard_stage_bytes(shard, row, payload, row->payload.size_bytes);
}

/* The reserve is for what has begun: refused in its middle, a cascade would leave one side of a payment without the other, and
 * an amount that comes back would be nobody's. */
static bool may_not_begin(const struct stoa_shard *shard)
{
    bool begun = shard->cause != 0 || shard->mailing->returning;
    return !begun && atomic_load_explicit(&shard->no_room, memory_order_relaxed); /* relaxed: soon is enough */
}

stoa_err stoa_shard_stage_bytes(struct stoa_shard *shard, const stoa_row *row, const void *payload, uint32_t payload_bytes)
{
    uint32_t bytes = (uint32_t)(sizeof(stoa_staged_event) + ((payload_bytes + 7u) & ~7u));
    if (shard->arena_used + bytes > STOA_ARENA_BYTES) { return STOA_E_FULL; }
    if (journaled(shard)) {
        if (may_not_begin(shard)) { return STOA_E_FULL; }
        /* a msgpack value is at most an eighth longer than the struct it comes from */
        const stoa_block_slot *block = open_block(shard);
        uint32_t ids = 0;
        stoa_each_index(&row->payload, payload, count_id, &ids);
        uint64_t worst = shard->arena_worst + bytes + bytes / 8 + ENVELOPE_BYTES;
        bool fits = block->used_bytes + worst <= STOA_SHARD_BLOCK_BYTES - STOA_SHARD_NOTES_BYTES &&
                    block->index_count + shard->arena_ids + ids <= STOA_SHARD_INDEX_MAX;
        if (!fits) { return STOA_E_FULL; }
        shard->arena_worst = worst;
        shard->arena_ids += ids;
    }
    stoa_staged_event *event = (stoa_staged_event *)(void *)(shard->arena + shard->arena_used);
    event->row = row;
    event->bytes = bytes;
    memcpy(event + 1, payload, payload_bytes);
    shard->arena_used += bytes;
    return STOA_OK;
}

/* The index names the block that has events of an id, so one entry a block is enough: the latest few are looked through for
 * it. A lookup reads the whole block. */
static void index_event(void *context, uint64_t id)
{
    struct stoa_shard *shard = context;
    stoa_block_slot *block = open_block(shard);
    uint32_t from = block->index_count > INDEX_LOOK_BACK ? block->index_count - INDEX_LOOK_BACK : 0;
    for (uint32_t i = from; i < block->index_count; i++) {
        if (block->index[i].id == id) { return; }
    }
    STOA_ASSERT(block->index_count < STOA_SHARD_INDEX_MAX);
    block->index[block->index_count++] = (stoa_index_entry){id, shard->applied};
}

/* Append the event at position applied to the open block. */
static void journal_event(struct stoa_shard *shard, uint32_t stream, const stoa_row *row, const void *payload,
                          const stoa_turning *turning)
{
    stoa_block_slot *block = open_block(shard);
    STOA_ASSERT(!shard->down); /* its states may be of nothing that the log says */
    stoa_writer w = {.at = block->bytes, .used_bytes = block->used_bytes, .cap_bytes = STOA_SHARD_BLOCK_BYTES};
    stoa_actor *sender = turning && stoa_ref_place(turning->turn.from) == shard->core->place.index
                             ? stoa_core_actor(shard->core, turning->turn.from)
                             : NULL;
    stoa_write_array(&w, 10);
    stoa_write_uint(&w, 1);
    stoa_write_uint(&w, row->id);
    stoa_write_uint(&w, stoa_kind_schema(shard->streams.at[stream].kind, row->id));
    stoa_write_uint(&w, stream);
    stoa_write_uint(&w, ++shard->seqs[stream]);
    stoa_write_uint(&w, shard->core->wall_ns);
    stoa_write_uint(&w, shard->cause);
    stoa_write_uint(&w, turning ? turning->turn.command : 0);
    stoa_write_uint(&w, sender && sender->shard == shard ? sender->stream : 0);
    (void)stoa_encode(&row->payload, payload, &w);
    STOA_ASSERT(!w.cut);
    block->used_bytes = (uint32_t)w.used_bytes;
    if (block->count++ == 0) { block->opened_ns = shard->core->now_ns; }
    stoa_each_index(&row->payload, payload, index_event, shard);
    if (!shard->cause) { shard->cause = shard->applied; }
}

/* Where an acknowledgement does not wait for the disk, what is applied is committed: not before its cascade is over. */
static void commit_at_once(struct stoa_shard *shard)
{
    if (shard->down) { return; }
    shard->acks.memory = shard->applied;
    if (shard->durability <= stoa_durability_MEMORY) { shard->committed = stoa_acks_committed(&shard->acks, shard->durability); }
}

static void apply_event(struct stoa_shard *shard, stoa_actor *actor, const stoa_row *row, const void *payload,
                        const stoa_turning *turning)
{
    shard->applied++;
    actor->kind->appliers[row->id](actor->state, payload);
    if (journaled(shard)) { journal_event(shard, actor->stream, row, payload, turning); }
}

void stoa_shard_note(struct stoa_shard *shard, uint32_t row_id, const void *payload, const stoa_turning *turning)
{
    shard->applied++;
    stoa_shard_log_kind.appliers[row_id](shard->ledger, payload);
    if (journaled(shard)) { journal_event(shard, 0, &stoa_shard_log_rows[row_id], payload, turning); }
}

void stoa_shard_note_alone(struct stoa_shard *shard, uint32_t row_id, const void *payload)
{
    stoa_shard_note(shard, row_id, payload, NULL);
    commit_at_once(shard);
}

void stoa_shard_apply_staged(struct stoa_shard *shard, const stoa_turning *turning)
{
    stoa_channels_before_effect(shard, turning);
    for (uint32_t at = 0; at < shard->arena_used;) {
        stoa_staged_event *event = (stoa_staged_event *)(void *)(shard->arena + at);
        if (event->row == &stoa_shard_log_rows[stoa_shard_log_ROW_mailed]) {
            stoa_channels_mail(shard, (stoa_shard_log_mailed *)(void *)(event + 1), turning);
        } else if (event->row == &stoa_shard_log_rows[stoa_shard_log_ROW_effect]) {
            stoa_effects_note(shard, (stoa_shard_log_effect *)(void *)(event + 1), turning);
        } else {
            apply_event(shard, turning->actor, event->row, event + 1, turning);
        }
        at += event->bytes;
    }
    stoa_channels_after_effect(shard);
    stoa_shard_clear_staged(shard);
}

stoa_err stoa_shard_spawn(struct stoa_shard *shard, const stoa_kind *kind, const char *name, stoa_actor **out)
{
    stoa_core *core = shard->core;
    stoa_actor *actor;
    if (shard->actor_count + 1 >= STOA_SHARD_ACTORS_MAX) { return STOA_FAIL(STOA_E_FULL, "shard %s", shard->name); }
    stoa_err err = stoa_actor_new(core, kind, name, NULL, &actor);
    if (err) { return err; }
    actor->shard = shard; /* before its name is known: other cores look at it */
    err = stoa_names_add(&core->place.node->names, name, actor->self);
    if (err) {
        actor->shard = NULL;
        actor->more->name[0] = '\0'; /* the name is somebody else's */
        stoa_actor_free(core, actor);
        return STOA_FAIL(err, "%s", name);
    }
    stoa_tree_add(core, NULL, actor);
    actor->flags |= STOA_ACTOR_IN_SHARD;
    actor->stream = ++shard->actor_count;
    shard->actors[actor->stream] = actor;
    STOA_ASSERT(stoa_streams_add(&shard->streams, kind, name) == STOA_OK); /* there are as many of them as actors */
    *out = actor;
    return STOA_OK;
}

void stoa_shard_note_spawned(struct stoa_shard *shard, uint32_t stream)
{
    stoa_shard_log_spawned event = {.stream = stream};
    const stoa_actor *actor = shard->actors[stream];
    stoa_err err = STOA_TEXT_SETZ(&event.kind, actor->kind->name);
    if (!err) { err = STOA_TEXT_SETZ(&event.name, stoa_actor_name(actor)); }
    STOA_ASSERT(!err); /* stoa_shard_create has seen to it */
    shard->cause = 0;
    stoa_shard_note(shard, stoa_shard_log_ROW_spawned, &event, NULL);
    commit_at_once(shard);
}

stoa_err stoa_shard_create(struct stoa_shard *shard, const stoa_kind *kind, const char *name, stoa_actor **out)
{
    stoa_shard_log_spawned room;
    if (shard->down) { return STOA_FAIL(STOA_E_UNAVAILABLE, "shard %s is down", shard->name); }
    stoa_err err = STOA_TEXT_SETZ(&room.kind, kind->name);
    if (!err) { err = STOA_TEXT_SETZ(&room.name, name); }
    if (!err && !room_in_block(shard)) { err = STOA_FAIL(STOA_E_FULL, "shard %s", shard->name); }
    if (!err) { err = stoa_shard_spawn(shard, kind, name, out); }
    if (err) { return err; }
    stoa_shard_note_spawned(shard, (*out)->stream);
    err = stoa_turn_first(shard->core, *out);
    stoa_core_enqueue(shard->core, &shard->run);
    return err;
}

/* --- the wall */

void stoa_shard_release(struct stoa_shard *shard, stoa_msg *msg)
{
    stoa_msg_context(msg)->durability = shard->durability;
    stoa_core_deliver(shard->core, msg);
}

bool stoa_shard_release_unstamped(struct stoa_shard *shard)
{
    bool any = shard->unstamped.head != NULL;
    for (stoa_msg *msg; (msg = stoa_msg_list_pop(&shard->unstamped));) { stoa_core_deliver(shard->core, msg); }
    return any;
}

bool stoa_shard_release_committed(struct stoa_shard *shard)
{
    bool any = false;
    while (shard->wall.head && stoa_msg_context(shard->wall.head)->position <= shard->committed) {
        stoa_shard_release(shard, stoa_msg_list_pop(&shard->wall));
        any = true;
    }
    if (shard->unstamped_at <= shard->committed) { any = stoa_shard_release_unstamped(shard) || any; }
    stoa_once_release(shard);
    return any;
}

/* To one of its own actors: what a cascade sends is of it; all else is the rest. */
static void stay(struct stoa_shard *shard, stoa_msg *msg)
{
    if (__builtin_expect(shard->stage != STOA_CASCADE_NONE && !shard->torn, 1)) {
        stoa_msg_list_push(&shard->cascade, msg);
    } else if (shard->torn && !(msg->flags & STOA_MSG_ANSWER)) { /* it tells of a message that was never sent */
        stoa_place_free(&shard->core->place, msg);
    } else {
        stoa_msg_list_push(&shard->rest, msg);
        if (!shard->stalled) { stoa_core_enqueue(shard->core, &shard->run); }
    }
}

void stoa_shard_wall(struct stoa_shard *shard, stoa_msg *msg)
{
    stoa_core *core = shard->core;
    if (stoa_ref_place(msg->to) == core->place.index && !(msg->flags & (STOA_MSG_TOPIC | STOA_MSG_ACT))) {
        stoa_actor *target = stoa_core_actor(core, msg->to);
        if (target && target->shard == shard) {
            stay(shard, msg);
            return;
        }
    }
    if (shard->request) { stoa_once_leaving(shard, msg); }
    stoa_msg_context(msg)->position = shard->applied;
    if (shard->stage == STOA_CASCADE_NONE && !shard->wall.head && shard->applied <= shard->committed) {
        stoa_shard_release(shard, msg);
        return;
    }
    stoa_msg_list_push(&shard->wall, msg);
}

/* The cascade stands: what of it depends on nothing that is not committed leaves, behind what waits already. */
static void let_go(struct stoa_shard *shard)
{
    while (!shard->mark.wall && shard->wall.head && stoa_msg_context(shard->wall.head)->position <= shard->committed) {
        stoa_shard_release(shard, stoa_msg_list_pop(&shard->wall));
    }
}

/* What cannot be stamped itself - the blocks of links, which belong to who made them - is carried by what can. */
typedef struct carrier {
    stoa_act act;
    stoa_msg *msg;
} carrier;

static void deliver_carried(stoa_core *core, stoa_msg *msg)
{
    stoa_msg *carried = ((const carrier *)stoa_msg_body(msg))->msg;
    stoa_place_free(&core->place, msg);
    stoa_core_deliver(core, carried);
}

bool stoa_shard_carries(stoa_msg *msg)
{
    return (msg->flags & STOA_MSG_ACT) && stoa_msg_act(msg)->run == deliver_carried;
}

void stoa_shard_carry(struct stoa_shard *shard, stoa_msg *msg)
{
    stoa_core *core = shard->core;
    bool nothing_waits = !shard->wall.head && !shard->unstamped.head && shard->applied <= shard->committed;
    if (shard->down || nothing_waits) {
        stoa_core_deliver(core, msg);
        return;
    }
    uint32_t flags = STOA_MSG_CONTEXT | STOA_MSG_ACT;
    stoa_msg *carries = shard->unstamped.head ? NULL : stoa_slab_new_surely(&core->place.slab, sizeof(carrier), flags);
    if (!carries) { /* the stamp that all of them have together needs no memory; it may come later than need be */
        shard->unstamped_at = shard->applied;
        stoa_msg_list_push(&shard->unstamped, msg);
        return;
    }
    *(carrier *)stoa_msg_body(carries) = (carrier){.act = {.run = deliver_carried}, .msg = msg};
    carries->to = stoa_ref_make(0, core->place.index, 0);
    carries->from = STOA_REF_NONE;
    carries->row = NULL;
    stoa_shard_wall(shard, carries);
}

/* --- running */

void stoa_shard_refuse(struct stoa_shard *shard, stoa_msg *msg, stoa_err why)
{
    stoa_msg *refusal = stoa_core_refusal(shard->core, msg, why);
    if (refusal) { stoa_shard_wall(shard, refusal); }
}

void stoa_shard_take(struct stoa_shard *shard, stoa_actor *actor, stoa_msg *msg)
{
    if (shard->down) {
        stoa_core_refuse(shard->core, msg, STOA_E_UNAVAILABLE);
        return;
    }
    if (actor->flags & STOA_ACTOR_DOWN) { /* a timer or an answer of before would reach who comes after */
        stoa_shard_refuse(shard, msg, STOA_E_FAILED);
        return;
    }
    if (!stoa_mailbox_admits(shard->core, actor, msg)) { return; }
    stoa_mailbox_keep(actor, msg->flags);
    stoa_conflating_note(actor, msg);
    stoa_msg_list_push((msg->flags & STOA_MSG_URGENT) ? &shard->control : &shard->inbox, msg);
    if (!shard->stalled) { stoa_core_enqueue(shard->core, &shard->run); }
}

static bool waiting(const struct stoa_shard *shard)
{
    return shard->rest.head || shard->control.head || shard->inbox.head;
}

/* Control first. */
static stoa_msg *next_waiting(struct stoa_shard *shard)
{
    return stoa_msg_list_pop(shard->control.head ? &shard->control : &shard->inbox);
}

static void left(stoa_actor *actor, stoa_msg *msg)
{
    stoa_mailbox_unkeep(actor, msg->flags);
    stoa_conflating_forget(actor, msg);
}

static void disown(struct stoa_shard *shard, stoa_msg_list *list, stoa_actor *actor)
{
    stoa_ref self = actor->self;
    stoa_msg_list rest = {0};
    stoa_msg *msg;
    while ((msg = stoa_msg_list_pop(list)) != NULL) {
        if (!stoa_ref_equal(msg->to, self) || !(msg->flags & (STOA_MSG_ANSWER | STOA_MSG_FIRED))) {
            stoa_msg_list_push(&rest, msg);
            continue;
        }
        left(actor, msg);
        if (msg->flags & STOA_MSG_ANSWER) { stoa_core_dead_letter(shard->core, msg, STOA_E_FAILED); }
        stoa_place_free(&shard->core->place, msg);
    }
    *list = rest;
}

void stoa_shard_disown(struct stoa_shard *shard, stoa_actor *actor)
{
    disown(shard, &shard->control, actor);
    disown(shard, &shard->inbox, actor);
}

void stoa_shard_begin(struct stoa_shard *shard)
{
    const stoa_block_slot *block = open_block(shard);
    STOA_ASSERT(shard->stage == STOA_CASCADE_NONE && !shard->cascade.head);
    shard->stage = STOA_CASCADE_FIRST;
    shard->own = false;
    shard->cascades++;
    shard->touched = 0;
    shard->cause = 0;
    shard->cascade_left = STOA_CASCADE_MAX;
    shard->mark = (stoa_cascade_mark){.applied = shard->applied,
                                      .used_bytes = block->used_bytes,
                                      .count = block->count,
                                      .index_count = block->index_count,
                                      .wall = shard->wall.count};
}

static void run_one(struct stoa_shard *shard, stoa_actor *actor, stoa_msg *msg)
{
    if (actor->flags & STOA_ACTOR_DOWN) {
        stoa_shard_tear(shard, STOA_E_FAILED);
        stoa_shard_refuse(shard, msg, STOA_E_FAILED);
    } else {
        stoa_turn_run(shard->core, actor, msg);
    }
}

/* An answer within the shard meets its ask when its turn comes, as one from outside does when it arrives. */
static stoa_actor *receiver(struct stoa_shard *shard, stoa_msg **msg)
{
    if ((*msg)->flags & STOA_MSG_ANSWER) { *msg = stoa_core_resolve(shard->core, *msg); }
    if (!*msg) { return NULL; }
    stoa_actor *actor = stoa_core_actor(shard->core, (*msg)->to);
    if (!actor) { stoa_shard_refuse(shard, *msg, STOA_E_CLOSED); }
    return actor;
}

void stoa_shard_tear(struct stoa_shard *shard, stoa_err why)
{
    if (shard->stage == STOA_CASCADE_WITHIN && journaled(shard)) { shard->torn = why; }
}

stoa_err stoa_shard_cascade(struct stoa_shard *shard)
{
    shard->stage = STOA_CASCADE_WITHIN;
    while (shard->cascade.head && !shard->torn) {
        stoa_msg *msg = stoa_msg_list_pop(&shard->cascade);
        stoa_actor *actor = receiver(shard, &msg);
        if (actor) { run_one(shard, actor, msg); }
    }
    stoa_err err = __builtin_expect(shard->torn != STOA_OK, 0) ? stoa_shard_undo(shard) : STOA_OK;
    shard->stage = STOA_CASCADE_NONE;
    if (shard->request) { stoa_once_end(shard); }
    if (shard->down) { return err; }
    let_go(shard);
    commit_at_once(shard);
    return err;
}

bool stoa_shard_room(struct stoa_shard *shard)
{
    if (shard->down) { return false; }
    if (!room_in_block(shard)) { seal(shard); }
    bool room = room_in_block(shard);
    if (!room) { shard->mailing->blocked = true; }
    return room;
}

typedef struct noop {
    struct stoa_shard *shard;
    stoa_err err;
} noop;

static void noop_on_core(stoa_core *core, void *context)
{
    noop *n = context;
    struct stoa_shard *shard = n->shard;
    stoa_shard_log_epoch_started event = {.epoch = shard->epoch};
    shard->cause = 0; /* its own */
    if (shard->down) {
        n->err = STOA_E_UNAVAILABLE;
    } else if (may_not_begin(shard)) {
        n->err = STOA_E_FULL;
    } else if (!stoa_shard_room(shard)) {
        n->err = STOA_E_AGAIN;
    } else {
        stoa_shard_note_alone(shard, stoa_shard_log_ROW_epoch_started, &event);
        stoa_core_enqueue(core, &shard->run);
    }
}

stoa_err stoa_shard_noop(stoa_shard *shard)
{
    noop n = {.shard = shard};
    if (!journaled(shard)) { return STOA_FAIL(STOA_E_UNSUPPORTED, "shard %s has no journal", shard->name); }
    stoa_core_do(shard->core, noop_on_core, &n);
    return n.err ? STOA_FAIL(n.err, "a no-op in shard %s", shard->name) : STOA_OK;
}

static bool make_room(struct stoa_shard *shard)
{
    if (!room_for_cascade(shard)) { seal(shard); }
    return room_for_cascade(shard);
}

/* The first message of the rest, and all that follows from it. */
static void take_rest(struct stoa_shard *shard)
{
    stoa_channels_begin(shard, false);
    shard->own = true;
    stoa_msg *msg = stoa_msg_list_pop(&shard->rest);
    stoa_actor *actor = receiver(shard, &msg);
    if (actor) { run_one(shard, actor, msg); }
    (void)stoa_shard_cascade(shard); /* who asked has heard of it */
}

void stoa_shard_rest(struct stoa_shard *shard)
{
    uint32_t budget = shard->rest.count < CASCADES_PER_RUN ? shard->rest.count : CASCADES_PER_RUN;
    while (budget-- && !shard->down && make_room(shard)) { take_rest(shard); }
}

/* A message from outside, and all that follows from it. */
static void take_one(struct stoa_shard *shard)
{
    stoa_channels_begin(shard, false);
    stoa_msg *msg = next_waiting(shard);
    STOA_ASSERT(msg);
    shard->own = msg->flags & (STOA_MSG_ANSWER | STOA_MSG_FIRED);
    stoa_actor *actor = stoa_core_actor(shard->core, msg->to);
    if (actor) {
        left(actor, msg);
        if (actor->flags & STOA_ACTOR_AWAITED) { stoa_room_tell(shard->core, actor, STOA_OK); }
        if (!stoa_once_begin(shard, actor, msg)) { run_one(shard, actor, msg); }
    } else if (stoa_once_is_ours(msg)) {
        stoa_once_returned(shard, msg);
    } else {
        stoa_shard_refuse(shard, msg, STOA_E_CLOSED);
    }
    (void)stoa_shard_cascade(shard); /* who asked has heard of it */
}

static void take_all(struct stoa_shard *shard)
{
    uint32_t waits = shard->rest.count + shard->control.count + shard->inbox.count;
    uint32_t budget = waits < CASCADES_PER_RUN ? waits : CASCADES_PER_RUN;
    uint64_t enough = shard->core->messages + stoa_core_quantum(shard->core, TURNS_PER_RUN); /* long ones: fewer at one go */
    while (budget-- && !shard->down && shard->core->messages < enough && waiting(shard)) {
        shard->stalled = !make_room(shard);
        if (shard->stalled) { break; }
        if (shard->rest.head) {
            take_rest(shard);
        } else {
            take_one(shard);
        }
    }
}

bool stoa_shard_run(struct stoa_shard *shard)
{
    if (!shard->down) { stoa_channels_hear(shard); }
    if (!shard->down) { take_all(shard); }
    bool more = !shard->down && stoa_channels_take(shard, CASCADES_PER_RUN);
    stoa_effects_hear(shard);
    if (shard->down) { return false; } /* since one of these, perhaps */
    seal(shard);
    (void)stoa_shard_release_committed(shard);
    stoa_channels_pump(shard);
    stoa_effects_pump(shard);
    return more || (waiting(shard) && !shard->stalled);
}

bool stoa_shard_may_go_on(const struct stoa_shard *shard)
{
    if (shard->down) { return false; }
    return (shard->stalled && room_for_cascade(shard)) || ((shard->mailing->blocked || stoa_effects_waiting(shard)) && room_in_block(shard));
}

static bool resume_stalled(struct stoa_shard *shard)
{
    if (!stoa_shard_may_go_on(shard)) { return false; }
    shard->stalled = shard->mailing->blocked = false;
    stoa_core_enqueue(shard->core, &shard->run);
    return true;
}

bool stoa_shard_poll(struct stoa_shard *shard)
{
    if (atomic_load_explicit(&shard->refused, memory_order_relaxed)) { return stoa_shard_drop_refused(shard); }
    if (shard->down) { return false; }
    if (shard->core->now_ns >= stoa_shard_due_ns(shard)) { seal(shard); }
    if (shard->mailing->again_ns && shard->core->now_ns >= shard->mailing->again_ns) {
        shard->mailing->again_ns = 0;
        stoa_core_enqueue(shard->core, &shard->run);
    }
    /* acquire: the journal's thread is done with the blocks below it */
    uint64_t durable = atomic_load_explicit(&shard->durable_block, memory_order_acquire);
    if (durable == shard->block_done) { return resume_stalled(shard); }
    shard->blocks_written += durable - shard->block_done;
    const stoa_block_slot *last = &shard->blocks[(durable - 1) % STOA_BLOCKS];
    shard->acks.disk = last->first + last->count - 1;
    shard->committed = stoa_acks_committed(&shard->acks, shard->durability);
    stoa_core_note(shard->core, STOA_FLIGHT_COMMITTED, NULL, NULL, shard->name, shard->committed, durable - shard->block_done);
    stoa_channels_durable(shard, (durable - 1) % STOA_BLOCKS);
    shard->block_done = durable;
    seal(shard);
    (void)stoa_shard_release_committed(shard);
    stoa_channels_pump(shard);
    stoa_effects_pump(shard);
    (void)resume_stalled(shard);
    return true;
}

bool stoa_shard_idle(const struct stoa_shard *shard)
{
    return !waiting(shard) && !shard->wall.head && !shard->unstamped.head &&
           shard->block_open == shard->block_done &&
           shard->blocks[shard->block_open % STOA_BLOCKS].count == 0;
}
