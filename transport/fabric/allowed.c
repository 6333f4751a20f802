/* fabric/allowed.c - the list of fabric/allowed.h; looked through once a connection.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "transport/fabric/allowed.h"

#include <stdlib.h>
#include <string.h>

#include "transport/z85.h"

static stoa_err row_take(const stoa_link_allowed *from, const stoa_allowed *before, stoa_allowed_row *out)
{
    size_t name_bytes = strnlen(from->name, sizeof from->name);
    if (name_bytes == 0 || name_bytes == sizeof from->name) {
        return STOA_FAIL(STOA_E_INVALID, "an allowed key has no name, or one above %zu bytes", sizeof from->name - 1);
    }
    if (!stoa_z85_decode(from->public_key, out->key)) {
        return STOA_FAIL(STOA_E_INVALID, "the key of %s is not 40 characters of Z85", from->name);
    }
    if (stoa_allowed_name(before, out->key)) {
        return STOA_FAIL(STOA_E_INVALID, "the key of %s is on the list twice", from->name);
    }
    memcpy(out->name, from->name, name_bytes + 1);
    return STOA_OK;
}

stoa_err stoa_allowed_set(stoa_allowed *allowed, const stoa_link_allowed *rows, uint32_t count)
{
    stoa_allowed fresh = {.rows = calloc(count ? count : 1, sizeof *fresh.rows)};
    if (!fresh.rows) { return STOA_FAIL(STOA_E_NOMEM, "no memory for %u allowed keys", count); }
    for (; fresh.count < count; fresh.count++) {
        stoa_err err = row_take(&rows[fresh.count], &fresh, &fresh.rows[fresh.count]);
        if (err) {
            stoa_allowed_free(&fresh);
            return err;
        }
    }
    stoa_allowed_free(allowed);
    *allowed = fresh;
    return STOA_OK;
}

void stoa_allowed_free(stoa_allowed *allowed)
{
    free(allowed->rows);
    *allowed = (stoa_allowed){0};
}

const char *stoa_allowed_name(const stoa_allowed *allowed, const uint8_t key[32])
{
    for (uint32_t i = 0; i < allowed->count; i++) {
        if (memcmp(allowed->rows[i].key, key, sizeof allowed->rows[i].key) == 0) { return allowed->rows[i].name; }
    }
    return NULL;
}
