/* market.h - the kinds of this room's market part, what they are spawned with, and how to set a market up.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef STOA_ACTORS_MARKET_MARKET_H
#define STOA_ACTORS_MARKET_MARKET_H

#include "actors/market/connector_msgs.h"
#include "actors/trade/trade_msgs.h"
#include "runtime/node.h"

extern const stoa_kind market_book_kind;      /* "market_book/binance.BTCUSDT"; no arguments */
extern const stoa_kind market_connector_kind; /* "market_connector/binance" */
extern const stoa_kind market_exchange_kind;  /* "market_exchange/BTCUSDT" */

/* Arguments of a connector. */
typedef struct market_connector_options {
    stoa_text14 venue; /* a name of market_venues[] */
    uint32_t symbol_count, pad_;
    stoa_text14 symbols[MARKET_CONNECTOR_SYMBOLS_MAX];
} market_connector_options;

/* Arguments of a simulated exchange for symbol.name "BTCUSDT": the book is trade_book/SIM.BTCUSDT, the mirror
 * market_book/sim.BTCUSDT. */
typedef struct market_exchange_options {
    trade_symbol symbol; /* tick and lot; orders stay within qty_min and qty_max */
    uint64_t seed;
    stoa_decimal price;       /* where the walk begins: a whole number of ticks, above spread_ticks of them */
    uint64_t interval_ns;     /* between two turns; 0 means 10 ms */
    uint32_t steps;           /* orders or cancels a turn, at most 64; 0 means 1 */
    uint32_t walk_permille;   /* of the steps: the fair price moves by a tick before them; 0 means 200 */
    uint32_t take_permille;   /* of the steps: an order that takes; 0 means 100 */
    uint32_t cancel_permille; /* of the steps: a cancel; 0 means 300; the others are orders that rest */
    uint32_t spread_ticks;    /* orders rest 1 .. spread_ticks from the fair price; 0 means 40 */
    uint32_t qty_lots_max;    /* of one order; 0 means 1000 */
} market_exchange_options;

/* Spawn a mirror for each symbol of a venue and the connector that feeds them, all on core. The connector waits for a
 * source port (node/ports/replay.h, live.h). Errors: INVALID (unknown venue, no symbols), stoa_spawn's. */
stoa_err market_spawn_venue(stoa_node *node, const market_connector_options *options, uint32_t core,
                            stoa_ref *connector_out);

/* Spawn the mirror market_book/sim.SYMBOL and the exchange on core. The book trade_book/SIM.SYMBOL must exist (in a
 * shard of durability NONE); the exchange opens it. Errors: stoa_spawn's. */
stoa_err market_spawn_exchange(stoa_node *node, const market_exchange_options *options, uint32_t core,
                               stoa_ref *exchange_out);

#endif
