/* fatal_test.c - goal: however a process ends, its recorder says with which actor and message under the hand, and
 * where; what is for threads outside ends it when a turn calls it; a turn that takes too long is named while it does; and who
 * embeds the runtime keeps the signals. Method: this
 * program starts itself again for each end, which then has a node with one actor that does what it is told; the parent
 * sees how it ended and reads its file.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/flight.h"
#include "runtime/stoa.h"

/* --- the actor */

#define fragile_break_it_FIELDS(F, S) F(S, uint64_t, how)
#define fragile_spin_FIELDS           STOA_NO_FIELDS
#define fragile_ask_FIELDS            STOA_NO_FIELDS
#define fragile_done_FIELDS           STOA_NO_FIELDS
#define fragile_ROWS(ROW, K)                                                                                           \
    ROW(K, CAST, break_it, _, "Break something.")                                                                      \
    ROW(K, CAST, spin, _, "Run until you are let go.")                                                                 \
    ROW(K, COMMAND, ask, done, "Answered.")                                                                            \
    ROW(K, REPLY, done, _, "Done.")
STOA_TABLE(fragile)
STOA_TABLE_DEFINE(fragile)
typedef struct fragile {
    uint64_t depth;
} fragile;
#define fragile_HEARS STOA_HEARS_NOTHING
STOA_PLAIN_KIND(fragile, .mailbox_limit = 16)

static _Atomic bool let_go;
typedef void (*nothing)(void);
static stoa_node *around; /* the child's node */
static stoa_ref vase;
static int *volatile nowhere;
static volatile int zero;
static volatile nothing no_function;

__attribute__((noinline)) static uint64_t deeper(uint64_t n)
{
    volatile uint64_t here[64];
    here[n % 64] = n;
    return n ? deeper(n + 1) + here[n % 64] : 0;
}

/* What a sanitizer would find first. */
__attribute__((noinline, no_sanitize("undefined", "address", "thread"))) static void touch_nowhere(void)
{
    *nowhere = 1;
}
__attribute__((noinline, no_sanitize("undefined"))) static void divide(void)
{
    zero = 100 / zero;
}
__attribute__((noinline, no_sanitize("undefined"))) static void call_nothing(void)
{
    no_function();
    zero = 0; /* no call of a last thing: those leave no frame */
}
__attribute__((noinline)) static void trap(void)
{
    __builtin_trap();
}
__attribute__((noinline)) static void assert_what_is_not(void)
{
    STOA_ASSERT(zero == 1);
}
static void overflow(void)
{
    (void)deeper(1);
}
__attribute__((noinline)) static void bus(void)
{
    zero = raise(SIGBUS);
}
__attribute__((noinline)) static void abort_here(void)
{
    if (!zero) { abort(); }
    zero = 0;
}
__attribute__((noinline)) static void spawn_from_outside(void)
{
    stoa_ref other;
    zero = stoa_spawn(around, &fragile_kind, "fragile/other", NULL, &other);
}
__attribute__((noinline)) static void stop_from_outside(void)
{
    zero = stoa_stop(around, vase);
}
__attribute__((noinline)) static void move_from_outside(void)
{
    stoa_ref there;
    zero = stoa_move(around, vase, 0, &there);
}
__attribute__((noinline)) static void call_from_outside(void)
{
    fragile_done done;
    zero = fragile_call_ask(around, vase, (fragile_ask){0}, STOA_S(1), &done);
}
__attribute__((noinline)) static void close_from_outside(void)
{
    stoa_node_close(around, 0);
    zero = 0;
}
__attribute__((noinline)) static void look_at_another_core(void)
{
    stoa_core_view view;
    zero = stoa_core_look(around, 0, &view);
}
__attribute__((noinline)) static void run_in_circles(uint64_t *rounds)
{
    while (!atomic_load(&let_go)) {
        ++*rounds;
        (void)poll(NULL, 0, 0); /* TSan hands signals on in system calls only */
    }
}

static const struct end {
    const char *what;
    void (*break_it)(void);
    int signal;
    const char *text, *name, *frame; /* of the record; text NULL: none is expected */
} ends[] = {
    {"segv", touch_nowhere, SIGSEGV, "signal", "SIGSEGV", "touch_nowhere"},
    {"fpe", divide, SIGFPE, "signal", "SIGFPE", "divide"},
    {"ill", trap, SIGILL, "signal", "SIGILL", "trap"},
    {"bus", bus, SIGBUS, "signal", "SIGBUS", "bus"},
    {"abort", abort_here, SIGABRT, "signal", "SIGABRT", "abort_here"},
    {"assert", assert_what_is_not, SIGABRT, "panic", "zero == 1", "assert_what_is_not"},
    {"overflow", overflow, SIGSEGV, "signal", "SIGSEGV", "deeper"},
    {"jump", call_nothing, SIGSEGV, "signal", "SIGSEGV", "call_nothing"},
    {"spawn", spawn_from_outside, SIGABRT, "panic", "stoa_spawn within a turn: there use stoa_turn_spawn", "spawn_from_outside"},
    {"stop", stop_from_outside, SIGABRT, "panic", "stoa_stop within a turn: there use stoa_turn_stop", "stop_from_outside"},
    {"move", move_from_outside, SIGABRT, "panic", "stoa_move within a turn", "move_from_outside"},
    {"call", call_from_outside, SIGABRT, "panic", "stoa_call within a turn: there use stoa_turn_ask", "call_from_outside"},
    {"close", close_from_outside, SIGABRT, "panic", "stoa_node_close within a turn", "close_from_outside"},
    {"look", look_at_another_core, SIGABRT, "panic", "a turn waits for another core", "look_at_another_core"},
};
enum { ENDS = sizeof ends / sizeof ends[0] };

static stoa_err fragile_on_break_it(stoa_turn *turn, fragile *self, const fragile_break_it *in)
{
    (void)turn;
    self->depth++;
    ends[in->how].break_it();
    return STOA_OK;
}

static stoa_err fragile_on_spin(stoa_turn *turn, fragile *self, const fragile_spin *in)
{
    (void)turn;
    (void)in;
    run_in_circles(&self->depth);
    return STOA_OK;
}

static stoa_err fragile_on_ask(stoa_turn *turn, fragile *self, const fragile_ask *in, fragile_done *out)
{
    (void)turn, (void)self, (void)in, (void)out;
    return STOA_OK;
}

static void open_node(stoa_options options, stoa_node **node_out, stoa_ref *ref_out)
{
    stoa_options all = options;
    all.cores = 2;
    assert_int_equal(stoa_node_open(&all, node_out), STOA_OK);
    assert_int_equal(stoa_spawn(*node_out, &fragile_kind, "fragile/vase", &(stoa_spawn_options){.core = 1}, ref_out),
                     STOA_OK);
}

static const int fatal[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT};

/* --- as child: one end */

static int child(const char *what, const char *path)
{
    stoa_node *node;
    stoa_ref ref;
    stoa_options options = {.flight_path = path, .flight_bytes = 64 << 10, .catch_signals = true};
    for (size_t i = 0; i < sizeof fatal / sizeof fatal[0]; i++) {
        (void)signal(fatal[i], SIG_DFL);
    } /* a sanitizer has them too */
    if (strncmp(what, "overrun", 7) == 0) {
        options.hard_ns = STOA_MS(300);
        options.catch_signals = strcmp(what, "overrun") == 0;
    }
    open_node(options, &node, &ref);
    around = node;
    vase = ref;
    if (options.hard_ns) { (void)fragile_post_spin(node, ref, (fragile_spin){0}); }
    for (uint64_t i = 0; i < ENDS; i++) {
        if (strcmp(what, ends[i].what) == 0) { (void)fragile_post_break_it(node, ref, (fragile_break_it){i}); }
    }
    if (strcmp(what, "kill") == 0) { (void)raise(SIGKILL); }
    for (int i = 0; i < 600; i++) {
        (void)poll(NULL, 0, 100);
    }
    return 0;
}

/* --- as parent */

typedef struct outcome {
    int status;
    char log[16384];
    stoa_flight_summary summary;
    stoa_flight_event last;
    uint32_t count;
    bool booted, spawned;
} outcome;

static void keep(void *context, const stoa_flight_event *event)
{
    outcome *out = context;
    out->count++;
    out->booted |= event->code == STOA_FLIGHT_BOOT;
    out->spawned |= event->code == STOA_FLIGHT_SPAWN && strcmp(event->actor_name, "fragile/vase") == 0;
    if (event->code == STOA_FLIGHT_SIGNAL || event->code == STOA_FLIGHT_PANIC || event->code == STOA_FLIGHT_OVERRUN) {
        out->last = *event;
    }
}

static void read_all(int fd, char *at, size_t bytes)
{
    size_t used = 0;
    for (ssize_t got; used < bytes - 1 && (got = read(fd, at + used, bytes - 1 - used)) > 0;) {
        used += (size_t)got;
    }
    at[used] = '\0';
}

static void read_file(const char *path, outcome *out)
{
    enum { BYTES = 4 << 20 };
    char *bytes = malloc(BYTES);
    int fd = open(path, O_RDONLY);
    assert_non_null(bytes);
    assert_true(fd >= 0);
    ssize_t size = read(fd, bytes, BYTES);
    assert_true(size > 0 && size < BYTES);
    assert_int_equal(stoa_flight_read(bytes, (size_t)size, &(stoa_flight_query){0}, &out->summary, keep, out), STOA_OK);
    (void)close(fd);
    free(bytes);
}

static void run(const char *what, outcome *out)
{
    char folder[] = "/tmp/stoa-fatal-XXXXXX", path[64];
    int pipe_fds[2];
    pid_t pid;
    posix_spawn_file_actions_t actions;
    memset(out, 0, sizeof *out);
    assert_non_null(mkdtemp(folder));
    (void)snprintf(path, sizeof path, "%s/flight", folder);
    assert_int_equal(pipe2(pipe_fds, O_CLOEXEC), 0);
    char program[] = "fatal", word[16];
    (void)snprintf(word, sizeof word, "%s", what);
    char *const argv[] = {program, word, path, NULL};
    assert_int_equal(posix_spawn_file_actions_init(&actions), 0);
    assert_int_equal(posix_spawn_file_actions_adddup2(&actions, pipe_fds[1], STDERR_FILENO), 0);
    assert_int_equal(posix_spawn(&pid, "/proc/self/exe", &actions, NULL, argv, environ), 0);
    (void)posix_spawn_file_actions_destroy(&actions);
    (void)close(pipe_fds[1]);
    read_all(pipe_fds[0], out->log, sizeof out->log);
    (void)close(pipe_fds[0]);
    assert_int_equal(waitpid(pid, &out->status, 0), pid);
    read_file(path, out);
    (void)unlink(path);
    assert_int_equal(rmdir(folder), 0);
    assert_true(out->booted && out->spawned);
}

/* A thread that is interrupted within TSan's own code cannot be followed back from there. */
#ifdef __SANITIZE_THREAD__
static const bool followed_back_at_any_time = false;
#else
static const bool followed_back_at_any_time = true;
#endif

/* Compilers make parts and kin of a function: f.cold, f.isra.0. */
static bool is_of(const char *symbol, const char *function)
{
    size_t size = strlen(function);
    return strncmp(symbol, function, size) == 0 && (symbol[size] == '\0' || symbol[size] == '.');
}

static bool has_frame(const stoa_flight_event *event, const char *function)
{
    for (uint32_t i = 0; i < event->frame_count; i++) {
        if (is_of(event->frames[i].in, function)) { return true; }
    }
    return false;
}

static void every_end_is_recorded_with_actor_message_and_place(void **state)
{
    static outcome out;
    (void)state;
    for (size_t i = 0; i < ENDS; i++) {
        const struct end *end = &ends[i];
        run(end->what, &out);
        print_message("%s: %s %s, %u frames, innermost %s\n", end->what, out.last.text, out.last.name,
                      out.last.frame_count, out.last.frames[0].in);
        assert_true(WIFSIGNALED(out.status));
        assert_int_equal(WTERMSIG(out.status), end->signal);
        assert_string_equal(out.last.text, end->text);
        assert_non_null(strstr(out.last.name, end->name));
        assert_string_equal(out.last.actor_name, "fragile/vase");
        assert_string_equal(out.last.message, "fragile.break_it");
        assert_int_equal(out.last.core, 1);
        assert_true(has_frame(&out.last, end->frame));
        assert_non_null(strstr(out.log, "\"actor\":\"fragile/vase\",\"message\":\"fragile.break_it\""));
        assert_non_null(strstr(out.log, end->frame));
    }
}

static void a_process_that_was_killed_left_its_records(void **state)
{
    static outcome out;
    (void)state;
    run("kill", &out);
    assert_true(WIFSIGNALED(out.status) && WTERMSIG(out.status) == SIGKILL);
    assert_true(out.count >= 2);
    assert_int_equal(out.summary.torn, 0);
}

static void a_turn_past_the_hard_limit_ends_the_process(void **state)
{
    static outcome out;
    (void)state;
    run("overrun", &out);
    assert_true(WIFSIGNALED(out.status) && WTERMSIG(out.status) == SIGABRT);
    assert_string_equal(out.last.text, "overrun");
    assert_string_equal(out.last.actor_name, "fragile/vase");
    assert_string_equal(out.last.message, "fragile.spin");
    assert_true(out.last.a >= STOA_MS(300));
    assert_true(has_frame(&out.last, "run_in_circles") || !followed_back_at_any_time);
    assert_non_null(
        strstr(out.log, "\"event\":\"overrun\",\"core\":1,\"actor\":\"fragile/vase\",\"message\":\"fragile.spin\""));
    run("overrun_plain", &out); /* signals are not ours: no backtrace, but the same end */
    assert_true(WIFSIGNALED(out.status) && WTERMSIG(out.status) == SIGABRT);
    assert_string_equal(out.last.text, "overrun");
    assert_string_equal(out.last.actor_name, "fragile/vase");
    assert_string_equal(out.last.message, "fragile.spin");
    assert_int_equal(out.last.frame_count, 0);
}

/* --- stalls, in this process */

typedef struct stalls {
    stoa_stall_view spun; /* the last one */
} stalls;

static void see(void *context, const stoa_stall_view *stall)
{
    stalls *s = context;
    if (stall->row == &fragile_rows[fragile_ROW_spin]) { s->spun = *stall; }
}

/* The newest stall of a turn that spins, of a number above. On a machine that is busy others may be seen, too, and the
 * backtrace may take a while. */
static stoa_stall_view wait_for_stall(stoa_node *node, uint64_t after, bool framed, bool over)
{
    for (int i = 0; i < 30000; i++) {
        stalls s = {0};
        assert_int_equal(stoa_stalls(node, see, &s), STOA_OK);
        if (s.spun.number > after && s.spun.over == over && (s.spun.frame_count || !framed)) { return s.spun; }
        (void)poll(NULL, 0, 2);
    }
    fail_msg("no stall was seen");
    return (stoa_stall_view){0};
}

static void a_stall_is_named_while_it_lasts(void **state)
{
    stoa_node *node;
    stoa_ref ref;
    stoa_metrics *metrics;
    stoa_counter *counter;
    uint64_t before = 0;
    (void)state;
    assert_int_equal(stoa_metrics_new(&metrics), STOA_OK);
    open_node((stoa_options){.stall_ns = STOA_MS(50), .catch_signals = true, .metrics = metrics}, &node, &ref);
    for (uint32_t round = 1; round <= 3; round++) {
        bool framed = false;
        atomic_store(&let_go, false);
        assert_int_equal(fragile_post_spin(node, ref, (fragile_spin){0}), STOA_OK);
        stoa_stall_view stall = wait_for_stall(node, before, true, false);
        assert_string_equal(stall.actor, "fragile/vase");
        assert_int_equal(stall.core, 1);
        assert_true(stoa_ref_equal(stall.ref, ref));
        assert_true(stall.ns >= STOA_MS(50));
        for (uint32_t i = 0; i < stall.frame_count; i++) {
            framed |= is_of(stall.frames[i].in, "run_in_circles");
        }
        assert_true(framed || !followed_back_at_any_time);
        atomic_store(&let_go, true);
        stall = wait_for_stall(node, before, true, true);
        assert_true(stall.ns >= STOA_MS(50));
        assert_true(stall.cpu_ns > 0);
        before = stall.number;
    }
    assert_int_equal(stoa_metrics_counter(metrics, "stoa_stalls_total", "core=\"1\"", "x", &counter), STOA_OK);
    assert_true(stoa_counter_get(counter) >= 3);
    stoa_node_close(node, 0);
    stoa_metrics_free(metrics);
}

static void without_signals_a_stall_is_named_too(void **state)
{
    stoa_node *node;
    stoa_ref ref;
    (void)state;
    atomic_store(&let_go, false);
    open_node((stoa_options){.stall_ns = STOA_MS(50)}, &node, &ref);
    assert_int_equal(fragile_post_spin(node, ref, (fragile_spin){0}), STOA_OK);
    stoa_stall_view stall = wait_for_stall(node, 0, false, false);
    assert_string_equal(stall.actor, "fragile/vase");
    assert_int_equal(stall.frame_count, 0);
    assert_string_equal(stall.without, "signals are not caught");
    atomic_store(&let_go, true);
    stoa_node_close(node, 0);
}

static void on_own(int number)
{
    (void)number;
}

static void who_embeds_the_runtime_keeps_the_signals(void **state)
{
    struct sigaction own = {.sa_handler = on_own}, now;
    stoa_node *node, *other;
    stoa_ref ref;
    (void)state;
    for (size_t i = 0; i < sizeof fatal / sizeof fatal[0]; i++) {
        assert_int_equal(sigaction(fatal[i], &own, NULL), 0);
    }
    open_node((stoa_options){.stall_ns = STOA_MS(50), .hard_ns = STOA_S(60)}, &node, &ref);
    for (int number = 1; number < SIGRTMAX; number++) { /* not one is taken */
        if (sigaction(number, NULL, &now)) { continue; }
        bool ours = false;
        for (size_t i = 0; i < sizeof fatal / sizeof fatal[0]; i++) {
            ours |= fatal[i] == number;
        }
        if (ours) { assert_ptr_equal(now.sa_handler, on_own); }
        if (!ours && number == SIGRTMIN + 7) { assert_ptr_equal(now.sa_handler, SIG_DFL); }
    }
    stoa_node_close(node, 0);
    open_node((stoa_options){.catch_signals = true}, &node, &ref);
    open_node((stoa_options){.catch_signals = true}, &other, &ref);
    assert_int_equal(sigaction(SIGSEGV, NULL, &now), 0);
    assert_ptr_not_equal(now.sa_handler, on_own);
    stoa_node_close(node, 0);
    assert_int_equal(sigaction(SIGSEGV, NULL, &now), 0);
    assert_ptr_not_equal(now.sa_handler, on_own); /* the other one has them still */
    stoa_node_close(other, 0);
    for (size_t i = 0; i < sizeof fatal / sizeof fatal[0]; i++) { /* given back */
        assert_int_equal(sigaction(fatal[i], NULL, &now), 0);
        assert_ptr_equal(now.sa_handler, on_own);
        (void)signal(fatal[i], SIG_DFL);
    }
}

int main(int argc, char **argv)
{
    if (argc == 3) { return child(argv[1], argv[2]); }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_end_is_recorded_with_actor_message_and_place),
        cmocka_unit_test(a_process_that_was_killed_left_its_records),
        cmocka_unit_test(a_turn_past_the_hard_limit_ends_the_process),
        cmocka_unit_test(a_stall_is_named_while_it_lasts),
        cmocka_unit_test(without_signals_a_stall_is_named_too),
        cmocka_unit_test(who_embeds_the_runtime_keeps_the_signals),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
