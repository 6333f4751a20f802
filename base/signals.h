/* signals.h - threads that leave the signals of a process to its own threads.
 *
 * A thread inherits the mask of the one that starts it. Between hold and release the calling thread blocks every signal that
 * can come from outside, so that what it starts meanwhile never runs a handler of the program we are embedded in. Faults of
 * the thread itself (SEGV, BUS, FPE, ILL, TRAP, SYS, ABRT) stay open: a program's crash handler sees them, and ours too.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef STOA_BASE_SIGNALS_H
#define STOA_BASE_SIGNALS_H

#include <signal.h>

/* before_out: what to give to release. Any thread, never blocks. */
void stoa_signals_hold(sigset_t *before_out);
void stoa_signals_release(const sigset_t *before);

#endif
