/* plugins.h - kinds from libraries: described by their own children, spawned as isolates, kept by a supervisor each.
 *
 *     plugin/NAME        the supervisor: restarts with a pause, gives up where settings say so, tells why
 *     NAME/KEY           the actors, each with a process of its own
 *
 * A plug-in that cannot be had - no such library, one that never comes to an end of loading, a kind that is here already - is
 * refused with a line in the log and shown as refused; the node comes up without it.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef STOA_NODE_PLUGIN_PLUGINS_H
#define STOA_NODE_PLUGIN_PLUGINS_H

#include "node/platform.h"
#include "node/plugin/plan.h"
#include "runtime/isolate/plugin.h"

enum { STOA_PLUGIN_WHY = 256, STOA_PLUGIN_TABLES = 32, STOA_PLUGIN_HEARS = 160 };

typedef struct stoa_plugin_unit {
    stoa_plugin_plan plan;
    stoa_plugged *plugged;       /* NULL: refused */
    char why[STOA_PLUGIN_WHY];   /* of that */
    const stoa_table *tables[STOA_PLUGIN_TABLES]; /* of its peers; ends with NULL */
    _Alignas(16) uint8_t args[STOA_ISOLATE_ARGS_MAX]; /* that its actors start with */
    stoa_kind supervisor;        /* the supervisor's kind, with this plug-in's policy */
    stoa_hear hears[STOA_PLUGIN_HEARS];
    stoa_ref keeper;
    stoa_counter drops[PLUGIN_ACTORS_MAX][STOA_DROP_COUNT]; /* what its actors sent and nobody got */
} stoa_plugin_unit;

typedef struct stoa_plugins {
    uint32_t count;
    stoa_plugin_unit units[];
} stoa_plugins;

/* Errors: NOMEM, what spawning a supervisor returns. */
stoa_err stoa_plugins_open(stoa_platform *platform, stoa_plugins **out);
/* NULL is allowed. After the node's close. */
void stoa_plugins_free(stoa_plugins *plugins);

/* Figures of all of them into the platform's metrics. NULL is allowed. */
void stoa_plugins_measure(stoa_platform *platform, const stoa_plugins *plugins);

/* NULL: there is none of that name. */
stoa_plugin_unit *stoa_plugin_named(stoa_plugins *plugins, const char *name);

#endif
