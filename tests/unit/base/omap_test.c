/* omap_test.c - goal: the ordered map is one, whatever the order of operations; it holds what its capacity says; its bytes are a
 * function of the operations. Method: random operations of several kinds against a sorted array, the tree's own rules looked at
 * all the time; seeds are printed.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "base/random.h"
#include "tests/unit/base/omap_check.h"

enum { CAP = 3000, STEPS = 30000, SEEDS = 12 };

typedef STOA_OMAP(CAP) map;

/* The reference: a sorted array. */
typedef struct pairs {
    uint32_t count;
    uint64_t keys[CAP];
    uint32_t values[CAP];
} pairs;

static uint32_t place(const pairs *p, uint64_t key)
{
    uint32_t at = 0;
    while (at < p->count && p->keys[at] < key) { at++; }
    return at;
}

static bool there(const pairs *p, uint32_t at, uint64_t key)
{
    return at < p->count && p->keys[at] == key;
}

static void pairs_put(pairs *p, uint64_t key, uint32_t value)
{
    uint32_t at = place(p, key);
    if (!there(p, at, key)) {
        memmove(p->keys + at + 1, p->keys + at, (p->count - at) * sizeof p->keys[0]);
        memmove(p->values + at + 1, p->values + at, (p->count - at) * sizeof p->values[0]);
        p->count++;
    }
    p->keys[at] = key;
    p->values[at] = value;
}

static bool pairs_remove(pairs *p, uint64_t key)
{
    uint32_t at = place(p, key);
    if (!there(p, at, key)) { return false; }
    p->count--;
    memmove(p->keys + at, p->keys + at + 1, (p->count - at) * sizeof p->keys[0]);
    memmove(p->values + at, p->values + at + 1, (p->count - at) * sizeof p->values[0]);
    return true;
}

/* --- operations: how keys come, and how many of them go */

typedef struct manner {
    const char *name;
    uint64_t keys;     /* keys are below; 0: ascending, and the lowest go */
    uint32_t permille; /* of puts */
} manner;
static const manner manners[] = {
    {"few keys", 300, 550}, {"many keys", UINT64_MAX, 600}, {"crowded", CAP, 800}, {"draining", CAP, 300}, {"a queue", 0, 520},
};

static uint64_t next_key(const manner *how, stoa_random *r, const pairs *p, bool puts)
{
    if (how->keys) { return stoa_random_below(r, how->keys); }
    if (!p->count) { return 1000; }
    return puts ? p->keys[p->count - 1] + 1 + stoa_random_below(r, 3) : p->keys[stoa_random_below(r, p->count < 5 ? p->count : 5)];
}

static void step(const manner *how, stoa_random *r, map *m, pairs *p)
{
    bool puts = stoa_random_chance(r, how->permille);
    uint64_t key = next_key(how, r, p, puts);
    if (puts && (p->count < CAP || there(p, place(p, key), key))) {
        uint32_t value = 1 + (uint32_t)stoa_random_below(r, 1000000);
        STOA_OMAP_PUT(m, key, value);
        pairs_put(p, key, value);
    } else {
        assert_int_equal(STOA_OMAP_REMOVE(m, key), pairs_remove(p, key));
    }
}

static void check_at(const pairs *p, uint32_t at, stoa_omap_at it)
{
    bool is = at < p->count;
    assert_int_equal(it.value, is ? p->values[at] : 0);
    if (is) { assert_true(it.key == p->keys[at]); }
}

static void check_near(const map *m, const pairs *p, uint64_t key)
{
    uint32_t at = place(p, key);
    bool is = there(p, at, key);
    assert_int_equal(STOA_OMAP_GET(m, key), is ? p->values[at] : 0);
    check_at(p, at, STOA_OMAP_FROM(m, key));
    check_at(p, is ? at : at - 1, STOA_OMAP_TO(m, key)); /* at 0: UINT32_MAX, which is nowhere */
}

static void check_all(const map *m, const pairs *p)
{
    uint32_t at = 0;
    omap_check(&m->map, STOA_OMAP_ALL_(m));
    for (stoa_omap_at it = STOA_OMAP_FIRST(m); it.value; STOA_OMAP_NEXT(m, &it)) { check_at(p, at++, it); }
    assert_int_equal(at, p->count);
    for (stoa_omap_at it = STOA_OMAP_LAST(m); it.value; STOA_OMAP_PREV(m, &it)) { check_at(p, --at, it); }
    assert_int_equal(at, 0);
}

static void it_agrees_with_a_sorted_array(void **state)
{
    static map m;
    static pairs p;
    (void)state;
    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        const manner *how = &manners[seed % (sizeof manners / sizeof manners[0])];
        stoa_random r;
        stoa_random_seed(&r, seed);
        memset(&m, 0, sizeof m);
        p.count = 0;
        printf("seed %" PRIu64 ": %s\n", seed, how->name);
        for (int i = 0; i < STEPS; i++) {
            step(how, &r, &m, &p);
            assert_int_equal(STOA_OMAP_COUNT(&m), p.count);
            check_near(&m, &p, next_key(how, &r, &p, i % 2));
            if (i % 64 == 0) { omap_check(&m.map, STOA_OMAP_ALL_(&m)); }
        }
        check_all(&m, &p);
        while (p.count) { /* down to nothing */
            uint64_t key = p.keys[stoa_random_below(&r, p.count)];
            assert_true(STOA_OMAP_REMOVE(&m, key) && pairs_remove(&p, key));
            if (p.count % 16 == 0) { check_all(&m, &p); }
        }
        assert_int_equal(m.map.root, 0);
    }
}

static void the_same_operations_give_the_same_bytes(void **state)
{
    static map a, b;
    static pairs p;
    (void)state;
    for (size_t k = 0; k < sizeof manners / sizeof manners[0]; k++) {
        stoa_random r;
        memset(&a, 0, sizeof a);
        memset(&b, 0, sizeof b);
        for (int twice = 0; twice < 2; twice++) {
            p.count = 0;
            stoa_random_seed(&r, k + 100);
            for (int i = 0; i < STEPS; i++) { step(&manners[k], &r, twice ? &b : &a, &p); }
        }
        assert_memory_equal(&a, &b, sizeof a);
    }
}

/* Whatever order fills and thins it, as many entries as the capacity says find room. */
static void the_capacity_is_what_was_said(void **state)
{
    static map m;
    (void)state;
    for (uint64_t seed = 1; seed <= 20; seed++) {
        stoa_random r;
        stoa_random_seed(&r, seed);
        memset(&m, 0, sizeof m);
        uint64_t stride = 1 + stoa_random_below(&r, 50);
        for (uint64_t i = 0; i < CAP; i++) { /* descending, ascending, from the middle, at random */
            uint64_t key = seed % 4 == 0   ? UINT64_MAX - i * stride
                           : seed % 4 == 1 ? i * stride
                           : seed % 4 == 2 ? (i % 2 ? (UINT64_C(1) << 40) + i : (UINT64_C(1) << 40) - i)
                                           : stoa_mix64(i * 2 + seed);
            STOA_OMAP_PUT(&m, key, 1);
        }
        assert_int_equal(STOA_OMAP_COUNT(&m), CAP);
        omap_check(&m.map, STOA_OMAP_ALL_(&m));
        for (int round = 0; round < 30; round++) { /* thin it and fill it up again elsewhere */
            uint64_t kept = stoa_random_below(&r, 20) + 1, n = 0;
            for (stoa_omap_at it = STOA_OMAP_FIRST(&m); it.value;) {
                uint64_t key = it.key;
                if (n++ % 20 < kept) {
                    STOA_OMAP_NEXT(&m, &it);
                    continue;
                }
                assert_true(STOA_OMAP_REMOVE(&m, key));
                it = STOA_OMAP_FROM(&m, key);
            }
            while (STOA_OMAP_COUNT(&m) < CAP) { STOA_OMAP_PUT(&m, stoa_random_next(&r), 2); }
            omap_check(&m.map, STOA_OMAP_ALL_(&m));
        }
    }
}

static void the_ends_of_the_keys_are_keys(void **state)
{
    static map m;
    (void)state;
    assert_int_equal(STOA_OMAP_GET(&m, 0), 0);
    assert_int_equal(STOA_OMAP_FIRST(&m).value, 0);
    assert_int_equal(STOA_OMAP_LAST(&m).value, 0);
    assert_false(STOA_OMAP_REMOVE(&m, 0));
    STOA_OMAP_PUT(&m, 0, 1);
    STOA_OMAP_PUT(&m, UINT64_MAX, 2);
    for (uint64_t i = 1; i < 1000; i++) { STOA_OMAP_PUT(&m, i << 50, 3); }
    assert_int_equal(STOA_OMAP_GET(&m, 0), 1);
    assert_int_equal(STOA_OMAP_GET(&m, UINT64_MAX), 2);
    assert_int_equal(STOA_OMAP_FIRST(&m).value, 1);
    assert_int_equal(STOA_OMAP_LAST(&m).value, 2);
    assert_int_equal(STOA_OMAP_TO(&m, 0).value, 1);
    assert_int_equal(STOA_OMAP_FROM(&m, UINT64_MAX).value, 2);
    assert_true(STOA_OMAP_REMOVE(&m, UINT64_MAX));
    assert_int_equal(STOA_OMAP_FROM(&m, UINT64_MAX).value, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_agrees_with_a_sorted_array),
        cmocka_unit_test(the_same_operations_give_the_same_bytes),
        cmocka_unit_test(the_capacity_is_what_was_said),
        cmocka_unit_test(the_ends_of_the_keys_are_keys),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
