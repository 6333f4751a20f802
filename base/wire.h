/* wire.h - msgpack, without allocation: a writer into a fixed buffer, a tokenizer, and the codec of base/table.h.
 *
 * Encoding and decoding are msgpack-c's own templates with our callbacks, so nothing here calls malloc.
 * Numbers take msgpack's shortest form. A payload is an array of its fields; see table.h for the rules of evolution.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef STOA_BASE_WIRE_H
#define STOA_BASE_WIRE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/api.h"
#include "base/buf.h"
#include "base/error.h"
#include "base/table.h"

STOA_API_BEGIN

/* Bytes are appended at used_bytes; what does not fit sets cut and is dropped. Check cut once, at the end. */
typedef struct stoa_writer {
    uint8_t *at;
    size_t used_bytes, cap_bytes;
    bool cut;
} stoa_writer;

void stoa_write_nil(stoa_writer *w);
void stoa_write_uint(stoa_writer *w, uint64_t value);
void stoa_write_int(stoa_writer *w, int64_t value);
void stoa_write_text(stoa_writer *w, const char *bytes, size_t size_bytes);
void stoa_write_bytes(stoa_writer *w, const void *bytes, size_t size_bytes);
void stoa_write_array(stoa_writer *w, uint32_t count);
/* Bytes that already are msgpack. */
void stoa_write_raw(stoa_writer *w, const void *bytes, size_t size_bytes);

typedef enum stoa_token_class {
    STOA_TOKEN_NIL,
    STOA_TOKEN_UINT,
    STOA_TOKEN_INT, /* negative */
    STOA_TOKEN_TEXT,
    STOA_TOKEN_BYTES,
    STOA_TOKEN_ARRAY, /* its elements follow */
} stoa_token_class;

/* Booleans read as UINT 0 or 1. Maps, floats and extensions are MALFORMED: nothing of ours writes them. */
typedef struct stoa_token {
    uint32_t cls;  /* stoa_token_class */
    uint32_t size; /* TEXT, BYTES: bytes; ARRAY: elements */
    uint32_t next; /* index of the token behind this value */
    uint32_t pad_;
    union {
        uint64_t u;
        int64_t i;
        const char *bytes; /* into the input */
    } as;
} stoa_token;

/* Split the first msgpack value of bytes into tokens. Errors: MALFORMED (also: cut short, nested deeper than 16),
 * TOO_LARGE (more than tokens_max). *used_bytes_out: where the next value starts (may be NULL: then the value must fill
 * bytes exactly). Core: any, never allocates. */
stoa_err stoa_tokenize(const void *bytes, size_t size_bytes, stoa_token *tokens, uint32_t tokens_max,
                       uint32_t *count_out, size_t *used_bytes_out);

/* Decode one value of type from tokens[0..]. payload is type->size_bytes, overwritten even on error (then partly).
 * Errors, with the field's name in the trail: INVALID (wrong msgpack type, enum value, not UTF-8), RANGE, PRECISION,
 * TOO_LARGE (text, list). Core: any. */
stoa_err stoa_decode_tokens(const stoa_type *type, const stoa_token *tokens, uint32_t count, void *payload_out);

enum { STOA_WIRE_TOKENS_MAX = 8192 };
/* Tokenize with a per-thread scratch of STOA_WIRE_TOKENS_MAX tokens, then decode. */
stoa_err stoa_decode(const stoa_type *type, const void *bytes, size_t size_bytes, void *payload_out,
                     size_t *used_bytes_out);

/* --- the short cut for bytes that our own writer wrote: false where they are anything else, whatever it is, and then *at and what
 * was written are of no use; stoa_decode, or stoa_tokenize, reads them or says what is wrong. Where these are true, those give
 * the same. Core: any, never allocates. */
bool stoa_plain_value(const stoa_type *type, const uint8_t **at, const uint8_t *end, void *payload_out);
bool stoa_plain_uint(const uint8_t **at, const uint8_t *end, uint64_t *out);
bool stoa_plain_array(const uint8_t **at, const uint8_t *end, uint32_t *count_out);
bool stoa_plain_skip(const uint8_t **at, const uint8_t *end); /* one value, whatever it is; texts are not looked at */

/* Append payload, as a value of type. Errors: TOO_LARGE (w->cut). Core: any. */
stoa_err stoa_encode(const stoa_type *type, const void *payload, stoa_writer *w);

/* Print payload as JSON: records as objects, enums by name, decimals as strings. */
void stoa_print_json(const stoa_type *type, const void *payload, stoa_buf *out);

/* Call visit(context, id) for each non-zero indexed field (stoa_id) of the record, those of the records and lists in it
 * included, in table order. */
void stoa_each_index(const stoa_type *type, const void *payload, void (*visit)(void *context, uint64_t id),
                     void *context);

STOA_API_END

#endif
