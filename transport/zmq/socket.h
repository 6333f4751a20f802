/* zmq/socket.h - one libzmq socket and its monitor, watched through one epoll descriptor.
 *
 * libzmq tells of connections on a second socket, the monitor; what it says there is turned into notices. Both sockets'
 * descriptors are in the epoll set of the link. They belong to the owner's thread.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef STOA_TRANSPORT_ZMQ_SOCKET_H
#define STOA_TRANSPORT_ZMQ_SOCKET_H

#include <stdbool.h>
#include <stdint.h>

#include <zmq.h>

#include "base/error.h"
#include "transport/link.h"

typedef struct stoa_zmq_socket {
    void *data;    /* ROUTER or DEALER; NULL when closed */
    void *monitor; /* PAIR */
    int epoll;
    bool listens;
} stoa_zmq_socket;

/* What a socket is made from. Keys are Z85; an empty secret key means no encryption. */
typedef struct stoa_zmq_settings {
    bool listen, ipv6;
    uint32_t frame_limit, queue_frames;
    char secret_key[STOA_KEY_TEXT_BYTES];
    char public_key[STOA_KEY_TEXT_BYTES];
    char server_key[STOA_KEY_TEXT_BYTES];
} stoa_zmq_settings;

typedef enum stoa_zmq_sign {
    STOA_ZMQ_OPENED,  /* listen: a connection was accepted, before its handshake */
    STOA_ZMQ_READY,   /* dial: the handshake is done */
    STOA_ZMQ_REFUSED, /* the handshake failed */
    STOA_ZMQ_ENDED,   /* the connection is gone, or (dial) there will be none */
} stoa_zmq_sign;

typedef struct stoa_zmq_notice {
    stoa_zmq_sign sign;
    int fd;       /* OPENED, ENDED: names the connection while it lasts */
    stoa_err why; /* REFUSED; OK where the reason is no verdict on the other side */
} stoa_zmq_notice;

enum { STOA_ZMQ_HANDSHAKE_MS = 5000 };
extern const char stoa_zmq_domain[]; /* of ZAP */

/* A socket in context that neither listens nor dials yet. Errors: INVALID (key), NOMEM, IO. */
stoa_err stoa_zmq_socket_open(void *context, int epoll, const stoa_zmq_settings *settings, stoa_zmq_socket *out);

/* What libzmq has not sent yet is dropped. A closed socket is allowed. */
void stoa_zmq_socket_close(stoa_zmq_socket *socket);

/* The next notice; false when there is none. */
bool stoa_zmq_socket_watch(stoa_zmq_socket *socket, stoa_zmq_notice *out);

/* The next part of a message, into an initialised msg; false when there is none. */
bool stoa_zmq_socket_receive(stoa_zmq_socket *socket, zmq_msg_t *msg);

/* Throw away the parts that follow msg; false when there were none. */
bool stoa_zmq_socket_skip(stoa_zmq_socket *socket, const zmq_msg_t *msg);

/* Queue a message of one part, to the peer with this routing id (NULL on a DEALER). Errors: FULL, CLOSED, NOMEM. */
stoa_err stoa_zmq_socket_send(stoa_zmq_socket *socket, const void *routing_id, size_t routing_id_bytes,
                              const void *bytes, uint32_t size_bytes);

/* Queue a good-bye that names why, to the peer with this routing id. Errors: FULL, CLOSED, NOMEM. */
stoa_err stoa_zmq_socket_dismiss(stoa_zmq_socket *socket, const void *routing_id, size_t routing_id_bytes,
                                 stoa_err why);

#endif
