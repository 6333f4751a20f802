/* book_msgs.c - the table of market_book.
 *
 * A table has a source file of its own, without handlers: the client library links it without the runtime.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "actors/market/book_msgs.h"

STOA_ENUM_DEFINE(market_book_status)
STOA_TABLE_DEFINE(market_book)
