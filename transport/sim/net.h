/* sim/net.h - what the simulated link's files share: net.c has networks and connections, link.c the operations of an
 * end. Internal to transport/sim/.
 *
 * Everything below is read and changed under one lock for the whole process, which callbacks run outside of.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef STOA_TRANSPORT_SIM_NET_H
#define STOA_TRANSPORT_SIM_NET_H

#include "base/random.h"
#include "transport/sim/link.h"

enum { STOA_SIM_END_NAME_MAX = 191, STOA_SIM_REDIAL_MS = 1000 };

typedef struct stoa_sim_end stoa_sim_end;
typedef struct stoa_sim_half stoa_sim_half;

typedef enum stoa_sim_what_comes { STOA_SIM_UP, STOA_SIM_FRAME, STOA_SIM_DOWN, STOA_SIM_REFUSED } stoa_sim_what_comes;

/* Something on its way to an end. */
typedef struct stoa_sim_notice {
    struct stoa_sim_notice *next, *before;
    uint64_t due_ns;
    stoa_sim_what_comes what;
    stoa_sim_half *half; /* the receiver's; NULL for REFUSED */
    stoa_err why;
    uint32_t size_bytes;
    uint8_t bytes[];
} stoa_sim_notice;

/* One end's side of a connection. */
struct stoa_sim_half {
    stoa_sim_half *next;  /* of the same end */
    stoa_sim_half *other; /* NULL: that side is gone, its down is on its way here */
    stoa_sim_end *end;
    stoa_peer peer;
    uint32_t queued;   /* frames on their way here */
    uint64_t last_ns;  /* nothing is due here before what is */
    uint64_t busy_ns;  /* what comes here is on the wire until then */
    bool up;           /* told */
    bool wants_room;   /* a send was refused with FULL */
    bool over;         /* nothing more is sent here: a down is queued */
    char identity[64]; /* of the other side */
};

struct stoa_sim_end {
    stoa_link link;
    stoa_sim_end *next; /* of the same network */
    stoa_sim_net *net;
    char name[STOA_SIM_END_NAME_MAX + 1], address[STOA_SIM_END_NAME_MAX + 16], as[64];
    bool listens;
    uint32_t frame_limit, queue_frames, peer_limit;
    int timer;
    uint64_t armed_ns; /* for when; UINT64_MAX: not, 0: now */
    uint64_t redial_ns;
    stoa_peer last_peer;
    stoa_sim_half *halves;
    uint32_t half_count;
    stoa_sim_notice *first, *last; /* by due_ns, then by age */
    stoa_link_counts counts;
};

struct stoa_sim_net {
    stoa_sim_net *next;
    char name[STOA_SIM_NET_NAME_MAX + 1]; /* "" is the process' own */
    stoa_sim_net_options options;
    stoa_random random;
    stoa_sim_end *ends;
    uint32_t end_count;
};

void stoa_sim_net_lock(void);
void stoa_sim_net_unlock(void);

/* All of the following under the lock. */

/* Put end into the network that its address names. Errors: INVALID, EXISTS, NOMEM. */
stoa_err stoa_sim_end_join(stoa_sim_end *end, const char *place);
/* Take it out, its connections with it; abrupt: not all that it sent arrives. */
void stoa_sim_end_part(stoa_sim_end *end, bool abrupt);

uint64_t stoa_sim_end_now(const stoa_sim_end *end);
/* Dial, if end is one that does, has no connection and may. */
void stoa_sim_end_dial(stoa_sim_end *end);
/* Queue a frame. Errors: as send's but for those of size. */
stoa_err stoa_sim_half_post(stoa_sim_half *half, const void *bytes, uint32_t size_bytes);
/* The next notice that is due, taken from the queue and to be freed; NULL: none. */
stoa_sim_notice *stoa_sim_end_take(stoa_sim_end *end);
/* Forget a half, whose down is told. */
void stoa_sim_half_forget(stoa_sim_half *half);
/* Both sides hear of the connection's end, behind what is on its way. */
void stoa_sim_half_end(stoa_sim_half *half);
/* Make the end's descriptor readable when it has something to do. */
void stoa_sim_end_arm(stoa_sim_end *end);

#endif
