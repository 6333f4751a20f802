/* fabric/put.c - writing to the other side's memory.
 *
 * A window is exposed under a number nobody can guess. What is put goes one of two ways:
 *
 *     by the carrier    a one-sided write; the other side's owner has no part in it
 *     in frames         PUT {u64 id, u64 offset} bytes; written when the other side polls
 *
 * The carrier writes only where frames are not encrypted (it would bypass the cipher), and only to a window where it was
 * seen to work: the first thing put to a window goes in a frame and is written by the carrier too, settled, and read back. Until
 * the bytes are seen there, and for ever if they are not, all goes in frames.
 *
 * A flush settles the carrier's writes, then sends FLUSH {u64 token} behind the frames, if there were any, and waits for
 * FLUSHED. Flushes end in their order.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include <stdlib.h>
#include <string.h>

#include "transport/bytes.h"
#include "transport/fabric/inner.h"
#include "transport/fabric/link.h"

enum { PUT_HEAD_BYTES = 16, TOKEN_BYTES = 8 };

static stoa_fabric *own(stoa_link *link)
{
    return (stoa_fabric *)(void *)link;
}

static stoa_puts *puts_of(stoa_conn *conn)
{
    if (conn->puts) { return conn->puts; }
    conn->puts = calloc(1, sizeof *conn->puts);
    for (unsigned i = 0; conn->puts && i < STOA_FABRIC_PUTS; i++) {
        conn->puts->parcels[i] = (stoa_parcel){.owner = conn, .is_put = true};
    }
    return conn->puts;
}

/* --- windows of ours */

stoa_err stoa_fabric_expose(stoa_link *of, void *memory, uint64_t size_bytes, stoa_link_window *out)
{
    stoa_fabric *link = own(of);
    stoa_link_window window = {.address = (uint64_t)(uintptr_t)memory, .size_bytes = size_bytes};
    unsigned i = 0;
    if (!memory || size_bytes == 0) { return STOA_FAIL(STOA_E_INVALID, "no memory to expose"); }
    while (i < STOA_FABRIC_WINDOWS && link->windows[i].id != 0) {
        i++;
    }
    if (i == STOA_FABRIC_WINDOWS) { return STOA_FAIL(STOA_E_FULL, "%d windows are exposed", STOA_FABRIC_WINDOWS); }
    void *region = NULL;
    bool plain = !link->secured || link->trusted;
    if (plain && link->kind->expose) {
        stoa_err err = link->kind->expose(link->carrier, memory, size_bytes, window.key, sizeof window.key,
                                          &window.key_bytes, &region);
        if (err) { return err; }
    }
    stoa_random_system(&window.id, sizeof window.id);
    window.id |= 1;
    link->windows[i] = (stoa_window){window.id, size_bytes, memory, region};
    *out = window;
    return STOA_OK;
}

static void window_close(stoa_fabric *link, stoa_window *window)
{
    if (window->region) { link->kind->conceal(link->carrier, window->region); }
    *window = (stoa_window){0};
}

void stoa_fabric_conceal(stoa_link *of, const stoa_link_window *window)
{
    stoa_fabric *link = own(of);
    for (unsigned i = 0; i < STOA_FABRIC_WINDOWS; i++) {
        if (link->windows[i].id != 0 && link->windows[i].id == window->id) { window_close(link, &link->windows[i]); }
    }
}

void stoa_fabric_conceal_all(stoa_fabric *link)
{
    for (unsigned i = 0; i < STOA_FABRIC_WINDOWS; i++) {
        if (link->windows[i].id != 0) { window_close(link, &link->windows[i]); }
    }
}

/* --- whether the carrier can write to a window of theirs */

static void probe_step(stoa_conn *conn, stoa_far *far, bool done)
{
    stoa_fabric *link = conn->link;
    stoa_err err = done ? STOA_OK : STOA_E_CLOSED;
    far->state += done;
    if (far->state == STOA_FAR_WORKS) {
        bool same = memcmp(far->wrote, far->read, far->probe_bytes) == 0;
        far->state = same ? STOA_FAR_WORKS : STOA_FAR_FAILS;
        link->writes = link->writes || same;
        return;
    }
    far->parcel.on_wire = true;
    conn->on_wire++;
    if (!err && far->state == STOA_FAR_WRITTEN) {
        err = link->kind->write(link->carrier, conn->end, far->far, far->address, far->wrote, far->probe_bytes,
                                &far->parcel);
    } else if (!err && far->state == STOA_FAR_SETTLED) {
        err = link->kind->settle(link->carrier, conn->end, &far->parcel);
    } else if (!err) {
        err = link->kind->read(link->carrier, conn->end, far->far, far->address, far->read, far->probe_bytes,
                               &far->parcel);
    }
    if (!err) { return; }
    far->parcel.on_wire = false;
    conn->on_wire--;
    far->state = STOA_FAR_FAILS;
}

/* What is known of a window; the first time, these bytes are what it is tried with. NULL: the carrier cannot. */
static stoa_far *far_of(stoa_conn *conn, const stoa_link_window *window, uint64_t offset, const void *bytes,
                        uint32_t size_bytes)
{
    stoa_fabric *link = conn->link;
    unsigned i = 0;
    if (conn->encrypted || !link->kind->reach || window->key_bytes == 0 || window->key_bytes > sizeof window->key) {
        return NULL;
    }
    while (i < STOA_FABRIC_FARS && conn->puts->fars[i].id != 0 && conn->puts->fars[i].id != window->id) {
        i++;
    }
    if (i == STOA_FABRIC_FARS) { return NULL; }
    stoa_far *far = &conn->puts->fars[i];
    if (far->id != 0) { return far; }
    void *reached = NULL;
    if (link->kind->reach(link->carrier, conn->end, window->key, window->key_bytes, &reached) != STOA_OK) {
        return NULL;
    }
    *far = (stoa_far){.id = window->id, .far = reached, .parcel = {.owner = conn, .is_put = true}};
    far->address = window->address + offset;
    far->probe_bytes = size_bytes < STOA_FABRIC_PROBE ? size_bytes : STOA_FABRIC_PROBE;
    memcpy(far->wrote, bytes, far->probe_bytes);
    memset(far->read, ~far->wrote[0], sizeof far->read);
    conn->puts->written = true;
    probe_step(conn, far, true);
    return far;
}

/* --- put and flush */

static stoa_err put_by_carrier(stoa_conn *conn, const stoa_far *far, uint64_t address, const void *bytes,
                               uint32_t size_bytes)
{
    for (unsigned i = 0; i < STOA_FABRIC_PUTS; i++) {
        stoa_parcel *parcel = &conn->puts->parcels[i];
        if (parcel->on_wire) { continue; }
        parcel->on_wire = true;
        conn->on_wire++;
        stoa_err err =
            conn->link->kind->write(conn->link->carrier, conn->end, far->far, address, bytes, size_bytes, parcel);
        if (!err) {
            conn->puts->written = true;
            conn->link->counts.written_bytes += size_bytes;
            return STOA_OK;
        }
        parcel->on_wire = false;
        conn->on_wire--;
        return err == STOA_E_AGAIN ? STOA_E_FULL : err;
    }
    return STOA_E_FULL;
}

static stoa_err put_in_frame(stoa_conn *conn, const stoa_link_window *window, uint64_t offset, const void *bytes,
                             uint32_t size_bytes)
{
    uint8_t head[PUT_HEAD_BYTES];
    stoa_put_u64(head, window->id);
    stoa_put_u64(head + 8, offset);
    stoa_err err = stoa_out_add(&conn->out, STOA_FRAME_PUT, head, sizeof head, bytes, size_bytes);
    if (!err) {
        conn->puts->framed = true;
        conn->link->counts.framed_bytes += size_bytes;
    }
    stoa_fabric_mark(conn->link->dirty, conn->slot);
    return err;
}

static void note_full(stoa_conn *conn)
{
    conn->full = true;
    conn->full_acked = conn->out.acked;
    conn->full_next = conn->out.next;
}

stoa_err stoa_fabric_put(stoa_link *of, stoa_peer peer, const stoa_link_window *window, uint64_t offset,
                         const void *bytes, uint32_t size_bytes)
{
    stoa_fabric *link = own(of);
    stoa_conn *conn = stoa_fabric_conn(link, peer);
    if (!conn) { return STOA_E_CLOSED; }
    if (size_bytes == 0 || offset > window->size_bytes || size_bytes > window->size_bytes - offset) {
        return STOA_E_INVALID;
    }
    if (size_bytes > link->frame_limit || size_bytes > conn->frame_limit) { return STOA_E_TOO_LARGE; }
    if (!puts_of(conn)) { return STOA_E_FULL; }
    stoa_far *far = far_of(conn, window, offset, bytes, size_bytes);
    stoa_err err = far && far->state == STOA_FAR_WORKS
                       ? put_by_carrier(conn, far, window->address + offset, bytes, size_bytes)
                       : put_in_frame(conn, window, offset, bytes, size_bytes);
    if (err == STOA_E_FULL) { note_full(conn); }
    return err;
}

stoa_err stoa_fabric_flush(stoa_link *of, stoa_peer peer, uint64_t token)
{
    stoa_fabric *link = own(of);
    stoa_conn *conn = stoa_fabric_conn(link, peer);
    if (!conn) { return STOA_E_CLOSED; }
    stoa_puts *puts = puts_of(conn);
    if (!puts || puts->count == STOA_FABRIC_FLUSHES) { return STOA_E_FULL; }
    stoa_flush *flush = &puts->flushes[(puts->next + puts->count) % STOA_FABRIC_FLUSHES];
    if (flush->parcel.on_wire) { return STOA_E_FULL; }
    *flush = (stoa_flush){.token = token,
                          .settled = !puts->written,
                          .framed = puts->framed,
                          .used = !puts->framed,
                          .parcel = {.owner = conn, .is_put = true}};
    if (!flush->settled) {
        flush->parcel.on_wire = true;
        conn->on_wire++;
        stoa_err err = link->kind->settle(link->carrier, conn->end, &flush->parcel);
        if (err) {
            flush->parcel.on_wire = false;
            conn->on_wire--;
            return err == STOA_E_AGAIN ? STOA_E_FULL : err;
        }
    }
    puts->count++;
    puts->written = puts->framed = false;
    stoa_fabric_mark(link->dirty, conn->slot);
    stoa_fabric_mark(link->ready, conn->slot);
    return STOA_OK;
}

/* --- frames of the other side's */

static stoa_err take_put(stoa_conn *conn, const stoa_in_frame *frame)
{
    stoa_fabric *link = conn->link;
    if (frame->size_bytes <= PUT_HEAD_BYTES) { return STOA_E_MALFORMED; }
    uint64_t id = stoa_get_u64(frame->bytes), offset = stoa_get_u64(frame->bytes + 8);
    uint32_t size_bytes = frame->size_bytes - PUT_HEAD_BYTES;
    for (unsigned i = 0; i < STOA_FABRIC_WINDOWS; i++) {
        const stoa_window *window = &link->windows[i];
        if (id == 0 || window->id != id) { continue; }
        if (offset > window->size_bytes || size_bytes > window->size_bytes - offset) { return STOA_E_MALFORMED; }
        memcpy(window->memory + offset, frame->bytes + PUT_HEAD_BYTES, size_bytes);
        return STOA_OK;
    }
    return STOA_E_MALFORMED;
}

static stoa_err take_flush(stoa_conn *conn, const stoa_in_frame *frame)
{
    if (frame->size_bytes != TOKEN_BYTES) { return STOA_E_MALFORMED; }
    stoa_puts *puts = puts_of(conn);
    if (!puts || puts->answer_count == STOA_FABRIC_FLUSHES) { return STOA_E_MALFORMED; } /* nobody asks that often */
    puts->answers[puts->answer_count++] = stoa_get_u64(frame->bytes);
    stoa_fabric_mark(conn->link->dirty, conn->slot);
    return STOA_OK;
}

static stoa_err take_flushed(stoa_conn *conn, const stoa_in_frame *frame)
{
    stoa_puts *puts = conn->puts;
    if (frame->size_bytes != TOKEN_BYTES || !puts) { return STOA_E_MALFORMED; }
    for (uint32_t i = 0; i < puts->count; i++) {
        stoa_flush *flush = &puts->flushes[(puts->next + i) % STOA_FABRIC_FLUSHES];
        if (!flush->asked || flush->used) { continue; }
        if (flush->token != stoa_get_u64(frame->bytes)) { return STOA_E_MALFORMED; }
        flush->used = true; /* there */
        return STOA_OK;
    }
    return STOA_E_MALFORMED;
}

stoa_err stoa_conn_put_frame(stoa_conn *conn, const stoa_in_frame *frame)
{
    static stoa_err (*const takes[])(stoa_conn *, const stoa_in_frame *) = {
        [STOA_FRAME_PUT] = take_put, [STOA_FRAME_FLUSH] = take_flush, [STOA_FRAME_FLUSHED] = take_flushed};
    bool known = frame->kind > STOA_FRAME && frame->kind < sizeof takes / sizeof takes[0];
    return known ? takes[frame->kind](conn, frame) : STOA_E_MALFORMED;
}

/* --- what goes on by itself */

static bool add_token(stoa_conn *conn, uint32_t kind, uint64_t token)
{
    uint8_t bytes[TOKEN_BYTES];
    stoa_put_u64(bytes, token);
    return stoa_out_add(&conn->out, kind, bytes, sizeof bytes, NULL, 0) == STOA_OK;
}

void stoa_conn_put_flush(stoa_conn *conn)
{
    stoa_puts *puts = conn->puts;
    uint32_t answered = 0;
    while (answered < puts->answer_count && add_token(conn, STOA_FRAME_FLUSHED, puts->answers[answered])) {
        answered++;
    }
    puts->answer_count -= answered;
    memmove(puts->answers, puts->answers + answered, puts->answer_count * sizeof puts->answers[0]);
    for (uint32_t i = 0; i < puts->count; i++) {
        stoa_flush *flush = &puts->flushes[(puts->next + i) % STOA_FABRIC_FLUSHES];
        if (flush->asked || !flush->framed) { continue; }
        if (!add_token(conn, STOA_FRAME_FLUSH, flush->token)) { return; } /* a later one must not overtake it */
        flush->asked = true;
    }
}

bool stoa_conn_put_tell(stoa_conn *conn, const stoa_link_events *events)
{
    stoa_puts *puts = conn->puts;
    if (!puts || puts->count == 0) { return false; }
    const stoa_flush *flush = &puts->flushes[puts->next];
    if (!flush->settled || !flush->used) { return false; }
    uint64_t token = flush->token;
    puts->next = (puts->next + 1) % STOA_FABRIC_FLUSHES;
    puts->count--;
    if (events->flushed) { events->flushed(events->context, conn->peer, token); }
    return true;
}

void stoa_conn_put_sent(stoa_conn *conn, stoa_parcel *parcel, bool done)
{
    stoa_puts *puts = conn->puts;
    for (unsigned i = 0; i < STOA_FABRIC_FARS; i++) {
        if (parcel == &puts->fars[i].parcel) {
            probe_step(conn, &puts->fars[i], done);
            return;
        }
    }
    for (unsigned i = 0; i < STOA_FABRIC_FLUSHES; i++) {
        if (parcel == &puts->flushes[i].parcel) { puts->flushes[i].settled = done; }
    }
    stoa_fabric_mark(conn->link->ready, conn->slot);
    if (!done) { stoa_conn_break(conn); }
}
