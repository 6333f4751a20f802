/* plugins/tally.h - the table of a kind that a program has as a plug-in: what others need to send to it.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef STOA_EXAMPLES_PLUGINS_TALLY_H
#define STOA_EXAMPLES_PLUGINS_TALLY_H

#include <stoa/runtime/isolate/isolate.h>

#define tally_add_FIELDS(F, S)   F(S, uint64_t, n)
#define tally_total_FIELDS(F, S) F(S, uint64_t, total)
#define tally_crash_FIELDS       STOA_NO_FIELDS
#define tally_ROWS(ROW, K)                                  \
    ROW(K, COMMAND, add, total, "Add n.")                   \
    ROW(K, REPLY, total, _, "All that was added.")          \
    ROW(K, COMMAND, crash, total, "Read what is not there.")
STOA_TABLE(tally)
#define tally_HEARS STOA_HEARS_NOTHING

#endif
