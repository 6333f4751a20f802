/* array_test.c - goal: an array keeps its items as it grows, and one that cannot grow is as it was. Method: items counted in; a
 * capacity at its bound.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/array.h"

enum { ITEMS = 10 * STOA_ARRAY_FIRST };

static void items_stay(void **state)
{
    (void)state;
    uint64_t *at = NULL;
    uint32_t cap = 0;
    for (uint64_t n = 0; n < ITEMS; n++) {
        at = stoa_array_room(at, n, &cap, sizeof *at);
        assert_non_null(at);
        assert_true(n < cap);
        at[n] = n;
    }
    for (uint64_t n = 0; n < ITEMS; n++) { assert_int_equal(at[n], n); }
    free(at);
}

static void full_is_as_it_was(void **state)
{
    (void)state;
    uint8_t item = 7;
    uint32_t cap = UINT32_C(1) << 31;
    assert_null(stoa_array_room(&item, cap, &cap, 1));
    assert_int_equal(cap, UINT32_C(1) << 31);
    assert_int_equal(item, 7);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(items_stay), cmocka_unit_test(full_is_as_it_was)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
