/* link.h - what every transport must provide: ordered frames between two ends, with the peer's proven identity.
 *
 * An endpoint either listens (many peers) or dials (one peer). A frame is 1 to frame_limit bytes, delivered whole, in
 * order per peer, or not at all; a lost connection is reported, never papered over. Every connection is reported as
 *
 *     up, frame, frame, ..., down
 *
 * with a peer number of its own, on the dialling side too: frames of an old connection never follow the up of a new
 * one. A connection that is refused in the handshake has neither up nor down.
 *
 * One thread owns an endpoint and calls all of its functions. A transport need not have a thread of its own: then nothing
 * moves on a side that does not poll, neither what comes nor what was sent. Implementations are found by the address' scheme; the
 * contract is tested once, against all of them, by tests/contract/link_*_test.c.
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

typedef uint64_t stoa_peer; /* names one connection of an endpoint; not 0, and never reused while the endpoint lives */

/* A key is what the other side proves in the handshake: a CURVE key pair, in Z85, or on shm the user it runs as, which
 * the kernel vouches for, as "uid:1000". */
typedef struct stoa_link_allowed {
    char name[64]; /* the identity frames of this key are reported with */
    char public_key[STOA_KEY_TEXT_BYTES];
} stoa_link_allowed;

typedef struct stoa_link_options {
    bool listen;
    const char *secret_key; /* Z85, own; NULL: no encryption (only where the address is local: ipc, loopback) */
    const char *public_key; /* dial: Z85, own; with secret_key */
    const char *server_key; /* dial: the listener's public key; with secret_key, or on shm (NULL: our own user) */
    /* listen, with secret_key, or on shm (none: our own user): who may connect, nobody else may; copied */
    const stoa_link_allowed *allowed;
    uint32_t allowed_count;
    uint32_t frame_limit;  /* bytes, STOA_LINK_FRAME_LIMIT_MIN or more; a larger frame closes its connection */
    uint32_t queue_frames; /* frames queued per peer before send says FULL; 1 or more */
    bool trusted;          /* ucx, ofi: the operator vouches for the network between the ends. Frames are not encrypted
                              where both ends say so (keys are proven all the same), and keys are not required */
    bool fenced;           /* ucx, ofi: the operator vouches that strangers do not reach the ports of this process, by a
                              firewall or because of where it is. These libraries believe what comes to their own ports,
                              before any key is asked for: who reaches those owns the process. Without this word, or
                              trusted, which says more, an address that leaves this machine is refused */
    uint32_t peer_limit;   /* listen: connections served at once, 0 for STOA_LINK_PEERS; one more is refused (FULL) */
} stoa_link_options;

enum { STOA_LINK_FRAME_LIMIT_MIN = 1024, STOA_LINK_PEERS = 1024, STOA_LINK_PEERS_MAX = 65536 };

typedef struct stoa_link stoa_link;

/* What poll calls. A callback may send on the link; it may not call poll, allow or close. All but refused are
 * required. */
typedef struct stoa_link_events {
    /* A frame from peer; identity is the proven name ("" where the link is not authenticated), bytes live until
     * return. */
    void (*frame)(void *context, stoa_peer peer, const char *identity, const void *bytes, uint32_t size_bytes);
    /* The peer is gone (listen) or the connection was lost (dial; it is dialled again by itself and up is reported). A
     * dialled endpoint also tells it when the listener has been silent for some seconds; a listener takes a peer that is
     * stopped for a slow reader. */
    void (*down)(void *context, stoa_peer peer);
    /* A peer has connected, is allowed and can be sent to. */
    void (*up)(void *context, stoa_peer peer);
    /* Optional. A connection was refused, here or by the other side. why is one of
     *   DENIED     the key is not on the allow-list (any more), the server key is wrong, only one side encrypts
     *   VERSION    the other side speaks another version of the transport
     *   MALFORMED  what one side said is not this transport, or (listen) it hung up before it said who it is
     *   CORRUPT    what one side sent was spoilt on the way (ucx, ofi): up is followed by down, and who dials comes again
     *   FULL       the listener's peer_limit is reached; who dials may see up and down first. Or there are no descriptors or ports for it
     *   others     what failed where it was to be made, here or there: IO, NOMEM, UNSUPPORTED (ucx, ofi), ...
     * Several refusals for one reason may be reported once. A dialled endpoint goes on dialling, at most once a second,
     * because keys can be added while the listener runs; whoever waits for up decides when the last reason is the
     * answer. A listener that dies within the handshake can look like DENIED, once. */
    void (*refused)(void *context, stoa_err why);
    /* Optional. What was put to the peer before its flush with this token is in its memory. */
    void (*flushed)(void *context, stoa_peer peer, uint64_t token);
    void *context;
} stoa_link_events;

/* Memory of one side that the other may write to. Plain bytes: who exposes it sends it to the other in a frame. */
typedef struct stoa_link_window {
    uint64_t id, address, size_bytes;
    uint32_t key_bytes;
    uint8_t key[132]; /* the provider's */
} stoa_link_window;

/* Since open. */
typedef struct stoa_link_counts {
    uint64_t ups, downs;     /* as reported */
    uint64_t refused;        /* connections, for any reason, each counted */
    uint64_t frames_dropped; /* that came from refused connections */
    uint64_t written_bytes;  /* put by the provider, into the other side's memory */
    uint64_t framed_bytes;   /* put in frames underneath, because the provider does not, or it is not known yet whether it does */
} stoa_link_counts;

/* What is really under a link: what its provider was seen to do when the link was opened, not what it says of itself. */
typedef struct stoa_link_traits {
    char provider[64];  /* "libzmq 4.3.4", "ucx 1.13.1, tcp" */
    bool proves;        /* frames carry a name that the other side has proven */
    bool encrypts;      /* what is sent cannot be read or changed on the way */
    bool one_sided;     /* put and flush are there */
    bool writes_memory; /* put is done by the provider, without the other side's owner; else by frames underneath */
    bool rendezvous;    /* large frames are fetched by the other side and not copied on the way */
    char note[128];     /* what an operator should know: how it was probed, what does not work here; "" is nothing */
} stoa_link_traits;

typedef struct stoa_link_ops {
    const char *scheme; /* "zmq+tcp", "zmq+ipc", ...: the part of an address before "://" */

    /* Listen at or dial address. May block (start-up), but never waits for the other side. Errors: INVALID (address,
     * key, limits), EXISTS (another endpoint listens there), DENIED, NOMEM, IO. */
    stoa_err (*open)(const char *address, const stoa_link_options *options, stoa_link **out);

    /* Queue one frame; bytes are copied before return. Never blocks. peer is ignored by a dialled endpoint.
     * After FULL the descriptor becomes readable when there is room again (and sometimes before): poll, then retry.
     * Errors: FULL, CLOSED (peer is gone, or not there yet), INVALID (no bytes), TOO_LARGE, NOMEM. */
    stoa_err (*send)(stoa_link *link, stoa_peer peer, const void *bytes, uint32_t size_bytes);

    /* Deliver up to max pending events; returns how many. Never blocks. */
    uint32_t (*poll)(stoa_link *link, const stoa_link_events *events, uint32_t max);

    /* A descriptor that is readable when poll may have work. After every send, and after a poll that did not return
     * less than max, call poll again before sleeping on it (it may be edge-triggered). */
    int (*fd)(stoa_link *link);

    /* Optional, NULL where it would change nothing; call it by stoa_link_spin. From now on the owner polls without
     * sleeping on the descriptor (on), or may sleep again (off). While on, the descriptor need not become readable, so
     * that nobody has to be woken. After off, call poll before sleeping. A link is opened with off. */
    void (*spin)(stoa_link *link, bool on);

    /* The address really bound ("zmq+tcp://127.0.0.1:40123" for port 0). */
    const char *(*address)(stoa_link *link);

    /* Replace the allow-list (listen, with encryption). What a removed key has open is refused at once: sends to it say
     * CLOSED, its frames are dropped, down is reported. So is what a key has open that has another name now, but for the refusal: it comes
     * back by itself, with that name. On an error the old list stays.
     * Errors: INVALID (key, name, a key twice, no encryption), NOMEM. */
    stoa_err (*allow)(stoa_link *link, const stoa_link_allowed *allowed, uint32_t count);

    /* End a peer's connection (listen; a dialled endpoint's only one is ended by closing the link): down is reported on both sides, what is
     * under way may be lost, nothing is refused, and who dials comes back by itself. A peer that is not up is left alone. */
    void (*part)(stoa_link *link, stoa_peer peer);

    /* What happened since open. */
    void (*counts)(stoa_link *link, stoa_link_counts *out);

    /* Optional, NULL: nothing is known; call it by stoa_link_describe. Never blocks. */
    void (*describe)(stoa_link *link, stoa_link_traits *out);

    /* Optional, all four or none (traits say one_sided): writing to the other side's memory without its owner taking part,
     * for rings and large things. Where the provider cannot, or may not because frames are encrypted, what is put goes
     * in frames underneath, and is written when the other side polls.
     *
     * Expose memory to whoever learns the window; it stays valid and where it is until it is concealed, or the link closed.
     * In frames nothing is written outside of a window. Where the provider writes, a peer may name any address of ours.
     * Errors: FULL (too many), INVALID, NOMEM, IO. */
    stoa_err (*expose)(stoa_link *link, void *memory, uint64_t size_bytes, stoa_link_window *out);
    /* What is still put there ends its connection. */
    void (*conceal)(stoa_link *link, const stoa_link_window *window);
    /* Write bytes at offset of the peer's window, in no order with other puts or frames until flushed. bytes stay as they are
     * until then. Errors: FULL (poll, then again), CLOSED, INVALID (not within the window), TOO_LARGE (frame_limit). */
    stoa_err (*put)(stoa_link *link, stoa_peer peer, const stoa_link_window *window, uint64_t offset, const void *bytes,
                    uint32_t size_bytes);
    /* Ask for flushed(token) when all that was put before is there. Lost with the connection. Errors: FULL, CLOSED. */
    stoa_err (*flush)(stoa_link *link, stoa_peer peer, uint64_t token);

    /* Release everything. What was sent gets linger_ms to arrive: close blocks until the other sides have polled all of
     * it, or are gone, or the time is over. What comes in meanwhile is dropped. NULL is allowed. */
    void (*close)(stoa_link *link, uint32_t linger_ms);
} stoa_link_ops;

/* First member of every implementation's struct. */
struct stoa_link {
    const stoa_link_ops *ops;
};

/* Tell the link whether its owner spins; see spin. Core: the owner's. */
static inline void stoa_link_spin(stoa_link *link, bool on)
{
    if (link->ops->spin) { link->ops->spin(link, on); }
}

/* What is under the link; provider is the scheme where the implementation does not say. Core: the owner's. */
void stoa_link_describe(stoa_link *link, stoa_link_traits *out);

/* The implementation for address' scheme, loaded if it is a module (transport/module.h), or NULL; the trail says why: no
 * such scheme, or it cannot be loaded. Core: any; may block. */
const stoa_link_ops *stoa_link_find(const char *address);

/* Whether an address can be listened at, or dialled, as far as its text says: nothing is opened and no name looked up; its module is
 * loaded. Errors: INVALID, UNSUPPORTED; the trail says why. */
stoa_err stoa_link_check(const char *address, bool listen);

/* Open through the scheme's implementation, what passes stoa_link_check. Errors: as open; UNSUPPORTED (unknown scheme, module or library not
 * installed). */
stoa_err stoa_link_open(const char *address, const stoa_link_options *options, stoa_link **out);

#endif
