/* supervise_test.c - goal: trees end and come back as their supervisors say, links and monitors tell of every end once, nothing
 * an actor held outlives it. Method: small kinds under the simulator, every core's lists checked after each test.
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
#include "runtime/internal.h"
#include "runtime/sim.h"
#include "runtime/stoa.h"
#include "storage/sim/journal.h"

/* --- what happened, in order: "name:what " */

static char journal[4096];

static void note(const char *name, const char *what)
{
    size_t used = strlen(journal);
    (void)snprintf(journal + used, sizeof journal - used, "%s:%s ", name, what);
}

/* --- limb: does what it is told; may have children of its own kind and of others that differ in their supervision */

#define limb_born_FIELDS(F, S)    F(S, uint64_t, ref) F(S, uint64_t, id)
#define limb_spawn_FIELDS(F, S)   F(S, stoa_text30, name) F(S, uint32_t, restart) F(S, uint32_t, shutdown_ms) F(S, uint64_t, then)
#define limb_fail_FIELDS          STOA_NO_FIELDS
#define limb_leave_FIELDS(F, S)   F(S, uint64_t, badly)
#define limb_end_FIELDS(F, S)     F(S, uint64_t, ref)
#define limb_watch_FIELDS(F, S)   F(S, uint64_t, ref) F(S, uint64_t, link)
#define limb_forget_FIELDS(F, S)  F(S, uint64_t, id) F(S, uint64_t, ref)
#define limb_read_FIELDS          STOA_NO_FIELDS
#define limb_seen_FIELDS(F, S)                                                                                         \
    F(S, uint64_t, pokes) F(S, uint64_t, downs) F(S, uint64_t, exits) F(S, uint64_t, token) F(S, uint64_t, reason)     \
    F(S, uint64_t, answers) F(S, uint64_t, refusals) F(S, uint64_t, late) F(S, uint64_t, gathered) F(S, uint64_t, ticks) \
    F(S, stoa_text62, text)
#define limb_poke_FIELDS          STOA_NO_FIELDS
#define limb_hold_FIELDS(F, S)    F(S, uint64_t, bytes) F(S, uint64_t, timers)
#define limb_tick_FIELDS          STOA_NO_FIELDS
#define limb_sleep_FIELDS         STOA_NO_FIELDS
#define limb_ask_FIELDS(F, S)     F(S, uint64_t, ref) F(S, uint64_t, times) F(S, uint64_t, sleepy) F(S, uint64_t, cancel)
#define limb_survey_FIELDS(F, S)  F(S, uint64_t, a) F(S, uint64_t, b) F(S, uint64_t, c) F(S, uint64_t, refused)
#define limb_ROWS(ROW, K)                                                                                              \
    ROW(K, COMMAND, spawn, born, "A child. then: 1 refuse the turn, 2 poke it at once.")                               \
    ROW(K, REPLY, born, _, "Its ref.")                                                                                 \
    ROW(K, CAST, fail, _, "Fail.")                                                                                     \
    ROW(K, CAST, leave, _, "Exit.")                                                                                    \
    ROW(K, CAST, end, _, "Stop that one.")                                                                             \
    ROW(K, COMMAND, watch, born, "Monitor or link.")                                                                   \
    ROW(K, CAST, forget, _, "Demonitor, or unlink.")                                                                   \
    ROW(K, COMMAND, read, seen, "What was seen.")                                                                      \
    ROW(K, REPLY, seen, _, "Counts.")                                                                                  \
    ROW(K, CAST, poke, _, "Counted.")                                                                                  \
    ROW(K, CAST, hold, _, "Take memory and timers.")                                                                   \
    ROW(K, CAST, tick, _, "Timer.")                                                                                    \
    ROW(K, COMMAND, sleep, seen, "Never answer.")                                                                      \
    ROW(K, CAST, ask, _, "Ask that one so many times.")                                                                \
    ROW(K, CAST, survey, _, "Gather from three.")
STOA_TABLE(limb)
STOA_TABLE_DEFINE(limb)
typedef struct limb {
    limb_seen seen;
    uint64_t asked;
} limb;
#define limb_HEARS(HEAR, K)                                                                                            \
    HEAR(K, stoa_system, down) HEAR(K, stoa_system, exit) HEAR(K, stoa_system, gathered) HEAR(K, limb, seen)

static stoa_err started(stoa_turn *turn, void *state, const void *args)
{
    (void)state;
    (void)args;
    note(stoa_turn_key(turn), "start");
    return STOA_OK;
}
static stoa_err ending(stoa_turn *turn, void *state)
{
    const limb *self = state;
    char what[32];
    (void)snprintf(what, sizeof what, "end%llu", (unsigned long long)self->seen.pokes);
    note(stoa_turn_key(turn), what);
    return self->asked > self->seen.answers + self->seen.late ? STOA_E_AGAIN : STOA_OK;
}

STOA_PLAIN_KIND(limb, .start = started, .stopping = ending, .memory_quota_bytes = 4096,
                .supervision = {.restarts = 5, .per_ms = 10000})

static stoa_err limb_on_spawn(stoa_turn *turn, limb *self, const limb_spawn *in, limb_born *out)
{
    (void)self;
    char name[40];
    stoa_ref ref;
    (void)snprintf(name, sizeof name, "limb/%.*s", STOA_TEXT_ARGS(&in->name));
    stoa_child child = {.name = in->name.len ? name : NULL, .restart = (stoa_restart)in->restart,
                        .shutdown_ms = in->shutdown_ms};
    stoa_err err = stoa_turn_spawn(turn, &limb_kind, &child, &ref);
    if (err) { return err; }
    if (in->then == 1) { return STOA_E_DENIED; }
    out->ref = ref.at;
    return in->then == 2 ? limb_send_poke(turn, ref, (limb_poke){0}) : STOA_OK;
}
static stoa_err limb_on_fail(stoa_turn *turn, limb *self, const limb_fail *in)
{
    (void)in;
    self->seen.pokes = 777;
    return stoa_fail(turn, "told to fail");
}
static stoa_err limb_on_leave(stoa_turn *turn, limb *self, const limb_leave *in)
{
    (void)self;
    return stoa_turn_exit(turn, in->badly ? "left badly" : NULL);
}
static stoa_err limb_on_end(stoa_turn *turn, limb *self, const limb_end *in)
{
    (void)self;
    return stoa_turn_stop(turn, (stoa_ref){in->ref}, NULL);
}
static stoa_err limb_on_watch(stoa_turn *turn, limb *self, const limb_watch *in, limb_born *out)
{
    (void)self;
    if (in->link) { return stoa_turn_link(turn, (stoa_ref){in->ref}); }
    out->id = stoa_turn_monitor(turn, (stoa_ref){in->ref});
    return out->id ? STOA_OK : STOA_E_FULL;
}
static stoa_err limb_on_forget(stoa_turn *turn, limb *self, const limb_forget *in)
{
    (void)self;
    if (in->id) {
        stoa_turn_demonitor(turn, in->id);
    } else {
        stoa_turn_unlink(turn, (stoa_ref){in->ref});
    }
    return STOA_OK;
}
static stoa_err limb_on_read(stoa_turn *turn, limb *self, const limb_read *in, limb_seen *out)
{
    (void)turn;
    (void)in;
    *out = self->seen;
    return STOA_OK;
}
static stoa_err limb_on_poke(stoa_turn *turn, limb *self, const limb_poke *in)
{
    (void)turn;
    (void)in;
    self->seen.pokes++;
    return STOA_OK;
}
static stoa_err limb_on_hold(stoa_turn *turn, limb *self, const limb_hold *in)
{
    (void)self;
    for (uint64_t i = 0; i < in->timers; i++) {
        stoa_err err = limb_after_tick(turn, STOA_S(1), (limb_tick){0}, NULL);
        if (err) { return err; }
    }
    return !in->bytes || stoa_turn_alloc(turn, in->bytes) ? STOA_OK : STOA_E_NOMEM;
}
static stoa_err limb_on_tick(stoa_turn *turn, limb *self, const limb_tick *in)
{
    (void)turn;
    (void)in;
    self->seen.ticks++;
    return STOA_OK;
}
static stoa_err limb_on_sleep(stoa_turn *turn, limb *self, const limb_sleep *in, limb_seen *out)
{
    (void)self;
    (void)in;
    (void)out;
    stoa_turn_no_answer(turn);
    return STOA_OK;
}
static stoa_err limb_on_ask(stoa_turn *turn, limb *self, const limb_ask *in)
{
    stoa_err err = STOA_OK;
    for (uint64_t i = 0; i < in->times && !err; i++) {
        self->asked++;
        err = in->sleepy ? limb_ask_sleep(turn, (stoa_ref){in->ref}, (limb_sleep){0}, STOA_MS(50), 5)
                         : limb_ask_read(turn, (stoa_ref){in->ref}, (limb_read){0}, STOA_MS(50), 5);
    }
    if (in->cancel) { stoa_turn_cancel_ask(turn, 5); }
    return err;
}
static stoa_err limb_on_survey(stoa_turn *turn, limb *self, const limb_survey *in)
{
    (void)self;
    stoa_gather gather;
    const uint64_t who[] = {in->a, in->b};
    stoa_err err = stoa_turn_gather(turn, STOA_MS(50), 9, &gather);
    for (int i = 0; i < 2 && !err; i++) {
        if (who[i]) { (void)limb_gather_read(turn, &gather, (stoa_ref){who[i]}, (limb_read){0}); }
    }
    if (!err && in->c) { (void)limb_gather_sleep(turn, &gather, (stoa_ref){in->c}, (limb_sleep){0}); }
    return !err && in->refused ? STOA_E_DENIED : err;
}
static stoa_err limb_on_limb_seen(stoa_turn *turn, limb *self, const limb_seen *in)
{
    (void)in;
    self->seen.answers += turn->error == STOA_OK;
    self->seen.late += turn->error == STOA_E_TIMEOUT;
    self->seen.refusals += turn->error && turn->error != STOA_E_TIMEOUT;
    return STOA_OK;
}
static stoa_err limb_on_stoa_system_gathered(stoa_turn *turn, limb *self, const stoa_system_gathered *in)
{
    (void)turn;
    assert_int_equal(in->token, 9);
    assert_int_equal(in->asked, in->answered + in->refused + in->timed_out);
    assert_int_equal(in->answered, self->seen.answers); /* it comes after all of them */
    self->seen.gathered = UINT64_C(1000000) + in->answered * 10000 + in->refused * 100 + in->timed_out;
    return STOA_OK;
}
static stoa_err limb_on_stoa_system_down(stoa_turn *turn, limb *self, const stoa_system_down *in)
{
    assert_int_equal(turn->from.at, in->ref);
    self->seen.downs++;
    self->seen.token = in->token;
    self->seen.reason = in->reason;
    self->seen.text = in->text;
    return STOA_OK;
}
static stoa_err limb_on_stoa_system_exit(stoa_turn *turn, limb *self, const stoa_system_exit *in)
{
    (void)turn;
    self->seen.exits++;
    self->seen.reason = in->reason;
    return STOA_OK;
}

/* The same actor with another supervision, or trapping exits. */
#define ALIKE(kind, ...)                                                                                               \
    static const stoa_kind kind = {.name = "limb", .table = &limb_table, .rows = limb_rows,                            \
                                   .rows_bytes = sizeof limb_rows, .handlers = limb_handlers_, .hears = limb_hears_,   \
                                   .state_bytes = sizeof(limb), .start = started, .stopping = ending, __VA_ARGS__};
ALIKE(all_kind, .supervision = {.strategy = STOA_ONE_FOR_ALL, .restarts = 5, .per_ms = 10000})
ALIKE(rest_kind, .supervision = {.strategy = STOA_REST_FOR_ONE, .restarts = 5, .per_ms = 10000})
ALIKE(slow_kind, .supervision = {.restarts = 100, .per_ms = 1000, .backoff_min_ms = 10, .backoff_max_ms = 40})
ALIKE(slow_all_kind, .supervision = {.strategy = STOA_ONE_FOR_ALL, .restarts = 100, .per_ms = 1000, .backoff_min_ms = 10,
                                     .backoff_max_ms = 40})
ALIKE(trap_kind, .trap_exits = true)

/* --- the stage */

typedef struct stage {
    stoa_sim *sim;
    stoa_node *node;
    uint64_t used[4];
} stage;

static uint64_t used(stage *s, uint32_t core)
{
    stoa_core_view view;
    assert_int_equal(stoa_core_look(s->node, core, &view), STOA_OK);
    return view.used_bytes;
}

static void check_trees(stage *s)
{
    for (uint32_t i = 0; i < s->node->core_count; i++) {
        const char *wrong = stoa_tree_check(s->node->cores[i]);
        if (wrong) { fail_msg("core %u: %s", i, wrong); }
    }
}

static char escalated[64];
static void on_escalation(void *context, const char *reason)
{
    (void)context;
    (void)snprintf(escalated, sizeof escalated, "%s", reason);
}

static stage stage_open(uint64_t seed, uint32_t cores)
{
    stage s = {0};
    journal[0] = escalated[0] = '\0';
    assert_int_equal(stoa_sim_new(&(stoa_sim_options){.seed = seed, .cores = cores}, &s.sim, &s.node), STOA_OK);
    s.node->options.escalate = on_escalation;
    for (uint32_t i = 0; i < cores; i++) { s.used[i] = used(&s, i); }
    return s;
}

static void settle(stage *s)
{
    stoa_sim_run(s->sim, STOA_MS(5));
    check_trees(s);
}

static stoa_ref spawn(stage *s, const stoa_kind *kind, const char *name, uint32_t core, uint32_t shutdown_ms)
{
    stoa_ref ref;
    stoa_spawn_options options = {.core = core, .shutdown_ms = shutdown_ms};
    assert_int_equal(stoa_spawn(s->node, kind, name, &options, &ref), STOA_OK);
    return ref;
}

static stoa_ref child_of(stage *s, stoa_ref parent, const char *name, stoa_restart restart, uint32_t shutdown_ms)
{
    limb_born out;
    limb_spawn in = {.restart = restart, .shutdown_ms = shutdown_ms};
    assert_int_equal(STOA_TEXT_SETZ(&in.name, name), STOA_OK);
    assert_int_equal(limb_call_spawn(s->node, parent, in, STOA_S(1), &out), STOA_OK);
    return (stoa_ref){out.ref};
}

static limb_seen seen_by(stage *s, stoa_ref who)
{
    limb_seen out;
    assert_int_equal(limb_call_read(s->node, who, (limb_read){0}, STOA_S(1), &out), STOA_OK);
    return out;
}

static bool lives(stage *s, stoa_ref who)
{
    limb_seen out;
    return limb_call_read(s->node, who, (limb_read){0}, STOA_S(1), &out) == STOA_OK;
}

static void watch(stage *s, stoa_ref who, stoa_ref whom, bool link, uint64_t *id_out)
{
    limb_born out;
    assert_int_equal(limb_call_watch(s->node, who, (limb_watch){whom.at, link}, STOA_S(1), &out), STOA_OK);
    if (id_out) { *id_out = out.id; }
}

/* Nothing is left of anybody: every block is back, on every core. */
static void stage_close(stage *s)
{
    for (uint32_t i = 0; i < s->node->core_count; i++) { stoa_tree_kill_all(s->node->cores[i]); }
    stoa_sim_run(s->sim, STOA_MS(200)); /* blocks go home, asks from outside time out */
    check_trees(s);
    for (uint32_t i = 0; i < s->node->core_count; i++) {
        const stoa_core *core = s->node->cores[i];
        assert_int_equal(core->actor_alive, 0);
        assert_int_equal(core->ties.count, 0);
        if (used(s, i) != s->used[i]) { fail_msg("core %u: %llu bytes left", i, (unsigned long long)(used(s, i) - s->used[i])); }
    }
    stoa_sim_free(s->sim);
}

static void expect(const char *what)
{
    if (strcmp(journal, what) != 0) { fail_msg("\nexpected %s\n     got %s", what, journal); }
    journal[0] = '\0';
}

/* --- children */

static void a_child_starts_with_the_turn_and_never_was_when_it_is_refused(void **state)
{
    (void)state;
    stage s = stage_open(1, 1);
    stoa_ref top = spawn(&s, &limb_kind, "limb/top", 0, 0);
    stoa_ref a = child_of(&s, top, "a", STOA_TEMPORARY, 0);
    limb_spawn in = {.name = stoa_text("b"), .then = 1};
    limb_born out;
    assert_int_equal(limb_call_spawn(s.node, top, in, STOA_S(1), &out), STOA_E_DENIED);
    assert_false(stoa_find(s.node, "limb/b").at);
    in.then = 2;
    assert_int_equal(limb_call_spawn(s.node, top, in, STOA_S(1), &out), STOA_OK);
    assert_int_equal(seen_by(&s, (stoa_ref){out.ref}).pokes, 1);
    assert_true(stoa_ref_equal(stoa_find(s.node, "limb/a"), a));
    assert_int_equal(limb_call_spawn(s.node, top, in, STOA_S(1), &out), STOA_E_EXISTS);
    expect("top:start a:start b:start ");
    settle(&s);
    stage_close(&s);
}

static void restarts_follow_the_childs_type(void **state)
{
    (void)state;
    static const struct { stoa_restart type; bool after_failure, after_exit; } rows[] = {
        {STOA_TEMPORARY, false, false}, {STOA_TRANSIENT, true, false}, {STOA_PERMANENT, true, true}};
    stage s = stage_open(2, 1);
    stoa_ref top = spawn(&s, &limb_kind, "limb/top", 0, 0);
    for (int i = 0; i < 3; i++) {
        stoa_ref f = child_of(&s, top, "f", rows[i].type, 0), e = child_of(&s, top, "e", rows[i].type, 0);
        stoa_ref b = child_of(&s, top, "b", rows[i].type, 0);
        assert_int_equal(limb_post_poke(s.node, e, (limb_poke){0}), STOA_OK);
        assert_int_equal(limb_post_fail(s.node, f, (limb_fail){0}), STOA_OK);
        assert_int_equal(limb_post_leave(s.node, e, (limb_leave){0}), STOA_OK);
        assert_int_equal(limb_post_leave(s.node, b, (limb_leave){1}), STOA_OK);
        settle(&s);
        assert_int_equal(lives(&s, f), rows[i].after_failure);
        assert_int_equal(lives(&s, e), rows[i].after_exit);
        assert_int_equal(lives(&s, b), rows[i].after_failure);
        if (rows[i].after_failure) { assert_int_equal(seen_by(&s, f).pokes, 0); }
        if (rows[i].after_exit) { assert_int_equal(seen_by(&s, e).pokes, 0); }
        for (int k = 0; k < 3; k++) {
            const stoa_ref all[] = {f, e, b};
            assert_int_equal(limb_post_end(s.node, top, (limb_end){all[k].at}), STOA_OK);
        }
        settle(&s);
        assert_false(lives(&s, f) || lives(&s, e) || lives(&s, b));
    }
    stage_close(&s);
}

static void one_for_all_ends_youngest_first_and_starts_oldest_first(void **state)
{
    (void)state;
    stage s = stage_open(3, 1);
    stoa_ref top = spawn(&s, &all_kind, "limb/top", 0, 0);
    (void)child_of(&s, top, "a", STOA_PERMANENT, 0);
    stoa_ref b = child_of(&s, top, "b", STOA_PERMANENT, 0);
    (void)child_of(&s, top, "c", STOA_TRANSIENT, 0);
    stoa_ref d = child_of(&s, top, "d", STOA_TEMPORARY, 0);
    (void)child_of(&s, b, "b1", STOA_PERMANENT, 0);
    expect("top:start a:start b:start c:start d:start b1:start ");
    assert_int_equal(limb_post_fail(s.node, b, (limb_fail){0}), STOA_OK);
    settle(&s);
    expect("b1:end0 d:end0 c:end0 a:end0 a:start b:start c:start ");
    assert_false(lives(&s, d));
    assert_true(lives(&s, b));
    stage_close(&s);
}

static void rest_for_one_leaves_the_older_ones_alone(void **state)
{
    (void)state;
    stage s = stage_open(4, 1);
    stoa_ref top = spawn(&s, &rest_kind, "limb/top", 0, 0);
    stoa_ref a = child_of(&s, top, "a", STOA_PERMANENT, 0);
    stoa_ref b = child_of(&s, top, "b", STOA_PERMANENT, 0);
    (void)child_of(&s, top, "c", STOA_PERMANENT, 0);
    assert_int_equal(limb_post_poke(s.node, a, (limb_poke){0}), STOA_OK);
    journal[0] = '\0';
    assert_int_equal(limb_post_fail(s.node, b, (limb_fail){0}), STOA_OK);
    settle(&s);
    expect("c:end0 b:start c:start ");
    assert_int_equal(seen_by(&s, a).pokes, 1);
    stage_close(&s);
}

static void a_crash_loop_empties_the_bucket_and_escalates_to_the_node(void **state)
{
    (void)state;
    stage s = stage_open(5, 1);
    stoa_ref top = spawn(&s, &limb_kind, "limb/top", 0, 0), watcher = spawn(&s, &limb_kind, "limb/w", 0, 0);
    stoa_ref kid = child_of(&s, top, "kid", STOA_PERMANENT, 0);
    watch(&s, watcher, top, false, NULL);
    for (int i = 0; i < 5; i++) {
        assert_int_equal(limb_post_fail(s.node, kid, (limb_fail){0}), STOA_OK);
        settle(&s);
        assert_true(lives(&s, kid));
    }
    assert_int_equal(limb_post_fail(s.node, kid, (limb_fail){0}), STOA_OK);
    settle(&s);
    assert_false(lives(&s, kid)); /* its supervisor gave up, and came back without children */
    assert_true(lives(&s, top));
    limb_seen seen = seen_by(&s, watcher);
    assert_int_equal(seen.downs, 1);
    assert_int_equal(seen.reason, stoa_end_ESCALATED);
    assert_false(escalated[0]);
    for (int i = 0; i < 400 && !escalated[0]; i++) { /* below the root: 100 within 10 s, with delays */
        char name[32];
        (void)snprintf(name, sizeof name, "limb/%d", i);
        assert_int_equal(limb_post_fail(s.node, spawn(&s, &limb_kind, name, 0, 0), (limb_fail){0}), STOA_OK);
        stoa_sim_run(s.sim, STOA_MS(1));
    }
    assert_string_equal(escalated, "told to fail");
    check_trees(&s);
    stage_close(&s);
}

static void a_bucket_refills_with_time(void **state)
{
    (void)state;
    stage s = stage_open(6, 1);
    stoa_ref top = spawn(&s, &limb_kind, "limb/top", 0, 0);
    stoa_ref kid = child_of(&s, top, "kid", STOA_PERMANENT, 0);
    for (int i = 0; i < 30; i++) { /* one every 2 s is what 5 within 10 s allow for ever */
        assert_int_equal(limb_post_fail(s.node, kid, (limb_fail){0}), STOA_OK);
        stoa_sim_run(s.sim, STOA_MS(2001));
        assert_true(lives(&s, kid));
    }
    stage_close(&s);
}

static void delays_between_restarts_double_up_to_their_limit(void **state)
{
    (void)state;
    static const uint64_t wait_ms[] = {0, 10, 20, 40, 40};
    const stoa_kind *kinds[] = {&slow_kind, &slow_all_kind};
    for (size_t k = 0; k < 2; k++) {
        stage s = stage_open(7, 1);
        stoa_ref top = spawn(&s, kinds[k], "limb/top", 0, 0);
        stoa_ref kid = child_of(&s, top, "kid", STOA_PERMANENT, 0);
        for (size_t i = 0; i < sizeof wait_ms / sizeof wait_ms[0]; i++) {
            assert_int_equal(limb_post_fail(s.node, kid, (limb_fail){0}), STOA_OK);
            stoa_sim_run(s.sim, STOA_MS(1));
            if (wait_ms[i]) {
                assert_false(lives(&s, kid));
                stoa_sim_run(s.sim, STOA_MS(wait_ms[i] - 5));
                assert_false(lives(&s, kid));
            }
            stoa_sim_run(s.sim, STOA_MS(6));
            assert_true(lives(&s, kid));
        }
        stage_close(&s);
    }
}

/* --- ends */

static void a_parents_end_ends_its_children_first_the_youngest_first(void **state)
{
    (void)state;
    stage s = stage_open(8, 1);
    stoa_ref top = spawn(&s, &limb_kind, "limb/top", 0, 0);
    stoa_ref a = child_of(&s, top, "a", STOA_PERMANENT, 0);
    (void)child_of(&s, a, "a1", STOA_PERMANENT, 0);
    (void)child_of(&s, a, "a2", STOA_PERMANENT, 0);
    (void)child_of(&s, top, "b", STOA_PERMANENT, 0);
    journal[0] = '\0';
    assert_int_equal(stoa_stop(s.node, top), STOA_OK);
    expect("b:end0 a2:end0 a1:end0 a:end0 top:end0 ");
    assert_false(stoa_find(s.node, "limb/a1").at);
    stage_close(&s);
}

static void an_actor_told_to_end_handles_what_it_was_sent_and_waits_for_its_answers(void **state)
{
    (void)state;
    stage s = stage_open(9, 1);
    stoa_ref top = spawn(&s, &limb_kind, "limb/top", 0, 0), other = spawn(&s, &limb_kind, "limb/other", 0, 0);
    stoa_ref a = child_of(&s, top, "a", STOA_PERMANENT, 100);
    journal[0] = '\0';
    for (int i = 0; i < 3; i++) { assert_int_equal(limb_post_poke(s.node, a, (limb_poke){0}), STOA_OK); }
    assert_int_equal(limb_post_ask(s.node, a, (limb_ask){other.at, 1, 1, 0}), STOA_OK); /* answered late, after 50 ms */
    stoa_sim_run(s.sim, STOA_MS(1));
    assert_int_equal(limb_post_end(s.node, top, (limb_end){a.at}), STOA_OK);
    stoa_sim_run(s.sim, STOA_MS(1));
    assert_int_equal(limb_post_poke(s.node, a, (limb_poke){0}), STOA_OK); /* takes no more */
    stoa_sim_run(s.sim, STOA_MS(200));
    expect("a:end3 a:end3 ");
    assert_false(lives(&s, a));
    stage_close(&s);
}

static void what_does_not_end_in_time_is_killed_with_all_below(void **state)
{
    (void)state;
    stage s = stage_open(10, 1);
    stoa_ref top = spawn(&s, &limb_kind, "limb/top", 0, 20), other = spawn(&s, &limb_kind, "limb/other", 0, 0);
    stoa_ref a = child_of(&s, top, "a", STOA_PERMANENT, 1000), w = spawn(&s, &limb_kind, "limb/w", 0, 0);
    watch(&s, w, a, false, NULL);
    assert_int_equal(limb_post_ask(s.node, a, (limb_ask){other.at, 1, 1, 0}), STOA_OK); /* longer than top waits */
    stoa_sim_run(s.sim, STOA_MS(1));
    assert_int_equal(stoa_stop(s.node, top), STOA_OK);
    stoa_sim_run(s.sim, STOA_MS(10));
    assert_int_equal(seen_by(&s, w).downs, 0);
    stoa_sim_run(s.sim, STOA_MS(15));
    assert_int_equal(seen_by(&s, w).downs, 1);
    assert_int_equal(seen_by(&s, w).reason, stoa_end_KILLED);
    assert_false(lives(&s, top) || lives(&s, a));
    stage_close(&s);
}

static void a_deep_and_wide_tree_ends_without_stalling_its_core(void **state)
{
    (void)state;
    stage s = stage_open(11, 1);
    stoa_ref top = spawn(&s, &limb_kind, "limb/top", 0, 0), at = top;
    for (int i = 0; i < 3000; i++) {
        at = child_of(&s, at, "", STOA_TEMPORARY, 0);
        if (i % 3 == 0) { (void)child_of(&s, top, "", STOA_TEMPORARY, 0); }
    }
    assert_int_equal(stoa_stop(s.node, top), STOA_OK);
    assert_true(s.node->cores[0]->actor_alive > 1000); /* only so many steps at once */
    stoa_sim_run(s.sim, STOA_MS(10));
    assert_int_equal(s.node->cores[0]->actor_alive, 0);
    stage_close(&s);
}

static void the_node_ends_bottom_up_on_every_core(void **state)
{
    (void)state;
    stage s = stage_open(12, 2);
    for (uint32_t core = 0; core < 2; core++) {
        stoa_ref a = spawn(&s, &limb_kind, core ? "limb/x" : "limb/a", core, 0);
        (void)child_of(&s, a, core ? "x1" : "a1", STOA_PERMANENT, 10);
        (void)spawn(&s, &limb_kind, core ? "limb/y" : "limb/b", core, 0);
    }
    journal[0] = '\0';
    for (uint32_t core = 0; core < 2; core++) { stoa_tree_shutdown(s.node->cores[core]); }
    stoa_sim_run(s.sim, STOA_MS(50));
    assert_true(stoa_tree_ended(s.node->cores[0]) && stoa_tree_ended(s.node->cores[1]));
    expect("b:end0 a1:end0 a:end0 y:end0 x1:end0 x:end0 ");
    stage_close(&s);
}

/* --- links and monitors */

static void a_monitor_hears_once_of_every_way_to_end(void **state)
{
    (void)state;
    for (uint32_t far = 0; far < 2; far++) {
        stage s = stage_open(13 + far, 2);
        stoa_ref w = spawn(&s, &limb_kind, "limb/w", 0, 0), top = spawn(&s, &limb_kind, "limb/top", far, 0);
        static const stoa_end reasons[] = {stoa_end_NORMAL, stoa_end_FAILED, stoa_end_FAILED, stoa_end_SHUTDOWN};
        for (uint64_t i = 0; i < 4; i++) {
            stoa_ref kid = child_of(&s, top, "kid", STOA_TEMPORARY, 0);
            uint64_t id;
            watch(&s, w, kid, false, &id);
            settle(&s);
            assert_int_equal(seen_by(&s, w).downs, 2 * i);
            if (i < 2) { assert_int_equal(limb_post_leave(s.node, kid, (limb_leave){i}), STOA_OK); }
            if (i == 2) { assert_int_equal(limb_post_fail(s.node, kid, (limb_fail){0}), STOA_OK); }
            if (i == 3) { assert_int_equal(limb_post_end(s.node, top, (limb_end){kid.at}), STOA_OK); }
            settle(&s);
            limb_seen seen = seen_by(&s, w);
            assert_int_equal(seen.downs, 2 * i + 1);
            assert_int_equal(seen.reason, reasons[i]);
            assert_true(seen.token == id);
            if (i == 2) { assert_true(STOA_TEXT_EQZ(&seen.text, "told to fail")); }
            watch(&s, w, kid, false, NULL); /* already gone: at once */
            settle(&s);
            assert_int_equal(seen_by(&s, w).downs, 2 * i + 2);
            assert_int_equal(seen_by(&s, w).reason, stoa_end_GONE);
        }
        stage_close(&s);
    }
}

static void who_does_not_watch_any_more_hears_nothing(void **state)
{
    (void)state;
    for (uint32_t far = 0; far < 2; far++) {
        stage s = stage_open(15 + far, 2);
        stoa_ref w = spawn(&s, &limb_kind, "limb/w", 0, 0), t = spawn(&s, &limb_kind, "limb/t", far, 0);
        uint64_t id;
        watch(&s, w, t, false, &id);
        watch(&s, w, t, true, NULL);
        assert_int_equal(limb_post_forget(s.node, w, (limb_forget){id, 0}), STOA_OK);
        assert_int_equal(limb_post_forget(s.node, far ? t : w, (limb_forget){0, far ? w.at : t.at}), STOA_OK);
        settle(&s);
        assert_int_equal(s.node->cores[0]->ties.count, 0);
        assert_int_equal(limb_post_fail(s.node, t, (limb_fail){0}), STOA_OK);
        settle(&s);
        assert_int_equal(seen_by(&s, w).downs, 0);
        stage_close(&s);
    }
}

static void linked_actors_fail_together_unless_one_traps_exits(void **state)
{
    (void)state;
    for (uint32_t round = 0; round < 4; round++) { /* here or there, made by the one or the other */
        stage s = stage_open(17 + round, 2);
        uint32_t far = round & 1;
        stoa_ref a = spawn(&s, &limb_kind, "limb/a", 0, 0), b = spawn(&s, &limb_kind, "limb/b", far, 0);
        stoa_ref t = spawn(&s, &trap_kind, "limb/t", far, 0);
        watch(&s, (round & 2) ? b : a, (round & 2) ? a : b, true, NULL);
        watch(&s, (round & 2) ? t : a, (round & 2) ? a : t, true, NULL);
        assert_int_equal(limb_post_poke(s.node, b, (limb_poke){0}), STOA_OK);
        settle(&s);
        assert_int_equal(limb_post_fail(s.node, a, (limb_fail){0}), STOA_OK);
        settle(&s);
        assert_int_equal(seen_by(&s, b).pokes, 0); /* failed with it, and both were restarted */
        assert_true(lives(&s, a));
        assert_int_equal(seen_by(&s, t).exits, 1);
        assert_int_equal(seen_by(&s, t).reason, stoa_end_FAILED);
        assert_int_equal(limb_post_fail(s.node, a, (limb_fail){0}), STOA_OK); /* the link ended with the incarnation */
        settle(&s);
        assert_int_equal(seen_by(&s, t).exits, 1);
        stage_close(&s);
    }
}

static void a_normal_end_fails_nobody(void **state)
{
    (void)state;
    stage s = stage_open(22, 2);
    stoa_ref a = spawn(&s, &limb_kind, "limb/a", 0, 0), b = spawn(&s, &limb_kind, "limb/b", 1, 0);
    watch(&s, a, b, true, NULL);
    assert_int_equal(limb_post_poke(s.node, a, (limb_poke){0}), STOA_OK);
    assert_int_equal(limb_post_leave(s.node, b, (limb_leave){0}), STOA_OK);
    settle(&s);
    assert_int_equal(seen_by(&s, a).pokes, 1);
    watch(&s, a, b, true, NULL); /* to nobody: that fails */
    settle(&s);
    assert_int_equal(seen_by(&s, a).pokes, 0);
    stage_close(&s);
}

/* --- what an actor holds */

static void what_a_failed_actor_held_goes_back_at_once(void **state)
{
    (void)state;
    stage s = stage_open(23, 1);
    stoa_ref a = spawn(&s, &limb_kind, "limb/a", 0, 0), other = spawn(&s, &limb_kind, "limb/other", 0, 0);
    assert_int_equal(limb_post_hold(s.node, a, (limb_hold){1000, 1}), STOA_OK); /* the first of each kind may map more */
    settle(&s);
    assert_int_equal(limb_post_fail(s.node, a, (limb_fail){0}), STOA_OK);
    settle(&s);
    uint64_t base = used(&s, 0);
    uint32_t timers = s.node->cores[0]->wheel.used;
    assert_int_equal(limb_post_hold(s.node, a, (limb_hold){1000, 20}), STOA_OK);
    assert_int_equal(limb_post_ask(s.node, a, (limb_ask){other.at, 7, 1, 0}), STOA_OK);
    assert_int_equal(limb_post_survey(s.node, a, (limb_survey){.c = other.at}), STOA_OK);
    watch(&s, a, other, false, NULL);
    settle(&s);
    assert_true(used(&s, 0) > base);
    assert_int_equal(limb_post_fail(s.node, a, (limb_fail){0}), STOA_OK);
    settle(&s);
    assert_true(used(&s, 0) == base);
    assert_true(s.node->cores[0]->wheel.used > timers);
    stoa_sim_run(s.sim, STOA_S(2));
    limb_seen seen = seen_by(&s, a);
    assert_true(seen.ticks == 0 && seen.late == 0 && seen.answers == 0 && seen.gathered == 0);
    stage_close(&s);
}

static void who_takes_more_memory_than_its_quota_fails_alone(void **state)
{
    (void)state;
    stage s = stage_open(24, 1);
    stoa_ref top = spawn(&s, &limb_kind, "limb/top", 0, 0), w = spawn(&s, &limb_kind, "limb/w", 0, 0);
    stoa_ref a = child_of(&s, top, "a", STOA_PERMANENT, 0), b = child_of(&s, top, "b", STOA_PERMANENT, 0);
    assert_int_equal(limb_post_poke(s.node, b, (limb_poke){0}), STOA_OK);
    watch(&s, w, a, false, NULL);
    for (int i = 0; i < 4; i++) { assert_int_equal(limb_post_hold(s.node, a, (limb_hold){900, 0}), STOA_OK); }
    settle(&s);
    assert_int_equal(seen_by(&s, w).downs, 0);
    assert_int_equal(limb_post_hold(s.node, a, (limb_hold){900, 0}), STOA_OK);
    settle(&s);
    assert_int_equal(seen_by(&s, w).downs, 1);
    assert_int_equal(seen_by(&s, w).reason, stoa_end_NO_MEMORY);
    assert_true(lives(&s, a));
    assert_int_equal(seen_by(&s, b).pokes, 1);
    stage_close(&s);
}

/* --- event-sourced actors */

#define tally_add_FIELDS(F, S)   F(S, uint64_t, amount) F(S, uint64_t, fail)
#define tally_total_FIELDS(F, S) F(S, uint64_t, total)
#define tally_added_FIELDS(F, S) F(S, uint64_t, amount)
#define tally_ROWS(ROW, K)                                                                                             \
    ROW(K, COMMAND, add, total, "Add, or fail after it.")                                                              \
    ROW(K, REPLY, total, _, "The total.")                                                                              \
    ROW(K, EVENT, added, _, "Added.")
STOA_TABLE(tally)
STOA_TABLE_DEFINE(tally)
typedef struct tally {
    uint64_t total, resumed;
} tally;
#define tally_HEARS STOA_HEARS_NOTHING
static uint64_t resumes;
static stoa_err tally_resume(stoa_turn *turn, const void *state)
{
    (void)turn;
    (void)state;
    resumes++;
    return STOA_OK;
}
STOA_KIND(tally, .resume = tally_resume)
static stoa_err tally_on_add(stoa_turn *turn, const tally *self, const tally_add *in, tally_total *out)
{
    out->total = self->total + in->amount;
    stoa_err err = in->amount ? tally_emit_added(turn, (tally_added){in->amount}) : STOA_OK;
    return !err && in->fail ? stoa_fail(turn, "told to") : err;
}
static void tally_apply_added(tally *self, const tally_added *event)
{
    self->total += event->amount;
}

static void add(stage *s, stoa_ref to, uint64_t amount, bool fail)
{
    tally_total out;
    tally_add in = {amount, fail};
    for (int i = 0; i < 100; i++) { /* until it is back */
        stoa_err err = tally_call_add(s->node, to, in, STOA_S(1), &out);
        if (fail || !err) { return; }
        stoa_sim_run(s->sim, STOA_MS(20));
    }
    fail_msg("it does not come back");
}

/* With the journal's blocks at every stage: in the log, under way, still open. */
static void an_event_sourced_actor_comes_back_from_its_log(void **state)
{
    (void)state;
    static const stoa_kind *const kinds[] = {&tally_kind, NULL};
    static const stoa_durability promises[] = {stoa_durability_NONE, stoa_durability_MEMORY, stoa_durability_DISK};
    for (size_t p = 0; p < 3; p++) {
        stage s = {0};
        stoa_shard *shard;
        stoa_ref a, b;
        stoa_sim_disk *disk;
        assert_int_equal(stoa_sim_disk_get("s", p, &disk), STOA_OK);
        assert_int_equal(stoa_sim_new(&(stoa_sim_options){.seed = p, .kinds = kinds}, &s.sim, &s.node), STOA_OK);
        stoa_shard_options options = {.name = "s", .durability = promises[p], .journal = &stoa_journal_sim, .path = "sim:s"};
        assert_int_equal(stoa_shard_open(s.node, &options, &shard), STOA_OK);
        assert_int_equal(stoa_spawn(s.node, &tally_kind, "tally/a", &(stoa_spawn_options){.shard = shard}, &a), STOA_OK);
        assert_int_equal(stoa_spawn(s.node, &tally_kind, "tally/b", &(stoa_spawn_options){.shard = shard}, &b), STOA_OK);
        uint64_t expected = 0;
        for (uint64_t i = 1; i <= 200; i++) {
            add(&s, a, i, false);
            expected += i;
            if (i % 3 == 0) { add(&s, b, i, false); }
            if (i % 5 == 0) { stoa_sim_run(s.sim, STOA_MS(i % 7)); }
            if (i % 8 != 0) { continue; }
            uint64_t before = resumes;
            stoa_actor *actor = stoa_core_actor(s.node->cores[0], a);
            add(&s, a, 1000, true); /* what this turn emitted never happened */
            while (resumes == before) { stoa_sim_run(s.sim, STOA_MS(10)); }
            assert_int_equal(((const tally *)actor->state)->total, expected);
        }
        tally_total out;
        assert_int_equal(tally_call_add(s.node, a, (tally_add){0}, STOA_S(1), &out), STOA_OK);
        assert_int_equal(out.total, expected);
        stoa_sim_free(s.sim);
        stoa_sim_disks_free();
    }
}

/* --- asks */

static void a_gather_ends_once_after_its_last_answer(void **state)
{
    (void)state;
    stage s = stage_open(25, 2);
    stoa_ref a = spawn(&s, &limb_kind, "limb/a", 0, 0), b = spawn(&s, &limb_kind, "limb/b", 0, 0);
    stoa_ref c = spawn(&s, &limb_kind, "limb/c", 1, 0), gone = spawn(&s, &limb_kind, "limb/gone", 1, 0);
    assert_int_equal(stoa_stop(s.node, gone), STOA_OK);
    assert_int_equal(limb_post_survey(s.node, a, (limb_survey){.a = b.at, .b = gone.at, .c = c.at}), STOA_OK);
    stoa_sim_run(s.sim, STOA_MS(20));
    assert_int_equal(seen_by(&s, a).gathered, 0); /* c never answers */
    stoa_sim_run(s.sim, STOA_MS(60));
    assert_int_equal(seen_by(&s, a).gathered, 1010101);
    assert_int_equal(limb_post_survey(s.node, b, (limb_survey){.a = a.at, .refused = 1}), STOA_OK);
    assert_int_equal(limb_post_survey(s.node, c, (limb_survey){0}), STOA_OK);
    stoa_sim_run(s.sim, STOA_MS(60));
    assert_int_equal(seen_by(&s, b).gathered, 0);       /* the turn was refused */
    assert_int_equal(seen_by(&s, c).gathered, 1000000); /* nobody was asked */
    stage_close(&s);
}

static void a_cancelled_ask_is_never_answered(void **state)
{
    (void)state;
    stage s = stage_open(26, 1);
    stoa_ref a = spawn(&s, &limb_kind, "limb/a", 0, 0), b = spawn(&s, &limb_kind, "limb/b", 0, 0);
    assert_int_equal(limb_post_ask(s.node, a, (limb_ask){b.at, 3, 0, 0}), STOA_OK);
    stoa_sim_run(s.sim, STOA_MS(60));
    assert_int_equal(seen_by(&s, a).answers, 3);
    stoa_core_view before, after;
    assert_int_equal(stoa_core_look(s.node, 0, &before), STOA_OK);
    assert_int_equal(limb_post_ask(s.node, a, (limb_ask){b.at, 3, 0, 1}), STOA_OK);
    stoa_sim_run(s.sim, STOA_MS(60));
    limb_seen seen = seen_by(&s, a);
    assert_true(seen.answers == 3 && seen.late == 0);
    assert_int_equal(stoa_core_look(s.node, 0, &after), STOA_OK);
    assert_int_equal(after.dead_letters - before.dead_letters, 3);
    stage_close(&s);
}

int main(void)
{
    stoa_log_level_set(STOA_LOG_OFF);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_child_starts_with_the_turn_and_never_was_when_it_is_refused),
        cmocka_unit_test(restarts_follow_the_childs_type),
        cmocka_unit_test(one_for_all_ends_youngest_first_and_starts_oldest_first),
        cmocka_unit_test(rest_for_one_leaves_the_older_ones_alone),
        cmocka_unit_test(a_crash_loop_empties_the_bucket_and_escalates_to_the_node),
        cmocka_unit_test(a_bucket_refills_with_time),
        cmocka_unit_test(delays_between_restarts_double_up_to_their_limit),
        cmocka_unit_test(a_parents_end_ends_its_children_first_the_youngest_first),
        cmocka_unit_test(an_actor_told_to_end_handles_what_it_was_sent_and_waits_for_its_answers),
        cmocka_unit_test(what_does_not_end_in_time_is_killed_with_all_below),
        cmocka_unit_test(a_deep_and_wide_tree_ends_without_stalling_its_core),
        cmocka_unit_test(the_node_ends_bottom_up_on_every_core),
        cmocka_unit_test(a_monitor_hears_once_of_every_way_to_end),
        cmocka_unit_test(who_does_not_watch_any_more_hears_nothing),
        cmocka_unit_test(linked_actors_fail_together_unless_one_traps_exits),
        cmocka_unit_test(a_normal_end_fails_nobody),
        cmocka_unit_test(what_a_failed_actor_held_goes_back_at_once),
        cmocka_unit_test(who_takes_more_memory_than_its_quota_fails_alone),
        cmocka_unit_test(an_event_sourced_actor_comes_back_from_its_log),
        cmocka_unit_test(a_gather_ends_once_after_its_last_answer),
        cmocka_unit_test(a_cancelled_ask_is_never_answered),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
