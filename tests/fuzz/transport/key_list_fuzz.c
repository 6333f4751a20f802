/* key_list_fuzz.c - goal: any bytes as the list of keys are refused by name, or are rows that hold what key_list.h says; a list that was
 * read is written and read again the same, and settling it leaves one that can be read. Method: the input is the file `allowed` of a
 * folder; the time of the settling is its first bytes, so that rows are due and not.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include <string.h>
#include <sys/stat.h>

#include "base/log.h"
#include "tests/fuzz/scratch.h"
#include "transport/key_list_inside.h"

static void check_rows(const stoa_key_list *list, uint64_t now_ns)
{
    char keys[STOA_KEYS_PER_NAME][STOA_KEY_TEXT_BYTES];
    STOA_ASSERT(list->count <= STOA_KEY_ROWS_MAX);
    for (uint32_t i = 0; i < list->count; i++) {
        const stoa_key_row *row = &list->rows[i];
        STOA_ASSERT(stoa_key_name_good(row->name) && stoa_key_list_knows(list, row->name));
        STOA_ASSERT((row->standing == STOA_KEY_NEXT) == (strcmp(row->name, STOA_KEY_SERVER) == 0));
        STOA_ASSERT(row->key[0] ? stoa_key_list_of(list, row->key) == row : row->standing == STOA_KEY_REVOKED);
        uint32_t count = stoa_key_list_keys(list, row->name, row->key[0] ? row->key : NULL, now_ns, keys);
        STOA_ASSERT(count <= STOA_KEYS_PER_NAME);
        for (uint32_t k = 0; k < count; k++) { /* nobody gets in by what was revoked */
            const stoa_key_row *of = stoa_key_list_of(list, keys[k]);
            STOA_ASSERT(!of || (of->standing != STOA_KEY_REVOKED && (!of->until_ns || of->until_ns > now_ns)));
        }
    }
}

static bool same(const stoa_key_list *a, const stoa_key_list *b)
{
    bool are = a->count == b->count;
    for (uint32_t i = 0; i < a->count && are; i++) {
        const stoa_key_row *x = &a->rows[i], *y = &b->rows[i];
        are = strcmp(x->name, y->name) == 0 && strcmp(x->key, y->key) == 0 && x->standing == y->standing && x->since_ns == y->since_ns &&
              x->until_ns == y->until_ns;
    }
    return are;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size_bytes);
int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size_bytes)
{
    stoa_key_list list, again;
    uint64_t seconds = 0, next_ns;
    if (size_bytes < 4) { return 0; }
    stoa_log_level_set(STOA_LOG_OFF);
    (void)umask(022);
    memcpy(&seconds, bytes, 4);
    uint64_t now_ns = seconds * 1000000000U;
    scratch_note("allowed", bytes + 4, size_bytes - 4, false);
    if (stoa_key_list_read(scratch_folder(), &list) == STOA_OK) {
        check_rows(&list, now_ns);
        STOA_ASSERT(stoa_key_list_write(scratch_folder(), &list) == STOA_OK);
        STOA_ASSERT(stoa_key_list_read(scratch_folder(), &again) == STOA_OK && same(&list, &again));
        stoa_key_list_free(&again);
        if (stoa_keys_settle(scratch_folder(), now_ns, &next_ns) == STOA_OK) {
            STOA_ASSERT(next_ns > now_ns);
            STOA_ASSERT(stoa_key_list_read(scratch_folder(), &again) == STOA_OK);
            check_rows(&again, now_ns);
            stoa_key_list_free(&again);
        }
        stoa_key_list_free(&list);
    }
    (void)unlink(scratch.file);
    return 0;
}
