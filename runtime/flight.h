/* flight.h - the flight recorder: what happened on each core, in a mapped file that survives the process. Internal to
 * runtime/.
 *
 * base/flight.h has the format. A lane belongs to one thread, a core; what other threads have to say goes into the last
 * lane, under a lock. Writing a record is some 30 ns and no system call: it copies 64 bytes and their check into the
 * mapping. (The system writes the pages out when it likes; the first record on a page behind that costs a page fault.)
 * Every class has its limit a second, so that no storm of one kind of record pushes out all others.
 *
 * Without a recorder a core's lane is NULL, and a note costs one comparison.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef STOA_RUNTIME_FLIGHT_H
#define STOA_RUNTIME_FLIGHT_H

#include <stdatomic.h>

#include "base/flight.h"
#include "base/table.h"

enum { STOA_FLIGHT_KEPT = 4 /* files of earlier runs: FILE.1, the newest, to FILE.4 */ };

typedef struct stoa_flight stoa_flight;
typedef struct stoa_flight_lane stoa_flight_lane;

typedef struct stoa_flight_options {
    const char *path, *node, *build;
    uint32_t cores;
    uint64_t core_bytes; /* for the records of a core; at least STOA_FLIGHT_CORE_BYTES_MIN */
    uint64_t wall_ns;
} stoa_flight_options;
enum { STOA_FLIGHT_CORE_BYTES_MIN = 64 << 10 };

/* Create the file, with all its space; earlier ones move one number up. Errors: IO (with the path), FULL (no space),
 * NOMEM, RANGE. */
stoa_err stoa_flight_open(const stoa_flight_options *options, stoa_flight **out);
/* The file stays. NULL is fine. */
void stoa_flight_close(stoa_flight *flight);

/* The lane of a core; with index cores, that of all other threads. NULL when flight is. */
stoa_flight_lane *stoa_flight_lane_of(stoa_flight *flight, uint32_t index);

typedef struct stoa_flight_note {
    stoa_flight_code code;
    uint32_t core;          /* whom it concerns */
    uint64_t actor;         /* reference, 0: none */
    const char *actor_name; /* copied; NULL or "": it has none */
    const stoa_row *row;    /* message; NULL: none */
    const char *name;       /* text that stays where it is as long as the node lives; NULL: none */
    uint64_t a, b;
} stoa_flight_note;

/* Write a record, unless its class has had enough in this second. The lane's thread. */
void stoa_flight_put(stoa_flight_lane *lane, uint64_t wall_ns, const stoa_flight_note *note);

/* The frames of a backtrace, behind the record they belong to. */
typedef struct stoa_flight_frames {
    uint32_t count;
    uint64_t address[STOA_FLIGHT_FRAMES_MAX], offset[STOA_FLIGHT_FRAMES_MAX];
    const char *in[STOA_FLIGHT_FRAMES_MAX]; /* as a note's name */
} stoa_flight_frames;

/* A record and its frames into the lane of other threads. Any thread, also one that handles a signal: it waits for the
 * lane's lock a bounded while, and then writes anyway. */
void stoa_flight_put_shared(stoa_flight *flight, uint64_t wall_ns, const stoa_flight_note *note,
                            const stoa_flight_frames *frames);
/* The same into the thread's own lane. */
void stoa_flight_put_frames(stoa_flight_lane *lane, uint64_t wall_ns, const stoa_flight_note *note,
                            const stoa_flight_frames *frames);

#endif
