/* policy.h - how long what is kept where: hot in the journal, warm in the archive, cold in another folder and packed harder, then
 * only kept, then over.
 *
 * One row per class of stream. What a log has leaves it, and its archive, block by block: where a shard's log has more than one class
 * - that of trade has orders and the executions that follow from them, in one block - each tier ends when the last of them says so.
 * Market data is in no log; its rows in PostgreSQL go when projection.keep_market says so. The times are ages of the youngest event
 * of a segment, each tier's end counted from the event on. What is due is found by a pure function of manifest, policy, readers
 * and time; the keeper (node/archive/keeper.h) does it, and `--plan` shows it.
 *
 * What holds whatever the times are: blocks leave the journal only below a snapshot that verified, and is there now, when they are in a sealed
 * segment and every reader has passed them; segments are forgotten only where the policy says so at all, below a snapshot, when
 * the journal and every reader are behind them, and never the last one. What is forgotten ends below a snapshot that lies in the
 * archive and is so old itself that all behind it may be wanted: whatever the policy still keeps can be restored. So the archive
 * takes a snapshot whenever more was sealed behind its last one than that has, or what was is a quarter of the archive's time old. A hold
 * stops all of it, and moves between tiers, too.
 *
 * A log's end never goes, nor what is behind the oldest snapshot that is kept, and both stand still where nobody writes. So that what is over
 * goes from a silent log, too, no-ops (stoa_shard_noop) move it on, each behind a snapshot of the one before and in a step of the keeper of its
 * own: as many as snapshots are kept. So an event is gone from log and archive at the age of 5/4 archive + 2 hot + for each snapshot kept the
 * time between two of them or the keeper's interval, whichever is longer + ten such intervals, where readers, holds and faults let it: a
 * quarter until its archive takes a snapshot behind it, hot until it is sealed, hot until that snapshot's block is, or the no-op.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef STOA_NODE_ARCHIVE_POLICY_H
#define STOA_NODE_ARCHIVE_POLICY_H

#include <stdbool.h>
#include <stdint.h>

#include "storage/archive/manifest.h"

/* In seconds: the ends of hot, warm, cold, archive. */
#define STOA_RETENTION_CLASSES(CLASS)                                                                                  \
    CLASS(orders, 3600, 7776000, 220752000, 315360000, "Orders, accounts and what settles them.")                      \
    CLASS(trades, 3600, 7776000, 220752000, 315360000, "Executions.")                                                  \
    CLASS(chat, 3600, 7776000, 220752000, 315360000, "Rooms and what is said in them.")

typedef enum stoa_retention_class {
#define STOA_RETENTION_CLASS_(name, hot, warm, cold, archive, doc) STOA_RETENTION_##name,
    STOA_RETENTION_CLASSES(STOA_RETENTION_CLASS_) STOA_RETENTION_COUNT
#undef STOA_RETENTION_CLASS_
} stoa_retention_class;
const char *stoa_retention_name(stoa_retention_class cls);

typedef struct stoa_retention {
    uint64_t hot_ns, warm_ns, cold_ns, archive_ns; /* ages at which the tiers end */
    bool expire;                                   /* behind archive: forget; else keep */
} stoa_retention;

/* What a shard's log has first of all, by the shard's name: the class that its archive is called by. */
stoa_retention_class stoa_retention_class_of(const char *shard);
/* How long that log is kept, as the rows of all the classes that it has say. expire: as in the first one's. */
stoa_retention stoa_retention_of(const char *shard, const stoa_retention rows[STOA_RETENTION_COUNT]);

/* What the policy is applied to. */
typedef struct stoa_retained {
    const stoa_manifest *manifest;
    uint64_t now_ns;    /* wall */
    uint64_t log_first; /* first position that the journal has */
    uint64_t log_mark;  /* its commit mark: the block there stays whatever its age */
    uint64_t floor;     /* the lowest position of all readers (runtime/readers.h) */
    uint64_t snapshot;  /* where the oldest snapshot kept stands that verifies; 0: none */
} stoa_retained;

typedef struct stoa_due {
    uint64_t purge_below; /* purge the journal below; 0: nothing */
    uint32_t move;        /* the first segment to be moved; manifest->count: none */
    stoa_tier tier;       /* ... to */
    uint32_t expire;      /* forget so many segments from the beginning */
    bool snapshot;        /* take one into the archive, if the journal has a newer one */
    bool noop;            /* have the log go on, where its newest snapshot stands at its end */
} stoa_due;

void stoa_retention_due(const stoa_retention *retention, const stoa_retained *retained, stoa_due *out);

/* What keeps the journal from being purged further, for people. Static. */
const char *stoa_retention_why_not(const stoa_retention *retention, const stoa_retained *retained);

/* What keeps the archive's first segments from being forgotten, for people. Static. */
const char *stoa_retention_why_kept(const stoa_retention *retention, const stoa_retained *retained);

/* The tier that a segment of that age belongs to. */
stoa_tier stoa_retention_tier(const stoa_retention *retention, uint64_t age_ns);

#endif
