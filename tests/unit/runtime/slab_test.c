/* slab_test.c - goal: blocks come back, whatever sizes they had before, and large ones do not starve for ever behind small ones.
 * Method: fill the quota with one size, then ask for others; random sizes from a printed seed, each block filled with a pattern of
 * its own that must still be there when it goes back.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/random.h"
#include "runtime/message.h"

enum { QUOTA = 8 << 20, LARGE = 500000, SMALL = 8, ATTEMPTS_MAX = QUOTA / 64 / 1024 + 1, HELD = 4096, ROUNDS = 400000 };

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

static void large_ones_find_room_where_small_ones_were(void **state)
{
    stoa_slab slab;
    stoa_msg *taken = NULL, *large = NULL;
    uint32_t attempts = 0, count = 0;
    (void)state;
    assert_int_equal(stoa_slab_init(&slab, 0, QUOTA), STOA_OK);
    assert_int_equal(take_all(&slab, SMALL, &taken), QUOTA / 64);
    assert_null(stoa_slab_new(&slab, LARGE, 0));
    give_all(&slab, taken);
    for (; !large && attempts <= ATTEMPTS_MAX; attempts++) { large = stoa_slab_new(&slab, LARGE, 0); }
    assert_non_null(large); /* each that is refused joins some */
    for (uint32_t i = 0; i < QUOTA / 64; i++) {
        stoa_msg *more = stoa_slab_new(&slab, LARGE, 0);
        if (!more) { continue; }
        more->next = large;
        large = more;
        count++;
    }
    assert_int_equal(count + 1, QUOTA / (512 << 10)); /* and in the end the whole quota is large again */
    give_all(&slab, large);
    assert_int_equal(slab.used_bytes, 0);
    stoa_slab_deinit(&slab);
}

static void one_small_one_keeps_its_large_one_only(void **state)
{
    stoa_slab slab;
    stoa_msg *taken = NULL, *kept, *large = NULL;
    uint32_t count = 0;
    (void)state;
    assert_int_equal(stoa_slab_init(&slab, 0, QUOTA), STOA_OK);
    (void)take_all(&slab, SMALL, &taken);
    kept = taken;
    give_all(&slab, taken->next);
    for (uint32_t i = 0; i < QUOTA / 64; i++) {
        stoa_msg *more = stoa_slab_new(&slab, LARGE, 0);
        if (!more) { continue; }
        more->next = large;
        large = more;
        count++;
    }
    assert_int_equal(count, QUOTA / (512 << 10) - 1);
    give_all(&slab, large);
    kept->next = NULL;
    give_all(&slab, kept);
    stoa_slab_deinit(&slab);
}

static void the_reserve_serves_when_the_quota_is_gone(void **state)
{
    stoa_slab slab;
    stoa_msg *taken = NULL, *surely = NULL;
    (void)state;
    assert_int_equal(stoa_slab_init(&slab, 0, QUOTA), STOA_OK);
    for (int round = 0; round < 3; round++) {
        uint32_t bytes = round == 1 ? LARGE : SMALL, count = 0; /* small ones between large ones: the reserve joins too */
        uint32_t all = (uint32_t)(STOA_SLAB_RESERVE_BYTES / stoa_block_bytes(stoa_slab_class(stoa_msg_bytes(bytes, 0))));
        (void)take_all(&slab, SMALL, &taken);
        for (uint32_t i = 0; i < 2 * all + 64; i++) {
            stoa_msg *msg = stoa_slab_new_surely(&slab, bytes, 0);
            if (!msg) { continue; }
            assert_true(msg->size_class >= STOA_SLAB_RESERVED);
            msg->next = surely;
            surely = msg;
            count++;
        }
        assert_int_equal(count, all);
        assert_null(stoa_slab_new(&slab, SMALL, 0)); /* nobody else may have it */
        give_all(&slab, surely);
        assert_null(stoa_slab_new(&slab, SMALL, 0));
        surely = NULL;
        give_all(&slab, taken);
        taken = NULL;
        assert_int_equal(slab.used_bytes, 0);
    }
    stoa_slab_deinit(&slab);
}

static void fill(stoa_msg *msg, uint32_t pattern)
{
    memset(stoa_msg_body(msg), (int)(pattern & 0xff), msg->size_bytes);
    msg->to.at = pattern;
}

static void check(stoa_msg *msg, uint32_t pattern)
{
    const unsigned char *body = stoa_msg_body(msg);
    assert_int_equal(msg->to.at, pattern);
    for (uint32_t i = 0; i < msg->size_bytes; i += 1 + msg->size_bytes / 64) { assert_int_equal(body[i], pattern & 0xff); }
}

static void no_two_blocks_overlap(void **state)
{
    static stoa_msg *held[HELD];
    static uint32_t patterns[HELD];
    const char *given = getenv("STOA_TEST_SEED");
    uint64_t seed = given ? strtoull(given, NULL, 10) : 1, used = 0;
    stoa_random random;
    stoa_slab slab;
    (void)state;
    printf("seed %llu\n", (unsigned long long)seed);
    stoa_random_seed(&random, seed);
    assert_int_equal(stoa_slab_init(&slab, 0, QUOTA), STOA_OK);
    for (uint32_t round = 0; round < ROUNDS; round++) {
        uint32_t i = (uint32_t)stoa_random_below(&random, HELD), c = (uint32_t)stoa_random_below(&random, 13);
        uint32_t most = (uint32_t)stoa_random_below(&random, 20) ? 200 : UINT32_C(64) << c;
        if (held[i]) {
            check(held[i], patterns[i]);
            used -= stoa_block_bytes(held[i]->size_class);
            stoa_slab_free(&slab, held[i]);
            held[i] = NULL;
        } else {
            uint32_t bytes = 1 + (uint32_t)stoa_random_below(&random, most);
            held[i] = stoa_random_below(&random, 8) ? stoa_slab_new(&slab, bytes, 0) : stoa_slab_new_surely(&slab, bytes, 0);
            if (!held[i]) { continue; }
            patterns[i] = round;
            fill(held[i], round);
            used += stoa_block_bytes(held[i]->size_class);
        }
        assert_int_equal(slab.used_bytes, used);
        assert_true(stoa_slab_mapped(&slab) <= QUOTA + STOA_SLAB_RESERVE_BYTES);
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
        cmocka_unit_test(large_ones_find_room_where_small_ones_were),
        cmocka_unit_test(one_small_one_keeps_its_large_one_only),
        cmocka_unit_test(the_reserve_serves_when_the_quota_is_gone),
        cmocka_unit_test(no_two_blocks_overlap),
        cmocka_unit_test(what_fits_no_class_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
