/* wire_write.c - writing msgpack, and payloads as msgpack (base/wire.h).
 *
 * The bytes come from msgpack-c's packing template; ours is only where they go. One function per class of
 * value, found through a table, so that a payload is written by walking its type.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "base/wire.h"

#include <limits.h>
#include <string.h>

#include "base/wire_memory.h"

static inline void append(stoa_writer *w, const void *bytes, size_t size_bytes)
{
    if (size_bytes > w->cap_bytes - w->used_bytes) {
        w->cut = true;
        return;
    }
    memcpy(w->at + w->used_bytes, bytes, size_bytes);
    w->used_bytes += size_bytes;
}

#define msgpack_pack_inline_func(name)             static inline void pack##name
#define msgpack_pack_user                          stoa_writer *
#define msgpack_pack_append_buffer(w, bytes, size) append((w), (bytes), (size))
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wconversion"
#pragma GCC diagnostic ignored "-Wsign-conversion"
#pragma GCC diagnostic ignored "-Wcast-qual"
#pragma GCC diagnostic ignored "-Wunused-function"
#include <msgpack/sysdep.h>
#include <msgpack/timestamp.h>

#include <msgpack/pack_template.h>
#pragma GCC diagnostic pop

void stoa_write_nil(stoa_writer *w)
{
    pack_nil(w);
}

void stoa_write_uint(stoa_writer *w, uint64_t value)
{
    pack_uint64(w, value);
}

void stoa_write_int(stoa_writer *w, int64_t value)
{
    pack_int64(w, value);
}

void stoa_write_text(stoa_writer *w, const char *bytes, size_t size_bytes)
{
    pack_str(w, size_bytes);
    stoa_write_raw(w, bytes, size_bytes);
}

void stoa_write_bytes(stoa_writer *w, const void *bytes, size_t size_bytes)
{
    pack_bin(w, size_bytes);
    stoa_write_raw(w, bytes, size_bytes);
}

void stoa_write_array(stoa_writer *w, uint32_t count)
{
    pack_array(w, count);
}

void stoa_write_raw(stoa_writer *w, const void *bytes, size_t size_bytes)
{
    if (size_bytes) { append(w, bytes, size_bytes); }
}

typedef void encode_function(const stoa_type *type, const uint8_t *at, stoa_writer *w);
static encode_function encode_value;

static void encode_none(const stoa_type *type, const uint8_t *at, stoa_writer *w)
{
    (void)type, (void)at;
    pack_nil(w);
}

static void encode_uint(const stoa_type *type, const uint8_t *at, stoa_writer *w)
{
    pack_uint64(w, stoa_load_uint(at, type->size_bytes));
}

static void encode_int(const stoa_type *type, const uint8_t *at, stoa_writer *w)
{
    pack_int64(w, stoa_load_int(at, type->size_bytes));
}

static void encode_enum(const stoa_type *type, const uint8_t *at, stoa_writer *w)
{
    STOA_ASSERT(*at < type->limit);
    pack_uint8(w, *at);
}

static void encode_decimal(const stoa_type *type, const uint8_t *at, stoa_writer *w)
{
    char text[STOA_DECIMAL_TEXT_MAX];
    stoa_write_text(w, text, stoa_decimal_print(stoa_load_int(at, type->size_bytes), 0, text));
}

static void encode_text(const stoa_type *type, const uint8_t *at, stoa_writer *w)
{
    size_t size_bytes;
    const char *bytes = stoa_load_text(type, at, &size_bytes);
    stoa_write_text(w, bytes, size_bytes);
}

static void encode_bytes(const stoa_type *type, const uint8_t *at, stoa_writer *w)
{
    stoa_write_bytes(w, at + STOA_LIST_AT, stoa_load_count(type, at));
}

static void encode_list(const stoa_type *type, const uint8_t *at, stoa_writer *w)
{
    uint32_t count = stoa_load_count(type, at);
    pack_array(w, count);
    for (uint32_t i = 0; i < count; i++) {
        encode_value(type->element, at + STOA_LIST_AT + (size_t)i * type->element->size_bytes, w);
    }
}

static void encode_record(const stoa_type *type, const uint8_t *at, stoa_writer *w)
{
    uint32_t count = stoa_wire_fields(type);
    pack_array(w, count);
    for (uint32_t i = 0; i < count; i++) {
        encode_value(type->fields[i].type, at + type->fields[i].offset, w);
    }
}

static void encode_value(const stoa_type *type, const uint8_t *at, stoa_writer *w)
{
    static encode_function *const encode[STOA_CLASS_COUNT] = {
        [STOA_CLASS_NONE] = encode_none,       [STOA_CLASS_UINT] = encode_uint,
        [STOA_CLASS_INT] = encode_int,         [STOA_CLASS_ENUM] = encode_enum,
        [STOA_CLASS_TEXT] = encode_text,       [STOA_CLASS_LIST] = encode_list,
        [STOA_CLASS_DECIMAL] = encode_decimal, [STOA_CLASS_RECORD] = encode_record,
        [STOA_CLASS_BYTES] = encode_bytes,
    };
    encode[type->cls](type, at, w);
}

stoa_err stoa_encode(const stoa_type *type, const void *payload, stoa_writer *w)
{
    encode_value(type, payload, w);
    return w->cut ? STOA_E_TOO_LARGE : STOA_OK;
}
