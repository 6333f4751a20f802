/* address.h - whether the text of a link's address can be one: nothing is opened, and no name is looked up.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef STOA_TRANSPORT_ADDRESS_H
#define STOA_TRANSPORT_ADDRESS_H

#include <stdbool.h>
#include <stddef.h>

#include "base/error.h"

/* By scheme, what stands behind "://". Errors: INVALID, and the trail says what is wrong. */
stoa_err stoa_address_name_check(const char *place, bool listen);
stoa_err stoa_address_path_check(const char *place, bool listen); /* a socket's path, or @NAME */
stoa_err stoa_address_port_check(const char *place, bool listen); /* HOST:PORT; [HOST]:PORT where the host has colons */

/* The host of HOST:PORT that was checked, without brackets; whether it fits. */
bool stoa_address_host(const char *place, char *host, size_t host_bytes);
/* Whether a host is certainly not this machine alone: a number off loopback, or "*". Of names nothing is said. */
bool stoa_address_leaves(const char *host);
/* Whether a host is a name, which somebody must know. */
bool stoa_address_is_name(const char *host);

#endif
