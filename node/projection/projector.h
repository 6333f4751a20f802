/* projector.h - keeps a PostgreSQL schema what the shards' logs say: a thread of its own, never a core.
 *
 * One projector writes all shards of a node, over one connection, shard after shard. It reads what is committed, batch by batch
 * (model.h, target.h), and is never waited for: when PostgreSQL is away the platform trades on, and the projection catches up.
 *
 *     live          has all that is committed, but for what came in the last moment
 *     catching_up   is behind by a batch or more, and moves
 *     waiting       PostgreSQL cannot be reached, or refuses (disk, rights): tried again, 0.1 to 5 s apart; last error says why
 *     paused        by command
 *     stopped       an event or a row cannot be written, by a reason that time does not heal: last error has position and table;
 *                   the other shards go on. `resume` tries again, `rebuild` begins anew
 *
 * behind (positions, and seconds: since when the oldest event waits) says how slow; quiet (seconds without a step while behind)
 * tells slow from stuck.
 *
 * A batch that cannot be written is tried again in ever smaller ones, so that everything before the guilty event is written and
 * its position known.
 *
 * A rebuild fills the schema SCHEMA_shadow from position 1 while the old one stays live; when both are at the same position one
 * statement swaps them. It goes on after PostgreSQL was away, and begins anew after the node was.
 *
 * Each shard's reader "projection" (runtime/readers.h) stands where the cursor is committed; before that is known, at 0.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef STOA_NODE_PROJECTION_PROJECTOR_H
#define STOA_NODE_PROJECTION_PROJECTOR_H

#include "base/metrics.h"
#include "node/projection/target.h"
#include "runtime/node.h"

typedef struct stoa_projector stoa_projector;

typedef struct stoa_projector_options {
    stoa_target_options target; /* shards, shard_count, schema, stop_fd, shadow: set by the projector */
    const char *schema;
    stoa_shard *const *shards;
    uint32_t shard_count;
    uint32_t batch;       /* events in one transaction, at most */
    uint64_t interval_ns; /* between two batches of a shard that has all */
    stoa_metrics *metrics;
} stoa_projector_options;

typedef enum stoa_projection_state {
    STOA_PROJECTION_LIVE,
    STOA_PROJECTION_CATCHING_UP,
    STOA_PROJECTION_WAITING,
    STOA_PROJECTION_PAUSED,
    STOA_PROJECTION_STOPPED,
} stoa_projection_state;
/* "live", "catching_up", ... */
const char *stoa_projection_state_name(stoa_projection_state state);

typedef struct stoa_projection_shard_view {
    const char *name;
    stoa_projection_state state;
    uint64_t position, durable, behind; /* positions; behind: durable - position */
    uint64_t behind_ns, quiet_ns;
    uint64_t rebuilt; /* position in the shadow */
    char error[512];  /* why it stopped */
} stoa_projection_shard_view;

typedef struct stoa_projection_view {
    const char *schema;
    char where[192];          /* "" while not connected */
    bool paused, connected, rebuilding;
    uint64_t events, rows, batches, reconnects, rebuilds;
    uint64_t rows_per_s;      /* of the last batches that were full */
    uint64_t events_per_s;
    char error[512], rebuild_error[512]; /* of the last failure; "" when things have gone well since */
    uint32_t shard_count;
    stoa_projection_shard_view shards[STOA_TARGET_SHARDS_MAX];
} stoa_projection_view;

/* Starts the thread; PostgreSQL need not be there. options and what they point to are copied but for names, clients, exchanges
 * and shards, which must outlive the projector. Errors: INVALID, NOMEM, IO; what stoa_readers_add returns. */
stoa_err stoa_projector_open(const stoa_projector_options *options, stoa_projector **out);
/* Ends a batch under way without committing it. NULL is allowed. */
void stoa_projector_close(stoa_projector *projector);

/* Any thread but a core. */
void stoa_projector_look(stoa_projector *projector, stoa_projection_view *out);
void stoa_projector_measure(stoa_projector *projector); /* bring the metrics up to date */
void stoa_projector_pause(stoa_projector *projector, bool pause);
/* Go on where it was paused, stopped or waits. */
void stoa_projector_retry(stoa_projector *projector);
/* Whether all logs can be read from position 1; GONE: they were purged and no archive stands before them. Reads one event each. */
stoa_err stoa_projector_can_rebuild(stoa_projector *projector);
/* Begin a rebuild. Errors: EXISTS (one is under way), what can_rebuild returns. */
stoa_err stoa_projector_rebuild(stoa_projector *projector);

#endif
