/* ucx/means.c - as ucx/means.h says.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "transport/ucx/means.h"

#include <fcntl.h>
#include <sys/eventfd.h>
#include <unistd.h>

stoa_err stoa_ucx_means(void)
{
    int fds[STOA_UCX_SPARE], count = 0;
    fds[0] = eventfd(0, EFD_CLOEXEC);
    while (fds[count] >= 0 && ++count < STOA_UCX_SPARE) {
        fds[count] = fcntl(fds[0], F_DUPFD_CLOEXEC, 0);
    }
    for (int i = 0; i < count; i++) {
        (void)close(fds[i]);
    }
    return count == STOA_UCX_SPARE ? STOA_OK
                                   : STOA_FAIL(STOA_E_FULL, "%d descriptors are left, a connection over UCX asks for %d",
                                               count, STOA_UCX_SPARE);
}
