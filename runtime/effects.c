/* effects.c - outside effects of a running shard. See effects.h.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "runtime/effects.h"

#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

#include "base/log.h"
#include "runtime/channel.h"
#include "runtime/internal.h"
#include "runtime/once.h"
#include "runtime/shard.h"

/* What a port says. */
typedef struct report {
    stoa_act act;
    struct stoa_shard *shard;
    uint64_t epoch, position;
    uint32_t n;
    int32_t error;
} report;

stoa_err stoa_effects_init(struct stoa_shard *shard)
{
    void *at = mmap(NULL, sizeof(struct stoa_effects), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (at == MAP_FAILED) { return STOA_FAIL(STOA_E_NOMEM, "effects of shard %s", shard->name); }
    shard->effects = at;
    return STOA_OK;
}

void stoa_effects_deinit(struct stoa_shard *shard)
{
    if (shard->effects) { (void)munmap(shard->effects, sizeof *shard->effects); }
    shard->effects = NULL;
}

/* --- a turn wants one */

/* A process that begins again must not give a name to another effect: the log says which were given, or the lease does, whose
 * epochs no two lives have. */
static bool names_never_return(const struct stoa_shard *shard)
{
    return shard->durability > stoa_durability_MEMORY || (shard->durability == stoa_durability_MEMORY && shard->leased);
}

stoa_err stoa_turn_effect(stoa_turn *turn, const stoa_row *row, const void *payload)
{
    enum { SPARE_PIECES = STOA_OUTBOX_PIECES / 8 };
    const stoa_turning *t = (const stoa_turning *)turn;
    struct stoa_shard *shard = t->actor->shard;
    stoa_shard_log_effect event;
    if (!shard || !t->msg || !names_never_return(shard)) { return STOA_E_UNSUPPORTED; }
    memset(&event, 0, offsetof(stoa_shard_log_effect, payload.at));
    stoa_writer w = {.at = event.payload.at, .cap_bytes = sizeof event.payload.at};
    stoa_err err = STOA_TEXT_SETZ(&event.table, row->kind);
    if (!err) { err = stoa_encode(&row->payload, payload, &w); }
    if (err) { return err; }
    event.row = row->id;
    event.stream = t->actor->stream;
    event.payload.count = (uint32_t)w.used_bytes;
    struct stoa_effects *e = shard->effects;
    const stoa_outbox *o = &shard->ledger->outbox;
    uint32_t pieces = stoa_outbox_pieces(event.payload.count);
    bool first = shard->mailing->first;
    uint32_t spare = first ? STOA_OUTBOX_SPARE : 0, spare_pieces = first ? SPARE_PIECES : 0;
    if (o->pending.pool.used + e->staged + spare >= STOA_OUTBOX_MAX ||
        o->pieces.pool.used + e->staged_pieces + pieces + spare_pieces > STOA_OUTBOX_PIECES) {
        return STOA_E_FULL;
    }
    size_t used = offsetof(stoa_shard_log_effect, payload.at) + event.payload.count;
    err = stoa_shard_stage_bytes(shard, &stoa_shard_log_rows[stoa_shard_log_ROW_effect], &event, (uint32_t)used);
    if (err) { return err; }
    e->staged++;
    e->staged_pieces += pieces;
    return STOA_OK;
}

void stoa_effects_clear_staged(struct stoa_shard *shard)
{
    shard->effects->staged = shard->effects->staged_pieces = 0;
}

void stoa_effects_note(struct stoa_shard *shard, stoa_shard_log_effect *event, const stoa_turning *turning)
{
    struct stoa_effects *e = shard->effects;
    uint64_t cause = shard->cause ? shard->cause : shard->applied + 1;
    e->n = e->cause == cause ? e->n + 1 : 0;
    e->cause = cause;
    event->epoch = shard->epoch;
    event->position = cause;
    event->n = e->n;
    stoa_shard_note(shard, stoa_shard_log_ROW_effect, event, turning);
    uint32_t slot = shard->ledger->outbox.newest;
    e->at[slot] = (stoa_handed){.epoch = event->epoch, .position = cause, .n = event->n, .known = true};
}

/* --- handing out */

const stoa_server *stoa_effects_server(stoa_node *node, const stoa_pending *pending)
{
    for (uint32_t i = 0; i < STOA_SERVERS_MAX; i++) {
        /* acquire: its port was written before */
        const stoa_table *table = atomic_load_explicit(&node->servers[i].table, memory_order_acquire);
        if (table && STOA_TEXT_EQZ(&pending->table, table->name)) { return &node->servers[i]; }
    }
    return NULL;
}

/* As a message to the port. Errors: AGAIN; else this build cannot read it: VERSION (a row that the table has not), TOO_LARGE, what
 * decoding says. */
static stoa_err message_of(struct stoa_shard *shard, const stoa_pending *pending, const stoa_table *table, stoa_ref port, bool again,
                           stoa_msg **out)
{
    if (!pending->row || pending->row > table->row_count) { return STOA_E_VERSION; }
    const stoa_row *row = &table->rows[pending->row];
    uint32_t bytes = row->payload.size_bytes, with_name = stoa_request_key_at(bytes) + (uint32_t)sizeof(stoa_effect);
    stoa_msg *msg = stoa_slab_new(&shard->core->place.slab, with_name, STOA_MSG_CONTEXT);
    if (!msg) { return stoa_slab_why_not(with_name) == STOA_E_TOO_LARGE ? STOA_E_TOO_LARGE : STOA_E_AGAIN; }
    msg->size_bytes = bytes;
    stoa_outbox_payload(&shard->ledger->outbox, pending, shard->effects->payload);
    stoa_err err = stoa_decode(&row->payload, shard->effects->payload, pending->bytes, stoa_msg_body(msg), NULL);
    if (err) {
        stoa_place_free(&shard->core->place, msg);
        return err == STOA_E_AGAIN ? STOA_E_CORRUPT : err;
    }
    msg->to = port;
    msg->from = shard->actors[pending->stream]->self;
    msg->row = row;
    stoa_msg_context(msg)->named = STOA_NAMED_EFFECT;
    stoa_msg_context(msg)->position = pending->position;
    stoa_effect *effect = (stoa_effect *)(void *)stoa_msg_key(msg);
    *effect = (stoa_effect){.shard = shard, .epoch = pending->epoch, .position = pending->position, .n = pending->n, .again = again};
    *out = msg;
    return STOA_OK;
}

/* It waits for a port that has another table, or for an operator. Said once for each table. */
static void set_aside(struct stoa_shard *shard, uint32_t slot, const stoa_table *table, stoa_err err)
{
    const stoa_pending *pending = &shard->ledger->outbox.pending.at[slot];
    char name[STOA_EFFECT_TEXT];
    stoa_effect effect = {.shard = shard, .epoch = pending->epoch, .position = pending->position, .n = pending->n};
    shard->effects->at[slot].unreadable = err;
    shard->effects->at[slot].tried = table;
    stoa_log(STOA_LOG_ERROR, "effect_unreadable", STOA_KV("effect", stoa_effect_text(&effect, name)), STOA_KV("table", table->name),
             STOA_KU("row", pending->row), STOA_KU("bytes", pending->bytes), STOA_KV("error", stoa_err_name(err)),
             STOA_KV("actor", stoa_actor_name(shard->actors[pending->stream])));
}

/* Whether its cascade, which is in one block, is in the log. With durability MEMORY the wall does not wait for that; what leaves
 * under a name does: a drop gives the positions that it loses to others. */
bool stoa_effects_written(const struct stoa_shard *shard, const stoa_pending *pending)
{
    return pending->position <= shard->acks.disk;
}

/* False: no more of them now. */
static bool hand_out_one(struct stoa_shard *shard, uint32_t slot)
{
    struct stoa_effects *e = shard->effects;
    const stoa_pending *pending = &shard->ledger->outbox.pending.at[slot];
    stoa_handed *handed = &e->at[slot];
    if (!stoa_effects_written(shard, pending)) { return false; }
    const stoa_server *server = handed->to.at ? NULL : stoa_effects_server(shard->node, pending);
    /* relaxed: stoa_effects_server has acquired it */
    const stoa_table *table = server ? atomic_load_explicit(&server->table, memory_order_relaxed) : NULL;
    if (!table || (handed->unreadable && handed->tried == table)) { return true; }
    if (!stoa_place_room(&shard->core->place, stoa_ref_place(server->port))) { return true; }
    stoa_msg *msg;
    stoa_err err = message_of(shard, pending, table, server->port, handed->again, &msg);
    if (err && err != STOA_E_AGAIN) { set_aside(shard, slot, table, err); }
    if (err) { return true; }
    handed->unreadable = STOA_OK;
    handed->to = server->port;
    handed->again = true; /* from now on */
    e->out++;
    stoa_shard_release(shard, msg);
    return true;
}

static void hand_out(struct stoa_shard *shard)
{
    const stoa_outbox *o = &shard->ledger->outbox;
    for (uint32_t i = o->oldest; i && shard->effects->out < STOA_HANDED_MAX; i = o->pending.at[i].newer) {
        if (!hand_out_one(shard, i)) { return; }
    }
}

/* --- what ports say */

void stoa_effects_settle(struct stoa_shard *shard, uint32_t slot, stoa_err outcome)
{
    struct stoa_effects *e = shard->effects;
    const stoa_pending *pending = &shard->ledger->outbox.pending.at[slot];
    stoa_shard_log_effected event = {.epoch = pending->epoch, .position = pending->position, .n = pending->n, .error = (int32_t)outcome};
    e->out -= e->at[slot].to.at != 0;
    e->at[slot] = (stoa_handed){0};
    shard->cause = 0;
    stoa_shard_note_alone(shard, stoa_shard_log_ROW_effected, &event);
}

static void hear(struct stoa_shard *shard, const report *says)
{
    uint32_t slot = stoa_outbox_find(&shard->ledger->outbox, says->epoch, says->position, says->n);
    if (slot) { stoa_effects_settle(shard, slot, (stoa_err)says->error); }
}

bool stoa_effects_waiting(const struct stoa_shard *shard)
{
    return shard->effects->reports.head != NULL;
}

void stoa_effects_hear(struct stoa_shard *shard)
{
    struct stoa_effects *e = shard->effects;
    while (e->reports.head && stoa_shard_room(shard)) {
        stoa_msg *msg = stoa_msg_list_pop(&e->reports);
        hear(shard, stoa_msg_body(msg));
        stoa_place_free(&shard->core->place, msg);
    }
}

void stoa_effects_pump(struct stoa_shard *shard)
{
    if (shard->ledger->outbox.oldest) { hand_out(shard); }
}

/* On the shard's core. */
static void arrive(stoa_core *core, stoa_msg *msg)
{
    struct stoa_shard *shard = ((const report *)stoa_msg_body(msg))->shard;
    stoa_msg_list_push(&shard->effects->reports, msg);
    stoa_core_enqueue(core, &shard->run);
}

stoa_err stoa_port_effected(stoa_port *port, const stoa_effect *effect, stoa_err outcome)
{
    struct stoa_shard *shard = effect->shard;
    uint32_t place = shard->core->place.index;
    if (!stoa_place_room(&port->place, place)) { return STOA_E_FULL; }
    stoa_msg *msg = stoa_slab_new_surely(&port->place.slab, sizeof(report), STOA_MSG_ACT);
    if (!msg) { return STOA_E_FULL; }
    *(report *)stoa_msg_body(msg) = (report){.act = {.run = arrive},
                                             .shard = shard,
                                             .epoch = effect->epoch,
                                             .position = effect->position,
                                             .n = effect->n,
                                             .error = (int32_t)outcome};
    msg->to = stoa_ref_make(0, place, 0);
    msg->from = stoa_port_ref(port);
    msg->row = NULL;
    stoa_place_push(&port->place, place, msg);
    return STOA_OK;
}

const char *stoa_effect_text(const stoa_effect *effect, char text[STOA_EFFECT_TEXT])
{
    (void)snprintf(text, STOA_EFFECT_TEXT, "%s-%llu-%llu-%u", effect->shard->name, (unsigned long long)effect->epoch,
                   (unsigned long long)effect->position, effect->n);
    return text;
}

/* --- lives */

void stoa_effects_recovered(struct stoa_shard *shard)
{
    const stoa_outbox *o = &shard->ledger->outbox;
    for (uint32_t i = o->oldest; i; i = o->pending.at[i].newer) {
        const stoa_pending *at = &o->pending.at[i];
        shard->effects->at[i] = (stoa_handed){.epoch = at->epoch, .position = at->position, .n = at->n, .known = true, .again = true};
    }
}

static const stoa_handed *was(const struct stoa_effects *e, const stoa_pending *pending)
{
    for (uint32_t i = 1; i <= STOA_OUTBOX_MAX; i++) {
        const stoa_handed *at = &e->before[i];
        if (at->known && at->position == pending->position && at->epoch == pending->epoch && at->n == pending->n) { return at; }
    }
    return NULL;
}

void stoa_effects_dropped(struct stoa_shard *shard)
{
    struct stoa_effects *e = shard->effects;
    const stoa_outbox *o = &shard->ledger->outbox;
    memcpy(e->before, e->at, sizeof e->at);
    memset(e->at, 0, sizeof e->at);
    stoa_effects_recovered(shard);
    e->out = 0;
    for (uint32_t i = o->oldest; i; i = o->pending.at[i].newer) {
        const stoa_handed *before = was(e, &o->pending.at[i]);
        if (before) { e->at[i] = *before; }
        e->out += e->at[i].to.at != 0;
    }
}

void stoa_effects_abandoned(struct stoa_shard *shard, stoa_ref port)
{
    struct stoa_effects *e = shard->effects;
    for (uint32_t i = 1; i <= STOA_OUTBOX_MAX; i++) {
        if (!e->at[i].to.at || !stoa_ref_equal(e->at[i].to, port)) { continue; }
        e->at[i].to = STOA_REF_NONE;
        e->out--;
    }
}

/* --- who serves */

typedef struct change {
    stoa_ref abandoned; /* NONE: somebody new serves */
} change;

static void change_on_core(stoa_core *core, void *context)
{
    const change *c = context;
    for (uint32_t i = 0; i < core->shard_count; i++) {
        if (c->abandoned.at) { stoa_effects_abandoned(core->shards[i], c->abandoned); }
        stoa_core_enqueue(core, &core->shards[i]->run);
    }
}

static void tell_cores(stoa_node *node, change c)
{
    for (uint32_t i = 0; i < node->core_count; i++) { stoa_core_do(node->cores[i], change_on_core, &c); }
}

stoa_err stoa_port_serve(stoa_port *port, const stoa_table *table)
{
    stoa_node *node = port->place.node;
    stoa_server *free = NULL;
    stoa_err err = STOA_OK;
    (void)pthread_mutex_lock(&node->lock);
    for (uint32_t i = 0; i < STOA_SERVERS_MAX; i++) {
        const stoa_table *taken = atomic_load(&node->servers[i].table);
        if (taken && strcmp(taken->name, table->name) == 0) { err = STOA_FAIL(STOA_E_EXISTS, "%s is served", table->name); }
        if (!taken && !free) { free = &node->servers[i]; }
    }
    if (!err && !free) { err = STOA_FAIL(STOA_E_FULL, "%d tables are served", STOA_SERVERS_MAX); }
    if (!err) {
        free->port = stoa_port_ref(port);
        atomic_store_explicit(&free->table, table, memory_order_release); /* its port is there */
    }
    (void)pthread_mutex_unlock(&node->lock);
    if (!err) { tell_cores(node, (change){0}); }
    return err;
}

void stoa_port_stop_serving(stoa_port *port)
{
    stoa_node *node = port->place.node;
    bool served = false;
    (void)pthread_mutex_lock(&node->lock);
    for (uint32_t i = 0; i < STOA_SERVERS_MAX; i++) {
        if (!atomic_load(&node->servers[i].table) || !stoa_ref_equal(node->servers[i].port, stoa_port_ref(port))) { continue; }
        atomic_store(&node->servers[i].table, NULL);
        served = true;
    }
    (void)pthread_mutex_unlock(&node->lock);
    if (served) { tell_cores(node, (change){stoa_port_ref(port)}); }
}
