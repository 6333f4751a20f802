/* index.c - linear probing over base/map64.h's slots, twice as many when three quarters are used.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "node/projection/index.h"

#include <stdlib.h>

#include "base/map64.h"

enum { FIRST_SLOTS = 1024 };

uint32_t stoa_index_get(const stoa_index *index, uint64_t key)
{
    return index->slots ? stoa_map64_get_(index->keys, index->values, index->slots, key) : 0;
}

static stoa_err grow(stoa_index *index)
{
    uint32_t slots = index->slots ? index->slots * 2 : FIRST_SLOTS;
    stoa_index bigger = {.keys = calloc(slots, sizeof *bigger.keys), .values = calloc(slots, sizeof *bigger.values), .slots = slots};
    if (!bigger.keys || !bigger.values || slots > UINT32_MAX / 2) {
        stoa_index_deinit(&bigger);
        return STOA_FAIL(STOA_E_NOMEM, "index of %u", index->count);
    }
    for (uint32_t i = 0; i < index->slots; i++) {
        if (!index->keys[i]) { continue; }
        stoa_map64_put_(&bigger.count, bigger.keys, bigger.values, slots, index->keys[i], index->values[i]);
    }
    stoa_index_deinit(index);
    *index = bigger;
    return STOA_OK;
}

stoa_err stoa_index_put(stoa_index *index, uint64_t key, uint32_t value)
{
    stoa_err err = index->count + 1 < STOA_MAP64_MAX(index->slots) ? STOA_OK : grow(index);
    if (!err) { stoa_map64_put_(&index->count, index->keys, index->values, index->slots, key, value); }
    return err;
}

void stoa_index_remove(stoa_index *index, uint64_t key)
{
    if (index->slots) { (void)stoa_map64_remove_(&index->count, index->keys, index->values, index->slots, key); }
}

void stoa_index_deinit(stoa_index *index)
{
    free(index->keys);
    free(index->values);
    *index = (stoa_index){0};
}
