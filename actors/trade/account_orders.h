/* account_orders.h - the orders and transfers an account remembers, so that a retry never trades or pays twice.
 *
 * Orders: all open ones (up to TRADE_OPEN_ORDERS_MAX) and the last TRADE_KNOWN_ORDERS that became final, each as it
 * stands. When one more becomes final the one that has been final longest is forgotten; the highest client id ever
 * forgotten is kept. Transfers: the last TRADE_KNOWN_TRANSFERS that were made. Plain memory: zero is empty.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef STOA_ACTORS_TRADE_ACCOUNT_ORDERS_H
#define STOA_ACTORS_TRADE_ACCOUNT_ORDERS_H

#include "actors/trade/account_msgs.h"
#include "base/map64.h"
#include "base/pool.h"

/* --- orders */
typedef struct trade_known_order {
    trade_order view;
    uint32_t symbol, book;     /* in the ledger; stream */
    uint32_t older, newer;     /* all orders by id */
    uint32_t next_final, pad_; /* final ones by when they became so */
} trade_known_order;

enum {
    TRADE_ORDERS_CAP = TRADE_OPEN_ORDERS_MAX + TRADE_KNOWN_ORDERS + 1, /* 1: until the oldest goes */
    TRADE_ORDERS_SLOTS = 8192,
};

typedef struct trade_orders_known {
    uint64_t forgotten; /* highest client id forgotten */
    uint32_t open, final;
    uint32_t oldest, newest, first_final, last_final;
    STOA_MAP64(TRADE_ORDERS_SLOTS) by_id;
    STOA_MAP64(TRADE_ORDERS_SLOTS) by_client;
    STOA_POOL(trade_known_order, TRADE_ORDERS_CAP) pool;
} trade_orders_known;

bool trade_status_final(trade_status status);

/* NULL: not known. Valid until the orders change. */
const trade_known_order *trade_orders_find(const trade_orders_known *orders, uint64_t order_id);
const trade_known_order *trade_orders_find_client(const trade_orders_known *orders, uint64_t client_order_id);
/* By order_id, or by client id when that is 0. */
const trade_known_order *trade_orders_find_either(const trade_orders_known *orders, uint64_t order_id,
                                                  uint64_t client_order_id);

/* Add an order with both ids unknown and order_id above all others'. */
void trade_orders_add(trade_orders_known *orders, const trade_order *view, uint32_t symbol, uint32_t book);
/* Replace what is known of an order; one that becomes final moves to the final ones. */
void trade_orders_change(trade_orders_known *orders, const trade_order *view);

/* Up to 64 orders behind after_order_id, ascending. */
void trade_orders_page(const trade_orders_known *orders, uint64_t after_order_id, bool open_only,
                       trade_account_page *out);

/* --- an order as its owner sees it, and how it changes: handlers and apply functions share these */
trade_order trade_order_new(uint64_t order_id, const trade_request *request, trade_status status, trade_reason reason,
                            uint64_t at_ns);
void trade_order_rest(trade_order *view, uint64_t at_ns);
void trade_order_fill(trade_order *view, const trade_account_filled *event);
void trade_order_close(trade_order *view, const trade_account_closed *event);

/* --- transfers */
typedef struct trade_known_transfer {
    uint64_t transfer_id, to_stream; /* to another shard: trade_transfer_far */
    stoa_text6 asset;
    stoa_decimal amount;
} trade_known_transfer;

typedef struct trade_transfers {
    uint64_t made;                               /* transfer n is at[n % TRADE_KNOWN_TRANSFERS], n from 0 */
    uint64_t forgotten;                          /* highest id forgotten */
    STOA_MAP64(2 * TRADE_KNOWN_TRANSFERS) by_id; /* place in at, from 1 */
    trade_known_transfer at[TRADE_KNOWN_TRANSFERS];
} trade_transfers;

/* In place of a stream: an account of another shard; and the same, where it refused the amount. */
enum { TRADE_TRANSFER_FAR = 1, TRADE_TRANSFER_CAME_BACK = 2 };
uint64_t trade_transfer_far(const stoa_text30 *to, uint64_t state);
static inline uint64_t trade_transfer_state(uint64_t to_stream)
{
    return to_stream >> 62;
}

const trade_known_transfer *trade_transfers_find(const trade_transfers *transfers, uint64_t transfer_id);
/* A transfer to another shard came back. */
void trade_transfers_return(trade_transfers *transfers, uint64_t transfer_id);
void trade_transfers_add(trade_transfers *transfers, const trade_known_transfer *transfer);

#endif
