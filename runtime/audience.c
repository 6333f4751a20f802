/* audience.c - lists of those who hear, with holes. See topic.h.
 *
 * Cores read a list while it changes: an entry becomes a reference or zero in one store, and entries are never moved; what
 * must be moved goes into a new list, and the old one is retired.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "runtime/topic.h"

enum { CAP_MIN = 4, CAP_COMPACT = 16 };

/* A list of cap with those of old (NULL is allowed) in their order. NULL: no memory. */
static stoa_subscribers *list_new(stoa_reclaim *reclaim, const stoa_subscribers *old, uint32_t cap)
{
    stoa_subscribers *list = stoa_reclaim_new(reclaim, sizeof *list + cap * (sizeof(uint64_t) + sizeof(stoa_seat)));
    if (!list) { return NULL; }
    list->cap = cap;
    list->seats = (void *)((unsigned char *)(list + 1) + cap * sizeof(uint64_t));
    uint32_t used = 0;
    for (uint32_t i = 0; old && i < atomic_load_explicit(&old->used, memory_order_relaxed); i++) {
        stoa_seat *seat = &old->seats[i];
        if (!seat->whose) { continue; }
        seat->whose->seat = used;
        list->seats[used].whose = seat->whose;
        atomic_store_explicit(&list->seats[used].id, atomic_load_explicit(&seat->id, memory_order_relaxed),
                              memory_order_relaxed);
        atomic_store_explicit(&list->at[used], seat->whose->who.at, memory_order_relaxed);
        used++;
    }
    list->count = used;
    atomic_store_explicit(&list->used, used, memory_order_relaxed);
    return list;
}

/* Put list in the place of the old one. release: it is complete. */
static void put(stoa_reclaim *reclaim, stoa_audience *audience, uint32_t place, stoa_subscribers *list)
{
    stoa_subscribers *old = atomic_exchange_explicit(&audience->at[place], list, memory_order_acq_rel);
    stoa_reclaim_retire(reclaim, old);
}

static stoa_err list_with_room(stoa_reclaim *reclaim, stoa_audience *audience, uint32_t place, stoa_subscribers **out)
{
    stoa_subscribers *list = atomic_load_explicit(&audience->at[place], memory_order_relaxed);
    if (list && (list->hole || atomic_load_explicit(&list->used, memory_order_relaxed) < list->cap)) {
        *out = list;
        return STOA_OK;
    }
    if (!stoa_reclaim_room(reclaim)) { return STOA_FAIL(STOA_E_FULL, "replaced lists of subscribers wait for a core"); }
    stoa_subscribers *grown = list_new(reclaim, list, list ? list->count * 2 : CAP_MIN);
    if (!grown) { return STOA_FAIL(STOA_E_NOMEM, "subscribers"); }
    put(reclaim, audience, place, grown);
    *out = grown;
    return STOA_OK;
}

stoa_err stoa_audience_seat(stoa_reclaim *reclaim, stoa_audience *audience, stoa_subscription *who, uint64_t id)
{
    uint32_t place = stoa_ref_place(who->who);
    stoa_subscribers *list = NULL;
    stoa_err err = list_with_room(reclaim, audience, place, &list);
    if (!list) { return err; }
    uint32_t used = atomic_load_explicit(&list->used, memory_order_relaxed);
    uint32_t seat = list->hole ? list->hole - 1 : used;
    if (list->hole) { list->hole = list->seats[seat].next_hole; }
    list->seats[seat].whose = who;
    atomic_store_explicit(&list->seats[seat].id, id, memory_order_relaxed);
    /* release: whoever sees the reference sees its id; whoever sees used sees the reference */
    atomic_store_explicit(&list->at[seat], who->who.at, memory_order_release);
    if (seat == used) { atomic_store_explicit(&list->used, used + 1, memory_order_release); }
    atomic_fetch_or_explicit(&audience->places, UINT64_C(1) << place, memory_order_release);
    list->count++;
    audience->count++;
    who->audience = audience;
    who->seat = seat;
    return STOA_OK;
}

void stoa_audience_unseat(stoa_reclaim *reclaim, stoa_subscription *who)
{
    stoa_audience *audience = who->audience;
    uint32_t place = stoa_ref_place(who->who);
    stoa_subscribers *list = atomic_load_explicit(&audience->at[place], memory_order_relaxed);
    STOA_ASSERT(list && list->seats[who->seat].whose == who);
    atomic_store_explicit(&list->at[who->seat], 0, memory_order_relaxed);
    list->seats[who->seat].whose = NULL;
    list->seats[who->seat].next_hole = list->hole;
    list->hole = who->seat + 1;
    list->count--;
    audience->count--;
    if (list->count == 0) {
        atomic_fetch_and_explicit(&audience->places, ~(UINT64_C(1) << place), memory_order_relaxed);
        put(reclaim, audience, place, NULL);
    } else if (list->cap >= CAP_COMPACT && list->count <= list->cap / 4 && stoa_reclaim_room(reclaim)) {
        stoa_subscribers *compact = list_new(reclaim, list, list->count * 2);
        if (compact) { put(reclaim, audience, place, compact); } /* no memory: the holes are filled later */
    }
}

void stoa_audience_free(stoa_reclaim *reclaim, stoa_audience *audience)
{
    for (uint32_t place = 0; place < STOA_PLACES_MAX; place++) {
        stoa_reclaim_free(reclaim, atomic_load_explicit(&audience->at[place], memory_order_relaxed));
    }
    stoa_reclaim_free(reclaim, audience);
}
