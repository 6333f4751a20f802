/* link.h - what every transport must provide: ordered frames between two ends, with the peer's proven identity.
 *
 * An endpoint either listens (many peers) or dials (one peer). A frame is up to frame_limit bytes, delivered whole, in order
 * per peer, or not at all; a lost connection is reported, never papered over. One thread owns an endpoint and calls all of
 * its functions. Implementations are found by the address' scheme; the contract is tested once, against all of them, by
 * tests/contract/link_test.c.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef STOA_TRANSPORT_LINK_H
#define STOA_TRANSPORT_LINK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

/* Z85 text of a 32-byte key, NUL-terminated. */
enum { STOA_KEY_TEXT_BYTES = 41 };

typedef uint64_t stoa_peer; /* names one connection of an endpoint; never reused while the endpoint lives */

typedef struct stoa_link_allowed {
    char name[64];                        /* the identity frames of this key are reported with */
    char public_key[STOA_KEY_TEXT_BYTES]; /* Z85 */
} stoa_link_allowed;

typedef struct stoa_link_options {
    bool listen;
    const char *secret_key;     /* Z85, own; NULL: no encryption (only where the scheme is local, ipc) */
    const char *public_key;     /* Z85, own */
    const char *server_key;     /* dial: the listener's public key */
    const stoa_link_allowed *allowed; /* listen: who may connect; copied */
    uint32_t allowed_count;
    uint32_t frame_limit;       /* bytes; a larger frame closes the connection it came from */
    uint32_t queue_frames;      /* frames queued per peer before send says FULL */
} stoa_link_options;

typedef struct stoa_link stoa_link;

typedef struct stoa_link_events {
    /* A frame from peer; identity is the proven name ("" where the link is not authenticated), bytes live until return. */
    void (*frame)(void *context, stoa_peer peer, const char *identity, const void *bytes, uint32_t size_bytes);
    /* The peer is gone (listen) or the connection was lost (dial; it is dialled again by itself and up is reported). */
    void (*down)(void *context, stoa_peer peer);
    void (*up)(void *context, stoa_peer peer);
    void *context;
} stoa_link_events;

typedef struct stoa_link_ops {
    const char *scheme; /* "zmq+tcp", "zmq+ipc", ...: the part of an address before "://" */

    /* Listen at or dial address. May block (start-up). Errors: INVALID (address, key), DENIED, IO. */
    stoa_err (*open)(const char *address, const stoa_link_options *options, stoa_link **out);

    /* Queue one frame; bytes are copied before return. Never blocks. peer is ignored by a dialled endpoint.
     * Errors: FULL, CLOSED (peer is gone), TOO_LARGE. */
    stoa_err (*send)(stoa_link *link, stoa_peer peer, const void *bytes, uint32_t size_bytes);

    /* Deliver up to max pending events; returns how many. Never blocks. */
    uint32_t (*poll)(stoa_link *link, const stoa_link_events *events, uint32_t max);

    /* A descriptor that is readable when poll may have work. After every send, and after a poll that did not return less than
     * max, call poll again before sleeping on it (it may be edge-triggered). */
    int (*fd)(stoa_link *link);

    /* The address really bound ("zmq+tcp://127.0.0.1:40123" for port 0). */
    const char *(*address)(stoa_link *link);

    /* Replace the allow-list (listen). Open connections of removed keys are refused from their next frame on. */
    stoa_err (*allow)(stoa_link *link, const stoa_link_allowed *allowed, uint32_t count);

    /* Release everything; frames not yet sent get linger_ms to leave. NULL is allowed. */
    void (*close)(stoa_link *link, uint32_t linger_ms);
} stoa_link_ops;

/* First member of every implementation's struct. */
struct stoa_link {
    const stoa_link_ops *ops;
};

/* The implementation for address' scheme, or NULL. Core: any. */
const stoa_link_ops *stoa_link_find(const char *address);

/* Open through the scheme's implementation. Errors: as open; UNSUPPORTED (unknown scheme). */
stoa_err stoa_link_open(const char *address, const stoa_link_options *options, stoa_link **out);

#endif
