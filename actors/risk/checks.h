/* checks.h - the six pre-trade checks as a pure function (their meaning: actors/risk/risk_msgs.h).
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef STOA_ACTORS_RISK_CHECKS_H
#define STOA_ACTORS_RISK_CHECKS_H

#include <stdbool.h>

#include "actors/risk/risk_msgs.h"

/* One order with all that is known about it. */
typedef struct risk_case {
    const trade_symbol *symbol;
    bool has_book;
    trade_side side;
    stoa_decimal qty, notional;
    const risk_exposure *account;
    risk_limits limits;
} risk_case;

/* The reason of the first check that fails; NONE when all pass. */
trade_reason risk_judge(const risk_case *order);

#endif
