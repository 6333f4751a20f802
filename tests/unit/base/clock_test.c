/* clock_test.c - the real clock moves forward, the virtual one only when told, and a wall time prints as ISO
 * 8601.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"

static void the_real_clock_never_goes_back(void **state)
{
    (void)state;
    uint64_t before = stoa_clock_real.now_ns(&stoa_clock_real);
    for (int i = 0; i < 1000; i++) {
        uint64_t now = stoa_clock_real.now_ns(&stoa_clock_real);
        assert_true(now >= before);
        before = now;
    }
    assert_true(stoa_clock_real.now_ns(&stoa_clock_real) > 0);
}

static void the_wall_clock_is_utc(void **state)
{
    (void)state;
    uint64_t before = STOA_S(time(NULL)), wall = stoa_clock_real.wall_ns(&stoa_clock_real);
    assert_true(wall + STOA_S(1) >= before);
    assert_true(wall < before + STOA_S(60));
}

static void the_virtual_clock_stands_still_until_told(void **state)
{
    (void)state;
    stoa_clock_virtual virtual;
    stoa_clock_virtual_init(&virtual, STOA_S(1000));
    stoa_clock *clock = &virtual.clock;
    assert_int_equal(clock->now_ns(clock), 0);
    assert_int_equal(clock->wall_ns(clock), STOA_S(1000));
    virtual.now += STOA_MS(5) + STOA_US(7);
    assert_int_equal(clock->now_ns(clock), 5007000);
    assert_int_equal(clock->wall_ns(clock), STOA_S(1000) + 5007000);
}

static void check_time(uint64_t wall_ns, const char *text)
{
    char got[STOA_TIME_TEXT_MAX];
    memset(got, 'x', sizeof got);
    stoa_time_print(wall_ns, got);
    assert_string_equal(got, text);
}

static void a_wall_time_prints_as_iso_8601(void **state)
{
    (void)state;
    check_time(0, "1970-01-01T00:00:00.000000Z");
    check_time(STOA_S(1769860800) + 123456789, "2026-01-31T12:00:00.123456Z");
    check_time(STOA_S(951782399), "2000-02-28T23:59:59.000000Z");
    check_time(STOA_S(951782400), "2000-02-29T00:00:00.000000Z");
    check_time(STOA_S(4107542399), "2100-02-28T23:59:59.000000Z");
    check_time(STOA_S(4107542400), "2100-03-01T00:00:00.000000Z"); /* 2100 has no leap day */
    check_time(UINT64_MAX, "2554-07-21T23:34:33.709551Z");
}

/* Every day that fits, against the C library's calendar. */
static void every_day_agrees_with_the_c_library(void **state)
{
    (void)state;
    for (uint64_t day = 0; day < UINT64_MAX / STOA_S(86400); day++) {
        time_t seconds = (time_t)(day * 86400 + day % 86400);
        struct tm tm;
        char expected[64];
        assert_non_null(gmtime_r(&seconds, &tm));
        assert_true(strftime(expected, sizeof expected, "%Y-%m-%dT%H:%M:%S.000000Z", &tm) > 0);
        check_time(STOA_S(seconds), expected);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_real_clock_never_goes_back),
        cmocka_unit_test(the_wall_clock_is_utc),
        cmocka_unit_test(the_virtual_clock_stands_still_until_told),
        cmocka_unit_test(a_wall_time_prints_as_iso_8601),
        cmocka_unit_test(every_day_agrees_with_the_c_library),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
