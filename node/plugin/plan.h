/* plan.h - a plug-in as its settings ask for it: lists taken apart, limits where the runtime wants them.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef STOA_NODE_PLUGIN_PLAN_H
#define STOA_NODE_PLUGIN_PLAN_H

#include "actors/plugin/plugin_msgs.h"
#include "node/settings_faults.h"
#include "node/settings.h"
#include "runtime/isolate/isolate.h"

/* Points into itself: it is made where it stays. */
typedef struct stoa_plugin_plan {
    stoa_settings_plugin settings;
    stoa_isolate isolate; /* tables: not yet */
    const char *actors[PLUGIN_ACTORS_MAX + 1], *peers[STOA_ISOLATE_PEERS + 1]; /* end with NULL */
    const char *hears[STOA_ISOLATE_GRANTS + 1], *tells[STOA_ISOLATE_GRANTS + 1];
} stoa_plugin_plan;

/* Take plugins[index] apart into out. Without any fault it is good; faults NULL: they were told before. */
void stoa_plugin_plan_make(const stoa_settings *settings, uint32_t index, stoa_plugin_plan *out, const stoa_settings_faults *faults);

/* Tell each library that cannot be read: its plug-in is refused by a start, which goes on without it. */
void stoa_plugins_missing(const stoa_settings *settings, const stoa_settings_faults *faults);

/* Tell each fault of all plug-ins' rows. */
void stoa_plugins_check(const stoa_settings *settings, const stoa_settings_faults *faults);

#endif
