/* host/main.c - stoa-isolate, the child of a node that runs one library's kind: limits, an end of opening files and a filter over
 * system calls first, then the library, then a narrower filter, then turns until the node hangs up.
 *
 *     stoa-isolate LIBRARY MEMORY_BYTES CPU_SECONDS PARENT     with a socket of the node's as descriptor 3
 *
 * A node starts it (isolate/process.c); nobody else has a use for it. What loading a library runs - constructors are foreign code, too - is
 * under the limits and the first filter: it may read its library and those of the system, and nothing else outside. Ends are told by
 * exit status (isolate/process.h).
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include <dlfcn.h>
#include <stdlib.h>
#include <unistd.h>

#include "runtime/isolate/host/host.h"

#define host (&stoa_the_host)

static const stoa_kind *load(const char *path)
{
    void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    const stoa_plugin *plugin = library ? dlsym(library, "stoa_plugin_of_library") : NULL;
    bool fits = plugin && plugin->version == STOA_PLUGIN_VERSION && plugin->turn_bytes == sizeof(stoa_turn) &&
                plugin->kind_bytes == sizeof(stoa_kind) && plugin->kind;
    return fits ? plugin->kind : NULL;
}

int main(int count, char **args)
{
    if (count != 5) { return STOA_ISOLATE_NOT_HEARD; }
    if (stoa_host_limit(strtoull(args[2], NULL, 10), strtoull(args[3], NULL, 10), atoi(args[4]))) { return STOA_ISOLATE_NOT_HEARD; }
    if (stoa_host_close_files(args[1])) { return STOA_ISOLATE_NOT_CONFINED; }
    if (stoa_isolate_pipe_offer(&host->pipe, STOA_ISOLATE_FD, STOA_SHM_WELCOME)) { return STOA_ISOLATE_NO_MEMORY; }
    while (!stoa_isolate_pipe_met(&host->pipe)) { stoa_host_wait(); }
    if (stoa_host_seal_for_loading()) { return STOA_ISOLATE_NOT_CONFINED; }
    const stoa_kind *kind = load(args[1]);
    if (!kind) { return STOA_ISOLATE_NOT_LOADED; }
    if (kind->sourced) { return STOA_ISOLATE_SOURCED; }
    stoa_host_take(kind);
    if (stoa_host_seal()) { return STOA_ISOLATE_NOT_CONFINED; }
    stoa_host_serve();
}
