/* refusals_test.c - goal: whatever error refuses a connection, it is told by its name, once; what ends one and refuses nobody is not. Method: every
 * row of base/errors.def, added, named and coded. That links tell what the other side says is in the fabric_ports_test.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <stdbool.h>

#include "transport/refusals.h"

static bool refuses(stoa_err err)
{
    return err != STOA_E_CLOSED && err != STOA_E_TOO_LARGE;
}

static void every_error_is_told_once(void **state)
{
    (void)state;
    stoa_refusals all = {0};
    unsigned told = 0, count = 0;
    for (stoa_err err; (err = stoa_err_at(count)) != STOA_OK; count++) {
        stoa_refusals one = {0};
        stoa_refusals_add(&one, err);
        stoa_refusals_add(&one, err);
        assert_int_equal(stoa_refusals_take(&one), refuses(err) ? err : STOA_OK);
        assert_int_equal(stoa_refusals_take(&one), STOA_OK);
        stoa_refusals_add(&all, err);
    }
    while (stoa_refusals_take(&all)) { told++; }
    assert_int_equal(told, count - 2);
    stoa_refusals_add(&all, STOA_OK);
    assert_int_equal(stoa_refusals_take(&all), STOA_OK);
}

static void what_the_other_side_says_is_taken_at_its_word(void **state)
{
    (void)state;
    stoa_err err;
    for (unsigned i = 0; (err = stoa_err_at(i)) != STOA_OK; i++) {
        const char *name = stoa_err_name(err);
        assert_int_equal(stoa_refusals_named(name, strlen(name)), refuses(err) ? err : STOA_OK);
        assert_int_equal(stoa_refusals_coded(err), refuses(err) ? err : STOA_OK);
    }
    assert_int_equal(stoa_refusals_named("", 0), STOA_OK);
    assert_int_equal(stoa_refusals_coded(0), STOA_OK);
    assert_int_equal(stoa_refusals_named("FULLER", 6), STOA_OK);
    assert_int_equal(stoa_refusals_named("FULLER", 3), STOA_OK);
    assert_int_equal(stoa_refusals_coded(-1000), STOA_E_MALFORMED);
    assert_int_equal(stoa_refusals_coded(1), STOA_E_MALFORMED);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_error_is_told_once),
        cmocka_unit_test(what_the_other_side_says_is_taken_at_its_word),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
