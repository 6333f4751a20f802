/* group_test.c - goal: what groups and fan-out promise: one payload for a thousand, one cross-core operation per core; a key's
 * member stays; rounds are fair; who ends leaves; a refused turn changes nothing. Method: small kinds on a simulated node of
 * four cores, so that counts are exact.
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

enum { CORES = 4, STEPS_MAX = 1000000 };

/* --- worker: joins, hears, is chosen; boss: publishes and chooses */

#define worker_job_FIELDS(F, S)    F(S, uint64_t, n)
#define worker_news_FIELDS(F, S)   F(S, uint64_t, n) F(S, stoa_text1022, text)
#define worker_seen_FIELDS(F, S)   F(S, uint64_t, jobs) F(S, uint64_t, news) F(S, uint64_t, sum) F(S, uint64_t, members)
#define worker_look_FIELDS         STOA_NO_FIELDS
#define worker_change_FIELDS(F, S) F(S, uint64_t, what) F(S, stoa_text62, name) F(S, uint64_t, refuse)
#define worker_speak_FIELDS(F, S)  F(S, uint64_t, n)
#define worker_pick_FIELDS(F, S)   F(S, uint64_t, how) F(S, uint64_t, key)
#define worker_picked_FIELDS(F, S) F(S, uint64_t, ref)
#define worker_ROWS(ROW, K)                                                                                            \
    ROW(K, CAST, job, _, "For one member, or for all.")                                                                \
    ROW(K, COMMAND, look, seen, "What was heard.")                                                                     \
    ROW(K, COMMAND, change, seen, "Subscribe, unsubscribe, join, leave, bind or fail; and refuse it.")                 \
    ROW(K, COMMAND, speak, seen, "Publish news, and cast a job to all.")                                               \
    ROW(K, COMMAND, pick, picked, "Choose a member.")                                                                  \
    ROW(K, TOPIC, news, _, "For all who hear.")                                                                        \
    ROW(K, REPLY, seen, _, "What was heard.")                                                                          \
    ROW(K, REPLY, picked, _, "Who was chosen.")
STOA_TABLE(worker)
STOA_TABLE_DEFINE(worker)
typedef struct worker {
    worker_seen seen;
} worker;
#define worker_HEARS(HEAR, K) HEAR(K, worker, news)
typedef struct worker_args {
    const char *group; /* "": none */
    const char *subscribes;
} worker_args;
enum { JOIN, LEAVE, SUBSCRIBE, UNSUBSCRIBE, BIND, FAIL };
enum { BY_KEY, NEXT, NEAR };

static stoa_err worker_start(stoa_turn *turn, void *state, const void *args)
{
    const worker_args *with = args;
    (void)state;
    stoa_err err = with->group[0] ? stoa_turn_join(turn, with->group) : STOA_OK;
    return err || !with->subscribes[0] ? err : stoa_turn_subscribe(turn, with->subscribes);
}
STOA_PLAIN_KIND(worker, .mailbox_limit = 4096, .start = worker_start, .args_bytes = sizeof(worker_args))

static stoa_err worker_on_job(stoa_turn *turn, worker *self, const worker_job *in)
{
    (void)turn;
    self->seen.jobs++;
    self->seen.sum += in->n;
    return STOA_OK;
}
static stoa_err worker_on_worker_news(stoa_turn *turn, worker *self, const worker_news *in)
{
    self->seen.news++;
    self->seen.sum += in->n + (in->text.len == 1000 && in->text.at[999] == 'z' && stoa_turn_topic(turn)[0] == 'c');
    return STOA_OK;
}
static stoa_err worker_on_look(stoa_turn *turn, worker *self, const worker_look *in, worker_seen *out)
{
    (void)in;
    *out = self->seen;
    out->members = stoa_turn_members(turn, 0);
    return STOA_OK;
}
static stoa_err bind(stoa_turn *turn, const char *name)
{
    return stoa_turn_bind(turn, 0, name);
}
static stoa_err fail_now(stoa_turn *turn, const char *name)
{
    (void)name;
    return stoa_fail(turn, "asked to");
}
static stoa_err worker_on_change(stoa_turn *turn, worker *self, const worker_change *in, worker_seen *out)
{
    static stoa_err (*const changes[])(stoa_turn *turn, const char *name) = {
        [JOIN] = stoa_turn_join, [LEAVE] = stoa_turn_leave, [SUBSCRIBE] = stoa_turn_subscribe,
        [UNSUBSCRIBE] = stoa_turn_unsubscribe, [BIND] = bind, [FAIL] = fail_now};
    char name[64] = {0};
    memcpy(name, in->name.at, in->name.len);
    *out = self->seen;
    stoa_err err = changes[in->what](turn, name);
    return err ? err : (stoa_err)in->refuse;
}
static stoa_err worker_on_speak(stoa_turn *turn, worker *self, const worker_speak *in, worker_seen *out)
{
    worker_news news = {.n = in->n, .text.len = 1000};
    worker_job job = {in->n};
    news.text.at[999] = 'z';
    *out = self->seen;
    stoa_err err = worker_publish_news(turn, 0, &news);
    return err ? err : worker_publish_job(turn, 0, &job);
}
static stoa_err worker_on_pick(stoa_turn *turn, worker *self, const worker_pick *in, worker_picked *out)
{
    (void)self;
    out->ref = (in->how == BY_KEY ? stoa_turn_member(turn, 0, in->key)
                : in->how == NEXT ? stoa_turn_member_next(turn, 0)
                                  : stoa_turn_member_near(turn, 0))
                   .at;
    return STOA_OK;
}

/* --- a node */

typedef struct world {
    stoa_sim *sim;
    stoa_node *node;
} world;

static stoa_ref spawn(world *w, const char *name, uint32_t core, const char *group, const char *subscribes)
{
    stoa_ref ref;
    worker_args args = {group, subscribes};
    stoa_spawn_options options = {.core = core, .args = &args};
    assert_int_equal(stoa_spawn(w->node, &worker_kind, name, &options, &ref), STOA_OK);
    return ref;
}

static stoa_err change(world *w, stoa_ref who, uint64_t what, const char *name, stoa_err refuse)
{
    worker_seen seen;
    worker_change in = {.what = what, .name.len = (uint16_t)strlen(name), .refuse = (uint64_t)refuse};
    memcpy(in.name.at, name, strlen(name));
    return worker_call_change(w->node, who, in, STOA_S(5), &seen);
}

static worker_seen look(world *w, stoa_ref who)
{
    worker_seen seen;
    assert_int_equal(worker_call_look(w->node, who, (worker_look){0}, STOA_S(5), &seen), STOA_OK);
    return seen;
}

static void speak(world *w, stoa_ref who, uint64_t n)
{
    worker_seen seen;
    assert_int_equal(worker_call_speak(w->node, who, (worker_speak){n}, STOA_S(5), &seen), STOA_OK);
    assert_int_equal(stoa_sim_settle(w->sim, STEPS_MAX), STOA_OK);
}

static stoa_ref pick(world *w, stoa_ref who, uint64_t how, uint64_t key)
{
    worker_picked picked;
    assert_int_equal(worker_call_pick(w->node, who, (worker_pick){how, key}, STOA_S(5), &picked), STOA_OK);
    return (stoa_ref){picked.ref};
}

static stoa_core_view all_cores(world *w)
{
    stoa_core_view all = {0}, one;
    for (uint32_t i = 0; i < CORES; i++) {
        assert_int_equal(stoa_core_look(w->node, i, &one), STOA_OK);
        all.cross += one.cross;
        all.lent += one.lent;
        all.fanned += one.fanned;
        all.dead_letters += one.dead_letters;
        all.used_bytes += one.used_bytes;
    }
    return all;
}

static int begin(void **state)
{
    world *w = calloc(1, sizeof *w);
    *state = w;
    return stoa_sim_new(&(stoa_sim_options){.seed = 7, .cores = CORES}, &w->sim, &w->node) != STOA_OK;
}

static int end(void **state)
{
    world *w = *state;
    stoa_sim_free(w->sim);
    free(w);
    return 0;
}

static stoa_ref boss_of(world *w, const char *group)
{
    stoa_ref boss = spawn(w, "worker/boss", 0, "", "");
    assert_int_equal(change(w, boss, BIND, group, STOA_OK), STOA_OK);
    return boss;
}

/* --- fan-out */

/* All blocks of that class that were ever in use at the same time lie in the free lists when nothing is under way. */
static uint32_t free_blocks(world *w, uint8_t size_class)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < CORES; i++) {
        for (stoa_msg *at = w->node->cores[i]->place.slab.free[size_class]; at; at = at->next) { count++; }
    }
    return count;
}

static void a_thousand_subscribers_cost_one_payload_and_a_crossing_per_core(void **state)
{
    enum { SUBSCRIBERS = 1000, TIMES = 5 };
    world *w = *state;
    stoa_ref who[SUBSCRIBERS], boss = boss_of(w, "crew.news");
    char name[32];
    for (uint32_t i = 0; i < SUBSCRIBERS; i++) {
        (void)snprintf(name, sizeof name, "worker/%u", i);
        who[i] = spawn(w, name, i % CORES, "", i % 3 ? "crew.*" : "crew.>");
    }
    stoa_slab *slab = &w->node->cores[0]->place.slab;
    stoa_msg *as_published = stoa_slab_new(slab, sizeof(worker_news), STOA_MSG_CONTEXT);
    assert_non_null(as_published);
    uint8_t size_class = as_published ? as_published->size_class : 0;
    if (as_published) { stoa_slab_free(slab, as_published); }
    speak(w, boss, 0);
    stoa_core_view before = all_cores(w);
    for (uint64_t n = 1; n <= TIMES; n++) { speak(w, boss, n); }
    stoa_core_view after = all_cores(w);
    assert_int_equal(free_blocks(w, size_class), 1);
    /* news and jobs to three other cores, and the answers to the speak calls to the port that asked */
    assert_int_equal(after.cross - before.cross, TIMES * (2 * (CORES - 1) + 1));
    assert_int_equal(after.fanned - before.fanned, TIMES * 2 * CORES);
    assert_int_equal(after.lent - before.lent, TIMES * 2 * SUBSCRIBERS);
    assert_int_equal(after.dead_letters, before.dead_letters);
    assert_int_equal(after.used_bytes, before.used_bytes); /* everything came home */
    for (uint32_t i = 0; i < SUBSCRIBERS; i++) {
        worker_seen seen = look(w, who[i]);
        assert_int_equal(seen.news, TIMES + 1);
        assert_int_equal(seen.jobs, TIMES + 1);
        assert_int_equal(seen.sum, TIMES * (TIMES + 1) + TIMES + 1);
    }
}

static void who_has_several_patterns_hears_once(void **state)
{
    world *w = *state;
    stoa_ref boss = boss_of(w, "crew.news");
    stoa_ref member = spawn(w, "worker/m", 1, "crew.news", "crew.*");
    stoa_ref listener = spawn(w, "worker/l", 1, "", "crew.news");
    assert_int_equal(change(w, member, SUBSCRIBE, ">", STOA_OK), STOA_OK);
    assert_int_equal(change(w, listener, SUBSCRIBE, "crew.>", STOA_OK), STOA_OK);
    speak(w, boss, 1);
    assert_int_equal(look(w, member).news, 1);
    assert_int_equal(look(w, listener).news, 1);
    assert_int_equal(change(w, member, LEAVE, "crew.news", STOA_OK), STOA_OK);
    assert_int_equal(change(w, member, UNSUBSCRIBE, "crew.*", STOA_OK), STOA_OK);
    speak(w, boss, 1);
    assert_int_equal(look(w, member).news, 2);
    assert_int_equal(change(w, member, UNSUBSCRIBE, ">", STOA_OK), STOA_OK);
    speak(w, boss, 1);
    assert_int_equal(look(w, member).news, 2);
    assert_int_equal(look(w, listener).news, 3);
    assert_int_equal(change(w, member, UNSUBSCRIBE, "never.was", STOA_OK), STOA_OK);
    assert_int_equal(change(w, member, SUBSCRIBE, "not..good", STOA_OK), STOA_E_INVALID);
    assert_int_equal(change(w, member, JOIN, "crew.*", STOA_OK), STOA_E_INVALID);
    assert_int_equal(change(w, member, LEAVE, ">", STOA_OK), STOA_E_INVALID);
}

typedef struct port_heard {
    uint64_t news, jobs, sum;
} port_heard;

static void on_port(void *context, const stoa_delivery *d)
{
    port_heard *heard = context;
    assert_string_equal(d->topic, "crew.news");
    assert_false(d->answer);
    if (d->row == &worker_rows[worker_ROW_news]) {
        const worker_news *news = d->payload;
        heard->news++;
        heard->sum += news->n + (news->text.len == 1000 && news->text.at[999] == 'z');
    } else {
        heard->jobs++;
        heard->sum += ((const worker_job *)d->payload)->n;
    }
}

static void a_port_hears_the_same_payload_and_lets_it_go(void **state)
{
    enum { TIMES = 3 };
    world *w = *state;
    stoa_port *port;
    port_heard heard = {0};
    stoa_ref boss = boss_of(w, "crew.news"), member = spawn(w, "worker/m", 2, "crew.news", "");
    assert_int_equal(stoa_port_open(w->node, "test", &port), STOA_OK);
    speak(w, boss, 0);
    stoa_core_view before = all_cores(w);
    assert_int_equal(stoa_port_subscribe(port, "crew.>"), STOA_OK);
    assert_int_equal(stoa_port_subscribe(port, "*.news"), STOA_OK);
    for (uint64_t n = 1; n <= TIMES; n++) { speak(w, boss, n); }
    assert_true(all_cores(w).used_bytes > before.used_bytes); /* the port has not looked yet */
    assert_int_equal(stoa_port_poll(port, on_port, &heard, 100), 2 * TIMES);
    stoa_port_flush(port);
    assert_int_equal(stoa_port_unsubscribe(port, "*.news"), STOA_OK);
    assert_int_equal(stoa_port_unsubscribe(port, "crew.>"), STOA_OK);
    speak(w, boss, TIMES + 1);
    assert_int_equal(stoa_port_poll(port, on_port, &heard, 100), 0);
    assert_int_equal(heard.news, TIMES);
    assert_int_equal(heard.jobs, TIMES);
    assert_int_equal(heard.sum, TIMES * (TIMES + 1) + TIMES);
    assert_int_equal(look(w, member).news, TIMES + 2);
    speak(w, boss, 0);
    speak(w, boss, 0);
    assert_int_equal(all_cores(w).used_bytes, before.used_bytes);
    stoa_port_close(port);
}

/* --- groups */

enum { MEMBERS = 20, KEYS = 2000 };

static void crew(world *w, stoa_ref *who)
{
    char name[32];
    for (uint32_t i = 0; i < MEMBERS; i++) {
        (void)snprintf(name, sizeof name, "worker/%u", i);
        who[i] = spawn(w, name, i % CORES, "crew", "");
    }
}

static uint32_t number_of(const stoa_ref *who, stoa_ref ref)
{
    for (uint32_t i = 0; i < MEMBERS; i++) {
        if (stoa_ref_equal(who[i], ref)) { return i; }
    }
    fail_msg("a stranger was chosen");
    return 0;
}

static void a_key_stays_with_its_member(void **state)
{
    world *w = *state;
    stoa_ref who[MEMBERS], boss = boss_of(w, "crew"), other = spawn(w, "worker/other", 3, "", "");
    uint32_t at_first[KEYS], keys_of[MEMBERS] = {0};
    assert_int_equal(change(w, other, BIND, "crew", STOA_OK), STOA_OK);
    crew(w, who);
    (void)spawn(w, "worker/listener", 1, "", "crew");
    for (uint32_t key = 0; key < KEYS; key++) {
        at_first[key] = number_of(who, pick(w, boss, BY_KEY, key));
        keys_of[at_first[key]]++;
        if (key % 50 == 0) { assert_int_equal(number_of(who, pick(w, other, BY_KEY, key)), at_first[key]); }
    }
    for (uint32_t i = 0; i < MEMBERS; i++) { assert_in_range(keys_of[i], KEYS / MEMBERS / 2, KEYS / MEMBERS * 2); }
    assert_int_equal(stoa_stop(w->node, who[7]), STOA_OK);
    for (uint32_t key = 0; key < KEYS; key++) {
        uint32_t now = number_of(who, pick(w, boss, BY_KEY, key));
        assert_true(at_first[key] == 7 ? now != 7 : now == at_first[key]);
    }
    who[7] = spawn(w, "worker/7", 2, "crew", ""); /* another actor of the same name, elsewhere */
    for (uint32_t key = 0; key < KEYS; key++) {
        assert_int_equal(number_of(who, pick(w, boss, BY_KEY, key)), at_first[key]);
    }
}

static void rounds_are_fair_and_near_is_near(void **state)
{
    enum { ROUNDS = 3 };
    world *w = *state;
    stoa_ref who[MEMBERS], boss = boss_of(w, "crew");
    uint32_t times[MEMBERS] = {0};
    assert_true(pick(w, boss, NEXT, 0).at == 0);
    assert_true(pick(w, boss, NEAR, 0).at == 0);
    assert_true(pick(w, boss, BY_KEY, 0).at == 0);
    crew(w, who);
    assert_int_equal(look(w, boss).members, MEMBERS);
    assert_int_equal(stoa_stop(w->node, who[5]), STOA_OK); /* a hole */
    for (uint32_t i = 0; i < ROUNDS * (MEMBERS - 1); i++) { times[number_of(who, pick(w, boss, NEXT, 0))]++; }
    for (uint32_t i = 0; i < MEMBERS; i++) { assert_int_equal(times[i], i == 5 ? 0 : ROUNDS); }
    for (uint32_t i = 0; i < MEMBERS; i++) {
        assert_int_equal(number_of(who, pick(w, boss, NEAR, 0)) % CORES, 0);
        times[i] = 0;
    }
    for (uint32_t i = 0; i < MEMBERS; i += CORES) { assert_int_equal(stoa_stop(w->node, who[i]), STOA_OK); }
    for (uint32_t i = 0; i < 14; i++) { times[number_of(who, pick(w, boss, NEAR, 0))]++; } /* none on this core: of all */
    for (uint32_t i = 0; i < MEMBERS; i++) { assert_int_equal(times[i], i == 5 || i % CORES == 0 ? 0 : 1); }
}

static void a_refused_turn_neither_comes_nor_goes(void **state)
{
    world *w = *state;
    stoa_ref boss = boss_of(w, "crew"), one = spawn(w, "worker/1", 1, "", "");
    assert_int_equal(change(w, one, JOIN, "crew", STOA_E_INVALID), STOA_E_INVALID);
    assert_int_equal(change(w, one, SUBSCRIBE, "cr*", STOA_E_INVALID), STOA_E_INVALID);
    assert_int_equal(look(w, boss).members, 0);
    assert_true(pick(w, boss, NEXT, 0).at == 0);
    assert_int_equal(change(w, one, JOIN, "crew", STOA_OK), STOA_OK);
    assert_int_equal(change(w, one, JOIN, "crew", STOA_OK), STOA_OK); /* again: nothing changes */
    assert_int_equal(change(w, one, JOIN, "crew", STOA_E_INVALID), STOA_E_INVALID);
    assert_int_equal(change(w, one, LEAVE, "crew", STOA_E_INVALID), STOA_E_INVALID);
    assert_int_equal(look(w, boss).members, 1);
    assert_true(stoa_ref_equal(pick(w, boss, NEXT, 0), one));
    assert_int_equal(change(w, one, LEAVE, "crew", STOA_OK), STOA_OK);
    assert_int_equal(look(w, boss).members, 0);
    assert_int_equal(w->node->topics.subscriptions.count, 0);
}

typedef struct listing {
    char text[512];
} listing;

static void note_group(void *context, const stoa_group_view *view)
{
    listing *l = context;
    size_t len = strlen(l->text);
    (void)snprintf(l->text + len, sizeof l->text - len, "%s:%u:%llu ", view->name, view->members,
                   (unsigned long long)view->published);
}

static void note_member(void *context, const stoa_member_view *view)
{
    listing *l = context;
    size_t len = strlen(l->text);
    (void)snprintf(l->text + len, sizeof l->text - len, "%s@%u ", view->name, view->core);
}

static void check_members(world *w, const char *group, stoa_err expected, const char *text)
{
    listing l = {{0}};
    assert_int_equal(stoa_members(w->node, group, note_member, &l), expected);
    assert_string_equal(l.text, text);
}

static void groups_and_members_are_seen_from_outside(void **state)
{
    world *w = *state;
    stoa_ref boss = boss_of(w, "crew"), a = spawn(w, "worker/a", 3, "crew", ""), b = spawn(w, "worker/b", 0, "crew", "");
    listing groups = {{0}}, some = {{0}};
    (void)spawn(w, "worker/c", 1, "night.shift", "crew");
    speak(w, boss, 1);
    assert_int_equal(stoa_groups(w->node, NULL, note_group, &groups), STOA_OK);
    assert_non_null(strstr(groups.text, "crew:2:2 "));
    assert_non_null(strstr(groups.text, "night.shift:1:0 "));
    assert_int_equal(stoa_groups(w->node, "night.*", note_group, &some), STOA_OK);
    assert_string_equal(some.text, "night.shift:1:0 ");
    check_members(w, "crew", STOA_OK, "worker/a@3 worker/b@0 ");
    check_members(w, "nobody", STOA_E_NOT_FOUND, "");
    check_members(w, "not..good", STOA_E_INVALID, "");

    /* one fails, and comes back with what its start joins; one has left before, and does not; one ends */
    assert_int_equal(change(w, a, LEAVE, "crew", STOA_OK), STOA_OK);
    assert_int_equal(change(w, a, JOIN, "elsewhere", STOA_OK), STOA_OK);
    assert_int_equal(change(w, a, FAIL, "", STOA_OK), STOA_E_FAILED);
    assert_int_equal(stoa_sim_settle(w->sim, STEPS_MAX), STOA_OK);
    check_members(w, "elsewhere", STOA_E_NOT_FOUND, "");
    check_members(w, "crew", STOA_OK, "worker/a@3 worker/b@0 ");
    assert_int_equal(stoa_stop(w->node, b), STOA_OK);
    check_members(w, "crew", STOA_OK, "worker/a@3 ");
    assert_int_equal(look(w, boss).members, 1);
    assert_int_equal(stoa_stop(w->node, a), STOA_OK);
    check_members(w, "crew", STOA_E_NOT_FOUND, "");
    speak(w, boss, 1); /* nobody but the listener hears */
}

int main(void)
{
    stoa_log_level_set(STOA_LOG_ERROR);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_thousand_subscribers_cost_one_payload_and_a_crossing_per_core, begin, end),
        cmocka_unit_test_setup_teardown(who_has_several_patterns_hears_once, begin, end),
        cmocka_unit_test_setup_teardown(a_port_hears_the_same_payload_and_lets_it_go, begin, end),
        cmocka_unit_test_setup_teardown(a_key_stays_with_its_member, begin, end),
        cmocka_unit_test_setup_teardown(rounds_are_fair_and_near_is_near, begin, end),
        cmocka_unit_test_setup_teardown(a_refused_turn_neither_comes_nor_goes, begin, end),
        cmocka_unit_test_setup_teardown(groups_and_members_are_seen_from_outside, begin, end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
