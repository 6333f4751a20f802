/* zmq/socket.c - options, monitor and messages of zmq/socket.h.
 *
 * Limits that libzmq sets: the monitor is a queue of NOTICES_MAX notices; when its owner does not poll for that many
 * connects and disconnects, the I/O thread waits. MAXMSGSIZE is checked on what is on the wire, which CURVE makes 33
 * bytes longer. It holds per part, and libzmq queues a message only when it is whole: a peer that is allowed in can
 * make it buffer one message of endless parts.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "transport/zmq/socket.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>

enum {
    NOTICES_MAX = 32768,
    CURVE_BYTES = 33, /* "\x07MESSAGE", nonce 8, MAC 16, flags 1 */
    BACKLOG = 512,
    KEEPALIVE_S = 5, /* of silence, then as many probes, a second apart */
    UNANSWERED_MS = 30000,
};

const char stoa_zmq_domain[] = "stoa";

/* --- options */

static const struct {
    int option, value;
} options_all[] = {
    {ZMQ_LINGER, 0},
    {ZMQ_HANDSHAKE_IVL, STOA_ZMQ_HANDSHAKE_MS},
    {ZMQ_TCP_KEEPALIVE, 1},
    {ZMQ_TCP_KEEPALIVE_IDLE, KEEPALIVE_S},
    {ZMQ_TCP_KEEPALIVE_INTVL, 1},
    {ZMQ_TCP_KEEPALIVE_CNT, KEEPALIVE_S},
    {ZMQ_TCP_MAXRT, UNANSWERED_MS}, /* bytes that nobody acknowledges, or a reader that never reads */
};

/* No handover: who dials must not choose a routing id, least of all another's (see zmq/listen.c). */
static const struct {
    int option, value;
} options_listen[] = {
    {ZMQ_ROUTER_MANDATORY, 1},
    {ZMQ_BACKLOG, BACKLOG},
};

/* The link dials again itself, with a new socket (see zmq/dial.c): libzmq is told to wait for a day. Telling it not
 * to at all (-1), or ZMQ_IMMEDIATE, would throw away frames that came in before the connection was lost. */
static const struct {
    int option, value;
} options_dial[] = {
    {ZMQ_PROBE_ROUTER, 1}, /* the first message is empty: here I am */
    {ZMQ_RECONNECT_IVL, 24 * 3600 * 1000},
};

static bool set_int(void *socket, int option, int value)
{
    return zmq_setsockopt(socket, option, &value, sizeof value) == 0;
}

static bool set_key(void *socket, int option, const char *key)
{
    return zmq_setsockopt(socket, option, key, STOA_KEY_TEXT_BYTES - 1) == 0;
}

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))
static bool set_fixed(void *socket, bool listen)
{
    bool done = true;
    for (unsigned i = 0; i < COUNT(options_all); i++) {
        done = done && set_int(socket, options_all[i].option, options_all[i].value);
    }
    for (unsigned i = 0; listen && i < COUNT(options_listen); i++) {
        done = done && set_int(socket, options_listen[i].option, options_listen[i].value);
    }
    for (unsigned i = 0; !listen && i < COUNT(options_dial); i++) {
        done = done && set_int(socket, options_dial[i].option, options_dial[i].value);
    }
    return done;
}

static bool set_limits(void *socket, const stoa_zmq_settings *settings)
{
    int64_t limit = (int64_t)settings->frame_limit + (settings->secret_key[0] ? CURVE_BYTES : 0);
    int frames = settings->queue_frames < INT32_MAX ? (int)settings->queue_frames : INT32_MAX;
    return zmq_setsockopt(socket, ZMQ_MAXMSGSIZE, &limit, sizeof limit) == 0 && set_int(socket, ZMQ_SNDHWM, frames) &&
           set_int(socket, ZMQ_RCVHWM, frames) && set_int(socket, ZMQ_IPV6, settings->ipv6);
}

static bool set_keys(void *socket, const stoa_zmq_settings *settings)
{
    if (!settings->secret_key[0]) { return true; }
    if (settings->listen) {
        return set_int(socket, ZMQ_CURVE_SERVER, 1) && set_key(socket, ZMQ_CURVE_SECRETKEY, settings->secret_key) &&
               zmq_setsockopt(socket, ZMQ_ZAP_DOMAIN, stoa_zmq_domain, strlen(stoa_zmq_domain)) == 0;
    }
    return set_key(socket, ZMQ_CURVE_SERVERKEY, settings->server_key) &&
           set_key(socket, ZMQ_CURVE_PUBLICKEY, settings->public_key) &&
           set_key(socket, ZMQ_CURVE_SECRETKEY, settings->secret_key);
}

/* --- life */

static bool monitor_open(void *context, stoa_zmq_socket *socket)
{
    static _Atomic uint64_t names;
    int events = ZMQ_EVENT_DISCONNECTED | ZMQ_EVENT_HANDSHAKE_FAILED_NO_DETAIL | ZMQ_EVENT_HANDSHAKE_FAILED_PROTOCOL |
                 ZMQ_EVENT_HANDSHAKE_FAILED_AUTH |
                 (socket->listens ? ZMQ_EVENT_ACCEPTED : ZMQ_EVENT_HANDSHAKE_SUCCEEDED | ZMQ_EVENT_CLOSED);
    char name[64];
    (void)snprintf(name, sizeof name, "inproc://monitor-%llu",
                   (unsigned long long)atomic_fetch_add_explicit(&names, 1, memory_order_relaxed));
    socket->monitor = zmq_socket(context, ZMQ_PAIR);
    return socket->monitor && set_int(socket->monitor, ZMQ_LINGER, 0) &&
           set_int(socket->monitor, ZMQ_RCVHWM, NOTICES_MAX) && zmq_socket_monitor(socket->data, name, events) == 0 &&
           zmq_connect(socket->monitor, name) == 0;
}

static int descriptor(void *socket)
{
    int fd = -1;
    size_t size_bytes = sizeof fd;
    return zmq_getsockopt(socket, ZMQ_FD, &fd, &size_bytes) == 0 ? fd : -1;
}

static bool epoll_add(int epoll, void *socket)
{
    struct epoll_event event = {.events = EPOLLIN};
    return epoll_ctl(epoll, EPOLL_CTL_ADD, descriptor(socket), &event) == 0;
}

stoa_err stoa_zmq_socket_open(void *context, int epoll, const stoa_zmq_settings *settings, stoa_zmq_socket *out)
{
    stoa_zmq_socket socket = {.epoll = epoll, .listens = settings->listen};
    socket.data = zmq_socket(context, settings->listen ? ZMQ_ROUTER : ZMQ_DEALER);
    if (!socket.data) { return STOA_FAIL(STOA_E_IO, "no libzmq socket: %s", zmq_strerror(errno)); }

    stoa_err err = STOA_OK;
    if (!set_keys(socket.data, settings)) {
        err = STOA_FAIL(STOA_E_INVALID, "a key is not a CURVE key: %s", zmq_strerror(errno));
    } else if (!set_fixed(socket.data, settings->listen) || !set_limits(socket.data, settings)) {
        err = STOA_FAIL(STOA_E_IO, "libzmq does not take an option: %s", zmq_strerror(errno));
    } else if (!monitor_open(context, &socket)) {
        err = STOA_FAIL(STOA_E_IO, "no monitor: %s", zmq_strerror(errno));
    } else if (!epoll_add(epoll, socket.data) || !epoll_add(epoll, socket.monitor)) {
        err = STOA_FAIL(STOA_E_IO, "epoll does not take a libzmq descriptor");
    }
    if (err) {
        stoa_zmq_socket_close(&socket);
        return err;
    }
    *out = socket;
    return STOA_OK;
}

/* The monitor is emptied and stopped first: an I/O thread that has nobody to tell would wait for ever. */
void stoa_zmq_socket_close(stoa_zmq_socket *socket)
{
    if (!socket->data) { return; }
    (void)epoll_ctl(socket->epoll, EPOLL_CTL_DEL, descriptor(socket->data), NULL);
    if (socket->monitor) {
        stoa_zmq_notice ignored;
        (void)epoll_ctl(socket->epoll, EPOLL_CTL_DEL, descriptor(socket->monitor), NULL);
        while (stoa_zmq_socket_watch(socket, &ignored)) {}
        zmq_socket_monitor(socket->data, NULL, 0);
        zmq_close(socket->monitor);
    }
    zmq_close(socket->data);
    socket->data = socket->monitor = NULL;
}

/* --- the monitor */

static const struct {
    uint16_t event;
    stoa_zmq_sign sign;
} signs[] = {
    {ZMQ_EVENT_ACCEPTED, STOA_ZMQ_OPENED},
    {ZMQ_EVENT_HANDSHAKE_SUCCEEDED, STOA_ZMQ_READY},
    {ZMQ_EVENT_HANDSHAKE_FAILED_AUTH, STOA_ZMQ_REFUSED},
    {ZMQ_EVENT_HANDSHAKE_FAILED_PROTOCOL, STOA_ZMQ_REFUSED},
    {ZMQ_EVENT_HANDSHAKE_FAILED_NO_DETAIL, STOA_ZMQ_REFUSED},
    {ZMQ_EVENT_DISCONNECTED, STOA_ZMQ_ENDED},
    {ZMQ_EVENT_CLOSED, STOA_ZMQ_ENDED},
};

/* The reason behind a refusal. ZAP status 400 is a verdict, 300 and 500 are troubles of the other side. NO_DETAIL means
 * that the other side hung up: to one who dials that is how libzmq answers a wrong server key, and over ipc a missing
 * one; to one who listens it is somebody who does not go on, a port scan for instance. */
static stoa_err reason(const stoa_zmq_socket *socket, uint16_t event, uint32_t value)
{
    bool keys = value == ZMQ_PROTOCOL_ERROR_ZMTP_CRYPTOGRAPHIC || value == ZMQ_PROTOCOL_ERROR_ZMTP_MECHANISM_MISMATCH ||
                value == ZMQ_PROTOCOL_ERROR_ZMTP_KEY_EXCHANGE;
    if (event == ZMQ_EVENT_HANDSHAKE_FAILED_AUTH) { return value == 400 ? STOA_E_DENIED : STOA_OK; }
    if (event == ZMQ_EVENT_HANDSHAKE_FAILED_PROTOCOL) { return keys ? STOA_E_DENIED : STOA_E_MALFORMED; }
    return socket->listens ? STOA_E_MALFORMED : STOA_E_DENIED;
}

static bool notice_read(const stoa_zmq_socket *socket, zmq_msg_t *msg, stoa_zmq_notice *out)
{
    uint16_t event;
    uint32_t value;
    if (zmq_msg_size(msg) != sizeof event + sizeof value) { return false; }
    memcpy(&event, zmq_msg_data(msg), sizeof event);
    memcpy(&value, (const char *)zmq_msg_data(msg) + sizeof event, sizeof value);
    for (unsigned i = 0; i < COUNT(signs); i++) {
        if (signs[i].event != event) { continue; }
        bool refused = signs[i].sign == STOA_ZMQ_REFUSED;
        *out = (stoa_zmq_notice){.sign = signs[i].sign,
                                 .fd = refused ? -1 : (int)value,
                                 .why = refused ? reason(socket, event, value) : STOA_OK};
        return true;
    }
    return false;
}

static bool receive(void *socket, zmq_msg_t *msg)
{
    int rc;
    do {
        rc = zmq_msg_recv(msg, socket, ZMQ_DONTWAIT);
    } while (rc < 0 && errno == EINTR);
    return rc >= 0;
}

static bool skip(void *socket, const zmq_msg_t *msg)
{
    bool more = zmq_msg_more(msg);
    if (!more) { return false; }
    zmq_msg_t part;
    zmq_msg_init(&part);
    while (more && receive(socket, &part)) {
        more = zmq_msg_more(&part);
    }
    zmq_msg_close(&part);
    return true;
}

bool stoa_zmq_socket_watch(stoa_zmq_socket *socket, stoa_zmq_notice *out)
{
    bool found = false;
    zmq_msg_t msg;
    zmq_msg_init(&msg);
    while (!found && receive(socket->monitor, &msg)) {
        found = notice_read(socket, &msg, out);
        (void)skip(socket->monitor, &msg); /* the address */
    }
    zmq_msg_close(&msg);
    return found;
}

/* --- messages */

bool stoa_zmq_socket_receive(stoa_zmq_socket *socket, zmq_msg_t *msg)
{
    return receive(socket->data, msg);
}

bool stoa_zmq_socket_skip(stoa_zmq_socket *socket, const zmq_msg_t *msg)
{
    return skip(socket->data, msg);
}

static bool send_part(void *socket, zmq_msg_t *msg, int flags)
{
    int rc;
    do {
        rc = zmq_msg_send(msg, socket, flags | ZMQ_DONTWAIT);
    } while (rc < 0 && errno == EINTR);
    return rc >= 0;
}

static stoa_err send_error(void)
{
    return errno == EAGAIN ? STOA_E_FULL : errno == ENOMEM ? STOA_E_NOMEM : STOA_E_CLOSED;
}

static bool message_fill(zmq_msg_t *msg, const void *bytes, size_t size_bytes)
{
    if (zmq_msg_init_size(msg, size_bytes) != 0) { return false; }
    if (size_bytes) { memcpy(zmq_msg_data(msg), bytes, size_bytes); }
    return true;
}

/* Both parts are made before the first is sent: a message that is begun must be ended. */
static bool send_to(void *socket, const void *routing_id, size_t routing_id_bytes, zmq_msg_t *body)
{
    zmq_msg_t to;
    if (!message_fill(&to, routing_id, routing_id_bytes)) { return false; }
    bool begun = send_part(socket, &to, ZMQ_SNDMORE);
    if (!begun) {
        int number = errno;
        zmq_msg_close(&to);
        errno = number;
        return false;
    }
    return send_part(socket, body, 0);
}

stoa_err stoa_zmq_socket_send(stoa_zmq_socket *socket, const void *routing_id, size_t routing_id_bytes,
                              const void *bytes, uint32_t size_bytes)
{
    zmq_msg_t body;
    if (!message_fill(&body, bytes, size_bytes)) { return STOA_E_NOMEM; }
    bool sent =
        routing_id ? send_to(socket->data, routing_id, routing_id_bytes, &body) : send_part(socket->data, &body, 0);
    if (sent) { return STOA_OK; } /* libzmq owns body */
    stoa_err err = send_error();
    zmq_msg_close(&body);
    return err;
}

stoa_err stoa_zmq_socket_dismiss(stoa_zmq_socket *socket, const void *routing_id, size_t routing_id_bytes, stoa_err why)
{
    const char *name = stoa_err_name(why);
    zmq_msg_t to, empty, reason;
    zmq_msg_init(&empty);
    if (!message_fill(&reason, name, strlen(name))) { return STOA_E_NOMEM; }
    stoa_err err = STOA_E_NOMEM;
    if (message_fill(&to, routing_id, routing_id_bytes)) {
        bool sent = send_part(socket->data, &to, ZMQ_SNDMORE) && send_part(socket->data, &empty, ZMQ_SNDMORE) &&
                    send_part(socket->data, &reason, 0);
        err = sent ? STOA_OK : send_error();
        zmq_msg_close(&to); /* what was sent is empty by now */
    }
    zmq_msg_close(&reason);
    return err;
}
