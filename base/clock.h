/* clock.h - the only place time comes from, so that a simulator can stand in for it.
 *
 * now_ns is monotonic and starts anywhere; wall_ns is UTC since 1970. A handler sees neither: its turn carries the time
 * that its core read once before the batch.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef STOA_BASE_CLOCK_H
#define STOA_BASE_CLOCK_H

#include <stddef.h>
#include <stdint.h>

#include "base/api.h"

STOA_API_BEGIN

#define STOA_US(n) ((uint64_t)(n) * UINT64_C(1000))
#define STOA_MS(n) ((uint64_t)(n) * UINT64_C(1000000))
#define STOA_S(n)  ((uint64_t)(n) * UINT64_C(1000000000))

typedef struct stoa_clock stoa_clock;
struct stoa_clock {
    /* Monotonic nanoseconds. Any thread, never blocks. */
    uint64_t (*now_ns)(stoa_clock *clock);
    /* UTC nanoseconds since 1970. Any thread, never blocks. */
    uint64_t (*wall_ns)(stoa_clock *clock);
};

/* The machine's clock. */
extern stoa_clock stoa_clock_real;

/* A clock that stands still until it is told: the simulator's. One thread. */
typedef struct stoa_clock_virtual {
    stoa_clock clock;
    uint64_t now;
    uint64_t wall_at_zero;
} stoa_clock_virtual;
void stoa_clock_virtual_init(stoa_clock_virtual *clock, uint64_t wall_at_zero);

/* "2026-01-31T12:00:00.123456Z" (28 bytes with NUL) of a wall time. */
enum { STOA_TIME_TEXT_MAX = 32 };
void stoa_time_print(uint64_t wall_ns, char *text);

STOA_API_END

#endif
