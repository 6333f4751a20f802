/* work.c - node/work.h.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "node/work.h"

#include <stdio.h>

#include "base/clock.h"

void stoa_works_init(stoa_works *works)
{
    (void)pthread_mutex_init(&works->lock, NULL);
    works->first = NULL;
}

void stoa_works_deinit(stoa_works *works)
{
    (void)pthread_mutex_destroy(&works->lock);
}

void stoa_work_begin(stoa_works *works, stoa_work *work)
{
    work->began_ns = stoa_clock_real.now_ns(&stoa_clock_real);
    (void)pthread_mutex_lock(&works->lock);
    work->next = works->first;
    works->first = work;
    (void)pthread_mutex_unlock(&works->lock);
}

void stoa_work_end(stoa_works *works, stoa_work *work)
{
    (void)pthread_mutex_lock(&works->lock);
    stoa_work **at = &works->first;
    while (*at != work) { at = &(*at)->next; }
    *at = work->next;
    (void)pthread_mutex_unlock(&works->lock);
}

void stoa_works_visit(stoa_works *works, void (*visit)(void *context, const stoa_work_view *view), void *context)
{
    uint64_t now = stoa_clock_real.now_ns(&stoa_clock_real);
    (void)pthread_mutex_lock(&works->lock);
    for (const stoa_work *work = works->first; work; work = work->next) {
        stoa_work_view view = {.command = work->command, .step = "", .unit = "events", .took_ns = now - work->began_ns};
        (void)snprintf(view.shard, sizeof view.shard, "%s", work->shard ? work->shard : "");
        work->look(work->context, &view);
        visit(context, &view);
    }
    (void)pthread_mutex_unlock(&works->lock);
}
