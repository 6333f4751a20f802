/* error_test.c - every error has its own code, a name, a text and a remedy; the trail says what happened and
 * never grows.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdbool.h>
#include <string.h>

#include "base/error.h"

static bool is_name(const char *name)
{
    return *name && strspn(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZ_") == strlen(name);
}

static void every_error_is_complete_and_unique(void **state)
{
    (void)state;
    unsigned count = 0;
    for (; stoa_err_at(count) != STOA_OK; count++) {
        stoa_err err = stoa_err_at(count);
        assert_true(err < 0);
        assert_true(is_name(stoa_err_name(err)));
        assert_true(strlen(stoa_err_text(err)) > 0);
        assert_true(strlen(stoa_err_remedy(err)) > 0);
        for (unsigned other = 0; other < count; other++) {
            assert_int_not_equal(stoa_err_at(other), err);
            assert_string_not_equal(stoa_err_name(stoa_err_at(other)), stoa_err_name(err));
        }
    }
    assert_true(count >= 28);
    assert_int_equal(stoa_err_at(UINT32_MAX), STOA_OK);
}

/* Codes are kept in journals and spoken by clients: these never change. */
static void published_codes_stay(void **state)
{
    (void)state;
    static const struct {
        int code;
        const char *name;
    } published[] = {
        {-1, "INVALID"},         {-2, "NOMEM"},       {-3, "FULL"},     {-4, "CLOSED"},
        {-5, "CORRUPT"},         {-6, "DENIED"},      {-7, "TIMEOUT"},  {-8, "NOT_FOUND"},
        {-9, "EXISTS"},          {-10, "STALE"},      {-11, "VERSION"}, {-12, "TOO_LARGE"},
        {-13, "MALFORMED"},      {-14, "IO"},         {-15, "RANGE"},   {-16, "PRECISION"},
        {-17, "UNKNOWN_SYMBOL"}, {-18, "DUPLICATE"},  {-19, "AGAIN"},   {-20, "CANCELLED"},
        {-21, "UNAVAILABLE"},    {-22, "GAP"},        {-23, "FAILED"},  {-24, "UNSUPPORTED"},
        {-25, "FORKED"},         {-26, "NO_HANDLER"},
        {-27, "GONE"},           {-28, "SEALED"},
    };
    for (size_t i = 0; i < sizeof published / sizeof published[0]; i++) {
        assert_string_equal(stoa_err_name((stoa_err)published[i].code), published[i].name);
    }
}

static void codes_outside_the_table_have_names_too(void **state)
{
    (void)state;
    assert_string_equal(stoa_err_name(STOA_OK), "OK");
    assert_string_equal(stoa_err_name((stoa_err)-9999), "UNKNOWN");
    assert_string_equal(stoa_err_name((stoa_err)1), "UNKNOWN");
    assert_true(strlen(stoa_err_text((stoa_err)-9999)) > 0);
    assert_true(strlen(stoa_err_remedy((stoa_err)-9999)) > 0);
}

static void the_trail_tells_the_story_innermost_first(void **state)
{
    (void)state;
    assert_int_equal(STOA_FAIL(STOA_E_IO, "left over"), STOA_E_IO);
    assert_int_equal(STOA_FAIL(STOA_E_NOT_FOUND, "no key %d", 7), STOA_E_NOT_FOUND);
    assert_int_equal(STOA_PASS(STOA_E_INVALID, "reading %s", "settings"), STOA_E_INVALID);
    const char *trail = stoa_err_trail(), *inner = strstr(trail, "no key 7"),
               *outer = strstr(trail, "reading settings");
    assert_non_null(inner);
    assert_non_null(outer);
    assert_true(inner < outer);
    assert_null(strstr(trail, "left over"));
    assert_memory_equal(trail, "NOT_FOUND ", 10);
    assert_non_null(strstr(trail, "\nINVALID "));
    assert_non_null(strstr(trail, " tests/unit/base/error_test.c:"));
}

static void a_long_trail_is_cut(void **state)
{
    (void)state;
    (void)STOA_FAIL(STOA_E_IO, "begin");
    for (int i = 0; i < 1000; i++) {
        (void)STOA_PASS(STOA_E_IO, "%d: %0200d", i, i);
    }
    assert_true(strlen(stoa_err_trail()) < 4096);
    assert_non_null(strstr(stoa_err_trail(), "begin"));
    (void)STOA_FAIL(STOA_E_IO, "anew");
    assert_null(strstr(stoa_err_trail(), "begin"));
    assert_non_null(strstr(stoa_err_trail(), "anew"));
}

static void divide(void *context)
{
    int *by = context;
    STOA_ASSERT(*by != 0);
    *by = 12 / *by;
}

static void a_broken_assertion_can_be_caught(void **state)
{
    (void)state;
    for (int i = 0; i < 3; i++) {
        int by = 3;
        assert_null(stoa_panic_caught(divide, &by));
        assert_int_equal(by, 4);
        by = 0;
        const char *why = stoa_panic_caught(divide, &by);
        assert_non_null(why);
        assert_non_null(strstr(why, "error_test.c:"));
        assert_non_null(strstr(why, "*by != 0"));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_error_is_complete_and_unique),
        cmocka_unit_test(published_codes_stay),
        cmocka_unit_test(codes_outside_the_table_have_names_too),
        cmocka_unit_test(the_trail_tells_the_story_innermost_first),
        cmocka_unit_test(a_long_trail_is_cut),
        cmocka_unit_test(a_broken_assertion_can_be_caught),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
