/* journal.c - what every journal can do with its own functions: prove all of itself.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "storage/journal.h"

#include <string.h>

#include "storage/block.h"

enum { SLICE_BYTES = 64 << 20 };

typedef struct checking {
    stoa_journal_check *check;
    stoa_hash256 hash; /* of the last block of the slice before */
    bool linked;
    uint64_t slice_bytes;
    bool (*go_on)(void *context);
    void *context;
    bool stopped;
} checking;

static void count_key(stoa_journal_check *check, uint32_t id)
{
    uint32_t i = 0;
    while (i < check->key_count && check->keys[i].id != id) {
        i++;
    }
    if (i == STOA_VERIFY_KEYS_MAX) { return; }
    if (i == check->key_count) { check->keys[check->key_count++].id = id; }
    check->keys[i].blocks++;
}

/* Reading has checked hash and link, but for the link of a slice to the one before. */
static stoa_err take_block(void *context, const void *bytes, size_t size_bytes)
{
    checking *c = context;
    stoa_block_view view;
    stoa_block_peek(bytes, &view);
    if (c->linked && memcmp(&view.previous, &c->hash, sizeof c->hash) != 0) {
        return STOA_FAIL(STOA_E_CORRUPT, "position %llu: the block does not continue the one before it",
                         (unsigned long long)view.block.first);
    }
    c->hash = view.hash;
    c->linked = true;
    c->check->verified = stoa_block_last(&view.block);
    c->check->blocks++;
    c->check->events += view.block.count;
    c->check->bytes += size_bytes;
    count_key(c->check, view.block.key);
    c->slice_bytes += size_bytes;
    c->stopped = c->go_on && !c->go_on(c->context);
    return c->stopped || c->slice_bytes >= SLICE_BYTES ? STOA_E_CANCELLED : STOA_OK;
}

stoa_err stoa_journal_check_from(stoa_journal *journal, uint64_t from, bool (*go_on)(void *context), void *context,
                                 stoa_journal_check *out)
{
    stoa_journal_state state;
    journal->ops->state(journal, &state);
    *out = (stoa_journal_check){.from = from ? from : state.first};
    checking c = {.check = out, .go_on = go_on, .context = context};
    stoa_err err = STOA_OK;
    uint64_t next = out->from;
    if (state.first > state.last) { out->verified = state.last; } /* it was begun, and that is all */
    while (!err && !c.stopped && out->verified < state.last) {
        c.slice_bytes = 0;
        err = journal->ops->read_stored(journal, next, take_block, &c);
        if (err == STOA_E_CANCELLED) { err = STOA_OK; }
        next = out->verified + 1;
    }
    bool all = out->verified >= state.last;
    return err || all ? err : STOA_FAIL(STOA_E_CANCELLED, "sound up to position %llu of %llu",
                                        (unsigned long long)out->verified, (unsigned long long)state.last);
}

stoa_err stoa_journal_verify(stoa_journal *journal, uint64_t *verified_out)
{
    stoa_journal_check check;
    stoa_err err = stoa_journal_check_from(journal, 0, NULL, NULL, &check);
    *verified_out = check.verified;
    return err;
}
