/* plugin_msgs.c - the table of plugin.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "actors/plugin/plugin_msgs.h"

STOA_RECORD_DEFINE(plugin_child)
STOA_LIST_DEFINE(plugin_children, plugin_child, PLUGIN_ACTORS_MAX)
STOA_TABLE_DEFINE(plugin)
