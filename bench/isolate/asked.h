/* asked.h - who is asked by bench_isolate: a kind that adds, in the node and in a library. Internal to bench/.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef STOA_BENCH_ISOLATE_ASKED_H
#define STOA_BENCH_ISOLATE_ASKED_H

#include "runtime/isolate/isolate.h"

#define asked_add_FIELDS(F, S)   F(S, uint64_t, n)
#define asked_total_FIELDS(F, S) F(S, uint64_t, total)
#define asked_ROWS(ROW, K)                         \
    ROW(K, COMMAND, add, total, "Add n.")          \
    ROW(K, REPLY, total, _, "All that was added.")
STOA_TABLE(asked)
#define asked_HEARS STOA_HEARS_NOTHING
extern const stoa_kind asked_kind;

#endif
