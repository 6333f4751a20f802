/* array.h - arrays that double as items are added.
 *
 *     item *at = stoa_array_room(list->at, list->count, &list->cap, sizeof *at);
 *     if (!at) { ... no memory: the list is as it was }
 *     list->at = at;
 *     list->at[list->count++] = more;
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef STOA_BASE_ARRAY_H
#define STOA_BASE_ARRAY_H

#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

enum { STOA_ARRAY_FIRST = 64 };

/* The malloc'd array `at` (NULL at first) of *cap items of item_bytes each, of which count are used, with room for one more:
 * perhaps elsewhere, and *cap is what it holds now. NULL without memory, or where *cap would pass 2^31; then it is as it was.
 * The caller's until free(). */
static inline void *stoa_array_room(void *at, size_t count, uint32_t *cap, size_t item_bytes)
{
    if (count < *cap) { return at; }
    if (*cap > UINT32_MAX / 4) { return NULL; }
    uint32_t more = *cap ? *cap * 2 : STOA_ARRAY_FIRST;
    void *grown = realloc(at, more * item_bytes);
    if (grown) { *cap = more; }
    return grown;
}

#endif
