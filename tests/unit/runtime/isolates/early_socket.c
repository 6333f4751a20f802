/* isolates/early_socket.c - a library that opens a socket when it is loaded.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include <sys/socket.h>

__attribute__((constructor)) static void early(void)
{
    (void)socket(AF_INET, SOCK_STREAM, 0);
}
