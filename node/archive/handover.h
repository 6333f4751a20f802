/* handover.h - a lock that who works all the time hands over, before it has it again, to those who came meanwhile.
 *
 * A mutex that is let go and taken again at once stays with the same thread: nobody who waits is woken in time. Here a worker
 * (stoa_handover_take_after) lets as many in first as wait when it comes; the next one comes behind it. So neither keeps the other out.
 *
 * Threads: any; one worker at a time.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef STOA_NODE_ARCHIVE_HANDOVER_H
#define STOA_NODE_ARCHIVE_HANDOVER_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

typedef struct stoa_handover {
    pthread_mutex_t lock; /* what follows is under it */
    pthread_cond_t moved; /* somebody let it go, came in or went away */
    bool held;
    uint32_t waiting;     /* who wants to come in, but for the worker */
    uint64_t ended;       /* who waited and does not any more: came in, or went away */
    uint64_t after;       /* the worker comes in when so many have ended; 0: no worker waits */
} stoa_handover;

void stoa_handover_init(stoa_handover *handover);
void stoa_handover_deinit(stoa_handover *handover);

/* Wait for it; false: not within timeout_ns (UINT64_MAX: longer than anybody lives). */
bool stoa_handover_take(stoa_handover *handover, uint64_t timeout_ns);
/* The worker's: behind those who wait now. */
void stoa_handover_take_after(stoa_handover *handover);
void stoa_handover_give(stoa_handover *handover);

/* How many wait now, but for the worker. */
uint32_t stoa_handover_waiting(stoa_handover *handover);

#endif
