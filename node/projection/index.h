/* index.h - a map from 64-bit keys to 32-bit values that grows: base/map64.h for who may allocate.
 *
 * Keys and values are not 0. Zero memory is the empty index. One thread.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef STOA_NODE_PROJECTION_INDEX_H
#define STOA_NODE_PROJECTION_INDEX_H

#include <stdint.h>

#include "base/error.h"

typedef struct stoa_index {
    uint64_t *keys;
    uint32_t *values;
    uint32_t slots, count;
} stoa_index;

/* 0: not there. */
uint32_t stoa_index_get(const stoa_index *index, uint64_t key);
/* Errors: NOMEM. */
stoa_err stoa_index_put(stoa_index *index, uint64_t key, uint32_t value);
void stoa_index_remove(stoa_index *index, uint64_t key);
void stoa_index_deinit(stoa_index *index);

#endif
