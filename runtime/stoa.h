/* stoa.h - everything a program that embeds Stoa includes.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef STOA_RUNTIME_STOA_H
#define STOA_RUNTIME_STOA_H

#include "base/clock.h"
#include "base/error.h"
#include "base/table.h"
#include "runtime/actor.h"
#include "runtime/node.h"

#endif
