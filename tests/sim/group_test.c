/* group_test.c - goal: whatever the schedule, what is published on a group reaches exactly the members that are there, by the
 * order of each core, and each of them once; nothing is lost uncounted. Method: members of one group on four simulated cores
 * come, go, fail, end and publish, all by chance from a seed, while rings are held and cores stall; listeners stay.
 *
 * A member marks its own mailbox when it joins and when it leaves: whatever is published in between lies between the marks.
 * There it must hear every publisher's numbers without a gap; from its first one on: nothing published after it joined may
 * be missing, and nothing published after it left may come; what its own core published in between must be all there. At
 * the end, what the cores say they lent is what was heard plus the dead letters.
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
#include "base/random.h"
#include "runtime/kit.h"
#include "runtime/stoa.h"

enum { CORES = 4, MEMBERS = 12, ACTORS = MEMBERS + CORES, ACTIONS = 150, NUMBERS_MAX = 2048, STEPS_MAX = 1000000 };
enum { COME, GO, SPEAK, FAIL };

/* --- the books; one simulation at a time. Stamps count what happened: one thread, one order. */

typedef struct stay {
    uint64_t joined, left; /* stamps; 0: not yet */
} stay;

typedef struct book {
    stoa_ref ref;
    uint32_t core;
    bool ended;            /* stopped from outside */
    bool joined;           /* by its last turn */
    bool inside;           /* between marks */
    uint32_t stays, now;   /* begun; the one it is inside */
    stay stay[NUMBERS_MAX];
    uint64_t last[MEMBERS]; /* number heard from each publisher in this stay, 0: none */
    uint64_t spoken;
    uint64_t spoken_at[NUMBERS_MAX]; /* stamp of each number, from 1 */
} book;

static struct {
    book of[ACTORS];
    uint64_t stamp, heard, lost, jobs, jobs_sent, jobs_lost;
} books;

/* --- member */

#define member_act_FIELDS(F, S)      F(S, uint64_t, what)
#define member_mark_FIELDS(F, S)     F(S, uint64_t, stay) F(S, uint64_t, begins)
#define member_job_FIELDS            STOA_NO_FIELDS
#define member_bulletin_FIELDS(F, S) F(S, uint64_t, who) F(S, uint64_t, n)
#define member_ROWS(ROW, K)                                                                                            \
    ROW(K, CAST, act, _, "Come, go, speak or fail.")                                                                   \
    ROW(K, CAST, mark, _, "To itself: a stay begins or ends here.")                                                    \
    ROW(K, CAST, job, _, "For one member.")                                                                            \
    ROW(K, TOPIC, bulletin, _, "The next number of a member.")
STOA_TABLE(member)
STOA_TABLE_DEFINE(member)
typedef struct member {
    uint64_t number;
} member;
typedef struct member_args {
    uint64_t number;
} member_args;
#define member_HEARS(HEAR, K) HEAR(K, member, bulletin)
static stoa_err member_start(stoa_turn *turn, void *state, const void *args);
STOA_PLAIN_KIND(member, .mailbox_limit = 1 << 16, .start = member_start, .args_bytes = sizeof(member_args))

static stoa_err speak(stoa_turn *turn, book *b, uint64_t number)
{
    assert_true(b->spoken + 1 < NUMBERS_MAX);
    member_bulletin bulletin = {number, ++b->spoken};
    b->spoken_at[b->spoken] = ++books.stamp;
    stoa_ref one = stoa_turn_member(turn, 0, books.stamp);
    if (one.at && !member_send_job(turn, one, (member_job){0})) { books.jobs_sent++; }
    return member_publish_bulletin(turn, 0, &bulletin);
}

static stoa_err come(stoa_turn *turn, book *b, uint64_t number)
{
    bool listens = number >= MEMBERS;
    if (b->joined) { return STOA_OK; }
    assert_true(b->stays < NUMBERS_MAX);
    b->joined = true;
    b->stay[b->stays] = (stay){.joined = ++books.stamp};
    member_mark mark = {b->stays++, true};
    stoa_err err = listens ? stoa_turn_subscribe(turn, "crew.*") : stoa_turn_join(turn, "crew.day");
    if (!err) { err = member_send_mark(turn, turn->self, mark); }
    return err || listens ? err : speak(turn, b, number); /* it hears itself */
}

static stoa_err go(stoa_turn *turn, book *b, uint64_t number)
{
    if (!b->joined) { return STOA_OK; }
    b->joined = false;
    b->stay[b->stays - 1].left = ++books.stamp;
    stoa_err err = stoa_turn_leave(turn, "crew.day");
    if (!err) { err = member_send_mark(turn, turn->self, (member_mark){b->stays - 1, false}); }
    return err ? err : speak(turn, b, number); /* it does not hear itself */
}

static stoa_err member_start(stoa_turn *turn, void *state, const void *args)
{
    member *self = state;
    self->number = ((const member_args *)args)->number;
    book *b = &books.of[self->number];
    b->joined = b->inside = false; /* it failed, if it was */
    stoa_err err = stoa_turn_bind(turn, 0, "crew.day");
    return err ? err : come(turn, b, self->number);
}

static stoa_err member_on_act(stoa_turn *turn, member *self, const member_act *in)
{
    book *b = &books.of[self->number];
    if (in->what == FAIL) { return stoa_fail(turn, "asked to"); }
    if (in->what == SPEAK) { return speak(turn, b, self->number); }
    return in->what == COME ? come(turn, b, self->number) : go(turn, b, self->number);
}

static stoa_err member_on_job(stoa_turn *turn, member *self, const member_job *in)
{
    (void)turn;
    (void)self;
    (void)in;
    books.jobs++;
    return STOA_OK;
}

/* The number from p that b did not hear in its stay, though it must have if it was published before until (0: ever). */
static bool missing(const book *b, const book *p, uint64_t last, uint64_t until)
{
    const stay *s = &b->stay[b->now];
    uint64_t next = last + 1;
    while (!last && next <= p->spoken && p->spoken_at[next] < s->joined) { next++; }
    return next <= p->spoken && (!until || p->spoken_at[next] < until);
}

static stoa_err member_on_mark(stoa_turn *turn, member *self, const member_mark *in)
{
    book *b = &books.of[self->number];
    (void)turn;
    assert_true(b->inside == !in->begins);
    if (in->begins) {
        b->now = (uint32_t)in->stay;
        memset(b->last, 0, sizeof b->last);
    } else {
        assert_int_equal(b->now, in->stay);
        for (uint32_t p = 0; p < MEMBERS; p++) {
            bool same_core = books.of[p].core == b->core;
            assert_false(same_core && missing(b, &books.of[p], b->last[p], b->stay[b->now].left));
        }
    }
    b->inside = in->begins;
    return STOA_OK;
}

static stoa_err member_on_member_bulletin(stoa_turn *turn, member *self, const member_bulletin *in)
{
    book *b = &books.of[self->number], *p = &books.of[in->who];
    const stay *s = &b->stay[b->now];
    (void)turn;
    assert_true(b->inside);
    if (b->last[in->who]) {
        assert_int_equal(in->n, b->last[in->who] + 1);
    } else {
        assert_true(in->n == 1 || p->spoken_at[in->n - 1] < s->joined);
        assert_true(p->core != b->core || p->spoken_at[in->n] > s->joined);
    }
    assert_true(!s->left || p->spoken_at[in->n] < s->left);
    b->last[in->who] = in->n;
    books.heard++;
    return STOA_OK;
}

/* --- one seed */

static void watch(void *context, const stoa_sim_event *event)
{
    (void)context;
    if (event->what != STOA_SIM_DEAD_LETTER) { return; }
    books.lost += event->row == &member_rows[member_ROW_bulletin];
    books.jobs_lost += event->row == &member_rows[member_ROW_job];
}

static void spawn_all(stoa_node *node)
{
    for (uint32_t i = 0; i < ACTORS; i++) {
        char name[32];
        book *b = &books.of[i];
        member_args args = {i};
        b->core = i % CORES;
        (void)snprintf(name, sizeof name, "member/%u", i);
        stoa_spawn_options options = {.core = b->core, .args = &args};
        assert_int_equal(stoa_spawn(node, &member_kind, name, &options, &b->ref), STOA_OK);
    }
}

static void act(stoa_sim *sim, stoa_node *node)
{
    book *b = &books.of[stoa_sim_random(sim) % MEMBERS];
    uint64_t dice = stoa_sim_random(sim) % 100;
    member_act what = {dice < 20 ? COME : dice < 40 ? GO : dice < 94 ? SPEAK : FAIL};
    if (b->ended) { return; }
    if (dice < 99) {
        assert_int_equal(member_post_act(node, b->ref, what), STOA_OK);
        return;
    }
    assert_int_equal(stoa_stop(node, b->ref), STOA_OK);
    b->ended = true;
    b->joined = b->inside = false;
}

static void add_members(void *context, const stoa_group_view *view)
{
    *(uint32_t *)context += view->members;
}

static void check_end(stoa_node *node)
{
    uint32_t expected = 0, members = 0;
    uint64_t lent = 0;
    for (uint32_t i = 0; i < ACTORS; i++) {
        book *b = &books.of[i];
        assert_true(b->ended || b->inside == b->joined);
        expected += b->joined && i < MEMBERS;
        for (uint32_t p = 0; p < MEMBERS && b->inside; p++) { assert_false(missing(b, &books.of[p], b->last[p], 0)); }
    }
    assert_int_equal(stoa_groups(node, NULL, add_members, &members), STOA_OK);
    assert_int_equal(members, expected);
    for (uint32_t i = 0; i < CORES; i++) {
        stoa_core_view view;
        assert_int_equal(stoa_core_look(node, i, &view), STOA_OK);
        lent += view.lent;
    }
    assert_int_equal(lent, books.heard + books.lost);
    assert_int_equal(books.jobs_sent, books.jobs + books.jobs_lost);
    assert_true(books.heard > 0);
}

static uint64_t random_run(uint64_t seed)
{
    stoa_sim *sim;
    stoa_node *node;
    stoa_sim_options options = {.seed = seed, .cores = CORES, .observe = watch, .trace = stoa_seeds_trace()};
    options.faults.per_million[STOA_SIM_RING_HELD] = 4000;
    options.faults.per_million[STOA_SIM_CORE_STALLED] = 2000;
    options.faults.per_million[STOA_SIM_TIMERS_LATE] = 1000;
    memset(&books, 0, sizeof books);
    assert_int_equal(stoa_sim_new(&options, &sim, &node), STOA_OK);
    spawn_all(node);
    for (uint32_t i = 0; i < ACTIONS; i++) {
        act(sim, node);
        for (uint64_t steps = stoa_sim_random(sim) % 16; steps; steps--) { (void)stoa_sim_step(sim); }
    }
    stoa_sim_faults(sim, NULL);
    assert_int_equal(stoa_sim_settle(sim, STEPS_MAX), STOA_OK);
    assert_null(stoa_sim_dead(sim));
    check_end(node);
    stoa_sim_fold(sim, books.heard);
    uint64_t hash = stoa_sim_hash(sim);
    stoa_sim_free(sim);
    return hash;
}

static const stoa_seeds seeds = {.count = 300, .deep = 10000, .run = random_run};

static void everybody_who_is_there_hears_everything_once(void **state)
{
    (void)state;
    assert_int_equal(stoa_seeds_run(&seeds), STOA_OK);
}

int main(int argc, char **argv)
{
    int status;
    stoa_log_level_set(STOA_LOG_ERROR);
    if (stoa_seeds_main(&seeds, argc, argv, &status)) { return status; }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(everybody_who_is_there_hears_everything_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
