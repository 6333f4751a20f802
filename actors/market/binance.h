/* binance.h - the dialect of Binance: spot, and its USD-margined futures.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef STOA_ACTORS_MARKET_BINANCE_H
#define STOA_ACTORS_MARKET_BINANCE_H

#include "actors/market/venue.h"

extern const market_venue market_venue_binance;
extern const market_venue market_venue_binance_usdm;

#endif
