/* wires.h - the wires of bench_links itself: our links, and the least that shared memory takes. Internal to bench/.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef STOA_BENCH_LINKS_WIRES_H
#define STOA_BENCH_LINKS_WIRES_H

#include "bench/links/duel.h"

/* Our links, by the address to listen at; "%d" in it becomes the process' number; behind a "+curve" with keys. */
extern const duel_wire bench_wire_link;

/* A ring of slots in shared memory with one cursor on either side, read where it lies: no lengths, no checks, no wake-ups,
 * nobody who could die. What it reaches is what the machine allows. */
extern const duel_wire bench_wire_ring;

#endif
