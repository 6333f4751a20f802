/* duel.c - the measuring of bench/links/duel.h.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "bench/links/duel.h"

#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { STEPS_FIRST = 100, GROWTH = 4, ROUNDS_MAX = 1 << 20, LIMIT_S = 120, WARM_RUNS = 2 };
#define LEAVE UINT64_MAX

static uint64_t now_ns(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000U + (uint64_t)now.tv_nsec;
}

void duel_fail(const char *what)
{
    (void)fprintf(stderr, "%s: %s: %s\n", program_invocation_short_name, what, strerror(errno));
    exit(1);
}

static void pin(int index)
{
    cpu_set_t may, one;
    if (sched_getaffinity(0, sizeof may, &may)) { return; }
    for (size_t cpu = 0; cpu < CPU_SETSIZE; cpu++) {
        if (!CPU_ISSET(cpu, &may) || index--) { continue; }
        CPU_ZERO(&one);
        CPU_SET(cpu, &one);
        (void)sched_setaffinity(0, sizeof one, &one);
        return;
    }
}

void duel_note(duel_page *page, int side, const void *bytes, uint32_t size_bytes)
{
    if (size_bytes > DUEL_NOTE_BYTES) { duel_fail("an address is too long"); }
    memcpy(page->notes[side], bytes, size_bytes);
    page->note_bytes[side] = size_bytes;
    atomic_store(&page->noted[side], 1);
}

uint32_t duel_note_of(duel_page *page, int side, void *to, uint32_t to_bytes)
{
    while (!atomic_load(&page->noted[side])) {
        (void)sched_yield();
    }
    if (page->note_bytes[side] > to_bytes) { duel_fail("an address is too long"); }
    memcpy(to, page->notes[side], page->note_bytes[side]);
    return page->note_bytes[side];
}

/* --- frames: the first word is the step, the others stay as they are */

static void fill(uint8_t *frame, uint32_t size_bytes)
{
    for (uint32_t i = 0; i < size_bytes; i++) {
        frame[i] = (uint8_t)(i * 37 + 11);
    }
}

static uint64_t add_up(const uint8_t *bytes, uint32_t size_bytes)
{
    uint64_t sums[4] = {0}, words[4];
    uint32_t i = 0;
    for (; i + sizeof words <= size_bytes; i += (uint32_t)sizeof words) {
        memcpy(words, bytes + i, sizeof words);
        for (int k = 0; k < 4; k++) {
            sums[k] += words[k];
        }
    }
    for (; i + 8 <= size_bytes; i += 8) {
        memcpy(words, bytes + i, 8);
        sums[0] += words[0];
    }
    return sums[0] + sums[1] + sums[2] + sums[3];
}

/* --- the side that writes, or gives back */

typedef struct writer {
    const duel_wire *wire;
    void *end;
    duel_page *page;
    uint64_t run;
} writer;

static void ignore(void *context, const void *bytes, uint32_t size_bytes)
{
    (void)context, (void)bytes, (void)size_bytes;
}

static void give_back(void *context, const void *bytes, uint32_t size_bytes)
{
    writer *w = context;
    while (!w->wire->send(w->end, bytes, size_bytes)) {}
    if (w->wire->flush) { w->wire->flush(w->end); }
}

static void write_all(writer *w, uint8_t *frame, uint32_t size_bytes)
{
    uint64_t steps = w->page->steps; /* once: the reader sets it anew when the last frame is there, which may be before this ends */
    for (uint64_t i = 0; i < steps; i++) {
        memcpy(frame, &i, sizeof i);
        while (!w->wire->send(w->end, frame, size_bytes)) {
            w->wire->poll(w->end, ignore, NULL);
        }
    }
    if (w->wire->flush) { w->wire->flush(w->end); }
}

static _Noreturn void write_side(const duel_wire *wire, const char *how, duel_kind kind, uint32_t size_bytes,
                                 duel_page *page)
{
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    uint8_t *frame = malloc(size_bytes);
    if (!frame) { duel_fail("no memory"); }
    fill(frame, size_bytes);
    writer w = {.wire = wire, .end = wire->open(page, 1, how, size_bytes), .page = page};
    pin(1); /* a library's own threads, which are there by now, go where there is room */
    atomic_store(&page->ready, true);
    for (;;) {
        uint64_t go = atomic_load_explicit(&page->go, memory_order_acquire);
        if (go == LEAVE) { break; }
        if (go != w.run && kind == DUEL_FLOW) { write_all(&w, frame, size_bytes); }
        w.run = go;
        wire->poll(w.end, kind == DUEL_ECHO ? give_back : ignore, &w);
    }
    wire->close(w.end);
    _exit(0);
}

/* --- the side that reads and times */

typedef struct reader {
    const duel_wire *wire;
    void *end;
    duel_page *page;
    pid_t child;
    uint64_t frames, sum;
    uint32_t size_bytes;
    uint8_t *frame;
    uint32_t *rounds; /* ns */
} reader;

static void take(void *context, const void *bytes, uint32_t size_bytes)
{
    reader *r = context;
    if (size_bytes != r->size_bytes) { duel_fail("a frame of another size came"); }
    r->sum += add_up(bytes, size_bytes);
    r->frames++;
}

static void check_sum(const reader *r, uint64_t steps)
{
    uint64_t zero = 0, sum;
    memcpy(r->frame, &zero, sizeof zero);
    sum = steps * add_up(r->frame, r->size_bytes) + steps * (steps - 1) / 2;
    if (r->frames != steps || r->sum != sum) { duel_fail("another sum was read than was sent"); }
}

static uint64_t flow_once(reader *r, uint64_t steps)
{
    r->frames = r->sum = 0;
    r->page->steps = steps;
    uint64_t began = now_ns();
    atomic_fetch_add_explicit(&r->page->go, 1, memory_order_release);
    while (r->frames < steps) {
        r->wire->poll(r->end, take, r);
    }
    uint64_t took = now_ns() - began;
    check_sum(r, steps);
    return took;
}

static uint64_t echo_once(reader *r, uint64_t steps)
{
    r->frames = r->sum = 0;
    uint64_t began = now_ns(), before = began;
    for (uint64_t i = 0; i < steps; i++) {
        memcpy(r->frame, &i, sizeof i);
        while (!r->wire->send(r->end, r->frame, r->size_bytes)) {
            r->wire->poll(r->end, take, r);
        }
        if (r->wire->flush) { r->wire->flush(r->end); }
        while (r->frames <= i) {
            r->wire->poll(r->end, take, r);
        }
        uint64_t now = now_ns();
        r->rounds[i] = (uint32_t)(now - before);
        before = now;
    }
    check_sum(r, steps);
    return before - began;
}

static int by_value(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return x < y ? -1 : x > y;
}

static void keep(reader *r, duel_kind kind, uint64_t steps, uint64_t took_ns, duel_result *out)
{
    uint32_t at = out->runs++;
    if (kind == DUEL_FLOW) {
        out->value[at] = (double)steps * 1e3 / (double)took_ns;
        out->tail[at] = 0;
        return;
    }
    qsort(r->rounds, steps, sizeof r->rounds[0], by_value);
    out->value[at] = (double)r->rounds[steps / 2] / 1e3;
    out->tail[at] = (double)r->rounds[steps - 1 - steps / 100] / 1e3;
}

static void measure(reader *r, duel_kind kind, uint32_t runs, double run_ms, duel_result *out)
{
    uint64_t (*once)(reader *, uint64_t) = kind == DUEL_FLOW ? flow_once : echo_once;
    uint64_t steps = STEPS_FIRST, most = kind == DUEL_FLOW ? UINT64_C(1) << 30 : ROUNDS_MAX;
    while ((double)once(r, steps) < run_ms * 1e6 && steps * GROWTH <= most) {
        steps *= GROWTH;
    }
    for (uint32_t i = 0; i < WARM_RUNS && runs > 1; i++) {
        (void)once(r, steps);
    }
    out->runs = 0;
    for (uint32_t i = 0; i < runs; i++) {
        keep(r, kind, steps, once(r, steps), out);
    }
}

/* --- the other process: who waits for the frames of one that ended would wait for ever */

static pid_t other;

/* How it ended, in a signal handler's means. */
static void say_end(int status)
{
    char text[64] = "the other process ended: ", digits[12];
    size_t at = strlen(text), count = 0;
    bool exited = WIFEXITED(status);
    const char *what = exited ? "exit status " : "signal ";
    unsigned number = (unsigned)(exited ? WEXITSTATUS(status) : WTERMSIG(status));
    memcpy(text + at, what, strlen(what));
    at += strlen(what);
    do {
        digits[count++] = (char)('0' + number % 10);
        number /= 10;
    } while (number);
    while (count) { text[at++] = digits[--count]; }
    text[at++] = '\n';
    if (write(STDERR_FILENO, text, at) < 0) { _exit(2); }
}

static void on_child(int number)
{
    int status, before = errno;
    (void)number;
    if (waitpid(other, &status, WNOHANG) == other) {
        say_end(status);
        _exit(1);
    }
    errno = before; /* a child that a library had started */
}

/* One that is stopped and goes on has not ended, though a signal may tell of it. */
static void watch(pid_t child)
{
    struct sigaction action = {.sa_handler = on_child, .sa_flags = SA_NOCLDSTOP | SA_RESTART};
    other = child;
    if (sigaction(SIGCHLD, &action, NULL)) { duel_fail("no signal"); }
    on_child(SIGCHLD); /* it may have ended before */
}

void duel_run(const duel_wire *wire, const char *how, duel_kind kind, uint32_t size_bytes, uint32_t runs, double run_ms,
              duel_result *out)
{
    duel_page *page = mmap(NULL, sizeof *page, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    reader r = {.wire = wire, .page = page, .size_bytes = size_bytes, .frame = malloc(size_bytes)};
    r.rounds = malloc(ROUNDS_MAX * sizeof r.rounds[0]);
    cpu_set_t may;
    if (page == MAP_FAILED || !r.frame || !r.rounds || sched_getaffinity(0, sizeof may, &may)) {
        duel_fail("no memory");
    }
    fill(r.frame, size_bytes);
    (void)fflush(NULL);
    r.child = fork();
    if (r.child < 0) { duel_fail("no process"); }
    if (r.child == 0) { write_side(wire, how, kind, size_bytes, page); }
    watch(r.child);
    (void)alarm(LIMIT_S); /* neither side waits for ever for one that died */
    r.end = wire->open(page, 0, how, size_bytes);
    pin(0);
    while (!atomic_load(&page->ready)) {
        wire->poll(r.end, ignore, NULL);
    }
    measure(&r, kind, runs, run_ms, out);
    (void)signal(SIGCHLD, SIG_DFL);
    atomic_store(&page->go, LEAVE);
    int status = 0;
    (void)waitpid(r.child, &status, 0);
    wire->close(r.end);
    (void)alarm(0);
    (void)sched_setaffinity(0, sizeof may, &may);
    if (status) {
        say_end(status);
        exit(1);
    }
    (void)munmap(page, sizeof *page);
    free(r.frame);
    free(r.rounds);
}

int duel_main(int argc, char **argv, const duel_wire *wire, const char *library)
{
    if (argc != 6) {
        (void)fprintf(stderr, "usage: %s HOW flow|echo SIZE RUNS RUN_MS\n", argv[0]);
        return 2;
    }
    duel_result result;
    duel_kind kind = strcmp(argv[2], "flow") == 0 ? DUEL_FLOW : DUEL_ECHO;
    uint32_t runs = (uint32_t)strtoul(argv[4], NULL, 10);
    if (runs < 1 || runs > DUEL_RUNS_MAX) { duel_fail("RUNS is out of range"); }
    duel_run(wire, argv[1], kind, (uint32_t)strtoul(argv[3], NULL, 10), runs, strtod(argv[5], NULL), &result);
    printf("peer %s %s\n", library, argv[1]);
    for (uint32_t i = 0; i < result.runs; i++) {
        printf("sample %.6f %.6f\n", result.value[i], result.tail[i]);
    }
    return 0;
}
