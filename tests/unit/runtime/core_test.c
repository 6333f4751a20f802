/* core_test.c - goal: a core is a thread that stays where it is put, is woken once however much it is sent, and never when it runs; an
 * answer that comes after its deadline is a dead letter and nothing else. Method: threads as the system sees them; a write of our
 * own in front of the library's counts the bells; an actor that answers when the asker has given up.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include <dirent.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cmocka.h>

#include "runtime/internal.h"
#include "runtime/stoa.h"

/* --- bells */

static _Atomic int bell = -1; /* of the core that is looked at */
static _Atomic uint64_t rings;

__attribute__((visibility("default"), no_sanitize("thread", "address"))) ssize_t write(int fd, const void *at, size_t bytes)
{
    if (fd >= 0 && fd == atomic_load_explicit(&bell, memory_order_relaxed)) { atomic_fetch_add(&rings, 1); }
    return syscall(SYS_write, fd, at, bytes);
}

/* --- an actor that sends, asks, and answers too late */

#define post_burst_FIELDS(F, S)  F(S, uint64_t, to) F(S, uint64_t, count)
#define post_letter_FIELDS       STOA_NO_FIELDS
#define post_fail_FIELDS         STOA_NO_FIELDS
#define post_ask_late_FIELDS(F, S) F(S, uint64_t, to) F(S, uint64_t, within_ns)
#define post_question_FIELDS     STOA_NO_FIELDS
#define post_reply_FIELDS        STOA_NO_FIELDS
#define post_ROWS(ROW, K)                                                                                              \
    ROW(K, CAST, burst, _, "Send so many letters in one turn.")                                                        \
    ROW(K, CAST, letter, _, "Counted.")                                                                                \
    ROW(K, CAST, fail, _, "Fail, which is logged.")                                                                    \
    ROW(K, CAST, ask_late, _, "Ask there.")                                                                            \
    ROW(K, COMMAND, question, reply, "Answered, too late.")                                                            \
    ROW(K, REPLY, reply, _, "Yes.")
STOA_TABLE(post)
STOA_TABLE_DEFINE(post)
static _Atomic uint64_t letters, answers, timeouts, asked;
typedef struct post {
    uint64_t unused;
} post;
#define post_HEARS(HEAR, K) HEAR(K, post, reply)
STOA_PLAIN_KIND(post, .mailbox_limit = 1024)

static stoa_err post_on_burst(stoa_turn *turn, post *self, const post_burst *in)
{
    (void)self;
    stoa_err err = STOA_OK;
    for (uint64_t i = 0; i < in->count && !err; i++) { err = post_send_letter(turn, (stoa_ref){in->to}, (post_letter){0}); }
    return err;
}
static stoa_err post_on_letter(stoa_turn *turn, post *self, const post_letter *in)
{
    (void)turn, (void)self, (void)in;
    atomic_fetch_add(&letters, 1);
    return STOA_OK;
}
static stoa_err post_on_fail(stoa_turn *turn, post *self, const post_fail *in)
{
    (void)self, (void)in;
    return stoa_fail(turn, "told to");
}
static stoa_err post_on_ask_late(stoa_turn *turn, post *self, const post_ask_late *in)
{
    (void)self;
    return post_ask_question(turn, (stoa_ref){in->to}, (post_question){0}, in->within_ns, 0);
}
/* Answers, but only once the asker's time is over: a turn that waits, as none should. */
static stoa_err post_on_question(stoa_turn *turn, post *self, const post_question *in, post_reply *out)
{
    (void)turn, (void)self, (void)in, (void)out;
    atomic_fetch_add(&asked, 1);
    for (int i = 0; i < 6000 && !atomic_load(&timeouts); i++) { (void)poll(NULL, 0, 10); }
    return STOA_OK;
}
static stoa_err post_on_post_reply(stoa_turn *turn, post *self, const post_reply *in)
{
    (void)self, (void)in;
    atomic_fetch_add(turn->error == STOA_E_TIMEOUT ? &timeouts : &answers, 1);
    return STOA_OK;
}

/* --- cases */

static stoa_node *open_node(const stoa_idle *idles, bool pin, stoa_ref refs[2])
{
    stoa_node *node;
    char name[16];
    assert_int_equal(stoa_node_open(&(stoa_options){.cores = 2, .idle_by_core = idles, .pin = pin}, &node), STOA_OK);
    for (uint32_t i = 0; i < 2; i++) {
        (void)snprintf(name, sizeof name, "post/%u", i);
        assert_int_equal(stoa_spawn(node, &post_kind, name, &(stoa_spawn_options){.core = i}, &refs[i]), STOA_OK);
    }
    return node;
}

static void until(const _Atomic uint64_t *counter, uint64_t count)
{
    for (int i = 0; i < 60000 && atomic_load(counter) < count; i++) { (void)poll(NULL, 0, 1); }
    assert_int_equal(atomic_load(counter), count);
}

/* The thread of that name; 0: none. */
static pid_t thread_named(const char *wanted)
{
    DIR *folder = opendir("/proc/self/task");
    pid_t found = 0;
    assert_non_null(folder);
    for (struct dirent *entry; (entry = readdir(folder)) != NULL && !found;) {
        char path[300], name[32] = "";
        (void)snprintf(path, sizeof path, "/proc/self/task/%s/comm", entry->d_name);
        FILE *file = entry->d_name[0] == '.' ? NULL : fopen(path, "r");
        if (!file) { continue; }
        if (fgets(name, sizeof name, file)) { name[strcspn(name, "\n")] = '\0'; }
        (void)fclose(file);
        if (strcmp(name, wanted) == 0) { found = (pid_t)strtol(entry->d_name, NULL, 10); }
    }
    (void)closedir(folder);
    return found;
}

static void a_pinned_core_has_one_processor_and_another_one_all(void **state)
{
    static const stoa_idle eco[] = {STOA_IDLE_ECO, STOA_IDLE_ECO};
    cpu_set_t may, first, second, common;
    stoa_ref refs[2];
    (void)state;
    assert_int_equal(sched_getaffinity(0, sizeof may, &may), 0);
    stoa_node *node = open_node(eco, true, refs);
    assert_int_equal(sched_getaffinity(thread_named("stoa-core-0"), sizeof first, &first), 0);
    assert_int_equal(sched_getaffinity(thread_named("stoa-core-1"), sizeof second, &second), 0);
    assert_int_equal(CPU_COUNT(&first), 1);
    assert_int_equal(CPU_COUNT(&second), 1);
    CPU_AND(&common, &first, &second);
    assert_int_equal(CPU_COUNT(&common), CPU_COUNT(&may) == 1);
    stoa_node_close(node, STOA_S(1));
    node = open_node(eco, false, refs);
    assert_int_equal(sched_getaffinity(thread_named("stoa-core-1"), sizeof second, &second), 0);
    assert_true(CPU_EQUAL(&second, &may));
    stoa_node_close(node, STOA_S(1));
}

static void a_burst_rings_a_sleeping_core_once(void **state)
{
    enum { BURSTS = 50, EACH = 200 };
    static const stoa_idle idles[] = {STOA_IDLE_ECO, STOA_IDLE_ECO};
    stoa_ref refs[2];
    stoa_node *node = open_node(idles, false, refs);
    stoa_place *place = &node->cores[1]->place;
    uint64_t before = atomic_load(&letters), rung = 0;
    (void)state;
    atomic_store(&bell, place->bell);
    for (uint64_t burst = 1; burst <= BURSTS; burst++) {
        for (int i = 0; i < 60000 && !atomic_load(&place->sleeping); i++) { (void)poll(NULL, 0, 1); }
        (void)poll(NULL, 0, 1);
        atomic_store(&rings, 0);
        assert_int_equal(post_post_burst(node, refs[0], (post_burst){refs[1].at, EACH}), STOA_OK);
        until(&letters, before + burst * EACH);
        assert_in_range(atomic_load(&rings), 0, 1); /* 0: it looked by itself just then */
        rung += atomic_load(&rings);
    }
    assert_true(rung > BURSTS / 2);
    atomic_store(&bell, -1);
    stoa_node_close(node, STOA_S(1));
}

static void a_core_that_runs_is_never_rung(void **state)
{
    static const stoa_idle idles[] = {STOA_IDLE_ECO, STOA_IDLE_LATENCY};
    stoa_ref refs[2];
    stoa_node *node = open_node(idles, false, refs);
    uint64_t before = atomic_load(&letters);
    (void)state;
    atomic_store(&bell, node->cores[1]->place.bell);
    atomic_store(&rings, 0);
    for (uint64_t burst = 1; burst <= 20; burst++) {
        assert_int_equal(post_post_burst(node, refs[0], (post_burst){refs[1].at, 200}), STOA_OK);
        until(&letters, before + burst * 200);
    }
    assert_int_equal(atomic_load(&rings), 0);
    atomic_store(&bell, -1);
    stoa_node_close(node, STOA_S(1));
}

static void an_answer_after_its_deadline_is_a_dead_letter(void **state)
{
    static const stoa_idle idles[] = {STOA_IDLE_ECO, STOA_IDLE_ECO};
    stoa_ref refs[2];
    stoa_core_view core = {0};
    stoa_node *node = open_node(idles, false, refs);
    (void)state;
    do { /* one that waited too long was never asked: nothing comes late */
        atomic_store(&timeouts, 0);
        assert_int_equal(post_post_ask_late(node, refs[0], (post_ask_late){refs[1].at, STOA_MS(200)}), STOA_OK);
        until(&timeouts, 1);
    } while (!atomic_load(&asked));
    for (int i = 0; i < 6000 && !core.dropped[STOA_DROP_LATE]; i++) {
        assert_int_equal(stoa_core_look(node, 0, &core), STOA_OK);
        (void)poll(NULL, 0, 10);
    }
    assert_int_equal(core.dropped[STOA_DROP_LATE], 1);
    assert_int_equal(atomic_load(&answers), 0);
    assert_int_equal(atomic_load(&timeouts), 1);
    stoa_node_close(node, STOA_S(1));
}

/* stderr is a pipe that nobody reads, and full: who logs on a core must not wait for it. */
static void a_core_does_not_wait_for_who_reads_its_log(void **state)
{
    static const stoa_idle idles[] = {STOA_IDLE_ECO, STOA_IDLE_ECO};
    stoa_ref refs[2];
    int ends[2], before = dup(STDERR_FILENO);
    char filling[4096] = {0};
    (void)state;
    atomic_store(&letters, 0);
    stoa_node *node = open_node(idles, false, refs);
    stoa_ref other;
    assert_int_equal(stoa_spawn(node, &post_kind, "post/2", &(stoa_spawn_options){.core = 0}, &other), STOA_OK);
    assert_int_equal(pipe2(ends, O_NONBLOCK), 0);
    while (write(ends[1], filling, sizeof filling) > 0) {}
    assert_int_equal(fcntl(ends[1], F_SETFL, 0), 0);
    assert_true(dup2(ends[1], STDERR_FILENO) >= 0);
    assert_int_equal(post_post_fail(node, refs[0], (post_fail){0}), STOA_OK);
    assert_int_equal(post_post_letter(node, other, (post_letter){0}), STOA_OK);
    until(&letters, 1);
    assert_true(dup2(before, STDERR_FILENO) >= 0);
    stoa_node_close(node, STOA_S(1));
    (void)close(ends[0]);
    (void)close(ends[1]);
    (void)close(before);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_pinned_core_has_one_processor_and_another_one_all),
        cmocka_unit_test(a_burst_rings_a_sleeping_core_once),
        cmocka_unit_test(a_core_that_runs_is_never_rung),
        cmocka_unit_test(an_answer_after_its_deadline_is_a_dead_letter),
        cmocka_unit_test(a_core_does_not_wait_for_who_reads_its_log),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
