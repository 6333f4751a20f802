/* wheel_test.c - goal: timers fire when they are due, once or on their beat, never early, at most a tick late, in order, in any
 * mix with cancels, and however few an advance may look at. Method: random starts, cancels, jumps of time and bounds from
 * printed seeds, against a plain list.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/random.h"
#include "runtime/timer.h"

enum { TIMERS = 400, TICK_NS = 1 << STOA_TICK_SHIFT };

typedef struct expected {
    uint64_t id, due_ns, period_ns; /* 0: once */
    uint64_t tick, started;         /* when it fires; the how manieth it was to be started */
    bool alive;
} expected;

typedef struct bench {
    stoa_wheel wheel;
    expected timers[TIMERS];
    uint64_t now_ns;
    uint64_t last_tick, last_started, started; /* of the last that fired; so far */
    uint32_t fired;
} bench;

static void starts(bench *b, expected *e)
{
    uint64_t tick = (e->due_ns + TICK_NS - 1) >> STOA_TICK_SHIFT;
    e->tick = tick > b->wheel.now_tick ? tick : b->wheel.now_tick + 1;
    e->started = ++b->started;
}

static uint64_t fire(void *context, uint16_t cls, void *what)
{
    bench *b = context;
    expected *e = what;
    assert_int_equal(cls, 7);
    assert_true(e->alive);
    assert_true(e->due_ns <= b->now_ns);
    assert_true(e->tick > b->last_tick || (e->tick == b->last_tick && e->started > b->last_started));
    b->last_tick = e->tick;
    b->last_started = e->started;
    if (e->period_ns) {
        e->due_ns = b->now_ns + e->period_ns;
        starts(b, e);
    } else {
        e->alive = false;
    }
    b->fired++;
    if (b->fired % 5 == 0) { /* a timer may start and cancel others while it fires */
        expected *other = &b->timers[b->fired % TIMERS];
        if (other->alive && stoa_wheel_cancel(&b->wheel, other->id)) { other->alive = false; }
    }
    return e->alive ? e->due_ns : 0;
}

static void check_none_is_late(bench *b)
{
    for (uint32_t i = 0; i < TIMERS; i++) {
        if (b->timers[i].alive) { assert_true(b->timers[i].due_ns + TICK_NS > b->now_ns); }
    }
}

static uint64_t random_delay(stoa_random *r)
{
    static const uint64_t ranges[] = {1000, 1000000, 1000000000, UINT64_C(100) * 1000000000, UINT64_C(1000000) * 1000000000};
    return stoa_random_below(r, ranges[stoa_random_below(r, 5)]);
}

/* Start one or cancel it. */
static void change(bench *b, stoa_random *r)
{
    expected *e = &b->timers[stoa_random_below(r, TIMERS)];
    if (!e->alive) {
        e->due_ns = b->now_ns + random_delay(r);
        e->period_ns = stoa_random_chance(r, 200) ? TICK_NS + random_delay(r) : 0;
        assert_int_equal(stoa_wheel_new(&b->wheel, 7, e, &e->id), STOA_OK);
        starts(b, e);
        stoa_wheel_start(&b->wheel, e->id, e->due_ns);
        e->alive = true;
    } else if (stoa_random_chance(r, 300)) {
        assert_ptr_equal(stoa_wheel_cancel(&b->wheel, e->id), e);
        assert_null(stoa_wheel_cancel(&b->wheel, e->id));
        e->alive = false;
    }
}

/* All that is due, a few at a time, with changes in between. */
static void advance(bench *b, stoa_random *r)
{
    do {
        uint32_t max = 1 + (uint32_t)stoa_random_below(r, stoa_random_chance(r, 500) ? 4 : TIMERS);
        assert_true(stoa_wheel_advance(&b->wheel, b->now_ns, max, fire, b) <= max);
        if (stoa_random_chance(r, 500)) { change(b, r); }
    } while (b->wheel.next_ns <= b->now_ns);
    check_none_is_late(b);
}

static void timers_fire_once_never_early_at_most_a_tick_late(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 50; seed++) {
        static bench b;
        stoa_random r;
        printf("seed %llu\r", (unsigned long long)seed);
        memset(&b, 0, sizeof b);
        stoa_random_seed(&r, seed);
        b.now_ns = stoa_random_next(&r) >> 8;
        assert_int_equal(stoa_wheel_init(&b.wheel, b.now_ns, 1 << 20), STOA_OK);
        for (int step = 0; step < 4000; step++) {
            change(&b, &r);
            if (stoa_random_chance(&r, 400)) {
                b.now_ns += random_delay(&r) / 8;
                advance(&b, &r);
            }
        }
        assert_true(b.fired > 100);
        stoa_wheel_deinit(&b.wheel);
    }
}

static void the_next_time_is_never_later_than_the_first_deadline(void **state)
{
    (void)state;
    stoa_random r;
    stoa_random_seed(&r, 99);
    for (int round = 0; round < 200; round++) {
        static bench b;
        memset(&b, 0, sizeof b);
        b.now_ns = stoa_random_next(&r) >> 8;
        assert_int_equal(stoa_wheel_init(&b.wheel, b.now_ns, 1024), STOA_OK);
        assert_true(b.wheel.next_ns == UINT64_MAX);
        uint64_t first = UINT64_MAX;
        for (int i = 0; i < 20; i++) {
            uint64_t due = b.now_ns + random_delay(&r), id;
            assert_int_equal(stoa_wheel_new(&b.wheel, 7, &b.timers[i], &id), STOA_OK);
            stoa_wheel_start(&b.wheel, id, due);
            if (due < first) { first = due; }
        }
        assert_true(b.wheel.next_ns <= first + TICK_NS);
        stoa_wheel_deinit(&b.wheel);
    }
}

static void a_full_wheel_says_so(void **state)
{
    (void)state;
    stoa_wheel wheel;
    uint64_t id;
    assert_int_equal(stoa_wheel_init(&wheel, 0, 2048), STOA_OK);
    for (int i = 0; i < 2048; i++) { assert_int_equal(stoa_wheel_new(&wheel, 1, &wheel, &id), STOA_OK); }
    assert_int_equal(stoa_wheel_new(&wheel, 1, &wheel, &id), STOA_E_FULL);
    stoa_wheel_deinit(&wheel);
}

typedef struct crowd {
    uint64_t last;
    uint32_t fired, step;
} crowd;

static uint64_t fire_in_turn(void *context, uint16_t cls, void *what)
{
    crowd *c = context;
    uint64_t number = (uint64_t)(uintptr_t)what;
    (void)cls;
    assert_int_equal(number, c->last + c->step);
    c->last = number;
    c->fired++;
    return 0;
}

/* Wherever they stand, and half of them are cancelled meanwhile. */
static void a_crowd_that_is_due_at_once_fires_in_turn_a_few_at_a_time(void **state)
{
    enum { CROWD = 20000, MAX = 256 };
    static const uint64_t delays[] = {TICK_NS, 300 * UINT64_C(1000000), 300 * UINT64_C(1000000000)};
    (void)state;
    for (size_t i = 0; i < sizeof delays / sizeof delays[0]; i++) {
        stoa_wheel wheel;
        static uint64_t ids[CROWD + 1];
        uint64_t now = 12345678 * UINT64_C(1000000), calls = 0;
        crowd c = {.step = 1};
        assert_int_equal(stoa_wheel_init(&wheel, now, CROWD), STOA_OK);
        for (uint64_t n = 1; n <= CROWD; n++) {
            assert_int_equal(stoa_wheel_new(&wheel, 7, (void *)(uintptr_t)n, &ids[n]), STOA_OK);
            stoa_wheel_start(&wheel, ids[n], now + delays[i]);
        }
        assert_int_equal(stoa_wheel_advance(&wheel, now, MAX, fire_in_turn, &c), 0);
        for (now += delays[i] + TICK_NS; wheel.next_ns <= now && calls < UINT64_C(1) << 32; calls++) {
            uint32_t looked = stoa_wheel_advance(&wheel, now, MAX, fire_in_turn, &c);
            assert_in_range(looked, 0, MAX);
            if (c.fired < CROWD / 2 || c.step == 2) { continue; }
            c.step = 2;
            for (uint64_t n = c.last + 1; n <= CROWD; n += 2) { assert_non_null(stoa_wheel_cancel(&wheel, ids[n])); }
        }
        assert_true(c.fired > CROWD / 2 && c.fired < CROWD);
        assert_in_range(c.last, CROWD - 1, CROWD);
        assert_true(wheel.next_ns == UINT64_MAX);
        stoa_wheel_deinit(&wheel);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(timers_fire_once_never_early_at_most_a_tick_late),
        cmocka_unit_test(the_next_time_is_never_later_than_the_first_deadline),
        cmocka_unit_test(a_full_wheel_says_so),
        cmocka_unit_test(a_crowd_that_is_due_at_once_fires_in_turn_a_few_at_a_time),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
