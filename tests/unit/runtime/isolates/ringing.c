/* isolates/ringing.c - a library that rings at its node for ever when it is loaded.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include <sys/socket.h>

#include "runtime/isolate/process.h"

__attribute__((constructor)) static void ring(void)
{
    static const char bell = 1;
    for (;;) { (void)send(STOA_ISOLATE_FD, &bell, sizeof bell, 0); }
}
