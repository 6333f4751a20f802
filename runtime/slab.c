/* slab.c - power-of-two blocks in free lists, cut from mapped chunks. See message.h.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "runtime/message.h"

enum { BLOCK_MIN_SHIFT = 6, CHUNKS_MAX = 1 << 16 };

stoa_err stoa_slab_init(stoa_slab *slab, uint16_t home, uint64_t limit_bytes)
{
    memset(slab, 0, sizeof *slab);
    slab->home = home;
    slab->limit_bytes = limit_bytes;
    slab->chunk_cap = (uint32_t)(limit_bytes / STOA_SLAB_CHUNK_BYTES) + 1;
    if (slab->chunk_cap > CHUNKS_MAX) { slab->chunk_cap = CHUNKS_MAX; }
    slab->chunks = calloc(slab->chunk_cap, sizeof(void *));
    return slab->chunks ? STOA_OK : STOA_FAIL(STOA_E_NOMEM, "slab of %u chunks", slab->chunk_cap);
}

void stoa_slab_deinit(stoa_slab *slab)
{
    for (uint32_t i = 0; i < slab->chunk_count; i++) { (void)munmap(slab->chunks[i], STOA_SLAB_CHUNK_BYTES); }
    free(slab->chunks);
    memset(slab, 0, sizeof *slab);
}

static uint8_t class_of(size_t bytes)
{
    size_t blocks = (bytes - 1) >> BLOCK_MIN_SHIFT;
    return blocks ? (uint8_t)(64 - __builtin_clzl(blocks)) : 0;
}

static bool map_chunk(stoa_slab *slab)
{
    if (slab->chunk_count == slab->chunk_cap) { return false; }
    if (slab->mapped_bytes + STOA_SLAB_CHUNK_BYTES > slab->limit_bytes && slab->chunk_count > 0) { return false; }
    void *chunk = mmap(NULL, STOA_SLAB_CHUNK_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (chunk == MAP_FAILED) { return false; }
    slab->chunks[slab->chunk_count++] = chunk;
    slab->mapped_bytes += STOA_SLAB_CHUNK_BYTES;
    slab->carve = chunk;
    slab->carve_end = slab->carve + STOA_SLAB_CHUNK_BYTES;
    return true;
}

/* The quota is mapped: halve the next larger free block as often as it takes. Small messages never starve behind large ones. */
static stoa_msg *split_larger(stoa_slab *slab, uint8_t size_class)
{
    uint8_t from = (uint8_t)(size_class + 1);
    while (from < STOA_SLAB_CLASSES && !slab->free[from]) { from++; }
    if (from == STOA_SLAB_CLASSES) { return NULL; }
    stoa_msg *block = slab->free[from];
    slab->free[from] = block->next;
    for (uint8_t c = (uint8_t)(from - 1);; c--) {
        stoa_msg *half = (stoa_msg *)(void *)((unsigned char *)block + ((size_t)1 << (c + BLOCK_MIN_SHIFT)));
        half->size_class = c;
        half->next = slab->free[c];
        slab->free[c] = half;
        if (c == size_class) { return block; }
    }
}

/* Cut a block from the newest chunk; what is left of the old one goes to the free lists, largest blocks first. */
static stoa_msg *carve(stoa_slab *slab, uint8_t size_class)
{
    size_t bytes = (size_t)1 << (size_class + BLOCK_MIN_SHIFT);
    while ((size_t)(slab->carve_end - slab->carve) < bytes) {
        for (int c = size_class - 1; c >= 0; c--) {
            size_t piece = (size_t)1 << (c + BLOCK_MIN_SHIFT);
            while ((size_t)(slab->carve_end - slab->carve) >= piece) {
                stoa_msg *rest = (stoa_msg *)(void *)slab->carve;
                rest->size_class = (uint8_t)c;
                slab->used_bytes += piece;
                stoa_slab_free(slab, rest);
                slab->carve += piece;
            }
        }
        if (!map_chunk(slab)) { return split_larger(slab, size_class); }
    }
    stoa_msg *msg = (stoa_msg *)(void *)slab->carve;
    slab->carve += bytes;
    return msg;
}

stoa_msg *stoa_slab_new(stoa_slab *slab, uint32_t payload_bytes, uint8_t flags)
{
    size_t bytes = sizeof(stoa_msg) + payload_bytes + ((flags & STOA_MSG_CONTEXT) ? sizeof(stoa_context) : 0);
    uint8_t size_class = class_of(bytes);
    if (size_class >= STOA_SLAB_CLASSES) { return NULL; }

    stoa_msg *msg = slab->free[size_class];
    if (__builtin_expect(msg != NULL, 1)) {
        slab->free[size_class] = msg->next;
    } else {
        msg = carve(slab, size_class);
        if (!msg) { return NULL; }
    }
    slab->used_bytes += (uint64_t)64 << size_class;
    msg->next = NULL;
    msg->size_bytes = payload_bytes;
    msg->home = slab->home;
    msg->size_class = size_class;
    msg->flags = flags;
    if (flags & STOA_MSG_CONTEXT) { memset(stoa_msg_context(msg), 0, sizeof(stoa_context)); }
    return msg;
}
