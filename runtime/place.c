/* place.c - rings, spills, homeward chains and doorbells. See place.h.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "runtime/place.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>

#include "runtime/internal.h"

enum { HOMEWARD_MAX = 64 };

stoa_err stoa_place_init(stoa_place *place, stoa_node *node, uint32_t index, uint64_t memory_bytes)
{
    memset(place, 0, sizeof *place);
    place->node = node;
    place->index = index;
    place->serves = 1;
    place->bell = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    if (place->bell < 0) { return STOA_FAIL(STOA_E_IO, "eventfd: %s", strerror(errno)); }
    stoa_err err = stoa_slab_init(&place->slab, (uint8_t)index, memory_bytes);
    if (err) {
        (void)close(place->bell);
        place->bell = -1;
    }
    return err;
}

void stoa_place_deinit(stoa_place *place)
{
    for (uint32_t i = 0; i < STOA_PLACES_MAX; i++) {
        stoa_ring *ring = atomic_load(&place->out[i]);
        if (ring) { (void)munmap(ring, sizeof *ring); }
    }
    if (place->bell >= 0) { (void)close(place->bell); }
    stoa_slab_deinit(&place->slab);
}

static stoa_err ring_new(stoa_ring **out)
{
    stoa_ring *ring = mmap(NULL, sizeof *ring, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (ring == MAP_FAILED) { return STOA_FAIL(STOA_E_NOMEM, "ring: %s", strerror(errno)); }
    *out = ring;
    return STOA_OK;
}

static void join(stoa_place *from, stoa_place *to, stoa_ring *ring)
{
    atomic_store_explicit(&from->out[to->index], ring, memory_order_release);
    atomic_store_explicit(&to->in[from->index], ring, memory_order_relaxed);
    atomic_fetch_or_explicit(&to->inbound, UINT64_C(1) << from->index, memory_order_release); /* after the ring itself */
}

stoa_err stoa_place_connect(stoa_place *place, stoa_place *const *others, uint32_t count)
{
    stoa_ring *rings[2 * STOA_PLACES_MAX];
    stoa_err err = STOA_OK;
    uint32_t made = 0;
    while (made < 2 * count && !err) {
        err = ring_new(&rings[made]);
        if (!err) { made++; }
    }
    while (err && made) { (void)munmap(rings[--made], sizeof *rings[0]); }
    for (uint32_t i = 0; i < made / 2; i++) {
        join(place, others[i], rings[2 * i]);
        join(others[i], place, rings[2 * i + 1]);
    }
    return err;
}

/* The slot behind the last one published; NULL when the ring is full. */
static stoa_slot *free_slot(stoa_ring *ring)
{
    if (ring->write - ring->tail_seen >= STOA_RING_SLOTS) {
        /* acquire: the consumer's reads of the slot came before it moved tail */
        ring->tail_seen = atomic_load_explicit(&ring->tail, memory_order_acquire);
        if (ring->write - ring->tail_seen >= STOA_RING_SLOTS) { return NULL; }
    }
    return &ring->slots[ring->write % STOA_RING_SLOTS];
}

uint32_t stoa_ring_publish(stoa_ring *ring, uint32_t count)
{
    uint32_t done = 0;
    for (stoa_slot *slot; done < count && (slot = free_slot(ring)); done++) {
        const stoa_slot *from = &ring->ahead[done];
        slot->to = from->to;
        slot->from = from->from;
        slot->row = from->row;
        slot->size_bytes = from->size_bytes;
        slot->cls = from->cls;
        slot->as = from->as;
        atomic_store_explicit(&slot->stamp, stoa_ring_stamp(ring->write), memory_order_release);
        ring->write++;
    }
    ring->ahead_count -= done;
    ring->mark -= done < ring->mark ? done : ring->mark;
    for (uint32_t i = 0; done && i < ring->ahead_count; i++) {
        ring->ahead[i].to = ring->ahead[i + done].to;
        ring->ahead[i].from = ring->ahead[i + done].from;
        ring->ahead[i].row = ring->ahead[i + done].row;
        ring->ahead[i].size_bytes = ring->ahead[i + done].size_bytes;
        ring->ahead[i].cls = ring->ahead[i + done].cls;
        ring->ahead[i].as = ring->ahead[i + done].as;
    }
    return done;
}

/* What a place has of our memory, until it comes home. Acts may stay away for long, and are bounded by who makes them. */
static uint64_t abroad_bytes(const stoa_msg *msg)
{
    return stoa_block_bytes(msg->size_class) + ((msg->flags & STOA_MSG_LENT) ? msg->row->payload.size_bytes : 0);
}

static void go_abroad(stoa_place *place, uint32_t to, stoa_msg *msg)
{
    if (msg->home != place->index || (msg->flags & (STOA_MSG_ACT | STOA_MSG_ABROAD))) { return; }
    msg->flags |= STOA_MSG_ABROAD;
    place->abroad[to] += abroad_bytes(msg);
}

static void come_home(stoa_place *place, uint32_t from, stoa_msg *msg)
{
    if (!(msg->flags & STOA_MSG_ABROAD)) { return; }
    msg->flags &= (uint16_t)~STOA_MSG_ABROAD;
    place->abroad[from] -= abroad_bytes(msg);
}

/* Put one message to what gathers. A small plain one is copied and its block is free again. Not while a turn runs. */
static bool ring_put(stoa_place *place, uint32_t to, stoa_msg *msg)
{
    stoa_ring *ring = atomic_load_explicit(&place->out[to], memory_order_relaxed);
    stoa_slot *slot = stoa_ring_ahead(ring, ring->ahead_count);
    if (!slot) { return false; }
    bool small = (msg->flags & ~STOA_MSG_ABROAD) == 0 && msg->size_bytes <= STOA_INLINE_BYTES;
    slot->to = msg->to;
    slot->from = msg->from;
    slot->row = msg->row;
    slot->size_bytes = small ? (uint16_t)msg->size_bytes : 0;
    slot->cls = small ? STOA_SLOT_INLINE : STOA_SLOT_MSG;
    if (small) {
        stoa_copy_payload(slot->as.bytes, stoa_msg_body(msg), msg->size_bytes);
        come_home(place, to, msg);
        stoa_place_free(place, msg);
    } else {
        go_abroad(place, to, msg);
        slot->as.msg = msg;
    }
    ring->ahead_count++;
    place->dirty |= UINT64_C(1) << to;
    return true;
}

void stoa_place_push(stoa_place *place, uint32_t to, stoa_msg *msg)
{
    if (!place->spill[to].head && ring_put(place, to, msg)) { return; }
    msg->next = NULL;
    go_abroad(place, to, msg);
    if (place->spill[to].head) {
        place->spill[to].tail->next = msg;
    } else {
        place->spill[to].head = msg;
    }
    place->spill[to].tail = msg;
    place->spill[to].count++;
    place->dirty |= UINT64_C(1) << to;
}

static void unspill(stoa_place *place, uint32_t to)
{
    while (place->spill[to].head) {
        stoa_msg *msg = place->spill[to].head;
        stoa_msg *next = msg->next;
        if (!ring_put(place, to, msg)) { return; }
        place->spill[to].head = next;
        place->spill[to].count--;
    }
}

void stoa_place_free_slowly(stoa_place *place, stoa_msg *msg)
{
    if (msg->flags & STOA_MSG_LENT) { stoa_fan_let_go(place, msg); }
    if (msg->home == place->index) {
        stoa_slab_free(&place->slab, msg);
        return;
    }
    msg->next = place->homeward[msg->home];
    place->homeward[msg->home] = msg;
    place->homeward_count++;
}

static void send_homeward(stoa_place *place)
{
    bool left = false;
    for (uint32_t to = 0; to < STOA_PLACES_MAX; to++) {
        if (!place->homeward[to] || stoa_place_closed(place->node, to)) { continue; } /* until there is another port */
        stoa_ring *ring = atomic_load_explicit(&place->out[to], memory_order_relaxed);
        /* past what spilled: they are not messages */
        stoa_slot *slot = ring ? stoa_ring_ahead(ring, ring->ahead_count) : NULL;
        if (!slot) {
            left = true;
            continue;
        }
        slot->cls = STOA_SLOT_HOME;
        slot->as.msg = place->homeward[to];
        ring->ahead_count++;
        place->dirty |= UINT64_C(1) << to;
        place->homeward[to] = NULL;
    }
    place->homeward_count = left ? HOMEWARD_MAX : 0; /* what found no room is tried again at the next flush */
}

void stoa_place_ring_bell(stoa_place *place)
{
    if (place->never_sleeps) { return; }
    /* pairs with the seq_cst store of sleeping before the last look: we see it, or the sleeper sees what we published */
    atomic_thread_fence(memory_order_seq_cst);
    if (!atomic_load_explicit(&place->sleeping, memory_order_relaxed)) { return; }
    if (!atomic_exchange(&place->sleeping, 0)) { return; }
    uint64_t one = 1;
    ssize_t written = write(place->bell, &one, sizeof one);
    (void)written; /* full means it rings already */
}

/* --- what waits for a port that closed, or was left by one, or finds no memory: counted by who drops it */

static void dead_letter(stoa_place *core, stoa_msg *msg, stoa_err why)
{
    if (core->index < core->node->core_count) {
        stoa_core_dead_letter((stoa_core *)core, msg, why);
    } else {
        stoa_port_lost(core->node, stoa_drop_of(why));
    }
}

static void drop_message(stoa_place *core, stoa_place *from, uint32_t to, stoa_msg *msg, stoa_err why)
{
    if (msg->home == from->index) { come_home(from, to, msg); }
    dead_letter(core, msg, why);
    stoa_place_free(from, msg);
}

static void drop_copy(stoa_place *core, const stoa_slot *slot, stoa_err why)
{
    struct {
        stoa_msg msg;
        unsigned char body[STOA_INLINE_BYTES];
    } letter = {.msg = {.to = slot->to, .from = slot->from, .row = slot->row, .size_bytes = slot->size_bytes}};
    memcpy(letter.body, slot->as.bytes, slot->size_bytes);
    dead_letter(core, &letter.msg, why);
}

static void take_home(stoa_place *place, uint32_t from, stoa_msg *chain);

/* Blocks on their way home: ours are there, those of the port wait for the next one in its place. */
static void keep_homes(stoa_place *core, stoa_place *from, stoa_msg *chain)
{
    if (!chain) { return; }
    uint32_t home = chain->home;
    if (home == core->index) {
        take_home(core, from->index, chain);
        return;
    }
    stoa_msg *last = chain;
    while (last->next) { last = last->next; }
    last->next = core->homeward[home];
    core->homeward[home] = chain;
}

static void drop_slot(stoa_place *core, stoa_place *from, uint32_t to, const stoa_slot *slot, stoa_err why)
{
    if (slot->cls == STOA_SLOT_HOME) { keep_homes(core, from, slot->as.msg); }
    if (slot->cls == STOA_SLOT_MSG) { drop_message(core, from, to, slot->as.msg, why); }
    if (slot->cls == STOA_SLOT_INLINE) { drop_copy(core, slot, why); }
}

/* What gathered or spilled on its way from one place to another. */
static void drop_unsent(stoa_place *core, stoa_place *from, uint32_t to, stoa_err why)
{
    stoa_ring *ring = atomic_load_explicit(&from->out[to], memory_order_relaxed);
    for (uint32_t i = 0; i < ring->ahead_count; i++) { drop_slot(core, from, to, &ring->ahead[i], why); }
    ring->ahead_count = 0;
    while (from->spill[to].head) {
        stoa_msg *msg = from->spill[to].head;
        from->spill[to].head = msg->next;
        from->spill[to].count--;
        drop_message(core, from, to, msg, why);
    }
    from->dirty &= ~(UINT64_C(1) << to);
}

static void drop_all(stoa_place *place, uint32_t closed)
{
    place->gone |= UINT64_C(1) << closed;
    drop_unsent(place, place, closed, STOA_E_CLOSED);
}

/* What a port was sent and never read: its side of the ring is ours now. */
static void drop_unread(stoa_place *place, uint32_t closed)
{
    stoa_ring *ring = atomic_load_explicit(&place->out[closed], memory_order_relaxed);
    for (stoa_slot *slot; (slot = stoa_ring_next(ring, ring->read)); ring->read++) {
        drop_slot(place, place, closed, slot, STOA_E_CLOSED);
    }
    atomic_store_explicit(&ring->tail, ring->read, memory_order_release);
}

bool stoa_place_has_slot(stoa_place *place, uint32_t to)
{
    stoa_ring *ring = atomic_load_explicit(&place->out[to], memory_order_relaxed);
    return !place->spill[to].head && ring->ahead_count < STOA_AHEAD_MAX && free_slot(ring);
}

/* Publish what gathered and what spilled, as far as there is room; whether anything is left. */
static bool publish_all(stoa_place *place, uint32_t to)
{
    stoa_ring *ring = atomic_load_explicit(&place->out[to], memory_order_relaxed);
    (void)stoa_ring_publish(ring, ring->ahead_count);
    if (place->spill[to].head) {
        unspill(place, to);
        (void)stoa_ring_publish(ring, ring->ahead_count);
    }
    return place->spill[to].head || ring->ahead_count;
}

void stoa_place_flush(stoa_place *place)
{
    if (place->homeward_count >= HOMEWARD_MAX || (place->homeward_count && !place->dirty)) { send_homeward(place); }
    uint64_t still = 0;
    for (uint64_t dirty = place->dirty; dirty; dirty &= dirty - 1) {
        uint32_t to = (uint32_t)__builtin_ctzll(dirty);
        if (stoa_place_closed(place->node, to)) {
            drop_all(place, to);
            continue;
        }
        if (publish_all(place, to)) { still |= UINT64_C(1) << to; }
        stoa_place_ring_bell(stoa_node_place(place->node, to));
    }
    place->dirty = still;
}

static void take_home(stoa_place *place, uint32_t from, stoa_msg *chain)
{
    while (chain) {
        stoa_msg *next = chain->next;
        come_home(place, from, chain);
        stoa_slab_free(&place->slab, chain);
        chain = next;
    }
}

static stoa_msg *take_slot(stoa_place *place, uint32_t from, stoa_slot *slot)
{
    if (slot->cls == STOA_SLOT_MSG) {
        if (slot->as.msg->home == place->index) { come_home(place, from, slot->as.msg); }
        return slot->as.msg;
    }
    stoa_msg *msg = stoa_slab_new(&place->slab, slot->size_bytes, 0);
    if (!msg) { return NULL; }
    msg->to = slot->to;
    msg->from = slot->from;
    msg->row = slot->row;
    stoa_copy_payload(stoa_msg_body(msg), slot->as.bytes, slot->size_bytes);
    return msg;
}

/* Out of blocks: those on their way home may be further behind in the same ring. Take them now. */
static bool take_homes(stoa_place *place, uint32_t from, stoa_ring *ring)
{
    bool any = false;
    stoa_slot *slot;
    for (uint64_t at = ring->read; at - ring->read < STOA_RING_SLOTS && (slot = stoa_ring_next(ring, at)); at++) {
        if (slot->cls != STOA_SLOT_HOME || !slot->as.msg) { continue; }
        take_home(place, from, slot->as.msg);
        slot->as.msg = NULL;
        any = true;
    }
    return any;
}

/* Quota used up: the message stays in the ring until blocks come back. Where none do, as actors hold them, it becomes a dead letter:
 * else who sends would hear FULL for ever, and the core look at the ring without end. */
static bool let_starve(stoa_place *place, const stoa_slot *slot)
{
    place->starves = true;
    if (place->starved < STOA_STARVED_MAX) { return false; }
    drop_copy(place, slot, STOA_E_NOMEM);
    return true;
}

static uint32_t drain_ring(stoa_place *place, uint32_t from, stoa_ring *ring, void (*take)(stoa_place *place, stoa_msg *msg))
{
    uint32_t taken = 0;
    for (stoa_slot *slot; taken < STOA_DRAIN_MAX && (slot = stoa_ring_next(ring, ring->read)); taken++) {
        if (slot->cls == STOA_SLOT_HOME) {
            take_home(place, from, slot->as.msg); /* NULL: taken ahead of its turn */
        } else {
            stoa_msg *msg = take_slot(place, from, slot);
            if (!msg && take_homes(place, from, ring)) { msg = take_slot(place, from, slot); }
            if (msg) {
                take(place, msg);
            } else if (!let_starve(place, slot)) {
                break;
            }
        }
        ring->read++;
    }
    if (taken) { atomic_store_explicit(&ring->tail, ring->read, memory_order_release); }
    return taken;
}

uint32_t stoa_place_drain(stoa_place *place, void (*take)(stoa_place *place, stoa_msg *msg))
{
    uint32_t taken = 0;
    for (uint64_t left = atomic_load_explicit(&place->inbound, memory_order_acquire); left; left &= left - 1) {
        uint32_t from = (uint32_t)__builtin_ctzll(left);
        stoa_ring *ring = atomic_load_explicit(&place->in[from], memory_order_relaxed);
        taken += drain_ring(place, from, ring, take);
    }
    if (__builtin_expect(place->starves || place->starved, 0)) {
        place->starved = !place->starves ? 0 : place->starved < STOA_STARVED_MAX ? place->starved + 1 : STOA_STARVED_MAX;
        place->starves = false;
    }
    return taken;
}

void stoa_place_part(stoa_place *place, stoa_place *closed, void (*take)(stoa_place *place, stoa_msg *msg))
{
    stoa_ring *ring = atomic_load_explicit(&place->in[closed->index], memory_order_relaxed);
    while (publish_all(closed, place->index) || stoa_ring_next(ring, ring->read)) {
        if (!drain_ring(place, closed->index, ring, take)) { break; } /* no memory for what waits there */
    }
    drop_unsent(place, closed, place->index, STOA_E_NOMEM);
    take_home(place, closed->index, closed->homeward[place->index]);
    closed->homeward[place->index] = NULL;
    drop_unread(place, closed->index);
    drop_all(place, closed->index);
    if (!stoa_ring_next(ring, ring->read)) { atomic_fetch_and(&place->inbound, ~(UINT64_C(1) << closed->index)); }
}

void stoa_place_sleep(stoa_place *place, int other, uint64_t timeout_ns)
{
    struct timespec timeout = {(time_t)(timeout_ns / STOA_S(1)), (long)(timeout_ns % STOA_S(1))};
    struct pollfd descriptors[2] = {{.fd = place->bell, .events = POLLIN}, {.fd = other, .events = POLLIN}};
    if (ppoll(descriptors, 2, &timeout, NULL) > 0 && descriptors[0].revents) {
        uint64_t rings;
        ssize_t got = read(place->bell, &rings, sizeof rings);
        (void)got; /* EAGAIN: somebody read it before */
    }
}
