/* when.h - where to cut a log, as people write it: SHARD:POSITION, POSITION, or a time of UTC.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef STOA_NODE_ARCHIVE_WHEN_H
#define STOA_NODE_ARCHIVE_WHEN_H

#include <stdint.h>

#include "base/error.h"

typedef struct stoa_when {
    char shard[32];    /* "": not said */
    uint64_t position; /* 0: it is a time */
    uint64_t time_ns;  /* wall */
} stoa_when;

/* A time is 2026-01-31T12:00:00Z with up to nine digits behind the seconds; a blank may stand for the T, and the Z be left out.
 * Errors: INVALID. */
stoa_err stoa_when_parse(const char *text, stoa_when *out);

#endif
