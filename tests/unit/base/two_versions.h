/* two_versions.h - one kind's table as two neighbouring versions know it: v1, and v2 that appended to it whatever base/table.h
 * allows to append.
 *
 * Include it in one file of a program: it defines its types.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef STOA_TESTS_TWO_VERSIONS_H
#define STOA_TESTS_TWO_VERSIONS_H

#include "base/table.h"

/* an enumeration that got two values more */
#define v1_state_VALUES(V, E) V(E, OPEN, "open") V(E, DONE, "done")
#define v2_state_VALUES(V, E) V(E, OPEN, "open") V(E, DONE, "done") V(E, LATE, "late") V(E, LOST, "lost")
STOA_ENUM(v1_state)
STOA_ENUM_DEFINE(v1_state)
STOA_ENUM(v2_state)
STOA_ENUM_DEFINE(v2_state)

/* lists that became longer, of wider elements, and of records that got fields */
STOA_LIST(v1_numbers, uint32_t, 4)
STOA_LIST_DEFINE(v1_numbers, uint32_t, 4)
STOA_LIST(v2_numbers, uint64_t, 6)
STOA_LIST_DEFINE(v2_numbers, uint64_t, 6)
#define v1_leg_FIELDS(F, S) F(S, int64_t, from) F(S, int64_t, to)
#define v2_leg_FIELDS(F, S) F(S, int64_t, from) F(S, int64_t, to) F(S, stoa_decimal, toll) F(S, v2_numbers, stops)
STOA_RECORD(v1_leg)
STOA_RECORD_DEFINE(v1_leg)
STOA_RECORD(v2_leg)
STOA_RECORD_DEFINE(v2_leg)
STOA_LIST(v1_legs, v1_leg, 3)
STOA_LIST_DEFINE(v1_legs, v1_leg, 3)
STOA_LIST(v2_legs, v2_leg, 3)
STOA_LIST_DEFINE(v2_legs, v2_leg, 3)

/* a record of every class; v2 widens what may be wider and appends one field of every class */
#define v1_trip_FIELDS(F, S)                                                                                           \
    F(S, stoa_id, id)                                                                                                  \
    F(S, uint64_t, wide)                                                                                               \
    F(S, int64_t, deep)                                                                                                \
    F(S, stoa_decimal, fare)                                                                                           \
    F(S, uint32_t, seats)                                                                                              \
    F(S, int32_t, delta)                                                                                               \
    F(S, uint16_t, gate)                                                                                               \
    F(S, uint8_t, lane)                                                                                                \
    F(S, v1_state, state)                                                                                              \
    F(S, uint32_t, reserved32)                                                                                         \
    F(S, stoa_text6, code)                                                                                             \
    F(S, v1_leg, first)                                                                                                \
    F(S, v1_numbers, numbers)                                                                                          \
    F(S, v1_legs, legs)
#define v2_trip_FIELDS(F, S)                                                                                           \
    F(S, stoa_id, id)                                                                                                  \
    F(S, uint64_t, wide)                                                                                               \
    F(S, int64_t, deep)                                                                                                \
    F(S, stoa_decimal, fare)                                                                                           \
    F(S, uint64_t, seats)                                                                                              \
    F(S, int64_t, delta)                                                                                               \
    F(S, uint16_t, gate)                                                                                               \
    F(S, uint8_t, lane)                                                                                                \
    F(S, v2_state, state)                                                                                              \
    F(S, uint32_t, reserved32)                                                                                         \
    F(S, stoa_text30, code)                                                                                            \
    F(S, v2_leg, first)                                                                                                \
    F(S, v2_numbers, numbers)                                                                                          \
    F(S, v2_legs, legs)                                                                                                \
    F(S, stoa_id, owner)                                                                                               \
    F(S, uint64_t, more)                                                                                               \
    F(S, int64_t, less)                                                                                                \
    F(S, stoa_decimal, tip)                                                                                            \
    F(S, stoa_text62, note)                                                                                            \
    F(S, v2_leg, last)                                                                                                 \
    F(S, v2_numbers, extras)                                                                                           \
    F(S, v2_legs, detours)                                                                                             \
    F(S, v2_state, wish)                                                                                               \
    F(S, uint8_t, rank)                                                                                                \
    F(S, uint16_t, reserved16)                                                                                         \
    F(S, uint32_t, tail32)

/* rows: nothing at first and something later; the same; one that v1 does not have */
#define v1_ping_FIELDS        STOA_NO_FIELDS
#define v2_ping_FIELDS(F, S)  F(S, uint64_t, nonce) F(S, stoa_text30, from)
#define v1_done_FIELDS(F, S)  F(S, uint64_t, at)
#define v2_done_FIELDS        v1_done_FIELDS
#define v2_moved_FIELDS(F, S) F(S, v2_leg, leg)
#define v1_ROWS(ROW, K)                                                                                                \
    ROW(K, COMMAND, trip, done, "A trip.")                                                                             \
    ROW(K, REPLY, done, _, "Where it went.")                                                                           \
    ROW(K, CAST, ping, _, "Is there somebody?")
#define v2_ROWS(ROW, K)                                                                                                \
    ROW(K, COMMAND, trip, done, "A trip.")                                                                             \
    ROW(K, REPLY, done, _, "Where it went.")                                                                           \
    ROW(K, CAST, ping, _, "Is there somebody?")                                                                        \
    ROW(K, EVENT, moved, _, "It moved.")
STOA_TABLE_HERE(v1)
STOA_TABLE_HERE(v2)

#endif
