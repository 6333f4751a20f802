/* shm/link.h - the shared memory implementation of transport/link.h; shm/link.c says how it works.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef STOA_TRANSPORT_SHM_LINK_H
#define STOA_TRANSPORT_SHM_LINK_H

#include "transport/link.h"

extern const stoa_link_ops stoa_link_shm;

#endif
