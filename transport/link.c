/* link.c - the table of transports of transport/link.h, found by the scheme of an address.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "transport/link.h"

#include <string.h>

#include "transport/fault/link.h"
#include "transport/shm/link.h"
#include "transport/sim/link.h"
#include "transport/zmq/link.h"

static const stoa_link_ops *const schemes[] = {
    &stoa_link_shm,
    &stoa_link_zmq_ipc,
    &stoa_link_zmq_tcp,
    &stoa_link_sim,
};
enum { SCHEME_COUNT = sizeof schemes / sizeof schemes[0] };

const stoa_link_ops *stoa_link_find(const char *address)
{
    size_t wraps_bytes = strlen(stoa_link_fault.scheme);
    if (strncmp(address, stoa_link_fault.scheme, wraps_bytes) == 0) {
        return stoa_link_find(address + wraps_bytes) ? &stoa_link_fault : NULL;
    }
    for (unsigned i = 0; i < SCHEME_COUNT; i++) {
        size_t size_bytes = strlen(schemes[i]->scheme);
        if (strncmp(address, schemes[i]->scheme, size_bytes) == 0 && strncmp(address + size_bytes, "://", 3) == 0) {
            return schemes[i];
        }
    }
    return NULL;
}

stoa_err stoa_link_open(const char *address, const stoa_link_options *options, stoa_link **out)
{
    const stoa_link_ops *ops = stoa_link_find(address);
    if (!ops) { return STOA_FAIL(STOA_E_UNSUPPORTED, "no transport for address %s", address); }
    return ops->open(address, options, out);
}
