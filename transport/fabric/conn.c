/* fabric/conn.c - how a connection lives and ends: what its door says, what its owner is told, when it is gone.
 *
 * Nothing is freed while somebody further up the stack may hold it: to lose a connection is to mark it, and it is dropped when
 * its turn to tell comes. One that is dropped while the carrier still has some of its memory waits in the link's list.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>

#include "base/clock.h"
#include "transport/fabric/inner.h"

enum { DISMISS_MS = 1000, LAST_LOOKS = 64 };

/* --- beginning and end */

static void token_new(stoa_conn *conn)
{
    stoa_random_system(&conn->token, sizeof conn->token);
    conn->token = conn->token << STOA_FABRIC_PEER_SLOT_BITS | conn->slot;
}

static bool watch(stoa_fabric *link, int fd, uint32_t slot, stoa_phase phase)
{
    struct epoll_event event = {.events = phase == STOA_PHASE_CONNECTING ? EPOLLOUT : EPOLLIN, .data.u64 = slot + 1};
    return epoll_ctl(link->doors, EPOLL_CTL_ADD, fd, &event) == 0;
}

stoa_conn *stoa_conn_new(stoa_fabric *link, int fd, stoa_phase phase)
{
    uint32_t slot = 0;
    while (slot < link->conn_limit && link->conns[slot]) {
        slot++;
    }
    stoa_conn *conn = slot < link->conn_limit ? calloc(1, sizeof *conn) : NULL;
    if (!conn || !watch(link, fd, slot, phase)) {
        free(conn);
        return NULL;
    }
    conn->link = link;
    conn->slot = slot;
    conn->born = link->born++;
    conn->ring_bytes = link->ring_bytes;
    link->guests += link->listens;
    conn->phase = phase;
    conn->deadline_ns = stoa_fabric_now_ns() + STOA_MS(STOA_FABRIC_STEP_MS);
    token_new(conn);
    stoa_door_init(&conn->door, fd);
    for (unsigned i = 0; i < STOA_FABRIC_CREDITS; i++) {
        conn->credits[i].owner = conn;
    }
    link->conns[slot] = conn;
    if (slot >= link->conn_top) { link->conn_top = slot + 1; }
    return conn;
}

void stoa_conn_free(stoa_conn *conn)
{
    stoa_out_close(&conn->out);
    stoa_in_close(&conn->in);
    stoa_pen_close(&conn->pen);
    stoa_secure_stream_close(&conn->batch_out);
    stoa_secure_stream_close(&conn->batch_in);
    stoa_secure_stream_close(&conn->credit_out);
    stoa_secure_stream_close(&conn->credit_in);
    stoa_secure_forget(&conn->secure);
    free(conn->puts);
    free(conn);
}

void stoa_conn_drop(stoa_conn *conn)
{
    stoa_fabric *link = conn->link;
    stoa_carrier_end *end = conn->end;
    link->conns[conn->slot] = NULL;
    stoa_fabric_unmark(link->ready, conn->slot);
    stoa_fabric_unmark(link->dirty, conn->slot);
    while (link->conn_top > 0 && !link->conns[link->conn_top - 1]) {
        link->conn_top--;
    }
    link->served -= conn->served;
    link->guests -= link->listens && !conn->served;
    stoa_door_close(&conn->door);
    conn->end = NULL;
    if (end) { link->kind->disconnect(link->carrier, end); }
    conn->next = link->gone; /* swept at the next poll */
    link->gone = conn;
    if (!link->listens) { stoa_fabric_dial_rest(link, conn->told); }
}

void stoa_conn_lose(stoa_conn *conn)
{
    conn->lost = true;
    stoa_fabric_mark(conn->link->ready, conn->slot);
}

void stoa_conn_break(stoa_conn *conn)
{
    conn->broken = conn->link->broke = true;
}

void stoa_conn_dismiss(stoa_conn *conn, stoa_err why)
{
    const char *name = why ? stoa_err_name(why) : "";
    if (conn->lost) { return; }
    (void)stoa_door_send(&conn->door, STOA_DOOR_BYE, name, (uint32_t)strlen(name));
    conn->cut = true;
    if (conn->phase == STOA_PHASE_UP || !conn->link->listens) {
        stoa_conn_lose(conn);
        return;
    }
    (void)shutdown(conn->door.fd, SHUT_WR);
    conn->phase = STOA_PHASE_DISMISSED;
    conn->deadline_ns = stoa_fabric_now_ns() + STOA_MS(DISMISS_MS);
    conn->link->served -= conn->served;
    conn->link->guests += conn->served;
    conn->served = false;
}

/* --- what the door says */

static stoa_err take_ping(stoa_conn *conn, const uint8_t *body, uint32_t size_bytes)
{
    (void)body;
    (void)stoa_door_send(&conn->door, STOA_DOOR_PONG, NULL, 0);
    return size_bytes == 0 ? STOA_OK : STOA_E_MALFORMED;
}

static stoa_err take_pong(stoa_conn *conn, const uint8_t *body, uint32_t size_bytes)
{
    (void)conn, (void)body;
    return size_bytes == 0 ? STOA_OK : STOA_E_MALFORMED;
}

static stoa_err take_leaving(stoa_conn *conn, const uint8_t *body, uint32_t size_bytes)
{
    (void)body;
    conn->hurried = true;
    stoa_fabric_mark(conn->link->dirty, conn->slot);
    return size_bytes == 0 ? STOA_OK : STOA_E_MALFORMED;
}

static stoa_err take_bye(stoa_conn *conn, const uint8_t *body, uint32_t size_bytes)
{
    stoa_err why = stoa_refusals_named(body, size_bytes);
    if (why) { stoa_fabric_refused(conn->link, why); }
    stoa_conn_lose(conn);
    return STOA_OK;
}

static const struct {
    uint8_t kind;
    stoa_err (*take)(stoa_conn *conn, const uint8_t *body, uint32_t size_bytes);
} rows[] = {
    {STOA_DOOR_PING, take_ping},
    {STOA_DOOR_PONG, take_pong},
    {STOA_DOOR_LEAVING, take_leaving},
    {STOA_DOOR_BYE, take_bye},
};

static stoa_err take(stoa_conn *conn, uint8_t kind, const uint8_t *body, uint32_t size_bytes)
{
    conn->unanswered = 0;
    if (conn->phase == STOA_PHASE_DISMISSED) { return STOA_OK; }
    for (unsigned i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        if (rows[i].kind == kind) { return rows[i].take(conn, body, size_bytes); }
    }
    return stoa_conn_greeted(conn, kind, body, size_bytes);
}

/* The other side has hung up: what it sent before may still be on its way through the carrier. */
static void ended(stoa_conn *conn)
{
    stoa_fabric *link = conn->link;
    for (unsigned i = 0; i < LAST_LOOKS && link->kind->progress(link->carrier) > 0; i++) {}
    if (link->listens && conn->phase == STOA_PHASE_HELLO) { stoa_fabric_refused(link, STOA_E_MALFORMED); }
    stoa_conn_lose(conn);
}

void stoa_conn_heard(stoa_conn *conn)
{
    uint8_t body[STOA_DOOR_BODY_MAX], kind = 0;
    uint32_t size_bytes = 0;
    stoa_err err = STOA_OK;
    stoa_door_read(&conn->door);
    while (!conn->lost && (err = stoa_door_next(&conn->door, &kind, body, &size_bytes)) == STOA_OK) {
        err = take(conn, kind, body, size_bytes);
        if (err && conn->phase != STOA_PHASE_DISMISSED) {
            stoa_fabric_refused(conn->link, err);
            stoa_conn_dismiss(conn, err);
        }
    }
    if (!conn->lost && err == STOA_E_MALFORMED && conn->phase != STOA_PHASE_DISMISSED) {
        stoa_fabric_refused(conn->link, err);
        stoa_conn_dismiss(conn, err);
    }
    if (conn->phase == STOA_PHASE_DISMISSED) { conn->door.in_bytes = 0; }
    if (conn->door.ended && !conn->lost) { ended(conn); }
    (void)stoa_door_flush(&conn->door);
}

void stoa_fabric_broke(stoa_fabric *link)
{
    link->broke = false;
    for (uint32_t i = 0; i < link->conn_top; i++) {
        stoa_conn *conn = link->conns[i];
        if (!conn || !conn->broken || conn->lost) { continue; }
        stoa_conn_heard(conn);
        stoa_conn_lose(conn);
    }
}

/* --- what the owner is told */

static void tell_down(stoa_conn *conn, const stoa_link_events *events)
{
    stoa_fabric *link = conn->link;
    stoa_peer peer = conn->peer;
    stoa_conn_drop(conn);
    link->counts.downs++;
    events->down(events->context, peer);
}

/* One frame; false when there is none. Not told: it was not for the owner. */
static bool tell_frame(stoa_conn *conn, const stoa_link_events *events, bool *told_out)
{
    stoa_in_frame frame;
    if (conn->cut) { return false; }
    stoa_err err = stoa_in_frame_next(&conn->in, &frame);
    if (err == STOA_E_AGAIN) { return false; }
    if (!err && frame.kind != STOA_FRAME) { err = stoa_conn_put_frame(conn, &frame); }
    if (err || frame.size_bytes == 0 || (frame.kind == STOA_FRAME && frame.size_bytes > conn->link->frame_limit)) {
        stoa_fabric_refused(conn->link, STOA_E_MALFORMED);
        stoa_conn_dismiss(conn, STOA_E_MALFORMED);
        return false;
    }
    bool told = frame.kind == STOA_FRAME;
    if (told) { events->frame(events->context, conn->peer, conn->identity, frame.bytes, frame.size_bytes); }
    uint64_t next = conn->in.next;
    stoa_in_drop(&conn->in, &frame);
    if (next != conn->in.next) { stoa_fabric_mark(conn->link->dirty, conn->slot); }
    *told_out = told;
    return true;
}

bool stoa_conn_tell(stoa_conn *conn, const stoa_link_events *events)
{
    stoa_fabric *link = conn->link;
    if (conn->phase == STOA_PHASE_UP && !conn->told) {
        conn->told = true;
        link->counts.ups++;
        events->up(events->context, conn->peer);
        return true;
    }
    bool told = false;
    while (conn->told && !told && tell_frame(conn, events, &told)) {}
    if (told || (conn->told && stoa_conn_put_tell(conn, events))) { return true; }
    if (conn->lost && conn->told) {
        tell_down(conn, events);
        return true;
    }
    if (conn->lost) {
        stoa_conn_drop(conn);
    } else {
        stoa_fabric_unmark(link->ready, conn->slot);
    }
    return false;
}

/* --- time */

void stoa_conn_tick(stoa_conn *conn, uint64_t now_ns)
{
    stoa_fabric *link = conn->link;
    if (conn->lost) { return; }
    if (conn->phase != STOA_PHASE_UP) {
        if (now_ns < conn->deadline_ns) { return; }
        if (link->listens && conn->phase == STOA_PHASE_HELLO) { stoa_fabric_refused(link, STOA_E_MALFORMED); }
        stoa_conn_lose(conn);
        return;
    }
    if (now_ns < conn->ping_ns) { return; }
    uint32_t most = link->listens ? STOA_FABRIC_LISTEN_SILENT_MAX : STOA_FABRIC_DIAL_SILENT_MAX;
    if (conn->unanswered++ >= most) {
        stoa_conn_lose(conn);
        return;
    }
    if (stoa_conn_audit(conn) != STOA_OK) {
        stoa_fabric_refused(link, STOA_E_CORRUPT);
        stoa_conn_dismiss(conn, STOA_E_CORRUPT);
        return;
    }
    conn->ping_ns = now_ns + STOA_MS(STOA_FABRIC_PING_MS);
    (void)stoa_door_send(&conn->door, STOA_DOOR_PING, NULL, 0); /* FULL: the other side does not read */
}
