/* readers_test.c - goal: the floor is never above a reader that still needs the log. Method: readers come, move and leave by
 * seeded chance beside a model; then on threads of their own, where the floor must never be above the slowest.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/storage/kit.h"

#include <pthread.h>

#include "runtime/readers.h"

static void no_reader_holds_nothing_back(void **state)
{
    (void)state;
    stoa_readers readers;
    uint64_t position;
    stoa_readers_init(&readers);
    assert_int_equal(stoa_readers_floor(&readers), UINT64_MAX);
    assert_false(stoa_readers_find(&readers, STOA_READER_SNAPSHOT, &position));
    stoa_readers_deinit(&readers);
}

static void names_are_taken_once_and_slots_are_bounded(void **state)
{
    (void)state;
    stoa_readers readers;
    uint32_t slot, slots[STOA_READERS_MAX];
    char name[80];
    stoa_readers_init(&readers);
    kit_err(stoa_readers_add(&readers, "", 0, &slot), STOA_E_INVALID);
    memset(name, 'x', 63);
    name[63] = '\0';
    kit_err(stoa_readers_add(&readers, name, 0, &slot), STOA_E_INVALID);
    for (uint32_t i = 0; i < STOA_READERS_MAX; i++) {
        (void)snprintf(name, sizeof name, "reader-%u", i);
        kit_ok(stoa_readers_add(&readers, name, 100 + i, &slots[i]));
        kit_err(stoa_readers_add(&readers, name, 5, &slot), STOA_E_EXISTS);
    }
    kit_err(stoa_readers_add(&readers, "one more", 0, &slot), STOA_E_NOMEM);
    assert_int_equal(stoa_readers_floor(&readers), 100);
    stoa_readers_leave(&readers, slots[0]);
    assert_int_equal(stoa_readers_floor(&readers), 101);
    kit_ok(stoa_readers_add(&readers, "one more", 7, &slot));
    assert_int_equal(stoa_readers_floor(&readers), 7);
    stoa_readers_move(&readers, slot, 3); /* never back */
    assert_int_equal(stoa_readers_floor(&readers), 7);
    stoa_readers_move(&readers, slot, 500);
    assert_int_equal(stoa_readers_floor(&readers), 101);
    uint64_t position = 0;
    assert_true(stoa_readers_find(&readers, "one more", &position));
    assert_int_equal(position, 500);
    stoa_readers_deinit(&readers);
}

enum { STEPS = 20000, MODEL = 24 };

static void the_floor_is_the_lowest_of_all_readers(void **state)
{
    (void)state;
    stoa_random random = kit_random(5);
    stoa_readers readers;
    stoa_readers_init(&readers);
    struct { bool there; uint32_t slot; uint64_t position; } model[MODEL] = {0};
    for (unsigned step = 0; step < STEPS; step++) {
        unsigned i = (unsigned)stoa_random_below(&random, MODEL);
        char name[16];
        (void)snprintf(name, sizeof name, "r%u", i);
        if (!model[i].there) {
            model[i].position = stoa_random_below(&random, 1000);
            kit_ok(stoa_readers_add(&readers, name, model[i].position, &model[i].slot));
            model[i].there = true;
        } else if (stoa_random_chance(&random, 300)) {
            stoa_readers_leave(&readers, model[i].slot);
            model[i].there = false;
        } else {
            uint64_t to = stoa_random_below(&random, 2000);
            stoa_readers_move(&readers, model[i].slot, to);
            if (to > model[i].position) { model[i].position = to; }
        }
        uint64_t floor = UINT64_MAX;
        for (unsigned k = 0; k < MODEL; k++) {
            if (model[k].there && model[k].position < floor) { floor = model[k].position; }
        }
        assert_int_equal(stoa_readers_floor(&readers), floor);
    }
    stoa_readers_deinit(&readers);
}

enum { THREADS = 3, MOVES = 20000 };

typedef struct mover {
    stoa_readers *readers;
    uint32_t slot;
} mover;

static void *move_on(void *argument)
{
    mover *m = argument;
    for (uint64_t position = 1; position <= MOVES; position++) { stoa_readers_move(m->readers, m->slot, position); }
    return NULL;
}

static void the_floor_never_falls_while_readers_move(void **state)
{
    (void)state;
    stoa_readers readers;
    pthread_t threads[THREADS];
    mover movers[THREADS];
    stoa_readers_init(&readers);
    for (unsigned i = 0; i < THREADS; i++) {
        char name[16];
        (void)snprintf(name, sizeof name, "m%u", i);
        movers[i].readers = &readers;
        kit_ok(stoa_readers_add(&readers, name, 0, &movers[i].slot));
    }
    for (unsigned i = 0; i < THREADS; i++) { assert_int_equal(pthread_create(&threads[i], NULL, move_on, &movers[i]), 0); }
    uint64_t before = 0;
    while (before < MOVES) {
        uint64_t floor = stoa_readers_floor(&readers);
        assert_true(floor >= before);
        before = floor;
    }
    for (unsigned i = 0; i < THREADS; i++) { assert_int_equal(pthread_join(threads[i], NULL), 0); }
    stoa_readers_deinit(&readers);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(no_reader_holds_nothing_back),
        cmocka_unit_test(names_are_taken_once_and_slots_are_bounded),
        cmocka_unit_test(the_floor_is_the_lowest_of_all_readers),
        cmocka_unit_test(the_floor_never_falls_while_readers_move),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
