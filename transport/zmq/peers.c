/* zmq/peers.c - the table of zmq/peers.h.
 *
 * A peer's number is its count since open, shifted left, and its slot: numbers never come again, and a slot is found
 * without a search. Routing ids count upwards, so their low bits spread well over the buckets.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "transport/zmq/peers.h"

#include <stdlib.h>
#include <string.h>

enum { SLOT_BITS = 20, DOORS_FIRST = 64 };
_Static_assert(STOA_LINK_PEERS_MAX + STOA_ZMQ_PEERS_SPARE < 1 << SLOT_BITS, "a slot fits into a peer's number");

/* --- lines of slots */

static void line_append(stoa_zmq_peers *peers, stoa_zmq_line *line, uint32_t slot)
{
    peers->slots[slot].next = 0;
    if (line->last) {
        peers->slots[line->last - 1].next = slot + 1;
    } else {
        line->first = slot + 1;
    }
    line->last = slot + 1;
}

/* The first slot, or -1. */
static int64_t line_take(stoa_zmq_peers *peers, stoa_zmq_line *line)
{
    if (!line->first) { return -1; }
    uint32_t slot = line->first - 1;
    line->first = peers->slots[slot].next;
    if (!line->first) { line->last = 0; }
    return slot;
}

static uint32_t slot_of(const stoa_zmq_peers *peers, const stoa_zmq_peer *peer)
{
    return (uint32_t)(peer - peers->slots);
}

/* --- life */

stoa_err stoa_zmq_peers_init(stoa_zmq_peers *peers, uint32_t limit)
{
    uint32_t slot_count = limit + STOA_ZMQ_PEERS_SPARE;
    uint32_t bucket_count = 1;
    while (bucket_count < 2 * slot_count) {
        bucket_count *= 2;
    }
    *peers = (stoa_zmq_peers){.limit = limit, .slot_count = slot_count, .bucket_mask = bucket_count - 1};
    peers->slots = calloc(slot_count, sizeof *peers->slots);
    peers->buckets = calloc(bucket_count, sizeof *peers->buckets);
    if (!peers->slots || !peers->buckets) {
        stoa_zmq_peers_deinit(peers);
        return STOA_FAIL(STOA_E_NOMEM, "no memory for %u peers", limit);
    }
    for (uint32_t i = 0; i < slot_count; i++) {
        line_append(peers, &peers->free, i);
    }
    return STOA_OK;
}

void stoa_zmq_peers_deinit(stoa_zmq_peers *peers)
{
    free(peers->slots);
    free(peers->buckets);
    free(peers->doors);
    *peers = (stoa_zmq_peers){0};
}

/* --- doors */

stoa_zmq_door *stoa_zmq_peers_door(stoa_zmq_peers *peers, int fd)
{
    return fd >= 0 && (uint32_t)fd < peers->door_count ? &peers->doors[fd] : NULL;
}

/* Doors up to fd; without memory there is none, and who comes through it counts as gone. */
static stoa_zmq_door *door_make(stoa_zmq_peers *peers, int fd)
{
    if (fd < 0 || stoa_zmq_peers_door(peers, fd)) { return stoa_zmq_peers_door(peers, fd); }
    size_t count = peers->door_count ? peers->door_count : DOORS_FIRST;
    while (count <= (size_t)fd) {
        count *= 2;
    }
    stoa_zmq_door *doors = realloc(peers->doors, count * sizeof *doors);
    if (!doors) { return NULL; }
    memset(doors + peers->door_count, 0, (count - peers->door_count) * sizeof *doors);
    peers->doors = doors;
    peers->door_count = (uint32_t)count;
    return &doors[fd];
}

void stoa_zmq_peers_opened(stoa_zmq_peers *peers, int fd)
{
    stoa_zmq_door *door = door_make(peers, fd);
    if (!door) { return; }
    peers->open_doors += !door->open;
    door->open = true;
    door->refused = STOA_OK;
}

/* --- stages */

static void forget(stoa_zmq_peers *peers, stoa_zmq_peer *peer)
{
    uint32_t *at = &peers->buckets[peer->routing_id & peers->bucket_mask];
    while (*at && *at != slot_of(peers, peer) + 1) {
        at = &peers->slots[*at - 1].next_in_bucket;
    }
    if (*at) { *at = peer->next_in_bucket; }
}

static void leave_door(stoa_zmq_peers *peers, stoa_zmq_peer *peer)
{
    stoa_zmq_door *door = stoa_zmq_peers_door(peers, peer->fd);
    if (door && door->peer == slot_of(peers, peer) + 1) { door->peer = 0; }
    peer->fd = -1;
}

static void end(stoa_zmq_peers *peers, stoa_zmq_peer *peer, uint64_t drained_at)
{
    STOA_ASSERT(peer->stage == STOA_ZMQ_UP);
    peer->stage = STOA_ZMQ_ENDING;
    peer->drained_at = drained_at;
    line_append(peers, &peers->ending, slot_of(peers, peer));
}

void stoa_zmq_peers_lose(stoa_zmq_peers *peers, stoa_zmq_peer *peer, uint64_t drained_at)
{
    leave_door(peers, peer);
    end(peers, peer, drained_at);
}

void stoa_zmq_peers_refuse(stoa_zmq_peers *peers, stoa_zmq_peer *peer, stoa_err why)
{
    peer->why = why;
    end(peers, peer, 0);
}

void stoa_zmq_peers_closed(stoa_zmq_peers *peers, int fd, uint64_t drained_at)
{
    stoa_zmq_door *door = stoa_zmq_peers_door(peers, fd);
    if (!door) { return; }
    peers->open_doors -= door->open;
    peers->closed_doors += door->open;
    door->open = false;
    if (!door->peer) { return; }
    stoa_zmq_peer *peer = &peers->slots[door->peer - 1];
    leave_door(peers, peer);
    if (peer->stage == STOA_ZMQ_UP) { end(peers, peer, drained_at); }
    if (peer->stage == STOA_ZMQ_SHUT) { line_append(peers, &peers->free, slot_of(peers, peer)); }
}

stoa_zmq_peer *stoa_zmq_peers_ending(stoa_zmq_peers *peers)
{
    return peers->ending.first ? &peers->slots[peers->ending.first - 1] : NULL;
}

void stoa_zmq_peers_shut(stoa_zmq_peers *peers)
{
    int64_t slot = line_take(peers, &peers->ending);
    STOA_ASSERT(slot >= 0);
    stoa_zmq_peer *peer = &peers->slots[slot];
    peer->stage = STOA_ZMQ_SHUT;
    peers->live--;
    if (peer->fd < 0) { line_append(peers, &peers->free, (uint32_t)slot); }
}

/* --- peers */

/* Whether the new routing id is behind the door as it is now: a lesser one belongs to a connection before. */
static bool is_current(const stoa_zmq_peers *peers, const stoa_zmq_door *door, uint32_t routing_id)
{
    if (!door || !door->open) { return false; }
    return !door->peer || (int32_t)(routing_id - peers->slots[door->peer - 1].routing_id) > 0;
}

static void enter_door(stoa_zmq_peers *peers, stoa_zmq_door *door, stoa_zmq_peer *peer, int fd, uint64_t drained_at)
{
    if (door->peer) {
        stoa_zmq_peer *before = &peers->slots[door->peer - 1];
        leave_door(peers, before);
        if (before->stage == STOA_ZMQ_UP) { end(peers, before, drained_at); }
        if (before->stage == STOA_ZMQ_SHUT) { line_append(peers, &peers->free, slot_of(peers, before)); }
    }
    peer->fd = fd;
    door->peer = slot_of(peers, peer) + 1;
}

stoa_zmq_peer *stoa_zmq_peers_add(stoa_zmq_peers *peers, uint32_t routing_id, int fd, uint64_t drained_at)
{
    int64_t slot = peers->live < peers->limit ? line_take(peers, &peers->free) : -1;
    if (slot < 0) { return NULL; }
    stoa_zmq_peer *peer = &peers->slots[slot];
    if (peer->stage != STOA_ZMQ_FREE) { forget(peers, peer); }
    uint32_t *bucket = &peers->buckets[routing_id & peers->bucket_mask];
    *peer = (stoa_zmq_peer){.number = ++peers->added << SLOT_BITS | (uint32_t)slot,
                            .routing_id = routing_id,
                            .fd = -1,
                            .stage = STOA_ZMQ_UP,
                            .next_in_bucket = *bucket};
    *bucket = (uint32_t)slot + 1;
    peers->live++;

    stoa_zmq_door *door = stoa_zmq_peers_door(peers, fd);
    if (is_current(peers, door, routing_id)) {
        enter_door(peers, door, peer, fd, drained_at);
    } else {
        end(peers, peer, drained_at);
    }
    return peer;
}

stoa_zmq_peer *stoa_zmq_peers_by_routing_id(stoa_zmq_peers *peers, uint32_t routing_id)
{
    uint32_t at = peers->buckets[routing_id & peers->bucket_mask];
    while (at && peers->slots[at - 1].routing_id != routing_id) {
        at = peers->slots[at - 1].next_in_bucket;
    }
    return at ? &peers->slots[at - 1] : NULL;
}

stoa_zmq_peer *stoa_zmq_peers_by_number(stoa_zmq_peers *peers, stoa_peer number)
{
    uint32_t slot = (uint32_t)(number & ((1U << SLOT_BITS) - 1));
    return slot < peers->slot_count && peers->slots[slot].number == number && number ? &peers->slots[slot] : NULL;
}
