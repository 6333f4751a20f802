/* asked.c - see asked.h. Part of bench_isolate, and a library for stoa-isolate.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "bench/isolate/asked.h"

STOA_TABLE_DEFINE(asked)
typedef struct asked {
    uint64_t total;
} asked;
STOA_PLAIN_KIND(asked, .mailbox_limit = 256)

static stoa_err asked_on_add(stoa_turn *turn, asked *self, const asked_add *in, asked_total *out)
{
    (void)turn;
    out->total = self->total += in->n;
    return STOA_OK;
}

STOA_PLUGIN(asked)
