/* kit_test.c - goal: the test kit says what is wrong, and each fault of the simulator does what its row says. Method: a box
 * that remembers and an echo with timers; expectations that fail on purpose, and faults by order.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/log.h"
#include "runtime/kit.h"
#include "runtime/stoa.h"

/* --- a box, event-sourced; an echo, plain */

#define box_put_FIELDS(F, S)   F(S, uint64_t, amount)
#define box_total_FIELDS(F, S) F(S, uint64_t, total)
#define box_added_FIELDS(F, S) F(S, uint64_t, amount)
#define box_grown_FIELDS(F, S) F(S, uint64_t, total)
#define box_ROWS(ROW, K)                                                                                               \
    ROW(K, COMMAND, put, total, "Add; 0 is refused.")                                                                  \
    ROW(K, REPLY, total, _, "All of it.")                                                                              \
    ROW(K, EVENT, added, _, "Added.")                                                                                  \
    ROW(K, TOPIC, grown, _, "It grew.")
STOA_TABLE(box)
STOA_TABLE_DEFINE(box)
typedef struct box {
    uint64_t total;
} box;
#define box_HEARS STOA_HEARS_NOTHING
static stoa_err box_resume(stoa_turn *turn, const void *state)
{
    (void)state;
    return stoa_turn_bind(turn, 0, "box.grown");
}
STOA_KIND(box, .resume = box_resume)
static stoa_err box_on_put(stoa_turn *turn, const box *self, const box_put *in, box_total *out)
{
    if (in->amount == 0) { return STOA_E_INVALID; }
    out->total = self->total + in->amount;
    stoa_err err = box_emit_added(turn, (box_added){in->amount});
    return err ? err : box_publish_grown(turn, 0, &(box_grown){out->total});
}
static void box_apply_added(box *self, const box_added *event)
{
    self->total += event->amount;
}

#define echo_say_FIELDS(F, S)   F(S, uint64_t, number) F(S, uint64_t, delay_ns)
#define echo_back_FIELDS(F, S)  F(S, uint64_t, number) F(S, uint64_t, at_ns)
#define echo_later_FIELDS(F, S) F(S, uint64_t, number)
#define echo_pass_FIELDS(F, S)  F(S, uint64_t, number)
#define echo_ROWS(ROW, K)                                                                                              \
    ROW(K, CAST, say, _, "Say it back to the sender, after a delay; 0: at once.")                                      \
    ROW(K, CAST, back, _, "Back.")                                                                                     \
    ROW(K, CAST, later, _, "The timer.")                                                                               \
    ROW(K, CAST, pass, _, "Say it to the next echo.")
STOA_TABLE(echo)
STOA_TABLE_DEFINE(echo)
typedef struct echo {
    stoa_ref asker, next;
    uint64_t said;
} echo;
#define echo_HEARS STOA_HEARS_NOTHING
static stoa_err echo_start(stoa_turn *turn, void *state, const void *args)
{
    echo *self = state;
    (void)args;
    self->next = stoa_turn_find(turn, "echo/0");
    return STOA_OK;
}
STOA_PLAIN_KIND(echo, .start = echo_start)
static stoa_err echo_on_say(stoa_turn *turn, echo *self, const echo_say *in)
{
    self->asker = turn->from;
    if (in->delay_ns) { return echo_after_later(turn, in->delay_ns, (echo_later){in->number}, NULL); }
    return echo_send_back(turn, turn->from, (echo_back){in->number, turn->now_ns});
}
static stoa_err echo_on_later(stoa_turn *turn, echo *self, const echo_later *in)
{
    return echo_send_back(turn, self->asker, (echo_back){in->number, turn->now_ns});
}
static stoa_err echo_on_pass(stoa_turn *turn, echo *self, const echo_pass *in)
{
    return echo_send_say(turn, self->next, (echo_say){in->number, 0});
}
static stoa_err echo_on_back(stoa_turn *turn, echo *self, const echo_back *in)
{
    (void)turn;
    self->said = in->number;
    return STOA_OK;
}

/* --- the stage */

static const stoa_kind *const kinds[] = {&box_kind, NULL};
static char report[4096];
static jmp_buf after_failure;

static void note_failure(const char *text)
{
    (void)snprintf(report, sizeof report, "%s", text);
    longjmp(after_failure, 1);
}

static stoa_kit *open_kit(uint32_t cores)
{
    return stoa_kit_open(&(stoa_kit_options){.kinds = kinds, .seed = 42, .cores = cores, .fail = note_failure});
}

/* The statement must fail with a report that has these words, the seed and the command. */
#define must_fail(statement, ...)                                                                                      \
    do {                                                                                                               \
        report[0] = '\0';                                                                                              \
        if (setjmp(after_failure) == 0) {                                                                              \
            statement;                                                                                                 \
            fail_msg("did not fail: %s", #statement);                                                                  \
        }                                                                                                              \
        static const char *const words[] = {__VA_ARGS__, "kit_test.c:", "seed 42", "STOA_TEST_SEED=42 ", "test_sim_kit"}; \
        for (size_t i_ = 0; i_ < sizeof words / sizeof words[0]; i_++) {                                               \
            if (!strstr(report, words[i_])) { fail_msg("'%s' is missing in:\n%s", words[i_], report); }                \
        }                                                                                                              \
    } while (0)

/* What is not meant to fail here, fails the test. */
#define begin()                                                                                                        \
    if (setjmp(after_failure)) { fail_msg("%s", report); }

/* --- what fails is told */

static void a_failed_expectation_says_what_came_instead(void **state)
{
    (void)state;
    stoa_kit *volatile kit = open_kit(1);
    stoa_ref volatile a = stoa_kit_spawn(kit, &box_kind, "box/a", NULL);
    stoa_kit_send(kit, a, box, put, {5});
    must_fail(stoa_kit_expect(kit, box, total, it->total == 6), "expected it->total == 6, what came is:",
              "box.total {\"total\":5}");
    stoa_kit_send(kit, a, box, put, {0});
    must_fail(stoa_kit_expect(kit, box, total, it->total == 6), "it was refused: INVALID");
    stoa_kit_send(kit, a, box, put, {1});
    must_fail(stoa_kit_expect_refusal(kit, box, put, STOA_E_INVALID), "refused with INVALID", "{\"total\":6}");
    stoa_kit_send(kit, a, box, put, {1});
    must_fail(stoa_kit_expect(kit, box, grown, it->total), "expected box.grown with it->total, none came within",
              "what came instead:", "box.total {\"total\":7}");
    must_fail(stoa_kit_expect_nothing(kit, STOA_MS(1)), "expected nothing for 1.000 ms", "box.total {\"total\":7}");
    must_fail(stoa_kit_check(kit, stoa_kit_state(kit, box, a)->total == 9), "not so: ", "total == 9");
    must_fail((void)stoa_kit_state(kit, echo, a), "of another kind");
    stoa_kit_close(kit);
}

static void dead_letters_are_expected_or_shown(void **state)
{
    (void)state;
    stoa_kit *volatile kit = open_kit(1);
    stoa_ref volatile a = stoa_kit_spawn(kit, &box_kind, "box/a", NULL);
    stoa_kit_send(kit, a, echo, pass, {1}); /* boxes take no such thing */
    stoa_kit_send(kit, a, echo, pass, {2});
    if (setjmp(after_failure)) { fail_msg("%s", report); }
    stoa_kit_expect_dead_letter(kit, echo, pass, STOA_E_NO_HANDLER);
    assert_true(stoa_kit_dead_letters(kit) >= 1);
    must_fail(stoa_kit_expect_dead_letter(kit, echo, pass, STOA_E_FULL), "echo.pass to box/a: NO_HANDLER", "for FULL");
    stoa_kit_close(kit);
}

static void a_test_that_ended_in_its_middle_does_not_disturb_the_next(void **state)
{
    (void)state;
    stoa_kit *volatile kit = open_kit(1);
    stoa_ref volatile a = stoa_kit_spawn(kit, &box_kind, "box/a", NULL);
    box_total out;
    assert_int_equal(stoa_kit_call(kit, a, box, put, &out, {5}), STOA_OK);
    must_fail(stoa_kit_check(kit, false), "not so: false");
    kit = open_kit(1); /* the one before is left */
    begin();
    a = stoa_kit_spawn(kit, &box_kind, "box/a", NULL);
    stoa_kit_check(kit, stoa_kit_state(kit, box, a)->total == 0);
    stoa_kit_close(kit);
}

/* --- each fault does what it says */

static stoa_kit *two_echoes(stoa_ref *zero_out, stoa_ref *one_out)
{
    stoa_kit *kit = open_kit(2);
    *zero_out = stoa_kit_spawn_on(kit, 0, &echo_kind, "echo/0", NULL);
    *one_out = stoa_kit_spawn_on(kit, 1, &echo_kind, "echo/1", NULL);
    return kit;
}

static void a_lost_turn_refuses_its_message_and_a_last_one_takes_effect(void **state)
{
    (void)state;
    box_total out;
    stoa_kit *kit = open_kit(1);
    begin();
    stoa_ref a = stoa_kit_spawn(kit, &box_kind, "box/a", NULL);
    stoa_kit_inject(kit, (stoa_sim_injection){.fault = STOA_SIM_TURN_LOST, .at = "box/*", .skip = 1});
    assert_int_equal(stoa_kit_call(kit, a, box, put, &out, {1}), STOA_OK);
    assert_int_equal(stoa_kit_call(kit, a, box, put, &out, {1}), STOA_E_FAILED);
    stoa_kit_inject(kit, (stoa_sim_injection){.fault = STOA_SIM_TURN_LAST});
    assert_int_equal(stoa_kit_call(kit, a, box, put, &out, {1}), STOA_OK);
    stoa_kit_settle(kit);
    assert_int_equal(stoa_kit_call(kit, a, box, put, &out, {1}), STOA_OK);
    assert_int_equal(out.total, 3);
    assert_int_equal(stoa_sim_faulted(stoa_kit_sim(kit), STOA_SIM_TURN_LOST), 1);
    stoa_kit_check_replay(kit);
    stoa_kit_close(kit);
}

static void slow_and_full_disks_hold_answers_back(void **state)
{
    (void)state;
    static const stoa_sim_fault faults[] = {STOA_SIM_DISK_SLOW, STOA_SIM_DISK_FULL};
    for (volatile int i = 0; i < 2; i++) {
        stoa_kit *kit = open_kit(1);
        begin();
        stoa_ref a = stoa_kit_spawn(kit, &box_kind, "box/a", NULL);
        stoa_kit_settle(kit);
        stoa_kit_inject(kit, (stoa_sim_injection){.fault = faults[i], .at = "kit", .for_ns = STOA_MS(700)});
        stoa_kit_send(kit, a, box, put, {1});
        stoa_kit_expect_nothing(kit, STOA_MS(700));
        stoa_kit_expect(kit, box, total, it->total == 1);
        stoa_kit_power_cut(kit);
        stoa_kit_check(kit, stoa_kit_state(kit, box, stoa_kit_find(kit, "box/a"))->total == 1);
        stoa_kit_close(kit);
    }
}

static void a_broken_disk_ends_the_process_and_nothing_is_acknowledged(void **state)
{
    (void)state;
    box_total out;
    stoa_kit *volatile kit = open_kit(1);
    begin();
    stoa_ref volatile a = stoa_kit_spawn(kit, &box_kind, "box/a", NULL);
    assert_int_equal(stoa_kit_call(kit, a, box, put, &out, {1}), STOA_OK);
    stoa_kit_inject(kit, (stoa_sim_injection){.fault = STOA_SIM_DISK_BROKEN});
    stoa_kit_send(kit, a, box, put, {1});
    must_fail(stoa_kit_expect(kit, box, total, true), "the process died: kit: the journal failed");
    begin();
    stoa_kit_power_cut(kit);
    assert_null(stoa_sim_dead(stoa_kit_sim(kit)));
    uint64_t total = stoa_kit_state(kit, box, stoa_kit_find(kit, "box/a"))->total;
    assert_true(total == 1 || total == 2); /* the second was written, or not */
    stoa_kit_close(kit);
}

static void a_killed_process_stands_still(void **state)
{
    (void)state;
    stoa_ref zero, one;
    stoa_kit *kit = two_echoes(&zero, &one);
    begin();
    stoa_kit_inject(kit, (stoa_sim_injection){.fault = STOA_SIM_KILLED, .after_ns = STOA_MS(5)});
    stoa_kit_send(kit, zero, echo, say, {1, STOA_MS(3)});
    stoa_kit_expect(kit, echo, back, it->number == 1);
    stoa_kit_send(kit, zero, echo, say, {2, STOA_MS(3)});
    stoa_kit_expect_nothing(kit, STOA_S(1));
    assert_string_equal(stoa_sim_dead(stoa_kit_sim(kit)), "killed");
    stoa_kit_crash(kit);
    zero = stoa_kit_spawn(kit, &echo_kind, "echo/0", NULL);
    stoa_kit_send(kit, zero, echo, say, {3, 0});
    stoa_kit_expect(kit, echo, back, it->number == 3);
    stoa_kit_close(kit);
}

static void timers_can_be_late_but_never_early(void **state)
{
    (void)state;
    stoa_ref zero, one;
    stoa_kit *kit = two_echoes(&zero, &one);
    begin();
    uint64_t now = stoa_sim_now(stoa_kit_sim(kit));
    stoa_kit_inject(kit, (stoa_sim_injection){.fault = STOA_SIM_TIMERS_LATE, .core = 0, .for_ns = STOA_MS(40)});
    stoa_kit_send(kit, zero, echo, say, {1, STOA_MS(3)});
    stoa_kit_send(kit, one, echo, say, {2, STOA_MS(3)});
    stoa_kit_expect(kit, echo, back, it->number == 2 && it->at_ns >= now + STOA_MS(3) && it->at_ns < now + STOA_MS(5));
    stoa_kit_expect(kit, echo, back, it->number == 1 && it->at_ns >= now + STOA_MS(40));
    stoa_kit_close(kit);
}

static void a_held_ring_delays_what_one_core_sends_another(void **state)
{
    (void)state;
    stoa_ref zero, one;
    stoa_kit *kit = two_echoes(&zero, &one);
    begin();
    stoa_kit_inject(kit, (stoa_sim_injection){.fault = STOA_SIM_RING_HELD, .core = 0, .for_ns = STOA_MS(20)});
    stoa_kit_advance(kit, STOA_US(10));
    stoa_kit_send(kit, one, echo, pass, {7}); /* to echo/0 on core 0, which does not get it yet */
    stoa_kit_advance(kit, STOA_MS(15));
    stoa_kit_check(kit, stoa_kit_state(kit, echo, one)->said == 0);
    stoa_kit_advance(kit, STOA_MS(10));
    stoa_kit_check(kit, stoa_kit_state(kit, echo, one)->said == 7);
    stoa_kit_close(kit);
}

static void a_stalled_core_gets_all_at_once(void **state)
{
    (void)state;
    stoa_ref zero, one;
    stoa_kit *kit = two_echoes(&zero, &one);
    begin();
    stoa_kit_inject(kit, (stoa_sim_injection){.fault = STOA_SIM_CORE_STALLED, .core = 0, .for_ns = STOA_MS(20)});
    stoa_kit_advance(kit, STOA_US(10));
    for (uint64_t i = 1; i <= 50; i++) { stoa_kit_send(kit, zero, echo, say, {i, 0}); }
    stoa_kit_expect_nothing(kit, STOA_MS(15));
    uint64_t first = stoa_sim_now(stoa_kit_sim(kit));
    for (uint64_t i = 1; i <= 50; i++) { stoa_kit_expect(kit, echo, back, it->number == i && it->at_ns >= first); }
    stoa_kit_close(kit);
}

static void without_memory_turns_are_refused_and_go_on_behind_it(void **state)
{
    (void)state;
    stoa_ref zero, one;
    stoa_kit *kit = two_echoes(&zero, &one);
    begin();
    stoa_kit_inject(kit, (stoa_sim_injection){.fault = STOA_SIM_MEMORY_OUT, .core = 0, .for_ns = STOA_MS(5)});
    stoa_kit_advance(kit, STOA_US(10));
    stoa_kit_send(kit, zero, echo, say, {1, STOA_MS(1)}); /* its timer needs a block, which is not there */
    stoa_kit_expect_nothing(kit, STOA_MS(4));
    stoa_kit_settle(kit);
    stoa_kit_send(kit, zero, echo, say, {2, STOA_MS(1)});
    stoa_kit_expect(kit, echo, back, it->number <= 2);
    stoa_kit_close(kit);
}

static void orders_that_make_no_sense_are_refused(void **state)
{
    (void)state;
    stoa_kit *kit = open_kit(2);
    stoa_sim *sim = stoa_kit_sim(kit);
    assert_int_equal(stoa_sim_inject(sim, &(stoa_sim_injection){.fault = STOA_SIM_FAULT_COUNT}), STOA_E_INVALID);
    assert_int_equal(stoa_sim_inject(sim, &(stoa_sim_injection){.fault = STOA_SIM_KILLED, .core = 2}), STOA_E_INVALID);
    for (int i = 0; i < 64; i++) {
        assert_int_equal(stoa_sim_inject(sim, &(stoa_sim_injection){.fault = STOA_SIM_TURN_LOST}), STOA_OK);
    }
    assert_int_equal(stoa_sim_inject(sim, &(stoa_sim_injection){.fault = STOA_SIM_TURN_LOST}), STOA_E_FULL);
    stoa_kit_close(kit);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_failed_expectation_says_what_came_instead),
        cmocka_unit_test(dead_letters_are_expected_or_shown),
        cmocka_unit_test(a_test_that_ended_in_its_middle_does_not_disturb_the_next),
        cmocka_unit_test(a_lost_turn_refuses_its_message_and_a_last_one_takes_effect),
        cmocka_unit_test(slow_and_full_disks_hold_answers_back),
        cmocka_unit_test(a_broken_disk_ends_the_process_and_nothing_is_acknowledged),
        cmocka_unit_test(a_killed_process_stands_still),
        cmocka_unit_test(timers_can_be_late_but_never_early),
        cmocka_unit_test(a_held_ring_delays_what_one_core_sends_another),
        cmocka_unit_test(a_stalled_core_gets_all_at_once),
        cmocka_unit_test(without_memory_turns_are_refused_and_go_on_behind_it),
        cmocka_unit_test(orders_that_make_no_sense_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
