/* settings_check.h - the rules of settings that their table cannot see: of names, of rows that speak of each other, of files that are to be there.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef STOA_NODE_SETTINGS_CHECK_H
#define STOA_NODE_SETTINGS_CHECK_H

#include "node/settings_faults.h"
#include "node/settings.h"

/* Tell each fault of what was read, and fill in what follows from it: which accounts are away, and the vaults. Files are looked for,
 * links' keys read and their modules loaded; no link is opened. */
void stoa_settings_check(stoa_settings *settings, const stoa_settings_faults *faults);

#endif
