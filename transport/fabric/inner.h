/* fabric/inner.h - what the files of a fabric link share: link.c has the operations, dial.c and listen.c the sides, greet.c how
 * a connection begins, conn.c how it lives and ends, batch.c what it sends and gets.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef STOA_TRANSPORT_FABRIC_INNER_H
#define STOA_TRANSPORT_FABRIC_INNER_H

#include <netinet/in.h>

#include "base/random.h"
#include "transport/fabric/allowed.h"
#include "transport/fabric/carrier.h"
#include "transport/fabric/door.h"
#include "transport/fabric/ring.h"
#include "transport/link.h"
#include "transport/refusals.h"
#include "transport/secure.h"
#include "transport/timer.h"

enum {
    STOA_FABRIC_ADDRESS_BYTES = 256,
    STOA_FABRIC_CREDITS = 4,       /* messages without a batch that may be on the wire */
    STOA_FABRIC_GREETING_MAX = 64, /* connections that are not served (yet), beside those that are */
    STOA_FABRIC_STEP_MS = 5000,    /* and how long in each of its phases */
    STOA_FABRIC_PING_MS = 500,
    STOA_FABRIC_DIAL_SILENT_MAX = 6, /* unanswered pings, after which who dials takes the other for gone: 3.5 s */
    STOA_FABRIC_LISTEN_SILENT_MAX = 30,
    STOA_FABRIC_PEER_SLOT_BITS = 20, /* of a peer's number, the rest counts */
};

typedef struct stoa_fabric stoa_fabric;

/* Kinds of frames. */
enum { STOA_FRAME = 0, STOA_FRAME_PUT, STOA_FRAME_FLUSH, STOA_FRAME_FLUSHED };

enum {
    STOA_FABRIC_WINDOWS = 64,
    STOA_FABRIC_FARS = 8,
    STOA_FABRIC_PUTS = 32,
    STOA_FABRIC_FLUSHES = 16,
    STOA_FABRIC_PROBE = 64
};

/* Memory of ours that is exposed. */
typedef struct stoa_window {
    uint64_t id, size_bytes; /* id 0: free */
    uint8_t *memory;
    void *region; /* the carrier's, or NULL */
} stoa_window;

/* A window of the other side's, as far as the carrier itself can write there. */
typedef struct stoa_far {
    uint64_t id; /* 0: free */
    void *far;
    enum { STOA_FAR_NEW, STOA_FAR_WRITTEN, STOA_FAR_SETTLED, STOA_FAR_READ, STOA_FAR_WORKS, STOA_FAR_FAILS } state;
    stoa_parcel parcel; /* of the probe */
    uint64_t address;
    uint32_t probe_bytes;
    uint8_t wrote[STOA_FABRIC_PROBE], read[STOA_FABRIC_PROBE];
} stoa_far;

/* A flush under way: of the carrier's writes, then by a frame behind what went in frames. */
typedef struct stoa_flush {
    uint64_t token;
    bool settled, framed; /* the carrier's writes are there; something went in frames */
    bool asked, used;     /* FLUSH was sent; what went in frames is there */
    stoa_parcel parcel;
} stoa_flush;

typedef struct stoa_puts {
    bool written, framed; /* since the last flush */
    uint32_t next;        /* the oldest flush */
    uint32_t count;
    uint32_t answer_count;
    uint64_t answers[STOA_FABRIC_FLUSHES]; /* tokens of the other side's that are flushed and not told */
    stoa_far fars[STOA_FABRIC_FARS];
    stoa_parcel parcels[STOA_FABRIC_PUTS];
    stoa_flush flushes[STOA_FABRIC_FLUSHES];
} stoa_puts;

/* Kinds of door messages. */
enum {
    STOA_DOOR_HELLO = 1, /* dials -> listens: who is there, in which way */
    STOA_DOOR_WELCOME,   /* listens -> dials */
    STOA_DOOR_OFFER,     /* both: where batches are to be sent */
    STOA_DOOR_PING,
    STOA_DOOR_PONG,
    STOA_DOOR_LEAVING, /* will close when all that was sent is read: say so at once */
    STOA_DOOR_BYE,     /* the name of the reason: not served (any more), or nothing */
};

typedef enum stoa_phase {
    STOA_PHASE_CONNECTING, /* dials: no socket yet */
    STOA_PHASE_HELLO,      /* waits for HELLO, or WELCOME */
    STOA_PHASE_OFFER,      /* waits for OFFER */
    STOA_PHASE_PROBING,    /* waits for the first message over the carrier */
    STOA_PHASE_UP,         /* up is told, or to be told */
    STOA_PHASE_DISMISSED,  /* BYE is sent, the other side is to hang up */
} stoa_phase;

typedef struct stoa_conn {
    stoa_fabric *link;
    struct stoa_conn *next; /* in the list of those that are gone and wait for the carrier */
    uint32_t slot;
    uint64_t born; /* the how-manieth it is */
    stoa_phase phase;
    bool served;                    /* counts against peer_limit */
    bool told;                      /* up is told */
    bool broken;                    /* its carrier is; lost, when what its door has to say is read */
    bool lost;                      /* gone; what came is to be told, then down */
    bool probed;                    /* a genuine message came over the carrier */
    bool hurried;                   /* the other side waits for our acknowledgement */
    bool asked;                     /* we said LEAVING */
    bool full;                      /* a send was, and nothing has changed since */
    bool cut;                       /* what came and is not told is dropped */
    uint64_t full_acked, full_next; /* how it was then */
    stoa_peer peer;
    uint64_t token, other_token; /* that a message to us, to them carries */
    uint64_t deadline_ns;        /* of the greeting, or of the dismissal */
    uint64_t ping_ns;            /* of the next ping */
    uint32_t unanswered;
    uint32_t on_wire;      /* parcels */
    uint64_t acked;        /* position the other side was told, or is about to be */
    uint64_t in_told;      /* the number of the next batch to be read, then */
    uint64_t credits_sent; /* messages without a batch that have a number */
    stoa_parcel *credit;   /* one that is written and found no room on the wire: it goes as it is, for its number is used */
    uint64_t credits_got;  /* the number of the next one that may come */
    uint64_t in_done;      /* batches that came, as the other side's carrier says */
    uint32_t missed;       /* ticks in which one of them was due and not there */
    bool owes;             /* the other side has asked how far we have read */
    uint32_t frame_limit;  /* the other side's */
    stoa_door door;
    stoa_carrier_end *end;
    uint64_t ring_bytes; /* of both */
    stoa_out out;
    stoa_in in;
    bool encrypted; /* batches are */
    stoa_pen pen;
    stoa_secure secure;
    stoa_secure_stream batch_out, batch_in, credit_out, credit_in;
    uint8_t key[STOA_SECURE_KEY_BYTES]; /* the other side's, proven */
    char identity[64];
    stoa_parcel credits[STOA_FABRIC_CREDITS];
    stoa_puts *puts; /* NULL until the first */
} stoa_conn;

struct stoa_fabric {
    stoa_link link;
    const stoa_carrier_ops *kind;
    stoa_carrier *carrier;
    const char *transport; /* behind '+' */
    char address[STOA_FABRIC_ADDRESS_BYTES];
    struct sockaddr_storage where; /* to listen at or to dial */
    socklen_t where_bytes;
    int epoll; /* the owner's */
    int doors; /* an epoll set of sockets, in it */
    int kick;  /* an eventfd, in it: poll has work */
    int listener;
    stoa_link_timer timer;
    bool listens, secured, trusted, kicked, spins, leaving;
    bool broke; /* a connection is broken */
    uint8_t secret_key[STOA_SECURE_KEY_BYTES], server_key[STOA_SECURE_KEY_BYTES];
    stoa_allowed allowed;
    uint32_t frame_limit, queue_frames, peer_limit, conn_limit, body_limit;
    uint64_t ring_bytes;
    stoa_conn **conns; /* at their slots */
    uint32_t conn_top; /* all in use are below */
    stoa_conn *gone;
    uint64_t *ready, *dirty; /* slots that have something to tell, to send */
    uint32_t cursor, served;
    uint32_t guests; /* who listens: connections that are not served */
    bool deaf;       /* out of descriptors: the listener is not in the set until the next tick */
    uint64_t born;   /* connections, ever */
    uint64_t peer_count;
    stoa_refusals refused; /* not told yet */
    uint32_t looks;        /* polls since the doors were looked at */
    uint32_t spun;         /* polls of an owner who spins */
    stoa_link_counts counts;
    stoa_window windows[STOA_FABRIC_WINDOWS];
    bool writes;      /* a far window was seen to work */
    uint64_t dial_ns; /* dials: not before */
    uint32_t pause_ms;
    stoa_random random;
};

/* --- link.c */

uint64_t stoa_fabric_now_ns(void);
/* Count a refused connection and remember why, to be told. */
void stoa_fabric_refused(stoa_fabric *link, stoa_err why);
void stoa_fabric_kick(stoa_fabric *link);

static inline void stoa_fabric_mark(uint64_t *bits, uint32_t slot)
{
    bits[slot / 64] |= UINT64_C(1) << slot % 64;
}

static inline void stoa_fabric_unmark(uint64_t *bits, uint32_t slot)
{
    bits[slot / 64] &= ~(UINT64_C(1) << slot % 64);
}

/* --- conn.c */

/* A connection over a socket, at a free slot, in its phase; NULL where there is no room. It owns fd from then on. */
stoa_conn *stoa_conn_new(stoa_fabric *link, int fd, stoa_phase phase);
/* The connection cannot go on: what is up is told down when all that came is told, what is not is dropped. */
void stoa_conn_lose(stoa_conn *conn);
/* Its carrier has broken: it is lost in this poll or the next. The other side may have said why at the door. */
void stoa_conn_break(stoa_conn *conn);
void stoa_fabric_broke(stoa_fabric *link);
/* Say why and hang up; frames that came and are not told are dropped. */
void stoa_conn_dismiss(stoa_conn *conn, stoa_err why);
/* Remove it; it is freed when the carrier has done with it. */
void stoa_conn_drop(stoa_conn *conn);
void stoa_conn_free(stoa_conn *conn);
/* The socket has something to say. */
void stoa_conn_heard(stoa_conn *conn);
/* Call one callback; false when there is nothing to tell. The connection may be gone afterwards. */
bool stoa_conn_tell(stoa_conn *conn, const stoa_link_events *events);
void stoa_conn_tick(stoa_conn *conn, uint64_t now_ns);

/* --- greet.c */

/* dials: the socket is connected. */
void stoa_conn_greet(stoa_conn *conn);
/* A message of the greeting. Errors: the reason to hang up with; OK, and the phase says how far it is. */
stoa_err stoa_conn_greeted(stoa_conn *conn, uint8_t kind, const uint8_t *body, uint32_t size_bytes);
/* Up, when all that belongs to it is there. */
void stoa_conn_rise(stoa_conn *conn);

/* --- batch.c */

/* Send what is to be sent. */
void stoa_conn_flush(stoa_conn *conn);
/* Send a message without a batch, which tells how far we have read. */
void stoa_conn_acknowledge(stoa_conn *conn);
/* Every STOA_FABRIC_PING_MS: see that no batch was lost. Errors: CORRUPT, one was. */
stoa_err stoa_conn_audit(stoa_conn *conn);

/* The connection frames can be sent over, or NULL. */
stoa_conn *stoa_fabric_conn(stoa_fabric *link, stoa_peer peer);

/* --- put.c */

/* A frame that is not the owner's. Errors: MALFORMED. */
stoa_err stoa_conn_put_frame(stoa_conn *conn, const stoa_in_frame *frame);
/* Send on what waits for room, and tell a flush that is done. */
void stoa_conn_put_flush(stoa_conn *conn);
bool stoa_conn_put_tell(stoa_conn *conn, const stoa_link_events *events);
void stoa_conn_put_sent(stoa_conn *conn, stoa_parcel *parcel, bool done);
void stoa_fabric_conceal_all(stoa_fabric *link);

/* --- address.c */

/* Read "kind+transport://HOST:PORT" (an IPv6 host in brackets) to link->where; asks the resolver,
 * so it may block. Errors: INVALID. */
stoa_err stoa_fabric_resolve(stoa_fabric *link, const char *address);
/* link->where as text, with the port that was bound. */
void stoa_fabric_name(stoa_fabric *link, const char *scheme);
/* Whether it cannot leave this machine. */
bool stoa_fabric_is_local(const stoa_fabric *link);
/* The address of this machine that the others see when they reach us, or by which we reach them; false: unknown. */
bool stoa_fabric_local(const stoa_fabric *link, struct sockaddr_storage *out);

/* --- dial.c, listen.c */

stoa_err stoa_fabric_dial_open(stoa_fabric *link);
/* A connection is gone, or there was none; the first pause again if it was up. */
void stoa_fabric_dial_rest(stoa_fabric *link, bool was_up);
void stoa_fabric_dial_tick(stoa_fabric *link, uint64_t now_ns);
stoa_err stoa_fabric_listen_open(stoa_fabric *link);
void stoa_fabric_listen_accept(stoa_fabric *link);
/* Be readable again, after there was no descriptor. */
void stoa_fabric_listen_tick(stoa_fabric *link);

#endif
