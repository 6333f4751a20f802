/* shard_undo.c - single states of a running shard anew from its log: of an actor that failed, and of all that a cascade had changed
 * which is undone.
 *
 * A cascade is undone when it has lost a message in its middle: the actor that was to handle it failed (stoa_fail) or is down, or the
 * turn said that without it nothing before it may stand (stoa_turn_undo). Who asked hears why, and may ask again; nobody else
 * notices. What makes it possible: the events of a cascade are at the end of the open block, which nobody has written, and what it
 * sends out of the shard, events or not, stands behind the wall until it is over. So
 *
 *     1. the open block ends again where the cascade began
 *     2. the states of all who had events in it, and of the ledger, are folded anew: from the newest snapshot, the log, and the
 *        blocks that are not in the log yet. Other cascades stay, committed or not
 *     3. what it left of messages is refused, and of what it put behind the wall only answers leave, as refusals
 *     4. the incarnations of all who had events in it, or who hold something of it (a timer, an ask, a child, a subscription), end
 *        as after a failure; they resume. Who only read or sent goes on
 *
 * What the refusals tell askers of the shard, and what resumes send, is the rest (shard.h). A cascade that the shard has begun by itself
 * - the rest, a timer, an answer - may be undone each time: then those who begin anew come back later and later, as who fails does.
 *
 * When the states cannot be had (the log cannot be read, no memory), the shard is down: it serves nobody and decides nothing until it
 * is dropped, at its next poll.
 *
 * It costs the core what lies behind the last snapshot, as the restart of an actor does. A shard without
 * a journal (durability NONE) cannot do it: there the lost message alone is refused, as any other.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "base/log.h"
#include "runtime/channel.h"
#include "runtime/follow.h"
#include "runtime/internal.h"
#include "runtime/shard.h"
#include "runtime/sparse.h"

#define UNDONE "its cascade was undone"

/* --- states anew */

typedef struct renewal {
    struct stoa_shard *shard;
    void **states; /* by stream; NULL: it is not wanted */
    uint32_t streams, only, wanted; /* length of states; the last one that is wanted; how many are */
    uint64_t applied;
} renewal;

static const stoa_kind *kind_of(const renewal *r, uint32_t stream)
{
    return r->shard->streams.at[stream].kind;
}

static stoa_err begin(struct stoa_shard *shard, renewal *out)
{
    *out = (renewal){.shard = shard, .streams = shard->actor_count + 1};
    out->states = stoa_sparse_map(out->streams * sizeof *out->states);
    return out->states ? STOA_OK : STOA_FAIL(STOA_E_NOMEM, "shard %s: %u states", shard->name, out->streams);
}

static stoa_err want(renewal *r, uint32_t stream)
{
    if (stream >= r->streams || r->states[stream]) { return STOA_OK; }
    r->states[stream] = stoa_state_new(kind_of(r, stream));
    if (!r->states[stream]) { return STOA_FAIL(STOA_E_NOMEM, "shard %s, stream %u", r->shard->name, stream); }
    r->only = stream;
    r->wanted++;
    return STOA_OK;
}

static void end(renewal *r)
{
    for (uint32_t stream = 0; r->states && stream < r->streams; stream++) {
        if (r->states[stream]) { stoa_state_free(kind_of(r, stream), r->states[stream]); }
    }
    stoa_sparse_unmap(r->states, r->streams * sizeof *r->states);
}

static stoa_err apply_one(void *context, const stoa_event_view *event)
{
    const renewal *r = context;
    void *state = event->stream < r->streams ? r->states[event->stream] : NULL;
    return state ? stoa_event_apply(r->shard->name, state, event) : STOA_OK;
}

/* What is not yet in the log: blocks with the journal's thread, and the open one. */
static stoa_err fold_blocks(renewal *r, stoa_log_reader *reader, uint64_t from)
{
    struct stoa_shard *shard = r->shard;
    stoa_err err = STOA_OK;
    for (uint64_t number = shard->block_done; number <= shard->block_open && !err; number++) {
        const stoa_block_slot *slot = &shard->blocks[number % STOA_BLOCKS];
        if (!slot->count || slot->first + slot->count - 1 < from) { continue; }
        stoa_block block = {.first = slot->first, .count = slot->count, .payload = slot->bytes,
                            .payload_bytes = slot->used_bytes};
        err = stoa_log_read_block(reader, &block, from, UINT64_MAX, apply_one, r);
        r->applied = slot->first + slot->count - 1;
    }
    return err;
}

static stoa_err read_images(renewal *r, stoa_snapshot *snapshot, const stoa_image_directory *directory)
{
    stoa_err err = STOA_OK;
    for (uint32_t stream = 0; stream < r->streams && stream <= directory->count && !err; stream++) {
        if (r->states[stream]) { err = stoa_image_state(snapshot, directory, stream, r->states[stream]); }
    }
    for (uint32_t stream = 0; stream < r->streams && err; stream++) {
        if (r->states[stream]) { stoa_sparse_clear(r->states[stream], kind_of(r, stream)->state_bytes); }
    }
    return err;
}

/* The states in the newest snapshot that has them; *position_out: 0 where there is none. */
static stoa_err fold_snapshot(renewal *r, uint64_t *position_out)
{
    stoa_snapshot *snapshot;
    stoa_image_directory directory;
    uint64_t at_most = stoa_shard_durable(r->shard);
    for (*position_out = 0; !*position_out && at_most;) {
        if (stoa_shard_snapshot_find(r->shard, at_most, false, &snapshot, &directory)) { break; }
        uint64_t position = stoa_snapshot_look(snapshot)->position;
        if (!read_images(r, snapshot, &directory)) { *position_out = position; }
        stoa_image_close(&directory);
        stoa_snapshot_close(snapshot);
        at_most = position - 1;
    }
    uint64_t first = stoa_journal_first(r->shard->journal);
    return *position_out + 1 >= first ? STOA_OK : STOA_FAIL(STOA_E_GONE, "the log begins at %llu", (unsigned long long)first);
}

static stoa_err fold_all(renewal *r)
{
    stoa_log_reader *reader;
    uint64_t from;
    stoa_err err = fold_snapshot(r, &from);
    if (!err) { err = stoa_log_open(r->shard, &reader); }
    if (err) { return err; }
    if (r->wanted == 1) { stoa_log_only(reader, r->only); }
    r->applied = stoa_shard_durable(r->shard); /* before the blocks are looked at: none can fall between */
    err = stoa_log_read(reader, from + 1, r->applied, apply_one, r, NULL);
    if (!err) { err = fold_blocks(r, reader, r->applied + 1); }
    stoa_log_close(reader);
    return err;
}

static void put_in_place(const renewal *r, uint32_t stream)
{
    unsigned char *to = stoa_shard_state(r->shard, stream);
    stoa_sparse_walk walk = {.at = r->states[stream], .bytes = kind_of(r, stream)->state_bytes};
    stoa_sparse_clear(to, walk.bytes);
    while (stoa_sparse_next(&walk)) { memcpy(to + walk.from, (const unsigned char *)walk.at + walk.from, walk.to - walk.from); }
}

/* --- one actor that failed */

/* What the log says is what counts: a state that differs was not made by its events. */
static void compare(const renewal *r, const stoa_actor *actor)
{
    const struct stoa_shard *shard = r->shard;
    bool whole = r->applied == shard->applied;
    if (whole && stoa_sparse_equal(r->states[actor->stream], actor->state, actor->kind->state_bytes)) { return; }
    stoa_log(STOA_LOG_ERROR, "state_differs_from_log", STOA_KV("actor", stoa_actor_name(actor)),
             STOA_KU("position", shard->applied), STOA_KU("replayed", r->applied));
    STOA_ASSERT(!shard->node->options.sim); /* a broken kind, or a broken replay: tests do not go on with it */
    if (whole) { put_in_place(r, actor->stream); }
}

static void failed(const struct stoa_shard *shard, stoa_err err)
{
    stoa_log_error("rebuild_failed", err);
    STOA_ASSERT(!shard->node->options.sim || err == STOA_E_NOMEM || err == STOA_E_IO);
}

/* Between turns nothing of an actor is half done, and handlers cannot write to the state: it is the fold of the applied events
 * already, and replaying them gives the same bytes. That is done all the same, and shown: it keeps one failure of memory or of a
 * broken kind from living on. */
void stoa_shard_rebuild(struct stoa_shard *shard, stoa_actor *actor)
{
    renewal r;
    if (!shard->journal) { return; }
    stoa_err err = begin(shard, &r);
    if (!err) { err = want(&r, actor->stream); }
    if (!err) { err = fold_all(&r); }
    if (err) {
        failed(shard, err);
    } else {
        compare(&r, actor);
    }
    end(&r);
}

/* --- a cascade */

/* An event of it: its stream is wanted, and counts from before its first one again. */
static stoa_err touch(void *context, const stoa_event_view *event)
{
    renewal *r = context;
    if (event->stream && event->stream < r->streams) { stoa_shard_touch(r->shard->actors[event->stream]); }
    if (event->stream < r->streams && !r->states[event->stream]) { r->shard->seqs[event->stream] = event->seq - 1; }
    return want(r, event->stream);
}

static stoa_err touched(renewal *r, const stoa_block_slot *slot)
{
    const stoa_cascade_mark *mark = &r->shard->mark;
    stoa_log_reader *reader;
    stoa_block block = {.first = mark->applied + 1,
                        .count = slot->count - mark->count,
                        .payload = slot->bytes + mark->used_bytes,
                        .payload_bytes = slot->used_bytes - mark->used_bytes};
    if (!block.count) { return STOA_OK; }
    stoa_err err = stoa_log_open(r->shard, &reader);
    if (err) { return err; }
    err = stoa_log_read_block(reader, &block, block.first, UINT64_MAX, touch, r);
    stoa_log_close(reader);
    return err;
}

static void cut(struct stoa_shard *shard, stoa_block_slot *slot)
{
    const stoa_cascade_mark *mark = &shard->mark;
    slot->used_bytes = mark->used_bytes;
    slot->count = mark->count;
    slot->index_count = mark->index_count;
    shard->applied = shard->acks.memory = mark->applied;
    shard->cause = 0;
    if (shard->unstamped_at > mark->applied) { shard->unstamped_at = mark->applied; }
}

/* Of what it would have sent out of the shard only refusals leave, and what undoes. */
static void take_back(struct stoa_shard *shard, stoa_err why)
{
    stoa_msg_list wall = shard->wall;
    shard->wall = (stoa_msg_list){0};
    uint32_t before = shard->mark.wall;
    for (stoa_msg *msg; (msg = stoa_msg_list_pop(&wall));) {
        stoa_context *context = stoa_msg_context(msg);
        bool stays = before || stoa_shard_carries(msg) || (msg->flags & STOA_MSG_ANSWER);
        if (before) {
            before--;
        } else {
            context->position = shard->applied;
            if ((msg->flags & STOA_MSG_ANSWER) && msg->row) { stoa_msg_refuse(msg, why); }
        }
        if (stays) {
            stoa_msg_list_push(&shard->wall, msg);
        } else if (msg->flags & (STOA_MSG_TOPIC | STOA_MSG_ACT)) {
            if (msg->flags & STOA_MSG_TOPIC) { stoa_topic_landed(context->topic); }
            stoa_place_free(&shard->core->place, msg);
        } else {
            stoa_shard_refuse(shard, msg, why);
        }
    }
}

/* What has not been handled of it is refused; askers of the shard hear so behind it. */
static void leave(struct stoa_shard *shard, stoa_err why)
{
    stoa_msg_list unhandled = shard->cascade;
    shard->cascade = (stoa_msg_list){0};
    for (stoa_msg *msg; (msg = stoa_msg_list_pop(&unhandled));) {
        if (msg->flags & STOA_MSG_ANSWER) {
            if (msg->row) { stoa_msg_refuse(msg, why); }
            stoa_shard_wall(shard, msg);
        } else {
            stoa_shard_refuse(shard, msg, why);
        }
    }
}

static void end_incarnation(const renewal *r, stoa_actor *actor)
{
    struct stoa_shard *shard = r->shard;
    bool failed = actor->flags & STOA_ACTOR_DOWN;
    if (r->states[actor->stream]) { put_in_place(r, actor->stream); }
    if (!failed) {
        if (shard->node->options.sim) { stoa_sim_failed(shard->node->options.sim, shard->core, actor, UNDONE); }
        stoa_core_note(shard->core, STOA_FLIGHT_FAILED, actor, NULL, UNDONE, actor->restarts, 0);
        stoa_shard_disown(shard, actor);
    }
    bool resumes = stoa_tree_undone(shard->core, actor, shard->own, UNDONE);
    if (failed && resumes && !r->states[actor->stream]) { stoa_shard_rebuild(shard, actor); }
}

static void resume(struct stoa_shard *shard, stoa_actor *actor)
{
    if ((actor->flags & STOA_ACTOR_DOWN) || !stoa_turn_first(shard->core, actor)) { return; }
    stoa_log_error("resume_failed", STOA_E_FAILED);
    stoa_actor_fail(shard->core, actor, "cannot resume");
}

static void begin_anew(const renewal *r)
{
    struct stoa_shard *shard = r->shard;
    if (r->states[0]) { put_in_place(r, 0); }
    stoa_channels_measure(shard);
    for (uint32_t at = shard->touched; at; at = shard->actors[at]->more->touched_next) { end_incarnation(r, shard->actors[at]); }
    for (uint32_t at = shard->touched; at; at = shard->actors[at]->more->touched_next) { resume(shard, shard->actors[at]); }
}

/* The block has ended where the cascade began, but the states cannot be had: the shard is dropped as soon as it is polled. */
static void give_up(struct stoa_shard *shard, stoa_err err)
{
    failed(shard, err);
    shard->down = true;
    atomic_store(&shard->refused, (int32_t)err);
}

stoa_err stoa_shard_undo(struct stoa_shard *shard)
{
    stoa_block_slot *slot = &shard->blocks[shard->block_open % STOA_BLOCKS];
    stoa_err why = shard->torn;
    uint64_t events = shard->applied - shard->mark.applied;
    renewal r;
    stoa_core_note(shard->core, STOA_FLIGHT_RESTART, NULL, NULL, shard->name, shard->applied, shard->mark.applied);
    stoa_err err = begin(shard, &r);
    if (!err) { err = touched(&r, slot); }
    cut(shard, slot);
    if (!err && r.wanted) { err = fold_all(&r); }
    leave(shard, why);
    take_back(shard, why);
    shard->torn = STOA_OK;
    shard->stage = STOA_CASCADE_NONE;
    if (err) {
        give_up(shard, err);
    } else {
        STOA_ASSERT(!r.wanted || r.applied == shard->applied);
        begin_anew(&r);
    }
    end(&r);
    stoa_log(STOA_LOG_WARN, "cascade_undone", STOA_KV("shard", shard->name), STOA_KU("position", shard->applied),
             STOA_KU("events", events), STOA_KV("why", stoa_err_name(why)));
    return why;
}
