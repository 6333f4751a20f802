/* links.h - links of a node to others, from addresses, names and a folder of keys: for programs of one's own, as `stoad` has them.
 *
 *     stoa_links_options options = {.node = node, .name = "left", .kinds = STOA_KINDS(&ponger_kind), .data = "left.data",
 *                                   .links = {{.uri = "zmq+tcp://10.0.0.1:7410", .listen = true, .nodes = "right"}}};
 *     stoa_links *links = NULL;
 *     err = stoa_links_open(&options, &links);
 *     err = stoa_links_find(links, "ponger/po", STOA_S(10), &ref);   an actor of another node: sent to, asked, watched as any
 *     ...
 *     stoa_links_close(links, STOA_MS(200));
 *     stoa_node_close(node, STOA_MS(200));
 *
 * What holds of actors elsewhere - order, asks, ends, topics, mail - is said in docs/guide/actors.md, "Actors elsewhere", and in
 * docs/decisions/0027. Who is on the other side is proven by its key, on shared memory by its user:
 *
 *     DATA/keys/server.key, .pub    this node's pair, made by the first open; .pub is what the others are given, by hand
 *     DATA/keys/NAME.pub            the node NAME's; and DATA/keys/allowed (transport/key_list.h), where `stoa key` keeps such a list
 *     DATA/node.incarnation         the number of the last start, which grows: an earlier life is refused by the others (STALE)
 *
 * A link that listens lets in the nodes it names, by any of their keys; one that dials wants the node it names, and tries its keys when it is
 * refused, the newest first, so that keys overlap while they are rotated (decision 0031). A node without a known key is not met; nothing
 * else suffers. What happens to nodes is logged: link_up, link_down, link_lost, link_reset, link_refused, link_turned_away; link_left and
 * link_closed are no losses but the other node's orderly end, and this one's (or the loss of a key that was wanted here). A refusal is said once for
 * each reason, until the node was up, keys changed or an hour is over; names that no link has and that were never up share 32 places in that.
 *
 * There is one set of links per node, with a thread of its own. Functions are called from any thread but a core's and that one, and
 * wait for its next step unless they say otherwise.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef STOA_CLUSTER_LINKS_H
#define STOA_CLUSTER_LINKS_H

#include "base/api.h"
#include "cluster/remote/what.h"
#include "runtime/node.h"

enum { STOA_LINKS_MAX = 16, STOA_LINKS_NODES_BYTES = 256 };

STOA_API_BEGIN

typedef struct stoa_links stoa_links;

/* Zero stands for the default where one is named. Texts are copied. */
typedef struct stoa_links_link {
    const char *uri;    /* shm://NAME, zmq+tcp://HOST:PORT, zmq+ipc://PATH, ucx+tcp://HOST:PORT, ofi+tcp://HOST:PORT, ...; NULL: no more links */
    bool listen;        /* others dial it; else it dials */
    const char *nodes;  /* "b, c": listen: who may connect; dial: the one that must answer. NULL without keys: whoever comes or answers */
    const char *name;   /* in logs; NULL: its uri */
    const char *key;    /* public key file of its node, where nodes is one; NULL: as above */
    bool fenced, trusted; /* ucx, ofi off this machine: docs/guide/links.md. Who reaches their ports owns the process */
    uint64_t heartbeat_ns, silence_ns; /* how often it is asked whether the other side lives, 100 ms; down after so long, 2 s */
} stoa_links_link;

typedef struct stoa_links_options {
    stoa_node *node;
    const char *name;               /* of this node among the others: 1 to 63 of a to z, 0 to 9, '-', '_', '.' */
    const stoa_kind *const *kinds;  /* whose actors others find by name, and whose rows may come; ends with NULL, copied. NULL: none */
    const char *data;               /* folder, made where it is not; NULL: no keys, which leaves shm, ipc and loopback, and the clock says the start */
    stoa_links_link links[STOA_LINKS_MAX];
    uint64_t lost_ns;               /* a connection that is gone for so long is a lost node; 2 s */
    uint32_t core;                  /* where what stands for actors elsewhere lives */
    /* What becomes of a node, on the links' thread, which may not call anything of theirs. why: OK but for DOWN, REFUSED, TURNED_AWAY, which
     * come at each attempt; for a key (DENIED), once that has gone on for a second. node is "" where a connection was turned away that had
     * proven no name. NULL: it is only logged. */
    void (*told)(void *context, const char *node, stoa_remote_what what, stoa_err why);
    void *context;
} stoa_links_options;

/* Open them all, with the keys of data; blocks. Errors: INVALID (a name, an address, data "", one that leaves the machine without keys, a link that
 * dials with keys and not one node, a key for none or several), EXISTS (somebody listens there, the node has links; a .pub without its .key),
 * DENIED (a key file that others may read, rights), UNSUPPORTED (no such scheme, or its module is not installed), CORRUPT (node.incarnation), NOMEM,
 * IO, FULL. */
stoa_err stoa_links_open(const stoa_links_options *options, stoa_links **out);
/* Say good-bye, end what stands for others and close; before the node's close. What was sent gets linger_ns to arrive. NULL is allowed. */
void stoa_links_close(stoa_links *links, uint64_t linger_ns);

/* Make data and this node's pair in it where they are not, as open does: to give DATA/keys/server.pub to others before. Blocks; needs no
 * node. Errors: as open. */
stoa_err stoa_links_pair(const char *data);
/* Have the keys as they are in the folder now, and try another one where a node refused: once a second where keys come, go or rotate
 * while the program runs. Who has lost a key is cut off. What cannot be read is logged, and the keys stay as they were. Blocks. */
void stoa_links_look(stoa_links *links);

/* Find an actor "kind/key", here or elsewhere, and wait until it is there, for wait_ns at most. Errors: NOT_FOUND. */
stoa_err stoa_links_find(stoa_links *links, const char *name, uint64_t wait_ns, stoa_ref *out);

/* --- what can be seen: texts live as long as the visit, which is on the links' thread */
typedef struct stoa_links_link_view {
    uint32_t index;           /* in options.links */
    const char *uri, *address; /* as given; as bound, with the port that was picked */
    const char *provider;      /* "libzmq 4.3.4" */
    bool proves, encrypts;
    uint64_t refused;          /* connections and greetings, here and by others */
    stoa_err refused_why;      /* the last one's */
} stoa_links_link_view;
void stoa_links_visit(stoa_links *links, void (*visit)(void *context, const stoa_links_link_view *view), void *context);

typedef struct stoa_links_node_view {
    const char *name;   /* "" while unknown */
    uint32_t link;      /* index */
    bool up, lost;
    bool spare;         /* another link carries what is said to it: it is in that one's row, and nothing else is told here */
    uint32_t names;     /* actors of its that can be found here */
    uint64_t rtt_ns;    /* smoothed round trip */
    uint64_t sent, received, malformed; /* messages; frames that cannot be */
} stoa_links_node_view;
void stoa_links_visit_nodes(stoa_links *links, void (*visit)(void *context, const stoa_links_node_view *view), void *context);

STOA_API_END

#endif
