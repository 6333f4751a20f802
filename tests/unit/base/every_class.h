/* every_class.h - a table with a field of every class, lists in records in lists, for the tests of what walks
 * tables.
 *
 * Include it in one file of a program: it defines its types.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef STOA_TESTS_EVERY_CLASS_H
#define STOA_TESTS_EVERY_CLASS_H

#include "base/table.h"

#define colour_VALUES(V, E) V(E, RED, "red") V(E, GREEN, "green") V(E, BLUE, "blue")
STOA_ENUM(colour)
STOA_ENUM_DEFINE(colour)

#define point_FIELDS(F, S) F(S, int64_t, x) F(S, stoa_decimal, y)
STOA_RECORD(point)
STOA_RECORD_DEFINE(point)
STOA_LIST(points, point, 5)
STOA_LIST_DEFINE(points, point, 5)
STOA_LIST(numbers, uint32_t, 20)
STOA_LIST_DEFINE(numbers, uint32_t, 20)

#define line_FIELDS(F, S) F(S, stoa_id, id) F(S, stoa_text14, label) F(S, points, points)
STOA_RECORD(line)
STOA_RECORD_DEFINE(line)
STOA_LIST(lines, line, 3)
STOA_LIST_DEFINE(lines, line, 3)

STOA_BYTES(packed, 40)
STOA_BYTES_DEFINE(packed, 40)

#define sample_all_FIELDS(F, S)                                                                              \
    F(S, stoa_id, id)                                                                                        \
    F(S, uint64_t, u64)                                                                                      \
    F(S, int64_t, i64)                                                                                       \
    F(S, stoa_decimal, price)                                                                                \
    F(S, uint32_t, u32)                                                                                      \
    F(S, int32_t, i32)                                                                                       \
    F(S, uint32_t, more)                                                                                     \
    F(S, uint16_t, u16)                                                                                      \
    F(S, uint8_t, u8)                                                                                        \
    F(S, colour, colour)                                                                                     \
    F(S, stoa_text6, code)                                                                                   \
    F(S, stoa_text254, note)                                                                                 \
    F(S, point, origin)                                                                                      \
    F(S, numbers, numbers)                                                                                   \
    F(S, lines, lines)
#define sample_done_FIELDS(F, S)  F(S, uint64_t, position)
#define sample_ping_FIELDS        STOA_NO_FIELDS
#define sample_moved_FIELDS(F, S) F(S, point, to)
#define sample_book_FIELDS(F, S)  F(S, points, points)
#define sample_sealed_FIELDS(F, S) F(S, uint64_t, from) F(S, packed, what)
#define sample_ROWS(ROW, K)                                                                                  \
    ROW(K, COMMAND, all, done, "A value of every class.")                                                    \
    ROW(K, REPLY, done, _, "Where it went.")                                                                 \
    ROW(K, CAST, ping, _, "Nothing at all.")                                                                 \
    ROW(K, EVENT, moved, _, "A point moved.")                                                                \
    ROW(K, TOPIC, book, _, "All points.")                                                                    \
    ROW(K, CAST, sealed, _, "Bytes.")
STOA_TABLE(sample)
STOA_TABLE_DEFINE(sample)

#endif
