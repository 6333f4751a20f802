/* session.h - the conversation of two nodes: it keeps order, gives credit, outlives connections, and says what was lost.
 *
 * A session stands on a link (link.h), which moves frames between two ends while there is a connection. It is a state
 * machine: time comes with each call, it waits for nothing, and the link is all it touches. What it promises, also where
 * the link loses, doubles, delays or reorders frames:
 *
 *     order     messages of one lane arrive in the order they were sent, each once, or not at all
 *     resume    a connection may come and go: while both incarnations live nothing is lost and nothing comes twice
 *     reset     when the other side has restarted, what it had not acknowledged is lost: reset says so, lane by lane, before
 *               up is told; the first message of the new session has number 1
 *     bounds    a lane's queue is window_bytes long and FULL is an answer; the receiver says how much it takes
 *     deadline  a message whose time is over is dropped, here before it is sent or there on arrival, and told as expired
 *     silence   a peer whose answers do not come is told as down (TIMEOUT) within heartbeat_ns + silence_max_ns, and
 *               normally within about four heartbeats and two round trips; a path that works one way only is such a
 *               silence on both sides. That is the owner's time: from one step to the next it goes on by two heartbeats
 *               at most, so one that steps less often notices after silence_max_ns / (2 * heartbeat_ns) steps and one
 *
 * States. Not connected; greeting (HELLOs are sent until one comes back that knows this incarnation); up. Three hellos make
 * a session: each side must have seen one that names its own incarnation and says that a hello of this greeting was accepted. So
 * nobody is up with who refuses it, not for a moment. What is sent before waits. A silence takes the session back to greeting, on
 * the same connection.
 *
 *              stoa_session_up            a HELLO that knows us
 *     away -----------------> greeting ------------------------> up
 *       ^                         ^  \  refused: a longer pause    |
 *       |   stoa_session_down     |   `-------<--------------------'  silence, good-bye
 *       `-------------------------'----------------------------'
 *
 * A batch is what goes over the link in one piece: the messages of one lane that came together while batch_bytes were not
 * full and batch_ns not over. It stays in the lane's ring until it is acknowledged and is sent again, byte for byte but for
 * its envelope, when it seems lost: after a timeout (RFC 6298, but from a heartbeat on) or when the receiver says that it is missing.
 * The receiver tells batches in order; of those that come before one that is missing it keeps 32 a lane. How much of a lane may
 * be in flight follows what the path carries (session_flow.c): on a slow one little waits on the way, so that what is urgent, and
 * the pulses, get through.
 *
 * Use: every message in and out, then once per turn of the owner's loop
 *
 *     link->ops->poll(...)             frame: stoa_session_take; up, down: stoa_session_up, _down
 *     stoa_session_send(...)           any number
 *     next_ns = stoa_session_step(session, now_ns)
 *
 * sessions.h does this for all sessions of a link. One thread per session. Memory is taken by new only.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef STOA_TRANSPORT_SESSION_H
#define STOA_TRANSPORT_SESSION_H

#include "base/clock.h"
#include "base/hash.h"
#include "base/metrics.h"
#include "transport/envelope.h"
#include "transport/link.h"

typedef struct stoa_session stoa_session;

/* A message that has come; bytes live until the callback returns. */
typedef struct stoa_session_message {
    stoa_lane lane;
    uint8_t type; /* the sender's */
    uint64_t seq; /* of its lane: grows by one, but where numbers went to transfers or to what expired */
    uint64_t source, target;
    uint64_t deadline_ns; /* on the receiver's clock; 0: none */
    const void *bytes;
    uint32_t size_bytes;
    uint32_t credit_bytes; /* what stoa_session_consumed gives back for it */
} stoa_session_message;

/* What became of a session whose other side has restarted. */
typedef struct stoa_session_reset {
    uint64_t old_incarnation, new_incarnation;
    struct {
        uint64_t acked;    /* the last number that it acknowledged */
        uint64_t lost;     /* so many behind it were accepted by send and are gone; some of them may have arrived */
        uint64_t received; /* the last number that came from it */
    } lanes[STOA_LANE_COUNT];
} stoa_session_reset;

/* Something that is too large for a message: it goes over the bulk lane in chunks, beside the messages there. */
typedef struct stoa_transfer {
    uint64_t id;         /* the sender's, of this session */
    uint64_t target;     /* the sender's user's */
    uint64_t size_bytes; /* of all of it */
    stoa_hash256 hash;   /* BLAKE2b-256 of all of it: the same bytes are known by it when they are offered again */
} stoa_transfer;

/* What a session tells of transfers; see stoa_session_transfer. */
typedef struct stoa_transfer_events {
    /* One is offered. Say where it goes to: size_bytes of memory that is left alone until came, and of which the first
     * have bytes are there already, kept from a transfer of the same hash that a reset has ended. An error refuses it. */
    stoa_err (*offered)(void *context, stoa_session *session, const stoa_transfer *offer, void **into_out,
                        uint64_t *have_out);
    /* NULL, or: the first have bytes are there now. keep.h keeps them for the next offer of the same hash. */
    void (*grew)(void *context, stoa_session *session, const stoa_transfer *offer, uint64_t have);
    /* It is there and is what was offered; or not, and have bytes are. why: CLOSED (the other side has restarted), CORRUPT. */
    void (*came)(void *context, stoa_session *session, const stoa_transfer *offer, uint64_t have, stoa_err why);
    /* The other side has it; or not, why: its refusal, CORRUPT, CLOSED. The bytes are the caller's again. */
    void (*gone)(void *context, stoa_session *session, uint64_t id, stoa_err why);
    void *context;
} stoa_transfer_events;

/* What a session tells; messages and expired ones that came only between up and down. A callback may send and consume; it may not take, step or free. All are required. */
typedef struct stoa_session_events {
    void (*message)(void *context, stoa_session *session, const stoa_session_message *message);
    /* Messages pass. resumed: the same incarnation as before; else numbers begin at 1. */
    void (*up)(void *context, stoa_session *session, bool resumed);
    /* They do not, for now. why: CLOSED (the connection is gone), TIMEOUT (silence), OK (the other side said good-bye). */
    void (*down)(void *context, stoa_session *session, stoa_err why);
    void (*reset)(void *context, stoa_session *session, const stoa_session_reset *what);
    /* A greeting was refused, here or by the other side; it is repeated after a pause, of 1 s at first and 16 s in the end.
     * why: VERSION, DENIED (another name than was expected or than its key's), STALE (an older incarnation, or an older epoch in one), FORKED (it
     * acknowledges what was never sent, or has forgotten what it had), FULL (sessions.h: too many), EXISTS (sessions.h: it greets over another link). */
    void (*refused)(void *context, stoa_session *session, stoa_err why, bool here);
    /* A message that was sent here or has come from there was dropped: its time was over. What the other side has dropped
     * has lane and seq alone. */
    void (*expired)(void *context, stoa_session *session, const stoa_session_message *message, bool here);
    /* After a send that was FULL: the lane has room. After reset each lane has, and this is not told. */
    void (*room)(void *context, stoa_session *session, stoa_lane lane);
    void *context;
} stoa_session_events;

/* Zero stands for the default where one is named. */
typedef struct stoa_session_options {
    const char *name;                       /* of this node */
    const char *peer;                       /* of the other one; NULL: whoever says hello */
    uint64_t incarnation;                   /* of this node's process: not 0, and more than at its last start */
    uint64_t epoch;                         /* of this node's right to speak */
    uint16_t version_min, version_max;      /* STOA_SESSION_VERSION */
    uint32_t batch_bytes;                   /* the link's frame_limit at most; 16 KiB */
    uint64_t batch_ns;                      /* how long a batch may wait for more; 0: until the next step */
    uint32_t window_bytes[STOA_LANE_COUNT]; /* of each queue out, and of each credit in; 256 KiB, 1 MiB, 1 MiB */
    uint32_t link_frames;                   /* the link's queue_frames: bulk takes a quarter, normal a half; 64 */
    bool trusts_link;        /* with every bit: no checksums, if the other side says so, too. For shared memory */
    bool consumes;           /* the user calls stoa_session_consumed; else what is told is consumed */
    uint64_t ack_ns;         /* how long an acknowledgement may wait for a batch to go with; 1 ms */
    uint64_t heartbeat_ns;   /* 100 ms */
    uint64_t silence_max_ns; /* 2 s; the threshold adapts between 4 heartbeats and this, and is no less than those */
    const stoa_transfer_events *transfers; /* NULL: offers are refused (UNSUPPORTED) */
    const stoa_session_events *events;     /* live as long as the session */
} stoa_session_options;

enum { STOA_SESSION_BATCH_MIN = 1024, STOA_SESSION_BATCHES = 1024 }; /* unacknowledged at once, per lane */

/* Allocates all it will ever need. Errors: INVALID, NOMEM. */
stoa_err stoa_session_new(const stoa_session_options *options, stoa_session **out);
/* NULL is allowed. What was not acknowledged is lost. */
void stoa_session_free(stoa_session *session);

/* There is a connection: peer of link, whose proven identity is "" where there is none. Says hello. */
void stoa_session_up(stoa_session *session, stoa_link *link, stoa_peer peer, uint64_t now_ns);
/* It is gone. */
void stoa_session_down(stoa_session *session, uint64_t now_ns);
/* Something came over it. identity is the name that the link has proven, "" where it proves none.
 * Errors, each counted, none of which changes what the session does: MALFORMED, VERSION, CORRUPT, STALE (another session's or
 * an older epoch's), FULL (above its credit), FORKED (acknowledges what was not sent), DENIED. */
stoa_err stoa_session_take(stoa_session *session, const char *identity, const void *bytes, uint32_t size_bytes,
                           uint64_t now_ns);
/* Send what waits, acknowledge, beat, notice silence. Returns when to call again at the latest. */
uint64_t stoa_session_step(stoa_session *session, uint64_t now_ns);
/* Say good-bye, so that the other side need not wait; the session can go on with another up. */
void stoa_session_leave(stoa_session *session, uint64_t now_ns);

/* Queue a message; bytes are copied. It is sent with the next step, or as soon as a batch is full. type, source and target
 * are the user's. deadline_ns: of this side's clock, 0 for none. The message's number is where acknowledgements of a lane
 * lead to. Errors: FULL (room tells when), TOO_LARGE (stoa_session_message_max), INVALID (no such lane). */
stoa_err stoa_session_send(stoa_session *session, stoa_lane lane, uint8_t type, uint64_t source, uint64_t target,
                           uint64_t deadline_ns, const void *bytes, uint32_t size_bytes, uint64_t now_ns,
                           uint64_t *seq_out);
uint32_t stoa_session_message_max(const stoa_session *session);
/* The user is done with so much of what came (stoa_session_message.credit_bytes). */
void stoa_session_consumed(stoa_session *session, stoa_lane lane, uint64_t credit_bytes);
/* This node's right to speak is a newer one. Errors: STALE (it is an older one). */
stoa_err stoa_session_epoch(stoa_session *session, uint64_t epoch, uint64_t now_ns);

enum { STOA_TRANSFERS = 8 }; /* under way at once, each way */

/* Send more than a message holds. bytes stay where they are, unchanged, until gone. It is hashed first, in slices, as steps
 * go by, offered, and sent while the bulk lane has room; it goes on where it was over any number of connections.
 * Errors: FULL (STOA_TRANSFERS are under way), INVALID (no bytes, no stoa_session_options.transfers). */
stoa_err stoa_session_transfer(stoa_session *session, uint64_t target, const void *bytes, uint64_t size_bytes,
                               uint64_t *id_out);

/* --- what can be seen of it */

typedef enum stoa_session_state { STOA_SESSION_AWAY, STOA_SESSION_GREETING, STOA_SESSION_UP } stoa_session_state;

typedef struct stoa_session_counts {
    uint64_t sent, received, bytes_sent, bytes_received; /* messages; bytes of their batches */
    uint64_t batches_sent, batches_received, resent;     /* resent: batches, once more */
    uint64_t duplicates, gaps, early; /* frames that were there already; batches behind a missing one, or before up */
    uint64_t expired_here, expired_there;                                     /* before they were sent; on arrival */
    uint64_t full;                                                            /* sends that were */
    uint64_t malformed, version, corrupt, stale, over_credit, forked, denied; /* pieces that were refused, by why */
    uint64_t ups, resumes, resets, downs, silences;
} stoa_session_counts;

typedef struct stoa_session_lane {
    uint64_t queued;                /* messages accepted and not acknowledged */
    uint64_t in_flight, limit;      /* bytes sent and not acknowledged; so many may be, by what the path has carried */
    uint64_t credit;                /* bytes that may be sent before the other side gives more */
    uint64_t acked, received, next; /* numbers: last acknowledged, last received, next to be sent */
} stoa_session_lane;

typedef struct stoa_session_view {
    stoa_session_state state;
    const char *peer; /* "" while unknown */
    uint64_t incarnation, peer_incarnation, peer_epoch;
    uint64_t rtt_ns, rtt_spread_ns, silence_ns; /* smoothed; after so long without an answer it is down */
    stoa_session_lane lanes[STOA_LANE_COUNT];
    stoa_session_counts counts;
    const stoa_histogram *rtt; /* ns, of batches and pulses */
} stoa_session_view;

/* The other node's name; "" while it is unknown. */
const char *stoa_session_peer(const stoa_session *session);
/* By the session's thread; rtt may be read by any, while the session lives. */
void stoa_session_look(const stoa_session *session, stoa_session_view *out);

#endif
