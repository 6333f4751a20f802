/* side_get.c - one key of a side store (storage/journal.h).
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "storage/journal.h"

#include <string.h>

typedef struct getting {
    const void *key;
    uint32_t key_bytes, cap_bytes, value_bytes;
    void *bytes;
    bool found;
} getting;

/* The scan began at the key: it is the first entry, or is not there. */
static stoa_err take_value(void *context, const stoa_side_entry *entry)
{
    getting *get = context;
    bool same = entry->key_bytes == get->key_bytes && memcmp(entry->key, get->key, get->key_bytes) == 0;
    if (!same) { return STOA_E_CANCELLED; }
    get->found = true;
    get->value_bytes = entry->value_bytes;
    if (entry->value_bytes > get->cap_bytes) {
        return STOA_FAIL(STOA_E_TOO_LARGE, "a value of %u bytes, there is room for %u", entry->value_bytes, get->cap_bytes);
    }
    if (entry->value_bytes) { memcpy(get->bytes, entry->value, entry->value_bytes); }
    return STOA_E_CANCELLED;
}

stoa_err stoa_side_get(stoa_journal *journal, stoa_space space, const void *key, uint32_t key_bytes, void *bytes,
                       uint32_t cap_bytes, uint32_t *bytes_out)
{
    getting get = {.key = key, .key_bytes = key_bytes, .bytes = bytes, .cap_bytes = cap_bytes};
    stoa_err err = journal->ops->scan(journal, space, key, key_bytes, take_value, &get);
    if (err && err != STOA_E_CANCELLED) { return err; }
    if (!get.found) { return STOA_FAIL(STOA_E_NOT_FOUND, "no such key in the side store"); }
    *bytes_out = get.value_bytes;
    return STOA_OK;
}
