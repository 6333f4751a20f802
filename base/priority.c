/* priority.c - the priorities of base/priority.h. libc has no function for sched_setattr.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "base/priority.h"

#include <linux/sched/types.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { SHORT_NS = 100000, ORDINARY = 0, SELF = 0, BACKGROUND_NICE = 10 }; /* the least that Linux takes; SCHED_OTHER */

void stoa_priority_brief(void)
{
    struct sched_attr now = {0};
    if (syscall(SYS_sched_getattr, SELF, &now, sizeof now, 0) || now.sched_policy != ORDINARY) { return; }
    now.size = sizeof now;
    now.sched_runtime = SHORT_NS;
    (void)syscall(SYS_sched_setattr, SELF, &now, 0);
}

/* With a slice of milliseconds it would keep the others waiting as long, seldom as that is. To Linux, a process is a thread here. */
void stoa_priority_background(void)
{
    stoa_priority_brief();
    int now = getpriority(PRIO_PROCESS, SELF);
    if (now < BACKGROUND_NICE) { (void)setpriority(PRIO_PROCESS, SELF, BACKGROUND_NICE); }
}
