/* wire_read.c - reading msgpack, and payloads from msgpack (base/wire.h).
 *
 * Reading has two steps. stoa_tokenize runs msgpack-c's unpacking template over the bytes and leaves one
 * token per value, in order; whatever is not msgpack as we speak it stops there. stoa_decode_tokens walks a
 * type and the tokens side by side and checks what each field allows. Neither trusts a length it has not
 * compared with what is there.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "base/wire.h"

#include <inttypes.h>
#include <string.h>

#include "base/wire_memory.h"

/* --- bytes to tokens */

/* Where the template's callbacks put tokens. Its object is the index of a value's token. */
typedef struct sink {
    stoa_token *tokens;
    uint32_t count, max;
} sink;

/* Members one by one: a whole token copied from the stack costs 7 ns each (its halves are stored, then loaded
 * as one). */
static inline int push(sink *s, stoa_token_class cls, uint32_t size, uint64_t value, uint32_t *index_out)
{
    if (s->count == s->max) { return STOA_E_TOO_LARGE; }
    stoa_token *token = &s->tokens[s->count];
    *index_out = s->count++;
    token->cls = cls;
    token->size = size;
    token->next = s->count; /* an array's grows with its items */
    token->pad_ = 0;
    token->as.u = value;
    return STOA_OK;
}

static inline int push_uint(sink *s, uint64_t value, uint32_t *index_out)
{
    return push(s, STOA_TOKEN_UINT, 0, value, index_out);
}

static inline int push_int(sink *s, int64_t value, uint32_t *index_out)
{
    return push(s, value < 0 ? STOA_TOKEN_INT : STOA_TOKEN_UINT, 0, (uint64_t)value, index_out);
}

static inline int push_bytes(sink *s, stoa_token_class cls, const char *base, const char *at, uint32_t size,
                             uint32_t *index_out)
{
    int ret = push(s, cls, size, 0, index_out);
    if (ret == STOA_OK) { s->tokens[*index_out].as.bytes = size ? at : base; }
    return ret;
}

/* Each element takes a byte at least, so an array that promises more than what is left is refused at once. */
static inline int push_array(sink *s, size_t count, size_t left_bytes, uint32_t *index_out)
{
    if (count > left_bytes) { return STOA_E_MALFORMED; }
    return push(s, STOA_TOKEN_ARRAY, (uint32_t)count, 0, index_out);
}

static inline int close_item(sink *s, const uint32_t *array)
{
    s->tokens[*array].next = s->count;
    return STOA_OK;
}

/* The template calls on_... with its own local names: p is at the last byte of what it has read, pe behind
 * the input. */
#define on_root(s)                      0
#define on_nil(s, out)                  push((s), STOA_TOKEN_NIL, 0, 0, (out))
#define on_true(s, out)                 push_uint((s), 1, (out))
#define on_false(s, out)                push_uint((s), 0, (out))
#define on_uint8(s, value, out)         push_uint((s), (value), (out))
#define on_uint16(s, value, out)        push_uint((s), (value), (out))
#define on_uint32(s, value, out)        push_uint((s), (value), (out))
#define on_uint64(s, value, out)        push_uint((s), (value), (out))
#define on_int8(s, value, out)          push_int((s), (value), (out))
#define on_int16(s, value, out)         push_int((s), (value), (out))
#define on_int32(s, value, out)         push_int((s), (value), (out))
#define on_int64(s, value, out)         push_int((s), (value), (out))
#define on_str(s, base, at, size, out)  push_bytes((s), STOA_TOKEN_TEXT, (base), (at), (size), (out))
#define on_bin(s, base, at, size, out)  push_bytes((s), STOA_TOKEN_BYTES, (base), (at), (size), (out))
#define on_array(s, count, out)         push_array((s), (count), (size_t)(pe - p) - 1, (out))
#define on_array_item(s, array, item)   close_item((s), (array))
#define on_float(s, value, out)         refuse_value((s), (out))
#define on_double(s, value, out)        refuse_value((s), (out))
#define on_ext(s, base, at, size, out)  refuse_value((s), (out))
#define on_map(s, count, out)           refuse_value((s), (out))
#define on_map_item(s, map, key, value) refuse_value((s), (map))

static inline int refuse_value(const sink *s, const uint32_t *index)
{
    (void)s, (void)index;
    return STOA_E_MALFORMED;
}

#define MSGPACK_EMBED_STACK_SIZE        16 /* nested arrays */
#define MSGPACK_UNPACK_PARSE_ERROR      STOA_E_MALFORMED
#define MSGPACK_UNPACK_NOMEM_ERROR      STOA_E_MALFORMED
#define msgpack_unpack_struct(name)     struct unpack##name
#define msgpack_unpack_func(type, name) static inline type unpack##name
#define msgpack_unpack_callback(name)   on##name
#define msgpack_unpack_object           uint32_t
#define msgpack_unpack_user             sink
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wconversion"
#pragma GCC diagnostic ignored "-Wsign-conversion"
#pragma GCC diagnostic ignored "-Wcast-qual"
#pragma GCC diagnostic ignored "-Wpedantic"
#pragma GCC diagnostic ignored "-Wunused-function"
#include <msgpack/unpack_define.h>

#include <msgpack/unpack_template.h>
#pragma GCC diagnostic pop

stoa_err stoa_tokenize(const void *bytes, size_t size_bytes, stoa_token *tokens, uint32_t tokens_max,
                       uint32_t *count_out, size_t *used_bytes_out)
{
    struct unpack_context context;
    size_t used_bytes = 0;
    unpack_init(&context);
    context.user = (sink){.tokens = tokens, .max = tokens_max};

    int ret = unpack_execute(&context, bytes, size_bytes, &used_bytes);
    if (ret < 0) { return STOA_FAIL((stoa_err)ret, "msgpack, byte %zu of %zu", used_bytes, size_bytes); }
    if (ret == 0) { return STOA_FAIL(STOA_E_MALFORMED, "msgpack, cut short after %zu bytes", size_bytes); }
    if (!used_bytes_out && used_bytes != size_bytes) {
        return STOA_FAIL(STOA_E_MALFORMED, "msgpack, %zu bytes behind the value", size_bytes - used_bytes);
    }
    *count_out = context.user.count;
    if (used_bytes_out) { *used_bytes_out = used_bytes; }
    return STOA_OK;
}

/* --- tokens to payloads. A decoder returns the token behind its value, or NULL with r->err set. */

typedef struct reader {
    const stoa_token *end;
    stoa_err err;
} reader;

typedef const stoa_token *decode_function(reader *r, const stoa_type *type, const stoa_token *at,
                                          uint8_t *out);
static decode_function decode_value;

static const stoa_token *refuse(reader *r, stoa_err err, const stoa_type *type, const char *why)
{
    r->err = STOA_FAIL(err, "%s: %s", type->name, why);
    return NULL;
}

/* What it may be stands behind why it is not. */
static const stoa_token *refuse_number(reader *r, stoa_err err, const stoa_type *type, const char *why)
{
    uint64_t most = UINT64_MAX >> (64 - 8 * type->size_bytes);
    if (type->cls == STOA_CLASS_UINT) {
        r->err = STOA_FAIL(err, "%s: %s; 0 to %" PRIu64, type->name, why, most);
    } else {
        r->err = STOA_FAIL(err, "%s: %s; -%" PRIu64 " to %" PRIu64, type->name, why, most / 2 + 1, most / 2);
    }
    return NULL;
}

static const stoa_token *refuse_long(reader *r, const stoa_type *type, uint32_t size, const char *of)
{
    r->err = STOA_FAIL(STOA_E_TOO_LARGE, "%s: %" PRIu32 " %s; at most %" PRIu32, type->name, size, of, type->limit);
    return NULL;
}

static const stoa_token *refuse_choice(reader *r, const stoa_type *type)
{
    char values[192];
    stoa_buf out = STOA_BUF_FIXED(values);
    for (uint32_t i = 0; i < type->limit; i++) { stoa_buf_printf(&out, "%s%" PRIu32 " %s", i ? ", " : "", i, type->values[i]); }
    r->err = STOA_FAIL(STOA_E_INVALID, "%s: not one of its values: %s", type->name, values);
    return NULL;
}

static const stoa_token *decode_none(reader *r, const stoa_type *type, const stoa_token *at, uint8_t *out)
{
    (void)out;
    if (at->cls != STOA_TOKEN_NIL) { return refuse(r, STOA_E_INVALID, type, "not nil"); }
    return at + 1;
}

static const stoa_token *decode_uint(reader *r, const stoa_type *type, const stoa_token *at, uint8_t *out)
{
    if (at->cls == STOA_TOKEN_INT) { return refuse_number(r, STOA_E_RANGE, type, "negative"); }
    if (at->cls != STOA_TOKEN_UINT) { return refuse_number(r, STOA_E_INVALID, type, "not an integer"); }
    if (at->as.u > UINT64_MAX >> (64 - 8 * type->size_bytes)) {
        return refuse_number(r, STOA_E_RANGE, type, "too large");
    }
    stoa_store_uint(out, type->size_bytes, at->as.u);
    return at + 1;
}

static const stoa_token *decode_int(reader *r, const stoa_type *type, const stoa_token *at, uint8_t *out)
{
    if (at->cls != STOA_TOKEN_INT && at->cls != STOA_TOKEN_UINT) {
        return refuse_number(r, STOA_E_INVALID, type, "not an integer");
    }
    int64_t value = stoa_sign_extend(at->as.u, type->size_bytes);
    if ((uint64_t)value != at->as.u || (value < 0) != (at->cls == STOA_TOKEN_INT)) {
        return refuse_number(r, STOA_E_RANGE, type, "too large");
    }
    stoa_store_uint(out, type->size_bytes, at->as.u);
    return at + 1;
}

static const stoa_token *decode_enum(reader *r, const stoa_type *type, const stoa_token *at, uint8_t *out)
{
    if (at->cls != STOA_TOKEN_UINT || at->as.u >= type->limit) {
        return refuse_choice(r, type);
    }
    *out = (uint8_t)at->as.u;
    return at + 1;
}

static const stoa_token *decode_decimal(reader *r, const stoa_type *type, const stoa_token *at, uint8_t *out)
{
    stoa_decimal value;
    if (at->cls != STOA_TOKEN_TEXT) { return refuse(r, STOA_E_INVALID, type, "not a decimal as text"); }
    stoa_err err = stoa_decimal_parse(at->as.bytes, at->size, &value);
    if (err == STOA_E_MALFORMED) { return refuse(r, STOA_E_INVALID, type, "not a decimal"); }
    if (err) { return refuse(r, err, type, "does not fit in 11 digits and 8 decimals"); }
    stoa_store_uint(out, type->size_bytes, (uint64_t)value);
    return at + 1;
}

static const stoa_token *decode_text(reader *r, const stoa_type *type, const stoa_token *at, uint8_t *out)
{
    if (at->cls != STOA_TOKEN_TEXT) { return refuse(r, STOA_E_INVALID, type, "not text"); }
    if (at->size > type->limit) { return refuse_long(r, type, at->size, "bytes"); }
    if (!stoa_wire_utf8(at->as.bytes, at->size)) { return refuse(r, STOA_E_INVALID, type, "not UTF-8"); }
    stoa_store_uint(out, sizeof(uint16_t), at->size);
    memcpy(out + offsetof(stoa_text6, at), at->as.bytes, at->size);
    return at + 1;
}

static const stoa_token *decode_bytes(reader *r, const stoa_type *type, const stoa_token *at, uint8_t *out)
{
    if (at->cls != STOA_TOKEN_BYTES) { return refuse(r, STOA_E_INVALID, type, "not bytes"); }
    if (at->size > type->limit) { return refuse_long(r, type, at->size, "bytes"); }
    stoa_store_uint(out + offsetof(stoa_list_head, count), sizeof(uint32_t), at->size);
    if (at->size) { memcpy(out + STOA_LIST_AT, at->as.bytes, at->size); }
    return at + 1;
}

static const stoa_token *decode_list(reader *r, const stoa_type *type, const stoa_token *at, uint8_t *out)
{
    if (at->cls != STOA_TOKEN_ARRAY) { return refuse(r, STOA_E_INVALID, type, "not an array"); }
    if (at->size > type->limit) { return refuse_long(r, type, at->size, "elements"); }
    uint32_t count = at->size;
    stoa_store_uint(out + offsetof(stoa_list_head, count), sizeof count, count);
    at++;
    for (uint32_t i = 0; i < count; i++) {
        at = decode_value(r, type->element, at, out + STOA_LIST_AT + (size_t)i * type->element->size_bytes);
        if (!at) {
            (void)STOA_PASS(r->err, "%s[%u]", type->name, i);
            return NULL;
        }
    }
    return at;
}

/* Step over values that a newer writer added. */
static const stoa_token *skip(reader *r, const stoa_type *type, const stoa_token *at, uint64_t values)
{
    for (; values > 0; values--, at++) {
        if (at == r->end) { return refuse(r, STOA_E_INVALID, type, "ends too early"); }
        if (at->cls == STOA_TOKEN_ARRAY) { values += at->size; }
    }
    return at;
}

static const stoa_token *decode_record(reader *r, const stoa_type *type, const stoa_token *at, uint8_t *out)
{
    if (at->cls != STOA_TOKEN_ARRAY) { return refuse(r, STOA_E_INVALID, type, "not an array of fields"); }
    uint32_t known = stoa_wire_fields(type), sent = at->size;
    at++;
    for (uint32_t i = 0; i < known && i < sent; i++) {
        const stoa_field *field = &type->fields[i];
        at = decode_value(r, field->type, at, out + field->offset);
        if (!at) {
            (void)STOA_PASS(r->err, "%s.%s", type->name, field->name);
            return NULL;
        }
    }
    return sent > known ? skip(r, type, at, sent - known) : at;
}

static const stoa_token *decode_value(reader *r, const stoa_type *type, const stoa_token *at, uint8_t *out)
{
    static decode_function *const decode[STOA_CLASS_COUNT] = {
        [STOA_CLASS_NONE] = decode_none,       [STOA_CLASS_UINT] = decode_uint,
        [STOA_CLASS_INT] = decode_int,         [STOA_CLASS_ENUM] = decode_enum,
        [STOA_CLASS_TEXT] = decode_text,       [STOA_CLASS_LIST] = decode_list,
        [STOA_CLASS_DECIMAL] = decode_decimal, [STOA_CLASS_RECORD] = decode_record,
        [STOA_CLASS_BYTES] = decode_bytes,
    };
    if (at == r->end) { return refuse(r, STOA_E_INVALID, type, "ends too early"); }
    return decode[type->cls](r, type, at, out);
}

stoa_err stoa_decode_tokens(const stoa_type *type, const stoa_token *tokens, uint32_t count,
                            void *payload_out)
{
    reader r = {.end = tokens + count};
    memset(payload_out, 0, type->size_bytes);
    return decode_value(&r, type, tokens, payload_out) ? STOA_OK : r.err;
}

stoa_err stoa_decode(const stoa_type *type, const void *bytes, size_t size_bytes, void *payload_out,
                     size_t *used_bytes_out)
{
    static _Thread_local stoa_token tokens[STOA_WIRE_TOKENS_MAX];
    uint32_t count;
    size_t used_bytes;
    stoa_err err = stoa_tokenize(bytes, size_bytes, tokens, STOA_WIRE_TOKENS_MAX, &count,
                                 used_bytes_out ? &used_bytes : NULL);
    if (err) {
        memset(payload_out, 0, type->size_bytes);
        return err;
    }
    err = stoa_decode_tokens(type, tokens, count, payload_out);
    if (!err && used_bytes_out) { *used_bytes_out = used_bytes; }
    return err;
}
