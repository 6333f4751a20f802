/* keeper.h - the background job that seals, purges, moves and forgets, for one shard: a step at a time, under any clock.
 *
 * A step seals what fills segments, and the rest when its oldest event is no longer hot; then does what the policy says is due
 * (node/archive/policy.h), at most one move each step, and a snapshot where the archive wants one (not while it goes
 * on with moves at once); at last a no-op, where what is over waits for a silent log to go on. Before the journal is purged, the
 * segments that hold what goes are read again, file by file, and compared with the log: of another history's they are FORKED. An error
 * ends the step, is counted and told, and changes nothing else: the next step tries again; the shard never waits for its keeper.
 *
 * One thread at a time, never a core; blocks.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef STOA_NODE_ARCHIVE_KEEPER_H
#define STOA_NODE_ARCHIVE_KEEPER_H

#include "node/archive/policy.h"
#include "runtime/readers.h"
#include "storage/archive/archive.h"

typedef struct stoa_keeper {
    /* set by its owner */
    const char *shard;
    stoa_journal *journal;  /* the log, or with the archive in front of it */
    stoa_readers *readers;
    stoa_archive *archive;
    stoa_retention retention;
    uint64_t segment_bytes; /* of blocks, as the archive's */
    stoa_err (*noop)(void *context); /* append one to the log, as stoa_shard_noop; NULL: nobody writes it */
    void *noop_context;
    /* its own; zero at first */
    uint64_t seen, seen_bytes, oldest_ns; /* behind the sealed: looked at up to here; their bytes; first commit time */
    bool more; /* the last step moved a segment: another one may be due now. Its owner takes it back where the next one comes later */
    uint64_t steps, errors, sealed, purged, moved, expired, snapshot; /* counts; positions up to which; of the last one taken */
} stoa_keeper;

/* Errors: what archive and journal return. */
stoa_err stoa_keeper_step(stoa_keeper *keeper, uint64_t now_ns, const stoa_progress_to *progress);

/* What the next steps would do, as things are; manifest: a copy of the archive's, that *retained_out refers to. */
void stoa_keeper_plan(stoa_keeper *keeper, uint64_t now_ns, const stoa_manifest *manifest, stoa_retained *retained_out,
                      stoa_due *due_out);

#endif
