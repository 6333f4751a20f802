/* isolates/odd.h - the table of a kind that does what a plug-in should not, and a few things that it should.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef STOA_TESTS_ISOLATES_ODD_H
#define STOA_TESTS_ISOLATES_ODD_H

#include "runtime/isolate/isolate.h"

#define helper_double_FIELDS(F, S)  F(S, uint64_t, n)
#define helper_doubled_FIELDS(F, S) F(S, uint64_t, n)
#define helper_note_FIELDS(F, S)    F(S, uint64_t, n)
#define helper_seen_FIELDS(F, S)    F(S, uint64_t, notes) F(S, uint64_t, sum)
#define helper_look_FIELDS          STOA_NO_FIELDS
#define helper_ROWS(ROW, K)                            \
    ROW(K, COMMAND, double, doubled, "Twice n.")       \
    ROW(K, REPLY, doubled, _, "It is.")                \
    ROW(K, CAST, note, _, "Add n.")                    \
    ROW(K, COMMAND, look, seen, "What was noted.")     \
    ROW(K, REPLY, seen, _, "That was.")
STOA_TABLE(helper)

#define odd_add_FIELDS(F, S)    F(S, uint64_t, n)
#define odd_sum_FIELDS(F, S)    F(S, uint64_t, sum) F(S, uint64_t, doubled) F(S, uint64_t, ticks)
#define odd_refuse_FIELDS       STOA_NO_FIELDS
#define odd_ask_FIELDS(F, S)    F(S, uint64_t, n)
#define odd_notes_FIELDS(F, S)  F(S, uint64_t, n) F(S, uint64_t, fail) F(S, uint64_t, kept)
#define odd_tick_FIELDS(F, S)   F(S, uint64_t, n)
#define odd_misdo_FIELDS(F, S)  F(S, stoa_text30, what)
#define odd_later_FIELDS(F, S)  F(S, uint64_t, n)
#define odd_timer_FIELDS(F, S)  F(S, uint64_t, after_ns) F(S, uint64_t, every_ns) F(S, uint64_t, cancel)
#define odd_args_FIELDS(F, S)   F(S, uint64_t, sum)
#define odd_ROWS(ROW, K)                                                        \
    ROW(K, COMMAND, add, sum, "Add n.")                                         \
    ROW(K, REPLY, sum, _, "What there is.")                                     \
    ROW(K, COMMAND, refuse, sum, "RANGE.")                                      \
    ROW(K, COMMAND, ask, sum, "Ask helper/h for twice n; the sum shows it.")    \
    ROW(K, COMMAND, notes, sum, "Send n notes to helper/h; then fail, or not.") \
    ROW(K, CAST, tick, _, "A timer.")                                           \
    ROW(K, COMMAND, misdo, sum, "Do what is to end it.")                        \
    ROW(K, COMMAND, timer, sum, "Set timers.")                                  \
    ROW(K, COMMAND, later, sum, "Twice n in doubled, once helper/h has said so; RANGE for 13.") \
    ROW(K, TOPIC, args, _, "The sum that it starts with.")
STOA_TABLE(odd)
#define odd_HEARS(HEAR, K) HEAR(K, helper, doubled)

#endif
