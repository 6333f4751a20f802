/* gateway_inside.h - what the gateway's files share: its state, and who does what.
 *
 *     gateway.c          opens and closes, the thread's loop, events of link and port
 *     gateway_session.c  connections, requests and their checks, answers
 *     gateway_stream.c   subscriptions: where each stands, what it is missing, snapshots
 *     gateway_topic.c    the backlogs
 *
 * Everything here belongs to the gateway's thread, but for what is marked shared.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef STOA_NODE_PORTS_GATEWAY_INSIDE_H
#define STOA_NODE_PORTS_GATEWAY_INSIDE_H

#include <pthread.h>
#include <stdatomic.h>

#include "actors/client/client_msgs.h"
#include "base/durability.h"
#include "node/ports/gateway.h"

typedef struct session session;
typedef struct subscription subscription;
typedef struct topic topic;

/* A client of the allow-list, with what all its sessions use together. */
typedef struct client {
    stoa_gateway_client is;
    uint32_t requests, streams;
} client;

/* An encoded frame that waits for room in the link. */
typedef struct held_frame {
    struct held_frame *next;
    bool answers; /* gives back one of the client's requests when it is sent */
    uint32_t size_bytes;
    uint8_t bytes[];
} held_frame;

typedef struct frames {
    held_frame *head, *tail;
    uint32_t count;
} frames;

/* --- topics */

/* One published item: what item frames carry behind the stream's id. */
typedef struct backlog_item {
    uint64_t first, last; /* sequence numbers */
    bool begins, whole;   /* first and last part of a change */
    uint32_t size_bytes;
    uint8_t *tail;
} backlog_item;

struct topic {
    topic *next; /* of its bucket */
    const stoa_protocol_stream *stream;
    char name[STOA_NAME_MAX + 1];
    backlog_item *items; /* ring of gateway->options.backlog_items */
    uint64_t begin, end; /* items ever dropped, items ever kept: places of the oldest and behind the newest */
    uint64_t size_bytes; /* of the tails held */
    uint64_t used_ns;    /* when it last had a subscriber */
    subscription *subscribers;
};
enum { TOPIC_BUCKETS = 1024 };

/* --- subscriptions */

typedef enum stream_state {
    STREAM_STARTING, /* the subscribe is not answered yet; the actor was asked how far it is */
    STREAM_LIVE,     /* sends from the backlog */
    STREAM_ASKING,   /* something is missing, or a snapshot has more pages, and the actor was asked for it */
    STREAM_WAITING,  /* the actor could not be asked; again at retry_ns */
} stream_state;

struct subscription {
    session *owner;
    uint64_t id; /* the request that began it */
    topic *topic;
    const stoa_protocol_stream *stream;
    stoa_text30 target;
    stream_state state;
    bool resume;         /* STARTING: go on behind last */
    bool mid;            /* within a change of several parts */
    bool paging;         /* a snapshot has more pages, behind page_after */
    bool unsure;         /* LOOSE: something may be missing before the next item */
    bool broken;         /* no memory for a frame: cannot go on */
    uint64_t last;       /* newest sequence number the client has, or will have when out is sent */
    uint64_t known;      /* newest one that is known to exist */
    uint64_t place;      /* next item of the backlog */
    uint64_t page_after; /* order id */
    uint64_t token;      /* of the request under way: STARTING, ASKING */
    uint64_t retry_ns;   /* WAITING */
    frames out;          /* goes before the backlog */
    bool ready;          /* in the session's list of those that may have something to send */
    subscription *next_ready;
    subscription *next, **link; /* session's */
    subscription *next_of_topic, **link_of_topic;
    subscription *next_waiting, **link_waiting;
};

/* --- sessions and requests */

struct session {
    session *next, **link; /* of its bucket */
    stoa_peer peer;
    client *client;  /* NULL until hello */
    uint64_t number; /* the client's own, from hello; or handed out here */
    bool remembers;  /* its requests have names */
    frames out;      /* answers that wait */
    bool ready;      /* in the gateway's list */
    session *next_ready;
    subscription *subscriptions;
    subscription *ready_head, *ready_tail;
};
enum { SESSION_BUCKETS = 1024, SESSION_REFUSALS_MAX = 64 };

/* What an answer of the port is for. */
typedef struct request {
    session *owner; /* NULL: gone */
    const stoa_protocol_op *op;
    subscription *stream; /* of a subscribe, or of a stream that asks */
    uint64_t id, began_ns;
    stoa_text30 target;
    uint32_t generation, next_free;
    bool used, counted; /* counted: one of the client's requests_max */
} request;
enum { REQUESTS_MAX = 65536 };

typedef struct counters {
    stoa_counter *requests[64]; /* by place in stoa_protocol_ops */
    stoa_counter *refused[64];  /* by error code, negated */
    stoa_counter *sessions, *streams, *under_way, *items, *gaps, *held, *dropped, *links_refused;
    stoa_histogram *latency;
} counters;

struct stoa_gateway {
    stoa_gateway_options options;
    char server_name[64];
    stoa_node *node;
    stoa_port *port;
    stoa_link *link; /* NULL: between two keys */
    char address[320], secret_key[STOA_KEY_TEXT_BYTES]; /* address: as bound */
    uint64_t listen_ns; /* when it is tried again, while link is NULL */
    client **clients;
    uint32_t client_count;
    uint64_t sessions_given; /* in this life */

    session *sessions[SESSION_BUCKETS];
    session *ready_head, *ready_tail;
    request *requests;
    uint32_t request_cap, request_free, under_way;
    topic *topics[TOPIC_BUCKETS];
    uint32_t topic_count;
    subscription *waiting;
    uint64_t now_ns;
    uint64_t refused_ns; /* when a refused connection was logged last */
    bool sent;           /* in this round */

    counters count;
    stoa_metrics *own_metrics; /* where options.metrics is NULL */
    stoa_frame_tokens tokens;
    _Alignas(8) uint8_t payload[8192];
    uint8_t scratch[STOA_PROTOCOL_FRAME_MAX];

    /* shared */
    pthread_t thread;
    int wake_fd;
    _Atomic bool draining, stopping;
    pthread_mutex_t lock; /* of the rest */
    pthread_cond_t done;
    const stoa_gateway_client *allow; /* wanted by stoa_gateway_allow */
    uint32_t allow_count;
    bool allow_wanted;
    stoa_err allow_err;
    char next_key[STOA_KEY_TEXT_BYTES]; /* wanted by stoa_gateway_rekey */
    bool rekey_wanted;
};

/* --- gateway.c */

/* Send or hold a frame for the session. Frames stay in order. */
void gateway_send(stoa_gateway *g, session *s, const void *bytes, size_t size_bytes, bool answers);
/* Give one frame to the link; false: it is full. */
bool gateway_push(stoa_gateway *g, const session *s, const void *bytes, size_t size_bytes);
/* Try to send what waits. false: the link is full. */
bool gateway_send_frames(stoa_gateway *g, session *s, frames *waiting);
/* Append a copy; false: no memory. */
bool frames_put(frames *list, const void *bytes, size_t size_bytes, bool answers);
void frames_clear(frames *list);
/* Have the session looked at in this round. */
void gateway_ready(stoa_gateway *g, session *s);
stoa_writer gateway_writer(stoa_gateway *g);
/* The actor "kind/target". Errors, said in words: the target's where there is none, UNAVAILABLE where it is on a node that is lost. */
stoa_err gateway_find(stoa_gateway *g, stoa_protocol_target_id target, const stoa_text30 *name, stoa_ref *out,
                      char said[STOA_PROTOCOL_TEXT_MAX + 1]);
bool client_may(const client *c, stoa_right right, const stoa_text30 *target);

/* --- gateway_session.c */

session *session_find(stoa_gateway *g, stoa_peer peer);
void session_open(stoa_gateway *g, stoa_peer peer);
/* Forget the session and all that is its own; requests under way lose their asker. */
void session_close(stoa_gateway *g, session *s);
/* As if it had never said hello. */
void session_reset(stoa_gateway *g, session *s);
void session_frame(stoa_gateway *g, stoa_peer peer, const char *identity, const void *bytes, uint32_t size_bytes);
/* Send some of what waits. */
void session_pump(stoa_gateway *g, session *s);
/* text NULL: the error's own. answers: this ends one of the client's requests under way. */
void session_refuse(stoa_gateway *g, session *s, uint64_t id, stoa_stamp stamp, const char *text, bool answers);
void session_answer(stoa_gateway *g, session *s, uint64_t id, stoa_stamp stamp, const stoa_row *row,
                    const void *payload);
/* Note what a port's answer will be for; NULL when there are too many. */
request *request_new(stoa_gateway *g, session *s, uint64_t *token_out);
request *request_find(stoa_gateway *g, uint64_t token);
void request_free(stoa_gateway *g, request *r);
/* An answer of an actor. */
void request_answered(stoa_gateway *g, request *r, const stoa_delivery *delivery);

/* --- gateway_stream.c */

/* A subscribe of the session's client; answers it, now or later. */
void stream_subscribe(stoa_gateway *g, session *s, const stoa_request_frame *frame, const client_subscribe *in,
                      uint64_t deadline_ns);
void stream_unsubscribe(stoa_gateway *g, session *s, uint64_t request_id, const client_unsubscribe *in);
void stream_answered(stoa_gateway *g, subscription *sub, uint64_t request_id, const stoa_delivery *delivery);
/* Send some of what it has, at most *budget_io frames; false: the link is full. */
bool stream_pump(stoa_gateway *g, subscription *sub, uint32_t *budget_io);
void stream_ready(stoa_gateway *g, subscription *sub);
/* End it and tell the client why. */
void stream_end(stoa_gateway *g, subscription *sub, stoa_err why, const char *text);
void stream_free(stoa_gateway *g, subscription *sub);
/* End the client's streams of target that it may not listen to any more. target NULL: all that it has no
 * right to. */
void stream_revoke(stoa_gateway *g, client *c, const stoa_text30 *target);
/* What is published on the topic from first on has nothing to do with what was before. */
void stream_began_anew(stoa_gateway *g, topic *t, uint64_t first);
/* Ask again for those whose time has come; the time of the next, UINT64_MAX for none. */
uint64_t stream_retry(stoa_gateway *g);

/* --- gateway_topic.c */

/* Find or begin the topic of a stream. Errors: FULL, NOMEM, the port's. */
stoa_err topic_open(stoa_gateway *g, const stoa_protocol_stream *stream, const stoa_text30 *target, topic **out);
void topic_published(stoa_gateway *g, const stoa_delivery *delivery);
backlog_item *topic_item(const stoa_gateway *g, const topic *t, uint64_t place);
/* Place of the first item that carries something behind seq, t->end when there is none. */
uint64_t topic_seek(const stoa_gateway *g, const topic *t, uint64_t seq);
void topic_free_all(stoa_gateway *g);

#endif
