/* isolate/plugin.h - a kind from a library that a program was not built with: its child describes it, and the node has it from that.
 *
 *     stoa_plugged *plugged;
 *     stoa_plugged_open(&isolate, tables, &plugged);
 *     stoa_spawn(node, stoa_plugged_kind(plugged), "tally/t", &(stoa_spawn_options){.args = &isolate}, &ref);
 *     ... stoa_node_close(node, grace); stoa_plugged_close(plugged);
 *
 * The actors of the kind are isolates as any other (isolate.h). Whoever sends to them needs the kind's table, of course: what was
 * described can be looked up by name.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef STOA_RUNTIME_ISOLATE_PLUGIN_H
#define STOA_RUNTIME_ISOLATE_PLUGIN_H

#include "base/api.h"
#include "runtime/isolate/isolate.h"

STOA_API_BEGIN

typedef struct stoa_plugged stoa_plugged;

/* Start a child under the limits of isolate, have it describe its kind, and end it. tables (ends with NULL; NULL: none) are those that
 * the program knows: what the kind hears of others is of them, of stoa_system, or its own. Blocks, for start_ns at most and what
 * the end of a process takes; not from a core. Errors, with why in the trail: FAILED (the child ended: what of), TIMEOUT, MALFORMED (what
 * it told is no kind), EXISTS (the kind's name is that of a table), NOT_FOUND (it hears a row of a table that is not known, or not so),
 * UNSUPPORTED (this kernel has no Landlock), IO, NOMEM, INVALID. */
stoa_err stoa_plugged_open(const stoa_isolate *isolate, const stoa_table *const *tables, stoa_plugged **out);
/* Lives until close. */
const stoa_kind *stoa_plugged_kind(const stoa_plugged *plugged);
/* Bytes of the args that the kind itself is started with. */
uint32_t stoa_plugged_args_bytes(const stoa_plugged *plugged);
/* NULL is allowed. After the node's close: its kind is gone. */
void stoa_plugged_close(stoa_plugged *plugged);

STOA_API_END

#endif
