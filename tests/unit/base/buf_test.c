/* buf_test.c - text into bounded and growing buffers: what fits is kept, what does not is told, JSON is
 * always JSON.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "base/buf.h"

static void a_fixed_buffer_keeps_what_fits(void **state)
{
    (void)state;
    char storage[8];
    stoa_buf buf = STOA_BUF_FIXED(storage);
    stoa_buf_puts(&buf, "abc");
    stoa_buf_printf(&buf, "%d", 4567);
    assert_string_equal(buf.at, "abc4567");
    assert_int_equal(buf.used_bytes, 7);
    assert_false(buf.cut);
    stoa_buf_puts(&buf, "");
    assert_false(buf.cut);
    stoa_buf_puts(&buf, "x");
    assert_true(buf.cut);
    assert_string_equal(buf.at, "abc4567");
}

static void a_fixed_buffer_cuts_and_says_so(void **state)
{
    (void)state;
    char storage[8];
    stoa_buf buf = STOA_BUF_FIXED(storage);
    stoa_buf_printf(&buf, "%s-%d", "abcdef", 123);
    assert_true(buf.cut);
    assert_string_equal(buf.at, "abcdef-");
    assert_int_equal(buf.used_bytes, 7);

    stoa_buf_clear(&buf);
    assert_false(buf.cut);
    assert_string_equal(buf.at, "");
    stoa_buf_put(&buf, "0123456789", 10);
    assert_true(buf.cut);
    assert_string_equal(buf.at, "0123456");
    stoa_buf_deinit(&buf); /* not ours to free */
    assert_string_equal(storage, "0123456");
}

static void a_buffer_without_room_takes_nothing(void **state)
{
    (void)state;
    stoa_buf buf = {0};
    stoa_buf_puts(&buf, "a");
    stoa_buf_printf(&buf, "%d", 1);
    stoa_buf_clear(&buf);
    stoa_buf_json_string(&buf, "a", 1);
    assert_true(buf.cut);
    assert_int_equal(buf.used_bytes, 0);
    stoa_buf_deinit(NULL);
}

static void a_growing_buffer_takes_everything(void **state)
{
    (void)state;
    stoa_buf buf = STOA_BUF_GROWING;
    for (int i = 0; i < 5000; i++) {
        stoa_buf_printf(&buf, "%04d.", i);
    }
    assert_false(buf.cut);
    assert_int_equal(buf.used_bytes, 25000);
    assert_int_equal(strlen(buf.at), 25000);
    assert_memory_equal(buf.at + 5 * 1234, "1234.", 5);
    assert_memory_equal(buf.at + 5 * 4999, "4999.", 5);
    stoa_buf_deinit(&buf);
    assert_null(buf.at);

    /* every size around the step in which a buffer of 256 bytes grows */
    for (int size = 250; size < 260; size++) {
        stoa_buf_puts(&buf, "a");
        stoa_buf_printf(&buf, "%0*d", size, 7);
        assert_int_equal(buf.used_bytes, size + 1);
        assert_int_equal(strlen(buf.at), size + 1);
        assert_int_equal(buf.at[size], '7');
        stoa_buf_deinit(&buf);
    }
}

static void check_json(const char *bytes, size_t size_bytes, const char *literal)
{
    char storage[128];
    stoa_buf buf = STOA_BUF_FIXED(storage);
    stoa_buf_json_string(&buf, bytes, size_bytes);
    assert_string_equal(buf.at, literal);
}

static void json_strings_escape_what_json_forbids(void **state)
{
    (void)state;
    check_json("", 0, "\"\"");
    check_json("plain", 5, "\"plain\"");
    check_json("a\"b\\c/", 6, "\"a\\\"b\\\\c/\"");
    check_json("\b\t\n\f\r", 5, "\"\\b\\t\\n\\f\\r\"");
    check_json("\0\x01\x1f\x7f", 4, "\"\\u0000\\u0001\\u001f\x7f\"");
    check_json("Gr\xC3\xBC\xC3\x9F \xE2\x82\xAC \xF0\x9F\x98\x80", 15,
               "\"Gr\xC3\xBC\xC3\x9F \xE2\x82\xAC \xF0\x9F\x98\x80\"");
}

#define BAD "\xEF\xBF\xBD"
static void json_strings_replace_what_is_not_utf8(void **state)
{
    (void)state;
    check_json("a\xFFz", 3, "\"a" BAD "z\"");
    check_json("\xC3", 1, "\"" BAD "\"");                         /* cut short */
    check_json("\xE2\x82", 2, "\"" BAD BAD "\"");                 /* cut short */
    check_json("\xC0\xAF", 2, "\"" BAD BAD "\"");                 /* overlong */
    check_json("\xED\xA0\x80\"", 4, "\"" BAD BAD BAD "\\\"\"");   /* a surrogate */
    check_json("\xF4\x90\x80\x80", 4, "\"" BAD BAD BAD BAD "\""); /* beyond U+10FFFF */
    check_json("\xC3\"", 2, "\"" BAD "\\\"\"");                   /* the quote is not swallowed */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_fixed_buffer_keeps_what_fits),
        cmocka_unit_test(a_fixed_buffer_cuts_and_says_so),
        cmocka_unit_test(a_buffer_without_room_takes_nothing),
        cmocka_unit_test(a_growing_buffer_takes_everything),
        cmocka_unit_test(json_strings_escape_what_json_forbids),
        cmocka_unit_test(json_strings_replace_what_is_not_utf8),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
