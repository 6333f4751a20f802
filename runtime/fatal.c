/* fatal.c - the last words of a process. See fatal.h.
 *
 * What a handler here calls must be allowed in a signal handler: the recorder, the unwinder, the program's own symbol
 * table, write(2). The line of log comes behind the record, because naming functions of other modules asks the dynamic
 * linker, which takes a lock.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "runtime/fatal.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "base/log.h"
#include "runtime/internal.h"

enum {
    NODES_MAX = 8,
    STACK_BYTES = 256 << 10,
    LOOK_SIGNAL = 7, /* SIGRTMIN + it: asks a core's thread where it is */
    ANSWER_MS = 100, /* how long a core's thread may take to say */
    END_MS = 5000,   /* how long the end of the process may take another thread */
    LINE_BYTES = STOA_LOG_LINE_MAX,
};

static const int numbers[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT};
enum { NUMBERS = sizeof numbers / sizeof numbers[0] };
static const char *const names[] = {"SIGSEGV", "SIGBUS", "SIGFPE", "SIGILL", "SIGABRT"};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct sigaction before[NUMBERS], look_before; /* under lock; read by handlers */
static uint32_t users;                                /* under lock: nodes that have the signals caught */
static _Atomic(stoa_node *) nodes[NODES_MAX];
static _Atomic int ending; /* somebody tells how the process ends */
static _Thread_local bool ending_here __attribute__((tls_model("initial-exec")));
static _Thread_local stoa_core *own_core __attribute__((tls_model("initial-exec")));

/* --- telling */

static void pause_ms(long ms)
{
    struct timespec wait = {ms / 1000, ms % 1000 * 1000000};
    (void)nanosleep(&wait, NULL);
}

static stoa_node *some_node(void)
{
    for (uint32_t i = 0; i < NODES_MAX; i++) {
        stoa_node *node = atomic_load(&nodes[i]);
        if (node) { return node; }
    }
    return NULL;
}

/* The actor and the message that the core has under its hand. */
static void note_turn(stoa_core *core, stoa_flight_note *note)
{
    stoa_running running = {0};
    note->core = core->place.index;
    if (!stoa_running_look(core, &running)) { return; }
    note->row = running.row;
    note->actor = running.ref.at;
    note->actor_name = stoa_actor_name(running.actor);
}

static void put_pair(stoa_buf *line, const char *key, const char *text)
{
    if (!text) { return; }
    stoa_buf_puts(line, ",\"");
    stoa_buf_puts(line, key);
    stoa_buf_puts(line, "\":");
    stoa_buf_json_string(line, text, strlen(text));
}

static void put_number(stoa_buf *line, const char *key, uint64_t value)
{
    char digits[24];
    size_t at = sizeof digits;
    do {
        digits[--at] = (char)('0' + value % 10);
    } while (value /= 10);
    stoa_buf_puts(line, ",\"");
    stoa_buf_puts(line, key);
    stoa_buf_puts(line, "\":");
    stoa_buf_put(line, digits + at, sizeof digits - at);
}

/* As stoa_log writes it, without what a handler may not call. */
static void log_end(const char *event, const stoa_flight_note *note, const stoa_flight_frames *frames)
{
    char storage[LINE_BYTES], time[STOA_TIME_TEXT_MAX], trail[LINE_BYTES / 2], message[2 * STOA_FLIGHT_TEXT];
    stoa_buf line = STOA_BUF_FIXED(storage), text = STOA_BUF_FIXED(trail), row = STOA_BUF_FIXED(message);
    stoa_time_print(stoa_clock_real.wall_ns(&stoa_clock_real), time);
    stoa_buf_puts(&line, "{\"time\":\"");
    stoa_buf_puts(&line, time);
    stoa_buf_puts(&line, "\",\"level\":\"error\",\"event\":\"");
    stoa_buf_puts(&line, event);
    stoa_buf_puts(&line, "\"");
    put_pair(&line, stoa_flight_row_of(note->code)->name, note->name);
    if (note->core != STOA_FLIGHT_NO_CORE) { put_number(&line, "core", note->core); }
    if (note->actor) { put_pair(&line, "actor", note->actor_name); }
    if (note->row) {
        stoa_buf_puts(&row, note->row->kind);
        stoa_buf_puts(&row, ".");
        stoa_buf_puts(&row, note->row->name);
        put_pair(&line, "message", message);
    }
    if (note->code == STOA_FLIGHT_OVERRUN) { put_number(&line, "took_ms", note->a / 1000000); }
    stoa_frames_print(frames, STOA_FLIGHT_FRAMES_MAX, &text);
    if (text.used_bytes) { put_pair(&line, "backtrace", trail); }
    stoa_buf_puts(&line, "}\n");
    struct pollfd out = {.fd = STDERR_FILENO, .events = POLLOUT};
    if (poll(&out, 1, STOA_LOG_PATIENCE_MS) <= 0) { return; } /* nobody reads it */
    ssize_t written = write(STDERR_FILENO, line.at, line.used_bytes);
    (void)written; /* nobody is left to be told */
}

/* Record it where the calling thread records, then log it. */
static void tell(const char *event, stoa_flight_note *note, const stoa_backtrace *trace)
{
    stoa_flight_frames frames;
    uint64_t wall_ns = stoa_clock_real.wall_ns(&stoa_clock_real);
    stoa_node *node = own_core ? own_core->place.node : some_node();
    stoa_backtrace_name(trace, false, &frames);
    if (own_core && own_core->flight) {
        stoa_flight_put_frames(own_core->flight, wall_ns, note, &frames);
    } else if (node) {
        stoa_flight_put_shared(node->flight, wall_ns, note, &frames);
    }
    stoa_backtrace_name(trace, true, &frames);
    log_end(event, note, &frames);
}

/* Whether this thread is the one to tell; another one that comes later waits for the end. */
static bool first_to_tell(void)
{
    if (!atomic_exchange(&ending, 1)) {
        ending_here = true;
        return true;
    }
    for (int i = 0; i < END_MS / 10 && !ending_here; i++) {
        pause_ms(10);
    }
    return false;
}

/* --- handlers */

static int index_of(int number)
{
    int i = 0;
    while (i < NUMBERS && numbers[i] != number) {
        i++;
    }
    return i;
}

static void on_fatal(int number, siginfo_t *info, void *context)
{
    int i = index_of(number);
    if (first_to_tell()) {
        stoa_flight_note note = {.code = STOA_FLIGHT_SIGNAL,
                                 .core = STOA_FLIGHT_NO_CORE,
                                 .name = names[i],
                                 .a = (uint64_t)(uintptr_t)info->si_addr,
                                 .b = (uint64_t)(uint32_t)info->si_code};
        const stoa_probe *probe = own_core ? &own_core->probe : NULL;
        stoa_backtrace trace;
        const char *event = "fatal_signal";
        uint64_t overrun_ns = probe ? atomic_load(&probe->overrun_ns) : 0;
        stoa_backtrace_take(context, probe ? probe->low : 0, probe ? probe->high : 0, &trace);
        if (info->si_code <= 0) { note.a = 0; /* somebody sent it: there is no address */ }
        if (number == SIGABRT && overrun_ns) {
            event = "overrun";
            note.code = STOA_FLIGHT_OVERRUN;
            note.name = NULL;
            note.a = overrun_ns;
            note.b = atomic_load(&probe->overrun_cpu_ns);
        }
        if (own_core) { note_turn(own_core, &note); }
        tell(event, &note, &trace);
    }
    (void)sigaction(number, &before[i], NULL);
    (void)raise(number); /* pending until we return */
}

static void on_panic(const char *where, const char *what)
{
    static char text[STOA_FLIGHT_TEXT]; /* one process ends once */
    if (!first_to_tell()) { return; }
    stoa_backtrace trace;
    stoa_buf buf = STOA_BUF_FIXED(text);
    stoa_flight_note note = {.code = STOA_FLIGHT_PANIC, .core = STOA_FLIGHT_NO_CORE, .name = text};
    stoa_buf_puts(&buf, where);
    stoa_buf_puts(&buf, ": ");
    stoa_buf_puts(&buf, what);
    stoa_backtrace_take(NULL, 0, 0, &trace);
    if (own_core) { note_turn(own_core, &note); }
    tell("panic", &note, &trace);
}

static void on_look(int number, siginfo_t *info, void *context)
{
    stoa_core *core = own_core;
    int errno_before = errno;
    (void)number;
    (void)info;
    if (!core) { return; }
    stoa_probe *probe = &core->probe;
    stoa_caught *caught = &probe->caught;
    caught->running = (stoa_running){0};
    caught->name[0] = '\0';
    if (stoa_running_look(core, &caught->running)) {
        const char *name = stoa_actor_name(caught->running.actor);
        size_t size = strnlen(name, STOA_NAME_MAX);
        memcpy(caught->name, name, size);
        caught->name[size] = '\0';
    }
    stoa_backtrace_take(context, probe->low, probe->high, &caught->trace);
    /* release: what was caught is there for who sees the answer */
    atomic_store_explicit(&probe->answered, atomic_load(&probe->asked), memory_order_release);
    errno = errno_before;
}

/* --- taking the signals */

static stoa_err take_signals(void)
{
    struct sigaction fatal = {.sa_sigaction = on_fatal, .sa_flags = SA_SIGINFO | SA_ONSTACK};
    struct sigaction look = {.sa_sigaction = on_look, .sa_flags = SA_SIGINFO | SA_ONSTACK | SA_RESTART};
    (void)sigemptyset(&fatal.sa_mask);
    (void)sigfillset(&look.sa_mask);
    for (int i = 0; i < NUMBERS; i++) {
        (void)sigaddset(&fatal.sa_mask, numbers[i]);
        (void)sigdelset(&look.sa_mask, numbers[i]);
    }
    for (int i = 0; i < NUMBERS; i++) {
        if (sigaction(numbers[i], &fatal, &before[i])) {
            return STOA_FAIL(STOA_E_IO, "%s: %s", names[i], strerror(errno));
        }
    }
    if (sigaction(SIGRTMIN + LOOK_SIGNAL, &look, &look_before)) {
        return STOA_FAIL(STOA_E_IO, "SIGRTMIN + %d: %s", LOOK_SIGNAL, strerror(errno));
    }
    stoa_panic_hook_set(on_panic);
    return STOA_OK;
}

static void give_signals_back(void)
{
    stoa_panic_hook_set(NULL);
    (void)sigaction(SIGRTMIN + LOOK_SIGNAL, &look_before, NULL);
    for (int i = 0; i < NUMBERS; i++) {
        (void)sigaction(numbers[i], &before[i], NULL);
    }
}

stoa_err stoa_fatal_open(stoa_node *node)
{
    stoa_err err = STOA_OK;
    uint32_t i = 0;
    if (!node->options.catch_signals) { return STOA_OK; }
    stoa_symbols_load();
    (void)pthread_mutex_lock(&lock);
    while (i < NODES_MAX && atomic_load(&nodes[i])) {
        i++;
    }
    if (i == NODES_MAX) {
        err = STOA_FAIL(STOA_E_FULL, "at most %d nodes of a process may catch signals", NODES_MAX);
    } else if (users == 0) {
        err = take_signals();
    }
    if (!err) {
        users++;
        atomic_store(&nodes[i], node);
    }
    (void)pthread_mutex_unlock(&lock);
    return err;
}

void stoa_fatal_close(stoa_node *node)
{
    (void)pthread_mutex_lock(&lock);
    for (uint32_t i = 0; i < NODES_MAX; i++) {
        if (atomic_load(&nodes[i]) != node) { continue; }
        atomic_store(&nodes[i], NULL);
        if (--users == 0) { give_signals_back(); }
    }
    (void)pthread_mutex_unlock(&lock);
}

/* --- a core's thread */

static void find_stack(stoa_probe *probe)
{
    pthread_attr_t attributes;
    void *low = NULL;
    size_t bytes = 0;
    if (pthread_getattr_np(pthread_self(), &attributes)) { return; }
    if (pthread_attr_getstack(&attributes, &low, &bytes) == 0) {
        probe->low = (uintptr_t)low;
        probe->high = (uintptr_t)low + bytes;
    }
    (void)pthread_attr_destroy(&attributes);
}

void stoa_fatal_enter(stoa_core *core)
{
    stoa_probe *probe = &core->probe;
    if (!core->place.node->options.catch_signals) { return; }
    find_stack(probe);
    probe->stack = mmap(NULL, STACK_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK, -1, 0);
    if (probe->stack == MAP_FAILED) { probe->stack = NULL; /* handlers then run on the thread's own */ }
    if (probe->stack) {
        stack_t stack = {.ss_sp = probe->stack, .ss_size = STACK_BYTES};
        (void)sigaltstack(&stack, &probe->before);
    }
    own_core = core;
    probe->armed = true;
    sigset_t look;
    (void)sigemptyset(&look);
    (void)sigaddset(&look, SIGRTMIN + LOOK_SIGNAL);
    (void)pthread_sigmask(SIG_UNBLOCK, &look, NULL); /* threads of ours block what comes from outside */
}

void stoa_fatal_leave(stoa_core *core)
{
    stoa_probe *probe = &core->probe;
    if (!probe->armed) { return; }
    probe->armed = false;
    own_core = NULL;
    if (!probe->stack) { return; }
    (void)sigaltstack(&probe->before, NULL);
    (void)munmap(probe->stack, STACK_BYTES);
    probe->stack = NULL;
}

/* --- the watcher's thread */

bool stoa_fatal_ask(stoa_core *core, stoa_caught *out)
{
    stoa_probe *probe = &core->probe;
    if (!core->place.node->options.catch_signals) { return false; }
    uint32_t question = atomic_load(&probe->asked) + 1;
    if (atomic_load_explicit(&probe->answered, memory_order_acquire) + 1 != question) {
        return false;
    } /* one is on its way */
    atomic_store(&probe->asked, question);
    if (pthread_kill(core->thread, SIGRTMIN + LOOK_SIGNAL)) {
        atomic_store(&probe->asked, question - 1);
        return false;
    }
    for (int i = 0; i < ANSWER_MS; i++) {
        if (atomic_load_explicit(&probe->answered, memory_order_acquire) == question) {
            *out = probe->caught;
            return true;
        }
        pause_ms(1);
    }
    return false;
}

_Noreturn void stoa_fatal_overrun(stoa_core *core, const stoa_running *running, uint64_t took_ns, uint64_t cpu_ns)
{
    stoa_probe *probe = &core->probe;
    atomic_store(&probe->overrun_cpu_ns, cpu_ns);
    atomic_store(&probe->overrun_ns, took_ns);
    if (core->place.node->options.catch_signals && pthread_kill(core->thread, SIGABRT) == 0) {
        pause_ms(END_MS); /* its thread tells, and ends the process */
    }
    if (first_to_tell()) {
        char name[STOA_NAME_MAX + 1];
        stoa_flight_note note = {.code = STOA_FLIGHT_OVERRUN, .core = core->place.index, .a = took_ns, .b = cpu_ns};
        stoa_running_name(core, running, name);
        note.row = running->row;
        note.actor = running->ref.at;
        note.actor_name = name;
        stoa_flight_put_shared(core->place.node->flight, stoa_clock_real.wall_ns(&stoa_clock_real), &note, NULL);
        log_end("overrun", &note, &(stoa_flight_frames){0});
    }
    abort();
}
