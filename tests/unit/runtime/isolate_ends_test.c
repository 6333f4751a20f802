/* isolate_ends_test.c - goal: whatever an isolate's child does ends that child alone, with a reason that says what it was, and leaves
 * nothing behind. Method: real children: a plug-in that misbehaves on request (isolates/odd.c) and programs in the host's place that
 * write what they like (isolates/hostile.c); after each of them the helper beside it still answers.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/runtime/isolate_stage.h"

#include <dlfcn.h>
#include <signal.h>
#include <spawn.h>
#include <stdatomic.h>

/* The library's, which here can be held back: the child is at work before its parent knows of it, as where the processors are busy. */
static atomic_bool held;
int posix_spawn(pid_t *pid, const char *path, const posix_spawn_file_actions_t *files, const posix_spawnattr_t *how, char *const args[],
                char *const environment[])
{
    int (*real)(pid_t *, const char *, const posix_spawn_file_actions_t *, const posix_spawnattr_t *, char *const *, char *const *);
    *(void **)&real = dlsym(RTLD_NEXT, "posix_spawn");
    int rc = real(pid, path, files, how, args, environment);
    while (held) { (void)usleep(1000); }
    return rc;
}

static void misdo(stage *s, const char *what)
{
    odd_sum sum;
    odd_misdo deed = {0};
    (void)STOA_TEXT_SETZ(&deed.what, what);
    stoa_err err = odd_call_misdo(s->node, s->odd, deed, STOA_S(60), &sum);
    assert_true(err == STOA_E_FAILED || (strcmp(what, "normal") == 0 && err == STOA_OK));
}

/* Its child, or 0 where that is not known yet. */
static int look_for_pid(stage *s)
{
    int pid = 0;
    stoa_buf out = {.grows = true};
    assert_int_equal(stoa_inspect(s->node, "odd/o", &out), STOA_OK);
    stoa_buf_put(&out, "", 1);
    if (sscanf(out.at, "{\"pid\":%d", &pid) == 1) {
        assert_true(pid > 0);
    } else {
        assert_memory_equal(out.at, "{\"pid\":null,", 12);
    }
    stoa_buf_deinit(&out);
    return pid;
}

static int pid_of(stage *s)
{
    int pid;
    while (!(pid = look_for_pid(s))) { (void)usleep(1000); }
    return pid;
}

static boss_seen look_once(stage *s)
{
    boss_seen seen = {0};
    assert_int_equal(boss_call_look(s->node, s->boss, (boss_look){0}, STOA_S(60), &seen), STOA_OK);
    return seen;
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
        boss_seen seen = strcmp(ends[i].deed, "normal") == 0 ? wait_for_end(&s, 1) : look_once(&s);
        assert_ended(&seen, ends[i].text); /* who asked hears FAILED when its supervisor knows of what, and not before */
        close_stage(&s);
    }
}

/* Also who asks one whose process is gone, but has not told yet of what. */
static void test_whoever_asks_amid_an_end_hears_of_it_when_its_reason_is_there(void **state)
{
    (void)state;
    for (int round = 0; round < 20; round++) {
        stage s;
        odd_sum sum;
        open_with(&s, plug_in(), STOA_TEMPORARY);
        assert_int_equal(add(&s, 3).sum, 3);
        assert_int_equal(kill(pid_of(&s), SIGKILL), 0);
        stoa_err err;
        do {
            err = odd_call_add(s.node, s.odd, (odd_add){1}, STOA_S(60), &sum);
        } while (!err);
        assert_true(err == STOA_E_FAILED || err == STOA_E_CLOSED);
        boss_seen seen = look_once(&s);
        assert_ended(&seen, "isolate: killed");
        close_stage(&s);
    }
}

static void test_it_may_serve_before_its_process_is_known(void **state)
{
    stage s;
    (void)state;
    held = true;
    open_with(&s, plug_in(), STOA_TEMPORARY);
    assert_int_equal(add(&s, 3).sum, 3);
    assert_int_equal(look_for_pid(&s), 0);
    held = false;
    assert_int_equal(kill(pid_of(&s), 0), 0);
    close_stage(&s);
}

/* What a library runs when it is loaded is foreign code, too. */
static void test_what_loading_runs_may_not_reach_outside(void **state)
{
    static const char *const early[] = {"early_socket", "early_write", "early_trace"};
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
        stoa_isolate isolate = plug_in();
        isolate.turn_ns = STOA_MS(200);
        open_with(&s, isolate, STOA_TEMPORARY);
        assert_int_equal(add(&s, 3).sum, 3);
        assert_int_equal(kill(pid_of(&s), stop ? SIGSTOP : SIGKILL), 0);
        if (stop) { assert_int_equal(odd_call_add(s.node, s.odd, (odd_add){1}, STOA_S(60), &sum), STOA_E_FAILED); }
        boss_seen seen = wait_for_end(&s, 1);
        assert_ended(&seen, stop ? "isolate: a turn took too long" : "isolate: killed");
        close_stage(&s);
    }
}

/* An embedding program may ignore SIGCHLD: ends are noticed, and nobody else is killed. */
static void test_where_children_are_ignored_it_ends_all_the_same(void **state)
{
    stage s;
    (void)state;
    void (*before)(int) = signal(SIGCHLD, SIG_IGN);
    for (int crash = 0; crash < 2; crash++) {
        open_with(&s, plug_in(), STOA_TEMPORARY);
        assert_int_equal(add(&s, 3).sum, 3);
        if (crash) {
            misdo(&s, "crash");
            boss_seen seen = wait_for_end(&s, 1);
            assert_ended(&seen, "isolate: ended; why is lost (SIGCHLD is ignored?)");
        }
        close_stage(&s);
    }
    (void)signal(SIGCHLD, before);
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
    find_programs();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_each_end_has_its_reason),
        cmocka_unit_test(test_whoever_asks_amid_an_end_hears_of_it_when_its_reason_is_there),
        cmocka_unit_test(test_it_may_serve_before_its_process_is_known),
        cmocka_unit_test(test_what_loading_runs_may_not_reach_outside),
        cmocka_unit_test(test_above_its_processor_time_it_ends),
        cmocka_unit_test(test_killed_and_stopped_children_are_noticed),
        cmocka_unit_test(test_where_children_are_ignored_it_ends_all_the_same),
        cmocka_unit_test(test_it_is_restarted_under_its_name),
        cmocka_unit_test(test_what_cannot_be_started_says_so),
        cmocka_unit_test(test_hostile_children_end_alone),
        cmocka_unit_test(test_who_never_reads_makes_its_senders_hear_full),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
