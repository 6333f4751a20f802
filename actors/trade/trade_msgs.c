/* trade_msgs.c - the words and records that all of trading shares.
 *
 * They have a source file of its own, without handlers: the client library links them without the runtime.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "actors/trade/trade_msgs.h"

STOA_ENUM_DEFINE(trade_side)
STOA_ENUM_DEFINE(trade_tif)
STOA_ENUM_DEFINE(trade_status)
STOA_ENUM_DEFINE(trade_reason)
STOA_RECORD_DEFINE(trade_request)
STOA_RECORD_DEFINE(trade_symbol)

stoa_err trade_symbol_check(const trade_symbol *symbol)
{
    int64_t unit;
    bool named = symbol->name.len && symbol->base.len && symbol->quote.len;
    if (!named || STOA_TEXT_EQ(&symbol->base, &symbol->quote)) { return STOA_E_INVALID; }
    if (symbol->tick <= 0 || symbol->lot <= 0) { return STOA_E_INVALID; }
    if (symbol->tick > INT64_MAX / TRADE_PRICE_TICKS_MAX) { return STOA_E_INVALID; } /* any price fits a decimal */
    return trade_notional(symbol->tick, symbol->lot, &unit) ? STOA_E_INVALID : STOA_OK;
}

bool trade_symbol_alike(const trade_symbol *a, const trade_symbol *b)
{
    return STOA_TEXT_EQ(&a->name, &b->name) && STOA_TEXT_EQ(&a->base, &b->base) && STOA_TEXT_EQ(&a->quote, &b->quote) &&
           a->tick == b->tick && a->lot == b->lot;
}

stoa_err trade_notional(stoa_decimal price, stoa_decimal qty, stoa_decimal *out)
{
    return stoa_muldiv(price, qty, STOA_DECIMAL_ONE, out);
}
