/* journal.c - what every journal can do with its own functions: prove all of itself.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "storage/journal.h"

#include "storage/block.h"

/* read checks hashes and links; what is left is to remember how far it came. */
static stoa_err remember_last(void *context, const stoa_block *block)
{
    uint64_t *verified = context;
    *verified = stoa_block_last(block);
    return STOA_OK;
}

stoa_err stoa_journal_verify(stoa_journal *journal, uint64_t *verified_out)
{
    stoa_journal_state state;
    journal->ops->state(journal, &state);

    *verified_out = 0;
    return state.last == 0 ? STOA_OK : journal->ops->read(journal, 1, remember_last, verified_out);
}
