/* isolate_inside_test.c - goal: a kind that is written for a library runs unchanged inside a node. Method: the file of the plug-in of
 * isolate_test.c, compiled into this program as it is; the same calls have the same answers.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "runtime/stoa.h"
#include "tests/unit/runtime/isolates/odd.c"

static void test_it_answers_refuses_and_has_timers(void **state)
{
    stoa_node *node;
    stoa_ref ref;
    odd_sum sum;
    uint64_t seven = 7;
    (void)state;
    assert_int_equal(stoa_node_open(&(stoa_options){.cores = 1}, &node), STOA_OK);
    assert_int_equal(stoa_spawn(node, &odd_kind, "odd/o", &(stoa_spawn_options){.args = &seven}, &ref), STOA_OK);
    assert_int_equal(odd_call_add(node, ref, (odd_add){1}, STOA_S(60), &sum), STOA_OK);
    assert_int_equal(sum.sum, 8);
    assert_int_equal(odd_call_refuse(node, ref, (odd_refuse){0}, STOA_S(60), &sum), STOA_E_RANGE);
    assert_int_equal(odd_call_timer(node, ref, (odd_timer){.after_ns = STOA_MS(1)}, STOA_S(60), &sum), STOA_OK);
    while (sum.ticks < 100) { assert_int_equal(odd_call_add(node, ref, (odd_add){0}, STOA_S(60), &sum), STOA_OK); }
    stoa_node_close(node, STOA_S(10));
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_it_answers_refuses_and_has_timers)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
