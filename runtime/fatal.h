/* fatal.h - how a process ends that cannot go on: a broken assertion, a signal, a turn past the hard limit. Internal to
 * runtime/.
 *
 * A node with options.catch_signals takes SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT and one real-time signal (SIGRTMIN +
 * 7) of the process, from the first such node to the last. Who ends is recorded with the signal or assertion, the actor
 * and the message under the hand, and a backtrace, in the flight recorder and as one line of log; then the signal goes
 * to whoever had it before, as a rule to the system, and the process ends by it. Without catch_signals nothing is
 * taken, and a hard overrun is recorded without a backtrace and ends in abort().
 *
 * Each core has a stack of its own for signals, so a stack that ran over is recorded too. On other threads it is not.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef STOA_RUNTIME_FATAL_H
#define STOA_RUNTIME_FATAL_H

#include <signal.h>
#include <stdatomic.h>

#include "runtime/actor.h"
#include "runtime/backtrace.h"
#include "runtime/stall.h"

struct stoa_core;

/* What a thread was doing when it was asked. */
typedef struct stoa_caught {
    stoa_running running;
    char name[STOA_NAME_MAX + 1];
    stoa_backtrace trace;
} stoa_caught;

/* A core's part in it. */
typedef struct stoa_probe {
    bool armed; /* enter has run and leave has not */
    stack_t before;
    void *stack;
    uintptr_t low, high; /* of the thread's own stack */
    _Atomic uint32_t asked, answered;
    stoa_caught caught;                          /* of the question answered last */
    _Atomic uint64_t overrun_ns, overrun_cpu_ns; /* the watcher's verdict, 0: none */
} stoa_probe;

/* Take the signals, where the node's options say so; give them back. Errors: FULL (too many such nodes), IO. */
stoa_err stoa_fatal_open(stoa_node *node);
void stoa_fatal_close(stoa_node *node);

/* At the begin and the end of a core's thread. */
void stoa_fatal_enter(struct stoa_core *core);
void stoa_fatal_leave(struct stoa_core *core);

/* Ask the core's thread where it is, and wait for the answer, some ms at most. The watcher's thread. False: it does not
 * answer, or signals are not ours. */
bool stoa_fatal_ask(struct stoa_core *core, stoa_caught *out);

/* The turn that the core runs has passed the hard limit: end the process. The watcher's thread. */
void stoa_fatal_overrun(struct stoa_core *core, const stoa_running *running, uint64_t took_ns, uint64_t cpu_ns)
    __attribute__((noreturn));

#endif
