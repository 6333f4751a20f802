/* isolates/early_trace.c - a library that reads the memory of its node when it is loaded, without a file.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include <stdlib.h>
#include <sys/uio.h>

__attribute__((constructor)) static void early(int count, char **args)
{
    char here, *there = (char *)args;
    struct iovec to = {.iov_base = &here, .iov_len = 1}, from = {.iov_base = there, .iov_len = 1};
    (void)process_vm_readv(atoi(args[count - 1]), &to, 1, &from, 1, 0);
}
