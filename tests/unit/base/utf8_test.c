/* utf8_test.c - goal: exactly the well-formed sequences pass. Method: every code point encoded by the rule of
 * RFC 3629 must pass, every sequence of one to three bytes must be judged as by a second, plainer reading of
 * that rule.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "base/utf8.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

/* Encode without judging the code point; returns the length. */
static size_t encode(uint32_t point, char *out)
{
    static const uint8_t marks[] = {0, 0, 0xc0, 0xe0, 0xf0};
    size_t size_bytes = point < 0x80 ? 1 : point < 0x800 ? 2 : point < 0x10000 ? 3 : 4;
    for (size_t i = size_bytes; i-- > 1; point >>= 6) {
        out[i] = (char)(0x80 | (point & 0x3f));
    }
    out[0] = (char)(marks[size_bytes] | point);
    return size_bytes;
}

static void every_code_point_but_the_surrogates_passes(void **state)
{
    (void)state;
    char bytes[4];
    for (uint32_t point = 0; point < 0x110000; point++) {
        size_t size_bytes = encode(point, bytes);
        bool surrogate = point >= 0xd800 && point <= 0xdfff;
        if (stoa_utf8_prefix(bytes, size_bytes) != (surrogate ? 0 : size_bytes)) {
            fail_msg("U+%04X", point);
        }
        if (!surrogate && stoa_utf8_prefix(bytes, size_bytes - 1) != 0) {
            fail_msg("U+%04X cut short", point);
        }
    }
    assert_int_equal(stoa_utf8_prefix(bytes, encode(0x110000, bytes)), 0);
}

/* Whether bytes are exactly one code point: decode, then encode again and compare. */
static bool is_one_code_point(const uint8_t *bytes, size_t size_bytes)
{
    static const uint8_t masks[] = {0, 0x7f, 0x1f, 0x0f};
    uint32_t point = bytes[0] & masks[size_bytes];
    for (size_t i = 1; i < size_bytes; i++) {
        point = point << 6 | (bytes[i] & 0x3f);
    }
    char again[4];
    bool surrogate = point >= 0xd800 && point <= 0xdfff;
    return !surrogate && encode(point, again) == size_bytes && memcmp(again, bytes, size_bytes) == 0;
}

static void every_short_sequence_is_judged_by_the_rule(void **state)
{
    (void)state;
    for (uint32_t n = 0; n < UINT32_C(1) << 24; n++) {
        uint8_t bytes[] = {(uint8_t)(n >> 16), (uint8_t)(n >> 8), (uint8_t)n};
        size_t want = 0;
        for (size_t used = 0; used < sizeof bytes; used = want) {
            for (size_t k = 1; k <= sizeof bytes - used && want == used; k++) {
                if (is_one_code_point(bytes + used, k)) { want += k; }
            }
            if (want == used) { break; }
        }
        if (stoa_utf8_prefix((const char *)bytes, sizeof bytes) != want) { fail_msg("%06X", n); }
    }
}

static void the_prefix_ends_where_the_first_bad_byte_stands(void **state)
{
    (void)state;
    static const char text[] = "price \xe2\x82\xac 5 \xff more";
    assert_int_equal(stoa_utf8_prefix(text, sizeof text - 1), 12);
    assert_int_equal(stoa_utf8_prefix("", 0), 0);
    assert_int_equal(stoa_utf8_prefix("a\0b", 3), 3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_code_point_but_the_surrogates_passes),
        cmocka_unit_test(every_short_sequence_is_judged_by_the_rule),
        cmocka_unit_test(the_prefix_ends_where_the_first_bad_byte_stands),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
