/* wire_plain.c - reading ordinary values straight from their bytes (base/wire.h): what a replay does three million times a second.
 *
 * One pass, no tokens, no errors with names: whatever is not in the form that our own writer gives it - another width of an
 * integer that also could be read, a boolean, anything hostile - is left to stoa_decode, which reads it or says what is wrong.
 * So there is one judge of bytes, and this is its short cut; tests/fuzz/wire_fuzz.c compares the two.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "base/wire.h"
#include "base/wire_memory.h"

enum { NESTED_MAX = 16 };

/* --- heads */

static uint64_t big_endian(const uint8_t *at, unsigned bytes)
{
    uint16_t two;
    uint32_t four;
    uint64_t eight;
    switch (bytes) {
    case 1: return *at;
    case 2: memcpy(&two, at, sizeof two); return __builtin_bswap16(two);
    case 4: memcpy(&four, at, sizeof four); return __builtin_bswap32(four);
    default: memcpy(&eight, at, sizeof eight); return __builtin_bswap64(eight);
    }
}

bool stoa_plain_uint(const uint8_t **at, const uint8_t *end, uint64_t *out)
{
    const uint8_t *from = *at;
    if (from == end) { return false; }
    uint8_t head = *from;
    if (head < 0x80) {
        *out = head;
        *at = from + 1;
        return true;
    }
    if (head < 0xcc || head > 0xcf) { return false; }
    unsigned bytes = 1u << (head - 0xcc);
    if ((size_t)(end - from) <= bytes) { return false; }
    *out = big_endian(from + 1, bytes);
    *at = from + 1 + bytes;
    return true;
}

/* How a length is written: in the head, or in the bytes behind it. */
typedef struct size_form {
    uint8_t few, few_bits; /* the head's upper bits; few_bits 0: it has no such form */
    uint8_t first, last;   /* heads with so many bytes behind them, twice as many, ... */
    unsigned bytes;
} size_form;

/* So many bytes, or elements of a byte at least, must follow. *at stays where that is not so. */
static bool plain_size(const uint8_t **at, const uint8_t *end, size_form form, uint32_t *out)
{
    const uint8_t *from = *at;
    uint32_t size;
    if (from == end) { return false; }
    uint8_t head = *from++;
    if (form.few_bits && head >> form.few_bits == form.few >> form.few_bits) {
        size = head & ((1u << form.few_bits) - 1);
    } else if (head >= form.first && head <= form.last) {
        unsigned bytes = form.bytes << (head - form.first);
        if ((size_t)(end - from) < bytes) { return false; }
        size = (uint32_t)big_endian(from, bytes);
        from += bytes;
    } else {
        return false;
    }
    if (size > (size_t)(end - from)) { return false; }
    *out = size;
    *at = from;
    return true;
}

bool stoa_plain_array(const uint8_t **at, const uint8_t *end, uint32_t *count_out)
{
    return plain_size(at, end, (size_form){.few = 0x90, .few_bits = 4, .first = 0xdc, .last = 0xdd, .bytes = 2}, count_out);
}

static bool plain_text(const uint8_t **at, const uint8_t *end, uint32_t *size_out)
{
    return plain_size(at, end, (size_form){.few = 0xa0, .few_bits = 5, .first = 0xd9, .last = 0xdb, .bytes = 1}, size_out);
}

static bool plain_bytes(const uint8_t **at, const uint8_t *end, uint32_t *size_out)
{
    return plain_size(at, end, (size_form){.first = 0xc4, .last = 0xc6, .bytes = 1}, size_out);
}

static bool skip_value(const uint8_t **at, const uint8_t *end, unsigned depth)
{
    uint32_t size;
    uint64_t number;
    if (*at == end) { return false; }
    uint8_t head = **at;
    if (stoa_plain_uint(at, end, &number)) { return true; }
    if (head >= 0xe0 || head == 0xc0) { /* a small negative number, nil */
        ++*at;
        return true;
    }
    if (head >= 0xd0 && head <= 0xd3) {
        size = 1u << (head - 0xd0);
        if ((size_t)(end - *at) <= size) { return false; }
        *at += 1 + size;
        return true;
    }
    if (plain_text(at, end, &size) || plain_bytes(at, end, &size)) {
        *at += size;
        return true;
    }
    if (depth == 0 || !stoa_plain_array(at, end, &size)) { return false; }
    while (size > 0 && skip_value(at, end, depth - 1)) { size--; }
    return size == 0;
}

bool stoa_plain_skip(const uint8_t **at, const uint8_t *end)
{
    return skip_value(at, end, NESTED_MAX - 2); /* it lies within others */
}

/* --- values by their types */

static bool read_value(const stoa_type *type, const uint8_t **at, const uint8_t *end, uint8_t *out);

static bool read_uint(const stoa_type *type, const uint8_t **at, const uint8_t *end, uint8_t *out)
{
    uint64_t value;
    if (!stoa_plain_uint(at, end, &value) || value > UINT64_MAX >> (64 - 8 * type->size_bytes)) { return false; }
    stoa_store_uint(out, type->size_bytes, value);
    return true;
}

static bool read_int(const stoa_type *type, const uint8_t **at, const uint8_t *end, uint8_t *out)
{
    uint64_t value;
    if (*at == end) { return false; }
    uint8_t head = **at;
    if (head >= 0xe0) {
        value = (uint64_t)(int64_t)(int8_t)head;
        ++*at;
    } else if (head >= 0xd0 && head <= 0xd3) {
        unsigned bytes = 1u << (head - 0xd0);
        if ((size_t)(end - *at) <= bytes) { return false; }
        value = (uint64_t)stoa_sign_extend(big_endian(*at + 1, bytes), bytes);
        *at += 1 + bytes;
    } else if (!stoa_plain_uint(at, end, &value) || value > INT64_MAX) {
        return false;
    }
    if ((uint64_t)stoa_sign_extend(value, type->size_bytes) != value) { return false; }
    stoa_store_uint(out, type->size_bytes, value);
    return true;
}

static bool read_enum(const stoa_type *type, const uint8_t **at, const uint8_t *end, uint8_t *out)
{
    uint64_t value;
    if (!stoa_plain_uint(at, end, &value) || value >= type->limit) { return false; }
    *out = (uint8_t)value;
    return true;
}

static bool read_decimal(const stoa_type *type, const uint8_t **at, const uint8_t *end, uint8_t *out)
{
    uint32_t size;
    stoa_decimal value;
    if (!plain_text(at, end, &size) || stoa_decimal_parse((const char *)*at, size, &value)) { return false; }
    stoa_store_uint(out, type->size_bytes, (uint64_t)value);
    *at += size;
    return true;
}

static bool read_text(const stoa_type *type, const uint8_t **at, const uint8_t *end, uint8_t *out)
{
    uint32_t size;
    if (!plain_text(at, end, &size) || size > type->limit || !stoa_wire_utf8((const char *)*at, size)) { return false; }
    stoa_store_uint(out, sizeof(uint16_t), size);
    memcpy(out + offsetof(stoa_text6, at), *at, size);
    *at += size;
    return true;
}

static bool read_bytes(const stoa_type *type, const uint8_t **at, const uint8_t *end, uint8_t *out)
{
    uint32_t size;
    if (!plain_bytes(at, end, &size) || size > type->limit) { return false; }
    stoa_store_uint(out + offsetof(stoa_list_head, count), sizeof size, size);
    memcpy(out + STOA_LIST_AT, *at, size);
    *at += size;
    return true;
}

static bool read_list(const stoa_type *type, const uint8_t **at, const uint8_t *end, uint8_t *out)
{
    uint32_t count;
    if (!stoa_plain_array(at, end, &count) || count > type->limit) { return false; }
    stoa_store_uint(out + offsetof(stoa_list_head, count), sizeof count, count);
    out += STOA_LIST_AT;
    for (uint32_t i = 0; i < count; i++, out += type->element->size_bytes) {
        if (!read_value(type->element, at, end, out)) { return false; }
    }
    return true;
}

static bool read_record(const stoa_type *type, const uint8_t **at, const uint8_t *end, uint8_t *out)
{
    uint32_t sent, known = stoa_wire_fields(type);
    if (!stoa_plain_array(at, end, &sent)) { return false; }
    uint32_t count = sent < known ? sent : known;
    for (uint32_t i = 0; i < count; i++) {
        if (!read_value(type->fields[i].type, at, end, out + type->fields[i].offset)) { return false; }
    }
    for (uint32_t i = known; i < sent; i++) {
        if (!stoa_plain_skip(at, end)) { return false; }
    }
    return true;
}

static bool read_none(const stoa_type *type, const uint8_t **at, const uint8_t *end, uint8_t *out)
{
    (void)type, (void)out;
    if (*at == end || **at != 0xc0) { return false; }
    ++*at;
    return true;
}

static bool read_value(const stoa_type *type, const uint8_t **at, const uint8_t *end, uint8_t *out)
{
    typedef bool read_function(const stoa_type *type, const uint8_t **at, const uint8_t *end, uint8_t *out);
    static read_function *const read[STOA_CLASS_COUNT] = {
        [STOA_CLASS_NONE] = read_none,       [STOA_CLASS_UINT] = read_uint,     [STOA_CLASS_INT] = read_int,
        [STOA_CLASS_ENUM] = read_enum,       [STOA_CLASS_TEXT] = read_text,     [STOA_CLASS_LIST] = read_list,
        [STOA_CLASS_DECIMAL] = read_decimal, [STOA_CLASS_RECORD] = read_record, [STOA_CLASS_BYTES] = read_bytes,
    };
    if (type->cls == STOA_CLASS_UINT) { return read_uint(type, at, end, out); } /* most are */
    return read[type->cls](type, at, end, out);
}

bool stoa_plain_value(const stoa_type *type, const uint8_t **at, const uint8_t *end, void *payload_out)
{
    memset(payload_out, 0, type->size_bytes);
    return read_value(type, at, end, payload_out);
}
