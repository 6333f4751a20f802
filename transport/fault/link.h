/* fault/link.h - a link that wraps another one and does to its frames what a bad network does: scheme fault+SCHEME.
 *
 *     fault+zmq+tcp://127.0.0.1:7000?seed=7&loss=20&delay_us=500        the other options go to the link below
 *
 *     seed                       of all the choices; 1
 *     loss, dup, reorder         of so many of a thousand frames; 0
 *     delay_us, jitter_us        each frame is held so long, and a random time up to jitter longer; 0
 *     cut_every_ms, cut_for_ms   about so often nothing passes for about so long, one way or both; 0
 *
 * Frames that this end sends are lost, doubled, late and out of order; a cut also stops those that come. Connections stay
 * up meanwhile, unlike any real link's: loss and disorder within a connection are what a session must bear, too. With all
 * faults off it is the link below. Frames that are held are allocated; no more than four queues of them, then send says
 * FULL.
 *
 * Where the link below has one-sided operations, so has this. What is put is lost, doubled and late as a frame is; a put that
 * is lost is flushed all the same, and what lay there before is found in its place. A flush is lost or late, and never told before
 * what was put before it has passed. Over a simulated network it lives by that network's clock (and wakes nobody), else by the machine's.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef STOA_TRANSPORT_FAULT_LINK_H
#define STOA_TRANSPORT_FAULT_LINK_H

#include "base/clock.h"
#include "transport/link.h"

/* Its scheme is the beginning of one: "fault+". */
extern const stoa_link_ops stoa_link_fault;

enum { STOA_FAULT_ADDRESS_BYTES = 512 };

/* The address below one of this scheme: without fault+ and its options, which are read. Errors: INVALID (an option's value, too long). */
stoa_err stoa_fault_below(const char *address, char below_out[STOA_FAULT_ADDRESS_BYTES]);

typedef struct stoa_faults {
    uint32_t loss, duplicate, reorder; /* permille */
    uint64_t delay_ns, jitter_ns;
    uint64_t cut_every_ns, cut_for_ns;
} stoa_faults;

typedef struct stoa_fault_counts {
    uint64_t passed, lost, duplicated, reordered, cut, cuts;
} stoa_fault_counts;

/* For links of this scheme. From now on other faults; what is held stays so. Errors: INVALID (permille). */
stoa_err stoa_fault_set(stoa_link *link, const stoa_faults *faults);
/* Nothing passes in these directions until told otherwise. */
void stoa_fault_cut(stoa_link *link, bool out, bool in);
void stoa_fault_counted(const stoa_link *link, stoa_fault_counts *out);
/* When a held frame is due; UINT64_MAX: none is. For who moves a clock. */
uint64_t stoa_fault_next_ns(const stoa_link *link);

#endif
