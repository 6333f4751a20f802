/* shm/link.c - the operations of transport/link.h between processes of one machine, through shared memory.
 *
 * Each connection has a UNIX socket (socket.h) and two pieces of memory (memory.h), one written by each side, each with a
 * ring of frames in it (ring.h). Frames go through the rings alone; a socket carries the greeting, a byte to wake who
 * sleeps, and the news that the other side is gone.
 *
 *     who dials      connect, HELLO + its memory
 *     who listens    checks the user, WELCOME + its memory        or REFUSED + why
 *
 * Nobody is woken who is awake. Before an owner may sleep, rest() writes into its faces that it does, and looks once
 * more at every ring; who writes a frame and sees that rings once. Between the two a full fence is needed on both sides.
 * Who sleeps has it in rest(). Who writes does not pay for one with each frame: send looks without it, and rest() or
 * look() again with it, which is why link.h wants a poll after the last send. Should an owner not do that, the other one
 * wakes with its next beat. An owner that spins (link.h) never says that it sleeps, so between two that do no system
 * call is made but for the look around.
 *
 * look() is that: socket news, beats, the next attempt to dial. It is made before each sleep, and every so many polls
 * without one: as many as take about 100 us, learned from the clock that each look reads.
 *
 * A process that dies is noticed by its pidfd and its socket; what it had written is still told. One that is stopped
 * does not beat: after 3 beats (1.5 s) /proc tells that it is stopped, and that is a down. A listener that is not
 * stopped and does not poll is down after 10 beats (5 s); a busy peer of a listener is a slow reader.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "transport/shm/link.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "base/clock.h"
#include "transport/shm/inner.h"

enum { TAG_TIMER, TAG_AGAIN, TAG_LISTENER }; /* of epoll; connections have greater ones */
enum { ROUNDS_MAX = 8 }; /* of a poll that finds work again and again */
enum { NEWS_MAX = 64, BURST = 64, LOOK_MAX = 65536, LEAVE_AGAIN_MS = 5, FRAME_ALIGN = 64 };
#define LOOK_OFTEN_NS  STOA_US(50)
#define LOOK_SELDOM_NS STOA_US(200)

static stoa_shm_link *own(stoa_link *link)
{
    return (stoa_shm_link *)(void *)link;
}

static uint64_t now_ns(void)
{
    return stoa_clock_real.now_ns(&stoa_clock_real);
}

static stoa_shm_conn *live_at(const stoa_shm_link *self, uint32_t i)
{
    return self->conns[self->live[i]];
}

/* --- refusals */

void stoa_shm_link_refused(stoa_shm_link *link, stoa_err why)
{
    link->counts.refused++;
    link->changed = true;
    link->pause_ms = 1000; /* link.h: who was refused dials once a second */
    stoa_refusals_add(&link->refused, why);
}

static uint32_t tell_refused(stoa_shm_link *self, const stoa_link_events *events, uint32_t max)
{
    uint32_t told = 0;
    if (!events->refused) { self->refused = (stoa_refusals){0}; }
    for (; told < max && self->refused.bits; told++) { events->refused(events->context, stoa_refusals_take(&self->refused)); }
    return told;
}

/* --- looking around */

static void timer_set(stoa_shm_link *self, uint64_t now)
{
    uint64_t at = self->dial_ns && self->dial_ns < self->beat_ns ? self->dial_ns : self->beat_ns;
    if (at == self->timer_ns) { return; }
    uint64_t in_ns = at > now ? at - now : 1;
    struct itimerspec when = {
        .it_value = {.tv_sec = (time_t)(in_ns / STOA_S(1)), .tv_nsec = (long)(in_ns % STOA_S(1))}};
    int rc = timerfd_settime(self->timer, 0, &when, NULL);
    STOA_ASSERT(rc == 0);
    self->timer_ns = at;
}

static void drain(int fd)
{
    uint64_t count;
    ssize_t got = read(fd, &count, sizeof count); /* AGAIN: it is empty already */
    (void)got;
}

static void hear_news(stoa_shm_link *self)
{
    struct epoll_event news[NEWS_MAX];
    int count = epoll_wait(self->epoll, news, NEWS_MAX, 0);
    for (int i = 0; i < count; i++) {
        uint64_t tag = news[i].data.u64;
        stoa_shm_conn *conn = tag > TAG_LISTENER ? stoa_shm_conn_at(self, tag >> 1) : NULL;
        if (conn) {
            stoa_shm_conn_hear(self, conn, tag & 1);
        } else if (tag == TAG_TIMER) {
            drain(self->timer);
            self->timer_ns = 0;
        } else if (tag == TAG_AGAIN) {
            drain(self->again);
        } else if (tag == TAG_LISTENER) {
            self->side->look(self, self->looked_ns);
        }
    }
}

/* How many polls are about 100 us. */
static void pace(stoa_shm_link *self, uint64_t took_ns)
{
    if (took_ns < LOOK_OFTEN_NS && self->look_every < LOOK_MAX) { self->look_every *= 2; }
    if (took_ns > LOOK_SELDOM_NS && self->look_every > 1) { self->look_every /= 2; }
    self->polls = 0;
}

static void look(stoa_shm_link *self)
{
    uint64_t now = now_ns();
    pace(self, now - self->looked_ns);
    self->looked_ns = now;
    hear_news(self);
    if (now >= self->beat_ns) {
        self->beat_ns = now + STOA_MS(STOA_SHM_BEAT_MS);
        for (uint32_t i = 0; i < self->live_count; i++) {
            stoa_shm_conn_beat(self, live_at(self, i));
        }
        if (self->deaf) { self->side->look(self, now); }
    }
    if (self->dial_ns && now >= self->dial_ns) { self->side->look(self, now); }
    timer_set(self, now);
}

/* What the others wait for, seen behind a fence. */
static void wake_all(stoa_shm_link *self)
{
    atomic_thread_fence(memory_order_seq_cst);
    for (uint32_t i = 0; i < self->live_count; i++) {
        stoa_shm_conn *conn = live_at(self, i);
        if (conn->state == STOA_SHM_UP) { stoa_shm_conn_wake(conn); }
    }
}

/* Tell the others how far we have read. */
static void publish_all(stoa_shm_link *self)
{
    for (uint32_t i = 0; i < self->live_count; i++) {
        stoa_shm_conn *conn = live_at(self, i);
        if (conn->state == STOA_SHM_UP && !stoa_shm_reader_published(&conn->reader)) {
            stoa_shm_reader_publish(&conn->reader);
        }
    }
}

/* --- before a sleep */

static void arm(stoa_shm_link *self, stoa_shm_conn *conn)
{
    if (!conn->armed) {
        conn->armed = true;
        atomic_store_explicit(&conn->own.face->asleep, ++self->calls, memory_order_release);
    }
    if (conn->full_bytes && !conn->wished) {
        conn->wished = true;
        atomic_store_explicit(&conn->own.face->wants_room, ++self->calls, memory_order_release);
    }
}

/* The owner is not to sleep before its next poll. */
static void come_again(stoa_shm_link *self)
{
    uint64_t one = 1;
    ssize_t put = write(self->again, &one, sizeof one);
    STOA_ASSERT(put == (ssize_t)sizeof one);
}

/* There is room for what was not taken: our owner is woken, although it has polled since. */
static void offer_room(stoa_shm_link *self, stoa_shm_conn *conn)
{
    stoa_err err = stoa_shm_writer_look(&conn->writer);
    if (err) {
        stoa_shm_conn_refuse(self, conn, err);
    } else if (stoa_shm_writer_fits(&conn->writer, conn->writer.at + conn->full_bytes)) {
        conn->full_bytes = 0;
        come_again(self);
    }
}

/* Prepare for a sleep of the owner; true: there is something to tell instead. */
static bool rest(stoa_shm_link *self)
{
    look(self);
    if (self->changed) { return true; }
    publish_all(self);
    for (uint32_t i = 0; i < self->live_count; i++) {
        if (live_at(self, i)->state == STOA_SHM_UP) { arm(self, live_at(self, i)); }
    }
    wake_all(self);
    bool more = false;
    for (uint32_t i = 0; i < self->live_count; i++) {
        stoa_shm_conn *conn = live_at(self, i);
        if (conn->state != STOA_SHM_UP) { continue; }
        more = more || stoa_shm_reader_has(&conn->reader);
        if (conn->full_bytes) { offer_room(self, conn); }
    }
    return more || self->changed;
}

/* --- frames and events */

static stoa_err send_frame(stoa_link *link, stoa_peer peer, const void *bytes, uint32_t size_bytes)
{
    stoa_shm_link *self = own(link);
    stoa_shm_conn *conn = self->side == &stoa_shm_dial ? self->conns[0] : stoa_shm_conn_at(self, peer);
    if (size_bytes - 1 >= self->frame_limit) { return size_bytes ? STOA_E_TOO_LARGE : STOA_E_INVALID; }
    if (!conn || conn->state != STOA_SHM_UP) { return STOA_E_CLOSED; }
    stoa_err err = stoa_shm_write(&conn->writer, bytes, size_bytes);
    conn->full_bytes = 0;
    if (__builtin_expect(err, STOA_OK)) {
        if (err == STOA_E_FULL) {
            conn->full_bytes = stoa_shm_frame_bytes(size_bytes);
            return err;
        }
        stoa_shm_conn_refuse(self, conn, err);
        return STOA_E_CLOSED;
    }
    uint64_t asleep = atomic_load_explicit(&conn->face->asleep, memory_order_relaxed);
    if (__builtin_expect(asleep != conn->rung && asleep, 0)) {
        conn->rung = asleep;
        stoa_shm_socket_ring(conn->socket);
    }
    return STOA_OK;
}

static uint32_t tell_frames(stoa_shm_link *self, stoa_shm_conn *conn, const stoa_link_events *events, uint32_t max)
{
    uint32_t told = 0, size_bytes;
    while (told < max && (conn->state == STOA_SHM_UP || conn->state == STOA_SHM_ENDING)) {
        stoa_err err = stoa_shm_read(&conn->reader, self->frame, &size_bytes);
        if (__builtin_expect(err, STOA_OK)) { stoa_shm_conn_refuse(self, conn, err); }
        if (!size_bytes) { break; }
        events->frame(events->context, conn->peer, conn->identity, self->frame, size_bytes);
        told++;
    }
    return told;
}

/* Tell what a connection has to say, max > 0 events at most; returns how many. It may be freed then. */
static uint32_t serve(stoa_shm_link *self, uint32_t live, const stoa_link_events *events, uint32_t max)
{
    stoa_shm_conn *conn = live_at(self, live);
    uint32_t told = 0;
    if (conn->state == STOA_SHM_NEW) {
        conn->state = conn->socket >= 0 ? STOA_SHM_UP : STOA_SHM_ENDING;
        self->counts.ups++;
        events->up(events->context, conn->peer);
        told++;
    }
    if (conn->state != STOA_SHM_GREETING && conn->state != STOA_SHM_OVER) {
        told += tell_frames(self, conn, events, max - told);
    }
    if (conn->state <= STOA_SHM_UP || told == max) { return told; }
    if (conn->state != STOA_SHM_OVER) {
        self->counts.downs++;
        events->down(events->context, conn->peer);
        told++;
    }
    stoa_shm_conn_free(self, live);
    return told;
}

/* Everybody in turn, until all are silent or max was told. */
static uint32_t sweep(stoa_shm_link *self, const stoa_link_events *events, uint32_t max)
{
    uint32_t told = 0;
    for (uint32_t silent = 0; told < max && silent < self->live_count; self->next++) {
        if (self->next >= self->live_count) { self->next = 0; }
        uint32_t left = max - told, count = serve(self, self->next, events, left < BURST ? left : BURST);
        silent = count ? 0 : silent + 1;
        told += count;
    }
    return told;
}

static uint32_t poll_link(stoa_link *link, const stoa_link_events *events, uint32_t max)
{
    stoa_shm_link *self = own(link);
    uint32_t told = 0, rounds = 0;
    bool more;
    if (++self->polls > self->look_every) {
        look(self);
        wake_all(self);
    }
    do {
        self->changed = false;
        if (self->refused.bits) { told += tell_refused(self, events, max - told); }
        told += sweep(self, events, max - told);
        if (told == max) { return told; }
        more = self->changed || (!self->spins && rest(self));
    } while (more && ++rounds < ROUNDS_MAX);
    if (more && !self->spins) { come_again(self); }
    if (self->spins) { publish_all(self); }
    return told;
}

static void spin(stoa_link *link, bool on)
{
    stoa_shm_link *self = own(link);
    self->spins = on;
    for (uint32_t i = 0; on && i < self->live_count; i++) {
        stoa_shm_conn *conn = live_at(self, i);
        conn->armed = false;
        if (conn->own.face) { atomic_store_explicit(&conn->own.face->asleep, 0, memory_order_relaxed); }
    }
}

static void part(stoa_link *link, stoa_peer peer)
{
    stoa_shm_link *self = own(link);
    stoa_shm_conn *conn = self->side == &stoa_shm_listen ? stoa_shm_conn_at(self, peer) : NULL;
    if (!conn || conn->state != STOA_SHM_UP) { return; }
    stoa_shm_conn_end(self, conn);
    come_again(self);
}

/* --- close */

/* Whether all that was sent was read, or nobody is left to read it. */
static bool is_read(stoa_shm_link *self)
{
    for (uint32_t i = 0; i < self->live_count; i++) {
        stoa_shm_conn *conn = live_at(self, i);
        if (conn->state != STOA_SHM_UP || stoa_shm_writer_look(&conn->writer)) { continue; }
        if (conn->writer.read_bytes != conn->writer.at) { return false; }
    }
    return true;
}

/* The other sides learn of the end when their sockets are closed, behind all that is in the rings. */
static void leave(stoa_shm_link *self, uint32_t linger_ms)
{
    uint64_t until = now_ns() + STOA_MS(linger_ms);
    struct pollfd bell = {.fd = self->epoll, .events = POLLIN};
    wake_all(self);
    while (!is_read(self) && now_ns() < until) {
        (void)poll(&bell, 1, LEAVE_AGAIN_MS);
        look(self);
    }
}

static void close_link(stoa_link *link, uint32_t linger_ms)
{
    if (!link) { return; }
    stoa_shm_link *self = own(link);
    stoa_shm_socket_unlisten(self->name, self->listener);
    self->listener = -1;
    self->dial_ns = 0;
    if (linger_ms > 0) { leave(self, linger_ms); }
    while (self->live_count > 0) {
        stoa_shm_conn_free(self, 0);
    }
    int fds[] = {self->epoll, self->timer, self->again};
    for (unsigned i = 0; i < sizeof fds / sizeof fds[0]; i++) {
        if (fds[i] >= 0) { (void)close(fds[i]); }
    }
    free(self->conns);
    free(self->live);
    free(self->frame);
    free(self->allowed);
    free(self);
}

/* --- open */

static stoa_err options_take(stoa_shm_link *self, const char *address, const stoa_link_options *options)
{
    if (snprintf(self->address, sizeof self->address, "%s", address) >= (int)sizeof self->address) {
        return STOA_FAIL(STOA_E_INVALID, "the address is longer than %zu bytes", sizeof self->address - 1);
    }
    self->name = self->address + strlen("shm://");
    if (options->secret_key || options->public_key) {
        return STOA_FAIL(STOA_E_INVALID, "shm proves users and takes no keys of its own");
    }
    if (options->frame_limit < STOA_LINK_FRAME_LIMIT_MIN || options->frame_limit > STOA_SHM_FRAME_LIMIT_MAX ||
        options->queue_frames == 0 || options->peer_limit > STOA_LINK_PEERS_MAX) {
        return STOA_FAIL(STOA_E_INVALID, "frame_limit %u, queue_frames %u or peer_limit %u is out of range",
                         options->frame_limit, options->queue_frames, options->peer_limit);
    }
    self->frame_limit = options->frame_limit;
    self->queue_frames = options->queue_frames;
    self->peer_limit = !options->listen ? 1 : options->peer_limit ? options->peer_limit : STOA_LINK_PEERS;
    /* who was refused for a newcomer keeps its slot until it is told */
    self->slots = options->listen ? self->peer_limit + STOA_SHM_GREETING_MAX + STOA_SHM_ACCEPT_MAX : 1;
    self->server_uid = geteuid();
    if (!options->listen && options->server_key && !stoa_shm_key_uid(options->server_key, &self->server_uid)) {
        return STOA_FAIL(STOA_E_INVALID, "the listener's key is not \"uid:\" and a number");
    }
    return STOA_OK;
}

static bool watch(const stoa_shm_link *self, int fd, uint64_t tag)
{
    struct epoll_event event = {.events = EPOLLIN, .data.u64 = tag};
    return fd >= 0 && epoll_ctl(self->epoll, EPOLL_CTL_ADD, fd, &event) == 0;
}

void stoa_shm_link_listens(stoa_shm_link *link, bool on)
{
    struct epoll_event event = {.events = EPOLLIN, .data.u64 = TAG_LISTENER};
    (void)epoll_ctl(link->epoll, on ? EPOLL_CTL_ADD : EPOLL_CTL_DEL, link->listener, &event);
    link->deaf = !on;
}

static stoa_err begin(stoa_shm_link *self, const stoa_link_options *options)
{
    self->conns = calloc(self->slots, sizeof *self->conns);
    self->live = calloc(self->slots, sizeof *self->live);
    self->frame = aligned_alloc(FRAME_ALIGN, (self->frame_limit + FRAME_ALIGN - 1) / FRAME_ALIGN * FRAME_ALIGN);
    if (!self->conns || !self->live || !self->frame) { return STOA_FAIL(STOA_E_NOMEM, "no memory for a link"); }
    self->epoll = epoll_create1(EPOLL_CLOEXEC);
    self->timer = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
    self->again = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (self->epoll < 0 || !watch(self, self->timer, TAG_TIMER) || !watch(self, self->again, TAG_AGAIN)) {
        char text[128];
        return STOA_FAIL(STOA_E_IO, "no descriptor: %s", strerror_r(errno, text, sizeof text));
    }
    if (options->listen && options->allowed_count) {
        stoa_err err = self->link.ops->allow(&self->link, options->allowed, options->allowed_count);
        if (err) { return err; }
    }
    self->look_every = 1;
    self->looked_ns = now_ns();
    self->beat_ns = self->looked_ns + STOA_MS(STOA_SHM_BEAT_MS);
    stoa_err err = self->side->open(self);
    if (!err) { timer_set(self, self->looked_ns); }
    return err;
}

static stoa_err open_link(const char *address, const stoa_link_options *options, stoa_link **out)
{
    stoa_shm_link *self = calloc(1, sizeof *self);
    if (!self) { return STOA_FAIL(STOA_E_NOMEM, "no memory for a link"); }
    *self = (stoa_shm_link){.link.ops = &stoa_link_shm,
                            .side = options->listen ? &stoa_shm_listen : &stoa_shm_dial,
                            .epoll = -1,
                            .timer = -1,
                            .again = -1,
                            .listener = -1};
    stoa_err err = options_take(self, address, options);
    if (!err) { err = begin(self, options); }
    if (err) {
        close_link(&self->link, 0);
        return STOA_PASS(err, "cannot %s %s", options->listen ? "listen at" : "dial", address);
    }
    *out = &self->link;
    return STOA_OK;
}

/* --- the other operations */

static int fd_of(stoa_link *link)
{
    return own(link)->epoll;
}

static const char *address_of(stoa_link *link)
{
    return own(link)->address;
}

static void counts_of(stoa_link *link, stoa_link_counts *out)
{
    *out = own(link)->counts;
}

const stoa_link_ops stoa_link_shm = {
    .scheme = "shm",
    .open = open_link,
    .send = send_frame,
    .poll = poll_link,
    .fd = fd_of,
    .spin = spin,
    .address = address_of,
    .allow = stoa_shm_allow,
    .part = part,
    .counts = counts_of,
    .close = close_link,
};
