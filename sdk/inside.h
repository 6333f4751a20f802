/* inside.h - what the library's files share.
 *
 *     client.c   opening, closing, waiting for events, helpers
 *     session.c  the connection: hello, heartbeat, frames in
 *     calls.c    requests, their retries and deadlines; the calls that wait
 *     streams.c  subscriptions and their continuity
 *
 * A call is kept, encoded, until it is answered or its deadline has passed; it is sent whenever there is a
 * session that it was not sent on, and again after an error that says so. A stream is a call (subscribe) per
 * session and a place in the sequence.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef STOA_SDK_INSIDE_H
#define STOA_SDK_INSIDE_H

#include "actors/client/client_msgs.h"
#include "base/clock.h"
#include "sdk/stoa_client.h"
#include "transport/link.h"

enum {
    CALLS_MAX = 4096,
    CALLS_DEFAULT = 256,
    TARGET_BYTES = STOA_PROTOCOL_NAME_MAX + 1,
    PAYLOAD_BYTES_MAX = 32768, /* of a payload in memory */
    ID_HELLO = 1,
    ID_PING = 2,
    ID_UNSUBSCRIBE = 3,
};

typedef struct stream stream;

typedef struct call {
    bool used, sent, answered;
    uint32_t op;
    uint64_t id; /* generation * CALLS_MAX + place, from CALLS_MAX up */
    char target[TARGET_BYTES];
    uint64_t named;    /* the session that it was sent in first, whose memory knows it; 0: not sent yet */
    uint64_t due_ns;   /* deadline */
    uint64_t again_ns; /* when to send it again, 0: not before there is a new session */
    uint32_t pause_ms; /* before the next retry */
    uint32_t size_bytes;
    uint8_t *payload; /* encoded; owned */
    stoa_client_done done;
    void *context;
    stream *stream; /* subscribe: of the library's own */
} call;

struct stream {
    stream *next;
    const stoa_protocol_stream *is;
    char target[TARGET_BYTES];
    uint64_t handle; /* the caller's name for it */
    uint64_t id;     /* the present session's name for it, 0: none */
    uint64_t last;   /* newest number that the caller has seen whole */
    bool placed;     /* last is valid: the stream is resumed behind it */
    bool begun;      /* the node has consented once: from then on it is the library's to keep it going */
    bool ended;      /* waits to be freed */
    stoa_client_on_item on_item;
    void *context;
};

typedef enum phase { PHASE_DOWN, PHASE_GREETING, PHASE_READY } phase;

struct stoa_client {
    stoa_link *link;
    char *endpoint, *key, *server_key;    /* as they were said: the files are read again after a refusal */
    char own_public[STOA_KEY_TEXT_BYTES], server[STOA_KEY_TEXT_BYTES]; /* that it dials with */
    char refused_keys[2][STOA_KEY_TEXT_BYTES]; /* of the node, in this round of what the files have */
    char next_server[STOA_KEY_TEXT_BYTES];     /* to dial with */
    bool redial;                               /* it is another one, or the own key is */
    int epoll, timer;
    uint64_t armed_ns; /* what the timer is set to */
    phase phase;
    bool inside; /* a callback is running */
    bool sent;   /* something was, since the link was polled */
    char name[64];
    uint64_t session; /* number of it: of its own, then as the node gave it */
    bool renew;       /* the node has forgotten requests of it: another one begins when none of it is under way */
    uint64_t now_ns;
    uint64_t greet_ns;            /* GREETING: when to say hello (again) */
    uint64_t heard_ns, pinged_ns; /* pinged: 0 when no pong is due */
    uint64_t sessions;
    uint32_t refusals; /* in a row */
    stoa_err refused;
    client_welcome welcome;

    call *calls; /* calls_max of them */
    uint32_t calls_max, call_count;
    uint32_t hint;    /* where a free one may be */
    uint32_t unsent;  /* used and not sent */
    uint32_t waiting; /* sent */
    uint64_t due_ns;  /* nothing is to be done about calls before, unless some are unsent and can be sent */
    uint64_t generation;
    stream *streams;
    uint32_t stream_count;
    bool unasked; /* some of them are to be subscribed again and found no place for the call */
    uint64_t handles;
    uint64_t handled; /* things done, to see whether a poll did any */

    char error_text[STOA_PROTOCOL_TEXT_MAX + 1];
    stoa_frame_tokens tokens;
    uint8_t frame[STOA_PROTOCOL_REQUEST_MAX];
    _Alignas(8) uint8_t payload[PAYLOAD_BYTES_MAX];
};

/* --- client.c */

/* Something was begun outside the loop: have the descriptor ring, as the link wants to be polled after a send. */
void client_stir(stoa_client *c);
/* What it dials with was refused: read the files again - NAME.key and server.pub may have been rotated, server.next.pub beside it is what the
 * node has announced - and choose what to dial with next. Whether all that they have was refused by now. */
bool client_refused(stoa_client *c);
/* Dial again with what was chosen. */
void client_redial(stoa_client *c);
/* Run the loop until *done. */
void client_run(stoa_client *c, const bool *done);

/* --- session.c */

/* Handle what the link has and what time demands. false: there may be more at once. */
bool session_step(stoa_client *c);
/* When time demands something next. */
uint64_t session_next_ns(const stoa_client *c);
/* Send one request now; payload is msgpack. false: the link has no room. */
bool session_send(stoa_client *c, uint32_t op, uint64_t id, const char *target, uint64_t deadline_ms,
                  const void *payload, size_t size_bytes);
/* Send one of the session's own requests. */
void session_say(stoa_client *c, const stoa_protocol_op *op, uint64_t id, const void *payload);
/* The server does not know this session any more: greet it again. */
void session_lost(stoa_client *c);
/* A session of another number, whose requests the node has not forgotten. */
void session_renew(stoa_client *c);
/* A number of its own, larger than any that a node gives: it gets one from the node. */
void session_number_own(stoa_client *c);

/* --- calls.c */

/* Errors: INVALID (target), FULL, TOO_LARGE, NOMEM. */
stoa_err call_new(stoa_client *c, const stoa_protocol_op *op, const char *target, const void *payload,
                  uint64_t deadline_ns, call **out);
call *call_find(stoa_client *c, uint64_t id);
/* Send what is to be sent, end what is overdue. */
void calls_step(stoa_client *c);
uint64_t calls_next_ns(const stoa_client *c);
/* The session is gone: all must be sent again. */
void calls_unsent(stoa_client *c);
void call_answered(stoa_client *c, call *at, const stoa_server_frame *frame);
void call_drop(stoa_client *c, call *at);
/* End the callers' calls with err. */
void calls_refused(stoa_client *c, stoa_err err);
/* Keep what the server said about an error. */
void note_text(stoa_client *c, const char *text, size_t size_bytes);

/* --- streams.c */

/* A new session: subscribe again. */
void streams_again(stoa_client *c);
/* Subscribe those that found no place for their call. */
void streams_step(stoa_client *c);
void streams_frame(stoa_client *c, const stoa_server_frame *frame);
void stream_subscribed(stream *s, uint64_t newest);
/* It could not be had again on a later session. */
void stream_refused(stoa_client *c, stream *s, stoa_err err);
/* Free those that have ended; not from callbacks. */
void streams_sweep(stoa_client *c);

#endif
