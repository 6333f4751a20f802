/* durability.c - the names of base/durability.h.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "base/durability.h"

STOA_ENUM_DEFINE(stoa_durability)
