/* texts.c - the heap of texts.h.
 *
 * Each text has a head before it: its number, 0 once it was given, and how many bytes it takes with its head.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "base/texts.h"

typedef struct head {
    uint32_t id, bytes;
} head;
_Static_assert(sizeof(head) == STOA_TEXTS_HEAD, "one word");

static head head_at(const uint64_t *words, uint32_t at)
{
    head h;
    memcpy(&h, words + at / 8, sizeof h);
    return h;
}

static void set_head(uint64_t *words, uint32_t at, head h)
{
    memcpy(words + at / 8, &h, sizeof h);
}

/* All texts to the begin, in their order; zeros behind them. */
static void move_together(stoa_texts *heap, stoa_text_ref *refs, uint64_t *words)
{
    uint32_t to = 0;
    for (uint32_t at = 0, bytes; at < heap->end; at += bytes) {
        head h = head_at(words, at);
        bytes = h.bytes;
        if (!h.id) { continue; }
        if (to != at) { memmove((unsigned char *)words + to, (unsigned char *)words + at, bytes); }
        refs[h.id].at = to + STOA_TEXTS_HEAD;
        to += bytes;
    }
    memset((unsigned char *)words + to, 0, heap->end - to);
    heap->end = to;
}

uint32_t stoa_texts_put(stoa_texts *heap, stoa_pool *pool, const uint32_t *links, stoa_text_ref *refs, uint32_t cap,
                        uint64_t *words, size_t bytes, const char *at, size_t size)
{
    STOA_ASSERT(bytes <= UINT32_MAX - 8 && stoa_texts_room_(heap, bytes, size));
    uint32_t takes = (uint32_t)stoa_texts_bytes_(size), id = stoa_pool_take_(pool, links, cap);
    if (takes > bytes - heap->end) { move_together(heap, refs, words); }
    set_head(words, heap->end, (head){.id = id, .bytes = takes});
    refs[id] = (stoa_text_ref){.at = heap->end + STOA_TEXTS_HEAD, .size = (uint32_t)size};
    if (size) { memcpy((unsigned char *)words + refs[id].at, at, size); }
    heap->end += takes;
    heap->used += takes;
    return id;
}

void stoa_texts_give(stoa_texts *heap, stoa_pool *pool, uint32_t *links, stoa_text_ref *refs, uint64_t *words, uint32_t id)
{
    STOA_ASSERT(id > 0 && id <= pool->top && refs[id].at != 0);
    uint32_t at = refs[id].at - STOA_TEXTS_HEAD;
    head h = head_at(words, at);
    bool last = at + h.bytes == heap->end;
    heap->used -= h.bytes;
    if (last) { heap->end = at; }
    memset((unsigned char *)words + at, 0, h.bytes);
    if (!last) { set_head(words, at, (head){.bytes = h.bytes}); }
    stoa_pool_give_(pool, links, refs, sizeof *refs, id);
}
