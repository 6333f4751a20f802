/* account_orders.c - the memory of actors/trade/account_orders.h.
 *
 * Two lists run through the pool of orders: all by ascending id (ids only grow, so a new one goes to the end), and
 * the final ones in the order in which they became final, from whose head the forgetting starts.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "actors/trade/account_orders.h"

#include "base/hash.h"

typedef trade_orders_known known;
typedef trade_known_order order;

bool trade_status_final(trade_status status)
{
    static const bool final[trade_status_COUNT] = {
        [trade_status_FILLED] = true, [trade_status_CANCELLED] = true, [trade_status_REJECTED] = true};
    return final[status];
}

static const order *at_or_null(const known *orders, uint32_t index)
{
    return index ? &orders->pool.at[index] : NULL;
}

const order *trade_orders_find(const known *orders, uint64_t order_id)
{
    return at_or_null(orders, STOA_MAP64_GET(&orders->by_id, order_id));
}

const order *trade_orders_find_client(const known *orders, uint64_t client_order_id)
{
    return at_or_null(orders, STOA_MAP64_GET(&orders->by_client, client_order_id));
}

const order *trade_orders_find_either(const known *orders, uint64_t order_id, uint64_t client_order_id)
{
    return order_id ? trade_orders_find(orders, order_id) : trade_orders_find_client(orders, client_order_id);
}

static void forget_oldest_final(known *orders)
{
    uint32_t index = orders->first_final;
    order gone = orders->pool.at[index];
    orders->first_final = gone.next_final;
    orders->final--;
    *(gone.older ? &orders->pool.at[gone.older].newer : &orders->oldest) = gone.newer;
    *(gone.newer ? &orders->pool.at[gone.newer].older : &orders->newest) = gone.older;
    STOA_MAP64_REMOVE(&orders->by_id, gone.view.order_id);
    STOA_MAP64_REMOVE(&orders->by_client, gone.view.client_order_id);
    STOA_POOL_GIVE(&orders->pool, index);
    if (gone.view.client_order_id > orders->forgotten) { orders->forgotten = gone.view.client_order_id; }
}

static void make_final(known *orders, uint32_t index)
{
    *(orders->first_final ? &orders->pool.at[orders->last_final].next_final : &orders->first_final) = index;
    orders->last_final = index;
    if (++orders->final > TRADE_KNOWN_ORDERS) { forget_oldest_final(orders); }
}

void trade_orders_add(known *orders, const trade_order *view, uint32_t symbol, uint32_t book)
{
    STOA_ASSERT(!trade_orders_find(orders, view->order_id) && !trade_orders_find_client(orders, view->client_order_id));
    STOA_ASSERT(orders->newest == 0 || orders->pool.at[orders->newest].view.order_id < view->order_id);
    uint32_t index = STOA_POOL_TAKE(&orders->pool);
    orders->pool.at[index] = (order){.view = *view, .symbol = symbol, .book = book, .older = orders->newest};
    *(orders->newest ? &orders->pool.at[orders->newest].newer : &orders->oldest) = index;
    orders->newest = index;
    STOA_MAP64_PUT(&orders->by_id, view->order_id, index);
    STOA_MAP64_PUT(&orders->by_client, view->client_order_id, index);
    if (trade_status_final(view->status)) {
        make_final(orders, index);
    } else {
        orders->open++;
    }
}

void trade_orders_change(known *orders, const trade_order *view)
{
    uint32_t index = STOA_MAP64_GET(&orders->by_id, view->order_id);
    STOA_ASSERT(index != 0 && !trade_status_final(orders->pool.at[index].view.status));
    orders->pool.at[index].view = *view;
    if (trade_status_final(view->status)) {
        orders->open--;
        make_final(orders, index);
    }
}

/* The first order with an id above that one. */
static uint32_t first_after(const known *orders, uint64_t order_id)
{
    uint32_t index = STOA_MAP64_GET(&orders->by_id, order_id);
    if (index) { return orders->pool.at[index].newer; }
    index = orders->oldest;
    while (index && orders->pool.at[index].view.order_id <= order_id) {
        index = orders->pool.at[index].newer;
    }
    return index;
}

void trade_orders_page(const known *orders, uint64_t after_order_id, bool open_only, trade_account_page *out)
{
    const uint32_t cap = sizeof out->orders.at / sizeof out->orders.at[0];
    uint32_t index = first_after(orders, after_order_id);
    for (; index; index = orders->pool.at[index].newer) {
        const trade_order *view = &orders->pool.at[index].view;
        if (open_only && trade_status_final(view->status)) { continue; }
        if (out->orders.count == cap) {
            out->more = 1;
            return;
        }
        out->orders.at[out->orders.count++] = *view;
    }
}

/* --- an order as its owner sees it */
trade_order trade_order_new(uint64_t order_id, const trade_request *request, trade_status status, trade_reason reason,
                            uint64_t at_ns)
{
    return (trade_order){.order_id = order_id,
                         .client_order_id = request->client_order_id,
                         .symbol = request->symbol,
                         .side = request->side,
                         .tif = request->tif,
                         .status = status,
                         .reason = reason,
                         .price = request->price,
                         .qty = request->qty,
                         .placed_ns = at_ns,
                         .changed_ns = at_ns};
}

void trade_order_rest(trade_order *view, uint64_t at_ns)
{
    view->status = trade_status_OPEN;
    view->changed_ns = at_ns;
}

void trade_order_fill(trade_order *view, const trade_account_filled *event)
{
    stoa_decimal notional = 0;
    stoa_err err = trade_notional(event->price, event->qty, &notional);
    if (!err) { err = stoa_add(view->filled_notional, notional, &notional); }
    view->filled_notional = err ? INT64_MAX : notional; /* more than 92 thousand million quote units in one order */
    view->fills++;
    view->filled_qty += event->qty;
    view->changed_ns = event->at_ns;
    if (view->filled_qty == view->qty) { view->status = trade_status_FILLED; }
}

void trade_order_close(trade_order *view, const trade_account_closed *event)
{
    view->status = event->status;
    view->reason = event->reason;
    view->changed_ns = event->at_ns;
}

/* --- transfers */
const trade_known_transfer *trade_transfers_find(const trade_transfers *transfers, uint64_t transfer_id)
{
    uint32_t place = STOA_MAP64_GET(&transfers->by_id, transfer_id);
    return place ? &transfers->at[place - 1] : NULL;
}

uint64_t trade_transfer_far(const stoa_text30 *to, uint64_t state)
{
    return stoa_hash64(0, to->at, to->len) >> 2 | state << 62;
}

void trade_transfers_return(trade_transfers *transfers, uint64_t transfer_id)
{
    uint32_t place = STOA_MAP64_GET(&transfers->by_id, transfer_id);
    if (!place) { return; } /* forgotten by now */
    trade_known_transfer *slot = &transfers->at[place - 1];
    slot->to_stream = slot->to_stream << 2 >> 2 | (uint64_t)TRADE_TRANSFER_CAME_BACK << 62;
}

void trade_transfers_add(trade_transfers *transfers, const trade_known_transfer *transfer)
{
    uint32_t place = (uint32_t)(transfers->made++ % TRADE_KNOWN_TRANSFERS);
    trade_known_transfer *slot = &transfers->at[place];
    if (slot->transfer_id) { /* the oldest makes room */
        STOA_MAP64_REMOVE(&transfers->by_id, slot->transfer_id);
        if (slot->transfer_id > transfers->forgotten) { transfers->forgotten = slot->transfer_id; }
    }
    *slot = *transfer;
    STOA_MAP64_PUT(&transfers->by_id, transfer->transfer_id, place + 1);
}
