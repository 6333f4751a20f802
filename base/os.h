/* os.h - errno in our vocabulary.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef STOA_BASE_OS_H
#define STOA_BASE_OS_H

#include "base/error.h"

/* The error that errno stands for, FULL (no space, no quota) or IO, with what failed on path in the trail. Any thread. */
stoa_err stoa_os_error(const char *what, const char *path);

#endif
