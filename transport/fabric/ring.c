/* fabric/ring.c - the arithmetic of fabric/ring.h.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "transport/fabric/ring.h"

#include <string.h>
#include <sys/mman.h>

#include "transport/bytes.h"

enum { RING_BYTES = 4 * 1024 * 1024, FRAME_ALIGN = 8, RING_BATCHES_MIN = 4, HEAD_BYTES_MAX = 16 };

static uint64_t align_up(uint64_t n, uint64_t to)
{
    return (n + to - 1) / to * to;
}

static uint64_t frame_bytes(uint64_t size_bytes)
{
    return align_up(STOA_RING_FRAME_HEAD + size_bytes, FRAME_ALIGN);
}

uint32_t stoa_ring_body_limit(uint32_t frame_limit)
{
    uint64_t one = align_up(frame_bytes((uint64_t)frame_limit + HEAD_BYTES_MAX), STOA_RING_ALIGN);
    return (uint32_t)(one > STOA_RING_BATCH_BYTES ? one : STOA_RING_BATCH_BYTES);
}

uint64_t stoa_ring_bytes(uint32_t frame_limit, uint32_t queue_frames)
{
    uint64_t least = (uint64_t)RING_BATCHES_MIN * stoa_ring_body_limit(frame_limit);
    uint64_t wanted = align_up(frame_bytes(frame_limit) * queue_frames, STOA_RING_ALIGN);
    uint64_t most = least > RING_BYTES ? least : RING_BYTES;
    return wanted < least ? least : wanted > most ? most : wanted;
}

static stoa_err map(uint64_t ring_bytes, uint32_t body_limit, uint8_t **out)
{
    if (body_limit < STOA_RING_BATCH_BYTES || body_limit % STOA_RING_ALIGN || ring_bytes % STOA_RING_ALIGN ||
        ring_bytes < 2ULL * body_limit || ring_bytes > STOA_RING_BYTES_MAX) {
        return STOA_E_MALFORMED;
    }
    void *memory = mmap(NULL, ring_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (memory == MAP_FAILED) { return STOA_E_NOMEM; }
    *out = memory;
    return STOA_OK;
}

/* Where a batch of so many bytes begins at or behind position. */
static uint64_t place(uint64_t ring_bytes, uint64_t position, uint64_t bytes)
{
    uint64_t at = position % ring_bytes;
    return at + bytes <= ring_bytes ? position : position + ring_bytes - at;
}

/* --- out */

stoa_err stoa_out_open(stoa_out *out, void *owner, uint64_t ring_bytes, uint32_t body_limit, uint32_t queue_frames)
{
    memset(out, 0, sizeof *out);
    stoa_err err = map(ring_bytes, body_limit, &out->memory);
    if (err) { return err; }
    out->ring_bytes = ring_bytes;
    out->body_limit = body_limit;
    out->queue_frames = queue_frames;
    for (unsigned i = 0; i < STOA_RING_BATCHES; i++) {
        out->batches[i].parcel = (stoa_parcel){.owner = owner, .is_batch = true};
    }
    return STOA_OK;
}

void stoa_out_close(stoa_out *out)
{
    if (out->memory) { (void)munmap(out->memory, out->ring_bytes); }
    out->memory = NULL;
}

static stoa_batch *batch_at(stoa_out *out, uint64_t number)
{
    return &out->batches[number % STOA_RING_BATCHES];
}

void *stoa_out_bytes(const stoa_out *out, const stoa_batch *batch)
{
    return out->memory + batch->position % out->ring_bytes;
}

static void seal(stoa_out *out)
{
    const stoa_batch *batch = batch_at(out, out->end - 1);
    out->position = batch->position + align_up(batch->bytes, STOA_RING_ALIGN);
    out->open = false;
}

/* Whether the open batch can become bytes long where it lies. */
static bool grows_to(const stoa_out *out, const stoa_batch *batch, uint64_t bytes)
{
    uint64_t whole = align_up(bytes, STOA_RING_ALIGN);
    return bytes <= STOA_RING_BATCH_BYTES && batch->position % out->ring_bytes + whole <= out->ring_bytes &&
           batch->position + whole - out->acked <= out->ring_bytes;
}

/* A batch that has room for bytes more, or NULL. */
static stoa_batch *batch_for(stoa_out *out, uint64_t bytes)
{
    stoa_batch *batch = out->open ? batch_at(out, out->end - 1) : NULL;
    if (batch && grows_to(out, batch, batch->bytes + bytes)) { return batch; }
    if (batch) { seal(out); }
    uint64_t whole = align_up(bytes, STOA_RING_ALIGN), position = place(out->ring_bytes, out->position, whole);
    if (out->end - out->first == STOA_RING_BATCHES || position + whole - out->acked > out->ring_bytes) { return NULL; }
    batch = batch_at(out, out->end);
    batch->number = out->end++;
    batch->position = position;
    batch->bytes = batch->frames = 0;
    batch->sealed = batch->done = false;
    out->open = true;
    return batch;
}

stoa_err stoa_out_add(stoa_out *out, uint32_t kind, const void *head, uint32_t head_bytes, const void *bytes,
                      uint32_t size_bytes)
{
    uint64_t whole = frame_bytes((uint64_t)head_bytes + size_bytes);
    if (whole > out->body_limit) { return STOA_E_TOO_LARGE; }
    if (out->queued >= out->queue_frames) { return STOA_E_FULL; }
    stoa_batch *batch = batch_for(out, whole);
    if (!batch) { return STOA_E_FULL; }
    uint8_t *at = (uint8_t *)stoa_out_bytes(out, batch) + batch->bytes;
    stoa_put_u32(at, head_bytes + size_bytes);
    stoa_put_u32(at + 4, kind);
    if (head_bytes > 0) { memcpy(at + STOA_RING_FRAME_HEAD, head, head_bytes); }
    if (size_bytes > 0) { memcpy(at + STOA_RING_FRAME_HEAD + head_bytes, bytes, size_bytes); }
    batch->bytes += (uint32_t)whole;
    batch->frames++;
    out->queued++;
    return STOA_OK;
}

stoa_batch *stoa_out_next(stoa_out *out, bool now)
{
    if (out->next == out->end) { return NULL; }
    if (out->open && out->next == out->end - 1) {
        if (!now) { return NULL; }
        seal(out);
    }
    return batch_at(out, out->next);
}

void stoa_out_take(stoa_out *out)
{
    STOA_ASSERT(out->next < out->end);
    out->queued -= batch_at(out, out->next++)->frames;
}

void stoa_out_untake(stoa_out *out)
{
    STOA_ASSERT(out->next > out->first);
    out->queued += batch_at(out, --out->next)->frames;
}

static void free_read(stoa_out *out)
{
    while (out->first < out->next) {
        const stoa_batch *batch = batch_at(out, out->first);
        if (!batch->done || batch->position + batch->bytes > out->acked) { break; }
        out->first++;
    }
}

void stoa_out_done(stoa_out *out, stoa_batch *batch)
{
    batch->done = true;
    free_read(out);
}

stoa_err stoa_out_acked(stoa_out *out, uint64_t position)
{
    if (position <= out->acked) { return STOA_OK; }
    const stoa_batch *last = out->next > 0 ? batch_at(out, out->next - 1) : NULL;
    if (!last || position > last->position + align_up(last->bytes, STOA_RING_ALIGN)) { return STOA_E_MALFORMED; }
    out->acked = position;
    free_read(out);
    return STOA_OK;
}

uint64_t stoa_out_done_below(const stoa_out *out)
{
    uint64_t number = out->first;
    while (number < out->next && out->batches[number % STOA_RING_BATCHES].done) {
        number++;
    }
    return number;
}

bool stoa_out_is_read(const stoa_out *out)
{
    return out->first == out->end;
}

/* --- in */

stoa_err stoa_in_open(stoa_in *in, void *owner, uint64_t ring_bytes, uint32_t body_limit)
{
    memset(in, 0, sizeof *in);
    stoa_err err = map(ring_bytes, body_limit, &in->memory);
    if (err) { return err; }
    in->ring_bytes = in->mapped_bytes = ring_bytes;
    in->body_limit = body_limit;
    for (unsigned i = 0; i < STOA_RING_BATCHES; i++) {
        in->arrivals[i].owner = owner;
    }
    return STOA_OK;
}

void stoa_in_shrink(stoa_in *in, uint64_t ring_bytes)
{
    STOA_ASSERT(ring_bytes <= in->ring_bytes && in->next == 0 && in->landing == 0);
    in->ring_bytes = ring_bytes;
}

void stoa_in_close(stoa_in *in)
{
    if (in->memory) { (void)munmap(in->memory, in->mapped_bytes); }
    in->memory = NULL;
}

void *stoa_in_bytes(const stoa_in *in, const stoa_arrival *arrival)
{
    return in->memory + arrival->position % in->ring_bytes;
}

/* Whether the batch lies behind all that come before it, and before all that come behind it. */
static bool lies_in_order(const stoa_in *in, uint64_t number, uint64_t position, uint64_t end)
{
    for (uint64_t n = in->next; n < in->next + STOA_RING_BATCHES; n++) {
        const stoa_arrival *other = &in->arrivals[n % STOA_RING_BATCHES];
        if (!other->taken) { continue; }
        if (n < number && other->position + other->bytes > position) { return false; }
        if (n > number && other->position < end) { return false; }
    }
    return true;
}

stoa_err stoa_in_place(stoa_in *in, uint64_t number, uint64_t position, uint32_t bytes, stoa_arrival **out)
{
    stoa_arrival *arrival = &in->arrivals[number % STOA_RING_BATCHES];
    if (number < in->next) { return STOA_E_STALE; }
    if (number - in->next >= STOA_RING_BATCHES || bytes < STOA_RING_FRAME_HEAD || bytes > in->body_limit ||
        bytes % FRAME_ALIGN || position % STOA_RING_ALIGN || position < in->read ||
        position - in->read > in->ring_bytes || position + bytes - in->read > in->ring_bytes ||
        position % in->ring_bytes + bytes > in->ring_bytes) {
        return STOA_E_MALFORMED;
    }
    if (arrival->taken) { return STOA_E_STALE; }
    if (!lies_in_order(in, number, position, position + bytes)) { return STOA_E_MALFORMED; }
    arrival->taken = true;
    arrival->ready = false;
    arrival->number = number;
    arrival->position = position;
    arrival->bytes = bytes;
    in->landing++;
    *out = arrival;
    return STOA_OK;
}

void stoa_in_landed(stoa_in *in, stoa_arrival *arrival, bool good)
{
    STOA_ASSERT(arrival->taken && !arrival->ready && in->landing > 0);
    in->landing--;
    arrival->ready = good;
    arrival->taken = good;
}

bool stoa_in_misses(const stoa_in *in, uint64_t below)
{
    return in->next < below && !in->arrivals[in->next % STOA_RING_BATCHES].ready;
}

stoa_err stoa_in_frame_next(stoa_in *in, stoa_in_frame *out)
{
    const stoa_arrival *arrival = &in->arrivals[in->next % STOA_RING_BATCHES];
    if (!arrival->ready) { return STOA_E_AGAIN; }
    uint32_t left = arrival->bytes - in->at;
    const uint8_t *at = (const uint8_t *)stoa_in_bytes(in, arrival) + in->at;
    uint32_t size_bytes = stoa_get_u32(at);
    if (frame_bytes(size_bytes) > left) { return STOA_E_MALFORMED; }
    *out = (stoa_in_frame){stoa_get_u32(at + 4), size_bytes, at + STOA_RING_FRAME_HEAD};
    return STOA_OK;
}

void stoa_in_drop(stoa_in *in, const stoa_in_frame *frame)
{
    stoa_arrival *arrival = &in->arrivals[in->next % STOA_RING_BATCHES];
    in->at += (uint32_t)frame_bytes(frame->size_bytes);
    if (in->at < arrival->bytes) { return; }
    in->read = arrival->position + align_up(arrival->bytes, STOA_RING_ALIGN);
    in->next++;
    in->at = 0;
    arrival->taken = arrival->ready = false;
}

/* --- pen */

stoa_err stoa_pen_open(stoa_pen *pen, void *owner, uint32_t body_limit)
{
    memset(pen, 0, sizeof *pen);
    void *memory = mmap(NULL, (size_t)STOA_RING_FLIGHT * body_limit, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (memory == MAP_FAILED) { return STOA_E_NOMEM; }
    pen->memory = memory;
    pen->body_limit = body_limit;
    for (unsigned i = 0; i < STOA_RING_FLIGHT; i++) {
        pen->arrivals[i].owner = owner;
    }
    return STOA_OK;
}

void stoa_pen_close(stoa_pen *pen)
{
    if (pen->memory) { (void)munmap(pen->memory, (size_t)STOA_RING_FLIGHT * pen->body_limit); }
    pen->memory = NULL;
}

stoa_err stoa_pen_take(stoa_pen *pen, uint32_t bytes, stoa_arrival **out)
{
    if (bytes < STOA_RING_FRAME_HEAD || bytes > pen->body_limit) { return STOA_E_MALFORMED; }
    for (unsigned i = 0; i < STOA_RING_FLIGHT; i++) {
        stoa_arrival *arrival = &pen->arrivals[i];
        if (arrival->taken) { continue; }
        arrival->taken = true;
        arrival->bytes = bytes;
        pen->landing++;
        *out = arrival;
        return STOA_OK;
    }
    return STOA_E_FULL;
}

void *stoa_pen_bytes(const stoa_pen *pen, const stoa_arrival *arrival)
{
    return pen->memory + (size_t)(arrival - pen->arrivals) * pen->body_limit;
}

void stoa_pen_free(stoa_pen *pen, stoa_arrival *arrival)
{
    STOA_ASSERT(arrival->taken && pen->landing > 0);
    arrival->taken = false;
    pen->landing--;
}
