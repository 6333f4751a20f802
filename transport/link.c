/* link.c - the table of transports of transport/link.h, found by the scheme of an address.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "transport/link.h"

#include <stdio.h>
#include <string.h>

#include "transport/address.h"
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
    stoa_err (*place)(const char *place, bool listen); /* what stands behind "://"; NULL: seen when it is opened */
} row;

// clang-format off
static const row rows[] = {
    {"shm",       &stoa_link_shm,     NULL,  stoa_address_name_check},
    {"sim",       &stoa_link_sim,     NULL,  NULL},
    {"zmq+ipc",   &stoa_link_zmq_ipc, NULL,  stoa_address_path_check},
    {"zmq+tcp",   &stoa_link_zmq_tcp, NULL,  stoa_address_port_check},
    {"ucx+tcp",   NULL,               "ucx", stoa_address_port_check},
    {"ucx+rdma",  NULL,               "ucx", stoa_address_port_check},
    {"ofi+tcp",   NULL,               "ofi", stoa_address_port_check},
    {"ofi+verbs", NULL,               "ofi", stoa_address_port_check},
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

static stoa_err no_transport(const char *address)
{
    char schemes[128] = "";
    size_t used = 0;
    for (unsigned i = 0; i < ROW_COUNT; i++) {
        if (rows[i].ops == &stoa_link_sim) { continue; } /* within one process */
        used += (size_t)snprintf(schemes + used, sizeof schemes - used, "%s%s", used ? ", " : "", rows[i].scheme);
    }
    return STOA_FAIL(STOA_E_UNSUPPORTED, "no transport for address %.64s: there are %s", address, schemes);
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
        (void)no_transport(address);
    } else if (!ops) {
        (void)stoa_link_module_find(found->module, found->scheme, &ops);
    }
    return ops;
}

/* The address below one with faults into below; else the address itself. */
static stoa_err without_faults(const char *address, char below[STOA_FAULT_ADDRESS_BYTES], const char **out)
{
    *out = address;
    while (strncmp(*out, stoa_link_fault.scheme, strlen(stoa_link_fault.scheme)) == 0) {
        char next[STOA_FAULT_ADDRESS_BYTES];
        stoa_err err = stoa_fault_below(*out, next);
        if (err) { return err; }
        memcpy(below, next, sizeof next);
        *out = below;
    }
    return STOA_OK;
}

stoa_err stoa_link_check(const char *address, bool listen)
{
    char text[STOA_FAULT_ADDRESS_BYTES];
    const char *below;
    if (!stoa_link_find(address)) { return STOA_E_UNSUPPORTED; }
    stoa_err err = without_faults(address, text, &below);
    if (err) { return err; }
    const row *is = row_of(below);
    const char *query = below == address ? NULL : strchr(below, '?');
    if (query && is->place) { return STOA_FAIL(STOA_E_INVALID, "there is no option '%.*s'", (int)strcspn(query + 1, "=&"), query + 1); }
    return is->place ? is->place(strstr(below, "://") + strlen("://"), listen) : STOA_OK;
}

stoa_err stoa_link_open(const char *address, const stoa_link_options *options, stoa_link **out)
{
    const stoa_link_ops *ops = stoa_link_find(address);
    if (!ops) { return STOA_E_UNSUPPORTED; }
    stoa_err err = stoa_link_check(address, options->listen);
    return err ? STOA_PASS(err, "cannot %s %s", options->listen ? "listen at" : "dial", address) : ops->open(address, options, out);
}

void stoa_link_describe(stoa_link *link, stoa_link_traits *out)
{
    stoa_link_traits traits = {0};
    (void)snprintf(traits.provider, sizeof traits.provider, "%s", link->ops->scheme);
    if (link->ops->describe) { link->ops->describe(link, &traits); }
    *out = traits;
}
