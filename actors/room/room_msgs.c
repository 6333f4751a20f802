/* room_msgs.c - the table of room, and what a post's text may be.
 *
 * A table has a source file of its own, without handlers: the client library links it without the runtime.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "actors/room/room_msgs.h"

#include "base/utf8.h"

STOA_RECORD_DEFINE(room_entry)
STOA_LIST_DEFINE(room_entries, room_entry, 16)
STOA_LIST_DEFINE(room_names, stoa_text30, 256)
STOA_TABLE_DEFINE(room)

/* A control character: C0 but for tab and newline, DEL, or C1 (two bytes in UTF-8). */
static bool has_control(const stoa_text1022 *text)
{
    for (size_t i = 0; i < text->len; i++) {
        unsigned char c = (unsigned char)text->at[i];
        if ((c < 0x20 && c != '\t' && c != '\n') || c == 0x7f) { return true; }
        if (c == 0xc2 && i + 1 < text->len && (unsigned char)text->at[i + 1] < 0xa0) { return true; }
    }
    return false;
}

bool room_text_is_good(const stoa_text1022 *text)
{
    return text->len > 0 && stoa_utf8_prefix(text->at, text->len) == text->len && !has_control(text);
}
