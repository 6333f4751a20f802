/* past.c - a state as it was: the newest snapshot before that position, and the log from there (runtime/node.h).
 *
 * Nothing of it touches the running shard: any thread, of its own copy.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include <inttypes.h>
#include <string.h>

#include "base/wire.h"
#include "runtime/follow.h"
#include "runtime/internal.h"
#include "runtime/shard.h"
#include "runtime/sparse.h"

typedef struct past {
    struct stoa_shard *shard;
    uint32_t stream;
    const stoa_kind *kind;
    void *state;
    bool there; /* it had been spawned by then */
    stoa_past_view view;
} past;

/* Its state in the newest snapshot that can be read; an older one where that is broken. */
static stoa_err begin(past *p, uint64_t position)
{
    stoa_snapshot *snapshot;
    stoa_image_directory directory;
    for (uint64_t at_most = position; !p->view.snapshot && at_most;) {
        if (stoa_shard_snapshot_find(p->shard, at_most, false, &snapshot, &directory)) { break; }
        uint64_t at = stoa_snapshot_look(snapshot)->position;
        p->there = p->stream <= directory.count;
        stoa_err err = p->there ? stoa_image_state(snapshot, &directory, p->stream, p->state) : STOA_OK;
        if (!err) { p->view.snapshot = at; }
        if (!err && p->there) { p->view.seq = directory.streams[p->stream].seq; }
        if (err) { stoa_sparse_clear(p->state, p->kind->state_bytes); }
        stoa_image_close(&directory);
        stoa_snapshot_close(snapshot);
        at_most = at - 1;
    }
    uint64_t first = stoa_journal_first(p->shard->journal);
    if (p->view.snapshot + 1 >= first) { return STOA_OK; }
    return STOA_FAIL(STOA_E_GONE, "the log of %s begins at %" PRIu64 ", and no snapshot between says how it was at %" PRIu64,
                     p->shard->name, first, position);
}

static stoa_err apply(void *context, const stoa_event_view *event)
{
    past *p = context;
    stoa_err err = stoa_event_apply(p->shard->name, p->state, event);
    if (err) { return err; }
    p->there = true;
    p->view.seq = event->seq;
    p->view.last = event->position;
    p->view.last_ns = event->wall_ns;
    p->view.events++;
    return STOA_OK;
}

static stoa_err look_for_spawn(void *context, const stoa_event_view *event)
{
    past *p = context;
    if (event->row->id != stoa_shard_log_ROW_spawned) { return STOA_OK; }
    p->there = ((const stoa_shard_log_spawned *)event->payload)->stream == p->stream;
    return p->there ? STOA_E_CANCELLED : STOA_OK;
}

static stoa_err go_to(past *p, stoa_log_reader *reader, uint64_t position)
{
    stoa_log_only(reader, p->stream);
    stoa_err err = stoa_log_read(reader, p->view.snapshot + 1, position, apply, p, NULL);
    if (err || p->there || p->stream == 0) { return err; }
    stoa_log_only(reader, 0);
    err = stoa_log_read(reader, p->view.snapshot + 1, position, look_for_spawn, p, NULL);
    if (err || p->there) { return err; }
    return STOA_FAIL(STOA_E_NOT_FOUND, "at position %" PRIu64 " it was not there yet", position);
}

static stoa_err print(const past *p, stoa_buf *out)
{
    const stoa_kind *kind = p->kind;
    if (kind->inspect) {
        kind->inspect(p->state, out);
    } else if (kind->state_type && kind->state_type->size_bytes == kind->state_bytes) {
        stoa_print_json(kind->state_type, p->state, out);
    } else {
        return STOA_FAIL(STOA_E_UNSUPPORTED, "the kind %s prints nothing", kind->name);
    }
    return STOA_OK;
}

stoa_err stoa_shard_state_at(stoa_shard *shard, const char *actor, uint64_t position, stoa_buf *out, stoa_past_view *view_out)
{
    stoa_log_reader *reader;
    stoa_err err = stoa_log_open(shard, &reader);
    if (err) { return err; }
    past p = {.shard = shard};
    p.kind = stoa_log_actor(reader, actor, &p.stream);
    uint64_t durable = stoa_shard_durable(shard);
    if (!p.kind) {
        err = STOA_FAIL(STOA_E_NOT_FOUND, "no actor %s in shard %s", actor, shard->name);
    } else if (position > durable) {
        err = STOA_FAIL(STOA_E_INVALID, "position %" PRIu64 " is not committed yet; %" PRIu64 " is the last", position, durable);
    } else {
        p.view.position = position;
        p.state = stoa_state_new(p.kind);
        err = p.state ? begin(&p, position) : STOA_FAIL(STOA_E_NOMEM, "state of %s", actor);
    }
    if (!err) { err = go_to(&p, reader, position); }
    if (!err) { err = print(&p, out); }
    if (!err && view_out) { *view_out = p.view; }
    if (p.kind) { stoa_state_free(p.kind, p.state); }
    stoa_log_close(reader);
    return err;
}
