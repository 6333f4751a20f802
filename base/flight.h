/* flight.h - a flight recorder's file: its format, and how to read it. Who writes it: runtime/flight.h.
 *
 * The file is mapped by the process that writes it, so what was written is there after any end of that process; a
 * machine that loses power loses what the system had not yet written out. It says everything about itself: sizes, the
 * classes of records with their words, and the names that records refer to; so any version can print the file of any
 * other of the same format version. All numbers are little endian.
 *
 *     head        stoa_flight_head, sealed by a CRC-32C
 *     classes     head.classes x stoa_flight_class, behind the head; under the head's seal
 *     lanes       head.lanes x head.lane_bytes, from head.lanes_at: one for each core, and the last for all other
 * threads. One
 *                 writer each (the last: one at a time).
 *
 *     a lane      head.names  x stoa_flight_name     texts by number, from 1: messages, reasons. Written once, then
 * used.
 *                 head.actors x stoa_flight_actor    names of actors, each in the slot of its reference; a later one
 * takes it over
 *                 head.rings  x head.records x stoa_flight_record    rings: LOG, PULSE
 *
 * A record has a number, seq, from 1 up in its ring; it lies in slot (seq - 1) mod head.records, and the CRC-32C in it
 * covers all that stands before it. A record that was being written when the process ended, or while the file is read,
 * fails its check and is counted as torn; one that lies where its number does not belong is corrupt and counted as torn
 * too.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef STOA_BASE_FLIGHT_H
#define STOA_BASE_FLIGHT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "base/hash.h"

enum {
    STOA_FLIGHT_VERSION = 1,
    STOA_FLIGHT_LANES_MAX = 256,
    STOA_FLIGHT_CLASSES_MAX = 64,
    STOA_FLIGHT_FRAMES_MAX = 48,
    STOA_FLIGHT_TEXT = 124,
    STOA_FLIGHT_ACTOR_TEXT = 68,
    STOA_FLIGHT_WORD = 16,
    STOA_FLIGHT_NO_CORE = 0xffff, /* a record of no core */
};

enum { STOA_FLIGHT_LOG, STOA_FLIGHT_PULSE, STOA_FLIGHT_RINGS };

typedef enum stoa_flight_code {
#define FLIGHT(code, NAME, text, ring, limit, name, a, b, doc) STOA_FLIGHT_##NAME = (code),
#include "base/flight.def"
#undef FLIGHT
    STOA_FLIGHT_CODES, /* one above the highest */
} stoa_flight_code;

/* One class of records, as this version knows it; NULL for no such code. */
typedef struct stoa_flight_row {
    uint32_t code, ring, limit;
    const char *text, *name, *a, *b, *doc;
} stoa_flight_row;
const stoa_flight_row *stoa_flight_row_of(uint32_t code);
/* All of them in table order; NULL behind the last. */
const stoa_flight_row *stoa_flight_row_at(uint32_t index);

/* --- what lies in the file */

typedef struct stoa_flight_head {
    char magic[8]; /* STOA_FLIGHT_MAGIC */
    uint32_t version, head_bytes;
    uint32_t lanes, rings, records, names, actors, classes;
    uint64_t file_bytes, lanes_at, lane_bytes;
    uint64_t pid, opened_ns; /* UTC */
    char build[32], node[32];
    uint32_t check, pad_; /* CRC-32C of the head before it and of the classes */
} stoa_flight_head;
_Static_assert(sizeof(stoa_flight_head) == 152, "file format");
#define STOA_FLIGHT_MAGIC "STOAFLT"

typedef struct stoa_flight_class {
    uint32_t code, ring;
    char text[STOA_FLIGHT_WORD], name[STOA_FLIGHT_WORD], a[STOA_FLIGHT_WORD], b[STOA_FLIGHT_WORD];
} stoa_flight_class;
_Static_assert(sizeof(stoa_flight_class) == 72, "file format");

typedef struct stoa_flight_name {
    char text[STOA_FLIGHT_TEXT]; /* zeros behind it */
    uint32_t check;
} stoa_flight_name;
_Static_assert(sizeof(stoa_flight_name) == 128, "file format");

typedef struct stoa_flight_actor {
    uint64_t ref;
    char text[STOA_FLIGHT_ACTOR_TEXT];
    uint32_t check;
} stoa_flight_actor;
_Static_assert(sizeof(stoa_flight_actor) == 80, "file format");

typedef struct stoa_flight_record {
    uint64_t seq, time_ns; /* UTC, of the core's batch */
    uint64_t actor;        /* its reference, 0 for none */
    uint64_t a, b;
    uint32_t row, name; /* texts of the lane, 0 for none: the message; by class */
    uint16_t code, core;
    uint32_t skipped; /* records of the class that were not written since the last one */
    uint32_t pad_;
    uint32_t check;
} stoa_flight_record;
_Static_assert(sizeof(stoa_flight_record) == 64, "file format");

/* The slot for the name of the actor ref, of so many. */
static inline uint32_t stoa_flight_slot(uint64_t ref, uint32_t actors)
{
    return (uint32_t)(stoa_mix64(ref) % actors);
}
static inline uint32_t stoa_flight_check(const stoa_flight_record *record)
{
    return stoa_crc32c(0, record, offsetof(stoa_flight_record, check));
}
/* Bytes of a lane, of the file up to the first lane; and the head's check over itself and the classes behind it. */
uint64_t stoa_flight_lane_bytes(const stoa_flight_head *head);
uint64_t stoa_flight_lanes_at(uint32_t classes);
uint32_t stoa_flight_head_check(const void *file, uint32_t classes);

/* --- reading */

typedef struct stoa_flight_frame {
    uint64_t address, offset;      /* offset: into the function, or into the module where the function is not known */
    char in[STOA_FLIGHT_TEXT + 1]; /* function, or module */
} stoa_flight_frame;

/* One record with the words for it; frames are the records of its backtrace. */
typedef struct stoa_flight_event {
    uint64_t time_ns, seq, actor, a, b;
    uint32_t code, core, skipped;                /* core: STOA_FLIGHT_NO_CORE for none */
    char text[STOA_FLIGHT_WORD + 1];             /* of the class; "class 99" for one that the file does not name */
    char actor_name[STOA_FLIGHT_ACTOR_TEXT + 1]; /* "" when it is not known (any more) */
    char message[STOA_FLIGHT_TEXT + 1], name[STOA_FLIGHT_TEXT + 1];
    char name_label[STOA_FLIGHT_WORD + 1], a_label[STOA_FLIGHT_WORD + 1], b_label[STOA_FLIGHT_WORD + 1];
    uint32_t frame_count;
    stoa_flight_frame frames[STOA_FLIGHT_FRAMES_MAX];
} stoa_flight_event;

typedef struct stoa_flight_query {
    bool one_core;
    uint32_t core; /* one_core: only its records */
    uint64_t last; /* only the so many newest; 0: all */
} stoa_flight_query;

typedef struct stoa_flight_summary {
    char build[33], node[33];
    uint64_t pid, opened_ns;
    uint32_t cores;
    uint64_t records, torn, overwritten; /* whole ones; that fail their check; that made room for later ones */
} stoa_flight_summary;

/* Visit the records in the order of their times. bytes need no alignment beyond 8 and may be anything. Allocates while
 * it runs. Errors, with a sentence in the trail: MALFORMED (no such file), VERSION, CORRUPT (cut off; the head's check
 * or its sizes are wrong), NOMEM. */
stoa_err stoa_flight_read(const void *bytes, size_t size_bytes, const stoa_flight_query *query,
                          stoa_flight_summary *out, void (*visit)(void *context, const stoa_flight_event *event),
                          void *context);

#endif
