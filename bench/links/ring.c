/* ring.c - the bare ring of bench/links/wires.h: slots of one size, published one by one, each cursor in a line of its own.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "bench/links/wires.h"

enum { RING_BYTES = 256 * 1024, SLOTS_MIN = 4, TAIL_PART = 8 };

typedef struct ring {
    _Alignas(128) _Atomic uint64_t head; /* the writer's */
    _Alignas(128) _Atomic uint64_t tail; /* the reader's */
    _Alignas(128) uint8_t slots[];
} ring;

typedef struct end {
    ring *out, *in;
    uint64_t slots, size_bytes, all_bytes;
    uint64_t head, tail_seen; /* of out */
    uint64_t tail, head_seen; /* of in */
} end;

static ring *ring_map(int fd, uint64_t all_bytes, int which)
{
    ring *r = mmap(NULL, all_bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, fd,
                   (off_t)(all_bytes * (uint64_t)which));
    if (r == MAP_FAILED) { duel_fail("mmap"); }
    return r;
}

static void *ring_open(duel_page *page, int side, const char *how, uint32_t size_bytes)
{
    (void)how;
    end *e = calloc(1, sizeof *e);
    if (!e) { duel_fail("no memory"); }
    e->size_bytes = size_bytes;
    for (e->slots = SLOTS_MIN; e->slots * 2 * size_bytes <= RING_BYTES;) {
        e->slots *= 2;
    }
    uint64_t page_bytes = (uint64_t)sysconf(_SC_PAGESIZE);
    e->all_bytes = (sizeof(ring) + e->slots * size_bytes + page_bytes - 1) / page_bytes * page_bytes;
    int fd = -1;
    char path[64];
    if (side == 0) {
        fd = memfd_create("ring", 0);
        if (fd < 0 || ftruncate(fd, (off_t)(2 * e->all_bytes))) { duel_fail("memfd"); }
        int length = snprintf(path, sizeof path, "/proc/%d/fd/%d", (int)getpid(), fd);
        duel_note(page, 0, path, (uint32_t)length + 1);
        (void)duel_note_of(page, 1, path, sizeof path);
    } else {
        (void)duel_note_of(page, 0, path, sizeof path);
        fd = open(path, O_RDWR);
        if (fd < 0) { duel_fail(path); }
        duel_note(page, 1, "x", 2);
    }
    e->out = ring_map(fd, e->all_bytes, side);
    e->in = ring_map(fd, e->all_bytes, 1 - side);
    (void)close(fd);
    return e;
}

static bool ring_send(void *of, const void *bytes, uint32_t size_bytes)
{
    end *e = of;
    if (e->head - e->tail_seen == e->slots) {
        e->tail_seen = atomic_load_explicit(&e->out->tail, memory_order_acquire);
        if (e->head - e->tail_seen == e->slots) { return false; }
    }
    memcpy(e->out->slots + (e->head & (e->slots - 1)) * e->size_bytes, bytes, size_bytes);
    atomic_store_explicit(&e->out->head, ++e->head, memory_order_release);
    return true;
}

static void ring_poll(void *of, duel_take *take, void *context)
{
    end *e = of;
    e->head_seen = atomic_load_explicit(&e->in->head, memory_order_acquire);
    if (e->tail == e->head_seen) { return; }
    while (e->tail != e->head_seen) {
        take(context, e->in->slots + (e->tail & (e->slots - 1)) * e->size_bytes, (uint32_t)e->size_bytes);
        e->tail++;
        if ((e->tail & (e->slots / TAIL_PART ? e->slots / TAIL_PART - 1 : 0)) == 0) {
            atomic_store_explicit(&e->in->tail, e->tail, memory_order_release);
        }
    }
    atomic_store_explicit(&e->in->tail, e->tail, memory_order_release);
}

static void ring_close(void *of)
{
    end *e = of;
    (void)munmap(e->out, e->all_bytes);
    (void)munmap(e->in, e->all_bytes);
    free(e);
}

const duel_wire bench_wire_ring = {.open = ring_open, .send = ring_send, .poll = ring_poll, .close = ring_close};
