/* book_msgs.c - the table of trade_book.
 *
 * A table has a source file of its own, without handlers: the client library links it without the runtime.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "actors/trade/book_msgs.h"

STOA_TABLE_DEFINE(trade_book)
