/* text_map_test.c - goal: the map is a map, whatever the order of operations and however alike its keys are, and its bytes are a
 * function of them. Method: random operations on small, crowded maps against a plain array; the seed is printed.
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

#include "base/random.h"
#include "base/text_map.h"

enum { SLOTS = 64, KEYS = 200, STEPS = 20000, SEEDS = 20 };

typedef STOA_TEXT_MAP(stoa_text30, SLOTS) map;

/* Prefixes of each other, and others of all lengths. */
static stoa_text30 key_of(uint64_t n)
{
    stoa_text30 key = {0};
    char text[32];
    if (n < 30) {
        (void)STOA_TEXT_SET(&key, "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", n + 1);
    } else {
        int bytes = snprintf(text, sizeof text, "%" PRIu64 "%.*s", n, (int)(n % 20), "....................");
        (void)STOA_TEXT_SET(&key, text, (size_t)bytes);
    }
    return key;
}

static void run(uint64_t seed, map *m, uint32_t *values, bool check)
{
    stoa_random random;
    stoa_random_seed(&random, seed);
    uint32_t count = 0;
    for (int step = 0; step < STEPS; step++) {
        uint64_t n = stoa_random_below(&random, KEYS);
        stoa_text30 key = key_of(n);
        bool full = count == STOA_TEXT_MAP_MAX(SLOTS);
        if (stoa_random_chance(&random, 600) && (!full || values[n])) {
            count += values[n] == 0;
            values[n] = (uint32_t)stoa_random_below(&random, 1000) + 1;
            STOA_TEXT_MAP_PUT(m, &key, values[n]);
        } else {
            assert_int_equal(STOA_TEXT_MAP_REMOVE(m, &key), values[n] != 0);
            count -= values[n] != 0;
            values[n] = 0;
        }
        assert_int_equal(m->count, count);
        for (uint64_t k = 0; check && k < KEYS; k++) {
            key = key_of(k);
            if (STOA_TEXT_MAP_GET(m, &key) == values[k]) { continue; }
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
        printf("seed %" PRIu64 "\r", seed);
        run(seed, &m, values, seed <= 3);
        for (uint64_t k = 0; k < KEYS; k++) {
            stoa_text30 key = key_of(k);
            assert_int_equal(STOA_TEXT_MAP_GET(&m, &key), values[k]);
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
        stoa_text30 key = key_of(k);
        (void)STOA_TEXT_MAP_REMOVE(&m, &key);
    }
    assert_memory_equal(&m, &zero, sizeof m);
}

static void what_lies_behind_a_text_is_no_part_of_it(void **state)
{
    (void)state;
    map m = {0};
    stoa_text30 key = stoa_text("alice"), same = stoa_text("alice");
    same.at[9] = 'x';
    STOA_TEXT_MAP_PUT(&m, &key, 5);
    assert_int_equal(STOA_TEXT_MAP_GET(&m, &same), 5);
    STOA_TEXT_MAP_PUT(&m, &same, 6);
    assert_int_equal(m.count, 1);
    assert_int_equal(STOA_TEXT_MAP_GET(&m, &key), 6);
    stoa_text30 none = {0};
    assert_int_equal(STOA_TEXT_MAP_GET(&m, &none), 0);
    assert_false(STOA_TEXT_MAP_REMOVE(&m, &none));
}

static void keys_are_of_any_text(void **state)
{
    (void)state;
    STOA_TEXT_MAP(stoa_text6, 16) small = {0};
    STOA_TEXT_MAP(stoa_text254, 16) large = {0};
    stoa_text6 six = stoa_text("sixsix");
    stoa_text254 many = {0};
    assert_int_equal(STOA_TEXT_SETZ(&many, "a key of some more bytes than others have"), STOA_OK);
    STOA_TEXT_MAP_PUT(&small, &six, 1);
    STOA_TEXT_MAP_PUT(&large, &many, 2);
    assert_int_equal(STOA_TEXT_MAP_GET(&small, &six), 1);
    assert_int_equal(STOA_TEXT_MAP_GET(&large, &many), 2);
    assert_true(STOA_TEXT_MAP_REMOVE(&large, &many));
    assert_int_equal(STOA_TEXT_MAP_GET(&large, &many), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_map_agrees_with_a_list_of_pairs),
        cmocka_unit_test(the_same_operations_give_the_same_bytes),
        cmocka_unit_test(an_emptied_map_is_zero_again),
        cmocka_unit_test(what_lies_behind_a_text_is_no_part_of_it),
        cmocka_unit_test(keys_are_of_any_text),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
