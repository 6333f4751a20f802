/* stoa.h - everything a program that embeds Stoa includes: #include <stoa/stoa.h> where it is installed.
 *
 * Beside it, for those who need them: <stoa/storage/rocksdb/journal.h> the journal on disk, <stoa/runtime/kit.h> the test
 * kit for authors of actors, <stoa/runtime/sim.h> and <stoa/storage/sim/journal.h> the simulator and its journal,
 * <stoa/runtime/isolate/isolate.h> plug-ins (STOA_PLUGIN, STOA_ISOLATED_KIND), <stoa/runtime/isolate/plugin.h> those whose table
 * the program has not, <stoa/cluster/links.h> links to other nodes, <stoa/base/log.h> the level of what is logged, <stoa/base/pool.h>, map64.h,
 * omap.h, text_map.h and texts.h containers for states, <stoa/base/wire.h> msgpack and JSON of payloads.
 *
 * Two warnings are errors from here on, because they are what "a wrong payload does not compile" and "a handler cannot
 * write to its state" rest on where a payload or a state is reached through a pointer. (gcc 14 has the first by itself.)
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef STOA_RUNTIME_STOA_H
#define STOA_RUNTIME_STOA_H

#include "base/clock.h"
#include "base/error.h"
#include "base/table.h"
#include "runtime/actor.h"
#include "runtime/node.h"

#pragma GCC diagnostic error "-Wincompatible-pointer-types"
#ifdef __clang__
#pragma GCC diagnostic error "-Wincompatible-pointer-types-discards-qualifiers"
#else
#pragma GCC diagnostic error "-Wdiscarded-qualifiers"
#endif

#endif
