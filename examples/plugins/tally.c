/* plugins/tally.c - a kind in a library: written as any kind is, but for its last line. A program may as well be linked to it,
 * and then has the same kind inside itself.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "tally.h"

STOA_TABLE_DEFINE(tally)
typedef struct tally {
    uint64_t total;
    const uint64_t *nowhere;
} tally;
STOA_PLAIN_KIND(tally, .mailbox_limit = 64)

static stoa_err tally_on_add(stoa_turn *turn, tally *self, const tally_add *in, tally_total *out)
{
    (void)turn;
    out->total = self->total += in->n;
    return STOA_OK;
}

static stoa_err tally_on_crash(stoa_turn *turn, tally *self, const tally_crash *in, tally_total *out)
{
    (void)turn, (void)in;
    out->total = *(const volatile uint64_t *)self->nowhere;
    return STOA_OK;
}

STOA_PLUGIN(tally)
