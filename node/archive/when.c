/* when.c - node/archive/when.h.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "node/archive/when.h"

#include <ctype.h>
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static bool read_position(const char *text, uint64_t *out)
{
    char *end;
    if (!isdigit((unsigned char)*text)) { return false; }
    errno = 0;
    unsigned long long value = strtoull(text, &end, 10);
    if (errno || *end || value == 0) { return false; }
    *out = value;
    return true;
}

/* Up to nine digits behind a point, as nanoseconds. */
static const char *read_fraction(const char *at, uint64_t *ns_out)
{
    uint64_t ns = 0, unit = 100000000;
    if (*at != '.') { return at; }
    for (at++; isdigit((unsigned char)*at) && unit > 0; at++, unit /= 10) { ns += (uint64_t)(*at - '0') * unit; }
    *ns_out = ns;
    return at;
}

static bool read_time(const char *text, uint64_t *out)
{
    struct tm parts = {0};
    char copy[64];
    uint64_t ns = 0;
    if (strlen(text) >= sizeof copy) { return false; }
    memcpy(copy, text, strlen(text) + 1);
    if (strlen(copy) > 10 && copy[10] == ' ') { copy[10] = 'T'; }
    const char *at = strptime(copy, "%Y-%m-%dT%H:%M:%S", &parts);
    if (!at) { return false; }
    at = read_fraction(at, &ns);
    if (*at == 'Z') { at++; }
    time_t seconds = timegm(&parts);
    if (*at || seconds <= 0) { return false; }
    *out = (uint64_t)seconds * 1000000000 + ns;
    return true;
}

stoa_err stoa_when_parse(const char *text, stoa_when *out)
{
    stoa_when when = {0};
    const char *colon = strchr(text, ':');
    size_t length = colon ? (size_t)(colon - text) : 0;
    bool good = read_position(text, &when.position) || read_time(text, &when.time_ns);
    if (!good && length > 0 && length < sizeof when.shard) {
        memcpy(when.shard, text, length);
        good = read_position(colon + 1, &when.position);
    }
    if (!good) { return STOA_FAIL(STOA_E_INVALID, "'%s' is neither a position (from 1), nor SHARD:POSITION, nor a time like 2026-01-31T12:00:00Z", text); }
    *out = when;
    return STOA_OK;
}
