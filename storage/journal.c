/* journal.c - what every journal can do with its own functions: prove all of itself, look up one key.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "storage/journal.h"

#include <string.h>

#include "storage/block.h"

/* Reading checks hashes and links; what is left is to remember how far it came. */
static stoa_err remember_last(void *context, const void *bytes, size_t size_bytes)
{
    (void)size_bytes;
    stoa_block_view view;
    stoa_block_peek(bytes, &view);
    uint64_t *verified = context;
    *verified = stoa_block_last(&view.block);
    return STOA_OK;
}

stoa_err stoa_journal_verify(stoa_journal *journal, uint64_t *verified_out)
{
    stoa_journal_state state;
    journal->ops->state(journal, &state);

    *verified_out = 0;
    return state.last == 0 ? STOA_OK : journal->ops->read_stored(journal, state.first, remember_last, verified_out);
}

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
