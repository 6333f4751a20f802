/* zmq/timer.h - one alarm in an epoll set, for the owner's thread.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef STOA_TRANSPORT_ZMQ_TIMER_H
#define STOA_TRANSPORT_ZMQ_TIMER_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"

typedef struct stoa_zmq_timer {
    int fd; /* a timerfd; -1 when closed */
    bool runs;
} stoa_zmq_timer;
#define STOA_ZMQ_TIMER_CLOSED ((stoa_zmq_timer){.fd = -1})

/* Errors: IO. On an error the timer is closed. */
stoa_err stoa_zmq_timer_open(stoa_zmq_timer *timer, int epoll);
void stoa_zmq_timer_close(stoa_zmq_timer *timer);

/* Make the set readable in after_ms (1 or more), instead of what was set before. */
void stoa_zmq_timer_set(stoa_zmq_timer *timer, uint32_t after_ms);

/* Whether the time has come; true once per set. Costs a system call only while it runs. */
bool stoa_zmq_timer_is_over(stoa_zmq_timer *timer);

#endif
