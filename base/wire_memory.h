/* wire_memory.h - how the values of base/table.h lie in memory; for the files that make up base/wire.h only.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef STOA_BASE_WIRE_MEMORY_H
#define STOA_BASE_WIRE_MEMORY_H

#include <string.h>

#include "base/table.h"
#include "base/utf8.h"

enum { STOA_CLASS_COUNT = STOA_CLASS_BYTES + 1, STOA_LIST_AT = sizeof(stoa_list_head) };

/* Fields that a record has on the wire: a stoa_none stands alone and for nothing. */
static inline uint32_t stoa_wire_fields(const stoa_type *record)
{
    return record->fields[0].type->cls == STOA_CLASS_NONE ? 0 : record->field_count;
}

/* An unsigned number of 1, 2, 4 or 8 bytes. */
static inline uint64_t stoa_load_uint(const uint8_t *at, uint32_t size_bytes)
{
    uint16_t two;
    uint32_t four;
    uint64_t eight;
    switch (size_bytes) {
    case 1: return *at;
    case 2: memcpy(&two, at, sizeof two); return two;
    case 4: memcpy(&four, at, sizeof four); return four;
    default: memcpy(&eight, at, sizeof eight); return eight;
    }
}

static inline void stoa_store_uint(uint8_t *at, uint32_t size_bytes, uint64_t value)
{
    uint16_t two = (uint16_t)value;
    uint32_t four = (uint32_t)value;
    switch (size_bytes) {
    case 1: *at = (uint8_t)value; break;
    case 2: memcpy(at, &two, sizeof two); break;
    case 4: memcpy(at, &four, sizeof four); break;
    default: memcpy(at, &value, sizeof value); break;
    }
}

/* The low size_bytes of value as a two's complement number. */
static inline int64_t stoa_sign_extend(uint64_t value, uint32_t size_bytes)
{
    unsigned shift = 64 - 8 * size_bytes;
    return (int64_t)(value << shift) >> shift;
}

static inline int64_t stoa_load_int(const uint8_t *at, uint32_t size_bytes)
{
    return stoa_sign_extend(stoa_load_uint(at, size_bytes), size_bytes);
}

/* A list's elements or the bytes there are, checked against the type. */
static inline uint32_t stoa_load_count(const stoa_type *list, const uint8_t *at)
{
    uint32_t count = (uint32_t)stoa_load_uint(at + offsetof(stoa_list_head, count), sizeof count);
    STOA_ASSERT(count <= list->limit);
    return count;
}

/* A text's bytes, checked against its type; they lie at offset 2 of every stoa_textN. */
static inline const char *stoa_load_text(const stoa_type *text, const uint8_t *at, size_t *size_out)
{
    *size_out = (size_t)stoa_load_uint(at, sizeof(uint16_t));
    STOA_ASSERT(*size_out <= text->limit);
    return (const char *)at + offsetof(stoa_text6, at);
}

/* Most text is short and ASCII: look at eight bytes at a time and leave the rest to the general check. */
static inline bool stoa_wire_utf8(const char *bytes, size_t size_bytes)
{
    size_t ascii = 0;
    uint64_t eight;
    for (; size_bytes - ascii >= sizeof eight; ascii += sizeof eight) {
        memcpy(&eight, bytes + ascii, sizeof eight);
        if (eight & UINT64_C(0x8080808080808080)) { break; }
    }
    for (; ascii < size_bytes && (unsigned char)bytes[ascii] < 0x80; ascii++) {}
    return ascii == size_bytes || stoa_utf8_prefix(bytes + ascii, size_bytes - ascii) == size_bytes - ascii;
}

#endif
