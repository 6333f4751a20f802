/* gateway_kit.h - a node with a market and two rooms in this process, a gateway before it, and clients that
 * speak in frames.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef STOA_TESTS_UNIT_NODE_GATEWAY_KIT_H
#define STOA_TESTS_UNIT_NODE_GATEWAY_KIT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include <ftw.h>
#include <poll.h>

#include "actors/client/client_msgs.h"
#include "actors/risk/risk.h"
#include "actors/risk/risk_msgs.h"
#include "actors/room/room.h"
#include "actors/trade/trade.h"
#include "base/log.h"
#include "node/ports/gateway.h"
#include "storage/rocksdb/journal.h"
#include "transport/keys.h"

#define KIT_UNUSED __attribute__((unused))

STOA_PROXY(risk)
STOA_PROXY(trade_account)
STOA_PROXY(trade_book)
STOA_PROXY(room)

#define DEADLINE STOA_S(10)
enum { CLIENTS = 3, ALICE = 0, BOB = 1, CAROL = 2, FRAMES_MAX = 8192 };
KIT_UNUSED static const char *const client_names[CLIENTS] = {"alice", "bob", "carol"};

typedef struct world {
    char folder[64];
    stoa_node *node;
    stoa_shard *trade, *rooms;
    stoa_gateway *gateway;
    stoa_metrics *metrics;
    stoa_key_pair server, keys[CLIENTS + 1]; /* the last is nobody's */
    stoa_gateway_client clients[CLIENTS];
    uint64_t transfers;
} world;

/* --- the node */

static int remove_one(const char *path, const struct stat *status, int type, struct FTW *ftw)
{
    (void)status, (void)type, (void)ftw;
    return remove(path);
}

static stoa_decimal dec(const char *text)
{
    stoa_decimal out = 0;
    assert_int_equal(stoa_decimal_parse(text, strlen(text), &out), STOA_OK);
    return out;
}

static stoa_shard *open_shard(world *w, const char *name)
{
    char path[128];
    stoa_shard *shard = NULL;
    (void)snprintf(path, sizeof path, "%s/%s", w->folder, name);
    stoa_shard_options options = {
        .name = name, .durability = stoa_durability_DISK, .journal = &stoa_journal_rocksdb, .path = path};
    assert_int_equal(stoa_shard_open(w->node, &options, &shard), STOA_OK);
    return shard;
}

static stoa_ref spawn(world *w, stoa_shard *shard, const stoa_kind *kind, const char *name)
{
    stoa_ref ref = STOA_REF_NONE;
    assert_int_equal(stoa_spawn(w->node, kind, name, &(stoa_spawn_options){.shard = shard}, &ref), STOA_OK);
    return ref;
}

static void give(world *w, const char *to, const char *asset, const char *amount)
{
    trade_account_done done;
    trade_account_transfer in = {.transfer_id = ++w->transfers, .amount = dec(amount)};
    assert_int_equal(STOA_TEXT_SETZ(&in.to, to), STOA_OK);
    assert_int_equal(STOA_TEXT_SETZ(&in.asset, asset), STOA_OK);
    stoa_ref bank = stoa_find(w->node, "trade_account/bank");
    assert_int_equal(trade_account_call_transfer(w->node, bank, in, DEADLINE, &done), STOA_OK);
}

static void open_account(world *w, const char *name, uint64_t issuer)
{
    trade_account_done done;
    char full[64];
    (void)snprintf(full, sizeof full, "trade_account/%s", name);
    stoa_ref account = spawn(w, w->trade, &trade_account_kind, full);
    trade_account_open open = {.issuer = issuer};
    assert_int_equal(trade_account_call_open(w->node, account, open, DEADLINE, &done), STOA_OK);
}

static void open_market(world *w)
{
    static const trade_symbol symbol = {.name = stoa_text("BTCUSDT"),
                                        .base = stoa_text("BTC"),
                                        .quote = stoa_text("USDT"),
                                        .tick = 1000000,
                                        .lot = 100000,
                                        .margin_rate = STOA_DECIMAL_ONE};
    trade_book_done opened;
    risk_done listed;
    w->trade = open_shard(w, "trade");
    stoa_ref risk = spawn(w, w->trade, &risk_kind, "risk/main");
    stoa_ref book = spawn(w, w->trade, &trade_book_kind, "trade_book/BTCUSDT");
    assert_int_equal(trade_book_call_open(w->node, book, (trade_book_open){symbol}, DEADLINE, &opened), STOA_OK);
    assert_int_equal(risk_call_symbol(w->node, risk, (risk_symbol){symbol}, DEADLINE, &listed), STOA_OK);
    open_account(w, "bank", 1);
    for (int i = 0; i < CLIENTS; i++) {
        open_account(w, client_names[i], 0);
        give(w, client_names[i], "USDT", "10000000");
        give(w, client_names[i], "BTC", "1000");
    }
}

static void open_rooms(world *w)
{
    w->rooms = open_shard(w, "rooms");
    (void)spawn(w, w->rooms, &room_kind, "room/lobby");
    (void)spawn(w, w->rooms, &room_kind, "room/quiet");
}

static void open_gateway(world *w, stoa_gateway_options options)
{
    char address[128]; /* small socket buffers, so that a slow client is noticed soon */
    (void)snprintf(address, sizeof address, "zmq+ipc://%s/gateway", w->folder);
    options.listen = address;
    options.secret_key = w->server.secret_key;
    options.server_name = "kit";
    options.clients = w->clients;
    options.client_count = CLIENTS;
    options.metrics = w->metrics;
    if (!options.deadline_ms) { options.deadline_ms = 60000; } /* a slow machine is no fault */
    assert_int_equal(stoa_gateway_open(w->node, &options, &w->gateway), STOA_OK);
}

static world *world_new(stoa_gateway_options options)
{
    static const stoa_kind *const kinds[] = {&risk_kind, &trade_book_kind, &trade_account_kind, &room_kind, NULL};
    world *w = calloc(1, sizeof *w);
    stoa_log_level_set(STOA_LOG_OFF);
    (void)snprintf(w->folder, sizeof w->folder, "/tmp/stoa-gateway-XXXXXX");
    assert_non_null(mkdtemp(w->folder));
    assert_int_equal(stoa_metrics_new(&w->metrics), STOA_OK);
    assert_int_equal(stoa_node_open(&(stoa_options){.kinds = kinds, .idle = STOA_IDLE_ECO}, &w->node), STOA_OK);
    open_market(w);
    open_rooms(w);
    assert_int_equal(stoa_key_new(&w->server), STOA_OK);
    for (int i = 0; i <= CLIENTS; i++) {
        assert_int_equal(stoa_key_new(&w->keys[i]), STOA_OK);
    }
    for (int i = 0; i < CLIENTS; i++) {
        stoa_gateway_client *client = &w->clients[i];
        assert_int_equal(STOA_TEXT_SETZ(&client->name, client_names[i]), STOA_OK);
        memcpy(client->keys[0], w->keys[i].public_key, sizeof client->keys[0]);
        client->key_count = 1;
        client->accounts[0] = client->name;
        client->account_count = 1;
    }
    open_gateway(w, options);
    return w;
}

static void world_free(world *w)
{
    stoa_gateway_close(w->gateway, STOA_S(1));
    stoa_node_close(w->node, STOA_S(5));
    stoa_metrics_free(w->metrics);
    (void)nftw(w->folder, remove_one, 16, FTW_DEPTH | FTW_PHYS);
    free(w);
}

/* --- clients */

typedef struct got {
    uint32_t size_bytes;
    uint8_t bytes[];
} got;

typedef struct peer {
    stoa_link *link;
    bool up, down;
    uint64_t ids;
    got *frames[FRAMES_MAX]; /* received, not yet taken */
    uint32_t count;
    stoa_frame_tokens tokens;
} peer;

static void on_up(void *context, stoa_peer number)
{
    (void)number;
    ((peer *)context)->up = true;
}

static void on_down(void *context, stoa_peer number)
{
    (void)number;
    ((peer *)context)->down = true;
}

static void on_frame(void *context, stoa_peer number, const char *identity, const void *bytes, uint32_t size_bytes)
{
    peer *p = context;
    (void)number, (void)identity;
    assert_true(p->count < FRAMES_MAX);
    got *g = malloc(sizeof *g + size_bytes);
    g->size_bytes = size_bytes;
    memcpy(g->bytes, bytes, size_bytes);
    p->frames[p->count++] = g;
}

static void poll_peer(peer *p, int wait_ms)
{
    const stoa_link_events events = {.frame = on_frame, .up = on_up, .down = on_down, .context = p};
    while (p->link->ops->poll(p->link, &events, 256) > 0) {}
    struct pollfd readable = {.fd = p->link->ops->fd(p->link), .events = POLLIN};
    if (wait_ms && poll(&readable, 1, wait_ms) >= 0) {
        while (p->link->ops->poll(p->link, &events, 256) > 0) {}
    }
}

static peer *dial(world *w, int who)
{
    peer *p = calloc(1, sizeof *p);
    stoa_link_options options = {.secret_key = w->keys[who].secret_key,
                                 .public_key = w->keys[who].public_key,
                                 .server_key = w->server.public_key,
                                 .frame_limit = STOA_PROTOCOL_FRAME_MAX,
                                 .queue_frames = 256};
    assert_int_equal(stoa_link_open(stoa_gateway_address(w->gateway), &options, &p->link), STOA_OK);
    for (int i = 0; i < 5000 && !p->up; i++) {
        poll_peer(p, 1);
    }
    assert_true(p->up);
    return p;
}

KIT_UNUSED static void hang_up(peer *p)
{
    p->link->ops->close(p->link, 100);
    for (uint32_t i = 0; i < p->count; i++) {
        free(p->frames[i]);
    }
    free(p);
}

static void send_bytes(peer *p, const void *bytes, size_t size_bytes)
{
    stoa_err err;
    while ((err = p->link->ops->send(p->link, 0, bytes, (uint32_t)size_bytes)) == STOA_E_FULL) {
        poll_peer(p, 1);
    }
    assert_int_equal(err, STOA_OK);
    poll_peer(p, 0);
}

KIT_UNUSED static uint64_t request(peer *p, uint32_t op, const char *target, const void *payload, uint32_t deadline_ms)
{
    static uint8_t bytes[STOA_PROTOCOL_FRAME_MAX], frame[STOA_PROTOCOL_FRAME_MAX];
    stoa_writer w = {.at = bytes, .cap_bytes = sizeof bytes}, f = {.at = frame, .cap_bytes = sizeof frame};
    assert_int_equal(stoa_encode(&stoa_protocol_op_find(op)->row->payload, payload, &w), STOA_OK);
    stoa_request_frame_write(&f, op, ++p->ids, target, deadline_ms, bytes, w.used_bytes);
    assert_false(f.cut);
    send_bytes(p, frame, f.used_bytes);
    return p->ids;
}

/* The frame at index, which lives until take_at. */
static stoa_server_frame frame_at(peer *p, uint32_t index)
{
    stoa_server_frame out;
    const got *g = p->frames[index];
    assert_int_equal(stoa_server_frame_read(g->bytes, g->size_bytes, &p->tokens, &out), STOA_OK);
    return out;
}

static void drop_at(peer *p, uint32_t index)
{
    free(p->frames[index]);
    memmove(&p->frames[index], &p->frames[index + 1], (--p->count - index) * sizeof p->frames[0]);
}

/* Index of the first frame that is (not) an answer to id; waits for it. UINT32_MAX: none within wait_ms. */
static uint32_t find_frame(peer *p, bool answer, uint64_t id, int wait_ms)
{
    uint32_t seen = 0;
    for (int waited = 0;; waited++) {
        for (; seen < p->count; seen++) {
            stoa_server_frame frame = frame_at(p, seen);
            if ((frame.cls == STOA_FRAME_ANSWER) == answer && frame.id == id) { return seen; }
        }
        if (waited >= wait_ms) { return UINT32_MAX; }
        poll_peer(p, 1);
    }
}

typedef struct reply {
    stoa_err error;
    char text[256];
    uint64_t durability, position;
} reply;

/* The answer to id; its payload, of type, goes to out (NULL: not wanted). */
static reply await(peer *p, uint64_t id, const stoa_type *type, void *out)
{
    reply r = {0};
    uint32_t at = find_frame(p, true, id, 10000);
    assert_true(at != UINT32_MAX);
    stoa_server_frame frame = frame_at(p, at);
    r.error = frame.error;
    r.durability = frame.durability;
    r.position = frame.position;
    if (frame.error) {
        (void)snprintf(r.text, sizeof r.text, "%.*s", (int)frame.text_bytes, frame.text);
    } else if (out) {
        assert_int_equal(stoa_decode_tokens(type, frame.payload.tokens, frame.payload.count, out), STOA_OK);
    }
    drop_at(p, at);
    return r;
}

KIT_UNUSED static reply call(peer *p, uint32_t op, const char *target, const void *payload, void *out)
{
    const stoa_protocol_op *is = stoa_protocol_op_find(op);
    return await(p, request(p, op, target, payload, 0), &is->row->reply->payload, out);
}

KIT_UNUSED static client_welcome hello_as(peer *p, uint64_t session)
{
    client_welcome welcome;
    client_hello hello = {.version_min = 1, .version_max = 1, .session = session, .client = stoa_text("kit")};
    assert_int_equal(call(p, STOA_OP_HELLO, "", &hello, &welcome).error, STOA_OK);
    return welcome;
}

/* A connection with a session. */
KIT_UNUSED static peer *connect_as(world *w, int who)
{
    peer *p = dial(w, who);
    (void)hello_as(p, 0);
    return p;
}

KIT_UNUSED static uint64_t subscribe(peer *p, uint32_t stream, const char *target, uint32_t resume, uint64_t after,
                                     uint64_t *newest)
{
    client_subscribe in = {.stream = stream, .resume = resume, .after = after};
    client_subscribed out;
    assert_int_equal(call(p, STOA_OP_SUBSCRIBE, target, &in, &out).error, STOA_OK);
    if (newest) { *newest = out.newest; }
    return p->ids;
}

typedef struct event {
    stoa_frame_class cls;
    uint64_t item, seq, from, to;
    stoa_err error;
    _Alignas(8) uint8_t payload[32768];
} event;

/* The stream's next frame; false: none came within wait_ms. */
KIT_UNUSED static bool next_event(peer *p, uint64_t stream, int wait_ms, event *out)
{
    uint32_t at = find_frame(p, false, stream, wait_ms);
    if (at == UINT32_MAX) { return false; }
    stoa_server_frame frame = frame_at(p, at);
    *out = (event){.cls = frame.cls,
                   .item = frame.item,
                   .seq = frame.seq,
                   .from = frame.from_seq,
                   .to = frame.to_seq,
                   .error = frame.error};
    if (frame.cls == STOA_FRAME_ITEM) {
        const stoa_protocol_item *item = stoa_protocol_item_find(frame.item);
        assert_non_null(item);
        assert_true(item->row->payload.size_bytes <= sizeof out->payload);
        assert_int_equal(
            stoa_decode_tokens(&item->row->payload, frame.payload.tokens, frame.payload.count, out->payload), STOA_OK);
    }
    drop_at(p, at);
    return true;
}

KIT_UNUSED static event must_get(peer *p, uint64_t stream, stoa_frame_class cls)
{
    static event e;
    assert_true(next_event(p, stream, 10000, &e));
    assert_int_equal(e.cls, cls);
    return e;
}

/* --- what is often done */

KIT_UNUSED static void join(peer *p, const char *room)
{
    assert_int_equal(call(p, STOA_OP_ROOM_JOIN, room, &(room_join){0}, NULL).error, STOA_OK);
}

KIT_UNUSED static room_post post_of(uint64_t id, const char *text)
{
    room_post post = {.client_post_id = id};
    assert_int_equal(STOA_TEXT_SETZ(&post.text, text), STOA_OK);
    return post;
}

KIT_UNUSED static uint64_t post(peer *p, const char *room, uint64_t id, const char *text)
{
    room_posted posted;
    room_post in = post_of(id, text);
    assert_int_equal(call(p, STOA_OP_ROOM_POST, room, &in, &posted).error, STOA_OK);
    return posted.seq;
}

KIT_UNUSED static trade_account_place order_of(uint64_t id, trade_side side, const char *price, const char *qty)
{
    return (trade_account_place){
        .client_order_id = id, .symbol = stoa_text("BTCUSDT"), .side = side, .price = dec(price), .qty = dec(qty)};
}

KIT_UNUSED static trade_order place(peer *p, const char *account, uint64_t id, trade_side side, const char *price,
                                    const char *qty)
{
    trade_account_order out;
    trade_account_place in = order_of(id, side, price, qty);
    assert_int_equal(call(p, STOA_OP_ORDER_PLACE, account, &in, &out).error, STOA_OK);
    return out.order;
}

KIT_UNUSED static uint64_t metric(world *w, const char *line)
{
    stoa_buf page = STOA_BUF_GROWING;
    stoa_metrics_print(w->metrics, &page);
    char wanted[128];
    (void)snprintf(wanted, sizeof wanted, "\n%s ", line);
    const char *at = strstr(page.at, wanted);
    uint64_t value = at ? strtoull(at + strlen(wanted), NULL, 10) : UINT64_MAX;
    stoa_buf_deinit(&page);
    return value;
}

#endif
