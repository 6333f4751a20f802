/* os.c - base/os.h.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "base/os.h"

#include <errno.h>
#include <string.h>

stoa_err stoa_os_error(const char *what, const char *path)
{
    int number = errno;
    stoa_err err = number == ENOSPC || number == EDQUOT ? STOA_E_FULL : STOA_E_IO;
    return STOA_FAIL(err, "%s %s: %s", what, path, strerror(number));
}
