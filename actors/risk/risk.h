/* risk.h - the kind of pre-trade risk, for who spawns risk/main. What it takes is in risk_msgs.h.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef STOA_ACTORS_RISK_RISK_H
#define STOA_ACTORS_RISK_RISK_H

#include "runtime/actor.h"

extern const stoa_kind risk_kind;

#endif
