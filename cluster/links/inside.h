/* links/inside.h - what cluster/links/ shares among its files, and what the composition root wants of it beyond cluster/links.h: it has keys,
 * epoch and number of its own, tells when they change, and looks at everything.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef STOA_CLUSTER_LINKS_INSIDE_H
#define STOA_CLUSTER_LINKS_INSIDE_H

#include <limits.h>
#include <pthread.h>

#include "cluster/links.h"
#include "cluster/remote/remote.h"
#include "transport/key_list.h"

/* --- for the composition root */

/* own NULL: no keys. */
typedef struct stoa_links_start {
    const char *folder;       /* of key files, NAME.pub; NULL: none */
    const stoa_key_pair *own; /* copied, as what follows is where it is needed later */
    const stoa_key_list *list;
    uint64_t incarnation, epoch;
    void (*denied)(void *context); /* a dialled link was refused: look soon. On the remote's thread; NULL: never mind */
    void *context;
} stoa_links_start;
/* As stoa_links_open, with these. */
stoa_err stoa_links_start_with(const stoa_links_options *options, const stoa_links_start *start, stoa_links **out);

/* The node's own pair or the list is another one: who has lost a key is cut off. */
void stoa_links_keys(stoa_links *links, const stoa_key_pair *own, const stoa_key_list *list);
/* A link that was refused tries the node's next key. regular: it is the look of each second, from which on all may be tried again; the
 * others are those after a refusal. */
void stoa_links_try(stoa_links *links, bool regular);

enum { STOA_LINK_REASONS = 32, STOA_LINK_STRANGERS = 32 };

/* What happened to a node's session last. */
typedef struct stoa_link_fault {
    char node[STOA_NODE_NAME_BYTES]; /* "": nobody's yet */
    bool up;
    stoa_err down_why, refused_why; /* OK: it never was */
    uint64_t down_ns, lost_ns, refused_ns, up_ns; /* UTC; 0: it never was */
    uint64_t last_ns;                             /* it was heard of */
    uint64_t said_ns[STOA_LINK_REASONS]; /* a refusal for it (an error, negated) was logged last */
} stoa_link_fault;
/* Nothing where there was none. */
void stoa_links_fault(stoa_links *links, const char *node, stoa_link_fault *out);
/* A link that dials, and no key of its node is known; one that listens, and none is of a node that it names. */
bool stoa_links_keyless(stoa_links *links, uint32_t link);
stoa_remote *stoa_links_remote(stoa_links *links);

/* --- within the folder */

enum { STOA_LINKS_NODES_A_LINK = 64, STOA_LINKS_ALLOWED = STOA_LINKS_NODES_A_LINK * STOA_KEYS_PER_NAME };

typedef struct stoa_links_line {
    char name[STOA_NODE_NAME_BYTES], nodes[STOA_LINKS_NODES_BYTES], key[PATH_MAX];
    bool keyed, listens, fenced, trusted;
    char keys[STOA_KEYS_PER_NAME][STOA_KEY_TEXT_BYTES]; /* dial: of the other node */
    uint32_t key_count, key_at;
    uint32_t tried, tries_left; /* dial: keys (bits) refused since it was up last; how many more before the next regular look */
    char in_use[STOA_KEY_TEXT_BYTES];
    uint64_t refused; /* when it was looked at last */
    uint64_t allowed;   /* listen: a hash of the keys that it lets in */
    uint64_t ambiguous; /* listen: a hash of those that several of its nodes have, and that let nobody in; 0: none */
    uint64_t keyless;   /* listens: names of nodes without a key, as a hash; 0: none */
    struct {
        uint64_t since_ns, last_ns; /* connections; UTC, 0: nobody is */
    } refusing;                     /* under the lock, as strangers */
    stoa_link_fault strangers;      /* of refusals that are no known node's */
} stoa_links_line;

struct stoa_links {
    stoa_node *node;
    stoa_remote *remote;
    char data[PATH_MAX], folder[PATH_MAX]; /* "": none */
    stoa_key_pair own;
    stoa_links_line lines[STOA_LINKS_MAX];
    uint32_t line_count;
    stoa_err unread; /* why the keys could not be read, at the last look */
    void (*told)(void *context, const char *node, stoa_remote_what what, stoa_err why);
    void (*denied)(void *context);
    void *told_context, *denied_context;
    pthread_mutex_t busy; /* of what is above: keys */
    pthread_mutex_t lock; /* of faults, strangers and who is being refused: never held over what waits for the remote's thread */
    stoa_link_fault faults[STOA_REMOTE_PEERS];     /* of nodes that a link names, or that have been up */
    stoa_link_fault strangers[STOA_LINK_STRANGERS]; /* of others, who were refused */
};

/* Find the keys of who a line dials, for the first time or anew. */
void stoa_links_line_find_keys(stoa_links *links, stoa_links_line *line, const stoa_key_list *list);
/* With other keys a refusal is another one. */
void stoa_links_line_say_anew(stoa_links *links, stoa_links_line *line);
/* What a line is opened with. allowed: the caller's room for STOA_LINKS_ALLOWED. */
stoa_link_options stoa_links_line_options(stoa_links *links, stoa_links_line *line, const stoa_key_list *list, stoa_link_allowed *allowed);

#endif
