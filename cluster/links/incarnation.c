/* links/incarnation.c - cluster/links/incarnation.h.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "cluster/links/incarnation.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/clock.h"
#include "storage/archive/file.h"

enum { TEXT_MAX = 32, DIGITS_MAX = 18 /* more than any clock says */ };
static const char file_name[] = "node.incarnation";

/* One line with a number; 0 where there is no file. */
static stoa_err last_of(const char *data, uint64_t *out)
{
    char storage[TEXT_MAX + 1] = "";
    stoa_buf text = STOA_BUF_FIXED(storage);
    *out = 0;
    stoa_err err = stoa_file_get(data, file_name, TEXT_MAX, &text);
    if (err == STOA_E_NOT_FOUND) { return STOA_OK; }
    size_t digits = strspn(storage, "0123456789");
    bool good = !err && digits > 0 && digits <= DIGITS_MAX && strcmp(storage + digits, "\n") == 0;
    if (err == STOA_E_TOO_LARGE || (!err && !good)) {
        return STOA_FAIL(STOA_E_CORRUPT, "%s/%s holds no number; without that file the clock says it", data, file_name);
    }
    if (good) { *out = strtoull(storage, NULL, 10); }
    return err;
}

stoa_err stoa_incarnation_next(const char *data, uint64_t wall_ns, uint64_t *out)
{
    char text[TEXT_MAX];
    uint64_t last = 0, now_ms = wall_ns / STOA_MS(1);
    stoa_err err = last_of(data, &last);
    if (err) { return err; }
    *out = now_ms > last ? now_ms : last + 1;
    int size = snprintf(text, sizeof text, "%" PRIu64 "\n", *out);
    return stoa_file_put(data, file_name, text, (size_t)size);
}
