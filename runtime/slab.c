/* slab.c - power-of-two blocks in free lists, cut from mapped chunks. See message.h.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "runtime/message.h"

enum { CHUNKS_MAX = 1 << 16 };

stoa_err stoa_slab_init(stoa_slab *slab, uint8_t home, uint64_t limit_bytes)
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
static stoa_msg *split_larger(stoa_slab *slab, uint32_t size_class)
{
    uint32_t from = size_class + 1;
    while (from < STOA_SLAB_CLASSES && !slab->free[from]) { from++; }
    if (from == STOA_SLAB_CLASSES) { return NULL; }
    stoa_msg *block = slab->free[from];
    slab->free[from] = block->next;
    for (uint32_t c = from - 1;; c--) {
        stoa_msg *half = (stoa_msg *)(void *)((unsigned char *)block + ((size_t)1 << (c + STOA_BLOCK_SHIFT)));
        half->size_class = (uint8_t)c;
        half->next = slab->free[c];
        slab->free[c] = half;
        if (c == size_class) { return block; }
    }
}

/* Cut a block from the newest chunk; what is left of the old one goes to the free lists, largest blocks first. */
stoa_msg *stoa_slab_carve(stoa_slab *slab, uint32_t size_class)
{
    size_t bytes = (size_t)1 << (size_class + STOA_BLOCK_SHIFT);
    while ((size_t)(slab->carve_end - slab->carve) < bytes) {
        for (int c = (int)size_class - 1; c >= 0; c--) {
            size_t piece = (size_t)1 << (c + STOA_BLOCK_SHIFT);
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
