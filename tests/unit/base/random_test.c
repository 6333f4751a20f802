/* random_test.c - the same seed gives the same numbers everywhere, bounded draws are fair, the system's are
 * not ours.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "base/random.h"

/* The state of xoshiro256** 1.0 that starts at 1, 2, 3, 4 gives these numbers (worked out by hand from its
 * definition: rotl(s1 * 5, 7) * 9 for the first two). */
static void the_generator_is_xoshiro256starstar(void **state)
{
    (void)state;
    stoa_random random = {.s = {1, 2, 3, 4}};
    static const uint64_t expected[] = {
        11520,
        0,
        1509978240,
        1215971899390074240,
    };
    for (size_t i = 0; i < sizeof expected / sizeof expected[0]; i++) {
        assert_int_equal(stoa_random_next(&random), expected[i]);
    }
}

/* splitmix64 seeded with 1234567 begins so in every implementation of it. */
static void seeding_is_splitmix64(void **state)
{
    (void)state;
    stoa_random random;
    stoa_random_seed(&random, 1234567);
    assert_int_equal(random.s[0], UINT64_C(6457827717110365317));
    assert_int_equal(random.s[1], UINT64_C(3203168211198807973));
    assert_int_equal(random.s[2], UINT64_C(9817491932198370423));
    assert_int_equal(random.s[3], UINT64_C(4593380528125082431));
}

static void equal_seeds_give_equal_numbers(void **state)
{
    (void)state;
    stoa_random a, b, c;
    stoa_random_seed(&a, 7);
    stoa_random_seed(&b, 7);
    stoa_random_seed(&c, 8);
    unsigned differ = 0;
    for (int i = 0; i < 1000; i++) {
        uint64_t value = stoa_random_next(&a);
        assert_int_equal(stoa_random_next(&b), value);
        differ += stoa_random_next(&c) != value;
    }
    assert_true(differ > 990);
}

/* 600,000 draws below 6: each face 100,000 times, give or take 6 standard deviations (289 each). */
static void bounded_draws_are_fair(void **state)
{
    (void)state;
    stoa_random random;
    stoa_random_seed(&random, 42);
    unsigned faces[6] = {0};
    for (int i = 0; i < 600000; i++) {
        uint64_t face = stoa_random_below(&random, 6);
        assert_true(face < 6);
        faces[face]++;
    }
    for (int i = 0; i < 6; i++) {
        assert_in_range(faces[i], 100000 - 1734, 100000 + 1734);
    }
}

/* Below 3 * 2^62 a plain scaling would give each multiple of 3 twice as often as its neighbours, and a plain
 * modulo each number of the lowest third. */
static void large_bounds_are_fair_too(void **state)
{
    (void)state;
    stoa_random random;
    stoa_random_seed(&random, 43);
    unsigned thirds[3] = {0}, rests[3] = {0};
    for (int i = 0; i < 300000; i++) {
        uint64_t value = stoa_random_below(&random, UINT64_C(3) << 62);
        assert_true(value < UINT64_C(3) << 62);
        thirds[value >> 62]++;
        rests[value % 3]++;
    }
    for (int i = 0; i < 3; i++) {
        assert_in_range(thirds[i], 100000 - 1550, 100000 + 1550);
        assert_in_range(rests[i], 100000 - 1550, 100000 + 1550);
    }
    assert_int_equal(stoa_random_below(&random, 1), 0);
}

static void chance_is_in_a_thousand(void **state)
{
    (void)state;
    stoa_random random;
    stoa_random_seed(&random, 44);
    unsigned hits = 0;
    for (int i = 0; i < 100000; i++) {
        hits += (unsigned)stoa_random_chance(&random, 250);
        assert_false(stoa_random_chance(&random, 0));
        assert_true(stoa_random_chance(&random, 1000));
    }
    assert_in_range(hits, 25000 - 822, 25000 + 822); /* 6 standard deviations */
}

static void the_system_fills_every_byte_anew(void **state)
{
    (void)state;
    uint8_t seen[64] = {0}, bytes[64], before[64] = {0};
    for (int round = 0; round < 64; round++) {
        memset(bytes, 0, sizeof bytes);
        stoa_random_system(bytes, sizeof bytes);
        assert_memory_not_equal(bytes, before, sizeof bytes);
        memcpy(before, bytes, sizeof bytes);
        for (size_t i = 0; i < sizeof bytes; i++) {
            seen[i] |= bytes[i];
        }
    }
    for (size_t i = 0; i < sizeof seen; i++) {
        assert_int_not_equal(seen[i], 0);
    }
    stoa_random_system(NULL, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_generator_is_xoshiro256starstar),
        cmocka_unit_test(seeding_is_splitmix64),
        cmocka_unit_test(equal_seeds_give_equal_numbers),
        cmocka_unit_test(bounded_draws_are_fair),
        cmocka_unit_test(large_bounds_are_fair_too),
        cmocka_unit_test(chance_is_in_a_thousand),
        cmocka_unit_test(the_system_fills_every_byte_anew),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
