/* json.h - reading JSON that others wrote: a C face of simdjson (DOM), for venue messages and files.
 *
 * Numbers stay exact: integers as int64/uint64, decimals only from strings (venues send them so). A number
 * with a fraction or an exponent is well-formed, but no function here reads it, because it would have passed
 * through a double. Integers beyond uint64 make the document MALFORMED, as do more than 1024 levels and text
 * that is not UTF-8. A parser keeps its buffers and allocates only when a document is larger than any before.
 * A value is valid until the parser's next parse. One thread per parser.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef STOA_BASE_JSON_H
#define STOA_BASE_JSON_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/decimal.h"
#include "base/error.h"

typedef struct stoa_json_parser stoa_json_parser;
/* One value of a document; opaque, copied freely. */
typedef struct stoa_json {
    const void *document;
    size_t index;
} stoa_json;

/* A parser for documents of up to limit_bytes (below 4 GiB). Allocates little. Errors: INVALID (limit),
 * NOMEM. */
stoa_err stoa_json_parser_new(size_t limit_bytes, stoa_json_parser **out);
/* NULL is fine. */
void stoa_json_parser_free(stoa_json_parser *parser);

/* Parse size bytes (copied), which hold one document. Errors: MALFORMED, TOO_LARGE, NOMEM. */
stoa_err stoa_json_parse(stoa_json_parser *parser, const char *bytes, size_t size_bytes, stoa_json *root_out);

/* The first member of that name; keys are compared after unescaping. Errors: NOT_FOUND, INVALID (not an
 * object). */
stoa_err stoa_json_get(stoa_json object, const char *key, stoa_json *out);
/* Errors: INVALID when the value is of another type, RANGE. Texts are UTF-8, point into the parser, may hold
 * NULs and are not NUL-terminated. */
stoa_err stoa_json_text(stoa_json value, const char **text_out, size_t *size_out);
stoa_err stoa_json_int(stoa_json value, int64_t *out);
stoa_err stoa_json_uint(stoa_json value, uint64_t *out);
stoa_err stoa_json_bool(stoa_json value, bool *out);
/* A decimal given as a string. Errors: INVALID when it is no string, else as stoa_decimal_parse. */
stoa_err stoa_json_decimal(stoa_json value, stoa_decimal *out);
bool stoa_json_is_array(stoa_json value);
bool stoa_json_is_object(stoa_json value);
bool stoa_json_is_text(stoa_json value);
bool stoa_json_is_null(stoa_json value);

/* Walk an array:
 *     stoa_json_iter it;
 *     for (err = stoa_json_first(array, &it); !err && it.more; stoa_json_next(&it)) use it.value */
typedef struct stoa_json_iter {
    stoa_json value;
    stoa_json at_, end_; /* the implementation's */
    bool more;
} stoa_json_iter;
/* Errors: INVALID (not an array). */
stoa_err stoa_json_first(stoa_json array, stoa_json_iter *out);
void stoa_json_next(stoa_json_iter *iter);

/* Walk an object in the order of the document, in the same way. */
typedef struct stoa_json_members {
    const char *key; /* NUL-terminated; a key may hold NULs itself: key_bytes counts */
    size_t key_bytes;
    stoa_json value;
    stoa_json at_, end_; /* the implementation's */
    bool more;
} stoa_json_members;
/* Errors: INVALID (not an object). */
stoa_err stoa_json_first_member(stoa_json object, stoa_json_members *out);
void stoa_json_next_member(stoa_json_members *members);

#endif
