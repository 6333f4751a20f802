/* local/coord.h - leases on one machine: a file lock each, with the epoch inside.
 *
 * Lease NAME is the file FOLDER/NAME.lease, locked with flock(2) while it is held; it holds "EPOCH PID\n" and is replaced as
 * a whole (written beside, synced, renamed over), so that a crash leaves the old epoch or the new one. The lock is on a file
 * of its own, FOLDER/NAME.lock, which is never replaced.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef STOA_CLUSTER_LOCAL_COORD_H
#define STOA_CLUSTER_LOCAL_COORD_H

#include "cluster/coord.h"

extern const stoa_coord_ops stoa_coord_local;

/* Epochs of the lease go on above epoch, as for a log that was written elsewhere and put here; nothing where they do already.
 * Nobody holds the lease. Errors: DENIED (somebody does), those of acquire. */
stoa_err stoa_coord_local_raise(const char *folder, const char *name, uint64_t epoch);

#endif
