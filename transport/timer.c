/* timer.c - the alarm of timer.h, on timerfd(2).
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "transport/timer.h"

#include <errno.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/timerfd.h>
#include <unistd.h>

stoa_err stoa_link_timer_open(stoa_link_timer *timer, int epoll)
{
    struct epoll_event event = {.events = EPOLLIN};
    *timer = (stoa_link_timer){.fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK)};
    if (timer->fd >= 0 && epoll_ctl(epoll, EPOLL_CTL_ADD, timer->fd, &event) == 0) { return STOA_OK; }
    char text[128];
    stoa_err err = STOA_FAIL(STOA_E_IO, "no timer: %s", strerror_r(errno, text, sizeof text));
    stoa_link_timer_close(timer);
    return err;
}

void stoa_link_timer_close(stoa_link_timer *timer)
{
    if (timer->fd >= 0) { close(timer->fd); }
    *timer = STOA_LINK_TIMER_CLOSED;
}

void stoa_link_timer_set(stoa_link_timer *timer, uint32_t after_ms)
{
    STOA_ASSERT(after_ms > 0);
    struct itimerspec at = {.it_value = {.tv_sec = after_ms / 1000, .tv_nsec = (long)(after_ms % 1000) * 1000000}};
    int rc = timerfd_settime(timer->fd, 0, &at, NULL);
    STOA_ASSERT(rc == 0);
    timer->runs = true;
}

bool stoa_link_timer_is_over(stoa_link_timer *timer)
{
    uint64_t times;
    if (!timer->runs || read(timer->fd, &times, sizeof times) != (ssize_t)sizeof times) { return false; }
    timer->runs = false;
    return true;
}
