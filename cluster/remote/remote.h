/* remote.h - actors of other nodes as if they were here: what stands on a node's links and sessions. See docs/decisions/0027.
 *
 * A node on several links has one session, which one of them carries, and another one takes over when that is gone (sessions.h).
 *
 * A remote has links (transport/link.h) to other nodes and a session with each of them (transport/session.h). Nodes tell each
 * other the names of their actors of `kinds`. For each there is a stand here (runtime/stand.h), found by that name: what it is sent
 * goes to the other node, and who sent it has a stand there, so that turn->from can be answered and watched.
 *
 *     names      stoa_turn_find and stoa_find find actors elsewhere. One that is here comes first; of two other nodes' the one
 *                whose node's name is the lesser (logged: remote_name_twice). No name goes through one node to a third
 *     casts      in order per sender, receiver and lane, none twice; lost where a node is lost, or the receiver's mailbox is full
 *                (then the stand's is full until there is room, so senders hear FULL and can wait for room)
 *     asks       answers, refusals (FULL, NO_HANDLER, CLOSED ...) and deadlines as at home; where a node is lost who asked hears
 *                TIMEOUT at once: the outcome is unknown
 *     ends       who monitors or is linked to a stand hears of the actor's end with its reason, or LOST: its node ended, restarted, was
 *                silent for too long, or the connection did not come back within lost_ns. A stand that has ended is not revived:
 *                who comes back is found by name. Both ends of a link hear of its other one's end and of its node's loss, whoever made
 *                it. What another node says fails 20 actors here within 10 s at most, others later; its loss fails all at once
 *     topics     what is published here on a topic that somebody elsewhere subscribed to goes there once
 *     mail       of shards to "shard:kind/key" reaches shards of other nodes as it does those of this (runtime/channel.h)
 *     bytes      of other nodes are input: read by the row's type before any actor sees them, refused by name, and counted
 *
 * What may be sent to an actor here are rows of `kinds` and of what they hear; nothing of stoa_system. Payloads take up to
 * STOA_REMOTE_MESSAGE_MAX bytes as they are encoded.
 *
 * A remote has a thread of its own (start), or is stepped by who made it (new, step) on one thread, under the node's clock: so
 * simulated nodes talk in one process. Unless said otherwise functions are called from any thread but a core's and that of the
 * remote, and wait for its next step.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef STOA_CLUSTER_REMOTE_REMOTE_H
#define STOA_CLUSTER_REMOTE_REMOTE_H

#include "cluster/remote/what.h"
#include "runtime/node.h"
#include "transport/sessions.h"

typedef struct stoa_remote stoa_remote;

enum {
    STOA_REMOTE_LINKS = 16,
    STOA_REMOTE_PEERS = 256,              /* nodes, of all links */
    STOA_REMOTE_ACTORS = 65536,           /* of this node that others know; and of all others, that this one does */
    STOA_REMOTE_SHARDS = 64,              /* of one node */
    STOA_REMOTE_BONDS = 4096,             /* links that actors of one node have made to actors here */
    STOA_REMOTE_ASKS = 65536,             /* under way to others, and as many from them */
    STOA_REMOTE_BACKLOG_BYTES = 4 << 20,  /* that wait for a lane to one node, then FULL */
    STOA_REMOTE_MESSAGE_MAX = 1 << 20,
};

/* Zero stands for the default where one is named. */
typedef struct stoa_remote_link {
    const char *uri;         /* copied */
    const char *awaits;      /* nodes ("b, c") that are expected: until they have told their names, or for lost_ns and 10 s, a name of `kinds` that
                              * is not here may be one of theirs (stoa_find_or_absent); where this listens, no others may come (DENIED). NULL: none, and
                              * anybody. Copied */
    const char *peer;        /* dial: the node that must answer; NULL: whoever does. Copied */
    stoa_link_options link;  /* listen, keys, allowed, fenced, trusted, peer_limit; frame_limit: 64 KiB, queue_frames: 64. Used by the open */
    uint32_t sessions_max;   /* listen: nodes; 64 */
    uint32_t batch_bytes;    /* frame_limit at most; 32 KiB */
    uint64_t heartbeat_ns, silence_max_ns; /* 100 ms, 2 s */
    bool trusts_link;        /* as stoa_session_options.trusts_link */
} stoa_remote_link;

/* What a remote tells, on its thread; a callback calls nothing of the remote. May be NULL. */
typedef struct stoa_remote_events {
    void (*peer)(void *context, const char *peer, stoa_remote_what what, stoa_err why);
    /* A connection was, here or by the other side; up: the link has one that was not. May be NULL. */
    void (*link_refused)(void *context, uint32_t link, bool up, stoa_err why);
    void *context;
} stoa_remote_events;

typedef struct stoa_remote_options {
    stoa_node *node;
    const char *name;                /* of this node, as stoa_node_name_is_good has it; copied */
    uint64_t incarnation;            /* grows with each start; not 0 */
    uint64_t epoch;                  /* of this node's right to speak */
    const stoa_kind *const *kinds;   /* whose actors others may know by name, and whose rows may come; ends with NULL, copied */
    const stoa_remote_link *links;
    uint32_t link_count;
    uint32_t core;                   /* where stands live */
    uint64_t lost_ns;                /* a connection that is gone for so long is a lost node; 2 s */
    uint64_t unread_bytes;           /* that wait for a lane to one node, of answers and all that FULL cannot answer: behind more it is lost; 256 MiB */
    uint32_t mail_backlog_bytes;     /* of mail between shards that waits for a lane to one node; more is dropped, for the shards keep it; 64 KiB */
    const stoa_remote_events *events; /* NULL: none; copied */
} stoa_remote_options;

/* Open the links and the port "port/<remote>", and have nobody but the caller step it. Errors: INVALID, NOMEM, EXISTS (the node has
 * one), those of stoa_link_open, stoa_port_open, stoa_spawn; the trail names the link. */
stoa_err stoa_remote_new(const stoa_remote_options *options, stoa_remote **out);
/* Do what there is to do, at most some hundred messages. Returns when to call again at the latest (node's clock); now or earlier:
 * there is more. The maker's thread. */
uint64_t stoa_remote_step(stoa_remote *remote);
/* The same as new, on a thread of its own that also opens the links. */
stoa_err stoa_remote_start(const stoa_remote_options *options, stoa_remote **out);
/* Say good-bye, end all stands, close links and port; before the node closes. linger_ms: what was sent gets so long to arrive. NULL
 * is allowed. By the maker's thread where it was new. */
void stoa_remote_stop(stoa_remote *remote, uint32_t linger_ms);

/* As the end of its process would leave it, for simulations: nobody says good-bye and no stand ends. Before stoa_sim_crash. */
void stoa_remote_abandon(stoa_remote *remote);

/* The link itself, for simulations that set its faults (transport/fault/link.h); NULL: none. By who steps it. */
stoa_link *stoa_remote_link_at(stoa_remote *remote, uint32_t link);

/* --- what can be seen of it */

typedef struct stoa_remote_link_view {
    uint32_t index;
    const char *uri;     /* as given */
    const char *address; /* as bound */
    char scheme[32];
    bool listens;
    stoa_err shut;           /* why it is not open, and tried again each second; OK: it is */
    stoa_link_traits traits; /* what the module's probe said */
    stoa_link_counts counts;
    stoa_sessions_counts strangers;
    uint64_t refused;     /* connections and greetings, here and by other sides */
    stoa_err refused_why; /* the last one's */
    uint32_t sessions;
} stoa_remote_link_view;
/* Visit the links in their order; a view lives as long as the visit, which runs on the remote's thread. No call into it from there. */
void stoa_remote_links(stoa_remote *remote, void (*visit)(void *context, const stoa_remote_link_view *view), void *context);

/* Messages to and from one node; dropped by reason, here: what came too late (STALE), found no actor (CLOSED), no row (NO_HANDLER), no
 * room (FULL), answers nobody waits for (LATE), what cannot be read (REFUSED). */
typedef struct stoa_remote_counts {
    uint64_t casts_out, casts_in, asks_out, asks_in, answers_out, answers_in, published_out, published_in;
    uint64_t mail_out, mail_in;       /* frames of channels between shards */
    uint64_t refused_out, refused_in; /* refusals told to the other side, and by it */
    uint64_t malformed;               /* frames that cannot be */
    uint64_t lost;                    /* times it was lost */
    uint64_t in_doubt;                /* messages that were on their way when it restarted: some may have arrived */
    uint64_t dropped[STOA_DROP_COUNT];
} stoa_remote_counts;

typedef struct stoa_remote_peer_view {
    uint32_t link;            /* index */
    const char *name;         /* "" while unknown */
    bool spare;               /* another link carries its session: only name, lost, left, ready and over are told; carried: over is link */
    bool ready;               /* spare, dials: the connection is there */
    uint32_t over;            /* the link over which it is up; UINT32_MAX: it is not */
    stoa_session_view session; /* rtt: of a live session, see there */
    bool paused, lost, left;  /* left: lost, by a good-bye, its own or this node's */
    uint32_t names;           /* actors of its that can be found here */
    uint32_t stands;          /* of its actors, those without a name too */
    uint32_t told;            /* actors of this node that it knows */
    uint32_t links;           /* that actors of its have made to actors here */
    uint32_t asks_out, asks_in; /* under way */
    uint64_t backlog_bytes;   /* that wait for room in its lanes */
    stoa_remote_counts counts;
} stoa_remote_peer_view;
void stoa_remote_peers(stoa_remote *remote, void (*visit)(void *context, const stoa_remote_peer_view *view), void *context);
/* Visit the names of a node's actors that can be found here. Errors: NOT_FOUND. */
stoa_err stoa_remote_names(stoa_remote *remote, const char *peer, void (*visit)(void *context, const char *name), void *context);

/* --- what can be done with it */

/* Send the node nothing any more and take nothing from it, until it is resumed; heartbeats go on, so it is not lost; who
 * asks there hears TIMEOUT, and who sends it much FULL. Errors: NOT_FOUND. */
stoa_err stoa_remote_pause(stoa_remote *remote, const char *peer, bool paused);
/* Break the session's connection; it comes back by itself, and nothing is lost if within lost_ns. Errors: NOT_FOUND. */
stoa_err stoa_remote_drop(stoa_remote *remote, const char *peer);
/* Replace a listening link's allow-list; one that is not open now is opened with it. Nodes that it names no more are CLOSED. Errors: as
 * stoa_link_ops.allow; NOT_FOUND (no such link). */
stoa_err stoa_remote_allow(stoa_remote *remote, uint32_t link, const stoa_link_allowed *allowed, uint32_t count);
/* Close a link and open it with these options (keys) at the same place; sessions stay. leaves: with a good-bye, for the node there is to
 * be met no more. Errors: as stoa_link_open, and then it is closed and tried again with these each second; NOMEM: maybe with the old ones, by
 * which nobody is let in; NOT_FOUND. */
stoa_err stoa_remote_reopen(stoa_remote *remote, uint32_t link, const stoa_link_options *options, bool leaves);

#endif
