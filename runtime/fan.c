/* fan.c - fan-out: one payload for all who hear it.
 *
 *     publisher's core                         another core (or a port)
 *     published <---- holders: 2 ------------- pass         one per place, through the ring
 *       ^ lent: 3                                ^ lent: 2
 *       lent, lent, lent                         lent, lent  one per subscriber, in its mailbox
 *
 * The payload stays in the block that it was published in. Every other place with subscribers gets a pass through the ring (one
 * cross-core operation); there, as at home, each subscriber gets a small lent message that refers to the payload. Who counts
 * the lent messages of a place (the published message at home, elsewhere the pass) is touched by that place alone: no
 * atomics. Only the count of places is shared. The last one frees the block, which goes home as any other.
 *
 * A core decides who hears when the message comes by: those who are in its lists then, each once. A place that has no room
 * for the pass goes without, and a subscriber for whom there is no memory: a dead letter each.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "runtime/internal.h"
#include "runtime/mailbox.h"

static uint64_t *count_of(stoa_msg *holder)
{
    return (holder->flags & STOA_MSG_LENT) ? &stoa_msg_lent(holder)->lent : &stoa_msg_context(holder)->lent;
}

static void place_lets_go(stoa_place *place, stoa_msg *published)
{
    /* release: our reads of the payload come before; acquire: so do all others' before it is freed */
    uint64_t before = atomic_fetch_sub_explicit(&stoa_msg_context(published)->holders, 1, memory_order_acq_rel);
    if (before > 1) { return; }
    stoa_topic_landed(stoa_msg_context(published)->topic);
    stoa_place_free(place, published);
}

static void one_less(stoa_place *place, stoa_msg *holder)
{
    if (--*count_of(holder)) { return; }
    if (holder->flags & STOA_MSG_LENT) {
        stoa_place_free(place, holder); /* a pass: lets go of the published message */
    } else {
        place_lets_go(place, holder);
    }
}

void stoa_fan_let_go(stoa_place *place, stoa_msg *lent)
{
    if (lent->flags & STOA_MSG_TOPIC) {
        place_lets_go(place, stoa_msg_lent(lent)->held);
    } else {
        one_less(place, stoa_msg_lent(lent)->holder);
    }
}

static void lost(stoa_core *core, stoa_msg *published, stoa_ref to, stoa_err why)
{
    struct {
        stoa_msg msg;
        stoa_lent lent;
    } letter = {{.to = to, .from = published->from, .row = published->row, .flags = STOA_MSG_LENT}, {.held = published}};
    stoa_core_dead_letter(core, &letter.msg, why);
}

static void pass_on(stoa_core *core, stoa_msg *published, uint32_t place)
{
    stoa_ref to = stoa_ref_make(0, place, 0);
    bool room = stoa_place_room(&core->place, place);
    stoa_msg *pass = room ? stoa_slab_new(&core->place.slab, sizeof(stoa_lent), STOA_MSG_LENT | STOA_MSG_TOPIC) : NULL;
    if (!pass) {
        lost(core, published, to, room ? STOA_E_NOMEM : STOA_E_FULL);
        return;
    }
    pass->to = to;
    pass->from = published->from;
    pass->row = published->row;
    *stoa_msg_lent(pass) = (stoa_lent){.held = published};
    atomic_fetch_add_explicit(&stoa_msg_context(published)->holders, 1, memory_order_relaxed);
    core->cross++;
    if ((published->flags & STOA_MSG_MARKED) && place >= core->place.node->core_count) {
        (void)stoa_trace_without_turn(core, pass, to, STOA_OK);
    }
    stoa_place_push(&core->place, place, pass);
}

static void lend(stoa_core *core, stoa_msg *published, stoa_msg *holder, stoa_ref to)
{
    stoa_msg *lent = stoa_slab_new(&core->place.slab, sizeof(stoa_lent), STOA_MSG_LENT | stoa_row_flags(published->row));
    if (!lent) {
        lost(core, published, to, STOA_E_NOMEM);
        return;
    }
    lent->to = to;
    lent->from = published->from;
    lent->row = published->row;
    *stoa_msg_lent(lent) = (stoa_lent){.held = published, .holder = holder};
    ++*count_of(holder);
    core->lent++;
    stoa_core_take(core, lent);
}

/* Whether an actor that is in several audiences of the topic has heard this one already. */
static bool heard(stoa_core *core, stoa_ref who)
{
    stoa_actor *actor = stoa_core_actor(core, who);
    if (!actor || !actor->more) { return false; }
    if (actor->more->heard == core->fanned) { return true; }
    actor->more->heard = core->fanned;
    return false;
}

/* The subscribers of the topic's i-th audience at place, NULL: none. acquire: pairs with the release that put them there. */
static stoa_subscribers *subscribers_of(stoa_audiences *list, uint32_t i, uint32_t place)
{
    stoa_audience *audience = atomic_load_explicit(&list->at[i], memory_order_acquire);
    return audience ? atomic_load_explicit(&audience->at[place], memory_order_acquire) : NULL;
}

static void lend_to(stoa_core *core, stoa_msg *published, stoa_msg *holder, stoa_subscribers *here, bool several)
{
    uint32_t used = atomic_load_explicit(&here->used, memory_order_acquire);
    for (uint32_t i = 0; i < used; i++) {
        stoa_ref who = {atomic_load_explicit(&here->at[i], memory_order_acquire)};
        if (who.at && !(several && heard(core, who))) { lend(core, published, holder, who); }
    }
}

static void lend_to_all(stoa_core *core, stoa_msg *published, stoa_msg *holder)
{
    stoa_audiences *list = atomic_load_explicit(&stoa_msg_context(published)->topic->audiences, memory_order_acquire);
    uint32_t audiences = list ? atomic_load_explicit(&list->used, memory_order_acquire) : 0, with = 0;
    for (uint32_t i = 0; i < audiences; i++) { with += subscribers_of(list, i, core->place.index) != NULL; }
    for (uint32_t i = 0; i < audiences && with; i++) {
        stoa_subscribers *here = subscribers_of(list, i, core->place.index);
        if (here) { lend_to(core, published, holder, here, with > 1); }
    }
}

/* except: places that do not hear it. */
static void fan_out(stoa_core *core, stoa_msg *msg, uint64_t except)
{
    bool is_pass = msg->flags & STOA_MSG_LENT;
    stoa_msg *published = is_pass ? stoa_msg_lent(msg)->held : msg;
    core->fanned++;
    if (!is_pass) {
        uint64_t others = stoa_topic_places(stoa_msg_context(msg)->topic) & ~(UINT64_C(1) << core->place.index | except);
        atomic_store_explicit(&stoa_msg_context(msg)->holders, 1, memory_order_relaxed);
        for (; others; others &= others - 1) { pass_on(core, msg, (uint32_t)__builtin_ctzll(others)); }
    }
    *count_of(msg) = 1; /* we, while we lend */
    lend_to_all(core, published, msg);
    one_less(&core->place, msg);
}

void stoa_core_fan_out(stoa_core *core, stoa_msg *msg)
{
    fan_out(core, msg, 0);
}

void stoa_core_fan_out_but(stoa_core *core, stoa_msg *msg, uint32_t place)
{
    fan_out(core, msg, UINT64_C(1) << place);
}
