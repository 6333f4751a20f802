/* wires.h - the wires of bench_links itself: our links, and the least that shared memory takes. Internal to bench/.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef STOA_BENCH_LINKS_WIRES_H
#define STOA_BENCH_LINKS_WIRES_H

#include "bench/links/duel.h"
#include "transport/link.h"

/* Our links, by the address to listen at; "%d" in it becomes the process' number; behind a "+curve" with keys. */
extern const duel_wire bench_wire_link;

/* The same with a session on top, as two nodes speak: messages in batches, order and resume. */
extern const duel_wire bench_wire_session;

/* Internal: a link between the two sides, open on both. Whether an owner with nothing to do sleeps, and how. */
stoa_link *bench_link_meet(duel_page *page, int side, const char *how, uint32_t frame_limit, uint32_t queue_frames);
bool bench_link_naps(const char *how);
void bench_link_nap(stoa_link *link);

/* A ring of slots in shared memory with one cursor on either side, read where it lies: no lengths, no checks, no wake-ups,
 * nobody who could die. What it reaches is what the machine allows. */
extern const duel_wire bench_wire_ring;

#endif
