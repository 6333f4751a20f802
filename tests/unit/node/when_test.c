/* when_test.c - goal: moments are read as people write them, and nothing else is taken for one.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/storage/kit.h"

#include "node/archive/when.h"

static void positions_and_times_are_read(void **state)
{
    (void)state;
    static const struct {
        const char *text, *shard;
        uint64_t position, time_ns;
    } good[] = {
        {"1234", "", 1234, 0},
        {"trade:7", "trade", 7, 0},
        {"2026-01-31T12:00:00Z", "", 0, UINT64_C(1769860800) * 1000000000},
        {"2026-01-31 12:00:00", "", 0, UINT64_C(1769860800) * 1000000000},
        {"2026-01-31T12:00:00.5Z", "", 0, UINT64_C(1769860800500000000)},
        {"2026-01-31T12:00:00.123456789Z", "", 0, UINT64_C(1769860800123456789)},
    };
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        stoa_when when;
        kit_ok(stoa_when_parse(good[i].text, &when));
        assert_string_equal(when.shard, good[i].shard);
        assert_int_equal(when.position, good[i].position);
        assert_int_equal(when.time_ns, good[i].time_ns);
    }
}

static void nothing_else_is(void **state)
{
    (void)state;
    static const char *const bad[] = {"", "soon", "0", "-3", "trade:", "trade:0", "trade:x", ":5", "18446744073709551616", "12x",
                                      "2026-01-31", "2026-01-31T12:00Z", "2026-01-31T12:00:00+01:00", "2026-13-31T12:00:00Z",
                                      "1960-01-31T12:00:00Z", "2026-01-31T12:00:00.1234567890Z",
                                      "a-name-that-is-longer-than-a-shard-may-have:5"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        stoa_when when;
        kit_err(stoa_when_parse(bad[i], &when), STOA_E_INVALID);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(positions_and_times_are_read),
        cmocka_unit_test(nothing_else_is),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
