/* system.c - the table of system.h.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "runtime/system.h"

STOA_ENUM_DEFINE(stoa_end)
STOA_TABLE_DEFINE(stoa_system)
