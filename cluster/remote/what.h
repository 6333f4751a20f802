/* remote/what.h - what becomes of the nodes that a node's links lead to.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef STOA_CLUSTER_REMOTE_WHAT_H
#define STOA_CLUSTER_REMOTE_WHAT_H

typedef enum stoa_remote_what {
    STOA_REMOTE_UP,     /* messages pass; again after a lost connection */
    STOA_REMOTE_DOWN,   /* they do not, for now: why CLOSED or TIMEOUT */
    STOA_REMOTE_LOST,   /* its actors were told as lost */
    STOA_REMOTE_RESET,  /* it has restarted (LOST comes before), what was under way is lost */
    STOA_REMOTE_REFUSED, /* it refused a greeting of this node, why: DENIED, FORKED, FULL, STALE, VERSION */
    STOA_REMOTE_TURNED_AWAY, /* this node refused one of its, and has told it why; its name is what its key proves */
    STOA_REMOTE_LEFT,    /* it said good-bye: its actors were told as lost, and it is not */
    STOA_REMOTE_CLOSED   /* this node ends, or the other one's key was taken away here: the same */
} stoa_remote_what;

enum { STOA_REMOTE_WHATS = STOA_REMOTE_CLOSED + 1 };

#endif
