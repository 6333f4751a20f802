/* zmq/link.c - the operations of transport/link.h over ZeroMQ, for both schemes.
 *
 * An endpoint has a libzmq context of its own: one I/O thread and, where it listens with encryption, one thread for the
 * ZAP handler. It listens with a ROUTER (listen.c) or dials with a DEALER (dial.c). On the wire:
 *
 *     [frame]         one part, 1 to frame_limit bytes
 *     []              one empty part. From who dials: here I am, first and then twice a second; the listener answers
 *                     the later ones the same way
 *     [][why]         an empty part, and the name of an error. From who listens: good-bye, you are not served (any more)
 *
 * Nothing else is. Who dials learns within 5 s that the other side is stopped or unreachable; a listener learns from the
 * kernel that a process or host is gone (TCP: 10 to 30 s), and takes a stopped one for a slow reader.
 *
 * libzmq's linger is not used: it closes a connection as soon as the kernel has all that was sent, and over TCP the
 * kernel throws away what the other side has not taken yet when that side says anything more, be it only the question
 * above. A link that closes with time keeps its connections and reads: who listens says good-bye (CLOSED) and waits
 * until all have hung up; who dials asks once more and waits for the answer, which comes when all before it was read.
 *
 * ZeroMQ's own heartbeats are not used: libzmq 4.3 aborts the process when one is due on a connection that broke while
 * its queue was full (its issue 4364), and it takes a connection whose queue is full for dead.
 *
 * libzmq's descriptors and our timers are in one epoll set, whose descriptor is the link's. libzmq
 * signals only that it has something to say; poll therefore reads both sockets until they are empty.
 *
 * What a peer can do without a key: connect, and keep a connection for 5 s without going on. libzmq has no limit on how
 * many do that at once; the process' descriptor limit is the bound.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "transport/zmq/link.h"

#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "base/clock.h"
#include "transport/zmq/inner.h"

static stoa_zmq_link *own(stoa_link *link)
{
    return (stoa_zmq_link *)(void *)link;
}

/* --- shared by the sides */

void stoa_zmq_link_refused(stoa_zmq_link *link, stoa_err why)
{
    link->counts.refused++;
    stoa_refusals_add(&link->refused, why);
}

bool stoa_zmq_link_tell_refused(stoa_zmq_link *link, const stoa_link_events *events)
{
    stoa_err why = stoa_refusals_take(&link->refused);
    if (why && events->refused) { events->refused(events->context, why); }
    return why && events->refused;
}

void stoa_zmq_link_hold(stoa_zmq_link *link, zmq_msg_t *msg)
{
    STOA_ASSERT(!link->holds);
    zmq_msg_init(&link->held);
    zmq_msg_move(&link->held, msg);
    link->holds = true;
}

void stoa_zmq_link_release(stoa_zmq_link *link)
{
    if (link->holds) { zmq_msg_close(&link->held); }
    link->holds = false;
}

/* --- frames and events */

/* libzmq wakes the owner when a full queue has room again, but the poll that comes between a full send and the sleep
 * can swallow that; hence the timer. */
enum { FULL_AGAIN_MS = 5, SILENT_AGAIN_MS = 1 };

static stoa_err send_frame(stoa_link *link, stoa_peer peer, const void *bytes, uint32_t size_bytes)
{
    stoa_zmq_link *self = own(link);
    if (size_bytes == 0) { return STOA_E_INVALID; }
    if (size_bytes > self->settings.frame_limit) { return STOA_E_TOO_LARGE; }
    stoa_err err = self->side->send(self, peer, bytes, size_bytes);
    self->was_full = self->was_full || err == STOA_E_FULL;
    return err;
}

static uint32_t poll_link(stoa_link *link, const stoa_link_events *events, uint32_t max)
{
    stoa_zmq_link *self = own(link);
    uint32_t told = 0;
    (void)stoa_link_timer_is_over(&self->again); /* it has woken the owner, that is all */
    self->silent = 0;
    self->watch_due = true;
    while (told < max && self->side->step(self, events)) {
        told++;
    }
    bool early = self->silent > STOA_ZMQ_SILENT_MAX;
    if (early || self->was_full) { stoa_link_timer_set(&self->again, early ? SILENT_AGAIN_MS : FULL_AGAIN_MS); }
    self->was_full = false;
    return told;
}

/* --- close */

enum { LEAVE_EVENTS = 256, LEAVE_AGAIN_MS = 5 }; /* room in a full queue is looked for so often */

static void ignore_frame(void *context, stoa_peer peer, const char *identity, const void *bytes, uint32_t size_bytes)
{
    (void)context, (void)peer, (void)identity, (void)bytes, (void)size_bytes;
}

static void ignore_peer(void *context, stoa_peer peer)
{
    (void)context, (void)peer;
}

/* Until the other sides have read what was sent to them, or the time is over. */
static void leave(stoa_zmq_link *self, uint32_t linger_ms)
{
    static const stoa_link_events nobody = {.frame = ignore_frame, .down = ignore_peer, .up = ignore_peer};
    uint64_t until_ns = stoa_clock_real.now_ns(&stoa_clock_real) + STOA_MS(linger_ms);
    struct pollfd bell = {.fd = self->epoll, .events = POLLIN};
    while (!self->side->leave(self) && stoa_clock_real.now_ns(&stoa_clock_real) < until_ns) {
        if (poll_link(&self->link, &nobody, LEAVE_EVENTS) < LEAVE_EVENTS) { (void)poll(&bell, 1, LEAVE_AGAIN_MS); }
    }
}

static void close_link(stoa_link *link, uint32_t linger_ms)
{
    if (!link) { return; }
    stoa_zmq_link *self = own(link);
    if (linger_ms > 0) { leave(self, linger_ms); }
    stoa_zmq_socket_close(&self->socket);
    if (self->context) { zmq_ctx_shutdown(self->context); }
    if (self->side) { self->side->release(self); }
    while (self->context && zmq_ctx_term(self->context) != 0 && errno == EINTR) {}
    stoa_zmq_link_release(self);
    if (self->epoll >= 0) { close(self->epoll); }
    stoa_link_timer_close(&self->again);
    explicit_bzero(&self->settings, sizeof self->settings);
    free(self);
}

/* --- open */

/* Whether an address of libzmq cannot leave this machine: ipc, and tcp on a loopback address. */
static bool is_local(const char *endpoint)
{
    if (strncmp(endpoint, "ipc://", 6) == 0) { return true; }
    const char *host = endpoint + strlen("tcp://");
    const char *end = strrchr(host, ':');
    if (!end || (size_t)(end - host) >= INET6_ADDRSTRLEN) { return false; }
    char text[INET6_ADDRSTRLEN];
    memcpy(text, host, (size_t)(end - host));
    text[end - host] = '\0';

    struct in_addr v4;
    return strcmp(text, "localhost") == 0 || strcmp(text, "[::1]") == 0 ||
           (inet_pton(AF_INET, text, &v4) == 1 && ntohl(v4.s_addr) >> 24 == 127);
}

static stoa_err address_take(stoa_zmq_link *self, const char *address)
{
    size_t size_bytes = strnlen(address, STOA_ZMQ_ADDRESS_BYTES);
    const char *name = strstr(address, "://");
    if (size_bytes == STOA_ZMQ_ADDRESS_BYTES || !name || !name[3]) {
        return STOA_FAIL(STOA_E_INVALID, "the address is empty or longer than %d bytes", STOA_ZMQ_ADDRESS_BYTES - 1);
    }
    memcpy(self->address, address, size_bytes + 1);
    memcpy(self->endpoint, address + strlen("zmq+"), size_bytes + 1 - strlen("zmq+"));
    self->settings.ipv6 = strchr(self->endpoint, '[') != NULL;
    return STOA_OK;
}

static stoa_err key_take(char to[STOA_KEY_TEXT_BYTES], const char *key, const char *what)
{
    uint8_t bytes[32];
    bool is_key = key && strnlen(key, STOA_KEY_TEXT_BYTES) == STOA_KEY_TEXT_BYTES - 1 && zmq_z85_decode(bytes, key);
    explicit_bzero(bytes, sizeof bytes);
    if (!is_key) { return STOA_FAIL(STOA_E_INVALID, "the %s key is missing or not 40 characters of Z85", what); }
    memcpy(to, key, STOA_KEY_TEXT_BYTES);
    return STOA_OK;
}

static stoa_err keys_take(stoa_zmq_link *self, const stoa_link_options *options)
{
    if (options->secret_key) {
        stoa_err err = key_take(self->settings.secret_key, options->secret_key, "secret");
        if (!err && !options->listen) { err = key_take(self->settings.public_key, options->public_key, "public"); }
        if (!err && !options->listen) { err = key_take(self->settings.server_key, options->server_key, "server's"); }
        return err;
    }
    if (options->public_key || options->server_key || options->allowed_count) {
        return STOA_FAIL(STOA_E_INVALID, "keys without a secret key");
    }
    if (!is_local(self->endpoint)) {
        return STOA_FAIL(STOA_E_INVALID, "%s leaves this machine: it needs a secret key", self->address);
    }
    return STOA_OK;
}

static stoa_err limits_take(stoa_zmq_link *self, const stoa_link_options *options)
{
    if (options->frame_limit < STOA_LINK_FRAME_LIMIT_MIN || options->queue_frames == 0 ||
        options->peer_limit > STOA_LINK_PEERS_MAX) {
        return STOA_FAIL(STOA_E_INVALID, "frame_limit %u, queue_frames %u or peer_limit %u is out of range",
                         options->frame_limit, options->queue_frames, options->peer_limit);
    }
    self->settings.listen = options->listen;
    self->settings.frame_limit = options->frame_limit;
    self->settings.queue_frames = options->queue_frames;
    return STOA_OK;
}

static stoa_err begin(stoa_zmq_link *self, const char *address, const stoa_zmq_side *side,
                      const stoa_link_options *options)
{
    stoa_err err = address_take(self, address);
    if (!err) { err = limits_take(self, options); }
    if (!err) { err = keys_take(self, options); }
    if (err) { return err; }
    self->context = zmq_ctx_new();
    self->epoll = epoll_create1(EPOLL_CLOEXEC);
    if (!self->context || self->epoll < 0) {
        return STOA_FAIL(STOA_E_IO, "no libzmq context or descriptor: %s", zmq_strerror(errno));
    }
    err = stoa_link_timer_open(&self->again, self->epoll);
    if (err) { return err; }
    self->side = side;
    return side->open(self, options);
}

static stoa_err open_link(const stoa_link_ops *ops, const char *address, const stoa_link_options *options,
                          stoa_link **out)
{
    const stoa_zmq_side *side = options->listen ? &stoa_zmq_listen : &stoa_zmq_dial;
    stoa_zmq_link *self = calloc(1, side->size_bytes);
    if (!self) { return STOA_FAIL(STOA_E_NOMEM, "no memory for a link"); }
    self->link.ops = ops;
    self->epoll = -1;
    self->again = STOA_LINK_TIMER_CLOSED;
    stoa_err err = begin(self, address, side, options);
    if (err) {
        close_link(&self->link, 0);
        return STOA_PASS(err, "cannot %s %s", options->listen ? "listen at" : "dial", address);
    }
    *out = &self->link;
    return STOA_OK;
}

static stoa_err open_ipc(const char *address, const stoa_link_options *options, stoa_link **out)
{
    return open_link(&stoa_link_zmq_ipc, address, options, out);
}

static stoa_err open_tcp(const char *address, const stoa_link_options *options, stoa_link **out)
{
    return open_link(&stoa_link_zmq_tcp, address, options, out);
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

static stoa_err allow(stoa_link *link, const stoa_link_allowed *allowed, uint32_t count)
{
    return own(link)->side->allow(own(link), allowed, count);
}

static void part(stoa_link *link, stoa_peer peer)
{
    own(link)->side->part(own(link), peer);
}

static void counts_of(stoa_link *link, stoa_link_counts *out)
{
    *out = own(link)->counts;
}

static void describe(stoa_link *link, stoa_link_traits *out)
{
    int major = 0, minor = 0, patch = 0;
    zmq_version(&major, &minor, &patch);
    (void)snprintf(out->provider, sizeof out->provider, "libzmq %d.%d.%d", major, minor, patch);
    out->proves = out->encrypts = own(link)->settings.secret_key[0] != '\0';
}

#define OPS(scheme_, open_)                                                                                            \
    {                                                                                                                  \
        .scheme = (scheme_), .open = (open_), .send = send_frame, .poll = poll_link, .fd = fd_of,                      \
        .address = address_of, .allow = allow, .part = part, .counts = counts_of, .describe = describe,                \
        .close = close_link                                                                                            \
    }
const stoa_link_ops stoa_link_zmq_ipc = OPS("zmq+ipc", open_ipc);
const stoa_link_ops stoa_link_zmq_tcp = OPS("zmq+tcp", open_tcp);
