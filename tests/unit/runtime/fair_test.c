/* fair_test.c - goal: no actor keeps a core to itself: not by slow turns, not by a deep mailbox, not by sending to itself or to
 * others without end. Method: one core, one actor that misbehaves and one that counts how far the other got while it was served
 * itself; order decides, no clock.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>

#include <cmocka.h>

#include "runtime/stoa.h"

#define hog_slow_FIELDS(F, S)   F(S, uint64_t, ns)
#define hog_flood_FIELDS(F, S)  F(S, uint64_t, times)
#define hog_drop_FIELDS         STOA_NO_FIELDS
#define hog_read_FIELDS         STOA_NO_FIELDS
#define hog_done_FIELDS(F, S)   F(S, uint64_t, count)
#define hog_ROWS(ROW, K)                                               \
    ROW(K, CAST, slow, _, "Take so long; for ever.")                   \
    ROW(K, CAST, flood, _, "Send a hundred drops, and itself again.")  \
    ROW(K, CAST, drop, _, "Nothing.")                                  \
    ROW(K, COMMAND, read, done, "Turns so far.")                       \
    ROW(K, REPLY, done, _, "Turns so far.")
STOA_TABLE(hog)
STOA_TABLE_DEFINE(hog)
typedef struct hog {
    uint64_t count;
    stoa_ref sink;
} hog;
static uint64_t hog_turns; /* touched by the one core only */
static stoa_err hog_start(stoa_turn *turn, void *state, const void *args)
{
    (void)args;
    ((hog *)state)->sink = stoa_turn_find(turn, "hog/sink");
    return STOA_OK;
}
#define hog_HEARS STOA_HEARS_NOTHING
STOA_PLAIN_KIND(hog, .mailbox_limit = 400000, .start = hog_start) /* what is refused is not charged: it never is full here */

static uint64_t now_ns(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return (uint64_t)now.tv_sec * STOA_S(1) + (uint64_t)now.tv_nsec;
}
static stoa_err hog_on_slow(stoa_turn *turn, hog *self, const hog_slow *in)
{
    (void)self;
    for (uint64_t until = now_ns() + in->ns; now_ns() < until;) {}
    hog_turns++;
    return hog_send_slow(turn, turn->self, *in);
}
static stoa_err hog_on_flood(stoa_turn *turn, hog *self, const hog_flood *in)
{
    stoa_err err = STOA_OK;
    for (int i = 0; i < 100 && !err; i++) { err = hog_send_drop(turn, self->sink, (hog_drop){0}); }
    if (err && err != STOA_E_FULL) { return err; }
    hog_turns++;
    return in->times ? hog_send_flood(turn, turn->self, (hog_flood){in->times - 1}) : STOA_OK;
}
static stoa_err hog_on_drop(stoa_turn *turn, hog *self, const hog_drop *in)
{
    (void)turn, (void)in;
    self->count++;
    return STOA_OK;
}
static stoa_err hog_on_read(stoa_turn *turn, hog *self, const hog_read *in, hog_done *out)
{
    (void)turn, (void)self, (void)in;
    out->count = hog_turns;
    return STOA_OK;
}

/* Answers its own messages one by one and notes how many turns the hog had meanwhile. */
#define guest_go_FIELDS(F, S)   F(S, uint64_t, left)
#define guest_read_FIELDS       STOA_NO_FIELDS
#define guest_seen_FIELDS(F, S) F(S, uint64_t, first) F(S, uint64_t, last) F(S, uint64_t, turns)
#define guest_ROWS(ROW, K)                                          \
    ROW(K, CAST, go, _, "Once more, so often.")                     \
    ROW(K, COMMAND, read, seen, "What it saw of the hog.")          \
    ROW(K, REPLY, seen, _, "The hog's turns, at its first and last.")
STOA_TABLE(guest)
STOA_TABLE_DEFINE(guest)
typedef struct guest {
    guest_seen seen;
} guest;
#define guest_HEARS STOA_HEARS_NOTHING
STOA_PLAIN_KIND(guest, .mailbox_limit = 1000)
static stoa_err guest_on_go(stoa_turn *turn, guest *self, const guest_go *in)
{
    if (!self->seen.turns++) { self->seen.first = hog_turns; }
    self->seen.last = hog_turns;
    return in->left ? guest_send_go(turn, turn->self, (guest_go){in->left - 1}) : STOA_OK;
}
static stoa_err guest_on_read(stoa_turn *turn, guest *self, const guest_read *in, guest_seen *out)
{
    (void)turn, (void)in;
    *out = self->seen;
    return STOA_OK;
}

typedef struct stage {
    stoa_node *node;
    stoa_ref hog, sink, guest;
} stage;

static void stage_open(stage *s)
{
    hog_turns = 0;
    assert_int_equal(stoa_node_open(&(stoa_options){.seed = 1}, &s->node), STOA_OK);
    assert_int_equal(stoa_spawn(s->node, &hog_kind, "hog/sink", NULL, &s->sink), STOA_OK);
    assert_int_equal(stoa_spawn(s->node, &hog_kind, "hog/h", NULL, &s->hog), STOA_OK);
    assert_int_equal(stoa_spawn(s->node, &guest_kind, "guest/g", NULL, &s->guest), STOA_OK);
}

static guest_seen wait_for_guest(stage *s, uint64_t turns)
{
    guest_seen seen = {0};
    while (seen.turns < turns) {
        assert_int_equal(guest_call_read(s->node, s->guest, (guest_read){0}, STOA_S(60), &seen), STOA_OK);
    }
    return seen;
}

static uint64_t hogs(stage *s)
{
    hog_done done;
    assert_int_equal(hog_call_read(s->node, s->sink, (hog_read){0}, STOA_S(60), &done), STOA_OK);
    return done.count;
}

static void slow_turns_alternate_with_others(void **state)
{
    enum { WARM = 40, DEPTH = 1000, TURNS = 30 };
    (void)state;
    stage s;
    stage_open(&s);
    for (int i = 0; i < DEPTH; i++) { assert_int_equal(hog_post_slow(s.node, s.hog, (hog_slow){STOA_US(200)}), STOA_OK); }
    while (hogs(&s) < WARM) {} /* by now the core knows what a message takes */
    assert_int_equal(guest_post_go(s.node, s.guest, (guest_go){TURNS - 1}), STOA_OK);
    guest_seen seen = wait_for_guest(&s, TURNS);
    assert_true(seen.last - seen.first <= 5 * TURNS);
    stoa_node_close(s.node, 0);
}

static void who_sends_much_has_fewer_turns(void **state)
{
    enum { TURNS = 100 };
    (void)state;
    stage s;
    stage_open(&s);
    for (int i = 0; i < 64; i++) { assert_int_equal(hog_post_flood(s.node, s.hog, (hog_flood){10000}), STOA_OK); }
    assert_int_equal(guest_post_go(s.node, s.guest, (guest_go){TURNS - 1}), STOA_OK);
    guest_seen seen = wait_for_guest(&s, TURNS);
    assert_true(seen.last - seen.first <= 10 * TURNS); /* 64 messages are waiting: without a charge it would be 64 a go */
    stoa_node_close(s.node, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(slow_turns_alternate_with_others),
        cmocka_unit_test(who_sends_much_has_fewer_turns),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
