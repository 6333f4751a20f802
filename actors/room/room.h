/* room.h - the kind "room": actors room/NAME in a shard. What it takes is in room_msgs.h.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef STOA_ACTORS_ROOM_ROOM_H
#define STOA_ACTORS_ROOM_ROOM_H

#include "runtime/actor.h"

extern const stoa_kind room_kind;

#endif
