/* wire_fuzz.c - any bytes: tokens must be coherent, and whatever decodes must encode and decode to the same
 * again.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "base/wire.h"
#include "tests/unit/base/every_class.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size_bytes);

/* Every token lies in the input, every array ends where its last element does. */
static void check_tokens(const uint8_t *bytes, size_t size_bytes)
{
    static stoa_token tokens[512];
    uint32_t count;
    size_t used_bytes;
    if (stoa_tokenize(bytes, size_bytes, tokens, 512, &count, &used_bytes)) { return; }
    STOA_ASSERT(used_bytes > 0 && used_bytes <= size_bytes);
    STOA_ASSERT(count > 0 && count <= used_bytes && tokens[0].next == count);
    for (uint32_t i = 0; i < count; i++) {
        const stoa_token *token = &tokens[i];
        if (token->cls == STOA_TOKEN_ARRAY) {
            uint32_t element = i + 1;
            for (uint32_t n = 0; n < token->size; n++) {
                element = tokens[element].next;
            }
            STOA_ASSERT(element == token->next);
        } else {
            STOA_ASSERT(token->next == i + 1);
        }
        if (token->cls == STOA_TOKEN_TEXT || token->cls == STOA_TOKEN_BYTES) {
            const uint8_t *at = (const uint8_t *)token->as.bytes;
            STOA_ASSERT(at >= bytes && at + token->size <= bytes + size_bytes);
        }
    }
}

static void count_id(void *context, uint64_t id)
{
    STOA_ASSERT(id != 0);
    ++*(unsigned *)context;
}

/* What the short cut reads, the judge reads too, and alike; a value of our own it reads. */
static void check_plain(const stoa_type *type, const uint8_t *bytes, size_t size_bytes)
{
    static sample_all plain, judged;
    static uint8_t encoded[8192];
    const uint8_t *at = bytes;
    size_t used = 0;
    bool short_cut = stoa_plain_value(type, &at, bytes + size_bytes, &plain);
    stoa_err err = stoa_decode(type, bytes, size_bytes, &judged, &used);
    if (short_cut) { STOA_ASSERT(!err && used == (size_t)(at - bytes) && memcmp(&plain, &judged, type->size_bytes) == 0); }
    if (err) { return; }
    stoa_writer w = {.at = encoded, .cap_bytes = sizeof encoded};
    STOA_ASSERT(stoa_encode(type, &judged, &w) == STOA_OK);
    at = encoded;
    STOA_ASSERT(stoa_plain_value(type, &at, encoded + w.used_bytes, &plain) && at == encoded + w.used_bytes);
    STOA_ASSERT(memcmp(&plain, &judged, type->size_bytes) == 0);
    at = encoded;
    STOA_ASSERT(stoa_plain_skip(&at, encoded + w.used_bytes) && at == encoded + w.used_bytes);
}

static void check_payload(const stoa_type *type, const uint8_t *bytes, size_t size_bytes)
{
    static sample_all payload, again;
    static uint8_t encoded[8192];
    char json[64];
    if (stoa_decode(type, bytes, size_bytes, &payload, NULL)) { return; }

    stoa_writer w = {.at = encoded, .cap_bytes = sizeof encoded};
    STOA_ASSERT(stoa_encode(type, &payload, &w) == STOA_OK);
    STOA_ASSERT(stoa_decode(type, encoded, w.used_bytes, &again, NULL) == STOA_OK);
    STOA_ASSERT(memcmp(&payload, &again, type->size_bytes) == 0);

    unsigned ids = 0;
    stoa_each_index(type, &payload, count_id, &ids);
    STOA_ASSERT(ids <= 4);
    stoa_print_json(type, &payload, &STOA_BUF_FIXED(json));
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size_bytes)
{
    check_tokens(bytes, size_bytes);
    for (uint32_t id = 1; id <= sample_table.row_count; id++) {
        check_payload(&sample_rows[id].payload, bytes, size_bytes);
        check_plain(&sample_rows[id].payload, bytes, size_bytes);
    }
    static const stoa_type *const pieces[] = {/* which are met sooner by themselves */
                                              &stoa_type_lines,        &stoa_type_stoa_text254,
                                              &stoa_type_stoa_decimal, &stoa_type_colour,
                                              &stoa_type_uint16_t,     &stoa_type_int32_t};
    for (size_t i = 0; i < sizeof pieces / sizeof pieces[0]; i++) {
        check_payload(pieces[i], bytes, size_bytes);
        check_plain(pieces[i], bytes, size_bytes);
    }
    return 0;
}
