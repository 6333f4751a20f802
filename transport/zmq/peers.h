/* zmq/peers.h - the connections of a listener: which peer a message is from, and when the peer is gone.
 *
 * libzmq tells two stories that nothing keeps in step: the monitor says that descriptor 7 was accepted, or is closed; a
 * message says that it came from routing id R through descriptor 7. A descriptor number is soon used again, and
 * messages of a connection can still be queued when the monitor has told its end. What can be relied on (one I/O
 * thread, routing ids made by the ROUTER):
 *
 *   - accepted(fd) is told before the first message of the connection can be read;
 *   - of two connections over one descriptor the later has the greater routing id, counted modulo 2^32;
 *   - a closed connection has at most queue_frames messages left, and libzmq serves connections in turn.
 *
 * So a peer passes through these stages:
 *
 *      add --> UP --(closed, a later peer on its descriptor, refused)--> ENDING --(its messages are read)--> SHUT
 *
 * ENDING peers stand in line for their down. The slot of a SHUT peer is kept while its connection lasts (a refused
 * one), then goes to the end of the free line, and the peer is remembered until the slot is needed: a late message is
 * known for one. SPARE slots more than peers keep that memory.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef STOA_TRANSPORT_ZMQ_PEERS_H
#define STOA_TRANSPORT_ZMQ_PEERS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "transport/link.h"

typedef enum stoa_zmq_stage { STOA_ZMQ_FREE, STOA_ZMQ_UP, STOA_ZMQ_ENDING, STOA_ZMQ_SHUT } stoa_zmq_stage;

typedef struct stoa_zmq_peer {
    stoa_peer number;
    uint64_t drained_at; /* ENDING: of the listener's messages, the one by which all of this peer's were read */
    uint32_t routing_id;
    int fd; /* -1 once the connection is gone */
    stoa_zmq_stage stage;
    stoa_err why;                  /* it was refused: its messages are dropped */
    uint32_t next_in_bucket, next; /* slot + 1; next in the line of the ending or the free */
    char key[STOA_KEY_TEXT_BYTES]; /* proven, "" without encryption */
    char name[sizeof(((stoa_link_allowed *)0)->name)];
} stoa_zmq_peer;

typedef struct stoa_zmq_line {
    uint32_t first, last; /* slot + 1 */
} stoa_zmq_line;

/* What the monitor last said of a descriptor. */
typedef struct stoa_zmq_door {
    uint32_t peer; /* slot + 1 of the peer behind it, 0 for none */
    bool open;
    stoa_err refused; /* why the connection was refused without becoming a peer */
} stoa_zmq_door;

typedef struct stoa_zmq_peers {
    stoa_zmq_peer *slots;
    uint32_t *buckets; /* by routing id: slot + 1 */
    stoa_zmq_door *doors;
    uint32_t slot_count, bucket_mask, door_count;
    uint32_t limit, live;              /* live: UP or ENDING */
    uint32_t open_doors, closed_doors; /* closed: since the listener last found libzmq's queue empty, if open before */
    uint64_t added;
    stoa_zmq_line free, ending;
} stoa_zmq_peers;

enum { STOA_ZMQ_PEERS_SPARE = 64 };

/* Errors: NOMEM. */
stoa_err stoa_zmq_peers_init(stoa_zmq_peers *peers, uint32_t limit);
void stoa_zmq_peers_deinit(stoa_zmq_peers *peers);

/* The monitor said: accepted, closed. A peer behind the closed one is ENDING, to be drained at this message. */
void stoa_zmq_peers_opened(stoa_zmq_peers *peers, int fd);
void stoa_zmq_peers_closed(stoa_zmq_peers *peers, int fd, uint64_t drained_at);

/* The door of fd, NULL where the monitor never spoke of it. */
stoa_zmq_door *stoa_zmq_peers_door(stoa_zmq_peers *peers, int fd);

/* A peer whose first message came through fd; UP, or ENDING when the connection is gone already. NULL: limit peers are
 * live, or none of the spare slots is free. */
stoa_zmq_peer *stoa_zmq_peers_add(stoa_zmq_peers *peers, uint32_t routing_id, int fd, uint64_t drained_at);

stoa_zmq_peer *stoa_zmq_peers_by_routing_id(stoa_zmq_peers *peers, uint32_t routing_id);
stoa_zmq_peer *stoa_zmq_peers_by_number(stoa_zmq_peers *peers, stoa_peer number);

/* The connection of an UP peer is gone. */
void stoa_zmq_peers_lose(stoa_zmq_peers *peers, stoa_zmq_peer *peer, uint64_t drained_at);

/* Drop what an UP peer says from now on, and end it. */
void stoa_zmq_peers_refuse(stoa_zmq_peers *peers, stoa_zmq_peer *peer, stoa_err why);

/* The first in the line of ENDING peers, or NULL. */
stoa_zmq_peer *stoa_zmq_peers_ending(stoa_zmq_peers *peers);

/* Take it out of the line: its down is told. */
void stoa_zmq_peers_shut(stoa_zmq_peers *peers);

#endif
