/* isolate_test.c - goal: an isolate is an actor like any other. Method: a real child, a plug-in that does what it is told (isolates/odd.c):
 * it answers, refuses, asks, sends, has timers, answers later, and is asked by an actor of a shard.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/runtime/isolate_stage.h"

#include "storage/sim/journal.h"

/* --- an actor of a shard, which asks it */
#define booker_put_FIELDS(F, S)    F(S, uint64_t, n)
#define booker_put_ok_FIELDS       STOA_NO_FIELDS
#define booker_look_FIELDS         STOA_NO_FIELDS
#define booker_booked_FIELDS(F, S) F(S, uint64_t, sum) F(S, uint64_t, error)
#define booker_state_FIELDS(F, S)  F(S, uint64_t, sum) F(S, uint64_t, refused)
#define booker_ROWS(ROW, K)                                   \
    ROW(K, COMMAND, put, put_ok, "Have odd/o add n.")         \
    ROW(K, REPLY, put_ok, _, "It was asked.")                 \
    ROW(K, EVENT, booked, _, "What it answered.")             \
    ROW(K, COMMAND, look, state, "What was booked?")          \
    ROW(K, REPLY, state, _, "That was.")
STOA_TABLE_HERE(booker)
typedef struct booker {
    booker_state state;
} booker;
#define booker_HEARS(HEAR, K) HEAR(K, odd, sum)
STOA_KIND(booker, .mailbox_limit = 64)
static stoa_err booker_on_put(stoa_turn *turn, const booker *self, const booker_put *in, booker_put_ok *out)
{
    (void)self, (void)out;
    return odd_ask_add(turn, stoa_turn_find(turn, "odd/o"), (odd_add){in->n}, STOA_S(60), 1);
}
static stoa_err booker_on_odd_sum(stoa_turn *turn, const booker *self, const odd_sum *in)
{
    (void)self;
    return booker_emit_booked(turn, (booker_booked){.sum = in->sum, .error = turn->error != STOA_OK});
}
static void booker_apply_booked(booker *self, const booker_booked *event)
{
    self->state.sum = event->error ? self->state.sum : event->sum;
    self->state.refused += event->error;
}
static stoa_err booker_on_look(stoa_turn *turn, const booker *self, const booker_look *in, booker_state *out)
{
    (void)turn, (void)in;
    *out = self->state;
    return STOA_OK;
}

static void test_it_answers_refuses_and_remembers(void **state)
{
    stage s;
    odd_sum sum;
    (void)state;
    open_with(&s, plug_in(), STOA_TEMPORARY);
    uint64_t all = 0;
    for (uint64_t i = 1; i <= 1000; i++) { assert_int_equal(add(&s, i).sum, all += i); }
    assert_int_equal(odd_call_refuse(s.node, s.odd, (odd_refuse){0}, STOA_S(60), &sum), STOA_E_RANGE);
    assert_int_equal(add(&s, 0).sum, all);
    stoa_buf out = {.grows = true};
    assert_int_equal(stoa_inspect(s.node, "odd/o", &out), STOA_OK);
    stoa_buf_put(&out, "", 1);
    assert_non_null(strstr(out.at, "\"serves\""));
    stoa_buf_deinit(&out);
    close_stage(&s);
}

static void test_it_starts_with_its_args_or_is_refused(void **state)
{
    stage s;
    uint64_t seven = 7, thirteen = 13;
    (void)state;
    stoa_isolate isolate = plug_in();
    isolate.args = &seven;
    isolate.args_bytes = sizeof seven;
    open_with(&s, isolate, STOA_TEMPORARY);
    assert_int_equal(add(&s, 1).sum, 8);
    close_stage(&s);
    isolate.args = &thirteen;
    open_with(&s, isolate, STOA_TEMPORARY);
    boss_seen seen = wait_for_end(&s, 1);
    assert_ended(&seen, "isolate: it refused to start");
    close_stage(&s);
}

static void test_it_asks_and_sends_in_turns_that_take_effect(void **state)
{
    stage s;
    odd_sum sum = {0};
    helper_seen seen = {0};
    (void)state;
    open_with(&s, plug_in(), STOA_TEMPORARY);
    assert_int_equal(odd_call_ask(s.node, s.odd, (odd_ask){21}, STOA_S(60), &sum), STOA_OK);
    while (add(&s, 0).doubled != 42) {}
    assert_int_equal(odd_call_notes(s.node, s.odd, (odd_notes){.n = 10}, STOA_S(60), &sum), STOA_OK);
    assert_int_equal(odd_call_notes(s.node, s.odd, (odd_notes){.n = 10, .fail = 1}, STOA_S(60), &sum), STOA_E_RANGE);
    assert_int_equal(odd_call_notes(s.node, s.odd, (odd_notes){.n = 65}, STOA_S(60), &sum), STOA_E_FULL);
    assert_int_equal(helper_call_look(s.node, s.helper, (helper_look){0}, STOA_S(60), &seen), STOA_OK);
    assert_int_equal(seen.notes, 10);
    assert_int_equal(seen.sum, 45);
    close_stage(&s);
}

static void test_its_timers_fire_and_are_cancelled(void **state)
{
    stage s;
    odd_sum sum;
    (void)state;
    open_with(&s, plug_in(), STOA_TEMPORARY);
    assert_int_equal(odd_call_timer(s.node, s.odd, (odd_timer){.after_ns = STOA_MS(5), .every_ns = STOA_MS(1)}, STOA_S(60), &sum), STOA_OK);
    while (add(&s, 0).ticks < 105) {}
    assert_int_equal(odd_call_timer(s.node, s.odd, (odd_timer){.cancel = 1}, STOA_S(60), &sum), STOA_OK);
    uint64_t ticks = add(&s, 0).ticks;
    (void)usleep(20000);
    assert_int_equal(add(&s, 0).ticks, ticks);
    close_stage(&s);
}

static void test_it_answers_later_whom_it_has_kept(void **state)
{
    stage s;
    odd_sum sum = {0};
    (void)state;
    open_with(&s, plug_in(), STOA_TEMPORARY);
    for (uint64_t i = 20; i < 20 + 3 * STOA_ISOLATE_KEEPS; i++) {
        assert_int_equal(odd_call_later(s.node, s.odd, (odd_later){i}, STOA_S(60), &sum), STOA_OK);
        assert_int_equal(sum.doubled, 2 * i);
        assert_int_equal(add(&s, 1).sum, i - 19); /* it serves meanwhile */
    }
    assert_int_equal(odd_call_later(s.node, s.odd, (odd_later){13}, STOA_S(60), &sum), STOA_E_RANGE);
    close_stage(&s);
}

static booker_state wait_for_booking(stage *s, stoa_ref ref, uint64_t sum, uint64_t refused)
{
    booker_state seen = {0};
    while (seen.sum != sum || seen.refused != refused) {
        assert_int_equal(booker_call_look(s->node, ref, (booker_look){0}, STOA_S(60), &seen), STOA_OK);
    }
    return seen;
}

static void test_an_actor_of_a_shard_asks_it_by_name_and_books_its_answers(void **state)
{
    stage s;
    stoa_shard *shard;
    stoa_ref ref;
    booker_put_ok ok;
    (void)state;
    open_with(&s, plug_in(), STOA_PERMANENT);
    stoa_shard_options options = {.name = "s", .durability = stoa_durability_DISK, .journal = &stoa_journal_sim, .path = "sim:isolate"};
    assert_int_equal(stoa_shard_open(s.node, &options, &shard), STOA_OK);
    assert_int_equal(stoa_spawn(s.node, &booker_kind, "booker/b", &(stoa_spawn_options){.shard = shard}, &ref), STOA_OK);
    for (uint64_t i = 1; i <= 3; i++) {
        assert_int_equal(booker_call_put(s.node, ref, (booker_put){10}, STOA_S(60), &ok), STOA_OK);
        (void)wait_for_booking(&s, ref, 10 * i, 0);
    }
    odd_misdo crash = {0};
    odd_sum sum;
    (void)STOA_TEXT_SETZ(&crash.what, "crash");
    assert_int_equal(odd_call_misdo(s.node, s.odd, crash, STOA_S(60), &sum), STOA_E_FAILED); /* the shard has no part in that */
    (void)wait_for_end(&s, 1);
    uint64_t refused = 0;
    for (uint64_t booked = 30; booked == 30;) { /* asked while it is down, it is told so, and books that */
        assert_int_equal(booker_call_put(s.node, ref, (booker_put){5}, STOA_S(60), &ok), STOA_OK);
        booker_state seen;
        do { assert_int_equal(booker_call_look(s.node, ref, (booker_look){0}, STOA_S(60), &seen), STOA_OK); } while (seen.refused == refused && seen.sum == 30);
        refused = seen.refused;
        booked = seen.sum;
    }
    (void)wait_for_booking(&s, ref, 5, refused);
    close_stage(&s);
    stoa_sim_disks_free();
}

int main(void)
{
    find_programs();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_it_answers_refuses_and_remembers),
        cmocka_unit_test(test_it_starts_with_its_args_or_is_refused),
        cmocka_unit_test(test_it_asks_and_sends_in_turns_that_take_effect),
        cmocka_unit_test(test_its_timers_fire_and_are_cancelled),
        cmocka_unit_test(test_it_answers_later_whom_it_has_kept),
        cmocka_unit_test(test_an_actor_of_a_shard_asks_it_by_name_and_books_its_answers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
