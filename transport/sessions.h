/* sessions.h - the sessions of one link: who is on which connection.
 *
 * A listening link has a session with each node that has said hello; a dialling one has one. The node of a connection is
 * known by its hello; until then it is a stranger, of whom nothing but a hello is read. A node that comes again over another
 * connection, because its old one broke and nobody has noticed, takes its session with it, if its incarnation is not an
 * older one. On a link that proves identities a hello must bear that name.
 *
 * Links of one node may be kin. A node that is on several of them has one session, which one of them carries at a time; the others
 * are spare. Who dials chooses: as long as the session is up it stays where it is; when it is not, or has greeted in vain for
 * silence_max_ns, it goes to a spare link that has a connection. Who listens follows the newest hello. Where two nodes dial each
 * other at once, the greeting of the lesser name goes on, and the other one's is refused (EXISTS). So a session outlives its links:
 * it is resumed, or reset, over another one as it is over another connection.
 *
 *     stoa_sessions *nodes;
 *     stoa_sessions_new(&(stoa_sessions_options){.link = link, .session = {.name = "b", ...}}, &nodes);
 *     for (;;) {
 *         stoa_sessions_poll(nodes, now_ns, 64);          events: messages come, sessions go up and down
 *         stoa_session_send(stoa_sessions_find(nodes, "a"), ...);
 *         next_ns = stoa_sessions_step(nodes, now_ns);    and sleep on the link's descriptor until then
 *     }
 *
 * One thread. Sessions stay when their connections go; they end with stoa_sessions_free.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef STOA_TRANSPORT_SESSIONS_H
#define STOA_TRANSPORT_SESSIONS_H

#include "transport/session.h"

enum { STOA_SESSIONS_MAX = 1024 };

typedef struct stoa_sessions stoa_sessions;

typedef struct stoa_sessions_options {
    stoa_link *link; /* open; stays the caller's */
    bool listens;
    stoa_sessions *kin;           /* optional: of another link of this node, with the same sizes in .session; on the same thread */
    const char *nodes;            /* listen: who may come ("b, c"), whatever proves it; NULL or "": anybody. Used until they are freed */
    uint32_t sessions_max;        /* nodes; one more is refused (FULL). 0: 64, at most STOA_SESSIONS_MAX */
    stoa_session_options session; /* of each; .peer: dial: who is expected, NULL: whoever answers */
    /* Optional. Who has no session was turned away: name is what its hello said, where its key or its link vouches for that, or what its
     * key proves; "" a stranger. NULL: the link refused a connection, or the other side's did. Within poll. */
    void (*refused)(void *context, const char *name, stoa_err why);
    void *context;
} stoa_sessions_options;

typedef struct stoa_sessions_counts {
    uint64_t strangers_refused; /* pieces of connections that have not said hello, by no good one */
    stoa_err stranger_why;      /* the last one's: MALFORMED, VERSION, CORRUPT, STALE, FORKED, DENIED, FULL */
    uint64_t link_refused;      /* connections, by the link */
    stoa_err link_why;
} stoa_sessions_counts;

/* Errors: INVALID, NOMEM. */
stoa_err stoa_sessions_new(const stoa_sessions_options *options, stoa_sessions **out);
void stoa_sessions_free(stoa_sessions *sessions);

/* Deliver up to max of the link's events; returns how many. */
uint32_t stoa_sessions_poll(stoa_sessions *sessions, uint64_t now_ns, uint32_t max);
/* A step of each session; returns when to call again at the latest. */
uint64_t stoa_sessions_step(stoa_sessions *sessions, uint64_t now_ns);
/* Say good-bye to all. */
void stoa_sessions_leave(stoa_sessions *sessions, uint64_t now_ns);

/* End a session's connection; it comes back by itself, or over a kin. Listen. */
void stoa_sessions_part(const stoa_session *session);

/* The link was closed and another one opened in its place: all connections are gone, the sessions stay, and go on over kin meanwhile. */
void stoa_sessions_relink(stoa_sessions *sessions, stoa_link *link, uint64_t now_ns);

/* The session with a node; NULL: none yet. A dialling link's only one, whatever the name, while its peer is unknown. */
stoa_session *stoa_sessions_find(stoa_sessions *sessions, const char *name);
uint32_t stoa_sessions_count(const stoa_sessions *sessions);
stoa_session *stoa_sessions_at(stoa_sessions *sessions, uint32_t index);
/* Whether this link is the one that carries a session, or did last. */
bool stoa_sessions_carries(const stoa_sessions *sessions, const stoa_session *session);
/* Dial: there is a connection. */
bool stoa_sessions_connected(const stoa_sessions *sessions);
void stoa_sessions_counted(const stoa_sessions *sessions, stoa_sessions_counts *out);

#endif
