/* key.h - numbers as keys that sort like the numbers: eight bytes, big endian.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef STOA_STORAGE_ROCKSDB_KEY_H
#define STOA_STORAGE_ROCKSDB_KEY_H

#include <stdint.h>

enum { STOA_KEY_BYTES = 8, STOA_INDEX_KEY_BYTES = 16 };

static inline void stoa_key_put(char *at, uint64_t value)
{
    for (unsigned i = 0; i < STOA_KEY_BYTES; i++) {
        at[i] = (char)(unsigned char)(value >> (56 - 8 * i));
    }
}

static inline uint64_t stoa_key_get(const char *at)
{
    uint64_t value = 0;
    for (unsigned i = 0; i < STOA_KEY_BYTES; i++) {
        value = value << 8 | (unsigned char)at[i];
    }
    return value;
}

#endif
