/* risk.c - risk/main: knows the symbols and everybody's limits, gives orders their ids, judges them before they trade.
 *
 * Order ids are dense and ascending over all symbols and accounts of the shard; a rejected order has one, too.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "actors/risk/risk.h"

#include <inttypes.h>

#include "actors/risk/checks.h"
#include "actors/risk/risk_msgs.h"
#include "actors/trade/account_msgs.h"
#include "base/map64.h"
#include "base/text_map.h"

enum { NAME_SLOTS = 2 * RISK_SYMBOLS_MAX, LIMIT_SLOTS = 2 * RISK_LIMITS_MAX };

typedef struct risk_market {
    trade_symbol symbol;
    uint64_t book; /* stream, 0: there is no book yet */
} risk_market;

typedef struct risk {
    uint64_t last_order_id;
    uint32_t market_count, limit_count;
    STOA_TEXT_MAP(stoa_text14, NAME_SLOTS) by_name; /* place in markets */
    risk_market markets[RISK_SYMBOLS_MAX + 1];
    risk_limits limits[RISK_LIMITS_MAX + 1];
    STOA_MAP64(LIMIT_SLOTS) by_account; /* stream to place in limits */
} risk;

static void inspect(const void *state, stoa_buf *out);

STOA_PROXY(trade_account)
#define risk_HEARS STOA_HEARS_NOTHING
STOA_KIND(risk, .inspect = inspect)

/* --- symbols */

/* NULL: no such symbol. */
static const risk_market *market_find(const risk *self, const stoa_text14 *name)
{
    uint32_t place = STOA_TEXT_MAP_GET(&self->by_name, name);
    return place ? &self->markets[place] : NULL;
}

static stoa_err check_rules(const trade_symbol *symbol)
{
    stoa_err err = trade_symbol_check(symbol);
    if (err) { return err; }
    bool limits = symbol->qty_min >= 0 && (symbol->qty_max == 0 || symbol->qty_max >= symbol->qty_min);
    bool margin = symbol->margin_rate > 0 && symbol->margin_rate <= STOA_DECIMAL_ONE;
    return limits && margin ? STOA_OK : STOA_E_INVALID;
}

/* The stream of the actor "kind/name", 0: there is none. */
static uint32_t stream_of(stoa_turn *turn, const char *kind, const char *name, uint16_t name_bytes)
{
    char full[STOA_NAME_MAX + 1];
    stoa_buf text = STOA_BUF_FIXED(full);
    stoa_buf_printf(&text, "%s/%.*s", kind, (int)name_bytes, name);
    return text.cut ? 0 : stoa_turn_peer_find(turn, full);
}

static stoa_err risk_on_symbol(stoa_turn *turn, const risk *self, const risk_symbol *in, risk_done *out)
{
    (void)out;
    stoa_err err = check_rules(&in->symbol);
    if (err) { return err; }
    const risk_market *known = market_find(self, &in->symbol.name);
    if (known && !trade_symbol_alike(&known->symbol, &in->symbol)) { return STOA_E_EXISTS; }
    if (!known && self->market_count == RISK_SYMBOLS_MAX) { return STOA_E_NOMEM; }
    uint32_t book = stream_of(turn, "trade_book", in->symbol.name.at, in->symbol.name.len);
    if (known && known->book == book && memcmp(&known->symbol, &in->symbol, sizeof in->symbol) == 0) { return STOA_OK; }
    return risk_emit_symbol_set(turn, (risk_symbol_set){.symbol = in->symbol, .book = book});
}

static void risk_apply_symbol_set(risk *self, const risk_symbol_set *event)
{
    uint32_t place = STOA_TEXT_MAP_GET(&self->by_name, &event->symbol.name);
    STOA_ASSERT(event->symbol.tick > 0 && event->symbol.lot > 0);
    if (place == 0) {
        STOA_ASSERT(self->market_count < RISK_SYMBOLS_MAX);
        place = ++self->market_count;
        STOA_TEXT_MAP_PUT(&self->by_name, &event->symbol.name, place);
    }
    self->markets[place] = (risk_market){.symbol = event->symbol, .book = event->book};
}

/* --- limits */
static bool same_limits(const risk_limits *a, const risk_limits *b)
{
    return a->position_max == b->position_max && a->leverage_max == b->leverage_max && a->daily_loss_max == b->daily_loss_max;
}

static stoa_err risk_on_limit(stoa_turn *turn, const risk *self, const risk_limit *in, risk_done *out)
{
    (void)out;
    const risk_limits *limits = &in->limits;
    if (limits->position_max < 0 || limits->leverage_max < 0 || limits->daily_loss_max < 0) { return STOA_E_INVALID; }
    uint32_t account = stream_of(turn, "trade_account", in->account.at, in->account.len);
    if (account == 0) { return STOA_E_NOT_FOUND; }
    uint32_t known = STOA_MAP64_GET(&self->by_account, account);
    if (known && same_limits(&self->limits[known], limits)) { return STOA_OK; }
    if (!known && self->limit_count == RISK_LIMITS_MAX) { return STOA_E_NOMEM; }
    return risk_emit_limit_set(turn, (risk_limit_set){.account = account, .limits = *limits});
}

static void risk_apply_limit_set(risk *self, const risk_limit_set *event)
{
    uint32_t place = STOA_MAP64_GET(&self->by_account, event->account);
    if (place == 0) {
        STOA_ASSERT(self->limit_count < RISK_LIMITS_MAX);
        place = ++self->limit_count;
        STOA_MAP64_PUT(&self->by_account, event->account, place);
    }
    self->limits[place] = event->limits;
}

/* --- orders */
typedef struct exact_order {
    const risk_market *market;
    int64_t price_ticks, qty_lots;
    stoa_decimal notional;
} exact_order;

/* A request in the market's units, or why it is malformed. */
static stoa_err make_exact(const risk *self, const trade_request *request, exact_order *out)
{
    exact_order exact = {.market = market_find(self, &request->symbol)};
    if (exact.market == NULL) { return STOA_E_UNKNOWN_SYMBOL; }
    bool known = request->side < trade_side_COUNT && request->tif < trade_tif_COUNT;
    if (!known || request->price <= 0 || request->qty <= 0) { return STOA_E_INVALID; }
    stoa_err err = stoa_steps(request->price, exact.market->symbol.tick, &exact.price_ticks);
    if (!err) { err = stoa_steps(request->qty, exact.market->symbol.lot, &exact.qty_lots); }
    if (!err) { err = exact.price_ticks > TRADE_PRICE_TICKS_MAX ? STOA_E_RANGE : STOA_OK; }
    if (!err) { err = trade_notional(request->price, request->qty, &exact.notional); }
    if (!err) { *out = exact; }
    return err;
}

static stoa_err risk_on_rules(stoa_turn *turn, const risk *self, const risk_rules *in)
{
    exact_order exact;
    stoa_err err = make_exact(self, &in->order, &exact);
    if (err) { return err; }
    return trade_account_forward_rules(turn, turn->from,
                                       (trade_account_rules){.order = in->order, .symbol = exact.market->symbol});
}

static stoa_err risk_on_ask(stoa_turn *turn, const risk *self, const risk_ask *in)
{
    if (!stoa_ref_equal(turn->from, stoa_turn_peer(turn, in->account.account))) { return STOA_E_DENIED; }
    exact_order exact;
    stoa_err err = make_exact(self, &in->order, &exact);
    if (err) { return err; }
    trade_reason reason =
        risk_judge(&(risk_case){.symbol = &exact.market->symbol,
                                .has_book = exact.market->book != 0,
                                .side = in->order.side,
                                .qty = in->order.qty,
                                .notional = exact.notional,
                                .account = &in->account,
                                .limits = self->limits[STOA_MAP64_GET(&self->by_account, in->account.account)]});
    uint64_t order_id = self->last_order_id + 1;
    err = risk_emit_checked(turn, (risk_checked){.order_id = order_id,
                                                 .symbol = in->order.symbol,
                                                 .account = in->account.account,
                                                 .reason = reason,
                                                 .side = in->order.side,
                                                 .price = in->order.price,
                                                 .qty = in->order.qty});
    if (err) { return err; }
    return trade_account_forward_verdict(turn, turn->from,
                                         (trade_account_verdict){.order_id = order_id,
                                                                 .order = in->order,
                                                                 .book = (uint32_t)exact.market->book,
                                                                 .reason = reason,
                                                                 .price_ticks = exact.price_ticks,
                                                                 .qty_lots = exact.qty_lots});
}

static void risk_apply_checked(risk *self, const risk_checked *event)
{
    self->last_order_id = event->order_id;
}

/* --- looking */
static void print_market(const risk_market *market, const char *before, stoa_buf *out)
{
    const trade_symbol *s = &market->symbol;
    char tick[STOA_DECIMAL_TEXT_MAX], lot[STOA_DECIMAL_TEXT_MAX];
    stoa_decimal_print(s->tick, 0, tick);
    stoa_decimal_print(s->lot, 0, lot);
    stoa_buf_printf(out, "%s{\"symbol\":", before);
    stoa_buf_json_string(out, s->name.at, s->name.len);
    stoa_buf_printf(out, ",\"tick\":\"%s\",\"lot\":\"%s\",\"book\":%" PRIu64 "}", tick, lot, market->book);
}

static void inspect(const void *state, stoa_buf *out)
{
    const risk *self = state;
    stoa_buf_printf(out, "{\"last_order_id\":%" PRIu64 ",\"accounts_with_limits\":%" PRIu32 ",\"symbols\":[",
                    self->last_order_id, self->limit_count);
    for (uint32_t i = 1; i <= self->market_count; i++) {
        print_market(&self->markets[i], i > 1 ? "," : "", out);
    }
    stoa_buf_puts(out, "]}");
}
