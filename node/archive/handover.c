/* handover.c - node/archive/handover.h.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "node/archive/handover.h"

#include <time.h>

#include "base/clock.h"

void stoa_handover_init(stoa_handover *h)
{
    pthread_condattr_t attributes;
    *h = (stoa_handover){.held = false};
    (void)pthread_mutex_init(&h->lock, NULL);
    (void)pthread_condattr_init(&attributes);
    (void)pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    (void)pthread_cond_init(&h->moved, &attributes);
    (void)pthread_condattr_destroy(&attributes);
}

void stoa_handover_deinit(stoa_handover *h)
{
    (void)pthread_cond_destroy(&h->moved);
    (void)pthread_mutex_destroy(&h->lock);
}

/* Whether it is the worker's turn before that of who comes now. */
static bool worker_is_next(const stoa_handover *h)
{
    return h->after > 0 && h->ended + 1 >= h->after;
}

bool stoa_handover_take(stoa_handover *h, uint64_t timeout_ns)
{
    uint64_t until = stoa_clock_real.now_ns(&stoa_clock_real) + (timeout_ns < UINT64_MAX / 4 ? timeout_ns : UINT64_MAX / 4);
    struct timespec time = {.tv_sec = (time_t)(until / 1000000000), .tv_nsec = (long)(until % 1000000000)};
    int waited = 0;
    (void)pthread_mutex_lock(&h->lock);
    h->waiting++;
    while ((h->held || worker_is_next(h)) && waited == 0) {
        waited = pthread_cond_timedwait(&h->moved, &h->lock, &time);
    }
    bool taken = !h->held && !worker_is_next(h);
    h->held |= taken;
    h->waiting--;
    h->ended++;
    (void)pthread_cond_broadcast(&h->moved);
    (void)pthread_mutex_unlock(&h->lock);
    return taken;
}

void stoa_handover_take_after(stoa_handover *h)
{
    (void)pthread_mutex_lock(&h->lock);
    h->after = h->ended + h->waiting + 1;
    while (h->held || h->ended + 1 < h->after) { (void)pthread_cond_wait(&h->moved, &h->lock); }
    h->after = 0;
    h->held = true;
    (void)pthread_mutex_unlock(&h->lock);
}

void stoa_handover_give(stoa_handover *h)
{
    (void)pthread_mutex_lock(&h->lock);
    h->held = false;
    (void)pthread_cond_broadcast(&h->moved);
    (void)pthread_mutex_unlock(&h->lock);
}

uint32_t stoa_handover_waiting(stoa_handover *h)
{
    (void)pthread_mutex_lock(&h->lock);
    uint32_t waiting = h->waiting;
    (void)pthread_mutex_unlock(&h->lock);
    return waiting;
}
