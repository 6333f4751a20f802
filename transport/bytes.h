/* bytes.h - numbers in little-endian bytes, at any address.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef STOA_TRANSPORT_BYTES_H
#define STOA_TRANSPORT_BYTES_H

#include <stdint.h>
#include <string.h>

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "numbers are copied as they lie");

#define STOA_BYTES_OF(bits)                                                                                            \
    static inline void stoa_put_u##bits(void *at, uint##bits##_t value)                                                \
    {                                                                                                                  \
        memcpy(at, &value, sizeof value);                                                                              \
    }                                                                                                                  \
    static inline uint##bits##_t stoa_get_u##bits(const void *at)                                                      \
    {                                                                                                                  \
        uint##bits##_t value;                                                                                          \
        memcpy(&value, at, sizeof value);                                                                              \
        return value;                                                                                                  \
    }
STOA_BYTES_OF(16)
STOA_BYTES_OF(32)
STOA_BYTES_OF(64)
#undef STOA_BYTES_OF

#endif
