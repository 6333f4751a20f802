/* quoter_msgs.c - the table of strategy_quoter.
 *
 * A table has a source file of its own, without handlers: the client library links it without the runtime.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "actors/strategy/quoter_msgs.h"

STOA_ENUM_DEFINE(strategy_quoter_mode)
STOA_ENUM_DEFINE(strategy_quoter_phase)
STOA_RECORD_DEFINE(strategy_quoter_leg)
STOA_RECORD_DEFINE(strategy_quoter_config)
STOA_TABLE_DEFINE(strategy_quoter)
