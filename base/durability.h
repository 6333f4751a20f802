/* durability.h - what an acknowledgement promises: the word that every answer carries, from shard to client. Wire format.
 *
 *     none      nothing: forgotten when the process ends
 *     memory    survives the death of an actor, not of the process
 *     disk      synced to this machine's disk
 *     replica   durable on one other machine as well
 *     quorum    durable on a majority of the copies
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef STOA_BASE_DURABILITY_H
#define STOA_BASE_DURABILITY_H

#include "base/api.h"
#include "base/table.h"

STOA_API_BEGIN

#define stoa_durability_VALUES(V, E)                                                                                   \
    V(E, NONE, "none") V(E, MEMORY, "memory") V(E, DISK, "disk") V(E, REPLICA, "replica") V(E, QUORUM, "quorum")
STOA_ENUM(stoa_durability)

STOA_API_END

#endif
