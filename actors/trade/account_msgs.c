/* account_msgs.c - the table of trade_account.
 *
 * A table has a source file of its own, without handlers: the client library links it without the runtime.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "actors/trade/account_msgs.h"

STOA_RECORD_DEFINE(trade_order)
STOA_LIST_DEFINE(trade_orders, trade_order, 64)
STOA_RECORD_DEFINE(trade_balance)
STOA_LIST_DEFINE(trade_balances, trade_balance, TRADE_ASSETS_MAX)
STOA_TABLE_DEFINE(trade_account)
