/* isolates/early_read.h - the table of a kind whose library looks around when it is loaded.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef STOA_TESTS_ISOLATES_EARLY_READ_H
#define STOA_TESTS_ISOLATES_EARLY_READ_H

#include "runtime/isolate/isolate.h"

#define early_read_look_FIELDS(F, S)  F(S, uint64_t, n)
#define early_read_found_FIELDS(F, S) F(S, stoa_text254, path) F(S, uint64_t, error) F(S, uint64_t, size_bytes) F(S, uint64_t, bytes)
#define early_read_sum_FIELDS(F, S)   F(S, stoa_text30, text) F(S, uint64_t, n)
#define early_read_sums_FIELDS(F, S)  F(S, uint64_t, crc) F(S, uint64_t, root) F(S, uint64_t, descriptors)
#define early_read_ROWS(ROW, K)                                                                   \
    ROW(K, COMMAND, look, found, "The nth path that it opened when it was loaded.")               \
    ROW(K, REPLY, found, _, "What came of that: an errno, or as many as 8 bytes. No path: there was no nth.")  \
    ROW(K, COMMAND, sum, sums, "Have libraries of the system reckon.")                            \
    ROW(K, REPLY, sums, _, "zlib's sum of text, libm's cube root of n; descriptors that were open, as bits.")
STOA_TABLE(early_read)
#define early_read_HEARS STOA_HEARS_NOTHING

#endif
