/* risk_msgs.c - the table of risk.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "actors/risk/risk_msgs.h"

STOA_RECORD_DEFINE(risk_limits)
STOA_RECORD_DEFINE(risk_exposure)
STOA_TABLE_DEFINE(risk)
