/* isolate_test.c - goal: an isolate is an actor like any other, and whatever its child does ends that child alone, with a reason that
 * says what it was, and leaves nothing behind. Method: real children: a plug-in that misbehaves on request (isolates/odd.c) and
 * programs in the host's place that write what they like (isolates/hostile.c). A boss spawns them, watches them and says how they ended;
 * after each of them the helper beside it still answers, no child is left, and the process has as many descriptors as before.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include <dirent.h>
#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/log.h"
#include "runtime/isolate/isolate.h"
#include "runtime/stoa.h"
#include "storage/sim/journal.h"
#include "tests/unit/runtime/isolates/helper.h"

STOA_TABLE_DEFINE(odd)
STOA_ISOLATED_KIND(odd, .mailbox_limit = 512)

/* --- the boss */
#define boss_look_FIELDS       STOA_NO_FIELDS
#define boss_seen_FIELDS(F, S) F(S, uint64_t, ends) F(S, uint64_t, reason) F(S, stoa_text62, text)
#define boss_ROWS(ROW, K)                                \
    ROW(K, COMMAND, look, seen, "What has it seen?")     \
    ROW(K, REPLY, seen, _, "How often its child ended, and why last.")
STOA_TABLE_HERE(boss)
typedef struct boss {
    boss_seen seen;
} boss;
typedef struct boss_args {
    stoa_isolate isolate;
    stoa_restart restart;
} boss_args;
#define boss_HEARS(HEAR, K) HEAR(K, stoa_system, down)
static stoa_err boss_start(stoa_turn *turn, void *state, const void *args);
STOA_PLAIN_KIND(boss, .start = boss_start, .args_bytes = sizeof(boss_args))
static stoa_err boss_start(stoa_turn *turn, void *state, const void *args)
{
    boss_args with;
    stoa_ref ref;
    (void)state;
    memcpy(&with, args, sizeof with);
    stoa_err err = stoa_turn_spawn(turn, &odd_kind, &(stoa_child){.name = "odd/o", .args = &with.isolate, .restart = with.restart}, &ref);
    if (!err && !stoa_turn_monitor(turn, ref)) { err = STOA_E_FULL; }
    return err;
}
static stoa_err boss_on_stoa_system_down(stoa_turn *turn, boss *self, const stoa_system_down *in)
{
    self->seen.ends++;
    self->seen.reason = in->reason;
    self->seen.text = in->text;
    if (in->returns) { (void)stoa_turn_monitor(turn, (stoa_ref){in->ref}); }
    return STOA_OK;
}
static stoa_err boss_on_look(stoa_turn *turn, boss *self, const boss_look *in, boss_seen *out)
{
    (void)turn, (void)in;
    *out = self->seen;
    return STOA_OK;
}

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

/* --- the stage */

static char host[512], library[512], hostile[512];
static const char *const peers[] = {"helper/h", NULL};
static const stoa_table *const tables[] = {&helper_table, NULL};

typedef struct stage {
    stoa_node *node;
    stoa_ref helper, boss, odd;
    uint32_t files;
} stage;

static uint32_t open_files(void)
{
    uint32_t count = 0;
    DIR *folder = opendir("/proc/self/fd");
    assert_non_null(folder);
    while (readdir(folder)) { count++; }
    (void)closedir(folder);
    return count;
}

static stoa_isolate plug_in(void)
{
    return (stoa_isolate){.host = host, .library = library, .peers = peers, .tables = tables};
}

static void open_with(stage *s, stoa_isolate isolate, stoa_restart restart)
{
    *s = (stage){.files = open_files()};
    boss_args args = {.isolate = isolate, .restart = restart};
    assert_int_equal(stoa_node_open(&(stoa_options){.cores = 1}, &s->node), STOA_OK);
    assert_int_equal(stoa_spawn(s->node, &helper_kind, "helper/h", NULL, &s->helper), STOA_OK);
    assert_int_equal(stoa_spawn(s->node, &boss_kind, "boss/b", &(stoa_spawn_options){.args = &args}, &s->boss), STOA_OK);
    s->odd = stoa_find(s->node, "odd/o");
}

static void close_stage(stage *s)
{
    stoa_node_close(s->node, STOA_S(10));
    assert_int_equal(waitpid(-1, NULL, WNOHANG), -1); /* no child is left, dead or alive */
    assert_int_equal(errno, ECHILD);
    assert_int_equal(open_files(), s->files);
}

static boss_seen wait_for_end(stage *s, uint64_t ends)
{
    boss_seen seen = {0};
    while (seen.ends < ends) {
        assert_int_equal(boss_call_look(s->node, s->boss, (boss_look){0}, STOA_S(60), &seen), STOA_OK);
        (void)usleep(1000);
    }
    helper_doubled doubled; /* who was beside it serves */
    assert_int_equal(helper_call_double(s->node, s->helper, (helper_double){21}, STOA_S(60), &doubled), STOA_OK);
    assert_int_equal(doubled.n, 42);
    return seen;
}

static void assert_ended(const boss_seen *seen, const char *text)
{
    char was[64];
    (void)snprintf(was, sizeof was, "%.*s", STOA_TEXT_ARGS(&seen->text));
    assert_string_equal(was, text);
}

static odd_sum add(stage *s, uint64_t n)
{
    odd_sum sum = {0};
    assert_int_equal(odd_call_add(s->node, s->odd, (odd_add){n}, STOA_S(60), &sum), STOA_OK);
    return sum;
}

/* --- an actor like any other */

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

/* --- ends */

static void misdo(stage *s, const char *what)
{
    odd_sum sum;
    odd_misdo deed = {0};
    (void)STOA_TEXT_SETZ(&deed.what, what);
    stoa_err err = odd_call_misdo(s->node, s->odd, deed, STOA_S(60), &sum);
    assert_true(err == STOA_E_FAILED || (strcmp(what, "normal") == 0 && err == STOA_OK));
}

static void test_each_end_has_its_reason(void **state)
{
    static const struct {
        const char *deed, *text;
    } ends[] = {{"crash", "isolate: crashed"},
                {"abort", "isolate: a system call that it may not make"}, /* raising a signal is one */
                {"kill", "isolate: a system call that it may not make"},
                {"open", "isolate: a system call that it may not make"},
                {"fork", "isolate: a system call that it may not make"},
                {"exec", "isolate: a system call that it may not make"},
                {"connect", "isolate: a system call that it may not make"},
                {"code", "isolate: a system call that it may not make"},
                {"memory", "isolate: above its memory"},
                {"exit", "isolate: its process ended"},
                {"hang", "isolate: a turn took too long"},
                {"fail", "isolate: its turn failed"},
                {"normal", "normal"}};
    (void)state;
    for (unsigned i = 0; i < sizeof ends / sizeof ends[0]; i++) {
        stage s;
        stoa_isolate isolate = plug_in();
        isolate.turn_ns = strcmp(ends[i].deed, "hang") == 0 ? STOA_MS(200) : STOA_S(60);
        open_with(&s, isolate, STOA_TEMPORARY);
        assert_int_equal(add(&s, 3).sum, 3);
        misdo(&s, ends[i].deed);
        boss_seen seen = wait_for_end(&s, 1);
        assert_ended(&seen, ends[i].text);
        close_stage(&s);
    }
}

/* What a library runs when it is loaded is foreign code, too. */
static void test_what_loading_runs_may_not_reach_outside(void **state)
{
    static const char *const early[] = {"early_socket", "early_write"};
    (void)state;
    for (unsigned i = 0; i < sizeof early / sizeof early[0]; i++) {
        stage s;
        char path[512];
        (void)snprintf(path, sizeof path, "%s/plugins/%s.so", getenv("STOA_BUILD"), early[i]);
        stoa_isolate isolate = plug_in();
        isolate.library = path;
        open_with(&s, isolate, STOA_TEMPORARY);
        boss_seen seen = wait_for_end(&s, 1);
        assert_ended(&seen, "isolate: a system call that it may not make");
        close_stage(&s);
    }
}

static void test_above_its_processor_time_it_ends(void **state)
{
    stage s;
    (void)state;
    stoa_isolate isolate = plug_in();
    isolate.turn_ns = STOA_S(600);
    isolate.cpu_s = 1;
    open_with(&s, isolate, STOA_TEMPORARY);
    misdo(&s, "hang");
    boss_seen seen = wait_for_end(&s, 1);
    assert_ended(&seen, "isolate: above its processor time");
    close_stage(&s);
}

static void test_killed_and_stopped_children_are_noticed(void **state)
{
    (void)state;
    for (int stop = 0; stop < 2; stop++) {
        stage s;
        odd_sum sum;
        int pid = 0;
        stoa_isolate isolate = plug_in();
        isolate.turn_ns = STOA_MS(200);
        open_with(&s, isolate, STOA_TEMPORARY);
        assert_int_equal(add(&s, 3).sum, 3);
        stoa_buf out = {.grows = true};
        assert_int_equal(stoa_inspect(s.node, "odd/o", &out), STOA_OK);
        stoa_buf_put(&out, "", 1);
        assert_int_equal(sscanf(out.at, "{\"pid\":%d", &pid), 1);
        stoa_buf_deinit(&out);
        assert_int_equal(kill(pid, stop ? SIGSTOP : SIGKILL), 0);
        if (stop) { assert_int_equal(odd_call_add(s.node, s.odd, (odd_add){1}, STOA_S(60), &sum), STOA_E_FAILED); }
        boss_seen seen = wait_for_end(&s, 1);
        assert_ended(&seen, stop ? "isolate: a turn took too long" : "isolate: killed");
        close_stage(&s);
    }
}

static void test_it_is_restarted_under_its_name(void **state)
{
    stage s;
    (void)state;
    open_with(&s, plug_in(), STOA_PERMANENT);
    for (uint64_t i = 1; i <= 5; i++) {
        assert_int_equal(add(&s, 3).sum, 3); /* begins anew each time */
        misdo(&s, i % 2 ? "crash" : "fork");
        (void)wait_for_end(&s, i);
        odd_sum sum;
        while (odd_call_add(s.node, s.odd, (odd_add){0}, STOA_S(60), &sum)) {}
    }
    close_stage(&s);
}

static void test_what_cannot_be_started_says_so(void **state)
{
    stage s;
    stoa_ref ref;
    (void)state;
    stoa_isolate isolate = plug_in();
    isolate.library = "/nowhere/at/all.so";
    open_with(&s, isolate, STOA_TEMPORARY);
    boss_seen seen = wait_for_end(&s, 1);
    assert_ended(&seen, "isolate: its library cannot be loaded");
    isolate.host = "/nowhere/at/all";
    assert_int_equal(stoa_spawn(s.node, &odd_kind, "odd/p", &(stoa_spawn_options){.args = &isolate}, &ref), STOA_E_IO);
    assert_int_equal(stoa_spawn(s.node, &odd_kind, "odd/p", NULL, &ref), STOA_E_INVALID);
    close_stage(&s);
}

static void test_hostile_children_end_alone(void **state)
{
    static const struct {
        const char *deed, *text;
    } ends[] = {{"garbage", "isolate: its ring holds no message"},
                {"huge", "isolate: its ring holds no message"},
                {"short", "isolate: what it wrote is no message"},
                {"word", "isolate: what it wrote is no message"},
                {"bytes", "isolate: what it wrote is no message"},
                {"beyond", "isolate: what it wrote is no message"},
                {"error", "isolate: what it wrote is no message"},
                {"stranger", "isolate: it sent to whom it may not"},
                {"link", "isolate: it sent to whom it may not"},
                {"topic", "isolate: a topic that it may not use"},
                {"publish", "isolate: a topic that it may not use"},
                {"demonitor", "isolate: too many messages of one turn"},
                {"kept", "isolate: what it wrote is no message"},
                {"answer", "isolate: too many messages of one turn"},
                {"row", "isolate: it sent what it may not"},
                {"reply", "isolate: it sent what it may not"},
                {"flood", "isolate: too many messages of one turn"},
                {"noise", "isolate: noise on its socket"},
                {"again", "isolate: its memory is not what it should be"},
                {"unsealed", "isolate: its memory is not what it should be"},
                {"mute", "isolate: a turn took too long"},
                {"silent", "isolate: a turn took too long"},
                {"cursor", NULL}};
    (void)state;
    for (unsigned i = 0; i < sizeof ends / sizeof ends[0]; i++) {
        stage s;
        stoa_isolate isolate = plug_in();
        isolate.host = hostile;
        isolate.library = ends[i].deed;
        isolate.turn_ns = STOA_MS(400);
        isolate.start_ns = STOA_S(2);
        open_with(&s, isolate, STOA_TEMPORARY);
        odd_sum sum;
        assert_int_not_equal(odd_call_add(s.node, s.odd, (odd_add){1}, STOA_S(60), &sum), STOA_OK);
        boss_seen seen = wait_for_end(&s, 1);
        if (ends[i].text) { assert_ended(&seen, ends[i].text); }
        close_stage(&s);
    }
}

static void test_who_never_reads_makes_its_senders_hear_full(void **state)
{
    stage s;
    uint64_t posted = 0;
    (void)state;
    stoa_isolate isolate = plug_in();
    isolate.host = hostile;
    isolate.library = "mute";
    isolate.turn_ns = STOA_S(2);
    open_with(&s, isolate, STOA_TEMPORARY);
    while (posted < 5000) {
        stoa_err err = odd_post_tick(s.node, s.odd, (odd_tick){1});
        if (err == STOA_E_CLOSED) { break; }
        posted += !err;
    }
    odd_sum sum;
    stoa_err err = odd_call_add(s.node, s.odd, (odd_add){1}, STOA_S(60), &sum);
    assert_true(err == STOA_E_FULL || err == STOA_E_FAILED || err == STOA_E_CLOSED);
    boss_seen seen = wait_for_end(&s, 1);
    assert_ended(&seen, "isolate: a turn took too long");
    close_stage(&s);
}

int main(void)
{
    const char *bin = getenv("STOA_BIN"), *build = getenv("STOA_BUILD");
    if (!bin || !build) { return 1; }
    (void)snprintf(host, sizeof host, "%s/stoa-isolate", bin);
    (void)snprintf(library, sizeof library, "%s/plugins/odd.so", build);
    (void)snprintf(hostile, sizeof hostile, "%s/tests/isolate_hostile", build);
    stoa_log_level_set(STOA_LOG_ERROR);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_it_answers_refuses_and_remembers),
        cmocka_unit_test(test_it_starts_with_its_args_or_is_refused),
        cmocka_unit_test(test_it_asks_and_sends_in_turns_that_take_effect),
        cmocka_unit_test(test_its_timers_fire_and_are_cancelled),
        cmocka_unit_test(test_it_answers_later_whom_it_has_kept),
        cmocka_unit_test(test_an_actor_of_a_shard_asks_it_by_name_and_books_its_answers),
        cmocka_unit_test(test_each_end_has_its_reason),
        cmocka_unit_test(test_what_loading_runs_may_not_reach_outside),
        cmocka_unit_test(test_above_its_processor_time_it_ends),
        cmocka_unit_test(test_killed_and_stopped_children_are_noticed),
        cmocka_unit_test(test_it_is_restarted_under_its_name),
        cmocka_unit_test(test_what_cannot_be_started_says_so),
        cmocka_unit_test(test_hostile_children_end_alone),
        cmocka_unit_test(test_who_never_reads_makes_its_senders_hear_full),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
