/* shm/inner.h - what the two kinds of shm endpoints share: link.c has the operations, listen.c and dial.c the sides,
 * conn.c one connection.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef STOA_TRANSPORT_SHM_INNER_H
#define STOA_TRANSPORT_SHM_INNER_H

#include "transport/link.h"
#include "transport/refusals.h"
#include "transport/shm/memory.h"
#include "transport/shm/socket.h"

enum {
    STOA_SHM_GREETING_MAX = 64, /* connections that have not said who they are yet, beside those that are served */
    STOA_SHM_ACCEPT_MAX = 16,   /* that are let in at once */
    STOA_SHM_IDENTITY_BYTES = 64,
    STOA_SHM_BEAT_MS = 500,       /* so often an endpoint shows that it lives, and looks whether the others do */
    STOA_SHM_STOPPED_BEATS = 3,   /* none in this time, and the process is stopped: it is down */
    STOA_SHM_SILENT_BEATS = 10,   /* none in this time: a listener is down */
    STOA_SHM_GREETING_BEATS = 10, /* a connection that has not said who it is by then is refused */
};

typedef enum stoa_shm_state {
    STOA_SHM_GREETING, /* has not said HELLO or WELCOME yet; not told of */
    STOA_SHM_NEW,      /* up is to be told */
    STOA_SHM_UP,
    STOA_SHM_ENDING, /* the other side is gone: what it left is told, then down */
    STOA_SHM_BROKEN, /* the other side is not to be heard any more: down is told */
    STOA_SHM_OVER,   /* nothing is to be told */
} stoa_shm_state;

/* One connection. What send and poll touch comes first. */
typedef struct stoa_shm_conn {
    stoa_shm_writer writer;
    stoa_shm_reader reader;
    const stoa_shm_face *face; /* the other side's; NULL in GREETING */
    uint64_t rung;             /* the other side's sleep that it was woken from */
    uint64_t rung_room;        /* the wish for room that was answered */
    stoa_peer peer;
    stoa_shm_state state;
    bool armed;          /* we may be asleep, and it knows */
    bool wished;         /* and waits for room for a frame of ... */
    uint64_t full_bytes; /* 0: send did not say FULL last */
    char identity[STOA_SHM_IDENTITY_BYTES];
    stoa_shm_memory own, other;
    stoa_shm_process process;
    int socket, pidfd;
    uint64_t beat;
    uint32_t silent_beats;
    uint64_t up_ns;
} stoa_shm_conn;

typedef struct stoa_shm_link stoa_shm_link;

/* One side of a connection. */
typedef struct stoa_shm_side {
    stoa_err (*open)(stoa_shm_link *link);
    /* The listening socket is readable; or the time to dial has come. */
    void (*look)(stoa_shm_link *link, uint64_t now_ns);
    /* The other side says something in GREETING; memory is its descriptor or -1, closed afterwards. */
    void (*greeted)(stoa_shm_link *link, stoa_shm_conn *conn, const stoa_shm_note *note, int memory);
    /* A connection is over and is about to be freed. */
    void (*over)(stoa_shm_link *link, const stoa_shm_conn *conn);
} stoa_shm_side;
extern const stoa_shm_side stoa_shm_listen, stoa_shm_dial;

struct stoa_shm_link {
    stoa_link link;
    const stoa_shm_side *side;
    uint32_t frame_limit, queue_frames, peer_limit;
    uint32_t slots;            /* of conns */
    stoa_shm_conn **conns;     /* by slot; NULL: free */
    uint32_t *live;            /* slots in use, live_count of them */
    uint32_t live_count, next; /* next: of live, whose turn it is */
    uint32_t served;           /* told or about to be told up */
    uint64_t serial;           /* of connections */
    uint8_t *frame;            /* frame_limit bytes: what a callback sees */

    int epoll, timer, again, listener;    /* again: an eventfd that wakes our owner */
    bool spins, changed;                  /* changed: there may be something to tell */
    bool deaf;                            /* the listener is not in the set until the next beat: out of descriptors */
    uint64_t calls;                       /* numbers of sleeps and wishes */
    uint32_t polls, look_every;           /* since the last look */
    uint64_t looked_ns, beat_ns, dial_ns; /* beat_ns, dial_ns: when due; dial_ns 0: not */
    uint64_t timer_ns;                    /* what the timer is set to; 0: nothing */
    uint32_t pause_ms;                    /* until the next attempt to dial */

    stoa_link_allowed *allowed;
    uint32_t allowed_count;
    bool listed;      /* allowed says who may; else our own user may */
    uid_t server_uid; /* who dials: whom it takes for the listener */
    stoa_refusals refused; /* not told yet */
    stoa_link_counts counts;
    char address[STOA_SHM_NAME_BYTES + 8];
    const char *name; /* in address */
};

/* Which user a key of link.h names; false: none. */
bool stoa_shm_key_uid(const char *key, uid_t *uid_out);

/* Count a refused connection and remember why, to be told. */
void stoa_shm_link_refused(stoa_shm_link *link, stoa_err why);
/* Write the name of a user that may connect to identity; false: it may not. */
bool stoa_shm_link_allows(const stoa_shm_link *link, uid_t uid, char identity[STOA_SHM_IDENTITY_BYTES]);
/* The same without a list: "uid:1000". */
void stoa_shm_identity(uid_t uid, char identity[STOA_SHM_IDENTITY_BYTES]);

/* Whether the listening socket is looked at. */
void stoa_shm_link_listens(stoa_shm_link *link, bool on);
/* link.h's allow. */
stoa_err stoa_shm_allow(stoa_link *link, const stoa_link_allowed *allowed, uint32_t count);

/* --- conn.c */

/* A connection in GREETING over socket, which is its own from then on. Errors: FULL (no slot), NOMEM, IO; then socket
 * stays the caller's. */
stoa_err stoa_shm_conn_new(stoa_shm_link *link, int socket, stoa_shm_conn **out);
/* Say word to the other side, with memory of our own, made for it. Errors: NOMEM, IO (also: it did not go out). */
stoa_err stoa_shm_conn_greet(stoa_shm_link *link, stoa_shm_conn *conn, stoa_shm_word word);
/* Map the other side's memory, and say WELCOME where we have not greeted: the connection is NEW. Errors: MALFORMED, NOMEM,
 * IO. */
stoa_err stoa_shm_conn_meet(stoa_shm_link *link, stoa_shm_conn *conn, const stoa_shm_note *note, int memory);
/* The connection with this number, NULL: none. */
stoa_shm_conn *stoa_shm_conn_at(const stoa_shm_link *link, stoa_peer peer);
/* Its socket or its process has something to say. */
void stoa_shm_conn_hear(stoa_shm_link *link, stoa_shm_conn *conn, bool died);
/* Refuse it, tell the other side why, and count it; in GREETING it is over, else broken. TOO_LARGE, CLOSED: it ends, and nothing is refused. */
void stoa_shm_conn_refuse(stoa_shm_link *link, stoa_shm_conn *conn, stoa_err why);
/* The other side is gone. */
void stoa_shm_conn_end(stoa_shm_link *link, stoa_shm_conn *conn);
/* Look whether it still beats, and beat. */
void stoa_shm_conn_beat(stoa_shm_link *link, stoa_shm_conn *conn);
/* Wake the other side if it sleeps, or waits for room that there is. Right only behind a full fence. */
void stoa_shm_conn_wake(stoa_shm_conn *conn);
/* Release it; live is its place in link->live. */
void stoa_shm_conn_free(stoa_shm_link *link, uint32_t live);

#endif
