/* job.c - node/archive/job.h.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "node/archive/job.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/signals.h"

static uint64_t now_ns(void)
{
    return stoa_clock_real.now_ns(&stoa_clock_real);
}

void stoa_job_init(stoa_job *job)
{
    pthread_condattr_t attributes;
    memset(job, 0, sizeof *job);
    (void)pthread_mutex_init(&job->lock, NULL);
    (void)pthread_condattr_init(&attributes);
    (void)pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    (void)pthread_cond_init(&job->ended, &attributes);
    (void)pthread_condattr_destroy(&attributes);
}

static void join(stoa_job *job)
{
    if (job->started) { (void)pthread_join(job->thread, NULL); }
    job->started = false;
    free(job->argument);
    job->argument = NULL;
}

void stoa_job_deinit(stoa_job *job)
{
    (void)pthread_mutex_lock(&job->lock);
    job->cancel = true;
    (void)pthread_mutex_unlock(&job->lock);
    join(job);
    (void)pthread_cond_destroy(&job->ended);
    (void)pthread_mutex_destroy(&job->lock);
}

static stoa_err tell(void *context, const stoa_progress *progress)
{
    stoa_job *job = context;
    stoa_job_view *view = &job->view;
    (void)pthread_mutex_lock(&job->lock);
    if (strcmp(view->step, progress->step) != 0 || strcmp(view->shard, progress->shard) != 0) {
        (void)snprintf(view->step, sizeof view->step, "%s", progress->step);
        (void)snprintf(view->shard, sizeof view->shard, "%s", progress->shard);
        job->step_began_ns = now_ns();
    }
    view->position = progress->position;
    view->last = progress->last;
    view->raw_bytes = progress->raw_bytes;
    bool cancel = job->cancel;
    (void)pthread_mutex_unlock(&job->lock);
    return cancel ? STOA_FAIL(STOA_E_CANCELLED, "the node is ending") : STOA_OK;
}

static void *job_main(void *argument)
{
    stoa_job *job = argument;
    stoa_err err = job->run(job->argument, &(const stoa_progress_to){.tell = tell, .context = job});
    if (err) { stoa_log_error("job_failed", err); }
    (void)pthread_mutex_lock(&job->lock);
    job->view.err = err;
    if (err) { (void)snprintf(job->view.trail, sizeof job->view.trail, "%s", stoa_err_trail()); }
    job->view.running = false;
    job->ended_ns = now_ns();
    (void)pthread_cond_broadcast(&job->ended);
    (void)pthread_mutex_unlock(&job->lock);
    return NULL;
}

static stoa_err begin(stoa_job *job, const char *what, stoa_job_run run, void *argument)
{
    sigset_t before;
    join(job); /* it has ended, and needs the lock no more */
    job->run = run;
    job->began_ns = job->step_began_ns = now_ns();
    job->argument = argument;
    stoa_signals_hold(&before);
    int failed = pthread_create(&job->thread, NULL, job_main, job);
    stoa_signals_release(&before);
    job->started = !failed;
    job->view = failed ? (stoa_job_view){0} : (stoa_job_view){.what = what, .running = true};
    if (failed) { job->argument = NULL; }
    return failed ? STOA_FAIL(STOA_E_IO, "thread: %s", strerror(failed)) : STOA_OK;
}

stoa_err stoa_job_start(stoa_job *job, const char *what, stoa_job_run run, void *argument)
{
    (void)pthread_mutex_lock(&job->lock);
    stoa_err err = job->view.running ? STOA_FAIL(STOA_E_EXISTS, "a %s is under way", job->view.what) : begin(job, what, run, argument);
    (void)pthread_mutex_unlock(&job->lock);
    return err;
}

bool stoa_job_wait(stoa_job *job, uint64_t timeout_ns)
{
    uint64_t until = now_ns() + timeout_ns;
    struct timespec time = {.tv_sec = (time_t)(until / 1000000000), .tv_nsec = (long)(until % 1000000000)};
    int waited = 0;
    (void)pthread_mutex_lock(&job->lock);
    while (job->view.running && waited == 0) { waited = pthread_cond_timedwait(&job->ended, &job->lock, &time); }
    bool over = !job->view.running;
    (void)pthread_mutex_unlock(&job->lock);
    return over;
}

void stoa_job_look(stoa_job *job, stoa_job_view *out)
{
    (void)pthread_mutex_lock(&job->lock);
    uint64_t now = job->view.running ? now_ns() : job->ended_ns;
    *out = job->view;
    out->step_ns = now - job->step_began_ns;
    out->total_ns = now - job->began_ns;
    (void)pthread_mutex_unlock(&job->lock);
}

bool stoa_job_results(stoa_job *job, const char *what, void (*look)(void *context, const void *argument), void *context)
{
    (void)pthread_mutex_lock(&job->lock);
    bool there = !job->view.running && job->argument && (!what || strcmp(what, job->view.what) == 0);
    if (there) { look(context, job->argument); }
    (void)pthread_mutex_unlock(&job->lock);
    return there;
}
