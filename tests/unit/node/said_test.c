/* said_test.c - goal: an error's trail reads as a sentence, and nothing of what was said is taken for a place in the source.
 * Method: trails of one line and of several, and texts that look like one.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/error.h"
#include "node/said.h"

static void a_trail_is_said_without_its_places(void **state)
{
    char text[STOA_SAID_MAX];
    (void)state;
    assert_int_equal(STOA_FAIL(STOA_E_NOT_FOUND, "/b/backup.json is not there"), STOA_E_NOT_FOUND);
    assert_string_equal(stoa_said(text), "/b/backup.json is not there");
    assert_int_equal(STOA_PASS(STOA_E_GAP, "restore of /b: half"), STOA_E_GAP);
    assert_string_equal(stoa_said(text), "/b/backup.json is not there; restore of /b: half");
    assert_string_equal(stoa_said_of("", text), "");
}

static void what_only_looks_like_a_place_stays(void **state)
{
    char text[STOA_SAID_MAX];
    (void)state;
    assert_string_equal(stoa_said_of("http: cannot listen", text), "http: cannot listen");
    assert_string_equal(stoa_said_of("IO file.c:12: open /x: denied", text), "open /x: denied");
    assert_string_equal(stoa_said_of("IO is what it says 12: yes", text), "IO is what it says 12: yes");
}

static void a_trail_names_files_from_the_root_of_the_tree_on(void **state)
{
    (void)state;
    assert_int_equal(STOA_FAIL(STOA_E_IO, "x"), STOA_E_IO);
    assert_memory_equal(stoa_err_trail(), "IO tests/unit/node/said_test.c:", 31);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_trail_is_said_without_its_places),
        cmocka_unit_test(what_only_looks_like_a_place_stays),
        cmocka_unit_test(a_trail_names_files_from_the_root_of_the_tree_on),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
