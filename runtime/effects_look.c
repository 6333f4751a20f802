/* effects_look.c - what operators see of outside effects, and do about one that nobody will ever have done. See effects.h.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "runtime/effects.h"
#include "runtime/internal.h"
#include "runtime/shard.h"

static const char *status_of(const struct stoa_shard *shard, const stoa_pending *pending, const stoa_handed *handed)
{
    const stoa_server *server = stoa_effects_server(shard->node, pending);
    if (handed->to.at) { return "handed out"; }
    if (!stoa_effects_written(shard, pending)) { return "behind the wall"; }
    if (!server) { return "nobody serves it"; }
    return handed->unreadable ? "unreadable" : "waits";
}

static void look_at(struct stoa_shard *shard, uint32_t slot, stoa_pending_view *out)
{
    const stoa_pending *at = &shard->ledger->outbox.pending.at[slot];
    const stoa_handed *handed = &shard->effects->at[slot];
    stoa_effect effect = {.shard = shard, .epoch = at->epoch, .position = at->position, .n = at->n, .again = handed->again};
    *out = (stoa_pending_view){.table = at->table,
                               .row = at->row,
                               .bytes = at->bytes,
                               .actor = stoa_actor_name(shard->actors[at->stream]),
                               .status = status_of(shard, at, handed),
                               .again = handed->again && !handed->to.at,
                               .unreadable = handed->unreadable};
    (void)stoa_effect_text(&effect, out->name);
}

typedef struct outbox_look {
    struct stoa_shard *shard;
    stoa_outbox_view view;
    void (*visit)(void *context, const stoa_pending_view *view);
    void *context;
} outbox_look;

static void look_on_core(stoa_core *core, void *context)
{
    (void)core;
    outbox_look *look = context;
    const stoa_outbox *o = &look->shard->ledger->outbox;
    look->view = (stoa_outbox_view){
        .pending = o->pending.pool.used, .handed = look->shard->effects->out, .done = o->done, .failed = o->failed};
    for (uint32_t i = o->oldest; i; i = o->pending.at[i].newer) {
        stoa_pending_view view;
        look->view.unreadable += look->shard->effects->at[i].unreadable != STOA_OK;
        if (!look->visit) { continue; }
        look_at(look->shard, i, &view);
        look->visit(look->context, &view);
    }
}

void stoa_shard_outbox(stoa_shard *shard, stoa_outbox_view *out, void (*visit)(void *context, const stoa_pending_view *view),
                       void *context)
{
    outbox_look look = {.shard = shard, .visit = visit, .context = context};
    stoa_core_do(shard->core, look_on_core, &look);
    *out = look.view;
}

/* --- by hand */

typedef struct settling {
    struct stoa_shard *shard;
    const char *effect;
    stoa_err outcome;
    bool plan;
    stoa_pending_view view;
    stoa_err err;
} settling;

/* Errors: NOT_FOUND. */
static stoa_err find(const settling *s, uint32_t *slot_out, stoa_pending_view *view_out)
{
    const stoa_outbox *o = &s->shard->ledger->outbox;
    for (uint32_t i = o->oldest; i; i = o->pending.at[i].newer) {
        look_at(s->shard, i, view_out);
        if (strcmp(view_out->name, s->effect) != 0) { continue; }
        *slot_out = i;
        return STOA_OK;
    }
    return STOA_E_NOT_FOUND;
}

static void settle_on_core(stoa_core *core, void *context)
{
    settling *s = context;
    uint32_t slot = 0;
    s->err = s->shard->down ? STOA_E_UNAVAILABLE : find(s, &slot, &s->view);
    if (!s->err && s->shard->effects->at[slot].to.at) { s->err = STOA_E_INVALID; }
    bool room = !s->err && stoa_effects_written(s->shard, &s->shard->ledger->outbox.pending.at[slot]) && stoa_shard_room(s->shard);
    if (!s->err && !room) { s->err = STOA_E_AGAIN; }
    if (s->err || s->plan) { return; }
    stoa_effects_settle(s->shard, slot, s->outcome);
    stoa_core_enqueue(core, &s->shard->run);
}

stoa_err stoa_shard_settle(stoa_shard *shard, const char *effect, bool done, bool plan, stoa_pending_view *out)
{
    settling s = {.shard = shard, .effect = effect, .outcome = done ? STOA_OK : STOA_E_CANCELLED, .plan = plan};
    stoa_core_do(shard->core, settle_on_core, &s);
    if (s.err == STOA_E_NOT_FOUND) { return STOA_FAIL(s.err, "nothing of the name %s is pending in shard %s", effect, shard->name); }
    if (s.err == STOA_E_INVALID) { return STOA_FAIL(s.err, "%s is handed out: its port says what became of it", effect); }
    if (s.err) { return STOA_FAIL(s.err, "%s cannot be settled now", effect); }
    *out = s.view;
    return STOA_OK;
}
