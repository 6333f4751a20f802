/* decimal_test.c - decimals are exact or refused: parsing, printing and arithmetic at their limits and at
 * random.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/decimal.h"
#include "base/random.h"

__extension__ typedef __int128 int128;

enum { UNTOUCHED = 4242 };

static void check_parse(const char *text, stoa_err err, stoa_decimal value)
{
    stoa_decimal got = UNTOUCHED;
    stoa_err answer = stoa_decimal_parse(text, strlen(text), &got);
    if (answer != err || got != (err ? UNTOUCHED : value)) {
        fail_msg("\"%s\" is %s, %" PRId64, text, stoa_err_name(answer), got);
    }
}

static void text_is_parsed_exactly(void **state)
{
    (void)state;
    check_parse("0", STOA_OK, 0);
    check_parse("-0", STOA_OK, 0);
    check_parse("1", STOA_OK, STOA_DECIMAL_ONE);
    check_parse("1.5", STOA_OK, 150000000);
    check_parse("-1.5", STOA_OK, -150000000);
    check_parse("0.00000001", STOA_OK, 1);
    check_parse("-0.00000001", STOA_OK, -1);
    check_parse("007.10", STOA_OK, 710000000);
    check_parse("61685.99", STOA_OK, 6168599000000);
    check_parse("1.123456780000000000000000000", STOA_OK, 112345678);
    check_parse("000000000000000000000000000001", STOA_OK, STOA_DECIMAL_ONE);
    check_parse("92233720368.54775807", STOA_OK, INT64_MAX);
    check_parse("-92233720368.54775808", STOA_OK, INT64_MIN);
}

static void what_is_not_a_decimal_is_malformed(void **state)
{
    (void)state;
    static const char *const texts[] = {
        "",
        "-",
        ".",
        "-.",
        ".5",
        "5.",
        "-5.",
        "+1",
        "1e5",
        " 1",
        "1 ",
        "1,5",
        "1.2.3",
        "--1",
        "0x10",
        "nan",
        "inf",
        "1.5-",
        "/",
        ":",
        "1/2",
        "1:2",
        "\xC2\xB2",
        "1\n",
        "99999999999999999999999x",
        "0.000000001x",
    };
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        check_parse(texts[i], STOA_E_MALFORMED, 0);
    }
    stoa_decimal got = UNTOUCHED;
    assert_int_equal(stoa_decimal_parse("1\0", 2, &got), STOA_E_MALFORMED);
    assert_int_equal(got, UNTOUCHED);
}

static void lost_digits_and_overflow_are_told_apart(void **state)
{
    (void)state;
    check_parse("0.000000001", STOA_E_PRECISION, 0);
    check_parse("1.123456789", STOA_E_PRECISION, 0);
    check_parse("1.1234567800000001", STOA_E_PRECISION, 0);
    check_parse("92233720368.54775808", STOA_E_RANGE, 0);
    check_parse("-92233720368.54775809", STOA_E_RANGE, 0);
    check_parse("92233720369", STOA_E_RANGE, 0);
    check_parse("184467440737.09551616", STOA_E_RANGE, 0); /* 2^64 units: would wrap to 0 */
    check_parse("184467440738", STOA_E_RANGE, 0);
    check_parse("99999999999999999999999999999999999999", STOA_E_RANGE, 0);
    check_parse("99999999999999999999999999999.000000001", STOA_E_PRECISION, 0);
}

static void only_size_bytes_are_read(void **state)
{
    (void)state;
    stoa_decimal got;
    assert_int_equal(stoa_decimal_parse("12345", 3, &got), STOA_OK);
    assert_int_equal(got, 123 * STOA_DECIMAL_ONE);
}

static void check_print(stoa_decimal value, unsigned places_min, const char *text)
{
    char got[STOA_DECIMAL_TEXT_MAX];
    size_t size = stoa_decimal_print(value, places_min, got);
    assert_string_equal(got, text);
    assert_int_equal(size, strlen(text));
}

static void printing_keeps_as_many_places_as_it_needs(void **state)
{
    (void)state;
    check_print(0, 0, "0");
    check_print(0, 2, "0.00");
    check_print(1, 0, "0.00000001");
    check_print(-1, 0, "-0.00000001");
    check_print(150000000, 0, "1.5");
    check_print(150000000, 1, "1.5");
    check_print(150000000, 2, "1.50");
    check_print(-150000000, 8, "-1.50000000");
    check_print(100 * STOA_DECIMAL_ONE, 0, "100");
    check_print(10000000, 0, "0.1");
    check_print(INT64_MAX, 0, "92233720368.54775807");
    check_print(INT64_MIN, 8, "-92233720368.54775808");
}

static uint64_t seed_of_this_run(void)
{
    const char *given = getenv("STOA_TEST_SEED");
    uint64_t seed = given ? strtoull(given, NULL, 0) : (uint64_t)time(NULL);
    print_message("STOA_TEST_SEED=%" PRIu64 "\n", seed);
    return seed;
}

/* A random int64 of random magnitude, so that small numbers and the limits are met as often as the middle. */
static int64_t any_int64(stoa_random *random)
{
    uint64_t bits = stoa_random_next(random) >> stoa_random_below(random, 64);
    return stoa_random_chance(random, 500) ? (int64_t)bits : (int64_t)(0 - bits);
}

static void what_is_printed_parses_back(void **state)
{
    (void)state;
    stoa_random random;
    stoa_random_seed(&random, seed_of_this_run());
    for (int i = 0; i < 200000; i++) {
        stoa_decimal value = any_int64(&random), back;
        char text[STOA_DECIMAL_TEXT_MAX];
        size_t size = stoa_decimal_print(value, (unsigned)stoa_random_below(&random, 9), text);
        assert_int_equal(stoa_decimal_parse(text, size, &back), STOA_OK);
        assert_int_equal(back, value);
    }
}

static void check_muldiv(int64_t a, int64_t b, int64_t div, stoa_err err, int64_t value)
{
    int64_t got = UNTOUCHED;
    assert_int_equal(stoa_muldiv(a, b, div, &got), err);
    assert_int_equal(got, err ? UNTOUCHED : value);
}

static void products_are_exact_or_refused(void **state)
{
    (void)state;
    check_muldiv(6, 7, 2, STOA_OK, 21);
    check_muldiv(-6, 7, 2, STOA_OK, -21);
    check_muldiv(7, 7, 2, STOA_E_PRECISION, 0);
    check_muldiv(-7, 7, 2, STOA_E_PRECISION, 0);
    check_muldiv(INT64_MAX, INT64_MAX, INT64_MAX, STOA_OK, INT64_MAX);
    check_muldiv(INT64_MIN, INT64_MAX, INT64_MAX, STOA_OK, INT64_MIN);
    check_muldiv(INT64_MIN, INT64_MIN, INT64_MAX, STOA_E_RANGE, 0);
    check_muldiv(INT64_MAX, 2, 1, STOA_E_RANGE, 0);
    check_muldiv(INT64_MIN, -1, 1, STOA_E_RANGE, 0);
    check_muldiv(INT64_MIN, 1, 1, STOA_OK, INT64_MIN);
    check_muldiv(INT64_MAX, 3, 2, STOA_E_RANGE, 0);
    check_muldiv(INT64_MAX, 3, 4, STOA_E_PRECISION, 0);
    check_muldiv(6168599000000, 150000000, STOA_DECIMAL_ONE, STOA_OK, 9252898500000);
}

static void random_products_agree_with_wide_arithmetic(void **state)
{
    (void)state;
    stoa_random random;
    stoa_random_seed(&random, seed_of_this_run());
    for (int i = 0; i < 200000; i++) {
        int64_t a = any_int64(&random), b = any_int64(&random), div = any_int64(&random) & INT64_MAX,
                got = UNTOUCHED;
        div += div == 0;
        int128 product = (int128)a * b;
        stoa_err expected = product / div > INT64_MAX || product / div < INT64_MIN ? STOA_E_RANGE
                            : product % div != 0                                   ? STOA_E_PRECISION
                                                                                   : STOA_OK;
        assert_int_equal(stoa_muldiv(a, b, div, &got), expected);
        assert_true(expected ? got == UNTOUCHED : (int128)got * div == product);
    }
}

static void sums_do_not_wrap(void **state)
{
    (void)state;
    int64_t got = UNTOUCHED;
    assert_int_equal(stoa_add(INT64_MAX, 1, &got), STOA_E_RANGE);
    assert_int_equal(stoa_add(INT64_MIN, -1, &got), STOA_E_RANGE);
    assert_int_equal(stoa_sub(INT64_MIN, 1, &got), STOA_E_RANGE);
    assert_int_equal(stoa_sub(0, INT64_MIN, &got), STOA_E_RANGE);
    assert_int_equal(got, UNTOUCHED);
    assert_int_equal(stoa_add(INT64_MAX, INT64_MIN, &got), STOA_OK);
    assert_int_equal(got, -1);
    assert_int_equal(stoa_sub(-1, INT64_MIN, &got), STOA_OK);
    assert_int_equal(got, INT64_MAX);
}

static void a_price_is_a_whole_number_of_ticks(void **state)
{
    (void)state;
    int64_t got = UNTOUCHED;
    assert_int_equal(stoa_steps(6168599000000, 1000001, &got), STOA_E_PRECISION);
    assert_int_equal(got, UNTOUCHED);
    assert_int_equal(stoa_steps(6168599000000, 1000000, &got), STOA_OK);
    assert_int_equal(got, 6168599);
    assert_int_equal(stoa_steps(-300, 100, &got), STOA_OK);
    assert_int_equal(got, -3);
    assert_int_equal(stoa_steps(INT64_MIN, 1, &got), STOA_OK);
    assert_int_equal(got, INT64_MIN);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(text_is_parsed_exactly),
        cmocka_unit_test(what_is_not_a_decimal_is_malformed),
        cmocka_unit_test(lost_digits_and_overflow_are_told_apart),
        cmocka_unit_test(only_size_bytes_are_read),
        cmocka_unit_test(printing_keeps_as_many_places_as_it_needs),
        cmocka_unit_test(what_is_printed_parses_back),
        cmocka_unit_test(products_are_exact_or_refused),
        cmocka_unit_test(random_products_agree_with_wide_arithmetic),
        cmocka_unit_test(sums_do_not_wrap),
        cmocka_unit_test(a_price_is_a_whole_number_of_ticks),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
