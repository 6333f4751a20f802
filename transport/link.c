/* link.c - the table of transports of transport/link.h, found by the scheme of an address.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "transport/link.h"

#include <stdio.h>
#include <string.h>

#include "transport/fault/link.h"
#include "transport/module.h"
#include "transport/shm/link.h"
#include "transport/sim/link.h"
#include "transport/zmq/link.h"

/* A scheme and who implements it: code that is always there, or a module. */
typedef struct row {
    const char *scheme;
    const stoa_link_ops *ops; /* NULL: of the module */
    const char *module;
} row;

// clang-format off
static const row rows[] = {
    {"shm",       &stoa_link_shm,     NULL},
    {"sim",       &stoa_link_sim,     NULL},
    {"zmq+ipc",   &stoa_link_zmq_ipc, NULL},
    {"zmq+tcp",   &stoa_link_zmq_tcp, NULL},
    {"ucx+tcp",   NULL,               "ucx"},
    {"ucx+rdma",  NULL,               "ucx"},
    {"ofi+tcp",   NULL,               "ofi"},
    {"ofi+verbs", NULL,               "ofi"},
};
// clang-format on
enum { ROW_COUNT = sizeof rows / sizeof rows[0] };

static const row *row_of(const char *address)
{
    for (unsigned i = 0; i < ROW_COUNT; i++) {
        size_t size_bytes = strlen(rows[i].scheme);
        if (strncmp(address, rows[i].scheme, size_bytes) == 0 && strncmp(address + size_bytes, "://", 3) == 0) {
            return &rows[i];
        }
    }
    return NULL;
}

const stoa_link_ops *stoa_link_find(const char *address)
{
    size_t wraps_bytes = strlen(stoa_link_fault.scheme);
    if (strncmp(address, stoa_link_fault.scheme, wraps_bytes) == 0) {
        return stoa_link_find(address + wraps_bytes) ? &stoa_link_fault : NULL;
    }
    const row *found = row_of(address);
    const stoa_link_ops *ops = found ? found->ops : NULL;
    if (!found) {
        (void)STOA_FAIL(STOA_E_UNSUPPORTED, "no transport for address %s", address);
    } else if (!ops) {
        (void)stoa_link_module_find(found->module, found->scheme, &ops);
    }
    return ops;
}

stoa_err stoa_link_open(const char *address, const stoa_link_options *options, stoa_link **out)
{
    const stoa_link_ops *ops = stoa_link_find(address);
    return ops ? ops->open(address, options, out) : STOA_E_UNSUPPORTED;
}

void stoa_link_describe(stoa_link *link, stoa_link_traits *out)
{
    stoa_link_traits traits = {0};
    (void)snprintf(traits.provider, sizeof traits.provider, "%s", link->ops->scheme);
    if (link->ops->describe) { link->ops->describe(link, &traits); }
    *out = traits;
}
