/* backup.h - all shards of a node into a folder that a restore on an empty machine needs nothing beside of (but the keys).
 *
 *     DIR/backup.json        node/archive/catalog.h
 *     DIR/SHARD/...          that shard's archive (storage/archive/archive.h), its end as an open segment
 *
 * A backup runs beside the node: the journals are read, no core waits. The next one into the same folder reads only what is new
 * behind the last full segment. What the folder held before stays whole until the new is named, whenever it stops.
 *
 * Where the beginning of a log is gone - neither in the journal nor in the node's archive - the backup begins where the log does, and
 * takes a snapshot that stands for what was before (storage/archive/snapshot.h): the oldest one that there is, so that a restore
 * reaches as far back as can be, and with each further backup the newest, of which what has not changed is there already.
 *
 * One time for all shards. Commit times of a node grow with what led to what (runtime/shard_commit.c). Before the logs are
 * read each shard tells a commit time up to which its journal is complete; the smallest of them is the catalogue's
 * consistent_ns. Cut there, no shard has received what its sender has not sent. Nothing is purged or forgotten of any shard from before that
 * time is taken until the last one is copied, so that the cut is never before what a shard begins with.
 *
 * A log that ends before what the folder has of it is FORKED: its end is lost, and a restore would bring back more than the node has.
 *
 * A shard that does not run beside those that do (node/archive/closed.h) is complete as it is. A folder's next backup has each shard of the
 * one before, or it is refused: what a restore would bring back does not grow less without a word.
 *
 * Any thread but a core; blocks.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef STOA_NODE_ARCHIVE_BACKUP_H
#define STOA_NODE_ARCHIVE_BACKUP_H

#include "node/archive/catalog.h"
#include "node/archive/handover.h"
#include "runtime/node.h"
#include "storage/archive/archive.h"

typedef struct stoa_backup_source {
    const char *name;
    stoa_journal *journal;
    stoa_shard *shard; /* NULL: it does not run, and nobody writes to the journal */
    stoa_archive *archive; /* the node's, for its snapshots; NULL: there is none */
    stoa_handover *work; /* held by who seals, purges and forgets of it; NULL: nobody does */
} stoa_backup_source;

typedef struct stoa_backup {
    const char *folder, *node_name;
    const stoa_backup_source *sources;
    uint32_t source_count;
    const stoa_kind *const *kinds;
    const stoa_keyring *keys; /* NULL: nothing is sealed */
    stoa_hash256 settings; /* fingerprint */
    uint64_t segment_bytes; /* 0: the archive's */
    stoa_clock *clock;     /* NULL: the machine's */
} stoa_backup;

/* What a backup would do, or did, with one shard. */
typedef struct stoa_backup_step {
    const char *shard;
    uint64_t held, sealed, last; /* positions: that the folder had; for good; now (plan: that the log has) */
    uint64_t first;                 /* position that the backup begins with */
    uint64_t snapshot;              /* where the first one stands that it has; 0: none. Plan: none is needed */
    uint32_t segments, snapshots;
    uint64_t raw_bytes, file_bytes; /* of all segments; file_bytes of snapshots, too */
} stoa_backup_step;

/* steps: one for each source, in their order. Errors: DENIED (another one writes there), FORKED (the
 * folder is of another log, or of one that lost its end), GAP (the log's beginning is gone and no snapshot stands for it; or it is gone
 * further than the folder goes: a backup into a new one is possible), NOT_FOUND (the folder's older backup has a shard that is not among
 * the sources), VERSION (the older one is of a later format), CORRUPT, SEALED (that snapshot is sealed with a key that is not at
 * hand), IO, FULL, what progress returns. */
stoa_err stoa_backup_run(const stoa_backup *backup, const stoa_progress_to *progress, stoa_backup_step *steps);

/* The same, and nothing is written: last is what the logs have. */
stoa_err stoa_backup_plan(const stoa_backup *backup, stoa_backup_step *steps);

/* Read everything in the folder and compare it with manifests and catalogue. catalog_out and steps (one for each of its shards)
 * are filled as far as it came. Errors: NOT_FOUND (no backup), GAP (also: nothing stands for a beginning that is gone), CORRUPT, FORKED, VERSION, IO; the trail names file and shard. */
stoa_err stoa_backup_verify(const char *folder, const stoa_progress_to *progress, stoa_catalog *catalog_out,
                            stoa_backup_step steps[STOA_CATALOG_SHARDS]);

#endif
