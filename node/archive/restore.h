/* restore.h - a node's data from its backup, into a folder where there is none: whole, or as it was at a position or time.
 *
 * Each shard's blocks go through the chain check into a new journal, up to one commit time for all of them (node/archive/backup.h
 * says why that is a state the node could have stopped in); a position is such a time, but that the shard it is given for is cut
 * to the event. Then each log is folded and its state hash compared with what the live shard showed at the same position, and what
 * the shards mailed each other is compared (runtime/mail_check.h). Only then the folder gets its name: whenever a restore
 * stops, there is no half of one to be started by mistake. Until then it is INTO.unfinished, locked by its restore, with a note in
 * it: the next restore replaces what one that was stopped left, and no folder that is somebody else's.
 * The restored node writes under epochs of its own: names that are made of them (of effects, of sessions) are never those of the
 * original behind the cut, nor of what else is restored from this backup (restore.c, claim).
 *
 * A shard whose beginning is gone is restored from the snapshot that stands for it: its log begins where the backup does, and how it was
 * before the snapshot cannot be had (RANGE). Its states are folded from that snapshot on and compared like any other's.
 *
 * Keys are not in a backup: the restored node makes its own, or finds those that were put into DATA/keys.
 *
 * Any thread but a core; blocks.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef STOA_NODE_ARCHIVE_RESTORE_H
#define STOA_NODE_ARCHIVE_RESTORE_H

#include "node/archive/catalog.h"
#include "storage/archive/archive.h"

typedef struct stoa_restore {
    const char *from, *into;         /* a backup; a folder that is not there or empty */
    const char *until;               /* SHARD:POSITION, a POSITION of the first shard, a time as 2026-01-31T12:00:00[.5]Z; NULL: all */
    const stoa_kind *const *kinds;
    const stoa_journal_ops *journal; /* what to import into */
    const stoa_keyring *keys;        /* NULL: what is sealed is restored, but its states cannot be compared */
} stoa_restore;

typedef struct stoa_restored_shard {
    char name[STOA_CATALOG_NAME + 1];
    uint64_t first, snapshot; /* positions: that its log begins with; of the snapshot that stands for what was before, 0: nothing was */
    uint64_t held, last;     /* positions: that the backup has; that are restored (plan: about; a cut block may end earlier) */
    uint64_t last_ns;        /* commit time of the last block */
    uint64_t hash, compared; /* of the states at last; position where it was compared with the live one, 0: it was not */
    bool sealed;             /* a key is missing: no hash */
} stoa_restored_shard;

typedef struct stoa_restored {
    stoa_catalog catalog;
    uint64_t cut_ns;         /* commit time that all shards were cut at */
    const char *other_kind;  /* NULL, or the first kind that this build has in another shape */
    stoa_restored_shard shards[STOA_CATALOG_SHARDS];
    uint32_t shard_count;
    bool replaces;           /* a restore that was stopped left INTO.unfinished, which this one removes */
} stoa_restored;

/* With plan nothing is written. Errors: EXISTS (there is something in into, or INTO.unfinished is no restore's),
 * DENIED (another restore works there), NOT_FOUND (no backup; no such shard), INVALID
 * (until), RANGE (until is behind the backup's end, or before its first event or the snapshot that its beginning stands on: the trail says which), FORKED (a state hash that is not the live one's), GAP,
 * CORRUPT, VERSION, IO, FULL, what progress returns. */
stoa_err stoa_restore_run(const stoa_restore *restore, bool plan, const stoa_progress_to *progress, stoa_restored *out);

#endif
