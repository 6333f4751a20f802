/* link_check.h - what no single row can say of links and of gateway.listen: names that refer to others, addresses that nobody can
 * listen at or dial, two at one address.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef STOA_NODE_LINK_CHECK_H
#define STOA_NODE_LINK_CHECK_H

#include "node/settings_faults.h"
#include "node/settings.h"

/* Tell each fault of links, gateway.listen and node.shares. A link's module is loaded, its key file read; nothing is opened, and no
 * name looked up. */
void stoa_links_check(const stoa_settings *settings, const stoa_settings_faults *faults);

/* Log the hosts that links dial and nobody knows now: they are dialled on, for they may be known later. Asks the resolver, so it may block. */
void stoa_links_look_up(const stoa_settings *settings);

#endif
