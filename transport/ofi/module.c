/* ofi/module.c - the module link_ofi.so: links over libfabric.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "transport/fabric/link.h"
#include "transport/module_host.h"
#include "transport/ofi/carrier.h"

static stoa_err open_tcp(const char *address, const stoa_link_options *options, stoa_link **out);
static stoa_err open_verbs(const char *address, const stoa_link_options *options, stoa_link **out);

static const stoa_link_ops tcp = STOA_FABRIC_OPS("ofi+tcp", open_tcp);
static const stoa_link_ops verbs = STOA_FABRIC_OPS("ofi+verbs", open_verbs);

static stoa_err open_tcp(const char *address, const stoa_link_options *options, stoa_link **out)
{
    return stoa_fabric_open(&tcp, &stoa_ofi_carrier, address, options, out);
}

static stoa_err open_verbs(const char *address, const stoa_link_options *options, stoa_link **out)
{
    return stoa_fabric_open(&verbs, &stoa_ofi_carrier, address, options, out);
}

const stoa_link_module *stoa_link_module_open(const stoa_link_host *host)
{
    static const stoa_link_ops *const schemes[] = {&tcp, &verbs, NULL};
    static const stoa_link_module module = {STOA_VERSION, schemes};
    stoa_link_host_set(host);
    return &module;
}
