/* fan.c - fan-out of published messages: one block per core that hears the topic, one small lent message per subscriber.
 *
 * The payload is published once. For each other place with subscribers one copy goes through the ring; there, and here, every
 * subscriber gets a message that refers to it. Held and lent messages never leave their place: their count needs no atomics.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "runtime/internal.h"

static stoa_msg *copy_published(stoa_core *core, stoa_msg *msg, uint32_t place)
{
    stoa_msg *copy = stoa_slab_new(&core->place.slab, msg->size_bytes, msg->flags);
    if (!copy) { return NULL; }
    copy->to = stoa_ref_make(0, place, 0);
    copy->from = msg->from;
    copy->row = msg->row;
    memcpy(stoa_msg_context(copy), stoa_msg_context(msg), sizeof(stoa_context) + msg->size_bytes);
    return copy;
}

static void lend(stoa_core *core, stoa_msg *held, stoa_ref to)
{
    stoa_msg *lent = stoa_slab_new(&core->place.slab, sizeof(stoa_lent), STOA_MSG_LENT);
    if (!lent) {
        stoa_core_dead_letter(core, held, STOA_E_NOMEM);
        return;
    }
    lent->to = to;
    lent->from = held->from;
    lent->row = held->row;
    ((stoa_lent *)stoa_msg_body(lent))->held = held;
    stoa_msg_context(held)->ask++;
    stoa_core_take(core, lent);
}

void stoa_core_fan_out(stoa_core *core, stoa_msg *msg)
{
    stoa_topic *topic = stoa_msg_context(msg)->topic;
    uint64_t places = atomic_load_explicit(&topic->places, memory_order_acquire);
    if (msg->home == core->place.index) { /* published here: one copy for each other place */
        for (uint64_t rest = places & ~(UINT64_C(1) << core->place.index); rest; rest &= rest - 1) {
            uint32_t place = (uint32_t)__builtin_ctzll(rest);
            stoa_msg *copy = stoa_place_room(&core->place, place) ? copy_published(core, msg, place) : NULL;
            if (copy) {
                core->cross++;
                stoa_place_push(&core->place, place, copy);
            } else {
                stoa_core_dead_letter(core, msg, STOA_E_FULL);
            }
        }
    }
    msg->flags &= (uint8_t)~STOA_MSG_TOPIC;
    stoa_msg_context(msg)->ask = 1; /* ours, while we lend */
    stoa_subscribers *here = atomic_load_explicit(&topic->at[core->place.index], memory_order_acquire);
    for (uint32_t i = 0; here && i < here->count; i++) { lend(core, msg, here->at[i]); }
    if (--stoa_msg_context(msg)->ask == 0) { stoa_place_free(&core->place, msg); }
}
