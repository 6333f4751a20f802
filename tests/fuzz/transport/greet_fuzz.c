/* greet_fuzz.c - goal: whatever the other side of a plain fabric connection says, at its door and over the carrier, in whatever order and phase, its
 * link stays within its memory, tells frames only between up and down, and gets back all it gave away. Method: a link that listens, or
 * dials, by the first byte; the door's other end is ours, and so is the carrier, which loses nothing. The input is a list of steps: the
 * message that is due, any message, a batch or credit that begins to come, one that lands, a wire without room.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "transport/bytes.h"
#include "transport/fabric/inner.h"
#include "transport/fabric/link.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size_bytes);

enum { FRAME_LIMIT = 1024, MAGIC = 0x42467453, DOOR_HEAD = 3, UNDER_WAY_MAX = 16, ROUNDS_MAX = 256 };
enum { DUE, ANY, COMES, LANDS, FULL, STEPS };

static struct {
    stoa_fabric *link;
    int door;
    const uint8_t *at;
    size_t left_bytes;
    bool comes, up, full;
    void *under_way[UNDER_WAY_MAX];
    unsigned count;
} w;

static uint8_t next(void)
{
    if (w.left_bytes == 0) { return 0; }
    w.left_bytes--;
    return *w.at++;
}

/* --- the carrier: one end, no address */

static stoa_err wire_open(const stoa_carrier_settings *settings, stoa_carrier **out)
{
    (void)settings;
    *out = (stoa_carrier *)(void *)&w;
    return STOA_OK;
}
static void land(unsigned i, bool whole)
{
    void *token = w.under_way[i];
    w.under_way[i] = w.under_way[--w.count];
    stoa_carrier_landed(token, whole);
}
static void wire_close(stoa_carrier *wire)
{
    (void)wire;
    while (w.count > 0) { land(0, false); }
}
static stoa_err wire_begin(stoa_carrier *wire, void *owner, stoa_carrier_end **out)
{
    (void)wire;
    *out = owner;
    return STOA_OK;
}
static uint32_t wire_address(stoa_carrier *wire, const stoa_carrier_end *end, const struct sockaddr *here, uint8_t out[STOA_CARRIER_ADDRESS_BYTES])
{
    (void)wire, (void)end, (void)here;
    memset(out, 1, 4);
    return 4;
}
static stoa_err wire_connect(stoa_carrier *wire, stoa_carrier_end *end, const void *address, uint32_t size_bytes)
{
    (void)wire, (void)end, (void)address;
    return size_bytes == 4 ? STOA_OK : STOA_E_MALFORMED;
}
static void wire_disconnect(stoa_carrier *wire, stoa_carrier_end *end)
{
    (void)wire, (void)end;
}
static stoa_err wire_send(stoa_carrier *wire, stoa_carrier_end *end, const void *header, const void *body, uint32_t body_bytes, void *token)
{
    (void)wire, (void)end, (void)header, (void)body, (void)body_bytes;
    if (w.full) { return STOA_E_AGAIN; }
    stoa_carrier_sent(token, true);
    return STOA_OK;
}

/* A message for the connection there is: its kind, number, place, what is acknowledged, and its body. */
static void begin_message(void)
{
    uint8_t header[STOA_CARRIER_HEADER_BYTES] = {0};
    const stoa_conn *conn = w.link->conns[0];
    uint32_t body_bytes = next() * 8U;
    void *token = NULL;
    if (!conn || !conn->end || w.count == UNDER_WAY_MAX) { return; }
    stoa_put_u32(header, MAGIC);
    header[4] = next() % 4;
    stoa_put_u64(header + 8, conn->token);
    stoa_put_u64(header + 16, next() % 80);
    stoa_put_u64(header + 24, next() * 64U);
    stoa_put_u64(header + 32, next() % 4 * 64U);
    stoa_put_u32(header + 40, body_bytes);
    uint8_t *to = stoa_carrier_place(w.link, header, body_bytes, &token);
    if (!to) { return; }
    size_t have_bytes = body_bytes < w.left_bytes ? body_bytes : w.left_bytes;
    memset(to, 0, body_bytes);
    memcpy(to, w.at, have_bytes);
    w.at += have_bytes, w.left_bytes -= have_bytes;
    w.under_way[w.count++] = token;
}
static uint32_t wire_progress(stoa_carrier *wire)
{
    (void)wire;
    if (w.comes) { begin_message(); }
    w.comes = false;
    return 0;
}
static bool wire_arm(stoa_carrier *wire)
{
    (void)wire;
    return true;
}

/* --- what is told */

static void on_frame(void *context, stoa_peer peer, const char *identity, const void *bytes, uint32_t size_bytes)
{
    (void)context, (void)peer, (void)identity, (void)bytes;
    STOA_ASSERT(w.up && size_bytes > 0 && size_bytes <= FRAME_LIMIT);
}
static void on_up(void *context, stoa_peer peer)
{
    (void)context;
    STOA_ASSERT(!w.up);
    w.up = true;
    (void)stoa_fabric_send(&w.link->link, peer, "word", 5);
}
static void on_down(void *context, stoa_peer peer)
{
    (void)context, (void)peer;
    STOA_ASSERT(w.up);
    w.up = false;
}
static void on_refused(void *context, stoa_err why)
{
    (void)context;
    STOA_ASSERT(why != STOA_OK);
}

/* --- the door's other end */

static void say(uint8_t kind, const uint8_t *body, uint32_t size_bytes)
{
    uint8_t message[DOOR_HEAD + 64];
    stoa_put_u16(message, (uint16_t)(size_bytes + 1));
    message[2] = kind;
    memcpy(message + DOOR_HEAD, body, size_bytes);
    (void)!send(w.door, message, DOOR_HEAD + size_bytes, MSG_NOSIGNAL | MSG_DONTWAIT);
}

static void say_due(void)
{
    uint8_t body[64] = {0};
    const stoa_conn *conn = w.link->conns[0];
    if (conn && conn->phase == STOA_PHASE_HELLO && w.link->listens) {
        stoa_put_u32(body, 0x62467453);
        stoa_put_u16(body + 4, 2);
        memcpy(body + 8, "wire", 4);
        memcpy(body + 16, "tcp", 3);
        say(STOA_DOOR_HELLO, body, 24);
    } else if (conn && conn->phase == STOA_PHASE_HELLO) {
        stoa_put_u16(body, 2);
        say(STOA_DOOR_WELCOME, body, 4);
    } else {
        stoa_put_u64(body, 7);
        stoa_put_u64(body + 8, stoa_ring_bytes(FRAME_LIMIT, 1 + next() % 4));
        stoa_put_u32(body + 16, FRAME_LIMIT);
        stoa_put_u32(body + 20, stoa_ring_body_limit(FRAME_LIMIT));
        say(STOA_DOOR_OFFER, body, 28);
    }
}

static void step(void)
{
    uint8_t what = next(), body[64], heard[4096];
    if (what % STEPS == DUE) { say_due(); }
    if (what % STEPS == ANY) {
        uint8_t kind = next() % 10, size_bytes = next() % sizeof body;
        for (unsigned i = 0; i < size_bytes; i++) { body[i] = next(); }
        say(kind, body, size_bytes);
    }
    if (what % STEPS == FULL) { w.full = !w.full; }
    if (what % STEPS == LANDS && w.count > 0) { land(what / STEPS % w.count, what < 200); }
    w.comes = what % STEPS == COMES;
    while (recv(w.door, heard, sizeof heard, MSG_DONTWAIT) > 0) {}
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size_bytes)
{
    static const stoa_carrier_ops kind = {.name = "wire",
                                          .open = wire_open,
                                          .close = wire_close,
                                          .begin = wire_begin,
                                          .address = wire_address,
                                          .connect = wire_connect,
                                          .disconnect = wire_disconnect,
                                          .send = wire_send,
                                          .progress = wire_progress,
                                          .arm = wire_arm};
    static const stoa_link_ops ops = STOA_FABRIC_OPS("wire+tcp", NULL);
    static const stoa_link_events events = {.frame = on_frame, .up = on_up, .down = on_down, .refused = on_refused};
    bool listens = size_bytes > 0 && bytes[0] & 1;
    stoa_link_options options = {.listen = listens, .frame_limit = FRAME_LIMIT, .queue_frames = 4};
    stoa_link *link = NULL;
    int ends[2];
    memset(&w, 0, sizeof w);
    if (stoa_fabric_open(&ops, &kind, listens ? "wire+tcp://127.0.0.1:0" : "wire+tcp://127.0.0.1:1", &options, &link)) { abort(); }
    w.link = (stoa_fabric *)(void *)link;
    w.at = bytes + (size_bytes > 0);
    w.left_bytes = size_bytes - (size_bytes > 0);
    STOA_ASSERT(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, ends) == 0);
    w.door = ends[1];
    if (w.link->conns[0]) { stoa_conn_drop(w.link->conns[0]); } /* where it has dialled nobody is */
    stoa_conn *conn = stoa_conn_new(w.link, ends[0], STOA_PHASE_HELLO);
    STOA_ASSERT(conn);
    if (!listens) { stoa_conn_greet(conn); }
    for (unsigned round = 0; round < ROUNDS_MAX && w.left_bytes > 0; round++) {
        step();
        (void)stoa_fabric_poll(link, &events, 64);
    }
    stoa_fabric_close(link, 0);
    STOA_ASSERT(w.count == 0);
    (void)close(w.door);
    return 0;
}
