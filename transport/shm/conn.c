/* shm/conn.c - one connection of an shm endpoint: how it comes to be, is woken, watched and ended.
 *
 *     GREETING -> NEW -> UP -> ENDING -> freed       the other side left or died: what it wrote is still told
 *        |         `-----+---> BROKEN -> freed       it broke the rules or may not be here any more
 *        `-> OVER -> freed                           it never was up
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/clock.h"
#include "transport/shm/inner.h"

enum { SLOT_BITS = 20, HEARD_MAX = 16 }; /* HEARD_MAX: messages taken at once, so that nobody can keep us busy */

stoa_shm_conn *stoa_shm_conn_at(const stoa_shm_link *link, stoa_peer peer)
{
    uint32_t slot = (uint32_t)(peer & ((1U << SLOT_BITS) - 1));
    stoa_shm_conn *conn = slot < link->slots ? link->conns[slot] : NULL;
    return conn && conn->peer == peer ? conn : NULL;
}

/* The lowest bit of what epoll says is whether it is the process. */
static bool watch(const stoa_shm_link *link, const stoa_shm_conn *conn, int fd, bool is_process)
{
    struct epoll_event event = {.events = EPOLLIN, .data.u64 = conn->peer << 1 | is_process};
    return fd >= 0 && epoll_ctl(link->epoll, EPOLL_CTL_ADD, fd, &event) == 0;
}

stoa_err stoa_shm_conn_new(stoa_shm_link *link, int socket, stoa_shm_conn **out)
{
    uint32_t slot = 0;
    while (slot < link->slots && link->conns[slot]) {
        slot++;
    }
    if (slot == link->slots) { return STOA_E_FULL; }
    stoa_shm_conn *conn = calloc(1, sizeof *conn);
    if (!conn) { return STOA_FAIL(STOA_E_NOMEM, "no memory for a connection"); }
    *conn = (stoa_shm_conn){.peer = ++link->serial << SLOT_BITS | slot, .state = STOA_SHM_GREETING, .pidfd = -1};
    stoa_err err = stoa_shm_socket_process(socket, &conn->process);
    if (!err && !watch(link, conn, socket, false)) { err = STOA_FAIL(STOA_E_IO, "a socket cannot be watched"); }
    if (err) {
        free(conn);
        return err;
    }
    conn->socket = socket;
    link->conns[slot] = conn;
    link->live[link->live_count++] = slot;
    *out = conn;
    return STOA_OK;
}

stoa_err stoa_shm_conn_greet(stoa_shm_link *link, stoa_shm_conn *conn, stoa_shm_word word)
{
    int memory = -1;
    uint64_t ring_bytes = stoa_shm_ring_bytes(link->frame_limit, link->queue_frames);
    stoa_err err = stoa_shm_memory_new(&conn->own, ring_bytes, &memory);
    if (err) { return err; }
    stoa_shm_note note = {
        .magic = STOA_SHM_MAGIC, .version = STOA_SHM_VERSION, .word = (uint16_t)word, .ring_bytes = ring_bytes};
    bool went = stoa_shm_socket_say(conn->socket, &note, memory);
    (void)close(memory);
    return went ? STOA_OK : STOA_FAIL(STOA_E_IO, "a greeting did not go out");
}

stoa_err stoa_shm_conn_meet(stoa_shm_link *link, stoa_shm_conn *conn, const stoa_shm_note *note, int memory)
{
    stoa_err err = stoa_shm_memory_map(&conn->other, memory, note->ring_bytes);
    if (!err && !conn->own.face) { err = stoa_shm_conn_greet(link, conn, STOA_SHM_WELCOME); }
    if (err) { return err; }
    conn->face = conn->other.face;
    conn->writer = stoa_shm_writer_of(conn->own.ring, conn->own.ring_bytes, conn->other.face, link->queue_frames);
    conn->reader = stoa_shm_reader_of(conn->other.ring, conn->other.ring_bytes, conn->own.face, link->frame_limit);
    stoa_shm_reader_publish(&conn->reader);
    /* The process that held the socket when it spoke is the one we get, or it is gone and the socket says so. */
    conn->pidfd = conn->process.pid > 0 ? (int)syscall(SYS_pidfd_open, conn->process.pid, 0) : -1;
    (void)watch(link, conn, conn->pidfd, true);
    conn->state = STOA_SHM_NEW;
    conn->up_ns = link->looked_ns;
    conn->silent_beats = 0;
    link->served++;
    link->changed = true;
    return STOA_OK;
}

void stoa_shm_conn_free(stoa_shm_link *link, uint32_t live)
{
    uint32_t slot = link->live[live];
    stoa_shm_conn *conn = link->conns[slot];
    link->live[live] = link->live[--link->live_count];
    link->conns[slot] = NULL;
    if (conn->face) { link->served--; }
    if (conn->pidfd >= 0) { (void)close(conn->pidfd); }
    if (conn->socket >= 0) { (void)close(conn->socket); }
    stoa_shm_memory_free(&conn->own);
    stoa_shm_memory_free(&conn->other);
    link->side->over(link, conn);
    free(conn);
}

/* --- ends */

/* Nothing more comes from there; and the process is not watched, or its death would wake us until it is told. */
static void hang_up(stoa_shm_conn *conn)
{
    if (conn->pidfd >= 0) { (void)close(conn->pidfd); }
    if (conn->socket >= 0) { (void)close(conn->socket); }
    conn->pidfd = conn->socket = -1;
}

void stoa_shm_conn_end(stoa_shm_link *link, stoa_shm_conn *conn)
{
    if (conn->state > STOA_SHM_UP) { return; }
    hang_up(conn);
    conn->state = conn->state == STOA_SHM_GREETING ? STOA_SHM_OVER
                  : conn->state == STOA_SHM_NEW    ? STOA_SHM_NEW /* told up, and heard, first */
                                                   : STOA_SHM_ENDING;
    link->changed = true;
}

void stoa_shm_conn_refuse(stoa_shm_link *link, stoa_shm_conn *conn, stoa_err why)
{
    static const stoa_shm_note none = {.magic = STOA_SHM_MAGIC, .version = STOA_SHM_VERSION, .word = STOA_SHM_REFUSED};
    if (conn->state > STOA_SHM_ENDING) { return; }
    stoa_shm_note note = none;
    note.why = why;
    bool is_told = why != STOA_E_TOO_LARGE && why != STOA_E_CLOSED; /* the end of a connection, but no refusal */
    if (is_told && conn->socket >= 0) { (void)stoa_shm_socket_say(conn->socket, &note, -1); }
    if (is_told) { stoa_shm_link_refused(link, why); }
    hang_up(conn);
    conn->state = conn->state == STOA_SHM_GREETING || conn->state == STOA_SHM_NEW ? STOA_SHM_OVER : STOA_SHM_BROKEN;
    link->changed = true;
}

/* The other side refuses us; with what is no refusal it is not our kind. */
static void refused_by(stoa_shm_link *link, stoa_shm_conn *conn, const stoa_shm_note *note)
{
    stoa_err why = stoa_refusals_coded(note->why);
    stoa_shm_link_refused(link, why ? why : STOA_E_MALFORMED);
    stoa_shm_conn_end(link, conn);
}

/* --- what the socket says */

static void heard(stoa_shm_link *link, stoa_shm_conn *conn, const stoa_shm_note *note, int memory)
{
    if (note->word == STOA_SHM_REFUSED && memory < 0) {
        refused_by(link, conn, note);
    } else if (conn->state == STOA_SHM_GREETING && note->version != STOA_SHM_VERSION) {
        stoa_shm_conn_refuse(link, conn, STOA_E_VERSION);
    } else if (conn->state == STOA_SHM_GREETING && memory >= 0) {
        link->side->greeted(link, conn, note, memory);
    } else {
        stoa_shm_conn_refuse(link, conn, STOA_E_MALFORMED);
    }
    if (memory >= 0) { (void)close(memory); }
}

void stoa_shm_conn_hear(stoa_shm_link *link, stoa_shm_conn *conn, bool died)
{
    stoa_shm_note note;
    int memory;
    for (uint32_t i = 0; i < HEARD_MAX && conn->socket >= 0; i++) {
        switch (stoa_shm_socket_hear(conn->socket, &note, &memory)) {
        case STOA_SHM_NOTHING: i = HEARD_MAX; break;
        case STOA_SHM_RING:
            conn->armed = conn->wished = false;
            link->changed = true;
            break;
        case STOA_SHM_NOTE: heard(link, conn, &note, memory); break;
        case STOA_SHM_GONE:
            if (conn->state == STOA_SHM_GREETING && link->side == &stoa_shm_listen) {
                stoa_shm_link_refused(link, STOA_E_MALFORMED);
            }
            stoa_shm_conn_end(link, conn);
            break;
        case STOA_SHM_NOISE: stoa_shm_conn_refuse(link, conn, STOA_E_MALFORMED); break;
        }
    }
    if (died) { stoa_shm_conn_end(link, conn); }
}

/* --- wakes and beats */

void stoa_shm_conn_wake(stoa_shm_conn *conn)
{
    uint64_t asleep = atomic_load_explicit(&conn->face->asleep, memory_order_acquire);
    uint64_t wants_room = atomic_load_explicit(&conn->face->wants_room, memory_order_relaxed);
    bool sleeps = asleep && asleep != conn->rung &&
                  atomic_load_explicit(&conn->face->read_bytes, memory_order_relaxed) != conn->writer.at;
    if (sleeps || wants_room != conn->rung_room) {
        conn->rung = asleep;
        conn->rung_room = wants_room;
        if (conn->socket >= 0) { stoa_shm_socket_ring(conn->socket); }
    }
}

void stoa_shm_conn_beat(stoa_shm_link *link, stoa_shm_conn *conn)
{
    if (conn->state == STOA_SHM_GREETING && link->side == &stoa_shm_listen &&
        ++conn->silent_beats > STOA_SHM_GREETING_BEATS) {
        stoa_shm_conn_refuse(link, conn, STOA_E_MALFORMED);
    }
    if (conn->state != STOA_SHM_UP) { return; }
    uint64_t beat = atomic_load_explicit(&conn->face->beat, memory_order_relaxed);
    atomic_store_explicit(&conn->own.face->beat, atomic_load_explicit(&conn->own.face->beat, memory_order_relaxed) + 1,
                          memory_order_relaxed);
    conn->silent_beats = beat == conn->beat ? conn->silent_beats + 1 : 0;
    conn->beat = beat;
    bool silent = conn->silent_beats >= STOA_SHM_SILENT_BEATS && link->side == &stoa_shm_dial;
    bool stopped = conn->silent_beats >= STOA_SHM_STOPPED_BEATS && stoa_shm_process_is_stopped(conn->process.pid);
    if (silent || stopped) { stoa_shm_conn_end(link, conn); }
}
