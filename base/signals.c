/* signals.c - see signals.h.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "base/signals.h"

#include <pthread.h>
#include <stddef.h>

static const int faults[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGSYS, SIGABRT};

void stoa_signals_hold(sigset_t *before_out)
{
    sigset_t outside;
    (void)sigfillset(&outside);
    for (size_t i = 0; i < sizeof faults / sizeof faults[0]; i++) { (void)sigdelset(&outside, faults[i]); }
    (void)pthread_sigmask(SIG_BLOCK, &outside, before_out);
}

void stoa_signals_release(const sigset_t *before)
{
    (void)pthread_sigmask(SIG_SETMASK, before, NULL);
}
