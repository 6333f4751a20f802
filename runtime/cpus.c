/* cpus.c - the processors of cpus.h.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "runtime/cpus.h"

enum { SELF = 0 };

void stoa_cpus_init(stoa_cpus *cpus, bool pin, uint32_t cores)
{
    CPU_ZERO(&cpus->all);
    cpus->pin = pin && sched_getaffinity(SELF, sizeof cpus->all, &cpus->all) == 0;
    cpus->others = cpus->all;
    for (size_t cpu = 0; cpu < CPU_SETSIZE && cores > 0; cpu++) {
        if (!CPU_ISSET(cpu, &cpus->all)) { continue; }
        CPU_CLR(cpu, &cpus->others);
        cores--;
    }
}

void stoa_cpus_pin(const stoa_cpus *cpus, pthread_t thread, uint32_t core)
{
    if (!cpus->pin) { return; }
    uint32_t before = core % (uint32_t)CPU_COUNT(&cpus->all);
    for (size_t cpu = 0; cpu < CPU_SETSIZE; cpu++) {
        if (!CPU_ISSET(cpu, &cpus->all) || before-- > 0) { continue; }
        cpu_set_t one;
        CPU_ZERO(&one);
        CPU_SET(cpu, &one);
        (void)pthread_setaffinity_np(thread, sizeof one, &one);
        return;
    }
}

void stoa_cpus_leave(const stoa_cpus *cpus, cpu_set_t *before_out)
{
    CPU_ZERO(before_out);
    if (!cpus->pin || CPU_COUNT(&cpus->others) == 0) { return; }
    if (sched_getaffinity(SELF, sizeof *before_out, before_out)) { CPU_ZERO(before_out); }
    (void)sched_setaffinity(SELF, sizeof cpus->others, &cpus->others);
}

void stoa_cpus_restore(const cpu_set_t *before)
{
    if (CPU_COUNT(before) > 0) { (void)sched_setaffinity(SELF, sizeof *before, before); }
}
