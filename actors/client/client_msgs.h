/* client_msgs.h - what clients and the gateway say to each other: the session's own payloads, the tables of operations, items
 * and streams (protocol.def), and the frames around all of it. docs/reference/protocol.md is the same for people.
 *
 * A frame is one msgpack array. A reader takes longer arrays than it knows and shorter ones down to what is listed here.
 *
 *     request  [version, op, id, target, payload, deadline_ms]   deadline_ms may be left out; 0: the server's default
 *     answer   [version, 100, id, error, durability, position, payload]   error 0; otherwise a text stands for the payload
 *     item     [version, 101, stream, item, seq, durability, position, payload]
 *     gap      [version, 102, stream, from_seq, to_seq]
 *     end      [version, 103, stream, error, text]
 *
 * id is chosen by the client and comes back in the answer; that of a subscribe is the stream's name from then on.
 * error is 0 or the negative code of base/errors.def; durability is a stoa_durability.
 *
 * Nothing here allocates, blocks or keeps state; any thread.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef STOA_ACTORS_CLIENT_CLIENT_MSGS_H
#define STOA_ACTORS_CLIENT_CLIENT_MSGS_H

#include <stdbool.h>
#include <stdint.h>

#include "actors/market/book_msgs.h"
#include "actors/market/feed_msgs.h"
#include "actors/plugin/plugin_msgs.h"
#include "actors/room/room_msgs.h"
#include "actors/trade/account_msgs.h"
#include "actors/trade/book_msgs.h"
#include "base/table.h"
#include "base/wire.h"

/* --- the session's payloads */

/* Versions of the protocol the client speaks; session: a number that the client keeps over reconnects. remember 1: the ids of
 * this session's requests are their names, and what had an effect is not done again (runtime/requests.h). */
#define client_hello_FIELDS(F, S)                                                                                      \
    F(S, uint32_t, version_min) F(S, uint32_t, version_max) F(S, uint64_t, session) F(S, stoa_text62, client)          \
    F(S, uint64_t, remember)
/* version: what is spoken from now on. heartbeat_ms: ping when nothing came for so long; when three more pass without a
 * frame, the server is gone. frame_bytes_max: of a request. requests_max: unanswered at once. backlog_items: kept per stream
 * for slow and returning clients. deadline_ms: of a request that states none; a longer one is cut to deadline_ms_max.
 * identity: the name that the client's key stands for. session: whose requests are remembered, to be said in further hellos;
 * 0: they are not. */
#define client_welcome_FIELDS(F, S)                                                                                    \
    F(S, uint32_t, version)                                                                                            \
    F(S, uint32_t, heartbeat_ms)                                                                                       \
    F(S, uint32_t, frame_bytes_max)                                                                                    \
    F(S, uint32_t, requests_max)                                                                                       \
    F(S, uint32_t, streams_max)                                                                                        \
    F(S, uint32_t, backlog_items)                                                                                      \
    F(S, uint32_t, deadline_ms)                                                                                        \
    F(S, uint32_t, deadline_ms_max)                                                                                    \
    F(S, stoa_text62, server)                                                                                          \
    F(S, stoa_text30, identity)                                                                                        \
    F(S, uint64_t, session)
#define client_ping_FIELDS(F, S) F(S, uint64_t, token)
#define client_pong_FIELDS(F, S) F(S, uint64_t, token) F(S, uint64_t, server_ns) /* UTC */
/* stream: number of protocol.def. resume 1: go on behind sequence number after; 0: begin with a snapshot, or with what comes
 * next. */
#define client_subscribe_FIELDS(F, S)   F(S, uint32_t, stream) F(S, uint32_t, resume) F(S, uint64_t, after)
#define client_subscribed_FIELDS(F, S)  F(S, uint64_t, newest)
#define client_unsubscribe_FIELDS(F, S) F(S, uint64_t, stream)
#define client_done_FIELDS              STOA_NO_FIELDS

#define client_ROWS(ROW, K)                                                                                            \
    ROW(K, COMMAND, hello, welcome, "Begin a session; the first request of every connection.")                         \
    ROW(K, REPLY, welcome, _, "The session's limits.")                                                                 \
    ROW(K, COMMAND, ping, pong, "Show that both ends are there.")                                                      \
    ROW(K, REPLY, pong, _, "The ping's token and the server's clock.")                                                 \
    ROW(K, COMMAND, subscribe, subscribed,                                                                             \
        "Begin or resume a stream of the target; the request's id is the stream's.")                                   \
    ROW(K, REPLY, subscribed, _, "The stream's newest sequence number, 0 where the server cannot know it yet.")        \
    ROW(K, COMMAND, unsubscribe, done, "End a stream. Items under way may still come.")                                \
    ROW(K, REPLY, done, _, "Done.")
STOA_TABLE(client)

/* --- the tables of protocol.def */

typedef enum stoa_protocol_target_id {
#define CLIENT_TARGET(id, kind, missing, listen, example, text) STOA_TARGET_##id,
#include "actors/client/protocol.def"
    STOA_TARGET_COUNT
} stoa_protocol_target_id;

typedef enum stoa_right { STOA_RIGHT_ANY, STOA_RIGHT_ACCOUNT, STOA_RIGHT_MEMBER, STOA_RIGHT_PLUGIN } stoa_right;
typedef enum stoa_item_class { STOA_ITEM_CHANGE, STOA_ITEM_SNAPSHOT } stoa_item_class;
typedef enum stoa_stream_order { STOA_STREAM_DENSE, STOA_STREAM_LOOSE, STOA_STREAM_LATEST } stoa_stream_order;

typedef enum stoa_protocol_op_no {
#define CLIENT_OP(id, no, name, table, row, target, right, author) STOA_OP_##id = (no),
#include "actors/client/protocol.def"
} stoa_protocol_op_no;

typedef enum stoa_protocol_item_no {
    STOA_ITEM_NONE, /* of a stream without snapshots */
#define CLIENT_ITEM(id, no, name, table, row, cls) STOA_ITEM_##id = (no),
#include "actors/client/protocol.def"
} stoa_protocol_item_no;

typedef enum stoa_protocol_stream_no {
#define CLIENT_STREAM(id, no, name, target, topic, snapshot, change, order) STOA_STREAM_##id = (no),
#include "actors/client/protocol.def"
} stoa_protocol_stream_no;

typedef struct stoa_protocol_target {
    const char *name, *kind, *example, *text;
    stoa_err missing;
    stoa_right listen;
} stoa_protocol_target;

typedef struct stoa_protocol_op {
    uint32_t no;
    const char *name;
    const stoa_row *row;
    stoa_protocol_target_id target;
    stoa_right right;
    int32_t author; /* offset of the field author (stoa_text30) in the payload, -1: none */
} stoa_protocol_op;

typedef struct stoa_protocol_item {
    uint32_t no;
    const char *name;
    const stoa_row *row;
    stoa_item_class cls;
} stoa_protocol_item;

typedef struct stoa_protocol_stream {
    uint32_t no;
    const char *name;
    stoa_protocol_target_id target;
    const char *topic;         /* a format with one %s, the target */
    uint32_t snapshot, change; /* item numbers */
    stoa_stream_order order;
} stoa_protocol_stream;

extern const stoa_protocol_target stoa_protocol_targets[]; /* by stoa_protocol_target_id */
extern const stoa_protocol_op stoa_protocol_ops[];
extern const stoa_protocol_item stoa_protocol_items[];
extern const stoa_protocol_stream stoa_protocol_streams[];
extern const uint32_t stoa_protocol_op_count, stoa_protocol_item_count, stoa_protocol_stream_count;

/* The row with that number, or NULL. */
const stoa_protocol_op *stoa_protocol_op_find(uint64_t no);
const stoa_protocol_item *stoa_protocol_item_find(uint64_t no);
const stoa_protocol_stream *stoa_protocol_stream_find(uint64_t no);

/* Whether a decoded payload of the operation is as protocol.def has its fields. Errors: INVALID; the trail names the field, and what it is to be. */
stoa_err stoa_protocol_check(const stoa_protocol_op *op, const void *payload);
/* What a field is to be beyond its type, "above 0"; NULL: no more. */
const char *stoa_protocol_field_rule(const stoa_row *row, const char *field);
/* What the operation's refusal means, in words; NULL: what the error says. */
const char *stoa_protocol_refusal(const stoa_protocol_op *op, stoa_err error);

/* The newest sequence number that an item carries, and the oldest (they differ where one item covers several); *whole_out is
 * false for all but the last part of a change that was sent in parts. payload is the item's row, decoded. */
void stoa_protocol_item_seq(uint32_t item_no, const void *payload, uint64_t *first_out, uint64_t *last_out,
                            bool *whole_out);

enum {
    STOA_PROTOCOL_VERSION = 1,
    STOA_PROTOCOL_NAME_MAX = 30,       /* bytes of a target or identity */
    STOA_PROTOCOL_REQUEST_MAX = 16384, /* bytes of a request */
    STOA_PROTOCOL_FRAME_MAX = 65536,   /* bytes of what the server sends */
    STOA_PROTOCOL_TOKENS_MAX = 4096,
    STOA_PROTOCOL_TEXT_MAX = 254, /* bytes of an error's text */
};

/* A target: 1 to STOA_PROTOCOL_NAME_MAX of [A-Za-z0-9_-], for VENUE one '.' between two of them; empty for NONE. */
bool stoa_protocol_target_valid(stoa_protocol_target_id target, const char *text, size_t size_bytes);
/* The same in words, for who is refused. */
const char *stoa_protocol_target_text(stoa_protocol_target_id target);

/* --- frames */

typedef enum stoa_frame_class {
    STOA_FRAME_ANSWER = 100,
    STOA_FRAME_ITEM = 101,
    STOA_FRAME_GAP = 102,
    STOA_FRAME_END = 103,
} stoa_frame_class;

/* Scratch of a reader: what a frame's views point into. One per thread that reads. */
typedef struct stoa_frame_tokens {
    stoa_token at[STOA_PROTOCOL_TOKENS_MAX];
} stoa_frame_tokens;

/* A value inside a frame that was read. */
typedef struct stoa_frame_value {
    const stoa_token *tokens;
    uint32_t count;
} stoa_frame_value;

typedef struct stoa_request_frame {
    uint64_t op, id, deadline_ms;
    const char *target; /* not NUL-terminated */
    uint32_t target_bytes;
    stoa_frame_value payload;
} stoa_request_frame;

/* Read a request; views live as long as bytes and tokens. Errors: MALFORMED (no such array; op, id or deadline_ms no unsigned
 * integer, target no text), VERSION, TOO_LARGE (more values than tokens). out->id is the request's id also on an error, where
 * there was one to read, else 0. */
stoa_err stoa_request_frame_read(const void *bytes, size_t size_bytes, stoa_frame_tokens *tokens,
                                 stoa_request_frame *out);

/* Any frame of the server; which members count depends on cls. */
typedef struct stoa_server_frame {
    stoa_frame_class cls;
    stoa_err error;                /* ANSWER, END */
    uint64_t id;                   /* ANSWER: the request's; otherwise the stream's */
    uint64_t item, seq;            /* ITEM */
    uint64_t durability, position; /* ANSWER, ITEM */
    uint64_t from_seq, to_seq;     /* GAP */
    stoa_frame_value payload;      /* ANSWER without error, ITEM */
    const char *text;              /* ANSWER with error, END; not NUL-terminated */
    uint32_t text_bytes;
} stoa_server_frame;

/* Read what a server sent. Errors: MALFORMED, VERSION, TOO_LARGE. */
stoa_err stoa_server_frame_read(const void *bytes, size_t size_bytes, stoa_frame_tokens *tokens,
                                stoa_server_frame *out);

/* Append a frame. Check w->cut at the end. payload is of type; that of a request is msgpack already, as it may be sent more
 * than once. */
void stoa_request_frame_write(stoa_writer *w, uint32_t op, uint64_t id, const char *target, uint32_t deadline_ms,
                              const void *payload, size_t payload_bytes);
typedef struct stoa_stamp {
    stoa_err error;
    uint32_t durability; /* stoa_durability */
    uint64_t position;
} stoa_stamp;
void stoa_answer_frame_write(stoa_writer *w, uint64_t id, stoa_stamp stamp, const stoa_type *type, const void *payload);
void stoa_refusal_frame_write(stoa_writer *w, uint64_t id, stoa_stamp stamp, const char *text);
void stoa_gap_frame_write(stoa_writer *w, uint64_t stream, uint64_t from_seq, uint64_t to_seq);
void stoa_end_frame_write(stoa_writer *w, uint64_t stream, stoa_err error, const char *text);
/* An item without its first three words, which are the stream's: the same bytes serve all its subscribers. */
void stoa_item_tail_write(stoa_writer *w, uint32_t item, uint64_t seq, stoa_stamp stamp, const stoa_type *type,
                          const void *payload);
void stoa_item_frame_write(stoa_writer *w, uint64_t stream, const void *tail, size_t tail_bytes);

#endif
