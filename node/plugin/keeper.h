/* keeper.h - the supervisor of a plug-in's actors.
 *
 * Restarts are the runtime's, with a pause that grows; the keeper counts them, and where there are more within a time than the
 * settings allow it ends that actor for good: a plug-in never makes anybody above it fail.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef STOA_NODE_PLUGIN_KEEPER_H
#define STOA_NODE_PLUGIN_KEEPER_H

#include "node/plugin/plugins.h"

#define plugin_look_FIELDS  STOA_NO_FIELDS
#define plugin_start_FIELDS STOA_NO_FIELDS
/* ends: of its processes since the node came up; gone: it stays away. */
#define plugin_child_FIELDS(F, S)                                                                                      \
    F(S, uint64_t, ends) F(S, uint64_t, gone) F(S, uint64_t, ended_ns) F(S, stoa_text30, key) F(S, stoa_text62, why)
STOA_RECORD(plugin_child)
STOA_LIST(plugin_children, plugin_child, STOA_PLUGIN_ACTORS)
#define plugin_seen_FIELDS(F, S)    F(S, plugin_children, children)
#define plugin_started_FIELDS(F, S) F(S, uint64_t, count)
#define plugin_ROWS(ROW, K)                                          \
    ROW(K, COMMAND, look, seen, "How do its actors fare?")           \
    ROW(K, REPLY, seen, _, "So.")                                    \
    ROW(K, COMMAND, start, started, "Begin anew with those that stay away.") \
    ROW(K, REPLY, started, _, "So many.")
STOA_TABLE(plugin)

typedef struct plugin_args {
    const stoa_plugin_unit *unit; /* outlives the node */
} plugin_args;
extern const stoa_kind plugin_kind;

#endif
