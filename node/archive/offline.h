/* offline.h - stoad's own backup and restore, and repairs: of a node that does not run.
 *
 *     stoad --backup DIR [--plan]
 *     stoad --verify-backup DIR
 *     stoad --restore DIR --into DATA [--until SHARD:POSITION|TIME] [--plan]
 *     stoad --accept-loss SHARD [--plan]     storage/rocksdb/accept.h; what the archive has of it is put back
 *     stoad --rebuild-archive SHARD [--plan] stoa_archive_rebuild
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef STOA_NODE_ARCHIVE_OFFLINE_H
#define STOA_NODE_ARCHIVE_OFFLINE_H

#include <stdbool.h>

#include "node/settings.h"

typedef struct stoa_offline {
    const char *backup, *verify, *restore, *into, *until, *accept, *rebuild;
    bool plan;
} stoa_offline;

/* Whether one of them was asked for. */
bool stoa_offline_asked(const stoa_offline *asked);

/* Do it; what was done goes to stdout, progress and errors to stderr. The exit status: 0, 1 it failed, 2 it cannot be done so. */
int stoa_offline_run(const stoa_offline *asked, const stoa_settings *settings);

#endif
