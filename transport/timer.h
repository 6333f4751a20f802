/* timer.h - one alarm in an epoll set, for the owner's thread.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef STOA_TRANSPORT_TIMER_H
#define STOA_TRANSPORT_TIMER_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"

typedef struct stoa_link_timer {
    int fd; /* a timerfd; -1 when closed */
    bool runs;
} stoa_link_timer;
#define STOA_LINK_TIMER_CLOSED ((stoa_link_timer){.fd = -1})

/* Errors: IO. On an error the timer is closed. */
stoa_err stoa_link_timer_open(stoa_link_timer *timer, int epoll);
void stoa_link_timer_close(stoa_link_timer *timer);

/* Make the set readable in after_ms (1 or more), instead of what was set before. */
void stoa_link_timer_set(stoa_link_timer *timer, uint32_t after_ms);

/* Whether the time has come; true once per set. Costs a system call only while it runs. */
bool stoa_link_timer_is_over(stoa_link_timer *timer);

#endif
