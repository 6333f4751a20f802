/* links.h - the node's links to other nodes, as the settings have them: a remote (cluster/remote/remote.h) with the keys of DATA/keys.
 *
 * Who is on the other side is proven by its key, on shared memory by its user. A link that listens lets in the nodes it names, by any
 * of their keys; one that dials wants the node it names, and tries its keys when it is refused, the newest first and all of them at
 * once, so that keys overlap while they are rotated (decision 0031). A node without a known key is not met, and `links` says so; nothing else suffers.
 *
 * All functions: any thread but a core's and the remote's.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef STOA_NODE_LINKS_H
#define STOA_NODE_LINKS_H

#include "cluster/links/inside.h"
#include "node/platform.h"

typedef struct stoa_node_links stoa_node_links;

/* Open them all. OK with NULL where the settings have none. */
stoa_err stoa_node_links_open(stoa_platform *platform, const stoa_key_pair *own, const stoa_key_list *list, stoa_node_links **out);
/* Say good-bye and close. NULL is allowed, here and below. */
void stoa_node_links_close(stoa_node_links *links);

/* The node's own pair or the list is another one: who has lost a key is cut off. */
void stoa_node_links_keys(stoa_node_links *links, const stoa_key_pair *own, const stoa_key_list *list);
/* A link that was refused tries the node's next key. regular: it is the look of each second, from which on all may be tried again; the
 * others are those after a refusal (stoa_node_keys_ring). What goes on being refused is said (cluster/links/inside.h). */
void stoa_node_links_look(stoa_node_links *links, bool regular);

/* --- what can be seen */

typedef struct stoa_link_seen {
    const stoa_settings_link *is;
    char address[STOA_PATH_MAX + 1];
    stoa_link_traits traits;
    stoa_link_counts counts;
    stoa_sessions_counts strangers;
    uint64_t refused; /* connections and greetings, here and by other sides */
    stoa_err refused_why;
    stoa_err shut; /* why it is not open; OK: it is */
    uint32_t sessions;
    bool keyless; /* no key is known of the node that it dials, or of one that it lets in */
} stoa_link_seen;

typedef struct stoa_node_seen {
    const stoa_settings_link *link;
    const stoa_settings_link *over;  /* spare: the link over which it is up; NULL: none */
    char name[STOA_NODE_NAME_BYTES]; /* "": not known yet */
    stoa_remote_peer_view view;      /* without its pointers */
    stoa_link_fault fault;
    stoa_histogram *rtt; /* a copy, for one node only */
} stoa_node_seen;

typedef struct stoa_links_seen {
    stoa_link_seen links[STOA_REMOTE_LINKS];
    uint32_t link_count;
    stoa_node_seen nodes[STOA_REMOTE_PEERS];
    uint32_t node_count;
    stoa_histogram rtt;   /* of rtt_of */
    const char *rtt_of;   /* the node whose round trips are wanted; NULL: nobody's */
} stoa_links_seen;

/* All of them; seen is the caller's, zeroed but for rtt_of. */
void stoa_node_links_see(stoa_node_links *links, stoa_links_seen *seen);
stoa_remote *stoa_node_links_remote(stoa_node_links *links);

/* Visit the nodes that the settings' links name, each once. */
void stoa_node_links_names(const stoa_settings *settings, void (*visit)(void *context, const char *name), void *context);
/* Before clients come: names that are not here may be of nodes that are not met yet; until links are open, which then know better. */
void stoa_node_links_await(const stoa_platform *platform);

/* Figures of all links and nodes into the platform's metrics. */
void stoa_node_links_measure(stoa_node_links *links);

#endif
