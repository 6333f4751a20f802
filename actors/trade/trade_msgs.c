/* trade_msgs.c - the words and records that all of trading shares.
 *
 * They have a source file of its own, without handlers: the client library links them without the runtime.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "actors/trade/trade_msgs.h"

STOA_ENUM_DEFINE(trade_side)
STOA_ENUM_DEFINE(trade_tif)
STOA_ENUM_DEFINE(trade_status)
STOA_ENUM_DEFINE(trade_reason)
STOA_RECORD_DEFINE(trade_symbol)
