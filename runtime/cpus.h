/* cpus.h - on which processors a node's threads run. Internal to runtime/.
 *
 * With options.pin, core i runs on the i-th processor that the process may use (from the first again when there are fewer), and
 * the threads beside the cores - journals', the follower's, the database's - on the others, where there are any: what
 * they do for milliseconds on end keeps no turn waiting. Without, the system places all of them. What the system refuses is done
 * without.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef STOA_RUNTIME_CPUS_H
#define STOA_RUNTIME_CPUS_H

#include <pthread.h>
#include <sched.h>
#include <stdbool.h>
#include <stdint.h>

typedef struct stoa_cpus {
    cpu_set_t all, others; /* what the process may use, and of these what no core has */
    bool pin;
} stoa_cpus;

void stoa_cpus_init(stoa_cpus *cpus, bool pin, uint32_t cores);
void stoa_cpus_pin(const stoa_cpus *cpus, pthread_t thread, uint32_t core);

/* The calling thread, and those that it starts, leave the cores' processors to them; until, if ever, it is restored. */
void stoa_cpus_leave(const stoa_cpus *cpus, cpu_set_t *before_out);
void stoa_cpus_restore(const cpu_set_t *before);

#endif
