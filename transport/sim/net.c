/* sim/net.c - networks of simulated links: who is where, and what is on its way to whom.
 *
 * A frame is a notice in its receiver's queue, ordered by when it is due; two notices of one direction of a connection are
 * never due in another order than they were sent. Each notice is allocated: this link is for tests and simulations.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "transport/sim/net.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/timerfd.h>

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static stoa_sim_net *nets;
static stoa_sim_net own_net = {.options.clock = &stoa_clock_real};

void stoa_sim_net_lock(void)
{
    STOA_ASSERT(pthread_mutex_lock(&lock) == 0);
}

void stoa_sim_net_unlock(void)
{
    STOA_ASSERT(pthread_mutex_unlock(&lock) == 0);
}

static uint64_t net_now(const stoa_sim_net *net)
{
    return net->options.clock->now_ns(net->options.clock);
}

uint64_t stoa_sim_end_now(const stoa_sim_end *end)
{
    return net_now(end->net);
}

/* --- networks */

static stoa_sim_net *net_find(const char *name, size_t name_bytes)
{
    stoa_sim_net *net = nets;
    while (net && (strlen(net->name) != name_bytes || memcmp(net->name, name, name_bytes) != 0)) {
        net = net->next;
    }
    return net;
}

stoa_err stoa_sim_net_new(const char *name, const stoa_sim_net_options *options, stoa_sim_net **out)
{
    size_t name_bytes = strlen(name);
    if (name_bytes == 0 || name_bytes > STOA_SIM_NET_NAME_MAX || strpbrk(name, "/?") || !options->clock ||
        options->delay_ns_max < options->delay_ns_min) {
        return STOA_FAIL(STOA_E_INVALID, "a network needs a name without / and ?, a clock, and delays in order");
    }
    stoa_sim_net *net = calloc(1, sizeof *net);
    if (!net) { return STOA_FAIL(STOA_E_NOMEM, "a simulated network"); }
    (void)snprintf(net->name, sizeof net->name, "%s", name);
    net->options = *options;
    stoa_random_seed(&net->random, options->seed);
    stoa_sim_net_lock();
    bool taken = net_find(name, name_bytes) != NULL;
    if (!taken) {
        net->next = nets;
        nets = net;
    }
    stoa_sim_net_unlock();
    if (taken) {
        free(net);
        return STOA_FAIL(STOA_E_EXISTS, "a simulated network %s is there", name);
    }
    *out = net;
    return STOA_OK;
}

void stoa_sim_net_free(stoa_sim_net *net)
{
    if (!net) { return; }
    STOA_ASSERT(net->end_count == 0);
    stoa_sim_net_lock();
    stoa_sim_net **at = &nets;
    while (*at != net) {
        at = &(*at)->next;
    }
    *at = net->next;
    stoa_sim_net_unlock();
    free(net);
}

static stoa_sim_end *listener_at(stoa_sim_net *net, const char *name)
{
    stoa_sim_end *end = net->ends;
    while (end && (!end->listens || strcmp(end->name, name) != 0)) {
        end = end->next;
    }
    return end;
}

uint64_t stoa_sim_net_next_ns(stoa_sim_net *net)
{
    uint64_t next_ns = UINT64_MAX;
    stoa_sim_net_lock();
    for (stoa_sim_end *end = net->ends; end; end = end->next) {
        if (end->first && end->first->due_ns < next_ns) { next_ns = end->first->due_ns; }
        bool dials = !end->listens && !end->halves && listener_at(net, end->name);
        if (dials && end->redial_ns < next_ns) { next_ns = end->redial_ns; }
    }
    stoa_sim_net_unlock();
    return next_ns;
}

/* --- waking */

static bool has_room(const stoa_sim_half *half)
{
    return !half->other || half->other->queued < half->end->queue_frames;
}

/* When end has something to do; UINT64_MAX: when somebody else does something. */
static uint64_t due(const stoa_sim_end *end)
{
    uint64_t at_ns = end->first ? end->first->due_ns : UINT64_MAX;
    for (const stoa_sim_half *half = end->halves; half; half = half->next) {
        if (half->wants_room && has_room(half)) { return 0; }
    }
    bool dials = !end->listens && !end->halves && listener_at(end->net, end->name);
    return dials && end->redial_ns < at_ns ? end->redial_ns : at_ns;
}

void stoa_sim_end_arm(stoa_sim_end *end)
{
    if (end->net != &own_net) { return; }
    uint64_t at_ns = due(end), now_ns = stoa_sim_end_now(end);
    if (at_ns <= now_ns) { at_ns = 0; }
    if (at_ns == end->armed_ns) { return; }
    end->armed_ns = at_ns;
    uint64_t wait_ns = at_ns == UINT64_MAX ? 0 : at_ns == 0 ? 1 : at_ns - now_ns;
    struct itimerspec when = {
        .it_value = {.tv_sec = (time_t)(wait_ns / STOA_S(1)), .tv_nsec = (long)(wait_ns % STOA_S(1))}};
    STOA_ASSERT(timerfd_settime(end->timer, 0, &when, NULL) == 0);
}

/* --- notices */

static void notice_free(stoa_sim_end *end, stoa_sim_notice *notice)
{
    *(notice->before ? &notice->before->next : &end->first) = notice->next;
    *(notice->next ? &notice->next->before : &end->last) = notice->before;
    if (notice->what == STOA_SIM_FRAME) { notice->half->queued--; }
    free(notice);
}

static void notice_queue(stoa_sim_end *end, stoa_sim_notice *notice)
{
    stoa_sim_notice *before = end->last;
    while (before && before->due_ns > notice->due_ns) {
        before = before->before;
    }
    notice->before = before;
    notice->next = before ? before->next : end->first;
    *(notice->before ? &notice->before->next : &end->first) = notice;
    *(notice->next ? &notice->next->before : &end->last) = notice;
    stoa_sim_end_arm(end);
}

/* When size_bytes more to that half have left the other side: one after the other where the network is not any fast. */
static uint64_t sent_ns(stoa_sim_half *half, uint64_t now_ns, uint32_t size_bytes)
{
    uint64_t bytes_per_s = half->end->net->options.bytes_per_s;
    if (bytes_per_s == 0 || size_bytes == 0) { return now_ns; }
    if (half->busy_ns < now_ns) { half->busy_ns = now_ns; }
    half->busy_ns += size_bytes * STOA_S(1) / bytes_per_s;
    return half->busy_ns;
}

/* To end, about half, which may be NULL. Errors: NOMEM. */
static stoa_err notify(stoa_sim_end *end, stoa_sim_half *half, stoa_sim_what_comes what, stoa_err why,
                       const void *bytes, uint32_t size_bytes)
{
    stoa_sim_notice *notice = malloc(sizeof *notice + size_bytes);
    if (!notice) { return STOA_E_NOMEM; }
    *notice = (stoa_sim_notice){.what = what, .half = half, .why = why, .size_bytes = size_bytes};
    if (size_bytes > 0) { memcpy(notice->bytes, bytes, size_bytes); }
    const stoa_sim_net_options *o = &end->net->options;
    uint64_t spread_ns = o->delay_ns_max - o->delay_ns_min;
    uint64_t delay_ns = o->delay_ns_min + (spread_ns ? stoa_random_below(&end->net->random, spread_ns + 1) : 0);
    notice->due_ns = stoa_sim_end_now(end) + delay_ns;
    if (half) {
        notice->due_ns = sent_ns(half, stoa_sim_end_now(end), size_bytes) + delay_ns;
        if (notice->due_ns < half->last_ns) { notice->due_ns = half->last_ns; }
        half->last_ns = notice->due_ns;
        half->queued += what == STOA_SIM_FRAME;
    }
    notice_queue(end, notice);
    return STOA_OK;
}

stoa_sim_notice *stoa_sim_end_take(stoa_sim_end *end)
{
    stoa_sim_notice *notice = end->first;
    if (!notice || notice->due_ns > stoa_sim_end_now(end)) { return NULL; }
    end->first = notice->next;
    *(notice->next ? &notice->next->before : &end->last) = NULL;
    if (notice->what == STOA_SIM_FRAME) {
        notice->half->queued--;
        if (notice->half->other && notice->half->other->wants_room) { stoa_sim_end_arm(notice->half->other->end); }
    }
    return notice;
}

/* --- connections */

static stoa_sim_half *half_new(stoa_sim_end *end, const char *identity)
{
    stoa_sim_half *half = calloc(1, sizeof *half);
    if (!half) { return NULL; }
    half->end = end;
    half->peer = ++end->last_peer;
    (void)snprintf(half->identity, sizeof half->identity, "%s", identity);
    stoa_sim_half **at = &end->halves; /* the newest last */
    while (*at) {
        at = &(*at)->next;
    }
    *at = half;
    end->half_count++;
    return half;
}

void stoa_sim_half_forget(stoa_sim_half *half)
{
    stoa_sim_half **at = &half->end->halves;
    while (*at != half) {
        at = &(*at)->next;
    }
    *at = half->next;
    half->end->half_count--;
    if (half->other) { half->other->other = NULL; }
    free(half);
}

/* The side at half learns that the connection is over. */
static void hang_up(stoa_sim_half *half)
{
    if (half->over) { return; }
    half->over = true;
    STOA_ASSERT(notify(half->end, half, STOA_SIM_DOWN, STOA_OK, NULL, 0) == STOA_OK);
}

void stoa_sim_half_end(stoa_sim_half *half)
{
    if (half->other) { hang_up(half->other); }
    hang_up(half);
}

static void refuse(stoa_sim_end *end, stoa_err why)
{
    end->counts.refused++;
    (void)notify(end, NULL, STOA_SIM_REFUSED, why, NULL, 0);
}

void stoa_sim_end_dial(stoa_sim_end *end)
{
    if (end->listens || end->halves || end->redial_ns > stoa_sim_end_now(end)) { return; }
    stoa_sim_end *to = listener_at(end->net, end->name);
    if (!to) { return; }
    if (to->half_count >= to->peer_limit) {
        end->redial_ns = stoa_sim_end_now(end) + STOA_MS(STOA_SIM_REDIAL_MS);
        refuse(end, STOA_E_FULL);
        refuse(to, STOA_E_FULL);
        return;
    }
    stoa_sim_half *here = half_new(end, ""), *there = half_new(to, end->as);
    STOA_ASSERT(here && there);
    here->other = there;
    there->other = here;
    STOA_ASSERT(notify(end, here, STOA_SIM_UP, STOA_OK, NULL, 0) == STOA_OK);
    STOA_ASSERT(notify(to, there, STOA_SIM_UP, STOA_OK, NULL, 0) == STOA_OK);
}

stoa_err stoa_sim_half_post(stoa_sim_half *half, const void *bytes, uint32_t size_bytes)
{
    stoa_sim_half *other = half->other;
    half->wants_room = false;
    if (!other || other->over) { return STOA_OK; } /* gone, and not known here yet */
    if (size_bytes > other->end->frame_limit) {
        stoa_sim_half_end(half);
        return STOA_OK;
    }
    if (!has_room(half)) {
        half->wants_room = true;
        return STOA_E_FULL;
    }
    return notify(other->end, other, STOA_SIM_FRAME, STOA_OK, bytes, size_bytes);
}

/* --- coming and going */

stoa_err stoa_sim_end_join(stoa_sim_end *end, const char *place)
{
    size_t place_bytes = strcspn(place, "?"), first_bytes = strcspn(place, "/?");
    stoa_sim_net *net = place[first_bytes] == '/' ? net_find(place, first_bytes) : NULL;
    size_t skip_bytes = net ? first_bytes + 1 : 0;
    if (place_bytes <= skip_bytes || place_bytes > STOA_SIM_END_NAME_MAX) {
        return STOA_FAIL(STOA_E_INVALID, "sim://%s has no name, or one longer than %d bytes", place,
                         STOA_SIM_END_NAME_MAX);
    }
    if (!net) { net = &own_net; }
    memcpy(end->name, place + skip_bytes, place_bytes - skip_bytes);
    if (end->listens && listener_at(net, end->name)) {
        return STOA_FAIL(STOA_E_EXISTS, "somebody listens at sim://%s", place);
    }
    end->net = net;
    end->next = net->ends;
    net->ends = end;
    net->end_count++;
    for (stoa_sim_end *other = net->ends; end->listens && other; other = other->next) {
        stoa_sim_end_arm(other); /* who dials has somebody now */
    }
    stoa_sim_end_arm(end);
    return STOA_OK;
}

/* Of what is on its way to half some is lost, from a random place on. */
static void lose_last(stoa_sim_half *half)
{
    uint64_t lose = stoa_random_below(&half->end->net->random, (uint64_t)half->queued + 1);
    for (stoa_sim_notice *at = half->end->last, *before; at && lose > 0; at = before) {
        before = at->before;
        if (at->half == half && at->what == STOA_SIM_FRAME) {
            notice_free(half->end, at);
            lose--;
        }
    }
}

void stoa_sim_end_part(stoa_sim_end *end, bool abrupt)
{
    while (end->first) {
        notice_free(end, end->first);
    }
    while (end->halves) {
        stoa_sim_half *other = end->halves->other;
        if (other && abrupt && end->net != &own_net) { lose_last(other); }
        stoa_sim_half_forget(end->halves);
        if (other) { hang_up(other); }
    }
    stoa_sim_end **at = &end->net->ends;
    while (*at != end) {
        at = &(*at)->next;
    }
    *at = end->next;
    end->net->end_count--;
}
