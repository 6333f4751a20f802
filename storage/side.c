/* side.c - storage/side.h.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "storage/side.h"

#include <string.h>

static stoa_err check_space(stoa_space space)
{
    return (unsigned)space < STOA_SPACES ? STOA_OK : STOA_FAIL(STOA_E_INVALID, "side store: no space %d", (int)space);
}

static stoa_err check_entry(const stoa_side_entry *entry)
{
    if (!entry->key || entry->key_bytes == 0) { return STOA_FAIL(STOA_E_INVALID, "side store: an empty key"); }
    if (entry->key_bytes > STOA_SIDE_KEY_MAX) {
        return STOA_FAIL(STOA_E_TOO_LARGE, "side store: a key of %u bytes", entry->key_bytes);
    }
    if (entry->value_bytes > STOA_SIDE_VALUE_MAX) {
        return STOA_FAIL(STOA_E_TOO_LARGE, "side store: a value of %u bytes", entry->value_bytes);
    }
    if (!entry->value && entry->value_bytes) { return STOA_FAIL(STOA_E_INVALID, "side store: a value without bytes"); }
    return STOA_OK;
}

stoa_err stoa_side_check(stoa_space space, const stoa_side_entry *entries, uint32_t count)
{
    stoa_err err = check_space(space);
    if (err) { return err; }
    if (count > STOA_SIDE_ENTRIES_MAX) { return STOA_FAIL(STOA_E_TOO_LARGE, "side store: %u entries at once", count); }
    uint64_t bytes = 0;
    for (uint32_t i = 0; i < count && !err; i++) {
        err = check_entry(&entries[i]);
        bytes += (uint64_t)entries[i].key_bytes + entries[i].value_bytes;
    }
    if (!err && bytes > STOA_SIDE_BATCH_MAX) {
        err = STOA_FAIL(STOA_E_TOO_LARGE, "side store: %llu bytes at once", (unsigned long long)bytes);
    }
    return err;
}

stoa_err stoa_side_check_range(stoa_space space, uint32_t from_bytes, uint32_t to_bytes)
{
    stoa_err err = check_space(space);
    if (err) { return err; }
    if (from_bytes > STOA_SIDE_KEY_MAX || to_bytes > STOA_SIDE_KEY_MAX) {
        return STOA_FAIL(STOA_E_TOO_LARGE, "side store: a key of %u bytes", from_bytes > to_bytes ? from_bytes : to_bytes);
    }
    return STOA_OK;
}

int stoa_side_compare(const void *a, uint32_t a_bytes, const void *b, uint32_t b_bytes)
{
    uint32_t both = a_bytes < b_bytes ? a_bytes : b_bytes;
    int order = both ? memcmp(a, b, both) : 0;
    if (order != 0) { return order; }
    return a_bytes < b_bytes ? -1 : a_bytes > b_bytes;
}
