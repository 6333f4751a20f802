/* map64_test.c - goal: the map is a map, whatever the order of operations, and its bytes are a function of them.
 * Method: random operations on a small, crowded map against a plain array of pairs; the seed is printed.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/map64.h"
#include "base/random.h"

enum { SLOTS = 64, KEYS = 200, STEPS = 20000, SEEDS = 20 };

typedef STOA_MAP64(SLOTS) map;

static uint64_t key_of(uint64_t n)
{
    return n % 2 ? n + 1 : n * UINT64_C(0x123456789abcdef) + 1; /* dense ones and scattered ones */
}

/* Put or remove keys at random; values[n] is what the map must say of key n. */
static void run(uint64_t seed, map *m, uint32_t *values, bool check)
{
    stoa_random random;
    stoa_random_seed(&random, seed);
    uint32_t count = 0;
    for (int step = 0; step < STEPS; step++) {
        uint64_t n = stoa_random_below(&random, KEYS);
        bool full = count == STOA_MAP64_MAX(SLOTS);
        if (stoa_random_chance(&random, 600) && (!full || values[n])) {
            count += values[n] == 0;
            values[n] = (uint32_t)stoa_random_below(&random, 1000) + 1;
            STOA_MAP64_PUT(m, key_of(n), values[n]);
        } else {
            bool was = STOA_MAP64_REMOVE(m, key_of(n));
            assert_int_equal(was, values[n] != 0);
            count -= values[n] != 0;
            values[n] = 0;
        }
        assert_int_equal(m->count, count);
        for (uint64_t k = 0; check && k < KEYS; k++) {
            if (STOA_MAP64_GET(m, key_of(k)) == values[k]) { continue; }
            fail_msg("seed %" PRIu64 ", step %d: key %" PRIu64, seed, step, k);
        }
    }
}

static void the_map_agrees_with_a_list_of_pairs(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        map m = {0};
        uint32_t values[KEYS] = {0};
        run(seed, &m, values, seed <= 3);
        for (uint64_t k = 0; k < KEYS; k++) {
            assert_int_equal(STOA_MAP64_GET(&m, key_of(k)), values[k]);
        }
    }
}

static void the_same_operations_give_the_same_bytes(void **state)
{
    (void)state;
    static map a, b;
    uint32_t values_a[KEYS] = {0}, values_b[KEYS] = {0};
    run(7, &a, values_a, false);
    run(7, &b, values_b, false);
    assert_memory_equal(&a, &b, sizeof a);
}

static void an_emptied_map_is_zero_again(void **state)
{
    (void)state;
    static map m;
    static const map zero;
    uint32_t values[KEYS] = {0};
    run(11, &m, values, false);
    for (uint64_t k = 0; k < KEYS; k++) {
        (void)STOA_MAP64_REMOVE(&m, key_of(k));
    }
    assert_memory_equal(&m, &zero, sizeof m);
}

static void key_zero_is_never_there(void **state)
{
    (void)state;
    map m = {0};
    STOA_MAP64_PUT(&m, 5, 1);
    assert_int_equal(STOA_MAP64_GET(&m, 0), 0);
    assert_false(STOA_MAP64_REMOVE(&m, 0));
    assert_int_equal(m.count, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_map_agrees_with_a_list_of_pairs),
        cmocka_unit_test(the_same_operations_give_the_same_bytes),
        cmocka_unit_test(an_emptied_map_is_zero_again),
        cmocka_unit_test(key_zero_is_never_there),
    };
    printf("seeds 1 to %d\n", SEEDS);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
