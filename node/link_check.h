/* link_check.h - what no single row can say of links: names that refer to others, addresses that nobody serves.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef STOA_NODE_LINK_CHECK_H
#define STOA_NODE_LINK_CHECK_H

#include "node/settings.h"

/* Append a line for each fault of links and node.shares. A link's module is loaded. */
void stoa_links_check(const stoa_settings *settings, stoa_buf *faults);

#endif
