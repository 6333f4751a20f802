/* pool_test.c - goal: no index is given to two owners, every item comes zeroed, the bytes are a function of the
 * operations.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "base/pool.h"
#include "base/random.h"

enum { CAP = 50, STEPS = 20000, SEED = 3 };

typedef struct item {
    uint64_t owner;
    uint32_t more[3];
} item;
typedef STOA_POOL(item, CAP) pool;

static void run(pool *p)
{
    stoa_random random;
    stoa_random_seed(&random, SEED);
    bool taken[CAP + 1] = {false};
    static const item zero;
    uint32_t used = 0;
    for (int step = 0; step < STEPS; step++) {
        uint32_t index = (uint32_t)stoa_random_below(&random, CAP) + 1;
        if (stoa_random_chance(&random, 550) && used < CAP) {
            index = STOA_POOL_TAKE(p);
            assert_in_range(index, 1, CAP);
            assert_false(taken[index]);
            assert_memory_equal(&p->at[index], &zero, sizeof zero);
            p->at[index] = (item){.owner = (uint64_t)step + 1, .more = {7, 7, 7}};
            taken[index] = true;
            used++;
        } else if (taken[index]) {
            STOA_POOL_GIVE(p, index);
            taken[index] = false;
            used--;
        }
        assert_int_equal(p->pool.used, used);
    }
}

static void every_index_has_one_owner_and_begins_zero(void **state)
{
    (void)state;
    static pool p;
    run(&p);
}

static void all_of_the_capacity_can_be_taken(void **state)
{
    (void)state;
    static pool p;
    for (uint32_t i = 1; i <= CAP; i++) {
        assert_int_equal(STOA_POOL_TAKE(&p), i);
    }
    STOA_POOL_GIVE(&p, 17);
    STOA_POOL_GIVE(&p, 4);
    assert_int_equal(STOA_POOL_TAKE(&p), 4); /* last in, first out */
    assert_int_equal(STOA_POOL_TAKE(&p), 17);
    assert_int_equal(p.pool.used, CAP);
}

static void the_same_operations_give_the_same_bytes(void **state)
{
    (void)state;
    static pool a, b;
    run(&a);
    run(&b);
    assert_memory_equal(&a, &b, sizeof a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_index_has_one_owner_and_begins_zero),
        cmocka_unit_test(all_of_the_capacity_can_be_taken),
        cmocka_unit_test(the_same_operations_give_the_same_bytes),
    };
    printf("seed %d\n", SEED);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
