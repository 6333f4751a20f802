/* sparse.h - memory of which much is reserved and little is used: large states, the tables of a shard. Internal to runtime/.
 *
 * A large state is reserved at its full size, so that it has no pointers and nothing in it ever moves; it costs what was touched
 * of it. The same must hold for whoever goes through it: a hash, a comparison, a snapshot visit only the runs that were ever
 * touched. The kernel knows them: a page of private memory that is neither present nor swapped out was never written and is zero
 * (/proc/self/pagemap; see proc(5)). Where it does not say, all of the memory is one run.
 *
 * What was touched is no function of the state: a page that was only read counts too, and so do the neighbours of a page where
 * pages are large. So it may save time and decide nothing: who visits runs does the same with zeros, shown or not.
 *
 * Any thread, also while another one writes: what is touched meanwhile may be missed. Looking takes a few system calls for each
 * 16 MiB: not for a message's way.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef STOA_RUNTIME_SPARSE_H
#define STOA_RUNTIME_SPARSE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    STOA_SPARSE_BYTES = 64 << 10, /* from here on it is worth it: below, all is one run */
    STOA_SPARSE_WINDOW = 4096,    /* pages looked up at a time */
};

/* Zeroed memory, mapped as it is used, in pages of the smallest size. NULL: there is none. */
void *stoa_sparse_map(size_t bytes);
/* NULL is allowed. */
void stoa_sparse_unmap(void *at, size_t bytes);
/* Zero again: what was mapped goes back. The memory is mapped, or smaller than STOA_SPARSE_BYTES. */
void stoa_sparse_clear(void *at, size_t bytes);

/* A walk through it. The memory is mapped, or smaller than STOA_SPARSE_BYTES.
 *
 *     stoa_sparse_walk walk = {.at = state, .bytes = bytes};
 *     while (stoa_sparse_next(&walk)) { ... [walk.from, walk.to) may be other than zero ... } */
typedef struct stoa_sparse_walk {
    const void *at;
    size_t bytes;
    size_t from, to; /* the run */
    /* what was looked up: pages from first on, a bit each */
    size_t first, known;
    uint64_t touched[STOA_SPARSE_WINDOW / 64];
} stoa_sparse_walk;

/* The next run; it begins at a page. False: that was all. */
bool stoa_sparse_next(stoa_sparse_walk *walk);
/* Whether anything of [from, to) was touched. For ranges that come in ascending order: what was looked up is kept. */
bool stoa_sparse_touched(stoa_sparse_walk *walk, size_t from, size_t to);

bool stoa_all_zero(const void *at, size_t bytes);
/* Whether both are the same; each as for a walk. */
bool stoa_sparse_equal(const void *a, const void *b, size_t bytes);

#endif
