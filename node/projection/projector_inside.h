/* projector_inside.h - what the files of the projector share. Internal to node/projection/projector*.c.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef STOA_NODE_PROJECTION_PROJECTOR_INSIDE_H
#define STOA_NODE_PROJECTION_PROJECTOR_INSIDE_H

#include <pthread.h>
#include <stdatomic.h>

#include "node/projection/projector.h"
#include "runtime/log_reader.h"
#include "runtime/readers.h"

enum { PROJECTOR_ERROR_MAX = 512, PROJECTOR_NAME_MAX = 64 };

/* How far one target is in one shard's log; the thread's own. */
typedef struct projector_way {
    uint32_t step;         /* events of the next batch, at most */
    uint64_t careful_until; /* smaller batches up to here: something in them could not be written */
    bool checked;          /* the cursor's mark is that of our log */
    bool stopped;
    uint32_t slot;         /* among the log's readers */
    bool reading;
} projector_way;

typedef struct projector_shard {
    stoa_shard *shard;
    const char *name;
    stoa_log_reader *reader;
    projector_way live, shadow;
    uint64_t next_ns; /* monotonic: not before */
    _Atomic uint64_t position, rebuilt;
    _Atomic uint64_t event_ns;    /* wall, of the last event projected */
    _Atomic uint64_t level_ns;    /* monotonic: when it last had all */
    _Atomic uint64_t moved_ns;    /* monotonic: its last step */
    char error[PROJECTOR_ERROR_MAX]; /* lock */
    stoa_counter *metrics[6];
} projector_shard;

struct stoa_projector {
    stoa_projector_options options;
    stoa_target_options live_options, shadow_options;
    char schema[STOA_SCHEMA_NAME_MAX + 1], shadow_name[PROJECTOR_NAME_MAX], old_name[PROJECTOR_NAME_MAX];
    const char *names[STOA_TARGET_SHARDS_MAX];
    projector_shard shards[STOA_TARGET_SHARDS_MAX];
    int stop_fd;
    pthread_t thread;
    bool threaded;
    stoa_metrics *metrics;
    stoa_counter *events_total, *rows_total, *copied_total, *piped_total, *reconnects_total;

    /* the thread's own */
    stoa_target *live, *shadow;
    uint64_t retry_ns, backoff_ns, tidy_ns; /* monotonic */
    bool met; /* has written before */

    pthread_mutex_t lock;
    pthread_cond_t wake;
    bool quit, paused, retry, rebuild; /* lock; rebuild: wanted or under way */
    bool connected;
    char where[192], error[PROJECTOR_ERROR_MAX], rebuild_error[PROJECTOR_ERROR_MAX];
    uint64_t events, rows, batches, reconnects, rebuilds, rows_per_s, events_per_s;
};

uint64_t projector_now(void);

/* How one batch went (projector_step.c). */
typedef enum projector_outcome {
    PROJECTOR_NOTHING, /* nothing to do */
    PROJECTOR_MOVED,
    PROJECTOR_SMALLER, /* an event is guilty: open the target again, the next batch is smaller */
    PROJECTOR_GUILTY,  /* it is the first event of the batch: the trail has position and table */
    PROJECTOR_AWAY,    /* the server is away, full, refuses: time may heal it */
} projector_outcome;
/* What to do about a log that has lost what is to be read: GONE. */
#define PROJECTOR_GONE "the log was purged and its archive is not there; put that back (archive.path), or restore a backup"
/* One batch of a shard into a target. The trail says what went wrong. */
projector_outcome projector_step(stoa_projector *p, stoa_target *target, uint32_t shard);
/* The reader of the shard's log called name stands at position from now on; it may go back. */
void projector_read_from(projector_shard *shard, projector_way *way, const char *name, uint64_t position);
void projector_read_no_more(projector_shard *shard, projector_way *way);
/* Begin with whole batches at a cursor that was not looked at yet. */
void projector_way_begin(const stoa_projector *p, projector_way *way);
void projector_note(stoa_projector *p, char *text); /* the trail, into one of the texts under lock; NULL trail: "" */

/* The shadow: begin, fill, swap (projector_rebuild.c). Call again and again while a rebuild is wanted. SMALLER: close the
 * targets and open the live one again; GUILTY: the rebuild was given up. */
projector_outcome projector_rebuild_step(stoa_projector *p);
/* What a rebuild that ended with the node left behind. */
stoa_err projector_clear_leftovers(stoa_projector *p);

#endif
