/* closed.h - the journals of a data folder that no shard has open, as sources of a backup: all of a node that does not run, and of one that
 * runs those whose shard its settings name no longer.
 *
 * A shard is what the roll names (node/roll.h), and each folder of the data that holds a journal. One of the roll whose journal is not there
 * is an error with its name: a backup without it would look whole.
 *
 * Any thread but a core; blocks.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef STOA_NODE_ARCHIVE_CLOSED_H
#define STOA_NODE_ARCHIVE_CLOSED_H

#include "node/archive/backup.h"
#include "node/settings.h"

/* Zeroed before it is opened. */
typedef struct stoa_closed {
    const stoa_settings *settings;
    const stoa_keyring *keys;
    const stoa_backup_source *sources; /* that are open elsewhere in this process */
    uint32_t source_count;
    stoa_archive *archives[STOA_CATALOG_SHARDS];
    stoa_journal *journals[STOA_CATALOG_SHARDS];
    char names[STOA_CATALOG_SHARDS][STOA_CATALOG_NAME + 1];
    uint32_t named, count;
} stoa_closed;

/* Open all that are not among the count sources, and add them behind those: trade first, then by name. With look they are only looked at
 * (storage/rocksdb/look.h). settings and keys (NULL: nothing is sealed) must outlive it. Close it on errors, too: NOT_FOUND (a shard's
 * folder is gone), CORRUPT (a line of the roll; a journal without its mark), DENIED (another process, or another backup, has a journal open), TOO_LARGE,
 * those of the journals and archives. */
stoa_err stoa_closed_open(stoa_closed *closed, const stoa_settings *settings, const stoa_keyring *keys, bool look,
                          stoa_backup_source sources[STOA_CATALOG_SHARDS], uint32_t *count);
void stoa_closed_close(stoa_closed *closed);

#endif
