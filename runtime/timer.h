/* timer.h - a hierarchical timing wheel: start, cancel and fire in constant time, without allocation in use. Internal.
 *
 * Ticks of 65,536 ns; eight levels of 64 slots cover every deadline. A timer sits in the level of the highest bit in which its
 * tick differs from the present one, so that the next thing to do is always in the lowest level that is not empty, and time
 * may jump (Varghese and Lauck, "Hashed and hierarchical timing wheels", 1987). Never fires early; late by up to a tick, and by
 * what others that are due take: an advance looks at a bounded number of timers and goes on where it ended. Those due in the
 * same tick fire in the order in which they were started.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef STOA_RUNTIME_TIMER_H
#define STOA_RUNTIME_TIMER_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"

enum { STOA_WHEEL_LEVELS = 8, STOA_WHEEL_SLOTS = 64, STOA_TICK_SHIFT = 16 };

typedef struct stoa_wheel_entry {
    uint64_t due_tick;
    void *what; /* the owner's */
    uint32_t next, prev; /* indices; next of the last is 0, prev of the first is the last */
    uint32_t generation;
    uint16_t slot; /* level * 64 + slot + 1; 0: not in the wheel */
    uint16_t cls;  /* the owner's */
} stoa_wheel_entry;

typedef struct stoa_wheel {
    stoa_wheel_entry *entries; /* limit of them, reserved and touched as they are used; entry 0 is unused */
    uint32_t limit, used, free;
    uint64_t now_tick;
    uint64_t next_ns; /* nothing to do before; may be early when a timer was cancelled */
    uint32_t open; /* level * 64 + slot, above level 0, that is being emptied: its timers come before all others; 0: none */
    uint64_t filled[STOA_WHEEL_LEVELS]; /* bit per slot */
    uint32_t heads[STOA_WHEEL_LEVELS][STOA_WHEEL_SLOTS];
} stoa_wheel;

stoa_err stoa_wheel_init(stoa_wheel *wheel, uint64_t now_ns, uint32_t limit);
void stoa_wheel_deinit(stoa_wheel *wheel);

/* Take an entry (not yet running); its id is never 0. Errors: FULL. */
stoa_err stoa_wheel_new(stoa_wheel *wheel, uint16_t cls, void *what, uint64_t *id_out);
/* Let it run until due_ns. */
void stoa_wheel_start(stoa_wheel *wheel, uint64_t id, uint64_t due_ns);
/* Take it out and keep the entry, to be started again or cancelled. *ran_out: whether it was running. NULL: not alive. */
void *stoa_wheel_stop(stoa_wheel *wheel, uint64_t id, bool *ran_out);
/* What a timer of that class has; NULL: not alive, or of another class. */
void *stoa_wheel_what(const stoa_wheel *wheel, uint64_t id, uint16_t cls);
/* Take it out and free the entry; returns what, or NULL when the id is not alive. */
void *stoa_wheel_cancel(stoa_wheel *wheel, uint64_t id);
/* Called for a timer that is due; returns when it is due again, 0 for never: the entry is then freed. */
typedef uint64_t (*stoa_wheel_fire)(void *context, uint16_t cls, void *what);
/* Move time and call fire for each due entry, in the order of their ticks, until max were looked at: what is left is due at the
 * next call (next_ns says so). Returns how many were looked at. */
uint32_t stoa_wheel_advance(stoa_wheel *wheel, uint64_t now_ns, uint32_t max, stoa_wheel_fire fire, void *context);
#endif
