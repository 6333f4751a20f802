/* room_msgs.c - the table of room.
 *
 * A table has a source file of its own, without handlers: the client library links it without the runtime.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "actors/room/room_msgs.h"

STOA_RECORD_DEFINE(room_entry)
STOA_LIST_DEFINE(room_entries, room_entry, 16)
STOA_LIST_DEFINE(room_names, stoa_text30, 256)
STOA_TABLE_DEFINE(room)
