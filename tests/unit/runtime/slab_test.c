/* slab_test.c - goal: blocks come back, whatever sizes they had before. Method: fill the quota with one size, then ask for others.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "runtime/message.h"

enum { QUOTA = 8 << 20 };

static uint32_t take_all(stoa_slab *slab, uint32_t bytes, stoa_msg **taken)
{
    uint32_t count = 0;
    for (stoa_msg *msg; (msg = stoa_slab_new(slab, bytes, 0)) != NULL; count++) {
        msg->next = *taken;
        *taken = msg;
    }
    return count;
}

static void give_all(stoa_slab *slab, stoa_msg *taken)
{
    while (taken) {
        stoa_msg *next = taken->next;
        stoa_slab_free(slab, taken);
        taken = next;
    }
}

static void what_was_large_serves_what_is_small(void **state)
{
    stoa_slab slab;
    (void)state;
    assert_int_equal(stoa_slab_init(&slab, 0, QUOTA), STOA_OK);
    for (uint32_t bytes = 200000; bytes >= 20; bytes /= 3) { /* each size in turn may have the whole quota */
        stoa_msg *taken = NULL;
        uint32_t count = take_all(&slab, bytes, &taken);
        assert_true((uint64_t)count * bytes > QUOTA / 8); /* the rest is headers and what powers of two waste */
        assert_false(stoa_slab_ample(&slab));
        give_all(&slab, taken);
        assert_int_equal(slab.used_bytes, 0);
        assert_true(stoa_slab_ample(&slab));
    }
    stoa_slab_deinit(&slab);
}

static void what_fits_no_class_is_refused(void **state)
{
    stoa_slab slab;
    (void)state;
    assert_int_equal(stoa_slab_init(&slab, 0, QUOTA), STOA_OK);
    assert_null(stoa_slab_new(&slab, 1 << 20, 0));
    assert_int_equal(slab.used_bytes, 0);
    stoa_slab_deinit(&slab);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_was_large_serves_what_is_small),
        cmocka_unit_test(what_fits_no_class_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
