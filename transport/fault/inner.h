/* fault/inner.h - what the files of a link with faults share: link.c is the link, out.c what this end sends and puts. Internal to
 * transport/fault/.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef STOA_TRANSPORT_FAULT_INNER_H
#define STOA_TRANSPORT_FAULT_INNER_H

#include "base/random.h"
#include "transport/fault/link.h"

enum { STOA_FAULT_HELD_QUEUES = 4 };

/* What waits until it is due. Bytes that are put stay the caller's: the link's contract has him keep them. */
typedef struct stoa_fault_held {
    struct stoa_fault_held *next;
    uint64_t due_ns;
    stoa_peer peer;
    enum { STOA_FAULT_FRAME, STOA_FAULT_PUT, STOA_FAULT_FLUSH } kind;
    uint32_t size_bytes;
    uint64_t at;           /* put: the offset; flush: the token */
    const void *put;       /* put: the caller's bytes */
    _Alignas(16) uint8_t bytes[]; /* of a frame; put: the window */
} stoa_fault_held;

typedef struct stoa_fault {
    stoa_link link;
    stoa_link *below;
    stoa_clock *clock;
    int epoll, timer; /* -1 where the clock is a simulation's */
    stoa_random random;
    stoa_faults faults;
    stoa_fault_counts counts;
    bool cut_out, cut_in;           /* by order */
    bool away_out, away_in;         /* by chance */
    uint64_t next_cut_ns, until_ns; /* of those by chance */
    stoa_fault_held *first;
    uint32_t held_count, held_max, frame_limit;
    bool dials; /* has one peer, by whatever number */
    uint64_t last_ns; /* due time of the last frame that kept its place */
    uint64_t full_ns; /* the link below was full: not before */
    uint64_t armed_ns;
    const stoa_link_events *events;            /* during poll */
    char options[STOA_FAULT_ADDRESS_BYTES];    /* "?seed=7...", or nothing */
    char address[2 * STOA_FAULT_ADDRESS_BYTES];
} stoa_fault;

static inline stoa_fault *stoa_fault_own(stoa_link *link)
{
    return (stoa_fault *)(void *)link;
}

static inline uint64_t stoa_fault_now(const stoa_fault *f)
{
    return f->clock->now_ns(f->clock);
}

/* Whether nothing passes now, that way. */
bool stoa_fault_out_cut(stoa_fault *f);
bool stoa_fault_in_cut(stoa_fault *f);

/* Wake the owner when the first that is held is due. */
void stoa_fault_arm(stoa_fault *f);
/* Pass on what is due, or all of it. */
void stoa_fault_release(stoa_fault *f, bool all);
/* Forget what is held for that peer; 0: for all. */
void stoa_fault_forget(stoa_fault *f, stoa_peer peer);

/* As in transport/link.h. */
stoa_err stoa_fault_send(stoa_link *link, stoa_peer peer, const void *bytes, uint32_t size_bytes);
stoa_err stoa_fault_put(stoa_link *link, stoa_peer peer, const stoa_link_window *window, uint64_t offset, const void *bytes,
                        uint32_t size_bytes);
stoa_err stoa_fault_flush(stoa_link *link, stoa_peer peer, uint64_t token);

#endif
