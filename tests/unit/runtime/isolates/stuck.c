/* isolates/stuck.c - a library whose loading never ends.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include <sched.h>

__attribute__((constructor)) static void hang(void)
{
    for (;;) { (void)sched_yield(); }
}
