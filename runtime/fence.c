/* fence.c - what was sent has arrived: along the slots that pass on, and from the rings of a core. See move.h.
 *
 * Cores are looked at by errands, between two batches; each look is short, and how often is bounded. Where it takes longer the
 * move is refused, and what was sent arrives later in its order.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include <time.h>

#include "runtime/internal.h"
#include "runtime/move.h"
#include "runtime/sim.h"

bool stoa_move_go_on(stoa_node *node)
{
    static const struct timespec wait = {0, 20000};
    if (node->options.sim) { return stoa_sim_step_for_call(node->options.sim); }
    (void)nanosleep(&wait, NULL);
    return true;
}

void stoa_move_meanwhile(stoa_node *node)
{
    struct stoa_sim *sim = node->options.sim;
    for (uint64_t steps = sim ? stoa_sim_random(sim) % 8 : 0; steps; steps--) { (void)stoa_sim_step(sim); }
}

/* --- to an actor */

typedef struct step {
    stoa_ref at, next; /* a slot that is away, and where it passes on to */
    uint64_t sent;     /* what must be taken from the ring between them */
    bool published, arrived;
} step;

static void note_passed(stoa_core *core, void *context)
{
    step *s = context;
    uint32_t to = stoa_ref_place(s->next);
    stoa_place_flush(&core->place);
    const stoa_ring *ring = atomic_load_explicit(&core->place.out[to], memory_order_relaxed);
    s->published = !core->place.spill[to].head && !ring->ahead_count;
    s->sent = ring->write;
}

static void note_taken(stoa_core *core, void *context)
{
    step *s = context;
    const stoa_ring *ring = atomic_load_explicit(&core->place.in[stoa_ref_place(s->at)], memory_order_relaxed);
    s->arrived = ring->read >= s->sent;
    if (!s->arrived) { return; }
    const stoa_actor *slot = stoa_away(core, s->next);
    s->at = s->next;
    s->next = slot ? slot->more->away : STOA_REF_NONE;
}

/* Until all that went from slot s->at to its next one before now has arrived there; then that one is s->at. */
static bool await_step(stoa_node *node, step *s)
{
    stoa_core *here = node->cores[stoa_ref_place(s->at)], *there = node->cores[stoa_ref_place(s->next)];
    s->published = s->arrived = false;
    for (uint32_t looks = 0; looks < STOA_MOVE_LOOKS; looks++) {
        if (!s->published) { stoa_core_do(here, note_passed, s); }
        if (s->published) { stoa_core_do(there, note_taken, s); }
        if (s->arrived) { return true; }
        if (!stoa_move_go_on(node)) { return false; }
    }
    return false;
}

stoa_err stoa_way_await(stoa_node *node, stoa_ref slot, stoa_ref next, stoa_ref actor)
{
    step s = {.at = slot, .next = next};
    while (!stoa_ref_equal(s.at, actor)) {
        if (!s.next.at) { return STOA_E_CLOSED; }
        if (!await_step(node, &s)) { return STOA_E_AGAIN; }
    }
    return STOA_OK;
}

/* --- by the actors of a core */

static stoa_ring *ring_to(const stoa_core *core, uint32_t place)
{
    return atomic_load_explicit(&core->place.out[place], memory_order_acquire);
}

/* How far it must be read until the last message in it is: blocks on their way home may wait for long. Its producer. */
static uint64_t messages_until(stoa_ring *ring)
{
    uint64_t read = atomic_load_explicit(&ring->tail, memory_order_acquire), until = ring->write;
    while (until > read && ring->slots[(until - 1) % STOA_RING_SLOTS].cls == STOA_SLOT_HOME) { until--; }
    return until > read ? until : 0;
}

/* Nobody reads there; or who calls from outside does: it hears answers only, of one call each, and looks only while it waits. */
static bool keeps_no_order(stoa_node *node, uint32_t place)
{
    return stoa_place_closed(node, place) || (node->front && place == node->front->place.index);
}

void stoa_sent_note(stoa_core *core, stoa_sent *sent)
{
    stoa_node *node = core->place.node;
    stoa_place_flush(&core->place);
    sent->published = true;
    for (uint32_t to = 0; to < STOA_PLACES_MAX; to++) {
        stoa_ring *ring = to < stoa_node_places(node) && !keeps_no_order(node, to) ? ring_to(core, to) : NULL;
        sent->until[to] = ring ? messages_until(ring) : 0;
        if (ring && (core->place.spill[to].head || ring->ahead_count)) { sent->published = false; }
    }
}

bool stoa_sent_is_taken(const stoa_core *core, const stoa_sent *sent)
{
    for (uint32_t to = 0; to < STOA_PLACES_MAX; to++) {
        if (!sent->until[to] || stoa_place_closed(core->place.node, to)) { continue; }
        /* acquire: with the release behind the taking */
        if (atomic_load_explicit(&ring_to(core, to)->tail, memory_order_acquire) < sent->until[to]) { return false; }
    }
    return sent->published;
}
