/* wire_walk.c - what walks a payload in memory without writing it: printing as JSON, finding its ids
 * (base/wire.h).
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include <inttypes.h>

#include "base/wire.h"
#include "base/wire_memory.h"

/* --- as JSON */

typedef void print_function(const stoa_type *type, const uint8_t *at, stoa_buf *out);
static print_function print_value;

static void print_none(const stoa_type *type, const uint8_t *at, stoa_buf *out)
{
    (void)type, (void)at;
    stoa_buf_puts(out, "null");
}

static void print_uint(const stoa_type *type, const uint8_t *at, stoa_buf *out)
{
    stoa_buf_printf(out, "%" PRIu64, stoa_load_uint(at, type->size_bytes));
}

static void print_int(const stoa_type *type, const uint8_t *at, stoa_buf *out)
{
    stoa_buf_printf(out, "%" PRId64, stoa_load_int(at, type->size_bytes));
}

static void print_enum(const stoa_type *type, const uint8_t *at, stoa_buf *out)
{
    STOA_ASSERT(*at < type->limit);
    stoa_buf_printf(out, "\"%s\"", type->values[*at]);
}

static void print_decimal(const stoa_type *type, const uint8_t *at, stoa_buf *out)
{
    char text[STOA_DECIMAL_TEXT_MAX];
    (void)stoa_decimal_print(stoa_load_int(at, type->size_bytes), 0, text);
    stoa_buf_printf(out, "\"%s\"", text);
}

static void print_text(const stoa_type *type, const uint8_t *at, stoa_buf *out)
{
    size_t size_bytes;
    const char *bytes = stoa_load_text(type, at, &size_bytes);
    stoa_buf_json_string(out, bytes, size_bytes);
}

static void print_bytes(const stoa_type *type, const uint8_t *at, stoa_buf *out)
{
    uint32_t count = stoa_load_count(type, at);
    stoa_buf_puts(out, "\"");
    for (uint32_t i = 0; i < count; i++) { stoa_buf_printf(out, "%02x", at[STOA_LIST_AT + i]); }
    stoa_buf_puts(out, "\"");
}

static void print_list(const stoa_type *type, const uint8_t *at, stoa_buf *out)
{
    uint32_t count = stoa_load_count(type, at);
    stoa_buf_puts(out, "[");
    for (uint32_t i = 0; i < count; i++) {
        stoa_buf_puts(out, i ? "," : "");
        print_value(type->element, at + STOA_LIST_AT + (size_t)i * type->element->size_bytes, out);
    }
    stoa_buf_puts(out, "]");
}

static void print_record(const stoa_type *type, const uint8_t *at, stoa_buf *out)
{
    uint32_t count = stoa_wire_fields(type);
    stoa_buf_puts(out, "{");
    for (uint32_t i = 0; i < count; i++) {
        stoa_buf_printf(out, "%s\"%s\":", i ? "," : "", type->fields[i].name);
        print_value(type->fields[i].type, at + type->fields[i].offset, out);
    }
    stoa_buf_puts(out, "}");
}

static void print_value(const stoa_type *type, const uint8_t *at, stoa_buf *out)
{
    static print_function *const print[STOA_CLASS_COUNT] = {
        [STOA_CLASS_NONE] = print_none,       [STOA_CLASS_UINT] = print_uint,
        [STOA_CLASS_INT] = print_int,         [STOA_CLASS_ENUM] = print_enum,
        [STOA_CLASS_TEXT] = print_text,       [STOA_CLASS_LIST] = print_list,
        [STOA_CLASS_DECIMAL] = print_decimal, [STOA_CLASS_RECORD] = print_record,
        [STOA_CLASS_BYTES] = print_bytes,
    };
    print[type->cls](type, at, out);
}

void stoa_print_json(const stoa_type *type, const void *payload, stoa_buf *out)
{
    print_value(type, payload, out);
}

/* --- ids */

typedef struct visitor {
    void (*visit)(void *context, uint64_t id);
    void *context;
} visitor;

static void visit_value(const stoa_type *type, const uint8_t *at, const visitor *v)
{
    if (type->indexed) {
        uint64_t id = stoa_load_uint(at, type->size_bytes);
        if (id) { v->visit(v->context, id); }
    } else if (type->cls == STOA_CLASS_RECORD) {
        for (uint32_t i = 0; i < type->field_count; i++) {
            visit_value(type->fields[i].type, at + type->fields[i].offset, v);
        }
    } else if (type->cls == STOA_CLASS_LIST) {
        uint32_t count = stoa_load_count(type, at);
        for (uint32_t i = 0; i < count; i++) {
            visit_value(type->element, at + STOA_LIST_AT + (size_t)i * type->element->size_bytes, v);
        }
    }
}

void stoa_each_index(const stoa_type *type, const void *payload, void (*visit)(void *context, uint64_t id),
                     void *context)
{
    visit_value(type, payload, &(visitor){visit, context});
}
