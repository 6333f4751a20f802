/* isolates/early_write.c - a library that opens a file to write when it is loaded.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include <fcntl.h>

__attribute__((constructor)) static void early(void)
{
    (void)open("/dev/null", O_WRONLY);
}
