/* gateway.h - where clients come in: a port of the node that speaks docs/reference/protocol.md over an authenticated link.
 *
 * A frame from outside passes these checks here, in this order, before any actor hears of it; the first that fails is
 * answered with its error and counted, and nothing else happens:
 *
 *     MALFORMED, VERSION   it is a request of this protocol (an unreadable one is answered with id 0)
 *     TOO_LARGE            it is at most STOA_PROTOCOL_REQUEST_MAX bytes
 *     NO_HANDLER           its operation is in actors/client/protocol.def
 *     CLOSED               the connection has said hello
 *     INVALID              the target is a name as the operation wants it
 *     DENIED               the client may do this (its name comes from its key; what it writes about itself is ignored)
 *     UNAVAILABLE          the gateway is not draining
 *     FULL                 the client has fewer than requests_max requests under way
 *     INVALID, RANGE, PRECISION, TOO_LARGE   the payload is one of the operation's row
 *     NOT_FOUND, UNKNOWN_SYMBOL   the target exists
 *
 * Then the actor is asked, with the client's deadline and a command id that is a function of (client, session, request id).
 * Where the client wants it (hello's `remember`), those three are the request's name: its shard has it take effect once
 * (runtime/once.h). Sessions are numbered here, from the node's epoch upwards, so that no two lives of a node give out the same.
 * Answers leave when they come, so not before the wall has let them go; each names its durability and position.
 *
 * Streams: what is published on a subscribed topic is kept in one bounded backlog per topic, encoded once. Each subscriber
 * has its own place in it, so a slow client holds up nobody; when its place falls out of the backlog it is told which numbers
 * it missed (for rooms the gateway first asks the room, which keeps more; for books and orders a snapshot follows). The same
 * backlog serves clients that come back after a lost connection.
 *
 * One thread, its own. Bounded: sessions, requests, streams, topics, backlogs.
 *
 *     stoa_gateway_open    after the node's shards and actors are there
 *     stoa_gateway_drain   at SIGTERM: new requests are UNAVAILABLE from now on
 *     stoa_gateway_close   before stoa_node_close
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef STOA_NODE_PORTS_GATEWAY_H
#define STOA_NODE_PORTS_GATEWAY_H

#include "base/error.h"
#include "base/metrics.h"
#include "base/text.h"
#include "runtime/node.h"
#include "transport/link.h"

enum { STOA_GATEWAY_ACCOUNTS_MAX = 16, STOA_GATEWAY_PLUGINS_MAX = 16, STOA_GATEWAY_KEYS_MAX = 4 };

/* A client: the name its keys stand for, the accounts it may use and listen to, the plug-ins it may ask. Rooms and books are open to all. Who has no key
 * cannot come in, and who loses the key it came with is cut off. */
typedef struct stoa_gateway_client {
    stoa_text30 name; /* of [A-Za-z0-9_-] */
    char keys[STOA_GATEWAY_KEYS_MAX][STOA_KEY_TEXT_BYTES];
    uint32_t key_count;
    stoa_text30 accounts[STOA_GATEWAY_ACCOUNTS_MAX];
    uint32_t account_count;
    stoa_text30 plugins[STOA_GATEWAY_PLUGINS_MAX]; /* that it may ask */
    uint32_t plugin_count;
} stoa_gateway_client;

/* 0 means the default in parentheses. Copied. */
typedef struct stoa_gateway_options {
    const char *listen;      /* "zmq+tcp://127.0.0.1:7400" */
    const char *secret_key;  /* Z85 */
    const char *server_name; /* what hello is answered with ("stoa") */
    const stoa_gateway_client *clients;
    uint32_t client_count;
    uint32_t sessions_max;    /* connections (256) */
    uint32_t requests_max;    /* under way, per client (256) */
    uint32_t streams_max;     /* per client (64) */
    uint32_t topics_max;      /* with a backlog (256) */
    uint32_t backlog_items;   /* per topic (4096) */
    uint32_t backlog_bytes;   /* per topic (4 MiB) */
    uint32_t queue_frames;    /* per connection, inside the link (256) */
    uint32_t heartbeat_ms;    /* (1000) */
    uint32_t deadline_ms;     /* of a request that states none (5000) */
    uint32_t deadline_ms_max; /* (60000) */
    uint64_t epoch;           /* of the node, above those of its earlier lives; 0: no request is remembered */
    stoa_metrics *metrics;    /* NULL: none kept */
} stoa_gateway_options;

typedef struct stoa_gateway stoa_gateway;

/* Open the port "port/gateway", listen and start the thread. Blocks until it listens. node must outlive the gateway.
 * Errors: INVALID (names, keys, address), EXISTS (the address is taken), DENIED, NOMEM, IO, FULL (ports). */
stoa_err stoa_gateway_open(stoa_node *node, const stoa_gateway_options *options, stoa_gateway **out);

/* The address really bound, for port 0. Valid until close. Any thread. */
const char *stoa_gateway_address(const stoa_gateway *gateway);

/* Replace the clients. Who is no longer there is cut off; who lost an account loses its streams (DENIED). Any thread; blocks
 * until the gateway's thread has done it. On an error the old ones stay. Errors: INVALID, NOMEM. */
stoa_err stoa_gateway_allow(stoa_gateway *gateway, const stoa_gateway_client *clients, uint32_t count);

/* Another key of its own (Z85): all connections end, and the gateway listens again at the same address; clients that know the key come
 * back by themselves. Where that fails it is tried again and again. Any thread; blocks until the gateway's thread has begun it. */
void stoa_gateway_rekey(stoa_gateway *gateway, const char *secret_key);

/* Take no new requests and no new sessions. Any thread; returns at once. */
void stoa_gateway_drain(stoa_gateway *gateway);

/* Drain, wait up to drain_ns for the answers under way, end the thread, release everything. NULL is allowed. */
void stoa_gateway_close(stoa_gateway *gateway, uint64_t drain_ns);

#endif
