/* fabric/link.c - the operations of transport/link.h over a carrier (fabric/carrier.h): a library that moves messages.
 *
 * Beside the carrier's own channels every connection has a TCP connection, the door. Over it the two sides prove who they are,
 * exchange the carrier's addresses, ping, and say good-bye; so a stranger's bytes are read by our code and not by the
 * library's, and a process that dies is noticed when the kernel closes its sockets. Frames go over the carrier, in batches,
 * from a ring here to the same place of a ring there (fabric/ring.h).
 *
 * Who is gone is noticed:
 *     killed                  when the kernel closes its sockets: milliseconds
 *     stopped, or half-open   who dials: 3 to 3.5 s; who listens: 15 to 15.5 s, for it takes a silent one for a slow reader first
 *     its carrier broke       when the carrier says so
 * Silence is counted in pings, one each half second, not in time: an owner that did not poll for a while asks again before
 * it judges.
 *
 * poll does all the work: it moves what the carrier has, reads doors, tells, and sends what was queued. A frame waits in
 * the open batch until poll, or until the batch is full; with two batches on the wire, until one of them is done.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "transport/fabric/link.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/clock.h"
#include "transport/fabric/inner.h"
#include "transport/z85.h"

enum {
    ROUNDS_MAX = 8,    /* of a poll that finds work again and again */
    DOORS_SELDOM = 64, /* polls between looks at the doors while the carrier keeps us busy */
    SPINS = 64,        /* polls of who spins between looks at doors and time */
    DOOR_EVENTS = 32,
    BURST = 32,    /* events of one connection before the next one's turn */
    TICK_MS = 100, /* while somebody is in his greeting */
    LEAVE_AGAIN_MS = 5,
    LEAVE_EVENTS = 256,
    GREETING_EXTRA = STOA_FABRIC_GREETING_MAX,
};

static stoa_fabric *own(stoa_link *link)
{
    return (stoa_fabric *)(void *)link;
}

uint64_t stoa_fabric_now_ns(void)
{
    return stoa_clock_real.now_ns(&stoa_clock_real);
}

/* --- refusals */

void stoa_fabric_refused(stoa_fabric *link, stoa_err why)
{
    link->counts.refused++;
    stoa_refusals_add(&link->refused, why);
}

static bool tell_refused(stoa_fabric *link, const stoa_link_events *events)
{
    stoa_err why = stoa_refusals_take(&link->refused);
    if (why && events->refused) { events->refused(events->context, why); }
    return why && events->refused;
}

/* --- frames out */

stoa_conn *stoa_fabric_conn(stoa_fabric *link, stoa_peer peer)
{
    uint64_t slot = link->listens ? peer & ((UINT64_C(1) << STOA_FABRIC_PEER_SLOT_BITS) - 1) : 0;
    stoa_conn *conn = slot < link->conn_top ? link->conns[slot] : NULL;
    if (!conn || conn->lost || conn->broken || !conn->told || (link->listens && conn->peer != peer)) { return NULL; }
    return conn;
}

stoa_err stoa_fabric_send(stoa_link *of, stoa_peer peer, const void *bytes, uint32_t size_bytes)
{
    stoa_fabric *link = own(of);
    if (size_bytes == 0) { return STOA_E_INVALID; }
    if (size_bytes > link->frame_limit) { return STOA_E_TOO_LARGE; }
    stoa_conn *conn = stoa_fabric_conn(link, peer);
    if (!conn) { return STOA_E_CLOSED; }
    if (size_bytes > conn->frame_limit) { /* than the other side takes */
        stoa_conn_dismiss(conn, STOA_E_TOO_LARGE);
        stoa_fabric_kick(link);
        return STOA_OK;
    }
    stoa_err err = stoa_out_add(&conn->out, 0, NULL, 0, bytes, size_bytes);
    if (err == STOA_E_FULL || conn->out.next + 1 < conn->out.end) { /* a whole batch waits */
        stoa_conn_flush(conn);
        if (err && !conn->lost) { err = stoa_out_add(&conn->out, 0, NULL, 0, bytes, size_bytes); }
    }
    if (err == STOA_E_FULL) {
        conn->full = true;
        conn->full_acked = conn->out.acked;
        conn->full_next = conn->out.next;
    }
    stoa_fabric_mark(link->dirty, conn->slot);
    return err;
}

/* --- poll */

void stoa_fabric_kick(stoa_fabric *link)
{
    uint64_t one = 1;
    if (!link->kicked) { (void)!write(link->kick, &one, sizeof one); }
    link->kicked = true;
}

static void unkick(stoa_fabric *link)
{
    uint64_t times;
    if (link->kicked) { (void)!read(link->kick, &times, sizeof times); }
    link->kicked = false;
}

static void tick(stoa_fabric *link)
{
    uint64_t now_ns = stoa_fabric_now_ns();
    bool any = false, greets = false;
    if (!link->listens) { stoa_fabric_dial_tick(link, now_ns); }
    if (link->listens && !link->leaving) { stoa_fabric_listen_tick(link); }
    for (uint32_t i = 0; i < link->conn_top; i++) {
        if (!link->conns[i]) { continue; }
        stoa_conn_tick(link->conns[i], now_ns);
        any = true;
        greets = greets || link->conns[i]->phase != STOA_PHASE_UP;
    }
    bool rests = !link->listens && !link->conns[0];
    if (rests && link->dial_ns > now_ns) {
        stoa_link_timer_set(&link->timer, (uint32_t)((link->dial_ns - now_ns) / STOA_MS(1)) + 1);
    } else if (any || rests) {
        stoa_link_timer_set(&link->timer, greets || rests ? TICK_MS : STOA_FABRIC_PING_MS);
    }
}

static void connected(stoa_conn *conn)
{
    stoa_fabric *link = conn->link;
    int error = 0;
    socklen_t size_bytes = sizeof error;
    struct epoll_event event = {.events = EPOLLIN, .data.u64 = conn->slot + 1};
    if (getsockopt(conn->door.fd, SOL_SOCKET, SO_ERROR, &error, &size_bytes) != 0 || error != 0 ||
        epoll_ctl(link->doors, EPOLL_CTL_MOD, conn->door.fd, &event) != 0) {
        stoa_conn_lose(conn);
        return;
    }
    stoa_conn_greet(conn);
}

/* How many doors had something to say. */
static uint32_t look_at_doors(stoa_fabric *link)
{
    struct epoll_event events[DOOR_EVENTS];
    int count = epoll_wait(link->doors, events, DOOR_EVENTS, 0);
    link->looks = 0;
    for (int i = 0; i < count; i++) {
        if (events[i].data.u64 == 0) {
            stoa_fabric_listen_accept(link);
            stoa_link_timer_set(&link->timer, TICK_MS);
            continue;
        }
        stoa_conn *conn = link->conns[events[i].data.u64 - 1];
        if (!conn || conn->lost) { continue; }
        if (conn->phase == STOA_PHASE_CONNECTING) {
            connected(conn);
        } else {
            stoa_conn_heard(conn);
        }
    }
    return count > 0 ? (uint32_t)count : 0;
}

/* Tell up to max events, BURST of a connection at a time. */
static uint32_t tell(stoa_fabric *link, const stoa_link_events *events, uint32_t max)
{
    uint32_t told = 0, words = (link->conn_top + 63) / 64;
    while (told < max && tell_refused(link, events)) {
        told++;
    }
    for (uint32_t idle = 0; told < max && idle <= words; idle++) {
        uint64_t bits = link->ready[link->cursor / 64] >> link->cursor % 64;
        if (bits == 0) {
            link->cursor = (link->cursor / 64 + 1) * 64;
            if (link->cursor >= link->conn_top) { link->cursor = 0; }
            continue;
        }
        uint32_t slot = link->cursor + (uint32_t)__builtin_ctzll(bits);
        for (uint32_t burst = 0;
             burst < BURST && told < max && link->conns[slot] && stoa_conn_tell(link->conns[slot], events); burst++) {
            told++;
        }
        link->cursor = slot + 1 < link->conn_top ? slot + 1 : 0;
        words = (link->conn_top + 63) / 64;
        idle = 0;
        if (told < max && tell_refused(link, events)) { told++; }
    }
    return told;
}

static void flush(stoa_fabric *link)
{
    for (uint32_t word = 0; word < (link->conn_top + 63) / 64; word++) {
        for (uint64_t bits = link->dirty[word]; bits; bits &= bits - 1) {
            stoa_conn *conn = link->conns[word * 64 + (uint32_t)__builtin_ctzll(bits)];
            if (conn) { stoa_conn_flush(conn); }
        }
    }
}

/* Free what is gone and not used by the carrier any more. */
static void sweep(stoa_fabric *link)
{
    for (stoa_conn **at = &link->gone; *at;) {
        stoa_conn *conn = *at;
        if (conn->on_wire > 0 || conn->in.landing > 0 || conn->pen.landing > 0) {
            at = &conn->next;
            continue;
        }
        *at = conn->next;
        stoa_conn_free(conn);
    }
}

uint32_t stoa_fabric_poll(stoa_link *of, const stoa_link_events *events, uint32_t max)
{
    stoa_fabric *link = own(of);
    uint32_t told = 0;
    bool looks = !link->spins || ++link->spun % SPINS == 0; /* for what costs a system call */
    unkick(link);
    if (looks && stoa_link_timer_is_over(&link->timer)) { tick(link); }
    for (unsigned round = 0; round < ROUNDS_MAX; round++) {
        uint32_t moved = link->kind->progress(link->carrier);
        if (link->broke) { stoa_fabric_broke(link); }
        if ((moved == 0 && looks) || ++link->looks >= DOORS_SELDOM) { moved += look_at_doors(link); }
        uint32_t more = tell(link, events, max - told);
        told += more;
        flush(link);
        if (link->gone) { sweep(link); }
        if (told == max || (link->spins && told > 0)) { return told; } /* who spins asks again at once, and has something to do first */
        if (moved + more == 0 && !link->broke && (link->spins || link->kind->arm(link->carrier))) { return told; }
    }
    stoa_fabric_kick(link); /* there is more than one poll is to do */
    return told;
}

/* --- close */

static void ignore_frame(void *context, stoa_peer peer, const char *identity, const void *bytes, uint32_t size_bytes)
{
    (void)context, (void)peer, (void)identity, (void)bytes, (void)size_bytes;
}

static void ignore_peer(void *context, stoa_peer peer)
{
    (void)context, (void)peer;
}

/* True when no other side is left that has something to read. */
static bool all_have_read(stoa_fabric *link)
{
    bool all = true;
    for (uint32_t i = 0; i < link->conn_top; i++) {
        stoa_conn *conn = link->conns[i];
        if (!conn || !conn->told || conn->lost || stoa_out_is_read(&conn->out)) { continue; }
        if (!conn->asked) { conn->asked = stoa_door_send(&conn->door, STOA_DOOR_LEAVING, NULL, 0) == STOA_OK; }
        all = false;
    }
    return all;
}

static void leave(stoa_fabric *link, uint32_t linger_ms)
{
    static const stoa_link_events nobody = {.frame = ignore_frame, .down = ignore_peer, .up = ignore_peer};
    uint64_t until_ns = stoa_fabric_now_ns() + STOA_MS(linger_ms);
    struct pollfd bell = {.fd = link->epoll, .events = POLLIN};
    link->leaving = true;
    while (!all_have_read(link) && stoa_fabric_now_ns() < until_ns) {
        if (stoa_fabric_poll(&link->link, &nobody, LEAVE_EVENTS) < LEAVE_EVENTS) {
            (void)poll(&bell, 1, LEAVE_AGAIN_MS);
        }
    }
}

static void hang_up(stoa_fabric *link)
{
    for (uint32_t i = 0; i < link->conn_limit && link->conns; i++) {
        stoa_conn *conn = link->conns[i];
        if (!conn) { continue; }
        if (!conn->lost) { stoa_conn_dismiss(conn, STOA_OK); }
        stoa_conn_drop(conn);
    }
}

void stoa_fabric_close(stoa_link *of, uint32_t linger_ms)
{
    if (!of) { return; }
    stoa_fabric *link = own(of);
    if (link->listener >= 0) { (void)close(link->listener); }
    if (linger_ms > 0) { leave(link, linger_ms); }
    hang_up(link);
    sweep(link);
    stoa_fabric_conceal_all(link);
    if (link->carrier) { link->kind->close(link->carrier); }
    link->carrier = NULL;
    while (link->gone) {
        stoa_conn *conn = link->gone;
        link->gone = conn->next;
        stoa_conn_free(conn);
    }
    stoa_allowed_free(&link->allowed);
    stoa_link_timer_close(&link->timer);
    int fds[] = {link->kick, link->doors, link->epoll};
    for (unsigned i = 0; i < sizeof fds / sizeof fds[0]; i++) {
        if (fds[i] >= 0) { (void)close(fds[i]); }
    }
    free(link->conns);
    free(link->ready);
    free(link->dirty);
    explicit_bzero(link->secret_key, sizeof link->secret_key);
    free(link);
}

/* --- open */

static stoa_err limits_take(stoa_fabric *link, const stoa_link_options *options)
{
    if (options->frame_limit < STOA_LINK_FRAME_LIMIT_MIN || options->queue_frames == 0 ||
        options->peer_limit > STOA_LINK_PEERS_MAX || options->frame_limit > STOA_RING_BYTES_MAX / 8) {
        return STOA_FAIL(STOA_E_INVALID, "frame_limit %u, queue_frames %u or peer_limit %u is out of range",
                         options->frame_limit, options->queue_frames, options->peer_limit);
    }
    link->listens = options->listen;
    link->trusted = options->trusted;
    link->frame_limit = options->frame_limit;
    link->queue_frames = options->queue_frames;
    link->peer_limit = options->peer_limit ? options->peer_limit : STOA_LINK_PEERS;
    link->conn_limit = options->listen ? link->peer_limit + GREETING_EXTRA : 1;
    link->body_limit = stoa_ring_body_limit(link->frame_limit);
    link->ring_bytes = stoa_ring_bytes(link->frame_limit, link->queue_frames);
    return STOA_OK;
}

/* Keys guard the door. The library's own port stands beside it, and nothing of ours is asked there. */
static stoa_err network_check(const stoa_fabric *link, const stoa_link_options *options, const char *address)
{
    if (stoa_fabric_is_local(link) || options->trusted) { return STOA_OK; }
    if (!options->fenced) {
        return STOA_FAIL(STOA_E_INVALID,
                         "%s leaves this machine, and whoever reaches the port that %s opens there can write to this "
                         "process's memory, with a key or without: say that the network is fenced (or trusted), or "
                         "use zmq+tcp",
                         address, link->kind->name);
    }
    if (!options->secret_key) {
        return STOA_FAIL(STOA_E_INVALID, "%s leaves this machine: it needs a secret key, or a network that is trusted",
                         address);
    }
    return STOA_OK;
}

static stoa_err keys_take(stoa_fabric *link, const stoa_link_options *options)
{
    if (!options->secret_key) {
        bool any = options->public_key || options->server_key || options->allowed_count;
        return any ? STOA_FAIL(STOA_E_INVALID, "keys without a secret key") : STOA_OK;
    }
    uint8_t public_key[STOA_SECURE_KEY_BYTES];
    link->secured = true;
    if (!stoa_z85_decode(options->secret_key, link->secret_key) ||
        (!link->listens && (!stoa_z85_decode(options->public_key, public_key) ||
                            !stoa_z85_decode(options->server_key, link->server_key)))) {
        return STOA_FAIL(STOA_E_INVALID, "a key is missing or not 40 characters of Z85");
    }
    return link->listens ? stoa_allowed_set(&link->allowed, options->allowed, options->allowed_count) : STOA_OK;
}

static stoa_err watch(stoa_fabric *link, int fd)
{
    struct epoll_event event = {.events = EPOLLIN};
    if (fd >= 0 && epoll_ctl(link->epoll, EPOLL_CTL_ADD, fd, &event) == 0) { return STOA_OK; }
    char text[128];
    return STOA_FAIL(STOA_E_IO, "no descriptor: %s", strerror_r(errno, text, sizeof text));
}

static stoa_err tables_make(stoa_fabric *link)
{
    size_t words = (link->conn_limit + 63) / 64;
    link->conns = calloc(link->conn_limit, sizeof(stoa_conn *));
    link->ready = calloc(words, sizeof *link->ready);
    link->dirty = calloc(words, sizeof *link->dirty);
    if (!link->conns || !link->ready || !link->dirty) { return STOA_FAIL(STOA_E_NOMEM, "no memory for a link"); }
    link->epoll = epoll_create1(EPOLL_CLOEXEC);
    link->doors = epoll_create1(EPOLL_CLOEXEC);
    link->kick = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    stoa_err err = watch(link, link->doors);
    if (!err) { err = watch(link, link->kick); }
    return err ? err : stoa_link_timer_open(&link->timer, link->epoll);
}

static stoa_err carrier_open(stoa_fabric *link)
{
    struct sockaddr_storage local;
    stoa_carrier_settings settings = {.transport = link->transport,
                                      .body_limit = link->body_limit,
                                      .listens = link->listens,
                                      .one_sided = !link->secured || link->trusted};
    settings.local = stoa_fabric_local(link, &local) ? (const struct sockaddr *)&local : NULL;
    settings.epoll = link->epoll;
    settings.context = link;
    return link->kind->open(&settings, &link->carrier);
}

static stoa_err begin(stoa_fabric *link, const char *address, const stoa_link_options *options)
{
    stoa_err err = stoa_fabric_resolve(link, address);
    if (!err) { err = limits_take(link, options); }
    if (!err) { err = keys_take(link, options); }
    if (!err) { err = network_check(link, options, address); }
    if (!err) { err = tables_make(link); }
    if (!err && link->listens) { err = stoa_fabric_listen_open(link); }
    stoa_fabric_name(link, link->link.ops->scheme);
    if (!err) { err = carrier_open(link); }
    if (!err && !link->listens) { err = stoa_fabric_dial_open(link); }
    if (!err) { stoa_link_timer_set(&link->timer, TICK_MS); }
    return err;
}

stoa_err stoa_fabric_open(const stoa_link_ops *ops, const stoa_carrier_ops *kind, const char *address,
                          const stoa_link_options *options, stoa_link **out)
{
    stoa_fabric *link = calloc(1, sizeof *link);
    if (!link) { return STOA_FAIL(STOA_E_NOMEM, "no memory for a link"); }
    link->link.ops = ops;
    link->kind = kind;
    link->transport = strchr(ops->scheme, '+') + 1;
    link->epoll = link->doors = link->kick = link->listener = -1;
    link->timer = STOA_LINK_TIMER_CLOSED;
    stoa_err err = begin(link, address, options);
    if (err) {
        stoa_fabric_close(&link->link, 0);
        return STOA_PASS(err, "cannot %s %s", options->listen ? "listen at" : "dial", address);
    }
    *out = &link->link;
    return STOA_OK;
}

/* --- the other operations */

int stoa_fabric_fd(stoa_link *link)
{
    return own(link)->epoll;
}

void stoa_fabric_spin(stoa_link *link, bool on)
{
    own(link)->spins = on;
}

const char *stoa_fabric_address(stoa_link *link)
{
    return own(link)->address;
}

void stoa_fabric_counts(stoa_link *link, stoa_link_counts *out)
{
    *out = own(link)->counts;
}

/* What the connections there are have agreed on; before the first, what this side alone makes sure of. */
static bool encrypts(const stoa_fabric *link)
{
    bool any = false, all = true;
    for (uint32_t i = 0; i < link->conn_top; i++) {
        const stoa_conn *conn = link->conns[i];
        if (!conn || conn->lost || conn->phase != STOA_PHASE_UP) { continue; }
        any = true;
        all = all && conn->encrypted;
    }
    return any ? all : link->secured && !link->trusted;
}

void stoa_fabric_describe(stoa_link *of, stoa_link_traits *out)
{
    stoa_fabric *link = own(of);
    *out = (stoa_link_traits){.proves = link->secured, .encrypts = encrypts(link), .one_sided = true};
    out->writes_memory = link->writes;
    out->rendezvous = true;
    link->kind->describe(link->carrier, out->provider, sizeof out->provider, out->note, sizeof out->note);
}

void stoa_fabric_part(stoa_link *of, stoa_peer peer)
{
    stoa_fabric *link = own(of);
    stoa_conn *conn = link->listens ? stoa_fabric_conn(link, peer) : NULL;
    if (!conn || conn->phase != STOA_PHASE_UP) { return; }
    stoa_conn_dismiss(conn, STOA_OK);
    stoa_fabric_kick(link);
}

stoa_err stoa_fabric_allow(stoa_link *of, const stoa_link_allowed *allowed, uint32_t count)
{
    stoa_fabric *link = own(of);
    if (!link->listens || !link->secured) {
        return STOA_FAIL(STOA_E_INVALID, "%s has no allow-list: it is dialled, or has no keys", link->address);
    }
    stoa_err err = stoa_allowed_set(&link->allowed, allowed, count);
    for (uint32_t i = 0; i < link->conn_top && !err; i++) {
        stoa_conn *conn = link->conns[i];
        if (!conn || conn->lost || conn->phase < STOA_PHASE_OFFER || conn->phase > STOA_PHASE_UP) { continue; }
        const char *name = stoa_allowed_name(&link->allowed, conn->key);
        if (name && strcmp(conn->identity, name) == 0) { continue; }
        if (name && conn->phase < STOA_PHASE_UP) {
            memcpy(conn->identity, name, strnlen(name, sizeof conn->identity - 1) + 1);
            continue;
        }
        if (!name) { stoa_fabric_refused(link, STOA_E_DENIED); }
        stoa_conn_dismiss(conn, name ? STOA_OK : STOA_E_DENIED);
        stoa_fabric_kick(link);
    }
    return err;
}
