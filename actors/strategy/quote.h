/* quote.h - the arithmetic of a two-sided quote: pure, exact, without state.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef STOA_ACTORS_STRATEGY_QUOTE_H
#define STOA_ACTORS_STRATEGY_QUOTE_H

#include "actors/strategy/quoter_msgs.h"

typedef struct quote {
    stoa_decimal bid, ask; /* 0: no order on this side */
} quote;

/* The prices that config asks for around the top (bid, ask) with this inventory:
 *     mid -+ half_spread - skew x inventory / inventory_max
 * the bid down and the ask up to whole ticks, at least a tick apart. A side whose fill would take the inventory over
 * its limit, or whose price is not one, is 0. A top that is not two-sided or crosses gives no quote. Core: any. */
quote quote_around(const strategy_quoter_config *config, stoa_decimal bid, stoa_decimal ask, stoa_decimal inventory);

/* Whether moving from one quote to the other is worth it: a side comes or goes, or moves by at least
 * config->requote. */
bool quote_moves(const strategy_quoter_config *config, quote from, quote to);

#endif
