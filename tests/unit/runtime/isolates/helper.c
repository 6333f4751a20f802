/* isolates/helper.c - the helper of odd.h, as a library for stoa-isolate: a plug-in that another one asks.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/runtime/isolates/helper.h"

STOA_PLUGIN(helper)
