/* isolate/warden.c - see warden.h.
 *
 * One lock guards the list and what a ward's state is; it is not held while a process is started. Ends are looked for, not waited for, one
 * look a millisecond, so that one child that does not end keeps no other from it.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "runtime/isolate/warden.h"

#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/log.h"
#include "runtime/internal.h"

enum { LOOK_NS = 1000000, CLOSE_LOOKS = 5000 };

typedef enum state { ORDERED, STARTING, LIVES, ENDED } state;

struct stoa_ward {
    stoa_warden *warden;
    stoa_ward *next;
    state state;
    bool released;
    stoa_isolate_process process; /* from LIVES on */
    const char *why; /* ENDED */
    stoa_isolate_order order;
};

struct stoa_warden {
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t changed; /* monotonic */
    stoa_ward *wards;       /* the latest first */
    uint32_t count;
    bool closing;
};

/* --- the thread */

static stoa_ward *next_ordered(stoa_warden *warden)
{
    stoa_ward *found = NULL; /* the oldest */
    for (stoa_ward *ward = warden->wards; ward; ward = ward->next) {
        if (ward->state == ORDERED && !ward->released) { found = ward; }
    }
    return found;
}

static void start(stoa_warden *warden, stoa_ward *ward)
{
    stoa_isolate_process process = {.fd = -1};
    ward->state = STARTING;
    (void)pthread_mutex_unlock(&warden->lock);
    int rc = stoa_isolate_process_spawn(&ward->order, &process);
    if (rc) { stoa_log(STOA_LOG_WARN, "isolate_not_started", STOA_KV("host", ward->order.path), STOA_KV("error", strerror(rc))); }
    (void)pthread_mutex_lock(&warden->lock);
    ward->process = process;
    ward->state = rc ? ENDED : LIVES;
    ward->why = "isolate: it cannot be started";
    if (!rc && ward->released) { stoa_isolate_process_kill(&process); }
}

static bool over(stoa_ward *ward)
{
    if (ward->state == LIVES && stoa_isolate_process_ended(&ward->process, &ward->why)) { ward->state = ENDED; }
    return ward->state == ENDED || ward->state == ORDERED;
}

/* Forget the released ones that are over; false: some are not. */
static bool clear(stoa_warden *warden)
{
    bool all = true;
    for (stoa_ward **at = &warden->wards; *at;) {
        stoa_ward *ward = *at;
        if (!ward->released || !over(ward)) {
            all = all && !ward->released;
            at = &ward->next;
            continue;
        }
        *at = ward->next;
        warden->count--;
        if (ward->order.socket >= 0) { (void)close(ward->order.socket); }
        free(ward);
    }
    return all;
}

static void *run(void *context)
{
    stoa_warden *warden = context;
    (void)pthread_mutex_lock(&warden->lock);
    for (int looks = 0; looks < CLOSE_LOOKS;) {
        stoa_ward *ward = next_ordered(warden);
        if (ward) {
            start(warden, ward);
            continue;
        }
        bool cleared = clear(warden);
        if (warden->closing && !warden->wards) { break; }
        looks += warden->closing;
        if (cleared && !warden->closing) {
            (void)pthread_cond_wait(&warden->changed, &warden->lock);
            continue;
        }
        struct timespec until;
        (void)clock_gettime(CLOCK_MONOTONIC, &until);
        until.tv_nsec += LOOK_NS;
        if (until.tv_nsec >= 1000000000) {
            until.tv_nsec -= 1000000000;
            until.tv_sec++;
        }
        (void)pthread_cond_timedwait(&warden->changed, &warden->lock, &until);
    }
    (void)pthread_mutex_unlock(&warden->lock);
    return NULL;
}

/* --- its beginning and its end */

static int start_thread(stoa_warden *warden)
{
    sigset_t all, before; /* an embedding program keeps its signals */
    (void)sigfillset(&all);
    (void)pthread_sigmask(SIG_BLOCK, &all, &before);
    int rc = pthread_create(&warden->thread, NULL, run, warden);
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (rc) { return rc; }
    (void)pthread_setname_np(warden->thread, "stoa-warden");
    (void)pthread_setschedparam(warden->thread, SCHED_BATCH, &(struct sched_param){0}); /* its waking pushes no core aside */
    return 0;
}

static stoa_warden *warden_new(void)
{
    stoa_warden *warden = calloc(1, sizeof *warden);
    pthread_condattr_t how;
    if (!warden) { return NULL; }
    (void)pthread_condattr_init(&how);
    (void)pthread_condattr_setclock(&how, CLOCK_MONOTONIC);
    (void)pthread_cond_init(&warden->changed, &how);
    (void)pthread_condattr_destroy(&how);
    (void)pthread_mutex_init(&warden->lock, NULL);
    if (start_thread(warden) == 0) { return warden; }
    (void)pthread_mutex_destroy(&warden->lock);
    (void)pthread_cond_destroy(&warden->changed);
    free(warden);
    return NULL;
}

static stoa_warden *warden_of(stoa_node *node)
{
    static pthread_mutex_t making = PTHREAD_MUTEX_INITIALIZER;
    (void)pthread_mutex_lock(&making);
    if (!node->warden) { node->warden = warden_new(); }
    stoa_warden *warden = node->warden;
    (void)pthread_mutex_unlock(&making);
    return warden;
}

void stoa_warden_close(stoa_warden *warden)
{
    if (!warden) { return; }
    (void)pthread_mutex_lock(&warden->lock);
    warden->closing = true;
    (void)pthread_cond_signal(&warden->changed);
    (void)pthread_mutex_unlock(&warden->lock);
    (void)pthread_join(warden->thread, NULL);
    if (warden->count) { stoa_log(STOA_LOG_ERROR, "isolate_left", STOA_KU("children", warden->count)); }
    while (warden->wards) {
        stoa_ward *ward = warden->wards;
        warden->wards = ward->next;
        if (ward->state == LIVES) { (void)close(ward->process.fd); }
        free(ward);
    }
    (void)pthread_mutex_destroy(&warden->lock);
    (void)pthread_cond_destroy(&warden->changed);
    free(warden);
}

/* --- wards */

stoa_err stoa_warden_order(stoa_node *node, const stoa_isolate *isolate, stoa_ward **ward_out, int *socket_out)
{
    stoa_warden *warden = warden_of(node);
    stoa_ward *ward = warden ? calloc(1, sizeof *ward) : NULL;
    if (!ward) { return STOA_FAIL(STOA_E_NOMEM, "no memory for an isolate, or no thread"); }
    ward->warden = warden;
    stoa_err err = stoa_isolate_process_order(isolate, &ward->order, socket_out);
    if (err) {
        free(ward);
        return err;
    }
    (void)pthread_mutex_lock(&warden->lock);
    bool full = warden->count == STOA_WARDS_MAX;
    if (!full) {
        warden->count++;
        ward->next = warden->wards;
        warden->wards = ward;
        (void)pthread_cond_signal(&warden->changed);
    }
    (void)pthread_mutex_unlock(&warden->lock);
    if (full) {
        (void)close(*socket_out);
        (void)close(ward->order.socket);
        free(ward);
        return STOA_FAIL(STOA_E_FULL, "%d isolates", STOA_WARDS_MAX);
    }
    *ward_out = ward;
    return STOA_OK;
}

pid_t stoa_ward_pid(stoa_ward *ward)
{
    (void)pthread_mutex_lock(&ward->warden->lock);
    pid_t pid = ward->process.pid;
    (void)pthread_mutex_unlock(&ward->warden->lock);
    return pid;
}

bool stoa_ward_ended(stoa_ward *ward, const char **why_out)
{
    (void)pthread_mutex_lock(&ward->warden->lock);
    bool ended = over(ward) && ward->state == ENDED;
    if (ended) { *why_out = ward->why; }
    (void)pthread_mutex_unlock(&ward->warden->lock);
    return ended;
}

void stoa_ward_release(stoa_ward *ward)
{
    if (!ward) { return; }
    stoa_warden *warden = ward->warden;
    (void)pthread_mutex_lock(&warden->lock);
    ward->released = true;
    if (ward->state == LIVES) { stoa_isolate_process_kill(&ward->process); }
    (void)pthread_cond_signal(&warden->changed);
    (void)pthread_mutex_unlock(&warden->lock);
}
