/* archives.h - the archives of a node's shards: opened in front of their journals, kept by one thread, backed up and restored
 * by one job at a time.
 *
 *     stoa_archives_new        from the settings, before the shards
 *     stoa_archives_front      as each shard opens: its archive goes in front of its journal
 *     stoa_archives_start      the shards are there: the keeper begins
 *     stoa_archives_stop       before the shards go
 *     stoa_archives_free       after them
 *
 * Once an interval all shards are stepped. What then has more to move is stepped again at once, until nothing is due; the others, and
 * those whose step failed, wait for the next interval. Between two steps those come in who want a shard (take, a backup).
 *
 * An archive that cannot be opened, or is of another history than the log (storage/archive/seam.h), does not keep the node from running: it is logged as archive_unavailable, shown, and that
 * shard's log is neither archived nor purged until the node starts with it in order. A restored log that begins behind an anchor begins
 * its archive there. Where a beginning has expired and the journal's own snapshots are lost or broken, the archive's goes in their place.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef STOA_NODE_ARCHIVE_ARCHIVES_H
#define STOA_NODE_ARCHIVE_ARCHIVES_H

#include "base/metrics.h"
#include "node/archive/backup.h"
#include "node/archive/job.h"
#include "node/archive/keeper.h"
#include "node/settings.h"

enum { STOA_ARCHIVES_MAX = STOA_CATALOG_SHARDS };

typedef struct stoa_archives_shard {
    char name[STOA_CATALOG_NAME + 1];
    struct stoa_archives *archives;
    stoa_archive *archive; /* NULL: unavailable */
    stoa_shard *shard;
    stoa_handover work;    /* who writes to the archive */
    stoa_keeper keeper;    /* under work */
    bool again;            /* it has more to move, and its last step did not fail; the keeper's thread's */
    stoa_counter *sealed, *first, *errors, *unavailable; /* metrics */
    char fault[512];       /* why it is unavailable, or what the last step failed with; under work */
} stoa_archives_shard;

typedef struct stoa_archives stoa_archives;

/* settings must outlive it. *out is NULL where archive.interval is 0: none are kept. Errors: NOMEM. */
stoa_err stoa_archives_new(const stoa_settings *settings, stoa_metrics *metrics, stoa_archives **out);

/* What a shard of that name is opened with: its options' front and front_context. */
stoa_archives_shard *stoa_archives_of(stoa_archives *archives, const char *shard);
stoa_err stoa_archives_front(void *context, stoa_journal **journal);

/* The shard is open. Errors: the metrics'. */
stoa_err stoa_archives_attach(stoa_archives *archives, const char *name, stoa_shard *shard);
/* The same of a journal that no shard has open. */
stoa_err stoa_archives_attach_log(stoa_archives *archives, const char *name, stoa_journal *journal, stoa_readers *readers);
stoa_err stoa_archives_start(stoa_archives *archives);
/* NULL is allowed in both. */
void stoa_archives_stop(stoa_archives *archives);
void stoa_archives_free(stoa_archives *archives);

/* What the keeper does now; last is 0 where it is between two steps. */
void stoa_archives_progress(stoa_archives *archives, stoa_progress *out);

/* Let the keeper look at all shards now, and go on until nothing is due; whether it has within timeout_ns. It goes on where not. */
bool stoa_archives_run(stoa_archives *archives, uint64_t timeout_ns);

/* The i-th shard, with its work lock held on OK; NOT_FOUND behind the last, TIMEOUT where its keeper is busy. */
stoa_err stoa_archives_take(stoa_archives *archives, uint32_t index, uint64_t timeout_ns, stoa_archives_shard **out);
void stoa_archives_give(stoa_archives_shard *shard);

/* What a backup needs to know of a shard's archive; nothing where there is none, or it is unavailable. archives: NULL where none are
 * kept. */
void stoa_archives_source(stoa_archives *archives, stoa_backup_source *source);

/* In words, where the archive of a shard has a position that its log has not: the segment's file, or why there is none. archives:
 * NULL where none are kept. */
void stoa_archives_where(stoa_archives *archives, const char *shard, uint64_t position, stoa_buf *out);

#endif
