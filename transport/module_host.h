/* module_host.h - the module's side of transport/module.h.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef STOA_TRANSPORT_MODULE_HOST_H
#define STOA_TRANSPORT_MODULE_HOST_H

#include "transport/module.h"

/* Where errors and panics go from now on. First of all calls. */
void stoa_link_host_set(const stoa_link_host *of);

/* The module's entry. */
__attribute__((visibility("default"))) stoa_link_module_entry stoa_link_module_open;

#endif
