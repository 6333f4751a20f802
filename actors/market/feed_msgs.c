/* feed_msgs.c - the table of market_feed.
 *
 * A table has a source file of its own, without handlers: the client library links it without the runtime.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "actors/market/feed_msgs.h"

STOA_RECORD_DEFINE(market_level)
STOA_LIST_DEFINE(market_levels, market_level, MARKET_LEVELS_MAX)
STOA_TABLE_DEFINE(market_feed)
