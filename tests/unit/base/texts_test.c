/* texts_test.c - goal: what was put comes back, whatever is put and given around it; room is what was said, to the last byte; the
 * bytes are a function of the operations. Method: random texts against copies of their own; the seed is printed.
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
#include "base/texts.h"

enum { BYTES = 4096, TEXTS = 100, LONGEST = 300, STEPS = 20000, SEEDS = 20 };

typedef STOA_TEXTS(BYTES, TEXTS) heap;

typedef struct copy {
    size_t size; /* SIZE_MAX: none */
    char at[LONGEST];
} copy;

static void put_random(stoa_random *r, heap *h, copy *copies)
{
    copy made = {.size = stoa_random_below(r, stoa_random_chance(r, 200) ? LONGEST : 60)};
    for (size_t i = 0; i < made.size; i++) { made.at[i] = (char)stoa_random_next(r); }
    if (!STOA_TEXTS_ROOM(h, made.size)) { return; }
    uint32_t id = STOA_TEXTS_PUT(h, made.at, made.size);
    assert_in_range(id, 1, TEXTS);
    assert_true(copies[id].size == SIZE_MAX);
    copies[id] = made;
}

static uint32_t check_all(const heap *h, const copy *copies)
{
    uint32_t used = 0, count = 0;
    for (uint32_t id = 1; id <= TEXTS; id++) {
        size_t size;
        if (copies[id].size == SIZE_MAX) { continue; }
        const char *at = STOA_TEXTS_GET(h, id, &size);
        assert_int_equal(size, copies[id].size);
        assert_true((uintptr_t)at % 8 == 0);
        if (size) { assert_memory_equal(at, copies[id].at, size); }
        used += (uint32_t)stoa_texts_bytes_(size);
        count++;
    }
    assert_int_equal(h->heap.used, used);
    assert_int_equal(h->refs.pool.used, count);
    return used;
}

static void run(uint64_t seed, heap *h, copy *copies)
{
    stoa_random r;
    stoa_random_seed(&r, seed);
    for (uint32_t id = 0; id <= TEXTS; id++) { copies[id].size = SIZE_MAX; }
    for (int step = 0; step < STEPS; step++) {
        uint32_t id = 1 + (uint32_t)stoa_random_below(&r, TEXTS);
        if (stoa_random_chance(&r, 500) || copies[id].size == SIZE_MAX) {
            put_random(&r, h, copies);
        } else {
            STOA_TEXTS_GIVE(h, id);
            copies[id].size = SIZE_MAX;
        }
        if (step % 50 == 0) { (void)check_all(h, copies); }
    }
    (void)check_all(h, copies);
}

static void what_was_put_comes_back(void **state)
{
    static heap h;
    static copy copies[TEXTS + 1];
    (void)state;
    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        memset(&h, 0, sizeof h);
        printf("seed %" PRIu64 "\r", seed);
        run(seed, &h, copies);
    }
}

static void the_same_operations_give_the_same_bytes(void **state)
{
    static heap a, b;
    static copy copies[TEXTS + 1];
    (void)state;
    run(5, &a, copies);
    run(5, &b, copies);
    assert_memory_equal(&a, &b, sizeof a);
}

/* Every other one of many is given: one that is as long as all of them fits. */
static void room_is_what_all_texts_leave(void **state)
{
    enum { EACH = 56, COUNT = BYTES / (EACH + STOA_TEXTS_HEAD) };
    static heap h;
    char text[BYTES] = {0};
    uint32_t ids[COUNT];
    (void)state;
    memset(text, 'x', sizeof text);
    for (uint32_t i = 0; i < COUNT; i++) {
        assert_true(STOA_TEXTS_ROOM(&h, EACH));
        ids[i] = STOA_TEXTS_PUT(&h, text, EACH);
    }
    assert_false(STOA_TEXTS_ROOM(&h, 0));
    for (uint32_t i = 0; i < COUNT; i += 2) { STOA_TEXTS_GIVE(&h, ids[i]); }
    size_t left = BYTES - h.heap.used - STOA_TEXTS_HEAD, size;
    assert_false(STOA_TEXTS_ROOM(&h, left + 1));
    assert_true(STOA_TEXTS_ROOM(&h, left));
    uint32_t id = STOA_TEXTS_PUT(&h, text, left);
    assert_int_equal(h.heap.used, BYTES);
    assert_memory_equal(STOA_TEXTS_GET(&h, id, &size), text, left);
    assert_int_equal(size, left);
    for (uint32_t i = 1; i < COUNT; i += 2) { assert_memory_equal(STOA_TEXTS_GET(&h, ids[i], &size), text, EACH); }
    assert_false(STOA_TEXTS_ROOM(&h, SIZE_MAX));
}

/* Nothing that was given is left in an image. */
static void what_was_given_is_zero(void **state)
{
    static heap h;
    static copy copies[TEXTS + 1];
    (void)state;
    run(9, &h, copies);
    for (uint32_t id = 1; id <= TEXTS; id++) {
        if (copies[id].size != SIZE_MAX) { STOA_TEXTS_GIVE(&h, id); }
    }
    uint32_t words = 0;
    for (size_t i = 0; i < sizeof h.words / sizeof h.words[0]; i++) { words += h.words[i] != 0; }
    assert_true(words * 8 <= h.heap.end); /* heads at most */
    assert_int_equal(h.heap.used, 0);
    for (uint32_t i = 0; i < TEXTS; i++) { (void)STOA_TEXTS_PUT(&h, "", 0); }
    assert_false(STOA_TEXTS_ROOM(&h, 0)); /* as many as there are numbers */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_was_put_comes_back),
        cmocka_unit_test(the_same_operations_give_the_same_bytes),
        cmocka_unit_test(room_is_what_all_texts_leave),
        cmocka_unit_test(what_was_given_is_zero),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
