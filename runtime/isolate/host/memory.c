/* host/memory.c - malloc for the child: what finds no memory ends the process, so that the node knows what it died of.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include <stdlib.h>
#include <unistd.h>

#include "runtime/isolate/process.h"

#define SHOWN __attribute__((visibility("default")))
void *__libc_malloc(size_t bytes);
void *__libc_calloc(size_t count, size_t bytes);
void *__libc_realloc(void *at, size_t bytes);

static void *whole(void *at, size_t bytes)
{
    if (!at && bytes) { _exit(STOA_ISOLATE_NO_MEMORY); }
    return at;
}

SHOWN void *malloc(size_t bytes)
{
    return whole(__libc_malloc(bytes), bytes);
}

SHOWN void *calloc(size_t count, size_t bytes)
{
    return whole(__libc_calloc(count, bytes), count && bytes);
}

SHOWN void *realloc(void *at, size_t bytes)
{
    return whole(__libc_realloc(at, bytes), bytes);
}
