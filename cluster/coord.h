/* coord.h - who may write: leases with epochs that only grow.
 *
 * A lease names something that has one writer (a node's data, a shard). Whoever acquires it gets an epoch above every epoch
 * it was ever acquired with; blocks carry it, so that what a deposed writer still sends can be told apart and refused.
 * Implementations: cluster/local (a file lock in a folder; needs no service; one machine). The contract is tested by
 * tests/unit/cluster/local_test.c.
 *
 * All functions may block for a moment on the disk; one thread at a time per coord.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef STOA_CLUSTER_COORD_H
#define STOA_CLUSTER_COORD_H

#include <stdint.h>

#include "base/error.h"

enum { STOA_LEASE_NAME_MAX = 63 };

typedef struct stoa_coord stoa_coord;

typedef struct stoa_coord_ops {
    const char *scheme; /* "local" */

    /* Connect. address: local: an existing folder. Errors: NOT_FOUND, NOMEM, INVALID (too long). */
    stoa_err (*open)(const char *address, stoa_coord **out);

    /* Take the lease name ([a-z0-9_-]+). It is held until release, close or the death of the process; then others may have it
     * at once. Errors: DENIED (somebody holds it: the trail says who, where that is known), EXISTS (we hold it already),
     * INVALID (name), CORRUPT (the kept epoch is unreadable), FULL (too many leases here), IO. */
    stoa_err (*acquire)(stoa_coord *coord, const char *name, uint64_t *epoch_out);

    /* Give it back. Errors: NOT_FOUND (not held here). */
    stoa_err (*release)(stoa_coord *coord, const char *name);

    /* Release everything. NULL is allowed. */
    void (*close)(stoa_coord *coord);
} stoa_coord_ops;

/* First member of every implementation's struct. */
struct stoa_coord {
    const stoa_coord_ops *ops;
};

#endif
