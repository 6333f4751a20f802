/* stoa_client.h - talk to a Stoa node from C: orders, balances, books, rooms, and streams of all of them.
 *
 *     stoa_client *client;
 *     stoa_client_options options = {.endpoint = "zmq+tcp://127.0.0.1:7400", .server_key = "server.pub", .key = "alice"};
 *     stoa_err err = stoa_client_open(&options, &client);
 *     trade_account_place order = {.client_order_id = 1, .symbol = stoa_text("BTCUSDT"), .side = trade_side_BUY};
 *     trade_order placed;
 *     if (!err) { err = stoa_client_decimal("60000.5", &order.price); }
 *     if (!err) { err = stoa_client_decimal("0.01", &order.qty); }
 *     if (!err) { err = stoa_client_place(client, "alice", &order, STOA_CLIENT_S(5), &placed, NULL); }
 *     stoa_client_close(client);
 *
 * Shapes. Payloads are the structs of the node's own tables (the _msgs.h files, installed beside this one), described in
 * docs/reference/protocol.md. Prices, quantities and amounts are stoa_decimal: whole numbers of 10^-8. Texts are stoa_textN:
 * a length and up to N bytes of UTF-8, without a NUL. Times ending in _ns are nanoseconds UTC; deadlines are durations.
 *
 * Ids. client_order_id and client_post_id are chosen by you, never 0, and make a retry safe: the same id with the same fields
 * is answered with what the first request did (DUPLICATE with other fields). The library retries by itself, within the
 * deadline, over lost connections and restarts of the node, always with the same ids. A call that returns TIMEOUT has an
 * unknown outcome: make it again with the same id, or query.
 *
 * Connection. It is made and made again by the library. Calls wait for it within their deadline. DENIED: the node does not
 * know this key, or is another one than server_key says; VERSION: it speaks another version. Before DENIED is told the files of both
 * keys are read again, and NAME.next.pub beside NAME.pub of the node, so that either may be rotated while a program runs.
 *
 * Streams. After a lost connection a stream goes on where it was. Numbers that cannot be had any more are told by an item of
 * class GAP. For books and orders a fresh snapshot follows the gap.
 *
 * Threads. One thread at a time per client; the library has none of its own but libzmq's. Nothing happens outside the calls:
 * callbacks run on the caller's thread, inside stoa_client_poll and inside calls that wait. A callback may start calls
 * (stoa_client_start) and unsubscribe; calls that wait, poll and close return INVALID there. Poll at least every few seconds:
 * who does not read gets gaps, not an endless queue.
 *
 * Errors are those of base/error.h, by name; stoa_client_error_text has what the node said about the last one.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef STOA_CLIENT_H
#define STOA_CLIENT_H

#include <stdbool.h>
#include <stdint.h>

#include "actors/market/book_msgs.h"
#include "actors/market/feed_msgs.h"
#include "actors/plugin/plugin_msgs.h"
#include "actors/room/room_msgs.h"
#include "actors/trade/account_msgs.h"
#include "actors/trade/book_msgs.h"
#include "base/decimal.h"
#include "base/durability.h"
#include "base/error.h"
#include "base/text.h"

#define STOA_CLIENT_API __attribute__((visibility("default")))

#define STOA_CLIENT_MS(n) ((uint64_t)(n)*UINT64_C(1000000))
#define STOA_CLIENT_S(n)  ((uint64_t)(n)*UINT64_C(1000000000))

typedef struct stoa_client stoa_client;

typedef struct stoa_client_options {
    const char *endpoint;   /* "zmq+tcp://host:port" or "zmq+ipc://path" */
    const char *server_key; /* file with the node's public key: "server.pub" */
    const char *key;        /* own key pair without its ending: "alice" for alice.key */
    const char *name;       /* of the program, for the node's operator; NULL: none */
    uint32_t calls_max;     /* under way at once; 0: 256, at most 4096 */
} stoa_client_options;

/* Read the keys and begin to connect; does not wait for the node. Options are copied.
 * Errors: INVALID (endpoint, key), NOT_FOUND (files), DENIED (a secret key that others may read), UNSUPPORTED, NOMEM, IO. */
STOA_CLIENT_API stoa_err stoa_client_open(const stoa_client_options *options, stoa_client **out);

/* Calls under way are not called back any more. NULL is allowed. */
STOA_CLIENT_API void stoa_client_close(stoa_client *client);

/* Wait until there is a session, for who wants to know early. Errors: TIMEOUT, DENIED, VERSION. */
STOA_CLIENT_API stoa_err stoa_client_wait(stoa_client *client, uint64_t deadline_ns);

typedef struct stoa_client_view {
    bool connected;                     /* there is a session */
    char identity[32];                  /* the name that the node knows this key by */
    char server[64];                    /* what the node calls itself */
    uint64_t sessions;                  /* begun since open: reconnects + 1 */
    uint32_t calls, streams;            /* under way */
    uint32_t requests_max, streams_max; /* the node's limits */
    stoa_err refused;                   /* why the node does not take this client, OK while that is not known */
} stoa_client_view;
STOA_CLIENT_API void stoa_client_look(const stoa_client *client, stoa_client_view *out);

/* --- events */

/* Handle what is there; wait up to timeout_ns for the first of it. OK: something was handled; AGAIN: nothing came;
 * DENIED, VERSION: the node does not take this client (it is tried again all the same); INVALID: called from a callback. */
STOA_CLIENT_API stoa_err stoa_client_poll(stoa_client *client, uint64_t timeout_ns);

/* A descriptor for your own poll loop: readable when stoa_client_poll(client, 0) has something to do. Valid until close. */
STOA_CLIENT_API int stoa_client_fd(stoa_client *client);

/* --- calls that wait. deadline_ns: how long at most. stamp_out (may be NULL): what the answer is worth; a refusal has one too.
 * Errors of all: TIMEOUT (outcome unknown), DENIED, VERSION, INVALID, FULL (too much under way), NOT_FOUND, UNKNOWN_SYMBOL;
 * those of RANGE, PRECISION, TOO_LARGE for fields. Outputs are untouched on failure. */
typedef struct stoa_client_stamp {
    uint64_t position; /* in the journal of the shard that answered, 0: none */
    stoa_durability durability;
} stoa_client_stamp;

/* Place an order; *out is the order as it stands when matching is done. A rejected order is OK with status REJECTED and its
 * reason. Errors also: DUPLICATE (the client_order_id with other fields), STALE (an id too old to be known: it was not executed now, and
 * may have been before; query it. The client goes on in a new session, so the next call is not STALE for the same reason). */
STOA_CLIENT_API stoa_err stoa_client_place(stoa_client *client, const char *account, const trade_account_place *order,
                                           uint64_t deadline_ns, trade_order *out, stoa_client_stamp *stamp_out);
/* Cancel or look up an order by order_id, or by client_order_id where order_id is 0. Cancelling a final order is OK. */
STOA_CLIENT_API stoa_err stoa_client_cancel(stoa_client *client, const char *account, uint64_t order_id,
                                            uint64_t client_order_id, uint64_t deadline_ns, trade_order *out,
                                            stoa_client_stamp *stamp_out);
STOA_CLIENT_API stoa_err stoa_client_query(stoa_client *client, const char *account, uint64_t order_id,
                                           uint64_t client_order_id, uint64_t deadline_ns, trade_order *out,
                                           stoa_client_stamp *stamp_out);
/* Up to 64 orders with ids above after_order_id, ascending; out->more: there are others behind them. */
STOA_CLIENT_API stoa_err stoa_client_orders(stoa_client *client, const char *account, uint64_t after_order_id,
                                            bool open_only, uint64_t deadline_ns, trade_account_page *out,
                                            stoa_client_stamp *stamp_out);
STOA_CLIENT_API stoa_err stoa_client_balances(stoa_client *client, const char *account, uint64_t deadline_ns,
                                              trade_account_holdings *out, stoa_client_stamp *stamp_out);

/* Become a member of a room; only members post, read and listen. Again is no change. */
STOA_CLIENT_API stoa_err stoa_client_join(stoa_client *client, const char *room, uint64_t deadline_ns,
                                          stoa_client_stamp *stamp_out);
STOA_CLIENT_API stoa_err stoa_client_leave(stoa_client *client, const char *room, uint64_t deadline_ns,
                                           stoa_client_stamp *stamp_out);
/* Post a text of 1 to 1022 bytes of UTF-8 without control characters but newline and tab. Errors also: DUPLICATE. */
STOA_CLIENT_API stoa_err stoa_client_post(stoa_client *client, const char *room, uint64_t client_post_id,
                                          const char *text, uint64_t deadline_ns, room_posted *out,
                                          stoa_client_stamp *stamp_out);
/* Up to limit (at most 16, 0: 16) posts from from_seq on; from_seq 0: the newest. */
STOA_CLIENT_API stoa_err stoa_client_history(stoa_client *client, const char *room, uint64_t from_seq, uint64_t limit,
                                             uint64_t deadline_ns, room_page *out, stoa_client_stamp *stamp_out);
STOA_CLIENT_API stoa_err stoa_client_members(stoa_client *client, const char *room, uint64_t deadline_ns,
                                             room_roster *out, stoa_client_stamp *stamp_out);

/* Send an actor of a plug-in, which the client was given, a message: its fields as a JSON object, "" for none; and be answered with
 * those of the reply. The node does not remember such requests: what is sent again is done again. */
STOA_CLIENT_API stoa_err stoa_client_plugin_ask(stoa_client *client, const char *plugin, const char *instance, const char *message,
                                                const char *payload, uint64_t deadline_ns, plugin_answer *out,
                                                stoa_client_stamp *stamp_out);

/* The best levels of a book here, and of a venue's ("binance.BTCUSDT"); limit at most 64 a side, 0: 64. */
STOA_CLIENT_API stoa_err stoa_client_depth(stoa_client *client, const char *symbol, uint64_t limit,
                                           uint64_t deadline_ns, trade_book_view *out, stoa_client_stamp *stamp_out);
STOA_CLIENT_API stoa_err stoa_client_market(stoa_client *client, const char *venue_symbol, uint64_t limit,
                                            uint64_t deadline_ns, market_book_state *out, stoa_client_stamp *stamp_out);

/* --- calls that do not wait */

typedef enum stoa_client_op {
#define CLIENT_OP(id, no, name, table, row, target, right, author) STOA_CLIENT_##id = (no),
#include "actors/client/protocol.def"
} stoa_client_op;

typedef struct stoa_client_answer {
    stoa_err error;
    const char *text;    /* of an error; else "" */
    const void *payload; /* of the operation's reply, NULL on error; gone when the callback returns */
    stoa_client_stamp stamp;
} stoa_client_answer;
typedef void (*stoa_client_done)(void *context, const stoa_client_answer *answer);

/* Begin a call; done is called exactly once, from a later poll, with the answer or TIMEOUT. payload: the operation's struct,
 * copied (trade_account_place for STOA_CLIENT_ORDER_PLACE; the author of room operations is filled in by the node). Session
 * operations (hello, ping, subscribe, unsubscribe) are the library's own: INVALID.
 * Errors (done is not called then): INVALID, FULL, TOO_LARGE, NOMEM. */
STOA_CLIENT_API stoa_err stoa_client_start(stoa_client *client, stoa_client_op op, const char *target,
                                           const void *payload, uint64_t deadline_ns, stoa_client_done done,
                                           void *context);

/* --- streams */

typedef enum stoa_client_stream {
#define CLIENT_STREAM(id, no, name, target, topic, snapshot, change, order) STOA_CLIENT_STREAM_##id = (no),
#include "actors/client/protocol.def"
} stoa_client_stream;

typedef enum stoa_client_item_class {
    STOA_CLIENT_GAP = -1, /* from_seq .. to_seq will not come; to_seq < from_seq: what you saw behind to_seq is void */
    STOA_CLIENT_END = -2, /* the stream is over: error, text */
#define CLIENT_ITEM(id, no, name, table, row, cls) STOA_CLIENT_ITEM_##id = (no),
#include "actors/client/protocol.def"
} stoa_client_item_class;

typedef struct stoa_client_item {
    uint64_t stream; /* as stoa_client_subscribe gave it */
    stoa_client_item_class cls;
    stoa_err error;            /* END */
    const char *text;          /* END */
    uint64_t from_seq, to_seq; /* GAP */
    uint64_t seq;              /* of a change: its own; of a snapshot: of the newest change it holds */
    stoa_client_stamp stamp;
    union { /* by cls; gone when the callback returns */
        const void *any;
        const trade_account_update *order;
        const trade_account_page *orders; /* open orders; more: further pages follow */
        const trade_book_view *book;
        const market_feed_diff *diff; /* more: further parts of the same change follow */
        const market_feed_trade *trade;
        const room_message *message;
        const market_feed_top *top;
        const market_book_state *mirror;
    } as;
} stoa_client_item;
typedef void (*stoa_client_on_item)(void *context, const stoa_client_item *item);

/* after: the last number you have seen, to go on behind it; STOA_CLIENT_NOW: begin with a snapshot (orders, books) or with
 * what comes next. Waits for the node's consent; items may be called back before it returns.
 * Errors: as for calls; DENIED (not your account, not a member). */
#define STOA_CLIENT_NOW UINT64_MAX
STOA_CLIENT_API stoa_err stoa_client_subscribe(stoa_client *client, stoa_client_stream stream, const char *target,
                                               uint64_t after, stoa_client_on_item on_item, void *context,
                                               uint64_t deadline_ns, uint64_t *stream_out);
/* No item of it is called back any more. Does not wait. Errors: NOT_FOUND. */
STOA_CLIENT_API stoa_err stoa_client_unsubscribe(stoa_client *client, uint64_t stream);

/* --- helpers */

/* What the node said about the last error of a call that waits; "" when it said nothing. Valid until the next call.
 * client NULL: why this thread's last stoa_client_open failed. */
STOA_CLIENT_API const char *stoa_client_error_text(const stoa_client *client);
/* "TIMEOUT", what it means, what to do about it. */
STOA_CLIENT_API const char *stoa_client_error_name(stoa_err err);
STOA_CLIENT_API const char *stoa_client_error_meaning(stoa_err err);
STOA_CLIENT_API const char *stoa_client_error_remedy(stoa_err err);
/* "none", "memory", "disk", "replica", "quorum". */
STOA_CLIENT_API const char *stoa_client_durability_name(stoa_durability durability);
/* "open", "filled", ...; "insufficient_funds", ...: the words of docs/reference/protocol.md; "unknown" for others. */
STOA_CLIENT_API const char *stoa_client_status_name(trade_status status);
STOA_CLIENT_API const char *stoa_client_reason_name(trade_reason reason);
/* "60000.5" to 6000050000000. Errors: MALFORMED, PRECISION (more than 8 decimals), RANGE. */
STOA_CLIENT_API stoa_err stoa_client_decimal(const char *text, stoa_decimal *out);
/* And back, into STOA_DECIMAL_TEXT_MAX bytes; returns text. */
STOA_CLIENT_API const char *stoa_client_decimal_text(stoa_decimal value, char *text);

#endif
