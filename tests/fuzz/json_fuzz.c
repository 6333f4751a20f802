/* json_fuzz.c - any bytes: a parse that succeeds gives a document that can be walked, and every typed read of
 * every value either succeeds or names its error. A second parser with a limit of 16 bytes takes the same
 * input.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include <stddef.h>
#include <stdint.h>

#include "base/json.h"
#include "base/utf8.h"

enum { DEPTH_MAX = 64 };

static void read_every_way(stoa_json value)
{
    const char *text = NULL;
    size_t size_bytes = 0;
    int64_t i = 0;
    uint64_t u = 0;
    bool b = false;
    stoa_decimal d = 0;
    stoa_err as_text = stoa_json_text(value, &text, &size_bytes);
    stoa_err as_int = stoa_json_int(value, &i), as_uint = stoa_json_uint(value, &u);
    STOA_ASSERT((as_text == STOA_OK) == stoa_json_is_text(value));
    STOA_ASSERT(as_int || as_uint || (i >= 0 && (uint64_t)i == u));
    STOA_ASSERT(as_text == STOA_OK || stoa_json_decimal(value, &d) == STOA_E_INVALID);
    STOA_ASSERT(as_text != STOA_OK || stoa_json_bool(value, &b) == STOA_E_INVALID);
    STOA_ASSERT(as_text != STOA_OK || stoa_utf8_prefix(text, size_bytes) == size_bytes);
}

static void walk(stoa_json value, unsigned depth)
{
    static const char *const keys[] = {"a", "b", "data", "e", "s", "u", "\xc3\xa9", ""};
    stoa_json member;
    stoa_json_iter it;
    read_every_way(value);
    if (depth == DEPTH_MAX) { return; }
    for (unsigned k = 0; k < sizeof keys / sizeof keys[0]; k++) {
        stoa_err err = stoa_json_get(value, keys[k], &member);
        STOA_ASSERT((err == STOA_E_INVALID) == !stoa_json_is_object(value));
        if (err == STOA_OK) { walk(member, depth + 1); }
    }
    stoa_err err = stoa_json_first(value, &it);
    STOA_ASSERT((err == STOA_OK) == stoa_json_is_array(value));
    for (; err == STOA_OK && it.more; stoa_json_next(&it)) {
        walk(it.value, depth + 1);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static stoa_json_parser *parser, *small;
    if (!parser && (stoa_json_parser_new(1 << 20, &parser) || stoa_json_parser_new(16, &small))) { return 0; }
    stoa_json root;
    if (stoa_json_parse(small, (const char *)data, size, &root) == STOA_OK) { walk(root, 0); }
    if (stoa_json_parse(parser, (const char *)data, size, &root) == STOA_OK) { walk(root, 0); }
    return 0;
}
