/* remote/index.h - a map from 64-bit keys to 32-bit values that grows. Internal to cluster/remote/.
 *
 * Keys and values are not 0. Open addressing as in base/map64.h; at most half of the slots are used.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef STOA_CLUSTER_REMOTE_INDEX_H
#define STOA_CLUSTER_REMOTE_INDEX_H

#include <stdlib.h>

#include "base/map64.h"

typedef struct stoa_remote_index {
    uint64_t *keys;
    uint32_t *values;
    uint32_t count, slots;
} stoa_remote_index;

static inline uint32_t stoa_remote_index_get(const stoa_remote_index *index, uint64_t key)
{
    return index->slots ? stoa_map64_get_(index->keys, index->values, index->slots, key) : 0;
}

static inline stoa_err stoa_remote_index_grow(stoa_remote_index *index)
{
    stoa_remote_index more = {.slots = index->slots ? index->slots * 2 : 64};
    more.keys = calloc(more.slots, sizeof *more.keys);
    more.values = calloc(more.slots, sizeof *more.values);
    if (!more.keys || !more.values) {
        free(more.keys);
        free(more.values);
        return STOA_E_NOMEM;
    }
    for (uint32_t i = 0; i < index->slots; i++) {
        if (index->keys[i]) { stoa_map64_put_(&more.count, more.keys, more.values, more.slots, index->keys[i], index->values[i]); }
    }
    free(index->keys);
    free(index->values);
    *index = more;
    return STOA_OK;
}

/* Errors: NOMEM. */
static inline stoa_err stoa_remote_index_put(stoa_remote_index *index, uint64_t key, uint32_t value)
{
    if (index->count >= index->slots / 2) {
        stoa_err err = stoa_remote_index_grow(index);
        if (err) { return err; }
    }
    stoa_map64_put_(&index->count, index->keys, index->values, index->slots, key, value);
    return STOA_OK;
}

static inline void stoa_remote_index_remove(stoa_remote_index *index, uint64_t key)
{
    if (index->slots) { (void)stoa_map64_remove_(&index->count, index->keys, index->values, index->slots, key); }
}

static inline void stoa_remote_index_clear(stoa_remote_index *index)
{
    free(index->keys);
    free(index->values);
    *index = (stoa_remote_index){0};
}

#endif
