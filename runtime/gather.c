/* gather.c - asks that end together: their answers come one by one, and one message after the last of them.
 *
 * A gather is an entry in a table of the core and the block of the final message, which exists from the beginning. It counts
 * answers when their turn is over, so that the actor hears of the end after everything it is the end of.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include <string.h>
#include <sys/mman.h>

#include "runtime/internal.h"

enum { RESERVED_BYTES = STOA_GATHERS_MAX * sizeof(stoa_gathering) };

stoa_err stoa_gathers_init(stoa_gathers *gathers)
{
    void *at = mmap(NULL, RESERVED_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (at == MAP_FAILED) { return STOA_FAIL(STOA_E_NOMEM, "gathers"); }
    *gathers = (stoa_gathers){.at = at, .used = 1};
    return STOA_OK;
}

void stoa_gathers_deinit(stoa_gathers *gathers)
{
    if (gathers->at) { (void)munmap(gathers->at, RESERVED_BYTES); }
    memset(gathers, 0, sizeof *gathers);
}

static stoa_gathering *find(stoa_core *core, uint64_t id)
{
    uint32_t index = (uint32_t)id;
    if (index == 0 || index >= core->gathers.used) { return NULL; }
    stoa_gathering *g = &core->gathers.at[index];
    return g->alive && g->generation == (uint32_t)(id >> 32) ? g : NULL;
}

static stoa_system_gathered *counts(stoa_gathering *g)
{
    return stoa_msg_body(g->block);
}

static stoa_err gather_new(stoa_turning *t, stoa_actor_more *more, uint64_t token, uint64_t *id_out)
{
    stoa_gathers *gathers = &t->core->gathers;
    if (!gathers->free && gathers->used == STOA_GATHERS_MAX) { return STOA_E_FULL; }
    stoa_msg *block = stoa_slab_new(&t->core->place.slab, sizeof(stoa_system_gathered), 0);
    if (!block) { return STOA_E_FULL; }
    uint32_t index = gathers->free ? gathers->free : gathers->used++;
    stoa_gathering *g = &gathers->at[index];
    if (gathers->free) { gathers->free = g->next; }
    *g = (stoa_gathering){.block = block, .asker = t->turn.self, .next = more->gathers, .alive = true,
                          .left = 1, /* ours, until the turn takes effect */
                          .generation = g->generation + 1};
    if (g->next) { gathers->at[g->next].prev = index; }
    more->gathers = index;
    *counts(g) = (stoa_system_gathered){.token = token};
    *id_out = (uint64_t)g->generation << 32 | index;
    return STOA_OK;
}

/* The entry goes; its block is the caller's. */
static stoa_msg *gather_free(stoa_core *core, uint32_t index, stoa_actor *actor)
{
    stoa_gathers *gathers = &core->gathers;
    stoa_gathering *g = &gathers->at[index];
    if (g->next) { gathers->at[g->next].prev = g->prev; }
    if (g->prev) {
        gathers->at[g->prev].next = g->next;
    } else {
        actor->more->gathers = g->next;
    }
    g->alive = false;
    g->next = gathers->free;
    gathers->free = index;
    return g->block;
}

/* One less to wait for; the last one sends the message. */
static void settle(stoa_core *core, uint64_t id)
{
    stoa_gathering *g = find(core, id);
    if (!g || --g->left) { return; }
    stoa_actor *actor = stoa_core_actor(core, g->asker);
    STOA_ASSERT(actor && actor->more); /* an end takes its gathers along */
    stoa_msg *msg = gather_free(core, (uint32_t)id, actor);
    msg->to = msg->from = actor->self;
    msg->row = &stoa_system_rows[stoa_system_ROW_gathered];
    msg->flags |= STOA_MSG_FIRED;
    stoa_core_take(core, msg);
}

void stoa_gather_count(stoa_core *core, uint64_t id, stoa_err error)
{
    stoa_gathering *g = find(core, id);
    if (!g) { return; }
    stoa_system_gathered *so_far = counts(g);
    so_far->answered += error == STOA_OK;
    so_far->timed_out += error == STOA_E_TIMEOUT;
    so_far->refused += error != STOA_OK && error != STOA_E_TIMEOUT;
    settle(core, id);
}

void stoa_gathers_release(stoa_core *core, stoa_actor *actor)
{
    while (actor->more->gathers) {
        stoa_place_free(&core->place, gather_free(core, actor->more->gathers, actor));
    }
}

void stoa_gathers_cancel(stoa_core *core, stoa_actor *actor, uint64_t token)
{
    uint32_t at = actor->more->gathers;
    while (at) {
        uint32_t next = core->gathers.at[at].next;
        if (counts(&core->gathers.at[at])->token == token) {
            stoa_place_free(&core->place, gather_free(core, at, actor));
        }
        at = next;
    }
}

/* --- the turn's */

typedef struct beginning {
    stoa_act act;
    uint64_t id;
} beginning;

static void begun(stoa_core *core, stoa_msg *msg)
{
    const beginning *what = stoa_msg_body(msg);
    settle(core, what->id);
    stoa_place_free(&core->place, msg);
}

static void never_begun(stoa_core *core, stoa_msg *msg)
{
    const beginning *what = stoa_msg_body(msg);
    stoa_gathering *g = find(core, what->id);
    stoa_actor *actor = g ? stoa_core_actor(core, g->asker) : NULL;
    if (actor) { stoa_place_free(&core->place, gather_free(core, (uint32_t)what->id, actor)); }
    stoa_place_free(&core->place, msg);
}

stoa_err stoa_turn_gather(stoa_turn *turn, uint64_t deadline_ns, uint64_t token, stoa_gather *out)
{
    stoa_turning *t = (stoa_turning *)turn;
    uint64_t id;
    if (!stoa_kind_hears(t->actor->kind, &stoa_system_rows[stoa_system_ROW_gathered])) { return STOA_E_NO_HANDLER; }
    stoa_actor_more *more = stoa_more(t->core, t->actor);
    stoa_msg *msg = more ? stoa_act_new(t, sizeof(beginning), begun, never_begun) : NULL;
    if (!msg) { return STOA_E_FULL; }
    stoa_err err = gather_new(t, more, token, &id);
    if (err) {
        stoa_place_free(&t->core->place, msg);
        return err;
    }
    ((beginning *)stoa_msg_body(msg))->id = id;
    stoa_turning_stage(t, msg);
    *out = (stoa_gather){.at = id, .deadline_ns = deadline_ns, .token = token};
    return STOA_OK;
}

stoa_err stoa_turn_gather_ask(stoa_turn *turn, const stoa_gather *gather, stoa_ref to, const stoa_row *row,
                              const void *payload)
{
    stoa_turning *t = (stoa_turning *)turn;
    stoa_gathering *g = find(t->core, gather->at);
    if (!g) { return STOA_E_INVALID; }
    stoa_err err = stoa_turn_ask(turn, to, row, payload, gather->deadline_ns, gather->token);
    counts(g)->asked++;
    if (err) {
        counts(g)->refused++;
        return err;
    }
    g->left++;
    t->core->asks.at[t->actor->more->asks].gather = gather->at; /* the newest of the actor's list */
    return STOA_OK;
}
