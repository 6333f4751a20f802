/* slab.c - blocks of powers of two, for one thread. See message.h.
 *
 * A slab is one reserved range of memory, touched from its begin on as it is used. A block that is given back goes into the list
 * of its class, from which the next message of that size takes it: that is all that happens while sizes stay what they are.
 *
 * When a list is empty, a block comes from the pool, from the range's untouched end, or from half of a larger block. The pool is a
 * buddy system (Knowlton, "A fast storage allocator", 1965): a block of it whose other half is there too is one with it. What
 * cannot be found at last is joined: some blocks of smaller lists move into the pool, a bounded number for each message that
 * finds no room, so that after floods of small messages large ones find room again, and nobody ever waits long.
 *
 * The reserve, a range of its own behind the quota, is for what the node must still be able to say when a flood has taken
 * everything else. Its blocks have lists and a pool of their own.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include <string.h>
#include <sys/mman.h>

#include "runtime/message.h"

enum { JOIN_MAX = 1024, BYTES_MIN = 2 << 20 };

static void *map(size_t bytes)
{
    void *at = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    return at == MAP_FAILED ? NULL : at;
}

static size_t range_bytes(const stoa_slab *slab)
{
    return slab->limit_bytes + STOA_SLAB_RESERVE_BYTES;
}

stoa_err stoa_slab_init(stoa_slab *slab, uint8_t home, uint64_t limit_bytes)
{
    memset(slab, 0, sizeof *slab);
    slab->home = home;
    slab->plain = stoa_msg_what(0, home, 0);
    slab->limit_bytes = limit_bytes < BYTES_MIN ? BYTES_MIN : limit_bytes / STOA_BLOCK_MAX * STOA_BLOCK_MAX;
    slab->base = map(range_bytes(slab));
    slab->joined = map(range_bytes(slab) >> STOA_BLOCK_SHIFT);
    if (!slab->base || !slab->joined) {
        stoa_slab_deinit(slab);
        return STOA_FAIL(STOA_E_NOMEM, "slab of %llu bytes", (unsigned long long)limit_bytes);
    }
    slab->bank[0] = (stoa_bank){.fresh = 0, .end = slab->limit_bytes};
    slab->bank[1] = (stoa_bank){.fresh = slab->limit_bytes, .end = range_bytes(slab)};
    return STOA_OK;
}

void stoa_slab_deinit(stoa_slab *slab)
{
    if (slab->base) { (void)munmap(slab->base, range_bytes(slab)); }
    if (slab->joined) { (void)munmap(slab->joined, range_bytes(slab) >> STOA_BLOCK_SHIFT); }
    memset(slab, 0, sizeof *slab);
}

static size_t bytes_of(uint32_t size_class)
{
    return (size_t)1 << (STOA_BLOCK_SHIFT + size_class);
}

static stoa_msg *block_at(const stoa_slab *slab, size_t offset)
{
    return (stoa_msg *)(void *)(slab->base + offset);
}

static size_t offset_of(const stoa_slab *slab, const stoa_msg *block)
{
    return (size_t)((const unsigned char *)block - slab->base);
}

/* --- the pool: joined[] has, for the first 64 bytes of each block in it, its class + 1; free blocks are linked both ways */

static stoa_msg **before_of(stoa_msg *block)
{
    return (stoa_msg **)(void *)&block->to;
}

static void pool_link(stoa_slab *slab, stoa_bank *bank, size_t offset, uint32_t size_class)
{
    stoa_msg *block = block_at(slab, offset);
    block->next = bank->pool[size_class];
    *before_of(block) = NULL;
    if (block->next) { *before_of(block->next) = block; }
    bank->pool[size_class] = block;
    bank->filled |= UINT32_C(1) << size_class;
    slab->joined[offset >> STOA_BLOCK_SHIFT] = (uint8_t)(size_class + 1);
}

static void pool_unlink(stoa_slab *slab, stoa_bank *bank, stoa_msg *block, uint32_t size_class)
{
    stoa_msg *before = *before_of(block);
    if (block->next) { *before_of(block->next) = before; }
    if (before) {
        before->next = block->next;
    } else {
        bank->pool[size_class] = block->next;
        if (!block->next) { bank->filled &= ~(UINT32_C(1) << size_class); }
    }
    slab->joined[offset_of(slab, block) >> STOA_BLOCK_SHIFT] = 0;
}

/* Returns the class of the block that it became part of. */
static uint32_t pool_put(stoa_slab *slab, stoa_bank *bank, size_t offset, uint32_t size_class)
{
    while (size_class + 1 < STOA_SLAB_CLASSES) {
        size_t other = offset ^ bytes_of(size_class);
        if (slab->joined[other >> STOA_BLOCK_SHIFT] != size_class + 1) { break; }
        pool_unlink(slab, bank, block_at(slab, other), size_class);
        offset &= ~bytes_of(size_class);
        size_class++;
    }
    pool_link(slab, bank, offset, size_class);
    return size_class;
}

/* Halve a block of class from, which is nobody's, down to size_class. */
static stoa_msg *halved(stoa_slab *slab, stoa_bank *bank, stoa_msg *block, uint32_t from, uint32_t size_class)
{
    while (from-- > size_class) { pool_link(slab, bank, offset_of(slab, block) + bytes_of(from), from); }
    return block;
}

static stoa_msg *from_pool(stoa_slab *slab, stoa_bank *bank, uint32_t size_class)
{
    uint32_t large = bank->filled >> size_class;
    if (!large) { return NULL; }
    uint32_t from = size_class + (uint32_t)__builtin_ctz(large);
    stoa_msg *block = bank->pool[from];
    pool_unlink(slab, bank, block, from);
    return halved(slab, bank, block, from, size_class);
}

/* --- the untouched end, and larger blocks of the lists */

/* Blocks begin at a multiple of their size: what lies before goes into the pool. */
static stoa_msg *from_end(stoa_slab *slab, stoa_bank *bank, uint32_t size_class)
{
    size_t bytes = bytes_of(size_class), begin = (bank->fresh + bytes - 1) & ~(bytes - 1);
    if (begin + bytes > bank->end) { return NULL; }
    while (bank->fresh < begin) {
        uint32_t fits = (uint32_t)__builtin_ctzll(bank->fresh) - STOA_BLOCK_SHIFT;
        pool_link(slab, bank, bank->fresh, fits);
        bank->fresh += bytes_of(fits);
    }
    bank->fresh += bytes;
    return block_at(slab, begin);
}

static stoa_msg *from_larger(stoa_slab *slab, uint32_t number, uint32_t size_class)
{
    stoa_msg **lists = &slab->free[number * STOA_SLAB_RESERVED];
    uint32_t from = size_class + 1;
    while (from < STOA_SLAB_CLASSES && !lists[from]) { from++; }
    if (from >= STOA_SLAB_CLASSES) { return NULL; }
    stoa_msg *block = lists[from];
    lists[from] = block->next;
    return halved(slab, &slab->bank[number], block, from, size_class);
}

/* Whether a block of the class is in the pool now. */
static bool join(stoa_slab *slab, uint32_t number, uint32_t size_class)
{
    uint32_t moved = 0;
    for (uint32_t c = size_class; c-- > 0;) {
        stoa_msg **list = &slab->free[number * STOA_SLAB_RESERVED + c];
        while (*list) {
            stoa_msg *block = *list;
            if (moved++ == JOIN_MAX) { return false; }
            *list = block->next;
            if (pool_put(slab, &slab->bank[number], offset_of(slab, block), c) >= size_class) { return true; }
        }
    }
    return false;
}

static stoa_msg *find(stoa_slab *slab, uint32_t number, uint32_t size_class)
{
    stoa_bank *bank = &slab->bank[number];
    stoa_msg *block = from_pool(slab, bank, size_class);
    if (!block) { block = from_end(slab, bank, size_class); }
    if (!block) { block = from_larger(slab, number, size_class); }
    if (!block && join(slab, number, size_class)) { block = from_pool(slab, bank, size_class); }
    return block;
}

stoa_msg *stoa_slab_find(stoa_slab *slab, uint32_t size_class)
{
    return find(slab, 0, size_class);
}

stoa_msg *stoa_slab_new_reserved(stoa_slab *slab, uint32_t payload_bytes, uint32_t flags)
{
    uint32_t size_class = stoa_slab_class(stoa_msg_bytes(payload_bytes, flags));
    if (size_class >= STOA_SLAB_CLASSES) { return NULL; }
    stoa_msg **list = &slab->free[STOA_SLAB_RESERVED + size_class], *msg = *list;
    if (msg) {
        *list = msg->next;
    } else {
        msg = find(slab, 1, size_class);
    }
    if (msg) { stoa_slab_fill(slab, msg, payload_bytes, flags, STOA_SLAB_RESERVED + size_class); }
    return msg;
}

uint64_t stoa_slab_mapped(const stoa_slab *slab)
{
    return slab->bank[0].fresh + slab->bank[1].fresh - slab->limit_bytes;
}
