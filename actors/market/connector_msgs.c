/* connector_msgs.c - the table of market_connector.
 *
 * A table has a source file of its own, without handlers: the client library links it without the runtime.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "actors/market/connector_msgs.h"

STOA_TABLE_DEFINE(market_connector)
