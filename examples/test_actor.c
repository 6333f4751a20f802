/* test_actor.c - a tested actor: a hall whose seats can be held and paid for, and its tests. docs/guide/testing.md
 * walks through this file.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stoa/runtime/kit.h>
#include <stoa/stoa.h>

/* --- the actor */

enum { SEATS = 8 };
#define HOLD_NS STOA_S(300)

#define hall_hold_FIELDS(F, S)    F(S, uint64_t, seat) F(S, uint64_t, guest)
#define hall_pay_FIELDS(F, S)     F(S, uint64_t, seat) F(S, uint64_t, guest)
#define hall_expire_FIELDS(F, S)  F(S, uint64_t, seat) F(S, uint64_t, until_ns)
#define hall_yours_FIELDS(F, S)   F(S, uint64_t, until_ns)
#define hall_held_FIELDS(F, S)    F(S, uint64_t, seat) F(S, uint64_t, guest) F(S, uint64_t, until_ns)
#define hall_paid_FIELDS(F, S)    F(S, uint64_t, seat)
#define hall_freed_FIELDS(F, S)   F(S, uint64_t, seat)
#define hall_changed_FIELDS(F, S) F(S, uint64_t, seat) F(S, uint64_t, guest)
#define hall_ROWS(ROW, K)                                                                                  \
    ROW(K, COMMAND, hold, yours, "Hold a free seat for five minutes.")                                     \
    ROW(K, COMMAND, pay, yours, "Keep a seat that is held: it is the guest's for good.")                   \
    ROW(K, CAST, expire, _, "The five minutes are over.")                                                  \
    ROW(K, REPLY, yours, _, "Until when; 0 for ever.")                                                     \
    ROW(K, EVENT, held, _, "A seat was held.")                                                             \
    ROW(K, EVENT, paid, _, "A seat was paid for.")                                                         \
    ROW(K, EVENT, freed, _, "A seat was not paid for in time.")                                            \
    ROW(K, TOPIC, changed, _, "A seat has another guest; 0: it is free.")
STOA_TABLE(hall)
STOA_TABLE_DEFINE(hall)

typedef struct seat {
    uint64_t guest;    /* 0: free */
    uint64_t until_ns; /* wall time; 0: paid for */
} seat;
typedef struct hall {
    seat seats[SEATS];
} hall;
#define hall_HEARS STOA_HEARS_NOTHING
static stoa_err hall_resume(stoa_turn *turn, const void *state);
STOA_KIND(hall, .resume = hall_resume)

static stoa_err publish(stoa_turn *turn, uint64_t number, uint64_t guest)
{
    return hall_publish_changed(turn, 0, &(hall_changed){.seat = number, .guest = guest});
}

static stoa_err hall_on_hold(stoa_turn *turn, const hall *self, const hall_hold *in, hall_yours *out)
{
    if (in->seat >= SEATS || in->guest == 0) { return STOA_E_RANGE; }
    if (self->seats[in->seat].guest) { return STOA_E_EXISTS; }
    out->until_ns = turn->wall_ns + HOLD_NS;
    stoa_err err = hall_emit_held(turn, (hall_held){in->seat, in->guest, out->until_ns});
    if (!err) { err = hall_after_expire(turn, HOLD_NS, (hall_expire){in->seat, out->until_ns}, NULL); }
    return err ? err : publish(turn, in->seat, in->guest);
}

static stoa_err hall_on_pay(stoa_turn *turn, const hall *self, const hall_pay *in, hall_yours *out)
{
    if (in->seat >= SEATS) { return STOA_E_RANGE; }
    if (self->seats[in->seat].guest != in->guest) { return STOA_E_NOT_FOUND; }
    out->until_ns = 0;
    return self->seats[in->seat].until_ns ? hall_emit_paid(turn, (hall_paid){in->seat}) : STOA_OK;
}

static stoa_err hall_on_expire(stoa_turn *turn, const hall *self, const hall_expire *in)
{
    const seat *at = &self->seats[in->seat];
    if (!at->guest || at->until_ns != in->until_ns) { return STOA_OK; } /* paid for, or another guest's by now */
    stoa_err err = hall_emit_freed(turn, (hall_freed){in->seat});
    return err ? err : publish(turn, in->seat, 0);
}

static void hall_apply_held(hall *self, const hall_held *event)
{
    self->seats[event->seat] = (seat){event->guest, event->until_ns};
}

static void hall_apply_paid(hall *self, const hall_paid *event)
{
    self->seats[event->seat].until_ns = 0;
}

static void hall_apply_freed(hall *self, const hall_freed *event)
{
    self->seats[event->seat] = (seat){0, 0};
}

/* Timers are not in the journal: arm again what is still held. */
static stoa_err hall_resume(stoa_turn *turn, const void *state)
{
    const hall *self = state;
    stoa_err err = stoa_turn_bind(turn, 0, "hall.changed");
    for (uint64_t i = 0; i < SEATS && !err; i++) {
        uint64_t until_ns = self->seats[i].until_ns;
        uint64_t left_ns = until_ns > turn->wall_ns ? until_ns - turn->wall_ns : 1;
        if (until_ns) { err = hall_after_expire(turn, left_ns, (hall_expire){i, until_ns}, NULL); }
    }
    return err;
}

/* --- the stage */

static const stoa_kind *const kinds[] = {&hall_kind, NULL};

static void fail_in_cmocka(const char *text)
{
    fail_msg("%s", text);
}

static stoa_kit *stage(stoa_ref *hall_out)
{
    stoa_kit *kit = stoa_kit_open(&(stoa_kit_options){.kinds = kinds, .fail = fail_in_cmocka});
    *hall_out = stoa_kit_spawn(kit, &hall_kind, "hall/main", NULL);
    return kit;
}

/* --- tests */

static void a_seat_is_held_once(void **state)
{
    (void)state;
    stoa_ref main_hall;
    stoa_kit *kit = stage(&main_hall);
    stoa_kit_send(kit, main_hall, hall, hold, {.seat = 3, .guest = 7});
    stoa_kit_expect(kit, hall, yours, it->until_ns > 0);
    stoa_kit_send(kit, main_hall, hall, hold, {.seat = 3, .guest = 8});
    stoa_kit_expect_refusal(kit, hall, hold, STOA_E_EXISTS);
    stoa_kit_check(kit, stoa_kit_state(kit, hall, main_hall)->seats[3].guest == 7);
    stoa_kit_close(kit);
}

static void a_seat_that_is_not_paid_for_is_free_after_five_minutes(void **state)
{
    (void)state;
    stoa_ref main_hall;
    hall_yours yours;
    stoa_kit *kit = stage(&main_hall);
    stoa_kit_subscribe(kit, "hall.*");
    assert_int_equal(stoa_kit_call(kit, main_hall, hall, hold, &yours, {3, 7}), STOA_OK);
    stoa_kit_expect(kit, hall, changed, it->seat == 3 && it->guest == 7);
    stoa_kit_expect_nothing(kit, STOA_S(299));
    stoa_kit_advance(kit, STOA_S(2));
    stoa_kit_expect(kit, hall, changed, it->seat == 3 && it->guest == 0);
    stoa_kit_close(kit);
}

static void what_was_answered_survives_a_power_cut(void **state)
{
    (void)state;
    stoa_ref main_hall;
    hall_yours yours;
    stoa_kit *kit = stage(&main_hall);
    assert_int_equal(stoa_kit_call(kit, main_hall, hall, hold, &yours, {1, 7}), STOA_OK);
    assert_int_equal(stoa_kit_call(kit, main_hall, hall, hold, &yours, {2, 8}), STOA_OK);
    assert_int_equal(stoa_kit_call(kit, main_hall, hall, pay, &yours, {1, 7}), STOA_OK);
    stoa_kit_power_cut(kit);
    main_hall = stoa_kit_find(kit, "hall/main"); /* it came back with its shard */
    stoa_kit_check(kit, stoa_kit_state(kit, hall, main_hall)->seats[1].until_ns == 0);
    stoa_kit_check(kit, stoa_kit_state(kit, hall, main_hall)->seats[2].guest == 8);
    stoa_kit_advance(kit, STOA_S(301)); /* and so did its timer */
    stoa_kit_check(kit, stoa_kit_state(kit, hall, main_hall)->seats[1].guest == 7);
    stoa_kit_check(kit, stoa_kit_state(kit, hall, main_hall)->seats[2].guest == 0);
    stoa_kit_check_replay(kit);
    stoa_kit_close(kit);
}

static void a_failed_turn_changes_nothing(void **state)
{
    (void)state;
    stoa_ref main_hall;
    hall_yours yours;
    stoa_kit *kit = stage(&main_hall);
    stoa_kit_fail_turn(kit, "hall/main");
    assert_int_equal(stoa_kit_call(kit, main_hall, hall, hold, &yours, {3, 7}), STOA_E_FAILED);
    assert_int_equal(stoa_kit_call(kit, main_hall, hall, hold, &yours, {3, 8}), STOA_OK);
    stoa_kit_inject(kit, (stoa_sim_injection){.fault = STOA_SIM_DISK_FULL, .for_ns = STOA_MS(500)});
    stoa_kit_send(kit, main_hall, hall, pay, {3, 8});
    stoa_kit_expect_nothing(kit, STOA_MS(400)); /* nothing is acknowledged that is not on disk */
    stoa_kit_expect(kit, hall, yours, it->until_ns == 0);
    stoa_kit_close(kit);
}

/* --- at random */

/* What must be so, as the answers told it: whose seat is it for good? 0: nobody's. */
typedef struct model {
    uint64_t paid[SEATS];
} model;

static void one_step(stoa_kit *kit, stoa_ref main_hall, model *m)
{
    hall_yours yours;
    uint64_t number = stoa_kit_random(kit, SEATS), guest = 1 + stoa_kit_random(kit, 5);
    (void)stoa_kit_call(kit, main_hall, hall, hold, &yours, {number, guest});
    if (stoa_kit_random(kit, 4) == 0) { stoa_kit_advance(kit, stoa_kit_random(kit, STOA_S(200))); }
    if (stoa_kit_random(kit, 6) == 0 && stoa_kit_call(kit, main_hall, hall, pay, &yours, {number, guest}) == STOA_OK) {
        stoa_kit_check(kit, m->paid[number] == 0 || m->paid[number] == guest); /* never sold twice */
        m->paid[number] = guest;
    }
}

static uint64_t random_run(uint64_t seed)
{
    model m = {{0}};
    stoa_kit *kit = stoa_kit_open(&(stoa_kit_options){.kinds = kinds, .seed = seed, .faults = &stoa_sim_rough});
    stoa_ref main_hall = stoa_kit_spawn(kit, &hall_kind, "hall/main", NULL);
    for (int life = 0; life < 3; life++) {
        for (int step = 0; step < 10; step++) { one_step(kit, main_hall, &m); }
        if (stoa_kit_random(kit, 2)) {
            stoa_kit_power_cut(kit);
        } else {
            stoa_kit_crash(kit);
        }
        main_hall = stoa_kit_spawn(kit, &hall_kind, "hall/main", NULL); /* back, or new: its first event may be lost */
        for (int i = 0; i < SEATS; i++) { /* what was answered holds */
            const seat *at = &stoa_kit_state(kit, hall, main_hall)->seats[i];
            stoa_kit_check(kit, !m.paid[i] || (at->guest == m.paid[i] && at->until_ns == 0));
        }
    }
    uint64_t hash = stoa_kit_hash(kit);
    stoa_kit_close(kit);
    return hash;
}

static const stoa_seeds seeds = {.count = 1000, .run = random_run};

static void no_seat_is_sold_twice_or_lost(void **state)
{
    (void)state;
    assert_int_equal(stoa_seeds_run(&seeds), STOA_OK);
}

int main(int argc, char **argv)
{
    int status;
    if (stoa_seeds_main(&seeds, argc, argv, &status)) { return status; }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_seat_is_held_once),
        cmocka_unit_test(a_seat_that_is_not_paid_for_is_free_after_five_minutes),
        cmocka_unit_test(what_was_answered_survives_a_power_cut),
        cmocka_unit_test(a_failed_turn_changes_nothing),
        cmocka_unit_test(no_seat_is_sold_twice_or_lost),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
