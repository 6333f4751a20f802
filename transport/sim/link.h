/* sim/link.h - the link inside one process: scheme sim. See transport/link.h for what it promises.
 *
 *     sim://NAME              an end of the process' own network: nothing takes time, threads may differ
 *     sim://NET/NAME          an end of the network NET, which stoa_sim_net_new has made: its frames take the time that the
 *                             seed says, of the clock it was given; one thread
 *     sim://NAME?as=WHO       dial: WHO is the identity that frames are reported with
 *
 * In a network with a clock of its own nothing waits and no descriptor wakes anybody: whoever moves the clock polls. What
 * was sent arrives also after a close; but in such a network a close with linger_ms 0 takes a random part of the last
 * frames with it, as the end of a process does.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef STOA_TRANSPORT_SIM_LINK_H
#define STOA_TRANSPORT_SIM_LINK_H

#include "base/clock.h"
#include "transport/link.h"

extern const stoa_link_ops stoa_link_sim;

enum { STOA_SIM_NET_NAME_MAX = 32 };

typedef struct stoa_sim_net stoa_sim_net;

typedef struct stoa_sim_net_options {
    uint64_t seed;
    stoa_clock *clock;                   /* not NULL; lives as long as the network */
    uint64_t delay_ns_min, delay_ns_max; /* how long a frame is on its way */
    uint64_t bytes_per_s;                /* that each direction of a connection carries; 0: any number */
} stoa_sim_net_options;

/* A network for the addresses sim://name/... Errors: INVALID, EXISTS, NOMEM. */
stoa_err stoa_sim_net_new(const char *name, const stoa_sim_net_options *options, stoa_sim_net **out);
/* All its links are closed. NULL is allowed. */
void stoa_sim_net_free(stoa_sim_net *net);
/* When something is next due at one of its links; UINT64_MAX: never, until somebody does something. */
uint64_t stoa_sim_net_next_ns(stoa_sim_net *net);

/* The clock that a link of scheme sim lives by. */
stoa_clock *stoa_sim_link_clock(const stoa_link *link);

#endif
