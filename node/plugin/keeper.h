/* keeper.h - the supervisor of a plug-in's actors.
 *
 * Restarts are the runtime's, with a pause that grows; the keeper counts them, and where there are more within a time than the
 * settings allow it ends that actor for good: a plug-in never makes anybody above it fail. It also passes on what clients and operators ask, of this
 * node or, where the kind `plugin` is shared, of others: JSON in a parser that it has from its start on, and back. Whom they ask is an
 * actor of its own, or one of the plug-in's name that is found on another node.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef STOA_NODE_PLUGIN_KEEPER_H
#define STOA_NODE_PLUGIN_KEEPER_H

#include "actors/plugin/plugin_msgs.h"
#include "node/plugin/plugins.h"

typedef struct plugin_args {
    stoa_plugin_unit *unit; /* outlives the node */
    stoa_node *node;
} plugin_args;
extern const stoa_kind plugin_kind;

/* Give the unit's kind of supervisor what it hears beside its own: the answers of the plug-in's table. */
void stoa_plugin_hear_answers(stoa_plugin_unit *unit);

#endif
