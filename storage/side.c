/* side.c - storage/side.h.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "storage/side.h"

#include <stdlib.h>
#include <string.h>

enum { PLAIN, SEALED }; /* how a value is kept */

static stoa_err check_space(stoa_space space)
{
    return (unsigned)space < STOA_SPACES ? STOA_OK : STOA_FAIL(STOA_E_INVALID, "side store: no space %d", (int)space);
}

static stoa_err check_entry(const stoa_side_entry *entry, uint32_t value_max)
{
    if (!entry->key || entry->key_bytes == 0) { return STOA_FAIL(STOA_E_INVALID, "side store: an empty key"); }
    if (entry->key_bytes > STOA_SIDE_KEY_MAX) {
        return STOA_FAIL(STOA_E_TOO_LARGE, "side store: a key of %u bytes", entry->key_bytes);
    }
    if (entry->value_bytes > value_max) {
        return STOA_FAIL(STOA_E_TOO_LARGE, "side store: a value of %u bytes", entry->value_bytes);
    }
    if (!entry->value && entry->value_bytes) { return STOA_FAIL(STOA_E_INVALID, "side store: a value without bytes"); }
    return STOA_OK;
}

static stoa_err check(stoa_space space, const stoa_side_entry *entries, uint32_t count, uint32_t value_max)
{
    stoa_err err = check_space(space);
    if (err) { return err; }
    if (count > STOA_SIDE_ENTRIES_MAX) { return STOA_FAIL(STOA_E_TOO_LARGE, "side store: %u entries at once", count); }
    uint64_t bytes = 0;
    for (uint32_t i = 0; i < count && !err; i++) {
        err = check_entry(&entries[i], value_max);
        bytes += (uint64_t)entries[i].key_bytes + entries[i].value_bytes;
    }
    if (!err && bytes > STOA_SIDE_BATCH_MAX) {
        err = STOA_FAIL(STOA_E_TOO_LARGE, "side store: %llu bytes at once", (unsigned long long)bytes);
    }
    return err;
}

stoa_err stoa_side_check(stoa_space space, const stoa_side_entry *entries, uint32_t count)
{
    return check(space, entries, count, STOA_SIDE_VALUE_MAX);
}

/* What unwrapping would find out without a key. */
static bool is_stored(const stoa_side_entry *entry)
{
    const uint8_t *stored = entry->value;
    if (!stored || entry->value_bytes == 0) { return false; }
    return stored[0] == PLAIN || (stored[0] == SEALED && entry->value_bytes > STOA_SEAL_BYTES);
}

stoa_err stoa_side_check_stored(stoa_space space, const stoa_side_entry *entries, uint32_t count)
{
    stoa_err err = check(space, entries, count, STOA_SIDE_VALUE_MAX + STOA_SIDE_FORM_BYTES_MAX);
    for (uint32_t i = 0; i < count && !err; i++) {
        if (!is_stored(&entries[i])) { err = STOA_FAIL(STOA_E_CORRUPT, "side store: a value of %u bytes is kept in no known form", entries[i].value_bytes); }
    }
    return err;
}

bool stoa_side_plain(const stoa_side_entry *stored, stoa_side_entry *value_out)
{
    const uint8_t *bytes = stored->value;
    if (stored->value_bytes == 0 || bytes[0] != PLAIN) { return false; }
    *value_out = *stored;
    value_out->value = bytes + 1;
    value_out->value_bytes--;
    return true;
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

/* What a sealed value is bound to: its space and its key. Returns the size. */
static size_t bound_to(stoa_space space, const stoa_side_entry *entry, uint8_t bound[1 + STOA_SIDE_KEY_MAX])
{
    bound[0] = (uint8_t)space;
    memcpy(bound + 1, entry->key, entry->key_bytes);
    return 1u + entry->key_bytes;
}

stoa_err stoa_side_wrap(stoa_space space, const stoa_side_entry *entry, const stoa_keyring *keys, const uint8_t *nonce,
                        uint8_t *out, uint32_t *bytes_out)
{
    uint8_t bound[1 + STOA_SIDE_KEY_MAX];
    if (keys) {
        out[0] = SEALED;
        *bytes_out = 1 + entry->value_bytes + STOA_SEAL_BYTES;
        return stoa_seal(keys, nonce, bound, bound_to(space, entry, bound), entry->value, entry->value_bytes, out + 1);
    }
    out[0] = PLAIN;
    if (entry->value_bytes) { memcpy(out + 1, entry->value, entry->value_bytes); }
    *bytes_out = 1 + entry->value_bytes;
    return STOA_OK;
}

stoa_err stoa_side_unwrap(stoa_space space, stoa_side_entry *entry, const stoa_keyring *keys, stoa_side_room *room)
{
    const uint8_t *stored = entry->value;
    uint8_t bound[1 + STOA_SIDE_KEY_MAX];
    if (entry->key_bytes > STOA_SIDE_KEY_MAX || entry->value_bytes == 0 || stored[0] > SEALED) {
        return STOA_FAIL(STOA_E_CORRUPT, "side store: a value of %u bytes is kept in no known form", entry->value_bytes);
    }
    uint32_t bytes = entry->value_bytes - 1;
    if (stored[0] == PLAIN) {
        entry->value = stored + 1;
        entry->value_bytes = bytes;
        return STOA_OK;
    }
    if (room->cap_bytes < bytes) {
        uint8_t *grown = realloc(room->at, bytes);
        if (!grown) { return STOA_FAIL(STOA_E_NOMEM, "side store: a value of %u bytes", bytes); }
        room->at = grown;
        room->cap_bytes = bytes;
    }
    stoa_err err = stoa_unseal(keys, bound, bound_to(space, entry, bound), stored + 1, bytes, room->at);
    if (err) { return STOA_PASS(err, "side store"); }
    entry->value = room->at;
    entry->value_bytes = bytes - STOA_SEAL_BYTES;
    return STOA_OK;
}

int stoa_side_compare(const void *a, uint32_t a_bytes, const void *b, uint32_t b_bytes)
{
    uint32_t both = a_bytes < b_bytes ? a_bytes : b_bytes;
    int order = both ? memcmp(a, b, both) : 0;
    if (order != 0) { return order; }
    return a_bytes < b_bytes ? -1 : a_bytes > b_bytes;
}
