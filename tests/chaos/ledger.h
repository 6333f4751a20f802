/* ledger.h - what a chaos_talker has done, in a file mapped by it: it outlives a kill, and tests/wired.py reads it, by this
 * layout, while it is written.
 *
 * A book is the conversation of two incarnations, as one of them sees it; the last one is under way. Each lane of it is four
 * numbers of messages, which only grow: sending before the session is asked to take the message, sent behind it, came as
 * soon as it is told, acked as the session says.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef TESTS_CHAOS_LEDGER_H
#define TESTS_CHAOS_LEDGER_H

#include <stdint.h>

#include "transport/session.h"

enum { LEDGER_BOOKS = 1024 };

typedef struct ledger_book {
    uint64_t peer_incarnation; /* 0: it has not been up */
    struct {
        uint64_t sending, sent, came, acked;
    } lanes[STOA_LANE_COUNT];
} ledger_book;

typedef struct ledger {
    uint64_t incarnation, books, transfers_gone, transfers_came, transfers_resumed; /* resumed: of those that came */
    ledger_book book[LEDGER_BOOKS];
} ledger;

#endif
