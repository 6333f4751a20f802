/* incarnation_test.c - goal: each life of a node has a greater number than the one before, whatever becomes of clock and data folder.
 * Method: starts on folders that stay, are begun anew and restored, under a clock that goes on, stands still and is set back.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/storage/kit.h"

#include "base/clock.h"
#include "cluster/links/incarnation.h"
#include "storage/archive/file.h"

static const uint64_t began_ns = UINT64_C(1795000000) * 1000000000;

static uint64_t next(const char *data, uint64_t wall_ns)
{
    uint64_t out = 0;
    kit_ok(stoa_incarnation_next(data, wall_ns, &out));
    return out;
}

static void it_grows_with_each_start(void **state)
{
    (void)state;
    char data[KIT_PATH_MAX];
    kit_folder(data);
    uint64_t last = next(data, began_ns);
    assert_int_equal(last, began_ns / STOA_MS(1));
    static const int64_t moves_ms[] = {0, 1, 0, -3600000, 0, 5, 7200000, -1};
    for (size_t i = 0; i < sizeof moves_ms / sizeof moves_ms[0]; i++) {
        uint64_t now_ns = began_ns + (uint64_t)(moves_ms[i] * (int64_t)STOA_MS(1)), is = next(data, now_ns);
        assert_true(is > last);
        assert_true(is == last + 1 || is == now_ns / STOA_MS(1));
        last = is;
    }
    kit_remove(data);
}

static void a_folder_that_was_begun_anew_or_restored_goes_by_the_clock(void **state)
{
    (void)state;
    char data[KIT_PATH_MAX];
    uint64_t last = 0;
    for (uint64_t start = 0; start < 20; start++) { /* four minutes apart: over an hour */
        kit_folder(data);
        uint64_t is = next(data, began_ns + start * STOA_S(240));
        assert_true(is > last);
        last = is;
        kit_remove(data);
    }
}

static void what_is_no_number_is_named(void **state)
{
    (void)state;
    static const char *const texts[] = {"", "x\n", "12x\n", "-3\n", "12 13\n", "99999999999999999999\n", "18446744073709551615\n",
                                        "1234567890123456789012345678901234567890\n"};
    char data[KIT_PATH_MAX];
    uint64_t out = 0;
    kit_folder(data);
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        kit_ok(stoa_file_put(data, "node.incarnation", texts[i], strlen(texts[i])));
        kit_err(stoa_incarnation_next(data, began_ns, &out), STOA_E_CORRUPT);
    }
    kit_remove(data);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_grows_with_each_start),
        cmocka_unit_test(a_folder_that_was_begun_anew_or_restored_goes_by_the_clock),
        cmocka_unit_test(what_is_no_number_is_named),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
