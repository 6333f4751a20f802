/* session_internal.h - what the session's files share: session.c has its life and step, session_hello.c greetings,
 * session_out.c the lanes out, session_flow.c how much of them, session_in.c the lanes in, session_pulse.c time. Internal to
 * transport/.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef STOA_TRANSPORT_SESSION_INTERNAL_H
#define STOA_TRANSPORT_SESSION_INTERNAL_H

#include "base/hash.h"
#include "transport/session.h"

enum {
    STOA_PULSES_KEPT = 64,    /* of which it is known when they were sent */
    STOA_REFUSED_PAUSE_S = 1, /* before the next greeting; doubled by each further refusal, up to 16 s */
    STOA_ACK_BATCHES = 8,     /* received, before an acknowledgement is due at once */
};

/* A batch in the ring: sent, or to be. */
typedef struct stoa_batch {
    uint64_t first;      /* number of its first frame */
    uint64_t sent_ns;    /* last time; what is left of a timed message is as of then. Before: when it was made */
    uint64_t soonest_ns; /* the first deadline of its messages; UINT64_MAX: none */
    uint32_t offset, span_bytes;  /* in the ring */
    uint32_t bytes, count, sends; /* bytes: with the envelope */
    bool fixed;                   /* it was to be sent, and changes no more */
    bool missing;                 /* there, and to be sent again */
} stoa_batch;

/* How much of a lane may be in flight; session_flow.c. */
typedef struct stoa_flow {
    uint64_t flight_bytes;         /* of batches sent, and not acknowledged since they were sent last */
    uint64_t limit_bytes;          /* so much may be */
    uint64_t calm_bytes;           /* below it the limit doubles in a round trip, above it grows by a batch */
    uint64_t held;                 /* behind the last batch sent when the limit last held one back */
    uint64_t slowed_ns;            /* when the limit last was lowered for a queue */
} stoa_flow;

/* Positions in a ring and indices of batches only grow; ring bytes lie at position % window, and a batch that begins
 * before the end of the window goes on in the batch_bytes behind it. */
typedef struct stoa_lane_out {
    uint8_t *ring;
    stoa_batch *batches;                /* STOA_SESSION_BATCHES */
    uint64_t oldest, next, end;         /* batches: not acknowledged, to be sent next, behind the last */
    uint64_t head, tail;                /* positions: of the oldest batch, behind the last */
    uint64_t next_seq, acked, sent_seq; /* numbers: of the next message; last acknowledged; last ever sent */
    uint64_t sent_bytes, credit;        /* of frames, ever sent; the other side takes */
    uint64_t again, again_end;          /* among these batches are those that are missing */
    uint64_t unclear;                   /* the times until batches before that are acknowledged say nothing */
    uint64_t soonest_ns;                /* no deadline of what waits is earlier */
    uint64_t source, target;            /* of the last frame of the open batch */
    uint64_t moved_ns;                  /* when something in flight was acknowledged last */
    stoa_flow flow;
    uint32_t window_bytes, quota, backoff;
    uint32_t takes_bytes; /* the open batch */
    bool open;       /* the last batch takes more */
    bool wants_room; /* a send was FULL */
} stoa_lane_out;

/* A batch that came before one that is missing. */
typedef struct stoa_early {
    uint64_t first, came_ns; /* number of its first frame; 0: none */
    uint32_t count, size_bytes;
} stoa_early;

typedef struct stoa_lane_in {
    uint64_t next;            /* number that is expected */
    uint64_t bytes, consumed; /* of frames that came; that the user is done with */
    uint64_t told_credit, ack_since_ns, asked_ns;
    uint32_t window_bytes, unacked; /* batches */
    bool ack_due, resend_due;
    uint32_t early_count;
    uint64_t came; /* first number of what came last of them */
    stoa_early early[STOA_EARLY_BATCHES];
    uint8_t *early_bytes; /* batch_bytes for each; touched where something gets lost */
} stoa_lane_in;

/* One that this side sends, in a slot of its own until it is done. */
typedef struct stoa_transfer_out {
    enum {
        STOA_OUT_FREE,
        STOA_OUT_HASHING,
        STOA_OUT_OFFERING,
        STOA_OUT_OFFERED,
        STOA_OUT_SENDING,
        STOA_OUT_SENT
    } state;
    uint64_t id, target, size_bytes, at; /* at: hashed, then sent so far */
    const uint8_t *bytes;
    stoa_hash256 hash;
    stoa_hash256_run run;
} stoa_transfer_out;

/* One that comes. */
typedef struct stoa_transfer_in {
    enum { STOA_IN_FREE, STOA_IN_HASHING, STOA_IN_ACCEPTING, STOA_IN_COMING, STOA_IN_DONE } state;
    stoa_transfer offer;
    uint8_t *bytes;
    uint64_t have, hashed; /* bytes that are there; of which are hashed */
    stoa_err err;          /* of DONE */
    stoa_hash256_run run;
} stoa_transfer_in;

struct stoa_session {
    stoa_session_options options;
    char name[STOA_NODE_NAME_BYTES], peer[STOA_NODE_NAME_BYTES];
    stoa_session_state state;
    stoa_link *link; /* NULL: no connection */
    stoa_peer link_peer;
    uint64_t linked_ns;          /* when it got this connection */
    struct stoa_sessions *at;    /* whose link that is, or was; NULL: nobody's */
    uint32_t holders;            /* sessions.c: links that have it */
    bool blocked; /* the link was full */
    bool busy;    /* messages are looked through: a send only queues */
    bool epoch_told;
    bool proven; /* a link has proven who the peer is */

    uint64_t peer_incarnation, peer_epoch; /* 0: never heard of */
    stoa_session_id id_out, id_in;
    uint64_t hello_number, greeting_from, hello_due_ns; /* greeting_from: first number of this greeting */
    uint64_t peer_hello, accepted; /* its last hello that came; that this greeting has accepted, 0: none */
    uint64_t refused_to;           /* what is said of hellos up to this one was told */
    uint64_t rewound_ns;           /* when all was sent again because the other side greeted */
    uint32_t refusals;             /* one after the other: the pause behind each is longer */
    bool bare;                                                      /* both trust the link */
    bool met;                                                       /* it was up with this incarnation of the peer */

    stoa_lane_out out[STOA_LANE_COUNT];
    stoa_lane_in in[STOA_LANE_COUNT];

    uint64_t stepped_ns, pulse_due_ns;
    uint64_t pulse_number, pulse_at_ns[STOA_PULSES_KEPT], heard; /* sent; when; the last that was answered */
    uint64_t peer_pulse, peer_pulse_ns;                          /* came; when */
    uint64_t confirmed_ns;                                       /* the last answer, by a pulse or an acknowledgement */
    uint64_t answered_ns, gap_ns, gap_spread_ns;                 /* by a pulse; between those, smoothed */
    uint64_t rtt_ns, rtt_spread_ns;
    uint64_t empty_rtt_ns, empty_at_ns; /* the shortest of this connection: of a path without a queue; when it was last */
    uint64_t queue_ns;                  /* so much longer was the last */
    bool carries_known;                 /* a batch was timed on this connection: pulses say little of what that takes */
    stoa_histogram rtt;
    stoa_session_counts counts;
    uint64_t last_transfer;
    stoa_transfer_out transfers_out[STOA_TRANSFERS];
    stoa_transfer_in transfers_in[STOA_TRANSFERS];
};

static inline uint64_t stoa_sooner(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

/* session_hello.c. Take: errors as stoa_session_take's. */
/* Whether messages of this session have come, or are known to have arrived: who has forgotten that is another one. */
bool stoa_session_has_exchanged(const stoa_session *s);
void stoa_session_greet(stoa_session *s, bool wants, uint64_t now_ns);
stoa_err stoa_session_take_hello(stoa_session *s, const char *identity, const void *bytes, uint32_t size_bytes,
                                 uint64_t now_ns);
stoa_err stoa_session_take_refusal(stoa_session *s, const void *bytes, uint32_t size_bytes, uint64_t now_ns);
/* Up no more, for this reason; greet again from again_ns on, if the connection is there. */
void stoa_session_lost(stoa_session *s, stoa_err why, uint64_t again_ns);
/* A message was dropped: its time was over. body: behind its deadline, of what is a message. */
void stoa_session_tell_expired(stoa_session *s, stoa_lane lane, const stoa_frame *f, const uint8_t *body, uint32_t size_bytes, bool here);
/* Up no more, and no greeting for a while. here: this side says so. */
void stoa_session_refused(stoa_session *s, stoa_err why, bool here, uint64_t now_ns);
/* Send an envelope and a body, counted. Errors: as the link's. */
stoa_err stoa_session_say(stoa_session *s, stoa_envelope_what what, const void *body, uint32_t body_bytes,
                          stoa_session_id id);

/* session.c */
typedef struct stoa_session_part {
    const void *bytes;
    uint32_t size_bytes;
} stoa_session_part;
/* Queue a frame of this one's type, user's byte, source and target, and both parts. Errors: FULL. */
stoa_err stoa_session_put(stoa_session *s, stoa_lane lane, const stoa_frame *f, uint64_t deadline_ns, const stoa_session_part parts[2],
                          uint64_t now_ns);

/* Whether a link with these options can carry it. */
bool stoa_session_fits(const stoa_session *s, const stoa_session_options *options);
/* Whether the peer may go on over a connection of that identity: one that was proven to be who it says not over one that proves nothing. */
bool stoa_session_trusts(const stoa_session *s, const char *identity);
/* From its next connection on it keeps to their times, trust and quotas. */
void stoa_session_over(stoa_session *s, const stoa_session_options *options);

/* session_transfer.c */
/* A frame of one has come. Errors: MALFORMED. */
stoa_err stoa_transfers_take(stoa_session *s, const stoa_frame *f, const uint8_t *body, uint32_t size_bytes);
/* Returns when to call again. */
uint64_t stoa_transfers_step(stoa_session *s, uint64_t now_ns);
/* The other side has restarted. */
void stoa_transfers_reset(stoa_session *s);

/* session_out.c */
/* Room at the lane's end for a frame from source to target with so many bytes behind its head and addresses; f: the frame begun there.
 * false: full. */
bool stoa_lane_room(stoa_session *s, stoa_lane lane, stoa_frame *f, uint32_t size_bytes, uint64_t now_ns);
/* Send what may be sent. all: an open batch, too, however young. */
void stoa_lane_flush(stoa_session *s, stoa_lane lane, bool all, uint64_t now_ns);
/* Whether it can be true. Errors: FORKED. */
stoa_err stoa_lane_mark_check(const stoa_session *s, stoa_lane lane, stoa_lane_mark mark);
/* What the other side says of a lane. Errors: FORKED. */
stoa_err stoa_lane_acked(stoa_session *s, stoa_lane lane, stoa_lane_mark mark, uint64_t now_ns);
/* All that is not acknowledged is sent again. */
void stoa_lane_rewind(stoa_session *s, stoa_lane lane);
/* The other side misses what is behind acked, but for kept_count that it has kept. */
void stoa_lane_missing(stoa_session *s, stoa_lane lane, uint64_t acked, const stoa_missing *what, uint32_t kept_count,
                       uint64_t now_ns);
/* Forget all of it; numbers begin at 1. */
void stoa_lane_clear(stoa_session *s, stoa_lane lane);
/* Resend what seems lost, drop what is over, send what is ripe; returns when it has something to do next. */
uint64_t stoa_lane_step(stoa_session *s, stoa_lane lane, uint64_t now_ns);

/* session_flow.c */
/* There is a new connection, of which nothing is known. */
void stoa_flow_begin(stoa_session *s);
/* Whether so many bytes more may be in flight. */
bool stoa_flow_lets(const stoa_lane_out *out, uint32_t bytes);
/* Whether no other batch may follow one of so many bytes before something is acknowledged. */
bool stoa_flow_is_full(const stoa_session *s, const stoa_lane_out *out, uint32_t bytes);
/* A batch takes so many: few where few may be in flight, so that what is urgent does not wait long for one. */
uint32_t stoa_flow_batch_bytes(const stoa_session *s, const stoa_lane_out *out);
/* So many have arrived, up to batch index oldest. */
void stoa_flow_acked(stoa_session *s, stoa_lane_out *out, uint64_t bytes);
/* Something did not arrive, though what came behind it did. */
void stoa_flow_lost(stoa_lane_out *out);
/* Nothing has arrived for so long that all that is in flight counts as lost. */
void stoa_flow_timeout(stoa_lane_out *out);
/* A round trip has taken so long. */
void stoa_flow_sample(stoa_session *s, uint64_t rtt_ns, uint64_t now_ns);

/* session_in.c */
stoa_lane_mark stoa_lane_mark_of(const stoa_session *s, stoa_lane lane);
stoa_err stoa_session_take_data(stoa_session *s, const stoa_envelope *e, const void *bytes, uint32_t size_bytes,
                                uint64_t now_ns);
/* Something has been said that carries the lane's mark. */
void stoa_lane_marked(stoa_session *s, stoa_lane lane);
uint64_t stoa_lane_acknowledge(stoa_session *s, stoa_lane lane, uint64_t now_ns);

/* session_pulse.c */
/* There is a new connection. */
void stoa_pulse_forget(stoa_session *s);
void stoa_pulse_begin(stoa_session *s, uint64_t now_ns);
/* Something that this side sent over this connection was answered. */
void stoa_pulse_confirmed(stoa_session *s, uint64_t now_ns);
uint64_t stoa_pulse_step(stoa_session *s, uint64_t now_ns);
stoa_err stoa_session_take_pulse(stoa_session *s, const void *bytes, uint32_t size_bytes, uint64_t now_ns);
void stoa_session_rtt(stoa_session *s, uint64_t rtt_ns, uint64_t now_ns);
/* After so long without an acknowledgement a batch is taken for lost; so long a silence for the end. */
uint64_t stoa_session_timeout_ns(const stoa_session *s);
uint64_t stoa_session_silence_ns(const stoa_session *s);

#endif
