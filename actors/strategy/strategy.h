/* strategy.h - the kinds of strategies.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef STOA_ACTORS_STRATEGY_STRATEGY_H
#define STOA_ACTORS_STRATEGY_STRATEGY_H

#include "runtime/actor.h"

/* "strategy_quoter/maker"; lives in the shard of its account. Idle until it is configured. */
extern const stoa_kind strategy_quoter_kind;

#endif
