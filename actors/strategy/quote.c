/* quote.c - see quote.h. Sums are kept doubled (twice the mid is bid + ask) and in 128 bits, so nothing rounds before
 * the last step.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "actors/strategy/quote.h"

__extension__ typedef __int128 int128;

/* floor(value / step) * step for step > 0; 0 when that is no price. */
static stoa_decimal to_tick(int128 value, int128 step)
{
    int128 steps = value / step;
    if (value % step < 0) { steps--; }
    int128 price = steps * step;
    return price > 0 && price <= INT64_MAX / 2 ? (stoa_decimal)price : 0;
}

quote quote_around(const strategy_quoter_config *config, stoa_decimal bid, stoa_decimal ask, stoa_decimal inventory)
{
    quote out = {0, 0};
    if (bid <= 0 || ask <= 0 || bid >= ask) { return out; }
    int128 tick = config->tick;
    int128 twice_mid = (int128)bid + ask, twice_half = (int128)config->half_spread * 2;
    int128 twice_shift = (int128)config->skew * inventory * 2 / config->inventory_max;
    int128 twice_bid = twice_mid - twice_half - twice_shift, twice_ask = twice_mid + twice_half - twice_shift;
    stoa_decimal low = to_tick(twice_bid / 2 - (twice_bid % 2 < 0), tick);
    stoa_decimal high = to_tick((twice_ask + 1) / 2 + tick - 1, tick);
    if (high && high <= low) { high = low + config->tick; }
    if ((int128)inventory + config->qty <= config->inventory_max) { out.bid = low; }
    if ((int128)inventory - config->qty >= -(int128)config->inventory_max) { out.ask = high; }
    return out;
}

static bool side_moves(const strategy_quoter_config *config, stoa_decimal from, stoa_decimal to)
{
    if ((from == 0) != (to == 0)) { return true; }
    stoa_decimal distance = from < to ? to - from : from - to;
    return distance != 0 && distance >= config->requote;
}

bool quote_moves(const strategy_quoter_config *config, quote from, quote to)
{
    return side_moves(config, from.bid, to.bid) || side_moves(config, from.ask, to.ask);
}
