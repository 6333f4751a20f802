/* checks.c - the six pre-trade checks, in their order. A new check is a function and a row of the table.
 *
 * All amounts are 64 bits wide, sums and products 128: nothing here can overflow.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "actors/risk/checks.h"

__extension__ typedef __int128 wide;

static wide absolute(wide a)
{
    return a < 0 ? -a : a;
}

/* The position if all open orders of the order's side and the order itself filled. */
static wide position_filled(const risk_case *c)
{
    const risk_exposure *a = c->account;
    return c->side == trade_side_BUY ? (wide)a->position + a->open_buys + c->qty
                                     : (wide)a->position - a->open_sells - c->qty;
}

static bool may_enlarge(const risk_case *c)
{
    return absolute(position_filled(c)) > absolute(c->account->position);
}

static bool valid(const risk_case *c)
{
    return c->has_book && c->qty >= c->symbol->qty_min && (c->symbol->qty_max == 0 || c->qty <= c->symbol->qty_max);
}

static bool balance(const risk_case *c)
{
    const risk_exposure *a = c->account;
    if (a->issuer) { return true; }
    if (a->margin) { return a->equity > 0; }
    return c->side == trade_side_BUY ? a->free_quote >= c->notional : a->free_base >= c->qty;
}

static bool position(const risk_case *c)
{
    stoa_decimal max = c->limits.position_max;
    return max == 0 || absolute(position_filled(c)) <= max || !may_enlarge(c);
}

static bool leverage(const risk_case *c)
{
    const risk_exposure *a = c->account;
    stoa_decimal max = c->limits.leverage_max;
    if (max == 0 && a->margin) { max = STOA_DECIMAL_ONE; }
    if (max == 0 || a->issuer) { return true; }
    wide exposure = (wide)a->exposure + (may_enlarge(c) ? c->notional : 0);
    return exposure * STOA_DECIMAL_ONE <= (wide)a->equity * max;
}

static bool daily_loss(const risk_case *c)
{
    stoa_decimal max = c->limits.daily_loss_max;
    return max == 0 || -(wide)c->account->day_pnl < max;
}

static bool margin(const risk_case *c)
{
    const risk_exposure *a = c->account;
    if (!a->margin || a->issuer || !may_enlarge(c)) { return true; }
    return ((wide)a->exposure + c->notional) * c->symbol->margin_rate <= (wide)a->equity * STOA_DECIMAL_ONE;
}

static const struct {
    trade_reason reason;
    bool (*passes)(const risk_case *order);
} checks[] = {
    {trade_reason_INVALID, valid},     {trade_reason_BALANCE, balance},       {trade_reason_POSITION, position},
    {trade_reason_LEVERAGE, leverage}, {trade_reason_DAILY_LOSS, daily_loss}, {trade_reason_MARGIN, margin},
};

trade_reason risk_judge(const risk_case *order)
{
    for (unsigned i = 0; i < sizeof checks / sizeof checks[0]; i++) {
        if (!checks[i].passes(order)) { return checks[i].reason; }
    }
    return trade_reason_NONE;
}
