/* backtrace.h - where a thread is, and what the functions there are called. Internal to runtime/.
 *
 * Names come from the program's own symbol table, static functions included, which is mapped once; of other modules
 * only the exported names are known, and only to who may ask the dynamic linker. A stripped program has offsets into
 * its modules instead.
 *
 * After stoa_symbols_load everything here may run in a signal handler, but for asking the linker: that takes its lock.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef STOA_RUNTIME_BACKTRACE_H
#define STOA_RUNTIME_BACKTRACE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "runtime/flight.h"

typedef struct stoa_backtrace {
    uint32_t count;
    uintptr_t at[STOA_FLIGHT_FRAMES_MAX]; /* innermost first */
} stoa_backtrace;

/* Map the symbol table and load what unwinding needs. Once for a process; later calls do nothing. Allocates. */
void stoa_symbols_load(void);

/* The calling thread's frames; with context (a ucontext_t, from a signal handler) those of what the signal interrupted.
 * The thread's stack is low..high, 0 where that is not known: then a jump to nowhere cannot be followed back. */
void stoa_backtrace_take(const void *context, uintptr_t low, uintptr_t high, stoa_backtrace *out);

/* Names for the frames; they stay where they are as long as their module is loaded. */
void stoa_backtrace_name(const stoa_backtrace *trace, bool ask_linker, stoa_flight_frames *out);

/* Append "f+12 < g+40 < ...". */
void stoa_frames_print(const stoa_flight_frames *frames, uint32_t max, stoa_buf *out);

#endif
