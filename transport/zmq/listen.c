/* zmq/listen.c - the side that listens: a ROUTER, the monitor, the ZAP handler and the table of peers.
 *
 * A message comes with the routing id that the ROUTER made up for its connection, the descriptor it came through and,
 * under CURVE, the key that ZAP let in. The first message of a connection makes it a peer (up); the monitor tells the
 * end of it (down); peers.h says how the two are brought together.
 *
 * The ROUTER cannot close a connection. A peer that is not served (key removed, too many, messages of several parts, a
 * routing id of its own choosing) gets a good-bye, upon which a dialled link hangs up; whatever else it sends is
 * dropped and counted. A routing id must not be chosen by who dials: whoever knows another's could otherwise take
 * over what is sent to it.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "transport/zmq/inner.h"
#include "transport/zmq/peers.h"
#include "transport/zmq/zap.h"

enum { ROUTING_ID_BYTES = 5 }; /* 0 and 32 bits, big-endian: one that the ROUTER made */

typedef struct listener {
    stoa_zmq_link base;
    stoa_zmq_peers peers;
    stoa_zap *zap;
    uint64_t messages;   /* read so far */
    stoa_peer held_from; /* whose the held frame is */
    bool leaves;         /* the link is closed: nobody new is let in */
} listener;

typedef struct routing_id {
    uint8_t bytes[ROUTING_ID_BYTES];
} routing_id;

/* A message as it comes from the ROUTER. */
typedef struct envelope {
    zmq_msg_t from, body;
    int fd;
    uint32_t routing_id;
    bool generated; /* the routing id is one that the ROUTER made */
    bool single;    /* one part */
} envelope;

static listener *own(stoa_zmq_link *link)
{
    return (listener *)(void *)link;
}

/* --- open and close */

/* libzmq removes whatever is at the path of an ipc address before it listens there: refuse to take the place of another
 * listener, or of a file. */
static stoa_err path_check(const char *endpoint)
{
    const char *path = endpoint + strlen("ipc://");
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    struct stat status;
    if (strncmp(endpoint, "ipc://", 6) != 0 || path[0] == '@' || path[0] == '*' || lstat(path, &status) != 0) {
        return STOA_OK;
    }
    if (!S_ISSOCK(status.st_mode)) { return STOA_FAIL(STOA_E_EXISTS, "%s is there and is not a socket", path); }
    if (strlen(path) >= sizeof address.sun_path) { return STOA_FAIL(STOA_E_INVALID, "%s is too long", path); }
    memcpy(address.sun_path, path, strlen(path) + 1);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0) { return STOA_FAIL(STOA_E_IO, "no socket: %s", zmq_strerror(errno)); }
    bool served = connect(fd, (const struct sockaddr *)&address, sizeof address) == 0 || errno == EAGAIN;
    close(fd);
    return served ? STOA_FAIL(STOA_E_EXISTS, "somebody listens at %s", path) : STOA_OK;
}

static stoa_err bind_failed(const char *endpoint)
{
    static const struct {
        int number;
        stoa_err err;
    } rows[] = {
        {EADDRINUSE, STOA_E_EXISTS},       {EACCES, STOA_E_DENIED},  {EPERM, STOA_E_DENIED},
        {EINVAL, STOA_E_INVALID},          {ENODEV, STOA_E_INVALID}, {EADDRNOTAVAIL, STOA_E_INVALID},
        {EPROTONOSUPPORT, STOA_E_INVALID}, {ENOENT, STOA_E_INVALID}, {ENAMETOOLONG, STOA_E_INVALID},
        {ENOTDIR, STOA_E_INVALID},
    };
    int number = errno;
    stoa_err err = STOA_E_IO;
    for (unsigned i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        if (rows[i].number == number) { err = rows[i].err; }
    }
    return STOA_FAIL(err, "%s: %s", endpoint, zmq_strerror(number));
}

static stoa_err bind_socket(stoa_zmq_link *link)
{
    stoa_err err = path_check(link->endpoint);
    if (err) { return err; }
    if (zmq_bind(link->socket.data, link->endpoint) != 0) { return bind_failed(link->endpoint); }
    size_t size_bytes = sizeof link->endpoint;
    if (zmq_getsockopt(link->socket.data, ZMQ_LAST_ENDPOINT, link->endpoint, &size_bytes) != 0) {
        return STOA_FAIL(STOA_E_IO, "no address: %s", zmq_strerror(errno));
    }
    int used = snprintf(link->address, sizeof link->address, "zmq+%s", link->endpoint);
    return used > 0 && (size_t)used < sizeof link->address ? STOA_OK : STOA_FAIL(STOA_E_INVALID, "address too long");
}

static stoa_err open_side(stoa_zmq_link *link, const stoa_link_options *options)
{
    listener *self = own(link);
    stoa_err err = stoa_zmq_peers_init(&self->peers, options->peer_limit ? options->peer_limit : STOA_LINK_PEERS);
    if (!err && options->secret_key) {
        err = stoa_zap_start(link->context, stoa_zmq_domain, options->allowed, options->allowed_count, &self->zap);
    }
    if (!err) { err = stoa_zmq_socket_open(link->context, link->epoll, &link->settings, &link->socket); }
    return err ? err : bind_socket(link);
}

static void release_side(stoa_zmq_link *link)
{
    stoa_zap_free(own(link)->zap);
    stoa_zmq_peers_deinit(&own(link)->peers);
}

/* --- the monitor */

/* The message by which all that a closed connection has left in libzmq is read, as each of the connections that can
 * have something there has a turn before this one's next message. */
static uint64_t drained_at(const listener *self)
{
    uint64_t most = (uint64_t)self->base.settings.queue_frames + 2;
    return self->messages + most * ((uint64_t)self->peers.open_doors + self->peers.closed_doors + 1);
}

static void watch(listener *self)
{
    stoa_zmq_notice notice;
    self->base.watch_due = false;
    while (stoa_zmq_socket_watch(&self->base.socket, &notice)) {
        if (notice.sign == STOA_ZMQ_OPENED) { stoa_zmq_peers_opened(&self->peers, notice.fd); }
        if (notice.sign == STOA_ZMQ_ENDED) { stoa_zmq_peers_closed(&self->peers, notice.fd, drained_at(self)); }
        if (notice.sign == STOA_ZMQ_REFUSED) { stoa_zmq_link_refused(&self->base, notice.why); }
    }
}

/* --- messages out */

static routing_id routing_id_of(const stoa_zmq_peer *peer)
{
    uint32_t id = peer->routing_id;
    return (routing_id){{0, (uint8_t)(id >> 24), (uint8_t)(id >> 16), (uint8_t)(id >> 8), (uint8_t)id}};
}

static stoa_err send_to(listener *self, const stoa_zmq_peer *peer, const void *bytes, uint32_t size_bytes)
{
    routing_id to = routing_id_of(peer);
    return stoa_zmq_socket_send(&self->base.socket, to.bytes, sizeof to.bytes, bytes, size_bytes);
}

static stoa_err send_side(stoa_zmq_link *link, stoa_peer number, const void *bytes, uint32_t size_bytes)
{
    listener *self = own(link);
    stoa_zmq_peer *peer = stoa_zmq_peers_by_number(&self->peers, number);
    if (!peer || peer->stage != STOA_ZMQ_UP) { return STOA_E_CLOSED; }
    stoa_err err = send_to(self, peer, bytes, size_bytes);
    if (err == STOA_E_CLOSED) { stoa_zmq_peers_lose(&self->peers, peer, drained_at(self)); }
    return err;
}

static void dismiss(listener *self, stoa_zmq_peer *peer, stoa_err why)
{
    routing_id to = routing_id_of(peer);
    (void)stoa_zmq_socket_dismiss(&self->base.socket, to.bytes, sizeof to.bytes, why);
    stoa_zmq_peers_refuse(&self->peers, peer, why);
}

/* End a peer that is not to be served any more. */
static void part_with(listener *self, stoa_zmq_peer *peer, stoa_err why)
{
    dismiss(self, peer, why);
    stoa_zmq_link_refused(&self->base, why);
}

static void part(stoa_zmq_link *link, stoa_peer number)
{
    listener *self = own(link);
    stoa_zmq_peer *peer = stoa_zmq_peers_by_number(&self->peers, number);
    if (peer && peer->stage == STOA_ZMQ_UP) { dismiss(self, peer, STOA_E_CLOSED); }
}

/* --- messages in */

static bool envelope_receive(listener *self, envelope *out)
{
    if (!stoa_zmq_socket_receive(&self->base.socket, &out->from)) { return false; }
    bool whole = stoa_zmq_socket_receive(&self->base.socket, &out->body);
    STOA_ASSERT(whole);
    self->messages++;
    const uint8_t *id = zmq_msg_data(&out->from);
    out->single = !stoa_zmq_socket_skip(&self->base.socket, &out->body);
    out->generated = zmq_msg_size(&out->from) == ROUTING_ID_BYTES && id[0] == 0;
    out->routing_id = 0;
    for (unsigned i = 1; out->generated && i < ROUTING_ID_BYTES; i++) {
        out->routing_id = out->routing_id << 8 | id[i];
    }
    out->fd = zmq_msg_get(&out->body, ZMQ_SRCFD);
    return true;
}

static void good_bye(listener *self, envelope *to, stoa_err why)
{
    (void)stoa_zmq_socket_dismiss(&self->base.socket, zmq_msg_data(&to->from), zmq_msg_size(&to->from), why);
}

/* A message that is not served: dropped, and its connection counted once. */
static void turn_away(listener *self, envelope *got, stoa_err why)
{
    stoa_zmq_door *door = stoa_zmq_peers_door(&self->peers, got->fd);
    if (door && door->refused) { why = door->refused; }
    if (!door || !door->refused) { stoa_zmq_link_refused(&self->base, why); }
    if (door) { door->refused = why; }
    self->base.counts.frames_dropped += zmq_msg_size(&got->body) > 0;
    good_bye(self, got, why);
}

/* A peer for the first message of a connection, or NULL when it is not to be served. */
static stoa_zmq_peer *admit(listener *self, envelope *got)
{
    char name[sizeof(((stoa_link_allowed *)0)->name)] = "";
    const char *key = self->zap ? zmq_msg_gets(&got->body, "User-Id") : "";
    if (self->zap && (!key || !stoa_zap_name(self->zap, key, name))) {
        turn_away(self, got, STOA_E_DENIED);
        return NULL;
    }
    stoa_zmq_peer *peer = stoa_zmq_peers_add(&self->peers, got->routing_id, got->fd, drained_at(self));
    if (!peer) {
        turn_away(self, got, STOA_E_FULL);
        return NULL;
    }
    (void)snprintf(peer->key, sizeof peer->key, "%s", key);
    memcpy(peer->name, name, sizeof peer->name);
    return peer;
}

static bool welcome(listener *self, const stoa_link_events *events, envelope *got)
{
    const stoa_zmq_door *door = stoa_zmq_peers_door(&self->peers, got->fd);
    if (!got->generated || !got->single || (door && door->refused)) {
        turn_away(self, got, STOA_E_MALFORMED);
        return false;
    }
    if (self->leaves) { /* libzmq cannot stop listening without breaking the connections there are */
        good_bye(self, got, STOA_E_CLOSED);
        return false;
    }
    const stoa_zmq_peer *peer = admit(self, got);
    if (!peer) { return false; }
    if (zmq_msg_size(&got->body)) {
        stoa_zmq_link_hold(&self->base, &got->body);
        self->held_from = peer->number;
    }
    self->base.counts.ups++;
    events->up(events->context, peer->number);
    return true;
}

static bool deliver(listener *self, const stoa_link_events *events, const stoa_zmq_peer *peer, zmq_msg_t *body)
{
    if (!peer || peer->why || peer->stage == STOA_ZMQ_SHUT) {
        self->base.counts.frames_dropped++;
        return false;
    }
    events->frame(events->context, peer->number, peer->name, zmq_msg_data(body), (uint32_t)zmq_msg_size(body));
    return true;
}

/* One message; true when a callback was called. */
static bool take(listener *self, const stoa_link_events *events, envelope *got)
{
    stoa_zmq_peer *peer = got->generated ? stoa_zmq_peers_by_routing_id(&self->peers, got->routing_id) : NULL;
    if (!peer) {
        watch(self); /* what it said of the descriptor came first */
        return welcome(self, events, got);
    }
    if (!got->single && peer->stage == STOA_ZMQ_UP) { part_with(self, peer, STOA_E_MALFORMED); }
    if (peer->why) { good_bye(self, got, peer->why); }
    if (!got->single) { return false; }
    if (zmq_msg_size(&got->body) == 0) {
        if (peer->stage == STOA_ZMQ_UP) { (void)send_to(self, peer, "", 0); } /* yes, I am here, too */
        return false;
    }
    return deliver(self, events, peer, &got->body);
}

static bool take_next(listener *self, const stoa_link_events *events, bool *empty_out)
{
    envelope got;
    zmq_msg_init(&got.from);
    zmq_msg_init(&got.body);
    *empty_out = !envelope_receive(self, &got);
    bool told = !*empty_out && take(self, events, &got);
    zmq_msg_close(&got.from);
    zmq_msg_close(&got.body);
    return told;
}

static bool deliver_held(listener *self, const stoa_link_events *events)
{
    if (!self->base.holds) { return false; }
    const stoa_zmq_peer *peer = stoa_zmq_peers_by_number(&self->peers, self->held_from);
    bool told = deliver(self, events, peer, &self->base.held);
    stoa_zmq_link_release(&self->base);
    return told;
}

/* The down of the first peer in line, once its messages are read; empty: all of them are. */
static bool tell_down(listener *self, const stoa_link_events *events, bool empty)
{
    const stoa_zmq_peer *peer = stoa_zmq_peers_ending(&self->peers);
    if (!peer || (!empty && peer->drained_at > self->messages)) { return false; }
    stoa_zmq_peers_shut(&self->peers);
    self->base.counts.downs++;
    events->down(events->context, peer->number);
    return true;
}

static bool step(stoa_zmq_link *link, const stoa_link_events *events)
{
    listener *self = own(link);
    if (link->watch_due) { watch(self); }
    if (deliver_held(self, events) || stoa_zmq_link_tell_refused(link, events) || tell_down(self, events, false)) {
        return true;
    }
    bool empty = false;
    while (!empty) {
        if (take_next(self, events, &empty)) { return true; }
        if (!empty && ++link->silent > STOA_ZMQ_SILENT_MAX) { return false; } /* they are not served for ever */
    }
    self->peers.closed_doors = 0;
    return stoa_zmq_link_tell_refused(link, events) || tell_down(self, events, true);
}

/* --- the allow-list */

static stoa_err allow(stoa_zmq_link *link, const stoa_link_allowed *allowed, uint32_t count)
{
    listener *self = own(link);
    if (!self->zap) { return STOA_FAIL(STOA_E_INVALID, "%s has no encryption, so no allow-list", link->address); }
    stoa_err err = stoa_zap_allow(self->zap, allowed, count);
    if (err) { return err; }
    for (uint32_t i = 0; i < self->peers.slot_count; i++) {
        stoa_zmq_peer *peer = &self->peers.slots[i];
        char name[sizeof peer->name];
        if (peer->stage != STOA_ZMQ_UP) { continue; }
        if (!stoa_zap_name(self->zap, peer->key, name)) {
            part_with(self, peer, STOA_E_DENIED);
        } else if (strcmp(name, peer->name) != 0) {
            dismiss(self, peer, STOA_E_CLOSED);
        }
    }
    return STOA_OK;
}

/* --- the end */

/* Say good-bye, once there is room for it. */
static void part_from(listener *self, stoa_zmq_peer *peer)
{
    routing_id to = routing_id_of(peer);
    stoa_err err = stoa_zmq_socket_dismiss(&self->base.socket, to.bytes, sizeof to.bytes, STOA_E_CLOSED);
    if (err == STOA_OK) { peer->why = STOA_E_CLOSED; }
    if (err == STOA_E_CLOSED) { stoa_zmq_peers_lose(&self->peers, peer, drained_at(self)); }
}

static bool leave(stoa_zmq_link *link)
{
    listener *self = own(link);
    self->leaves = true;
    bool alone = true;
    for (uint32_t i = 0; i < self->peers.slot_count; i++) {
        stoa_zmq_peer *peer = &self->peers.slots[i];
        if (peer->stage == STOA_ZMQ_UP && !peer->why) { part_from(self, peer); }
        alone = alone && peer->stage != STOA_ZMQ_UP;
    }
    return alone;
}

const stoa_zmq_side stoa_zmq_listen = {
    .size_bytes = sizeof(listener),
    .open = open_side,
    .step = step,
    .send = send_side,
    .allow = allow,
    .part = part,
    .leave = leave,
    .release = release_side,
};
