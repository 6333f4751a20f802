/* timer_test.c - goal: timers of actors fire once or on their beat, and cancelling is part of the turn: a refused turn cancels
 * nothing and arms nothing. However many are due at once, a batch fires a bounded number; all come, in order, and beats stay
 * on their beat. Method: a metronome in the simulator, whose ticks are counted over virtual time; batches are looked at from
 * within.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "runtime/internal.h"
#include "runtime/sim.h"
#include "runtime/stoa.h"

#define metronome_begin_FIELDS(F, S)  F(S, uint64_t, period_ns)
#define metronome_once_FIELDS(F, S)   F(S, uint64_t, delay_ns)
#define metronome_crowd_FIELDS(F, S)  F(S, uint64_t, count) F(S, uint64_t, delay_ns)
#define metronome_one_FIELDS(F, S)    F(S, uint64_t, number)
#define metronome_cancel_FIELDS(F, S) F(S, uint64_t, refuse)
#define metronome_both_FIELDS(F, S)   F(S, uint64_t, refuse)
#define metronome_fail_FIELDS         STOA_NO_FIELDS
#define metronome_ticks_FIELDS        STOA_NO_FIELDS
#define metronome_beat_FIELDS(F, S)   F(S, uint64_t, weight)
#define metronome_count_FIELDS(F, S)  F(S, uint64_t, beats)
#define metronome_ROWS(ROW, K)                                                              \
    ROW(K, COMMAND, begin, count, "Beat from now on.")                                      \
    ROW(K, COMMAND, once, count, "Beat once.")                                              \
    ROW(K, COMMAND, cancel, count, "Cancel, twice; then refuse, if asked to.")              \
    ROW(K, COMMAND, both, count, "Arm a timer and cancel it; then refuse, if asked to.")    \
    ROW(K, COMMAND, fail, count, "Fail.")                                                   \
    ROW(K, COMMAND, ticks, count, "How many beats there were.")                             \
    ROW(K, COMMAND, crowd, count, "Arm so many timers for the same time.")                  \
    ROW(K, CAST, one, _, "Timer of a crowd.")                                               \
    ROW(K, CAST, beat, _, "Timer.")                                                         \
    ROW(K, REPLY, count, _, "Beats so far.")
STOA_TABLE(metronome)
STOA_TABLE_DEFINE(metronome)
typedef struct metronome {
    uint64_t beats, crowd, disorder;
    stoa_timer timer;
} metronome;
#define metronome_HEARS STOA_HEARS_NOTHING
STOA_PLAIN_KIND(metronome, .mailbox_limit = 16)

static stoa_err metronome_on_begin(stoa_turn *turn, metronome *self, const metronome_begin *in, metronome_count *out)
{
    out->beats = self->beats;
    return metronome_every_beat(turn, in->period_ns, (metronome_beat){1}, &self->timer);
}
static stoa_err metronome_on_once(stoa_turn *turn, metronome *self, const metronome_once *in, metronome_count *out)
{
    out->beats = self->beats;
    return metronome_after_beat(turn, in->delay_ns, (metronome_beat){1}, &self->timer);
}
static stoa_err metronome_on_cancel(stoa_turn *turn, metronome *self, const metronome_cancel *in, metronome_count *out)
{
    out->beats = self->beats;
    stoa_turn_cancel(turn, self->timer);
    stoa_turn_cancel(turn, self->timer);
    return in->refuse ? STOA_E_INVALID : STOA_OK;
}
static stoa_err metronome_on_both(stoa_turn *turn, metronome *self, const metronome_both *in, metronome_count *out)
{
    stoa_timer armed;
    out->beats = self->beats;
    stoa_err err = metronome_after_beat(turn, STOA_MS(1), (metronome_beat){1000}, &armed);
    if (err) { return err; }
    stoa_turn_cancel(turn, armed);
    return in->refuse ? STOA_E_INVALID : STOA_OK;
}
static stoa_err metronome_on_fail(stoa_turn *turn, metronome *self, const metronome_fail *in, metronome_count *out)
{
    (void)self, (void)in, (void)out;
    return stoa_fail(turn, "asked to");
}
static stoa_err metronome_on_ticks(stoa_turn *turn, metronome *self, const metronome_ticks *in, metronome_count *out)
{
    (void)turn, (void)in;
    out->beats = self->beats;
    return STOA_OK;
}
static stoa_err metronome_on_beat(stoa_turn *turn, metronome *self, const metronome_beat *in)
{
    (void)turn;
    self->beats += in->weight;
    return STOA_OK;
}

static stoa_err metronome_on_crowd(stoa_turn *turn, metronome *self, const metronome_crowd *in, metronome_count *out)
{
    stoa_err err = STOA_OK;
    stoa_timer armed;
    out->beats = self->beats;
    for (uint64_t i = 1; i <= in->count && !err; i++) {
        err = metronome_after_one(turn, in->delay_ns, (metronome_one){i}, &armed);
    }
    return err;
}
static stoa_err metronome_on_one(stoa_turn *turn, metronome *self, const metronome_one *in)
{
    (void)turn;
    self->disorder += in->number != self->crowd + 1;
    self->crowd = in->number;
    return STOA_OK;
}

typedef struct stage {
    stoa_sim *sim;
    stoa_node *node;
    stoa_ref m;
} stage;

static int open_stage(void **state)
{
    static stage s;
    static const stoa_kind *const kinds[] = {&metronome_kind, NULL};
    assert_int_equal(stoa_sim_new(&(stoa_sim_options){.seed = 5, .kinds = kinds}, &s.sim, &s.node), STOA_OK);
    assert_int_equal(stoa_spawn(s.node, &metronome_kind, "metronome/m", NULL, &s.m), STOA_OK);
    *state = &s;
    return 0;
}

static int close_stage(void **state)
{
    stage *s = *state;
    stoa_sim_free(s->sim);
    return 0;
}

static uint64_t beats(stage *s)
{
    metronome_count out;
    assert_int_equal(metronome_call_ticks(s->node, s->m, (metronome_ticks){0}, STOA_S(1), &out), STOA_OK);
    return out.beats;
}

static uint64_t beats_in(stage *s, uint64_t ns)
{
    uint64_t before = beats(s);
    stoa_sim_run(s->sim, ns);
    return beats(s) - before;
}

static void begin(stage *s, uint64_t period_ns)
{
    metronome_count out;
    assert_int_equal(metronome_call_begin(s->node, s->m, (metronome_begin){period_ns}, STOA_S(1), &out), STOA_OK);
}

static void a_beat_does_not_drift(void **state)
{
    stage *s = *state;
    begin(s, STOA_MS(10));
    assert_in_range(beats_in(s, STOA_S(100)), 9998, 10000);
}

static void a_period_of_nothing_is_refused(void **state)
{
    stage *s = *state;
    metronome_count out;
    assert_int_equal(metronome_call_begin(s->node, s->m, (metronome_begin){0}, STOA_S(1), &out), STOA_E_INVALID);
    assert_int_equal(beats_in(s, STOA_S(1)), 0);
}

static void a_cancelled_beat_ends(void **state)
{
    stage *s = *state;
    metronome_count out;
    begin(s, STOA_MS(10));
    assert_in_range(beats_in(s, STOA_S(1)), 98, 100);
    assert_int_equal(metronome_call_cancel(s->node, s->m, (metronome_cancel){0}, STOA_S(1), &out), STOA_OK);
    assert_int_equal(beats_in(s, STOA_S(1)), 0);
    assert_int_equal(metronome_call_cancel(s->node, s->m, (metronome_cancel){0}, STOA_S(1), &out), STOA_OK);
}

static void a_refused_turn_cancels_nothing(void **state)
{
    stage *s = *state;
    metronome_count out;
    begin(s, STOA_MS(10));
    assert_int_equal(metronome_call_cancel(s->node, s->m, (metronome_cancel){1}, STOA_S(1), &out), STOA_E_INVALID);
    assert_in_range(beats_in(s, STOA_S(1)), 98, 101);
    assert_int_equal(metronome_call_cancel(s->node, s->m, (metronome_cancel){0}, STOA_S(1), &out), STOA_OK);
    assert_int_equal(metronome_call_once(s->node, s->m, (metronome_once){STOA_MS(10)}, STOA_S(1), &out), STOA_OK);
    assert_int_equal(metronome_call_cancel(s->node, s->m, (metronome_cancel){1}, STOA_S(1), &out), STOA_E_INVALID);
    assert_int_equal(beats_in(s, STOA_S(1)), 1);
}

static void what_a_turn_arms_and_cancels_never_fires(void **state)
{
    stage *s = *state;
    metronome_count out;
    assert_int_equal(metronome_call_both(s->node, s->m, (metronome_both){0}, STOA_S(1), &out), STOA_OK);
    assert_int_equal(metronome_call_both(s->node, s->m, (metronome_both){1}, STOA_S(1), &out), STOA_E_INVALID);
    assert_int_equal(beats_in(s, STOA_S(1)), 0);
}

static void a_failure_ends_the_beat(void **state)
{
    stage *s = *state;
    metronome_count out;
    begin(s, STOA_MS(10));
    assert_int_equal(metronome_call_fail(s->node, s->m, (metronome_fail){0}, STOA_S(1), &out), STOA_E_FAILED);
    stoa_sim_run(s->sim, STOA_S(1));
    assert_int_equal(beats_in(s, STOA_S(1)), 0);
}

static void a_crowd_of_timers_does_not_hold_the_core(void **state)
{
    enum { CROWD = 10000 };
    stage *s = *state;
    metronome_count out;
    const stoa_core *core = s->node->cores[0];
    const metronome *self = stoa_sim_state(s->sim, s->m, NULL);
    begin(s, STOA_MS(10));
    assert_int_equal(metronome_call_crowd(s->node, s->m, (metronome_crowd){CROWD, STOA_MS(500)}, STOA_S(1), &out), STOA_OK);
    stoa_sim_run(s->sim, STOA_MS(495));
    uint64_t before = core->timers, beats_before = self->beats, batches = 0;
    assert_int_equal(self->crowd, 0);
    while (self->crowd < CROWD) {
        uint64_t fired = core->timers, messages = core->messages;
        assert_true(stoa_sim_step_for_call(s->sim)); /* one batch, or time goes on */
        assert_in_range(core->timers - fired, 0, STOA_BATCH_MESSAGES);
        assert_in_range(core->messages - messages, 0, 2 * STOA_BATCH_MESSAGES);
        assert_true(++batches < 1000);
    }
    assert_int_equal(self->disorder, 0);
    assert_in_range(core->timers - before, CROWD, CROWD + 2);
    stoa_sim_run(s->sim, STOA_S(10));
    assert_in_range(self->beats - beats_before, 999, 1003); /* on the beat again, and none was lost */
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, open_stage, close_stage)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_beat_does_not_drift),
        TEST(a_period_of_nothing_is_refused),
        TEST(a_cancelled_beat_ends),
        TEST(a_refused_turn_cancels_nothing),
        TEST(what_a_turn_arms_and_cancels_never_fires),
        TEST(a_failure_ends_the_beat),
        TEST(a_crowd_of_timers_does_not_hold_the_core),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
