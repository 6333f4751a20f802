/* zmq/inner.h - what the two kinds of ZeroMQ endpoints share: link.c has the operations, listen.c and dial.c the sides.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef STOA_TRANSPORT_ZMQ_INNER_H
#define STOA_TRANSPORT_ZMQ_INNER_H

#include "transport/link.h"
#include "transport/refusals.h"
#include "transport/zmq/socket.h"
#include "transport/timer.h"

enum {
    STOA_ZMQ_ADDRESS_BYTES = 256,
    STOA_ZMQ_SILENT_MAX = 256, /* messages that one poll drops without telling anything */
};

typedef struct stoa_zmq_link stoa_zmq_link;

/* One side of a connection. */
typedef struct stoa_zmq_side {
    size_t size_bytes; /* of its struct, whose first member is stoa_zmq_link; zeroed before open */

    /* Listen at or dial link->endpoint. On an error release is called. */
    stoa_err (*open)(stoa_zmq_link *link, const stoa_link_options *options);

    /* Call one callback; false when there is nothing to tell and both of the socket's queues were seen empty, or
     * link->silent is above its maximum. */
    bool (*step)(stoa_zmq_link *link, const stoa_link_events *events);

    /* size_bytes is within the limits. */
    stoa_err (*send)(stoa_zmq_link *link, stoa_peer peer, const void *bytes, uint32_t size_bytes);

    stoa_err (*allow)(stoa_zmq_link *link, const stoa_link_allowed *allowed, uint32_t count);
    void (*part)(stoa_zmq_link *link, stoa_peer peer);

    /* The link is to be closed: let the other sides know. True when none is left that has something to read. Called
     * again, with polls between, until it is or the time is over. */
    bool (*leave)(stoa_zmq_link *link);

    /* Release what open made, but for the socket, which is closed, in a context that is shut down. */
    void (*release)(stoa_zmq_link *link);
} stoa_zmq_side;

struct stoa_zmq_link {
    stoa_link link;
    const stoa_zmq_side *side; /* NULL before open */
    void *context;
    int epoll;
    stoa_link_timer again; /* wakes the owner although libzmq does not */
    uint32_t silent;      /* messages dropped in this poll */
    stoa_zmq_settings settings;
    stoa_zmq_socket socket;
    stoa_link_counts counts;
    bool was_full;    /* a send was, since the last poll */
    bool watch_due;   /* the monitor is to be read before the next message */
    stoa_refusals refused; /* not told yet */
    zmq_msg_t held;   /* a frame whose up had to be told first */
    bool holds;
    char address[STOA_ZMQ_ADDRESS_BYTES];  /* "zmq+tcp://..." */
    char endpoint[STOA_ZMQ_ADDRESS_BYTES]; /* libzmq's: "tcp://..." */
};

extern const stoa_zmq_side stoa_zmq_listen, stoa_zmq_dial;

/* Count a refused connection and remember why, to be told. */
void stoa_zmq_link_refused(stoa_zmq_link *link, stoa_err why);

/* Tell one of the reasons; false when there is none. */
bool stoa_zmq_link_tell_refused(stoa_zmq_link *link, const stoa_link_events *events);

/* Keep msg, which is empty then, until link_release. */
void stoa_zmq_link_hold(stoa_zmq_link *link, zmq_msg_t *msg);
void stoa_zmq_link_release(stoa_zmq_link *link);

#endif
