/* plan.h - a plug-in as its settings ask for it: lists taken apart, limits where the runtime wants them.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef STOA_NODE_PLUGIN_PLAN_H
#define STOA_NODE_PLUGIN_PLAN_H

#include "actors/plugin/plugin_msgs.h"
#include "node/settings.h"
#include "runtime/isolate/isolate.h"

/* Points into itself: it is made where it stays. */
typedef struct stoa_plugin_plan {
    stoa_settings_plugin settings;
    stoa_isolate isolate; /* tables: not yet */
    const char *actors[PLUGIN_ACTORS_MAX + 1], *peers[STOA_ISOLATE_PEERS + 1]; /* end with NULL */
    const char *hears[STOA_ISOLATE_GRANTS + 1], *tells[STOA_ISOLATE_GRANTS + 1];
} stoa_plugin_plan;

/* Faults, a line each as in base/config.h, are appended; without any the plan is good. */
void stoa_plugin_plan_make(const stoa_settings_plugin *settings, stoa_plugin_plan *out, stoa_buf *faults);

/* Append a line for each library that cannot be read: its plug-in is refused by a start, which goes on without it. */
void stoa_plugins_missing(const stoa_settings *settings, stoa_buf *faults);

/* Whether all plug-ins' rows are good. */
void stoa_plugins_check(const stoa_settings *settings, stoa_buf *faults);

#endif
