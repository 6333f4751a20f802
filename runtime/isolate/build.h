/* isolate/build.h - from a description to a kind. Internal to runtime/.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef STOA_RUNTIME_ISOLATE_BUILD_H
#define STOA_RUNTIME_ISOLATE_BUILD_H

#include "runtime/isolate/describe.h"
#include "runtime/isolate/plugin.h"

/* Check a stranger's description and make its kind; nothing of it is referred to. Errors: as stoa_plugged_open's. */
stoa_err stoa_plugged_build(const stoa_description *description, const stoa_table *const *tables, stoa_plugged **out);

#endif
