/* follower.c - the thread that follows the shards of a node (follow.h), and what others ask of it.
 *
 * It looks ten times a second, and goes on without a pause while anything is due. Its thread is one of the background: who turns comes first.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/priority.h"
#include "base/signals.h"
#include "runtime/follow.h"
#include "runtime/internal.h"
#include "runtime/shard.h"

enum { LOOK_MS = 100 };

struct stoa_follower {
    stoa_node *node;
    pthread_mutex_t lock;
    pthread_cond_t wake, stepped;
    stoa_follow *follows[STOA_COUNT_OF_(((stoa_node *)0)->shards)]; /* below count they do not change */
    uint32_t count;
    bool quit, woken;
    bool threaded;
    pthread_t thread;
};

static struct timespec in_ns(uint64_t ns)
{
    struct timespec at;
    (void)clock_gettime(CLOCK_MONOTONIC, &at);
    uint64_t then = stoa_time_after((uint64_t)at.tv_sec * UINT64_C(1000000000) + (uint64_t)at.tv_nsec, ns);
    return (struct timespec){.tv_sec = (time_t)(then / 1000000000), .tv_nsec = (long)(then % 1000000000)};
}

/* How many there are to follow; 0: it is to end. */
static uint32_t wait_for_work(struct stoa_follower *follower, bool any)
{
    struct timespec until = in_ns(STOA_MS(LOOK_MS));
    (void)pthread_mutex_lock(&follower->lock);
    (void)pthread_cond_broadcast(&follower->stepped);
    if (!any && !follower->quit && !follower->woken) {
        (void)pthread_cond_clockwait(&follower->wake, &follower->lock, CLOCK_MONOTONIC, &until);
    }
    follower->woken = false;
    uint32_t count = follower->quit ? 0 : follower->count;
    (void)pthread_mutex_unlock(&follower->lock);
    return count;
}

static void *follower_main(void *argument)
{
    struct stoa_follower *follower = argument;
    stoa_clock *clock = follower->node->clock;
    stoa_priority_background();
    bool any = true;
    for (uint32_t count; (count = wait_for_work(follower, any)) != 0;) {
        any = false;
        for (uint32_t i = 0; i < count; i++) {
            uint64_t now = clock->now_ns(clock);
            if (!stoa_follow_due(follower->follows[i], now)) { continue; }
            stoa_follow_step(follower->follows[i], now);
            any = true;
        }
    }
    return NULL;
}

static stoa_err begin(stoa_node *node)
{
    struct stoa_follower *follower = calloc(1, sizeof *follower);
    if (!follower) { return STOA_FAIL(STOA_E_NOMEM, "follower"); }
    follower->node = node;
    (void)pthread_mutex_init(&follower->lock, NULL);
    (void)pthread_cond_init(&follower->wake, NULL);
    (void)pthread_cond_init(&follower->stepped, NULL);
    node->follower = follower;
    return STOA_OK;
}

static stoa_err begin_thread(struct stoa_follower *follower)
{
    sigset_t before;
    if (follower->threaded || follower->node->options.sim) { return STOA_OK; }
    stoa_signals_hold(&before);
    int failed = pthread_create(&follower->thread, NULL, follower_main, follower);
    stoa_signals_release(&before);
    if (failed) { return STOA_FAIL(STOA_E_IO, "follower's thread: %s", strerror(failed)); }
    (void)pthread_setname_np(follower->thread, "stoa-follower");
    follower->threaded = true;
    return STOA_OK;
}

static stoa_err add(stoa_node *node, struct stoa_shard *shard)
{
    stoa_err err = node->follower ? STOA_OK : begin(node);
    if (!err) { err = stoa_follow_new(shard, &shard->follow); }
    if (err) { return err; }
    struct stoa_follower *follower = node->follower;
    (void)pthread_mutex_lock(&follower->lock);
    follower->follows[follower->count++] = shard->follow;
    follower->woken = true;
    (void)pthread_cond_signal(&follower->wake);
    (void)pthread_mutex_unlock(&follower->lock);
    err = begin_thread(follower);
    if (err) { /* nobody has looked at it */
        follower->count--;
        stoa_follow_free(shard->follow);
        shard->follow = NULL;
    }
    return err;
}

stoa_err stoa_follower_add(stoa_node *node, struct stoa_shard *shard)
{
    if (!shard->journal || (!node->options.snapshot_events && !node->options.snapshot_ns)) { return STOA_OK; }
    (void)pthread_mutex_lock(&node->lock);
    stoa_err err = add(node, shard);
    (void)pthread_mutex_unlock(&node->lock);
    return err;
}

void stoa_follower_wake(stoa_node *node)
{
    struct stoa_follower *follower = node->follower;
    (void)pthread_mutex_lock(&follower->lock);
    follower->woken = true;
    (void)pthread_cond_signal(&follower->wake);
    (void)pthread_mutex_unlock(&follower->lock);
}

void stoa_follower_stop(stoa_node *node)
{
    struct stoa_follower *follower = node->follower;
    if (!follower) { return; }
    (void)pthread_mutex_lock(&follower->lock);
    follower->quit = true;
    (void)pthread_cond_signal(&follower->wake);
    (void)pthread_mutex_unlock(&follower->lock);
    if (follower->threaded) { (void)pthread_join(follower->thread, NULL); }
    for (uint32_t i = 0; i < follower->count; i++) { stoa_follow_free(follower->follows[i]); }
    for (uint32_t i = 0; i < node->shard_count; i++) { node->shards[i]->follow = NULL; }
    (void)pthread_mutex_destroy(&follower->lock);
    (void)pthread_cond_destroy(&follower->wake);
    (void)pthread_cond_destroy(&follower->stepped);
    free(follower);
    node->follower = NULL;
}

/* --- what others ask */

stoa_err stoa_shard_following(stoa_shard *shard, stoa_following_view *out)
{
    if (!shard->follow) { return STOA_FAIL(STOA_E_UNSUPPORTED, "no snapshots are made of shard %s", shard->name); }
    stoa_follow_look(shard->follow, out);
    return STOA_OK;
}

/* Until the follower has answered, or it is too late. */
static void wait_for_answer(stoa_shard *shard, uint64_t timeout_ns)
{
    stoa_node *node = shard->node;
    struct stoa_follower *follower = node->follower;
    if (node->options.sim) {
        uint64_t late_ns = stoa_time_after(node->clock->now_ns(node->clock), timeout_ns);
        while (!stoa_follow_answered(shard->follow) && node->clock->now_ns(node->clock) < late_ns &&
               stoa_sim_step_for_call(node->options.sim)) {}
        return;
    }
    struct timespec until = in_ns(timeout_ns);
    int late = 0;
    stoa_follower_wake(node);
    (void)pthread_mutex_lock(&follower->lock);
    while (!stoa_follow_answered(shard->follow) && !late) {
        late = pthread_cond_clockwait(&follower->stepped, &follower->lock, CLOCK_MONOTONIC, &until);
    }
    (void)pthread_mutex_unlock(&follower->lock);
}

stoa_err stoa_shard_snapshot(stoa_shard *shard, uint64_t timeout_ns, stoa_following_view *out)
{
    stoa_following_view before;
    stoa_err err = stoa_shard_following(shard, &before);
    if (err) { return err; }
    stoa_follow_ask(shard->follow);
    wait_for_answer(shard, timeout_ns);
    stoa_follow_look(shard->follow, out);
    if (!stoa_follow_answered(shard->follow)) { return STOA_FAIL(STOA_E_TIMEOUT, "the snapshot of %s is still under way", shard->name); }
    bool failed = out->failures != before.failures || strcmp(out->phase, "failed") == 0;
    return failed ? STOA_FAIL(STOA_E_FAILED, "no snapshot of %s could be made; the log says why", shard->name) : STOA_OK;
}

typedef struct showing {
    void (*visit)(void *context, const stoa_snapshot_view *view);
    void *context;
} showing;

static void show(void *context, const stoa_snapshot_info *info)
{
    const showing *s = context;
    stoa_snapshot_view view = {.position = info->position, .epoch = info->epoch, .wall_ns = info->wall_ns,
                               .chunks = info->chunks, .bytes = info->bytes, .hash = info->hash};
    s->visit(s->context, &view);
}

stoa_err stoa_shard_snapshots(stoa_shard *shard, void (*visit)(void *context, const stoa_snapshot_view *view), void *context)
{
    if (!shard->journal) { return STOA_FAIL(STOA_E_UNSUPPORTED, "shard %s has no journal", shard->name); }
    return stoa_snapshots_visit(shard->journal, show, &(showing){visit, context});
}
