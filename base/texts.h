/* texts.h - texts of any length by number, in plain memory: no pointers, fixed capacity, for states.
 *
 *     STOA_TEXTS(1 << 20, 10000) notes;                          in a struct; zeroed memory holds none
 *     if (!STOA_TEXTS_ROOM(&notes, in->text.len)) { return STOA_E_FULL; }
 *     uint32_t id = STOA_TEXTS_PUT(&notes, in->text.at, in->text.len);    1 .. 10000
 *     const char *at = STOA_TEXTS_GET(&notes, id, &size);        valid until notes change
 *     STOA_TEXTS_GIVE(&notes, id);
 *
 * Bytes of any kind, also none; they are not NUL-terminated. Numbers that were given are taken again last in, first out; the same
 * operations in the same order give the same bytes, and what was given is zero. The user asks for room first, because what
 * changes a state cannot fail: there is room as long as all texts, with 8 bytes each and rounded up to 8, fit.
 *
 * Texts stand one behind the other. One that finds no room at the end first moves all together, which takes as long as they are
 * (about 0.1 ms a MiB): where a quarter of the bytes stays free, that is rare; in a heap that is kept full, it is not.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef STOA_BASE_TEXTS_H
#define STOA_BASE_TEXTS_H

#include <stdbool.h>
#include <stddef.h>

#include "base/api.h"
#include "base/pool.h"

STOA_API_BEGIN

typedef struct stoa_text_ref {
    uint32_t at, size; /* of the text itself, behind its head */
} stoa_text_ref;

typedef struct stoa_texts {
    uint32_t used; /* bytes that texts take, heads and rounding too */
    uint32_t end;  /* bytes behind the last of them: those in between were given */
} stoa_texts;

/* bytes: a multiple of 8, below 4 GiB. */
#define STOA_TEXTS(bytes_, texts_)                                                                                     \
    struct {                                                                                                           \
        stoa_texts heap;                                                                                               \
        STOA_POOL(stoa_text_ref, texts_) refs;                                                                         \
        uint64_t words[(bytes_) / 8];                                                                                  \
    }
#define STOA_TEXTS_ROOM(t, size)                                                                                       \
    ((t)->refs.pool.used < STOA_POOL_CAP_(&(t)->refs) && stoa_texts_room_(&(t)->heap, sizeof((t)->words), (size)))
#define STOA_TEXTS_PUT(t, at_, size)                                                                                   \
    stoa_texts_put(&(t)->heap, &(t)->refs.pool, (t)->refs.links, (t)->refs.at, STOA_POOL_CAP_(&(t)->refs), (t)->words,  \
                   sizeof((t)->words), (at_), (size))
#define STOA_TEXTS_GET(t, id, size_out) stoa_texts_get_((t)->refs.at, (const char *)(t)->words, (id), (size_out))
#define STOA_TEXTS_GIVE(t, id)                                                                                         \
    stoa_texts_give(&(t)->heap, &(t)->refs.pool, (t)->refs.links, (t)->refs.at, (t)->words, (id))

enum { STOA_TEXTS_HEAD = 8 };

static inline size_t stoa_texts_bytes_(size_t size)
{
    return STOA_TEXTS_HEAD + (size + 7) / 8 * 8;
}

static inline bool stoa_texts_room_(const stoa_texts *heap, size_t bytes, size_t size)
{
    return size < bytes && stoa_texts_bytes_(size) <= bytes - heap->used;
}

static inline const char *stoa_texts_get_(const stoa_text_ref *refs, const char *bytes, uint32_t id, size_t *size_out)
{
    *size_out = refs[id].size;
    return bytes + refs[id].at;
}

uint32_t stoa_texts_put(stoa_texts *heap, stoa_pool *pool, const uint32_t *links, stoa_text_ref *refs, uint32_t cap,
                        uint64_t *words, size_t bytes, const char *at, size_t size);
void stoa_texts_give(stoa_texts *heap, stoa_pool *pool, uint32_t *links, stoa_text_ref *refs, uint64_t *words, uint32_t id);

STOA_API_END

#endif
