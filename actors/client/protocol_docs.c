/* protocol_docs.c - the client protocol as a page that one can write a client from: what the tables say is printed from the
 * tables, the examples are encoded by the codec itself, and what no table says stands here as text.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "actors/client/protocol_docs.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "actors/client/client_msgs.h"
#include "base/durability.h"

/* --- text */

static const char part_link[] =
    "# The client protocol\n"
    "\n"
    "Written by `stoad --dump-docs protocol` from `actors/client/protocol.def` and the tables of the kinds. Version "
    "1.\n"
    "\n"
    "This page is all one needs to write a client. Words in `code` are names of fields, frames or errors.\n"
    "\n"
    "1. [Connection](#1-connection) 2. [Encoding](#2-encoding) 3. [Frames](#3-frames) 4. [Session](#4-session)\n"
    "5. [Requests](#5-requests) 6. [Operations](#6-operations) 7. [Streams](#7-streams) 8. [Records](#8-records)\n"
    "9. [Errors](#9-errors) 10. [Examples](#10-examples)\n"
    "\n"
    "## 1. Connection\n"
    "\n"
    "The node listens with a ZeroMQ ROUTER socket (ZMTP 3.1); a client dials with a DEALER. An address "
    "`zmq+tcp://host:port`\n"
    "is ZeroMQ's `tcp://host:port`, `zmq+ipc://path` is `ipc://path`.\n"
    "\n"
    "- Security is CURVE. The client needs the node's public key (`CURVE_SERVERKEY`) and a key pair of its own\n"
    "  (`CURVE_PUBLICKEY`, `CURVE_SECRETKEY`), each the 40 characters of its Z85 text. Key files hold one such line:\n"
    "  `NAME.pub` the public key, `NAME.key` the secret one (mode 0600).\n"
    "- The client's public key is its identity: the node's configuration says which name and which accounts it stands "
    "for.\n"
    "  Nothing that a client writes about itself is believed. A key that is not listed, or a wrong server key, fails "
    "the\n"
    "  handshake: that is `DENIED`.\n"
    "- Leave `ROUTING_ID` unset; the node does not serve connections that choose their own.\n"
    "- One ZeroMQ message is one frame (section 3): a single part that is not empty.\n"
    "- An empty message means \"I am here\". A client may send one at any time, best one as the first message\n"
    "  (`PROBE_ROUTER`); the node may answer it with another. It carries nothing else.\n"
    "- A message of two parts, the first one empty, is the node's good-bye: this connection is not served any more, "
    "the\n"
    "  second part is the name of an error that says why. Close the socket.\n"
    "- A connection that is lost and dialled again, also by libzmq itself, is a new connection: begin with `hello`.\n"
    "- A message of more than 65536 bytes closes the connection it comes from.\n"
    "\n"
    "## 2. Encoding\n"
    "\n"
    "Everything is msgpack: integers, strings and arrays. Maps, floats and extension types are not used, and refused.\n"
    "Numbers may be sent in any integer form that holds them; the node sends the shortest.\n"
    "\n"
    "| type | msgpack | meaning |\n"
    "|---|---|---|\n"
    "| `uint8_t` ... `uint64_t`, `stoa_id` | integer >= 0 | within the bits named |\n"
    "| `int32_t`, `int64_t` | integer | within the bits named |\n"
    "| an enumeration (section 8) | integer | the number of one of its values |\n"
    "| `stoa_decimal` | string | exact decimal, `[-]digits[.digits]`, at most 8 decimals, magnitude below "
    "92233720368.54775808 |\n"
    "| `stoa_textN` | string | UTF-8 of at most N bytes |\n"
    "| a list | array | at most so many elements as its type says |\n"
    "| a record, a payload | array | its fields in the order given |\n"
    "| nothing | empty array | a payload without fields |\n"
    "\n"
    "Payloads grow at their end. Who reads takes missing trailing fields as zero, empty string or empty list, and "
    "ignores\n"
    "elements behind those it knows. Fields named `reserved...` are 0.\n"
    "\n"
    "Prices and quantities never pass through binary floating point. Times ending in `_ns` are nanoseconds since\n"
    "1970-01-01 UTC, those ending in `_ms` milliseconds.\n"
    "\n";

static const char part_frames[] =
    "## 3. Frames\n"
    "\n"
    "A frame is one array. `version` is 1. The second element of a request is the operation (section 6), that of what "
    "the\n"
    "node sends says what it is. Frames grow at their end as payloads do.\n"
    "\n"
    "| frame | direction | elements |\n"
    "|---|---|---|\n"
    "| request | client to node | `[version, op, id, target, payload, deadline_ms]`; `deadline_ms` may be left out |\n"
    "| answer | node to client | `[version, 100, id, 0, durability, position, payload]` |\n"
    "| refusal | node to client | `[version, 100, id, error, durability, position, text]`; `error` is negative |\n"
    "| item | node to client | `[version, 101, stream, item, seq, durability, position, payload]` |\n"
    "| gap | node to client | `[version, 102, stream, from_seq, to_seq]` |\n"
    "| end | node to client | `[version, 103, stream, error, text]` |\n"
    "\n"
    "- `op`, `id`, `stream`, `item`, `seq`, `from_seq`, `to_seq`, `position` are unsigned integers of up to 64 bits.\n"
    "- `id` is the client's; it comes back in the answer. It must not be that of a request without an answer, nor of "
    "a\n"
    "  stream that has not ended. 0 is used by the node for refusals of frames whose id it could not read.\n"
    "- `target` is a string: what the request is for, by name (section 6). Names are 1 to 30 of `A-Z a-z 0-9 _ -`.\n"
    "- `deadline_ms`: how long the node may take, 0 for the node's default; cut to the node's maximum.\n"
    "- `error` is a code of section 9, `text` says in words of at most 254 bytes what is wrong.\n"
    "- `durability` is what the answer is worth, and nothing that the answer tells of is worth less:\n  ";

static const char part_session[] =
    "- `position` is the place in the journal up to which the node vouches for with that durability; 0 where no "
    "journal\n"
    "  is involved. Positions of one shard (trading is one, the rooms are one) only grow.\n"
    "\n"
    "## 4. Session\n"
    "\n"
    "1. The first request of a connection is `hello`, with the range of versions the client speaks. The answer carries "
    "the\n"
    "   version chosen, the node's limits and the name that the client's key stands for. `VERSION`: there is none in "
    "common.\n"
    "2. `session` in `hello` is a number that the client keeps over its reconnects. A new connection of the same client\n"
    "   with the same number takes over: streams and requests of the old one are dropped. 0: nothing is taken over.\n"
    "   With `remember` 1 the node hands out the number: say any number above 2^63 or 0 in the first `hello`, and what\n"
    "   `welcome` says in `session` in all further ones. The requests of that session are remembered then (section 5).\n"
    "   A client that wants to repeat requests after a restart of its own keeps the number with them.\n"
    "3. Any other request without a session is refused with `CLOSED`: say `hello` and send the request again. This is "
    "what a\n"
    "   client sees whose connection libzmq renewed behind its back, or whose node was restarted.\n"
    "4. A client that has heard nothing for `heartbeat_ms` sends `ping`; when three times `heartbeat_ms` more pass "
    "without any\n"
    "   frame, the node is gone: dial anew. The node does not mind a silent client.\n"
    "5. Streams belong to the session. After a new `hello` subscribe again, with `resume` (section 7).\n"
    "\n"
    "## 5. Requests\n"
    "\n"
    "- Requests are answered in any order; each gets exactly one answer or refusal, unless the connection is lost.\n"
    "- A request without an answer after its deadline has an unknown outcome. The node says so too, with `TIMEOUT`.\n"
    "- **Every request may be repeated.** Orders and posts carry an id of the client's: `client_order_id` (unique per "
    "account)\n"
    "  and `client_post_id` (unique per author and room), never 0. A repeated request with the same id and the same "
    "fields\n"
    "  is answered with what the first one did, and does nothing. With other fields it is refused with `DUPLICATE`. "
    "All other\n"
    "  operations say the same when said twice. So after a lost connection send again, unchanged, what has no answer.\n"
    "- **Requests that are remembered.** With `remember`, (client, `session`, `id`) is the name of a request, and `id` counts\n"
    "  upwards within the session (1 to 2^50 - 1, gaps are fine, requests under way at once may overtake each other). A request\n"
    "  that had an effect is done once: whoever repeats its name gets the first answer again, with its position, also after a\n"
    "  restart of the node, as far as the answer's durability reaches; while it is under way, at the same time as the\n"
    "  first. Without an effect (a read, most refusals) a repeated request is simply handled again. The same name for another\n"
    "  request is `DUPLICATE`. A trading or room shard remembers 16,384 requests, 4,096 of one client, 64 sessions of one\n"
    "  client and 2,048 clients, the latest of each; a client that asks much forgets its own first. What it does not know any\n"
    "  more is refused with `STALE` and never executed: an `id` at or below the highest one forgotten of its session, a session\n"
    "  that is not above the highest one forgotten of its client, any session that is not above the highest one of a forgotten\n"
    "  client. Query the state then, and begin a new session. An answer above 4 KB is not kept: `TOO_LARGE`, it was done.\n";

static const char part_refusals[] =
    "- How long ids are remembered: an account knows its last 4096 orders, and refuses a `client_order_id` that is not "
    "above\n"
    "  the highest one it has forgotten with `STALE`, so count them upwards. A room knows the authors of its last 4096 "
    "posts.\n"
    "- A refusal is durable knowledge as an answer is: what it says was true at `position`.\n"
    "- A rejected order is no refusal: the answer is the order, with `status` rejected and the `reason`.\n"
    "- The node checks a request in this order and stops at the first that fails: `MALFORMED`, `VERSION`; `TOO_LARGE`\n"
    "  (a request has at most `frame_bytes_max` bytes); `NO_HANDLER` (no such operation); `CLOSED` (no session); "
    "`INVALID`\n"
    "  (target); `DENIED`; `UNAVAILABLE` (the node is stopping); `FULL` (more than `requests_max` unanswered); "
    "`INVALID`,\n"
    "  `RANGE`, `PRECISION`, `TOO_LARGE` (payload; the text names the field and what it may be); `NOT_FOUND`, `UNKNOWN_SYMBOL` (target). "
    "Then the\n"
    "  operation itself.\n"
    "- `UNAVAILABLE` and `FAILED` pass: send the same request again after a while. `FULL`: wait for answers first. `FAILED` of a\n"
    "  `plugin.ask` may come of the request itself, and what it did may be lost or not, as with `TIMEOUT`: a client sends it again only by its\n"
    "  user's word.\n"
    "- A target may be on another node, linked to this one. While that is lost, what was found there is `UNAVAILABLE`, and the text\n"
    "  names the node; what never was, or is there no more when the node is back, is `NOT_FOUND` (`UNKNOWN_SYMBOL`). A node remembers up to\n"
    "  16,384 such names, as long as it runs. A node that has just started knows no names of others: until those of its links have told them\n"
    "  (for `node.lost` and ten seconds, if one does not come) a name that is not here is `UNAVAILABLE`, and the text names them. A request that was under way to a node that is lost has an unknown outcome: `TIMEOUT`.\n"
    "- A `plugin.ask` is done by the plug-in's supervisor: this node's, or where it has no such plug-in that of a linked node, if both share\n"
    "  the kind `plugin` (`node.shares`). An `instance` that the supervisor has not is looked for on linked nodes that share the plug-in's kind.\n"
    "  `plugin ask` at the REPL goes the same way.\n"
    "\n";

static const char part_streams[] =
    "\n"
    "## 7. Streams\n"
    "\n"
    "`subscribe` begins a stream of its target. The request's `id` names the stream in all its frames from then on, "
    "until\n"
    "`unsubscribe`, an `end` frame, or the session's end. The answer comes before the first item.\n"
    "\n";

static const char part_stream_rules[] =
    "\n"
    "**Beginning.** With `resume` 0 a stream that has a snapshot begins with it, at sequence number `seq`; others "
    "begin with\n"
    "the next change, whose number is above `newest` of the answer. market.top begins with the newest top, if there is "
    "one.\n"
    "\n"
    "**Going on.** In a `DENSE` stream changes are numbered without holes. A change covers the numbers `first` to "
    "`last`:\n"
    "for a diff its `first_id` to `last_id`, for everything else just its own number; `seq` of the item is `last`. A\n"
    "client that has seen everything up to `n` expects a change with `first` <= `n` + 1 and `last` > `n`, and then "
    "has\n"
    "seen `last`. A change may come in several parts with the same numbers, all but the last with `more` = 1: it is "
    "seen when\n"
    "the last part is.\n"
    "\n"
    "**Resuming.** With `resume` 1 and `after` = the last number seen, the stream goes on behind it as if nothing had\n"
    "happened, where the node still can: it keeps `backlog_items` of each stream, and a room keeps its last 1024 "
    "posts.\n"
    "\n"
    "**Gaps.** `gap` says that the numbers `from_seq` to `to_seq` will not come; the next change has the number\n"
    "`to_seq` + 1. In a stream with a snapshot, a snapshot follows, and replaces what the client holds; its `seq` is "
    "`to_seq`.\n"
    "`to_seq` < `from_seq` says that the node's history ends before what the client has seen (it was less durable than "
    "the\n"
    "crash, or a venue began to count anew): what the client holds behind `to_seq` is void. A gap is also how a client "
    "that\n"
    "reads too slowly learns what it missed.\n"
    "\n"
    "**Ending.** `end` comes with the error that ended the stream: `DENIED` when the client left the room or lost the "
    "account.\n"
    "\n"
    "- *orders*: the snapshot lists the open orders, in as many pages as it takes, all with the same `seq`; the last "
    "page has\n"
    "  `more` = 0. Each change is an order as it stands after it. Changes that come behind a snapshot of several pages "
    "may tell\n"
    "  what a page has already told. An order that a client holds as open and that a snapshot after a gap does not "
    "list has\n"
    "  become final meanwhile: ask with order.query.\n"
    "- *book*, *market.diff*: the snapshot holds the best 64 levels of each side; a diff names levels with their new\n"
    "  quantities, 0 removes a level. Levels beyond the 64th are known only after a diff has named them.\n"
    "- *trades*, *market.trade*: one change per trade; `taker_side` is the side of the order that came later.\n"
    "- *room*: one change per post; the client must be a member.\n"
    "- *market.top*: `LATEST`: only the newest matters. Numbers may repeat and jump, there are no gaps. A side that is "
    "empty\n"
    "  has price and quantity 0; a top with both sides empty takes back the one before.\n"
    "- *market.trade*: `LOOSE`: numbers grow but may jump by themselves; a gap is told where items were dropped or may "
    "have\n"
    "  been missed.\n";

/* What a field's name and type do not say. */
static const struct {
    const char *field, *text;
} notes[] = {
    {"client.hello.version_min", "lowest version spoken"},
    {"client.hello.version_max", "highest version spoken"},
    {"client.hello.session", "kept over reconnects; 0: none"},
    {"client.hello.remember", "1: remember what was requested"},
    {"client.welcome.session", "to be said in further hellos; 0: nothing is remembered"},
    {"client.hello.client", "name of the program, for the operator"},
    {"client.welcome.version", "spoken from now on"},
    {"client.welcome.frame_bytes_max", "of a request"},
    {"client.welcome.requests_max", "without an answer, of all the client's sessions together"},
    {"client.welcome.streams_max", "of all the client's sessions together"},
    {"client.welcome.backlog_items", "kept per stream"},
    {"client.welcome.deadline_ms", "of a request that states none"},
    {"client.welcome.deadline_ms_max", "longer ones are cut"},
    {"client.welcome.server", "what the node calls itself"},
    {"client.welcome.identity", "the client's proven name"},
    {"client.pong.token", "the ping's"},
    {"client.pong.server_ns", "the node's clock"},
    {"client.subscribe.stream", "number of section 7"},
    {"client.subscribe.resume", "0 or 1"},
    {"client.subscribe.after", "last number seen; with resume 1"},
    {"client.subscribed.newest", "number of the newest change; 0: none, or unknown"},
    {"client.unsubscribe.stream", "id of the subscribe"},
    {"trade_account.place.client_order_id", "the client's, counted upwards"},
    {"trade_account.place.tif",
     "gtc: rests until cancelled; ioc: what does not trade at once is dropped; fok: all at once or "
     "nothing; post_only: rests, or is cancelled if it would trade"},
    {"trade_account.place.price", "a whole number of ticks of the symbol"},
    {"trade_account.place.qty", "a whole number of lots of the symbol"},
    {"trade_account.cancel.order_id", "or 0"},
    {"trade_account.cancel.client_order_id", "where order_id is 0"},
    {"trade_account.query.order_id", "or 0"},
    {"trade_account.query.client_order_id", "where order_id is 0"},
    {"trade_account.orders.after_order_id", "0: from the first on"},
    {"trade_account.orders.open_only", "0 or 1"},
    {"trade_account.page.more", "1: there are orders behind the last one"},
    {"trade_account.page.seq", "of the account's last update"},
    {"trade_account.holdings.day_pnl", "realised since 00:00 UTC, in quote units"},
    {"trade_account.update.seq", "counts the account's updates from 1"},
    {"trade_order.status", "filled, cancelled and rejected are final"},
    {"trade_order.reason", "why it was rejected or cancelled"},
    {"trade_order.fills", "trades so far"},
    {"trade_order.filled_notional", "sum of price times quantity of its trades"},
    {"trade_balance.free", "available to new orders"},
    {"trade_balance.reserved", "held by open orders"},
    {"trade_balance.transit", "minus the sum of the other two"},
    {"room.post.author", "filled in by the node"},
    {"room.post.client_post_id", "the client's"},
    {"room.history.author", "filled in by the node"},
    {"room.history.from_seq", "0: the newest"},
    {"room.history.limit", "1 to 16; 0: 16"},
    {"room.join.author", "filled in by the node"},
    {"room.leave.author", "filled in by the node"},
    {"room.members.author", "filled in by the node"},
    {"room.page.first_kept", "oldest post that the room still has"},
    {"room.page.last", "newest post of the room"},
    {"room.roster.last", "newest post of the room"},
    {"plugin.ask.instance", "which of the plug-in's actors; where it is not here, one of that key on a linked node"},
    {"plugin.ask.message", "a command or a cast of the plug-in's table"},
    {"plugin.ask.payload", "its fields as a JSON object; what is left out is zero; empty: all"},
    {"plugin.answer.payload", "the reply's fields as JSON; empty where the message has none"},
    {"trade_book.depth.limit", "levels a side, at most 64; 0: 64"},
    {"trade_book.view.last_id", "number of the last diff it holds"},
    {"trade_book.view.orders", "resting"},
    {"trade_book.view.trades", "number of the last trade"},
    {"trade_book.view.volume", "base units traded"},
    {"trade_book.view.bids", "best first"},
    {"trade_book.view.asks", "best first"},
    {"market_book.view.limit", "levels a side, at most 64; 0: 64"},
    {"market_book.state.last_id", "number of the last diff it holds"},
    {"market_feed.diff.more", "1: further parts follow"},
    {"market_feed.trade.taker_side", "a trade_side"},
    {"market_level.qty", "0 removes the level"},
};

/* --- types */

static const char *note_of(const stoa_type *record, const char *field)
{
    char name[128];
    (void)snprintf(name, sizeof name, "%s.%s", record->name, field);
    for (size_t i = 0; i < sizeof notes / sizeof notes[0]; i++) {
        if (strcmp(notes[i].field, name) == 0) { return notes[i].text; }
    }
    return "";
}

static bool is_empty(const stoa_type *record)
{
    return record->fields[0].type->cls == STOA_CLASS_NONE;
}

static void print_type(stoa_buf *out, const stoa_type *type)
{
    if (type->cls == STOA_CLASS_LIST) {
        stoa_buf_printf(out, "list of up to %" PRIu32 " `%s`", type->limit, type->element->name);
    } else {
        stoa_buf_printf(out, "`%s`", type->name);
    }
}

/* row: whose payload it is, NULL: nobody's. */
static void print_fields(stoa_buf *out, const stoa_row *row, const stoa_type *record)
{
    if (is_empty(record)) {
        stoa_buf_puts(out, "No fields: an empty array.\n");
        return;
    }
    stoa_buf_puts(out, "| # | field | type | |\n|---|---|---|---|\n");
    for (uint32_t i = 0; i < record->field_count; i++) {
        const stoa_field *field = &record->fields[i];
        stoa_buf_printf(out, "| %" PRIu32 " | `%s` | ", i, field->name);
        print_type(out, field->type);
        const char *note = note_of(record, field->name), *rule = row ? stoa_protocol_field_rule(row, field->name) : NULL;
        stoa_buf_printf(out, " | %s%s%s |\n", note, note[0] && rule ? "; " : "", rule ? rule : "");
    }
}

/* Types that payloads refer to, each once, in the order they are met. */
typedef struct type_list {
    const stoa_type *at[64];
    size_t count;
} type_list;

static void collect(type_list *list, const stoa_type *type);

static void collect_fields(type_list *list, const stoa_type *record)
{
    for (uint32_t i = 0; i < record->field_count; i++) {
        collect(list, record->fields[i].type);
    }
}

static void collect(type_list *list, const stoa_type *type)
{
    if (type->cls == STOA_CLASS_LIST) {
        collect(list, type->element);
        return;
    }
    if (type->cls != STOA_CLASS_RECORD && type->cls != STOA_CLASS_ENUM) { return; }
    for (size_t i = 0; i < list->count; i++) {
        if (list->at[i] == type) { return; }
    }
    STOA_ASSERT(list->count < sizeof list->at / sizeof list->at[0]);
    list->at[list->count++] = type;
    if (type->cls == STOA_CLASS_RECORD) { collect_fields(list, type); }
}

static void print_values(stoa_buf *out, const stoa_type *type)
{
    for (uint32_t i = 0; i < type->limit; i++) {
        stoa_buf_printf(out, "%s%" PRIu32 " %s", i ? ", " : "", i, type->values[i]);
    }
}

static void print_records(stoa_buf *out)
{
    type_list list = {0};
    for (uint32_t i = 0; i < stoa_protocol_op_count; i++) {
        collect_fields(&list, &stoa_protocol_ops[i].row->payload);
        collect_fields(&list, &stoa_protocol_ops[i].row->reply->payload);
    }
    for (uint32_t i = 0; i < stoa_protocol_item_count; i++) {
        collect_fields(&list, &stoa_protocol_items[i].row->payload);
    }
    stoa_buf_puts(out, "\n## 8. Records\n\nRecords and enumerations that payloads are made of.\n");
    for (size_t i = 0; i < list.count; i++) {
        const stoa_type *type = list.at[i];
        stoa_buf_printf(out, "\n### %s\n\n", type->name);
        if (type->cls == STOA_CLASS_RECORD) {
            print_fields(out, NULL, type);
        } else {
            print_values(out, type);
            stoa_buf_puts(out, "\n");
        }
    }
}

/* --- tables */

static const char *right_text(stoa_right right)
{
    static const char *const texts[] = {"any client", "the account's", "a member's", "the plug-in's"};
    return texts[right];
}

static void print_targets(stoa_buf *out)
{
    stoa_buf_puts(out, "## 6. Operations\n\nWhat `target` names:\n\n| target | example | | when there is none |\n"
                       "|---|---|---|---|\n");
    for (uint32_t i = 0; i < STOA_TARGET_COUNT; i++) {
        const stoa_protocol_target *target = &stoa_protocol_targets[i];
        stoa_buf_printf(out, "| %s | \"%s\" | %s | %s |\n", target->name, target->example, target->text,
                        i == STOA_TARGET_NONE ? "" : stoa_err_name(target->missing));
    }
    stoa_buf_puts(out, "\nA venue's symbol is the venue's name, a dot and the symbol.\n");
}

static void print_ops(stoa_buf *out)
{
    stoa_buf_puts(out, "\n| op | name | target | right | |\n|---|---|---|---|---|\n");
    for (uint32_t i = 0; i < stoa_protocol_op_count; i++) {
        const stoa_protocol_op *op = &stoa_protocol_ops[i];
        stoa_buf_printf(out, "| %" PRIu32 " | %s | %s | %s | %s |\n", op->no, op->name,
                        op->no == STOA_OP_SUBSCRIBE ? "the stream's" : stoa_protocol_targets[op->target].name,
                        right_text(op->right), op->row->doc);
    }
    for (uint32_t i = 0; i < stoa_protocol_op_count; i++) {
        const stoa_protocol_op *op = &stoa_protocol_ops[i];
        stoa_buf_printf(out, "\n### %" PRIu32 " %s\n\n%s\n\nRequest:\n\n", op->no, op->name, op->row->doc);
        print_fields(out, op->row, &op->row->payload);
        stoa_buf_printf(out, "\nAnswer: %s\n\n", op->row->reply->doc);
        print_fields(out, NULL, &op->row->reply->payload);
    }
}

static void print_streams(stoa_buf *out)
{
    static const char *const orders[] = {"DENSE", "LOOSE", "LATEST"};
    stoa_buf_puts(out, part_streams);
    stoa_buf_puts(out,
                  "| stream | name | target | right | snapshot | change | order |\n|---|---|---|---|---|---|---|\n");
    for (uint32_t i = 0; i < stoa_protocol_stream_count; i++) {
        const stoa_protocol_stream *stream = &stoa_protocol_streams[i];
        const stoa_protocol_item *snapshot = stoa_protocol_item_find(stream->snapshot);
        stoa_buf_printf(out, "| %" PRIu32 " | %s | %s | %s | %s | %s | `%s` |\n", stream->no, stream->name,
                        stoa_protocol_targets[stream->target].name,
                        right_text(stoa_protocol_targets[stream->target].listen), snapshot ? snapshot->name : "none",
                        stoa_protocol_item_find(stream->change)->name, orders[stream->order]);
    }
    stoa_buf_puts(out, part_stream_rules);
    for (uint32_t i = 0; i < stoa_protocol_item_count; i++) {
        const stoa_protocol_item *item = &stoa_protocol_items[i];
        stoa_buf_printf(out, "\n### Item %" PRIu32 " %s\n\n%s\n\n", item->no, item->name, item->row->doc);
        print_fields(out, NULL, &item->row->payload);
    }
}

static void print_errors(stoa_buf *out)
{
    stoa_buf_puts(out, "\n## 9. Errors\n\n| code | name | what happened | what to do |\n|---|---|---|---|\n");
    for (unsigned i = 0; stoa_err_at(i) != STOA_OK; i++) {
        stoa_err err = stoa_err_at(i);
        stoa_buf_printf(out, "| %d | `%s` | %s | %s |\n", (int)err, stoa_err_name(err), stoa_err_text(err),
                        stoa_err_remedy(err));
    }
}

/* --- examples */

static void print_hex(stoa_buf *out, const stoa_writer *w)
{
    for (size_t i = 0; i < w->used_bytes; i++) {
        stoa_buf_printf(out, "%s%02x", i == 0 ? "    " : i % 24 ? " " : "\n    ", w->at[i]);
    }
    stoa_buf_puts(out, "\n");
}

static void example_request(stoa_buf *out, const char *what, uint32_t op, uint64_t id, const char *target,
                            uint32_t deadline_ms, const void *payload)
{
    uint8_t bytes[512], encoded[256];
    const stoa_row *row = stoa_protocol_op_find(op)->row;
    stoa_writer w = {.at = bytes, .cap_bytes = sizeof bytes}, p = {.at = encoded, .cap_bytes = sizeof encoded};
    stoa_err err = stoa_encode(&row->payload, payload, &p);
    STOA_ASSERT(!err);
    stoa_request_frame_write(&w, op, id, target, deadline_ms, encoded, p.used_bytes);
    stoa_buf_printf(out, "\n%s: `[1, %" PRIu32 ", %" PRIu64 ", \"%s\", %s ", what, op, id, target, row->payload.name);
    stoa_print_json(&row->payload, payload, out);
    stoa_buf_printf(out, ", %" PRIu32 "]`\n\n", deadline_ms);
    print_hex(out, &w);
}

static void example_answer(stoa_buf *out, const char *what, uint64_t id, stoa_stamp stamp, const stoa_row *row,
                           const void *payload)
{
    uint8_t bytes[512];
    stoa_writer w = {.at = bytes, .cap_bytes = sizeof bytes};
    stoa_answer_frame_write(&w, id, stamp, &row->payload, payload);
    stoa_buf_printf(out, "\n%s: `[1, 100, %" PRIu64 ", 0, %" PRIu32 ", %" PRIu64 ", %s ", what, id, stamp.durability,
                    stamp.position, row->payload.name);
    stoa_print_json(&row->payload, payload, out);
    stoa_buf_puts(out, "]`\n\n");
    print_hex(out, &w);
}

static void example_item(stoa_buf *out, uint64_t stream, uint64_t seq, stoa_stamp stamp, const void *payload)
{
    uint8_t bytes[512], tail[512];
    const stoa_protocol_item *item = stoa_protocol_item_find(STOA_ITEM_TRADE);
    stoa_writer w = {.at = bytes, .cap_bytes = sizeof bytes}, t = {.at = tail, .cap_bytes = sizeof tail};
    stoa_item_tail_write(&t, item->no, seq, stamp, &item->row->payload, payload);
    stoa_item_frame_write(&w, stream, tail, t.used_bytes);
    stoa_buf_printf(out, "\nAn item: `[1, 101, %" PRIu64 ", %" PRIu32 ", %" PRIu64 ", %" PRIu32 ", %" PRIu64 ", %s ",
                    stream, item->no, seq, stamp.durability, stamp.position, item->row->payload.name);
    stoa_print_json(&item->row->payload, payload, out);
    stoa_buf_puts(out, "]`\n\n");
    print_hex(out, &w);
}

static void print_session_examples(stoa_buf *out)
{
    client_hello hello = {.version_min = 1, .version_max = 1, .session = 0, .client = stoa_text("example"), .remember = 1};
    client_welcome welcome = {.version = 1,
                              .heartbeat_ms = 1000,
                              .frame_bytes_max = STOA_PROTOCOL_REQUEST_MAX,
                              .requests_max = 256,
                              .streams_max = 64,
                              .backlog_items = 4096,
                              .deadline_ms = 5000,
                              .deadline_ms_max = 60000,
                              .server = stoa_text("stoa"),
                              .identity = stoa_text("alice"),
                              .session = (3 << 22) + 1};
    example_request(out, "hello", STOA_OP_HELLO, 1, "", 0, &hello);
    example_answer(out, "Its answer", 1, (stoa_stamp){0}, &client_rows[client_ROW_welcome], &welcome);
}

static void print_order_examples(stoa_buf *out)
{
    trade_account_place order = {.client_order_id = 42,
                                 .symbol = stoa_text("BTCUSDT"),
                                 .side = trade_side_SELL,
                                 .price = INT64_C(6000050000000),
                                 .qty = 1000000};
    trade_account_order placed = {.order = {.order_id = 7,
                                            .client_order_id = 42,
                                            .symbol = order.symbol,
                                            .side = order.side,
                                            .status = trade_status_OPEN,
                                            .price = order.price,
                                            .qty = order.qty,
                                            .placed_ns = UINT64_C(1700000000000000000),
                                            .changed_ns = UINT64_C(1700000000000000000)}};
    uint8_t bytes[128];
    stoa_writer w = {.at = bytes, .cap_bytes = sizeof bytes};
    stoa_stamp disk = {.durability = stoa_durability_DISK, .position = 1234};
    example_request(out, "An order", STOA_OP_ORDER_PLACE, 2, "alice", 2000, &order);
    example_answer(out, "Its answer", 2, disk, &trade_account_rows[trade_account_ROW_order], &placed);
    disk.error = STOA_E_DUPLICATE;
    stoa_refusal_frame_write(&w, 3, disk, stoa_err_text(disk.error));
    stoa_buf_printf(
        out, "\nThe same `client_order_id` with another price: `[1, 100, 3, %d, %" PRIu32 ", %" PRIu64 ", \"%s\"]`\n\n",
        (int)disk.error, disk.durability, disk.position, stoa_err_text(disk.error));
    print_hex(out, &w);
}

static void print_stream_examples(stoa_buf *out)
{
    client_subscribe subscribe = {.stream = STOA_STREAM_TRADES, .resume = 1, .after = 100};
    market_feed_trade trade = {.symbol = stoa_text("BTCUSDT"),
                               .trade_id = 150,
                               .venue_time_ms = UINT64_C(1700000000000),
                               .price = INT64_C(6000050000000),
                               .qty = 1000000,
                               .taker_side = trade_side_BUY};
    uint8_t bytes[128];
    stoa_writer w = {.at = bytes, .cap_bytes = sizeof bytes};
    example_request(out, "Trades, behind number 100", STOA_OP_SUBSCRIBE, 4, "BTCUSDT", 0, &subscribe);
    stoa_gap_frame_write(&w, 4, 101, 149);
    stoa_buf_puts(out, "\nThe backlog has lost some: `[1, 102, 4, 101, 149]`\n\n");
    print_hex(out, &w);
    example_item(out, 4, 150, (stoa_stamp){STOA_OK, stoa_durability_DISK, 1300}, &trade);
    w.used_bytes = 0;
    stoa_end_frame_write(&w, 5, STOA_E_DENIED, "the client left the room");
    stoa_buf_printf(out, "\nThe end of another stream: `[1, 103, 5, %d, \"the client left the room\"]`\n\n",
                    (int)STOA_E_DENIED);
    print_hex(out, &w);
}

/* --- the page */

void stoa_protocol_print_docs(stoa_buf *out)
{
    stoa_buf_puts(out, part_link);
    stoa_buf_puts(out, part_frames);
    print_values(out, &stoa_type_stoa_durability);
    stoa_buf_puts(
        out,
        ".\n  What is none or memory is lost with the process, disk survives it and a power cut, replica and quorum\n"
        "  survive the machine.\n");
    stoa_buf_puts(out, part_session);
    stoa_buf_puts(out, part_refusals);
    print_targets(out);
    print_ops(out);
    print_streams(out);
    print_records(out);
    print_errors(out);
    stoa_buf_puts(
        out, "\n## 10. Examples\n\nIn hexadecimal, as they are sent. Fields are shown by name for the reader; on the "
             "wire there are only their values.\n");
    print_session_examples(out);
    print_order_examples(out);
    print_stream_examples(out);
}

const char *stoa_protocol_docs_note(size_t index)
{
    return index < sizeof notes / sizeof notes[0] ? notes[index].field : NULL;
}
