/* market_listener.h - an actor that hears what a mirror publishes, for the tests of the market: counts, the last top, a hash of the
 * trades; and the seed that a test begins with.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef STOA_TESTS_SIM_MARKET_LISTENER_H
#define STOA_TESTS_SIM_MARKET_LISTENER_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "actors/market/book_msgs.h"
#include "actors/market/market.h"
#include "base/hash.h"
#include "runtime/kit.h"

STOA_PROXY(market_book)

static uint64_t first_seed;

enum { TRADES_KEPT = 4096 };
typedef struct heard {
    uint64_t diffs, jumps, trades, tops, last_id, hash;
    uint64_t hash_after[TRADES_KEPT]; /* of all trades up to this one */
    market_feed_top top;
} heard;
static heard heard_now;

#define listener_check_FIELDS    STOA_NO_FIELDS
#define listener_ROWS(ROW, K)    ROW(K, CAST, check, _, "Nothing.")
STOA_TABLE(listener)
STOA_TABLE_DEFINE(listener)
typedef struct listener {
    uint64_t nothing;
} listener;
#define listener_HEARS(HEAR, K) HEAR(K, market_feed, diff) HEAR(K, market_feed, trade) HEAR(K, market_feed, top)
static stoa_err listen(stoa_turn *turn, void *state, const void *args)
{
    (void)state, (void)args;
    return stoa_turn_subscribe(turn, "market.>");
}
STOA_PLAIN_KIND(listener, .start = listen, .mailbox_limit = 65536)

static stoa_err listener_on_check(stoa_turn *turn, listener *self, const listener_check *in)
{
    (void)turn, (void)self, (void)in;
    return STOA_OK;
}
static stoa_err listener_on_market_feed_diff(stoa_turn *turn, listener *self, const market_feed_diff *in)
{
    (void)turn, (void)self;
    bool continues = in->first_id == heard_now.last_id + 1;
    heard_now.jumps += !continues;
    if (in->more) { return STOA_OK; }
    heard_now.last_id = in->last_id;
    heard_now.diffs++;
    return STOA_OK;
}
static stoa_err listener_on_market_feed_trade(stoa_turn *turn, listener *self, const market_feed_trade *in)
{
    (void)turn, (void)self;
    heard_now.trades++;
    heard_now.hash = stoa_mix64(heard_now.hash ^ in->trade_id) + (uint64_t)in->price * 3 + (uint64_t)in->qty * 7 +
                     in->taker_side;
    if (heard_now.trades < TRADES_KEPT) { heard_now.hash_after[heard_now.trades] = heard_now.hash; }
    return STOA_OK;
}
static stoa_err listener_on_market_feed_top(stoa_turn *turn, listener *self, const market_feed_top *in)
{
    (void)turn, (void)self;
    heard_now.tops++;
    heard_now.top = *in;
    return STOA_OK;
}

/* STOA_SEED, or the time's; printed. */
static inline void choose_seed(void)
{
    const char *given = getenv("STOA_SEED");
    first_seed = given ? strtoull(given, NULL, 0) : (uint64_t)time(NULL);
    printf("STOA_SEED=%" PRIu64 "\n", first_seed);
}

#endif
