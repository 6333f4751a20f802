/* job.h - one long piece of work at a time, on a thread of its own, looked at while it runs: a backup, a restore.
 *
 * Any thread but a core. The work hears that it is to end from its progress, which returns CANCELLED then.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef STOA_NODE_ARCHIVE_JOB_H
#define STOA_NODE_ARCHIVE_JOB_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "storage/archive/archive.h"

typedef stoa_err (*stoa_job_run)(void *argument, const stoa_progress_to *progress);

typedef struct stoa_job_view {
    const char *what;            /* "backup"; NULL: there was none yet */
    bool running;
    char step[16], shard[STOA_SEGMENT_SHARD_MAX + 1];
    uint64_t position, last, raw_bytes; /* of the step under way */
    uint64_t step_ns, total_ns;  /* since the step began; since the work did, up to its end */
    stoa_err err;                /* when it has ended */
    char trail[512];
} stoa_job_view;

typedef struct stoa_job {
    pthread_mutex_t lock;
    pthread_cond_t ended;
    pthread_t thread;
    bool started, cancel; /* started: the thread is to be joined */
    stoa_job_run run;
    void *argument; /* the job's; freed when the next one starts */
    uint64_t began_ns, step_began_ns, ended_ns;
    stoa_job_view view;
} stoa_job;

void stoa_job_init(stoa_job *job);
/* Cancel, wait, release. */
void stoa_job_deinit(stoa_job *job);

/* what is static; argument is malloc'ed and the job's on OK. Errors: EXISTS (one runs), IO (thread). */
stoa_err stoa_job_start(stoa_job *job, const char *what, stoa_job_run run, void *argument);

/* Wait for its end, for so long at most; whether none runs. */
bool stoa_job_wait(stoa_job *job, uint64_t timeout_ns);

void stoa_job_look(stoa_job *job, stoa_job_view *out);

/* Look at what the last one was started with, for its results, if it was a what and has ended; whether it was. Under the lock. */
bool stoa_job_results(stoa_job *job, const char *what, void (*look)(void *context, const void *argument), void *context);

#endif
