/* session_refusal_test.c - goal: who refuses a greeting is never up on the other side, not for a moment; the refused side is told
 * the reason by its name, tries again less and less often, and is let in as soon as the reason is gone (transport/session.h).
 * Method: a table of everything that can be wrong, on either side of a simulated link: two good lives that talk, then one that
 * is restarted as the row says, for a minute, then a good one again. Anything that both would do is seen by the events of both.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/transport/session_kit.h"

enum { OURS = STOA_SESSION_VERSION, INCARNATION = 5, EPOCH = 5, BAD_MS = 60000, GOOD_MS = 20000, TOLD_MOST = 14 };

/* What is exchanged before; a minute of what is wrong; who says so. */
typedef struct row {
    const char *what;
    bool a_is_bad;              /* which one restarts: a listens */
    bool a_talks, b_talks;      /* before */
    uint64_t incarnation, epoch; /* it restarts with these */
    uint16_t version;
    const char *name, *expects; /* NULL: as before */
    stoa_err why;
    bool by_bad; /* it is the one that refuses */
} row;

static const row rows[] = {
    {"an older incarnation, who dials", false, true, true, INCARNATION - 1, EPOCH, OURS, NULL, NULL, STOA_E_STALE, false},
    {"an older incarnation, who listens", true, true, true, INCARNATION - 1, EPOCH, OURS, NULL, NULL, STOA_E_STALE, false},
    {"the same life with an older epoch", false, false, false, INCARNATION, EPOCH - 1, OURS, NULL, NULL, STOA_E_STALE, false},
    {"the same life with an older epoch, who listens", true, false, false, INCARNATION, EPOCH - 1, OURS, NULL, NULL, STOA_E_STALE, false},
    {"another version, who dials", false, true, true, INCARNATION + 1, EPOCH, OURS + 1, NULL, NULL, STOA_E_VERSION, false},
    {"another version, who listens", true, true, true, INCARNATION + 1, EPOCH, OURS + 1, NULL, NULL, STOA_E_VERSION, true},
    {"who dials expects another one", false, true, true, INCARNATION + 1, EPOCH, OURS, NULL, "c", STOA_E_DENIED, true},
    {"who dials says it is who listens", false, true, true, INCARNATION + 1, EPOCH, OURS, "a", NULL, STOA_E_DENIED, false},
    {"who listens is another one now", true, true, true, INCARNATION + 1, EPOCH, OURS, "c", NULL, STOA_E_DENIED, false},
    {"one node too many", false, true, true, INCARNATION + 1, EPOCH, OURS, "d", NULL, STOA_E_FULL, false},
    {"who dials has forgotten what came", false, true, false, INCARNATION, EPOCH, OURS, NULL, NULL, STOA_E_FORKED, false},
    {"who dials has forgotten what it sent", false, false, true, INCARNATION, EPOCH, OURS, NULL, NULL, STOA_E_FORKED, false},
    {"who dials has forgotten both", false, true, true, INCARNATION, EPOCH, OURS, NULL, NULL, STOA_E_FORKED, false},
    {"who listens has forgotten what came", true, false, true, INCARNATION, EPOCH, OURS, NULL, NULL, STOA_E_FORKED, false},
    {"who listens has forgotten what it sent", true, true, false, INCARNATION, EPOCH, OURS, NULL, NULL, STOA_E_FORKED, true},
    {"who listens has forgotten both", true, true, true, INCARNATION, EPOCH, OURS, NULL, NULL, STOA_E_FORKED, true},
};

static const row *now_at;

/* What was asserted last belongs to this row. */
static int say_row(void **state)
{
    if (now_at) { print_error("in the row \"%s\"\n", now_at->what); }
    return kit_close(state);
}

static void talk(kit *k, const row *is)
{
    for (stoa_lane lane = STOA_LANE_CONTROL; lane < STOA_LANE_COUNT; lane++) {
        for (unsigned i = 0; i < 5; i++) {
            if (is->a_talks) { assert_int_equal(kit_send(&k->a, lane, "a", 1, 0), STOA_OK); }
            if (is->b_talks) { assert_int_equal(kit_send(&k->b, lane, "b", 1, 0), STOA_OK); }
        }
    }
    kit_run(k, 500);
}

static void restart(kit *k, const row *is, bool good)
{
    kit_end *bad = is->a_is_bad ? &k->a : &k->b;
    stoa_session_options options = kit_options(k, bad);
    if (!good) {
        options.incarnation = is->incarnation;
        options.epoch = is->epoch;
        options.version_min = options.version_max = is->version;
        options.name = is->name ? is->name : options.name;
        options.peer = is->expects;
    } else {
        options.incarnation = INCARNATION + 2;
        options.epoch = EPOCH + 2;
    }
    kit_end_now(bad);
    kit_begin(k, bad, &options);
}

/* The last reason that e gave, to who has a session or none. */
static stoa_err said(kit_end *e)
{
    stoa_sessions_counts counts;
    stoa_sessions_counted(e->sessions, &counts);
    return e->why_here ? e->why_here : counts.stranger_why;
}

static void is_refused(kit *k, const row *is)
{
    bool a_refuses = is->a_is_bad == is->by_bad;
    kit_end *who = a_refuses ? &k->a : &k->b, *whom = a_refuses ? &k->b : &k->a;
    uint32_t a_ups, b_ups, before = whom->refusals;
    kit_end *good = is->a_is_bad ? &k->b : &k->a;
    kit_run(k, 1); /* the good one hears that the other one is gone */
    a_ups = good == &k->a ? k->a.ups : 0;
    b_ups = good == &k->b ? k->b.ups : 0;
    kit_run(k, BAD_MS);
    assert_int_equal(k->a.ups, a_ups);
    assert_int_equal(k->b.ups, b_ups);
    assert_int_equal(said(who), is->why);
    assert_true(whom->refusals > before);
    assert_int_equal(whom->why_told, is->why);
    assert_in_range(whom->refusals - before, 1, TOLD_MOST);
}

static void who_refuses_is_never_up_on_the_other_side(void **state)
{
    kit *k = *state;
    k->options.incarnation = INCARNATION;
    k->options.epoch = EPOCH;
    k->sessions_max = 1;
    for (unsigned i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        const row *is = now_at = &rows[i];
        kit_up(k);
        talk(k, is);
        restart(k, is, false);
        is_refused(k, is);
        restart(k, is, true);
        uint32_t a_ups = is->a_is_bad ? 0 : k->a.ups, b_ups = is->a_is_bad ? k->b.ups : 0;
        kit_run(k, GOOD_MS);
        assert_int_equal(k->a.ups, a_ups + 1);
        assert_int_equal(k->b.ups, b_ups + 1);
        kit_end_now(&k->b);
        kit_end_now(&k->a);
        kit_run(k, 10);
    }
    now_at = NULL;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(who_refuses_is_never_up_on_the_other_side, kit_open, say_row),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
