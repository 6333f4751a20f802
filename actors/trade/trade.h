/* trade.h - the kinds of trading, for who spawns them. What they take and publish is in their *_msgs.h.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef STOA_ACTORS_TRADE_TRADE_H
#define STOA_ACTORS_TRADE_TRADE_H

#include "runtime/actor.h"

extern const stoa_kind trade_account_kind; /* trade_account/NAME: balances and orders of one owner */
extern const stoa_kind trade_book_kind;    /* trade_book/SYMBOL: matching */

#endif
