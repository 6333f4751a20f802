/* place.h - what cores and ports have in common: a slab, a ring to and from every other place, a doorbell. Internal.
 *
 * A place is owned by one thread. Between two places messages travel through a single-producer/single-consumer ring of 64-byte
 * slots: payloads of up to 32 bytes without a context inline, everything else as a pointer to its block. A slot carries the
 * stamp of its lap, written last: the consumer looks at the slot itself, so one cache line crosses for a message and not two.
 * What is sent gathers with the producer and is published at the end of its batch, in one piece a slot: a consumer that looks
 * all the time would else take the line away between two words. One doorbell, only where the consumer sleeps.
 *
 * A full ring spills into a list at the producer, bounded; stoa_place_room tells before anything is staged. Nor may one place
 * hold more than an eighth of another's memory: who does not read what it is sent gets no more, and the others do not notice.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef STOA_RUNTIME_PLACE_H
#define STOA_RUNTIME_PLACE_H

#include <stdatomic.h>

#include "runtime/message.h"
#include "runtime/node.h"

enum {
    STOA_PLACES_MAX = STOA_CORES_MAX + STOA_PORTS_MAX,
    STOA_RING_SLOTS = 4096,
    STOA_AHEAD_MAX = 64, /* messages that gather before they are published */
    STOA_INLINE_BYTES = 32,
    STOA_SPILL_MAX = 65536,
    STOA_DRAIN_MAX = 256,
    STOA_ABROAD_PART = 8,
    STOA_STARVED_MAX = 64, /* drains in a row that found no block for what waits first in a ring: then it is dropped */
};

typedef enum stoa_slot_class { STOA_SLOT_INLINE, STOA_SLOT_MSG, STOA_SLOT_HOME } stoa_slot_class;

typedef struct stoa_slot {
    stoa_ref to, from;
    const stoa_row *row;
    uint16_t size_bytes;
    uint16_t cls;           /* stoa_slot_class */
    _Atomic uint32_t stamp; /* of the lap it was written in */
    union {
        unsigned char bytes[STOA_INLINE_BYTES];
        stoa_msg *msg;
    } as;
} stoa_slot;
_Static_assert(sizeof(stoa_slot) == 64, "one cache line");

/* Each side caches the other's progress. */
typedef struct stoa_ring {
    _Alignas(128) uint64_t write; /* producer: slots published */
    uint64_t tail_seen;
    uint32_t ahead_count;         /* of what gathers */
    uint32_t mark;                /* ahead_count at the first message of the turn that runs */
    stoa_slot ahead[STOA_AHEAD_MAX];
    _Alignas(128) _Atomic uint64_t tail; /* consumer: slots taken */
    uint64_t read;
    _Alignas(128) stoa_slot slots[STOA_RING_SLOTS];
} stoa_ring;

typedef struct stoa_place {
    stoa_node *node;
    uint32_t index;
    uint32_t homeward_count;
    uint64_t dirty; /* places whose ring has slots not yet published */
    uint64_t gone;  /* ports that were closed once: who is there now is looked at (stoa_core_deliver) */
    stoa_slab slab;
    _Atomic(stoa_ring *) in[STOA_PLACES_MAX];  /* from place i */
    _Atomic(stoa_ring *) out[STOA_PLACES_MAX]; /* to place i */
    _Atomic uint64_t inbound;                  /* bit per place that has a ring to this one */
    struct {
        stoa_msg *head, *tail;
        uint32_t count;
    } spill[STOA_PLACES_MAX];
    stoa_msg *homeward[STOA_PLACES_MAX]; /* freed blocks of place i */
    uint64_t abroad[STOA_PLACES_MAX];    /* bytes of this slab that place i holds, with the payloads it was lent */
    uint32_t starved;                    /* drains in a row in which a ring's next message found no block */
    bool starves;                        /* this one */
    int bell;                            /* eventfd */
    bool never_sleeps;                   /* needs no bell: it always looks */
    _Atomic uint32_t serves;             /* generation of the references that reach it; 0: a port that has closed */
    _Alignas(128) _Atomic int sleeping;
} stoa_place;

static inline uint32_t stoa_ref_place(stoa_ref ref)
{
    return (uint32_t)(ref.at >> 32) & 0xff;
}
static inline uint32_t stoa_ref_index(stoa_ref ref)
{
    return (uint32_t)ref.at;
}
static inline uint32_t stoa_ref_generation(stoa_ref ref)
{
    return (uint32_t)(ref.at >> 40);
}
static inline stoa_ref stoa_ref_make(uint32_t generation, uint32_t place, uint32_t index)
{
    return (stoa_ref){(uint64_t)generation << 40 | (uint64_t)place << 32 | index};
}
/* Of who comes after it into the same slot. Generations go up to STOA_GENERATION_LAST. */
enum { STOA_GENERATION_LAST = 0xffffff };
static inline stoa_ref stoa_ref_next(stoa_ref ref)
{
    return (stoa_ref){ref.at + (UINT64_C(1) << 40)};
}

stoa_err stoa_place_init(stoa_place *place, stoa_node *node, uint32_t index, uint64_t memory_bytes);
void stoa_place_deinit(stoa_place *place);
/* Make the rings between a place and count others: all of them or, out of memory, none. Under the node's lock. */
stoa_err stoa_place_connect(stoa_place *place, stoa_place *const *others, uint32_t count);
/* The other place, a port's, has closed, and its thread waits for this one: take what it sent and had no room for in the
 * ring, count what it was sent and never read, and look there no more. Its blocks wait here for the next port in that place. */
void stoa_place_part(stoa_place *place, stoa_place *closed, void (*take)(stoa_place *place, stoa_msg *msg));

/* The stamp of slot number `at`: never 0, which is what a fresh ring holds. */
static inline uint32_t stoa_ring_stamp(uint64_t at)
{
    return (uint32_t)(at / STOA_RING_SLOTS) + 1;
}

/* Consumer: the slot to read next, NULL while it is not published. */
static inline stoa_slot *stoa_ring_next(stoa_ring *ring, uint64_t at)
{
    stoa_slot *slot = &ring->slots[at % STOA_RING_SLOTS];
    /* acquire: pairs with the stamp's release in publish; slot and block were written before */
    return atomic_load_explicit(&slot->stamp, memory_order_acquire) == stoa_ring_stamp(at) ? slot : NULL;
}

/* Publish the first count of what gathers, as many as find room. Returns how many. */
uint32_t stoa_ring_publish(stoa_ring *ring, uint32_t count);

/* Producer: where the next message gathers; it counts with ahead_count. The first `committed` may be published to make room.
 * NULL: no room. */
static inline stoa_slot *stoa_ring_ahead(stoa_ring *ring, uint32_t committed)
{
    if (__builtin_expect(ring->ahead_count == STOA_AHEAD_MAX, 0) && !stoa_ring_publish(ring, committed)) { return NULL; }
    return &ring->ahead[ring->ahead_count];
}

/* Whether another message to place may be staged. */
static inline bool stoa_place_room(const stoa_place *place, uint32_t to)
{
    return place->spill[to].count < STOA_SPILL_MAX && place->abroad[to] < place->slab.limit_bytes / STOA_ABROAD_PART &&
           atomic_load_explicit(&place->out[to], memory_order_relaxed);
}

/* Whether the ring itself has room: for who cannot be relied on to flush what spills. */
bool stoa_place_has_slot(stoa_place *place, uint32_t to);
/* Move msg (a block) to another place; ownership goes. Never fails (see room). */
void stoa_place_push(stoa_place *place, uint32_t to, stoa_msg *msg);
void stoa_place_free_slowly(stoa_place *place, stoa_msg *msg);
/* Give a block back to wherever it is at home, and what it holds. */
static inline void stoa_place_free(stoa_place *place, stoa_msg *msg)
{
    if (__builtin_expect(msg->home == place->index && !(msg->flags & STOA_MSG_LENT), 1)) {
        stoa_slab_free(&place->slab, msg);
    } else {
        stoa_place_free_slowly(place, msg);
    }
}
/* A lent message refers to its payload no more; who is the last frees that (fan.c). */
void stoa_fan_let_go(stoa_place *place, stoa_msg *lent);
/* Publish all rings, send freed blocks home, ring bells. */
void stoa_place_flush(stoa_place *place);
/* Take up to STOA_DRAIN_MAX messages of each inbound ring and hand them to take (which owns them). Returns how many. */
uint32_t stoa_place_drain(stoa_place *place, void (*take)(stoa_place *place, stoa_msg *msg));
/* Whether a ring has something for this place (then do not sleep). */
static inline bool stoa_place_pending(stoa_place *place)
{
    for (uint64_t from = atomic_load_explicit(&place->inbound, memory_order_acquire); from; from &= from - 1) {
        stoa_ring *ring = atomic_load_explicit(&place->in[__builtin_ctzll(from)], memory_order_relaxed);
        if (stoa_ring_next(ring, ring->read)) { return true; }
    }
    return false;
}
/* Wake the owner if it sleeps. Any thread. */
void stoa_place_ring_bell(stoa_place *place);
/* Sleep until the bell rings, other (-1: none) is readable, or timeout_ns passed. */
void stoa_place_sleep(stoa_place *place, int other, uint64_t timeout_ns);

#endif
