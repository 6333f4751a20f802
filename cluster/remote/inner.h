/* remote/inner.h - what the files of a remote share. Internal to cluster/remote/. Reading order: frames.h, then
 *
 *     remote.c      its life, its thread, a step
 *     peers.c       sessions up, down, lost; lanes, their backlog, what comes in pieces
 *     actors.c      actors of this node that others know; stands of theirs; names
 *     bonds.c       links that actors elsewhere made to actors here
 *     topics.c      what is published here and wanted there, and the other way
 *     out.c         what stands have handed over, and answers, to other nodes
 *     in.c          what other nodes say, to actors here
 *     shards.c      durable channels between shards of different nodes
 *     look.c        what can be seen and done from other threads
 *
 * Everything here is the remote's thread's, but for what is under its lock.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef STOA_CLUSTER_REMOTE_INNER_H
#define STOA_CLUSTER_REMOTE_INNER_H

#include <pthread.h>
#include <string.h>

#include "cluster/remote/embassy.h"
#include "cluster/remote/frames.h"
#include "cluster/remote/index.h"
#include "cluster/remote/remote.h"
#include "runtime/distant.h"
#include "runtime/stand.h"

enum { STOA_REMOTE_PLACE_BITS = 24, STOA_REMOTE_PLACE_MASK = (1 << STOA_REMOTE_PLACE_BITS) - 1 };
_Static_assert((uint32_t)STOA_REMOTE_ACTORS <= (uint32_t)STOA_REMOTE_PLACE_MASK, "a number's place");

static inline uint32_t stoa_remote_place(uint64_t number)
{
    return (uint32_t)number & STOA_REMOTE_PLACE_MASK;
}

/* An actor of this node that others may know. Entry 0 is nobody. */
typedef struct stoa_remote_local {
    stoa_ref ref;    /* NONE: free */
    uint64_t number; /* kept when it is free: the next one's is above */
    uint32_t next;   /* of the free ones */
    uint32_t seen;   /* the last look at names that found it */
    bool awaited;    /* somebody is told when its mailbox has room */
    char name[STOA_NAME_MAX + 1]; /* others may find it; "": they may not */
} stoa_remote_local;

/* An actor elsewhere that has a stand here. Entry 0 is nobody. */
typedef struct stoa_remote_stand {
    stoa_ref ref; /* NONE: free */
    uint64_t number;
    uint32_t peer, next, generation; /* next: of the free ones */
    bool found;                      /* by its name */
    bool full, backed;               /* held: its actor's mailbox is full; the node's lane is */
    char name[STOA_NAME_MAX + 1];
} stoa_remote_stand;

/* What a peer is known to have at a place. */
typedef struct stoa_remote_known {
    uint64_t number; /* no lower one is made a stand; the highest that was seen, but for one whose stand ended with a loss */
    uint32_t stand;  /* 0: it is gone */
} stoa_remote_known;

/* An ask to another node. Entry 0 is none. */
typedef struct stoa_remote_asked {
    stoa_passed passed;
    const stoa_row *reply;
    uint32_t peer, generation, next;
    bool used;
} stoa_remote_asked;

/* An ask from another node. Entry 0 is none. */
typedef struct stoa_remote_answering {
    uint64_t id;
    uint32_t peer, life, next, generation;
    uint64_t target; /* number of whom it was sent to */
    bool used;
} stoa_remote_answering;

/* A link that an actor elsewhere made to one here. */
typedef struct stoa_remote_bond {
    uint64_t maker, target; /* numbers */
    stoa_ref about;         /* the maker's stand, which may have ended */
    const char *text;       /* static */
    stoa_end why;
    bool over;              /* to be told, when it may */
} stoa_remote_bond;

/* A frame that waits for its lane, or, of a paused node, to be read. */
typedef struct stoa_remote_waiting {
    struct stoa_remote_waiting *next;
    uint64_t source, target, deadline_ns;
    uint32_t size_bytes, done_bytes, credit_bytes;
    stoa_lane lane;
    uint8_t type;
    uint8_t bytes[];
} stoa_remote_waiting;

typedef struct stoa_remote_queue {
    stoa_remote_waiting *head, *tail;
    uint64_t bytes;
} stoa_remote_queue;

/* A pattern of topics. */
typedef struct stoa_remote_want {
    char pattern[STOA_NAME_MAX + 1];
    uint32_t seen;  /* ours: the last look that found it */
    uint32_t count; /* the port's: peers that want it */
} stoa_remote_want;
typedef struct stoa_remote_wants {
    stoa_remote_want *at;
    uint32_t count, room;
} stoa_remote_wants;

typedef struct stoa_remote_peer {
    stoa_session *session; /* NULL: free */
    uint32_t link;
    char name[STOA_NODE_NAME_BYTES];
    bool up, lost, left, paused; /* left: lost, in order */
    uint64_t lost_due_ns;  /* 0: not under way */
    uint64_t told_due_ns;  /* it was lost and is up: when it will have told all names that it has; 0: it has */
    uint32_t life;         /* counts its incarnations */
    uint8_t *told;         /* by place of a local: TOLD_* */
    uint32_t told_size, told_count;
    uint32_t tell_from;    /* places below have been told */
    bool named;            /* it was told that those are all */
    bool again;            /* it is to be told all once more, when there is room */
    bool deaf;             /* what waits for it was above unread_bytes */
    stoa_remote_known *known;
    uint32_t known_size, stands, names, asks_out, asks_in;
    stoa_remote_queue backlog[STOA_LANE_COUNT], inbox;
    struct {
        uint8_t *bytes;
        uint32_t size_bytes, room_bytes;
        bool broken; /* too large: thrown away up to its last piece */
    } pieces[STOA_LANE_COUNT];
    stoa_remote_bond *bonds; /* in the order they were made in */
    uint32_t bond_count, bond_room;
    uint64_t exits_ns;     /* when its bucket of exits is full again */
    bool held;             /* stands of its are, for its lane */
    stoa_remote_wants wants; /* what it wants to hear */
    stoa_distant *distants[STOA_REMOTE_SHARDS]; /* shards that it serves */
    uint32_t distant_count, shards_told;
    bool shards_begin;     /* their channels are to begin again, when there is room */
    bool shards_complete;  /* all of them are known, and channels are to hear so, when there is room */
    bool shards_refused;   /* not all: one found no room here, or has a bad name */
    stoa_remote_counts counts;
} stoa_remote_peer;
enum { STOA_REMOTE_TOLD_NOT, STOA_REMOTE_TOLD_OF, STOA_REMOTE_TOLD_NAME };

/* Something for the remote's thread to do while another one waits. */
typedef struct stoa_remote_errand {
    struct stoa_remote_errand *next;
    void (*run)(struct stoa_remote *remote, void *context);
    void *context;
    bool done;
} stoa_remote_errand;

typedef struct stoa_remote_line {
    struct stoa_remote *remote;
    stoa_remote_link options; /* its texts are ours */
    char *secret_key, *public_key, *server_key;
    char *bound; /* listen: where, with the port that was picked; it is opened there again */
    stoa_link_allowed *allowed;
    char *awaits; /* NULL: nobody */
    stoa_link *link;
    stoa_sessions *sessions;
    stoa_session_events events;
    uint64_t retry_ns; /* link NULL: when it is opened again */
    stoa_err shut;     /* why it is NULL */
    uint64_t refused;  /* connections and greetings */
    stoa_err refused_why;
} stoa_remote_line;

struct stoa_remote {
    stoa_remote_options options;
    stoa_remote_events events;
    char name[STOA_NODE_NAME_BYTES];
    stoa_node *node;
    stoa_clock *clock;
    stoa_port *port;
    stoa_ref embassy;
    stoa_remote_line lines[STOA_REMOTE_LINKS];
    uint32_t line_count;
    const stoa_kind **kinds;
    stoa_remote_index rows; /* by word: index into row + 1 */
    const stoa_row **row;
    uint32_t row_count;
    uint64_t now_ns;
    uint64_t plain; /* told with, where a cast's sender does not want to hear */

    stoa_remote_peer peers[STOA_REMOTE_PEERS];
    uint32_t peer_count;
    char awaited[STOA_REMOTE_PEERS][STOA_NODE_NAME_BYTES]; /* "": met since */
    uint32_t awaited_count;
    uint64_t await_due_ns; /* 0: nobody is awaited */
    stoa_remote_local *locals;
    uint32_t local_used, local_free;
    stoa_remote_index by_ref, by_stand; /* locals; stands */
    stoa_remote_stand *stands;
    uint32_t stand_used, stand_free;
    uint32_t waiting_names; /* stands whose name somebody else has */
    uint64_t names_seen; /* changes of names when they were looked at */
    uint32_t names_look;
    bool names_again;    /* look at them once more */
    uint64_t patterns_seen; /* the same of topics */
    uint32_t patterns_look;
    stoa_remote_wants ours, heard; /* what actors here want to hear; what the port subscribed to */
    stoa_remote_asked *asked;
    uint32_t asked_used, asked_free;
    stoa_remote_answering *answering;
    uint32_t answering_used, answering_free;
    uint64_t sweep_ns; /* when asks are looked through next */
    uint64_t busy;     /* things done in this step */

    uint8_t *payload, *encoded; /* scratch */

    pthread_mutex_t lock;
    pthread_cond_t done;
    stoa_remote_errand *errands, **errands_end; /* under the lock */
    int bell;
    bool threaded, stopping; /* stopping: under the lock */
    stoa_err opened;         /* of the thread */
    bool is_open;            /* under the lock */
    char *trail;
    uint32_t linger_ms;
    pthread_t thread;
};

static inline uint32_t stoa_remote_peer_index(const stoa_remote *remote, const stoa_remote_peer *peer)
{
    return (uint32_t)(peer - remote->peers);
}

/* --- remote.c */
stoa_err stoa_remote_line_open(stoa_remote_line *line, stoa_link **out);
/* The row that a word names, of those that may come; NULL: none. */
const stoa_row *stoa_remote_row(const stoa_remote *remote, uint64_t word);
/* Keep what a link is opened with. Errors: NOMEM. */
stoa_err stoa_remote_line_keep(stoa_remote_line *line, const stoa_link_options *options);
void stoa_remote_line_forget(stoa_remote_line *line);

/* Wake the thread. Any thread. */
void stoa_remote_ring(stoa_remote *remote);

/* --- look.c */
void stoa_remote_lines_retry(stoa_remote *remote);
/* End the connection to a node; whoever dialled dials again. Errors: of stoa_link_open. */
stoa_err stoa_remote_part(stoa_remote *remote, stoa_remote_peer *peer);

/* --- peers.c */
void stoa_remote_push(stoa_remote_queue *queue, stoa_remote_waiting *waiting);
stoa_remote_waiting *stoa_remote_pop(stoa_remote_queue *queue);
void stoa_remote_events_of(stoa_remote_line *line);
/* As stoa_sessions_options.refused; context: the line. */
void stoa_remote_turned_away(void *context, const char *name, stoa_err why);
stoa_remote_peer *stoa_remote_peer_named(stoa_remote *remote, const char *name);
/* Send a frame, or have it wait for its lane. bounded: only while the backlog has room: FULL; else a node that leaves so much unread is
 * lost. NOMEM. */
stoa_err stoa_remote_send(stoa_remote *remote, stoa_remote_peer *peer, stoa_lane lane, stoa_remote_frame type, uint64_t source,
                          uint64_t target, uint64_t deadline_ns, const void *bytes, uint32_t size_bytes, bool bounded);
/* What waits, and what time brings. Returns when to look again. */
uint64_t stoa_remote_peers_step(stoa_remote *remote);
/* The nodes of the links' settings that were not met yet: a name that is not here may be one of theirs. */
void stoa_remote_await(stoa_remote *remote);
/* It has told its names; NULL: nobody is waited for any longer. */
void stoa_remote_met(stoa_remote *remote, const char *node);
void stoa_remote_peer_free(stoa_remote_peer *peer);
void stoa_remote_peer_pause(stoa_remote *remote, stoa_remote_peer *peer, bool paused);
/* All stands of a node end; asks to it are refused. what: LOST; LEFT, CLOSED where it is in order. Nothing where that was so already. */
void stoa_remote_peer_over(stoa_remote *remote, stoa_remote_peer *peer, stoa_remote_what what);
static inline bool stoa_remote_peer_backed(const stoa_remote_peer *peer)
{
    return peer->backlog[STOA_LANE_NORMAL].bytes > STOA_REMOTE_BACKLOG_BYTES / 4;
}

/* --- actors.c */
stoa_err stoa_remote_actors_init(stoa_remote *remote);
void stoa_remote_actors_deinit(stoa_remote *remote);
/* The number of an actor of this node for a peer, who knows of it from now on; 0: it is nobody who could be answered, or there are
 * too many. */
uint64_t stoa_remote_number(stoa_remote *remote, stoa_remote_peer *peer, stoa_ref ref);
/* The actor with that number, which the peer was told of; NULL: none (any more). */
stoa_remote_local *stoa_remote_local_of(stoa_remote *remote, const stoa_remote_peer *peer, uint64_t number);
stoa_remote_local *stoa_remote_local_at(stoa_remote *remote, stoa_ref ref);
void stoa_remote_local_ended(stoa_remote *remote, const stoa_embassy_ended *ended);
/* The stand of a peer's actor; 0: there is none. make: where the number is a new one, it is made. */
uint32_t stoa_remote_stand_of(stoa_remote *remote, stoa_remote_peer *peer, uint64_t number, bool make);
/* The stand that has handed something over; NULL: it has ended. */
stoa_remote_stand *stoa_remote_stand_at(stoa_remote *remote, const stoa_passed *passed);
void stoa_remote_stand_named(stoa_remote *remote, stoa_remote_peer *peer, uint64_t number, const char *name);
void stoa_remote_stand_gone(stoa_remote *remote, stoa_remote_peer *peer, uint64_t number, stoa_end why, const char *text);
void stoa_remote_stands_lost(stoa_remote *remote, stoa_remote_peer *peer);
/* The same text for good. */
const char *stoa_remote_text(const char *text);
/* full: its actor's mailbox is. backed: its node's lane is. */
void stoa_remote_stand_hold(stoa_remote *remote, stoa_remote_stand *stand, bool full, bool backed);
void stoa_remote_stands_release(stoa_remote *remote, stoa_remote_peer *peer);
/* Look for new names, where any have changed. */
void stoa_remote_names_look(stoa_remote *remote);
/* Tell a peer names that it was not told, as long as there is room. */
void stoa_remote_names_tell(stoa_remote *remote, stoa_remote_peer *peer);

/* --- bonds.c */
/* Whether what a stand handed over is what becomes of a link to it; then the other side is told. */
bool stoa_remote_bond_told(stoa_remote *remote, stoa_remote_peer *peer, const stoa_remote_stand *stand, const stoa_delivery *d);
/* maker, of the peer, has linked itself to target, of this node; where that cannot be, it is told so. */
void stoa_remote_bond_make(stoa_remote *remote, stoa_remote_peer *peer, uint64_t maker, uint64_t target);
/* It is taken back; whether there was one. */
bool stoa_remote_bond_forget(stoa_remote_peer *peer, uint64_t maker, uint64_t target);
/* The maker has ended: target (0: all) hears of it with one of the next steps; whether there was one. text: a static string. */
bool stoa_remote_bonds_over(stoa_remote_peer *peer, uint64_t maker, uint64_t target, stoa_end why, const char *text);
uint64_t stoa_remote_bonds_step(stoa_remote *remote, stoa_remote_peer *peer);
/* All of them are, at once. tells: the makers, too, if they live. */
void stoa_remote_bonds_lost(stoa_remote *remote, stoa_remote_peer *peer, bool tells);

/* --- topics.c */
/* Look for new patterns here, and for those that are gone; tell. */
void stoa_remote_patterns_look(stoa_remote *remote);
/* A peer is told all of them. */
void stoa_remote_patterns_tell(stoa_remote *remote, stoa_remote_peer *peer);
void stoa_remote_wanted(stoa_remote *remote, stoa_remote_peer *peer, const char *pattern, bool wants);
/* It wants to hear nothing any more. */
void stoa_remote_wants_clear(stoa_remote *remote, stoa_remote_peer *peer);
/* Something was published here. */
void stoa_remote_publish(stoa_remote *remote, const stoa_delivery *delivery);
/* Something was published there; its payload is in remote->payload. */
stoa_err stoa_remote_published(stoa_remote *remote, stoa_ref from, const char *topic, const stoa_row *row);

/* --- out.c */
/* A head, a text (NULL: none) behind its length, and a payload, into remote->encoded. Errors: TOO_LARGE. */
stoa_err stoa_remote_encode(stoa_remote *remote, const stoa_remote_head *head, const char *text, const stoa_row *row,
                            const void *payload, uint32_t *size_out);
void stoa_remote_deliver(void *context, const stoa_delivery *delivery);
stoa_remote_asked *stoa_remote_asked_of(stoa_remote *remote, const stoa_remote_peer *peer, uint64_t id);
void stoa_remote_asked_free(stoa_remote *remote, stoa_remote_asked *asked);
void stoa_remote_asks_refuse(stoa_remote *remote, const stoa_remote_peer *peer, stoa_err why);
/* Forget asks whose time is over; returns when to look again. */
uint64_t stoa_remote_asks_sweep(stoa_remote *remote);
/* Every peer that knows it. */
void stoa_remote_tell_all(stoa_remote *remote, const stoa_remote_local *local, stoa_remote_frame type);
/* Tell a peer which mailboxes are full. */
void stoa_remote_full_tell(stoa_remote *remote, stoa_remote_peer *peer);
/* A message whose deadline has passed: counted, and a dead letter. */
void stoa_remote_stale(stoa_remote *remote, stoa_remote_peer *peer, stoa_ref to, stoa_ref from, const stoa_row *row);
/* The same of a frame, of this node's or the peer's, that its session has dropped; of what the peer dropped nothing is known. */
void stoa_remote_expired(stoa_remote *remote, stoa_remote_peer *peer, const stoa_session_message *message, bool ours);
/* A frame of this node's that was never sent: who asked, or wanted to be told, hears why. */
void stoa_remote_unsent(stoa_remote *remote, stoa_remote_peer *peer, const stoa_remote_waiting *frame, stoa_err why);

/* --- shards.c */
void stoa_remote_shard_told(stoa_remote *remote, stoa_remote_peer *peer, const char *shard);
void stoa_remote_mail_taken(stoa_remote *remote, stoa_remote_peer *peer, const void *bytes, uint32_t size_bytes);
/* Whether it was for a distant shard. */
bool stoa_remote_mail_sent(stoa_remote *remote, const stoa_delivery *delivery);
void stoa_remote_shards_up(stoa_remote_peer *peer);
/* It has told all of them. */
void stoa_remote_shards_complete(stoa_remote *remote, stoa_remote_peer *peer);
void stoa_remote_shards_down(stoa_remote *remote, stoa_remote_peer *peer);
void stoa_remote_shards_step(stoa_remote *remote, stoa_remote_peer *peer);
/* What is mailed to its shards waits from here on, until it tells them (again). */
void stoa_remote_shards_close(stoa_remote *remote, stoa_remote_peer *peer);

/* --- in.c */
void stoa_remote_take(stoa_remote *remote, stoa_remote_peer *peer, const stoa_session_message *message, const void *bytes,
                      uint32_t size_bytes);

#endif
