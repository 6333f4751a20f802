/* room_msgs.h - what a chat room (room/NAME) takes, decides and publishes.
 *
 * Posts have durable sequence numbers from 1 without gaps. author is put in by the gateway from the proven identity; an
 * empty author is the node itself, which may read every room and join none.
 *
 * Errors: DENIED (author is not a member), INVALID (author, client_post_id 0, a text that is empty, not UTF-8 or has a
 * control character other than newline and tab), DUPLICATE (the client_post_id with another text), FULL (members).
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef STOA_ACTORS_ROOM_ROOM_MSGS_H
#define STOA_ACTORS_ROOM_ROOM_MSGS_H

#include "base/table.h"

#define room_entry_FIELDS(F, S)                                                                                        \
    F(S, uint64_t, seq)                                                                                                \
    F(S, uint64_t, at_ns) F(S, uint64_t, client_post_id) F(S, stoa_text30, author) F(S, stoa_text1022, text)
STOA_RECORD(room_entry)
STOA_LIST(room_entries, room_entry, 16)
STOA_LIST(room_names, stoa_text30, 256)

/* client_post_id: chosen by the author, not 0; known among the room's last 4096 posts. text: 1 to 1022 bytes. */
#define room_post_FIELDS(F, S)    F(S, stoa_text30, author) F(S, uint64_t, client_post_id) F(S, stoa_text1022, text)
#define room_posted_FIELDS(F, S)  F(S, uint64_t, seq) F(S, uint64_t, at_ns)
#define room_history_FIELDS(F, S) F(S, stoa_text30, author) F(S, uint64_t, from_seq) F(S, uint64_t, limit)
#define room_page_FIELDS(F, S)    F(S, uint64_t, first_kept) F(S, uint64_t, last) F(S, room_entries, entries)
#define room_join_FIELDS(F, S)    F(S, stoa_text30, author)
#define room_leave_FIELDS(F, S)   F(S, stoa_text30, author)
#define room_done_FIELDS          STOA_NO_FIELDS
#define room_members_FIELDS(F, S) F(S, stoa_text30, author)
#define room_roster_FIELDS(F, S)  F(S, uint64_t, last) F(S, room_names, members)
#define room_said_FIELDS(F, S)    F(S, room_entry, entry)
#define room_joined_FIELDS(F, S)  F(S, stoa_text30, author)
#define room_left_FIELDS(F, S)    F(S, stoa_text30, author)
/* Published on "room.<name>"; seq as in the entry. */
#define room_message_FIELDS(F, S) F(S, room_entry, entry)

#define room_ROWS(ROW, K)                                                                                              \
    ROW(K, COMMAND, post, posted, "Post a text. The same client_post_id with the same text answers the first post.")   \
    ROW(K, REPLY, posted, _, "The post's sequence number and time.")                                                   \
    ROW(K, COMMAND, history, page, "Up to limit (16; 0 means 16) posts from from_seq on (0: the newest).")             \
    ROW(K, REPLY, page, _, "Posts in order; first_kept is the oldest that is still held.")                             \
    ROW(K, COMMAND, join, done, "Become a member; again is no change.")                                                \
    ROW(K, COMMAND, leave, done, "Cease to be a member.")                                                              \
    ROW(K, REPLY, done, _, "Done.")                                                                                    \
    ROW(K, COMMAND, members, roster, "Who is a member.")                                                               \
    ROW(K, REPLY, roster, _, "Members in order of joining.")                                                           \
    ROW(K, EVENT, said, _, "A text was posted.")                                                                       \
    ROW(K, EVENT, joined, _, "Somebody became a member.")                                                              \
    ROW(K, EVENT, left, _, "Somebody left.")                                                                           \
    ROW(K, TOPIC, message, _, "A text was posted.")
STOA_TABLE(room)

/* Whether a room takes it as a post's. */
bool room_text_is_good(const stoa_text1022 *text);

#endif
